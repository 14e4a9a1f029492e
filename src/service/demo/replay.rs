//! Writes the demo data through the use cases.

use std::{collections::HashMap, convert::Infallible};

use axum::body::Bytes;
use chrono::TimeDelta;
use futures_util::stream;

use super::{
    data::{self, FileEntry, LocaleName, ScheduledStep, StepEntry, StepKind, TicketEntry},
    error::DemoError,
};
use crate::{
    crypto::{
        password::Password,
        token::{BearerToken, TokenKind},
    },
    db::session,
    domain::{
        account::{Account, Locale},
        actor::{Actor, Identity},
        clock::Timestamp,
        comment::Visibility,
        ids::{AttachmentId, CategoryId, SessionId, TicketId},
        session::{ClientOrigin, Session},
    },
    service::{
        ServiceError, Services, category, closing,
        comment::{self, NewComment},
        staff::{self, NewAccount},
        ticket::{self, NewTicket, TicketChanges},
        ticket_invitation,
        upload::{ReceiveError, Upload, UploadReceiver},
    },
};

/// The key of the admin who reads the categories.
const ADMIN: &str = "ilya";

/// The data written so far.
pub(super) struct Replay<'s> {
    services: &'s Services,
    /// By their keys in the files, each with a session in which it acts.
    accounts: HashMap<String, (Account, SessionId)>,
    /// By their slugs.
    categories: HashMap<String, CategoryId>,
    /// By their positions in the files.
    tickets: HashMap<usize, TicketId>,
}

impl<'s> Replay<'s> {
    /// Creates the accounts and reads the categories. The last step is at `end`.
    pub(super) async fn prepare(services: &'s Services, end: Timestamp) -> Result<Self, DemoError> {
        let mut replay = Self {
            services,
            accounts: create_accounts(services, end).await?,
            categories: HashMap::new(),
            tickets: HashMap::new(),
        };
        let categories = category::list(&replay.actor(ADMIN)?, services, false).await?;
        replay.categories =
            categories.into_iter().map(|category| (category.slug, category.id)).collect();
        Ok(replay)
    }

    /// Runs the next step. Closes the tickets first that have become due since the last one.
    pub(super) async fn run(&mut self, scheduled: &ScheduledStep<'_>) -> Result<(), DemoError> {
        closing::close_resolved(&Actor::System, self.services).await?;
        if let (Some(step), Some(&id)) = (scheduled.step, self.tickets.get(&scheduled.index)) {
            self.apply(id, step).await.map_err(|error| {
                let (summary, by) = (&scheduled.ticket.summary, &step.by);
                DemoError::Data(format!("`{summary}`, step by {by}: {error}"))
            })
        } else {
            let id = self.open(scheduled.ticket).await?;
            self.tickets.insert(scheduled.index, id);
            Ok(())
        }
    }

    /// Deletes the sessions.
    pub(super) async fn finish(self) -> Result<(), DemoError> {
        let sessions = self.accounts.values().map(|(_, session)| *session).collect::<Vec<_>>();
        let mut connection = self.services.database.read().await.map_err(ServiceError::from)?;
        Ok(session::delete(&mut connection, &sessions).await.map_err(ServiceError::from)?)
    }

    fn account(&self, key: &str) -> Result<&(Account, SessionId), DemoError> {
        self.accounts
            .get(key)
            .ok_or_else(|| DemoError::Data(format!("there is no account `{key}`")))
    }

    fn actor(&self, key: &str) -> Result<Actor, DemoError> {
        let (account, session) = self.account(key)?;
        Ok(Actor::Account(Identity {
            id: account.id,
            role: account.role,
            locale: account.locale,
            session: *session,
            confined: false,
        }))
    }

    async fn open(&self, entry: &TicketEntry) -> Result<TicketId, DemoError> {
        let by = self.actor(&entry.by)?;
        let new = NewTicket {
            customer: None,
            category_id: self.categories.get(&entry.category).copied(),
            summary: entry.summary.clone(),
            description: entry.description.clone(),
            attachments: upload(&by, self.services, &entry.file).await?,
            follow_up_to: None,
            idempotency_key: None,
        };
        let id = TicketId(entry.id.unwrap_or_else(|| self.services.ambient.uuid()));
        Ok(ticket::create_with_id(&by, self.services, id, new).await?.id)
    }

