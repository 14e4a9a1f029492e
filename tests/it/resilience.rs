//! The server and Postgres are killed with SIGKILL under load. What was acknowledged is saved, and
//! a subscriber that resumes misses nothing and receives nothing twice.

use std::{
    future,
    path::{Path, PathBuf},
    sync::Arc,
    time::Duration,
};

use diesel_async::RunQueryDsl as _;
use rustix::process::{Pid, Signal, kill_process};
use serde_json::{Value, json};
use ticketwire::{
    db::{
        Database,
        embedded::{EmbeddedPostgres, EmbeddedSettings},
        migrations,
    },
    domain::account::Role,
};
use tokio::{
    io,
    net::{UnixListener, UnixStream},
    runtime::Handle,
    sync::watch,
    task::{JoinHandle, JoinSet},
    time,
};
use tokio_postgres::config::Host;

use crate::harness::{
    Client, TestServer,
    client::Ticket,
    postgres::{TestDatabase, cluster_folder, cluster_settings, connect},
    process::Process,
    server::{PASSWORD, create_account},
    socket::{Incoming, Socket},
};

/// How long a client waits for a new address before it tries the old one again.
const RETRY: Duration = Duration::from_millis(50);
const ROUNDS: usize = 4;
const COMMENTS: usize = 40;

/// The current address of the server, for clients that reconnect.
type Address = watch::Receiver<String>;

/// Posts comments, each under its idempotency key until it is acknowledged; returns their bodies.
async fn write(
    client: Client,
    mut address: Address,
    ticket: Ticket,
    writer: usize,
    progress: Arc<watch::Sender<usize>>,
) -> Vec<String> {
    let mut acknowledged = Vec::new();
    for n in 0..COMMENTS {
        let body = format!("{writer}.{n}");
        loop {
            let now = client.at(&address.borrow_and_update().clone());
            match now.try_post_comment(&ticket, &body).await {
                Some(()) => break,
                // Wait until the server has a new address, or try again soon.
                None => drop(time::timeout(RETRY, address.changed()).await),
            }
        }
        acknowledged.push(body);
        progress.send_modify(|count| *count += 1);
    }
    acknowledged
}

/// Watches a ticket over as many connections as necessary until the expected number of comments has
/// arrived; returns their bodies and event ids in order of arrival.
async fn watch_all(
    client: Client,
    mut address: Address,
    ticket: Ticket,
    mut cursor: String,
    expected: usize,
) -> Vec<(String, String)> {
    let mut seen = Vec::new();
    'reconnect: while seen.len() < expected {
        let now = address.borrow_and_update().clone();
        let Some(mut socket) = Socket::try_open(&now, client.token.as_deref()).await else {
            drop(time::timeout(RETRY, address.changed()).await);
            continue;
        };
        socket.watch_ticket("1", &ticket.id, Some(&cursor)).await;
        while seen.len() < expected {
            let Incoming::Message(message) = socket.incoming().await else { continue 'reconnect };
            if message["type"] != "next" || message["payload"].get("errors").is_some() {
                // The database was down: the stream resumes after its last cursor.
                continue 'reconnect;
            }
            let item = &message["payload"]["data"]["ticketEvents"];
            if let Some(next) = item["cursor"].as_str() {
                cursor = next.to_owned();
            }
            if let Some(body) = item.pointer("/comment/body").and_then(Value::as_str) {
                seen.push((body.to_owned(), item["id"].as_str().unwrap().to_owned()));
            }
        }
    }
    seen
}

/// Compares what a watcher saw with what the writers have written.
fn assert_seen(seen: &[(String, String)], written: &[Vec<String>]) {
    let mut ids = seen.iter().map(|(_, id)| id).collect::<Vec<_>>();
    ids.sort();
    ids.dedup();
    assert_eq!(ids.len(), seen.len(), "an event came twice");
    for (writer, expected) in written.iter().enumerate() {
        let own = seen
            .iter()
            .map(|(body, _)| body)
            .filter(|body| body.starts_with(&format!("{writer}.")));
        assert!(own.eq(expected), "writer {writer}'s comments are lost, doubled or out of order");
    }
}

/// A customer and an agent who comment on a ticket, and watchers of it.
struct Traffic {
    writers: Vec<JoinHandle<Vec<String>>>,
    watchers: Vec<JoinHandle<Vec<(String, String)>>>,
    progress: watch::Receiver<usize>,
    moved: watch::Sender<String>,
}

