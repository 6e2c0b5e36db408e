//! How many of one group of addresses are here.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use seedbank_engine::discovery::host::Host;

/// Counts by group of addresses, each at most `max`. Cheap to clone.
#[derive(Clone, Debug)]
pub(in crate::rpc) struct Crowds {
    counts: Arc<Mutex<BTreeMap<Host, usize>>>,
    max: usize,
}

/// A place among those of its group; free again when it is dropped.
#[derive(Debug)]
pub(in crate::rpc) struct CrowdPlace {
    crowds: Crowds,
    group: Host,
}

impl Crowds {
    /// At most `max` of each group.
    pub(in crate::rpc) fn new(max: usize) -> Self {
        Self {
            counts: Arc::default(),
            max,
        }
    }

    /// A place for one more of `group`; `None` if there are enough. This machine's own addresses
    /// stand for any number of people, and are not bounded here.
    pub(in crate::rpc) fn enter(&self, group: Host) -> Option<CrowdPlace> {
        let mut counts = self.lock();
        let count = counts.entry(group).or_default();
        if *count >= self.max && !group.is_here() {
            return None;
        }
        *count += 1;
        drop(counts);
        let crowds = self.clone();
        Some(CrowdPlace { crowds, group })
    }

    fn lock(&self) -> MutexGuard<'_, BTreeMap<Host, usize>> {
        // Nothing under this lock leaves it half done.
        self.counts.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Drop for CrowdPlace {
    fn drop(&mut self) {
        let mut counts = self.crowds.lock();
        if let Some(count) = counts.get_mut(&self.group) {
            *count -= 1;
            if *count == 0 {
                counts.remove(&self.group);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn group(ip: &str) -> Host {
        Host::of(ip.parse().unwrap())
    }

    #[test]
    fn l9_one_group_takes_its_share_and_no_more() {
        let crowds = Crowds::new(2);
        let first = crowds.enter(group("2001:db8::1")).unwrap();
        let _second = crowds.enter(group("2001:db8::2")).unwrap();
        assert!(crowds.enter(group("2001:db8::3")).is_none());
        assert!(crowds.enter(group("2001:db8:0:1::1")).is_some());
        drop(first);
        assert!(crowds.enter(group("2001:db8::3")).is_some());
        let here: Vec<_> = (0..9).map(|_| crowds.enter(group("::1"))).collect();
        assert!(here.iter().all(Option::is_some));
        drop(here);
        assert_eq!(crowds.lock().len(), 1, "who is gone is forgotten");
    }
}
