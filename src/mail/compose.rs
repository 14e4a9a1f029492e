//! Composes the message of a delivery: loads the current state of what it is about, renders the
//! templates, and adds the headers that keep the mails of a ticket in one thread.

use std::{collections::HashMap, fmt::Display, time::SystemTime};

use lettre::{
    Message,
    address::Envelope,
    message::{Mailbox, MultiPart},
};
use minijinja::{Value, context};
use uuid::Uuid;

use super::{
    address, header,
    templates::{Rendered, Template, Templates},
};
use crate::{
    crypto::{seal::Keyring, signing::SigningKey},
    db::{
        Connection, DbError, account,
        attachment::{self, Requested},
        category, comment, delivery, merge, ticket, ticket_invitation, unsubscription,
    },
    domain::{
        account::{Account, EmailAddress, Locale},
        clock::Timestamp,
        comment::Visibility,
        delivery::Delivery,
        event::{Audience, Event, TicketEvent},
        ids::{AccountId, CommentId, DeliveryId, TicketInvitationId},
        notification::NotificationKind,
        policy::TicketScope,
        priority_mail::PriorityMail,
        redaction::displayed,
        ticket::{NumberPrefix, Status, Ticket, TicketNumber},
    },
};

/// How many of the latest mails of a thread `References` names, in addition to the first.
const MAX_REFERENCES: i64 = 10;

/// Composes mails.
pub struct Composer {
    /// The templates.
    pub templates: Templates,
    /// The sender. Its name is also the name of the support desk in the texts.
    pub from: Mailbox,
    /// The prefix of ticket numbers.
    pub number_prefix: NumberPrefix,
    /// The URL of a ticket's page, or `None` if there is none. `{number}` is replaced by the
    /// ticket's number.
    pub ticket_link: Option<String>,
    /// The URL of the page that sets a password. `{token}` is replaced by the token.
    pub reset_link: String,
    /// The URL of the page that unsubscribes from a ticket. `{token}` is replaced by the signed token.
    pub unsubscribe_link: String,
    /// The URL to which mail programs send a POST request to unsubscribe (RFC 8058). `{token}` is
    /// replaced by the signed token.
    pub one_click_link: String,
    /// Signs unsubscribe tokens.
    pub key: SigningKey,
    /// Opens the sealed content of priority mail.
    pub keys: Keyring,
}

/// Why a mail could not be composed.
#[derive(Debug, thiserror::Error)]
pub enum ComposeError {
    /// The mail can never be composed.
    #[error("{0}")]
    Unbuildable(String),
    /// A node of a newer version can compose the mail.
    #[error("the content was written by a newer version")]
    Newer,
    /// The database failed.
    #[error(transparent)]
    Database(#[from] DbError),
}

/// The content of a mail about a ticket.
struct TicketMail {
    ticket: Ticket,
    category: String,
    names: HashMap<AccountId, String>,
    comments: HashMap<CommentId, String>,
    /// The names of the files of the comments, and of the description under `None`.
    files: HashMap<Option<CommentId>, Vec<String>>,
    events: Vec<(Event, NotificationKind)>,
    /// The mails of the same thread that were sent before.
    earlier: Vec<DeliveryId>,
    /// Where the ticket continues, if it was merged.
    continuation: Option<Continuation>,
}

/// The ticket in which a merged one continues.
struct Continuation {
    number: TicketNumber,
    /// Whether the recipient may see it.
    is_visible: bool,
    /// Whether the recipient is invited to it.
    is_invited: bool,
    merged_at: Timestamp,
}

impl Composer {
    /// Composes the message of a delivery. Returns `None` if it must not be sent any more: the
    /// recipient has unsubscribed, may no longer see the ticket, or has no active account, or there is
    /// nothing to report.
    ///
    /// # Errors
    /// The mail cannot be composed, or the database failed.
    pub async fn compose(
        &self,
        db: &mut Connection,
        delivery: &Delivery,
        now: Timestamp,
    ) -> Result<Option<Message>, ComposeError> {
        let Some(ticket_id) = delivery.ticket_id else {
            return self.compose_priority_mail(db, delivery, now).await;
        };
        let address = current_address(db, delivery).await?;
        if unsubscription::exists(db, ticket_id, &address).await? {
            return Ok(None);
        }
        let Some(mail) = TicketMail::load(db, delivery, now).await? else { return Ok(None) };
        if mail.is_empty(delivery.locale) {
            return Ok(None);
        }
        let to = address::recipient(&address).map_err(unbuildable)?;
        let name = delivery.account_id.and_then(|id| mail.names.get(&id).cloned());
        let token = self.key.sign_delivery(delivery.id);
        let unsubscribe = self.unsubscribe_link.replace("{token}", &token);
        let context = self.ticket_context(&mail, delivery.locale, &unsubscribe);
        let rendered = self
            .templates
            .render(mail.template(), delivery.locale, &context)
            .map_err(unbuildable)?;
        let headers = Headers {
            to: Mailbox::new(name, to),
            id: self.message_id(delivery.id),
            earlier: mail.earlier.iter().map(|&id| self.message_id(id)).collect(),
            unsubscribe: Some(self.one_click_link.replace("{token}", &token)),
        };
        self.message(rendered, headers, now).map(Some).map_err(unbuildable)
    }

