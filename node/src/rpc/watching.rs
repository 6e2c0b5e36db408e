//! Streams of events: from a number on, then live, with a heartbeat when nothing happens.

use std::sync::Arc;
use std::time::Duration;

use seedbank_engine::session::event::SessionEvent;
use seedbank_proto::v1::{ErrorReason, EventKind, WatchEventsRequest, WatchEventsResponse};
use seedbank_proto::{Failure, v1};
use tokio::sync::{OwnedSemaphorePermit, Semaphore, mpsc, watch};
use tokio_stream::wrappers::ReceiverStream;
use tonic::Status;

use super::journal::Recorded;
use super::owner::{Owner, Stopping};
use super::{error, message};

/// Streams open at once.
pub(super) const WATCHES_MAX: usize = 64;
/// Longest silence on a stream.
pub(super) const HEARTBEAT: Duration = Duration::from_secs(30);
/// Messages a slow reader may leave lying.
pub(super) const BACKLOG_MAX: usize = 64;

/// Events read at once.
const BATCH_MAX: usize = 256;

/// Counts open streams.
#[derive(Clone, Debug)]
pub(super) struct Watches(Arc<Semaphore>);

impl Watches {
    pub(super) fn new() -> Self {
        Self(Arc::new(Semaphore::new(WATCHES_MAX)))
    }

    /// A place that is free again when it is dropped.
    pub(super) fn enter(&self) -> Result<OwnedSemaphorePermit, Failure> {
        self.0.clone().try_acquire_owned().map_err(|_| {
            let message = format!("{WATCHES_MAX} streams are open, that is all");
            Failure::new(ErrorReason::TooManyWatches, message)
        })
    }
}

/// Starts a stream of events.
pub(super) fn events(
    owner: Arc<dyn Owner>,
    watches: &Watches,
    stop: watch::Receiver<bool>,
    request: WatchEventsRequest,
) -> Result<ReceiverStream<Result<WatchEventsResponse, Status>>, Failure> {
    let place = watches.enter()?;
    let next = owner.journal().next();
    let from = match request.from_sequence {
        None => *next.borrow(),
        Some(from) => {
            u64::try_from(from).map_err(|_| super::field::bad("from_sequence", "is below zero"))?
        }
    };
    // Tell at once, not in the stream, that what is asked for is gone.
    owner.journal().read(from, 0).map_err(error::of_pruned)?;
    let (sender, receiver) = mpsc::channel(BACKLOG_MAX);
    let follower = Follower {
        owner,
        sender,
        kinds: request.kinds,
        next,
        stop,
    };
    tokio::spawn(async move {
        follower.run(from).await;
        drop(place);
    });
    Ok(ReceiverStream::new(receiver))
}

struct Follower {
    owner: Arc<dyn Owner>,
    sender: mpsc::Sender<Result<WatchEventsResponse, Status>>,
    kinds: Vec<i32>,
    next: watch::Receiver<u64>,
    stop: watch::Receiver<bool>,
}

impl Follower {
    /// Sends events until the reader is gone, the node stops, or the reader was too slow.
    async fn run(mut self, mut from: u64) {
        loop {
            self.next.borrow_and_update();
            let batch = match self.owner.journal().read(from, BATCH_MAX) {
                Ok(batch) => batch,
                Err(pruned) => {
                    let failure = error::of_pruned(pruned);
                    let _ = self.sender.send(Err(failure.into())).await;
                    return;
                }
            };
            for recorded in &batch {
                from = recorded.sequence + 1;
                let event = event(recorded);
                if !self.wants(&event) {
                    continue;
                }
                if self.sender.send(Ok(event)).await.is_err() {
                    return;
                }
            }
            if !batch.is_empty() {
                continue;
            }
            if !self.wait(from).await {
                return;
            }
        }
    }

    fn wants(&self, event: &WatchEventsResponse) -> bool {
        self.kinds.is_empty() || self.kinds.contains(&event.kind)
    }

    /// Waits for the next event, with heartbeats; false when it is time to end.
    async fn wait(&mut self, from: u64) -> bool {
        loop {
            tokio::select! {
                changed = self.next.changed() => return changed.is_ok(),
                () = self.sender.closed() => return false,
                () = super::stopped(self.stop.clone()) => {
                    let failure = error::of_stopping(Stopping);
                    let _ = self.sender.send(Err(failure.into())).await;
                    return false;
                }
                () = tokio::time::sleep(HEARTBEAT) => {
                    if self.sender.send(Ok(heartbeat(from))).await.is_err() {
                        return false;
                    }
                }
            }
        }
    }
}

