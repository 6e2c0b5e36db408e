//! What happens to peers at a time that the scenario says.

use seedbank_ledger::Duration;
use serde::{Deserialize, Serialize};

use super::written::{CreditAmount, Percent, Price, Time};
use super::{BoostPlan, PaidRulePlan};

/// Something that happens once, or again and again.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "kebab-case", tag = "do")]
pub enum PlannedEvent {
    /// A population comes whose arrivals are `on-event`.
    Join {
        /// From when on.
        at: Time,
        /// Who.
        population: String,
        /// How long it takes until all are there; each comes at a random moment of it.
        #[serde(default = "no_time")]
        within: Time,
    },
    /// Some of a population leave at once.
    Leave {
        /// When.
        at: Time,
        /// Whose.
        population: String,
        /// How many of those who are there.
        share: Percent,
    },
    /// The settlement node does not answer.
    SettlementDown {
        /// From when on.
        at: Time,
        /// How long.
        lasts: Time,
    },
    /// Everybody of a population who is there, offline or not, is granted credit.
    Grant {
        /// When.
        at: Time,
        /// Whom.
        population: String,
        /// How much each.
        amount: CreditAmount,
        /// Again after each such time; once, if it is left out.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        every: Option<Time>,
    },
    /// A population decides otherwise from now on; what is left out stays.
    Change {
        /// When.
        at: Time,
        /// Whose.
        population: String,
        /// The lowest price they serve at.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        ask: Option<Price>,
        /// The upload limit, as a share of the uplink.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        upload_limit: Option<Percent>,
        /// The share of the upload that stays outside the market.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        open_share: Option<Percent>,
        /// Upload slots.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        slots: Option<usize>,
        /// How paid slots are sold.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        paid_rule: Option<PaidRulePlan>,
        /// What each orders that is not done, and everyone who comes or fetches later.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        boost: Option<BoostPlan>,
    },
}

fn no_time() -> Time {
    Time(Duration::ZERO)
}

impl PlannedEvent {
    /// When it happens first.
    pub const fn at(&self) -> Duration {
        match self {
            Self::Join { at, .. }
            | Self::Leave { at, .. }
            | Self::SettlementDown { at, .. }
            | Self::Grant { at, .. }
            | Self::Change { at, .. } => at.0,
        }
    }

    /// The population it is about, if it is about one.
    pub fn population(&self) -> Option<&str> {
        match self {
            Self::Join { population, .. }
            | Self::Leave { population, .. }
            | Self::Grant { population, .. }
            | Self::Change { population, .. } => Some(population),
            Self::SettlementDown { .. } => None,
        }
    }

    /// Whether it is a change of nothing.
    pub(super) const fn is_empty(&self) -> bool {
        matches!(
            self,
            Self::Change {
                ask: None,
                upload_limit: None,
                open_share: None,
                slots: None,
                paid_rule: None,
                boost: None,
                ..
            }
        )
    }
}
