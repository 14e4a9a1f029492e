//! The API's errors: a stable code for programs and a message for people. Details of the
//! server's failures go to the log only.

use std::sync::Arc;

use async_graphql::{Enum, ErrorExtensions as _, Pos, Response, ServerError, SimpleObject};
use chrono::TimeDelta;

use crate::{
    domain::{budget::Exceeded, comment::Comment, cursor::MalformedCursor, ticket::Ticket},
    events::SubscribeError,
    service::{self, ServiceError, error::user_error_codes},
};

/// The codes in `extensions.code` of top-level errors.
pub mod code {
    /// The caller has no session, or it has ended.
    pub const UNAUTHENTICATED: &str = "UNAUTHENTICATED";
    /// The caller lacks the permission for this operation.
    pub const FORBIDDEN: &str = "FORBIDDEN";
    /// The account must configure a second factor first, with `beginSecondFactor`. The user error
    /// of the same name is another one: the last second factor of such an account was to be removed.
    pub const SECOND_FACTOR_REQUIRED: &str = "SECOND_FACTOR_REQUIRED";
    /// Too many attempts, or too much at once or within a minute: retry after
    /// `extensions.retryAfterSeconds`.
    pub const RATE_LIMITED: &str = "RATE_LIMITED";
    /// The object does not exist, or the caller cannot see it.
    pub const NOT_FOUND: &str = "NOT_FOUND";
    /// The request is malformed or exceeds a limit.
    pub const BAD_REQUEST: &str = "BAD_REQUEST";
    /// The response would be larger than the limit. Ask for fewer items or fields.
    pub const RESPONSE_TOO_LARGE: &str = "RESPONSE_TOO_LARGE";
    /// The request needs more statements than the limit. Ask for fewer items or fields.
    pub const TOO_MANY_STATEMENTS: &str = "TOO_MANY_STATEMENTS";
    /// The request took longer than the limit.
    pub const TIMEOUT: &str = "TIMEOUT";
    /// The database or the storage of files is away, overloaded or full, others keep the same data locked,
    /// or the server is checking too many passwords: try again after
    /// `extensions.retryAfterSeconds`.
    pub const UNAVAILABLE: &str = "UNAVAILABLE";
    /// The server failed; the log has the details under `extensions.requestId`.
    pub const INTERNAL: &str = "INTERNAL";
}

/// When to retry a request that failed with `UNAVAILABLE`, in seconds.
pub const RETRY_AFTER_SECONDS: u32 = 5;

/// The message of `UNAVAILABLE` if the database is away or overloaded.
pub const UNAVAILABLE_MESSAGE: &str = "The server cannot reach its database, or the database is overloaded or full. Try again in 5 seconds.";

/// The message of `UNAUTHENTICATED`.
pub const UNAUTHENTICATED_MESSAGE: &str = "You are not signed in, or your session has ended. Call `signIn` and send its token as \
     `Authorization: Bearer …`, or over a websocket as `authorization` in the payload of \
     `connection_init`.";

/// The message of `FORBIDDEN`.
pub const FORBIDDEN_MESSAGE: &str =
    "You do not have permission to do this. Ask an admin if you need it.";

/// The message of `SECOND_FACTOR_REQUIRED`.
pub const SECOND_FACTOR_REQUIRED_MESSAGE: &str = "Your account requires a second factor. Configure one with `beginSecondFactor` and \
     `confirmSecondFactor`, then try again.";

/// Returns the response to a request that has exceeded its budget: one error, and no data.
pub fn exceeded_response(exceeded: Exceeded) -> Response {
    Response::from_errors(vec![request_error(exceeded.into())])
}

/// Returns the error of a request whose execution has panicked.
pub fn panicked_error() -> ServerError {
    request_error(Failure::internal("it panicked"))
}

/// Returns the error of a request whose caller could not be looked up.
pub fn unavailable_error() -> ServerError {
    request_error(Failure::unavailable("looking up a session failed"))
}

/// Returns a failure as the error of a request of which nothing was executed.
fn request_error(failure: Failure) -> ServerError {
    let mut error = async_graphql::Error::from(failure).into_server_error(Pos::default());
    error.locations.clear();
    error
}

/// An error in the input that the caller can correct.
#[derive(SimpleObject, Clone)]
#[graphql(crate = "crate::graphql::executor")]
pub struct UserError {
    /// The path of the input field, or null if the error is about the input as a whole.
    field: Option<Vec<String>>,
    /// The reason, for programs.
    code: UserErrorCode,
    /// The reason and what to do about it, for people. In English.
    message: String,
}

user_error_codes! {
    /// The reason why an input was rejected.
    #[derive(Enum, Copy, Clone, PartialEq, Eq)]
    #[graphql(remote = "service::UserErrorCode")]
    pub enum UserErrorCode
}

