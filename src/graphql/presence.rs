//! Who has a ticket open at the moment.

use async_graphql::{Context, Enum, ID, InputObject, Object, SimpleObject, Subscription};
use futures_util::{Stream, future::try_join_all, stream};

use super::{
    account::Account,
    context::{ContextExt as _, StreamProgress},
    error::{Failure, UserError},
    executor::List,
    id::GlobalId,
};
use crate::{
    domain::{
        ids::{AccountId, TicketId},
        presence,
    },
    events::{PresenceItem, StreamEnd},
    service::{self, ServiceError},
};

/// What a member of staff does with a ticket.
#[derive(Enum, Copy, Clone, PartialEq, Eq)]
#[graphql(remote = "presence::Activity")]
pub enum PresenceActivity {
    /// Has the ticket open.
    Reading,
    /// Writes a comment or note.
    Writing,
}

/// The members of staff who have a ticket open.
pub struct TicketPresence(Vec<(AccountId, presence::Activity)>);

/// The members of staff who have a ticket open.
#[Object(crate = "crate::graphql::executor")]
impl TicketPresence {
    /// Everybody who has the ticket open, you included, in the order of their arrival: at most 50.
    #[graphql(complexity = "1 + 50 * child_complexity")]
    async fn people(&self, ctx: &Context<'_>) -> Result<List<PresentPerson>, Failure> {
        let loaders = ctx.loaders()?;
        // Not loaded ahead: the loaders last as long as the stream, and would keep what they load.
        let accounts = self.0.iter().map(|(id, _)| loaders.get(*id));
        let accounts = try_join_all(accounts).await?;
        let people = self.0.iter().zip(accounts).filter_map(|((_, activity), account)| {
            // Somebody may have lost access while they were announced.
            let account = account.filter(|account| account.is_active_staff())?;
            Some(PresentPerson { account: Account::new(account), activity: (*activity).into() })
        });
        Ok(people.collect())
    }
}

/// A member of staff who has a ticket open.
#[derive(SimpleObject)]
#[graphql(crate = "crate::graphql::executor")]
pub struct PresentPerson {
    /// The member of staff.
    account: Account,
    /// What they do.
    activity: PresenceActivity,
}

/// The input of `setTicketPresence`.
#[derive(InputObject)]
pub struct SetTicketPresenceInput {
    /// The ticket.
    ticket_id: ID,
    /// What you do with the ticket. Null if you have left it.
    activity: Option<PresenceActivity>,
    /// A name of this client, such as a random id for each tab: at most 64 characters. Without one, all
    /// clients of a session count as one.
    client_id: Option<String>,
}

/// The payload of `setTicketPresence`.
#[derive(SimpleObject)]
#[graphql(crate = "crate::graphql::executor")]
pub struct SetTicketPresencePayload {
    /// What the caller can correct; empty on success.
    user_errors: Vec<UserError>,
}

#[derive(Default)]
pub struct PresenceMutation;

#[Object]
impl PresenceMutation {
    /// Shows your colleagues that you have a ticket open, see `ticketPresence`. Staff only. Call it
    /// when you open the ticket, when you start and stop writing, and every 5 seconds in between:
    /// 15 seconds after the last call you are no longer shown. It is not part of the ticket's
    /// history.
    ///
    /// You are shown once, with the strongest activity of your clients: at most 10 of them are told
    /// apart by their `clientId`. A client that comes, leaves or begins to write is shown at once, other
    /// changes within 5 seconds.
    ///
    /// Fails with `NOT_FOUND` if the ticket does not exist. User error: `TOO_LONG` for `clientId`.
    async fn set_ticket_presence(
        &self,
        ctx: &Context<'_>,
        #[graphql(desc = "The ticket, and what you do with it.")] input: SetTicketPresenceInput,
    ) -> Result<SetTicketPresencePayload, Failure> {
        let ticket = require_ticket(ctx, &input.ticket_id).await?;
        let activity = input.activity.map(Into::into);
        let client = input.client_id.as_deref();
        if client.is_some_and(|name| name.chars().count() > presence::MAX_CLIENT_NAME) {
            return Ok(SetTicketPresencePayload { user_errors: vec![client_too_long().into()] });
        }
        let of = (ticket, client);
        let announced = ctx.log()?.announce_presence(ctx.identity()?, of, activity).await;
        announced.map_err(ServiceError::from)?;
        Ok(SetTicketPresencePayload { user_errors: vec![] })
    }
}

#[derive(Default)]
pub struct PresenceSubscription;

#[Subscription]
impl PresenceSubscription {
    /// The members of staff who have a ticket open: the current state, then the new one after each
    /// change. Staff only. `NOT_FOUND` if the ticket does not exist. It has no cursor: a client that
    /// reconnects receives the current state.
    async fn ticket_presence(
        &self,
        ctx: &Context<'_>,
        #[graphql(desc = "The ticket.")] ticket_id: ID,
    ) -> Result<impl Stream<Item = TicketPresence> + use<>, Failure> {
        let progress = ctx.data_opt::<StreamProgress>().cloned().unwrap_or_default();
        let starting = async || {
            let ticket = require_ticket(ctx, &ticket_id).await?;
            Ok::<_, Failure>(ctx.log()?.presence(ctx.identity()?, ticket).await?)
        };
        let presence = progress.start(ctx.budget()?, starting).await?;
        Ok(stream::unfold((presence, progress), |(mut presence, progress)| async move {
            match presence.next().await? {
                PresenceItem::People(people) => {
                    progress.wait_for_turn().await;
                    Some((TicketPresence(people), (presence, progress)))
                }
                PresenceItem::SessionEnded => {
                    progress.set_end(StreamEnd::SessionEnded);
                    None
                }
            }
        }))
    }
}

fn client_too_long() -> service::UserError {
    let message = format!(
        "The name of the client is too long: at most {} characters are allowed.",
        presence::MAX_CLIENT_NAME
    );
    service::UserError::new("clientId", service::UserErrorCode::TooLong, message)
}

/// Returns the id of a ticket.
///
/// # Errors
/// The caller is not staff, or the ticket does not exist.
async fn require_ticket(ctx: &Context<'_>, id: &ID) -> Result<TicketId, Failure> {
    ctx.identity()?;
    service::ticket::require_staff(ctx.actor()?)?;
    let id = GlobalId::ticket(id).ok_or_else(Failure::not_found)?;
    Ok(service::ticket::by_id(ctx.actor()?, ctx.services()?, id).await?.id)
}
