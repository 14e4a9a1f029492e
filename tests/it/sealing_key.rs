//! Sealing keys: which are accepted at the start, and how they are replaced.

use chrono::TimeDelta;
use serde_json::json;

use super::second_factor::{VERIFY, challenge, sign_in, verify, with_authenticator};
use crate::harness::{
    TestServer,
    mail::{MailFixture, settings},
    process,
    smtp::Smtp,
};

#[tokio::test(flavor = "multi_thread")]
async fn a_server_with_its_own_database_requires_sealing_keys() {
    let server = TestServer::start().await;
    let variables = [("DATABASE_URL", server.database.url.as_str())];
    let mut without = process::command(&variables);
    without.env_remove("TICKETWIRE_SECURITY_SEALING_KEYS");
    let missing = without.arg("serve").output().await.unwrap();
    let short = [variables[0], ("TICKETWIRE_SECURITY_SEALING_KEYS", "short")];
    let short = process::command(&short).arg("serve").output().await.unwrap();
    for refused in [missing, short] {
        let stderr = String::from_utf8(refused.stderr).unwrap();
        assert!(!refused.status.success() && stderr.contains("security.sealing_keys"), "{stderr}");
        assert!(stderr.contains("openssl rand -hex 32"), "{stderr}");
    }
    server.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_server_does_not_start_with_keys_that_its_database_was_not_used_with() {
    let mut server = TestServer::start().await;
    let anna = server.customer("Anna").await;
    let (app, _) = with_authenticator(&server, &anna).await;
    let wrong =
        ("security.sealing_keys", "a wrong key that is long enough to be accepted".to_owned());
    let database = server.database.connect().await;
    // Also after an upgrade from a version that stored no check values.
    for prepare in ["SELECT", "DELETE FROM sealing_keys"] {
        database.batch_execute(prepare).await.unwrap();
        let refused = server.another_node(std::slice::from_ref(&wrong)).await.err();
        let refused = refused.expect("a wrong key").to_string();
        assert!(
            refused.contains("security.sealing_keys") && refused.contains("former"),
            "{refused}"
        );
    }
    let url = server.database.url.clone();
    let variables =
        [("DATABASE_URL", url.as_str()), ("TICKETWIRE_SECURITY_SEALING_KEYS", wrong.1.as_str())];
    let run = async |arguments: &[&str]| process::run(arguments, &variables, "").await;
    let doctor = run(&["doctor"]).await;
    assert!(doctor.stdout.contains("FAILED  sealing keys"), "{}", doctor.stdout);
    let reset = ["user", "reset-second-factor", "anna@example.com"];
    assert!(!run(&reset).await.success);

    // Lost keys can be replaced. Second factors that need them are reset.
    let accepted = run(&["accept-sealing-keys"]).await;
    assert!(
        accepted.success && accepted.stdout.contains("longer be used: 1"),
        "{}",
        accepted.stderr
    );
    server.restart_with(std::slice::from_ref(&wrong)).await;
    let token = challenge(&server, "anna@example.com").await;
    let input =
        json!({ "challengeToken": token, "method": "AUTHENTICATOR", "code": app.code(&server) });
    let reply = server.anonymous().send(VERIFY, json!({ "input": input })).await;
    assert_eq!(reply.code(), "INTERNAL");
    assert!(run(&reset).await.success);
    assert!(sign_in(&server, "anna@example.com").await["session"].is_object());
    server.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn an_old_sealing_key_still_works_and_is_replaced_at_the_next_sign_in() {
    let mut server = TestServer::start().await;
    let anna = server.customer("Anna").await;
    let (app, _) = with_authenticator(&server, &anna).await;
    let old = crate::harness::server::SEALING_KEYS;
    let new = "another key of the tests that is newer than the first";
    for keys in [format!("{new}, {old}"), new.to_owned()] {
        server.restart_with(&[("security.sealing_keys", keys)]).await;
        server.clock.advance(TimeDelta::minutes(1));
        let token = challenge(&server, "anna@example.com").await;
        let verified = verify(&server, &token, "AUTHENTICATOR", &app.code(&server)).await;
        assert!(verified["session"].is_object(), "{verified}");
    }
    server.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_mail_that_a_node_cannot_open_is_left_to_the_others() {
    let fixture = MailFixture::start().await;
    let (server, smtp) = (&fixture.server, &fixture.smtp);
    let old = crate::harness::server::SEALING_KEYS;
    let new = "another key of the tests that is newer than the first";
    let keys = ("security.sealing_keys", format!("{new}, {old}"));
    // The first node with the new key does not send mail itself.
    let planner = server.another_node(std::slice::from_ref(&keys)).await.ok().unwrap();
    let request = |email: &str| {
        format!(
            "mutation {{ requestPasswordReset(input: {{ email: \"{email}\" }}) {{ accepted }} }}"
        )
    };
    let at_planner = server.anonymous().at(&planner.address().to_string());
    at_planner.ok(&request("anna@example.com"), json!({})).await;
    // The other node sends what comes later.
    server.anonymous().ok(&request("boris@example.com"), json!({})).await;
    assert_eq!(smtp.received(1).await[0].to, "boris@example.com");
    let database = server.database.connect().await;
    let state = "SELECT state::text, attempts FROM deliveries WHERE address = 'anna@example.com'";
    let row = database.query_one(state, &[]).await.unwrap();
    assert_eq!((row.get::<_, &str>(0), row.get::<_, i32>(1)), ("queued", 0));
    let other_smtp = Smtp::start().await;
    let mut flags = settings(&other_smtp.url());
    flags.push(keys);
    let sender = server.another_node(&flags).await.ok().unwrap();
    assert_eq!(other_smtp.received(1).await[0].to, "anna@example.com");
    planner.stop().await;
    sender.stop().await;
    fixture.server.stop().await;
}
