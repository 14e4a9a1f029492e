//! Measures the live side, each figure beside what the machine can do at most, in one run:
//! a broadcast of shared frames by bare axum, and the same SQL through pgbench.
//!
//! `cargo bench --bench live` prints the table of docs/PERFORMANCE.md; with a name behind
//! `--`, like `fan_out`, only that part of it. It takes some three minutes, a Postgres of its
//! own and 20,000 file descriptors.

mod broadcast;
mod measure;
mod pgbench;
mod server;
mod watcher;

use std::time::Duration;

use server::BenchServer;

/// Idle subscribers, and those of the storm.
const SUBSCRIBERS: usize = 10_000;
/// The tickets that they watch.
const TOPICS: usize = 2_000;
/// How long each rate is measured.
const FOR: Duration = Duration::from_secs(5);

/// Whether a measurement is asked for: all are, or those that are named on the command line.
fn wanted(name: &str) -> bool {
    let mut named =
        std::env::args().skip(1).filter(|argument| !argument.starts_with('-')).peekable();
    named.peek().is_none() || named.any(|argument| argument == name)
}

fn main() {
    let runtime = tokio::runtime::Runtime::new().expect("a runtime");
    if std::env::args().nth(1).as_deref() == Some("broadcast") {
        runtime.block_on(broadcast::serve());
        return;
    }
    let limit = rustix::process::getrlimit(rustix::process::Resource::Nofile);
    if limit.current.is_some_and(|files| files < 2 * SUBSCRIBERS as u64) {
        eprintln!("Needs {} file descriptors: ulimit -n {}", 2 * SUBSCRIBERS, 2 * SUBSCRIBERS);
        std::process::exit(1);
    }
    // Without a provider of TLS reqwest makes no client.
    rustls::crypto::ring::default_provider().install_default().expect("no other provider");
    runtime.block_on(async {
        let server = BenchServer::start(TOPICS).await;
        println!("| what | ours | limit | ours / limit |");
        println!("| --- | ---: | ---: | ---: |");
        if wanted("latency") {
            measure::latency(&server, FOR).await;
        }
        if wanted("sustained") {
            measure::sustained(&server, FOR).await;
        }
        if wanted("fan_out") {
            measure::fan_out(&server, FOR).await;
        }
        if wanted("idle_and_storm") {
            measure::idle_and_storm(&server, SUBSCRIBERS).await;
        }
        if wanted("revocation") {
            measure::revocation(&server).await;
        }
        server.stop().await;
    });
}
