//! In which language people are addressed, and which mails they want.

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

/// What is to change; `None` leaves a field as it is.
#[derive(Clone, Copy, Debug, Default)]
pub struct PreferenceChanges {
    /// The language.
    pub locale: Option<Locale>,
    /// Confirmations of new tickets.
    pub ticket_created: Option<bool>,
    /// Answers.
    pub support_answered: Option<bool>,
    /// Changes of the status.
    pub status_changed: Option<bool>,
    /// Resolved and closed tickets.
    pub ticket_closed: Option<bool>,
}

/// Which mails the actor wants.
///
/// # Errors
/// Nobody is signed in.
pub async fn of_viewer(
    actor: &Actor,
    services: &Services,
) -> Result<MailPreferences, ServiceError> {
    authorise(actor, Action::Enter, Resource::Desk)?;
    let id = actor.account_id().ok_or(ServiceError::Unauthenticated)?;
    Ok(preferences::of_account(&mut *services.database.read().await?, id).await?)
}

/// Changes what the actor wants; gives their account.
///
/// # Errors
/// Nobody is signed in.
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
    services.sessions.refresh();
    account::viewer(actor, services).await
}
