//! Rules of validation (GraphQL specification, §5) that async-graphql does not have or checks in
//! part. What the schema does not know is skipped here: async-graphql's rules report it.

mod arguments;
mod directives;
mod field_merging;
mod typename;
mod unknown;
mod values;
mod variable_positions;

use std::sync::Arc;

use async_graphql::{
    CacheControl, Response, ServerError, ServerResult, ValidationResult, Variables,
    async_trait::async_trait,
    extensions::{
        Extension, ExtensionContext, ExtensionFactory, NextExecute, NextParseQuery, NextValidation,
    },
    parser::types::ExecutableDocument,
};

pub use values::{check_variables, write_whole_numbers};
pub use variable_positions::check_nulls;

/// Has a schema validate documents without executing them, by these rules too. Each takes a time
/// that is bounded by the size of the document, in which each fragment counts as often as it is
/// spread. The document's depth was checked before: no fragment spreads itself.
pub struct Validation;

impl ExtensionFactory for Validation {
    fn create(&self) -> Arc<dyn Extension> {
        Arc::new(Self)
    }
}

#[async_trait]
impl Extension for Validation {
    async fn parse_query(
        &self,
        ctx: &ExtensionContext<'_>,
        query: &str,
        variables: &Variables,
        next: NextParseQuery<'_>,
    ) -> ServerResult<ExecutableDocument> {
        let mut document = next.run(ctx, query, variables).await?;
        let registry = &ctx.schema_env.registry;
        unknown::check(registry, &document)?;
        typename::check(&document)?;
        directives::check(registry, &document)?;
        variable_positions::check(registry, &document)?;
        values::check(registry, &document)?;
        field_merging::check(registry, &document)?;
        typename::move_directives(&mut document);
        Ok(document)
    }

    async fn validation(
        &self,
        ctx: &ExtensionContext<'_>,
        next: NextValidation<'_>,
    ) -> Result<ValidationResult, Vec<ServerError>> {
        let mut errors = match next.run(ctx).await {
            Err(errors) => errors,
            valid => return valid,
        };
        errors.retain(|error| !is_of_measure(error));
        if !errors.is_empty() {
            return Err(errors);
        }
        Ok(ValidationResult { cache_control: CacheControl::default(), complexity: 0, depth: 0 })
    }

    async fn execute(
        &self,
        _: &ExtensionContext<'_>,
        _: Option<&str>,
        _: NextExecute<'_>,
    ) -> Response {
        Response::default()
    }
}

/// Whether an error comes from measuring the complexity of a document, for which async-graphql wants
/// the value of each variable. A document is measured when it is executed.
fn is_of_measure(error: &ServerError) -> bool {
    let name = error.message.strip_prefix("Variable ");
    let name = name.and_then(|rest| rest.strip_suffix(" is not defined."));
    error.locations.is_empty()
        || error.message.starts_with("Expected input type ")
        || name.is_some_and(|name| !name.contains(['"', '$']))
}
