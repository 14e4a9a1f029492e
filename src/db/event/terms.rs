//! The terms of a write besides its ticket: an idempotency key that is not used yet, files that are
//! not attached yet, and that others have said nothing. The statement that writes compares them, and
//! leaves out the rows whose terms are not met.

use diesel::sql_types::{
    Array, BigInt, Binary, Bool, Integer, Nullable, SmallInt, Text, Timestamptz, Uuid as SqlUuid,
};
use uuid::Uuid;

use super::super::{idempotency::RETENTION, pool::KEY_CLAIMED};
use crate::domain::{
    clock::Timestamp,
    ids::{AccountId, AttachmentId, CommentId, EventId},
    text::IdempotencyKey,
    unread::TicketReader,
};

/// What a write depends on besides its ticket.
#[derive(Clone, Copy, Default)]
pub struct Terms<'a> {
    /// The key that the write claims. It is not written if the key is in use.
    pub claim: Option<KeyClaim<'a>>,
    /// The files that are attached with the write. It is not written if one cannot be.
    pub files: Option<Files<'a>>,
    /// What the writer has seen. Nothing is written if others have commented since.
    pub seen: Option<Seen>,
}

/// Files that are attached with a write.
#[derive(Clone, Copy)]
pub struct Files<'a> {
    /// The account that has uploaded them.
    pub uploader: AccountId,
    /// The files, in order.
    pub ids: &'a [AttachmentId],
}

/// An idempotency key that is claimed with a write.
#[derive(Clone, Copy)]
pub struct KeyClaim<'a> {
    /// The account whose key it is.
    pub account: AccountId,
    /// The key.
    pub key: &'a IdempotencyKey,
    /// Identifies the input.
    pub fingerprint: [u8; 32],
    /// The id of what is created.
    pub result_id: Uuid,
    /// When the call is made.
    pub now: Timestamp,
}

/// The last event of a ticket that a writer has seen.
#[derive(Clone, Copy)]
pub struct Seen {
    /// The event.
    pub event: EventId,
    /// Whose comments do not count, and whether internal notes do.
    pub reader: TicketReader,
}

impl Terms<'_> {
    /// Whether the write depends on nothing.
    pub fn is_empty(&self) -> bool {
        self.claim.is_none() && self.files.is_none() && self.seen.is_none()
    }
}

/// The terms of all rows of a statement. `places` are those of the rows, from 1.
#[derive(Default)]
pub(super) struct TermValues<'a> {
    pub(super) keys: KeyValues<'a>,
    pub(super) files: FileValues,
    pub(super) seen: SeenValues,
}

/// The keys, one value per key.
#[derive(Default)]
pub(super) struct KeyValues<'a> {
    pub(super) places: Vec<i32>,
    pub(super) accounts: Vec<Uuid>,
    pub(super) keys: Vec<&'a str>,
    pub(super) fingerprints: Vec<Vec<u8>>,
    pub(super) results: Vec<Uuid>,
    pub(super) times: Vec<Timestamp>,
    /// Keys that were claimed up to these times have expired.
    pub(super) expired: Vec<Timestamp>,
}

/// The files, one value per file.
#[derive(Default)]
pub(super) struct FileValues {
    pub(super) places: Vec<i32>,
    pub(super) ids: Vec<Uuid>,
    pub(super) uploaders: Vec<Uuid>,
    pub(super) positions: Vec<i16>,
    pub(super) comments: Vec<Option<Uuid>>,
}

/// What was seen, one value per writer.
#[derive(Default)]
pub(super) struct SeenValues {
    pub(super) places: Vec<i32>,
    pub(super) events: Vec<i64>,
    pub(super) accounts: Vec<Uuid>,
    pub(super) staff: Vec<bool>,
}

impl<'a> TermValues<'a> {
    pub(super) fn is_empty(&self) -> bool {
        self.keys.places.is_empty() && self.files.places.is_empty() && self.seen.places.is_empty()
    }

