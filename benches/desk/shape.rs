//! The dataset: which rows it has. Every value derives from the number of its row, so a dataset of
//! one size is always the same.
//!
//! Customer 1 opened 500 tickets. The first tenth of the customers, the regulars, opened half of the
//! others, so each of them has more than a page. The first hundredth of the tickets are hot: they
//! have 100 comments each. The other comments are spread evenly over the other tickets.

use std::fmt::Display;

use base64::{Engine as _, engine::general_purpose::URL_SAFE_NO_PAD};
use sha2::{Digest as _, Sha256};
use uuid::Uuid;

/// The number of agents.
pub const AGENTS: u64 = 200;
/// The slugs of the categories.
pub const CATEGORIES: [&str; 10] = [
    "billing",
    "account",
    "delivery",
    "returns",
    "technical",
    "security",
    "feature",
    "feedback",
    "legal",
    "other",
];
/// The number of a ticket is this plus its row.
pub const FIRST_NUMBER: u64 = 100_000;
/// A word that is only in the first comment.
pub const RARE_WORD: &str = "quokka";

const COMMENTS_OF_HOT_TICKET: u64 = 100;
const TICKETS_OF_FIRST_CUSTOMER: u64 = 500;
const DAY: i64 = 24 * 60 * 60 * 1_000_000;
/// 2024-01-01, in microseconds of Unix time. The tickets are from the 600 days after it.
const BEGIN: i64 = 1_704_067_200_000_000;
const STATUSES: [(f64, &str); 5] = [
    (0.10, "waiting_for_support"),
    (0.18, "working_on_it"),
    (0.25, "waiting_for_customer"),
    (0.50, "resolved"),
    (1.00, "closed"),
];
const PRIORITIES: [&str; 5] = ["low", "medium", "medium", "high", "highest"];

/// The size of a dataset.
#[derive(Clone, Copy)]
pub struct Shape {
    /// The number of tickets, at least 1,000.
    pub tickets: u64,
    /// The number of comments, at least that of the tickets.
    pub comments: u64,
}

/// A ticket.
pub struct Ticket {
    /// Its id.
    pub id: Uuid,
    /// The row of its category, from 1.
    pub category: u64,
    /// Who opened it.
    pub reporter: Person,
    /// Who works on it.
    pub assignee: Option<Person>,
    /// Its one line.
    pub summary: String,
    /// Its text.
    pub description: String,
    /// As the database names it.
    pub status: &'static str,
    /// As the database names it.
    pub priority: &'static str,
    /// In microseconds of Unix time.
    pub created_at: i64,
    /// In microseconds of Unix time.
    pub updated_at: i64,
}

/// A comment.
pub struct Comment {
    /// Its id.
    pub id: Uuid,
    /// The row of its ticket.
    pub ticket: u64,
    /// Who wrote it.
    pub author: Person,
    /// Whether only staff may read it.
    pub internal: bool,
    /// Its text.
    pub body: String,
    /// In microseconds of Unix time.
    pub created_at: i64,
}

/// An account, by its row from 1.
#[derive(Clone, Copy, PartialEq, Eq)]
pub enum Person {
    /// A customer.
    Customer(u32),
    /// An agent.
    Agent(u32),
}

impl Shape {
    /// Returns the number of customers.
    pub fn customers(self) -> u64 {
        self.tickets / 10
    }

    /// Returns the number of customers with more than a page of tickets. They are the first ones.
    pub fn regulars(self) -> u64 {
        self.customers() / 10
    }

    /// Returns the number of tickets with 100 comments. They are the first ones.
    pub fn hot(self) -> u64 {
        self.tickets / COMMENTS_OF_HOT_TICKET
    }

    /// Returns the ticket of a row.
    pub fn ticket(self, row: u64) -> Ticket {
        let [category, text, status, other, assignee] =
            [1, 2, 3, 4, 5].map(|column| random(Table::Tickets, row, column));
        let created_at = self.ticket_created_at(row);
        Ticket {
            id: self.ticket_id(row),
            category: 1 + scaled(category, 10) % 10,
            reporter: self.reporter(row),
            assignee: (other >= 0.1).then(|| agent(assignee)),
            summary: format!(
                "Cannot complete step {} of my order {:016x}{:016x}",
                scaled(text, 1_000),
                mix(row),
                mix(mix(row)),
            ),
            description: "When I try this the page shows an error and nothing is saved. "
                .repeat(2 + scaled(text, 6) as usize),
            status: STATUSES.iter().find(|(below, _)| status < *below).expect("a status").1,
            priority: PRIORITIES[scaled(other, 5) as usize % 5],
            created_at,
            updated_at: created_at + (other * 10.0 * DAY as f64) as i64,
        }
    }

    /// Returns when the ticket of a row was opened.
    pub fn ticket_created_at(self, row: u64) -> i64 {
        BEGIN + 600 * DAY / self.tickets.cast_signed() * row.cast_signed()
    }

    fn reporter(self, row: u64) -> Person {
        let (customers, regulars) = (self.customers(), self.regulars());
        let random = random(Table::Tickets, row, 0);
        Person::Customer(if row.is_multiple_of(self.tickets / TICKETS_OF_FIRST_CUSTOMER) {
            1
        } else if random < 0.5 {
            2 + scaled(random * 2.0, regulars - 2) as u32
        } else {
            (regulars + 1 + scaled((random - 0.5) * 2.0, customers - regulars - 1)) as u32
        })
    }

