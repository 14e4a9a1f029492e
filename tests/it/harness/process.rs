//! The real binary in a process of its own, to be killed.

use std::{process::Stdio, time::Duration};

use rustix::process::{Pid, Signal, kill_process};
use tokio::{
    io::{AsyncBufReadExt as _, AsyncReadExt as _, BufReader},
    process::{Child, Command},
    task::JoinHandle,
    time,
};

const PATIENCE: Duration = Duration::from_mins(1);

/// A running `ticketwire serve`.
pub struct Process {
    child: Child,
    /// `127.0.0.1:port`.
    pub address: String,
    /// What it printed until it was ready.
    pub welcome: String,
    /// Its standard error, once it has ended.
    log: JoinHandle<String>,
}

/// How a run ended that was to end by itself.
pub struct Ended {
    /// Whether it says that all went well.
    pub success: bool,
    /// Its standard output.
    pub stdout: String,
    /// Its standard error.
    pub stderr: String,
}

/// The binary with a clean environment and some variables.
pub fn command(variables: &[(&str, &str)]) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_ticketwire"));
    command.env_clear().envs(std::env::var_os("PATH").map(|path| ("PATH", path)));
    command.env("TICKETWIRE_SECURITY_SEALING_KEYS", super::server::SEALING_KEYS);
    command.envs(variables.iter().copied()).current_dir(std::env::temp_dir()).kill_on_drop(true);
    command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped());
    command
}

/// Runs the binary to its end.
pub async fn run(arguments: &[&str], variables: &[(&str, &str)], input: &str) -> Ended {
    use tokio::io::AsyncWriteExt as _;
    let mut child = command(variables).args(arguments).stdin(Stdio::piped()).spawn().unwrap();
    let mut stdin = child.stdin.take().unwrap();
    let _ = stdin.write_all(input.as_bytes()).await;
    drop(stdin);
    let output =
        time::timeout(PATIENCE, child.wait_with_output()).await.expect("an end in time").unwrap();
    Ended {
        success: output.status.success(),
        stdout: String::from_utf8(output.stdout).unwrap(),
        stderr: String::from_utf8(output.stderr).unwrap(),
    }
}

impl Process {
    /// Starts a server and waits until it is ready.
    pub async fn serve(variables: &[(&str, &str)]) -> Self {
        super::client::provide_tls();
        let mut command = command(variables);
        if !variables.iter().any(|(name, _)| *name == "TICKETWIRE_LISTEN") {
            command.env("TICKETWIRE_LISTEN", "127.0.0.1:0");
        }
        let mut child = command.arg("serve").spawn().unwrap();
        let mut lines = BufReader::new(child.stdout.take().unwrap()).lines();
        let mut stderr = child.stderr.take().unwrap();
        // Read from the beginning, so that the server never waits for us to do it.
        let log = tokio::spawn(async move {
            let mut text = Vec::new();
            let _ = stderr.read_to_end(&mut text).await;
            String::from_utf8_lossy(&text).into_owned()
        });
        let mut welcome = String::new();
        loop {
            match time::timeout(PATIENCE, lines.next_line()).await.expect("a line in time").unwrap()
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
        let address =
            welcome.split("http://").nth(1).unwrap().split('/').next().unwrap().to_owned();
        Self { child, address, welcome, log }
    }

    /// Sends a signal.
    pub fn signal(&self, signal: Signal) {
        let pid = i32::try_from(self.child.id().expect("a running process")).unwrap();
        kill_process(Pid::from_raw(pid).unwrap(), signal).unwrap();
    }

    /// Its process id.
    pub fn pid(&self) -> u32 {
        self.child.id().expect("a running process")
    }

    /// `kill -9`.
    pub async fn kill(mut self) {
        self.child.kill().await.unwrap();
    }

    /// Ends it as an operator does, and gives what it logged.
    pub async fn stop_and_read_log(mut self) -> String {
        self.signal(Signal::TERM);
        time::timeout(PATIENCE, self.child.wait()).await.expect("an end in time").unwrap();
        self.log.await.unwrap()
    }

    /// Waits until it ends without being told to; gives whether it ended well, and what it logged.
    pub async fn end(mut self) -> (bool, String) {
        let ended = time::timeout(PATIENCE, self.child.wait()).await.expect("an end in time");
        (ended.unwrap().success(), self.log.await.unwrap())
    }

    /// Ends it as an operator does; gives whether it ended well.
    pub async fn terminate(mut self, signal: Signal) -> bool {
        self.signal(signal);
        time::timeout(PATIENCE, self.child.wait()).await.expect("an end in time").unwrap().success()
    }
}
