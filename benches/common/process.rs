//! The server's program: its commands, and the server as a process of its own.

use std::{path::PathBuf, process::Stdio};

use tokio::{
    io::{AsyncBufReadExt as _, AsyncWriteExt as _, BufReader},
    process::{Child, Command},
};

/// The program that was built together with the benchmark.
pub const BINARY: &str = env!("CARGO_BIN_EXE_ticketwire");

const SEALING_KEYS: &str = "bench:AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA";

/// The program and the database that it works on.
pub struct Program {
    /// The path of the program.
    pub binary: PathBuf,
    /// The URL of the database.
    pub url: String,
}

impl Program {
    /// Runs a command and panics if it fails.
    pub async fn run(&self, arguments: &[&str], input: &str) {
        let mut child = self.command().args(arguments).spawn().expect("a process");
        let mut stdin = child.stdin.take().expect("its input");
        let _ = stdin.write_all(input.as_bytes()).await;
        drop(stdin);
        let output = child.wait_with_output().await.expect("an end");
        let text = String::from_utf8_lossy(&output.stdout);
        assert!(output.status.success(), "{arguments:?} failed: {text}");
    }

    /// Starts the server and returns once it listens. Settings are environment variables without
    /// `TICKETWIRE_`.
    pub async fn serve(&self, settings: &[(&str, &str)]) -> ServerProcess {
        let mut command = self.command();
        command.arg("serve");
        command.envs(settings.iter().map(|(key, value)| (format!("TICKETWIRE_{key}"), value)));
        let mut child = command.spawn().expect("a server");
        let address = address(&mut child).await;
        ServerProcess { child, address }
    }

    fn command(&self) -> Command {
        let mut command = Command::new(&self.binary);
        command.env_clear().envs(std::env::var_os("PATH").map(|path| ("PATH", path)));
        command.env("DATABASE_URL", &self.url);
        command.env("TICKETWIRE_SECURITY_SEALING_KEYS", SEALING_KEYS);
        command.env("TICKETWIRE_LISTEN", "127.0.0.1:0");
        // The default folder may be that of a server of this machine.
        let data = std::env::temp_dir().join("ticketwire-benchmark");
        command.env("TICKETWIRE_DATA_DIR", data);
        command.current_dir(std::env::temp_dir()).kill_on_drop(true);
        command.stdin(Stdio::piped()).stdout(Stdio::piped());
        command
    }
}

/// A running server. It is killed when this is dropped.
pub struct ServerProcess {
    child: Child,
    /// `127.0.0.1:port`.
    pub address: String,
}

impl ServerProcess {
    /// Returns the server's process id.
    pub fn pid(&self) -> u32 {
        self.child.id().expect("a running server")
    }

    /// Kills the server and waits until it has ended.
    pub async fn stop(mut self) {
        let _ = self.child.kill().await;
    }
}

/// Waits until the server listens, and returns its address.
async fn address(process: &mut Child) -> String {
    let mut lines = BufReader::new(process.stdout.take().expect("its output")).lines();
    let mut welcome = String::new();
    while !welcome.contains("Stop it") {
        welcome += &lines.next_line().await.expect("a line").expect("a server that starts");
        welcome.push('\n');
    }
    tokio::spawn(async move { while let Ok(Some(_)) = lines.next_line().await {} });
    let rest = welcome.split("http://").nth(1).expect("an address");
    let end = |end: char| end == '/' || end.is_whitespace();
    rest.split(end).next().expect("an address").to_owned()
}