impl Traffic {
    /// Starts the traffic on a server that has the accounts of Anna and Marta.
    async fn begin(address: &str) -> Self {
        // The process uses the real clock, so the sessions must be created there.
        let anonymous = Client::new(address, None);
        let anna = anonymous.sign_in("anna@example.com", PASSWORD).await;
        let marta = anonymous.sign_in("marta@example.com", PASSWORD).await;
        let ticket = anna.create_ticket("one").await;
        let data = anna.ok("{ eventCursor }", json!({})).await;
        let cursor = data["eventCursor"].as_str().unwrap();
        let (moved, address) = watch::channel(address.to_owned());
        let (posted, progress) = watch::channel(0);
        let posted = Arc::new(posted);
        let writers = [anna.clone(), marta].into_iter().enumerate().map(|(n, client)| {
            let posted = Arc::clone(&posted);
            tokio::spawn(write(client, address.clone(), ticket.clone(), n, posted))
        });
        let watchers = (0..3).map(|_| {
            let (ticket, cursor) = (ticket.clone(), cursor.to_owned());
            tokio::spawn(watch_all(anna.clone(), address.clone(), ticket, cursor, 2 * COMMENTS))
        });
        Self { writers: writers.collect(), watchers: watchers.collect(), progress, moved }
    }

    /// Waits until the part of the traffic before a round has passed.
    async fn wait_for_round(&mut self, round: usize) {
        let share = round * 2 * COMMENTS / (ROUNDS + 1);
        self.progress.wait_for(|posted| *posted >= share).await.unwrap();
    }

