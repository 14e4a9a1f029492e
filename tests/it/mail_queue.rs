//! The mail queue as a whole: verdicts that concern all mails hold it back, failed mails can be
//! queued again, whether mail goes out is the installation's setting, and what was not sent in time
//! expires.

use std::{sync::Arc, time::Duration};

use base64::{Engine as _, engine::general_purpose::URL_SAFE_NO_PAD};
use chrono::TimeDelta;
use serde_json::{Value, json};
use ticketwire::domain::account::Role;
use tokio::time;
use uuid::Uuid;

use crate::{
    harness::{
        Client, TestServer,
        client::{SALES, Ticket},
        mail::{MailFixture, borrowed, settings, variables},
        postgres::TestDatabase,
        process::{Process, run},
        server::{PASSWORD, create_account},
        smtp::{Behaviour, Smtp},
    },
    metrics::{metric, start_with_metrics, until_metric},
};

const TIMEOUT: Duration = Duration::from_mins(1);
const RETRY: &str = "mutation($id: ID!) { retryDelivery(input: { deliveryId: $id }) {
    delivery { state } userErrors { code message } } }";

/// What staff see of a ticket's mails.
async fn deliveries(staff: &Client, ticket: &Ticket) -> Vec<Value> {
    let query = "query($number: String!) { ticket(number: $number) {
        deliveries { id recipient state attempts lastError } } }";
    let data = staff.ok(query, json!({ "number": ticket.number })).await;
    data["ticket"]["deliveries"].as_array().unwrap().clone()
}

/// Waits until all of a ticket's mails, at least one, are as they should be.
async fn until(
    staff: &Client,
    ticket: &Ticket,
    what: &str,
    right: impl Fn(&Value) -> bool,
) -> Vec<Value> {
    let mut seen = vec![];
    let looks = async {
        while seen.is_empty() || !seen.iter().all(&right) {
            seen = deliveries(staff, ticket).await;
        }
    };
    let in_time = time::timeout(TIMEOUT, looks).await.is_ok();
    assert!(in_time, "not {what} but {seen:?}");
    seen
}

async fn until_state(staff: &Client, ticket: &Ticket, state: &str) -> Vec<Value> {
    until(staff, ticket, state, |mail| mail["state"] == state).await
}

/// Waits until no sender has a mail in hand, so that no lease ends when the clock is moved.
async fn until_none_is_sending(server: &TestServer) {
    let client = server.database.connect().await;
    let idle = "SELECT NOT EXISTS (SELECT FROM deliveries WHERE state = 'sending')";
    while !client.query_one(idle, &[]).await.unwrap().get::<_, bool>(0) {}
}

