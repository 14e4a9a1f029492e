//! Backups in a bucket, whose objects cannot be renamed.

use std::sync::Arc;

use object_store::{ObjectStore, memory::InMemory};
use uuid::Uuid;

use super::*;
use crate::domain::{
    backup::{Attachments, Table},
    clock::{Clock as _, SystemClock},
    ids::AttachmentId,
};

/// A bucket in memory, under a prefix.
fn bucket(store: &Arc<InMemory>) -> Archive {
    let store = Arc::clone(store) as Arc<dyn ObjectStore>;
    let place = "s3://bucket/nightly".to_owned();
    Archive { store, root: Path::from("nightly"), place, part_size: BUCKET_PART }
}

/// A run that begins this number of hours from now.
fn run(hours: i64) -> Run {
    let began_at = SystemClock.now() + TimeDelta::hours(hours);
    Run { id: Uuid::from_u128(hours.unsigned_abs().into()), began_at }
}

async fn names(store: &InMemory) -> Vec<String> {
    let listed = store.list(None).map_ok(|object| object.location.to_string());
    let mut names = listed.try_collect::<Vec<_>>().await.expect("listed");
    names.sort();
    names
}

/// Writes a table and a file.
async fn write(archive: &Archive) -> Manifest {
    let mut rows = archive.write_part("database/accounts.gz").await.expect("begun");
    rows.write(b"1\tAnna\n2\tBoris\n").await.expect("written");
    let part = rows.finish().await.expect("finished");
    let (name, columns) = ("accounts".to_owned(), vec!["id".to_owned(), "name".to_owned()]);
    let id = AttachmentId(Uuid::nil());
    let mut object = archive.write_object(&format!("attachments/{}", id.0)).await.expect("begun");
    object.write(Bytes::from_static(b"content")).await.expect("written");
    let (bytes, sha256) = object.finish().await.expect("finished");
    let mut index = archive.write_part("attachments.gz").await.expect("begun");
    index.write(format!("{}\t{bytes}\t{sha256}\n", id.0).as_bytes()).await.expect("written");
    let index = index.finish().await.expect("finished");
    Manifest {
        format: FORMAT,
        program: "0.1.0".to_owned(),
        created_at: "2026-11-26T08:00:00Z".parse().expect("a time"),
        schema: "1".to_owned(),
        migrations: vec!["1".to_owned()],
        sealing_keys: vec![],
        tables: vec![Table { name, columns, part }],
        sequences: vec![],
        attachments: Some(Attachments { index, files: 1, bytes, absent: vec![], lost: vec![] }),
    }
}

#[tokio::test]
async fn a_backup_in_a_bucket_is_whole_once_it_has_a_manifest() {
    let store = Arc::new(InMemory::new());
    let new = NewArchive::under_prefix(bucket(&store), run(0)).await.expect("begun");
    let manifest = write(new.archive()).await;
    let unfinished = bucket(&store).manifest().await.expect_err("unfinished");
    assert!(matches!(unfinished, ArchiveError::NotABackup(_)), "{unfinished}");
    new.finish(&manifest).await.expect("finished");

    let archive = bucket(&store);
    assert_eq!(archive.manifest().await.expect("whole"), manifest);
    let mut rows = archive.read_part(&manifest.tables[0].part).await.expect("found");
    assert_eq!(rows.next().await.expect("read").expect("rows"), "1\tAnna\n2\tBoris\n");
    assert_eq!(rows.next().await.expect("whole"), None);
    let attachments = manifest.attachments.expect("one");
    let mut index = archive.read_index(&attachments.index).await.expect("found");
    let file = index.next().await.expect("read").expect("a file");
    let mut content = archive.read_file(&file).await.expect("found");
    assert_eq!(content.next().await.expect("read").expect("bytes"), "content");
    assert_eq!(content.next().await.expect("whole"), None);
    assert_eq!(names(&store).await.iter().filter(|name| name.ends_with(UNFINISHED)).count(), 0);
}

