//! The check of the locks that sessions of Ticketwire wait for.

use std::{
    fmt::Write as _,
    time::{Duration, Instant},
};

use tokio::time;

use super::check::{LATE, LIMIT, Problem, Report, cannot_tell, too_late};
use crate::{
    cli::output::CliResult,
    db::{
        Database, DbError,
        monitor::{self, Blocker},
    },
};

/// For how long, in seconds, a session may wait. Those of Ticketwire hold their locks for milliseconds,
/// and a wait that reaches ten seconds ends with an error.
const MAX_WAIT: f64 = 3.0;
/// For how long waits are watched that may grow too long.
const WATCH: Duration = Duration::from_secs(4);
const BETWEEN_LOOKS: Duration = Duration::from_millis(200);

/// Checks whether sessions block those of Ticketwire, and returns them.
pub(super) async fn check(database: &Database, report: &mut Report) -> CliResult<Vec<Blocker>> {
    let (checked, blockers) = match time::timeout(LIMIT, watch(database)).await {
        Err(_) => (Err(too_late(LATE.0, LATE.1)), vec![]),
        Ok(Err(error)) => (Err(cannot_tell(error)), vec![]),
        Ok(Ok(blockers)) if blockers.is_empty() => {
            (Ok("no session of Ticketwire waits for another one".to_owned()), blockers)
        }
        Ok(Ok(blockers)) if blockers.iter().any(is_too_long) => {
            (Err(Problem::new(describe(&blockers), remedy(&blockers))), blockers)
        }
        Ok(Ok(blockers)) => (Ok(format!("for moments only: {}", describe(&blockers))), blockers),
    };
    report.add("locks", checked)?;
    Ok(blockers)
}

/// Looks for sessions that block, until there are none, one has waited for too long, or none has while
/// the time passed.
async fn watch(database: &Database) -> Result<Vec<Blocker>, DbError> {
    let began = Instant::now();
    loop {
        let blockers = monitor::blockers(&mut *database.read().await?).await?;
        if blockers.is_empty() || blockers.iter().any(is_too_long) || began.elapsed() > WATCH {
            return Ok(blockers);
        }
        time::sleep(BETWEEN_LOOKS).await;
    }
}

fn is_too_long(blocker: &Blocker) -> bool {
    blocker.waited > MAX_WAIT
}

/// Describes what blocks, and for how long.
fn describe(blockers: &[Blocker]) -> String {
    let one = |blocker: &Blocker| {
        let Blocker { pid, program, state, waiting, waited, .. } = blocker;
        let mut text = match pid {
            0 => "a prepared transaction".to_owned(),
            pid => format!("the session with the pid {pid}"),
        };
        for detail in [program, state].into_iter().filter(|detail| !detail.is_empty()) {
            let _ = write!(text, ", {detail},");
        }
        let noun = if *waiting == 1 { "session" } else { "sessions" };
        format!("{text} blocks {waiting} {noun} of Ticketwire for up to {waited:.1} seconds")
    };
    blockers.iter().map(one).collect::<Vec<_>>().join("; ")
}

/// Says how to end what blocks.
pub(super) fn remedy(blockers: &[Blocker]) -> String {
    let end = |blocker: &Blocker| match blocker.pid {
        0 => "`ROLLBACK PREPARED` with the `gid` of `SELECT * FROM pg_prepared_xacts`".to_owned(),
        pid => format!("`SELECT pg_terminate_backend({pid})`"),
    };
    let commands = blockers.iter().map(end).collect::<Vec<_>>().join(", ");
    let own = if blockers.iter().any(|blocker| blocker.is_own) {
        "; first let a migration, a restore or another command of Ticketwire end that is under way"
    } else {
        ""
    };
    format!("end what blocks, as its role or as an administrator: {commands}{own}")
}
