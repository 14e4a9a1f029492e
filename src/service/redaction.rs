//! Redaction: staff erase texts and files that people sent.

use std::collections::BTreeMap;

use parking_lot::Mutex;
use tokio::time;

use super::{
    ServiceError, Services, UserError, UserErrorCode, authorise, authorise_account, ticket,
    to_completion, upload,
};
use crate::{
    db::{
        Connection,
        attachment::{self as attachments, Requested},
        comment, comment_edit,
        event::{self, NewTicketEvent},
        redaction as redactions, ticket as tickets,
    },
    domain::{
        actor::Actor,
        attachment::Attachment,
        clock::Timestamp,
        comment::{Comment, Visibility},
        event::TicketEvent,
        ids::{AccountId, AttachmentId, CommentId, TicketId},
        policy::{self, Action, Resource},
        redaction::{ERASED_TEXT_MAX_AGE, RedactedContent, Redaction, TicketText},
        ticket::Ticket,
    },
    storage::ledger::ErasureLedger,
};

/// Erases the text of a comment or internal note, with what it was before edits. Returns once no
/// node serves it any more.
///
/// # Errors
/// Returns an error if the comment does not exist or the actor may not see it or is not staff, and a
/// user error if it is redacted already.
pub async fn redact_comment(
    actor: &Actor,
    services: &Services,
    id: CommentId,
) -> Result<(Comment, Ticket), ServiceError> {
    let editor = authorise_account(actor)?;
    let (actor, services) = (*actor, services.clone());
    to_completion(async move {
        let (actor, services) = (&actor, &services);
        let now = services.ambient.now();
        let entry = &Entry::new(services);
        let redacted = services
            .database
            .write(async |db| {
                let (mut ticket, _) = lock_comment(actor, db, id, now).await?;
                authorise(actor, Action::Redact, Resource::from(&ticket))?;
                if !erase_comment(db, &mut ticket, id, Some(editor), now).await? {
                    return Err(already_redacted("commentId"));
                }
                let found = find(db, id).await?;
                entry.record(db, &ticket, RedactedContent::Comment { comment_id: id }, now).await?;
                Ok((found, ticket))
            })
            .await;
        let redacted = entry.settle(redacted).await?;
        until_unshared().await;
        Ok(redacted)
    })
    .await
}

/// Erases the summary or the description of a ticket. Returns once no node serves it any more.
///
/// # Errors
/// Returns an error if the actor may not see the ticket or is not staff, and a user error if the
/// text is redacted already.
pub async fn redact_ticket(
    actor: &Actor,
    services: &Services,
    id: TicketId,
    text: TicketText,
) -> Result<Ticket, ServiceError> {
    let editor = authorise_account(actor)?;
    let (actor, services) = (*actor, services.clone());
    to_completion(async move {
        let (actor, services) = (&actor, &services);
        let now = services.ambient.now();
        let entry = &Entry::new(services);
        let content = match text {
            TicketText::Summary => RedactedContent::Summary,
            TicketText::Description => RedactedContent::Description,
        };
        let redacted = services
            .database
            .write(async |db| {
                let mut ticket = ticket::lock(actor, db, id, now).await?;
                authorise(actor, Action::Redact, Resource::from(&ticket))?;
                if !erase_text(db, &mut ticket, text, Some(editor), now).await? {
                    return Err(already_redacted("text"));
                }
                entry.record(db, &ticket, content, now).await?;
                Ok(ticket)
            })
            .await;
        let redacted = entry.settle(redacted).await?;
        until_unshared().await;
        Ok(redacted)
    })
    .await
}

