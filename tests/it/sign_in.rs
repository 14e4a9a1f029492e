//! Signing in and out.

use chrono::TimeDelta;
use serde_json::{Value, json};

use crate::{
    harness::{Client, TestServer, process::Process, server::PASSWORD},
    writes::until_waiting,
};
use ticketwire::domain::account::Role;

const SIGN_IN: &str = "mutation($input: SignInInput!) { signIn(input: $input) {
    session { token expiresAt account { name email role } } challenge { token } userErrors { field code message } } }";

#[tokio::test(flavor = "multi_thread")]
async fn signing_in_with_the_right_password_creates_a_session() {
    let server = TestServer::start().await;
    server.customer("Anna").await;
    let input = json!({ "email": " Anna@Example.com ", "password": PASSWORD });
    let reply = server.anonymous().ok(SIGN_IN, json!({ "input": input })).await;
    let payload = &reply["signIn"];
    let token = payload["session"]["token"].as_str().unwrap();
    assert!(token.starts_with("tw_") && token.len() == 46, "{token}");
    assert_eq!(
        payload["session"]["account"],
        json!({ "name": "Anna", "email": "anna@example.com", "role": "CUSTOMER" })
    );
    assert_eq!((&payload["challenge"], &payload["userErrors"]), (&json!(null), &json!([])));
    let client = Client::new(&server.address(), Some(token.to_owned()));
    assert_eq!(client.ok("{ viewer { name } }", json!({})).await["viewer"]["name"], "Anna");
    server.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_wrong_password_and_an_unknown_address_get_the_same_answer() {
    let server = TestServer::start().await;
    server.customer("Anna").await;
    let mut answers = Vec::new();
    for (email, password) in [
        ("anna@example.com", "wrong"),
        ("nobody@example.com", PASSWORD),
        ("not an address", PASSWORD),
        ("anna@example.com\0", PASSWORD),
        ("anna@example.com", ""),
        ("anna@example.com", &"x".repeat(100_000)),
    ] {
        let input = json!({ "email": email, "password": password });
        answers.push(server.anonymous().ok(SIGN_IN, json!({ "input": input })).await);
    }
    assert_eq!(answers[0]["signIn"]["session"], json!(null));
    assert_eq!(answers[0]["signIn"]["userErrors"][0]["code"], "INVALID_CREDENTIALS");
    assert!(answers.iter().all(|answer| *answer == answers[0]), "{answers:?}");
    server.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_disabled_account_cannot_sign_in_or_use_its_session() {
    let server = TestServer::start().await;
    let anna = server.customer("Anna").await;
    let database = server.database.connect().await;
    database.batch_execute("UPDATE accounts SET disabled_at = created_at").await.unwrap();
    let input = json!({ "email": "anna@example.com", "password": PASSWORD });
    let reply = server.anonymous().send(SIGN_IN, json!({ "input": input })).await;
    assert_eq!(reply.user_errors("signIn"), ["INVALID_CREDENTIALS"]);
    assert_eq!(anna.send("{ viewer { id } }", json!({})).await.code(), "UNAUTHENTICATED");
    server.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn signing_out_invalidates_that_token_at_once_and_no_other() {
    let server = TestServer::start().await;
    let first = server.customer("Anna").await;
    let second = server.anonymous().sign_in("anna@example.com", PASSWORD).await;
    first.ok("{ viewer { id } }", json!({})).await;
    let reply = first.ok("mutation { signOut { signedOut userErrors { code } } }", json!({})).await;
    assert_eq!(reply["signOut"]["signedOut"], true);
    assert_eq!(first.send("{ viewer { id } }", json!({})).await.code(), "UNAUTHENTICATED");
    assert_eq!(
        first.send("mutation { signOut { signedOut } }", json!({})).await.code(),
        "UNAUTHENTICATED"
    );
    second.ok("{ viewer { id } }", json!({})).await;
    // An invalid token in the header does not prevent another sign-in.
    first.sign_in("anna@example.com", PASSWORD).await;
    server.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_session_expires_after_thirty_days() {
    let server = TestServer::start_with(&[("sessions.idle_hours", "8760".to_owned())]).await;
    let anna = server.customer("Anna").await;
    server.clock.advance(TimeDelta::hours(719));
    anna.ok("{ viewer { id } }", json!({})).await;
    server.clock.advance(TimeDelta::hours(2));
    assert_eq!(anna.send("{ viewer { id } }", json!({})).await.code(), "UNAUTHENTICATED");
    server.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn tokens_and_passwords_are_stored_as_hashes_only() {
    let server = TestServer::start().await;
    let anna = server.sign_up("Anna", Role::Agent).await;
    let database = server.database.connect().await;
    let row = database
        .query_one(
            "SELECT s::text || a::text FROM sessions s JOIN accounts a ON a.id = s.account_id",
            &[],
        )
        .await
        .unwrap();
    let text: String = row.get(0);
    assert!(text.contains("$argon2id$v=19$"), "{text}");
    let token = anna.token.unwrap();
    assert!(
        !text.contains(PASSWORD) && !text.contains(&token) && !text.contains(&token[3..]),
        "{text}"
    );
    server.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn an_unknown_or_malformed_token_is_unauthenticated() {
    let server = TestServer::start().await;
    for token in
        ["", "tw_", "tw_AAAA", "Basic x", &format!("tw_{}", "A".repeat(43)), &"A".repeat(5_000)]
    {
        let client = Client::new(&server.address(), Some(token.to_owned()));
        assert_eq!(client.send("{ viewer { id } }", json!({})).await.code(), "UNAUTHENTICATED");
    }
    server.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn sign_ins_are_logged_whether_they_succeed_or_not() {
    let server = TestServer::start().await;
    let anna = server.customer("Anna").await;
    let database = server.database.connect().await;
    let id = database.query_one("SELECT id::text FROM accounts", &[]).await.unwrap();
    let id = id.get::<_, String>(0);
    let process = Process::serve(&[
        ("DATABASE_URL", server.database.url.as_str()),
        ("TICKETWIRE_LOG_FORMAT", "json"),
    ])
    .await;
    let anyone = Client::new(&process.address, None);
    for (email, password) in [
        ("anna@example.com", PASSWORD),
        ("anna@example.com", "wrong password"),
        ("nobody@example.com", PASSWORD),
    ] {
        let input = json!({ "email": email, "password": password });
        anyone.send(SIGN_IN, json!({ "input": input })).await;
    }
    let redeem =
        "mutation { redeemHandoff(input: { token: \"tw_handoff_x\" }) { userErrors { code } } }";
    anyone.ok(redeem, json!({})).await;
    let verify = "mutation { verifySecondFactor(input: { challengeToken: \"tw_challenge_x\", method: EMAIL, code: \"123456\" }) {
        userErrors { code } } }";
    anyone.ok(verify, json!({})).await;
    let log = process.stop_and_read_log().await;
    let lines = log.lines().filter_map(|line| serde_json::from_str::<Value>(line).ok());
    let lines =
        lines.map(|line| line["fields"].clone()).filter(|fields| fields["proof"].is_string());
    assert_eq!(
        lines.collect::<Vec<_>>(),
        [
            json!({ "message": "signed in", "proof": "password", "account_id": id, "client": "127.0.0.1" }),
            json!({ "message": "sign-in refused", "proof": "password", "account_id": id, "client": "127.0.0.1", "reason": "invalid_credentials" }),
            json!({ "message": "sign-in refused", "proof": "password", "client": "127.0.0.1", "reason": "invalid_credentials" }),
            json!({ "message": "sign-in refused", "proof": "handoff", "client": "127.0.0.1", "reason": "invalid_link" }),
            json!({ "message": "sign-in refused", "proof": "second_factor", "client": "127.0.0.1", "reason": "expired" }),
        ]
    );
    for secret in [PASSWORD, "wrong password", "example.com", "tw_", "123456"] {
        assert!(!log.contains(secret), "{secret} was logged: {log}");
    }
    drop(anna);
    server.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_call_that_waits_for_a_ticket_ends_with_its_session() {
    let server = TestServer::start().await;
    let anna = server.customer("Anna").await;
    let ticket = anna.create_ticket("one").await;
    let (marta, ada) = (server.agent("Marta").await, crate::erasure::admin(&server).await);
    // The redaction waits until the account is no longer staff, which ends its sessions.
    let mut database = server.database.connect().await;
    let transaction = database.transaction().await.unwrap();
    transaction.batch_execute("SELECT FROM tickets FOR UPDATE").await.unwrap();
    let redact = "mutation($id: ID!) {
        redactTicket(input: { ticketId: $id, text: SUMMARY }) { userErrors { code } } }";
    let redacting = tokio::spawn({
        let (marta, ids) = (marta.clone(), json!({ "id": ticket.id }));
        async move { marta.send(redact, ids).await }
    });
    until_waiting(&server, "%FOR NO KEY UPDATE").await;
    let demote = "mutation($i: SetAccountRoleInput!) { setAccountRole(input: $i) {
        userErrors { code } } }";
    let input = json!({ "id": marta.account_id().await, "role": "CUSTOMER" });
    let data = ada.ok(demote, json!({ "i": input })).await;
    assert_eq!(data["setAccountRole"]["userErrors"], json!([]));
    transaction.commit().await.unwrap();
    let reply = redacting.await.unwrap();
    assert_eq!(reply.code(), "UNAUTHENTICATED", "{}", reply.body);
    server.stop().await;
}
