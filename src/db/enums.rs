//! Conversions between Postgres enums and domain enums.

use std::io::Write as _;

use diesel::{
    deserialize::{self, FromSql},
    expression::AsExpression,
    internal::derives::as_expression::Bound,
    pg::{Pg, PgValue},
    serialize::{self, IsNull, Output, ToSql},
    sql_types::Nullable,
};

use super::schema::sql_types;
use crate::domain::{
    account::{Locale, Role},
    comment::Visibility,
    delivery::DeliveryState,
    event::Audience,
    notification::NotificationKind,
    second_factor::Method,
    ticket::{Priority, Status},
};

/// Reads a value from its label in the database.
pub(super) trait FromLabel: Sized {
    /// Returns the value with a label, or `None` if this version does not know the label.
    fn from_label(label: &str) -> Option<Self>;
}

macro_rules! pg_enum {
    ($domain:ident = $sql:ident { $($variant:ident = $label:literal),+ $(,)? }) => {
        impl ToSql<sql_types::$sql, Pg> for $domain {
            fn to_sql<'b>(&'b self, out: &mut Output<'b, '_, Pg>) -> serialize::Result {
                out.write_all(match self { $(Self::$variant => $label),+ })?;
                Ok(IsNull::No)
            }
        }

        impl FromLabel for $domain {
            fn from_label(label: &str) -> Option<Self> {
                match label.as_bytes() {
                    $($label => Some(Self::$variant),)+
                    _ => None,
                }
            }
        }

        impl FromSql<sql_types::$sql, Pg> for $domain {
            fn from_sql(value: PgValue<'_>) -> deserialize::Result<Self> {
                let label = str::from_utf8(value.as_bytes())?;
                Self::from_label(label)
                    .ok_or_else(|| format!("unknown {}: {label}", stringify!($domain)).into())
            }
        }

        impl diesel::Queryable<sql_types::$sql, Pg> for $domain {
            type Row = Self;

            fn build(row: Self) -> deserialize::Result<Self> {
                Ok(row)
            }
        }

        impl AsExpression<sql_types::$sql> for $domain {
            type Expression = Bound<sql_types::$sql, Self>;

            fn as_expression(self) -> Self::Expression {
                Bound::new(self)
            }
        }

        impl<'e> AsExpression<sql_types::$sql> for &'e $domain {
            type Expression = Bound<sql_types::$sql, Self>;

            fn as_expression(self) -> Self::Expression {
                Bound::new(self)
            }
        }

        impl AsExpression<Nullable<sql_types::$sql>> for $domain {
            type Expression = Bound<Nullable<sql_types::$sql>, Self>;

            fn as_expression(self) -> Self::Expression {
                Bound::new(self)
            }
        }
    };
}

pg_enum!(Role = AccountRole { Customer = b"customer", Agent = b"agent", Admin = b"admin" });
pg_enum!(Locale = Locale { En = b"en", Ru = b"ru" });
pg_enum!(Visibility = CommentVisibility { Public = b"public", Internal = b"internal" });
pg_enum!(Audience = EventAudience { Participants = b"participants", Staff = b"staff" });
pg_enum!(Priority = TicketPriority {
    Lowest = b"lowest",
    Low = b"low",
    Medium = b"medium",
    High = b"high",
    Highest = b"highest",
});
pg_enum!(Status = TicketStatus {
    WaitingForSupport = b"waiting_for_support",
    WorkingOnIt = b"working_on_it",
    WaitingForCustomer = b"waiting_for_customer",
    Resolved = b"resolved",
    Closed = b"closed",
});
pg_enum!(Method = SecondFactorMethod { Authenticator = b"authenticator", Email = b"email" });
pg_enum!(DeliveryState = DeliveryState {
    Queued = b"queued",
    Sending = b"sending",
    Sent = b"sent",
    Refused = b"refused",
    GivenUp = b"given_up",
    Unbuildable = b"unbuildable",
    Expired = b"expired",
    Cancelled = b"cancelled",
});
pg_enum!(NotificationKind = NotificationKind {
    TicketCreated = b"ticket_created",
    TicketOpened = b"ticket_opened",
    SupportAnswered = b"support_answered",
    StatusChanged = b"status_changed",
    TicketClosed = b"ticket_closed",
    CustomerAnswered = b"customer_answered",
    TicketAssigned = b"ticket_assigned",
    ParticipantAdded = b"participant_added",
});
