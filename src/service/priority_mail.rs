//! Mails that go ahead of everything else: planned in the transaction of what they
//! tell of, with their content sealed.

use chrono::TimeDelta;

use super::Desk;
use crate::{
    db::{
        Connection, DbError,
        delivery::{self, NewPriorityMail},
    },
    domain::{
        account::{Account, EmailAddress, Locale},
        clock::Timestamp,
        ids::DeliveryId,
        priority_mail::{NOTICE_LASTS, Notice, SecurityChange},
        session::Origin,
    },
};

/// Plans a mail, where the installation sends any.
pub(super) async fn plan(
    desk: &Desk,
    db: &mut Connection,
    (address, locale): (&EmailAddress, Locale),
    notice: &Notice,
    lasts: TimeDelta,
    now: Timestamp,
) -> Result<(), DbError> {
    if !desk.settings.mails {
        return Ok(());
    }
    let id = DeliveryId(desk.ambient.uuid());
    let content = serde_json::to_vec(notice).map_err(|error| DbError::Value(error.to_string()))?;
    let payload = desk.keys.seal(&desk.ambient, id.0.as_bytes(), &content);
    let new = NewPriorityMail { id, address, locale, payload, expires_at: now + lasts };
    delivery::plan_priority(db, &new, now).await
}

/// Tells an account's owner of what was done to it.
pub(super) async fn tell_owner(
    desk: &Desk,
    db: &mut Connection,
    owner: &Account,
    what: SecurityChange,
    origin: &Origin,
    now: Timestamp,
) -> Result<(), DbError> {
    let notice = Notice::Security {
        what,
        device: origin.device().map(str::to_owned),
        address: origin.address.map(|address| address.to_string()),
        at: now,
    };
    plan(desk, db, (&owner.email, owner.locale), &notice, NOTICE_LASTS, now).await
}
