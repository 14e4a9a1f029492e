//! The promises of the embedded database, kept by a real one.

use std::{path::Path, process};

use super::*;

/// A data folder below the system's temporary folder, removed with its contents in the end.
struct Scratch(EmbeddedSettings);

impl Scratch {
    fn new(name: &str) -> Self {
        let name = format!("ticketwire-embedded-{name}-{}", process::id());
        Self(EmbeddedSettings {
            data_dir: std::env::temp_dir().join(name),
            bin_dir: None,
            cache_dir: None,
            durable: false,
            max_connections: 10,
        })
    }

    async fn start(&self) -> EmbeddedPostgres {
        EmbeddedPostgres::start(&self.0).await.expect("the database starts")
    }

    fn file(&self, name: &str) -> PathBuf {
        self.0.data_dir.join(name)
    }
}

impl Drop for Scratch {
    fn drop(&mut self) {
        let removed = fs::remove_dir_all(&self.0.data_dir);
        assert!(removed.is_ok() || std::thread::panicking(), "{removed:?}");
    }
}

#[tokio::test]
async fn one_process_runs_it_and_others_find_it() {
    let scratch = Scratch::new("lock");
    assert_eq!(running_url(&scratch.0, "postgres").expect("readable"), None);

    let postgres = scratch.start().await;
    let found = running_url(&scratch.0, "postgres").expect("readable");
    assert_eq!(found, Some(postgres.url("postgres")));
    let second = EmbeddedPostgres::start(&scratch.0).await.expect_err("locked");
    assert!(
        matches!(second, EmbeddedError::Locked { holder: Some(pid), .. } if pid == process::id()),
        "{second}"
    );

    postgres.stop().await.expect("it stops");
    assert_eq!(running_url(&scratch.0, "postgres").expect("readable"), None);
    assert!(!scratch.file("postgres/postmaster.pid").exists());
}

#[tokio::test]
async fn dropped_at_any_moment_it_leaves_nothing_in_the_way() {
    let scratch = Scratch::new("drop");
    let in_the_making = tokio::time::timeout(Duration::from_millis(300), scratch.start()).await;
    drop(in_the_making);
    drop(scratch.start().await);
    let postgres = scratch.start().await;
    assert!(!scratch.file("postgres.unfinished").exists());
    postgres.stop().await.expect("it stops");
    assert!(!Log::has_writers(&scratch.0.data_dir).expect("readable"));
}

#[tokio::test]
async fn claims_of_the_dead_do_not_count() {
    let scratch = Scratch::new("claim");
    scratch.start().await.stop().await.expect("it stops");
    // As after a crash of the machine, with the number now another process's.
    let pid = process::id();
    fs::write(scratch.file("postgres/postmaster.pid"), format!("{pid}\n")).expect("writable");
    scratch.start().await.stop().await.expect("it stops");
}

#[tokio::test]
async fn data_of_another_major_version_stay_as_they_are() {
    let scratch = Scratch::new("major");
    fs::create_dir_all(scratch.file("postgres")).expect("creatable");
    fs::write(scratch.file("postgres/PG_VERSION"), "9\n").expect("writable");
    give_away(&scratch.file("postgres"));

    let refused = EmbeddedPostgres::start(&scratch.0).await.expect_err("refused");
    assert!(matches!(refused, EmbeddedError::WrongMajor { cluster_major: 9, .. }), "{refused}");
    let version = fs::read_to_string(scratch.file("postgres/PG_VERSION"));
    assert_eq!(version.expect("readable"), "9\n");
}

/// Makes a folder that root has made look like a cluster's.
fn give_away(folder: &Path) {
    let user = OsUser::for_cluster(Path::new("/nonexistent")).expect("there is one");
    user.own(folder).expect("it can be given away");
}
