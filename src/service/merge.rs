//! Merging: a ticket is closed and continues in another one, to which its customers are invited.

use super::{
    ServiceError, Services, UserError, UserErrorCode, authorise, authorise_account,
    merged::continues_in,
    rate_limit,
    seen_up_to::{SeenUpTo, check_nothing_said},
    session::ensure_unchanged,
    ticket::{public_event, require_staff},
    ticket_invitation::{mail, too_many_participants},
};
use crate::{
    db::{
        Connection, account,
        event::{self, NewTicketEvent},
        merge as merges, ticket as tickets, ticket_invitation as invitations,
    },
    domain::{
        account::{Account, EmailAddress, Role},
        actor::Actor,
        clock::Timestamp,
        event::TicketEvent,
        ids::{AccountId, TicketId, TicketInvitationId},
        merge::{MAX_MERGED_TICKETS, Merge},
        policy::{self, Action, Resource},
        ticket::{Status, Ticket},
        ticket_invitation::{TICKET_INVITATION_LIFETIME, TicketInvitation},
    },
};

/// Merges a ticket into another one: closes it, and invites its customers to the other. Returns
/// both. `seen_up_to` is the last event of the ticket that the actor has seen.
///
/// # Errors
/// Returns an error if the actor is not staff, the ticket does not exist, others have commented on it
/// since `seen_up_to`, or an address was invited too often. Returns user errors if
/// the other one does not exist, is the same, is closed or was merged, if the ticket was merged
/// already, or if too many people would take part or too many tickets were merged into the other.
pub async fn merge(
    actor: &Actor,
    services: &Services,
    id: TicketId,
    into_id: TicketId,
    seen_up_to: Option<SeenUpTo>,
) -> Result<(Ticket, Ticket), ServiceError> {
    let merger = authorise_account(actor)?;
    require_staff(actor)?;
    let now = services.ambient.now();
    services
        .database
        .write(async |db| {
            let (mut ticket, into) = lock_both(db, id, into_id).await?;
            ensure_unchanged(actor, db, now).await?;
            let mut into = into.ok_or_else(unknown_target)?;
            for ticket in [&ticket, &into] {
                authorise(actor, Action::Triage, Resource::from(ticket))?;
            }
            check_mergeable(services, db, &ticket, &into).await?;
            if let Some(seen) = seen_up_to {
                check_nothing_said(actor, db, &ticket, seen).await?;
            }
            let people = people_to_invite(db, &ticket, &into, now).await?;
            let (merge, events) = ticket.merge_into(into_id, now);
            let events = by(merger, now, events);
            let mut events_of_other = vec![events[0].clone()];
            merges::insert(db, &merge).await?;
            let invited = invite(services, db, (&into, &people), merger, &merge).await?;
            events_of_other.extend(by(merger, now, invited));
            events_of_other.extend(by(merger, now, into.wait_for_merged(&merge, now)));
            into.touch(now);
            let changed = [(ticket, events), (into, events_of_other)];
            save(db, changed).await
        })
        .await
}

