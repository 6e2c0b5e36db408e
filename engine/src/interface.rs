//! What goes into a session and what comes out: the vocabulary of its drivers.
//!
//! Each room owns its words; here they are assembled. Only the session and its drivers use it.

pub mod command;
pub mod config;
pub mod event;
pub mod input;
pub mod output;
pub mod view;