impl From<service::UserError> for UserError {
    fn from(error: service::UserError) -> Self {
        let names = error.field.into_iter().map(str::to_owned);
        let path = names.chain(error.position.map(|position| position.to_string()));
        let path = path.collect::<Vec<_>>();
        let field = (!path.is_empty()).then_some(path);
        Self { field, code: error.code.into(), message: error.message }
    }
}

/// A top-level error. It becomes async-graphql's error together with its code. It does not
/// implement `Display`, so that no other conversion can drop the code.
#[derive(Clone)]
pub struct Failure {
    code: &'static str,
    message: String,
    retry_after_seconds: Option<i64>,
}

impl Failure {
    /// The request is malformed or exceeds a limit.
    pub fn bad_request(message: impl Into<String>) -> Self {
        Self::new(code::BAD_REQUEST, message)
    }

    /// The object does not exist, or the caller cannot see it.
    pub fn not_found() -> Self {
        ServiceError::NotFound.into()
    }

    /// Resolvers lack a part of their context, which only a bug in the server can cause.
    pub(super) fn missing_context(error: async_graphql::Error) -> Self {
        Self::internal(&error.message)
    }

    fn new(code: &'static str, message: impl Into<String>) -> Self {
        Self { code, message: message.into(), retry_after_seconds: None }
    }

    fn rate_limited(reason: &str, retry_after: TimeDelta) -> Self {
        // Rounded up, so that a caller who waits this long is not rejected again.
        let seconds = (retry_after.num_milliseconds().max(1) + 999) / 1_000;
        let unit = if seconds == 1 { "second" } else { "seconds" };
        let message = format!("{reason} Try again in {seconds} {unit}.");
        Self { retry_after_seconds: Some(seconds), ..Self::new(code::RATE_LIMITED, message) }
    }

    fn unavailable(cause: &str) -> Self {
        tracing::error!(cause, "request failed: the database is not available");
        Self {
            retry_after_seconds: Some(RETRY_AFTER_SECONDS.into()),
            ..Self::new(code::UNAVAILABLE, UNAVAILABLE_MESSAGE)
        }
    }

    fn contended(cause: &str) -> Self {
        tracing::warn!(cause, "request failed: other changes of the same data stood in the way");
        let message = "Others keep the same data locked for too long. Try again in 5 seconds.";
        Self {
            retry_after_seconds: Some(RETRY_AFTER_SECONDS.into()),
            ..Self::new(code::UNAVAILABLE, message)
        }
    }

    fn busy() -> Self {
        tracing::warn!("request failed: too many passwords are waiting to be hashed");
        let message = "The server is checking too many passwords. Try again in 5 seconds.";
        Self {
            retry_after_seconds: Some(RETRY_AFTER_SECONDS.into()),
            ..Self::new(code::UNAVAILABLE, message)
        }
    }

    fn internal(cause: &str) -> Self {
        tracing::error!(cause, "executing a field failed");
        Self::new(
            code::INTERNAL,
            "The server could not complete this request. Try again; if it keeps failing, send the \
             request id to the operator.",
        )
    }
}

impl From<Exceeded> for Failure {
    fn from(exceeded: Exceeded) -> Self {
        match exceeded {
            Exceeded::Response { limit } => Self::new(
                code::RESPONSE_TOO_LARGE,
                format!(
                    "The response would be larger than {limit} bytes. Ask for fewer items or \
                     fields, and for the rest in further requests."
                ),
            ),
            Exceeded::Statements { limit } => Self::new(
                code::TOO_MANY_STATEMENTS,
                format!(
                    "The request needs more than {limit} database statements. Ask for fewer items \
                     or fields, and for the rest in further requests."
                ),
            ),
            Exceeded::Time { limit } => Self::new(
                code::TIMEOUT,
                format!(
                    "The request took longer than {} seconds and was cancelled. Ask for less, or \
                     try again later. A mutation may have taken effect: read again before you \
                     repeat it, or use an `idempotencyKey`.",
                    limit.as_secs()
                ),
            ),
        }
    }
}

impl Failure {
    /// Returns the failure for a budget that is used up, a database that is away, data that others
    /// keep locked, a search that takes too long, or too many passwords at a time.
    fn of_resources(error: &ServiceError) -> Option<Self> {
        if let Some(exceeded) = error.exceeded() {
            return Some(exceeded.into());
        }
        if error.is_unavailable() {
            return Some(Self::unavailable(&error.to_string()));
        }
        if error.is_contended() {
            return Some(Self::contended(&error.to_string()));
        }
        if error.is_busy() {
            return Some(Self::busy());
        }
        let seconds = error.search_limit()?.as_secs();
        Some(Self::bad_request(format!(
            "The search takes longer than {seconds} seconds. Search for fewer or rarer words."
        )))
    }
}

