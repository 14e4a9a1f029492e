//! Erased accounts: replacing what identifies a person, and finding what they wrote.

use diesel::{
    prelude::*,
    sql_query,
    sql_types::{Array, BigInt, Text, Timestamptz, Uuid as SqlUuid},
};
use diesel_async::{RunQueryDsl, SimpleAsyncConnection as _};
use uuid::Uuid;

use super::{
    Connection, Database, DbError,
    id_row::IdRow,
    installation,
    schema::{accounts, deliveries, erasures},
};
use crate::domain::{
    account::{Account, EmailAddress},
    clock::Timestamp,
    email::ERASED_DOMAIN,
    erasure::{ERASED_NAME, Erasure, erased_address},
    ids::{AccountId, AttachmentId, CommentId, TicketId},
};

/// The tables whose rows of an account are secrets, choices or pointers of its owner.
const OWNED: [&str; 10] = [
    "second_factors",
    "authenticator_enrolments",
    "recovery_codes",
    "mailed_codes",
    "sign_in_challenges",
    "handoffs",
    "idempotency_keys",
    "mail_preferences",
    "canned_answers",
    "saved_views",
];

/// Records an erasure by `actor`, or by the operator.
pub async fn insert(
    db: &mut Connection,
    erasure: &Erasure,
    actor: Option<AccountId>,
) -> Result<(), DbError> {
    diesel::insert_into(erasures::table)
        .values((
            erasures::account_id.eq(erasure.account_id.0),
            erasures::actor_id.eq(actor.map(|id| id.0)),
            erasures::erased_at.eq(erasure.erased_at),
            erasures::redacts.eq(erasure.redacts),
        ))
        .execute(db)
        .await?;
    Ok(())
}

/// Returns all erasures, in no particular order.
pub async fn all(db: &mut Connection) -> Result<Vec<Erasure>, DbError> {
    let rows = erasures::table
        .select((erasures::account_id, erasures::erased_at, erasures::redacts))
        .load::<(Uuid, Timestamp, bool)>(db)
        .await?;
    Ok(rows.into_iter().map(erasure).collect())
}

/// Returns the erasures that may have left something, the first ones first, each with who erased
/// the account, or `None` for the operator.
pub async fn unfinished(db: &mut Connection) -> Result<Vec<(Erasure, Option<AccountId>)>, DbError> {
    let rows = erasures::table
        .filter(erasures::finished_at.is_null())
        .order(erasures::erased_at)
        .select((
            (erasures::account_id, erasures::erased_at, erasures::redacts),
            erasures::actor_id,
        ))
        .load::<((Uuid, Timestamp, bool), Option<Uuid>)>(db)
        .await?;
    Ok(rows.into_iter().map(|(row, actor)| (erasure(row), actor.map(AccountId))).collect())
}

fn erasure((account, erased_at, redacts): (Uuid, Timestamp, bool)) -> Erasure {
    Erasure { account_id: AccountId(account), erased_at, redacts }
}

/// Records that nothing of an erasure is left.
pub async fn finish(db: &mut Connection, id: AccountId, now: Timestamp) -> Result<(), DbError> {
    let row = diesel::update(erasures::table.find(id.0));
    row.set(erasures::finished_at.eq(now)).execute(db).await?;
    Ok(())
}