/// Removes a file from its ticket and deletes its bytes. Returns once no node serves it any more. If
/// the storage fails, a periodic task deletes the bytes.
///
/// # Errors
/// Returns an error if the attachment does not exist or the actor may not see it or is not staff,
/// and a user error if it is redacted already.
pub async fn redact_attachment(
    actor: &Actor,
    services: &Services,
    id: AttachmentId,
) -> Result<Ticket, ServiceError> {
    let editor = authorise_account(actor)?;
    let (actor, services) = (*actor, services.clone());
    to_completion(async move {
        let (actor, services) = (&actor, &services);
        let now = services.ambient.now();
        let entry = &Entry::new(services);
        let redacted = services
            .database
            .write(async |db| {
                let mut ticket = lock_ticket_of(actor, db, id, now).await?;
                authorise(actor, Action::Redact, Resource::from(&ticket))?;
                let found =
                    attached(db, id).await?.and_then(|(attachment, _)| attachment.comment_id);
                if !erase_attachment(db, &mut ticket, id, Some(editor), now).await? {
                    return Err(already_redacted("attachmentId"));
                }
                let content = RedactedContent::Attachment { attachment_id: id, comment_id: found };
                entry.record(db, &ticket, content, now).await?;
                Ok(ticket)
            })
            .await;
        let redacted = entry.settle(redacted).await?;
        upload::delete_soon(services, id).await;
        until_unshared().await;
        Ok(redacted)
    })
    .await
}

/// The entry of a redaction in the ledger: it has one if the database has, or neither has.
struct Entry {
    ledger: ErasureLedger,
    recorded: Mutex<Option<Redaction>>,
}

impl Entry {
    fn new(services: &Services) -> Self {
        let ledger = ErasureLedger::new(&services.settings.erasure_ledger);
        Self { ledger, recorded: Mutex::new(None) }
    }

    /// Records a redaction in the database and in the ledger. Call this last in the transaction.
    async fn record(
        &self,
        db: &mut Connection,
        ticket: &Ticket,
        content: RedactedContent,
        redacted_at: Timestamp,
    ) -> Result<(), ServiceError> {
        let redaction = Redaction { ticket_id: ticket.id, content, redacted_at };
        redactions::record(db, &redaction).await?;
        *self.recorded.lock() = Some(redaction);
        Ok(self.ledger.record_redaction(&redaction).await?)
    }

    /// Removes the entry from the ledger if the transaction has failed. If it was committed after
    /// all, [`follow_ledger`] records it again.
    async fn settle<T>(&self, done: Result<T, ServiceError>) -> Result<T, ServiceError> {
        let recorded = *self.recorded.lock();
        // Not if another node has redacted the same meanwhile.
        if let (Err(error), Some(redaction)) = (&done, recorded)
            && !error.has_code(UserErrorCode::Redacted)
        {
            self.ledger.forget_redaction(&redaction).await?;
        }
        done
    }
}

/// Redacts again what the ledger has as redacted and the database does not, because it was restored
/// from a backup, and records in the ledger what only the database knows. Without `even_recent`,
/// leaves out redactions of the last minute: the transaction of another node may be about to commit
/// them. Returns how many texts and files it redacted.
///
/// # Errors
/// Returns an error if the database failed or the ledger cannot be used. Entries that cannot be read
/// are logged and left out.
pub(super) async fn follow_ledger(
    services: &Services,
    even_recent: bool,
) -> Result<usize, ServiceError> {
    let ledger = ErasureLedger::new(&services.settings.erasure_ledger);
    let mut unknown = recorded(&ledger).await?;
    let mut failed = record_known(services, &ledger, &mut unknown).await?;
    let (now, mut redacted) = (services.ambient.now(), 0);
    for redaction in unknown.into_values() {
        if !even_recent && !redaction.has_settled(now) {
            continue;
        }
        match redact_again(services, &redaction).await {
            Ok(done) => redacted += usize::from(done),
            Err(error) => failed = Some(error),
        }
    }
    failed.map_or(Ok(redacted), Err)
}

/// Returns the redactions of the ledger, by their names.
async fn recorded(ledger: &ErasureLedger) -> Result<BTreeMap<String, Redaction>, ServiceError> {
    let mut recorded = BTreeMap::new();
    for name in ledger.redactions().await? {
        match ledger.redaction(&name).await {
            Ok(redaction) => recorded.extend(redaction.map(|redaction| (name, redaction))),
            Err(error) => tracing::error!(%error, "a redaction of the ledger cannot be read"),
        }
    }
    Ok(recorded)
}

