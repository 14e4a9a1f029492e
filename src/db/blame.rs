//! Judging failures: whether they are the fault of the item that was processed.

use diesel::result::{DatabaseErrorKind, Error};

use super::DbError;

/// The longest text of an error that is stored, in characters.
const MAX_TEXT: usize = 1_000;

/// Who is to blame for a failure.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Blame {
    /// The item: it violates a constraint, or a stored value cannot be read.
    Item,
    /// The database refused a statement, and diesel does not tell why: its errors have no SQLSTATE.
    /// A bad value or a trigger, but possibly a timeout, a deadlock or a full disk.
    Unclear,
    /// The connection, the server or the schema: every item fails.
    Outage,
}

impl DbError {
    /// Returns who is to blame for a failure.
    pub fn blame(&self) -> Blame {
        match self {
            Self::Unavailable(_)
            | Self::Setup(_)
            | Self::Migration(_)
            | Self::Copy(_)
            | Self::Exceeded(_)
            | Self::TimedOut(_) => Blame::Outage,
            Self::Locked => Blame::Unclear,
            Self::Value(_) | Self::Panicked => Blame::Item,
            Self::Statement(error) => blame(error),
        }
    }

    /// Returns the text of the error without values, which may be text that people wrote.
    pub fn without_values(&self) -> String {
        let text = self.to_string();
        let text = if self.blame() == Blame::Item && self.is_from_database() {
            // Names the constraint, and no values.
            text
        } else {
            omit_quoted(&text)
        };
        text.chars().take(MAX_TEXT).collect()
    }

    fn is_from_database(&self) -> bool {
        matches!(self, Self::Statement(Error::DatabaseError(..)))
    }
}

fn blame(error: &Error) -> Blame {
    use DatabaseErrorKind::{
        CheckViolation, ExclusionViolation, ForeignKeyViolation, NotNullViolation,
        RestrictViolation, UniqueViolation, Unknown,
    };
    match error {
        Error::DatabaseError(kind, details) => match kind {
            UniqueViolation | ForeignKeyViolation | NotNullViolation | CheckViolation
            | RestrictViolation | ExclusionViolation => Blame::Item,
            // An error at a place of the statement is about the statement: a table or a column is
            // missing, because this version and the schema do not match.
            Unknown if details.statement_position().is_none() => Blame::Unclear,
            _ => Blame::Outage,
        },
        Error::NotFound
        | Error::InvalidCString(_)
        | Error::QueryBuilderError(_)
        | Error::DeserializationError(_)
        | Error::SerializationError(_) => Blame::Item,
        _ => Blame::Outage,
    }
}

/// Replaces each part of a text between double quotes by `…`.
fn omit_quoted(text: &str) -> String {
    let parts = text.split('"').enumerate();
    let shown = parts.map(|(index, part)| if index % 2 == 0 { part } else { "…" });
    shown.collect::<Vec<_>>().join("\"")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn refused(kind: DatabaseErrorKind, message: &str) -> DbError {
        Error::DatabaseError(kind, Box::new(message.to_owned())).into()
    }

    #[test]
    fn only_a_failure_that_other_items_do_not_share_is_the_items() {
        use DatabaseErrorKind as Kind;
        for kind in [Kind::UniqueViolation, Kind::CheckViolation, Kind::ForeignKeyViolation] {
            assert_eq!(refused(kind, "no").blame(), Blame::Item);
        }
        for kind in [
            Kind::ClosedConnection,
            Kind::UnableToSendCommand,
            Kind::SerializationFailure,
            Kind::ReadOnlyTransaction,
        ] {
            assert_eq!(refused(kind, "no").blame(), Blame::Outage);
        }
        assert_eq!(refused(Kind::Unknown, "no").blame(), Blame::Unclear);
        assert_eq!(DbError::Unavailable("busy".into()).blame(), Blame::Outage);
        assert_eq!(DbError::from(Error::BrokenTransactionManager).blame(), Blame::Outage);
        assert_eq!(DbError::Value("bad".into()).blame(), Blame::Item);
        assert_eq!(DbError::from(Error::DeserializationError("bad".into())).blame(), Blame::Item);
    }

    #[test]
    fn a_stored_error_names_a_constraint_and_no_values() {
        let kind = DatabaseErrorKind::UniqueViolation;
        let error = refused(kind, "violates the constraint \"feed_pkey\"").without_values();
        assert!(error.contains("feed_pkey"), "{error}");
        let kind = DatabaseErrorKind::Unknown;
        let error = refused(kind, "invalid uuid: \"my secret\", here").without_values();
        assert!(error.ends_with("invalid uuid: \"…\", here"), "{error}");
        let error = refused(kind, "cut off: \"my secret").without_values();
        assert!(!error.contains("secret"), "{error}");
    }
}
