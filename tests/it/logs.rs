//! The log: one line for each request.

use serde_json::{Value, json};

use crate::harness::{
    Client, TestServer,
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
