//! Loads the dataset into an empty database.

use std::{
    sync::Arc,
    time::{Duration, Instant},
};

use chrono::{DateTime, Utc};
use tokio::time;
use tokio_postgres::Client;
use uuid::Uuid;

use super::{
    copy::{NULL, Rows, copy},
    database::{connect, connect_to_load},
    history::{Event, History, Latest, TicketEvents},
    indexes,
    process::Program,
    shape::{AGENTS, CATEGORIES, FIRST_NUMBER, Person, Shape, category_id},
};

/// How often to look whether the server has opened the first epoch of the feed.
const POLL: Duration = Duration::from_millis(10);

/// The entries in the queue.
const ENTRIES: &str = "
    INSERT INTO queue_entries (ticket_id, category_id, assignee_id, status, priority, updated_at,
                               waiting_since, resolved_at)
    SELECT id, category_id, assignee_id, status, priority, updated_at, waiting_since, resolved_at
    FROM tickets";

/// The search rows, as the triggers write them. Few different descriptions and bodies exist, so
/// each of them is parsed only once: `MATERIALIZED` keeps Postgres from parsing them for every row.
const TICKET_WORDS: &str = "
    WITH texts AS MATERIALIZED (
        SELECT description, setweight(to_tsvector('desk', searchable(description)), 'B') AS words
        FROM (SELECT DISTINCT description FROM tickets) all_texts)
    INSERT INTO search_documents (id, ticket_id, visibility, summary, words)
    SELECT t.id, t.id, 'public', t.summary,
           setweight(to_tsvector('desk', searchable(t.summary)), 'A') || texts.words
    FROM tickets t JOIN texts USING (description)";
const COMMENT_WORDS: &str = "
    WITH texts AS MATERIALIZED (
        SELECT body, setweight(to_tsvector('desk', searchable(body)), 'C') AS words
        FROM (SELECT DISTINCT body FROM comments) all_texts)
    INSERT INTO search_documents (id, ticket_id, visibility, words)
    SELECT c.id, c.ticket_id, c.visibility, texts.words
    FROM comments c JOIN texts USING (body)";

/// Migrates the database, loads the dataset and analyses it. Nobody is notified of the events.
///
/// Anyone can compute the tokens of the sessions: the database must not be reachable by others.
pub async fn load(program: &Program, shape: Shape) {
    let mut steps = Steps { begun: Instant::now() };
    program.run(&["migrate"], "").await;
    open_epoch(program).await;
    let client = connect_to_load(&program.url).await;
    let events = client.query_one("SELECT count(*) FROM events", &[]).await.expect("a number");
    assert_eq!(events.get::<_, i64>(0), 0, "the database is not empty");
    let indexes = indexes::drop(&client).await;
    categories(&client).await;
    people(&client, shape).await;
    steps.end("schema and accounts");
    let history = Arc::new(History::of(shape));
    steps.end("order of events");
    tokio::join!(
        tickets(&program.url, shape, Arc::clone(&history)),
        comments(&program.url, shape, Arc::clone(&history)),
        events_and_feed(&program.url, shape, Arc::clone(&history)),
    );
    steps.end("tickets, comments, events and search rows");
    finish(&client, shape, history.len()).await;
    indexes.create(&program.url).await;
    steps.end("indexes");
    client.batch_execute("VACUUM (ANALYZE)").await.expect("statistics");
    client.batch_execute("CHECKPOINT").await.expect("a checkpoint");
    steps.end("statistics");
}

/// Prints how long each step takes.
struct Steps {
    begun: Instant,
}

impl Steps {
    fn end(&mut self, name: &str) {
        eprintln!("{:>7.1} s  {name}", self.begun.elapsed().as_secs_f64());
        self.begun = Instant::now();
    }
}

/// Starts the server until it has opened the first epoch of the feed.
async fn open_epoch(program: &Program) {
    let server = program.serve(&[]).await;
    let client = connect(&program.url).await;
    let query = "SELECT EXISTS (SELECT FROM feed_epochs)";
    while !client.query_one(query, &[]).await.expect("an answer").get::<_, bool>(0) {
        time::sleep(POLL).await;
    }
    server.stop().await;
}

async fn categories(client: &Client) {
    copy(client, "categories (id, slug, name_en, name_ru, position)", |rows| {
        for (row, slug) in (1..).zip(CATEGORIES) {
            let (id, position) = (category_id(row), row + 10);
            rows.write(format_args!("{id}\t{slug}\t{slug}\t{slug}\t{position}"));
        }
    })
    .await;
}

/// Loads the accounts, each with a session.
async fn people(client: &Client, shape: Shape) {
    let people = move || {
        let customers = (1..=shape.customers() as u32).map(Person::Customer);
        customers.chain((1..=AGENTS as u32).map(Person::Agent))
    };
    copy(client, "accounts (id, email, name, role, locale, created_at)", move |rows| {
        for person in people() {
            let (id, (role, row)) = (person.id(), person.role_and_row());
            rows.write(format_args!(
                "{id}\t{role}{row}@example.test\t{role} {row}\t{role}\ten\t2023-12-01"
            ));
        }
    })
    .await;
    let columns = "sessions (id, account_id, token_hash, created_at, last_used_at, expires_at)";
    copy(client, columns, move |rows| {
        for person in people() {
            let (id, account, hash) = (person.session_id(), person.id(), person.token_hash());
            rows.write(format_args!("{id}\t{account}\t\\\\x{hash}\tnow\tnow\t2100-01-01"));
        }
    })
    .await;
}

