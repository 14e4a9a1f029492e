//! Backups of a database that others have put something into.

use std::fs;

use serde_json::json;

use super::{
    Place, back_up, count, manifest, restore, small_backup, succeeded, targets::rewrite, verify,
};
use crate::harness::{TestServer, postgres::TestDatabase};

const FOREIGN: &str = "
    CREATE TABLE ops_notes (id bigint GENERATED ALWAYS AS IDENTITY, ticket uuid REFERENCES tickets);
    CREATE TABLE ops_copy AS SELECT id FROM accounts;
    CREATE VIEW ops_view AS SELECT id FROM tickets;
    CREATE MATERIALIZED VIEW ops_figures AS SELECT count(*) FROM tickets;
    CREATE SEQUENCE ops_numbers";

#[tokio::test(flavor = "multi_thread")]
async fn what_is_not_of_ticketwire_is_left_out_of_a_backup_and_named() {
    let (place, server) = (Place::new(), TestServer::start().await);
    server.customer("Anna").await;
    server.quiet().await;
    server.database.connect().await.batch_execute(FOREIGN).await.unwrap();
    let backup = place.path("backup");
    let taken = back_up(&server.database.url, &backup).await;
    succeeded(&taken);
    let names = "Left out, because it is not of Ticketwire: \
                 ops_copy, ops_notes, ops_figures, ops_view, ops_numbers.";
    assert!(taken.stdout.contains(names), "{}", taken.stdout);
    let checked = verify(&backup).await;
    succeeded(&checked);
    assert!(checked.stdout.contains(names), "{}", checked.stdout);
    let database = TestDatabase::empty().await;
    let restored = restore(&backup, &database.url, &place.path("files")).await;
    succeeded(&restored);
    assert!(restored.stdout.contains(names), "{}", restored.stdout);
    assert_eq!(count(&database, "SELECT count(*) FROM accounts").await, 1);
    server.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_backup_with_tables_of_other_software_is_restored_without_them() {
    let place = Place::new();
    let (server, backup) = small_backup(&place).await;
    fs::copy(format!("{backup}/database/accounts.gz"), format!("{backup}/database/ops.gz"))
        .unwrap();
    rewrite(&backup, |manifest| {
        let tables = manifest["tables"].as_array_mut().unwrap();
        let accounts = tables.iter().find(|table| table["name"] == "accounts");
        let mut foreign = accounts.unwrap().clone();
        foreign["name"] = json!("ops_copy");
        foreign["part"]["name"] = json!("database/ops.gz");
        tables.insert(0, foreign);
        let sequences = manifest["sequences"].as_array_mut().unwrap();
        sequences.push(json!({"name": "ops_numbers", "value": 1, "used": true}));
        // Older versions have not named what they leave out.
        manifest.as_object_mut().unwrap().remove("left_out");
    });
    let database = TestDatabase::empty().await;
    let restored = restore(&backup, &database.url, &place.path("files")).await;
    succeeded(&restored);
    assert!(restored.stdout.contains("not of Ticketwire: ops_copy."), "{}", restored.stdout);
    assert_eq!(count(&database, "SELECT count(*) FROM accounts").await, 1);
    server.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_backup_has_every_table_and_sequence_of_the_migrations() {
    let (place, database) = (Place::new(), TestDatabase::new().await);
    let backup = place.path("backup");
    succeeded(&back_up(&database.url, &backup).await);
    let manifest = manifest(&backup);
    let relations = |kind: &str| {
        format!(
            "SELECT count(*) FROM pg_class WHERE relkind = '{kind}'
             AND relnamespace = 'public'::regnamespace
             AND relname NOT IN ('nodes', '__diesel_schema_migrations')"
        )
    };
    let found = [manifest.tables.len(), manifest.sequences.len()];
    let expected =
        [count(&database, &relations("r")).await, count(&database, &relations("S")).await];
    assert_eq!(found.map(|count| i64::try_from(count).unwrap()), expected);
    assert_eq!(manifest.left_out, [] as [String; 0]);
}
