//! The root types, which async-graphql executes.

use std::{
    borrow::Cow,
    marker::PhantomData,
    sync::{
        Arc, OnceLock,
        atomic::{AtomicBool, Ordering},
    },
};

use async_graphql::{
    ContainerType, Context, ContextSelectionSet, Name, ObjectType, OutputType, PathSegment,
    Positioned, Request, Response, ServerResult, Value,
    indexmap::IndexMap,
    parser::types::{Field, Selection},
    registry::Registry,
};
use tracing::Instrument as _;

use super::{
    super::operation::requested_operation,
    merged::{Merged, Parts},
    resolver_utils::{field_span, is_nullable},
};

/// A root type whose nullable fields are null if they fail.
pub struct Root<T> {
    parts: OnceLock<Parts>,
    merged: PhantomData<T>,
}

impl<T> Default for Root<T> {
    fn default() -> Self {
        Self { parts: OnceLock::new(), merged: PhantomData }
    }
}

/// How far a mutation has come. Once a field of a non-null type has failed, there is no data, and
/// the fields after it are not resolved (GraphQL specification, §6.4.4).
#[derive(Clone, Default)]
pub struct MutationProgress(Arc<AtomicBool>);

impl<T: Merged> ContainerType for Root<T> {
    async fn resolve_field(&self, ctx: &Context<'_>) -> ServerResult<Option<Value>> {
        let progress = ctx.data_opt::<MutationProgress>();
        if progress.is_some_and(|MutationProgress(failed)| failed.load(Ordering::Relaxed)) {
            return Ok(None);
        }
        let name = &ctx.item.node.name.node;
        let Some(part) = self.parts.get_or_init(Parts::of::<T>).with_field(name) else {
            return Ok(None);
        };
        let resolved = part.resolve_field(ctx).instrument(field_span(name)).await;
        match (resolved, progress) {
            (Err(error), _) if is_nullable(ctx, &T::type_name()) => {
                ctx.add_error(error);
                Ok(Some(Value::Null))
            }
            (Err(error), Some(MutationProgress(failed))) => {
                failed.store(true, Ordering::Relaxed);
                Err(error)
            }
            (resolved, _) => resolved,
        }
    }
}

impl<T: Merged> OutputType for Root<T> {
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

impl<T: Merged> ObjectType for Root<T> {}

/// The fields at the root of an operation, in the order of the document: their names in the
/// response, and whether they are `__schema`.
pub struct RootFields(Vec<(Name, bool)>);

impl RootFields {
    /// Returns those of a request whose operation has plain fields at its root.
    pub fn of(request: &mut Request) -> Self {
        let requested = request.operation_name.clone();
        let Ok(document) = request.parsed_query() else { return Self(vec![]) };
        let operation = requested_operation(document, requested.as_deref());
        let items = operation.map(|operation| &operation.selection_set.node.items);
        let fields = items.into_iter().flatten().filter_map(|selection| match &selection.node {
            Selection::Field(field) => {
                let Field { name, .. } = &field.node;
                Some((field.node.response_key().node.clone(), name.node == "__schema"))
            }
            _ => None,
        });
        Self(fields.collect())
    }
}

/// Completes the response to a query or a mutation: puts its fields into the order of the document.
/// If a field of a non-null type has failed, there is no data. If no field is selected of an object,
/// it is empty, where async-graphql says null.
pub fn complete_root(response: &mut Response, root: &RootFields) {
    if response.data == Value::Null && response.errors.is_empty() {
        response.data = Value::Object(IndexMap::new());
    }
    let Value::Object(fields) = &mut response.data else { return };
    let failed = response.errors.iter().any(|error| match error.path.first() {
        Some(PathSegment::Field(name)) => !fields.contains_key(name.as_str()),
        _ => false,
    });
    if failed {
        response.data = Value::Null;
        return;
    }
    fields.sort_by_cached_key(|name, _| root.0.iter().position(|(next, _)| next == name));
    for (name, is_schema) in &root.0 {
        if let Some(value) = fields.get_mut(name).filter(|_| *is_schema)
            && *value == Value::Null
        {
            *value = Value::Object(IndexMap::new());
        }
    }
}
