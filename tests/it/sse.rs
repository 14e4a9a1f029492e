//! GraphQL over server-sent events.

use std::{process::Stdio, sync::Arc, time::Duration};

use reqwest::{Method, StatusCode};
use serde_json::{Value, json};
use ticketwire::domain::{account::Role, cursor::Cursor};
use tokio::{
    io::{AsyncBufReadExt as _, BufReader},
    process::Command,
    time,
};

use crate::harness::{
    Client, EventStream, Reply, TestServer,
    browser::Script,
    event_stream::Event,
    postgres::TestDatabase,
    process::Process,
    server::{PASSWORD, create_account},
    socket::EVENT,
};

const EVENTS: &str = "text/event-stream";

#[tokio::test(flavor = "multi_thread")]
async fn a_query_or_mutation_is_answered_with_one_event() {
    let server = TestServer::start().await;
    let anna = server.customer("Anna").await;
    let mut stream = anna.stream("{ viewer { name } }", json!({})).await;
    assert_eq!(stream.headers()["cache-control"], "no-store");
    assert_eq!(stream.headers()["x-accel-buffering"], "no");
    let complete = Event { name: "complete".into(), ..Event::default() };
    let next = stream.event().await.unwrap();
    assert_eq!((&*next.data, next.id), (r#"{"data":{"viewer":{"name":"Anna"}}}"#, None));
    assert_eq!((stream.event().await, stream.event().await), (Some(complete), None));

    // A text with many lines is one line of data.
    let ticket = anna.create_ticket("one").await;
    let document = "mutation($input: AddCommentInput!) { addComment(input: $input) { comment { body } userErrors { code } } }";
    let body = "one\ntwo\n\ndata: three";
    let mut stream =
        anna.stream(document, json!({ "input": { "ticketId": ticket.id, "body": body } })).await;
    let response = stream.event().await.unwrap().response();
    assert_eq!(response["data"]["addComment"]["comment"]["body"], body);
    server.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_refused_document_is_answered_as_an_event_and_a_malformed_request_as_json() {
    let server = TestServer::start().await;
    let anna = server.customer("Anna").await;
    let ahead = Cursor::decode(&anna.stream_inbox(None).await.caught_up().await).unwrap();
    let ahead = Cursor { pos: ahead.pos + 1_000, ..ahead }.encode();
    let two_roots = "subscription { inboxEvents { __typename } notifications { __typename } }";
    for (document, code) in [
        ("{", "BAD_REQUEST"),
        ("{ nonsense }", "BAD_REQUEST"),
        (two_roots, "BAD_REQUEST"),
        (&"[".repeat(1_000), "BAD_REQUEST"),
        ("subscription { ticketEvents(ticketId: \"x\") { __typename } }", "NOT_FOUND"),
        ("subscription { inboxEvents(after: \"garbage\") { __typename } }", "BAD_REQUEST"),
    ] {
        assert_eq!(anna.stream(document, json!({})).await.last_error().await, code, "{document}");
    }
    for last in ["garbage", "ÿ", &ahead, &"A".repeat(5_000)] {
        let mut stream = anna.stream_inbox(Some(last)).await;
        assert_eq!(stream.last_error().await, "BAD_REQUEST", "{last}");
    }
    let mut stream = server.anonymous().stream_inbox(None).await;
    assert_eq!(stream.last_error().await, "UNAUTHENTICATED");

    let before = server.content().await;
    let post = async |content_type: &str, body: String| {
        let request = |request: reqwest::RequestBuilder| {
            request.header("accept", EVENTS).header("content-type", content_type).body(body)
        };
        anna.request(Method::POST, "/graphql", request).await
    };
    let query = json!({ "query": "{ viewer { id } }" }).to_string();
    let get = async |query: &str| {
        let request = |request: reqwest::RequestBuilder| {
            request.header("accept", EVENTS).query(&[("query", query)])
        };
        anna.request(Method::GET, "/graphql", request).await
    };
    for (reply, status) in [
        (post("application/json", "{".into()).await, StatusCode::BAD_REQUEST),
        (post("application/json", "[]".into()).await, StatusCode::BAD_REQUEST),
        (post("text/plain", query).await, StatusCode::UNSUPPORTED_MEDIA_TYPE),
        (post("application/json", "x".repeat(2_000_000)).await, StatusCode::PAYLOAD_TOO_LARGE),
        (get("mutation { signOut { signedOut } }").await, StatusCode::METHOD_NOT_ALLOWED),
    ] {
        assert_eq!((reply.status, reply.code()), (status, "BAD_REQUEST"));
        assert_eq!(reply.headers["content-type"], "application/json; charset=utf-8");
    }
    assert_eq!(server.content().await, before);
    anna.ok("{ viewer { id } }", json!({})).await;
    server.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_subscription_requires_a_request_that_accepts_event_streams() {
    let server = TestServer::start().await;
    let anna = server.customer("Anna").await;
    let subscription = "subscription { inboxEvents { __typename } }";
    let ask = async |accept: &'static str, query: &str| -> Reply {
        let body = json!({ "query": query });
        let request =
            |request: reqwest::RequestBuilder| request.header("accept", accept).json(&body);
        anna.request(Method::POST, "/graphql", request).await
    };
    for accept in ["*/*", "application/json", "text/event-stream;q=0, */*"] {
        let reply = ask(accept, subscription).await;
        assert_eq!((reply.status, reply.code()), (StatusCode::BAD_REQUEST, "BAD_REQUEST"));
    }
    // A client may send one list for all requests and gets the format that fits each.
    let list = "application/graphql-response+json, application/json, text/event-stream";
    let reply = ask(list, "{ viewer { name } }").await;
    assert_eq!(reply.at("/data/viewer/name"), "Anna");
    let request = |request: reqwest::RequestBuilder| {
        request.json(&json!({ "query": subscription })).header("accept", "application/json")
    };
    let mut stream = EventStream::new(anna.request_event_stream(request).await);
    assert_eq!(stream.item().await.0["__typename"], "Checkpoint");
    server.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn an_event_stream_resumes_after_its_last_event_id_on_any_node() {
    let server = TestServer::start().await;
    let anna = server.customer("Anna").await;
    let agent = server.agent("Marta").await;
    let ticket = anna.create_ticket("one").await;
    let mut stream = anna.stream_inbox(None).await;
    let mut last = stream.caught_up().await;
    let second = server.second_node().await;
    let nodes = [anna.clone(), anna.at(&second.address().to_string())];
    let mut seen = Vec::new();
    for round in 0..6 {
        for n in 0..3 {
            agent.note(&ticket, "not for customers").await;
            agent.comment(&ticket, &format!("{round}.{n}")).await;
        }
        // The connection is cut while events are still on their way.
        while seen.len() < 3 * round + 1 {
            last = receive(&mut stream, &mut seen).await;
        }
        drop(stream);
        stream = nodes[round % 2].stream_inbox(Some(&last)).await;
    }
    while seen.len() < 18 {
        receive(&mut stream, &mut seen).await;
    }
    let expected = (0..6).flat_map(|round| (0..3).map(move |n| format!("{round}.{n}")));
    assert_eq!(seen, expected.collect::<Vec<_>>());

    // `Last-Event-ID` takes precedence over the argument, also in a GET request; queries ignore it.
    let query = format!("subscription {{ inboxEvents(after: \"nonsense\") {{ {EVENT} }} }}");
    let url = format!("http://{}/graphql", server.address());
    let get = async |query: &str| {
        let request = reqwest::Client::new().get(&url).query(&[("query", query)]);
        let request = request.bearer_auth(anna.token.as_ref().unwrap());
        let request = request.header("accept", EVENTS).header("last-event-id", &last);
        EventStream::new(request.send().await.unwrap())
    };
    receive(&mut get(&query).await, &mut seen).await;
    let response = get("{ viewer { name } }").await.event().await.unwrap().response();
    assert_eq!(response["data"]["viewer"]["name"], "Anna");
    second.stop().await;
    server.stop().await;
}

/// Waits for the next message; collects the body of a comment and returns the event's id.
async fn receive(stream: &mut EventStream, seen: &mut Vec<String>) -> String {
    let (item, id) = stream.item().await;
    assert_eq!(item["cursor"], id);
    if item["__typename"] == "CommentAdded" {
        seen.push(item["comment"]["body"].as_str().unwrap().to_owned());
    }
    id
}

#[tokio::test(flavor = "multi_thread")]
async fn the_notification_stream_resumes_after_its_last_event_id() {
    let server = TestServer::start().await;
    let (anna, agent) = (server.customer("Anna").await, server.agent("Marta").await);
    let ticket = anna.create_ticket("one").await;
    let query = "subscription { notifications { __typename
        ... on NotificationAdded { cursor notification { kind } } } }";
    let watch = async |last: Option<&str>| {
        let request = |mut request: reqwest::RequestBuilder| {
            if let Some(last) = last {
                request = request.header("last-event-id", last);
            }
            request.json(&json!({ "query": query }))
        };
        EventStream::new(anna.request_event_stream(request).await)
    };
    let mut stream = watch(None).await;
    let (_, last) = stream.item().await;
    drop(stream);
    agent.comment(&ticket, "hello").await;
    let mut stream = watch(Some(&last)).await;
    loop {
        let (item, id) = stream.item().await;
        if item["__typename"] == "NotificationAdded" {
            assert_eq!(item["cursor"], id);
            break;
        }
    }
    server.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn signing_out_ends_the_event_streams_of_that_session_only() {
    let server = TestServer::start().await;
    let anna = server.customer("Anna").await;
    let other = server.anonymous().sign_in("anna@example.com", PASSWORD).await;
    let ticket = anna.create_ticket("one").await;
    let document =
        format!("subscription($id: ID!) {{ ticketEvents(ticketId: $id) {{ {EVENT} }} }}");
    let mut streams = [
        anna.stream(&document, json!({ "id": ticket.id })).await,
        anna.stream("subscription { notifications { __typename } }", json!({})).await,
        anna.stream_inbox(None).await,
    ];
    for stream in &mut streams {
        stream.item().await;
    }
    let mut others = other.stream_inbox(None).await;
    others.caught_up().await;
    anna.ok("mutation { signOut { signedOut } }", json!({})).await;
    for stream in &mut streams {
        assert_eq!(stream.last_error().await, "UNAUTHENTICATED");
    }
    other.comment(&ticket, "still here").await;
    let mut seen = Vec::new();
    receive(&mut others, &mut seen).await;
    assert_eq!(seen, ["still here"]);
    server.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_stopping_server_ends_its_event_streams_so_that_clients_resume() {
    let mut server = TestServer::start().await;
    let anna = server.customer("Anna").await;
    let ticket = anna.create_ticket("one").await;
    let mut streams = Vec::new();
    let mut last = String::new();
    for _ in 0..20 {
        let mut stream = anna.stream_inbox(None).await;
        last = stream.caught_up().await;
        streams.push(stream);
    }
    // Far less than the time that a stopping server waits for requests.
    time::timeout(Duration::from_secs(5), server.restart()).await.expect("a quick end");
    for mut stream in streams {
        assert_eq!(stream.event().await, None, "no `complete`, so the client reconnects");
    }
    let anna = anna.at(&server.address());
    anna.comment(&ticket, "hello").await;
    let (mut stream, mut seen) = (anna.stream_inbox(Some(&last)).await, Vec::new());
    while seen.is_empty() {
        receive(&mut stream, &mut seen).await;
    }
    assert_eq!(seen, ["hello"]);
    server.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn an_idle_event_stream_sends_heartbeats() {
    let server = TestServer::start().await;
    let anna = server.customer("Anna").await;
    let mut stream = anna.stream_inbox(None).await;
    stream.caught_up().await;
    let mut heartbeat = stream.block().await.unwrap();
    // The first block confirms that the request was received.
    if heartbeat != ":" {
        heartbeat = stream.block().await.unwrap();
    }
    assert_eq!(heartbeat, ":");
    server.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_page_with_graphql_sse_resumes_after_a_restart() {
    let database = TestDatabase::new().await;
    create_account(&database.url, &Arc::default(), "anna@example.com", "Anna", Role::Customer)
        .await;
    let variables = [("DATABASE_URL", database.url.as_str())];
    let mut server = Some(Process::serve(&variables).await);
    let other = Process::serve(&variables).await;
    let address = server.as_ref().unwrap().address.clone();
    let anna = Client::new(&other.address, None).sign_in("anna@example.com", PASSWORD).await;
    let ticket = anna.create_ticket("one").await;
    let mut script = Script::start("sse.js", &format!("http://{address}/")).await;
    while let Some(command) = script.command().await {
        match command.iter().map(String::as_str).collect::<Vec<_>>()[..] {
            ["token"] => {
                script.answer(anna.token.as_ref().unwrap()).await;
                continue;
            }
            ["comment", body] => drop(anna.comment(&ticket, body).await),
            ["kill"] => server.take().expect("a running server").kill().await,
            ["start"] => {
                let here = [variables[0], ("TICKETWIRE_LISTEN", &address)];
                server = Some(Process::serve(&here).await);
            }
            ["revoke"] => drop(anna.ok("mutation { signOut { signedOut } }", json!({})).await),
            ref other => panic!("the script asks for {other:?}"),
        }
        script.done().await;
    }
    assert!(script.succeeded().await, "see above");
    server.unwrap().kill().await;
    other.kill().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn curl_receives_events_and_resumes_after_the_last_one() {
    let server = TestServer::start().await;
    let anna = server.customer("Anna").await;
    let ticket = anna.create_ticket("one").await;
    let query =
        "subscription { inboxEvents { __typename ... on CommentAdded { comment { body } } } }";
    let curl = |last: &str| {
        let mut command = Command::new("curl");
        command.args(["--silent", "--no-buffer", "--fail"]);
        command.args(["--header", "Accept: text/event-stream"]);
        command.args(["--header", "Content-Type: application/json"]);
        let token = anna.token.as_ref().unwrap();
        command.args(["--header", &format!("Authorization: Bearer {token}")]);
        command.args(["--header", &format!("Last-Event-ID: {last}")]);
        command.args(["--data", &json!({ "query": query }).to_string()]);
        command.arg(format!("http://{}/graphql", server.address()));
        let mut child = command.stdout(Stdio::piped()).kill_on_drop(true).spawn().unwrap();
        let lines = BufReader::new(child.stdout.take().unwrap()).lines();
        (child, lines)
    };
    let last = anna.stream_inbox(None).await.caught_up().await;
    let mut after = last;
    for body in ["first", "second"] {
        let (mut child, mut lines) = curl(&after);
        anna.comment(&ticket, body).await;
        loop {
            let line = time::timeout(Duration::from_secs(20), lines.next_line()).await;
            let line = line.expect("a line in time").unwrap().expect("a line");
            if let Some(id) = line.strip_prefix("id: ") {
                id.clone_into(&mut after);
            }
            let data = line.strip_prefix("data: ").unwrap_or("null");
            let data = serde_json::from_str::<Value>(data).unwrap();
            if data["data"]["inboxEvents"]["__typename"] == "CommentAdded" {
                assert_eq!(data["data"]["inboxEvents"]["comment"]["body"], body);
                break;
            }
        }
        child.kill().await.unwrap();
    }
    server.stop().await;
}
