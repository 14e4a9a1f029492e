//! The clients of docs/CLIENTS.md: each resumes after restarts of the server and after the end of
//! its session.

use std::{fs, path::Path, process::Stdio, sync::Arc, time::Duration};

use rustix::process::Signal;
use serde_json::json;
use ticketwire::domain::account::Role;
use tokio::{
    io::{AsyncBufReadExt as _, BufReader, Lines},
    process::{Child, ChildStdout, Command},
    time,
};

use crate::harness::{
    Client, TestServer,
    client::Ticket,
    npm,
    postgres::TestDatabase,
    process::Process,
    server::{PASSWORD, create_account},
};

const SOURCE: &str = "docs/clients";
const EMAIL: &str = "anna@example.com";
/// Long, since clients wait longer after each failed attempt.
const TIMEOUT: Duration = Duration::from_mins(1);

/// A running client, and the comments that it has printed.
struct Follower {
    lines: Lines<BufReader<ChildStdout>>,
    seen: Vec<String>,
    _child: Child,
}

impl Follower {
    async fn start(file: &str, address: &str) -> Self {
        let mut command = if file == "curl.sh" {
            Command::new(Path::new(env!("CARGO_MANIFEST_DIR")).join(SOURCE).join(file))
        } else {
            node_command(file).await
        };
        configure(&mut command, address);
        let mut child = command.stdout(Stdio::piped()).kill_on_drop(true).spawn().unwrap();
        let lines = BufReader::new(child.stdout.take().unwrap()).lines();
        Self { lines, seen: Vec::new(), _child: child }
    }

    /// Reads its output up to a line that contains this text.
    async fn wait_for(&mut self, what: &str) {
        loop {
            let line = time::timeout(TIMEOUT, self.lines.next_line()).await;
            let line = line.unwrap_or_else(|_| panic!("no {what} in time after {:?}", self.seen));
            let line = line.unwrap().expect("the client to keep running");
            if line.contains("CommentAdded") {
                self.seen.push(
                    line.split(['"', ' ']).find(|word| word.starts_with("no.")).unwrap().to_owned(),
                );
            }
            if line.contains(what) {
                return;
            }
        }
    }
}

/// A command that runs a module with Node.js.
async fn node_command(file: &str) -> Command {
    let folder = npm::install(SOURCE).await;
    let source = Path::new(env!("CARGO_MANIFEST_DIR")).join(SOURCE);
    // Node.js looks for modules in the folder of the file.
    for name in [file, "common.mjs", "resuming.mjs"] {
        replace(&source.join(name), &folder.join(name));
    }
    let mut command = npm::program("node");
    command.arg(folder.join(file));
    command
}

/// Passes the server's address and the credentials to a client.
fn configure(command: &mut Command, address: &str) {
    command.env("TICKETWIRE_URL", format!("http://{address}/graphql"));
    command.env("TICKETWIRE_EMAIL", EMAIL).env("TICKETWIRE_PASSWORD", PASSWORD);
}

/// Replaces a file atomically: another test may be reading it.
fn replace(from: &Path, to: &Path) {
    let copy = to.with_extension(format!("{:?}", std::thread::current().id()));
    fs::copy(from, &copy).unwrap();
    fs::rename(copy, to).unwrap();
}

/// Two nodes of one database: the client's, which is restarted, and the test's.
struct Nodes {
    url: String,
    address: String,
    anna: Client,
    ticket: Ticket,
    posted: usize,
}

impl Nodes {
    async fn post(&mut self, count: usize) -> String {
        for _ in 0..count {
            self.posted += 1;
            self.anna.comment(&self.ticket, &format!("no.{}", self.posted)).await;
        }
        format!("no.{}", self.posted)
    }

