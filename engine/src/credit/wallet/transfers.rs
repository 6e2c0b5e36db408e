//! Credit that the owner sends to another account: what is refused before it is signed.

use seedbank_ledger::signed::order::OrderKind;
use seedbank_ledger::{Instant, MicroCredits, NodeId};

use super::Wallet;
use super::orders::{Transfer, Wanted};
use crate::credit::policy::{CreditError, check_request_id};

impl Wallet {
    /// Sends credit to another account, though none that is set aside for boosts. Returns the nonce
    /// the order has or will most likely get.
    ///
    /// The same request id with the same body is the same transfer, in this run and in later ones.
    /// A transfer that waits behind another order is not stored yet: a crash forgets it, and
    /// repeating the command is safe. None is taken of which nothing would be signed in this run.
    pub fn transfer(
        &mut self,
        request_id: &str,
        (to, amount): (NodeId, MicroCredits),
        set_aside: MicroCredits,
        now: Instant,
    ) -> Result<u64, CreditError> {
        let bad = |field, problem| Err(CreditError::BadValue { field, problem });
        check_request_id(request_id)?;
        let memo_hash = memo_hash(request_id);
        if let Some(known) = self.orders.transfer(&memo_hash) {
            return if (known.to, known.amount) == (to, amount) {
                Ok(known.nonce)
            } else {
                Err(CreditError::RequestIdReused(request_id.to_owned()))
            };
        }
        if let Some(conflict) = self.rollback {
            return Err(CreditError::LedgerWentBack(conflict));
        }
        if to == self.identity.id() {
            return bad("to", "is this node's own account");
        }
        if to.check().is_err() {
            return bad("to", "is a key that nobody can hold");
        }
        let least = MicroCredits::new(self.network.limits.transfer_microcredits_min);
        if amount < least {
            return Err(CreditError::TransferTooSmall { amount, least });
        }
        let available = self.divide(set_aside);
        if amount > available.free {
            return Err(CreditError::InsufficientCredit {
                needed: amount,
                available,
            });
        }
        if self.draining {
            return Err(CreditError::ShuttingDown);
        }
        let nonce = self.orders.nonce_expected();
        let wanted = Wanted {
            kind: OrderKind::Transfer { to, amount },
            memo_hash,
            since: now,
        };
        if !self.orders.push(wanted) {
            return bad("transfer", "has to wait: too many orders wait already");
        }
        self.orders
            .remember(memo_hash, Transfer { to, amount, nonce });
        Ok(nonce)
    }
}

/// What a request id becomes inside a signed order; it survives in every statement line.
pub(super) fn memo_hash(request_id: &str) -> [u8; 32] {
    blake3::derive_key("seedbank v1 request id", request_id.as_bytes())
}
