//! What schedules reached: agreement on what nobody tried is worth nothing.

use std::collections::BTreeMap;

/// What the schedules reached, so that agreement means something.
#[derive(Debug, Default)]
pub(super) struct Tally {
    pub(super) operations: u64,
    pub(super) reopened: u64,
    pub(super) failed: u64,
    pub(super) answers: BTreeMap<String, u64>,
}

impl Tally {
    pub(super) fn add(&mut self, other: Self) {
        self.operations += other.operations;
        self.reopened += other.reopened;
        self.failed += other.failed;
        for (name, count) in other.answers {
            *self.answers.entry(name).or_default() += count;
        }
    }

    /// Every kind of operation was carried out, and refused for every reason it can be.
    pub(super) fn check(&self) {
        assert!(self.reopened > 100, "reopened {} times", self.reopened);
        assert!(self.failed > 30, "failed {} times", self.failed);
        let orders = "Transfer OpenLock TopUp CloseLock RotateKey Grant Burn";
        let of_all = "WrongNetwork,BadSignature,WrongNonce,NoStanding,entered as Expired,known,\
                      nonce used,entered";
        let expected = orders
            .split(' ')
            .map(|kind| (kind, of_all.to_owned()))
            .chain(
                OWN_REASONS
                    .iter()
                    .map(|(kind, own)| (*kind, own.replace('+', "entered as "))),
            )
            .chain([
                ("Transfer", "Expired".to_owned()),
                ("Claim", OF_CLAIMS.to_owned()),
                ("Expiry", "refused".to_owned()),
            ]);
        for (kind, answers) in expected {
            for answer in answers.split(',') {
                let name = format!("{kind}: {answer}");
                assert!(
                    self.answers.contains_key(&name),
                    "no schedule reached {name}"
                );
            }
        }
    }
}

/// Why an order can be refused, beside the reasons of all orders; `+` leaves an entry.
const OWN_REASONS: [(&str, &str); 7] = [
    (
        "Transfer",
        "+BadAmount,+InsufficientCredit,+SameParty,+KeyRotated,+BadKey",
    ),
    (
        "OpenLock",
        "+BadAmount,+InsufficientCredit,+SameParty,+LockExists,+BadLifetime,+KeyRotated,\
         +BadKey",
    ),
    (
        "TopUp",
        "+BadAmount,+InsufficientCredit,+LockUnknown,+LockClosed,+NotParty,\
         +LockExists,+BadLifetime",
    ),
    ("CloseLock", "+LockUnknown,+LockClosed,+NotParty"),
    ("RotateKey", "+SameParty,+KeyRotated,+BadKey"),
    (
        "Grant",
        "+NotIssuer,+BadAmount,+Overflow,+KeyRotated,+BadKey",
    ),
    ("Burn", "+NotIssuer,+BadAmount,+InsufficientCredit"),
];

const OF_CLAIMS: &str = "WrongNetwork,BadSignature,BadAmount,LockUnknown,LockClosed,NotParty,\
    BadReceipt,ReceiptRegressed,known,entered";