    /// Composes a priority mail. Returns `None` if no active account has the address.
    async fn compose_priority_mail(
        &self,
        db: &mut Connection,
        delivery: &Delivery,
        now: Timestamp,
    ) -> Result<Option<Message>, ComposeError> {
        let mail = self.open(delivery)?;
        let found = if let Some(id) = delivery.account_id {
            account::by_ids(db, &[id]).await?.into_iter().next()
        } else {
            let address = EmailAddress::from_stored(delivery.address.clone());
            account::by_email(db, &address).await?.map(|(account, _)| account)
        };
        let Some(account) = found.filter(|account| account.disabled_at.is_none()) else {
            return Ok(None);
        };
        let to = match delivery.account_id {
            // The account may have another address since.
            Some(_) => delivery.address.as_str(),
            // Not the address as it was typed, which may be another person's mailbox.
            None => account.email.as_str(),
        };
        let to = address::recipient(to).map_err(unbuildable)?;
        let Some((template, context)) = self.priority_context(db, &mail, &account, now).await?
        else {
            return Ok(None);
        };
        let rendered =
            self.templates.render(template, account.locale, &context).map_err(unbuildable)?;
        let headers = Headers {
            to: Mailbox::new(Some(account.name), to),
            id: self.message_id(delivery.id),
            earlier: vec![],
            unsubscribe: None,
        };
        self.message(rendered, headers, now).map(Some).map_err(unbuildable)
    }

    /// Opens the sealed content of a priority mail.
    fn open(&self, delivery: &Delivery) -> Result<PriorityMail, ComposeError> {
        let payload = delivery.payload.as_deref().unwrap_or_default();
        let content = self.keys.open(delivery.id.0.as_bytes(), payload).map_err(unbuildable)?;
        serde_json::from_slice(&content).map_err(|_| ComposeError::Newer)
    }

    /// The template of a priority mail, and the values that the template uses. `None` if the mail
    /// must not be sent any more.
    async fn priority_context(
        &self,
        db: &mut Connection,
        mail: &PriorityMail,
        account: &Account,
        now: Timestamp,
    ) -> Result<Option<(Template, Value)>, DbError> {
        let set_password = |token: &str| self.reset_link.replace("{token}", token);
        let (template, values) = match mail {
            PriorityMail::Code { code } => (Template::Code, context! { code }),
            PriorityMail::PasswordReset { token } => {
                (Template::PasswordReset, context! { link => set_password(token) })
            }
            PriorityMail::Invitation { token } => {
                let email = account.email.as_str();
                (Template::Invitation, context! { link => set_password(token), email })
            }
            PriorityMail::TicketInvitation { invitation_id } => {
                let values = self.invitation_context(db, *invitation_id, account, now).await?;
                let Some(values) = values else { return Ok(None) };
                (Template::TicketInvitation, values)
            }
            PriorityMail::SecurityNotice { change, device, address, at } => {
                let at = at.format("%Y-%m-%d %H:%M UTC").to_string();
                (Template::SecurityNotice, context! { what => change, device, address, at })
            }
        };
        let desk = self.support_name();
        Ok(Some((template, context! { desk, heading => desk, name => account.name, ..values })))
    }

