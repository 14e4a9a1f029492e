//! The live queue of staff.

use serde_json::{Value, json};

use crate::harness::{
    Client, Socket, TestServer,
    client::{SALES, TECHNICAL_SUPPORT, Ticket},
};

async fn watch(socket: &mut Socket, id: &str, filter: Value, after: Option<&str>) {
    let query = "subscription($filter: TicketFilterInput, $after: String) {
        queueEvents(filter: $filter, after: $after) {
            __typename
            ... on TicketEvent { id cursor ticket { number } }
            ... on CommentAdded { comment { visibility } }
            ... on Checkpoint { cursor } } }";
    socket.subscribe(id, query, json!({ "filter": filter, "after": after })).await;
}

/// Reads this many events and skips checkpoints.
async fn events(socket: &mut Socket, count: usize) -> Vec<Value> {
    let mut events = Vec::new();
    while events.len() < count {
        let item = socket.item().await;
        if item["__typename"] != "Checkpoint" {
            events.push(item);
        }
    }
    events
}

fn kinds(events: &[Value]) -> Vec<&str> {
    events.iter().map(|event| event["__typename"].as_str().unwrap()).collect()
}

/// Changes each attribute of a new ticket and changes it back.
async fn change_every_attribute(anna: &Client, marta: &Client, marta_id: &str) -> Ticket {
    let mut ticket = anna.create_ticket("one").await;
    for changes in [
        json!({ "categoryId": SALES }),
        json!({ "categoryId": TECHNICAL_SUPPORT }),
        json!({ "priority": "HIGHEST" }),
        json!({ "priority": "LOW" }),
        json!({ "assigneeId": marta_id }),
        json!({ "assigneeId": null }),
        json!({ "status": "WAITING_FOR_CUSTOMER" }),
    ] {
        ticket = marta.update(&ticket, changes).await;
    }
    marta.note(&ticket, "between us").await;
    anna.comment(&ticket, "thanks").await;
    ticket
}

/// The migration that added the search and the queue.
pub const MIGRATION: &str = "2026-11-23-000015_search_and_queue";

