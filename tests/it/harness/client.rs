//! An HTTP client, as an integrator would write it.

use reqwest::{StatusCode, header::HeaderMap};
use serde_json::{Value, json};

use super::{EventStream, Socket, tls::Secure};

/// The id of the category "Technical Support" of every new installation.
pub const TECHNICAL_SUPPORT: &str = "Q2F0ZWdvcnk6MDE5OWEwMDAtMDAwMC03MDAwLTgwMDAtMDAwMDAwMDAwMDAx";
/// The id of the category "Sales".
pub const SALES: &str = "Q2F0ZWdvcnk6MDE5OWEwMDAtMDAwMC03MDAwLTgwMDAtMDAwMDAwMDAwMDAy";

/// A client, signed in or not.
#[derive(Clone)]
pub struct Client {
    http: reqwest::Client,
    address: String,
    /// The beginning of its URLs.
    base: String,
    /// How it speaks TLS, if it does.
    secure: Option<Secure>,
    /// Its bearer token.
    pub token: Option<String>,
}

/// A response.
#[derive(Debug)]
pub struct Reply {
    pub status: StatusCode,
    pub headers: HeaderMap,
    /// The body: parsed if it is JSON, otherwise a string.
    pub body: Value,
}

/// The fields of a ticket that most tests need.
#[derive(Clone, Debug)]
pub struct Ticket {
    pub id: String,
    pub number: String,
    pub status: String,
    pub version: i64,
}

/// Installs ring as the TLS provider, without which no HTTP client can be created.
pub fn install_tls_provider() {
    // Fails if another test has already installed it.
    let _ = rustls::crypto::ring::default_provider().install_default();
}

impl Client {
    /// A client of the server at an address, with or without a token.
    pub fn new(address: &str, token: Option<String>) -> Self {
        install_tls_provider();
        Self {
            http: reqwest::Client::new(),
            address: address.to_owned(),
            base: format!("http://{address}"),
            secure: None,
            token,
        }
    }

    /// A client that speaks TLS and has no token.
    pub fn secure(secure: Secure) -> Self {
        install_tls_provider();
        let http = reqwest::Client::builder()
            .tls_backend_preconfigured(secure.config())
            .resolve(&secure.host, secure.address)
            .build()
            .unwrap();
        let address = format!("{}:{}", secure.host, secure.address.port());
        let base = format!("https://{address}");
        Self { http, address, base, secure: Some(secure), token: None }
    }

    /// Returns the address of the server: `127.0.0.1:port`.
    pub fn address(&self) -> &str {
        &self.address
    }

    /// The same session at the address of another node.
    pub fn at(&self, address: &str) -> Self {
        Self::new(address, self.token.clone())
    }

    /// Signs in; returns a client with the session's token.
    pub async fn sign_in(&self, email: &str, password: &str) -> Self {
        let document = "mutation($input: SignInInput!) { signIn(input: $input) { session { token } userErrors { code } } }";
        let reply =
            self.send(document, json!({ "input": { "email": email, "password": password } })).await;
        let token = reply.at("/data/signIn/session/token").as_str().expect("a token").to_owned();
        Self { token: Some(token), ..self.clone() }
    }

    /// Posts a document with its variables.
    pub async fn send(&self, document: &str, variables: Value) -> Reply {
        self.post(
            "application/json",
            json!({ "query": document, "variables": variables }).to_string(),
        )
        .await
    }

    /// Returns the request that posts a document, as sent over a connection.
    pub fn raw_post(&self, document: &str, variables: &Value) -> Vec<u8> {
        let body = json!({ "query": document, "variables": variables }).to_string();
        let request = format!(
            "POST /graphql HTTP/1.1\r\nHost: {}\r\nAuthorization: Bearer {}\r\n\
             Content-Type: application/json\r\nContent-Length: {}\r\n\r\n{body}",
            self.address,
            self.token.as_deref().expect("a token"),
            body.len()
        );
        request.into_bytes()
    }

    /// Posts a document that must succeed; returns its data.
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

    /// Sends a document and returns the response's body as it is, with its fields in order.
    pub async fn send_raw(&self, document: &str, variables: Value) -> String {
        let body = json!({ "query": document, "variables": variables });
        let mut request = self.http.post(format!("{}/graphql", self.base)).json(&body);
        if let Some(token) = &self.token {
            request = request.bearer_auth(token);
        }
        request.send().await.unwrap().text().await.unwrap()
    }

    /// Sends any request.
    pub async fn request(
        &self,
        method: reqwest::Method,
        path: &str,
        build: impl FnOnce(reqwest::RequestBuilder) -> reqwest::RequestBuilder,
    ) -> Reply {
        let mut request = self.http.request(method, format!("{}{path}", self.base));
        if let Some(token) = &self.token {
            request = request.bearer_auth(token);
        }
        let response = build(request).send().await.unwrap();
        let (status, headers) = (response.status(), response.headers().clone());
        let text = response.text().await.unwrap();
        let body = serde_json::from_str(&text).unwrap_or(Value::String(text));
        Reply { status, headers, body }
    }

