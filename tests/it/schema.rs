//! The committed schemas match the code and the migrations.

use std::{collections::BTreeMap, fs, path::Path};

use crate::harness::postgres::TestDatabase;

#[test]
fn schema_graphql_matches_the_code() {
    let committed =
        fs::read_to_string(Path::new(env!("CARGO_MANIFEST_DIR")).join("schema.graphql")).unwrap();
    assert!(
        committed == ticketwire::graphql::sdl(),
        "schema.graphql is out of date: cargo run -- schema > schema.graphql"
    );
}

/// `table.column`, and the type that diesel gives it.
type Columns = BTreeMap<String, String>;

#[tokio::test(flavor = "multi_thread")]
async fn the_table_definitions_match_the_migrated_database() {
    let database = TestDatabase::new().await;
    let client = database.connect().await;
    let rows = client
        .query(
            "SELECT c.relname, a.attname, t.typname, a.attnotnull
             FROM pg_attribute a
             JOIN pg_class c ON c.oid = a.attrelid
             JOIN pg_type t ON t.oid = a.atttypid
             WHERE c.relkind = 'r' AND c.relnamespace = 'public'::regnamespace
               AND a.attnum > 0 AND NOT a.attisdropped AND c.relname <> '__diesel_schema_migrations'",
            &[],
        )
        .await
        .unwrap();
    let actual = rows.iter().map(|row| {
        let (table, column, ty): (&str, &str, &str) = (row.get(0), row.get(1), row.get(2));
        let name = ty.trim_start_matches('_').split('_').map(capitalised).collect::<String>();
        // Postgres names an array type after its elements' type, with a leading underscore.
        let ty = if ty.starts_with('_') { format!("Array<Nullable<{name}>>") } else { name };
        let ty = if row.get::<_, bool>(3) { ty } else { format!("Nullable<{ty}>") };
        (format!("{table}.{column}"), ty)
    });
    let actual = actual.collect::<Columns>();
    assert!(actual.len() > 30, "the database has no tables");
    assert_eq!(declared(), actual, "src/db/schema.rs is out of date: diesel print-schema");
}

fn capitalised(word: &str) -> String {
    let mut chars = word.chars();
    chars
        .next()
        .map(|first| first.to_uppercase().collect::<String>() + chars.as_str())
        .unwrap_or_default()
}

/// The columns that `src/db/schema.rs` declares.
fn declared() -> Columns {
    let text =
        fs::read_to_string(Path::new(env!("CARGO_MANIFEST_DIR")).join("src/db/schema.rs")).unwrap();
    let mut columns = Columns::new();
    let mut table = String::new();
    for line in text.lines().map(str::trim) {
        if let Some((name, _)) = line.strip_suffix('{').and_then(|line| line.split_once(" (")) {
            table = name.to_owned();
        } else if let Some((column, ty)) =
            line.strip_suffix(',').and_then(|line| line.split_once(" -> "))
        {
            columns.insert(format!("{table}.{column}"), ty.to_owned());
        }
    }
    columns
}

#[tokio::test(flavor = "multi_thread")]
async fn the_event_log_is_append_only() {
    let database = TestDatabase::new().await;
    let client = database.connect().await;
    for statement in ["UPDATE events SET seq = 0", "DELETE FROM events", "TRUNCATE events CASCADE"]
    {
        let error = client.batch_execute(statement).await.unwrap_err();
        let text = error.as_db_error().unwrap().message().to_owned();
        assert!(text.contains("append-only"), "{statement}: {text}");
    }
}
