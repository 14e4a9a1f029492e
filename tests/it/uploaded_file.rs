//! Files that are uploaded in requests of their own, before the text that they belong to.

use chrono::TimeDelta;
use serde_json::{Value, json};
use ticketwire::domain::service_token::Scope;

use crate::{
    attachment::{count, send, ticket},
    harness::{Client, TestServer, client::Reply},
};

const UPLOAD: &str = "mutation($input: UploadFileInput!) { uploadFile(input: $input) {
    file { id name size contentType expiresAt } userErrors { field code message } } }";
const CREATE: &str = "mutation($input: CreateTicketInput!) { createTicket(input: $input) {
    ticket { id attachments { id name size } } userErrors { field code } } }";

async fn upload(client: &Client, name: &str, bytes: &[u8]) -> Reply {
    let operations = json!({ "query": UPLOAD, "variables": { "input": { "file": null } } });
    let map = json!({ "0": ["variables.input.file"] }).to_string();
    let operations = operations.to_string();
    let parts = [
        ("operations", None, operations.as_bytes()),
        ("map", None, map.as_bytes()),
        ("0", Some(name), bytes),
    ];
    send(client, &parts).await
}

pub async fn uploaded(client: &Client, name: &str, bytes: &[u8]) -> String {
    let reply = upload(client, name, bytes).await;
    let id = reply.at("/data/uploadFile/file/id").as_str();
    id.unwrap_or_else(|| panic!("{}", reply.body)).to_owned()
}

async fn create(client: &Client, files: &[&str]) -> Reply {
    let mut input = ticket();
    input["uploadedFileIds"] = json!(files);
    client.send(CREATE, json!({ "input": input })).await
}

async fn delete(client: &Client, id: &str) -> Reply {
    let document = "mutation($input: DeleteUploadedFileInput!) {
        deleteUploadedFile(input: $input) { userErrors { code } } }";
    client.send(document, json!({ "input": { "id": id } })).await
}

