//! How many streams of `Watch` there are at once, in all and for one address.

use std::collections::BTreeMap;
use std::net::IpAddr;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

/// Streams at once.
const WATCHES_MAX: usize = 4_096;
/// Streams at once of one address, or of one IPv6 /64: a household's nodes.
const WATCHES_PER_ADDR_MAX: usize = 64;

/// Why there is no place.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub(super) enum NoPlace {
    /// All are taken.
    #[error("{WATCHES_MAX} streams are open")]
    All,
    /// This address has all that one may have.
    #[error("{WATCHES_PER_ADDR_MAX} streams are open for this address")]
    OfAddr,
}

/// The places.
#[derive(Clone, Debug, Default)]
pub(super) struct Places {
    taken: Arc<Mutex<BTreeMap<IpAddr, usize>>>,
}

/// A place, given back when it is dropped.
#[derive(Debug)]
pub(super) struct Place {
    places: Places,
    addr: IpAddr,
}

impl Places {
    /// A place for this address.
    pub(super) fn take(&self, addr: IpAddr) -> Result<Place, NoPlace> {
        let mut taken = self.lock();
        if taken.values().sum::<usize>() >= WATCHES_MAX {
            return Err(NoPlace::All);
        }
        let count = taken.entry(addr).or_default();
        if *count >= WATCHES_PER_ADDR_MAX {
            return Err(NoPlace::OfAddr);
        }
        *count += 1;
        Ok(Place {
            places: self.clone(),
            addr,
        })
    }

    fn lock(&self) -> MutexGuard<'_, BTreeMap<IpAddr, usize>> {
        self.taken.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        let mut taken = self.places.lock();
        if let Some(count) = taken.get_mut(&self.addr) {
            *count -= 1;
            if *count == 0 {
                taken.remove(&self.addr);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn l9_one_address_does_not_take_every_place() {
        let places = Places::default();
        let [greedy, other] = [1, 2].map(|host| IpAddr::from([10, 0, 0, host]));
        let taken: Vec<Place> = (0..WATCHES_PER_ADDR_MAX)
            .map(|_| places.take(greedy).unwrap())
            .collect();
        assert_eq!(places.take(greedy).unwrap_err(), NoPlace::OfAddr);
        let place = places.take(other).unwrap();
        drop(taken);
        drop(places.take(greedy).unwrap());
        drop(place);
        assert!(places.lock().is_empty());
    }
}
