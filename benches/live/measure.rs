//! The measurements.

use std::{
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
    time::{Duration, Instant},
};

use futures_util::{StreamExt as _, future::join_all, stream};
use serde_json::json;
use tokio::{sync::Semaphore, task::JoinHandle, time};

use super::{
    broadcast::Broadcast,
    common::{
        figures::{number, quantile, resident},
        server::BenchServer,
    },
    cpu, pgbench,
    watcher::Watcher,
};

/// Events per second while latencies are measured.
const RATE: u32 = 200;
/// Subscribers while latencies are measured.
const FEW: usize = 50;
/// Subscribers while deliveries are counted, and when a session is revoked.
const MANY: usize = 1_000;
/// How many events may be pending, that is, not yet received by all subscribers.
const MAX_PENDING: usize = 4;
const WRITERS: usize = 32;
/// How often the number of replays that read the database is sampled.
const SAMPLE_INTERVAL: Duration = Duration::from_millis(50);

/// Measures the time from sending a mutation until each of a few subscribers has its event:
/// alone, and while a transaction is held open.
pub async fn latency(server: &BenchServer, time: Duration) {
    let broadcast = Broadcast::start().await;
    let limit = Target::Broadcast(&broadcast).latencies(time).await;
    let alone = Target::Ticketwire(server).latencies(time).await;
    let holder = server.database().await;
    holder.batch_execute("BEGIN; SELECT pg_current_xact_id()").await.expect("a transaction");
    let with_transaction = Target::Ticketwire(server).latencies(time).await;
    holder.batch_execute("COMMIT").await.expect("an end");
    for (label, part) in [("p50", 0.5), ("p99", 0.99)] {
        let [ours, held, limit] =
            [&alone, &with_transaction, &limit].map(|all| quantile(all, part));
        let name = format!("mutation sent → {FEW} subscribers at {RATE}/s, {label}, ms");
        row(&name, ours, Some(limit));
        row(&format!("the same during an open transaction, {label}, ms"), held, Some(limit));
    }
}

/// Measures how many comments many writers post per second, and how far a subscriber to all of
/// them lags behind.
pub async fn sustained(server: &BenchServer, time: Duration) {
    let mut watcher = Watcher::inbox(&server.address, &server.agent).await;
    let seen = Arc::new(AtomicUsize::new(0));
    let count = Arc::clone(&seen);
    let watching = tokio::spawn(async move {
        while watcher.event().await.is_ok() {
            count.fetch_add(1, Ordering::Relaxed);
        }
    });
    let begun = Instant::now();
    let written = AtomicUsize::new(0);
    let writers = (0..WRITERS).map(async |writer| {
        for n in 0.. {
            if begun.elapsed() >= time {
                break;
            }
            let ticket = &server.tickets[(writer + n * WRITERS) % server.tickets.len()];
            server.comment(ticket, "A comment of the benchmark").await;
            written.fetch_add(1, Ordering::Relaxed);
        }
    });
    join_all(writers).await;
    let (took, written) = (begun.elapsed(), written.load(Ordering::Relaxed));
    while seen.load(Ordering::Relaxed) < written {
        time::sleep(Duration::from_millis(1)).await;
    }
    let lag = begun.elapsed().checked_sub(took).unwrap();
    watching.abort();
    let limit = pgbench::comments(server, WRITERS, time).await;
    row(
        &format!("comments/s from {WRITERS} writers, durable (limit: pgbench)"),
        written as f64 / took.as_secs_f64(),
        limit,
    );
    row(
        "delay from the last comment written to the last one seen, ms",
        lag.as_secs_f64() * 1e3,
        None,
    );
}

/// Measures deliveries per second and the CPU time of one.
pub async fn fan_out(server: &BenchServer, time: Duration) {
    let broadcast = Broadcast::start().await;
    let limit = Target::Broadcast(&broadcast).deliveries(time).await;
    let ours = Target::Ticketwire(server).deliveries(time).await;
    row(&format!("deliveries/s to {MANY} subscribers of one ticket"), ours.rate, Some(limit.rate));
    row("server CPU per delivery, µs", ours.cpu, Some(limit.cpu));
}

