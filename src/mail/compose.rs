//! Makes a planned mail into a message: reads what it tells of as that stands now,
//! renders it, and gives it the headers that keep a ticket's mails in one thread.

use std::{collections::HashMap, time::SystemTime};

use lettre::{
    Address, Message,
    message::{
        Mailbox, MultiPart,
        header::{HeaderName, HeaderValue},
    },
};
use minijinja::{Value, context};
use uuid::Uuid;

use super::templates::{Rendered, Template, Templates};
use crate::{
    crypto::{seal::Keyring, signing::SigningKey},
    db::{Connection, DbError, account, category, comment, delivery, ticket, unsubscription},
    domain::{
        account::{Account, EmailAddress, Locale},
        clock::Timestamp,
        comment::Visibility,
        delivery::Delivery,
        event::{Audience, Event, TicketEvent},
        ids::{AccountId, CommentId, DeliveryId},
        notification::NotificationKind,
        policy::TicketScope,
        priority_mail::PriorityMail,
        ticket::{NumberPrefix, Ticket},
    },
};

/// So many of a thread's earlier mails are referred to, besides the first.
const REFERENCES: i64 = 10;

/// Makes mails.
pub struct Composer {
    /// The texts.
    pub templates: Templates,
    /// Who they come from.
    pub from: Mailbox,
    /// What ticket numbers begin with.
    pub number_prefix: NumberPrefix,
    /// Where a ticket's page is; `{number}` stands for its number.
    pub ticket_link: Option<String>,
    /// Where a new password is set; `{token}` stands for what is to be given there.
    pub reset_link: String,
    /// Where unsubscribing is; `{token}` stands for what is to be given there.
    pub unsubscribe_link: String,
    /// Signs that token.
    pub key: SigningKey,
    /// Opens what was sealed.
    pub keys: Keyring,
}

/// Why there is no message.
#[derive(Debug, thiserror::Error)]
pub enum ComposeError {
    /// No attempt can ever make one.
    #[error("{0}")]
    Unbuildable(String),
    /// The database failed.
    #[error(transparent)]
    Database(#[from] DbError),
}

/// What a mail tells of, loaded.
struct Story {
    ticket: Ticket,
    category: String,
    names: HashMap<AccountId, String>,
    comments: HashMap<CommentId, String>,
    events: Vec<(Event, NotificationKind)>,
    earlier: Vec<DeliveryId>,
}

impl Composer {
    /// The message of a planned mail; `None` where it is not wanted any more.
    ///
    /// # Errors
    /// It can't be built, or the database failed.
    pub async fn compose(
        &self,
        db: &mut Connection,
        delivery: &Delivery,
        now: Timestamp,
    ) -> Result<Option<Message>, ComposeError> {
        let to = mailbox(&delivery.address).map_err(ComposeError::Unbuildable)?;
        let Some(ticket_id) = delivery.ticket_id else {
            return self.compose_notice(db, delivery, to, now).await;
        };
        if unsubscription::exists(db, ticket_id, &delivery.address).await? {
            return Ok(None);
        }
        let Some(story) = Story::load(db, delivery).await? else { return Ok(None) };
        let name = delivery.account_id.and_then(|id| story.names.get(&id).cloned());
        let template = story.template();
        let unsubscribe = self.unsubscribe_link(delivery.id);
        let context = self.context(&story, delivery.locale, &unsubscribe);
        let rendered = self
            .templates
            .render(template, delivery.locale, &context)
            .map_err(|error| ComposeError::Unbuildable(error.to_string()))?;
        let headers = Headers {
            to: Mailbox::new(name, to),
            id: self.message_id(delivery.id),
            earlier: story.earlier.iter().map(|&id| self.message_id(id)).collect(),
            unsubscribe: Some(unsubscribe),
        };
        self.message(rendered, headers, now).map(Some).map_err(ComposeError::Unbuildable)
    }

