//! Customers of the control panel: provisioning, imported passwords and handoff links.

use argon2::{
    Argon2,
    password_hash::{PasswordHasher as _, phc::PasswordHash},
};
use chrono::TimeDelta;
use futures_util::future::join_all;
use reqwest::{Method, StatusCode};
use serde_json::{Value, json};
use ticketwire::{
    db::{Database, account},
    domain::{
        account::Role,
        clock::{Clock as _, SystemClock},
        service_token::Scope,
    },
};
use totp_rs::Totp;

use crate::harness::{
    Client, Reply, TestServer, browser::Script, demo::Demo, process::Process, server::PASSWORD,
};

const PROVISION: &str =
    "mutation($input: ProvisionCustomerInput!) { provisionCustomer(input: $input) {
    account { id email name locale role } created userErrors { field code message } } }";
const CREATE: &str = "mutation($id: String!) { createHandoff(input: { externalId: $id }) {
    handoff { url token expiresAt } userErrors { field code message } } }";
const REDEEM: &str = "mutation($token: String!) { redeemHandoff(input: { token: $token }) {
    session { token account { name } } challenge { token } userErrors { field code message } } }";

/// A hash of the tests' password, provisioned by libxcrypt.
const BCRYPT: &str = "$2y$05$N9qo8uLOickgx2ZMRZoMyecnY.m33OXwivjC6FvrTD1vlRxg57yGS";

pub async fn panel(server: &TestServer) -> Client {
    server.machine(&Scope::ALL).await
}

/// The control panel's data about Anna, with some fields replaced.
pub fn anna_input(other: Value) -> Value {
    let mut input =
        json!({ "externalId": "client-17", "email": "anna@example.com", "name": "Anna" });
    for (name, value) in other.as_object().unwrap() {
        input[name] = value.clone();
    }
    input
}

async fn try_provision(panel: &Client, input: Value) -> Reply {
    panel.send(PROVISION, json!({ "input": input })).await
}

pub async fn provision(panel: &Client, input: Value) -> Value {
    let reply = try_provision(panel, input).await;
    let payload = reply.at("/data/provisionCustomer").clone();
    assert_eq!(payload["userErrors"], json!([]), "{}", reply.body);
    payload
}

/// The token of a new link for an external id.
pub async fn link(panel: &Client, external_id: &str) -> String {
    let payload = panel.ok(CREATE, json!({ "id": external_id })).await["createHandoff"].clone();
    let token = payload["handoff"]["token"].as_str().unwrap_or_else(|| panic!("{payload}"));
    token.to_owned()
}

pub async fn redeem(server: &TestServer, token: &str) -> Value {
    server.anonymous().ok(REDEEM, json!({ "token": token })).await["redeemHandoff"].clone()
}

/// The stored hash of Anna's password.
async fn stored_hash(server: &TestServer) -> String {
    let database = server.database.connect().await;
    let query = "SELECT password_hash FROM accounts WHERE email = 'anna@example.com'";
    database.query_one(query, &[]).await.unwrap().get(0)
}

async fn try_sign_in(server: &TestServer, password: &str) -> Reply {
    sign_in(server, "anna@example.com", password).await
}

async fn sign_in(server: &TestServer, email: &str, password: &str) -> Reply {
    let document = "mutation($input: SignInInput!) { signIn(input: $input) {
        session { token } userErrors { code } } }";
    let input = json!({ "email": email, "password": password });
    server.anonymous().send(document, json!({ "input": input })).await
}

