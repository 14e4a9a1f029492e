//! The check of the locks that sessions of Ticketwire wait for.

use std::{
    collections::HashSet,
    fmt::Write as _,
    time::{Duration, Instant},
};

use tokio::time;

use super::check::{LATE, LIMIT, Problem, Report, cannot_tell, too_late};
use crate::{
    cli::output::CliResult,
    db::{
        Database, DbError,
        monitor::{self, AUTOVACUUM, Blocker},
    },
};

/// For how long, in seconds, a session may wait. Those of Ticketwire hold their locks for milliseconds,
/// and a wait that reaches ten seconds ends with an error.
const MAX_WAIT: f64 = 3.0;
/// For how long waits are watched that may grow too long.
const WATCH: Duration = Duration::from_secs(4);
const BETWEEN_LOOKS: Duration = Duration::from_millis(500);

/// What was seen of sessions that block.
struct Seen {
    /// All of the last look.
    now: Vec<Blocker>,
    /// Those that others have waited for too long for, in two looks. Where many change the same row, it is
    /// another one each time, and none is at fault.
    lasting: Vec<Blocker>,
}

/// Checks whether sessions block those of Ticketwire for too long, and returns them.
pub(super) async fn check(database: &Database, report: &mut Report) -> CliResult<Vec<Blocker>> {
    let (checked, lasting) = match time::timeout(LIMIT, watch(database)).await {
        Err(_) => (Err(too_late(LATE.0, LATE.1)), vec![]),
        Ok(Err(error)) => (Err(cannot_tell(error)), vec![]),
        Ok(Ok(Seen { lasting, .. })) if !lasting.is_empty() => {
            (Err(Problem::new(describe(&lasting), remedy(&lasting))), lasting)
        }
        Ok(Ok(Seen { now, lasting })) if now.is_empty() => {
            (Ok("no session of Ticketwire waits for another one".to_owned()), lasting)
        }
        Ok(Ok(Seen { now, lasting })) => {
            (Ok(format!("for moments only: {}", describe(&now))), lasting)
        }
    };
    report.add("locks", checked)?;
    Ok(lasting)
}

/// Looks for sessions that block: until none does, or one does so for too long, and for [`WATCH`] at most.
async fn watch(database: &Database) -> Result<Seen, DbError> {
    let began = Instant::now();
    let mut long_before = HashSet::new();
    loop {
        let now = monitor::blockers(&mut *database.read().await?).await?;
        let long = now.iter().filter(|blocker| blocker.waited > MAX_WAIT).cloned();
        let (lasting, new) =
            long.partition::<Vec<_>, _>(|blocker| long_before.contains(&blocker.pid));
        if now.is_empty() || !lasting.is_empty() || began.elapsed() > WATCH {
            return Ok(Seen { now, lasting });
        }
        long_before = new.iter().map(|blocker| blocker.pid).collect();
        time::sleep(BETWEEN_LOOKS).await;
    }
}

/// Describes what blocks, and for how long.
fn describe(blockers: &[Blocker]) -> String {
    let one = |blocker: &Blocker| {
        let Blocker { pid, program, state, waiting, waited, .. } = blocker;
        let mut text = match pid {
            0 => "a prepared transaction".to_owned(),
            pid => format!("the session with the pid {pid}"),
        };
        let details = [program.as_str(), state].into_iter().filter(|detail| !detail.is_empty());
        let details = details.collect::<Vec<_>>().join(", ");
        if !details.is_empty() {
            let _ = write!(text, " ({details})");
        }
        let noun = if *waiting == 1 { "session" } else { "sessions" };
        format!("{text} blocks {waiting} {noun} of Ticketwire for up to {waited:.1} seconds")
    };
    blockers.iter().map(one).collect::<Vec<_>>().join("; ")
}

/// Says how to end what blocks.
pub(super) fn remedy(blockers: &[Blocker]) -> String {
    let own = blockers.iter().any(|blocker| blocker.is_own);
    let own = own.then(|| {
        "let a migration, a restore or another command of Ticketwire end that is under way"
            .to_owned()
    });
    let (vacuums, others): (Vec<_>, Vec<_>) =
        blockers.iter().partition(|blocker| blocker.program == AUTOVACUUM);
    let vacuum = (!vacuums.is_empty())
        .then(|| "let the autovacuum worker finish: Postgres would start it again".to_owned());
    let end = |blocker: &Blocker| match blocker.pid {
        0 => "`ROLLBACK PREPARED` with the `gid` of `SELECT * FROM pg_prepared_xacts`".to_owned(),
        pid => format!("`SELECT pg_terminate_backend({pid})`"),
    };
    let commands = others.into_iter().map(end).collect::<Vec<_>>().join(", ");
    let ended = (!commands.is_empty())
        .then(|| format!("end what blocks, as its role or as an administrator: {commands}"));
    own.into_iter().chain(vacuum).chain(ended).collect::<Vec<_>>().join("; then ")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn blocker(pid: i32, program: &str, state: &str, is_own: bool) -> Blocker {
        let (program, state) = (program.into(), state.into());
        Blocker { pid, program, state, is_own, waiting: 1, waited: 4.0 }
    }

    #[test]
    fn what_would_start_again_or_is_our_own_is_not_to_be_ended_first() {
        let forgotten = blocker(7, "psql", "idle in transaction", false);
        assert_eq!(
            describe(std::slice::from_ref(&forgotten)),
            "the session with the pid 7 (psql, idle in transaction) blocks 1 session of Ticketwire for \
             up to 4.0 seconds"
        );
        let end =
            "end what blocks, as its role or as an administrator: `SELECT pg_terminate_backend(7)`";
        assert_eq!(remedy(std::slice::from_ref(&forgotten)), end);
        let vacuum = blocker(8, AUTOVACUUM, "active", false);
        let wait = "let the autovacuum worker finish: Postgres would start it again";
        assert_eq!(remedy(std::slice::from_ref(&vacuum)), wait);
        assert_eq!(remedy(&[forgotten, vacuum]), format!("{wait}; then {end}"));
        let own = remedy(&[blocker(9, "ticketwire", "active", true)]);
        assert!(own.starts_with("let a migration, a restore or another command"), "{own}");
    }
}
