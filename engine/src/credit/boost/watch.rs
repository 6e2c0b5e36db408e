//! What is said of a boost, and when: reasons that last at once, others after a few seconds, and
//! events at a bounded rate, so that a peer whose ask flips every second fills no history.

use std::mem::Discriminant;

use seedbank_ledger::{Bytes, Duration, Instant};

use super::TorrentRow;
use super::order::BoostReport;
use super::waiting::{BoostFinding, WaitReason};
use crate::credit::receipts::connection::Allowance;

/// What may pass by itself is said after this long.
const SETTLE: Duration = Duration::from_secs(3);
/// Nothing is told by an event before a boost has bought nothing for this long…
const TELL_AFTER: Duration = Duration::from_secs(4);
/// …for one reason for this long.
const HOLD: Duration = Duration::from_secs(2);
/// Events about one boost at once…
const EVENT_BURST: u64 = 6;
/// …and the time after which there may be one more.
const EVENT_INTERVAL: Duration = Duration::from_secs(60);

/// A boost's state as it is shown and told.
#[derive(Clone, Copy, Debug)]
pub(super) struct Watch {
    /// What it waits for, as shown.
    shown: Option<WaitReason>,
    /// What was found last, and since when it is of that kind. `None`: it works.
    found: Option<Discriminant<WaitReason>>,
    found_since: Instant,
    /// Since when it buys nothing; `None` while it works.
    idle_since: Option<Instant>,
    /// What was told last; `None`: nothing, or that it works.
    told: Option<Discriminant<WaitReason>>,
    events: Allowance,
    /// When it was looked at last, what its torrent had received, and whether it worked.
    looked: Option<(Instant, Bytes, bool)>,
}

/// What is to be told.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Tiding {
    /// It waits.
    Waits(WaitReason),
    /// It waited, as was told, and is served as paid now.
    Works,
}

impl Watch {
    pub(super) fn new(now: Instant) -> Self {
        Self {
            shown: None,
            found: None,
            found_since: now,
            idle_since: Some(now),
            told: None,
            events: Allowance::new(EVENT_INTERVAL, EVENT_BURST),
            looked: None,
        }
    }

    /// What it waits for.
    pub(super) fn shown(&self) -> Option<WaitReason> {
        self.shown
    }

    /// Takes in a finding; what is to be told of it, if anything.
    pub(super) fn follow(&mut self, finding: BoostFinding, now: Instant) -> Option<Tiding> {
        let found = match finding {
            // What was said of payees holds until one serves; anything else is over.
            BoostFinding::Unclear => {
                self.shown = self.shown.filter(WaitReason::is_of_service);
                return None;
            }
            BoostFinding::Works => None,
            BoostFinding::Waits(waiting) => Some(waiting),
        };
        let kind = found.as_ref().map(std::mem::discriminant);
        if kind != self.found {
            self.found = kind;
            self.found_since = now;
        }
        let held = now.since(self.found_since) >= HOLD;
        let Some(waiting) = found else {
            self.shown = None;
            self.idle_since = None;
            let tells = self.told.is_some() && held && self.events.take(now);
            return tells.then(|| {
                self.told = None;
                Tiding::Works
            });
        };
        let idle_for = now.since(*self.idle_since.get_or_insert(now));
        if waiting.lasts() || (held && idle_for >= SETTLE) {
            self.shown = Some(waiting);
        } else if self.shown.as_ref().map(std::mem::discriminant) != kind {
            self.shown = self.shown.filter(WaitReason::is_of_service);
        }
        let news = kind != self.told && held && idle_for >= TELL_AFTER;
        (news && self.events.take(now)).then(|| {
            self.told = kind;
            Tiding::Waits(waiting)
        })
    }

