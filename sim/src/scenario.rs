//! A scenario: who is there, what they have, when they come and what they do, as TOML.
//!
//! A scenario and its seed are all that a run depends on. Every field that is left out has a
//! default, and [`Scenario::canonical`] writes them all, so that a result says what it is a result
//! of. `written` is how quantities are written, `strategy` how peers may be other than honest, and
//! `problems` what is wrong with a file and where.

pub mod written;

mod demand;
mod events;
mod files;
mod problems;
mod strategy;
mod table;
#[cfg(test)]
mod tests;

use seedbank_engine::interface::config::Policy;
use seedbank_ledger::{Duration, Rate};
use serde::{Deserialize, Serialize};

use crate::capacity::Profile;
use written::{ByteRate, CreditAmount, Percent, Price, Size, Time, TimeSpan};

pub use demand::{ChurnPlan, DemandPlan};
pub use events::PlannedEvent;
pub use files::ScenarioFiles;
pub use problems::ScenarioError;
pub use problems::people::RATE_MAX;
pub use strategy::StrategyPlan;
pub use table::{CapacityTable, Quantile};

/// Most peers of the block tier.
pub const PEERS_MAX: u64 = 60_000;
/// Most peers of the flow tier.
pub const FLOW_PEERS_MAX: u64 = 4_000_000;
/// Most threads of a run.
pub const THREADS_MAX: usize = 64;

/// What a run is a function of.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Scenario {
    /// The run itself.
    #[serde(default)]
    pub run: RunPlan,
    /// Who knows whom.
    #[serde(default)]
    pub overlay: OverlayPlan,
    /// The network whose credit is spent; without one nobody pays.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub network: Option<NetworkPlan>,
    /// What there is to fetch.
    #[serde(rename = "torrent")]
    pub torrents: Vec<TorrentPlan>,
    /// Who is there.
    #[serde(rename = "population")]
    pub populations: Vec<Population>,
    /// What happens to them.
    #[serde(rename = "event", default)]
    pub events: Vec<PlannedEvent>,
}

/// What a run is, apart from who is in it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct RunPlan {
    /// What results call it.
    pub name: String,
    /// What it shows, for people.
    pub about: String,
    /// Seed of every random choice.
    pub seed: u64,
    /// Virtual time after which it ends, whoever is not done.
    pub duration: Time,
    /// Make real signatures; otherwise they are counted.
    pub real_signatures: bool,
    /// Check every invariant after every event: many times as slow.
    pub paranoid: bool,
    /// Time between two rows of a series.
    pub series_every: Time,
    /// How closely it is looked at.
    pub tier: Tier,
    /// How the flow tier shares lines; exactly up to so many peers, if it is left out.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub sharing: Option<SharingRule>,
    /// How often the flow tier looks, a part of 10 s; the fewer peers the oftener, if it is left
    /// out.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub step: Option<Time>,
    /// Threads of the flow tier, which change no result.
    pub threads: usize,
}

/// How closely a run is looked at.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Tier {
    /// Every block and message of real sessions.
    #[default]
    Block,
    /// Rates between rounds of the choker.
    Flow,
}

/// How the flow tier shares lines.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum SharingRule {
    /// Exactly: max–min fair.
    MaxMin,
    /// Every uplink in equal parts, cut down to what each downlink takes: what a full downlink
    /// refuses, nobody else gets.
    OnePass,
}

/// Who knows whom at the start.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "kebab-case", tag = "kind")]
pub enum OverlayPlan {
    /// The tracker names 50 at random to everyone who asks.
    #[default]
    Tracker,
    /// Everybody is told of everybody who was there before.
    Full,
    /// Everyone who comes is told of so many of those before, at random.
    Degree {
        /// How many.
        degree: usize,
    },
}

/// A network and its credit.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct NetworkPlan {
    /// What every peer is granted as it joins, unless its population says otherwise.
    pub grant: CreditAmount,
    /// The par price: what a node asks that names no other, and half of what it bids at most.
    pub price: Price,
    /// Most credit that is ever granted: what would be more is not; no limit, if it is left out.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub supply_max: Option<CreditAmount>,
    /// How paid slots are sold, unless a population says otherwise.
    pub paid_rule: PaidRulePlan,
}

/// How a node sells its paid slots (docs/RULES.md).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum PaidRulePlan {
    /// Highest bids get the slots, pay what they bid, and share the rate equally.
    #[default]
    TopK,
    /// Highest bids get the slots and all pay the highest losing bid.
    UniformPrice,
    /// Every bidder is served in proportion to its bid.
    Proportional,
}

