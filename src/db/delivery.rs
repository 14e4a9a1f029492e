//! Deliveries: mails to be sent.

use chrono::TimeDelta;
use diesel::{
    dsl::sql,
    pg::Pg,
    prelude::*,
    sql_types::{Array, BigInt, Binary, Bool, Text, Timestamptz, Uuid as SqlUuid},
};
use diesel_async::RunQueryDsl;
use uuid::Uuid;

use super::{
    Connection, DbError,
    event_row::{EVENT_COLUMNS, EventRow},
    prepared::Prepare as _,
    schema::{deliveries, delivery_events, sql_types},
};
use crate::{
    crypto::seal::{KEY_ID, KeyId},
    domain::{
        account::{EmailAddress, Locale},
        clock::Timestamp,
        delivery::{Delivery, DeliveryState, GIVE_UP_AFTER},
        event::Event,
        ids::{AccountId, DeliveryId, EventId, TicketId},
        notification::NotificationKind,
    },
};

#[derive(Queryable, Selectable, QueryableByName)]
#[diesel(table_name = deliveries)]
struct DeliveryRow {
    id: Uuid,
    seq: i64,
    address: String,
    account_id: Option<Uuid>,
    ticket_id: Option<Uuid>,
    locale: Locale,
    priority: bool,
    state: DeliveryState,
    attempts: i32,
    expires_at: Option<Timestamp>,
    payload: Option<Vec<u8>>,
    last_error: Option<String>,
    created_at: Timestamp,
    finished_at: Option<Timestamp>,
}

impl From<DeliveryRow> for Delivery {
    fn from(row: DeliveryRow) -> Self {
        Self {
            id: DeliveryId(row.id),
            seq: row.seq,
            address: row.address,
            account_id: row.account_id.map(AccountId),
            ticket_id: row.ticket_id.map(TicketId),
            locale: row.locale,
            priority: row.priority,
            state: row.state,
            attempts: row.attempts,
            expires_at: row.expires_at,
            payload: row.payload,
            last_error: row.last_error,
            created_at: row.created_at,
            finished_at: row.finished_at,
        }
    }
}

/// A mail to plan, about one event.
pub struct NewDelivery<'a> {
    /// The delivery's id, if the event does not join an existing mail.
    pub id: DeliveryId,
    /// The recipient's address.
    pub address: &'a EmailAddress,
    /// The recipient's account, or `None` for a staff address without an account.
    pub account_id: Option<AccountId>,
    /// The ticket that the mail is about.
    pub ticket_id: TicketId,
    /// The language of the mail.
    pub locale: Locale,
    /// The event that the mail is about.
    pub event_id: EventId,
    /// What the event means to the recipient.
    pub kind: NotificationKind,
    /// When the event happened.
    pub occurred_at: Timestamp,
    /// How long later events can join the mail.
    pub window: TimeDelta,
    /// The current time.
    pub now: Timestamp,
}

/// Priority mail to plan.
pub struct NewPriorityMail<'a> {
    /// The delivery's id.
    pub id: DeliveryId,
    /// The account that the mail is about, which need not have the address any more. `None` if it is
    /// found by the address when the mail is composed.
    pub account_id: Option<AccountId>,
    /// The recipient's address.
    pub address: &'a EmailAddress,
    /// The language of the mail.
    pub locale: Locale,
    /// The sealed content.
    pub payload: Vec<u8>,
    /// The mail is not sent after this time.
    pub expires_at: Timestamp,
}

/// Plans priority mail.
pub async fn plan_priority_mail(
    db: &mut Connection,
    new: &NewPriorityMail<'_>,
    now: Timestamp,
) -> Result<(), DbError> {
    diesel::insert_into(deliveries::table)
        .values((
            deliveries::id.eq(new.id.0),
            deliveries::address.eq(new.address.as_str()),
            deliveries::account_id.eq(new.account_id.map(|id| id.0)),
            deliveries::locale.eq(new.locale),
            deliveries::priority.eq(true),
            deliveries::payload.eq(&new.payload),
            deliveries::due_at.eq(now),
            deliveries::expires_at.eq(new.expires_at),
            deliveries::created_at.eq(now),
        ))
        .execute(db)
        .await?;
    Ok(())
}

