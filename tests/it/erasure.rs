//! Erasure: what identifies a person is gone wherever it stood, and stays gone after a restore.

use std::{fs, path::PathBuf, time::Duration};

use chrono::TimeDelta;
use serde_json::{Value, json};
use ticketwire::domain::account::Role;
use tokio::time;

use crate::{
    attachment::{self, count, upload},
    handoff::{anna_input, panel, provision},
    harness::{
        Client, TestServer,
        client::{Reply, Ticket},
        mail::MailFixture,
        process,
        server::PASSWORD,
        smtp::Behaviour,
    },
    redaction::timeline,
    uploaded_file::uploaded,
};

/// A test that waits longer has failed.
const TIMEOUT: Duration = Duration::from_secs(30);

/// What no table may contain after Anna's account is erased.
const TRACES: [&str; 4] = ["anna@example.com", "Anna", "client-17", "127.0.0.1"];

pub async fn erase(admin: &Client, id: &str, conversations: &str) -> Reply {
    let document = "mutation($id: ID!, $c: ErasedConversations!) {
        eraseAccount(input: { id: $id, conversations: $c }) {
            account { id name email isErased disabledAt } userErrors { field code } } }";
    admin.send(document, json!({ "id": id, "c": conversations })).await
}

/// An admin who has re-authenticated.
pub async fn admin(server: &TestServer) -> Client {
    let ada = server.sign_up("Ada", Role::Admin).await;
    reauthenticate(&ada).await;
    ada
}

pub async fn reauthenticate(client: &Client) {
    let document =
        "mutation($p: String!) { reauthenticate(input: { password: $p }) { userErrors { code } } }";
    let reply = client.send(document, json!({ "p": PASSWORD })).await;
    assert_eq!(reply.user_errors("reauthenticate"), [] as [&str; 0]);
}

/// Waits until everything that follows from the erasures is done.
async fn finished(server: &TestServer) {
    let database = server.database.connect().await;
    let redacted = "SELECT NOT EXISTS (SELECT FROM erasures e JOIN comments c
        ON c.author_id = e.account_id WHERE e.redacts AND c.redacted_at IS NULL)";
    while !database.query_one(redacted, &[]).await.unwrap().get::<_, bool>(0) {}
}

/// A ledger's folder of a test, empty.
fn ledger(name: &str) -> PathBuf {
    let folder = PathBuf::from(format!("{}/ledger-{name}", env!("CARGO_TARGET_TMPDIR")));
    drop(fs::remove_dir_all(&folder));
    drop(fs::remove_file(&folder));
    folder
}

