//! What one request may use: bytes, statements, time and connections.

use std::{future::Future, time::Duration};

use serde_json::{Value, json};
use tokio::{
    io::{AsyncReadExt as _, AsyncWriteExt as _},
    time,
};

use crate::harness::{
    Client, Socket, TestServer,
    client::{Reply, TECHNICAL_SUPPORT, Ticket},
    process::Process,
    socket::connect_with_buffer,
};

/// A test that waits longer has failed. Less than the 10 seconds after which Postgres gives up a
/// statement that waits for a lock.
const TIMEOUT: Duration = Duration::from_secs(8);

/// Opens a ticket with a long description.
async fn open(client: &Client, description: &str) -> Ticket {
    let input = json!({
        "categoryId": TECHNICAL_SUPPORT, "summary": "Long", "description": description,
    });
    let reply = client.try_create_ticket(input).await;
    Ticket::read(reply.at("/data/createTicket/ticket"))
}

/// Checks that a response is one error with this code, and no data.
fn assert_refused(body: &Value, code: &str) {
    assert_eq!(body["data"], Value::Null, "{body}");
    assert!(body.as_object().unwrap().contains_key("data"), "{body}");
    let errors = body["errors"].as_array().unwrap();
    assert_eq!(errors.len(), 1, "{body}");
    assert_eq!(errors[0]["extensions"]["code"], code, "{body}");
}

fn aliases(count: usize, field: &str) -> String {
    (0..count).map(|n| format!("a{n}: {field} ")).collect()
}

