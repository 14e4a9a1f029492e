//! Child processes that cannot outlive us.
//!
//! A guarded command is the child of a small shell whose standard input is a pipe that only this
//! process holds open. When we let go of the pipe, or die by any means, `kill -9` included, the
//! shell reads end-of-file and stops the command. Stopping on purpose, dropping a half-done start
//! and crashing are therefore one and the same path.

use std::{
    ffi::OsStr,
    fs::File,
    io,
    path::Path,
    process::{ExitStatus, Stdio},
    time::Duration,
};

use tokio::process::{Child, ChildStdin, Command};

/// The shell that [`Guarded::spawn`] wants, to be given a user, an environment and a folder first.
pub(super) const SHELL: &str = "/bin/sh";

/// How a guarded command is stopped.
#[derive(Debug, Clone, Copy)]
pub(super) enum Stop {
    /// SIGINT, Postgres' fast shutdown (it drops the connections and writes a checkpoint), then
    /// SIGQUIT.
    Fast,
    /// SIGKILL to it and all that it has started, for work that is worth nothing until it is done.
    Kill,
}

/// How often, every twentieth of a second, a command is asked to stop before it gets SIGQUIT.
const FAST_TRIES: u32 = 400;

/// The longest that a guarded command may take to go: the polite part, then the 5 seconds after
/// which a Postgres that got SIGQUIT kills its own children, then some slack.
const LONGEST_STOP: Duration = Duration::from_secs(FAST_TRIES as u64 / 20 + 10);

/// The guard: two shells, of which one waits for the command and the other one for the pipe. `$1`
/// is the number of tries, 0 for SIGKILL to the whole process group, the shells included.
///
/// - They ignore what a terminal or an init system sends to everything at once: only the pipe
///   decides. The umask lets another user run what npm unpacks.
/// - A shell starts background commands with SIGINT ignored, and it stays so until Postgres has
///   set its own handler, hence the repetition.
/// - The command is the first shell's own child, so its pid can't be anybody else's before `wait`
///   has returned; the second shell is told so at once: SIGUSR1 ends it, while it sleeps too.
/// - Each shell waits for its children, so no zombie is left even where PID 1 does not reap.
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

/// A command that runs for as long as this value lives, and not longer.
#[derive(Debug)]
pub(super) struct Guarded {
    /// Not left inside `child`: tokio closes a child's standard input before it waits for it.
    pipe: ChildStdin,
    child: Child,
}

impl Guarded {
    /// Starts `program` under a guard; `shell` is a command for [`SHELL`]. Both write to `log`.
    ///
    /// # Errors
    /// Those of starting the shell. A program that cannot be run makes it exit with 126 or 127.
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
            .args(["-c", SCRIPT, "ticketwire-guard", &tries.to_string()])
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

    /// How the command ended, if it did.
    pub(super) fn try_wait(&mut self) -> io::Result<Option<ExitStatus>> {
        self.child.try_wait()
    }

    /// Waits for the command to end by itself.
    pub(super) async fn wait(mut self) -> io::Result<ExitStatus> {
        self.child.wait().await
    }

    /// Stops the command and waits until it is gone, at most [`LONGEST_STOP`].
    pub(super) async fn stop(self) -> io::Result<ExitStatus> {
        let Self { pipe, mut child } = self;
        drop(pipe);
        tokio::time::timeout(LONGEST_STOP, child.wait()).await?
    }
}
