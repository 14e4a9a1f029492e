//! Slow clients, and sockets with many messages.

use std::time::{Duration, Instant};

use serde_json::{Value, json};
use tokio::{
    io::{AsyncReadExt as _, AsyncWriteExt as _},
    net::TcpSocket,
    time,
};

use crate::{
    harness::{
        Client, Socket, TestServer,
        client::{TECHNICAL_SUPPORT, Ticket},
        socket::{Incoming, connect_with_buffer},
    },
    metrics::{metric, start_with_metrics, until_metric},
};

/// A small part of a large response, which is read fast nevertheless.
const BUFFER: u32 = 64 * 1024;
/// More comments than the kernel buffers for a socket that nobody reads.
const COMMENTS: i32 = 300;
const OVERFLOWS: &str = "ticketwire_subscriber_buffer_overflows_total";
const INBOXES: &str = "ticketwire_subscribers{stream=\"inbox\"}";

/// Posts large comments, numbered from 1, in one transaction.
async fn post_many(server: &TestServer, ticket: &Ticket) {
    let sql = format!(
        "WITH ticket AS (
             UPDATE tickets SET event_seq = event_seq + {COMMENTS} WHERE number = {number}
             RETURNING id, reporter_id, category_id, status, priority, event_seq - {COMMENTS} AS seq
         ), posted AS (
             INSERT INTO comments (id, ticket_id, author_id, visibility, body, created_at)
             SELECT gen_random_uuid(), t.id, t.reporter_id, 'public',
                    rpad(n || ' ', 60000, 'x'), now()
             FROM ticket t, generate_series(1, {COMMENTS}) n
             RETURNING id, ticket_id, author_id, split_part(body, ' ', 1)::int AS n
         ), appended AS (
             INSERT INTO events (ticket_id, seq, kind, audience, actor_id, data, category_id,
                                 status, priority, occurred_at)
             SELECT ticket_id, seq + n, 'comment_added', 'participants', author_id,
                    jsonb_build_object('comment_id', p.id), category_id, status, priority, now()
             FROM posted p, ticket ORDER BY n
             RETURNING id
         )
         INSERT INTO pending_events SELECT id FROM appended",
        number = ticket.number.trim_start_matches("CS-"),
    );
    server.database.connect().await.batch_execute(&sql).await.unwrap();
}

/// The number of the comment in an event.
fn number(message: &Value) -> Option<i32> {
    let body = message.pointer("/payload/data/inboxEvents/comment/body")?.as_str()?;
    Some(body.split(' ').next().unwrap().parse().unwrap())
}

/// A socket with an inbox stream that stopped reading before many comments were posted.
async fn blocked_socket(server: &TestServer, anna: &Client) -> Socket {
    let ticket = anna.create_ticket("one").await;
    let mut socket = Socket::open_with_small_buffer(&server.address(), anna.token.as_deref()).await;
    socket.watch_inbox("1", None).await;
    socket.caught_up().await;
    post_many(server, &ticket).await;
    until_metric(server, OVERFLOWS, |overflows| overflows > 0.0).await;
    socket
}