    /// The values of an invitation to a ticket: its number, and nothing that somebody has written.
    /// `None` if the account can no longer accept it.
    async fn invitation_context(
        &self,
        db: &mut Connection,
        id: TicketInvitationId,
        account: &Account,
        now: Timestamp,
    ) -> Result<Option<Value>, DbError> {
        if account.role.is_staff() {
            return Ok(None);
        }
        let received = ticket_invitation::received(db, account, Some(id), now).await?;
        let merged = merge::reason(db, id).await?.map(|number| self.number_prefix.format(number));
        Ok(received.into_iter().next().map(|received| {
            let number = self.number_prefix.format(received.ticket_number);
            let link = self.ticket_link(&number);
            let expires_at =
                received.invitation.expires_at.format("%Y-%m-%d %H:%M UTC").to_string();
            context! { number, link, expires_at, merged }
        }))
    }

    fn ticket_link(&self, number: &str) -> Option<String> {
        self.ticket_link.as_ref().map(|link| link.replace("{number}", number))
    }

    /// Composes the mail of `ticketwire mail test`.
    ///
    /// # Errors
    /// The address is invalid.
    pub fn compose_test(
        &self,
        address: &str,
        locale: Locale,
        id: Uuid,
        now: Timestamp,
    ) -> Result<Message, String> {
        let desk = self.support_name();
        let context = context! { desk, heading => desk };
        let rendered = self
            .templates
            .render(Template::Test, locale, &context)
            .map_err(|error| error.to_string())?;
        let id = self.message_id(DeliveryId(id));
        let to = Mailbox::new(None, address::recipient(address)?);
        self.message(rendered, Headers { to, id, earlier: vec![], unsubscribe: None }, now)
    }

    fn support_name(&self) -> &str {
        self.from.name.as_deref().unwrap_or("Ticketwire")
    }

    fn message_id(&self, id: DeliveryId) -> String {
        format!("<{}@{}>", id.0, self.from.email.domain())
    }

    /// The values that the templates of mails about a ticket use.
    fn ticket_context(&self, mail: &TicketMail, locale: Locale, unsubscribe: &str) -> Value {
        let ticket = &mail.ticket;
        let number = self.number_prefix.format(ticket.number);
        let continues_in =
            mail.continuation.as_ref().map(|it| self.number_prefix.format(it.number));
        let visible = mail.continuation.as_ref().is_some_and(|it| it.is_visible);
        let shown = continues_in.as_ref().filter(|_| visible).unwrap_or(&number);
        let link = self.ticket_link(shown);
        context! {
            desk => self.support_name(),
            heading => number,
            follows => !mail.earlier.is_empty(),
            unsubscribe_link => unsubscribe,
            ticket => context! {
                number,
                summary => displayed(&ticket.summary, locale),
                description => displayed(&ticket.description, locale),
                files => mail.files.get(&None),
                status => ticket.status.name(locale),
                category => mail.category,
                reporter => mail.names.get(&ticket.reporter_id),
                opened_by => mail.opened_by(),
                link,
            },
            changes => mail.changes(locale, continues_in.as_deref()),
        }
    }