/// Erases what identifies the owner of a locked account wherever it is stored, and disables the
/// account. What they wrote stays. Other accounts can have the address and the external id then.
pub async fn erase_owner(
    db: &mut Connection,
    account: &Account,
    now: Timestamp,
) -> Result<(), DbError> {
    for table in OWNED {
        let delete = sql_query(format!("DELETE FROM {table} WHERE account_id = $1"));
        delete.bind::<SqlUuid, _>(account.id.0).execute(db).await?;
    }
    let addresses = own_addresses(db, account).await?;
    for (table, column) in [
        ("mail_unsubscriptions", "address"),
        ("password_resets", "email"),
        ("ticket_invitations", "email"),
    ] {
        let delete = sql_query(format!("DELETE FROM {table} WHERE {column} = ANY ($1)"));
        delete.bind::<Array<Text>, _>(&addresses).execute(db).await?;
    }
    sql_query(
        "UPDATE set_aside_events SET error = replace(error, address, 'an erased address')
         FROM unnest($1) AS address WHERE strpos(error, address) > 0",
    )
    .bind::<Array<Text>, _>(&addresses)
    .execute(db)
    .await?;
    erase_traces(db, account.id, &addresses, now).await?;
    // Last: it keeps others from referring to the account.
    diesel::update(accounts::table.find(account.id.0))
        .set((
            accounts::email.eq(erased_address(account.id).as_str()),
            accounts::name.eq(ERASED_NAME),
            accounts::password_hash.eq(None::<String>),
            accounts::external_id.eq(None::<String>),
            accounts::imported_hash.eq(None::<Vec<u8>>),
            accounts::disabled_at.eq(account.disabled_at.unwrap_or(now)),
        ))
        .execute(db)
        .await?;
    Ok(())
}

/// Returns all spellings of an account's address and of those that its mails went to, except for
/// those that belong to another account by now.
async fn own_addresses(db: &mut Connection, account: &Account) -> Result<Vec<String>, DbError> {
    let mut addresses = deliveries::table
        .filter(deliveries::account_id.eq(account.id.0))
        .filter(deliveries::address.not_like(format!("%@{ERASED_DOMAIN}")))
        .select(deliveries::address)
        .distinct()
        .load::<String>(db)
        .await?;
    addresses.push(account.email.as_str().to_owned());
    let spellings = |address: &String| EmailAddress::from_stored(address.clone()).spellings();
    let of_others = accounts::table
        .filter(accounts::id.ne(account.id.0))
        .filter(accounts::email.eq_any(addresses.iter().flat_map(spellings)))
        .select(accounts::email)
        .load::<String>(db)
        .await?;
    addresses.retain(|address| !spellings(address).iter().any(|it| of_others.contains(it)));
    Ok(addresses.iter().flat_map(spellings).collect())
}

/// Erases the addresses of an account's mails and sessions, what its comments were before edits, and
/// its files that are not attached. Mails that wait or have failed are cancelled. Those to the support desk
/// stay as they are, though it may have the address of one of its people.
pub async fn erase_traces(
    db: &mut Connection,
    id: AccountId,
    addresses: &[String],
    now: Timestamp,
) -> Result<(), DbError> {
    let desk = installation::staff_addresses(db).await?;
    let addresses = addresses.iter().filter(|address| !desk.contains(address)).collect::<Vec<_>>();
    let whose = format!(
        "(d.account_id = $1 OR d.account_id IS NULL AND d.address = ANY ($2))
         AND d.address NOT LIKE '%@{ERASED_DOMAIN}'"
    );
    // By mail, since an event reaches an address once.
    sql_query(format!(
        "UPDATE delivery_events e SET address = d.id || '@{ERASED_DOMAIN}'
         FROM deliveries d WHERE d.id = e.delivery_id AND {whose}"
    ))
    .bind::<SqlUuid, _>(id.0)
    .bind::<Array<Text>, _>(&addresses)
    .execute(db)
    .await?;
    sql_query(format!(
        "UPDATE deliveries d SET address = d.id || '@{ERASED_DOMAIN}', last_error = NULL,
             payload = NULL, finished_at = coalesce(d.finished_at, $3),
             state = CASE WHEN d.state = 'sent' THEN d.state ELSE 'cancelled' END
         WHERE {whose}"
    ))
    .bind::<SqlUuid, _>(id.0)
    .bind::<Array<Text>, _>(&addresses)
    .bind::<Timestamptz, _>(now)
    .execute(db)
    .await?;
    sql_query(
        "UPDATE sessions SET address = NULL, device = NULL, network = NULL
         WHERE account_id = $1 AND num_nonnulls(address, device, network) > 0",
    )
    .bind::<SqlUuid, _>(id.0)
    .execute(db)
    .await?;
    sql_query(
        "DELETE FROM comment_edits e USING comments c
         WHERE c.id = e.comment_id AND c.author_id = $1",
    )
    .bind::<SqlUuid, _>(id.0)
    .execute(db)
    .await?;
    // Their bytes are deleted by the task that deletes unused files.
    sql_query(
        "UPDATE attachments SET condemned_at = $2, name = 'file'
         WHERE uploader_id = $1 AND ticket_id IS NULL AND condemned_at IS NULL",
    )
    .bind::<SqlUuid, _>(id.0)
    .bind::<Timestamptz, _>(now)
    .execute(db)
    .await?;
    Ok(())
}

