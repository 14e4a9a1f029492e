//! Second factors: setting them up, signing in with them, removing them, and how they are
//! protected.

use chrono::TimeDelta;
use serde_json::{Value, json};
use totp_rs::Totp;

use super::handoff;
use crate::harness::{
    Client, TestServer,
    browser::Script,
    mail::MailFixture,
    process::{self, Process},
    server::PASSWORD,
    smtp::Smtp,
};
use ticketwire::domain::{
    account::Role,
    clock::{Clock as _, SystemClock},
};

pub const SIGN_IN: &str = "mutation($input: SignInInput!) { signIn(input: $input) {
    session { token secondFactor account { name email } }
    challenge { token methods expiresAt } userErrors { field code message } } }";
pub const VERIFY: &str =
    "mutation($input: VerifySecondFactorInput!) { verifySecondFactor(input: $input) {
    session { token secondFactor } challenge { token } userErrors { field code message } } }";
const BEGIN: &str = "mutation($input: BeginSecondFactorInput!) { beginSecondFactor(input: $input) {
    authenticator { secret uri qrCode expiresAt }
    codeSent { expiresAt nextAt nextInSeconds } userErrors { field code message } } }";
const CONFIRM: &str =
    "mutation($input: ConfirmSecondFactorInput!) { confirmSecondFactor(input: $input) {
    secondFactor { method configuredAt lastUsedAt } recoveryCodes userErrors { field code message } } }";
const SEND: &str =
    "mutation($input: SendSecondFactorCodeInput!) { sendSecondFactorCode(input: $input) {
    codeSent { nextInSeconds } userErrors { field code message } } }";
const REMOVE: &str =
    "mutation($input: RemoveSecondFactorInput!) { removeSecondFactor(input: $input) {
    viewer { secondFactors { method } recoveryCodesLeft } userErrors { field code message } } }";
const REAUTHENTICATE: &str =
    "mutation($input: ReauthenticateInput!) { reauthenticate(input: $input) {
    validUntil userErrors { field code message } } }";
const REGENERATE: &str = "mutation { regenerateRecoveryCodes {
    recoveryCodes userErrors { field code message } } }";

pub fn code_of(payload: &Value) -> &str {
    payload["userErrors"][0]["code"].as_str().unwrap_or("none")
}

pub async fn sign_in(server: &TestServer, email: &str) -> Value {
    let input = json!({ "email": email, "password": PASSWORD });
    server.anonymous().ok(SIGN_IN, json!({ "input": input })).await["signIn"].clone()
}

/// Signs in with the password; returns the token of the challenge.
pub async fn challenge(server: &TestServer, email: &str) -> String {
    let payload = sign_in(server, email).await;
    assert_eq!(payload["session"], json!(null));
    payload["challenge"]["token"].as_str().unwrap().to_owned()
}

pub async fn verify(server: &TestServer, token: &str, method: &str, code: &str) -> Value {
    let input = json!({ "challengeToken": token, "method": method, "code": code });
    server.anonymous().ok(VERIFY, json!({ "input": input })).await["verifySecondFactor"].clone()
}

async fn begin(client: &Client, method: &str) -> Value {
    let input = json!({ "method": method });
    client.ok(BEGIN, json!({ "input": input })).await["beginSecondFactor"].clone()
}

async fn confirm(client: &Client, method: &str, code: &str) -> Value {
    let input = json!({ "method": method, "code": code });
    client.ok(CONFIRM, json!({ "input": input })).await["confirmSecondFactor"].clone()
}

pub async fn reauthenticate(client: &Client, input: Value) -> Value {
    client.ok(REAUTHENTICATE, json!({ "input": input })).await["reauthenticate"].clone()
}

async fn remove(client: &Client, method: &str) -> Value {
    let input = json!({ "method": method });
    client.ok(REMOVE, json!({ "input": input })).await["removeSecondFactor"].clone()
}

/// An authenticator app whose clock agrees with the server's.
pub struct App(Totp);

impl App {
    fn scan(setup: &Value) -> Self {
        Self(Totp::from_url(setup["authenticator"]["uri"].as_str().unwrap()).unwrap())
    }

    pub fn code(&self, server: &TestServer) -> String {
        self.code_in(server, TimeDelta::zero())
    }

    fn code_in(&self, server: &TestServer, later: TimeDelta) -> String {
        let at = server.clock.now() + later;
        self.0.generate(u64::try_from(at.timestamp()).unwrap()).to_string()
    }
}

/// Sets up an authenticator; returns it and the recovery codes.
pub async fn with_authenticator(server: &TestServer, client: &Client) -> (App, Vec<String>) {
    let app = App::scan(&begin(client, "AUTHENTICATOR").await);
    let confirmed = confirm(client, "AUTHENTICATOR", &app.code(server)).await;
    assert_eq!(confirmed["userErrors"], json!([]));
    let codes = confirmed["recoveryCodes"].as_array().unwrap().iter();
    let codes = codes.map(|code| code.as_str().unwrap().to_owned()).collect();
    // The time step of that code is used up.
    server.clock.advance(TimeDelta::seconds(31));
    (app, codes)
}