    /// Counts what came since the last look, if it worked then and works now.
    pub(super) fn measure(
        &mut self,
        report: &BoostReport,
        works: bool,
        torrent: &TorrentRow,
        now: Instant,
    ) -> BoostReport {
        let received = torrent.received;
        let mut report = *report;
        if works {
            if report.boosted_ms == 0 && self.looked.is_none_or(|(_, _, worked)| !worked) {
                report.rate_before = torrent.rate;
            }
            if let Some((at, before, true)) = self.looked {
                let ms = now.since(at).as_millis();
                report.boosted_ms = report.boosted_ms.saturating_add(ms);
                let came = received.saturating_sub(before);
                report.boosted = report.boosted.saturating_add(came);
            }
        }
        self.looked = Some((now, received, works));
        report
    }
}

#[cfg(test)]
mod tests {
    use seedbank_ledger::Rate;

    use super::*;
    use crate::units::TorrentId;

    const ASK: WaitReason = WaitReason::BelowAsk {
        ask: Rate::new(3),
        bid: Rate::new(2),
    };
    const ALONE: WaitReason = WaitReason::NoPeers;

    fn at(secs: u64) -> Instant {
        Instant::ZERO.after(Duration::from_secs(secs))
    }

    #[test]
    fn what_lasts_is_shown_at_once_and_what_may_pass_after_three_seconds() {
        let mut watch = Watch::new(at(0));
        watch.follow(BoostFinding::Waits(ASK), at(0));
        assert_eq!(watch.shown(), Some(ASK));
        let mut watch = Watch::new(at(0));
        watch.follow(BoostFinding::Waits(ALONE), at(0));
        watch.follow(BoostFinding::Waits(ALONE), at(2));
        assert_eq!(watch.shown(), None);
        watch.follow(BoostFinding::Waits(ALONE), at(3));
        assert_eq!(watch.shown(), Some(ALONE));
        watch.follow(
            BoostFinding::Waits(WaitReason::SettlementUnreachable),
            at(10),
        );
        assert_eq!(watch.shown(), None, "that may be over in a second");
        watch.follow(BoostFinding::Waits(ASK), at(11));
        watch.follow(BoostFinding::Unclear, at(12));
        assert_eq!(watch.shown(), None, "what was in the way is not any more");
    }

    #[test]
    fn a_reason_is_told_once_within_five_seconds_and_its_end_too() {
        let mut watch = Watch::new(at(0));
        let told: Vec<u64> = (0..100)
            .filter(|secs| watch.follow(BoostFinding::Waits(ASK), at(*secs)).is_some())
            .collect();
        assert_eq!(told, [4]);
        let over: Vec<u64> = (100..200)
            .filter(|secs| watch.follow(BoostFinding::Works, at(*secs)) == Some(Tiding::Works))
            .collect();
        assert_eq!(over, [102]);
        assert_eq!(watch.shown(), None);
    }

    #[test]
    fn a_peer_that_flips_its_ask_fills_no_history() {
        for period in 1..30 {
            let mut watch = Watch::new(at(0));
            let flips = |secs: &u64| {
                let finding = match (secs / period) % 3 {
                    0 => BoostFinding::Waits(ASK),
                    1 => BoostFinding::Waits(ALONE),
                    _ => BoostFinding::Works,
                };
                watch.follow(finding, at(*secs)).is_some()
            };
            let told = (0..3_600).filter(flips).count();
            assert!(told <= 6 + 60, "{told} events in an hour, period {period}");
        }
    }

    #[test]
    fn only_time_in_which_it_worked_counts_and_the_rate_before_is_kept() {
        let mut watch = Watch::new(at(0));
        let mut report = BoostReport::default();
        let rate = |bytes| Some(Bytes::new(bytes));
        for (secs, works, received) in [
            (0, false, 100),
            (1, false, 200),
            (2, true, 300),
            (3, true, 1_300),
            (4, true, 2_300),
            (5, false, 9_000),
            (6, true, 9_000),
            (7, true, 10_000),
        ] {
            let torrent = TorrentRow {
                received: Bytes::new(received),
                rate: rate(secs),
                ..TorrentRow::new(TorrentId([1; 20]))
            };
            report = watch.measure(&report, works, &torrent, at(secs));
        }
        assert_eq!(report.rate_before, rate(2));
        assert_eq!((report.boosted.get(), report.boosted_ms), (3_000, 3_000));
        assert_eq!(report.rate_boosted(), rate(1_000));
    }
}
