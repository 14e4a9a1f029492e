//! Changed e-mail addresses.

use chrono::TimeDelta;
use reqwest::{Method, StatusCode};
use serde_json::json;

use ticketwire::domain::account::Role;

use super::handoff::{anna_input, panel, provision};
use crate::harness::{TestServer, mail::MailFixture, server::PASSWORD};

#[tokio::test(flavor = "multi_thread")]
async fn an_address_that_the_panel_changes_ends_what_the_former_one_gave_and_both_are_notified() {
    let fixture = MailFixture::start_with(&[("mail.window_seconds", "3600")]).await;
    let (server, anna, smtp) = (&fixture.server, &fixture.anna, &fixture.smtp);
    let panel = panel(server).await;
    provision(&panel, anna_input(json!({}))).await;
    let text = |document: &'static str| anna.ok(document, json!({}));
    text("mutation { beginSecondFactor(input: { method: EMAIL }) { codeSent { nextAt } } }").await;
    let mail = smtp.nth(1, "one-time code is").await.text;
    let mut digits = mail.split(|c: char| !c.is_ascii_digit());
    let code = digits.rfind(|word| word.len() == 6).unwrap().to_owned();
    let confirm = "mutation($code: String!) { confirmSecondFactor(input: { method: EMAIL, code: $code }) { userErrors { code } } }";
    anna.ok(confirm, json!({ "code": code })).await;
    let ticket = anna.create_ticket("The site is down").await;
    let request =
        "mutation { requestPasswordReset(input: { email: \"anna@example.com\" }) { accepted } }";
    server.anonymous().ok(request, json!({})).await;
    let mail = smtp.nth(1, "a request to reset your password").await.text;
    let link = mail.split("#token=").nth(1).unwrap().split_whitespace().next().unwrap();
    // The confirmation of the ticket waits for an hour.
    server.quiet().await;

    provision(&panel, anna_input(json!({ "email": "anna@example.org" }))).await;
    for address in ["anna@example.com", "anna@example.org"] {
        let told = "The e-mail address of your account was changed";
        let mails = [smtp.nth(1, told).await, smtp.nth(2, told).await];
        assert!(mails.iter().any(|mail| mail.to == address), "{mails:?}");
        assert!(mails.iter().all(|mail| !mail.text.contains("Device:")), "{mails:?}");
    }
    assert_eq!(anna.send("{ viewer { id } }", json!({})).await.code(), "UNAUTHENTICATED");
    let reset = "mutation($token: String!) { resetPassword(input: { token: $token, password: \"walrus umbrella seventeen\", passwordAgain: \"walrus umbrella seventeen\" }) {
        userErrors { code } } }";
    let refused = server.anonymous().send(reset, json!({ "token": link })).await;
    assert_eq!(refused.user_errors("resetPassword"), ["EXPIRED"]);
    let anna = server.anonymous().sign_in("anna@example.org", PASSWORD).await;
    let viewer = anna
        .ok("{ viewer { secondFactors { method } recoveryCodesLeft securityEvents(first: 5) { nodes { kind } } } }", json!({}))
        .await;
    assert_eq!(viewer["viewer"]["secondFactors"], json!([]));
    assert_eq!(viewer["viewer"]["recoveryCodesLeft"], 0);
    let kinds = viewer["viewer"]["securityEvents"]["nodes"].to_string();
    for kind in ["EMAIL_CHANGED", "SECOND_FACTOR_REMOVED", "SESSION_REVOKED", "PROFILE_CHANGED"] {
        assert!(kinds.contains(kind), "{kinds}");
    }
    server.clock.advance(TimeDelta::hours(2));
    let mail = smtp.nth(1, "We have received your ticket").await;
    assert_eq!(mail.to, "anna@example.org");
    fixture.boris.comment(&ticket, "We look into it.").await;
    server.quiet().await;
    server.clock.advance(TimeDelta::hours(2));
    assert_eq!(smtp.nth(1, "We look into it.").await.to, "anna@example.org");
    fixture.server.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_link_in_a_mail_to_the_former_address_unsubscribes_the_account() {
    let fixture = MailFixture::start().await;
    let (server, anna, smtp) = (&fixture.server, &fixture.anna, &fixture.smtp);
    let ada = server.sign_up("Ada", Role::Admin).await;
    let ticket = anna.create_ticket("The site is down").await;
    let mail = smtp.nth(1, "Thank you for contacting").await;
    let link = mail.raw.split("List-Unsubscribe: <https://desk.example.com").nth(1).unwrap();
    let path = link.split('>').next().unwrap();
    let click = async |path: &str| {
        let post = |request: reqwest::RequestBuilder| {
            let form = "application/x-www-form-urlencoded";
            request.header("content-type", form).body("List-Unsubscribe=One-Click")
        };
        let clicked = server.anonymous().request(Method::POST, path, post).await;
        assert_eq!(clicked.status, StatusCode::OK);
    };
    let stored = async || {
        let database = server.database.connect().await;
        let rows = database.query("SELECT address FROM mail_unsubscriptions", &[]).await.unwrap();
        rows.iter().map(|row| row.get::<_, String>(0)).collect::<Vec<_>>()
    };
    click(path).await;
    assert_eq!(stored().await, ["anna@example.com"]);
    let input = json!({ "id": anna.account_id().await, "email": "anna@example.org" });
    let update =
        "mutation($i: UpdateAccountInput!) { updateAccount(input: $i) { userErrors { code } } }";
    ada.ok(update, json!({ "i": input })).await;
    assert_eq!(stored().await, ["anna@example.org"]);
    click(&path.replace("/unsubscribe", "/subscribe")).await;
    assert_eq!(stored().await, [] as [&str; 0]);
    click(path).await;
    assert_eq!(stored().await, ["anna@example.org"]);
    fixture.boris.comment(&ticket, "We look into it.").await;
    server.quiet().await;
    let database = server.database.connect().await;
    let planned = "SELECT NOT EXISTS (SELECT FROM deliveries WHERE state IN ('queued', 'sending'))";
    while !database.query_one(planned, &[]).await.unwrap().get::<_, bool>(0) {}
    assert!(smtp.mails().iter().all(|mail| !mail.text.contains("We look into it.")));
    fixture.server.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_mail_that_was_planned_while_the_address_changed_goes_to_the_new_one() {
    let fixture = MailFixture::start_with(&[("mail.window_seconds", "3600")]).await;
    let server = &fixture.server;
    let ticket = fixture.anna.create_ticket("The site is down").await;
    server.quiet().await;
    // As if the planner had read the account right before the change.
    let database = server.database.connect().await;
    let change = "UPDATE accounts SET email = 'anna@example.org' WHERE name = 'Anna'";
    database.batch_execute(change).await.unwrap();
    // What the owner of the former address must learn stays theirs.
    let notice = "INSERT INTO deliveries (id, address, account_id, locale, priority, due_at, created_at)
        SELECT gen_random_uuid(), 'anna@example.com', account_id, locale, true, created_at + interval '30 days', created_at
        FROM deliveries";
    database.batch_execute(notice).await.unwrap();
    server.clock.advance(TimeDelta::hours(2));
    let mail = fixture.smtp.nth(1, "We have received your ticket").await;
    assert_eq!(mail.to, "anna@example.org");
    let query = "query($id: ID!) { node(id: $id) { ... on Ticket { deliveries { recipient } } } }";
    let data = fixture.boris.ok(query, json!({ "id": ticket.id })).await;
    assert_eq!(data["node"]["deliveries"], json!([{ "recipient": "anna@example.org" }]));
    let notice = "SELECT address FROM deliveries WHERE ticket_id IS NULL";
    let address = database.query_one(notice, &[]).await.unwrap().get::<_, String>(0);
    assert_eq!(address, "anna@example.com");
    fixture.server.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn of_two_accounts_with_spellings_of_an_address_the_panel_gets_the_one_that_signs_in() {
    let server = TestServer::start().await;
    let panel = panel(&server).await;
    let (twin, anna) = (server.customer("Twin").await, server.customer("Anna").await);
    let database = server.database.connect().await;
    // Accounts of an earlier version.
    for respell in [
        "UPDATE accounts SET email = 'anna@xn--80a1acny.xn--p1ai' WHERE name = 'Twin'",
        "UPDATE accounts SET email = 'anna@почта.рф' WHERE name = 'Anna'",
    ] {
        database.batch_execute(respell).await.unwrap();
    }
    for email in ["anna@почта.рф", "ANNA@xn--80a1acny.xn--p1ai"] {
        let found = provision(&panel, anna_input(json!({ "email": email, "name": "Anna" }))).await;
        assert_eq!(found["account"]["id"], json!(anna.account_id().await), "{found}");
    }
    drop(twin);
    server.stop().await;
}
