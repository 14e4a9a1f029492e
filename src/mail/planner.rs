//! Reads the event log and plans notifications and mails.
//!
//! A planner runs on every node. The lock on the consumer's offset makes them take turns, and the
//! offset moves in the transaction that stores what was planned, so each event is planned once.

use std::{collections::HashMap, sync::Arc, time::Duration};

use chrono::TimeDelta;
use tokio::{sync::Notify, time};

use super::staff_addresses::StaffAddresses;
use crate::{
    db::{
        Connection, Database, DbError, account, category,
        consumer::{self, NOTIFICATIONS},
        delivery::{self, NewDelivery},
        feed, notification, preferences, ticket, unsubscription,
    },
    domain::{
        account::{EmailAddress, Locale},
        category::Category,
        clock::Ambient,
        event::{FeedEvent, Subject},
        ids::{AccountId, CategoryId, DeliveryId, NotificationId, TicketId},
        notification::{Notification, NotificationTarget, Recipient, notification_targets},
        policy::TicketScope,
        ticket::Ticket,
    },
    events::EventLog,
};

/// The largest number of events that are planned in one transaction.
const PAGE: i64 = 200;
/// How often the feed is read without a hint. Hints can be lost.
const POLL: Duration = Duration::from_secs(1);
/// The pause after the database has failed.
const RETRY_AFTER: Duration = Duration::from_millis(500);

pub(super) struct Planner {
    pub(super) database: Database,
    pub(super) ambient: Ambient,
    pub(super) log: EventLog,
    /// The time within which events join one mail, and the staff addresses. `None` if no mail is
    /// sent.
    pub(super) rules: Option<(TimeDelta, StaffAddresses)>,
    /// Wakes this node's senders.
    pub(super) planned: Arc<Notify>,
}

/// The tickets that a batch of events is about, and all categories.
struct Context {
    tickets: HashMap<TicketId, Ticket>,
    categories: HashMap<CategoryId, Category>,
}

impl Planner {
    /// Plans events until the future is dropped.
    pub(super) async fn run(self) {
        let mut head = self.log.watch_head();
        loop {
            match self.plan_and_announce().await {
                Ok(full) => {
                    if !full {
                        let _ = time::timeout(POLL, head.changed()).await;
                    }
                }
                Err(error) => {
                    tracing::warn!(%error, "planning notifications failed; retrying");
                    time::sleep(RETRY_AFTER).await;
                }
            }
        }
    }

    /// Plans the next events, and wakes the streams that have new notifications. Returns whether
    /// there may be more events.
    async fn plan_and_announce(&self) -> Result<bool, DbError> {
        let (notified_up_to, full) = self.plan_batch().await?;
        self.log.announce_notifications(notified_up_to).await?;
        Ok(full)
    }

    /// Plans the next events. Returns the feed position up to which people have been notified, and
    /// whether there may be more events.
    async fn plan_batch(&self) -> Result<(i64, bool), DbError> {
        {
            // Checked first, so that no lock is taken while nothing happens.
            let mut connection = self.database.read().await?;
            if !consumer::is_behind(&mut connection, NOTIFICATIONS).await? {
                return Ok((consumer::offset(&mut connection, NOTIFICATIONS).await?, false));
            }
        }
        let (notified_up_to, count) = self
            .database
            .write_without_events(async |db| {
                let after = consumer::lock(db, NOTIFICATIONS).await?;
                let events = feed::following(db, after, PAGE).await?;
                let Some(last) = events.last().map(|event| event.cursor.pos) else {
                    return Ok((after, 0));
                };
                let context = Context::load(db, &events).await?;
                for event in &events {
                    self.plan(db, &context, event).await?;
                }
                consumer::move_to(db, NOTIFICATIONS, last).await?;
                Ok((last, events.len()))
            })
            .await?;
        if count > 0 {
            self.planned.notify_waiters();
        }
        Ok((notified_up_to, i64::try_from(count).is_ok_and(|count| count == PAGE)))
    }

