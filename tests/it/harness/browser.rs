//! A browser that a script in `tests/browser` drives. If a program is missing, the test fails and
//! names it.

use std::{
    fs,
    path::{Path, PathBuf},
    process::Stdio,
};

use tokio::{
    io::{AsyncBufReadExt as _, AsyncWriteExt as _, BufReader, Lines},
    process::{Child, ChildStderr, ChildStdin, ChildStdout},
};

use super::npm;

const SOURCE: &str = "tests/browser";

/// A running script. To have the test do something, it prints `>`, a command and its arguments,
/// separated by tabs, and waits for a line: `done` or an answer.
pub struct Script {
    child: Child,
    lines: Lines<BufReader<ChildStdout>>,
    errors: Lines<BufReader<ChildStderr>>,
    answers: ChildStdin,
}

impl Script {
    /// Starts a script with the address of a page. Screenshots go to `target/tmp/pictures`.
    pub async fn start(name: &str, origin: &str) -> Self {
        Self::start_with(name, origin, &[]).await
    }

    /// Starts a script with more arguments.
    pub async fn start_with(name: &str, origin: &str, arguments: &[&str]) -> Self {
        let modules = npm::install(SOURCE).await.join("node_modules");
        let pictures = Path::new(env!("CARGO_TARGET_TMPDIR")).join("pictures");
        fs::create_dir_all(&pictures).unwrap();
        let mut child = npm::program("node")
            .arg(Path::new(env!("CARGO_MANIFEST_DIR")).join(SOURCE).join(name))
            .arg(origin)
            .arg(chromium())
            .arg(&pictures)
            .args(arguments)
            .env("NODE_PATH", modules)
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .kill_on_drop(true)
            .spawn()
            .unwrap();
        let lines = BufReader::new(child.stdout.take().unwrap()).lines();
        let errors = BufReader::new(child.stderr.take().unwrap()).lines();
        let answers = child.stdin.take().unwrap();
        Self { child, lines, errors, answers }
    }

    /// Waits for the next command of the script; returns `None` if it has ended.
    pub async fn command(&mut self) -> Option<Vec<String>> {
        loop {
            tokio::select! {
                line = self.lines.next_line() => {
                    let line = line.unwrap()?;
                    match line.strip_prefix('>') {
                        Some(command) => return Some(command.split('\t').map(str::to_owned).collect()),
                        None => println!("{line}"),
                    }
                }
                // Printed by the test, an error is part of the test's own output.
                Ok(Some(error)) = self.errors.next_line() => println!("{error}"),
            }
        }
    }

    /// Tells the script that its command is done.
    pub async fn done(&mut self) {
        self.answer("done").await;
    }

    /// Answers the script with a line.
    pub async fn answer(&mut self, line: &str) {
        self.answers.write_all(format!("{line}\n").as_bytes()).await.unwrap();
    }

    /// Waits for the end of the script; returns whether it exited with code 0.
    pub async fn succeeded(mut self) -> bool {
        while let Some(error) = self.errors.next_line().await.unwrap() {
            println!("{error}");
        }
        self.child.wait().await.unwrap().success()
    }
}

fn chromium() -> PathBuf {
    npm::find(&["chromium", "chromium-browser", "google-chrome"]).unwrap_or_else(|| {
        panic!("chromium is missing: install it (Debian: apt-get install chromium)")
    })
}