/// Measures the memory and CPU of idle subscribers, then cuts all their connections at once and
/// measures until all have resumed.
#[expect(clippy::too_many_lines, reason = "one connection storm, from its beginning to its end")]
pub async fn idle_and_storm(server: &BenchServer, subscribers: usize) {
    let broadcast = Broadcast::start().await;
    let limit = {
        let before = resident(broadcast.pid());
        let opened = stream::iter(0..subscribers).map(|n| {
            let (address, topic) =
                (broadcast.address.clone(), (n % server.tickets.len()).to_string());
            async move { Watcher::broadcast(&address, &topic).await }
        });
        let _open = opened.buffer_unordered(100).collect::<Vec<_>>().await;
        (resident(broadcast.pid()) - before) / subscribers as f64
    };
    drop(broadcast);
    let before = resident(server.pid());
    let opened = stream::iter(0..subscribers).map(|n| {
        let ticket = &server.tickets[n % server.tickets.len()];
        Watcher::ticket(&server.address, &server.agent, ticket, None)
    });
    let open = opened.buffered(100).collect::<Vec<_>>().await;
    let each = (resident(server.pid()) - before) / subscribers as f64;
    let used = cpu(server.pid());
    time::sleep(Duration::from_secs(3)).await;
    let used = (cpu(server.pid()) - used) / 3.0;
    let tickets = server.tickets.len();
    row(
        &format!("KiB resident per idle subscriber, {subscribers} on {tickets} tickets"),
        each,
        Some(limit),
    );
    row("CPU of all idle subscribers, cores", used, None);

    let cursors = open.into_iter().map(|(_, cursor, _)| cursor).collect::<Vec<_>>();
    // One event on each ticket, and enough others that replays have to read the database.
    let missed = server.tickets.iter().map(|ticket| server.comment(ticket, "While you were away"));
    stream::iter(missed).buffer_unordered(WRITERS).collect::<Vec<_>>().await;
    let others = (0..10_000).map(|_| server.comment(&server.busy, "Something else"));
    stream::iter(others).buffer_unordered(WRITERS).collect::<Vec<_>>().await;
    let begun = Instant::now();
    let resumed = cursors.iter().enumerate().map(|(n, cursor)| {
        let ticket = &server.tickets[n % server.tickets.len()];
        async move {
            let all = Watcher::ticket(&server.address, &server.agent, ticket, Some(cursor)).await;
            assert_eq!(all.2, 1, "lost or repeated");
        }
    });
    let all = stream::iter(resumed).buffer_unordered(subscribers).collect::<Vec<_>>();
    let mut most = 0.0_f64;
    let sampling = async {
        loop {
            most = most.max(server.metric("ticketwire_replays{state=\"reading\"}").await);
            time::sleep(SAMPLE_INTERVAL).await;
        }
    };
    tokio::select! {
        _ = all => {}
        () = sampling => {}
    }
    row(
        &format!("{subscribers} resume at once, until the last one has caught up, s"),
        begun.elapsed().as_secs_f64(),
        None,
    );
    row("concurrent replays that read the database, at most", most, None);
}

/// Measures how long after the end of a session all its streams have ended.
pub async fn revocation(server: &BenchServer) {
    let token = server.sign_in("other").await;
    let ticket = &server.tickets[1];
    let opened = (0..MANY).map(|_| Watcher::ticket(&server.address, &token, ticket, None));
    let open = stream::iter(opened).buffer_unordered(100).collect::<Vec<_>>().await;
    let ended = open.into_iter().map(|(mut watcher, ..)| {
        tokio::spawn(async move {
            let mut events = 0;
            loop {
                match watcher.event().await {
                    Ok(_) => events += 1,
                    Err(code) => return (code, events),
                }
            }
        })
    });
    let ended = ended.collect::<Vec<_>>();
    let begun = Instant::now();
    server.send(&token, "mutation { signOut { signedOut } }", json!({})).await;
    server.comment(ticket, "Not for you").await;
    let ended = join_all(ended).await.into_iter().map(|end| end.expect("an end"));
    let ended = ended.collect::<Vec<_>>();
    assert!(ended.iter().all(|&(code, _)| code == 4401), "closed with another code");
    let after = ended.iter().map(|(_, events)| events).sum::<usize>();
    row(
        &format!("{MANY} streams closed after their session ended, ms"),
        begun.elapsed().as_secs_f64() * 1e3,
        None,
    );
    row("events delivered after the end of the session", after as f64, None);
}

