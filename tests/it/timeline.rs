//! Timelines that nodes keep in memory, and the last comments of tickets.

use serde_json::{Value, json};

use crate::harness::{Client, TestServer, client::Ticket};

const TIMELINE: &str =
    "query($id: ID!) { node(id: $id) { ... on Ticket { timeline(last: 10) { nodes {
    __typename ... on CommentAdded { comment { body author { name } } } } } } } }";

/// Returns the comments of a ticket's timeline, in its order.
async fn comments(client: &Client, ticket: &Ticket) -> Vec<Value> {
    let data = client.ok(TIMELINE, json!({ "id": ticket.id })).await;
    let nodes = data["node"]["timeline"]["nodes"].as_array().unwrap().iter();
    nodes
        .filter(|node| node["comment"].is_object())
        .map(|it| it["comment"]["body"].clone())
        .collect()
}

#[tokio::test(flavor = "multi_thread")]
async fn a_timeline_is_read_once_until_something_happens_to_its_ticket() {
    let server = TestServer::start_logged().await;
    let (anna, marta) = (server.customer("Anna").await, server.agent("Marta").await);
    let ticket = anna.create_ticket("The site is down").await;
    marta.comment(&ticket, "We look at it.").await;
    let read = |statements: &[String]| {
        statements.iter().any(|it| it.contains("c.body") || it.contains("e.kind"))
    };
    let first = server.statements_of(async || drop(comments(&anna, &ticket).await)).await;
    assert!(read(&first), "{first:?}");
    let second = server.statements_of(async || drop(comments(&anna, &ticket).await)).await;
    assert!(!read(&second), "{second:?}");
    marta.comment(&ticket, "It is up.").await;
    let third = server.statements_of(async || drop(comments(&anna, &ticket).await)).await;
    assert!(read(&third), "{third:?}");
    server.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_node_that_has_not_heard_of_a_comment_shows_it() {
    let server = TestServer::start().await;
    let node = server.second_node().await;
    let (anna, marta) = (server.customer("Anna").await, server.agent("Marta").await);
    let there = anna.at(&node.address().to_string());
    let ticket = anna.create_ticket("The site is down").await;
    marta.comment(&ticket, "one").await;
    server.quiet().await;
    assert_eq!(comments(&there, &ticket).await, ["one"]);
    // No event gets a position, so no node receives one.
    let mut database = server.database.connect().await;
    let lock = database.transaction().await.unwrap();
    lock.execute("SELECT FROM feed_head FOR UPDATE", &[]).await.unwrap();
    marta.comment(&ticket, "two").await;
    assert_eq!(comments(&there, &ticket).await, ["one", "two"]);
    marta.note(&ticket, "three").await;
    assert_eq!(comments(&there, &ticket).await, ["one", "two"]);
    assert_eq!(comments(&marta, &ticket).await, ["one", "two", "three"]);
    lock.rollback().await.unwrap();
    assert_eq!(comments(&there, &ticket).await, ["one", "two"]);
    node.stop().await;
    server.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn customers_do_not_receive_what_was_kept_for_staff() {
    let server = TestServer::start().await;
    let (anna, marta) = (server.customer("Anna").await, server.agent("Marta").await);
    let ticket = anna.create_ticket("The site is down").await;
    marta.note(&ticket, "between us").await;
    server.quiet().await;
    for _ in 0..2 {
        assert_eq!(comments(&marta, &ticket).await, ["between us"]);
        assert_eq!(comments(&anna, &ticket).await, Vec::<Value>::new());
    }
    let stranger = server.customer("Boris").await;
    let refused = stranger.send(TIMELINE, json!({ "id": ticket.id })).await;
    assert_eq!(refused.code(), "NOT_FOUND");
    server.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn the_payload_of_a_mutation_has_its_own_event_in_the_timeline() {
    let server = TestServer::start().await;
    let (anna, marta) = (server.customer("Anna").await, server.agent("Marta").await);
    let ticket = anna.create_ticket("The site is down").await;
    marta.comment(&ticket, "one").await;
    server.quiet().await;
    assert_eq!(comments(&anna, &ticket).await, ["one"]);
    let add = "mutation($input: AddCommentInput!) { addComment(input: $input) { ticket {
        timeline(last: 10) { nodes { ... on CommentAdded { comment { body } } } } } } }";
    let input = json!({ "ticketId": ticket.id, "body": "two" });
    let added = anna.ok(add, json!({ "input": input })).await;
    let nodes = added["addComment"]["ticket"]["timeline"]["nodes"].as_array().unwrap();
    assert_eq!(nodes.last().unwrap()["comment"]["body"], "two", "{added}");
    server.stop().await;
}

