//! The states in which pages of tickets were read. If a page has the same state later, it has the
//! same tickets, unchanged.

use std::sync::LazyLock;

use diesel::{
    dsl::sql,
    expression::SqlLiteral,
    prelude::*,
    sql_types::{Array, BigInt, Binary, Integer, Nullable, Oid, Uuid as SqlUuid},
};
use diesel_async::RunQueryDsl;

use super::{
    super::{Connection, DbError, prepared::Prepare as _},
    ACCOUNT_CHANGES, TicketRow,
};
use crate::domain::{account::AccountChangeCount, ids::AccountId};

/// The version of a row: the transaction that wrote it (`xmin`). Each change of a row changes it.
pub(super) type RowVersion = u32;

/// Selects the [`RowVersion`] of a ticket. Its type, `xid`, is sent like an `oid`.
pub(super) fn row_version() -> SqlLiteral<Oid> {
    sql("tickets.xmin")
}

/// The state of a page of tickets.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PageState {
    /// The ids and versions of the rows that were read for the page, in the order of reading.
    rows: Vec<u8>,
    /// How often accounts had changed. `None` if the page is empty.
    account_changes: Option<AccountChangeCount>,
}

impl PageState {
    pub(super) fn of(rows: &[(TicketRow, RowVersion)]) -> Self {
        let bytes = rows.iter().flat_map(|(row, version)| {
            row.id.into_bytes().into_iter().chain(version.to_be_bytes())
        });
        let account_changes = rows.first().and_then(|(row, _)| row.account_changes);
        Self { rows: bytes.collect(), account_changes: account_changes.map(AccountChangeCount) }
    }

    /// Returns the size of the state in memory, in bytes.
    pub fn size(&self) -> usize {
        size_of::<Self>() + self.rows.len()
    }
}

/// A page from one end of the list of all tickets that an account opened or takes part in.
#[derive(Clone, Copy, Debug)]
pub struct OwnPage {
    /// The account.
    pub account: AccountId,
    /// How many rows are read for the page.
    pub limit: i64,
}

/// What is known of a page of an account's tickets.
#[derive(Clone, Debug)]
pub enum OwnPageState {
    /// Its state.
    Known(PageState),
    /// The account takes part in more than 200 tickets. Finding the page would keep others waiting.
    ManyShared,
}

/// The number of shared tickets up to which a list is read together with others.
const MAX_SHARED: i32 = 200;

/// The statements of [`of_own_pages`].
static NEWEST_FIRST: LazyLock<String> = LazyLock::new(|| statement("DESC"));
static OLDEST_FIRST: LazyLock<String> = LazyLock::new(|| statement("ASC"));

fn statement(direction: &str) -> String {
    let read = "SELECT tickets.id, tickets.xmin AS version, tickets.created_at FROM tickets WHERE";
    let order = format!("ORDER BY tickets.created_at {direction}, tickets.id {direction}");
    format!(
        "SELECT cardinality(shared.ids) AS shared, page.rows, {ACCOUNT_CHANGES}
         FROM unnest($1, $2) WITH ORDINALITY AS requested (account, size, place)
         CROSS JOIN LATERAL (SELECT ARRAY(
             SELECT tickets.id FROM tickets
             WHERE tickets.participant_ids <> '{{}}'
               AND tickets.participant_ids @> ARRAY[requested.account]
             LIMIT {MAX_SHARED} + 1
         ) AS ids OFFSET 0) AS shared
         CROSS JOIN LATERAL (
             SELECT string_agg(uuid_send(tickets.id) || xidsend(tickets.version), '') AS rows
             FROM (
                 SELECT * FROM (
                     ({read} tickets.reporter_id = requested.account
                      {order} LIMIT requested.size)
                     UNION ALL
                     ({read} tickets.id = ANY (shared.ids)
                      {order} LIMIT requested.size)
                 ) AS tickets
                 WHERE cardinality(shared.ids) <= {MAX_SHARED}
                 {order} LIMIT requested.size
             ) AS tickets
         ) AS page
         ORDER BY requested.place"
    )
}

/// Returns the state of each page, in the order in which the tickets were opened. The rows come in
/// their order, since they are aggregated from a sorted subquery; in another order, the page would
/// only be read again.
pub async fn of_own_pages(
    db: &mut Connection,
    newest_first: bool,
    pages: &[OwnPage],
) -> Result<Vec<OwnPageState>, DbError> {
    let statement = if newest_first { &NEWEST_FIRST } else { &OLDEST_FIRST };
    let (accounts, limits): (Vec<_>, Vec<_>) =
        pages.iter().map(|page| (page.account.0, page.limit)).unzip();
    let rows = diesel::sql_query(statement.as_str())
        .bind::<Array<SqlUuid>, _>(accounts)
        .bind::<Array<BigInt>, _>(limits)
        .prepared()
        .load::<StateRow>(db)
        .await?;
    Ok(rows.into_iter().map(StateRow::into_state).collect())
}

#[derive(QueryableByName)]
struct StateRow {
    #[diesel(sql_type = Integer)]
    shared: i32,
    #[diesel(sql_type = Nullable<Binary>)]
    rows: Option<Vec<u8>>,
    #[diesel(sql_type = Nullable<BigInt>)]
    account_changes: Option<i64>,
}

impl StateRow {
    fn into_state(self) -> OwnPageState {
        if self.shared > MAX_SHARED {
            return OwnPageState::ManyShared;
        }
        let rows = self.rows.unwrap_or_default();
        let account_changes = self.account_changes.filter(|_| !rows.is_empty());
        let account_changes = account_changes.map(AccountChangeCount);
        OwnPageState::Known(PageState { rows, account_changes })
    }
}
