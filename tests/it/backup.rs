//! The drill: backups that are taken, checked and restored, by the commands that an operator runs.

mod file;
mod foreign;
mod targets;

use std::{
    fs,
    io::Read as _,
    path::{Path, PathBuf},
    sync::Arc,
};

use chrono::TimeDelta;
use flate2::read::GzDecoder;
use serde_json::{Value, json};
use tempfile::TempDir;
use ticketwire::{
    db::{Database, migrations},
    domain::backup::Manifest,
};

use crate::{
    attachment::{CREATE, ticket, upload},
    harness::{
        Client, TestServer,
        client::Ticket,
        mail::{self, MailFixture},
        postgres::{DataFolder, TestDatabase},
        process::{self, Output, Process},
    },
};

/// A place for backups and the files of a restored installation, removed at the end.
struct Place(TempDir);

impl Place {
    fn new() -> Self {
        Self(tempfile::tempdir().unwrap())
    }

    fn path(&self, name: &str) -> String {
        self.0.path().join(name).to_str().unwrap().to_owned()
    }
}

/// The storage of the servers of the tests.
fn attachments() -> String {
    format!("{}/attachments", env!("CARGO_TARGET_TMPDIR"))
}

/// The ledger of the server on a database.
fn ledger(url: &str) -> String {
    let name = url.rsplit('/').next().unwrap();
    format!("{}/erasures/{name}", env!("CARGO_TARGET_TMPDIR"))
}

/// Runs a command on a database, with a folder for attachments and a ledger.
async fn run(arguments: &[&str], url: &str, files: &str, ledger: &str) -> Output {
    let variables = [
        ("DATABASE_URL", url),
        ("TICKETWIRE_STORAGE_FOLDER", files),
        ("TICKETWIRE_STORAGE_ERASURE_LEDGER", ledger),
    ];
    process::run(arguments, &variables, "").await
}

async fn back_up(url: &str, target: &str) -> Output {
    run(&["backup", target], url, &attachments(), &ledger(url)).await
}

async fn restore(source: &str, url: &str, files: &str) -> Output {
    run(&["restore", source], url, files, &ledger(url)).await
}

/// Backs up a server on which an account was erased. Returns both.
async fn back_up_after_an_erasure(place: &Place) -> (TestServer, String) {
    let server = TestServer::start().await;
    server.customer("Eve").await;
    server.quiet().await;
    let (url, backup) = (&server.database.url, place.path("backup"));
    let erase = ["user", "erase", "eve@example.com", "--conversations", "redact"];
    succeeded(&run(&erase, url, &attachments(), &ledger(url)).await);
    succeeded(&back_up(url, &backup).await);
    (server, backup)
}

/// Checks a backup without a database.
async fn verify(source: &str) -> Output {
    process::run(&["verify-backup", source], &[], "").await
}

fn succeeded(output: &Output) {
    assert!(output.success, "{} {}", output.stdout, output.stderr);
}

/// Checks that a command failed with a short text that has these words.
fn refused(output: &Output, words: &[&str]) {
    assert!(!output.success, "{}", output.stdout);
    for words in words {
        assert!(output.stderr.contains(words), "no `{words}`: {}", output.stderr);
    }
}

fn manifest(backup: &str) -> Manifest {
    serde_json::from_slice(&fs::read(format!("{backup}/manifest.json")).unwrap()).unwrap()
}

/// The content of every table but those that a restore adds to, and the next value of every
/// sequence.
async fn content(database: &TestDatabase) -> Vec<(String, String)> {
    let client = database.connect().await;
    let names = "SELECT relname, relkind::text FROM pg_class WHERE relkind IN ('r', 'S')
        AND relnamespace = 'public'::regnamespace
        AND relname NOT IN ('feed_epochs', '__diesel_schema_migrations') ORDER BY relname";
    let mut contents = Vec::new();
    for row in client.query(names, &[]).await.unwrap() {
        let (name, kind) = (row.get::<_, String>(0), row.get::<_, String>(1));
        let query = if kind == "S" {
            format!("SELECT last_value::text || is_called FROM {name}")
        } else {
            format!(
                "SELECT coalesce(string_agg(t::text, E'\\n' ORDER BY t::text), '') FROM {name} t"
            )
        };
        contents.push((name, client.query_one(&query, &[]).await.unwrap().get(0)));
    }
    contents
}

