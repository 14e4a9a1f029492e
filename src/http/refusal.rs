//! Requests that are answered without executing anything.

use std::any::Any;

use async_graphql::{ParseRequestError, Response as GraphqlResponse, ServerError};
use axum::{
    http::{StatusCode, header},
    response::{IntoResponse, Response},
};

use super::{budgets::LimitReached, negotiation::MediaType, observe::RequestId, response};
use crate::{
    domain::request,
    graphql::{RETRY_AFTER_SECONDS, UNAVAILABLE_MESSAGE, code},
    service::ServiceError,
};

/// Why a request is not executed.
pub struct Refusal {
    /// The status of the response.
    pub status: StatusCode,
    /// The error's code.
    pub code: &'static str,
    /// The error's message: what is wrong, and what to do.
    pub message: String,
    /// When to come back, or `None` if another time makes no difference.
    pub retry_after_seconds: Option<u32>,
}

impl Refusal {
    /// Refuses with a status and the code `BAD_REQUEST`.
    pub fn new(status: StatusCode, message: impl Into<String>) -> Self {
        Self { status, code: code::BAD_REQUEST, message: message.into(), retry_after_seconds: None }
    }

    /// Refuses with 400 and the code `BAD_REQUEST`.
    pub fn bad_request(message: impl Into<String>) -> Self {
        Self::new(StatusCode::BAD_REQUEST, message)
    }

    /// Refuses a list of operations.
    pub fn batched() -> Self {
        Self::bad_request("Batched requests are not supported: send one operation per request.")
    }

    /// Refuses with 405 and the code `BAD_REQUEST`.
    pub fn method_not_allowed(message: &str) -> Self {
        Self::new(StatusCode::METHOD_NOT_ALLOWED, message)
    }

    /// Refuses with 500, because the server failed. Logs the cause, which the caller does not
    /// see.
    pub fn internal(cause: &str) -> Self {
        tracing::error!(cause, "refusing a request: the server failed");
        Self {
            status: StatusCode::INTERNAL_SERVER_ERROR,
            code: code::INTERNAL,
            message: "The server could not complete this request. Try again; if it keeps failing, \
                      send the request id to the operator."
                .into(),
            retry_after_seconds: None,
        }
    }

    /// Refuses with 503 if the database is away, and otherwise with 500.
    pub fn failed(error: &ServiceError) -> Self {
        if !error.is_unavailable() {
            return Self::internal(&error.to_string());
        }
        tracing::error!(%error, "handling a request failed: the database is not available");
        Self {
            status: StatusCode::SERVICE_UNAVAILABLE,
            code: code::UNAVAILABLE,
            message: UNAVAILABLE_MESSAGE.into(),
            retry_after_seconds: Some(RETRY_AFTER_SECONDS),
        }
    }

    /// Encodes the refusal as the response to a request.
    pub fn respond(self, media: MediaType, id: Option<RequestId>) -> Response {
        request::record_error(self.code);
        let mut error = ServerError::new(self.message, None);
        let extensions = error.extensions.get_or_insert_default();
        extensions.set("code", self.code);
        if let Some(seconds) = self.retry_after_seconds {
            extensions.set("retryAfterSeconds", seconds);
        }
        let refused = GraphqlResponse::from_errors(vec![error]);
        let mut response = response::refuse(self.status, refused, media, id);
        if let Some(seconds) = self.retry_after_seconds {
            response.headers_mut().insert(header::RETRY_AFTER, seconds.into());
        }
        response
    }
}

impl From<LimitReached> for Refusal {
    fn from(reached: LimitReached) -> Self {
        Self {
            status: StatusCode::TOO_MANY_REQUESTS,
            code: code::RATE_LIMITED,
            message: reached.message,
            retry_after_seconds: Some(reached.retry_after_seconds),
        }
    }
}

impl From<ParseRequestError> for Refusal {
    fn from(error: ParseRequestError) -> Self {
        match error {
            ParseRequestError::PayloadTooLarge => {
                Self::new(StatusCode::PAYLOAD_TOO_LARGE, "The body is too large.")
            }
            _ => Self::bad_request("The body is not a GraphQL request."),
        }
    }
}

impl IntoResponse for Refusal {
    fn into_response(self) -> Response {
        self.respond(MediaType::Json, None)
    }
}

/// Answers a request whose handler panicked.
pub fn panicked(cause: Box<dyn Any + Send>) -> Response {
    let text = cause
        .downcast_ref::<String>()
        .map(String::as_str)
        .or_else(|| cause.downcast_ref::<&str>().copied())
        .unwrap_or("unknown");
    Refusal::internal(text).into_response()
}
