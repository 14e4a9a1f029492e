//! Passwords: reset by mail, change, and the limits on guessing.

use chrono::TimeDelta;
use serde_json::{Value, json};

use crate::harness::{
    Client, TestServer, browser::Script, mail::MailFixture, server::PASSWORD, smtp::Smtp,
};

const REQUEST: &str =
    "mutation($input: RequestPasswordResetInput!) { requestPasswordReset(input: $input) {
    accepted userErrors { field code message } } }";
const RESET: &str = "mutation($input: ResetPasswordInput!) { resetPassword(input: $input) {
    changed userErrors { field code message } } }";
const CHANGE: &str = "mutation($input: ChangePasswordInput!) { changePassword(input: $input) {
    changed userErrors { field code message } } }";
const SIGN_IN: &str = "mutation($input: SignInInput!) { signIn(input: $input) {
    session { token } challenge { token } userErrors { field code message } } }";
const NEW: &str = "walrus umbrella seventeen";

async fn request(client: &Client, email: &str) -> Value {
    client.ok(REQUEST, json!({ "input": { "email": email } })).await["requestPasswordReset"].clone()
}

async fn reset(client: &Client, token: &str, password: &str, again: &str) -> Value {
    let input = json!({ "token": token, "password": password, "passwordAgain": again });
    client.ok(RESET, json!({ "input": input })).await["resetPassword"].clone()
}

async fn sign_in(client: &Client, email: &str, password: &str) -> Value {
    let input = json!({ "email": email, "password": password });
    client.send(SIGN_IN, json!({ "input": input })).await.body
}

fn code_of(payload: &Value) -> &str {
    payload["userErrors"][0]["code"].as_str().unwrap_or("none")
}

/// The token in the link of the nth mail.
async fn mailed_token(smtp: &Smtp, nth: usize) -> String {
    let text = smtp.nth(nth, "a request to reset your password").await.text;
    let rest = text.split("https://desk.example.com/reset-password#token=").nth(1);
    rest.unwrap_or_else(|| panic!("a link in {text}")).split_whitespace().next().unwrap().to_owned()
}

