//! Who sent false data, or flooded us, and is kept out for it: not dialled, and not let in.
//!
//! Only proof bans. An address may be shared by many, so that a ban ends by itself.

use std::collections::BTreeMap;
use std::net::SocketAddr;

use seedbank_ledger::{Duration, Instant};

use crate::discovery::host::Host;

/// How long a ban lasts.
pub(crate) const BAN: Duration = Duration::from_secs(3_600);
/// How long who flooded us stays out, so that it cannot come again at once and go on.
pub(crate) const FLOOD_BAN: Duration = Duration::from_secs(60);
/// Bans kept; of more, the one that would end first is forgotten.
pub(crate) const BANS_MAX: usize = 4_096;

/// The bans of a node.
#[derive(Clone, Debug, Default)]
pub(crate) struct Bans {
    /// When each one ends.
    until: BTreeMap<Banned, Instant>,
}

/// What is banned.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Banned {
    /// Whoever speaks from there.
    Host(Host),
    /// One place of this machine, where any number of peers may be.
    Place(SocketAddr),
}

impl Bans {
    /// Bans whoever speaks from `addr` for so long, or longer if it was: its host, or of this
    /// machine's addresses just this one.
    pub(crate) fn ban(&mut self, addr: SocketAddr, lasts: Duration, now: Instant) {
        let banned = Banned::of(addr);
        if self.until.len() >= BANS_MAX && !self.until.contains_key(&banned) {
            self.until.retain(|_, until| *until > now);
            if self.until.len() >= BANS_MAX {
                let first = self.until.iter().min_by_key(|(_, until)| **until);
                let first = first.map(|(banned, _)| *banned);
                first.and_then(|first| self.until.remove(&first));
            }
        }
        let until = self.until.entry(banned).or_insert(now);
        *until = now.after(lasts).max(*until);
        assert!(self.until.len() <= BANS_MAX, "bans are bounded");
    }

    /// Whether nobody is to be met at `addr`.
    pub(crate) fn is_banned(&self, addr: SocketAddr, now: Instant) -> bool {
        let until = self.until.get(&Banned::of(addr));
        until.is_some_and(|until| now < *until)
    }

    /// Whether anybody is kept out now.
    pub(crate) fn any(&self, now: Instant) -> bool {
        self.until.values().any(|until| now < *until)
    }
}

impl Banned {
    fn of(addr: SocketAddr) -> Self {
        match Host::of(addr.ip()) {
            Host::Here => Self::Place(SocketAddr::new(addr.ip().to_canonical(), addr.port())),
            host => Self::Host(host),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn addr(text: &str) -> SocketAddr {
        text.parse().unwrap()
    }

    #[test]
    fn a_ban_holds_for_every_port_and_for_an_hour() {
        let mut bans = Bans::default();
        let start = Instant::from_nanos(7);
        bans.ban(addr("192.0.2.1:6881"), BAN, start);
        assert!(bans.is_banned(addr("192.0.2.1:40000"), start));
        assert!(bans.is_banned(addr("[::ffff:192.0.2.1]:1"), start));
        assert!(!bans.is_banned(addr("192.0.2.2:6881"), start));
        let end = start.after(BAN);
        assert!(!bans.is_banned(addr("192.0.2.1:6881"), end));
        // A shorter one ends none that lasts longer.
        bans.ban(addr("192.0.2.1:6881"), BAN, end);
        bans.ban(addr("192.0.2.1:6881"), FLOOD_BAN, end);
        assert!(bans.is_banned(addr("192.0.2.1:6881"), end.after(FLOOD_BAN)));
    }

    #[test]
    fn of_this_machine_one_place_is_banned() {
        let mut bans = Bans::default();
        bans.ban(addr("127.0.0.1:6881"), BAN, Instant::ZERO);
        assert!(bans.is_banned(addr("127.0.0.1:6881"), Instant::ZERO));
        assert!(!bans.is_banned(addr("127.0.0.1:6882"), Instant::ZERO));
    }

    #[test]
    fn of_too_many_the_one_that_ends_first_is_forgotten() {
        let mut bans = Bans::default();
        let at = |number: u32| Instant::from_nanos(u64::from(number));
        let addr = |number: u32| SocketAddr::from((number.to_be_bytes(), 1));
        let first = 0x2d00_0000;
        let count = u32::try_from(BANS_MAX).unwrap();
        for number in 0..=count {
            bans.ban(addr(first + number), BAN, at(number));
        }
        let now = at(count);
        assert!(!bans.is_banned(addr(first), now));
        assert!(bans.is_banned(addr(first + 1), now));
        assert!(bans.is_banned(addr(first + count), now));
    }
}
