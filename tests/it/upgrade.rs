//! An upgrade under load: people write and read on a node of the version before while a node of this
//! version starts, migrates the database and takes over half of them. No call may fail, and each
//! subscriber sees every comment that was acknowledged, once. `make verify-long` builds the version
//! before and runs this.

use std::{
    collections::BTreeSet,
    path::{Path, PathBuf},
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    time::Duration,
};

use serde_json::{Value, json};
use tokio::{
    sync::{Mutex, watch},
    task::JoinHandle,
    time,
};

use crate::harness::{
    Client, Socket,
    client::Ticket,
    postgres::TestDatabase,
    process::{Process, run_program},
    server::PASSWORD,
};

/// The variable with the path of the binary of the version before.
const PREVIOUS: &str = "TICKETWIRE_PREVIOUS";
/// How many comments are acknowledged before the upgrade, and after it.
const BEFORE: usize = 100;
const AFTER: usize = 500;
/// The longest that everything may take.
const TIMEOUT: Duration = Duration::from_mins(8);

const READ: &str = "{ viewer { unreadTicketCount notifications(first: 5) { nodes { kind } } }
    tickets(first: 10) { nodes { number summary status participants { name }
        timeline(last: 5) { nodes { __typename actor { name } } } } }
    search(text: \"comment\", first: 3) { nodes { ticket { number } } } }";
const COMMENT: &str =
    "mutation($input: AddCommentInput!) { addComment(input: $input) { comment { id } } }";

/// The people of the test, and what has become of their calls.
#[derive(Clone)]
struct Load {
    /// The addresses of the nodes.
    nodes: watch::Receiver<Vec<String>>,
    stopped: Arc<AtomicBool>,
    acknowledged: Arc<watch::Sender<usize>>,
    /// The ids of the comments.
    comments: Arc<Mutex<BTreeSet<String>>>,
    /// The replies with errors, and calls without a reply.
    failures: Arc<Mutex<Vec<String>>>,
}

impl Load {
    /// Calls the next node. Returns the data, or `None` and notes the failure.
    async fn call(&self, client: &Client, n: usize, document: &str, input: Value) -> Option<Value> {
        let nodes = self.nodes.borrow().clone();
        let at = &nodes[n % nodes.len()];
        let reply = client.at(at).try_send(document, json!({ "input": input })).await;
        match reply {
            Some(reply) if reply.get("errors").is_none() => Some(reply["data"].clone()),
            failed => {
                let kind = document.chars().take(40).collect::<String>();
                self.failures.lock().await.push(format!("{at}: {kind}: {failed:?}"));
                None
            }
        }
    }

    /// Comments, changes the status and reads in turn, until it is stopped.
    async fn run(self, client: Client, ticket: Ticket, staff: bool) {
        let mut n = 0;
        while !self.stopped.load(Ordering::SeqCst) {
            n += 1;
            let comment = json!({ "ticketId": ticket.id, "body": format!("comment {n}") });
            if let Some(data) = self.call(&client, n, COMMENT, comment).await {
                let id =
                    data["addComment"]["comment"]["id"].as_str().expect("a comment").to_owned();
                self.comments.lock().await.insert(id);
                self.acknowledged.send_modify(|count| *count += 1);
            }
            if staff && n % 3 == 0 {
                let document = "mutation($input: UpdateTicketInput!) { updateTicket(input: $input) { ticket { id } } }";
                let input = json!({ "ticketId": ticket.id, "status": "WAITING_FOR_CUSTOMER" });
                self.call(&client, n, document, input).await;
            }
            if n % 4 == 0 {
                self.call(&client, n / 4, READ, json!({})).await;
            }
        }
    }

    /// Waits until this number of further comments is acknowledged.
    async fn wait_for(&self, further: usize) {
        let mut acknowledged = self.acknowledged.subscribe();
        let enough = *acknowledged.borrow() + further;
        acknowledged.wait_for(|count| *count >= enough).await.unwrap();
    }
}

/// Watches all tickets at a node and returns the ids of the comments in the order of their arrival,
/// up to the comment with the id `last`.
fn watch(mut socket: Socket, last: watch::Receiver<Option<String>>) -> JoinHandle<Vec<String>> {
    tokio::spawn(async move {
        let mut seen = Vec::new();
        let mut last = last;
        loop {
            if last.borrow().as_ref().is_some_and(|last| seen.contains(last)) {
                return seen;
            }
            let item = tokio::select! {
                item = socket.item() => item,
                _ = last.changed() => continue,
            };
            assert_ne!(item["__typename"], "ResyncRequired", "{item}");
            if let Some(id) = item["comment"]["id"].as_str() {
                seen.push(id.to_owned());
            }
        }
    })
}

/// Creates an account with the version before, and signs in.
async fn sign_up(previous: &Path, url: &str, address: &str, name: &str, role: &str) -> Client {
    let email = format!("{}@example.com", name.to_lowercase());
    let arguments =
        ["user", "create", "--password-stdin", "--email", &email, "--name", name, "--role", role];
    let created = run_program(previous, &arguments, &[("DATABASE_URL", url)], PASSWORD).await;
    assert!(created.success, "{}", created.stderr);
    Client::new(address, None).sign_in(&email, PASSWORD).await
}

async fn inbox(client: &Client, address: &str, after: &str) -> Socket {
    let mut socket = Socket::open(address, client.token.as_deref()).await;
    socket.watch_inbox("1", Some(after)).await;
    socket
}

async fn upgrade(previous: PathBuf) {
    let database = TestDatabase::empty().await;
    let url = database.url.clone();
    let variables = [("DATABASE_URL", url.as_str())];
    let old = Process::serve_program(&previous, &variables).await;
    let mut people = Vec::new();
    for (name, role) in [("Anna", "customer"), ("Jonas", "customer"), ("Marta", "agent")] {
        people.push(sign_up(&previous, &url, &old.address, name, role).await);
    }
    let tickets = [people[0].create_ticket("one").await, people[1].create_ticket("two").await];
    let start = people[2].ok("{ eventCursor }", json!({})).await["eventCursor"].clone();
    let start = start.as_str().unwrap();

    let (nodes, addresses) = watch::channel(vec![old.address.clone()]);
    let load = Load {
        nodes: addresses,
        stopped: Arc::default(),
        acknowledged: Arc::new(watch::Sender::new(0)),
        comments: Arc::default(),
        failures: Arc::default(),
    };
    let (last, stop_at) = watch::channel(None);
    let mut subscribers =
        vec![watch(inbox(&people[2], &old.address, start).await, stop_at.clone())];
    let writers = (0..3).map(|n| {
        let (client, ticket) = (people[n].clone(), tickets[n % 2].clone());
        tokio::spawn(load.clone().run(client, ticket, n == 2))
    });
    let writers = writers.collect::<Vec<_>>();

    load.wait_for(BEFORE).await;
    // Migrates before it serves, while everybody uses the version before.
    let new = Process::serve(&variables).await;
    nodes.send_replace(vec![old.address.clone(), new.address.clone()]);
    subscribers.push(watch(inbox(&people[2], &new.address, start).await, stop_at));
    load.wait_for(AFTER).await;

    load.stopped.store(true, Ordering::SeqCst);
    for writer in writers {
        writer.await.unwrap();
    }
    let (id, _) = people[2].comment(&tickets[0], "the last one").await;
    load.comments.lock().await.insert(id.clone());
    last.send_replace(Some(id));
    let expected = load.comments.lock().await.clone();
    let mut orders = Vec::new();
    for subscriber in subscribers {
        let seen = subscriber.await.unwrap();
        assert_eq!(seen.iter().cloned().collect::<BTreeSet<_>>(), expected);
        assert_eq!(seen.len(), expected.len(), "no comment comes twice");
        orders.push(seen);
    }
    assert_eq!(orders[0], orders[1], "both versions show one order");
    assert_eq!(*load.failures.lock().await, [] as [String; 0]);
    for (process, version) in [(old, "before"), (new, "new")] {
        let log = process.stop_and_read_log().await;
        let errors = log.lines().filter(|line| line.contains(" ERROR ")).collect::<Vec<_>>();
        assert_eq!(errors, [] as [&str; 0], "the log of the version {version}");
    }
    println!("{} comments were acknowledged", expected.len());
}

#[tokio::test(flavor = "multi_thread")]
#[ignore = "needs the binary of the version before: run make verify-long"]
async fn the_newest_migrations_run_beside_the_version_before_without_errors_or_lost_events() {
    let previous = std::env::var(PREVIOUS).expect("run make verify-long, which sets the variable");
    time::timeout(TIMEOUT, upgrade(previous.into())).await.expect("an end in time");
}
