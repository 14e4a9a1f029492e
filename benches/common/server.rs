//! The server that is measured: a process of its own, on a durable Postgres that the benchmark
//! starts.

use std::{path::PathBuf, process::Stdio};

use futures_util::{StreamExt as _, stream};
use serde_json::{Value, json};
use ticketwire::db::embedded::{EmbeddedPostgres, EmbeddedSettings};
use tokio::{
    io::{AsyncBufReadExt as _, AsyncWriteExt as _, BufReader},
    process::{Child, Command},
};

const PASSWORD: &str = "correct horse battery staple";
const SEALING_KEYS: &str = "bench:AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA";
/// The global id of the category "Technical support".
pub const CATEGORY: &str = "Q2F0ZWdvcnk6MDE5OWEwMDAtMDAwMC03MDAwLTgwMDAtMDAwMDAwMDAwMDAx";

/// The name and the role of each account.
const ACCOUNTS: [(&str, &str); 4] =
    [("agent", "agent"), ("other", "agent"), ("customer", "customer"), ("stranger", "customer")];

/// The server, its database and its test data.
pub struct BenchServer {
    process: Child,
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
        let folder = std::env::temp_dir().join(format!("ticketwire-bench-{}", std::process::id()));
        let embedded = EmbeddedSettings {
            data_dir: folder.clone(),
            bin_dir: None,
            cache_dir: None,
            durable: true,
            max_connections: 100,
        };
        let postgres = EmbeddedPostgres::start(&embedded).await.expect("Postgres");
        let url = postgres.url("postgres");
        run(&url, &["migrate"], "").await;
        for (name, role) in ACCOUNTS {
            let email = format!("{name}@example.com");
            let create = ["user", "create", "--email", &email, "--name", name, "--role", role];
            let password = format!("{PASSWORD}\n");
            run(&url, &[create.as_slice(), &["--password-stdin"]].concat(), &password).await;
        }
        let files = folder.join("attachments");
        std::fs::create_dir_all(&files).expect("a folder");
        let mut process = command(&url);
        process.arg("serve").env("TICKETWIRE_STORAGE_FOLDER", files);
        process.envs(settings.iter().map(|(key, value)| (format!("TICKETWIRE_{key}"), value)));
        let mut process = process.spawn().expect("a server");
        let address = address(&mut process).await;
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
        let request = self.http.post(format!("http://{}/graphql", self.address));
        let body = json!({ "query": query, "variables": variables });
        let request = if token.is_empty() { request } else { request.bearer_auth(token) };
        let answer = request.json(&body).send().await.expect("an answer");
        let mut answer = answer.json::<Value>().await.expect("JSON");
        assert!(answer.get("errors").is_none(), "{answer}");
        answer["data"].take()
    }

    /// Returns the server's process id.
    pub fn pid(&self) -> u32 {
        self.process.id().expect("a running server")
    }

    /// Stops the server and the database, and deletes the data.
    pub async fn stop(mut self) {
        let _ = self.process.kill().await;
        drop(self.postgres);
        while std::fs::remove_dir_all(&self.folder).is_err() && self.folder.exists() {
            tokio::time::sleep(std::time::Duration::from_millis(100)).await;
        }
    }
}

/// Waits until the server listens, and returns its address.
async fn address(process: &mut Child) -> String {
    let mut lines = BufReader::new(process.stdout.take().expect("its output")).lines();
    let mut welcome = String::new();
    while !welcome.contains("Stop it") {
        welcome += &lines.next_line().await.expect("a line").expect("a server that starts");
        welcome.push('\n');
    }
    tokio::spawn(async move { while let Ok(Some(_)) = lines.next_line().await {} });
    let rest = welcome.split("http://").nth(1).expect("an address");
    let end = |end: char| end == '/' || end.is_whitespace();
    rest.split(end).next().expect("an address").to_owned()
}

fn command(url: &str) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_ticketwire"));
    command.env_clear().envs(std::env::var_os("PATH").map(|path| ("PATH", path)));
    command.env("DATABASE_URL", url).env("TICKETWIRE_SECURITY_SEALING_KEYS", SEALING_KEYS);
    command.env("TICKETWIRE_LISTEN", "127.0.0.1:0");
    command.current_dir(std::env::temp_dir()).kill_on_drop(true);
    command.stdin(Stdio::piped()).stdout(Stdio::piped());
    command
}

async fn run(url: &str, arguments: &[&str], input: &str) {
    let mut child = command(url).args(arguments).spawn().expect("a process");
    let mut stdin = child.stdin.take().expect("its input");
    let _ = stdin.write_all(input.as_bytes()).await;
    drop(stdin);
    let output = child.wait_with_output().await.expect("an end");
    assert!(output.status.success(), "{arguments:?}");
}
