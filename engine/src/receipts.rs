//! The receipt protocol `Sb_receipt`: who owes whom, for what, and how both sides come to agree.
//!
//! [`Exchange`] is the whole of it for one node. Each part is in the folder: `window` sizes and delays
//! in `limits`, the queue F in `exposure`, a payer's conduct in `conduct`, the two sides of a pair in
//! `payer` and `payee`, locks in `paying` and `earning`, prices in `class` and `requests`. Written
//! after DESIGN §4; where that text leaves a choice, the one is taken under which honest nodes never
//! lose credit.

pub mod acknowledgement;
pub mod autobid;
pub mod class;
pub mod clock;
pub mod conduct;
pub mod connection;
pub mod earning;
pub mod exchange;
pub mod exposure;
pub mod incoming;
pub mod limits;
pub mod output;
pub mod pair;
pub mod payee;
pub mod payer;
pub mod paying;
pub mod requests;
pub mod shares;
pub mod summary;

pub use class::Class;
pub use exchange::{Exchange, Granted, Opened, Setup, Terms};
pub use output::{ExchangeEvent, ExchangeOutput, Violation};
