//! Opening tickets with their first event, in one statement.

use std::{collections::HashMap, sync::LazyLock};

use diesel::{
    prelude::*,
    sql_types::{
        Array, BigInt, Binary, Integer, Interval, Jsonb, Nullable, Text, Timestamptz,
        Uuid as SqlUuid,
    },
};
use diesel_async::RunQueryDsl;
use uuid::Uuid;

use super::{
    super::{
        Connection, DbError,
        placing::{
            PLACEMENT, PLACEMENT_OF, Placement, PlacementRow, Placing, current_epoch, placing,
        },
        prepared::Prepare as _,
        rate_limit::Bucket,
        schema::sql_types::{EventAudience, TicketPriority, TicketStatus},
    },
    due::{
        CountedAttempts, DueAttempts, FullBuckets, UnwrittenAttempts, counted, counting, uncounted,
    },
    save::{NewTicketEvent, columns},
    terms::{
        self, TermValues, Terms, all_claimed, attaching, bind_terms, claiming, free_files, unmet,
    },
};
use crate::domain::{
    clock::Timestamp,
    event::Audience,
    ids::TicketId,
    ticket::{Priority, Status, Ticket, TicketNumber},
};

/// A ticket that is to be opened.
pub struct TicketOpening<'a> {
    /// The ticket. Its number is assigned when it is opened.
    pub ticket: &'a Ticket,
    /// Its first event, which customers see.
    pub event: &'a NewTicketEvent,
    /// The bucket that counts it, if that is limited.
    pub counted: Option<Bucket>,
    /// What else it depends on. Nothing can have been seen of it.
    pub terms: Terms<'a>,
}

/// What became of the tickets that were to be opened.
#[derive(Default)]
pub struct Opened {
    /// The numbers of those that were opened.
    pub numbers: HashMap<TicketId, TicketNumber>,
    /// The buckets that are full.
    pub full: FullBuckets,
    /// What was counted for the tickets that were not opened. The caller uncounts it.
    pub unwritten: UnwrittenAttempts,
    /// Where the events of those that were opened are.
    pub placement: Placement,
}

/// The chosen categories.
const CHOSEN: &str = "chosen AS MATERIALIZED (
        SELECT n.i::int AS i, n.category FROM unnest($1) WITH ORDINALITY AS n (category, i)
    )";

/// Locks the categories, so that none is retired meanwhile. A ticket that is refused is left out, and
/// so is one whose category does not accept tickets or is being changed.
const ACCEPTED: &str = "accepted AS MATERIALIZED (
        SELECT n.i, c.id AS category FROM chosen n
        CROSS JOIN LATERAL (
            SELECT id FROM categories WHERE id = n.category AND retired_at IS NULL
            LIMIT 1 FOR SHARE SKIP LOCKED) c
        WHERE n.i <> ALL (ARRAY(SELECT place FROM unmet))
    )";

/// Inserts the tickets. Numbers and ids rise in the order of the list.
const INSERTED: &str = "opened AS (
        INSERT INTO tickets (
            id, number, category_id, reporter_id, summary, description, status, priority,
            version, created_at, updated_at, waiting_since, follow_up_to_id,
            event_seq, any_seq, any_actor_id, public_seq, public_actor_id, last_comments_seq)
        SELECT ($2)[i], nextval('ticket_numbers'), category, ($3)[i], ($4)[i], ($5)[i],
            ($6)[i], ($7)[i], ($8)[i], ($9)[i], ($9)[i], ($10)[i], ($11)[i],
            1, 1, ($12)[i], 1, ($12)[i], 1
        FROM accepted WHERE";

/// Inserts their entries in the queue and their events.
const APPENDED: &str = "ORDER BY i
        RETURNING id, number, category_id, status, priority, any_actor_id, created_at, waiting_since
    ), entered AS (
        INSERT INTO queue_entries (ticket_id, category_id, status, priority, updated_at, waiting_since)
        SELECT id, category_id, status, priority, created_at, waiting_since FROM opened
    ), appended AS (
        INSERT INTO events (ticket_id, seq, kind, audience, actor_id, data, category_id,
            status, priority, occurred_at)
        SELECT id, 1, $13, $14, any_actor_id, $15, category_id, status, priority, created_at
        FROM opened ORDER BY number
        RETURNING id, ticket_id, seq
    )";

