//! Errors, as the API tells them: a stable code for programs, a sentence for
//! people, and nothing of the server's insides.

use std::sync::Arc;

use async_graphql::{Enum, ErrorExtensions as _, SimpleObject};

use super::ticket::Ticket;
use crate::{
    domain::cursor::MalformedCursor,
    events::SubscribeError,
    service::{self, ServiceError},
};

/// The codes in `extensions.code` of top-level errors.
pub mod code {
    /// Sign in first, or again.
    pub const UNAUTHENTICATED: &str = "UNAUTHENTICATED";
    /// You may see it, and not do this to it.
    pub const FORBIDDEN: &str = "FORBIDDEN";
    /// Your account needs a second factor: configure one first, with `beginSecondFactor`.
    pub const SECOND_FACTOR_REQUIRED: &str = "SECOND_FACTOR_REQUIRED";
    /// Too many attempts; `extensions.retryAfterSeconds` says how long to wait.
    pub const RATE_LIMITED: &str = "RATE_LIMITED";
    /// It does not exist, or not for you.
    pub const NOT_FOUND: &str = "NOT_FOUND";
    /// The request itself is wrong.
    pub const BAD_REQUEST: &str = "BAD_REQUEST";
    /// The server failed; `extensions.requestId` finds it in the log.
    pub const INTERNAL: &str = "INTERNAL";
}

/// What is wrong with one field of an input, which the person can mend.
#[derive(SimpleObject, Clone)]
pub struct UserError {
    /// The path of the input's field; null where the error is about the input as a whole.
    field: Option<Vec<String>>,
    /// What is wrong, for programs.
    code: UserErrorCode,
    /// What is wrong and what to do about it, for people.
    message: String,
}

/// What can be wrong with an input.
#[derive(Enum, Copy, Clone, PartialEq, Eq)]
#[graphql(remote = "service::UserErrorCode")]
pub enum UserErrorCode {
    /// Nothing was given where something is needed.
    Required,
    /// More was given than fits.
    TooLong,
    /// Not of the form that the field takes: a control character, a malformed address.
    Invalid,
    /// It names something that does not exist.
    NotFound,
    /// The e-mail address or the password is wrong.
    InvalidCredentials,
    /// The code is wrong, has been used, or is not the last one that was sent.
    InvalidCode,
    /// The challenge, link or set-up is over, was used before, or never was: begin again.
    Expired,
    /// The password is too common or too easy to guess.
    WeakPassword,
    /// The new password and its repetition differ.
    Mismatch,
    /// Give your password, and a code if you have a second factor, with `reauthenticate`
    /// first.
    ReauthenticationRequired,
    /// Your account needs a second factor, and this is the last one.
    SecondFactorRequired,
    /// It is not configured for your account, or not possible in this installation.
    NotAvailable,
    /// The link was used before, has expired, or is none of ours.
    InvalidLink,
    /// The ticket's status can't be changed so, or not by you.
    IllegalTransition,
    /// The ticket is closed and takes no comments.
    TicketClosed,
    /// The category takes no tickets any more.
    CategoryRetired,
    /// This is the last category that takes tickets: it can't be retired.
    LastCategory,
    /// Nobody may do this to their own account: another admin has to.
    OwnAccount,
    /// This is the last admin who can sign in: make somebody else one first.
    LastAdmin,
    /// Tickets can't be assigned to this account.
    NotAssignable,
    /// The idempotency key was used in the last 24 hours with another input.
    IdempotencyKeyReused,
    /// The ticket has changed since the `expectedVersion` that was given; the
    /// payload has it as it stands.
    Conflict,
    /// Another account, or another category, has it.
    Taken,
    /// There are as many as there can be.
    TooMany,
    /// The file is larger than is taken, or all files together are.
    TooLarge,
}

impl From<service::UserError> for UserError {
    fn from(error: service::UserError) -> Self {
        let field =
            (!error.field.is_empty()).then(|| error.field.into_iter().map(str::to_owned).collect());
        Self { field, code: error.code.into(), message: error.message }
    }
}

