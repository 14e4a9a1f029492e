//! The event log: appending events.

mod due;
mod open;
mod save;
mod terms;

use diesel::prelude::*;
use diesel_async::RunQueryDsl;
use serde_json::Value;
use uuid::Uuid;

use self::save::{columns, count};
pub use self::{
    due::{FullBuckets, UnwrittenAttempts},
    open::{Opened, TicketOpening, open},
    save::{
        NewTicketEvent, Saved, TicketChange, save, save_all_with_events, save_change,
        save_with_events,
    },
    terms::{Files, KeyClaim, Seen, Terms},
};
use super::{
    Connection, DbError,
    prepared::Prepare as _,
    schema::{accounts, events, pending_events},
};
use crate::domain::{
    clock::Timestamp,
    event::{AccountEvent, Audience},
    ids::AccountId,
    ticket::{Priority, Status},
};

/// An event about an account that is to be appended.
pub struct NewAccountEvent {
    /// What happened.
    pub event: AccountEvent,
    /// Who caused it, or `None` for the system.
    pub actor_id: Option<AccountId>,
    /// When it happened.
    pub occurred_at: Timestamp,
}

/// Appends events about an account, in order. Locks the account's row.
pub async fn append_to_account(
    db: &mut Connection,
    account: AccountId,
    new: &[NewAccountEvent],
) -> Result<(), DbError> {
    let last = diesel::update(accounts::table.find(account.0))
        .set(accounts::event_seq.eq(accounts::event_seq + count(new)))
        .returning(accounts::event_seq)
        .prepared()
        .get_result::<i64>(db)
        .await?;
    let first = last - count(new) + 1;
    let rows = (first..).zip(new).map(|(seq, new)| {
        let (kind, data) = columns(&new.event)?;
        Ok(NewRow {
            ticket_id: None,
            account_id: Some(account.0),
            seq,
            kind,
            audience: Audience::Participants,
            actor_id: new.actor_id.map(|id| id.0),
            data,
            category_id: None,
            status: None,
            priority: None,
            assignee_id: None,
            participant_ids: &[],
            occurred_at: new.occurred_at,
        })
    });
    append(db, rows.collect::<Result<_, DbError>>()?).await
}

/// A row of `events` without its id.
#[derive(Insertable)]
#[diesel(table_name = events, treat_none_as_default_value = false)]
struct NewRow<'p> {
    ticket_id: Option<Uuid>,
    account_id: Option<Uuid>,
    seq: i64,
    kind: String,
    audience: Audience,
    actor_id: Option<Uuid>,
    data: Value,
    category_id: Option<Uuid>,
    status: Option<Status>,
    priority: Option<Priority>,
    assignee_id: Option<Uuid>,
    participant_ids: &'p [Uuid],
    occurred_at: Timestamp,
}

/// Inserts rows into the log and queues them for the sequencer.
async fn append(db: &mut Connection, rows: Vec<NewRow<'_>>) -> Result<(), DbError> {
    let count = rows.len();
    let ids = diesel::insert_into(events::table)
        .values(rows)
        .returning(events::id)
        .prepared_if_few(count)
        .get_results::<i64>(db)
        .await?;
    diesel::insert_into(pending_events::table)
        .values(ids.into_iter().map(|id| pending_events::event_id.eq(id)).collect::<Vec<_>>())
        .prepared_if_few(count)
        .execute(db)
        .await?;
    Ok(())
}
