//! Backups in a single file.

use std::{fs, os::unix::fs::PermissionsExt as _, path::Path};

use super::{
    Place, back_up, count, damage, noise, refused, restore, small_backup, succeeded,
    ticket_with_file, verify, wait_for_lock,
};
use crate::harness::{TestServer, postgres::TestDatabase, process};

#[tokio::test(flavor = "multi_thread")]
async fn a_backup_in_a_single_file_is_checked_and_restored() {
    let (server, place) = (TestServer::start().await, Place::new());
    let anna = server.customer("Anna").await;
    ticket_with_file(&anna, &noise(700_000)).await;
    ticket_with_file(&anna, b"the second").await;
    server.quiet().await;
    let (url, target) = (server.database.url.clone(), place.path("nightly.tar"));
    // What a killed one has left.
    fs::write(format!("{target}.unfinished"), noise(2_000_000)).unwrap();
    succeeded(&back_up(&url, &target).await);
    let names = fs::read_dir(place.0.path()).unwrap().map(|entry| entry.unwrap().file_name());
    assert_eq!(names.collect::<Vec<_>>(), ["nightly.tar"]);
    assert_eq!(fs::metadata(&target).unwrap().permissions().mode() & 0o777, 0o600);
    let checked = verify(&target).await;
    succeeded(&checked);
    assert!(checked.stdout.contains("The backup is whole"), "{}", checked.stdout);
    refused(&back_up(&url, &target).await, &["nightly.tar already exists"]);

    let (database, files) = (TestDatabase::empty().await, place.path("files"));
    let restored = restore(&target, &database.url, &files).await;
    succeeded(&restored);
    assert!(restored.stdout.contains("Attachments that were copied: 2."), "{}", restored.stdout);
    for table in ["accounts", "tickets", "events", "attachments"] {
        let rows = format!("SELECT count(*) FROM {table}");
        assert_eq!(count(&database, &rows).await, count(&server.database, &rows).await, "{table}");
    }
    server.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_file_that_was_cut_or_damaged_or_is_no_backup_is_refused_before_anything_is_restored() {
    let (server, place) = (TestServer::start().await, Place::new());
    ticket_with_file(&server.customer("Anna").await, &noise(100_000)).await;
    server.quiet().await;
    let target = place.path("nightly.tar");
    succeeded(&back_up(&server.database.url, &target).await);
    let (database, files) = (TestDatabase::empty().await, place.path("files"));
    let refuse = async |words: &str| {
        refused(&verify(&target).await, &[&target, words]);
        refused(&restore(&target, &database.url, &files).await, &[&target, words]);
    };
    let undo = damage(&target);
    refuse("damaged").await;
    undo();
    let whole = fs::read(&target).unwrap();
    for length in [whole.len() / 2, whole.len() - 4096, 2048] {
        fs::write(&target, &whole[..length]).unwrap();
        refuse("the file ends in the middle of the archive").await;
    }
    for foreign in ["", "notes"] {
        fs::write(&target, foreign.repeat(1000)).unwrap();
        refuse("is not a backup: it is neither a folder nor a tar archive").await;
    }
    fs::write(&target, [0x1f, 0x8b, 8, 0]).unwrap();
    refuse("is compressed: decompress it (`gunzip -dc ").await;
    let tables = "SELECT count(*) FROM pg_class WHERE relnamespace = 'public'::regnamespace";
    assert_eq!(count(&database, tables).await, 0, "nothing was restored");
    assert!(!Path::new(&files).exists());
    server.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn of_two_restores_into_one_database_the_second_is_refused() {
    let place = Place::new();
    let (server, backup) = small_backup(&place).await;
    let (database, files) = (TestDatabase::new().await, place.path("files"));
    let other = database.connect().await;
    other.batch_execute("BEGIN; LOCK TABLE tickets IN ACCESS SHARE MODE").await.unwrap();
    let variables =
        [("DATABASE_URL", database.url.as_str()), ("TICKETWIRE_STORAGE_FOLDER", &files)];
    let arguments = ["restore", &backup];
    let first = process::run(&arguments, &variables, "");
    let second = async {
        wait_for_lock(&database, "TRUNCATE").await;
        let second = process::run(&arguments, &variables, "").await;
        other.batch_execute("COMMIT").await.unwrap();
        second
    };
    let (first, second) = tokio::join!(first, second);
    refused(&second, &["another restore into this database is under way", "wait until it ends"]);
    succeeded(&first);
    let tickets = "SELECT count(*) FROM tickets";
    assert_eq!(count(&database, tickets).await, count(&server.database, tickets).await);
    server.stop().await;
}

/// Accounts and tickets, as many as `$1` in the place of this text.
const FILL: &str = "
    INSERT INTO accounts (id, email, name, role, locale, created_at)
    SELECT gen_random_uuid(), 'c' || n || '@example.com', 'Customer ' || n, 'customer', 'en', now()
    FROM generate_series(1, $1) n;
    INSERT INTO tickets (id, number, category_id, reporter_id, summary, description, status, priority,
                         event_seq, any_seq, public_seq, created_at, updated_at)
    SELECT gen_random_uuid(), 900000 + a.n, (SELECT id FROM categories LIMIT 1), a.id, 'Summary ' || a.n,
           'Text ' || md5(a.n::text) || repeat(' of a person', 50), 'waiting_for_support', 'medium', 0, 0, 0, now(), now()
    FROM (SELECT id, row_number() OVER () AS n FROM accounts WHERE email LIKE 'c%') a";

#[tokio::test(flavor = "multi_thread")]
#[ignore = "takes minutes; run make verify-long"]
async fn a_large_installation_is_backed_up_and_restored() {
    let tickets = std::env::var("TEST_TICKETS").unwrap_or_else(|_| "1000000".to_owned());
    let (server, place) = (TestServer::start().await, Place::new());
    let anna = server.customer("Anna").await;
    for _ in 0..5 {
        ticket_with_file(&anna, &noise(5_000_000)).await;
    }
    server.quiet().await;
    let source = server.database.connect().await;
    source.batch_execute(&FILL.replace("$1", &tickets)).await.unwrap();
    let mut expected = Vec::new();
    for table in ["accounts", "tickets", "events", "attachments"] {
        let content = format!("SELECT count(*) FROM {table}");
        expected.push((content.clone(), count(&server.database, &content).await));
    }
    for (name, files) in [("backup", "files"), ("backup.tar", "files of the file")] {
        let backup = place.path(name);
        succeeded(&back_up(&server.database.url, &backup).await);
        succeeded(&verify(&backup).await);
        let database = TestDatabase::empty().await;
        succeeded(&restore(&backup, &database.url, &place.path(files)).await);
        for (content, expected) in &expected {
            assert_eq!(count(&database, content).await, *expected, "{content}");
        }
    }
    server.stop().await;
}
