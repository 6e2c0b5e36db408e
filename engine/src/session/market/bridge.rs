//! Between the exchange's messages and those of the wire.

use seedbank_ledger::signed::channel::{Channel, ChannelKind};
use seedbank_ledger::signed::receipt::SignedReceipt;
use seedbank_ledger::{NetworkId, NodeId, Rate};

use crate::receipts::message as inner;
use crate::wire::receipt as wire;

pub(super) fn to_wire(
    message: inner::ReceiptMessage,
    me: NodeId,
    issuers: &[NodeId],
) -> wire::ReceiptMessage {
    use inner::ReceiptMessage as From;
    use wire::ReceiptMessage as To;
    match message {
        From::Hello { nonce, rate_min } => To::Hello(wire::Hello {
            version: 1,
            nonce,
            issuers: issuers.to_vec(),
            rate_min,
            window: seedbank_ledger::Bytes::ZERO,
        }),
        From::Auth { signature } => To::Auth(signature),
        From::Sync { entries } => To::Sync(sync_to_wire(entries, me)),
        From::Bid { rate } => To::Bid(rate),
        From::Quote { quote, window } => To::Quote(match quote {
            inner::Quote::Open => wire::Quote::open(window),
            inner::Quote::Paid { cap } => wire::Quote {
                state: wire::QuoteState::Paid,
                rate: cap.unwrap_or(Rate::MAX),
                window,
            },
        }),
        From::Lock(lock) => To::Lock(Box::new(lock)),
        From::Receipt(receipt) => To::Receipt(receipt),
        From::Close { lock_id, receipt } => To::Close {
            lock_id,
            newest: receipt,
        },
        From::Tip { amount } => To::Tip {
            amount,
            note: String::new(),
        },
        From::Err { code, channel_id } => To::Error {
            code: match code {
                inner::ErrCode::Stale => wire::ErrorCode::Stale,
                inner::ErrCode::UnknownChannel => wire::ErrorCode::ChannelUnknown,
                inner::ErrCode::LockClosed => wire::ErrorCode::LockClosed,
            },
            channel_id: Some(channel_id),
        },
    }
}

fn sync_to_wire(entries: Vec<inner::SyncEntry>, me: NodeId) -> Vec<wire::SyncEntry> {
    let mut out = Vec::new();
    let mut acks: Vec<SignedReceipt> = Vec::new();
    for entry in entries {
        match entry {
            inner::SyncEntry::Acknowledgement(receipt) => acks.push(receipt),
            inner::SyncEntry::Lock {
                lock,
                receipt,
                closed,
            } => {
                let mine = lock.body.payer == me;
                out.push(wire::SyncEntry {
                    kind: ChannelKind::Lock(lock.body.lock_id),
                    held: receipt.filter(|_| !mine),
                    sent: receipt.filter(|_| mine),
                    lock: Some(lock),
                    closed,
                });
            }
        }
    }
    let mut ack = None;
    for receipt in acks {
        let entry = ack.get_or_insert(wire::SyncEntry {
            kind: ChannelKind::Acknowledgement,
            held: None,
            sent: None,
            lock: None,
            closed: false,
        });
        let by_me = me
            .verify(
                &seedbank_ledger::signed::Body::signing_bytes(&receipt.body),
                &receipt.signature,
            )
            .is_ok();
        if by_me {
            entry.sent = Some(receipt)
        } else {
            entry.held = Some(receipt)
        }
    }
    out.extend(ack);
    out
}

pub(super) fn from_wire(message: wire::ReceiptMessage) -> Option<inner::ReceiptMessage> {
    use inner::ReceiptMessage as To;
    use wire::ReceiptMessage as From;
    Some(match message {
        From::Hello(hello) => To::Hello {
            nonce: hello.nonce,
            rate_min: hello.rate_min,
        },
        From::Auth(signature) => To::Auth { signature },
        From::Sync(entries) => To::Sync {
            entries: sync_from_wire(entries),
        },
        From::Bid(rate) => To::Bid { rate },
        From::Quote(quote) => To::Quote {
            window: quote.window,
            quote: match quote.state {
                wire::QuoteState::Paid => inner::Quote::Paid {
                    cap: Some(quote.rate).filter(|rate| *rate != Rate::MAX),
                },
                wire::QuoteState::Open | wire::QuoteState::Queued => inner::Quote::Open,
            },
        },
        From::Lock(lock) => To::Lock(*lock),
        From::Receipt(receipt) => To::Receipt(receipt),
        From::Close { lock_id, newest } => To::Close {
            lock_id,
            receipt: newest,
        },
        From::Tip { amount, .. } => To::Tip { amount },
        From::Error { code, channel_id } => To::Err {
            code: match code {
                wire::ErrorCode::Stale => inner::ErrCode::Stale,
                wire::ErrorCode::ChannelUnknown => inner::ErrCode::UnknownChannel,
                wire::ErrorCode::LockClosed => inner::ErrCode::LockClosed,
                _ => return None,
            },
            channel_id: channel_id?,
        },
    })
}

fn sync_from_wire(entries: Vec<wire::SyncEntry>) -> Vec<inner::SyncEntry> {
    let mut out = Vec::new();
    for entry in entries {
        match (entry.kind, entry.lock) {
            (ChannelKind::Acknowledgement, _) => {
                out.extend(entry.sent.map(inner::SyncEntry::Acknowledgement));
                out.extend(entry.held.map(inner::SyncEntry::Acknowledgement));
            }
            (ChannelKind::Lock(_), Some(lock)) => out.push(inner::SyncEntry::Lock {
                lock,
                receipt: entry.sent.or(entry.held),
                closed: entry.closed,
            }),
            (ChannelKind::Lock(_), None) => {}
        }
    }
    out
}

/// The channel of a pair's acknowledgements, one way.
#[allow(dead_code, reason = "bridge")]
fn acknowledgement(network_id: NetworkId, payer: NodeId, payee: NodeId) -> Channel {
    Channel {
        network_id,
        kind: ChannelKind::Acknowledgement,
        payer,
        payee,
    }
}
