//! Saving tickets with their new events and comments: the one statement that writes what happens
//! to tickets.

use std::sync::OnceLock;

use diesel::{
    QueryableByName,
    sql_types::{
        Array, BigInt, Binary, Bool, Integer, Interval, Jsonb, Nullable, Text, Timestamptz,
        Uuid as SqlUuid,
    },
};
use diesel_async::RunQueryDsl;
use serde::Serialize;
use serde_json::{Value, json};
use uuid::Uuid;

use super::{
    super::{
        Connection, DbError,
        placing::{
            PLACEMENT, PLACEMENT_OF, Placement, PlacementRow, Placing, current_epoch, placing,
        },
        prepared::Prepare as _,
        rate_limit::Bucket,
        schema::sql_types::{CommentVisibility, EventAudience, TicketPriority, TicketStatus},
        unread::LatestEvents,
    },
    due::{
        CountedAttempts, DueAttempts, FullBuckets, NOTHING_COUNTED, UnwrittenAttempts, counted,
        counting, uncounted,
    },
    terms::{
        self, TermValues, Terms, all_claimed, attaching, bind_terms, claimants, claiming,
        free_files, unmet,
    },
};
use crate::domain::{
    clock::Timestamp,
    comment::{Comment, Visibility},
    event::{Audience, Event, Subject, TicketEvent, TicketState, TicketSubject},
    ids::{AccountId, EventId, TicketId},
    ticket::{Priority, Status, Ticket},
};

/// An event about a ticket that is to be appended.
#[derive(Clone)]
pub struct NewTicketEvent {
    /// What happened.
    pub event: TicketEvent,
    /// Who may see it.
    pub audience: Audience,
    /// Who caused it, or `None` for the system.
    pub actor_id: Option<AccountId>,
    /// When it happened.
    pub occurred_at: Timestamp,
}

/// A change of a ticket that is to be saved.
#[derive(Clone, Copy)]
pub struct TicketChange<'a> {
    /// The ticket after the change. Its count of events is the one before it.
    pub ticket: &'a Ticket,
    /// The comment that the change adds, if any.
    pub comment: Option<&'a Comment>,
    /// The events of the change, in order. At least one.
    pub events: &'a [NewTicketEvent],
    /// The bucket that counts the change, if it is limited.
    pub counted: Option<Bucket>,
    /// What else the change depends on.
    pub terms: Terms<'a>,
}

/// What became of the changes that were to be saved.
#[derive(Default)]
pub struct Saved {
    /// The tickets that were written.
    pub written: Vec<TicketId>,
    /// The tickets that were left out because of one of their changes: its bucket is full, or its
    /// terms are not met.
    pub refused: Vec<TicketId>,
    /// The buckets that are full.
    pub full: FullBuckets,
    /// What was counted for the tickets that were not written. The caller uncounts it.
    pub unwritten: UnwrittenAttempts,
    /// Where the events of the tickets that were written are.
    pub placement: Placement,
    /// The tag of the epoch in which they were written, or `None` if one must be opened first.
    pub epoch: Option<i32>,
}

/// The tickets, and the numbers of events on which their changes were decided.
const SEEN: &str = "seen AS MATERIALIZED (
        SELECT n.i::int AS i, n.id, n.seq
        FROM unnest($1, $2) WITH ORDINALITY AS n (id, seq, i)
    )";

/// Locks each ticket that still has the number of events on which its change was decided, in the epoch
/// of the decision, if there is one: after a failover, other events may have the same numbers. Tickets
/// that another transaction has locked are left out: waiting would hold up the others. The limit has
/// each ticket looked up by index.
const LOCKED: &str = "locked AS MATERIALIZED (
        SELECT n.i, t.id FROM seen n
        CROSS JOIN LATERAL (
            SELECT id FROM tickets WHERE id = n.id AND event_seq = n.seq
                AND ($47 IS NULL OR $47 = (SELECT tag FROM current_epoch))
            LIMIT 1 FOR NO KEY UPDATE SKIP LOCKED) t";
