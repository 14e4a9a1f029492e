//! Sessions in cookies, and each way in which a page of another origin could try to use one.

use reqwest::{Method, RequestBuilder, StatusCode};
use serde_json::{Value, json};
use tokio_tungstenite::tungstenite::{client::IntoClientRequest as _, http::HeaderValue};

use crate::harness::{Client, Socket, TestServer, client::Reply, server::PASSWORD};

const SIGN_IN: &str = "mutation($input: SignInInput!) { signIn(input: $input) {
    session { token account { name } } challenge { token } userErrors { code } } }";
const VIEWER: &str = "{ viewer { name } }";

/// A page that a browser shows, with the browser's cookies.
struct Page {
    client: Client,
    origin: String,
    cookie: Option<String>,
}

impl Page {
    /// A page of the server's own.
    fn new(client: &Client) -> Self {
        let origin = format!("http://{}", client.address());
        Self { client: Client::new(client.address(), None), origin, cookie: None }
    }

    async fn fetch(&mut self, document: &str, variables: Value) -> Reply {
        let (origin, cookie) = (self.origin.clone(), self.cookie.clone());
        let body = json!({ "query": document, "variables": variables });
        let reply = self
            .client
            .request(Method::POST, "/graphql", |request| {
                let request = request.header("origin", origin).header("ticketwire-client", "web");
                with_cookie(request, cookie.as_deref()).json(&body)
            })
            .await;
        if let Some(set) = reply.headers.get("set-cookie") {
            let set = set.to_str().unwrap();
            let pair = set.split(';').next().unwrap().to_owned();
            self.cookie = (!set.contains("Max-Age=0")).then_some(pair);
        }
        reply
    }

    async fn sign_in(&mut self) -> Reply {
        let input = json!({ "email": "anna@example.com", "password": PASSWORD,
            "sessionTransport": "COOKIE" });
        self.fetch(SIGN_IN, json!({ "input": input })).await
    }
}

