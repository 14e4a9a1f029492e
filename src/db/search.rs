//! Full-text search over `search_documents`. New texts are added later, by a consumer of the feed.
//! Triggers change the rows of texts that change, in the same transaction.

use diesel::{
    dsl::sql,
    prelude::*,
    sql_types::{Array, BigInt, Bool, Float, Nullable, Text, Uuid as SqlUuid},
};
use diesel_async::RunQueryDsl;
use uuid::Uuid;

use super::{
    Connection, DbError,
    prepared::Prepare as _,
    ticket::{ACCOUNT_CHANGES, TicketRow, scope::Condition},
};
use crate::domain::{
    ids::{CommentId, TicketId},
    page::{Page, Slice},
    policy::TicketScope,
    search::{Found, FoundKey, Fragment, MAX_FOUND, MAX_RANKED, SearchQuery},
};

/// The characters that `ts_headline` puts around a match. Stored texts contain no control
/// characters, so a text cannot forge them.
const MATCH: (char, char) = ('\u{1}', '\u{2}');
const MARKS: &str = "E'StartSel=\"\\x01\", StopSel=\"\\x02\", '";

/// Excerpts are cut from this many characters at the start of a text. The time that
/// `ts_headline` takes grows faster than the length of the text.
const EXCERPT_SOURCE_CHARS: i32 = 4_096;

/// The common table expression `search_query (query, similar)`, in pieces. The values of
/// [`SearchQueryValues`] belong between the pieces.
///
/// It has one row: the full-text query, and the words to compare by similarity, longest
/// first. It has no row if nothing can be searched for: the text consists of stop words only,
/// or only excludes words, which no index can answer.
const SEARCH_QUERY: [&str; 5] = [
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

/// The values between the pieces of [`SEARCH_QUERY`], in this order.
struct SearchQueryValues {
    /// The text without its last word.
    head: Option<String>,
    /// The last word, as a prefix query.
    prefix: Option<String>,
    /// The words to compare by similarity.
    similar: Vec<String>,
    /// The whole text.
    text: String,
}

impl From<&SearchQuery> for SearchQueryValues {
    fn from(search_query: &SearchQuery) -> Self {
        let last = search_query.last_word();
        Self {
            head: last.map(|(head, _)| head.to_owned()),
            // The word consists of letters and digits, so it cannot end the quotes.
            prefix: last.map(|(_, word)| format!("'{word}':*")),
            similar: search_query.similar().into_iter().map(str::to_owned).collect(),
            text: search_query.alternatives(),
        }
    }
}

/// A condition on `search_query w` and `search_documents d`: the longest word to compare, which is the
/// most selective, is similar to a word of the summary. It uses the index.
const LONGEST_SIMILAR: &str = "d.summary IS NOT NULL AND w.similar[1] <% d.summary";
/// A condition on the same: every word to compare is similar to a word of the summary.
const ALL_SIMILAR: &str = "(SELECT bool_and(word <% d.summary) FROM unnest(w.similar) AS word)";

/// Returns a lateral join of `search_query w` with the documents `d` of which [`LONGEST_SIMILAR`] is
/// true. `OFFSET 0` keeps [`ALL_SIMILAR`] out of it: with the cost of that for each row, scanning a
/// large table seems cheaper than the index.
fn with_longest_similar(documents: &str) -> String {
    format!(
        "CROSS JOIN LATERAL (
             SELECT d.id, d.ticket_id, d.summary FROM {documents} WHERE {LONGEST_SIMILAR} OFFSET 0) d"
    )
}

