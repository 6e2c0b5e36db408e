//! A node's inputs, and a digest of what it did with them: a session is a function of its inputs.

use seedbank_engine::interface::input::Input;
use seedbank_engine::interface::output::Output;
use seedbank_engine::session::Session;
use seedbank_ledger::{Instant, Sequence, UnixTime};

use crate::books::SimBooks;
use crate::world::START;

/// Every input of one life of a session, in order, and the digest of its outputs.
#[derive(Clone, Debug, Default)]
pub struct Recording {
    /// What came in, and when.
    pub inputs: Vec<(Instant, Input)>,
    digest: Digest,
}

/// BLAKE3 over the outputs in order.
#[derive(Clone, Debug, Default)]
struct Digest(blake3::Hasher);

impl Recording {
    /// Notes an input.
    pub fn input(&mut self, at: Instant, input: &Input) {
        self.inputs.push((at, input.clone()));
    }

    /// Notes an output.
    pub fn output(&mut self, output: &Output) {
        self.digest.0.update(format!("{output:?}\n").as_bytes());
    }

    /// Digest of all outputs so far, as hex.
    pub fn digest(&self) -> String {
        self.digest.0.finalize().to_hex().to_string()
    }
}

/// Feeds a recording to a fresh session and fresh books, and gives the digest of what came out.
/// `time` says when an entry is made, by the wall clock: it gets the entry's number and the instant
/// of the input.
pub fn replay(
    mut session: Session,
    books: &mut SimBooks,
    recording: &Recording,
    mut time: impl FnMut(Sequence, Instant) -> UnixTime,
) -> String {
    let mut again = Recording::default();
    for (at, input) in &recording.inputs {
        session.handle(input.clone(), *at);
        while let Some(output) = session.poll_output() {
            again.output(&output);
            match output {
                Output::Tally(rows) => books.tally(&rows),
                Output::Append(command) => {
                    let next = books.ledger().head().next;
                    books.append(time(next, *at), command);
                }
                _ => {}
            }
        }
    }
    again.digest()
}

/// Virtual wall-clock time at an instant.
pub fn unix(at: Instant) -> UnixTime {
    START.plus_secs(at.as_nanos() / 1_000_000_000)
}
