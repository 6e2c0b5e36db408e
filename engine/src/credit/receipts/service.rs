//! The two ways in which blocks are served, and what a block costs in each (docs/RULES.md, price).

use seedbank_ledger::{Bytes, Rate};

use crate::wire::receipt::{Quote, QuoteState};

/// How blocks are served.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Service {
    /// Blocks cost nothing. A payer who is queued is in it, too.
    #[default]
    Open,
    /// A block costs the bid at its request, at most the cap.
    Paid {
        /// Highest rate charged; [`Rate::MAX`] for no cap (pay-as-bid).
        cap: Rate,
    },
}

impl Service {
    /// The paid class without a cap: pay-as-bid.
    pub const PAY_AS_BID: Self = Self::Paid { cap: Rate::MAX };

    /// What a block costs that was requested under `bid`.
    pub fn price(self, bid: Rate) -> Rate {
        match self {
            Self::Open => Rate::ZERO,
            Self::Paid { cap } => bid.min(cap),
        }
    }

    /// As a QUOTE says it.
    pub fn quote(self, window: Bytes, written_off: Bytes) -> Quote {
        match self {
            Self::Open => Quote::open(window, written_off),
            Self::Paid { cap } => Quote {
                state: QuoteState::Paid,
                rate: cap,
                window,
                written_off,
            },
        }
    }

    /// As a QUOTE said it.
    pub fn of(quote: &Quote) -> Self {
        match quote.state {
            QuoteState::Open | QuoteState::Queued => Self::Open,
            QuoteState::Paid => Self::Paid { cap: quote.rate },
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_block_costs_the_lower_of_bid_and_quote() {
        let capped = Service::Paid { cap: Rate::new(5) };
        assert_eq!(capped.price(Rate::new(9)), Rate::new(5));
        assert_eq!(capped.price(Rate::new(3)), Rate::new(3));
        assert_eq!(Service::PAY_AS_BID.price(Rate::new(9)), Rate::new(9));
        assert_eq!(Service::Open.price(Rate::new(9)), Rate::ZERO);
    }

    #[test]
    fn a_quote_says_what_was_meant() {
        for service in [
            Service::Open,
            Service::PAY_AS_BID,
            Service::Paid { cap: Rate::PAR },
        ] {
            assert_eq!(
                Service::of(&service.quote(Bytes::new(7), Bytes::ZERO)),
                service
            );
        }
    }
}
