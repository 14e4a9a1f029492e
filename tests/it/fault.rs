//! Everything at once: writers and resuming subscribers on three nodes, and faults. Servers are
//! killed and stopped, Postgres is stopped as in a power failure, connections are cut in the middle
//! of a frame, readers stall, and a transaction is held open. In the end each subscriber must have
//! seen the events of the log that they may see: all of them, once, in order.
//!
//! Nothing here waits for time to pass: the next fault follows when enough events have been seen,
//! and a stall ends when enough comments have been written.

use std::{
    collections::{BTreeMap, HashMap, HashSet},
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
    time::{Duration, Instant},
};

use base64::{Engine as _, engine::general_purpose::URL_SAFE_NO_PAD};
use rustix::process::{Pid, Signal, kill_process};
use serde_json::json;
use ticketwire::{
    db::{
        Database,
        embedded::{EmbeddedPostgres, EmbeddedSettings},
        migrations,
    },
    domain::{account::Role, cursor::Cursor},
};
use tokio::{sync::watch, task::JoinHandle, time};

use crate::harness::{
    Client,
    client::Ticket,
    postgres::{cluster_folder, cluster_settings, connect},
    process::Process,
    proxy::Proxy,
    server::{PASSWORD, create_account},
    socket::{Incoming, Socket},
};

const NODES: usize = 3;
/// How many events all subscribers together see between two faults.
const BETWEEN: usize = 60;
/// How many comments are acknowledged while a reader stalls: more than fit into the buffers of the
/// sockets and the subscriber.
const STALLED_FOR: usize = 100;
/// How many events a held transaction appends: its commit publishes more at once than a subscriber
/// buffer holds.
const HELD: i64 = 100;
/// The longest that a client waits after a failed attempt before it tries the next node.
const RETRY: Duration = Duration::from_millis(50);
/// After this time without a message a client reconnects: its connection may be stalled.
const SILENCE: Duration = Duration::from_secs(15);
/// The longest that anything may take.
const TIMEOUT: Duration = Duration::from_mins(1);
/// The length of comments: normally, and while a reader stalls, so that its socket fills up.
const SHORT: usize = 1_000;
const LONG: usize = 40_000;

/// A fault of the environment.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Fault {
    /// A node is killed with SIGKILL.
    Kill,
    /// A node is stopped with SIGTERM, and drains.
    Drain,
    /// A node's connections are cut in the middle of a frame.
    Cut,
    /// Nobody reads from a node's connections.
    Stall,
    /// Postgres is stopped as with `pg_ctl stop -m immediate`.
    Postgres,
}

/// The faults while a transaction is held open.
const ROUND: [Fault; 6] =
    [Fault::Cut, Fault::Kill, Fault::Stall, Fault::Cut, Fault::Drain, Fault::Kill];

/// A stream and who watches it.
#[derive(Clone, Copy, Debug)]
enum Stream {
    StaffInbox,
    CustomerInbox,
    OtherCustomerInbox,
    StaffTicket,
    CustomerTicket,
}

const STREAMS: [Stream; 5] = [
    Stream::StaffInbox,
    Stream::CustomerInbox,
    Stream::OtherCustomerInbox,
    Stream::StaffTicket,
    Stream::CustomerTicket,
];

impl Stream {
    /// The SQL condition of the events that belong to the stream.
    fn condition(self) -> &'static str {
        match self {
            Self::StaffInbox => "true",
            Self::CustomerInbox => "a.email = 'anna@example.com' AND e.audience = 'participants'",
            Self::OtherCustomerInbox => {
                "a.email = 'jonas@example.com' AND e.audience = 'participants'"
            }
            Self::StaffTicket => "t.summary = 'one'",
            Self::CustomerTicket => "t.summary = 'one' AND e.audience = 'participants'",
        }
    }
}

