//! Service tokens: how they are managed, and that a machine may do only what their scopes allow.

use std::{fs::File, process::Stdio};

use chrono::TimeDelta;
use serde_json::{Value, json};
use ticketwire::domain::{account::Role, service_token::Scope};

use crate::{
    harness::{Client, TestServer, process},
    writes::until_waiting,
};

const CREATE: &str = "mutation($input: CreateServiceTokenInput!) { createServiceToken(input: $input) {
    token serviceToken { id name scopes createdBy { name } lastUsedAt revokedAt } userErrors { field code } } }";
const REVOKE: &str = "mutation($id: ID!) { revokeServiceToken(input: { id: $id }) {
    serviceToken { id revokedAt } userErrors { field code } } }";
const LIST: &str =
    "{ serviceTokens { id name scopes createdAt createdBy { name } lastUsedAt revokedAt } }";
const PROVISION: &str = "mutation { provisionCustomer(input: { externalId: \"1\", email: \"anna@example.com\", name: \"Anna\" }) {
    account { name } userErrors { code } } }";
const HANDOFF: &str = "mutation { createHandoff(input: { externalId: \"1\" }) { handoff { url } userErrors { code } } }";

#[tokio::test(flavor = "multi_thread")]
async fn an_admin_creates_lists_and_revokes_service_tokens() {
    let server = TestServer::start().await;
    let ilya = server.sign_up("Ilya", Role::Admin).await;
    let input = json!({ "name": " panel ", "scopes": ["CREATE_HANDOFFS", "PROVISION_CUSTOMERS", "CREATE_HANDOFFS"] });
    let created = ilya.ok(CREATE, json!({ "input": input })).await["createServiceToken"].clone();
    let secret = created["token"].as_str().unwrap().to_owned();
    assert!(secret.starts_with("tw_svc_") && secret.len() == 50, "{secret}");
    let token = &created["serviceToken"];
    assert_eq!((&token["name"], &token["createdBy"]["name"]), (&json!("panel"), &json!("Ilya")));
    assert_eq!(token["scopes"], json!(["PROVISION_CUSTOMERS", "CREATE_HANDOFFS"]));
    let text: String = server
        .database
        .connect()
        .await
        .query_one("SELECT s::text FROM service_tokens s", &[])
        .await
        .unwrap()
        .get(0);
    assert!(!text.contains(&secret) && !text.contains(&secret[7..]), "{text}");

    let panel = Client::new(&server.address(), Some(secret));
    assert_eq!(
        panel.ok(PROVISION, json!({})).await["provisionCustomer"]["account"]["name"],
        "Anna"
    );
    let first = ilya.ok(LIST, json!({})).await["serviceTokens"][0]["lastUsedAt"].clone();
    assert!(first.is_string());
    panel.ok(HANDOFF, json!({})).await;
    assert_eq!(ilya.ok(LIST, json!({})).await["serviceTokens"][0]["lastUsedAt"], first);
    server.clock.advance(TimeDelta::seconds(60));
    panel.ok(HANDOFF, json!({})).await;
    assert_ne!(ilya.ok(LIST, json!({})).await["serviceTokens"][0]["lastUsedAt"], first);

    let mut socket = panel.socket().await;
    let revoked = ilya.ok(REVOKE, json!({ "id": token["id"] })).await["revokeServiceToken"].clone();
    assert!(revoked["serviceToken"]["revokedAt"].is_string(), "{revoked}");
    assert_eq!(panel.send(PROVISION, json!({})).await.code(), "UNAUTHENTICATED");
    socket.subscribe("1", HANDOFF, json!({})).await;
    assert_eq!(socket.close_code().await, 4401);
    for id in [token["id"].clone(), json!("garbage"), json!(ilya.account_id().await)] {
        let reply = ilya.send(REVOKE, json!({ "id": id })).await;
        assert_eq!(reply.user_errors("revokeServiceToken"), ["NOT_FOUND"]);
    }
    let trail = ilya
        .ok("{ viewer { securityEvents(first: 2) { nodes { kind serviceTokenId } } } }", json!({}))
        .await;
    assert_eq!(
        trail["viewer"]["securityEvents"]["nodes"],
        json!([
            { "kind": "SERVICE_TOKEN_REVOKED", "serviceTokenId": token["id"] },
            { "kind": "SERVICE_TOKEN_CREATED", "serviceTokenId": token["id"] },
        ])
    );
    server.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_service_token_expires_and_is_created_once_for_a_key() {
    let server = TestServer::start().await;
    let ilya = server.sign_up("Ilya", Role::Admin).await;
    let mut input = json!({ "name": "panel", "scopes": ["PROVISION_CUSTOMERS"], "idempotencyKey": "1",
        "expiresAt": "2026-01-02T12:00:00Z" });
    let create = async |input: &Value| {
        ilya.ok(CREATE, json!({ "input": input })).await["createServiceToken"].clone()
    };
    let created = create(&input).await;
    let panel = Client::new(&server.address(), created["token"].as_str().map(str::to_owned));
    let repeated = create(&input).await;
    assert_eq!(
        (&repeated["serviceToken"], &repeated["token"]),
        (&created["serviceToken"], &Value::Null)
    );
    input["name"] = json!("another");
    assert_eq!(create(&input).await["userErrors"][0]["code"], "IDEMPOTENCY_KEY_REUSED");
    input["idempotencyKey"] = Value::Null;
    input["expiresAt"] = json!("2026-01-01T11:00:00Z");
    let refused = create(&input).await;
    assert_eq!(refused["userErrors"], json!([{ "field": ["expiresAt"], "code": "INVALID" }]));
    let listed =
        ilya.ok("{ serviceTokens { expiresAt } }", json!({})).await["serviceTokens"].clone();
    assert_eq!(listed, json!([{ "expiresAt": "2026-01-02T12:00:00+00:00" }]));

    server.clock.advance(TimeDelta::hours(23));
    panel.ok(PROVISION, json!({})).await;
    let mut socket = panel.socket().await;
    server.clock.advance(TimeDelta::hours(1));
    assert_eq!(panel.send(PROVISION, json!({})).await.code(), "UNAUTHENTICATED");
    socket.subscribe("1", HANDOFF, json!({})).await;
    assert_eq!(socket.close_code().await, 4401);
    server.stop().await;
}

/// Who has not received the answer learns later too that the token exists.
#[tokio::test(flavor = "multi_thread")]
async fn a_creation_can_be_repeated_after_the_service_token_has_expired() {
    let server = TestServer::start().await;
    let ilya = server.sign_up("Ilya", Role::Admin).await;
    let input = json!({ "name": "panel", "scopes": ["PROVISION_CUSTOMERS"], "idempotencyKey": "1",
        "expiresAt": "2026-01-01T12:01:00Z" });
    let create =
        async || ilya.ok(CREATE, json!({ "input": input })).await["createServiceToken"].clone();
    let created = create().await;
    assert!(created["token"].is_string(), "{created}");
    server.clock.advance(TimeDelta::minutes(2));
    let repeated = create().await;
    assert_eq!(repeated["serviceToken"], created["serviceToken"]);
    server.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn the_calls_of_one_service_token_are_limited() {
    let setting = ("limits.service_token_calls_per_minute", "3".to_owned());
    let server = TestServer::start_with(&[setting]).await;
    let (panel, other) = (server.machine(&Scope::ALL).await, server.machine(&Scope::ALL).await);
    for document in [PROVISION, HANDOFF, HANDOFF] {
        panel.ok(document, json!({})).await;
    }
    for document in [PROVISION, HANDOFF] {
        let refused = panel.send(document, json!({})).await;
        assert_eq!(refused.code(), "RATE_LIMITED");
        assert_eq!(refused.at("/errors/0/extensions/retryAfterSeconds"), 20);
    }
    other.ok(PROVISION, json!({})).await;
    server.clock.advance(TimeDelta::seconds(20));
    panel.ok(PROVISION, json!({})).await;
    server.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_service_token_without_a_valid_name_and_scopes_is_refused() {
    let server = TestServer::start().await;
    let ilya = server.sign_up("Ilya", Role::Admin).await;
    let input = json!({ "name": "", "scopes": [] });
    let reply = ilya.send(CREATE, json!({ "input": input })).await;
    assert_eq!(reply.user_errors("createServiceToken"), ["REQUIRED", "REQUIRED"]);
    assert_eq!(reply.at("/data/createServiceToken/token"), &Value::Null);
    let input = json!({ "name": "x".repeat(121), "scopes": ["CREATE_HANDOFFS"] });
    let reply = ilya.send(CREATE, json!({ "input": input })).await;
    assert_eq!(reply.user_errors("createServiceToken"), ["TOO_LONG"]);
    server.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn only_admins_manage_service_tokens() {
    let server = TestServer::start().await;
    let machine = server.machine(&Scope::ALL).await;
    let input = json!({ "name": "mine", "scopes": ["CREATE_HANDOFFS"] });
    for (client, code) in [
        (server.anonymous(), "UNAUTHENTICATED"),
        (server.customer("Anna").await, "FORBIDDEN"),
        (server.agent("Marta").await, "FORBIDDEN"),
        (machine, "FORBIDDEN"),
    ] {
        assert_eq!(client.send(CREATE, json!({ "input": input })).await.code(), code);
        assert_eq!(client.send(LIST, json!({})).await.code(), code);
        assert_eq!(client.send(REVOKE, json!({ "id": "x" })).await.code(), code);
        let events = "{ accountEvents(accountId: \"x\") { nodes { id } } }";
        assert_eq!(client.send(events, json!({})).await.code(), code);
    }
    server.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_machine_may_do_only_what_its_scopes_allow() {
    let server = TestServer::start().await;
    let (provisioner, handoff_creator) = (
        server.machine(&[Scope::ProvisionCustomers]).await,
        server.machine(&[Scope::CreateHandoffs]).await,
    );
    assert_eq!(handoff_creator.send(PROVISION, json!({})).await.code(), "FORBIDDEN");
    assert_eq!(provisioner.send(HANDOFF, json!({})).await.code(), "FORBIDDEN");
    provisioner.ok(PROVISION, json!({})).await;
    assert!(
        handoff_creator.ok(HANDOFF, json!({})).await["createHandoff"]["handoff"]["url"].is_string()
    );
    // People may do neither, not even admins.
    for (client, code) in [
        (server.anonymous(), "UNAUTHENTICATED"),
        (server.customer("Jonas").await, "FORBIDDEN"),
        (server.agent("Marta").await, "FORBIDDEN"),
        (server.sign_up("Ilya", Role::Admin).await, "FORBIDDEN"),
    ] {
        assert_eq!(client.send(PROVISION, json!({})).await.code(), code);
        assert_eq!(client.send(HANDOFF, json!({})).await.code(), code);
    }
    server.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_machine_may_not_use_the_api_for_people() {
    let server = TestServer::start().await;
    let anna = server.customer("Anna").await;
    let ticket = anna.create_ticket("one").await;
    let machine = server.machine(&Scope::ALL).await;
    let before = server.content().await;
    for query in [
        "{ viewer { id } }".to_owned(),
        "{ tickets { nodes { id } } }".into(),
        "{ categories { id } }".into(),
        "{ eventCursor }".into(),
        format!("{{ node(id: \"{}\") {{ id }} }}", ticket.id),
        format!("{{ nodes(ids: [\"{}\"]) {{ id }} }}", ticket.id),
        format!("{{ ticket(number: \"{}\") {{ id }} }}", ticket.number),
        format!("mutation {{ addComment(input: {{ ticketId: \"{}\", body: \"x\" }}) {{ comment {{ id }} }} }}", ticket.id),
        format!("mutation {{ updateTicket(input: {{ ticketId: \"{}\", status: CLOSED }}) {{ ticket {{ id }} }} }}", ticket.id),
        "mutation { createTicket(input: { categoryId: \"x\", summary: \"s\", description: \"d\" }) { ticket { id } } }".into(),
        "mutation { markNotificationsRead(input: {}) { unreadNotificationCount } }".into(),
        "mutation { revokeOtherSessions { revokedCount } }".into(),
        "mutation { revokeSession(input: { id: \"x\" }) { revokedSessionId } }".into(),
        "mutation { signOut { signedOut } }".into(),
    ] {
        let reply = machine.send(&query, json!({})).await;
        assert_eq!(reply.code(), "FORBIDDEN", "{query}: {}", reply.body);
    }
    let mut socket = machine.socket().await;
    for stream in [
        "subscription { inboxEvents { __typename } }".to_owned(),
        "subscription { notifications { __typename } }".into(),
        format!("subscription {{ ticketEvents(ticketId: \"{}\") {{ __typename }} }}", ticket.id),
    ] {
        socket.subscribe("1", &stream, json!({})).await;
        let refused = socket.message().await;
        assert_eq!(refused["payload"][0]["extensions"]["code"], "FORBIDDEN", "{stream}: {refused}");
    }
    socket.subscribe("2", "{ __typename }", json!({})).await;
    assert_eq!(socket.message().await["type"], "next");
    assert_eq!(server.content().await, before);
    server.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn the_command_line_creates_lists_and_revokes_service_tokens() {
    let server = TestServer::start().await;
    let variables = [("DATABASE_URL", server.database.url.as_str())];
    let run = async |arguments: &[&str]| {
        process::run(&[&["service-token"], arguments].concat(), &variables, "").await
    };
    assert!(run(&["list"]).await.stdout.contains("no service tokens"));
    let created = run(&[
        "create",
        "--name",
        "panel",
        "--scope",
        "provision_customers",
        "--scope",
        "create_handoffs",
        "--expires-in-days",
        "90",
    ])
    .await;
    assert!(created.success, "{}", created.stderr);
    // Standard output has the token only, so that a script can read it.
    let secret = created.stdout.trim_end();
    assert!(secret.starts_with("tw_svc_") && !secret.contains('\n'), "{}", created.stdout);
    assert!(!created.stderr.contains(secret) && created.stderr.contains("not shown again"));
    let panel = Client::new(&server.address(), Some(secret.to_owned()));
    panel.ok(PROVISION, json!({})).await;

    let listed = run(&["list"]).await.stdout;
    assert!(
        listed.contains("panel") && listed.contains("provision_customers,create_handoffs"),
        "{listed}"
    );
    assert!(listed.contains("last used 20") && !listed.contains(secret), "{listed}");
    assert!(listed.contains(", expires 20"), "{listed}");
    let id = listed.split_whitespace().next().unwrap();
    let revoked = run(&["revoke", id]).await;
    assert!(revoked.success && revoked.stdout.contains("panel"), "{}", revoked.stderr);
    assert_eq!(panel.send(PROVISION, json!({})).await.code(), "UNAUTHENTICATED");
    let again = run(&["revoke", id]).await;
    assert!(!again.success && again.stderr.contains("already revoked"), "{}", again.stderr);
    assert!(run(&["list"]).await.stdout.contains("revoked 20"));
    for wrong in [
        &["create", "--name", "x"] as &[&str],
        &["create", "--name", "x", "--scope", "everything"],
        &["create", "--name", " ", "--scope", "create_handoffs"],
        &["revoke", "garbage"],
    ] {
        assert!(!run(wrong).await.success, "{wrong:?}");
    }
    server.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_token_that_cannot_be_printed_is_revoked() {
    let server = TestServer::start().await;
    let variables = [("DATABASE_URL", server.database.url.as_str())];
    let full = File::options().write(true).open("/dev/full").unwrap();
    let mut command = process::command(&variables);
    command.args(["service-token", "create", "--name", "panel", "--scope", "create_handoffs"]);
    let child = command.stdout(full).stderr(Stdio::piped()).spawn().unwrap();
    let created = child.wait_with_output().await.unwrap();
    let error = String::from_utf8_lossy(&created.stderr);
    assert!(!created.status.success() && error.contains("was revoked"), "{error}");
    let listed = process::run(&["service-token", "list"], &variables, "").await.stdout;
    assert!(listed.contains("panel") && listed.contains("revoked 20"), "{listed}");
    server.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_session_that_ends_while_its_call_waits_creates_no_token() {
    let server = TestServer::start().await;
    let ilya = server.sign_up("Ilya", Role::Admin).await;
    let (database, holder) = (server.database.connect().await, server.database.connect().await);
    holder.batch_execute("BEGIN; SELECT FROM accounts FOR UPDATE").await.unwrap();
    let input = json!({ "name": "panel", "scopes": ["CREATE_HANDOFFS"] });
    let creating = ilya.send(CREATE, json!({ "input": input }));
    let ending = async {
        until_waiting(&server, "%").await;
        let end = "UPDATE sessions SET revoked_at = now(); COMMIT";
        holder.batch_execute(end).await.unwrap();
    };
    let (reply, ()) = tokio::join!(creating, ending);
    assert_eq!(reply.code(), "UNAUTHENTICATED", "{}", reply.body);
    let count = database.query_one("SELECT count(*) FROM service_tokens", &[]).await.unwrap();
    assert_eq!(count.get::<_, i64>(0), 0);
    server.stop().await;
}