/// The columns of an [`OpenedRow`] that `CountedAttempts` does not have.
const SELECTED: &str = "SELECT ARRAY(SELECT id FROM opened ORDER BY number) AS ids,
    ARRAY(SELECT number FROM opened ORDER BY number) AS numbers";

/// The accounts that open the tickets.
const REPORTERS: &str = "$3";

/// The first parameters of what is counted and of the terms, and between them the mark of the placement.
const FIRST_DUE: usize = 16;
const MARK: usize = 22;
const FIRST_TERM: usize = 23;

/// The whole statement for tickets without terms.
static OPEN: LazyLock<String> = LazyLock::new(|| {
    let (counting, unmet) = (counting(FIRST_DUE), uncounted(FIRST_DUE));
    let (placing, counted) = (placing(MARK, Some(REPORTERS)), counted(FIRST_DUE));
    let epoch = current_epoch();
    format!(
        "WITH {CHOSEN}, {epoch}, {counting}, unmet AS MATERIALIZED ({unmet}), {ACCEPTED},
         {INSERTED} true {APPENDED}, {placing}
         {SELECTED}, {counted}, {PLACEMENT} FROM {PLACEMENT_OF}"
    )
});

/// The whole statement for tickets of which some have terms.
static OPEN_ON_TERMS: LazyLock<String> = LazyLock::new(|| {
    let (counting, free) = (counting(FIRST_DUE), free_files(FIRST_TERM));
    let unmet = unmet(FIRST_TERM, &uncounted(FIRST_DUE), "($2)[s.place]");
    let (claiming, attaching) =
        (claiming(FIRST_TERM, "accepted"), attaching(FIRST_TERM, "accepted", "($2)[f.place]"));
    let accounts = format!("{REPORTERS} || {}", terms::claimants(FIRST_TERM));
    let (placing, counted) = (placing(MARK, Some(&accounts)), counted(FIRST_DUE));
    let epoch = current_epoch();
    format!(
        "WITH {CHOSEN}, {epoch}, {counting}, {free}, unmet AS MATERIALIZED ({unmet}), {ACCEPTED}, {claiming},
         {INSERTED} {} {APPENDED}, {attaching}, {placing}
         {SELECTED}, {counted}, {PLACEMENT} FROM {PLACEMENT_OF}",
        all_claimed()
    )
});

/// The new tickets, one value per ticket.
#[derive(Default)]
struct Values<'a> {
    categories: Vec<Uuid>,
    ids: Vec<Uuid>,
    reporters: Vec<Uuid>,
    summaries: Vec<&'a str>,
    descriptions: Vec<&'a str>,
    statuses: Vec<Status>,
    priorities: Vec<Priority>,
    versions: Vec<i32>,
    opened: Vec<Timestamp>,
    waiting: Vec<Option<Timestamp>>,
    follow_ups_to: Vec<Option<Uuid>>,
    actors: Vec<Option<Uuid>>,
    due: DueAttempts,
    terms: TermValues<'a>,
}

#[derive(QueryableByName)]
struct OpenedRow {
    #[diesel(sql_type = Array<SqlUuid>)]
    ids: Vec<Uuid>,
    #[diesel(sql_type = Array<BigInt>)]
    numbers: Vec<i64>,
    #[diesel(embed)]
    counted: CountedAttempts,
    #[diesel(embed)]
    placement: PlacementRow,
}