#[tokio::test(flavor = "multi_thread")]
async fn accounts_can_be_paged_past_an_erased_one() {
    let server = TestServer::start().await;
    let ada = admin(&server).await;
    for name in ["Anna", "Boris", "Clara"] {
        let id = server.customer(name).await.account_id().await;
        if name == "Boris" {
            erase(&ada, &id, "KEEP").await;
        }
    }
    let query = "query($first: Int, $after: String, $last: Int, $before: String) {
        accounts(first: $first, after: $after, last: $last, before: $before) {
            edges { cursor node { name } } } }";
    for (size, from) in [("first", "after"), ("last", "before")] {
        let (mut names, mut cursor) = (vec![], Value::Null);
        loop {
            let data = ada.ok(query, json!({ size: 1, from: cursor })).await;
            let Some(edge) = data["accounts"]["edges"].get(0).cloned() else { break };
            names.push(edge["node"]["name"].as_str().unwrap().to_owned());
            cursor = edge["cursor"].clone();
        }
        names.sort();
        assert_eq!(names.len(), 4, "{names:?}");
        names.dedup();
        assert_eq!(names.len(), 4, "{names:?}");
    }
    server.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn an_erased_account_leaves_no_name_and_no_address_and_its_conversations_stay() {
    let fixture = MailFixture::start_with(&[("mail.window_seconds", "30")]).await;
    let MailFixture { server, smtp, anna, boris } = &fixture;
    let ada = admin(server).await;
    let panel = panel(server).await;
    provision(&panel, anna_input(json!({}))).await;
    let id = anna.account_id().await;
    let ticket = anna.create_ticket("The site is down").await;
    let (comment, _) = anna.comment(&ticket, "It shows an eror.").await;
    let edit = "mutation($id: ID!) { editComment(input: { commentId: $id, body: \"It shows an error.\" }) { userErrors { code } } }";
    anna.ok(edit, json!({ "id": comment })).await;
    let anonymous = server.anonymous();
    let request = "mutation { requestPasswordReset(input: { email: \"anna@example.com\" }) { userErrors { code } } }";
    anonymous.ok(request, json!({})).await;
    server.quiet().await;
    server.clock.advance(TimeDelta::seconds(31));
    smtp.nth(1, "The site is down").await;
    boris.comment(&ticket, "We look at it.").await;
    server.quiet().await;
    let database = server.database.connect().await;
    let unsubscribe = "INSERT INTO mail_unsubscriptions (ticket_id, address, created_at)
        SELECT id, 'anna@example.com', created_at FROM tickets";
    database.execute(unsubscribe, &[]).await.unwrap();
    let failed = "UPDATE deliveries SET last_error = '550 anna@example.com is unknown'
        WHERE finished_at IS NOT NULL";
    database.execute(failed, &[]).await.unwrap();
    for trace in TRACES {
        assert_ne!(server.tables_with(trace).await, [] as [&str; 0], "{trace}");
    }

    let sent = smtp.mails().len();
    let reply = erase(&ada, &id, "KEEP").await;
    let erased = reply.at("/data/eraseAccount/account");
    assert_eq!(erased["name"], "Erased account", "{}", reply.body);
    assert_eq!((&erased["isErased"], erased["disabledAt"].is_string()), (&json!(true), true));
    for trace in ["anna@example.com", "Anna", "client-17"] {
        assert_eq!(server.tables_with(trace).await, [] as [&str; 0], "{trace}");
    }
    let origins = "SELECT count(*) FROM sessions s JOIN accounts a ON a.id = s.account_id
        WHERE a.email LIKE '%erased.invalid' AND num_nonnulls(s.address, s.device, s.network) > 0";
    assert_eq!(database.query_one(origins, &[]).await.unwrap().get::<_, i64>(0), 0);
    assert_eq!(server.tables_with("eror").await, [] as [&str; 0], "what it was before the edit");
    server.clock.advance(TimeDelta::seconds(31));
    let waiting = "SELECT count(*) FROM deliveries WHERE finished_at IS NULL";
    assert_eq!(database.query_one(waiting, &[]).await.unwrap().get::<_, i64>(0), 0);
    assert_eq!(smtp.mails().len(), sent, "the mail that waited is not sent");

    assert_eq!(anna.send("{ viewer { id } }", json!({})).await.code(), "UNAUTHENTICATED");
    let sign_in = "mutation { signIn(input: { email: \"anna@example.com\", password: \"correct horse battery\" }) { userErrors { code } } }";
    let refused = anonymous.send(sign_in, json!({})).await;
    assert_eq!(refused.user_errors("signIn"), ["INVALID_CREDENTIALS"]);
    let events = timeline(boris, &ticket).await;
    assert_eq!(events[0]["actor"]["name"], "Erased account");
    assert_eq!(events[1]["comment"]["body"], "It shows an error.");
    fixture.server.stop().await;
}

/// The kinds of the events of an account, newest first.
async fn audit(admin: &Client, id: &str) -> Vec<Value> {
    let query = "query($id: ID!) { accountEvents(accountId: $id, first: 5) { nodes { kind actor { name } } } }";
    let data = admin.ok(query, json!({ "id": id })).await;
    data["accountEvents"]["nodes"].as_array().unwrap().clone()
}

