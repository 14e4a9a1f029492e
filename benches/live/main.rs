//! Measures live updates. In the same run it measures the limits of the machine: a broadcast of
//! shared frames by bare axum, and the same SQL through pgbench.
//!
//! `cargo bench --bench live` prints the table of docs/PERFORMANCE.md. With names after `--`,
//! such as `fan_out`, it runs only those measurements. It takes about three minutes and needs
//! 20,000 file descriptors; it starts its own Postgres.

mod broadcast;
#[path = "../common/mod.rs"]
mod common;
#[path = "../common/cpu.rs"]
mod cpu;
mod measure;
mod pgbench;
mod server;
#[path = "../common/transactions.rs"]
mod transactions;
mod watcher;

use std::time::Duration;

use common::server::BenchServer;

/// How many subscribers are idle, and then reconnect at once.
const SUBSCRIBERS: usize = 10_000;
/// How many tickets they watch.
const TICKETS: usize = 2_000;
/// How long each rate is measured.
const DURATION: Duration = Duration::from_secs(5);

/// Whether a measurement runs: all do, unless some are named on the command line.
fn is_selected(name: &str) -> bool {
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
    // reqwest cannot create a client without a TLS provider.
    rustls::crypto::ring::default_provider().install_default().expect("no other provider");
    runtime.block_on(async {
        let server = BenchServer::start(TICKETS, &server::SETTINGS).await;
        println!("| measurement | Ticketwire | limit | Ticketwire / limit |");
        println!("| --- | ---: | ---: | ---: |");
        if is_selected("latency") {
            measure::latency(&server, DURATION).await;
        }
        if is_selected("sustained") {
            measure::sustained(&server, DURATION).await;
        }
        if is_selected("fan_out") {
            measure::fan_out(&server, DURATION).await;
        }
        if is_selected("idle_and_storm") {
            measure::idle_and_storm(&server, SUBSCRIBERS).await;
        }
        if is_selected("revocation") {
            measure::revocation(&server).await;
        }
        server.stop().await;
    });
}
