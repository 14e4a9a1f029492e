//! Figures of the support, computed from the event log.

use chrono::NaiveDate;
use diesel::{
    QueryableByName, sql_query,
    sql_types::{BigInt, Bool, Date, Double, Nullable, Text, Uuid as SqlUuid},
};
use diesel_async::RunQueryDsl;
use uuid::Uuid;

use super::{Connection, DbError};
use crate::domain::{
    ids::{AccountId, CategoryId},
    support_figures::{FigureGroup, FigureRow, LoggedFigures, MAX_ROWS, Period, Subject, Times},
};

/// The facts of a period, one row for each. `$1` is its first day, `$2` the day after the last one.
///
/// The log is read in three parts: the period itself, the earlier events of tickets on which staff
/// commented in it, and the last event before its end of each ticket that was opened in it, is open
/// now, or was opened before its end and has left the open statuses since. The last ones are found by
/// an index of these events, which has one or two for each ticket. Of the rows of tickets, only who
/// opened them, when, and which are open now is read. Who opened a ticket or took part in it at the
/// time of an event is a customer; all others are staff.
const FACTS: &str = "
WITH logged AS MATERIALIZED (
    SELECT e.ticket_id, e.seq, e.kind, e.audience, e.occurred_at, e.category_id, e.assignee_id,
           e.status::text, e.data ->> 'from' AS was, e.data ->> 'to' AS became,
           (e.occurred_at AT TIME ZONE 'UTC')::date AS day,
           t.reporter_id,
           CASE WHEN e.actor_id <> t.reporter_id AND NOT e.actor_id = ANY (e.participant_ids)
                THEN e.actor_id END AS staff_id
    FROM events e JOIN tickets t ON t.id = e.ticket_id
    WHERE e.occurred_at >= $1::timestamp AT TIME ZONE 'UTC'
      AND e.occurred_at < $2::timestamp AT TIME ZONE 'UTC'
      AND e.ticket_id IS NOT NULL
      AND e.kind IN ('ticket_created', 'comment_added', 'status_changed')
), answers AS (
    SELECT DISTINCT ON (ticket_id) * FROM logged
    WHERE kind = 'comment_added' AND audience = 'participants' AND staff_id IS NOT NULL
    ORDER BY ticket_id, seq
), first_answers AS (
    SELECT a.* FROM answers a
    WHERE NOT EXISTS (
        SELECT FROM events e
        WHERE e.ticket_id = a.ticket_id AND e.seq < a.seq AND e.kind = 'comment_added'
          AND e.audience = 'participants' AND e.actor_id <> a.reporter_id
          AND NOT e.actor_id = ANY (e.participant_ids))
), turns AS (
    SELECT l.*, row_number() OVER (PARTITION BY ticket_id ORDER BY seq DESC) AS from_last
    FROM logged l
    WHERE kind = 'status_changed'
      AND (was IN ('resolved', 'closed')) <> (became IN ('resolved', 'closed'))
      -- A merged ticket continues in another one.
      AND NOT EXISTS (
        SELECT FROM events e
        WHERE e.ticket_id = l.ticket_id AND e.seq = l.seq - 1 AND e.kind = 'ticket_merged'
          AND e.data ->> 'from' = l.ticket_id::text)
), resolutions AS (
    SELECT * FROM turns WHERE from_last = 1 AND became IN ('resolved', 'closed')
), known AS (
    SELECT ticket_id, max(day) AS opened_on FROM (
        SELECT ticket_id, day FROM logged WHERE kind = 'ticket_created'
        UNION ALL
        SELECT ticket_id, NULL FROM queue_entries WHERE status = ANY
            ('{waiting_for_support, working_on_it, waiting_for_customer}'::ticket_status[])
        UNION ALL
        SELECT e.ticket_id, NULL FROM events e JOIN tickets t ON t.id = e.ticket_id
        WHERE e.occurred_at >= $2::timestamp AT TIME ZONE 'UTC' AND e.kind = 'status_changed'
          AND e.data ->> 'from' NOT IN ('resolved', 'closed')
          AND e.data ->> 'to' IN ('resolved', 'closed')
          AND t.created_at < $2::timestamp AT TIME ZONE 'UTC'
    ) found GROUP BY ticket_id
), at_end AS MATERIALIZED (
    SELECT k.opened_on, last.* FROM known k CROSS JOIN LATERAL (
        SELECT e.category_id, e.assignee_id, e.status::text FROM events e
        WHERE e.ticket_id = k.ticket_id
          AND e.occurred_at < $2::timestamp AT TIME ZONE 'UTC'
        ORDER BY e.seq DESC LIMIT 1) last
), facts (day, category_id, agent_id, opened, resolved, open, waiting, more_open, more_waiting,
          first_response, resolution) AS (
    SELECT opened_on, category_id, assignee_id, 1, 0, 0, 0, 0, 0, NULL::float8, NULL::float8
    FROM at_end WHERE opened_on IS NOT NULL
    UNION ALL
    SELECT a.day, a.category_id, a.staff_id, 0, 0, 0, 0, 0, 0,
           greatest(extract(epoch FROM a.occurred_at - o.occurred_at), 0)::float8, NULL
    FROM first_answers a JOIN events o ON o.ticket_id = a.ticket_id AND o.seq = 1
    UNION ALL
    SELECT r.day, r.category_id, coalesce(r.assignee_id, r.staff_id), 0, 1, 0, 0, 0, 0,
           NULL, greatest(extract(epoch FROM r.occurred_at - o.occurred_at), 0)::float8
    FROM resolutions r JOIN events o ON o.ticket_id = r.ticket_id AND o.seq = 1
    UNION ALL
    SELECT ($2::timestamp - interval '1 day')::date, category_id, assignee_id, 0, 0, 1,
           (status = 'waiting_for_support')::int, 0, 0, NULL, NULL
    FROM at_end WHERE status NOT IN ('resolved', 'closed')
    UNION ALL
    SELECT day, category_id, assignee_id, 0, 0, 0, 0,
           (became NOT IN ('resolved', 'closed'))::int - (was NOT IN ('resolved', 'closed'))::int,
           (became = 'waiting_for_support')::int - (was = 'waiting_for_support')::int, NULL, NULL
    FROM logged WHERE kind = 'status_changed'
    UNION ALL
    SELECT day, category_id, assignee_id, 0, 0, 0, 0, 1, (status = 'waiting_for_support')::int,
           NULL, NULL
    FROM logged WHERE kind = 'ticket_created'
)";

