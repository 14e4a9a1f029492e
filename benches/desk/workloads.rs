//! The workloads: three pages that people open all day, and a comment. Each has its request, and the
//! same work as one SQL statement.

use std::ops::RangeInclusive;

use serde_json::{Value, json};

use super::shape::{
    AGENTS, CATEGORIES, FIRST_NUMBER, Person, Shape, category_id, global_id, id_from_row,
};

/// A page, or a change.
pub struct Workload {
    /// Its name on the command line.
    pub name: &'static str,
    /// Its row in the table.
    pub title: &'static str,
    document: &'static str,
    /// A text that every complete response contains.
    pub expected: &'static str,
    /// The statement. `:row` stands for the row that the page is about, `{id}` for its id, `{number}`
    /// for its ticket number.
    statement: &'static str,
    /// The columns of the statement that [`lines`](Self::lines) returns too.
    pub columns: &'static [&'static str],
    lines: fn(&Value) -> Vec<Vec<Value>>,
    subject: Subject,
    /// Whether it writes. The server places the events of the statement in its feed, adds texts to
    /// the search and notifies people, as it does for those of the requests.
    pub writes: bool,
}

/// What a page is about.
#[derive(Clone, Copy)]
enum Subject {
    /// A customer with more than a page of tickets, who requests it.
    Customer,
    /// A ticket with 100 comments.
    Ticket,
    /// Any ticket that is not closed.
    OpenTicket,
    /// A category.
    Category,
}

/// All workloads.
pub const WORKLOADS: [Workload; 4] = [
    Workload {
        name: "w1",
        title: "w1: a customer's 20 newest tickets",
        document: "query($first: Int!) { tickets(first: $first) { nodes { id number summary status \
            priority createdAt } } }",
        expected: "\"summary\":",
        statement: "SELECT id, number, summary, status, priority, created_at
            FROM tickets WHERE reporter_id = {id}
            ORDER BY created_at DESC, id DESC LIMIT 20",
        columns: &["summary"],
        lines: |data| {
            let tickets = data["tickets"]["nodes"].as_array().expect("tickets");
            tickets.iter().map(|ticket| vec![ticket["summary"].clone()]).collect()
        },
        subject: Subject::Customer,
        writes: false,
    },
    Workload {
        name: "w2",
        title: "w2: a ticket and its 50 newest comments",
        document: "query($id: ID!, $last: Int!) { node(id: $id) { ... on Ticket { id number summary \
            description status priority createdAt reporter { name } timeline(last: $last) { nodes { \
            ... on CommentAdded { comment { id body visibility createdAt author { name } } } } } } } }",
        expected: "\"author\":",
        statement: "SELECT t.id, t.number, t.summary AS text, t.description, t.status, t.priority,
                   NULL AS visibility, t.created_at, r.name
            FROM tickets t JOIN accounts r ON r.id = t.reporter_id
            WHERE t.number = {number}
            UNION ALL
            (SELECT c.id, NULL, c.body, NULL, NULL, NULL, c.visibility, c.created_at, a.name
            FROM (SELECT (data ->> 'comment_id')::uuid AS id, seq FROM events
                  WHERE ticket_id = (SELECT id FROM tickets WHERE number = {number})
                    AND kind = 'comment_added'
                  ORDER BY seq DESC LIMIT 50) e
            JOIN comments c ON c.id = e.id
            JOIN accounts a ON a.id = c.author_id
            ORDER BY e.seq DESC)",
        columns: &["text", "name"],
        lines: |data| {
            let ticket = &data["node"];
            let events = ticket["timeline"]["nodes"].as_array().expect("events");
            let newest = events.iter().rev().map(|event| &event["comment"]);
            let comments = newest.map(|c| vec![c["body"].clone(), c["author"]["name"].clone()]);
            let head = vec![ticket["summary"].clone(), ticket["reporter"]["name"].clone()];
            [head].into_iter().chain(comments).collect()
        },
        subject: Subject::Ticket,
        writes: false,
    },
    Workload {
        name: "w3",
        title: "w3: a queue of 50 tickets with their last comments",
        document: "query($category: ID!, $first: Int!) { tickets(first: $first, filter: { \
            categoryIds: [$category], status: [WAITING_FOR_SUPPORT] }, orderBy: { field: UPDATED_AT \
            }) { nodes { id number summary status priority updatedAt reporter { name } assignee { \
            name } timeline(last: 1) { nodes { ... on CommentAdded { comment { body createdAt } } } \
            } } } }",
        expected: "\"comment\":",
        statement: "SELECT t.id, t.number, t.summary, t.status, t.priority, t.updated_at,
                   r.name AS reporter, a.name AS assignee, c.body AS last, c.created_at AS last_at
            FROM (SELECT ticket_id FROM queue_entries
                  WHERE status = 'waiting_for_support' AND category_id = {id}
                  ORDER BY updated_at DESC, ticket_id DESC LIMIT 50) q
            JOIN tickets t ON t.id = q.ticket_id
            JOIN accounts r ON r.id = t.reporter_id
            LEFT JOIN accounts a ON a.id = t.assignee_id
            LEFT JOIN LATERAL (SELECT (data ->> 'comment_id')::uuid AS id FROM events
                               WHERE ticket_id = t.id AND kind = 'comment_added'
                               ORDER BY seq DESC LIMIT 1) e ON true
            LEFT JOIN comments c ON c.id = e.id
            ORDER BY t.updated_at DESC, t.id DESC",
        columns: &["summary", "reporter", "assignee", "last"],
        lines: |data| {
            let tickets = data["tickets"]["nodes"].as_array().expect("tickets");
            let line = |ticket: &Value| {
                vec![
                    ticket["summary"].clone(),
                    ticket["reporter"]["name"].clone(),
                    ticket["assignee"]["name"].clone(),
                    ticket["timeline"]["nodes"][0]["comment"]["body"].clone(),
                ]
            };
            tickets.iter().map(line).collect()
        },
        subject: Subject::Category,
        writes: false,
    },
    Workload {
        name: "w4",
        title: "w4: a comment by an agent",
        document: "mutation($ticketId: ID!, $body: String!) { addComment(input: { ticketId: \
            $ticketId, body: $body }) { comment { id createdAt } userErrors { code message } } }",
        expected: "\"createdAt\":",
        statement: "WITH t AS (
                UPDATE tickets SET updated_at = now(), event_seq = event_seq + 1,
                    any_seq = event_seq + 1, public_seq = event_seq + 1,
                    any_actor_id = assignee_id, public_actor_id = assignee_id
                WHERE number = {number} AND status <> 'closed'
                RETURNING *
            ), q AS (
                UPDATE queue_entries SET updated_at = now() FROM t WHERE ticket_id = t.id
            ), c AS (
                INSERT INTO comments (id, ticket_id, author_id, visibility, body, created_at)
                SELECT gen_random_uuid(), id, coalesce(assignee_id, reporter_id), 'public',
                       'A comment of the benchmark, it is not very long.', now() FROM t
                RETURNING id, ticket_id
            ), e AS (
                INSERT INTO events (ticket_id, seq, kind, audience, actor_id, data, occurred_at,
                    category_id, status, priority, assignee_id, participant_ids)
                SELECT t.id, event_seq, 'comment_added', 'participants', assignee_id,
                       jsonb_build_object('comment_id', c.id), now(), category_id, status,
                       priority, assignee_id, participant_ids
                FROM t JOIN c ON c.ticket_id = t.id
                RETURNING id
            )
            INSERT INTO pending_events (event_id) SELECT id FROM e",
        columns: &[],
        lines: |_| vec![],
        subject: Subject::OpenTicket,
        writes: true,
    },
];

