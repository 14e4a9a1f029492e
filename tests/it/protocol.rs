//! The graphql-transport-ws protocol, clause by clause in the order of PROTOCOL.md.

use serde_json::{Value, json};
use tokio_tungstenite::{
    connect_async,
    tungstenite::{
        Message,
        client::IntoClientRequest as _,
        protocol::frame::{
            CloseFrame, Frame,
            coding::{CloseCode, Control, Data, OpCode},
        },
    },
};

use crate::harness::{Client, Socket, TestServer, socket::Incoming};

const LIVE: &str = "subscription { inboxEvents { __typename ... on TicketEvent { id } } }";

/// Sends messages on a new socket and waits until the server closes it; returns the code and the
/// reason.
async fn close_after(server: &TestServer, messages: &[Value]) -> (u16, String) {
    let mut socket = Socket::connect(&server.address()).await;
    for message in messages {
        socket.send(message.clone()).await;
    }
    wait_for_close(&mut socket).await
}

async fn wait_for_close(socket: &mut Socket) -> (u16, String) {
    loop {
        match socket.incoming().await {
            Incoming::Closed(code, reason) => return (code, reason),
            Incoming::Broken => panic!("broken without a close frame"),
            Incoming::Message(_) => {}
        }
    }
}

fn init(client: &Client) -> Value {
    let token = client.token.as_deref().unwrap();
    json!({ "type": "connection_init", "payload": { "authorization": format!("Bearer {token}") } })
}

fn subscribe(id: &str, query: &str) -> Value {
    json!({ "type": "subscribe", "id": id, "payload": { "query": query } })
}