#[tokio::test(flavor = "multi_thread")]
async fn conversations_are_redacted_on_request_and_the_events_say_so() {
    let server = TestServer::start().await;
    let (anna, marta) = (server.customer("Anna").await, server.agent("Marta").await);
    let ada = admin(&server).await;
    let jonas = server.customer("Jonas").await;
    let id = anna.account_id().await;
    let own = anna.create_ticket("tulip").await;
    let other = jonas.create_ticket("orchid").await;
    jonas.share(&other, &anna).await;
    let input = json!({ "ticketId": other.id, "body": "tulip" });
    upload(&anna, attachment::COMMENT, input, &[("tulip.txt", b"tulip")]).await;
    marta.comment(&own, "We look at it.").await;
    let reply = erase(&ada, &id, "REDACT").await;
    assert_eq!(reply.user_errors("eraseAccount"), [] as [&str; 0]);
    while !server.tables_with("tulip").await.is_empty() {}
    finished(&server).await;
    while count(&server, "true").await > 0 {}
    let contents = |events: &[Value]| {
        let redacted = events.iter().filter(|event| event["__typename"] == "ContentRedacted");
        redacted
            .map(|event| (event["content"].clone(), event["actor"]["name"].clone()))
            .collect::<Vec<_>>()
    };
    let by_ada = |content: &str| (json!(content), json!("Ada"));
    let on_own = timeline(&marta, &own).await;
    assert_eq!(contents(&on_own), [by_ada("SUMMARY"), by_ada("DESCRIPTION")]);
    assert_eq!(on_own[1]["comment"]["body"], "We look at it.");
    let on_other = timeline(&jonas, &other).await;
    assert_eq!(contents(&on_other), [by_ada("COMMENT"), by_ada("ATTACHMENT")]);
    assert_ne!(server.tables_with("orchid").await, [] as [&str; 0], "what others wrote stays");
    assert_eq!(
        audit(&ada, &id).await[0],
        json!({ "kind": "ACCOUNT_ERASED", "actor": { "name": "Ada" } })
    );
    server.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_summary_that_staff_write_after_an_erasure_stays() {
    let server = TestServer::start().await;
    let (anna, marta) = (server.customer("Anna").await, server.agent("Marta").await);
    let (ada, ticket) = (admin(&server).await, anna.create_ticket("tulip").await);
    erase(&ada, &anna.account_id().await, "REDACT").await;
    while !server.tables_with("tulip").await.is_empty() {}
    let rename = "mutation($i: UpdateTicketInput!) {
        updateTicket(input: $i) { ticket { summary } userErrors { code } } }";
    let input = json!({ "ticketId": ticket.id, "summary": "A flower" });
    let renamed = marta.ok(rename, json!({ "i": input })).await;
    assert_eq!(renamed["updateTicket"]["ticket"]["summary"], "A flower");
    // Requests that were under way then have ended, so the erasure can be finished.
    server.clock.advance(TimeDelta::minutes(2));
    server.finish_erasures().await;
    let database = server.database.connect().await;
    let finished = "SELECT finished_at IS NOT NULL FROM erasures";
    assert!(database.query_one(finished, &[]).await.unwrap().get::<_, bool>(0));
    assert_eq!(timeline(&marta, &ticket).await[0]["ticket"]["summary"], "A flower");
    server.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn only_an_admin_who_reauthenticated_erases_an_account_and_only_once() {
    let server = TestServer::start().await;
    let (anna, marta) = (server.customer("Anna").await, server.agent("Marta").await);
    let ada = server.sign_up("Ada", Role::Admin).await;
    let (id, own) = (anna.account_id().await, ada.account_id().await);
    let before = server.content().await;
    for client in [&anna, &marta] {
        assert_eq!(erase(client, &id, "KEEP").await.code(), "FORBIDDEN");
    }
    let unproven = erase(&ada, &id, "KEEP").await;
    assert_eq!(unproven.user_errors("eraseAccount"), ["REAUTHENTICATION_REQUIRED"]);
    reauthenticate(&ada).await;
    assert_eq!(erase(&ada, &own, "KEEP").await.user_errors("eraseAccount"), ["OWN_ACCOUNT"]);
    assert_eq!(erase(&ada, "nonsense", "KEEP").await.code(), "NOT_FOUND");
    assert_eq!(server.content().await, before);

    let both = tokio::join!(erase(&ada, &id, "KEEP"), erase(&ada, &id, "REDACT"));
    let mut codes = [both.0.user_errors("eraseAccount"), both.1.user_errors("eraseAccount")];
    codes.sort();
    assert_eq!(codes, [vec![], vec!["ERASED"]]);
    let after = server.content().await;
    for mutation in [
        "enableAccount(input: { id: $id }) { userErrors { code } }",
        "disableAccount(input: { id: $id }) { userErrors { code } }",
        "updateAccount(input: { id: $id, name: \"Anna\" }) { userErrors { code } }",
        "setAccountRole(input: { id: $id, role: ADMIN }) { userErrors { code } }",
    ] {
        let reply =
            ada.send(&format!("mutation($id: ID!) {{ {mutation} }}"), json!({ "id": id })).await;
        assert_eq!(reply.user_errors(mutation.split('(').next().unwrap()), ["ERASED"]);
    }
    assert_eq!(server.content().await, after);
    server.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn nothing_is_erased_if_the_ledger_cannot_be_written() {
    let folder = ledger("broken");
    let flags = [("storage.erasure_ledger", folder.join("erasures").to_str().unwrap().to_owned())];
    let server = TestServer::start_with(&flags).await;
    let (anna, ada) = (server.customer("Anna").await, admin(&server).await);
    let id = anna.account_id().await;
    let before = server.content().await;
    // A file is in the place of the folder.
    fs::remove_dir_all(&folder).unwrap();
    fs::write(&folder, "").unwrap();
    assert_eq!(erase(&ada, &id, "KEEP").await.code(), "INTERNAL");
    assert_eq!(server.content().await, before);
    assert_eq!(anna.account_id().await, id);
    let started = server.another_node(&flags).await;
    let error = started.err().expect("no start without the ledger").to_string();
    assert!(error.contains("storage.erasure_ledger"), "{error}");
    fs::remove_file(&folder).unwrap();
    server.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_customer_who_is_provisioned_again_gets_a_new_account() {
    let server = TestServer::start().await;
    let (ada, panel) = (admin(&server).await, panel(&server).await);
    let first = provision(&panel, anna_input(json!({}))).await["account"]["id"].clone();
    let reply = erase(&ada, first.as_str().unwrap(), "KEEP").await;
    assert_eq!(reply.user_errors("eraseAccount"), [] as [&str; 0]);
    let again = provision(&panel, anna_input(json!({}))).await;
    assert_eq!(again["created"], true);
    assert_ne!(again["account"]["id"], first);
    server.stop().await;
}

/// What a backup from before an erasure has of a ticket's customer.
const BACKUP: &str = "
    DELETE FROM erasures;
    UPDATE accounts SET name = 'Anna', email = 'anna@example.com', disabled_at = NULL
    WHERE name = 'Erased account'";

#[tokio::test(flavor = "multi_thread")]
async fn a_restored_backup_does_not_bring_an_erased_account_back() {
    let mut server = TestServer::start().await;
    let (anna, marta) = (server.customer("Anna").await, server.agent("Marta").await);
    let ada = admin(&server).await;
    let ticket = anna.create_ticket("tulip").await;
    let id = anna.account_id().await;
    erase(&ada, &id, "KEEP").await;
    let name = async |client: &Client| timeline(client, &ticket).await[0]["actor"]["name"].clone();
    assert_eq!(name(&marta).await, "Erased account");

    let database = server.database.connect().await;
    server.clock.advance(TimeDelta::minutes(2));
    server.restart_after(async || database.batch_execute(BACKUP).await.unwrap()).await;
    let marta = marta.at(&server.address());
    assert_eq!(name(&marta).await, "Erased account", "from the first response on");
    assert_eq!(server.tables_with("anna@example.com").await, [] as [&str; 0]);

    // So does the command that an operator runs after a restore that nobody notices.
    let folder = format!(
        "{}/erasures/{}",
        env!("CARGO_TARGET_TMPDIR"),
        server.database.url.rsplit('/').next().unwrap()
    );
    let url = server.database.url.clone();
    let variables = [
        ("DATABASE_URL", url.as_str()),
        ("TICKETWIRE_STORAGE_ERASURE_LEDGER", &folder),
        ("TICKETWIRE_SECURITY_SEALING_KEYS", crate::harness::server::SEALING_KEYS),
    ];
    let restored = async || {
        database.batch_execute(BACKUP).await.unwrap();
        let ended = process::run(&["restored"], &variables, "").await;
        let (printed, error) = (ended.stdout, ended.stderr);
        assert!(ended.success && printed.contains("erased again: 1."), "{printed} {error}");
    };
    server.restart_after(restored).await;
    assert_eq!(server.tables_with("anna@example.com").await, [] as [&str; 0]);

    // An entry that cannot be read is reported, and does not stop the others.
    let unreadable = (0..20).map(|n| format!("{folder}/{n:08}-0000-0000-0000-000000000000.json"));
    let unreadable = unreadable.collect::<Vec<_>>();
    let restored_beside = async || {
        for file in &unreadable {
            fs::write(file, "{").unwrap();
        }
        database.batch_execute(BACKUP).await.unwrap();
        let ended = process::run(&["restored"], &variables, "").await;
        let error = ended.stderr;
        assert!(!ended.success && unreadable.iter().any(|file| error.contains(file)), "{error}");
        let names = "SELECT name FROM accounts WHERE name IN ('Anna', 'Erased account')";
        let name = database.query_one(names, &[]).await.unwrap().get::<_, String>(0);
        assert_eq!(name, "Erased account");
        for file in &unreadable {
            fs::remove_file(file).unwrap();
        }
    };
    server.restart_after(restored_beside).await;
    server.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn every_node_records_the_erasures_of_the_others_in_its_ledger() {
    let server = TestServer::start().await;
    let (anna, ada) = (server.customer("Anna").await, admin(&server).await);
    erase(&ada, &anna.account_id().await, "KEEP").await;
    let folder = ledger("another-node");
    let flags = [("storage.erasure_ledger", folder.to_str().unwrap().to_owned())];
    let node = server.another_node(&flags).await.unwrap();
    let files = fs::read_dir(&folder).unwrap().flatten().collect::<Vec<_>>();
    assert_eq!(files.len(), 1);
    let entry = fs::read_to_string(files[0].path()).unwrap();
    assert!(!entry.contains("anna") && entry.contains("\"redacts\":false"), "{entry}");
    node.stop().await;
    server.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn an_operator_erases_an_account_at_the_command_line() {
    let server = TestServer::start().await;
    let anna = server.customer("Anna").await;
    let ticket: Ticket = anna.create_ticket("tulip").await;
    let folder = ledger("command");
    let url = server.database.url.clone();
    let variables = [
        ("DATABASE_URL", url.as_str()),
        ("TICKETWIRE_STORAGE_ERASURE_LEDGER", folder.to_str().unwrap()),
        ("TICKETWIRE_SECURITY_SEALING_KEYS", crate::harness::server::SEALING_KEYS),
    ];
    let arguments = ["user", "erase", "anna@example.com", "--conversations", "redact"];
    let ended = process::run(&arguments, &variables, "").await;
    assert!(ended.success && ended.stdout.contains("is erased"), "{}", ended.stderr);
    assert_eq!(server.tables_with("tulip").await, [] as [&str; 0]);
    assert_eq!(server.tables_with("anna@example.com").await, [] as [&str; 0]);
    let marta = server.agent("Marta").await;
    assert_eq!(timeline(&marta, &ticket).await[0]["ticket"]["summary"], "");
    let again = process::run(&arguments, &variables, "").await;
    assert!(!again.success, "{}", again.stdout);
    assert_eq!(fs::read_dir(&folder).unwrap().count(), 1);
    server.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn files_that_were_not_attached_and_former_addresses_are_erased_too() {
    let fixture = MailFixture::start().await;
    let MailFixture { server, smtp, anna, .. } = &fixture;
    let ada = admin(server).await;
    let id = anna.account_id().await;
    anna.create_ticket("one").await;
    smtp.nth(1, "Thank you for contacting").await;
    uploaded(anna, "passport-of-anna.pdf", b"%PDF-1.4").await;
    let update =
        "mutation($i: UpdateAccountInput!) { updateAccount(input: $i) { userErrors { code } } }";
    let input = json!({ "id": id, "email": "anna.new@example.com" });
    let data = ada.ok(update, json!({ "i": input })).await;
    assert_eq!(data["updateAccount"]["userErrors"], json!([]));
    let database = server.database.connect().await;
    let insert = "INSERT INTO mail_unsubscriptions (address, ticket_id, created_at)
        SELECT 'anna@example.com', id, now() FROM tickets";
    database.execute(insert, &[]).await.unwrap();
    let reply = erase(&ada, &id, "KEEP").await;
    assert_eq!(reply.user_errors("eraseAccount"), [] as [&str; 0], "{}", reply.body);
    assert_eq!(server.tables_with("passport-of-anna").await, [] as [&str; 0]);
    assert_eq!(server.tables_with("anna@example.com").await, [] as [&str; 0]);
    assert_eq!(server.tables_with("anna.new@example.com").await, [] as [&str; 0]);
    fixture.server.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn what_belongs_to_the_new_owner_of_a_former_address_stays() {
    let fixture = MailFixture::start().await;
    let MailFixture { server, smtp, anna, .. } = &fixture;
    let ada = admin(server).await;
    let id = anna.account_id().await;
    anna.create_ticket("one").await;
    smtp.nth(1, "Thank you for contacting").await;
    let update =
        "mutation($i: UpdateAccountInput!) { updateAccount(input: $i) { userErrors { code } } }";
    let input = json!({ "id": id, "email": "anna.new@example.com" });
    let data = ada.ok(update, json!({ "i": input })).await;
    assert_eq!(data["updateAccount"]["userErrors"], json!([]));
    // Another person gets the address that the mail went to.
    let other = server.customer("Anna").await;
    other.create_ticket("two").await;
    smtp.nth(2, "Thank you for contacting").await;
    let reset = "mutation { requestPasswordReset(input: { email: \"anna@example.com\" }) {
        userErrors { code } } }";
    server.anonymous().ok(reset, json!({})).await;
    let database = server.database.connect().await;
    let insert = "INSERT INTO mail_unsubscriptions (address, ticket_id, created_at)
        SELECT 'anna@example.com', id, now() FROM tickets WHERE summary = 'two'";
    database.execute(insert, &[]).await.unwrap();
    let reply = erase(&ada, &id, "KEEP").await;
    assert_eq!(reply.user_errors("eraseAccount"), [] as [&str; 0], "{}", reply.body);
    let kept = "SELECT (SELECT count(*) FROM mail_unsubscriptions)
            + (SELECT count(*) FROM password_resets)
            + (SELECT count(*) FROM deliveries d JOIN accounts a ON a.id = d.account_id
                WHERE d.address = 'anna@example.com' AND a.email = d.address)";
    assert_eq!(database.query_one(kept, &[]).await.unwrap().get::<_, i64>(0), 3);
    let left = "SELECT count(*) FROM deliveries d JOIN accounts a ON a.id = d.account_id
        WHERE a.email LIKE '%.invalid' AND d.address NOT LIKE '%.invalid'";
    assert_eq!(database.query_one(left, &[]).await.unwrap().get::<_, i64>(0), 0);
    fixture.server.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn mails_to_the_desk_wait_on_after_the_erasure_of_an_agent_with_its_address() {
    let flags = [("mail.staff_addresses", "*=Marta@example.com"), ("mail.window_seconds", "60")];
    let fixture = MailFixture::start_with(&flags).await;
    let MailFixture { server, smtp, anna, .. } = &fixture;
    let (ada, marta) = (admin(server).await, server.agent("Marta").await);
    anna.create_ticket("The site is down").await;
    server.quiet().await;
    let reply = erase(&ada, &marta.account_id().await, "KEEP").await;
    assert_eq!(reply.user_errors("eraseAccount"), [] as [&str; 0], "{}", reply.body);
    server.clock.advance(chrono::TimeDelta::seconds(61));
    let mail = smtp.nth(1, "A new ticket is waiting for support").await;
    assert_eq!(mail.to, "marta@example.com");
    fixture.server.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_failed_mail_to_an_erased_account_is_cancelled() {
    let fixture = MailFixture::start().await;
    let MailFixture { server, smtp, anna, .. } = &fixture;
    let ada = admin(server).await;
    smtp.script([Behaviour::Rcpt("550 5.1.1 no such user")]);
    let ticket = anna.create_ticket("The site is down").await;
    let state = async |expected: &str| {
        let query = "query($number: String!) { ticket(number: $number) { deliveries { state } } }";
        let reached = async {
            while ada.ok(query, json!({ "number": ticket.number })).await["ticket"]["deliveries"]
                != json!([{ "state": expected }])
            {}
        };
        time::timeout(TIMEOUT, reached).await.unwrap_or_else(|_| panic!("the mail is {expected}"));
    };
    state("REFUSED").await;
    let reply = erase(&ada, &anna.account_id().await, "KEEP").await;
    assert_eq!(reply.user_errors("eraseAccount"), [] as [&str; 0], "{}", reply.body);
    state("CANCELLED").await;
    let retry = "mutation { retryDeliveries(input: {}) { count userErrors { code } } }";
    assert_eq!(ada.ok(retry, json!({})).await["retryDeliveries"]["count"], 0);
    fixture.server.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn an_erasure_completes_although_the_time_of_its_request_is_over() {
    let folder = ledger("late");
    let flags = [
        ("storage.erasure_ledger", folder.to_str().unwrap().to_owned()),
        ("limits.request_seconds", "2".to_owned()),
    ];
    let server = TestServer::start_with(&flags).await;
    let anna = server.customer("Anna").await;
    let id = anna.account_id().await;
    let ada = admin(&server).await;
    let holder = server.database.connect().await;
    // The erasure is in the ledger when it comes to the sessions.
    let lock = "BEGIN; SELECT FROM sessions s JOIN accounts a ON a.id = s.account_id
        WHERE a.email = 'anna@example.com' FOR UPDATE OF s";
    holder.batch_execute(lock).await.unwrap();
    assert_eq!(erase(&ada, &id, "KEEP").await.code(), "TIMEOUT");
    holder.batch_execute("ROLLBACK").await.unwrap();
    let erased = "SELECT EXISTS (SELECT FROM erasures WHERE actor_id IS NOT NULL)";
    let completes =
        async { while !holder.query_one(erased, &[]).await.unwrap().get::<_, bool>(0) {} };
    time::timeout(TIMEOUT, completes).await.expect("the erasure to complete");
    assert_eq!(fs::read_dir(&folder).unwrap().count(), 1);
    server.stop().await;
}
