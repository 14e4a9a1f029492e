//! Redaction: what staff erase is gone from the tables, the search, the caches, the shared messages,
//! the storage and the mails that wait.

use std::{fs, path::PathBuf, time::Duration};

use base64::{Engine as _, engine::general_purpose::URL_SAFE_NO_PAD};
use chrono::TimeDelta;
use futures_util::future::join_all;
use reqwest::{Method, StatusCode};
use serde_json::{Value, json};
use ticketwire::{
    domain::{
        clock::{Clock as _, SystemClock},
        ids::TicketId,
        redaction::{RedactedContent, Redaction},
    },
    storage::ledger::ErasureLedger,
};

use crate::{
    attachment::{self, count, upload},
    harness::{
        Client, TestServer,
        client::{Reply, TECHNICAL_SUPPORT, Ticket},
        mail::MailFixture,
    },
};

/// The fields of an event that say what was redacted or edited, all of which allow fan-out.
pub const CONTENT: &str = "__typename
    ... on TicketEvent { cursor actor { name } ticket { summary description } }
    ... on CommentAdded { comment { id body editedAt redactedAt } }
    ... on CommentEdited { comment { id body } }
    ... on ContentRedacted { content redacted: comment { id body } attachmentId }
    ... on Checkpoint { cursor }";

/// Redacts a comment.
pub async fn redact_comment(client: &Client, id: &str) -> Reply {
    let document = "mutation($id: ID!) { redactComment(input: { commentId: $id }) {
        comment { id body redactedAt edits { body } } ticket { id } userErrors { field code message } } }";
    client.send(document, json!({ "id": id })).await
}

async fn redact_ticket(client: &Client, ticket: &Ticket, text: &str) -> Reply {
    let document = "mutation($id: ID!, $text: TicketText!) {
        redactTicket(input: { ticketId: $id, text: $text }) {
            ticket { summary description version } userErrors { field code } } }";
    client.send(document, json!({ "id": ticket.id, "text": text })).await
}

pub async fn redact_attachment(client: &Client, id: &str) -> Reply {
    let document = "mutation($id: ID!) { redactAttachment(input: { attachmentId: $id }) {
        ticket { attachments { id } } userErrors { field code } } }";
    client.send(document, json!({ "id": id })).await
}

/// The events of a ticket's timeline that a client sees.
pub async fn timeline(client: &Client, ticket: &Ticket) -> Vec<Value> {
    let query = format!(
        "query($id: ID!) {{ node(id: $id) {{ ... on Ticket {{ timeline(last: 50) {{ nodes {{ {} }} }} }} }} }}",
        CONTENT.replace("... on Checkpoint { cursor }", "").replace("cursor actor", "actor")
    );
    let data = client.ok(&query, json!({ "id": ticket.id })).await;
    data["node"]["timeline"]["nodes"].as_array().unwrap().clone()
}

/// How many texts a search finds.
pub async fn hits(client: &Client, text: &str) -> usize {
    let query = "query($text: String!) { search(text: $text) { nodes { ticket { id } } } }";
    let data = client.ok(query, json!({ "text": text })).await;
    data["search"]["nodes"].as_array().unwrap().len()
}

async fn open(client: &Client, summary: &str, description: &str) -> Ticket {
    let input =
        json!({ "categoryId": TECHNICAL_SUPPORT, "summary": summary, "description": description });
    Ticket::read(client.try_create_ticket(input).await.at("/data/createTicket/ticket"))
}

