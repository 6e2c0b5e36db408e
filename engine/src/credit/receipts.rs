//! The receipt protocol `Sb_receipt`: who owes whom, for what, and how both sides come to agree.
//!
//! [`Exchange`] is the whole of it for one node. Its parts: `limits` names every bound and delay,
//! `service` and `open_pieces` say what a block costs, `exposure` is the queue F, `conduct` a payer's
//! lateness, `payer` and `payee` the two sides of a pair, `paying` and `earning` their locks,
//! `acknowledgement` what costs nothing, `connection` HELLO to ready. The specification is DESIGN
//! §4.
//!
//! # Readings
//!
//! Where that text leaves a choice, the one is taken under which honest nodes never lose credit:
//!
//! 1. Acknowledgement channels run under the network of zeros, whatever networks the two nodes
//!    belong
//!    to, so that a pair has one channel each way for good (F26). AUTH is over the shared network,
//!    or
//!    zeros.
//! 2. The "less than 1 µcr" that may be missing is lent once, from the start: [`exposure::LOAN`].
//!    What is left of the loan is the carried shortage (`PairRow::paid_carry`).
//! 3. A key has *paid* once a receipt was worth at least 1 µcr; blocks that the loan alone covers
//!    open no larger window.
//! 4. A surplus that finds F empty first clears what was written off in this run (`lost` falls),
//!    and is a tip only then: an honest payer whose piece was verified late ends where he would be
//!    had he paid in time.
//! 5. Late is only who owes: a block refused for cover while F is empty starts no clock.
//! 6. A rise in the 30 s before a write-off ends the suspension: E ≤ W bounds what he takes.
//! 7. Once `lost` is forgiven altogether, the next back-off is a short one again.
//! 8. A lock is also kept open for a key that never paid and for which something was written off:
//!    one forgiven window per key would otherwise be harvested with recycled credit (F13).
//!    Nor is one closed while its payer may hold a receipt that we have not seen: before his SYNC
//!    in this run, or after a write-off or the death of his last connection while he owed
//!    something. It waits for his SYNC, his CLOSE or its expiry.
//! 9. Every lock that the settlement node has not told of in this run is provisional, newly shown
//!    ones too: a restored payee cannot tell which it has closed. One answer confirms it.
//! 10. A lock that may not be served on (too small, too short) is still *known*: its receipts
//!     count.
//!     Its amount is measured at the least rate; P2 covers the rest per block.
//! 11. A handed-on piece keeps counting against the window (S2) for what came and may still come.
//! 12. A payer bids only with a lock that is open and wanted. Before CLOSE his bids end, and CLOSE
//!     waits until nothing paid is under way: what became due later could not be signed.
//! 13. A payee's word that a lock is closed is believed until he shows it open again or the
//!     settlement node decides. What was signed and not claimed on a closed lock is not owed again.
//! 14. Receipts may be resent on a connection on which our SYNC went out, though his has not come
//!     (F4); new ones are signed only while a connection is ready. They need no Fast Extension.
//! 15. After a start every lock with something to claim is claimed at once, and every channel is
//!     summarised once: nobody knows what was done before.
//! 16. A receipt of an unknown channel or a closed lock is answered and ignored; one that is
//!     forged,
//!     of another network, or an acknowledgement with an amount makes the connection plain.

pub mod acknowledgement;
pub mod clock;
pub mod conduct;
pub mod connection;
pub mod earning;
pub mod exchange;
pub mod exposure;
pub mod incoming;
pub mod limits;
pub mod open_pieces;
pub mod pair;
pub mod payee;
pub mod payer;
pub mod paying;

pub mod service;
pub mod shares;
pub mod summary;
pub mod violation;

pub use exchange::{Delivered, Exchange, Granted, Opened, Setup, Terms};
pub use service::Service;
pub use violation::Violation;
