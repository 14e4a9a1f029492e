//! Reads the event log and plans notifications and mails.
//!
//! It is a consumer of the feed: see [`ConsumerRunner`](crate::events::ConsumerRunner).

use std::{collections::HashMap, sync::Arc, time::Duration};

use chrono::TimeDelta;
use futures_util::future::BoxFuture;
use tokio::sync::Notify;

use super::staff_addresses::StaffAddresses;
use crate::{
    db::{
        Blame, Connection, DbError, account, category,
        consumer::NOTIFICATIONS,
        delivery::{self, NewDelivery},
        installation, notification, preferences, ticket, unsubscription,
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
    events::{Consumer, EventLog},
};

/// How long to wait between two batches. Notifications come this much later at most.
const PAUSE: Duration = Duration::from_millis(100);

pub(super) struct Planner {
    pub(super) ambient: Ambient,
    pub(super) log: EventLog,
    /// Wakes this node's senders.
    pub(super) planned: Arc<Notify>,
}

/// The tickets that a batch of events is about, all categories, and how mails are planned.
struct Context {
    tickets: HashMap<TicketId, Ticket>,
    categories: HashMap<CategoryId, Category>,
    /// The time within which events join one mail, and the staff addresses. `None` if no mail goes
    /// out.
    mail: Option<(TimeDelta, StaffAddresses)>,
}

impl Consumer for Planner {
    fn name(&self) -> &'static str {
        NOTIFICATIONS
    }

    fn pause(&self) -> Duration {
        PAUSE
    }

    fn process<'a>(
        &'a self,
        db: &'a mut Connection,
        events: &'a [Arc<FeedEvent>],
    ) -> BoxFuture<'a, Result<(), DbError>> {
        Box::pin(async move {
            let context = Context::load(db, events).await?;
            let mut new = Vec::new();
            for event in events {
                self.plan(db, &context, event, &mut new).await?;
            }
            notification::insert_all(db, &new).await
        })
    }

    fn advanced(&self, up_to: i64, processed: bool) -> BoxFuture<'_, Result<(), DbError>> {
        Box::pin(async move {
            if processed {
                self.planned.notify_waiters();
            }
            self.log.announce_notifications(up_to, processed).await
        })
    }
}

impl Planner {
    /// Plans the mails of an event, and adds its notifications to those that are to be stored.
    async fn plan(
        &self,
        db: &mut Connection,
        context: &Context,
        event: &FeedEvent,
        notifications: &mut Vec<Notification>,
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
                notifications.push(self.notification(account, ticket, &target, event));
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
        let Some((window, staff)) = &context.mail else { return Ok(()) };
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
        // An account that this version cannot read must not block the mail of others.
        Err(error) if error.blame() == Blame::Item => {
            tracing::error!(
                account_id = %id.0, error = error.without_values(),
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

/// Returns how mails are planned, or `None` if no mail goes out. That is the installation's
/// setting, not this node's.
async fn mail_rules(db: &mut Connection) -> Result<Option<(TimeDelta, StaffAddresses)>, DbError> {
    let Some(rules) = installation::mail_rules(db).await? else { return Ok(None) };
    let staff = StaffAddresses::parse(&rules.staff_addresses, rules.staff_locale);
    let staff = staff.unwrap_or_else(|problem| {
        // A newer version has stored them: they must not block the mail of others.
        tracing::error!(problem, "the stored staff addresses cannot be read; they are not mailed");
        StaffAddresses::default()
    });
    Ok(Some((rules.window, staff)))
}

impl Context {
    async fn load(db: &mut Connection, events: &[Arc<FeedEvent>]) -> Result<Self, DbError> {
        let subjects = events.iter().filter_map(|event| event.event.ticket()).collect::<Vec<_>>();
        let ids = subjects.iter().map(|ticket| ticket.id).collect::<Vec<_>>();
        if ids.is_empty() {
            return Ok(Self { tickets: HashMap::new(), categories: HashMap::new(), mail: None });
        }
        let tickets = ticket::by_ids(db, TicketScope::All, &ids).await?.into_iter();
        let mut tickets = tickets.map(|ticket| (ticket.id, ticket)).collect::<HashMap<_, _>>();
        let shared = subjects.iter().filter(|ticket| !ticket.participants.is_empty());
        let shared = shared.map(|ticket| ticket.id).collect::<Vec<_>>();
        if !shared.is_empty() {
            // Removing a participant deletes their notifications of the ticket. The lock makes that
            // wait until the notifications planned here are stored, so that it deletes them too.
            let locked = ticket::keep_participants(db, &shared).await?;
            tickets.extend(locked.into_iter().map(|ticket| (ticket.id, ticket)));
        }
        let categories = category::all(db).await?.into_iter();
        Ok(Self {
            tickets,
            categories: categories.map(|category| (category.id, category)).collect(),
            mail: mail_rules(db).await?,
        })
    }
}
