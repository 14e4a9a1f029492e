//! Search for people by the beginnings of their names and addresses, tolerant of typos.

use diesel::sql_types::{Array, BigInt, Bool, Nullable, Text};
use diesel_async::RunQueryDsl;

use super::{Connection, DbError, account::AccountRow, person_key::spellings};
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
         WHERE (person_key(a.name) LIKE person_pattern($2)
                OR person_key(a.name) LIKE '% ' || person_pattern($2)
                OR person_key(a.email) LIKE person_pattern($2) OR a.email = ANY ($5)
                OR person_key($1) <% person_key(a.name) OR person_key($1) <% person_key(a.email))
           AND a.disabled_at IS NULL
           AND ($3 IS NULL OR (a.role <> 'customer') = $3)
         ORDER BY person_key(a.name) LIKE person_pattern($2)
                      OR person_key(a.email) LIKE person_pattern($2) OR a.email = ANY ($5) DESC,
                  person_key(a.name) LIKE '% ' || person_pattern($2) DESC,
                  greatest(word_similarity(person_key($1), person_key(a.name)),
                           word_similarity(person_key($1), person_key(a.email))) DESC,
                  lower(a.name), a.id
         LIMIT $4",
    )
    .bind::<Text, _>(similar)
    .bind::<Text, _>(text.as_str())
    .bind::<Nullable<Bool>, _>(staff)
    .bind::<BigInt, _>(limit)
    .bind::<Array<Text>, _>(spellings(text))
    .load::<AccountRow>(db)
    .await?;
    Ok(rows.into_iter().map(Account::from).collect())
}