    /// A mail that is not about a ticket; `None` where there is no such account.
    async fn compose_notice(
        &self,
        db: &mut Connection,
        delivery: &Delivery,
        to: Address,
        now: Timestamp,
    ) -> Result<Option<Message>, ComposeError> {
        let unbuildable =
            |error: &dyn std::fmt::Display| ComposeError::Unbuildable(error.to_string());
        let payload = delivery.payload.as_deref().unwrap_or_default();
        let content = self
            .keys
            .open(delivery.id.0.as_bytes(), payload)
            .map_err(|error| unbuildable(&error))?;
        let notice = serde_json::from_slice::<PriorityMail>(&content)
            .map_err(|_| unbuildable(&"its content is of a newer version"))?;
        let address =
            EmailAddress::parse(&delivery.address).map_err(|error| unbuildable(&error))?;
        let found = account::by_email(db, &address).await?;
        let found = found.map(|(account, _)| account);
        let Some(account) = found.filter(|account| account.disabled_at.is_none()) else {
            return Ok(None);
        };
        let (template, values) = match &notice {
            PriorityMail::Code { code } => (Template::Code, context! { code }),
            PriorityMail::PasswordReset { token } => {
                let link = self.reset_link.replace("{token}", token);
                (Template::PasswordReset, context! { link })
            }
            PriorityMail::Invitation { token } => {
                let link = self.reset_link.replace("{token}", token);
                (Template::Invitation, context! { link, email => account.email.as_str() })
            }
            PriorityMail::SecurityNotice { what, device, address, at } => {
                let at = at.format("%Y-%m-%d %H:%M UTC").to_string();
                (Template::SecurityNotice, context! { what, device, address, at })
            }
        };
        let context = context! { desk => self.desk(), heading => self.desk(), name => account.name, ..values };
        let rendered = self
            .templates
            .render(template, account.locale, &context)
            .map_err(|error| unbuildable(&error))?;
        let headers = Headers {
            to: Mailbox::new(Some(account.name), to),
            id: self.message_id(delivery.id),
            earlier: vec![],
            unsubscribe: None,
        };
        self.message(rendered, headers, now).map(Some).map_err(ComposeError::Unbuildable)
    }

    /// The operator's trial mail.
    ///
    /// # Errors
    /// An address that no mail can be sent to.
    pub fn trial(
        &self,
        address: &str,
        locale: Locale,
        id: Uuid,
        now: Timestamp,
    ) -> Result<Message, String> {
        let context = context! { desk => self.desk(), heading => self.desk() };
        let rendered = self
            .templates
            .render(Template::Test, locale, &context)
            .map_err(|error| error.to_string())?;
        let id = self.message_id(DeliveryId(id));
        let to = Mailbox::new(None, mailbox(address)?);
        self.message(rendered, Headers { to, id, earlier: vec![], unsubscribe: None }, now)
    }

    fn desk(&self) -> &str {
        self.from.name.as_deref().unwrap_or("Ticketwire")
    }

    fn message_id(&self, id: DeliveryId) -> String {
        format!("<{}@{}>", id.0, self.from.email.domain())
    }

    fn unsubscribe_link(&self, id: DeliveryId) -> String {
        self.unsubscribe_link.replace("{token}", &self.key.sign_delivery(id))
    }

    fn context(&self, story: &Story, locale: Locale, unsubscribe: &str) -> Value {
        let ticket = &story.ticket;
        let number = self.number_prefix.format(ticket.number);
        let link = self.ticket_link.as_ref().map(|link| link.replace("{number}", &number));
        context! {
            desk => self.desk(),
            heading => number,
            follows => !story.earlier.is_empty(),
            unsubscribe_link => unsubscribe,
            ticket => context! {
                number,
                summary => ticket.summary,
                description => ticket.description,
                status => ticket.status.name(locale),
                category => story.category,
                reporter => story.names.get(&ticket.reporter_id),
                link,
            },
            changes => story.changes(locale),
        }
    }

