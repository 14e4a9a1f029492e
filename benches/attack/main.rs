//! Measures what one attacker with one account costs another customer.
//!
//! Each attack has a server of its own, with the default limits. A customer requests their list of
//! tickets over and over: first alone for a third of the time, then while the attack runs. The
//! memory is the highest during the attack, compared with that before it. What the attacker got
//! are error codes, HTTP statuses and close codes with their counts; requests and connections that
//! were still open when the time had passed are "unfinished".
//!
//! `cargo bench --bench attack` runs every attack for 30 seconds. A number after `--` sets other
//! seconds, names such as `searches` select attacks. It needs 8,192 file descriptors and Linux,
//! where all of 127.0.0.0/8 is loopback: the attacker has other addresses than the customer. It
//! starts its own Postgres. Attacker, customer, server and Postgres share the cores of one
//! machine, so the ratio also contains the work of the attacker.

mod attacker;
#[path = "../common/mod.rs"]
mod common;
mod connections;
mod requests;
mod streams;
mod victim;

use std::time::Duration;

use attacker::Attacker;
use common::{figures::resident, server::BenchServer};
use tokio::time;

/// How long each attack takes, unless an argument says otherwise.
const DURATION: Duration = Duration::from_secs(30);
/// The shortest time in which the customer is measured alone.
const MIN_QUIET: Duration = Duration::from_secs(1);
/// How many tickets the customer has, without the busy one: fewer than may be opened in a minute.
const TICKETS: usize = 15;
/// More than the attacker opens at once.
const DESCRIPTORS: u64 = 8_192;
/// How often the memory of the server is sampled.
const SAMPLE_INTERVAL: Duration = Duration::from_millis(100);

/// The attacks, with their names on the command line and their rows in the table.
const ATTACKS: [(Attack, &str, &str); 11] = [
    (Attack::BigAnswers, "big_answers", "big answers: nodes × aliases"),
    (Attack::UnreadAnswers, "unread_answers", "big answers that are hardly read"),
    (Attack::Searches, "searches", "quoted phrases, searches of many words"),
    (Attack::Statements, "statements", "3,000 aliases, queries of many statements"),
    (Attack::Notifications, "notifications", "800 notification streams during comments"),
    (Attack::SharedResponses, "shared_responses", "different documents on a ticket of long texts"),
    (Attack::Uploads, "uploads", "stalled and slow uploads"),
    (Attack::HalfHeaders, "half_headers", "half-sent headers from 1,100 connections"),
    (Attack::AnonymousSockets, "anonymous_sockets", "300 anonymous websockets"),
    (Attack::Writing, "writing", "comments and tickets in a loop"),
    (Attack::Guesses, "guesses", "guesses of passwords"),
];

/// A way to attack the server.
#[derive(Clone, Copy)]
enum Attack {
    BigAnswers,
    UnreadAnswers,
    Searches,
    Statements,
    Notifications,
    SharedResponses,
    Uploads,
    HalfHeaders,
    AnonymousSockets,
    Writing,
    Guesses,
}

impl Attack {
    /// Attacks until the attacker's time has passed.
    async fn run(self, attacker: &Attacker) {
        match self {
            Self::BigAnswers => requests::big_answers(attacker).await,
            Self::UnreadAnswers => connections::unread_answers(attacker).await,
            Self::Searches => requests::searches(attacker).await,
            Self::Statements => requests::statements(attacker).await,
            Self::Notifications => streams::notifications(attacker).await,
            Self::SharedResponses => streams::shared_responses(attacker).await,
            Self::Uploads => connections::uploads(attacker).await,
            Self::HalfHeaders => connections::half_headers(attacker).await,
            Self::AnonymousSockets => streams::anonymous_sockets(attacker).await,
            Self::Writing => requests::writing(attacker).await,
            Self::Guesses => requests::guesses(attacker).await,
        }
    }
}

fn main() {
    let arguments = std::env::args().skip(1).filter(|argument| !argument.starts_with('-'));
    let (seconds, names): (Vec<_>, Vec<_>) =
        arguments.partition(|argument| argument.parse::<u32>().is_ok());
    let seconds = seconds.last().and_then(|seconds| seconds.parse().ok());
    let time = seconds.map_or(DURATION, Duration::from_secs);
    let limit = rustix::process::getrlimit(rustix::process::Resource::Nofile);
    if limit.current.is_some_and(|files| files < DESCRIPTORS) {
        eprintln!("Needs {DESCRIPTORS} file descriptors: ulimit -n {DESCRIPTORS}");
        std::process::exit(1);
    }
    // reqwest cannot create a client without a TLS provider.
    rustls::crypto::ring::default_provider().install_default().expect("no other provider");
    println!(
        "| attack, {} s | quiet p95, ms | p95 under attack, ms | ratio (must be < 3) \
         | memory growth, MiB (must be < 150) | what the attacker got |",
        time.as_secs()
    );
    println!("| --- | ---: | ---: | ---: | ---: | --- |");
    let runtime = tokio::runtime::Runtime::new().expect("a runtime");
    for (attack, name, title) in ATTACKS {
        if names.is_empty() || names.iter().any(|other| other == name) {
            runtime.block_on(measure(attack, title, time));
        }
    }
}

/// Measures one attack and prints its row.
async fn measure(attack: Attack, title: &str, time: Duration) {
    let server = BenchServer::start(TICKETS, &[]).await;
    let mut attacker = Attacker::prepare(&server).await;
    let quiet = victim::list(&server, (time / 3).max(MIN_QUIET)).await;
    let before = resident(server.pid());
    attacker.begin(time);
    let attacking = async {
        attack.run(&attacker).await;
        attacker.wait().await;
    };
    let mut most = before;
    let sampling = async {
        loop {
            most = most.max(resident(server.pid()));
            time::sleep(SAMPLE_INTERVAL).await;
        }
    };
    let measured = async { tokio::join!(attacking, victim::list(&server, time)).1 };
    let attacked = tokio::select! {
        attacked = measured => attacked,
        () = sampling => unreachable!("sampling does not end"),
    };
    println!(
        "| {title} | {quiet} | {attacked} | {:.2} | {:.0} | {} |",
        attacked.p95 / quiet.p95,
        (most - before) / 1024.0,
        attacker.outcomes()
    );
    server.stop().await;
}
