//! Texts of responses, counted as they are resolved.

use std::borrow::Cow;

use async_graphql::{
    ContextSelectionSet, OutputType, Positioned, ServerError, ServerResult, Value,
    parser::types::Field, registry::Registry,
};

use super::{context::RequestContext, error::Failure};

/// A text that people wrote, or a part of one: a `String` in the schema. Resolving it counts its
/// bytes against the budget of the request, and fails if that is exceeded.
pub struct Text<T = String>(pub T);

impl<T: AsRef<str> + Send + Sync> OutputType for Text<T> {
    fn type_name() -> Cow<'static, str> {
        <str as OutputType>::type_name()
    }

    fn create_type_info(registry: &mut Registry) -> String {
        <str as OutputType>::create_type_info(registry)
    }

    async fn resolve(
        &self,
        ctx: &ContextSelectionSet<'_>,
        field: &Positioned<Field>,
    ) -> ServerResult<Value> {
        let text = self.0.as_ref();
        if let Some(context) = ctx.data_opt::<RequestContext>() {
            context.budget().add_response_bytes(text.len()).map_err(|exceeded| {
                let error = async_graphql::Error::from(Failure::from(exceeded));
                ServerError { path: vec![], ..error.into_server_error(field.pos) }
            })?;
        }
        Ok(Value::String(text.to_owned()))
    }
}
