//! `ticketwire doctor`, and the ten faults that doctor, logs or metrics must name.

use std::{fs, process::Stdio, time::Duration};

use axum::{Router, extract::Path, http::StatusCode, routing::any};
use rustix::process::Signal;
use serde_json::{Value, json};
use ticketwire::domain::{
    account::Role,
    clock::{Clock as _, SystemClock},
};
use tokio::process::Command;

use crate::{
    harness::{
        Client, TestServer,
        mail::{borrowed, variables},
        port,
        postgres::TestDatabase,
        process::{self, Process, run},
        server::SEALING_KEYS,
        smtp::Smtp,
        tls::{Authority, HOST},
    },
    metrics::{metric, start_with_metrics, until_metric},
};

/// The folder of attachments of the tests' servers.
const FOLDER: &str = concat!(env!("CARGO_TARGET_TMPDIR"), "/attachments");

/// That a node has stored the id of its storage.
pub const STORAGE_KNOWN: &str = "(SELECT storage_id IS NOT NULL FROM installation)";

/// A report of `doctor --json`.
pub struct Report {
    success: bool,
    document: Value,
}

impl Report {
    /// Runs `doctor` on a database, with more variables.
    pub async fn of(database: &TestDatabase, more: &[(&str, &str)]) -> Self {
        let mut variables =
            vec![("DATABASE_URL", database.url.as_str()), ("TICKETWIRE_STORAGE_FOLDER", FOLDER)];
        variables.extend_from_slice(more);
        let output = run(&["doctor", "--json"], &variables, "").await;
        let document = serde_json::from_str(&output.stdout);
        let document = document.unwrap_or_else(|_| panic!("{}{}", output.stdout, output.stderr));
        Self { success: output.success, document }
    }

    /// The check of this name.
    fn check(&self, name: &str) -> &Value {
        let checks = self.document["checks"].as_array().unwrap();
        let found = checks.iter().find(|check| check["name"] == name);
        found.unwrap_or_else(|| panic!("no check {name}: {}", self.document))
    }

    /// Asserts that a check failed, that its text contains `detail`, and that it says what to do.
    pub fn assert_failed(&self, name: &str, detail: &str, fix: &str) {
        let check = self.check(name);
        assert_eq!(check["status"], "failed", "{check}");
        assert!(check["detail"].as_str().unwrap().contains(detail), "{check}");
        assert!(check["fix"].as_str().unwrap().contains(fix), "{check}");
        assert!(!self.success && self.document["ok"] == false, "{}", self.document);
    }
}

/// Waits until a condition on the database holds.
pub async fn until(database: &TestDatabase, condition: &str) {
    let client = database.connect().await;
    let query = format!("SELECT {condition}");
    let reached =
        async { while !client.query_one(&query, &[]).await.unwrap().get::<_, bool>(0) {} };
    let waited = tokio::time::timeout(Duration::from_mins(1), reached).await;
    assert!(waited.is_ok(), "{condition}");
}

