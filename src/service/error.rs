//! The errors of the use cases.

use std::time::Duration;

use chrono::TimeDelta;

use crate::{
    crypto::{password::PasswordError, seal::SealError, totp::TotpError},
    db::{DbError, TransactionError},
    domain::{
        budget::{Exceeded, RequestBudget},
        comment::Comment,
        text::TextError,
        ticket::Ticket,
    },
    storage::{StorageError, ledger::LedgerError},
};

/// Why a use case failed. Nothing has changed then, except that attempts count towards rate
/// limits.
#[derive(Debug, thiserror::Error)]
pub enum ServiceError {
    /// Nobody is signed in.
    #[error("nobody is signed in")]
    Unauthenticated,
    /// The actor may see the resource, but may not do this to it.
    #[error("the actor is not allowed to do this")]
    Forbidden,
    /// The resource does not exist, or the actor may not see it.
    #[error("the resource does not exist or is not visible to the actor")]
    NotFound,
    /// The actor must configure a second factor first.
    #[error("a second factor must be configured first")]
    SecondFactorMissing,
    /// There were too many attempts.
    #[error("too many attempts")]
    RateLimited {
        /// How long to wait before the next attempt.
        retry_after: TimeDelta,
    },
    /// The account has created too much within a minute.
    #[error("at most {per_minute} {things} a minute")]
    TooFrequent {
        /// What is limited, in the plural.
        things: &'static str,
        /// How many are allowed in a minute.
        per_minute: u32,
        /// How long to wait before the next one.
        retry_after: TimeDelta,
    },
    /// The input has errors that its author can correct. There is at least one.
    #[error("the input has errors: {0:?}")]
    Invalid(Vec<UserError>),
    /// The ticket has changed since the caller read it. Contains the current ticket.
    #[error("the ticket has changed since the caller read it")]
    Conflict(Box<Ticket>),
    /// Others have commented on the ticket since the caller read it.
    #[error("others have commented on the ticket since the caller read it")]
    AnsweredMeanwhile {
        /// The current ticket.
        ticket: Box<Ticket>,
        /// The first of those comments that the caller may see, in order. At least one.
        comments: Vec<Comment>,
    },
    /// A statement that reads many rows took too long.
    #[error("the statement takes longer than {limit:?}")]
    TooSlow {
        /// How long it may take.
        limit: Duration,
        /// What to do instead, as a sentence.
        advice: &'static str,
    },
    /// The database failed.
    #[error(transparent)]
    Database(#[from] DbError),
    /// The storage for attachments failed.
    #[error(transparent)]
    Storage(#[from] StorageError),
    /// The ledger of erasures cannot be used.
    #[error(transparent)]
    Ledger(#[from] LedgerError),
    /// A sealed secret could not be opened.
    #[error(transparent)]
    Seal(#[from] SealError),
    /// The URI or the QR code of an authenticator could not be created.
    #[error(transparent)]
    Totp(#[from] TotpError),
    /// A password could not be hashed.
    #[error(transparent)]
    Password(#[from] PasswordError),
}

impl TransactionError for ServiceError {
    fn database(&self) -> Option<&DbError> {
        match self {
            Self::Database(error) => Some(error),
            _ => None,
        }
    }
}

impl ServiceError {
    /// Returns the error of a statement that is limited in time, with advice for the case that it
    /// took too long.
    pub(super) fn slow(error: DbError, advice: &'static str) -> Self {
        match error {
            DbError::TimedOut(limit) => Self::TooSlow { limit, advice },
            error => Self::Database(error),
        }
    }

    /// Returns the limit of its budget that the request has exceeded, if that is the cause.
    pub fn exceeded(&self) -> Option<Exceeded> {
        match self {
            Self::Database(DbError::Exceeded(exceeded)) => Some(*exceeded),
            // What failed because the budget was used up while rows were read.
            Self::Database(_) => RequestBudget::current()?.check().err(),
            _ => None,
        }
    }

    /// Whether the database is away or overloaded, so that the same call may succeed later.
    pub fn is_unavailable(&self) -> bool {
        matches!(self, Self::Database(error) if error.is_unavailable())
    }

    /// Whether other changes of the same data stood in the way, so that the same call may succeed later.
    pub fn is_contended(&self) -> bool {
        matches!(self, Self::Database(error) if error.is_contended())
    }

    /// Whether the input was rejected with this code.
    pub fn has_code(&self, code: UserErrorCode) -> bool {
        matches!(self, Self::Invalid(errors) if errors.iter().any(|error| error.code == code))
    }

    /// Whether too many passwords are being checked, so that the same call may succeed later.
    pub fn is_busy(&self) -> bool {
        matches!(self, Self::Password(PasswordError::Busy))
    }

    /// Whether the storage has no room for files.
    pub fn is_full(&self) -> bool {
        matches!(self, Self::Storage(StorageError::Full { .. }))
    }

    /// Returns how long a search may take, if this one took longer.
    pub fn search_limit(&self) -> Option<Duration> {
        match self {
            Self::Database(DbError::TimedOut(limit)) => Some(*limit),
            _ => None,
        }
    }
}

/// An error in the input that its author can correct.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct UserError {
    /// The path of the input field, in the API's spelling. Empty if the error is about the
    /// input as a whole.
    pub field: Vec<&'static str>,
    /// The position in the list that `field` names, if the error is about one item.
    pub position: Option<usize>,
    /// The kind of error, for programs.
    pub code: UserErrorCode,
    /// What is wrong and what to do now, for people.
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
            /// The challenge, the link to set a password, the invitation, the setup of a second factor
            /// or the file has expired, was used before or is unknown, or your session ended or the
            /// account changed meanwhile. Start again. A dead link from the control panel is
            /// `INVALID_LINK`.
            Expired,
            /// The password is too short, too common or too easy to guess.
            WeakPassword,
            /// The new password and its repetition differ.
            Mismatch,
            /// Call `reauthenticate` first: with your password, and with a code if you have a second
            /// factor. If you have neither, with a mailed code. For some operations a sign-in in the last
            /// 10 minutes is enough; their descriptions say so.
            ReauthenticationRequired,
            /// From `removeSecondFactor` only: your account must have a second factor, and this is its
            /// last one. As the code of a top-level error it means that your account must configure its
            /// first one.
            SecondFactorRequired,
            /// Your account or this installation is not set up for this.
            NotAvailable,
            /// From `redeemHandoff` only: the link from the control panel is unknown, has expired or was
            /// used before. Any other dead link is `EXPIRED`.
            InvalidLink,
            /// The ticket cannot move to this status, or not by you. `UpdateTicketInput.status`
            /// lists the allowed moves.
            IllegalTransition,
            /// The ticket is closed and accepts neither comments nor participants.
            TicketClosed,
            /// The ticket was merged into another one; the message names the ticket in which it
            /// continues.
            TicketMerged,
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
            /// Others have commented on the ticket since `seenUpTo`. The payload has their comments
            /// and the ticket in its current state.
            AnsweredMeanwhile,
            /// Another account or category has this value, or it is configured already.
            Taken,
            /// A limit on the number of things is reached; the message says which.
            TooMany,
            /// A file is too large, or all files together are.
            TooLarge,
            /// The text or file was redacted: it is erased.
            Redacted,
            /// The time in which this could be changed has passed.
            TooLate,
            /// The account was erased and cannot be changed.
            Erased,
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
    /// Creates an error about one field of the input.
    pub fn new(field: &'static str, code: UserErrorCode, message: impl Into<String>) -> Self {
        Self { field: vec![field], position: None, code, message: message.into() }
    }

    /// Returns the same error about another field.
    #[must_use]
    pub fn at(self, field: &'static str) -> Self {
        Self { field: vec![field], ..self }
    }

    /// Creates an error about the input as a whole.
    pub fn of_input(code: UserErrorCode, message: impl Into<String>) -> Self {
        Self { field: vec![], position: None, code, message: message.into() }
    }

    /// Creates an error about a text. The message starts with `label`.
    pub fn text(field: &'static str, label: &str, error: TextError) -> Self {
        let code = match error {
            TextError::Empty => UserErrorCode::Required,
            TextError::TooLong { .. } => UserErrorCode::TooLong,
            TextError::Control { .. }
            | TextError::Override { .. }
            | TextError::LineEnd { .. }
            | TextError::Unsuitable { .. }
            | TextError::Malformed(_) => UserErrorCode::Invalid,
        };
        Self::new(field, code, format!("{label} {error}."))
    }
}

impl From<UserError> for ServiceError {
    fn from(error: UserError) -> Self {
        Self::Invalid(vec![error])
    }
}
