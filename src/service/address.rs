//! What follows from a changed e-mail address.

use super::{Services, audit, password, priority_mail, session};
use crate::{
    db::{Connection, DbError, account, delivery, password_reset, second_factor, unsubscription},
    domain::{
        account::Account, actor::Actor, clock::Timestamp, event::AccountEvent, ids::AccountId,
        priority_mail::SecurityChange, second_factor::Method, session::ClientOrigin,
    },
};

/// Ends what depended on an account's former e-mail address and notifies both addresses. Sessions,
/// links and e-mail codes end: a reader of the former mailbox must not keep access, and the new
/// one has proven nothing yet. Mail that waits goes to the new address. Call this in the transaction
/// that has changed the address. `before` is the account before the change.
pub(super) async fn changed(
    services: &Services,
    db: &mut Connection,
    actor: &Actor,
    before: &Account,
    after: &Account,
    now: Timestamp,
) -> Result<(), DbError> {
    for email in [&before.email, &after.email] {
        password_reset::invalidate_all(db, email, now).await?;
    }
    if second_factor::remove(db, after.id, Method::Email).await? {
        removed_email_factor(db, actor, after.id, now).await?;
    }
    delivery::redirect(db, after.id, &before.email, &after.email).await?;
    unsubscription::redirect(db, &before.email, &after.email).await?;
    audit::record(db, after.id, actor.account_id(), AccountEvent::EmailChanged {}, now).await?;
    // Without the device and network address of the admin or the control panel.
    let unknown = ClientOrigin::default();
    for recipient in [before, after] {
        let change = SecurityChange::EmailChanged;
        priority_mail::notify_owner(services, db, recipient, change, &unknown, now).await?;
    }
    session::end_sessions(services, db, after.id, None, actor, now).await?;
    Ok(())
}

async fn removed_email_factor(
    db: &mut Connection,
    actor: &Actor,
    account: AccountId,
    now: Timestamp,
) -> Result<(), DbError> {
    if second_factor::of_account(db, account).await?.is_empty() {
        second_factor::set_recovery_codes(db, account, &[]).await?;
    }
    let removed = AccountEvent::SecondFactorRemoved { method: Method::Email };
    audit::record(db, account, actor.account_id(), removed, now).await
}

/// Mails a new invitation to an account that has no password yet. The former one was mailed to the
/// former address.
pub(super) async fn invite_again(
    services: &Services,
    db: &mut Connection,
    owner: &Account,
    now: Timestamp,
) -> Result<(), DbError> {
    if account::password(db, owner.id).await?.is_some() {
        return Ok(());
    }
    password::invite(services, db, owner, now).await
}
