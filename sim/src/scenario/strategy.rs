//! How a peer may be other than honest, as a scenario says it: `"free-rider"`, or a table with its
//! `kind` where it has parameters. What each does is in `agent`.

use std::fmt;

use seedbank_ledger::Duration;
use serde::de::value::{MapAccessDeserializer, MapDeserializer};
use serde::de::{MapAccess, Visitor};
use serde::{Deserialize, Deserializer, Serialize, Serializer};

use super::Population;
use super::written::{ByteRate, Percent, Size, Time};

/// Most identities of one line: they stand side by side in one prefix.
const IDENTITIES_MAX: u64 = 64;
/// Shortest time between two acts of an agent.
const EVERY_MIN: Duration = Duration::from_millis(100);

/// What a peer does that an honest one does not.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(
    remote = "Self",
    tag = "kind",
    rename_all = "kebab-case",
    deny_unknown_fields
)]
pub enum StrategyPlan {
    /// Nothing.
    Honest {},
    /// It uploads to nobody.
    FreeRider {},
    /// It uploads to nobody and connects to everybody.
    LargeView {
        /// How often it asks for more peers.
        #[serde(default = "seconds::<10>")]
        every: Time,
    },
    /// It gives each peer just enough to be given back, and most to the cheapest.
    Bittyrant {},
    /// It gives in proportion to what it got.
    Propshare {},
    /// It serves whom it owes most.
    Fairtorrent {},
    /// It bids high to be seated and withdraws that in turn; it pays the low bid.
    BidFlipper {
        /// How long it stays high, or low.
        #[serde(default = "seconds::<5>")]
        every: Time,
        /// Its high bid, in times its low one.
        #[serde(default = "four")]
        factor: u64,
    },
    /// It takes just enough to hold its paid seats.
    Dripper {
        /// What it takes at first.
        #[serde(default = "drip")]
        rate: ByteRate,
        /// How often it takes less, or more if it lost a seat.
        #[serde(default = "seconds::<10>")]
        every: Time,
    },
    /// It seats payers, takes their locks, and sends next to nothing.
    StalledPayee {
        /// How often it sends a peer a block.
        #[serde(default = "seconds::<25>")]
        every: Time,
    },
    /// It signs receipts as late as its window allows.
    LatePayer {
        /// Of its window, what it owes at most.
        #[serde(default = "half")]
        share: Percent,
        /// It signs all the same when nothing came for so long.
        #[serde(default = "seconds::<3>")]
        patience: Time,
    },
    /// What it uploads is garbage.
    GarbageSeeder {},
    /// Each line stands for several identities, who share the file among them and upload nothing.
    Sybil {
        /// How many; each has its part of the line.
        #[serde(default = "four")]
        identities: u64,
        /// Each has an address in a prefix of its own; otherwise all are of one.
        #[serde(default)]
        scattered: bool,
    },
    /// It uploads nothing, pays nothing, and comes back under another key and address.
    Whitewasher {
        /// How long nothing must have come.
        #[serde(default = "seconds::<20>")]
        patience: Time,
    },
    /// All of the population uploads to each other alone, and signs for what was never sent.
    ColludingRing {
        /// How often each signs.
        #[serde(default = "seconds::<1>")]
        every: Time,
        /// For how much more.
        #[serde(default = "claim")]
        claim: Size,
    },
    /// It bids what its boost allows from the first moment on.
    Whale {},
    /// It speaks no receipts and belongs to no network.
    PlainClient {},
}

const fn seconds<const N: u64>() -> Time {
    Time(Duration::from_secs(N))
}

const fn four() -> u64 {
    4
}

const fn half() -> Percent {
    Percent(50)
}

const fn drip() -> ByteRate {
    ByteRate(100_000)
}

const fn claim() -> Size {
    Size(64 << 20)
}

impl Default for StrategyPlan {
    fn default() -> Self {
        Self::Honest {}
    }
}

impl StrategyPlan {
    /// How many identities a line stands for.
    pub const fn identities(&self) -> u64 {
        match self {
            Self::Sybil { identities, .. } => *identities,
            _ => 1,
        }
    }

    /// Its name, if that says all of it.
    const fn name_alone(&self) -> Option<&'static str> {
        Some(match self {
            Self::Honest {} => "honest",
            Self::FreeRider {} => "free-rider",
            Self::Bittyrant {} => "bittyrant",
            Self::Propshare {} => "propshare",
            Self::Fairtorrent {} => "fairtorrent",
            Self::GarbageSeeder {} => "garbage-seeder",
            Self::Whale {} => "whale",
            Self::PlainClient {} => "plain-client",
            Self::LargeView { .. }
            | Self::BidFlipper { .. }
            | Self::Dripper { .. }
            | Self::StalledPayee { .. }
            | Self::LatePayer { .. }
            | Self::Sybil { .. }
            | Self::Whitewasher { .. }
            | Self::ColludingRing { .. } => return None,
        })
    }

    /// What no peer of this population could do.
    pub(super) fn problem(&self, population: &Population) -> Option<String> {
        let every = match self {
            Self::LargeView { every }
            | Self::BidFlipper { every, .. }
            | Self::Dripper { every, .. }
            | Self::StalledPayee { every }
            | Self::ColludingRing { every, .. } => Some(every),
            Self::LatePayer { patience, .. } | Self::Whitewasher { patience } => Some(patience),
            _ => None,
        };
        let problem = match self {
            _ if every.is_some_and(|every| every.0 < EVERY_MIN) => {
                "its strategy acts every 100ms at most"
            }
            Self::Sybil { identities, .. } if !(1..=IDENTITIES_MAX).contains(identities) => {
                return Some(format!(
                    "{identities} identities: from 1 to {IDENTITIES_MAX}"
                ));
            }
            Self::Sybil { .. } if population.has.0 > 0 => {
                "identities of one line come with nothing"
            }
            Self::Whale {} if population.boost.is_none() => "a whale needs a boost",
            Self::PlainClient {} if population.boost.is_some() => "who boosts needs receipts",
            _ => return None,
        };
        Some(problem.to_owned())
    }
}

impl Serialize for StrategyPlan {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        match self.name_alone() {
            Some(name) => serializer.serialize_str(name),
            None => Self::serialize(self, serializer),
        }
    }
}

impl<'de> Deserialize<'de> for StrategyPlan {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_any(NameOrTable)
    }
}

/// A name, or a table.
struct NameOrTable;

impl<'de> Visitor<'de> for NameOrTable {
    type Value = StrategyPlan;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("the name of a strategy, or a table with its `kind`")
    }

    fn visit_str<E: serde::de::Error>(self, name: &str) -> Result<StrategyPlan, E> {
        StrategyPlan::deserialize(MapDeserializer::new([("kind", name)].into_iter()))
    }

    fn visit_map<A: MapAccess<'de>>(self, map: A) -> Result<StrategyPlan, A::Error> {
        StrategyPlan::deserialize(MapAccessDeserializer::new(map))
    }
}
