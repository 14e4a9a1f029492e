//! Full-text search over tickets.

use async_graphql::{Context, Object, SimpleObject};
use base64::{Engine, engine::general_purpose::URL_SAFE_NO_PAD};
use uuid::Uuid;

use super::{
    comment::Comment,
    context::ContextExt as _,
    error::Failure,
    pagination::{PageArgs, connection, cost},
    text::Text,
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

/// A piece of a text, either matching the search or not.
#[derive(SimpleObject)]
#[graphql(crate = "crate::graphql::executor")]
pub struct TextFragment {
    /// Plain text. Escape it before you put it into HTML.
    text: Text,
    /// Whether the text matches the search: highlight it.
    is_match: bool,
}

impl From<search::Fragment> for TextFragment {
    fn from(fragment: search::Fragment) -> Self {
        Self { text: Text(fragment.text), is_match: fragment.is_match }
    }
}

/// A ticket that matches a search, and the text that matches best.
#[derive(SimpleObject)]
#[graphql(crate = "crate::graphql::executor")]
#[graphql(complex)]
pub struct TicketMatch {
    /// The ticket.
    ticket: Ticket,
    /// The ticket's summary. Joined, the fragments are the whole summary.
    summary: Vec<TextFragment>,
    /// The best passages of the description or comment that matches best, from its first
    /// 4,096 characters. " … " separates passages that are not adjacent.
    excerpt: Vec<TextFragment>,
    #[graphql(skip)]
    comment_id: Option<CommentId>,
}

#[async_graphql::ComplexObject]
impl TicketMatch {
    /// The comment that the excerpt is from, or null if it is from the ticket's description.
    async fn comment(&self, ctx: &Context<'_>) -> Result<Option<Comment>, Failure> {
        match self.comment_id {
            Some(id) => Ok(Some(Comment(ctx.loaders()?.require(id).await?))),
            None => Ok(None),
        }
    }
}

connection!(TicketMatchConnection, TicketMatchEdge, TicketMatch, "matching tickets");

impl From<Found> for TicketMatch {
    fn from(found: Found) -> Self {
        let fragments = |list: Vec<search::Fragment>| list.into_iter().map(Into::into).collect();
        Self {
            ticket: Ticket::new(found.ticket),
            summary: fragments(found.summary),
            excerpt: fragments(found.excerpt),
            comment_id: found.comment,
        }
    }
}

/// Parses the `text` of a search or filter.
///
/// # Errors
/// A bad request if the text is empty, too long, has a control character or too many words.
pub fn parse_query(text: &str, prefix: &NumberPrefix) -> Result<search::SearchQuery, Failure> {
    search::SearchQuery::parse(text, prefix)
        .map_err(|error| Failure::bad_request(format!("`text` {error}.")))
}

/// The cursor of a match: the rank in four bytes, then the ticket's id.
fn encode_cursor(found: &Found) -> String {
    let mut bytes = found.rank.to_be_bytes().to_vec();
    bytes.extend(found.ticket.id.0.into_bytes());
    URL_SAFE_NO_PAD.encode(bytes)
}

fn decode_cursor(text: &str) -> Option<FoundKey> {
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
    /// Searches the tickets that you may see. Returns at most 1,000, best match first.
    ///
    /// A ticket matches if one of its texts has all the words: its summary with its
    /// description, a public comment or, for staff, an internal note. English and Russian
    /// words match in every grammatical form ("certificates" finds "certificate"); host names,
    /// addresses and numbers match as they are written. The last word may be the beginning of
    /// a longer one. `"a phrase"` matches these words in this order, `or` separates
    /// alternatives, and `-word` excludes texts with the word. Common words such as "the" are
    /// ignored. Words of 3 or more letters also match similarly spelled words of a summary.
    /// Letter case, accents that are typed separately, ё and е, and the encoding of a domain make
    /// no difference.
    ///
    /// A new text is found about a second after it was written, and a changed one at once.
    ///
    /// The number of a ticket finds it, as mails and people write it: `CS-234567`, `[CS-234567]`
    /// also within a pasted subject, `#234567`, `cs 234567`, `ticket 234567`, or alone.
    ///
    /// A ticket found by its number comes first. The others rank higher the more often a text
    /// has the words and the closer together they are; words in a summary count most, then
    /// those in a description, then those in a comment. Matches by similar spelling come
    /// last. Of equal matches, the newest ticket comes first. If more than 10,000 texts
    /// match, only the newest 10,000 are ranked: search for more words.
    ///
    /// A search that takes longer than 2 seconds, unless configured otherwise, fails with
    /// `BAD_REQUEST`.
    #[graphql(complexity = "cost(first, None, child_complexity)")]
    async fn search(
        &self,
        ctx: &Context<'_>,
        #[graphql(
            desc = "The words to search for: 1 to 255 characters, with at most 24 words, and at most 8 in a phrase."
        )]
        text: String,
        #[graphql(
            desc = "Return at most this many items from the start: 0 to 100, 20 by default."
        )]
        first: Option<i32>,
        #[graphql(
            desc = "Return items after this cursor. Pass the same `text`: with another one, items are left out."
        )]
        after: Option<String>,
    ) -> Result<TicketMatchConnection, Failure> {
        ctx.identity()?;
        let search_query = parse_query(&text, ctx.services()?.number_prefix())?;
        let page = PageArgs { first, after, last: None, before: None }.page(decode_cursor)?;
        let slice =
            service::search::page(ctx.actor()?, ctx.services()?, &search_query, &page).await?;
        Ok(TicketMatchConnection::new(slice.map(|found| (encode_cursor(&found), found.into()))))
    }
}
