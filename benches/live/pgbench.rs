//! The limit of writing: the statements of a comment, through pgbench.

use std::time::Duration;

use super::transactions;

/// The statements of `addComment`, including its event but not the sequencer's work.
const SCRIPT: &str = r"
\set n random(1, :tickets)
BEGIN;
SELECT id, status, version FROM tickets WHERE number = :first + :n FOR NO KEY UPDATE \gset
INSERT INTO comments (id, ticket_id, author_id, visibility, body, created_at)
    VALUES (gen_random_uuid(), ':id', ':agent', 'public', 'A comment of the benchmark', now()) RETURNING id AS comment \gset
UPDATE tickets SET updated_at = now(), event_seq = event_seq + 1 WHERE id = ':id' RETURNING event_seq AS seq \gset
UPDATE queue_entries SET updated_at = now() WHERE ticket_id = ':id';
INSERT INTO events (ticket_id, seq, kind, audience, actor_id, data, occurred_at)
    VALUES (':id', :seq, 'comment_added', 'participants', ':agent',
            jsonb_build_object('comment_id', ':comment'), now()) RETURNING id AS event \gset
INSERT INTO pending_events VALUES (:event);
COMMIT;
";

/// Returns the comments per second of a number of concurrent writers, or `None` if pgbench is
/// not installed.
pub async fn comments(
    server: &super::common::server::BenchServer,
    writers: usize,
    time: Duration,
) -> Option<f64> {
    let database = server.database().await;
    let first: i64 =
        database.query_one("SELECT min(number) - 1 FROM tickets", &[]).await.ok()?.get(0);
    let agent = "SELECT id::text FROM accounts WHERE email = 'agent@example.com'";
    let agent: String = database.query_one(agent, &[]).await.ok()?.get(0);
    let variables = [
        format!("-Dtickets={}", server.tickets.len()),
        format!("-Dfirst={first}"),
        format!("-Dagent={agent}"),
    ];
    let options = ["-j2"].into_iter().chain(variables.iter().map(String::as_str));
    let options = options.collect::<Vec<_>>();
    transactions::per_second(&server.database_url(), SCRIPT, writers, time, &options)
}