/// Returns the tickets with a text or file of an account that is not redacted. Reads the whole
/// tables of comments and attachments, which may take minutes. Uses a connection outside the pool.
pub async fn tickets_with_content_of(
    database: &Database,
    id: AccountId,
) -> Result<Vec<TicketId>, DbError> {
    let db = &mut database.connect_unwatched().await?;
    db.batch_execute("SET statement_timeout = '15min'").await?;
    let rows = sql_query(
        "SELECT id FROM tickets WHERE reporter_id = $1 AND (summary <> '' OR description <> '')
         UNION SELECT ticket_id FROM comments WHERE author_id = $1 AND redacted_at IS NULL
         UNION SELECT ticket_id FROM attachments WHERE uploader_id = $1 AND ticket_id IS NOT NULL",
    )
    .bind::<SqlUuid, _>(id.0)
    .load::<IdRow>(db)
    .await?;
    Ok(rows.into_iter().map(|row| TicketId(row.id)).collect())
}

/// Finds the comments of the ticket `$1` by its events: comments have no index by ticket.
const COMMENTS_OF_TICKET: &str = "
    SELECT (data ->> 'comment_id')::uuid AS comment_id, seq FROM events
    WHERE ticket_id = $1 AND kind = 'comment_added'";

/// Returns comments of an account on a ticket that are not redacted, the first `limit`.
pub async fn comments_of(
    db: &mut Connection,
    ticket: TicketId,
    author: AccountId,
    limit: usize,
) -> Result<Vec<CommentId>, DbError> {
    let rows = sql_query(format!(
        "SELECT c.id FROM ({COMMENTS_OF_TICKET}) e
         CROSS JOIN LATERAL (SELECT * FROM comments WHERE id = e.comment_id LIMIT 1) c
         WHERE c.author_id = $2 AND c.redacted_at IS NULL
         ORDER BY e.seq LIMIT $3",
    ))
    .bind::<SqlUuid, _>(ticket.0)
    .bind::<SqlUuid, _>(author.0)
    .bind::<BigInt, _>(i64::try_from(limit).unwrap_or(i64::MAX))
    .load::<IdRow>(db)
    .await?;
    Ok(rows.into_iter().map(|row| CommentId(row.id)).collect())
}

/// Returns files of an account on a ticket and its comments, at most `limit`.
pub async fn attachments_of(
    db: &mut Connection,
    ticket: TicketId,
    uploader: AccountId,
    limit: usize,
) -> Result<Vec<AttachmentId>, DbError> {
    // The index has the files of descriptions only.
    let rows = sql_query(format!(
        "SELECT id FROM attachments
         WHERE ticket_id = $1 AND comment_id IS NULL AND uploader_id = $2
         UNION ALL
         SELECT a.id FROM ({COMMENTS_OF_TICKET}) e JOIN attachments a ON a.comment_id = e.comment_id
         WHERE a.uploader_id = $2
         LIMIT $3",
    ))
    .bind::<SqlUuid, _>(ticket.0)
    .bind::<SqlUuid, _>(uploader.0)
    .bind::<BigInt, _>(i64::try_from(limit).unwrap_or(i64::MAX))
    .load::<IdRow>(db)
    .await?;
    Ok(rows.into_iter().map(|row| AttachmentId(row.id)).collect())
}
