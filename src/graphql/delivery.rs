//! What became of mails.

use async_graphql::{Description, Enum, ID, Object};
use chrono::{DateTime, Utc};

use super::id::GlobalId;
use crate::domain::delivery;

/// What became of a mail.
#[derive(Enum, Copy, Clone, PartialEq, Eq)]
#[graphql(remote = "delivery::DeliveryState")]
pub enum DeliveryState {
    /// It waits for its turn, or for its next attempt.
    Queued,
    /// It is being sent.
    Sending,
    /// The mail server took it.
    Sent,
    /// The mail server refused it for good.
    Refused,
    /// The mail server could not be reached, or put us off, for 72 hours.
    GivenUp,
    /// It can't be made into a mail.
    Unbuildable,
    /// Its time was over before it could be sent.
    Expired,
    /// It was not wanted any more: unsubscribed from, or the account was disabled.
    Cancelled,
}

/// A mail about a ticket, and what became of it.
#[derive(Description)]
pub struct Delivery(pub delivery::Delivery);

#[Object(use_type_description)]
impl Delivery {
    /// Its global id; `node` doesn't take it.
    async fn id(&self) -> ID {
        GlobalId::Delivery(self.0.id).into()
    }

    /// Where it goes.
    async fn recipient(&self) -> &str {
        &self.0.address
    }

    /// What became of it.
    async fn state(&self) -> DeliveryState {
        self.0.state.into()
    }

    /// How often it was tried.
    async fn attempts(&self) -> i32 {
        self.0.attempts
    }

    /// What the last failure was.
    async fn last_error(&self) -> Option<&str> {
        self.0.last_error.as_deref()
    }

    /// When it was planned.
    async fn created_at(&self) -> DateTime<Utc> {
        self.0.created_at
    }

    /// When its state became final.
    async fn finished_at(&self) -> Option<DateTime<Utc>> {
        self.0.finished_at
    }
}
