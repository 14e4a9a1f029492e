//! Invitations to take part in a ticket: nobody is added to a ticket without their consent.
//!
//! Whether an address has an account is not revealed to who invites: the answer, the events and
//! the limits are the same. Only an account's owner is mailed.

use std::sync::OnceLock;

use super::{
    ServiceError, Services, UserError, UserErrorCode, account as accounts, authorise,
    authorise_account, merged, priority_mail, rate_limit,
    session::ensure_unchanged,
    ticket::{lock, public_event, require_visible},
};
use crate::{
    db::{
        Connection, account,
        event::{self, NewTicketEvent},
        merge as merges, ticket as tickets, ticket_invitation as invitations,
    },
    domain::{
        account::{Account, EmailAddress, Locale},
        actor::Actor,
        clock::Timestamp,
        event::TicketEvent,
        ids::{AccountId, TicketId, TicketInvitationId},
        policy::{self, Action, Decision, Resource},
        priority_mail::{PriorityMail, TICKET_INVITATION_MAIL_LIFETIME},
        ticket::{MAX_PARTICIPANTS, MAX_PAST_PARTICIPANTS, Status, Ticket, TooManyParticipants},
        ticket_invitation::{ReceivedInvitation, TICKET_INVITATION_LIFETIME, TicketInvitation},
    },
};

/// Invites an e-mail address to take part in a ticket. If the address has an open invitation, mails
/// it again and returns it.
///
/// # Errors
/// Returns an error if the actor may not see or share the ticket, and
/// [`ServiceError::RateLimited`] after too many invitations. Returns user errors if the address is
/// the actor's own or of staff or has declined, the ticket is closed, or it has too many
/// participants and invitations.
pub async fn invite(
    actor: &Actor,
    services: &Services,
    id: TicketId,
    email: &str,
) -> Result<TicketInvitation, ServiceError> {
    let inviter = authorise_account(actor)?;
    let email = EmailAddress::lookup(email)
        .map_err(|error| UserError::text("email", "The e-mail address", error))?;
    rate_limit::count_invitation(services, actor, inviter).await?;
    let now = services.ambient.now();
    let new = TicketInvitation {
        id: TicketInvitationId(services.ambient.uuid()),
        ticket_id: id,
        email,
        invited_by: inviter,
        created_at: now,
        expires_at: now + TICKET_INVITATION_LIFETIME,
        declined_at: None,
    };
    let new = &new;
    let invited = services
        .database
        .write(async |db| {
            let mut ticket = lock(actor, db, id, now).await?;
            authorise(actor, Action::ManageParticipants, Resource::from(&ticket))?;
            check_ticket(&ticket)?;
            // Locked: an erasure forgets the invitations of an address that it can see.
            let owner = account::lock_shared_by_email(db, &new.email).await?;
            check_address(actor, &ticket, owner.as_ref())?;
            let found = invitations::of_address(db, id, &new.email, now).await?;
            let (earlier, hidden) = split_hidden(actor, db, found).await?;
            if earlier.as_ref().is_some_and(|earlier| !earlier.is_open(now)) {
                return Err(declined().into());
            }
            if earlier.is_none() {
                let open = invitations::count_open(db, id, now).await?;
                ticket.check_room(open).map_err(too_many_participants)?;
            }
            rate_limit::count_invitation_of(services, db, inviter, &new.email).await?;
            let Some(earlier) = earlier else {
                replace(services, db, &mut ticket, (hidden, new)).await?;
                return Ok(new.clone());
            };
            merges::request(db, earlier.id).await?;
            mail(services, db, &earlier, now).await?;
            Ok(earlier)
        })
        .await;
    match invited {
        Err(error) => Err(merged::explain(actor, services, (id, "ticketId"), error).await),
        invited => invited,
    }
}

/// Returns an earlier invitation first if the actor may know of it, and otherwise second: customers
/// must not learn whom a merge has invited, or who has declined that.
async fn split_hidden(
    actor: &Actor,
    db: &mut Connection,
    found: Option<TicketInvitation>,
) -> Result<(Option<TicketInvitation>, Option<TicketInvitation>), ServiceError> {
    let Some(earlier) = found else { return Ok((None, None)) };
    let is_hidden = is_hidden(actor, db, earlier.id).await?;
    Ok(if is_hidden { (None, Some(earlier)) } else { (Some(earlier), None) })
}