#[tokio::test(flavor = "multi_thread")]
async fn a_socket_without_a_connection_init_is_closed_with_4408() {
    let server = TestServer::start().await;
    let mut socket = Socket::connect(&server.address()).await;
    // A ping does not replace `connection_init`.
    socket.send(json!({ "type": "ping" })).await;
    assert_eq!(socket.message().await, json!({ "type": "pong" }));
    let expected = (4408, "Connection initialisation timeout".to_owned());
    assert_eq!(wait_for_close(&mut socket).await, expected);
    server.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_second_connection_init_closes_the_socket_with_4429() {
    let server = TestServer::start().await;
    let init = json!({ "type": "connection_init" });
    let expected = (4429, "Too many initialisation requests".to_owned());
    assert_eq!(close_after(&server, &[init.clone(), init]).await, expected);
    server.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn connection_init_may_have_a_payload_and_is_acknowledged() {
    let server = TestServer::start().await;
    for init in [
        json!({ "type": "connection_init" }),
        json!({ "type": "connection_init", "payload": null }),
        json!({ "type": "connection_init", "payload": {} }),
        json!({ "type": "connection_init", "payload": { "authorization": "", "other": [1] } }),
    ] {
        let mut socket = Socket::connect(&server.address()).await;
        socket.send(init).await;
        assert_eq!(socket.message().await, json!({ "type": "connection_ack" }));
    }
    for payload in [json!(5), json!("text"), json!([]), json!(true)] {
        let init = json!({ "type": "connection_init", "payload": payload });
        assert_eq!(close_after(&server, &[init]).await.0, 4400);
    }
    server.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn an_operation_before_the_acknowledgement_closes_the_socket_with_4401() {
    let server = TestServer::start().await;
    let expected = (4401, "Unauthorized".to_owned());
    assert_eq!(close_after(&server, &[subscribe("1", "{ __typename }")]).await, expected);
    // An operation right after `connection_init` is executed after the acknowledgement.
    let anna = server.customer("Anna").await;
    let mut socket = Socket::connect(&server.address()).await;
    socket.send(init(&anna)).await;
    socket.send(subscribe("1", "{ viewer { name } }")).await;
    assert_eq!(socket.message().await["type"], "connection_ack");
    assert_eq!(socket.item().await["name"], "Anna");
    server.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_duplicate_operation_id_closes_the_socket_with_4409_and_is_named() {
    let server = TestServer::start().await;
    let anna = server.customer("Anna").await;
    let expected = (4409, "Subscriber for my-id already exists".to_owned());
    let twice = [init(&anna), subscribe("my-id", LIVE), subscribe("my-id", LIVE)];
    assert_eq!(close_after(&server, &twice).await, expected);
    // The reason must fit into a control frame even with a long id.
    let long = "й".repeat(128);
    let twice = [init(&anna), subscribe(&long, LIVE), subscribe(&long, LIVE)];
    let (code, reason) = close_after(&server, &twice).await;
    assert!(code == 4409 && reason.starts_with("Subscriber for й") && reason.len() <= 123);
    server.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_single_result_is_sent_as_next_followed_by_complete() {
    let server = TestServer::start().await;
    let anna = server.customer("Anna").await;
    let mut socket = anna.socket().await;
    for payload in [
        json!({ "query": "{ viewer { name } }" }),
        json!({ "query": "{ viewer { name } }", "variables": null, "operationName": null, "extensions": null }),
        json!({ "query": "query a { viewer { id } } query b { viewer { name } }", "operationName": "b", "variables": {} }),
    ] {
        socket.send(json!({ "type": "subscribe", "id": "one", "payload": payload })).await;
        let next = json!({ "type": "next", "id": "one", "payload": { "data": { "viewer": { "name": "Anna" } } } });
        assert_eq!(socket.message().await, next);
        assert_eq!(socket.message().await, json!({ "type": "complete", "id": "one" }));
    }
    server.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn an_error_before_execution_is_sent_as_error_without_complete() {
    let server = TestServer::start().await;
    let anna = server.customer("Anna").await;
    let mut socket = anna.socket().await;
    for query in [
        "{ nonsense }",
        "{",
        "subscription { nonsense }",
        "",
        "subscription { a: inboxEvents { __typename } b: inboxEvents { __typename } }",
        "subscription { inboxEvents @include(if: true) { __typename } }",
        "query($number: String!) { ticket(number: $number) { id } }",
    ] {
        socket.send(subscribe("e", query)).await;
        let error = socket.message().await;
        assert_eq!((&error["type"], &error["id"]), (&json!("error"), &json!("e")), "{error}");
        assert!(error["payload"][0]["message"].is_string(), "{query}");
    }
    // The id can be used again, and nothing else follows.
    socket.send(subscribe("e", "{ viewer { name } }")).await;
    assert_eq!(socket.message().await["type"], "next");
    server.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_stream_sends_next_until_the_server_completes_it() {
    let server = TestServer::start().await;
    let anna = server.customer("Anna").await;
    let mut socket = anna.socket().await;
    // A cursor of another history.
    let after = ticketwire::domain::cursor::Cursor { epoch: 1, pos: 1 }.encode();
    socket.watch_inbox("s", Some(&after)).await;
    assert_eq!(socket.item().await["__typename"], "ResyncRequired");
    assert_eq!(socket.message().await, json!({ "type": "complete", "id": "s" }));
    server.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_stream_that_the_client_completes_sends_nothing_more() {
    let server = TestServer::start().await;
    let anna = server.customer("Anna").await;
    let ticket = anna.create_ticket("one").await;
    let mut socket = anna.socket().await;
    for id in ["stopped", "other"] {
        socket.send(subscribe(id, LIVE)).await;
        socket.item().await;
    }
    socket.send(json!({ "type": "complete", "id": "stopped" })).await;
    // Completing an unknown or completed operation is not an error.
    for id in ["never was", "stopped"] {
        socket.send(json!({ "type": "complete", "id": id })).await;
    }
    anna.comment(&ticket, "hello").await;
    assert_eq!(socket.message().await["id"], "other");
    // The id can be used again.
    socket.send(subscribe("stopped", LIVE)).await;
    assert_eq!(socket.message().await["id"], "stopped");
    server.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn pings_are_answered_and_pongs_accepted_at_any_time() {
    let server = TestServer::start().await;
    let mut socket = Socket::connect(&server.address()).await;
    for ping in [
        json!({ "type": "ping" }),
        json!({ "type": "ping", "payload": null }),
        json!({ "type": "ping", "payload": { "any": "thing" } }),
    ] {
        socket.send(json!({ "type": "pong", "payload": { "any": "thing" } })).await;
        socket.send(ping).await;
        assert_eq!(socket.message().await, json!({ "type": "pong" }));
    }
    for payload in [json!(5), json!([])] {
        for kind in ["ping", "pong"] {
            let message = json!({ "type": kind, "payload": payload });
            assert_eq!(close_after(&server, &[message]).await.0, 4400);
        }
    }
    server.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn an_invalid_message_closes_the_socket_with_4400_and_a_short_reason() {
    let server = TestServer::start().await;
    let anna = server.customer("Anna").await;
    let query = json!({ "query": "{ viewer { id } }" });
    let mut cases = [
        json!({}),
        json!([]),
        json!("connection_init"),
        json!(null),
        json!({ "type": 5 }),
        json!({ "type": "start", "id": "1", "payload": query }),
        json!({ "type": "connection_ack" }),
        json!({ "type": "next", "id": "1", "payload": {} }),
        json!({ "type": "subscribe" }),
        json!({ "type": "subscribe", "id": 1, "payload": query }),
        json!({ "type": "subscribe", "id": "", "payload": query }),
        json!({ "type": "subscribe", "id": "x".repeat(1_000_000), "payload": query }),
        json!({ "type": "subscribe", "id": "1" }),
        json!({ "type": "subscribe", "id": "1", "payload": null }),
        json!({ "type": "subscribe", "id": "1", "payload": {} }),
        json!({ "type": "subscribe", "id": "1", "payload": { "query": ["{ viewer { id } }"] } }),
        json!({ "type": "subscribe", "id": "1", "payload": { "query": "{ a }", "variables": 5 } }),
        json!({ "type": "subscribe", "id": "1", "payload": { "query": "{ a }", "operationName": 5 } }),
        json!({ "type": "complete" }),
    ]
    .map(|message| message.to_string())
    .to_vec();
    cases.extend([String::new(), "{".to_owned(), "[".repeat(500_000), "{\"a\":".repeat(100_000)]);
    for text in cases {
        let mut socket = anna.socket().await;
        socket.send_raw(Message::text(text.clone())).await;
        let (code, reason) = wait_for_close(&mut socket).await;
        let shown = text.chars().take(100).collect::<String>();
        assert_eq!(code, 4400, "{shown}");
        assert!((1..=123).contains(&reason.len()), "{shown}: {reason}");
    }
    let payload = json!({ "query": "{ a }", "variables": [] });
    let long = json!({ "type": "subscribe", "id": "x".repeat(257), "payload": query });
    let list = json!({ "type": "subscribe", "id": "1", "payload": payload });
    for (message, words) in [
        (Message::binary(init(&anna).to_string()), "send text frames, not binary ones"),
        (Message::text(long.to_string()), "an id has 1 to 256 bytes"),
        (Message::text(list.to_string()), "The `variables` must be a JSON object."),
        (Message::text(r#"{"type":"ping","type":"ping"}"#), "a member comes twice"),
        (
            Message::text(r#"{"type":"start","id":"1","payload":{"query":"\ud83d"}}"#),
            "not valid JSON: unexpected end of hex escape at line 1 column 52",
        ),
        // What a client sends by mistake may be its token.
        (
            Message::text(r#"{"type":"connection_init","payload":"Bearer tw_0"}"#),
            "`payload` must be a JSON object",
        ),
    ] {
        let mut socket = anna.socket().await;
        socket.send_raw(message).await;
        let (code, reason) = wait_for_close(&mut socket).await;
        assert_eq!((code, reason), (4400, format!("Invalid message: {words}")));
    }
    server.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_normal_close_by_the_client_is_answered_with_1000() {
    let server = TestServer::start().await;
    let mut socket = server.customer("Anna").await.socket().await;
    socket.send(subscribe("1", LIVE)).await;
    socket.item().await;
    let normal = CloseFrame { code: CloseCode::Normal, reason: "".into() };
    socket.send_raw(Message::Close(Some(normal))).await;
    assert_eq!(socket.incoming().await, Incoming::Closed(1000, String::new()));
    server.stop().await;
}

// Rules of RFC 6455, on which the protocol is based.

fn frame(data: &[u8], opcode: OpCode, is_final: bool) -> Message {
    Message::Frame(Frame::message(data.to_vec(), opcode, is_final))
}

#[tokio::test(flavor = "multi_thread")]
async fn a_fragmented_message_is_read_as_one_message() {
    let server = TestServer::start().await;
    let anna = server.customer("Anna").await;
    let mut socket = Socket::connect(&server.address()).await;
    let text = init(&anna).to_string();
    let (first, rest) = text.as_bytes().split_at(7);
    socket.send_raw(frame(first, OpCode::Data(Data::Text), false)).await;
    // Control frames may arrive between fragments.
    socket.send_raw(Message::Ping(vec![1].into())).await;
    socket.send_raw(frame(rest, OpCode::Data(Data::Continue), true)).await;
    assert_eq!(socket.message().await["type"], "connection_ack");
    server.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn an_unfinished_message_before_connection_init_may_take_16_kib() {
    let server = TestServer::start().await;
    let part = vec![b' '; 17_000];
    let mut socket = Socket::connect(&server.address()).await;
    socket.send_raw(frame(&part, OpCode::Data(Data::Text), false)).await;
    assert_eq!(wait_for_close(&mut socket).await.0, 4400);
    let anna = server.customer("Anna").await;
    let mut socket = anna.socket().await;
    socket.send_raw(frame(&part, OpCode::Data(Data::Text), false)).await;
    socket.send_raw(frame(br#"{"type":"ping"}"#, OpCode::Data(Data::Continue), true)).await;
    assert_eq!(socket.message().await["type"], "pong", "who is signed in may send more");
    server.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn an_invalid_frame_closes_the_socket_with_the_code_of_rfc_6455() {
    let server = TestServer::start().await;
    let anna = server.customer("Anna").await;
    let mut reserved = Frame::message(b"{}".to_vec(), OpCode::Data(Data::Text), true);
    reserved.header_mut().rsv1 = true;
    let mut long_ping = Frame::message(vec![0; 126], OpCode::Data(Data::Text), true);
    long_ping.header_mut().opcode = OpCode::Control(Control::Ping);
    for (code, message) in [
        (1007, frame(&[b'"', 0xFF, b'"'], OpCode::Data(Data::Text), true)),
        (1002, frame(b"{}", OpCode::Data(Data::Continue), true)),
        (1002, Message::Frame(reserved)),
        (1002, Message::Frame(long_ping)),
    ] {
        let mut socket = anna.socket().await;
        let shown = format!("{message:?}");
        socket.send_raw(message).await;
        assert_eq!(wait_for_close(&mut socket).await.0, code, "{shown}");
    }
    let mut socket = anna.socket().await;
    socket.send_raw(frame(b"{", OpCode::Data(Data::Text), false)).await;
    socket.send_raw(frame(b"{", OpCode::Data(Data::Text), true)).await;
    assert_eq!(wait_for_close(&mut socket).await.0, 1002);
    // Fragments that exceed the size limit of a message.
    let mut socket = anna.socket().await;
    let part = vec![b' '; 256 * 1024];
    socket.send_raw(frame(&part, OpCode::Data(Data::Text), false)).await;
    for _ in 0..4 {
        socket.send_raw(frame(&part, OpCode::Data(Data::Continue), false)).await;
    }
    assert_eq!(wait_for_close(&mut socket).await.0, 1009);
    server.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn compression_is_not_negotiated() {
    let server = TestServer::start().await;
    let mut request = format!("ws://{}/graphql", server.address()).into_client_request().unwrap();
    for (name, value) in [
        ("sec-websocket-protocol", "graphql-transport-ws"),
        ("sec-websocket-extensions", "permessage-deflate"),
    ] {
        request.headers_mut().insert(name, value.parse().unwrap());
    }
    let (_, response) = connect_async(request).await.unwrap();
    assert_eq!(response.headers().get("sec-websocket-extensions"), None);
    server.stop().await;
}
