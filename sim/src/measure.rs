//! What a play says of a population: how long each took until it had everything.
//!
//! Who never had is counted as far as it was seen (censored), not left out. Of a population that
//! comes one by one the first are left out, as long as what they took depends on how the run began.

use crate::play::{PeerRow, PlayOutcome};
use crate::scenario::Population;
use crate::stats::{Lifetime, finished_by, warm_up};

/// Fewest who are done of whom a warm-up is cut.
const WARM_UP_MIN: usize = 50;

/// How long those of a population took.
#[derive(Clone, Debug, PartialEq)]
pub struct Durations {
    /// Of each who came and wanted something, in order of arrival, without the warm-up.
    pub lifetimes: Vec<Lifetime>,
    /// How many of those who came first are left out (MSER-5 on the time until done).
    pub warm_up: usize,
}

impl Durations {
    /// Of this population of the play's scenario.
    pub fn of(played: &PlayOutcome, population: &Population) -> Self {
        let rows = played.peers.iter();
        let mut rows: Vec<(f64, &PeerRow)> = rows
            .filter(|row| row.population == population.name && population.wants())
            .filter_map(|row| Some((row.joined?, row)))
            .collect();
        rows.sort_by(|(a, _), (b, _)| a.total_cmp(b));
        let end = seconds(played.lasted);
        let mut lifetimes: Vec<Lifetime> = rows
            .iter()
            .map(|(joined, row)| Lifetime {
                time: row.done.or(row.left).unwrap_or(end) - joined,
                finished: row.done.is_some(),
            })
            .collect();
        let warm_up = cut_warm_up(&mut lifetimes, population.is_open());
        Self { lifetimes, warm_up }
    }

    /// Seconds within which this share was done; `None` if so many never were.
    pub fn quantile(&self, share: f64) -> Option<f64> {
        finished_by(&self.lifetimes, share)
    }

    /// Half of them were done within so many seconds.
    pub fn median(&self) -> Option<f64> {
        self.quantile(0.5)
    }
}

/// Leaves out the first of those who came in this order, if they came one by one, as long as what
/// they took depends on how the run began; how many.
pub(crate) fn cut_warm_up(lifetimes: &mut Vec<Lifetime>, is_open: bool) -> usize {
    let warm_up = match is_open {
        true => until_steady(lifetimes),
        false => 0,
    };
    lifetimes.drain(..warm_up);
    warm_up
}

/// How many of the first to leave out. Those who were never done say nothing of it: the last are
/// cut short by the end, and would look as if they were fast.
fn until_steady(lifetimes: &[Lifetime]) -> usize {
    let done: Vec<usize> = (0..lifetimes.len())
        .filter(|place| lifetimes[*place].finished)
        .collect();
    if done.len() < WARM_UP_MIN {
        return 0;
    }
    let times: Vec<f64> = done.iter().map(|place| lifetimes[*place].time).collect();
    match warm_up(&times) {
        0 => 0,
        cut => done[cut],
    }
}

fn seconds(time: seedbank_ledger::Duration) -> f64 {
    #[expect(clippy::cast_precision_loss, reason = "a time to read")]
    let nanos = time.as_nanos() as f64;
    nanos / 1e9
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::scenario::Scenario;

    fn row(joined: f64, done: Option<f64>) -> PeerRow {
        PeerRow {
            population: "p".to_owned(),
            index: 0,
            identity: 0,
            uplink: 1,
            downlink: 1,
            joined: Some(joined),
            first_piece: None,
            done,
            left: None,
            wanted: 1,
            uploaded: 0,
            downloaded: 0,
            wasted: 0,
            paid_sent: 0,
            paid_received: 0,
            granted: 0,
            spent: 0,
            earned: 0,
            unpaid: 0,
            keys: 1,
            boost_refused: None,
        }
    }

    fn played(peers: Vec<PeerRow>) -> PlayOutcome {
        PlayOutcome {
            peers,
            lasted: seedbank_ledger::Duration::from_secs(1_000),
            ..PlayOutcome::default()
        }
    }

    fn population(arrivals: &str) -> Population {
        let text = format!(
            "[[torrent]]\nlength = \"1MiB\"\n[[population]]\nname = \"p\"\ncount = 1\n\
             line = {{ uplink = \"1MB/s\" }}\narrivals = {arrivals}\n"
        );
        Scenario::parse("t", &text).unwrap().populations.remove(0)
    }

    #[test]
    fn who_never_finishes_is_censored_and_not_left_out() {
        let mut left = row(100.0, None);
        left.left = Some(300.0);
        let rows = vec![
            row(0.0, Some(10.0)),
            row(0.0, Some(30.0)),
            row(0.0, None),
            left,
        ];
        let all = Durations::of(&played(rows), &population("{ kind = \"at-once\" }"));
        assert_eq!(
            all.median(),
            Some(30.0),
            "of those who are done it would be 10"
        );
        assert_eq!(all.quantile(0.9), None);
        let seen = |place: usize| all.lifetimes[place].time.to_string();
        assert_eq!([seen(2), seen(3)], ["1000", "200"]);
    }

    #[test]
    fn a_warm_up_is_cut_where_peers_come_one_by_one() {
        let rows: Vec<PeerRow> = (0..400_u32)
            .map(|index| {
                let joined = f64::from(index);
                let slow = f64::from(60_u32.saturating_sub(index));
                row(joined, Some(joined + 20.0 + slow + f64::from(index % 3)))
            })
            .collect();
        let open = population("{ kind = \"poisson\", every = \"1s\" }");
        let cut = Durations::of(&played(rows.clone()), &open);
        assert!((50..75).contains(&cut.warm_up), "{}", cut.warm_up);
        assert_eq!(cut.lifetimes.len() + cut.warm_up, 400);
        let closed = population("{ kind = \"at-once\" }");
        assert_eq!(Durations::of(&played(rows.clone()), &closed).warm_up, 0);
        let few = Durations::of(&played(rows[..49].to_vec()), &open);
        assert_eq!(few.warm_up, 0, "too few to tell");
    }
}
