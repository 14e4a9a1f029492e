//! A client over HTTP, as an integrator would write it.

use reqwest::{StatusCode, header::HeaderMap};
use serde_json::{Value, json};

use super::{EventStream, Socket};

/// The id of the category "Technical Support" of every new installation.
pub const TECHNICAL_SUPPORT: &str = "Q2F0ZWdvcnk6MDE5OWEwMDAtMDAwMC03MDAwLTgwMDAtMDAwMDAwMDAwMDAx";
/// The id of the category "Sales".
pub const SALES: &str = "Q2F0ZWdvcnk6MDE5OWEwMDAtMDAwMC03MDAwLTgwMDAtMDAwMDAwMDAwMDAy";

/// A client, signed in or not.
#[derive(Clone)]
pub struct Client {
    http: reqwest::Client,
    address: String,
    /// Its bearer token.
    pub token: Option<String>,
}

/// An answer.
#[derive(Debug)]
pub struct Reply {
    /// The status code.
    pub status: StatusCode,
    /// The headers.
    pub headers: HeaderMap,
    /// The body, if it is JSON.
    pub body: Value,
}

/// A ticket, as far as most tests look at it.
#[derive(Clone, Debug)]
pub struct Ticket {
    /// Its global id.
    pub id: String,
    /// Its number.
    pub number: String,
    /// Its status.
    pub status: String,
    /// Its version.
    pub version: i64,
}

/// Makes ring the provider of TLS, without which no client is made.
pub fn provide_tls() {
    // Whoever comes first installs it.
    let _ = rustls::crypto::ring::default_provider().install_default();
}

impl Client {
    /// A client of a server, with a token or without.
    pub fn new(address: &str, token: Option<String>) -> Self {
        provide_tls();
        Self { http: reqwest::Client::new(), address: address.to_owned(), token }
    }

    /// Where the server is: `127.0.0.1:port`.
    pub fn address(&self) -> &str {
        &self.address
    }

    /// The same person at another node.
    pub fn at(&self, address: &str) -> Self {
        Self::new(address, self.token.clone())
    }

    /// Signs in; the client that comes back has the token.
    pub async fn sign_in(&self, email: &str, password: &str) -> Self {
        let document = "mutation($input: SignInInput!) { signIn(input: $input) { session { token } userErrors { code } } }";
        let reply =
            self.send(document, json!({ "input": { "email": email, "password": password } })).await;
        let token = reply.at("/data/signIn/session/token").as_str().expect("a token").to_owned();
        Self { token: Some(token), ..self.clone() }
    }

    /// Sends a document by POST.
    pub async fn send(&self, document: &str, variables: Value) -> Reply {
        self.post(
            "application/json",
            json!({ "query": document, "variables": variables }).to_string(),
        )
        .await
    }

    /// Sends a document, and takes no errors for an answer.
    pub async fn ok(&self, document: &str, variables: Value) -> Value {
        let reply = self.send(document, variables).await;
        assert!(reply.body.get("errors").is_none(), "{}", reply.body);
        reply.body["data"].clone()
    }

    /// Posts any body.
    pub async fn post(&self, content_type: &str, body: impl Into<reqwest::Body>) -> Reply {
        self.request(reqwest::Method::POST, "/graphql", |request| {
            request.header("content-type", content_type).body(body)
        })
        .await
    }

    /// Sends any request.
    pub async fn request(
        &self,
        method: reqwest::Method,
        path: &str,
        build: impl FnOnce(reqwest::RequestBuilder) -> reqwest::RequestBuilder,
    ) -> Reply {
        let mut request = self.http.request(method, format!("http://{}{path}", self.address));
        if let Some(token) = &self.token {
            request = request.bearer_auth(token);
        }
        let response = build(request).send().await.unwrap();
        let (status, headers) = (response.status(), response.headers().clone());
        let text = response.text().await.unwrap();
        let body = serde_json::from_str(&text).unwrap_or(Value::String(text));
        Reply { status, headers, body }
    }

    /// Opens a ticket.
    pub async fn create_ticket(&self, summary: &str) -> Ticket {
        let input = json!({ "categoryId": TECHNICAL_SUPPORT, "summary": summary, "description": "It does not work." });
        let reply = self.try_create_ticket(input).await;
        Ticket::read(reply.at("/data/createTicket/ticket"))
    }

