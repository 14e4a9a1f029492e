//! Counts of what each caller has under way on this node.

use std::{
    collections::{HashMap, hash_map::Entry},
    net::IpAddr,
    sync::Arc,
};

use parking_lot::Mutex;

use crate::domain::ids::{AccountId, ServiceTokenId};

/// Whose slots are counted together.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Party {
    /// All callers.
    Everybody,
    /// The callers of a network, or those whose address is unknown.
    Network(Option<IpAddr>),
    /// A person.
    Account(AccountId),
    /// A program.
    Token(ServiceTokenId),
}

/// The slots in use, by party. Clones share them. A party without slots takes no memory.
#[derive(Clone, Default)]
pub struct Slots(Arc<Mutex<HashMap<Party, usize>>>);

/// Slots in use, mostly one. They are free again when this is dropped.
pub struct Slot {
    slots: Slots,
    party: Party,
    count: usize,
}

impl Slots {
    /// Takes a slot, or returns `None` if the party has `max` slots already.
    pub fn take(&self, party: Party, max: usize) -> Option<Slot> {
        self.take_many(party, 1, max)
    }

    /// Takes a number of slots, even if the party has many already.
    pub fn take_in_any_case(&self, party: Party, count: usize) -> Slot {
        let mut in_use = self.0.lock();
        let before = in_use.entry(party).or_default();
        *before = before.saturating_add(count);
        Slot { slots: self.clone(), party, count }
    }

    /// Takes `count` slots, or returns `None` if the party would then have more than `max`.
    pub fn take_many(&self, party: Party, count: usize, max: usize) -> Option<Slot> {
        let mut in_use = self.0.lock();
        let before = in_use.get(&party).copied().unwrap_or(0);
        let after = before.checked_add(count).filter(|after| *after <= max)?;
        in_use.insert(party, after);
        Some(Slot { slots: self.clone(), party, count })
    }
}

impl Slot {
    /// Returns how many slots these are.
    pub fn count(&self) -> usize {
        self.count
    }
}

impl Drop for Slot {
    fn drop(&mut self) {
        let mut in_use = self.slots.0.lock();
        if let Entry::Occupied(mut count) = in_use.entry(self.party) {
            *count.get_mut() -= self.count;
            if *count.get() == 0 {
                count.remove();
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_dropped_slot_is_free_again_and_leaves_nothing() {
        let slots = Slots::default();
        let (one, two) = (slots.take(Party::Everybody, 2), slots.take(Party::Everybody, 2));
        assert!(two.is_some() && slots.take(Party::Everybody, 2).is_none());
        assert!(slots.take(Party::Network(None), 1).is_some(), "parties are counted separately");
        drop(one);
        let again = slots.take(Party::Everybody, 2);
        assert!(again.is_some());
        assert!(slots.take_many(Party::Everybody, 2, 3).is_none());
        let many = slots.take_many(Party::Everybody, 2, 4);
        assert!(many.is_some() && slots.take(Party::Everybody, 4).is_none());
        drop((again, two, many));
        assert!(slots.0.lock().is_empty());
    }
}
