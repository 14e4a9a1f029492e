//! Closing tickets: automatically some time after they were resolved, and by the customer who
//! opened them.

use chrono::TimeDelta;
use serde_json::{Value, json};
use tokio::join;

use crate::{
    harness::{Client, TestServer, client::Ticket, mail::MailFixture},
    staff::refuse_changes_of,
};

const HISTORY: &str = "query($id: ID!) { node(id: $id) { ... on Ticket { status version updatedAt
    timeline { nodes { __typename actor { name } occurredAt ... on StatusChanged { fromStatus toStatus } } } } } }";

async fn history(client: &Client, ticket: &Ticket) -> Value {
    client.ok(HISTORY, json!({ "id": ticket.id })).await["node"].clone()
}

async fn resolved(client: &Client, summary: &str) -> Ticket {
    let ticket = client.create_ticket(summary).await;
    client.update(&ticket, json!({ "status": "RESOLVED" })).await
}

#[tokio::test(flavor = "multi_thread")]
async fn a_resolved_ticket_closes_after_the_configured_number_of_days() {
    let server = TestServer::start().await;
    let anna = server.customer("Anna").await;
    let first = resolved(&anna, "first").await;
    let open = anna.create_ticket("open").await;
    server.clock.advance(TimeDelta::days(1));
    let second = resolved(&anna, "second").await;
    // The time counts from the resolution, whatever else happens to the ticket.
    let again = resolved(&anna, "again").await;
    let reopened = anna.update(&again, json!({ "status": "WAITING_FOR_SUPPORT" })).await;
    assert_eq!(server.close_resolved(2).await, 0);
    server.clock.advance(TimeDelta::days(1));
    assert_eq!(server.close_resolved(0).await, 0, "it is switched off");
    assert_eq!(server.close_resolved(2).await, 1);

    let closed = history(&anna, &first).await;
    assert_eq!((&closed["status"], &closed["version"]), (&json!("CLOSED"), &json!(3)));
    let last = closed["timeline"]["nodes"].as_array().unwrap().last().unwrap();
    assert_eq!(
        (&last["actor"], &last["fromStatus"], &last["toStatus"]),
        (&json!(null), &json!("RESOLVED"), &json!("CLOSED"))
    );
    assert_eq!(last["occurredAt"], closed["updatedAt"]);
    for (ticket, status) in
        [(&second, "RESOLVED"), (&open, "WAITING_FOR_SUPPORT"), (&again, "WAITING_FOR_SUPPORT")]
    {
        assert_eq!(history(&anna, ticket).await["status"], status);
    }

    // After another resolution the time starts again.
    server.clock.advance(TimeDelta::days(1));
    anna.update(&reopened, json!({ "status": "RESOLVED" })).await;
    assert_eq!(server.close_resolved(2).await, 1);
    assert_eq!(history(&anna, &second).await["status"], "CLOSED");
    server.clock.advance(TimeDelta::days(1));
    assert_eq!(server.close_resolved(2).await, 0);
    server.clock.advance(TimeDelta::days(1));
    assert_eq!(server.close_resolved(2).await, 1);
    server.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn concurrent_nodes_close_each_resolved_ticket_once() {
    let server = TestServer::start().await;
    let anna = server.customer("Anna").await;
    let mut tickets = Vec::new();
    for n in 0..45 {
        tickets.push(resolved(&anna, &format!("t{n}")).await);
    }
    server.clock.advance(TimeDelta::days(2));
    server.quiet().await;
    let locked = tickets.pop().unwrap();
    let mut other = server.database.connect().await;
    let transaction = other.transaction().await.unwrap();
    let lock = format!(
        "SELECT FROM tickets WHERE number = {} FOR NO KEY UPDATE",
        locked.number.trim_start_matches("CS-")
    );
    transaction.batch_execute(&lock).await.unwrap();
    let close = || server.close_resolved_now(1);
    let (a, b, c) = join!(close(), close(), close());
    assert_eq!(a + b + c, tickets.len());
    for ticket in &tickets {
        let closed = history(&anna, ticket).await;
        let nodes = closed["timeline"]["nodes"].as_array().unwrap().clone();
        assert_eq!((closed["version"].as_i64(), nodes.len()), (Some(3), 3), "{closed}");
    }
    // The holder of the lock reopens the ticket before releasing it.
    let reopen = format!(
        "UPDATE tickets SET status = 'waiting_for_support', resolved_at = NULL WHERE number = {}",
        locked.number.trim_start_matches("CS-")
    );
    transaction.batch_execute(&reopen).await.unwrap();
    transaction.commit().await.unwrap();
    assert_eq!(server.close_resolved(1).await, 0);
    server.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_ticket_that_cannot_be_closed_holds_up_no_other() {
    let server = TestServer::start().await;
    let anna = server.customer("Anna").await;
    let mut tickets = vec![];
    for n in 0..45 {
        tickets.push(resolved(&anna, &format!("t{n}")).await);
    }
    let database = server.database.connect().await;
    database.batch_execute(&refuse_changes_of("t0")).await.unwrap();
    server.clock.advance(TimeDelta::days(2));
    server.quiet().await;
    let failed = server.try_to_close_resolved(1).await.unwrap_err();
    assert!(failed.to_string().contains("this ticket cannot be changed"), "{failed}");
    let left = "SELECT string_agg(summary, ' ') FROM tickets WHERE status <> 'closed'";
    assert_eq!(database.query_one(left, &[]).await.unwrap().get::<_, String>(0), "t0");
    server.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn an_automatic_close_notifies_the_customer_and_names_no_person() {
    let mut fixture = MailFixture::start().await;
    let ticket = fixture.anna.create_ticket("The site is down").await;
    fixture.boris.update(&ticket, json!({ "status": "RESOLVED" })).await;
    fixture.server.quiet().await;
    let before = fixture.smtp.received(2).await.len();
    fixture.server.clock.advance(TimeDelta::days(2));
    let mut flags = crate::harness::mail::settings(&fixture.smtp.url());
    flags.push(("tickets.close_resolved_after_days", "1".to_owned()));
    fixture.server.restart_with(&flags).await;
    let mails = fixture.smtp.received(before + 1).await;
    let text = &mails.last().unwrap().text;
    assert!(text.contains("Resolved") && text.contains("Closed"), "{text}");
    assert!(!text.contains("Boris"), "{text}");
    let anna = fixture.anna.at(&fixture.server.address());
    assert_eq!(history(&anna, &ticket).await["status"], "CLOSED");
    let query =
        "{ viewer { notifications(first: 1) { nodes { kind event { actor { name } } } } } }";
    let data = anna.ok(query, json!({})).await;
    assert_eq!(
        data["viewer"]["notifications"]["nodes"],
        json!([{ "kind": "TICKET_CLOSED", "event": { "actor": null } }])
    );
    fixture.server.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn the_customer_who_opened_a_ticket_may_close_and_reopen_it_and_participants_may_not() {
    let server = TestServer::start().await;
    let (anna, carl) = (server.customer("Anna").await, server.customer("Carl").await);
    let ticket = resolved(&anna, "shared").await;
    anna.share(&ticket, &carl).await;
    let try_set = async |client: &Client, status: &str| {
        let reply = client.try_update(&ticket, json!({ "status": status })).await;
        reply.user_errors("updateTicket").iter().map(|&code| code.to_owned()).collect::<Vec<_>>()
    };
    assert_eq!(try_set(&carl, "WAITING_FOR_SUPPORT").await, ["ILLEGAL_TRANSITION"]);
    assert_eq!(try_set(&anna, "WAITING_FOR_SUPPORT").await, [] as [&str; 0]);
    assert_eq!(try_set(&carl, "CLOSED").await, ["ILLEGAL_TRANSITION"]);
    assert_eq!(try_set(&anna, "CLOSED").await, [] as [&str; 0]);
    assert_eq!(try_set(&anna, "WAITING_FOR_SUPPORT").await, ["ILLEGAL_TRANSITION"]);
    server.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn the_migration_computes_when_tickets_were_resolved() {
    let mut server = TestServer::start().await;
    let anna = server.customer("Anna").await;
    let again = resolved(&anna, "again").await;
    anna.update(&again, json!({ "status": "WAITING_FOR_SUPPORT" })).await;
    anna.update(&again, json!({ "status": "RESOLVED" })).await;
    anna.create_ticket("open").await;
    let database = server.database.connect().await;
    let times =
        "SELECT string_agg(format('%s %s', number, resolved_at), ' ' ORDER BY number) FROM tickets";
    let written = database.query_one(times, &[]).await.unwrap().get::<_, String>(0);
    server.migrate_again("2026-11-23-000016_tell_unread_and_finished_tickets").await;
    let found = database.query_one(times, &[]).await.unwrap().get::<_, String>(0);
    assert_eq!(found, written);
    server.stop().await;
}