#[tokio::test(flavor = "multi_thread")]
async fn a_filtered_queue_shows_the_same_events_live_and_replayed() {
    let mut server = TestServer::start().await;
    let (anna, marta) = (server.customer("Anna").await, server.agent("Marta").await);
    let marta_id = marta.account_id().await;
    let node = server.second_node().await;
    let start = marta.ok("{ eventCursor }", json!({})).await["eventCursor"].clone();
    let all = [
        "TicketCreated",
        "CategoryChanged",
        "CategoryChanged",
        "PriorityChanged",
        "PriorityChanged",
        "AssigneeChanged",
        "AssigneeChanged",
        "StatusChanged",
        "CommentAdded",
        "CommentAdded",
        "StatusChanged",
    ];
    let waiting = json!({ "status": ["WAITING_FOR_CUSTOMER"] });
    let filters = [
        (json!(null), all.to_vec()),
        (json!({ "categoryIds": [SALES] }), all[1..3].to_vec()),
        (json!({ "priority": ["HIGHEST", "HIGH"] }), all[3..5].to_vec()),
        (json!({ "assigneeId": marta_id }), all[5..7].to_vec()),
        (waiting, all[7..11].to_vec()),
        // From the change to `LOW` on. It leaves the queue when it is assigned and returns later;
        // both events are shown.
        (json!({ "assigneeId": null, "priority": ["LOW"] }), all[4..11].to_vec()),
        (json!({ "categoryIds": [SALES], "assigneeId": marta_id }), vec![]),
        (json!({ "categoryIds": [SALES, TECHNICAL_SUPPORT] }), all.to_vec()),
        (json!({ "reporterId": marta_id }), vec![]),
        (json!({ "status": [] }), vec![]),
    ];
    let mut sockets = Vec::new();
    for (n, (filter, _)) in filters.iter().enumerate() {
        let address = if n % 2 == 0 { server.address() } else { node.address().to_string() };
        let mut socket = marta.at(&address).socket().await;
        watch(&mut socket, "live", filter.clone(), None).await;
        socket.caught_up().await;
        sockets.push(socket);
    }
    change_every_attribute(&anna, &marta, &marta_id).await;
    let mut live = Vec::new();
    for (socket, (filter, expected)) in sockets.iter_mut().zip(&filters) {
        let got = events(socket, expected.len()).await;
        assert_eq!(kinds(&got), *expected, "{filter}");
        live.push(got);
    }
    drop(sockets);
    node.stop().await;
    // Replayed from memory, then by a node that has nothing in memory.
    for _ in 0..2 {
        let marta = marta.at(&server.address());
        for ((filter, expected), live) in filters.iter().zip(&live) {
            let mut socket = marta.socket().await;
            watch(&mut socket, "replay", filter.clone(), start.as_str()).await;
            assert_eq!(events(&mut socket, expected.len()).await, *live, "{filter}");
            socket.caught_up().await;
        }
        server.restart().await;
    }
    server.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn only_staff_may_watch_the_queue() {
    let server = TestServer::start().await;
    for (client, code) in
        [(server.customer("Anna").await, "FORBIDDEN"), (server.anonymous(), "UNAUTHENTICATED")]
    {
        let mut socket = client.socket().await;
        watch(&mut socket, "1", json!(null), None).await;
        let error = socket.message().await;
        assert_eq!(error["type"], "error", "{error}");
        assert_eq!(error["payload"][0]["extensions"]["code"], code, "{error}");
    }
    server.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn the_migration_computes_the_state_of_a_ticket_at_each_event() {
    let mut server = TestServer::start().await;
    let (anna, marta) = (server.customer("Anna").await, server.agent("Marta").await);
    change_every_attribute(&anna, &marta, &marta.account_id().await).await;
    anna.create_ticket("untouched").await;
    let database = server.database.connect().await;
    let states = "SELECT string_agg(format('%s %s %s %s %s', id, category_id, status, priority, assignee_id), E'\\n' ORDER BY id)
        FROM events";
    let written = database.query_one(states, &[]).await.unwrap().get::<_, String>(0);
    server.migrate_again("2026-11-23-000012_remember_ticket_states").await;
    let found = database.query_one(states, &[]).await.unwrap().get::<_, String>(0);
    assert_eq!(found, written);
    server.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_ticket_shows_since_when_it_waits_for_support() {
    let mut server = TestServer::start().await;
    let (anna, marta) = (server.customer("Anna").await, server.agent("Marta").await);
    let waiting = async |ticket: &Ticket| {
        let query = "query($id: ID!) { node(id: $id) { ... on Ticket { waitingSince } } }";
        marta.ok(query, json!({ "id": ticket.id })).await["node"]["waitingSince"].clone()
    };
    let one = anna.create_ticket("one").await;
    let two = anna.create_ticket("two").await;
    let since = waiting(&one).await;
    assert!(since.is_string());
    server.clock.advance(chrono::TimeDelta::hours(1));
    // Nothing that leaves the status unchanged restarts the wait.
    anna.comment(&one, "and another thing").await;
    marta.note(&one, "hm").await;
    marta.update(&one, json!({ "priority": "HIGH" })).await;
    assert_eq!(waiting(&one).await, since);
    marta.comment(&one, "on it").await;
    assert_eq!(waiting(&one).await, Value::Null);
    marta.update(&one, json!({ "status": "WAITING_FOR_CUSTOMER" })).await;
    server.clock.advance(chrono::TimeDelta::hours(1));
    anna.comment(&one, "it is web3").await;
    let again = waiting(&one).await;
    assert!(again.as_str() > since.as_str(), "{again}");

    let since_then = |time: &Value| json!({ "waitingSince": time });
    assert_eq!(summaries(&marta, since_then(&since)).await, [] as [&str; 0]);
    assert_eq!(summaries(&marta, since_then(&waiting(&two).await)).await, ["two"]);
    assert_eq!(summaries(&marta, since_then(&again)).await, ["two", "one"]);
    marta.update(&two, json!({ "status": "CLOSED" })).await;
    assert_eq!(waiting(&two).await, Value::Null);

    // The migration computes the same from the event log.
    let database = server.database.connect().await;
    let states =
        "SELECT string_agg(format('%s %s', id, waiting_since), E'\\n' ORDER BY id) FROM tickets";
    let written = database.query_one(states, &[]).await.unwrap().get::<_, String>(0);
    server.migrate_again(MIGRATION).await;
    let found = database.query_one(states, &[]).await.unwrap().get::<_, String>(0);
    assert_eq!(found, written);
    server.stop().await;
}

/// The summaries of the tickets that match a filter, longest wait first.
async fn summaries(client: &Client, filter: Value) -> Vec<String> {
    let query = "query($filter: TicketFilterInput) {
        tickets(filter: $filter, orderBy: { field: WAITING_SINCE, direction: ASC }) { nodes { summary } } }";
    let data = client.ok(query, json!({ "filter": filter })).await;
    let nodes = data["tickets"]["nodes"].as_array().unwrap();
    nodes.iter().map(|node| node["summary"].as_str().unwrap().to_owned()).collect()
}

#[tokio::test(flavor = "multi_thread")]
async fn staff_see_ticket_counts_by_status_and_category() {
    let server = TestServer::start().await;
    let (anna, marta) = (server.customer("Anna").await, server.agent("Marta").await);
    let marta_id = marta.account_id().await;
    let query = "query($filter: TicketFilterInput) { ticketCounts(filter: $filter) { total statuses { status count }
        categories { category { slug } total statuses { status count } } } }";
    let counts = async |filter: Value| {
        marta.ok(query, json!({ "filter": filter })).await["ticketCounts"].clone()
    };
    assert_eq!(counts(json!(null)).await["total"], 0);
    for n in 0..3 {
        let ticket = anna.create_ticket(&format!("t{n}")).await;
        if n == 0 {
            let change =
                json!({ "status": "WORKING_ON_IT", "categoryId": SALES, "assigneeId": marta_id });
            marta.update(&ticket, change).await;
        }
    }
    let statuses = |waiting: i32, working: i32| {
        json!([
            { "status": "WAITING_FOR_SUPPORT", "count": waiting }, { "status": "WORKING_ON_IT", "count": working },
            { "status": "WAITING_FOR_CUSTOMER", "count": 0 }, { "status": "RESOLVED", "count": 0 },
            { "status": "CLOSED", "count": 0 },
        ])
    };
    let all = json!({ "total": 3, "statuses": statuses(2, 1), "categories": [
        { "category": { "slug": "technical-support" }, "total": 2, "statuses": statuses(2, 0) },
        { "category": { "slug": "sales" }, "total": 1, "statuses": statuses(0, 1) },
    ] });
    assert_eq!(counts(json!(null)).await, all);
    let assigned = counts(json!({ "assigneeId": marta_id })).await;
    assert_eq!((&assigned["total"], &assigned["statuses"]), (&json!(1), &statuses(0, 1)));
    server.quiet().await;
    assert_eq!(counts(json!({ "text": "t1" })).await["total"], 1);
    for (client, code) in [(&anna, "FORBIDDEN"), (&server.anonymous(), "UNAUTHENTICATED")] {
        assert_eq!(client.send(query, json!({})).await.code(), code);
    }
    server.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_live_queue_cannot_be_filtered_by_text_or_waiting_since() {
    let server = TestServer::start().await;
    let marta = server.agent("Marta").await;
    for filter in [json!({ "text": "mail" }), json!({ "waitingSince": "2026-11-23T08:00:00Z" })] {
        let mut socket = marta.socket().await;
        watch(&mut socket, "1", filter, None).await;
        let error = socket.message().await;
        assert_eq!(error["type"], "error", "{error}");
        assert_eq!(error["payload"][0]["extensions"]["code"], "BAD_REQUEST", "{error}");
    }
    server.stop().await;
}
