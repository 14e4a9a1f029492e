//! What the text of a document means by the GraphQL specification of September 2025.

use serde_json::{Value, json};

use crate::harness::TestServer;

#[tokio::test(flavor = "multi_thread")]
async fn a_string_in_a_document_has_the_value_of_the_specification() {
    let server = TestServer::start().await;
    let anna = server.customer("Anna").await;
    let ticket = anna.create_ticket("one").await;
    for (literal, expected) in [
        (r#""""a \""" b""""#, r#"a """ b"#),
        (
            "\"\"\"\n    He said:\n      \\\"\"\"\n  \n    and left.\n  \"\"\"",
            "He said:\n  \"\"\"\n\nand left.",
        ),
        (r#""\u{1F600} \uD83D\uDE00 \u00e9 \u{22}\u{5C}n""#, "\u{1F600} \u{1F600} é \"\\n"),
    ] {
        let document = format!(
            "mutation {{ addComment(input: {{ ticketId: \"{}\", body: {literal} }}) {{ \
             comment {{ body }} }} }}",
            ticket.id
        );
        let data = anna.ok(&document, json!({})).await;
        assert_eq!(data["addComment"]["comment"]["body"], expected, "{literal}");
        // The document is known now.
        let data = anna.ok(&document, json!({})).await;
        assert_eq!(data["addComment"]["comment"]["body"], expected, "{literal}");
    }
    let zero = anna.ok("{ tickets(first: -0) { nodes { id } } }", json!({})).await;
    assert_eq!(zero["tickets"]["nodes"], json!([]));
    server.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn an_escape_of_no_character_and_a_field_named_twice_are_bad_requests() {
    let server = TestServer::start().await;
    let anna = server.customer("Anna").await;
    let ticket = anna.create_ticket("one").await;
    let before = server.content().await;
    for (fields, message, column) in [
        (r#"body: "\uD83D""#, "half of a surrogate pair", 17),
        (r#"body: "\u{110000}""#, "above 10FFFF", 17),
        (r#"body: "a" body: "b""#, "names the field `body` twice", 20),
    ] {
        let document = format!(
            "mutation {{ addComment(input: {{ ticketId: \"{}\",\n         {fields} }}) {{ \
             comment {{ id }} }} }}",
            ticket.id
        );
        let reply = anna.send(&document, json!({})).await;
        assert_eq!((reply.code(), reply.at("/data")), ("BAD_REQUEST", &Value::Null), "{fields}");
        assert!(reply.at("/errors/0/message").as_str().unwrap().contains(message), "{fields}");
        let place = json!([{ "line": 2, "column": column }]);
        assert_eq!(*reply.at("/errors/0/locations"), place, "{fields}");
    }
    assert_eq!(server.content().await, before);
    server.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn operations_fragments_and_variables_may_have_descriptions() {
    let server = TestServer::start().await;
    let anna = server.customer("Anna").await;
    let ticket = anna.create_ticket("one").await;
    let document =
        "\"Finds a ticket.\" query Find(\"\"\"\n Its \\\"\"\"number\\\"\"\".\n\"\"\" $n: String!) {
        ticket(number: $n) { ...parts } }
        \"\"\"What is shown of it.\"\"\" fragment parts on Ticket { summary }";
    let variables = json!({ "n": ticket.number });
    let data = anna.ok(document, variables.clone()).await;
    assert_eq!(data["ticket"]["summary"], "one");
    // What follows stays where it is.
    let reply = anna.send(&document.replace("summary", "nonsense"), variables).await;
    assert_eq!(*reply.at("/errors/0/locations"), json!([{ "line": 5, "column": 63 }]));
    server.stop().await;
}
