//! Redactions of single texts and files, as the ledger of erasures has them too.

use diesel::prelude::*;
use diesel_async::RunQueryDsl;
use serde_json::Value;
use uuid::Uuid;

use super::{Connection, DbError, schema::redactions};
use crate::domain::{clock::Timestamp, ids::TicketId, redaction::Redaction};

/// Records a redaction. A later one of the same text replaces it.
pub async fn record(db: &mut Connection, redaction: &Redaction) -> Result<(), DbError> {
    let content = serde_json::to_value(redaction.content);
    let content = content.map_err(|error| DbError::Value(error.to_string()))?;
    let at = redactions::redacted_at.eq(redaction.redacted_at);
    diesel::insert_into(redactions::table)
        .values((
            redactions::name.eq(redaction.name()),
            redactions::ticket_id.eq(redaction.ticket_id.0),
            redactions::content.eq(content),
            at,
        ))
        .on_conflict(redactions::name)
        .do_update()
        .set(at)
        .execute(db)
        .await?;
    Ok(())
}

/// Returns all redactions, in no particular order.
pub async fn all(db: &mut Connection) -> Result<Vec<Redaction>, DbError> {
    let rows = redactions::table
        .select((redactions::ticket_id, redactions::content, redactions::redacted_at))
        .load::<(Uuid, Value, Timestamp)>(db)
        .await?;
    let redaction = |(ticket, content, redacted_at)| {
        let content = serde_json::from_value(content);
        let content = content.map_err(|error| DbError::Value(error.to_string()))?;
        Ok(Redaction { ticket_id: TicketId(ticket), content, redacted_at })
    };
    rows.into_iter().map(redaction).collect()
}