/// Something to fetch.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct TorrentPlan {
    /// Its name.
    #[serde(default = "TorrentPlan::default_name")]
    pub name: String,
    /// Its length.
    pub length: Size,
    /// The length of its pieces.
    #[serde(default = "TorrentPlan::default_piece")]
    pub piece: Size,
}

/// Peers that are alike.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Population {
    /// What results call them.
    pub name: String,
    /// How many there are in all.
    pub count: u64,
    /// The torrent they are there for; the first, if it is left out.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub torrent: Option<String>,
    /// Among which torrents each chooses instead, by weights that may change.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub demand: Vec<DemandPlan>,
    /// How many of those each fetches, one after the other.
    #[serde(default = "Population::default_fetches")]
    pub fetches: usize,
    /// How much of their torrent they have when they come.
    #[serde(default)]
    pub has: Percent,
    /// Other torrents of which they have everything when they come.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub holds: Vec<String>,
    /// Their lines.
    #[serde(default)]
    pub line: LinePlan,
    /// The upload limit they configure, as a share of the uplink; none, if it is left out.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub upload_limit: Option<Percent>,
    /// Their upload slots.
    #[serde(default = "Population::default_slots")]
    pub slots: usize,
    /// The share of their upload that stays outside the market.
    #[serde(default = "Population::default_open_share")]
    pub open_share: Percent,
    /// Whether they speak the receipt protocol.
    #[serde(default = "Population::yes")]
    pub receipts: bool,
    /// What they do that others do not.
    #[serde(default)]
    pub strategy: StrategyPlan,
    /// When they come.
    #[serde(default)]
    pub arrivals: ArrivalPlan,
    /// How long they stay once they have everything.
    #[serde(default)]
    pub seeding: SeedingPlan,
    /// How long each waits to have everything before it leaves without; to the end, if it is left
    /// out.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub patience: Option<TimeSpan>,
    /// When each goes offline and comes back with what it has; never, if it is left out.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub churn: Option<ChurnPlan>,
    /// What each is granted, if it is not what the network grants.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub grant: Option<CreditAmount>,
    /// The lowest price they serve at; the network's, if it is left out.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub ask: Option<Price>,
    /// How they sell paid slots; as the network does, if it is left out.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub paid_rule: Option<PaidRulePlan>,
    /// Most that all boosts of each spend in 24 h; no limit, if it is left out.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub spend_per_day_max: Option<CreditAmount>,
    /// What each orders as it comes; nothing, if it is left out.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub boost: Option<BoostPlan>,
}

/// A peer's line.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct LinePlan {
    /// Bytes per second that each can send; or a profile says.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub uplink: Option<ByteRate>,
    /// Where uplinks are drawn from.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub profile: Option<Profile>,
    /// Quantiles and rates that uplinks are drawn from.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub table: Option<CapacityTable>,
    /// A file with such a table, beside the scenario; it becomes part of it.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub csv: Option<String>,
    /// Faster ones of a profile or a table are as fast as this.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub uplink_max: Option<ByteRate>,
    /// Bytes per second that each can receive; or a factor says.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub downlink: Option<ByteRate>,
    /// So many times the uplink, if the downlink is left out and no profile says.
    pub downlink_factor: u32,
    /// One way from the peer to the middle of the network.
    pub delay: TimeSpan,
    /// How long a byte waits in a full buffer of the line.
    pub buffer: Time,
    /// Longest time that a segment is late.
    pub jitter: Time,
    /// Segments lost of a million.
    pub loss_ppm: u32,
    /// How long the line is one connection's before it is the next one's turn. Shorter is finer and
    /// takes longer to play; medians are the same (docs/FIGURES.md, the block tier).
    pub turn: Time,
}

/// When the peers of a population come.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "kebab-case", tag = "kind")]
pub enum ArrivalPlan {
    /// All together.
    AtOnce {
        /// When.
        #[serde(default = "ArrivalPlan::at_first")]
        at: Time,
    },
    /// Each at a random moment of a stretch: a flash crowd.
    Flash {
        /// When it begins.
        #[serde(default = "ArrivalPlan::at_first")]
        at: Time,
        /// How long it lasts.
        within: Time,
    },
    /// One after the other, after waits that are exponentially distributed.
    Poisson {
        /// When it begins.
        #[serde(default = "ArrivalPlan::at_first")]
        at: Time,
        /// The mean wait.
        every: Time,
    },
    /// At these moments, in order; of which there are as many as peers.
    Trace {
        /// When each comes.
        #[serde(default)]
        times: Vec<Time>,
        /// A file with these times, a line each, beside the scenario; it becomes part of it.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        csv: Option<String>,
    },
    /// Not unless an event has them join.
    OnEvent,
}