/// The sessions and tickets.
#[derive(Clone)]
struct People {
    anna: Client,
    jonas: Client,
    marta: Client,
    /// Two of Anna's, then one of Jonas'.
    tickets: Vec<Ticket>,
    /// One of Anna's to which only the held transaction writes.
    held: Ticket,
}

impl People {
    async fn sign_in(address: &str) -> Self {
        let anonymous = Client::new(address, None);
        let anna = anonymous.sign_in("anna@example.com", PASSWORD).await;
        let jonas = anonymous.sign_in("jonas@example.com", PASSWORD).await;
        let marta = anonymous.sign_in("marta@example.com", PASSWORD).await;
        let tickets = vec![
            anna.create_ticket("one").await,
            anna.create_ticket("two").await,
            jonas.create_ticket("three").await,
        ];
        let held = anna.create_ticket("held").await;
        Self { anna, jonas, marta, tickets, held }
    }

    fn watcher(&self, stream: Stream) -> &Client {
        match stream {
            Stream::StaffInbox | Stream::StaffTicket => &self.marta,
            Stream::CustomerInbox | Stream::CustomerTicket => &self.anna,
            Stream::OtherCustomerInbox => &self.jonas,
        }
    }
}

/// The current addresses of the nodes, without the proxies.
type Addresses = watch::Receiver<Vec<String>>;

/// Writes comments until `length` is 0. Each is sent again under its idempotency key, to the next
/// node, until it is acknowledged. Returns the keys.
async fn write(
    writer: usize,
    people: People,
    mut addresses: Addresses,
    acknowledged: Arc<watch::Sender<usize>>,
    length: Arc<AtomicUsize>,
) -> Vec<String> {
    let (client, tickets) = match writer {
        0 => (&people.anna, &people.tickets[..2]),
        1 => (&people.jonas, &people.tickets[2..]),
        _ => (&people.marta, &people.tickets[..]),
    };
    let staff = writer > 1;
    let mut written = Vec::new();
    let mut node = writer;
    loop {
        let length = length.load(Ordering::SeqCst);
        if length == 0 {
            return written;
        }
        let n = written.len();
        let ticket = &tickets[n % tickets.len()];
        let key = format!("{writer}.{n}");
        let visibility = if staff && n % 3 == 0 { "INTERNAL" } else { "PUBLIC" };
        let input = json!({
            "ticketId": ticket.id,
            "body": format!("{key} {}", "x".repeat(length)),
            "visibility": visibility,
            "idempotencyKey": key,
        });
        let document =
            "mutation($input: AddCommentInput!) { addComment(input: $input) { comment { id } } }";
        loop {
            let at = addresses.borrow_and_update()[node % NODES].clone();
            let answer = client.at(&at).try_send(document, json!({ "input": input })).await;
            if answer.is_some_and(|answer| answer.pointer("/data/addComment/comment/id").is_some())
            {
                break;
            }
            node += 1;
            drop(time::timeout(RETRY, addresses.changed()).await);
        }
        if staff && n % 4 == 1 {
            // May fail or arrive too late. The check reads from the log whether it was saved.
            let input = json!({ "ticketId": ticket.id, "status": "WAITING_FOR_CUSTOMER" });
            let document = "mutation($input: UpdateTicketInput!) { updateTicket(input: $input) { ticket { id } } }";
            let at = addresses.borrow()[node % NODES].clone();
            let _ = client.at(&at).try_send(document, json!({ "input": input })).await;
        }
        written.push(key);
        acknowledged.send_modify(|count| *count += 1);
    }
}

/// A subscriber and what it has seen.
struct Subscriber {
    stream: Stream,
    client: Client,
    ticket: String,
    /// The cursor of the last message.
    cursor: String,
    /// The ids of all events in the order of their arrival.
    seen: Vec<String>,
    /// How many connections it has opened.
    reconnections: usize,
    /// When it stops waiting, once nothing more is written and nothing arrives.
    until: Option<Instant>,
    /// Why its last streams ended.
    ends: Vec<String>,
}