    fn message(
        &self,
        rendered: Rendered,
        headers: Headers,
        now: Timestamp,
    ) -> Result<Message, String> {
        let addresses = vec![headers.to.email.clone()];
        let envelope = Envelope::new(Some(self.from.email.clone()), addresses);
        let mut builder = Message::builder()
            .envelope(envelope.map_err(|error| error.to_string())?)
            .from(self.from.clone())
            .to(headers.to.clone())
            .raw_header(header::subject(&rendered.subject))
            .date(SystemTime::from(now))
            .message_id(Some(headers.id))
            // Keeps vacation responders from replying (RFC 3834).
            .raw_header(header::ascii("Auto-Submitted", "auto-generated"));
        if let Some(last) = headers.earlier.last() {
            builder = builder.in_reply_to(last.clone()).references(headers.earlier.join(" "));
        }
        if let Some(link) = headers.unsubscribe {
            builder = builder.raw_header(header::ascii("List-Unsubscribe", &format!("<{link}>")));
            // RFC 8058 allows one click for HTTPS only.
            if link.starts_with("https:") {
                let one_click =
                    header::ascii("List-Unsubscribe-Post", "List-Unsubscribe=One-Click");
                builder = builder.raw_header(one_click);
            }
        }
        let parts = MultiPart::alternative_plain_html(rendered.text, rendered.html);
        let mut message = builder.multipart(parts).map_err(|error| error.to_string())?;
        let named = [header::mailbox("From", &self.from), header::mailbox("To", &headers.to)];
        for mailbox in named.into_iter().flatten() {
            message.headers_mut().insert_raw(mailbox);
        }
        Ok(message)
    }
}

struct Headers {
    to: Mailbox,
    /// The Message-ID.
    id: String,
    /// The Message-IDs of the thread's earlier mails, oldest first.
    earlier: Vec<String>,
    /// The link with which a mail program unsubscribes from the ticket.
    unsubscribe: Option<String>,
}

/// Returns the address that a mail about a ticket goes to: that of its account. It was planned for
/// the former one if the account's address changed in that moment.
async fn current_address(db: &mut Connection, delivery: &Delivery) -> Result<String, DbError> {
    let planned = EmailAddress::from_stored(delivery.address.clone());
    let account = match delivery.account_id {
        Some(id) => account::by_ids(db, &[id]).await?.into_iter().next(),
        None => None,
    };
    match account {
        Some(account) if !account.email.is_spelling_of(&planned) => {
            delivery::redirect(db, account.id, &planned, &account.email).await?;
            Ok(account.email.as_str().to_owned())
        }
        _ => Ok(delivery.address.clone()),
    }
}

fn unbuildable(error: impl Display) -> ComposeError {
    ComposeError::Unbuildable(error.to_string())
}

impl TicketMail {
    /// Loads the current content of a mail. Returns `None` if its recipient is disabled or may no
    /// longer see the ticket.
    async fn load(
        db: &mut Connection,
        delivery: &Delivery,
        now: Timestamp,
    ) -> Result<Option<Self>, ComposeError> {
        let gone = || unbuildable("the ticket no longer exists");
        let ids = delivery.ticket_id.as_slice();
        let found = ticket::by_ids(db, TicketScope::All, ids).await?;
        let ticket = found.into_iter().next().ok_or_else(gone)?;
        // Checked again here: a mail must never contain what only staff may see.
        let mut events = delivery::events(db, delivery.id).await?;
        events.retain(|(event, _)| {
            event.ticket().is_some_and(|ticket| ticket.audience == Audience::Participants)
        });
        if events.is_empty() {
            return Err(unbuildable("the mail has no events"));
        }
        if delivery.account_id.is_some() {
            leave_current_assignment(&mut events, ticket.assignee_id == delivery.account_id);
            if events.is_empty() {
                return Ok(None);
            }
        }
        let people = events.iter().filter_map(|(event, _)| event.actor_id);
        let people =
            people.chain([ticket.reporter_id]).chain(delivery.account_id).collect::<Vec<_>>();
        let accounts = account::by_ids(db, &people).await?;
        let recipient = accounts.iter().find(|account| Some(account.id) == delivery.account_id);
        if recipient.is_some_and(|it| it.disabled_at.is_some() || !can_see(it, &ticket)) {
            return Ok(None);
        }
        let written = events.iter().filter_map(|(event, _)| event.ticket()?.event.comment());
        let comments = comment::by_ids(db, &written.collect::<Vec<_>>()).await?.into_iter();
        let comments = comments.map(|posted| posted.comment);
        let public = comments.filter(|comment| comment.visibility == Visibility::Public);
        let comments = public.map(|comment| (comment.id, comment.body)).collect();
        let category = category::by_ids(db, &[ticket.category_id]).await?.into_iter().next();
        let continuation = Continuation::of(db, &ticket, recipient, now).await?;
        Ok(Some(Self {
            category: category.map(|it| it.name(delivery.locale).to_owned()).unwrap_or_default(),
            names: accounts.into_iter().map(|account| (account.id, account.name)).collect(),
            files: names_of_files(db, &ticket, &comments).await?,
            comments,
            events,
            earlier: delivery::thread(db, delivery, MAX_REFERENCES).await?,
            continuation,
            ticket,
        }))
    }