/// How long who has everything stays.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "kebab-case", tag = "kind")]
pub enum SeedingPlan {
    /// To the end.
    #[default]
    Forever,
    /// For a time that is drawn for each.
    For {
        /// How long.
        time: TimeSpan,
    },
    /// Until it has uploaded so much of the torrent's length, or a time is over.
    Ratio {
        /// Of the length.
        percent: u32,
        /// Longest time.
        at_most: Time,
    },
}

/// A boost that everyone of a population orders.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct BoostPlan {
    /// Most that it spends.
    pub budget: CreditAmount,
    /// Most that it bids.
    #[serde(default = "BoostPlan::default_bid")]
    pub bid: Price,
}

impl Default for RunPlan {
    fn default() -> Self {
        Self {
            name: "unnamed".to_owned(),
            about: String::new(),
            seed: 1,
            duration: Time(Duration::from_secs(86_400)),
            real_signatures: false,
            paranoid: false,
            series_every: Time(Duration::from_secs(60)),
            tier: Tier::default(),
            sharing: None,
            step: None,
            threads: 1,
        }
    }
}

impl Default for NetworkPlan {
    fn default() -> Self {
        Self {
            grant: CreditAmount(seedbank_ledger::MicroCredits::new(10_000_000)),
            price: Price(Rate::PAR),
            supply_max: None,
            paid_rule: PaidRulePlan::default(),
        }
    }
}

impl TorrentPlan {
    fn default_name() -> String {
        "torrent".to_owned()
    }

    fn default_piece() -> Size {
        Size(1 << 20)
    }
}

impl Population {
    fn default_fetches() -> usize {
        1
    }

    fn default_slots() -> usize {
        Policy::default().slots
    }

    fn default_open_share() -> Percent {
        Percent(Policy::default().open_share_percent)
    }

    fn yes() -> bool {
        true
    }
}

impl Default for LinePlan {
    fn default() -> Self {
        let delay = Duration::from_millis(20);
        Self {
            uplink: None,
            profile: None,
            table: None,
            csv: None,
            uplink_max: None,
            downlink: None,
            downlink_factor: 8,
            delay: TimeSpan::Within {
                least: delay,
                most: delay,
            },
            buffer: Time(Duration::from_millis(200)),
            jitter: Time(Duration::ZERO),
            loss_ppm: 0,
            turn: Time(Duration::from_millis(4)),
        }
    }
}

impl Default for ArrivalPlan {
    fn default() -> Self {
        Self::AtOnce {
            at: Self::at_first(),
        }
    }
}

impl ArrivalPlan {
    fn at_first() -> Time {
        Time(Duration::ZERO)
    }
}

impl BoostPlan {
    fn default_bid() -> Price {
        Price(Rate::new(2_000_000))
    }
}

impl Scenario {
    /// Reads a scenario. `file` is what errors call the text.
    ///
    /// # Errors
    /// What is wrong, in which line, and which word was meant.
    pub fn parse(file: &str, text: &str) -> Result<Self, ScenarioError> {
        Self::parse_with(file, text, &ScenarioFiles::new())
    }

    /// The same of a scenario that names files: each by its name, with its text.
    ///
    /// # Errors
    /// As [`Scenario::parse`], and if a file is not there or has no table.
    pub fn parse_with(
        file: &str,
        text: &str,
        files: &ScenarioFiles,
    ) -> Result<Self, ScenarioError> {
        let mut scenario: Self =
            toml::from_str(text).map_err(|error| ScenarioError::of_text(file, text, &error))?;
        let problem = scenario.problem().or_else(|| scenario.take_in(files));
        match problem {
            Some(problem) => Err(ScenarioError::of_meaning(file, text, problem)),
            None => match ScenarioError::of_leftover(file, text, &scenario) {
                Some(error) => Err(error),
                None => Ok(scenario),
            },
        }
    }

    /// The scenario with every default written out: equal scenarios have equal texts.
    pub fn canonical(&self) -> String {
        toml::to_string(self).expect("tables and texts only")
    }

    /// BLAKE3 of [`Scenario::canonical`], as hex.
    pub fn hash(&self) -> String {
        blake3::hash(self.canonical().as_bytes())
            .to_hex()
            .to_string()
    }

    /// Peers in all, every identity of a line counted.
    pub fn peer_count(&self) -> u64 {
        let count = |plan: &Population| plan.count.saturating_mul(plan.strategy.identities());
        self.populations
            .iter()
            .map(count)
            .fold(0, u64::saturating_add)
    }

    /// The torrent of a population.
    pub fn torrent_of(&self, population: &Population) -> usize {
        let place = |name: &String| self.torrents.iter().position(|plan| plan.name == *name);
        population.torrent.as_ref().and_then(place).unwrap_or(0)
    }
}
