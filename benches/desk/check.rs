//! Checks a loaded dataset against the running server, so that a schema that has changed since the
//! loader was written is noticed. A check that fails panics.

use std::time::Duration;

use serde_json::{Value, json};
use tokio::time;
use tokio_postgres::{Client, SimpleQueryMessage, SimpleQueryRow};

use super::{
    api,
    database::connect,
    process::Program,
    shape::{Person, RARE_WORD, Shape, global_id},
    workloads::{WORKLOADS, Workload},
};

/// How often to look whether an event has its position in the feed.
const POLL: Duration = Duration::from_millis(10);

/// A server and its dataset.
pub struct Check {
    shape: Shape,
    address: String,
    http: reqwest::Client,
    database: Client,
}

impl Check {
    /// Prepares the checks of a server.
    pub async fn new(program: &Program, address: &str, shape: Shape) -> Self {
        Self {
            shape,
            address: address.to_owned(),
            http: reqwest::Client::new(),
            database: connect(&program.url).await,
        }
    }

    /// Checks that some pages of every workload have the same rows as their SQL statements.
    pub async fn pages(&self) {
        for workload in WORKLOADS.iter().filter(|workload| !workload.writes) {
            let rows = workload.rows(self.shape);
            for row in [*rows.start(), u64::midpoint(*rows.start(), *rows.end()), *rows.end()] {
                self.page(workload, row).await;
            }
        }
    }

    /// Checks that a new dataset can be searched and that nobody was notified.
    pub async fn search_and_feed(&self) {
        let search = "{ search(text: \"%\") { nodes { ticket { id } comment { id } } } }";
        let search = search.replace('%', RARE_WORD);
        let found = self.send(Person::Agent(1), &search, json!({})).await;
        let expected = json!({
            "ticket": { "id": self.ticket(1) },
            "comment": { "id": global_id("Comment", self.shape.comment_id(1)) },
        });
        assert_eq!(found["search"]["nodes"], json!([expected]), "the search");
        let behind =
            "SELECT (SELECT count(*) FROM notifications) + (SELECT count(*) FROM deliveries)
            + (SELECT count(*) FROM consumer_offsets, feed_head
               WHERE consumer_offsets.pos <> feed_head.pos)";
        assert_eq!(self.number(behind).await, 0, "notifications, mails or consumers behind");
        assert_eq!(self.number("SELECT count(*) FROM feed_epochs").await, 1, "epochs");
    }

    /// Checks that the dataset can be continued: a new ticket has the next number, and a new comment
    /// the next positions in its ticket and in the feed.
    pub async fn writing(&self) {
        let number = self.number("SELECT max(number) + 1 FROM tickets").await;
        let create = "mutation($input: CreateTicketInput!) {
            createTicket(input: $input) { ticket { id number } } }";
        let category = "SELECT id::text FROM categories WHERE position = 1";
        let category = self.database.query_one(category, &[]).await.expect("a category");
        let input = json!({
            "categoryId": global_id("Category", category.get::<_, String>(0)),
            "summary": "A ticket of the benchmark",
            "description": "It does not work.",
        });
        let created = self.send(Person::Customer(2), create, json!({ "input": input })).await;
        let text = created["createTicket"]["ticket"]["number"].as_str().expect("a number");
        assert!(text.ends_with(&format!("-{number}")), "{text} instead of {number}");
        self.comment().await;
    }

    async fn comment(&self) {
        let row = self.shape.tickets;
        let row = (1..=row).rev().find(|&row| self.shape.ticket(row).status != "closed");
        let row = row.expect("an open ticket");
        let of_ticket = format!("FROM events WHERE ticket_id = '{}'", self.shape.ticket_id(row));
        let before = self.number(&format!("SELECT max(seq) {of_ticket}")).await;
        let head = self.placed().await;
        let post = "mutation($input: AddCommentInput!) {
            addComment(input: $input) { comment { id } } }";
        let input = json!({ "ticketId": self.ticket(row), "body": "A comment of the benchmark" });
        let posted = self.send(Person::Agent(1), post, json!({ "input": input })).await;
        assert!(posted["addComment"]["comment"]["id"].is_string(), "{posted}");
        let last_comment = format!("SELECT max(seq) {of_ticket} AND kind = 'comment_added'");
        assert_eq!(self.number(&last_comment).await, before + 1, "the place in the ticket");
        self.placed().await;
        let place = format!(
            "SELECT min(pos) FROM feed WHERE event_id = (SELECT id {of_ticket} AND seq = {})",
            before + 1
        );
        assert_eq!(self.number(&place).await, head + 1, "the place in the feed");
    }

    /// Waits until every event has its position in the feed, and returns the last one.
    async fn placed(&self) -> i64 {
        while self.number("SELECT count(*) FROM pending_events").await > 0 {
            time::sleep(POLL).await;
        }
        self.number("SELECT pos FROM feed_head").await
    }

    async fn page(&self, workload: &Workload, row: u64) {
        let (query, variables) = workload.request(self.shape, row);
        let token = workload.token(row);
        let data = api::send(&self.http, &self.address, &token, query, variables).await;
        let statement = workload.statement().replace(":row", &row.to_string());
        let rows = self.database.simple_query(&statement).await.expect("rows");
        let rows = rows.iter().filter_map(|message| match message {
            SimpleQueryMessage::Row(row) => Some(line(row, workload.columns)),
            _ => None,
        });
        let rows = rows.collect::<Vec<_>>();
        assert!(!rows.is_empty(), "{} of row {row} is empty", workload.name);
        let lines = workload.lines(&data);
        assert_eq!(lines.len(), rows.len(), "lines of {} of row {row}", workload.name);
        for (index, (line, expected)) in lines.iter().zip(&rows).enumerate() {
            assert_eq!(line, expected, "line {index} of {} of row {row}", workload.name);
        }
    }

    async fn send(&self, person: Person, query: &str, variables: Value) -> Value {
        api::send(&self.http, &self.address, &person.token(), query, variables).await
    }

    async fn number(&self, query: &str) -> i64 {
        self.database.query_one(query, &[]).await.expect("a number").get(0)
    }

    fn ticket(&self, row: u64) -> String {
        global_id("Ticket", self.shape.ticket_id(row))
    }
}

fn line(row: &SimpleQueryRow, columns: &[&str]) -> Vec<Value> {
    columns.iter().map(|column| json!(row.get(*column))).collect()
}