/// A top-level error: it turns into async-graphql's with a code, and is logged if
/// it is the server's. Not `Display`, so that no other conversion can drop the code.
#[derive(Clone)]
pub struct Failure {
    code: &'static str,
    message: String,
    retry_after_seconds: Option<i64>,
}

impl Failure {
    /// The request itself is wrong.
    pub fn bad_request(message: impl Into<String>) -> Self {
        Self { code: code::BAD_REQUEST, message: message.into(), retry_after_seconds: None }
    }

    /// There is no such thing, or not for the caller.
    pub fn not_found() -> Self {
        ServiceError::NotFound.into()
    }

    /// A part of the server is missing.
    pub(super) fn missing(error: async_graphql::Error) -> Self {
        internal(&error.message)
    }
}

fn internal(cause: &str) -> Failure {
    tracing::error!(cause, "a request failed");
    Failure {
        code: code::INTERNAL,
        message: "The server failed to answer this. Try again; if it stays so, tell its operator \
                  the request id."
            .into(),
        retry_after_seconds: None,
    }
}

impl From<&ServiceError> for Failure {
    fn from(error: &ServiceError) -> Self {
        let (code, message) = match error {
            ServiceError::Unauthenticated => (
                code::UNAUTHENTICATED,
                "Sign in first: `signIn` gives a token to send as `Authorization: Bearer …`, or as \
                 `authorization` in the payload of a websocket's connection_init. A token that was \
                 sent has expired or been signed out.",
            ),
            ServiceError::Forbidden => (code::FORBIDDEN, "Your account may not do this."),
            ServiceError::SecondFactorMissing => (
                code::SECOND_FACTOR_REQUIRED,
                "Your account needs a second factor: configure one first, with `beginSecondFactor` \
                 and `confirmSecondFactor`.",
            ),
            ServiceError::RateLimited { retry_after } => {
                // Rounded up: whoever waits so long is not refused again.
                let seconds = (retry_after.num_milliseconds().max(1) + 999) / 1_000;
                return Self {
                    code: code::RATE_LIMITED,
                    message: format!(
                        "Too many attempts. Wait for {seconds} seconds and try again."
                    ),
                    retry_after_seconds: Some(seconds),
                };
            }
            ServiceError::NotFound => {
                (code::NOT_FOUND, "There is no such thing, or you may not see it.")
            }
            ServiceError::Invalid(_)
            | ServiceError::Conflict(_)
            | ServiceError::Database(_)
            | ServiceError::Storage(_)
            | ServiceError::Seal(_)
            | ServiceError::Totp(_)
            | ServiceError::Password(_) => return internal(&error.to_string()),
        };
        Self { code, message: message.into(), retry_after_seconds: None }
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
                "`after`: this cursor lies after the end of the event log, so it was not given out \
                 by this installation. Start again without `after`.",
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

/// What a mutation came to: done, or refused with what the person can mend.
#[expect(clippy::large_enum_variant, reason = "it lives for a match")]
pub enum Outcome<T> {
    /// It is done.
    Done(T),
    /// Nothing was done.
    Refused {
        /// Why.
        errors: Vec<UserError>,
        /// The ticket as it stands, where it has changed meanwhile.
        current: Option<Ticket>,
    },
}

impl<T> Outcome<T> {
    /// Sorts a use case's result: what a person can mend goes into the payload,
    /// the rest is a top-level error.
    pub fn of(result: Result<T, ServiceError>) -> Result<Self, Failure> {
        match result {
            Ok(done) => Ok(Self::Done(done)),
            Err(ServiceError::Invalid(errors)) => {
                let errors = errors.into_iter().map(UserError::from).collect();
                Ok(Self::Refused { errors, current: None })
            }
            Err(ServiceError::Conflict(ticket)) => {
                let conflict = service::UserError::new(
                    "expectedVersion",
                    service::UserErrorCode::Conflict,
                    format!(
                        "The ticket has changed meanwhile and is at version {}. Look at it as it \
                         stands and try again.",
                        ticket.version
                    ),
                );
                Ok(Self::Refused { errors: vec![conflict.into()], current: Some(Ticket(*ticket)) })
            }
            Err(error) => Err(error.into()),
        }
    }
}
