//! Rules of validation (GraphQL specification, §5) that async-graphql does not have or checks in
//! part. What the schema does not know is skipped here: async-graphql's rules report it.

mod arguments;
mod field_merging;
mod typename;
mod values;
mod variable_positions;

use std::sync::Arc;

use async_graphql::{
    ServerResult, Variables,
    async_trait::async_trait,
    extensions::{Extension, ExtensionContext, ExtensionFactory, NextParseQuery},
    parser::types::ExecutableDocument,
};

pub use values::check_variables;

/// Rejects a document that breaks one of the rules. Each takes a time that is bounded by the size
/// of the document, in which each fragment counts as often as it is spread. The document's depth
/// was checked before: no fragment spreads itself.
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
        let document = next.run(ctx, query, variables).await?;
        let registry = &ctx.schema_env.registry;
        typename::check(&document)?;
        variable_positions::check(registry, &document)?;
        values::check(registry, &document)?;
        field_merging::check(registry, &document)?;
        Ok(document)
    }
}

#[cfg(test)]
mod tests {
    use async_graphql::{OutputType, SubscriptionType, registry::Registry};

    use crate::graphql::{Mutation, Query, Subscription, event::TicketEvent, node::Node};

    /// The types of the API, without introspection.
    pub(super) fn registry() -> Registry {
        let mut registry = Registry {
            query_type: "Query".into(),
            mutation_type: Some("Mutation".into()),
            subscription_type: Some("Subscription".into()),
            ..Registry::default()
        };
        <Query as OutputType>::create_type_info(&mut registry);
        <Mutation as OutputType>::create_type_info(&mut registry);
        <Subscription as SubscriptionType>::create_type_info(&mut registry);
        <Node as OutputType>::create_type_info(&mut registry);
        <TicketEvent as OutputType>::create_type_info(&mut registry);
        registry
    }
}
