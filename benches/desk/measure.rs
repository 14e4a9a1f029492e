//! The measurements: the workloads, in turns with pgbench, and the cold start.

use std::time::{Duration, Instant};

use super::{
    client::Requests,
    cluster::Cluster,
    cpu,
    database::connect,
    figures::{number, quantile, resident},
    process::{Program, ServerProcess},
    shape::Shape,
    transactions,
    workloads::{WORKLOADS, Workload},
};

/// How long both sides run before the first round, so that caches are filled and plans are made.
const WARM_UP: Duration = Duration::from_secs(1);

/// How often to look whether everything is processed.
const POLL: Duration = Duration::from_millis(5);

/// What is measured, and how.
pub struct Measurement<'m> {
    /// The dataset.
    pub shape: Shape,
    /// The database.
    pub cluster: &'m Cluster,
    /// The URL of the dataset.
    pub program: &'m Program,
    /// How long each round takes.
    pub time: Duration,
    /// The number of rounds.
    pub rounds: u64,
    /// The number of clients that send requests at the same time.
    pub connections: usize,
}

/// One round of a workload.
struct Round {
    /// Requests per second.
    rate: f64,
    /// The median time of a request, in milliseconds.
    p50: f64,
    /// The 99th percentile of the time of a request, in milliseconds.
    p99: f64,
    /// The server's CPU time for a request, in milliseconds.
    server_cpu: f64,
    /// The CPU time of Postgres for a request, in milliseconds.
    postgres_cpu: f64,
    /// Statements for a request, or `None` if they are not counted.
    statements: Option<f64>,
    /// The bytes of a body.
    bytes: f64,
    /// How long the server takes after the last request until everybody is notified and the new
    /// texts can be found, in milliseconds.
    catch_up: f64,
}

/// One round of pgbench.
struct Limit {
    /// Transactions per second.
    rate: f64,
    /// The CPU time of Postgres for a transaction, in milliseconds.
    postgres_cpu: f64,
}

