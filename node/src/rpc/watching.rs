//! Streams of events: from a number on, then live, with a heartbeat when nothing happens.

use std::sync::Arc;
use std::time::Duration;

use seedbank_engine::interface::event::{CreditEvent, SessionEvent};
use seedbank_proto::v1::{ErrorReason, EventKind, WatchEventsRequest, WatchEventsResponse};
use seedbank_proto::{Failure, v1};
use tokio::sync::{OwnedSemaphorePermit, Semaphore, mpsc, watch};
use tokio::time::{Instant, sleep_until};
use tokio_stream::wrappers::ReceiverStream;
use tonic::Status;

use super::backend::{Backend, Stopping};
use super::{error, field, message};
use crate::events::{EventRecord, EventStream, Events};

/// Streams open at once.
pub(super) const WATCHES_MAX: usize = 64;
/// Longest silence on a stream.
pub(super) const HEARTBEAT: Duration = Duration::from_secs(30);
/// Messages a slow reader may leave lying.
pub(super) const BACKLOG_MAX: usize = 64;

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
    backend: &dyn Backend,
    watches: &Watches,
    stop: watch::Receiver<bool>,
    request: WatchEventsRequest,
) -> Result<ReceiverStream<Result<WatchEventsResponse, Status>>, Failure> {
    field::all_known::<EventKind>("kinds", &request.kinds)?;
    let from = request.from_sequence.map(u64::try_from).transpose();
    let from = from.map_err(|_| field::bad("from_sequence", "is below zero"))?;
    let events = backend.events().clone();
    let newest = events.newest();
    let from = match from {
        Some(0) => Some(events.oldest()),
        None if request.stop_at_newest => Some(events.oldest()),
        other => other,
    };
    let stream = events.follow(from).map_err(error::of_missing)?;
    let place = watches.enter()?;
    let (sender, receiver) = mpsc::channel(BACKLOG_MAX);
    let follower = EventFollower {
        stream,
        events,
        until: request.stop_at_newest.then_some(newest),
        sender,
        kinds: request.kinds,
        stop,
    };
    tokio::spawn(async move {
        follower.run().await;
        drop(place);
    });
    Ok(ReceiverStream::new(receiver))
}

struct EventFollower {
    events: Events,
    stream: EventStream,
    /// The last event wanted; `None` for all to come.
    until: Option<u64>,
    sender: mpsc::Sender<Result<WatchEventsResponse, Status>>,
    kinds: Vec<i32>,
    stop: watch::Receiver<bool>,
}

impl EventFollower {
    /// Sends events until the reader is gone, the node stops, or the reader was too slow.
    async fn run(mut self) {
        let mut silent_since = Instant::now();
        let failure = loop {
            if self.until.is_some_and(|until| self.stream.at() > until) {
                return;
            }
            tokio::select! {
                // In order: what happened before the stop is told before it.
                biased;
                () = self.sender.closed() => return,
                next = self.stream.next() => match next {
                    Ok(Some(record)) => {
                        // What was newest may be gone meanwhile.
                        if self.until.is_some_and(|until| record.sequence > until) {
                            return;
                        }
                        let event = event(&record);
                        if !self.kinds.is_empty() && !self.kinds.contains(&event.kind) {
                            continue;
                        }
                        if self.sender.send(Ok(event)).await.is_err() {
                            return;
                        }
                    }
                    Ok(None) => break error::of_stopping(Stopping),
                    Err(missing) => break error::of_missing(missing),
                },
                () = super::stopped(self.stop.clone()) => break error::of_stopping(Stopping),
                () = sleep_until(silent_since + HEARTBEAT) => {
                    if self.sender.send(Ok(heartbeat(self.events.newest()))).await.is_err() {
                        return;
                    }
                }
            }
            silent_since = Instant::now();
        };
        // A reader that is gone has no use for the reason.
        let _ = self.sender.send(Err(failure.into())).await;
    }
}

fn heartbeat(newest: u64) -> WatchEventsResponse {
    WatchEventsResponse {
        sequence: message::number(newest),
        kind: EventKind::Heartbeat.into(),
        ..WatchEventsResponse::default()
    }
}

