//! Requests to the server's API.

use serde_json::{Value, json};

/// Executes a document and returns its data. Panics if the response has errors. Without a token,
/// nobody is signed in.
pub async fn send(
    http: &reqwest::Client,
    address: &str,
    token: &str,
    query: &str,
    variables: Value,
) -> Value {
    let request = http.post(format!("http://{address}/graphql"));
    let body = json!({ "query": query, "variables": variables });
    let request = if token.is_empty() { request } else { request.bearer_auth(token) };
    let answer = request.json(&body).send().await.expect("an answer");
    let mut answer = answer.json::<Value>().await.expect("JSON");
    assert!(answer.get("errors").is_none(), "{answer}");
    answer["data"].take()
}
