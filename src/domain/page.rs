//! Pages of a list, as Relay's cursor connections ask for them.

/// At most so many items a page.
pub const MAX_PAGE: usize = 100;
/// So many items where the caller doesn't say.
pub const DEFAULT_PAGE: usize = 20;

/// Which page of a list: `limit` items next to a key, forwards or backwards.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Page<K> {
    /// From the start or from the end.
    pub direction: Direction,
    /// Only what comes after this key.
    pub after: Option<K>,
    /// Only what comes before this key.
    pub before: Option<K>,
    /// How many items, 1 to [`MAX_PAGE`].
    pub limit: usize,
}

/// From which end a page is counted.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Direction {
    /// `first` items.
    Forward,
    /// `last` items.
    Backward,
}

/// A page's items in the list's order, and whether there are more.
#[derive(Clone, Debug)]
pub struct Slice<T> {
    /// The items.
    pub items: Vec<T>,
    /// Whether the list has items before these.
    pub has_previous: bool,
    /// Whether the list has items after these.
    pub has_next: bool,
}

impl<T> Slice<T> {
    /// The same slice of something made of each item.
    pub fn map<U>(self, item: impl FnMut(T) -> U) -> Slice<U> {
        Slice {
            items: self.items.into_iter().map(item).collect(),
            has_previous: self.has_previous,
            has_next: self.has_next,
        }
    }
}

impl<K> Page<K> {
    /// Turns what a query for `limit + 1` rows gave, in the direction of the
    /// page, into the page's slice.
    pub fn slice<T>(&self, mut fetched: Vec<T>) -> Slice<T> {
        let more = fetched.len() > self.limit;
        fetched.truncate(self.limit);
        match self.direction {
            Direction::Forward => {
                Slice { items: fetched, has_previous: self.after.is_some(), has_next: more }
            }
            Direction::Backward => {
                fetched.reverse();
                Slice { items: fetched, has_previous: more, has_next: self.before.is_some() }
            }
        }
    }

    /// How many rows to ask for: one more than the page tells whether there is another.
    pub fn fetch_limit(&self) -> i64 {
        i64::try_from(self.limit).map_or(i64::MAX, |limit| limit + 1)
    }
}