/// Leaves out the tickets of which a change is refused.
const MET: &str = "WHERE n.i <> ALL (ARRAY(SELECT place FROM unmet))";

/// Updates the tickets, with what their rows say about their latest events.
const CHANGED: &str = "changed AS (
        UPDATE tickets t SET
            category_id = ($3)[s.i], assignee_id = ($4)[s.i],
            participant_ids = ($5)[s.i]::uuid[], past_participant_ids = ($6)[s.i]::uuid[],
            status = ($8)[s.i], priority = ($9)[s.i], version = ($10)[s.i],
            updated_at = ($11)[s.i], waiting_since = ($12)[s.i], resolved_at = ($13)[s.i],
            last_comment_id = ($14)[s.i], last_public_comment_id = ($15)[s.i],
            last_comments_seq = CASE WHEN ($16)[s.i] THEN ($17)[s.i] END,
            event_seq = ($17)[s.i], any_seq = ($17)[s.i],
            any_seq_by_others = coalesce(($18)[s.i],
                CASE WHEN any_actor_id IS DISTINCT FROM ($19)[s.i] THEN any_seq
                     ELSE any_seq_by_others END),
            any_actor_id = ($19)[s.i],
            public_seq = coalesce(($20)[s.i], public_seq),
            public_seq_by_others = CASE
                WHEN ($20)[s.i] IS NULL THEN public_seq_by_others
                ELSE coalesce(($21)[s.i],
                    CASE WHEN public_actor_id IS DISTINCT FROM ($22)[s.i] THEN public_seq
                         ELSE public_seq_by_others END) END,
            public_actor_id =
                CASE WHEN ($20)[s.i] IS NULL THEN public_actor_id ELSE ($22)[s.i] END";
/// Updates the summaries too. A trigger then looks whether the search must know.
const SUMMARIES_CHANGED: &str = ", summary = ($7)[s.i]";
const CHANGED_OF: &str = "FROM locked s WHERE t.id = s.id";
const RETURNED: &str = "RETURNING s.i, t.id, t.participant_ids
    )";

/// Updates the entries by which the lists of staff find the tickets.
const ENTERED: &str = "entered AS (
        UPDATE queue_entries q SET
            category_id = ($3)[w.i], assignee_id = ($4)[w.i], status = ($8)[w.i],
            priority = ($9)[w.i], updated_at = ($11)[w.i], waiting_since = ($12)[w.i],
            resolved_at = ($13)[w.i]
        FROM changed w WHERE q.ticket_id = w.id
    )";

/// Inserts the comments and events of the tickets that were written. Ids of events rise in the order
/// in which the events happened.
const ADDED: &str = "commented AS (
        INSERT INTO comments (id, ticket_id, author_id, visibility, body, created_at)
        SELECT ($24)[c.i], w.id, ($25)[c.i], ($26)[c.i], ($27)[c.i], ($28)[c.i]
        FROM (SELECT ticket, i::int FROM unnest($23) WITH ORDINALITY AS c (ticket, i)) c
        JOIN changed w ON w.i = c.ticket
    ), appended AS (
        INSERT INTO events (ticket_id, seq, kind, audience, actor_id, data, category_id, status,
                            priority, assignee_id, participant_ids, occurred_at)
        SELECT w.id, ($30)[e.i], ($31)[e.i], ($32)[e.i], ($33)[e.i], ($34)[e.i], ($35)[e.i],
               ($36)[e.i], ($37)[e.i], ($38)[e.i], w.participant_ids, ($39)[e.i]
        FROM (SELECT ticket, i::int FROM unnest($29) WITH ORDINALITY AS e (ticket, i)) e
        JOIN changed w ON w.i = e.ticket
        ORDER BY e.i
        RETURNING id, ticket_id, seq
    )";

/// The first parameters of what is counted and of the terms, and between them the mark of the placement
/// and the epoch of the decisions.
const FIRST_DUE: usize = 40;
const MARK: usize = 46;
const FIRST_TERM: usize = 48;

