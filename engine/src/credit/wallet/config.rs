//! Bounds and times of the wallet; each is ours to tune, none is protocol.

use seedbank_ledger::Duration;

/// Operations that wait to be signed, transfers included.
pub const QUEUE_MAX: usize = 32;
/// Request ids of transfers that are remembered, newest last.
pub const REQUEST_IDS_MAX: usize = 256;
/// Locks of ours that are open at once.
pub const LOCKS_MAX: usize = 4096;
/// Claims, questions about locks and closes that wait at once, of each.
pub const ERRANDS_MAX: usize = 65_536;
/// Claims and questions about locks under way at once, beside the one order or statement.
pub const BESIDE_MAX: usize = 8;
/// A question without an answer for so long counts as unreachable.
pub const REPLY_WAIT: Duration = Duration::from_secs(30);
/// Statements while one is known to have changed something.
pub const POLL_HINTED: Duration = Duration::from_secs(1);
/// Statements while something is expected to change.
pub const POLL_PENDING: Duration = Duration::from_secs(10);
/// Statements while nothing is.
pub const POLL_IDLE: Duration = Duration::from_secs(60);
/// First pause after the settlement node was not reached; doubles.
pub const RETRY_MIN: Duration = Duration::from_secs(1);
/// Longest such pause.
pub const RETRY_MAX: Duration = Duration::from_secs(60);
/// With a clock further off than this, in seconds, no locks are opened (docs/RULES.md,
/// settlement time).
pub const SKEW_MAX_SECS: u64 = 600;
/// A wall clock that moves this much against the monotonic one, in seconds, was set by somebody.
pub const JUMP_SECS: u64 = 60;
/// An answer within this time of its question dates the settlement node's clock.
pub const FRESH: Duration = Duration::from_secs(60);
/// An order about a lock is good for this long, in seconds; plans change.
pub const ORDER_VALID_SECS: u64 = 600;
/// A transfer is good for this long, in seconds.
pub const TRANSFER_VALID_SECS: u64 = 86_400;
/// A signed read is good for this long, in seconds.
pub const READ_VALID_SECS: u64 = 300;
/// An operation about a lock that could not be signed for this long is dropped; plans change.
pub const WANTED_FOR: Duration = Duration::from_secs(600);

const _: () = assert!(
    RETRY_MIN.as_nanos() < RETRY_MAX.as_nanos(),
    "pauses grow towards their bound"
);
const _: () = assert!(
    READ_VALID_SECS <= seedbank_ledger::settlement::codec::READ_VALID_SECS_MAX,
    "a settlement node takes our reads"
);
const _: () = assert!(
    FRESH.as_secs() < SKEW_MAX_SECS,
    "an answer's age is no reason to distrust the clock"
);
