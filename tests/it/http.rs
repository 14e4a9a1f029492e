//! GraphQL over HTTP: methods, media types, status codes, limits.

use reqwest::{Method, StatusCode};
use serde_json::{Value, json};

use crate::harness::{Reply, TestServer, client::SALES};

const NEW: &str = "application/graphql-response+json";
const OLD: &str = "application/json";

async fn post_accepting(server: &TestServer, accept: &str, body: &str) -> Reply {
    let request = |request: reqwest::RequestBuilder| {
        request
            .header("content-type", "application/json")
            .header("accept", accept)
            .body(body.to_owned())
    };
    server.anonymous().request(Method::POST, "/graphql", request).await
}

#[tokio::test(flavor = "multi_thread")]
async fn status_codes_depend_on_the_accepted_media_type() {
    let server = TestServer::start().await;
    for (body, new, old, has_data) in [
        (r#"{"query":"{ __typename }"}"#, 200, 200, true),
        (r#"{"query":"{ viewer { id } }"}"#, 294, 200, true),
        (r#"{"query":"{"}"#, 400, 200, false),
        (r#"{"query":"{ nope }"}"#, 400, 200, false),
        (r#"{"query":""}"#, 400, 200, false),
        (r#"{"query":" "}"#, 400, 200, false),
        (r#"{"query":"query A { __typename }","operationName":"B"}"#, 400, 200, false),
        (
            r#"{"query":"{ __typename }","variables":null,"operationName":null,"extensions":null}"#,
            200,
            200,
            true,
        ),
        ("{", 400, 400, false),
        ("", 400, 400, false),
        ("null", 400, 400, false),
        ("5", 400, 400, false),
        ("{}", 400, 400, false),
        (r#"{"query":null}"#, 400, 400, false),
        (r#"{"query":5}"#, 400, 400, false),
        (r#"{"query":"{ __typename }","variables":[]}"#, 400, 400, false),
        (r#"{"query":"{ __typename }","operationName":5}"#, 400, 400, false),
        (r#"[{"query":"{ __typename }"}]"#, 400, 400, false),
        ("{\"query\":\"\\ud800\"}", 400, 400, false),
    ] {
        for (accept, status) in
            [(NEW, new), (OLD, old), ("*/*", old), ("application/*", old), ("", old)]
        {
            let reply = post_accepting(&server, accept, body).await;
            assert_eq!(reply.status.as_u16(), status, "{accept} {body}: {}", reply.body);
            assert_eq!(reply.body.get("data").is_some(), has_data, "{body}: {}", reply.body);
            let expected = if accept == NEW { NEW } else { OLD };
            assert_eq!(reply.headers["content-type"], format!("{expected}; charset=utf-8"));
            if !has_data {
                assert_eq!(reply.code(), "BAD_REQUEST");
            }
        }
    }
    let reply = post_accepting(&server, "text/html", r#"{"query":"{ __typename }"}"#).await;
    assert_eq!((reply.status, reply.code()), (StatusCode::NOT_ACCEPTABLE, "BAD_REQUEST"));
    server.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_body_that_is_no_request_is_refused_with_what_is_wrong_with_it() {
    let server = TestServer::start().await;
    for (body, problem) in [
        ("{", "The body is not valid JSON: EOF"),
        ("null", "The body must be a JSON object"),
        ("\"x\"", "The body must be a JSON object"),
        ("{}", "The `query` is missing."),
        (r#"{"query":null}"#, "The `query` must be a string."),
        (r#"{"query":1}"#, "The `query` must be a string."),
        (r#"{"query":"{ __typename }","variables":[]}"#, "The `variables` must be a JSON object."),
        (r#"{"query":"{ __typename }","variables":"x"}"#, "The `variables` must be a JSON object."),
        (r#"{"query":"{ __typename }","extensions":1}"#, "The `extensions` must be a JSON object."),
        (
            r#"{"query":"{ __typename }","operationName":5}"#,
            "The `operationName` must be a string.",
        ),
        (r#"{"query":"{ __typename }","query":"{ a }"}"#, "The body has a member twice."),
        ("{\"query\":\"\\ud800\"}", "The body contains half of a character"),
    ] {
        let reply = post_accepting(&server, NEW, body).await;
        let message = reply.at("/errors/0/message").as_str().unwrap();
        assert!(message.starts_with(problem), "{body}: {message}");
    }
    let unnamed = r#"{"query":"{ __typename }","operationName":""}"#;
    assert_eq!(*post_accepting(&server, NEW, unnamed).await.at("/data/__typename"), "Query");
    let complex =
        "{ tickets(first: 100) { nodes { timeline(first: 100) { nodes { id cursor } } } } }";
    let deep = "mergedInto { ".repeat(20) + "id" + &" }".repeat(20);
    let deep = format!("{{ node(id: \"x\") {{ ... on Ticket {{ {deep} }} }} }}");
    // A list without pages counts as long as it can be.
    let many = |fields: &[&str]| {
        let names = fields
            .iter()
            .enumerate()
            .flat_map(|(at, field)| (0..50).map(move |n| format!("f{at}_{n}: {field} ")));
        names.collect::<String>()
    };
    let categories = many(&["id", "slug", "name", "isRetired"]);
    let categories = format!("{{ categories {{ {categories} }} }}");
    let ticket = many(&["id", "number", "summary", "status", "createdAt"]);
    let bulk = format!(
        "mutation {{ updateTickets(input: {{ ticketIds: [] }}) {{ results {{ ticket {{ {ticket} }} }} }} }}"
    );
    let author = many(&["id", "name", "role"]);
    let comments = (0..7).map(|n| format!("x{n}: author {{ {author} }} ")).collect::<String>();
    let meanwhile = format!(
        "mutation {{ addComment(input: {{ ticketId: \"x\", body: \"x\" }}) {{
            answeredMeanwhile {{ {comments} }} }} }}"
    );
    for (query, limit) in [
        (complex, "is more than 20000"),
        (&categories, "is more than 20000"),
        (&bulk, "is more than 20000"),
        (&meanwhile, "is more than 20000"),
        (&deep, "nested deeper than 20"),
    ] {
        let reply = post_accepting(&server, NEW, &json!({ "query": query }).to_string()).await;
        let message = reply.at("/errors/0/message").as_str().unwrap();
        assert!(message.contains(limit), "{query}: {message}");
    }
    server.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_schema_that_is_not_shown_is_refused_and_not_empty() {
    let server = TestServer::start_with(&[("graphql.introspection", "false".to_owned())]).await;
    let schema = "{ __schema { queryType { name } } }";
    for query in
        [schema, "{ __type(name: \"Ticket\") { name } }", "{ ... { x: __schema { __typename } } }"]
    {
        let reply = post_accepting(&server, NEW, &json!({ "query": query }).to_string()).await;
        let message = reply.at("/errors/0/message").as_str().unwrap();
        assert!(message.starts_with("Introspection is switched off"), "{message}");
        assert_eq!(*reply.at("/data"), Value::Null, "{query}");
    }
    let other = format!("query A {schema} query B {{ __typename }}");
    let body = json!({ "query": other, "operationName": "B" }).to_string();
    assert_eq!(*post_accepting(&server, NEW, &body).await.at("/data/__typename"), "Query");
    server.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn data_with_errors_is_a_partial_success() {
    let limit = [("limits.response_bytes", "65536".to_owned())];
    let server = TestServer::start_with(&limit).await;
    let anna = server.customer("Anna").await;
    let long = json!({ "categoryId": SALES, "summary": "s", "description": "я".repeat(40_000) });
    anna.try_create_ticket(long).await;
    let ticket = "query($n: String!) { viewer { name } ticket(number: $n) { id } }";
    for (query, variables, code, viewer) in [
        (ticket, json!({ "n": "CS-999999" }), "NOT_FOUND", Some("Anna")),
        ("{ tickets(after: \"x\") { nodes { id } } }", json!({}), "BAD_REQUEST", None),
        ("{ accounts { nodes { id } } }", json!({}), "FORBIDDEN", None),
        ("{ tickets { nodes { description } } }", json!({}), "RESPONSE_TOO_LARGE", None),
    ] {
        let body = json!({ "query": query, "variables": variables }).to_string();
        for (accept, status) in [(NEW, 294), (OLD, 200), ("*/*", 200)] {
            let reply = anna
                .request(Method::POST, "/graphql", |request| {
                    request.header("content-type", OLD).header("accept", accept).body(body.clone())
                })
                .await;
            assert_eq!((reply.status.as_u16(), reply.code()), (status, code), "{}", reply.body);
            let data = reply.body.get("data").expect("data, even if it is null");
            assert_eq!(data.pointer("/viewer/name").and_then(Value::as_str), viewer);
        }
    }
    server.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn content_types_that_a_browser_sends_without_a_preflight_are_refused() {
    let server = TestServer::start().await;
    let anna = server.customer("Anna").await;
    let before = server.content().await;
    let query = r#"{"query":"mutation { signOut { signedOut } }"}"#;
    for content_type in [
        "text/plain",
        "application/x-www-form-urlencoded",
        "text/plain; application/json",
        "application/json; charset=utf-16",
        "application/jsonp",
        "",
    ] {
        let reply = anna.post(content_type, query).await;
        assert_eq!(reply.status, StatusCode::UNSUPPORTED_MEDIA_TYPE, "{content_type}");
        assert_eq!(reply.code(), "BAD_REQUEST");
    }
    assert_eq!(
        anna.post("Application/JSON; Charset=\"UTF-8\"", r#"{"query":"{ __typename }"}"#)
            .await
            .status,
        200
    );
    assert_eq!(server.content().await, before);
    anna.ok("{ viewer { id } }", json!({})).await;
    server.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_compressed_body_and_one_of_two_types_are_refused() {
    let server = TestServer::start().await;
    let anna = server.customer("Anna").await;
    for (headers, status, message) in [
        (vec![("content-encoding", "gzip")], 415, "Send the body uncompressed"),
        (vec![("content-encoding", "identity, br")], 415, "Send the body uncompressed"),
        (vec![("content-type", "text/plain")], 415, "several Content-Type headers"),
        (vec![("content-type", "multipart/form-data; boundary=x")], 415, "several Content-Type"),
        (vec![("content-encoding", "Identity"), ("content-encoding", "")], 200, ""),
        (vec![("content-type", OLD)], 200, ""),
    ] {
        let request = |mut request: reqwest::RequestBuilder| {
            request = request.header("content-type", OLD);
            for (name, value) in &headers {
                request = request.header(*name, *value);
            }
            request.body(r#"{"query":"{ viewer { name } }"}"#)
        };
        let reply = anna.request(Method::POST, "/graphql", request).await;
        assert_eq!(reply.status.as_u16(), status, "{headers:?}: {}", reply.body);
        if status == 200 {
            assert_eq!(*reply.at("/data/viewer/name"), json!("Anna"));
        } else {
            let found = reply.at("/errors/0/message").as_str().unwrap();
            assert!(found.contains(message) && reply.code() == "BAD_REQUEST", "{found}");
        }
    }
    server.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn get_requests_may_contain_queries_only() {
    let server = TestServer::start().await;
    let anna = server.customer("Anna").await;
    let get = async |parameters: &[(&str, &str)]| {
        let request =
            |request: reqwest::RequestBuilder| request.header("accept", NEW).query(parameters);
        anna.request(Method::GET, "/graphql", request).await
    };
    let reply = get(&[("query", "{ viewer { name } }")]).await;
    assert_eq!((reply.status, reply.at("/data/viewer/name")), (StatusCode::OK, &json!("Anna")));
    let named = [
        (
            "query",
            "query A { viewer { name } } query B($n: Int) { tickets(first: $n) { nodes { id } } }",
        ),
        ("operationName", "B"),
        ("variables", r#"{"n":1}"#),
    ];
    assert_eq!(*get(&named).await.at("/data/tickets/nodes"), json!([]));

    let before = server.content().await;
    let mutation = [
        ("query", "query A { viewer { id } } mutation B { signOut { signedOut } }"),
        ("operationName", "B"),
    ];
    let reply = get(&mutation).await;
    assert_eq!((reply.status, reply.code()), (StatusCode::METHOD_NOT_ALLOWED, "BAD_REQUEST"));
    assert_eq!(reply.headers["allow"], "GET, POST");
    for parameters in [
        vec![],
        vec![("query", "")],
        vec![("query", "{")],
        vec![("query", "subscription { inboxEvents { __typename } }")],
        vec![("query", "{ __typename }"), ("variables", "[")],
        vec![("query", "{ __typename }"), ("variables", "5")],
    ] {
        let reply = get(&parameters).await;
        assert!(
            reply.status.is_client_error() && reply.code() == "BAD_REQUEST",
            "{parameters:?}: {}",
            reply.body
        );
    }
    for method in [Method::PUT, Method::DELETE, Method::PATCH, Method::OPTIONS] {
        let reply = anna.request(method, "/graphql", |request| request).await;
        assert_eq!(reply.status, StatusCode::METHOD_NOT_ALLOWED);
    }
    anna.ok("{ viewer { id } }", json!({})).await;
    assert_eq!(server.content().await, before);
    server.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_large_deeply_nested_or_non_utf8_body_is_refused() {
    let server = TestServer::start().await;
    let anonymous = server.anonymous();
    let reply = anonymous.post("application/json", "x".repeat(60_000_000)).await;
    assert_eq!((reply.status, reply.code()), (StatusCode::PAYLOAD_TOO_LARGE, "BAD_REQUEST"));
    let nested = format!(
        r#"{{"query":"{{ __typename }}","variables":{}1{}}}"#,
        r#"{"a":"#.repeat(100_000),
        "}".repeat(100_000)
    );
    let reply = anonymous.post("application/json", nested).await;
    assert_eq!((reply.status, reply.code()), (StatusCode::BAD_REQUEST, "BAD_REQUEST"));
    let invalid: &[u8] = b"{\"query\":\"\xff\xfe\"}";
    assert_eq!(anonymous.post("application/json", invalid).await.status, StatusCode::BAD_REQUEST);
    server.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn an_internal_error_reveals_only_a_request_id() {
    let server = TestServer::start().await;
    let anna = server.customer("Anna").await;
    anna.ok("{ viewer { id } }", json!({})).await;
    server
        .database
        .connect()
        .await
        .batch_execute("ALTER TABLE categories RENAME TO hidden")
        .await
        .unwrap();
    let reply = anna.send("{ categories { id } }", json!({})).await;
    assert_eq!(reply.code(), "INTERNAL");
    let id = reply.at("/errors/0/extensions/requestId").as_str().unwrap();
    assert_eq!(reply.headers["x-request-id"], id);
    assert!(!reply.body.to_string().contains("categories\\\""), "{}", reply.body);
    assert!(!reply.body.to_string().contains("does not exist"), "{}", reply.body);
    server.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn healthz_reports_on_the_process_and_readyz_on_the_database() {
    let server = TestServer::start().await;
    let get =
        async |path: &str| server.anonymous().request(Method::GET, path, |request| request).await;
    assert_eq!(
        (get("/healthz").await.status, get("/readyz").await.status),
        (StatusCode::OK, StatusCode::OK)
    );
    assert_eq!(get("/healthz").await.body, Value::String("ok\n".into()));
    assert_eq!(get("/nowhere").await.status, StatusCode::NOT_FOUND);
    server.database.close().await;
    assert_eq!(
        (get("/healthz").await.status, get("/readyz").await.status),
        (StatusCode::OK, StatusCode::SERVICE_UNAVAILABLE)
    );
    server.database.open().await;
    assert_eq!(get("/readyz").await.status, StatusCode::OK);
    server.stop().await;
}
