//! Tickets: opening, listing and changing them.

use base64::{Engine as _, engine::general_purpose::URL_SAFE_NO_PAD};
use serde_json::{Value, json};

use ticketwire::domain::account::Role;

use crate::{
    harness::{
        Client, TestServer,
        client::{SALES, TECHNICAL_SUPPORT, Ticket},
        mail::MailFixture,
    },
    writes::until_waiting,
};

const LIST: &str = "query($first: Int, $after: String, $last: Int, $before: String, $filter: TicketFilterInput, $order: TicketOrder) {
    tickets(first: $first, after: $after, last: $last, before: $before, filter: $filter, orderBy: $order) {
        nodes { summary } edges { cursor } pageInfo { hasNextPage hasPreviousPage startCursor endCursor } } }";

async fn list(client: &Client, variables: Value) -> (Vec<String>, Value) {
    let data = client.ok(LIST, variables).await;
    let nodes = data["tickets"]["nodes"].as_array().unwrap();
    let summaries = nodes.iter().map(|node| node["summary"].as_str().unwrap().to_owned()).collect();
    (summaries, data["tickets"]["pageInfo"].clone())
}

#[tokio::test(flavor = "multi_thread")]
async fn a_new_ticket_waits_for_support() {
    let server = TestServer::start().await;
    let anna = server.customer("Anna").await;
    let input = json!({ "categoryId": SALES, "summary": "  A bigger plan ", "description": "Which one?\r\nThanks" });
    let document = "mutation($input: CreateTicketInput!) { createTicket(input: $input) { ticket {
        number summary description status statusName(locale: RU) priority version category { slug name(locale: RU) }
        reporter { name } assignee { name } createdAt updatedAt } userErrors { code } } }";
    let ticket =
        anna.ok(document, json!({ "input": input })).await["createTicket"]["ticket"].clone();
    assert_eq!(ticket["createdAt"], ticket["updatedAt"]);
    let expected = json!({
        "number": "CS-100001", "summary": "A bigger plan", "description": "Which one?\nThanks",
        "status": "WAITING_FOR_SUPPORT", "statusName": "Ожидает поддержки", "priority": "MEDIUM", "version": 1,
        "category": { "slug": "sales", "name": "Отдел продаж" }, "reporter": { "name": "Anna" }, "assignee": null,
        "createdAt": ticket["createdAt"], "updatedAt": ticket["updatedAt"],
    });
    assert_eq!(ticket, expected);
    assert_eq!(anna.create_ticket("Next").await.number, "CS-100002");
    let found = anna.ok("{ ticket(number: \" cs-100002 \") { summary } }", json!({})).await;
    assert_eq!(found["ticket"]["summary"], "Next");
    server.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn customers_list_their_own_tickets_and_staff_list_all() {
    let server = TestServer::start().await;
    let (anna, jonas, marta) = (
        server.customer("Anna").await,
        server.customer("Jonas").await,
        server.agent("Marta").await,
    );
    anna.create_ticket("one").await;
    jonas.create_ticket("two").await;
    anna.create_ticket("three").await;
    assert_eq!(list(&anna, json!({})).await.0, ["three", "one"]);
    assert_eq!(list(&jonas, json!({})).await.0, ["two"]);
    assert_eq!(list(&marta, json!({})).await.0, ["three", "two", "one"]);
    server.stop().await;
}

/// Reads a whole list from its start in pages of three.
async fn forward(client: &Client, order: &Value, filter: &Value) -> Vec<String> {
    let (mut all, mut after) = (Vec::new(), Value::Null);
    loop {
        let page = json!({ "first": 3, "after": after, "order": order, "filter": filter });
        let (page, info) = list(client, page).await;
        assert_eq!(info["hasPreviousPage"], !after.is_null());
        all.extend(page);
        after = info["endCursor"].clone();
        if info["hasNextPage"] == false {
            return all;
        }
    }
}

