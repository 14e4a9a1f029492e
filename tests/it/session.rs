//! Sessions: the list, revoking them, expiry, and the audit trail.

use chrono::{DateTime, TimeDelta};
use serde_json::{Value, json};
use ticketwire::domain::account::Role;

use crate::{
    erasure,
    harness::{Client, TestServer, process, server::PASSWORD},
};

const LIST: &str =
    "{ viewer { sessions { id device address createdAt lastUsedAt expiresAt isCurrent } } }";
const REVOKE: &str = "mutation($id: ID!) { revokeSession(input: { id: $id }) { revokedSessionId userErrors { field code } } }";
const REVOKE_OTHERS: &str = "mutation { revokeOtherSessions { revokedCount userErrors { code } } }";
const TRAIL: &str = "{ viewer { securityEvents { nodes { kind device address sessionId actor { name } fromRole toRole } } } }";

async fn sessions(client: &Client) -> Vec<Value> {
    client.ok(LIST, json!({})).await["viewer"]["sessions"].as_array().unwrap().clone()
}

async fn current(client: &Client) -> Value {
    sessions(client).await.into_iter().find(|it| it["isCurrent"] == true).unwrap()
}

async fn is_signed_in(client: &Client) -> bool {
    let reply = client.send("{ viewer { id } }", json!({})).await;
    reply.body.get("errors").is_none() || {
        assert_eq!(reply.code(), "UNAUTHENTICATED");
        false
    }
}

/// Signs in from a device with this name.
pub async fn sign_in_as(server: &TestServer, email: &str, device: &str) -> Client {
    let document = format!(
        "mutation {{ signIn(input: {{ email: \"{email}\", password: \"{PASSWORD}\" }}) {{ session {{ token }} }} }}"
    );
    let reply = server
        .anonymous()
        .request(reqwest::Method::POST, "/graphql", |request| {
            request.header("user-agent", device).json(&json!({ "query": document }))
        })
        .await;
    let token = reply.at("/data/signIn/session/token").as_str().map(str::to_owned);
    assert!(token.is_some(), "{}", reply.body);
    Client::new(&server.address(), token)
}

