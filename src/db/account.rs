//! Accounts.

use diesel::{
    prelude::*,
    query_dsl::positional_order_dsl::PositionalOrderDsl as _,
    result::{DatabaseErrorKind, Error},
    sql_types::{Array, Integer, Uuid as SqlUuid},
};
use diesel_async::RunQueryDsl;
use uuid::Uuid;

use super::{Connection, DbError, id_row::IdRow, person_key::begins_with, schema::accounts};
use crate::{
    crypto::stored_password::StoredPassword,
    domain::{
        account::{Account, EmailAddress, Locale, Role},
        clock::Timestamp,
        ids::AccountId,
        page::{Direction, Page, Slice},
        search::SearchText,
        text::ExternalId,
    },
};

#[derive(Queryable, QueryableByName, Selectable)]
#[diesel(table_name = accounts)]
pub(super) struct AccountRow {
    id: Uuid,
    email: String,
    name: String,
    role: Role,
    locale: Locale,
    disabled_at: Option<Timestamp>,
    created_at: Timestamp,
    session_generation: i32,
}

impl From<AccountRow> for Account {
    fn from(row: AccountRow) -> Self {
        Self {
            id: AccountId(row.id),
            email: EmailAddress::from_stored(row.email),
            name: row.name,
            role: row.role,
            locale: row.locale,
            disabled_at: row.disabled_at,
            created_at: row.created_at,
            session_generation: row.session_generation,
        }
    }
}

/// Returns those of the accounts that have a part in a ticket that `viewer` opened or takes part
/// in: they opened it, take part or took part in it, are or were assigned to it, or caused one of
/// its events other than those for staff only.
pub async fn with_a_part_in_tickets_of(
    db: &mut Connection,
    viewer: AccountId,
    ids: &[AccountId],
) -> Result<Vec<AccountId>, DbError> {
    let ids = ids.iter().map(|id| id.0).collect::<Vec<_>>();
    // The events are read once for all accounts, by ticket, and only if an account is not named in
    // the tickets themselves.
    let rows = diesel::sql_query(
        "WITH visible AS MATERIALIZED (
             SELECT id, reporter_id, assignee_id, participant_ids, past_participant_ids
             FROM tickets WHERE reporter_id = $1
             UNION ALL
             SELECT id, reporter_id, assignee_id, participant_ids, past_participant_ids
             FROM tickets WHERE participant_ids <> '{}' AND participant_ids @> ARRAY[$1]
         )
         SELECT requested.id FROM unnest($2) AS requested (id)
         WHERE EXISTS (
             SELECT FROM visible v
             WHERE v.reporter_id = requested.id OR v.assignee_id = requested.id
                OR v.participant_ids @> ARRAY[requested.id]
                OR v.past_participant_ids @> ARRAY[requested.id])
            OR requested.id IN (
             SELECT part.id
             FROM visible v
             CROSS JOIN LATERAL (
                 SELECT actor_id, kind, data FROM events
                 WHERE ticket_id = v.id AND audience = 'participants' OFFSET 0) e
             CROSS JOIN LATERAL (
                 SELECT e.actor_id AS id
                 UNION ALL
                 SELECT (e.data ->> side)::uuid FROM unnest(ARRAY['from', 'to']) AS side
                 WHERE e.kind = 'assignee_changed') part
             WHERE part.id = ANY ($2))",
    )
    .bind::<SqlUuid, _>(viewer.0)
    .bind::<Array<SqlUuid>, _>(ids)
    .load::<IdRow>(db)
    .await?;
    Ok(rows.into_iter().map(|row| AccountId(row.id)).collect())
}

/// Returns the accounts with these ids, in any order. Unknown ids are skipped.
pub async fn by_ids(db: &mut Connection, ids: &[AccountId]) -> Result<Vec<Account>, DbError> {
    let ids = ids.iter().map(|id| id.0).collect::<Vec<_>>();
    let rows = accounts::table
        .filter(accounts::id.eq_any(ids))
        .select(AccountRow::as_select())
        .load(db)
        .await?;
    Ok(rows.into_iter().map(Account::from).collect())
}

/// Returns the ids of the active admins and locks their rows until the transaction ends.
/// Changes that reduce the number of admins take these locks before that of any other account,
/// so that two such changes cannot deadlock.
pub async fn lock_admins(db: &mut Connection) -> Result<Vec<AccountId>, DbError> {
    let ids = accounts::table
        .filter(accounts::role.eq(Role::Admin))
        .filter(accounts::disabled_at.is_null())
        .order(accounts::id)
        .select(accounts::id)
        .for_no_key_update()
        .load::<Uuid>(db)
        .await?;
    Ok(ids.into_iter().map(AccountId).collect())
}

