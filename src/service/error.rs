//! How a use case can fail.

use chrono::TimeDelta;

use crate::{
    crypto::{password::PasswordError, seal::SealError, totp::TotpError},
    db::DbError,
    domain::{text::TextError, ticket::Ticket},
    storage::StorageError,
};

/// How a use case can fail. Nothing was changed in any of these cases.
#[derive(Debug, thiserror::Error)]
pub enum ServiceError {
    /// Somebody has to sign in first.
    #[error("nobody is signed in")]
    Unauthenticated,
    /// They may see it, and not do this to it.
    #[error("the actor may not do this")]
    Forbidden,
    /// It does not exist, or not for them.
    #[error("there is no such thing for the actor")]
    NotFound,
    /// They have to configure a second factor first.
    #[error("a second factor has to be configured first")]
    SecondFactorMissing,
    /// They have tried too often.
    #[error("too many attempts")]
    RateLimited {
        /// How long to wait.
        retry_after: TimeDelta,
    },
    /// What they can mend in their input: at least one.
    #[error("the input has errors: {0:?}")]
    Invalid(Vec<UserError>),
    /// The ticket has changed since they looked; this is how it stands.
    #[error("the ticket has changed")]
    Conflict(Box<Ticket>),
    /// The database failed.
    #[error(transparent)]
    Database(#[from] DbError),
    /// The bytes of attachments can't be kept or read.
    #[error(transparent)]
    Storage(#[from] StorageError),
    /// What was sealed can't be opened.
    #[error(transparent)]
    Seal(#[from] SealError),
    /// An authenticator can't be described.
    #[error(transparent)]
    Totp(#[from] TotpError),
    /// Passwords can't be hashed.
    #[error(transparent)]
    Password(#[from] PasswordError),
}

/// Something in the input that its author can mend.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct UserError {
    /// The path of the input's field, as the API names it.
    pub field: Vec<&'static str>,
    /// What is wrong, for programs.
    pub code: UserErrorCode,
    /// What is wrong and what to do, for people.
    pub message: String,
}

/// Declares an enum of all user error codes. The API's enum has the same codes with the same
/// descriptions as [`UserErrorCode`], so both are declared by this list.
macro_rules! user_error_codes {
    ($(#[$attribute:meta])* pub enum $name:ident) => {
        $(#[$attribute])*
        pub enum $name {
            /// A required value is missing or empty.
            Required,
            /// The text is too long, or the list has too many items.
            TooLong,
            /// The value is malformed or cannot be used here; the message says why.
            Invalid,
            /// The value refers to something that does not exist or that you cannot see.
            NotFound,
            /// The e-mail address or the password is incorrect.
            InvalidCredentials,
            /// The code is incorrect, was used before, or has been replaced by a newer one.
            InvalidCode,
            /// The challenge, link, setup or file has expired, was used before or is unknown.
            /// Start again.
            Expired,
            /// The password is too short, too common or too easy to guess.
            WeakPassword,
            /// The new password and its repetition differ.
            Mismatch,
            /// Confirm that it is you with `reauthenticate` first: with your password, and with
            /// a code if you have a second factor.
            ReauthenticationRequired,
            /// Your account requires a second factor, and this is its last one.
            SecondFactorRequired,
            /// Your account or this installation is not set up for this.
            NotAvailable,
            /// The link is unknown, has expired or was used before.
            InvalidLink,
            /// The ticket cannot move to this status, or not by you. `UpdateTicketInput.status`
            /// lists the allowed moves.
            IllegalTransition,
            /// The ticket is closed and accepts neither comments nor participants.
            TicketClosed,
            /// The category is retired and accepts no tickets.
            CategoryRetired,
            /// This is the last active category, so it cannot be retired.
            LastCategory,
            /// You cannot do this to your own account. Ask another admin.
            OwnAccount,
            /// This is the last active admin. Make another account an admin first.
            LastAdmin,
            /// Tickets can be assigned to active agents and admins only.
            NotAssignable,
            /// The idempotency key was used with a different input in the last 24 hours.
            IdempotencyKeyReused,
            /// The ticket's `version` is not `expectedVersion`. The payload has the ticket in
            /// its current state.
            Conflict,
            /// Another account or category has this value, or it is configured already.
            Taken,
            /// A limit on the number of things is reached; the message says which.
            TooMany,
            /// A file is too large, or all files together are.
            TooLarge,
        }
    };
}
pub(crate) use user_error_codes;

user_error_codes! {
    /// The reason why an input was rejected.
    #[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
    pub enum UserErrorCode
}

impl UserError {
    /// One error about one field of the input.
    pub fn new(field: &'static str, code: UserErrorCode, message: impl Into<String>) -> Self {
        Self { field: vec![field], code, message: message.into() }
    }

    /// What is wrong with a text.
    pub fn text(field: &'static str, label: &str, error: TextError) -> Self {
        let code = match error {
            TextError::Empty => UserErrorCode::Required,
            TextError::TooLong { .. } => UserErrorCode::TooLong,
            TextError::Control(_) | TextError::Malformed(_) => UserErrorCode::Invalid,
        };
        Self::new(field, code, format!("{label} {error}."))
    }
}

impl From<UserError> for ServiceError {
    fn from(error: UserError) -> Self {
        Self::Invalid(vec![error])
    }
}

/// Collects what is wrong with an input, so that its author learns all of it at once.
#[derive(Default)]
pub(super) struct Review {
    errors: Vec<UserError>,
}

impl Review {
    /// Takes a text's parsed value, or notes what is wrong with it.
    pub(super) fn text<T>(
        &mut self,
        field: &'static str,
        label: &str,
        parsed: Result<T, TextError>,
    ) -> Option<T> {
        parsed.map_err(|error| self.errors.push(UserError::text(field, label, error))).ok()
    }

    /// Notes an error.
    pub(super) fn note(&mut self, error: UserError) {
        self.errors.push(error);
    }

    /// What was reviewed, if nothing was wrong.
    pub(super) fn finish<T>(self, reviewed: Option<T>) -> Result<T, ServiceError> {
        match reviewed {
            Some(value) if self.errors.is_empty() => Ok(value),
            _ => Err(ServiceError::Invalid(self.errors)),
        }
    }
}
