//! Finding tickets by what they say.

use async_graphql::{Context, Object, SimpleObject};
use base64::{Engine, engine::general_purpose::URL_SAFE_NO_PAD};
use uuid::Uuid;

use super::{
    comment::Comment,
    context::ContextExt as _,
    error::Failure,
    pagination::{PageArgs, connection, cost},
    ticket::Ticket,
};
use crate::{
    domain::{
        ids::{CommentId, TicketId},
        search::{self, Found, FoundKey},
        ticket::NumberPrefix,
    },
    service,
};

/// A part of a text in which something was found.
#[derive(SimpleObject)]
pub struct TextFragment {
    /// What it says: plain text, to be escaped where it is shown.
    text: String,
    /// Whether it is what was searched for.
    is_match: bool,
}

impl From<search::Fragment> for TextFragment {
    fn from(fragment: search::Fragment) -> Self {
        Self { text: fragment.text, is_match: fragment.is_match }
    }
}

/// A ticket that was found, and where.
#[derive(SimpleObject)]
#[graphql(complex)]
pub struct TicketMatch {
    /// The ticket.
    ticket: Ticket,
    /// The ticket's summary, in fragments that join to the whole.
    summary: Vec<TextFragment>,
    /// What fits best in the text that fits best: its description, or a comment. It is cut from the
    /// first 8,192 characters; " … " stands between places that are apart.
    excerpt: Vec<TextFragment>,
    #[graphql(skip)]
    comment_id: Option<CommentId>,
}

#[async_graphql::ComplexObject]
impl TicketMatch {
    /// The comment that the excerpt is from; null: it is from the ticket's description.
    async fn comment(&self, ctx: &Context<'_>) -> Result<Option<Comment>, Failure> {
        match self.comment_id {
            Some(id) => Ok(Some(Comment(ctx.loaders()?.require(id).await?))),
            None => Ok(None),
        }
    }
}

connection!(TicketMatchConnection, TicketMatchEdge, TicketMatch, "the tickets that were found");

impl From<Found> for TicketMatch {
    fn from(found: Found) -> Self {
        let fragments = |list: Vec<search::Fragment>| list.into_iter().map(Into::into).collect();
        Self {
            ticket: Ticket(found.ticket),
            summary: fragments(found.summary),
            excerpt: fragments(found.excerpt),
            comment_id: found.comment,
        }
    }
}

/// Reads what somebody searches for.
pub fn parse_query(text: &str, prefix: &NumberPrefix) -> Result<search::SearchQuery, Failure> {
    search::SearchQuery::parse(text, prefix).map_err(|error| {
        Failure::bad_request(format!("`text` {error}. Search for something else."))
    })
}

/// A place in the list: the rank in four bytes, and the ticket's id.
fn encode_key(found: &Found) -> String {
    let mut bytes = found.rank.to_be_bytes().to_vec();
    bytes.extend(found.ticket.id.0.into_bytes());
    URL_SAFE_NO_PAD.encode(bytes)
}

fn decode_key(text: &str) -> Option<FoundKey> {
    let bytes = URL_SAFE_NO_PAD.decode(text).ok()?;
    let (rank, ticket) = bytes.split_at_checked(4)?;
    let rank = f32::from_be_bytes(rank.try_into().ok()?);
    let ticket = TicketId(Uuid::from_slice(ticket).ok()?);
    rank.is_finite().then_some(FoundKey { rank, ticket })
}

#[derive(Default)]
pub struct SearchQuery;

#[Object]
impl SearchQuery {
    /// The tickets that fit a text, of those that you may see: at most 1,000, the best first.
    ///
    /// A ticket fits if all words are in one of its texts: its summary and description, a
    /// comment, or, for staff, an internal note. English and Russian words are found in any
    /// form ("certificates" finds "certificate"), host names, addresses and numbers as they are;
    /// the last word may be the beginning of a longer one. `"a phrase"` has to be there word by
    /// word, `or` stands between alternatives, `-word` leaves texts with the word out; words
    /// like "the" don't count. A summary is also found by words of some length with a letter wrong, and a
    /// ticket by its number.
    ///
    /// The order: the ticket of that number; then the more often the words come in a text, the
    /// closer together, and above all in a summary, then in a description, then in a comment;
    /// what was found by similar letters only comes last. Of equally good ones the newest is first.
    /// Where more than 10,000 texts fit, only the newest of them are compared: add a word.
    #[graphql(complexity = "cost(first, None, child_complexity)")]
    async fn search(
        &self,
        ctx: &Context<'_>,
        #[graphql(desc = "What to look for: 1 to 255 characters.")] text: String,
        #[graphql(desc = "So many from the start; 0 to 100, 20 by default.")] first: Option<i32>,
        #[graphql(desc = "Only what comes after this cursor, in the same search.")] after: Option<
            String,
        >,
    ) -> Result<TicketMatchConnection, Failure> {
        ctx.identity()?;
        let search_query = parse_query(&text, ctx.services()?.number_prefix())?;
        let page = PageArgs { first, after, last: None, before: None }.page(decode_key)?;
        let slice =
            service::search::page(ctx.actor()?, ctx.services()?, &search_query, &page).await?;
        Ok(TicketMatchConnection::new(slice.map(|found| (encode_key(&found), found.into()))))
    }
}