/// Undoes a merge: the ticket gets its status back, and the invitations that nobody has answered are
/// withdrawn. Who has accepted one stays. Returns the ticket.
///
/// # Errors
/// Returns an error if the actor is not staff or the ticket does not exist, and user errors if it was
/// not merged, or more than a day ago, or the other ticket was itself merged since.
pub async fn unmerge(
    actor: &Actor,
    services: &Services,
    id: TicketId,
) -> Result<Ticket, ServiceError> {
    let editor = authorise_account(actor)?;
    require_staff(actor)?;
    let now = services.ambient.now();
    services
        .database
        .write(async |db| {
            if !tickets::is_in_scope(db, policy::ticket_scope(actor), id).await? {
                return Err(ServiceError::NotFound);
            }
            // Both are locked in the order of their ids, so the other must be known before.
            let found = merges::of(db, id).await?.ok_or_else(not_merged)?;
            let (mut ticket, into) = lock_both(db, id, found.into_id).await?;
            ensure_unchanged(actor, db, now).await?;
            authorise(actor, Action::Triage, Resource::from(&ticket))?;
            let merge = merges::of(db, id).await?.filter(|merge| *merge == found);
            let merge = merge.ok_or_else(not_merged)?;
            if !merge.can_be_undone(now) {
                return Err(too_late().into());
            }
            let mut into = into.ok_or(ServiceError::NotFound)?;
            check_not_merged_on(services, db, &ticket, &into).await?;
            let mut events = ticket.unmerge(&merge, now);
            let mut events_of_other = vec![events[0]];
            events.extend(unassign_former_staff(db, &mut ticket, now).await?);
            events_of_other.extend(withdraw_invitations(db, &merge, now).await?);
            merges::delete(db, &merge).await?;
            into.touch(now);
            let events = by(editor, now, events);
            let changed = [(ticket, events), (into, by(editor, now, events_of_other))];
            save(db, changed).await.map(|(ticket, _)| ticket)
        })
        .await
}

/// Returns the merges of those of the tickets that were merged and that the actor may see.
///
/// # Errors
/// Returns an error if nobody is signed in.
pub async fn of_tickets(
    actor: &Actor,
    services: &Services,
    ids: &[TicketId],
) -> Result<Vec<Merge>, ServiceError> {
    authorise(actor, Action::Enter, Resource::Desk)?;
    let scope = policy::ticket_scope(actor);
    Ok(merges::of_tickets(&mut *services.database.read().await?, scope, ids).await?)
}

/// Returns the tickets that were merged into these and that the actor may see, each with the one that
/// it was merged into: of each at most [`MAX_MERGED_TICKETS`], in the order of their merges.
///
/// # Errors
/// Returns an error if nobody is signed in.
pub async fn into_tickets(
    actor: &Actor,
    services: &Services,
    ids: &[TicketId],
) -> Result<Vec<(TicketId, Ticket)>, ServiceError> {
    authorise(actor, Action::Enter, Resource::Desk)?;
    let scope = policy::ticket_scope(actor);
    let limit = i64::try_from(MAX_MERGED_TICKETS).unwrap_or(i64::MAX);
    Ok(merges::into_tickets(&mut *services.database.read().await?, scope, ids, limit).await?)
}

/// Locks two tickets, in the order of their ids. Returns `None` for the second if it does not exist.
///
/// # Errors
/// Returns an error if the first does not exist, and a user error if both are the same.
async fn lock_both(
    db: &mut Connection,
    id: TicketId,
    other: TicketId,
) -> Result<(Ticket, Option<Ticket>), ServiceError> {
    let mut locked = tickets::lock_all(db, &[id, other]).await?;
    let place = locked.iter().position(|ticket| ticket.id == id).ok_or(ServiceError::NotFound)?;
    let ticket = locked.swap_remove(place);
    if id == other {
        let message = "A ticket cannot be merged into itself. Choose another one.";
        return Err(UserError::new("intoId", UserErrorCode::Invalid, message).into());
    }
    Ok((ticket, locked.pop()))
}

/// Checks that a ticket can be merged into another one. Both are locked.
async fn check_mergeable(
    services: &Services,
    db: &mut Connection,
    ticket: &Ticket,
    into: &Ticket,
) -> Result<(), ServiceError> {
    let own = services.number_prefix().format(ticket.number);
    let target = services.number_prefix().format(into.number);
    if let Some(number) = continues_in(services, db, ticket.id).await? {
        let message = format!(
            "{own} was merged already and continues in {number}. Undo that with `unmergeTicket` \
             before you merge it into another ticket."
        );
        return Err(UserError::new("ticketId", UserErrorCode::TicketMerged, message).into());
    }
    if let Some(number) = continues_in(services, db, into.id).await? {
        let message = if number == own {
            format!(
                "{target} was itself merged and continues in {own}, so {own} cannot be merged into \
                 it. There is nothing left to merge."
            )
        } else {
            format!("{target} was itself merged and continues in {number}. Merge into {number}.")
        };
        return Err(UserError::new("intoId", UserErrorCode::TicketMerged, message).into());
    }
    if into.status == Status::Closed {
        let message = format!("{target} is closed. Merge into a ticket that is not closed.");
        return Err(UserError::new("intoId", UserErrorCode::TicketClosed, message).into());
    }
    if merges::count_into(db, into.id).await? >= MAX_MERGED_TICKETS {
        let message = format!(
            "{MAX_MERGED_TICKETS} tickets were merged into {target}, the maximum. Merge into another \
             ticket."
        );
        return Err(UserError::new("intoId", UserErrorCode::TooMany, message).into());
    }
    Ok(())
}

