//! Pages of a list, as Relay's cursor connections define them.

/// The maximum number of items per page.
pub const MAX_PAGE: usize = 100;
/// The number of items per page if the caller names none.
pub const DEFAULT_PAGE: usize = 20;

/// A requested page of a list, delimited by keys of type `K`.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Page<K> {
    /// The end of the list that the items are counted from.
    pub direction: Direction,
    /// Return items after this key.
    pub after: Option<K>,
    /// Return items before this key.
    pub before: Option<K>,
    /// The maximum number of items, 0 to [`MAX_PAGE`].
    pub limit: usize,
}

/// The end of the list that a page is counted from.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Direction {
    /// From the start: `first` items.
    Forward,
    /// From the end: `last` items.
    Backward,
}

/// The items of a page in the order of the list, and whether the list has more.
#[derive(Clone, Debug)]
pub struct Slice<T> {
    /// The items of the page.
    pub items: Vec<T>,
    /// Whether the list has items before these.
    pub has_previous: bool,
    /// Whether the list has items after these.
    pub has_next: bool,
}

impl<T> Slice<T> {
    /// Converts each item.
    pub fn map<U>(self, item: impl FnMut(T) -> U) -> Slice<U> {
        Slice {
            items: self.items.into_iter().map(item).collect(),
            has_previous: self.has_previous,
            has_next: self.has_next,
        }
    }
}

impl<K> Page<K> {
    /// Builds the page from up to [`fetch_limit`](Self::fetch_limit) items, sorted in the
    /// direction of the page.
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

    /// Returns how many rows to query: one more than the page has, to find out whether there
    /// are more.
    pub fn fetch_limit(&self) -> i64 {
        i64::try_from(self.limit).map_or(i64::MAX, |limit| limit + 1)
    }
}