impl Workload {
    /// Returns the rows that the pages are about.
    pub fn rows(&self, shape: Shape) -> RangeInclusive<u64> {
        match self.subject {
            Subject::Customer => 2..=shape.regulars(),
            Subject::Ticket => 1..=shape.hot(),
            Subject::OpenTicket => 1..=shape.tickets,
            Subject::Category => 1..=CATEGORIES.len() as u64,
        }
    }

    /// Returns whether the page of a row can be requested.
    pub fn accepts(&self, shape: Shape, row: u64) -> bool {
        !self.writes || shape.ticket(row).status != "closed"
    }

    /// Returns the token with which the page of a row is requested.
    pub fn token(&self, row: u64) -> String {
        match self.subject {
            Subject::Customer => Person::Customer(row as u32),
            Subject::Ticket | Subject::OpenTicket | Subject::Category => {
                Person::Agent((1 + row % AGENTS) as u32)
            }
        }
        .token()
    }

    /// Returns the document of the request and the variables for a row.
    pub fn request(&self, shape: Shape, row: u64) -> (&'static str, Value) {
        let variables = match self.subject {
            Subject::Customer => json!({ "first": 20 }),
            Subject::Ticket => {
                json!({ "id": global_id("Ticket", shape.ticket_id(row)), "last": 50 })
            }
            Subject::OpenTicket => json!({
                "ticketId": global_id("Ticket", shape.ticket_id(row)),
                "body": "A comment of the benchmark, it is not very long.",
            }),
            Subject::Category => {
                json!({ "category": global_id("Category", category_id(row)), "first": 50 })
            }
        };
        (self.document, variables)
    }

    /// Returns the statement, in which `:row` stands for the row.
    pub fn statement(&self) -> String {
        let id = match self.subject {
            Subject::Customer => Person::Customer(0).id(),
            Subject::Ticket | Subject::OpenTicket | Subject::Category => category_id(0),
        };
        let number = format!("{FIRST_NUMBER} + :row::bigint");
        self.statement.replace("{id}", &id_from_row(id)).replace("{number}", &number)
    }

    /// Returns the values of the response that [`columns`](Self::columns) names, in the order of the
    /// statement.
    pub fn lines(&self, data: &Value) -> Vec<Vec<Value>> {
        (self.lines)(data)
    }
}
