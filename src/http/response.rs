//! GraphQL responses, as every transport sends them.

use std::io;

use async_graphql::{Response as GraphqlResponse, ServerError, Value, indexmap::IndexMap};
use axum::{
    body::Body,
    http::{HeaderValue, StatusCode, header},
    response::{IntoResponse as _, Response},
};

use super::{negotiation::MediaType, observe::RequestId, response_body};
use crate::{
    domain::{budget::Exceeded, request},
    graphql::{
        RETRY_AFTER_SECONDS, code, exceeded_response, explain_limit,
        json::{self, Sink},
    },
};

/// Replaces the `null` that async-graphql puts for a stream's message of which no field is
/// selected by an empty object: messages are never null.
pub fn fill_empty_message(response: &mut GraphqlResponse) {
    if let (true, Value::Object(message)) = (response.errors.is_empty(), &mut response.data) {
        let empty = message.values_mut().filter(|value| **value == Value::Null);
        empty.for_each(|value| *value = Value::Object(IndexMap::default()));
    }
}

/// The status of a response with data and errors.
const PARTIAL_SUCCESS: u16 = 294;
/// The codes of executions that ended without a result.
const BROKEN_OFF: [&str; 3] = [code::RESPONSE_TOO_LARGE, code::TOO_MANY_STATEMENTS, code::TIMEOUT];

/// Whether nothing was executed, because the document failed to parse, to validate or to pass
/// the guard.
pub fn is_request_error(response: &GraphqlResponse) -> bool {
    response.data == Value::Null
        && !response.errors.is_empty()
        && !BROKEN_OFF.iter().any(|code| has_code(response, code))
        && response.errors.iter().all(|error| error.path.is_empty())
}

/// The codes of errors with which the server failed, the most serious first.
const FAILURES: [&str; 3] = [code::INTERNAL, code::UNAVAILABLE, code::TIMEOUT];

/// Sets what errors lack: the code `BAD_REQUEST` on those of parsing, validation and the
/// coercion of inputs, and the request's id on the server's own.
pub fn complete_errors(errors: &mut [ServerError], id: Option<RequestId>) {
    for error in errors {
        explain_limit(error);
        let extensions = error.extensions.get_or_insert_default();
        if extensions.get("code").is_none() {
            extensions.set("code", code::BAD_REQUEST);
        }
        let code = extensions.get("code");
        let is_failure = FAILURES.iter().any(|&failure| code == Some(&Value::from(failure)));
        if let Some(RequestId(id)) = id.filter(|_| is_failure) {
            extensions.set("requestId", id.simple().to_string());
        }
    }
}

/// Returns the code with which the server failed to produce a part of a response whose errors are
/// complete, perhaps only this time, or `None` if it did not fail.
pub fn failure(response: &GraphqlResponse) -> Option<&'static str> {
    FAILURES.into_iter().find(|code| has_code(response, code))
}

/// Whether a part of a response is missing because the database is away.
pub fn is_unavailable(response: &GraphqlResponse) -> bool {
    has_code(response, code::UNAVAILABLE)
}

/// Whether a request was ended because its response would be too large.
pub fn is_too_large(response: &GraphqlResponse) -> bool {
    has_code(response, code::RESPONSE_TOO_LARGE)
}

/// Whether a part of a request was refused because its caller has done too much.
pub fn is_rate_limited(response: &GraphqlResponse) -> bool {
    has_code(response, code::RATE_LIMITED)
}

/// Returns the code of an error. One without a code is a `BAD_REQUEST`.
pub fn code_of(error: &ServerError) -> String {
    match error.extensions.as_ref().and_then(|values| values.get("code")) {
        Some(Value::String(code)) => code.clone(),
        _ => code::BAD_REQUEST.to_owned(),
    }
}

fn has_code(response: &GraphqlResponse, code: &str) -> bool {
    let code = Value::from(code);
    response
        .errors
        .iter()
        .any(|error| error.extensions.as_ref().and_then(|values| values.get("code")) == Some(&code))
}

/// Encodes a response as JSON. As the GraphQL specification requires, there is no `data` if
/// nothing was executed. If it would be longer than `limit` bytes, it becomes the error for that.
pub fn encode(response: &mut GraphqlResponse, limit: usize) -> String {
    encode_within(response, limit).unwrap_or_else(|| {
        *response = exceeded_response(Exceeded::Response { limit });
        encode_within(response, usize::MAX).unwrap_or_default()
    })
}

fn encode_within(response: &GraphqlResponse, limit: usize) -> Option<String> {
    let mut text = Bounded { bytes: Vec::new(), limit };
    write(&mut text, response).ok()?;
    String::from_utf8(text.bytes).ok()
}

fn write(text: &mut Bounded, response: &GraphqlResponse) -> io::Result<()> {
    let has_data = !is_request_error(response);
    text.push(b"{")?;
    if has_data {
        text.push(b"\"data\":")?;
        json::write(text, &response.data)?;
    }
    if !response.errors.is_empty() {
        text.push(if has_data { b",\"errors\":" } else { b"\"errors\":" })?;
        serde_json::to_writer(&mut *text, &response.errors)?;
    }
    text.push(b"}")
}

