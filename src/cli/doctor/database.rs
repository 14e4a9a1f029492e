//! The checks of the database and of what it knows.

use chrono::TimeDelta;
use tokio::time;

use super::{
    check::{Check, LATE, LIMIT, Problem, Report, cannot_tell, too_late},
    locks,
};
use crate::{
    app::{self, ServerDatabase, StartError, mail, nodes},
    cli::{mail::state_name, output::CliResult},
    config::Config,
    db::{
        Database, DbError, access, consumer, delivery, feed, installation,
        migrations::{self, Comparison},
        monitor::{self, Backlog, Blocker, DatabaseState},
        node, restore, set_aside, trigrams,
    },
};

/// The oldest supported version of Postgres, as `server_version_num`.
const MIN_VERSION: i64 = 140_000;
/// The age, in seconds, of an unprocessed event at which its consumer is stuck. Consumers need less
/// than one.
const STUCK: f64 = 60.0;
/// For how long a mail may be due.
const OVERDUE: TimeDelta = TimeDelta::hours(1);
/// How old the last backup may be: a daily one that takes up to 12 hours. Its age counts from its start,
/// and it is known at its end.
const BACKUP_AGE: TimeDelta = TimeDelta::hours(36);
/// How far the time of the last backup may lie in the future: clocks differ.
const BACKUP_AHEAD: TimeDelta = TimeDelta::minutes(10);
/// For how long a mail that failed is a problem.
const RECENT: TimeDelta = TimeDelta::days(1);
/// The connections of a node beside its pools: LISTEN, metrics and `/readyz`.
const CONNECTIONS_APART: usize = 3;
/// The share of the server's connections, in percent, that may be open.
const MAX_USED: i64 = 90;

/// Checks the database. Returns the sessions that block Ticketwire's, or `None` if it cannot be reached or
/// has no schema, without which no check of its content says anything.
pub(super) async fn check(
    config: &Config,
    database: &ServerDatabase,
    report: &mut Report,
) -> CliResult<Option<Vec<Blocker>>> {
    let connected = time::timeout(LIMIT, connect(config, database)).await;
    let pool = match connected {
        Ok(Ok(pool)) => pool,
        Ok(Err(error)) => return refuse(unreachable(config, error), report),
        Err(_) => return refuse(unreachable(config, "it does not answer"), report),
    };
    report.run("database", LATE, check_writable(&pool)).await?;
    let schema = time::timeout(LIMIT, migrations::compare(&pool)).await;
    let schema = schema.unwrap_or_else(|_| Err(DbError::Unavailable("no answer".into())));
    let is_empty = matches!(&schema, Ok(schema) if schema.is_empty);
    check_server(config, &pool, schema.as_ref().ok(), report).await?;
    let blockers = locks::check(&pool, report).await?;
    report.add("migrations", schema.map_err(cannot_tell).and_then(|it| check_migrations(&it)))?;
    if !is_empty {
        check_content(config, &pool, &blockers, report).await?;
    }
    pool.close();
    Ok((!is_empty).then_some(blockers))
}

fn refuse(problem: Problem, report: &mut Report) -> CliResult<Option<Vec<Blocker>>> {
    report.add("database", Err(problem)).map(|()| None)
}

/// Checks what a database with a schema contains.
async fn check_content(
    config: &Config,
    pool: &Database,
    blockers: &[Blocker],
    report: &mut Report,
) -> CliResult {
    report.run("rights", LATE, check_rights(pool)).await?;
    report.run("restore", LATE, check_restore(pool)).await?;
    report.run("backup", LATE, check_backup(pool)).await?;
    report.run("clock", LATE, check_clock(pool)).await?;
    report.run("sealing keys", LATE, check_sealing_keys(config, pool)).await?;
    report.run("mail setting", LATE, check_mail_setting(pool)).await?;
    report.run("mail queue", LATE, check_queue(pool)).await?;
    report.run("failed mails", LATE, check_failed_mails(pool)).await?;
    report.run("consumers", LATE, check_consumers(pool, blockers)).await?;
    report.run("events", LATE, check_set_aside(pool)).await?;
    report.run("staff addresses", LATE, check_staff_addresses(config, pool)).await
}

/// Returns the problem of a database that cannot be used.
pub(super) fn unreachable(config: &Config, error: impl std::fmt::Display) -> Problem {
    if config.embeds_database() {
        let folder = config.data_dir.display();
        let fix = format!(
            "mend what the message names; the embedded Postgres writes its log to {folder}"
        );
        return Problem::new(error, fix);
    }
    let fix = "start Postgres, mend what it answers, or correct `database.url` (DATABASE_URL)";
    Problem::new(error, fix)
}

