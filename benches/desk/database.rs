//! Connections to the database.

use tokio_postgres::{Client, NoTls};

/// Makes a session load faster. Triggers and foreign keys are not applied, and a commit does not wait
/// for the disk. The loader computes what triggers would, and the checks read the result.
const LOADING: &str = "
    SET session_replication_role = replica;
    SET synchronous_commit = off;
    SET maintenance_work_mem = '512MB';
    SET client_min_messages = warning";

/// Opens a connection.
pub async fn connect(url: &str) -> Client {
    let (client, connection) = tokio_postgres::connect(url, NoTls).await.expect("Postgres");
    tokio::spawn(connection);
    client
}

/// Opens a connection that loads faster. Needs a superuser.
pub async fn connect_to_load(url: &str) -> Client {
    let client = connect(url).await;
    client.batch_execute(LOADING).await.expect("a superuser");
    client
}
