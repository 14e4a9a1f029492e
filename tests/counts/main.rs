//! What the pages that people open most cost, and a comment and a ticket: statements and allocations
//! of a request, and the bytes that a write adds to the log of Postgres, compared with the accepted
//! counts in `accepted.toml`. A program of its own, since allocations are counted
//! in the whole process.

#![expect(dead_code, unused_imports, reason = "most of the harness is for the other tests")]
#![expect(clippy::too_many_lines, reason = "a scenario is told from its beginning to its end")]

#[path = "../it/harness/mod.rs"]
mod harness;

use std::{alloc::System, collections::BTreeMap};

use base64::{Engine as _, engine::general_purpose::URL_SAFE_NO_PAD};
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
/// The same for a write. The node's tasks run by time too: on a busy machine, a write that takes longer
/// meets more of them.
const TOLERANCE_OF_WRITES: usize = 15;
/// The same for bytes of log.
const WAL_TOLERANCE: usize = 20;
/// How many streams wait for their turn at the same time, and how many bytes each may take then.
const WAITING: usize = 90;
const WAITING_BYTES: usize = 12_288;
/// By how many percent a write may cost less: on a busy machine, more of what follows from it is done
/// in batches.
const BATCHED: usize = 40;

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

const COMMENT: &str = "mutation($ticketId: ID!, $body: String!) { addComment(input: {
    ticketId: $ticketId, body: $body }) { comment { id createdAt } userErrors { code } } }";
const COMMENT_ON_TERMS: &str = "mutation($input: AddCommentInput!) { addComment(input: $input) {
    comment { id } userErrors { code } } }";
const OPEN_ONCE: &str = "mutation($input: CreateTicketInput!) { createTicket(input: $input) {
    ticket { id number } userErrors { code } } }";
const LAST_EVENT: &str = "query($id: ID!) { node(id: $id) { ... on Ticket { timeline(last: 1) {
    nodes { ... on TicketEvent { id } } } } } }";
const OPEN: &str = "mutation($categoryId: ID!, $summary: String!) { createTicket(input: {
    categoryId: $categoryId, summary: $summary, description: \"It does not work.\" }) {
    ticket { id number } userErrors { code } } }";

const WATCH: &str = "subscription($id: ID!) { ticketEvents(ticketId: $id) { __typename ... on
    CommentAdded { comment { body } } } }";

/// What one request costs.
#[derive(Debug, PartialEq, serde::Deserialize)]
struct Cost {
    statements: usize,
    /// `None` for a request that can be sent once only.
    allocations: Option<usize>,
    /// The bytes of log that a write causes, with its place in the feed, its words in the search and
    /// its notifications. No page is logged as a whole. `None` if it is a page.
    wal_bytes: Option<usize>,
}

impl Cost {
    fn is_like(&self, accepted: &Self) -> bool {
        let is_write = accepted.wal_bytes.is_some();
        let near = |ours: usize, accepted: usize, percent: usize| {
            let less = if is_write { BATCHED } else { percent };
            let percent = if ours < accepted { less } else { percent };
            ours.abs_diff(accepted) * 100 <= accepted * percent
        };
        let alike = |ours: Option<usize>, accepted: Option<usize>, percent| match (ours, accepted) {
            (Some(ours), Some(accepted)) => near(ours, accepted, percent),
            (ours, accepted) => ours == accepted,
        };
        self.statements == accepted.statements
            && alike(
                self.allocations,
                accepted.allocations,
                if is_write { TOLERANCE_OF_WRITES } else { TOLERANCE },
            )
            && alike(self.wal_bytes, accepted.wal_bytes, WAL_TOLERANCE)
    }
}

/// A request over a connection of its own, which takes next to no memory.
struct Page {
    name: &'static str,
    address: String,
    /// Opened with the first request: the server closes a connection that sends nothing.
    stream: Option<TcpStream>,
    request: Vec<u8>,
    response: Vec<u8>,
}

impl Page {
    fn new(name: &'static str, client: &Client, query: &str, variables: &Value) -> Self {
        let request = client.raw_post(query, variables);
        let address = client.address().to_owned();
        Self { name, address, stream: None, request, response: Vec::with_capacity(1 << 20) }
    }

