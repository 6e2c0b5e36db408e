//! How many announces are on their way at once: a few at each host, at many hosts, so that a
//! tracker that answers nobody holds up its own torrents only.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, PoisonError, Weak};

use reqwest::Url;
use tokio::sync::Semaphore;

/// Most announces at one host; the rest wait for that host alone.
const PER_HOST_MAX: usize = 8;
/// Most announces over all hosts.
const ANNOUNCES_MAX: usize = 512;

/// The hosts that announces are on their way to.
#[derive(Debug)]
pub(super) struct Hosts {
    /// One for each host that somebody waits for or asks.
    turns: Mutex<BTreeMap<String, Weak<Semaphore>>>,
    all: Semaphore,
}

impl Hosts {
    pub(super) fn new() -> Self {
        Self {
            turns: Mutex::default(),
            all: Semaphore::new(ANNOUNCES_MAX),
        }
    }

    /// Asks a tracker when its host has room for it.
    pub(super) async fn in_turn<T>(&self, tracker: &str, asking: impl Future<Output = T>) -> T {
        let turns = self.turns(tracker);
        let _turn = turns.acquire().await;
        let _one = self.all.acquire().await;
        asking.await
    }

    fn turns(&self, tracker: &str) -> Arc<Semaphore> {
        let mut turns = self.turns.lock().unwrap_or_else(PoisonError::into_inner);
        let host = host(tracker);
        if let Some(known) = turns.get(&host).and_then(Weak::upgrade) {
            return known;
        }
        turns.retain(|_, known| known.strong_count() > 0);
        let fresh = Arc::new(Semaphore::new(PER_HOST_MAX));
        turns.insert(host, Arc::downgrade(&fresh));
        fresh
    }
}

/// Host and port, however the URL writes them.
fn host(tracker: &str) -> String {
    let Ok(url) = Url::parse(tracker) else {
        return tracker.to_owned();
    };
    let port = url.port_or_known_default().unwrap_or_default();
    format!("{}:{port}", url.host_str().unwrap_or_default())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_host_is_one_however_it_is_written_and_forgotten_when_nobody_asks_it() {
        let hosts = Hosts::new();
        let first = hosts.turns("http://A.example/announce?1");
        let same = hosts.turns("HTTP://a.example:80/other");
        assert!(Arc::ptr_eq(&first, &same));
        let other = hosts.turns("https://a.example/announce");
        assert!(!Arc::ptr_eq(&first, &other));
        drop((first, same, other));
        let _last = hosts.turns("http://b.example/");
        assert_eq!(hosts.turns.lock().unwrap().len(), 1);
    }
}