/// Waits until this many nodes have made themselves known.
async fn until_nodes(database: &TestDatabase, count: usize) {
    until(database, &format!("(SELECT count(*) FROM nodes) = {count}")).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn doctor_finds_nothing_wrong_with_a_healthy_installation() {
    let server = TestServer::start().await;
    until_nodes(&server.database, 1).await;
    let report = Report::of(&server.database, &[]).await;
    let checks = report.document["checks"].as_array().unwrap();
    // The disk of the machine that runs the tests may be full.
    let checks = checks.iter().filter(|check| check["name"] != "disk");
    for check in checks.clone() {
        assert!(check["status"] == "ok" && check["detail"].is_string(), "{check}");
        assert!(check["fix"].is_null(), "{check}");
    }
    let names = checks.map(|check| check["name"].as_str().unwrap()).collect::<Vec<_>>();
    // Documented in docs/OPERATIONS.md: scripts depend on them.
    assert_eq!(
        names,
        [
            "settings",
            "database",
            "postgres",
            "extensions",
            "encoding",
            "connections",
            "locks",
            "migrations",
            "rights",
            "restore",
            "backup",
            "clock",
            "sealing_keys",
            "mail_setting",
            "mail_queue",
            "failed_mails",
            "consumers",
            "events",
            "staff_addresses",
            "nodes",
            "node_versions",
            "node_configuration",
            "node_storage",
            "pool",
            "descriptors",
            "certificate",
            "attachments",
            "mail_certificates",
            "mail",
            "sender_domain",
            "base_url",
        ]
    );
    assert_eq!(report.document["version"], env!("CARGO_PKG_VERSION"));
    // A node that stops says so.
    let (database, url) = (server.database.connect().await, server.database.url.clone());
    server.second_node().await.stop().await;
    let nodes = database.query_one("SELECT count(*) FROM nodes", &[]).await.unwrap();
    assert_eq!(nodes.get::<_, i64>(0), 1);
    assert!(
        run(&["doctor"], &[("DATABASE_URL", &url)], "").await.stdout.contains("ok      nodes: ")
    );
    server.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn doctor_tells_a_failure_from_a_configuration_that_cannot_be_read_by_its_exit_code() {
    let database = TestDatabase::new().await;
    let code = async |variables: &[(&str, &str)]| {
        let output = process::command(variables).arg("doctor").output().await.unwrap();
        output.status.code()
    };
    assert_eq!(code(&[("DATABASE_URL", "postgres://nobody@127.0.0.1:1/none")]).await, Some(1));
    let unreadable = [("DATABASE_URL", database.url.as_str()), ("TICKETWIRE_NO_SUCH_KEY", "1")];
    assert_eq!(code(&unreadable).await, Some(2));
    // Also if nobody reads what it says.
    let mut unread = process::command(&[("DATABASE_URL", "postgres://nobody@127.0.0.1:1/none")]);
    let mut unread = unread.arg("doctor").stderr(Stdio::piped()).spawn().unwrap();
    drop(unread.stderr.take());
    assert_eq!(unread.wait_with_output().await.unwrap().status.code(), Some(1));
    // The file of a secret may be there later.
    assert_eq!(code(&[("DATABASE_URL_FILE", "/nowhere")]).await, Some(1));
    let help = process::command(&[]).args(["doctor", "--no-such-flag"]).output().await.unwrap();
    assert_eq!(help.status.code(), Some(2));
}

#[tokio::test(flavor = "multi_thread")]
async fn doctor_says_whether_the_address_in_links_leads_to_a_node() {
    let server = TestServer::start().await;
    until_nodes(&server.database, 1).await;
    let own = format!("http://{}", server.address());
    let report = Report::of(&server.database, &[("TICKETWIRE_LINKS_BASE_URL", &own)]).await;
    assert_eq!(report.check("base_url")["status"], "ok", "{}", report.document);
    let wrong = [("TICKETWIRE_LINKS_BASE_URL", "http://127.0.0.1:1")];
    let report = Report::of(&server.database, &wrong).await;
    report.assert_failed("base_url", "Connection refused", "links.base_url");
    server.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn doctor_names_a_wrong_sealing_key() {
    let server = TestServer::start().await;
    let wrong =
        [("TICKETWIRE_SECURITY_SEALING_KEYS", "another key that is long enough to be accepted")];
    let report = Report::of(&server.database, &wrong).await;
    report.assert_failed("sealing_keys", "none of the keys", "ticketwire accept-sealing-keys");
    assert!(!report.document.to_string().contains("another key"), "{}", report.document);
    server.stop().await;
}

/// The disk is a small file system in memory, which only the process of the test sees.
#[tokio::test(flavor = "multi_thread")]
async fn doctor_names_a_full_disk() {
    let database = TestDatabase::new().await;
    let folder = tempfile::tempdir().unwrap();
    let script = "mount -t tmpfs -o size=64k none \"$1\" && \
                  { head -c 1000000 /dev/zero >\"$1/full\" 2>/dev/null; exec \"$0\" doctor --json; }";
    let mut command = Command::new("unshare");
    command.arg("--mount");
    if !rustix::process::geteuid().is_root() {
        command.arg("--map-root-user");
    }
    command.args(["sh", "-c", script, env!("CARGO_BIN_EXE_ticketwire")]).arg(folder.path());
    command.env("DATABASE_URL", &database.url).env("TICKETWIRE_STORAGE_FOLDER", folder.path());
    command.env("TICKETWIRE_SECURITY_SEALING_KEYS", SEALING_KEYS).current_dir(folder.path());
    command.env("TICKETWIRE_DATA_DIR", process::data_dir(&database.url));
    // A folder cannot be created there: it is the file that fills the disk.
    command.env("TICKETWIRE_STORAGE_ERASURE_LEDGER", folder.path().join("full/ledger"));
    let output = command.stdin(Stdio::null()).output().await.unwrap();
    let text = String::from_utf8(output.stdout).unwrap();
    let document = serde_json::from_str(&text);
    let document =
        document.unwrap_or_else(|_| panic!("{}", String::from_utf8_lossy(&output.stderr)));
    let report = Report { success: output.status.success(), document };
    report.assert_failed("attachments", "No space left on device", "make room on the disk");
    report.assert_failed("disk", "0 MiB free", "enlarge the disk");
    report.assert_failed("disk", "cannot be written", "storage.erasure_ledger");
}

#[tokio::test(flavor = "multi_thread")]
async fn doctor_says_why_a_bucket_cannot_be_used() {
    let database = TestDatabase::new().await;
    let refusal = async |Path((bucket, _)): Path<(String, String)>| {
        let (status, code, message) = match bucket.as_str() {
            "closed" => (StatusCode::FORBIDDEN, "AccessDenied", "Access Denied"),
            _ => (StatusCode::NOT_FOUND, "NoSuchBucket", "No such bucket"),
        };
        let body = format!(
            "<?xml version=\"1.0\"?><Error><Code>{code}</Code><Message>{message}</Message>\
             <RequestId>4442587FB7D0A2F9</RequestId></Error>"
        );
        (status, body)
    };
    let bucket = Router::new().route("/{bucket}/{*path}", any(refusal));
    let socket = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let served = format!("http://{}", socket.local_addr().unwrap());
    let server = tokio::spawn(async { axum::serve(socket, bucket).await.unwrap() });
    let nobody = format!("http://{}", port::choose_address());
    for (endpoint, bucket, reason) in [
        (&served, "closed", "403 Forbidden: AccessDenied: Access Denied"),
        (&served, "none", "the bucket of the attachments does not exist: create it"),
        (&nobody, "none", "Connection refused"),
    ] {
        let variables = [
            ("DATABASE_URL", database.url.as_str()),
            ("TICKETWIRE_STORAGE_S3_ENDPOINT", endpoint),
            ("TICKETWIRE_STORAGE_S3_BUCKET", bucket),
            ("TICKETWIRE_STORAGE_S3_REGION", "eu-central-1"),
            ("TICKETWIRE_STORAGE_S3_ACCESS_KEY", "key"),
            ("TICKETWIRE_STORAGE_S3_SECRET_KEY", "secret"),
        ];
        let output = run(&["doctor", "--json"], &variables, "").await;
        let document = serde_json::from_str(&output.stdout).unwrap();
        let report = Report { success: output.success, document };
        for check in ["node_storage", "attachments"] {
            report.assert_failed(check, reason, "the settings of `storage.s3`");
        }
        // What differs from one try to the next is left out.
        for noise in ["4442587FB7D0A2F9", "retries"] {
            assert!(!output.stdout.contains(noise), "{}", output.stdout);
        }
        assert!(!output.stderr.contains("object_store"), "{}", output.stderr);
    }
    server.abort();
}

#[tokio::test(flavor = "multi_thread")]
async fn doctor_and_metrics_name_a_node_with_another_configuration() {
    let server = start_with_metrics(&[]).await;
    let other = [("second_factor.issuer", "Stale".to_owned()), ("sessions.idle_hours", "9".into())];
    let node = server.another_node(&other).await.unwrap();
    until_nodes(&server.database, 2).await;
    let report = Report::of(&server.database, &[]).await;
    let settings = ": second_factor.issuer, sessions.idle_hours";
    report.assert_failed("node_configuration", settings, "restart");
    assert_eq!(report.check("node_versions")["status"], "ok");
    let differences = "ticketwire_node_differences{kind=\"configuration\"}";
    until_metric(&server, differences, |count| count == 1.0).await;
    assert_eq!(metric(&server, "ticketwire_nodes").await, Some(2.0));
    node.stop().await;
    until_metric(&server, differences, |count| count == 0.0).await;
    server.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn doctor_names_a_mail_server_that_refuses() {
    let (database, smtp) = (TestDatabase::new().await, Smtp::start().await);
    smtp.refuse_sender(Some("550 5.7.1 Sender not allowed"));
    let variables = variables(&smtp.url(), &database.url);
    let report = Report::of(&database, &borrowed(&variables)).await;
    report.assert_failed("mail", "Sender not allowed", "ticketwire mail test");
}

#[tokio::test(flavor = "multi_thread")]
async fn doctor_and_metrics_name_a_stuck_consumer() {
    let server = start_with_metrics(&[]).await;
    let anna = server.customer("Anna").await;
    server.quiet().await;
    until_nodes(&server.database, 1).await;
    let holder = server.database.connect().await;
    holder.batch_execute("BEGIN; SELECT FROM consumer_offsets FOR UPDATE").await.unwrap();
    anna.create_ticket("one").await;
    let lag = "ticketwire_feed_consumer_lag_positions{consumer=\"notifications\"}";
    until_metric(&server, lag, |lag| lag >= 1.0).await;
    server.clock.advance(chrono::TimeDelta::minutes(5));
    let age = "ticketwire_feed_consumer_lag_seconds{consumer=\"notifications\"}";
    until_metric(&server, age, |age| (300.0..400.0).contains(&age)).await;
    let report = Report::of(&server.database, &[]).await;
    let check = report.check("consumers");
    assert_eq!(check["status"], "failed", "{check}");
    let detail = check["detail"].as_str().unwrap();
    assert!(detail.contains("the consumer `notifications` is stuck: "), "{detail}");
    assert!(check["fix"].is_string(), "{check}");
    holder.batch_execute("ROLLBACK").await.unwrap();
    until_metric(&server, age, |age| age == 0.0).await;
    server.stop().await;
}

/// The clock of the database is moved by a function that precedes the one of Postgres.
#[tokio::test(flavor = "multi_thread")]
async fn doctor_and_metrics_name_a_clock_that_is_wrong() {
    let server = start_with_metrics(&[]).await;
    // The clock of this node stands in the past.
    until_metric(&server, "ticketwire_clock_offset_seconds", |offset| offset < -300.0).await;
    let database = server.database.connect().await;
    let name = database.query_one("SELECT current_database()::text", &[]).await.unwrap();
    let moved = format!(
        "CREATE FUNCTION clock_timestamp() RETURNS timestamptz LANGUAGE sql
             AS 'SELECT pg_catalog.clock_timestamp() + interval ''5 minutes''';
         ALTER DATABASE {} SET search_path = public, pg_catalog",
        name.get::<_, &str>(0)
    );
    database.batch_execute(&moved).await.unwrap();
    let report = Report::of(&server.database, &[]).await;
    report.assert_failed("clock", "300 seconds behind the database", "NTP");
    server.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn doctor_names_a_missing_extension() {
    let database = TestDatabase::new().await;
    database.connect().await.batch_execute("DROP EXTENSION pg_trgm CASCADE").await.unwrap();
    let report = Report::of(&database, &[]).await;
    report.assert_failed("extensions", "pg_trgm is missing", "CREATE EXTENSION pg_trgm");
}

#[tokio::test(flavor = "multi_thread")]
async fn doctor_names_the_indexes_that_an_extension_has_taken_along_and_how_to_create_them() {
    let database = TestDatabase::new().await;
    let client = database.connect().await;
    let definitions = async || {
        let query = "SELECT string_agg(indexdef, E'\\n' ORDER BY indexname) FROM pg_indexes
            WHERE schemaname = current_schema()";
        client.query_one(query, &[]).await.unwrap().get::<_, String>(0)
    };
    let before = definitions().await;
    let drop = "DROP EXTENSION pg_trgm CASCADE; CREATE EXTENSION pg_trgm";
    client.batch_execute(drop).await.unwrap();
    let report = Report::of(&database, &[]).await;
    report.assert_failed("extensions", "are missing", "CREATE INDEX CONCURRENTLY accounts_people");
    let fix = report.check("extensions")["fix"].as_str().unwrap();
    for statement in fix.split('`').skip(1).step_by(2) {
        client.batch_execute(statement).await.unwrap();
    }
    let report = Report::of(&database, &[]).await;
    assert_eq!(report.check("extensions")["status"], "ok", "{}", report.document);
    assert_eq!(definitions().await, before);
}

#[tokio::test(flavor = "multi_thread")]
async fn doctor_readiness_and_the_start_name_a_read_only_database() {
    let server = start_with_metrics(&[]).await;
    let database = server.database.connect().await;
    let name = database.query_one("SELECT current_database()::text", &[]).await.unwrap();
    let name = name.get::<_, &str>(0);
    let read_only = format!("ALTER DATABASE {name} SET default_transaction_read_only = on");
    database.batch_execute(&read_only).await.unwrap();
    let report = Report::of(&server.database, &[]).await;
    report.assert_failed("database", "the database is read-only", "the primary");
    assert_eq!(server.admin("/readyz").await, (503, "the database is read-only\n".to_owned()));
    let variables = [("DATABASE_URL", server.database.url.as_str())];
    for arguments in [&["migrate"][..], &["serve", "--listen", "127.0.0.1:0"]] {
        let refused = run(arguments, &variables, "").await;
        assert!(!refused.success && refused.stderr.contains("is read-only"), "{}", refused.stderr);
    }
    let writable = format!("ALTER DATABASE {name} RESET ALL");
    database.batch_execute(&writable).await.unwrap();
    assert_eq!(server.admin("/readyz").await.0, 200);
    server.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn doctor_and_the_start_name_the_rights_that_a_role_lacks() {
    let database = TestDatabase::new().await;
    let role = format!("role_{}", database.name());
    let client = database.connect().await;
    let grant = |rights: &str| format!("GRANT {rights} IN SCHEMA public TO {role}");
    let create = format!("CREATE ROLE {role}; GRANT USAGE ON SCHEMA public TO {role}");
    client.batch_execute(&create).await.unwrap();
    client.batch_execute(&grant("SELECT ON ALL TABLES")).await.unwrap();
    let url = database.url_with("role", &role);
    let variables = [("DATABASE_URL", url.as_str())];
    let report = Report::of(&database, &variables).await;
    report.assert_failed("rights", "lacks rights on ", "GRANT SELECT, INSERT, UPDATE, DELETE");
    let refused = run(&["serve", "--listen", "127.0.0.1:0"], &variables, "").await;
    assert!(!refused.success && refused.stderr.contains("lacks rights on"), "{}", refused.stderr);
    client.batch_execute(&grant("SELECT, INSERT, UPDATE, DELETE ON ALL TABLES")).await.unwrap();
    let report = Report::of(&database, &variables).await;
    report.assert_failed("rights", "ticket_numbers", "ON ALL SEQUENCES");
    client.batch_execute(&grant("USAGE, SELECT, UPDATE ON ALL SEQUENCES")).await.unwrap();
    let report = Report::of(&database, &variables).await;
    assert_eq!(report.check("rights")["status"], "ok", "{}", report.document);
    // A table of somebody else is none of ours.
    let other = format!(
        "CREATE ROLE other_{role}; CREATE TABLE spatial_ref_sys (id int);
         ALTER TABLE spatial_ref_sys OWNER TO other_{role}"
    );
    client.batch_execute(&other).await.unwrap();
    let started = Process::serve(&variables).await;
    assert!(started.terminate(Signal::TERM).await);
    let drop = format!("DROP OWNED BY other_{role}; DROP ROLE other_{role}");
    client.batch_execute(&drop).await.unwrap();
    client.batch_execute(&format!("DROP OWNED BY {role}; DROP ROLE {role}")).await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn doctor_warns_of_a_limit_of_connections_that_a_node_exceeds_and_of_a_wrong_encoding() {
    let database = TestDatabase::new().await;
    let name = database.name();
    let client = database.connect().await;
    let create = format!(
        "CREATE ROLE limited_{name} LOGIN CONNECTION LIMIT 5;
         GRANT USAGE ON SCHEMA public TO limited_{name};
         GRANT SELECT ON ALL TABLES IN SCHEMA public TO limited_{name}"
    );
    client.batch_execute(&create).await.unwrap();
    let owner = client.query_one("SELECT session_user::text", &[]).await.unwrap();
    let owner = owner.get::<_, &str>(0);
    let url = database.url.replacen(owner, &format!("limited_{name}"), 1);
    let report = Report::of(&database, &[("DATABASE_URL", &url)]).await;
    let connections = report.check("connections");
    assert_eq!(connections["status"], "warning", "{connections}");
    let detail = connections["detail"].as_str().unwrap();
    assert!(detail.contains("of 5 are open by the limit of the role, but a node"), "{detail}");
    assert!(connections["fix"].as_str().unwrap().contains("ALTER ROLE"), "{connections}");
    let drop = format!("DROP OWNED BY limited_{name}; DROP ROLE limited_{name}");
    client.batch_execute(&drop).await.unwrap();

    for (encoding, detail) in
        [("UTF8", "Cyrillic"), ("LATIN1", "is LATIN1"), ("SQL_ASCII", "ASCII")]
    {
        let create =
            format!("CREATE DATABASE {name}_c TEMPLATE template0 ENCODING '{encoding}' LOCALE 'C'");
        client.batch_execute(&create).await.unwrap();
        let url = database.url.replacen(name, &format!("{name}_c"), 1);
        let report = Report::of(&database, &[("DATABASE_URL", &url)]).await;
        let check = report.check("encoding");
        assert_eq!(check["status"], "warning", "{check}");
        assert!(check["detail"].as_str().unwrap().contains(detail), "{check}");
        client.batch_execute(&format!("DROP DATABASE {name}_c WITH (FORCE)")).await.unwrap();
    }
}

/// The other version is only its row: the binary of another version is not at hand.
#[tokio::test(flavor = "multi_thread")]
async fn doctor_and_metrics_name_a_node_of_another_version() {
    let server = start_with_metrics(&[]).await;
    let other = "INSERT INTO nodes (id, version, host, started_at, seen_at, report)
        VALUES (gen_random_uuid(), '9.9.9', 'web2', now(), now() + interval '1 minute', '{}')";
    server.database.connect().await.batch_execute(other).await.unwrap();
    let report = Report::of(&server.database, &[]).await;
    report.assert_failed("node_versions", "on web2 runs 9.9.9", "the same version");
    let differences = "ticketwire_node_differences{kind=\"version\"}";
    until_metric(&server, differences, |count| count == 1.0).await;
    server.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn doctor_and_metrics_name_an_exhausted_pool() {
    let server = start_with_metrics(&[("database.pool_size", "2".to_owned())]).await;
    let (anna, boris) = (server.customer("Anna").await, server.sign_up("Boris", Role::Agent).await);
    let holder = server.database.connect().await;
    holder.batch_execute("BEGIN; LOCK TABLE tickets IN ACCESS EXCLUSIVE MODE").await.unwrap();
    let end = end_of(&holder).await;
    let ask = |client: &Client| {
        let client = client.clone();
        tokio::spawn(async move {
            loop {
                client.send("{ tickets(first: 1) { nodes { id } } }", json!({})).await;
            }
        })
    };
    let asking = [&anna, &anna, &boris, &boris].map(ask);
    let waiting = "ticketwire_database_pool_connections{state=\"waiting\"}";
    until_metric(&server, waiting, |count| count >= 1.0).await;
    let reported = "EXISTS (SELECT FROM nodes WHERE (report->'pool'->>'waiting')::int > 0)";
    until(&server.database, reported).await;
    let report = Report::of(&server.database, &[]).await;
    // And not to raise `database.pool_size`: more connections would wait too.
    report.assert_failed("pool", "uses all 2 connections", &end);
    assert!(!report.document.to_string().contains("raise `database.pool_size`"));
    // A busy node stays in use.
    assert_eq!(server.admin("/readyz").await.0, 200);
    asking.iter().for_each(tokio::task::JoinHandle::abort);
    holder.batch_execute("ROLLBACK").await.unwrap();
    server.stop().await;
}

/// The statement that ends the session of a client.
async fn end_of(client: &tokio_postgres::Client) -> String {
    let pid = client.query_one("SELECT pg_backend_pid()", &[]).await.unwrap().get::<_, i32>(0);
    format!("SELECT pg_terminate_backend({pid})")
}

/// The other node does not know the session of the client yet, and looks for it in the database.
#[tokio::test(flavor = "multi_thread")]
async fn doctor_names_a_forgotten_session_that_blocks_the_requests() {
    const WAITING: &str = "EXISTS (SELECT FROM pg_stat_activity WHERE datname = current_database()
        AND application_name = 'ticketwire' AND wait_event_type = 'Lock')";
    let server = TestServer::start().await;
    let anna = server.customer("Anna").await;
    server.quiet().await;
    let node = server.second_node().await;
    let database = &server.database;
    let (holder, behind) = (database.connect().await, database.connect().await);
    holder.batch_execute("BEGIN; LOCK TABLE sessions").await.unwrap();
    let (end, not_at_fault) = (end_of(&holder).await, end_of(&behind).await);
    let behind = tokio::spawn(async move {
        behind.batch_execute("BEGIN; LOCK TABLE sessions; ROLLBACK").await.unwrap();
    });
    until(
        database,
        "EXISTS (SELECT FROM pg_locks WHERE relation = 'sessions'::regclass AND NOT granted)",
    )
    .await;
    let there = anna.at(&node.address().to_string());
    let asking = tokio::spawn(async move {
        loop {
            there.send("{ viewer { id } }", json!({})).await;
        }
    });
    until(database, WAITING).await;
    let report = Report::of(database, &[]).await;
    report.assert_failed("locks", "idle in transaction) blocks ", &end);
    let check = report.check("locks");
    assert!(!check["fix"].as_str().unwrap().contains(&not_at_fault), "{check}");
    database.connect().await.batch_execute(&end).await.unwrap();
    behind.await.unwrap();
    until(database, &format!("NOT {WAITING}")).await;
    let report = Report::of(database, &[]).await;
    assert_eq!(report.check("locks")["status"], "ok", "{}", report.document);
    asking.abort();
    node.stop().await;
    server.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn doctor_says_to_end_what_blocks_where_its_own_statement_had_to_wait() {
    let database = TestDatabase::new().await;
    let holder = database.connect().await;
    holder.batch_execute("BEGIN; LOCK TABLE set_aside_events").await.unwrap();
    for (setting, said) in
        [("lock_timeout", "due to lock timeout"), ("statement_timeout", "due to statement timeout")]
    {
        let url = database.url_with(setting, "2s");
        let report = Report::of(&database, &[("DATABASE_URL", &url)]).await;
        report.assert_failed("events", said, "end the session that the check \"locks\" names");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn doctor_and_metrics_name_a_folder_of_attachments_that_is_not_shared() {
    let server = start_with_metrics(&[]).await;
    let folder = tempfile::tempdir().unwrap();
    let own = folder.path().join("attachments");
    let other = [("storage.folder", own.to_str().unwrap().to_owned())];
    until(&server.database, STORAGE_KNOWN).await;
    let node = server.another_node(&other).await.unwrap();
    until_nodes(&server.database, 2).await;
    let report = Report::of(&server.database, &[]).await;
    report.assert_failed("node_storage", "stored elsewhere by the node", "one shared folder");
    let differences = "ticketwire_node_differences{kind=\"storage\"}";
    until_metric(&server, differences, |count| count == 1.0).await;
    assert!(!own.exists());
    // Once the folder is shared, the node reports the same id.
    let mut shared = fs::read_dir(format!("{FOLDER}/storage-id")).unwrap();
    let shared = shared.next().unwrap().unwrap().file_name();
    fs::create_dir_all(own.join("storage-id").join(shared)).unwrap();
    until_metric(&server, differences, |count| count == 0.0).await;
    node.stop().await;
    server.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn doctor_names_an_unfinished_restore() {
    let database = TestDatabase::new().await;
    let mark = "CREATE TABLE restore_unfinished (backup text NOT NULL)";
    database.connect().await.batch_execute(mark).await.unwrap();
    let report = Report::of(&database, &[]).await;
    report.assert_failed("restore", "was interrupted", "ticketwire restore");
}

#[tokio::test(flavor = "multi_thread")]
async fn doctor_names_mails_that_are_overdue_or_have_failed_within_a_day() {
    let database = TestDatabase::new().await;
    let client = database.connect().await;
    let insert = |state: &str, due: &str, finished: &str| {
        format!(
            "INSERT INTO deliveries (id, address, locale, priority, state, due_at, created_at, finished_at)
             VALUES (gen_random_uuid(), 'anna@example.com', 'en', true, '{state}', now() - interval '{due}',
                     now() - interval '2 days', {finished})"
        )
    };
    client.batch_execute(&insert("queued", "50 minutes", "NULL")).await.unwrap();
    let old = insert("refused", "2 days", "now() - interval '25 hours'");
    client.batch_execute(&old).await.unwrap();
    let report = Report::of(&database, &[]).await;
    assert_eq!(report.check("mail_queue")["status"], "ok", "{}", report.document);
    assert_eq!(report.check("failed_mails")["status"], "ok", "{}", report.document);
    client.batch_execute(&insert("queued", "61 minutes", "NULL")).await.unwrap();
    let recent = insert("refused", "2 days", "now() - interval '23 hours'");
    client.batch_execute(&recent).await.unwrap();
    let report = Report::of(&database, &[]).await;
    report.assert_failed("mail_queue", "although they are due", "mail.smtp_url");
    // They are about no ticket: what they held was erased.
    let failed = report.check("failed_mails");
    assert_eq!(failed["status"], "warning", "{failed}");
    assert!(failed["detail"].as_str().unwrap().contains("1 with codes, links or security notices"));
}

#[tokio::test(flavor = "multi_thread")]
async fn mails_that_a_restore_has_held_back_are_no_failure_and_are_queued_again_only_by_their_state()
 {
    let server = TestServer::start().await;
    let (anna, marta) = (server.customer("Anna").await, server.agent("Marta").await);
    let ticket = anna.create_ticket("Held back").await;
    marta.comment(&ticket, "An answer").await;
    server.quiet().await;
    let database = &server.database;
    let client = database.connect().await;
    // As a restore leaves them.
    let insert = "INSERT INTO deliveries (id, address, locale, priority, state, due_at, created_at,
                                 finished_at, ticket_id, last_error)
         VALUES (gen_random_uuid(), 'anna@example.com', 'en', false, 'expired', now(), now(), now(),
                 (SELECT id FROM tickets), 'restored from a backup: it may have been sent since')";
    client.batch_execute(insert).await.unwrap();
    let report = Report::of(database, &[]).await;
    assert_eq!(report.check("failed_mails")["status"], "ok", "{}", report.document);
    let variables = [("DATABASE_URL", database.url.as_str())];
    for (more, queued) in [(&[][..], 0), (&["--state", "expired"], 1)] {
        let arguments = [&["mail", "retry", "--all"], more].concat();
        let output = run(&arguments, &variables, "").await;
        let expected = format!("Mails that were queued again: {queued}.");
        assert!(output.stdout.contains(&expected), "{}{}", output.stdout, output.stderr);
    }
    server.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn doctor_names_an_empty_database_once_and_checks_nothing_in_it() {
    let report = Report::of(&TestDatabase::empty().await, &[]).await;
    report.assert_failed("migrations", "the database is empty", "ticketwire migrate");
    let checks = report.document["checks"].as_array().unwrap();
    let names = |wanted: fn(&Value) -> bool| {
        let found = checks.iter().filter(|check| wanted(check));
        found.map(|check| check["name"].as_str().unwrap()).collect::<Vec<_>>()
    };
    let failed = names(|check| check["status"] == "failed" && check["name"] != "disk");
    assert_eq!(failed, ["migrations"], "{}", report.document);
    let all = names(|_| true);
    assert!(!all.contains(&"sealing_keys") && !all.contains(&"nodes"), "{all:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn doctor_names_a_database_that_cannot_be_reached_once() {
    let database = TestDatabase::empty().await;
    let unreachable = [("DATABASE_URL", "postgres://nobody@127.0.0.1:1/none")];
    let report = Report::of(&database, &unreachable).await;
    report.assert_failed("database", "", "start Postgres");
    let checks = report.document["checks"].as_array().unwrap();
    assert!(checks.iter().all(|check| check["name"] != "nodes"), "{}", report.document);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_database_that_a_newer_version_has_migrated_is_named_as_such() {
    let (database, folder) = (TestDatabase::new().await, tempfile::tempdir().unwrap());
    let client = database.connect().await;
    let newer = "INSERT INTO __diesel_schema_migrations (version) VALUES ('20991231000999');
                 CREATE TABLE of_a_newer_version (n int)";
    client.batch_execute(newer).await.unwrap();
    let report = Report::of(&database, &[]).await;
    let check = report.check("migrations");
    assert_eq!(check["status"], "warning", "{check}");
    let variables = [("DATABASE_URL", database.url.as_str())];
    let said = "a newer version of Ticketwire has migrated this database: 20991231000999";
    assert!(check["detail"].as_str().unwrap().contains(said), "{check}");
    let backup = folder.path().join("backup");
    for arguments in [&["migrate"][..], &["backup", backup.to_str().unwrap()]] {
        let output = run(arguments, &variables, "").await;
        assert!(
            output.success && output.stdout.contains(said),
            "{}{}",
            output.stdout,
            output.stderr
        );
    }
    // Its tables may be of Ticketwire too.
    assert!(backup.join("database/of_a_newer_version.gz").exists());
}

#[tokio::test(flavor = "multi_thread")]
async fn doctor_stores_no_sealing_keys() {
    let database = TestDatabase::new().await;
    let report = Report::of(&database, &[]).await;
    assert_eq!(report.check("sealing_keys")["status"], "ok", "{}", report.document);
    let keys = database.connect().await.query_one("SELECT count(*) FROM sealing_keys", &[]).await;
    assert_eq!(keys.unwrap().get::<_, i64>(0), 0);
}

#[tokio::test(flavor = "multi_thread")]
async fn doctor_leaves_a_storage_that_no_server_has_used_as_it_is() {
    let (database, folder) = (TestDatabase::new().await, tempfile::tempdir().unwrap());
    let unused = folder.path().join("shared/attachments");
    let setting = [("TICKETWIRE_STORAGE_FOLDER", unused.to_str().unwrap())];
    let report = Report::of(&database, &setting).await;
    assert_eq!(report.check("attachments")["status"], "ok", "{}", report.document);
    assert_eq!(report.check("node_storage")["status"], "ok", "{}", report.document);
    assert_eq!(fs::read_dir(folder.path()).unwrap().count(), 0);
    fs::create_dir_all(&unused).unwrap();
    Report::of(&database, &setting).await;
    assert_eq!(fs::read_dir(&unused).unwrap().count(), 0);
}

#[tokio::test(flavor = "multi_thread")]
async fn doctor_names_the_path_in_the_storage_that_cannot_be_read() {
    let (database, folder) = (TestDatabase::new().await, tempfile::tempdir().unwrap());
    fs::write(folder.path().join("storage-id"), "a file").unwrap();
    let setting = [("TICKETWIRE_STORAGE_FOLDER", folder.path().to_str().unwrap())];
    let report = Report::of(&database, &setting).await;
    let named = format!("{}/storage-id: Not a directory", folder.path().display());
    report.assert_failed("node_storage", &named, "storage.folder");
}

#[tokio::test(flavor = "multi_thread")]
async fn doctor_and_metrics_say_how_old_the_last_backup_is() {
    let server = start_with_metrics(&[]).await;
    let taken = "ticketwire_last_backup_timestamp_seconds";
    assert_eq!(metric(&server, taken).await, None);
    let report = Report::of(&server.database, &[]).await;
    assert_eq!(report.check("backup")["status"], "ok", "{}", report.document);
    let (folder, url) = (tempfile::tempdir().unwrap(), server.database.url.clone());
    let target = folder.path().join("backup.tar");
    let target = target.to_str().unwrap();
    let variables = [("DATABASE_URL", url.as_str()), ("TICKETWIRE_STORAGE_FOLDER", FOLDER)];
    let backup = run(&["backup", target], &variables, "").await;
    assert!(backup.success, "{}", backup.stderr);
    let verified = run(&["verify-backup", target], &[], "").await;
    let client = server.database.connect().await;
    let stored = "SELECT extract(epoch FROM last_backup_at)::float8,
            to_char(last_backup_at AT TIME ZONE 'UTC', 'YYYY-MM-DD')
        FROM installation";
    let stored = client.query_one(stored, &[]).await.unwrap();
    assert!(verified.stdout.contains(stored.get::<_, &str>(1)), "{}", verified.stdout);
    assert_eq!(metric(&server, taken).await, Some(stored.get::<_, f64>(0)));
    let report = Report::of(&server.database, &[]).await;
    let check = report.check("backup");
    assert!(check["detail"].as_str().unwrap().contains(", 0 hours ago"), "{check}");
    let old = "UPDATE installation SET last_backup_at = now() - interval '2161 minutes'";
    client.batch_execute(old).await.unwrap();
    let report = Report::of(&server.database, &[]).await;
    let check = report.check("backup");
    assert_eq!(check["status"], "warning", "{check}");
    assert!(check["detail"].as_str().unwrap().contains(", 36 hours ago"), "{check}");
    assert!(check["fix"].as_str().unwrap().contains("ticketwire backup"), "{check}");
    // A clock was wrong. The next backup replaces its time.
    let ahead = "UPDATE installation SET last_backup_at = now() + interval '1 day'";
    client.batch_execute(ahead).await.unwrap();
    let report = Report::of(&server.database, &[]).await;
    let check = report.check("backup");
    assert_eq!(check["status"], "warning", "{check}");
    assert!(check["detail"].as_str().unwrap().contains("in the future"), "{check}");
    let target = folder.path().join("another.tar");
    let backup = run(&["backup", target.to_str().unwrap()], &variables, "").await;
    assert!(backup.success, "{}", backup.stderr);
    assert_eq!(Report::of(&server.database, &[]).await.check("backup")["status"], "ok");
    server.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn doctor_warns_of_a_certificate_that_expires_within_14_days() {
    let (database, folder) = (TestDatabase::new().await, tempfile::tempdir().unwrap());
    let now = SystemClock.now();
    for (days, status) in [(10, "warning"), (20, "ok")] {
        let end = (now + chrono::TimeDelta::days(days)).date_naive();
        let files = Authority::new().issue_until(folder.path(), HOST, end);
        let report = Report::of(&database, &files.settings()).await;
        let check = report.check("certificate");
        assert_eq!(check["status"], status, "{check}");
        assert!(check["detail"].as_str().unwrap().contains(&end.to_string()), "{check}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn doctor_checks_the_certificates_of_the_issuers_too() {
    let (database, folder) = (TestDatabase::new().await, tempfile::tempdir().unwrap());
    let day = |days| (SystemClock.now() + chrono::TimeDelta::days(days)).date_naive();
    for (days, status) in [(-1, "failed"), (10, "warning"), (20, "ok")] {
        let middle = Authority::new().certify_until("Middle", day(days));
        let own = middle.issue_until(folder.path(), HOST, day(30));
        let files = own.with_issuers(&[&middle]);
        let report = Report::of(&database, &files.settings()).await;
        let check = report.check("certificate");
        assert_eq!(check["status"], status, "{check}");
        let detail = check["detail"].as_str().unwrap();
        assert!(detail.contains("certificate 2 of the file (CN=Middle)"), "{check}");
        assert!(detail.contains(&day(days).to_string()), "{check}");
        let fix = "put the current certificate of that issuer into `tls.certificate_file`";
        let has_fix = check["fix"].as_str().is_some_and(|text| text.contains(fix));
        assert_eq!(has_fix, status == "warning", "{check}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn doctor_checks_the_certificates_that_are_trusted_for_the_mail_server() {
    let (database, folder) = (TestDatabase::new().await, tempfile::tempdir().unwrap());
    let file = folder.path().join("trusted.pem");
    let variables = [("TICKETWIRE_MAIL_CA_FILE", file.to_str().unwrap())];
    let day = |days| (SystemClock.now() + chrono::TimeDelta::days(days)).date_naive();
    let root = Authority::new();
    let of = |name, days| root.certify_until(name, day(days)).pem();
    let (expired, near, far) = (of("Mail", -1), of("Mail", 10), of("Mail", 20));
    let early = root.certify("Early", (2090, 2100)).pem();
    let valid = format!("the certificate of CN=Mail is valid until {}", day(20));
    let expires = "the certificate of CN=Other expired at ";
    for (content, status, detail, fix) in [
        (far.clone(), "ok", valid.as_str(), ""),
        (expired.clone() + &far, "ok", &valid, ""),
        (near.clone(), "warning", "CN=Mail is valid until", "add the next certificate"),
        (of("Other", -1) + &far, "warning", expires, "remove those that have expired"),
        (expired, "failed", "CN=Mail expired at", "put the current certificate"),
        (early, "failed", "CN=Early is not valid before 2090", "put the current certificate"),
        ("none".to_owned(), "failed", "contains no certificate", "correct `mail.ca_file`"),
    ] {
        std::fs::write(&file, content).unwrap();
        let report = Report::of(&database, &variables).await;
        let check = report.check("mail_certificates");
        assert_eq!(check["status"], status, "{check}");
        assert!(check["detail"].as_str().unwrap().contains(detail), "{detail}: {check}");
        assert!(check["fix"].as_str().unwrap_or_default().contains(fix), "{fix}: {check}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn doctor_fails_where_the_database_cannot_tell() {
    let database = TestDatabase::new().await;
    database.connect().await.batch_execute("DROP TABLE nodes").await.unwrap();
    let report = Report::of(&database, &[]).await;
    report.assert_failed("nodes", "cannot tell", "see the log of Postgres");
}