fn event(record: &EventRecord) -> WatchEventsResponse {
    let shell = WatchEventsResponse {
        sequence: message::number(record.sequence),
        create_time: Some(message::time(record.at)),
        ..WatchEventsResponse::default()
    };
    match &record.event {
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
                info_hash: decision.torrent_id.to_string(),
                peer_id: peer.to_string(),
                unchoked: decision.unchoked,
                unchoke_reason: reason.into(),
                ..shell
            }
        }
        SessionEvent::TorrentCompleted(torrent_id) => WatchEventsResponse {
            kind: EventKind::TorrentCompleted.into(),
            message: "complete".to_owned(),
            info_hash: torrent_id.to_string(),
            ..shell
        },
        SessionEvent::TorrentFailed { torrent_id, reason } => WatchEventsResponse {
            kind: EventKind::TorrentFailed.into(),
            message: reason.clone(),
            info_hash: torrent_id.to_string(),
            ..shell
        },
        SessionEvent::PieceFailed { torrent_id, piece } => WatchEventsResponse {
            kind: EventKind::PieceFailed.into(),
            message: format!("piece {} does not match its hash", piece.get()),
            info_hash: torrent_id.to_string(),
            ..shell
        },
        SessionEvent::PeerMisbehaved { peer, what } => WatchEventsResponse {
            kind: EventKind::PeerMisbehaved.into(),
            message: what.clone(),
            peer_id: peer.0.to_string(),
            ..shell
        },
        SessionEvent::PeerUnreached {
            torrent_id,
            addr,
            reason,
        } => WatchEventsResponse {
            kind: EventKind::PeerUnreached.into(),
            message: format!("{addr}: {reason}"),
            info_hash: torrent_id.to_string(),
            ..shell
        },
        SessionEvent::TrackerFailed {
            torrent_id,
            tracker,
            reason,
        } => WatchEventsResponse {
            kind: EventKind::TrackerFailed.into(),
            message: format!("{tracker}: {reason}"),
            info_hash: torrent_id.to_string(),
            ..shell
        },
        SessionEvent::Credit(event) => credit_event(event, shell),
    }
}

fn credit_event(event: &CreditEvent, shell: WatchEventsResponse) -> WatchEventsResponse {
    match event {
        CreditEvent::BoostFunded { boost, .. }
        | CreditEvent::BoostEnded { boost, .. }
        | CreditEvent::BoostWaiting { boost, .. }
        | CreditEvent::BoostWorking { boost }
        | CreditEvent::BoostSettled { boost, .. } => WatchEventsResponse {
            boost_id: boost.to_string(),
            ..boost_event(event, shell)
        },
        CreditEvent::LockRefused {
            payee,
            lock_id,
            fault,
        } => WatchEventsResponse {
            kind: EventKind::LockRefused.into(),
            message: format!("{payee} serves nothing on lock {lock_id}: {fault}"),
            public_key: payee.to_string(),
            ..shell
        },
        CreditEvent::WrittenOff { peer, bytes } => WatchEventsResponse {
            kind: EventKind::WrittenOff.into(),
            message: format!("{peer} did not pay for {} bytes", bytes.get()),
            public_key: peer.to_string(),
            payload_bytes: message::bytes(*bytes),
            ..shell
        },
        CreditEvent::Conflict { signer, what } => WatchEventsResponse {
            kind: EventKind::Conflict.into(),
            message: what.clone(),
            public_key: signer.to_string(),
            ..shell
        },
        CreditEvent::SettlementRefused { what, refusal } => WatchEventsResponse {
            kind: EventKind::SettlementRefused.into(),
            message: format!("{what}: {refusal}"),
            ..shell
        },
        CreditEvent::AnswerUnusable { why } => WatchEventsResponse {
            kind: EventKind::AnswerUnusable.into(),
            message: format!("an answer of the settlement node cannot be used: {why}"),
            ..shell
        },
        CreditEvent::ClockSkewed { secs, is_sound } => WatchEventsResponse {
            kind: EventKind::ClockSkewed.into(),
            message: if *is_sound {
                "the clock agrees with the settlement node again".to_owned()
            } else {
                format!("the clock is {secs} s off settlement time: no locks are taken")
            },
            ..shell
        },
    }
}

/// An event of a boost; `shell` for any other.
fn boost_event(event: &CreditEvent, shell: WatchEventsResponse) -> WatchEventsResponse {
    match event {
        CreditEvent::BoostFunded {
            boost,
            payee,
            amount,
        } => WatchEventsResponse {
            kind: EventKind::BoostFunded.into(),
            message: format!("boost {boost} reserves {amount} for {payee}"),
            public_key: payee.to_string(),
            amount_microcredits: message::credit(*amount),
            ..shell
        },
        CreditEvent::BoostEnded {
            boost,
            why,
            spent,
            is_final,
        } => WatchEventsResponse {
            kind: EventKind::BoostEnded.into(),
            message: if *is_final {
                format!("boost {boost} ended ({why}), it spent {spent}")
            } else {
                format!("boost {boost} ended ({why}), it spent {spent} so far")
            },
            amount_microcredits: message::credit(*spent),
            ..shell
        },
        CreditEvent::BoostWaiting { boost, waiting } => WatchEventsResponse {
            kind: EventKind::BoostWaiting.into(),
            message: format!("boost {boost} waits: {waiting}"),
            waiting_reason: message::waiting_reason(*waiting).into(),
            ..shell
        },
        CreditEvent::BoostWorking { boost } => WatchEventsResponse {
            kind: EventKind::BoostWorking.into(),
            message: format!("boost {boost} is served as paid"),
            ..shell
        },
        CreditEvent::BoostSettled {
            boost,
            spent,
            report,
        } => WatchEventsResponse {
            kind: EventKind::BoostSettled.into(),
            message: match report.cost_per_gib(*spent) {
                Some(rate) => format!("boost {boost} spent {spent} in the end, {rate}"),
                None => format!("boost {boost} spent {spent} in the end"),
            },
            amount_microcredits: message::credit(*spent),
            payload_bytes: message::bytes(report.paid),
            ..shell
        },
        CreditEvent::LockRefused { .. }
        | CreditEvent::WrittenOff { .. }
        | CreditEvent::Conflict { .. }
        | CreditEvent::SettlementRefused { .. }
        | CreditEvent::AnswerUnusable { .. }
        | CreditEvent::ClockSkewed { .. } => shell,
    }
}

