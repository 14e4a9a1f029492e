//! The log: one line for each request and each operation.

use std::{collections::BTreeMap, time::Duration};

use serde::{
    Deserialize, Deserializer,
    de::{Error as _, MapAccess, Visitor},
};
use serde_json::{Value, json};
use ticketwire::domain::account::Role;
use tokio::{
    io::{AsyncBufReadExt as _, AsyncReadExt as _, AsyncWriteExt as _, BufReader},
    net::TcpStream,
    time,
};
use tokio_tungstenite::tungstenite::Message;

use crate::harness::{
    Client, TestServer,
    event_stream::EventStream,
    port,
    postgres::TestDatabase,
    process::{self, Process},
    server::{PASSWORD, create_account},
    socket::Socket,
    tls::{Authority, HOST, VALID},
};

/// Signs in and asks once, at a server that logs as told. Returns the id of the request, the size of
/// its response, the token of the session, and the log.
async fn one_request(format: &str) -> (String, usize, String, String) {
    let server = TestServer::start().await;
    let url = server.database.url.clone();
    create_account(&url, &server.clock, "anna@example.com", "Anna", Role::Customer).await;
    let variables = [("DATABASE_URL", url.as_str()), ("TICKETWIRE_LOG_FORMAT", format)];
    let process = Process::serve(&variables).await;
    let anna = Client::new(&process.address, None).sign_in("anna@example.com", PASSWORD).await;
    let token = anna.token.clone().unwrap();
    let response = reqwest::Client::new()
        .post(format!("http://{}/graphql?secret=in-the-query", process.address))
        .bearer_auth(&token)
        .json(&json!({ "query": "query MyTickets { tickets(first: 3) { nodes { id } } }" }))
        .send()
        .await
        .unwrap();
    let id = response.headers()["x-request-id"].to_str().unwrap().to_owned();
    let bytes = response.bytes().await.unwrap().len();
    let address = process.address.clone();
    let missing = format!("http://{address}/attachments/a-secret-token");
    assert_eq!(reqwest::get(missing).await.unwrap().status(), 404);
    assert_eq!(reqwest::get(format!("http://{address}/healthz")).await.unwrap().status(), 200);
    let log = process.stop_and_read_log().await;
    server.stop().await;
    (id, bytes, token, log)
}

#[tokio::test(flavor = "multi_thread")]
async fn each_request_is_one_line_of_json_without_secrets() {
    let (id, bytes, token, log) = one_request("json").await;
    let lines = log.lines().map(|line| serde_json::from_str::<Value>(line).unwrap());
    let lines = lines.collect::<Vec<_>>();
    let own = lines.iter().filter(|line| line["span"]["id"] == *id).collect::<Vec<_>>();
    assert_eq!(own.len(), 1, "{log}");
    let fields = &own[0]["fields"];
    assert_eq!(fields["message"], "request answered");
    assert_eq!(fields["status"], 200);
    assert_eq!(fields["outcome"], "ok");
    assert_eq!(fields["operation"], "MyTickets");
    assert_eq!(fields["kind"], "query");
    assert_eq!(fields["bytes"], bytes);
    assert!(fields["statements"].as_u64().unwrap() >= 1, "{fields}");
    assert!(fields["duration_ms"].as_f64().unwrap() > 0.0, "{fields}");
    assert_eq!(own[0]["span"]["route"], "/graphql");
    // The route of a link, and not its path; and health checks are no news.
    let routes = lines.iter().filter(|line| line["fields"]["message"] == "request answered");
    let routes = routes.map(|line| line["span"]["route"].as_str().unwrap()).collect::<Vec<_>>();
    assert_eq!(routes.last(), Some(&"/attachments/{token}"), "{log}");
    assert!(!routes.contains(&"/healthz"), "{log}");
    for secret in [token.as_str(), "anna@", "Anna", PASSWORD, "in-the-query", "a-secret-token"] {
        assert!(!log.contains(secret), "{secret}: {log}");
    }
    // The messages of tasks and consumers have a span too.
    assert!(lines.iter().any(|line| line["fields"]["message"] == "this node starts"), "{log}");
}

