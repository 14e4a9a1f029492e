//! The part of a server behind its transports: use cases, event log, mail and periodic tasks.

use std::{net::SocketAddr, path::PathBuf, sync::Arc, time::Duration};

use super::{
    error::StartError,
    keys::check_sealing_keys,
    links,
    mail::{self, MailSetup},
    nodes::{self, Heartbeat},
    services::services,
    storage_watch::StorageWatch,
    tasks::Tasks,
};
use crate::{
    config::Config,
    crypto::password::PasswordCost,
    db::Database,
    domain::{actor::Actor, clock::Ambient},
    events::{ConsumerRunner, EventLog, SearchIndex},
    mail as mailing,
    metrics::Metrics,
    service::{self, ServiceError, Services, closing, erasure, former_staff, session, upload},
};

const PRUNE_EVERY: Duration = Duration::from_hours(1);
const CLEAN_EVERY: Duration = Duration::from_mins(15);
const CLOSE_EVERY: Duration = Duration::from_mins(10);
const RETURN_EVERY: Duration = Duration::from_mins(1);
const ERASE_EVERY: Duration = Duration::from_mins(1);
const EXPIRE_EVERY: Duration = Duration::from_secs(5);
/// The period of work that waits until it is needed.
const WHEN_NEEDED: Duration = Duration::ZERO;

/// A running server without its transports.
pub(super) struct Backend {
    pub(super) database: Database,
    /// The database with connections that requests don't use.
    pub(super) background: Database,
    pub(super) heartbeat: Arc<Heartbeat>,
    pub(super) ambient: Ambient,
    pub(super) metrics: Metrics,
    pub(super) services: Services,
    pub(super) log: EventLog,
    pub(super) tasks: Tasks,
    /// The folder of the mails that the server may show on a page, or `None`.
    pub(super) mailbox: Option<PathBuf>,
}

impl Backend {
    /// Builds the parts, opens the event log, and starts the background tasks. `address` is where
    /// the server listens; `database` is up to date.
    pub(super) async fn start(
        config: &Config,
        database: Database,
        ambient: Ambient,
        cost: PasswordCost,
        address: SocketAddr,
    ) -> Result<Self, StartError> {
        check_sealing_keys(config, &database, &ambient).await?;
        mail::check_staff_addresses(config, &database).await?;
        let mail = mail::set_up(config, address, &ambient)?;
        let (metrics, tasks) = (Metrics::default(), Tasks::default());
        let background = database.with_own_connections(config.database.background_connections)?;
        let mut services = services(config, database.clone(), ambient.clone(), cost)?
            .with_background(background.clone())
            .with_handoff_link(&links::handoff(config, address))
            .with_ticket_link(links::ticket(config, address))
            .with_metrics(metrics.clone());
        if let Some(mail) = &mail {
            services = services.with_signing_key(mail.parts.composer.key.clone());
        }
        // Before anybody can see what a restored backup has brought back.
        let erased = erasure::follow_ledger(&Actor::System, &services, false).await;
        erased.map_err(StartError::Erasure)?;
        mail::announce(mail.as_ref(), &database).await?;
        let mailbox = mailbox(mail.as_ref(), address);
        let log = open_log(&database, &background, &ambient, &services, &tasks, &metrics).await?;
        services = services.with_feed_hints(Arc::clone(log.hints()));
        mailing::start(
            &background,
            &ambient,
            &log,
            mail.map(|mail| mail.parts),
            &tasks.tracker,
            &tasks.stop,
            &metrics,
        );
        tasks.spawn(ConsumerRunner::new(&log, Box::new(SearchIndex)).run());
        start_tasks(&tasks, &services.in_background());
        let context = (background.clone(), ambient.clone(), metrics.clone());
        tasks.every(EXPIRE_EVERY, "expiring overdue mails", &context, |context| async move {
            let (database, ambient, metrics) = context;
            mailing::expire_overdue(&database, &ambient, &metrics).await
        });
        let pools = (&database, &background);
        let storage = StorageWatch::new(config, &ambient, &metrics)?;
        let heartbeat = Heartbeat::new(config, pools, &ambient, &metrics, &storage)?;
        let heartbeat = Arc::new(heartbeat);
        tasks.every(nodes::EVERY, "announcing this node", &heartbeat, |heartbeat| async move {
            heartbeat.beat().await
        });
        Ok(Self {
            database,
            background,
            heartbeat,
            ambient,
            metrics,
            services,
            log,
            tasks,
            mailbox,
        })
    }
}

/// Returns the folder of the mails to show on a page, if only this machine can open the page: they
/// contain codes and links that set passwords.
fn mailbox(mail: Option<&MailSetup>, address: SocketAddr) -> Option<PathBuf> {
    let folder = mail?.folder.clone()?;
    address.ip().is_loopback().then_some(folder)
}

async fn open_log(
    database: &Database,
    background: &Database,
    ambient: &Ambient,
    services: &Services,
    tasks: &Tasks,
    metrics: &Metrics,
) -> Result<EventLog, StartError> {
    let services = services.clone();
    let on_event = move |event: &_| services.on_event(event);
    let (database, background) = (database.clone(), background.clone());
    let (ambient, metrics) = (ambient.clone(), metrics.clone());
    let (tracker, stop) = (&tasks.tracker, &tasks.stop);
    Ok(EventLog::open(database, background, ambient, tracker, stop, on_event, metrics).await?)
}

fn start_tasks(tasks: &Tasks, services: &Services) {
    tasks.every(PRUNE_EVERY, "pruning expired rows", services, |services| async move {
        service::prune(&services).await
    });
    tasks.every(CLEAN_EVERY, "deleting unused uploads", services, |services| async move {
        upload::delete_unattached(&services).await
    });
    tasks.every(CLOSE_EVERY, "closing resolved tickets", services, |services| async move {
        let closed = closing::close_resolved(&Actor::System, &services).await?;
        if closed > 0 {
            tracing::info!(closed, "closed resolved tickets");
        }
        Ok::<_, ServiceError>(())
    });
    tasks.every(
        RETURN_EVERY,
        "returning the tickets of former staff",
        services,
        |services| async move {
            former_staff::return_tickets(&Actor::System, &services).await.map(drop)
        },
    );
    // Those that somebody has lost access to through this node. The task above returns those of other
    // nodes and of the command line, and repeats what fails.
    tasks.every(WHEN_NEEDED, "returning tickets at once", services, |services| async move {
        former_staff::until_needed(&services).await;
        former_staff::return_tickets(&Actor::System, &services).await.map(drop)
    });
    tasks.every(ERASE_EVERY, "erasing accounts", services, |services| async move {
        let followed = erasure::follow_ledger(&Actor::System, &services, false).await;
        // Also if the ledger cannot be used.
        erasure::finish(&Actor::System, &services).await?;
        followed.map(drop)
    });
    // As soon as an account is erased through this node, like above.
    tasks.every(WHEN_NEEDED, "erasing at once", services, |services| async move {
        erasure::until_needed(&services).await;
        erasure::finish(&Actor::System, &services).await
    });
    tasks.every(
        WHEN_NEEDED,
        "saving when sessions were last used",
        services,
        |services| async move { session::save_last_used(&services).await },
    );
}
