//! The log: one line for each request.

use std::net::TcpListener;

use serde_json::{Value, json};

use crate::harness::{
    Client, TestServer,
    postgres::TestDatabase,
    process::Process,
    server::{PASSWORD, create_account},
};
use ticketwire::domain::account::Role;

/// Signs in and asks once, at a server that logs as told. Returns the id of the request, the size of
/// its response, the token of the session, and the log.
async fn one_request(format: &str) -> (String, usize, String, String) {
    let server = TestServer::start().await;
    let url = server.database.url.clone();
    create_account(&url, &server.clock, "anna@example.com", "Anna", Role::Customer).await;
    let variables = [("DATABASE_URL", url.as_str()), ("TICKETWIRE_LOG_FORMAT", format)];
    let process = Process::serve(&variables).await;
    let anna = Client::new(&process.address, None).sign_in("anna@example.com", PASSWORD).await;
    let token = anna.token.clone().unwrap();
    let response = reqwest::Client::new()
        .post(format!("http://{}/graphql?secret=in-the-query", process.address))
        .bearer_auth(&token)
        .json(&json!({ "query": "query MyTickets { tickets(first: 3) { nodes { id } } }" }))
        .send()
        .await
        .unwrap();
    let id = response.headers()["x-request-id"].to_str().unwrap().to_owned();
    let bytes = response.bytes().await.unwrap().len();
    let address = process.address.clone();
    let missing = format!("http://{address}/attachments/a-secret-token");
    assert_eq!(reqwest::get(missing).await.unwrap().status(), 404);
    assert_eq!(reqwest::get(format!("http://{address}/healthz")).await.unwrap().status(), 200);
    let log = process.stop_and_read_log().await;
    server.stop().await;
    (id, bytes, token, log)
}

#[tokio::test(flavor = "multi_thread")]
async fn each_request_is_one_line_of_json_without_secrets() {
    let (id, bytes, token, log) = one_request("json").await;
    let lines = log.lines().map(|line| serde_json::from_str::<Value>(line).unwrap());
    let lines = lines.collect::<Vec<_>>();
    let own = lines.iter().filter(|line| line["span"]["id"] == *id).collect::<Vec<_>>();
    assert_eq!(own.len(), 1, "{log}");
    let fields = &own[0]["fields"];
    assert_eq!(fields["message"], "request answered");
    assert_eq!(fields["status"], 200);
    assert_eq!(fields["outcome"], "ok");
    assert_eq!(fields["operation"], "MyTickets");
    assert_eq!(fields["kind"], "query");
    assert_eq!(fields["bytes"], bytes);
    assert!(fields["statements"].as_u64().unwrap() >= 1, "{fields}");
    assert!(fields["duration_ms"].as_f64().unwrap() > 0.0, "{fields}");
    assert_eq!(own[0]["span"]["route"], "/graphql");
    // The route of a link, and not its path; and health checks are no news.
    let routes = lines.iter().filter(|line| line["fields"]["message"] == "request answered");
    let routes = routes.map(|line| line["span"]["route"].as_str().unwrap()).collect::<Vec<_>>();
    assert_eq!(routes.last(), Some(&"/attachments/{token}"), "{log}");
    assert!(!routes.contains(&"/healthz"), "{log}");
    for secret in [token.as_str(), "anna@", "Anna", PASSWORD, "in-the-query", "a-secret-token"] {
        assert!(!log.contains(secret), "{secret}: {log}");
    }
    // The messages of tasks and consumers have a span too.
    assert!(lines.iter().any(|line| line["fields"]["message"] == "this node starts"), "{log}");
}

#[tokio::test(flavor = "multi_thread")]
async fn each_request_is_one_line_of_text() {
    let (id, _, token, log) = one_request("text").await;
    let line = log.lines().filter(|line| line.contains(&id)).collect::<Vec<_>>();
    assert_eq!(line.len(), 1, "{log}");
    for part in
        ["INFO", "request answered", "status=200", "outcome=\"ok\"", "operation=\"MyTickets\""]
    {
        assert!(line[0].contains(part), "{part}: {}", line[0]);
    }
    assert!(!log.contains(&token), "{log}");
}

