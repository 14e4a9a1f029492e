//! The targets of backups: what is refused, and what an interrupted or failed one leaves.

use std::{
    fs::{self, File},
    os::unix::fs::symlink,
    path::Path,
    process::Stdio,
};

use serde_json::{Value, json};
use sha2::{Digest as _, Sha256};
use tokio::process::Command;

use super::{
    Place, attachments, back_up, ledger, noise, older_database, refused, restore, small_backup,
    succeeded, ticket_with_file, verify, wait_for_lock,
};
use crate::harness::{TestServer, postgres::TestDatabase, process, server::SEALING_KEYS};

/// Changes the manifest of a backup, with its checksum.
pub(super) fn rewrite(backup: &str, change: impl FnOnce(&mut Value)) {
    let path = format!("{backup}/manifest.json");
    let mut value = serde_json::from_slice::<Value>(&fs::read(&path).unwrap()).unwrap();
    change(&mut value);
    let json = serde_json::to_vec_pretty(&value).unwrap();
    let digits = Sha256::digest(&json).iter().map(|byte| format!("{byte:02x}")).collect::<String>();
    fs::write(format!("{path}.sha256"), format!("{digits}  manifest.json\n")).unwrap();
    fs::write(path, json).unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn a_foreign_folder_and_a_backup_of_a_newer_version_are_refused() {
    let place = Place::new();
    let (server, backup) = small_backup(&place).await;
    let database = TestDatabase::empty().await;
    let foreign = place.path("foreign");
    fs::create_dir(&foreign).unwrap();
    fs::write(format!("{foreign}/notes.txt"), "mine").unwrap();
    for source in [foreign.clone(), place.path("nothing")] {
        refused(&verify(&source).await, &["is not a whole backup"]);
        let restored = restore(&source, &database.url, &place.path("files")).await;
        refused(&restored, &["is not a whole backup"]);
    }
    for target in [&foreign, &backup] {
        let taken = back_up(&server.database.url, target).await;
        refused(&taken, &["already exists and is not empty"]);
        // Nobody means a folder by this name.
        let packed = back_up(&server.database.url, &format!("{}.tar.gz", place.path("new"))).await;
        refused(&packed, &["one file whose name ends in .tar"]);
    }
    for url in
        ["s3:/bucket/nightly", "S3s://bucket/nightly", "file:///var/backups", "s3:///nightly"]
    {
        let supported = ["cannot be the place of a backup", "s3://BUCKET/PREFIX"];
        refused(&back_up(&server.database.url, url).await, &supported);
        refused(&verify(url).await, &supported);
        refused(&restore(url, &database.url, &place.path("files")).await, &supported);
    }
    for told in [
        back_up(&server.database.url, "").await,
        verify("").await,
        restore("", &database.url, &place.path("files")).await,
    ] {
        refused(&told, &["the path of the backup is empty: name a folder"]);
    }
    let pipe = place.path("pipe");
    let made = Command::new("mkfifo").arg(&pipe).status().await.unwrap();
    assert!(made.success());
    for device in ["/dev/null", &pipe] {
        refused(&verify(device).await, &[device, "it is neither a folder nor a tar archive"]);
    }
    // The folder for the backup cannot be created.
    symlink(place.path("nowhere"), place.path("dangling")).unwrap();
    for name in ["dangling/backup", "dangling/backup.tar"] {
        let target = place.path(name);
        let taken = back_up(&server.database.url, &target).await;
        refused(&taken, &[&target, "cannot be created: a part of its path", "Correct the path"]);
    }
    // Its disk may not be mounted.
    for name in ["absent/backup", "absent/backup.tar"] {
        let taken = back_up(&server.database.url, &place.path(name)).await;
        refused(&taken, &["absent does not exist: mount its disk, or create it"]);
    }
    assert!(!Path::new(&place.path("absent")).exists());
    // Upper case is as good.
    let taken = back_up(&server.database.url, "S3://bucket/nightly").await;
    refused(&taken, &["`storage.s3.region` is required for a backup in a bucket"]);
    // Nor does a backup clear a folder because of its name, or through a link.
    let (named, linked) = (place.path("named"), place.path("linked"));
    symlink(&foreign, format!("{linked}.unfinished")).unwrap();
    refused(&back_up(&server.database.url, &linked).await, &["linked.unfinished already exists"]);
    fs::rename(&foreign, format!("{named}.unfinished")).unwrap();
    refused(&back_up(&server.database.url, &named).await, &["named.unfinished already exists"]);
    fs::rename(format!("{named}.unfinished"), &foreign).unwrap();
    assert_eq!(fs::read_dir(&foreign).unwrap().count(), 1);
    rewrite(&backup, |manifest| {
        manifest["migrations"].as_array_mut().unwrap().push(json!("20990101000001"));
        manifest["schema"] = json!("20990101000001");
    });
    let restored = restore(&backup, &database.url, &place.path("files")).await;
    refused(&restored, &["newer version", "20990101000001"]);
    rewrite(&backup, |manifest| manifest["format"] = json!(2));
    refused(&verify(&backup).await, &["newer format", "use that version"]);
    server.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_backup_and_a_restore_whose_result_cannot_be_printed_are_whole() {
    let place = Place::new();
    let server = TestServer::start().await;
    let (target, empty) = (place.path("backup"), TestDatabase::empty().await);
    let unprinted = async |arguments: &[&str], url: &str, files: &str| {
        let (full, ledger) = (File::options().write(true).open("/dev/full").unwrap(), ledger(url));
        let variables = [
            ("DATABASE_URL", url),
            ("TICKETWIRE_STORAGE_FOLDER", files),
            ("TICKETWIRE_STORAGE_ERASURE_LEDGER", &ledger),
        ];
        let mut command = process::command(&variables);
        let child = command.args(arguments).stdout(full).spawn().unwrap();
        let ended = child.wait_with_output().await.unwrap();
        assert!(!ended.status.success());
        String::from_utf8(ended.stderr).unwrap()
    };
    let no_room = "standard output cannot be written: No space left on device";
    let said = unprinted(&["backup", &target], &server.database.url, &attachments()).await;
    assert!(said.contains(&format!("the backup to {target} is whole, but {no_room}")), "{said}");
    succeeded(&verify(&target).await);
    let said = unprinted(&["restore", &target], &empty.url, &place.path("files")).await;
    assert!(said.contains(&format!("the backup is restored, but {no_room}")), "{said}");
    server.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_killed_backup_is_not_taken_for_a_whole_one_and_the_next_one_replaces_it() {
    let place = Place::new();
    let (server, whole) = small_backup(&place).await;
    succeeded(&verify(&whole).await);
    let database = server.database.connect().await;
    // Before a backup copies this table, it must lock it.
    database.batch_execute("BEGIN; LOCK TABLE comments").await.unwrap();
    let (target, url) = (place.path("killed"), server.database.url.clone());
    let files = attachments();
    let variables = [("DATABASE_URL", url.as_str()), ("TICKETWIRE_STORAGE_FOLDER", &files)];
    let mut child = process::command(&variables).args(["backup", &target]).spawn().unwrap();
    wait_for_lock(&server.database, "LOCK").await;
    let second = back_up(&url, &target).await;
    refused(&second, &["another backup is being written"]);
    child.kill().await.unwrap();
    database.batch_execute("COMMIT").await.unwrap();
    let unfinished = format!("{target}.unfinished");
    for left in [&target, &unfinished] {
        refused(&verify(left).await, &["is not a whole backup"]);
    }
    fs::write(format!("{unfinished}/left"), "of the killed one").unwrap();
    succeeded(&back_up(&url, &target).await);
    succeeded(&verify(&target).await);
    assert!(!Path::new(&unfinished).exists() && !Path::new(&format!("{target}/left")).exists());
    server.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_mount_point_is_refused_as_a_target_before_anything_is_copied() {
    let (database, disk) = (older_database().await, Place::new());
    let script = "mount -t tmpfs tmpfs \"$1\" || exit 77
        \"$2\" backup \"$1\"; status=$?; ls -A \"$1\"; exit $status";
    let is_root = rustix::process::geteuid().is_root();
    let mut command = Command::new("unshare");
    command.arg(if is_root { "-m" } else { "-rm" }).args(["sh", "-c", script, "sh"]);
    command.args([disk.0.path().to_str().unwrap(), env!("CARGO_BIN_EXE_ticketwire")]);
    command
        .env("DATABASE_URL", &database.url)
        .env("TICKETWIRE_DATA_DIR", process::data_dir(&database.url));
    command.stdin(Stdio::null());
    let output = command.output().await.unwrap();
    let text = String::from_utf8_lossy(&output.stderr).into_owned();
    assert_eq!(output.status.code(), Some(1), "{text}");
    assert!(text.contains("is a mount point"), "{text}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_full_disk_ends_a_backup_with_a_sentence_and_leaves_nothing() {
    let server = TestServer::start().await;
    ticket_with_file(&server.customer("Anna").await, &noise(2_000_000)).await;
    let disk = Place::new();
    // A disk of one megabyte, which only this command sees.
    let script = "mount -t tmpfs -o size=1m tmpfs \"$1\" || exit 77
        \"$2\" backup \"$1/backup\"; status=$?; ls -A \"$1\"; exit $status";
    let is_root = rustix::process::geteuid().is_root();
    let mut command = Command::new("unshare");
    command.arg(if is_root { "-m" } else { "-rm" }).args(["sh", "-c", script, "sh"]);
    command.args([disk.0.path().to_str().unwrap(), env!("CARGO_BIN_EXE_ticketwire")]);
    command.env("DATABASE_URL", &server.database.url).stdin(Stdio::null());
    command.env("TICKETWIRE_STORAGE_FOLDER", attachments());
    command.env("TICKETWIRE_DATA_DIR", process::data_dir(&server.database.url));
    let output = command.output().await.unwrap();
    let text = String::from_utf8_lossy(&output.stderr).into_owned();
    assert_eq!(output.status.code(), Some(1), "{text}");
    assert!(text.contains("the disk is full") && text.contains("Free space"), "{text}");
    assert_eq!(String::from_utf8_lossy(&output.stdout), "", "nothing is left");
    server.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_restore_onto_a_full_disk_says_how_to_go_on_and_can_be_run_again() {
    let (server, place, disk) = (TestServer::start().await, Place::new(), Place::new());
    ticket_with_file(&server.customer("Anna").await, &noise(2_000_000)).await;
    let backup = place.path("backup");
    succeeded(&back_up(&server.database.url, &backup).await);
    let database = TestDatabase::empty().await;
    // A disk of one megabyte, which only this command sees.
    let script = "mount -t tmpfs -o size=1m tmpfs \"$1\" || exit 77; exec \"$2\" restore \"$3\"";
    let is_root = rustix::process::geteuid().is_root();
    let mut command = Command::new("unshare");
    command.arg(if is_root { "-m" } else { "-rm" }).args(["sh", "-c", script, "sh"]);
    let folder = disk.0.path().to_str().unwrap();
    command.args([folder, env!("CARGO_BIN_EXE_ticketwire"), &backup]);
    command.env("DATABASE_URL", &database.url).stdin(Stdio::null());
    command.env("TICKETWIRE_SECURITY_SEALING_KEYS", SEALING_KEYS);
    command.env("TICKETWIRE_STORAGE_FOLDER", folder);
    command.env("TICKETWIRE_STORAGE_ERASURE_LEDGER", ledger(&database.url));
    command.env("TICKETWIRE_DATA_DIR", process::data_dir(&database.url));
    let output = command.output().await.unwrap();
    let text = String::from_utf8_lossy(&output.stderr).into_owned();
    assert_eq!(output.status.code(), Some(1), "{text}");
    for words in ["No space left on device", "run the same command again"] {
        assert!(text.contains(words), "no `{words}`: {text}");
    }
    succeeded(&restore(&backup, &database.url, &place.path("files")).await);
    server.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_path_may_lead_through_the_parent_of_a_folder() {
    let place = Place::new();
    let (server, _) = small_backup(&place).await;
    fs::create_dir(place.path("folder")).unwrap();
    for target in ["folder/../dots", "folder/../dots.tar"] {
        let target = place.path(target);
        succeeded(&back_up(&server.database.url, &target).await);
        succeeded(&verify(&target).await);
        let database = TestDatabase::empty().await;
        let files = place.path("folder/../files");
        succeeded(&restore(&target, &database.url, &files).await);
    }
    let mut names = fs::read_dir(place.0.path()).unwrap().map(|entry| entry.unwrap().file_name());
    let has = |name: &str| Path::new(&place.path(name)).exists();
    assert!(has("dots/manifest.json") && has("dots.tar") && has("files"), "{names:?}");
    assert!(!names.any(|name| name.to_string_lossy().contains("unfinished")));
    server.stop().await;
}
