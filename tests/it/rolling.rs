//! A rolling deploy: two nodes behind HAProxy are replaced one after the other, while people write
//! and watch through it. No request may fail, and each subscriber sees every comment that was
//! acknowledged, once. `make verify-long` also replaces nodes of the version before.

use std::{
    collections::BTreeSet,
    path::{Path, PathBuf},
    sync::{
        Arc, Mutex,
        atomic::{AtomicBool, Ordering},
    },
    time::Duration,
};

use reqwest::StatusCode;
use rustix::process::Signal;
use serde_json::{Value, json};
use ticketwire::domain::account::Role;
use tokio::{sync::watch, task::JoinHandle, time};

use crate::harness::{
    Client, TestServer,
    client::Ticket,
    port,
    postgres::TestDatabase,
    process::{Process, run_program},
    reverse_proxy::{Kind, ReverseProxy},
    server::{PASSWORD, create_account},
    socket::Incoming,
};

/// The variable with the path of the binary of the version before.
const PREVIOUS: &str = "TICKETWIRE_PREVIOUS";
/// How many comments are acknowledged before each step, and after the last.
const COMMENTS: usize = 100;
/// The longest that everything may take.
const TIMEOUT: Duration = Duration::from_mins(8);

const COMMENT: &str =
    "mutation($input: AddCommentInput!) { addComment(input: $input) { comment { id } } }";

/// The comments that were acknowledged, and the calls that failed.
#[derive(Default)]
struct Outcome {
    comments: Mutex<BTreeSet<String>>,
    failures: Mutex<Vec<String>>,
    count: watch::Sender<usize>,
    stopped: AtomicBool,
}

impl Outcome {
    /// Comments until it is stopped.
    async fn write(self: Arc<Self>, client: Client, ticket: Ticket) {
        let mut n = 0;
        while !self.stopped.load(Ordering::SeqCst) {
            n += 1;
            let input = json!({ "ticketId": ticket.id, "body": format!("comment {n}") });
            let reply = client.try_send(COMMENT, json!({ "input": input })).await;
            let id =
                reply.as_ref().and_then(|it| it["data"]["addComment"]["comment"]["id"].as_str());
            match id {
                Some(id) => {
                    self.comments.lock().unwrap().insert(id.to_owned());
                    self.count.send_modify(|count| *count += 1);
                }
                None => self.failures.lock().unwrap().push(format!("comment {n}: {reply:?}")),
            }
        }
    }

    /// Waits until further comments are acknowledged.
    async fn further(&self) {
        let mut count = self.count.subscribe();
        let enough = *count.borrow() + COMMENTS;
        count.wait_for(|count| *count >= enough).await.unwrap();
    }
}

/// A watcher of all tickets, which resumes whenever a node closes its stream.
struct Watcher {
    client: Client,
    cursor: String,
    /// The comments that it has seen, in their order.
    seen: Vec<String>,
    last: watch::Receiver<Option<String>>,
}

impl Watcher {
    fn note(&mut self, item: &Value) {
        assert_ne!(item["__typename"], "ResyncRequired", "{item}");
        self.seen.extend(item["comment"]["id"].as_str().map(str::to_owned));
        if let Some(cursor) = item["cursor"].as_str() {
            cursor.clone_into(&mut self.cursor);
        }
    }

    fn has_seen_the_last(&self) -> bool {
        self.last.borrow().as_ref().is_some_and(|last| self.seen.contains(last))
    }

    /// Watches by websocket. Returns the comments up to the last one.
    async fn by_socket(mut self) -> Vec<String> {
        loop {
            let mut socket = self.client.socket().await;
            socket.watch_inbox("1", Some(&self.cursor)).await;
            loop {
                if self.has_seen_the_last() {
                    return self.seen;
                }
                match socket.incoming().await {
                    Incoming::Message(message) if message["type"] == "next" => {
                        self.note(&message["payload"]["data"]["inboxEvents"]);
                    }
                    Incoming::Closed(1012, _) => break,
                    other => panic!("{other:?}"),
                }
            }
        }
    }

    /// Watches by server-sent events. Returns the comments up to the last one.
    async fn by_stream(mut self) -> Vec<String> {
        loop {
            let mut stream = self.client.stream_inbox(Some(&self.cursor)).await;
            while let Some(event) = stream.event().await {
                self.note(&event.response()["data"]["inboxEvents"]);
                if self.has_seen_the_last() {
                    return self.seen;
                }
            }
        }
    }
}

/// A node that is started again at the same address.
struct Node {
    process: Process,
    listen: String,
    admin: String,
}

impl Node {
    async fn start(binary: &Path, url: &str, listen: &str, admin: &str) -> Self {
        let variables = [
            ("DATABASE_URL", url),
            ("TICKETWIRE_LISTEN", listen),
            ("TICKETWIRE_ADMIN_LISTEN", admin),
            ("TICKETWIRE_TRUSTED_PROXIES", "1"),
            ("TICKETWIRE_DRAIN_SECONDS", "2"),
        ];
        let process = Process::serve_program(binary, &variables).await;
        Self { process, listen: listen.to_owned(), admin: admin.to_owned() }
    }

    /// Stops the node and starts this version in its place. Returns once the proxy uses it.
    async fn replace(self, url: &str) -> Self {
        assert!(self.process.terminate(Signal::TERM).await);
        let binary = Path::new(env!("CARGO_BIN_EXE_ticketwire"));
        let node = Self::start(binary, url, &self.listen, &self.admin).await;
        let metrics = format!("http://{}/metrics", node.admin);
        loop {
            let text = reqwest::get(&metrics).await.unwrap().text().await.unwrap();
            let served = |line: &str| {
                line.starts_with("ticketwire_http_requests_total{") && line.contains("\"/graphql\"")
            };
            if text.lines().any(served) {
                return node;
            }
        }
    }
}

