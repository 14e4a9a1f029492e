//! Mail: who gets which, in what form, and what becomes of it when the mail server
//! misbehaves.

use std::time::{Duration, SystemTime};

use chrono::TimeDelta;
use serde_json::{Value, json};
use tokio::time;

use crate::harness::{
    Client, TestServer,
    client::{SALES, Ticket},
    mail::{MailDesk, settings},
    smtp::{Abilities, Mood, Smtp, Step},
};
use ticketwire::domain::{account::Role, clock::Clock as _};

const PATIENCE: Duration = Duration::from_mins(1);

/// What staff see of a ticket's mails: recipient, state, attempts, last error.
async fn deliveries(staff: &Client, ticket: &Ticket) -> Vec<Value> {
    let query = "query($number: String!) { ticket(number: $number) {
        deliveries { recipient state attempts lastError } } }";
    let data = staff.ok(query, json!({ "number": ticket.number })).await;
    data["ticket"]["deliveries"].as_array().unwrap().clone()
}

/// Waits until a ticket's mails are in some states, in order. Each look is a request
/// to a server that works on it meanwhile.
async fn until_states(staff: &Client, ticket: &Ticket, states: &[&str]) -> Vec<Value> {
    let reached = |seen: &[Value]| {
        seen.iter().map(|it| it["state"].as_str().unwrap()).eq(states.iter().copied())
    };
    until(staff, ticket, &format!("{states:?}"), reached).await
}

/// Waits until a ticket's mails are as they should be.
async fn until(
    staff: &Client,
    ticket: &Ticket,
    what: &str,
    reached: impl Fn(&[Value]) -> bool,
) -> Vec<Value> {
    let mut seen = vec![];
    let looks = async {
        while seen.is_empty() || !reached(&seen) {
            seen = deliveries(staff, ticket).await;
        }
    };
    let in_time = time::timeout(PATIENCE, looks).await.is_ok();
    assert!(in_time, "not {what} but {seen:?}");
    seen
}

