//! The live queue of staff.

use serde_json::{Value, json};
use ticketwire::domain::account::Role;

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
async fn a_live_queue_cannot_be_filtered_by_text_waiting_since_or_too_many_categories() {
    let server = TestServer::start().await;
    let marta = server.agent("Marta").await;
    for filter in [
        json!({ "text": "mail" }),
        json!({ "waitingSince": "2026-11-23T08:00:00Z" }),
        json!({ "categoryIds": vec![TECHNICAL_SUPPORT; 101] }),
    ] {
        let mut socket = marta.socket().await;
        watch(&mut socket, "1", filter, None).await;
        let error = socket.message().await;
        assert_eq!(error["type"], "error", "{error}");
        assert_eq!(error["payload"][0]["extensions"]["code"], "BAD_REQUEST", "{error}");
    }
    server.stop().await;
}

/// The entries of the queue, and what `tickets` says of them.
const ENTRIES: &str = "
    SELECT string_agg(q::text, E'\\n' ORDER BY ticket_id),
           (SELECT string_agg((t.id, t.category_id, t.assignee_id, t.status, t.priority, t.updated_at,
                               t.waiting_since, t.resolved_at)::text, E'\\n' ORDER BY t.id) FROM tickets t)
    FROM queue_entries q";

async fn assert_entries_match(database: &tokio_postgres::Client) {
    let row = database.query_one(ENTRIES, &[]).await.unwrap();
    let [entries, tickets] = [0, 1].map(|column| row.get::<_, String>(column));
    assert_eq!(entries, tickets);
    let contradictory = "SELECT count(*) FROM tickets
        WHERE (waiting_since IS NULL) = (status = 'waiting_for_support')";
    assert_eq!(database.query_one(contradictory, &[]).await.unwrap().get::<_, i64>(0), 0);
}

#[tokio::test(flavor = "multi_thread")]
async fn each_ticket_has_its_entry_in_the_queue() {
    let mut server = TestServer::start().await;
    let (anna, marta) = (server.customer("Anna").await, server.agent("Marta").await);
    let database = server.database.connect().await;
    let marta_id = marta.account_id().await;
    let one = change_every_attribute(&anna, &marta, &marta_id).await;
    assert_entries_match(&database).await;
    marta.update(&one, json!({ "assigneeId": marta_id })).await;
    marta.update(&one, json!({ "status": "RESOLVED" })).await;
    assert_entries_match(&database).await;
    let two = anna.create_ticket("two").await;
    let three = anna.create_ticket("three").await;
    let merge = "mutation($input: MergeTicketInput!) { mergeTicket(input: $input) {
        userErrors { message } } }";
    let input = json!({ "ticketId": three.id, "intoId": two.id });
    let merged = marta.ok(merge, json!({ "input": input })).await;
    assert_eq!(merged["mergeTicket"]["userErrors"], json!([]));
    assert_entries_match(&database).await;

    server.clock.advance(chrono::TimeDelta::days(60));
    assert_eq!(server.close_resolved(10).await, 1);
    assert_entries_match(&database).await;

    // A connection of the version before does not write entries. A trigger does.
    database
        .batch_execute(
            "UPDATE tickets SET priority = 'lowest', updated_at = updated_at + interval '1 hour';
             INSERT INTO tickets (id, number, category_id, reporter_id, summary, description, status,
                                  priority, created_at, updated_at, waiting_since)
             SELECT gen_random_uuid(), 900000, category_id, reporter_id, summary, description,
                    'waiting_for_support', 'high', created_at, updated_at, updated_at
             FROM tickets LIMIT 1",
        )
        .await
        .unwrap();
    assert_entries_match(&database).await;

    // The migrations add the entries of tickets that are older.
    server.migrate_again("2026-11-27-000112_queue_entries").await;
    server.migrate_again("2026-11-27-000113_queue_old_tickets").await;
    assert_entries_match(&database).await;
    server.stop().await;
}

/// The largest number of pages that a list has here.
const PAGES: usize = 20;