/// What the changes of a statement need besides their tickets, comments and events. To prepare and
/// to start what they do not need would take a sixth of the time of a comment.
#[derive(Clone, Copy)]
struct Needs {
    /// A change may change the summary.
    summaries: bool,
    /// A change is counted.
    counting: bool,
    /// A change has terms.
    terms: bool,
}

impl Needs {
    fn of(changes: &[TicketChange<'_>]) -> Self {
        let mut events = changes.iter().flat_map(|change| change.events);
        let terms = changes.iter().any(|change| !change.terms.is_empty());
        Self {
            summaries: events.any(|new| new.event.may_change_summary()),
            // What is counted and what terms demand is compared together.
            counting: terms || changes.iter().any(|change| change.counted.is_some()),
            terms,
        }
    }

    /// Returns the statement for these needs.
    fn statement(self) -> &'static str {
        static STATEMENTS: [OnceLock<String>; 8] = [const { OnceLock::new() }; 8];
        let Self { summaries, counting, terms } = self;
        let nth = usize::from(summaries) | usize::from(counting) << 1 | usize::from(terms) << 2;
        STATEMENTS[nth].get_or_init(|| self.text())
    }

    /// Locks files before tickets, and claims keys after them.
    fn text(self) -> String {
        let summaries = if self.summaries { SUMMARIES_CHANGED } else { "" };
        let (counting, met, compared) = if self.counting {
            let unmet = "ARRAY(SELECT place FROM unmet) AS unmet";
            (counting(FIRST_DUE) + ",", MET, format!("{unmet}, {}", counted(FIRST_DUE)))
        } else {
            (String::new(), "", format!("'{{}}'::int[] AS unmet, {NOTHING_COUNTED}"))
        };
        let unmet = match (self.counting, self.terms) {
            (false, _) => String::new(),
            (true, false) => format!("unmet AS MATERIALIZED ({}),", uncounted(FIRST_DUE)),
            (true, true) => {
                let unmet = unmet(FIRST_TERM, &uncounted(FIRST_DUE), "($1)[s.place]");
                format!("unmet AS MATERIALIZED ({unmet}),")
            }
        };
        let [free, claiming, attaching] = if self.terms {
            let (claiming, attaching) =
                (claiming(FIRST_TERM, "locked"), attaching(FIRST_TERM, "changed", "w.id"));
            [free_files(FIRST_TERM), claiming, attaching].map(|expression| expression + ",")
        } else {
            [const { String::new() }; 3]
        };
        let claimed = if self.terms { format!("AND {}", all_claimed()) } else { String::new() };
        let claimants = self.terms.then(|| claimants(FIRST_TERM));
        let placing = placing(MARK, claimants.as_deref());
        format!(
            "WITH {SEEN}, {}, {counting} {free} {unmet} {LOCKED} {met}), {claiming}
             {CHANGED} {summaries} {CHANGED_OF} {claimed} {RETURNED}, {ENTERED}, {ADDED}, {attaching} {placing}
             SELECT ARRAY(SELECT i FROM changed) AS written, {compared}, {PLACEMENT}
             FROM {PLACEMENT_OF}",
            current_epoch()
        )
    }
}

/// The state of the tickets, one value per ticket.
#[derive(Default)]
struct TicketValues {
    ids: Vec<Uuid>,
    seen: Vec<i64>,
    categories: Vec<Uuid>,
    assignees: Vec<Option<Uuid>>,
    participants: Vec<String>,
    past_participants: Vec<String>,
    summaries: Vec<String>,
    statuses: Vec<Status>,
    priorities: Vec<Priority>,
    versions: Vec<i32>,
    updated: Vec<Timestamp>,
    waiting: Vec<Option<Timestamp>>,
    resolved: Vec<Option<Timestamp>>,
    last_comments: Vec<Option<Uuid>>,
    last_public_comments: Vec<Option<Uuid>>,
    last_comments_known: Vec<bool>,
}

/// What the tickets' rows say about their latest events, one value per ticket.
#[derive(Default)]
struct LatestValues {
    seqs: Vec<i64>,
    others: Vec<Option<i64>>,
    actors: Vec<Option<Uuid>>,
    public_seqs: Vec<Option<i64>>,
    public_others: Vec<Option<i64>>,
    public_actors: Vec<Option<Uuid>>,
}