    async fn load(&mut self) {
        let mut stream = match self.stream.take() {
            Some(stream) => stream,
            None => TcpStream::connect(&self.address).await.unwrap(),
        };
        stream.write_all(&self.request).await.unwrap();
        self.response.clear();
        while !self.is_complete() {
            assert_ne!(stream.read_buf(&mut self.response).await.unwrap(), 0, "{}", self.name);
        }
        self.stream = Some(stream);
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
        Page::new("my_tickets", &anna, MY_TICKETS, &json!({ "first": 20 })),
        Page::new("ticket", &agents[0], TICKET, &json!({ "id": hot.id, "last": 50 })),
        Page::new("queue", &agents[0], QUEUE, &queue),
        Page::new("queue_with_last_comment", &agents[0], QUEUE_WITH_LAST_COMMENT, &queue),
    ]
}

/// Returns the requests that write.
async fn prepare_writes(server: &TestServer) -> [Page; 2] {
    let (clara, vera) = (server.customer("Clara").await, server.agent("Vera").await);
    let ticket = clara.create_ticket("One that is commented").await;
    let comment = json!({ "ticketId": ticket.id, "body": "We look into it." });
    let open = json!({ "categoryId": TECHNICAL_SUPPORT, "summary": "One that is opened" });
    [Page::new("comment", &vera, COMMENT, &comment), Page::new("new_ticket", &clara, OPEN, &open)]
}

