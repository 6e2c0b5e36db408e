//! What came of a run, and whether it shows what the demo claims.

use seedbank_ledger::Duration;

use super::Accounts;

/// The payer is at least so many times faster than the median of the others.
const SPEEDUP_MIN: f64 = 2.0;
/// The last of the others takes at most so many times as long as the last of the control swarm.
const DELAY_MAX: f64 = 1.10;

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
    /// Median of those that did not pay over the one that did.
    pub fn speedup(&self) -> f64 {
        seconds(median(&self.unpaid)) / seconds(self.paid)
    }

    /// The last of those that did not pay over the last of the control swarm.
    pub fn delay(&self) -> f64 {
        seconds(last(&self.unpaid)) / seconds(last(&self.control))
    }
}

impl DemoOutcome {
    /// Everything that the demo claims, in the order in which it is told.
    pub fn findings(&self) -> Vec<Finding> {
        let Self { times, accounts } = self;
        let finding = |holds, claim| Finding { claim, holds };
        let Accounts {
            claimed,
            spent,
            earned,
            ..
        } = accounts;
        vec![
            finding(
                times.speedup() >= SPEEDUP_MIN,
                format!(
                    "who paid was {:.2}× faster than the median of the others, of at least \
                     {SPEEDUP_MIN:.2}×",
                    times.speedup()
                ),
            ),
            finding(
                times.delay() <= DELAY_MAX,
                format!(
                    "the others took {:.2}× as long as without payment, of at most {DELAY_MAX:.2}×",
                    times.delay()
                ),
            ),
            finding(
                accounts.is_conserved(),
                format!(
                    "credit is conserved: {} µcr granted, {} µcr in accounts, {} µcr in locks",
                    accounts.granted, accounts.available, accounts.escrow
                ),
            ),
            finding(
                accounts.locks_open == 0,
                format!("{} locks are open", accounts.locks_open),
            ),
            finding(
                claimed == spent
                    && spent == earned
                    && !claimed.is_zero()
                    && accounts.claimed_by_others.is_zero(),
                format!("claimed by the seeder {claimed} = spent {spent} = by receipts {earned}"),
            ),
            finding(
                accounts.problems.is_empty(),
                match accounts.problems.as_slice() {
                    [] => format!("{} ledgers add up", accounts.ledgers_checked),
                    problems => problems.join("; "),
                },
            ),
        ]
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