impl Subscriber {
    /// Watches until the last event is seen, over as many connections as that takes.
    async fn watch(
        mut self,
        mut node: usize,
        proxies: Vec<String>,
        observed: Arc<watch::Sender<usize>>,
        mut last: watch::Receiver<Option<HashMap<usize, String>>>,
        number: usize,
    ) -> Self {
        while !self.done(&last, number) {
            let address = &proxies[node % NODES];
            node += 1;
            let opening = Socket::try_open(address, self.client.token.as_deref());
            let Ok(Some(mut socket)) = time::timeout(SILENCE, opening).await else {
                time::sleep(RETRY).await;
                continue;
            };
            self.reconnections += 1;
            let after = Some(self.cursor.as_str());
            match self.stream {
                Stream::StaffTicket | Stream::CustomerTicket => {
                    socket.watch_ticket("1", &self.ticket, after).await;
                }
                _ => socket.watch_inbox("1", after).await,
            }
            while !self.done(&last, number) {
                let incoming = tokio::select! {
                    incoming = time::timeout(SILENCE, socket.incoming()) => incoming,
                    _ = last.changed() => continue,
                };
                let Ok(incoming) = incoming else {
                    self.note("silence".to_owned());
                    break;
                };
                if !self.take(incoming, &observed) {
                    break;
                }
            }
        }
        self
    }

    /// Whether it has seen the last event or has given up.
    fn done(
        &mut self,
        last: &watch::Receiver<Option<HashMap<usize, String>>>,
        number: usize,
    ) -> bool {
        let last = last.borrow();
        let Some(last) = last.as_ref() else { return false };
        let until = *self.until.get_or_insert_with(|| Instant::now() + TIMEOUT);
        last.get(&number) == self.seen.last() || Instant::now() >= until
    }

    /// Notes why a stream ended, to be printed if events are missing.
    fn note(&mut self, end: String) {
        if self.ends.len() == 10 {
            self.ends.remove(0);
        }
        self.ends.push(end);
    }

    /// Processes what was received; returns whether the stream continues.
    fn take(&mut self, incoming: Incoming, observed: &watch::Sender<usize>) -> bool {
        let message = match incoming {
            Incoming::Message(message) => message,
            Incoming::Closed(code, reason) => {
                assert!(code < 4000, "closed permanently: {code} {reason}");
                self.note(format!("{code} {reason}"));
                return false;
            }
            Incoming::Broken => {
                self.note("a cut".to_owned());
                return false;
            }
        };
        if message["type"] != "next" || message["payload"].get("errors").is_some() {
            // The database was down: the stream resumes after its last cursor.
            self.note(message.to_string().chars().take(300).collect());
            return false;
        }
        let item = message["payload"]["data"].as_object().unwrap().values().next().unwrap();
        assert_ne!(item["__typename"], "ResyncRequired", "{item}");
        if let Some(id) = item["id"].as_str() {
            self.seen.push(id.to_owned());
            self.until = self.until.map(|_| Instant::now() + TIMEOUT);
            observed.send_modify(|count| *count += 1);
        }
        self.cursor = item["cursor"].as_str().expect("a cursor").to_owned();
        true
    }
}

/// A node behind its proxy.
struct Node {
    process: Option<Process>,
    proxy: Proxy,
}

impl Node {
    /// Returns how many overflows of subscriber buffers the node has counted.
    async fn overflows(&self) -> usize {
        let welcome = &self.process.as_ref().unwrap().welcome;
        let line = welcome.lines().find(|line| line.trim().starts_with("Metrics")).unwrap();
        let url = line.split_whitespace().last().unwrap();
        let text = reqwest::get(url).await.unwrap().text().await.unwrap();
        let name = "ticketwire_subscriber_buffer_overflows_total ";
        text.lines().find_map(|line| line.strip_prefix(name)).unwrap().parse().unwrap()
    }
}