#[tokio::test(flavor = "multi_thread")]
async fn a_person_sees_their_own_sessions_and_nobody_else_does() {
    let server = TestServer::start().await;
    let anna = server.customer("Anna").await;
    let phone = sign_in_as(&server, "anna@example.com", "Phone/1.0\tÄ").await;
    server.customer("Jonas").await;
    let seen = sessions(&anna).await;
    assert_eq!(seen.len(), 2);
    assert_eq!((&seen[0]["device"], &seen[1]["device"]), (&json!("Phone/1.0Ä"), &Value::Null));
    assert!(seen.iter().all(|session| session["address"] == "127.0.0.1"), "{seen:?}");
    assert_eq!((&seen[0]["isCurrent"], &seen[1]["isCurrent"]), (&json!(false), &json!(true)));
    assert_eq!(current(&phone).await["id"], seen[0]["id"]);
    // Nobody else sees them, not even staff.
    let marta = server.agent("Marta").await;
    let of_anna = "query($id: ID!) { node(id: $id) { ... on Account { sessions { id } securityEvents { nodes { id } } } } }";
    let seen_by_staff = marta.ok(of_anna, json!({ "id": anna.account_id().await })).await;
    assert_eq!(seen_by_staff["node"], json!({ "sessions": null, "securityEvents": null }));
    let node = marta.send(of_anna, json!({ "id": seen[0]["id"] })).await;
    assert_eq!(node.code(), "NOT_FOUND");
    server.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_revoked_session_ends_at_once_with_its_websockets() {
    let server = TestServer::start().await;
    let anna = server.customer("Anna").await;
    let phone = sign_in_as(&server, "anna@example.com", "phone").await;
    let jonas = server.customer("Jonas").await;
    let (mut inbox, mut notifications, mut own) =
        (phone.socket().await, phone.socket().await, anna.socket().await);
    inbox.watch_inbox("1", None).await;
    inbox.caught_up().await;
    notifications.subscribe("1", "subscription { notifications { __typename } }", json!({})).await;
    notifications.item().await;
    own.watch_inbox("1", None).await;
    own.caught_up().await;

    let id = current(&phone).await["id"].clone();
    for other in
        [json!("garbage"), current(&jonas).await["id"].clone(), json!(anna.account_id().await)]
    {
        let reply = anna.send(REVOKE, json!({ "id": other })).await;
        assert_eq!(reply.user_errors("revokeSession"), ["NOT_FOUND"]);
    }
    let ended = anna.ok(REVOKE, json!({ "id": id })).await;
    assert_eq!(ended["revokeSession"], json!({ "revokedSessionId": id, "userErrors": [] }));
    assert!(!is_signed_in(&phone).await && is_signed_in(&jonas).await && is_signed_in(&anna).await);
    assert_eq!((inbox.close_code().await, notifications.close_code().await), (4401, 4401));
    assert_eq!(
        anna.send(REVOKE, json!({ "id": id })).await.user_errors("revokeSession"),
        ["NOT_FOUND"]
    );
    anna.create_ticket("still here").await;
    assert_eq!(own.item().await["__typename"], "TicketCreated");
    server.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn revoking_other_sessions_ends_all_but_the_current_one() {
    let server = TestServer::start().await;
    let anna = server.customer("Anna").await;
    let mut others = Vec::new();
    for device in ["one", "two", "three"] {
        others.push(sign_in_as(&server, "anna@example.com", device).await);
    }
    let mut socket = others[0].socket().await;
    socket.watch_inbox("1", None).await;
    socket.caught_up().await;
    assert_eq!(anna.ok(REVOKE_OTHERS, json!({})).await["revokeOtherSessions"]["revokedCount"], 3);
    assert_eq!(socket.close_code().await, 4401);
    for other in &others {
        assert!(!is_signed_in(other).await);
    }
    assert_eq!(sessions(&anna).await.len(), 1);
    assert_eq!(anna.ok(REVOKE_OTHERS, json!({})).await["revokeOtherSessions"]["revokedCount"], 0);
    server.stop().await;
}

/// Stores further sessions of an account, as versions without a limit did.
async fn store_sessions(server: &TestServer, name: &str, count: i32) {
    let store = "INSERT INTO sessions (id, account_id, token_hash, created_at, last_used_at, expires_at)
        SELECT gen_random_uuid(), a.id, sha256(uuid_send(gen_random_uuid())), '2025-12-31', '2025-12-31', '2027-01-01'
        FROM accounts a, generate_series(1, $2) WHERE a.name = $1";
    server.database.connect().await.execute(store, &[&name, &count]).await.unwrap();
}

/// How many live sessions an account has, and how many of its sessions were recorded as ended.
async fn live_and_ended(server: &TestServer, name: &str) -> (i64, i64) {
    let count =
        "SELECT (SELECT count(*) FROM sessions s WHERE s.account_id = a.id AND revoked_at IS NULL),
            (SELECT count(*) FROM events e JOIN feed f ON f.event_id = e.id
             WHERE e.account_id = a.id AND kind = 'session_revoked')
        FROM accounts a WHERE a.name = $1";
    server.quiet().await;
    let row = server.database.connect().await.query_one(count, &[&name]).await.unwrap();
    (row.get(0), row.get(1))
}

#[tokio::test(flavor = "multi_thread")]
async fn thousands_of_sessions_end_with_one_change() {
    let server = TestServer::start().await;
    let ada = erasure::admin(&server).await;
    let anna = server.customer("Anna").await;
    let id = anna.account_id().await;
    store_sessions(&server, "Anna", 6000).await;
    let new = "walrus umbrella seventeen";
    let change =
        "mutation($input: ChangePasswordInput!) { changePassword(input: $input) { changed } }";
    let input = json!({ "currentPassword": PASSWORD, "password": new, "passwordAgain": new });
    let changed = anna.ok(change, json!({ "input": input })).await;
    assert_eq!(changed["changePassword"]["changed"], true);
    assert_eq!(live_and_ended(&server, "Anna").await, (1, 6000));
    store_sessions(&server, "Anna", 6000).await;
    let disable =
        "mutation($id: ID!) { disableAccount(input: { id: $id }) { userErrors { code } } }";
    let disabled = ada.send(disable, json!({ "id": id })).await;
    assert_eq!(disabled.user_errors("disableAccount"), [] as [&str; 0]);
    assert_eq!(live_and_ended(&server, "Anna").await, (0, 12_001));
    server.customer("Jonas").await;
    let jonas = server.anonymous().sign_in("jonas@example.com", PASSWORD).await.account_id().await;
    store_sessions(&server, "Jonas", 6000).await;
    let erased = erasure::erase(&ada, &jonas, "KEEP").await;
    assert_eq!(erased.user_errors("eraseAccount"), [] as [&str; 0]);
    let live = "SELECT count(*) FROM sessions WHERE account_id::text = $1 AND revoked_at IS NULL";
    let database = server.database.connect().await;
    assert_eq!(database.query_one(live, &[&jonas]).await.unwrap().get::<_, i64>(0), 0);
    server.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn one_more_session_than_an_account_may_have_ends_the_one_used_longest_ago() {
    let server = TestServer::start().await;
    let anna = server.customer("Anna").await;
    let phone = sign_in_as(&server, "anna@example.com", "phone").await;
    let (oldest, used) = (current(&phone).await["id"].clone(), current(&anna).await["id"].clone());
    let mut socket = phone.socket().await;
    socket.watch_inbox("1", None).await;
    socket.caught_up().await;
    store_sessions(&server, "Anna", 198).await;
    let database = server.database.connect().await;
    let age = "UPDATE sessions SET last_used_at = '2025-12-30' WHERE device = 'phone'";
    database.execute(age, &[]).await.unwrap();
    let tablet = sign_in_as(&server, "anna@example.com", "tablet").await;
    assert_eq!(socket.close_code().await, 4401);
    assert!(is_signed_in(&anna).await && is_signed_in(&tablet).await);
    assert!(!is_signed_in(&phone).await);
    assert_eq!(live_and_ended(&server, "Anna").await, (200, 1));
    let trail = anna.ok(TRAIL, json!({})).await;
    let ended = trail["viewer"]["securityEvents"]["nodes"].as_array().unwrap().iter();
    let ended = ended.filter(|event| event["kind"] == "SESSION_REVOKED").collect::<Vec<_>>();
    assert_eq!((&ended[0]["sessionId"], &ended[0]["actor"]["name"]), (&oldest, &json!("Anna")));
    // Sessions that earlier versions began beyond the limit end too.
    store_sessions(&server, "Anna", 6000).await;
    sign_in_as(&server, "anna@example.com", "desktop").await;
    assert_eq!(live_and_ended(&server, "Anna").await, (200, 6002));
    assert_eq!(current(&anna).await["id"], used);
    server.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn of_sessions_that_revoke_each_other_concurrently_one_remains() {
    let server = TestServer::start().await;
    server.customer("Anna").await;
    let mut clients = Vec::new();
    for n in 0..6 {
        clients.push(sign_in_as(&server, "anna@example.com", &n.to_string()).await);
    }
    let replies = futures_util::future::join_all(
        clients.iter().map(|client| client.send(REVOKE_OTHERS, json!({}))),
    )
    .await;
    for reply in &replies {
        let done = reply.body.get("errors").is_none();
        assert!(done || reply.code() == "UNAUTHENTICATED", "{}", reply.body);
    }
    let mut remaining = 0;
    for client in &clients {
        remaining += usize::from(is_signed_in(client).await);
    }
    assert_eq!(remaining, 1);
    server.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_session_expires_after_a_week_without_use() {
    let server = TestServer::start().await;
    let anna = server.customer("Anna").await;
    server.clock.advance(TimeDelta::hours(167));
    assert!(is_signed_in(&anna).await, "it was used in time");
    server.clock.advance(TimeDelta::hours(167));
    assert!(is_signed_in(&anna).await, "each use counts");
    let other = sign_in_as(&server, "anna@example.com", "other").await;
    server.clock.advance(TimeDelta::hours(169));
    assert!(!is_signed_in(&anna).await && !is_signed_in(&other).await);
    let fresh = sign_in_as(&server, "anna@example.com", "fresh").await;
    assert_eq!(sessions(&fresh).await.len(), 1, "an expired session is not listed");
    server.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_session_in_use_expires_at_the_end_of_its_lifetime() {
    let flags =
        [("sessions.lifetime_hours", "3".to_owned()), ("sessions.idle_hours", "2".to_owned())];
    let server = TestServer::start_with(&flags).await;
    let anna = server.customer("Anna").await;
    for _ in 0..2 {
        server.clock.advance(TimeDelta::minutes(89));
        assert!(is_signed_in(&anna).await);
    }
    server.clock.advance(TimeDelta::minutes(3));
    assert!(!is_signed_in(&anna).await);
    server.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn the_last_use_of_a_session_is_stored_to_the_minute_for_all_nodes() {
    let server = TestServer::start().await;
    let anna = server.customer("Anna").await;
    let time = |session: &Value, field: &str| {
        DateTime::parse_from_rfc3339(session[field].as_str().unwrap()).unwrap()
    };
    let session = current(&anna).await;
    assert_eq!(session["lastUsedAt"], session["createdAt"]);
    server.clock.advance(TimeDelta::minutes(10));
    assert!(is_signed_in(&anna).await);
    // The last use is saved after the response.
    let other = server.second_node().await;
    let there = anna.at(&other.address().to_string());
    let mut seen = current(&there).await;
    while seen["lastUsedAt"] == session["lastUsedAt"] {
        seen = current(&there).await;
    }
    let used = time(&seen, "lastUsedAt") - time(&session, "createdAt");
    assert!((10..11).contains(&used.num_minutes()), "{seen}");
    assert!(time(&seen, "expiresAt") > time(&session, "expiresAt"), "{seen}");
    other.stop().await;
    server.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn the_audit_trail_shows_what_happened_on_which_device() {
    let server = TestServer::start().await;
    let anna = server.customer("Anna").await;
    let phone = sign_in_as(&server, "anna@example.com", "phone").await;
    let id = current(&phone).await["id"].clone();
    anna.ok(REVOKE, json!({ "id": id })).await;
    let trail = anna.ok(TRAIL, json!({})).await["viewer"]["securityEvents"]["nodes"].clone();
    let event = |kind: &str| {
        json!({ "kind": kind, "device": "phone", "address": "127.0.0.1", "sessionId": id,
            "actor": { "name": "Anna" }, "fromRole": null, "toRole": null })
    };
    assert_eq!((&trail[0], &trail[1]), (&event("SESSION_REVOKED"), &event("SIGNED_IN")));
    assert_eq!(
        (&trail[3]["kind"], &trail[3]["toRole"]),
        (&json!("ROLE_CHANGED"), &json!("CUSTOMER"))
    );

    let page = "query($first: Int, $after: String, $last: Int) { viewer {
        securityEvents(first: $first, after: $after, last: $last) { nodes { kind } pageInfo { hasNextPage endCursor } } } }";
    let first = anna.ok(page, json!({ "first": 3 })).await["viewer"]["securityEvents"].clone();
    assert_eq!(first["pageInfo"]["hasNextPage"], true);
    let rest = anna.ok(page, json!({ "first": 3, "after": first["pageInfo"]["endCursor"] })).await;
    assert_eq!(rest["viewer"]["securityEvents"]["nodes"], json!([{ "kind": "ROLE_CHANGED" }]));
    let last = anna.ok(page, json!({ "last": 1 })).await;
    assert_eq!(last["viewer"]["securityEvents"]["nodes"], json!([{ "kind": "ROLE_CHANGED" }]));
    // A cursor of Anna's trail shows nothing in another person's.
    let jonas = server.customer("Jonas").await;
    let none = jonas.ok(page, json!({ "first": 3, "after": first["pageInfo"]["endCursor"] })).await;
    assert_eq!(none["viewer"]["securityEvents"]["nodes"], json!([]));

    let ilya = server.sign_up("Ilya", Role::Admin).await;
    let of = "query($id: ID!) { accountEvents(accountId: $id) { nodes { kind device } } }";
    let seen = ilya.ok(of, json!({ "id": anna.account_id().await })).await;
    assert_eq!(
        seen["accountEvents"]["nodes"][0],
        json!({ "kind": "SESSION_REVOKED", "device": "phone" })
    );
    assert_eq!(ilya.send(of, json!({ "id": "garbage" })).await.code(), "NOT_FOUND");
    server.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn account_events_appear_in_no_stream_notification_or_mail() {
    let server = TestServer::start().await;
    let anna = server.customer("Anna").await;
    let mut socket = anna.socket().await;
    socket.watch_inbox("1", None).await;
    socket.caught_up().await;
    for device in ["one", "two"] {
        sign_in_as(&server, "anna@example.com", device).await;
    }
    anna.ok(REVOKE_OTHERS, json!({})).await;
    anna.create_ticket("the next thing").await;
    assert_eq!(socket.item().await["__typename"], "TicketCreated");
    server.quiet().await;
    let planned = "SELECT (SELECT count(*) FROM notifications) + (SELECT count(*) FROM deliveries)";
    let planned =
        server.database.connect().await.query_one(planned, &[]).await.unwrap().get::<_, i64>(0);
    assert_eq!(planned, 0);
    server.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_change_of_role_ends_all_sessions() {
    let server = TestServer::start().await;
    // The command uses the real clock; the session must not have expired by then.
    server.clock.advance(TimeDelta::days(36_500));
    let anna = server.customer("Anna").await;
    let mut socket = anna.socket().await;
    socket.watch_inbox("1", None).await;
    socket.caught_up().await;
    let variables = [("DATABASE_URL", server.database.url.as_str())];
    let set = async |email: &str, role: &str| {
        process::run(&["user", "set-role", email, role], &variables, "").await
    };
    let done = set("Anna@Example.com", "agent").await;
    assert!(done.success && done.stdout.contains("role agent"), "{}{}", done.stdout, done.stderr);
    assert_eq!(socket.close_code().await, 4401);
    let anna = server.anonymous().sign_in("anna@example.com", PASSWORD).await;
    assert_eq!(anna.ok("{ viewer { role } }", json!({})).await["viewer"]["role"], "AGENT");
    let trail = anna.ok(TRAIL, json!({})).await["viewer"]["securityEvents"]["nodes"].clone();
    assert_eq!(trail[1]["kind"], "SESSION_REVOKED");
    assert_eq!(
        (&trail[2]["fromRole"], &trail[2]["toRole"], &trail[2]["actor"]),
        (&json!("CUSTOMER"), &json!("AGENT"), &Value::Null)
    );
    // Setting the same role again changes nothing.
    assert!(set("anna@example.com", "agent").await.success && is_signed_in(&anna).await);
    for (email, role) in
        [("nobody@example.com", "agent"), ("nonsense", "agent"), ("anna@example.com", "king")]
    {
        assert!(!set(email, role).await.success, "{email} {role}");
    }
    server.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn signing_out_on_one_node_ends_the_session_on_all_nodes() {
    let server = TestServer::start().await;
    let anna = server.customer("Anna").await;
    let node = server.second_node().await;
    let there = anna.at(&node.address().to_string());
    // That node now caches the session for some seconds.
    there.ok("{ viewer { name } }", json!({})).await;
    let mut socket = there.socket().await;
    anna.ok("mutation { signOut { signedOut } }", json!({})).await;
    assert_eq!(socket.close_code().await, 4401);
    let reply = there.send("{ viewer { name } }", json!({})).await;
    assert_eq!(*reply.at("/errors/0/extensions/code"), "UNAUTHENTICATED");
    node.stop().await;
    server.stop().await;
}