/// Returns a condition that selects the tickets that a search finds. `internal` includes
/// internal notes in the search.
pub(super) fn matches(search_query: &SearchQuery, internal: bool) -> Condition {
    let values = SearchQueryValues::from(search_query);
    let [select, head, prefix, similar, text] = SEARCH_QUERY;
    // A customer has few tickets, so the documents of each ticket are checked in turn. For
    // staff, the matching tickets are looked up through the indexes.
    let (before, after) = if internal {
        let similar = with_longest_similar("search_documents d");
        let found = format!(
            " SELECT d.ticket_id FROM search_query w JOIN search_documents d ON d.words @@ w.query
              UNION ALL SELECT d.ticket_id FROM search_query w {similar} WHERE {ALL_SIMILAR}
              UNION ALL SELECT n.id FROM tickets n WHERE n.number = "
        );
        ("tickets.id IN (WITH ", found)
    } else {
        let found = format!(
            " SELECT FROM search_query w JOIN search_documents d ON d.ticket_id = tickets.id
              WHERE d.visibility = 'public' AND d.words @@ w.query
                  OR {LONGEST_SIMILAR} AND {ALL_SIMILAR}
              UNION ALL SELECT WHERE tickets.number = "
        );
        ("EXISTS (WITH ", found)
    };
    let condition = sql::<Bool>(&format!("{before}{select}"))
        .bind::<Nullable<Text>, _>(values.head)
        .sql(head)
        .bind::<Nullable<Text>, _>(values.prefix)
        .sql(prefix)
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

/// Splits the output of `ts_headline` into matching and other text.
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

/// The documents `d` of a customer's own tickets. There are few, so reading them all is faster
/// than searching the index over the documents of all customers.
const OWN_DOCUMENTS: &str = "(
    SELECT id FROM tickets WHERE reporter_id = $6
    UNION
    SELECT id FROM tickets WHERE participant_ids <> '{}' AND participant_ids @> ARRAY[$6]
) own CROSS JOIN LATERAL (SELECT * FROM search_documents WHERE ticket_id = own.id OFFSET 0) d";

/// The tickets that a search covers, as parts of its statement.
struct Coverage {
    /// The documents `d` to search.
    documents: &'static str,
    /// The condition on the ticket `t` that the text is the number of.
    ticket: &'static str,
    /// The account that both refer to as `$6`.
    account: Option<Uuid>,
}

impl Coverage {
    fn of(scope: TicketScope) -> Self {
        match scope {
            TicketScope::Nothing => Self {
                documents: "(SELECT * FROM search_documents LIMIT 0) d",
                ticket: "false AND $6 IS NULL",
                account: None,
            },
            TicketScope::Of(account) => Self {
                documents: OWN_DOCUMENTS,
                ticket: "(t.reporter_id = $6 OR t.participant_ids @> ARRAY[$6])",
                account: Some(account.0),
            },
            TicketScope::All => {
                Self { documents: "search_documents d", ticket: "$6 IS NULL", account: None }
            }
        }
    }

    /// Returns the statement that reads a page of the tickets found.
    ///
    /// Full-text ranks lie between 0 and 1. Similarity ranks stay below 0.1 and so sort after
    /// almost all full-text matches; if those are enough, similarity is not computed. A ticket
    /// found by its number ranks first.
    ///
    /// Ranking is slower than matching, so only the newest matches are ranked. Ids rise with
    /// time. `worded` is materialized so that the sort by id does not walk the primary key,
    /// which would read all texts to find a rare word.
    fn page_sql(&self) -> String {
        let Self { documents, ticket, .. } = self;
        let [select, head, prefix, similar, text] = SEARCH_QUERY;
        let longest_similar = with_longest_similar(documents);
        format!(
            "WITH {select}$1{head}$2{prefix}$3{similar}$4{text}, worded AS MATERIALIZED (
                 SELECT d.id
                 FROM search_query w CROSS JOIN {documents}
                 WHERE d.words @@ w.query AND ($5 OR d.visibility = 'public')
             ), hits AS (
                 SELECT d.ticket_id, d.id AS document_id, ts_rank_cd(d.words, w.query, 32) AS rank
                 FROM (SELECT id FROM worded ORDER BY id DESC LIMIT {MAX_RANKED}) newest
                 JOIN search_documents d ON d.id = newest.id
                 CROSS JOIN search_query w
                 UNION ALL
                 SELECT d.ticket_id, d.id, (SELECT avg(word_similarity(word, d.summary)) / 10
                                            FROM unnest(w.similar) AS word)::real
                 FROM search_query w {longest_similar}
                 WHERE (SELECT count(*) FROM worded) < {MAX_FOUND} AND {ALL_SIMILAR}
                 UNION ALL
                 SELECT t.id, t.id, 2::real FROM tickets t WHERE t.number = $7 AND {ticket}
             ), tops AS (
                 SELECT DISTINCT ON (ticket_id) * FROM hits
                 ORDER BY ticket_id, rank DESC, document_id
             ), best AS (
                 SELECT * FROM tops ORDER BY rank DESC, ticket_id DESC LIMIT {MAX_FOUND}
             ), shown AS (
                 SELECT * FROM best
                 WHERE $8 IS NULL OR (rank, ticket_id) < ($8, $9)
                 ORDER BY rank DESC, ticket_id DESC
                 LIMIT $10
             )
             SELECT t.*, {ACCOUNT_CHANGES}, s.document_id, s.rank,
                    {} AS summary_fragments, {} AS excerpt_fragments
             FROM shown s
             JOIN tickets t ON t.id = s.ticket_id
             LEFT JOIN comments c ON c.id = s.document_id
             ORDER BY s.rank DESC, s.ticket_id DESC",
            headline("t.summary", "HighlightAll=true", "t.summary"),
            excerpt(),
        )
    }
}

