//! Restores within the same cluster: what a cursor of the lost history is told afterwards.

use std::{path::PathBuf, process::Stdio};

use serde_json::{Value, json};
use tokio::process::Command;

use crate::{
    events::comments,
    harness::{
        Client, Socket, TestServer,
        client::Ticket,
        postgres::connect,
        process,
        socket::{EVENT, Incoming},
    },
};

/// A program that comes with Postgres.
fn program(name: &str) -> PathBuf {
    let folders = std::fs::read_dir("/usr/lib/postgresql").into_iter().flatten().flatten();
    let mut found = folders.map(|folder| folder.path().join("bin").join(name)).collect::<Vec<_>>();
    found.retain(|path| path.exists());
    found.sort();
    // Elsewhere it is on the path.
    found.pop().unwrap_or_else(|| name.into())
}

async fn run(name: &str, arguments: &[&str]) {
    let mut command = Command::new(program(name));
    let status = command.args(arguments).stdin(Stdio::null()).status().await;
    let status = status.unwrap_or_else(|error| panic!("{name} (postgresql-client): {error}"));
    assert!(status.success(), "{name} failed");
}

/// A dump of a database in a file, removed at the end.
struct Dump {
    url: String,
    file: PathBuf,
}

impl Dump {
    async fn of(server: &TestServer, name: &str) -> Self {
        let url = server.database.url.clone();
        let file = PathBuf::from(format!("{}/{name}.dump", env!("CARGO_TARGET_TMPDIR")));
        run("pg_dump", &["-Fc", "-f", file.to_str().unwrap(), &url]).await;
        Self { url, file }
    }

    /// Drops the database under everybody's feet and loads the dump into a new one of that name.
    async fn restore(&self) {
        let (cluster, name) = self.url.rsplit_once('/').unwrap();
        let admin = connect(&format!("{cluster}/postgres")).await;
        admin.batch_execute(&format!("DROP DATABASE {name} WITH (FORCE)")).await.unwrap();
        admin.batch_execute(&format!("CREATE DATABASE {name}")).await.unwrap();
        run("pg_restore", &["--single-transaction", "-d", &self.url, self.file.to_str().unwrap()])
            .await;
    }
}

impl Drop for Dump {
    fn drop(&mut self) {
        drop(std::fs::remove_file(&self.file));
    }
}

async fn cursor_of(client: &Client) -> String {
    client.ok("{ eventCursor }", json!({})).await["eventCursor"].as_str().unwrap().to_owned()
}

/// Posts comments until each is stored: a database that has just come back may refuse the first.
async fn post(client: &Client, ticket: &Ticket, bodies: &[String]) {
    for body in bodies {
        while client.try_post_comment(ticket, body).await.is_none() {}
    }
}

fn bodies(word: &str, count: usize) -> Vec<String> {
    (0..count).map(|n| format!("{word} {n}")).collect()
}

/// The comments that come after a cursor until there are as many as expected, or until the stream
/// cannot be resumed.
async fn resumed_until(client: &Client, ticket: &Ticket, after: &str, count: usize) -> Vec<String> {
    let mut seen = Vec::new();
    let mut socket = client.socket().await;
    socket.watch_ticket("1", &ticket.id, Some(after)).await;
    while seen.len() < count {
        let item = socket.item().await;
        match item["__typename"].as_str().unwrap() {
            "CommentAdded" => seen.push(item["comment"]["body"].as_str().unwrap().to_owned()),
            "ResyncRequired" => break,
            _ => {}
        }
    }
    seen
}

/// The comments that come after a cursor, and what ends them: `ResyncRequired`, or a checkpoint.
async fn resumed(client: &Client, ticket: &Ticket, after: &str) -> (Vec<String>, Value) {
    let mut seen = Vec::new();
    let mut socket = client.socket().await;
    socket.watch_ticket("1", &ticket.id, Some(after)).await;
    loop {
        let item = socket.item().await;
        match item["__typename"].as_str().unwrap() {
            "CommentAdded" => seen.push(item["comment"]["body"].as_str().unwrap().to_owned()),
            "Checkpoint" | "ResyncRequired" => return (seen, item),
            _ => {}
        }
    }
}

