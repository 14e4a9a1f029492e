//! The passwords of one network or account that are being hashed, or wait for it, on this node. They leave
//! places to those of others: to hash a password is expensive, and few wait at the same time.

use std::{
    collections::{HashMap, hash_map::Entry},
    net::IpAddr,
    sync::Arc,
};

use parking_lot::Mutex;

use crate::{crypto::password::PasswordError, domain::session::ClientOrigin};

/// The places in use, by holder. Clones share them. A holder without any takes no memory.
#[derive(Clone)]
pub(super) struct PasswordPlaces {
    per_network: usize,
    per_account: usize,
    taken: Arc<Mutex<HashMap<Holder, usize>>>,
}

/// Who holds places.
#[derive(Clone, Copy, PartialEq, Eq, Hash)]
enum Holder {
    /// The clients of a site or network, or those whose address is unknown.
    Network(Option<IpAddr>),
    /// The bucket that counts the passwords of an account. Strangers and its owner have different ones.
    Account([u8; 32]),
}

/// A place of each holder. They are free again when this is dropped.
pub(super) struct PasswordPlace {
    all: PasswordPlaces,
    holders: Vec<Holder>,
}

impl PasswordPlaces {
    /// Shares this number of places: a network, or a site of IPv6, gets half of them, and an account an
    /// eighth.
    pub(super) fn new(places: usize) -> Self {
        Self {
            per_network: (places / 2).max(1),
            per_account: (places / 8).max(1),
            taken: Arc::default(),
        }
    }

    /// Takes a place of the client's network, and one of the account whose passwords this bucket counts,
    /// if there is one. Hold them while passwords are hashed.
    ///
    /// # Errors
    /// Too many passwords of the network or account are being hashed or wait for it.
    pub(super) fn take(
        &self,
        account: Option<[u8; 32]>,
        origin: &ClientOrigin,
    ) -> Result<PasswordPlace, PasswordError> {
        self.take_of(origin.site_or_network(), account)
    }

    fn take_of(
        &self,
        network: Option<IpAddr>,
        account: Option<[u8; 32]>,
    ) -> Result<PasswordPlace, PasswordError> {
        let mut place = PasswordPlace { all: self.clone(), holders: Vec::with_capacity(2) };
        let network = (Holder::Network(network), self.per_network);
        let account = account.map(|bucket| (Holder::Account(bucket), self.per_account));
        for (holder, max) in [network].into_iter().chain(account) {
            let mut taken = self.taken.lock();
            let count = taken.get(&holder).copied().unwrap_or(0);
            if count >= max {
                // Before the place, which locks them too, is dropped.
                drop(taken);
                return Err(PasswordError::Busy);
            }
            taken.insert(holder, count + 1);
            place.holders.push(holder);
        }
        Ok(place)
    }
}

impl Drop for PasswordPlace {
    fn drop(&mut self) {
        let mut taken = self.all.taken.lock();
        for holder in &self.holders {
            if let Entry::Occupied(mut count) = taken.entry(*holder) {
                *count.get_mut() -= 1;
                if *count.get() == 0 {
                    count.remove();
                }
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_network_and_an_account_leave_places_to_others() {
        let places = PasswordPlaces::new(16);
        let network = |last| Some(IpAddr::from([192, 0, 2, last]));
        let account = |number| Some([number; 32]);
        let of_account = [1, 2].map(|last| places.take_of(network(last), account(1)).unwrap());
        assert!(places.take_of(network(3), account(1)).is_err());
        let of_network = (2..9).map(|number| places.take_of(network(1), account(number)).unwrap());
        let of_network = of_network.collect::<Vec<_>>();
        assert!(places.take_of(network(1), account(9)).is_err());
        assert!(places.take_of(network(1), None).is_err());
        assert!(places.take_of(network(2), account(9)).is_ok());
        drop((of_account, of_network));
        assert!(places.taken.lock().is_empty());
    }
}