/// The server that is measured.
#[derive(Clone, Copy)]
enum Target<'t> {
    Ticketwire(&'t BenchServer),
    Broadcast(&'t Broadcast),
}

struct Deliveries {
    /// Deliveries per second.
    rate: f64,
    /// CPU time of the server for each, in microseconds.
    cpu: f64,
}

impl Target<'_> {
    fn pid(self) -> u32 {
        match self {
            Self::Ticketwire(server) => server.pid(),
            Self::Broadcast(broadcast) => broadcast.pid(),
        }
    }

    /// Opens subscribers to one ticket, or to all.
    async fn watchers(self, count: usize, to_all: bool) -> Vec<Watcher> {
        let opened = (0..count).map(async |_| match self {
            Self::Ticketwire(server) if to_all => {
                Watcher::inbox(&server.address, &server.agent).await
            }
            Self::Ticketwire(server) => {
                Watcher::ticket(&server.address, &server.agent, &server.tickets[0], None).await.0
            }
            Self::Broadcast(broadcast) => Watcher::broadcast(&broadcast.address, "0").await,
        });
        stream::iter(opened).buffer_unordered(100).collect().await
    }

    async fn write(self, http: &reqwest::Client, topic: usize, text: &str) {
        match self {
            Self::Ticketwire(server) => {
                server.comment(&server.tickets[topic % server.tickets.len()], text).await;
            }
            Self::Broadcast(broadcast) => {
                // As long as the message that a ticket's subscribers receive.
                let frame = format!("{text} {}", "x".repeat(200));
                let request = http.post(format!("http://{}/0", broadcast.address)).body(frame);
                request.send().await.expect("an answer");
            }
        }
    }

    /// Returns the milliseconds from sending each event until each of a few subscribers has it.
    async fn latencies(self, time: Duration) -> Vec<f64> {
        let (begun, http) = (Instant::now(), reqwest::Client::new());
        let events = usize::try_from(RATE).expect("a number") * time.as_secs() as usize;
        let watching = self.watchers(FEW, true).await.into_iter().map(|mut watcher| {
            tokio::spawn(async move {
                let mut latencies = Vec::with_capacity(events);
                while latencies.len() < events {
                    let text = watcher.event().await.expect("an event");
                    let end = |c: char| c != '.' && !c.is_ascii_digit();
                    let sent = text.split("sent ").nth(1).and_then(|rest| rest.split(end).next());
                    let sent = sent.and_then(|sent| sent.parse::<f64>().ok()).expect("a time");
                    latencies.push(begun.elapsed().as_secs_f64() * 1e3 - sent);
                }
                latencies
            })
        });
        let watching = watching.collect::<Vec<JoinHandle<_>>>();
        let first = time::Instant::now();
        let writing = (0..events).map(async |n| {
            // Sent on schedule, whether or not earlier ones have finished.
            let due = Duration::from_secs(1) / RATE * u32::try_from(n).expect("a number");
            time::sleep_until(first + due).await;
            let sent = begun.elapsed().as_secs_f64() * 1e3;
            self.write(&http, n, &format!("sent {sent} ")).await;
        });
        join_all(writing).await;
        let mut all = Vec::new();
        for latencies in watching {
            all.extend(latencies.await.expect("a watcher"));
        }
        all
    }

    /// Counts deliveries to many subscribers of one ticket, with a few events pending.
    async fn deliveries(self, time: Duration) -> Deliveries {
        let http = reqwest::Client::new();
        let room = Arc::new(Semaphore::new(MAX_PENDING));
        let seen = Arc::new(AtomicUsize::new(0));
        let watching = self.watchers(MANY, false).await.into_iter().map(|mut watcher| {
            let (seen, room) = (Arc::clone(&seen), Arc::clone(&room));
            tokio::spawn(async move {
                while watcher.event().await.is_ok() {
                    // The last subscriber to receive an event makes room for another.
                    if (seen.fetch_add(1, Ordering::Relaxed) + 1) % MANY == 0 {
                        room.add_permits(1);
                    }
                }
            })
        });
        let watching = watching.collect::<Vec<_>>();
        let (begun, used) = (Instant::now(), cpu(self.pid()));
        let writers = (0..MAX_PENDING).map(async |_| {
            while begun.elapsed() < time {
                room.acquire().await.expect("room").forget();
                self.write(&http, 0, "A comment of the benchmark").await;
            }
        });
        join_all(writers).await;
        let _ = room.acquire_many(u32::try_from(MAX_PENDING).expect("a number")).await;
        let (took, used) = (begun.elapsed().as_secs_f64(), cpu(self.pid()) - used);
        let delivered = seen.load(Ordering::Relaxed) as f64;
        watching.iter().for_each(JoinHandle::abort);
        Deliveries { rate: delivered / took, cpu: used * 1e6 / delivered }
    }
}

/// Returns the CPU time that a process has used, in seconds.
fn cpu(pid: u32) -> f64 {
    cpu::seconds(pid, &cpu::OWN).expect("a process")
}

fn row(name: &str, ours: f64, limit: Option<f64>) {
    let (limit, ratio) = match limit {
        Some(limit) => (number(limit), format!("{:.2}", ours / limit)),
        None => ("–".into(), "–".into()),
    };
    println!("| {name} | {} | {limit} | {ratio} |", number(ours));
}
