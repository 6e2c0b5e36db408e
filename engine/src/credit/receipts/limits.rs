//! Every bound and delay of the receipt protocol, named (docs/RULES.md).
//!
//! [`Window`] is *protocol*: both sides count on it, a simulation may make it smaller. The rest are
//! delays and bounds that one side alone keeps.

use seedbank_ledger::{Bytes, Duration, MicroCredits, Rate};

use crate::wire::receipt::SYNC_ENTRIES_MAX;

/// Size of the exposure that a payee allows (P1).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Window {
    /// Least window of a key with a history, whatever its pieces.
    pub min: Bytes,
    /// Largest window before the bonus, and largest piece that can be paid for at all.
    pub max: Bytes,
    /// Most that a long history adds.
    pub bonus_max: Bytes,
}

/// A window grows by this share of the history: one part in 16.
pub const WINDOW_BONUS_SHARE: u64 = 16;
/// Written-off bytes that are forgiven: one piece, and one part in 32 of the history (P4).
pub const LOST_SHARE: u64 = 32;
/// A key that took so much of what it paid for and did not pay for it has its credit back at once:
/// one part in 8.
pub const UNPAID_SHARE: u64 = 8;
/// All keys together may take as much as the largest window beyond that and have it back at once;
/// it fills up again in this time.
pub const LENT_FILL: Duration = Duration::from_secs(24 * 3_600);
/// Blocks that somebody had brought before are paid for up to this part of what their payee was
/// owed for needed ones…
pub const COPIES_SHARE: u128 = 16;
/// …and beyond it up to these bytes of a torrent, whoever sends them (S1).
pub const COPIES_LEN: Bytes = Bytes::new(16 * 16 * 1024);
/// Most blocks in one exposure queue; 80 MiB of whole blocks are 5,120.
pub const EXPOSURE_BLOCKS_MAX: usize = 8_192;
/// Highest rate in a bid or a quote: a billion credits per GiB.
pub const RATE_MAX: Rate = Rate::new(1 << 50);

/// Most pairs that are remembered while nobody is connected; of more, those are forgotten whose
/// loss is the least.
pub const PAIRS_MAX: usize = 16_384;
/// Most pairs in memory, those with locks and connections included: none is added beyond.
pub const PAIRS_BUSY_MAX: usize = 2 * PAIRS_MAX;
/// Most locks of one pair and role that are not closed; a peer's further ones are refused.
pub const LOCKS_OPEN_MAX: usize = 8;
/// Most closed locks of one pair and role that are remembered until their credit has returned.
pub const LOCKS_CLOSED_MAX: usize = 64;
/// Most closed locks that a SYNC of ours tells of, newest first.
pub const SYNC_CLOSED_MAX: usize = 7;
/// Most shares in one channel summary; the ledger's bound.
pub const ATTRIBUTION_MAX: usize = 64;

/// Bids one connection may send at once.
pub const BID_BURST: u64 = 4;
/// Time after which a connection may send one more bid.
pub const BID_INTERVAL: Duration = Duration::from_secs(1);
/// Bids that are taken from one connection at once: what an honest sender says in a minute may
/// arrive together behind a stall.
pub const BID_BURST_TAKEN: u64 = BID_BURST + 60;
/// SYNCs that are taken from one connection at once: its first, what we asked for and the closes of
/// its locks, a minute's worth of which may arrive together.
pub const SYNC_BURST_TAKEN: u64 = 64;
/// QUOTE, LOCK, CLOSE, TIP and ERR that are taken from one connection at once…
pub const CONTROL_BURST_TAKEN: u64 = 512;
/// …and the time after which one more is. Honest nodes say a few a second at most.
pub const CONTROL_INTERVAL: Duration = Duration::from_millis(125);
/// SYNCs and ERRs that one connection's peer can make us send at once.
pub const SYNC_BURST: u64 = 4;
/// Time after which it can make us send one more.
pub const SYNC_INTERVAL: Duration = Duration::from_secs(5);
/// A window that differs from the one quoted last is quoted after this long (P1).
pub const WINDOW_DELAY: Duration = Duration::from_secs(1);

