//! Bad input returns a clear error with a stable code and changes nothing.

use reqwest::Method;
use serde_json::{Value, json};

use crate::{
    attachment,
    harness::{
        TestServer,
        client::{SALES, TECHNICAL_SUPPORT},
        socket::Socket,
    },
};

/// A document of 862 bytes that selects four million fields.
pub fn multiplying_fragments() -> String {
    let levels = (0..11).map(|level| {
        let next = level + 1;
        format!("fragment f{level} on Query {{ ...f{next} ...f{next} ...f{next} ...f{next} }} ")
    });
    format!(
        "{{ ...f0 }} {} fragment f11 on Query {{ viewer {{ id }} }}",
        levels.collect::<String>()
    )
}

#[tokio::test(flavor = "multi_thread")]
async fn an_invalid_document_is_a_bad_request_and_changes_nothing() {
    let server = TestServer::start().await;
    let anna = server.customer("Anna").await;
    let before = server.content().await;
    let deep = format!("{{ node(id: \"x\") {{ ... on Ticket {{ {} }} }} }}", {
        let inner = "timeline { nodes { ticket { ".repeat(10);
        format!("{inner} id {}", "} } }".repeat(10))
    });
    for (query, variables) in [
        ("{ nope }".to_owned(), json!({})),
        ("{ viewer }".into(), json!({})),
        ("{ viewer { id }".into(), json!({})),
        (String::new(), json!({})),
        ("query A { viewer { id } } query B { viewer { id } }".into(), json!({})),
        ("{ ticket(number: 5) { id } }".into(), json!({})),
        ("query($n: String!) { ticket(number: $n) { id } }".into(), json!({})),
        ("query($n: String!) { ticket(number: $n) { id } }".into(), json!({ "n": 5 })),
        ("{ tickets(first: \"ten\") { nodes { id } } }".into(), json!({})),
        ("{ tickets(first: 99999999999) { nodes { id } } }".into(), json!({})),
        ("{ tickets(filter: { status: [NOPE] }) { nodes { id } } }".into(), json!({})),
        ("mutation { createTicket(input: { summary: \"x\" }) { ticket { id } } }".into(), json!({})),
        ("{ nodes(ids: [".to_owned() + &"\"x\",".repeat(101) + "]) { id } }", json!({})),
        (deep, json!({})),
        ("{ tickets(first: 100) { nodes { timeline(first: 100) { nodes { id cursor occurredAt } } } } }".into(), json!({})),
        ("[".repeat(100_000), json!({})),
        ("{a".repeat(2_000), json!({})),
        (multiplying_fragments(), json!({})),
        ("{ ...a } fragment a on Query { ...a }".into(), json!({})),
        (format!("mutation {{ {} }}", (0..11).map(|n| format!("a{n}: signOut {{ signedOut }} ")).collect::<String>()), json!({})),
        (format!("{{ {} }}", "a: viewer { id } ".repeat(4_000)), json!({})),
        ("subscription { inboxEvents { __typename } }".into(), json!({})),
        (
            format!(
                "mutation {{ ...f }} fragment f on Mutation {{ {} }}",
                (0..11).map(|n| format!("a{n}: signOut {{ signedOut }} ")).collect::<String>()
            ),
            json!({}),
        ),
    ] {
        let reply = anna.send(&query, variables).await;
        assert_eq!(reply.code(), "BAD_REQUEST", "{query:.80}: {:.400}", reply.body.to_string());
        assert!(!reply.at("/errors/0/message").as_str().unwrap().is_empty());
        assert_eq!(*reply.at("/data"), Value::Null, "{query:.80}");
    }
    assert_eq!(server.content().await, before);
    // The session and the server still work.
    anna.ok("{ viewer { id } }", json!({})).await;
    server.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_document_with_many_faults_is_refused_before_each_of_them_is_described() {
    let server = TestServer::start().await;
    let anonymous = server.anonymous();
    let many =
        |count: usize, text: &dyn Fn(usize) -> String| (0..count).map(text).collect::<String>();
    let (long, short) = ("L".repeat(256), "L".repeat(255));
    let arguments = many(2_000, &|nth| format!("x{nth}: 1 "));
    let repeated = "first: 1 ".repeat(2_000);
    let uses = many(600, &|nth| format!("x{nth}: $a{nth} "));
    let operations = many(100, &|nth| format!("query q{nth} {{ ...f }} "));
    let unknown = "more than 20 fields and arguments";
    for (document, message) in [
        (format!("mutation {{ {long} }}"), "longer than 255 bytes"),
        (format!("query {long} {{ viewer {{ id }} }}"), "longer than 255 bytes"),
        (format!("{{ {short} }}"), "Unknown field"),
        (format!("{{ b: {short} {} }}", "b ".repeat(4_900)), unknown),
        (format!("{{ nope {{ b({arguments}) {} }} }}", "b ".repeat(1_000)), unknown),
        (format!("{{ viewer {{ id }} }} fragment f on Nope {{ b({arguments}) b b }}"), unknown),
        (
            format!("{{ viewer {{ id }} }} fragment f on Query {{ viewer({arguments}) {{ id }} }}"),
            unknown,
        ),
        (
            format!(
                "{{ viewer {{ id }} }} fragment f on Query {{ tickets({repeated}) {{ __typename }} }}"
            ),
            unknown,
        ),
        (format!("{{ viewer {{ id {{ {} }} }} }}", "b ".repeat(100)), unknown),
        (
            format!("fragment f on Query {{ viewer({uses}) {{ id }} }} {operations}"),
            "too many operations",
        ),
    ] {
        let reply = anonymous.send(&document, json!({})).await;
        assert_eq!(reply.code(), "BAD_REQUEST", "{document:.80}");
        let found = reply.at("/errors/0/message").as_str().unwrap();
        assert!(found.contains(message), "{document:.80}: {found:.200}");
        assert!(reply.body.to_string().len() < 10_000, "{document:.80}");
    }
    server.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn the_json_of_a_request_may_not_have_more_values_than_any_request_needs() {
    let server = TestServer::start().await;
    let anna = server.customer("Anna").await;
    let query = "{ viewer { id } }";
    // Also where the operation does not declare it.
    for values in [json!(vec![0; 3_000]), json!(vec![json!({ "": 0 }); 1_000])] {
        let variables = json!({ "unused": values });
        let url = format!("/graphql?query={{viewer{{id}}}}&variables={variables}");
        let operations = json!({ "query": query, "variables": variables }).to_string();
        let replies = [
            anna.send(query, variables.clone()).await,
            anna.request(Method::GET, &url, |request| request).await,
            attachment::send(&anna, &[("operations", None, operations.as_bytes())]).await,
        ];
        for reply in replies {
            assert_eq!(reply.code(), "BAD_REQUEST");
            let found = reply.at("/errors/0/message").as_str().unwrap();
            assert!(found.contains("has more than 2000 values"), "{found}");
        }
        let mut socket = Socket::open(&server.address(), anna.token.as_deref()).await;
        socket.subscribe("1", query, variables).await;
        let refused = socket.message().await;
        assert_eq!((refused["type"].as_str(), refused["id"].as_str()), (Some("error"), Some("1")));
        assert!(refused["payload"].to_string().contains("has more than 2000 values"), "{refused}");
    }
    // Commas and brackets in texts separate nothing.
    let text = "\\\",[{".repeat(3_000);
    anna.ok(query, json!({ "unused": text })).await;
    server.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn an_invalid_text_is_a_user_error_on_its_field() {
    let server = TestServer::start().await;
    let anna = server.customer("Anna").await;
    let ticket = anna.create_ticket("one").await;
    let before = server.content().await;
    let long = |n: usize| "я".repeat(n);
    for (summary, description, key, field, code) in [
        ("", "d", "k", "summary", "REQUIRED"),
        (" \t\u{a0} ", "d", "k", "summary", "REQUIRED"),
        (long(256).as_str(), "d", "k", "summary", "TOO_LONG"),
        ("a\nb", "d", "k", "summary", "INVALID"),
        ("a\0b", "d", "k", "summary", "INVALID"),
        ("a\r\nBcc: x@example.com", "d", "k", "summary", "INVALID"),
        ("a\u{202e}b", "d", "k", "summary", "INVALID"),
        ("s", "", "k", "description", "REQUIRED"),
        ("s", long(65_537).as_str(), "k", "description", "TOO_LONG"),
        ("s", "a\u{1b}[31m", "k", "description", "INVALID"),
        ("s", "d", "", "idempotencyKey", "REQUIRED"),
        ("s", "d", long(256).as_str(), "idempotencyKey", "TOO_LONG"),
    ] {
        let input = json!({ "categoryId": SALES, "summary": summary, "description": description, "idempotencyKey": key });
        let reply = anna.try_create_ticket(input).await;
        assert_eq!(reply.user_errors("createTicket"), [code], "{field}");
        assert_eq!(*reply.at("/data/createTicket/userErrors/0/field"), json!([field]));
        assert_eq!(*reply.at("/data/createTicket/ticket"), Value::Null);
    }
    for (body, code) in
        [("", "REQUIRED"), (long(65_537).as_str(), "TOO_LONG"), ("\u{7}", "INVALID")]
    {
        let reply = anna.try_comment(&ticket, json!({ "body": body })).await;
        assert_eq!(reply.user_errors("addComment"), [code]);
    }
    // All errors are reported at once.
    let input = json!({ "categoryId": "nonsense", "summary": "", "description": "" });
    let reply = anna.try_create_ticket(input).await;
    assert_eq!(reply.user_errors("createTicket"), ["REQUIRED", "REQUIRED", "NOT_FOUND"]);
    assert_eq!(server.content().await, before);
    // Texts of the maximum length are accepted.
    let input = json!({ "categoryId": SALES, "summary": long(255), "description": long(65_536) });
    assert_eq!(anna.try_create_ticket(input).await.user_errors("createTicket"), [] as [&str; 0]);
    anna.comment(&ticket, &"\u{1F600}".repeat(65_536)).await;
    server.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn an_unknown_or_foreign_id_is_not_found_and_changes_nothing() {
    let server = TestServer::start().await;
    let (anna, jonas) = (server.customer("Anna").await, server.customer("Jonas").await);
    let foreign = jonas.create_ticket("foreign").await;
    let before = server.content().await;
    let unknown = "VGlja2V0OjAxOTlhMDAwLTAwMDAtNzAwMC04MDAwLTAwMDAwMDAwMDAwOQ";
    for id in
        [foreign.id.as_str(), unknown, TECHNICAL_SUPPORT, "garbage", "", "\0", &"A".repeat(10_000)]
    {
        let ticket = crate::harness::client::Ticket { id: id.to_owned(), ..foreign.clone() };
        for reply in [
            anna.try_comment(&ticket, json!({ "body": "x" })).await,
            anna.try_comment(&ticket, json!({ "body": "x", "visibility": "INTERNAL" })).await,
            anna.try_update(&ticket, json!({ "status": "CLOSED" })).await,
            anna.try_update(&ticket, json!({ "priority": "HIGH", "expectedVersion": 9 })).await,
        ] {
            assert_eq!(reply.code(), "NOT_FOUND", "{id:.40}: {}", reply.body);
        }
    }
    for number in
        [foreign.number.as_str(), "CS-999999", "garbage", "", "CS-99999999999999999999999"]
    {
        let reply = anna
            .send("query($n: String!) { ticket(number: $n) { id } }", json!({ "n": number }))
            .await;
        assert_eq!(
            (reply.code(), reply.at("/data/ticket")),
            ("NOT_FOUND", &Value::Null),
            "{number}"
        );
    }
    for category in [
        foreign.id.as_str(),
        "garbage",
        "",
        "Q2F0ZWdvcnk6MDE5OWEwMDAtMDAwMC03MDAwLTgwMDAtMDAwMDAwMDAwMDk5",
    ] {
        let input = json!({ "categoryId": category, "summary": "s", "description": "d" });
        assert_eq!(anna.try_create_ticket(input).await.user_errors("createTicket"), ["NOT_FOUND"]);
    }
    assert_eq!(server.content().await, before);
    server.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_summary_of_random_characters_is_stored_unchanged_or_refused() {
    let server = TestServer::start().await;
    let anna = server.customer("Anna").await;
    let mut random = 0x2545_F491_4F6C_DD1D_u64;
    for _ in 0..40 {
        let text = (0..40).map(|_| {
            random ^= random << 13;
            random ^= random >> 7;
            random ^= random << 17;
            char::from_u32(u32::try_from(random % 0x11_0000).unwrap()).unwrap_or('"')
        });
        let summary = format!("<{}>", text.collect::<String>());
        let input = json!({ "categoryId": SALES, "summary": summary, "description": "d" });
        let reply = anna.try_create_ticket(input).await;
        let number = reply.at("/data/createTicket/ticket/number");
        if number.is_null() {
            assert_eq!(reply.user_errors("createTicket"), ["INVALID"], "{summary:?}");
        } else {
            let query = "query($n: String!) { ticket(number: $n) { summary } }";
            assert_eq!(anna.ok(query, json!({ "n": number })).await["ticket"]["summary"], summary);
        }
    }
    server.stop().await;
}
