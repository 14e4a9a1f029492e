//! Clients that send one request after the other over HTTP/1.1, in a thread of their own. They do no
//! more than they must, because they share the cores with the server.

use std::{
    sync::Arc,
    time::{Duration, Instant},
};

use futures_util::future::join_all;
use tokio::{
    io::{AsyncReadExt as _, AsyncWriteExt as _},
    net::TcpStream,
    task,
};

use super::{
    shape::{Shape, mix},
    workloads::Workload,
};

/// The end of the headers.
const BLANK_LINE: &str = "\r\n\r\n";
/// At most this many different requests are prepared.
const MAX_REQUESTS: u64 = 20_000;

/// Requests that are sent over and over.
#[derive(Clone)]
pub struct Requests {
    address: String,
    all: Arc<Vec<Vec<u8>>>,
    expected: &'static str,
}

/// What the clients have measured.
pub struct Measured {
    /// The time of each request, in milliseconds.
    pub times: Vec<f64>,
    /// The bytes of all bodies.
    pub bytes: u64,
    /// From the first request to the last response.
    pub time: Duration,
}

impl Requests {
    /// Prepares the requests of a workload.
    pub fn prepare(workload: &Workload, shape: Shape, address: &str) -> Self {
        let rows = workload.rows(shape).filter(|&row| workload.accepts(shape, row));
        let rows = rows.take(MAX_REQUESTS as usize);
        let all = rows.map(|row| {
            let (query, variables) = workload.request(shape, row);
            let body = serde_json::json!({ "query": query, "variables": variables }).to_string();
            format!(
                "POST /graphql HTTP/1.1\r\nhost: {address}\r\ncontent-type: application/json\r\n\
                 authorization: Bearer {}\r\ncontent-length: {}{BLANK_LINE}{body}",
                workload.token(row),
                body.len(),
            )
            .into_bytes()
        });
        let all = Arc::new(all.collect());
        Self { address: address.to_owned(), all, expected: workload.expected }
    }

    /// Sends requests on a number of connections for some time. The seed chooses which ones. Panics
    /// if a response is incomplete.
    pub async fn send(&self, connections: usize, time: Duration, seed: u64) -> Measured {
        let requests = self.clone();
        let runtime =
            tokio::runtime::Builder::new_current_thread().enable_all().build().expect("a runtime");
        let sending = move || runtime.block_on(requests.send_here(connections, time, seed));
        task::spawn_blocking(sending).await.expect("a measurement")
    }

    async fn send_here(&self, connections: usize, time: Duration, seed: u64) -> Measured {
        let begun = Instant::now();
        let clients = (0..connections as u64).map(async |client| {
            let mut connection = Connection::open(&self.address).await;
            let (mut times, mut bytes) = (Vec::new(), 0);
            while begun.elapsed() < time {
                let choice = mix(mix(seed << 32 | client) ^ times.len() as u64);
                let request = &self.all[choice as usize % self.all.len()];
                let sent = Instant::now();
                let body = connection.exchange(request).await;
                times.push(sent.elapsed().as_secs_f64() * 1e3);
                let text = std::str::from_utf8(body).expect("UTF-8");
                let is_complete = text.contains(self.expected) && !text.contains("\"errors\"");
                assert!(is_complete, "an incomplete response: {text}");
                bytes += body.len() as u64;
            }
            (times, bytes)
        });
        let all = join_all(clients).await;
        Measured {
            time: begun.elapsed(),
            bytes: all.iter().map(|(_, bytes)| bytes).sum(),
            times: all.into_iter().flat_map(|(times, _)| times).collect(),
        }
    }
}

struct Connection {
    stream: TcpStream,
    response: Vec<u8>,
}

impl Connection {
    async fn open(address: &str) -> Self {
        let stream = TcpStream::connect(address).await.expect("a connection");
        stream.set_nodelay(true).expect("an option");
        Self { stream, response: Vec::new() }
    }

    /// Sends a request and returns the body of its response.
    async fn exchange(&mut self, request: &[u8]) -> &[u8] {
        self.response.clear();
        self.stream.write_all(request).await.expect("a connection");
        let (begin, length) = loop {
            self.read().await;
            if let Some(body) = body_of(&self.response) {
                break body;
            }
        };
        while self.response.len() < begin + length {
            self.read().await;
        }
        &self.response[begin..]
    }

    async fn read(&mut self) {
        let read = self.stream.read_buf(&mut self.response).await.expect("a connection");
        assert!(read > 0, "the server closed the connection");
    }
}

/// Returns where the body begins and its length, or `None` if the headers are incomplete.
fn body_of(response: &[u8]) -> Option<(usize, usize)> {
    let begin = response.windows(BLANK_LINE.len()).position(|w| w == BLANK_LINE.as_bytes())?;
    let headers = std::str::from_utf8(&response[..begin]).expect("UTF-8").to_ascii_lowercase();
    let length = headers.lines().find_map(|line| line.strip_prefix("content-length:"));
    let length = length.and_then(|length| length.trim().parse().ok()).expect("a length");
    Some((begin + BLANK_LINE.len(), length))
}