/// What a client of a lost cursor is told, which may take until the node has noticed: nothing of
/// the new history.
async fn is_told_to_resync(client: &Client, ticket: &Ticket, lost: &str) {
    let mut socket = loop {
        if let Some(socket) = Socket::try_open(client.address(), client.token.as_deref()).await {
            break socket;
        }
    };
    socket.watch_ticket("1", &ticket.id, Some(lost)).await;
    loop {
        let message = match socket.incoming().await {
            Incoming::Message(message) => message,
            // The node has not reached the database yet. The client comes back, as clients do.
            Incoming::Closed(..) | Incoming::Broken => {
                return Box::pin(is_told_to_resync(client, ticket, lost)).await;
            }
        };
        let text = message.to_string();
        assert!(!text.contains("new "), "a lost cursor continues in the new history: {text}");
        if text.contains("HISTORY_REWOUND") {
            return;
        }
        assert_ne!(message["type"], "complete", "{message}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_dump_that_is_loaded_into_the_same_cluster_is_noticed_on_all_nodes() {
    let mut server = TestServer::start().await;
    let node = server.second_node().await;
    let anna = server.customer("Anna").await;
    let elsewhere = anna.at(&node.address().to_string());
    let ticket = anna.create_ticket("one").await;
    server.quiet().await;
    let kept = cursor_of(&anna).await;
    let dump = Dump::of(&server, "alive").await;
    post(&anna, &ticket, &bodies("lost", 5)).await;
    server.quiet().await;
    // Longer than a node remembers, so to speak: it has read all of it.
    let (_, end) = resumed(&anna, &ticket, &kept).await;
    let lost = end["cursor"].as_str().unwrap().to_owned();
    dump.restore().await;
    let new = bodies("new", 9);
    post(&anna, &ticket, &new).await;
    for client in [&anna, &elsewhere] {
        is_told_to_resync(client, &ticket, &lost).await;
        let seen = resumed_until(client, &ticket, &kept, new.len()).await;
        assert_eq!(seen, new, "up to the dump nothing was lost");
    }
    node.stop().await;

    // Nor does anybody have to look on.
    let kept = cursor_of(&anna).await;
    let dump = Dump::of(&server, "stopped").await;
    post(&anna, &ticket, &bodies("lost again", 5)).await;
    server.quiet().await;
    let (_, end) = resumed(&anna, &ticket, &kept).await;
    let lost = end["cursor"].as_str().unwrap().to_owned();
    server.restart_after(async || dump.restore().await).await;
    let anna = anna.at(&server.address());
    post(&anna, &ticket, &bodies("new once more", 9)).await;
    is_told_to_resync(&anna, &ticket, &lost).await;
    let new = bodies("new once more", 9);
    assert_eq!(resumed_until(&anna, &ticket, &kept, new.len()).await, new);
    server.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_snapshot_that_is_brought_back_is_noticed_by_running_nodes_even_if_more_has_happened() {
    let server = TestServer::start().await;
    let node = server.second_node().await;
    let anna = server.customer("Anna").await;
    let elsewhere = anna.at(&node.address().to_string());
    let ticket = anna.create_ticket("one").await;
    server.quiet().await;
    let mut streams = [anna.socket().await, elsewhere.socket().await];
    for socket in &mut streams {
        socket.watch_ticket("1", &ticket.id, None).await;
        socket.caught_up().await;
    }
    let kept = cursor_of(&anna).await;
    let mut lost = String::new();
    for body in bodies("lost", 5) {
        post(&anna, &ticket, &[body]).await;
        for socket in &mut streams {
            let item = socket.item().await;
            item["cursor"].as_str().unwrap().clone_into(&mut lost);
        }
    }
    server.quiet().await;
    // What a snapshot from before the comments leaves, and then nine others at once.
    let rewind = format!(
        "BEGIN;
         ALTER TABLE events DISABLE TRIGGER events_append_only;
         DELETE FROM notifications;
         DELETE FROM feed USING events e WHERE e.id = event_id AND kind = 'comment_added';
         DELETE FROM events WHERE kind = 'comment_added';
         UPDATE feed_head SET pos = (SELECT max(pos) FROM feed);
         UPDATE consumer_offsets SET pos = (SELECT pos FROM feed_head);
         ALTER TABLE events ENABLE TRIGGER events_append_only;
         {} COMMIT",
        comments(1, 9)
    );
    server.database.connect().await.batch_execute(&rewind).await.unwrap();
    for socket in &mut streams {
        let item = socket.item().await;
        assert_eq!(item["__typename"], "ResyncRequired", "{item}");
    }
    for client in [&anna, &elsewhere] {
        let (seen, end) = resumed(client, &ticket, &lost).await;
        assert_eq!((seen.len(), &end["__typename"]), (0, &json!("ResyncRequired")));
        assert_eq!(resumed_until(client, &ticket, &kept, 9).await.len(), 9);
    }
    node.stop().await;
    server.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn an_operator_can_have_all_streams_start_again() {
    let server = TestServer::start().await;
    let anna = server.customer("Anna").await;
    let ticket = anna.create_ticket("one").await;
    let mut socket = anna.socket().await;
    let query = format!("subscription {{ inboxEvents {{ {EVENT} }} }}");
    socket.subscribe("1", &query, json!({})).await;
    let before = socket.caught_up().await;
    let variables = [("DATABASE_URL", server.database.url.as_str())];
    let ended = process::run(&["restored"], &variables, "").await;
    assert!(ended.success && ended.stdout.contains("start again"), "{}", ended.stderr);
    assert_eq!(socket.item().await["reason"], "HISTORY_REWOUND");
    assert_eq!(resumed(&anna, &ticket, &before).await.1["reason"], "HISTORY_REWOUND");
    let now = cursor_of(&anna).await;
    anna.comment(&ticket, "after").await;
    server.quiet().await;
    let mut socket = anna.socket().await;
    socket.watch_ticket("1", &ticket.id, Some(&now)).await;
    loop {
        let item = socket.item().await;
        if item["__typename"] == "CommentAdded" {
            break assert_eq!(item["comment"]["body"], "after");
        }
    }
    server.stop().await;
}
