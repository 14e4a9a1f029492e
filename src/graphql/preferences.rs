//! The caller's preferences: their language, and which mails they receive.

use async_graphql::{Context, ID, InputObject, Object, SimpleObject};

use super::{
    account::{Account, Locale},
    context::ContextExt as _,
    error::{Failure, UserError},
    executor::List,
    id::GlobalId,
    pagination::cost,
    ticket::Ticket,
};
use crate::{
    domain::{
        notification::{self, MailPreferenceChanges},
        page::MAX_PAGE,
    },
    service::{self, preferences::PreferenceChanges},
};

/// The default of `unsubscribedTickets(first:)`.
const DEFAULT_TICKETS: i32 = 20;

/// Which mails you receive about the tickets that you opened or take part in. All are on by
/// default. You get no mail about what you did yourself, except the confirmation of a ticket
/// that you opened.
///
/// The unsubscribe link in each of these mails stops all mail about that one ticket, and
/// `setTicketMail` does the same and undoes it. Security notices, codes and the mail about a ticket
/// that was shared with you cannot be switched off.
#[derive(SimpleObject)]
#[graphql(crate = "crate::graphql::executor")]
#[graphql(complex)]
pub struct MailPreferences {
    /// A confirmation of each ticket that you open.
    ticket_created: bool,
    /// New public comments.
    support_answered: bool,
    /// Changes of the status, other than to `RESOLVED` or `CLOSED`.
    status_changed: bool,
    /// The ticket was resolved or closed.
    ticket_closed: bool,
}

#[async_graphql::ComplexObject]
impl MailPreferences {
    /// The tickets that you get no mail about because you have unsubscribed from them, the last
    /// first. `setTicketMail` subscribes you again.
    #[graphql(complexity = "cost(Some(first), None, child_complexity)")]
    async fn unsubscribed_tickets(
        &self,
        ctx: &Context<'_>,
        #[graphql(
            desc = "Return at most this many tickets: 0 to 100.",
            default_with = "DEFAULT_TICKETS"
        )]
        first: i32,
    ) -> Result<List<Ticket>, Failure> {
        if !usize::try_from(first).is_ok_and(|first| first <= MAX_PAGE) {
            return Err(Failure::bad_request(format!("`first` must be between 0 and {MAX_PAGE}.")));
        }
        let (actor, services) = (ctx.actor()?, ctx.services()?);
        let found = service::unsubscription::of_viewer(actor, services, first.into()).await?;
        Ok(found.into_iter().map(Ticket::new).collect())
    }
}

impl From<notification::MailPreferences> for MailPreferences {
    fn from(preferences: notification::MailPreferences) -> Self {
        Self {
            ticket_created: preferences.ticket_created,
            support_answered: preferences.support_answered,
            status_changed: preferences.status_changed,
            ticket_closed: preferences.ticket_closed,
        }
    }
}

/// Which mails you receive about your tickets. A field that is omitted or null is not changed.
#[derive(InputObject)]
pub struct MailPreferencesInput {
    /// A confirmation of each ticket that you open.
    ticket_created: Option<bool>,
    /// New public comments.
    support_answered: Option<bool>,
    /// Changes of the status, other than to `RESOLVED` or `CLOSED`.
    status_changed: Option<bool>,
    /// The ticket was resolved or closed.
    ticket_closed: Option<bool>,
}

impl From<MailPreferencesInput> for MailPreferenceChanges {
    fn from(input: MailPreferencesInput) -> Self {
        Self {
            ticket_created: input.ticket_created,
            support_answered: input.support_answered,
            status_changed: input.status_changed,
            ticket_closed: input.ticket_closed,
        }
    }
}

/// The input of `updatePreferences`. A field that is omitted or null is not changed.
#[derive(InputObject)]
pub struct UpdatePreferencesInput {
    /// The language of your mails, and the default of every `locale` argument.
    locale: Option<Locale>,
    /// Which mails you receive about your tickets.
    mail: Option<MailPreferencesInput>,
}

/// The payload of `updatePreferences`.
#[derive(SimpleObject)]
#[graphql(crate = "crate::graphql::executor")]
pub struct UpdatePreferencesPayload {
    /// Your account after the change.
    account: Option<Account>,
    /// What the caller can correct; empty on success.
    user_errors: Vec<UserError>,
}

/// The input of `setTicketMail`.
#[derive(InputObject)]
pub struct SetTicketMailInput {
    /// The id of the ticket.
    ticket_id: ID,
    /// False stops all mail to you about the ticket. True starts it again, as your preferences
    /// allow.
    is_on: bool,
}

/// The payload of `setTicketMail`.
#[derive(SimpleObject)]
#[graphql(crate = "crate::graphql::executor")]
pub struct SetTicketMailPayload {
    /// The ticket.
    ticket: Option<Ticket>,
    /// What the caller can correct; empty on success.
    user_errors: Vec<UserError>,
}

#[derive(Default)]
pub struct PreferencesMutation;

#[Object]
impl PreferencesMutation {
    /// Changes your language and which mails you receive. Fails with `RATE_LIMITED` if a customer makes
    /// more changes within a minute than the installation allows.
    async fn update_preferences(
        &self,
        ctx: &Context<'_>,
        #[graphql(desc = "The preferences to change.")] input: UpdatePreferencesInput,
    ) -> Result<UpdatePreferencesPayload, Failure> {
        let changes = PreferenceChanges {
            locale: input.locale.map(Into::into),
            mail: input.mail.map(MailPreferenceChanges::from).unwrap_or_default(),
        };
        let account = service::preferences::update(ctx.actor()?, ctx.services()?, changes).await?;
        Ok(UpdatePreferencesPayload { account: Some(Account::new(account)), user_errors: vec![] })
    }

    /// Stops the mail to you about one ticket, like the unsubscribe link in a mail, or starts it
    /// again. Notifications are not affected. Setting what is already set changes nothing.
    ///
    /// Fails with `NOT_FOUND` if you may not see the ticket, and with `RATE_LIMITED` if a customer makes
    /// more changes within a minute than the installation allows.
    async fn set_ticket_mail(
        &self,
        ctx: &Context<'_>,
        #[graphql(desc = "The ticket, and whether to get mail about it.")]
        input: SetTicketMailInput,
    ) -> Result<SetTicketMailPayload, Failure> {
        ctx.identity()?;
        let id = GlobalId::ticket(&input.ticket_id).ok_or_else(Failure::not_found)?;
        let (actor, services) = (ctx.actor()?, ctx.services()?);
        let ticket =
            service::unsubscription::set_for_viewer(actor, services, id, input.is_on).await?;
        Ok(SetTicketMailPayload { ticket: Some(Ticket::new(ticket)), user_errors: vec![] })
    }
}