#[tokio::test(flavor = "multi_thread")]
async fn a_client_that_does_not_read_is_closed_with_1013_and_resumes_without_a_gap() {
    let server = start_with_metrics(&[]).await;
    let anna = server.customer("Anna").await;
    let mut socket = blocked_socket(&server, &anna).await;
    until_metric(&server, "ticketwire_slow_consumers_closed_total", |closed| closed == 1.0).await;
    until_metric(&server, INBOXES, |open| open == 0.0).await;
    let (mut seen, mut after) = (Vec::new(), None);
    loop {
        match socket.incoming().await {
            Incoming::Message(message) => {
                seen.extend(number(&message));
                let cursor = &message["payload"]["data"]["inboxEvents"]["cursor"];
                after = cursor.as_str().map(str::to_owned);
            }
            Incoming::Closed(code, reason) => {
                assert_eq!((code, reason.as_str()), (1013, "Too slow: resume at your last cursor"));
                break;
            }
            Incoming::Broken => panic!("no close frame"),
        }
    }
    assert!(seen.len() < COMMENTS as usize, "the socket was never blocked");
    let mut socket = anna.socket().await;
    socket.watch_inbox("1", after.as_deref()).await;
    while seen.len() < COMMENTS as usize {
        seen.extend(number(&socket.message().await));
    }
    assert!(seen.into_iter().eq(1..=COMMENTS), "lost, doubled or out of order");
    server.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_client_that_reads_a_large_response_slowly_but_steadily_gets_all_of_it() {
    let server = start_with_metrics(&[]).await;
    let anna = server.customer("Anna").await;
    let ticket = anna.create_ticket("one").await;
    post_many(&server, &ticket).await;
    server.quiet().await;
    let mut socket = Socket::open_slow(&server.address(), anna.token.as_deref()).await;
    let read = "query($id: ID!) { node(id: $id) { ... on Ticket {
        a: timeline(last: 70) { nodes { ... on CommentAdded { comment { body } } } }
        b: timeline(last: 70) { nodes { ... on CommentAdded { comment { body } } } } } } }";
    socket.subscribe("large", read, json!({ "id": ticket.id })).await;
    let node = socket.item().await;
    assert!(node.to_string().len() > 8_000_000);
    assert_eq!(socket.message().await["type"], "complete");
    server.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn what_an_account_leaves_unread_takes_a_bounded_part_of_the_memory() {
    let rate = ("limits.customer_bytes_per_second", "1099511627776".to_owned());
    let server = TestServer::start_with(&[rate]).await;
    let anna = server.customer("Anna").await;
    let input = json!({ "categoryId": TECHNICAL_SUPPORT, "summary": "Long",
        "description": "🎟".repeat(65_536) });
    let reply = anna.try_create_ticket(input).await;
    let ticket = Ticket::read(reply.at("/data/createTicket/ticket"));
    let names = (0..10).map(|n| format!("a{n}: description ")).collect::<String>();
    // 7.9 MB.
    let read =
        format!("query($ids: [ID!]!) {{ nodes(ids: $ids) {{ ... on Ticket {{ {names} }} }} }}");
    let variables = json!({ "ids": vec![ticket.id; 3] });
    let body = json!({ "query": read, "variables": variables }).to_string();
    // Reads the beginning of an event stream, and then nothing more.
    let begin = async || {
        let mut stream = connect_with_buffer(&server.address(), BUFFER).await;
        let request = format!(
            "POST /graphql HTTP/1.1\r\nhost: desk\r\nauthorization: Bearer {}\r\ncontent-type: application/json\r\n\
             accept: text/event-stream\r\nconnection: close\r\ncontent-length: {}\r\n\r\n{body}",
            anna.token.as_deref().unwrap(),
            body.len(),
        );
        stream.write_all(request.as_bytes()).await.unwrap();
        let mut beginning = Vec::new();
        loop {
            beginning.push(stream.read_u8().await.unwrap());
            if let [.., b'd', b'a', b't', b'a', b':', b' ', b'{', b'"', first] = beginning[..] {
                break (stream, first == b'd');
            }
        }
    };
    let mut open = Vec::new();
    loop {
        let (stream, is_answered) = begin().await;
        if !is_answered {
            break;
        }
        open.push(stream);
    }
    assert_eq!(open.len(), 8, "64 MiB of 7.9 MB each");
    let mut socket = anna.socket().await;
    socket.subscribe("1", &read, variables.clone()).await;
    let refused = socket.message().await;
    assert_eq!(refused["payload"]["errors"][0]["extensions"]["code"], "RATE_LIMITED", "{refused}");
    let vera = server.customer("Vera").await;
    vera.ok("{ __schema { types { name description } } }", json!({})).await;
    // One is read to its end: the others wait on.
    let mut rest = Vec::new();
    open.pop().unwrap().read_to_end(&mut rest).await.unwrap();
    let end = String::from_utf8_lossy(&rest[rest.len() - 100..]);
    assert!(rest.len() > 7_000_000 && end.contains("event: complete"), "{end}");
    let (last, is_answered) = begin().await;
    assert!(is_answered, "there is memory again");
    drop((open, last));
    assert_eq!(socket.message().await["type"], "complete");
    let again = async {
        loop {
            socket.subscribe("2", &read, variables.clone()).await;
            if socket.message().await["payload"]["data"].is_object() {
                break;
            }
            assert_eq!(socket.message().await["type"], "complete");
        }
    };
    time::timeout(Duration::from_mins(1), again).await.expect("memory that is free again");
    server.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_session_that_ends_while_a_send_is_blocked_closes_its_socket_at_once() {
    let server = start_with_metrics(&[]).await;
    let anna = server.customer("Anna").await;
    let mut socket = blocked_socket(&server, &anna).await;
    anna.ok("mutation { signOut { signedOut } }", json!({})).await;
    until_metric(&server, INBOXES, |open| open == 0.0).await;
    let mut last = 0;
    loop {
        match socket.incoming().await {
            Incoming::Message(message) => last = number(&message).unwrap_or(last),
            Incoming::Closed(code, _) => break assert_eq!(code, 4401),
            Incoming::Broken => panic!("no close frame"),
        }
    }
    assert!(last < COMMENTS, "everything was sent before the session ended");
    server.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_ping_is_answered_before_queued_messages() {
    let server = start_with_metrics(&[]).await;
    let anna = server.customer("Anna").await;
    let mut socket = blocked_socket(&server, &anna).await;
    socket.send(json!({ "type": "ping" })).await;
    let mut seen = 0;
    loop {
        let message = socket.message().await;
        if message["type"] == "pong" {
            break;
        }
        // Checkpoints may come in between.
        seen = number(&message).unwrap_or(seen);
    }
    assert!(seen < COMMENTS, "everything was sent before the pong");
    while seen < COMMENTS {
        let message = socket.message().await;
        let next = number(&message);
        assert!(next.is_none_or(|next| next == seen + 1), "{seen}, then {next:?}");
        seen = next.unwrap_or(seen);
    }
    server.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn an_event_that_cannot_be_loaded_closes_the_socket_and_is_not_skipped() {
    let server = TestServer::start().await;
    let anna = server.customer("Anna").await;
    anna.create_ticket("one").await;
    let database = server.database.connect().await;
    // With fan-out, and without.
    for directive in ["", "@include(if: true)"] {
        let query = format!(
            "subscription($after: String) {{ inboxEvents(after: $after) {{ __typename {directive}
                 ... on CommentAdded {{ comment {{ body }} }} ... on Checkpoint {{ cursor }} }} }}"
        );
        let mut socket = anna.socket().await;
        socket.subscribe("1", &query, json!({})).await;
        let cursor = socket.caught_up().await;
        database.batch_execute("ALTER TABLE comments RENAME TO hidden").await.unwrap();
        // The comment cannot be loaded, which the server notices only when it reads the event.
        database
            .batch_execute(
                "WITH ticket AS (
                     UPDATE tickets SET event_seq = event_seq + 1
                     RETURNING id, reporter_id, category_id, status, priority, event_seq
                 ), posted AS (
                     INSERT INTO hidden (id, ticket_id, author_id, visibility, body, created_at)
                     SELECT gen_random_uuid(), id, reporter_id, 'public', 'hello', now() FROM ticket
                     RETURNING id
                 ), appended AS (
                     INSERT INTO events (ticket_id, seq, kind, audience, actor_id, data,
                                         category_id, status, priority, occurred_at)
                     SELECT t.id, event_seq, 'comment_added', 'participants', reporter_id,
                            jsonb_build_object('comment_id', p.id), category_id, status, priority, now()
                     FROM ticket t, posted p
                     RETURNING id
                 )
                 INSERT INTO pending_events SELECT id FROM appended",
            )
            .await
            .unwrap();
        let reason = "The server failed: resume at your last cursor".to_owned();
        assert_eq!(socket.incoming().await, Incoming::Closed(1013, reason));
        database.batch_execute("ALTER TABLE hidden RENAME TO comments").await.unwrap();
        let mut socket = anna.socket().await;
        socket.subscribe("1", &query, json!({ "after": cursor })).await;
        assert_eq!(socket.item().await["comment"]["body"], "hello");
    }
    server.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_busy_stream_does_not_delay_other_operations_on_its_socket() {
    let server = start_with_metrics(&[]).await;
    let anna = server.customer("Anna").await;
    let start = anna.ok("{ eventCursor }", json!({})).await["eventCursor"].clone();
    let ticket = anna.create_ticket("one").await;
    post_many(&server, &ticket).await;
    let mut socket = anna.socket().await;
    socket.watch_inbox("busy", start.as_str()).await;
    socket.subscribe("quiet", "{ viewer { name } }", json!({})).await;
    let (mut busy, mut quiet_after) = (0, None);
    while busy < COMMENTS {
        let message = socket.message().await;
        if message["id"] == "quiet" {
            quiet_after.get_or_insert(busy);
        }
        busy = number(&message).unwrap_or(busy);
    }
    assert!(quiet_after.is_some_and(|after| after < COMMENTS / 2), "{quiet_after:?}");
    server.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn clients_of_a_stopping_node_resume_on_another_node() {
    let server = TestServer::start().await;
    let anna = server.customer("Anna").await;
    let ticket = anna.create_ticket("one").await;
    let node = server.second_node().await;
    let mut sockets = Vec::new();
    for _ in 0..20 {
        let mut socket = anna.at(&node.address().to_string()).socket().await;
        socket.watch_ticket("1", &ticket.id, None).await;
        let cursor = socket.caught_up().await;
        sockets.push((socket, cursor));
    }
    let (writer, one) = (anna.clone(), ticket.clone());
    let posted = tokio::spawn(async move {
        for n in 1..=30 {
            writer.comment(&one, &n.to_string()).await;
        }
    });
    let followers = sockets.into_iter().map(|(mut socket, mut cursor)| {
        let (anna, ticket) = (anna.clone(), ticket.clone());
        tokio::spawn(async move {
            let mut seen = Vec::new();
            while seen.len() < 30 {
                match socket.incoming().await {
                    Incoming::Message(message) => {
                        let event = &message["payload"]["data"]["ticketEvents"];
                        cursor = event["cursor"].as_str().unwrap().to_owned();
                        if let Some(body) = event["comment"]["body"].as_str() {
                            seen.push(body.to_owned());
                        }
                    }
                    Incoming::Closed(code, _) => {
                        assert_eq!(code, 1012);
                        socket = anna.socket().await;
                        socket.watch_ticket("1", &ticket.id, Some(&cursor)).await;
                    }
                    Incoming::Broken => panic!("broken without a close frame"),
                }
            }
            seen
        })
    });
    let followers = followers.collect::<Vec<_>>();
    node.stop().await;
    posted.await.unwrap();
    for follower in followers {
        assert!(follower.await.unwrap().into_iter().eq((1..=30).map(|n| n.to_string())));
    }
    server.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_server_sent_events_client_that_does_not_read_is_disconnected() {
    let server = start_with_metrics(&[]).await;
    let anna = server.customer("Anna").await;
    let ticket = anna.create_ticket("one").await;
    let socket = TcpSocket::new_v4().unwrap();
    socket.set_recv_buffer_size(4 * 1024).unwrap();
    let mut stream = socket.connect(server.address().parse().unwrap()).await.unwrap();
    let body = json!({ "query": "subscription { inboxEvents { ... on CommentAdded { comment { body } } } }" });
    let body = body.to_string();
    let request = format!(
        "POST /graphql HTTP/1.1\r\nhost: desk\r\nauthorization: Bearer {}\r\ncontent-type: application/json\r\n\
         accept: text/event-stream\r\ncontent-length: {}\r\n\r\n{body}",
        anna.token.as_deref().unwrap(),
        body.len(),
    );
    stream.write_all(request.as_bytes()).await.unwrap();
    until_metric(&server, INBOXES, |open| open == 1.0).await;
    post_many(&server, &ticket).await;
    until_metric(&server, OVERFLOWS, |overflows| overflows > 0.0).await;
    // The kernel closes the connection at its first probe after 45 seconds; until then polling
    // slowly is enough.
    let deadline = Instant::now() + Duration::from_secs(150);
    while metric(&server, INBOXES).await != Some(0.0) {
        assert!(Instant::now() < deadline, "the stream is still open");
        tokio::time::sleep(Duration::from_millis(250)).await;
    }
    server.stop().await;
}
