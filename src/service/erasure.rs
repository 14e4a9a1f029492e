//! Erasure of accounts: the owner is forgotten, what others need to understand their tickets stays.

use std::{
    collections::HashSet,
    sync::atomic::{AtomicBool, Ordering},
};

use super::{
    ServiceError, Services, UserErrorCode, audit, authorise, authorise_with_proof, redaction,
    session, staff, to_completion, upload,
};
use crate::{
    db::{Connection, account as accounts, erasure, former_staff, redaction as redactions, ticket},
    domain::{
        account::Account,
        actor::Actor,
        clock::Timestamp,
        erasure::Erasure,
        event::AccountEvent,
        ids::{AccountId, AttachmentId, TicketId},
        policy::{Action, Resource},
        redaction::{RedactedContent, Redaction, TicketText},
        ticket::Ticket,
    },
    storage::ledger::ErasureLedger,
};

/// How many comments, or files, of an account are redacted in one transaction.
const REDACTED_AT_ONCE: usize = 100;

/// Erases an account: its name, address, secrets and mails, the addresses and devices of its
/// sessions, and what its comments were before edits. With `redacts`, what its owner wrote and
/// uploaded is redacted soon after. The ledger has the erasure when this returns.
///
/// # Errors
/// Returns an error if the actor is not an admin or the account does not exist, and a user error if
/// it is erased already, is the actor's own or the last admin's, or the actor must re-authenticate.
pub async fn erase(
    actor: &Actor,
    services: &Services,
    id: Option<AccountId>,
    redacts: bool,
) -> Result<Account, ServiceError> {
    authorise_with_proof(actor, services, Action::EraseAccounts).await?;
    let id = id.ok_or(ServiceError::NotFound)?;
    let erased_at = services.ambient.now();
    let erasure = Erasure { account_id: id, erased_at, redacts };
    let (by, of) = (*actor, services.clone());
    let erased = to_completion(async move { run(&by, &of, erasure).await }).await?;
    services.sessions.invalidate(id);
    services.former_staff.notify_one();
    services.erasures.notify_one();
    redaction::until_unshared().await;
    Ok(erased)
}

/// Erases an account in the database and in the ledger, or in neither.
async fn run(
    actor: &Actor,
    services: &Services,
    erasure: Erasure,
) -> Result<Account, ServiceError> {
    let (ledger, recorded) = (&ledger(services), &AtomicBool::new(false));
    let now = services.ambient.now();
    let erased = services
        .database
        .write(async |db| {
            let (account, admins) = staff::lock(actor, db, erasure.account_id, now).await?;
            staff::ensure_admin_remains(actor, account.id, &admins)?;
            let account = erase_owner(actor, services, db, account, &erasure).await?;
            // Before the commit, which a crash may follow, and late, when little can still fail.
            recorded.store(true, Ordering::Relaxed);
            ledger.record(&erasure).await?;
            end_access(actor, services, db, account.id).await?;
            Ok::<_, ServiceError>(account)
        })
        .await;
    let is_undone = |error: &ServiceError| !error.has_code(UserErrorCode::Erased);
    if erased.as_ref().err().is_some_and(is_undone) && recorded.load(Ordering::Relaxed) {
        // If it was committed after all, `follow_ledger` records it again.
        ledger.forget(erasure.account_id).await?;
    }
    erased
}

fn ledger(services: &Services) -> ErasureLedger {
    ErasureLedger::new(&services.settings.erasure_ledger)
}

/// Erases what identifies the owner of a locked account.
async fn erase_owner(
    actor: &Actor,
    services: &Services,
    db: &mut Connection,
    account: Account,
    erasure: &Erasure,
) -> Result<Account, ServiceError> {
    let (id, now) = (account.id, services.ambient.now());
    staff::require_not_erased(&account)?;
    if account.is_active_staff() {
        former_staff::insert(db, id, actor.account_id(), now).await?;
    }
    erasure::erase_owner(db, &account, now).await?;
    erasure::insert(db, erasure, actor.account_id()).await?;
    let found = accounts::by_ids(db, &[id]).await?.into_iter().next();
    found.ok_or(ServiceError::NotFound)
}