#[tokio::test(flavor = "multi_thread")]
async fn a_redacted_comment_is_gone_from_every_table_and_the_timeline_says_who_did_it() {
    let server = TestServer::start().await;
    let (anna, marta) = (server.customer("Anna").await, server.agent("Marta").await);
    let ticket = anna.create_ticket("one").await;
    let (comment, _) = anna.comment(&ticket, "my password is hunter-tulip").await;
    let (note, _) = marta.note(&ticket, "she sent hunter-tulip").await;
    server.quiet().await;
    assert_eq!(server.tables_with("tulip").await, ["comments", "search_documents"]);
    assert_eq!((hits(&anna, "tulip").await, hits(&marta, "tulip").await), (1, 1));

    let reply = redact_comment(&marta, &comment).await;
    let redacted = reply.at("/data/redactComment/comment");
    assert_eq!((&redacted["id"], &redacted["body"]), (&json!(comment), &json!("")));
    assert!(redacted["redactedAt"].is_string(), "{}", reply.body);
    assert_eq!((hits(&anna, "tulip").await, hits(&marta, "tulip").await), (0, 1));
    let events = timeline(&anna, &ticket).await;
    assert_eq!(events[1]["comment"]["body"], "");
    let event = events.last().unwrap();
    assert_eq!(
        (&event["__typename"], &event["actor"]["name"]),
        (&json!("ContentRedacted"), &json!("Marta"))
    );
    assert_eq!((&event["content"], &event["redacted"]["id"]), (&json!("COMMENT"), &json!(comment)));

    let seen = timeline(&anna, &ticket).await;
    assert_eq!(redact_comment(&marta, &note).await.user_errors("redactComment"), [] as [&str; 0]);
    assert_eq!(timeline(&anna, &ticket).await, seen, "a note leaves no trace");
    assert_eq!(timeline(&marta, &ticket).await.len(), seen.len() + 2);
    assert_eq!(server.tables_with("tulip").await, [] as [&str; 0]);
    server.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_redacted_summary_and_description_are_empty_and_the_summary_can_be_written_again() {
    let server = TestServer::start().await;
    let (anna, marta) = (server.customer("Anna").await, server.agent("Marta").await);
    let ticket = open(&anna, "Key orchid-7", "The key is orchid-7.").await;
    for (text, content) in [("SUMMARY", "SUMMARY"), ("DESCRIPTION", "DESCRIPTION")] {
        let reply = redact_ticket(&marta, &ticket, text).await;
        assert_eq!(reply.user_errors("redactTicket"), [] as [&str; 0]);
        assert_eq!(timeline(&anna, &ticket).await.last().unwrap()["content"], content);
        let again = redact_ticket(&marta, &ticket, text).await;
        assert_eq!(again.user_errors("redactTicket"), ["REDACTED"]);
    }
    assert_eq!(server.tables_with("orchid").await, [] as [&str; 0]);
    assert_eq!(hits(&marta, "orchid").await, 0);
    let shown = anna
        .ok(
            "query($id: ID!) { node(id: $id) { ... on Ticket { summary description version } } }",
            json!({ "id": ticket.id }),
        )
        .await;
    assert_eq!(shown["node"], json!({ "summary": "", "description": "", "version": 2 }));
    marta.update(&ticket, json!({ "summary": "A key", "expectedVersion": 2 })).await;
    assert_eq!(hits(&marta, "key").await, 1);
    assert_eq!(
        redact_ticket(&marta, &ticket, "SUMMARY").await.user_errors("redactTicket"),
        [] as [&str; 0]
    );
    server.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn live_streams_receive_a_redaction_as_an_event() {
    let server = TestServer::start().await;
    let (anna, marta) = (server.customer("Anna").await, server.agent("Marta").await);
    let ticket = anna.create_ticket("one").await;
    let (comment, _) = anna.comment(&ticket, "tulip").await;
    let (note, _) = marta.note(&ticket, "tulip").await;
    server.quiet().await;
    let watch = format!("subscription {{ inboxEvents {{ {CONTENT} }} }}");
    let mut sockets = [anna.socket().await, marta.socket().await];
    for socket in &mut sockets {
        socket.subscribe("1", &watch, json!({})).await;
        socket.caught_up().await;
    }
    redact_comment(&marta, &note).await;
    redact_comment(&marta, &comment).await;
    let [own, staff] = &mut sockets;
    assert_eq!(staff.item().await["redacted"]["id"], json!(note));
    for socket in [own, staff] {
        let item = socket.item().await;
        assert_eq!(item["__typename"], "ContentRedacted");
        assert_eq!(item["redacted"], json!({ "id": comment, "body": "" }));
    }
    server.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn no_node_serves_redacted_text_although_it_has_not_heard_of_the_redaction() {
    let server = TestServer::start().await;
    let node = server.second_node().await;
    let (anna, marta) = (server.customer("Anna").await, server.agent("Marta").await);
    let igor = server.agent("Igor").await;
    let there = |client: &Client| client.at(&node.address().to_string());
    let ticket = anna.create_ticket("one").await;
    server.quiet().await;
    let before = anna.ok("{ eventCursor }", json!({})).await["eventCursor"].clone();
    let watch =
        format!("subscription($after: String) {{ inboxEvents(after: $after) {{ {CONTENT} }} }}");
    let mut first = there(&marta).socket().await;
    first.subscribe("1", &watch, json!({})).await;
    first.caught_up().await;
    // This node has the comment in memory from the moment in which it posts it.
    let (comment, _) = there(&anna).comment(&ticket, "tulip").await;
    assert_eq!(first.item().await["comment"]["body"], "tulip");
    assert_eq!(timeline(&there(&anna), &ticket).await[1]["comment"]["body"], "tulip");

    // No event gets a position, so no node receives one.
    let mut database = server.database.connect().await;
    let lock = database.transaction().await.unwrap();
    lock.execute("SELECT FROM feed_head FOR UPDATE", &[]).await.unwrap();
    // The message is shared now, for as long as that may take.
    let mut second = there(&igor).socket().await;
    second.subscribe("1", &watch, json!({ "after": before })).await;
    assert_eq!(second.item().await["comment"]["body"], "tulip");
    assert_eq!(
        redact_comment(&marta, &comment).await.user_errors("redactComment"),
        [] as [&str; 0]
    );
    let mut third = there(&igor).socket().await;
    third.subscribe("1", &watch, json!({ "after": before })).await;
    assert_eq!(third.item().await["comment"]["body"], "");
    for client in [&anna, &marta] {
        assert_eq!(timeline(&there(client), &ticket).await[1]["comment"]["body"], "");
    }
    lock.rollback().await.unwrap();
    assert_eq!(first.item().await["__typename"], "ContentRedacted");
    node.stop().await;
    server.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_page_shows_no_comment_that_was_redacted_as_soon_as_it_was_posted() {
    // It shows something only if the page is read within 250 ms of the comment.
    let server = TestServer::start().await;
    let (anna, marta) = (server.customer("Anna").await, server.agent("Marta").await);
    let ticket = anna.create_ticket("one").await;
    let database = server.database.connect().await;
    let (comment, _) = anna.comment(&ticket, "tulip").await;
    let page = async {
        let redacted = "SELECT count(*) FROM comments WHERE redacted_at IS NOT NULL";
        while database.query_one(redacted, &[]).await.unwrap().get::<_, i64>(0) == 0 {}
        timeline(&anna, &ticket).await
    };
    let page = tokio::time::timeout(Duration::from_secs(30), page);
    let (redacted, page) = tokio::join!(redact_comment(&marta, &comment), page);
    assert_eq!(redacted.user_errors("redactComment"), [] as [&str; 0]);
    assert_eq!(page.expect("a page in time")[1]["comment"]["body"], "");
    server.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn only_staff_redact_and_only_once() {
    let server = TestServer::start().await;
    let (anna, marta) = (server.customer("Anna").await, server.agent("Marta").await);
    let (jonas, igor) = (server.customer("Jonas").await, server.agent("Igor").await);
    let ticket = anna.create_ticket("one").await;
    let (comment, _) = anna.comment(&ticket, "tulip").await;
    let (note, _) = marta.note(&ticket, "tulip").await;
    let before = server.content().await;
    for (client, id, code) in [
        (&anna, &comment, "FORBIDDEN"),
        (&anna, &note, "NOT_FOUND"),
        (&jonas, &comment, "NOT_FOUND"),
        (&marta, &ticket.id, "NOT_FOUND"),
        (&server.anonymous(), &comment, "UNAUTHENTICATED"),
    ] {
        assert_eq!(redact_comment(client, id).await.code(), code);
    }
    assert_eq!(redact_ticket(&anna, &ticket, "SUMMARY").await.code(), "FORBIDDEN");
    assert_eq!(redact_ticket(&jonas, &ticket, "SUMMARY").await.code(), "NOT_FOUND");
    assert_eq!(server.content().await, before);

    let replies = tokio::join!(redact_comment(&marta, &comment), redact_comment(&igor, &comment));
    let mut codes =
        [replies.0.user_errors("redactComment"), replies.1.user_errors("redactComment")];
    codes.sort();
    assert_eq!(codes, [vec![], vec!["REDACTED"]]);
    let redacted = timeline(&anna, &ticket).await;
    let redacted = redacted.iter().filter(|event| event["__typename"] == "ContentRedacted");
    assert_eq!(redacted.count(), 1);
    marta.update(&ticket, json!({ "status": "CLOSED" })).await;
    assert_eq!(redact_comment(&marta, &note).await.user_errors("redactComment"), [] as [&str; 0]);
    server.stop().await;
}

/// An empty folder for attachments.
fn folder(name: &str) -> PathBuf {
    let folder = PathBuf::from(format!("{}/redaction-{name}", env!("CARGO_TARGET_TMPDIR")));
    drop(fs::remove_dir_all(&folder));
    fs::create_dir_all(&folder).unwrap();
    folder
}

/// Attaches a file to a comment of a new ticket; returns the ticket, and the file's id and link.
async fn attach(client: &Client) -> (Ticket, String, String) {
    let ticket = client.create_ticket("one").await;
    let input = json!({ "ticketId": ticket.id, "body": "see the file" });
    let reply = upload(client, attachment::COMMENT, input, &[("tulip.txt", b"tulip")]).await;
    let file = reply.at("/data/addComment/comment/attachments/0");
    let text = |name: &str| file[name].as_str().unwrap().to_owned();
    (ticket, text("id"), text("url"))
}

/// The folder in which the bytes of an attachment are stored.
fn stored_at(folder: &std::path::Path, id: &str) -> PathBuf {
    let id = String::from_utf8(URL_SAFE_NO_PAD.decode(id).unwrap()).unwrap();
    folder.join(id.strip_prefix("Attachment:").unwrap())
}

#[tokio::test(flavor = "multi_thread")]
async fn a_redacted_attachment_and_its_bytes_are_gone() {
    let folder = folder("gone");
    let flags = [("storage.folder", folder.to_str().unwrap().to_owned())];
    let server = TestServer::start_with(&flags).await;
    let (anna, marta) = (server.customer("Anna").await, server.agent("Marta").await);
    let (ticket, file, url) = attach(&anna).await;
    assert!(stored_at(&folder, &file).exists());
    assert_eq!(anna.request(Method::GET, &url, |it| it).await.status, StatusCode::OK);
    assert_eq!(redact_attachment(&anna, &file).await.code(), "FORBIDDEN");
    let reply = redact_attachment(&marta, &file).await;
    assert_eq!(reply.user_errors("redactAttachment"), [] as [&str; 0]);
    assert!(!stored_at(&folder, &file).exists());
    assert_eq!(anna.request(Method::GET, &url, |it| it).await.status, StatusCode::NOT_FOUND);
    assert_eq!(server.tables_with("tulip").await, [] as [&str; 0]);
    let event = timeline(&anna, &ticket).await.pop().unwrap();
    assert_eq!((&event["content"], &event["attachmentId"]), (&json!("ATTACHMENT"), &json!(file)));
    assert_eq!(event["redacted"]["body"], "see the file");
    let again = redact_attachment(&marta, &file).await;
    assert_eq!(again.user_errors("redactAttachment"), ["REDACTED"]);
    // It could have belonged to a note.
    assert_eq!(redact_attachment(&anna, &file).await.code(), "NOT_FOUND");
    let jonas = server.customer("Jonas").await;
    assert_eq!(redact_attachment(&jonas, &file).await.code(), "NOT_FOUND");
    server.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn bytes_that_could_not_be_deleted_at_once_are_deleted_later() {
    let folder = folder("later");
    let flags = [("storage.folder", folder.to_str().unwrap().to_owned())];
    let mut server = TestServer::start_with(&flags).await;
    let (anna, marta) = (server.customer("Anna").await, server.agent("Marta").await);
    let (_, file, _) = attach(&anna).await;
    // A node whose storage fails: its folder is a file.
    let broken = folder.join("broken");
    fs::write(&broken, "").unwrap();
    let flags_of_node = [("storage.folder", broken.to_str().unwrap().to_owned())];
    let node = server.another_node(&flags_of_node).await.unwrap();
    let reply = redact_attachment(&marta.at(&node.address().to_string()), &file).await;
    assert_eq!(reply.user_errors("redactAttachment"), [] as [&str; 0]);
    node.stop().await;
    assert!(stored_at(&folder, &file).exists());
    server.clock.advance(TimeDelta::minutes(11));
    server.restart_with(&flags).await;
    while count(&server, "true").await > 0 {}
    assert!(!stored_at(&folder, &file).exists());
    server.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_mail_that_waits_leaves_out_what_was_redacted() {
    let fixture = MailFixture::start_with(&[("mail.window_seconds", "30")]).await;
    let MailFixture { server, smtp, anna, boris } = &fixture;
    let ticket = open(anna, "Key orchid-7", "The key is orchid-7.").await;
    let (comment, _) = boris.comment(&ticket, "Not tulip-9?").await;
    server.quiet().await;
    redact_comment(boris, &comment).await;
    redact_ticket(boris, &ticket, "SUMMARY").await;
    redact_ticket(boris, &ticket, "DESCRIPTION").await;
    server.clock.advance(TimeDelta::seconds(31));
    let mail = smtp.received(1).await.remove(0);
    for word in ["orchid", "tulip"] {
        assert!(!mail.text.contains(word), "{}", mail.text);
    }
    assert!(mail.text.contains("(removed)"), "{}", mail.text);
    fixture.server.stop().await;
}

/// Brings back a comment and a description as a backup does that is older than their redactions.
const BACKUP: &str = "
    ALTER TABLE events DISABLE TRIGGER events_append_only;
    UPDATE events SET occurred_at = occurred_at - interval '1 hour' WHERE kind = 'content_redacted';
    ALTER TABLE events ENABLE TRIGGER events_append_only;
    DELETE FROM redactions;
    UPDATE comments SET body = 'parsnip', redacted_at = NULL;
    UPDATE tickets SET description = 'celery'";

/// Redacts a comment and a description, which [`BACKUP`] brings back. Returns the member of staff, and
/// the ticket.
async fn redact_two(server: &TestServer) -> (Client, Ticket) {
    let (anna, marta) = (server.customer("Anna").await, server.agent("Marta").await);
    let ticket = open(&anna, "vegetables", "celery").await;
    let (comment, _) = anna.comment(&ticket, "parsnip").await;
    redact_comment(&marta, &comment).await;
    redact_ticket(&marta, &ticket, "DESCRIPTION").await;
    (marta, ticket)
}

/// Checks that no row has the texts of [`redact_two`].
async fn assert_redacted(server: &TestServer) {
    for text in ["parsnip", "celery"] {
        assert_eq!(server.tables_with(text).await, [] as [&str; 0], "{text}");
    }
}

/// The folder of the redactions in the ledger of a server.
fn redactions_of(server: &TestServer) -> PathBuf {
    let name = server.database.url.rsplit('/').next().unwrap();
    format!("{}/erasures/{name}/redactions", env!("CARGO_TARGET_TMPDIR")).into()
}

/// Restarts a server after its database was changed.
async fn restart_with(server: &mut TestServer, change: &str) {
    let database = server.database.connect().await;
    server.clock.advance(TimeDelta::minutes(2));
    server.restart_after(async || database.batch_execute(change).await.unwrap()).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_restored_backup_does_not_bring_a_summary_back_that_was_redacted_again() {
    let mut server = TestServer::start().await;
    let (anna, marta) = (server.customer("Anna").await, server.agent("Marta").await);
    let ticket = open(&anna, "turnip", "vegetables").await;
    redact_ticket(&marta, &ticket, "SUMMARY").await;
    server.clock.advance(TimeDelta::minutes(10));
    marta.update(&ticket, json!({ "summary": "parsnip", "expectedVersion": 2 })).await;
    redact_ticket(&marta, &ticket, "SUMMARY").await;
    assert_eq!(server.tables_with("parsnip").await, [] as [&str; 0]);
    // The backup was made between the redactions.
    let backup = "
        ALTER TABLE events DISABLE TRIGGER events_append_only;
        UPDATE events SET occurred_at = occurred_at - interval '5 minutes'
        WHERE kind = 'content_redacted';
        ALTER TABLE events ENABLE TRIGGER events_append_only;
        UPDATE redactions SET redacted_at = redacted_at - interval '5 minutes';
        UPDATE tickets SET summary = 'parsnip'";
    restart_with(&mut server, backup).await;
    assert_eq!(server.tables_with("parsnip").await, [] as [&str; 0]);
    server.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn what_was_written_after_a_redaction_stays_although_its_record_is_lost() {
    let mut server = TestServer::start().await;
    let (anna, marta) = (server.customer("Anna").await, server.agent("Marta").await);
    let ticket = open(&anna, "turnip", "vegetables").await;
    redact_ticket(&marta, &ticket, "SUMMARY").await;
    marta.update(&ticket, json!({ "summary": "parsnip", "expectedVersion": 2 })).await;
    // As if the schema was moved down and up again.
    restart_with(&mut server, "DELETE FROM redactions").await;
    let database = server.database.connect().await;
    let kept = "SELECT (SELECT summary FROM tickets), (SELECT count(*) FROM redactions)";
    let row = database.query_one(kept, &[]).await.unwrap();
    assert_eq!((row.get(0), row.get(1)), ("parsnip", 1_i64));
    server.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn an_entry_that_cannot_be_read_or_is_unknown_does_not_stop_the_others() {
    let mut server = TestServer::start().await;
    redact_two(&server).await;
    let folder = redactions_of(&server);
    fs::write(folder.join("comment-0.json"), "{").unwrap();
    // The backup is older than the ticket.
    let unknown = "summary-00000000-0000-4000-8000-000000000000";
    let entry = json!({ "ticket_id": unknown.trim_start_matches("summary-"), "content": "summary",
        "redacted_at": "2026-01-01T00:00:00Z" });
    fs::write(folder.join(format!("{unknown}.json")), entry.to_string()).unwrap();
    restart_with(&mut server, BACKUP).await;
    assert_redacted(&server).await;
    let database = server.database.connect().await;
    let recorded = "SELECT count(*) FROM redactions WHERE name = $1";
    assert_eq!(database.query_one(recorded, &[&unknown]).await.unwrap().get::<_, i64>(0), 1);
    server.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn several_nodes_write_the_same_entry_of_the_ledger() {
    let folder = folder("shared");
    let redaction = Redaction {
        ticket_id: TicketId(uuid::Uuid::nil()),
        content: RedactedContent::Summary,
        redacted_at: SystemClock.now(),
    };
    let writers = (0..32).map(|_| {
        let ledger = ErasureLedger::new(&folder);
        tokio::spawn(async move { ledger.record_redaction(&redaction).await })
    });
    for written in join_all(writers.collect::<Vec<_>>()).await {
        written.unwrap().unwrap();
    }
    assert_eq!(fs::read_dir(folder.join("redactions")).unwrap().count(), 1);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_restored_backup_does_not_bring_a_redacted_text_back() {
    let mut server = TestServer::start().await;
    let (marta, ticket) = redact_two(&server).await;
    let folder = redactions_of(&server);
    let entries = std::fs::read_dir(&folder).unwrap().flatten();
    let entries = entries.map(|entry| std::fs::read_to_string(entry.path()).unwrap());
    let entries = entries.collect::<Vec<_>>();
    assert_eq!(entries.len(), 2);
    for text in ["parsnip", "celery"] {
        assert!(entries.iter().all(|entry| !entry.contains(text)), "{entries:?}");
    }
    // Another node has the redactions in its own ledger.
    let other = format!("{}/ledger-redactions", env!("CARGO_TARGET_TMPDIR"));
    drop(std::fs::remove_dir_all(&other));
    let node = server.another_node(&[("storage.erasure_ledger", other.clone())]).await.unwrap();
    assert_eq!(std::fs::read_dir(format!("{other}/redactions")).unwrap().count(), 2);
    node.stop().await;

    restart_with(&mut server, BACKUP).await;
    assert_redacted(&server).await;
    let events = timeline(&marta.at(&server.address()), &ticket).await;
    let redacted = events.iter().filter(|event| event["__typename"] == "ContentRedacted");
    assert_eq!(redacted.count(), 4, "{events:?}");
    server.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_redaction_that_fails_leaves_nothing_in_the_ledger() {
    let server = TestServer::start().await;
    let (anna, marta) = (server.customer("Anna").await, server.agent("Marta").await);
    let ticket = open(&anna, "vegetables", "celery").await;
    let (comment, _) = anna.comment(&ticket, "parsnip").await;
    let database = server.database.connect().await;
    // Checked at the end of the transaction, after the ledger was written.
    database
        .batch_execute(
            "CREATE FUNCTION fail() RETURNS trigger LANGUAGE plpgsql AS
                 $$ BEGIN RAISE 'no'; END $$;
             CREATE CONSTRAINT TRIGGER fail AFTER INSERT ON redactions
                 DEFERRABLE INITIALLY DEFERRED FOR EACH ROW EXECUTE FUNCTION fail()",
        )
        .await
        .unwrap();
    assert_eq!(redact_comment(&marta, &comment).await.code(), "INTERNAL");
    let folder = redactions_of(&server);
    assert_eq!(std::fs::read_dir(&folder).unwrap().count(), 0);
    assert_ne!(server.tables_with("parsnip").await, [] as [&str; 0]);
    server.stop().await;
}