fn heartbeat(next: u64) -> WatchEventsResponse {
    WatchEventsResponse {
        sequence: message::number(next.saturating_sub(1)),
        kind: EventKind::Heartbeat.into(),
        ..WatchEventsResponse::default()
    }
}

fn event(recorded: &Recorded) -> WatchEventsResponse {
    let shell = WatchEventsResponse {
        sequence: message::number(recorded.sequence),
        create_time: Some(message::time(recorded.time)),
        ..WatchEventsResponse::default()
    };
    match &recorded.event {
        SessionEvent::Choke(decision) => {
            let verb = if decision.unchoked {
                "unchoked"
            } else {
                "choked"
            };
            let reason = message::unchoke_reason(decision.reason);
            let peer = decision.peer.0;
            WatchEventsResponse {
                kind: EventKind::Choke.into(),
                message: format!("{verb} peer {peer}: {}", words(reason)),
                info_hash: decision.info_hash.to_string(),
                peer_id: peer.to_string(),
                unchoked: decision.unchoked,
                unchoke_reason: reason.into(),
                ..shell
            }
        }
        SessionEvent::TorrentCompleted(info_hash) => WatchEventsResponse {
            kind: EventKind::TorrentCompleted.into(),
            message: "complete".to_owned(),
            info_hash: info_hash.to_string(),
            ..shell
        },
        SessionEvent::TorrentFailed { info_hash, reason } => WatchEventsResponse {
            kind: EventKind::TorrentFailed.into(),
            message: reason.clone(),
            info_hash: info_hash.to_string(),
            ..shell
        },
        SessionEvent::PieceFailed { info_hash, piece } => WatchEventsResponse {
            kind: EventKind::PieceFailed.into(),
            message: format!("piece {} does not match its hash", piece.get()),
            info_hash: info_hash.to_string(),
            ..shell
        },
        SessionEvent::BoostFunded { .. }
        | SessionEvent::BoostEnded { .. }
        | SessionEvent::WrittenOff { .. }
        | SessionEvent::PeerMisbehaved { .. }
        | SessionEvent::TrackerFailed { .. }
        | SessionEvent::Conflict { .. } => credit_event(&recorded.event, shell),
    }
}

/// The events about credit and other sides.
fn credit_event(event: &SessionEvent, shell: WatchEventsResponse) -> WatchEventsResponse {
    match event {
        SessionEvent::BoostFunded {
            boost,
            payee,
            amount,
        } => WatchEventsResponse {
            kind: EventKind::BoostFunded.into(),
            message: format!("boost {boost} reserves {amount} for {payee}"),
            public_key: payee.to_string(),
            boost_id: boost.to_string(),
            amount_microcredits: message::credit(*amount),
            ..shell
        },
        SessionEvent::BoostEnded { boost, why, spent } => WatchEventsResponse {
            kind: EventKind::BoostEnded.into(),
            message: format!("boost {boost} ended ({why}), it spent {spent}"),
            boost_id: boost.to_string(),
            amount_microcredits: message::credit(*spent),
            ..shell
        },
        SessionEvent::WrittenOff { peer, bytes } => WatchEventsResponse {
            kind: EventKind::WrittenOff.into(),
            message: format!("{peer} did not pay for {} bytes", bytes.get()),
            public_key: peer.to_string(),
            payload_bytes: message::bytes(*bytes),
            ..shell
        },
        SessionEvent::PeerMisbehaved { peer, what } => WatchEventsResponse {
            kind: EventKind::PeerMisbehaved.into(),
            message: what.clone(),
            peer_id: peer.0.to_string(),
            ..shell
        },
        SessionEvent::TrackerFailed {
            info_hash,
            tracker,
            reason,
        } => WatchEventsResponse {
            kind: EventKind::TrackerFailed.into(),
            message: format!("{tracker}: {reason}"),
            info_hash: info_hash.to_string(),
            ..shell
        },
        SessionEvent::Conflict { signer, what } => WatchEventsResponse {
            kind: EventKind::Conflict.into(),
            message: what.clone(),
            public_key: signer.to_string(),
            ..shell
        },
        SessionEvent::Choke(_)
        | SessionEvent::TorrentCompleted(_)
        | SessionEvent::TorrentFailed { .. }
        | SessionEvent::PieceFailed { .. } => shell,
    }
}

/// A reason in words: `NOT_INTERESTED` as "not interested".
fn words(reason: v1::UnchokeReason) -> String {
    let name = reason.as_str_name();
    let name = name.strip_prefix("UNCHOKE_REASON_").unwrap_or(name);
    name.to_ascii_lowercase().replace('_', " ")
}