/// Returns whether the actor must not know of an invitation: only merges have created it.
async fn is_hidden(
    actor: &Actor,
    db: &mut Connection,
    id: TicketInvitationId,
) -> Result<bool, ServiceError> {
    Ok(!policy::sees_internal(actor) && merges::is_only_reason(db, id).await?)
}

/// Stores a new invitation in place of one that the actor must not know of.
async fn replace(
    services: &Services,
    db: &mut Connection,
    ticket: &mut Ticket,
    (hidden, new): (Option<TicketInvitation>, &TicketInvitation),
) -> Result<(), ServiceError> {
    let Some(hidden) = hidden else { return insert(services, db, ticket, new).await };
    let merged = merges::tickets_of_invitation(db, hidden.id).await?;
    invitations::delete(db, hidden.id).await?;
    insert(services, db, ticket, new).await?;
    Ok(merges::insert_requested(db, new.id, &merged).await?)
}

/// Stores an invitation, its event and its mail.
async fn insert(
    services: &Services,
    db: &mut Connection,
    ticket: &mut Ticket,
    new: &TicketInvitation,
) -> Result<(), ServiceError> {
    let now = new.created_at;
    invitations::insert(db, new).await?;
    let invited = TicketEvent::ParticipantInvited { invitation_id: new.id };
    record(db, ticket, public_event(invited, new.invited_by, now)).await?;
    mail(services, db, new, now).await
}

/// Plans the mail of an invitation.
pub(super) async fn mail(
    services: &Services,
    db: &mut Connection,
    invitation: &TicketInvitation,
    now: Timestamp,
) -> Result<(), ServiceError> {
    let mail = PriorityMail::TicketInvitation { invitation_id: invitation.id };
    // The mail is composed in the language of the address's account, if it has one.
    let to = (&invitation.email, Locale::En);
    priority_mail::plan(services, db, to, &mail, TICKET_INVITATION_MAIL_LIFETIME, now).await?;
    Ok(())
}

/// Returns an error for an address that cannot be invited. What customers learn here they know:
/// who they are, and that an address is of staff.
fn check_address(actor: &Actor, ticket: &Ticket, owner: Option<&Account>) -> Result<(), UserError> {
    let invalid = |message| Err(UserError::new("email", UserErrorCode::Invalid, message));
    let Some(owner) = owner else { return Ok(()) };
    if actor.account_id() == Some(owner.id) {
        return invalid("This is your own address. Enter the address of another customer.");
    }
    if owner.role.is_staff() {
        return invalid("This is an address of support staff, who see every ticket anyway.");
    }
    // Customers do not know the addresses of participants.
    let takes_part = owner.id == ticket.reporter_id || ticket.participant_ids.contains(&owner.id);
    if actor.is_staff() && takes_part {
        return invalid("This customer takes part in the ticket already.");
    }
    Ok(())
}

/// Withdraws an open invitation. Returns its ticket.
///
/// # Errors
/// Returns an error if there is no such invitation or the actor may not share its ticket, and a
/// user error if it was declined or has expired.
pub async fn withdraw(
    actor: &Actor,
    services: &Services,
    id: TicketInvitationId,
) -> Result<Ticket, ServiceError> {
    let editor = authorise_account(actor)?;
    let now = services.ambient.now();
    services
        .database
        .write(async |db| {
            let found = invitations::by_id(db, id).await?.ok_or(ServiceError::NotFound)?;
            require_visible(actor, db, found.ticket_id).await?;
            let (mut ticket, invitation) = lock_with_ticket(db, &found).await?;
            ensure_unchanged(actor, db, now).await?;
            authorise(actor, Action::ManageParticipants, Resource::from(&ticket))?;
            if is_hidden(actor, db, id).await? {
                return Err(ServiceError::NotFound);
            }
            check_open(&invitation, now)?;
            invitations::delete(db, id).await?;
            let withdrawn = TicketEvent::InvitationWithdrawn { invitation_id: id };
            record(db, &mut ticket, public_event(withdrawn, editor, now)).await?;
            Ok(ticket)
        })
        .await
}