impl Measurement<'_> {
    /// Prints the head of the table.
    pub fn print_head(&self) {
        println!(
            "| {} tickets, {} comments; {} clients, {} × {} s | requests/s | pgbench/s | requests / \
             pgbench | p50, ms | p99, ms | server CPU, ms | Postgres CPU, ms | the same for \
             pgbench | statements | bytes |",
            self.shape.tickets,
            self.shape.comments,
            self.connections,
            self.rounds,
            self.time.as_secs()
        );
        println!("| --- |{}", " ---: |".repeat(10));
    }

    /// Measures a workload, in turns with pgbench, and prints the medians of the rounds.
    pub async fn workload(&self, workload: &Workload, server: &ServerProcess) {
        let requests = Requests::prepare(workload, self.shape, &server.address);
        requests.send(self.connections, WARM_UP, 0).await;
        self.pgbench(workload, WARM_UP).await;
        let (mut rounds, mut limits) = (Vec::new(), Vec::new());
        for round in 1..=self.rounds {
            limits.extend(self.pgbench(workload, self.time).await);
            rounds.push(self.round(&requests, server, round).await);
        }
        let ours = |field: fn(&Round) -> f64| median(rounds.iter().map(field));
        let limit = |field: fn(&Limit) -> f64| median(limits.iter().map(field));
        let (rate, limit_rate) = (ours(|r| r.rate), limit(|l| l.rate));
        let ratio = limit_rate.zip(rate).map(|(limit, rate)| rate / limit);
        let statements = median(rounds.iter().filter_map(|round| round.statements));
        let cells = [
            show(rate),
            show(limit_rate),
            ratio.map_or_else(|| "–".to_owned(), |ratio| format!("{ratio:.2}")),
            show(ours(|r| r.p50)),
            show(ours(|r| r.p99)),
            precise(ours(|r| r.server_cpu)),
            precise(ours(|r| r.postgres_cpu)),
            precise(limit(|l| l.postgres_cpu)),
            show(statements),
            show(ours(|r| r.bytes)),
        ];
        println!("| {} | {} |", workload.title, cells.join(" | "));
        if workload.writes {
            let (catch_up, wal) = (show(ours(|r| r.catch_up)), self.wal(&requests).await);
            println!("\nw4 has caught up {catch_up} ms after the last comment, and writes:");
            println!("{wal}\n");
        }
    }

    async fn round(&self, requests: &Requests, server: &ServerProcess, seed: u64) -> Round {
        let statements = self.cluster.statements().await;
        let (server_cpu, postgres_cpu) = (server_cpu(server), self.cluster.cpu());
        let measured = requests.send(self.connections, self.time, seed).await;
        let sent = Instant::now();
        self.until_caught_up().await;
        let catch_up = sent.elapsed();
        let server_cpu = self::server_cpu(server) - server_cpu;
        let postgres_cpu = self.cluster.cpu() - postgres_cpu;
        let executed = self.cluster.statements().await.zip(statements);
        let count = measured.times.len() as f64;
        Round {
            rate: count / (measured.time + catch_up).as_secs_f64(),
            p50: quantile(&measured.times, 0.5),
            p99: quantile(&measured.times, 0.99),
            server_cpu: server_cpu * 1e3 / count,
            postgres_cpu: postgres_cpu * 1e3 / count,
            statements: executed.map(|(after, before)| (after - before) / count),
            bytes: measured.bytes as f64 / count,
            catch_up: catch_up.as_secs_f64() * 1e3,
        }
    }

    /// Waits until everything that was written has its place in the feed and is processed.
    async fn until_caught_up(&self) {
        let database = connect(&self.program.url).await;
        let done = "SELECT NOT EXISTS (SELECT FROM pending_events)
            AND (SELECT pos FROM feed_head) = (SELECT min(pos) FROM consumer_offsets)";
        while !database.query_one(done, &[]).await.expect("an answer").get::<_, bool>(0) {
            tokio::time::sleep(POLL).await;
        }
    }

    /// Returns how many bytes a comment adds to the log of Postgres right after a checkpoint, and
    /// later.
    async fn wal(&self, requests: &Requests) -> String {
        let database = connect(&self.program.url).await;
        let position = "SELECT pg_wal_lsn_diff(pg_current_wal_insert_lsn(), '0/0')::float8";
        let position =
            async || database.query_one(position, &[]).await.expect("a position").get::<_, f64>(0);
        let mut shown = Vec::new();
        for when in ["right after a checkpoint", "later"] {
            if shown.is_empty() {
                database.batch_execute("CHECKPOINT").await.expect("a superuser");
            }
            let before = position().await;
            let sent = requests.send(1, Duration::from_millis(500), 99).await;
            self.until_caught_up().await;
            let bytes = (position().await - before) / sent.times.len() as f64;
            shown.push(format!("{} bytes a comment {when}", number(bytes)));
        }
        shown.join(", ")
    }

    /// Returns `None` if pgbench is not installed.
    async fn pgbench(&self, workload: &Workload, time: Duration) -> Option<Limit> {
        let rows = workload.rows(self.shape);
        let script = format!(
            "\\set row random({}, {})\n{};\n",
            rows.start(),
            rows.end(),
            workload.statement()
        );
        let options = ["-M", "prepared", "-j", "1"];
        let used = self.cluster.cpu();
        let url = &self.program.url;
        let rate = transactions::per_second(url, &script, self.connections, time, &options)?;
        let begun = Instant::now();
        if workload.writes {
            self.until_caught_up().await;
        }
        let count = rate * time.as_secs_f64();
        let rate = count / (time + begun.elapsed()).as_secs_f64();
        let used = self.cluster.cpu() - used;
        Some(Limit { rate, postgres_cpu: used * 1e3 / count })
    }

    /// Measures the time from the start of the server's process to the first response, and prints
    /// the median of the rounds.
    pub async fn start(&self, settings: &[(&str, &str)]) {
        let (mut times, mut memory) = (Vec::new(), Vec::new());
        for round in 1..=self.rounds {
            let begun = Instant::now();
            let server = self.program.serve(settings).await;
            let requests = Requests::prepare(&WORKLOADS[0], self.shape, &server.address);
            requests.send(1, Duration::from_nanos(1), round).await;
            times.push(begun.elapsed().as_secs_f64() * 1e3);
            memory.push(resident(server.pid()) / 1024.0);
            server.stop().await;
        }
        println!("| start, {} × | median |\n| --- | ---: |", self.rounds);
        println!(
            "| from the start of the process to the first response of w1, ms | {} |",
            show(median(times))
        );
        println!("| memory of the server then, MiB | {} |", show(median(memory)));
    }
}

fn server_cpu(server: &ServerProcess) -> f64 {
    cpu::seconds(server.pid(), &cpu::OWN).expect("a running server")
}

/// Returns the median, or `None` if there are no values.
fn median(values: impl IntoIterator<Item = f64>) -> Option<f64> {
    let values = values.into_iter().collect::<Vec<_>>();
    (!values.is_empty()).then(|| quantile(&values, 0.5))
}

fn show(value: Option<f64>) -> String {
    value.map_or_else(|| "–".to_owned(), number)
}

/// Shows a value that is often below 1.
fn precise(value: Option<f64>) -> String {
    value.map_or_else(|| "–".to_owned(), |value| format!("{value:.2}"))
}
