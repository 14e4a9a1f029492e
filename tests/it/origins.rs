//! Which web pages may call the API.

use reqwest::{Method, StatusCode, header::HeaderMap};
use serde_json::json;
use ticketwire::app::StartError;
use tokio_tungstenite::{
    connect_async,
    tungstenite::{Error, client::IntoClientRequest as _},
};

use crate::harness::{Client, TestServer, browser::Script};

const PORTAL: &str = "https://portal.example";

fn allow(origins: &str) -> [(&'static str, String); 1] {
    [("allowed_origins", origins.to_owned())]
}

/// Sends a browser's preflight request.
async fn preflight(client: &Client, origin: &str) -> (StatusCode, HeaderMap) {
    let request = |request: reqwest::RequestBuilder| {
        request
            .header("origin", origin)
            .header("access-control-request-method", "POST")
            .header("access-control-request-headers", "authorization,content-type")
    };
    let reply = client.request(Method::OPTIONS, "/graphql", request).await;
    (reply.status, reply.headers)
}

/// Sends a query as a page of an origin.
async fn call(client: &Client, origin: &str, accept: &'static str) -> HeaderMap {
    let request = |request: reqwest::RequestBuilder| {
        let request = request.header("origin", origin).header("accept", accept);
        request.json(&json!({ "query": "{ viewer { name } }" }))
    };
    let reply = client.request(Method::POST, "/graphql", request).await;
    assert!(reply.body.to_string().contains("Anna"), "{}", reply.body);
    reply.headers
}

#[tokio::test(flavor = "multi_thread")]
async fn a_page_of_an_allowed_origin_may_read_responses() {
    let server = TestServer::start_with(&allow(&format!("http://localhost:3000, {PORTAL}"))).await;
    let anna = server.customer("Anna").await;
    let (status, headers) = preflight(&anna, PORTAL).await;
    assert_eq!(
        (status, &headers["access-control-allow-origin"]),
        (StatusCode::OK, &PORTAL.parse().unwrap())
    );
    assert_eq!(headers["access-control-allow-methods"], "GET,POST");
    let allowed = headers["access-control-allow-headers"].to_str().unwrap();
    assert_eq!(allowed, "accept,authorization,content-type,last-event-id");
    assert!(headers.contains_key("access-control-max-age"));
    for accept in ["application/json", "text/event-stream"] {
        let headers = call(&anna, PORTAL, accept).await;
        assert_eq!(headers["access-control-allow-origin"], PORTAL);
        assert_eq!(headers["access-control-expose-headers"], "x-request-id");
        assert!(headers.contains_key("x-request-id"));
        assert!(headers["vary"].to_str().unwrap().contains("origin"));
        assert!(!headers.contains_key("access-control-allow-credentials"));
    }
    for foreign in ["https://evil.example", "http://portal.example", "null"] {
        for headers in [preflight(&anna, foreign).await.1, call(&anna, foreign, "*/*").await] {
            assert!(!headers.contains_key("access-control-allow-origin"), "{foreign}");
        }
    }
    server.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn other_origins_are_refused_by_default_and_allowed_with_a_wildcard() {
    let mut server = TestServer::start().await;
    let anna = server.customer("Anna").await;
    assert_eq!(preflight(&anna, PORTAL).await.0, StatusCode::METHOD_NOT_ALLOWED);
    assert!(!call(&anna, PORTAL, "*/*").await.contains_key("access-control-allow-origin"));
    server.restart_with(&allow("*")).await;
    let anna = anna.at(&server.address());
    assert_eq!(preflight(&anna, PORTAL).await.1["access-control-allow-origin"], "*");
    assert_eq!(call(&anna, "null", "*/*").await["access-control-allow-origin"], "*");
    server.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_websocket_is_accepted_from_the_servers_own_and_allowed_origins_only() {
    let mut server = TestServer::start().await;
    let refusal = async |address: &str, origin: Option<&str>| {
        let mut request = format!("ws://{address}/graphql").into_client_request().unwrap();
        let headers = request.headers_mut();
        headers.insert("sec-websocket-protocol", "graphql-transport-ws".parse().unwrap());
        if let Some(origin) = origin {
            headers.insert("origin", origin.parse().unwrap());
        }
        match connect_async(request).await {
            Ok(_) => None,
            Err(Error::Http(response)) => {
                assert_eq!(response.status(), StatusCode::FORBIDDEN);
                Some(String::from_utf8(response.into_body().unwrap()).unwrap())
            }
            Err(other) => panic!("{origin:?}: {other}"),
        }
    };
    let address = server.address();
    assert_eq!(refusal(&address, None).await, None);
    assert_eq!(refusal(&address, Some(&format!("http://{address}"))).await, None);
    for foreign in [PORTAL, "null", "http://127.0.0.1"] {
        let refusal = refusal(&address, Some(foreign)).await.expect(foreign);
        assert!(refusal.contains("TICKETWIRE_ALLOWED_ORIGINS"), "{refusal}");
    }
    server.restart_with(&allow(PORTAL)).await;
    let address = server.address();
    assert_eq!(refusal(&address, Some(PORTAL)).await, None);
    assert_eq!(refusal(&address, Some(&format!("http://{address}"))).await, None);
    assert!(refusal(&address, Some("null")).await.is_some());
    server.restart_with(&allow("*")).await;
    assert_eq!(refusal(&server.address(), Some("null")).await, None);
    server.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn an_invalid_origin_is_an_error_that_names_the_setting() {
    let server = TestServer::start().await;
    for wrong in ["portal.example", "https://portal.example/desk", "*, https://portal.example"] {
        match server.another_node(&allow(wrong)).await {
            Err(StartError::Config { key: "allowed_origins", problem }) => {
                assert!(problem.contains("scheme://host"), "{problem}");
            }
            Err(other) => panic!("{wrong}: {other}"),
            Ok(_) => panic!("{wrong} was accepted"),
        }
    }
    server.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_browser_lets_a_page_call_only_servers_that_allow_its_origin() {
    let server = TestServer::start().await;
    let anna = server.customer("Anna").await;
    let origin = format!("http://{}", server.address());
    let open = server.another_node(&allow(&origin)).await.unwrap();
    let closed = server.second_node().await;
    let mut script = Script::start("origins.js", &format!("{origin}/healthz")).await;
    while let Some(command) = script.command().await {
        match command.iter().map(String::as_str).collect::<Vec<_>>()[..] {
            ["token"] => script.answer(anna.token.as_ref().unwrap()).await,
            ["open"] => script.answer(&open.address().to_string()).await,
            ["closed"] => script.answer(&closed.address().to_string()).await,
            ref other => panic!("the script asks for {other:?}"),
        }
    }
    assert!(script.succeeded().await, "see above");
    open.stop().await;
    closed.stop().await;
    server.stop().await;
}