    /// Tries to open a ticket.
    pub async fn try_create_ticket(&self, input: Value) -> Reply {
        let document = "mutation($input: CreateTicketInput!) { createTicket(input: $input) {
            ticket { id number status version } userErrors { field code message } } }";
        self.send(document, json!({ "input": input })).await
    }

    /// Posts a comment; gives its id and the ticket.
    pub async fn comment(&self, ticket: &Ticket, body: &str) -> (String, Ticket) {
        self.comment_with(ticket, json!({ "body": body })).await
    }

    /// Writes an internal note.
    pub async fn note(&self, ticket: &Ticket, body: &str) -> (String, Ticket) {
        self.comment_with(ticket, json!({ "body": body, "visibility": "INTERNAL" })).await
    }

    /// Posts a comment with other fields of the input.
    pub async fn comment_with(&self, ticket: &Ticket, input: Value) -> (String, Ticket) {
        let reply = self.try_comment(ticket, input).await;
        let id = reply
            .at("/data/addComment/comment/id")
            .as_str()
            .unwrap_or_else(|| panic!("{}", reply.body));
        (id.to_owned(), Ticket::read(reply.at("/data/addComment/ticket")))
    }

    /// Tries to post a comment.
    pub async fn try_comment(&self, ticket: &Ticket, mut input: Value) -> Reply {
        let document = "mutation($input: AddCommentInput!) { addComment(input: $input) {
            comment { id body visibility } ticket { id number status version updatedAt } userErrors { field code message } } }";
        input["ticketId"] = json!(ticket.id);
        self.send(document, json!({ "input": input })).await
    }

    /// Posts a comment with its body for a key; `None` where no answer came, or that
    /// the server could not do it.
    pub async fn try_post_comment(&self, ticket: &Ticket, body: &str) -> Option<()> {
        let document =
            "mutation($input: AddCommentInput!) { addComment(input: $input) { comment { id } } }";
        let input = json!({ "ticketId": ticket.id, "body": body, "idempotencyKey": body });
        let body = self.try_send(document, json!({ "input": input })).await?;
        body.pointer("/data/addComment/comment/id")?.as_str().map(|_| ())
    }

    /// Sends a document; `None` where no answer came.
    pub async fn try_send(&self, document: &str, variables: Value) -> Option<Value> {
        let request = json!({ "query": document, "variables": variables });
        let request = self.http.post(format!("http://{}/graphql", self.address)).json(&request);
        let response = request.bearer_auth(self.token.as_ref()?).send().await.ok()?;
        response.json().await.ok()
    }

    /// Changes a ticket.
    pub async fn update(&self, ticket: &Ticket, input: Value) -> Ticket {
        let reply = self.try_update(ticket, input).await;
        assert_eq!(reply.user_errors("updateTicket"), [] as [&str; 0], "{}", reply.body);
        Ticket::read(reply.at("/data/updateTicket/ticket"))
    }

    /// Tries to change a ticket.
    pub async fn try_update(&self, ticket: &Ticket, mut input: Value) -> Reply {
        let document = "mutation($input: UpdateTicketInput!) { updateTicket(input: $input) {
            ticket { id number status version summary priority assignee { name } category { slug } }
            userErrors { field code message } } }";
        input["ticketId"] = json!(ticket.id);
        self.send(document, json!({ "input": input })).await
    }

    /// One's own account's id.
    pub async fn account_id(&self) -> String {
        self.ok("{ viewer { id } }", json!({})).await["viewer"]["id"].as_str().unwrap().to_owned()
    }

    /// Sends a request to `/graphql` that takes server-sent events.
    pub async fn respond_with_events(
        &self,
        build: impl FnOnce(reqwest::RequestBuilder) -> reqwest::RequestBuilder,
    ) -> reqwest::Response {
        let request = self.http.post(format!("http://{}/graphql", self.address));
        let mut request = request.header("accept", "text/event-stream");
        if let Some(token) = &self.token {
            request = request.bearer_auth(token);
        }
        build(request).send().await.unwrap()
    }

    /// Begins an operation whose outputs come as server-sent events.
    pub async fn stream(&self, document: &str, variables: Value) -> EventStream {
        let body = json!({ "query": document, "variables": variables });
        EventStream::new(self.respond_with_events(|request| request.json(&body)).await)
    }

    /// Watches everything that one may see by server-sent events, from now on or after the
    /// last event that one was given.
    pub async fn stream_inbox(&self, last: Option<&str>) -> EventStream {
        let query = format!("subscription {{ inboxEvents {{ {} }} }}", super::socket::EVENT);
        let request = |mut request: reqwest::RequestBuilder| {
            if let Some(last) = last {
                request = request.header("last-event-id", last);
            }
            request.json(&json!({ "query": query }))
        };
        EventStream::new(self.respond_with_events(request).await)
    }

    /// Opens a websocket and greets.
    pub async fn socket(&self) -> Socket {
        Socket::open(&self.address, self.token.as_deref()).await
    }
}

impl Ticket {
    pub fn read(value: &Value) -> Self {
        let text = |name: &str| {
            value[name].as_str().unwrap_or_else(|| panic!("no {name} in {value}")).to_owned()
        };
        Self {
            id: text("id"),
            number: text("number"),
            status: text("status"),
            version: value["version"].as_i64().unwrap(),
        }
    }
}

impl Reply {
    /// What is at a JSON pointer; null where nothing is.
    pub fn at(&self, pointer: &str) -> &Value {
        self.body.pointer(pointer).unwrap_or(&Value::Null)
    }

    /// The code of the first top-level error.
    pub fn code(&self) -> &str {
        self.at("/errors/0/extensions/code")
            .as_str()
            .unwrap_or_else(|| panic!("no error in {}", self.body))
    }

    /// The codes of a mutation's user errors.
    pub fn user_errors(&self, mutation: &str) -> Vec<&str> {
        let errors = self.at(&format!("/data/{mutation}/userErrors"));
        let errors = errors.as_array().unwrap_or_else(|| panic!("no userErrors in {}", self.body));
        errors.iter().map(|error| error["code"].as_str().unwrap()).collect()
    }
}