    pub(super) fn add(&mut self, place: i32, terms: &Terms<'a>, comment: Option<CommentId>) {
        if let Some(claim) = &terms.claim {
            let keys = &mut self.keys;
            keys.places.push(place);
            keys.accounts.push(claim.account.0);
            keys.keys.push(claim.key.as_str());
            keys.fingerprints.push(claim.fingerprint.to_vec());
            keys.results.push(claim.result_id);
            keys.times.push(claim.now);
            keys.expired.push(claim.now - RETENTION);
        }
        let attached = terms.files.iter().flat_map(|files| (0_i16..).zip(files.ids));
        for (position, id) in attached {
            let files = &mut self.files;
            files.places.push(place);
            files.ids.push(id.0);
            files.uploaders.extend(terms.files.map(|files| files.uploader.0));
            files.positions.push(position);
            files.comments.push(comment.map(|id| id.0));
        }
        if let Some(Seen { event, reader }) = terms.seen {
            self.seen.places.push(place);
            self.seen.events.push(event.0);
            self.seen.accounts.push(reader.account.0);
            self.seen.staff.push(reader.is_staff);
        }
    }
}

/// Binds [`TermValues`]: seven parameters of keys, five of files and four of what was seen. Its caller
/// imports `terms`.
macro_rules! bind_terms {
    ($query:expr, $terms:expr) => {{
        let terms = $terms;
        $query
            .bind::<terms::Integers, _>(terms.keys.places)
            .bind::<terms::Uuids, _>(terms.keys.accounts)
            .bind::<terms::Texts, _>(terms.keys.keys)
            .bind::<terms::Binaries, _>(terms.keys.fingerprints)
            .bind::<terms::Uuids, _>(terms.keys.results)
            .bind::<terms::Times, _>(terms.keys.times)
            .bind::<terms::Times, _>(terms.keys.expired)
            .bind::<terms::Integers, _>(terms.files.places)
            .bind::<terms::Uuids, _>(terms.files.ids)
            .bind::<terms::Uuids, _>(terms.files.uploaders)
            .bind::<terms::SmallIntegers, _>(terms.files.positions)
            .bind::<terms::OptionalUuids, _>(terms.files.comments)
            .bind::<terms::Integers, _>(terms.seen.places)
            .bind::<terms::BigIntegers, _>(terms.seen.events)
            .bind::<terms::Uuids, _>(terms.seen.accounts)
            .bind::<terms::Bools, _>(terms.seen.staff)
    }};
}
pub(super) use bind_terms;

pub(super) type Integers = Array<Integer>;
pub(super) type SmallIntegers = Array<SmallInt>;
pub(super) type BigIntegers = Array<BigInt>;
pub(super) type Bools = Array<Bool>;
pub(super) type Texts = Array<Text>;
pub(super) type Binaries = Array<Binary>;
pub(super) type Times = Array<Timestamptz>;
pub(super) type Uuids = Array<SqlUuid>;
pub(super) type OptionalUuids = Array<Nullable<SqlUuid>>;

/// Returns the accounts that claim keys, as an array.
pub(super) fn claimants(first: usize) -> String {
    format!("${}", first + 1)
}

/// Returns the expression `free`: the files that can be attached, locked. Files that another
/// transaction has locked are left out, since waiting would hold up the other rows.
pub(super) fn free_files(first: usize) -> String {
    let [places, ids, uploaders] = [7, 8, 9].map(|n| first + n);
    format!(
        "free AS MATERIALIZED (
             SELECT f.place, f.i, a.id
             FROM (SELECT place, i::int FROM unnest(${places})
                       WITH ORDINALITY AS f (place, i)) f
             CROSS JOIN LATERAL (
                 SELECT id FROM attachments
                 WHERE id = (${ids})[f.i] AND uploader_id = (${uploaders})[f.i]
                     AND ticket_id IS NULL AND condemned_at IS NULL AND size IS NOT NULL
                 LIMIT 1 FOR NO KEY UPDATE SKIP LOCKED) a
         )"
    )
}