/// A burst of receipts is verified once it grew by this much…
pub const RECEIPT_STEP: Bytes = Bytes::new(64 * 1024);
/// …though not more often than this, unless a block would be refused otherwise…
pub const RECEIPT_GAP: Duration = Duration::from_millis(20);
/// …and after this long in any case (P3).
pub const RECEIPT_DELAY: Duration = Duration::from_secs(1);
/// An acknowledgement is signed once this much was verified…
pub const ACKNOWLEDGE_STEP: Bytes = Bytes::new(8 * 1024 * 1024);
/// …or after this long.
pub const ACKNOWLEDGE_DELAY: Duration = Duration::from_secs(1);

/// F non-empty without a grant or a rise for this long is late, while the payer has a paid seat…
pub const IDLE_LATE: Duration = Duration::from_secs(60);
/// …and without one (P4).
pub const IDLE_LATE_UNSEATED: Duration = Duration::from_secs(600);
/// Least time from late to the open class.
pub const LATE_MIN: Duration = Duration::from_secs(5);
/// Most time from late to the open class.
pub const LATE_MAX: Duration = Duration::from_secs(60);
/// Time from the open class to the write-off.
pub const WRITE_OFF_DELAY: Duration = Duration::from_secs(30);
/// First back-off, in seconds; doubled each time.
pub const BACKOFF_SECS: u64 = 60;
/// Longest back-off, in seconds.
pub const BACKOFF_SECS_MAX: u64 = 3_600;
/// Doublings until the longest back-off.
pub const BACKOFF_LEVEL_MAX: u8 = 6;

/// Least grace of a lock that is served on, in seconds (P5).
pub const LOCK_GRACE_MIN_SECS: u32 = 3_600;
/// Least time to expiry of a lock that is new to us, in seconds.
pub const LOCK_LEFT_MIN_SECS: u64 = 600;
/// Serving on a lock ends this long before it expires, in seconds.
pub const LOCK_SERVE_MARGIN_SECS: u64 = 60;
/// A lock is claimed at this share of its amount, in percent, and per further tenth.
pub const CLAIM_USE_PERCENT: u128 = 80;
/// Further use that is worth another claim, in percent of the lock's amount.
pub const CLAIM_STEP_PERCENT: u128 = 10;
/// Time between claims of a lock with anything to claim, in seconds.
pub const CLAIM_INTERVAL_SECS: u64 = 3_600;
/// A payee closes a lock that saw no grant, rise, LOCK or top-up for this long.
pub const LOCK_IDLE: Duration = Duration::from_secs(600);

/// A pair is looked at once in this time at most because time passed.
pub const TURN_GAP: Duration = Duration::from_millis(10);

/// A channel that changed is summarised in the ledger after this long, if its change is worth an
/// entry…
pub const SUMMARY_DELAY: Duration = Duration::from_secs(60);
/// …which so many bytes of an acknowledgement are…
pub const SUMMARY_BYTES_MIN: Bytes = Bytes::new(1 << 20);
/// …and this part of what a lock holds…
pub const SUMMARY_SHARE: u64 = 64;
/// …or after this long whatever it is worth…
pub const SUMMARY_DELAY_MAX: Duration = Duration::from_secs(3_600);
/// …or after this many bytes.
pub const SUMMARY_STEP: Bytes = Bytes::new(64 * 1024 * 1024);
/// …or when the owner asks for the balance, though no more often than this.
pub const BOOK_GAP: Duration = Duration::from_secs(1);

/// A payee that choked within this time of a raise gets no further raise for a while, and one that
/// choked within it of a cut gets the former bid back (S5).
pub const RAISE_REGRET: Duration = Duration::from_secs(60);
/// How long a payee that choked after a raise gets none.
pub const RAISE_PAUSE: Duration = Duration::from_secs(300);
/// After a cut that was taken back nothing is raised for this long…
pub const CUT_RAISE_PAUSE: Duration = Duration::from_secs(20);
/// …and nothing cut for this long, doubled each time…
pub const CUT_PAUSE: Duration = Duration::from_secs(300);
/// …up to this.
pub const CUT_PAUSE_MAX: Duration = Duration::from_secs(3_600);
/// A bid is raised to at most so many times the lowest at which another payee serves us.
pub const RIVAL_FACTOR: u64 = 2;
/// Unchoked rounds in a row after which a bid is lowered.
pub const LOWER_AFTER_ROUNDS: u8 = 3;

