//! What streams and histories say is whole: nobody loses their name, nothing is left out because a
//! part of it failed, and what waits or is shared costs what it concerns.

use serde_json::{Value, json};
use ticketwire::domain::account::Role;

use crate::{
    harness::{Client, Socket, TestServer, client::Ticket},
    metrics,
};

/// Every person in an event.
const PEOPLE: &str = "__typename
    ... on TicketEvent { id cursor actor { name isStaff } ticket { assignee { name } } }
    ... on Checkpoint { cursor }
    ... on CommentAdded { comment { author { name isStaff } } }
    ... on AssigneeChanged { fromAssignee { name isStaff } toAssignee { name isStaff } }";

/// Opens two streams of a ticket: one that is executed for many, and one that is not.
async fn watch_both(client: &Client, ticket: &Ticket, after: Option<&str>) -> [Socket; 2] {
    let mut sockets = [client.socket().await, client.socket().await];
    let alone = PEOPLE.replacen("id cursor", "id @include(if: true) cursor", 1);
    for (socket, selection) in sockets.iter_mut().zip([PEOPLE, &alone]) {
        let query = format!(
            "subscription($id: ID!, $after: String) {{
                ticketEvents(ticketId: $id, after: $after) {{ {selection} }} }}"
        );
        socket.subscribe("1", &query, json!({ "id": ticket.id, "after": after })).await;
    }
    sockets
}

async fn cursor_of(client: &Client) -> String {
    client.ok("{ eventCursor }", json!({})).await["eventCursor"].as_str().unwrap().to_owned()
}

#[tokio::test(flavor = "multi_thread")]
async fn who_acted_on_a_ticket_keeps_their_name_after_they_have_left_the_staff() {
    let server = TestServer::start().await;
    let (anna, jonas) = (server.customer("Anna").await, server.customer("Jonas").await);
    let (marta, igor) = (server.agent("Marta").await, server.agent("Igor").await);
    let nadia = server.agent("Nadia").await;
    let ada = server.sign_up("Ada", Role::Admin).await;
    let ticket = anna.create_ticket("one").await;
    let start = cursor_of(&anna).await;
    let (her_id, igors_id) = (marta.account_id().await, igor.account_id().await);
    let nadias_id = nadia.account_id().await;
    marta.comment(&ticket, "on it").await;
    nadia.note(&ticket, "only staff know that I was here").await;
    marta.update(&ticket, json!({ "assigneeId": her_id })).await;
    server.quiet().await;

    let mut live = watch_both(&anna, &ticket, None).await;
    for socket in &mut live {
        socket.caught_up().await;
    }
    for id in [&her_id, &nadias_id] {
        ada.make_customer(id).await;
    }
    // Her ticket goes back to the queue.
    for socket in &mut live {
        let event = socket.item().await;
        assert_eq!(event["fromAssignee"], json!({ "name": "Marta", "isStaff": false }), "{event}");
    }
    igor.update(&ticket, json!({ "assigneeId": igors_id })).await;
    server.quiet().await;

    for socket in &mut watch_both(&anna, &ticket, Some(&start)).await {
        let mut names = Vec::new();
        loop {
            let item = socket.item().await;
            if item["__typename"] == "Checkpoint" {
                break;
            }
            names.push(
                item["actor"]["name"].as_str().unwrap_or_else(|| panic!("{item}")).to_owned(),
            );
            if item["__typename"] == "CommentAdded" {
                assert_eq!(item["comment"]["author"]["name"], "Marta");
            }
        }
        // The opening may come again. Then her comment, the status that it changed, her assignment,
        // and its end.
        names.retain(|name| name != "Anna");
        assert_eq!(names, ["Marta", "Marta", "Marta", "Ada", "Igor"]);
    }

    let query =
        "query($n: String!) { ticket(number: $n) { timeline(first: 100) { nodes { __typename
        ... on TicketEvent { actor { name } }
        ... on CommentAdded { comment { author { name email role } } } } } } }";
    let timeline = anna.ok(query, json!({ "n": ticket.number })).await;
    let nodes = timeline["ticket"]["timeline"]["nodes"].as_array().unwrap();
    assert!(nodes.iter().all(|node| node["actor"]["name"].is_string()), "{nodes:#?}");
    let comment = nodes.iter().find(|node| node["__typename"] == "CommentAdded").unwrap();
    let author = json!({ "name": "Marta", "email": null, "role": null });
    assert_eq!(comment["comment"]["author"], author);

    // To those who have nothing to do with what somebody did, they are gone.
    let node = "query($id: ID!) { node(id: $id) { ... on Account { name } } }";
    for (client, id, name) in [
        (&anna, &her_id, json!({ "name": "Marta" })),
        (&jonas, &her_id, Value::Null),
        (&anna, &nadias_id, Value::Null),
    ] {
        assert_eq!(client.send(node, json!({ "id": id })).await.at("/data/node"), &name);
    }
    server.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_message_is_not_left_out_because_one_of_its_fields_failed() {
    let server = TestServer::start().await;
    let (anna, marta) = (server.customer("Anna").await, server.agent("Marta").await);
    let ticket = anna.create_ticket("one").await;
    server.quiet().await;
    let start = cursor_of(&anna).await;
    let mut live = watch_both(&anna, &ticket, None).await;
    for socket in &mut live {
        socket.caught_up().await;
    }
    // An event whose comment is not there, whatever the reason.
    let broken = "WITH appended AS (
            INSERT INTO events (ticket_id, seq, kind, audience, actor_id, data, occurred_at)
            SELECT id, 100, 'comment_added', 'participants', reporter_id,
                   jsonb_build_object('comment_id', gen_random_uuid()), now() FROM tickets
            RETURNING id)
        INSERT INTO pending_events SELECT id FROM appended";
    server.database.connect().await.batch_execute(broken).await.unwrap();
    server.quiet().await;
    marta.update(&ticket, json!({ "priority": "HIGH" })).await;
    let replayed = watch_both(&anna, &ticket, Some(&start)).await;
    for socket in live.iter_mut().chain(&mut { replayed }) {
        let failed = event_message(socket).await;
        assert_eq!(failed["type"], "next", "{failed}");
        assert_eq!(
            failed.pointer("/payload/errors/0/extensions/code"),
            Some(&json!("NOT_FOUND")),
            "{failed}"
        );
        let next = event_message(socket).await;
        assert!(next.to_string().contains("PriorityChanged"), "{next}");
    }
    server.stop().await;
}