/// Returns the statement that groups the facts by a column of theirs. `names` are the columns `day`,
/// `subject_id`, `name` and `other_name` of a group, and `table` is joined for them. Rows that meet
/// `condition` are returned, ordered by `order`.
fn statement(column: &str, names: &str, table: &str, condition: &str, order: &str) -> String {
    format!(
        "{FACTS}, grouped AS (
    SELECT {column} AS subject, grouping({column}) = 1 AS is_total,
           coalesce(sum(opened), 0) AS opened, coalesce(sum(resolved), 0) AS resolved,
           coalesce(sum(open), 0) AS open, coalesce(sum(waiting), 0) AS waiting,
           coalesce(sum(more_open), 0) AS more_open,
           coalesce(sum(more_waiting), 0) AS more_waiting,
           percentile_cont(ARRAY[0.5, 0.9]) WITHIN GROUP (ORDER BY first_response) AS response,
           percentile_cont(ARRAY[0.5, 0.9]) WITHIN GROUP (ORDER BY resolution) AS resolution
    FROM facts GROUP BY GROUPING SETS (({column}), ())
)
SELECT is_total, {names}, opened, resolved, open, waiting, more_open, more_waiting,
       response[1] AS response_median, response[2] AS response_p90,
       resolution[1] AS resolution_median, resolution[2] AS resolution_p90
FROM grouped {table}
WHERE is_total OR {condition}
ORDER BY is_total DESC, {order} LIMIT {MAX_ROWS} + 1"
    )
}

/// Whether a row has any figures.
const HAS_FIGURES: &str = "opened + resolved + open > 0 OR response[1] IS NOT NULL";