#[tokio::test(flavor = "multi_thread")]
async fn pages_of_the_longest_wait_continue_with_tickets_that_do_not_wait() {
    let server = TestServer::start().await;
    let (anna, marta) = (server.customer("Anna").await, server.agent("Marta").await);
    let (mut waiting, mut others) = (Vec::new(), Vec::new());
    for n in 0..7 {
        server.clock.advance(chrono::TimeDelta::minutes(1));
        let ticket = anna.create_ticket(&format!("ticket {n}")).await;
        if n % 2 == 0 {
            waiting.push(ticket.id.clone());
        } else {
            marta.comment(&ticket, "on it").await;
            others.push(ticket.id.clone());
        }
    }
    for direction in ["ASC", "DESC"] {
        let order = json!({ "field": "WAITING_SINCE", "direction": direction });
        let reversed = |ids: &[String]| ids.iter().rev().cloned().collect::<Vec<_>>();
        let ordered = |ids: &[String]| match direction {
            "ASC" => ids.to_vec(),
            _ => reversed(ids),
        };
        let expected = [ordered(&waiting), ordered(&others)].concat();
        let statuses = |statuses: &[&str]| json!({ "status": statuses });
        for (filter, expected) in [
            (json!(null), &expected),
            (json!({ "categoryIds": [TECHNICAL_SUPPORT] }), &expected),
            (statuses(&["WORKING_ON_IT", "WAITING_FOR_SUPPORT"]), &expected),
            (statuses(&["WAITING_FOR_SUPPORT"]), &ordered(&waiting)),
            (statuses(&["WORKING_ON_IT", "CLOSED"]), &ordered(&others)),
            (statuses(&["CLOSED"]), &vec![]),
            (json!({ "waitingSince": "2100-01-01T00:00:00Z" }), &ordered(&waiting)),
            (json!({ "waitingSince": "2100-01-01T00:00:00Z", "status": ["CLOSED"] }), &vec![]),
        ] {
            for from in ["first", "last"] {
                let found = pages(&marta, &filter, &order, (from, 2)).await;
                let ids = found.iter().map(|it| it["id"].as_str().unwrap()).collect::<Vec<_>>();
                assert_eq!(&ids, expected, "{direction} {from} {filter}");
            }
        }
    }
    server.stop().await;
}

/// The priorities, lowest first.
const PRIORITIES: [&str; 5] = ["LOWEST", "LOW", "MEDIUM", "HIGH", "HIGHEST"];

#[tokio::test(flavor = "multi_thread")]
async fn lists_by_creation_and_priority_select_as_the_other_lists_do() {
    let server = TestServer::start().await;
    let (anna, marta) = (server.customer("Anna").await, server.agent("Marta").await);
    let marta_id = marta.account_id().await;
    let statuses =
        ["WAITING_FOR_SUPPORT", "WORKING_ON_IT", "WAITING_FOR_CUSTOMER", "RESOLVED", "CLOSED"];
    let mut tickets = Vec::new();
    for status in statuses {
        for assignee in [json!(marta_id), Value::Null] {
            tickets.push((anna.create_ticket(status).await, status, assignee));
        }
    }
    // They change in another order than they were created in.
    for ((ticket, status, assignee), priority) in
        tickets.iter().rev().zip(PRIORITIES.iter().cycle())
    {
        let mut changes = json!({ "assigneeId": assignee, "priority": priority });
        if *status != statuses[0] {
            changes["status"] = json!(status);
        }
        marta.update(ticket, changes).await;
    }
    let mut filters = vec![json!({ "categoryIds": [TECHNICAL_SUPPORT] }), json!({})];
    for assignee in [json!(marta_id), Value::Null] {
        filters.push(json!({ "assigneeId": assignee }));
        filters.push(json!({ "assigneeId": assignee, "status": statuses[3..] }));
    }
    for few in [&statuses[..3], &statuses[..1], &statuses[3..], &statuses[4..], &statuses] {
        filters.push(json!({ "status": few }));
    }
    for filter in &filters {
        let order = json!({ "field": "UPDATED_AT", "direction": "ASC" });
        let mut expected = pages(&marta, filter, &order, ("first", 3)).await;
        assert!(!expected.is_empty(), "{filter}");
        for field in ["CREATED_AT", "PRIORITY"] {
            let rank = |ticket: &Value| match field {
                "PRIORITY" => PRIORITIES.iter().position(|it| ticket["priority"] == *it),
                _ => None,
            };
            let place = |it: &Value| tickets.iter().position(|(ticket, ..)| it["id"] == ticket.id);
            // Ids rise in the order of creation.
            expected.sort_by_cached_key(|it| (rank(it), place(it)));
            for direction in ["ASC", "DESC"] {
                let order = json!({ "field": field, "direction": direction });
                for from in ["first", "last"] {
                    let found = pages(&marta, filter, &order, (from, 3)).await;
                    assert_eq!(found, expected, "{order} {from} {filter}");
                }
                expected.reverse();
            }
        }
    }
    server.stop().await;
}