/// The comments, one value per comment. `tickets` are places in [`TicketValues`], from 1.
#[derive(Default)]
struct CommentValues<'a> {
    tickets: Vec<i32>,
    ids: Vec<Uuid>,
    authors: Vec<Uuid>,
    visibilities: Vec<Visibility>,
    bodies: Vec<&'a str>,
    times: Vec<Timestamp>,
}

/// The events, one value per event. `tickets` are places in [`TicketValues`], from 1.
#[derive(Default)]
struct EventValues {
    tickets: Vec<i32>,
    seqs: Vec<i64>,
    kinds: Vec<String>,
    audiences: Vec<Audience>,
    actors: Vec<Option<Uuid>>,
    data: Vec<Value>,
    categories: Vec<Uuid>,
    statuses: Vec<Status>,
    priorities: Vec<Priority>,
    assignees: Vec<Option<Uuid>>,
    times: Vec<Timestamp>,
}

/// All values of the statement.
#[derive(Default)]
struct Values<'a> {
    tickets: TicketValues,
    latest: LatestValues,
    comments: CommentValues<'a>,
    events: EventValues,
    due: DueAttempts,
    terms: TermValues<'a>,
}

#[derive(QueryableByName)]
struct SavedRow {
    /// The places of the tickets that were written.
    #[diesel(sql_type = Array<Integer>)]
    written: Vec<i32>,
    /// The places of the tickets of which a change was refused.
    #[diesel(sql_type = Array<Integer>)]
    unmet: Vec<i32>,
    #[diesel(embed)]
    counted: CountedAttempts,
    #[diesel(embed)]
    placement: PlacementRow,
}

