//! The customer who requests their list of tickets, in a thread of its own, so that the attacker's
//! work does not delay the measurement.

use std::{
    fmt,
    time::{Duration, Instant},
};

use serde_json::json;
use tokio::task;

use super::common::{
    figures::{number, quantile},
    server::BenchServer,
};

/// How long the customer waits for an answer.
const PATIENCE: Duration = Duration::from_mins(1);
const LIST: &str =
    "{ tickets(first: 20) { nodes { id number summary status updatedAt isUnread } } }";

/// The measured requests of the customer.
pub struct Listed {
    /// The 95th percentile of the time of a request, in milliseconds.
    pub p95: f64,
    requests: usize,
    failed: usize,
}

impl fmt::Display for Listed {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(&number(self.p95))?;
        if self.failed > 0 {
            write!(formatter, " ({} of {} failed)", self.failed, self.requests)?;
        }
        Ok(())
    }
}

/// Requests the list again and again for some time. Failed requests count with their time.
pub async fn list(server: &BenchServer, time: Duration) -> Listed {
    let url = format!("http://{}/graphql", server.address);
    let token = server.customer.clone();
    let runtime =
        tokio::runtime::Builder::new_current_thread().enable_all().build().expect("a runtime");
    let measured = task::spawn_blocking(move || runtime.block_on(request(&url, &token, time)));
    measured.await.expect("a measurement")
}

async fn request(url: &str, token: &str, time: Duration) -> Listed {
    let http = reqwest::Client::builder().timeout(PATIENCE).build().expect("a client");
    let body = json!({ "query": LIST }).to_string();
    let (begun, mut failed, mut times) = (Instant::now(), 0, Vec::new());
    while times.is_empty() || begun.elapsed() < time {
        let sent = Instant::now();
        let request = http.post(url).bearer_auth(token).body(body.clone());
        let answer = request.header("content-type", "application/json").send().await;
        let text = match answer {
            Ok(answer) => answer.text().await.unwrap_or_default(),
            Err(error) => format!("{error:?}"),
        };
        times.push(sent.elapsed().as_secs_f64() * 1e3);
        if !text.contains("\"Ticket 0\"") || text.contains("\"errors\"") {
            eprintln!("a request of the customer failed: {text}");
            failed += 1;
        }
    }
    Listed { p95: quantile(&times, 0.95), requests: times.len(), failed }
}
