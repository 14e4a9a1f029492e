//! Customers edit their comments; staff see what they were.

use chrono::TimeDelta;
use serde_json::{Value, json};

use crate::{
    harness::{
        Client, TestServer,
        client::{Reply, Ticket},
        mail::MailFixture,
    },
    redaction::{CONTENT, hits, redact_comment, timeline},
};

/// Edits a comment.
pub async fn edit(client: &Client, id: &str, body: &str) -> Reply {
    let document = "mutation($id: ID!, $body: String!) {
        editComment(input: { commentId: $id, body: $body }) {
            comment { body editedAt } ticket { updatedAt } userErrors { field code message } } }";
    client.send(document, json!({ "id": id, "body": body })).await
}

/// What a comment was, or null for customers.
async fn edits(client: &Client, id: &str) -> Value {
    let query =
        "query($id: ID!) { node(id: $id) { ... on Comment { edits { body replacedAt } } } }";
    client.ok(query, json!({ "id": id })).await["node"]["edits"].clone()
}

async fn comment(server: &TestServer) -> (Client, Ticket, String) {
    let anna = server.customer("Anna").await;
    let ticket = anna.create_ticket("one").await;
    let (id, _) = anna.comment(&ticket, "The server is called tulip.").await;
    (anna, ticket, id)
}

