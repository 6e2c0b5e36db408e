//! Who waits for lines of which account: a group wakes those whose account it touched.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Mutex, MutexGuard, PoisonError};

use seedbank_ledger::NodeId;
use tokio::sync::watch;

/// Those who wait, by account. Bounded by whoever lets them wait.
#[derive(Debug, Default)]
pub(super) struct Watchers(Mutex<Waiting>);

#[derive(Debug, Default)]
struct Waiting {
    accounts: BTreeMap<NodeId, watch::Sender<()>>,
    /// No line will follow.
    is_closed: bool,
}

impl Watchers {
    /// Changes with every group that has a line of `account`; ends when nothing more is entered.
    /// Forgets accounts for which nobody waits any more: O(accounts waited for).
    pub(super) fn watch(&self, account: NodeId) -> watch::Receiver<()> {
        let mut waiting = self.waiting();
        if waiting.is_closed {
            return watch::channel(()).1;
        }
        waiting
            .accounts
            .retain(|_, sender| sender.receiver_count() > 0);
        let sender = waiting.accounts.entry(account);
        sender.or_insert_with(|| watch::channel(()).0).subscribe()
    }

    /// Wakes those who wait for one of these accounts, and nobody else.
    pub(super) fn wake(&self, touched: &BTreeSet<NodeId>) {
        let waiting = self.waiting();
        for sender in touched.iter().filter_map(|one| waiting.accounts.get(one)) {
            sender.send_replace(());
        }
    }

    /// Ends every wait, now and later.
    pub(super) fn close(&self) {
        let mut waiting = self.waiting();
        waiting.is_closed = true;
        waiting.accounts.clear();
    }

    fn waiting(&self) -> MutexGuard<'_, Waiting> {
        // Nothing under this lock leaves it half done.
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn account(byte: u8) -> NodeId {
        NodeId::from_bytes([byte; 32])
    }

    #[test]
    fn l7_a_group_wakes_those_whose_account_it_touched_and_nobody_else() {
        let watchers = Watchers::default();
        let [first, again, other] = [1, 1, 2].map(|byte| watchers.watch(account(byte)));
        watchers.wake(&[account(1), account(3)].into());
        assert_eq!(
            [&first, &again, &other].map(|one| one.has_changed().unwrap()),
            [true, true, false]
        );
    }

    #[test]
    fn an_account_is_forgotten_when_nobody_waits_for_it() {
        let watchers = Watchers::default();
        for byte in 0..=255 {
            drop(watchers.watch(account(byte)));
        }
        assert_eq!(watchers.waiting().accounts.len(), 1);
    }

    #[test]
    fn who_waits_when_nothing_more_is_entered_waits_no_longer() {
        let watchers = Watchers::default();
        let before = watchers.watch(account(1));
        watchers.close();
        let after = watchers.watch(account(1));
        assert!(before.has_changed().is_err());
        assert!(after.has_changed().is_err());
    }
}
