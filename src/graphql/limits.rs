//! The limits of an operation that async-graphql checks.

use async_graphql::ServerError;

/// The deepest nesting of fields; `GraphiQL`'s introspection query needs 15.
pub(super) const MAX_DEPTH: usize = 20;
/// The highest complexity of an operation: each field counts 1, and the fields of a list's
/// items count once for each item that the list can have. Lists of attachments count as the ten that
/// are the default of `attachments.max_files`.
pub(super) const MAX_COMPLEXITY: usize = 20_000;
/// Says which limit a document exceeds. async-graphql's messages name none.
pub fn explain_limit(error: &mut ServerError) {
    let message = match error.message.as_str() {
        "Query is too complex." => format!(
            "The complexity of the operation is more than {MAX_COMPLEXITY}: each field counts 1, and \
             one inside a list once for each item that the list can have. Ask for fewer items or fields."
        ),
        "Query is nested too deep." => {
            format!("The fields are nested deeper than {MAX_DEPTH}. Ask for less at a time.")
        }
        _ => return,
    };
    error.message = message;
}
