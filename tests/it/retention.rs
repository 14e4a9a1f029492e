//! How long data is kept: sessions, their network addresses and devices, and deliveries.

use chrono::TimeDelta;
use serde_json::{Value, json};
use tokio_postgres::Client as Database;

use super::session::sign_in_as;
use crate::harness::{TestServer, mail::MailFixture};

const ANNA: &str = "anna@example.com";
/// Ended sessions stay for 5 days, and addresses and devices for 10.
const SHORT: [(&str, &str); 2] =
    [("retention.ended_session_days", "5"), ("retention.origin_days", "10")];

/// The device of each session, oldest first, and whether its address and network are stored.
async fn origins(database: &Database) -> Vec<(Option<String>, bool, bool)> {
    let query = "SELECT device, address IS NOT NULL, network IS NOT NULL FROM sessions
                 ORDER BY created_at";
    let rows = database.query(query, &[]).await.unwrap();
    rows.iter().map(|row| (row.get(0), row.get(1), row.get(2))).collect()
}

async fn count(database: &Database, of: &str) -> i64 {
    database.query_one(&format!("SELECT count(*) FROM {of}"), &[]).await.unwrap().get(0)
}

#[tokio::test(flavor = "multi_thread")]
async fn rows_that_cannot_be_deleted_do_not_keep_others() {
    let server = TestServer::start().await;
    let anna = server.customer("Anna").await;
    anna.ok("mutation { signOut { signedOut } }", json!({})).await;
    let database = server.database.connect().await;
    let broken =
        "CREATE FUNCTION fail() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN RAISE 'no'; END $$;
        CREATE TRIGGER fail BEFORE DELETE ON idempotency_keys FOR EACH ROW EXECUTE FUNCTION fail();
        INSERT INTO idempotency_keys (account_id, key, fingerprint, result_id, created_at)
        SELECT id, 'k', sha256(''), gen_random_uuid(), created_at FROM accounts;
        INSERT INTO attempts (bucket, empty_at) SELECT sha256(n::text::bytea), '2000-01-01'
        FROM generate_series(1, 25000) n";
    database.batch_execute(broken).await.unwrap();
    server.clock.advance(TimeDelta::days(30));
    server.try_to_prune(&SHORT).await.unwrap_err();
    assert_eq!(count(&database, "idempotency_keys").await, 1);
    assert_eq!(count(&database, "attempts").await, 0);
    assert_eq!(count(&database, "sessions WHERE address IS NOT NULL").await, 0);
    server.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn old_sessions_lose_their_address_and_device_and_are_deleted_except_the_last() {
    let server = TestServer::start().await;
    let anna = server.customer("Anna").await;
    let phone = sign_in_as(&server, ANNA, "phone").await;
    sign_in_as(&server, ANNA, "tablet").await;
    phone.ok("mutation { signOut { signedOut } }", json!({})).await;
    let before =
        [None, Some("phone"), Some("tablet")].map(|device| (device.map(str::to_owned), true, true));
    let database = server.database.connect().await;
    drop(anna);

    server.clock.advance(TimeDelta::days(9));
    server.prune(&SHORT).await;
    assert_eq!(origins(&database).await, before);
    server.clock.advance(TimeDelta::days(2));
    let never = [("retention.ended_session_days", "0"), ("retention.origin_days", "0")];
    server.prune(&never).await;
    assert_eq!(origins(&database).await, before);

    // The other two ended after a week without use: four days ago.
    let erased = (None, false, false);
    server.prune(&SHORT).await;
    assert_eq!(origins(&database).await, [erased.clone(), erased.clone()]);

    // The events stay.
    let back = sign_in_as(&server, ANNA, "tablet").await;
    let trail = "{ viewer { securityEvents { nodes { kind device address } } } }";
    let trail = back.ok(trail, json!({})).await["viewer"]["securityEvents"]["nodes"].clone();
    let event =
        |kind, device, address| json!({ "kind": kind, "device": device, "address": address });
    let expected = [
        event("SIGNED_IN", json!("tablet"), json!("127.0.0.1")),
        event("SESSION_REVOKED", Value::Null, Value::Null),
        event("SIGNED_IN", Value::Null, Value::Null),
    ];
    assert_eq!(trail.as_array().unwrap()[..3], expected);

    server.clock.advance(TimeDelta::days(2));
    server.prune(&SHORT).await;
    assert_eq!(origins(&database).await, [(Some("tablet".to_owned()), true, true)]);
    server.clock.advance(TimeDelta::days(100));
    server.prune(&SHORT).await;
    assert_eq!(origins(&database).await, [erased]);
    server.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_device_that_was_not_used_for_long_counts_as_new() {
    let fixture = MailFixture::start().await;
    let (server, database) = (&fixture.server, fixture.server.database.connect().await);
    let notices = async || count(&database, "deliveries WHERE priority").await;
    let first = notices().await;
    for device in ["phone", "phone", ""] {
        sign_in_as(server, ANNA, device).await;
    }
    assert_eq!(notices().await, first + 1);
    server.clock.advance(TimeDelta::days(20));
    server.prune(&SHORT).await;
    // A client without a name is another one than a client whose name was deleted.
    for device in ["", "phone", "", "phone"] {
        sign_in_as(server, ANNA, device).await;
    }
    assert_eq!(notices().await, first + 3);
    fixture.server.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn old_deliveries_are_deleted_unless_their_ticket_is_open() {
    let fixture = MailFixture::start().await;
    let (server, anna) = (&fixture.server, &fixture.anna);
    anna.create_ticket("open").await;
    let closed = anna.create_ticket("closed").await;
    anna.update(&closed, json!({ "status": "RESOLVED" })).await;
    sign_in_as(server, ANNA, "phone").await;
    server.clock.advance(TimeDelta::days(1));
    assert_eq!(server.close_resolved(1).await, 1);
    server.quiet().await;
    let database = server.database.connect().await;
    while count(&database, "deliveries WHERE finished_at IS NULL").await > 0 {}
    let of_open = "ticket_id IN (SELECT id FROM tickets WHERE status <> 'closed')";
    let (all, open) = (
        count(&database, "deliveries").await,
        count(&database, &format!("deliveries WHERE {of_open}")).await,
    );
    let events = count(&database, "events").await;
    assert!(open > 0 && count(&database, "deliveries WHERE priority").await > 0);

    // They finished before or after the day that has passed.
    server.clock.advance(TimeDelta::days(363));
    server.prune(&[]).await;
    assert_eq!(count(&database, "deliveries").await, all);
    server.clock.advance(TimeDelta::days(2));
    server.prune(&[("retention.delivery_days", "0")]).await;
    assert_eq!(count(&database, "deliveries").await, all);
    server.prune(&[]).await;
    assert_eq!(count(&database, &format!("deliveries WHERE {of_open}")).await, open);
    assert_eq!(count(&database, "deliveries").await, open);
    let left = "delivery_events WHERE delivery_id NOT IN (SELECT id FROM deliveries)";
    assert_eq!(count(&database, left).await, 0);
    assert_eq!(count(&database, "events").await, events);
    fixture.server.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn more_old_rows_than_one_statement_reads_are_deleted() {
    let server = TestServer::start().await;
    server.customer("Anna").await;
    let database = server.database.connect().await;
    let fill = "
        INSERT INTO sessions (id, account_id, token_hash, created_at, last_used_at, expires_at)
        SELECT gen_random_uuid(), (SELECT id FROM accounts WHERE name = 'Anna'),
               sha256(n::text::bytea), '2020-01-01', '2020-01-01', '2020-02-01'
        FROM generate_series(1, 2500) n;
        INSERT INTO deliveries (id, address, locale, state, due_at, created_at, finished_at)
        SELECT gen_random_uuid(), 'anna@example.com', 'en', 'sent', '2020-01-01', '2020-01-01',
               '2020-01-01'
        FROM generate_series(1, 2500)";
    database.batch_execute(fill).await.unwrap();
    server.prune(&[]).await;
    assert_eq!(count(&database, "sessions").await, 1);
    assert_eq!(count(&database, "deliveries").await, 0);
    server.stop().await;
}
