//! Cursor connections, as Relay specifies them.

use async_graphql::SimpleObject;

use super::error::Failure;
use crate::domain::page::{DEFAULT_PAGE, Direction, MAX_PAGE, Page};

/// The paging arguments of a connection.
pub struct PageArgs {
    /// The number of items from the start.
    pub first: Option<i32>,
    /// Only items after this cursor.
    pub after: Option<String>,
    /// The number of items from the end.
    pub last: Option<i32>,
    /// Only items before this cursor.
    pub before: Option<String>,
}

impl PageArgs {
    /// Validates the arguments. `decode` parses a cursor of the list.
    ///
    /// # Errors
    /// `BAD_REQUEST` if both `first` and `last` are set, if one of them is out of bounds, or if
    /// a cursor does not belong to the list.
    pub fn page<K>(self, decode: impl Fn(&str) -> Option<K>) -> Result<Page<K>, Failure> {
        let (direction, count) = match (self.first, self.last) {
            (Some(_), Some(_)) => {
                return Err(Failure::bad_request("Pass either `first` or `last`, not both."));
            }
            (None, Some(last)) => (Direction::Backward, Some(last)),
            (first, None) => (Direction::Forward, first),
        };
        let limit = match count.map(usize::try_from) {
            None => DEFAULT_PAGE,
            Some(Ok(limit)) if limit <= MAX_PAGE => limit,
            Some(_) => {
                let message = format!(
                    "`first` and `last` must be 0 to {MAX_PAGE}. Get more items page by page, with \
                     `after` or `before`."
                );
                return Err(Failure::bad_request(message));
            }
        };
        let cursor = |name, cursor: Option<String>| match cursor {
            None => Ok(None),
            Some(text) => decode(&text).map(Some).ok_or_else(|| not_of_list(name)),
        };
        let (after, before) = (cursor("`after`", self.after)?, cursor("`before`", self.before)?);
        Ok(Page { direction, after, before, limit })
    }
}

/// Returns the error for a cursor that does not belong to the list, passed as `argument`.
pub fn not_of_list(argument: &str) -> Failure {
    Failure::bad_request(format!(
        "{argument} is not a cursor of this list in this order. Pass one from its `pageInfo` or \
         `edges`, unchanged."
    ))
}

/// The complexity of a connection: that of an item, times the most items that the page can
/// have.
pub fn cost(first: Option<i32>, last: Option<i32>, item: usize) -> usize {
    let requested = first.or(last).and_then(|count| usize::try_from(count).ok());
    1 + requested.unwrap_or(DEFAULT_PAGE).min(MAX_PAGE) * item
}

/// The position of a page in its list.
#[derive(SimpleObject)]
#[graphql(crate = "crate::graphql::executor")]
pub struct PageInfo {
    /// Whether there are items before this page; with `last` and `after`, of those after the cursor.
    pub has_previous_page: bool,
    /// Whether there are items after this page; with `first` and `before`, of those before the cursor.
    pub has_next_page: bool,
    /// The cursor of the first item, for `before`. Null if the page is empty.
    pub start_cursor: Option<String>,
    /// The cursor of the last item, for `after`. Null if the page is empty.
    pub end_cursor: Option<String>,
}

/// What the cursor of an item is encoded from, once somebody selects it.
pub trait CursorKey {
    /// Returns the cursor.
    fn encode(&self) -> String;
}

impl CursorKey for String {
    fn encode(&self) -> String {
        self.clone()
    }
}

/// Declares a connection type and its edge type, with cursors of a [`CursorKey`], text by default.
/// async-graphql's generic ones have no descriptions.
macro_rules! connection {
    ($connection:ident, $edge:ident, $node:ty, $items:literal) => {
        $crate::graphql::pagination::connection!($connection, $edge, $node, $items, String);
    };
    ($connection:ident, $edge:ident, $node:ty, $items:literal, $key:ty) => {
        #[doc = concat!("A page of ", $items, ": a cursor connection as Relay specifies it.")]
        #[derive(async_graphql::SimpleObject)]
        #[graphql(crate = "crate::graphql::executor")]
        #[graphql(complex)]
        pub struct $connection {
            /// The items of the page with their cursors.
            edges: $crate::graphql::executor::List<$edge>,
            /// The position of the page in the list, and whether there are more pages.
            page_info: $crate::graphql::pagination::PageInfo,
        }

        #[doc = concat!("An item of `", stringify!($connection), "`, with its cursor.")]
        #[derive(async_graphql::SimpleObject)]
        #[graphql(crate = "crate::graphql::executor")]
        #[graphql(complex)]
        pub struct $edge {
            #[graphql(skip)]
            key: $key,
            /// The item.
            node: $node,
        }

        #[async_graphql::ComplexObject]
        impl $edge {
            /// This item's cursor, for `after` and `before`.
            async fn cursor(&self) -> String {
                $crate::graphql::pagination::CursorKey::encode(&self.key)
            }
        }

        #[async_graphql::ComplexObject]
        impl $connection {
            /// The items of the page without their cursors.
            async fn nodes(&self) -> $crate::graphql::executor::List<&$node> {
                self.edges.0.iter().map(|edge| &edge.node).collect()
            }
        }

        impl $connection {
            /// Wraps the items of a page, each with the key of its cursor.
            fn new(slice: crate::domain::page::Slice<($key, $node)>) -> Self {
                let edges = slice.items.into_iter().map(|(key, node)| $edge { key, node });
                let edges = edges.collect::<Vec<_>>();
                let cursor =
                    |edge: &$edge| $crate::graphql::pagination::CursorKey::encode(&edge.key);
                let page_info = $crate::graphql::pagination::PageInfo {
                    has_previous_page: slice.has_previous,
                    has_next_page: slice.has_next,
                    start_cursor: edges.first().map(cursor),
                    end_cursor: edges.last().map(cursor),
                };
                Self { edges: $crate::graphql::executor::List(edges), page_info }
            }
        }
    };
}
pub(super) use connection;
