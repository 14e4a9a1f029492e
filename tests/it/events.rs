//! The event log, as subscriptions show it.

use std::collections::HashSet;

use serde_json::{Value, json};
use ticketwire::domain::cursor::Cursor;

use crate::{
    harness::{Socket, TestServer, client::Ticket, socket::Incoming},
    metrics::{metric, start_with_metrics, until_metric},
};

/// An event as a readable line.
fn line(item: &Value) -> String {
    let detail =
        ["/comment/body", "/toStatus"].iter().find_map(|pointer| item.pointer(pointer)?.as_str());
    format!("{} {}", item["__typename"].as_str().unwrap(), detail.unwrap_or("")).trim().to_owned()
}

/// SQL that posts comments with the bodies `from` to `to` on the only ticket.
pub fn comments(from: u32, to: u32) -> String {
    format!(
        "WITH posted AS (
             INSERT INTO comments
             SELECT gen_random_uuid(), t.id, t.reporter_id, 'public', n::text, now()
             FROM tickets t, generate_series({from}, {to}) n RETURNING *
         ), appended AS (
             INSERT INTO events (ticket_id, seq, kind, audience, actor_id, data, occurred_at)
             SELECT ticket_id, 100 + body::int, 'comment_added', 'participants', author_id,
                    jsonb_build_object('comment_id', id), now()
             FROM posted ORDER BY body::int RETURNING id
         ) INSERT INTO pending_events SELECT id FROM appended;"
    )
}

/// Reads this many events and skips the checkpoints between them.
async fn next_events(socket: &mut Socket, count: usize) -> Vec<Value> {
    let mut events = Vec::new();
    while events.len() < count {
        let item = socket.item().await;
        if item["__typename"] != "Checkpoint" {
            events.push(item);
        }
    }
    events
}

