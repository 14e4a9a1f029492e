//! The event log: appending events.

mod due;
mod open;
mod save;
mod terms;

use diesel::{
    prelude::*,
    sql_types::{Array, BigInt, Jsonb, Nullable, Text, Timestamptz, Uuid as SqlUuid},
};
use diesel_async::RunQueryDsl;

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
use super::{Connection, DbError, prepared::Prepare as _, schema::accounts};
use crate::domain::{clock::Timestamp, event::AccountEvent, ids::AccountId};

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
    let columns = new.iter().map(|new| columns(&new.event)).collect::<Result<Vec<_>, _>>()?;
    let (kinds, data) = columns.into_iter().unzip::<_, _, Vec<_>, Vec<_>>();
    // Arrays, since a statement has at most 65,535 parameters. Ids of events rise in their order.
    diesel::sql_query(
        "WITH appended AS (
             INSERT INTO events (account_id, seq, kind, audience, actor_id, data, participant_ids,
                                 occurred_at)
             SELECT $1, n.seq, n.kind, 'participants'::event_audience, n.actor_id, n.data,
                    '{}'::uuid[], n.occurred_at
             FROM unnest($2, $3, $4, $5, $6) AS n (seq, kind, actor_id, data, occurred_at)
             ORDER BY n.seq
             RETURNING id
         )
         INSERT INTO pending_events (event_id) SELECT id FROM appended",
    )
    .bind::<SqlUuid, _>(account.0)
    .bind::<Array<BigInt>, _>((first..=last).collect::<Vec<_>>())
    .bind::<Array<Text>, _>(kinds)
    .bind::<Array<Nullable<SqlUuid>>, _>(
        new.iter().map(|new| new.actor_id.map(|id| id.0)).collect::<Vec<_>>(),
    )
    .bind::<Array<Jsonb>, _>(data)
    .bind::<Array<Timestamptz>, _>(new.iter().map(|new| new.occurred_at).collect::<Vec<_>>())
    .prepared()
    .execute(db)
    .await?;
    Ok(())
}
