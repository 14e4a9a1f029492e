//! Values that those who work for the same account share while they work.

use std::{
    collections::HashMap,
    hash::Hash,
    ops::Deref,
    sync::{Arc, Weak},
};

use parking_lot::Mutex;

type Values<K, V> = HashMap<K, Weak<InUse<K, V>>>;

/// A value for each key that is in use. A key that nobody uses takes no memory.
pub(super) struct Keyed<K: Copy + Eq + Hash, V>(Arc<Mutex<Values<K, V>>>);

/// A value that is in use.
pub(super) struct InUse<K: Copy + Eq + Hash, V> {
    all: Keyed<K, V>,
    key: K,
    value: V,
}

impl<K: Copy + Eq + Hash, V> Keyed<K, V> {
    /// Returns the value of a key: that of those who use it, or else a new one.
    pub(super) fn get(&self, key: K) -> Arc<InUse<K, V>>
    where
        V: Default,
    {
        let mut values = self.0.lock();
        if let Some(value) = values.get(&key).and_then(Weak::upgrade) {
            return value;
        }
        let all = Self(Arc::clone(&self.0));
        let value = Arc::new(InUse { all, key, value: V::default() });
        values.insert(key, Arc::downgrade(&value));
        value
    }
}

impl<K: Copy + Eq + Hash, V> Default for Keyed<K, V> {
    fn default() -> Self {
        Self(Arc::default())
    }
}

impl<K: Copy + Eq + Hash, V> Deref for InUse<K, V> {
    type Target = V;

    fn deref(&self) -> &V {
        &self.value
    }
}

impl<K: Copy + Eq + Hash, V> Drop for InUse<K, V> {
    fn drop(&mut self) {
        let mut values = self.all.0.lock();
        // Somebody may use a new value already.
        if values.get(&self.key).is_some_and(|value| value.strong_count() == 0) {
            values.remove(&self.key);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn those_who_use_a_key_share_its_value_and_leave_nothing() {
        let keyed = Keyed::<u8, Mutex<u8>>::default();
        let (one, two, other) = (keyed.get(1), keyed.get(1), keyed.get(2));
        *one.lock() = 7;
        assert_eq!((*two.lock(), *other.lock()), (7, 0));
        drop(one);
        assert_eq!(*keyed.get(1).lock(), 7);
        drop((two, other));
        assert!(keyed.0.lock().is_empty());
    }
}
