//! Preferences: the language of a person and the mails that they receive.

use super::{ServiceError, Services, account, authorise};
use crate::{
    db::{DbError, preferences},
    domain::{
        account::{Account, Locale},
        actor::Actor,
        notification::MailPreferences,
        policy::{Action, Resource},
    },
};

/// Changes to a person's preferences. `None` leaves a field unchanged.
#[derive(Clone, Copy, Debug, Default)]
pub struct PreferenceChanges {
    /// The new language.
    pub locale: Option<Locale>,
    /// Whether to mail a confirmation of each new ticket.
    pub ticket_created: Option<bool>,
    /// Whether to mail answers.
    pub support_answered: Option<bool>,
    /// Whether to mail changes of a ticket's status.
    pub status_changed: Option<bool>,
    /// Whether to mail that a ticket was resolved or closed.
    pub ticket_closed: Option<bool>,
}

/// Returns which mails the actor receives.
///
/// # Errors
/// Returns an error if nobody is signed in.
pub async fn of_viewer(
    actor: &Actor,
    services: &Services,
) -> Result<MailPreferences, ServiceError> {
    authorise(actor, Action::Enter, Resource::Desk)?;
    let id = actor.account_id().ok_or(ServiceError::Unauthenticated)?;
    Ok(preferences::of_account(&mut *services.database.read().await?, id).await?)
}

/// Changes the actor's preferences and returns their account.
///
/// # Errors
/// Returns an error if nobody is signed in.
pub async fn update(
    actor: &Actor,
    services: &Services,
    changes: PreferenceChanges,
) -> Result<Account, ServiceError> {
    authorise(actor, Action::Enter, Resource::Desk)?;
    let id = actor.account_id().ok_or(ServiceError::Unauthenticated)?;
    services
        .database
        .write_without_events(async |db| {
            if let Some(locale) = changes.locale {
                preferences::set_locale(db, id, locale).await?;
            }
            let before = preferences::of_account(db, id).await?;
            let new = MailPreferences {
                ticket_created: changes.ticket_created.unwrap_or(before.ticket_created),
                support_answered: changes.support_answered.unwrap_or(before.support_answered),
                status_changed: changes.status_changed.unwrap_or(before.status_changed),
                ticket_closed: changes.ticket_closed.unwrap_or(before.ticket_closed),
            };
            preferences::set(db, id, new).await?;
            Ok::<_, DbError>(())
        })
        .await?;
    // Cached sessions contain the account's language.
    services.sessions.invalidate();
    account::viewer(actor, services).await
}