    /// Returns the id of the last event of a ticket that the client sees.
    pub async fn last_event(&self, ticket: &Ticket) -> Value {
        let document = "query($id: ID!) { node(id: $id) { ... on Ticket { timeline(last: 1) {
            nodes { ... on TicketEvent { id } } } } } }";
        let data = self.ok(document, json!({ "id": ticket.id })).await;
        data["node"]["timeline"]["nodes"][0]["id"].clone()
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

    /// Posts a comment; returns its id and the ticket.
    pub async fn comment(&self, ticket: &Ticket, body: &str) -> (String, Ticket) {
        self.comment_with(ticket, json!({ "body": body })).await
    }

    /// Posts an internal note; returns its id and the ticket.
    pub async fn note(&self, ticket: &Ticket, body: &str) -> (String, Ticket) {
        self.comment_with(ticket, json!({ "body": body, "visibility": "INTERNAL" })).await
    }

    /// Posts a comment with this input; returns its id and the ticket.
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

    /// Posts a comment whose body is also its idempotency key; returns `None` without a response or
    /// if the server could not post it.
    pub async fn try_post_comment(&self, ticket: &Ticket, body: &str) -> Option<()> {
        let document =
            "mutation($input: AddCommentInput!) { addComment(input: $input) { comment { id } } }";
        let input = json!({ "ticketId": ticket.id, "body": body, "idempotencyKey": body });
        let body = self.try_send(document, json!({ "input": input })).await?;
        body.pointer("/data/addComment/comment/id")?.as_str().map(|_| ())
    }

    /// Posts a document; returns `None` without a JSON response.
    pub async fn try_send(&self, document: &str, variables: Value) -> Option<Value> {
        let request = json!({ "query": document, "variables": variables });
        let request = self.http.post(format!("{}/graphql", self.base)).json(&request);
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

    /// The id of the client's account.
    pub async fn account_id(&self) -> String {
        self.ok("{ viewer { id } }", json!({})).await["viewer"]["id"].as_str().unwrap().to_owned()
    }

    /// Gives an account the role of a customer, as an admin.
    pub async fn make_customer(&self, account: &str) {
        let mutation = "mutation($input: SetAccountRoleInput!) { setAccountRole(input: $input) {
            account { role } userErrors { code } } }";
        let input = json!({ "id": account, "role": "CUSTOMER" });
        let data = self.ok(mutation, json!({ "input": input })).await;
        let expected = json!({ "account": { "role": "CUSTOMER" }, "userErrors": [] });
        assert_eq!(data["setAccountRole"], expected);
    }

    /// Tries to invite an address to a ticket.
    pub async fn try_invite(&self, ticket: &str, email: &str) -> Reply {
        let mutation =
            "mutation($input: InviteParticipantInput!) { inviteParticipant(input: $input) {
            invitation { id email invitedBy { name } createdAt expiresAt }
            userErrors { field code message } } }";
        self.send(mutation, json!({ "input": { "ticketId": ticket, "email": email } })).await
    }

    /// Invites an address to a ticket; returns the invitation's id.
    pub async fn invite(&self, ticket: &Ticket, email: &str) -> String {
        let reply = self.try_invite(&ticket.id, email).await;
        let id = reply.at("/data/inviteParticipant/invitation/id").as_str();
        id.unwrap_or_else(|| panic!("{}", reply.body)).to_owned()
    }

    /// Tries to accept an invitation.
    pub async fn try_accept(&self, invitation: &str) -> Reply {
        let mutation =
            "mutation($input: AcceptInvitationInput!) { acceptInvitation(input: $input) {
            ticket { number participants { name } } userErrors { field code message } } }";
        self.send(mutation, json!({ "input": { "invitationId": invitation } })).await
    }

    /// Invites another customer to a ticket, who accepts. Returns the names of all participants.
    pub async fn share(&self, ticket: &Ticket, with: &Self) -> Vec<String> {
        let viewer = with.ok("{ viewer { email } }", json!({})).await;
        let invitation = self.invite(ticket, viewer["viewer"]["email"].as_str().unwrap()).await;
        let reply = with.try_accept(&invitation).await;
        let names = reply.at("/data/acceptInvitation/ticket/participants").as_array();
        let names = names.unwrap_or_else(|| panic!("{}", reply.body));
        names.iter().map(|it| it["name"].as_str().unwrap().to_owned()).collect()
    }

    /// Posts a request to `/graphql` that accepts server-sent events.
    pub async fn request_event_stream(
        &self,
        build: impl FnOnce(reqwest::RequestBuilder) -> reqwest::RequestBuilder,
    ) -> reqwest::Response {
        let request = self.http.post(format!("{}/graphql", self.base));
        let mut request = request.header("accept", "text/event-stream");
        if let Some(token) = &self.token {
            request = request.bearer_auth(token);
        }
        build(request).send().await.unwrap()
    }

    /// Starts an operation whose results arrive as server-sent events.
    pub async fn stream(&self, document: &str, variables: Value) -> EventStream {
        let body = json!({ "query": document, "variables": variables });
        EventStream::new(self.request_event_stream(|request| request.json(&body)).await)
    }

    /// Watches the tickets that the client may see, as server-sent events, from now on or after the
    /// event with an id.
    pub async fn stream_inbox(&self, last_event_id: Option<&str>) -> EventStream {
        let query = format!("subscription {{ inboxEvents {{ {} }} }}", super::socket::EVENT);
        let request = |mut request: reqwest::RequestBuilder| {
            if let Some(id) = last_event_id {
                request = request.header("last-event-id", id);
            }
            request.json(&json!({ "query": query }))
        };
        EventStream::new(self.request_event_stream(request).await)
    }

    /// Opens a websocket and sends `connection_init`.
    pub async fn socket(&self) -> Socket {
        let socket = Socket::try_connect(&self.address, self.secure.as_ref()).await;
        let socket = socket.expect("a server that accepts the connection");
        socket.initialise(self.token.as_deref()).await.expect("an acknowledged connection_init")
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
    /// The value at a JSON pointer, or null if nothing is there.
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
