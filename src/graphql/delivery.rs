//! Mails about tickets and the state of their delivery.

use std::sync::Arc;

use async_graphql::{Context, Description, Enum, ID, InputObject, Object, SimpleObject};
use chrono::{DateTime, Utc};

use super::{
    context::ContextExt as _,
    error::{Failure, Outcome, UserError},
    id::GlobalId,
    text::Text,
};
use crate::{domain::delivery, service};

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
    /// Permanently rejected by the mail server, because of its recipient or its content. Final,
    /// unless it is queued again.
    Refused,
    /// Not accepted within 72 hours, because the mail server was unreachable or failed
    /// temporarily. Final, unless it is queued again.
    GivenUp,
    /// Impossible to compose, for example because of an invalid address. Final, unless it is
    /// queued again.
    Unbuildable,
    /// Expired before it could be sent: within 72 hours, or within the lifetime of its code or
    /// link. Final, unless it is queued again.
    Expired,
    /// Not sent, because the recipient had unsubscribed, was disabled or could no longer see
    /// the ticket. Final.
    Cancelled,
}

/// A mail about a ticket. Visible to staff.
#[derive(Description)]
pub struct Delivery(pub Arc<delivery::Delivery>);

#[Object(use_type_description, crate = "crate::graphql::executor")]
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

/// The input of `retryDelivery`.
#[derive(InputObject)]
pub struct RetryDeliveryInput {
    /// The id of the mail.
    delivery_id: ID,
}

/// The payload of `retryDelivery`.
#[derive(SimpleObject)]
#[graphql(crate = "crate::graphql::executor")]
pub struct RetryDeliveryPayload {
    /// The mail, or null on failure.
    delivery: Option<Delivery>,
    /// What the caller can correct; empty on success.
    user_errors: Vec<UserError>,
}

/// The input of `retryDeliveries`.
#[derive(InputObject)]
pub struct RetryDeliveriesInput {
    /// Queue only mails in these states: `REFUSED`, `GIVEN_UP`, `UNBUILDABLE` or `EXPIRED`. Others
    /// select no mail. All four by default.
    states: Option<Vec<DeliveryState>>,
    /// Queue only mails whose state became final at this time or later. All by default.
    finished_since: Option<DateTime<Utc>>,
}

/// The payload of `retryDeliveries`.
#[derive(SimpleObject)]
#[graphql(crate = "crate::graphql::executor")]
pub struct RetryDeliveriesPayload {
    /// How many mails were queued again.
    count: i32,
    /// What the caller can correct; empty on success.
    user_errors: Vec<UserError>,
}

#[derive(Default)]
pub struct DeliveryMutation;

#[Object]
impl DeliveryMutation {
    /// Queues a mail again that was `REFUSED`, `GIVEN_UP`, `UNBUILDABLE` or `EXPIRED`. It then has
    /// another 72 hours. One that is queued for later is due at once. A mail that was sent or
    /// cancelled, or that contained a code, a link or a security notice, cannot be queued again:
    /// `NOT_AVAILABLE`. The user error `NOT_FOUND` means that there is no such mail. Staff only.
    async fn retry_delivery(
        &self,
        ctx: &Context<'_>,
        #[graphql(desc = "The mail to queue again.")] input: RetryDeliveryInput,
    ) -> Result<RetryDeliveryPayload, Failure> {
        let id = GlobalId::delivery(&input.delivery_id);
        let retried = service::delivery::retry(ctx.actor()?, ctx.services()?, id).await;
        Ok(match Outcome::of(retried)? {
            Outcome::Done(delivery) => RetryDeliveryPayload {
                delivery: Some(Delivery(Arc::new(delivery))),
                user_errors: vec![],
            },
            Outcome::Rejected { errors, .. } => {
                RetryDeliveryPayload { delivery: None, user_errors: errors }
            }
        })
    }

    /// Queues all mails again that `retryDelivery` accepts. Those that a restore has held back only if
    /// `states` names `EXPIRED`. Admins only.
    async fn retry_deliveries(
        &self,
        ctx: &Context<'_>,
        #[graphql(desc = "Which mails to queue again.")] input: RetryDeliveriesInput,
    ) -> Result<RetryDeliveriesPayload, Failure> {
        let (actor, services) = (ctx.actor()?, ctx.services()?);
        let states = input.states.map(|states| states.into_iter().map(Into::into).collect());
        let since = input.finished_since;
        let retried = service::delivery::retry_all(actor, services, states, since).await;
        Ok(match Outcome::of(retried)? {
            Outcome::Done(count) => RetryDeliveriesPayload {
                count: i32::try_from(count).unwrap_or(i32::MAX),
                user_errors: vec![],
            },
            Outcome::Rejected { errors, .. } => {
                RetryDeliveriesPayload { count: 0, user_errors: errors }
            }
        })
    }
}