/// The cluster, its clients and what was done to it.
struct Scene {
    settings: EmbeddedSettings,
    postgres: Option<EmbeddedPostgres>,
    url: String,
    nodes: Vec<Node>,
    moved: watch::Sender<Vec<String>>,
    people: People,
    /// The cursor after everything that happened before the writers started.
    start: String,
    held: Option<tokio_postgres::Client>,
    /// How many transactions were held so far.
    holds: i64,
    faults: BTreeMap<Fault, usize>,
    /// How many subscriber buffers overflowed while readers stalled.
    overflows: usize,
    acknowledged: watch::Receiver<usize>,
    observed: watch::Receiver<usize>,
    writers: Vec<JoinHandle<Vec<String>>>,
    subscribers: Vec<JoinHandle<Subscriber>>,
    last: watch::Sender<Option<HashMap<usize, String>>>,
    /// The length of comments, or 0 to stop the writers.
    length: Arc<AtomicUsize>,
}

async fn serve(url: &str) -> Process {
    let variables = [
        ("DATABASE_URL", url),
        ("TICKETWIRE_DATABASE_POOL_SIZE", "8"),
        ("TICKETWIRE_ADMIN_LISTEN", "127.0.0.1:0"),
    ];
    Process::serve(&variables).await
}

impl Scene {
    async fn start(name: &str) -> Self {
        // Durable: what Postgres acknowledges must survive the stop.
        let settings = EmbeddedSettings { durable: true, ..cluster_settings(cluster_folder(name)) };
        drop(std::fs::remove_dir_all(&settings.data_dir));
        let postgres = EmbeddedPostgres::start(&settings).await.unwrap();
        let admin = connect(&postgres.url("postgres")).await;
        admin.batch_execute("CREATE DATABASE ticketwire_fault").await.unwrap();
        let url = postgres.url("ticketwire_fault");
        let database = Database::new(&url, 2).unwrap();
        migrations::run(&database).await.unwrap();
        database.close();
        for (name, role) in
            [("Anna", Role::Customer), ("Jonas", Role::Customer), ("Marta", Role::Agent)]
        {
            let email = format!("{}@example.com", name.to_lowercase());
            create_account(&url, &Arc::default(), &email, name, role).await;
        }
        let mut nodes = Vec::new();
        for _ in 0..NODES {
            let process = serve(&url).await;
            let proxy = Proxy::start(&process.address).await;
            nodes.push(Node { process: Some(process), proxy });
        }
        let addresses = nodes.iter().map(|node| node.process.as_ref().unwrap().address.clone());
        let moved = watch::Sender::new(addresses.collect::<Vec<_>>());
        let people = People::sign_in(&moved.borrow()[0]).await;
        let data = people.anna.ok("{ eventCursor }", json!({})).await;
        let start = data["eventCursor"].as_str().unwrap().to_owned();
        let mut scene = Self {
            settings,
            postgres: Some(postgres),
            url,
            nodes,
            moved,
            people,
            start,
            held: None,
            holds: 0,
            faults: BTreeMap::new(),
            overflows: 0,
            acknowledged: watch::channel(0).1,
            observed: watch::channel(0).1,
            writers: vec![],
            subscribers: vec![],
            last: watch::Sender::new(None),
            length: Arc::new(AtomicUsize::new(SHORT)),
        };
        scene.start_clients();
        scene
    }