/// The size of a response for which memory is reserved up to the limit.
const LARGE: usize = 1 << 19;

/// Bytes up to a limit. Writing more fails.
struct Bounded {
    bytes: Vec<u8>,
    limit: usize,
}

impl Sink for Bounded {
    type Error = io::Error;

    fn push(&mut self, bytes: &[u8]) -> io::Result<()> {
        if bytes.len() > self.limit - self.bytes.len() {
            return Err(io::ErrorKind::FileTooLarge.into());
        }
        if self.bytes.len() > LARGE && self.limit < usize::MAX {
            // Once, instead of a copy each time that the size has doubled. Unused pages of memory
            // take none.
            self.bytes.reserve_exact(self.limit - self.bytes.len());
        }
        self.bytes.extend_from_slice(bytes);
        Ok(())
    }
}

impl io::Write for Bounded {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.push(bytes)?;
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

/// Completes and encodes a response of at most `limit` bytes as that of an HTTP request. What
/// `until_sent` returns for its size is dropped when the response was sent.
///
/// # Errors
/// Those of `until_sent`.
pub fn respond<H: Send + 'static, E>(
    mut response: GraphqlResponse,
    media: MediaType,
    id: Option<RequestId>,
    limit: usize,
    until_sent: impl FnOnce(usize) -> Result<H, E>,
) -> Result<Response, E> {
    complete_errors(&mut response.errors, id);
    let text = encode(&mut response, limit);
    if is_too_large(&response) {
        request::record_error(code::RESPONSE_TOO_LARGE);
    }
    let held = until_sent(text.len())?;
    let body = response_body::in_chunks(response_body::holding(text, held));
    let mut encoded = with_headers(status(&response, media), body, media);
    if is_unavailable(&response) {
        // Also with data, since a part of it is missing.
        let seconds = HeaderValue::from(RETRY_AFTER_SECONDS);
        encoded.headers_mut().insert(header::RETRY_AFTER, seconds);
    }
    Ok(encoded)
}

/// Completes and encodes the response to a request that is refused with a status.
pub fn refuse(
    status: StatusCode,
    mut response: GraphqlResponse,
    media: MediaType,
    id: Option<RequestId>,
) -> Response {
    complete_errors(&mut response.errors, id);
    with_headers(status, encode(&mut response, usize::MAX), media)
}

/// Returns the status of a response. A document that could not be executed is the caller's
/// fault: 400. A response with data and errors is a partial success: 294 (GraphQL over HTTP).
/// The old media type requires 200 for both. If there is no data because the database is away, the
/// caller tries again: 503.
fn status(response: &GraphqlResponse, media: MediaType) -> StatusCode {
    if response.data == Value::Null && is_unavailable(response) {
        StatusCode::SERVICE_UNAVAILABLE
    } else if response.errors.is_empty() || media != MediaType::GraphqlResponse {
        StatusCode::OK
    } else if is_request_error(response) {
        StatusCode::BAD_REQUEST
    } else {
        StatusCode::from_u16(PARTIAL_SUCCESS).unwrap_or(StatusCode::OK)
    }
}

fn with_headers(status: StatusCode, body: impl Into<Body>, media: MediaType) -> Response {
    let mut response = (status, body.into()).into_response();
    let headers = response.headers_mut();
    headers.insert(header::CONTENT_TYPE, media.content_type());
    headers.insert(header::CACHE_CONTROL, HeaderValue::from_static("no-store"));
    if status == StatusCode::SERVICE_UNAVAILABLE {
        headers.insert(header::RETRY_AFTER, HeaderValue::from(RETRY_AFTER_SECONDS));
    }
    if status == StatusCode::UNAUTHORIZED {
        headers.insert(header::WWW_AUTHENTICATE, HeaderValue::from_static("Bearer"));
    }
    if status == StatusCode::METHOD_NOT_ALLOWED {
        headers.insert(header::ALLOW, HeaderValue::from_static("GET, POST"));
    }
    response
}

#[cfg(test)]
mod tests {
    use async_graphql::{PathSegment, value};

    use super::*;

    #[test]
    fn a_response_with_data_is_a_success_though_the_database_is_away() {
        for (data, new, old) in [
            (value!({ "viewer": null }), 294, 200),
            (value!({}), 294, 200),
            (Value::Null, 503, 503),
        ] {
            for (media, status) in [(MediaType::GraphqlResponse, new), (MediaType::Json, old)] {
                let mut error = ServerError::new("away", None);
                error.path = vec![PathSegment::Field("viewer".into())];
                error.extensions.get_or_insert_default().set("code", code::UNAVAILABLE);
                let mut response = GraphqlResponse::new(data.clone());
                response.errors.push(error);
                let encoded =
                    respond(response, media, None, usize::MAX, |_| Ok::<_, ()>(())).unwrap();
                assert_eq!(encoded.status().as_u16(), status, "{data} {media:?}");
                assert_eq!(encoded.headers()[header::RETRY_AFTER], "5");
            }
        }
    }
}