/// Opens tickets whose first events are alike, in one statement, which also places the events if it
/// may. Those that are not opened have a category that does not accept tickets or is being changed, a
/// full bucket, or terms that are not met: nothing of them is stored.
pub async fn open(
    db: &mut Connection,
    new: &[TicketOpening<'_>],
    placing: Option<Placing>,
) -> Result<Opened, DbError> {
    let mut values = Values::default();
    for (place, opening) in (1..).zip(new) {
        values.add(place, opening);
    }
    let Some(first) = new.first() else {
        return Ok(Opened::default());
    };
    let due = values.due.buckets();
    let row = values.execute(db, first.event, placing).await?;
    let placement = row.placement.placement(placing, |id, ticket, _| {
        let opening = new.iter().find(|opening| opening.ticket.id == ticket)?;
        Some(opening.event.appended(id, opening.ticket, opening.ticket.state()))
    });
    let numbers = row.numbers.into_iter().map(TicketNumber);
    let numbers = row.ids.into_iter().map(TicketId).zip(numbers).collect::<HashMap<_, _>>();
    let unopened = new.iter().filter(|opening| !numbers.contains_key(&opening.ticket.id));
    let (full, unwritten) = row.counted.split(due, unopened.filter_map(|opening| opening.counted));
    Ok(Opened { numbers, full, unwritten, placement })
}

impl<'a> Values<'a> {
    fn add(&mut self, place: i32, opening: &TicketOpening<'a>) {
        let ticket = opening.ticket;
        self.categories.push(ticket.category_id.0);
        self.ids.push(ticket.id.0);
        self.reporters.push(ticket.reporter_id.0);
        self.summaries.push(&ticket.summary);
        self.descriptions.push(&ticket.description);
        self.statuses.push(ticket.status);
        self.priorities.push(ticket.priority);
        self.versions.push(ticket.version);
        self.opened.push(ticket.created_at);
        self.waiting.push(ticket.waiting_since);
        self.follow_ups_to.push(ticket.follow_up_to.map(|id| id.0));
        self.actors.push(opening.event.actor_id.map(|id| id.0));
        if let Some(bucket) = &opening.counted {
            self.due.add(place, bucket, ticket.created_at);
        }
        self.terms.add(place, &opening.terms, None);
    }

    async fn execute(
        self,
        db: &mut Connection,
        event: &NewTicketEvent,
        placing: Option<Placing>,
    ) -> Result<OpenedRow, DbError> {
        let (kind, data) = columns(&event.event)?;
        let text = if self.terms.is_empty() { OPEN.as_str() } else { OPEN_ON_TERMS.as_str() };
        let (buckets, fills): (Vec<_>, Vec<_>) = self.due.fills.into_iter().unzip();
        let statement = diesel::sql_query(text)
            .bind::<Array<SqlUuid>, _>(self.categories)
            .bind::<Array<SqlUuid>, _>(self.ids)
            .bind::<Array<SqlUuid>, _>(self.reporters)
            .bind::<Array<Text>, _>(self.summaries)
            .bind::<Array<Text>, _>(self.descriptions)
            .bind::<Array<TicketStatus>, _>(self.statuses)
            .bind::<Array<TicketPriority>, _>(self.priorities)
            .bind::<Array<Integer>, _>(self.versions)
            .bind::<Array<Timestamptz>, _>(self.opened)
            .bind::<Array<Nullable<Timestamptz>>, _>(self.waiting)
            .bind::<Array<Nullable<SqlUuid>>, _>(self.follow_ups_to)
            .bind::<Array<Nullable<SqlUuid>>, _>(self.actors)
            .bind::<Text, _>(kind)
            .bind::<EventAudience, _>(Audience::Participants)
            .bind::<Jsonb, _>(data)
            .bind::<Array<Integer>, _>(self.due.places)
            .bind::<Array<Binary>, _>(self.due.attempted)
            .bind::<Array<Binary>, _>(buckets)
            .bind::<Array<Interval>, _>(fills)
            .bind::<Interval, _>(self.due.within)
            .bind::<Timestamptz, _>(self.due.now)
            .bind::<Nullable<BigInt>, _>(placing.map(|placing| placing.mark));
        // `get_result` would return at the first row, which Postgres sends before it commits.
        let rows = if self.terms.is_empty() {
            statement.prepared().load(db).await?
        } else {
            bind_terms!(statement, self.terms).prepared().load(db).await?
        };
        Ok(rows.into_iter().next().ok_or(diesel::result::Error::NotFound)?)
    }
}
