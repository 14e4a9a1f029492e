//! Preferences: the language of a person and the mails that they receive.

use super::{
    ServiceError, Services, account, authorise_account,
    rate_limit::count_write,
    ticket_writes::{CountedWrite, Write},
};
use crate::{
    db::{DbError, preferences},
    domain::{
        account::{Account, Locale},
        actor::Actor,
        notification::{MailPreferenceChanges, MailPreferences},
    },
};

/// Changes to a person's preferences. `None` leaves a field unchanged.
#[derive(Clone, Copy, Debug, Default)]
pub struct PreferenceChanges {
    /// The new language.
    pub locale: Option<Locale>,
    /// The mails that the person receives.
    pub mail: MailPreferenceChanges,
}

/// Returns which mails the actor receives.
///
/// # Errors
/// Returns an error if nobody is signed in.
pub async fn of_viewer(
    actor: &Actor,
    services: &Services,
) -> Result<MailPreferences, ServiceError> {
    let id = authorise_account(actor)?;
    Ok(preferences::of_account(&mut *services.database.read().await?, id).await?)
}

/// Changes the actor's preferences and returns their account.
///
/// # Errors
/// Returns an error if nobody is signed in, and [`ServiceError::TooFrequent`] if a customer has made too
/// many changes within a minute.
pub async fn update(
    actor: &Actor,
    services: &Services,
    changes: PreferenceChanges,
) -> Result<Account, ServiceError> {
    let id = authorise_account(actor)?;
    let counted = CountedWrite { kind: Write::Change, actor: *actor, account: id };
    count_write(services, &mut *services.database.read().await?, counted).await?;
    services
        .database
        .write_without_events(async |db| {
            if let Some(locale) = changes.locale {
                preferences::set_locale(db, id, locale).await?;
            }
            preferences::change(db, id, changes.mail).await?;
            Ok::<_, DbError>(())
        })
        .await?;
    if changes.locale.is_some() {
        // Cached sessions contain the account's language.
        services.sessions.invalidate(id);
    }
    account::viewer(actor, services).await
}
