//! The operation of a document that a request asks for.

use std::mem;

use async_graphql::{
    Name, Request, ServerResult, Variables,
    parser::types::{ExecutableDocument, OperationDefinition, OperationType},
    registry::Registry,
};

/// Calls `body` with the document of a request, the name of the requested operation, and the
/// variables.
///
/// # Errors
/// The document cannot be parsed.
pub fn with_document<T>(
    request: &mut Request,
    body: impl FnOnce(&ExecutableDocument, Option<&str>, &mut Variables) -> T,
) -> ServerResult<T> {
    let (name, mut variables) = (request.operation_name.clone(), mem::take(&mut request.variables));
    let done = request.parsed_query().map(|it| body(it, name.as_deref(), &mut variables));
    request.variables = variables;
    done
}

/// Returns the operation with this name, or the only one if `name` is `None`. Returns `None` if it
/// is unknown or ambiguous.
pub fn requested_operation<'d>(
    document: &'d ExecutableDocument,
    name: Option<&str>,
) -> Option<&'d OperationDefinition> {
    let mut operations = document.operations.iter();
    let (_, operation) = match name {
        Some(name) => operations.find(|(own, _)| own.is_some_and(|own| own == name)),
        None => operations.next().filter(|_| operations.next().is_none()),
    }?;
    Some(&operation.node)
}

/// Returns the name of the operation with this name, or of the only one, or `None` if it has none.
pub fn operation_name<'d>(
    document: &'d ExecutableDocument,
    requested: Option<&'d str>,
) -> Option<&'d str> {
    requested.or_else(|| document.operations.iter().next()?.0.map(Name::as_str))
}

/// Returns the name of the type whose fields an operation selects at its root, or `None` if the
/// schema has no such operations.
pub(super) fn root_type(registry: &Registry, operation: OperationType) -> Option<&str> {
    match operation {
        OperationType::Query => Some(&registry.query_type),
        OperationType::Mutation => registry.mutation_type.as_deref(),
        OperationType::Subscription => registry.subscription_type.as_deref(),
    }
}
