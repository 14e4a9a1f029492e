//! Backups in a bucket, whose objects cannot be renamed.

use std::{
    fs,
    io::Read as _,
    path::{Path as FilePath, PathBuf},
    process::Command,
    sync::Arc,
    time::Duration,
};

use axum::body::Bytes;
use futures_util::TryStreamExt as _;
use object_store::{ObjectStore, ObjectStoreExt as _, memory::InMemory, path::Path};
use uuid::Uuid;

use super::{
    Archive, ArchiveError, NewArchive, Run,
    layout::{MANIFEST, UNFINISHED},
    lease::Prefix,
};
use crate::domain::{
    backup::{Attachments, FORMAT, Manifest, Table},
    clock::{Clock as _, SystemClock},
    ids::AttachmentId,
};

/// For how long the mark of a backup is watched.
const PATIENCE: Duration = Duration::from_millis(1);

/// A bucket in memory, under a prefix.
fn bucket(store: &Arc<InMemory>) -> Archive {
    let store = Arc::clone(store) as Arc<dyn ObjectStore>;
    let place = "s3://bucket/nightly".to_owned();
    Archive::below(store, Path::from("nightly"), place)
}

fn run(id: u128) -> Run {
    Run { id: Uuid::from_u128(id), began_at: SystemClock.now() }
}

/// Starts a backup in the bucket.
async fn begin(store: &Arc<InMemory>, id: u128) -> Result<NewArchive, ArchiveError> {
    let store = Arc::clone(store) as Arc<dyn ObjectStore>;
    let (root, place) = (Path::from("nightly"), "s3://bucket/nightly".to_owned());
    NewArchive::under_prefix(Prefix { store, root, place, run: run(id) }, PATIENCE).await
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
        left_out: vec![],
        sequences: vec![],
        attachments: Some(Attachments { index, files: 1, bytes, absent: vec![], lost: vec![] }),
    }
}

#[tokio::test]
async fn a_backup_in_a_bucket_is_whole_once_it_has_a_manifest() {
    let store = Arc::new(InMemory::new());
    let new = begin(&store, 0).await.expect("begun");
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
    let interrupted = begin(&store, 0).await.expect("begun");
    write(interrupted.archive()).await;
    // One that is being written renews its mark.
    let (early, renewed) = tokio::join!(begin(&store, 1), interrupted.renew());
    assert!(renewed.expect("renewed"));
    let early = early.err().expect("refused");
    assert!(matches!(early, ArchiveError::Busy(_)), "{early}");
    drop(interrupted);
    store.put(&Path::from("nightly-notes"), "mine".into()).await.expect("put");
    let again = begin(&store, 2).await.expect("begun again");
    assert_eq!(names(&store).await, ["nightly-notes", "nightly/unfinished"]);
    write(again.archive()).await;
    again.abandon().await.expect("abandoned");
    assert_eq!(names(&store).await, ["nightly-notes"]);

    store.put(&Path::from("nightly/notes"), "mine".into()).await.expect("put");
    let used = begin(&store, 3).await.err().expect("used");
    assert!(matches!(used, ArchiveError::Occupied(_)), "{used}");
    assert_eq!(names(&store).await, ["nightly-notes", "nightly/notes"]);
}

#[tokio::test]
async fn a_backup_whose_place_in_a_bucket_was_taken_completes_and_removes_nothing() {
    let store = Arc::new(InMemory::new());
    let first = begin(&store, 0).await.expect("begun");
    let manifest = write(first.archive()).await;
    let second = begin(&store, 2).await.expect("begun");
    assert!(!first.renew().await.expect("asked"), "another run has the prefix");
    let manifest_of_second = write(second.archive()).await;
    let replaced = first.finish(&manifest).await.expect_err("replaced");
    assert!(matches!(replaced, ArchiveError::Replaced(_)), "{replaced}");
    first.abandon().await.expect("abandoned");
    second.finish(&manifest_of_second).await.expect("finished");
    assert_eq!(bucket(&store).manifest().await.expect("whole"), manifest_of_second);
}