    /// The member of staff who opened the ticket for its customer.
    fn opened_by(&self) -> Option<&String> {
        let is_creation = |event: &Event| {
            event.ticket().is_some_and(|it| it.event == TicketEvent::TicketCreated {})
        };
        let created = self.events.iter().find(|(event, _)| is_creation(event));
        let by = created.and_then(|(event, _)| event.actor_id);
        by.filter(|&by| by != self.ticket.reporter_id).and_then(|by| self.names.get(&by))
    }

    fn template(&self) -> Template {
        let includes = |kind| self.events.iter().any(|&(_, notified)| notified == kind);
        if includes(NotificationKind::TicketOpened) {
            Template::TicketOpened
        } else if includes(NotificationKind::TicketCreated) {
            Template::TicketCreated
        } else {
            Template::TicketUpdated
        }
    }

    /// Returns whether there is nothing to report: a merge was undone, for example.
    fn is_empty(&self, locale: Locale) -> bool {
        let number = self.continuation.as_ref().map(|_| "");
        matches!(self.template(), Template::TicketUpdated)
            && self.changes(locale, number).is_empty()
    }

    fn changes(&self, locale: Locale, continues_in: Option<&str>) -> Vec<Value> {
        let merged = continues_in.zip(self.continuation.as_ref());
        let change = |(event, kind): &(Event, NotificationKind)| match merged {
            Some((number, continuation)) if continuation.is_reason_of(event) => {
                Some(self.merge(event, (number, continuation), locale))
            }
            _ => self.change(event, *kind, locale),
        };
        self.events.iter().filter_map(change).collect()
    }

    /// Reports a merge. An operator's template of an earlier version shows it as a change of the
    /// status.
    fn merge(
        &self,
        event: &Event,
        (number, continuation): (&str, &Continuation),
        locale: Locale,
    ) -> Value {
        let by = event.actor_id.and_then(|id| self.names.get(&id));
        let status = match event.ticket().map(|ticket| ticket.event) {
            Some(TicketEvent::StatusChanged { from, .. }) => from,
            _ => Status::Closed,
        };
        let (from, to) = (status.name(locale), Status::Closed.name(locale));
        let Continuation { is_visible, is_invited, .. } = *continuation;
        context! { kind => "merged", by, number, is_visible, is_invited, from, to }
    }