/// Removes from the redactions of the ledger those that the database knows, and records in the ledger
/// what only the database knows. Returns an error of the ledger that did not prevent the rest.
async fn record_known(
    services: &Services,
    ledger: &ErasureLedger,
    recorded: &mut BTreeMap<String, Redaction>,
) -> Result<Option<ServiceError>, ServiceError> {
    let (mut after, mut failed) = (String::new(), None);
    loop {
        let page = redactions::page(&mut *services.database.read().await?, &after).await?;
        let Some((page, last)) = page else { return Ok(failed) };
        after = last;
        for known in page {
            let name = known.name();
            // What was written after an earlier redaction can be redacted too.
            let in_ledger = recorded.get(&name).map(|it| it.redacted_at);
            if in_ledger.is_none_or(|at| at < known.redacted_at)
                && let Err(error) = ledger.record_redaction(&known).await
            {
                failed = Some(error.into());
            }
            if in_ledger.is_some_and(|at| at <= known.redacted_at) {
                recorded.remove(&name);
            }
        }
    }
}

/// Redacts what a backup has brought back. Returns `false` if the database only lacked the record of
/// the redaction, or its ticket or comment.
async fn redact_again(services: &Services, redaction: &Redaction) -> Result<bool, ServiceError> {
    let erased = services
        .database
        .write(async |db| {
            let erased = erase_again(db, redaction, services.ambient.now()).await?;
            redactions::record(db, redaction).await?;
            Ok::<_, ServiceError>(erased)
        })
        .await;
    let erased = match erased {
        // The backup is older than the ticket or the comment.
        Err(ServiceError::NotFound) => {
            redactions::record(&mut *services.database.read().await?, redaction).await?;
            false
        }
        erased => erased?,
    };
    if erased {
        if let RedactedContent::Attachment { attachment_id, .. } = redaction.content {
            upload::delete_soon(services, attachment_id).await;
        }
        tracing::info!(redacted = redaction.name(), "redacted a text or file of a backup again");
    }
    Ok(erased)
}

/// Erases a text or file, unless that happened at the time of its redaction or later: a summary may
/// have been written since. Returns whether there was something to erase.
async fn erase_again(
    db: &mut Connection,
    redaction: &Redaction,
    now: Timestamp,
) -> Result<bool, ServiceError> {
    let found = tickets::lock(db, redaction.ticket_id).await?;
    let ticket = &mut found.ok_or(ServiceError::NotFound)?;
    if redactions::has_happened(db, redaction).await? {
        return Ok(false);
    }
    match redaction.content {
        RedactedContent::Summary => erase_text(db, ticket, TicketText::Summary, None, now).await,
        RedactedContent::Description => {
            erase_text(db, ticket, TicketText::Description, None, now).await
        }
        RedactedContent::Comment { comment_id } => {
            erase_comment(db, ticket, comment_id, None, now).await
        }
        RedactedContent::Attachment { attachment_id, .. } => {
            erase_attachment(db, ticket, attachment_id, None, now).await
        }
    }
}

/// Waits until no node delivers what was erased before a commit.
pub(super) async fn until_unshared() {
    time::sleep(ERASED_TEXT_MAX_AGE).await;
}

/// Locks the ticket of a comment, and returns it with the comment.
///
/// # Errors
/// Returns an error if the comment does not exist or the actor may not see it.
pub(super) async fn lock_comment(
    actor: &Actor,
    db: &mut Connection,
    id: CommentId,
    now: Timestamp,
) -> Result<(Ticket, Comment), ServiceError> {
    let ticket_id = find(db, id).await?.ticket_id;
    let ticket = ticket::lock(actor, db, ticket_id, now).await?;
    // Read again: another transaction may have changed it before the lock.
    let comment = find(db, id).await?;
    if policy::sees_comment(actor, comment.visibility) {
        Ok((ticket, comment))
    } else {
        Err(ServiceError::NotFound)
    }
}

/// Returns a comment.
///
/// # Errors
/// Returns an error if it does not exist.
pub(super) async fn find(db: &mut Connection, id: CommentId) -> Result<Comment, ServiceError> {
    let found = comment::of_events(db, &[id]).await?.into_iter().next();
    found.ok_or(ServiceError::NotFound)
}