#[tokio::test(flavor = "multi_thread")]
async fn a_handoff_link_signs_a_provisioned_customer_in_once() {
    let server = TestServer::start().await;
    let panel = panel(&server).await;
    let provisioned = provision(&panel, anna_input(json!({ "locale": "RU" }))).await;
    assert_eq!(provisioned["created"], true);
    let account =
        json!({ "email": "anna@example.com", "name": "Anna", "locale": "RU", "role": "CUSTOMER" });
    for (field, value) in account.as_object().unwrap() {
        assert_eq!(provisioned["account"][field], *value, "{provisioned}");
    }
    let handoff =
        panel.ok(CREATE, json!({ "id": "client-17" })).await["createHandoff"]["handoff"].clone();
    let token = handoff["token"].as_str().unwrap();
    assert!(token.starts_with("tw_handoff_"), "{token}");
    assert_eq!(handoff["url"], format!("http://{}/handoff#token={token}", server.address()));

    let payload = redeem(&server, token).await;
    assert_eq!((&payload["challenge"], &payload["userErrors"]), (&Value::Null, &json!([])));
    let session = payload["session"]["token"].as_str().unwrap().to_owned();
    let anna = Client::new(&server.address(), Some(session));
    let viewer = anna
        .ok("{ viewer { name securityEvents { nodes { kind actor { name } } } } }", json!({}))
        .await;
    assert_eq!(viewer["viewer"]["name"], "Anna");
    let events = viewer["viewer"]["securityEvents"]["nodes"].as_array().unwrap();
    let kinds = events.iter().map(|event| event["kind"].as_str().unwrap()).collect::<Vec<_>>();
    assert_eq!(kinds, ["SIGNED_IN", "HANDOFF_REDEEMED", "HANDOFF_CREATED", "PROVISIONED"]);
    assert_eq!(events[3]["actor"], Value::Null);

    let again = redeem(&server, token).await;
    assert_eq!(
        (&again["session"], &again["userErrors"][0]["code"]),
        (&Value::Null, &json!("INVALID_LINK"))
    );
    let database = server.database.connect().await;
    let stored: String = database
        .query_one("SELECT string_agg(h::text, '') FROM handoffs h", &[])
        .await
        .unwrap()
        .get(0);
    assert!(!stored.contains(token) && !stored.contains(&token[11..]), "{stored}");
    server.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn only_one_of_many_concurrent_uses_of_a_handoff_link_succeeds() {
    let server = TestServer::start().await;
    let panel = panel(&server).await;
    provision(&panel, anna_input(json!({}))).await;
    for _ in 0..5 {
        let token = link(&panel, "client-17").await;
        let answers = join_all((0..8).map(|_| redeem(&server, &token))).await;
        let succeeded = answers.iter().filter(|answer| answer["session"].is_object()).count();
        assert_eq!(succeeded, 1, "{answers:?}");
    }
    server.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_handoff_link_expires_after_a_minute() {
    let server = TestServer::start().await;
    let panel = panel(&server).await;
    provision(&panel, anna_input(json!({}))).await;
    let (in_time, late) = (link(&panel, "client-17").await, link(&panel, "client-17").await);
    server.clock.advance(TimeDelta::seconds(59));
    assert!(redeem(&server, &in_time).await["session"].is_object());
    server.clock.advance(TimeDelta::seconds(2));
    assert_eq!(redeem(&server, &late).await["session"], Value::Null);
    server.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn every_refused_handoff_link_gets_the_same_answer() {
    let server = TestServer::start().await;
    let panel = panel(&server).await;
    for name in ["disabled", "promoted", "used", "expired"] {
        let email = format!("{name}@example.com");
        provision(&panel, json!({ "externalId": name, "email": email, "name": name })).await;
    }
    let expired = link(&panel, "expired").await;
    server.clock.advance(TimeDelta::seconds(61));
    let used = link(&panel, "used").await;
    redeem(&server, &used).await;
    let (disabled, promoted) = (link(&panel, "disabled").await, link(&panel, "promoted").await);
    let database = server.database.connect().await;
    let changes = "UPDATE accounts SET disabled_at = created_at WHERE external_id = 'disabled';
        UPDATE accounts SET role = 'agent' WHERE external_id = 'promoted'";
    database.batch_execute(changes).await.unwrap();
    let session = server.customer("Jonas").await.token.unwrap();
    let foreign = format!("tw_handoff_{}", "A".repeat(43));
    let mut answers = Vec::new();
    for token in [
        &expired,
        &used,
        &disabled,
        &promoted,
        &foreign,
        &session,
        panel.token.as_ref().unwrap(),
        &format!("{used} "),
        &"x".repeat(100_000),
        &String::new(),
    ] {
        answers.push(redeem(&server, token).await);
    }
    assert_eq!(answers[0]["userErrors"][0]["code"], "INVALID_LINK");
    assert!(answers.iter().all(|answer| *answer == answers[0]), "{answers:#?}");
    // A refused link signs nobody in and appends no event.
    let appended = "SELECT count(*) FROM events WHERE kind IN ('signed_in', 'handoff_redeemed')
        AND account_id IN (SELECT id FROM accounts WHERE external_id IN ('disabled', 'promoted'))";
    assert_eq!(database.query_one(appended, &[]).await.unwrap().get::<_, i64>(0), 0);
    server.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_handoff_link_is_created_for_active_customers_only() {
    let server = TestServer::start().await;
    let panel = panel(&server).await;
    for name in ["disabled", "promoted"] {
        let email = format!("{name}@example.com");
        provision(&panel, json!({ "externalId": name, "email": email, "name": name })).await;
    }
    let changes = "UPDATE accounts SET disabled_at = created_at WHERE external_id = 'disabled';
        UPDATE accounts SET role = 'agent' WHERE external_id = 'promoted'";
    server.database.connect().await.batch_execute(changes).await.unwrap();
    for (id, code) in [
        ("nobody", "NOT_FOUND"),
        ("promoted", "NOT_FOUND"),
        ("", "NOT_FOUND"),
        ("disabled", "INVALID"),
    ] {
        let reply = panel.send(CREATE, json!({ "id": id })).await;
        assert_eq!(reply.user_errors("createHandoff"), [code], "{id}: {}", reply.body);
    }
    server.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn provisioning_again_updates_only_the_fields_that_differ() {
    let server = TestServer::start().await;
    let panel = panel(&server).await;
    let first = provision(&panel, anna_input(json!({ "locale": "RU" }))).await;
    let before = server.content().await;
    let second = provision(&panel, anna_input(json!({ "email": " ANNA@example.com " }))).await;
    assert_eq!((&second["created"], &second["account"]), (&json!(false), &first["account"]));
    assert_eq!(server.content().await, before, "nothing was written");

    let moved = provision(
        &panel,
        anna_input(json!({ "email": "a@example.com", "name": "A", "locale": "EN" })),
    )
    .await;
    assert_eq!(moved["account"]["id"], first["account"]["id"]);
    assert_eq!(
        (&moved["account"]["email"], &moved["account"]["locale"]),
        (&json!("a@example.com"), &json!("EN"))
    );
    server.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn provisioning_cannot_claim_the_account_of_staff_or_of_another_provisioned_customer() {
    let server = TestServer::start().await;
    let panel = panel(&server).await;
    let (jonas, _) = (server.customer("Jonas").await, server.agent("Marta").await);
    server.sign_up("Ilya", Role::Admin).await;
    provision(&panel, anna_input(json!({}))).await;
    let before = server.content().await;
    let other = |email: &str| json!({ "externalId": "client-18", "email": email, "name": "Other" });
    for email in ["anna@example.com", "marta@example.com", "ilya@example.com"] {
        let reply = try_provision(&panel, other(email)).await;
        assert_eq!(reply.user_errors("provisionCustomer"), ["TAKEN"], "{email}");
        assert_eq!(reply.at("/data/provisionCustomer/userErrors/0/field"), &json!(["email"]));
        assert_eq!(reply.at("/data/provisionCustomer/account"), &Value::Null);
    }
    let reply = try_provision(&panel, anna_input(json!({ "email": "marta@example.com" }))).await;
    assert_eq!(reply.user_errors("provisionCustomer"), ["TAKEN"]);
    assert_eq!(server.content().await, before);

    // An account that the panel has not linked yet becomes the same customer.
    let linked = provision(&panel, other("jonas@example.com")).await;
    assert_eq!(
        (&linked["created"], &linked["account"]["id"]),
        (&json!(false), &json!(jonas.account_id().await))
    );
    // After a promotion to staff the panel can no longer change the account.
    let promote = "UPDATE accounts SET role = 'agent' WHERE external_id = 'client-18'";
    server.database.connect().await.batch_execute(promote).await.unwrap();
    let reply = try_provision(&panel, other("jonas@example.com")).await;
    assert_eq!(reply.user_errors("provisionCustomer"), ["TAKEN"]);
    server.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn provisioning_reports_all_invalid_fields_at_once() {
    let server = TestServer::start().await;
    let panel = panel(&server).await;
    let before = server.content().await;
    let input = json!({ "externalId": " ", "email": "nonsense", "name": "a\u{0}b", "passwordHash": "hunter2" });
    let reply = try_provision(&panel, input).await;
    assert_eq!(
        reply.user_errors("provisionCustomer"),
        ["REQUIRED", "INVALID", "INVALID", "INVALID"]
    );
    assert!(!reply.body.to_string().contains("hunter2"));
    let long = anna_input(json!({ "externalId": "x".repeat(256) }));
    assert_eq!(try_provision(&panel, long).await.user_errors("provisionCustomer"), ["TOO_LONG"]);
    for hash in [
        "$argon2id$v=19$m=4194304,t=1,p=1$c29tZXNhbHQ$nf65EOgLrQMR/uIPnA4rEsF5h7TKyQwu9U1bMCHGi/4",
        "$argon2id$v=19$m=1024,t=4294967295,p=1$c29tZXNhbHQ$nf65EOgLrQMR/uIPnA4rEsF5h7TKyQwu9U1bMCHGi/4",
        "$2y$31$N9qo8uLOickgx2ZMRZoMyecnY.m33OXwivjC6FvrTD1vlRxg57yGS",
        "",
    ] {
        let reply = try_provision(&panel, anna_input(json!({ "passwordHash": hash }))).await;
        assert_eq!(reply.user_errors("provisionCustomer"), ["INVALID"], "{hash}");
    }
    assert_eq!(server.content().await, before);
    server.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn provisioning_a_customer_concurrently_on_two_nodes_creates_one_account() {
    let server = TestServer::start().await;
    let panel = panel(&server).await;
    let other = server.second_node().await;
    let panels = [panel.clone(), panel.at(&other.address().to_string())];
    for n in 0..5 {
        let input = json!({ "externalId": format!("c{n}"), "email": format!("c{n}@example.com"), "name": "C" });
        let provisioned =
            join_all((0..8).map(|call| provision(&panels[call % 2], input.clone()))).await;
        let new = provisioned.iter().filter(|payload| payload["created"] == true).count();
        assert_eq!(new, 1, "{provisioned:#?}");
        assert!(
            provisioned
                .iter()
                .all(|payload| payload["account"]["id"] == provisioned[0]["account"]["id"])
        );
    }
    other.stop().await;
    server.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn an_imported_password_hash_signs_in_and_is_replaced_by_our_own() {
    let server = TestServer::start().await;
    let panel = panel(&server).await;
    // Made by libxcrypt and by argon2's reference implementation.
    for (hash, password) in [
        (BCRYPT, PASSWORD),
        ("$2a$06$abcdefghijklmnopqrstuu50eFBEC8vQwBnuFXMHE45jBnqvQ8xz.", PASSWORD),
        ("$argon2i$v=19$m=65536,t=2,p=4$c29tZXNhbHQ$RdescudvJCsgt3ub+b+dWRWJTmaaJObG", "password"),
        (
            "$argon2d$v=19$m=4096,t=2,p=1$c2FsdHNhbHRzYWx0c2FsdA$0on8ZPa8/X8n7BW4we5n+jRzgxHZ1AFZY6BulJn5JZo",
            PASSWORD,
        ),
        ("$argon2id$v=19$m=1024,t=2,p=4$c2FsdHNhbHRzYWx0c2FsdA$itHAXZRTmjPbEk1N8bNXsA", PASSWORD),
    ] {
        provision(&panel, anna_input(json!({ "passwordHash": hash }))).await;
        assert_eq!(stored_hash(&server).await, hash);
        assert_eq!(
            try_sign_in(&server, "wrong").await.user_errors("signIn"),
            ["INVALID_CREDENTIALS"]
        );
        assert_eq!(stored_hash(&server).await, hash);
        for _ in 0..2 {
            let reply = try_sign_in(&server, password).await;
            assert!(reply.at("/data/signIn/session/token").is_string(), "{hash}: {}", reply.body);
            assert!(stored_hash(&server).await.starts_with("$argon2id$v=19$m=8,t=1,p=1$"));
        }
    }
    server.stop().await;
}

/// Wrong passwords of imported accounts take longer than those of accounts of our own. An unknown
/// address takes the time of an account that exists.
#[tokio::test(flavor = "multi_thread")]
async fn an_unknown_address_is_given_the_hash_of_an_account_and_nobodys_password() {
    let server = TestServer::start().await;
    let panel = panel(&server).await;
    provision(&panel, anna_input(json!({ "passwordHash": BCRYPT }))).await;
    let database = Database::new(&server.database.url, 1).unwrap();
    for after in ["", "an", "anna@example.com", "zzzz", "9999"] {
        let found = account::password_after(&mut database.read().await.unwrap(), after).await;
        assert_eq!(found.unwrap().unwrap().expose(), BCRYPT, "{after}");
    }
    for n in 0..8 {
        let email = format!("nobody{n}@example.com");
        let reply = sign_in(&server, &email, PASSWORD).await;
        assert_eq!(reply.user_errors("signIn"), ["INVALID_CREDENTIALS"]);
    }
    server.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_password_that_bcrypt_truncates_signs_in_but_is_not_rehashed() {
    let server = TestServer::start().await;
    let panel = panel(&server).await;
    // A hash of 80 letters, of which bcrypt reads 72.
    let hash = "$2y$05$N9qo8uLOickgx2ZMRZoMyej2j0Zkw2E5XohszjUUJVaz5JPjerhg6";
    provision(&panel, anna_input(json!({ "passwordHash": hash }))).await;
    let reply = try_sign_in(&server, &format!("{}typo", "x".repeat(76))).await;
    assert!(reply.at("/data/signIn/session/token").is_string(), "{}", reply.body);
    assert_eq!(stored_hash(&server).await, hash);
    server.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_long_imported_password_still_signs_in_after_its_first_72_bytes_have() {
    let server = TestServer::start().await;
    let panel = panel(&server).await;
    let long = "correct horse battery staple ".repeat(4);
    let hash = bcrypt::hash(&long, 4).unwrap();
    provision(&panel, anna_input(json!({ "passwordHash": hash }))).await;
    for password in [&long, &long[..72], &long] {
        let reply = try_sign_in(&server, password).await;
        assert!(reply.at("/data/signIn/session/token").is_string(), "{}", reply.body);
    }
    assert_eq!(stored_hash(&server).await, hash);
    server.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn an_empty_password_signs_nobody_in_whatever_hash_was_imported() {
    let server = TestServer::start().await;
    let panel = panel(&server).await;
    let argon2: PasswordHash =
        Argon2::default().hash_password_with_salt(b"", b"a salt of the test").unwrap();
    for hash in [bcrypt::hash("", 4).unwrap(), argon2.to_string()] {
        provision(&panel, anna_input(json!({ "passwordHash": hash }))).await;
        let reply = try_sign_in(&server, "").await;
        assert_eq!(reply.user_errors("signIn"), ["INVALID_CREDENTIALS"], "{hash}");
        assert_eq!(stored_hash(&server).await, hash);
        // The account counts as one without a password.
        let token = link(&panel, "client-17").await;
        let session = redeem(&server, &token).await["session"]["token"].clone();
        let anna = Client::new(&server.address(), session.as_str().map(str::to_owned));
        let reauthenticate =
            "mutation($password: String!) { reauthenticate(input: { password: $password }) {
            validUntil userErrors { code } } }";
        for (password, refusal) in [("x", "INVALID_CREDENTIALS"), ("", "REQUIRED")] {
            let reply = anna.send(reauthenticate, json!({ "password": password })).await;
            assert_eq!(reply.user_errors("reauthenticate"), [refusal], "{password}");
        }
    }
    server.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn an_imported_password_may_have_been_hashed_composed_or_decomposed() {
    let server = TestServer::start().await;
    let panel = panel(&server).await;
    let (composed, decomposed) = ("Ma\u{F1}ana-Caf\u{E9}-2026", "Man\u{303}ana-Cafe\u{301}-2026");
    for hashed in [composed, decomposed] {
        for first in [composed, decomposed] {
            let hash = bcrypt::hash(hashed, 4).unwrap();
            provision(&panel, anna_input(json!({ "passwordHash": hash }))).await;
            for typed in [first, composed, decomposed] {
                let reply = try_sign_in(&server, typed).await;
                assert!(reply.at("/data/signIn/session/token").is_string(), "{}", reply.body);
            }
            assert!(stored_hash(&server).await.starts_with("$argon2id$"));
        }
    }
    server.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_new_password_from_the_panel_ends_all_sessions_and_the_same_one_does_not() {
    let server = TestServer::start().await;
    let panel = panel(&server).await;
    provision(&panel, anna_input(json!({ "passwordHash": BCRYPT }))).await;
    let session = server.anonymous().sign_in("anna@example.com", PASSWORD).await;
    let mut socket = session.socket().await;
    socket.watch_inbox("1", None).await;
    socket.caught_up().await;
    // The password has been rehashed: the next call of the panel with the old hash changes nothing.
    let rehashed = stored_hash(&server).await;
    provision(&panel, anna_input(json!({ "passwordHash": BCRYPT }))).await;
    assert_eq!(stored_hash(&server).await, rehashed);
    session.ok("{ viewer { id } }", json!({})).await;

    let other =
        "$argon2id$v=19$m=256,t=2,p=1$c29tZXNhbHQ$nf65EOgLrQMR/uIPnA4rEsF5h7TKyQwu9U1bMCHGi/4";
    provision(&panel, anna_input(json!({ "passwordHash": other }))).await;
    assert_eq!(socket.close_code().await, 4401);
    assert_eq!(session.send("{ viewer { id } }", json!({})).await.code(), "UNAUTHENTICATED");
    assert_eq!(try_sign_in(&server, PASSWORD).await.user_errors("signIn"), ["INVALID_CREDENTIALS"]);
    server.anonymous().sign_in("anna@example.com", "password").await;
    server.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn handoff_links_can_point_to_the_installations_own_page() {
    let flags = [("links.handoff", "https://my.example.com/support?from=panel#{token}".to_owned())];
    let server = TestServer::start_with(&flags).await;
    let panel = panel(&server).await;
    provision(&panel, anna_input(json!({}))).await;
    let handoff =
        panel.ok(CREATE, json!({ "id": "client-17" })).await["createHandoff"]["handoff"].clone();
    let expected =
        format!("https://my.example.com/support?from=panel#{}", handoff["token"].as_str().unwrap());
    assert_eq!(handoff["url"], expected);
    server.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn the_handoff_page_is_in_the_browsers_language_and_runs_only_its_own_script() {
    let server = TestServer::start().await;
    for (accepted, language, text) in [("en", "en", "Sign in"), ("ru-RU,ru;q=0.9", "ru", "Войти")]
    {
        let page = server
            .anonymous()
            .request(Method::GET, "/handoff", |request| request.header("accept-language", accepted))
            .await;
        assert_eq!(page.status, StatusCode::OK);
        let html = page.body.as_str().unwrap();
        assert!(
            html.contains(&format!("<html lang=\"{language}\">")) && html.contains(text),
            "{html}"
        );
        let policy = page.headers["content-security-policy"].to_str().unwrap();
        assert!(policy.starts_with("default-src 'none'; script-src 'sha256-"), "{policy}");
        assert!(!policy.contains("unsafe") && !policy.contains("http") && !policy.contains('*'));
        assert_eq!(page.headers["referrer-policy"], "no-referrer");
        assert_eq!(page.headers["cache-control"], "no-store");
        assert_eq!(html.matches("<script").count(), 1);
        assert!(!html.contains("src=") && !html.contains("href="), "{html}");
    }
    server.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_browser_signs_in_on_the_handoff_page_with_and_without_a_second_factor() {
    let demo = Demo::new();
    let process = demo.serve("127.0.0.1:0").await;
    let admin = Demo::sign_in(&process.address, "admin@demo.example").await;
    let create = "mutation { createServiceToken(input: { name: \"panel\", scopes: [PROVISION_CUSTOMERS, CREATE_HANDOFFS] }) { token } }";
    let token = admin.ok(create, json!({})).await["createServiceToken"]["token"].clone();
    let panel = Client::new(&process.address, token.as_str().map(str::to_owned));
    provision(&panel, anna_input(json!({}))).await;
    let token = link(&panel, "client-17").await;
    let page = format!("http://{}/handoff#token={token}", process.address);
    let mut script = Script::start("handoff.js", &page).await;
    assert_eq!(script.command().await, None);
    assert!(script.succeeded().await, "see above");

    // With a second factor the page asks for a code.
    let token = link(&panel, "client-17").await;
    let redeemed = panel.ok(REDEEM, json!({ "token": token })).await;
    let session = redeemed["redeemHandoff"]["session"]["token"].as_str().map(str::to_owned);
    let customer = Client::new(&process.address, session);
    let begin = "mutation { beginSecondFactor(input: { method: AUTHENTICATOR }) { authenticator { uri } } }";
    let setup = customer.ok(begin, json!({})).await;
    let uri = setup.pointer("/beginSecondFactor/authenticator/uri").unwrap().as_str().unwrap();
    let phone = Totp::from_url(uri).unwrap();
    let shown = |later: u64| {
        let now = u64::try_from(SystemClock.now().timestamp()).unwrap();
        phone.generate(now + later).to_string()
    };
    let confirm = "mutation($code: String!) { confirmSecondFactor(input: { method: AUTHENTICATOR, code: $code }) { userErrors { code } } }";
    let confirmed = customer.ok(confirm, json!({ "code": shown(0) })).await;
    assert_eq!(confirmed["confirmSecondFactor"]["userErrors"], json!([]));
    let token = link(&panel, "client-17").await;
    let page = format!("http://{}/handoff#token={token}", process.address);
    let mut script = Script::start("handoff-code.js", &page).await;
    assert_eq!(script.command().await, Some(vec!["code".to_owned()]));
    // A code works once, so this is the next one.
    script.answer(&shown(30)).await;
    assert_eq!(script.command().await, None);
    assert!(script.succeeded().await, "see above");
    assert!(process.terminate(rustix::process::Signal::TERM).await);
}

#[tokio::test(flavor = "multi_thread")]
async fn no_hash_token_password_or_address_of_a_handoff_is_logged() {
    let server = TestServer::start().await;
    let machine = panel(&server).await;
    let variables = [
        ("DATABASE_URL", server.database.url.as_str()),
        ("TICKETWIRE_LOG_FILTER", "trace"),
        ("TICKETWIRE_LOG_FORMAT", "json"),
    ];
    let process = Process::serve(&variables).await;
    // The process uses the real clock, the server that created the token the test's.
    let panel = machine.at(&process.address);
    provision(&panel, anna_input(json!({ "passwordHash": BCRYPT }))).await;
    let refused = "$2b$04$thisisnohashatall";
    try_provision(&panel, anna_input(json!({ "passwordHash": refused }))).await;
    let token = link(&panel, "client-17").await;
    let anyone = Client::new(&process.address, None);
    let session = anyone.ok(REDEEM, json!({ "token": token })).await;
    anyone.ok(REDEEM, json!({ "token": token })).await;
    let session = session["redeemHandoff"]["session"]["token"].as_str().unwrap();
    let signed_in = anyone.sign_in("anna@example.com", PASSWORD).await;
    let log = process.stop_and_read_log().await;
    assert!(log.len() > 1_000, "{log}");
    for secret in [
        BCRYPT,
        refused,
        &token,
        session,
        signed_in.token.as_ref().unwrap(),
        panel.token.as_ref().unwrap(),
        PASSWORD,
        "anna@example.com",
    ] {
        let line = log.lines().find(|line| line.contains(secret));
        assert_eq!(line, None, "{secret} was logged");
    }
    server.stop().await;
}
