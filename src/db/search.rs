//! Full text search over `search_documents`, which triggers keep.

use diesel::{
    dsl::sql,
    pg::Pg,
    prelude::*,
    sql_types::{Array, BigInt, Bool, Float, Nullable, Text, Uuid as SqlUuid},
};
use diesel_async::RunQueryDsl;
use uuid::Uuid;

use super::{Connection, DbError, schema::tickets, ticket::TicketRow};
use crate::domain::{
    ids::CommentId,
    page::{Page, Slice},
    policy::TicketScope,
    search::{Found, FoundKey, Fragment, MAX_FOUND, MAX_RANKED, SearchQuery},
};

/// What begins and ends a match in what `ts_headline` gives: texts have no control characters.
const MATCH: (char, char) = ('\u{1}', '\u{2}');
const MARKS: &str = "E'StartSel=\"\\x01\", StopSel=\"\\x02\", '";

/// Excerpts come from so many characters: cutting them out takes longer than the text is long.
const EXCERPTED: i32 = 8_192;

/// `search_query (query, similar)`: one row with the query and the words to be compared by their
/// letters, the longest first, or none where there is nothing to look for: only stop words, or only words to leave out, which
/// no index answers. Between the pieces belong [`SearchQueryValues`].
const WANTED: [&str; 5] = [
    "search_query AS MATERIALIZED (
        SELECT coalesce(words || (websearch_to_tsquery('desk', ",
    ") && to_tsquery('simple', ",
    ")), words) AS query, ARRAY(
            SELECT word FROM unnest(",
    ") AS word WHERE numnode(plainto_tsquery('desk', word)) > 0 ORDER BY char_length(word) DESC
        ) AS similar
        FROM websearch_to_tsquery('desk', ",
    ") AS words
        WHERE querytree(words) NOT IN ('', 'T')
    )",
];

/// What belongs between the pieces of [`WANTED`], in this order.
struct SearchQueryValues {
    /// The text without its last word.
    head: Option<String>,
    /// That word, as a beginning.
    beginning: Option<String>,
    /// The words that are compared by their letters.
    similar: Vec<String>,
    /// The text.
    text: String,
}

impl From<&SearchQuery> for SearchQueryValues {
    fn from(search_query: &SearchQuery) -> Self {
        let last = search_query.last_word();
        Self {
            head: last.map(|(head, _)| head.to_owned()),
            // Letters and digits only: nothing in it can end the quotes.
            beginning: last.map(|(_, word)| format!("'{word}':*")),
            similar: search_query.similar().into_iter().map(str::to_owned).collect(),
            text: search_query.text().to_owned(),
        }
    }
}

/// Whether all words of `search_query w` are like some in the summary of `search_documents d`: the
/// index looks for the longest.
const SIMILAR: &str = "d.summary IS NOT NULL AND w.similar[1] <% d.summary \
    AND (SELECT bool_and(word <% d.summary) FROM unnest(w.similar) AS word)";

/// Which tickets a search would find, as a condition on `tickets`. `internal`: notes are
/// searched too.
pub(super) fn fits(
    search_query: &SearchQuery,
    internal: bool,
) -> Box<dyn BoxableExpression<tickets::table, Pg, SqlType = Bool>> {
    let values = SearchQueryValues::from(search_query);
    let [select, head, beginning, similar, text] = WANTED;
    // Who may not see notes has few tickets: each one's texts are looked at by themselves. Of
    // all tickets, those that fit are looked up.
    let (before, after) = if internal {
        let found = format!(
            " SELECT d.ticket_id FROM search_query w JOIN search_documents d ON d.words @@ w.query
              UNION ALL SELECT d.ticket_id FROM search_query w JOIN search_documents d ON {SIMILAR}
              UNION ALL SELECT n.id FROM tickets n WHERE n.number = "
        );
        ("tickets.id IN (WITH ", found)
    } else {
        let found = format!(
            " SELECT FROM search_query w JOIN search_documents d ON d.ticket_id = tickets.id
              WHERE d.visibility = 'public' AND d.words @@ w.query OR {SIMILAR}
              UNION ALL SELECT WHERE tickets.number = "
        );
        ("EXISTS (WITH ", found)
    };
    let condition = sql::<Bool>(&format!("{before}{select}"))
        .bind::<Nullable<Text>, _>(values.head)
        .sql(head)
        .bind::<Nullable<Text>, _>(values.beginning)
        .sql(beginning)
        .bind::<Array<Text>, _>(values.similar)
        .sql(similar)
        .bind::<Text, _>(values.text)
        .sql(text)
        .sql(&after)
        .bind::<Nullable<BigInt>, _>(search_query.number().map(|number| number.0))
        .sql(")");
    Box::new(condition)
}

#[derive(QueryableByName)]
struct FoundRow {
    #[diesel(embed)]
    ticket: TicketRow,
    #[diesel(sql_type = SqlUuid)]
    document_id: Uuid,
    #[diesel(sql_type = Float)]
    rank: f32,
    #[diesel(sql_type = Text)]
    summary_fragments: String,
    #[diesel(sql_type = Text)]
    excerpt_fragments: String,
}

impl From<FoundRow> for Found {
    fn from(row: FoundRow) -> Self {
        let ticket = crate::domain::ticket::Ticket::from(row.ticket);
        let comment = (row.document_id != ticket.id.0).then_some(CommentId(row.document_id));
        Self {
            rank: row.rank,
            summary: fragments(&row.summary_fragments),
            excerpt: fragments(&row.excerpt_fragments),
            comment,
            ticket,
        }
    }
}

/// The parts of what `ts_headline` gives.
fn fragments(headline: &str) -> Vec<Fragment> {
    headline
        .split_inclusive([MATCH.0, MATCH.1])
        .filter_map(|part| {
            let text = part.trim_end_matches([MATCH.0, MATCH.1]);
            let is_match = part.ends_with(MATCH.1);
            (!text.is_empty()).then(|| Fragment { text: text.to_owned(), is_match })
        })
        .collect()
}

/// The texts of a customer's tickets `d`. They are few: to look through them is better than to
/// look up in an index what all customers have written.
const OWN_TEXTS: &str = "(
    SELECT id FROM tickets WHERE reporter_id = $6
    UNION
    SELECT id FROM tickets WHERE participant_ids <> '{}' AND participant_ids @> ARRAY[$6]
) own CROSS JOIN LATERAL (SELECT * FROM search_documents WHERE ticket_id = own.id OFFSET 0) d";

/// The best tickets in scope that fit, best first. `internal`: notes are searched too.
pub async fn page(
    db: &mut Connection,
    scope: TicketScope,
    internal: bool,
    search_query: &SearchQuery,
    page: &Page<FoundKey>,
) -> Result<Slice<Found>, DbError> {
    let (texts, condition, account) = match scope {
        TicketScope::Nothing => {
            ("(SELECT * FROM search_documents LIMIT 0) d", "false AND $6 IS NULL", None)
        }
        TicketScope::Of(account) => {
            (OWN_TEXTS, "(t.reporter_id = $6 OR t.participant_ids @> ARRAY[$6])", Some(account.0))
        }
        TicketScope::All => ("search_documents d", "$6 IS NULL", None),
    };
    let [select, head, beginning, similar, text] = WANTED;
    // Ranks lie in 0..1, those by letters below 0.1, that is after almost all by words: where
    // words find enough, letters are not compared. To rank takes longer than to find, so what
    // is ranked is bounded. Ids rise with time; the index on them must not be walked for that,
    // which would read all texts for a rare word.
    let query = format!(
        "WITH {select}$1{head}$2{beginning}$3{similar}$4{text}, worded AS MATERIALIZED (
             SELECT d.id
             FROM search_query w CROSS JOIN {texts}
             WHERE d.words @@ w.query AND ($5 OR d.visibility = 'public')
         ), hits AS (
             SELECT d.ticket_id, d.id AS document_id, ts_rank_cd(d.words, w.query, 32) AS rank
             FROM (SELECT id FROM worded ORDER BY id DESC LIMIT {MAX_RANKED}) newest
             JOIN search_documents d ON d.id = newest.id
             CROSS JOIN search_query w
             UNION ALL
             SELECT d.ticket_id, d.id, (SELECT avg(word_similarity(word, d.summary)) / 10 FROM unnest(w.similar) AS word)::real
             FROM search_query w CROSS JOIN {texts}
             WHERE (SELECT count(*) FROM worded) < {MAX_FOUND} AND {SIMILAR}
             UNION ALL
             SELECT t.id, t.id, 2::real FROM tickets t WHERE t.number = $7 AND {condition}
         ), tops AS (
             SELECT DISTINCT ON (ticket_id) * FROM hits ORDER BY ticket_id, rank DESC, document_id
         ), best AS (
             SELECT * FROM tops ORDER BY rank DESC, ticket_id DESC LIMIT {MAX_FOUND}
         ), shown AS (
             SELECT * FROM best
             WHERE $8 IS NULL OR (rank, ticket_id) < ($8, $9)
             ORDER BY rank DESC, ticket_id DESC
             LIMIT $10
         )
         SELECT t.*, s.document_id, s.rank,
                coalesce((SELECT ts_headline('desk', searchable(t.summary), query, {MARKS} || 'HighlightAll=true')
                          FROM search_query), t.summary) AS summary_fragments,
                coalesce((SELECT ts_headline('desk', searchable(left(coalesce(c.body, t.description), {EXCERPTED})), query,
                                             {MARKS} || 'MaxFragments=2, MinWords=8, MaxWords=24, FragmentDelimiter=\" … \"')
                          FROM search_query), left(coalesce(c.body, t.description), 160)) AS excerpt_fragments
         FROM shown s
         JOIN tickets t ON t.id = s.ticket_id
         LEFT JOIN comments c ON c.id = s.document_id
         ORDER BY s.rank DESC, s.ticket_id DESC"
    );
    let values = SearchQueryValues::from(search_query);
    let rows = diesel::sql_query(query)
        .bind::<Nullable<Text>, _>(values.head)
        .bind::<Nullable<Text>, _>(values.beginning)
        .bind::<Array<Text>, _>(values.similar)
        .bind::<Text, _>(values.text)
        .bind::<Bool, _>(internal)
        .bind::<Nullable<SqlUuid>, _>(account)
        .bind::<Nullable<BigInt>, _>(search_query.number().map(|number| number.0))
        .bind::<Nullable<Float>, _>(page.after.map(|key| key.rank))
        .bind::<Nullable<SqlUuid>, _>(page.after.map(|key| key.ticket.0))
        .bind::<BigInt, _>(page.fetch_limit())
        .load::<FoundRow>(db)
        .await?;
    Ok(page.slice(rows.into_iter().map(Found::from).collect()))
}
