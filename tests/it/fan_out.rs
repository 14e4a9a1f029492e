//! Fan-out: one execution of an event for many subscribers.

use serde_json::{Value, json};
use ticketwire::domain::account::Role;

use crate::harness::{Client, Socket, TestServer, client::SALES};

/// Every field that allows fan-out.
const SHARED: &str = "
    __typename
    ... on TicketEvent {
        id cursor occurredAt actor { ...account }
        ticket {
            id number summary description status statusName priority version createdAt updatedAt
            category { id slug name isRetired } reporter { ...account } assignee { ...account }
        }
    }
    ... on CommentAdded { comment { id ticket { id } author { ...account } visibility body createdAt } }
    ... on StatusChanged { fromStatus toStatus }
    ... on PriorityChanged { fromPriority toPriority }
    ... on AssigneeChanged { fromAssignee { ...account } toAssignee { ...account } }
    ... on CategoryChanged { fromCategory { ...category } toCategory { ...category } }
    ... on Checkpoint { cursor }
    ... on ResyncRequired { reason }";
const FRAGMENTS: &str = "
    fragment account on Account { id name isStaff }
    fragment category on Category { id slug name isRetired }";

async fn watch(socket: &mut Socket, id: &str, ticket: &str, selection: &str) {
    let query = format!(
        "subscription($id: ID!) {{ ticketEvents(ticketId: $id) {{ {selection} }} }} {FRAGMENTS}"
    );
    socket.subscribe(id, &query, json!({ "id": ticket })).await;
    assert_eq!(socket.item().await["__typename"], "Checkpoint");
}

/// Reads this many messages of each of the two streams.
async fn next_of_both(socket: &mut Socket, count: usize) -> (Vec<Value>, Vec<Value>) {
    let (mut shared, mut alone) = (Vec::new(), Vec::new());
    while shared.len() < count || alone.len() < count {
        let message = socket.message().await;
        let stream = if message["id"] == "shared" { &mut shared } else { &mut alone };
        stream.push(message["payload"].clone());
    }
    (shared, alone)
}