/// The code in the nth mail with a code.
async fn mailed_code(smtp: &Smtp, nth: usize) -> String {
    let text = smtp.nth(nth, "Your one-time code is").await.text;
    let mut digits = text.split(|c: char| !c.is_ascii_digit());
    digits.rfind(|word| word.len() == 6).unwrap().to_owned()
}

#[tokio::test(flavor = "multi_thread")]
async fn an_authenticator_is_offered_set_up_and_required_at_sign_in() {
    let server = TestServer::start().await;
    let anna = server.customer("Anna").await;
    let first = sign_in(&server, "anna@example.com").await;
    assert_eq!(first["session"]["secondFactor"], "OFFERED");

    let setup = begin(&anna, "AUTHENTICATOR").await;
    let (uri, secret) = (&setup["authenticator"]["uri"], &setup["authenticator"]["secret"]);
    assert_eq!(
        *uri,
        format!(
            "otpauth://totp/Ticketwire:anna%40example.com?secret={}&issuer=Ticketwire",
            secret.as_str().unwrap()
        )
    );
    assert_eq!(secret.as_str().unwrap().len(), 32);
    let image = setup["authenticator"]["qrCode"].as_str().unwrap();
    assert!(image.starts_with("data:image/svg+xml;base64,"), "{image:.60}");

    // Nothing is configured before the first right code.
    assert!(sign_in(&server, "anna@example.com").await["challenge"].is_null());
    let app = App::scan(&setup);
    assert_eq!(code_of(&confirm(&anna, "AUTHENTICATOR", "000000").await), "INVALID_CODE");
    let code = app.code(&server);
    let spaced = format!(" {} {} ", &code[..3], &code[3..]);
    let confirmed = confirm(&anna, "AUTHENTICATOR", &spaced).await;
    assert_eq!(confirmed["secondFactor"]["method"], "AUTHENTICATOR");
    assert_eq!(confirmed["recoveryCodes"].as_array().unwrap().len(), 10);

    // The code that set it up is used up; the next one signs in, once.
    let token = challenge(&server, "anna@example.com").await;
    assert_eq!(code_of(&verify(&server, &token, "AUTHENTICATOR", &code).await), "INVALID_CODE");
    server.clock.advance(TimeDelta::seconds(30));
    let next = app.code(&server);
    let verified = verify(&server, &token, "AUTHENTICATOR", &next).await;
    assert_eq!(verified["session"]["secondFactor"], "CONFIGURED");
    let session = verified["session"]["token"].as_str().unwrap().to_owned();
    let again = challenge(&server, "anna@example.com").await;
    assert_eq!(code_of(&verify(&server, &again, "AUTHENTICATOR", &next).await), "INVALID_CODE");
    assert_eq!(code_of(&verify(&server, &token, "AUTHENTICATOR", &next).await), "EXPIRED");

    let signed_in = Client::new(&server.address(), Some(session));
    let viewer = signed_in
        .ok("{ viewer { secondFactors { method lastUsedAt } recoveryCodesLeft } }", json!({}))
        .await;
    assert_eq!(viewer["viewer"]["secondFactors"][0]["method"], "AUTHENTICATOR");
    assert!(viewer["viewer"]["secondFactors"][0]["lastUsedAt"].is_string());
    assert_eq!(viewer["viewer"]["recoveryCodesLeft"], 10);
    server.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn an_authenticator_code_may_be_off_by_one_time_step() {
    let server = TestServer::start().await;
    let anna = server.customer("Anna").await;
    let (app, _) = with_authenticator(&server, &anna).await;
    for (seconds, accepted) in [(-60, false), (60, false), (-30, true), (30, true)] {
        server.clock.advance(TimeDelta::minutes(5));
        let token = challenge(&server, "anna@example.com").await;
        let code = app.code_in(&server, TimeDelta::seconds(seconds));
        let verified = verify(&server, &token, "AUTHENTICATOR", &code).await;
        assert_eq!(verified["session"].is_object(), accepted, "{seconds}: {verified}");
    }
    // After a code of a later step an earlier one is refused.
    let token = challenge(&server, "anna@example.com").await;
    let code = app.code(&server);
    assert_eq!(code_of(&verify(&server, &token, "AUTHENTICATOR", &code).await), "INVALID_CODE");
    server.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn only_one_of_concurrent_uses_of_a_code_succeeds() {
    let server = TestServer::start().await;
    let anna = server.customer("Anna").await;
    let node = server.second_node().await;
    let app = App::scan(&begin(&anna, "AUTHENTICATOR").await);
    let code = app.code(&server);
    let clients = [&anna, &anna.at(&node.address().to_string())];
    let confirmed = futures_util::future::join_all(
        (0..4).map(|n| confirm(clients[n % 2], "AUTHENTICATOR", &code)),
    );
    let won = confirmed.await.iter().filter(|it| it["secondFactor"].is_object()).count();
    assert_eq!(won, 1);

    server.clock.advance(TimeDelta::minutes(1));
    let mut tokens = vec![];
    for _ in 0..4 {
        tokens.push(challenge(&server, "anna@example.com").await);
    }
    let code = app.code(&server);
    let verified = futures_util::future::join_all(
        tokens.iter().map(|token| verify(&server, token, "AUTHENTICATOR", &code)),
    );
    let won = verified.await.iter().filter(|it| it["session"].is_object()).count();
    assert_eq!(won, 1);
    node.stop().await;
    server.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_challenge_expires_after_five_wrong_codes_or_ten_minutes() {
    let server = TestServer::start().await;
    let anna = server.customer("Anna").await;
    let (app, _) = with_authenticator(&server, &anna).await;
    let token = challenge(&server, "anna@example.com").await;
    // A malformed code does not count as an attempt.
    for code in ["", "12345", "1234567", "abcdef", "１２３４５６"] {
        assert_eq!(code_of(&verify(&server, &token, "AUTHENTICATOR", code).await), "INVALID");
    }
    for _ in 0..5 {
        assert_eq!(
            code_of(&verify(&server, &token, "AUTHENTICATOR", "000000").await),
            "INVALID_CODE"
        );
    }
    let code = app.code(&server);
    assert_eq!(code_of(&verify(&server, &token, "AUTHENTICATOR", &code).await), "EXPIRED");
    let late = challenge(&server, "anna@example.com").await;
    server.clock.advance(TimeDelta::minutes(10));
    let code = app.code(&server);
    assert_eq!(code_of(&verify(&server, &late, "AUTHENTICATOR", &code).await), "EXPIRED");
    // Every invalid challenge token gets the same answer.
    for token in ["", "tw_", "x", &late, &anna.token.clone().unwrap()] {
        assert_eq!(
            verify(&server, token, "AUTHENTICATOR", "123456").await,
            verify(&server, &late, "AUTHENTICATOR", "123456").await
        );
    }
    server.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_password_change_ends_pending_challenges() {
    let server = TestServer::start().await;
    let anna = server.customer("Anna").await;
    let (app, _) = with_authenticator(&server, &anna).await;
    let token = challenge(&server, "anna@example.com").await;
    let change =
        "mutation($input: ChangePasswordInput!) { changePassword(input: $input) { changed } }";
    let new = "walrus umbrella seventeen";
    let input = json!({ "currentPassword": PASSWORD, "password": new, "passwordAgain": new });
    let changed = anna.ok(change, json!({ "input": input })).await;
    assert_eq!(changed["changePassword"]["changed"], true);
    let code = app.code(&server);
    assert_eq!(code_of(&verify(&server, &token, "AUTHENTICATOR", &code).await), "EXPIRED");
    server.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn adding_another_second_factor_later_requires_reauthentication() {
    let fixture = MailFixture::start().await;
    begin(&fixture.anna, "EMAIL").await;
    let code = mailed_code(&fixture.smtp, 1).await;
    confirm(&fixture.anna, "EMAIL", &code).await;
    // Soon after the sign-in another factor can be added without a proof.
    assert!(begin(&fixture.anna, "AUTHENTICATOR").await["authenticator"].is_object());
    fixture.server.clock.advance(TimeDelta::minutes(10));
    let late = begin(&fixture.anna, "AUTHENTICATOR").await;
    assert_eq!(code_of(&late), "REAUTHENTICATION_REQUIRED");
    fixture.server.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn an_email_code_is_valid_for_two_minutes_and_only_the_latest_one_counts() {
    let fixture = MailFixture::start().await;
    let (server, anna) = (&fixture.server, &fixture.anna);
    let begun = begin(anna, "EMAIL").await;
    assert_eq!(begun["codeSent"]["nextInSeconds"], 30);
    let first = mailed_code(&fixture.smtp, 1).await;
    // It is too soon for another code.
    let again = anna.send(BEGIN, json!({ "input": { "method": "EMAIL" } })).await;
    assert_eq!(*again.at("/errors/0/extensions/code"), "RATE_LIMITED");
    assert_eq!(*again.at("/errors/0/extensions/retryAfterSeconds"), 30);
    assert_eq!(confirm(anna, "EMAIL", &first).await["secondFactor"]["method"], "EMAIL");

    let mut sent = 1;
    for (seconds, accepted) in [(119, true), (121, false)] {
        let token = challenge(server, "anna@example.com").await;
        let input = json!({ "input": { "challengeToken": token } });
        server.anonymous().ok(SEND, input).await;
        sent += 1;
        let code = mailed_code(&fixture.smtp, sent).await;
        server.clock.advance(TimeDelta::seconds(seconds));
        let verified = verify(server, &token, "EMAIL", &code).await;
        assert_eq!(verified["session"].is_object(), accepted, "{seconds}");
    }

    // A new code invalidates the previous one, and a code is valid for its own challenge only.
    let token = challenge(server, "anna@example.com").await;
    let other = challenge(server, "anna@example.com").await;
    let input = json!({ "input": { "challengeToken": token } });
    server.anonymous().ok(SEND, input.clone()).await;
    let old = mailed_code(&fixture.smtp, sent + 1).await;
    server.clock.advance(TimeDelta::seconds(31));
    server.anonymous().ok(SEND, input).await;
    let new = mailed_code(&fixture.smtp, sent + 2).await;
    if old != new {
        assert_eq!(code_of(&verify(server, &token, "EMAIL", &old).await), "INVALID_CODE");
    }
    assert_eq!(code_of(&verify(server, &other, "EMAIL", &new).await), "INVALID_CODE");
    let twice =
        futures_util::future::join_all((0..2).map(|_| verify(server, &token, "EMAIL", &new)));
    assert_eq!(twice.await.iter().filter(|it| it["session"].is_object()).count(), 1);
    fixture.server.stop().await;
}

/// Ten codes an hour are allowed: those that the pause refuses are not sent.
#[tokio::test(flavor = "multi_thread")]
async fn a_code_that_is_requested_too_soon_does_not_count() {
    let fixture = MailFixture::start().await;
    let begin = async || {
        let reply = fixture.anna.send(BEGIN, json!({ "input": { "method": "EMAIL" } })).await;
        reply.at("/errors/0/extensions/retryAfterSeconds").clone()
    };
    assert_eq!(begin().await, Value::Null);
    for _ in 0..12 {
        assert_eq!(begin().await, 30);
    }
    for _ in 0..9 {
        fixture.server.clock.advance(TimeDelta::seconds(30));
        assert_eq!(begin().await, Value::Null);
    }
    fixture.server.clock.advance(TimeDelta::seconds(30));
    assert!(begin().await.as_i64().unwrap() > 30);
    fixture.server.stop().await;
}

/// Mail of others would wait behind the notices.
#[tokio::test(flavor = "multi_thread")]
async fn what_one_account_does_to_itself_is_mailed_ten_times_an_hour() {
    let fixture = MailFixture::start().await;
    let (server, anna) = (&fixture.server, &fixture.anna);
    let (app, _) = with_authenticator(server, anna).await;
    server.clock.advance(TimeDelta::seconds(31));
    let input =
        json!({ "password": PASSWORD, "method": "AUTHENTICATOR", "code": app.code(server) });
    assert!(reauthenticate(anna, input).await["validUntil"].is_string());
    let before = server.clock.now();
    let database = server.database.connect().await;
    let planned = async || {
        let count =
            format!("SELECT count(*) FROM deliveries WHERE created_at > '{}'", before.to_rfc3339());
        database.query_one(&count, &[]).await.unwrap().get::<_, i64>(0)
    };
    server.clock.advance(TimeDelta::seconds(1));
    let mut refused = 0;
    for _ in 0..12 {
        refused += i32::from(!anna.send(REGENERATE, json!({})).await.at("/errors").is_null());
    }
    assert_eq!((refused, planned().await), (2, 10));
    for n in 0..12 {
        let document = json!({ "query": SIGN_IN, "variables": { "input": {
            "email": "boris@example.com", "password": PASSWORD } } });
        let request = reqwest::Client::new().post(format!("http://{}/graphql", server.address()));
        let sent = request.header("user-agent", format!("Device {n}")).json(&document).send().await;
        let body = sent.unwrap().json::<Value>().await.unwrap();
        assert!(body["data"]["signIn"]["session"].is_object(), "{body}");
    }
    assert_eq!(planned().await, 20);
    fixture.server.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn the_sign_ins_of_an_account_are_limited() {
    let server = TestServer::start().await;
    server.customer("Anna").await;
    let input = json!({ "input": { "email": "anna@example.com", "password": PASSWORD } });
    // One was its sign-up's.
    for _ in 1..100 {
        let reply = server.anonymous().send(SIGN_IN, input.clone()).await;
        assert!(reply.at("/data/signIn/session").is_object(), "{}", reply.body);
    }
    assert_eq!(server.anonymous().send(SIGN_IN, input).await.code(), "RATE_LIMITED");
    server.clock.advance(TimeDelta::seconds(36));
    assert!(sign_in(&server, "anna@example.com").await["session"].is_object());
    server.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_code_beside_a_wrong_password_does_not_count_as_a_wrong_code() {
    let server = TestServer::start().await;
    let anna = server.customer("Anna").await;
    let (app, _) = with_authenticator(&server, &anna).await;
    for _ in 0..2 {
        for _ in 0..10 {
            let input = json!({ "password": "wrong password", "method": "AUTHENTICATOR", "code": "123456" });
            assert_eq!(code_of(&reauthenticate(&anna, input).await), "INVALID_CREDENTIALS");
        }
        server.clock.advance(TimeDelta::minutes(15));
    }
    let token = challenge(&server, "anna@example.com").await;
    let verified = verify(&server, &token, "AUTHENTICATOR", &app.code(&server)).await;
    assert!(verified["session"].is_object(), "{verified}");
    server.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn email_codes_are_not_available_without_mail() {
    let server = TestServer::start().await;
    let anna = server.customer("Anna").await;
    assert_eq!(code_of(&begin(&anna, "EMAIL").await), "NOT_AVAILABLE");
    server.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn each_recovery_code_replaces_a_second_factor_once() {
    let fixture = MailFixture::start().await;
    let (server, anna) = (&fixture.server, &fixture.anna);
    let (_, codes) = with_authenticator(server, anna).await;
    let methods = sign_in(server, "anna@example.com").await["challenge"]["methods"].clone();
    assert_eq!(methods, json!(["AUTHENTICATOR", "RECOVERY_CODE"]));
    let token = challenge(server, "anna@example.com").await;
    let wrong = verify(server, &token, "RECOVERY_CODE", "2222-2222-2222").await;
    assert_eq!(code_of(&wrong), "INVALID_CODE");
    let typed = codes[0].to_uppercase().replace('-', " ");
    let verified = verify(server, &token, "RECOVERY_CODE", &typed).await;
    let session = verified["session"]["token"].as_str().unwrap().to_owned();
    let signed_in = Client::new(&server.address(), Some(session));
    let left = signed_in.ok("{ viewer { recoveryCodesLeft } }", json!({})).await;
    assert_eq!(left["viewer"]["recoveryCodesLeft"], 9);
    let token = challenge(server, "anna@example.com").await;
    assert_eq!(code_of(&verify(server, &token, "RECOVERY_CODE", &codes[0]).await), "INVALID_CODE");
    // The owner is mailed about the new factor and about the used code.
    fixture.smtp.nth(1, "A second factor was added").await;
    fixture.smtp.nth(1, "or to confirm a change. Recovery codes left: 9").await;

    // New codes invalidate the old ones and require reauthentication.
    let refused = signed_in.ok(REGENERATE, json!({})).await;
    assert_eq!(code_of(&refused["regenerateRecoveryCodes"]), "REAUTHENTICATION_REQUIRED");
    let input = json!({ "password": PASSWORD, "method": "RECOVERY_CODE", "code": codes[1] });
    assert!(reauthenticate(&signed_in, input).await["validUntil"].is_string());
    fixture.smtp.nth(1, "or to confirm a change. Recovery codes left: 8").await;
    let events = "{ viewer { securityEvents(first: 50) { nodes { kind } } } }";
    let events = signed_in.ok(events, json!({})).await.to_string();
    assert_eq!(events.matches("RECOVERY_CODE_USED").count(), 2, "{events}");
    let regenerated = signed_in.ok(REGENERATE, json!({})).await;
    let new =
        regenerated["regenerateRecoveryCodes"]["recoveryCodes"][0].as_str().unwrap().to_owned();
    assert_eq!(code_of(&verify(server, &token, "RECOVERY_CODE", &codes[2]).await), "INVALID_CODE");
    assert!(verify(server, &token, "RECOVERY_CODE", &new).await["session"].is_object());
    fixture.server.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn removing_a_second_factor_requires_password_and_code() {
    let server = TestServer::start().await;
    let anna = server.customer("Anna").await;
    let (app, _) = with_authenticator(&server, &anna).await;
    let elsewhere = challenge(&server, "anna@example.com").await;
    let elsewhere = verify(&server, &elsewhere, "AUTHENTICATOR", &app.code(&server)).await;
    let token = elsewhere["session"]["token"].as_str().unwrap().to_owned();
    let elsewhere = Client::new(&server.address(), Some(token));
    assert_eq!(code_of(&remove(&anna, "AUTHENTICATOR").await), "REAUTHENTICATION_REQUIRED");
    assert_eq!(code_of(&begin(&anna, "AUTHENTICATOR").await), "REAUTHENTICATION_REQUIRED");

    server.clock.advance(TimeDelta::seconds(31));
    let code = app.code(&server);
    for (input, error) in [
        (json!({ "password": PASSWORD }), "REQUIRED"),
        (json!({ "password": "wrong", "code": code }), "INVALID_CREDENTIALS"),
        (json!({ "password": PASSWORD, "code": "000000" }), "INVALID_CODE"),
    ] {
        assert_eq!(code_of(&reauthenticate(&anna, input).await), error);
    }
    let input = json!({ "password": PASSWORD, "code": code });
    assert!(reauthenticate(&anna, input).await["validUntil"].is_string());
    server.clock.advance(TimeDelta::minutes(10));
    assert_eq!(code_of(&remove(&anna, "AUTHENTICATOR").await), "REAUTHENTICATION_REQUIRED");
    let input = json!({ "password": PASSWORD, "code": app.code(&server) });
    reauthenticate(&anna, input).await;
    assert_eq!(code_of(&remove(&anna, "EMAIL").await), "NOT_FOUND");
    let removed = remove(&anna, "AUTHENTICATOR").await;
    assert_eq!(removed["viewer"], json!({ "secondFactors": [], "recoveryCodesLeft": 0 }));
    assert!(sign_in(&server, "anna@example.com").await["session"].is_object());
    // The other session has ended.
    let reply = elsewhere.send("{ viewer { name } }", json!({})).await;
    assert_eq!(*reply.at("/errors/0/extensions/code"), "UNAUTHENTICATED");
    server.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn staff_without_a_required_second_factor_can_only_set_one_up() {
    let flags = [("second_factor.staff", "required".to_owned())];
    let server = TestServer::start_with(&flags).await;
    let anna = server.customer("Anna").await;
    assert_eq!(sign_in(&server, "anna@example.com").await["session"]["secondFactor"], "OFFERED");
    let ticket = anna.create_ticket("Help").await;
    server.agent("Marta").await;
    let signed_in = sign_in(&server, "marta@example.com").await;
    assert_eq!(signed_in["session"]["secondFactor"], "REQUIRED");
    assert_eq!(signed_in["session"]["account"]["email"], "marta@example.com");
    let token = signed_in["session"]["token"].as_str().unwrap().to_owned();
    let marta = Client::new(&server.address(), Some(token));
    for document in [
        "{ tickets { nodes { number } } }",
        "{ categories { slug } }",
        "{ ticket(number: \"CS-100001\") { summary } }",
        "{ viewer { notifications { nodes { kind } } } }",
        "mutation { createServiceToken(input: {}) { userErrors { code } } }",
    ] {
        let reply = marta.send(document, json!({})).await;
        let code = reply.at("/errors/0/extensions/code").clone();
        // The mutation is refused by validation before the session is checked.
        let refused = code == "SECOND_FACTOR_REQUIRED" || document.starts_with("mutation");
        assert!(refused && reply.at("/data/tickets").is_null(), "{document}: {}", reply.body);
    }
    let node = json!({ "id": ticket.id });
    let reply = marta.send("query($id: ID!) { node(id: $id) { id } }", node).await;
    assert_eq!(*reply.at("/errors/0/extensions/code"), "SECOND_FACTOR_REQUIRED");
    let mut socket = marta.socket().await;
    socket.watch_inbox("1", None).await;
    let message = socket.message().await;
    assert_eq!(message["payload"][0]["extensions"]["code"], "SECOND_FACTOR_REQUIRED", "{message}");

    let (app, _) = with_authenticator(&server, &marta).await;
    assert_eq!(
        marta.ok("{ tickets { nodes { number } } }", json!({})).await["tickets"]["nodes"][0]["number"],
        "CS-100001"
    );
    let input = json!({ "password": PASSWORD, "code": app.code(&server) });
    reauthenticate(&marta, input).await;
    assert_eq!(code_of(&remove(&marta, "AUTHENTICATOR").await), "SECOND_FACTOR_REQUIRED");
    server.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_mailed_code_proves_who_has_neither_a_password_nor_a_second_factor() {
    let fixture = MailFixture::start().await;
    let server = &fixture.server;
    let panel = handoff::panel(server).await;
    let vera = json!({ "externalId": "client-18", "email": "vera@example.com", "name": "Vera" });
    handoff::provision(&panel, vera).await;
    let signed_in = handoff::redeem(server, &handoff::link(&panel, "client-18").await).await;
    let token = signed_in["session"]["token"].as_str().map(str::to_owned);
    let vera = Client::new(&server.address(), token);
    let has_password = "{ viewer { hasPassword } }";
    assert_eq!(vera.ok(has_password, json!({})).await["viewer"]["hasPassword"], false);
    assert_eq!(fixture.anna.ok(has_password, json!({})).await["viewer"]["hasPassword"], true);

    server.clock.advance(TimeDelta::minutes(11));
    assert_eq!(code_of(&begin(&vera, "AUTHENTICATOR").await), "REAUTHENTICATION_REQUIRED");
    assert_eq!(code_of(&reauthenticate(&vera, json!({ "password": "" })).await), "REQUIRED");
    let send = async |client: &Client| {
        client.ok(SEND, json!({ "input": {} })).await["sendSecondFactorCode"].clone()
    };
    // Who has a password confirms with that.
    assert_eq!(code_of(&send(&fixture.anna).await), "NOT_AVAILABLE");
    assert_eq!(code_of(&send(&vera).await), "none");
    let code = mailed_code(&fixture.smtp, 1).await;
    // It is no proof for anybody else.
    let input = json!({ "password": PASSWORD, "method": "EMAIL", "code": code });
    assert_eq!(code_of(&reauthenticate(&fixture.anna, input.clone()).await), "INVALID_CODE");
    assert!(reauthenticate(&vera, input.clone()).await["validUntil"].is_string());
    assert_eq!(code_of(&reauthenticate(&vera, input).await), "INVALID_CODE");

    with_authenticator(server, &vera).await;
    assert_eq!(code_of(&send(&vera).await), "NOT_AVAILABLE");
    fixture.server.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn an_admin_can_reset_a_customers_second_factors() {
    let fixture = MailFixture::start().await;
    let (server, anna) = (&fixture.server, &fixture.anna);
    with_authenticator(server, anna).await;
    let id = anna.ok("{ viewer { id } }", json!({})).await["viewer"]["id"].clone();
    let reset = "mutation($input: ResetSecondFactorsInput!) { resetSecondFactors(input: $input) {
        account { name } userErrors { code } } }";
    let input = json!({ "input": { "accountId": id } });
    let refused = fixture.boris.send(reset, input.clone()).await;
    assert_eq!(*refused.at("/errors/0/extensions/code"), "FORBIDDEN");
    let admin = server.sign_up("Ada", Role::Admin).await;
    admin.ok(reset, input.clone()).await;
    assert!(sign_in(server, "anna@example.com").await["session"].is_object());
    let reply = anna.send("{ viewer { name } }", json!({})).await;
    assert_eq!(*reply.at("/errors/0/extensions/code"), "UNAUTHENTICATED");
    fixture.smtp.nth(1, "removed all second factors").await;
    // Without a second factor, nothing changes.
    let anna = server.anonymous().sign_in("anna@example.com", PASSWORD).await;
    let events = "{ viewer { securityEvents { nodes { id } } } }";
    let before = anna.ok(events, json!({})).await;
    let none = admin.send(reset, input.clone()).await;
    assert_eq!(none.user_errors("resetSecondFactors"), ["NOT_AVAILABLE"], "{}", none.body);
    assert_eq!(anna.ok(events, json!({})).await, before);
    crate::erasure::reauthenticate(&admin).await;
    crate::erasure::erase(&admin, input["input"]["accountId"].as_str().unwrap(), "KEEP").await;
    let erased = admin.send(reset, input).await;
    assert_eq!(erased.user_errors("resetSecondFactors"), ["ERASED"], "{}", erased.body);
    fixture.server.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn the_command_line_can_reset_second_factors() {
    let server = TestServer::start().await;
    let anna = server.customer("Anna").await;
    with_authenticator(&server, &anna).await;
    let variables = [("DATABASE_URL", server.database.url.as_str())];
    let run = async |email: &str| {
        process::run(&["user", "reset-second-factor", email], &variables, "").await
    };
    let unknown = run("nobody@example.com").await;
    assert!(!unknown.success && unknown.stderr.contains("No account has"), "{}", unknown.stderr);
    let reset = run("anna@example.com").await;
    assert!(reset.success, "{}", reset.stderr);
    assert!(sign_in(&server, "anna@example.com").await["session"].is_object());
    let none = run("anna@example.com").await;
    assert!(!none.success && none.stderr.contains("no second factor"), "{}", none.stderr);
    server.stop().await;
}

/// A third-party authenticator and QR decoder, in a real browser.
#[tokio::test(flavor = "multi_thread")]
async fn the_qr_code_sets_up_a_third_party_authenticator() {
    let server = TestServer::start().await;
    let anna = server.customer("Anna").await;
    let setup = begin(&anna, "AUTHENTICATOR").await["authenticator"].clone();
    let mut script = Script::start("authenticator.js", setup["qrCode"].as_str().unwrap()).await;
    let decoded = script.command().await.expect("the content of the QR code");
    assert_eq!(decoded, ["decoded", setup["uri"].as_str().unwrap()]);
    script.answer(&server.clock.now().timestamp_millis().to_string()).await;
    let code = script.command().await.expect("a code");
    let confirmed = confirm(&anna, "AUTHENTICATOR", &code[1]).await;
    assert_eq!(confirmed["userErrors"], json!([]));
    server.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn codes_of_oathtool_are_accepted() {
    let server = TestServer::start().await;
    let anna = server.customer("Anna").await;
    let setup = begin(&anna, "AUTHENTICATOR").await;
    let secret = setup["authenticator"]["secret"].as_str().unwrap();
    let now = format!("@{}", server.clock.now().timestamp());
    let mut oathtool = tokio::process::Command::new("oathtool");
    let output = oathtool.args(["--totp", "--base32", secret, "--now", &now]).output().await;
    let output = output.expect("oathtool (install it with: apt-get install oathtool)");
    let confirmed =
        confirm(&anna, "AUTHENTICATOR", &String::from_utf8(output.stdout).unwrap()).await;
    assert_eq!(confirmed["userErrors"], json!([]));
    server.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn keys_and_codes_are_stored_sealed_or_hashed() {
    let fixture = MailFixture::start().await;
    let (server, anna) = (&fixture.server, &fixture.anna);
    let setup = begin(anna, "AUTHENTICATOR").await;
    let app = App::scan(&setup);
    let confirmed = confirm(anna, "AUTHENTICATOR", &app.code(server)).await;
    begin(anna, "EMAIL").await;
    let code = mailed_code(&fixture.smtp, 1).await;
    let database = server.database.connect().await;
    let mut content = String::new();
    for table in [
        "second_factors",
        "recovery_codes",
        "mailed_codes",
        "sign_in_challenges",
        "deliveries",
        "events",
    ] {
        let query = format!("SELECT coalesce(string_agg(t::text, ' '), '') FROM {table} t");
        content += &database.query_one(&query, &[]).await.unwrap().get::<_, String>(0);
    }
    let hex = |bytes: &[u8]| bytes.iter().map(|byte| format!("{byte:02x}")).collect::<String>();
    let recovery = confirmed["recoveryCodes"][0].as_str().unwrap().replace('-', "");
    for secret in [
        setup["authenticator"]["secret"].as_str().unwrap().to_owned(),
        hex(app.0.secret().as_ref()),
        hex(recovery.as_bytes()),
        recovery,
        hex(code.as_bytes()),
    ] {
        assert!(!content.contains(&secret));
    }
    fixture.server.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn no_code_key_link_or_address_of_a_second_factor_is_logged() {
    let (server, smtp) = (TestServer::start().await, Smtp::start().await);
    server.customer("Anna").await;
    let smtp_url = smtp.url();
    let process = Process::serve(&[
        ("DATABASE_URL", server.database.url.as_str()),
        ("TICKETWIRE_MAIL_SMTP_URL", &smtp_url),
        ("TICKETWIRE_MAIL_FROM", "desk@example.com"),
        ("TICKETWIRE_MAIL_SIGNING_KEY", "0123456789abcdef0123456789abcdef"),
        ("TICKETWIRE_LINKS_BASE_URL", "https://desk.example.com"),
        ("TICKETWIRE_LOG_FILTER", "trace"),
        ("TICKETWIRE_LOG_FORMAT", "json"),
    ])
    .await;
    let anyone = Client::new(&process.address, None);
    let anna = anyone.sign_in("anna@example.com", PASSWORD).await;
    begin(&anna, "EMAIL").await;
    let mailed = mailed_code(&smtp, 1).await;
    confirm(&anna, "EMAIL", &mailed).await;
    let setup = begin(&anna, "AUTHENTICATOR").await;
    let now = u64::try_from(SystemClock.now().timestamp()).unwrap();
    let shown = App::scan(&setup).0.generate(now).to_string();
    confirm(&anna, "AUTHENTICATOR", &shown).await;
    let input = json!({ "input": { "email": "anna@example.com", "password": PASSWORD } });
    let challenge = anyone.ok(SIGN_IN, input).await["signIn"]["challenge"]["token"].clone();
    let reset =
        "mutation { requestPasswordReset(input: { email: \"anna@example.com\" }) { accepted } }";
    anyone.ok(reset, json!({})).await;
    let mail = smtp.nth(1, "a request to reset your password").await.text;
    let link = mail.split("#token=").nth(1).unwrap().split_whitespace().next().unwrap();
    let log = process.stop_and_read_log().await;
    assert!(log.len() > 1_000, "{log}");
    for secret in [
        format!("\"{mailed}"),
        format!("\"{shown}"),
        setup["authenticator"]["secret"].as_str().unwrap().to_owned(),
        challenge.as_str().unwrap().to_owned(),
        link.to_owned(),
        "anna@example.com".to_owned(),
    ] {
        let line = log.lines().find(|line| line.contains(&secret));
        assert_eq!(line, None, "{secret} was logged");
    }
    server.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn an_old_session_adds_no_first_second_factor_without_a_proof_and_a_new_one_does() {
    let server = TestServer::start().await;
    let (anna, jonas) = (server.customer("Anna").await, server.customer("Jonas").await);
    server.clock.advance(TimeDelta::minutes(9));
    assert_eq!(code_of(&begin(&jonas, "AUTHENTICATOR").await), "none");
    server.clock.advance(TimeDelta::minutes(2));
    assert_eq!(code_of(&begin(&anna, "AUTHENTICATOR").await), "REAUTHENTICATION_REQUIRED");
    reauthenticate(&anna, json!({ "password": PASSWORD })).await;
    with_authenticator(&server, &anna).await;
    server.stop().await;
}
