//! What one account or one network address may use, and what those beyond the limits are told.

use std::{
    fs,
    net::SocketAddr,
    path::{Path, PathBuf},
    process::Stdio,
    time::Duration,
};

use chrono::TimeDelta;
use futures_util::future::join_all;
use reqwest::{Method, StatusCode};
use rustix::process::{Pid, Signal, kill_process};
use serde_json::{Value, json};
use ticketwire::domain::account::Role;
use tokio::{
    io::{AsyncBufReadExt as _, AsyncReadExt as _, AsyncWriteExt as _, BufReader},
    net::{TcpSocket, TcpStream},
    process::{Child, Command},
    time,
};

use crate::{
    harness::{
        Client, EventStream, TestServer,
        client::{Reply, TECHNICAL_SUPPORT, Ticket},
        postgres::TestDatabase,
        process,
        server::{PASSWORD, SEALING_KEYS},
        socket::{Incoming, Socket},
    },
    metrics::{metric, start_with_metrics, until_metric},
};

/// A test that waits longer has failed.
const TIMEOUT: Duration = Duration::from_secs(30);
const BOUNDARY: &str = "a-boundary-of-the-tests";
const CREATE: &str = "mutation($input: CreateTicketInput!) { createTicket(input: $input) {
    ticket { id } userErrors { code message } } }";
const COMMENT: &str = "mutation($input: AddCommentInput!) { addComment(input: $input) {
    comment { id } userErrors { code } } }";

