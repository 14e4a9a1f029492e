//! The caller's preferences: their language, and which mails they receive.

use async_graphql::{Context, InputObject, Object, SimpleObject};

use super::{
    account::{Account, Locale},
    context::ContextExt as _,
    error::{Failure, UserError},
};
use crate::{
    domain::notification::{self, MailPreferenceChanges},
    service::{self, preferences::PreferenceChanges},
};

/// Which mails you receive about the tickets that you opened or take part in. All are on by
/// default. You get no mail about what you did yourself, except the confirmation of a ticket
/// that you opened.
///
/// The unsubscribe link in each of these mails stops all mail about that one ticket. Security
/// notices, codes and the mail about a ticket that was shared with you cannot be switched off.
#[derive(SimpleObject)]
#[graphql(crate = "crate::graphql::executor")]
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

#[derive(Default)]
pub struct PreferencesMutation;

#[Object]
impl PreferencesMutation {
    /// Changes your language and which mails you receive.
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
}