/// Returns the account with an id and locks its row like [`lock`].
pub async fn lock_and_read(db: &mut Connection, id: AccountId) -> Result<Option<Account>, DbError> {
    let row = accounts::table
        .find(id.0)
        .select(AccountRow::as_select())
        .for_no_key_update()
        .first(db)
        .await
        .optional()?;
    Ok(row.map(Account::from))
}

/// Returns the account with an id and prevents changes to it until the transaction ends.
pub async fn lock_shared(db: &mut Connection, id: AccountId) -> Result<Option<Account>, DbError> {
    let row = accounts::table
        .find(id.0)
        .select(AccountRow::as_select())
        .for_share()
        .first(db)
        .await
        .optional()?;
    Ok(row.map(Account::from))
}

/// Updates the name and language of an account, and whether it is disabled.
pub async fn update(db: &mut Connection, account: &Account) -> Result<(), DbError> {
    diesel::update(accounts::table.find(account.id.0))
        .set((
            accounts::name.eq(&account.name),
            accounts::locale.eq(account.locale),
            accounts::disabled_at.eq(account.disabled_at),
        ))
        .execute(db)
        .await?;
    Ok(())
}

/// Returns a page of accounts, sorted by address. `role` and `text` narrow the list; `text`
/// matches the beginnings of names, of words in names and of addresses.
pub async fn page(
    db: &mut Connection,
    role: Option<Role>,
    text: Option<&SearchText>,
    page: &Page<EmailAddress>,
) -> Result<Slice<Account>, DbError> {
    let mut query =
        accounts::table.select(AccountRow::as_select()).limit(page.fetch_limit()).into_boxed();
    if let Some(role) = role {
        query = query.filter(accounts::role.eq(role));
    }
    if let Some(text) = text {
        if text.as_str().is_empty() {
            return Ok(page.slice(vec![]));
        }
        query = query.filter(begins_with(text));
    }
    if let Some(after) = &page.after {
        query = query.filter(accounts::email.gt(after.as_str()));
    }
    if let Some(before) = &page.before {
        query = query.filter(accounts::email.lt(before.as_str()));
    }
    let rows = match page.direction {
        Direction::Forward => query.order(accounts::email.asc()).load(db).await?,
        Direction::Backward => query.order(accounts::email.desc()).load(db).await?,
    };
    Ok(page.slice(rows.into_iter().map(Account::from).collect()))
}

/// Locks an account's row until the transaction ends. Changes to an account and its sessions
/// take this lock first, so that two such changes cannot deadlock.
pub async fn lock(db: &mut Connection, id: AccountId) -> Result<(), DbError> {
    let row = accounts::table.find(id.0).select(accounts::id).for_no_key_update();
    row.first::<Uuid>(db).await?;
    Ok(())
}

/// Starts the next generation of an account's sessions. Sign-ins in progress must start again.
/// Locks the account's row like [`lock`].
pub async fn next_session_generation(db: &mut Connection, id: AccountId) -> Result<(), DbError> {
    diesel::update(accounts::table.find(id.0))
        .set(accounts::session_generation.eq(accounts::session_generation + 1))
        .execute(db)
        .await?;
    Ok(())
}

/// Returns whether an account's sessions are still of this generation and the account is active.
/// Locks the account's row like [`lock`].
pub async fn is_current_generation(
    db: &mut Connection,
    id: AccountId,
    generation: i32,
) -> Result<bool, DbError> {
    let (current, disabled_at) = accounts::table
        .find(id.0)
        .select((accounts::session_generation, accounts::disabled_at))
        .for_no_key_update()
        .first::<(i32, Option<Timestamp>)>(db)
        .await?;
    Ok(current == generation && disabled_at.is_none())
}

/// Returns the account with an external id.
pub async fn by_external_id(
    db: &mut Connection,
    id: &ExternalId,
) -> Result<Option<Account>, DbError> {
    let row = accounts::table
        .filter(accounts::external_id.eq(id.as_str()))
        .select(AccountRow::as_select())
        .first(db)
        .await
        .optional()?;
    Ok(row.map(Account::from))
}

/// Selects the accounts with one of these spellings of an address, first the one that has it as it is.
#[diesel::dsl::auto_type]
#[expect(clippy::elidable_lifetime_names, reason = "the macro requires the name")]
fn with_address<'a>(spellings: Vec<String>, address: &'a str) -> _ {
    accounts::table
        .filter(accounts::email.eq_any(spellings))
        .order((accounts::email.eq(address).desc(), accounts::id))
}

/// Returns the account with an address, and its stored password.
pub async fn by_email(
    db: &mut Connection,
    email: &EmailAddress,
) -> Result<Option<(Account, Option<StoredPassword>)>, DbError> {
    let row = with_address(email.spellings(), email.as_str())
        .select((AccountRow::as_select(), accounts::password_hash))
        .first::<(AccountRow, Option<String>)>(db)
        .await
        .optional()?;
    Ok(row.map(|(row, phc)| (row.into(), phc.map(StoredPassword::from_phc))))
}

