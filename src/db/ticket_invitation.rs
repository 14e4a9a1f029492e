//! Invitations to take part in a ticket.

use diesel::{
    dsl::{exists, not},
    pg::Pg,
    prelude::*,
    sql_types::Bool,
};
use diesel_async::RunQueryDsl;
use uuid::Uuid;

use super::{
    Connection, DbError, expiry,
    schema::{accounts, merge_invitations, ticket_invitations, tickets},
};
use crate::domain::{
    account::{Account, EmailAddress},
    clock::Timestamp,
    ids::{AccountId, TicketId, TicketInvitationId},
    ticket::{Status, TicketNumber},
    ticket_invitation::{MAX_LISTED_INVITATIONS, ReceivedInvitation, TicketInvitation},
};

#[derive(Queryable, Selectable, Insertable)]
#[diesel(table_name = ticket_invitations)]
struct InvitationRow {
    id: Uuid,
    ticket_id: Uuid,
    email: String,
    invited_by: Uuid,
    created_at: Timestamp,
    expires_at: Timestamp,
    declined_at: Option<Timestamp>,
}

impl From<InvitationRow> for TicketInvitation {
    fn from(row: InvitationRow) -> Self {
        Self {
            id: TicketInvitationId(row.id),
            ticket_id: TicketId(row.ticket_id),
            email: EmailAddress::from_stored(row.email),
            invited_by: AccountId(row.invited_by),
            created_at: row.created_at,
            expires_at: row.expires_at,
            declined_at: row.declined_at,
        }
    }
}

/// Inserts an invitation. The transaction must have locked the ticket.
pub async fn insert(db: &mut Connection, new: &TicketInvitation) -> Result<(), DbError> {
    let row = InvitationRow {
        id: new.id.0,
        ticket_id: new.ticket_id.0,
        email: new.email.as_str().to_owned(),
        invited_by: new.invited_by.0,
        created_at: new.created_at,
        expires_at: new.expires_at,
        declined_at: new.declined_at,
    };
    diesel::insert_into(ticket_invitations::table).values(row).execute(db).await?;
    Ok(())
}

/// Returns the invitation with an id.
pub async fn by_id(
    db: &mut Connection,
    id: TicketInvitationId,
) -> Result<Option<TicketInvitation>, DbError> {
    let row = ticket_invitations::table.find(id.0).select(InvitationRow::as_select());
    Ok(row.first(db).await.optional()?.map(TicketInvitation::from))
}

/// Returns the invitation of an address, in whatever spelling, to a ticket. Deletes it if it has
/// expired. The transaction must have locked the ticket.
pub async fn of_address(
    db: &mut Connection,
    ticket: TicketId,
    email: &EmailAddress,
    now: Timestamp,
) -> Result<Option<TicketInvitation>, DbError> {
    let spellings = email.spellings();
    diesel::delete(ticket_invitations::table)
        .filter(ticket_invitations::ticket_id.eq(ticket.0))
        .filter(ticket_invitations::email.eq_any(&spellings))
        .filter(ticket_invitations::expires_at.le(now))
        .execute(db)
        .await?;
    let row = ticket_invitations::table
        .filter(ticket_invitations::ticket_id.eq(ticket.0))
        .filter(ticket_invitations::email.eq_any(&spellings))
        .select(InvitationRow::as_select())
        .first(db)
        .await
        .optional()?;
    Ok(row.map(TicketInvitation::from))
}

/// Returns whether an address, in whatever spelling, has an open invitation to a ticket.
pub async fn is_invited(
    db: &mut Connection,
    ticket: TicketId,
    email: &EmailAddress,
    now: Timestamp,
) -> Result<bool, DbError> {
    let open = ticket_invitations::table
        .filter(ticket_invitations::ticket_id.eq(ticket.0))
        .filter(ticket_invitations::email.eq_any(email.spellings()))
        .filter(is_open(now));
    Ok(diesel::select(exists(open)).get_result(db).await?)
}

type Condition = Box<dyn BoxableExpression<ticket_invitations::table, Pg, SqlType = Bool>>;