#[tokio::test(flavor = "multi_thread")]
async fn a_customer_edits_a_comment_and_staff_see_what_it_was() {
    let server = TestServer::start().await;
    let (anna, ticket, id) = comment(&server).await;
    let marta = server.agent("Marta").await;
    let mut socket = marta.socket().await;
    let watch = format!("subscription {{ inboxEvents {{ {CONTENT} }} }}");
    socket.subscribe("1", &watch, json!({})).await;
    socket.caught_up().await;
    server.clock.advance(TimeDelta::minutes(5));
    let reply = edit(&anna, &id, "The server is called orchid.  ").await;
    let edited = reply.at("/data/editComment/comment");
    assert_eq!(edited["body"], "The server is called orchid.", "{}", reply.body);
    assert_eq!(&edited["editedAt"], reply.at("/data/editComment/ticket/updatedAt"));
    let item = socket.item().await;
    assert_eq!(item["__typename"], "CommentEdited");
    assert_eq!(item["comment"]["body"], "The server is called orchid.");
    server.clock.advance(TimeDelta::minutes(9));
    assert_eq!(
        edit(&anna, &id, "It is called rose.").await.user_errors("editComment"),
        [] as [&str; 0]
    );

    let events = timeline(&anna, &ticket).await;
    let kinds = events.iter().map(|event| event["__typename"].as_str().unwrap());
    let expected = ["TicketCreated", "CommentAdded", "CommentEdited", "CommentEdited"];
    assert_eq!(kinds.collect::<Vec<_>>(), expected);
    assert_eq!(events[1]["comment"]["body"], "It is called rose.");
    assert_eq!((hits(&marta, "tulip").await, hits(&marta, "rose").await), (0, 1));
    let earlier = edits(&marta, &id).await;
    assert_eq!(earlier[0]["body"], "The server is called tulip.");
    assert_eq!(earlier[1]["body"], "The server is called orchid.");
    assert_eq!(earlier[0]["replacedAt"], edited["editedAt"]);
    assert_eq!(edits(&anna, &id).await, Value::Null);

    redact_comment(&marta, &id).await;
    assert_eq!(edits(&marta, &id).await, json!([]));
    for word in ["tulip", "orchid", "rose"] {
        assert_eq!(server.tables_with(word).await, [] as [&str; 0], "{word}");
    }
    server.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn only_the_author_edits_a_comment_within_fifteen_minutes() {
    let server = TestServer::start().await;
    let (anna, ticket, id) = comment(&server).await;
    let (marta, jonas) = (server.agent("Marta").await, server.customer("Jonas").await);
    let (answer, _) = marta.comment(&ticket, "Which one?").await;
    let (note, _) = marta.note(&ticket, "She means orchid.").await;
    let (redacted, _) = anna.comment(&ticket, "My password is rose.").await;
    redact_comment(&marta, &redacted).await;
    let before = server.content().await;
    for (client, comment, code) in [
        (&marta, &id, "FORBIDDEN"),
        (&marta, &answer, "FORBIDDEN"),
        (&anna, &answer, "FORBIDDEN"),
        (&anna, &note, "NOT_FOUND"),
        (&jonas, &id, "NOT_FOUND"),
        (&anna, &ticket.id, "NOT_FOUND"),
    ] {
        assert_eq!(edit(client, comment, "mine").await.code(), code);
    }
    assert_eq!(edit(&anna, &id, " ").await.user_errors("editComment"), ["REQUIRED"]);
    assert_eq!(edit(&anna, &redacted, "x").await.user_errors("editComment"), ["REDACTED"]);
    assert_eq!(
        edit(&anna, &id, "The server is called tulip.").await.user_errors("editComment"),
        [] as [&str; 0]
    );
    server.clock.advance(TimeDelta::seconds(15 * 60 + 1));
    assert_eq!(edit(&anna, &id, "late").await.user_errors("editComment"), ["TOO_LATE"]);
    assert_eq!(server.content().await, before);
    let (last, _) = anna.comment(&ticket, "the last").await;
    anna.update(&ticket, json!({ "status": "CLOSED" })).await;
    assert_eq!(edit(&anna, &last, "x").await.user_errors("editComment"), ["TICKET_CLOSED"]);
    let (merged, other) = (anna.create_ticket("two").await, anna.create_ticket("three").await);
    let (last, _) = anna.comment(&merged, "the last").await;
    let merge = "mutation($a: ID!, $b: ID!) {
        mergeTicket(input: { ticketId: $a, intoId: $b }) { userErrors { code } } }";
    marta.ok(merge, json!({ "a": merged.id, "b": other.id })).await;
    let reply = edit(&anna, &last, "x").await;
    assert_eq!(reply.user_errors("editComment"), ["TICKET_MERGED"], "{}", reply.body);
    assert_eq!(*reply.at("/data/editComment/userErrors/0/field/0"), "commentId");
    server.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_comment_can_be_edited_twenty_times_and_by_one_call_after_the_other() {
    let server = TestServer::start().await;
    let (anna, _, id) = comment(&server).await;
    let texts = (0..21).map(|n| format!("text {n}")).collect::<Vec<_>>();
    let replies =
        futures_util::future::join_all(texts.iter().map(|text| edit(&anna, &id, text))).await;
    let mut codes = replies.iter().flat_map(|reply| reply.user_errors("editComment"));
    assert_eq!((codes.next(), codes.next()), (Some("TOO_MANY"), None));
    let marta = server.agent("Marta").await;
    assert_eq!(edits(&marta, &id).await.as_array().unwrap().len(), 20);
    server.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn an_equal_text_waits_for_no_lock_and_leaves_no_event() {
    let server = TestServer::start().await;
    let (anna, ticket, id) = comment(&server).await;
    let mut other = server.database.connect().await;
    let holder = other.transaction().await.unwrap();
    holder.execute("SELECT FROM tickets FOR NO KEY UPDATE", &[]).await.unwrap();
    let reply = edit(&anna, &id, "The server is called tulip. ").await;
    let comment = reply.at("/data/editComment/comment");
    assert_eq!(comment["body"], "The server is called tulip.", "{}", reply.body);
    assert_eq!(comment["editedAt"], Value::Null);
    holder.commit().await.unwrap();
    assert_eq!(timeline(&anna, &ticket).await.len(), 2);
    server.clock.advance(TimeDelta::seconds(15 * 60 + 1));
    let late = edit(&anna, &id, "The server is called tulip.").await;
    assert_eq!(late.user_errors("editComment"), ["TOO_LATE"]);
    server.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_mail_that_waits_carries_the_edited_text() {
    let fixture = MailFixture::start_with(&[("mail.window_seconds", "30")]).await;
    let MailFixture { server, smtp, anna, .. } = &fixture;
    let jonas = server.customer("Jonas").await;
    let ticket = anna.create_ticket("one").await;
    anna.share(&ticket, &jonas).await;
    let (id, _) = jonas.comment(&ticket, "Mine is tulip.").await;
    server.quiet().await;
    edit(&jonas, &id, "Mine is orchid.").await;
    server.clock.advance(TimeDelta::seconds(31));
    let mail = smtp.nth(1, "Mine is").await;
    assert!(mail.text.contains("Mine is orchid.") && !mail.text.contains("tulip"), "{}", mail.text);
    fixture.server.stop().await;
}
