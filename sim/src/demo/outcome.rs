//! What came of a run, and whether it shows what the demo claims.

use seedbank_ledger::Duration;

use super::Accounts;

/// The median of the others takes at least so many times as long as the payer.
const GAIN_MIN: f64 = 2.5;
/// The payer takes at most so much of what the median takes where nobody pays.
const OWN_MAX: f64 = 0.6;
/// The last of the others takes at most so much of what the last takes where nobody pays.
const HARM_MAX: f64 = 1.10;

/// How long each leecher took from the common start.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Times {
    /// The one that paid.
    pub paid: Duration,
    /// Those that did not.
    pub unpaid: Vec<Duration>,
    /// All leechers of the swarm without receipts.
    pub control: Vec<Duration>,
}

/// Times and accounts of one run, simulated or real.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct DemoOutcome {
    /// Who was how fast.
    pub times: Times,
    /// Who paid what.
    pub accounts: Accounts,
}

/// One thing that the demo claims.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Finding {
    /// What, with its figures.
    pub claim: String,
    /// Whether it is so.
    pub holds: bool,
}

impl Times {
    /// How much sooner the payer is done than the median of the others: their time over its own.
    pub fn gain(&self) -> f64 {
        seconds(median(&self.unpaid)) / seconds(self.paid)
    }

    /// The payer's time over the median where nobody pays: which leecher is early there is chance.
    pub fn own(&self) -> f64 {
        seconds(self.paid) / seconds(median(&self.control))
    }

    /// The last of the others over the last where nobody pays.
    pub fn harm(&self) -> f64 {
        seconds(last(&self.unpaid)) / seconds(last(&self.control))
    }
}

impl DemoOutcome {
    /// Everything that the demo claims, in the order in which it is told.
    pub fn findings(&self) -> Vec<Finding> {
        let mut findings = self.times.findings().to_vec();
        findings.extend(self.accounts.findings());
        findings
    }
}

impl Times {
    fn findings(&self) -> [Finding; 3] {
        let (gain, own, harm) = (self.gain(), self.own(), self.harm());
        [
            Finding::new(
                gain >= GAIN_MIN,
                format!(
                    "who paid was {gain:.2}× sooner than the others' median (at least \
                     {GAIN_MIN:.2}×)"
                ),
            ),
            Finding::new(
                own <= OWN_MAX,
                format!(
                    "it took {own:.2} of the median time where nobody pays (at most {OWN_MAX:.2})"
                ),
            ),
            Finding::new(
                harm <= HARM_MAX,
                format!(
                    "the last of the others took {harm:.2} of the last there (at most \
                     {HARM_MAX:.2})"
                ),
            ),
        ]
    }
}

impl Accounts {
    pub(super) fn findings(&self) -> [Finding; 4] {
        let Self {
            granted,
            available,
            escrow,
            claimed,
            claimed_by_seeder,
            spent,
            earned,
            ..
        } = self;
        [
            Finding::new(
                self.is_conserved(),
                format!("{granted} µcr granted = {available} in accounts + {escrow} in locks"),
            ),
            Finding::new(
                self.locks_open == 0,
                match self.locks_open {
                    0 => "no lock is open".to_owned(),
                    open => format!("{open} locks are open"),
                },
            ),
            Finding::new(
                spent == claimed && claimed == earned && !claimed_by_seeder.is_zero(),
                format!(
                    "µcr: {} spent = {} claimed = {} earned, {} by the seeder",
                    spent.get(),
                    claimed.get(),
                    earned.get(),
                    claimed_by_seeder.get()
                ),
            ),
            Finding::new(
                self.problems.is_empty(),
                match self.problems.as_slice() {
                    [] => format!("{} ledgers add up", self.ledgers_checked),
                    problems => problems.join("; "),
                },
            ),
        ]
    }
}

impl Finding {
    pub(super) const fn new(holds: bool, claim: String) -> Self {
        Self { claim, holds }
    }
}

/// The median; of an even number the mean of the middle two, zero of none.
pub fn median(times: &[Duration]) -> Duration {
    let mut sorted = times.to_vec();
    sorted.sort_unstable();
    let middle = sorted.len() / 2;
    let high = sorted.get(middle).copied().unwrap_or(Duration::ZERO);
    if sorted.len() % 2 == 1 || sorted.is_empty() {
        return high;
    }
    let low = sorted[middle - 1];
    Duration::from_nanos(low.as_nanos().midpoint(high.as_nanos()))
}

/// The longest; zero of none.
pub fn last(times: &[Duration]) -> Duration {
    times.iter().copied().max().unwrap_or(Duration::ZERO)
}

/// Seconds, for ratios and for people.
pub fn seconds(time: Duration) -> f64 {
    let millis = u32::try_from(time.as_millis()).unwrap_or(u32::MAX);
    f64::from(millis) / 1_000.0
}
