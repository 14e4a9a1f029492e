//! A response as every transport sends it.

use async_graphql::{Response as GraphqlResponse, ServerError, Value};
use serde::Serialize;

use super::observe::RequestId;
use crate::graphql::code;

/// Gives a message of a stream of which nothing was selected its empty object: async-graphql
/// says `null`, which no message may be.
pub fn fill_message(response: &mut GraphqlResponse) {
    if let (true, Value::Object(message)) = (response.errors.is_empty(), &mut response.data) {
        let empty = message.values_mut().filter(|value| **value == Value::Null);
        empty.for_each(|value| *value = Value::Object(Default::default()));
    }
}

/// Whether nothing was executed: parsing, validation or a guard refused the document.
pub fn is_request_error(response: &GraphqlResponse) -> bool {
    response.data == Value::Null
        && !response.errors.is_empty()
        && response.errors.iter().all(|error| error.path.is_empty())
}

/// Gives every error a code, and the server's own errors the request's id. What
/// has no code yet comes from parsing, validation or the coercion of an input.
pub fn complete(errors: &mut [ServerError], id: Option<RequestId>) {
    for error in errors {
        let extensions = error.extensions.get_or_insert_default();
        if extensions.get("code").is_none() {
            extensions.set("code", code::BAD_REQUEST);
        }
        let internal = extensions.get("code") == Some(&Value::from(code::INTERNAL));
        if let Some(RequestId(id)) = id.filter(|_| internal) {
            extensions.set("requestId", id.simple().to_string());
        }
    }
}

/// Whether the server failed at a part of a response whose errors have been completed.
pub fn is_internal(response: &GraphqlResponse) -> bool {
    has_code(response, code::INTERNAL)
}

/// Whether a stream's response, to a message that its reader could see, shows what they
/// can see no longer: word of that follows, and the message is no more for them.
pub fn is_out_of_sight(response: &GraphqlResponse) -> bool {
    has_code(response, code::NOT_FOUND)
}

fn has_code(response: &GraphqlResponse, code: &str) -> bool {
    let code = Value::from(code);
    response
        .errors
        .iter()
        .any(|error| error.extensions.as_ref().and_then(|values| values.get("code")) == Some(&code))
}

/// A response as the specification has it: no `data` where nothing was executed.
#[derive(Serialize)]
pub struct Encoded<'r> {
    #[serde(skip_serializing_if = "Option::is_none")]
    data: Option<&'r Value>,
    #[serde(skip_serializing_if = "<[_]>::is_empty")]
    errors: &'r [ServerError],
}

impl<'r> Encoded<'r> {
    /// Wraps a response.
    pub fn of(response: &'r GraphqlResponse) -> Self {
        let data = (!is_request_error(response)).then_some(&response.data);
        Self { data, errors: &response.errors }
    }
}
