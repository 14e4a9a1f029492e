//! The checks of the database and of what it knows.

use super::check::{Check, LIMIT, Problem, Report};
use crate::{
    app::{self, ServerDatabase, mail, nodes},
    cli::{mail::state_name, output::CliResult},
    config::Config,
    db::{
        Database, DbError, consumer, delivery, feed, installation, migrations,
        monitor::{self, Backlog, DatabaseState},
        node, set_aside,
    },
};

/// The oldest supported version of Postgres, as `server_version_num`.
const MIN_VERSION: i64 = 140_000;
/// The age, in seconds, of an unprocessed event at which its consumer is stuck. Consumers need less
/// than one.
const STUCK: f64 = 60.0;
/// The share of the server's connections, in percent, that may be open.
const MAX_USED: i64 = 90;

/// Checks the database.
pub(super) async fn check(
    config: &Config,
    database: &ServerDatabase,
    report: &mut Report,
) -> CliResult {
    let pool = match connect(config, database).await {
        Err(error) => return report.add("database", Err(unreachable(error))),
        Ok(pool) => pool,
    };
    report.add("database", Ok("connected".into()))?;
    check_server(&pool, report).await?;
    report.run("migrations", LIMIT, check_migrations(&pool)).await?;
    report.run("clock", LIMIT, check_clock(&pool)).await?;
    report.run("sealing keys", LIMIT, check_sealing_keys(config, &pool)).await?;
    report.run("mail setting", LIMIT, check_mail_setting(&pool)).await?;
    report.run("mail queue", LIMIT, check_queue(&pool)).await?;
    report.run("failed mails", LIMIT, check_failed_mails(&pool)).await?;
    report.run("consumers", LIMIT, check_consumers(&pool)).await?;
    report.run("events", LIMIT, check_set_aside(&pool)).await?;
    report.run("staff addresses", LIMIT, check_staff_addresses(config, &pool)).await?;
    pool.close();
    Ok(())
}

/// Returns the problem of a database that cannot be used.
pub(super) fn unreachable(error: impl std::fmt::Display) -> Problem {
    Problem::new(error).fix("start Postgres, or correct `database.url` (DATABASE_URL)")
}

async fn connect(config: &Config, database: &ServerDatabase) -> Result<Database, DbError> {
    let pool = database.connect(config)?;
    pool.ping().await?;
    Ok(pool)
}

async fn check_server(database: &Database, report: &mut Report) -> CliResult {
    let state = async { monitor::database_state(&mut *database.read().await?).await };
    let state = match state.await {
        Ok(state) => state,
        Err(error) => return report.add("postgres", Err(Problem::new(error))),
    };
    report.add("postgres", check_version(&state))?;
    report.add("extensions", check_extensions(&state))?;
    report.add("connections", check_connections(&state))
}

fn check_version(state: &DatabaseState) -> Check {
    let version = format!("version {}", state.version);
    if state.version_number >= MIN_VERSION {
        return Ok(version);
    }
    Err(Problem::new(format!("{version} is too old"))
        .fix("upgrade Postgres to version 14 or newer"))
}

fn check_extensions(state: &DatabaseState) -> Check {
    if state.has_trigrams {
        return Ok("pg_trgm".into());
    }
    Err(Problem::new("pg_trgm is missing, so the search fails").fix(
        "run `CREATE EXTENSION pg_trgm` in this database as an administrator; if Postgres doesn't \
         know it, install its contrib package (postgresql-contrib) first. If it was dropped, its \
         indexes are gone too: restore the database",
    ))
}

fn check_connections(state: &DatabaseState) -> Check {
    let DatabaseState { connections, max_connections, .. } = state;
    let used = format!("{connections} of {max_connections} are open");
    if connections * 100 <= max_connections * MAX_USED {
        return Ok(used);
    }
    Err(Problem::new(format!("{used}: Postgres is about to refuse connections"))
        .fix("raise `max_connections` of Postgres, or lower `database.pool_size` on the nodes"))
}

async fn check_migrations(database: &Database) -> Check {
    match migrations::pending(database).await {
        Ok(names) if names.is_empty() => Ok("up to date".into()),
        Ok(names) => {
            let names = names.join(", ");
            Err(Problem::new(format!("run `ticketwire migrate`; pending: {names}"))
                .fix("ticketwire migrate"))
        }
        Err(error) => Err(Problem::new(error)),
    }
}

async fn check_clock(database: &Database) -> Check {
    let now = async { node::clock(&mut *database.read().await?).await };
    let now = now.await.map_err(Problem::new)?;
    let offset = (app::ambient().now() - now).as_seconds_f64();
    if offset.abs() <= nodes::MAX_CLOCK_OFFSET {
        return Ok("the same as that of the database".into());
    }
    let direction = if offset > 0.0 { "ahead of" } else { "behind" };
    let seconds = offset.abs().round();
    Err(Problem::new(format!(
        "this machine is {seconds} seconds {direction} the database: codes of authenticators and \
         links expire early or late"
    ))
    .fix("synchronise both clocks by NTP, for example `timedatectl set-ntp true`"))
}