/// Reads the events up to the checkpoint that ends the replay.
async fn replayed(socket: &mut Socket) -> (Vec<Value>, String) {
    let mut events = Vec::new();
    loop {
        let item = socket.item().await;
        if item["__typename"] == "Checkpoint" {
            return (events, item["cursor"].as_str().unwrap().to_owned());
        }
        events.push(item);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_customer_sees_comments_and_status_changes_live_but_no_internal_notes() {
    let server = TestServer::start().await;
    let (anna, marta) = (server.customer("Anna").await, server.agent("Marta").await);
    let ticket = anna.create_ticket("one").await;
    let (mut customer, mut staff) = (anna.socket().await, marta.socket().await);
    customer.watch_ticket("1", &ticket.id, None).await;
    staff.watch_inbox("1", None).await;
    customer.caught_up().await;
    staff.caught_up().await;
    marta.note(&ticket, "secret").await;
    marta.comment(&ticket, "on it").await;
    anna.comment(&ticket, "thanks").await;
    let mut seen = Vec::new();
    for _ in 0..3 {
        seen.push(line(&customer.item().await));
    }
    assert_eq!(seen, ["CommentAdded on it", "StatusChanged WORKING_ON_IT", "CommentAdded thanks"]);
    let mut all = Vec::new();
    for _ in 0..4 {
        all.push(line(&staff.item().await));
    }
    assert_eq!(
        all,
        [
            "CommentAdded secret",
            "CommentAdded on it",
            "StatusChanged WORKING_ON_IT",
            "CommentAdded thanks"
        ]
    );
    server.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_stream_resumes_after_its_cursor_on_any_node() {
    let server = TestServer::start().await;
    let other = server.second_node().await;
    let there = other.address().to_string();
    let (anna, marta) = (server.customer("Anna").await, server.agent("Marta").await);
    let ticket = anna.create_ticket("one").await;
    let mut cursor =
        anna.ok("{ eventCursor }", json!({})).await["eventCursor"].as_str().unwrap().to_owned();
    let mut seen = Vec::new();
    for round in 0..6 {
        let node = if round % 2 == 0 { anna.clone() } else { anna.at(&there) };
        let mut socket = node.socket().await;
        socket.watch_ticket("1", &ticket.id, Some(&cursor)).await;
        marta.comment(&ticket, &format!("live {round}")).await;
        loop {
            let item = socket.item().await;
            cursor = item["cursor"].as_str().unwrap().to_owned();
            if item["__typename"] == "CommentAdded" {
                seen.push(line(&item));
            }
            if line(&item) == format!("CommentAdded live {round}") {
                break;
            }
        }
        drop(socket);
        marta.at(&there).comment(&ticket, &format!("missed {round}")).await;
    }
    let expected = (0..6).flat_map(|round| {
        [format!("CommentAdded live {round}"), format!("CommentAdded missed {round}")]
    });
    assert_eq!(seen, expected.take(11).collect::<Vec<_>>());
    other.stop().await;
    server.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_replay_from_the_database_equals_one_from_memory() {
    let mut server = TestServer::start().await;
    let (anna, marta) = (server.customer("Anna").await, server.agent("Marta").await);
    let start =
        anna.ok("{ eventCursor }", json!({})).await["eventCursor"].as_str().unwrap().to_owned();
    let (one, two) = (anna.create_ticket("one").await, anna.create_ticket("two").await);
    for n in 0..150 {
        let ticket = if n % 3 == 0 { &two } else { &one };
        marta.comment(ticket, &format!("c{n}")).await;
        if n % 10 == 0 {
            marta.note(ticket, "n").await;
        }
    }
    let replay = async |server: &TestServer| {
        let (anna, marta) = (anna.at(&server.address()), marta.at(&server.address()));
        let mut streams = Vec::new();
        // The events of a ticket: its creation, its comments and one status change; for staff also
        // its notes.
        for (client, scope, events) in [
            (&anna, Some(&one), 1 + 100 + 1),
            (&anna, None, 2 + 150 + 2),
            (&marta, Some(&one), 1 + 100 + 1 + 10),
            (&marta, None, 2 + 150 + 2 + 15),
        ] {
            let mut socket = client.socket().await;
            match scope {
                Some(ticket) => socket.watch_ticket("1", &ticket.id, Some(&start)).await,
                None => socket.watch_inbox("1", Some(&start)).await,
            }
            streams.push(next_events(&mut socket, events).await);
        }
        streams
    };
    // A new node has nothing in memory.
    let from_memory = replay(&server).await;
    server.restart().await;
    let from_database = replay(&server).await;
    assert_eq!(from_memory, from_database);
    // From any position, be it of the ticket's own event or of another one's.
    let [of_ticket, all] = [&from_database[2], &from_database[3]];
    let position = |event: &Value| Cursor::decode(event["cursor"].as_str().unwrap()).unwrap().pos;
    let marta = marta.at(&server.address());
    for event in all {
        let rest = of_ticket.iter().filter(|later| position(later) > position(event));
        let rest = rest.cloned().collect::<Vec<_>>();
        let mut socket = marta.socket().await;
        socket.watch_ticket("1", &one.id, event["cursor"].as_str()).await;
        assert_eq!(replayed(&mut socket).await.0, rest, "after {event}");
    }
    server.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn one_account_has_one_replay_that_reads_the_database_at_a_time() {
    let mut server = start_with_metrics(&[]).await;
    let (anna, marta) = (server.customer("Anna").await, server.agent("Marta").await);
    let start =
        anna.ok("{ eventCursor }", json!({})).await["eventCursor"].as_str().unwrap().to_owned();
    anna.create_ticket("one").await;
    server.quiet().await;
    // A new node has nothing in memory.
    server.restart_with(&[("admin.listen", "127.0.0.1:0".to_owned())]).await;
    let (anna, marta) = (anna.at(&server.address()), marta.at(&server.address()));
    let (mut annas, mut martas) = (anna.socket().await, marta.socket().await);
    let lock = server.database.connect().await;
    lock.batch_execute("BEGIN; LOCK TABLE feed_epochs IN ACCESS EXCLUSIVE MODE").await.unwrap();
    for id in 0..9 {
        annas.watch_inbox(&id.to_string(), Some(&start)).await;
    }
    let replays = |state| format!("ticketwire_replays{{state=\"{state}\"}}");
    until_metric(&server, &replays("waiting"), |count| count == 8.0).await;
    martas.watch_inbox("1", Some(&start)).await;
    until_metric(&server, &replays("reading"), |count| count == 2.0).await;
    lock.batch_execute("ROLLBACK").await.unwrap();
    let mut lines = Vec::new();
    for _ in 0..18 {
        lines.push(line(&annas.item().await));
    }
    lines.sort();
    assert_eq!(lines, [["Checkpoint"; 9], ["TicketCreated"; 9]].concat());
    assert_eq!(
        replayed(&mut martas).await.0.iter().map(line).collect::<Vec<_>>(),
        ["TicketCreated"]
    );
    server.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_replay_passes_over_many_events_of_others_in_short_statements() {
    let mut server = start_with_metrics(&[]).await;
    let (anna, jonas) = (server.customer("Anna").await, server.customer("Jonas").await);
    let start =
        anna.ok("{ eventCursor }", json!({})).await["eventCursor"].as_str().unwrap().to_owned();
    anna.create_ticket("one").await;
    server.database.connect().await.batch_execute(&comments(1, 5_100)).await.unwrap();
    server.quiet().await;
    jonas.create_ticket("two").await;
    server.quiet().await;
    server.restart_with(&[("admin.listen", "127.0.0.1:0".to_owned())]).await;
    let mut socket = jonas.at(&server.address()).socket().await;
    socket.watch_inbox("1", Some(&start)).await;
    let (events, _) = replayed(&mut socket).await;
    assert_eq!(events.iter().map(line).collect::<Vec<_>>(), ["TicketCreated"]);
    let reads = "ticketwire_replay_reads_total{source=\"database\"}";
    assert_eq!(metric(&server, reads).await, Some(2.0));
    server.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_customers_inbox_shows_only_their_own_tickets() {
    let server = TestServer::start().await;
    let (anna, jonas) = (server.customer("Anna").await, server.customer("Jonas").await);
    let mut socket = anna.socket().await;
    socket.watch_inbox("1", None).await;
    socket.caught_up().await;
    let foreign = jonas.create_ticket("theirs").await;
    jonas.comment(&foreign, "private").await;
    let own = anna.create_ticket("mine").await;
    let event = socket.item().await;
    assert_eq!((line(&event), &event["ticket"]["id"]), ("TicketCreated".into(), &json!(own.id)));
    server.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn malformed_and_future_cursors_are_refused_and_foreign_ones_require_a_resync() {
    let server = TestServer::start().await;
    let anna = server.customer("Anna").await;
    let ticket = anna.create_ticket("one").await;
    let mut socket = anna.socket().await;
    let cursor = Cursor::decode(
        anna.ok("{ eventCursor }", json!({})).await["eventCursor"].as_str().unwrap(),
    )
    .unwrap();
    let future = Cursor { pos: cursor.pos + 1_000_000, ..cursor };
    for (id, after) in [("a", "garbage".to_owned()), ("b", String::new()), ("c", future.encode())] {
        socket.watch_ticket(id, &ticket.id, Some(&after)).await;
        let message = socket.message().await;
        assert_eq!((&message["type"], &message["id"]), (&json!("error"), &json!(id)), "{message}");
        assert_eq!(message["payload"][0]["extensions"]["code"], "BAD_REQUEST", "{message}");
    }
    // A cursor of another history: the reader must start again.
    let foreign = Cursor { epoch: cursor.epoch ^ 1, ..cursor };
    socket.watch_ticket("d", &ticket.id, Some(&foreign.encode())).await;
    assert_eq!(
        socket.item().await,
        json!({ "__typename": "ResyncRequired", "reason": "HISTORY_REWOUND" })
    );
    assert_eq!(socket.message().await["type"], "complete");
    server.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn after_a_restore_a_cursor_is_valid_up_to_the_restored_point() {
    let mut server = TestServer::start().await;
    let anna = server.customer("Anna").await;
    let ticket = anna.create_ticket("one").await;
    let mut socket = anna.socket().await;
    socket.watch_ticket("1", &ticket.id, None).await;
    let before = socket.caught_up().await;
    anna.comment(&ticket, "lost").await;
    let lost = socket.item().await["cursor"].as_str().unwrap().to_owned();
    // What a restore to before the last comment leaves: another timeline and an earlier head of the
    // feed.
    let database = server.database.connect().await;
    database
        .batch_execute(
            "ALTER TABLE events DISABLE TRIGGER events_append_only;
             DELETE FROM feed WHERE pos > (SELECT min(pos) FROM feed JOIN events e ON e.id = event_id WHERE kind = 'ticket_created');
             DELETE FROM events WHERE kind = 'comment_added';
             UPDATE tickets SET event_seq = 1;
             UPDATE feed_head SET pos = (SELECT max(pos) FROM feed);
             UPDATE feed_epochs SET timeline = timeline - 1;
             ALTER TABLE events ENABLE TRIGGER events_append_only",
        )
        .await
        .unwrap();
    server.restart().await;
    let anna = anna.at(&server.address());
    anna.comment(&ticket, "new").await;
    let mut socket = anna.socket().await;
    socket.watch_ticket("1", &ticket.id, Some(&lost)).await;
    assert_eq!(socket.item().await["__typename"], "ResyncRequired");
    assert_eq!(socket.message().await["type"], "complete");
    socket.watch_ticket("2", &ticket.id, Some(&before)).await;
    // The node may not have read the comment when the stream starts.
    let mut item = socket.item().await;
    if item["__typename"] == "Checkpoint" {
        item = socket.item().await;
    }
    assert_eq!(line(&item), "CommentAdded new");
    server.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_burst_that_overflows_the_subscriber_buffer_is_read_from_the_log_without_a_gap() {
    let server = TestServer::start().await;
    let anna = server.customer("Anna").await;
    let ticket = anna.create_ticket("one").await;
    let mut socket = anna.socket().await;
    socket.watch_ticket("1", &ticket.id, None).await;
    socket.caught_up().await;
    // One transaction, so that the tailer publishes all comments before the stream wakes.
    let database = server.database.connect().await;
    let sql = format!("BEGIN; {} COMMIT", comments(1, 500));
    database.batch_execute(&sql).await.unwrap();
    let bodies = next_events(&mut socket, 500).await;
    let bodies = bodies.iter().map(|event| event["comment"]["body"].as_str().unwrap().to_owned());
    assert!(bodies.eq((1..=500).map(|n| n.to_string())), "lost, doubled or out of order");
    server.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn signing_out_ends_the_streams_of_that_session_only() {
    let server = TestServer::start().await;
    let first = server.customer("Anna").await;
    let second =
        server.anonymous().sign_in("anna@example.com", crate::harness::server::PASSWORD).await;
    let ticket = first.create_ticket("one").await;
    let (mut ended, mut other) = (first.socket().await, second.socket().await);
    for socket in [&mut ended, &mut other] {
        socket.watch_ticket("1", &ticket.id, None).await;
        socket.caught_up().await;
    }
    first.ok("mutation { signOut { signedOut } }", json!({})).await;
    second.comment(&ticket, "after").await;
    // 4401 is fatal to clients: they do not retry with an invalid token.
    loop {
        match ended.incoming().await {
            Incoming::Closed(code, _) => break assert_eq!(code, 4401),
            Incoming::Message(message) => {
                assert!(message["payload"].get("errors").is_some(), "{message}");
            }
            Incoming::Broken => panic!("no close frame"),
        }
    }
    assert_eq!(line(&other.item().await), "CommentAdded after");
    server.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_revocation_is_not_lost_when_the_subscriber_buffer_overflows() {
    let server = TestServer::start().await;
    let anna = server.customer("Anna").await;
    let ticket = anna.create_ticket("one").await;
    let mut socket = anna.socket().await;
    socket.watch_ticket("1", &ticket.id, None).await;
    socket.caught_up().await;
    // In one transaction: more events than the buffer holds, the revocation, and as many again.
    let database = server.database.connect().await;
    let revoke = "UPDATE sessions SET revoked_at = now();
         WITH appended AS (
             INSERT INTO events (account_id, seq, kind, audience, data, occurred_at)
             SELECT account_id, 1000, 'session_revoked', 'participants',
                    jsonb_build_object('session_id', id), now()
             FROM sessions RETURNING id
         ) INSERT INTO pending_events SELECT id FROM appended;";
    let sql = format!("BEGIN; {} {revoke} {} COMMIT", comments(1, 100), comments(101, 200));
    database.batch_execute(&sql).await.unwrap();
    loop {
        match socket.incoming().await {
            Incoming::Closed(code, _) => break assert_eq!(code, 4401),
            Incoming::Message(message) => {
                let body = message.pointer("/payload/data/ticketEvents/comment/body");
                let body = body.and_then(Value::as_str).map_or(0, |body| body.parse().unwrap());
                assert!(body <= 100, "comment {body} came after the revocation");
            }
            Incoming::Broken => panic!("no close frame"),
        }
    }
    server.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_stream_that_starts_while_its_session_ends_does_not_outlive_it() {
    let server = TestServer::start().await;
    server.customer("Anna").await;
    for _ in 0..12 {
        let password = crate::harness::server::PASSWORD;
        let anna = server.anonymous().sign_in("anna@example.com", password).await;
        let mut socket = anna.socket().await;
        for n in 0..6 {
            socket.watch_inbox(&n.to_string(), None).await;
        }
        anna.ok("mutation { signOut { signedOut } }", json!({})).await;
        for n in 6..9 {
            socket.watch_inbox(&n.to_string(), None).await;
        }
        assert_eq!(socket.close_code().await, 4401);
    }
    server.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn no_event_is_lost_or_reordered_by_concurrent_writers_rollbacks_and_a_long_transaction() {
    let server = TestServer::start().await;
    let (anna, marta) = (server.customer("Anna").await, server.agent("Marta").await);
    let mut tickets = Vec::new();
    for n in 0..5 {
        tickets.push(anna.create_ticket(&format!("t{n}")).await);
    }
    // A transaction that writes an event and stays open must not delay the others.
    let mut other = server.database.connect().await;
    let long = other.transaction().await.unwrap();
    long.batch_execute(
        "INSERT INTO events (ticket_id, seq, kind, audience, data, occurred_at)
         SELECT id, 1000, 'summary_changed', 'participants', '{}', now() FROM tickets LIMIT 1",
    )
    .await
    .unwrap();
    let mut inbox = marta.socket().await;
    inbox.watch_inbox("1", None).await;
    inbox.caught_up().await;

    let writers = (0..8).map(|writer| {
        let (client, tickets) =
            (if writer % 2 == 0 { anna.clone() } else { marta.clone() }, tickets.clone());
        tokio::spawn(async move {
            for n in 0..25 {
                let ticket: &Ticket = &tickets[(writer + n) % tickets.len()];
                client.comment(ticket, &format!("{writer}.{n}")).await;
                // Rolled back after the lock was acquired.
                client
                    .try_update(ticket, json!({ "status": "WORKING_ON_IT", "expectedVersion": 0 }))
                    .await;
            }
        })
    });
    futures_util::future::join_all(writers).await.into_iter().for_each(Result::unwrap);
    let database = server.database.connect().await;
    let mut seen = Vec::new();
    while seen.iter().filter(|line: &&String| line.starts_with("CommentAdded")).count() < 200 {
        seen.push(line(&inbox.item().await));
    }
    for writer in 0..8 {
        let own = seen.iter().filter(|line| line.starts_with(&format!("CommentAdded {writer}.")));
        let expected = (0..25).map(|n| format!("CommentAdded {writer}.{n}")).collect::<Vec<_>>();
        assert!(own.eq(expected.iter()), "writer {writer}'s events are out of order");
    }
    long.rollback().await.unwrap();
    // The feed has no gaps, and each ticket's events are in order.
    let inverted = "SELECT count(*) FROM (SELECT e.seq, lag(e.seq) OVER (PARTITION BY e.ticket_id ORDER BY f.pos) AS before
        FROM feed f JOIN events e ON e.id = f.event_id WHERE e.ticket_id IS NOT NULL) o WHERE seq <= before";
    assert_eq!(database.query_one(inverted, &[]).await.unwrap().get::<_, i64>(0), 0);
    let dense = "SELECT count(*) = max(pos) AND max(pos) = (SELECT pos FROM feed_head) FROM feed";
    assert!(database.query_one(dense, &[]).await.unwrap().get::<_, bool>(0));
    server.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_query_and_a_stream_from_its_cursor_leave_no_gap() {
    let server = TestServer::start().await;
    let (anna, marta) = (server.customer("Anna").await, server.agent("Marta").await);
    let ticket = anna.create_ticket("one").await;
    let query = "query($id: ID!) { eventCursor node(id: $id) { ... on Ticket { timeline(first: 100) { nodes { id cursor } } } } }";
    let writer = {
        let (marta, ticket) = (marta.clone(), ticket.clone());
        tokio::spawn(async move {
            for n in 0..40 {
                marta.comment(&ticket, &format!("c{n}")).await;
            }
        })
    };
    for _ in 0..10 {
        let data = anna.ok(query, json!({ "id": ticket.id })).await;
        let read = data["node"]["timeline"]["nodes"]
            .as_array()
            .unwrap()
            .iter()
            .map(|node| node["id"].clone())
            .collect::<Vec<_>>();
        let mut socket = anna.socket().await;
        socket.watch_ticket("1", &ticket.id, data["eventCursor"].as_str()).await;
        let (streamed, _) = replayed(&mut socket).await;
        let streamed = streamed.iter().map(|event| event["id"].clone()).collect::<Vec<_>>();
        let now = anna.ok(query, json!({ "id": ticket.id })).await;
        let now = now["node"]["timeline"]["nodes"].as_array().unwrap();
        // The query and the stream together have every event, without a gap.
        let joined = now
            .iter()
            .map(|node| &node["id"])
            .filter(|id| read.contains(id) || streamed.contains(id))
            .count();
        assert!(
            joined == now.len()
                || now[..joined]
                    .iter()
                    .all(|node| read.contains(&node["id"]) || streamed.contains(&node["id"]))
        );
    }
    writer.await.unwrap();
    server.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn an_event_of_a_newer_version_appears_as_unreadable_at_its_position() {
    let server = TestServer::start().await;
    let (anna, marta) = (server.customer("Anna").await, server.agent("Marta").await);
    let ticket = anna.create_ticket("one").await;
    let mut live = marta.socket().await;
    live.subscribe(
        "1",
        "subscription($c: [ID!]) { queueEvents(filter: { categoryIds: $c }) {
            __typename ... on TicketEvent { cursor ticket { id } } ... on Checkpoint { cursor } } }",
        json!({ "c": [crate::harness::client::SALES] }),
    )
    .await;
    let start = live.caught_up().await;
    let merged = "WITH appended AS (
             INSERT INTO events (ticket_id, seq, kind, audience, data, category_id, status,
                                 priority, occurred_at)
             SELECT id, event_seq + 1, 'ticket_merged', 'participants', '{\"into\": 1}',
                    category_id, status, priority, now()
             FROM tickets RETURNING id
         ), counted AS (UPDATE tickets SET event_seq = event_seq + 1)
         INSERT INTO pending_events SELECT id FROM appended;";
    server.database.connect().await.batch_execute(merged).await.unwrap();
    let event = live.item().await;
    assert_eq!(
        event["__typename"], "UnreadableEvent",
        "an event that may have removed it from the queue is shown"
    );
    assert_eq!(event["ticket"]["id"], ticket.id.as_str());
    anna.comment(&ticket, "after it").await;
    let mut replayed = anna.socket().await;
    replayed.watch_ticket("1", &ticket.id, Some(&start)).await;
    let events = next_events(&mut replayed, 2).await;
    assert_eq!(
        events.iter().map(line).collect::<Vec<_>>(),
        ["UnreadableEvent", "CommentAdded after it"]
    );
    assert_eq!(events[0]["cursor"], event["cursor"]);
    let timeline = "query($id: ID!) { node(id: $id) { ... on Ticket {
        timeline { nodes { __typename } } } } }";
    let timeline = anna.ok(timeline, json!({ "id": ticket.id })).await;
    let kinds = timeline["node"]["timeline"]["nodes"].as_array().unwrap();
    let kinds = kinds.iter().map(|event| event["__typename"].as_str().unwrap());
    assert_eq!(kinds.collect::<Vec<_>>(), ["TicketCreated", "UnreadableEvent", "CommentAdded"]);
    server.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn other_nodes_are_told_how_far_the_feed_has_grown_and_by_which_node() {
    let server = TestServer::start().await;
    let (anna, database) = (server.customer("Anna").await, server.database.connect().await);
    let ticket = anna.create_ticket("one").await;
    let mut heard = server.database.listen("ticketwire_feed").await;
    let mut nodes = HashSet::new();
    for _ in 0..20 {
        tokio::join!(anna.comment(&ticket, "first"), anna.create_ticket("second"));
        let row = database.query_one("SELECT pos FROM feed_head", &[]).await.unwrap();
        let head = row.get::<_, i64>(0);
        loop {
            let hint = heard.next().await;
            let (pos, node) = hint.split_once(' ').unwrap();
            nodes.insert(node.to_owned());
            if pos.parse::<i64>().unwrap() >= head {
                break;
            }
        }
    }
    assert_eq!(nodes.len(), 1, "{nodes:?}");
    server.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_statement_that_cannot_place_its_events_leaves_them_pending_in_their_order() {
    let server = TestServer::start().await;
    let (anna, marta) = (server.customer("Anna").await, server.agent("Marta").await);
    let ticket = anna.create_ticket("one").await;
    server.quiet().await;
    let mut socket = anna.socket().await;
    socket.watch_ticket("1", &ticket.id, None).await;
    let database = server.database.connect().await;
    let waiting = async || {
        let count = "SELECT count(*) FROM pending_events";
        database.query_one(count, &[]).await.unwrap().get::<_, i64>(0)
    };
    let mut holder = server.database.connect().await;
    let lock = holder.transaction().await.unwrap();
    lock.execute("SELECT FROM feed_head FOR UPDATE", &[]).await.unwrap();
    anna.comment(&ticket, "while the head is locked").await;
    assert_eq!(waiting().await, 1);

    // No sequencer can place it, but the head is free.
    database
        .batch_execute(
            "CREATE FUNCTION refuse() RETURNS trigger LANGUAGE plpgsql
                 AS $$ BEGIN RAISE EXCEPTION 'refused'; END $$;
             CREATE TRIGGER refuse BEFORE DELETE ON pending_events EXECUTE FUNCTION refuse();",
        )
        .await
        .unwrap();
    lock.rollback().await.unwrap();
    for nth in 0..5 {
        anna.comment(&ticket, &format!("behind it {nth}")).await;
        assert_eq!(waiting().await, 2 + nth, "an event has overtaken one that is pending");
    }
    anna.create_ticket("behind them").await;
    marta.comment(&ticket, "an answer").await;
    assert!(waiting().await > 7);

    database.batch_execute("DROP TRIGGER refuse ON pending_events").await.unwrap();
    let events = next_events(&mut socket, 7).await;
    let expected = ["CommentAdded while the head is locked".to_owned()]
        .into_iter()
        .chain((0..5).map(|nth| format!("CommentAdded behind it {nth}")))
        .chain(["CommentAdded an answer".to_owned()]);
    assert!(events.iter().map(line).eq(expected), "{events:#?}");
    server.stop().await;
}

/// Checks that the head of the feed is free while a call waits for what `lock` locks.
async fn leaves_the_head_free(
    server: &TestServer,
    lock: &str,
    call: impl Future<Output = ()> + Send + 'static,
) {
    let database = server.database.connect().await;
    let mut holder = server.database.connect().await;
    let transaction = holder.transaction().await.unwrap();
    transaction.execute(lock, &[]).await.unwrap();
    let call = tokio::spawn(call);
    let waits = "SELECT EXISTS (SELECT FROM pg_stat_activity WHERE datname = current_database()
        AND wait_event_type = 'Lock' AND (query LIKE 'WITH chosen%' OR query LIKE 'WITH seen%'))";
    while !database.query_one(waits, &[]).await.unwrap().get::<_, bool>(0) {
        assert!(!call.is_finished(), "the call does not wait for {lock}");
    }
    let free = database.execute("SELECT FROM feed_head FOR UPDATE NOWAIT", &[]).await;
    free.unwrap_or_else(|error| panic!("{lock}: {error}"));
    transaction.rollback().await.unwrap();
    call.await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn a_statement_that_waits_for_others_keeps_nobody_from_placing_events() {
    let server = TestServer::start().await;
    let (anna, marta) = (server.customer("Anna").await, server.agent("Marta").await);
    let ticket = anna.create_ticket("one").await;
    anna.comment(&ticket, "hello").await;
    server.quiet().await;
    let account = "SELECT FROM accounts WHERE name = 'Anna' FOR UPDATE";
    let words = "SELECT FROM search_documents WHERE summary = 'one' FOR UPDATE";
    let (reporter, commenter, changed) = (anna.clone(), anna.clone(), ticket.clone());
    leaves_the_head_free(&server, account, async move {
        reporter.create_ticket("two").await;
    })
    .await;
    leaves_the_head_free(&server, account, async move {
        let input = json!({ "body": "with a key", "idempotencyKey": "key" });
        commenter.try_comment(&ticket, input).await;
    })
    .await;
    leaves_the_head_free(&server, words, async move {
        marta.update(&changed, json!({ "summary": "another" })).await;
    })
    .await;
    server.stop().await;
}
