//! The admin listener and its metrics.

use serde_json::json;
use tokio::{
    io::{AsyncReadExt as _, AsyncWriteExt as _},
    net::{TcpListener, TcpStream},
};

use ticketwire::{
    db::{Database, delivery},
    domain::clock::Clock as _,
};

use crate::harness::{
    Client, TestServer,
    mail::settings,
    postgres::connect,
    smtp::{Behaviour, Smtp},
    socket::Incoming,
};

const FREE: &str = "127.0.0.1:0";

/// Starts a server with an admin listener.
pub async fn start_with_metrics(more: &[(&'static str, String)]) -> TestServer {
    let mut flags = vec![("admin.listen", FREE.to_owned())];
    flags.extend_from_slice(more);
    TestServer::start_with(&flags).await
}

/// The value of a metric, by its name and labels as they are printed; `None` if it is missing.
pub async fn metric(server: &TestServer, name: &str) -> Option<f64> {
    let (status, text) = server.admin("/metrics").await;
    assert_eq!(status, 200, "{text}");
    let line = text.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(' '))?;
    Some(line.parse().unwrap())
}

/// Waits until a metric meets a condition.
pub async fn until_metric(server: &TestServer, name: &str, reached: impl Fn(f64) -> bool) {
    let reaching = async { while !metric(server, name).await.is_some_and(&reached) {} };
    let waited = tokio::time::timeout(std::time::Duration::from_mins(3), reaching).await;
    assert!(waited.is_ok(), "{name} is {:?}", metric(server, name).await);
}

#[tokio::test(flavor = "multi_thread")]
async fn the_admin_listener_serves_metrics_and_health_and_nothing_else() {
    let server = start_with_metrics(&[]).await;
    assert_eq!(server.admin("/healthz").await.0, 200);
    assert_eq!(server.admin("/readyz").await.0, 200);
    assert_eq!(server.admin("/graphql").await.0, 404);
    assert_eq!(server.admin("/").await.0, 404);
    let get = server.anonymous().request(reqwest::Method::GET, "/metrics", |get| get).await;
    assert_eq!(get.status, 404);
    let (_, text) = server.admin("/metrics").await;
    let names = text.lines().filter_map(|line| line.strip_prefix("# TYPE ")?.split(' ').next());
    for name in names {
        assert!(name.starts_with("ticketwire_") || name.starts_with("process_"), "{name}");
        assert!(text.contains(&format!("# HELP {name} ")), "{name} is not explained");
    }
    assert!(text.ends_with("# EOF\n"), "{text}");
    assert_eq!(text.matches("# EOF").count(), 1);
    let version = format!("ticketwire_build_info{{version=\"{}\"}}", env!("CARGO_PKG_VERSION"));
    assert_eq!(metric(&server, &version).await, Some(1.0));
    server.stop().await;
}

#[cfg(target_os = "linux")]
#[tokio::test(flavor = "multi_thread")]
async fn the_start_of_the_process_is_a_fixed_time() {
    let server = start_with_metrics(&[]).await;
    let name = "process_start_time_seconds";
    let started = metric(&server, name).await.unwrap();
    let stat = std::fs::read_to_string("/proc/self/stat").unwrap();
    let ticks = stat.rsplit_once(") ").unwrap().1.split(' ').nth(19).unwrap();
    let system = std::fs::read_to_string("/proc/stat").unwrap();
    let boot = system.lines().find_map(|line| line.strip_prefix("btime ")).unwrap();
    let expected = boot.parse::<f64>().unwrap() + ticks.parse::<f64>().unwrap() / 100.0;
    // The start of the system is known in whole seconds.
    assert!((started - expected).abs() < 2.0, "{started} {expected}");
    assert_eq!(metric(&server, name).await, Some(started));
    server.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn an_admin_address_in_use_is_an_error_that_names_its_setting() {
    let server = TestServer::start().await;
    let occupied = TcpListener::bind(FREE).await.unwrap();
    let address = occupied.local_addr().unwrap().to_string();
    let refused = server.another_node(&[("admin.listen", address.clone())]).await;
    let error = refused.err().expect("a refusal").to_string();
    assert!(error.contains("`admin.listen`") && error.contains(&address), "{error}");
    server.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn the_admin_listener_answers_while_the_server_drains_and_stops_with_it() {
    let server = start_with_metrics(&[]).await;
    let admin = server.admin_address();
    // A request in progress: the server has asked for its body.
    let mut slow = TcpStream::connect(server.address()).await.unwrap();
    let head = "POST /graphql HTTP/1.1\r\nHost: a\r\nContent-Type: application/json\r\n\
        Content-Length: 9\r\nExpect: 100-continue\r\n\r\n";
    slow.write_all(head.as_bytes()).await.unwrap();
    let mut asked = [0; 12];
    slow.read_exact(&mut asked).await.unwrap();
    assert_eq!(&asked, b"HTTP/1.1 100");
    let stopping = tokio::spawn(server.stop());
    let readiness = || async { reqwest::get(format!("http://{admin}/readyz")).await.unwrap() };
    let stops = loop {
        let reply = readiness().await;
        if reply.status() != 200 {
            break reply;
        }
    };
    assert_eq!(
        (stops.status().as_u16(), stops.text().await.unwrap().as_str()),
        (503, "stopping\n")
    );
    let metrics = reqwest::get(format!("http://{admin}/metrics")).await.unwrap();
    assert_eq!(metrics.status(), 200);
    drop(slow);
    stopping.await.unwrap();
    assert!(TcpStream::connect(&admin).await.is_err(), "the admin listener outlives the server");
}

#[tokio::test(flavor = "multi_thread")]
async fn metrics_count_open_streams_and_delivered_events() {
    let server = start_with_metrics(&[]).await;
    let anna = server.customer("Anna").await;
    let ticket = anna.create_ticket("one").await;
    let mut socket = anna.socket().await;
    socket.watch_ticket("1", &ticket.id, None).await;
    socket.watch_inbox("2", None).await;
    for _ in 0..2 {
        socket.item().await;
    }
    assert_eq!(metric(&server, "ticketwire_sockets").await, Some(1.0));
    let of = |kind: &str| format!("ticketwire_subscribers{{stream=\"{kind}\"}}");
    assert_eq!(metric(&server, &of("ticket")).await, Some(1.0));
    assert_eq!(metric(&server, &of("inbox")).await, Some(1.0));
    assert_eq!(metric(&server, &of("notifications")).await, Some(0.0));
    anna.comment(&ticket, "hello").await;
    for _ in 0..2 {
        socket.item().await;
    }
    let delivered = "ticketwire_events_delivered_total{stream=\"ticket\"}";
    assert_eq!(metric(&server, delivered).await, Some(1.0));
    server.quiet().await;
    let head = metric(&server, "ticketwire_feed_head_position").await.unwrap();
    assert!(head >= 2.0, "{head}");
    until_metric(&server, "ticketwire_feed_published_position", |published| published == head)
        .await;
    assert!(metric(&server, "ticketwire_events_published_total").await.unwrap() >= 2.0);
    // Signing out revokes the streams and closes the socket.
    anna.ok("mutation { signOut { signedOut } }", json!({})).await;
    socket.close_code().await;
    until_metric(&server, &of("ticket"), |count| count == 0.0).await;
    until_metric(&server, "ticketwire_sockets", |count| count == 0.0).await;
    server.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn metrics_count_buffer_overflows_and_replays_by_source() {
    let mut server = start_with_metrics(&[]).await;
    let anna = server.customer("Anna").await;
    let ticket = anna.create_ticket("one").await;
    let mut socket = anna.socket().await;
    socket.watch_ticket("1", &ticket.id, None).await;
    let start = socket.caught_up().await;
    let (overflows, memory, database) = (
        "ticketwire_subscriber_buffer_overflows_total",
        "ticketwire_replay_reads_total{source=\"memory\"}",
        "ticketwire_replay_reads_total{source=\"database\"}",
    );
    assert_eq!(metric(&server, overflows).await, Some(0.0));
    // One transaction, so that the tailer publishes all comments before the stream wakes.
    let many = crate::events::comments(1, 500);
    server.database.connect().await.batch_execute(&format!("BEGIN; {many} COMMIT")).await.unwrap();
    while socket.item().await["comment"]["body"] != "500" {}
    assert!(metric(&server, overflows).await.unwrap() >= 1.0);
    assert!(metric(&server, memory).await.unwrap() >= 1.0);
    assert_eq!(metric(&server, database).await, Some(0.0));
    // A new node has nothing in memory.
    server.restart_with(&[("admin.listen", FREE.to_owned())]).await;
    let mut socket = anna.at(&server.address()).socket().await;
    socket.watch_ticket("1", &ticket.id, Some(&start)).await;
    while socket.item().await["comment"]["body"] != "500" {}
    assert_eq!(metric(&server, memory).await, Some(0.0));
    assert!(metric(&server, database).await.unwrap() >= 3.0, "500 events are three pages");
    for state in ["waiting", "reading"] {
        let replays = format!("ticketwire_replays{{state=\"{state}\"}}");
        assert_eq!(metric(&server, &replays).await, Some(0.0));
    }
    let foreign = ticketwire::domain::cursor::Cursor { epoch: 0, pos: 1 }.encode();
    socket.watch_ticket("2", &ticket.id, Some(&foreign)).await;
    while !matches!(socket.incoming().await, Incoming::Message(message) if message["id"] == "2") {}
    let resyncs = "ticketwire_resyncs_total{reason=\"history_rewound\"}";
    assert_eq!(metric(&server, resyncs).await, Some(1.0));
    server.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn metrics_show_the_lag_and_age_of_stuck_consumers_mails_and_events() {
    let smtp = Smtp::reserve();
    let server = start_with_metrics(&settings(&format!("smtp://{smtp}"))).await;
    let anna = server.customer("Anna").await;
    server.quiet().await;
    let lag = "ticketwire_feed_consumer_lag_positions{consumer=\"notifications\"}";
    let (mail, queued) = (
        "ticketwire_oldest_undelivered_mail_age_seconds",
        "ticketwire_mails_undelivered{state=\"queued\"}",
    );
    let pending = "ticketwire_oldest_pending_event_age_seconds";
    assert_eq!(metric(&server, lag).await, Some(0.0));
    assert_eq!(metric(&server, pending).await, Some(0.0));
    // A consumer that is blocked.
    let holder = server.database.connect().await;
    holder.batch_execute("BEGIN; SELECT FROM consumer_offsets FOR UPDATE").await.unwrap();
    anna.create_ticket("one").await;
    until_metric(&server, lag, |lag| lag >= 1.0).await;
    holder.batch_execute("ROLLBACK").await.unwrap();
    until_metric(&server, lag, |lag| lag == 0.0).await;
    // No mail server answers: the confirmation waits for another attempt.
    until_metric(&server, queued, |count| count >= 1.0).await;
    server.clock.advance(chrono::TimeDelta::minutes(1));
    until_metric(&server, mail, |age| (60.0..600.0).contains(&age)).await;
    until_metric(&server, "ticketwire_mail_attempts_total{outcome=\"held\"}", |n| n >= 1.0).await;
    until_metric(&server, "ticketwire_mail_held", |held| held == 1.0).await;
    // A sequencer that is blocked.
    holder.batch_execute("BEGIN; SELECT FROM feed_head FOR UPDATE").await.unwrap();
    anna.create_ticket("two").await;
    server.clock.advance(chrono::TimeDelta::minutes(5));
    until_metric(&server, pending, |age| age >= 300.0).await;
    holder.batch_execute("ROLLBACK").await.unwrap();
    until_metric(&server, pending, |age| age == 0.0).await;
    server.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_mail_behind_a_deferred_one_is_not_due() {
    let smtp = Smtp::start().await;
    smtp.script([Behaviour::Rcpt("450 4.2.0 greylisted")]);
    let server = start_with_metrics(&settings(&smtp.url())).await;
    let (anna, marta) = (server.customer("Anna").await, server.agent("Marta").await);
    let ticket = anna.create_ticket("one").await;
    let attempts = "ticketwire_mail_attempts_total{outcome=\"deferred\"}";
    until_metric(&server, attempts, |count| count >= 1.0).await;
    marta.comment(&ticket, "An answer").await;
    let queued = "ticketwire_mails_undelivered{state=\"queued\"}";
    until_metric(&server, queued, |count| count == 2.0).await;
    let client = server.database.connect().await;
    let defer = "UPDATE deliveries SET due_at = due_at + interval '1 hour' WHERE attempts > 0";
    assert_eq!(client.execute(defer, &[]).await.unwrap(), 1);
    server.clock.advance(chrono::TimeDelta::minutes(20));
    let due = "ticketwire_oldest_due_mail_age_seconds";
    assert_eq!(metric(&server, due).await, Some(0.0));
    let oldest = metric(&server, "ticketwire_oldest_undelivered_mail_age_seconds").await;
    assert!(oldest >= Some(1200.0), "{oldest:?}");
    let database = Database::new(&server.database.url, 2).unwrap();
    let next = delivery::next_due(&mut database.read().await.unwrap()).await.unwrap();
    assert!(next > Some(server.clock.now()), "{next:?}");
    database.close();
    server.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn metrics_count_requests_and_sign_ins_under_fixed_labels() {
    let server = start_with_metrics(&[]).await;
    let anna = server.customer("Anna").await;
    let wrong = json!({ "input": { "email": "anna@example.com", "password": "not this one" } });
    let document =
        "mutation($input: SignInInput!) { signIn(input: $input) { userErrors { code } } }";
    server.anonymous().send(document, wrong).await;
    let sign_ins = |outcome| format!("ticketwire_sign_ins_total{{outcome=\"{outcome}\"}}");
    assert_eq!(metric(&server, &sign_ins("signed_in")).await, Some(1.0));
    assert_eq!(metric(&server, &sign_ins("invalid_credentials")).await, Some(1.0));
    let secret = format!("/nowhere/{}", anna.token.as_ref().unwrap());
    anna.request(reqwest::Method::GET, &secret, |get| get).await;
    let (_, text) = server.admin("/metrics").await;
    assert!(!text.contains("nowhere") && !text.contains("tw_") && !text.contains('@'), "{text}");
    let requests = "ticketwire_http_requests_total{route=\"other\",status=\"4xx\"}";
    assert_eq!(metric(&server, requests).await, Some(1.0));
    let requests = "ticketwire_http_requests_total{route=\"/graphql\",status=\"2xx\"}";
    assert_eq!(metric(&server, requests).await, Some(2.0));
    let durations = "ticketwire_http_request_duration_seconds_count{route=\"/graphql\"}";
    assert_eq!(metric(&server, durations).await, Some(2.0));
    server.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn in_memory_metrics_are_served_while_the_database_is_down() {
    let server = start_with_metrics(&[]).await;
    Client::new(&server.address(), None).send("{ __typename }", json!({})).await;
    assert_eq!(metric(&server, "ticketwire_database_up").await, Some(1.0));
    let pool = "ticketwire_database_pool_connections{state=\"limit\"}";
    assert_eq!(metric(&server, pool).await, Some(8.0));
    let name = server.database.url.clone();
    let name = name.split('?').next().unwrap().rsplit('/').next().unwrap().to_owned();
    let admin = connect(&server.database.url.replace(&name, "postgres")).await;
    // One that is read-only keeps nodes from being ready too.
    let read_only = format!("ALTER DATABASE {name} SET default_transaction_read_only = on");
    admin.batch_execute(&read_only).await.unwrap();
    until_metric(&server, "ticketwire_database_up", |up| up == 0.0).await;
    assert!(metric(&server, "ticketwire_feed_head_position").await.is_some());
    let writable = format!("ALTER DATABASE {name} RESET default_transaction_read_only");
    admin.batch_execute(&writable).await.unwrap();
    until_metric(&server, "ticketwire_database_up", |up| up == 1.0).await;
    server.database.close().await;
    until_metric(&server, "ticketwire_database_up", |up| up == 0.0).await;
    assert_eq!(metric(&server, "ticketwire_feed_head_position").await, None);
    assert_eq!(metric(&server, pool).await, Some(8.0));
    assert_eq!(server.admin("/healthz").await.0, 200);
    assert_eq!(server.admin("/readyz").await.0, 503);
    server.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_request_whose_client_gives_up_is_counted_as_cancelled() {
    let server = start_with_metrics(&[]).await;
    let anna = server.customer("Anna").await;
    let holder = server.database.connect().await;
    holder.batch_execute("BEGIN; LOCK TABLE tickets IN ACCESS EXCLUSIVE MODE").await.unwrap();
    let asking = tokio::spawn(async move {
        anna.send("{ tickets(first: 1) { nodes { id } } }", json!({})).await;
    });
    let blocked = "SELECT EXISTS (SELECT FROM pg_locks WHERE NOT granted
        AND relation = 'tickets'::regclass)";
    while !holder.query_one(blocked, &[]).await.unwrap().get::<_, bool>(0) {}
    asking.abort();
    let cancelled = "ticketwire_http_requests_total{route=\"/graphql\",status=\"cancelled\"}";
    until_metric(&server, cancelled, |count| count >= 1.0).await;
    holder.batch_execute("ROLLBACK").await.unwrap();
    server.stop().await;
}
