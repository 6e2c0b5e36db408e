//! What a strategic peer does otherwise than its session says.
//!
//! An agent stands between a session and the world: it may change, add or withhold what goes in and
//! what comes out. The session behind it is the one that everybody runs.

use std::fmt::Debug;

use seedbank_engine::interface::input::Input;
use seedbank_engine::interface::output::Output;
use seedbank_engine::wire::message::Message;

/// A strategy.
pub trait Agent: Debug + Send {
    /// What the session is told in place of this; `None`: nothing.
    fn input(&mut self, input: Input) -> Option<Input> {
        Some(input)
    }

    /// What is done in place of this; `None`: nothing.
    fn output(&mut self, output: Output) -> Option<Output> {
        Some(output)
    }
}

/// Takes, and gives nothing: it unchokes nobody.
#[derive(Clone, Copy, Debug)]
pub struct FreeRider;

impl Agent for FreeRider {
    fn output(&mut self, output: Output) -> Option<Output> {
        let gives = match &output {
            Output::Serve { .. } => true,
            Output::Send { message, .. } => {
                matches!(message, Message::Unchoke | Message::AllowedFast(_))
            }
            _ => false,
        };
        (!gives).then_some(output)
    }
}