async fn tickets(url: &str, shape: Shape, history: Arc<History>) {
    let client = connect_to_load(url).await;
    let columns = "tickets (id, number, category_id, reporter_id, assignee_id, summary, description,
        status, priority, event_seq, created_at, updated_at, waiting_since, resolved_at,
        public_seq, public_actor_id, public_seq_by_others, any_seq, any_actor_id, any_seq_by_others)";
    copy(&client, columns, move |rows| {
        for (row, events) in (1..).zip(history.latest()) {
            write_ticket(rows, shape, row, &events);
        }
    })
    .await;
    client.batch_execute(ENTRIES).await.expect("entries in the queue");
    client.batch_execute(TICKET_WORDS).await.expect("search rows of tickets");
}

fn write_ticket(rows: &mut Rows, shape: Shape, row: u64, events: &TicketEvents) {
    let ticket = shape.ticket(row);
    let updated = time_of(ticket.updated_at);
    let waiting_since = match ticket.status {
        "waiting_for_support" => updated.to_string(),
        _ => NULL.to_owned(),
    };
    // The server closes tickets that were resolved long ago.
    let resolved_at = if ticket.status == "resolved" { "now" } else { NULL };
    let latest = |latest: &Latest| {
        format!("{}\t{}\t{}", latest.seq, nullable(latest.actor.map(Person::id)), latest.by_others)
    };
    rows.write(format_args!(
        "{}\t{}\t{}\t{}\t{}\t{}\t{}\t{}\t{}\t{}\t{}\t{updated}\t{waiting_since}\t{resolved_at}\t{}\t{}",
        ticket.id,
        FIRST_NUMBER + row,
        category_id(ticket.category),
        ticket.reporter.id(),
        nullable(ticket.assignee.map(Person::id)),
        ticket.summary,
        ticket.description,
        ticket.status,
        ticket.priority,
        events.any.seq,
        time_of(ticket.created_at),
        latest(&events.public),
        latest(&events.any),
    ));
}

async fn comments(url: &str, shape: Shape, history: Arc<History>) {
    let client = connect_to_load(url).await;
    let columns = "comments (id, ticket_id, author_id, visibility, body, created_at)";
    copy(&client, columns, move |rows| {
        for comment in history.events().filter_map(|event| event.comment) {
            let comment = shape.comment(comment);
            rows.write(format_args!(
                "{}\t{}\t{}\t{}\t{}\t{}",
                comment.id,
                shape.ticket_id(comment.ticket),
                comment.author.id(),
                if comment.internal { "internal" } else { "public" },
                comment.body,
                time_of(comment.created_at),
            ));
        }
    })
    .await;
    client.batch_execute(COMMENT_WORDS).await.expect("search rows of comments");
}

async fn events_and_feed(url: &str, shape: Shape, history: Arc<History>) {
    let client = connect_to_load(url).await;
    let columns = "events (id, ticket_id, seq, kind, audience, actor_id, data, occurred_at,
        category_id, status, priority, assignee_id)";
    let events = Arc::clone(&history);
    copy(&client, columns, move |rows| {
        let mut last = vec![0_u32; shape.tickets as usize];
        for event in events.events() {
            let seq = &mut last[event.ticket as usize - 1];
            *seq += 1;
            write_event(rows, shape, &event, *seq);
        }
    })
    .await;
    copy(&client, "feed (pos, event_id, ticket_id, mark)", move |rows| {
        for Event { id, ticket, .. } in history.events() {
            rows.write(format_args!("{id}\t{id}\t{}\t1", shape.ticket_id(ticket)));
        }
    })
    .await;
}

fn write_event(rows: &mut Rows, shape: Shape, event: &Event, seq: u32) {
    let ticket = shape.ticket(event.ticket);
    let (kind, audience, actor, data, time) = match event.comment {
        None => ("ticket_created", "participants", ticket.reporter, "{}".into(), ticket.created_at),
        Some(row) => {
            let comment = shape.comment(row);
            let audience = if comment.internal { "staff" } else { "participants" };
            let data = format!("{{\"comment_id\": \"{}\"}}", comment.id);
            ("comment_added", audience, comment.author, data, comment.created_at)
        }
    };
    rows.write(format_args!(
        "{}\t{}\t{seq}\t{kind}\t{audience}\t{}\t{data}\t{}\t{}\t{}\t{}\t{}",
        event.id,
        ticket.id,
        actor.id(),
        time_of(time),
        category_id(ticket.category),
        ticket.status,
        ticket.priority,
        nullable(ticket.assignee.map(Person::id)),
    ));
}

/// Moves the head of the feed, all its consumers and the sequences behind the rows.
async fn finish(client: &Client, shape: Shape, events: usize) {
    let numbers = FIRST_NUMBER + shape.tickets;
    let statements = format!(
        "UPDATE feed_head SET pos = {events};
         UPDATE consumer_offsets SET pos = {events};
         SELECT setval(pg_get_serial_sequence('events', 'id'), {events});
         SELECT setval('ticket_numbers', {numbers})"
    );
    client.batch_execute(&statements).await.expect("the positions");
}

fn time_of(microseconds: i64) -> DateTime<Utc> {
    DateTime::from_timestamp_micros(microseconds).expect("a time")
}

fn nullable(id: Option<Uuid>) -> String {
    id.map_or_else(|| NULL.to_owned(), |id| id.to_string())
}