/// Ends the sessions of an erased account. Call this last: this node forgets them at once, even if
/// the transaction fails afterwards.
async fn end_access(
    actor: &Actor,
    services: &Services,
    db: &mut Connection,
    id: AccountId,
) -> Result<(), ServiceError> {
    let now = services.ambient.now();
    session::end_sessions(services, db, id, None, actor, now).await?;
    Ok(audit::record(db, id, actor.account_id(), AccountEvent::AccountErased {}, now).await?)
}

/// Erases and redacts again what the ledger has and the database does not: see [`follow_erasures`]
/// and [`redaction::follow_ledger`]. Returns how many accounts were erased, and how many texts and
/// files redacted.
///
/// # Errors
/// Returns an error if the actor is not the system, or the ledger cannot be used.
pub async fn follow_ledger(
    actor: &Actor,
    services: &Services,
    even_recent: bool,
) -> Result<(usize, usize), ServiceError> {
    authorise(actor, Action::EraseAccounts, Resource::Desk)?;
    let erased = follow_erasures(actor, services, even_recent).await;
    // Also if an account could not be erased.
    let redacted = redaction::follow_ledger(services, even_recent).await;
    Ok((erased?, redacted?))
}

/// Erases the accounts of the ledger that the database does not know as erased, because it was
/// restored from a backup, and records those in the ledger that only the database knows. Returns how
/// many accounts it erased. Without `even_recent`, leaves out those of the last minute: the
/// transaction of another node may be about to commit them.
async fn follow_erasures(
    actor: &Actor,
    services: &Services,
    even_recent: bool,
) -> Result<usize, ServiceError> {
    let ledger = ledger(services);
    let recorded = ledger.erased_accounts().await?;
    let known = erasure::all(&mut *services.database.read().await?).await?;
    let in_ledger = recorded.iter().map(String::as_str).collect::<HashSet<_>>();
    for (id, erasure) in known.iter().map(|it| (it.account_id.0.to_string(), it)) {
        if !in_ledger.contains(id.as_str()) {
            ledger.record(erasure).await?;
        }
    }
    let in_database = known.iter().map(|it| it.account_id.0.to_string()).collect::<HashSet<_>>();
    let (mut erased, mut failed) = (0, None);
    for id in recorded.iter().filter(|id| !in_database.contains(*id)) {
        // One that fails must not hold up the others.
        match follow_erasure(actor, services, (&ledger, id), even_recent).await {
            Ok(done) => erased += usize::from(done),
            Err(error) => failed = Some(error),
        }
    }
    failed.map_or(Ok(erased), Err)
}

/// Erases an account of the ledger. Returns whether there was something to erase.
async fn follow_erasure(
    actor: &Actor,
    services: &Services,
    (ledger, account): (&ErasureLedger, &str),
    even_recent: bool,
) -> Result<bool, ServiceError> {
    let erasure = ledger.erasure(account).await?;
    let is_due = |it: &Erasure| even_recent || it.has_settled(services.ambient.now());
    let Some(erasure) = erasure.filter(is_due) else { return Ok(false) };
    match erase_again(actor, services, &erasure).await {
        // Another node was first, or the backup is older than the account.
        Err(error) if error.has_code(UserErrorCode::Erased) => Ok(false),
        Err(ServiceError::NotFound) => Ok(false),
        done => done.map(|()| true),
    }
}

/// Erases an account that a backup has brought back.
async fn erase_again(
    actor: &Actor,
    services: &Services,
    erasure: &Erasure,
) -> Result<(), ServiceError> {
    let now = services.ambient.now();
    services
        .database
        .write(async |db| {
            // Also the last admin: the operator can create another.
            let (account, _) = staff::lock(actor, db, erasure.account_id, now).await?;
            erase_owner(actor, services, db, account, erasure).await?;
            end_access(actor, services, db, erasure.account_id).await
        })
        .await?;
    services.sessions.invalidate(erasure.account_id);
    tracing::info!(account_id = %erasure.account_id.0, "erased an account of a backup again");
    Ok(())
}

/// Waits until an account is erased through this node.
pub async fn until_needed(services: &Services) {
    services.erasures.notified().await;
}

