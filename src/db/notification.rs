//! Notifications.

use diesel::{
    pg::Pg,
    prelude::*,
    sql_types::{Array, BigInt, Bool, Integer, Timestamptz, Uuid as SqlUuid},
};
use diesel_async::RunQueryDsl;
use uuid::Uuid;

use super::{
    Connection, DbError,
    prepared::Prepare as _,
    schema::{notifications, sql_types::NotificationKind as NotificationKindSql, tickets},
    ticket::scope::in_scope,
};
use crate::domain::{
    clock::Timestamp,
    ids::{AccountId, EventId, NotificationId, TicketId},
    notification::{Notification, NotificationKind},
    page::{Direction, Page, Slice},
    policy::TicketScope,
};

#[derive(Queryable, Selectable)]
#[diesel(table_name = notifications)]
struct NotificationRow {
    id: Uuid,
    account_id: Uuid,
    event_id: i64,
    ticket_id: Uuid,
    kind: NotificationKind,
    pos: i64,
    created_at: Timestamp,
    read_at: Option<Timestamp>,
    late_pos: Option<i64>,
}

impl NotificationRow {
    fn delivered(self) -> DeliveredNotification {
        DeliveredNotification { late_pos: self.late_pos, notification: self.into() }
    }
}

impl From<NotificationRow> for Notification {
    fn from(row: NotificationRow) -> Self {
        Self {
            id: NotificationId(row.id),
            account_id: AccountId(row.account_id),
            event_id: EventId(row.event_id),
            ticket_id: TicketId(row.ticket_id),
            kind: row.kind,
            pos: row.pos,
            created_at: row.created_at,
            read_at: row.read_at,
        }
    }
}

/// A notification as a stream delivers it.
pub struct DeliveredNotification {
    /// The position before which it is delivered although it was stored late, or `None` if it was
    /// stored in time.
    pub late_pos: Option<i64>,
    /// The notification.
    pub notification: Notification,
}

/// What a stream delivers next.
pub struct StoredNotifications {
    /// In the order of their delivery.
    pub notifications: Vec<DeliveredNotification>,
    /// All notifications up to this position are stored.
    pub until: i64,
    /// The tag of the current epoch of the feed.
    pub epoch: i32,
    /// Whether there may be more that are stored.
    pub has_more: bool,
}

/// Inserts notifications, except those about events that the account already has one about. Those
/// about events that streams have passed are late: they are delivered before the event that comes next.
pub async fn insert_all(db: &mut Connection, new: &[Notification]) -> Result<(), DbError> {
    if new.is_empty() {
        return Ok(());
    }
    diesel::sql_query(
        "INSERT INTO notifications
             (id, account_id, event_id, ticket_id, kind, pos, created_at, late_pos)
         SELECT n.*, CASE WHEN n.pos <= o.pos THEN o.pos + 1 END
         FROM consumer_offsets o, unnest($1, $2, $3, $4, $5, $6, $7)
             AS n (id, account_id, event_id, ticket_id, kind, pos, created_at)
         WHERE o.name = 'notifications'
         ON CONFLICT DO NOTHING",
    )
    .bind::<Array<SqlUuid>, _>(new.iter().map(|new| new.id.0).collect::<Vec<_>>())
    .bind::<Array<SqlUuid>, _>(new.iter().map(|new| new.account_id.0).collect::<Vec<_>>())
    .bind::<Array<BigInt>, _>(new.iter().map(|new| new.event_id.0).collect::<Vec<_>>())
    .bind::<Array<SqlUuid>, _>(new.iter().map(|new| new.ticket_id.0).collect::<Vec<_>>())
    .bind::<Array<NotificationKindSql>, _>(new.iter().map(|new| new.kind).collect::<Vec<_>>())
    .bind::<Array<BigInt>, _>(new.iter().map(|new| new.pos).collect::<Vec<_>>())
    .bind::<Array<Timestamptz>, _>(new.iter().map(|new| new.created_at).collect::<Vec<_>>())
    .prepared()
    .execute(db)
    .await?;
    Ok(())
}

