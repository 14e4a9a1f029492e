//! Saved views of the queue: personal and shared, what they show to whom, and their counts.

use serde_json::{Value, json};
use ticketwire::domain::{account::Role, service_token::Scope};

use crate::harness::{
    Client, TestServer,
    client::{Reply, SALES, TECHNICAL_SUPPORT},
};

const FILTER: &str = "filter { status priority categoryIds assigneeId isUnassigned isAssignedToMe
    reporterId waitingSince text isUnread }";

/// Sends a mutation: its first word is `verb`.
async fn send(client: &Client, verb: &str, input: Value) -> Reply {
    let (first, rest) = verb.split_at(1);
    let (name, kind) = (format!("{verb}SavedView"), first.to_uppercase() + rest);
    let document = format!(
        "mutation($input: {kind}SavedViewInput!) {{ {name}(input: $input) {{
            savedView {{ id name isShared isRetired orderBy {{ field direction }} owner {{ name }} {FILTER} }}
            userErrors {{ field code message }} }} }}"
    );
    client.send(&document, json!({ "input": input })).await
}

/// Sends a mutation that must succeed; returns the view.
async fn succeed(client: &Client, verb: &str, input: Value) -> Value {
    let reply = send(client, verb, input).await;
    let name = format!("{verb}SavedView");
    assert_eq!(reply.user_errors(&name), [] as [&str; 0], "{}", reply.body);
    reply.at(&format!("/data/{name}/savedView")).clone()
}

async fn save(client: &Client, name: &str, shared: bool, filter: Value) -> Value {
    succeed(client, "create", json!({ "name": name, "isShared": shared, "filter": filter })).await
}

async fn order(client: &Client, ids: &[&Value]) -> Reply {
    let document = "mutation($ids: [ID!]!) { orderSavedViews(input: { ids: $ids }) {
        savedViews { name } userErrors { field code message } } }";
    client.send(document, json!({ "ids": ids })).await
}

async fn names(client: &Client, arguments: &str) -> Vec<String> {
    let data = client.ok(&format!("{{ savedViews{arguments} {{ name }} }}"), json!({})).await;
    let all = data["savedViews"].as_array().unwrap().iter();
    all.map(|view| view["name"].as_str().unwrap().to_owned()).collect()
}

async fn counts(client: &Client) -> Vec<(String, i64)> {
    let data = client.ok("{ savedViews { name ticketCount } }", json!({})).await;
    let all = data["savedViews"].as_array().unwrap().iter();
    let count = |view: &Value| {
        (view["name"].as_str().unwrap().to_owned(), view["ticketCount"].as_i64().unwrap())
    };
    all.map(count).collect()
}

fn named(counts: &[(&str, i64)]) -> Vec<(String, i64)> {
    counts.iter().map(|&(name, count)| (name.to_owned(), count)).collect()
}