/// Inserts copies of each stored file that is not attached.
async fn insert_copies(server: &TestServer, is_kept: &str, copies: u32) {
    let insert = format!(
        "INSERT INTO attachments (id, uploader_id, name, size, content_type, sha256, created_at, is_kept)
         SELECT gen_random_uuid(), uploader_id, name, size, content_type, sha256, created_at, {is_kept}
         FROM attachments, generate_series(1, {copies}) WHERE ticket_id IS NULL"
    );
    server.database.connect().await.execute(&insert, &[]).await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn files_are_uploaded_first_and_attached_later() {
    let server = TestServer::start().await;
    let anna = server.customer("Anna").await;
    let reply = upload(&anna, "a.txt", b"hello").await;
    let file = reply.at("/data/uploadFile/file");
    assert_eq!(file["name"], "a.txt", "{}", reply.body);
    assert_eq!(file["size"], 5.0);
    let (a, b) = (file["id"].as_str().unwrap().to_owned(), uploaded(&anna, "b.txt", b"b").await);
    let reply = create(&anna, &[&b, &a]).await;
    let files = reply.at("/data/createTicket/ticket/attachments").as_array().unwrap();
    let names = files.iter().map(|file| file["name"].as_str().unwrap()).collect::<Vec<_>>();
    assert_eq!(names, ["b.txt", "a.txt"], "{}", reply.body);
    assert_eq!(files[1]["id"], a.as_str());
    // With files of its own, in a comment.
    let opened = anna.create_ticket("two").await;
    let c = uploaded(&anna, "c.txt", b"c").await;
    let input = json!({ "ticketId": opened.id, "body": "See there.", "uploadedFileIds": [c] });
    let document = "mutation($input: AddCommentInput!) { addComment(input: $input) {
        comment { attachments { name } } userErrors { code } } }";
    let reply = crate::attachment::upload(&anna, document, input, &[("d.txt", b"d")]).await;
    assert_eq!(
        reply.at("/data/addComment/comment/attachments"),
        &json!([{ "name": "d.txt" }, { "name": "c.txt" }])
    );
    server.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_file_is_attached_once_and_only_by_its_uploader() {
    let server = TestServer::start().await;
    let (anna, boris) = (server.customer("Anna").await, server.customer("Boris").await);
    let file = uploaded(&anna, "a.txt", b"hello").await;
    let tickets = async || count(&server, "true").await;
    let before = tickets().await;
    for (client, files) in [
        (&boris, vec![file.as_str()]),
        (&anna, vec![&file, "QXR0YWNobWVudDow"]),
        (&anna, vec!["nonsense"]),
    ] {
        let reply = create(client, &files).await;
        assert_eq!(reply.user_errors("createTicket"), ["EXPIRED"], "{files:?}: {}", reply.body);
    }
    let mut input = ticket();
    input["uploadedFileIds"] = json!([file, file]);
    let document = "mutation($input: CreateTicketInput!) { createTicket(input: $input) {
        userErrors { code message } } }";
    let twice = anna.send(document, json!({ "input": input })).await;
    assert_eq!(twice.user_errors("createTicket"), ["EXPIRED"], "{}", twice.body);
    assert!(twice.body.to_string().contains("A file is named twice."), "{}", twice.body);
    assert_eq!(tickets().await, before);
    let mut input = ticket();
    input["uploadedFileIds"] = json!([file]);
    input["idempotencyKey"] = json!("once");
    let first = anna.send(CREATE, json!({ "input": input })).await;
    assert_eq!(first.user_errors("createTicket"), [] as [&str; 0], "{}", first.body);
    // The same key with the same input returns the same ticket; another ticket cannot have it.
    let second = anna.send(CREATE, json!({ "input": input })).await;
    assert_eq!(second.body, first.body);
    let attached = create(&anna, &[&file]).await;
    assert_eq!(attached.user_errors("createTicket"), ["EXPIRED"]);
    assert_eq!(*attached.at("/data/createTicket/userErrors/0/field"), json!(["uploadedFileIds"]));
    assert_eq!(delete(&anna, &file).await.user_errors("deleteUploadedFile"), ["EXPIRED"]);
    let many = (0..30).map(|_| "nonsense").collect::<Vec<_>>();
    assert_eq!(create(&anna, &many).await.user_errors("createTicket"), ["TOO_MANY"]);
    server.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn the_errors_say_which_files_have_expired() {
    let server = TestServer::start().await;
    let anna = server.customer("Anna").await;
    let kept = uploaded(&anna, "a.txt", b"a").await;
    let gone = uploaded(&anna, "b.txt", b"b").await;
    assert_eq!(delete(&anna, &gone).await.user_errors("deleteUploadedFile"), [] as [&str; 0]);
    let document = "mutation($input: CreateTicketInput!) { createTicket(input: $input) {
        userErrors { field code } } }";
    let mut input = ticket();
    input["uploadedFileIds"] = json!([gone, kept, "nonsense"]);
    let reply = anna.send(document, json!({ "input": input })).await;
    assert_eq!(
        reply.at("/data/createTicket/userErrors"),
        &json!([
            { "field": ["uploadedFileIds", "0"], "code": "EXPIRED" },
            { "field": ["uploadedFileIds", "2"], "code": "EXPIRED" },
        ])
    );
    server.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn files_of_a_draft_are_kept_for_a_week_and_do_not_count_against_other_uploads() {
    let flags = [
        ("limits.unused_files_per_account", "1".to_owned()),
        ("attachments.max_files", "1".to_owned()),
    ];
    let mut server = TestServer::start_with(&flags).await;
    let anna = server.customer("Anna").await;
    let first = uploaded(&anna, "a.txt", b"a").await;
    let second = uploaded(&anna, "b.txt", b"b").await;
    assert_eq!(count(&server, "ticket_id IS NULL").await, 2);
    let document = "mutation($input: CreateTicketInput!) { createTicket(input: $input) {
        ticket { id } userErrors { code } } }";
    let reply = crate::attachment::upload(&anna, document, ticket(), &[("c.txt", b"c")]).await;
    assert_eq!(reply.user_errors("createTicket"), [] as [&str; 0], "{}", reply.body);
    assert_eq!(delete(&anna, &first).await.user_errors("deleteUploadedFile"), [] as [&str; 0]);
    assert_eq!(delete(&anna, &first).await.user_errors("deleteUploadedFile"), ["EXPIRED"]);
    assert_eq!(count(&server, "ticket_id IS NULL").await, 1);
    // A file of an upload that was broken off is deleted first.
    insert_copies(&server, "false", 1).await;
    server.clock.advance(TimeDelta::days(6));
    server.restart_with(&flags).await;
    while count(&server, "NOT is_kept AND ticket_id IS NULL").await > 0 {}
    assert_eq!(count(&server, "ticket_id IS NULL").await, 1);
    server.clock.advance(TimeDelta::days(2));
    server.restart_with(&flags).await;
    while count(&server, "ticket_id IS NULL").await > 0 {}
    let anna = anna.at(&server.address());
    let anna = anna.sign_in("anna@example.com", crate::harness::server::PASSWORD).await;
    assert_eq!(create(&anna, &[&second]).await.user_errors("createTicket"), ["EXPIRED"]);
    server.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn an_empty_file_a_surplus_one_and_one_of_a_stranger_are_not_kept() {
    let server = TestServer::start().await;
    let anna = server.customer("Anna").await;
    let empty = upload(&anna, "a.txt", b"").await;
    assert_eq!(empty.user_errors("uploadFile"), ["REQUIRED"]);
    assert_eq!(*empty.at("/data/uploadFile/userErrors/0/field"), json!(["file"]));
    let anonymous = Client::new(anna.address(), Some("tw_unknown".to_owned()));
    assert_eq!(upload(&anonymous, "a.txt", b"a").await.code(), "UNAUTHENTICATED");
    let by_hand = json!({ "input": { "file": "upload:0199a000-0000-7000-8000-000000000001" } });
    assert_eq!(anna.send(UPLOAD, by_hand).await.code(), "BAD_REQUEST");
    assert_eq!(count(&server, "ticket_id IS NULL").await, 0);
    let boris = server.customer("Boris").await;
    let file = uploaded(&boris, "b.txt", b"b").await;
    assert_eq!(delete(&anna, &file).await.user_errors("deleteUploadedFile"), ["EXPIRED"]);
    // A file that is not attached is not shown to anybody.
    let node = boris.send("query($id: ID!) { node(id: $id) { id } }", json!({ "id": file })).await;
    assert_eq!(node.at("/data/node"), &Value::Null);
    // As many as an account may keep.
    insert_copies(&server, "true", 99).await;
    let reply = upload(&boris, "c.txt", b"c").await;
    assert_eq!(reply.user_errors("uploadFile"), ["TOO_MANY"], "{}", reply.body);
    server.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_caller_who_may_not_upload_is_refused_in_the_words_of_any_request() {
    let required = [("second_factor.staff", "required".to_owned())];
    let server = TestServer::start_with(&required).await;
    let marta = server.agent("Marta").await;
    for (client, code) in [
        (Client::new(&server.address(), Some("tw_unknown".to_owned())), "UNAUTHENTICATED"),
        (server.machine(&Scope::ALL).await, "FORBIDDEN"),
        (marta, "SECOND_FACTOR_REQUIRED"),
    ] {
        let (refused, other) = (upload(&client, "a.txt", b"a").await, create(&client, &[]).await);
        assert_eq!((refused.code(), other.code()), (code, code));
        assert_eq!(refused.at("/errors/0/message"), other.at("/errors/0/message"));
    }
    server.stop().await;
}
