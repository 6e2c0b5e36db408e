//! The two classes of service, and what a block costs in each (DESIGN §4, Price).

use seedbank_ledger::{Bytes, Rate};

use crate::wire::receipt::{Quote, QuoteState};

/// The class in which blocks are served.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Class {
    /// Blocks cost nothing. A payer who is queued is in it, too.
    #[default]
    Open,
    /// A block costs the bid at its request, at most the cap.
    Paid {
        /// Highest rate charged; [`Rate::MAX`] for no cap (pay-as-bid).
        cap: Rate,
    },
}

impl Class {
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
    pub fn quote(self, window: Bytes) -> Quote {
        match self {
            Self::Open => Quote::open(window),
            Self::Paid { cap } => Quote {
                state: QuoteState::Paid,
                rate: cap,
                window,
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
        let capped = Class::Paid { cap: Rate::new(5) };
        assert_eq!(capped.price(Rate::new(9)), Rate::new(5));
        assert_eq!(capped.price(Rate::new(3)), Rate::new(3));
        assert_eq!(Class::PAY_AS_BID.price(Rate::new(9)), Rate::new(9));
        assert_eq!(Class::Open.price(Rate::new(9)), Rate::ZERO);
    }

    #[test]
    fn a_quote_says_what_was_meant() {
        for class in [
            Class::Open,
            Class::PAY_AS_BID,
            Class::Paid { cap: Rate::PAR },
        ] {
            assert_eq!(Class::of(&class.quote(Bytes::new(7))), class);
        }
    }
}
