//! Deliveries: mails on their way.

use chrono::TimeDelta;
use diesel::{
    prelude::*,
    sql_types::{BigInt, Bool, Timestamptz},
};
use diesel_async::RunQueryDsl;
use uuid::Uuid;

use super::{
    Connection, DbError,
    event::{EVENT_COLUMNS, EventRow},
    prepared::Prepare as _,
    schema::{deliveries, delivery_events, sql_types},
};
use crate::domain::{
    account::{EmailAddress, Locale},
    clock::Timestamp,
    delivery::{Delivery, DeliveryState},
    event::Event,
    ids::{AccountId, DeliveryId, EventId, TicketId},
    notification::NotificationKind,
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

/// A mail to be planned: of one event so far.
pub struct NewDelivery<'a> {
    /// Its id, if it becomes a mail of its own.
    pub id: DeliveryId,
    /// Where it goes.
    pub address: &'a EmailAddress,
    /// To whom; none: an address of the staff's.
    pub account_id: Option<AccountId>,
    /// About which ticket.
    pub ticket_id: TicketId,
    /// In which language.
    pub locale: Locale,
    /// Of what it tells.
    pub event_id: EventId,
    /// What that means to them.
    pub kind: NotificationKind,
    /// When that happened.
    pub occurred_at: Timestamp,
    /// For how long later events join it.
    pub window: TimeDelta,
    /// Now.
    pub now: Timestamp,
}

/// A mail that goes ahead of everything else.
pub struct NewPriorityMail<'a> {
    /// Its id.
    pub id: DeliveryId,
    /// Where it goes.
    pub address: &'a EmailAddress,
    /// In which language.
    pub locale: Locale,
    /// Its sealed content.
    pub payload: Vec<u8>,
    /// Not to be sent after this.
    pub expires_at: Timestamp,
}