#[tokio::test(flavor = "multi_thread")]
async fn a_reset_link_sets_a_new_password_once_and_ends_all_sessions() {
    let fixture = MailFixture::start().await;
    let anonymous = fixture.server.anonymous();
    let mut socket = fixture.anna.socket().await;
    socket.watch_inbox("1", None).await;
    socket.caught_up().await;
    let mut idle = fixture.anna.socket().await;
    let accepted = request(&anonymous, " Anna@Example.com ").await;
    assert_eq!(accepted, json!({ "accepted": true, "userErrors": [] }));
    let token = mailed_token(&fixture.smtp, 1).await;

    // A refused password does not use up the link.
    for (password, again, error) in [
        ("", "", "REQUIRED"),
        ("short", "short", "WEAK_PASSWORD"),
        ("password123", "password123", "WEAK_PASSWORD"),
        ("anna@example.com", "anna@example.com", "WEAK_PASSWORD"),
        (NEW, "walrus umbrella eighteen", "MISMATCH"),
        (&"x".repeat(1_025), &"x".repeat(1_025), "TOO_LONG"),
    ] {
        let refused = reset(&anonymous, &token, password, again).await;
        assert_eq!(code_of(&refused), error, "{password:.20}: {refused}");
    }
    let racing =
        futures_util::future::join_all((0..4).map(|_| reset(&anonymous, &token, NEW, NEW)));
    let won = racing.await.iter().filter(|it| it["changed"] == true).count();
    assert_eq!(won, 1);
    assert_eq!(code_of(&reset(&anonymous, &token, NEW, NEW).await), "EXPIRED");
    assert_eq!(socket.close_code().await, 4401);
    assert_eq!(idle.close_code().await, 4401);
    let reply = fixture.anna.send("{ viewer { name } }", json!({})).await;
    assert_eq!(*reply.at("/errors/0/extensions/code"), "UNAUTHENTICATED");
    let old = sign_in(&anonymous, "anna@example.com", PASSWORD).await;
    assert_eq!(code_of(&old["data"]["signIn"]), "INVALID_CREDENTIALS");
    let new = sign_in(&anonymous, "anna@example.com", NEW).await;
    assert!(new["data"]["signIn"]["session"].is_object());
    fixture.smtp.nth(1, "password of your account was changed").await;
    fixture.server.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_browser_sets_a_new_password_on_the_reset_page() {
    let fixture = MailFixture::start().await;
    request(&fixture.server.anonymous(), "anna@example.com").await;
    let token = mailed_token(&fixture.smtp, 1).await;
    let page = format!("http://{}/reset-password#token={token}", fixture.server.address());
    let mut script = Script::start("reset-password.js", &page).await;
    assert_eq!(script.command().await, None);
    assert!(script.succeeded().await, "see above");
    fixture.server.anonymous().sign_in("anna@example.com", NEW).await;
    fixture.server.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn an_expired_unknown_or_superseded_reset_link_is_refused() {
    let fixture = MailFixture::start().await;
    let anonymous = fixture.server.anonymous();
    request(&anonymous, "anna@example.com").await;
    let token = mailed_token(&fixture.smtp, 1).await;
    fixture.server.clock.advance(TimeDelta::minutes(31));
    let late = reset(&anonymous, &token, NEW, NEW).await;
    assert_eq!(code_of(&late), "EXPIRED");
    let session = fixture.anna.token.clone().unwrap();
    for token in ["", "tw_", "garbage", &"x".repeat(10_000), &session] {
        assert_eq!(reset(&anonymous, token, NEW, NEW).await, late);
    }
    // A link replaces the ones before it.
    request(&anonymous, "anna@example.com").await;
    let first = mailed_token(&fixture.smtp, 2).await;
    request(&anonymous, "anna@example.com").await;
    let second = mailed_token(&fixture.smtp, 3).await;
    assert_eq!(reset(&anonymous, &first, NEW, NEW).await, late);
    assert_eq!(reset(&anonymous, &second, NEW, NEW).await["changed"], true);
    // Of links that were requested at the same time, one remains.
    futures_util::future::join_all((0..6).map(|_| request(&anonymous, "anna@example.com"))).await;
    let database = fixture.server.database.connect().await;
    let valid = "SELECT count(*) FROM password_resets WHERE used_at IS NULL";
    assert_eq!(database.query_one(valid, &[]).await.unwrap().get::<_, i64>(0), 1);
    fixture.server.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_password_reset_request_does_not_reveal_whether_an_address_is_known() {
    let fixture = MailFixture::start().await;
    let anonymous = fixture.server.anonymous();
    let known = request(&anonymous, "anna@example.com").await;
    let unknown = request(&anonymous, "nobody@example.com").await;
    assert_eq!(known, unknown);
    // The database does the same for both; only one request becomes a mail.
    let database = fixture.server.database.connect().await;
    let count = "SELECT count(*), count(DISTINCT address) FROM deliveries";
    let row = database.query_one(count, &[]).await.unwrap();
    assert_eq!((row.get::<_, i64>(0), row.get::<_, i64>(1)), (2, 2));
    mailed_token(&fixture.smtp, 1).await;
    for email in ["", "anna", "a@b\r\nBcc: eve@example.com", &"x".repeat(300)] {
        let refused = request(&anonymous, email).await;
        assert_eq!(refused["accepted"], false, "{email:.20}");
    }
    // Both are rate limited alike.
    for email in ["anna@example.com", "nobody@example.com"] {
        for _ in 0..9 {
            request(&anonymous, email).await;
        }
        let reply = anonymous.send(REQUEST, json!({ "input": { "email": email } })).await;
        assert_eq!(*reply.at("/errors/0/extensions/code"), "RATE_LIMITED");
        assert!(reply.at("/errors/0/extensions/retryAfterSeconds").as_i64().unwrap() > 60);
    }
    // Requests for links do not count against the limit on codes: anybody can ask for a link, but
    // only the owner for a code.
    let begin =
        "mutation { beginSecondFactor(input: { method: EMAIL }) { codeSent { expiresAt } } }";
    let begun = fixture.anna.ok(begin, json!({})).await;
    assert!(begun["beginSecondFactor"]["codeSent"].is_object());
    fixture.server.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn known_and_unknown_addresses_take_the_same_number_of_statements() {
    let server = TestServer::start_logged().await;
    server.customer("Anna").await;
    let anonymous = server.anonymous();
    // Once before, so that every statement is prepared.
    for email in ["anna@example.com", "nobody@example.com"] {
        sign_in(&anonymous, email, "wrong").await;
        request(&anonymous, email).await;
    }
    let statements = async |email: &str| {
        let lines = server.statements_of(async || {
            sign_in(&anonymous, email, "wrong").await;
            request(&anonymous, email).await;
        });
        let statement = |line: String| line.split_once(": ").map(|(_, it)| it.to_owned());
        lines.await.into_iter().filter_map(statement).collect::<Vec<_>>()
    };
    let (known, unknown) =
        (statements("anna@example.com").await, statements("nobody@example.com").await);
    assert!(known.len() > 5, "{known:#?}");
    assert_eq!(known.len(), unknown.len(), "{known:#?}\n{unknown:#?}");
    server.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn changing_a_password_requires_the_current_one_and_ends_other_sessions() {
    let server = TestServer::start().await;
    let anna = server.customer("Anna").await;
    let elsewhere = server.anonymous().sign_in("anna@example.com", PASSWORD).await;
    let change = async |current: &str, new: &str| {
        let input = json!({ "currentPassword": current, "password": new, "passwordAgain": new });
        anna.ok(CHANGE, json!({ "input": input })).await["changePassword"].clone()
    };
    assert_eq!(code_of(&change("wrong", NEW).await), "INVALID_CREDENTIALS");
    assert_eq!(code_of(&change(PASSWORD, "qwertyuiop").await), "WEAK_PASSWORD");
    assert_eq!(change(PASSWORD, NEW).await["changed"], true);
    assert_eq!(anna.ok("{ viewer { name } }", json!({})).await["viewer"]["name"], "Anna");
    let reply = elsewhere.send("{ viewer { name } }", json!({})).await;
    assert_eq!(*reply.at("/errors/0/extensions/code"), "UNAUTHENTICATED");
    let long = format!("{} ünd 密码 ", "correct horse ".repeat(70));
    assert_eq!(change(NEW, &long).await["changed"], true);
    server.anonymous().sign_in("anna@example.com", &long).await;
    // The password was not truncated.
    let cut = &long[..long.len() - 1];
    let refused = sign_in(&server.anonymous(), "anna@example.com", cut).await;
    assert_eq!(code_of(&refused["data"]["signIn"]), "INVALID_CREDENTIALS");
    server.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_password_may_be_typed_composed_decomposed_or_with_other_spaces() {
    let server = TestServer::start().await;
    let anna = server.customer("Anna").await;
    let composed = "Gr\u{FC}\u{DF}e aus K\u{F6}ln 47 Zebra";
    let decomposed = "Gru\u{308}\u{DF}e aus Ko\u{308}ln 47 Zebra";
    let spaced = composed.replace(' ', "\u{A0}");
    let mut current = PASSWORD.to_owned();
    for (new, again) in [(composed, decomposed), (decomposed, &spaced), (&spaced, composed)] {
        let input = json!({ "currentPassword": current, "password": new, "passwordAgain": again });
        let changed = anna.ok(CHANGE, json!({ "input": input })).await;
        assert_eq!(changed["changePassword"]["changed"], true, "{changed}");
        for typed in [composed, decomposed, &spaced] {
            server.anonymous().sign_in("anna@example.com", typed).await;
        }
        current = again.to_owned();
    }
    // A hash that an earlier version made of what was typed.
    let database = server.database.connect().await;
    for hashed in [composed, decomposed, &spaced] {
        let hash = bcrypt::hash(hashed, 4).unwrap();
        database.execute("UPDATE accounts SET password_hash = $1", &[&hash]).await.unwrap();
        server.anonymous().sign_in("anna@example.com", hashed).await;
        for typed in [composed, decomposed, &spaced] {
            server.anonymous().sign_in("anna@example.com", typed).await;
        }
    }
    let wrong = sign_in(&server.anonymous(), "anna@example.com", &composed.to_lowercase()).await;
    assert_eq!(code_of(&wrong["data"]["signIn"]), "INVALID_CREDENTIALS");
    server.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn the_second_of_two_concurrent_password_changes_is_refused() {
    let server = TestServer::start().await;
    let anna = server.customer("Anna").await;
    let elsewhere = server.anonymous().sign_in("anna@example.com", PASSWORD).await;
    let change = async |client: &Client| {
        let input = json!({ "currentPassword": PASSWORD, "password": NEW, "passwordAgain": NEW });
        client.send(CHANGE, json!({ "input": input })).await.body
    };
    let (one, other) = futures_util::future::join(change(&anna), change(&elsewhere)).await;
    let changed = |body: &Value| body.pointer("/data/changePassword/changed") == Some(&json!(true));
    assert!(changed(&one) != changed(&other), "{one} {other}");
    server.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn changes_of_ones_own_password_are_limited_and_leave_no_event_beyond() {
    let server = TestServer::start().await;
    let anna = server.customer("Anna").await;
    let change = async |nth: usize| {
        let (current, new) = if nth.is_multiple_of(2) { (PASSWORD, NEW) } else { (NEW, PASSWORD) };
        let input = json!({ "currentPassword": current, "password": new, "passwordAgain": new });
        anna.send(CHANGE, json!({ "input": input })).await
    };
    for nth in 0..30 {
        let reply = change(nth).await;
        assert_eq!(*reply.at("/data/changePassword/changed"), true, "{}", reply.body);
    }
    let refused = change(30).await;
    assert_eq!(refused.code(), "RATE_LIMITED", "{}", refused.body);
    let recorded = "SELECT count(*) FROM events WHERE kind = 'password_changed'";
    let database = server.database.connect().await;
    assert_eq!(database.query_one(recorded, &[]).await.unwrap().get::<_, i64>(0), 30);
    server.clock.advance(TimeDelta::minutes(2));
    assert_eq!(*change(30).await.at("/data/changePassword/changed"), true);
    server.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn addresses_of_one_ipv6_network_share_a_rate_limit() {
    let server = TestServer::start_with(&[("trusted_proxies", "1".to_owned())]).await;
    let wrong = async |address: String| {
        let input = json!({ "email": "anna@example.com", "password": "wrong" });
        let body = json!({ "query": SIGN_IN, "variables": { "input": input } }).to_string();
        let reply = server
            .anonymous()
            .request(reqwest::Method::POST, "/graphql", |request| {
                request
                    .header("content-type", "application/json")
                    .header("x-forwarded-for", address.clone())
                    .body(body.clone())
            })
            .await;
        reply.body["errors"][0]["extensions"]["code"].clone()
    };
    for n in 0..10 {
        assert_eq!(wrong(format!("2001:db8:0:1::{n}")).await, json!(null));
    }
    assert_eq!(wrong("2001:db8:0:1::ffff".into()).await, "RATE_LIMITED");
    assert_eq!(wrong("2001:db8:0:2::1".into()).await, json!(null));
    server.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn password_guesses_are_limited_alike_for_known_and_unknown_addresses() {
    let server = TestServer::start().await;
    server.customer("Anna").await;
    server.customer("Jonas").await;
    for email in ["anna@example.com", "nobody@example.com"] {
        for _ in 0..10 {
            let wrong = sign_in(&server.anonymous(), email, "wrong").await;
            assert_eq!(code_of(&wrong["data"]["signIn"]), "INVALID_CREDENTIALS");
        }
        let limited = sign_in(&server.anonymous(), email, PASSWORD).await;
        assert_eq!(limited["errors"][0]["extensions"]["code"], "RATE_LIMITED", "{limited}");
    }
    // Others are not limited, and sign-ins with the right password do not count.
    for _ in 0..12 {
        server.anonymous().sign_in("jonas@example.com", PASSWORD).await;
    }
    let limited = sign_in(&server.anonymous(), "anna@example.com", PASSWORD).await;
    let wait = limited["errors"][0]["extensions"]["retryAfterSeconds"].as_i64().unwrap();
    server.clock.advance(TimeDelta::seconds(wait));
    server.anonymous().sign_in("anna@example.com", PASSWORD).await;
    server.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn guesses_at_all_spellings_of_an_address_count_together() {
    let server = TestServer::start().await;
    let anna = server.customer("Anna").await;
    // An account of an earlier version.
    let database = server.database.connect().await;
    let respell = "UPDATE accounts SET email = 'anna@xn--80a1acny.xn--p1ai'";
    database.execute(respell, &[]).await.unwrap();
    for _ in 0..10 {
        let wrong = sign_in(&server.anonymous(), "anna@почта.рф", "wrong").await;
        assert_eq!(code_of(&wrong["data"]["signIn"]), "INVALID_CREDENTIALS");
    }
    let input = json!({ "currentPassword": "wrong", "password": NEW, "passwordAgain": NEW });
    let limited = anna.send(CHANGE, json!({ "input": input })).await;
    assert_eq!(limited.code(), "RATE_LIMITED", "{}", limited.body);
    server.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_reset_and_a_change_of_the_address_at_the_same_time_do_not_deadlock() {
    let fixture = MailFixture::start().await;
    let anonymous = &fixture.server.anonymous();
    request(anonymous, "anna@example.com").await;
    let token = mailed_token(&fixture.smtp, 1).await;
    let mut other = fixture.server.database.connect().await;
    let change = other.transaction().await.unwrap();
    let lock = "SELECT FROM accounts WHERE email = 'anna@example.com' FOR NO KEY UPDATE";
    change.execute(lock, &[]).await.unwrap();
    let changing = async {
        let waiting = "SELECT count(*) FROM pg_stat_activity
            WHERE datname = current_database() AND wait_event_type = 'Lock'";
        let observer = fixture.server.database.connect().await;
        while observer.query_one(waiting, &[]).await.unwrap().get::<_, i64>(0) == 0 {}
        change.execute("UPDATE password_resets SET used_at = now()", &[]).await.unwrap();
        let move_away = "UPDATE accounts SET email = 'anna@example.org' WHERE name = 'Anna'";
        change.execute(move_away, &[]).await.unwrap();
        change.commit().await.unwrap();
    };
    let (refused, ()) = tokio::join!(reset(anonymous, &token, NEW, NEW), changing);
    assert_eq!(code_of(&refused), "EXPIRED");
    fixture.server.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn an_attack_from_many_addresses_does_not_lock_the_owner_out() {
    let server = TestServer::start_with(&[("trusted_proxies", "1".to_owned())]).await;
    let anna = server.customer("Anna").await;
    let send = async |address: String, document: &str, input: Value| {
        let body = json!({ "query": document, "variables": { "input": input } }).to_string();
        let reply = server
            .anonymous()
            .request(reqwest::Method::POST, "/graphql", |request| {
                request
                    .header("content-type", "application/json")
                    .header("x-forwarded-for", address.clone())
                    .body(body.clone())
            })
            .await;
        reply.body
    };
    let from = async |address: String, password: &str| {
        send(address, SIGN_IN, json!({ "email": "anna@example.com", "password": password })).await
    };
    assert!(from("192.0.2.1".into(), PASSWORD).await["data"]["signIn"]["session"].is_object());
    for n in 0..100 {
        from(format!("198.51.100.{n}"), "wrong").await;
    }
    // An address without an earlier sign-in must wait, even the owner's; an address that they have
    // used before need not.
    let elsewhere = from("203.0.113.1".into(), PASSWORD).await;
    assert_eq!(elsewhere["errors"][0]["extensions"]["code"], "RATE_LIMITED");
    assert!(from("192.0.2.1".into(), PASSWORD).await["data"]["signIn"]["session"].is_object());
    // So it is with links that set a new password.
    let request = async |address: String| {
        send(address, REQUEST, json!({ "email": "anna@example.com" })).await
    };
    for n in 0..10 {
        assert!(request(format!("198.51.100.{n}")).await["errors"].is_null());
    }
    let elsewhere = request("203.0.113.1".into()).await;
    assert_eq!(elsewhere["errors"][0]["extensions"]["code"], "RATE_LIMITED");
    assert!(request("192.0.2.1".into()).await["errors"].is_null());
    // Of an IPv6 address the network counts, as in the limits.
    server.clock.advance(TimeDelta::hours(1));
    assert!(
        from("2001:db8:0:1::1".into(), PASSWORD).await["data"]["signIn"]["session"].is_object()
    );
    for n in 0..100 {
        from(format!("198.51.100.{n}"), "wrong").await;
    }
    let elsewhere = from("2001:db8:0:2::1".into(), PASSWORD).await;
    assert_eq!(elsewhere["errors"][0]["extensions"]["code"], "RATE_LIMITED");
    let moved = from("2001:db8:0:1:ffff::1".into(), PASSWORD).await;
    assert!(moved["data"]["signIn"]["session"].is_object(), "{moved}");
    drop(anna);
    server.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn the_networks_of_one_ipv6_site_share_a_rate_limit() {
    let server = TestServer::start_with(&[("trusted_proxies", "1".to_owned())]).await;
    let wrong = async |address: String, email: String| {
        let input = json!({ "email": email, "password": "wrong" });
        let body = json!({ "query": SIGN_IN, "variables": { "input": input } }).to_string();
        let reply = server
            .anonymous()
            .request(reqwest::Method::POST, "/graphql", |request| {
                request
                    .header("content-type", "application/json")
                    .header("x-forwarded-for", address)
                    .body(body)
            })
            .await;
        reply.body["errors"][0]["extensions"]["code"].clone()
    };
    for n in 0..400 {
        let accepted = wrong(format!("2001:db8:0:{n:x}::1"), format!("a{n}@example.com")).await;
        assert_eq!(accepted, json!(null), "{n}");
    }
    assert_eq!(wrong("2001:db8:0:ffff::1".into(), "b@example.com".into()).await, "RATE_LIMITED");
    assert_eq!(wrong("2001:db8:1::1".into(), "b@example.com".into()).await, json!(null));
    server.stop().await;
}