    /// Starts the writers and the subscribers: two for each stream, which begin on different nodes.
    fn start_clients(&mut self) {
        let proxies = self.nodes.iter().map(|node| node.proxy.address.clone()).collect::<Vec<_>>();
        let (seen, observed) = watch::channel(0);
        let seen = Arc::new(seen);
        for (number, stream) in STREAMS.into_iter().chain(STREAMS).enumerate() {
            let subscriber = Subscriber {
                stream,
                client: self.people.watcher(stream).clone(),
                ticket: self.people.tickets[0].id.clone(),
                cursor: self.start.clone(),
                seen: vec![],
                reconnections: 0,
                until: None,
                ends: vec![],
            };
            let (proxies, seen) = (proxies.clone(), Arc::clone(&seen));
            let watching = subscriber.watch(number, proxies, seen, self.last.subscribe(), number);
            self.subscribers.push(tokio::spawn(watching));
        }
        let (posted, acknowledged) = watch::channel(0);
        let posted = Arc::new(posted);
        for writer in 0..4 {
            let addresses = self.moved.subscribe();
            let (posted, length) = (Arc::clone(&posted), Arc::clone(&self.length));
            let writing = write(writer, self.people.clone(), addresses, posted, length);
            self.writers.push(tokio::spawn(writing));
        }
        (self.observed, self.acknowledged) = (observed, acknowledged);
    }

    /// Begins a transaction that appends events and stays open.
    async fn hold_transaction(&mut self) {
        let client = connect(&self.url).await;
        self.holds += 1;
        let sql = format!(
            "BEGIN;
             WITH appended AS (
                 INSERT INTO events (ticket_id, seq, kind, audience, data, occurred_at)
                 SELECT id, {} + n, 'summary_changed', 'participants', '{{}}', now()
                 FROM tickets, generate_series(1, {HELD}) n WHERE summary = 'held' RETURNING id
             ) INSERT INTO pending_events SELECT id FROM appended",
            self.holds * HELD,
        );
        client.batch_execute(&sql).await.unwrap();
        self.held = Some(client);
    }

    /// Waits until the subscribers have seen enough further events.
    async fn wait_for_events(&mut self) {
        let enough = *self.observed.borrow_and_update() + BETWEEN;
        let seen = time::timeout(TIMEOUT, self.observed.wait_for(|seen| *seen >= enough)).await;
        seen.expect("events in time").unwrap();
    }

    async fn inflict(&mut self, fault: Fault) {
        self.wait_for_events().await;
        let times = self.faults.entry(fault).or_default();
        *times += 1;
        let (times, at) = (*times, *times % NODES);
        match fault {
            Fault::Kill => {
                self.nodes[at].process.take().unwrap().kill().await;
                self.serve_again(at).await;
            }
            Fault::Drain => {
                let process = self.nodes[at].process.take().unwrap();
                assert!(process.terminate(Signal::TERM).await, "a node did not stop cleanly");
                self.serve_again(at).await;
            }
            Fault::Cut => {
                // In the header of a frame, soon after it, and far behind it.
                let after = [1, 40, 400][times % 3];
                let cut = self.nodes[self.busiest()].proxy.cut(after);
                time::timeout(TIMEOUT, cut).await.expect("a cut in time");
            }
            Fault::Stall => {
                let at = self.busiest();
                let before = self.nodes[at].overflows().await;
                self.nodes[at].proxy.stall(true);
                self.length.store(LONG, Ordering::SeqCst);
                let enough = *self.acknowledged.borrow_and_update() + STALLED_FOR;
                let written = self.acknowledged.wait_for(|written| *written >= enough);
                time::timeout(TIMEOUT, written).await.expect("writes in time").unwrap();
                self.overflows += self.nodes[at].overflows().await - before;
                self.length.store(SHORT, Ordering::SeqCst);
                self.nodes[at].proxy.stall(false);
            }
            Fault::Postgres => {
                let postgres = self.postgres.take().unwrap();
                let pid = Pid::from_raw(postgres.pid().try_into().unwrap()).unwrap();
                kill_process(pid, Signal::QUIT).unwrap();
                drop(postgres);
                self.postgres = Some(EmbeddedPostgres::start(&self.settings).await.unwrap());
                self.held = None;
            }
        }
    }

    /// The node with the most connections.
    fn busiest(&self) -> usize {
        (0..NODES).max_by_key(|&at| self.nodes[at].proxy.open_connections()).unwrap_or_default()
    }

