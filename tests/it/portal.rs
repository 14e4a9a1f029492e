//! The portal: how it is served, and a customer's visit in a browser.

use reqwest::{Method, StatusCode};
use serde_json::json;

use crate::harness::{
    Client, Reply, browser::Script, demo::Demo, postgres::TestDatabase, process::Process,
};

async fn get(client: &Client, path: &str, accept: &str) -> Reply {
    client.request(Method::GET, path, |request| request.header("accept", accept)).await
}

#[tokio::test(flavor = "multi_thread")]
async fn the_portal_is_served_at_its_addresses_under_a_strict_policy() {
    let database = TestDatabase::new().await;
    let process = Process::serve(&[("DATABASE_URL", &database.url)]).await;
    assert!(process.welcome.contains(&format!("Portal       http://{}/", process.address)));
    let client = Client::new(&process.address, None);
    let page = get(&client, "/", "text/html").await;
    assert_eq!(page.status, StatusCode::OK, "{}", page.body);
    let policy = page.headers["content-security-policy"].to_str().unwrap();
    assert!(policy.starts_with("default-src 'none'; script-src 'self';"), "{policy}");
    assert!(policy.contains("require-trusted-types-for 'script'") && !policy.contains("unsafe"));
    assert_eq!(page.headers["cache-control"], "no-cache");
    let html = page.body.as_str().unwrap().to_owned();
    for path in ["/tickets/CS-1", "/new/sales", "/account"] {
        let deep = get(&client, path, "text/html,*/*").await;
        assert_eq!((deep.status, deep.body.as_str()), (StatusCode::OK, Some(&*html)), "{path}");
    }
    let assets = html.split('"').filter(|part| part.starts_with("/assets/"));
    let mut loaded = 0;
    for path in assets {
        let asset = get(&client, path, "*/*").await;
        assert_eq!(asset.status, StatusCode::OK, "{path}");
        assert_eq!(asset.headers["cache-control"], "public, max-age=31536000, immutable");
        assert_eq!(asset.headers["x-content-type-options"], "nosniff");
        loaded += 1;
    }
    assert!(loaded >= 2, "{html}");
    for path in ["/assets/none.js", "/attachments", "/playground/none.js"] {
        assert_eq!(get(&client, path, "text/html").await.status, StatusCode::NOT_FOUND, "{path}");
    }
    // What asks for no page gets none.
    assert_eq!(get(&client, "/tickets", "*/*").await.status, StatusCode::NOT_FOUND);
    process.kill().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_setting_switches_the_portal_off() {
    let database = TestDatabase::new().await;
    let off = [("DATABASE_URL", database.url.as_str()), ("TICKETWIRE_PORTAL", "false")];
    let process = Process::serve(&off).await;
    assert!(!process.welcome.contains("Portal"), "{}", process.welcome);
    let client = Client::new(&process.address, None);
    for path in ["/", "/tickets"] {
        let answer = get(&client, path, "text/html").await;
        assert_eq!(answer.status, StatusCode::NOT_FOUND, "{path}");
        assert!(answer.body.as_str().unwrap().contains("/graphql"), "{path}");
    }
    process.kill().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_customer_opens_a_ticket_and_follows_it_in_a_browser() {
    let demo = Demo::new();
    let process = demo.serve("127.0.0.1:0").await;
    let agent = Demo::sign_in(&process.address, "agent@demo.example").await;
    let mut script = Script::start("portal.js", &format!("http://{}/", process.address)).await;
    while let Some(command) = script.command().await {
        match command.iter().map(String::as_str).collect::<Vec<_>>()[..] {
            ["answer", number, body] => {
                let query = "query($n: String!) { ticket(number: $n) { id } }";
                let found = agent.ok(query, json!({ "n": number })).await;
                let input = json!({ "ticketId": found["ticket"]["id"], "body": body });
                let add = "mutation($i: AddCommentInput!) { addComment(input: $i) {
                    comment { id } userErrors { code } } }";
                let added = agent.ok(add, json!({ "i": input })).await;
                assert!(added["addComment"]["comment"]["id"].is_string(), "{added}");
            }
            ["redact", number] => {
                let query =
                    "query($n: String!) { ticket(number: $n) { timeline(first: 10) { nodes {
                    ... on CommentAdded { comment { id } } } } } }";
                let found = agent.ok(query, json!({ "n": number })).await;
                let events = found["ticket"]["timeline"]["nodes"].as_array().unwrap();
                let comment = events.iter().find_map(|event| event["comment"]["id"].as_str());
                let redact = "mutation($i: RedactCommentInput!) { redactComment(input: $i) {
                    userErrors { code } } }";
                let input = json!({ "commentId": comment.unwrap() });
                let redacted = agent.ok(redact, json!({ "i": input })).await;
                assert_eq!(redacted["redactComment"]["userErrors"], json!([]));
            }
            ref other => panic!("the script asks for {other:?}"),
        }
        script.done().await;
    }
    assert!(script.succeeded().await, "see above");
    assert!(process.terminate(rustix::process::Signal::TERM).await);
}