const _: () = assert!(SYNC_ENTRIES_MAX >= 1 + 2 * LOCKS_OPEN_MAX + SYNC_CLOSED_MAX);
const _: () = assert!(LOCK_SERVE_MARGIN_SECS < LOCK_LEFT_MIN_SECS);
const _: () = assert!(BACKOFF_SECS << BACKOFF_LEVEL_MAX >= BACKOFF_SECS_MAX);

impl Window {
    /// The window of version 1.
    pub const V1: Self = Self {
        min: Bytes::new(1 << 20),
        max: Bytes::new(64 << 20),
        bonus_max: Bytes::new(16 << 20),
    };

    /// The exposure allowed to a key with this history, with whom the largest piece shared is
    /// `piece_len` long (P1). It starts at one piece and grows as fast as the history at first.
    pub fn of(&self, piece_len: Bytes, history: Bytes) -> Bytes {
        let bonus = Bytes::new(history.get() / WINDOW_BONUS_SHARE).min(self.bonus_max);
        let start = self.piece(piece_len).saturating_add(history);
        start.min(self.full(piece_len).saturating_add(bonus))
    }

    /// The same without what a long history adds.
    pub fn plain(&self, piece_len: Bytes, history: Bytes) -> Bytes {
        let start = self.piece(piece_len).saturating_add(history);
        start.min(self.full(piece_len))
    }

    /// A piece as far as it counts.
    pub fn piece(&self, piece_len: Bytes) -> Bytes {
        piece_len.min(self.max)
    }

    fn full(&self, piece_len: Bytes) -> Bytes {
        let two_pieces = piece_len.saturating_add(piece_len);
        two_pieces.max(self.min).min(self.max)
    }
}

/// Bytes that this much credit buys at a rate, rounded down; none at rate 0.
pub fn history(paid: MicroCredits, rate: Rate) -> Bytes {
    let raw = u128::from(paid.get()) << 30;
    let bytes = raw.checked_div(u128::from(rate.get())).unwrap_or(0);
    Bytes::new(u64::try_from(bytes).unwrap_or(u64::MAX))
}

#[cfg(test)]
mod tests {
    use super::*;

    const MIB: u64 = 1 << 20;

    fn window(piece: u64, history: u64) -> u64 {
        Window::V1.of(Bytes::new(piece), Bytes::new(history)).get()
    }

    #[test]
    fn a_key_without_a_history_is_allowed_one_piece() {
        assert_eq!(window(256 * 1024, 0), 256 * 1024);
        assert_eq!(window(16 * MIB, 0), 16 * MIB);
        assert_eq!(window(512 * MIB, 0), 64 * MIB);
    }

    #[test]
    fn a_history_is_money_and_not_bytes() {
        let paid = MicroCredits::new(1_000_000);
        assert_eq!(history(paid, Rate::PAR).get(), 1 << 30);
        assert_eq!(
            history(paid, Rate::new(1_000_000_000)).get(),
            (1 << 30) / 1_000
        );
        assert_eq!(history(paid, Rate::ZERO), Bytes::ZERO);
        assert_eq!(history(MicroCredits::MAX, Rate::new(1)), Bytes::MAX);
    }

    #[test]
    fn a_window_grows_with_the_history_to_two_pieces_and_then_slowly() {
        // M5: one micro-credit buys no mebibyte.
        assert_eq!(window(256 * 1024, 16), 256 * 1024 + 16);
        assert_eq!(window(256 * 1024, MIB), MIB + MIB / 16);
        assert_eq!(window(4 * MIB, 3 * MIB), 7 * MIB);
        assert_eq!(window(4 * MIB, 16 * MIB), 9 * MIB);
        assert_eq!(window(64 * MIB, 1 << 40), 80 * MIB);
        assert_eq!(window(u64::MAX, u64::MAX), 80 * MIB);
        let plain = Window::V1.plain(Bytes::new(4 * MIB), Bytes::new(1 << 40));
        assert_eq!(plain, Bytes::new(8 * MIB));
    }
}