/// Plans a mail about an event. The event joins the recipient's last mail about the ticket if that
/// mail was not attempted yet and the event happened within its window. An address is mailed about
/// an event once: if a mail to it has the event, nothing is planned. Only one planner may run at a
/// time (see [`consumer::lock`](super::consumer::lock)).
pub async fn plan(db: &mut Connection, new: &NewDelivery<'_>) -> Result<(), DbError> {
    let joined = joinable(db, new).await?;
    if joined.is_none() {
        diesel::insert_into(deliveries::table)
            .values((
                deliveries::id.eq(new.id.0),
                deliveries::address.eq(new.address.as_str()),
                deliveries::account_id.eq(new.account_id.map(|id| id.0)),
                deliveries::ticket_id.eq(new.ticket_id.0),
                deliveries::locale.eq(new.locale),
                deliveries::due_at.eq(new.now + new.window),
                deliveries::joinable_until.eq(new.occurred_at + new.window),
                deliveries::created_at.eq(new.now),
            ))
            .execute(db)
            .await?;
    }
    let added = diesel::insert_into(delivery_events::table)
        .values((
            delivery_events::event_id.eq(new.event_id.0),
            delivery_events::address.eq(new.address.as_str()),
            delivery_events::delivery_id.eq(joined.unwrap_or(new.id.0)),
            delivery_events::kind.eq(new.kind),
        ))
        .on_conflict_do_nothing()
        .execute(db)
        .await?;
    if added == 0 && joined.is_none() {
        diesel::delete(deliveries::table.find(new.id.0)).execute(db).await?;
    }
    Ok(())
}

/// Redirects an account's unfinished mails about tickets from its former address to the new one. A mail
/// that is being sent may still reach the former address. Codes and notices stay: who has the former
/// address must learn what happened until the change.
pub async fn redirect(
    db: &mut Connection,
    account: AccountId,
    from: &EmailAddress,
    to: &EmailAddress,
) -> Result<(), DbError> {
    // An event reaches an address by one mail. Another one may have it already.
    diesel::sql_query(
        "UPDATE delivery_events e SET address = $3
         FROM deliveries d
         WHERE d.state IN ('queued', 'sending') AND d.account_id = $1 AND d.address = $2
           AND e.delivery_id = d.id AND e.address = $2
           AND NOT EXISTS (SELECT FROM delivery_events o
                           WHERE o.event_id = e.event_id AND o.address = $3)",
    )
    .bind::<SqlUuid, _>(account.0)
    .bind::<Text, _>(from.as_str())
    .bind::<Text, _>(to.as_str())
    .execute(db)
    .await?;
    diesel::update(deliveries::table)
        .filter(deliveries::state.eq_any([DeliveryState::Queued, DeliveryState::Sending]))
        .filter(deliveries::account_id.eq(account.0))
        .filter(deliveries::address.eq(from.as_str()))
        .filter(deliveries::ticket_id.is_not_null())
        .set(deliveries::address.eq(to.as_str()))
        .execute(db)
        .await?;
    Ok(())
}

/// How much of what was said one mail reports: no further event joins a mail with this many bytes of
/// comments, or with this many events. Mail servers refuse mails of more than some megabytes.
const MAX_JOINED_BYTES: i32 = 128 * 1024;
const MAX_JOINED: i32 = 100;

/// Returns the mail that an event can join, and locks it so that senders skip it.
async fn joinable(db: &mut Connection, new: &NewDelivery<'_>) -> Result<Option<Uuid>, DbError> {
    let has_room = format!(
        "(SELECT count(*) < {MAX_JOINED}
              AND coalesce(sum(octet_length(c.body)), 0) < {MAX_JOINED_BYTES}
          FROM delivery_events j JOIN events e ON e.id = j.event_id
          LEFT JOIN comments c ON c.id = (e.data ->> 'comment_id')::uuid
          WHERE j.delivery_id = deliveries.id)"
    );
    let last = deliveries::table
        .filter(deliveries::ticket_id.eq(new.ticket_id.0))
        .filter(deliveries::address.eq(new.address.as_str()))
        .filter(deliveries::account_id.is_not_distinct_from(new.account_id.map(|id| id.0)))
        .filter(deliveries::state.eq(DeliveryState::Queued))
        .filter(deliveries::attempts.eq(0))
        .filter(deliveries::joinable_until.ge(new.occurred_at))
        .order(deliveries::seq.desc())
        .select((deliveries::id, sql::<Bool>(&has_room)))
        .for_update()
        .first::<(Uuid, bool)>(db)
        .await
        .optional()?;
    Ok(last.filter(|(_, has_room)| *has_room).map(|(id, _)| id))
}

