//! The durable Postgres of a benchmark.

use std::{
    path::{Path, PathBuf},
    time::Duration,
};

use ticketwire::db::embedded::{EmbeddedPostgres, EmbeddedSettings};
use tokio::time;

/// Returns a folder for the data of this process. It does not exist yet.
pub fn temporary_folder() -> PathBuf {
    std::env::temp_dir().join(format!("ticketwire-bench-{}", std::process::id()))
}

/// Starts Postgres on a folder, which is created if it does not exist.
pub async fn start(folder: &Path, max_connections: u16) -> EmbeddedPostgres {
    let settings = EmbeddedSettings {
        data_dir: folder.to_owned(),
        bin_dir: None,
        cache_dir: None,
        durable: true,
        max_connections,
    };
    EmbeddedPostgres::start(&settings).await.expect("Postgres")
}

/// Stops Postgres and deletes its folder.
pub async fn delete(postgres: EmbeddedPostgres, folder: &Path) {
    drop(postgres);
    while std::fs::remove_dir_all(folder).is_err() && folder.exists() {
        time::sleep(Duration::from_millis(100)).await;
    }
}