/// Erases what is left of erased accounts: what requests wrote that were under way, and the texts
/// and files of those that are redacted. Several nodes may run this at the same time.
///
/// # Errors
/// Returns an error if the actor is not the system, or the database failed.
pub async fn finish(actor: &Actor, services: &Services) -> Result<(), ServiceError> {
    authorise(actor, Action::EraseAccounts, Resource::Desk)?;
    let unfinished = erasure::unfinished(&mut *services.database.read().await?).await?;
    let mut failed = None;
    for (erasure, by) in unfinished {
        // One that fails must not hold up the others.
        if let Err(error) = finish_one(services, &erasure, by).await {
            failed = Some(error);
        }
    }
    failed.map_or(Ok(()), Err)
}

async fn finish_one(
    services: &Services,
    erasure: &Erasure,
    by: Option<AccountId>,
) -> Result<(), ServiceError> {
    let (id, now) = (erasure.account_id, services.ambient.now());
    let clean = async |db: &mut _| erasure::erase_traces(db, id, &[], now).await;
    services.database.write_without_events(clean).await?;
    if erasure.redacts {
        for ticket in erasure::tickets_with_content_of(&services.background, id).await? {
            redact_content(services, ticket, erasure, by).await?;
        }
    }
    if erasure.has_settled(now) {
        erasure::finish(&mut *services.database.read().await?, id, now).await?;
    }
    Ok(())
}

/// Redacts all texts and files of an account on a ticket, in steps: others who write on the ticket
/// wait for one step at most. The erasure stays unfinished until the last one.
async fn redact_content(
    services: &Services,
    ticket: TicketId,
    erasure: &Erasure,
    by: Option<AccountId>,
) -> Result<(), ServiceError> {
    while redact_some(services, ticket, erasure, by).await? {}
    Ok(())
}

/// Redacts some texts and files of an account on a ticket. Returns whether there may be more.
async fn redact_some(
    services: &Services,
    ticket: TicketId,
    erasure: &Erasure,
    by: Option<AccountId>,
) -> Result<bool, ServiceError> {
    let now = services.ambient.now();
    let (files, more) = services
        .database
        .write(async |db| {
            let Some(mut ticket) = ticket::lock(db, ticket).await? else {
                return Ok((vec![], false));
            };
            if erase_texts(db, &mut ticket, erasure, by, now).await? == REDACTED_AT_ONCE {
                return Ok((vec![], true));
            }
            let files = erase_files(db, &mut ticket, erasure.account_id, by, now).await?;
            let more = files.len() == REDACTED_AT_ONCE;
            Ok::<_, ServiceError>((files, more))
        })
        .await?;
    for file in files {
        upload::delete_soon(services, file).await;
    }
    Ok(more)
}

/// Redacts texts of an account on a locked ticket. Returns the number of comments.
async fn erase_texts(
    db: &mut Connection,
    ticket: &mut Ticket,
    erasure: &Erasure,
    by: Option<AccountId>,
    now: Timestamp,
) -> Result<usize, ServiceError> {
    let owner = erasure.account_id;
    if ticket.reporter_id == owner {
        if !has_later_summary(db, ticket, erasure).await? {
            redaction::erase_text(db, ticket, TicketText::Summary, by, now).await?;
        }
        redaction::erase_text(db, ticket, TicketText::Description, by, now).await?;
    }
    let comments = erasure::comments_of(db, ticket.id, owner, REDACTED_AT_ONCE).await?;
    for &comment in &comments {
        redaction::erase_comment(db, ticket, comment, by, now).await?;
    }
    Ok(comments.len())
}

/// Whether a summary was written after the owner's was redacted: by staff, as nobody else can.
async fn has_later_summary(
    db: &mut Connection,
    ticket: &Ticket,
    erasure: &Erasure,
) -> Result<bool, ServiceError> {
    if ticket.summary.is_empty() {
        return Ok(false);
    }
    let redaction = Redaction {
        ticket_id: ticket.id,
        content: RedactedContent::Summary,
        redacted_at: erasure.erased_at,
    };
    Ok(redactions::has_happened(db, &redaction).await?)
}

async fn erase_files(
    db: &mut Connection,
    ticket: &mut Ticket,
    owner: AccountId,
    by: Option<AccountId>,
    now: Timestamp,
) -> Result<Vec<AttachmentId>, ServiceError> {
    let files = erasure::attachments_of(db, ticket.id, owner, REDACTED_AT_ONCE).await?;
    for &file in &files {
        redaction::erase_attachment(db, ticket, file, by, now).await?;
    }
    Ok(files)
}