#[tokio::test]
async fn only_the_objects_of_an_interrupted_backup_are_removed_from_a_bucket() {
    let store = Arc::new(InMemory::new());
    let interrupted = NewArchive::under_prefix(bucket(&store), run(0)).await.expect("begun");
    write(interrupted.archive()).await;
    drop(interrupted);
    let early = NewArchive::under_prefix(bucket(&store), run(0)).await.err().expect("refused");
    assert!(matches!(early, ArchiveError::Recent { .. }), "{early}");
    store.put(&Path::from("nightly-notes"), "mine".into()).await.expect("put");
    let again = NewArchive::under_prefix(bucket(&store), run(2)).await.expect("begun again");
    assert_eq!(names(&store).await, ["nightly-notes", "nightly/unfinished"]);
    write(again.archive()).await;
    again.abandon().await.expect("abandoned");
    assert_eq!(names(&store).await, ["nightly-notes"]);

    store.put(&Path::from("nightly/notes"), "mine".into()).await.expect("put");
    let used = NewArchive::under_prefix(bucket(&store), run(0)).await.err().expect("used");
    assert!(matches!(used, ArchiveError::Occupied(_)), "{used}");
    assert_eq!(names(&store).await, ["nightly-notes", "nightly/notes"]);
}

#[tokio::test]
async fn a_backup_whose_place_in_a_bucket_was_taken_completes_and_removes_nothing() {
    let store = Arc::new(InMemory::new());
    let first = NewArchive::under_prefix(bucket(&store), run(0)).await.expect("begun");
    let manifest = write(first.archive()).await;
    let second = NewArchive::under_prefix(bucket(&store), run(2)).await.expect("begun");
    let manifest_of_second = write(second.archive()).await;
    let replaced = first.finish(&manifest).await.expect_err("replaced");
    assert!(matches!(replaced, ArchiveError::Replaced(_)), "{replaced}");
    first.abandon().await.expect("abandoned");
    second.finish(&manifest_of_second).await.expect("finished");
    assert_eq!(bucket(&store).manifest().await.expect("whole"), manifest_of_second);
}

#[tokio::test]
async fn a_slash_at_the_end_of_a_target_is_no_part_of_its_name() {
    let folder = tempfile::tempdir().expect("a folder");
    let target = folder.path().join("nightly");
    for _ in 0..2 {
        let new = NewArchive::in_folder(&target.join("")).expect("begun");
        let manifest = write(new.archive()).await;
        assert!(folder.path().join("nightly.unfinished").exists());
        new.finish(&manifest).await.expect("finished");
        assert!(target.join(MANIFEST).exists());
        // An empty folder is replaced too.
        fs::remove_dir_all(&target).expect("removed");
        fs::create_dir(&target).expect("created");
    }
    let nameless = NewArchive::in_folder(&folder.path().join("..")).err().expect("refused");
    assert!(matches!(nameless, ArchiveError::Occupied(_) | ArchiveError::NoName(_)), "{nameless}");
    let link = folder.path().join("link");
    std::os::unix::fs::symlink(&target, &link).expect("linked");
    let link = NewArchive::in_folder(&link).err().expect("refused");
    assert!(matches!(link, ArchiveError::Irreplaceable(_)), "{link}");
}

#[tokio::test]
async fn a_part_that_expands_a_lot_is_read_in_small_pieces() {
    let store = Arc::new(InMemory::new());
    let archive = bucket(&store);
    let mut part = archive.write_part("zeros").await.expect("begun");
    for _ in 0..4 {
        part.write(&vec![0; 1 << 20]).await.expect("written");
    }
    let part = part.finish().await.expect("finished");
    assert!(part.bytes < 1 << 16);
    let (mut reader, mut size) = (archive.read_part(&part).await.expect("found"), 0);
    while let Some(bytes) = reader.next().await.expect("read") {
        assert!(bytes.len() <= 1 << 21);
        size += bytes.len();
    }
    assert_eq!(size, 4 << 20);
}
