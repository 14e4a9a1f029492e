//! Accounts: what others see of them, and how the command line creates them.

use serde_json::{Value, json};
use ticketwire::domain::account::Role;

use crate::harness::{TestServer, process, server::PASSWORD};

const ACCOUNT: &str = "query($id: ID!) { node(id: $id) { ... on Account { name isStaff email role locale createdAt } } }";

#[tokio::test(flavor = "multi_thread")]
async fn a_customer_sees_the_names_of_staff_and_nothing_of_other_customers() {
    let server = TestServer::start().await;
    let (anna, jonas) = (server.customer("Anna").await, server.customer("Jonas").await);
    let (marta, ilya) = (server.agent("Marta").await, server.sign_up("Ilya", Role::Admin).await);
    let reply = anna.send(ACCOUNT, json!({ "id": jonas.account_id().await })).await;
    assert_eq!(reply.code(), "NOT_FOUND");
    let staff = json!({ "name": "Marta", "isStaff": true, "email": null, "role": null, "locale": null, "createdAt": null });
    assert_eq!(anna.ok(ACCOUNT, json!({ "id": marta.account_id().await })).await["node"], staff);
    for client in [&anna, &marta, &ilya] {
        let seen = client.ok(ACCOUNT, json!({ "id": anna.account_id().await })).await;
        assert_eq!(seen["node"]["email"], "anna@example.com");
        assert_eq!(
            (&seen["node"]["role"], &seen["node"]["locale"]),
            (&json!("CUSTOMER"), &json!("EN"))
        );
    }
    server.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn categories_have_a_name_in_each_language_and_retired_ones_are_hidden() {
    let server = TestServer::start().await;
    let anna = server.customer("Anna").await;
    let names =
        anna.ok("{ categories { slug en: name ru: name(locale: RU) isRetired } }", json!({})).await;
    assert_eq!(
        names["categories"][0],
        json!({ "slug": "technical-support", "en": "Technical Support", "ru": "Техническая поддержка", "isRetired": false })
    );
    assert_eq!(names["categories"].as_array().map(Vec::len), Some(3));
    server
        .database
        .connect()
        .await
        .batch_execute("UPDATE categories SET retired_at = now() WHERE slug = 'sales'")
        .await
        .unwrap();
    let left = anna.ok("{ categories { slug } }", json!({})).await;
    assert_eq!(left["categories"].as_array().map(Vec::len), Some(2));
    let input =
        json!({ "categoryId": crate::harness::client::SALES, "summary": "s", "description": "d" });
    assert_eq!(
        anna.try_create_ticket(input).await.user_errors("createTicket"),
        ["CATEGORY_RETIRED"]
    );
    server.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn the_command_line_creates_accounts_that_can_sign_in() {
    let server = TestServer::start().await;
    let variables = [("DATABASE_URL", server.database.url.as_str())];
    let create = [
        "user",
        "create",
        "--email",
        "Vera@Example.com",
        "--name",
        "Vera",
        "--role",
        "agent",
        "--password-stdin",
    ];
    let created = process::run(&create, &variables, &format!("{PASSWORD}\n")).await;
    assert!(created.success, "{}", created.stderr);
    assert!(!created.stdout.contains(PASSWORD) && !created.stderr.contains(PASSWORD));
    let vera = server.anonymous().sign_in("vera@example.com", PASSWORD).await;
    assert_eq!(vera.ok("{ viewer { role } }", json!({})).await["viewer"]["role"], "AGENT");

    let again = process::run(&create, &variables, &format!("{PASSWORD}\n")).await;
    assert!(
        !again.success && again.stderr.contains("Another account has this e-mail address"),
        "{}",
        again.stderr
    );
    for (arguments, input, expected) in [
        (["--email", "nonsense", "--name", "X"], PASSWORD, "e-mail address must be"),
        (["--email", "x@example.com", "--name", " "], PASSWORD, "name must not be empty"),
        (["--email", "x@example.com", "--name", "X"], "short", "password must be 8 to 1024"),
    ] {
        let arguments = [&["user", "create", "--password-stdin"], &arguments[..]].concat();
        let refused = process::run(&arguments, &variables, input).await;
        assert!(!refused.success && refused.stderr.contains(expected), "{}", refused.stderr);
    }
    server.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_request_without_a_session_is_refused_and_changes_nothing() {
    let server = TestServer::start().await;
    let anna = server.customer("Anna").await;
    let ticket = anna.create_ticket("one").await;
    let before = server.content().await;
    let anonymous = server.anonymous();
    for query in [
        "{ viewer { id } }".to_owned(),
        "{ tickets { nodes { id } } }".into(),
        "{ categories { id } }".into(),
        "{ eventCursor }".into(),
        format!("{{ node(id: \"{}\") {{ id }} }}", ticket.id),
        format!("{{ nodes(ids: [\"{}\"]) {{ id }} }}", ticket.id),
        format!("{{ ticket(number: \"{}\") {{ id }} }}", ticket.number),
        "{ ticket(number: \"garbage\") { id } }".into(),
        "{ node(id: \"garbage\") { id } }".into(),
        format!("mutation {{ addComment(input: {{ ticketId: \"{}\", body: \"x\" }}) {{ comment {{ id }} }} }}", ticket.id),
        "mutation { addComment(input: { ticketId: \"garbage\", body: \"x\" }) { comment { id } } }".into(),
        format!("mutation {{ updateTicket(input: {{ ticketId: \"{}\", status: CLOSED }}) {{ ticket {{ id }} }} }}", ticket.id),
        "mutation { createTicket(input: { categoryId: \"x\", summary: \"\", description: \"\" }) { ticket { id } } }".into(),
        "mutation { signOut { signedOut } }".into(),
    ] {
        let reply = anonymous.send(&query, json!({})).await;
        assert_eq!(reply.code(), "UNAUTHENTICATED", "{query}: {}", reply.body);
        assert!(reply.at("/data").is_null() || reply.at("/data").as_object().unwrap().values().all(Value::is_null));
    }
    assert_eq!(server.content().await, before);
    server.stop().await;
}