    /// Returns the comment of a row.
    pub fn comment(self, row: u64) -> Comment {
        let [author, text, internal] = [1, 2, 3].map(|column| random(Table::Comments, row, column));
        let (ticket, by_agent) = (self.ticket_of(row), random(Table::Comments, row, 4) < 0.5);
        let mut body =
            "Thank you, we are looking into it now. ".repeat(1 + scaled(text, 6) as usize);
        if row == 1 {
            body += RARE_WORD;
        }
        Comment {
            id: self.comment_id(row),
            ticket,
            author: if by_agent { agent(author) } else { self.reporter(ticket) },
            internal: by_agent && internal < 0.2,
            body,
            created_at: self.comment_created_at(row),
        }
    }

    /// Returns when the comment of a row was posted.
    pub fn comment_created_at(self, row: u64) -> i64 {
        let text = random(Table::Comments, row, 2);
        self.ticket_created_at(self.ticket_of(row)) + (text * 20.0 * DAY as f64) as i64
    }

    /// Returns the row of the ticket of a comment.
    pub fn ticket_of(self, comment: u64) -> u64 {
        if comment <= self.tickets {
            1 + (comment - 1) / COMMENTS_OF_HOT_TICKET
        } else {
            let others = self.tickets - self.hot() - 1;
            self.hot() + 1 + scaled(random(Table::Comments, comment, 0), others)
        }
    }

    /// Returns the id of a ticket.
    pub fn ticket_id(self, row: u64) -> Uuid {
        id(self.ticket_created_at(row), Table::Tickets as u16, row)
    }

    /// Returns the id of a comment.
    pub fn comment_id(self, row: u64) -> Uuid {
        id(self.comment_created_at(row), Table::Comments as u16, row)
    }
}

impl Person {
    /// Returns the id of the account.
    pub fn id(self) -> Uuid {
        match self {
            Self::Customer(row) => id(BEGIN, 3, row.into()),
            Self::Agent(row) => id(BEGIN, 4, row.into()),
        }
    }

    /// Returns the id of the account's session.
    pub fn session_id(self) -> Uuid {
        match self {
            Self::Customer(row) => id(BEGIN, 5, row.into()),
            Self::Agent(row) => id(BEGIN, 6, row.into()),
        }
    }

    /// Returns the token of the account's session.
    pub fn token(self) -> String {
        let (role, row) = self.role_and_row();
        format!("tw_{}", URL_SAFE_NO_PAD.encode(Sha256::digest(format!("{role} {row}"))))
    }

    /// Returns the hash of the token, in hexadecimal digits.
    pub fn token_hash(self) -> String {
        Sha256::digest(self.token()).iter().map(|byte| format!("{byte:02x}")).collect()
    }

    /// Returns the role, as the database names it, and the row.
    pub fn role_and_row(self) -> (&'static str, u32) {
        match self {
            Self::Customer(row) => ("customer", row),
            Self::Agent(row) => ("agent", row),
        }
    }
}

/// Returns the id of a category.
pub fn category_id(row: u64) -> Uuid {
    id(BEGIN, 7, row)
}

/// Returns an SQL expression for the id of the row `:row`, of the same kind as row 0 with this id.
pub fn id_from_row(first: Uuid) -> String {
    let digits = first.simple().to_string();
    format!("('{}' || lpad(to_hex(:row::bigint), 15, '0'))::uuid", &digits[..17])
}

/// Returns the id that the API uses for an object.
pub fn global_id(kind: &str, id: impl Display) -> String {
    URL_SAFE_NO_PAD.encode(format!("{kind}:{id}"))
}

/// The tables whose values are random.
#[derive(Clone, Copy)]
enum Table {
    Tickets = 1,
    Comments = 2,
}

/// Returns an id in the form of `UUIDv7` (RFC 9562), in the order of time.
fn id(time: i64, kind: u16, row: u64) -> Uuid {
    let (milliseconds, kind) = ((time / 1_000) as u128, u128::from(kind));
    Uuid::from_u128(milliseconds << 80 | 7 << 76 | kind << 64 | 8 << 60 | u128::from(row))
}

/// Returns a number from 0 to 1, but not 1.
fn random(table: Table, row: u64, column: u64) -> f64 {
    let seed = mix(row << 8 | (table as u64) << 4 | column);
    (seed >> 11) as f64 / (1_u64 << 53) as f64
}

/// Mixes the bits of a number, as in `SplitMix64`.
pub fn mix(number: u64) -> u64 {
    let mut bits = number.wrapping_add(0x9e37_79b9_7f4a_7c15);
    bits = (bits ^ bits >> 30).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    bits = (bits ^ bits >> 27).wrapping_mul(0x94d0_49bb_1331_11eb);
    bits ^ bits >> 31
}

/// Returns a number from 0 to `most`, both included.
fn scaled(random: f64, most: u64) -> u64 {
    (random * most as f64).round() as u64
}

fn agent(random: f64) -> Person {
    Person::Agent((1 + scaled(random, AGENTS - 1)) as u32)
}
