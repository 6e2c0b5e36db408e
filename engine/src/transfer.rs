//! Who is asked for what, and who is served how fast: decisions over plain values.
//!
//! [`picker`] and [`pipeline`] decide what to request, [`choker`] who may request of us, and
//! [`limiter`] how fast bytes go; [`suggest`] says what a seed that is alone should send whom;
//! [`uplink`] finds out what nobody told us about the way out. None
//! of them knows a connection, a key or a credit.

pub mod choker;
pub mod limiter;
pub mod picker;
pub mod pipeline;
pub mod suggest;
pub mod uplink;