/// A reason in words: `NOT_INTERESTED` as "not interested".
fn words(reason: v1::UnchokeReason) -> String {
    let name = reason.as_str_name();
    let name = name.strip_prefix("UNCHOKE_REASON_").unwrap_or(name);
    name.to_ascii_lowercase().replace('_', " ")
}

#[cfg(test)]
mod tests {
    use seedbank_engine::interface::view::{BoostReport, WaitReason};
    use seedbank_engine::units::TorrentId;
    use seedbank_ledger::{MicroCredits, UnixTime};
    use tokio_stream::StreamExt as _;

    use super::*;

    fn told(event: CreditEvent) -> WatchEventsResponse {
        super::event(&EventRecord {
            sequence: 1,
            at: UnixTime::ZERO,
            event: SessionEvent::Credit(event),
        })
    }

    #[test]
    fn a_waiting_boost_is_told_with_a_code_and_a_sentence_and_a_final_sum_as_final() {
        let waiting = told(CreditEvent::BoostWaiting {
            boost: 7,
            waiting: WaitReason::NobodyTakesPayment { peers: 3 },
        });
        assert_eq!(waiting.kind(), EventKind::BoostWaiting);
        let code = v1::BoostWaitingReason::NobodyTakesPayment;
        assert_eq!(waiting.waiting_reason(), code);
        assert_eq!(waiting.boost_id, "7");
        assert_eq!(
            waiting.message,
            "boost 7 waits: none of 3 connected peers takes payment"
        );
        let spent = MicroCredits::new(31_357);
        let ended = told(CreditEvent::BoostEnded {
            boost: 7,
            why: "torrent complete",
            spent,
            is_final: false,
        });
        assert!(ended.message.ends_with("so far"), "{}", ended.message);
        let settled = told(CreditEvent::BoostSettled {
            boost: 7,
            spent: MicroCredits::new(31_448),
            report: BoostReport::default(),
        });
        assert_eq!(settled.kind(), EventKind::BoostSettled);
        assert_eq!(settled.amount_microcredits, 31_448);
        assert_eq!(settled.message, "boost 7 spent 0.031448 cr in the end");
    }

    /// Time is paused: it jumps to the next timer whenever everybody waits.
    #[tokio::test(start_paused = true)]
    async fn silence_is_broken_every_30_seconds() {
        let events = Events::new();
        let (sender, receiver) = mpsc::channel(BACKLOG_MAX);
        let (_stop, stop) = watch::channel(false);
        let follower = EventFollower {
            stream: events.follow(None).unwrap(),
            events: events.clone(),
            until: None,
            sender,
            kinds: vec![EventKind::TorrentCompleted.into()],
            stop,
        };
        tokio::spawn(follower.run());
        let begin = Instant::now();
        let mut messages = ReceiverStream::new(receiver);
        let first = messages.next().await.unwrap().unwrap();
        assert_eq!(first.kind(), EventKind::Heartbeat);
        assert_eq!(begin.elapsed(), HEARTBEAT);
        events.push(
            SessionEvent::TorrentCompleted(TorrentId([1; 20])),
            UnixTime::ZERO,
        );
        let second = messages.next().await.unwrap().unwrap();
        assert_eq!(second.kind(), EventKind::TorrentCompleted);
        let third = messages.next().await.unwrap().unwrap();
        assert_eq!(third.kind(), EventKind::Heartbeat);
        assert_eq!(third.sequence, second.sequence);
        assert_eq!(begin.elapsed(), HEARTBEAT * 2);
        events.end();
        let status = messages.next().await.unwrap().unwrap_err();
        assert_eq!(
            Failure::of(&status).unwrap().reason,
            ErrorReason::ShuttingDown
        );
        assert!(messages.next().await.is_none());
    }
}
