//! Documents that break a rule of the GraphQL specification (§5): they are refused, and nothing of
//! them is executed.

use reqwest::{Method, StatusCode};
use serde_json::{Value, json};

use crate::harness::{Client, TestServer, client::Reply};

async fn post(client: &Client, document: &str) -> Reply {
    let body = json!({ "query": document }).to_string();
    let request = client.request(Method::POST, "/graphql", |request| {
        request
            .header("content-type", "application/json")
            .header("accept", "application/graphql-response+json")
            .body(body)
    });
    request.await
}

/// Sends documents as a customer. Each must be refused with a message that has the text with it.
async fn assert_refused(documents: &[(&str, &str)]) {
    let server = TestServer::start().await;
    let anna = server.customer("Anna").await;
    for (document, message) in documents {
        let reply = post(&anna, document).await;
        assert_eq!(reply.status, StatusCode::BAD_REQUEST, "{document}: {}", reply.body);
        assert_eq!(reply.code(), "BAD_REQUEST");
        assert_eq!(reply.body.get("data"), None, "{document}");
        let found = reply.at("/errors/0/message").as_str().unwrap();
        assert!(found.contains(message), "{document}: {found}");
        assert!(reply.at("/errors/0/locations/0/line").is_u64(), "{document}");
    }
    server.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn fields_that_cannot_be_merged_are_refused() {
    assert_refused(&[
        ("{ viewer { name } viewer { name: email } }", "`viewer.name` in the response would be both `name` and `email`. Select one of them under an alias."),
        ("{ viewer { x: name } viewer { x: email } }", "`viewer.x`"),
        ("{ viewer { ... on Account { id } ... on Node { id: __typename } } }", "`viewer.id`"),
        ("{ viewer { id } ...F } fragment F on Query { viewer { id: name } }", "`viewer.id`"),
        ("{ __schema: __type(name: \"Query\") { name } __schema { types { name } } }", "`__schema`"),
        ("{ tickets(first: 1) { totalCount } ... { tickets(first: 2) { totalCount } } }", "`tickets` with two different lists of arguments"),
        ("{ nodes(ids: []) { ... on Ticket { x: number } ... on Account { x: email } } }", "`number` of type `String!` and `email` of type `String`"),
        ("{ nodes(ids: []) { ... on Ticket { a: summary } ... on Attachment { a: size } } }", "`nodes.a`"),
        ("{ nodes(ids: []) { ... on Ticket { a: attachments { id } } ... on Category { a: slug } } }", "`nodes.a`"),
        ("{ nodes(ids: []) { ... on Ticket { x: reporter { id } } ... on Comment { x: author { id: name } } } }", "`nodes.x.id`"),
    ])
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn literals_that_their_places_do_not_accept_are_refused() {
    assert_refused(&[
        ("{ tickets(filter: { status: [\"CLOSED\"] }) { totalCount } }", "`filter.status[0]` of `tickets`"),
        ("{ tickets(filter: [{}]) { totalCount } }", "but is a list"),
        ("{ tickets(filter: \"x\") { totalCount } }", "but is the string \"x\""),
        ("{ tickets(first: 3000000000) { totalCount } }", "An `Int` is a whole number"),
        ("{ viewer { id @include(if: \"true\") } }", "The argument `if` of `@include`"),
        ("{ viewer { __typename @include(if: 1) } }", "The argument `if` of `@include`"),
        ("query($f: TicketFilterInput = []) { tickets(filter: $f) { totalCount } }", "The default of the variable `$f`"),
        ("{ supportFigures(from: \"yesterday\", to: \"2026-01-31\") { __typename } }", "like 2026-01-31"),
        ("mutation { createTicket(input: { summary: \"s\", description: \"d\" }) { ticket { id } } }", "lacks the field `categoryId`"),
        ("mutation { createTicket(input: { categoryId: 1, summary: \"s\", description: \"d\", attachments: \"upload:0199a000-0000-7000-8000-000000000001\" }) { ticket { id } } }", "must be a file"),
        ("{ __typename { x } }", "`__typename`"),
        ("{ viewer { __typename(a: 1) } }", "`__typename`"),
    ])
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn fields_that_can_be_merged_are_answered_once() {
    let server = TestServer::start().await;
    let anna = server.customer("Anna").await;
    let document = "{ viewer { name ...F } ...G x: __typename __schema { queryType { name } } }
        fragment F on Account { name x: name ... on Node { id } }
        fragment G on Query { viewer { ...F } nodes(ids: []) { id
            ... on Ticket { x: reporter { y: name } } ... on Comment { x: author { y: name } } } }";
    let data = anna.ok(document, Value::Null).await;
    assert_eq!(data["viewer"]["name"], "Anna");
    assert_eq!(data["viewer"]["x"], "Anna");
    assert_eq!(data["nodes"], json!([]));
    server.stop().await;
}
