//! Who serves whom, by what their lines can send: counted at every row of the series, among
//! leechers, since what a seed gives is given for nothing.

use crate::frame::Frame;

/// Most groups of peers.
const GROUPS_MAX: usize = 20;

/// Peers of like capacity that serve others, and whom they serve.
#[derive(Clone, Debug, PartialEq)]
pub struct UnchokeRow {
    /// Who serves: its group, from 0, which is the slowest.
    pub giver: u64,
    /// Who is served, as `giver`.
    pub taker: u64,
    /// Median of the uplinks of the givers, in bytes per second.
    pub giver_uplink: u64,
    /// The same of the takers.
    pub taker_uplink: u64,
    /// Pairs of leechers of which one was unchoked by the other, added up over all rows.
    pub unchoked: u64,
    /// Pairs of leechers that were online.
    pub together: u64,
}

/// How often peers of one group were seen to serve those of another.
#[derive(Clone, Debug)]
pub(crate) struct UnchokeMap {
    /// The group of each peer.
    groups: Vec<u8>,
    uplinks: Vec<u64>,
    unchoked: Vec<u64>,
    together: Vec<u64>,
}

impl UnchokeMap {
    /// Peers by their uplinks, in groups as large as can be alike. Who has the same uplink is in
    /// any order but that of coming: those of a group would else have met no others.
    pub(crate) fn new(uplinks: &[u64]) -> Self {
        let count = uplinks.len();
        let mut order: Vec<usize> = (0..count).collect();
        let mixed = |place: usize| (place as u64).wrapping_mul(0x9e37_79b9_7f4a_7c15);
        order.sort_by_key(|place| (uplinks[*place], mixed(*place)));
        let number = count.min(GROUPS_MAX);
        let mut groups = vec![0; count];
        for (rank, place) in order.iter().enumerate() {
            groups[*place] = u8::try_from(rank * number / count).expect("few groups");
        }
        let middle = |group: usize| {
            let first = (group * count).div_ceil(number);
            let last = ((group + 1) * count).div_ceil(number);
            uplinks[order[first.midpoint(last - 1)]]
        };
        Self {
            groups,
            uplinks: (0..number).map(middle).collect(),
            unchoked: vec![0; number * number],
            together: vec![0; number * number],
        }
    }

    /// Those are there as leechers, and of these some serve others: pairs of places.
    pub(crate) fn see(
        &mut self,
        takers: impl Iterator<Item = usize>,
        givers: impl Iterator<Item = usize>,
        pairs: impl Iterator<Item = (usize, usize)>,
    ) {
        let number = self.uplinks.len();
        let group = |place: usize| usize::from(self.groups[place]);
        let mut there = [vec![0_u64; number], vec![0; number]];
        takers.for_each(|place| there[0][group(place)] += 1);
        givers.for_each(|place| there[1][group(place)] += 1);
        for (giver, givers) in there[1].iter().enumerate() {
            for (taker, takers) in there[0].iter().enumerate() {
                // Nobody serves itself.
                let others = takers - u64::from(giver == taker && *takers > 0);
                self.together[giver * number + taker] += givers * others;
            }
        }
        for (giver, taker) in pairs {
            self.unchoked[group(giver) * number + group(taker)] += 1;
        }
    }

    /// Every two groups of which some were there together.
    pub(crate) fn rows(&self) -> Vec<UnchokeRow> {
        let number = self.uplinks.len();
        let places = (0..number * number).filter(|place| self.together[*place] > 0);
        let row = |place: usize| {
            let (giver, taker) = (place / number, place % number);
            UnchokeRow {
                giver: giver as u64,
                taker: taker as u64,
                giver_uplink: self.uplinks[giver],
                taker_uplink: self.uplinks[taker],
                unchoked: self.unchoked[place],
                together: self.together[place],
            }
        };
        places.map(row).collect()
    }
}

/// A row for every two groups.
pub(super) fn frame(rows: &[UnchokeRow]) -> Frame {
    Frame::default()
        .whole("giver", rows, |row| row.giver)
        .whole("taker", rows, |row| row.taker)
        .whole("giver_uplink", rows, |row| row.giver_uplink)
        .whole("taker_uplink", rows, |row| row.taker_uplink)
        .whole("unchoked", rows, |row| row.unchoked)
        .whole("together", rows, |row| row.together)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn groups_are_of_one_size_and_by_capacity() {
        let uplinks: Vec<u64> = (0..100).map(|place| (place * 37) % 100).collect();
        let map = UnchokeMap::new(&uplinks);
        assert_eq!(map.uplinks.len(), 20);
        assert_eq!([map.uplinks[0], map.uplinks[19]], [2, 97]);
        for (uplink, group) in uplinks.iter().zip(&map.groups) {
            assert_eq!(u64::from(*group), uplink / 5);
        }
        assert_eq!(UnchokeMap::new(&[5, 3]).groups, [1, 0]);
        // Those of one uplink are mixed: of the first half of all, some are in each group.
        let alike = UnchokeMap::new(&[7; 400]);
        for group in 0..20 {
            let early = alike.groups[..200].iter().filter(|it| **it == group);
            assert!((5..=15).contains(&early.count()), "group {group}");
        }
        assert!(UnchokeMap::new(&[]).rows().is_empty());
    }

    #[test]
    fn pairs_are_counted_by_group_and_nobody_is_its_own_neighbour() {
        let mut map = UnchokeMap::new(&[1, 2, 3]);
        map.see([0, 1].into_iter(), [0, 1].into_iter(), [(0, 1)].into_iter());
        map.see([0, 1, 2].into_iter(), [1].into_iter(), [(1, 0)].into_iter());
        let told: Vec<[u64; 4]> = map
            .rows()
            .iter()
            .map(|row| [row.giver, row.taker, row.unchoked, row.together])
            .collect();
        assert_eq!(told, [[0, 1, 1, 1], [1, 0, 1, 2], [1, 2, 0, 1]]);
    }
}
