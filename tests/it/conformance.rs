//! A table of documents and whether they are valid. The verdicts and the reasons are those of
//! graphql-js 16, the reference implementation. They are ours where the specification of September
//! 2025 says more, and for our own scalars.

use reqwest::Method;
use serde_json::{Value, json};

use crate::harness::{Client, TestServer};

/// Sends a document as nobody, so that a valid one changes nothing. Returns the response, or the
/// first one of a stream.
async fn send(client: &Client, case: &Value) -> Value {
    let document = case["document"].as_str().unwrap();
    let body = json!({
        "query": document,
        "variables": case["variables"],
        "operationName": case["operationName"],
    });
    let is_live = document.contains("subscription");
    let accept = if is_live { "text/event-stream" } else { "application/graphql-response+json" };
    let reply = client.request(Method::POST, "/graphql", |request| {
        request
            .header("content-type", "application/json")
            .header("accept", accept)
            .body(body.to_string())
    });
    match reply.await.body {
        Value::String(stream) => {
            let event = stream.lines().find_map(|line| line.strip_prefix("data: "));
            serde_json::from_str(event.expect(&stream)).unwrap()
        }
        response => response,
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_document_is_executed_exactly_if_it_is_valid() {
    let server = TestServer::start().await;
    let client = Client::new(&server.address(), None);
    let cases = serde_json::from_str::<Vec<Value>>(include_str!("conformance.json")).unwrap();
    let mut wrong = Vec::new();
    for case in &cases {
        let response = send(&client, case).await;
        let error = &response["errors"][0];
        // With data, an argument was refused, such as `first: -1`.
        let is_refused =
            error["extensions"]["code"] == "BAD_REQUEST" && response.get("data").is_none();
        let has_place = error["locations"][0]["line"].is_u64();
        if is_refused == case["refused"].is_null() || is_refused && !has_place {
            wrong.push(format!("{case}\n    {:.300}", response.to_string()));
        }
    }
    assert!(cases.len() > 600 && wrong.is_empty(), "{}:\n{}", wrong.len(), wrong.join("\n"));
    server.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn introspection_follows_the_specification_where_the_library_does_not() {
    let server = TestServer::start().await;
    let client = Client::new(&server.address(), None);
    let document = "query($no: Boolean = false) {
        __schema { description ...S ... { again: description } types { name all: interfaces { name } } }
        node: __type(name: \"Node\") { interfaces { name } kind description ...T }
        ticket: __type(name: \"Ticket\") { ...T fields { name type { interfaces { name } } } }
        locale: __type(name: \"Locale\") { ...T left: interfaces @include(if: $no) { name } }
        unknown: __type(name: \"Unknown\") { ...T } }
        fragment S on __Schema { inFragment: description }
        fragment T on __Type { interfaces { name } }";
    let response = client.send(document, json!({})).await;
    let at = |path: &str| response.at(&format!("/data/{path}")).clone();
    let description = json!("The API of Ticketwire, a support desk.");
    for name in ["description", "again", "inFragment"] {
        assert_eq!(at(&format!("__schema/{name}")), description, "{name}");
    }
    let types = at("__schema/types");
    let of = |name: &str| types.as_array().unwrap().iter().find(|ty| ty["name"] == name).unwrap();
    assert_eq!(*of("TicketEvent"), json!({ "name": "TicketEvent", "all": [] }));
    assert_eq!(*of("Ticket"), json!({ "name": "Ticket", "all": [{ "name": "Node" }] }));
    assert_eq!(*of("Int"), json!({ "name": "Int", "all": null }));
    let node =
        json!({ "interfaces": [], "kind": "INTERFACE", "description": at("node/description") });
    assert_eq!(at("node"), node);
    assert_ne!(node["description"], description);
    assert_eq!(at("ticket/interfaces"), json!([{ "name": "Node" }]));
    assert_eq!(at("locale"), json!({ "interfaces": null }));
    assert_eq!(at("unknown"), Value::Null);
    server.stop().await;
}