/// Creates three accounts, the last of which is staff.
async fn create_people(database: &TestDatabase, previous: Option<&Path>) {
    for (name, role, text) in [
        ("Anna", Role::Customer, "customer"),
        ("Jonas", Role::Customer, "customer"),
        ("Marta", Role::Agent, "agent"),
    ] {
        let email = format!("{}@example.com", name.to_lowercase());
        let Some(previous) = previous else {
            create_account(&database.url, &Arc::default(), &email, name, role).await;
            continue;
        };
        let arguments = [
            "user",
            "create",
            "--password-stdin",
            "--email",
            &email,
            "--name",
            name,
            "--role",
            text,
        ];
        let variables = [("DATABASE_URL", database.url.as_str())];
        let created = run_program(previous, &arguments, &variables, PASSWORD).await;
        assert!(created.success, "{}", created.stderr);
    }
}

async fn roll(previous: Option<PathBuf>) {
    let database = match &previous {
        Some(_) => TestDatabase::empty().await,
        None => TestDatabase::new().await,
    };
    create_people(&database, previous.as_deref()).await;
    let first = previous.unwrap_or_else(|| env!("CARGO_BIN_EXE_ticketwire").into());
    let mut nodes = Vec::new();
    for _ in 0..2 {
        nodes.push(
            Node::start(&first, &database.url, &port::choose_address(), &port::choose_address())
                .await,
        );
    }
    let proxy = ReverseProxy::start(Kind::HaProxy, [&nodes[0].listen, &nodes[1].listen]).await;
    let mut people = Vec::new();
    for name in ["anna", "jonas", "marta"] {
        let client = Client::secure(proxy.secure.clone());
        people.push(client.sign_in(&format!("{name}@example.com"), PASSWORD).await);
    }
    let [anna, jonas, marta] = people.try_into().ok().expect("three people");
    let tickets = [anna.create_ticket("one").await, jonas.create_ticket("two").await];
    let start = marta.ok("{ eventCursor }", json!({})).await["eventCursor"].clone();
    let start = start.as_str().unwrap().to_owned();

    let outcome = Arc::new(Outcome::default());
    let (last, stop_at) = watch::channel(None);
    let mut subscribers = Vec::<JoinHandle<Vec<String>>>::new();
    for _ in 0..4 {
        let watcher = || Watcher {
            client: marta.clone(),
            cursor: start.clone(),
            seen: vec![],
            last: stop_at.clone(),
        };
        subscribers.push(tokio::spawn(watcher().by_socket()));
        subscribers.push(tokio::spawn(watcher().by_stream()));
    }
    let writers = [(&anna, &tickets[0]), (&jonas, &tickets[1]), (&marta, &tickets[0])].map(
        |(client, ticket)| tokio::spawn(Arc::clone(&outcome).write(client.clone(), ticket.clone())),
    );
    for _ in 0..2 {
        outcome.further().await;
        let node = nodes.remove(0).replace(&database.url).await;
        nodes.push(node);
    }
    outcome.further().await;
    outcome.stopped.store(true, Ordering::SeqCst);
    for writer in writers {
        writer.await.unwrap();
    }
    assert_eq!(*outcome.failures.lock().unwrap(), [] as [String; 0]);
    let (id, _) = marta.comment(&tickets[0], "the last one").await;
    outcome.comments.lock().unwrap().insert(id.clone());
    last.send_replace(Some(id));
    let expected = outcome.comments.lock().unwrap().clone();
    for subscriber in subscribers {
        let seen = subscriber.await.unwrap();
        assert_eq!(seen.len(), expected.len(), "no comment is missed or comes twice");
        assert_eq!(seen.into_iter().collect::<BTreeSet<_>>(), expected);
    }
    for node in nodes {
        assert!(node.process.terminate(Signal::TERM).await);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_node_that_stops_says_so_while_it_still_answers() {
    let server = TestServer::start_with(&[("drain_grace_seconds", "5".to_owned())]).await;
    let (anna, address) = (server.customer("Anna").await, server.address());
    let stopping = tokio::spawn(server.stop());
    let get = || async { reqwest::get(format!("http://{address}/readyz")).await.unwrap() };
    while get().await.status() == StatusCode::OK {}
    let reply = anna.send("{ viewer { name } }", json!({})).await;
    assert_eq!(reply.at("/data/viewer/name"), "Anna");
    assert_eq!(reply.headers["connection"], "close");
    stopping.await.unwrap();
    assert!(reqwest::get(format!("http://{address}/readyz")).await.is_err());
}

#[tokio::test(flavor = "multi_thread")]
async fn nodes_are_replaced_one_by_one_without_failed_requests_or_missed_events() {
    time::timeout(TIMEOUT, roll(None)).await.expect("an end in time");
}

#[tokio::test(flavor = "multi_thread")]
#[ignore = "needs the binary of the version before: run make verify-long"]
async fn nodes_of_the_version_before_are_replaced_without_failed_requests_or_missed_events() {
    let previous = std::env::var(PREVIOUS).expect("run make verify-long, which sets the variable");
    time::timeout(TIMEOUT, roll(Some(previous.into()))).await.expect("an end in time");
}