    fn change(&self, event: &Event, kind: NotificationKind, locale: Locale) -> Option<Value> {
        let by = event.actor_id.and_then(|id| self.names.get(&id));
        match &event.ticket()?.event {
            TicketEvent::CommentAdded { comment_id } => {
                let text = displayed(self.comments.get(comment_id)?, locale);
                let files = self.files.get(&Some(*comment_id));
                Some(context! { kind => "answer", by, text, files })
            }
            TicketEvent::StatusChanged { from, to } => Some(
                context! { kind => "status", by, from => from.name(locale), to => to.name(locale) },
            ),
            TicketEvent::ParticipantAdded { .. } => Some(context! { kind => "added", by }),
            TicketEvent::AssigneeChanged { .. } if kind == NotificationKind::TicketAssigned => {
                Some(context! { kind => "assigned", by })
            }
            TicketEvent::TicketCreated {}
            | TicketEvent::CommentEdited { .. }
            | TicketEvent::ContentRedacted { .. }
            | TicketEvent::PriorityChanged { .. }
            | TicketEvent::AssigneeChanged { .. }
            | TicketEvent::CategoryChanged { .. }
            | TicketEvent::SummaryChanged {}
            | TicketEvent::ParticipantInvited { .. }
            | TicketEvent::InvitationDeclined { .. }
            | TicketEvent::InvitationWithdrawn { .. }
            | TicketEvent::ParticipantRemoved { .. }
            | TicketEvent::TicketMerged { .. }
            | TicketEvent::TicketUnmerged { .. }
            | TicketEvent::Unknown => None,
        }
    }
}

impl Continuation {
    /// Returns where a ticket continues, if it was merged. Mails to the address of staff have no
    /// recipient with an account.
    async fn of(
        db: &mut Connection,
        ticket: &Ticket,
        recipient: Option<&Account>,
        now: Timestamp,
    ) -> Result<Option<Self>, DbError> {
        let Some(merge) = merge::of(db, ticket.id).await? else { return Ok(None) };
        let Some((id, number)) = merge::continues_in(db, ticket.id).await? else { return Ok(None) };
        let found = ticket::by_ids(db, TicketScope::All, &[id]).await?.into_iter().next();
        let sees = |other: &Ticket| recipient.is_none_or(|account| can_see(account, other));
        let is_visible = found.as_ref().is_some_and(sees);
        let is_open = found.is_some_and(|other| other.status != Status::Closed);
        let is_invited = match recipient.filter(|_| is_open) {
            Some(account) => ticket_invitation::is_invited(db, id, &account.email, now).await?,
            None => false,
        };
        Ok(Some(Self { number, is_visible, is_invited, merged_at: merge.merged_at }))
    }

    /// Returns whether an event reports the merge.
    fn is_reason_of(&self, event: &Event) -> bool {
        let reports = event.ticket().is_some_and(|ticket| {
            matches!(
                ticket.event,
                TicketEvent::TicketMerged { .. }
                    | TicketEvent::StatusChanged { to: Status::Closed, .. }
            )
        });
        reports && event.occurred_at == self.merged_at
    }
}

/// Removes assignments of a ticket to the recipient that are over: all but the last, and that one too if
/// they are no longer the assignee.
fn leave_current_assignment(events: &mut Vec<(Event, NotificationKind)>, is_assignee: bool) {
    let is_assignment = |kind| kind == NotificationKind::TicketAssigned;
    let current = events.iter().rposition(|&(_, kind)| is_assignment(kind)).filter(|_| is_assignee);
    let mut places = 0..;
    events.retain(|&(_, kind)| {
        let place = places.next();
        !is_assignment(kind) || place == current
    });
}

/// Returns the names of the files of a ticket's description and of these comments.
async fn names_of_files(
    db: &mut Connection,
    ticket: &Ticket,
    comments: &HashMap<CommentId, String>,
) -> Result<HashMap<Option<CommentId>, Vec<String>>, DbError> {
    let ids = comments.keys().copied().collect::<Vec<_>>();
    let mut found = attachment::find(db, Requested::OfTickets(&[ticket.id])).await?;
    if !ids.is_empty() {
        found.extend(attachment::find(db, Requested::OfComments(&ids)).await?);
    }
    let mut files = HashMap::<_, Vec<_>>::new();
    for attachment in found.into_iter().map(|found| found.attachment) {
        files.entry(attachment.comment_id).or_default().push(attachment.name.as_str().to_owned());
    }
    Ok(files)
}

/// Whether an account may see a ticket.
fn can_see(account: &Account, ticket: &Ticket) -> bool {
    account.role.is_staff()
        || account.id == ticket.reporter_id
        || ticket.participant_ids.contains(&account.id)
}
