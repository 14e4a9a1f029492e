//! Comments, internal notes and the timeline.

use std::collections::{HashMap, HashSet};

use serde_json::{Value, json};
use ticketwire::domain::account::Role;

use crate::harness::{Client, TestServer, client::Ticket, server::PASSWORD};

const TIMELINE: &str = "query($id: ID!, $first: Int, $after: String, $last: Int, $before: String) { node(id: $id) { ... on Ticket {
    status updatedAt timeline(first: $first, after: $after, last: $last, before: $before) { nodes { __typename actor { name }
        ... on CommentAdded { comment { body } } ... on StatusChanged { toStatus } ... on PriorityChanged { toPriority }
        ... on AssigneeChanged { fromAssignee { name } toAssignee { name } } ... on CategoryChanged { toCategory { slug } } }
        pageInfo { startCursor endCursor hasNextPage hasPreviousPage } } } } }";

/// The timeline as readable lines.
async fn timeline(client: &Client, ticket: &Ticket) -> Vec<String> {
    let data = client.ok(TIMELINE, json!({ "id": ticket.id, "first": 100 })).await;
    lines(&data["node"]["timeline"]["nodes"])
}

fn lines(nodes: &Value) -> Vec<String> {
    let line = |node: &Value| {
        let detail =
            ["/comment/body", "/toStatus", "/toPriority", "/toAssignee/name", "/toCategory/slug"];
        let detail =
            detail.iter().find_map(|pointer| node.pointer(pointer)?.as_str()).unwrap_or("");
        format!(
            "{} {} {detail}",
            node["actor"]["name"].as_str().unwrap(),
            node["__typename"].as_str().unwrap()
        )
    };
    nodes.as_array().unwrap().iter().map(line).collect()
}

