//! Mail: who receives which, in what form, and what happens if the mail server misbehaves.

use std::time::{Duration, SystemTime};

use chrono::TimeDelta;
use serde_json::{Value, json};
use tokio::time;

use crate::{
    harness::{
        Client, TestServer,
        client::{SALES, Ticket},
        mail::{MailFixture, settings},
        smtp::{Behaviour, Smtp, SmtpOptions, Step},
    },
    metrics::until_metric,
};
use ticketwire::domain::{account::Role, clock::Clock as _};

const TIMEOUT: Duration = Duration::from_mins(1);

/// A ticket's deliveries as staff see them: recipient, state, attempts and last error.
async fn deliveries(staff: &Client, ticket: &Ticket) -> Vec<Value> {
    let query = "query($number: String!) { ticket(number: $number) {
        deliveries { recipient state attempts lastError } } }";
    let data = staff.ok(query, json!({ "number": ticket.number })).await;
    data["ticket"]["deliveries"].as_array().unwrap().clone()
}

/// Waits until a ticket's mails are in these states, in order.
async fn until_states(staff: &Client, ticket: &Ticket, states: &[&str]) -> Vec<Value> {
    let reached = |seen: &[Value]| {
        seen.iter().map(|it| it["state"].as_str().unwrap()).eq(states.iter().copied())
    };
    until(staff, ticket, &format!("{states:?}"), reached).await
}

/// Waits until a ticket's mails meet a condition.
async fn until(
    staff: &Client,
    ticket: &Ticket,
    what: &str,
    reached: impl Fn(&[Value]) -> bool,
) -> Vec<Value> {
    let mut seen = vec![];
    let reaching = async {
        while seen.is_empty() || !reached(&seen) {
            seen = deliveries(staff, ticket).await;
        }
    };
    let in_time = time::timeout(TIMEOUT, reaching).await.is_ok();
    assert!(in_time, "not {what} but {seen:?}");
    seen
}