fn flags(flags: &[(&'static str, &str)]) -> Vec<(&'static str, String)> {
    flags.iter().map(|(key, value)| (*key, (*value).to_owned())).collect()
}

/// A metric of refusals.
fn refused_by(limit: &str) -> String {
    format!("ticketwire_refusals_total{{limit=\"{limit}\"}}")
}

/// Connects from an address of this machine, such as `127.0.0.2`.
async fn connect_from(address: &str, server: &TestServer) -> TcpStream {
    let socket = TcpSocket::new_v4().unwrap();
    socket.bind(format!("{address}:0").parse().unwrap()).unwrap();
    socket.connect(server.address().parse::<SocketAddr>().unwrap()).await.unwrap()
}

/// What the server says until it closes; nothing if it closes with unread data.
async fn farewell(mut stream: TcpStream) -> String {
    let mut text = Vec::new();
    let read = time::timeout(TIMEOUT, stream.read_to_end(&mut text)).await;
    let _ = read.expect("the server closes the connection");
    String::from_utf8(text).unwrap()
}

/// Asks whether the server is alive, and keeps the connection; gives the beginning of the answer.
async fn ask(stream: &mut TcpStream) -> String {
    stream.write_all(b"GET /healthz HTTP/1.1\r\nHost: a\r\n\r\n").await.unwrap();
    let mut beginning = [0; 12];
    stream.read_exact(&mut beginning).await.unwrap();
    String::from_utf8(beginning.to_vec()).unwrap()
}

#[tokio::test(flavor = "multi_thread")]
async fn half_sent_headers_keep_nobody_else_out_and_end_in_time() {
    let limits = [("limits.handshakes_per_address", "5"), ("limits.header_seconds", "2")];
    let server = start_with_metrics(&flags(&limits)).await;
    let anna = server.customer("Anna").await;
    let mut half = Vec::new();
    for _ in 0..30 {
        let mut stream = connect_from("127.0.0.2", &server).await;
        let _ = stream.write_all(b"POST /graphql HTTP/1.1\r\nHost: a\r\nX-Slow:").await;
        half.push(stream);
    }
    until_metric(&server, &refused_by("handshakes"), |refused| refused == 25.0).await;
    anna.ok("{ viewer { id } }", json!({})).await;
    for stream in half {
        farewell(stream).await;
    }
    until_metric(&server, &refused_by("header_time"), |refused| refused == 5.0).await;
    // Those that did send their headers are not held to this time.
    anna.ok("{ viewer { id } }", json!({})).await;
    assert_eq!(ask(&mut connect_from("127.0.0.2", &server).await).await, "HTTP/1.1 200");
    server.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn one_address_does_not_get_all_connections() {
    let server = start_with_metrics(&flags(&[("limits.connections_per_address", "3")])).await;
    let mut own = Vec::new();
    for _ in 0..2 {
        let mut stream = connect_from("127.0.0.3", &server).await;
        assert_eq!(ask(&mut stream).await, "HTTP/1.1 200");
        own.push(stream);
    }
    // A websocket is a connection too.
    let mut socket = connect_from("127.0.0.3", &server).await;
    let upgrade = "GET /graphql HTTP/1.1\r\nHost: a\r\nConnection: upgrade\r\nUpgrade: websocket\r\n\
        Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\
        Sec-WebSocket-Protocol: graphql-transport-ws\r\n\r\n";
    socket.write_all(upgrade.as_bytes()).await.unwrap();
    let mut beginning = [0; 12];
    socket.read_exact(&mut beginning).await.unwrap();
    assert_eq!(&beginning, b"HTTP/1.1 101");
    let refused = farewell(connect_from("127.0.0.3", &server).await).await;
    assert!(refused.starts_with("HTTP/1.1 429 ") && refused.contains("Retry-After: 10"));
    assert!(refused.contains("at most 3 connections from one network address"), "{refused}");
    assert_eq!(ask(&mut connect_from("127.0.0.4", &server).await).await, "HTTP/1.1 200");
    assert_eq!(metric(&server, &refused_by("connections_per_address")).await, Some(1.0));
    drop(own.pop());
    let served = async {
        loop {
            let mut stream = connect_from("127.0.0.3", &server).await;
            stream.write_all(b"GET /healthz HTTP/1.0\r\n\r\n").await.unwrap();
            if farewell(stream).await.starts_with("HTTP/1.0 200") {
                break;
            }
        }
    };
    time::timeout(TIMEOUT, served).await.expect("room for another connection");
    server.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn behind_a_proxy_connections_are_limited_in_all() {
    let limits = [
        ("trusted_proxies", "1"),
        ("limits.connections", "16"),
        ("limits.connections_per_address", "1"),
        ("limits.handshakes_per_address", "1"),
    ];
    let server = start_with_metrics(&flags(&limits)).await;
    let mut open = Vec::new();
    for _ in 0..16 {
        let mut stream = connect_from("127.0.0.5", &server).await;
        assert_eq!(ask(&mut stream).await, "HTTP/1.1 200");
        open.push(stream);
    }
    let refused = farewell(connect_from("127.0.0.6", &server).await).await;
    assert!(refused.starts_with("HTTP/1.1 503 "), "{refused}");
    assert!(refused.contains("at most 16 connections"), "{refused}");
    drop(open);
    server.stop().await;
}

/// Begins a POST of JSON that promises more than it sends; gives the answer.
async fn answer_to_half_a_body(server: &TestServer) -> String {
    let mut stream = connect_from("127.0.0.7", server).await;
    let head = "POST /graphql HTTP/1.1\r\nHost: a\r\nContent-Type: application/json\r\n\
        Connection: close\r\nContent-Length: 5000\r\n\r\n{\"query\":";
    stream.write_all(head.as_bytes()).await.unwrap();
    farewell(stream).await
}

#[tokio::test(flavor = "multi_thread")]
async fn a_body_has_a_lowest_rate_and_a_time() {
    let limits = [("limits.body_window_seconds", "1"), ("limits.body_bytes_per_second", "1000")];
    let server = start_with_metrics(&flags(&limits)).await;
    let answer = answer_to_half_a_body(&server).await;
    assert!(answer.starts_with("HTTP/1.1 408 "), "{answer}");
    assert!(answer.contains("at least 1000 bytes a second"), "{answer}");
    assert_eq!(metric(&server, &refused_by("body_rate")).await, Some(1.0));
    server.stop().await;
    let server = start_with_metrics(&flags(&[("limits.upload_seconds", "1")])).await;
    let answer = answer_to_half_a_body(&server).await;
    assert!(answer.starts_with("HTTP/1.1 408 "), "{answer}");
    assert!(answer.contains("within 1 seconds"), "{answer}");
    assert_eq!(metric(&server, &refused_by("upload_time")).await, Some(1.0));
    server.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn the_server_raises_its_soft_limit_on_descriptors_and_doctor_compares() {
    let database = TestDatabase::new().await;
    let run = |arguments: &str| {
        let mut command = Command::new("sh");
        command.args(["-c", arguments, env!("CARGO_BIN_EXE_ticketwire")]).env_clear();
        command.envs(std::env::var_os("PATH").map(|path| ("PATH", path)));
        command.env("DATABASE_URL", &database.url).env("TICKETWIRE_LISTEN", "127.0.0.1:0");
        command.env("TICKETWIRE_SECURITY_SEALING_KEYS", SEALING_KEYS);
        command.env("TICKETWIRE_DATA_DIR", process::data_dir(&database.url));
        command.env("TICKETWIRE_LIMITS_CONNECTIONS", "100");
        command.current_dir(std::env::temp_dir()).kill_on_drop(true);
        command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::null());
        command
    };
    let serve = async |limit: &str| {
        let mut child = run(&format!("{limit}; exec \"$0\" serve")).spawn().unwrap();
        let mut lines = BufReader::new(child.stdout.take().unwrap()).lines();
        while !lines.next_line().await.unwrap().expect("a line").starts_with("Stop it") {}
        child
    };
    let stop = async |mut child: Child| {
        let pid = Pid::from_raw(child.id().unwrap().cast_signed()).unwrap();
        kill_process(pid, Signal::TERM).unwrap();
        child.wait().await.unwrap();
    };
    let doctor = async |limit: &str| {
        let doctor = run(&format!("{limit}; exec \"$0\" doctor")).output().await.unwrap();
        let report = String::from_utf8(doctor.stdout).unwrap();
        let line = report.lines().find(|line| line.contains(" descriptors: ")).unwrap();
        assert!(!line.starts_with("FAILED") || !doctor.status.success(), "{report}");
        line.to_owned()
    };
    let few = "300 allowed, but 100 connections";
    let alone = doctor("ulimit -n 300").await;
    assert!(alone.starts_with(&format!("FAILED  descriptors: {few}")), "{alone}");

    // The limit of a shell says nothing about a node that runs.
    let node = serve("ulimit -Sn 256").await;
    let limits = fs::read_to_string(format!("/proc/{}/limits", node.id().unwrap())).unwrap();
    let line = limits.lines().find(|line| line.starts_with("Max open files")).unwrap();
    let [soft, hard] = [3, 4].map(|field| line.split_whitespace().nth(field).unwrap());
    assert_eq!(soft, hard, "{line}");
    let healthy = doctor("ulimit -n 300").await;
    assert!(healthy.starts_with("ok      descriptors: the node "), "{healthy}");
    assert!(healthy.contains(&format!(": {hard} allowed, ")), "{healthy}");
    stop(node).await;
    let node = serve("ulimit -n 300").await;
    let failed = doctor("true").await;
    assert!(failed.starts_with("FAILED  descriptors: the node "), "{failed}");
    assert!(failed.contains(few), "{failed}");
    stop(node).await;
}

/// Opens a websocket that is refused when it greets; gives the code and the reason.
async fn refused_socket(server: &TestServer, token: Option<&str>) -> (u16, String) {
    let mut socket = Socket::connect(&server.address()).await;
    let payload = token.map(|token| json!({ "authorization": token }));
    socket.send(json!({ "type": "connection_init", "payload": payload })).await;
    match socket.incoming().await {
        Incoming::Closed(code, reason) => (code, reason),
        other => panic!("not refused: {other:?}"),
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn sockets_are_limited_and_those_that_do_not_sign_in_end() {
    let limits = [
        ("limits.customer_sockets", "2"),
        ("limits.anonymous_sockets_per_address", "2"),
        ("limits.anonymous_socket_seconds", "2"),
    ];
    let server = start_with_metrics(&flags(&limits)).await;
    let anna = server.customer("Anna").await;
    let anonymous = [server.anonymous().socket().await, server.anonymous().socket().await];
    let (code, reason) = refused_socket(&server, None).await;
    assert_eq!(code, 4429);
    assert!(reason.contains("at most 2 websockets"), "{reason}");
    let mut own = vec![anna.socket().await, anna.socket().await];
    let (code, reason) = refused_socket(&server, anna.token.as_deref()).await;
    assert_eq!(code, 4429);
    assert!(reason.contains("at most 2 websockets"), "{reason}");
    // Agents may open more.
    let marta = server.agent("Marta").await;
    let mut hers = Vec::new();
    for _ in 0..50 {
        hers.push(marta.socket().await);
    }
    for mut socket in anonymous {
        let Incoming::Closed(code, reason) = socket.incoming().await else { panic!("not closed") };
        assert_eq!(code, 4401);
        assert!(reason.contains("2 seconds"), "{reason}");
    }
    let mut last = own.pop().unwrap();
    last.watch_inbox("1", None).await;
    last.caught_up().await;
    drop(own);
    let opened = async {
        while Socket::try_open(&server.address(), anna.token.as_deref()).await.is_none() {}
    };
    time::timeout(TIMEOUT, opened).await.expect("room for another socket");
    assert!(metric(&server, &refused_by("sockets")).await >= Some(2.0));
    assert_eq!(metric(&server, &refused_by("socket_time")).await, Some(2.0));
    server.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn streams_are_limited_whatever_carries_them() {
    let server = start_with_metrics(&flags(&[("limits.customer_streams", "2")])).await;
    let anna = server.customer("Anna").await;
    let (mut one, mut other) = (anna.socket().await, anna.socket().await);
    for socket in [&mut one, &mut other] {
        socket.watch_inbox("1", None).await;
        socket.caught_up().await;
    }
    one.watch_inbox("2", None).await;
    let refused = one.message().await;
    assert_eq!(refused["type"], "error", "{refused}");
    let error = &refused["payload"][0];
    assert_eq!(error["extensions"]["code"], "RATE_LIMITED", "{refused}");
    assert_eq!(error["extensions"]["retryAfterSeconds"], 10, "{refused}");
    assert!(error["message"].as_str().unwrap().contains("at most 2 streams"), "{refused}");
    let query = "subscription { inboxEvents { __typename } }";
    let refused =
        anna.request_event_stream(|request| request.json(&json!({ "query": query }))).await;
    assert_eq!(refused.status(), StatusCode::TOO_MANY_REQUESTS);
    assert_eq!(refused.headers()["retry-after"], "10");
    // A completed stream makes room.
    other.send(json!({ "type": "complete", "id": "1" })).await;
    other.watch_inbox("2", None).await;
    other.caught_up().await;
    assert_eq!(metric(&server, &refused_by("streams")).await, Some(2.0));
    server.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn one_account_does_not_get_all_of_the_server() {
    let server = start_with_metrics(&flags(&[("limits.customer_requests", "1")])).await;
    let (anna, jonas) = (server.customer("Anna").await, server.customer("Jonas").await);
    let ticket = anna.create_ticket("one").await;
    let mut database = server.database.connect().await;
    let lock = database.transaction().await.unwrap();
    lock.execute("SELECT FROM tickets FOR UPDATE", &[]).await.unwrap();
    let waiting = tokio::spawn({
        let (anna, ticket) = (anna.clone(), ticket.clone());
        async move { anna.comment(&ticket, "waits").await }
    });
    let others = server.database.connect().await;
    let waits = "SELECT EXISTS (SELECT FROM pg_stat_activity
        WHERE datname = current_database() AND wait_event_type = 'Lock')";
    while !others.query_one(waits, &[]).await.unwrap().get::<_, bool>(0) {}
    let refused = anna.send("{ viewer { id } }", json!({})).await;
    assert_eq!((refused.status, refused.code()), (StatusCode::TOO_MANY_REQUESTS, "RATE_LIMITED"));
    assert_eq!(refused.headers["retry-after"], "1");
    assert_eq!(*refused.at("/errors/0/extensions/retryAfterSeconds"), 1);
    assert!(refused.body.to_string().contains("At most 1 requests"), "{}", refused.body);
    jonas.ok("{ viewer { id } }", json!({})).await;
    lock.rollback().await.unwrap();
    waiting.await.unwrap();
    anna.ok("{ viewer { id } }", json!({})).await;
    server.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn requests_beyond_those_that_one_account_executes_wait_for_their_turn() {
    let server = start_with_metrics(&flags(&[("limits.customer_parallel_requests", "1")])).await;
    let (anna, jonas) = (server.customer("Anna").await, server.customer("Jonas").await);
    let ticket = anna.create_ticket("one").await;
    let mut database = server.database.connect().await;
    let lock = database.transaction().await.unwrap();
    lock.execute("SELECT FROM tickets FOR UPDATE", &[]).await.unwrap();
    let executed = tokio::spawn({
        let (anna, ticket) = (anna.clone(), ticket.clone());
        async move { anna.comment(&ticket, "executed").await }
    });
    let others = server.database.connect().await;
    let waits = "SELECT EXISTS (SELECT FROM pg_stat_activity
        WHERE datname = current_database() AND wait_event_type = 'Lock')";
    while !others.query_one(waits, &[]).await.unwrap().get::<_, bool>(0) {}
    let mut socket = anna.socket().await;
    let mut waiting = Box::pin(async {
        socket.subscribe("1", "{ viewer { id } }", json!({})).await;
        tokio::join!(anna.ok("{ viewer { id } }", json!({})), socket.message())
    });
    for _ in 0..10 {
        let other = jonas.ok("{ viewer { id } }", json!({}));
        tokio::select! {
            _ = &mut waiting => panic!("two requests of one account were executed"),
            _ = other => {}
        }
    }
    lock.rollback().await.unwrap();
    executed.await.unwrap();
    let (_, message) = waiting.await;
    assert_eq!(message["type"], "next", "{message}");
    server.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_response_that_its_client_does_not_read_keeps_its_turn() {
    let server = start_with_metrics(&flags(&[("limits.customer_parallel_requests", "1")])).await;
    let (anna, jonas) = (server.customer("Anna").await, server.customer("Jonas").await);
    let input = json!({ "categoryId": TECHNICAL_SUPPORT, "summary": "Long",
        "description": "🎟".repeat(65_536) });
    let created = anna.try_create_ticket(input).await;
    let ticket = created.at("/data/createTicket/ticket/id");
    let query = "query($ids: [ID!]!) { nodes(ids: $ids) { ... on Ticket { description } } }";
    let request = anna.raw_post(query, &json!({ "ids": vec![ticket; 39] }));
    let mut unread = connect_from("127.0.0.1", &server).await;
    unread.write_all(&request).await.unwrap();
    let mut status = [0; 12];
    unread.read_exact(&mut status).await.unwrap();
    assert_eq!(&status, b"HTTP/1.1 200");
    let mut waiting = Box::pin(anna.ok("{ viewer { id } }", json!({})));
    for _ in 0..10 {
        tokio::select! {
            _ = &mut waiting => panic!("a response of 10 MiB is in memory, and the next was begun"),
            _ = jonas.ok("{ viewer { id } }", json!({})) => {}
        }
    }
    drop(unread);
    waiting.await;
    server.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_socket_without_an_account_that_reads_nothing_keeps_nobody_waiting() {
    // A turn is waited for as long as a request may take.
    let server = start_with_metrics(&flags(&[("limits.request_seconds", "5")])).await;
    let mut unread = Socket::open_slow(&server.address(), None).await;
    let query = "{ __schema { types { name description fields { name description args { name
        description } } inputFields { name description } enumValues { name description } } } }";
    for n in 0..50 {
        unread.subscribe(&n.to_string(), query, json!({})).await;
    }
    for _ in 0..10 {
        server.anonymous().ok("{ __typename }", json!({})).await;
    }
    server.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn bodies_that_are_not_complete_take_no_more_than_their_networks_budget() {
    const SIZE: usize = 1_000_000;
    let server = start_with_metrics(&[]).await;
    let text =
        |length: usize| format!(r#"{{"query":"{{ __typename }}","x":"{}"}}"#, "x".repeat(length));
    let empty = text(0).len();
    let head = |length: usize| {
        format!(
            "POST /graphql HTTP/1.1\r\nHost: a\r\nContent-Type: application/json\r\n\
             Connection: close\r\nContent-Length: {length}\r\n\r\n"
        )
    };
    let post = async |address: &str, length: usize| {
        let mut stream = connect_from(address, &server).await;
        stream.write_all(head(length).as_bytes()).await.unwrap();
        stream.write_all(text(length - empty).as_bytes()).await.unwrap();
        farewell(stream).await
    };
    let body = text(SIZE - empty);
    let (most, rest) = body.split_at(SIZE - 10);
    let mut unfinished = Vec::new();
    for _ in 0..80 {
        let mut stream = connect_from("127.0.0.8", &server).await;
        stream.write_all(head(SIZE).as_bytes()).await.unwrap();
        stream.write_all(most.as_bytes()).await.unwrap();
        unfinished.push(stream);
    }
    until_metric(&server, &refused_by("requests"), |refused| refused >= 10.0).await;
    assert!(post("127.0.0.8", 10_000).await.starts_with("HTTP/1.1 200 "));
    assert!(post("127.0.0.9", SIZE).await.starts_with("HTTP/1.1 200 "));
    // Who is signed in has room of their own.
    let anna = server.customer("Anna").await;
    let mut signed_in = connect_from("127.0.0.8", &server).await;
    let request = anna.raw_post("{ __typename }", &json!({ "x": "x".repeat(SIZE) }));
    signed_in.write_all(&request).await.unwrap();
    let mut status = [0; 12];
    signed_in.read_exact(&mut status).await.unwrap();
    assert_eq!(&status, b"HTTP/1.1 200");
    let mut accepted = 0;
    for mut stream in unfinished {
        // One that is refused is closed soon.
        let _ = stream.write_all(rest.as_bytes()).await;
        let answer = farewell(stream).await;
        let is_accepted = answer.starts_with("HTTP/1.1 200 ");
        assert!(is_accepted || answer.is_empty() || answer.contains("RATE_LIMITED"), "{answer}");
        accepted += usize::from(is_accepted);
    }
    assert!((10..=70).contains(&accepted), "{accepted}");
    assert!(post("127.0.0.8", SIZE).await.starts_with("HTTP/1.1 200 "), "the budget is free again");
    server.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn multipart_requests_that_have_begun_are_limited_by_network() {
    let server = start_with_metrics(&[]).await;
    let begin = async |address: &str, header: &str| {
        let mut stream = connect_from(address, &server).await;
        let head = format!(
            "POST /graphql HTTP/1.1\r\nHost: a\r\napollo-require-preflight: 1\r\n{header}\r\n\
             Content-Type: multipart/form-data; boundary={BOUNDARY}\r\nConnection: close\r\n\
             Content-Length: 100\r\n\r\n--{BOUNDARY}\r\n"
        );
        stream.write_all(head.as_bytes()).await.unwrap();
        stream
    };
    let mut begun = Vec::new();
    for _ in 0..105 {
        begun.push(begin("127.0.0.10", "x: x").await);
    }
    until_metric(&server, &refused_by("uploads"), |refused| refused == 5.0).await;
    // Another network is not concerned, nor is who is signed in.
    let anna = server.customer("Anna").await;
    let token = format!("Authorization: Bearer {}", anna.token.as_ref().unwrap());
    for (address, header) in [("127.0.0.11", "x: x"), ("127.0.0.10", token.as_str())] {
        let mut other = begin(address, header).await;
        other.write_all("x".repeat(100).as_bytes()).await.unwrap();
        let answer = farewell(other).await;
        assert!(answer.starts_with("HTTP/1.1 400 "), "{answer}");
    }
    drop(begun);
    server.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn the_request_of_a_subscription_is_small() {
    let server = TestServer::start().await;
    let anna = server.customer("Anna").await;
    let document = |length: usize| {
        format!("subscription {{ {} inboxEvents {{ __typename }} }}", ",".repeat(length))
    };
    let mut socket = anna.socket().await;
    socket.subscribe("large", &document(65_536), json!({})).await;
    let refused = socket.message().await;
    assert_eq!((&refused["type"], &refused["id"]), (&json!("error"), &json!("large")));
    assert!(
        refused["payload"][0]["message"].as_str().unwrap().contains("65536 bytes"),
        "{refused}"
    );
    socket.subscribe("small", &document(60_000), json!({})).await;
    assert_eq!(socket.item().await["__typename"], "Checkpoint");
    for (length, expected) in [(65_536, "65536 bytes"), (60_000, "Checkpoint")] {
        let request = reqwest::Client::new()
            .post(format!("http://{}/graphql", server.address()))
            .bearer_auth(anna.token.as_ref().unwrap())
            .header("accept", "text/event-stream")
            .json(&json!({ "query": document(length) }));
        let mut stream = EventStream::new(request.send().await.unwrap());
        let first = stream.event().await.unwrap();
        assert!(first.data.contains(expected), "{}", first.data);
    }
    server.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn the_messages_of_streams_that_are_not_shared_wait_for_their_callers_turn() {
    let server = start_with_metrics(&flags(&[("limits.customer_parallel_requests", "1")])).await;
    let (anna, jonas) = (server.customer("Anna").await, server.customer("Jonas").await);
    let tickets = [anna.create_ticket("one").await, anna.create_ticket("two").await];
    let other = jonas.create_ticket("three").await;
    let watch = |fields: &str| {
        format!(
            "subscription($id: ID!) {{ ticketEvents(ticketId: $id) {{ __typename
                ... on CommentAdded {{ comment {{ body @include(if: true) {fields} }} }} }} }}"
        )
    };
    let (mut socket, mut elsewhere) = (anna.socket().await, jonas.socket().await);
    for (id, fields) in [("0", "attachments { id }"), ("1", "")] {
        let ticket = &tickets[id.parse::<usize>().unwrap()].id;
        socket.subscribe(id, &watch(fields), json!({ "id": ticket })).await;
        assert_eq!(socket.item().await["__typename"], "Checkpoint");
    }
    elsewhere.subscribe("1", &watch(""), json!({ "id": other.id })).await;
    assert_eq!(elsewhere.item().await["__typename"], "Checkpoint");
    let holder = server.database.connect().await;
    holder.batch_execute("BEGIN; LOCK TABLE attachments IN ACCESS EXCLUSIVE MODE").await.unwrap();
    anna.comment(&tickets[0], "This message waits").await;
    let blocked = "SELECT EXISTS (SELECT FROM pg_locks WHERE NOT granted
        AND relation = 'attachments'::regclass)";
    let waits = async { while !holder.query_one(blocked, &[]).await.unwrap().get::<_, bool>(0) {} };
    time::timeout(TIMEOUT, waits).await.expect("the first message to wait");
    anna.comment(&tickets[1], "And this one for it").await;
    let mut waiting = Box::pin(socket.message());
    for n in 0..10 {
        let others = async {
            jonas.comment(&other, &n.to_string()).await;
            elsewhere.item().await
        };
        tokio::select! {
            message = &mut waiting => panic!("{message} was executed beside another one"),
            item = others => assert_eq!(item["comment"]["body"], n.to_string()),
        }
    }
    holder.batch_execute("ROLLBACK").await.unwrap();
    assert_eq!(waiting.await["id"], "0");
    assert_eq!(socket.message().await["id"], "1");
    server.stop().await;
}

/// Waits until a statement waits for a table that `holder` has locked, and checks that it remains the
/// only one while another account has requests.
async fn assert_one_waits(holder: &tokio_postgres::Client, table: &str, other: &Client) {
    let waiting = format!(
        "SELECT count(*) FROM pg_locks WHERE NOT granted AND relation = '{table}'::regclass
             AND database = (SELECT oid FROM pg_database WHERE datname = current_database())"
    );
    let waiting = async || holder.query_one(&waiting, &[]).await.unwrap().get::<_, i64>(0);
    let begun = async { while waiting().await == 0 {} };
    time::timeout(TIMEOUT, begun).await.expect("a statement to wait");
    for _ in 0..10 {
        other.ok("{ viewer { id } }", json!({})).await;
        assert_eq!(waiting().await, 1);
    }
}

/// Opens eight streams of notifications on one socket.
async fn watch_notifications(client: &Client) -> Socket {
    let mut socket = client.socket().await;
    for id in 0..8 {
        let query = "subscription { notifications { __typename
            ... on NotificationAdded { unreadTicketCount } } }";
        socket.subscribe(&id.to_string(), query, json!({})).await;
    }
    socket
}

/// Receives a message of each of the eight streams.
async fn assert_notified(socket: &mut Socket, expected: &Value) {
    for _ in 0..8 {
        let message = socket.message().await;
        assert_eq!(message["payload"]["data"]["notifications"], *expected, "{message}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn the_streams_of_one_account_start_in_its_turns() {
    let server = start_with_metrics(&flags(&[("limits.customer_parallel_requests", "1")])).await;
    let (anna, jonas) = (server.customer("Anna").await, server.customer("Jonas").await);
    server.quiet().await;
    let holder = server.database.connect().await;
    holder.batch_execute("BEGIN; LOCK TABLE notifications IN ACCESS EXCLUSIVE MODE").await.unwrap();
    let mut socket = watch_notifications(&anna).await;
    assert_one_waits(&holder, "notifications", &jonas).await;
    holder.batch_execute("ROLLBACK").await.unwrap();
    assert_notified(&mut socket, &json!({ "__typename": "NotificationCheckpoint" })).await;
    server.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn the_streams_of_one_account_count_what_is_unread_together() {
    let server = TestServer::start().await;
    let (anna, jonas) = (server.customer("Anna").await, server.customer("Jonas").await);
    let marta = server.agent("Marta").await;
    let ticket = anna.create_ticket("one").await;
    let mut socket = watch_notifications(&anna).await;
    assert_notified(&mut socket, &json!({ "__typename": "NotificationCheckpoint" })).await;
    let holder = server.database.connect().await;
    holder.batch_execute("BEGIN; LOCK TABLE ticket_reads IN ACCESS EXCLUSIVE MODE").await.unwrap();
    marta.comment(&ticket, "an answer").await;
    assert_one_waits(&holder, "ticket_reads", &jonas).await;
    holder.batch_execute("ROLLBACK").await.unwrap();
    let added = json!({ "__typename": "NotificationAdded", "unreadTicketCount": 1 });
    assert_notified(&mut socket, &added).await;
    server.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_shared_message_is_executed_in_the_turn_of_any_of_its_subscribers() {
    let server = start_with_metrics(&flags(&[("limits.staff_parallel_requests", "1")])).await;
    let anna = server.customer("Anna").await;
    let (marta, boris) = (server.agent("Marta").await, server.agent("Boris").await);
    let tickets = [anna.create_ticket("one").await, anna.create_ticket("two").await];
    let watch = async |client: &Client, ticket: &Ticket, fields: &str| {
        let mut socket = client.socket().await;
        let query = format!(
            "subscription($id: ID!) {{ ticketEvents(ticketId: $id) {{ __typename
                ... on CommentAdded {{ comment {{ body {fields} }} }} }} }}"
        );
        socket.subscribe("1", &query, json!({ "id": ticket.id })).await;
        assert_eq!(socket.item().await["__typename"], "Checkpoint");
        socket
    };
    let mut blocking = watch(&marta, &tickets[0], "attachments @include(if: true) { id }").await;
    let mut sockets = Vec::new();
    for client in [&marta, &marta, &boris, &marta, &marta] {
        sockets.push(watch(client, &tickets[1], "").await);
    }
    let holder = server.database.connect().await;
    holder.batch_execute("BEGIN; LOCK TABLE attachments IN ACCESS EXCLUSIVE MODE").await.unwrap();
    anna.comment(&tickets[0], "This message takes Marta's turn").await;
    let blocked = "SELECT EXISTS (SELECT FROM pg_locks WHERE NOT granted
        AND relation = 'attachments'::regclass)";
    let waits = async { while !holder.query_one(blocked, &[]).await.unwrap().get::<_, bool>(0) {} };
    time::timeout(TIMEOUT, waits).await.expect("the first message to wait");
    // Marta is the first who asks for some of them.
    for n in 0..10 {
        anna.comment(&tickets[1], &n.to_string()).await;
        for socket in &mut sockets {
            assert_eq!(socket.item().await["comment"]["body"], n.to_string());
        }
    }
    holder.batch_execute("ROLLBACK").await.unwrap();
    assert_eq!(blocking.item().await["comment"]["attachments"], json!([]));
    server.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn tickets_and_comments_a_minute_are_limited_on_all_nodes() {
    let limits = flags(&[
        ("limits.tickets_per_minute", "3"),
        ("limits.customer_comments_per_minute", "2"),
        ("limits.staff_comments_per_minute", "4"),
    ]);
    let server = start_with_metrics(&limits).await;
    let node = server.another_node(&limits).await.unwrap();
    let (anna, marta) = (server.customer("Anna").await, server.agent("Marta").await);
    let there = anna.at(&node.address().to_string());
    let input = json!({ "categoryId": TECHNICAL_SUPPORT, "summary": "x", "description": "x",
        "idempotencyKey": "one" });
    let first = anna.try_create_ticket(input.clone()).await;
    let ticket = Ticket::read(first.at("/data/createTicket/ticket"));
    // A repetition is not counted.
    anna.try_create_ticket(input.clone()).await;
    there.create_ticket("two").await;
    anna.create_ticket("three").await;
    let mut other = input.clone();
    other["idempotencyKey"] = json!("four");
    let refused = there.try_create_ticket(other.clone()).await;
    assert_eq!(refused.code(), "RATE_LIMITED", "{}", refused.body);
    assert!(refused.body.to_string().contains("At most 3 tickets a minute"), "{}", refused.body);
    for (writer, most) in [(&anna, 2), (&marta, 4)] {
        for n in 0..most {
            writer.comment(&ticket, &n.to_string()).await;
        }
        let refused = writer.try_comment(&ticket, json!({ "body": "too many" })).await;
        assert_eq!(refused.code(), "RATE_LIMITED", "{}", refused.body);
        let text = format!("At most {most} comments a minute");
        assert!(refused.body.to_string().contains(&text), "{}", refused.body);
    }
    assert_eq!(metric(&server, &refused_by("comments")).await, Some(2.0));
    let wait = refused.at("/errors/0/extensions/retryAfterSeconds").as_i64().unwrap();
    server.clock.advance(TimeDelta::seconds(wait));
    let accepted = anna.try_create_ticket(other).await;
    assert_eq!(accepted.user_errors("createTicket"), [] as [&str; 0], "{}", accepted.body);
    node.stop().await;
    server.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn changes_of_customers_a_minute_are_limited_on_all_nodes() {
    const UPDATE: &str = "mutation($input: UpdateTicketInput!) { updateTicket(input: $input) {
        ticket { status } userErrors { code } } }";
    let limits = flags(&[("limits.customer_changes_per_minute", "4")]);
    let server = start_with_metrics(&limits).await;
    let node = server.another_node(&limits).await.unwrap();
    let (anna, marta) = (server.customer("Anna").await, server.agent("Marta").await);
    let there = anna.at(&node.address().to_string());
    let ticket = anna.create_ticket("one").await;
    let set = async |client: &Client, status: &str| {
        let input = json!({ "ticketId": ticket.id, "status": status });
        client.send(UPDATE, json!({ "input": input })).await
    };
    let prefer = async |client: &Client, locale: &str| {
        let mutation = "mutation($input: UpdatePreferencesInput!) {
            updatePreferences(input: $input) { account { locale } } }";
        client.send(mutation, json!({ "input": { "locale": locale } })).await
    };
    for (client, status) in [(&anna, "RESOLVED"), (&there, "WAITING_FOR_SUPPORT")] {
        let reply = set(client, status).await;
        assert_eq!(reply.at("/data/updateTicket/ticket/status"), status, "{}", reply.body);
    }
    // What changes nothing is not counted.
    set(&anna, "WAITING_FOR_SUPPORT").await;
    let last = "query($number: String!) { ticket(number: $number) { timeline(last: 1) { nodes { id } } } }";
    let data = anna.ok(last, json!({ "number": ticket.number })).await;
    let seen = &data["ticket"]["timeline"]["nodes"][0]["id"];
    let unchanged =
        json!({ "ticketId": ticket.id, "status": "WAITING_FOR_SUPPORT", "seenUpTo": seen });
    let reply = anna.send(UPDATE, json!({ "input": unchanged })).await;
    assert_eq!(reply.user_errors("updateTicket"), [] as [&str; 0], "{}", reply.body);
    for (client, locale) in [(&anna, "RU"), (&there, "EN")] {
        let reply = prefer(client, locale).await;
        assert_eq!(reply.at("/data/updatePreferences/account/locale"), locale, "{}", reply.body);
    }
    for refused in [set(&there, "RESOLVED").await, prefer(&anna, "RU").await] {
        assert_eq!(refused.code(), "RATE_LIMITED", "{}", refused.body);
        assert!(
            refused.body.to_string().contains("At most 4 changes a minute"),
            "{}",
            refused.body
        );
    }
    assert_eq!(metric(&server, &refused_by("changes")).await, Some(1.0));
    // Staff work through many tickets.
    for status in ["WORKING_ON_IT", "WAITING_FOR_SUPPORT"].repeat(3) {
        let reply = set(&marta, status).await;
        assert_eq!(reply.at("/data/updateTicket/ticket/status"), status, "{}", reply.body);
    }
    node.stop().await;
    server.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn what_a_customer_has_read_and_which_mail_they_get_is_limited() {
    let limits = flags(&[("limits.customer_changes_per_minute", "4")]);
    let server = TestServer::start_with(&limits).await;
    let (anna, marta) = (server.customer("Anna").await, server.agent("Marta").await);
    let ticket = anna.create_ticket("one").await;
    let set_mail = async |is_on: bool| {
        let document = "mutation($input: SetTicketMailInput!) { setTicketMail(input: $input) { ticket { id } } }";
        anna.send(document, json!({ "input": { "ticketId": ticket.id, "isOn": is_on } })).await
    };
    let mark_ticket = async || {
        let document = "mutation($input: MarkTicketReadInput!) { markTicketRead(input: $input) { ticket { id } } }";
        anna.send(document, json!({ "input": { "ticketId": ticket.id } })).await
    };
    let mark_all = async || {
        let document = "mutation { markNotificationsRead(input: {}) { unreadNotificationCount } }";
        anna.send(document, json!({})).await
    };
    let comment = json!({ "ticketId": ticket.id, "body": "One moment" });
    marta.send(COMMENT, json!({ "input": comment })).await;
    server.quiet().await;
    // Each changes something once, and nothing any more.
    for _ in 0..4 {
        for reply in [set_mail(false).await, mark_ticket().await, mark_all().await] {
            assert!(reply.at("/errors").is_null(), "{}", reply.body);
        }
    }
    // Four changes, and five marks for each: two were set.
    for _ in 0..18 {
        marta.send(COMMENT, json!({ "input": comment })).await;
        assert!(mark_ticket().await.at("/errors").is_null());
    }
    marta.send(COMMENT, json!({ "input": comment })).await;
    server.quiet().await;
    for is_on in [true, false, true] {
        assert!(set_mail(is_on).await.at("/errors").is_null());
    }
    for refused in [set_mail(false).await, mark_ticket().await, mark_all().await] {
        assert_eq!(refused.code(), "RATE_LIMITED", "{}", refused.body);
    }
    let unsubscribed = "SELECT count(*) FROM mail_unsubscriptions";
    let database = server.database.connect().await;
    assert_eq!(database.query_one(unsubscribed, &[]).await.unwrap().get::<_, i64>(0), 0);
    server.clock.advance(TimeDelta::minutes(1));
    for reply in [set_mail(false).await, mark_ticket().await, mark_all().await] {
        assert!(reply.at("/errors").is_null(), "{}", reply.body);
    }
    server.stop().await;
}

/// Sends a document from a forwarded address.
async fn from(address: &str, client: &Client, document: &str, input: Value) -> Reply {
    let body = json!({ "query": document, "variables": { "input": input } }).to_string();
    client
        .request(Method::POST, "/graphql", |request| {
            let request = request.header("content-type", "application/json");
            request.header("x-forwarded-for", address).body(body)
        })
        .await
}

#[tokio::test(flavor = "multi_thread")]
async fn passwords_and_codes_of_one_account_are_guessed_sixty_times_an_hour_at_most() {
    let server = start_with_metrics(&flags(&[("trusted_proxies", "1")])).await;
    let anna = server.customer("Anna").await;
    anna.ok(
        "mutation($input: BeginSecondFactorInput!) { beginSecondFactor(input: $input) { userErrors { code } } }",
        json!({ "input": { "method": "AUTHENTICATOR" } }),
    )
    .await;
    let sign_in = "mutation($input: SignInInput!) { signIn(input: $input) { session { token } userErrors { code } } }";
    let confirm = "mutation($input: ConfirmSecondFactorInput!) { confirmSecondFactor(input: $input) { userErrors { code } } }";
    let wrong = json!({ "email": "anna@example.com", "password": "wrong" });
    let mut guessed = 0;
    // Within an hour, from ever new addresses.
    for n in 0..180 {
        let address = format!("198.51.100.{n}");
        let reply = if n % 2 == 0 {
            from(&address, &server.anonymous(), sign_in, wrong.clone()).await
        } else {
            let code = json!({ "method": "AUTHENTICATOR", "code": "000000" });
            from(&address, &anna, confirm, code).await
        };
        if reply.at("/errors/0").is_null() {
            guessed += 1;
        } else {
            assert_eq!(reply.code(), "RATE_LIMITED", "{}", reply.body);
        }
        server.clock.advance(TimeDelta::seconds(20));
    }
    assert!((30..=60).contains(&guessed), "{guessed}");
    let missed = metric(&server, &refused_by("guesses")).await.unwrap();
    assert_eq!(missed, f64::from(180 - guessed));
    // The owner comes in from where they have been before.
    server.anonymous().sign_in("anna@example.com", PASSWORD).await;
    server.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn right_passwords_of_one_account_are_limited_too_and_elsewhere_counted_separately() {
    let server = TestServer::start_with(&flags(&[("trusted_proxies", "1")])).await;
    let anna = server.customer("Anna").await;
    let reauthenticate = async || {
        let document = "mutation($input: ReauthenticateInput!) { reauthenticate(input: $input) { userErrors { code } } }";
        anna.send(document, json!({ "input": { "password": PASSWORD } })).await
    };
    for _ in 0..100 {
        let reply = reauthenticate().await;
        assert_eq!(reply.user_errors("reauthenticate"), [] as [&str; 0], "{}", reply.body);
    }
    let refused = reauthenticate().await;
    assert_eq!(refused.code(), "RATE_LIMITED", "{}", refused.body);
    // More than the guesses that a network has: what is refused is no guess.
    for _ in 0..10 {
        assert_eq!(reauthenticate().await.code(), "RATE_LIMITED");
    }
    let sign_in = "mutation($input: SignInInput!) { signIn(input: $input) { session { token } } }";
    let input = json!({ "email": "anna@example.com", "password": PASSWORD });
    let here = server.anonymous().send(sign_in, json!({ "input": input })).await;
    assert_eq!(here.code(), "RATE_LIMITED", "{}", here.body);
    let elsewhere = from("198.51.100.1", &server.anonymous(), sign_in, input).await;
    assert!(elsewhere.at("/data/signIn/session/token").is_string(), "{}", elsewhere.body);
    let wait = refused.at("/errors/0/extensions/retryAfterSeconds").as_i64().unwrap();
    server.clock.advance(TimeDelta::seconds(wait));
    assert_eq!(reauthenticate().await.user_errors("reauthenticate"), [] as [&str; 0]);
    server.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn guesses_that_are_refused_to_one_network_use_up_nothing_of_the_account() {
    let server = TestServer::start_with(&flags(&[("trusted_proxies", "1")])).await;
    server.customer("Anna").await;
    let sign_in = "mutation($input: SignInInput!) { signIn(input: $input) { session { token } userErrors { code } } }";
    let guess = json!({ "email": "anna@example.com", "password": "wrong" });
    let mut looked_at = 0;
    for _ in 0..111 {
        let reply = from("198.51.100.1", &server.anonymous(), sign_in, guess.clone()).await;
        if reply.at("/errors/0").is_null() {
            looked_at += 1;
        } else {
            assert_eq!(reply.code(), "RATE_LIMITED", "{}", reply.body);
        }
    }
    assert_eq!(looked_at, 10);
    let right = json!({ "email": "anna@example.com", "password": PASSWORD });
    let elsewhere = from("198.51.100.2", &server.anonymous(), sign_in, right).await;
    assert!(elsewhere.at("/data/signIn/session/token").is_string(), "{}", elsewhere.body);
    server.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_password_that_was_not_looked_at_is_no_guess() {
    // A few more than the places that one account has on a node (`crypto/password.rs`).
    let cores = std::thread::available_parallelism().unwrap().get();
    let guesses = (cores - 1).max(1) * 65 / 8 + 3;
    let flags =
        flags(&[("trusted_proxies", "1"), ("limits.guesses_per_hour", &(2 * guesses).to_string())]);
    let server = TestServer::start_with(&flags).await;
    server.customer("Anna").await;
    // A hash of another system, which takes long enough for the last ones to find no place.
    let slow = "$2b$11$EXRkfkdmXn2gzds2SSitu.MW9.gAVqa9eLS1//RYtYCmB1eLHg.9q";
    let database = server.database.connect().await;
    database.execute("UPDATE accounts SET password_hash = $1", &[&slow]).await.unwrap();
    let sign_in =
        "mutation($input: SignInInput!) { signIn(input: $input) { userErrors { code } } }";
    let client = server.anonymous();
    let (mut guessed, mut attempts) = (0, 0);
    loop {
        let addresses = (0..guesses).map(|n| format!("198.51.100.{}", (attempts + n) % 250));
        let replies = join_all(addresses.map(async |address| {
            let input = json!({ "email": "anna@example.com", "password": "wrong" });
            from(&address, &client, sign_in, input).await
        }))
        .await;
        attempts += guesses;
        let (wrong, others): (Vec<_>, Vec<_>) =
            replies.iter().partition(|reply| reply.at("/errors/0").is_null());
        guessed += wrong.len();
        let codes = others.iter().map(|reply| reply.code()).collect::<Vec<_>>();
        if codes.contains(&"RATE_LIMITED") {
            break;
        }
        assert!(codes.iter().all(|code| *code == "UNAVAILABLE"), "{codes:?}");
    }
    assert_eq!(guessed, guesses);
    server.stop().await;
}

/// A multipart mutation with files, as the bytes of a request.
fn multipart(
    client: &Client,
    document: &str,
    mut input: Value,
    files: &[(&str, &[u8])],
) -> Vec<u8> {
    input["attachments"] = json!(vec![Value::Null; files.len()]);
    let operations = json!({ "query": document, "variables": { "input": input } }).to_string();
    let places = (0..files.len())
        .map(|n| (n.to_string(), json!([format!("variables.input.attachments.{n}")])));
    let map = Value::Object(places.collect()).to_string();
    let mut body = Vec::new();
    let mut part = |head: String, bytes: &[u8]| {
        body.extend_from_slice(
            format!("--{BOUNDARY}\r\nContent-Disposition: form-data; {head}\r\n\r\n").as_bytes(),
        );
        body.extend_from_slice(bytes);
        body.extend_from_slice(b"\r\n");
    };
    part("name=\"operations\"".into(), operations.as_bytes());
    part("name=\"map\"".into(), map.as_bytes());
    for (n, (name, bytes)) in files.iter().enumerate() {
        part(format!("name=\"{n}\"; filename=\"{name}\""), bytes);
    }
    body.extend_from_slice(format!("--{BOUNDARY}--\r\n").as_bytes());
    let head = format!(
        "POST /graphql HTTP/1.1\r\nHost: a\r\nAuthorization: Bearer {}\r\nConnection: close\r\n\
         Content-Type: multipart/form-data; boundary={BOUNDARY}\r\nContent-Length: {}\r\n\r\n",
        client.token.as_deref().unwrap(),
        body.len()
    );
    [head.into_bytes(), body].concat()
}

/// Sends the bytes of a request, and gives the answer.
async fn exchange(server: &TestServer, request: &[u8]) -> String {
    let mut stream = TcpStream::connect(server.address()).await.unwrap();
    stream.write_all(request).await.unwrap();
    farewell(stream).await
}

fn ticket() -> Value {
    json!({ "categoryId": TECHNICAL_SUPPORT, "summary": "A file", "description": "See there." })
}

/// A ticket that is refused with a user error.
fn nameless() -> Value {
    json!({ "categoryId": TECHNICAL_SUPPORT, "summary": "", "description": "See there." })
}

/// A folder of a test's own for files.
fn folder(name: &str) -> PathBuf {
    let folder = Path::new(env!("CARGO_TARGET_TMPDIR")).join(name);
    drop(fs::remove_dir_all(&folder));
    folder
}

/// The files in a folder and in those below it.
fn files(folder: &Path) -> usize {
    let Ok(entries) = fs::read_dir(folder) else { return 0 };
    let paths = entries.filter_map(|entry| Some(entry.ok()?.path()));
    paths.map(|path| if path.is_dir() { files(&path) } else { 1 }).sum()
}

async fn rows(server: &TestServer, condition: &str) -> i64 {
    let query = format!("SELECT count(*) FROM attachments WHERE {condition}");
    server.database.connect().await.query_one(&query, &[]).await.unwrap().get(0)
}

#[tokio::test(flavor = "multi_thread")]
async fn many_uploads_at_once_leave_no_more_files_than_one_account_may() {
    let limits = [
        ("limits.unused_files_per_account", "10"),
        ("limits.uploads_per_account", "100"),
        ("attachments.max_files", "5"),
    ];
    let server = start_with_metrics(&flags(&limits)).await;
    let anna = server.customer("Anna").await;
    let database = server.database.connect().await;
    let watch = "CREATE TABLE most (unused bigint);
        CREATE FUNCTION watch() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN
            INSERT INTO most SELECT count(*) FROM attachments WHERE ticket_id IS NULL;
            RETURN NULL; END $$;
        CREATE TRIGGER watch AFTER INSERT OR UPDATE ON attachments EXECUTE FUNCTION watch()";
    database.batch_execute(watch).await.unwrap();
    let five: [(&str, &[u8]); 5] = [("x", b"xxxx"); 5];
    let request = multipart(&anna, CREATE, nameless(), &five);
    // Each sends all but its files, then the rest.
    let begins = request.windows(8).position(|part| part == b"filename").unwrap();
    let mut held = Vec::new();
    for _ in 0..20 {
        let mut stream = TcpStream::connect(server.address()).await.unwrap();
        stream.write_all(&request[..begins + 16]).await.unwrap();
        held.push(stream);
    }
    let refused = refused_by("unused_files");
    let waited =
        time::timeout(TIMEOUT, async { while metric(&server, &refused).await != Some(18.0) {} });
    let waited = waited.await;
    for mut stream in held {
        stream.write_all(&request[begins + 16..]).await.unwrap();
        let answer = farewell(stream).await;
        assert!(answer.contains("TOO_MANY") || answer.contains("REQUIRED"), "{answer}");
    }
    let most = database.query_one("SELECT max(unused) FROM most", &[]).await.unwrap();
    assert_eq!(most.get::<_, i64>(0), 10);
    assert!(waited.is_ok(), "{:?} were refused", metric(&server, &refused).await);
    assert_eq!(rows(&server, "true").await, 0);
    server.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_mutation_that_fails_leaves_no_file_and_counts_none() {
    let folder = folder("failed-mutations");
    let mut flags = flags(&[("limits.unused_files_per_account", "10")]);
    flags.push(("storage.folder", folder.to_str().unwrap().to_owned()));
    let server = TestServer::start_with(&flags).await;
    let (anna, jonas) = (server.customer("Anna").await, server.customer("Jonas").await);
    let foreign = jonas.create_ticket("of another").await;
    let file: [(&str, &[u8]); 1] = [("x", b"x")];
    let unseen = json!({ "ticketId": foreign.id, "body": "x" });
    let mut repeated = ticket();
    repeated["idempotencyKey"] = json!("key");
    exchange(&server, &multipart(&anna, CREATE, repeated.clone(), &file)).await;
    for (document, input, says) in [
        (CREATE, nameless(), "REQUIRED"),
        (COMMENT, unseen, "NOT_FOUND"),
        (CREATE, repeated, "\"userErrors\":[]"),
    ] {
        // More often than files may wait to be attached.
        for _ in 0..11 {
            let request = multipart(&anna, document, input.clone(), &file);
            let answer = exchange(&server, &request).await;
            assert!(answer.contains(says), "{says}: {answer}");
        }
        assert_eq!((rows(&server, "ticket_id IS NULL").await, files(&folder)), (0, 1), "{says}");
    }
    // A body that breaks off after a whole file.
    let two: [(&str, &[u8]); 2] = [("x", b"x"), ("y", b"y")];
    let request = multipart(&anna, CREATE, ticket(), &two);
    let mut stream = TcpStream::connect(server.address()).await.unwrap();
    stream.write_all(&request[..request.len() - BOUNDARY.len() - 8]).await.unwrap();
    while rows(&server, "size IS NOT NULL AND ticket_id IS NULL").await == 0 {}
    drop(stream);
    let gone = async { while (rows(&server, "true").await, files(&folder)) != (1, 1) {} };
    time::timeout(TIMEOUT, gone).await.expect("the files are deleted");
    server.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn who_hangs_up_during_a_mutation_leaves_no_unused_file() {
    let folder = folder("hung-up");
    let flags = [("storage.folder", folder.to_str().unwrap().to_owned())];
    let server = TestServer::start_with(&flags).await;
    let anna = server.customer("Anna").await;
    let ticket = anna.create_ticket("one").await;
    let mut database = server.database.connect().await;
    let lock = database.transaction().await.unwrap();
    lock.execute("SELECT FROM tickets FOR UPDATE", &[]).await.unwrap();
    let input = json!({ "ticketId": ticket.id, "body": "x" });
    let request = multipart(&anna, COMMENT, input, &[("x", b"x")]);
    let mut stream = TcpStream::connect(server.address()).await.unwrap();
    stream.write_all(&request).await.unwrap();
    // The file is stored, and the comment waits for its ticket.
    while rows(&server, "size IS NOT NULL").await == 0 {}
    drop(stream);
    lock.rollback().await.unwrap();
    let settled = async {
        loop {
            let used = rows(&server, "ticket_id IS NOT NULL").await;
            let all = rows(&server, "true").await;
            if used == all && usize::try_from(all).unwrap() == files(&folder) {
                break;
            }
        }
    };
    time::timeout(TIMEOUT, settled).await.expect("no file is left over");
    server.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn uploads_held_by_one_account_are_limited_and_those_of_others_go_through() {
    let server = start_with_metrics(&flags(&[("limits.uploads_per_account", "1")])).await;
    let (anna, jonas) =
        (server.customer("Anna").await, server.sign_up("Jonas", Role::Customer).await);
    let request = multipart(&anna, CREATE, ticket(), &[("x", b"xxxx")]);
    let mut held = TcpStream::connect(server.address()).await.unwrap();
    let (first, rest) = request.split_at(request.len() - BOUNDARY.len() - 8);
    held.write_all(first).await.unwrap();
    while rows(&server, "true").await == 0 {}
    let answer = exchange(&server, &request).await;
    assert!(answer.starts_with("HTTP/1.1 429 ") && answer.contains("RATE_LIMITED"), "{answer}");
    assert!(answer.contains("at most 1 times"), "{answer}");
    let theirs = multipart(&jonas, CREATE, ticket(), &[("x", b"xxxx")]);
    assert!(exchange(&server, &theirs).await.starts_with("HTTP/1.1 200 "));
    held.write_all(rest).await.unwrap();
    assert!(farewell(held).await.starts_with("HTTP/1.1 200 "));
    assert!(exchange(&server, &request).await.starts_with("HTTP/1.1 200 "));
    assert_eq!(metric(&server, &refused_by("uploads")).await, Some(1.0));
    server.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn the_bytes_that_a_customer_uploads_in_a_day_are_limited() {
    let flags = [
        ("limits.customer_upload_bytes_per_day", "1000".to_owned()),
        ("storage.folder", folder("bytes").display().to_string()),
    ];
    let server = TestServer::start_with(&flags).await;
    let (anna, marta) = (server.customer("Anna").await, server.agent("Marta").await);
    let send = async |client: &Client, sizes: &[usize]| {
        let contents = sizes.iter().map(|size| vec![b'x'; *size]).collect::<Vec<_>>();
        let files = contents.iter().map(|bytes| ("file", &bytes[..])).collect::<Vec<_>>();
        let answer = exchange(&server, &multipart(client, CREATE, ticket(), &files)).await;
        answer.split("\r\n\r\n").nth(1).unwrap_or_default().to_owned()
    };
    let accepted = |answer: &str| answer.contains("\"userErrors\":[]");
    // What cannot be stored does not count.
    let database = server.database.connect().await;
    let failing = "ALTER TABLE attachments ADD CONSTRAINT broken CHECK (size <> 300)";
    database.batch_execute(failing).await.unwrap();
    for _ in 0..4 {
        let failed = send(&anna, &[300]).await;
        assert!(failed.contains("INTERNAL"), "{failed}");
    }
    database.batch_execute("ALTER TABLE attachments DROP CONSTRAINT broken").await.unwrap();
    let first = send(&anna, &[400, 500]).await;
    assert!(accepted(&first), "{first}");
    let refused = send(&anna, &[200]).await;
    assert!(refused.contains("TOO_MANY"), "{refused}");
    let advice = "You have uploaded as much as is accepted from you at once (1000 bytes). Send your text without files, or try again in 144 minutes.";
    assert!(refused.contains(advice), "{refused}");
    assert_eq!(rows(&server, "size IS NOT NULL").await, 2);
    // What fits, and what staff send.
    for answer in [send(&anna, &[90]).await, send(&marta, &[5000]).await] {
        assert!(accepted(&answer), "{answer}");
    }
    server.clock.advance(TimeDelta::hours(24));
    let later = send(&anna, &[1000]).await;
    assert!(accepted(&later), "{later}");
    server.stop().await;
}
