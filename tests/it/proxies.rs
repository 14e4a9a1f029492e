//! The reverse proxies with the configurations in `ops/proxies`.

use std::{fs, path::Path};

use axum::{Json, Router, http::HeaderMap};
use reqwest::Method;
use serde_json::json;
use ticketwire::domain::account::Role;
use tokio::net::TcpListener;

use crate::{
    attachment::{CREATE, ticket, upload},
    harness::{
        Client, TestServer,
        reverse_proxy::{Kind, ReverseProxy, published},
        server::{PASSWORD, create_account},
        tls::HOST,
    },
};

/// Signs in through a proxy with a forged address.
async fn sign_in(proxy: &ReverseProxy, email: &str) -> Client {
    let mut client = Client::secure(proxy.secure.clone());
    let document = "mutation($input: SignInInput!) { signIn(input: $input) { session { token } } }";
    let input = json!({ "email": email, "password": PASSWORD });
    let body = json!({ "query": document, "variables": { "input": input } });
    let reply = client
        .request(Method::POST, "/graphql", |request| {
            request.header("x-forwarded-for", "203.0.113.9").json(&body)
        })
        .await;
    client.token = reply.at("/data/signIn/session/token").as_str().map(str::to_owned);
    client
}

async fn everything_works_through(kind: Kind) {
    let flags =
        [("trusted_proxies", "1".to_owned()), ("links.base_url", format!("https://{HOST}"))];
    let server = TestServer::start_with(&flags).await;
    let mut leaving = flags.to_vec();
    leaving.push(("drain_grace_seconds", "5".to_owned()));
    let other = server.another_node(&leaving).await.unwrap();
    let addresses = [server.address(), other.address().to_string()];
    let proxy = ReverseProxy::start(kind, [&addresses[0], &addresses[1]]).await;
    let email = "anna@example.com";
    create_account(&server.database.url, &server.clock, email, "Anna", Role::Customer).await;
    let anna = sign_in(&proxy, email).await;
    let viewer = anna.ok("{ viewer { name sessions { address } } }", json!({})).await;
    let expected = json!({ "name": "Anna", "sessions": [{ "address": "127.0.0.1" }] });
    assert_eq!(viewer["viewer"], expected, "the address is the one that the proxy saw");

    let start = anna.ok("{ eventCursor }", json!({})).await;
    let mut socket = anna.socket().await;
    socket.watch_inbox("1", start["eventCursor"].as_str()).await;
    socket.caught_up().await;
    let mut stream = anna.stream_inbox(start["eventCursor"].as_str()).await;
    stream.caught_up().await;
    let file = vec![b'x'; 5_000_000];
    let reply = upload(&anna, CREATE, ticket(), &[("large.txt", &file)]).await;
    let opened = reply.at("/data/createTicket/ticket");
    let (item, _) = stream.item().await;
    assert_eq!(item["ticket"]["id"], socket.item().await["ticket"]["id"]);
    let url = opened["attachments"][0]["url"].as_str().unwrap_or_else(|| panic!("{}", reply.body));
    let path = url.strip_prefix(&format!("https://{HOST}")).expect("a link to the proxy");
    let fetched = anna.request(Method::GET, path, |request| request).await;
    assert_eq!(fetched.body.as_str().map(str::len), Some(file.len()));

    // One node less: no request notices.
    other.stop().await;
    for n in 0..20 {
        anna.create_ticket(&format!("ticket {n}")).await;
    }
    drop((socket, stream));
    server.stop().await;
}

#[test]
fn the_page_quotes_the_configurations() {
    let page = Path::new(env!("CARGO_MANIFEST_DIR")).join("docs/PROXIES.md");
    let page = fs::read_to_string(page).unwrap();
    for kind in [Kind::Nginx, Kind::HaProxy, Kind::Caddy] {
        assert!(page.contains(&published(kind)), "copy the file of {kind:?} to docs/PROXIES.md");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn everything_works_through_nginx() {
    everything_works_through(Kind::Nginx).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn everything_works_through_haproxy() {
    everything_works_through(Kind::HaProxy).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn everything_works_through_caddy() {
    everything_works_through(Kind::Caddy).await;
}

/// Starts a server that answers with the names of the headers that it received.
async fn start_echo() -> String {
    let echo = |headers: HeaderMap| async move {
        Json(headers.keys().map(|name| name.as_str().to_owned()).collect::<Vec<_>>())
    };
    let socket = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = socket.local_addr().unwrap().to_string();
    tokio::spawn(async move { axum::serve(socket, Router::new().fallback(echo)).await });
    address
}

async fn no_stranger_continues_a_trace_through(kind: Kind) {
    let address = start_echo().await;
    let proxy = ReverseProxy::start(kind, [&address, &address]).await;
    let stranger = Client::secure(proxy.secure.clone());
    let reply = stranger
        .request(Method::GET, "/graphql", |request| {
            let caller = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01";
            let request = request.header("traceparent", caller).header("tracestate", "a=b");
            request.header("x-kept", "1")
        })
        .await;
    let names = reply.body.as_array().unwrap_or_else(|| panic!("{}", reply.body));
    let has = |name: &str| names.iter().any(|found| found == name);
    assert!(has("x-kept") && has("x-forwarded-for"), "{names:?}");
    assert!(!has("traceparent") && !has("tracestate"), "{names:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn no_stranger_continues_a_trace_through_nginx() {
    no_stranger_continues_a_trace_through(Kind::Nginx).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn no_stranger_continues_a_trace_through_haproxy() {
    no_stranger_continues_a_trace_through(Kind::HaProxy).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn no_stranger_continues_a_trace_through_caddy() {
    no_stranger_continues_a_trace_through(Kind::Caddy).await;
}