async fn connect(config: &Config, database: &ServerDatabase) -> Result<Database, DbError> {
    let pool = database.connect(config)?;
    pool.ping().await?;
    Ok(pool)
}

async fn check_writable(database: &Database) -> Check {
    if !access::is_read_only(database).await.map_err(cannot_tell)? {
        return Ok("connected".into());
    }
    Err(Problem::new(
        "the database is read-only, so all changes fail: it is a standby, or was made read-only",
        "name the primary in `database.url` (DATABASE_URL), or make room on its disk and have it accept \
         changes: `SHOW default_transaction_read_only`",
    ))
}

async fn check_rights(database: &Database) -> Check {
    let lacking = async { access::without_rights(&mut *database.read().await?).await };
    let lacking = lacking.await.map_err(cannot_tell)?;
    if lacking.is_empty() {
        return Ok("the role may read and change everything".into());
    }
    Err(Problem::new(
        format!("the role of `database.url` lacks rights on {}", lacking.join(", ")),
        "as the owner: `GRANT SELECT, INSERT, UPDATE, DELETE ON ALL TABLES IN SCHEMA public TO` and `GRANT \
         USAGE, SELECT, UPDATE ON ALL SEQUENCES IN SCHEMA public TO` the role",
    ))
}

async fn check_server(
    config: &Config,
    database: &Database,
    schema: Option<&Comparison>,
    report: &mut Report,
) -> CliResult {
    let state = async { monitor::database_state(&mut *database.read().await?).await };
    let state = match time::timeout(LIMIT, state).await {
        Ok(Ok(state)) => state,
        Ok(Err(error)) => return report.add("postgres", Err(cannot_tell(error))),
        Err(_) => return report.add("postgres", Err(too_late(LATE.0, LATE.1))),
    };
    report.add("postgres", check_version(&state))?;
    // The first migration creates the extension.
    if !schema.is_some_and(|schema| schema.is_empty) {
        report.run("extensions", LATE, check_extensions(database, &state, schema)).await?;
    }
    report.add("encoding", check_encoding(&state))?;
    report.add("connections", check_connections(config, &state))
}

fn check_encoding(state: &DatabaseState) -> Check {
    let DatabaseState { encoding, folds_case, .. } = state;
    if encoding == "UTF8" && *folds_case {
        return Ok(encoding.clone());
    }
    let problem = if encoding == "UTF8" {
        "the locale of the database ignores Cyrillic: the search finds words only as they are written"
            .to_owned()
    } else {
        format!("the encoding of the database is {encoding}: not all texts can be stored")
    };
    let fix = "create a database with `createdb --template=template0 --encoding=UTF8 --locale=C.UTF-8` \
        and restore a backup into it: neither can be changed later";
    Err(Problem::new(problem, fix).warning())
}

fn check_version(state: &DatabaseState) -> Check {
    let version = format!("version {}", state.version);
    if state.version_number >= MIN_VERSION {
        return Ok(version);
    }
    let fix = "upgrade Postgres to version 14 or newer";
    Err(Problem::new(format!("{version} is too old"), fix))
}

async fn check_extensions(
    database: &Database,
    state: &DatabaseState,
    schema: Option<&Comparison>,
) -> Check {
    if !state.has_trigrams {
        return Err(Problem::new(
            "pg_trgm is missing, so the search fails",
            "run `CREATE EXTENSION pg_trgm` in this database as an administrator; if Postgres doesn't \
             know it, install its contrib package (postgresql-contrib) first. If it was dropped, its \
             indexes are gone too: then run `ticketwire doctor` again, which says how to create them",
        ));
    }
    // Another schema may have other indexes.
    if schema.is_none_or(|it| !(it.pending.is_empty() && it.unknown.is_empty())) {
        return Ok("pg_trgm".into());
    }
    let repairs = async { trigrams::repairs(&mut *database.read().await?).await };
    let repairs = repairs.await.map_err(cannot_tell)?;
    if repairs.is_empty() {
        return Ok("pg_trgm".into());
    }
    let statements = repairs.iter().map(|statement| format!("`{statement}`")).collect::<Vec<_>>();
    Err(Problem::new(
        "indexes of pg_trgm are missing, so the search is slow: they were lost when the extension was \
         dropped",
        format!("run these as the owner of the tables, one by one: {}", statements.join(", ")),
    ))
}

