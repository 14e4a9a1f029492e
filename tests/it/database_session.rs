//! The sessions that a node opens in the database.

use diesel::{dsl::sql, sql_types::Text};
use diesel_async::RunQueryDsl as _;
use ticketwire::db::Database;

use crate::harness::postgres::TestDatabase;

#[tokio::test(flavor = "multi_thread")]
async fn a_session_compresses_pages_in_the_write_ahead_log_if_its_role_may() {
    let database = TestDatabase::empty().await;
    let client = database.connect().await;
    let compression = async |url: &str| {
        let pool = Database::new(url, 1).unwrap();
        let setting = sql::<Text>("current_setting('wal_compression')");
        let mut connection = pool.read().await.unwrap();
        diesel::select(setting).get_result::<String>(&mut *connection).await.unwrap()
    };
    let has_lz4 = "SELECT EXISTS (SELECT FROM pg_settings
        WHERE name = 'wal_compression' AND 'lz4' = ANY (enumvals))";
    if !client.query_one(has_lz4, &[]).await.unwrap().get::<_, bool>(0) {
        assert_eq!(compression(&database.url).await, "off", "this Postgres has no LZ4");
        return;
    }
    assert_eq!(compression(&database.url).await, "lz4");
    for chosen in ["off", "pglz"] {
        let url = database.url_with("wal_compression", chosen);
        assert_eq!(compression(&url).await, chosen, "what somebody has set stays");
    }
    client.batch_execute("CREATE ROLE plain").await.unwrap();
    let plain = database.url_with("role", "plain");
    assert_eq!(compression(&plain).await, "off", "the role may not set it");
    let grant = "GRANT SET ON PARAMETER wal_compression TO plain";
    client.batch_execute(grant).await.unwrap();
    assert_eq!(compression(&plain).await, "lz4");
    client.batch_execute("DROP OWNED BY plain; DROP ROLE plain").await.unwrap();
}