/// Whether a mail `d` goes ahead of all others: a code or link that is of use for an hour at most
/// and was not tried yet. A failed one waits its turn, so that mails that cannot be sent do not keep
/// the senders from all others. The index `deliveries_turn` has this expression.
const AHEAD: &str = "(d.priority AND d.attempts = 0
    AND coalesce(d.expires_at - d.created_at <= interval '1 hour', true))";

/// The condition for the mails `d` that are next for their recipient: those about one ticket are sent
/// in order.
pub(super) const NEXT: &str = "d.state IN ('queued', 'sending') AND NOT EXISTS (
    SELECT FROM deliveries e
    WHERE e.ticket_id = d.ticket_id AND e.address = d.address AND e.seq < d.seq
      AND e.state IN ('queued', 'sending'))";

/// Claims up to `limit` due mails until `lease_until`, including those whose last sender did not
/// finish before its lease ended. Of a recipient's mails about one ticket, only the first
/// unfinished one can be claimed. None can while mail is switched off. Sealed content is left to
/// other nodes unless its key is among `keys`.
pub async fn claim(
    db: &mut Connection,
    priority_only: bool,
    keys: &[KeyId],
    limit: i64,
    (now, lease_until): (Timestamp, Timestamp),
) -> Result<Vec<Delivery>, DbError> {
    let rows = diesel::sql_query(format!(
        "WITH due AS (
             SELECT d.id FROM deliveries d
             WHERE {NEXT} AND d.due_at <= $1
               AND (d.priority OR NOT $3)
               AND (d.payload IS NULL OR substring(d.payload for {KEY_ID}) = ANY ($5))
               AND (SELECT mail_enabled FROM installation)
             ORDER BY {AHEAD} DESC, d.due_at, d.seq
             LIMIT $4
             FOR UPDATE OF d SKIP LOCKED
         )
         UPDATE deliveries d
         SET state = 'sending', attempts = d.attempts + 1, due_at = $2
         FROM due WHERE d.id = due.id
         RETURNING d.id, d.seq, d.address, d.account_id, d.ticket_id, d.locale,
                   d.priority, d.state, d.attempts, d.expires_at,
                   d.payload, d.last_error, d.created_at, d.finished_at",
    ))
    .bind::<Timestamptz, _>(now)
    .bind::<Timestamptz, _>(lease_until)
    .bind::<Bool, _>(priority_only)
    .bind::<BigInt, _>(limit)
    .bind::<Array<Binary>, _>(keys.iter().map(|id| id.to_vec()).collect::<Vec<_>>())
    .load::<DeliveryRow>(db)
    .await?;
    Ok(rows.into_iter().map(Delivery::from).collect())
}

/// Selects a mail while an attempt at it is the last one.
#[diesel::dsl::auto_type(no_type_alias)]
fn claimed(id: Uuid, attempts: i32) -> _ {
    let sending: DeliveryState = DeliveryState::Sending;
    deliveries::table
        .find(id)
        .filter(deliveries::state.eq(sending))
        .filter(deliveries::attempts.eq(attempts))
}

/// Extends a claim until `lease_until`. Does nothing if another attempt has begun.
pub async fn renew(
    db: &mut Connection,
    delivery: &Delivery,
    lease_until: Timestamp,
) -> Result<(), DbError> {
    diesel::update(claimed(delivery.id.0, delivery.attempts))
        .set(deliveries::due_at.eq(lease_until))
        .prepared()
        .execute(db)
        .await?;
    Ok(())
}

