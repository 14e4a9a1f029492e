//! Child processes that cannot outlive this one.
//!
//! A watched command is the child of a small shell whose standard input is a pipe that only this
//! process keeps open. When this process closes the pipe or ends, even by `kill -9`, the shell reads
//! the end of the pipe and stops the command. Stopping on purpose, dropping an unfinished start and
//! crashing therefore work the same way.

use std::{
    ffi::OsStr,
    fs::File,
    io,
    path::Path,
    process::{ExitStatus, Stdio},
    time::Duration,
};

use tokio::process::{Child, ChildStdin, Command};

/// The shell for [`Watched::spawn`]. The caller sets its user, environment and working directory.
pub(super) const SHELL: &str = "/bin/sh";

/// How a watched command is stopped.
#[derive(Debug, Clone, Copy)]
pub(super) enum Stop {
    /// SIGINT, Postgres' fast shutdown, which closes the connections and writes a checkpoint; then
    /// SIGQUIT.
    Fast,
    /// SIGKILL to the command and everything that it has started, for work that is useless
    /// until it is complete.
    Kill,
}

/// How many times SIGINT is sent, every twentieth of a second, before SIGQUIT.
const FAST_TRIES: u32 = 400;

/// The longest time that a watched command may take to stop: for SIGINT, then the 5 seconds after
/// which a Postgres that received SIGQUIT kills its own children, then some slack.
const LONGEST_STOP: Duration = Duration::from_secs(FAST_TRIES as u64 / 20 + 10);

/// The watchdog: two shells, of which one waits for the command and the other for the pipe. `$1` is
/// the number of times to send SIGINT, or 0 for SIGKILL to the whole process group, shells included.
///
/// - The shells ignore the signals that a terminal or an init system sends to all processes: only
///   the pipe decides. The umask lets another user run what npm unpacks.
/// - A shell starts background commands with SIGINT ignored, and it stays ignored until Postgres has
///   installed its own handler. Hence the repetition.
/// - The command is a child of the first shell, so its process id cannot be reused before `wait` has
///   returned. The second shell is then ended by SIGUSR1, even while it sleeps.
/// - Each shell waits for its children, so no zombie is left even if PID 1 does not reap.
const SCRIPT: &str = r#"
trap '' HUP INT QUIT TERM
umask 022
limit=$1
shift
exec 3<&0 </dev/null
"$@" 3<&- &
command=$!
{
    read -r _
    [ "$limit" -gt 0 ] || kill -KILL 0
    trap 'exit 0' USR1
    tries=0
    while [ "$tries" -lt "$limit" ] && kill -INT "$command"; do
        sleep 0.05
        tries=$((tries + 1))
    done
    kill -QUIT "$command"
} <&3 2>/dev/null &
reader=$!
exec 3<&-
wait "$command"
status=$?
{ kill -USR1 "$reader"; wait "$reader"; } 2>/dev/null
exit "$status"
"#;

/// A command that runs as long as this value exists, and no longer.
#[derive(Debug)]
pub(super) struct Watched {
    /// Not left in `child`: tokio closes a child's standard input before it waits for the child.
    pipe: ChildStdin,
    child: Child,
}

impl Watched {
    /// Starts `program` under a watchdog. `shell` is a command for [`SHELL`]. Both write to `log`.
    ///
    /// # Errors
    /// The shell cannot be started. If the program cannot be run, the shell exits with 126 or 127.
    pub(super) fn spawn<I, S>(
        mut shell: Command,
        stop: Stop,
        log: &File,
        program: &Path,
        arguments: I,
    ) -> io::Result<Self>
    where
        I: IntoIterator<Item = S>,
        S: AsRef<OsStr>,
    {
        let tries = match stop {
            Stop::Fast => FAST_TRIES,
            Stop::Kill => 0,
        };
        let mut child = shell
            .args(["-c", SCRIPT, "ticketwire-watchdog", &tries.to_string()])
            .arg(program)
            .args(arguments)
            .stdin(Stdio::piped())
            .stdout(log.try_clone()?)
            .stderr(log.try_clone()?)
            .process_group(0)
            .spawn()?;
        let pipe = child.stdin.take().ok_or(io::ErrorKind::BrokenPipe)?;
        Ok(Self { pipe, child })
    }

    /// Returns how the command ended, or `None` if it is running.
    pub(super) fn try_wait(&mut self) -> io::Result<Option<ExitStatus>> {
        self.child.try_wait()
    }

    /// Waits until the command has ended, without stopping it. Returns at once if it has.
    pub(super) async fn ended(&mut self) -> io::Result<ExitStatus> {
        self.child.wait().await
    }

    /// Waits for the command to end, without stopping it.
    pub(super) async fn wait(mut self) -> io::Result<ExitStatus> {
        self.child.wait().await
    }

    /// Stops the command and waits until it has ended, at most [`LONGEST_STOP`].
    pub(super) async fn stop(self) -> io::Result<ExitStatus> {
        let Self { pipe, mut child } = self;
        drop(pipe);
        tokio::time::timeout(LONGEST_STOP, child.wait()).await?
    }
}
