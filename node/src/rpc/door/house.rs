//! Who is in, and who has to leave for a newcomer when all places are taken.
//!
//! A crowd of strangers must not keep an honest newcomer out: whoever comes from addresses with
//! fewer connections finds room at the cost of those with more, who has asked nothing yet first.

use std::cmp::Reverse;
use std::collections::BTreeMap;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use seedbank_engine::discovery::host::Host;
use tokio::sync::Notify;

/// Connections by group of addresses, each under a number that grows.
type Groups = BTreeMap<Host, BTreeMap<u64, Arc<GuestMark>>>;

/// Everybody who is in and came over a network, but for this machine's own.
#[derive(Debug)]
pub(super) struct House {
    groups: Arc<Mutex<Groups>>,
    last: u64,
    /// Most connections of one group.
    share: usize,
}

/// A connection's place; free again when it is dropped.
#[derive(Debug)]
pub(super) struct HousePlace {
    groups: Arc<Mutex<Groups>>,
    group: Host,
    number: u64,
    mark: Arc<GuestMark>,
}

/// What a connection and the door tell each other.
#[derive(Debug, Default)]
pub(super) struct GuestMark {
    has_asked: AtomicBool,
    has_to_leave: Notify,
}

/// What becomes of a newcomer to a full house.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum NewcomerFate {
    /// Somebody was told to leave.
    ComesIn,
    /// Everybody has as good a right: it waits until a place is free.
    Waits,
    /// There are enough of its kind.
    IsClosed,
}

impl House {
    /// Empty, for at most `share` of each group.
    pub(super) fn new(share: usize) -> Self {
        Self {
            groups: Arc::default(),
            last: 0,
            share,
        }
    }

    /// Lets one of `group` in; `None` if there are enough of them.
    pub(super) fn enter(&mut self, group: Host) -> Option<HousePlace> {
        let mut groups = lock(&self.groups);
        if groups
            .get(&group)
            .is_some_and(|guests| guests.len() >= self.share)
        {
            return None;
        }
        self.last += 1;
        let mark = Arc::default();
        let guests = groups.entry(group).or_default();
        guests.insert(self.last, Arc::clone(&mark));
        drop(groups);
        Some(HousePlace {
            groups: Arc::clone(&self.groups),
            group,
            number: self.last,
            mark,
        })
    }

    /// Looks for somebody to leave for one of `group`; `None` is this machine's own. Whoever is
    /// told to leave counts no more. O(connections).
    pub(super) fn make_room(&self, group: Option<Host>) -> NewcomerFate {
        let mut groups = lock(&self.groups);
        let size_of = |group: &Host| groups.get(group).map_or(0, BTreeMap::len);
        let own = group.as_ref().map_or(0, size_of);
        if own >= self.share {
            return NewcomerFate::IsClosed;
        }
        let guests = groups.iter().flat_map(|(group, guests)| {
            let each = guests.iter();
            let size = guests.len();
            each.map(move |(number, mark)| (*group, size, *number, mark.has_asked()))
        });
        // Nobody who asked something leaves to make another group as large as its own was.
        let may_leave = guests.filter(|(_, size, _, asked)| *size > own + usize::from(*asked));
        let leaver =
            may_leave.max_by_key(|(_, size, number, asked)| (*size, !*asked, Reverse(*number)));
        match leaver {
            Some((group, _, number, _)) => {
                if let Some(mark) = take(&mut groups, group, number) {
                    mark.has_to_leave.notify_one();
                }
                NewcomerFate::ComesIn
            }
            None if own == 0 => NewcomerFate::Waits,
            None => NewcomerFate::IsClosed,
        }
    }
}

impl HousePlace {
    /// What the door says to this connection.
    pub(super) fn mark(&self) -> Arc<GuestMark> {
        Arc::clone(&self.mark)
    }
}

