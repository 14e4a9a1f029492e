//! What the pages that people open most cost: statements and allocations of a request, compared
//! with the accepted counts in `accepted.toml`. A program of its own, since allocations are counted
//! in the whole process.

#![expect(dead_code, unused_imports, reason = "most of the harness is for the other tests")]
#![expect(clippy::too_many_lines, reason = "a scenario is told from its beginning to its end")]

#[path = "../it/harness/mod.rs"]
mod harness;

use std::{alloc::System, collections::BTreeMap};

use harness::{Client, TestServer, client::TECHNICAL_SUPPORT};
use serde_json::{Value, json};
use stats_alloc::{INSTRUMENTED_SYSTEM, Region, StatsAlloc};
use tokio::{
    io::{AsyncReadExt as _, AsyncWriteExt as _},
    net::TcpStream,
};

#[global_allocator]
static ALLOCATOR: &StatsAlloc<System> = &INSTRUMENTED_SYSTEM;

const ACCEPTED: &str = include_str!("accepted.toml");
/// How many requests are counted together, and how often. The smallest count is the one in which
/// the background tasks did least.
const REQUESTS: usize = 10;
const ROUNDS: usize = 5;
/// By how many percent allocations may differ from the accepted count.
const TOLERANCE: usize = 8;

const MY_TICKETS: &str = "query($first: Int!) { tickets(first: $first) { nodes { id number summary
    status priority createdAt } } }";
const TICKET: &str =
    "query($id: ID!, $last: Int!) { node(id: $id) { ... on Ticket { id number summary
    description status priority createdAt reporter { name } timeline(last: $last) { nodes {
    ... on CommentAdded { comment { id body visibility createdAt author { name } } } } } } } }";
const QUEUE: &str = "query($category: ID!, $first: Int!) { tickets(first: $first, filter: {
    categoryIds: [$category], status: [WAITING_FOR_SUPPORT] }, orderBy: { field: UPDATED_AT }) {
    nodes { id number summary status priority updatedAt reporter { name } assignee { name }
    timeline(last: 1) { nodes { ... on CommentAdded { comment { body createdAt } } } } } } }";

const QUEUE_WITH_LAST_COMMENT: &str = "query($category: ID!, $first: Int!) { tickets(first: $first,
    filter: { categoryIds: [$category], status: [WAITING_FOR_SUPPORT] }, orderBy: {
    field: UPDATED_AT }) { nodes { id number summary status priority updatedAt reporter { name }
    assignee { name } comment: lastComment { body createdAt } } } }";

/// What one request costs.
#[derive(Debug, PartialEq, serde::Deserialize)]
struct Cost {
    statements: usize,
    allocations: usize,
}

/// A request over a connection of its own, which takes next to no memory.
struct Page {
    name: &'static str,
    stream: TcpStream,
    request: Vec<u8>,
    response: Vec<u8>,
}

impl Page {
    async fn new(name: &'static str, client: &Client, query: &str, variables: Value) -> Self {
        let request = client.raw_post(query, &variables);
        let stream = TcpStream::connect(client.address()).await.unwrap();
        Self { name, stream, request, response: Vec::with_capacity(1 << 20) }
    }

    async fn load(&mut self) {
        self.stream.write_all(&self.request).await.unwrap();
        self.response.clear();
        while !self.is_complete() {
            assert_ne!(self.stream.read_buf(&mut self.response).await.unwrap(), 0);
        }
    }

    fn is_complete(&self) -> bool {
        let text = std::str::from_utf8(&self.response).unwrap_or_default();
        let Some((head, body)) = text.split_once("\r\n\r\n") else { return false };
        let length = head.split_once("content-length: ").unwrap().1;
        let length = length.split_once("\r\n").map_or(length, |(length, _)| length);
        assert!(head.starts_with("HTTP/1.1 200"), "{text}");
        body.len() == length.parse::<usize>().unwrap()
    }

    /// Returns the data, once it is known to be that of a page which is full.
    fn data(&self) -> Value {
        let text = std::str::from_utf8(&self.response).unwrap();
        serde_json::from_str(text.split_once("\r\n\r\n").unwrap().1).unwrap()
    }
}

/// Opens the tickets of the pages, and returns the pages.
async fn prepare(server: &TestServer) -> [Page; 4] {
    let (anna, boris) = (server.customer("Anna").await, server.customer("Boris").await);
    let agents = [server.agent("Marta").await, server.agent("Olga").await];
    let hot = boris.create_ticket("A long story").await;
    for number in 0..55 {
        agents[number % 2].comment(&hot, "We look into it, and tell you when we know more.").await;
    }
    for number in 0..55 {
        let ticket = anna.create_ticket(&format!("Ticket {number}")).await;
        anna.comment(&ticket, "It still does not work.").await;
    }
    server.quiet().await;
    let queue = json!({ "category": TECHNICAL_SUPPORT, "first": 50 });
    [
        Page::new("my_tickets", &anna, MY_TICKETS, json!({ "first": 20 })).await,
        Page::new("ticket", &agents[0], TICKET, json!({ "id": hot.id, "last": 50 })).await,
        Page::new("queue", &agents[0], QUEUE, queue.clone()).await,
        Page::new("queue_with_last_comment", &agents[0], QUEUE_WITH_LAST_COMMENT, queue).await,
    ]
}

/// Returns the number of comments in a response.
fn comments(data: &Value) -> usize {
    data.to_string().matches("\"comment\":{").count()
}

/// Returns how many allocations a request causes.
async fn allocations(page: &mut Page) -> usize {
    let mut least = usize::MAX;
    for _ in 0..ROUNDS {
        let region = Region::new(ALLOCATOR);
        for _ in 0..REQUESTS {
            page.load().await;
        }
        least = least.min(region.change().allocations / REQUESTS);
    }
    least
}

#[tokio::test(flavor = "multi_thread")]
async fn pages_cost_what_was_accepted() {
    let flags = ["limits.tickets_per_minute", "limits.customer_comments_per_minute"];
    let server = TestServer::start_logged_with(&flags.map(|key| (key, "0".to_owned()))).await;
    let mut costs = BTreeMap::new();
    for (mut page, full) in prepare(&server).await.into_iter().zip([0, 50, 50, 50]) {
        // Plans, timelines and documents are kept from the second request on.
        for _ in 0..3 {
            page.load().await;
        }
        assert_eq!(comments(&page.data()), full, "{}", page.name);
        let statements = server.statements_of(async || page.load().await).await.len();
        let allocations = allocations(&mut page).await;
        costs.insert(page.name, Cost { statements, allocations });
    }
    server.stop().await;
    let accepted = toml::from_str::<BTreeMap<String, Cost>>(ACCEPTED).unwrap();
    let as_accepted = costs.iter().all(|(name, cost)| {
        accepted.get(*name).is_some_and(|accepted| {
            let difference = cost.allocations.abs_diff(accepted.allocations);
            cost.statements == accepted.statements
                && difference * 100 <= accepted.allocations * TOLERANCE
        })
    });
    assert!(
        as_accepted,
        "The pages cost {costs:#?}. If that is intended, write it into \
         tests/counts/accepted.toml and say why in the commit."
    );
}