/// Reads a whole list from its end in pages of three.
async fn backward(client: &Client, order: &Value, filter: &Value) -> Vec<String> {
    let (mut all, mut before) = (Vec::new(), Value::Null);
    loop {
        let page = json!({ "last": 3, "before": before, "order": order, "filter": filter });
        let (page, info) = list(client, page).await;
        assert_eq!(info["hasNextPage"], !before.is_null());
        all.splice(0..0, page);
        before = info["startCursor"].clone();
        if info["hasPreviousPage"] == false {
            return all;
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn pages_of_tickets_join_without_gap_or_overlap_in_every_order() {
    let server = TestServer::start().await;
    let (anna, marta) = (server.customer("Anna").await, server.agent("Marta").await);
    let priorities = ["HIGH", "LOW", "HIGH", "LOWEST", "HIGHEST", "LOW", "MEDIUM"];
    let mut tickets = Vec::new();
    for (n, priority) in priorities.iter().enumerate() {
        let ticket = anna.create_ticket(&format!("t{n}")).await;
        tickets.push(marta.update(&ticket, json!({ "priority": priority })).await);
    }
    for n in [1, 3, 4] {
        marta.update(&tickets[n], json!({ "status": "WORKING_ON_IT" })).await;
    }
    // A filter that matches all tickets.
    let states = json!({ "status": ["WORKING_ON_IT", "WAITING_FOR_SUPPORT", "WORKING_ON_IT"],
        "categoryIds": [SALES, TECHNICAL_SUPPORT, SALES] });
    for field in ["CREATED_AT", "UPDATED_AT", "PRIORITY", "WAITING_SINCE"] {
        for direction in ["ASC", "DESC"] {
            let order = json!({ "field": field, "direction": direction });
            let (all, _) = list(&anna, json!({ "order": order })).await;
            assert_eq!(all.len(), 7);
            for (client, filter) in
                [(&anna, json!({})), (&anna, states.clone()), (&marta, states.clone())]
            {
                assert_eq!(forward(client, &order, &filter).await, all, "{order} {filter}");
                assert_eq!(backward(client, &order, &filter).await, all, "{order} {filter}");
            }
        }
    }
    // With both cursors, the flag in the direction of reading is about what is between them.
    for (size, to, cursor, more) in [
        ("first", "before", "endCursor", "hasNextPage"),
        ("last", "after", "startCursor", "hasPreviousPage"),
    ] {
        let (_, ends) = list(&anna, json!({ size: 3 })).await;
        let (page, info) = list(&anna, json!({ size: 3, to: ends[cursor] })).await;
        assert_eq!((page.len(), &info[more]), (2, &json!(false)), "{size}");
    }
    let by_priority = json!({ "order": { "field": "PRIORITY" } });
    assert_eq!(list(&anna, by_priority).await.0, ["t4", "t2", "t0", "t6", "t5", "t1", "t3"]);
    // Waiting tickets come first in either direction.
    let waiting = json!({ "order": { "field": "WAITING_SINCE", "direction": "ASC" } });
    assert_eq!(list(&anna, waiting).await.0, ["t0", "t2", "t5", "t6", "t1", "t3", "t4"]);
    let waiting = json!({ "order": { "field": "WAITING_SINCE", "direction": "DESC" } });
    assert_eq!(list(&anna, waiting).await.0, ["t6", "t5", "t2", "t0", "t4", "t3", "t1"]);
    assert_eq!(list(&anna, json!({ "first": 0 })).await.0, [] as [&str; 0]);
    server.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_filter_narrows_the_ticket_list_and_never_widens_it() {
    let server = TestServer::start().await;
    let (anna, jonas, marta) = (
        server.customer("Anna").await,
        server.customer("Jonas").await,
        server.agent("Marta").await,
    );
    let one = anna.create_ticket("one").await;
    let two = anna.create_ticket("two").await;
    let three = jonas.create_ticket("three").await;
    let (marta_id, jonas_id) = (marta.account_id().await, jonas.account_id().await);
    marta.update(&one, json!({ "status": "RESOLVED", "assigneeId": marta_id })).await;
    marta.update(&two, json!({ "priority": "HIGH", "categoryId": SALES })).await;
    let filtered = async |filter| list(&marta, json!({ "filter": filter })).await.0;
    assert_eq!(filtered(json!({ "status": ["RESOLVED", "CLOSED"] })).await, ["one"]);
    assert_eq!(filtered(json!({ "status": [] })).await, [] as [&str; 0]);
    assert_eq!(filtered(json!({ "priority": ["HIGH"] })).await, ["two"]);
    assert_eq!(filtered(json!({ "categoryIds": [SALES] })).await, ["two"]);
    assert_eq!(
        filtered(json!({ "categoryIds": [TECHNICAL_SUPPORT], "status": ["WAITING_FOR_SUPPORT"] }))
            .await,
        ["three"]
    );
    assert_eq!(filtered(json!({ "assigneeId": marta_id })).await, ["one"]);
    assert_eq!(filtered(json!({ "assigneeId": null })).await, ["three", "two"]);
    assert_eq!(filtered(json!({ "reporterId": jonas_id })).await, ["three"]);
    assert_eq!(filtered(json!({ "reporterId": three.id })).await, [] as [&str; 0]);
    // A filter never shows tickets that the caller may not see.
    let (others, _) = list(&anna, json!({ "filter": { "reporterId": jonas_id } })).await;
    assert_eq!(others, [] as [&str; 0]);
    server.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn cursors_of_another_order_and_invalid_page_sizes_are_refused() {
    let server = TestServer::start().await;
    let anna = server.customer("Anna").await;
    anna.create_ticket("one").await;
    let cursor = list(&anna, json!({})).await.1["endCursor"].clone();
    // Before the first year of Postgres.
    let ancient = |order: u8| {
        let micros = -400_000_000_000_000_000_i64;
        URL_SAFE_NO_PAD.encode([&[order][..], &micros.to_be_bytes(), &[7; 16]].concat())
    };
    for variables in [
        json!({ "after": "garbage" }),
        json!({ "after": cursor, "order": { "field": "PRIORITY" } }),
        json!({ "first": 101 }),
        json!({ "first": -1 }),
        json!({ "last": 1, "first": 1 }),
        json!({ "before": "" }),
        json!({ "after": ancient(0) }),
        json!({ "after": ancient(1), "order": { "field": "UPDATED_AT" } }),
        json!({ "after": ancient(3), "order": { "field": "WAITING_SINCE" } }),
        json!({ "filter": { "waitingSince": "+262000-01-01T00:00:00Z" } }),
        json!({ "filter": { "waitingSince": "-5000-01-01T00:00:00Z" } }),
    ] {
        let reply = anna.send(LIST, variables.clone()).await;
        assert_eq!(reply.code(), "BAD_REQUEST", "{variables}: {}", reply.body);
    }
    server.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn only_staff_may_change_priority_assignee_category_and_summary() {
    let server = TestServer::start().await;
    let (anna, marta) = (server.customer("Anna").await, server.agent("Marta").await);
    let ticket = anna.create_ticket("one").await;
    let marta_id = marta.account_id().await;
    let before = server.content().await;
    for change in [
        json!({ "priority": "HIGH" }),
        json!({ "assigneeId": marta_id }),
        json!({ "assigneeId": null }),
        json!({ "categoryId": SALES }),
        json!({ "summary": "mine" }),
        json!({ "status": "RESOLVED", "priority": "HIGH" }),
    ] {
        assert_eq!(anna.try_update(&ticket, change).await.code(), "FORBIDDEN");
    }
    assert_eq!(server.content().await, before);
    let change = json!({ "priority": "HIGH", "assigneeId": marta_id, "categoryId": SALES, "summary": "Reworded", "status": "WORKING_ON_IT" });
    let reply = marta.try_update(&ticket, change.clone()).await;
    let expected = json!({ "id": ticket.id, "number": ticket.number, "status": "WORKING_ON_IT", "version": 2,
        "summary": "Reworded", "priority": "HIGH", "assignee": { "name": "Marta" }, "category": { "slug": "sales" } });
    assert_eq!(*reply.at("/data/updateTicket/ticket"), expected);
    // The same update again changes nothing.
    assert_eq!(marta.update(&ticket, change).await.version, 2);
    assert_eq!(marta.update(&ticket, json!({})).await.version, 2);
    let freed = marta.try_update(&ticket, json!({ "assigneeId": null })).await;
    assert_eq!(*freed.at("/data/updateTicket/ticket/assignee"), Value::Null);
    server.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_ticket_can_be_assigned_to_active_staff_only() {
    let server = TestServer::start().await;
    let (anna, marta) = (server.customer("Anna").await, server.agent("Marta").await);
    let ticket = anna.create_ticket("one").await;
    let gone = server.agent("Gone").await.account_id().await;
    let database = server.database.connect().await;
    database
        .batch_execute("UPDATE accounts SET disabled_at = created_at WHERE name = 'Gone'")
        .await
        .unwrap();
    for (assignee, code) in [
        (anna.account_id().await, "NOT_ASSIGNABLE"),
        (gone, "NOT_ASSIGNABLE"),
        (ticket.id.clone(), "NOT_FOUND"),
        ("garbage".into(), "NOT_FOUND"),
    ] {
        let reply = marta.try_update(&ticket, json!({ "assigneeId": assignee })).await;
        assert_eq!(reply.user_errors("updateTicket"), [code]);
    }
    server.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_closed_ticket_keeps_an_assignee_who_has_left() {
    let server = TestServer::start().await;
    let (anna, marta) = (server.customer("Anna").await, server.agent("Marta").await);
    let gone = server.agent("Gone").await.account_id().await;
    let ticket = anna.create_ticket("one").await;
    let closed = json!({ "assigneeId": gone, "status": "CLOSED" });
    marta.update(&ticket, closed).await;
    let database = server.database.connect().await;
    database
        .batch_execute("UPDATE accounts SET disabled_at = created_at WHERE name = 'Gone'")
        .await
        .unwrap();
    let whole = json!({ "assigneeId": gone, "categoryId": SALES, "summary": "two" });
    marta.update(&ticket, whole).await;
    let other = anna.create_ticket("three").await;
    let reply = marta.try_update(&other, json!({ "assigneeId": gone })).await;
    assert_eq!(reply.user_errors("updateTicket"), ["NOT_ASSIGNABLE"]);
    server.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn who_may_not_change_a_ticket_is_told_so_before_a_malformed_id_is_refused() {
    let server = TestServer::start().await;
    let (anna, jonas) = (server.customer("Anna").await, server.customer("Jonas").await);
    let ticket = anna.create_ticket("one").await;
    for field in ["assigneeId", "categoryId"] {
        let change = || json!({ field: "garbage" });
        assert_eq!(anna.try_update(&ticket, change()).await.code(), "FORBIDDEN");
        assert_eq!(jonas.try_update(&ticket, change()).await.code(), "NOT_FOUND");
    }
    let remove =
        "mutation($id: ID!) { removeParticipant(input: { ticketId: $id, accountId: \"x\" }) {
        userErrors { code } } }";
    let input = json!({ "id": ticket.id });
    assert_eq!(jonas.send(remove, input.clone()).await.code(), "NOT_FOUND");
    let reply = anna.send(remove, input).await;
    assert_eq!(reply.user_errors("removeParticipant"), ["NOT_FOUND"]);
    let reset =
        "mutation { resetSecondFactors(input: { accountId: \"x\" }) { userErrors { code } } }";
    assert_eq!(anna.send(reset, json!({})).await.code(), "FORBIDDEN");
    assert_eq!(server.anonymous().send(reset, json!({})).await.code(), "UNAUTHENTICATED");
    server.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn an_agent_who_is_disabled_while_they_wait_opens_no_ticket_for_a_customer() {
    let server = TestServer::start().await;
    let (anna, marta) = (server.customer("Anna").await, server.agent("Marta").await);
    let ilya = server.sign_up("Ilya", Role::Admin).await;
    let input = json!({ "categoryId": TECHNICAL_SUPPORT, "summary": "She called", "description": "d",
        "customerId": anna.account_id().await });
    let mut database = server.database.connect().await;
    let held = database.transaction().await.unwrap();
    held.batch_execute("SELECT FROM accounts WHERE name = 'Anna' FOR UPDATE").await.unwrap();
    let waiting = marta.clone();
    let opening = tokio::spawn(async move {
        let create = "mutation($input: CreateTicketInput!) { createTicket(input: $input) { ticket { id } } }";
        waiting.send(create, json!({ "input": input })).await
    });
    until_waiting(&server, "%accounts%FOR SHARE%").await;
    let disable =
        "mutation($id: ID!) { disableAccount(input: { id: $id }) { userErrors { code } } }";
    ilya.ok(disable, json!({ "id": marta.account_id().await })).await;
    held.commit().await.unwrap();
    assert_eq!(opening.await.unwrap().code(), "UNAUTHENTICATED");
    let count = "SELECT count(*) FROM tickets";
    assert_eq!(database.query_one(count, &[]).await.unwrap().get::<_, i64>(0), 0);
    server.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn illegal_status_transitions_are_refused() {
    let server = TestServer::start().await;
    let (anna, marta) = (server.customer("Anna").await, server.agent("Marta").await);
    let ticket = anna.create_ticket("one").await;
    let refused = async |client: &Client, status: &str| {
        let reply = client.try_update(&ticket, json!({ "status": status })).await;
        assert_eq!(reply.user_errors("updateTicket"), ["ILLEGAL_TRANSITION"], "{}", reply.body);
        assert_eq!(*reply.at("/data/updateTicket/userErrors/0/field"), json!(["status"]));
    };
    refused(&anna, "WORKING_ON_IT").await;
    assert_eq!(marta.update(&ticket, json!({ "status": "WAITING_FOR_CUSTOMER" })).await.version, 2);
    refused(&anna, "WAITING_FOR_SUPPORT").await;
    assert_eq!(anna.update(&ticket, json!({ "status": "RESOLVED" })).await.status, "RESOLVED");
    refused(&marta, "WORKING_ON_IT").await;
    refused(&marta, "CLOSED").await;
    refused(&anna, "CLOSED").await;
    assert_eq!(anna.update(&ticket, json!({ "status": "WAITING_FOR_SUPPORT" })).await.version, 4);
    assert_eq!(anna.update(&ticket, json!({ "status": "CLOSED" })).await.status, "CLOSED");
    refused(&anna, "WAITING_FOR_SUPPORT").await;
    refused(&marta, "WAITING_FOR_SUPPORT").await;
    server.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn the_second_of_two_changes_to_one_version_is_a_conflict_and_sees_the_ticket() {
    let server = TestServer::start().await;
    let (anna, marta) = (server.customer("Anna").await, server.agent("Marta").await);
    let ticket = anna.create_ticket("one").await;
    let change = |priority| json!({ "priority": priority, "expectedVersion": 1 });
    let (first, second) = tokio::join!(
        marta.try_update(&ticket, change("HIGH")),
        marta.try_update(&ticket, change("LOW"))
    );
    let (won, lost) = if first.user_errors("updateTicket").is_empty() {
        (first, second)
    } else {
        (second, first)
    };
    assert_eq!(won.user_errors("updateTicket"), [] as [&str; 0]);
    assert_eq!(lost.user_errors("updateTicket"), ["CONFLICT"]);
    assert_eq!(*lost.at("/data/updateTicket/ticket/version"), 2);
    assert_eq!(
        lost.at("/data/updateTicket/ticket/priority"),
        won.at("/data/updateTicket/ticket/priority")
    );
    // Comments and notes do not change the version.
    anna.comment(&ticket, "hello").await;
    marta.note(&ticket, "hm").await;
    assert_eq!(
        marta.update(&ticket, json!({ "priority": "HIGHEST", "expectedVersion": 2 })).await.version,
        3
    );
    server.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_ticket_repeated_with_its_idempotency_key_is_created_once() {
    let server = TestServer::start().await;
    let (anna, jonas) = (server.customer("Anna").await, server.customer("Jonas").await);
    let input = |summary| json!({ "categoryId": TECHNICAL_SUPPORT, "summary": summary, "description": "d", "idempotencyKey": "k-1" });
    let calls = (0..8).map(|_| anna.try_create_ticket(input("one")));
    let replies = futures_util::future::join_all(calls).await;
    let number = replies[0].at("/data/createTicket/ticket/number").clone();
    assert!(number.is_string());
    assert!(replies.iter().all(|reply| *reply.at("/data/createTicket/ticket/number") == number));
    assert_eq!(list(&anna, json!({})).await.0, ["one"]);

    let other = anna.try_create_ticket(input("two")).await;
    assert_eq!(other.user_errors("createTicket"), ["IDEMPOTENCY_KEY_REUSED"]);
    // A key belongs to one account, and can be used again after a day.
    assert_ne!(
        *jonas.try_create_ticket(input("one")).await.at("/data/createTicket/ticket/number"),
        number
    );
    server.clock.advance(chrono::TimeDelta::hours(25));
    assert_eq!(
        anna.try_create_ticket(input("two")).await.user_errors("createTicket"),
        [] as [&str; 0]
    );
    assert_eq!(list(&anna, json!({})).await.0, ["two", "one"]);
    server.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn listing_tickets_takes_the_same_number_of_statements_for_any_page_size() {
    let server = TestServer::start_logged().await;
    let marta = server.agent("Marta").await;
    for n in 0..3 {
        let customer = server.customer(&format!("Customer{n}")).await;
        for m in 0..4 {
            let ticket = customer.create_ticket(&format!("{n}-{m}")).await;
            marta.comment(&ticket, "answer").await;
        }
    }
    let query = |first: u8| {
        format!(
            "{{ tickets(first: {first}) {{ nodes {{ number category {{ name }} reporter {{ name }} assignee {{ name }}
                timeline(last: 5) {{ nodes {{ __typename actor {{ name }} ticket {{ number }}
                    ... on CommentAdded {{ comment {{ body author {{ name }} }} }} }} }} }} }} }}"
        )
    };
    // Once before, so that the session is cached and every statement is prepared.
    marta.ok(&query(12), json!({})).await;
    let database = server.database.connect().await;
    let read = async |first| {
        let outdate = "UPDATE tickets SET event_seq = event_seq + 1;
            UPDATE account_changes SET number = number + 1";
        database.batch_execute(outdate).await.unwrap();
        server.statements_of(async || drop(marta.ok(&query(first), json!({})).await)).await
    };
    let (one, twelve) = (read(1).await, read(12).await);
    assert!(one.len() > 3, "{one:#?}");
    assert_eq!(one.len(), twelve.len(), "{one:#?}\n{twelve:#?}");
    server.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn staff_open_a_ticket_for_a_customer_who_is_notified() {
    let fixture = MailFixture::start().await;
    let (server, anna, boris) = (&fixture.server, &fixture.anna, &fixture.boris);
    let mut input = json!({ "categoryId": TECHNICAL_SUPPORT, "summary": "She called", "description": "The site is down.",
        "customerId": anna.account_id().await, "idempotencyKey": "1" });
    let opened = boris.try_create_ticket(input.clone()).await;
    let ticket = Ticket::read(opened.at("/data/createTicket/ticket"));
    assert_eq!(boris.try_create_ticket(input.clone()).await.body, opened.body);
    let query = "query($id: ID!) { node(id: $id) { ... on Ticket { isUnread reporter { name } timeline { nodes { __typename actor { name } } } } } }";
    assert_eq!(
        anna.ok(query, json!({ "id": ticket.id })).await["node"],
        json!({ "isUnread": true, "reporter": { "name": "Anna" },
            "timeline": { "nodes": [{ "__typename": "TicketCreated", "actor": { "name": "Boris" } }] } })
    );
    let mail = fixture.smtp.nth(1, "Boris opened this ticket for you").await;
    assert_eq!(
        (mail.to.as_str(), mail.subject.as_str()),
        ("anna@example.com", "[CS-100001] She called")
    );
    assert!(
        mail.html.contains("Boris opened this ticket for you")
            && mail.text.contains("The site is down.")
    );
    server.quiet().await;
    let list = "{ viewer { notifications { nodes { kind ticket { number } } } } }";
    let notified = json!([{ "kind": "TICKET_CREATED", "ticket": { "number": "CS-100001" } }]);
    assert_eq!(anna.ok(list, json!({})).await["viewer"]["notifications"]["nodes"], notified);
    anna.comment(&ticket, "Thank you.").await;

    // Not for staff or for those who cannot read it, and not by customers.
    let ilya = server.sign_up("Ilya", Role::Admin).await;
    let disabled = server.customer("Jonas").await.account_id().await;
    let disable =
        "mutation($id: ID!) { disableAccount(input: { id: $id }) { userErrors { code } } }";
    ilya.ok(disable, json!({ "id": disabled })).await;
    input["idempotencyKey"] = json!("2");
    for id in [json!(disabled), json!(ilya.account_id().await), json!("x"), json!(ticket.id)] {
        input["customerId"] = id;
        let refused = boris.try_create_ticket(input.clone()).await;
        assert_eq!(refused.user_errors("createTicket"), ["NOT_FOUND"]);
        assert_eq!(refused.at("/data/createTicket/userErrors/0/field"), &json!(["customerId"]));
    }
    assert_eq!(anna.try_create_ticket(input).await.code(), "FORBIDDEN");
    fixture.server.stop().await;
}
