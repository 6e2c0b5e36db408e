//! Whom to ask and when: the tiers of BEP 12, events, intervals and back-off of one torrent.

use std::collections::BTreeSet;

use seedbank_ledger::{Duration, Instant};

use crate::content::metainfo::TRACKERS_MAX;
use crate::discovery::tracker::url::{TrackerUrl, UrlError};
use crate::discovery::tracker::{
    AnnounceError, AnnounceEvent, AnnounceReply, TEXT_MAX, TrackerView,
};
use crate::rng::Rng;
use crate::text::printable;

/// Wait after a tracker's first failure; doubles with every further one.
pub const RETRY_FIRST: Duration = Duration::from_secs(15);
/// Longest wait after failures.
pub const RETRY_LONGEST: Duration = Duration::from_secs(30 * 60);
/// Shortest time between two announces for more peers, if the tracker names none.
pub const HURRY_INTERVAL: Duration = Duration::from_secs(60);

/// An announce to make: over which URL, and why.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Announce {
    /// The tracker.
    pub url: String,
    /// Why.
    pub event: AnnounceEvent,
}

/// The trackers of one torrent. One is asked at a time; it says nothing until [`Self::start`].
///
/// Within a tier the first that answers moves to the front; the next tier is asked only if the one
/// before failed (BEP 12). A tracker hears `started` before anything else, and `stopped` only if it
/// heard `started`; `completed` is told once.
#[derive(Clone, Debug)]
pub struct Trackers {
    tiers: Vec<Vec<Tracker>>,
    /// Those that cannot be asked, and why.
    unusable: Vec<(String, UrlError)>,
    phase: AnnouncePhase,
    /// A completion that no tracker has been told yet.
    completed: bool,
    /// When the next announce is due.
    due: Instant,
    /// When peers were last asked for successfully, and the shortest wait after it.
    last: Option<(Instant, Duration)>,
}

#[derive(Clone, Debug, PartialEq, Eq)]
enum AnnouncePhase {
    /// Not started, or stopped and all told.
    Idle,
    /// Nothing under way.
    Waiting,
    /// This announce is under way.
    Asking(Announce),
    /// Telling those who know us that we leave.
    Stopping,
}

#[derive(Clone, Debug)]
struct Tracker {
    url: String,
    /// It heard `started` and no `stopped`.
    started: bool,
    failures: u32,
    retry_at: Instant,
    status: String,
}

impl Trackers {
    /// From the tiers of a torrent; each is shuffled. URLs that cannot be asked are only shown,
    /// those that come again or are past [`TRACKERS_MAX`] are left out.
    pub fn new(tiers: &[Vec<String>], rng_seed: u64) -> Self {
        let mut rng = Rng::new(rng_seed);
        let mut seen = BTreeSet::new();
        let mut ours: Vec<Vec<Tracker>> = Vec::new();
        let mut unusable = Vec::new();
        for tier in tiers {
            let mut trackers = Vec::new();
            for url in tier {
                if seen.len() >= TRACKERS_MAX || !seen.insert(url) {
                    continue;
                }
                match TrackerUrl::parse(url) {
                    Ok(_) => trackers.push(Tracker::new(url)),
                    Err(error) => unusable.push((printable(url.as_bytes(), TEXT_MAX), error)),
                }
            }
            rng.shuffle(&mut trackers);
            if !trackers.is_empty() {
                ours.push(trackers);
            }
        }
        Self {
            tiers: ours,
            unusable,
            phase: AnnouncePhase::Idle,
            completed: false,
            due: Instant::ZERO,
            last: None,
        }
    }

    /// The torrent starts, or starts again: announce at once.
    pub fn start(&mut self, now: Instant) {
        self.phase = match std::mem::replace(&mut self.phase, AnnouncePhase::Waiting) {
            asking @ AnnouncePhase::Asking(_) => asking,
            AnnouncePhase::Idle | AnnouncePhase::Waiting | AnnouncePhase::Stopping => {
                AnnouncePhase::Waiting
            }
        };
        self.due = now;
        for tracker in self.tiers.iter_mut().flatten() {
            tracker.retry_at = now;
        }
    }