/// Checks that the ticket into which another one was merged was not itself merged since: those who
/// were invited to follow it there would stay invited.
async fn check_not_merged_on(
    services: &Services,
    db: &mut Connection,
    ticket: &Ticket,
    into: &Ticket,
) -> Result<(), ServiceError> {
    let Some(end) = continues_in(services, db, into.id).await? else { return Ok(()) };
    let own = services.number_prefix().format(ticket.number);
    let target = services.number_prefix().format(into.number);
    let message = format!(
        "{target}, into which {own} was merged, was itself merged and continues in {end}. Undo the \
         merge of {target} with `unmergeTicket` first, then that of {own}."
    );
    Err(UserError::new("ticketId", UserErrorCode::TicketMerged, message).into())
}

/// The people to invite because of a merge.
#[derive(Default)]
struct Invitees {
    /// The addresses to invite.
    new: Vec<EmailAddress>,
    /// The open invitations of those whom another merge has invited already.
    invited: Vec<TicketInvitationId>,
}

/// Returns the customers who take part in a ticket, or are invited to it because of an earlier merge,
/// and who must be invited to the other one. Each is returned once, in the order of the addresses.
async fn people_to_invite(
    db: &mut Connection,
    ticket: &Ticket,
    into: &Ticket,
    now: Timestamp,
) -> Result<Invitees, ServiceError> {
    let mut people = Invitees::default();
    for person in lock_people(db, ticket, now).await? {
        if !must_be_invited(&person, into) {
            continue;
        }
        // Who is invited already, or has declined, is not invited again.
        match invitations::of_address(db, into.id, &person.email, now).await? {
            None => people.new.push(person.email),
            Some(earlier) if !earlier.is_open(now) => {}
            Some(earlier) if merges::has_created(db, earlier.id).await? => {
                people.invited.push(earlier.id);
            }
            Some(_) => {}
        }
    }
    let open = invitations::count_open(db, into.id, now).await?;
    if let Some(others) = people.new.len().checked_sub(1) {
        into.check_room(open + others).map_err(too_many_participants)?;
    }
    Ok(people)
}

/// Returns the accounts of those who take part in a ticket or whom merges have invited to it, sorted
/// by address. They stay locked: an address that is erased meanwhile must not be mailed.
async fn lock_people(
    db: &mut Connection,
    ticket: &Ticket,
    now: Timestamp,
) -> Result<Vec<Account>, ServiceError> {
    let mut ids = vec![ticket.reporter_id];
    ids.extend(&ticket.participant_ids);
    for address in merges::invited_addresses(db, ticket.id, now).await? {
        let found = account::by_email(db, &EmailAddress::from_stored(address)).await?;
        ids.extend(found.map(|(account, _)| account.id));
    }
    ids.sort_unstable();
    ids.dedup();
    let mut people = Vec::new();
    for id in ids {
        people.extend(account::lock_shared(db, id).await?);
    }
    people.sort_by(|a, b| a.email.as_str().cmp(b.email.as_str()));
    Ok(people)
}

