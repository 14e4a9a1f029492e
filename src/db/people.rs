//! Search for people by the beginnings of their names and addresses, tolerant of typos.

use diesel::sql_types::{BigInt, Bool, Nullable, Text};
use diesel_async::RunQueryDsl;

use super::{Connection, DbError, account::AccountRow, like::escape_like};
use crate::domain::{account::Account, search::SearchText};

/// Returns the accounts that match a text best, best first. `staff` limits the search to staff or
/// to customers. Disabled accounts are excluded.
pub async fn find(
    db: &mut Connection,
    text: &SearchText,
    staff: Option<bool>,
    limit: i64,
) -> Result<Vec<Account>, DbError> {
    if !text.as_str().chars().any(char::is_alphanumeric) {
        return Ok(vec![]);
    }
    // Without the domain: addresses at the same provider are not similar for that reason.
    let similar = text.as_str().split('@').next().unwrap_or_default();
    // Literal matches come before similar ones.
    let rows = diesel::sql_query(
        "SELECT a.* FROM accounts a
         WHERE (a.name ILIKE $2 || '%' OR a.name ILIKE '% ' || $2 || '%' OR a.email ILIKE $2 || '%'
                OR $1 <% a.name OR $1 <% a.email)
           AND a.disabled_at IS NULL
           AND ($3 IS NULL OR (a.role <> 'customer') = $3)
         ORDER BY a.name ILIKE $2 || '%' OR a.email ILIKE $2 || '%' DESC,
                  a.name ILIKE '% ' || $2 || '%' DESC,
                  greatest(word_similarity($1, a.name), word_similarity($1, a.email)) DESC,
                  lower(a.name), a.id
         LIMIT $4",
    )
    .bind::<Text, _>(similar)
    .bind::<Text, _>(escape_like(text.as_str()))
    .bind::<Nullable<Bool>, _>(staff)
    .bind::<BigInt, _>(limit)
    .load::<AccountRow>(db)
    .await?;
    rows.into_iter().map(Account::try_from).collect()
}