    async fn serve_again(&mut self, at: usize) {
        let process = serve(&self.url).await;
        self.nodes[at].proxy.set_upstream(&process.address);
        self.moved.send_modify(|addresses| addresses[at].clone_from(&process.address));
        self.nodes[at].process = Some(process);
    }

    /// Inflicts rounds of faults. During each a transaction is held for at least this long and then
    /// committed; the next transaction is lost when Postgres stops.
    async fn run(&mut self, rounds: usize, held_for: Duration) {
        for _ in 0..rounds {
            self.hold_transaction().await;
            let since = Instant::now();
            loop {
                for fault in ROUND {
                    self.inflict(fault).await;
                }
                if since.elapsed() >= held_for {
                    break;
                }
            }
            let held = self.held.take().unwrap();
            held.batch_execute("COMMIT").await.unwrap();
            self.hold_transaction().await;
            self.inflict(Fault::Postgres).await;
        }
        self.wait_for_events().await;
    }

    /// Waits until everybody has finished, and compares what was seen with the log.
    async fn check(mut self) {
        self.length.store(0, Ordering::SeqCst);
        let mut written = Vec::new();
        for writer in std::mem::take(&mut self.writers) {
            written.extend(writer.await.unwrap());
        }
        let database = connect(&self.url).await;
        let placed = "SELECT NOT EXISTS (SELECT FROM pending_events)";
        while !database.query_one(placed, &[]).await.unwrap().get::<_, bool>(0) {}
        let mut expected = Vec::new();
        for stream in STREAMS {
            expected.push(log(&database, stream, &self.start).await);
        }
        let last = (0..self.subscribers.len())
            .filter_map(|number| Some((number, expected[number % STREAMS.len()].last()?.clone())));
        self.last.send(Some(last.collect())).unwrap();
        let (mut lost, mut duplicated, mut inverted, mut foreign) = (0, 0, 0, 0);
        let mut reconnections = 0;
        for (number, watching) in std::mem::take(&mut self.subscribers).into_iter().enumerate() {
            let subscriber = watching.await.unwrap();
            if subscriber.until.is_some_and(|until| Instant::now() >= until) {
                println!("{number} gave up; its last streams ended with {:?}", subscriber.ends);
            }
            let verdict = Verdict::of(&subscriber.seen, &expected[number % STREAMS.len()]);
            println!("{:?}: {} events, {verdict:?}", subscriber.stream, subscriber.seen.len());
            lost += verdict.lost;
            duplicated += verdict.duplicated;
            inverted += verdict.inverted;
            foreign += verdict.foreign;
            reconnections += subscriber.reconnections;
        }
        let cuts = self.nodes.iter().map(|node| node.proxy.cuts()).sum::<usize>();
        println!(
            "{:?}: {} writes, {reconnections} connections, {cuts} of them cut, \
             {} buffers overflowed; {lost} events lost, \
             {duplicated} duplicated, {inverted} out of order, {foreign} foreign",
            self.faults,
            written.len(),
            self.overflows,
        );
        assert_eq!((lost, duplicated, inverted, foreign), (0, 0, 0, 0));
        assert!(cuts >= self.faults[&Fault::Cut], "a cut without a connection");
        self.check_writes(&database, written).await;
        drop(database);
        self.stop().await;
    }

    /// Checks that the log contains what was acknowledged, once.
    async fn check_writes(&self, database: &tokio_postgres::Client, mut written: Vec<String>) {
        let in_log =
            "SELECT split_part(c.body, ' ', 1) FROM feed f JOIN events e ON e.id = f.event_id
            JOIN comments c ON c.id = (e.data->>'comment_id')::uuid WHERE e.kind = 'comment_added'";
        let rows = database.query(in_log, &[]).await.unwrap();
        let mut logged = rows.iter().map(|row| row.get::<_, String>(0)).collect::<Vec<_>>();
        logged.sort();
        written.sort();
        assert_eq!(logged, written, "the log does not match what was acknowledged");
        let held = "SELECT count(*) FROM feed f JOIN tickets t ON t.id = f.ticket_id
            WHERE t.summary = 'held'";
        let held = database.query_one(held, &[]).await.unwrap().get::<_, i64>(0);
        // Its creation, and the events of every other transaction: those were committed.
        assert_eq!(held, 1 + self.holds / 2 * HELD, "{}", self.people.held.number);
    }

