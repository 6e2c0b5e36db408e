//! The peer wire protocol: BEP 3 messages, BEP 6, BEP 9, BEP 10 and the receipt protocol.
//!
//! Everything here turns bytes into values and back. What a value means is the session's business.

pub mod codec;
pub mod extended;
pub mod handshake;
pub mod message;
pub mod metadata;
pub mod receipt;