/// Sets a mail's final state and erases its payload. Does nothing if another sender has finished
/// the mail.
pub async fn finish(
    db: &mut Connection,
    id: DeliveryId,
    state: DeliveryState,
    error: Option<&str>,
    now: Timestamp,
) -> Result<(), DbError> {
    diesel::update(deliveries::table.find(id.0).filter(deliveries::finished_at.is_null()))
        .set((
            deliveries::state.eq(state),
            deliveries::last_error.eq(error),
            deliveries::payload.eq(None::<Vec<u8>>),
            deliveries::finished_at.eq(now),
        ))
        .prepared()
        .execute(db)
        .await?;
    Ok(())
}

/// Queues a mail for another attempt at `due_at`, with this number of attempts so far. Does nothing
/// if another attempt has begun.
pub async fn requeue(
    db: &mut Connection,
    delivery: &Delivery,
    attempts: i32,
    due_at: Timestamp,
    error: &str,
) -> Result<(), DbError> {
    diesel::update(claimed(delivery.id.0, delivery.attempts))
        .set((
            deliveries::state.eq(DeliveryState::Queued),
            deliveries::attempts.eq(attempts),
            deliveries::due_at.eq(due_at),
            deliveries::last_error.eq(error),
        ))
        .prepared()
        .execute(db)
        .await?;
    Ok(())
}

/// Finishes up to `limit` mails that are past their deadline and not being sent, and returns their
/// states, as [`Delivery::overdue_state`] decides for one mail.
pub async fn expire(
    db: &mut Connection,
    now: Timestamp,
    limit: i64,
) -> Result<Vec<DeliveryState>, DbError> {
    #[derive(QueryableByName)]
    struct Expired {
        #[diesel(sql_type = sql_types::DeliveryState)]
        state: DeliveryState,
    }
    let rows = diesel::sql_query(
        "WITH overdue_deliveries AS (
             SELECT id FROM deliveries
             WHERE state IN ('queued', 'sending') AND (state = 'queued' OR due_at <= $1)
               AND (expires_at <= $1 OR (expires_at IS NULL AND created_at <= $2))
             LIMIT $3
             FOR UPDATE SKIP LOCKED
         )
         UPDATE deliveries d
         SET state = (CASE WHEN d.priority OR d.last_error IS NULL THEN 'expired' ELSE 'given_up' END)::delivery_state,
             payload = NULL, finished_at = $1
         FROM overdue_deliveries o WHERE d.id = o.id
         RETURNING d.state",
    )
    .bind::<Timestamptz, _>(now)
    .bind::<Timestamptz, _>(now - GIVE_UP_AFTER)
    .bind::<BigInt, _>(limit)
    .prepared()
    .load::<Expired>(db)
    .await?;
    Ok(rows.into_iter().map(|row| row.state).collect())
}

/// The error of mails that a restore holds back.
pub(super) const HELD_BACK: &str = "restored from a backup: it may have been sent since";

/// Which mails to queue again.
#[derive(Clone, Debug)]
pub struct FailedMails {
    /// The mail with this id, or `None` for all.
    pub id: Option<DeliveryId>,
    /// Only mails in these states, all of [`DeliveryState::FAILED`].
    pub states: Vec<DeliveryState>,
    /// Only mails that were finished at this time or later.
    pub finished_since: Option<Timestamp>,
    /// Whether also those that a restore has held back, which may have been sent.
    pub held_back: bool,
}

impl FailedMails {
    fn query(&self) -> deliveries::BoxedQuery<'_, Pg> {
        let states = deliveries::state.eq_any(&self.states);
        let mut chosen = deliveries::table.filter(states).into_boxed();
        if let Some(id) = self.id {
            chosen = chosen.filter(deliveries::id.eq(id.0));
        }
        if !self.held_back {
            chosen = chosen.filter(deliveries::last_error.is_distinct_from(HELD_BACK));
        }
        if let Some(since) = self.finished_since {
            chosen = chosen.filter(deliveries::finished_at.ge(since));
        }
        chosen
    }
}

