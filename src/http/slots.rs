//! Counts of what each caller has under way on this node.

use std::{
    collections::{HashMap, hash_map::Entry},
    net::IpAddr,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
};

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

/// A slot in use. It is free again when this is dropped.
pub struct Slot {
    slots: Slots,
    party: Party,
}

impl Slots {
    /// Takes a slot, or returns `None` if the party has `max` slots already.
    pub fn take(&self, party: Party, max: usize) -> Option<Slot> {
        let mut in_use = self.lock();
        let count = in_use.get(&party).copied().unwrap_or(0);
        if count >= max {
            return None;
        }
        in_use.insert(party, count + 1);
        Some(Slot { slots: self.clone(), party })
    }

    fn lock(&self) -> MutexGuard<'_, HashMap<Party, usize>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Drop for Slot {
    fn drop(&mut self) {
        let mut in_use = self.slots.lock();
        if let Entry::Occupied(mut count) = in_use.entry(self.party) {
            *count.get_mut() -= 1;
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
        drop((again, two));
        assert!(slots.lock().is_empty());
    }
}