/// The lines of a log in JSON with this message.
fn lines(log: &str, message: &str) -> Vec<Value> {
    let lines = log.lines().map(|line| serde_json::from_str::<Value>(line).unwrap());
    lines.filter(|line| line["fields"]["message"] == message).collect()
}

/// Waits until a counter in the metrics of an address is at least 1. Returns all metrics.
async fn counted(address: &str, counter: &str) -> String {
    loop {
        let metrics = reqwest::get(format!("http://{address}/metrics")).await.unwrap();
        let text = metrics.text().await.unwrap();
        if text.lines().any(|line| line.strip_prefix(counter).is_some_and(|count| count != " 0")) {
            return text;
        }
    }
}

/// An address for the admin listener that is free.
fn free_address() -> String {
    TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().to_string()
}

#[tokio::test(flavor = "multi_thread")]
async fn a_request_whose_client_gives_up_is_one_line_that_says_so() {
    let (server, admin) = (TestServer::start().await, free_address());
    let url = server.database.url.clone();
    create_account(&url, &server.clock, "anna@example.com", "Anna", Role::Customer).await;
    let variables = [
        ("DATABASE_URL", url.as_str()),
        ("TICKETWIRE_LOG_FORMAT", "json"),
        ("TICKETWIRE_ADMIN_LISTEN", &admin),
    ];
    let process = Process::serve(&variables).await;
    let anna = Client::new(&process.address, None).sign_in("anna@example.com", PASSWORD).await;
    let holder = server.database.connect().await;
    // No task of the server itself reads categories while nothing happens.
    holder.batch_execute("BEGIN; LOCK TABLE categories IN ACCESS EXCLUSIVE MODE").await.unwrap();
    let asking = tokio::spawn(async move {
        anna.send("query Blocked { categories { id } }", json!({})).await;
    });
    let blocked = "SELECT EXISTS (SELECT FROM pg_locks WHERE NOT granted
        AND relation = 'categories'::regclass)";
    while !holder.query_one(blocked, &[]).await.unwrap().get::<_, bool>(0) {}
    asking.abort();
    let cancelled = "ticketwire_http_requests_total{route=\"/graphql\",status=\"cancelled\"}";
    counted(&admin, cancelled).await;
    holder.batch_execute("ROLLBACK").await.unwrap();
    let log = process.stop_and_read_log().await;
    let found = lines(&log, "request cancelled");
    assert_eq!(found.len(), 1, "{log}");
    let fields = &found[0]["fields"];
    assert_eq!((&fields["outcome"], &fields["kind"]), (&json!("cancelled"), &json!("query")));
    assert_eq!(fields["operation"], "Blocked");
    assert!(fields["duration_ms"].as_f64().unwrap() > 0.0, "{fields}");
    assert_eq!(found[0]["span"]["route"], "/graphql");
    server.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_method_that_a_client_invents_is_logged_and_counted_as_other() {
    let (database, admin) = (TestDatabase::new().await, free_address());
    let variables = [
        ("DATABASE_URL", database.url.as_str()),
        ("TICKETWIRE_LOG_FORMAT", "json"),
        ("TICKETWIRE_ADMIN_LISTEN", &admin),
    ];
    let process = Process::serve(&variables).await;
    let invented = reqwest::Method::from_bytes(b"BREW").unwrap();
    let url = format!("http://{}/pots/1", process.address);
    let refused = reqwest::Client::new().request(invented, url).send().await.unwrap();
    assert!(refused.status().is_client_error(), "{refused:?}");
    let requests = "ticketwire_http_requests_total{route=\"other\",status=\"4xx\"}";
    let metrics = counted(&admin, requests).await;
    let log = process.stop_and_read_log().await;
    let found = lines(&log, "request answered");
    assert_eq!(found[0]["span"]["method"], "_OTHER", "{log}");
    assert_eq!(found[0]["span"]["route"], "other");
    for text in [&log, &metrics] {
        assert!(!text.contains("BREW") && !text.contains("pots"), "{text}");
    }
}
