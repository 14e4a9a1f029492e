//! Unread tickets: for whom activity is unread, and the counts.

use serde_json::{Value, json};

use crate::harness::{
    Client, TestServer,
    client::{Reply, Ticket},
};

const COUNTS: &str = "subscription { notifications { __typename
    ... on NotificationAdded { openTicketCount unreadTicketCount unreadNotificationCount }
    ... on NotificationCheckpoint { openTicketCount unreadTicketCount unreadNotificationCount } } }";

/// The open tickets, the unread ones and the unread notifications that a message counts.
fn counts(message: &Value) -> (i64, i64, i64) {
    let count = |name: &str| message[name].as_i64().unwrap_or_else(|| panic!("{message}"));
    (count("openTicketCount"), count("unreadTicketCount"), count("unreadNotificationCount"))
}

/// Whether a ticket is unread, and how many of the caller's tickets are open and unread.
async fn state(client: &Client, ticket: &Ticket) -> (bool, i64, i64) {
    let query = "query($id: ID!) { node(id: $id) { ... on Ticket { isUnread } }
        viewer { openTicketCount unreadTicketCount } }";
    let data = client.ok(query, json!({ "id": ticket.id })).await;
    let count = |name: &str| data["viewer"][name].as_i64().unwrap();
    (
        data["node"]["isUnread"].as_bool().unwrap(),
        count("openTicketCount"),
        count("unreadTicketCount"),
    )
}

async fn is_unread(client: &Client, ticket: &Ticket) -> bool {
    state(client, ticket).await.0
}

async fn try_read(client: &Client, ticket: &str, up_to: Option<&str>) -> Reply {
    let mutation = "mutation($input: MarkTicketReadInput!) { markTicketRead(input: $input) {
        ticket { isUnread } unreadTicketCount userErrors { field code } } }";
    client.send(mutation, json!({ "input": { "ticketId": ticket, "upTo": up_to } })).await
}

/// Marks a ticket as read; returns whether it is still unread.
async fn read(client: &Client, ticket: &Ticket, up_to: Option<&str>) -> bool {
    let reply = try_read(client, &ticket.id, up_to).await;
    let unread = reply.at("/data/markTicketRead/ticket/isUnread").as_bool();
    unread.unwrap_or_else(|| panic!("{}", reply.body))
}

/// The ids of a ticket's events.
async fn events(client: &Client, ticket: &Ticket) -> Vec<String> {
    let query = "query($id: ID!) { node(id: $id) { ... on Ticket { timeline { nodes { id } } } } }";
    let data = client.ok(query, json!({ "id": ticket.id })).await;
    let nodes = data["node"]["timeline"]["nodes"].as_array().unwrap();
    nodes.iter().map(|it| it["id"].as_str().unwrap().to_owned()).collect()
}

async fn listed(client: &Client, filter: Value) -> Vec<String> {
    let query =
        "query($filter: TicketFilterInput) { tickets(filter: $filter) { nodes { number } } }";
    let data = client.ok(query, json!({ "filter": filter })).await;
    let nodes = data["tickets"]["nodes"].as_array().unwrap();
    nodes.iter().map(|it| it["number"].as_str().unwrap().to_owned()).collect()
}

