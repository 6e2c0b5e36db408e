//! What is tried, as the signed bytes that a stranger would send, and as forged.

use std::collections::BTreeMap;

use seedbank_ledger::signed::Body as _;
use seedbank_ledger::signed::channel::{Channel, ChannelKind};
use seedbank_ledger::signed::claim::{Claim, SignedClaim};
use seedbank_ledger::signed::lock::LockId;
use seedbank_ledger::signed::order::{Order, OrderHash, OrderKind, SignedOrder};
use seedbank_ledger::signed::receipt::Receipt;
use seedbank_ledger::statement::Operation;
use seedbank_ledger::{Bytes, MicroCredits, NetworkId, Signature, UnixTime};

use crate::book::{ClaimTry, OrderTry, Try, Wish};
use crate::draw::{id, key};

/// The order behind each entry: of a lock's number, the one that opened it.
pub(crate) type Opened = BTreeMap<u64, OrderHash>;

/// How the channel of lock `number` is named; of a number that no order is behind, somehow.
pub(crate) fn lock_channel(opened: &Opened, number: u64) -> ChannelKind {
    let order = opened.get(&number);
    let order = order.copied().unwrap_or(OrderHash::from_bytes([0x0d; 32]));
    ChannelKind::Lock(LockId::new(number), order)
}

pub(super) fn operation(network_id: NetworkId, attempt: &Try, opened: &Opened) -> Operation {
    match attempt {
        Try::Order(order) => Operation::Order(order_of(network_id, order)),
        Try::Claim(claim) => Operation::Claim(claim_of(network_id, claim, opened)),
        Try::Expiry(number) => Operation::Expiry(LockId::new(*number)),
    }
}

const OTHER_NETWORK: NetworkId = NetworkId::from_bytes([9; 32]);

pub(super) fn order_of(network_id: NetworkId, order: &OrderTry) -> SignedOrder {
    let lock = LockId::new;
    let kind = match order.wish {
        Wish::Transfer(to, amount) => OrderKind::Transfer {
            to: id(to),
            amount: cr(amount),
        },
        Wish::OpenLock(payee, amount, ttl_secs) => OrderKind::OpenLock {
            payee: id(payee),
            amount: cr(amount),
            ttl_secs,
        },
        Wish::TopUp(number, amount, ttl_secs) => OrderKind::TopUp {
            lock_id: lock(number),
            amount: cr(amount),
            ttl_secs,
        },
        Wish::CloseLock(number) => OrderKind::CloseLock {
            lock_id: lock(number),
        },
        Wish::RotateKey(to) => OrderKind::RotateKey { to: id(to) },
        Wish::Grant(to, amount) => OrderKind::Grant {
            to: id(to),
            amount: cr(amount),
        },
        Wish::Burn(amount) => OrderKind::Burn { amount: cr(amount) },
    };
    let body = Order {
        network_id: if order.is_other_network {
            OTHER_NETWORK
        } else {
            network_id
        },
        account: id(order.account),
        nonce: order.nonce,
        valid_until: UnixTime::from_secs(order.valid_until),
        kind,
        memo_hash: [order.memo; 32],
    };
    let mut signed = body.sign(&key(order.account));
    if order.is_forged {
        match order.memo {
            0 => signed.signature = flipped(&signed.signature),
            1 => signed = body.sign(&key(order.account + 1)),
            _ => signed.body.memo_hash = [0xff; 32],
        }
    }
    signed
}

fn claim_of(network_id: NetworkId, claim: &ClaimTry, opened: &Opened) -> SignedClaim {
    let channel = match claim.channel {
        Some((payer, payee, number)) => Channel {
            network_id,
            kind: lock_channel(opened, number),
            payer: id(payer),
            payee: id(payee),
        },
        None => Channel {
            network_id,
            kind: ChannelKind::Acknowledgement,
            payer: id(claim.receipt_signer),
            payee: id(claim.payee),
        },
    };
    let receipt = Receipt {
        network_id,
        channel_id: channel.id(),
        bytes: Bytes::new(claim.bytes),
        amount: cr(claim.amount),
    };
    let mut receipt = receipt.sign(&key(claim.receipt_signer));
    if claim.is_receipt_bad {
        match claim.bytes % 2 {
            0 => receipt.signature = flipped(&receipt.signature),
            _ => receipt.body.network_id = OTHER_NETWORK,
        }
    }
    let body = Claim {
        network_id: if claim.is_other_network {
            OTHER_NETWORK
        } else {
            network_id
        },
        lock_id: LockId::new(claim.lock),
        payee: id(claim.payee),
        receipt,
    };
    let signer = if claim.is_forged {
        claim.payee + 1
    } else {
        claim.payee
    };
    body.sign(&key(signer))
}

fn flipped(signature: &Signature) -> Signature {
    let mut bytes = *signature.as_bytes();
    bytes[40] ^= 4;
    Signature::from_bytes(bytes)
}

fn cr(amount: u64) -> MicroCredits {
    MicroCredits::new(amount)
}
