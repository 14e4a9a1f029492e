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

/// What can be wrong with an input.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum UserErrorCode {
    /// Nothing was given.
    Required,
    /// More was given than fits.
    TooLong,
    /// Not of the form that the field takes.
    Invalid,
    /// It names something that does not exist.
    NotFound,
    /// The address or the password is wrong.
    InvalidCredentials,
    /// The code is wrong, or was used before.
    InvalidCode,
    /// The challenge, link or enrolment is over, was used, or never was.
    Expired,
    /// The password is too easy to guess.
    WeakPassword,
    /// The password and its repetition differ.
    Mismatch,
    /// Password and code have to be given again first.
    ReauthenticationRequired,
    /// The last second factor of an account that needs one.
    SecondFactorRequired,
    /// It is not configured, or can't be used here.
    NotAvailable,
    /// The link was used, has expired or is none of ours.
    InvalidLink,
    /// The status table doesn't allow the change.
    IllegalTransition,
    /// The ticket is closed.
    TicketClosed,
    /// The category takes no tickets any more.
    CategoryRetired,
    /// The last category that takes tickets.
    LastCategory,
    /// Nobody may do this to their own account.
    OwnAccount,
    /// The last admin who can sign in.
    LastAdmin,
    /// The account can't be assigned tickets.
    NotAssignable,
    /// The key was used before, with another input.
    IdempotencyKeyReused,
    /// The ticket has changed since the caller read it.
    Conflict,
    /// Another account, or another category, has it.
    Taken,
    /// There are as many as there can be.
    TooMany,
    /// A file or all of them are larger than is taken.
    TooLarge,
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