fn must_be_invited(account: &Account, into: &Ticket) -> bool {
    let takes_part = into.reporter_id == account.id || into.participant_ids.contains(&account.id);
    let is_customer = account.role == Role::Customer && account.disabled_at.is_none();
    is_customer && !account.is_erased() && !takes_part
}

/// Invites people to the ticket that another one was merged into. Returns the events to record.
async fn invite(
    services: &Services,
    db: &mut Connection,
    (into, people): (&Ticket, &Invitees),
    invited_by: AccountId,
    merge: &Merge,
) -> Result<Vec<TicketEvent>, ServiceError> {
    let now = merge.merged_at;
    let new = people.new.iter().map(|email| TicketInvitation {
        id: TicketInvitationId(services.ambient.uuid()),
        ticket_id: into.id,
        email: email.clone(),
        invited_by,
        created_at: now,
        expires_at: now + TICKET_INVITATION_LIFETIME,
        declined_at: None,
    });
    let new = new.collect::<Vec<_>>();
    for invitation in &new {
        rate_limit::count_invitation_of(services, db, invited_by, &invitation.email).await?;
        invitations::insert(db, invitation).await?;
        mail(services, db, invitation, now).await?;
    }
    let ids = new.iter().map(|invitation| invitation.id).collect::<Vec<_>>();
    let needed = [&ids[..], &people.invited].concat();
    merges::insert_invitations(db, merge, &needed).await?;
    let event = |invitation_id| TicketEvent::ParticipantInvited { invitation_id };
    Ok(ids.into_iter().map(event).collect())
}

/// Withdraws the open invitations of a merge that neither another merge nor a person needs. Returns
/// the events to record.
async fn withdraw_invitations(
    db: &mut Connection,
    merge: &Merge,
    now: Timestamp,
) -> Result<Vec<TicketEvent>, ServiceError> {
    let mut events = Vec::new();
    for invitation_id in merges::release_invitations(db, merge, now).await? {
        invitations::delete(db, invitation_id).await?;
        events.push(TicketEvent::InvitationWithdrawn { invitation_id });
    }
    Ok(events)
}

/// Removes the assignee of a ticket that is open again if they are no longer staff. Returns the
/// events to record.
async fn unassign_former_staff(
    db: &mut Connection,
    ticket: &mut Ticket,
    now: Timestamp,
) -> Result<Vec<TicketEvent>, ServiceError> {
    let Some(assignee) = ticket.assignee_id else { return Ok(vec![]) };
    // Locked: when the account loses its access after this, the ticket is among those to return.
    let account = account::lock_shared(db, assignee).await?;
    if account.is_some_and(|account| account.is_active_staff()) {
        return Ok(vec![]);
    }
    Ok(ticket.unassign(now))
}

fn by(
    actor: AccountId,
    now: Timestamp,
    events: impl IntoIterator<Item = TicketEvent>,
) -> Vec<NewTicketEvent> {
    events.into_iter().map(|event| public_event(event, actor, now)).collect()
}

/// Saves two tickets with their events, and returns them.
async fn save(
    db: &mut Connection,
    mut changed: [(Ticket, Vec<NewTicketEvent>); 2],
) -> Result<(Ticket, Ticket), ServiceError> {
    event::save_all_with_events(db, &mut changed).await?;
    let [(ticket, _), (other, _)] = changed;
    Ok((ticket, other))
}

/// Creates the error for a target that does not exist.
pub fn unknown_target() -> UserError {
    let message = "This ticket does not exist. Check its number.";
    UserError::new("intoId", UserErrorCode::NotFound, message)
}

fn not_merged() -> UserError {
    let message = "This ticket is not merged into another one, so there is nothing to undo.";
    UserError::new("ticketId", UserErrorCode::Invalid, message)
}

fn too_late() -> UserError {
    let message = "This ticket was merged more than 24 hours ago, so the merge can no longer be \
                   undone. Open a follow-up instead: call `createTicket` with this ticket's id as \
                   `followUpToId`.";
    UserError::new("ticketId", UserErrorCode::TooLate, message)
}