#[tokio::test(flavor = "multi_thread")]
async fn a_fanned_out_response_equals_one_executed_for_that_viewer_alone() {
    let server = TestServer::start().await;
    let (anna, marta) = (server.customer("Anna").await, server.agent("Marta").await);
    let viewers = [
        anna.clone(),
        marta.clone(),
        server.agent("Igor").await,
        server.sign_up("Ada", Role::Admin).await,
        server.agent("Olga").await,
    ];
    let russian = "mutation { updatePreferences(input: { locale: RU }) { userErrors { code } } }";
    viewers[4].ok(russian, json!({})).await;
    let ticket = anna.create_ticket("one").await;
    let mut sockets = Vec::new();
    for viewer in &viewers {
        let mut socket = viewer.socket().await;
        watch(&mut socket, "shared", &ticket.id, SHARED).await;
        // A directive prevents fan-out.
        let alone = SHARED.replacen("id cursor", "id @include(if: true) cursor", 1);
        watch(&mut socket, "alone", &ticket.id, &alone).await;
        sockets.push(socket);
    }
    let igor = viewers[2].account_id().await;
    let mut seen = vec![Vec::new(); viewers.len()];
    // Every viewer reads each step before the next: an event shows the current state of its ticket.
    for step in 0..4 {
        // The number of events for a customer and for staff.
        let events = match step {
            0 => {
                marta.note(&ticket, "between us").await;
                (0, 1)
            }
            // It changes the status too.
            1 => {
                marta.comment(&ticket, "hello").await;
                (2, 2)
            }
            2 => {
                let changes = json!({ "priority": "HIGH", "assigneeId": igor, "categoryId": SALES, "summary": "two" });
                marta.update(&ticket, changes).await;
                (4, 4)
            }
            _ => {
                anna.comment(&ticket, "thanks").await;
                (1, 1)
            }
        };
        for (n, socket) in sockets.iter_mut().enumerate() {
            let (shared, alone) =
                next_of_both(socket, if n == 0 { events.0 } else { events.1 }).await;
            assert_eq!(shared, alone, "viewer {n}, step {step}");
            seen[n].extend(shared);
        }
    }
    for (n, payloads) in seen.iter().enumerate() {
        let notes = payloads.iter().filter(|payload| payload.to_string().contains("between us"));
        assert_eq!(notes.count(), usize::from(n > 0), "viewer {n}");
    }
    assert!(seen[1] == seen[2]);
    assert!(seen[1] != seen[4], "the status has another name in Russian");
    server.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn an_event_is_executed_once_for_all_subscribers_with_the_same_query() {
    let server = TestServer::start_logged().await;
    // The node that posts a comment needs not read it.
    let other = server.second_node().await;
    let (anna, marta) = (server.customer("Anna").await, server.agent("Marta").await);
    let anna = anna.at(&other.address().to_string());
    let ticket = anna.create_ticket("one").await;
    let mut sockets = Vec::new();
    for _ in 0..20 {
        let mut socket = marta.socket().await;
        watch(&mut socket, "1", &ticket.id, SHARED).await;
        sockets.push(socket);
    }
    let statements = server
        .statements_of(async || {
            anna.comment(&ticket, "hello").await;
            for socket in &mut sockets {
                assert_eq!(socket.item().await["comment"]["body"], "hello");
            }
        })
        .await;
    let reads = statements.iter().filter(|line| line.contains("SELECT c.id, c.ticket_id")).count();
    assert_eq!(reads, 1, "{statements:#?}");
    other.stop().await;
    server.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_message_without_selected_fields_is_an_empty_object() {
    let server = TestServer::start().await;
    let (anna, marta) = (server.customer("Anna").await, server.agent("Marta").await);
    let ticket = anna.create_ticket("one").await;
    let mut socket = marta.socket().await;
    // The first is fanned out, the second is not.
    for (id, field) in [("1", "id"), ("2", "id @include(if: true)")] {
        let query = format!(
            "subscription($id: ID!) {{ ticketEvents(ticketId: $id) {{ ... on CommentAdded {{ {field} }} }} }}"
        );
        socket.subscribe(id, &query, json!({ "id": ticket.id })).await;
        assert_eq!(socket.item().await, json!({}), "the checkpoint of {id}");
    }
    server.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_subscription_is_refused_with_the_same_code_with_and_without_fan_out() {
    let server = TestServer::start().await;
    let (anna, jonas) = (server.customer("Anna").await, server.customer("Jonas").await);
    let ticket = anna.create_ticket("one").await;
    let refused = async |client: &Client, ticket: &str, after: Option<&str>| {
        let mut socket = client.socket().await;
        let mut answers = Vec::new();
        for directive in ["", "@include(if: true)"] {
            let query = format!(
                "subscription($id: ID!, $after: String) {{ ticketEvents(ticketId: $id, after: $after) {{ __typename {directive} }} }}"
            );
            socket.subscribe("1", &query, json!({ "id": ticket, "after": after })).await;
            let answer = socket.message().await;
            assert_eq!(answer["type"], "error", "{answer}");
            answers.push(answer["payload"][0]["extensions"]["code"].clone());
        }
        assert_eq!(answers[0], answers[1]);
        answers.swap_remove(0)
    };
    // Opened first, so that the other subscriptions find the plan of this query.
    let mut socket = anna.socket().await;
    let query = "subscription($id: ID!, $after: String) { ticketEvents(ticketId: $id, after: $after) { __typename  } }";
    socket.subscribe("1", query, json!({ "id": ticket.id })).await;
    socket.item().await;
    assert_eq!(refused(&jonas, &ticket.id, None).await, "NOT_FOUND");
    assert_eq!(refused(&anna, &ticket.id, Some("garbage")).await, "BAD_REQUEST");
    assert_eq!(refused(&server.anonymous(), &ticket.id, None).await, "UNAUTHENTICATED");
    server.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_subscriber_whose_variables_are_invalid_shares_nothing() {
    let server = TestServer::start().await;
    let (anna, marta) = (server.customer("Anna").await, server.agent("Marta").await);
    let ticket = anna.create_ticket("one").await;
    let mut socket = marta.socket().await;
    // While some are being refused, another one starts.
    for n in 0..20 {
        let query = format!(
            "subscription S{n}($id: ID!, $after: String) {{ ticketEvents(ticketId: $id, after: $after) {{ __typename }} }}"
        );
        for m in 0..30 {
            let invalid = json!({ "id": ticket.id, "after": true });
            socket.subscribe(&format!("invalid {m}"), &query, invalid).await;
            if m == 15 {
                let valid = json!({ "id": ticket.id });
                socket.subscribe(&format!("valid {n}"), &query, valid).await;
            }
        }
        for _ in 0..31 {
            let message = socket.message().await;
            let is_invalid = message["id"].as_str().unwrap().starts_with("invalid");
            assert_eq!(message["type"] == "error", is_invalid, "{message}");
        }
    }
    anna.comment(&ticket, "hello").await;
    for _ in 0..20 {
        let message = socket.message().await;
        let data = &message["payload"]["data"]["ticketEvents"];
        assert_eq!(data["__typename"], "CommentAdded", "{message}");
    }
    server.stop().await;
}