/// Matches open invitations.
fn is_open(now: Timestamp) -> Condition {
    let open = ticket_invitations::declined_at.is_null();
    Box::new(open.and(ticket_invitations::expires_at.gt(now)))
}

/// Returns the number of open invitations to a ticket.
pub async fn count_open(
    db: &mut Connection,
    ticket: TicketId,
    now: Timestamp,
) -> Result<usize, DbError> {
    let open = ticket_invitations::table
        .filter(ticket_invitations::ticket_id.eq(ticket.0))
        .filter(is_open(now));
    let count = open.count().get_result::<i64>(db).await?;
    Ok(usize::try_from(count).unwrap_or(usize::MAX))
}

/// Returns the open invitations to some tickets, oldest first. `with_merged` is whether to include
/// those that merges have created and no person has sent.
pub async fn open_of_tickets(
    db: &mut Connection,
    tickets: &[TicketId],
    with_merged: bool,
    now: Timestamp,
) -> Result<Vec<TicketInvitation>, DbError> {
    let merged = merge_invitations::table
        .filter(merge_invitations::invitation_id.eq(ticket_invitations::id))
        .filter(not(merge_invitations::is_requested));
    let mut query = ticket_invitations::table
        .filter(ticket_invitations::ticket_id.eq_any(tickets.iter().map(|id| id.0)))
        .filter(is_open(now))
        .order((ticket_invitations::created_at, ticket_invitations::id))
        .select(InvitationRow::as_select())
        .into_boxed();
    if !with_merged {
        query = query.filter(not(exists(merged)));
    }
    let rows = query.load(db).await?;
    Ok(rows.into_iter().map(TicketInvitation::from).collect())
}

/// Returns the open invitations that an account can accept, newest first: the first
/// [`MAX_LISTED_INVITATIONS`], or only the one with an id. Those to closed tickets and to tickets
/// that the account takes part in are left out.
pub async fn received(
    db: &mut Connection,
    by: &Account,
    only: Option<TicketInvitationId>,
    now: Timestamp,
) -> Result<Vec<ReceivedInvitation>, DbError> {
    let takes_part = tickets::participant_ids.contains(vec![Some(by.id.0)]);
    let mut query = ticket_invitations::table
        .inner_join(tickets::table)
        .inner_join(accounts::table)
        .filter(ticket_invitations::email.eq_any(by.email.spellings()))
        .filter(ticket_invitations::declined_at.is_null())
        .filter(ticket_invitations::expires_at.gt(now))
        .filter(tickets::status.ne(Status::Closed))
        .filter(tickets::reporter_id.ne(by.id.0))
        .filter(not(takes_part))
        .order((ticket_invitations::created_at.desc(), ticket_invitations::id.desc()))
        .limit(MAX_LISTED_INVITATIONS)
        .select((InvitationRow::as_select(), tickets::number, accounts::name))
        .into_boxed();
    if let Some(TicketInvitationId(id)) = only {
        query = query.filter(ticket_invitations::id.eq(id));
    }
    let rows = query.load::<(InvitationRow, i64, String)>(db).await?;
    let received =
        |(row, number, invited_by_name): (InvitationRow, i64, String)| ReceivedInvitation {
            invitation: row.into(),
            ticket_number: TicketNumber(number),
            invited_by_name,
        };
    Ok(rows.into_iter().map(received).collect())
}

/// Declines an invitation. The transaction must have locked the ticket.
pub async fn decline(
    db: &mut Connection,
    id: TicketInvitationId,
    now: Timestamp,
) -> Result<(), DbError> {
    let row = ticket_invitations::table.find(id.0);
    diesel::update(row).set(ticket_invitations::declined_at.eq(now)).execute(db).await?;
    Ok(())
}

/// Deletes an invitation. The transaction must have locked the ticket.
pub async fn delete(db: &mut Connection, id: TicketInvitationId) -> Result<(), DbError> {
    diesel::delete(ticket_invitations::table.find(id.0)).execute(db).await?;
    Ok(())
}

/// Deletes expired invitations, declined ones included.
pub async fn prune(db: &mut Connection, now: Timestamp) -> Result<(), DbError> {
    expiry::delete(db, ("ticket_invitations", "expires_at"), now).await
}