fn check_connections(config: &Config, state: &DatabaseState) -> Check {
    let DatabaseState { connections, max_connections, limited_by, .. } = state;
    let used = format!("{connections} of {max_connections} are open by the limit of {limited_by}");
    let own =
        config.database.pool_size + config.database.background_connections + CONNECTIONS_APART;
    let is_small = i64::try_from(own).unwrap_or(i64::MAX) > *max_connections;
    let is_used = connections * 100 > max_connections * MAX_USED;
    if !is_used && !is_small {
        return Ok(used);
    }
    let problem = if is_used {
        format!("{used}: Postgres is about to refuse connections")
    } else {
        format!("{used}, but a node alone opens up to {own}")
    };
    let raise = match limited_by.as_str() {
        "the role" => "raise it with `ALTER ROLE … CONNECTION LIMIT`",
        "the database" => "raise it with `ALTER DATABASE … CONNECTION LIMIT`",
        _ => "raise `max_connections` of Postgres",
    };
    let fix = format!("{raise}, or lower `database.pool_size` on the nodes");
    let problem = Problem::new(problem, fix);
    Err(if is_used { problem } else { problem.warning() })
}

fn check_migrations(schema: &Comparison) -> Check {
    if schema.is_empty {
        let fix = "run `ticketwire migrate`, or start the server";
        return Err(Problem::new(format!("the database is empty: {fix}"), fix));
    }
    if !schema.pending.is_empty() {
        let names = schema.pending.join(", ");
        let pending = format!("run `ticketwire migrate`; pending: {names}");
        return Err(Problem::new(pending, "ticketwire migrate"));
    }
    if schema.unknown.is_empty() {
        return Ok("up to date".into());
    }
    let problem = format!(
        "a newer version of Ticketwire has migrated this database: {}",
        schema.unknown.join(", ")
    );
    Err(Problem::new(problem, "install the version that the newest node runs").warning())
}

async fn check_restore(database: &Database) -> Check {
    if !restore::is_unfinished(database).await.map_err(cannot_tell)? {
        return Ok("none is unfinished".into());
    }
    Err(Problem::new(
        "the restore of a backup into this database was interrupted: no node starts",
        "run `ticketwire restore` with the same backup again",
    ))
}

/// Checks the age of the last backup. Other tools may take backups, so none is no problem.
async fn check_backup(database: &Database) -> Check {
    let read = async {
        let mut connection = database.read().await?;
        let at = installation::last_backup_at(&mut connection).await?;
        Ok::<_, DbError>((at, node::clock(&mut connection).await?))
    };
    let (Some(at), now) = read.await.map_err(cannot_tell)? else {
        return Ok("`ticketwire backup` has taken none; others are not checked".into());
    };
    let age = now - at;
    if age < -BACKUP_AHEAD {
        return Err(Problem::new(
            format!("the last one has the time {at}, which lies in the future: its age is not known"),
            "synchronise the clocks of the database and of the machine that takes backups by NTP, then \
             run `ticketwire backup`",
        )
        .warning());
    }
    let taken = format!("taken at {at}, {} hours ago", age.num_hours());
    if age <= BACKUP_AGE {
        return Ok(taken);
    }
    let fix = "run `ticketwire backup`, and see why the job that takes backups has not";
    Err(Problem::new(format!("the last one was {taken}"), fix).warning())
}

async fn check_clock(database: &Database) -> Check {
    let now = async { node::clock(&mut *database.read().await?).await };
    let now = now.await.map_err(cannot_tell)?;
    let offset = (app::ambient().now() - now).as_seconds_f64();
    if offset.abs() <= nodes::MAX_CLOCK_OFFSET {
        let most = nodes::MAX_CLOCK_OFFSET;
        return Ok(format!(
            "within {most} seconds of that of the database; whether NTP synchronises them is not checked"
        ));
    }
    let direction = if offset > 0.0 { "ahead of" } else { "behind" };
    let seconds = offset.abs().round();
    Err(Problem::new(
        format!(
            "this machine is {seconds} seconds {direction} the database: codes of authenticators \
             and links expire early or late"
        ),
        "synchronise both clocks by NTP, for example `timedatectl set-ntp true`",
    ))
}