    /// Waits for the end of the traffic; checks that each watcher saw what was written.
    async fn end(self) {
        let mut written = Vec::new();
        for writer in self.writers {
            written.push(writer.await.unwrap());
        }
        for watcher in self.watchers {
            assert_seen(&watcher.await.unwrap(), &written);
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_killed_server_loses_and_repeats_no_event() {
    let server = TestServer::start().await;
    for (name, role) in [("Anna", Role::Customer), ("Marta", Role::Agent)] {
        server.sign_up(name, role).await;
    }
    let variables = [("DATABASE_URL", server.database.url.as_str())];
    let mut process = Process::serve(&variables).await;
    let mut traffic = Traffic::begin(&process.address).await;
    for round in 1..=ROUNDS {
        traffic.wait_for_round(round).await;
        process.kill().await;
        process = Process::serve(&variables).await;
        traffic.moved.send(process.address.clone()).unwrap();
    }
    traffic.end().await;
    assert!(process.terminate(Signal::TERM).await, "the last server did not stop cleanly");
    server.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_killed_postgres_loses_and_repeats_no_event() {
    // Durable: what Postgres acknowledges must survive the kill.
    let settings = EmbeddedSettings { durable: true, ..cluster_settings(cluster_folder("killed")) };
    drop(std::fs::remove_dir_all(&settings.data_dir));
    let mut postgres = EmbeddedPostgres::start(&settings).await.unwrap();
    let admin = connect(&postgres.url("postgres")).await;
    admin.batch_execute("CREATE DATABASE ticketwire_killed").await.unwrap();
    let url = postgres.url("ticketwire_killed");
    let database = Database::new(&url, 2).unwrap();
    migrations::run(&database).await.unwrap();
    database.close();
    for (name, role) in [("Anna", Role::Customer), ("Marta", Role::Agent)] {
        let email = format!("{}@example.com", name.to_lowercase());
        create_account(&url, &Arc::default(), &email, name, role).await;
    }
    let process = Process::serve(&[("DATABASE_URL", &url)]).await;
    let mut traffic = Traffic::begin(&process.address).await;
    for round in 1..=ROUNDS {
        traffic.wait_for_round(round).await;
        let pid = Pid::from_raw(postgres.pid().try_into().unwrap()).unwrap();
        kill_process(pid, Signal::KILL).unwrap();
        drop(postgres);
        postgres = EmbeddedPostgres::start(&settings).await.unwrap();
    }
    traffic.end().await;
    assert!(process.terminate(Signal::INT).await, "the server did not stop cleanly");
    postgres.stop().await.unwrap();
    drop(std::fs::remove_dir_all(&settings.data_dir));
}

#[tokio::test(flavor = "multi_thread")]
async fn nodes_that_start_concurrently_migrate_the_database_once() {
    let server = TestServer::start().await;
    let name = format!("fresh_{}", std::process::id());
    let admin = server.database.connect().await;
    admin.batch_execute(&format!("CREATE DATABASE {name}")).await.unwrap();
    let current: String =
        admin.query_one("SELECT current_database()::text", &[]).await.unwrap().get(0);
    let url = server.database.url.replace(&current, &name);
    let starts = (0..4).map(|_| {
        let url = url.clone();
        async move { Process::serve(&[("DATABASE_URL", &url)]).await }
    });
    for process in futures_util::future::join_all(starts).await {
        assert!(process.terminate(Signal::TERM).await);
    }
    let fresh = connect(&url).await;
    let count = "SELECT (SELECT count(*) FROM feed_epochs), (SELECT count(*) FROM categories)";
    let row = fresh.query_one(count, &[]).await.unwrap();
    assert_eq!((row.get::<_, i64>(0), row.get::<_, i64>(1)), (1, 3));
    drop(fresh);
    admin.batch_execute(&format!("DROP DATABASE {name} WITH (FORCE)")).await.unwrap();
    server.stop().await;
}

/// Forwards connections to a Unix socket. When `silenced` grows, those that are open transfer nothing
/// more, and stay open.
async fn forward(listener: UnixListener, upstream: PathBuf, silenced: watch::Receiver<usize>) {
    let mut connections = JoinSet::new();
    loop {
        let (mut client, _) = listener.accept().await.unwrap();
        let mut server = UnixStream::connect(&upstream).await.unwrap();
        let mut silenced = silenced.clone();
        silenced.mark_unchanged();
        connections.spawn(async move {
            tokio::select! {
                _ = io::copy_bidirectional(&mut client, &mut server) => {}
                _ = silenced.changed() => future::pending().await,
            }
        });
    }
}

/// Starts [`forward`] in front of a database. Returns the URL by which it is reached through it.
fn start_proxy(
    url: &str,
    between: &Path,
    silenced: watch::Receiver<usize>,
) -> (JoinHandle<()>, String) {
    let config = url.parse::<tokio_postgres::Config>().unwrap();
    let [Host::Unix(folder)] = config.get_hosts() else { panic!("{url}") };
    let upstream = folder.join(format!(".s.PGSQL.{}", config.get_ports()[0]));
    let encoded = |path: &Path| path.to_str().unwrap().replace('/', "%2F");
    let through = url.replace(&encoded(folder), &encoded(between));
    assert_ne!(through, url);
    let listener = UnixListener::bind(between.join(upstream.file_name().unwrap())).unwrap();
    (tokio::spawn(forward(listener, upstream, silenced)), through)
}

#[tokio::test(flavor = "multi_thread")]
async fn a_statement_whose_connection_closes_fails_at_once_and_leaves_no_task() {
    let database = TestDatabase::empty().await;
    let between = tempfile::tempdir().unwrap();
    let (_silence, silenced) = watch::channel(0);
    let (proxy, url) = start_proxy(&database.url, between.path(), silenced);
    let pool = Database::new(&url, 2).unwrap();
    let tasks = || Handle::current().metrics().num_alive_tasks();
    let before = tasks();
    let idle = pool.read().await.unwrap();
    let mut running = pool.read().await.unwrap();
    drop(idle);
    assert!(tasks() > before);
    let statement = diesel::sql_query("SELECT pg_sleep(60)");
    let execute = statement.execute(&mut *running);
    let close = async {
        let watcher = database.connect().await;
        let sleeps = "SELECT EXISTS (SELECT FROM pg_stat_activity
            WHERE datname = current_database() AND wait_event = 'PgSleep')";
        while !watcher.query_one(sleeps, &[]).await.unwrap().get::<_, bool>(0) {}
        proxy.abort();
    };
    let (failed, ()) =
        time::timeout(Duration::from_secs(20), async { tokio::join!(execute, close) })
            .await
            .expect("the failure in time");
    failed.unwrap_err();
    drop(running);
    let ended = async {
        while tasks() > before - 1 {
            tokio::task::yield_now().await;
        }
    };
    time::timeout(Duration::from_secs(20), ended).await.expect("the end of the tasks");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_node_whose_connections_to_the_database_go_silent_opens_others() {
    let server = TestServer::start().await;
    let anna = server.customer("Anna").await;
    let ticket = anna.create_ticket("Is anybody there?").await;
    let between = tempfile::tempdir().unwrap();
    let (silence, silenced) = watch::channel(0);
    let (proxy, url) = start_proxy(&server.database.url, between.path(), silenced);
    let node = server.node_at(&url).await;
    let mut socket = Socket::open(&node.address().to_string(), anna.token.as_deref()).await;
    socket.watch_ticket("1", &ticket.id, None).await;
    socket.caught_up().await;
    silence.send_modify(|silences| *silences += 1);
    anna.comment(&ticket, "Yes.").await;
    // Longer than a statement may go without an answer, and a margin.
    let limit = Duration::from_secs(90);
    let seen = async {
        loop {
            if let Incoming::Message(message) = socket.incoming_within(limit).await
                && message.to_string().contains("CommentAdded")
            {
                break;
            }
        }
    };
    time::timeout(limit, seen).await.expect("the event in time");
    node.stop().await;
    proxy.abort();
    server.stop().await;
}