/// Returns the account with an address, and prevents changes to it until the transaction ends. The
/// work is the same if there is none.
pub async fn lock_shared_by_email(
    db: &mut Connection,
    email: &EmailAddress,
) -> Result<Option<Account>, DbError> {
    let row = with_address(email.spellings(), email.as_str())
        .select(AccountRow::as_select())
        .for_share()
        .first(db)
        .await
        .optional()?;
    Ok(row.map(Account::from))
}

/// Returns the stored password of the account whose address follows a text, or of the first one.
/// `None` if that account has no password.
pub async fn password_after(
    db: &mut Connection,
    text: &str,
) -> Result<Option<StoredPassword>, DbError> {
    let ranked = |rank: i32| (rank.into_sql::<Integer>(), accounts::password_hash);
    let after = accounts::table
        .filter(accounts::email.ge(text))
        .select(ranked(0))
        .order(accounts::email)
        .limit(1);
    let first = accounts::table.select(ranked(1)).order(accounts::email).limit(1);
    // One statement, so that which of them it is takes no time.
    let found = after.union_all(first).positional_order_by(1).limit(1);
    let found = found.get_result::<(i32, Option<String>)>(db).await.optional()?;
    Ok(found.and_then(|(_, phc)| phc).map(StoredPassword::from_phc))
}

/// Returns the stored password of an account.
pub async fn password(
    db: &mut Connection,
    id: AccountId,
) -> Result<Option<StoredPassword>, DbError> {
    let phc = accounts::table.find(id.0).select(accounts::password_hash);
    Ok(phc.first::<Option<String>>(db).await?.map(StoredPassword::from_phc))
}

/// Sets the password of an account.
pub async fn set_password(
    db: &mut Connection,
    id: AccountId,
    password: &StoredPassword,
) -> Result<(), DbError> {
    let account = accounts::table.find(id.0);
    diesel::update(account).set(accounts::password_hash.eq(password.expose())).execute(db).await?;
    Ok(())
}

/// Replaces the hash of an account's password by another hash of the same password. Does nothing
/// if the password was changed meanwhile.
pub async fn rehash_password(
    db: &mut Connection,
    id: AccountId,
    old: &StoredPassword,
    new: &StoredPassword,
) -> Result<(), DbError> {
    diesel::update(accounts::table.find(id.0))
        .filter(accounts::password_hash.eq(old.expose()))
        .set(accounts::password_hash.eq(new.expose()))
        .execute(db)
        .await?;
    Ok(())
}

/// Sets the e-mail address of an account. Returns `false` if another account has it. The caller must
/// then roll the transaction back.
pub async fn set_email(
    db: &mut Connection,
    id: AccountId,
    email: &EmailAddress,
) -> Result<bool, DbError> {
    if is_address_in_use(db, email, id).await? {
        return Ok(false);
    }
    let account = accounts::table.find(id.0);
    match diesel::update(account).set(accounts::email.eq(email.as_str())).execute(db).await {
        Ok(_) => Ok(true),
        Err(Error::DatabaseError(DatabaseErrorKind::UniqueViolation, _)) => Ok(false),
        Err(error) => Err(error.into()),
    }
}

/// Sets the role of an account.
pub async fn set_role(db: &mut Connection, id: AccountId, role: Role) -> Result<(), DbError> {
    diesel::update(accounts::table.find(id.0)).set(accounts::role.eq(role)).execute(db).await?;
    Ok(())
}

/// Returns whether an account other than `except` has an address, in whatever spelling. The unique
/// index knows only the one in which addresses are stored today.
pub(super) async fn is_address_in_use(
    db: &mut Connection,
    email: &EmailAddress,
    except: AccountId,
) -> Result<bool, DbError> {
    let others = accounts::table
        .filter(accounts::email.eq_any(email.spellings()))
        .filter(accounts::id.ne(except.0));
    Ok(diesel::select(diesel::dsl::exists(others)).get_result(db).await?)
}

/// Inserts an account. Returns `false` if the address is already in use.
pub async fn insert(
    db: &mut Connection,
    account: &Account,
    password: Option<&StoredPassword>,
) -> Result<bool, DbError> {
    if is_address_in_use(db, &account.email, account.id).await? {
        return Ok(false);
    }
    let added = diesel::insert_into(accounts::table)
        .values((
            accounts::id.eq(account.id.0),
            accounts::email.eq(account.email.as_str()),
            accounts::name.eq(&account.name),
            accounts::role.eq(account.role),
            accounts::locale.eq(account.locale),
            accounts::password_hash.eq(password.map(StoredPassword::expose)),
            accounts::disabled_at.eq(account.disabled_at),
            accounts::created_at.eq(account.created_at),
        ))
        .on_conflict(accounts::email)
        .do_nothing()
        .execute(db)
        .await?;
    Ok(added == 1)
}
