//! Writes with idempotency keys, files and `seenUpTo`: they are written with others, and leave nothing
//! if they are refused.

use futures_util::future::join_all;
use serde_json::{Value, json};
use ticketwire::domain::account::Role;
use tokio_postgres::Client as Connection;

use crate::{
    attachment::{count, ticket},
    harness::{
        Client, TestServer,
        client::{Reply, Ticket},
        process::Process,
        server::{PASSWORD, create_account},
    },
    uploaded_file::uploaded,
    writes::{Held, until_waiting},
};

async fn number(database: &Connection, query: &str) -> i64 {
    database.query_one(query, &[]).await.unwrap().get(0)
}

/// Adds a comment and returns its id and the codes of the user errors.
async fn comment(client: &Client, ticket: &Ticket, mut input: Value) -> Reply {
    let document = "mutation($input: AddCommentInput!) { addComment(input: $input) {
        comment { id body attachments { name } } answeredMeanwhile { body }
        userErrors { code } } }";
    input["ticketId"] = json!(ticket.id);
    client.send(document, json!({ "input": input })).await
}

#[tokio::test(flavor = "multi_thread")]
async fn a_keyed_comment_with_a_file_that_loses_a_race_leaves_nothing_if_it_is_refused() {
    let server = TestServer::start().await;
    let (anna, marta) = (server.customer("Anna").await, server.agent("Marta").await);
    let ticket = anna.create_ticket("one").await;
    let file = uploaded(&marta, "a.txt", b"hello").await;
    server.quiet().await;
    let database = server.database.connect().await;
    let input = json!({ "body": "hello", "idempotencyKey": "k", "uploadedFileIds": [file] });
    // Another node changes the ticket after it was read for the decision.
    let race = async |change: &str| {
        let begin = format!("UPDATE tickets SET event_seq = event_seq + 1, {change}");
        let held = Held::begin(&server, &begin).await;
        let (reply, ()) = tokio::join!(comment(&marta, &ticket, input.clone()), async {
            // The second time it takes the lock of the row.
            until_waiting(&server, "%FOR NO KEY UPDATE").await;
            held.commit().await;
        });
        reply
    };
    for _ in 0..2 {
        let reply = race("status = 'closed'").await;
        assert_eq!(reply.user_errors("addComment"), ["TICKET_CLOSED"]);
        for table in ["comments", "idempotency_keys", "pending_events"] {
            let rows = format!("SELECT count(*) FROM {table}");
            assert_eq!(number(&database, &rows).await, 0, "{table}");
        }
        assert_eq!(count(&server, "ticket_id IS NULL").await, 1);
    }
    // Nothing stands in its way once the ticket is open again.
    let reply = race("status = 'working_on_it'").await;
    assert_eq!(reply.user_errors("addComment"), [] as [&str; 0], "{}", reply.body);
    let comment_id = reply.at("/data/addComment/comment/id");
    assert_eq!(reply.at("/data/addComment/comment/attachments"), &json!([{ "name": "a.txt" }]));
    assert_eq!(comment(&marta, &ticket, input).await.at("/data/addComment/comment/id"), comment_id);
    assert_eq!(number(&database, "SELECT count(*) FROM comments").await, 1);
    assert_eq!(number(&database, "SELECT count(*) FROM idempotency_keys").await, 1);
    assert_eq!(count(&server, "comment_id IS NOT NULL").await, 1);
    server.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn equal_calls_at_the_same_time_create_one_comment_and_one_ticket() {
    let server = TestServer::start().await;
    let (anna, jonas) = (server.customer("Anna").await, server.customer("Jonas").await);
    let second = server.second_node().await;
    let nodes = [server.address(), second.address().to_string()];
    let one = anna.create_ticket("one").await;
    let comments = (0..16).map(|n| {
        let (client, one) = (anna.at(&nodes[n % 2]), &one);
        async move {
            let input = json!({ "body": "hello", "idempotencyKey": "k" });
            let reply = comment(&client, one, input).await;
            reply.at("/data/addComment/comment/id").as_str().map(str::to_owned)
        }
    });
    let tickets = (0..16).map(|n| {
        let client = jonas.at(&nodes[n % 2]);
        async move {
            let mut input = ticket();
            input["idempotencyKey"] = json!("k");
            let reply = client.try_create_ticket(input).await;
            reply.at("/data/createTicket/ticket/id").as_str().map(str::to_owned)
        }
    });
    let (comments, tickets) = tokio::join!(join_all(comments), join_all(tickets));
    for ids in [comments, tickets] {
        assert!(ids[0].is_some(), "{ids:?}");
        assert!(ids.iter().all(|id| *id == ids[0]), "{ids:?}");
    }
    let database = server.database.connect().await;
    assert_eq!(number(&database, "SELECT count(*) FROM comments").await, 1);
    assert_eq!(number(&database, "SELECT count(*) FROM tickets").await, 2);
    assert_eq!(number(&database, "SELECT count(*) FROM idempotency_keys").await, 2);
    // The key belongs to this input, also after the ticket is closed.
    let other = json!({ "body": "other", "idempotencyKey": "k" });
    let reply = comment(&anna, &one, other).await;
    assert_eq!(reply.user_errors("addComment"), ["IDEMPOTENCY_KEY_REUSED"]);
    server.agent("Marta").await.update(&one, json!({ "status": "CLOSED" })).await;
    let same = json!({ "body": "hello", "idempotencyKey": "k" });
    let reply = comment(&anna, &one, same).await;
    assert_eq!(reply.at("/data/addComment/comment/body"), "hello", "{}", reply.body);
    second.stop().await;
    server.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_repeated_call_gets_its_result_although_the_account_has_reached_its_limit() {
    let flags = [("limits.staff_comments_per_minute", "2".to_owned())];
    let server = TestServer::start_with(&flags).await;
    let (anna, marta) = (server.customer("Anna").await, server.agent("Marta").await);
    let ticket = anna.create_ticket("one").await;
    let keyed = json!({ "body": "hello", "idempotencyKey": "k" });
    let first = comment(&marta, &ticket, keyed.clone()).await;
    marta.comment(&ticket, "second").await;
    let third = comment(&marta, &ticket, json!({ "body": "third" })).await;
    assert_eq!(third.code(), "RATE_LIMITED");
    let third = comment(&marta, &ticket, json!({ "body": "t", "idempotencyKey": "l" })).await;
    assert_eq!(third.code(), "RATE_LIMITED");
    let again = comment(&marta, &ticket, keyed).await;
    assert_eq!(again.body, first.body);
    server.stop().await;
}

/// Waits until several calls wait for a ticket.
async fn until_all_wait(database: &Connection, calls: i64) {
    let waiting = "SELECT count(*) FROM pg_stat_activity WHERE datname = current_database()
        AND wait_event_type = 'Lock' AND query LIKE '%FOR NO KEY UPDATE'";
    while number(database, waiting).await < calls {}
}

#[tokio::test(flavor = "multi_thread")]
async fn a_repeated_call_does_not_count_and_gets_its_result_if_the_first_reached_the_limit() {
    for limit in [1, 2] {
        let flags = [("limits.staff_comments_per_minute", format!("{limit}"))];
        let server = TestServer::start_with(&flags).await;
        let (anna, marta) = (server.customer("Anna").await, server.agent("Marta").await);
        let node = server.another_node(&flags).await.unwrap();
        let there = marta.at(&node.address().to_string());
        let ticket = anna.create_ticket("one").await;
        server.quiet().await;
        let database = server.database.connect().await;
        let held = Held::begin(&server, "SELECT FROM tickets FOR UPDATE").await;
        let input = json!({ "body": "hello", "idempotencyKey": "k" });
        let (first, second, ()) = tokio::join!(
            comment(&marta, &ticket, input.clone()),
            comment(&there, &ticket, input.clone()),
            async {
                until_all_wait(&database, 2).await;
                held.commit().await;
            }
        );
        assert_eq!(first.at("/data/addComment/comment/body"), "hello", "{}", first.body);
        assert_eq!(first.body, second.body);
        for _ in 1..limit {
            let next = comment(&marta, &ticket, json!({ "body": "next" })).await;
            assert_eq!(next.at("/data/addComment/comment/body"), "next", "{}", next.body);
        }
        node.stop().await;
        server.stop().await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_keyed_comment_is_tried_again_after_a_deadlock_with_the_version_before() {
    let server = TestServer::start().await;
    let (anna, marta) = (server.customer("Anna").await, server.agent("Marta").await);
    let ticket = anna.create_ticket("one").await;
    server.quiet().await;
    let race = Held::begin(&server, "SELECT FROM tickets FOR UPDATE").await;
    let input = json!({ "body": "hello", "idempotencyKey": "k" });
    let (reply, ()) = tokio::join!(comment(&marta, &ticket, input), async {
        until_waiting(&server, "%tickets%FOR NO KEY UPDATE").await;
        // The version before claims the key, and locks the ticket then.
        let claim = "SET LOCAL deadlock_timeout = '1min';
            INSERT INTO idempotency_keys (account_id, key, fingerprint, result_id, created_at)
            SELECT id, 'k', sha256(''), gen_random_uuid(), now() FROM accounts
            WHERE name = 'Marta'";
        let before = Held::begin(&server, claim).await;
        race.commit().await;
        until_waiting(&server, "%INTO%idempotency_keys%").await;
        before.try_to_run("SELECT FROM tickets FOR NO KEY UPDATE").await;
        before.run("ROLLBACK").await;
    });
    assert_eq!(reply.at("/data/addComment/comment/body"), "hello", "{}", reply.body);
    server.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_key_that_is_claimed_meanwhile_is_no_warning() {
    let server = TestServer::start().await;
    let url = server.database.url.as_str();
    create_account(url, &server.clock, "anna@example.com", "Anna", Role::Customer).await;
    let process = Process::serve(&[("DATABASE_URL", url)]).await;
    let anna = Client::new(&process.address, None).sign_in("anna@example.com", PASSWORD).await;
    let id = anna.create_ticket("one").await;
    let claim = "INSERT INTO idempotency_keys (account_id, key, fingerprint, result_id, created_at)
        SELECT id, 'k', sha256(''), gen_random_uuid(), now() FROM accounts WHERE name = 'Anna'";
    let claimed = Held::begin(&server, claim).await;
    let input = json!({ "body": "hello", "idempotencyKey": "k" });
    let (reply, ()) = tokio::join!(comment(&anna, &id, input), async {
        until_waiting(&server, "WITH seen%").await;
        claimed.commit().await;
    });
    assert_eq!(reply.user_errors("addComment"), ["IDEMPOTENCY_KEY_REUSED"], "{}", reply.body);
    let log = process.stop_and_read_log().await;
    assert!(!log.contains("writing a group failed"), "{log}");
    assert_eq!(number(&server.database.connect().await, "SELECT count(*) FROM comments").await, 0);
    server.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_file_is_attached_to_one_of_the_writes_that_name_it_and_the_others_are_refused() {
    let server = TestServer::start().await;
    let anna = server.customer("Anna").await;
    let one = anna.create_ticket("one").await;
    let file = uploaded(&anna, "a.txt", b"hello").await;
    let writes = (0..8).map(|n| {
        let (anna, one, file) = (&anna, &one, &file);
        async move {
            let files = json!([file]);
            if n % 2 == 0 {
                let input = json!({ "body": format!("{n}"), "uploadedFileIds": files });
                let reply = comment(anna, one, input).await;
                return reply.user_errors("addComment").join(" ");
            }
            let mut input = ticket();
            input["uploadedFileIds"] = files;
            anna.try_create_ticket(input).await.user_errors("createTicket").join(" ")
        }
    });
    let mut codes = join_all(writes).await;
    codes.sort();
    let mut expected = vec![String::new()];
    expected.resize(8, "EXPIRED".to_owned());
    assert_eq!(codes, expected);
    let database = server.database.connect().await;
    let written = "SELECT (SELECT count(*) FROM comments) + (SELECT count(*) FROM tickets)";
    assert_eq!(number(&database, written).await, 2);
    assert_eq!(count(&server, "ticket_id IS NOT NULL").await, 1);
    server.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn of_writes_that_have_seen_the_same_only_the_first_succeeds() {
    let server = TestServer::start().await;
    let anna = server.customer("Anna").await;
    let agents = [server.agent("Marta").await, server.agent("Olga").await];
    let ticket = anna.create_ticket("one").await;
    let seen = anna.last_event(&ticket).await;
    let writes = agents.iter().map(|agent| {
        let input = json!({ "body": "I do it.", "seenUpTo": seen });
        comment(agent, &ticket, input)
    });
    let replies = join_all(writes).await;
    let errors = replies.iter().map(|reply| reply.user_errors("addComment"));
    let mut errors = errors.collect::<Vec<_>>();
    errors.sort();
    assert_eq!(errors, [vec![], vec!["ANSWERED_MEANWHILE"]]);
    let said = json!([{ "body": "I do it." }]);
    assert!(replies.iter().any(|it| *it.at("/data/addComment/answeredMeanwhile") == said));
    // What does not exist has not been seen.
    let input = json!({ "body": "I do it.", "seenUpTo": "nonsense" });
    let reply = comment(&agents[0], &ticket, input).await;
    assert_eq!(reply.user_errors("addComment"), ["NOT_FOUND"]);
    server.stop().await;
}
