//! Writes that arrive together: each keeps its own decision, answer and error.

use std::{collections::BTreeMap, sync::Arc};

use chrono::TimeDelta;
use futures_util::future::join_all;
use serde_json::{Value, json};
use ticketwire::domain::account::Role;
use tokio::sync::Barrier;

use crate::{
    comment_edit,
    harness::{
        Client, TestServer,
        client::{TECHNICAL_SUPPORT, Ticket},
    },
    participant::try_remove,
};

const WRITERS: usize = 64;
const ROUNDS: usize = 4;

/// What a writer was answered, by the text of its comment.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Answer {
    Added,
    Refused,
    /// The database was away: the comment may have been added.
    Unknown,
}

/// The columns of a ticket that follow from its events, and the same computed from the events.
const DERIVED: &str = "
    SELECT t.event_seq, t.any_seq, t.public_seq, t.any_actor_id, t.public_actor_id,
           t.any_seq_by_others, t.public_seq_by_others, t.last_comment_id,
           a.seq, a.seq, p.seq, a.actor_id, p.actor_id,
           coalesce((SELECT max(seq) FROM events WHERE ticket_id = t.id
                     AND actor_id IS DISTINCT FROM a.actor_id), 0),
           coalesce((SELECT max(seq) FROM events WHERE ticket_id = t.id
                     AND audience = 'participants' AND actor_id IS DISTINCT FROM p.actor_id), 0),
           (SELECT (data ->> 'comment_id')::uuid FROM events WHERE ticket_id = t.id
            AND kind = 'comment_added' ORDER BY seq DESC LIMIT 1)
    FROM tickets t
    CROSS JOIN LATERAL (SELECT seq, actor_id FROM events WHERE ticket_id = t.id
                        ORDER BY seq DESC LIMIT 1) a
    CROSS JOIN LATERAL (SELECT seq, actor_id FROM events WHERE ticket_id = t.id
                        AND audience = 'participants' ORDER BY seq DESC LIMIT 1) p";

/// Comments with a body that says who wrote it and how the comment should end.
async fn write(client: &Client, ticket: &Ticket, body: &str, kind: usize) -> Answer {
    let mut input = json!({ "body": body, "ticketId": ticket.id });
    match kind {
        1 => input["visibility"] = json!("INTERNAL"),
        2 => input["expectedVersion"] = json!(1_000_000),
        3 => input["idempotencyKey"] = json!(body),
        4 => input["status"] = json!("WAITING_FOR_CUSTOMER"),
        _ => {}
    }
    let document = "mutation($input: AddCommentInput!) { addComment(input: $input) {
        comment { body } userErrors { code } } }";
    let reply = client.send(document, json!({ "input": input })).await;
    if reply.at("/data/addComment/comment/body") == body {
        return Answer::Added;
    }
    let code = reply.at("/errors/0/extensions/code").as_str().unwrap_or("CONFLICT");
    match code {
        "CONFLICT" | "FORBIDDEN" | "NOT_FOUND" => Answer::Refused,
        "UNAVAILABLE" => Answer::Unknown,
        _ => panic!("{}", reply.body),
    }
}

/// Has many writers write at the same time, on these tickets in turn.
async fn write_all(clients: &[Client], tickets: &[Ticket], tag: &str) -> BTreeMap<String, Answer> {
    let start = Arc::new(Barrier::new(WRITERS));
    let writers = (0..WRITERS).map(|writer| {
        let start = Arc::clone(&start);
        async move {
            let mut answers = Vec::new();
            start.wait().await;
            for round in 0..ROUNDS {
                let body = format!("{tag} {writer} {round}");
                let client = &clients[(writer + round) % clients.len()];
                let ticket = &tickets[writer % tickets.len()];
                let answer = write(client, ticket, &body, (writer / 3 + round) % 5).await;
                answers.push((body, answer));
            }
            answers
        }
    });
    join_all(writers).await.into_iter().flatten().collect()
}