    async fn apply(&self, id: TicketId, step: &StepEntry) -> Result<(), DemoError> {
        let by = &self.actor(&step.by)?;
        let to = step.to.as_deref().unwrap_or_default();
        let changes = match step.kind {
            StepKind::Comment => return self.comment(by, id, step, Visibility::Public).await,
            StepKind::Note => return self.comment(by, id, step, Visibility::Internal).await,
            StepKind::Participant => {
                let email = self.account(to)?.0.email.as_str();
                let invited = ticket_invitation::invite(by, self.services, id, email).await?;
                ticket_invitation::accept(&self.actor(to)?, self.services, invited.id).await?;
                return Ok(());
            }
            StepKind::Assign => {
                let assignee = Some(self.account(to)?.0.id);
                TicketChanges { assignee: Some(assignee), ..TicketChanges::default() }
            }
            StepKind::Status => TicketChanges { status: step.value(), ..TicketChanges::default() },
            StepKind::Priority => {
                TicketChanges { priority: step.value(), ..TicketChanges::default() }
            }
        };
        ticket::update(by, self.services, id, changes).await?;
        Ok(())
    }

    async fn comment(
        &self,
        by: &Actor,
        ticket_id: TicketId,
        step: &StepEntry,
        visibility: Visibility,
    ) -> Result<(), DemoError> {
        let new = NewComment {
            ticket_id,
            body: step.text.clone().unwrap_or_default(),
            visibility,
            status: step.status,
            expected_version: None,
            seen_up_to: None,
            attachments: upload(by, self.services, &step.file).await?,
            idempotency_key: None,
        };
        comment::add(by, self.services, new).await?;
        Ok(())
    }
}

async fn create_accounts(
    services: &Services,
    end: Timestamp,
) -> Result<HashMap<String, (Account, SessionId)>, DemoError> {
    let mut accounts = HashMap::new();
    for entry in data::accounts()? {
        let new = NewAccount {
            email: entry.email,
            name: entry.name,
            role: entry.role,
            locale: match entry.locale {
                LocaleName::En => Locale::En,
                LocaleName::Ru => Locale::Ru,
            },
            password: entry.demo.then(|| Password::new(data::PASSWORD.to_owned())),
        };
        let account = staff::create(&Actor::System, services, new).await?;
        let session = create_session(services, &account, end).await?;
        accounts.insert(entry.key, (account, session));
    }
    Ok(accounts)
}

/// Creates a session without the mail and the audit entry of a sign-in.
async fn create_session(
    services: &Services,
    account: &Account,
    end: Timestamp,
) -> Result<SessionId, ServiceError> {
    let (ambient, id) = (&services.ambient, SessionId(services.ambient.uuid()));
    let created = Session {
        id,
        account_id: account.id,
        created_at: ambient.now(),
        last_used_at: ambient.now(),
        expires_at: end + TimeDelta::days(1),
        origin: ClientOrigin::default(),
        confined: false,
    };
    let token = BearerToken::of(TokenKind::Session, ambient);
    session::insert(&mut *services.database.read().await?, &created, token.hash()).await?;
    Ok(id)
}

async fn upload(
    by: &Actor,
    services: &Services,
    files: &[FileEntry],
) -> Result<Vec<Upload>, ServiceError> {
    let mut uploads = Vec::new();
    for FileEntry { name, text } in files {
        let bytes = Ok::<_, Infallible>(Bytes::from(text.clone().into_bytes()));
        let id = AttachmentId(services.ambient.uuid());
        let mut receiver = UploadReceiver::new(by, services)?;
        receiver.reserve(&[id]).await??.keep();
        let received = receiver.receive(id, name, stream::iter([bytes])).await;
        uploads.push(received.map_err(|error| match error {
            ReceiveError::Service(error) => error,
            ReceiveError::Sender(never) => match never {},
        })?);
    }
    Ok(uploads)
}