impl From<&ServiceError> for Failure {
    fn from(error: &ServiceError) -> Self {
        if let Some(failure) = Self::of_resources(error) {
            return failure;
        }
        let (code, message) = match error {
            ServiceError::Unauthenticated => (code::UNAUTHENTICATED, UNAUTHENTICATED_MESSAGE),
            ServiceError::Forbidden => (code::FORBIDDEN, FORBIDDEN_MESSAGE),
            ServiceError::SecondFactorMissing => {
                (code::SECOND_FACTOR_REQUIRED, SECOND_FACTOR_REQUIRED_MESSAGE)
            }
            ServiceError::RateLimited { retry_after } => {
                return Self::rate_limited("Too many attempts.", *retry_after);
            }
            ServiceError::TooFrequent { things, per_minute, retry_after } => {
                let reason =
                    format!("At most {per_minute} {things} a minute are accepted from you.");
                return Self::rate_limited(&reason, *retry_after);
            }
            ServiceError::TooSlow { limit, advice } => {
                let seconds = limit.as_secs();
                let message = format!("This takes longer than {seconds} seconds. {advice}");
                return Self::bad_request(message);
            }
            ServiceError::NotFound => {
                (code::NOT_FOUND, "This does not exist, or you do not have access to it.")
            }
            ServiceError::Invalid(_)
            | ServiceError::Conflict(_)
            | ServiceError::AnsweredMeanwhile { .. }
            | ServiceError::Database(_)
            | ServiceError::Storage(_)
            | ServiceError::Ledger(_)
            | ServiceError::Seal(_)
            | ServiceError::Totp(_)
            | ServiceError::Password(_) => return Self::internal(&error.to_string()),
        };
        Self::new(code, message)
    }
}

impl From<ServiceError> for Failure {
    fn from(error: ServiceError) -> Self {
        Self::from(&error)
    }
}

impl From<Arc<ServiceError>> for Failure {
    fn from(error: Arc<ServiceError>) -> Self {
        Self::from(&*error)
    }
}

impl From<MalformedCursor> for Failure {
    fn from(error: MalformedCursor) -> Self {
        Self::bad_request(format!("`after`: {error}."))
    }
}

impl From<SubscribeError> for Failure {
    fn from(error: SubscribeError) -> Self {
        match error {
            SubscribeError::Unauthenticated => ServiceError::Unauthenticated.into(),
            SubscribeError::NotFound => ServiceError::NotFound.into(),
            SubscribeError::SecondFactorMissing => ServiceError::SecondFactorMissing.into(),
            SubscribeError::CursorAhead => Self::bad_request(
                "`after`: this cursor is beyond the end of the event log, so it is not from this \
                 installation. Reload your data together with `eventCursor`, and subscribe after \
                 that cursor.",
            ),
            SubscribeError::Database(error) => ServiceError::from(error).into(),
        }
    }
}

impl From<Failure> for async_graphql::Error {
    fn from(failure: Failure) -> Self {
        Self::new(failure.message).extend_with(|_, extensions| {
            extensions.set("code", failure.code);
            if let Some(seconds) = failure.retry_after_seconds {
                extensions.set("retryAfterSeconds", seconds);
            }
        })
    }
}

/// The outcome of a mutation for its payload.
#[expect(clippy::large_enum_variant, reason = "short-lived: matched as soon as it is returned")]
pub enum Outcome<T> {
    /// It succeeded.
    Done(T),
    /// It was rejected, and nothing was changed.
    Rejected {
        /// What the caller can correct.
        errors: Vec<UserError>,
        /// The ticket in its current state, if it has changed since the caller read it.
        current: Option<Ticket>,
        /// The comments that others have added since the caller read the ticket, if the rejection
        /// is about them.
        meanwhile: Vec<Comment>,
    },
}

impl<T> Outcome<T> {
    /// Splits the result of a use case: errors that the caller can correct go into the
    /// payload.
    ///
    /// # Errors
    /// Everything else, as a top-level error.
    pub fn of(result: Result<T, ServiceError>) -> Result<Self, Failure> {
        match result {
            Ok(done) => Ok(Self::Done(done)),
            Err(ServiceError::Invalid(errors)) => {
                let errors = errors.into_iter().map(UserError::from).collect();
                Ok(Self::Rejected { errors, current: None, meanwhile: vec![] })
            }
            Err(ServiceError::Conflict(ticket)) => {
                let conflict = service::UserError::new(
                    "expectedVersion",
                    service::UserErrorCode::Conflict,
                    format!(
                        "The ticket has changed and is now at version {}. Check its current state \
                         and try again with that version.",
                        ticket.version
                    ),
                );
                let errors = vec![conflict.into()];
                Ok(Self::Rejected { errors, current: Some(*ticket), meanwhile: vec![] })
            }
            Err(ServiceError::AnsweredMeanwhile { ticket, comments }) => {
                let answered = service::UserError::new(
                    "seenUpTo",
                    service::UserErrorCode::AnsweredMeanwhile,
                    "Others have commented since. Read their comments, and send yours again with \
                     the last event that you have seen.",
                );
                let errors = vec![answered.into()];
                Ok(Self::Rejected { errors, current: Some(*ticket), meanwhile: comments })
            }
            Err(error) => Err(error.into()),
        }
    }
}