fn settings(settings: &[(&'static str, usize)]) -> Vec<(&'static str, String)> {
    settings.iter().map(|(key, value)| (*key, value.to_string())).collect()
}

/// Waits until as many statements of the server's wait for a lock.
async fn waiting_for_a_lock(database: &tokio_postgres::Client, count: i64) {
    let query = "SELECT count(*) FROM pg_stat_activity WHERE datname = current_database()
        AND wait_event_type = 'Lock' AND state = 'active'";
    let waiting =
        async { while database.query_one(query, &[]).await.unwrap().get::<_, i64>(0) != count {} };
    time::timeout(TIMEOUT, waiting).await.expect("that many statements, in time");
}

/// Sends a document in a task. Aborting the task hangs up.
fn send(client: &Client, document: &str, variables: Value) -> tokio::task::JoinHandle<Reply> {
    let (client, document) = (client.clone(), document.to_owned());
    tokio::spawn(async move { client.send(&document, variables).await })
}

#[tokio::test(flavor = "multi_thread")]
async fn a_response_that_would_be_too_large_is_one_error() {
    let server = TestServer::start().await;
    let anna = server.customer("Anna").await;
    let ticket = open(&anna, &"🎟".repeat(65_536)).await;
    // The input of the finding: 262 MB.
    let ids = json!({ "ids": vec![&ticket.id; 100] });
    let query = format!(
        "query($ids: [ID!]!) {{ nodes(ids: $ids) {{ ... on Ticket {{ {} }} }} }}",
        aliases(10, "description")
    );
    let reply = anna.send(&query, ids.clone()).await;
    assert_eq!(reply.status, 200);
    assert_refused(&reply.body, "RESPONSE_TOO_LARGE");
    let message = reply.at("/errors/0/message").as_str().unwrap();
    assert!(message.contains("10485760 bytes") && message.contains("fewer items"), "{message}");
    // Over a websocket and as server-sent events.
    let mut socket = anna.socket().await;
    socket.subscribe("1", &query, ids.clone()).await;
    let message = socket.message().await;
    assert_eq!(message["type"], "next");
    assert_refused(&message["payload"], "RESPONSE_TOO_LARGE");
    assert_eq!(socket.message().await["type"], "complete");
    let mut events = anna.stream(&query, ids.clone()).await;
    assert_refused(&events.event().await.unwrap().response(), "RESPONSE_TOO_LARGE");
    // The same ticket a hundred times is loaded once, and fits if little of it is selected.
    let query = "query($ids: [ID!]!) { nodes(ids: $ids) { ... on Ticket { number } } }";
    let nodes = anna.ok(query, ids).await;
    assert_eq!(nodes["nodes"].as_array().unwrap().len(), 100);
    server.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn names_count_as_bytes_of_the_response() {
    let flags = settings(&[("limits.response_bytes", 100_000)]);
    let server = TestServer::start_with(&flags).await;
    let anna = server.customer("Anna").await;
    let ticket = anna.create_ticket("one").await;
    let ids = json!({ "ids": vec![&ticket.id; 100] });
    let names = (0..10).map(|nth| format!("{}{nth}: id ", "a".repeat(250))).collect::<String>();
    let query =
        format!("query($ids: [ID!]!) {{ nodes(ids: $ids) {{ ... on Ticket {{ {names} }} }} }}");
    let reply = anna.send(&query, ids).await;
    assert_refused(&reply.body, "RESPONSE_TOO_LARGE");
    server.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn texts_that_are_loaded_and_not_selected_are_limited_too() {
    let flags = settings(&[("limits.response_bytes", 100_000)]);
    let server = TestServer::start_with(&flags).await;
    let anna = server.customer("Anna").await;
    for _ in 0..5 {
        open(&anna, &"x".repeat(60_000)).await;
    }
    let query = "query($first: Int) { tickets(first: $first) { nodes { id } } }";
    let reply = anna.send(query, json!({ "first": 2 })).await;
    assert_eq!(reply.at("/data/tickets/nodes").as_array().unwrap().len(), 2);
    assert_refused(&anna.send(query, json!({ "first": 5 })).await.body, "RESPONSE_TOO_LARGE");
    // Without a filter, a page may be in memory when the next field asks for it.
    let filtered = "tickets(first: 1, filter: { status: [WAITING_FOR_SUPPORT] }) { nodes { id } }";
    let many = format!("{{ {} }}", aliases(5, filtered));
    assert_refused(&anna.send(&many, json!({})).await.body, "RESPONSE_TOO_LARGE");
    server.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_message_that_would_be_too_large_is_an_error_and_its_stream_continues() {
    let flags = settings(&[("limits.response_bytes", 100_000)]);
    let server = TestServer::start_with(&flags).await;
    let anna = server.customer("Anna").await;
    let ticket = anna.create_ticket("one").await;
    let mut socket = anna.socket().await;
    let bodies = aliases(5, "body");
    for (id, field) in [("shared", ""), ("alone", "attachments { id }")] {
        let query = format!(
            "subscription($id: ID!) {{ ticketEvents(ticketId: $id) {{ __typename
                ... on CommentAdded {{ comment {{ {field} {bodies} }} }} }} }}"
        );
        socket.subscribe(id, &query, json!({ "id": ticket.id })).await;
        assert_eq!(socket.item().await["__typename"], "Checkpoint");
    }
    for length in [50_000, 10, 50_000, 10] {
        anna.comment(&ticket, &"x".repeat(length)).await;
        for _ in 0..2 {
            let message = socket.message().await;
            assert_eq!(message["type"], "next", "{message}");
            if length > 10 {
                assert_refused(&message["payload"], "RESPONSE_TOO_LARGE");
            } else {
                let body = message.pointer("/payload/data/ticketEvents/comment/a4");
                assert_eq!(body.unwrap().as_str().unwrap().len(), length, "{message}");
            }
        }
    }
    server.stop().await;
}

/// A client may have many streams, each with messages that it has not read.
#[tokio::test(flavor = "multi_thread")]
async fn a_message_has_less_room_than_a_response() {
    let server = TestServer::start().await;
    let anna = server.customer("Anna").await;
    let ticket = open(&anna, &"🎟".repeat(65_536)).await;
    let mut socket = anna.socket().await;
    for (field, code) in [("", None), ("attachments { id }", None)].into_iter().chain([
        ("", Some("RESPONSE_TOO_LARGE")),
        ("attachments { id }", Some("RESPONSE_TOO_LARGE")),
    ]) {
        let descriptions = aliases(if code.is_some() { 5 } else { 3 }, "description");
        let query = format!(
            "subscription($id: ID!) {{ ticketEvents(ticketId: $id) {{ __typename
                ... on CommentAdded {{ ticket {{ {field} {descriptions} }} }} }} }}"
        );
        socket.subscribe("1", &query, json!({ "id": ticket.id })).await;
        assert_eq!(socket.item().await["__typename"], "Checkpoint");
        anna.comment(&ticket, "And").await;
        let message = socket.message().await;
        match code {
            Some(code) => assert_refused(&message["payload"], code),
            None => assert!(message.pointer("/payload/data/ticketEvents/ticket/a2").is_some()),
        }
        socket.send(json!({ "type": "complete", "id": "1" })).await;
    }
    server.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_refused_request_needs_little_memory() {
    let server = TestServer::start().await;
    let anna = server.customer("Anna").await;
    let ticket = open(&anna, &"🎟".repeat(65_536)).await;
    let process = Process::serve(&[("DATABASE_URL", server.database.url.as_str())]).await;
    // Signed in by the process's clock, which is the real one.
    let anna = Client::new(&process.address, None)
        .sign_in("anna@example.com", crate::harness::server::PASSWORD)
        .await;
    let memory = |line: &str| {
        let status = std::fs::read_to_string(format!("/proc/{}/status", process.pid())).unwrap();
        let line = status.lines().find(|found| found.starts_with(line)).unwrap();
        line.split_whitespace().nth(1).unwrap().parse::<usize>().unwrap() * 1_024
    };
    for _ in 0..40 {
        anna.comment(&ticket, "one").await;
    }
    let refused = format!(
        "query($ids: [ID!]!) {{ nodes(ids: $ids) {{ ... on Ticket {{ {} }} }} }}",
        aliases(50, "description")
    );
    // Reaches the ticket 1,681 times: copies of its description would be 440 MB.
    let nested = "{ tickets(first: 1) { nodes { timeline(first: 50) { nodes { ticket {
        timeline(first: 50) { nodes { ticket { id } } } } } } } } }";
    for (query, code) in [(refused.as_str(), Some("RESPONSE_TOO_LARGE")), (nested, None)] {
        // Forgets the peak so far.
        std::fs::write(format!("/proc/{}/clear_refs", process.pid()), "5").unwrap();
        let before = memory("VmRSS");
        let reply = anna.send(query, json!({ "ids": vec![&ticket.id; 100] })).await;
        match code {
            Some(code) => assert_refused(&reply.body, code),
            None => assert!(reply.body.get("errors").is_none(), "{}", reply.body),
        }
        let grown = memory("VmHWM").saturating_sub(before);
        assert!(grown < 4 * 10_485_760, "{grown} bytes");
    }
    process.kill().await;
    server.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn answers_that_strangers_leave_unread_take_a_bounded_part_of_the_memory() {
    let server = TestServer::start().await;
    let names = (10..60).map(|n| format!("{}{n}: name ", "a".repeat(250))).collect::<String>();
    let query =
        format!("{{ __schema {{ types {{ fields(includeDeprecated: true) {{ {names} }} }} }} }}");
    let body = json!({ "query": query }).to_string();
    let ask = async |token: &str| {
        let mut stream = connect_with_buffer(&server.address(), 64 * 1024).await;
        let head = format!(
            "POST /graphql HTTP/1.1\r\nhost: desk\r\n{token}content-type: application/json\r\n\
             content-length: {}\r\n\r\n",
            body.len()
        );
        stream.write_all((head + &body).as_bytes()).await.unwrap();
        let mut status = [0; 12];
        stream.read_exact(&mut status).await.unwrap();
        (stream, String::from_utf8_lossy(&status).into_owned())
    };
    let mut open = Vec::new();
    let refused = loop {
        let (stream, status) = ask("").await;
        if status != "HTTP/1.1 200" {
            break status;
        }
        open.push(stream);
        assert!(open.len() <= 10, "64 MiB, of more than 6 MiB each");
    };
    assert_eq!(refused, "HTTP/1.1 429");
    assert!(open.len() >= 6, "{}", open.len());
    let anna = server.customer("Anna").await;
    let token = format!("authorization: Bearer {}\r\n", anna.token.as_deref().unwrap());
    assert_eq!(ask(&token).await.1, "HTTP/1.1 200", "who is signed in has a budget of their own");
    let mut socket = Socket::open(&server.address(), None).await;
    socket.subscribe("1", &query, json!({})).await;
    let message = socket.message().await;
    assert_eq!(message["payload"]["errors"][0]["extensions"]["code"], "RATE_LIMITED", "{message}");
    drop(open);
    let again = async { while ask("").await.1 != "HTTP/1.1 200" {} };
    time::timeout(Duration::from_mins(1), again).await.expect("memory that is free again");
    server.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_field_has_a_limited_number_of_names() {
    let server = TestServer::start_logged().await;
    let anna = server.customer("Anna").await;
    for (count, field) in [(3_000, "unreadTicketCount"), (199, "name"), (51, "id")] {
        let query = format!("{{ viewer {{ {} }} }}", aliases(count, field));
        let reply = anna.send(&query, json!({})).await;
        assert_eq!(reply.code(), "BAD_REQUEST");
        let message = reply.at("/errors/0/message").as_str().unwrap();
        assert!(message.contains("more than 50 names"), "{message}");
    }
    // Fields that are counted in the database need one statement under any number of names.
    for field in ["unreadTicketCount", "openTicketCount", "unreadNotificationCount"] {
        let one = format!("{{ viewer {{ {field} }} }}");
        let many = format!("{{ viewer {{ {} }} }}", aliases(50, field));
        anna.ok(&one, json!({})).await;
        let one = server.statements_of(async || drop(anna.ok(&one, json!({})).await)).await;
        let many = server.statements_of(async || drop(anna.ok(&many, json!({})).await)).await;
        assert_eq!(many.len(), one.len(), "{many:#?}");
    }
    server.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_request_has_a_limited_number_of_statements() {
    let flags = settings(&[("limits.statements", 20)]);
    let server = TestServer::start_with(&flags).await;
    let anna = server.customer("Anna").await;
    let query = |count| format!("{{ {} }}", aliases(count, "viewer { id }"));
    anna.ok(&query(20), json!({})).await;
    let reply = anna.send(&query(21), json!({})).await;
    assert_refused(&reply.body, "TOO_MANY_STATEMENTS");
    let message = reply.at("/errors/0/message").as_str().unwrap();
    assert!(message.contains("more than 20"), "{message}");
    server.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_request_that_takes_too_long_is_cancelled_in_the_database() {
    let flags = settings(&[("limits.request_seconds", 2), ("database.pool_size", 2)]);
    let server = TestServer::start_with(&flags).await;
    let anna = server.customer("Anna").await;
    let database = server.database.connect().await;
    let lock = server.database.connect().await;
    lock.batch_execute("BEGIN; LOCK TABLE categories IN ACCESS EXCLUSIVE MODE").await.unwrap();
    let query = "{ categories { id } }";
    for _ in 0..2 {
        let requests = [send(&anna, query, json!({})), send(&anna, query, json!({}))];
        for request in requests {
            let reply = request.await.unwrap();
            assert_refused(&reply.body, "TIMEOUT");
            assert!(reply.at("/errors/0/message").as_str().unwrap().contains("2 seconds"));
        }
        waiting_for_a_lock(&database, 0).await;
    }
    // The connections are back in the pool.
    lock.batch_execute("ROLLBACK").await.unwrap();
    anna.ok(query, json!({})).await;
    server.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn hanging_up_cancels_a_query_and_not_a_mutation() {
    let server = TestServer::start().await;
    let anna = server.customer("Anna").await;
    let database = server.database.connect().await;
    let lock = server.database.connect().await;
    lock.batch_execute("BEGIN; LOCK TABLE categories IN ACCESS EXCLUSIVE MODE").await.unwrap();
    let request = send(&anna, "{ categories { id } }", json!({}));
    waiting_for_a_lock(&database, 1).await;
    request.abort();
    waiting_for_a_lock(&database, 0).await;
    // The same by websocket and event stream.
    let mut socket = anna.socket().await;
    socket.subscribe("1", "{ categories { id } }", json!({})).await;
    let events = anna.stream("{ categories { id } }", json!({})).await;
    waiting_for_a_lock(&database, 2).await;
    drop(socket);
    drop(events);
    waiting_for_a_lock(&database, 0).await;
    // A message that is executed for a group of subscribers: with its last subscriber. The node that
    // posts a comment needs not read it.
    lock.batch_execute("ROLLBACK").await.unwrap();
    let cursor = anna.ok("{ eventCursor }", json!({})).await["eventCursor"].clone();
    let ticket = anna.create_ticket("one").await;
    let other = server.second_node().await;
    anna.at(&other.address().to_string()).comment(&ticket, "one").await;
    other.stop().await;
    server.quiet().await;
    let lock_comments = "BEGIN; LOCK TABLE comments IN ACCESS EXCLUSIVE MODE";
    lock.batch_execute(lock_comments).await.unwrap();
    let query = "subscription($after: String) { inboxEvents(after: $after) {
        ... on CommentAdded { comment { body } } } }";
    let (mut one, mut two) = (anna.socket().await, anna.socket().await);
    one.subscribe("1", query, json!({ "after": cursor })).await;
    two.subscribe("1", query, json!({ "after": cursor })).await;
    waiting_for_a_lock(&database, 1).await;
    drop(one);
    waiting_for_a_lock(&database, 1).await;
    drop(two);
    waiting_for_a_lock(&database, 0).await;
    // A mutation that has begun completes.
    lock.batch_execute("ROLLBACK; BEGIN; LOCK TABLE categories IN ACCESS EXCLUSIVE MODE")
        .await
        .unwrap();
    let document =
        "mutation($input: CreateTicketInput!) { createTicket(input: $input) { ticket { id } } }";
    let input = json!({
        "categoryId": TECHNICAL_SUPPORT, "summary": "Begun", "description": "Begun.",
    });
    let request = send(&anna, document, json!({ "input": input }));
    waiting_for_a_lock(&database, 1).await;
    request.abort();
    lock.batch_execute("ROLLBACK").await.unwrap();
    let created = async {
        let count = "SELECT count(*) FROM tickets WHERE summary = 'Begun'";
        while database.query_one(count, &[]).await.unwrap().get::<_, i64>(0) != 1 {}
    };
    time::timeout(TIMEOUT, created).await.expect("a ticket in time");
    server.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn requests_leave_connections_to_what_keeps_the_product_alive() {
    let flags = settings(&[("database.pool_size", 2), ("limits.request_connections", 2)]);
    let server = TestServer::start_with(&flags).await;
    let (anna, boris) = (server.customer("Anna").await, server.customer("Boris").await);
    let other = server.second_node().await;
    let mut socket = boris.socket().await;
    socket.subscribe("1", "subscription { inboxEvents { ... on TicketCreated { cursor } ... on Checkpoint { cursor } } }", json!({})).await;
    socket.item().await;
    let database = server.database.connect().await;
    let lock = server.database.connect().await;
    lock.batch_execute("BEGIN; LOCK TABLE second_factors IN ACCESS EXCLUSIVE MODE").await.unwrap();
    let query = "{ viewer { secondFactors { method } } }";
    let blocked = [send(&anna, query, json!({})), send(&anna, query, json!({}))];
    waiting_for_a_lock(&database, 2).await;
    // Sessions are looked up, and events of other nodes are delivered.
    let fresh = boris.at(&server.address());
    within(fresh.ok("{ eventCursor }", json!({}))).await;
    boris.at(&other.address().to_string()).create_ticket("one").await;
    assert!(within(socket.item()).await["cursor"].is_string());
    lock.batch_execute("ROLLBACK").await.unwrap();
    for request in blocked {
        request.await.unwrap();
    }
    other.stop().await;
    server.stop().await;
}

async fn within<T>(work: impl Future<Output = T>) -> T {
    time::timeout(TIMEOUT, work).await.expect("an answer in time")
}

#[tokio::test(flavor = "multi_thread")]
async fn a_search_has_few_words_and_little_time() {
    let flags = settings(&[("limits.search_seconds", 1)]);
    let server = TestServer::start_with(&flags).await;
    let (anna, marta) = (server.customer("Anna").await, server.agent("Marta").await);
    // The inputs of the finding.
    let words =
        (b'a'..=b'z').flat_map(|a| ["a", "b", "c", "d"].map(|b| format!("{}{b}", a as char)));
    let words = words.collect::<Vec<_>>();
    open(&anna, &words.join(" ").repeat(26)).await;
    server.quiet().await;
    let search = "query($text: String!) { search(text: $text) { nodes { ticket { id } excerpt { text } } } }";
    let list = "query($text: String!) { tickets(filter: { text: $text }) { nodes { id } } }";
    let counts = "query($text: String!) { ticketCounts(filter: { text: $text }) { total } }";
    let phrase = format!("\"{}\"", words[..9].join(" "));
    for document in [search, list, counts] {
        for (text, limit) in [(words[..84].join(" "), "at most 24"), (phrase.clone(), "at most 8")]
        {
            let reply = marta.send(document, json!({ "text": text })).await;
            assert_eq!(reply.code(), "BAD_REQUEST");
            let message = reply.at("/errors/0/message").as_str().unwrap();
            assert!(message.contains(limit), "{message}");
        }
    }
    // The longest that are allowed take less than a second.
    let phrase = format!("\"{}\"", words[..8].join(" "));
    for text in [words[..24].join(" "), words[..12].join(" or "), phrase] {
        within(marta.ok(search, json!({ "text": text }))).await;
    }
    // Whatever makes a search slow, it ends.
    let database = server.database.connect().await;
    let lock = server.database.connect().await;
    lock.batch_execute("BEGIN; LOCK TABLE search_documents IN ACCESS EXCLUSIVE MODE")
        .await
        .unwrap();
    for document in [search, list, counts] {
        let reply = marta.send(document, json!({ "text": "word" })).await;
        assert_eq!(reply.code(), "BAD_REQUEST");
        let message = reply.at("/errors/0/message").as_str().unwrap();
        assert!(message.contains("longer than 1 seconds"), "{message}");
        waiting_for_a_lock(&database, 0).await;
    }
    lock.batch_execute("ROLLBACK").await.unwrap();
    marta.ok(search, json!({ "text": "word" })).await;
    server.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_database_that_is_away_is_unavailable() {
    let server = TestServer::start().await;
    let (anna, boris) = (server.customer("Anna").await, server.customer("Boris").await);
    anna.ok("{ viewer { id } }", json!({})).await;
    server.database.close().await;
    // Of a session that is known, and of one that must be looked up.
    for (client, status, data) in
        [(&anna, 200, Some(json!({ "viewer": null }))), (&boris, 503, None)]
    {
        let reply = client.send("{ viewer { id } }", json!({})).await;
        let found = (reply.status.as_u16(), reply.code(), reply.body.get("data"));
        assert_eq!(found, (status, "UNAVAILABLE", data.as_ref()), "{}", reply.body);
        assert_eq!(reply.headers["retry-after"], "5");
        assert_eq!(reply.at("/errors/0/extensions/retryAfterSeconds"), 5);
    }
    server.database.open().await;
    let viewer = async || anna.send("{ viewer { id } }", json!({})).await.body;
    let back = async { while viewer().await.get("errors").is_some() {} };
    within(back).await;
    server.stop().await;
}