#[tokio::test(flavor = "multi_thread")]
async fn the_days_quota_refuses_no_mail_and_all_go_out_when_it_ends() {
    const LIMIT: &str = "550 5.4.5 Daily sending limit exceeded";
    let smtp = Smtp::start().await;
    let server = start_with_metrics(&settings(&smtp.url())).await;
    let (anna, boris) = (server.customer("Anna").await, server.agent("Boris").await);
    smtp.refuse_sender(Some(LIMIT));
    let mut tickets = Vec::new();
    for n in 0..20 {
        tickets.push(anna.create_ticket(&format!("Down {n}")).await);
    }
    server.quiet().await;
    until_metric(&server, "ticketwire_mail_held", |held| held == 1.0).await;
    // A day later it was asked some times, never by each mail, and all mails are still there.
    for _ in 0..24 {
        let before = smtp.attempts();
        server.clock.advance(TimeDelta::hours(1));
        smtp.attempted(before + 1).await;
        until_none_is_sending(&server).await;
    }
    // Each time by as many senders as there are, at most.
    assert!(smtp.attempts() <= 30 * 5, "{} attempts", smtp.attempts());
    let held = |mail: &Value| mail["state"] == "QUEUED" || mail["state"] == "SENDING";
    for ticket in &tickets {
        until(&boris, ticket, "waiting", held).await;
    }
    smtp.refuse_sender(None);
    server.clock.advance(TimeDelta::hours(1));
    smtp.received(tickets.len()).await;
    let mut attempts = 0;
    for ticket in &tickets {
        let sent = until_state(&boris, ticket, "SENT").await;
        attempts += sent[0]["attempts"].as_u64().unwrap();
    }
    // Refusals of the sender are no attempts. (A lease may have ended while the clock was moved.)
    assert!(attempts < 40, "{attempts} attempts of 20 mails");
    until_metric(&server, "ticketwire_mail_held", |held| held == 0.0).await;
    let refused = "ticketwire_mail_attempts_total{outcome=\"refused\"}";
    assert_eq!(metric(&server, refused).await, Some(0.0));
    server.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_verdict_about_all_mails_holds_the_queue_back_at_whatever_step_it_comes() {
    for mood in [
        Behaviour::Rcpt("421 4.3.2 shutting down"),
        Behaviour::Rcpt("550 5.4.5 Daily sending limit exceeded"),
        Behaviour::Data("550 5.4.5 Daily sending limit exceeded"),
        Behaviour::Rcpt("553 5.7.1 <a@b>: Sender address rejected: not owned by user desk"),
        Behaviour::Greet("554 5.7.1 your address is blocked"),
    ] {
        let smtp = Smtp::start().await;
        let server = start_with_metrics(&settings(&smtp.url())).await;
        let (anna, boris) = (server.customer("Anna").await, server.agent("Boris").await);
        smtp.script([mood]);
        let first = anna.create_ticket("First").await;
        until_metric(&server, "ticketwire_mail_held", |held| held == 1.0).await;
        let second = anna.create_ticket("Second").await;
        server.quiet().await;
        server.clock.advance(TimeDelta::minutes(2));
        smtp.received(2).await;
        until_state(&boris, &first, "SENT").await;
        until_state(&boris, &second, "SENT").await;
        server.stop().await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_mail_that_meets_a_verdict_which_others_do_not_meet_holds_them_back_once() {
    const VERDICT: Behaviour = Behaviour::Rcpt("554 5.7.1 <a@b>: Relay access denied");
    let smtp = Smtp::start().await;
    let server = start_with_metrics(&settings(&smtp.url())).await;
    let (anna, boris) = (server.customer("Anna").await, server.agent("Boris").await);
    smtp.script([VERDICT]);
    let first = anna.create_ticket("First").await;
    until_metric(&server, "ticketwire_mail_held", |held| held == 1.0).await;
    let second = anna.create_ticket("Second").await;
    server.quiet().await;
    server.clock.advance(TimeDelta::seconds(15));
    until_state(&boris, &second, "SENT").await;
    until_metric(&server, "ticketwire_mail_held", |held| held == 0.0).await;
    smtp.script([VERDICT]);
    server.clock.advance(TimeDelta::minutes(2));
    until(&boris, &first, "deferred", |mail| mail["attempts"] == 2 && mail["state"] == "QUEUED")
        .await;
    assert_eq!(metric(&server, "ticketwire_mail_held").await, Some(0.0));
    let third = anna.create_ticket("Third").await;
    until_state(&boris, &third, "SENT").await;
    server.clock.advance(TimeDelta::minutes(3));
    until_state(&boris, &first, "SENT").await;
    server.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_verdict_about_a_recipient_refuses_that_mail_only_and_staff_queue_it_again() {
    let desk = MailFixture::start().await;
    desk.smtp.script([Behaviour::Rcpt("550 5.1.1 no such user")]);
    let ticket = desk.anna.create_ticket("The site is down").await;
    let refused = until_state(&desk.boris, &ticket, "REFUSED").await;
    let other = desk.anna.create_ticket("Another").await;
    until_state(&desk.boris, &other, "SENT").await;

    let id = &refused[0]["id"];
    let forbidden = desk.anna.send(RETRY, json!({ "id": id })).await;
    assert_eq!(forbidden.code(), "FORBIDDEN");
    let again = desk.boris.ok(RETRY, json!({ "id": id })).await;
    assert_eq!(again["retryDelivery"]["userErrors"], json!([]));
    assert_eq!(desk.smtp.received(2).await[1].subject, "[CS-100001] The site is down");
    until_state(&desk.boris, &ticket, "SENT").await;
    // A mail that was sent is never sent again.
    let sent = desk.boris.send(RETRY, json!({ "id": id })).await;
    assert_eq!(sent.user_errors("retryDelivery"), ["NOT_AVAILABLE"]);
    let unknown = URL_SAFE_NO_PAD.encode(format!("Delivery:{}", Uuid::nil()));
    for id in [unknown, "nonsense".to_owned()] {
        let reply = desk.boris.send(RETRY, json!({ "id": id })).await;
        assert_eq!(reply.user_errors("retryDelivery"), ["NOT_FOUND"]);
    }

    let all = "mutation($input: RetryDeliveriesInput!) { retryDeliveries(input: $input) {
        count userErrors { code } } }";
    let cora = desk.server.sign_up("Cora", Role::Admin).await;
    assert_eq!(desk.boris.send(all, json!({ "input": {} })).await.code(), "FORBIDDEN");
    desk.smtp.script([Behaviour::Data("554 5.7.1 looks like spam"); 2]);
    let spam =
        [desk.anna.create_ticket("Buy now").await, desk.anna.create_ticket("Buy later").await];
    for ticket in &spam {
        until_state(&desk.boris, ticket, "REFUSED").await;
    }
    for (input, count) in [
        (json!({ "states": ["EXPIRED", "SENT"] }), 0),
        (json!({ "finishedSince": "2030-01-01T00:00:00Z" }), 0),
        (json!({}), 2),
        (json!({}), 0),
    ] {
        let retried = cora.ok(all, json!({ "input": input })).await;
        assert_eq!(retried["retryDeliveries"], json!({ "count": count, "userErrors": [] }));
    }
    for ticket in &spam {
        until_state(&desk.boris, ticket, "SENT").await;
    }
    assert_eq!(desk.smtp.mails().len(), 4);
    desk.server.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn the_operator_lists_failed_mails_and_queues_them_again() {
    let (database, smtp) = (TestDatabase::new().await, Smtp::start().await);
    create_account(&database.url, &Arc::default(), "anna@example.com", "Anna", Role::Customer)
        .await;
    let variables = variables(&smtp.url(), &database.url);
    let variables = borrowed(&variables);
    let server = Process::serve(&variables).await;
    let anna = Client::new(&server.address, None).sign_in("anna@example.com", PASSWORD).await;
    smtp.script([Behaviour::Rcpt("550 5.1.1 no such user"); 2]);
    anna.create_ticket("First").await;
    anna.create_ticket("Second").await;
    let mut list = String::new();
    while list.lines().count() < 2 {
        list = run(&["mail", "list"], &variables, "").await.stdout;
    }
    assert!(
        list.lines().all(|line| line.contains("refused  ") && line.contains("5.1.1")),
        "{list}"
    );
    let doctor = run(&["doctor"], &variables, "").await;
    let reported =
        "FAILED  failed mails: refused 2 (`ticketwire mail list`); 2 failed within the last day";
    assert!(doctor.stdout.contains(reported), "{}", doctor.stdout);
    let id = list.lines().next().unwrap().split(' ').next().unwrap();
    let one = run(&["mail", "retry", id], &variables, "").await;
    assert_eq!((one.success, one.stdout), (true, format!("Queued {id}.\n")), "{}", one.stderr);
    assert_eq!(smtp.received(1).await[0].subject, "[CS-100002] Second");
    let all = run(&["mail", "retry", "--all"], &variables, "").await;
    assert_eq!(all.stdout, "Mails that were queued again: 1.\n", "{}", all.stderr);
    smtp.received(2).await;
    let sent = ["mail", "list", "--state", "sent"];
    while run(&sent, &variables, "").await.stdout.lines().count() < 2 {}
    let none = run(&["mail", "retry", "--all"], &variables, "").await;
    assert_eq!(none.stdout, "Mails that were queued again: 0.\n");
    let wrong = run(&["mail", "retry", "--all", "--since", "yesterday"], &variables, "").await;
    assert!(
        !wrong.success && wrong.stderr.contains("such as 2026-11-26T08:00:00Z"),
        "{}",
        wrong.stderr
    );
    let sent = run(&["mail", "retry", "--all", "--state", "sent"], &variables, "").await;
    let possible = "possible values: refused, given_up, unbuildable, expired";
    assert!(!sent.success && sent.stderr.contains(possible), "{}", sent.stderr);
    for (arguments, words) in [
        (&["mail", "retry"][..], "<ID|--all>"),
        (&["mail", "retry", id, "--all"], "cannot be used with"),
        (&["mail", "retry", "--since", "2026-11-26T08:00:00Z"], "--all"),
        (&["mail", "retry", id, "--state", "refused"], "cannot be used with"),
        (&["mail", "retry", "5"], "an id looks like 01a2"),
        (&["outbox", "retry"], "<ID|--all>"),
        (&["service-token", "revoke", "5"], "an id looks like 01a2"),
    ] {
        let wrong = run(arguments, &variables, "").await;
        assert!(!wrong.success && wrong.stderr.contains(words), "{}", wrong.stderr);
    }
    let sent_already = run(&["mail", "retry", id], &variables, "").await;
    assert!(!sent_already.success && sent_already.stderr.contains("never sent twice"));

    // The content of a code is erased once it is finished.
    let code = Uuid::from_u128(7).to_string();
    let insert = "INSERT INTO deliveries (id, address, locale, priority, state, due_at, created_at, finished_at)
        VALUES ($1::text::uuid, 'anna@example.com', 'en', true, 'expired', now(), now(), now())";
    database.connect().await.execute(insert, &[&code]).await.unwrap();
    let all = run(&["mail", "retry", "--all"], &variables, "").await;
    let left_out =
        "Left out: 1. They held codes, links or security notices, and their content was erased.";
    assert_eq!(all.stdout, format!("Mails that were queued again: 0.\n{left_out}\n"));
    let listed = run(&["mail", "list"], &variables, "").await.stdout;
    assert!(listed.starts_with(&code) && listed.ends_with("(content erased)\n"), "{listed}");
    let doctor = run(&["doctor"], &variables, "").await;
    let warning = "WARNING failed mails: expired 1 (`ticketwire mail list`); 1 with codes, links";
    assert!(doctor.stdout.contains(warning), "{}", doctor.stdout);
    let erased = run(&["mail", "retry", &code], &variables, "").await;
    assert!(!erased.success && erased.stderr.contains("was erased"), "{}", erased.stderr);
    assert_eq!(smtp.mails().len(), 2);

    // The sender is refused for all mails: the operator sees it without sending one.
    smtp.refuse_sender(Some("550 5.4.5 Daily sending limit exceeded"));
    let doctor = run(&["doctor"], &variables, "").await;
    assert!(!doctor.success && doctor.stdout.contains("Daily sending limit"), "{}", doctor.stdout);
    server.kill().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_node_without_a_mail_server_leaves_the_mail_to_the_others() {
    let smtp = Smtp::start().await;
    let mut server = TestServer::start_with(&settings(&smtp.url())).await;
    let anna = server.customer("Anna").await;
    // From here on, only a node without a mail server plans.
    server.restart().await;
    let anna = anna.at(&server.address());
    anna.create_ticket("The site is down").await;
    let input = json!({ "categoryId": SALES, "summary": "More space", "description": "Please." });
    anna.try_create_ticket(input).await;
    let reset = "mutation { requestPasswordReset(input: { email: \"anna@example.com\" }) { userErrors { code } } }";
    server.anonymous().ok(reset, json!({})).await;
    server.quiet().await;
    assert_eq!(smtp.attempts(), 0);
    let node = server.another_node(&settings(&smtp.url())).await.unwrap();
    let mut to = smtp.received(4).await.into_iter().map(|mail| mail.to).collect::<Vec<_>>();
    to.sort();
    let anna = "anna@example.com";
    assert_eq!(to, [anna, anna, anna, "sales@example.com"]);
    node.stop().await;
    server.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn mail_is_decided_by_the_first_node_that_can_send_and_switched_by_a_verb() {
    let (server, smtp) = (TestServer::start().await, Smtp::start().await);
    let (anna, boris) = (server.customer("Anna").await, server.agent("Boris").await);
    let url = [("DATABASE_URL", server.database.url.as_str())];
    // Nobody has decided: nothing is planned for later, as before.
    let early = anna.create_ticket("Early").await;
    server.quiet().await;
    assert!(run(&["doctor"], &url, "").await.stdout.contains("mail setting: not decided"));
    let node = server.another_node(&settings(&smtp.url())).await.unwrap();
    let first = anna.create_ticket("First").await;
    until_state(&boris, &first, "SENT").await;
    assert!(run(&["mail", "disable"], &url, "").await.success);
    assert!(run(&["doctor"], &url, "").await.stdout.contains("mail setting: off"));
    let off = anna.create_ticket("Off").await;
    server.quiet().await;
    // Neither is it switched on again by a start, nor is anything sent that was queued before.
    node.stop().await;
    let queue = "INSERT INTO deliveries (id, address, ticket_id, locale, due_at, created_at)
        SELECT gen_random_uuid(), 'queued@example.com', id, 'en', created_at, created_at
        FROM tickets WHERE summary = 'Off'";
    server.database.connect().await.execute(queue, &[]).await.unwrap();
    let node = server.another_node(&settings(&smtp.url())).await.unwrap();
    anna.create_ticket("Still off").await;
    server.quiet().await;
    assert_eq!(deliveries(&boris, &off).await[0]["state"], "QUEUED");
    assert!(run(&["mail", "enable"], &url, "").await.success);
    assert!(run(&["doctor"], &url, "").await.stdout.contains("mail setting: on"));
    let on = anna.create_ticket("On again").await;
    until_state(&boris, &on, "SENT").await;
    // A sender has it in hand now. It is about no event, so it cannot be composed.
    until_state(&boris, &off, "UNBUILDABLE").await;
    let subjects = smtp.mails().into_iter().map(|mail| mail.subject).collect::<Vec<_>>();
    assert_eq!(subjects, ["[CS-100002] First", "[CS-100005] On again"]);
    assert_eq!(deliveries(&boris, &early).await, [] as [Value; 0]);
    node.stop().await;
    server.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_mail_that_no_node_sends_in_three_days_expires_and_can_be_queued_again() {
    let smtp = Smtp::start().await;
    let mut server = TestServer::start_with(&settings(&smtp.url())).await;
    let (anna, boris) = (server.customer("Anna").await, server.agent("Boris").await);
    server.restart_with(&[("admin.listen", "127.0.0.1:0".to_owned())]).await;
    let (anna, boris) = (anna.at(&server.address()), boris.at(&server.address()));
    let ticket = anna.create_ticket("The site is down").await;
    server.quiet().await;
    server.clock.advance(TimeDelta::hours(71));
    until_state(&boris, &ticket, "QUEUED").await;
    server.clock.advance(TimeDelta::hours(1));
    let expired = until_state(&boris, &ticket, "EXPIRED").await;
    assert_eq!(expired[0]["attempts"], 0, "{expired:?}");
    let counted = "ticketwire_mail_attempts_total{outcome=\"expired\"}";
    until_metric(&server, counted, |count| count == 1.0).await;
    let url = [("DATABASE_URL", server.database.url.as_str())];
    let doctor = run(&["doctor"], &url, "").await;
    assert!(doctor.stdout.contains("failed mails: expired 1 (`"), "{}", doctor.stdout);

    boris.ok(RETRY, json!({ "id": expired[0]["id"] })).await;
    let node = server.another_node(&settings(&smtp.url())).await.unwrap();
    smtp.received(1).await;
    until_state(&boris, &ticket, "SENT").await;
    node.stop().await;
    server.stop().await;
}