/// Counts failed mails whose content was erased, because they are about no ticket but held a code, a link
/// or a security notice. They cannot be queued again.
pub async fn count_erased(db: &mut Connection, failed: &FailedMails) -> Result<i64, DbError> {
    let erased = failed.query().filter(deliveries::ticket_id.is_null());
    Ok(erased.count().get_result(db).await?)
}

/// Queues failed mails about tickets again, to be sent before `deadline`, and returns their ids.
/// Priority mail is left out: its content was erased.
pub async fn retry(
    db: &mut Connection,
    failed: &FailedMails,
    now: Timestamp,
    deadline: Timestamp,
) -> Result<Vec<DeliveryId>, DbError> {
    let chosen = failed.query().filter(deliveries::ticket_id.is_not_null()).select(deliveries::id);
    let ids = diesel::update(deliveries::table)
        .filter(deliveries::id.eq_any(chosen))
        .filter(deliveries::finished_at.is_not_null())
        .set((
            deliveries::state.eq(DeliveryState::Queued),
            deliveries::attempts.eq(0),
            deliveries::due_at.eq(now),
            deliveries::joinable_until.eq(None::<Timestamp>),
            deliveries::expires_at.eq(deadline),
            deliveries::finished_at.eq(None::<Timestamp>),
        ))
        .returning(deliveries::id)
        .load::<Uuid>(db)
        .await?;
    Ok(ids.into_iter().map(DeliveryId).collect())
}

/// Makes a queued mail due at `now`, if it is queued for later.
pub async fn hasten(db: &mut Connection, id: DeliveryId, now: Timestamp) -> Result<(), DbError> {
    let later = deliveries::table
        .find(id.0)
        .filter(deliveries::state.eq(DeliveryState::Queued))
        .filter(deliveries::due_at.gt(now));
    diesel::update(later).set(deliveries::due_at.eq(now)).execute(db).await?;
    Ok(())
}

/// Returns the latest mails in some states, newest first.
pub async fn latest(
    db: &mut Connection,
    states: &[DeliveryState],
    limit: i64,
) -> Result<Vec<Delivery>, DbError> {
    let rows = deliveries::table
        .filter(deliveries::state.eq_any(states))
        .order(deliveries::seq.desc())
        .limit(limit)
        .select(DeliveryRow::as_select())
        .load(db)
        .await?;
    Ok(rows.into_iter().map(Delivery::from).collect())
}

/// Returns how many mails failed, by state, and the error of the latest unfinished mail that has
/// one. Reads the whole table.
pub async fn failures(
    db: &mut Connection,
) -> Result<(Vec<(DeliveryState, i64)>, Option<String>), DbError> {
    let counts = deliveries::table
        .filter(deliveries::state.eq_any(DeliveryState::FAILED))
        .group_by(deliveries::state)
        .select((deliveries::state, diesel::dsl::count_star()))
        .load(db)
        .await?;
    let error = deliveries::table
        .filter(deliveries::state.eq_any([DeliveryState::Queued, DeliveryState::Sending]))
        .filter(deliveries::last_error.is_not_null())
        .order(deliveries::due_at.desc())
        .select(deliveries::last_error)
        .first::<Option<String>>(db)
        .await
        .optional()?;
    Ok((counts, error.flatten()))
}

/// Returns how many mails have failed since a time, without those that a restore has held back: first
/// those that can be queued again, then those whose content was erased. Reads the whole table.
pub async fn failed_since(db: &mut Connection, since: Timestamp) -> Result<(i64, i64), DbError> {
    let failed = FailedMails {
        id: None,
        states: DeliveryState::FAILED.into(),
        finished_since: Some(since),
        held_back: false,
    };
    let kept = failed.query().filter(deliveries::ticket_id.is_not_null());
    let kept = kept.count().get_result(db).await?;
    Ok((kept, count_erased(db, &failed).await?))
}

