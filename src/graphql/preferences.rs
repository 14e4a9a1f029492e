//! In which language you are addressed, and which mails you want.

use async_graphql::{Context, InputObject, Object, SimpleObject};

use super::{
    account::{Account, Locale},
    context::ContextExt as _,
    error::{Failure, UserError},
};
use crate::{
    domain::notification,
    service::{self, preferences::PreferenceChanges},
};

/// Which mails you want. Each ticket's can be stopped by the link in any of them, too.
#[derive(SimpleObject)]
pub struct MailPreferences {
    /// Confirmations of tickets that you open.
    ticket_created: bool,
    /// Answers on your tickets.
    support_answered: bool,
    /// Changes of your tickets' status.
    status_changed: bool,
    /// That your tickets were resolved or closed.
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

/// Which mails you want; what is not given stays as it is.
#[derive(InputObject)]
pub struct MailPreferencesInput {
    /// Confirmations of tickets that you open.
    ticket_created: Option<bool>,
    /// Answers on your tickets.
    support_answered: Option<bool>,
    /// Changes of your tickets' status.
    status_changed: Option<bool>,
    /// That your tickets were resolved or closed.
    ticket_closed: Option<bool>,
}

/// What `updatePreferences` takes; what is not given stays as it is.
#[derive(InputObject)]
pub struct UpdatePreferencesInput {
    /// The language that you are addressed in.
    locale: Option<Locale>,
    /// Which mails you want.
    mail: Option<MailPreferencesInput>,
}

/// What `updatePreferences` answers.
#[derive(SimpleObject)]
pub struct UpdatePreferencesPayload {
    /// Your account as it is now.
    account: Option<Account>,
    /// What is wrong with the input.
    user_errors: Vec<UserError>,
}

#[derive(Default)]
pub struct PreferencesMutation;

#[Object]
impl PreferencesMutation {
    /// Changes the language that you are addressed in, and which mails you want.
    async fn update_preferences(
        &self,
        ctx: &Context<'_>,
        #[graphql(desc = "What to change.")] input: UpdatePreferencesInput,
    ) -> Result<UpdatePreferencesPayload, Failure> {
        let mail = input.mail.as_ref();
        let changes = PreferenceChanges {
            locale: input.locale.map(Into::into),
            ticket_created: mail.and_then(|mail| mail.ticket_created),
            support_answered: mail.and_then(|mail| mail.support_answered),
            status_changed: mail.and_then(|mail| mail.status_changed),
            ticket_closed: mail.and_then(|mail| mail.ticket_closed),
        };
        let account = service::preferences::update(ctx.actor()?, ctx.services()?, changes).await?;
        Ok(UpdatePreferencesPayload { account: Some(Account::new(account)), user_errors: vec![] })
    }
}
