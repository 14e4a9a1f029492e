//! Redactions of single texts and files, as the ledger of erasures has them too.

use diesel::{prelude::*, query_dsl::methods::FilterDsl};
use diesel_async::RunQueryDsl;
use serde_json::{Value, json};
use uuid::Uuid;

use super::{
    Connection, DbError,
    schema::{events, redactions},
};
use crate::domain::{clock::Timestamp, ids::TicketId, redaction::Redaction};

/// How many redactions a page has at most.
const PAGE: i64 = 1_000;

/// Records a redaction. A later one of the same text replaces an earlier one.
pub async fn record(db: &mut Connection, redaction: &Redaction) -> Result<(), DbError> {
    let content = serde_json::to_value(redaction.content);
    let content = content.map_err(|error| DbError::Value(error.to_string()))?;
    let at = redactions::redacted_at.eq(redaction.redacted_at);
    let insert = diesel::insert_into(redactions::table)
        .values((
            redactions::name.eq(redaction.name()),
            redactions::ticket_id.eq(redaction.ticket_id.0),
            redactions::content.eq(content),
            at,
        ))
        .on_conflict(redactions::name)
        .do_update()
        .set(at);
    // ON CONFLICT DO UPDATE … WHERE.
    let later = redactions::redacted_at.lt(redaction.redacted_at);
    FilterDsl::filter(insert, later).execute(db).await?;
    Ok(())
}

/// Returns the first redactions whose names come after one, in the order of their names, and the last
/// of these names, or `None` if there are no more. One that this version cannot read is logged and left
/// out.
pub async fn page(
    db: &mut Connection,
    after: &str,
) -> Result<Option<(Vec<Redaction>, String)>, DbError> {
    let columns =
        (redactions::name, redactions::ticket_id, redactions::content, redactions::redacted_at);
    let rows = QueryDsl::filter(redactions::table, redactions::name.gt(after))
        .order(redactions::name)
        .limit(PAGE)
        .select(columns)
        .load::<(String, Uuid, Value, Timestamp)>(db)
        .await?;
    let Some(last) = rows.last().map(|(name, ..)| name.clone()) else { return Ok(None) };
    let redaction = |(name, ticket, content, redacted_at)| {
        let content = serde_json::from_value(content);
        let content = content.inspect_err(|error| {
            tracing::error!(name, %error, "a redaction in the database cannot be read");
        });
        Some(Redaction { ticket_id: TicketId(ticket), content: content.ok()?, redacted_at })
    };
    Ok(Some((rows.into_iter().filter_map(redaction).collect(), last)))
}

/// Whether an event says that the content was redacted at the time of a redaction or later.
pub async fn has_happened(db: &mut Connection, redaction: &Redaction) -> Result<bool, DbError> {
    let content = serde_json::to_value(redaction.content);
    let content = content.map_err(|error| DbError::Value(error.to_string()))?;
    let is_event = events::ticket_id
        .eq(redaction.ticket_id.0)
        .and(events::kind.eq("content_redacted"))
        .and(events::data.eq(json!({ "content": content })))
        .and(events::occurred_at.ge(redaction.redacted_at));
    let event = QueryDsl::filter(events::table, is_event);
    Ok(diesel::select(diesel::dsl::exists(event)).get_result(db).await?)
}
