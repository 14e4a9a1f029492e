//! The attacker: one account, its tickets, its connections, and what it got from the server.

use std::{
    cmp::Reverse,
    collections::BTreeMap,
    net::{IpAddr, Ipv4Addr, SocketAddr},
    sync::{
        Mutex,
        atomic::{AtomicUsize, Ordering},
    },
    time::Duration,
};

use futures_util::{FutureExt as _, future::join_all};
use tokio::{
    net::{TcpSocket, TcpStream},
    time::{self, Instant},
};

use super::common::server::BenchServer;

/// The attacker's network address.
const ADDRESS: Ipv4Addr = Ipv4Addr::new(127, 0, 0, 2);
/// How many attempts an attack makes at most.
const MAX_ATTEMPTS: usize = 1_000_000;
/// How many bytes of an answer are searched for an error code. A code follows the data, which is
/// short if the request is refused.
const SEARCHED_BYTES: usize = 65_536;
/// How long the attacker pauses if it cannot connect: it has no free ports.
const PAUSE: Duration = Duration::from_millis(10);
/// How many tickets with many short words the attacker searches.
const SEARCHED_TICKETS: usize = 8;
/// The longest text, in characters.
pub const MAX_TEXT: usize = 65_536;

/// One account, and the outcomes of its requests.
pub struct Attacker {
    http: reqwest::Client,
    /// `127.0.0.1:port` of the server.
    pub address: String,
    /// The attacker's token.
    pub token: String,
    /// An agent's token, for comments that the attacker only observes.
    pub agent: String,
    /// The attacker's ticket with the description that has the most bytes.
    pub ticket: String,
    /// A ticket of the victim.
    pub busy: String,
    end: Instant,
    outcomes: Mutex<BTreeMap<String, usize>>,
}

impl Attacker {
    /// Signs in and opens tickets of long texts.
    pub async fn prepare(server: &BenchServer) -> Self {
        let token = server.sign_in("stranger").await;
        let ticket = server.open(&token, "Long", &"🎟".repeat(MAX_TEXT)).await;
        let words = short_words().cycle().take(MAX_TEXT / 3).collect::<Vec<_>>().join(" ");
        for n in 0..SEARCHED_TICKETS {
            server.open(&token, &format!("Words {n}"), &words).await;
        }
        Self {
            http: client(ADDRESS),
            address: server.address.clone(),
            token,
            agent: server.agent.clone(),
            ticket,
            busy: server.busy.clone(),
            end: Instant::now(),
            outcomes: Mutex::default(),
        }
    }

    /// Sets the end of the attack.
    pub fn begin(&mut self, time: Duration) {
        self.end = Instant::now() + time;
    }

    /// Waits for the end of the attack.
    pub async fn wait(&self) {
        time::sleep_until(self.end).await;
    }

    /// Repeats an attempt as [`Self::work`] does, and counts those that are unfinished at the end.
    pub async fn repeat(&self, workers: usize, attempt: impl AsyncFn(usize)) {
        let unfinished = self.work(workers, attempt).await;
        if unfinished > 0 {
            self.add("unfinished", unfinished);
        }
    }

    /// Repeats an attempt with a number of workers until the end, and drops unfinished attempts
    /// then. The argument of an attempt is its number. Returns how many are unfinished.
    pub async fn work(&self, workers: usize, attempt: impl AsyncFn(usize)) -> usize {
        let (begun, finished) = (AtomicUsize::new(0), AtomicUsize::new(0));
        let work = (0..workers).map(async |_| {
            loop {
                let number = begun.fetch_add(1, Ordering::Relaxed);
                if number < MAX_ATTEMPTS {
                    attempt(number).await;
                }
                finished.fetch_add(1, Ordering::Relaxed);
                if number >= MAX_ATTEMPTS {
                    break;
                }
            }
        });
        // Boxed: it holds the state of all workers.
        let _ = time::timeout_at(self.end, join_all(work).boxed_local()).await;
        begun.into_inner() - finished.into_inner()
    }

    /// Sends a request with the attacker's token and counts the outcome.
    pub async fn query(&self, body: &str) {
        let outcome = self.post(&self.http, &self.token, body).await;
        self.count(&outcome);
    }

    /// Sends a request with an agent's token, which is no part of the attack.
    pub async fn observe(&self, body: &str) {
        self.post(&self.http, &self.agent, body).await;
    }

    /// Sends a request and returns its outcome. The token may be empty.
    pub async fn post(&self, http: &reqwest::Client, token: &str, body: &str) -> String {
        let request = http.post(format!("http://{}/graphql", self.address));
        let request = request.header("content-type", "application/json").body(body.to_owned());
        let request = if token.is_empty() { request } else { request.bearer_auth(token) };
        let Ok(mut answer) = request.send().await else { return "no answer".into() };
        let mut beginning = Vec::new();
        while let Ok(Some(chunk)) = answer.chunk().await {
            if beginning.len() < SEARCHED_BYTES {
                beginning.extend_from_slice(&chunk);
            }
        }
        match code(&beginning) {
            Some(code) => code,
            None if answer.status() == 200 => "answered".into(),
            None => format!("HTTP {}", answer.status().as_u16()),
        }
    }

    /// Opens a connection, or pauses if that fails. The kernel's buffer for what is received has
    /// the given size, in bytes, or else its default.
    pub async fn connect(&self, receive_buffer: Option<u32>) -> Option<TcpStream> {
        let address: SocketAddr = self.address.parse().expect("an address");
        let connected = async {
            let socket = TcpSocket::new_v4()?;
            if let Some(bytes) = receive_buffer {
                socket.set_recv_buffer_size(bytes)?;
            }
            socket.bind((ADDRESS, 0).into())?;
            socket.connect(address).await
        };
        let connected = connected.await.ok();
        if connected.is_none() {
            self.count("no connection");
            time::sleep(PAUSE).await;
        }
        connected
    }

    /// Counts an outcome.
    pub fn count(&self, outcome: &str) {
        self.add(outcome, 1);
    }

    fn add(&self, outcome: &str, count: usize) {
        let mut outcomes = self.outcomes.lock().expect("a lock");
        *outcomes.entry(outcome.to_owned()).or_default() += count;
    }

    /// Returns all outcomes with their counts, the most frequent first.
    pub fn outcomes(&self) -> String {
        let outcomes = self.outcomes.lock().expect("a lock");
        let mut all = outcomes.iter().collect::<Vec<_>>();
        all.sort_by_key(|(_, count)| Reverse(**count));
        let all = all.iter().map(|(outcome, count)| format!("{outcome} {count}"));
        let all = all.collect::<Vec<_>>().join(", ");
        if all.is_empty() { "nothing".into() } else { all }
    }
}

/// Returns a client with a network address of its own.
pub fn client(address: Ipv4Addr) -> reqwest::Client {
    let client = reqwest::Client::builder().local_address(IpAddr::V4(address));
    client.build().expect("a client")
}

/// Returns words of two letters, each once.
pub fn short_words() -> impl Iterator<Item = String> + Clone {
    ('b'..='z').flat_map(|first| ('w'..='z').map(move |second| format!("{first}{second}")))
}

/// Returns the first error code of an answer or of a message.
pub fn code(answer: &[u8]) -> Option<String> {
    let text = String::from_utf8_lossy(&answer[..answer.len().min(SEARCHED_BYTES)]);
    let rest = text.split_once("\"code\":\"")?.1;
    Some(rest.split_once('"')?.0.to_owned())
}
