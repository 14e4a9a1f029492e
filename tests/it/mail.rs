//! Mail: who gets which, in what form, and what becomes of it when the mail server
//! misbehaves.

use chrono::TimeDelta;
use serde_json::{Value, json};

use crate::harness::{
    Client, TestServer,
    client::{SALES, Ticket},
    mail::{MailDesk, settings},
    smtp::{Abilities, Mood, Smtp},
};
use ticketwire::domain::account::Role;

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
    let mut seen = vec![];
    for _ in 0..2_000 {
        seen = deliveries(staff, ticket).await;
        if seen.iter().map(|it| it["state"].as_str().unwrap()).eq(states.iter().copied()) {
            return seen;
        }
    }
    panic!("not {states:?} but {seen:?}");
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
    assert!(mails[1].text.contains("New status: Working on it (before: Waiting for support)"));
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
    let seen = until_states(&desk.boris, &ticket, &["QUEUED", "QUEUED"]).await;
    let mut error = seen[0]["lastError"].as_str().unwrap_or_default().to_owned();
    while error.is_empty() {
        let seen = deliveries(&desk.boris, &ticket).await;
        error = seen[0]["lastError"].as_str().unwrap_or_default().to_owned();
    }
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
async fn a_refused_recipient_is_not_tried_again_and_holds_up_nobody() {
    let desk = MailDesk::start().await;
    desk.smtp.then([Mood::Rcpt("550 5.1.1 no such user")]);
    let ticket = desk.anna.create_ticket("The site is down").await;
    let seen = until_states(&desk.boris, &ticket, &["REFUSED"]).await;
    assert!(seen[0]["lastError"].as_str().unwrap().contains("5.1.1 no such user"), "{seen:?}");
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
        Mood::Stall,
        Mood::DropMidData,
    ]);
    let ticket = desk.anna.create_ticket("The site is down").await;
    desk.smtp.attempted(1).await;
    for _ in 0..20_000 {
        if deliveries(&desk.boris, &ticket).await[0]["state"] == "SENT" {
            break;
        }
        desk.server.clock.advance(TimeDelta::seconds(1));
    }
    let seen = deliveries(&desk.boris, &ticket).await;
    assert!(seen[0]["attempts"].as_i64().unwrap() >= 5, "{seen:?}");
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
    let ticket = anna.create_ticket("The site is down").await;
    boris.comment(&ticket, "First.").await;
    boris.comment(&ticket, "Second.").await;
    let other = anna.create_ticket("Another").await;
    // A day goes by, hour by hour.
    for _ in 0..24 {
        until_due_is_tried(&server).await;
        server.clock.advance(TimeDelta::hours(1));
    }
    let smtp = Smtp::at(&address).await;
    server.clock.advance(TimeDelta::hours(6));
    let mails = smtp.received(4).await;
    until_states(&boris, &ticket, &["SENT", "SENT", "SENT"]).await;
    until_states(&boris, &other, &["SENT"]).await;
    let of_ticket = mails.iter().filter(|mail| mail.subject.contains(&ticket.number));
    let texts = of_ticket.map(|mail| mail.text.as_str()).collect::<Vec<_>>();
    assert!(
        texts[0].contains("You wrote:")
            && texts[1].contains("First.")
            && texts[2].contains("Second.")
    );
    drop(smtp);

    let given_up = anna.create_ticket("Never told").await;
    for _ in 0..16 {
        until_due_is_tried(&server).await;
        server.clock.advance(TimeDelta::hours(6));
    }
    let seen = until_states(&boris, &given_up, &["GIVEN_UP"]).await;
    assert!(seen[0]["lastError"].as_str().unwrap().contains("refused"), "{seen:?}");
    server.stop().await;
}

/// Waits until no mail is due that has not been tried.
async fn until_due_is_tried(server: &TestServer) {
    let client = server.database.connect().await;
    for _ in 0..20_000 {
        let planned = "SELECT (SELECT pos FROM consumer_offsets) = (SELECT pos FROM feed_head)
            AND NOT EXISTS (SELECT FROM pending_events)
            AND NOT EXISTS (SELECT FROM deliveries d WHERE state = 'sending' OR (state = 'queued' AND due_at <= $1
                AND NOT EXISTS (SELECT FROM deliveries e WHERE e.ticket_id = d.ticket_id
                    AND e.address = d.address AND e.seq < d.seq AND e.state IN ('queued', 'sending'))))";
        use ticketwire::domain::clock::Clock as _;
        let now = std::time::SystemTime::from(server.clock.now());
        if client.query_one(planned, &[&now]).await.unwrap().get(0) {
            return;
        }
    }
    panic!("mails are due and not tried");
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
async fn priority_mail_goes_first_and_expires_unsent() {
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
    assert!(seen[1]["lastError"].as_str().unwrap().contains("can't be mailed to"), "{seen:?}");
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
