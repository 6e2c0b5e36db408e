//! Transaction ids of announces (BEP 15): all that tells a tracker's answer from a forged one.

use seedbank_ledger::Identity;

use crate::secret::SecretDraws;

/// Numbers that nobody can guess who does not have this node's key, another row at every start.
#[derive(Debug)]
pub(crate) struct TransactionIds(SecretDraws);

impl TransactionIds {
    /// `salt` is another number at every start.
    pub(crate) fn new(identity: &Identity, salt: u64) -> Self {
        let purpose = "seedbank v1 transaction ids";
        Self(SecretDraws::new(
            identity,
            *b"sb1/transactions",
            purpose,
            salt,
        ))
    }

    /// The next number.
    pub(crate) fn draw(&mut self) -> u32 {
        let [a, b, c, d, ..] = self.0.draw();
        u32::from_le_bytes([a, b, c, d])
    }
}