impl Drop for HousePlace {
    fn drop(&mut self) {
        take(&mut lock(&self.groups), self.group, self.number);
    }
}

impl GuestMark {
    /// It has asked its first question.
    pub(super) fn set_asked(&self) {
        self.has_asked.store(true, Ordering::Relaxed);
    }

    /// Waits until it has to leave for somebody else.
    pub(super) async fn told_to_leave(&self) {
        self.has_to_leave.notified().await;
    }

    fn has_asked(&self) -> bool {
        self.has_asked.load(Ordering::Relaxed)
    }
}

fn take(groups: &mut Groups, group: Host, number: u64) -> Option<Arc<GuestMark>> {
    let guests = groups.get_mut(&group)?;
    let mark = guests.remove(&number);
    if guests.is_empty() {
        groups.remove(&group);
    }
    mark
}

fn lock(groups: &Mutex<Groups>) -> MutexGuard<'_, Groups> {
    // Nothing under this lock leaves it half done.
    groups.lock().unwrap_or_else(PoisonError::into_inner)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn group(ip: &str) -> Host {
        Host::of(ip.parse().unwrap())
    }

    fn crowd(house: &mut House, ip: &str, count: usize) -> Vec<HousePlace> {
        let places = (0..count).map(|_| house.enter(group(ip)).unwrap());
        places.collect()
    }

    fn in_house(house: &House, ip: &str) -> usize {
        lock(&house.groups).get(&group(ip)).map_or(0, BTreeMap::len)
    }

    #[test]
    fn a_newcomer_takes_the_place_of_the_silent_of_the_largest_crowd() {
        let mut house = House::new(3);
        let large = crowd(&mut house, "10.0.0.1", 3);
        let _small = crowd(&mut house, "10.0.0.2", 2);
        large[0].mark().set_asked();
        assert_eq!(
            house.make_room(Some(group("10.0.0.3"))),
            NewcomerFate::ComesIn
        );
        let left: Vec<u64> = lock(&house.groups)[&group("10.0.0.1")]
            .keys()
            .copied()
            .collect();
        assert_eq!(left, [1, 3], "the oldest that has asked nothing");
        let _third = house.enter(group("10.0.0.1")).unwrap();
        assert!(house.enter(group("10.0.0.1")).is_none(), "it has its share");
    }

    #[test]
    fn who_is_of_the_largest_crowd_is_closed_and_others_wait_for_their_equals() {
        let mut house = House::new(3);
        let large = crowd(&mut house, "10.0.0.1", 2);
        let small = crowd(&mut house, "10.0.0.2", 1);
        for place in large.iter().chain(&small) {
            place.mark().set_asked();
        }
        let large_one = Some(group("10.0.0.1"));
        assert_eq!(house.make_room(large_one), NewcomerFate::IsClosed);
        let newcomer = Some(group("10.0.0.3"));
        assert_eq!(house.make_room(newcomer), NewcomerFate::ComesIn);
        assert_eq!(in_house(&house, "10.0.0.1"), 1, "two were more than none");
        assert_eq!(house.make_room(newcomer), NewcomerFate::Waits);
        assert_eq!(house.make_room(None), NewcomerFate::Waits);
        drop((large, small));
        assert!(lock(&house.groups).is_empty(), "who is gone is forgotten");
    }

    #[test]
    fn a_crowd_of_strangers_with_an_address_each_gives_way_until_it_asks() {
        let mut house = House::new(3);
        let silent = crowd(&mut house, "10.0.0.1", 1);
        let asked = crowd(&mut house, "10.0.0.2", 1);
        asked[0].mark().set_asked();
        let newcomer = Some(group("10.0.0.3"));
        assert_eq!(house.make_room(newcomer), NewcomerFate::ComesIn);
        assert_eq!(in_house(&house, "10.0.0.1"), 0);
        drop(silent);
        assert_eq!(house.make_room(newcomer), NewcomerFate::Waits);
    }
}
