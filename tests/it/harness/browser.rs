//! A browser, driven by a script in tests/browser. Parts that are missing fail the
//! test, and are named.

use std::{
    env, fs,
    path::{Path, PathBuf},
    process::Stdio,
};

use tokio::{
    io::{AsyncBufReadExt as _, AsyncWriteExt as _, BufReader, Lines},
    process::{Child, ChildStdin, ChildStdout, Command},
};

/// A running script. It prints what it wants done to the server, as `>command` and
/// words between tabs, and waits for `done`.
pub struct Script {
    child: Child,
    lines: Lines<BufReader<ChildStdout>>,
    answers: ChildStdin,
}

impl Script {
    /// Starts a script on a page; pictures go to target/tmp/pictures.
    pub async fn start(name: &str, origin: &str) -> Self {
        let modules = install().await;
        let pictures = Path::new(env!("CARGO_TARGET_TMPDIR")).join("pictures");
        fs::create_dir_all(&pictures).unwrap();
        let mut child = program("node")
            .arg(source().join(name))
            .arg(origin)
            .arg(chromium())
            .arg(&pictures)
            .env("NODE_PATH", modules)
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .kill_on_drop(true)
            .spawn()
            .unwrap();
        let lines = BufReader::new(child.stdout.take().unwrap()).lines();
        let answers = child.stdin.take().unwrap();
        Self { child, lines, answers }
    }

    /// What the script wants done next; `None` when it has ended.
    pub async fn command(&mut self) -> Option<Vec<String>> {
        while let Some(line) = self.lines.next_line().await.unwrap() {
            match line.strip_prefix('>') {
                Some(command) => return Some(command.split('\t').map(str::to_owned).collect()),
                None => println!("{line}"),
            }
        }
        None
    }

    /// Tells the script that it is done.
    pub async fn done(&mut self) {
        self.answer("done").await;
    }

    /// Answers the script with a line.
    pub async fn answer(&mut self, line: &str) {
        self.answers.write_all(format!("{line}\n").as_bytes()).await.unwrap();
    }

    /// Whether the script ended well.
    pub async fn succeeded(mut self) -> bool {
        self.child.wait().await.unwrap().success()
    }
}

fn source() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/browser")
}

/// The folder of the script's modules, installed unless an earlier run did.
async fn install() -> PathBuf {
    let folder = Path::new(env!("CARGO_TARGET_TMPDIR")).join("browser");
    let stamp = folder.join("installed.json");
    let lock = fs::read(source().join("package-lock.json")).unwrap();
    if fs::read(&stamp).ok().as_ref() != Some(&lock) {
        fs::create_dir_all(&folder).unwrap();
        for name in ["package.json", "package-lock.json", ".npmrc"] {
            fs::copy(source().join(name), folder.join(name)).unwrap();
        }
        let npm = ["ci", "--ignore-scripts", "--no-audit", "--no-fund", "--prefer-offline"];
        let ran = program("npm").args(npm).current_dir(&folder).output().await.unwrap();
        assert!(ran.status.success(), "npm ci: {}", String::from_utf8_lossy(&ran.stderr));
        fs::write(&stamp, lock).unwrap();
    }
    folder.join("node_modules")
}

fn program(name: &str) -> Command {
    let path = find(&[name]).unwrap_or_else(|| {
        panic!("{name} is missing: install Node.js and npm (Debian: apt-get install nodejs npm)")
    });
    Command::new(path)
}

fn chromium() -> PathBuf {
    find(&["chromium", "chromium-browser", "google-chrome"]).unwrap_or_else(|| {
        panic!("chromium is missing: install it (Debian: apt-get install chromium)")
    })
}

/// The first of some programs that is in the PATH.
fn find(names: &[&str]) -> Option<PathBuf> {
    let path = env::var_os("PATH")?;
    let folders = env::split_paths(&path).collect::<Vec<_>>();
    let mut candidates =
        names.iter().flat_map(|name| folders.iter().map(move |folder| folder.join(name)));
    candidates.find(|candidate| candidate.is_file())
}