/// Returns an expression for a text with its matches marked, or `otherwise` if there is no
/// full-text query.
fn headline(text: &str, options: &str, otherwise: &str) -> String {
    format!(
        "coalesce((SELECT ts_headline('desk', searchable({text}), query, {MARKS} || '{options}')
                   FROM search_query), {otherwise})"
    )
}

/// Returns an expression for the passages that match best in the comment `c`, or in the
/// description of the ticket `t` if there is no comment.
fn excerpt() -> String {
    const BODY: &str = "coalesce(c.body, t.description)";
    headline(
        &format!("left({BODY}, {EXCERPT_SOURCE_CHARS})"),
        "MaxFragments=2, MinWords=8, MaxWords=24, FragmentDelimiter=\" … \"",
        &format!("left({BODY}, 160)"),
    )
}

/// Returns a page of the tickets in scope that a search finds, best first. `internal` includes
/// internal notes in the search.
pub async fn page(
    db: &mut Connection,
    scope: TicketScope,
    internal: bool,
    search_query: &SearchQuery,
    page: &Page<FoundKey>,
) -> Result<Slice<Found>, DbError> {
    let coverage = Coverage::of(scope);
    let values = SearchQueryValues::from(search_query);
    let rows = diesel::sql_query(coverage.page_sql())
        .bind::<Nullable<Text>, _>(values.head)
        .bind::<Nullable<Text>, _>(values.prefix)
        .bind::<Array<Text>, _>(values.similar)
        .bind::<Text, _>(values.text)
        .bind::<Bool, _>(internal)
        .bind::<Nullable<SqlUuid>, _>(coverage.account)
        .bind::<Nullable<BigInt>, _>(search_query.number().map(|number| number.0))
        .bind::<Nullable<Float>, _>(page.after.map(|key| key.rank))
        .bind::<Nullable<SqlUuid>, _>(page.after.map(|key| key.ticket.0))
        .bind::<BigInt, _>(page.fetch_limit())
        .load::<FoundRow>(db)
        .await?;
    Ok(page.slice(rows.into_iter().map(Found::from).collect()))
}

/// Adds the texts of new tickets and comments. A text that was changed meanwhile has its row
/// already. The locks have a deletion wait until the row that it deletes is there.
const ADD: &str = "
    WITH texts AS (
        SELECT id, id AS ticket_id, 'public'::comment_visibility AS visibility, summary,
               setweight(to_tsvector('desk', indexable(summary)), 'A')
                   || setweight(to_tsvector('desk', indexable(description)), 'B') AS words
        FROM unnest(ARRAY(SELECT unnest($1))) AS new (new_id)
        CROSS JOIN LATERAL (SELECT * FROM tickets WHERE id = new_id LIMIT 1) t
    ), commented AS (
        SELECT id, ticket_id, visibility, NULL::text AS summary,
               setweight(to_tsvector('desk', indexable(body)), 'C') AS words
        FROM unnest(ARRAY(SELECT unnest($2))) AS new (new_id)
        CROSS JOIN LATERAL (
            SELECT * FROM comments WHERE id = new_id LIMIT 1 FOR KEY SHARE) c
    )
    INSERT INTO search_documents (id, ticket_id, visibility, summary, words)
    SELECT * FROM texts UNION ALL SELECT * FROM commented
    ON CONFLICT (id) DO NOTHING";

/// Adds the texts of new tickets and comments to the search. Those that are in it already, or no
/// longer exist, are left out.
pub async fn add(
    db: &mut Connection,
    tickets: &[TicketId],
    comments: &[CommentId],
) -> Result<(), DbError> {
    if tickets.is_empty() && comments.is_empty() {
        return Ok(());
    }
    diesel::sql_query(ADD)
        .bind::<Array<SqlUuid>, _>(tickets.iter().map(|id| id.0).collect::<Vec<_>>())
        .bind::<Array<SqlUuid>, _>(comments.iter().map(|id| id.0).collect::<Vec<_>>())
        .prepared()
        .execute(db)
        .await?;
    Ok(())
}