#[tokio::test(flavor = "multi_thread")]
async fn no_filter_has_libraries_log_the_values_in_statements() {
    let server = TestServer::start().await;
    let url = server.database.url.as_str();
    create_account(url, &server.clock, "anna@example.com", "Anna", Role::Customer).await;
    for filter in ["info,tokio_postgres::query=trace,otel::x=trace", "info,[request]=trace"] {
        let process =
            serve(url, &port::choose_address(), &[("TICKETWIRE_LOG_FILTER", filter)]).await;
        Client::new(&process.address, None).sign_in("anna@example.com", PASSWORD).await;
        let log = process.stop_and_read_log().await;
        assert!(log.contains("request answered"), "{log}");
        for secret in ["executing statement", "anna@example.com", "\"target\":\"otel\""] {
            assert!(!log.contains(secret), "{filter}: {secret} in {log}");
        }
    }
    server.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn each_request_is_one_line_of_text() {
    let (id, _, token, log) = one_request("text").await;
    let line = log.lines().filter(|line| line.contains(&id)).collect::<Vec<_>>();
    assert_eq!(line.len(), 1, "{log}");
    for part in
        ["INFO", "request answered", "status=200", "outcome=\"ok\"", "operation=\"MyTickets\""]
    {
        assert!(line[0].contains(part), "{part}: {}", line[0]);
    }
    assert!(!log.contains(&token), "{log}");
}

/// A JSON object of which no key repeats.
struct Distinct(BTreeMap<String, Value>);

impl<'de> Deserialize<'de> for Distinct {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_map(DistinctKeys)
    }
}

struct DistinctKeys;

impl<'de> Visitor<'de> for DistinctKeys {
    type Value = Distinct;

