//! The way into the session thread: one bounded queue, first in first out.
//!
//! Whoever has something to say waits while the queue is full; that is the back-pressure that
//! stops reading sockets. The session thread waits for nobody.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use seedbank_engine::interface::command::{Command, CommandError, CommandReply};
use seedbank_engine::interface::input::{BlockFate, Input, PeerEvent};
use seedbank_engine::session::Session;
use seedbank_engine::units::PeerIndex;
use tokio::sync::mpsc::error::TrySendError;
use tokio::sync::{mpsc, oneshot};

use crate::link::PeerLink;

/// Most messages that wait for the session thread.
const INBOX_MAX: usize = 256;

/// A question about the session, answered on its thread.
pub(crate) type Query = Box<dyn FnOnce(&Session) + Send>;

/// What the session thread takes.
pub(crate) enum ToSession {
    /// An event.
    Input(Input),
    /// What one read of a socket brought.
    Received(Received),
    /// A new connection, with `Accepted` or `Dialled`.
    Connected {
        /// How to reach it.
        link: Arc<PeerLink>,
        /// The event.
        input: Input,
    },
    /// A wish of the owner.
    Command {
        /// What.
        command: Command,
        /// Where the answer goes.
        reply: oneshot::Sender<Result<CommandReply, CommandError>>,
    },
    /// A question.
    Query(Query),
    /// Stop at once: the graceful way took too long, or the ledger failed.
    Stop(Option<String>),
}

/// What a peer sent, and where its blocks went.
///
/// Between the read and the session's turn the session may have given up a lease, and opened it
/// anew: a block that lies in the old one must not count in the new one, which would be one block
/// short for ever.
#[derive(Debug)]
pub(crate) struct Received {
    /// Who.
    pub(crate) peer: PeerIndex,
    /// What, in order.
    pub(crate) events: Vec<PeerEvent>,
    /// The leases that took or had a block, each with the place of its event.
    pub(crate) leases: Vec<(usize, GivenUp)>,
}

/// Whether the session has given up a lease. Set and asked on the session thread, so that it knows
/// of every release before its turn, and of none behind.
#[derive(Clone, Debug, Default)]
pub(crate) struct GivenUp(Arc<AtomicBool>);

/// The node is on its way down and answers nothing more.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("shutting down")]
pub struct Stopping;

/// The sending end; cheap to clone.
#[derive(Clone, Debug)]
pub(crate) struct Inbox {
    sender: mpsc::Sender<ToSession>,
}

impl Inbox {
    /// A queue; the other end belongs to the session thread.
    pub(crate) fn new() -> (Self, mpsc::Receiver<ToSession>) {
        let (sender, receiver) = mpsc::channel(INBOX_MAX);
        (Self { sender }, receiver)
    }

    /// Delivers an event; as [`Self::send`].
    pub(crate) fn input(&self, input: Input) -> impl Future<Output = bool> + Send + use<> {
        self.send(ToSession::Input(input))
    }

    /// Waits until the session thread has ended.
    pub(crate) async fn closed(&self) {
        self.sender.closed().await;
    }

    /// Delivers an event from a thread that may wait.
    pub(crate) fn input_blocking(&self, input: Input) {
        self.send_blocking(ToSession::Input(input));
    }

    /// Delivers anything from a thread that may wait.
    pub(crate) fn send_blocking(&self, message: ToSession) {
        // An error means that the session thread has ended.
        let _ = self.sender.blocking_send(message);
    }

    /// Delivers a wish and gives the answer.
    pub(crate) async fn command(&self, command: Command) -> Result<CommandReply, CommandError> {
        let (reply, answer) = oneshot::channel();
        let delivered = self.send(ToSession::Command { command, reply }).await;
        if !delivered {
            return Err(CommandError::ShuttingDown);
        }
        // Without an answer the session thread has ended before it came to the question.
        answer.await.unwrap_or(Err(CommandError::ShuttingDown))
    }

    /// Asks about the session; `None` once its thread has ended.
    pub(crate) async fn query<T: Send + 'static>(
        &self,
        question: impl FnOnce(&Session) -> T + Send + 'static,
    ) -> Option<T> {
        let (reply, answer) = oneshot::channel();
        let query = Box::new(move |session: &Session| {
            // Whoever asked may have gone.
            let _ = reply.send(question(session));
        });
        self.send(ToSession::Query(query)).await;
        answer.await.ok()
    }

    /// Delivers anything, by the time of this call if there is room; false once the session thread
    /// has ended. What is returned waits for room, and is small: connections by the thousand have
    /// one each, and a message in it would be there several times over.
    #[must_use = "a message for which there is no room is delivered by who waits"]
    pub(crate) fn send(&self, message: ToSession) -> impl Future<Output = bool> + Send + use<> {
        let waits = match self.sender.try_send(message) {
            Ok(()) => Ok(true),
            Err(TrySendError::Closed(_)) => Ok(false),
            Err(TrySendError::Full(message)) => {
                let sender = self.sender.clone();
                Err(Box::pin(async move { sender.send(message).await.is_ok() }))
            }
        };
        async move {
            match waits {
                Ok(sent) => sent,
                Err(waits) => waits.await,
            }
        }
    }
}

impl Received {
    /// What the session is to hear, on its thread: a block in a lease that it has given up since
    /// is of no use to anybody.
    pub(crate) fn into_input(mut self) -> Input {
        for (place, given_up) in self.leases {
            if !given_up.is_set() {
                continue;
            }
            match &mut self.events[place] {
                PeerEvent::Block { fate, .. } => *fate = BlockFate::Void,
                event @ PeerEvent::Message(_) => panic!("a lease took {event:?}"),
            }
        }
        Input::Received {
            peer: self.peer,
            events: self.events,
        }
    }
}

impl GivenUp {
    /// The lease takes nothing more.
    pub(crate) fn set(&self) {
        self.0.store(true, Ordering::Relaxed);
    }

    /// Whether it was given up.
    pub(crate) fn is_set(&self) -> bool {
        self.0.load(Ordering::Relaxed)
    }
}

impl std::fmt::Debug for ToSession {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Input(input) => f.debug_tuple("Input").field(input).finish(),
            Self::Received(received) => f.debug_tuple("Received").field(received).finish(),
            Self::Connected { input, .. } => f.debug_tuple("Connected").field(input).finish(),
            Self::Command { command, .. } => f.debug_tuple("Command").field(command).finish(),
            Self::Query(_) => f.write_str("Query"),
            Self::Stop(why) => f.debug_tuple("Stop").field(why).finish(),
        }
    }
}