/// Accepts an invitation: the actor takes part in the ticket from now on.
///
/// # Errors
/// Returns an error if there is no such invitation to the actor's address. Returns user errors if
/// it was declined or has expired, the ticket is closed, or it has too many participants.
pub async fn accept(
    actor: &Actor,
    services: &Services,
    id: TicketInvitationId,
) -> Result<Ticket, ServiceError> {
    let invited = authorise_account(actor)?;
    let now = services.ambient.now();
    let of_ticket = &OnceLock::new();
    let accepted = services
        .database
        .write(async |db| {
            let (mut ticket, invitation) = lock_received(actor, db, invited, id, now).await?;
            check_open(&invitation, now)?;
            of_ticket.get_or_init(|| ticket.id);
            check_ticket(&ticket)?;
            let added = ticket.add_participant(invited, now).map_err(too_many_participants)?;
            invitations::delete(db, id).await?;
            if let Some(added) = added {
                record(db, &mut ticket, public_event(added, invited, now)).await?;
            }
            Ok(ticket)
        })
        .await;
    match (accepted, of_ticket.get()) {
        (Err(error), Some(&ticket)) => {
            Err(merged::explain(actor, services, (ticket, "invitationId"), error).await)
        }
        (accepted, _) => accepted,
    }
}

/// Declines an invitation. Does nothing if it was declined before.
///
/// # Errors
/// Returns an error if there is no such invitation to the actor's address, and a user error if it
/// has expired.
pub async fn decline(
    actor: &Actor,
    services: &Services,
    id: TicketInvitationId,
) -> Result<(), ServiceError> {
    let invited = authorise_account(actor)?;
    let now = services.ambient.now();
    services
        .database
        .write(async |db| {
            let (mut ticket, invitation) = lock_received(actor, db, invited, id, now).await?;
            if invitation.declined_at.is_some() {
                return Ok(());
            }
            check_open(&invitation, now)?;
            invitations::decline(db, id, now).await?;
            let declined = TicketEvent::InvitationDeclined { invitation_id: id };
            // Without an actor: who is invited stays unnamed until they accept.
            record(db, &mut ticket, public_event(declined, None::<AccountId>, now)).await
        })
        .await
}

/// Returns the open invitations that the actor can accept, newest first: none for staff, who
/// cannot be invited.
///
/// # Errors
/// Returns an error if nobody is signed in.
pub async fn received(
    actor: &Actor,
    services: &Services,
) -> Result<Vec<ReceivedInvitation>, ServiceError> {
    authorise(actor, Action::SecureAccount, Resource::Desk)?;
    if !may(actor, Action::AnswerInvitation, Resource::Invitation { to_actor: true }) {
        return Ok(vec![]);
    }
    let own = accounts::viewer(actor, services).await?;
    let (mut connection, now) = (services.database.read().await?, services.ambient.now());
    Ok(invitations::received(&mut connection, &own, None, now).await?)
}

/// Returns the open invitations to those of the tickets that the actor may share, oldest first. Only
/// staff see those that a merge has created: they have the addresses of other customers.
///
/// # Errors
/// Returns an error if nobody is signed in.
pub async fn of_tickets(
    actor: &Actor,
    services: &Services,
    ids: &[TicketId],
) -> Result<Vec<TicketInvitation>, ServiceError> {
    authorise(actor, Action::Enter, Resource::Desk)?;
    let mut connection = services.database.read().await?;
    let visible = tickets::by_ids(&mut connection, policy::ticket_scope(actor), ids).await?;
    let shared = visible.iter().filter(|ticket| may_share(actor, ticket)).map(|ticket| ticket.id);
    let shared = shared.collect::<Vec<_>>();
    let now = services.ambient.now();
    let with_merged = policy::sees_internal(actor);
    Ok(invitations::open_of_tickets(&mut connection, &shared, with_merged, now).await?)
}

