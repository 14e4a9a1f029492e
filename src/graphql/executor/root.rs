//! The root types, which async-graphql executes.

use std::borrow::Cow;

use async_graphql::{
    ContainerType, Context, ContextSelectionSet, Name, ObjectType, OutputType, PathSegment,
    Positioned, Request, Response, ServerResult, Value,
    parser::types::{ExecutableDocument, Field, Selection, SelectionSet},
    registry::Registry,
};
use tracing::Instrument as _;

use super::{
    super::operation::requested_operation,
    resolver_utils::{field_span, is_nullable},
};

/// A root type whose nullable fields are null if they fail.
#[derive(Default)]
pub struct Root<T>(T);

impl<T: ContainerType> ContainerType for Root<T> {
    async fn resolve_field(&self, ctx: &Context<'_>) -> ServerResult<Option<Value>> {
        let name = &ctx.item.node.name.node;
        match self.0.resolve_field(ctx).instrument(field_span(name)).await {
            Err(error) if is_nullable(ctx, &T::type_name()) => {
                ctx.add_error(error);
                Ok(Some(Value::Null))
            }
            resolved => resolved,
        }
    }
}

impl<T: ContainerType> OutputType for Root<T> {
    fn type_name() -> Cow<'static, str> {
        T::type_name()
    }

    fn create_type_info(registry: &mut Registry) -> String {
        T::create_type_info(registry)
    }

    async fn resolve(
        &self,
        ctx: &ContextSelectionSet<'_>,
        _: &Positioned<Field>,
    ) -> ServerResult<Value> {
        async_graphql::resolver_utils::resolve_container(ctx, self).await
    }
}

impl<T: ContainerType> ObjectType for Root<T> {}

/// Puts the fields of a response to a query or a mutation into the order of the document. If a
/// field of a non-null type has failed, there is no data.
pub fn complete_root(response: &mut Response, order: &RootOrder) {
    let Value::Object(fields) = &mut response.data else { return };
    let failed = response.errors.iter().any(|error| match error.path.first() {
        Some(PathSegment::Field(name)) => !fields.contains_key(name.as_str()),
        _ => false,
    });
    if failed {
        response.data = Value::Null;
    } else {
        fields.sort_by_cached_key(|name, _| order.0.iter().position(|next| next == name));
    }
}

/// The names of the fields at the root of an operation, in the order of the document.
pub struct RootOrder(Vec<Name>);

impl RootOrder {
    /// Returns the order of the requested operation. It is empty if the document is not valid.
    pub fn of(request: &mut Request) -> Self {
        let (mut names, requested) = (Vec::new(), request.operation_name.clone());
        let Ok(document) = request.parsed_query() else { return Self(names) };
        if let Some(operation) = requested_operation(document, requested.as_deref()) {
            add(document, &operation.selection_set.node, &mut names);
        }
        Self(names)
    }
}

fn add(document: &ExecutableDocument, set: &SelectionSet, names: &mut Vec<Name>) {
    for selection in &set.items {
        match &selection.node {
            Selection::Field(field) => names.push(field.node.response_key().node.clone()),
            Selection::InlineFragment(fragment) => {
                add(document, &fragment.node.selection_set.node, names);
            }
            Selection::FragmentSpread(spread) => {
                let fragment = document.fragments.get(&spread.node.fragment_name.node);
                if let Some(fragment) = fragment {
                    add(document, &fragment.node.selection_set.node, names);
                }
            }
        }
    }
}
