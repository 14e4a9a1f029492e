//! Plans priority mail: one-time codes, links and security notices. A mail is planned in the
//! transaction of the change that it reports, and its content is sealed.

use chrono::TimeDelta;

use super::Services;
use crate::{
    db::{
        Connection, DbError,
        delivery::{self, NewPriorityMail},
        installation,
    },
    domain::{
        account::{Account, EmailAddress, Locale},
        clock::Timestamp,
        ids::DeliveryId,
        priority_mail::{PriorityMail, SECURITY_NOTICE_LIFETIME, SecurityChange},
        session::ClientOrigin,
    },
};

/// Plans a priority mail that expires after `lasts`. Does nothing if the installation sends no
/// mail.
pub(super) async fn plan(
    services: &Services,
    db: &mut Connection,
    (address, locale): (&EmailAddress, Locale),
    mail: &PriorityMail,
    lasts: TimeDelta,
    now: Timestamp,
) -> Result<(), DbError> {
    if !goes_out(db).await? {
        return Ok(());
    }
    let id = DeliveryId(services.ambient.uuid());
    let content = serde_json::to_vec(mail).map_err(|error| DbError::Value(error.to_string()))?;
    let payload = services.keys.seal(&services.ambient, id.0.as_bytes(), &content);
    let new = NewPriorityMail { id, address, locale, payload, expires_at: now + lasts };
    delivery::plan_priority_mail(db, &new, now).await
}

/// Returns whether the installation sends mail.
pub(super) async fn goes_out(db: &mut Connection) -> Result<bool, DbError> {
    Ok(installation::mail_enabled(db).await?.unwrap_or(false))
}

/// Plans a security notice to an account's owner.
pub(super) async fn notify_owner(
    services: &Services,
    db: &mut Connection,
    owner: &Account,
    change: SecurityChange,
    origin: &ClientOrigin,
    now: Timestamp,
) -> Result<(), DbError> {
    let mail = PriorityMail::SecurityNotice {
        change,
        device: origin.device().map(str::to_owned),
        address: origin.address.map(|address| address.to_string()),
        at: now,
    };
    plan(services, db, (&owner.email, owner.locale), &mail, SECURITY_NOTICE_LIFETIME, now).await
}