/// Reads all tickets of a list in pages of a size, from its beginning (`first`) or its end (`last`).
async fn pages(
    client: &Client,
    filter: &Value,
    order: &Value,
    (from, size): (&str, usize),
) -> Vec<Value> {
    let query = "query($filter: TicketFilterInput, $order: TicketOrder, $first: Int, $last: Int,
                       $after: String, $before: String) {
        tickets(orderBy: $order, filter: $filter, first: $first, last: $last, after: $after,
                before: $before) {
            nodes { id priority }
            pageInfo { startCursor endCursor hasNextPage hasPreviousPage } } }";
    let mut variables = json!({ "filter": filter, "order": order, from: size });
    let mut all = Vec::new();
    for _ in 0..PAGES {
        let page = client.ok(query, variables.clone()).await["tickets"].clone();
        let nodes = page["nodes"].as_array().unwrap();
        let info = &page["pageInfo"];
        let more = if from == "first" {
            all.extend_from_slice(nodes);
            variables["after"] = info["endCursor"].clone();
            &info["hasNextPage"]
        } else {
            all.splice(0..0, nodes.iter().cloned());
            variables["before"] = info["startCursor"].clone();
            &info["hasPreviousPage"]
        };
        if more == false {
            return all;
        }
    }
    panic!("{order} has more than {PAGES} pages");
}

/// What a list of staff shows of a ticket.
const SHOWN: &str = "id summary description status priority version updatedAt waitingSince
    category { id } assignee { name } reporter { name } participants { name }
    lastComment { body } isUnread";

#[tokio::test(flavor = "multi_thread")]
async fn a_list_shows_no_ticket_as_it_was() {
    let server = TestServer::start().await;
    let (anna, marta) = (server.customer("Anna").await, server.agent("Marta").await);
    let ada = server.sign_up("Ada", Role::Admin).await;
    let marta_id = marta.account_id().await;
    let node = server.second_node().await;
    let other = marta.at(&node.address().to_string());
    let ticket = anna.create_ticket("one").await;
    let second = anna.create_ticket("two").await;
    let list = format!(
        "query($sort: TicketOrderField!) {{
            tickets(orderBy: {{ field: $sort }}) {{ nodes {{ {SHOWN} }} }} }}"
    );
    let one = format!("query($id: ID!) {{ node(id: $id) {{ ... on Ticket {{ {SHOWN} }} }} }}");
    let assert_fresh = async |after: &str| {
        for sort in ["UPDATED_AT", "WAITING_SINCE"] {
            let listed = other.ok(&list, json!({ "sort": sort })).await;
            let listed = listed["tickets"]["nodes"].as_array().unwrap();
            assert_eq!(listed.len(), 2, "{after}");
            for shown in listed {
                let read = marta.ok(&one, json!({ "id": shown["id"] })).await;
                assert_eq!(*shown, read["node"], "{after}, by {sort}");
            }
        }
    };
    assert_fresh("opening").await;
    for changes in [
        json!({ "categoryId": SALES }),
        json!({ "priority": "HIGHEST" }),
        json!({ "assigneeId": marta_id }),
        json!({ "summary": "another one" }),
        json!({ "status": "WAITING_FOR_CUSTOMER" }),
    ] {
        marta.update(&ticket, changes.clone()).await;
        assert_fresh(&changes.to_string()).await;
    }
    marta.note(&ticket, "between us").await;
    assert_fresh("a note").await;
    anna.comment(&ticket, "thanks").await;
    assert_fresh("a comment").await;
    for text in ["DESCRIPTION", "SUMMARY"] {
        let redact = "mutation($id: ID!, $text: TicketText!) {
            redactTicket(input: { ticketId: $id, text: $text }) { userErrors { code } } }";
        marta.ok(redact, json!({ "id": ticket.id, "text": text })).await;
        assert_fresh(text).await;
    }
    let rename = "mutation($id: ID!) { updateAccount(input: { id: $id, name: \"Anna B.\" }) {
        userErrors { message } } }";
    let renamed = ada.ok(rename, json!({ "id": anna.account_id().await })).await;
    assert_eq!(renamed["updateAccount"]["userErrors"], json!([]));
    assert_fresh("a new name").await;
    let merge = "mutation($input: MergeTicketInput!) { mergeTicket(input: $input) {
        userErrors { message } } }";
    marta.ok(merge, json!({ "input": { "ticketId": second.id, "intoId": ticket.id } })).await;
    assert_fresh("merging").await;
    node.stop().await;
    server.stop().await;
}