    async fn stop(mut self) {
        let ends = self.nodes.iter_mut().map(|node| {
            let process = node.process.take().unwrap();
            process.terminate(Signal::TERM)
        });
        let ends = futures_util::future::join_all(ends).await;
        assert_eq!(ends, [true; NODES], "a node did not stop cleanly");
        self.postgres.take().unwrap().stop().await.unwrap();
        drop(std::fs::remove_dir_all(&self.settings.data_dir));
    }
}

/// The ids of the events that the log has for a stream after a cursor, as the API shows them.
async fn log(database: &tokio_postgres::Client, stream: Stream, start: &str) -> Vec<String> {
    let query = format!(
        "SELECT e.id FROM feed f JOIN events e ON e.id = f.event_id
         JOIN tickets t ON t.id = f.ticket_id JOIN accounts a ON a.id = t.reporter_id
         WHERE f.pos > $1 AND {} ORDER BY f.pos",
        stream.condition(),
    );
    let start = Cursor::decode(start).unwrap().pos;
    let rows = database.query(&query, &[&start]).await.unwrap();
    let shown = |id: i64| URL_SAFE_NO_PAD.encode(format!("Event:{id}"));
    rows.iter().map(|row| shown(row.get(0))).collect()
}

/// How the events that were seen differ from those expected.
#[derive(Debug, Default, PartialEq, Eq)]
struct Verdict {
    lost: usize,
    duplicated: usize,
    inverted: usize,
    foreign: usize,
}

impl Verdict {
    fn of(seen: &[String], expected: &[String]) -> Self {
        let places = expected.iter().enumerate().map(|(place, id)| (id, place));
        let places = places.collect::<HashMap<_, _>>();
        let mut once = HashSet::new();
        let (mut verdict, mut furthest) = (Self::default(), None);
        for id in seen {
            let Some(&place) = places.get(id) else {
                verdict.foreign += 1;
                continue;
            };
            if !once.insert(id) {
                verdict.duplicated += 1;
            } else if furthest.is_some_and(|furthest| place < furthest) {
                verdict.inverted += 1;
            }
            furthest = furthest.max(Some(place));
        }
        verdict.lost = expected.len() - once.len();
        verdict
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn every_subscriber_sees_the_whole_log_in_order_despite_faults() {
    let mut scene = Scene::start("fault").await;
    scene.run(1, Duration::ZERO).await;
    scene.check().await;
}

#[tokio::test(flavor = "multi_thread")]
#[ignore = "takes minutes; run make verify-long"]
async fn every_subscriber_sees_the_whole_log_through_minutes_of_faults_and_long_transactions() {
    let mut scene = Scene::start("fault-long").await;
    scene.run(5, Duration::from_mins(1)).await;
    scene.check().await;
}

#[test]
fn a_verdict_counts_lost_duplicated_reordered_and_foreign_events() {
    let ids = |text: &str| text.chars().map(|c| c.to_string()).collect::<Vec<_>>();
    let verdict = |seen: &str| Verdict::of(&ids(seen), &ids("abcd"));
    assert_eq!(verdict("abcd"), Verdict::default());
    assert_eq!(verdict("acd"), Verdict { lost: 1, ..Verdict::default() });
    assert_eq!(verdict("abbcd"), Verdict { duplicated: 1, ..Verdict::default() });
    assert_eq!(verdict("acbd"), Verdict { inverted: 1, ..Verdict::default() });
    assert_eq!(verdict("abxcd"), Verdict { foreign: 1, ..Verdict::default() });
}
