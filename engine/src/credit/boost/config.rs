//! Bounds and times of boosts; each is ours to tune, none is protocol.

use seedbank_ledger::{Bytes, Duration};

/// Payees one boost funds at once (docs/RULES.md, boosts).
pub const PAYEES_MAX: usize = 4;
/// Locks one boost has a share in at once, as many as are stored. What is past the funded ones is
/// closing and does not count: payees that never close a lock must not starve a boost.
pub const SHARES_MAX: usize = 20;
/// Boosts that are active at once.
pub const ACTIVE_MAX: usize = 64;
/// Boosts that are remembered after their end, newest last.
pub const ENDED_MAX: usize = 256;
/// Longest life that a boost can be given, in seconds: a hundred years.
pub const TIME_TO_LIVE_SECS_MAX: u64 = 100 * 365 * 24 * 3_600;
/// A lock reserves this much at the bid.
pub const LOCK_BYTES: Bytes = Bytes::new(64 << 20);
/// A new lock covers so many windows if the budget allows it, and one at least.
pub const LOCK_WINDOWS: u64 = 4;
/// Largest window that can be (P1), whatever a payee says.
pub const WINDOW_MAX: Bytes = Bytes::new(80 << 20);
/// A share in a lock is filled up when no more than one part in so many of it is left: 75 % used.
pub const TOP_UP_PARTS: u64 = 4;
/// A lock is renewed when no more than one part in so many of its life is left.
pub const RENEW_PARTS: u64 = 4;
/// Nothing is bid for on a lock that expires this soon, in seconds; payees stop serving at 60.
pub const EXPIRY_MARGIN_SECS: u64 = 90;
/// A payee that is gone or of no use keeps its place this long.
pub const PLACE_KEEP: Duration = Duration::from_secs(60);
/// A payee that lets us ask and sends nothing for this long loses its place…
pub const SILENT_MAX: Duration = Duration::from_secs(30);
/// …and so does one that sent nothing as paid for this long while another waits…
pub const UNPAID_MAX: Duration = Duration::from_secs(120);
/// …and gets no new place for this long, doubled each time…
pub const PLACE_PAUSE: Duration = Duration::from_secs(300);
/// …so often at most.
pub const PLACE_PAUSE_DOUBLINGS: u32 = 6;
/// While somebody who was never tried waits, it gets the place of the least use once in this time.
pub const ROTATE_EVERY: Duration = Duration::from_secs(60);
/// A lock that nobody wants now but somebody may is kept this long.
pub const LINGER: Duration = Duration::from_secs(60);
/// A lock whose payee is not connected is kept this long, as after a start.
pub const LINGER_AWAY: Duration = Duration::from_secs(600);
/// After a lock could not be had the payee is asked again after this long.
pub const RETRY: Duration = Duration::from_secs(60);
/// Payees for whom a pause is remembered at once.
pub const PAUSES_MAX: usize = 4096;
/// Torrents per payee whose share in what was just signed is remembered until it is booked.
pub const HINTS_MAX: usize = 1024;
/// Less than this at the bid pays for nothing.
pub const DUST: Bytes = Bytes::new(16 * 1024);

const _: () = assert!(SHARES_MAX > PAYEES_MAX, "closing locks leave room");