    fn expecting(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        formatter.write_str("an object")
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Distinct, A::Error> {
        let mut object = BTreeMap::new();
        while let Some((key, value)) = map.next_entry::<String, Value>()? {
            if object.insert(key.clone(), value).is_some() {
                return Err(A::Error::custom(format!("the key {key} repeats")));
            }
        }
        Ok(Distinct(object))
    }
}

/// A line of a log in JSON, of which no key may repeat.
#[derive(Deserialize)]
struct Line {
    fields: Distinct,
    span: Option<Distinct>,
    #[serde(default)]
    spans: Vec<Distinct>,
}

/// Tasks and a consumer fail, so that they write lines.
#[tokio::test(flavor = "multi_thread")]
async fn the_lines_of_background_work_say_whose_they_are_and_repeat_no_key() {
    let database = TestDatabase::new().await;
    let variables = [
        ("DATABASE_URL", database.url.as_str()),
        ("TICKETWIRE_LOG_FORMAT", "json"),
        ("TICKETWIRE_LISTEN", "127.0.0.1:0"),
    ];
    let mut server = process::command(&variables).arg("serve").spawn().unwrap();
    let mut log = BufReader::new(server.stderr.take().unwrap()).lines();
    let (mut task, mut consumer) = (None, None);
    while task.is_none() || consumer.is_none() {
        let line = time::timeout(Duration::from_mins(1), log.next_line()).await.expect("a line");
        let text = line.unwrap().expect("a line");
        let read = serde_json::from_str::<Line>(&text);
        let Line { fields, span, spans } = read.unwrap_or_else(|error| panic!("{error}: {text}"));
        if fields.0["message"] == "this node starts" {
            let hide = "ALTER TABLE consumer_offsets RENAME TO offsets_hidden;
                        ALTER TABLE deliveries RENAME TO deliveries_hidden";
            database.connect().await.batch_execute(hide).await.unwrap();
        }
        assert_eq!(span.is_some(), !spans.is_empty(), "{text}");
        let Some(Distinct(span)) = span else { continue };
        match span["name"].as_str() {
            Some("task") => task = Some(span),
            Some("consumer") => consumer = Some(span),
            _ => {}
        }
    }
    let (task, consumer) = (task.unwrap(), consumer.unwrap());
    assert!(task["task"].is_string() && task["run"].is_u64(), "{task:?}");
    assert!(consumer["consumer"].is_string(), "{consumer:?}");
    server.kill().await.unwrap();
}

/// The lines of a log in JSON with this message.
fn lines(log: &str, message: &str) -> Vec<Value> {
    let lines = log.lines().map(|line| serde_json::from_str::<Value>(line).unwrap());
    lines.filter(|line| line["fields"]["message"] == message).collect()
}

/// Waits until a counter in the metrics of an address is at least 1. Returns all metrics.
async fn counted(address: &str, counter: &str) -> String {
    loop {
        let metrics = reqwest::get(format!("http://{address}/metrics")).await.unwrap();
        let text = metrics.text().await.unwrap();
        if text.lines().any(|line| line.strip_prefix(counter).is_some_and(|count| count != " 0")) {
            return text;
        }
    }
}

/// Starts a server whose log is JSON, with an admin listener and further settings.
async fn serve(url: &str, admin: &str, settings: &[(&str, &str)]) -> Process {
    let own = [
        ("DATABASE_URL", url),
        ("TICKETWIRE_LOG_FORMAT", "json"),
        ("TICKETWIRE_ADMIN_LISTEN", admin),
    ];
    Process::serve(&[&own[..], settings].concat()).await
}

#[tokio::test(flavor = "multi_thread")]
async fn a_request_whose_client_gives_up_is_one_line_that_says_so() {
    let (server, admin) = (TestServer::start().await, port::choose_address());
    let url = server.database.url.clone();
    create_account(&url, &server.clock, "anna@example.com", "Anna", Role::Customer).await;
    let process = serve(&url, &admin, &[]).await;
    let anna = Client::new(&process.address, None).sign_in("anna@example.com", PASSWORD).await;
    let holder = server.database.connect().await;
    // No task of the server itself reads categories while nothing happens.
    holder.batch_execute("BEGIN; LOCK TABLE categories IN ACCESS EXCLUSIVE MODE").await.unwrap();
    let asking = tokio::spawn(async move {
        anna.send("query Blocked { categories { id } }", json!({})).await;
    });
    let blocked = "SELECT EXISTS (SELECT FROM pg_locks WHERE NOT granted
        AND relation = 'categories'::regclass)";
    while !holder.query_one(blocked, &[]).await.unwrap().get::<_, bool>(0) {}
    asking.abort();
    let cancelled = "ticketwire_http_requests_total{route=\"/graphql\",status=\"cancelled\"}";
    counted(&admin, cancelled).await;
    holder.batch_execute("ROLLBACK").await.unwrap();
    let log = process.stop_and_read_log().await;
    let found = lines(&log, "request cancelled");
    assert_eq!(found.len(), 1, "{log}");
    let fields = &found[0]["fields"];
    assert_eq!((&fields["outcome"], &fields["kind"]), (&json!("cancelled"), &json!("query")));
    assert_eq!(fields["operation"], "Blocked");
    assert!(fields["duration_ms"].as_f64().unwrap() > 0.0, "{fields}");
    assert_eq!(found[0]["span"]["route"], "/graphql");
    server.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_method_that_a_client_invents_is_logged_and_counted_as_other() {
    let (database, admin) = (TestDatabase::new().await, port::choose_address());
    let process = serve(&database.url, &admin, &[]).await;
    let invented = reqwest::Method::from_bytes(b"BREW").unwrap();
    let url = format!("http://{}/pots/1", process.address);
    let refused = reqwest::Client::new().request(invented, url).send().await.unwrap();
    assert!(refused.status().is_client_error(), "{refused:?}");
    let requests = "ticketwire_http_requests_total{route=\"other\",status=\"4xx\"}";
    let metrics = counted(&admin, requests).await;
    let log = process.stop_and_read_log().await;
    let found = lines(&log, "request answered");
    assert_eq!(found[0]["span"]["method"], "_OTHER", "{log}");
    assert_eq!(found[0]["span"]["route"], "other");
    for text in [&log, &metrics] {
        assert!(!text.contains("BREW") && !text.contains("pots"), "{text}");
    }
}

/// Sends bytes to a server and reads the answer to its end.
async fn exchange(address: &str, bytes: &[u8]) -> String {
    let mut stream = TcpStream::connect(address).await.unwrap();
    // The server may answer and close before it has read everything.
    let _ = stream.write_all(bytes).await;
    let mut answer = Vec::new();
    let _ = stream.read_to_end(&mut answer).await;
    String::from_utf8_lossy(&answer).into_owned()
}

/// Requests that are rejected before their route is known: each with the beginning of the answer, and
/// the reason in the log and the metrics.
fn rejected() -> Vec<(Vec<u8>, &'static str, &'static str)> {
    let headers = "X-Secret: in-a-header\r\n".repeat(101);
    vec![
        (b"in-the-line\r\n\r\n".to_vec(), "HTTP/1.1 400 ", "malformed"),
        (b"GET /in-the-line HTTP/3.0\r\n\r\n".to_vec(), "HTTP/1.1 400 ", "malformed"),
        (
            b"POST / HTTP/1.1\r\nHost: a\r\nContent-Length: in-a-header\r\n\r\n".to_vec(),
            "HTTP/1.1 400 ",
            "malformed",
        ),
        (format!("GET / HTTP/1.1\r\n{headers}\r\n").into_bytes(), "HTTP/1.1 431 ", "too_large"),
        (
            format!("GET /{} HTTP/1.1\r\n\r\n", "a".repeat(70_000)).into_bytes(),
            "HTTP/1.1 414 ",
            "too_large",
        ),
        (b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n".to_vec(), "", "http2"),
    ]
}

#[tokio::test(flavor = "multi_thread")]
async fn a_request_that_is_rejected_before_its_route_is_known_is_one_line_and_one_count() {
    let (database, admin) = (TestDatabase::new().await, port::choose_address());
    let process = serve(&database.url, &admin, &[]).await;
    for (request, answer, _) in rejected() {
        let answered = exchange(&process.address, &request).await;
        assert!(answered.starts_with(answer), "{answer}: {answered}");
    }
    // The second request of a connection, after one that is answered.
    let second = b"GET /healthz HTTP/1.1\r\nHost: a\r\n\r\nin-the-line\r\n\r\n";
    let answered = exchange(&process.address, second).await;
    assert_eq!(answered.matches("HTTP/1.1 ").count(), 2, "{answered}");
    let http2 = "ticketwire_http_rejected_requests_total{reason=\"http2\"}";
    let metrics = counted(&admin, http2).await;
    for (reason, count) in [("malformed", 4), ("too_large", 2), ("http2", 1), ("plain_http", 0)] {
        let counter =
            format!("ticketwire_http_rejected_requests_total{{reason=\"{reason}\"}} {count}\n");
        assert!(metrics.contains(&counter), "{counter}: {metrics}");
    }
    let log = process.stop_and_read_log().await;
    let found = lines(&log, "request rejected");
    // Sorted, because a client may be answered before its line is written.
    let reasons = found.iter().map(|line| line["fields"]["reason"].as_str().unwrap());
    let expected = rejected().into_iter().map(|(.., reason)| reason).chain(["malformed"]);
    let [reasons, expected] = [reasons.collect(), expected.collect()].map(|mut all: Vec<_>| {
        all.sort_unstable();
        all
    });
    assert_eq!(reasons, expected, "{log}");
    for line in &found {
        assert_eq!(
            (&line["level"], &line["fields"]["outcome"]),
            (&json!("INFO"), &json!("refused"))
        );
        assert_eq!(line["fields"]["client"], "127.0.0.1", "{line}");
    }
    for secret in ["in-the-line", "in-a-header"] {
        assert!(!log.contains(secret), "{secret}: {log}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_plain_request_to_a_port_with_tls_is_one_line_and_one_count() {
    let (database, admin) = (TestDatabase::new().await, port::choose_address());
    let folder = tempfile::tempdir().unwrap();
    let files = Authority::new().issue(folder.path(), HOST, VALID);
    let process = serve(&database.url, &admin, &files.settings()).await;
    let answered = exchange(&process.address, b"GET / HTTP/1.1\r\nHost: a\r\n\r\n").await;
    assert!(answered.starts_with("HTTP/1.1 400 "), "{answered}");
    counted(&admin, "ticketwire_http_rejected_requests_total{reason=\"plain_http\"}").await;
    let log = process.stop_and_read_log().await;
    let found = lines(&log, "request rejected");
    assert_eq!(found.len(), 1, "{log}");
    assert_eq!(found[0]["fields"]["reason"], "plain_http");
}

#[tokio::test(flavor = "multi_thread")]
async fn failed_tls_handshakes_are_counted_by_reason_and_logged_unless_the_client_hung_up() {
    let (database, admin) = (TestDatabase::new().await, port::choose_address());
    let folder = tempfile::tempdir().unwrap();
    let authority = Authority::new();
    let files = authority.issue(folder.path(), HOST, VALID);
    let process = serve(&database.url, &admin, &files.settings()).await;
    let address = process.address.parse().unwrap();
    // A look whether the port is open is no handshake, and a scanner may break one off.
    drop(TcpStream::connect(&process.address).await.unwrap());
    let mut stream = TcpStream::connect(&process.address).await.unwrap();
    stream.write_all(&[22, 3, 1]).await.unwrap();
    drop(stream);
    // One whose issuer the client does not know, and one that an issuer of that name has not signed.
    let other = Authority::new();
    for issuer in [&other.certify("Other", VALID), &other] {
        assert!(issuer.secure(address).connect().await.is_err());
    }
    let secure = authority.secure(address);
    let mut http2 = secure.config();
    http2.alpn_protocols = vec![b"h2".to_vec()];
    assert!(secure.connect_with(http2).await.is_err());
    exchange(&process.address, b"\x16\x03\x01\x00\x0bin-the-line").await;
    let failures = |reason, count| {
        format!("ticketwire_tls_handshake_failures_total{{reason=\"{reason}\"}} {count}\n")
    };
    let counts = ["closed", "certificate_refused", "incompatible", "malformed"];
    let expected = [
        failures(counts[0], 1),
        failures(counts[1], 2),
        failures(counts[2], 1),
        failures(counts[3], 1),
    ];
    let mut metrics = String::new();
    while !expected.iter().all(|line| metrics.contains(line)) {
        metrics =
            reqwest::get(format!("http://{admin}/metrics")).await.unwrap().text().await.unwrap();
    }
    assert!(metrics.contains(&failures("other", 0)), "{metrics}");
    // A scan.
    for _ in 0..200 {
        exchange(&process.address, b"\x16\x03\x01\x00\x05hello").await;
    }
    let log = process.stop_and_read_log().await;
    let found = lines(&log, "TLS handshake failed");
    let mut reasons = found[..4].iter().map(|line| line["fields"]["reason"].as_str().unwrap());
    assert!(reasons.all(|reason| counts[1..].contains(&reason)), "{log}");
    // At most 60 in a minute. On a slow machine, the scan takes more than one.
    assert!((60..200).contains(&found.len()), "{}: {log}", found.len());
    for line in &found {
        assert_eq!(line["fields"]["client"], "127.0.0.1", "{line}");
        assert!(line["fields"]["error"].is_string(), "{line}");
    }
    assert!(lines(&log, "request rejected").is_empty() && !log.contains("in-the-line"), "{log}");
}

#[tokio::test(flavor = "multi_thread")]
async fn rejected_requests_do_not_flood_the_log() {
    let database = TestDatabase::new().await;
    let variables = [("DATABASE_URL", database.url.as_str()), ("TICKETWIRE_LOG_FORMAT", "json")];
    let process = Process::serve(&variables).await;
    for _ in 0..200 {
        exchange(&process.address, b"flood\r\n\r\n").await;
    }
    let log = process.stop_and_read_log().await;
    // At most 60 in a minute. On a slow machine, the requests take more than one.
    let found = lines(&log, "request rejected").len();
    assert!((60..200).contains(&found), "{found}: {log}");
}

/// A server whose log is JSON, with the smallest limit of responses, and a customer who has signed in.
async fn logged(server: &TestServer, admin: &str) -> (Process, Client) {
    let url = server.database.url.as_str();
    create_account(url, &server.clock, "anna@example.com", "Anna", Role::Customer).await;
    let process = serve(url, admin, &[("TICKETWIRE_LIMITS_RESPONSE_BYTES", "65536")]).await;
    let anna = Client::new(&process.address, None).sign_in("anna@example.com", PASSWORD).await;
    (process, anna)
}

/// The fields of a line that say how an operation went.
fn outcome(line: &Value) -> [&str; 3] {
    ["operation", "kind", "outcome"].map(|name| line["fields"][name].as_str().unwrap_or("-"))
}

/// Runs an operation of a socket to its end. Returns the bytes of its responses.
async fn run(socket: &mut Socket, query: &str) -> usize {
    socket.subscribe("1", query, json!({})).await;
    let mut bytes = 0;
    loop {
        let message = socket.message().await;
        match message["type"].as_str().unwrap() {
            "complete" => return bytes,
            "next" => bytes += message["payload"].to_string().len(),
            _ => return message["payload"].to_string().len(),
        }
    }
}

const INBOX: &str = "subscription Inbox { inboxEvents { __typename } }";

#[tokio::test(flavor = "multi_thread")]
async fn each_operation_of_a_websocket_is_one_line() {
    let (server, admin) = (TestServer::start().await, port::choose_address());
    let (process, anna) = logged(&server, &admin).await;
    let ticket = anna.create_ticket("mine").await.id;
    let mut socket = anna.socket().await;
    let mut bytes = Vec::new();
    for query in [
        "query Mine { tickets(first: 3) { nodes { id } } }",
        &format!(
            "mutation Read {{ markTicketRead(input: {{ ticketId: \"{ticket}\" }}) {{ userErrors {{ code }} }} }}"
        ),
        "query Wrong { nothing }",
        "query Broken {",
    ] {
        bytes.push(run(&mut socket, query).await);
    }
    // The second is executed for each subscriber, since some of its fields differ between them.
    let own = format!(
        "subscription Own {{ ticketEvents(ticketId: \"{ticket}\") {{
            __typename ... on TicketEvent {{ ticket {{ isUnread }} }} }} }}"
    );
    for (id, query) in [("2", INBOX), ("3", &own)] {
        socket.subscribe(id, query, json!({})).await;
        let first = socket.message().await;
        assert_eq!((&first["type"], &first["id"]), (&json!("next"), &json!(id)), "{first}");
        socket.send(json!({ "type": "complete", "id": id })).await;
        bytes.push(first["payload"].to_string().len());
    }
    // The socket has dealt with them.
    bytes.push(run(&mut socket, "{ eventCursor }").await);
    socket.subscribe("4", INBOX, json!({})).await;
    bytes.push(socket.message().await["payload"].to_string().len());
    socket.send_raw(Message::text(" ".repeat(2 << 20))).await;
    assert_eq!(socket.close_code().await, 1009);
    let log = process.stop_and_read_log().await;
    let all = lines(&log, "operation answered");
    let found = all.iter().map(outcome).collect::<Vec<_>>();
    assert_eq!(
        found,
        [
            ["Mine", "query", "ok"],
            ["Read", "mutation", "ok"],
            ["Wrong", "query", "BAD_REQUEST"],
            ["-", "-", "BAD_REQUEST"],
            ["Inbox", "subscription", "cancelled"],
            ["Own", "subscription", "cancelled"],
            ["", "query", "ok"],
            ["-", "-", "refused"],
            ["Inbox", "subscription", "cancelled"],
        ],
        "{log}"
    );
    bytes.insert(7, 0);
    let upgrade = lines(&log, "request answered");
    let upgrade = upgrade.iter().find(|line| line["fields"]["status"] == 101).expect("an upgrade");
    let mut ids = Vec::new();
    for (line, bytes) in all.iter().zip(bytes) {
        let (fields, span) = (&line["fields"], &line["span"]);
        assert_eq!(span["connection"], upgrade["span"]["id"], "{line}");
        ids.push(span["id"].as_str().unwrap());
        assert_eq!(fields["bytes"], bytes, "{line}");
        assert!(fields["statements"].is_u64(), "{line}");
        assert!(fields["duration_ms"].is_f64(), "{line}");
        let code = (fields["outcome"] == "refused").then_some(1009);
        assert_eq!(fields["close_code"].as_u64(), code, "{line}");
    }
    for asking in [0, 1, 5] {
        assert!(all[asking]["fields"]["statements"].as_u64().unwrap() >= 1, "{}", all[asking]);
    }
    let count = ids.len();
    ids.sort_unstable();
    ids.dedup();
    assert_eq!(ids.len(), count, "each operation has an id of its own");
    server.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn durations_are_milliseconds_with_at_most_three_decimals_on_every_transport() {
    let (server, admin) = (TestServer::start().await, port::choose_address());
    let (process, anna) = logged(&server, &admin).await;
    let query = "{ tickets(first: 3) { nodes { id } } }";
    run(&mut anna.socket().await, query).await;
    let mut stream = anna.stream(query, json!({})).await;
    while stream.event().await.is_some() {}
    let log = process.stop_and_read_log().await;
    for message in ["request answered", "operation answered"] {
        let found = lines(&log, message);
        assert!(found.len() >= 2, "{message}: {log}");
        for line in found {
            let duration = line["fields"]["duration_ms"].as_f64().unwrap();
            assert_eq!((duration * 1e3).round() / 1e3, duration, "{line}");
        }
    }
    server.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn each_message_that_closes_a_websocket_is_one_line() {
    let (server, admin) = (TestServer::start().await, port::choose_address());
    let (process, anna) = logged(&server, &admin).await;
    let subscribe =
        |id: &str| json!({ "type": "subscribe", "id": id, "payload": { "query": INBOX } });
    let mut uninitialised = Socket::connect(&process.address).await;
    uninitialised.send(subscribe("secret-id")).await;
    assert_eq!(uninitialised.close_code().await, 4401);
    let messages = [
        (4409, Message::text(subscribe("secret-id").to_string())),
        (4400, Message::text("secret-id")),
        (4400, Message::binary("secret-id")),
    ];
    for (code, message) in messages {
        let mut socket = anna.socket().await;
        socket.send(subscribe("secret-id")).await;
        socket.item().await;
        socket.send_raw(message).await;
        assert_eq!(socket.close_code().await, code);
    }
    let log = process.stop_and_read_log().await;
    let all = lines(&log, "operation answered");
    let (refused, running): (Vec<_>, Vec<_>) =
        all.iter().partition(|line| line["fields"]["outcome"] == "refused");
    let codes = refused.iter().map(|line| line["fields"]["close_code"].as_u64().unwrap());
    assert_eq!(codes.collect::<Vec<_>>(), [4401, 4409, 4400, 4400], "{log}");
    let running = running.into_iter().map(outcome).collect::<Vec<_>>();
    assert_eq!(running, [["Inbox", "subscription", "cancelled"]; 3], "{log}");
    assert!(!log.contains("secret-id"), "{log}");
    server.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn operations_that_the_server_ends_say_why() {
    let (server, admin) = (TestServer::start().await, port::choose_address());
    let (process, anna) = logged(&server, &admin).await;
    let other = anna.sign_in("anna@example.com", PASSWORD).await;
    let mut signed_out = other.socket().await;
    for id in ["1", "2"] {
        signed_out.subscribe(id, INBOX, json!({})).await;
        signed_out.item().await;
    }
    let mut stream = other.stream(INBOX, json!({})).await;
    stream.item().await;
    other.ok("mutation { signOut { userErrors { code } } }", json!({})).await;
    assert_eq!(signed_out.close_code().await, 4401);
    assert_eq!(stream.last_error().await, "UNAUTHENTICATED");
    let mut stopped = anna.socket().await;
    stopped.subscribe("1", INBOX, json!({})).await;
    stopped.item().await;
    let log = process.stop_and_read_log().await;
    let all = lines(&log, "operation answered");
    let outcomes = all.iter().map(|line| line["fields"]["outcome"].as_str().unwrap());
    let ended = "UNAUTHENTICATED";
    assert_eq!(outcomes.collect::<Vec<_>>(), [ended, ended, ended, "stopped"], "{log}");
    server.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn each_operation_of_an_event_stream_is_one_line_with_the_id_of_its_request() {
    let (server, admin) = (TestServer::start().await, port::choose_address());
    let (process, anna) = logged(&server, &admin).await;
    let mut expected = Vec::new();
    for (query, line) in [
        ("query Mine { tickets(first: 3) { nodes { id } } }", ["Mine", "query", "ok"]),
        ("query Wrong { nothing }", ["Wrong", "query", "BAD_REQUEST"]),
        ("query Broken {", ["-", "-", "BAD_REQUEST"]),
        ("subscription Wrong { nothing }", ["Wrong", "subscription", "BAD_REQUEST"]),
    ] {
        let mut stream = anna.stream(query, json!({})).await;
        let response = stream.event().await.expect("an event").response();
        let errors = response.get("errors").unwrap_or(&response);
        let bytes = errors.to_string().len();
        while stream.event().await.is_some() {}
        expected.push((stream, line, Some(bytes)));
    }
    let mut cancelled = anna.stream(INBOX, json!({})).await;
    cancelled.item().await;
    let mut stopped = anna.stream(INBOX, json!({})).await;
    stopped.item().await;
    let ids = |stream: &EventStream| stream.headers()["x-request-id"].to_str().unwrap().to_owned();
    let mut expected = expected
        .iter()
        .map(|(stream, line, bytes)| (ids(stream), *line, *bytes))
        .collect::<Vec<_>>();
    expected.push((ids(&cancelled), ["Inbox", "subscription", "cancelled"], None));
    expected.push((ids(&stopped), ["Inbox", "subscription", "stopped"], None));
    drop(cancelled);
    let open = "ticketwire_subscribers{stream=\"inbox\"}";
    while !counted(&admin, open).await.contains(&format!("{open} 1\n")) {}
    let log = process.stop_and_read_log().await;
    for (id, line, bytes) in expected {
        let own = log.lines().map(|line| serde_json::from_str::<Value>(line).unwrap());
        let own = own.filter(|line| line["span"]["id"] == id).collect::<Vec<_>>();
        assert_eq!(own.iter().map(outcome).collect::<Vec<_>>(), [line], "{log}");
        let fields = &own[0]["fields"];
        assert!(fields["duration_ms"].as_f64().unwrap() > 0.0, "{fields}");
        assert!(fields["statements"].is_u64(), "{fields}");
        // A document that cannot be parsed is answered by a response that is no stream.
        if let Some(bytes) = bytes.filter(|_| fields["message"] == "operation answered") {
            assert_eq!(fields["bytes"], bytes, "{fields}");
        }
        assert!(fields["bytes"].as_u64().unwrap() > 0, "{fields}");
    }
    server.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_request_that_is_answered_with_an_error_has_its_code_as_outcome() {
    let (server, admin) = (TestServer::start().await, port::choose_address());
    let (process, anna) = logged(&server, &admin).await;
    let mut expected = Vec::new();
    let large = "query Large { __schema { types { name fields { name description } } } }";
    for (query, outcome) in
        [("{", "BAD_REQUEST"), ("{ nothing }", "BAD_REQUEST"), (large, "RESPONSE_TOO_LARGE")]
    {
        let asked = anna.request(reqwest::Method::POST, "/graphql", |post| {
            post.json(&json!({ "query": query }))
        });
        let id = asked.await.headers["x-request-id"].to_str().unwrap().to_owned();
        expected.push((id, outcome));
    }
    let batch = anna.request(reqwest::Method::POST, "/graphql", |post| post.json(&json!([])));
    expected
        .push((batch.await.headers["x-request-id"].to_str().unwrap().to_owned(), "BAD_REQUEST"));
    run(&mut anna.socket().await, large).await;
    let log = process.stop_and_read_log().await;
    let operation = &lines(&log, "operation answered")[0];
    assert_eq!(outcome(operation), ["Large", "query", "RESPONSE_TOO_LARGE"]);
    let all = lines(&log, "request answered");
    for (id, outcome) in expected {
        let line = all.iter().find(|line| line["span"]["id"] == id).expect("a line");
        assert_eq!(line["fields"]["outcome"], outcome, "{line}");
    }
    server.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn an_internal_error_names_the_id_of_its_operation_in_the_log() {
    let (server, admin) = (TestServer::start().await, port::choose_address());
    let (process, anna) = logged(&server, &admin).await;
    let break_down = "ALTER TABLE categories RENAME TO hidden";
    server.database.connect().await.batch_execute(break_down).await.unwrap();
    let query = "{ categories { id } }";
    let mut socket = anna.socket().await;
    socket.subscribe("1", query, json!({})).await;
    let over_socket = socket.message().await["payload"].clone();
    let mut stream = anna.stream(query, json!({})).await;
    let over_stream = stream.event().await.expect("an event").response();
    while stream.event().await.is_some() {}
    assert_eq!(anna.send(query, json!({})).await.code(), "INTERNAL");
    let failed = "ticketwire_failed_operations_total{outcome=\"INTERNAL\"}";
    let metrics = counted(&admin, failed).await;
    assert!(metrics.contains(&format!("{failed} 3\n")), "{metrics}");
    let log = process.stop_and_read_log().await;
    assert_eq!(lines(&log, "request answered with a server error").len(), 1, "{log}");
    let (answered, causes) =
        (lines(&log, "operation answered"), lines(&log, "executing a field failed"));
    // A transport sends an answer before it logs the line, so that the lines may change places.
    for response in [over_socket, over_stream] {
        let id = &response["errors"][0]["extensions"]["requestId"];
        assert!(id.is_string(), "{response}");
        let of_operation = |line: &&Value| line["span"]["id"] == *id;
        let answered = answered.iter().find(of_operation).expect("a line for the operation");
        assert_eq!(answered["fields"]["outcome"], "INTERNAL", "{log}");
        assert!(causes.iter().any(|line| of_operation(&line)), "{log}");
    }
    server.stop().await;
}