#[tokio::test(flavor = "multi_thread")]
async fn comments_change_the_status_to_show_whose_turn_it_is() {
    let server = TestServer::start().await;
    let (anna, marta) = (server.customer("Anna").await, server.agent("Marta").await);
    let ticket = anna.create_ticket("one").await;
    assert_eq!(anna.comment(&ticket, "more detail").await.1.status, "WAITING_FOR_SUPPORT");
    assert_eq!(marta.note(&ticket, "a hard one").await.1.status, "WAITING_FOR_SUPPORT");
    assert_eq!(marta.comment(&ticket, "on it").await.1.status, "WORKING_ON_IT");
    let asked = json!({ "body": "which server?", "status": "WAITING_FOR_CUSTOMER" });
    assert_eq!(marta.comment_with(&ticket, asked).await.1.status, "WAITING_FOR_CUSTOMER");
    assert_eq!(marta.comment(&ticket, "please").await.1.status, "WAITING_FOR_CUSTOMER");
    assert_eq!(anna.comment(&ticket, "web3").await.1.status, "WAITING_FOR_SUPPORT");
    let done = json!({ "body": "done", "status": "RESOLVED" });
    assert_eq!(marta.comment_with(&ticket, done).await.1.status, "RESOLVED");
    assert_eq!(marta.comment(&ticket, "by the way").await.1.status, "RESOLVED");
    assert_eq!(anna.comment(&ticket, "no, it is not").await.1.status, "WAITING_FOR_SUPPORT");
    let closed = json!({ "body": "bye", "status": "CLOSED" });
    assert_eq!(anna.comment_with(&ticket, closed).await.1.status, "CLOSED");
    for client in [&anna, &marta] {
        let reply = client.try_comment(&ticket, json!({ "body": "hello?" })).await;
        assert_eq!(reply.user_errors("addComment"), ["TICKET_CLOSED"]);
    }
    assert_eq!(
        timeline(&marta, &ticket).await,
        [
            "Anna TicketCreated ",
            "Anna CommentAdded more detail",
            "Marta CommentAdded a hard one",
            "Marta CommentAdded on it",
            "Marta StatusChanged WORKING_ON_IT",
            "Marta CommentAdded which server?",
            "Marta StatusChanged WAITING_FOR_CUSTOMER",
            "Marta CommentAdded please",
            "Anna CommentAdded web3",
            "Anna StatusChanged WAITING_FOR_SUPPORT",
            "Marta CommentAdded done",
            "Marta StatusChanged RESOLVED",
            "Marta CommentAdded by the way",
            "Anna CommentAdded no, it is not",
            "Anna StatusChanged WAITING_FOR_SUPPORT",
            "Anna CommentAdded bye",
            "Anna StatusChanged CLOSED",
        ]
    );
    server.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn an_internal_note_leaves_no_trace_for_the_customer() {
    let server = TestServer::start().await;
    let (anna, marta) = (server.customer("Anna").await, server.agent("Marta").await);
    let ticket = anna.create_ticket("one").await;
    let seen = anna.ok(TIMELINE, json!({ "id": ticket.id })).await;
    let (note, after) = marta.note(&ticket, "card declined twice").await;
    assert_eq!((after.version, after.status.as_str()), (1, "WAITING_FOR_SUPPORT"));
    assert_eq!(anna.ok(TIMELINE, json!({ "id": ticket.id })).await, seen);
    let node = "query($id: ID!) { node(id: $id) { id } nodes(ids: [$id]) { id } }";
    let reply = anna.send(node, json!({ "id": note })).await;
    assert_eq!(
        (reply.code(), reply.at("/data/node"), reply.at("/data/nodes/0")),
        ("NOT_FOUND", &Value::Null, &Value::Null)
    );
    assert_eq!(marta.ok(node, json!({ "id": note })).await["node"]["id"], note);
    let reply =
        anna.try_comment(&ticket, json!({ "body": "mine", "visibility": "INTERNAL" })).await;
    assert_eq!(reply.code(), "FORBIDDEN");
    server.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn the_timeline_lists_every_change_and_its_pages_join_without_a_gap() {
    let server = TestServer::start().await;
    let (anna, marta) = (server.customer("Anna").await, server.agent("Marta").await);
    let ticket = anna.create_ticket("one").await;
    let me = marta.account_id().await;
    let change = json!({ "priority": "LOW", "assigneeId": me, "summary": "Reworded",
        "categoryId": crate::harness::client::SALES });
    marta.update(&ticket, change).await;
    marta.note(&ticket, "n").await;
    anna.comment(&ticket, "c").await;
    let public = [
        "Anna TicketCreated ",
        "Marta PriorityChanged LOW",
        "Marta AssigneeChanged Marta",
        "Marta CategoryChanged sales",
        "Marta SummaryChanged ",
        "Anna CommentAdded c",
    ];
    assert_eq!(timeline(&anna, &ticket).await, public);
    let (mut pages, mut after) = (Vec::new(), Value::Null);
    loop {
        let data = anna.ok(TIMELINE, json!({ "id": ticket.id, "first": 2, "after": after })).await;
        let page = &data["node"]["timeline"];
        pages.extend(lines(&page["nodes"]));
        after = page["pageInfo"]["endCursor"].clone();
        if page["pageInfo"]["hasNextPage"] == false {
            break;
        }
    }
    assert_eq!(pages, public);
    let newest = anna.ok(TIMELINE, json!({ "id": ticket.id, "last": 2 })).await;
    assert_eq!(lines(&newest["node"]["timeline"]["nodes"]), public[4..]);
    assert_eq!(newest["node"]["timeline"]["pageInfo"]["hasPreviousPage"], true);
    server.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_former_agent_who_repeats_a_note_is_not_shown_it() {
    let server = TestServer::start().await;
    let (boris, ilya) = (server.agent("Boris").await, server.sign_up("Ilya", Role::Admin).await);
    let ticket = boris.create_ticket("My own site is down").await;
    let note = json!({ "body": "Hm.", "visibility": "INTERNAL", "idempotencyKey": "k" });
    boris.comment_with(&ticket, note.clone()).await;
    ilya.make_customer(&boris.account_id().await).await;
    let boris = server.anonymous().sign_in("boris@example.com", PASSWORD).await;
    assert_eq!(boris.try_comment(&ticket, note).await.code(), "NOT_FOUND");
    server.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_comment_repeated_with_its_idempotency_key_is_posted_once() {
    let server = TestServer::start().await;
    let anna = server.customer("Anna").await;
    let (one, two) = (anna.create_ticket("one").await, anna.create_ticket("two").await);
    let input = || json!({ "body": "hello", "idempotencyKey": "k" });
    let calls = (0..6).map(|_| anna.comment_with(&one, input()));
    let ids = futures_util::future::join_all(calls)
        .await
        .into_iter()
        .map(|(id, _)| id)
        .collect::<Vec<_>>();
    assert!(ids.iter().all(|id| *id == ids[0]), "{ids:?}");
    assert_eq!(timeline(&anna, &one).await.len(), 2);
    for (ticket, changed) in
        [(&two, input()), (&one, json!({ "body": "other", "idempotencyKey": "k" }))]
    {
        let reply = anna.try_comment(ticket, changed).await;
        assert_eq!(reply.user_errors("addComment"), ["IDEMPOTENCY_KEY_REUSED"]);
    }
    server.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_comment_with_a_stale_version_is_a_conflict() {
    let server = TestServer::start().await;
    let (anna, marta) = (server.customer("Anna").await, server.agent("Marta").await);
    let ticket = anna.create_ticket("one").await;
    marta.update(&ticket, json!({ "priority": "HIGH" })).await;
    let reply = marta.try_comment(&ticket, json!({ "body": "late", "expectedVersion": 1 })).await;
    assert_eq!(reply.user_errors("addComment"), ["CONFLICT"]);
    assert_eq!(*reply.at("/data/addComment/ticket/version"), 2);
    assert_eq!(*reply.at("/data/addComment/comment"), Value::Null);
    // A comment with a status is one step: both are saved or neither.
    let answer = |version| json!({ "body": "Try now.", "status": "WAITING_FOR_CUSTOMER", "expectedVersion": version });
    let reply = marta.try_comment(&ticket, answer(1)).await;
    assert_eq!(reply.user_errors("addComment"), ["CONFLICT"]);
    assert_eq!(*reply.at("/data/addComment/ticket/status"), json!("WAITING_FOR_SUPPORT"));
    let (_, answered) = marta.comment_with(&ticket, answer(2)).await;
    assert_eq!((answered.status.as_str(), answered.version), ("WAITING_FOR_CUSTOMER", 3));
    let lines = timeline(&anna, &ticket).await;
    assert_eq!(
        lines[2..],
        ["Marta CommentAdded Try now.", "Marta StatusChanged WAITING_FOR_CUSTOMER"]
    );
    server.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn posting_a_comment_updates_its_ticket_once_and_prepares_each_statement_once() {
    let server = TestServer::start_logged().await;
    let (anna, marta) = (server.customer("Anna").await, server.agent("Marta").await);
    let ticket = anna.create_ticket("one").await;
    let mut statements = server
        .all_statements_of(async || {
            for _ in 0..10 {
                marta.comment(&ticket, "hello").await;
                server.quiet().await;
            }
        })
        .await;
    statements.retain(|line| !line.contains("SELECT pg_type.oid"));
    // "[pid] LOG:  execute s1: SELECT …": the name is that of the prepared statement.
    let mut names = HashMap::<_, HashSet<_>>::new();
    for line in &statements {
        let (connection, executed) = line.split_once(" LOG:  execute ").unwrap();
        let (name, text) = executed.split_once(": ").unwrap();
        let connection = connection.split('[').next_back().unwrap();
        names.entry((connection, text)).or_default().insert(name);
    }
    let repeated = names.iter().filter(|(_, names)| names.len() > 1).collect::<Vec<_>>();
    assert!(repeated.is_empty(), "{repeated:#?}");
    // One statement updates the ticket, inserts the comment and its events, and places them. The
    // events are not read again.
    let writes = |line: &&String| line.contains("WITH seen");
    assert_eq!(statements.iter().filter(writes).count(), 10, "{statements:#?}");
    let others = [
        "INSERT INTO \"comments\"",
        "INSERT INTO \"events\"",
        "UPDATE \"tickets\"",
        "DELETE FROM pending_events",
        "SELECT f.pos",
    ];
    for part in others {
        assert!(!statements.iter().any(|line| line.contains(part)), "{part} in {statements:#?}");
    }
    server.stop().await;
}
