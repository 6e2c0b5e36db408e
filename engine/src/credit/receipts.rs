//! The receipt protocol `Sb_receipt`: who owes whom, for what, and how both sides come to agree.
//!
//! [`Exchange`] is the whole of it for one node. Its parts: `limits` names every bound and delay,
//! `service` and `open_pieces` say what a block costs, `copies` what one costs that comes twice,
//! `exposure` is the queue F, `conduct` a payer's lateness, `payer` and `payee` the two sides of a
//! pair, `paying` and `earning` their locks, `lending` what keeps none of those open,
//! `acknowledgement` what costs nothing, `connection` HELLO to ready. What travels is in
//! docs/PROTOCOL.md; the rules, P1 to P5 and S1 to S5, and how they are read where they leave a
//! choice, are in docs/RULES.md.

pub mod acknowledgement;
pub mod clock;
pub mod conduct;
pub mod connection;
pub mod copies;
pub mod earning;
pub mod exchange;
pub mod exposure;
pub mod incoming;
pub mod lending;
pub mod limits;
pub mod lock_names;
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
