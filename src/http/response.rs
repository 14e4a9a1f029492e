//! GraphQL responses, as every transport sends them.

use async_graphql::{Response as GraphqlResponse, ServerError, Value, indexmap::IndexMap};
use axum::{
    http::{HeaderValue, StatusCode, header},
    response::{IntoResponse as _, Response},
};
use serde::Serialize;

use super::{negotiation::MediaType, observe::RequestId};
use crate::graphql::code;

/// Replaces the `null` that async-graphql puts for a stream's message of which no field is
/// selected by an empty object: messages are never null.
pub fn fill_empty_message(response: &mut GraphqlResponse) {
    if let (true, Value::Object(message)) = (response.errors.is_empty(), &mut response.data) {
        let empty = message.values_mut().filter(|value| **value == Value::Null);
        empty.for_each(|value| *value = Value::Object(IndexMap::default()));
    }
}

/// Whether nothing was executed, because the document failed to parse, to validate or to pass
/// the guard.
pub fn is_request_error(response: &GraphqlResponse) -> bool {
    response.data == Value::Null
        && !response.errors.is_empty()
        && response.errors.iter().all(|error| error.path.is_empty())
}

/// Sets what errors lack: the code `BAD_REQUEST` on those of parsing, validation and the
/// coercion of inputs, and the request's id on the server's own.
pub fn complete_errors(errors: &mut [ServerError], id: Option<RequestId>) {
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

/// Whether the server failed to produce a part of a response whose errors are complete.
pub fn is_internal(response: &GraphqlResponse) -> bool {
    let code = Value::from(code::INTERNAL);
    response
        .errors
        .iter()
        .any(|error| error.extensions.as_ref().and_then(|values| values.get("code")) == Some(&code))
}

/// Encodes a response as JSON. As the GraphQL specification requires, there is no `data` if
/// nothing was executed.
pub fn encode(response: &GraphqlResponse) -> String {
    let data = (!is_request_error(response)).then_some(&response.data);
    serde_json::to_string(&Encoded { data, errors: &response.errors }).unwrap_or_default()
}

#[derive(Serialize)]
struct Encoded<'r> {
    #[serde(skip_serializing_if = "Option::is_none")]
    data: Option<&'r Value>,
    #[serde(skip_serializing_if = "<[_]>::is_empty")]
    errors: &'r [ServerError],
}

/// Completes and encodes a response as that of an HTTP request.
pub fn respond(
    status: StatusCode,
    mut response: GraphqlResponse,
    media: MediaType,
    id: Option<RequestId>,
) -> Response {
    complete_errors(&mut response.errors, id);
    let mut response = (status, encode(&response)).into_response();
    let headers = response.headers_mut();
    headers.insert(header::CONTENT_TYPE, media.content_type());
    headers.insert(header::CACHE_CONTROL, HeaderValue::from_static("no-store"));
    if status == StatusCode::METHOD_NOT_ALLOWED {
        headers.insert(header::ALLOW, HeaderValue::from_static("GET, POST"));
    }
    response
}