/// Returns whether the actor may share a ticket, and so see whom it was shared with.
pub fn may_share(actor: &Actor, ticket: &Ticket) -> bool {
    may(actor, Action::ManageParticipants, Resource::from(ticket))
}

fn may(actor: &Actor, action: Action, resource: Resource<'_>) -> bool {
    policy::decide(actor, action, resource) == Decision::Allow
}

/// Returns an invitation as it is now and its ticket, which stays locked until the transaction ends.
/// Everything that changes an invitation takes this lock.
async fn lock_with_ticket(
    db: &mut Connection,
    found: &TicketInvitation,
) -> Result<(Ticket, TicketInvitation), ServiceError> {
    let ticket = tickets::lock(db, found.ticket_id).await?.ok_or(ServiceError::NotFound)?;
    // It may have been answered while this transaction waited for the lock.
    let found = invitations::by_id(db, found.id).await?.ok_or(ServiceError::NotFound)?;
    Ok((ticket, found))
}

/// Returns an invitation to the actor's address, and its ticket, which stays locked.
async fn lock_received(
    actor: &Actor,
    db: &mut Connection,
    invited: AccountId,
    id: TicketInvitationId,
    now: Timestamp,
) -> Result<(Ticket, TicketInvitation), ServiceError> {
    let found = invitations::by_id(db, id).await?.ok_or(ServiceError::NotFound)?;
    // Nobody waits for a ticket that they are not invited to.
    let own = account::by_ids(db, &[invited]).await?;
    authorise_answer(actor, &found, own.first().ok_or(ServiceError::Forbidden)?)?;
    let (ticket, invitation) = lock_with_ticket(db, &found).await?;
    ensure_unchanged(actor, db, now).await?;
    let own = account::lock_shared(db, invited).await?.ok_or(ServiceError::Forbidden)?;
    authorise_answer(actor, &invitation, &own)?;
    // They may have become staff, or been disabled, while this waited for the ticket.
    if own.role.is_staff() || own.disabled_at.is_some() {
        return Err(ServiceError::Forbidden);
    }
    Ok((ticket, invitation))
}

fn authorise_answer(
    actor: &Actor,
    invitation: &TicketInvitation,
    own: &Account,
) -> Result<(), ServiceError> {
    let to_actor = invitation.email.is_spelling_of(&own.email);
    authorise(actor, Action::AnswerInvitation, Resource::Invitation { to_actor })
}

async fn record(
    db: &mut Connection,
    ticket: &mut Ticket,
    event: NewTicketEvent,
) -> Result<(), ServiceError> {
    ticket.touch(event.occurred_at);
    Ok(event::save_with_events(db, ticket, &[event]).await?)
}

fn check_ticket(ticket: &Ticket) -> Result<(), UserError> {
    if ticket.status != Status::Closed {
        return Ok(());
    }
    let message =
        "This ticket is closed and can no longer be shared. Open a follow-up and share that.";
    Err(UserError::of_input(UserErrorCode::TicketClosed, message))
}

fn check_open(invitation: &TicketInvitation, now: Timestamp) -> Result<(), UserError> {
    if invitation.is_open(now) {
        return Ok(());
    }
    let message = "This invitation was declined or has expired. Ask for another one.";
    Err(UserError::new("invitationId", UserErrorCode::Expired, message))
}

fn declined() -> UserError {
    UserError::new(
        "email",
        UserErrorCode::NotAvailable,
        "An invitation of this address to this ticket was declined in the last 14 days.",
    )
}

pub(super) fn too_many_participants(limit: TooManyParticipants) -> UserError {
    let message = match limit {
        TooManyParticipants::Current => format!(
            "A ticket can have at most {MAX_PARTICIPANTS} participants and open invitations. Remove \
             or withdraw one first, or open a new ticket."
        ),
        TooManyParticipants::Past => format!(
            "This ticket has {MAX_PAST_PARTICIPANTS} former participants, the maximum. Open a new \
             ticket and share that."
        ),
    };
    UserError::of_input(UserErrorCode::TooMany, message)
}