/// Returns a query for an account's notifications about tickets in scope.
fn of<'a>(account: AccountId, scope: TicketScope) -> notifications::BoxedQuery<'a, Pg> {
    let all = notifications::table.filter(notifications::account_id.eq(account.0)).into_boxed();
    match scope {
        TicketScope::All => all,
        // A former member of staff keeps the notifications, but no longer sees all of the tickets.
        TicketScope::Of(_) | TicketScope::Nothing => {
            all.filter(notifications::ticket_id.eq_any(in_scope(scope).select(tickets::id)))
        }
    }
}

/// Returns a page of an account's notifications about tickets in scope, newest first.
pub async fn page(
    db: &mut Connection,
    account: AccountId,
    scope: TicketScope,
    unread_only: bool,
    page: &Page<i64>,
) -> Result<Slice<Notification>, DbError> {
    let mut query = of(account, scope);
    if unread_only {
        query = query.filter(notifications::read_at.is_null());
    }
    if let Some(pos) = page.after {
        query = query.filter(notifications::pos.lt(pos));
    }
    if let Some(pos) = page.before {
        query = query.filter(notifications::pos.gt(pos));
    }
    query = match page.direction {
        Direction::Forward => query.order(notifications::pos.desc()),
        Direction::Backward => query.order(notifications::pos.asc()),
    };
    let rows =
        query.limit(page.fetch_limit()).select(NotificationRow::as_select()).load(db).await?;
    Ok(page.slice(rows.into_iter().map(Notification::from).collect()))
}

/// Reads at most `limit` of an account's notifications about tickets in scope that follow a position:
/// first those that were stored late, except for those that were `delivered`, then the others.
pub async fn following(
    db: &mut Connection,
    account: AccountId,
    scope: TicketScope,
    after: i64,
    delivered: &[NotificationId],
    limit: usize,
) -> Result<StoredNotifications, DbError> {
    let Reach { pos: until, epoch, has_late } = reach(db, after).await?;
    let rows = i64::try_from(limit).unwrap_or(i64::MAX);
    let stored = |rows: Vec<NotificationRow>, has_more| StoredNotifications {
        notifications: rows.into_iter().map(NotificationRow::delivered).collect(),
        until,
        epoch,
        has_more,
    };
    if has_late {
        let delivered = delivered.iter().map(|id| id.0).collect::<Vec<_>>();
        let late = of(account, scope)
            .filter(notifications::late_pos.gt(after))
            .filter(notifications::id.ne_all(delivered))
            .order((notifications::late_pos, notifications::pos))
            .limit(rows)
            .select(NotificationRow::as_select())
            .load(db)
            .await?;
        if !late.is_empty() {
            return Ok(stored(late, true));
        }
    }
    let in_time = of(account, scope)
        .filter(notifications::late_pos.is_null())
        .filter(notifications::pos.gt(after))
        .filter(notifications::pos.le(until))
        .order(notifications::pos)
        .limit(rows)
        .select(NotificationRow::as_select())
        .load(db)
        .await?;
    let has_more = in_time.len() >= limit;
    Ok(stored(in_time, has_more))
}

/// Returns the late notifications of an account that follow a position, each with its late position:
/// at most `limit`.
pub async fn late(
    db: &mut Connection,
    account: AccountId,
    after: i64,
    limit: i64,
) -> Result<Vec<(i64, NotificationId)>, DbError> {
    let rows = notifications::table
        .filter(notifications::account_id.eq(account.0))
        .filter(notifications::late_pos.gt(after))
        .select((notifications::late_pos.assume_not_null(), notifications::id))
        .order(notifications::late_pos.desc())
        .limit(limit)
        .load::<(i64, Uuid)>(db)
        .await?;
    Ok(rows.into_iter().map(|(late_pos, id)| (late_pos, NotificationId(id))).collect())
}

#[derive(QueryableByName)]
struct Reach {
    /// All notifications up to this position are stored.
    #[diesel(sql_type = BigInt)]
    pos: i64,
    /// The tag of the current epoch of the feed.
    #[diesel(sql_type = Integer)]
    epoch: i32,
    /// Whether some after the stream's position were stored late.
    #[diesel(sql_type = Bool)]
    has_late: bool,
}