    /// The owner names trackers: they are asked at once and before all others, also those that
    /// failed so far. URLs that cannot be asked, or past [`TRACKERS_MAX`], are left out.
    pub fn add(&mut self, urls: &[String], now: Instant) {
        let mut first = Vec::new();
        for url in urls {
            let known = self.tracker(url).map(|tracker| {
                tracker.retry_at = now;
                tracker.failures = 0;
            });
            let count = self.tiers.iter().flatten().count() + first.len();
            let is_new = known.is_none() && count < TRACKERS_MAX;
            let is_twice = first.iter().any(|one: &Tracker| one.url == *url);
            if is_new && !is_twice && TrackerUrl::parse(url).is_ok() {
                first.push(Tracker::new(url));
            }
        }
        if !first.is_empty() {
            self.tiers.insert(0, first);
        }
        self.due = now;
    }

    /// The last piece was verified, and it was downloaded by us: tell a tracker, once.
    pub fn completed(&mut self, now: Instant) {
        self.completed = true;
        self.due = now;
    }

    /// More peers are wanted: announce early, as early as the tracker's shortest interval allows.
    pub fn hurry(&mut self, now: Instant) {
        let allowed = self.last.map_or(now, |(at, wait)| at.after(wait));
        self.due = self.due.min(allowed.max(now));
    }

    /// The torrent stops: every tracker that knows us is to hear it once.
    pub fn stop(&mut self, now: Instant) {
        if let AnnouncePhase::Asking(announce) = &self.phase
            && announce.event == AnnounceEvent::Started
        {
            // It may have heard us even if its answer never comes.
            let url = announce.url.clone();
            if let Some(tracker) = self.tracker(&url) {
                tracker.started = true;
            }
        }
        self.phase = AnnouncePhase::Stopping;
        self.due = now;
        self.completed = false;
        self.last = None;
    }

    /// The announce that is due, if any; each is to be answered through [`Self::answered`]. While
    /// stopping there may be several at once, and their answers do not matter.
    pub fn poll(&mut self, now: Instant) -> Option<Announce> {
        match self.phase {
            AnnouncePhase::Idle | AnnouncePhase::Asking(_) => None,
            AnnouncePhase::Stopping => self.next_stop(),
            AnnouncePhase::Waiting if now < self.due => None,
            AnnouncePhase::Waiting => self.next_announce(now),
        }
    }

    /// A tracker answered or did not.
    pub fn answered(
        &mut self,
        url: &str,
        result: Result<&AnnounceReply, &AnnounceError>,
        now: Instant,
    ) {
        let event = match &self.phase {
            AnnouncePhase::Asking(announce) if announce.url == url => announce.event,
            // An announce from before a stop.
            _ => return,
        };
        self.phase = AnnouncePhase::Waiting;
        match result {
            Ok(reply) => self.succeeded(url, event, reply, now),
            Err(error) => self.failed(url, error, now),
        }
    }

    /// When [`Self::poll`] has something to say; `None` while an answer is awaited, when idle, and
    /// without trackers.
    pub fn next_timeout(&self) -> Option<Instant> {
        match self.phase {
            AnnouncePhase::Idle | AnnouncePhase::Asking(_) => None,
            AnnouncePhase::Stopping => Some(self.due),
            AnnouncePhase::Waiting => (!self.tiers.is_empty()).then_some(self.due),
        }
    }

    /// What each tracker said last, in the order in which they are asked, and then those that
    /// cannot be asked.
    pub fn views(&self) -> Vec<TrackerView> {
        let next = self
            .next_timeout()
            .filter(|_| self.phase == AnnouncePhase::Waiting);
        let trackers = self.tiers.iter().flatten();
        let views = trackers.map(|tracker| TrackerView {
            url: tracker.url.clone(),
            status: match &self.phase {
                AnnouncePhase::Asking(announce) if announce.url == tracker.url => {
                    "announcing".to_owned()
                }
                _ => tracker.status.clone(),
            },
            next_announce: next.map(|due| due.max(tracker.retry_at)),
        });
        let unusable = self.unusable.iter().map(|(url, error)| TrackerView {
            url: url.clone(),
            status: format!("never asked: {error}"),
            next_announce: None,
        });
        views.chain(unusable).collect()
    }

    /// Asserts what always holds of the tiers.
    pub fn check_invariants(&self) {
        let count = self.tiers.iter().flatten().count();
        assert!(count <= TRACKERS_MAX, "trackers are bounded");
        for tier in &self.tiers {
            assert!(!tier.is_empty(), "a tier has a tracker");
        }
        let urls: BTreeSet<&str> = self.tiers.iter().flatten().map(|one| &*one.url).collect();
        assert_eq!(urls.len(), count, "a tracker is asked in one place");
        if let AnnouncePhase::Asking(announce) = &self.phase {
            assert!(urls.contains(&*announce.url), "who is asked is one of ours");
        }
    }

