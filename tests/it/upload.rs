//! Where a multipart request may put its files.

use reqwest::StatusCode;
use serde_json::{Value, json};

use crate::{
    attachment::{CREATE, Part, count, send, ticket},
    harness::{
        Client, TestServer,
        client::{Reply, TECHNICAL_SUPPORT},
    },
};

#[tokio::test(flavor = "multi_thread")]
async fn a_file_in_a_place_of_another_type_is_refused_before_it_is_stored() {
    let server = TestServer::start().await;
    let anna = server.customer("Anna").await;
    let before = server.content().await;
    let input = |name: &str, value: Value| {
        let mut input = ticket();
        input[name] = value;
        json!({ "input": input })
    };
    let inline = "mutation($s: String!, $c: ID!, $f: [Upload!]!) { createTicket(input: {
        categoryId: $c, summary: $s, description: \"d\", attachments: $f }) { ticket { id } } }";
    let inline_with = |s: Value, f: Value| json!({ "c": TECHNICAL_SUPPORT, "s": s, "f": f });
    let optional = "mutation($s: String, $f: Upload!) { createTicket(input: { categoryId: \"x\",
        summary: \"s\", description: \"d\", idempotencyKey: $s, attachments: [$f] }) { ticket { id } } }";
    for (document, variables, paths, message) in [
        (CREATE, input("summary", json!(null)), vec!["input.summary"], "of type `String!`"),
        (
            CREATE,
            input("idempotencyKey", json!(null)),
            vec!["input.idempotencyKey"],
            "of type `String`",
        ),
        (CREATE, input("categoryId", json!(null)), vec!["input.categoryId"], "of type `ID!`"),
        (CREATE, input("unknown", json!(null)), vec!["input.unknown"], "that does not exist"),
        (CREATE, input("summary", json!([null])), vec!["input.summary.0"], "that does not exist"),
        (
            CREATE,
            input("attachments", json!([[null]])),
            vec!["input.attachments.0.0"],
            "that does not exist",
        ),
        (
            CREATE,
            input("attachments", json!([{ "x": null }])),
            vec!["input.attachments.0.x"],
            "that does not exist",
        ),
        (
            CREATE,
            input("attachments", json!([null])),
            vec!["input.attachments.1"],
            "does not lead to a null",
        ),
        (
            CREATE,
            input("attachments", json!([null])),
            vec!["input.attachments.0", "input.attachments.0"],
            "another file is already there",
        ),
        (CREATE, json!({ "input": null }), vec!["input"], "of type `CreateTicketInput!`"),
        (
            CREATE,
            json!({ "input": ticket(), "x": null }),
            vec!["x"],
            "`x`, which the operation does not declare",
        ),
        (inline, inline_with(json!(null), json!([])), vec!["s"], "of type `String!`"),
        (inline, inline_with(json!("s"), json!([null])), vec!["f.0.0"], "does not lead to a null"),
        (optional, json!({ "s": null, "f": null }), vec!["f", "s"], "of type `String`"),
    ] {
        let reply = send_mapped(&anna, document, &variables, &paths).await;
        assert_eq!((reply.status, reply.code()), (StatusCode::BAD_REQUEST, "BAD_REQUEST"));
        let found = reply.at("/errors/0/message").as_str().unwrap();
        assert!(found.contains(message), "{variables} {paths:?}: {found}");
    }
    assert_eq!(count(&server, "true").await, 0);
    assert_eq!(server.content().await, before);
    // The same operations with their files in places of the right type. One file in the place of
    // a list is a list of one.
    for (document, variables, paths) in [
        (inline, inline_with(json!("s"), json!([null])), vec!["f.0"]),
        (inline, inline_with(json!("s"), json!(null)), vec!["f"]),
        (
            CREATE,
            input("attachments", json!([null, null])),
            vec!["input.attachments.0", "input.attachments.1"],
        ),
        (CREATE, input("attachments", json!(null)), vec!["input.attachments"]),
    ] {
        let reply = send_mapped(&anna, document, &variables, &paths).await;
        assert!(reply.at("/data/createTicket/ticket/id").is_string(), "{paths:?}: {}", reply.body);
    }
    assert_eq!(count(&server, "ticket_id IS NOT NULL").await, 5);
    server.stop().await;
}

/// Sends a mutation with one file for each path in the variables.
async fn send_mapped(client: &Client, query: &str, variables: &Value, paths: &[&str]) -> Reply {
    let operations = json!({ "query": query, "variables": variables }).to_string();
    let names = (0..paths.len()).map(|n| n.to_string()).collect::<Vec<_>>();
    let map = names.iter().zip(paths);
    let map = map.map(|(name, path)| (name.clone(), json!([format!("variables.{path}")])));
    let map = Value::Object(map.collect()).to_string();
    let mut parts: Vec<Part<'_>> =
        vec![("operations", None, operations.as_bytes()), ("map", None, map.as_bytes())];
    parts.extend(names.iter().map(|name| (name.as_str(), Some("a.txt"), &b"a"[..])));
    send(client, &parts).await
}
