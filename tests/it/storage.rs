//! The storage of attachments: a node uses that of the installation only.

use std::{
    fs,
    path::{Path, PathBuf},
};

use chrono::TimeDelta;
use reqwest::StatusCode;
use serde_json::json;

use crate::{
    attachment::{COMMENT, upload},
    doctor::{Report, STORAGE_KNOWN, until},
    harness::{Client, TestServer, process::run},
    metrics::{start_with_metrics, until_metric},
    redaction::redact_attachment,
};

const UP: &str = "ticketwire_storage_up{}";

/// A server whose folder of attachments is known to the database, and a ticket.
struct Fixture {
    server: TestServer,
    folder: PathBuf,
    _place: tempfile::TempDir,
}

impl Fixture {
    async fn start() -> Self {
        let place = tempfile::tempdir().unwrap();
        let folder = place.path().join("attachments");
        let server = start_with_metrics(&[("storage.folder", text(&folder))]).await;
        until(&server.database, STORAGE_KNOWN).await;
        Self { server, folder, _place: place }
    }

    /// Unmounts the disk of the folder: what is left is the empty folder below it.
    async fn unmount(&self) {
        fs::rename(&self.folder, self.away()).unwrap();
        fs::create_dir(&self.folder).unwrap();
        until_metric(&self.server, UP, |up| up == 0.0).await;
    }

    /// Mounts the disk again.
    async fn mount(&self) {
        // Fails if anything was stored in it.
        fs::remove_dir(&self.folder).unwrap();
        fs::rename(self.away(), &self.folder).unwrap();
        until_metric(&self.server, UP, |up| up == 1.0).await;
    }

    fn away(&self) -> PathBuf {
        self.folder.with_extension("away")
    }
}

fn text(path: &Path) -> String {
    path.to_str().unwrap().to_owned()
}

/// Comments on a ticket with a file.
async fn comment(client: &Client, ticket: &str) -> crate::harness::client::Reply {
    let input = json!({ "ticketId": ticket, "body": "see the file" });
    upload(client, COMMENT, input, &[("tulip.txt", b"tulip")]).await
}

/// How many files a folder holds, without the id of the storage.
fn files(folder: &Path) -> usize {
    let entries = fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().file_name());
    entries.filter(|name| name != "storage-id").count()
}

#[tokio::test(flavor = "multi_thread")]
async fn the_folder_of_a_disk_that_is_not_mounted_is_not_used() {
    let mut fixture = Fixture::start().await;
    let Fixture { server, folder, .. } = &fixture;
    let (anna, marta) = (server.customer("Anna").await, server.agent("Marta").await);
    let ticket = anna.create_ticket("one").await;
    let reply = comment(&anna, &ticket.id).await;
    let file = reply.at("/data/addComment/comment/attachments/0/id").as_str().unwrap().to_owned();
    fixture.unmount().await;
    let before = server.content().await;
    let refused = comment(&anna, &ticket.id).await;
    assert_eq!((refused.status, refused.code()), (StatusCode::SERVICE_UNAVAILABLE, "UNAVAILABLE"));
    let id = refused.at("/errors/0/extensions/requestId").as_str().unwrap();
    assert_eq!(refused.headers["x-request-id"], id);
    assert_eq!(server.content().await, before);
    let report =
        Report::of(&server.database, &[("TICKETWIRE_STORAGE_FOLDER", &text(folder))]).await;
    report.assert_failed("node_storage", "has no id", "ticketwire accept-storage");
    let redacted = redact_attachment(&marta, &file).await;
    assert_eq!(redacted.user_errors("redactAttachment"), [] as [&str; 0]);
    assert_eq!(files(&fixture.away()), 1);
    fixture.mount().await;
    // The deletion is tried again.
    server.clock.advance(TimeDelta::minutes(11));
    fixture.server.restart_with(&[("storage.folder", text(&fixture.folder))]).await;
    until(&fixture.server.database, "(SELECT count(*) FROM attachments) = 0").await;
    assert_eq!(files(&fixture.folder), 0);
    fixture.server.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn another_storage_is_used_once_it_is_accepted() {
    let fixture = Fixture::start().await;
    let Fixture { server, folder, .. } = &fixture;
    let anna = server.customer("Anna").await;
    let ticket = anna.create_ticket("one").await;
    comment(&anna, &ticket.id).await;
    fixture.unmount().await;
    let variables = [
        ("DATABASE_URL", server.database.url.as_str()),
        ("TICKETWIRE_STORAGE_FOLDER", folder.to_str().unwrap()),
    ];
    let accepted = run(&["accept-storage"], &variables, "").await;
    assert!(accepted.success, "{}", accepted.stderr);
    assert!(accepted.stdout.contains("none of the 1 newest"), "{}", accepted.stdout);
    until_metric(server, UP, |up| up == 1.0).await;
    let reply = comment(&anna, &ticket.id).await;
    assert_eq!(reply.user_errors("addComment"), [] as [&str; 0]);
    assert_eq!(files(folder), 1);
    let without = run(&["accept-storage"], &variables[..1], "").await;
    assert!(!without.success && without.stderr.contains("storage.folder"), "{}", without.stderr);
    fixture.server.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_node_that_does_not_know_the_storage_looks_for_its_files() {
    let fixture = Fixture::start().await;
    let Fixture { server, .. } = &fixture;
    let anna = server.customer("Anna").await;
    let ticket = anna.create_ticket("one").await;
    comment(&anna, &ticket.id).await;
    let forget = "UPDATE installation SET storage_id = NULL";
    fs::rename(&fixture.folder, fixture.away()).unwrap();
    fs::create_dir(&fixture.folder).unwrap();
    server.database.connect().await.batch_execute(forget).await.unwrap();
    until_metric(server, UP, |up| up == 0.0).await;
    let refused = comment(&anna, &ticket.id).await;
    assert_eq!((refused.status, refused.code()), (StatusCode::SERVICE_UNAVAILABLE, "UNAVAILABLE"));
    until(&server.database, &format!("NOT {STORAGE_KNOWN}")).await;
    fixture.mount().await;
    until(&server.database, STORAGE_KNOWN).await;
    fixture.server.stop().await;
}