/// Locks the ticket that an attachment belongs to, or belonged to before it was redacted.
async fn lock_ticket_of(
    actor: &Actor,
    db: &mut Connection,
    id: AttachmentId,
    now: Timestamp,
) -> Result<Ticket, ServiceError> {
    let found = attached(db, id).await?;
    let ticket = match &found {
        Some((attachment, _)) => Some(attachment.ticket_id),
        None => attachments::redacted_from(db, id).await?,
    };
    let ticket = ticket::lock(actor, db, ticket.ok_or(ServiceError::NotFound)?, now).await?;
    // What was redacted may have belonged to a note.
    let visible = found.map_or(policy::sees_internal(actor), |(_, visibility)| {
        policy::sees_comment(actor, visibility)
    });
    if visible { Ok(ticket) } else { Err(ServiceError::NotFound) }
}

/// Returns an attachment, and who may see it.
async fn attached(
    db: &mut Connection,
    id: AttachmentId,
) -> Result<Option<(Attachment, Visibility)>, ServiceError> {
    let found = attachments::find(db, Requested::Ids(&[id])).await?.into_iter().next();
    Ok(found.map(|found| (found.attachment, found.visibility.unwrap_or(Visibility::Public))))
}

/// Erases the text of a comment of a locked ticket. Returns `false` if that was done before.
pub(super) async fn erase_comment(
    db: &mut Connection,
    ticket: &mut Ticket,
    id: CommentId,
    by: Option<AccountId>,
    now: Timestamp,
) -> Result<bool, ServiceError> {
    let found = find(db, id).await?;
    if !comment::redact(db, id, now).await? {
        return Ok(false);
    }
    comment_edit::delete(db, id).await?;
    let content = RedactedContent::Comment { comment_id: id };
    record(db, ticket, content, found.visibility, by, now).await?;
    Ok(true)
}

/// Erases a text of a locked ticket. Returns `false` if that was done before.
pub(super) async fn erase_text(
    db: &mut Connection,
    ticket: &mut Ticket,
    text: TicketText,
    by: Option<AccountId>,
    now: Timestamp,
) -> Result<bool, ServiceError> {
    let Some(event) = ticket.redact(text, now) else { return Ok(false) };
    if text == TicketText::Description {
        tickets::set_description(db, ticket).await?;
    }
    save(db, ticket, event, Visibility::Public, by, now).await?;
    Ok(true)
}

/// Removes a file from a locked ticket. Returns `false` if that was done before. Its bytes are
/// deleted after the commit.
pub(super) async fn erase_attachment(
    db: &mut Connection,
    ticket: &mut Ticket,
    id: AttachmentId,
    by: Option<AccountId>,
    now: Timestamp,
) -> Result<bool, ServiceError> {
    let Some((attachment, visibility)) = attached(db, id).await? else { return Ok(false) };
    let comment_id = attachment.comment_id;
    if !attachments::redact(db, id, (ticket.id, comment_id), now).await? {
        return Ok(false);
    }
    let content = RedactedContent::Attachment { attachment_id: id, comment_id };
    record(db, ticket, content, visibility, by, now).await?;
    Ok(true)
}

/// Appends the event of a redaction that is not a change of the ticket itself.
async fn record(
    db: &mut Connection,
    ticket: &mut Ticket,
    content: RedactedContent,
    visibility: Visibility,
    by: Option<AccountId>,
    now: Timestamp,
) -> Result<(), ServiceError> {
    if visibility == Visibility::Public {
        ticket.touch(now);
    }
    save(db, ticket, TicketEvent::ContentRedacted { content }, visibility, by, now).await
}

async fn save(
    db: &mut Connection,
    ticket: &mut Ticket,
    event: TicketEvent,
    visibility: Visibility,
    actor_id: Option<AccountId>,
    now: Timestamp,
) -> Result<(), ServiceError> {
    let audience = visibility.into();
    let event = NewTicketEvent { event, audience, actor_id, occurred_at: now };
    Ok(event::save_with_events(db, ticket, &[event]).await?)
}

fn already_redacted(field: &'static str) -> ServiceError {
    let message = "This is redacted already: its content is erased.";
    UserError::new(field, UserErrorCode::Redacted, message).into()
}