#[tokio::test(flavor = "multi_thread")]
async fn staff_see_shared_views_and_their_own_in_their_order() {
    let server = TestServer::start().await;
    let (marta, oleg) = (server.agent("Marta").await, server.agent("Oleg").await);
    let ilya = server.sign_up("Ilya", Role::Admin).await;
    let all = save(&ilya, "all", true, json!({})).await;
    let urgent = save(&ilya, "urgent", true, json!({ "priority": ["HIGHEST", "HIGH"] })).await;
    let input = json!({ "name": " mine ", "filter": { "isAssignedToMe": true }, "idempotencyKey": "1",
        "orderBy": { "field": "WAITING_SINCE", "direction": "ASC" } });
    let mine = succeed(&marta, "create", input.clone()).await;
    assert_eq!(succeed(&marta, "create", input).await["id"], mine["id"]);
    assert_eq!(
        (&mine["name"], &mine["orderBy"], &mine["owner"]["name"], &mine["isShared"]),
        (
            &json!("mine"),
            &json!({ "field": "WAITING_SINCE", "direction": "ASC" }),
            &json!("Marta"),
            &json!(false)
        )
    );
    assert_eq!(all["orderBy"], json!({ "field": "CREATED_AT", "direction": "DESC" }));
    let other = save(&marta, "other", false, json!({})).await;
    save(&oleg, "Oleg's", false, json!({})).await;
    assert_eq!(names(&marta, "").await, ["all", "urgent", "mine", "other"]);
    assert_eq!(names(&oleg, "").await, ["all", "urgent", "Oleg's"]);

    order(&marta, &[&other["id"], &mine["id"]]).await;
    let reply = order(&ilya, &[&urgent["id"], &all["id"]]).await;
    let ordered = json!([{ "name": "urgent" }, { "name": "all" }]);
    assert_eq!(reply.at("/data/orderSavedViews/savedViews"), &ordered);
    assert_eq!(names(&marta, "").await, ["urgent", "all", "other", "mine"]);
    succeed(&ilya, "retire", json!({ "id": urgent["id"] })).await;
    succeed(&marta, "retire", json!({ "id": other["id"] })).await;
    assert_eq!(names(&marta, "").await, ["all", "mine"]);
    let with_retired = "(includeRetired: true)";
    assert_eq!(names(&marta, with_retired).await, ["all", "urgent", "mine", "other"]);
    succeed(&ilya, "restore", json!({ "id": urgent["id"] })).await;
    succeed(&marta, "restore", json!({ "id": other["id"] })).await;
    assert_eq!(names(&oleg, "").await, ["all", "urgent", "Oleg's"]);

    let changes = json!({ "id": mine["id"], "name": "Mine", "filter": { "text": "disk" } });
    let changed = succeed(&marta, "update", changes).await;
    assert_eq!((&changed["name"], &changed["orderBy"]), (&json!("Mine"), &mine["orderBy"]));
    assert_eq!(
        (&changed["filter"]["text"], &changed["filter"]["isAssignedToMe"]),
        (&json!("disk"), &Value::Null)
    );

    let trail = "query($id: ID!) { accountEvents(accountId: $id, first: 5) { nodes { kind savedViewId } } }";
    let trail = ilya.ok(trail, json!({ "id": ilya.account_id().await })).await;
    let event = |kind: &str, id: &Value| json!({ "kind": kind, "savedViewId": id });
    assert_eq!(
        trail["accountEvents"]["nodes"],
        json!([
            event("SAVED_VIEW_RESTORED", &urgent["id"]),
            event("SAVED_VIEW_RETIRED", &urgent["id"]),
            event("SAVED_VIEWS_ORDERED", &Value::Null),
            event("SAVED_VIEW_CREATED", &urgent["id"]),
            event("SAVED_VIEW_CREATED", &all["id"]),
        ])
    );
    server.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_view_shows_the_filter_that_was_saved_and_names_retired_categories() {
    let server = TestServer::start().await;
    let (marta, anna) = (server.agent("Marta").await, server.customer("Anna").await);
    let ilya = server.sign_up("Ilya", Role::Admin).await;
    let (marta_id, anna_id) = (marta.account_id().await, anna.account_id().await);
    let filter = json!({
        "status": ["WORKING_ON_IT", "RESOLVED", "WORKING_ON_IT"], "priority": ["LOW"],
        "categoryIds": [SALES, TECHNICAL_SUPPORT], "assigneeId": marta_id, "isAssignedToMe": true,
        "reporterId": anna_id, "waitingSince": "2026-01-01T10:00:00Z", "text": "disk", "isUnread": false,
    });
    let mut expected = filter.clone();
    expected["status"] = json!(["WORKING_ON_IT", "RESOLVED"]);
    expected["isUnassigned"] = json!(false);
    expected["waitingSince"] = json!("2026-01-01T10:00:00+00:00");
    let view = save(&marta, "all", false, filter).await;
    assert_eq!(view["filter"], expected);
    let nobody = save(&marta, "nobody", false, json!({ "assigneeId": null, "status": [] })).await;
    assert_eq!(
        (
            &nobody["filter"]["isUnassigned"],
            &nobody["filter"]["assigneeId"],
            &nobody["filter"]["status"]
        ),
        (&json!(true), &Value::Null, &json!([]))
    );

    let shown =
        "query($id: ID!) { node(id: $id) { ... on SavedView { hasRetiredCategory ticketCount
        filter { categories { slug isRetired } assignee { name } reporter { name } } } } }";
    let before = marta.ok(shown, json!({ "id": view["id"] })).await;
    assert_eq!(before["node"]["hasRetiredCategory"], false);
    let retire =
        "mutation($id: ID!) { retireCategory(input: { id: $id }) { userErrors { code } } }";
    ilya.ok(retire, json!({ "id": SALES })).await;
    let after = marta.ok(shown, json!({ "id": view["id"] })).await;
    assert_eq!(
        after["node"],
        json!({ "hasRetiredCategory": true, "ticketCount": 0, "filter": {
            "categories": [{ "slug": "sales", "isRetired": true }, { "slug": "technical-support", "isRetired": false }],
            "assignee": { "name": "Marta" }, "reporter": { "name": "Anna" } } })
    );
    // A retired category keeps its tickets, so a view of it can still be saved.
    save(&marta, "retired", false, json!({ "categoryIds": [SALES] })).await;
    server.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_view_of_ones_own_tickets_means_who_reads_it() {
    let server = TestServer::start_logged().await;
    let (marta, oleg) = (server.agent("Marta").await, server.agent("Oleg").await);
    let (ilya, anna) = (server.sign_up("Ilya", Role::Admin).await, server.customer("Anna").await);
    let tickets = [
        anna.create_ticket("one disk").await,
        anna.create_ticket("two").await,
        anna.create_ticket("three").await,
        anna.create_ticket("four").await,
    ];
    for (ticket, agent) in tickets.iter().zip([&marta, &marta, &oleg]) {
        agent.update(ticket, json!({ "assigneeId": agent.account_id().await })).await;
    }
    save(&ilya, "mine", true, json!({ "isAssignedToMe": true })).await;
    assert_eq!(counts(&marta).await, named(&[("mine", 2)]));
    let one = server.statements_of(async || drop(counts(&marta).await)).await.len();
    save(&ilya, "others'", true, json!({ "isAssignedToMe": false })).await;
    save(&ilya, "nobody's", true, json!({ "assigneeId": null })).await;
    save(&ilya, "unread", true, json!({ "isAssignedToMe": true, "isUnread": true })).await;
    save(&ilya, "words", true, json!({ "text": "disk" })).await;
    save(&ilya, "none", true, json!({ "status": [] })).await;
    save(&marta, "sales", false, json!({ "categoryIds": [SALES] })).await;
    let shared = |mine, others, unread| {
        named(&[
            ("mine", mine),
            ("others'", others),
            ("nobody's", 1),
            ("unread", unread),
            ("words", 1),
            ("none", 0),
        ])
    };
    server.quiet().await;
    let mut martas = shared(2, 2, 2);
    martas.push(("sales".to_owned(), 0));
    assert_eq!(counts(&marta).await, martas);
    assert_eq!(counts(&oleg).await, shared(1, 3, 1));
    assert_eq!(counts(&ilya).await, shared(0, 4, 0));
    let read =
        "mutation($id: ID!) { markTicketRead(input: { ticketId: $id }) { userErrors { code } } }";
    oleg.ok(read, json!({ "id": tickets[2].id })).await;
    assert_eq!(counts(&oleg).await, shared(1, 3, 0));
    // All views of an answer are counted together.
    let seven = server.statements_of(async || drop(counts(&marta).await)).await.len();
    assert_eq!(seven, one);

    // The same filter is one of lists and of streams.
    let list = "query($filter: TicketFilterInput) { tickets(filter: $filter, orderBy: { field: CREATED_AT, direction: ASC }) {
        nodes { summary } } ticketCounts(filter: $filter) { total } }";
    for (filter, summaries) in [
        (json!({ "isAssignedToMe": true }), vec!["one disk", "two"]),
        (json!({ "isAssignedToMe": false }), vec!["three", "four"]),
        (json!({ "isAssignedToMe": true, "assigneeId": null }), vec![]),
        (json!({ "isAssignedToMe": false, "assigneeId": oleg.account_id().await }), vec!["three"]),
    ] {
        let found = marta.ok(list, json!({ "filter": filter })).await;
        let expected = summaries.iter().map(|it| json!({ "summary": it })).collect::<Vec<_>>();
        assert_eq!(found["tickets"]["nodes"], json!(expected), "{filter}");
        assert_eq!(found["ticketCounts"]["total"], summaries.len(), "{filter}");
    }
    let stream = "subscription { queueEvents(filter: { isAssignedToMe: true }) {
        ... on TicketEvent { ticket { summary } } } }";
    let mut streams = Vec::new();
    for client in [&marta, &oleg] {
        let mut socket = client.socket().await;
        socket.subscribe("1", stream, json!({})).await;
        streams.push(socket);
    }
    server.quiet().await;
    anna.comment(&tickets[2], "And now?").await;
    anna.comment(&tickets[1], "Hello?").await;
    let summary = |item: Value| item["ticket"]["summary"].as_str().map(ToOwned::to_owned);
    for (socket, expected) in streams.iter_mut().zip(["two", "three"]) {
        let first = loop {
            if let Some(summary) = summary(socket.item().await) {
                break summary;
            }
        };
        assert_eq!(first, expected);
    }
    server.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_view_counts_at_most_ten_thousand_tickets() {
    let server = TestServer::start_with(&[("limits.search_seconds", "30".to_owned())]).await;
    let (marta, anna) = (server.agent("Marta").await, server.customer("Anna").await);
    anna.create_ticket("one").await;
    let fill = "INSERT INTO tickets (id, number, category_id, reporter_id, summary, description,
            status, priority, created_at, updated_at)
        SELECT gen_random_uuid(), 900000 + n, t.category_id, t.reporter_id, 'x', 'x',
            CASE WHEN n <= 9999 THEN t.status ELSE 'closed' END, t.priority, t.created_at, t.updated_at
        FROM tickets t, generate_series(1, 10020) n";
    server.database.connect().await.execute(fill, &[]).await.unwrap();
    save(&marta, "all", false, json!({})).await;
    save(&marta, "waiting", false, json!({ "status": ["WAITING_FOR_SUPPORT"] })).await;
    save(&marta, "closed", false, json!({ "status": ["CLOSED"] })).await;
    let expected = named(&[("all", 10_000), ("waiting", 10_000), ("closed", 21)]);
    assert_eq!(counts(&marta).await, expected);
    server.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_view_that_a_newer_version_has_saved_is_shown_and_not_damaged() {
    let server = TestServer::start().await;
    let (marta, anna) = (server.agent("Marta").await, server.customer("Anna").await);
    anna.create_ticket("one").await;
    let filter = json!({ "status": ["WAITING_FOR_SUPPORT"], "priority": ["MEDIUM"] });
    let view = save(&marta, "newer", false, filter).await;
    let newer = "UPDATE saved_views SET sort = 'mood', filter = filter
        || '{\"language\": [\"en\"], \"statuses\": [\"waiting_for_support\", \"on_hold\"], \"assignee\": {\"team\": 7}}'";
    let database = server.database.connect().await;
    database.execute(newer, &[]).await.unwrap();
    let renamed = succeed(&marta, "update", json!({ "id": view["id"], "name": "Newer" })).await;
    assert_eq!(renamed["filter"], view["filter"]);
    assert_eq!(renamed["orderBy"]["field"], "CREATED_AT");
    assert_eq!(counts(&marta).await, named(&[("Newer", 1)]));
    let stored =
        "SELECT sort || (filter ->> 'language') || (filter ->> 'assignee') FROM saved_views";
    let row = database.query_one(stored, &[]).await.unwrap();
    assert_eq!(row.get::<_, String>(0), "mood[\"en\"]{\"team\": 7}");
    server.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn views_refuse_invalid_input_and_strangers() {
    let server = TestServer::start().await;
    let (marta, oleg) = (server.agent("Marta").await, server.agent("Oleg").await);
    let ilya = server.sign_up("Ilya", Role::Admin).await;
    let shared = save(&ilya, "shared", true, json!({})).await;
    let mine = save(&marta, "mine", false, json!({})).await;
    let outsiders = [
        (server.anonymous(), "UNAUTHENTICATED"),
        (server.customer("Anna").await, "FORBIDDEN"),
        (server.machine(&Scope::ALL).await, "FORBIDDEN"),
    ];
    let before = server.content().await;
    let long = format!("[CS-234567] {}", "x".repeat(20_000));
    for (name, filter, code, part) in [
        ("", json!({}), "REQUIRED", "The name"),
        ("x", json!({ "categoryIds": ["garbage"] }), "NOT_FOUND", "a category"),
        ("x", json!({ "categoryIds": vec![SALES; 101] }), "TOO_MANY", "101 categories"),
        ("x", json!({ "assigneeId": "garbage" }), "NOT_FOUND", "an account"),
        ("x", json!({ "reporterId": SALES }), "NOT_FOUND", "an account"),
        ("x", json!({ "text": " " }), "INVALID", "The text must not be empty."),
        // A search would look for the number only.
        ("x", json!({ "text": "[CS-234567]\n\0" }), "INVALID", "has a line break"),
        ("x", json!({ "text": "[CS-234567]\n\u{202e}x" }), "INVALID", "has a line break"),
        ("x", json!({ "text": long }), "INVALID", "at most 255 characters"),
        ("x", json!({ "isUnread": true }), "INVALID", "`isAssignedToMe: true`"),
        ("x", json!({ "isUnread": true, "assigneeId": null }), "INVALID", "`isAssignedToMe: true`"),
    ] {
        for (verb, id) in [("create", None), ("update", Some(&mine["id"]))] {
            let mut input = json!({ "name": name, "filter": filter });
            if let Some(id) = id {
                input["id"] = id.clone();
            }
            let reply = send(&marta, verb, input).await;
            assert_eq!(reply.user_errors(&format!("{verb}SavedView")), [code], "{}", reply.body);
            let message = reply.at(&format!("/data/{verb}SavedView/userErrors/0/message"));
            assert!(message.as_str().unwrap().contains(part), "{message}");
        }
    }
    for (client, code) in &outsiders {
        for verb in ["create", "update", "retire", "restore"] {
            let input = match verb {
                "create" => json!({ "name": "a", "filter": {} }),
                _ => json!({ "id": shared["id"] }),
            };
            assert_eq!(send(client, verb, input).await.code(), *code, "{verb}");
        }
        assert_eq!(order(client, &[&shared["id"]]).await.code(), *code);
        assert_eq!(client.send("{ savedViews { id } }", json!({})).await.code(), *code);
    }
    let node = "query($ids: [ID!]!) { nodes(ids: $ids) { ... on SavedView { name ticketCount } } }";
    let ids = json!({ "ids": [shared["id"], mine["id"]] });
    assert_eq!(outsiders[1].0.ok(node, ids.clone()).await["nodes"], json!([null, null]));
    let seen = json!([{ "name": "shared", "ticketCount": 0 }, null]);
    assert_eq!(oleg.ok(node, ids).await["nodes"], seen);
    for verb in ["update", "retire", "restore"] {
        let (mine, shared) = (json!({ "id": mine["id"] }), json!({ "id": shared["id"] }));
        assert_eq!(send(&ilya, verb, mine).await.code(), "NOT_FOUND", "{verb}");
        assert_eq!(send(&marta, verb, shared).await.code(), "FORBIDDEN", "{verb}");
    }
    let new = json!({ "name": "a", "filter": {}, "isShared": true });
    assert_eq!(send(&marta, "create", new).await.code(), "FORBIDDEN");
    assert_eq!(order(&marta, &[&shared["id"]]).await.code(), "FORBIDDEN");
    let mixed = order(&marta, &[&mine["id"], &shared["id"]]).await;
    assert_eq!(mixed.user_errors("orderSavedViews"), ["NOT_FOUND"]);
    assert_eq!(server.content().await, before);

    let fill = "INSERT INTO saved_views (id, account_id, name, filter, sort, descending, position, created_at, updated_at)
        SELECT gen_random_uuid(), account_id, name, filter, sort, descending, n, created_at, updated_at
        FROM saved_views, generate_series(2, 50) n";
    server.database.connect().await.execute(fill, &[]).await.unwrap();
    for (client, shared) in [(&marta, false), (&ilya, true)] {
        let input = json!({ "name": "more", "filter": {}, "isShared": shared });
        let reply = send(client, "create", input).await;
        assert_eq!(reply.user_errors("createSavedView"), ["TOO_MANY"]);
    }
    server.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn the_tickets_of_a_view_whose_text_is_no_search_any_more_are_not_counted() {
    let server = TestServer::start().await;
    let (anna, marta) = (server.customer("Anna").await, server.agent("Marta").await);
    anna.create_ticket("Disk full").await;
    save(&marta, "words", false, json!({ "text": "disk" })).await;
    save(&marta, "all", false, json!({})).await;
    let outdate =
        "UPDATE saved_views SET filter = jsonb_set(filter, '{text}', to_jsonb(repeat('disk ', 30)))
        WHERE name = 'words'";
    server.database.connect().await.execute(outdate, &[]).await.unwrap();
    let data = marta.ok("{ savedViews { name ticketCount } }", json!({})).await;
    let expected =
        json!([{ "name": "words", "ticketCount": null }, { "name": "all", "ticketCount": 1 }]);
    assert_eq!(data["savedViews"], expected);
    server.stop().await;
}