/// Plans a mail that goes ahead of everything else.
pub async fn plan_priority(
    db: &mut Connection,
    new: &NewPriorityMail<'_>,
    now: Timestamp,
) -> Result<(), DbError> {
    diesel::insert_into(deliveries::table)
        .values((
            deliveries::id.eq(new.id.0),
            deliveries::address.eq(new.address.as_str()),
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

/// Plans a mail of an event, or lets the event join the recipient's last mail about
/// the ticket if nobody has begun to send that and the event came soon enough.
/// Planners have to take turns (see [`consumer::lock`](super::consumer::lock)).
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
    diesel::insert_into(delivery_events::table)
        .values((
            delivery_events::event_id.eq(new.event_id.0),
            delivery_events::address.eq(new.address.as_str()),
            delivery_events::delivery_id.eq(joined.unwrap_or(new.id.0)),
            delivery_events::kind.eq(new.kind),
        ))
        .execute(db)
        .await?;
    Ok(())
}

/// The mail that an event may join, locked: a sender passes over it meanwhile.
async fn joinable(db: &mut Connection, new: &NewDelivery<'_>) -> Result<Option<Uuid>, DbError> {
    Ok(deliveries::table
        .filter(deliveries::ticket_id.eq(new.ticket_id.0))
        .filter(deliveries::address.eq(new.address.as_str()))
        .filter(deliveries::state.eq(DeliveryState::Queued))
        .filter(deliveries::attempts.eq(0))
        .filter(deliveries::joinable_until.ge(new.occurred_at))
        .order(deliveries::seq.desc())
        .select(deliveries::id)
        .for_update()
        .first(db)
        .await
        .optional()?)
}

/// Takes up to `limit` mails that are due into hand until `lease_until`: those whose
/// time has come, and those whose last sender has not finished in time. Of one
/// recipient's mails about a ticket only the first unfinished one can be taken.
pub async fn claim(
    db: &mut Connection,
    priority_only: bool,
    limit: i64,
    now: Timestamp,
    lease_until: Timestamp,
) -> Result<Vec<Delivery>, DbError> {
    let rows = diesel::sql_query(
        "WITH due AS (
             SELECT d.id FROM deliveries d
             WHERE d.state IN ('queued', 'sending') AND d.due_at <= $1
               AND (d.priority OR NOT $3)
               AND NOT EXISTS (
                   SELECT FROM deliveries e
                   WHERE e.ticket_id = d.ticket_id AND e.address = d.address AND e.seq < d.seq
                     AND e.state IN ('queued', 'sending'))
             ORDER BY d.priority DESC, d.due_at, d.seq
             LIMIT $4
             FOR UPDATE OF d SKIP LOCKED
         )
         UPDATE deliveries d
         SET state = 'sending', attempts = d.attempts + 1, due_at = $2
         FROM due WHERE d.id = due.id
         RETURNING d.id, d.seq, d.address, d.account_id, d.ticket_id, d.locale,
                   d.priority, d.state, d.attempts, d.expires_at,
                   d.payload, d.last_error, d.created_at, d.finished_at",
    )
    .bind::<Timestamptz, _>(now)
    .bind::<Timestamptz, _>(lease_until)
    .bind::<Bool, _>(priority_only)
    .bind::<BigInt, _>(limit)
    .load::<DeliveryRow>(db)
    .await?;
    Ok(rows.into_iter().map(Delivery::from).collect())
}

/// Writes down a mail's final state and erases its payload. A mail that another
/// sender has finished meanwhile stays as it is.
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

/// Puts a mail back for another attempt. A mail that has changed hands meanwhile
/// (another attempt has begun) stays as it is.
pub async fn requeue(
    db: &mut Connection,
    delivery: &Delivery,
    due_at: Timestamp,
    error: Option<&str>,
) -> Result<(), DbError> {
    let in_hand = deliveries::table
        .find(delivery.id.0)
        .filter(deliveries::state.eq(DeliveryState::Sending))
        .filter(deliveries::attempts.eq(delivery.attempts));
    diesel::update(in_hand)
        .set((
            deliveries::state.eq(DeliveryState::Queued),
            deliveries::due_at.eq(due_at),
            deliveries::last_error.eq(error),
        ))
        .prepared()
        .execute(db)
        .await?;
    Ok(())
}

/// When the next mail can be claimed, if any is under way.
pub async fn next_due(db: &mut Connection) -> Result<Option<Timestamp>, DbError> {
    Ok(deliveries::table
        .filter(deliveries::state.eq_any([DeliveryState::Queued, DeliveryState::Sending]))
        .select(diesel::dsl::min(deliveries::due_at))
        .first(db)
        .await?)
}

/// The delivery of an id.
pub async fn by_id(db: &mut Connection, id: DeliveryId) -> Result<Option<Delivery>, DbError> {
    let row =
        deliveries::table.find(id.0).select(DeliveryRow::as_select()).first(db).await.optional()?;
    Ok(row.map(Delivery::from))
}

/// So many mails of a ticket are shown: the last.
const SHOWN: i64 = 100;

/// The last mails about some tickets, oldest first.
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
    .bind::<diesel::sql_types::Array<diesel::sql_types::Uuid>, _>(
        tickets.iter().map(|id| id.0).collect::<Vec<_>>(),
    )
    .bind::<BigInt, _>(SHOWN)
    .load::<DeliveryRow>(db)
    .await?;
    let ticket = |row: DeliveryRow| {
        let ticket = row.ticket_id.map(TicketId);
        ticket.map(|ticket| (ticket, row.into()))
    };
    Ok(rows.into_iter().filter_map(ticket).collect())
}

/// The mails about a ticket that reached the same recipient before this one: what
/// it refers to. The first, and the last `limit`, in order.
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
struct ToldRow {
    #[diesel(embed)]
    event: EventRow,
    #[diesel(sql_type = sql_types::NotificationKind)]
    notified_as: NotificationKind,
}

/// What a mail tells of, in the order of the events.
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
    .bind::<diesel::sql_types::Uuid, _>(id.0)
    .prepared()
    .load::<ToldRow>(db)
    .await?;
    rows.into_iter().map(|row| Ok((row.event.try_into()?, row.notified_as))).collect()
}
