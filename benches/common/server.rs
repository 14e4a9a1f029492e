//! The server that is measured: a process of its own, on a durable Postgres that the benchmark
//! starts.

use std::path::PathBuf;

use futures_util::{StreamExt as _, stream};
use serde_json::{Value, json};
use ticketwire::db::embedded::EmbeddedPostgres;

use super::{
    api, postgres,
    process::{BINARY, Program, ServerProcess},
};

const PASSWORD: &str = "correct horse battery staple";
/// The global id of the category "Technical support".
pub const CATEGORY: &str = "Q2F0ZWdvcnk6MDE5OWEwMDAtMDAwMC03MDAwLTgwMDAtMDAwMDAwMDAwMDAx";

/// The name and the role of each account.
const ACCOUNTS: [(&str, &str); 4] =
    [("agent", "agent"), ("other", "agent"), ("customer", "customer"), ("stranger", "customer")];

/// The server, its database and its test data.
pub struct BenchServer {
    process: ServerProcess,
    /// The database.
    pub postgres: EmbeddedPostgres,
    folder: PathBuf,
    /// The client of every request.
    pub http: reqwest::Client,
    /// `127.0.0.1:port`.
    pub address: String,
    /// An agent's token.
    pub agent: String,
    /// A token of the customer who opened the tickets.
    pub customer: String,
    /// The global ids of the watched tickets.
    pub tickets: Vec<String>,
    /// The global id of a busy ticket that nobody watches.
    pub busy: String,
}

impl BenchServer {
    /// Starts the database and the server, and opens this many tickets and the busy one. Settings
    /// are environment variables without `TICKETWIRE_`.
    pub async fn start(tickets: usize, settings: &[(&str, &str)]) -> Self {
        let folder = postgres::temporary_folder();
        let postgres = postgres::start(&folder, 100).await;
        let program = Program { binary: BINARY.into(), url: postgres.url("postgres") };
        program.run(&["migrate"], "").await;
        for (name, role) in ACCOUNTS {
            let email = format!("{name}@example.com");
            let create = ["user", "create", "--email", &email, "--name", name, "--role", role];
            let password = format!("{PASSWORD}\n");
            program.run(&[create.as_slice(), &["--password-stdin"]].concat(), &password).await;
        }
        let files = folder.join("attachments");
        std::fs::create_dir_all(&files).expect("a folder");
        let storage = ("STORAGE_FOLDER", files.to_str().expect("a path"));
        let process = program.serve(&[settings, &[storage]].concat()).await;
        let address = process.address.clone();
        let mut server = Self {
            process,
            postgres,
            folder,
            http: reqwest::Client::new(),
            address,
            agent: String::new(),
            customer: String::new(),
            tickets: vec![],
            busy: String::new(),
        };
        server.agent = server.sign_in("agent").await;
        server.customer = server.sign_in("customer").await;
        server.open_tickets(tickets).await;
        server
    }

    async fn open_tickets(&mut self, tickets: usize) {
        let server = &*self;
        let open = async |n| {
            server.open(&server.customer, &format!("Ticket {n}"), "It does not work.").await
        };
        let mut opened = stream::iter(0..=tickets).map(open).buffered(32).collect::<Vec<_>>().await;
        self.busy = opened.pop().expect("the last ticket");
        self.tickets = opened;
        let server = &*self;
        // The first answer also changes the status. From then on a comment is one event.
        let answers =
            server.tickets.iter().map(|ticket| server.comment(ticket, "We are looking into it."));
        stream::iter(answers).buffer_unordered(32).collect::<Vec<_>>().await;
    }

    /// Signs an account in and returns its token.
    pub async fn sign_in(&self, name: &str) -> String {
        let document = "mutation($e: String!, $p: String!) {
            signIn(input: { email: $e, password: $p }) { session { token } } }";
        let variables = json!({ "e": format!("{name}@example.com"), "p": PASSWORD });
        let data = self.send("", document, variables).await;
        data["signIn"]["session"]["token"].as_str().expect("a token").to_owned()
    }

    /// Opens a ticket and returns its global id.
    pub async fn open(&self, token: &str, summary: &str, description: &str) -> String {
        let document = "mutation($input: CreateTicketInput!) {
            createTicket(input: $input) { ticket { id } } }";
        let input =
            json!({ "categoryId": CATEGORY, "summary": summary, "description": description });
        let data = self.send(token, document, json!({ "input": input })).await;
        data["createTicket"]["ticket"]["id"].as_str().expect("an id").to_owned()
    }

    /// Posts a comment as the agent.
    pub async fn comment(&self, ticket: &str, body: &str) {
        let document = "mutation($input: AddCommentInput!) {
            addComment(input: $input) { comment { id } } }";
        let input = json!({ "input": { "ticketId": ticket, "body": body } });
        let data = self.send(&self.agent, document, input).await;
        assert!(data["addComment"]["comment"]["id"].is_string(), "{data}");
    }

    /// Executes a document and returns its data.
    pub async fn send(&self, token: &str, query: &str, variables: Value) -> Value {
        api::send(&self.http, &self.address, token, query, variables).await
    }

    /// Returns the server's process id.
    pub fn pid(&self) -> u32 {
        self.process.pid()
    }

    /// Stops the server and the database, and deletes the data.
    pub async fn stop(self) {
        self.process.stop().await;
        postgres::delete(self.postgres, &self.folder).await;
    }
}
