//! Attacks by requests over HTTP.

use std::net::Ipv4Addr;

use serde_json::{Value, json};

use super::{
    attacker::{Attacker, client, short_words},
    common::server::CATEGORY,
};

/// More than the requests that a customer may run at the same time.
const WORKERS: usize = 64;
/// From how many network addresses passwords are guessed.
const ADDRESSES: u8 = 32;

/// Requests one long text many times: once as often as fits into an answer, otherwise more often.
pub async fn big_answers(attacker: &Attacker) {
    let shapes = [(39, 1), (100, 10), (100, 50), (100, 199)];
    let bodies = shapes.map(|(nodes, names)| big_answer(&attacker.ticket, nodes, names));
    send(attacker, &bodies).await;
}

/// Returns a request for the description of a ticket under a number of nodes and aliases.
pub fn big_answer(ticket: &str, nodes: usize, names: usize) -> String {
    let names = aliases(names, "description");
    let query =
        format!("query($ids: [ID!]!) {{ nodes(ids: $ids) {{ ... on Ticket {{ {names} }} }} }}");
    json!({ "query": query, "variables": { "ids": vec![ticket; nodes] } }).to_string()
}

/// Searches long texts for quoted phrases and for many words.
pub async fn searches(attacker: &Attacker) {
    let words = short_words().collect::<Vec<_>>();
    let phrase = |length: usize| format!("\"{}\"", words[..length].join(" "));
    let phrases = words.chunks(8).take(3).map(|words| format!("\"{}\"", words.join(" ")));
    let texts = [
        phrase(8),
        phrase(84),
        phrases.collect::<Vec<_>>().join(" "),
        words[..24].join(" "),
        words[..84].join(" "),
    ];
    let search = "query($text: String!) { search(text: $text, first: 100) { nodes {
        summary { text } excerpt { text } } } }";
    let list = "query($text: String!) { tickets(first: 100, filter: { text: $text }) {
        nodes { id } } }";
    let bodies = texts
        .iter()
        .flat_map(|text| [search, list].map(|query| request(query, json!({ "text": text }))));
    send(attacker, &bodies.collect::<Vec<_>>()).await;
}

/// Requests fields that each need a statement, under few and under very many names.
pub async fn statements(attacker: &Attacker) {
    let counts = "unreadTicketCount openTicketCount unreadNotificationCount";
    let pages = "{ nodes { id participants { id } timeline(first: 1) { nodes { id } } } }";
    let queries = [
        format!("{{ viewer {{ {} }} }}", aliases(3_000, "unreadTicketCount")),
        format!("{{ viewer {{ {} }} }}", aliases(50, "unreadTicketCount")),
        format!("{{ {} }}", aliases(50, &format!("viewer {{ {counts} }}"))),
        format!("{{ {} }}", aliases(50, &format!("tickets(first: 1) {pages}"))),
        format!("{{ tickets(first: 100) {pages} }}"),
        format!("{{ viewer {{ {} }} }}", aliases(50, "notifications { nodes { id } }")),
    ];
    send(attacker, &queries.map(|query| request(&query, json!({})))).await;
}

/// Opens tickets and posts comments.
pub async fn writing(attacker: &Attacker) {
    let create = "mutation($input: CreateTicketInput!) { createTicket(input: $input) {
        ticket { id } userErrors { code } } }";
    let input = json!({ "categoryId": CATEGORY, "summary": "More", "description": "And more." });
    let bodies = [
        request(create, json!({ "input": input })),
        comment(&attacker.ticket, "A comment of the attacker"),
    ];
    send(attacker, &bodies).await;
}

/// Returns a request that posts a comment.
pub fn comment(ticket: &str, body: &str) -> String {
    let query = "mutation($input: AddCommentInput!) { addComment(input: $input) {
        comment { id } userErrors { code } } }";
    request(query, json!({ "input": { "ticketId": ticket, "body": body } }))
}

/// Guesses passwords of the victim and of accounts that do not exist, from many addresses.
pub async fn guesses(attacker: &Attacker) {
    let clients = (0..ADDRESSES).map(|n| client(Ipv4Addr::new(127, 0, 1, n + 1)));
    let clients = clients.collect::<Vec<_>>();
    let query = "mutation($input: SignInInput!) { signIn(input: $input) {
        session { token } userErrors { code } } }";
    let guess = async |number: usize| {
        let email = if number.is_multiple_of(2) {
            "customer@example.com".to_owned()
        } else {
            format!("nobody{number}@example.com")
        };
        let input = json!({ "email": email, "password": format!("guess {number}") });
        let client = &clients[number / 2 % clients.len()];
        let body = request(query, json!({ "input": input }));
        let outcome = attacker.post(client, "", &body).await;
        attacker.count(&outcome);
    };
    attacker.repeat(WORKERS, guess).await;
}

/// Sends requests in turn, over and over.
async fn send(attacker: &Attacker, bodies: &[String]) {
    let attempt = async |number: usize| attacker.query(&bodies[number % bodies.len()]).await;
    attacker.repeat(WORKERS, attempt).await;
}

fn request(query: &str, variables: Value) -> String {
    json!({ "query": query, "variables": variables }).to_string()
}

/// Selects a field under a number of names.
fn aliases(count: usize, field: &str) -> String {
    (0..count).map(|n| format!("a{n}: {field} ")).collect()
}