/// Returns queries for the places of the rows whose terms are not met, after those of `uncounted`.
/// `ticket` is the ticket of the row at `s.place`. Where tickets are new, nothing can have been seen.
pub(super) fn unmet(first: usize, uncounted: &str, ticket: &str) -> String {
    let [keys, accounts, names] = [0, 1, 2].map(|n| first + n);
    let expired = first + 6;
    let [files, seen, events, readers, staff] = [7, 12, 13, 14, 15].map(|n| first + n);
    let row = |places: usize| {
        format!("(SELECT place, i::int FROM unnest(${places}) WITH ORDINALITY AS n (place, i)) s")
    };
    format!(
        "{uncounted}
         UNION ALL SELECT place FROM {of_keys}
         WHERE EXISTS (SELECT FROM idempotency_keys
             WHERE account_id = (${accounts})[s.i] AND key = (${names})[s.i]
                 AND created_at > (${expired})[s.i])
         UNION ALL SELECT place FROM {of_files}
         WHERE s.i NOT IN (SELECT free.i FROM free)
         UNION ALL SELECT place FROM {of_seen}
         WHERE NOT EXISTS (
             SELECT FROM (SELECT ticket_id, seq FROM events WHERE id = (${events})[s.i]
                     AND ((${staff})[s.i] OR audience = 'participants') LIMIT 1) e
             WHERE e.ticket_id = {ticket} AND NOT EXISTS (
                 SELECT FROM events n WHERE n.ticket_id = e.ticket_id AND n.seq > e.seq
                     AND n.kind = 'comment_added'
                     AND n.actor_id IS DISTINCT FROM (${readers})[s.i]
                     AND ((${staff})[s.i] OR n.audience = 'participants')))",
        of_keys = row(keys),
        of_files = row(files),
        of_seen = row(seen),
    )
}

/// Returns the expression `claimed`: claims the keys of the rows `rows (i)`, in the order in which
/// all such statements claim.
pub(super) fn claiming(first: usize, rows: &str) -> String {
    let [places, accounts, keys, fingerprints, results, times, expired] =
        [0, 1, 2, 3, 4, 5, 6].map(|n| first + n);
    format!(
        "claims AS MATERIALIZED (
             SELECT k.i FROM (SELECT place, i::int FROM unnest(${places})
                 WITH ORDINALITY AS k (place, i)) k
             JOIN {rows} r ON r.i = k.place
         ), claimed AS (
             INSERT INTO idempotency_keys AS k
                 (account_id, key, fingerprint, result_id, created_at)
             SELECT (${accounts})[i], (${keys})[i], (${fingerprints})[i], (${results})[i],
                 (${times})[i]
             FROM claims ORDER BY (${accounts})[i], (${keys})[i]
             ON CONFLICT (account_id, key) DO UPDATE SET fingerprint = excluded.fingerprint,
                 result_id = excluded.result_id, created_at = excluded.created_at
                 WHERE k.created_at <= (SELECT min(e) FROM unnest(${expired}) e)
             RETURNING account_id
         )"
    )
}

/// Returns a condition that fails the statement if a key was claimed by another call after the statement
/// began. That must undo the claims of the other rows too: the rows are then written one by one. The
/// text is not a number, and depends on a row, so that it is not read before.
pub(super) fn all_claimed() -> String {
    format!(
        "CASE WHEN (SELECT count(*) FROM claimed) = (SELECT count(*) FROM claims) THEN true
              ELSE ('{KEY_CLAIMED} ' || (SELECT count(*) FROM claims))::int IS NULL END"
    )
}

/// Returns the expression `attached`: attaches the free files of the rows `rows (i)`. `ticket` is
/// the ticket of a row.
pub(super) fn attaching(first: usize, rows: &str, ticket: &str) -> String {
    let (positions, comments) = (first + 10, first + 11);
    format!(
        "attached AS (
             UPDATE attachments a SET ticket_id = {ticket}, comment_id = (${comments})[f.i],
                 position = (${positions})[f.i]
             FROM free f JOIN {rows} w ON w.i = f.place
             WHERE a.id = f.id
         )"
    )
}
