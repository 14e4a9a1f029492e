//! Plans priority mail: one-time codes, links and security notices. A mail is planned in the
//! transaction of the change that it reports, and its content is sealed.

use chrono::TimeDelta;

use super::{Services, rate_limit};
use crate::{
    db::{
        Connection, DbError,
        delivery::{self, NewPriorityMail},
        installation,
    },
    domain::{
        account::{Account, EmailAddress, Locale},
        clock::Timestamp,
        ids::{AccountId, DeliveryId},
        priority_mail::{PriorityMail, SECURITY_NOTICE_LIFETIME, SecurityChange},
        session::ClientOrigin,
    },
};

/// Who receives a priority mail.
struct Recipient<'a> {
    /// The account that the mail is about. `None` if it is found by the address when the mail is
    /// composed.
    account: Option<AccountId>,
    address: &'a EmailAddress,
    locale: Locale,
}

/// Plans a priority mail that expires after `lasts`. It is sent if an account has the address by
/// then. Does nothing if the installation sends no mail.
pub(super) async fn plan(
    services: &Services,
    db: &mut Connection,
    (address, locale): (&EmailAddress, Locale),
    mail: &PriorityMail,
    lasts: TimeDelta,
    now: Timestamp,
) -> Result<(), DbError> {
    let to = Recipient { account: None, address, locale };
    plan_for(services, db, &to, mail, lasts, now).await
}

async fn plan_for(
    services: &Services,
    db: &mut Connection,
    to: &Recipient<'_>,
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
    let &Recipient { account: account_id, address, locale } = to;
    let expires_at = now + lasts;
    let new = NewPriorityMail { id, account_id, address, locale, payload, expires_at };
    delivery::plan_priority_mail(db, &new, now).await
}

/// Returns whether the installation sends mail.
pub(super) async fn goes_out(db: &mut Connection) -> Result<bool, DbError> {
    Ok(installation::mail_enabled(db).await?.unwrap_or(false))
}

/// Plans a security notice to an account's owner, at the address that `owner` has. Does nothing after
/// ten notices about one kind of change within an hour: mail of others would wait behind them.
pub(super) async fn notify_owner(
    services: &Services,
    db: &mut Connection,
    owner: &Account,
    change: SecurityChange,
    origin: &ClientOrigin,
    now: Timestamp,
) -> Result<(), DbError> {
    if !rate_limit::may_notify(db, owner, change.name(), now).await? {
        return Ok(());
    }
    let mail = PriorityMail::SecurityNotice {
        change,
        device: origin.device().map(str::to_owned),
        address: origin.address.map(|address| address.to_string()),
        at: now,
    };
    let to = Recipient { account: Some(owner.id), address: &owner.email, locale: owner.locale };
    plan_for(services, db, &to, &mail, SECURITY_NOTICE_LIFETIME, now).await
}
