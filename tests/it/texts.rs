//! Texts that people paste: line ends, invisible characters, and what looks equal.

use serde_json::{Value, json};
use ticketwire::domain::{account::Role, service_token::Scope};

use crate::{
    attachment::{CREATE, Part, send, ticket},
    harness::{Client, TestServer, client::SALES, server::PASSWORD},
};

const PROVISION: &str = "mutation($input: ProvisionCustomerInput!) {
    provisionCustomer(input: $input) { account { id email } userErrors { field code message } } }";

/// Provisions a customer; returns their address, or the code and the text of the error.
async fn provision(panel: &Client, id: &str, email: &str) -> Result<String, (String, String)> {
    let input = json!({ "externalId": id, "email": email, "name": "Anna" });
    let reply = panel.send(PROVISION, json!({ "input": input })).await;
    let payload = reply.at("/data/provisionCustomer").clone();
    let text = |value: &Value| value.as_str().unwrap_or_default().to_owned();
    match payload["userErrors"].as_array().and_then(|errors| errors.first()) {
        None => Ok(text(&payload["account"]["email"])),
        Some(error) => Err((text(&error["code"]), text(&error["message"]))),
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn every_kind_of_line_end_in_a_pasted_text_becomes_a_line_end() {
    let server = TestServer::start().await;
    let anna = server.customer("Anna").await;
    let ticket = anna.create_ticket("one").await;
    for end in ["\u{2028}", "\u{2029}", "\u{B}", "\u{C}", "\u{85}", "\r\n", "\r", "\n"] {
        let pasted = format!("First line{end}Second line");
        let input =
            json!({ "categoryId": SALES, "summary": format!("a{end}"), "description": pasted });
        let reply = anna.try_create_ticket(input).await;
        assert_eq!(reply.user_errors("createTicket"), [] as [&str; 0], "{end:?}");
        anna.comment(&ticket, &pasted).await;
    }
    let database = server.database.connect().await;
    let texts = "SELECT description AS text FROM tickets WHERE summary = 'a'
        UNION ALL SELECT body FROM comments";
    let rows = database.query(texts, &[]).await.unwrap();
    let texts = rows.iter().map(|row| row.get::<_, String>(0)).collect::<Vec<_>>();
    assert_eq!(texts, vec!["First line\nSecond line"; 16]);
    server.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_text_that_cannot_be_seen_is_missing() {
    let server = TestServer::start().await;
    let anna = server.customer("Anna").await;
    let ticket = anna.create_ticket("one").await;
    for invisible in [
        "\u{200B}\u{200B}",
        "\u{200D}",
        "\u{FEFF}",
        "\u{2060}",
        "\u{AD}",
        "\u{3164}",
        "\u{2800}",
        "\u{FE0F}",
        "\u{301}",
        "\u{E0041}",
        "\u{202E}",
    ] {
        let input = json!({ "categoryId": SALES, "summary": invisible, "description": invisible });
        let reply = anna.try_create_ticket(input).await;
        assert_eq!(reply.user_errors("createTicket"), ["REQUIRED", "REQUIRED"], "{invisible:?}");
        let reply = anna.try_comment(&ticket, json!({ "body": invisible })).await;
        assert_eq!(reply.user_errors("addComment"), ["REQUIRED"], "{invisible:?}");
    }
    server.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_character_that_misleads_is_named_with_its_place() {
    let server = TestServer::start().await;
    let anna = server.customer("Anna").await;
    let ticket = anna.create_ticket("one").await;
    for (body, message) in [
        (
            "one\r\ntwo \u{202E}owt",
            "The comment must not contain the invisible character U+202E (line 2, character 5), \
             which changes the order of the characters after it: remove it.",
        ),
        (
            "\u{1B}[31mred",
            "The comment must not contain the control character U+001B (line 1, character 1): \
             remove it.",
        ),
    ] {
        let reply = anna.try_comment(&ticket, json!({ "body": body })).await;
        assert_eq!(reply.at("/data/addComment/userErrors/0/message"), message);
    }
    anna.comment(&ticket, "\u{202A}+7 495 1\u{202C}, \u{2066}Anna\u{2069}").await;
    let database = server.database.connect().await;
    let row = database.query_one("SELECT body FROM comments", &[]).await.unwrap();
    assert_eq!(row.get::<_, String>(0), "+7 495 1, Anna");
    server.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn an_uploaded_file_has_the_name_and_the_type_that_its_sender_sees() {
    let server = TestServer::start().await;
    let anna = server.customer("Anna").await;
    let mut excel = vec![0; 512];
    excel[..8].copy_from_slice(b"\xD0\xCF\x11\xE0\xA1\xB1\x1A\xE1");
    let mut root = vec![0; 512];
    root[80..84].copy_from_slice(&0x0002_0820_u32.to_le_bytes());
    excel.extend(root);
    let extended =
        "filename*=utf-8''%D0%BE%D1%82%D1%87%D1%91%D1%82%20%D0%B7%D0%B0%20%D0%BC%D0%B0%D0%B9.docx";
    let names = [
        // As .NET's HttpClient writes it, then with `filename*` only.
        (format!("=?utf-8?B?0L7RgtGH0ZHRgg==?=\"; {extended}; x=\""), "отчёт за май.docx"),
        (format!("\"; x=\"\"; {extended}; y=\""), "отчёт за май.docx"),
        ("=?windows-1251?Q?=EE=F2=F7=B8=F2.xls?=".into(), "отчёт.xls"),
        ("\u{200B}".into(), "file"),
    ];
    let mut input = ticket();
    input["attachments"] = json!(vec![Value::Null; names.len()]);
    let operations = json!({ "query": CREATE, "variables": { "input": input } }).to_string();
    let indexes = (0..names.len()).map(|n| n.to_string()).collect::<Vec<_>>();
    let map =
        indexes.iter().map(|n| (n.clone(), json!([format!("variables.input.attachments.{n}")])));
    let map = Value::Object(map.collect()).to_string();
    let mut parts: Vec<Part<'_>> =
        vec![("operations", None, operations.as_bytes()), ("map", None, map.as_bytes())];
    let files = indexes.iter().zip(&names);
    parts.extend(files.map(|(n, (sent, _))| (n.as_str(), Some(sent.as_str()), &excel[..])));
    let reply = send(&anna, &parts).await;
    let stored = reply.at("/data/createTicket/ticket/attachments").as_array().unwrap().clone();
    for (file, (_, name)) in stored.iter().zip(&names) {
        assert_eq!(
            (&file["name"], &file["contentType"]),
            (&json!(name), &json!("application/vnd.ms-excel"))
        );
    }
    assert_eq!(stored.len(), names.len());
    server.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn an_address_that_cannot_be_mailed_is_refused_with_the_reason() {
    let server = TestServer::start().await;
    let panel = server.machine(&Scope::ALL).await;
    let ilya = server.sign_up("Ilya", Role::Admin).await;
    let create = "mutation($input: CreateAccountInput!) { createAccount(input: $input) {
        account { email } userErrors { code message } } }";
    for (email, reason) in [
        ("x@example..com", "a valid domain after the @"),
        ("x@-example.com", "a valid domain after the @"),
        ("x@[192.0.2.1]", "not a network address"),
        ("mailto:x@example.com", "must not contain `:`"),
        ("İx@example.com", "must not contain `\u{307}` (U+0307)"),
        ("x y@example.com", "like name@example.com"),
    ] {
        let (code, message) = provision(&panel, "1", email).await.unwrap_err();
        assert_eq!(code, "INVALID", "{email}");
        assert!(message.starts_with("The e-mail address") && message.contains(reason), "{message}");
        let input = json!({ "email": email, "name": "X", "role": "AGENT", "locale": "EN" });
        let reply = ilya.send(create, json!({ "input": input })).await;
        assert!(reply.user_errors("createAccount").contains(&"INVALID"), "{email}");
    }
    server.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn an_address_is_the_same_in_every_spelling() {
    let server = TestServer::start().await;
    let panel = server.machine(&Scope::ALL).await;
    let spellings = ["jose\u{301}@почта.рф", "JOSÉ@XN--80A1ACNY.XN--P1AI", "josé@ПОЧТА.РФ"];
    for email in spellings {
        assert_eq!(provision(&panel, "1", email).await.unwrap(), "josé@почта.рф");
        assert_eq!(provision(&panel, "2", email).await.unwrap_err().0, "TAKEN");
    }
    // The address of an account that an older version has created.
    let database = server.database.connect().await;
    for stored in ["josé@xn--80a1acny.xn--p1ai", "jose\u{301}@почта.рф"] {
        server.customer("Anna").await;
        let rename =
            "WITH old AS (UPDATE accounts SET email = 'old-' || id WHERE email LIKE 'jos%')
            UPDATE accounts SET email = $1, external_id = $1 WHERE email = 'anna@example.com'";
        database.execute(rename, &[&stored]).await.unwrap();
        for email in spellings {
            server.anonymous().sign_in(email, PASSWORD).await;
            assert_eq!(provision(&panel, "2", email).await.unwrap_err().0, "TAKEN", "{stored}");
        }
    }
    server.stop().await;
}
