//! The promises of the embedded database, tested with a real one.

use std::{
    fs,
    os::unix::fs::PermissionsExt as _,
    path::{Path, PathBuf},
    process,
    time::Duration,
};

use super::{
    EmbeddedError, EmbeddedPostgres, EmbeddedSettings, binaries::Binaries, log::Log,
    os_user::OsUser, running_url,
};

/// A data folder in the system's temporary folder, removed with its content at the end.
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
async fn one_process_runs_the_server_and_others_find_it() {
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
async fn after_a_drop_at_any_moment_the_server_starts_again() {
    let scratch = Scratch::new("drop");
    let unfinished = tokio::time::timeout(Duration::from_millis(300), scratch.start()).await;
    drop(unfinished);
    drop(scratch.start().await);
    let postgres = scratch.start().await;
    assert!(!scratch.file("postgres.unfinished").exists());
    postgres.stop().await.expect("it stops");
    assert!(!Log::has_writers(&scratch.0.data_dir).expect("readable"));
}

#[tokio::test]
async fn the_claim_of_a_server_that_has_ended_is_ignored() {
    let scratch = Scratch::new("claim");
    scratch.start().await.stop().await.expect("it stops");
    // As after a crash of the machine, when another process has the same id.
    let pid = process::id();
    fs::write(scratch.file("postgres/postmaster.pid"), format!("{pid}\n")).expect("writable");
    scratch.start().await.stop().await.expect("it stops");
}

#[tokio::test]
async fn a_database_of_another_major_version_is_not_changed() {
    let scratch = Scratch::new("major");
    fs::create_dir_all(scratch.file("postgres")).expect("creatable");
    fs::write(scratch.file("postgres/PG_VERSION"), "9\n").expect("writable");
    make_owner(&scratch.file("postgres"));

    let refused = EmbeddedPostgres::start(&scratch.0).await.expect_err("refused");
    assert!(matches!(refused, EmbeddedError::WrongMajor { cluster_major: 9, .. }), "{refused}");
    let version = fs::read_to_string(scratch.file("postgres/PG_VERSION"));
    assert_eq!(version.expect("readable"), "9\n");
}

#[tokio::test]
async fn what_was_looked_at_for_an_upgrade_is_named_if_nothing_newer_is_found() {
    let scratch = Scratch::new("newer");
    let folder = scratch.file("bin");
    fs::create_dir_all(&folder).expect("creatable");
    for name in ["postgres", "initdb"] {
        let program = folder.join(name);
        fs::write(&program, "#!/bin/sh\necho 'postgres (PostgreSQL) 15.18'\n").expect("writable");
        fs::set_permissions(&program, fs::Permissions::from_mode(0o755)).expect("set");
    }
    let user = OsUser::for_cluster(Path::new("/nonexistent")).expect("a user");
    let settings = EmbeddedSettings { bin_dir: Some(folder.clone()), ..scratch.0.clone() };
    let refused = Binaries::newer(&settings, &user, 15).await.expect_err("refused").to_string();
    let looked_at = format!("\nLooked at:\n{}: Postgres 15", folder.display());
    assert!(refused.ends_with(&looked_at), "{refused}");
    let newer = Binaries::newer(&settings, &user, 14).await.expect("newer programs");
    assert_eq!(newer.major(), 15);
}

/// Makes the user that runs the server the owner of a folder, as if it were a cluster.
fn make_owner(folder: &Path) {
    let user = OsUser::for_cluster(Path::new("/nonexistent")).expect("a user");
    user.take_ownership(folder).expect("its owner can be changed");
}
