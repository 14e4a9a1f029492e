//! Mails about tickets and the state of their delivery.

use std::sync::Arc;

use async_graphql::{Description, Enum, ID, Object};
use chrono::{DateTime, Utc};

use super::{id::GlobalId, text::Text};
use crate::domain::delivery;

/// The state of a mail.
#[derive(Enum, Copy, Clone, PartialEq, Eq)]
#[graphql(remote = "delivery::DeliveryState")]
pub enum DeliveryState {
    /// Waiting to be sent, or for the next attempt.
    Queued,
    /// Being sent.
    Sending,
    /// Accepted by the mail server. Final.
    Sent,
    /// Permanently rejected by the mail server. Final.
    Refused,
    /// Not accepted within 72 hours, because the mail server was unreachable or failed
    /// temporarily. Final.
    GivenUp,
    /// Impossible to compose, for example because of an invalid address. Final.
    Unbuildable,
    /// Expired before it could be sent. Final.
    Expired,
    /// Not sent, because the recipient had unsubscribed, was disabled or could no longer see
    /// the ticket. Final.
    Cancelled,
}

/// A mail about a ticket. Visible to staff.
#[derive(Description)]
pub struct Delivery(pub Arc<delivery::Delivery>);

#[Object(use_type_description)]
impl Delivery {
    /// An opaque identifier. Store it and send it back unchanged. `node` does not accept it.
    async fn id(&self) -> ID {
        GlobalId::Delivery(self.0.id).into()
    }

    /// The e-mail address that the mail is sent to.
    async fn recipient(&self) -> Text<&str> {
        Text(&self.0.address)
    }

    /// The state of the mail.
    async fn state(&self) -> DeliveryState {
        self.0.state.into()
    }

    /// The number of attempts to send the mail, including one in progress.
    async fn attempts(&self) -> i32 {
        self.0.attempts
    }

    /// The error of the last failed attempt, or null if there was none. It is cleared when the
    /// mail is sent.
    async fn last_error(&self) -> Option<Text<&str>> {
        self.0.last_error.as_deref().map(Text)
    }

    /// When the mail was queued.
    async fn created_at(&self) -> DateTime<Utc> {
        self.0.created_at
    }

    /// When the state became final, or null if the mail is `QUEUED` or `SENDING`.
    async fn finished_at(&self) -> Option<DateTime<Utc>> {
        self.0.finished_at
    }
}