/// Checks that each answer is true, and that all that is stored about tickets agrees.
async fn check(server: &TestServer, answers: &BTreeMap<String, Answer>) {
    let database = server.database.connect().await;
    let rows =
        database.query("SELECT body, count(*) FROM comments GROUP BY body", &[]).await.unwrap();
    let stored = rows.iter().map(|row| (row.get(0), row.get(1)));
    let stored = stored.collect::<BTreeMap<String, i64>>();
    for (body, answer) in answers {
        let count = stored.get(body).copied().unwrap_or(0);
        match answer {
            Answer::Added => assert_eq!(count, 1, "{body}"),
            Answer::Refused => assert_eq!(count, 0, "{body}"),
            Answer::Unknown => assert!(count <= 1, "{body}"),
        }
    }
    for wrong in [
        "SELECT count(*) FROM comments c WHERE 1 <> (SELECT count(*) FROM events e
             WHERE e.ticket_id = c.ticket_id AND e.data ->> 'comment_id' = c.id::text)",
        "SELECT count(*) FROM events WHERE kind = 'comment_added'
             AND NOT EXISTS (SELECT FROM comments c WHERE c.id::text = data ->> 'comment_id')",
        "SELECT count(*) FROM idempotency_keys k
             WHERE NOT EXISTS (SELECT FROM comments c WHERE c.id = k.result_id)",
        "SELECT count(*) FROM (SELECT kind, status::text, data ->> 'from' AS replaced,
                 lag(status::text) OVER (PARTITION BY ticket_id ORDER BY seq) AS before
             FROM events WHERE ticket_id IS NOT NULL) e
             WHERE before <> CASE kind WHEN 'status_changed' THEN replaced ELSE status END",
        "SELECT count(*) FROM tickets t
             WHERE event_seq <> (SELECT count(*) FROM events WHERE ticket_id = t.id)",
        "SELECT count(*) FROM events e WHERE NOT EXISTS (SELECT FROM feed WHERE event_id = e.id)",
    ] {
        let count = database.query_one(wrong, &[]).await.unwrap().get::<_, i64>(0);
        assert_eq!(count, 0, "{wrong}");
    }
    let order = "SELECT count(*) FROM (SELECT e.seq - lag(e.seq) OVER (
            PARTITION BY f.ticket_id ORDER BY f.pos) AS step
        FROM feed f JOIN events e ON e.id = f.event_id WHERE f.ticket_id IS NOT NULL) s WHERE step <> 1";
    assert_eq!(
        database.query_one(order, &[]).await.unwrap().get::<_, i64>(0),
        0,
        "the feed's order"
    );
    let derived = format!(
        "SELECT row_to_json(derived)::text FROM ({DERIVED}) derived (a, b, c, d, e, f, g, h, a2, b2, c2, d2, e2, f2, g2, h2)"
    );
    for row in database.query(&derived, &[]).await.unwrap() {
        let row = serde_json::from_str::<Value>(row.get(0)).unwrap();
        for name in ["a", "b", "c", "d", "e", "f", "g", "h"] {
            assert_eq!(row[name], row[format!("{name}2")], "{name} of {row}");
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn each_of_many_writers_is_answered_truly_on_one_ticket_and_on_many() {
    let server = TestServer::start().await;
    let clients = [
        server.customer("Anna").await,
        server.agent("Marta").await,
        server.agent("Olga").await,
        server.customer("Jonas").await,
    ];
    let second = server.second_node().await;
    let elsewhere = clients.iter().map(|client| client.at(&second.address().to_string()));
    let clients = elsewhere.chain(clients.iter().map(|it| it.at(it.address()))).collect::<Vec<_>>();
    let one = [clients[0].create_ticket("one").await];
    // A customer may send 50 requests at a time.
    let mut many = Vec::new();
    for chunk in 0..WRITERS / 16 {
        let summaries = (0..16).map(|n| format!("many {chunk} {n}"));
        let anna = &clients[0];
        let opened = summaries.map(async |summary| anna.create_ticket(&summary).await);
        many.extend(join_all(opened).await);
    }
    let numbers =
        many.iter().map(|ticket| &ticket.number).collect::<std::collections::BTreeSet<_>>();
    assert_eq!(numbers.len(), WRITERS);
    let mut answers = write_all(&clients, &one, "one").await;
    answers.extend(write_all(&clients, &many, "many").await);
    assert!(!answers.values().any(|&answer| answer == Answer::Unknown));
    assert!(answers.values().filter(|&&answer| answer == Answer::Refused).count() > WRITERS);
    server.quiet().await;
    check(&server, &answers).await;
    second.stop().await;
    server.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn writers_whose_connections_are_killed_lose_nothing_that_was_acknowledged() {
    let server = TestServer::start().await;
    let clients = [server.agent("Marta").await, server.agent("Olga").await];
    let tickets = [server.customer("Anna").await.create_ticket("one").await];
    let killer = server.database.connect().await;
    let kill = "SELECT count(pg_terminate_backend(pid)) FROM pg_stat_activity
        WHERE datname = current_database() AND query LIKE 'WITH seen%' AND state = 'active'";
    let mut answers = BTreeMap::new();
    for n in 0..3 {
        let mut kills = 0;
        let tag = format!("killed {n}");
        let writing = write_all(&clients, &tickets, &tag);
        tokio::pin!(writing);
        let written = loop {
            tokio::select! {
                written = &mut writing => break written,
                killed = killer.query_one(kill, &[]), if kills < 5 => {
                    kills += killed.unwrap().get::<_, i64>(0);
                }
            }
        };
        answers.extend(written);
    }
    server.quiet().await;
    check(&server, &answers).await;
    let again = write_all(&clients, &tickets, "again").await;
    assert!(!again.values().any(|&answer| answer == Answer::Unknown));
    server.quiet().await;
    check(&server, &again).await;
    server.stop().await;
}

/// A transaction of another node that has not ended.
pub struct Held(tokio_postgres::Client);

impl Held {
    pub async fn begin(server: &TestServer, statement: &str) -> Self {
        let held = Self(server.database.connect().await);
        held.0.batch_execute("BEGIN; SET LOCAL lock_timeout = '5s'").await.unwrap();
        held.run(statement).await;
        held
    }

    /// Fails if the statement waits for a lock for long.
    pub async fn run(&self, statement: &str) {
        self.0.batch_execute(statement).await.unwrap();
    }

    /// Returns whether the statement succeeded.
    pub async fn try_to_run(&self, statement: &str) -> bool {
        self.0.batch_execute(statement).await.is_ok()
    }

    pub async fn commit(self) {
        self.run("COMMIT").await;
    }
}

/// Waits until a statement of the server that matches a pattern waits for a lock.
pub async fn until_waiting(server: &TestServer, pattern: &str) {
    let database = server.database.connect().await;
    let waiting = "SELECT EXISTS (SELECT FROM pg_stat_activity WHERE datname = current_database()
        AND wait_event_type = 'Lock' AND query LIKE $1)";
    while !database.query_one(waiting, &[&pattern]).await.unwrap().get::<_, bool>(0) {}
}

/// Waits until a statement of the server waits for the lock of a ticket.
async fn until_blocked(server: &TestServer) {
    until_waiting(server, "%FOR NO KEY UPDATE").await;
}

/// Whether one of these statements locks a ticket outside of the statement that writes.
fn is_alone(statements: &[String]) -> bool {
    statements.iter().any(|it| it.contains("SELECT FROM tickets WHERE id"))
}

#[tokio::test(flavor = "multi_thread")]
async fn a_comment_that_loses_a_race_is_decided_again_and_leaves_nothing_if_refused() {
    let flags = [("limits.staff_comments_per_minute", "5".to_owned())];
    let server = TestServer::start_with(&flags).await;
    let (anna, marta) = (server.customer("Anna").await, server.agent("Marta").await);
    let ticket = anna.create_ticket("one").await;
    server.quiet().await;
    let database = server.database.connect().await;
    // Another node changes the ticket after it was read for the decision.
    let race = async |change: &str| {
        let begin = format!("BEGIN; UPDATE tickets SET event_seq = event_seq + 1, {change}");
        database.batch_execute(&begin).await.unwrap();
        let input = json!({ "body": "hello" });
        let (reply, ()) = tokio::join!(marta.try_comment(&ticket, input), async {
            until_blocked(&server).await;
            database.batch_execute("COMMIT").await.unwrap();
        });
        reply
    };
    let reply = race("priority = 'highest'").await;
    assert_eq!(reply.user_errors("addComment"), [] as [&str; 0], "{}", reply.body);
    let priority = "SELECT priority::text FROM tickets";
    assert_eq!(database.query_one(priority, &[]).await.unwrap().get::<_, &str>(0), "highest");
    let reply = race("status = 'closed'").await;
    assert_eq!(reply.user_errors("addComment"), ["TICKET_CLOSED"]);
    let comments = "SELECT count(*) FROM comments";
    assert_eq!(database.query_one(comments, &[]).await.unwrap().get::<_, i64>(0), 1);
    // The refused comment does not count: four more are allowed in this minute.
    let other = anna.create_ticket("two").await;
    for _ in 0..4 {
        marta.comment(&other, "hello").await;
    }
    let reply = marta.try_comment(&other, json!({ "body": "one too many" })).await;
    assert_eq!(reply.code(), "RATE_LIMITED");
    server.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_comment_whose_author_has_left_while_it_waited_is_refused() {
    let server = TestServer::start().await;
    let (anna, boris) = (server.customer("Anna").await, server.agent("Boris").await);
    let ticket = anna.create_ticket("one").await;
    server.quiet().await;
    let held = Held::begin(&server, "LOCK TABLE tickets").await;
    let (reply, ()) = tokio::join!(boris.try_comment(&ticket, json!({ "body": "one" })), async {
        until_waiting(&server, "%tickets.id = ANY (ARRAY(SELECT unnest(%").await;
        let disable = "UPDATE accounts SET disabled_at = now() WHERE name = 'Boris'";
        server.database.connect().await.batch_execute(disable).await.unwrap();
        server.clock.advance(TimeDelta::seconds(2));
        held.commit().await;
    });
    assert_eq!(reply.code(), "UNAUTHENTICATED", "{}", reply.body);
    let comments = "SELECT count(*) FROM comments";
    let row = server.database.connect().await.query_one(comments, &[]).await.unwrap();
    assert_eq!(row.get::<_, i64>(0), 0);
    server.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_group_counts_what_each_account_creates_and_refuses_only_the_rest() {
    let flags = [
        ("limits.staff_comments_per_minute", "7".to_owned()),
        ("limits.tickets_per_minute", "5".to_owned()),
    ];
    let server = TestServer::start_with(&flags).await;
    let (anna, jonas) = (server.customer("Anna").await, server.customer("Jonas").await);
    let agents = [server.agent("Marta").await, server.agent("Olga").await];
    let open = |client: &Client, n: usize| {
        let client = client.at(client.address());
        async move {
            let input = json!({ "categoryId": crate::harness::client::SALES,
                "summary": format!("t{n}"), "description": "d" });
            client.try_create_ticket(input).await.at("/data/createTicket/ticket").is_object()
        }
    };
    let opened = join_all((0..12).map(|n| open([&anna, &jonas][n % 2], n))).await;
    assert_eq!(opened.iter().filter(|&&opened| opened).count(), 10);
    let database = server.database.connect().await;
    let tickets = "SELECT count(*) FROM tickets";
    assert_eq!(database.query_one(tickets, &[]).await.unwrap().get::<_, i64>(0), 10);
    let data = anna.ok("{ tickets { nodes { id number status version } } }", json!({})).await;
    let ticket = Ticket::read(&data["tickets"]["nodes"][0]);
    let written = (0..20).map(|n| {
        let (agent, ticket) = (&agents[n % 2], &ticket);
        async move {
            let reply = agent.try_comment(ticket, json!({ "body": format!("{n}") })).await;
            reply.at("/data/addComment/comment").is_object()
        }
    });
    let written = join_all(written).await;
    assert_eq!(written.iter().filter(|&&written| written).count(), 14);
    server.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_ticket_in_a_retired_category_is_refused_among_others_that_are_opened() {
    let server = TestServer::start().await;
    let anna = server.customer("Anna").await;
    let database = server.database.connect().await;
    let retire = "UPDATE categories SET retired_at = now() WHERE slug = 'sales'";
    database.batch_execute(retire).await.unwrap();
    let replies = join_all((0..20).map(|n| {
        use crate::harness::client::{SALES, TECHNICAL_SUPPORT};
        let category = [SALES, TECHNICAL_SUPPORT][n % 2];
        let input = json!({ "categoryId": category, "summary": "s", "description": "d" });
        let anna = &anna;
        async move { (n, anna.try_create_ticket(input).await) }
    }));
    for (n, reply) in replies.await {
        let expected: &[&str] = if n % 2 == 0 { &["CATEGORY_RETIRED"] } else { &[] };
        assert_eq!(reply.user_errors("createTicket"), expected);
    }
    let tickets = "SELECT count(*) FROM tickets";
    assert_eq!(database.query_one(tickets, &[]).await.unwrap().get::<_, i64>(0), 10);
    server.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn changes_that_wait_together_are_each_decided_after_those_before_them() {
    let flags = [("limits.staff_comments_per_minute", "1000".to_owned())];
    let server = TestServer::start_with(&flags).await;
    let (anna, marta) = (server.customer("Anna").await, server.agent("Marta").await);
    let jonas = server.customer("Jonas").await;
    let ticket = anna.create_ticket("one").await;
    marta.comment(&ticket, "first").await;
    let (holder, watcher) = (server.database.connect().await, server.database.connect().await);
    // The next comment waits to be counted, and those after it for that comment.
    holder.batch_execute("BEGIN; SELECT FROM attempts FOR UPDATE").await.unwrap();
    let (anna, marta, ticket) = (&anna, &marta, &ticket);
    let write = async |n: usize| {
        let (body, client) = (format!("{n}"), if n.is_multiple_of(3) { anna } else { marta });
        let answer = write(client, ticket, &body, 4 * (n % 2)).await;
        (body, answer)
    };
    let release = async {
        let blocked = "SELECT EXISTS (SELECT FROM pg_stat_activity WHERE wait_event_type = 'Lock'
            AND datname = current_database() AND query LIKE 'WITH seen%')";
        while !watcher.query_one(blocked, &[]).await.unwrap().get::<_, bool>(0) {}
        for _ in 0..20 {
            // Requests of an account wait for those under way, so another one sends these.
            jonas.account_id().await;
        }
        holder.batch_execute("COMMIT").await.unwrap();
    };
    let (answers, ()) = tokio::join!(join_all((0..40).map(write)), release);
    server.quiet().await;
    check(&server, &answers.into_iter().collect()).await;
    server.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_throttled_account_leaves_the_others_of_its_group_together() {
    let flags = [("limits.staff_comments_per_minute", "3".to_owned())];
    let server = TestServer::start_logged_with(&flags).await;
    let anna = server.customer("Anna").await;
    let (marta, olga) = (server.agent("Marta").await, server.agent("Olga").await);
    let (one, two) = (anna.create_ticket("one").await, anna.create_ticket("two").await);
    for _ in 0..3 {
        marta.comment(&one, "early").await;
    }
    olga.comment(&one, "early").await;
    anna.comment(&one, "early").await;
    let (anna, marta, olga, one, two) = (&anna, &marta, &olga, &one, &two);
    let codes = async |writes: &[(&Client, &Ticket)]| {
        let replies = writes.iter().map(|(client, ticket)| {
            let input = json!({ "body": "hello" });
            async move {
                let reply = client.try_comment(ticket, input).await;
                reply.at("/errors/0/extensions/code").as_str().unwrap_or_default().to_owned()
            }
        });
        join_all(replies).await
    };
    let mut answers = Vec::new();
    let statements = server.all_statements_of(async || {
        // The first comment waits to be counted, and the others for it: they are one group.
        let held = Held::begin(&server, "SELECT FROM attempts FOR UPDATE").await;
        let group =
            [(marta, one), (olga, one), (marta, two), (anna, one), (olga, two), (marta, one)];
        let first = [(anna, two)];
        let release = async {
            until_waiting(&server, "WITH seen%").await;
            for _ in 0..20 {
                server.anonymous().send("{ __typename }", json!({})).await;
            }
            held.commit().await;
        };
        let (first, group, ()) = tokio::join!(codes(&first), codes(&group), release);
        answers = first.into_iter().chain(group).collect();
    });
    let statements = statements.await;
    let limited = "RATE_LIMITED";
    assert_eq!(answers, ["", limited, "", limited, "", "", limited]);
    assert!(!is_alone(&statements), "{statements:#?}");
    let database = server.database.connect().await;
    let written = "SELECT count(*) FROM comments WHERE body = 'hello'";
    assert_eq!(database.query_one(written, &[]).await.unwrap().get::<_, i64>(0), 4);
    server.quiet().await;
    check(&server, &BTreeMap::new()).await;
    server.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn what_a_group_has_written_is_answered_although_uncounting_the_rest_fails() {
    let flags = [("limits.staff_comments_per_minute", "100".to_owned())];
    let server = TestServer::start_with(&flags).await;
    let (anna, marta) = (server.customer("Anna").await, server.agent("Marta").await);
    let (one, two) = (anna.create_ticket("one").await, anna.create_ticket("two").await);
    let other = anna.create_ticket("other").await;
    marta.comment(&one, "early").await;
    anna.comment(&one, "early").await;
    server.quiet().await;
    let database = server.database.connect().await;
    database
        .batch_execute(
            "CREATE FUNCTION fail() RETURNS trigger LANGUAGE plpgsql AS
                 $$ BEGIN RAISE 'no'; END $$;
             CREATE TRIGGER fail BEFORE UPDATE ON attempts FOR EACH ROW
                 WHEN (new.empty_at < old.empty_at) EXECUTE FUNCTION fail()",
        )
        .await
        .unwrap();
    // Another node holds one of the tickets, so the group is counted for it and leaves it out.
    let ticket = Held::begin(&server, "SELECT FROM tickets WHERE summary = 'two' FOR UPDATE").await;
    let buckets = Held::begin(&server, "SELECT FROM attempts FOR UPDATE").await;
    let add = async |client: &Client, ticket: &Ticket| {
        let reply = client.try_comment(ticket, json!({ "body": "hello" })).await;
        assert_eq!(reply.at("/data/addComment/comment/body"), "hello", "{}", reply.body);
    };
    let release = async {
        until_waiting(&server, "WITH seen%").await;
        for _ in 0..20 {
            server.anonymous().send("{ __typename }", json!({})).await;
        }
        buckets.commit().await;
        until_blocked(&server).await;
        ticket.commit().await;
    };
    tokio::join!(add(&anna, &other), add(&marta, &one), add(&marta, &two), release);
    let written = "SELECT count(*) FROM comments WHERE body = 'hello'";
    assert_eq!(database.query_one(written, &[]).await.unwrap().get::<_, i64>(0), 3);
    server.quiet().await;
    check(&server, &BTreeMap::new()).await;
    server.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_removal_by_a_node_of_either_version_waits_for_the_planner() {
    let server = TestServer::start().await;
    let (anna, jonas) = (server.customer("Anna").await, server.customer("Jonas").await);
    let marta = server.agent("Marta").await;
    let ticket = anna.create_ticket("one").await;
    anna.share(&ticket, &jonas).await;
    let jonas_id = jonas.account_id().await;
    server.quiet().await;
    // The planner has read the ticket, and cannot store its notifications.
    let held = Held::begin(&server, "LOCK TABLE notifications IN SHARE MODE").await;
    marta.comment(&ticket, "first").await;
    until_waiting(&server, "%INTO notifications%").await;
    let before = Held::begin(&server, "SELECT 1").await;
    assert!(!before.try_to_run("SELECT FROM tickets FOR NO KEY UPDATE NOWAIT").await);
    before.run("ROLLBACK").await;
    let remove = "mutation($input: RemoveParticipantInput!) { removeParticipant(input: $input) {
        ticket { number } userErrors { code } } }";
    let input = json!({ "input": { "ticketId": ticket.id, "accountId": jonas_id } });
    let (removed, ()) = tokio::join!(anna.send(remove, input), async {
        until_waiting(&server, "%tickets%FOR UPDATE%").await;
        held.commit().await;
    });
    assert_eq!(removed.user_errors("removeParticipant"), [] as [&str; 0], "{}", removed.body);
    server.quiet().await;
    let left = "SELECT count(*) FROM notifications n JOIN accounts a ON a.id = n.account_id
        WHERE a.name = 'Jonas'";
    let database = server.database.connect().await;
    assert_eq!(database.query_one(left, &[]).await.unwrap().get::<_, i64>(0), 0);
    server.stop().await;
}

/// Locks the bucket of an account's comments as the version before does, and then the ticket.
const BUCKETS: &str = "UPDATE attempts SET empty_at = empty_at";
const TICKETS: &str = "SELECT FROM tickets FOR NO KEY UPDATE NOWAIT";

#[tokio::test(flavor = "multi_thread")]
async fn a_comment_goes_on_beside_one_of_the_version_before() {
    let flags = [("limits.staff_comments_per_minute", "100".to_owned())];
    let server = TestServer::start_with(&flags).await;
    let (anna, marta) = (server.customer("Anna").await, server.agent("Marta").await);
    let ticket = anna.create_ticket("one").await;
    marta.comment(&ticket, "early").await;
    server.quiet().await;
    let add = async |body: &'static str| {
        let reply = marta.try_comment(&ticket, json!({ "body": body })).await;
        assert_eq!(reply.at("/data/addComment/comment/body"), body, "{}", reply.body);
    };
    // In a group, which locks in the same order.
    let before = Held::begin(&server, BUCKETS).await;
    tokio::join!(add("together"), async {
        until_waiting(&server, "WITH seen%").await;
        before.run(TICKETS).await;
        before.commit().await;
    });
    // Alone, after it has lost a race. The version before does not wait for the ticket.
    let race = Held::begin(&server, "UPDATE tickets SET event_seq = event_seq").await;
    tokio::join!(add("alone"), async {
        until_waiting(&server, "%tickets%FOR NO KEY UPDATE%").await;
        let before = Held::begin(&server, BUCKETS).await;
        race.commit().await;
        until_waiting(&server, "%INTO attempts%").await;
        assert!(!before.try_to_run(TICKETS).await);
        before.run("ROLLBACK").await;
    });
    server.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_comment_and_an_edit_wait_for_their_ticket_without_holding_up_others() {
    let flags = [("limits.customer_comments_per_minute", "100".to_owned())];
    let server = TestServer::start_with(&flags).await;
    let anna = server.customer("Anna").await;
    let (ticket, other) = (anna.create_ticket("one").await, anna.create_ticket("two").await);
    let (early, _) = anna.comment(&ticket, "early").await;
    server.quiet().await;
    for (mutation, edits) in [("addComment", false), ("editComment", true)] {
        let locked = "SELECT FROM tickets WHERE summary = 'one' FOR UPDATE";
        let held = Held::begin(&server, locked).await;
        let write = async {
            if edits {
                return comment_edit::edit(&anna, &early, "edited").await;
            }
            anna.try_comment(&ticket, json!({ "body": "hello" })).await
        };
        let (reply, ()) = tokio::join!(write, async {
            until_waiting(&server, "%tickets%FOR NO KEY UPDATE%").await;
            Held::begin(&server, "SELECT FROM attempts FOR UPDATE NOWAIT").await.commit().await;
            anna.comment(&other, "not held up").await;
            held.commit().await;
        });
        assert_eq!(reply.user_errors(mutation), [] as [&str; 0], "{}", reply.body);
    }
    server.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_follow_up_waits_for_its_predecessor_without_holding_up_other_tickets() {
    let server = TestServer::start_with(&[("limits.tickets_per_minute", "100".to_owned())]).await;
    let (anna, vera) = (server.customer("Anna").await, server.customer("Vera").await);
    let closed = anna.create_ticket("closed").await;
    anna.update(&closed, json!({ "status": "CLOSED" })).await;
    server.quiet().await;
    let held = Held::begin(&server, "SELECT FROM tickets FOR UPDATE").await;
    let open = |client: &Client| {
        let (client, closed) = (client.clone(), closed.id.clone());
        let input = json!({ "categoryId": TECHNICAL_SUPPORT, "summary": "x", "description": "x",
            "followUpToId": closed });
        async move { client.try_create_ticket(input).await }
    };
    // Who may not see the ticket does not learn that it is locked.
    let hidden = open(&vera).await;
    assert_eq!(hidden.user_errors("createTicket"), ["NOT_FOUND"], "{}", hidden.body);
    let follow_up = tokio::spawn(open(&anna));
    until_waiting(&server, "%tickets%FOR SHARE%").await;
    Held::begin(&server, "SELECT FROM attempts FOR UPDATE NOWAIT").await.commit().await;
    anna.create_ticket("not held up").await;
    held.commit().await;
    let reply = follow_up.await.unwrap();
    assert_eq!(reply.user_errors("createTicket"), [] as [&str; 0], "{}", reply.body);
    server.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn changes_of_a_ticket_that_stays_locked_hold_one_connection_and_end_together() {
    const WAITING: &str = "SELECT count(*) FROM pg_stat_activity
        WHERE datname = current_database() AND wait_event_type = 'Lock'";
    let server = TestServer::start().await;
    let (anna, marta) = (server.customer("Anna").await, server.agent("Marta").await);
    let ticket = anna.create_ticket("one").await;
    let other = anna.create_ticket("two").await;
    server.quiet().await;
    let held = Held::begin(&server, "SELECT FROM tickets WHERE summary = 'one' FOR UPDATE").await;
    let database = server.database.connect().await;
    let mut comments = Vec::new();
    for n in 0..5 {
        let (client, ticket) = (marta.clone(), ticket.clone());
        let body = json!({ "body": n.to_string() });
        comments.push(tokio::spawn(async move { client.try_comment(&ticket, body).await }));
        until_blocked(&server).await;
        // A group that began after the ones before.
        marta.comment(&other, "goes through").await;
    }
    assert_eq!(database.query_one(WAITING, &[]).await.unwrap().get::<_, i64>(0), 1);
    for comment in comments {
        let reply = comment.await.unwrap();
        assert_eq!(reply.code(), "UNAVAILABLE", "{}", reply.body);
        assert_eq!(*reply.at("/errors/0/extensions/retryAfterSeconds"), 5);
    }
    held.commit().await;
    let (_, after) = marta.comment(&ticket, "again").await;
    assert_eq!(after.id, ticket.id);
    let stored = "SELECT count(*) FROM comments WHERE body IN ('0', '1', '2', '3', '4')";
    assert_eq!(database.query_one(stored, &[]).await.unwrap().get::<_, i64>(0), 0);
    server.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_transaction_that_ends_in_a_deadlock_runs_again() {
    let server = TestServer::start().await;
    let (anna, ada) = (server.customer("Anna").await, server.sign_up("Ada", Role::Admin).await);
    let id = anna.account_id().await;
    let rename = "mutation($id: ID!, $name: String!) {
        updateAccount(input: { id: $id, name: $name }) { account { name } } }";
    let lock = "SET LOCAL deadlock_timeout = '1min';
        SELECT FROM accounts WHERE email = 'anna@example.com' FOR UPDATE";
    for round in 0..5 {
        let other = Held::begin(&server, lock).await;
        let name = format!("Anna {round}");
        let input = json!({ "id": id, "name": name });
        let (renamed, is_over) = tokio::join!(ada.ok(rename, input), async {
            until_waiting(&server, "%accounts%FOR NO KEY UPDATE%").await;
            let is_over = other.try_to_run("SELECT FROM accounts WHERE name = 'Ada' FOR UPDATE");
            let is_over = is_over.await;
            if is_over {
                until_waiting(&server, "%accounts%FOR NO KEY UPDATE%").await;
            }
            other.run("ROLLBACK").await;
            is_over
        });
        assert_eq!(renamed["updateAccount"]["account"]["name"], *name);
        if is_over {
            return server.stop().await;
        }
        // Postgres had looked for a deadlock before there was one, and looks once only.
    }
    panic!("no transaction of the server ended in a deadlock");
}

/// How often a tailer has read the feed: it asks for a thousand positions, and other readers for
/// fewer.
fn reads_of_tailer(log: &str, own: &[i32]) -> usize {
    let lines = log.lines().filter(|line| own.iter().any(|pid| line.contains(&format!("[{pid}]"))));
    let lines = lines.collect::<Vec<_>>();
    let bounds = |line: &str| {
        let values = line.split_once("DETAIL:  parameters: $1 = '")?.1;
        let (first, rest) = values.split_once('\'')?;
        let second = rest.split_once("$2 = '")?.1.split_once('\'')?.0;
        Some((first.parse::<i64>().ok()?, second.parse::<i64>().ok()?))
    };
    let pairs = lines.windows(2).filter(|pair| pair[0].contains("SELECT f.pos, f.mark"));
    let spans = pairs.filter_map(|pair| bounds(pair[1])).map(|(first, last)| last - first);
    spans.filter(|span| *span >= 999).count()
}

#[tokio::test(flavor = "multi_thread")]
async fn a_node_delivers_what_it_has_placed_without_reading_it() {
    const COMMENTS: usize = 20;
    let mut server = TestServer::start_logged().await;
    // With the parameters of the statements.
    let name = server.database.url.rsplit('/').next().unwrap();
    let verbose = format!("ALTER DATABASE {name} SET log_error_verbosity = 'default'");
    server.database.connect().await.batch_execute(&verbose).await.unwrap();
    server.restart().await;
    let (anna, marta) = (server.customer("Anna").await, server.agent("Marta").await);
    let ticket = anna.create_ticket("one").await;
    let mut socket = anna.socket().await;
    socket.watch_ticket("1", &ticket.id, None).await;
    socket.caught_up().await;
    server.quiet().await;
    let log = || std::fs::read_to_string(crate::harness::postgres::log_file()).unwrap();
    let before = log().len();
    for n in 0..COMMENTS {
        marta.comment(&ticket, &format!("{n}")).await;
        while socket.item().await["__typename"] != "CommentAdded" {}
    }
    let reads = reads_of_tailer(&log()[before..], &server.database.backends().await);
    // It reads once a second, in case that a hint was lost.
    assert!(reads < COMMENTS, "{reads} reads");
    // A node that has not placed them reads them.
    let second = server.second_node().await;
    let mut elsewhere = anna.at(&second.address().to_string()).socket().await;
    elsewhere.watch_ticket("1", &ticket.id, None).await;
    elsewhere.caught_up().await;
    let before = log().len();
    for n in 0..COMMENTS {
        marta.comment(&ticket, &format!("{n}")).await;
        while elsewhere.item().await["__typename"] != "CommentAdded" {}
    }
    let reads = reads_of_tailer(&log()[before..], &server.database.backends().await);
    assert!(reads > 0, "{reads} reads");
    second.stop().await;
    server.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_node_decides_again_what_another_node_has_changed_since_it_wrote_a_ticket() {
    let server = TestServer::start().await;
    let node = server.second_node().await;
    let there = node.address().to_string();
    let (anna, marta) = (server.customer("Anna").await, server.agent("Marta").await);
    let jonas = server.customer("Jonas").await;
    let ticket = anna.create_ticket("one").await;
    let update =
        |n: i32, priority: &'static str| json!({ "priority": priority, "expectedVersion": n });
    let ticket = marta.update(&ticket, update(1, "HIGH")).await;
    marta.at(&there).update(&ticket, update(2, "LOW")).await;
    // What is refused by the ticket as it was written is not refused.
    marta.update(&ticket, update(3, "HIGHEST")).await;
    // What it allows may not be allowed any more.
    assert_eq!(anna.at(&there).share(&ticket, &jonas.at(&there)).await, ["Jonas"]);
    jonas.comment(&ticket, "second").await;
    let (owner, participant) = (anna.at(&there), jonas.account_id().await);
    let removed = try_remove(&owner, &ticket.id, &participant).await;
    assert_eq!(removed.user_errors("removeParticipant"), [] as [&str; 0]);
    let refused = jonas.try_comment(&ticket, json!({ "body": "third" })).await;
    assert_eq!(refused.code(), "NOT_FOUND");
    // Nothing is written twice, and nothing is left out.
    marta.comment(&ticket, "fourth").await;
    marta.at(&there).comment(&ticket, "fifth").await;
    marta.comment(&ticket, "sixth").await;
    let bodies = "SELECT array_agg(body ORDER BY id) FROM comments";
    let row = server.database.connect().await.query_one(bodies, &[]).await.unwrap();
    assert_eq!(row.get::<_, Vec<String>>(0), ["second", "fourth", "fifth", "sixth"]);
    node.stop().await;
    server.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_call_behind_another_is_not_refused_by_a_ticket_that_was_not_read() {
    let flags = [("limits.staff_comments_per_minute", "1000".to_owned())];
    let server = TestServer::start_with(&flags).await;
    let node = server.second_node().await;
    let there = node.address().to_string();
    let (anna, jonas) = (server.customer("Anna").await, server.customer("Jonas").await);
    let (marta, boris) = (server.agent("Marta").await, server.agent("Boris").await);
    let (ticket, other) = (anna.create_ticket("one").await, anna.create_ticket("two").await);
    marta.comment(&other, "first").await;
    boris.comment(&ticket, "first").await;
    // Jonas may comment now. This node knows the ticket as it has written it.
    assert_eq!(anna.at(&there).share(&ticket, &jonas.at(&there)).await, ["Jonas"]);
    server.quiet().await;
    let held = Held::begin(&server, "SELECT FROM attempts FOR UPDATE").await;
    let behind = async {
        until_waiting(&server, "WITH seen%").await;
        let release = async {
            for _ in 0..20 {
                // Requests of an account wait for those under way, so another one sends these.
                anna.account_id().await;
            }
            held.commit().await;
        };
        tokio::join!(boris.comment(&ticket, "second"), jonas.comment(&ticket, "third"), release);
    };
    tokio::join!(marta.comment(&other, "second"), behind);
    node.stop().await;
    server.stop().await;
}
