//! The real binary in its own process, which tests can kill.

use std::{path::Path, process::Stdio, time::Duration};

use rustix::process::{Pid, Signal, kill_process};
use tokio::{
    io::{AsyncBufReadExt as _, AsyncReadExt as _, BufReader},
    process::{Child, Command},
    task::JoinHandle,
    time,
};

const TIMEOUT: Duration = Duration::from_mins(3);
/// The same for a command, of which some work on large data.
const COMMAND_TIMEOUT: Duration = Duration::from_mins(15);

/// The binary under test.
const BINARY: &str = env!("CARGO_BIN_EXE_ticketwire");

/// A running `ticketwire serve`.
pub struct Process {
    child: Child,
    /// `127.0.0.1:port`.
    pub address: String,
    /// Its standard output up to the line that says how to stop it.
    pub welcome: String,
    /// Its standard error, available once it has ended.
    log: JoinHandle<String>,
}

/// The result of a command that has ended.
pub struct Output {
    /// Whether it exited with code 0.
    pub success: bool,
    pub stdout: String,
    pub stderr: String,
}

/// A command for the binary with a clean environment and these variables.
pub fn command(variables: &[(&str, &str)]) -> Command {
    program(Path::new(BINARY), variables)
}

/// The data folder of the programs that use a database. The default one may be that of a server of this
/// machine.
pub fn data_dir(url: &str) -> String {
    let name = url.rsplit('/').next().unwrap_or_default();
    format!("{}/data/{name}", env!("CARGO_TARGET_TMPDIR"))
}

fn program(path: &Path, variables: &[(&str, &str)]) -> Command {
    let mut command = Command::new(path);
    command.env_clear().envs(std::env::var_os("PATH").map(|path| ("PATH", path)));
    command.env("TICKETWIRE_SECURITY_SEALING_KEYS", super::server::SEALING_KEYS);
    let url = variables.iter().find(|(name, _)| *name == "DATABASE_URL").map(|(_, url)| *url);
    command.env("TICKETWIRE_DATA_DIR", data_dir(url.unwrap_or("none")));
    // A few accounts of the tests write hundreds of comments a second.
    command.env("TICKETWIRE_LIMITS_TICKETS_PER_MINUTE", "0");
    command.env("TICKETWIRE_LIMITS_CUSTOMER_COMMENTS_PER_MINUTE", "0");
    command.env("TICKETWIRE_LIMITS_CUSTOMER_CHANGES_PER_MINUTE", "0");
    command.env("TICKETWIRE_LIMITS_STAFF_COMMENTS_PER_MINUTE", "0");
    command.envs(variables.iter().copied()).current_dir(std::env::temp_dir()).kill_on_drop(true);
    command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped());
    command
}

/// Runs the binary with this standard input until it exits.
pub async fn run(arguments: &[&str], variables: &[(&str, &str)], input: &str) -> Output {
    run_program(Path::new(BINARY), arguments, variables, input).await
}

/// Runs a binary of another version like [`run`].
pub async fn run_program(
    path: &Path,
    arguments: &[&str],
    variables: &[(&str, &str)],
    input: &str,
) -> Output {
    use tokio::io::AsyncWriteExt as _;
    let mut child = program(path, variables).args(arguments).stdin(Stdio::piped()).spawn().unwrap();
    let mut stdin = child.stdin.take().unwrap();
    let _ = stdin.write_all(input.as_bytes()).await;
    drop(stdin);
    let output = time::timeout(COMMAND_TIMEOUT, child.wait_with_output())
        .await
        .expect("an end in time")
        .unwrap();
    Output {
        success: output.status.success(),
        stdout: String::from_utf8(output.stdout).unwrap(),
        stderr: String::from_utf8(output.stderr).unwrap(),
    }
}

impl Process {
    /// Starts a server and waits until it is ready.
    pub async fn serve(variables: &[(&str, &str)]) -> Self {
        Self::serve_program(Path::new(BINARY), variables).await
    }

    /// Starts a server of another version like [`serve`](Self::serve).
    pub async fn serve_program(path: &Path, variables: &[(&str, &str)]) -> Self {
        super::client::install_tls_provider();
        let mut command = program(path, variables);
        if !variables.iter().any(|(name, _)| *name == "TICKETWIRE_LISTEN") {
            command.env("TICKETWIRE_LISTEN", "127.0.0.1:0");
        }
        let mut child = command.arg("serve").spawn().unwrap();
        let mut lines = BufReader::new(child.stdout.take().unwrap()).lines();
        let mut stderr = child.stderr.take().unwrap();
        // Read from the start, so that a full pipe never blocks the server.
        let log = tokio::spawn(async move {
            let mut text = Vec::new();
            let _ = stderr.read_to_end(&mut text).await;
            String::from_utf8_lossy(&text).into_owned()
        });
        let mut welcome = String::new();
        loop {
            match time::timeout(TIMEOUT, lines.next_line()).await.expect("a line in time").unwrap()
            {
                None => {
                    panic!("the server did not start: {}", log.await.unwrap());
                }
                Some(line) => {
                    welcome += &line;
                    welcome.push('\n');
                    if line.starts_with("Stop it") {
                        break;
                    }
                }
            }
        }
        tokio::spawn(
            async move { while lines.next_line().await.is_ok_and(|line| line.is_some()) {} },
        );
        let address = welcome.split("://").nth(1).unwrap().split('/').next().unwrap().to_owned();
        Self { child, address, welcome, log }
    }

    pub fn signal(&self, signal: Signal) {
        let pid = i32::try_from(self.child.id().expect("a running process")).unwrap();
        kill_process(Pid::from_raw(pid).unwrap(), signal).unwrap();
    }

    pub fn pid(&self) -> u32 {
        self.child.id().expect("a running process")
    }

    /// Kills it with SIGKILL.
    pub async fn kill(mut self) {
        self.child.kill().await.unwrap();
    }

    /// Stops it with SIGTERM; returns what it logged.
    pub async fn stop_and_read_log(mut self) -> String {
        self.signal(Signal::TERM);
        time::timeout(TIMEOUT, self.child.wait()).await.expect("an end in time").unwrap();
        self.log.await.unwrap()
    }

    /// Waits until it exits. Returns whether it exited with code 0, and what it logged.
    pub async fn end(mut self) -> (bool, String) {
        let ended = time::timeout(TIMEOUT, self.child.wait()).await.expect("an exit in time");
        (ended.unwrap().success(), self.log.await.unwrap())
    }

    /// Stops it with a signal; returns whether it exited with code 0.
    pub async fn terminate(mut self, signal: Signal) -> bool {
        self.signal(signal);
        time::timeout(TIMEOUT, self.child.wait()).await.expect("an end in time").unwrap().success()
    }
}