async fn check_sealing_keys(config: &Config, database: &Database) -> Check {
    let checked = app::check_sealing_keys(config, database, &app::ambient()).await;
    checked.map(|()| "those of this database".into()).map_err(|error| {
        Problem::new(error).fix(
            "set `security.sealing_keys` to the former keys, or, if they are lost, run `ticketwire \
             accept-sealing-keys`",
        )
    })
}

async fn check_queue(database: &Database) -> Check {
    let read = async {
        let mut connection = database.read().await?;
        let notified_up_to = consumer::offset(&mut connection, consumer::NOTIFICATIONS).await?;
        let unplanned = feed::head(&mut connection).await? - notified_up_to;
        let next = delivery::next_due(&mut connection).await?;
        Ok::<_, DbError>((unplanned, next))
    };
    let (unplanned, next) = read.await.map_err(Problem::new)?;
    let next = match next {
        None => "empty".to_owned(),
        Some(due) => format!("next mail due at {due}"),
    };
    Ok(match unplanned {
        1 => format!("{next}; 1 event is not planned yet"),
        count => format!("{next}; {count} events are not planned yet"),
    })
}

/// Checks how far the sequencer and the consumers of the feed are behind.
async fn check_consumers(database: &Database) -> Check {
    let read = async {
        let state = monitor::database_state(&mut *database.read().await?).await?;
        let nodes = node::live(&mut *database.read().await?).await?.len();
        let backlog = monitor::backlog(database, app::ambient().now()).await?;
        Ok::<_, DbError>((backlog, nodes, state.blocking))
    };
    let (backlog, nodes, blocking) = read.await.map_err(Problem::new)?;
    let stuck = stuck(&backlog);
    if stuck.is_empty() {
        let lags = backlog.lags.iter().map(|(name, lag)| format!("{name} {lag}"));
        let lags = lags.collect::<Vec<_>>().join(", ");
        return Ok(format!("events that are not processed yet: {lags}"));
    }
    let problem = Problem::new(stuck.join("; "));
    Err(if nodes == 0 {
        // Events wait until a node starts.
        problem.fix("no node runs: start one with `ticketwire serve`").warning()
    } else if blocking.is_empty() {
        problem.fix("see the logs of the nodes for \"processing events failed\"; restart one node")
    } else {
        problem.fix(format!(
            "sessions of Postgres with these pids block it: {blocking}. End them with `SELECT \
             pg_terminate_backend(PID)`"
        ))
    })
}

/// Returns what is stuck, with its lag.
fn stuck(backlog: &Backlog) -> Vec<String> {
    let mut stuck = Vec::new();
    if backlog.oldest_pending > STUCK {
        let age = backlog.oldest_pending.round();
        stuck.push(format!("the sequencer is stuck: its oldest event is {age} seconds old"));
    }
    for ((name, age), (_, lag)) in backlog.oldest_unprocessed.iter().zip(&backlog.lags) {
        if *age > STUCK {
            let age = age.round();
            stuck.push(format!(
                "the consumer `{name}` is stuck: {lag} events behind, the oldest {age} seconds old"
            ));
        }
    }
    stuck
}

async fn check_set_aside(database: &Database) -> Check {
    let count = async { set_aside::count(&mut *database.read().await?).await };
    match count.await {
        Ok(0) => Ok("none was set aside".into()),
        Ok(count) => Err(Problem::new(format!(
            "{count} could not be processed and were set aside: see `ticketwire outbox list`, mend \
             the cause, then run `ticketwire outbox retry --all`"
        ))
        .fix("ticketwire outbox list; ticketwire outbox retry --all")),
        Err(error) => Err(Problem::new(error)),
    }
}

async fn check_mail_setting(database: &Database) -> Check {
    let read = async { installation::mail_enabled(&mut *database.read().await?).await };
    Ok(match read.await.map_err(Problem::new)? {
        Some(true) => "on".into(),
        Some(false) => "off: `ticketwire mail enable` switches it on".into(),
        None => "not decided: the first start of a server with mail.smtp_url switches it on".into(),
    })
}

async fn check_failed_mails(database: &Database) -> Check {
    let read = async { delivery::failures(&mut *database.read().await?).await };
    let (failed, waiting_for) = read.await.map_err(Problem::new)?;
    let failed = failed.iter().map(|(state, count)| format!("{} {count}", state_name(*state)));
    let failed = match failed.collect::<Vec<_>>().join(", ") {
        none if none.is_empty() => "none".to_owned(),
        failed => format!("{failed}; see `ticketwire mail list`"),
    };
    Ok(match waiting_for {
        None => failed,
        Some(error) => format!("{failed}; the last error of a mail that is queued: {error}"),
    })
}

async fn check_staff_addresses(config: &Config, database: &Database) -> Check {
    let checked = mail::check_staff_addresses(config, database).await;
    checked
        .map(|()| "their categories exist".into())
        .map_err(|error| Problem::new(error).fix("correct the slugs in `mail.staff_addresses`"))
}
