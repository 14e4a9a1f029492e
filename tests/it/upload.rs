//! Where a multipart request may put its files, and what of it is bounded.

use std::{future, time::Duration};

use reqwest::{Method, StatusCode};
use serde_json::{Value, json};
use tokio::{
    io::{AsyncReadExt as _, AsyncWriteExt as _},
    net::TcpStream,
    time,
};

use crate::{
    attachment::{BOUNDARY, CREATE, Part, body, count, send, ticket, upload},
    harness::{
        Client, TestServer,
        client::{Reply, TECHNICAL_SUPPORT},
    },
};

#[tokio::test(flavor = "multi_thread")]
async fn a_file_in_a_place_of_another_type_is_refused_before_it_is_stored() {
    let server = TestServer::start().await;
    let anna = server.customer("Anna").await;
    let before = server.content().await;
    let input = |name: &str, value: Value| {
        let mut input = ticket();
        input[name] = value;
        json!({ "input": input })
    };
    let inline = "mutation($s: String!, $c: ID!, $f: [Upload!]!) { createTicket(input: {
        categoryId: $c, summary: $s, description: \"d\", attachments: $f }) { ticket { id } } }";
    let inline_with = |s: Value, f: Value| json!({ "c": TECHNICAL_SUPPORT, "s": s, "f": f });
    let optional = "mutation($s: String, $f: Upload!) { createTicket(input: { categoryId: \"x\",
        summary: \"s\", description: \"d\", idempotencyKey: $s, attachments: [$f] }) { ticket { id } } }";
    for (document, variables, paths, message) in [
        (CREATE, input("summary", json!(null)), vec!["input.summary"], "of type `String!`"),
        (
            CREATE,
            input("idempotencyKey", json!(null)),
            vec!["input.idempotencyKey"],
            "of type `String`",
        ),
        (CREATE, input("categoryId", json!(null)), vec!["input.categoryId"], "of type `ID!`"),
        (CREATE, input("unknown", json!(null)), vec!["input.unknown"], "that does not exist"),
        (CREATE, input("summary", json!([null])), vec!["input.summary.0"], "that does not exist"),
        (
            CREATE,
            input("attachments", json!([[null]])),
            vec!["input.attachments.0.0"],
            "that does not exist",
        ),
        (
            CREATE,
            input("attachments", json!([{ "x": null }])),
            vec!["input.attachments.0.x"],
            "that does not exist",
        ),
        (
            CREATE,
            input("attachments", json!([null])),
            vec!["input.attachments.1"],
            "does not lead to a null",
        ),
        (
            CREATE,
            input("attachments", json!([null])),
            vec!["input.attachments.0", "input.attachments.0"],
            "another file is already there",
        ),
        (CREATE, json!({ "input": null }), vec!["input"], "of type `CreateTicketInput!`"),
        (
            CREATE,
            json!({ "input": ticket(), "x": null }),
            vec!["x"],
            "`x`, which the operation does not declare",
        ),
        (inline, inline_with(json!(null), json!([])), vec!["s"], "of type `String!`"),
        (inline, inline_with(json!("s"), json!([null])), vec!["f.0.0"], "does not lead to a null"),
        (optional, json!({ "s": null, "f": null }), vec!["f", "s"], "of type `String`"),
    ] {
        let reply = send_mapped(&anna, document, &variables, &paths).await;
        assert_eq!((reply.status, reply.code()), (StatusCode::BAD_REQUEST, "BAD_REQUEST"));
        let found = reply.at("/errors/0/message").as_str().unwrap();
        assert!(found.contains(message), "{variables} {paths:?}: {found}");
    }
    assert_eq!(count(&server, "true").await, 0);
    assert_eq!(server.content().await, before);
    // The same operations with their files in places of the right type. One file in the place of
    // a list is a list of one.
    for (document, variables, paths) in [
        (inline, inline_with(json!("s"), json!([null])), vec!["f.0"]),
        (inline, inline_with(json!("s"), json!(null)), vec!["f"]),
        (
            CREATE,
            input("attachments", json!([null, null])),
            vec!["input.attachments.0", "input.attachments.1"],
        ),
        (CREATE, input("attachments", json!(null)), vec!["input.attachments"]),
    ] {
        let reply = send_mapped(&anna, document, &variables, &paths).await;
        assert!(reply.at("/data/createTicket/ticket/id").is_string(), "{paths:?}: {}", reply.body);
    }
    assert_eq!(count(&server, "ticket_id IS NOT NULL").await, 5);
    server.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_document_that_is_not_valid_is_answered_as_in_a_request_without_files() {
    let server = TestServer::start().await;
    let anna = server.customer("Anna").await;
    let map = json!({ "0": ["variables.input.attachments.0"] }).to_string();
    let two = "mutation A { signOut { signedOut } } mutation B { signOut { signedOut } }";
    for (query, has_place) in
        [("mutation {", true), ("mutation { a { b(c: \"\\u\") } }", true), (two, false)]
    {
        let operations = json!({ "query": query, "variables": { "input": with_file() } });
        let operations = operations.to_string();
        let parts: [Part<'_>; 3] = [
            ("operations", None, operations.as_bytes()),
            ("map", None, map.as_bytes()),
            ("0", Some("a.txt"), b"a"),
        ];
        let reply = send(&anna, &parts).await;
        assert_eq!((reply.status, reply.code()), (StatusCode::OK, "BAD_REQUEST"), "{query}");
        assert_eq!(reply.at("/errors/0/locations").is_array(), has_place, "{}", reply.body);
        let media = format!("multipart/form-data; boundary={BOUNDARY}");
        let streamed = anna
            .request(Method::POST, "/graphql", |request| {
                let accept = request.header("accept", "text/event-stream");
                accept.header("content-type", media).body(body(&parts))
            })
            .await;
        let media = streamed.headers["content-type"].to_str().unwrap();
        assert!(media.starts_with("text/event-stream"), "{query}: {media}");
    }
    assert_eq!(count(&server, "true").await, 0);
    server.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn what_precedes_the_content_of_a_part_is_bounded() {
    let server = TestServer::start().await;
    let anna = server.customer("Anna").await;
    let operations = json!({ "query": CREATE, "variables": { "input": with_file() } }).to_string();
    let map = json!({ "0": ["variables.input.attachments.0"] }).to_string();
    let before =
        body(&[("operations", None, operations.as_bytes()), ("map", None, map.as_bytes())]);
    // Without the end of the last part.
    let before = before[..before.len() - 4].to_vec();
    let with = |end: &[u8]| [&before, end].concat();
    let header = format!("--{BOUNDARY}\r\nX-Endless: ").into_bytes();
    for (name, begin) in [
        ("preamble", vec![]),
        ("padding", format!("--{BOUNDARY}").into_bytes()),
        ("header of the first part", header),
        ("header of a file", with(b"\r\nX-Endless: ")),
    ] {
        let (status, answer) = send_endlessly(&server.address(), &anna, &begin).await;
        assert_eq!(status, 400, "{name}: {answer}");
        assert!(answer.contains("more than 65536 bytes before the content"), "{name}: {answer}");
    }
    // In many pieces, which are not joined.
    let pieces = (0..6_000).fold(String::new(), |pieces, n| pieces + &format!("; filename*{n}=a"));
    let file = format!(
        "\r\nContent-Disposition: form-data; name=\"0\"{pieces}\r\n\r\nx\r\n--{BOUNDARY}--\r\n"
    );
    let media = format!("multipart/form-data; boundary={BOUNDARY}");
    let reply = anna.post(&media, with(file.as_bytes())).await;
    let message = reply.at("/errors/0/message").as_str().unwrap();
    assert!(message.contains("Content-Disposition of a file is longer than"), "{message}");
    assert_eq!(count(&server, "true").await, 0);
    // Large files come in chunks that contain the header of the next part.
    let file = vec![b'x'; 3_000_000];
    let reply = upload(&anna, CREATE, ticket(), &[("a", &file), ("b", &file), ("c", &file)]).await;
    assert!(reply.at("/data/createTicket/ticket/id").is_string(), "{}", reply.body);
    server.stop().await;
}

/// The input of a ticket with the place of a file.
fn with_file() -> Value {
    let mut input = ticket();
    input["attachments"] = json!([null]);
    input
}

/// Sends a multipart body that begins with these bytes and does not end. Returns the status and the text
/// of the response.
async fn send_endlessly(address: &str, client: &Client, begin: &[u8]) -> (u16, String) {
    let head = format!(
        "POST /graphql HTTP/1.1\r\nHost: {address}\r\nAuthorization: Bearer {}\r\n\
         Content-Type: multipart/form-data; boundary={BOUNDARY}\r\nContent-Length: 10000000000\r\n\r\n",
        client.token.as_deref().unwrap()
    );
    let mut stream = TcpStream::connect(address).await.unwrap();
    stream.write_all(head.as_bytes()).await.unwrap();
    stream.write_all(begin).await.unwrap();
    let (mut reading, mut writing) = stream.split();
    let mut answer = Vec::new();
    let send = async {
        while writing.write_all(&[b' '; 1_000]).await.is_ok() {}
        future::pending::<()>().await;
    };
    // The server closes the connection.
    let receive = async {
        let mut buffer = [0; 1_000];
        while let Ok(length @ 1..) = reading.read(&mut buffer).await {
            answer.extend_from_slice(&buffer[..length]);
        }
    };
    let answered = async {
        tokio::select! { () = receive => {} () = send => {} }
    };
    time::timeout(Duration::from_secs(20), answered).await.expect("an answer in time");
    let answer = String::from_utf8_lossy(&answer).into_owned();
    let status = answer.split(' ').nth(1).and_then(|status| status.parse().ok());
    (status.unwrap_or_default(), answer)
}

/// Sends a mutation with one file for each path in the variables.
async fn send_mapped(client: &Client, query: &str, variables: &Value, paths: &[&str]) -> Reply {
    let operations = json!({ "query": query, "variables": variables }).to_string();
    let names = (0..paths.len()).map(|n| n.to_string()).collect::<Vec<_>>();
    let map = names.iter().zip(paths);
    let map = map.map(|(name, path)| (name.clone(), json!([format!("variables.{path}")])));
    let map = Value::Object(map.collect()).to_string();
    let mut parts: Vec<Part<'_>> =
        vec![("operations", None, operations.as_bytes()), ("map", None, map.as_bytes())];
    parts.extend(names.iter().map(|name| (name.as_str(), Some("a.txt"), &b"a"[..])));
    send(client, &parts).await
}