#[tokio::test(flavor = "multi_thread")]
async fn a_new_ticket_is_mailed_to_its_customer_and_to_the_staff_address_of_its_category() {
    let fixture = MailFixture::start().await;
    fixture.anna.create_ticket("The site is down").await;
    let mails = fixture.smtp.received(1).await;
    assert_eq!(mails[0].to, "anna@example.com");
    assert_eq!(mails[0].subject, "[CS-100001] The site is down");
    assert!(mails[0].text.contains("It does not work."), "{}", mails[0].text);
    let input = json!({ "categoryId": SALES, "summary": "More space", "description": "Please." });
    fixture.anna.try_create_ticket(input).await;
    let mut to = fixture.smtp.received(3).await.into_iter().map(|mail| mail.to).collect::<Vec<_>>();
    to.sort();
    assert_eq!(to, ["anna@example.com", "anna@example.com", "sales@example.com"]);
    fixture.server.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn the_mails_about_a_ticket_form_one_thread() {
    let fixture = MailFixture::start().await;
    let ticket = fixture.anna.create_ticket("The site is down").await;
    fixture.smtp.received(1).await;
    fixture.boris.comment(&ticket, "We look into it.").await;
    fixture.smtp.received(2).await;
    fixture.boris.update(&ticket, json!({ "status": "CLOSED" })).await;
    let mails = fixture.smtp.received(3).await;
    assert_eq!(mails[1].subject, "Re: [CS-100001] The site is down");
    // The comment and the change of status that came with it are one mail.
    assert!(mails[1].text.contains("Boris wrote:\n\nWe look into it."), "{}", mails[1].text);
    assert!(mails[1].text.contains("New status: Working on it (previously: Waiting for support)"));
    assert!(mails[2].text.contains("New status: Closed"), "{}", mails[2].text);
    let ids = mails.iter().map(|mail| mail.id.clone()).collect::<Vec<_>>();
    assert!(ids.iter().all(|id| id.ends_with("@example.com")));
    assert_eq!((&mails[0].in_reply_to, mails[0].references.len()), (&None, 0));
    assert_eq!(mails[1].in_reply_to.as_ref(), Some(&ids[0]));
    assert_eq!(mails[2].in_reply_to.as_ref(), Some(&ids[1]));
    assert_eq!(mails[2].references, ids[..2]);
    fixture.server.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_customer_is_not_mailed_about_their_own_actions_or_internal_notes() {
    let fixture = MailFixture::start().await;
    let ticket = fixture.anna.create_ticket("The site is down").await;
    fixture.anna.comment(&ticket, "Still down.").await;
    fixture.boris.note(&ticket, "A difficult customer.").await;
    fixture.boris.update(&ticket, json!({ "priority": "HIGH" })).await;
    fixture.boris.comment(&ticket, "Fixed.").await;
    let mails = fixture.smtp.received(2).await;
    // The comment is the second mail, so none was sent in between.
    assert!(mails[1].text.contains("Fixed."), "{}", mails[1].text);
    let sent = until_states(&fixture.boris, &ticket, &["SENT", "SENT"]).await;
    assert!(sent.iter().all(|it| it["recipient"] == "anna@example.com"), "{sent:?}");
    assert!(mails.iter().all(|mail| !mail.raw.contains("difficult")));
    fixture.server.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn events_within_the_window_become_one_mail() {
    let fixture = MailFixture::start_with(&[("mail.window_seconds", "30")]).await;
    let ticket = fixture.anna.create_ticket("The site is down").await;
    fixture.boris.comment(&ticket, "First.").await;
    fixture.boris.comment(&ticket, "Second.").await;
    until_due_mails_are_tried(&fixture.server).await;
    until_states(&fixture.boris, &ticket, &["QUEUED"]).await;
    fixture.server.clock.advance(TimeDelta::seconds(31));
    let mails = fixture.smtp.received(1).await;
    assert!(mails[0].text.contains("First.") && mails[0].text.contains("Second."));
    fixture.boris.comment(&ticket, "Third.").await;
    until_states(&fixture.boris, &ticket, &["SENT", "QUEUED"]).await;
    fixture.server.clock.advance(TimeDelta::seconds(31));
    assert!(fixture.smtp.received(2).await[1].text.contains("Third."));
    fixture.server.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_mail_reports_only_so_much_that_mail_servers_accept_it() {
    let fixture = MailFixture::start_with(&[("mail.window_seconds", "30")]).await;
    let ticket = fixture.anna.create_ticket("The site is down").await;
    for letter in ["a", "b", "c"] {
        fixture.boris.comment(&ticket, &letter.repeat(65_536)).await;
    }
    fixture.boris.comment(&ticket, "Short.").await;
    fixture.server.quiet().await;
    until_states(&fixture.boris, &ticket, &["QUEUED", "QUEUED"]).await;
    fixture.server.clock.advance(TimeDelta::seconds(31));
    let mails = fixture.smtp.received(2).await;
    assert!(mails[0].text.contains("bbb") && !mails[0].text.contains("ccc"));
    assert!(mails[1].text.contains("ccc") && mails[1].text.contains("Short."));
    fixture.server.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_server_that_takes_one_mail_on_a_connection_holds_none_back() {
    for command in ["MAIL", "RCPT", "DATA"] {
        let options = SmtpOptions { one_per_connection: Some(command), ..SmtpOptions::default() };
        let smtp = Smtp::start_with(options).await;
        let server = TestServer::start_with(&settings(&smtp.url())).await;
        let anna = server.sign_up("Anna", Role::Customer).await;
        for expected in 1..=3 {
            anna.create_ticket("The site is down").await;
            smtp.received(expected).await;
        }
        server.stop().await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_temporarily_refused_mail_is_retried_before_later_ones() {
    let fixture = MailFixture::start().await;
    fixture.smtp.script([Behaviour::Data("451 4.3.0 later")]);
    let ticket = fixture.anna.create_ticket("The site is down").await;
    fixture.smtp.attempted(1).await;
    fixture.boris.comment(&ticket, "We look into it.").await;
    until_states(&fixture.boris, &ticket, &["QUEUED", "QUEUED"]).await;
    let has_failed = |seen: &[Value]| seen[0]["lastError"].is_string();
    let seen = until(&fixture.boris, &ticket, "a failed attempt", has_failed).await;
    let error = seen[0]["lastError"].as_str().unwrap();
    assert!(error.contains("4.3.0 later"), "{error}");
    fixture.server.clock.advance(TimeDelta::minutes(2));
    let mails = fixture.smtp.received(2).await;
    assert_eq!(mails[0].subject, "[CS-100001] The site is down");
    assert!(mails[1].text.contains("We look into it."));
    let seen = until_states(&fixture.boris, &ticket, &["SENT", "SENT"]).await;
    assert_eq!(seen.iter().map(|it| it["attempts"].as_i64().unwrap()).collect::<Vec<_>>(), [2, 1]);
    fixture.server.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_permanently_refused_mail_is_not_retried_and_delays_no_others() {
    let fixture = MailFixture::start().await;
    fixture.smtp.script([Behaviour::Rcpt("550 5.1.1 no such user")]);
    let ticket = fixture.anna.create_ticket("The site is down").await;
    let seen = until_states(&fixture.boris, &ticket, &["REFUSED"]).await;
    assert!(seen[0]["lastError"].as_str().unwrap().contains("5.1.1 no such user"), "{seen:?}");
    fixture.smtp.script([Behaviour::Data("554 5.7.1 looks like spam")]);
    fixture.boris.comment(&ticket, "Buy now!").await;
    let seen = until_states(&fixture.boris, &ticket, &["REFUSED", "REFUSED"]).await;
    assert!(seen[1]["lastError"].as_str().unwrap().contains("looks like spam"), "{seen:?}");
    assert!(seen.iter().all(|it| it["attempts"] == 1), "{seen:?}");
    fixture.boris.comment(&ticket, "We look into it.").await;
    let mails = fixture.smtp.received(1).await;
    assert!(mails[0].text.contains("We look into it.") && mails[0].in_reply_to.is_none());
    assert_eq!(
        fixture.anna.ok("query { tickets { nodes { deliveries { id } } } }", json!({})).await,
        json!({ "tickets": { "nodes": [{ "deliveries": null }] } })
    );
    fixture.server.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_mail_is_delivered_although_the_mail_server_is_busy_stalls_or_hangs_up() {
    let fixture = MailFixture::start_with(&[("mail.timeout_seconds", "1")]).await;
    // The first two attempts open new connections, so they reach the greeting.
    fixture.smtp.script([
        Behaviour::Greet("554 5.3.2 not now"),
        Behaviour::Greet("421 busy"),
        Behaviour::Pause(Step::Mail),
        Behaviour::DropMidData,
    ]);
    let ticket = fixture.anna.create_ticket("The site is down").await;
    fixture.smtp.attempted(1).await;
    let finished = |seen: &[Value]| {
        fixture.server.clock.advance(TimeDelta::seconds(1));
        !matches!(seen[0]["state"].as_str(), Some("QUEUED" | "SENDING"))
    };
    let seen = until(&fixture.boris, &ticket, "finished", finished).await;
    assert_eq!(seen[0]["state"], "SENT");
    // What the server says in its greeting concerns all mails: it holds them back and is no attempt.
    assert!(seen[0]["attempts"].as_i64().unwrap() >= 3, "{seen:?}");
    // The clock moves so fast here that a lease may expire during an attempt. Then the same mail is
    // sent again.
    let ids = fixture.smtp.mails().into_iter().map(|mail| mail.id).collect::<Vec<_>>();
    assert!(!ids.is_empty() && ids.iter().all(|id| *id == ids[0]), "{ids:?}");
    fixture.server.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_mail_is_given_up_after_three_days_without_a_mail_server() {
    let address = Smtp::reserve();
    let server = TestServer::start_with(&settings(&format!("smtp://{address}"))).await;
    let (anna, boris) = (server.customer("Anna").await, server.agent("Boris").await);
    let ticket = anna.create_ticket("Never told").await;
    let wait = async |times: u32| {
        for _ in 0..times {
            until_due_mails_are_tried(&server).await;
            server.clock.advance(TimeDelta::hours(6));
        }
        until_due_mails_are_tried(&server).await;
    };
    wait(10).await;
    until_states(&boris, &ticket, &["QUEUED"]).await;
    wait(3).await;
    let seen = until_states(&boris, &ticket, &["GIVEN_UP"]).await;
    assert!(seen[0]["lastError"].as_str().unwrap().contains("refused"), "{seen:?}");
    server.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn after_a_day_without_a_mail_server_all_mails_are_sent_at_once_over_few_connections() {
    const TICKETS: usize = 20;
    const SENDERS: usize = 3;
    let address = Smtp::reserve();
    let mut flags = settings(&format!("smtp://{address}"));
    flags.extend([("mail.senders", SENDERS.to_string()), ("mail.timeout_seconds", "60".into())]);
    let server = TestServer::start_with(&flags).await;
    let (anna, boris) = (server.customer("Anna").await, server.agent("Boris").await);
    let mut tickets = Vec::new();
    for n in 0..TICKETS {
        let ticket = anna.create_ticket(&format!("Down {n}")).await;
        boris.comment(&ticket, "First.").await;
        boris.comment(&ticket, "Second.").await;
        tickets.push(ticket);
    }
    for _ in 0..12 {
        until_held(&server).await;
        server.clock.advance(TimeDelta::hours(2));
    }
    until_held(&server).await;
    // No attempt counts, so none has to wait when the mail server is back: each sender opens one
    // connection and reuses it.
    let soon = SystemTime::from(server.clock.now() + TimeDelta::minutes(1));
    let query = "SELECT max(attempts) = 0 AND max(due_at) <= $1 FROM deliveries
        WHERE state = 'queued'";
    let row = server.database.connect().await.query_one(query, &[&soon]).await.unwrap();
    assert!(row.get::<_, bool>(0));
    let smtp = Smtp::start_at(address);
    smtp.script([Behaviour::Pause(Step::Mail); SENDERS]);
    server.clock.advance(TimeDelta::minutes(1));
    smtp.paused(SENDERS).await;
    smtp.release();
    let mails = smtp.received(3 * TICKETS).await;
    assert_eq!((smtp.connections(), smtp.most_connections()), (SENDERS, SENDERS));
    for ticket in &tickets {
        until_states(&boris, ticket, &["SENT"; 3]).await;
        let of_ticket = mails.iter().filter(|mail| mail.subject.contains(&ticket.number));
        let texts = of_ticket.map(|mail| mail.text.as_str()).collect::<Vec<_>>();
        let expected = ["You wrote:", "First.", "Second."];
        let in_order = texts.iter().zip(expected).all(|(text, part)| text.contains(part));
        assert!(texts.len() == 3 && in_order, "{texts:?}");
    }
    server.stop().await;
}

/// Waits until every due mail has been tried.
async fn until_due_mails_are_tried(server: &TestServer) {
    let client = server.database.connect().await;
    let tried = async {
        let planned = "SELECT (SELECT min(pos) FROM consumer_offsets) = (SELECT pos FROM feed_head)
            AND NOT EXISTS (SELECT FROM pending_events)
            AND NOT EXISTS (SELECT FROM deliveries d WHERE state = 'sending' OR (state = 'queued' AND due_at <= $1
                AND NOT EXISTS (SELECT FROM deliveries e WHERE e.ticket_id = d.ticket_id
                    AND e.address = d.address AND e.seq < d.seq AND e.state IN ('queued', 'sending'))))";
        let now = || SystemTime::from(server.clock.now());
        while !client.query_one(planned, &[&now()]).await.unwrap().get::<_, bool>(0) {}
    };
    time::timeout(TIMEOUT, tried).await.expect("every due mail to be tried");
}

/// Waits until a mail was tried in vain since the clock was moved, so that the others wait.
async fn until_held(server: &TestServer) {
    let client = server.database.connect().await;
    let held = "SELECT EXISTS (SELECT FROM deliveries
            WHERE state = 'queued' AND due_at > $1 AND last_error IS NOT NULL)
        AND NOT EXISTS (SELECT FROM deliveries WHERE state = 'sending')";
    let now = SystemTime::from(server.clock.now());
    let waiting =
        async { while !client.query_one(held, &[&now]).await.unwrap().get::<_, bool>(0) {} };
    time::timeout(TIMEOUT, waiting).await.expect("a mail to be tried");
}

#[tokio::test(flavor = "multi_thread")]
async fn two_nodes_send_no_mail_twice() {
    let fixture = MailFixture::start().await;
    let second = fixture.server.another_node(&settings(&fixture.smtp.url())).await.unwrap();
    let anna_there = fixture.anna.at(&second.address().to_string());
    let mut tickets = Vec::new();
    for n in 0..10 {
        tickets.push(fixture.anna.create_ticket(&format!("Here {n}")).await);
        tickets.push(anna_there.create_ticket(&format!("There {n}")).await);
    }
    for ticket in &tickets {
        fixture.boris.comment(ticket, "We look into it.").await;
    }
    for ticket in &tickets {
        until_states(&fixture.boris, ticket, &["SENT"; 2]).await;
    }
    let mut ids = fixture.smtp.mails().into_iter().map(|mail| mail.id).collect::<Vec<_>>();
    assert_eq!(ids.len(), 40);
    ids.sort();
    ids.dedup();
    assert_eq!(ids.len(), 40);
    second.stop().await;
    fixture.server.stop().await;
}

/// A filter may run while the server has the mail.
#[tokio::test(flavor = "multi_thread")]
async fn a_mail_is_sent_once_if_the_server_takes_its_time_with_the_verdict() {
    let fixture = MailFixture::start().await;
    let client = fixture.server.database.connect().await;
    fixture.smtp.script([Behaviour::Pause(Step::Accepted)]);
    let ticket = fixture.anna.create_ticket("The site is down").await;
    fixture.smtp.paused(1).await;
    let due = async || {
        let claim =
            "SELECT extract(epoch FROM due_at)::float8 FROM deliveries WHERE state = 'sending'";
        client.query_one(claim, &[]).await.unwrap().get::<_, f64>(0)
    };
    for _ in 0..4 {
        let before = due().await;
        // The claim lasts three seconds.
        fixture.server.clock.advance(TimeDelta::seconds(2));
        while due().await <= before {}
    }
    fixture.smtp.release();
    until_states(&fixture.boris, &ticket, &["SENT"]).await;
    assert_eq!(fixture.smtp.mails().len(), 1);
    fixture.server.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_mail_is_sent_once_if_the_database_is_away_for_longer_than_its_claim() {
    let fixture = MailFixture::start_with(&[("admin.listen", "127.0.0.1:0")]).await;
    let server = &fixture.server;
    fixture.smtp.script([Behaviour::Pause(Step::Accepted)]);
    let ticket = fixture.anna.create_ticket("The site is down").await;
    fixture.smtp.paused(1).await;
    server.database.close().await;
    fixture.smtp.release();
    until_metric(server, "ticketwire_mails_unrecorded", |count| count == 1.0).await;
    // The claim lasts three seconds.
    server.clock.advance(TimeDelta::seconds(10));
    server.database.open().await;
    until_states(&fixture.boris, &ticket, &["SENT"]).await;
    assert_eq!(fixture.smtp.mails().len(), 1);
    fixture.server.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn priority_mail_is_sent_ahead_of_everything_else() {
    let settings =
        [("mail.window_seconds", "30"), ("mail.senders", "1"), ("mail.timeout_seconds", "60")];
    let fixture = MailFixture::start_with(&settings).await;
    let client = fixture.server.database.connect().await;
    let prioritise_last = async |count: i64| {
        let last = "UPDATE deliveries SET priority = true
            WHERE seq IN (SELECT seq FROM deliveries ORDER BY seq DESC LIMIT $1)";
        client.execute(last, &[&count]).await.unwrap();
        fixture.server.clock.advance(TimeDelta::seconds(31));
    };
    let subject = |n: usize| fixture.smtp.mails()[n].subject.clone();
    // A backlog that is due at once; the mails planned last have priority.
    for n in 0..6 {
        fixture.anna.create_ticket(&format!("Backlog {n}")).await;
    }
    until_due_mails_are_tried(&fixture.server).await;
    fixture.smtp.script([Behaviour::Pause(Step::Accepted); 2]);
    prioritise_last(2).await;
    fixture.smtp.paused(2).await;
    let mut first = [subject(0), subject(1)];
    first.sort();
    assert_eq!(first, ["[CS-100005] Backlog 4", "[CS-100006] Backlog 5"]);
    fixture.smtp.release();
    fixture.smtp.received(6).await;

    // All ordinary senders are blocked: priority mail is sent nevertheless.
    fixture.smtp.script([Behaviour::Pause(Step::Mail)]);
    fixture.anna.create_ticket("Stuck").await;
    until_due_mails_are_tried(&fixture.server).await;
    prioritise_last(0).await;
    fixture.smtp.paused(3).await;
    fixture.anna.create_ticket("In a hurry").await;
    fixture.server.quiet().await;
    prioritise_last(1).await;
    fixture.smtp.received(7).await;
    assert_eq!(subject(6), "[CS-100008] In a hurry");
    fixture.smtp.release();
    fixture.smtp.received(8).await;
    assert_eq!(subject(7), "[CS-100007] Stuck");
    fixture.server.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn priority_mail_that_waits_for_another_attempt_does_not_delay_other_mail() {
    let settings =
        [("mail.window_seconds", "30"), ("mail.senders", "1"), ("mail.timeout_seconds", "60")];
    let fixture = MailFixture::start_with(&settings).await;
    let client = fixture.server.database.connect().await;
    for n in 0..6 {
        fixture.anna.create_ticket(&format!("Backlog {n}")).await;
    }
    until_due_mails_are_tried(&fixture.server).await;
    // All but the first are priority mail: the second of them a notice that is of use for days, the
    // others codes that have failed before.
    let notices =
        "UPDATE deliveries SET priority = true, attempts = CASE WHEN seq = 2 THEN 0 ELSE 1 END,
        expires_at = CASE WHEN seq = 2 THEN created_at + interval '72 hours' END WHERE seq > 1";
    client.batch_execute(notices).await.unwrap();
    fixture.smtp.script([Behaviour::Pause(Step::Accepted); 2]);
    fixture.server.clock.advance(TimeDelta::seconds(31));
    fixture.smtp.paused(2).await;
    let mut first = [0, 1].map(|n| fixture.smtp.mails()[n].subject.clone());
    first.sort();
    assert_eq!(first, ["[CS-100001] Backlog 0", "[CS-100002] Backlog 1"]);
    fixture.smtp.release();
    fixture.smtp.received(6).await;
    fixture.server.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_mail_whose_composition_loses_the_database_is_sent_in_the_same_attempt() {
    let settings = [("mail.timeout_seconds", "60"), ("mail.window_seconds", "30")];
    let desk = MailFixture::start_with(&settings).await;
    let (database, holder) =
        (desk.server.database.connect().await, desk.server.database.connect().await);
    let ticket = desk.anna.create_ticket("The site is down").await;
    desk.server.quiet().await;
    holder.batch_execute("BEGIN; LOCK TABLE mail_unsubscriptions").await.unwrap();
    desk.server.clock.advance(TimeDelta::seconds(31));
    let cut = "SELECT count(pg_terminate_backend(pid, 5000)) FROM pg_stat_activity
        WHERE datname = current_database() AND wait_event_type = 'Lock' AND pid <> pg_backend_pid()";
    while database.query_one(cut, &[]).await.unwrap().get::<_, i64>(0) == 0 {}
    holder.batch_execute("COMMIT").await.unwrap();
    desk.smtp.received(1).await;
    let seen = until_states(&desk.boris, &ticket, &["SENT"]).await;
    assert_eq!(seen[0]["attempts"], 1);
    desk.server.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn expired_priority_mail_is_not_sent() {
    let address = Smtp::reserve();
    let server = TestServer::start_with(&settings(&format!("smtp://{address}"))).await;
    let (anna, boris) = (server.customer("Anna").await, server.agent("Boris").await);
    let ticket = anna.create_ticket("The site is down").await;
    until_due_mails_are_tried(&server).await;
    let client = server.database.connect().await;
    client
        .batch_execute(
            "INSERT INTO deliveries (id, address, ticket_id, locale, priority, due_at, created_at, expires_at)
             SELECT gen_random_uuid(), 'code@example.com', id, 'en', true, created_at, created_at,
                    created_at + interval '2 minutes' FROM tickets",
        )
        .await
        .unwrap();
    server.clock.advance(TimeDelta::minutes(3));
    let seen = until_states(&boris, &ticket, &["QUEUED", "EXPIRED"]).await;
    assert_eq!(seen[1]["recipient"], "code@example.com");
    server.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_mail_that_cannot_be_built_is_set_aside_and_delays_no_others() {
    let fixture = MailFixture::start().await;
    let ticket = fixture.anna.create_ticket("The site is down").await;
    fixture.smtp.received(1).await;
    let client = fixture.server.database.connect().await;
    for address in ["anna@example.com\r\nBcc: eve@example.com", "not an address", "a@exa mple"] {
        let insert = "WITH mail AS (
                INSERT INTO deliveries (id, address, ticket_id, locale, due_at, created_at)
                SELECT gen_random_uuid(), $1, id, 'en', created_at, created_at FROM tickets
                RETURNING id)
            INSERT INTO delivery_events (event_id, address, delivery_id, kind)
            SELECT e.id, $1, mail.id, 'ticket_created' FROM mail, events e
            WHERE e.kind = 'ticket_created'";
        client.execute(insert, &[&address]).await.unwrap();
    }
    let seen = until_states(
        &fixture.boris,
        &ticket,
        &["SENT", "UNBUILDABLE", "UNBUILDABLE", "UNBUILDABLE"],
    )
    .await;
    assert!(
        seen[1]["lastError"].as_str().unwrap().contains("the e-mail address is invalid"),
        "{seen:?}"
    );
    fixture.boris.comment(&ticket, "We look into it.").await;
    assert_eq!(fixture.smtp.received(2).await.len(), 2);
    fixture.server.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn text_that_people_write_cannot_inject_headers_html_or_templates() {
    let fixture = MailFixture::start().await;
    let summary = "<b>Bold</b> {{ 7 * 7 }} Bcc: eve@example.com é я 日本";
    let ticket = fixture.anna.create_ticket(summary).await;
    let long = format!(
        "<script>alert(1)</script> {{% raw %}} {{{{ ticket }}}}\n.\nBcc: x\n{}",
        "ш".repeat(65_000)
    );
    fixture.boris.comment(&ticket, &long).await;
    let mails = fixture.smtp.received(2).await;
    assert_eq!(mails[0].subject, format!("[CS-100001] {summary}"));
    assert!(
        mails[0].html.contains("&lt;b&gt;Bold&lt;&#x2f;b&gt; {{ 7 * 7 }}"),
        "{}",
        mails[0].html
    );
    assert!(!mails[1].html.contains("<script") && mails[1].html.contains("{{ ticket }}"));
    assert!(mails[1].text.contains(long.trim_end()), "the whole comment, as it is");
    for mail in &mails {
        let head = mail.raw.split("\r\n\r\n").next().unwrap();
        assert!(!head.lines().any(|line| line.to_lowercase().starts_with("bcc")), "{head}");
        assert!(mail.raw.lines().all(|line| line.len() <= 998));
        assert!(head.is_ascii() && head.contains("Auto-Submitted: auto-generated"));
    }
    let refused =
        json!({ "categoryId": SALES, "summary": "a\r\nBcc: eve@example.com", "description": "x" });
    let reply = fixture.anna.try_create_ticket(refused).await;
    assert_eq!(reply.user_errors("createTicket"), ["INVALID"]);
    fixture.server.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_non_ascii_domain_is_encoded_and_a_non_ascii_local_part_is_refused() {
    let fixture = MailFixture::start().await;
    let client = fixture.server.database.connect().await;
    client
        .batch_execute("UPDATE accounts SET email = 'anna@почта.рф' WHERE name = 'Anna'")
        .await
        .unwrap();
    fixture.anna.create_ticket("A domain").await;
    assert_eq!(fixture.smtp.received(1).await[0].to, "anna@xn--80a1acny.xn--p1ai");
    client
        .batch_execute("UPDATE accounts SET email = 'анна@example.com' WHERE name = 'Anna'")
        .await
        .unwrap();
    let ticket = fixture.anna.create_ticket("A name").await;
    let seen = until_states(&fixture.boris, &ticket, &["REFUSED"]).await;
    assert!(seen[0]["lastError"].as_str().unwrap().contains("SMTPUTF8"), "{seen:?}");
    fixture.server.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn mail_is_sent_with_the_tls_and_credentials_of_the_url() {
    let folder = tempfile::tempdir().unwrap();
    for (options, scheme, query) in [
        (SmtpOptions { starttls: true, ..SmtpOptions::default() }, "smtp", "?tls=required"),
        (SmtpOptions { implicit_tls: true, ..SmtpOptions::default() }, "smtps", ""),
    ] {
        // The base64 of "\0desk\0secret", as AUTH PLAIN sends it.
        let smtp =
            Smtp::start_with(SmtpOptions { auth: Some("AGRlc2sAc2VjcmV0"), ..options }).await;
        let certificate = folder.path().join("ca.pem");
        std::fs::write(&certificate, &smtp.certificate).unwrap();
        let mut flags = settings(&smtp.named_url(scheme, "desk:secret@", query));
        flags.push(("mail.ca_file", certificate.display().to_string()));
        let server = TestServer::start_with(&flags).await;
        server.customer("Anna").await.create_ticket("The site is down").await;
        assert!(smtp.received(1).await[0].tls, "{scheme}");
        server.stop().await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn no_mail_is_sent_without_the_required_tls_or_with_wrong_credentials() {
    // No STARTTLS, a certificate that nobody trusts, a wrong password.
    let plain = Smtp::start().await;
    let untrusted =
        Smtp::start_with(SmtpOptions { implicit_tls: true, ..SmtpOptions::default() }).await;
    let strict =
        Smtp::start_with(SmtpOptions { auth: Some("AGRlc2sAc2VjcmV0"), ..SmtpOptions::default() })
            .await;
    for (smtp, url, expected) in [
        (&plain, plain.named_url("smtp", "", "?tls=required"), "STARTTLS"),
        (&untrusted, untrusted.named_url("smtps", "", ""), "ertificate"),
        (&strict, strict.named_url("smtp", "desk:wrong@", ""), "535"),
    ] {
        let server = TestServer::start_with(&settings(&url)).await;
        let (anna, boris) =
            (server.sign_up("Anna", Role::Customer).await, server.agent("Boris").await);
        let ticket = anna.create_ticket("The site is down").await;
        until_due_mails_are_tried(&server).await;
        let seen = until_states(&boris, &ticket, &["QUEUED"]).await;
        let error = seen[0]["lastError"].as_str().unwrap();
        assert!(error.contains(expected), "{url}: {error}");
        assert_eq!(smtp.mails().len(), 0);
        server.stop().await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn an_assignee_is_mailed_the_request() {
    let fixture = MailFixture::start().await;
    let vera = fixture.server.agent("Vera").await;
    let boris = fixture.boris.account_id().await;
    let ticket = fixture.anna.create_ticket("The site is down").await;
    vera.update(&ticket, json!({ "assigneeId": boris })).await;
    let mail = fixture.smtp.nth(1, "Vera assigned this ticket to you").await;
    assert_eq!(mail.to, "boris@example.com");
    assert_eq!(mail.subject, "[CS-100001] The site is down");
    assert!(mail.text.contains("It does not work.") && mail.html.contains("It does not work."));
    // Nobody is mailed of what they did themselves, or of losing a ticket.
    vera.update(&ticket, json!({ "assigneeId": vera.account_id().await })).await;
    vera.comment(&ticket, "We look into it.").await;
    fixture.smtp.nth(1, "We look into it.").await;
    fixture.server.quiet().await;
    let to = fixture.smtp.mails().into_iter().map(|mail| mail.to).collect::<Vec<_>>();
    assert_eq!(
        to.iter().filter(|to| *to != "anna@example.com").collect::<Vec<_>>(),
        ["boris@example.com"]
    );
    fixture.server.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn an_assignment_that_is_over_is_not_mailed() {
    let fixture = MailFixture::start_with(&[("mail.window_seconds", "30")]).await;
    let (server, smtp) = (&fixture.server, &fixture.smtp);
    let (vera, ilya) = (server.agent("Vera").await, server.agent("Ilya").await);
    let (boris, ilyas) = (fixture.boris.account_id().await, ilya.account_id().await);
    let ticket = fixture.anna.create_ticket("The site is down").await;
    let assign = async |account: &str| {
        vera.update(&ticket, json!({ "assigneeId": account })).await;
        server.quiet().await;
    };
    for account in [&boris, &ilyas, &boris, &ilyas] {
        assign(account).await;
    }
    server.clock.advance(TimeDelta::seconds(31));
    let mail = smtp.nth(1, "assigned this ticket to you").await;
    assert_eq!(mail.to, "ilya@example.com");
    assert_eq!(mail.text.matches("assigned this ticket to you").count(), 1, "{}", mail.text);
    // Sent after Boris' mail, if there were one.
    assign(&boris).await;
    server.clock.advance(TimeDelta::seconds(31));
    let mail = smtp.nth(2, "assigned this ticket to you").await;
    assert_eq!(mail.to, "boris@example.com");
    assert_eq!(mail.text.matches("assigned this ticket to you").count(), 1, "{}", mail.text);
    fixture.server.stop().await;
}
