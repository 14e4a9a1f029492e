//! The server of this benchmark: its settings, its metrics and its database.

use tokio_postgres::NoTls;

use super::common::server::BenchServer;

const ADMIN: &str = "127.0.0.1:19464";

/// One machine and three accounts do what thousands of people do.
pub const SETTINGS: [(&str, &str); 12] = [
    ("ADMIN_LISTEN", ADMIN),
    ("LIMITS_CONNECTIONS", "100000"),
    ("LIMITS_CONNECTIONS_PER_ADDRESS", "100000"),
    ("LIMITS_HANDSHAKES_PER_ADDRESS", "100000"),
    ("LIMITS_STAFF_SOCKETS", "100000"),
    ("LIMITS_CUSTOMER_SOCKETS", "100000"),
    ("LIMITS_CUSTOMER_STREAMS", "100000"),
    ("LIMITS_STAFF_STREAMS", "100000"),
    ("LIMITS_STAFF_REQUESTS", "100000"),
    ("LIMITS_TICKETS_PER_MINUTE", "0"),
    ("LIMITS_CUSTOMER_COMMENTS_PER_MINUTE", "0"),
    ("LIMITS_STAFF_COMMENTS_PER_MINUTE", "0"),
];

impl BenchServer {
    /// Returns the value of a metric, or 0 if it is missing.
    pub async fn metric(&self, name: &str) -> f64 {
        let address = format!("http://{ADMIN}/metrics");
        let text =
            self.http.get(address).send().await.expect("metrics").text().await.expect("text");
        let line = text.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(' '));
        line.and_then(|value| value.parse().ok()).unwrap_or_default()
    }

    /// Opens a connection to the database.
    pub async fn database(&self) -> tokio_postgres::Client {
        let (client, connection) =
            tokio_postgres::connect(&self.database_url(), NoTls).await.expect("Postgres");
        tokio::spawn(connection);
        client
    }

    /// Returns the URL of the database.
    pub fn database_url(&self) -> String {
        self.postgres.url("postgres")
    }
}