#[tokio::test(flavor = "multi_thread")]
async fn changes_by_others_are_unread_until_the_ticket_is_marked_as_read() {
    let server = TestServer::start().await;
    let (anna, carl) = (server.customer("Anna").await, server.customer("Carl").await);
    let (marta, boris) = (server.agent("Marta").await, server.agent("Boris").await);
    let ticket = anna.create_ticket("one").await;
    assert_eq!(state(&anna, &ticket).await, (false, 1, 0));
    assert_eq!(
        state(&marta, &ticket).await,
        (true, 0, 0),
        "a ticket that is not assigned to her does not count"
    );
    let marta_id = marta.account_id().await;
    marta.update(&ticket, json!({ "assigneeId": marta_id })).await;
    assert_eq!(
        state(&marta, &ticket).await,
        (true, 1, 1),
        "her own change does not mark the ticket as read"
    );
    assert!(!read(&marta, &ticket, None).await);
    assert_eq!(state(&marta, &ticket).await, (false, 1, 0));
    assert_eq!(state(&anna, &ticket).await, (true, 1, 1));
    assert!(!read(&anna, &ticket, None).await);

    // A person's own activity is never unread, even between that of others.
    anna.comment(&ticket, "anybody?").await;
    anna.comment(&ticket, "hello?").await;
    assert_eq!(state(&anna, &ticket).await, (false, 1, 0));
    assert!(is_unread(&marta, &ticket).await && is_unread(&boris, &ticket).await);
    marta.comment(&ticket, "We look into it.").await;
    anna.comment(&ticket, "Thanks.").await;
    anna.comment(&ticket, "And?").await;
    assert_eq!(state(&anna, &ticket).await, (true, 1, 1), "Marta's answer is still unread");
    assert!(!read(&anna, &ticket, None).await && !read(&marta, &ticket, None).await);

    // An internal note is unread for staff only.
    boris.note(&ticket, "between us").await;
    assert_eq!(state(&anna, &ticket).await, (false, 1, 0));
    assert_eq!(state(&marta, &ticket).await, (true, 1, 1));
    assert!(!read(&marta, &ticket, None).await);
    marta.note(&ticket, "yes").await;
    boris.note(&ticket, "no").await;
    assert!(!is_unread(&anna, &ticket).await && is_unread(&marta, &ticket).await);

    // For a new participant everything is unread, and the ticket counts as theirs.
    anna.share(&ticket, &carl).await;
    assert_eq!(state(&carl, &ticket).await, (true, 1, 1));
    assert!(!read(&carl, &ticket, None).await);
    assert!(is_unread(&anna, &ticket).await, "Carl has accepted");
    read(&anna, &ticket, None).await;

    // An automatic close is unread for everybody.
    anna.update(&ticket, json!({ "status": "RESOLVED" })).await;
    assert_eq!(state(&anna, &ticket).await, (false, 0, 0));
    assert_eq!(state(&carl, &ticket).await, (true, 0, 1));
    server.clock.advance(chrono::TimeDelta::days(1));
    assert_eq!(server.close_resolved(1).await, 1);
    for client in [&anna, &carl] {
        assert_eq!(state(client, &ticket).await, (true, 0, 1));
    }
    server.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_ticket_is_marked_as_read_up_to_an_event_and_never_back() {
    let server = TestServer::start().await;
    let (anna, marta) = (server.customer("Anna").await, server.agent("Marta").await);
    let jonas = server.customer("Jonas").await;
    let (ticket, other) = (anna.create_ticket("one").await, jonas.create_ticket("other").await);
    marta.comment(&ticket, "one").await;
    marta.note(&ticket, "between us").await;
    marta.comment(&ticket, "two").await;
    let seen = events(&anna, &ticket).await;
    // Created, commented, working on it, commented.
    assert_eq!(seen.len(), 4);
    assert!(read(&anna, &ticket, Some(&seen[2])).await, "the last answer is still unread");
    assert!(!read(&anna, &ticket, Some(&seen[3])).await);
    assert!(
        !read(&anna, &ticket, Some(&seen[0])).await,
        "marking up to an earlier event changes nothing"
    );
    marta.comment(&ticket, "three").await;
    assert!(read(&anna, &ticket, Some(&seen[3])).await);
    assert!(!read(&anna, &ticket, None).await && !read(&anna, &ticket, None).await);

    // Anna cannot mark a note or an event of another ticket as read.
    let notes = events(&marta, &ticket).await.into_iter().filter(|id| !seen.contains(id));
    let note = notes.collect::<Vec<_>>().remove(0);
    let foreign = events(&jonas, &other).await.remove(0);
    for id in [note.as_str(), &foreign, "nonsense", &ticket.id] {
        let refused = try_read(&anna, &ticket.id, Some(id)).await;
        assert_eq!(refused.user_errors("markTicketRead"), ["NOT_FOUND"], "{id}");
    }
    assert!(read(&marta, &other, None).await.eq(&false) && !is_unread(&marta, &other).await);
    assert_eq!(try_read(&anna, &other.id, None).await.code(), "NOT_FOUND");
    assert_eq!(try_read(&anna, "nonsense", None).await.code(), "NOT_FOUND");
    assert_eq!(try_read(&server.anonymous(), &ticket.id, None).await.code(), "UNAUTHENTICATED");
    server.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn ticket_lists_can_be_filtered_by_unread() {
    let server = TestServer::start().await;
    let (anna, carl) = (server.customer("Anna").await, server.customer("Carl").await);
    let marta = server.agent("Marta").await;
    let (one, two) = (anna.create_ticket("one").await, anna.create_ticket("two").await);
    let shared = carl.create_ticket("shared").await;
    carl.share(&shared, &anna).await;
    marta.comment(&two, "answer").await;
    assert_eq!(listed(&anna, json!({ "isUnread": true })).await, [&*shared.number, &*two.number]);
    assert_eq!(listed(&anna, json!({ "isUnread": false })).await, [&*one.number]);
    read(&anna, &two, None).await;
    assert_eq!(listed(&anna, json!({ "isUnread": true })).await, [&*shared.number]);

    let marta_id = marta.account_id().await;
    let filter = json!({ "isUnread": true, "assigneeId": marta_id });
    marta.update(&one, json!({ "assigneeId": marta_id })).await;
    assert_eq!(listed(&marta, filter.clone()).await, [&*one.number]);
    read(&marta, &one, None).await;
    assert_eq!(listed(&marta, filter.clone()).await, [] as [&str; 0]);
    let all = "{ tickets(filter: { isUnread: true }) { nodes { id } } }";
    assert_eq!(marta.send(all, json!({})).await.code(), "BAD_REQUEST");
    let mut socket = marta.socket().await;
    let stream = "subscription { queueEvents(filter: { isUnread: true }) { __typename } }";
    socket.subscribe("queue", stream, json!({})).await;
    let refused = socket.message().await;
    assert_eq!(refused["payload"][0]["extensions"]["code"], "BAD_REQUEST", "{refused}");

    // The counts are null for others.
    let query = "query($id: ID!) { node(id: $id) { ... on Account { openTicketCount unreadTicketCount } } }";
    let seen = marta.ok(query, json!({ "id": anna.account_id().await })).await;
    assert_eq!(seen["node"], json!({ "openTicketCount": null, "unreadTicketCount": null }));
    server.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn the_notification_stream_carries_open_and_unread_counts() {
    let server = TestServer::start().await;
    let (anna, marta) = (server.customer("Anna").await, server.agent("Marta").await);
    let (one, two) = (anna.create_ticket("one").await, anna.create_ticket("two").await);
    let mut socket = anna.socket().await;
    socket.subscribe("notifications", COUNTS, json!({})).await;
    let tickets = |message: &Value| {
        let (open, unread, _) = counts(message);
        (open, unread)
    };
    assert_eq!(tickets(&socket.item().await), (2, 0));
    marta.comment_with(&one, json!({ "body": "answer", "status": "WAITING_FOR_CUSTOMER" })).await;
    assert_eq!(tickets(&socket.item().await), (2, 1));
    socket.item().await;
    marta.comment_with(&two, json!({ "body": "answer", "status": "RESOLVED" })).await;
    assert_eq!(tickets(&socket.item().await), (1, 2));
    server.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_read_on_one_device_is_counted_on_the_others_at_once() {
    let server = TestServer::start().await;
    let (anna, marta) = (server.customer("Anna").await, server.agent("Marta").await);
    let ticket = anna.create_ticket("one").await;
    marta.comment(&ticket, "answer").await;
    server.quiet().await;
    let mut sockets = [anna.socket().await, anna.socket().await];
    for socket in &mut sockets {
        socket.subscribe("notifications", COUNTS, json!({})).await;
        assert_eq!(counts(&socket.item().await), (1, 1, 2));
    }
    // The next timed checkpoint comes later than a test waits for a message.
    read(&anna, &ticket, None).await;
    for socket in &mut sockets {
        assert_eq!(counts(&socket.item().await), (1, 0, 2));
    }
    let read_all = "mutation { markNotificationsRead(input: {}) { unreadNotificationCount } }";
    anna.ok(read_all, json!({})).await;
    for socket in &mut sockets {
        assert_eq!(counts(&socket.item().await), (1, 0, 0));
    }
    // What changes nothing is told to nobody.
    read(&anna, &ticket, None).await;
    anna.ok(read_all, json!({})).await;
    marta.comment(&ticket, "another answer").await;
    for socket in &mut sockets {
        let item = socket.item().await;
        assert_eq!(item["__typename"], "NotificationAdded");
        assert_eq!(counts(&item), (1, 1, 1));
    }
    server.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_checkpoint_after_a_read_mark_is_after_all_events_until_then() {
    let server = TestServer::start().await;
    let (anna, marta) = (server.customer("Anna").await, server.agent("Marta").await);
    let jonas = server.customer("Jonas").await;
    let ticket = anna.create_ticket("one").await;
    marta.comment(&ticket, "answer").await;
    server.quiet().await;
    let mut socket = anna.socket().await;
    let stream = "subscription { notifications {
        __typename ... on NotificationCheckpoint { cursor } } }";
    socket.subscribe("notifications", stream, json!({})).await;
    let before = socket.item().await;
    jonas.create_ticket("other").await;
    server.quiet().await;
    read(&anna, &ticket, None).await;
    let after = socket.item().await;
    assert_eq!(after["__typename"], "NotificationCheckpoint");
    assert_ne!(after["cursor"], before["cursor"]);
    server.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn concurrent_changes_keep_the_unread_columns_consistent_with_the_events() {
    let server = TestServer::start().await;
    let (anna, marta) = (server.customer("Anna").await, server.agent("Marta").await);
    let boris = server.agent("Boris").await;
    let ticket = anna.create_ticket("one").await;
    let work = async |client: &Client| {
        for n in 0..10 {
            client.comment(&ticket, &format!("{n}")).await;
            client.note(&ticket, &format!("{n}")).await;
        }
    };
    tokio::join!(work(&marta), work(&boris), async {
        for n in 0..10 {
            anna.comment(&ticket, &format!("{n}")).await;
        }
    });
    let database = server.database.connect().await;
    // The columns of the ticket's row match its events.
    let inconsistent = "SELECT count(*) FROM tickets t WHERE NOT (
        any_seq = event_seq
        AND any_actor_id = (SELECT actor_id FROM events WHERE ticket_id = t.id AND seq = any_seq)
        AND any_seq_by_others = (SELECT max(seq) FROM events WHERE ticket_id = t.id AND actor_id <> any_actor_id)
        AND public_seq = (SELECT max(seq) FROM events WHERE ticket_id = t.id AND audience = 'participants')
        AND public_actor_id = (SELECT actor_id FROM events WHERE ticket_id = t.id AND seq = public_seq)
        AND public_seq_by_others = (SELECT max(seq) FROM events
            WHERE ticket_id = t.id AND audience = 'participants' AND actor_id <> public_actor_id))";
    assert_eq!(database.query_one(inconsistent, &[]).await.unwrap().get::<_, i64>(0), 0);
    server.stop().await;
}
