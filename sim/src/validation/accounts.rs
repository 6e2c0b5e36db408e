//! Books of whole plays: nothing is made or lost, and prices are rounded down (rows 1 and 28).

use seedbank_ledger::charts::node::{BalanceReason, ExplanationLine};
use seedbank_ledger::{Bytes, MicroCredits, UnixTime};

use super::choking::played;
use super::row::ran;
use super::{RowForm, Tolerance, ValidationRow};
use crate::library::LIBRARY;
use crate::network::NodeIndex;
use crate::play::{PeerRow, Play, PlayOutcome};
use crate::scenario::Scenario;
use crate::scenario::written::{Size, Time};
use crate::stats::whole;
use crate::world::{World, WorldCounts};

/// What a seeder asks and a payer bids, in micro-credits per GiB: no divisor of anything.
const PRICE: u64 = 1_234_567;

/// Sums over plays.
#[derive(Clone, Copy, Debug, Default)]
struct Identities {
    counts: WorldCounts,
    signed: u64,
    verified: u64,
    granted: u128,
    held: u128,
    spent: u64,
    earned: u64,
    /// Arrived, lost with their connections, or still under way.
    met: u64,
    /// Earned although nobody spent it, in any one play.
    beyond: u64,
    /// What was looked at all the time and did not hold.
    violations: u64,
}

/// Row 1: in every scenario of the library, credit is what was granted, what is paid is earned but
/// for what was on its way as a connection ended, and what is sent is received or lost with its
/// connection.
pub(super) fn identities(form: RowForm) -> Vec<ValidationRow> {
    let mut sums = Identities::default();
    for included in LIBRARY {
        let scenario = Scenario::parse(included.name, included.text);
        let mut scenario = scenario.expect("included scenarios are sound");
        shorten(&mut scenario, form);
        let (outcome, world) = Play::new(&scenario).run_to_world();
        sums.add(&outcome, &world);
    }
    let exact = |id, what, expected, measured| {
        ValidationRow::production(id, what, sums.ran()).pair(expected, measured)
    };
    let wide = |sum: u128| u64::try_from(sum).map_or(f64::INFINITY, whole);
    vec![
        exact(
            "1a",
            "library: granted − burned, and held by all (µcr)",
            wide(sums.granted),
            wide(sums.held),
        ),
        exact(
            "1b",
            "library: earned, and spent by nobody (µcr)",
            0.0,
            whole(sums.beyond),
        ),
        exact(
            "1c",
            "library: earned, and spent (µcr)",
            whole(sums.earned),
            whole(sums.spent),
        )
        .within(Tolerance::AtLeast(1.01))
        .note("the difference is in receipts on their way as connections ended"),
        exact(
            "1d",
            "library: blocks sent, and received or cut off",
            whole(sums.counts.blocks_served),
            whole(sums.met),
        ),
        exact(
            "1e",
            "library: limits not used and waits too long, while somebody waited",
            0.0,
            whole(sums.violations),
        ),
    ]
}

/// Row 28: what a pair pays at one price is bytes × price / 2³⁰, rounded down once.
pub(super) fn rounding(_: RowForm) -> Vec<ValidationRow> {
    let (outcome, world) = played(&fixed_price());
    let [seeder, payer] = [NodeIndex(0), NodeIndex(1)];
    let spent = line(&world, payer, BalanceReason::Spent);
    let earned = line(&world, seeder, BalanceReason::Earned);
    let due = (u128::from(spent.bytes.get()) * u128::from(PRICE)) >> 30;
    let due = u64::try_from(due).map_or(f64::INFINITY, whole);
    let [signed, verified] = outcome.signatures.unwrap_or_default();
    let mut ran = ran(&world.counts());
    ran.extend([
        ("ledger entries", world.counts().entries),
        ("signatures", signed),
        ("checks", verified),
    ]);
    let row = ValidationRow::production("28", "paid at one price, and earned (µcr)", ran)
        .pair(due, whole(spent.amount.get()))
        .pair(due, whole(earned.amount.get()));
    vec![row]
}

/// A part of it: small torrents, few peers, not for days.
fn shorten(scenario: &mut Scenario, form: RowForm) {
    let (length, peers, minutes) = match form {
        RowForm::Short => (2 << 20, 12, 30),
        RowForm::Full => (16 << 20, 50, 120),
    };
    for torrent in &mut scenario.torrents {
        torrent.length = torrent.length.min(Size(length));
        torrent.piece = torrent.piece.min(Size(length / 16));
    }
    for population in &mut scenario.populations {
        population.count = population.count.min(peers);
    }
    let duration = Time(seedbank_ledger::Duration::from_secs(minutes * 60));
    scenario.run.duration = scenario.run.duration.min(duration);
}

impl Identities {
    fn add(&mut self, outcome: &PlayOutcome, world: &World) {
        let counts = world.counts();
        self.counts.chokes += counts.chokes;
        self.counts.entries += counts.entries;
        self.counts.blocks_served += counts.blocks_served;
        self.met += counts.blocks_arrived;
        self.violations += outcome.checks.violation_count;
        self.met += world.blocks_lost_and_under_way().iter().sum::<u64>();
        let [signed, verified] = outcome.signatures.unwrap_or_default();
        self.signed += signed;
        self.verified += verified;
        let sum = |of: fn(&PeerRow) -> u64| outcome.peers.iter().map(of).sum::<u64>();
        let (spent, earned) = (sum(|row| row.spent), sum(|row| row.earned));
        self.spent += spent;
        self.earned += earned;
        self.beyond += earned.saturating_sub(spent);
        if let Some(settlement) = &world.settlement {
            let audit = settlement.ledger().audit().expect("a sound ledger");
            self.granted += audit.granted - audit.burned;
            self.held += audit.available + audit.escrow;
        }
    }

    fn ran(&self) -> Vec<(&'static str, u64)> {
        let mut ran = ran(&self.counts);
        ran.extend([
            ("ledger entries", self.counts.entries),
            ("signatures", self.signed),
            ("checks", self.verified),
        ]);
        ran
    }
}

fn line(world: &World, node: NodeIndex, reason: BalanceReason) -> ExplanationLine {
    let told = world.node(node).books.ledger().explain(UnixTime::ZERO);
    let lines = told.expect("memory does not fail").lines;
    let line = lines.into_iter().find(|line| line.reason == reason);
    line.unwrap_or(ExplanationLine {
        reason,
        bytes: Bytes::ZERO,
        amount: MicroCredits::ZERO,
        entry_count: 0,
    })
}

/// A seeder who asks a price, and one who bids no more.
fn fixed_price() -> String {
    let price = "1.234567cr/GiB";
    format!(
        "[run]\nduration = \"10min\"\n[network]\n[overlay]\nkind = \"full\"\n\
         [[torrent]]\nlength = \"10497897B\"\npiece = \"256KiB\"\n\
         [[population]]\nname = \"seeder\"\ncount = 1\nhas = \"100%\"\nask = \"{price}\"\n\
         line = {{ uplink = \"500kB/s\" }}\n\
         [[population]]\nname = \"payer\"\ncount = 1\n\
         boost = {{ budget = \"1cr\", bid = \"{price}\" }}\n\
         line = {{ uplink = \"500kB/s\" }}\n"
    )
}