/// Returns the names of the first comment's author and of the ticket's customer, and whether the
/// accounts were read from the database.
async fn names(server: &TestServer, client: &Client, ticket: &Ticket) -> (Value, Value, bool) {
    let query = "query($id: ID!) { node(id: $id) { ... on Ticket { reporter { name }
        timeline(last: 10) { nodes { ... on CommentAdded { comment { author { name } } } } } } } }";
    let mut page = Value::Null;
    let read = async || page = client.ok(query, json!({ "id": ticket.id })).await;
    let statements = server.statements_of(read).await;
    let read = statements.iter().any(|it| it.contains(r#"FROM "accounts" WHERE"#));
    let ticket = &mut page["node"];
    let author = ticket["timeline"]["nodes"][1]["comment"]["author"]["name"].take();
    (author, ticket["reporter"]["name"].take(), read)
}

#[tokio::test(flavor = "multi_thread")]
async fn names_are_read_once_until_an_account_changes() {
    let server = TestServer::start_logged().await;
    let node = server.second_node().await;
    let (anna, marta) = (server.customer("Anna").await, server.agent("Marta").await);
    let there = anna.at(&node.address().to_string());
    let ticket = anna.create_ticket("The site is down").await;
    marta.comment(&ticket, "We look at it.").await;
    server.quiet().await;
    let known = |author: &str, reporter: &str, read| (json!(author), json!(reporter), read);
    assert_eq!(names(&server, &there, &ticket).await, known("Marta", "Anna", true));
    assert_eq!(names(&server, &there, &ticket).await, known("Marta", "Anna", false));
    // No node hears of the change: a version without events of this kind has written it.
    let database = server.database.connect().await;
    let rename = "UPDATE accounts SET name = name || ' B.'";
    database.execute(rename, &[]).await.unwrap();
    assert_eq!(names(&server, &there, &ticket).await, known("Marta B.", "Anna B.", true));
    assert_eq!(names(&server, &there, &ticket).await, known("Marta B.", "Anna B.", false));
    // What nobody else sees.
    database.execute("UPDATE accounts SET event_seq = event_seq + 1", &[]).await.unwrap();
    assert_eq!(names(&server, &there, &ticket).await, known("Marta B.", "Anna B.", false));
    node.stop().await;
    server.stop().await;
}

const LAST: &str =
    "query($id: ID!) { node(id: $id) { ... on Ticket { lastComment { body author { name } } } } }";

/// Returns the text of a ticket's last comment.
async fn last(client: &Client, ticket: &Ticket) -> Value {
    let mut data = client.ok(LAST, json!({ "id": ticket.id })).await;
    data["node"]["lastComment"]["body"].take()
}

/// Returns the same for each of two readers.
async fn lasts(readers: &[&Client; 2], ticket: &Ticket) -> [Value; 2] {
    [last(readers[0], ticket).await, last(readers[1], ticket).await]
}

#[tokio::test(flavor = "multi_thread")]
async fn the_last_comment_is_the_last_that_the_reader_sees() {
    let server = TestServer::start().await;
    let (anna, marta) = (server.customer("Anna").await, server.agent("Marta").await);
    let readers = [&anna, &marta];
    let ticket = anna.create_ticket("The site is down").await;
    assert_eq!(lasts(&readers, &ticket).await, [Value::Null, Value::Null]);
    anna.comment(&ticket, "one").await;
    assert_eq!(lasts(&readers, &ticket).await, [json!("one"), json!("one")]);
    marta.note(&ticket, "two").await;
    assert_eq!(lasts(&readers, &ticket).await, [json!("one"), json!("two")]);
    marta.update(&ticket, json!({ "priority": "HIGH" })).await;
    assert_eq!(lasts(&readers, &ticket).await, [json!("one"), json!("two")]);
    marta.comment(&ticket, "three").await;
    for reader in readers {
        assert_eq!(last(reader, &ticket).await, "three");
        assert_eq!(last(reader, &ticket).await, "three");
    }
    server.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn the_last_comment_is_right_beside_a_version_that_does_not_record_it() {
    let server = TestServer::start().await;
    let (anna, marta) = (server.customer("Anna").await, server.agent("Marta").await);
    let readers = [&anna, &marta];
    let ticket = anna.create_ticket("The site is down").await;
    anna.comment(&ticket, "one").await;
    let database = server.database.connect().await;
    // A ticket from before the migration.
    let forget = "UPDATE tickets SET last_comments_seq = NULL, last_comment_id = NULL,
        last_public_comment_id = NULL";
    database.execute(forget, &[]).await.unwrap();
    assert_eq!(lasts(&readers, &ticket).await, [json!("one"), json!("one")]);
    marta.note(&ticket, "two").await;
    assert_eq!(lasts(&readers, &ticket).await, [json!("one"), json!("two")]);
    marta.comment(&ticket, "three").await;
    let known = "SELECT last_comments_seq = event_seq FROM tickets";
    assert!(database.query_one(known, &[]).await.unwrap().get::<_, bool>(0));
    // A comment of the previous version.
    let comment = "WITH comment AS (
            INSERT INTO comments (id, ticket_id, author_id, visibility, body, created_at)
            SELECT gen_random_uuid(), ticket_id, author_id, 'public', 'four', created_at
            FROM comments WHERE body = 'three' RETURNING id
        ), ticket AS (UPDATE tickets SET event_seq = event_seq + 1 RETURNING event_seq)
        INSERT INTO events (ticket_id, seq, kind, audience, actor_id, data, occurred_at,
            category_id, status, priority, assignee_id, participant_ids)
        SELECT ticket_id, ticket.event_seq, kind, audience, actor_id,
            jsonb_build_object('comment_id', comment.id), occurred_at,
            category_id, status, priority, assignee_id, participant_ids
        FROM comment, ticket,
            (SELECT * FROM events WHERE kind = 'comment_added' ORDER BY id DESC LIMIT 1) last";
    database.execute(comment, &[]).await.unwrap();
    for reader in readers {
        assert_eq!(last(reader, &ticket).await, "four");
    }
    server.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_comment_in_memory_is_not_shown_after_the_database_was_rolled_back() {
    let server = TestServer::start().await;
    let (anna, marta) = (server.customer("Anna").await, server.agent("Marta").await);
    let ticket = anna.create_ticket("one").await;
    marta.comment(&ticket, "of the lost history").await;
    server.quiet().await;
    let cursor = async || anna.ok("{ eventCursor }", json!({})).await["eventCursor"].clone();
    let known = cursor().await;
    assert_eq!(last(&anna, &ticket).await, "of the lost history");
    // In the history that is brought back the ticket has as many events, and another comment.
    let database = server.database.connect().await;
    let rolled_back =
        "UPDATE comments SET body = 'of this history'; UPDATE feed SET mark = mark + 1";
    database.batch_execute(rolled_back).await.unwrap();
    while cursor().await == known {}
    assert_eq!(last(&anna, &ticket).await, "of this history");
    server.stop().await;
}

/// Fields that are merged exist only while their object is resolved.
#[tokio::test(flavor = "multi_thread")]
async fn timelines_that_are_merged_of_several_fields_select_what_each_of_them_does() {
    let server = TestServer::start().await;
    let (anna, marta) = (server.customer("Anna").await, server.agent("Marta").await);
    let ticket = anna.create_ticket("The site is down").await;
    marta.comment(&ticket, "An answer").await;
    server.quiet().await;
    let query = "query($id: ID!) { node(id: $id) { ... on Ticket {
        timeline(first: 5) { nodes { id cursor } } } } }";
    let expected = anna.ok(query, json!({ "id": ticket.id })).await["node"].clone();
    // The root fields of a mutation are executed one after the other.
    let fields = ["occurredAt", "cursor", "actor { name }", "cursor", "__typename", "cursor"];
    let fields = fields.iter().enumerate().map(|(n, more)| {
        format!(
            "f{n}: markTicketRead(input: {{ ticketId: $id }}) {{ ticket {{
                timeline(first: 5) {{ nodes {{ id }} }}
                timeline(first: 5) {{ nodes {{ {more} }} }} }} }}"
        )
    });
    let mutation = format!("mutation($id: ID!) {{ {} }}", fields.collect::<String>());
    let read = anna.ok(&mutation, json!({ "id": ticket.id })).await;
    for name in ["f1", "f3", "f5"] {
        assert_eq!(read[name]["ticket"], expected, "{name}");
    }
    server.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_cursor_of_another_ticket_is_refused() {
    let server = TestServer::start().await;
    let anna = server.customer("Anna").await;
    let (mine, other) = (anna.create_ticket("mine").await, anna.create_ticket("other").await);
    let page = "query($id: ID!, $after: String, $before: String) { node(id: $id) { ... on Ticket {
        timeline(first: 2, after: $after, before: $before) { pageInfo { hasPreviousPage endCursor } } } } }";
    let read = async |ticket: &Ticket, after: &Value, before: &Value| {
        anna.send(page, json!({ "id": ticket.id, "after": after, "before": before })).await
    };
    let end = async |ticket: &Ticket| {
        let read = read(ticket, &Value::Null, &Value::Null).await;
        read.body["data"]["node"]["timeline"]["pageInfo"]["endCursor"].clone()
    };
    let (own, foreign) = (end(&mine).await, end(&other).await);
    for (after, before, argument) in [
        (&foreign, &Value::Null, "`after` is not"),
        (&Value::Null, &foreign, "`before` is not"),
        (&own, &foreign, "`after` or `before` is not"),
    ] {
        let refused = read(&mine, after, before).await;
        assert_eq!(refused.code(), "BAD_REQUEST");
        let message = refused.body["errors"][0]["message"].to_string();
        assert!(message.contains(argument), "{message}");
    }
    // After the last event there is an empty page.
    let last = read(&mine, &own, &Value::Null).await;
    let info = &last.body["data"]["node"]["timeline"]["pageInfo"];
    assert_eq!(*info, json!({ "hasPreviousPage": true, "endCursor": null }));
    server.stop().await;
}