#[tokio::test(flavor = "multi_thread")]
async fn a_new_ticket_is_confirmed_to_its_reporter_and_told_to_the_categorys_address() {
    let desk = MailDesk::start().await;
    desk.anna.create_ticket("The site is down").await;
    let mails = desk.smtp.received(1).await;
    assert_eq!(mails[0].to, "anna@example.com");
    assert_eq!(mails[0].subject, "[CS-100001] The site is down");
    assert!(mails[0].text.contains("It does not work."), "{}", mails[0].text);
    let input = json!({ "categoryId": SALES, "summary": "More space", "description": "Please." });
    desk.anna.try_create_ticket(input).await;
    let mut to = desk.smtp.received(3).await.into_iter().map(|mail| mail.to).collect::<Vec<_>>();
    to.sort();
    assert_eq!(to, ["anna@example.com", "anna@example.com", "sales@example.com"]);
    desk.server.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_ticket_is_one_thread_in_the_reporters_mail_program() {
    let desk = MailDesk::start().await;
    let ticket = desk.anna.create_ticket("The site is down").await;
    desk.smtp.received(1).await;
    desk.boris.comment(&ticket, "We look into it.").await;
    desk.smtp.received(2).await;
    desk.boris.update(&ticket, json!({ "status": "CLOSED" })).await;
    let mails = desk.smtp.received(3).await;
    assert_eq!(mails[1].subject, "Re: [CS-100001] The site is down");
    // The answer and the change of status that came with it are one mail.
    assert!(mails[1].text.contains("Boris wrote:\n\nWe look into it."), "{}", mails[1].text);
    assert!(mails[1].text.contains("New status: Working on it (previously: Waiting for support)"));
    assert!(mails[2].text.contains("New status: Closed"), "{}", mails[2].text);
    let ids = mails.iter().map(|mail| mail.id.clone()).collect::<Vec<_>>();
    assert!(ids.iter().all(|id| id.ends_with("@example.com")));
    assert_eq!((&mails[0].in_reply_to, mails[0].references.len()), (&None, 0));
    assert_eq!(mails[1].in_reply_to.as_ref(), Some(&ids[0]));
    assert_eq!(mails[2].in_reply_to.as_ref(), Some(&ids[1]));
    assert_eq!(mails[2].references, ids[..2]);
    desk.server.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn nobody_is_mailed_about_their_own_doing_nor_about_what_is_internal() {
    let desk = MailDesk::start().await;
    let ticket = desk.anna.create_ticket("The site is down").await;
    desk.anna.comment(&ticket, "Still down.").await;
    desk.boris.note(&ticket, "A difficult customer.").await;
    desk.boris.update(&ticket, json!({ "priority": "HIGH" })).await;
    desk.boris.comment(&ticket, "Fixed.").await;
    let mails = desk.smtp.received(2).await;
    // The answer is the second mail, so nothing was mailed in between.
    assert!(mails[1].text.contains("Fixed."), "{}", mails[1].text);
    let sent = until_states(&desk.boris, &ticket, &["SENT", "SENT"]).await;
    assert!(sent.iter().all(|it| it["recipient"] == "anna@example.com"), "{sent:?}");
    assert!(mails.iter().all(|mail| !mail.raw.contains("difficult")));
    desk.server.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn events_within_the_window_become_one_mail() {
    let desk = MailDesk::with(&[("mail.window_seconds", "30")]).await;
    let ticket = desk.anna.create_ticket("The site is down").await;
    desk.boris.comment(&ticket, "First.").await;
    desk.boris.comment(&ticket, "Second.").await;
    until_due_is_tried(&desk.server).await;
    until_states(&desk.boris, &ticket, &["QUEUED"]).await;
    desk.server.clock.advance(TimeDelta::seconds(31));
    let mails = desk.smtp.received(1).await;
    assert!(mails[0].text.contains("First.") && mails[0].text.contains("Second."));
    desk.boris.comment(&ticket, "Third.").await;
    until_states(&desk.boris, &ticket, &["SENT", "QUEUED"]).await;
    desk.server.clock.advance(TimeDelta::seconds(31));
    assert!(desk.smtp.received(2).await[1].text.contains("Third."));
    desk.server.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_mail_that_is_put_off_goes_out_later_and_in_order() {
    let desk = MailDesk::start().await;
    desk.smtp.then([Mood::Data("451 4.3.0 later")]);
    let ticket = desk.anna.create_ticket("The site is down").await;
    desk.smtp.attempted(1).await;
    desk.boris.comment(&ticket, "We look into it.").await;
    until_states(&desk.boris, &ticket, &["QUEUED", "QUEUED"]).await;
    let put_off = |seen: &[Value]| seen[0]["lastError"].is_string();
    let seen = until(&desk.boris, &ticket, "put off", put_off).await;
    let error = seen[0]["lastError"].as_str().unwrap();
    assert!(error.contains("4.3.0 later"), "{error}");
    desk.server.clock.advance(TimeDelta::minutes(2));
    let mails = desk.smtp.received(2).await;
    assert_eq!(mails[0].subject, "[CS-100001] The site is down");
    assert!(mails[1].text.contains("We look into it."));
    let seen = until_states(&desk.boris, &ticket, &["SENT", "SENT"]).await;
    assert_eq!(seen.iter().map(|it| it["attempts"].as_i64().unwrap()).collect::<Vec<_>>(), [2, 1]);
    desk.server.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_refused_for_good_is_not_tried_again_and_holds_up_nobody() {
    let desk = MailDesk::start().await;
    desk.smtp.then([Mood::Rcpt("550 5.1.1 no such user")]);
    let ticket = desk.anna.create_ticket("The site is down").await;
    let seen = until_states(&desk.boris, &ticket, &["REFUSED"]).await;
    assert!(seen[0]["lastError"].as_str().unwrap().contains("5.1.1 no such user"), "{seen:?}");
    desk.smtp.then([Mood::Data("554 5.7.1 looks like spam")]);
    desk.boris.comment(&ticket, "Buy now!").await;
    let seen = until_states(&desk.boris, &ticket, &["REFUSED", "REFUSED"]).await;
    assert!(seen[1]["lastError"].as_str().unwrap().contains("looks like spam"), "{seen:?}");
    assert!(seen.iter().all(|it| it["attempts"] == 1), "{seen:?}");
    desk.boris.comment(&ticket, "We look into it.").await;
    let mails = desk.smtp.received(1).await;
    assert!(mails[0].text.contains("We look into it.") && mails[0].in_reply_to.is_none());
    assert_eq!(
        desk.anna.ok("query { tickets { nodes { deliveries { id } } } }", json!({})).await,
        json!({ "tickets": { "nodes": [{ "deliveries": null }] } })
    );
    desk.server.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_mail_server_that_stalls_hangs_up_or_is_busy_loses_nothing() {
    let desk = MailDesk::start().await;
    // The first two find no connection in the pool, so that they are greeted.
    desk.smtp.then([
        Mood::Greet("554 5.3.2 not now"),
        Mood::Greet("421 busy"),
        Mood::Pause(Step::Mail),
        Mood::DropMidData,
    ]);
    let ticket = desk.anna.create_ticket("The site is down").await;
    desk.smtp.attempted(1).await;
    let finished = |seen: &[Value]| {
        desk.server.clock.advance(TimeDelta::seconds(1));
        !matches!(seen[0]["state"].as_str(), Some("QUEUED" | "SENDING"))
    };
    let seen = until(&desk.boris, &ticket, "finished", finished).await;
    assert_eq!(seen[0]["state"], "SENT");
    // What the greeting said was about all mails: it held them back and was no attempt.
    assert!(seen[0]["attempts"].as_i64().unwrap() >= 3, "{seen:?}");
    // The clock runs so fast here that a lease may end in mid-attempt: the same mail, then.
    let ids = desk.smtp.mails().into_iter().map(|mail| mail.id).collect::<Vec<_>>();
    assert!(!ids.is_empty() && ids.iter().all(|id| *id == ids[0]), "{ids:?}");
    desk.server.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_dead_mail_server_is_waited_for_three_days() {
    let address = Smtp::reserve().await;
    let server = TestServer::start_with(&settings(&format!("smtp://{address}"))).await;
    let (anna, boris) = (server.customer("Anna").await, server.agent("Boris").await);
    let ticket = anna.create_ticket("Never told").await;
    let wait = async |times: u32| {
        for _ in 0..times {
            until_due_is_tried(&server).await;
            server.clock.advance(TimeDelta::hours(6));
        }
        until_due_is_tried(&server).await;
    };
    wait(10).await;
    until_states(&boris, &ticket, &["QUEUED"]).await;
    wait(3).await;
    let seen = until_states(&boris, &ticket, &["GIVEN_UP"]).await;
    assert!(seen[0]["lastError"].as_str().unwrap().contains("refused"), "{seen:?}");
    server.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_day_without_a_mail_server_loses_nothing_and_ends_in_no_storm() {
    const TICKETS: usize = 20;
    const SENDERS: usize = 3;
    let address = Smtp::reserve().await;
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
        until_due_is_tried(&server).await;
        server.clock.advance(TimeDelta::hours(2));
    }
    until_due_is_tried(&server).await;
    // Not tried each of the 13 times that the clock was moved, and not all at once:
    // pauses have grown to three to six hours.
    let paces = "SELECT max(attempts)::bigint, count(DISTINCT date_trunc('minute', due_at))
        FROM deliveries WHERE state = 'queued' AND attempts > 0";
    let paces = server.database.connect().await.query_one(paces, &[]).await.unwrap();
    let (attempts, minutes) = (paces.get::<_, i64>(0), paces.get::<_, i64>(1));
    assert!(attempts <= 11 && minutes >= 10, "{attempts} attempts, in {minutes} minutes");

    // At worst all are due at once when it is back: as many come as there are senders,
    // and one after the other on the same connections.
    let smtp = Smtp::at(&address).await;
    smtp.then([Mood::Pause(Step::Mail); SENDERS]);
    server.clock.advance(TimeDelta::hours(6));
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

/// Waits until no mail is due that has not been tried.
async fn until_due_is_tried(server: &TestServer) {
    let client = server.database.connect().await;
    let tried = async {
        let planned = "SELECT (SELECT pos FROM consumer_offsets) = (SELECT pos FROM feed_head)
            AND NOT EXISTS (SELECT FROM pending_events)
            AND NOT EXISTS (SELECT FROM deliveries d WHERE state = 'sending' OR (state = 'queued' AND due_at <= $1
                AND NOT EXISTS (SELECT FROM deliveries e WHERE e.ticket_id = d.ticket_id
                    AND e.address = d.address AND e.seq < d.seq AND e.state IN ('queued', 'sending'))))";
        let now = || SystemTime::from(server.clock.now());
        while !client.query_one(planned, &[&now()]).await.unwrap().get::<_, bool>(0) {}
    };
    time::timeout(PATIENCE, tried).await.expect("mails are due and not tried");
}

#[tokio::test(flavor = "multi_thread")]
async fn two_nodes_mail_nothing_twice() {
    let desk = MailDesk::start().await;
    let second = desk.server.another_node(&settings(&desk.smtp.url())).await.unwrap();
    let anna_there = desk.anna.at(&second.address().to_string());
    let mut tickets = Vec::new();
    for n in 0..10 {
        tickets.push(desk.anna.create_ticket(&format!("Here {n}")).await);
        tickets.push(anna_there.create_ticket(&format!("There {n}")).await);
    }
    for ticket in &tickets {
        desk.boris.comment(ticket, "We look into it.").await;
    }
    for ticket in &tickets {
        until_states(&desk.boris, ticket, &["SENT"; 2]).await;
    }
    let mut ids = desk.smtp.mails().into_iter().map(|mail| mail.id).collect::<Vec<_>>();
    assert_eq!(ids.len(), 40);
    ids.sort();
    ids.dedup();
    assert_eq!(ids.len(), 40);
    second.stop().await;
    desk.server.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn priority_mail_goes_ahead_of_everything() {
    let settings =
        [("mail.window_seconds", "30"), ("mail.senders", "1"), ("mail.timeout_seconds", "60")];
    let desk = MailDesk::with(&settings).await;
    let client = desk.server.database.connect().await;
    let hurry = async |count: i64| {
        let last = "UPDATE deliveries SET priority = true
            WHERE seq IN (SELECT seq FROM deliveries ORDER BY seq DESC LIMIT $1)";
        client.execute(last, &[&count]).await.unwrap();
        desk.server.clock.advance(TimeDelta::seconds(31));
    };
    let subject = |n: usize| desk.smtp.mails()[n].subject.clone();
    // A backlog, all of it due at once; what was planned last is in a hurry.
    for n in 0..6 {
        desk.anna.create_ticket(&format!("Backlog {n}")).await;
    }
    until_due_is_tried(&desk.server).await;
    desk.smtp.then([Mood::Pause(Step::Taken); 2]);
    hurry(2).await;
    desk.smtp.paused(2).await;
    let mut first = [subject(0), subject(1)];
    first.sort();
    assert_eq!(first, ["[CS-100005] Backlog 4", "[CS-100006] Backlog 5"]);
    desk.smtp.release();
    desk.smtp.received(6).await;

    // All ordinary senders are stuck: it goes out nevertheless.
    desk.smtp.then([Mood::Pause(Step::Mail)]);
    desk.anna.create_ticket("Stuck").await;
    until_due_is_tried(&desk.server).await;
    hurry(0).await;
    desk.smtp.paused(3).await;
    desk.anna.create_ticket("In a hurry").await;
    desk.server.quiet().await;
    hurry(1).await;
    desk.smtp.received(7).await;
    assert_eq!(subject(6), "[CS-100008] In a hurry");
    desk.smtp.release();
    desk.smtp.received(8).await;
    assert_eq!(subject(7), "[CS-100007] Stuck");
    desk.server.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn priority_mail_expires_unsent() {
    let address = Smtp::reserve().await;
    let server = TestServer::start_with(&settings(&format!("smtp://{address}"))).await;
    let (anna, boris) = (server.customer("Anna").await, server.agent("Boris").await);
    let ticket = anna.create_ticket("The site is down").await;
    until_due_is_tried(&server).await;
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
async fn what_cannot_be_built_is_laid_aside() {
    let desk = MailDesk::start().await;
    let ticket = desk.anna.create_ticket("The site is down").await;
    desk.smtp.received(1).await;
    let client = desk.server.database.connect().await;
    for address in ["anna@example.com\r\nBcc: eve@example.com", "not an address", "a@exa mple"] {
        let insert = "INSERT INTO deliveries (id, address, ticket_id, locale, due_at, created_at)
            SELECT gen_random_uuid(), $1, id, 'en', created_at, created_at FROM tickets";
        client.execute(insert, &[&address]).await.unwrap();
    }
    let seen =
        until_states(&desk.boris, &ticket, &["SENT", "UNBUILDABLE", "UNBUILDABLE", "UNBUILDABLE"])
            .await;
    assert!(
        seen[1]["lastError"].as_str().unwrap().contains("the e-mail address is invalid"),
        "{seen:?}"
    );
    desk.boris.comment(&ticket, "We look into it.").await;
    assert_eq!(desk.smtp.received(2).await.len(), 2);
    desk.server.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn what_people_write_stays_text() {
    let desk = MailDesk::start().await;
    let summary = "<b>Bold</b> {{ 7 * 7 }} Bcc: eve@example.com é я 日本";
    let ticket = desk.anna.create_ticket(summary).await;
    let long = format!(
        "<script>alert(1)</script> {{% raw %}} {{{{ ticket }}}}\n.\nBcc: x\n{}",
        "ш".repeat(65_000)
    );
    desk.boris.comment(&ticket, &long).await;
    let mails = desk.smtp.received(2).await;
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
    let reply = desk.anna.try_create_ticket(refused).await;
    assert_eq!(reply.user_errors("createTicket"), ["INVALID"]);
    desk.server.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn addresses_outside_ascii_are_spelt_in_ascii_or_refused_plainly() {
    let desk = MailDesk::start().await;
    let client = desk.server.database.connect().await;
    client
        .batch_execute("UPDATE accounts SET email = 'anna@почта.рф' WHERE name = 'Anna'")
        .await
        .unwrap();
    desk.anna.create_ticket("A domain").await;
    assert_eq!(desk.smtp.received(1).await[0].to, "anna@xn--80a1acny.xn--p1ai");
    client
        .batch_execute("UPDATE accounts SET email = 'анна@example.com' WHERE name = 'Anna'")
        .await
        .unwrap();
    let ticket = desk.anna.create_ticket("A name").await;
    let seen = until_states(&desk.boris, &ticket, &["REFUSED"]).await;
    assert!(seen[0]["lastError"].as_str().unwrap().contains("SMTPUTF8"), "{seen:?}");
    desk.server.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn mail_goes_over_tls_and_auth_as_the_url_says() {
    let folder = tempfile::tempdir().unwrap();
    for (abilities, scheme, query) in [
        (Abilities { starttls: true, ..Abilities::default() }, "smtp", "?tls=required"),
        (Abilities { implicit_tls: true, ..Abilities::default() }, "smtps", ""),
    ] {
        // "\0desk\0secret", as AUTH PLAIN has it.
        let smtp = Smtp::with(Abilities { auth: Some("AGRlc2sAc2VjcmV0"), ..abilities }).await;
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
async fn without_the_tls_that_is_asked_for_nothing_is_sent() {
    // No STARTTLS offered; a certificate that nobody trusts; a wrong password.
    let plain = Smtp::start().await;
    let untrusted = Smtp::with(Abilities { implicit_tls: true, ..Abilities::default() }).await;
    let strict =
        Smtp::with(Abilities { auth: Some("AGRlc2sAc2VjcmV0"), ..Abilities::default() }).await;
    for (smtp, url, expected) in [
        (&plain, plain.named_url("smtp", "", "?tls=required"), "STARTTLS"),
        (&untrusted, untrusted.named_url("smtps", "", ""), "ertificate"),
        (&strict, strict.named_url("smtp", "desk:wrong@", ""), "535"),
    ] {
        let server = TestServer::start_with(&settings(&url)).await;
        let (anna, boris) =
            (server.sign_up("Anna", Role::Customer).await, server.agent("Boris").await);
        let ticket = anna.create_ticket("The site is down").await;
        until_due_is_tried(&server).await;
        let seen = until_states(&boris, &ticket, &["QUEUED"]).await;
        let error = seen[0]["lastError"].as_str().unwrap();
        assert!(error.contains(expected), "{url}: {error}");
        assert_eq!(smtp.mails().len(), 0);
        server.stop().await;
    }
}