async fn check_sealing_keys(config: &Config, database: &Database) -> Check {
    let compared = app::compare_sealing_keys(config, database).await;
    compared.map(|()| "those of this database".into()).map_err(|error| match error {
        StartError::Database(error) => cannot_tell(error),
        // The file of the key is there, and nothing is lost.
        StartError::Unusable { key: "data_dir", .. } => Problem::new(
            error,
            "run this command as the user of the server, or make that user the owner of the file",
        ),
        error => Problem::new(
            error,
            "set `security.sealing_keys` to the former keys, or, if they are lost, run `ticketwire \
             accept-sealing-keys`",
        ),
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
    let (unplanned, next) = read.await.map_err(cannot_tell)?;
    let state = match next {
        None => "no mail to send".to_owned(),
        Some(due) => format!("next mail due at {due}"),
    };
    let state = match unplanned {
        1 => format!("{state}; 1 event is not planned yet"),
        count => format!("{state}; {count} events are not planned yet"),
    };
    match next {
        Some(due) if app::ambient().now() - due > OVERDUE => Err(Problem::new(
            format!("mails are not sent, although they are due: {state}"),
            "start a node with `mail.smtp_url`, mend what the checks \"mail setting\" and \"mail\" \
             say, and look for \"sending a mail\" in the logs",
        )),
        _ => Ok(state),
    }
}

/// Checks how far the sequencer and the consumers of the feed are behind.
async fn check_consumers(database: &Database, blockers: &[Blocker]) -> Check {
    let read = async {
        let nodes = node::live(&mut *database.read().await?).await?.len();
        let backlog = monitor::backlog(database, app::ambient().now()).await?;
        Ok::<_, DbError>((backlog, nodes))
    };
    let (backlog, nodes) = read.await.map_err(cannot_tell)?;
    let stuck = stuck(&backlog);
    if stuck.is_empty() {
        let lags = backlog.lags.iter().map(|(name, lag)| format!("{name} {lag}"));
        let lags = lags.collect::<Vec<_>>().join(", ");
        return Ok(format!("events that are not processed yet: {lags}"));
    }
    let stuck = stuck.join("; ");
    Err(if nodes == 0 {
        // Events wait until a node starts.
        Problem::new(stuck, "no node runs: start one with `ticketwire serve`").warning()
    } else if blockers.is_empty() {
        let fix = "see the logs of the nodes for \"processing events failed\"; restart one node";
        Problem::new(stuck, fix)
    } else {
        Problem::new(stuck, locks::remedy(blockers))
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
        Ok(count) => Err(Problem::new(
            format!(
                "{count} could not be processed and were set aside: see `ticketwire outbox list`, \
                 mend the cause, then run `ticketwire outbox retry --all`"
            ),
            "ticketwire outbox list; ticketwire outbox retry --all",
        )),
        Err(error) => Err(cannot_tell(error)),
    }
}

async fn check_mail_setting(database: &Database) -> Check {
    let read = async { installation::mail_enabled(&mut *database.read().await?).await };
    Ok(match read.await.map_err(cannot_tell)? {
        Some(true) => "on".into(),
        Some(false) => "off: `ticketwire mail enable` switches it on".into(),
        None => "not decided: the first start of a server with mail.smtp_url switches it on".into(),
    })
}

async fn check_failed_mails(database: &Database) -> Check {
    let since = app::ambient().now() - RECENT;
    let read = async {
        let mut connection = database.read().await?;
        let recent = delivery::failed_since(&mut connection, since).await?;
        Ok::<_, DbError>((delivery::failures(&mut connection).await?, recent))
    };
    let ((failed, waiting_for), recent) = read.await.map_err(cannot_tell)?;
    let failed = failed.iter().map(|(state, count)| format!("{} {count}", state_name(*state)));
    let failed = match failed.collect::<Vec<_>>().join(", ") {
        none if none.is_empty() => "none".to_owned(),
        failed => format!("{failed} (`ticketwire mail list`)"),
    };
    let state = match waiting_for {
        None => failed,
        Some(error) => format!(
            "{failed}; the last error of one that is queued (`ticketwire mail list --state queued`): {error}"
        ),
    };
    let kept = (recent.0 > 0).then(|| {
        Problem::new(
            format!("{} failed within the last day", recent.0),
            "ticketwire mail list; mend the cause; ticketwire mail retry --all --state STATE --since TIME",
        )
    });
    let erased = (recent.1 > 0).then(|| {
        Problem::new(
            format!("{} with codes, links or security notices failed within the last day", recent.1),
            "see their errors; they cannot be queued again, since their content was erased: people ask for \
             another code or link",
        )
        .warning()
    });
    match kept.into_iter().chain(erased).reduce(Problem::and) {
        None => Ok(state),
        Some(problem) => Err(problem.after(&state)),
    }
}

async fn check_staff_addresses(config: &Config, database: &Database) -> Check {
    let checked = mail::check_staff_addresses(config, database).await;
    checked
        .map(|()| "their categories exist".into())
        .map_err(|error| Problem::new(error, "correct the slugs in `mail.staff_addresses`"))
}
