//! Wrong codes after the right password.

use chrono::TimeDelta;
use serde_json::{Value, json};

use super::second_factor::{SIGN_IN, VERIFY, code_of, reauthenticate, with_authenticator};
use crate::harness::{TestServer, mail::MailFixture, server::PASSWORD};

/// Enters a wrong code from an address.
async fn guess(server: &TestServer, address: &str) -> Value {
    let token = challenge_from(server, address).await;
    let input =
        json!({ "challengeToken": token, "method": "RECOVERY_CODE", "code": "2222-2222-2222" });
    send_from(server, address, VERIFY, &input).await
}

/// Signs in from an address; returns the token of the challenge.
async fn challenge_from(server: &TestServer, address: &str) -> Value {
    let input = json!({ "email": "anna@example.com", "password": PASSWORD });
    let body = send_from(server, address, SIGN_IN, &input).await;
    body["data"]["signIn"]["challenge"]["token"].clone()
}

async fn send_from(server: &TestServer, address: &str, document: &str, input: &Value) -> Value {
    let body = json!({ "query": document, "variables": { "input": input } }).to_string();
    let client = server.anonymous();
    let reply = client.request(reqwest::Method::POST, "/graphql", |request| {
        let request = request.header("content-type", "application/json");
        request.header("x-forwarded-for", address).body(body)
    });
    reply.await.body
}

#[tokio::test(flavor = "multi_thread")]
async fn wrong_codes_are_recorded_slowed_down_and_reported_to_the_owner() {
    let fixture = MailFixture::start_with(&[("trusted_proxies", "1")]).await;
    let (server, anna) = (&fixture.server, &fixture.anna);
    with_authenticator(server, anna).await;
    // Two typing errors from where she has signed in are not suspicious.
    for _ in 0..2 {
        guess(server, "127.0.0.1").await;
    }
    server.quiet().await;
    let told = "wrong code";
    assert!(!fixture.smtp.mails().iter().any(|mail| mail.text.contains(told)));
    let trail = "{ viewer { securityEvents(first: 3) { nodes { kind actor { name } } } } }";
    let nodes = anna.ok(trail, json!({})).await["viewer"]["securityEvents"]["nodes"].clone();
    let wrong = json!({ "kind": "SECOND_FACTOR_FAILED", "actor": null });
    assert_eq!((&nodes[0], &nodes[1]), (&wrong, &wrong));
    assert_ne!(nodes[2], wrong);

    // From elsewhere one is, once a day.
    for n in 0..20 {
        let body = guess(server, &format!("198.51.100.{n}")).await;
        assert_eq!(code_of(&body["data"]["verifySecondFactor"]), "INVALID_CODE", "{body}");
        server.clock.advance(TimeDelta::minutes(5));
    }
    let mail = fixture.smtp.nth(1, told).await;
    assert_eq!((mail.to.as_str(), mail.text.contains("198.51.100.0")), ("anna@example.com", true));
    // Further ones, for which the limit of an hour has room, have to wait longer and longer.
    let mut accepted = 0;
    for n in 0..24 {
        let body = guess(server, &format!("203.0.113.{n}")).await;
        accepted += u8::from(body["errors"].is_null());
        server.clock.advance(TimeDelta::minutes(10));
    }
    assert!((2..=5).contains(&accepted), "{accepted}");
    server.quiet().await;
    let mails = fixture.smtp.mails();
    assert_eq!(mails.iter().filter(|mail| mail.text.contains(told)).count(), 1);

    // Also in a session.
    let input =
        json!({ "password": PASSWORD, "method": "RECOVERY_CODE", "code": "2222-2222-2222" });
    assert_eq!(code_of(&reauthenticate(anna, input).await), "INVALID_CODE");
    let nodes = anna.ok(trail, json!({})).await["viewer"]["securityEvents"]["nodes"].clone();
    assert_eq!(nodes[0], json!({ "kind": "SECOND_FACTOR_FAILED", "actor": { "name": "Anna" } }));
    fixture.server.stop().await;
}