    async fn serve(&self) -> Process {
        Process::serve(&[("DATABASE_URL", &self.url), ("TICKETWIRE_LISTEN", &self.address)]).await
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_client_ignores_an_event_that_it_may_no_longer_see_and_ends_a_stream_that_failed() {
    const SCRIPT: &str = r#"
        import { follow } from "./common.mjs";
        let count = 0;
        await follow((_, { next }) => {
          const nth = ++count;
          console.log("began", nth);
          if (nth > 1) process.exit();
          const failed = (code) => next({ data: null, errors: [{ extensions: { code } }] });
          const event = { __typename: "CommentAdded", comment: { body: "seen" }, cursor: "1" };
          setImmediate(() => {
            failed("NOT_FOUND");
            next({ data: { inboxEvents: event } });
            failed("INTERNAL");
          });
          return () => console.log("ended", nth);
        });
    "#;
    let server = TestServer::start().await;
    server.customer("Anna").await;
    let folder = npm::install(SOURCE).await;
    replace(
        &Path::new(env!("CARGO_MANIFEST_DIR")).join(SOURCE).join("common.mjs"),
        &folder.join("common.mjs"),
    );
    let mut command = npm::program("node");
    command.current_dir(folder).args(["--input-type=module", "--eval", SCRIPT]);
    configure(&mut command, &server.address());
    let output = time::timeout(TIMEOUT, command.output()).await.expect("the end of the script");
    let text = String::from_utf8(output.unwrap().stdout).unwrap();
    let began = text.lines().skip_while(|line| !line.starts_with("began")).collect::<Vec<_>>();
    assert_eq!(began, ["began 1", "CommentAdded seen", "ended 1", "began 2"], "{text}");
    server.stop().await;
}

async fn assert_resumes_without_a_gap(file: &str) {
    let database = TestDatabase::new().await;
    create_account(&database.url, &Arc::default(), EMAIL, "Anna", Role::Customer).await;
    let variables = [("DATABASE_URL", database.url.as_str())];
    let (server, other) = (Process::serve(&variables).await, Process::serve(&variables).await);
    let anna = Client::new(&other.address, None).sign_in(EMAIL, PASSWORD).await;
    let ticket = anna.create_ticket("one").await;
    let (url, address) = (database.url.clone(), server.address.clone());
    let mut nodes = Nodes { url, address, anna, ticket, posted: 0 };

    let mut follower = Follower::start(file, &nodes.address).await;
    follower.wait_for("Checkpoint").await;
    let last = nodes.post(3).await;
    follower.wait_for(&last).await;

    server.kill().await;
    nodes.post(3).await;
    let server = nodes.serve().await;
    let last = nodes.post(3).await;
    follower.wait_for(&last).await;

    assert!(server.terminate(Signal::TERM).await);
    nodes.post(3).await;
    let server = nodes.serve().await;
    let last = nodes.post(3).await;
    follower.wait_for(&last).await;

    // Ends the client's session, and not the test's.
    let others = "mutation { revokeOtherSessions { revokedCount userErrors { code } } }";
    let ended = nodes.anna.ok(others, json!({})).await;
    assert_eq!(ended["revokeOtherSessions"]["revokedCount"], 1, "{ended}");
    let last = nodes.post(3).await;
    follower.wait_for(&last).await;

    let expected = (1..=nodes.posted).map(|n| format!("no.{n}")).collect::<Vec<_>>();
    assert_eq!(follower.seen, expected);
    drop(follower);
    server.kill().await;
    other.kill().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn the_graphql_ws_client_resumes_without_a_gap() {
    assert_resumes_without_a_gap("graphql-ws.mjs").await;
}

#[tokio::test(flavor = "multi_thread")]
async fn the_apollo_client_resumes_without_a_gap() {
    assert_resumes_without_a_gap("apollo.mjs").await;
}

#[tokio::test(flavor = "multi_thread")]
async fn the_urql_client_resumes_without_a_gap() {
    assert_resumes_without_a_gap("urql.mjs").await;
}

#[tokio::test(flavor = "multi_thread")]
async fn the_graphql_sse_client_resumes_without_a_gap() {
    assert_resumes_without_a_gap("sse.mjs").await;
}

#[tokio::test(flavor = "multi_thread")]
async fn the_curl_script_resumes_without_a_gap() {
    assert_resumes_without_a_gap("curl.sh").await;
}

#[tokio::test(flavor = "multi_thread")]
async fn the_apollo_client_uploads_files() {
    let server = TestServer::start().await;
    server.customer("Anna").await;
    let folder = Path::new(env!("CARGO_TARGET_TMPDIR")).join("apollo-sends");
    fs::create_dir_all(&folder).unwrap();
    let (log, picture) = (folder.join("ошибка.log"), folder.join("screen.png"));
    fs::write(&log, "it broke").unwrap();
    fs::write(&picture, b"\x89PNG\r\n\x1a\n....").unwrap();
    let mut command = node_command("upload.mjs").await;
    configure(&mut command, &server.address());
    let sent = command.arg(log).arg(picture).output().await.unwrap();
    let printed = String::from_utf8(sent.stdout).unwrap();
    let lines = printed.lines().collect::<Vec<_>>();
    let errors = String::from_utf8_lossy(&sent.stderr);
    assert_eq!(lines.len(), 2, "{printed}{errors}");
    assert!(lines[0].starts_with("ошибка.log 8 text/plain http://"), "{printed}");
    assert!(lines[1].starts_with("screen.png 12 image/png http://"), "{printed}");
    let url = lines[0].split_whitespace().last().unwrap();
    let fetched = reqwest::get(url).await.unwrap().text().await.unwrap();
    assert_eq!(fetched, "it broke");
    server.stop().await;
}

#[test]
fn the_guide_links_every_client_and_quotes_two_of_them_exactly() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let guide = fs::read_to_string(root.join("docs/CLIENTS.md")).unwrap();
    for file in fs::read_dir(root.join(SOURCE)).unwrap() {
        let path = file.unwrap().path();
        let name = path.file_name().unwrap().to_str().unwrap();
        if !name.ends_with(".mjs") && !name.ends_with(".sh") {
            continue;
        }
        assert!(guide.contains(&format!("(clients/{name})")), "no link to {name}");
        let code = fs::read_to_string(&path).unwrap();
        let quoted = name == "resuming.mjs" || name == "graphql-ws.mjs";
        assert_eq!(guide.contains(code.trim()), quoted, "{name} is not quoted as it is");
    }
    let lock = fs::read_to_string(root.join(SOURCE).join("package-lock.json")).unwrap();
    assert!(!lock.contains("\"resolved\""), "a lock file names no registry");
}
