//! The Postgres that the benchmark starts, and its CPU time and statements.

use std::path::{Path, PathBuf};

use ticketwire::db::embedded::EmbeddedPostgres;
use tokio_postgres::Client;

use super::{cpu, database::connect, postgres};

/// Connections of the benchmark and of the server outside its pool.
const SPARE_CONNECTIONS: usize = 40;
/// The fields of `/proc/…/stat` that count the time of a process and of its children that have ended.
const WITH_ENDED_CHILDREN: [usize; 4] = [11, 12, 13, 14];

/// A durable Postgres.
pub struct Cluster {
    postgres: EmbeddedPostgres,
    folder: PathBuf,
    kept: bool,
    client: Client,
    counts_statements: bool,
}

impl Cluster {
    /// Starts Postgres for a number of clients, on a folder that is kept, or on a temporary one.
    pub async fn start(keep: Option<&Path>, clients: usize) -> Self {
        let folder = keep.map_or_else(postgres::temporary_folder, Path::to_owned);
        let connections = u16::try_from(2 * clients + SPARE_CONNECTIONS).expect("fewer clients");
        let mut postgres = postgres::start(&folder, connections).await;
        let mut client = connect(&postgres.url("postgres")).await;
        if must_restart_to_count(&client).await {
            drop(client);
            postgres.stop().await.expect("an end");
            postgres = postgres::start(&folder, connections).await;
            client = connect(&postgres.url("postgres")).await;
        }
        let create = "CREATE EXTENSION IF NOT EXISTS pg_stat_statements";
        let counts_statements = client.batch_execute(create).await.is_ok();
        Self { postgres, folder, kept: keep.is_some(), client, counts_statements }
    }

    /// Returns the URL of a database.
    pub fn url(&self, database: &str) -> String {
        self.postgres.url(database)
    }

    /// Creates a database for a dataset and returns `true`, unless there is one that was loaded
    /// completely.
    pub async fn create_unless_loaded(&self, database: &str) -> bool {
        let query = "SELECT FROM pg_database
            WHERE datname = $1 AND shobj_description(oid, 'pg_database') = 'loaded'";
        if self.client.query_opt(query, &[&database]).await.expect("an answer").is_some() {
            return false;
        }
        for statement in ["DROP DATABASE IF EXISTS", "CREATE DATABASE"] {
            let statement = format!("{statement} {database}");
            self.client.batch_execute(&statement).await.expect("a database");
        }
        true
    }

    /// Notes that a database was loaded completely.
    pub async fn mark_loaded(&self, database: &str) {
        let statement = format!("COMMENT ON DATABASE {database} IS 'loaded'");
        self.client.batch_execute(&statement).await.expect("a comment");
    }

    /// Returns the CPU time of all processes of the cluster so far, in seconds.
    pub fn cpu(&self) -> f64 {
        let postmaster = self.postgres.pid();
        let all = std::fs::read_dir("/proc").expect("Linux").flatten();
        let pids = all.filter_map(|entry| entry.file_name().to_str()?.parse::<u32>().ok());
        let children = pids.filter(|&pid| parent(pid) == Some(postmaster));
        let children = children.filter_map(|pid| cpu::seconds(pid, &cpu::OWN)).sum::<f64>();
        children + cpu::seconds(postmaster, &WITH_ENDED_CHILDREN).expect("a running Postgres")
    }

    /// Returns the number of executed statements so far, or `None` if `pg_stat_statements` is not
    /// installed.
    pub async fn statements(&self) -> Option<f64> {
        if !self.counts_statements {
            return None;
        }
        let query = "SELECT sum(calls)::float8 FROM pg_stat_statements";
        self.client.query_one(query, &[]).await.expect("a number").get(0)
    }

    /// Stops Postgres, and deletes the folder unless it is kept.
    pub async fn stop(self) {
        if self.kept {
            self.postgres.stop().await.expect("an end");
        } else {
            postgres::delete(self.postgres, &self.folder).await;
        }
    }
}

/// Configures the library that counts statements if it is installed. Returns whether Postgres must
/// be restarted to load it.
async fn must_restart_to_count(client: &Client) -> bool {
    let query = "SELECT current_setting('shared_preload_libraries') = ''
        AND EXISTS (SELECT FROM pg_available_extensions WHERE name = 'pg_stat_statements')";
    let missing = client.query_one(query, &[]).await.expect("an answer").get::<_, bool>(0);
    if missing {
        let set = "ALTER SYSTEM SET shared_preload_libraries = 'pg_stat_statements'";
        client.batch_execute(set).await.expect("a superuser");
    }
    missing
}

fn parent(pid: u32) -> Option<u32> {
    let stat = std::fs::read_to_string(format!("/proc/{pid}/stat")).ok()?;
    stat.rsplit(") ").next()?.split(' ').nth(1)?.parse().ok()
}