async fn count(database: &TestDatabase, query: &str) -> i64 {
    database.connect().await.query_one(query, &[]).await.unwrap().get(0)
}

async fn cursor_of(client: &Client) -> String {
    client.ok("{ eventCursor }", json!({})).await["eventCursor"].as_str().unwrap().to_owned()
}

/// Opens a ticket with a file; returns its id and the link to the file.
async fn ticket_with_file(client: &Client, bytes: &[u8]) -> (String, String) {
    let reply = upload(client, CREATE, ticket(), &[("log.txt", bytes)]).await;
    let ticket = reply.at("/data/createTicket/ticket");
    let text = |value: &Value| value.as_str().unwrap().to_owned();
    (text(&ticket["id"]), text(&ticket["attachments"][0]["url"]))
}

/// The first item of a ticket's stream after a cursor.
async fn first_item(client: &Client, ticket: &str, after: &str) -> Value {
    let mut socket = client.socket().await;
    socket.watch_ticket("1", ticket, Some(after)).await;
    socket.item().await
}

/// Bytes that cannot be compressed.
fn noise(count: usize) -> Vec<u8> {
    let mut state = 0x2545_f491_4f6c_dd1d_u64;
    let next = || {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        (state >> 32) as u8
    };
    std::iter::repeat_with(next).take(count).collect()
}

