//! Lists of responses.

use std::borrow::Cow;

use async_graphql::{
    ContextSelectionSet, OutputType, Positioned, ServerError, ServerResult, Value,
    parser::types::Field, registry::Registry,
};

use super::{object::list, resolver_utils::join};

/// Sets the path of an error that has none. That of a field further down stays.
fn with_path(ctx: &ContextSelectionSet<'_>, error: ServerError) -> ServerError {
    if error.path.is_empty() { ctx.set_error_path(error) } else { error }
}

/// A list, as `Vec` is in the schema. Items that don't wait cost no task.
pub struct List<T>(pub Vec<T>);

impl<T> FromIterator<T> for List<T> {
    fn from_iter<I: IntoIterator<Item = T>>(items: I) -> Self {
        Self(items.into_iter().collect())
    }
}

impl<T: OutputType> OutputType for List<T> {
    fn type_name() -> Cow<'static, str> {
        <Vec<T> as OutputType>::type_name()
    }

    fn qualified_type_name() -> String {
        <Vec<T> as OutputType>::qualified_type_name()
    }

    fn create_type_info(registry: &mut Registry) -> String {
        <Vec<T> as OutputType>::create_type_info(registry)
    }

    async fn resolve(
        &self,
        ctx: &ContextSelectionSet<'_>,
        field: &Positioned<Field>,
    ) -> ServerResult<Value> {
        let contexts = (0..self.0.len()).map(|index| ctx.with_index(index)).collect::<Vec<_>>();
        let items = self.0.iter().zip(&contexts).map(async |(item, own)| {
            item.resolve(own, field).await.map_err(|error| with_path(own, error))
        });
        join(items).await.map(list)
    }
}