    async fn plan(
        &self,
        db: &mut Connection,
        context: &Context,
        event: &FeedEvent,
    ) -> Result<(), DbError> {
        let mut visible = event.event.clone();
        let Subject::Ticket(subject) = &mut visible.subject else { return Ok(()) };
        let Some(ticket) = context.tickets.get(&subject.id) else { return Ok(()) };
        // Former participants are not notified, not even of what happened before they left.
        subject.participants.retain(|id| ticket.participant_ids.contains(id));
        for target in notification_targets(&visible, ticket.assignee_id) {
            if let (true, Recipient::Account(account)) =
                (target.channels.in_app(), target.recipient)
            {
                let new = self.notification(account, ticket, &target, event);
                notification::insert(db, &new).await?;
            }
            if target.channels.mail() {
                self.plan_mail(db, context, ticket, &target, event).await?;
            }
        }
        Ok(())
    }

    fn notification(
        &self,
        account_id: AccountId,
        ticket: &Ticket,
        target: &NotificationTarget,
        event: &FeedEvent,
    ) -> Notification {
        Notification {
            id: NotificationId(self.ambient.uuid()),
            account_id,
            event_id: event.event.id,
            ticket_id: ticket.id,
            kind: target.kind,
            pos: event.cursor.pos,
            created_at: event.event.occurred_at,
            read_at: None,
        }
    }

    async fn plan_mail(
        &self,
        db: &mut Connection,
        context: &Context,
        ticket: &Ticket,
        target: &NotificationTarget,
        event: &FeedEvent,
    ) -> Result<(), DbError> {
        let Some((window, staff)) = &self.rules else { return Ok(()) };
        let to = match target.recipient {
            Recipient::Account(account) => mail_recipient(db, account, target).await?,
            Recipient::StaffAddress => {
                let category = context.categories.get(&ticket.category_id);
                let found = category.and_then(|category| staff.of(category));
                found.map(|(address, locale)| (None, address.clone(), locale))
            }
        };
        let Some((account_id, address, locale)) = to else { return Ok(()) };
        if unsubscription::exists(db, ticket.id, address.as_str()).await? {
            return Ok(());
        }
        let new = NewDelivery {
            id: DeliveryId(self.ambient.uuid()),
            address: &address,
            account_id,
            ticket_id: ticket.id,
            locale,
            event_id: event.event.id,
            kind: target.kind,
            occurred_at: event.event.occurred_at,
            window: *window,
            now: self.ambient.now(),
        };
        delivery::plan(db, &new).await
    }
}

/// Returns the account, address and language to mail to, or `None` if the account is disabled or
/// has switched off mails of this kind.
async fn mail_recipient(
    db: &mut Connection,
    id: AccountId,
    target: &NotificationTarget,
) -> Result<Option<(Option<AccountId>, EmailAddress, Locale)>, DbError> {
    let account = match account::by_ids(db, &[id]).await {
        // An account that cannot be read must not block the mail of others.
        Err(DbError::Value(cause)) => {
            tracing::error!(
                account_id = %id.0, cause,
                "reading an account failed; it is not mailed"
            );
            None
        }
        found => found?.into_iter().next().filter(|account| account.disabled_at.is_none()),
    };
    let Some(account) = account else { return Ok(None) };
    let enabled = preferences::of_account(db, id).await?.wants(target.kind);
    Ok(enabled.then_some((Some(id), account.email, account.locale)))
}

impl Context {
    async fn load(db: &mut Connection, events: &[FeedEvent]) -> Result<Self, DbError> {
        let subjects = events.iter().filter_map(|event| event.event.ticket()).collect::<Vec<_>>();
        let ids = subjects.iter().map(|ticket| ticket.id).collect::<Vec<_>>();
        if ids.is_empty() {
            return Ok(Self { tickets: HashMap::new(), categories: HashMap::new() });
        }
        let tickets = ticket::by_ids(db, TicketScope::All, &ids).await?.into_iter();
        let mut tickets = tickets.map(|ticket| (ticket.id, ticket)).collect::<HashMap<_, _>>();
        let shared = subjects.iter().filter(|ticket| !ticket.participants.is_empty());
        let shared = shared.map(|ticket| ticket.id).collect::<Vec<_>>();
        if !shared.is_empty() {
            // Removing a participant deletes their notifications of the ticket. The lock makes that
            // wait until the notifications planned here are stored, so that it deletes them too.
            let locked = ticket::lock_shared(db, &shared).await?;
            tickets.extend(locked.into_iter().map(|ticket| (ticket.id, ticket)));
        }
        let categories = category::all(db).await?.into_iter();
        Ok(Self {
            tickets,
            categories: categories.map(|category| (category.id, category)).collect(),
        })
    }
}