    /// The first tracker in order that is not backing off.
    fn next_announce(&mut self, now: Instant) -> Option<Announce> {
        let mut trackers = self.tiers.iter().flatten();
        let Some(tracker) = trackers.find(|tracker| tracker.retry_at <= now) else {
            let trackers = self.tiers.iter().flatten();
            self.due = trackers.map(|tracker| tracker.retry_at).min()?;
            return None;
        };
        let event = if !tracker.started {
            AnnounceEvent::Started
        } else if self.completed {
            AnnounceEvent::Completed
        } else {
            AnnounceEvent::Interval
        };
        assert!(
            tracker.started || event == AnnounceEvent::Started,
            "a tracker hears of a start first"
        );
        assert_eq!(
            self.phase,
            AnnouncePhase::Waiting,
            "one tracker is asked at a time"
        );
        let url = tracker.url.clone();
        let announce = Announce { url, event };
        self.phase = AnnouncePhase::Asking(announce.clone());
        Some(announce)
    }

    fn next_stop(&mut self) -> Option<Announce> {
        let mut trackers = self.tiers.iter_mut().flatten();
        let Some(tracker) = trackers.find(|tracker| tracker.started) else {
            self.phase = AnnouncePhase::Idle;
            return None;
        };
        tracker.started = false;
        "stopped".clone_into(&mut tracker.status);
        Some(Announce {
            url: tracker.url.clone(),
            event: AnnounceEvent::Stopped,
        })
    }

    fn succeeded(&mut self, url: &str, event: AnnounceEvent, reply: &AnnounceReply, now: Instant) {
        if let Some(tracker) = self.tracker(url) {
            tracker.started = true;
            tracker.failures = 0;
            tracker.retry_at = now;
            tracker.status = status(reply);
        }
        self.promote(url);
        if event == AnnounceEvent::Completed {
            self.completed = false;
        }
        let least = reply.interval_min.unwrap_or(Duration::ZERO);
        self.last = Some((now, reply.interval_min.unwrap_or(HURRY_INTERVAL)));
        // A completion that this tracker could not hear before `started` follows at once.
        self.due = if self.completed {
            now
        } else {
            now.after(reply.interval.max(least))
        };
    }

    fn failed(&mut self, url: &str, error: &AnnounceError, now: Instant) {
        if let Some(tracker) = self.tracker(url) {
            let doubled = RETRY_FIRST.times(1 << tracker.failures.min(16));
            tracker.retry_at = now.after(doubled.min(RETRY_LONGEST));
            tracker.failures = tracker.failures.saturating_add(1);
            tracker.status = match tracker.failures {
                1 => error.to_string(),
                count => format!("{error} ({count} times in a row)"),
            };
        }
        // The next one, or the first to come out of its back-off.
        self.due = now;
        let trackers = self.tiers.iter().flatten();
        if let Some(first) = trackers.map(|tracker| tracker.retry_at).min() {
            self.due = first.max(now);
        }
    }

    fn promote(&mut self, url: &str) {
        for tier in &mut self.tiers {
            if let Some(at) = tier.iter().position(|tracker| tracker.url == url) {
                tier[..=at].rotate_right(1);
            }
        }
    }

    fn tracker(&mut self, url: &str) -> Option<&mut Tracker> {
        let mut trackers = self.tiers.iter_mut().flatten();
        trackers.find(|tracker| tracker.url == url)
    }
}

impl Tracker {
    fn new(url: &str) -> Self {
        Self {
            url: url.to_owned(),
            started: false,
            failures: 0,
            retry_at: Instant::ZERO,
            status: "not asked".to_owned(),
        }
    }
}

fn status(reply: &AnnounceReply) -> String {
    let mut parts = vec![format!("{} peers", reply.peers.len())];
    parts.extend(reply.seeds.map(|count| format!("{count} seeds")));
    parts.extend(reply.leechers.map(|count| format!("{count} leechers")));
    let status = parts.join(", ");
    match &reply.warning {
        Some(warning) => format!("{status}; warning: {warning}"),
        None => status,
    }
}

#[cfg(test)]
mod tests;