fn with_cookie(request: RequestBuilder, cookie: Option<&str>) -> RequestBuilder {
    match cookie {
        Some(cookie) => request.header("cookie", cookie),
        None => request,
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_page_signs_in_and_out_with_a_cookie_and_never_sees_the_token() {
    let server = TestServer::start().await;
    let anna = server.customer("Anna").await;
    let mut page = Page::new(&anna);
    let reply = page.sign_in().await;
    assert_eq!(reply.at("/data/signIn/session/token"), &Value::Null, "{}", reply.body);
    assert_eq!(reply.at("/data/signIn/session/account/name"), "Anna");
    let set = reply.headers["set-cookie"].to_str().unwrap();
    assert!(set.starts_with("ticketwire_session=tw_"), "{set}");
    for attribute in ["; Path=/", "; HttpOnly", "; SameSite=Strict", "; Max-Age="] {
        assert!(set.contains(attribute), "{set}");
    }
    assert!(!set.contains("Secure") && !set.contains("Domain"), "{set}");
    assert_eq!(page.fetch(VIEWER, json!({})).await.at("/data/viewer/name"), "Anna");
    // A bearer token wins.
    let boris = server.customer("Boris").await;
    let cookie = page.cookie.clone().unwrap();
    let reply = boris
        .request(Method::POST, "/graphql", |request| {
            let request = request.header("origin", page.origin.clone());
            let request = request.header("ticketwire-client", "web").header("cookie", &cookie);
            request.json(&json!({ "query": VIEWER }))
        })
        .await;
    assert_eq!(reply.at("/data/viewer/name"), "Boris");
    let reply = page.fetch("mutation { signOut { signedOut } }", json!({})).await;
    assert_eq!(reply.at("/data/signOut/signedOut"), true);
    assert_eq!(page.cookie, None);
    page.cookie = Some(cookie);
    assert_eq!(page.fetch(VIEWER, json!({})).await.code(), "UNAUTHENTICATED");
    server.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_cookie_does_not_count_for_requests_that_other_pages_can_send() {
    let server =
        TestServer::start_with(&[("allowed_origins", "https://shop.example".to_owned())]).await;
    let anna = server.customer("Anna").await;
    let mut page = Page::new(&anna);
    page.sign_in().await;
    let (own, cookie) = (page.origin.clone(), page.cookie.clone().unwrap());
    let body = json!({ "query": VIEWER }).to_string();
    let send = async |method: Method, headers: &[(&str, &str)]| {
        let path = if method == Method::GET {
            "/graphql?query=%7Bviewer%7Bname%7D%7D"
        } else {
            "/graphql"
        };
        let request = |mut request: RequestBuilder| {
            request = request.header("cookie", &cookie);
            for (name, value) in headers {
                request = request.header(*name, *value);
            }
            request.header("content-type", "application/json").body(body.clone())
        };
        page.client.request(method, path, request).await
    };
    let client = ("ticketwire-client", "web");
    let counts = [
        (Method::POST, vec![client, ("origin", own.as_str())]),
        (Method::POST, vec![client, ("origin", &own), ("sec-fetch-site", "same-origin")]),
        (Method::GET, vec![client]),
    ];
    for (method, headers) in counts {
        let reply = send(method.clone(), &headers).await;
        assert_eq!(reply.at("/data/viewer/name"), "Anna", "{method} {headers:?}: {}", reply.body);
    }
    let other_port = own.replace("127.0.0.1:", "127.0.0.1:1");
    let sibling = own.replace("127.0.0.1", "www.localhost");
    let foreign = [
        // A form, or a page that may not set the header.
        (Method::POST, vec![("origin", own.as_str())]),
        (Method::GET, vec![]),
        (Method::POST, vec![client]),
        (Method::POST, vec![client, ("origin", "https://shop.example")]),
        (Method::POST, vec![client, ("origin", "null")]),
        (Method::POST, vec![client, ("origin", &sibling)]),
        (Method::POST, vec![client, ("origin", &other_port)]),
        (Method::POST, vec![client, ("origin", &own), ("sec-fetch-site", "same-site")]),
        (Method::GET, vec![client, ("origin", "https://shop.example")]),
        (Method::GET, vec![client, ("sec-fetch-site", "cross-site")]),
    ];
    for (method, headers) in foreign {
        let reply = send(method.clone(), &headers).await;
        assert_eq!(reply.code(), "UNAUTHENTICATED", "{method} {headers:?}: {}", reply.body);
    }
    // No page of another origin is allowed to send the header.
    let reply = page
        .client
        .request(Method::OPTIONS, "/graphql", |request| {
            request
                .header("origin", "https://shop.example")
                .header("access-control-request-method", "POST")
                .header("access-control-request-headers", "content-type,ticketwire-client")
        })
        .await;
    let allowed = reply.headers["access-control-allow-headers"].to_str().unwrap();
    assert!(!allowed.contains("ticketwire-client"), "{allowed}");
    assert!(!reply.headers.contains_key("access-control-allow-credentials"));
    server.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn only_an_own_page_over_http_gets_a_cookie() {
    let server = TestServer::start().await;
    let anna = server.customer("Anna").await;
    let input = json!({ "input": { "email": "anna@example.com",
        "password": PASSWORD, "sessionTransport": "COOKIE" } });
    let stranger = Client::new(anna.address(), None);
    let sessions = async || {
        let data = anna.ok("{ viewer { sessions { id } } }", json!({})).await;
        data["viewer"]["sessions"].as_array().unwrap().len()
    };
    let before = sessions().await;
    // Without the header and the origin, from a foreign page, as an event stream, over a websocket.
    let reply = stranger.send(SIGN_IN, input.clone()).await;
    assert_eq!(reply.code(), "BAD_REQUEST");
    assert!(!reply.headers.contains_key("set-cookie"));
    let mut page = Page::new(&anna);
    "https://evil.example".clone_into(&mut page.origin);
    assert_eq!(page.fetch(SIGN_IN, input.clone()).await.code(), "BAD_REQUEST");
    let own = format!("http://{}", anna.address());
    let response = stranger
        .request_event_stream(|request| {
            let request = request.header("origin", own).header("ticketwire-client", "web");
            request.json(&json!({ "query": SIGN_IN, "variables": input }))
        })
        .await;
    assert!(!response.headers().contains_key("set-cookie"));
    assert!(response.text().await.unwrap().contains("BAD_REQUEST"));
    let mut socket = stranger.socket().await;
    socket.subscribe("1", SIGN_IN, input.clone()).await;
    let message = socket.message().await;
    assert_eq!(message["payload"]["errors"][0]["extensions"]["code"], "BAD_REQUEST", "{message}");
    assert_eq!(sessions().await, before);
    server.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_websocket_of_an_own_page_has_the_session_of_its_cookie() {
    let server =
        TestServer::start_with(&[("allowed_origins", "https://shop.example".to_owned())]).await;
    let anna = server.customer("Anna").await;
    let mut page = Page::new(&anna);
    page.sign_in().await;
    let cookie = page.cookie.clone().unwrap();
    let open = async |origin: Option<&str>| {
        let address = format!("ws://{}/graphql", anna.address());
        let mut request = address.into_client_request().unwrap();
        let headers = request.headers_mut();
        headers.insert("sec-websocket-protocol", HeaderValue::from_static("graphql-transport-ws"));
        headers.insert("cookie", cookie.parse().unwrap());
        if let Some(origin) = origin {
            headers.insert("origin", origin.parse().unwrap());
        }
        let mut socket = Socket::open_with(request).await;
        socket.subscribe("1", VIEWER, json!({})).await;
        socket.message().await
    };
    let own = open(Some(&page.origin)).await;
    assert_eq!(own["payload"]["data"]["viewer"]["name"], "Anna", "{own}");
    for origin in [None, Some("https://shop.example")] {
        let message = open(origin).await;
        let code = &message["payload"]["errors"][0]["extensions"]["code"];
        assert_eq!(code, "UNAUTHENTICATED", "{origin:?}: {message}");
    }
    server.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_cookie_does_not_count_for_a_page_that_shows_another_account() {
    let server = TestServer::start().await;
    let (anna, boris) = (server.customer("Anna").await, server.customer("Boris").await);
    let mut page = Page::new(&anna);
    page.sign_in().await;
    let cookie = page.cookie.clone().unwrap();
    let (own, other) = (anna.account_id().await, boris.account_id().await);
    let shown = [(&*own, json!("Anna")), (&*other, Value::Null), ("", Value::Null)];
    for (shown, name) in shown {
        let reply = page
            .client
            .request(Method::POST, "/graphql", |request| {
                let request = request.header("origin", &page.origin).header("cookie", &cookie);
                let request = request.header("ticketwire-client", "web");
                request.header("ticketwire-account", shown).json(&json!({ "query": VIEWER }))
            })
            .await;
        assert_eq!(reply.body["data"]["viewer"]["name"], name, "{shown}: {}", reply.body);
        let mut request = format!("ws://{}/graphql", anna.address()).into_client_request().unwrap();
        let headers = request.headers_mut();
        headers.insert("sec-websocket-protocol", HeaderValue::from_static("graphql-transport-ws"));
        headers.insert("cookie", cookie.parse().unwrap());
        headers.insert("origin", page.origin.parse().unwrap());
        let payload = json!({ "ticketwire-account": shown });
        let opened = Socket::try_open_with(request, payload).await;
        assert_eq!(opened.is_some(), !name.is_null(), "{shown}");
    }
    // A bearer token is chosen for its account.
    let reply = boris
        .request(Method::POST, "/graphql", |request| {
            request.header("ticketwire-account", &own).json(&json!({ "query": VIEWER }))
        })
        .await;
    assert_eq!(reply.at("/data/viewer/name"), "Boris");
    server.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn behind_tls_the_cookie_is_bound_to_the_host() {
    let server =
        TestServer::start_with(&[("links.base_url", "https://help.example".to_owned())]).await;
    let anna = server.customer("Anna").await;
    let mut page = Page::new(&anna);
    assert_eq!(page.sign_in().await.code(), "BAD_REQUEST");
    "https://help.example".clone_into(&mut page.origin);
    let reply = page.sign_in().await;
    assert_eq!(reply.status, StatusCode::OK);
    let set = reply.headers["set-cookie"].to_str().unwrap();
    assert!(set.starts_with("__Host-ticketwire_session=tw_") && set.ends_with("; Secure"), "{set}");
    assert_eq!(page.fetch(VIEWER, json!({})).await.at("/data/viewer/name"), "Anna");
    server.stop().await;
}