/// Returns when the next mail can be claimed, or `None` if there are no unfinished mails or mail is
/// switched off.
pub async fn next_due(db: &mut Connection) -> Result<Option<Timestamp>, DbError> {
    #[derive(QueryableByName)]
    struct Next {
        #[diesel(sql_type = Timestamptz)]
        due_at: Timestamp,
    }
    let query = format!(
        "SELECT d.due_at FROM deliveries d
         WHERE {NEXT} AND (SELECT mail_enabled IS NOT FALSE FROM installation)
         ORDER BY d.due_at LIMIT 1"
    );
    let next = diesel::sql_query(query).get_result::<Next>(db).await.optional()?;
    Ok(next.map(|next| next.due_at))
}

/// Returns the delivery with an id.
pub async fn by_id(db: &mut Connection, id: DeliveryId) -> Result<Option<Delivery>, DbError> {
    let row =
        deliveries::table.find(id.0).select(DeliveryRow::as_select()).first(db).await.optional()?;
    Ok(row.map(Delivery::from))
}

/// The maximum number of mails that are listed for a ticket.
const MAX_LISTED: i64 = 100;

/// Returns the last mails about each of the tickets, oldest first.
pub async fn of_tickets(
    db: &mut Connection,
    tickets: &[TicketId],
) -> Result<Vec<(TicketId, Delivery)>, DbError> {
    let rows = diesel::sql_query(
        "SELECT d.* FROM unnest($1) AS requested (id)
         CROSS JOIN LATERAL (
             SELECT id, seq, address, account_id, ticket_id, locale, priority, state, attempts, expires_at,
                    payload, last_error, created_at, finished_at
             FROM deliveries WHERE ticket_id = requested.id ORDER BY seq DESC LIMIT $2
         ) d
         ORDER BY d.seq",
    )
    .bind::<diesel::sql_types::Array<SqlUuid>, _>(
        tickets.iter().map(|id| id.0).collect::<Vec<_>>(),
    )
    .bind::<BigInt, _>(MAX_LISTED)
    .load::<DeliveryRow>(db)
    .await?;
    let ticket = |row: DeliveryRow| {
        let ticket = row.ticket_id.map(TicketId);
        ticket.map(|ticket| (ticket, row.into()))
    };
    Ok(rows.into_iter().filter_map(ticket).collect())
}

/// Returns the mails about the same ticket that were sent to the same recipient before this one,
/// for its `References` header: the first one and the last `limit`, in order.
pub async fn thread(
    db: &mut Connection,
    delivery: &Delivery,
    limit: i64,
) -> Result<Vec<DeliveryId>, DbError> {
    let Some(ticket) = delivery.ticket_id else { return Ok(vec![]) };
    let before = || {
        deliveries::table
            .filter(deliveries::ticket_id.eq(ticket.0))
            .filter(deliveries::address.eq(&delivery.address))
            .filter(deliveries::seq.lt(delivery.seq))
            .filter(deliveries::state.eq(DeliveryState::Sent))
            .select(deliveries::id)
    };
    let mut ids = before().order(deliveries::seq.desc()).limit(limit).load::<Uuid>(db).await?;
    ids.reverse();
    let root = before().order(deliveries::seq).first::<Uuid>(db).await.optional()?;
    if let Some(root) = root.filter(|root| !ids.contains(root)) {
        ids.insert(0, root);
    }
    Ok(ids.into_iter().map(DeliveryId).collect())
}

#[derive(QueryableByName)]
struct DeliveryEventRow {
    #[diesel(embed)]
    event: EventRow,
    #[diesel(sql_type = sql_types::NotificationKind)]
    notified_as: NotificationKind,
}

/// Returns the events of a mail in order, each with what it means to the recipient.
pub async fn events(
    db: &mut Connection,
    id: DeliveryId,
) -> Result<Vec<(Event, NotificationKind)>, DbError> {
    let rows = diesel::sql_query(format!(
        "SELECT {EVENT_COLUMNS}, d.kind AS notified_as
         FROM delivery_events d
         JOIN events e ON e.id = d.event_id
         LEFT JOIN tickets t ON t.id = e.ticket_id
         WHERE d.delivery_id = $1
         ORDER BY e.id"
    ))
    .bind::<SqlUuid, _>(id.0)
    .prepared()
    .load::<DeliveryEventRow>(db)
    .await?;
    Ok(rows.into_iter().map(|row| (row.event.into(), row.notified_as)).collect())
}