#[tokio::test]
async fn an_interrupted_backup_above_others_removes_none_of_them() {
    let store = Arc::new(InMemory::new());
    drop(begin(&store, 0).await.expect("begun"));
    let others = ["nightly/2026-11-26/manifest.json", "nightly/2026-11-26/database/accounts.gz"];
    for name in others {
        store.put(&Path::from(name), "whole".into()).await.expect("put");
    }
    let before = names(&store).await;
    let refused = begin(&store, 1).await.err().expect("refused");
    assert!(matches!(refused, ArchiveError::Occupied(_)), "{refused}");
    assert_eq!(names(&store).await, before);
    // Nor do objects that come while the backup is written.
    let store = Arc::new(InMemory::new());
    let new = begin(&store, 0).await.expect("begun");
    write(new.archive()).await;
    store.put(&Path::from(others[0]), "whole".into()).await.expect("put");
    new.abandon().await.expect("abandoned");
    assert_eq!(names(&store).await, others[..1]);
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

/// A backup in a file of this folder, and its manifest.
async fn in_file(folder: &FilePath) -> (PathBuf, Manifest) {
    let target = folder.join("nightly.tar");
    let new = NewArchive::in_file(&target, run(0)).expect("begun");
    let manifest = write(new.archive()).await;
    // An object that is discarded leaves nothing.
    let mut discarded = new.archive().write_object("attachments/x").await.expect("begun");
    discarded.write(Bytes::from(vec![1; 1 << 20])).await.expect("written");
    discarded.abandon().await.expect("discarded");
    assert!(!target.exists());
    let busy = NewArchive::in_file(&target, run(1)).err().expect("refused");
    assert!(matches!(busy, ArchiveError::Busy(_)), "{busy}");
    new.finish(&manifest).await.expect("finished");
    (target, manifest)
}

/// Reads all of a backup.
async fn read(archive: &Archive) -> Result<Manifest, ArchiveError> {
    let manifest = archive.manifest().await?;
    let attachments = manifest.attachments.as_ref().expect("attachments");
    // The file before the table: in another order than they were written.
    let mut index = archive.read_index(&attachments.index).await?;
    while let Some(file) = index.next().await? {
        let mut content = archive.read_file(&file).await?;
        while content.next().await?.is_some() {}
    }
    let mut rows = archive.read_part(&manifest.tables[0].part).await?;
    while rows.next().await?.is_some() {}
    Ok(manifest)
}

#[tokio::test]
async fn a_backup_in_a_file_is_a_tar_archive_with_the_objects_of_a_folder() {
    let folder = tempfile::tempdir().expect("a folder");
    let (target, manifest) = in_file(folder.path()).await;
    assert_eq!(read(&Archive::in_file(&target).expect("opened")).await.expect("whole"), manifest);
    let again = NewArchive::in_file(&target, run(1)).err().expect("refused");
    assert!(matches!(again, ArchiveError::Exists(_)), "{again}");
    assert_eq!(fs::read_dir(folder.path()).expect("listed").count(), 1, "only the backup");

    let extracted = folder.path().join("extracted");
    fs::create_dir(&extracted).expect("created");
    let mut tar = Command::new("tar");
    let output = tar.arg("-xf").arg(&target).arg("-C").arg(&extracted).output().expect("tar");
    assert_eq!(String::from_utf8_lossy(&output.stderr), "");
    let extracted = Archive::in_folder(&extracted).expect("opened");
    assert_eq!(read(&extracted).await.expect("whole"), manifest);
}

/// Runs tar in a folder.
fn tar(folder: &FilePath, arguments: &[&str]) {
    let output = Command::new("tar").args(arguments).current_dir(folder).output().expect("tar");
    assert!(output.status.success(), "{arguments:?}: {output:?}");
}

#[tokio::test]
async fn a_backup_in_a_file_may_be_packed_again_by_hand() {
    let folder = tempfile::tempdir().expect("a folder");
    let (_, manifest) = in_file(folder.path()).await;
    let long = format!("backup-{}", "0".repeat(93));
    for name in ["backup", &long] {
        fs::create_dir(folder.path().join(name)).expect("created");
        tar(folder.path(), &["-xf", "nightly.tar", "-C", name]);
    }
    let (below, long) = (format!("./{long}"), long.as_str());
    let packed = folder.path().join("packed.tar");
    for arguments in [
        &["--format=gnu", "-cf", "packed.tar", "-C", "backup", "."][..],
        &["--format=ustar", "-cf", "packed.tar", "./backup"],
        &["--format=gnu", "-cf", "packed.tar", "backup/"],
        &["--format=gnu", "-cf", "packed.tar", &below],
        &["--format=posix", "-cf", "packed.tar", "./backup"],
        &["--format=posix", "-cf", "packed.tar", long],
    ] {
        tar(folder.path(), arguments);
        let archive = Archive::in_file(&packed).expect("opened");
        let found = read(&archive).await.unwrap_or_else(|error| panic!("{arguments:?}: {error}"));
        assert_eq!(found, manifest, "{arguments:?}");
    }
    tar(folder.path(), &["-cf", "packed.tar", "./backup", long]);
    let several = Archive::in_file(&packed).err().expect("refused").to_string();
    assert!(several.contains("several backups"), "{several}");
}

/// Changes the names and the types of the entries of an archive, whose names are short.
fn change(archive: &FilePath, change: impl Fn(&str) -> (String, tar::EntryType)) {
    let bytes = fs::read(archive).expect("read");
    let mut changed = Vec::new();
    for entry in tar::Archive::new(bytes.as_slice()).entries().expect("entries") {
        let mut entry = entry.expect("an entry");
        let mut header = entry.header().clone();
        let (name, kind) = change(entry.path().expect("a name").to_str().expect("UTF-8"));
        let field = &mut header.as_old_mut().name;
        field.fill(0);
        field[..name.len()].copy_from_slice(name.as_bytes());
        header.set_entry_type(kind);
        header.set_cksum();
        changed.extend_from_slice(header.as_bytes());
        entry.read_to_end(&mut changed).expect("read");
        changed.resize(changed.len().next_multiple_of(512), 0);
    }
    changed.resize(changed.len() + 1024, 0);
    fs::write(archive, changed).expect("written");
}

#[tokio::test]
async fn names_that_lead_elsewhere_and_links_are_no_part_of_a_backup_in_a_file() {
    let folder = tempfile::tempdir().expect("a folder");
    let (target, manifest) = in_file(folder.path()).await;
    let whole = fs::read(&target).expect("read");
    for start in ["/", "//", "../", "./../", "backup/../", "backup/../../"] {
        fs::write(&target, &whole).expect("written");
        change(&target, |name| (format!("{start}{name}"), tar::EntryType::Regular));
        let elsewhere = read(&Archive::in_file(&target).expect("opened")).await;
        let elsewhere = elsewhere.expect_err("refused");
        assert!(matches!(elsewhere, ArchiveError::NotABackup(_)), "{start}: {elsewhere}");
    }
    for kind in [tar::EntryType::Symlink, tar::EntryType::Link, tar::EntryType::Directory] {
        for object in [MANIFEST, "attachments.gz"] {
            fs::write(&target, &whole).expect("written");
            let regular = tar::EntryType::Regular;
            change(&target, |name| (name.to_owned(), if name == object { kind } else { regular }));
            let linked = read(&Archive::in_file(&target).expect("opened")).await;
            let linked = linked.expect_err("refused");
            assert!(
                matches!(linked, ArchiveError::NotABackup(_) | ArchiveError::Missing { .. }),
                "{object} {kind:?}: {linked}"
            );
        }
    }
    fs::write(&target, &whole).expect("written");
    change(&target, |name| (format!("././/{name}"), tar::EntryType::Regular));
    let read = read(&Archive::in_file(&target).expect("opened")).await;
    assert_eq!(read.expect("whole"), manifest);
}

#[tokio::test]
async fn a_compressed_file_is_refused_with_the_program_that_decompresses_it() {
    let folder = tempfile::tempdir().expect("a folder");
    let (target, _) = in_file(folder.path()).await;
    tar(folder.path(), &["-czf", "packed.tar.gz", "nightly.tar"]);
    let packed = folder.path().join("packed.tar.gz");
    let zipped = fs::read(&packed).expect("read");
    let path = target.display();
    for (bytes, program) in [
        (zipped.as_slice(), "gunzip"),
        (b"BZh91AY&SY", "bunzip2"),
        (b"\xfd7zXZ\0rest", "xz"),
        (b"\x28\xb5\x2f\xfdrest", "zstd"),
    ] {
        fs::write(&target, bytes).expect("written");
        let refused = Archive::in_file(&target).err().expect("refused").to_string();
        let expected = format!(
            "{path} is compressed: decompress it (`{program} -dc {path} > NAME.tar`) and name the new file"
        );
        assert_eq!(refused, expected);
    }
}

#[tokio::test]
async fn a_file_that_was_cut_at_any_place_or_damaged_is_refused() {
    let folder = tempfile::tempdir().expect("a folder");
    let (target, _) = in_file(folder.path()).await;
    let whole = fs::read(&target).expect("read");
    let check = async |bytes: &[u8]| {
        fs::write(&target, bytes).expect("written");
        match Archive::in_file(&target) {
            Ok(archive) => read(&archive).await.map(drop),
            Err(error) => Err(error),
        }
    };
    for length in (0..whole.len() - 1024).step_by(97) {
        let cut = check(&whole[..length]).await.expect_err("cut");
        let expected = matches!(cut, ArchiveError::Cut(_) | ArchiveError::NotATar(_));
        assert!(expected, "{length}: {cut}");
    }
    for place in (0..whole.len() - 1024).step_by(61) {
        let mut bytes = whole.clone();
        bytes[place] ^= 1;
        match check(&bytes).await {
            // The zeros that fill up the last block of an entry.
            Ok(()) => assert_eq!(whole[place], 0, "{place}"),
            Err(error) => assert!(
                matches!(
                    error,
                    ArchiveError::Damaged { .. } | ArchiveError::NotATar(_) | ArchiveError::Cut(_)
                ),
                "{place}: {error}"
            ),
        }
    }
}

#[tokio::test]
async fn what_is_not_of_a_backup_is_refused_before_it_fills_the_memory() {
    let store = Arc::new(InMemory::new());
    let archive = bucket(&store);
    let zeros = Bytes::from(vec![0; 64 * 1024 * 1024 + 1]);
    store.put(&Path::from("nightly").join(MANIFEST), zeros.clone().into()).await.expect("stored");
    let error = archive.manifest().await.expect_err("refused").to_string();
    assert!(error.contains("it has more than 67108864 bytes"), "{error}");

    let mut part = archive.write_part("attachments.gz").await.expect("begun");
    part.write(&zeros).await.expect("written");
    let part = part.finish().await.expect("finished");
    let mut lines = archive.read_lines(&part).await.expect("opened");
    let error = lines.next().await.expect_err("refused").to_string();
    assert!(error.contains("a line has more than 1048576 bytes"), "{error}");
}

#[tokio::test]
async fn a_folder_that_has_its_name_is_a_whole_backup_whatever_becomes_of_its_lock() {
    let folder = tempfile::tempdir().expect("a folder");
    let target = folder.path().join("nightly");
    let new = NewArchive::in_folder(&target).expect("begun");
    let manifest = write(new.archive()).await;
    fs::remove_file(folder.path().join("nightly.unfinished").join(UNFINISHED)).expect("removed");
    new.finish(&manifest).await.expect("finished");
    let archive = Archive::in_folder(&target).expect("found");
    assert_eq!(archive.manifest().await.expect("whole"), manifest);
}