#[tokio::test(flavor = "multi_thread")]
async fn after_a_restore_streams_start_again_erasures_are_repeated_and_no_mail_is_sent_twice() {
    let fixture = MailFixture::start_with(&[("mail.window_seconds", "30")]).await;
    let MailFixture { server, smtp, anna, boris } = &fixture;
    let place = Place::new();
    let eve = server.customer("Eve").await;
    let of_eve = eve.create_ticket("A secret of Eve").await;
    let (id, url) = ticket_with_file(anna, b"the content of a file").await;
    let ticket = Ticket { id: id.clone(), ..anna.create_ticket("unused").await };
    server.quiet().await;
    server.clock.advance(TimeDelta::seconds(31));
    let sent = smtp.received(3).await.len();
    // Queued when the backup is taken, and sent afterwards.
    boris.comment(&ticket, "An answer from before the backup").await;
    server.quiet().await;
    let kept = cursor_of(anna).await;
    let backup = place.path("backup");
    let taken = back_up(&server.database.url, &backup).await;
    succeeded(&taken);
    assert!(taken.stdout.contains("1 attachments"), "{}", taken.stdout);
    server.clock.advance(TimeDelta::seconds(31));
    smtp.nth(1, "An answer from before the backup").await;
    let sent = smtp.received(sent + 1).await.len();
    anna.comment(&ticket, "lost").await;
    server.quiet().await;
    let lost = cursor_of(anna).await;
    let erase = ["user", "erase", "eve@example.com", "--conversations", "redact"];
    let ledger = ledger(&server.database.url);
    succeeded(&run(&erase, &server.database.url, &attachments(), &ledger).await);

    let (files, database) = (place.path("files"), TestDatabase::empty().await);
    let restored = run(&["restore", &backup], &database.url, &files, &ledger).await;
    succeeded(&restored);
    assert!(restored.stdout.contains("erased again: 1."), "{}", restored.stdout);
    let mut flags = mail::settings(&smtp.url());
    flags.push(("storage.folder", files));
    flags.push(("storage.erasure_ledger", ledger));
    flags.push(("mail.window_seconds", "30".to_owned()));
    let second = TestServer::start_on(database, Arc::clone(&server.clock), &flags).await;
    let (anna, boris) = (anna.at(&second.address()), boris.at(&second.address()));
    for cursor in [&kept, &lost] {
        let item = first_item(&anna, &id, cursor).await;
        assert_eq!(item["reason"], "HISTORY_REWOUND", "{item}");
    }
    assert_eq!(second.tables_with("eve@example.com").await, [] as [&str; 0]);
    while !second.tables_with("A secret of Eve").await.is_empty() {}
    assert!(!of_eve.id.is_empty());
    let path = url.split_once("/attachments").map(|(_, rest)| format!("/attachments{rest}"));
    let file = anna.request(reqwest::Method::GET, &path.unwrap_or(url), |request| request).await;
    assert_eq!(file.body, "the content of a file");
    // A new mail arrives, and none before it.
    boris.comment(&ticket, "An answer from after the restore").await;
    second.quiet().await;
    second.clock.advance(TimeDelta::seconds(31));
    smtp.nth(1, "An answer from after the restore").await;
    let mails = smtp.mails();
    let texts = mails[sent..].iter().map(|mail| mail.text.as_str()).collect::<Vec<_>>();
    assert_eq!(texts.len(), 1, "{texts:?}");
    assert!(!texts[0].contains("from before the backup"), "{}", texts[0]);
    second.stop().await;
    fixture.server.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_restore_without_the_ledger_of_the_backup_needs_a_flag() {
    let place = Place::new();
    let (server, backup) = back_up_after_an_erasure(&place).await;
    let (database, files) = (TestDatabase::empty().await, place.path("files"));
    let none = place.path("mistyped");
    let stopped = run(&["restore", &backup], &database.url, &files, &none).await;
    refused(&stopped, &[&none, "has 0 entries and lacks 1", "--without-ledger"]);
    let tables = "SELECT count(*) FROM pg_class WHERE relnamespace = 'public'::regnamespace";
    assert_eq!(count(&database, tables).await, 0, "nothing was restored");
    let arguments = ["restore", &backup, "--without-ledger"];
    let restored = run(&arguments, &database.url, &files, &none).await;
    succeeded(&restored);
    assert!(restored.stdout.contains("WARNING: it lacked 1 erasures"), "{}", restored.stdout);
    let database = TestDatabase::empty().await;
    let restored =
        run(&["restore", &backup], &database.url, &files, &ledger(&server.database.url)).await;
    succeeded(&restored);
    assert!(restored.stdout.contains(" had 1 entries"), "{}", restored.stdout);
    server.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_refused_restore_creates_no_key_and_no_demo_data_in_a_new_data_folder() {
    let place = Place::new();
    let (server, backup) = back_up_after_an_erasure(&place).await;
    let folder = DataFolder::new("refused-restore");
    let none = place.path("mistyped");
    let variables = [
        ("TICKETWIRE_DATA_DIR", folder.path()),
        ("TICKETWIRE_STORAGE_FOLDER", &place.path("files")),
        ("TICKETWIRE_STORAGE_ERASURE_LEDGER", &none),
    ];
    let restore = async |more: &[&str]| {
        let mut command = process::command(&variables);
        command.env_remove("TICKETWIRE_SECURITY_SEALING_KEYS");
        let output = command.args(["restore", &backup]).args(more).output().await.unwrap();
        let [out, err] = [&output.stdout, &output.stderr].map(|it| String::from_utf8_lossy(it));
        (output.status.success(), format!("{out}{err}"))
    };
    let (done, text) = restore(&[]).await;
    assert!(!done && text.contains("--without-ledger"), "{text}");
    let mark = folder.0.join("restore.unfinished");
    assert!(mark.exists() && !folder.0.join("keys/sealing.key").exists());

    let (done, text) = restore(&["--without-ledger"]).await;
    assert!(done && !mark.exists(), "{text}");
    let key = folder.0.join("keys/sealing.key");
    let expected = format!("{} has none of the keys of this backup", key.display());
    assert!(text.contains(&expected), "{text}");
    // Nothing puts another key in the place of the lost one, until the operator asks for that.
    let run = async |arguments: &[&str]| {
        let mut command = process::command(&variables);
        command.env_remove("TICKETWIRE_SECURITY_SEALING_KEYS").args(arguments);
        let output = command.env("TICKETWIRE_LISTEN", "127.0.0.1:0").output().await.unwrap();
        let [out, err] = [&output.stdout, &output.stderr].map(|it| String::from_utf8_lossy(it));
        format!("{out}{err}")
    };
    let expected = format!(
        "`security.sealing_keys` is not set, and {} is missing: put the former key there",
        key.display()
    );
    for command in [&["doctor"][..], &["serve"], &["mail", "disable"]] {
        let text = run(command).await;
        assert!(text.contains(&expected) && !key.exists(), "{command:?}: {text}");
        assert!(!folder.0.join("mail").exists(), "{command:?}: {text}");
    }
    assert!(run(&["restored"]).await.contains("All live streams will start again"));
    assert!(!key.exists());
    let text = run(&["accept-sealing-keys"]).await;
    assert!(text.contains("The configured sealing keys are accepted") && key.exists(), "{text}");
    server.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_restored_database_has_every_row_and_continues_every_sequence() {
    let server = TestServer::start().await;
    let (anna, marta) = (server.customer("Anna").await, server.agent("Marta").await);
    let ticket = anna.create_ticket("Tabs\tand \\ backslashes\u{2028}").await;
    marta.comment(&ticket, "Lines\nand \\N and quotes \" and ünïcödé").await;
    ticket_with_file(&anna, &noise(300_000)).await;
    server.quiet().await;
    let (place, database) = (Place::new(), TestDatabase::empty().await);
    let backup = place.path("backup");
    let TestServer { database: source, .. } = server.stop_keeping_database().await;
    let expected = content(&source).await;
    succeeded(&back_up(&source.url, &backup).await);
    let checked = verify(&backup).await;
    succeeded(&checked);
    assert!(checked.stdout.contains("The backup is whole"), "{}", checked.stdout);
    succeeded(&restore(&backup, &database.url, &place.path("files")).await);
    let found = content(&database).await;
    let names = |them: &[(String, String)]| them.iter().map(|it| it.0.clone()).collect::<Vec<_>>();
    assert_eq!(names(&found), names(&expected));
    for (found, expected) in found.iter().zip(&expected) {
        // Mails that were queued are not sent, and the files are in another storage.
        if expected.0 != "deliveries" && expected.0 != "installation" {
            assert_eq!(found, expected);
        }
    }
    // A file that the storage has already is replaced if its content is another one.
    let mut stored = fs::read_dir(place.path("files")).unwrap().map(|entry| entry.unwrap().path());
    let file = stored.find(|path| !path.ends_with("storage-id")).unwrap().join("content");
    let undamaged = fs::read(&file).unwrap();
    drop(damage(file.to_str().unwrap()));
    let fresh = TestDatabase::empty().await;
    let repaired = restore(&backup, &fresh.url, &place.path("files")).await;
    succeeded(&repaired);
    assert!(repaired.stdout.contains("Attachments that were copied: 1."), "{}", repaired.stdout);
    assert_eq!(fs::read(&file).unwrap(), undamaged);
    let triggers = "SELECT count(*) FROM pg_trigger WHERE NOT tgisinternal AND tgenabled <> 'O'";
    assert_eq!(count(&database, triggers).await, 0);
    let again = restore(&backup, &database.url, &place.path("files")).await;
    refused(&again, &["accounts, tickets or events already"]);
    assert_eq!(content(&database).await, found);
}

/// A database whose schema lacks the newest migrations, with an account.
async fn older_database() -> TestDatabase {
    let database = TestDatabase::empty().await;
    let versions = migrations::versions().unwrap();
    let pool = Database::new(&database.url, 2).unwrap();
    migrations::run_only(&pool, &versions[..versions.len() - 6]).await.unwrap();
    pool.close();
    let insert = "INSERT INTO accounts (id, email, name, role, locale, created_at)
        VALUES (gen_random_uuid(), 'anna@example.com', 'Anna', 'customer', 'en', now())";
    database.connect().await.batch_execute(insert).await.unwrap();
    database
}

#[tokio::test(flavor = "multi_thread")]
async fn a_backup_of_an_older_schema_is_brought_up_to_date() {
    let (older, place) = (older_database().await, Place::new());
    let backup = place.path("backup");
    succeeded(&back_up(&older.url, &backup).await);
    let migrated = TestDatabase::new().await;
    let newer = restore(&backup, &migrated.url, &place.path("files")).await;
    refused(&newer, &["schema of the database is newer", "createdb"]);

    let database = TestDatabase::empty().await;
    let restored = restore(&backup, &database.url, &place.path("files")).await;
    succeeded(&restored);
    assert_eq!(restored.stdout.matches("Applied ").count(), 6, "{}", restored.stdout);
    let anna = "SELECT count(*) FROM accounts WHERE email = 'anna@example.com'";
    assert_eq!(count(&database, anna).await, 1);
    let applied = "SELECT count(*) FROM __diesel_schema_migrations";
    let all = migrations::versions().unwrap().len();
    assert_eq!(count(&database, applied).await, i64::try_from(all).unwrap());
}

/// A backup of a small installation.
async fn small_backup(place: &Place) -> (TestServer, String) {
    let server = TestServer::start().await;
    let anna = server.customer("Anna").await;
    ticket_with_file(&anna, b"the content of a file").await;
    server.quiet().await;
    let backup = place.path("backup");
    succeeded(&back_up(&server.database.url, &backup).await);
    (server, backup)
}

/// Replaces a byte in the middle of a file, and returns what undoes it.
fn damage(path: &str) -> impl FnOnce() + use<> {
    let original = fs::read(path).unwrap();
    let mut bytes = original.clone();
    let middle = bytes.len() / 2;
    bytes[middle] ^= 1;
    fs::write(path, bytes).unwrap();
    let path = path.to_owned();
    move || fs::write(path, original).unwrap()
}

#[tokio::test(flavor = "multi_thread")]
async fn a_damaged_backup_is_refused_and_the_damaged_part_is_named() {
    let place = Place::new();
    let (server, backup) = small_backup(&place).await;
    let database = TestDatabase::empty().await;
    let file = fs::read_dir(format!("{backup}/attachments")).unwrap().next().unwrap().unwrap();
    let file = format!("attachments/{}", file.file_name().to_str().unwrap());
    for name in ["database/events.gz", "attachments.gz", "manifest.json", file.as_str()] {
        let undo = damage(&format!("{backup}/{name}"));
        refused(&verify(&backup).await, &[name, "damaged", "Use another backup"]);
        let restored = restore(&backup, &database.url, &place.path("files")).await;
        refused(&restored, &[name, "damaged"]);
        undo();
    }
    let part = format!("{backup}/database/events.gz");
    let whole = fs::read(&part).unwrap();
    fs::write(&part, &whole[..whole.len() - 1]).unwrap();
    refused(&verify(&backup).await, &["database/events.gz", "damaged"]);
    fs::remove_file(&part).unwrap();
    refused(&verify(&backup).await, &["database/events.gz is missing"]);
    fs::write(&part, whole).unwrap();
    succeeded(&verify(&backup).await);
    let tables = "SELECT count(*) FROM pg_class WHERE relnamespace = 'public'::regnamespace";
    assert_eq!(count(&database, tables).await, 0, "nothing was restored");
    server.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_database_that_is_in_use_or_not_ours_is_left_as_it_is() {
    let place = Place::new();
    let (server, backup) = small_backup(&place).await;
    let empty = TestServer::start().await;
    let restored = restore(&backup, &empty.database.url, &place.path("files")).await;
    refused(&restored, &["connections of servers or commands use the database", "stop them"]);
    empty.stop().await;
    let database = TestDatabase::empty().await;
    database.connect().await.batch_execute("CREATE TABLE invoices (n int)").await.unwrap();
    let restored = restore(&backup, &database.url, &place.path("files")).await;
    refused(&restored, &["tables that are not of Ticketwire"]);
    refused(&back_up(&database.url, &place.path("other")).await, &["no data of Ticketwire"]);
    assert!(!Path::new(&place.path("other")).exists());
    assert!(!Path::new(&place.path("other.unfinished")).exists());
    server.stop().await;
}

/// Waits until a statement that begins with this word waits for a lock.
async fn wait_for_lock(database: &TestDatabase, statement: &str) {
    let waits = format!(
        "SELECT count(*) FROM pg_stat_activity WHERE datname = current_database()
         AND application_name = 'ticketwire' AND wait_event_type = 'Lock'
         AND query LIKE '{statement}%'"
    );
    while count(database, &waits).await == 0 {}
}

#[tokio::test(flavor = "multi_thread")]
async fn no_server_starts_on_an_unfinished_restore_which_can_be_run_again() {
    let place = Place::new();
    let (server, backup) = small_backup(&place).await;
    let database = TestDatabase::new().await;
    let files = place.path("files");
    // Killed while it loads the rows.
    let other = database.connect().await;
    other.batch_execute("BEGIN; LOCK TABLE tickets IN ACCESS SHARE MODE").await.unwrap();
    let variables =
        [("DATABASE_URL", database.url.as_str()), ("TICKETWIRE_STORAGE_FOLDER", &files)];
    let mut child = process::command(&variables).args(["restore", &backup]).spawn().unwrap();
    wait_for_lock(&database, "TRUNCATE").await;
    let again = "run `ticketwire restore` with the same backup again";
    let serving = [variables[0], variables[1], ("TICKETWIRE_LISTEN", "127.0.0.1:0")];
    for command in ["serve", "migrate"] {
        refused(&process::run(&[command], &serving, "").await, &[again]);
    }
    child.kill().await.unwrap();
    other.batch_execute("COMMIT").await.unwrap();
    assert_eq!(count(&database, "SELECT count(*) FROM accounts").await, 0);
    let backends = "SELECT count(*) FROM pg_stat_activity WHERE datname = current_database()
        AND application_name LIKE 'ticketwire%'";
    while count(&database, backends).await > 0 {}
    succeeded(&restore(&backup, &database.url, &files).await);

    // As if it had been killed after that.
    let mark = format!(
        "CREATE TABLE restore_unfinished AS SELECT '{}'::text AS backup",
        manifest(&backup).created_at.to_rfc3339()
    );
    other.batch_execute(&mark).await.unwrap();
    for arguments in [&["serve"][..], &["service-token", "list"], &["backup", "/nonexistent/x"]] {
        refused(&process::run(arguments, &serving, "").await, &[again]);
    }
    let another = place.path("another");
    succeeded(&back_up(&server.database.url, &another).await);
    refused(&restore(&another, &database.url, &files).await, &["was interrupted"]);
    let events = count(&database, "SELECT count(*) FROM events").await;
    succeeded(&restore(&backup, &database.url, &files).await);
    assert_eq!(count(&database, "SELECT count(*) FROM events").await, events);
    Process::serve(&serving).await.kill().await;
    server.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_restore_ends_if_a_server_connects_to_its_database_meanwhile() {
    let place = Place::new();
    let (server, backup) = small_backup(&place).await;
    let (database, files) = (TestDatabase::new().await, place.path("files"));
    let other = database.connect().await;
    other.batch_execute("BEGIN; LOCK TABLE tickets IN ACCESS SHARE MODE").await.unwrap();
    let variables =
        [("DATABASE_URL", database.url.as_str()), ("TICKETWIRE_STORAGE_FOLDER", &files)];
    let arguments = ["restore", &backup];
    let restored = process::run(&arguments, &variables, "");
    let connected = async {
        wait_for_lock(&database, "TRUNCATE").await;
        let connected = database.connect().await;
        connected.batch_execute("SET application_name = 'ticketwire'").await.unwrap();
        other.batch_execute("COMMIT").await.unwrap();
        connected
    };
    let (restored, connected) = tokio::join!(restored, connected);
    refused(&restored, &["connections of servers or commands use the database"]);
    drop(connected);
    assert_eq!(count(&database, "SELECT count(*) FROM accounts").await, 0);
    succeeded(&restore(&backup, &database.url, &files).await);
    server.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn files_that_the_storage_has_lost_are_named_and_keys_are_not_in_a_backup() {
    let place = Place::new();
    let server = TestServer::start_with(&[("storage.folder", place.path("own"))]).await;
    let anna = server.customer("Anna").await;
    ticket_with_file(&anna, b"the first").await;
    ticket_with_file(&anna, b"the second").await;
    server.quiet().await;
    let own = place.path("own");
    let url = server.database.url.clone();
    let stored = fs::read_dir(&own).unwrap().map(|entry| entry.unwrap().path());
    let mut stored = stored.filter(|path| !path.ends_with("storage-id"));
    let lost = stored.next().unwrap();
    fs::remove_dir_all(&lost).unwrap();
    let backup = place.path("backup");
    let taken = run(&["backup", &backup], &url, &own, &ledger(&url)).await;
    let id = lost.file_name().unwrap().to_str().unwrap();
    refused(&taken, &["lacks 1 attachments", id]);
    assert!(taken.stdout.contains("sealing_keys"), "{}", taken.stdout);
    let checked = verify(&backup).await;
    succeeded(&checked);
    assert!(
        checked.stdout.contains("were lost before the backup was taken: 1."),
        "{}",
        checked.stdout
    );
    let manifest = manifest(&backup);
    assert_eq!(manifest.sealing_keys.len(), 1);
    let keys = crate::harness::server::SEALING_KEYS;
    for file in files_below(Path::new(&backup)) {
        let bytes = fs::read(&file).unwrap();
        let mut text = Vec::new();
        if file.extension().is_some_and(|extension| extension == "gz") {
            GzDecoder::new(bytes.as_slice()).read_to_end(&mut text).unwrap();
        } else {
            text = bytes;
        }
        assert!(!String::from_utf8_lossy(&text).contains(keys), "{}", file.display());
    }
    let database = TestDatabase::empty().await;
    let key = "another key that the backup was not sealed with";
    let files = place.path("files");
    let variables = [
        ("DATABASE_URL", database.url.as_str()),
        ("TICKETWIRE_STORAGE_FOLDER", &files),
        ("TICKETWIRE_SECURITY_SEALING_KEYS", key),
    ];
    let restored = process::run(&["restore", &backup], &variables, "").await;
    succeeded(&restored);
    assert!(restored.stdout.contains(&manifest.sealing_keys[0]), "{}", restored.stdout);
    assert!(restored.stdout.contains("taken: 1."), "{}", restored.stdout);
    server.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_file_that_was_deleted_is_not_lost_and_one_of_another_length_is() {
    let place = Place::new();
    let own = place.path("own");
    let server = TestServer::start_with(&[("storage.folder", own.clone())]).await;
    let anna = server.customer("Anna").await;
    ticket_with_file(&anna, b"the first").await;
    ticket_with_file(&anna, b"the second").await;
    server.quiet().await;
    let url = server.database.url.clone();
    let stored = fs::read_dir(&own).unwrap().map(|entry| entry.unwrap().path());
    let mut stored = stored.filter(|path| !path.ends_with("storage-id"));
    let (deleted, other) = (stored.next().unwrap(), stored.next().unwrap());
    fs::remove_dir_all(&deleted).unwrap();
    let id = deleted.file_name().unwrap().to_str().unwrap();
    // Deleted on purpose: the database has marked it.
    let condemn = format!(
        "UPDATE attachments SET ticket_id = NULL, comment_id = NULL, condemned_at = now()
         WHERE id = '{id}'"
    );
    server.database.connect().await.batch_execute(&condemn).await.unwrap();
    succeeded(&run(&["backup", &place.path("c")], &url, &own, &ledger(&url)).await);
    // A file of another length is as good as none, and none does not make a storage a wrong one.
    for content in ["", "th", "the second and more"] {
        fs::write(other.join("content"), content).unwrap();
        let target = place.path(&format!("length {}", content.len()));
        let taken = run(&["backup", &target], &url, &own, &ledger(&url)).await;
        refused(&taken, &["lacks 1 attachments", other.file_name().unwrap().to_str().unwrap()]);
        succeeded(&verify(&target).await);
    }
    // Nor does one that cannot be read: the link leads to itself.
    let content = other.join("content");
    fs::remove_file(&content).unwrap();
    std::os::unix::fs::symlink(&content, &content).unwrap();
    let target = place.path("unreadable");
    let taken = run(&["backup", &target], &url, &own, &ledger(&url)).await;
    refused(&taken, &["lacks 1 attachments", other.file_name().unwrap().to_str().unwrap()]);
    succeeded(&verify(&target).await);
    let elsewhere = run(&["backup", &place.path("b")], &url, &place.path("x"), &ledger(&url)).await;
    refused(&elsewhere, &["none of the 2 attachments", "storage.folder"]);
    server.stop().await;
}

fn files_below(folder: &Path) -> Vec<PathBuf> {
    let entries = fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().path());
    entries.flat_map(|path| if path.is_dir() { files_below(&path) } else { vec![path] }).collect()
}