/// The next message that is no checkpoint.
async fn event_message(socket: &mut Socket) -> Value {
    loop {
        let message = socket.message().await;
        if !message.to_string().contains("\"Checkpoint\"") {
            return message;
        }
    }
}

const NOTIFICATIONS: &str = "subscription { notifications { __typename
    ... on NotificationAdded { notification { kind } } } }";

/// The statements of five comments that one customer is notified of.
async fn statements_of_comments(
    server: &TestServer,
    boris: &Client,
    ticket: &Ticket,
    bell: &mut Socket,
) -> Vec<String> {
    let comments = async || {
        for _ in 0..5 {
            boris.comment(ticket, "Still at it.").await;
            assert_eq!(bell.item().await["notification"]["kind"], "SUPPORT_ANSWERED");
        }
        // What the last one brought about is over.
        server.quiet().await;
    };
    server.statements_of(comments).await
}

#[tokio::test(flavor = "multi_thread")]
async fn a_comment_costs_nothing_for_the_notification_streams_of_others() {
    let server = TestServer::start_logged().await;
    let (anna, boris) = (server.customer("Anna").await, server.agent("Boris").await);
    let ticket = anna.create_ticket("The site is down").await;
    boris.update(&ticket, json!({ "status": "WORKING_ON_IT" })).await;
    server.quiet().await;
    let mut bell = anna.socket().await;
    bell.subscribe("bell", NOTIFICATIONS, json!({})).await;
    assert_eq!(bell.item().await["__typename"], "NotificationCheckpoint");
    let alone = statements_of_comments(&server, &boris, &ticket, &mut bell).await;
    let mut others = Vec::new();
    for name in ["Carl", "Dora", "Emil", "Fay", "Gus"] {
        let mut socket = server.customer(name).await.socket().await;
        for n in 0..20 {
            socket.subscribe(&n.to_string(), NOTIFICATIONS, json!({})).await;
            assert_eq!(socket.item().await["__typename"], "NotificationCheckpoint");
        }
        others.push(socket);
    }
    let among_others = statements_of_comments(&server, &boris, &ticket, &mut bell).await;
    // Events are planned in batches, so the numbers may differ by one or two.
    assert!(
        among_others.len() <= alone.len() + 5,
        "{} statements, {} with the streams of others",
        alone.len(),
        among_others.len()
    );
    server.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn shared_responses_take_so_many_bytes_in_all_and_are_forgotten_without_being_asked_for() {
    const LIMIT: usize = 200_000;
    const BYTES: &str = "ticketwire_shared_response_bytes";
    let limit = ("limits.shared_response_bytes", LIMIT.to_string());
    let server = metrics::start_with_metrics(&[limit]).await;
    let (anna, marta) = (server.customer("Anna").await, server.agent("Marta").await);
    let ticket = anna.create_ticket("one").await;
    let mut socket = marta.socket().await;
    for n in 0..20 {
        // Each is another document, and so another group.
        let query = format!(
            "subscription($id: ID!) {{ ticketEvents(ticketId: $id) {{ __typename
                ... on CommentAdded {{ comment {{ body }} }} }} }} # {n}"
        );
        socket.subscribe(&n.to_string(), &query, json!({ "id": ticket.id })).await;
        assert_eq!(socket.item().await["__typename"], "Checkpoint");
    }
    let mut most = 0.0_f64;
    for _ in 0..5 {
        anna.comment(&ticket, &"x".repeat(50_000)).await;
        for _ in 0..20 {
            assert_eq!(socket.item().await["__typename"], "CommentAdded");
            most = most.max(metrics::metric(&server, BYTES).await.unwrap());
        }
    }
    assert!(most > 50_000.0 && most <= 200_000.0, "{most} bytes");
    metrics::until_metric(&server, BYTES, |bytes| bytes == 0.0).await;
    server.stop().await;
}