    fn message(
        &self,
        rendered: Rendered,
        headers: Headers,
        now: Timestamp,
    ) -> Result<Message, String> {
        let mut builder = Message::builder()
            .from(self.from.clone())
            .to(headers.to)
            .subject(rendered.subject)
            .date(SystemTime::from(now))
            .message_id(Some(headers.id))
            // So that no absence notice answers it (RFC 3834).
            .raw_header(header("Auto-Submitted", "auto-generated"));
        if let Some(last) = headers.earlier.last() {
            builder = builder.in_reply_to(last.clone()).references(headers.earlier.join(" "));
        }
        if let Some(link) = headers.unsubscribe {
            builder = builder
                .raw_header(header("List-Unsubscribe", &format!("<{link}>")))
                .raw_header(header("List-Unsubscribe-Post", "List-Unsubscribe=One-Click"));
        }
        builder
            .multipart(MultiPart::alternative_plain_html(rendered.text, rendered.html))
            .map_err(|error| error.to_string())
    }
}

struct Headers {
    to: Mailbox,
    id: String,
    earlier: Vec<String>,
    unsubscribe: Option<String>,
}

/// A header of our own words: ASCII, a line, never what people wrote.
fn header(name: &'static str, value: &str) -> HeaderValue {
    HeaderValue::dangerous_new_pre_encoded(
        HeaderName::new_from_ascii_str(name),
        value.to_owned(),
        value.to_owned(),
    )
}

/// An address as mail servers take it: letters outside ASCII are spelt in ASCII in
/// the domain; in front of the `@` they stay, and need a server with SMTPUTF8.
fn mailbox(address: &str) -> Result<Address, String> {
    let refused = |cause: &str| format!("the address can't be mailed to: {cause}");
    let (local, domain) = address.rsplit_once('@').ok_or_else(|| refused("it has no @"))?;
    let domain = idna::domain_to_ascii(domain).map_err(|_| refused("its domain can't be one"))?;
    Address::new(local, domain).map_err(|error| refused(&error.to_string()))
}

impl Story {
    /// What a mail tells of, as it stands now; `None` where its recipient has been
    /// disabled, or may see the ticket no longer.
    async fn load(db: &mut Connection, delivery: &Delivery) -> Result<Option<Self>, ComposeError> {
        let gone = || ComposeError::Unbuildable("its ticket is gone".into());
        let ids = delivery.ticket_id.as_slice();
        let found = ticket::by_ids(db, TicketScope::All, ids).await?;
        let ticket = found.into_iter().next().ok_or_else(gone)?;
        // Whatever was planned: what is for staff only goes into no mail.
        let mut events = delivery::events(db, delivery.id).await?;
        events.retain(|(event, _)| {
            event.ticket().is_some_and(|ticket| ticket.audience == Audience::Participants)
        });
        if events.is_empty() {
            return Err(ComposeError::Unbuildable("it tells of nothing".into()));
        }
        let people = events.iter().filter_map(|(event, _)| event.actor_id);
        let people =
            people.chain([ticket.reporter_id]).chain(delivery.account_id).collect::<Vec<_>>();
        let accounts = account::by_ids(db, &people).await?;
        let recipient = accounts.iter().find(|account| Some(account.id) == delivery.account_id);
        if recipient.is_some_and(|it| it.disabled_at.is_some() || !sees(it, &ticket)) {
            return Ok(None);
        }
        let written = events.iter().filter_map(|(event, _)| match event.ticket()?.event {
            TicketEvent::CommentAdded { comment_id } => Some(comment_id),
            _ => None,
        });
        let comments = comment::by_ids(db, &written.collect::<Vec<_>>()).await?.into_iter();
        let public = comments.filter(|(comment, ..)| comment.visibility == Visibility::Public);
        let category = category::by_ids(db, &[ticket.category_id]).await?.into_iter().next();
        Ok(Some(Self {
            category: category.map(|it| it.name(delivery.locale).to_owned()).unwrap_or_default(),
            ticket,
            names: accounts.into_iter().map(|account| (account.id, account.name)).collect(),
            comments: public.map(|(comment, ..)| (comment.id, comment.body)).collect(),
            events,
            earlier: delivery::thread(db, delivery, REFERENCES).await?,
        }))
    }

    fn template(&self) -> Template {
        let tells = |kind| self.events.iter().any(|&(_, notified)| notified == kind);
        if tells(NotificationKind::TicketOpened) {
            Template::TicketOpened
        } else if tells(NotificationKind::TicketCreated) {
            Template::TicketCreated
        } else {
            Template::TicketUpdated
        }
    }

    fn changes(&self, locale: Locale) -> Vec<Value> {
        self.events.iter().filter_map(|(event, _)| self.change(event, locale)).collect()
    }

    fn change(&self, event: &Event, locale: Locale) -> Option<Value> {
        let by = event.actor_id.and_then(|id| self.names.get(&id));
        match &event.ticket()?.event {
            TicketEvent::CommentAdded { comment_id } => {
                let text = self.comments.get(comment_id)?;
                Some(context! { kind => "answer", by, text })
            }
            TicketEvent::StatusChanged { from, to } => Some(
                context! { kind => "status", by, from => from.name(locale), to => to.name(locale) },
            ),
            TicketEvent::ParticipantAdded { .. } => Some(context! { kind => "added", by }),
            TicketEvent::TicketCreated {}
            | TicketEvent::PriorityChanged { .. }
            | TicketEvent::AssigneeChanged { .. }
            | TicketEvent::CategoryChanged { .. }
            | TicketEvent::SummaryChanged {}
            | TicketEvent::ParticipantRemoved { .. }
            | TicketEvent::Unknown => None,
        }
    }
}

/// Whether somebody may see a ticket.
fn sees(account: &Account, ticket: &Ticket) -> bool {
    account.role.is_staff()
        || account.id == ticket.reporter_id
        || ticket.participant_ids.contains(&account.id)
}
