//! The execution of requests by the letter of the GraphQL specification: fields with the same name,
//! errors below them, empty selections, and documents with several operations.

use serde_json::{Value, json};

use crate::harness::{Client, TestServer, client::Ticket};

async fn anna_with_ticket(server: &TestServer) -> (Client, Ticket) {
    let anna = server.customer("Anna").await;
    let ticket = anna.create_ticket("The site is down").await;
    (anna, ticket)
}

/// The bodies of a ticket's comments.
async fn bodies(client: &Client, ticket: &Ticket) -> Vec<String> {
    let query = "query($id: ID!) { node(id: $id) { ... on Ticket { timeline(first: 50) { nodes {
        ... on CommentAdded { comment { body } } } } } } }";
    let found = client.ok(query, json!({ "id": ticket.id })).await;
    let nodes = found["node"]["timeline"]["nodes"].as_array().unwrap().clone();
    let body = |node: &Value| Some(node["comment"]["body"].as_str()?.to_owned());
    nodes.iter().filter_map(body).collect()
}

/// The data of a response as it was sent, with its fields in order.
async fn data(client: &Client, query: &str, variables: Value) -> String {
    let reply = client.send_raw(query, variables).await;
    let data = reply.strip_prefix(r#"{"data":"#).unwrap_or_else(|| panic!("{query}: {reply}"));
    data.strip_suffix('}').unwrap().to_owned()
}

#[tokio::test(flavor = "multi_thread")]
async fn a_mutation_that_is_selected_twice_under_one_name_is_executed_once() {
    let server = TestServer::start().await;
    let (anna, ticket) = anna_with_ticket(&server).await;
    let twice = "mutation($id: ID!) {
        m: addComment(input: { ticketId: $id, body: \"one\" }) { comment { body } }
        ...F }
        fragment F on Mutation {
            m: addComment(input: { ticketId: $id, body: \"one\" }) { comment { visibility } } }";
    let added = anna.ok(twice, json!({ "id": ticket.id })).await;
    assert_eq!(added, json!({ "m": { "comment": { "body": "one", "visibility": "PUBLIC" } } }));
    let different = "mutation($id: ID!) {
        a: addComment(input: { ticketId: $id, body: \"two\" }) { comment { body } }
        b: addComment(input: { ticketId: $id, body: \"three\" }) { comment { body } } }";
    anna.ok(different, json!({ "id": ticket.id })).await;
    assert_eq!(bodies(&anna, &ticket).await, ["one", "two", "three"]);
    let mut socket = anna.socket().await;
    socket.subscribe("1", twice, json!({ "id": ticket.id })).await;
    socket.item().await;
    assert_eq!(bodies(&anna, &ticket).await.len(), 4);
}

#[tokio::test(flavor = "multi_thread")]
async fn the_mutations_after_one_without_a_payload_are_not_executed() {
    let server = TestServer::start().await;
    let (anna, ticket) = anna_with_ticket(&server).await;
    let unknown = server.customer("Boris").await.create_ticket("Another").await;
    let query = "mutation($id: ID!, $unknown: ID!) {
        a: addComment(input: { ticketId: $unknown, body: \"a\" }) { comment { id } }
        b: addComment(input: { ticketId: $id, body: \"b\" }) { comment { id } } }";
    let ids = json!({ "id": ticket.id, "unknown": unknown.id });
    let reply = anna.send(query, ids).await;
    assert_eq!(reply.body["data"], Value::Null, "{}", reply.body);
    assert_eq!(bodies(&anna, &ticket).await, [] as [&str; 0]);
}

#[tokio::test(flavor = "multi_thread")]
async fn fields_with_the_same_name_are_resolved_once_in_the_order_of_the_document() {
    let server = TestServer::start().await;
    let (anna, ticket) = anna_with_ticket(&server).await;
    let number = &ticket.number;
    let cases = [
        (
            "{ tickets(first: 1) { nodes { number } } v: viewer { name }
               tickets(first: 1) { pageInfo { hasNextPage } nodes { x: summary } } }",
            format!(
                r#"{{"tickets":{{"nodes":[{{"number":"{number}","x":"The site is down"}}],"pageInfo":{{"hasNextPage":false}}}},"v":{{"name":"Anna"}}}}"#
            ),
        ),
        (
            "{ a: __typename @skip(if: true) v: viewer { name name ...F } a: __typename }
             fragment F on Account { name role ...G } fragment G on Account { role locale }",
            r#"{"v":{"name":"Anna","role":"CUSTOMER","locale":"EN"},"a":"Query"}"#.to_owned(),
        ),
        (
            "{ ... on Query { viewer { name } } ...Q } fragment Q on Query { viewer { role } }",
            r#"{"viewer":{"name":"Anna","role":"CUSTOMER"}}"#.to_owned(),
        ),
    ];
    for (query, expected) in cases {
        assert_eq!(data(&anna, query, json!({})).await, expected, "{query}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn an_error_below_a_field_that_is_selected_twice_propagates() {
    let server = TestServer::start().await;
    let (anna, ticket) = anna_with_ticket(&server).await;
    let bad = "... on Ticket { a: timeline(first: -1) { nodes { id } } }";
    for (query, expected) in [
        (format!("query($id: ID!) {{ node(id: $id) {{ id }} node(id: $id) {{ {bad} }} }}"), {
            json!({ "node": null })
        }),
        (format!("query($id: ID!) {{ node(id: $id) {{ {bad} }} node(id: $id) {{ id }} }}"), {
            json!({ "node": null })
        }),
        (
            "query($id: ID!) { tickets(first: 1) { nodes { id } } node(id: $id) { id }
               tickets(first: 1) { nodes { a: timeline(first: -1) { nodes { id } } } } }"
                .to_owned(),
            Value::Null,
        ),
    ] {
        let reply = anna.send(&query, json!({ "id": ticket.id })).await;
        assert_eq!(reply.body["data"], expected, "{query}: {}", reply.body);
        assert_eq!(reply.body["errors"].as_array().unwrap().len(), 1, "{}", reply.body);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn an_operation_that_selects_nothing_has_empty_data() {
    let server = TestServer::start().await;
    let anna = server.customer("Anna").await;
    for query in [
        "{ viewer @include(if: false) { id } }",
        "query($no: Boolean = false) { ...F @include(if: $no) } fragment F on Query { viewer { id } }",
        "{ __schema @skip(if: true) { description } }",
        "mutation { signOut @skip(if: true) { signedOut } }",
    ] {
        assert_eq!(data(&anna, query, json!({})).await, "{}", "{query}");
    }
    let nothing_below =
        "{ __schema { types @include(if: false) { name } } viewer { id @skip(if: true) } }";
    assert_eq!(data(&anna, nothing_below, json!({})).await, r#"{"__schema":{},"viewer":{}}"#);
}

#[tokio::test(flavor = "multi_thread")]
async fn only_the_requested_operation_counts() {
    let server = TestServer::start().await;
    let (anna, ticket) = anna_with_ticket(&server).await;
    let request = |query: &str, variables: Value| {
        json!({ "query": query, "variables": variables, "operationName": "A" }).to_string()
    };
    let large = |alias: usize| {
        format!(
            "a{alias}: tickets(first: 100) {{ nodes {{ id number summary category {{ id }}
             reporter {{ id name }} assignee {{ id name }} lastComment {{ id body }} }} }} "
        )
    };
    let large = (0..8).map(large).collect::<String>();
    let cases = [
        (
            "query A { viewer { name } } query B($x: Int!) { tickets(first: $x) { nodes { id } } }"
                .to_owned(),
            json!({}),
        ),
        (
            "query A($x: ID!) { node(id: $x) { id } }
             query B($x: Int!) { tickets(first: $x) { nodes { id } } }"
                .to_owned(),
            json!({ "x": ticket.id }),
        ),
        (format!("query A {{ {large} }} query B {{ {large} }}"), json!({})),
        (format!("query A {{ {} }}", "tickets(first: 100) { nodes { id number } } ".repeat(45)), {
            json!({})
        }),
    ];
    for (query, variables) in cases {
        let reply = anna.post("application/json", request(&query, variables)).await;
        assert!(reply.body.get("errors").is_none(), "{query}: {}", reply.body);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn whether_a_document_is_valid_does_not_depend_on_the_values_of_its_variables() {
    let server = TestServer::start().await;
    let anna = server.customer("Anna").await;
    for query in [
        "query($a: [Int]) { tickets(first: $a) { nodes { id } } }",
        "query($a: Int, $a: Int) { tickets(first: $a) { nodes { id } } }",
        "query($a: Int, $b: Int) { tickets(first: $a) { nodes { id } } tickets(first: $b) { nodes { id } } }",
    ] {
        let reply = anna.send(query, json!({})).await;
        assert_eq!(reply.code(), "BAD_REQUEST", "{query}: {}", reply.body);
        assert!(reply.body.get("data").is_none(), "{query}: {}", reply.body);
    }
}