/// Saves changes of tickets, with their comments and events, in one statement, which also places the
/// events if it may. Several changes of one ticket follow each other in the list and were decided in
/// this order. The tickets that are not written were refused, have changed since their changes were
/// decided, are locked or do not exist: nothing of them is stored. With an epoch, in which the changes
/// were decided, nothing is written in another one.
pub async fn save(
    db: &mut Connection,
    changes: &[TicketChange<'_>],
    placing: Option<Placing>,
    epoch: Option<i32>,
) -> Result<Saved, DbError> {
    let by_ticket = changes.chunk_by(|a, b| a.ticket.id == b.ticket.id).collect::<Vec<_>>();
    let mut values = Values::default();
    for changes in &by_ticket {
        values.add(changes)?;
    }
    let due = values.due.buckets();
    let needs = Needs::of(changes);
    // With the summaries, a trigger changes the words of the search when the statement ends, and may wait
    // for the consumer that adds them. A statement that places events must not wait.
    let placing = placing.filter(|_| !needs.summaries);
    let saved = values.execute(db, needs, placing, epoch).await?;
    let event = |id, ticket, seq| {
        let changes = by_ticket.iter().find(|changes| changes[0].ticket.id == ticket)?;
        appended_event(changes, id, seq)
    };
    let epoch = saved.placement.epoch;
    let placement = saved.placement.placement(placing, event);
    let tickets = |places: Vec<i32>| {
        let ticket = |place: i32| {
            let changes = by_ticket.get(usize::try_from(place - 1).ok()?)?;
            Some(changes[0].ticket.id)
        };
        places.into_iter().filter_map(ticket).collect::<Vec<_>>()
    };
    let (written, refused) = (tickets(saved.written), tickets(saved.unmet));
    let unwritten = changes.iter().filter(|change| !written.contains(&change.ticket.id));
    let (full, unwritten) = saved.counted.split(due, unwritten.filter_map(|change| change.counted));
    Ok(Saved { written, refused, full, unwritten, placement, epoch })
}

/// Returns a ticket's event with a number, as the log has it. `changes` are those of the ticket.
fn appended_event(changes: &[TicketChange<'_>], id: EventId, seq: i64) -> Option<Event> {
    let last = changes.last()?.ticket;
    let mut events = changes
        .iter()
        .flat_map(|change| change.events.iter().zip(states(change.ticket, change.events)));
    let (new, state) = events.nth(usize::try_from(seq - last.events - 1).ok()?)?;
    Some(new.appended(id, last, state))
}

impl NewTicketEvent {
    /// Returns the event about a ticket as the log has it.
    pub(super) fn appended(&self, id: EventId, ticket: &Ticket, state: TicketState) -> Event {
        Event {
            id,
            actor_id: self.actor_id,
            occurred_at: self.occurred_at,
            subject: Subject::Ticket(TicketSubject {
                id: ticket.id,
                reporter: ticket.reporter_id,
                participants: ticket.participant_ids.clone(),
                state: Some(state),
                audience: self.audience,
                event: self.event,
            }),
        }
    }
}

/// Saves a ticket and appends its new events, in order, which also grows its count of events.
/// Without new events, nothing is saved. The transaction must have locked the ticket's row.
pub async fn save_with_events(
    db: &mut Connection,
    ticket: &mut Ticket,
    new: &[NewTicketEvent],
) -> Result<(), DbError> {
    save_change(db, ticket, None, new).await
}

/// Saves tickets like [`save_with_events`], each with its new events, in one statement.
pub async fn save_all_with_events(
    db: &mut Connection,
    changed: &mut [(Ticket, Vec<NewTicketEvent>)],
) -> Result<(), DbError> {
    let changes = changed.iter().filter(|(_, events)| !events.is_empty());
    let changes = changes
        .map(|(ticket, events)| TicketChange::of_locked(ticket, None, events))
        .collect::<Vec<_>>();
    save_locked(db, &changes).await?;
    for (ticket, events) in changed {
        ticket.events += count(events);
    }
    Ok(())
}

/// Saves a ticket like [`save_with_events`], with the comment that was added.
pub async fn save_change(
    db: &mut Connection,
    ticket: &mut Ticket,
    comment: Option<&Comment>,
    new: &[NewTicketEvent],
) -> Result<(), DbError> {
    if !new.is_empty() {
        save_locked(db, &[TicketChange::of_locked(ticket, comment, new)]).await?;
        ticket.events += count(new);
    }
    Ok(())
}

/// Saves changes of different tickets that the transaction has locked.
async fn save_locked(db: &mut Connection, changes: &[TicketChange<'_>]) -> Result<(), DbError> {
    if changes.is_empty() || save(db, changes, None, None).await?.written.len() == changes.len() {
        return Ok(());
    }
    Err(DbError::Value("a ticket has changed although it was locked".into()))
}

impl<'a> TicketChange<'a> {
    /// Creates a change that depends on nothing but its ticket, which the transaction has locked.
    fn of_locked(
        ticket: &'a Ticket,
        comment: Option<&'a Comment>,
        events: &'a [NewTicketEvent],
    ) -> Self {
        Self { ticket, comment, events, counted: None, terms: Terms::default() }
    }
}

impl<'a> Values<'a> {
    /// Adds the changes of one ticket.
    fn add(&mut self, changes: &[TicketChange<'a>]) -> Result<(), DbError> {
        let Some(last) = changes.last() else { return Ok(()) };
        let seen = last.ticket.events;
        self.tickets.add(last.ticket, seen);
        let place = i32::try_from(self.tickets.ids.len()).unwrap_or(i32::MAX);
        let events = changes.iter().flat_map(|change| change.events);
        self.latest.add(
            seen,
            &LatestEvents::of(
                events.map(|event| (event.actor_id, event.audience == Audience::Participants)),
            ),
        );
        let mut seq = seen;
        for change in changes {
            if let Some(comment) = change.comment {
                self.comments.add(place, comment);
            }
            if let (Some(bucket), Some(event)) = (&change.counted, change.events.first()) {
                self.due.add(place, bucket, event.occurred_at);
            }
            self.terms.add(place, &change.terms, change.comment.map(|comment| comment.id));
            for (event, state) in change.events.iter().zip(states(change.ticket, change.events)) {
                seq += 1;
                self.events.add(place, seq, event, state)?;
            }
        }
        Ok(())
    }

    async fn execute(
        self,
        db: &mut Connection,
        needs: Needs,
        placing: Option<Placing>,
        epoch: Option<i32>,
    ) -> Result<SavedRow, DbError> {
        let Self { tickets: t, latest: l, comments: c, events: e, due, terms } = self;
        let (buckets, fills): (Vec<_>, Vec<_>) = due.fills.into_iter().unzip();
        let statement = diesel::sql_query(needs.statement())
            .bind::<Array<SqlUuid>, _>(t.ids)
            .bind::<Array<BigInt>, _>(t.seen)
            .bind::<Array<SqlUuid>, _>(t.categories)
            .bind::<Array<Nullable<SqlUuid>>, _>(t.assignees)
            .bind::<Array<Text>, _>(t.participants)
            .bind::<Array<Text>, _>(t.past_participants)
            .bind::<Array<Text>, _>(t.summaries)
            .bind::<Array<TicketStatus>, _>(t.statuses)
            .bind::<Array<TicketPriority>, _>(t.priorities)
            .bind::<Array<Integer>, _>(t.versions)
            .bind::<Array<Timestamptz>, _>(t.updated)
            .bind::<Array<Nullable<Timestamptz>>, _>(t.waiting)
            .bind::<Array<Nullable<Timestamptz>>, _>(t.resolved)
            .bind::<Array<Nullable<SqlUuid>>, _>(t.last_comments)
            .bind::<Array<Nullable<SqlUuid>>, _>(t.last_public_comments)
            .bind::<Array<Bool>, _>(t.last_comments_known)
            .bind::<Array<BigInt>, _>(l.seqs)
            .bind::<Array<Nullable<BigInt>>, _>(l.others)
            .bind::<Array<Nullable<SqlUuid>>, _>(l.actors)
            .bind::<Array<Nullable<BigInt>>, _>(l.public_seqs)
            .bind::<Array<Nullable<BigInt>>, _>(l.public_others)
            .bind::<Array<Nullable<SqlUuid>>, _>(l.public_actors)
            .bind::<Array<Integer>, _>(c.tickets)
            .bind::<Array<SqlUuid>, _>(c.ids)
            .bind::<Array<SqlUuid>, _>(c.authors)
            .bind::<Array<CommentVisibility>, _>(c.visibilities)
            .bind::<Array<Text>, _>(c.bodies)
            .bind::<Array<Timestamptz>, _>(c.times)
            .bind::<Array<Integer>, _>(e.tickets)
            .bind::<Array<BigInt>, _>(e.seqs)
            .bind::<Array<Text>, _>(e.kinds)
            .bind::<Array<EventAudience>, _>(e.audiences)
            .bind::<Array<Nullable<SqlUuid>>, _>(e.actors)
            .bind::<Array<Jsonb>, _>(e.data)
            .bind::<Array<SqlUuid>, _>(e.categories)
            .bind::<Array<TicketStatus>, _>(e.statuses)
            .bind::<Array<TicketPriority>, _>(e.priorities)
            .bind::<Array<Nullable<SqlUuid>>, _>(e.assignees)
            .bind::<Array<Timestamptz>, _>(e.times)
            .bind::<Array<Integer>, _>(due.places)
            .bind::<Array<Binary>, _>(due.attempted)
            .bind::<Array<Binary>, _>(buckets)
            .bind::<Array<Interval>, _>(fills)
            .bind::<Interval, _>(due.within)
            .bind::<Timestamptz, _>(due.now)
            .bind::<Nullable<BigInt>, _>(placing.map(|placing| placing.mark))
            .bind::<Nullable<Integer>, _>(epoch);
        // `get_result` would return at the first row, which Postgres sends before it commits.
        let rows = if needs.terms {
            bind_terms!(statement, terms).prepared().load(db).await?
        } else {
            statement.prepared().load(db).await?
        };
        Ok(rows.into_iter().next().ok_or(diesel::result::Error::NotFound)?)
    }
}

impl TicketValues {
    fn add(&mut self, ticket: &Ticket, seen: i64) {
        let last = ticket.last_comments.unwrap_or_default();
        self.ids.push(ticket.id.0);
        self.seen.push(seen);
        self.categories.push(ticket.category_id.0);
        self.assignees.push(ticket.assignee_id.map(|id| id.0));
        self.participants.push(array(&ticket.participant_ids));
        self.past_participants.push(array(&ticket.past_participant_ids));
        self.summaries.push(ticket.summary.clone());
        self.statuses.push(ticket.status);
        self.priorities.push(ticket.priority);
        self.versions.push(ticket.version);
        self.updated.push(ticket.updated_at);
        self.waiting.push(ticket.waiting_since);
        self.resolved.push(ticket.resolved_at);
        self.last_comments.push(last.any.map(|id| id.0));
        self.last_public_comments.push(last.public.map(|id| id.0));
        self.last_comments_known.push(ticket.last_comments.is_some());
    }
}

impl LatestValues {
    fn add(&mut self, seen: i64, latest: &LatestEvents) {
        let public = latest.public;
        self.seqs.push(seen + latest.any.nth);
        self.others.push(latest.any.nth_by_others.map(|nth| seen + nth));
        self.actors.push(latest.any.actor.map(|id| id.0));
        self.public_seqs.push(public.map(|last| seen + last.nth));
        self.public_others.push(public.and_then(|last| last.nth_by_others).map(|nth| seen + nth));
        self.public_actors.push(public.and_then(|last| last.actor).map(|id| id.0));
    }
}

impl<'a> CommentValues<'a> {
    fn add(&mut self, place: i32, comment: &'a Comment) {
        self.tickets.push(place);
        self.ids.push(comment.id.0);
        self.authors.push(comment.author_id.0);
        self.visibilities.push(comment.visibility);
        self.bodies.push(&comment.body);
        self.times.push(comment.created_at);
    }
}

impl EventValues {
    fn add(
        &mut self,
        place: i32,
        seq: i64,
        new: &NewTicketEvent,
        state: TicketState,
    ) -> Result<(), DbError> {
        let (kind, data) = columns(&new.event)?;
        self.tickets.push(place);
        self.seqs.push(seq);
        self.kinds.push(kind);
        self.audiences.push(new.audience);
        self.actors.push(new.actor_id.map(|id| id.0));
        self.data.push(data);
        self.categories.push(state.category.0);
        self.statuses.push(state.status);
        self.priorities.push(state.priority);
        self.assignees.push(state.assignee.map(|id| id.0));
        self.times.push(new.occurred_at);
        Ok(())
    }
}

/// Returns the text of an array of account ids. An array of arrays could not have rows of different
/// lengths.
fn array(accounts: &[AccountId]) -> String {
    let ids = accounts.iter().map(|id| id.0.to_string()).collect::<Vec<_>>();
    format!("{{{}}}", ids.join(","))
}

/// Returns the ticket's state after each of its new events.
fn states(ticket: &Ticket, new: &[NewTicketEvent]) -> Vec<TicketState> {
    let mut after = ticket.state();
    let mut states = Vec::with_capacity(new.len());
    for new in new.iter().rev() {
        states.push(after);
        after = after.before(&new.event).unwrap_or(after);
    }
    states.reverse();
    states
}

/// Returns the number of new events.
pub(super) fn count<E>(new: &[E]) -> i64 {
    i64::try_from(new.len()).unwrap_or(i64::MAX)
}

/// Returns the kind and data columns of an event.
pub(super) fn columns(event: &impl Serialize) -> Result<(String, Value), DbError> {
    let failed = |reason: &str| DbError::Value(format!("an event cannot be stored: {reason}"));
    let mut value = serde_json::to_value(event).map_err(|error| failed(&error.to_string()))?;
    let kind = value["kind"].as_str().ok_or_else(|| failed("it has no kind"))?.to_owned();
    Ok((kind, value.get_mut("data").map_or_else(|| json!({}), Value::take)))
}
