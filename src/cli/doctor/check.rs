//! The result of a check, and the report of all checks.

use std::{fmt::Display, time::Duration};

use serde::Serialize;
use tokio::time;

use crate::{
    cli::output::{CliResult, print},
    db::DbError,
};

/// How long most checks may take.
pub(super) const LIMIT: Duration = Duration::from_secs(10);

/// The limit of a check, and what to do if the database takes longer.
pub(super) const LATE: (Duration, &str) = (LIMIT, HELD_UP);
/// What to do if a statement waited for too long.
const HELD_UP: &str = "end the session that the check \"locks\" names; if it names none, find what keeps \
    the database busy: `SELECT pid, wait_event_type, query FROM pg_stat_activity`";
/// The state in words, or the problem.
pub(super) type Check = Result<String, Problem>;

/// What is wrong, and what to do.
#[derive(Debug)]
pub(super) struct Problem {
    detail: String,
    /// The command or setting that mends it.
    fix: String,
    is_warning: bool,
}

impl Problem {
    /// Creates a problem, with the command or setting that mends it.
    pub(super) fn new(detail: impl Display, fix: impl Display) -> Self {
        Self { detail: detail.to_string(), fix: fix.to_string(), is_warning: false }
    }

    /// Adds another problem that the same check has found.
    pub(super) fn and(self, other: Self) -> Self {
        Self {
            detail: format!("{}; {}", self.detail, other.detail),
            fix: format!("{}; {}", self.fix, other.fix),
            is_warning: self.is_warning && other.is_warning,
        }
    }

    /// Says the state before the problem.
    pub(super) fn after(self, state: &str) -> Self {
        Self { detail: format!("{state}; {}", self.detail), ..self }
    }

    /// Makes it a warning, which is no failure.
    pub(super) fn warning(self) -> Self {
        Self { is_warning: true, ..self }
    }
}

/// Returns the problem of a check that did not end within its limit.
pub(super) fn too_late(limit: Duration, fix: &str) -> Problem {
    Problem::new(format!("no answer within {} seconds", limit.as_secs()), fix)
}

/// Returns the problem of a check that the database cannot answer.
pub(super) fn cannot_tell(error: DbError) -> Problem {
    let fix = if error.was_cancelled() {
        HELD_UP
    } else {
        "run `ticketwire migrate` if migrations are pending; otherwise see the log of Postgres"
    };
    Problem::new(format!("cannot tell: {error}"), fix)
}

/// One line of the report.
#[derive(Serialize)]
struct Line {
    name: String,
    status: &'static str,
    detail: String,
    fix: Option<String>,
}

/// The report as JSON. Its keys are documented in docs/OPERATIONS.md and stay the same.
#[derive(Serialize)]
struct Document<'r> {
    version: &'static str,
    ok: bool,
    failed: usize,
    warnings: usize,
    checks: &'r [Line],
}

/// The results of the checks, printed one by one or at the end as JSON.
pub(super) struct Report {
    json: bool,
    lines: Vec<Line>,
}

impl Report {
    pub(super) fn new(json: bool) -> Self {
        Self { json, lines: Vec::new() }
    }

    /// Runs a check within a limit of time and adds its result. `late` says what to do if it takes
    /// longer.
    pub(super) async fn run(
        &mut self,
        subject: &str,
        (limit, late): (Duration, &str),
        check: impl Future<Output = Check>,
    ) -> CliResult {
        let checked = time::timeout(limit, check).await;
        self.add(subject, checked.unwrap_or_else(|_| Err(too_late(limit, late))))
    }

    /// Adds the result of a check.
    pub(super) fn add(&mut self, subject: &str, check: Check) -> CliResult {
        let (status, detail, fix) = match check {
            Ok(detail) => ("ok", detail, None),
            Err(Problem { detail, fix, is_warning }) => {
                (if is_warning { "warning" } else { "failed" }, detail, Some(fix))
            }
        };
        if !self.json {
            let label = match status {
                "ok" => "ok     ",
                "warning" => "WARNING",
                _ => "FAILED ",
            };
            let fix = fix.as_ref().map(|fix| format!("        To do: {fix}\n"));
            print(&format!("{label} {subject}: {detail}\n{}", fix.unwrap_or_default()))?;
        }
        let name = subject.replace([' ', '.'], "_");
        self.lines.push(Line { name, status, detail, fix });
        Ok(())
    }

    /// Prints the report as JSON, if it was asked for.
    ///
    /// # Errors
    /// A check failed.
    pub(super) fn finish(self) -> CliResult {
        let count = |status| self.lines.iter().filter(|line| line.status == status).count();
        let (failed, warnings) = (count("failed"), count("warning"));
        if self.json {
            let version = env!("CARGO_PKG_VERSION");
            let (ok, checks) = (failed == 0, self.lines.as_slice());
            let document = Document { version, ok, failed, warnings, checks };
            print(&format!("{}\n", serde_json::to_string_pretty(&document)?))?;
        }
        match failed {
            0 => Ok(()),
            1 => Err("1 check failed".into()),
            failed => Err(format!("{failed} checks failed").into()),
        }
    }
}