/// A client, what it sends, and with which variables.
type Request = (Client, &'static str, Value);

/// Returns the requests that depend on more than their ticket. Each can be sent once, so there are
/// several of each, and the last one is counted.
async fn prepare_terms(server: &TestServer) -> Vec<(&'static str, Vec<Request>)> {
    let (clara, vera) = (server.customer("Dora").await, server.agent("Nina").await);
    let ticket = clara.create_ticket("One that is commented once").await;
    let data = vera.ok(LAST_EVENT, json!({ "id": ticket.id })).await;
    let seen = &data["node"]["timeline"]["nodes"][0]["id"];
    let files = insert_files(server, 2 * ONCE).await;
    let mut requests = BTreeMap::<_, Vec<Request>>::new();
    for n in 0..ONCE {
        let one = clara.create_ticket(&format!("Another one, {n}")).await;
        let input = json!({ "input": { "ticketId": one.id, "body": "We look into it." } });
        let request = (vera.at(vera.address()), COMMENT_ON_TERMS, input);
        requests.entry("first_comment").or_default().push(request);
    }
    for (n, files) in files.chunks(2).enumerate() {
        let key = format!("key {n}");
        let input = |more: Value| {
            let mut input = json!({ "ticketId": ticket.id, "body": "We look into it." });
            input.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
            json!({ "input": input })
        };
        let open = json!({ "input": { "categoryId": TECHNICAL_SUPPORT, "summary": "Once",
            "description": "It does not work.", "idempotencyKey": key } });
        for (name, client, query, variables) in [
            ("comment_with_key", &vera, COMMENT_ON_TERMS, input(json!({ "idempotencyKey": key }))),
            (
                "comment_with_files",
                &vera,
                COMMENT_ON_TERMS,
                input(json!({ "uploadedFileIds": files })),
            ),
            ("comment_with_seen", &vera, COMMENT_ON_TERMS, input(json!({ "seenUpTo": seen }))),
            ("new_ticket_with_key", &clara, OPEN_ONCE, open),
        ] {
            let request = (client.at(client.address()), query, variables);
            requests.entry(name).or_default().push(request);
        }
    }
    requests.into_iter().collect()
}

/// How often a request that can be sent once is repeated with other values.
const ONCE: usize = 4;

/// Inserts uploaded files of the last account, and returns their ids in the API.
async fn insert_files(server: &TestServer, files: usize) -> Vec<String> {
    let insert = "INSERT INTO attachments
            (id, uploader_id, name, size, content_type, sha256, created_at, is_kept)
        SELECT gen_random_uuid(), (SELECT id FROM accounts WHERE name = 'Nina'), 'a.txt', 5,
            'text/plain', sha256('hello'), created_at, true
        FROM (SELECT max(created_at) AS created_at FROM accounts) a, generate_series(1, $1)
        RETURNING id::text";
    let files = i32::try_from(files).unwrap();
    let rows = server.database.connect().await.query(insert, &[&files]).await.unwrap();
    let id = |row: &tokio_postgres::Row| format!("Attachment:{}", row.get::<_, String>(0));
    rows.iter().map(|row| URL_SAFE_NO_PAD.encode(id(row))).collect()
}

/// Whether a logged statement writes a comment or a ticket.
fn is_write(line: &str) -> bool {
    ["WITH seen", "WITH chosen"].iter().any(|text| line.contains(text))
}

/// Returns the process that has logged a line.
fn backend(line: &str) -> Option<&str> {
    let (head, _) = line.split_once("] LOG:")?;
    Some(head.rsplit_once('[')?.1)
}

/// Returns how many statements a request sends, on whatever connection: everything before it has
/// written, but for the polls of background tasks, and what follows on the same connection.
fn of_write(logged: &[String], name: &str) -> usize {
    let place = logged.iter().position(|line| is_write(line));
    let place = place.unwrap_or_else(|| panic!("{name}: {logged:#?}"));
    let own = backend(&logged[place]);
    let polls = ["pending_events", "consumer_offsets", "deliveries", "feed"];
    let is_poll = |line: &String| polls.iter().any(|text| line.contains(text));
    let before = logged[..place].iter().filter(|line| !is_poll(line)).count();
    before + logged[place..].iter().filter(|line| backend(line) == own).count()
}

/// Returns how many bytes of log a request causes, with everything that follows from it.
async fn wal_bytes(server: &TestServer, page: &mut Page) -> usize {
    let database = server.database.connect().await;
    let position = "SELECT pg_wal_lsn_diff(pg_current_wal_insert_lsn(), '0/0')::int8";
    let position = async || database.query_one(position, &[]).await.unwrap().get::<_, i64>(0);
    let mut least = usize::MAX;
    for _ in 0..ROUNDS {
        server.quiet().await;
        let before = position().await;
        for _ in 0..REQUESTS {
            page.load().await;
        }
        server.quiet().await;
        let bytes = usize::try_from(position().await - before).unwrap();
        least = least.min(bytes / REQUESTS);
    }
    least
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

/// Returns how many bytes a stream takes that waits because those before it cannot start.
async fn waiting_bytes(server: &TestServer) -> usize {
    let agent = server.agent("Pavel").await;
    let ticket = server.customer("Egor").await.create_ticket("One that is watched").await;
    let mut socket = agent.socket().await;
    let holder = server.database.connect().await;
    holder.batch_execute("BEGIN; LOCK TABLE tickets IN ACCESS EXCLUSIVE MODE").await.unwrap();
    let region = Region::new(ALLOCATOR);
    for n in 0..WAITING {
        let variables = json!({ "id": ticket.id });
        socket.subscribe(&n.to_string(), WATCH, variables).await;
    }
    // A socket's operations start in their order.
    for n in 0..ROUNDS {
        let id = format!("query {n}");
        socket.subscribe(&id, "{ __typename }", json!({})).await;
        for expected in ["next", "complete"] {
            let message = socket.message().await;
            assert_eq!(message["type"], expected, "{message}");
        }
    }
    let change = region.change();
    holder.batch_execute("ROLLBACK").await.unwrap();
    (change.bytes_allocated - change.bytes_deallocated) / WAITING
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
        let allocations = Some(allocations);
        costs.insert(page.name, Cost { statements, allocations, wal_bytes: None });
    }
    for mut write in prepare_writes(&server).await {
        for _ in 0..3 {
            write.load().await;
        }
        let mut statements = usize::MAX;
        for _ in 0..ROUNDS {
            // What follows from the request before would be counted too.
            server.quiet().await;
            let logged = server.all_statements_of(async || write.load().await).await;
            statements = statements.min(of_write(&logged, write.name));
        }
        let allocations = allocations(&mut write).await;
        let allocations = Some(allocations);
        let wal_bytes = Some(wal_bytes(&server, &mut write).await);
        costs.insert(write.name, Cost { statements, allocations, wal_bytes });
    }
    for (name, requests) in prepare_terms(&server).await {
        let mut statements = usize::MAX;
        for (client, query, variables) in requests {
            let mut request = Page::new(name, &client, query, &variables);
            let logged = server.all_statements_of(async || request.load().await).await;
            assert!(request.data().to_string().contains("\"userErrors\":[]"), "{name}");
            statements = statements.min(of_write(&logged, name));
        }
        costs.insert(name, Cost { statements, allocations: None, wal_bytes: None });
    }
    let waiting = waiting_bytes(&server).await;
    server.stop().await;
    assert!(waiting <= WAITING_BYTES, "a stream that waits takes {waiting} bytes");
    let accepted = toml::from_str::<BTreeMap<String, Cost>>(ACCEPTED).unwrap();
    let as_accepted = costs
        .iter()
        .all(|(name, cost)| accepted.get(*name).is_some_and(|accepted| cost.is_like(accepted)));
    assert!(
        as_accepted,
        "The pages cost {costs:#?}. If that is intended, write it into \
         tests/counts/accepted.toml and say why in the commit."
    );
}
