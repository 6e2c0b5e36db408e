//! What was asked of whom, and what became of it: no payload, no connection, no clock.
//!
//! [`requests`] keeps what was asked of one peer, [`lease`] which blocks of a piece have come, and
//! [`fate`] says what both together make of a block. The session's pipeline and the data planes of
//! both drivers are built on them, so that "was it asked?" has one answer.

pub mod fate;
pub mod lease;
pub mod requests;

pub use fate::{BlockFate, Found};
pub use lease::{Arrived, Lease};
pub use requests::Requests;