fn statement_of(group: FigureGroup) -> String {
    match group {
        FigureGroup::Category => statement(
            "category_id",
            "NULL::date AS day, subject AS subject_id, c.name_en AS name, c.name_ru AS other_name",
            "LEFT JOIN categories c ON c.id = subject",
            HAS_FIGURES,
            "c.position, subject",
        ),
        FigureGroup::Agent => statement(
            "agent_id",
            "NULL::date AS day, subject AS subject_id, a.name, NULL::text AS other_name",
            "LEFT JOIN accounts a ON a.id = subject",
            HAS_FIGURES,
            "a.name, subject",
        ),
        FigureGroup::Day => statement(
            "day",
            "subject AS day, NULL::uuid AS subject_id, NULL::text AS name, NULL::text AS other_name",
            "",
            "true",
            "subject",
        ),
    }
}

#[derive(QueryableByName)]
struct FigureColumns {
    #[diesel(sql_type = Bool)]
    is_total: bool,
    #[diesel(sql_type = Nullable<Date>)]
    day: Option<NaiveDate>,
    #[diesel(sql_type = Nullable<SqlUuid>)]
    subject_id: Option<Uuid>,
    #[diesel(sql_type = Nullable<Text>)]
    name: Option<String>,
    #[diesel(sql_type = Nullable<Text>)]
    other_name: Option<String>,
    #[diesel(sql_type = BigInt)]
    opened: i64,
    #[diesel(sql_type = BigInt)]
    resolved: i64,
    #[diesel(sql_type = BigInt)]
    open: i64,
    #[diesel(sql_type = BigInt)]
    waiting: i64,
    #[diesel(sql_type = BigInt)]
    more_open: i64,
    #[diesel(sql_type = BigInt)]
    more_waiting: i64,
    #[diesel(sql_type = Nullable<Double>)]
    response_median: Option<f64>,
    #[diesel(sql_type = Nullable<Double>)]
    response_p90: Option<f64>,
    #[diesel(sql_type = Nullable<Double>)]
    resolution_median: Option<f64>,
    #[diesel(sql_type = Nullable<Double>)]
    resolution_p90: Option<f64>,
}

impl FigureColumns {
    fn subject(&self, group: FigureGroup) -> Subject {
        let name = || self.name.clone().unwrap_or_default();
        match (group, self.day, self.subject_id) {
            _ if self.is_total => Subject::Total,
            (_, Some(day), _) => Subject::Day(day),
            (FigureGroup::Category, _, Some(id)) => Subject::Category {
                id: CategoryId(id),
                name_en: name(),
                name_ru: self.other_name.clone().unwrap_or_default(),
            },
            (_, _, Some(id)) => Subject::Agent { id: AccountId(id), name: name() },
            (_, None, None) => Subject::Nobody,
        }
    }

    fn into_figures(self, group: FigureGroup) -> LoggedFigures {
        let row = FigureRow {
            subject: self.subject(group),
            opened: self.opened,
            resolved: self.resolved,
            open: self.open,
            waiting: self.waiting,
            first_response: times(self.response_median, self.response_p90),
            resolution: times(self.resolution_median, self.resolution_p90),
        };
        LoggedFigures { row, more_open: self.more_open, more_waiting: self.more_waiting }
    }
}

fn times(median: Option<f64>, p90: Option<f64>) -> Times {
    let seconds = |time: f64| time.round() as i64;
    Times { median: median.map(seconds), p90: p90.map(seconds) }
}

/// Reads the figures of a period: those of all tickets first, then those of at most [`MAX_ROWS`]
/// subjects.
pub async fn of_period(
    db: &mut Connection,
    period: Period,
    group: FigureGroup,
) -> Result<Vec<LoggedFigures>, DbError> {
    let rows = sql_query(statement_of(group))
        .bind::<Date, _>(period.first())
        .bind::<Date, _>(period.end())
        .load::<FigureColumns>(db)
        .await?;
    Ok(rows.into_iter().map(|row| row.into_figures(group)).collect())
}
