//! Relay's cursor connections.

use super::error::Failure;
use crate::domain::page::{DEFAULT_PAGE, Direction, MAX_PAGE, Page};

/// The four arguments of a connection.
pub struct PageArgs {
    /// How many from the start.
    pub first: Option<i32>,
    /// After this cursor.
    pub after: Option<String>,
    /// How many from the end.
    pub last: Option<i32>,
    /// Before this cursor.
    pub before: Option<String>,
}

impl PageArgs {
    /// The page that they ask for; `decode` reads a cursor of the list.
    ///
    /// # Errors
    /// Both `first` and `last`; a number out of bounds; a cursor of another list.
    pub fn page<K>(self, decode: impl Fn(&str) -> Option<K>) -> Result<Page<K>, Failure> {
        let (direction, asked) = match (self.first, self.last) {
            (Some(_), Some(_)) => {
                return Err(Failure::bad_request("Give `first` or `last`, not both."));
            }
            (None, Some(last)) => (Direction::Backward, Some(last)),
            (first, None) => (Direction::Forward, first),
        };
        let limit = match asked.map(usize::try_from) {
            None => DEFAULT_PAGE,
            Some(Ok(limit)) if limit <= MAX_PAGE => limit,
            Some(_) => {
                let message = format!(
                    "`first` and `last` take 0 to {MAX_PAGE}. Ask for the next page with `after`."
                );
                return Err(Failure::bad_request(message));
            }
        };
        let cursor = |name, cursor: Option<String>| match cursor {
            None => Ok(None),
            Some(text) => decode(&text).map(Some).ok_or_else(|| {
                Failure::bad_request(format!(
                    "`{name}`: this is not a cursor of this list in this order; pass one from \
                     `pageInfo` or `edges`, unchanged."
                ))
            }),
        };
        let (after, before) = (cursor("after", self.after)?, cursor("before", self.before)?);
        Ok(Page { direction, after, before, limit })
    }
}

/// What a list costs: as much as its items, as often as it may have them.
pub fn cost(first: Option<i32>, last: Option<i32>, item: usize) -> usize {
    let asked = first.or(last).and_then(|count| usize::try_from(count).ok());
    1 + asked.unwrap_or(DEFAULT_PAGE).min(MAX_PAGE) * item
}

/// Declares a connection and its edge, with the descriptions that async-graphql's
/// generic ones lack.
macro_rules! connection {
    ($connection:ident, $edge:ident, $node:ty, $what:literal) => {
        #[doc = concat!("A page of ", $what, ", as Relay's cursor connections specify.")]
        #[derive(async_graphql::SimpleObject)]
        #[graphql(complex)]
        pub struct $connection {
            /// The items with their cursors.
            edges: Vec<$edge>,
            /// Whether there are more pages, and how to ask for them.
            page_info: async_graphql::connection::PageInfo,
        }

        #[doc = concat!("One of ", $what, ", with its place in the list.")]
        #[derive(async_graphql::SimpleObject)]
        pub struct $edge {
            /// The place: pass it as `after` or `before` of the same list.
            cursor: String,
            /// The item.
            node: $node,
        }

        #[async_graphql::ComplexObject]
        impl $connection {
            /// The items without their cursors.
            async fn nodes(&self) -> Vec<&$node> {
                self.edges.iter().map(|edge| &edge.node).collect()
            }
        }

        impl $connection {
            /// Wraps a page's items, each with its cursor.
            fn new(slice: crate::domain::page::Slice<(String, $node)>) -> Self {
                let edges = slice.items.into_iter().map(|(cursor, node)| $edge { cursor, node });
                let edges = edges.collect::<Vec<_>>();
                let page_info = async_graphql::connection::PageInfo {
                    has_previous_page: slice.has_previous,
                    has_next_page: slice.has_next,
                    start_cursor: edges.first().map(|edge| edge.cursor.clone()),
                    end_cursor: edges.last().map(|edge| edge.cursor.clone()),
                };
                Self { edges, page_info }
            }
        }
    };
}
pub(super) use connection;
