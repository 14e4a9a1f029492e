//! The graphql-transport-ws protocol.

use serde_json::json;
use tokio_tungstenite::{
    connect_async,
    tungstenite::{Error, Message, client::IntoClientRequest as _},
};

use crate::{
    harness::{Socket, TestServer, socket::Incoming},
    writes::until_waiting,
};

#[tokio::test(flavor = "multi_thread")]
async fn only_the_graphql_transport_ws_protocol_is_accepted() {
    let server = TestServer::start().await;
    for protocol in [None, Some("graphql-ws"), Some("nonsense")] {
        let mut request =
            format!("ws://{}/graphql", server.address()).into_client_request().unwrap();
        if let Some(protocol) = protocol {
            request.headers_mut().insert("sec-websocket-protocol", protocol.parse().unwrap());
        }
        match connect_async(request).await {
            Err(Error::Http(response)) => assert_eq!(response.status(), 400),
            other => panic!("{protocol:?}: {other:?}"),
        }
    }
    let mut request = format!("ws://{}/graphql", server.address()).into_client_request().unwrap();
    request
        .headers_mut()
        .insert("sec-websocket-protocol", "graphql-ws, graphql-transport-ws".parse().unwrap());
    let (_, response) = connect_async(request).await.unwrap();
    assert_eq!(response.headers()["sec-websocket-protocol"], "graphql-transport-ws");
    server.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_protocol_violation_closes_the_socket_with_its_code() {
    let server = TestServer::start().await;
    let anna = server.customer("Anna").await;
    let init = json!({ "type": "connection_init" });
    let query = json!({ "query": "{ viewer { id } }" });
    let live = json!({ "query": "subscription { inboxEvents { __typename } }" });
    let auth = json!({ "type": "connection_init", "payload": { "authorization": format!("Bearer {}", anna.token.as_ref().unwrap()) } });
    let subscribe = |id: &str, payload: &serde_json::Value| json!({ "type": "subscribe", "id": id, "payload": payload });
    for (code, messages) in [
        (4401, vec![subscribe("1", &query)]),
        (4429, vec![init.clone(), init.clone()]),
        (
            4403,
            vec![
                json!({ "type": "connection_init", "payload": { "authorization": "Bearer tw_nonsense" } }),
            ],
        ),
        (4400, vec![json!({ "type": "connection_init", "payload": 5 })]),
        (4400, vec![json!({ "type": "nonsense" })]),
        (4400, vec![json!([])]),
        (4400, vec![init.clone(), json!({ "type": "subscribe", "payload": query })]),
        (4400, vec![init.clone(), json!({ "type": "subscribe", "id": "", "payload": query })]),
        (
            4400,
            vec![
                init.clone(),
                json!({ "type": "subscribe", "id": "1", "payload": { "query": 5 } }),
            ],
        ),
        (4409, vec![auth, subscribe("1", &live), subscribe("1", &live)]),
    ] {
        let mut socket = Socket::connect(&server.address()).await;
        for message in &messages {
            socket.send(message.clone()).await;
        }
        assert_eq!(socket.close_code().await, code, "{messages:?}");
    }
    for raw in
        [Message::text("{"), Message::text("[".repeat(100_000)), Message::binary(vec![0, 159])]
    {
        let mut socket = anna.socket().await;
        socket.send_raw(raw).await;
        assert_eq!(socket.close_code().await, 4400);
    }
    server.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_socket_serves_queries_errors_and_streams() {
    let server = TestServer::start().await;
    let anna = server.customer("Anna").await;
    let mut socket = anna.socket().await;
    socket.send(json!({ "type": "ping", "payload": { "a": 1 } })).await;
    assert_eq!(socket.message().await["type"], "pong");
    socket.subscribe("q", "{ viewer { name } }", json!({})).await;
    let next = json!({ "type": "next", "id": "q", "payload": { "data": { "viewer": { "name": "Anna" } } } });
    assert_eq!(socket.message().await, next);
    assert_eq!(socket.message().await, json!({ "type": "complete", "id": "q" }));
    // The id can be used again.
    socket.subscribe("q", "{ nonsense }", json!({})).await;
    let error = socket.message().await;
    assert_eq!((&error["type"], &error["id"]), (&json!("error"), &json!("q")));
    assert_eq!(error["payload"][0]["extensions"]["code"], "BAD_REQUEST");
    socket
        .subscribe(
            "q",
            "subscription($id: ID!) { ticketEvents(ticketId: $id) { __typename } }",
            json!({ "id": "x" }),
        )
        .await;
    let error = socket.message().await;
    assert_eq!(
        (&error["type"], &error["payload"][0]["extensions"]["code"]),
        (&json!("error"), &json!("NOT_FOUND"))
    );
    // A completed stream sends nothing more.
    let ticket = anna.create_ticket("one").await;
    socket.watch_ticket("live", &ticket.id, None).await;
    socket.caught_up().await;
    socket.send(json!({ "type": "complete", "id": "live" })).await;
    socket.watch_inbox("inbox", None).await;
    socket.caught_up().await;
    anna.comment(&ticket, "hello").await;
    assert_eq!(socket.message().await["id"], "inbox");
    server.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_socket_without_a_session_can_sign_in_but_not_subscribe() {
    let server = TestServer::start().await;
    server.customer("Anna").await;
    let mut socket = server.anonymous().socket().await;
    socket.watch_inbox("1", None).await;
    let error = socket.message().await;
    assert_eq!(error["payload"][0]["extensions"]["code"], "UNAUTHENTICATED");
    let sign_in = "mutation { signIn(input: { email: \"anna@example.com\", password: \"correct horse battery\" }) { session { token } } }";
    socket.subscribe("2", sign_in, json!({})).await;
    assert!(socket.message().await["payload"]["data"]["signIn"]["session"]["token"].is_string());
    server.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn limits_on_documents_streams_and_messages_apply_to_sockets() {
    let flags = [("limits.customer_streams", "200".to_owned())];
    let server = TestServer::start_with(&flags).await;
    let anna = server.customer("Anna").await;
    let mut socket = anna.socket().await;
    for query in [
        "[".repeat(100_000),
        format!("{{ a(b: {}", "{a:".repeat(50_000)),
        crate::bad_input::multiplying_fragments(),
    ] {
        socket.subscribe("1", &query, json!({})).await;
        let error = socket.message().await;
        assert_eq!(
            (&error["type"], &error["payload"][0]["extensions"]["code"]),
            (&json!("error"), &json!("BAD_REQUEST"))
        );
    }
    for n in 0..100 {
        socket.watch_inbox(&n.to_string(), None).await;
        socket.caught_up().await;
    }
    socket.watch_inbox("one too many", None).await;
    assert_eq!(socket.message().await["type"], "error");
    let mut large = anna.socket().await;
    large.send_raw(Message::text("x".repeat(10 * 1024 * 1024))).await;
    assert!(!matches!(large.incoming().await, Incoming::Message(_)));
    anna.ok("{ viewer { id } }", json!({})).await;
    server.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_stopping_server_closes_its_sockets_with_1012() {
    let server = TestServer::start().await;
    let anna = server.customer("Anna").await;
    let mut socket = anna.socket().await;
    socket.watch_inbox("1", None).await;
    socket.caught_up().await;
    server.stop().await;
    assert_eq!(socket.close_code().await, 1012);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_stopping_server_answers_the_mutations_of_its_sockets_before_it_closes_them() {
    let server = TestServer::start().await;
    let anna = server.customer("Anna").await;
    let ticket = anna.create_ticket("one").await;
    let holder = server.database.connect().await;
    holder.batch_execute("BEGIN; SELECT FROM tickets FOR UPDATE").await.unwrap();
    let mut socket = anna.socket().await;
    socket.watch_inbox("inbox", None).await;
    socket.caught_up().await;
    let comment = "mutation($ticket: ID!, $body: String!) {
        addComment(input: { ticketId: $ticket, body: $body }) { comment { body } } }";
    let last_words = json!({ "ticket": ticket.id, "body": "Last words" });
    socket.subscribe("comment", comment, last_words).await;
    until_waiting(&server, "%").await;
    let address = server.address();
    let stopping = tokio::spawn(server.stop_keeping_database());
    while tokio::net::TcpStream::connect(&address).await.is_ok() {}
    holder.batch_execute("COMMIT").await.unwrap();
    let answer = socket.message().await;
    assert_eq!((&answer["type"], &answer["id"]), (&json!("next"), &json!("comment")), "{answer}");
    let body = &answer["payload"]["data"]["addComment"]["comment"]["body"];
    assert_eq!(body, "Last words");
    assert_eq!(socket.message().await, json!({ "type": "complete", "id": "comment" }));
    assert_eq!(socket.close_code().await, 1012);
    stopping.await.unwrap().stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_text_that_is_cut_within_an_emoji_fails_its_operation_and_no_other() {
    let server = TestServer::start().await;
    let anna = server.customer("Anna").await;
    let ticket = anna.create_ticket("one").await;
    let mut socket = anna.socket().await;
    socket.watch_inbox("inbox", None).await;
    socket.caught_up().await;
    let comment = |body: &str| {
        let query =
            "mutation($input: AddCommentInput!) { addComment(input: $input) { comment { id } } }";
        let text = json!({ "id": "c", "type": "subscribe", "payload": {
            "query": query, "variables": { "input": { "ticketId": ticket.id, "body": "BODY" } } } });
        text.to_string().replace("BODY", body)
    };
    let truncated = comment("Thanks").split("Thanks").next().unwrap().to_owned();
    for text in [comment("Thanks \\ud83d"), comment("\\udc4d"), truncated] {
        socket.send_raw(Message::text(text.clone())).await;
        let error = socket.message().await;
        assert_eq!((&error["type"], &error["id"]), (&json!("error"), &json!("c")), "{error}");
        let code = &error["payload"][0]["extensions"]["code"];
        assert_eq!(code, "BAD_REQUEST", "{error}");
    }
    socket.send_raw(Message::text(comment("Thanks \\ud83d\\udc4d"))).await;
    let mut ids = [socket.message().await, socket.message().await, socket.message().await]
        .map(|message| message["id"].as_str().unwrap().to_owned());
    ids.sort();
    assert_eq!(ids, ["c", "c", "inbox"]);
    server.stop().await;
}
