//! Addresses that we dialled in vain, each with the newest reason, so that the owner can see it.
//!
//! Nothing is decided by it: when an address is tried again is in `addresses`.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;
use std::net::SocketAddr;

/// Addresses kept for one torrent; the one that failed longest ago gives way.
pub(crate) const FAILURES_MAX: usize = 500;
/// Addresses of each reason that are shown, the newest ones.
pub const NEWEST_MAX: usize = 3;

/// Why a connection that we dialled came to nothing.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum FailureReason {
    /// Nobody listens there.
    Refused,
    /// No answer to our first packet.
    TimedOut,
    /// No way leads there.
    Unreachable,
    /// The connection came about and was closed before the peer's handshake: so does a client that
    /// takes encrypted connections only.
    Closed,
    /// The connection came about, and no handshake came.
    Silent,
    /// What came is no BitTorrent handshake.
    WrongProtocol,
    /// The peer answered for another torrent.
    WrongTorrent,
    /// It is ourselves.
    Own,
    /// The peer is connected to us by another connection.
    Duplicate,
    /// Something on our own machine: no descriptors, no such address family.
    Local,
}

/// The addresses that failed for one reason.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct UnreachedView {
    /// Why.
    pub reason: FailureReason,
    /// How many, of the newest 500 that failed.
    pub count: u32,
    /// Some of them, the newest first, at most [`NEWEST_MAX`].
    pub newest: Vec<SocketAddr>,
}

/// The addresses of one torrent that were dialled in vain last time.
#[derive(Clone, Debug, Default)]
pub(crate) struct Failures {
    known: BTreeMap<SocketAddr, (FailureReason, u64)>,
    /// The same by reason, oldest first.
    by_reason: BTreeMap<FailureReason, BTreeSet<(u64, SocketAddr)>>,
    /// Number of the next failure.
    next: u64,
}

impl Failures {
    /// A dial of `addr` came to nothing. Whether that is news: it did not fail before, or for
    /// another reason.
    pub(crate) fn failed(&mut self, addr: SocketAddr, reason: FailureReason) -> bool {
        let before = self.forget(addr);
        if self.known.len() >= FAILURES_MAX {
            let oldest = self.by_reason.values().filter_map(BTreeSet::first).min();
            if let Some((_, oldest)) = oldest.copied() {
                self.forget(oldest);
            }
        }
        self.known.insert(addr, (reason, self.next));
        let of_reason = self.by_reason.entry(reason).or_default();
        of_reason.insert((self.next, addr));
        self.next += 1;
        assert!(self.known.len() <= FAILURES_MAX, "failures are bounded");
        before != Some(reason)
    }

    /// Both handshakes were exchanged with `addr`.
    pub(crate) fn reached(&mut self, addr: SocketAddr) {
        self.forget(addr);
    }

    /// How many failed for which reason.
    pub(crate) fn views(&self) -> Vec<UnreachedView> {
        let views = self.by_reason.iter();
        views
            .map(|(reason, addrs)| UnreachedView {
                reason: *reason,
                count: u32::try_from(addrs.len()).expect("failures are bounded"),
                newest: addrs.iter().rev().take(NEWEST_MAX).map(|it| it.1).collect(),
            })
            .collect()
    }

    /// Asserts that both lists have the same.
    pub(crate) fn check_invariants(&self) {
        let listed = self.by_reason.iter().flat_map(|(reason, addrs)| {
            let whole = |(number, addr): &(u64, SocketAddr)| (*addr, (*reason, *number));
            addrs.iter().map(whole)
        });
        let listed: BTreeMap<_, _> = listed.collect();
        assert_eq!(listed, self.known, "failures are listed by reason");
    }

    /// Why it failed last time, if it did.
    fn forget(&mut self, addr: SocketAddr) -> Option<FailureReason> {
        let (reason, number) = self.known.remove(&addr)?;
        if let Some(of_reason) = self.by_reason.get_mut(&reason) {
            of_reason.remove(&(number, addr));
            if of_reason.is_empty() {
                self.by_reason.remove(&reason);
            }
        }
        Some(reason)
    }
}

impl fmt::Display for FailureReason {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Refused => "refused",
            Self::TimedOut => "timed out",
            Self::Unreachable => "unreachable",
            Self::Closed => "closed during the handshake (encrypted connections only?)",
            Self::Silent => "sent no handshake in time",
            Self::WrongProtocol => "does not speak BitTorrent",
            Self::WrongTorrent => "answered for another torrent",
            Self::Own => "is ourselves",
            Self::Duplicate => "connected twice",
            Self::Local => "not possible from this machine",
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn addr(port: u16) -> SocketAddr {
        SocketAddr::from(([127, 0, 0, 1], port))
    }

    #[test]
    fn an_address_counts_once_by_its_newest_reason_until_it_is_reached() {
        let mut failures = Failures::default();
        assert!(failures.failed(addr(1), FailureReason::Refused));
        assert!(
            !failures.failed(addr(1), FailureReason::Refused),
            "old news"
        );
        assert!(failures.failed(addr(1), FailureReason::Closed));
        for port in 2..7 {
            assert!(failures.failed(addr(port), FailureReason::Refused));
        }
        failures.reached(addr(2));
        failures.check_invariants();
        let refused = UnreachedView {
            reason: FailureReason::Refused,
            count: 4,
            newest: vec![addr(6), addr(5), addr(4)],
        };
        let closed = UnreachedView {
            reason: FailureReason::Closed,
            count: 1,
            newest: vec![addr(1)],
        };
        assert_eq!(failures.views(), [refused, closed]);
    }

    #[test]
    fn failures_are_bounded_and_the_oldest_goes() {
        let mut failures = Failures::default();
        let ports = 1..=u16::try_from(FAILURES_MAX + 1).unwrap();
        for port in ports.clone() {
            let reason = match port % 2 {
                0 => FailureReason::Refused,
                _ => FailureReason::TimedOut,
            };
            failures.failed(addr(port), reason);
        }
        failures.check_invariants();
        assert_eq!(failures.known.len(), FAILURES_MAX);
        assert!(!failures.known.contains_key(&addr(1)));
        assert!(failures.known.contains_key(&addr(*ports.end())));
    }
}