async fn reach(db: &mut Connection, after: i64) -> Result<Reach, DbError> {
    Ok(diesel::sql_query(
        "SELECT pos, EXISTS (SELECT FROM notifications WHERE late_pos > $1) AS has_late,
                coalesce((SELECT tag FROM feed_epochs ORDER BY epoch DESC LIMIT 1), 0) AS epoch
         FROM consumer_offsets WHERE name = 'notifications'",
    )
    .bind::<BigInt, _>(after)
    .prepared()
    .get_result(db)
    .await?)
}

#[derive(QueryableByName)]
struct RecipientRow {
    #[diesel(sql_type = SqlUuid)]
    account_id: Uuid,
}

/// Returns the accounts that have a notification with `after` < position ≤ `until`, among those that
/// opened its ticket, take part in it or are assigned to it, or that get a late one after
/// them. An account that is no longer assigned is left out.
pub async fn recipients_between(
    db: &mut Connection,
    after: i64,
    until: i64,
) -> Result<Vec<AccountId>, DbError> {
    // There is no index by position alone: each ticket says whose notifications to look for.
    let rows = diesel::sql_query(
        "SELECT n.account_id
         FROM feed f
         CROSS JOIN LATERAL (
             SELECT ARRAY[reporter_id, assignee_id] || participant_ids AS ids
             FROM tickets WHERE id = f.ticket_id LIMIT 1) t
         CROSS JOIN LATERAL unnest(t.ids) AS candidate (id)
         CROSS JOIN LATERAL (
             SELECT account_id FROM notifications
             WHERE account_id = candidate.id AND pos = f.pos LIMIT 1) n
         WHERE f.pos = ANY (ARRAY(SELECT generate_series($1 + 1, $2)))
         UNION
         SELECT account_id FROM notifications WHERE late_pos > $1",
    )
    .bind::<BigInt, _>(after)
    .bind::<BigInt, _>(until)
    .prepared()
    .load::<RecipientRow>(db)
    .await?;
    Ok(rows.into_iter().map(|row| AccountId(row.account_id)).collect())
}

/// Deletes an account's notifications about a ticket. They are found by the positions of its events.
pub async fn delete_for_ticket(
    db: &mut Connection,
    account: AccountId,
    ticket: TicketId,
) -> Result<(), DbError> {
    diesel::sql_query(
        "DELETE FROM notifications n USING events e, feed f
         WHERE e.ticket_id = $1 AND f.event_id = e.id AND n.account_id = $2 AND n.pos = f.pos",
    )
    .bind::<SqlUuid, _>(ticket.0)
    .bind::<SqlUuid, _>(account.0)
    .execute(db)
    .await?;
    Ok(())
}

/// Counts an account's unread notifications about tickets in scope.
pub async fn unread(
    db: &mut Connection,
    account: AccountId,
    scope: TicketScope,
) -> Result<i64, DbError> {
    Ok(of(account, scope).filter(notifications::read_at.is_null()).count().get_result(db).await?)
}

/// Marks an account's notifications with these ids as read, or all of them if `ids` is `None`.
/// Ids of other accounts' notifications are ignored. Returns `false` if nothing changes.
pub async fn mark_read(
    db: &mut Connection,
    account: AccountId,
    ids: Option<&[NotificationId]>,
    now: Timestamp,
) -> Result<bool, DbError> {
    let unread = notifications::table
        .filter(notifications::account_id.eq(account.0))
        .filter(notifications::read_at.is_null());
    let read = notifications::read_at.eq(now);
    let marked = match ids {
        None => diesel::update(unread).set(read).execute(db).await?,
        Some(ids) => {
            let ids = ids.iter().map(|id| id.0).collect::<Vec<_>>();
            diesel::update(unread.filter(notifications::id.eq_any(ids)))
                .set(read)
                .execute(db)
                .await?
        }
    };
    Ok(marked > 0)
}
