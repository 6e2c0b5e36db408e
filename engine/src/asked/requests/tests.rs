//! Requests by example, and against a model that is one list.

use proptest::prelude::*;

use super::*;
use crate::units::{BLOCK_LEN, PieceIndex};

fn block(raw: u32) -> Block {
    Block {
        piece: PieceIndex::unchecked(raw),
        begin: 0,
        len: BLOCK_LEN,
    }
}

/// Blocks `0..count`, each tagged with its place.
fn asked(count: u32) -> Requests<u32> {
    let mut requests = Requests::default();
    for raw in 0..count {
        assert_eq!(requests.ask(block(raw), raw), None);
    }
    requests
}

fn numbered(count: u32) -> Vec<(Block, u32)> {
    (0..count).map(|raw| (block(raw), raw)).collect()
}

const WITHDRAWN: u32 = 1_024;
const WAITING: u32 = 2_048;

#[test]
fn each_request_is_answered_once_also_when_withdrawn() {
    let mut requests = asked(3);
    assert_eq!(requests.withdraw(&block(1)), None);
    assert_eq!((requests.waiting_count(), requests.count()), (2, 3));
    assert_eq!(requests.answered(&block(1)), Some(1));
    assert_eq!(requests.answered(&block(1)), None);
    assert_eq!(requests.answered(&block(2)), Some(2));
    assert_eq!(requests.answered(&block(9)), None);
    assert_eq!(requests.first(), Some(block(0)));
    assert_eq!(requests.drain().collect::<Vec<_>>(), [(block(0), 0)]);
    assert_eq!(requests.count(), 0);
}

#[test]
fn several_requests_for_one_block_match_in_order_and_free_the_room_first() {
    let mut requests = Requests::default();
    for tag in 1..=4 {
        assert_eq!(requests.ask(block(0), tag), None);
        if tag <= 2 {
            assert_eq!(requests.withdraw(&block(0)), None);
        }
    }
    let mut left = Vec::new();
    for tag in 1..=4 {
        assert_eq!(requests.answered(&block(0)), Some(tag));
        left.push((requests.waiting_count(), requests.count()));
    }
    assert_eq!(left, [(1, 3), (0, 2), (0, 1), (0, 0)]);
}

#[test]
fn a_reject_answers_and_a_choke_withdraws_only_without_bep_6() {
    let mut requests = asked(3);
    let over = requests.heard(&Message::Reject(block(1)), true);
    assert_eq!(over, [(block(1), 1)]);
    assert_eq!(requests.heard(&Message::Reject(block(1)), true), []);
    assert_eq!(requests.heard(&Message::Choke, true), []);
    assert_eq!(requests.waiting_count(), 2);
    assert_eq!(requests.heard(&Message::Choke, false), []);
    assert_eq!((requests.waiting_count(), requests.count()), (0, 2));
    assert_eq!(requests.heard(&Message::Unchoke, false), []);
    // It may have crossed the choke.
    assert_eq!(requests.answered(&block(2)), Some(2));
}

#[test]
fn what_is_forgotten_is_handed_to_the_caller() {
    let mut requests = asked(WITHDRAWN + 2);
    assert_eq!(requests.withdraw_all(), numbered(2));
    assert_eq!(requests.answered(&block(1)), None);
    assert_eq!(requests.ask(block(7_000), 7_000), None);
    assert_eq!(requests.withdraw(&block(7_000)), Some((block(2), 2)));
    requests.check_invariants();
}

#[test]
fn a_data_plane_that_is_never_told_keeps_no_more_than_the_bounds() {
    let mut requests = asked(WAITING);
    let mut forgotten = Vec::new();
    for raw in WAITING..WAITING + WITHDRAWN + 3 {
        forgotten.extend(requests.ask(block(raw), raw));
    }
    assert_eq!(forgotten, numbered(3));
    requests.check_invariants();
    assert_eq!(requests.count(), WAITING_MAX + WITHDRAWN_MAX);
    assert_eq!(requests.answered(&block(3)), Some(3));
}

/// One list in the order of the requests, each with its turn of withdrawal.
#[derive(Default)]
struct Model {
    list: Vec<Entry>,
    turns: usize,
}

struct Entry {
    block: Block,
    tag: u32,
    withdrawn: Option<usize>,
}

impl Model {
    fn answered(&mut self, block: &Block) -> Option<u32> {
        let of = |entry: &Entry| entry.block == *block;
        let tag = self.list.iter().find(|entry| of(entry))?.tag;
        // The wait that ends is one that lasts, if there is one; tags move up in order.
        let waited = self.withdraw(block);
        let place = self.list.iter().position(of)?;
        let gone = self.list.remove(place);
        assert!(waited || gone.withdrawn.is_some());
        Some(tag)
    }

    fn withdraw(&mut self, block: &Block) -> bool {
        let mut waiting = self.list.iter_mut().filter(|one| one.withdrawn.is_none());
        let oldest = waiting.find(|entry| entry.block == *block);
        self.turns += 1;
        oldest
            .map(|entry| entry.withdrawn = Some(self.turns))
            .is_some()
    }

    fn withdraw_all(&mut self) {
        while let Some(entry) = self.list.iter().find(|one| one.withdrawn.is_none()) {
            let block = entry.block;
            self.withdraw(&block);
        }
    }

    /// Blocks and tags, waited for and withdrawn, as [`Requests`] lists them.
    fn lists(&self) -> [Vec<(Block, u32)>; 2] {
        let of = |entry: &&Entry| (entry.block, entry.tag);
        let waiting = self.list.iter().filter(|one| one.withdrawn.is_none());
        let mut withdrawn: Vec<&Entry> = self.list.iter().collect();
        withdrawn.retain(|entry| entry.withdrawn.is_some());
        withdrawn.sort_by_key(|entry| entry.withdrawn);
        [
            waiting.map(|entry| of(&entry)).collect(),
            withdrawn.iter().map(of).collect(),
        ]
    }

    /// Drops the longest withdrawn past the bound; returns them in that order.
    fn forget(&mut self) -> Vec<(Block, u32)> {
        let [_, withdrawn] = self.lists();
        let excess = withdrawn.len().saturating_sub(WITHDRAWN_MAX);
        let forgotten = withdrawn[..excess].to_vec();
        self.list
            .retain(|entry| !forgotten.contains(&(entry.block, entry.tag)));
        forgotten
    }
}

#[derive(Clone, Debug)]
enum Step {
    /// So many requests for blocks from one on.
    Ask(u32, u32),
    Answer(u32),
    Cancel(u32),
    Choke(bool),
    Reject(u32),
}

fn step() -> impl Strategy<Value = Step> {
    prop_oneof![
        2 => (0..6_u32, 1..4_u32).prop_map(|(first, count)| Step::Ask(first, count)),
        1 => (0..900_u32, 1..600_u32).prop_map(|(first, count)| Step::Ask(first, count)),
        6 => (0..8_u32).prop_map(Step::Answer),
        2 => (0..8_u32).prop_map(Step::Cancel),
        2 => any::<bool>().prop_map(Step::Choke),
        2 => (0..8_u32).prop_map(Step::Reject),
    ]
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]

    #[test]
    fn it_behaves_as_one_list_would(steps in prop::collection::vec(step(), 1..60)) {
        let (mut requests, mut model) = (Requests::default(), Model::default());
        let mut tag = 0;
        for step in steps {
            match step {
                Step::Ask(first, count) => {
                    for raw in first..first + count {
                        if requests.waiting_count() == WAITING_MAX {
                            break;
                        }
                        tag += 1;
                        let entry = Entry { block: block(raw), tag, withdrawn: None };
                        model.list.push(entry);
                        prop_assert_eq!(requests.ask(block(raw), tag), None);
                    }
                }
                Step::Answer(raw) => {
                    let expected = model.answered(&block(raw));
                    prop_assert_eq!(requests.answered(&block(raw)), expected);
                }
                Step::Cancel(raw) => {
                    model.withdraw(&block(raw));
                    let forgotten: Vec<_> = requests.withdraw(&block(raw)).into_iter().collect();
                    prop_assert_eq!(forgotten, model.forget());
                }
                Step::Choke(fast) => {
                    if !fast {
                        model.withdraw_all();
                    }
                    prop_assert_eq!(requests.heard(&Message::Choke, fast), model.forget());
                }
                Step::Reject(raw) => {
                    let expected = model.answered(&block(raw)).map(|tag| (block(raw), tag));
                    let over = requests.heard(&Message::Reject(block(raw)), true);
                    prop_assert_eq!(over, Vec::from_iter(expected));
                }
            }
            requests.check_invariants();
            let [waiting, withdrawn] = model.lists();
            prop_assert_eq!(requests.waiting().copied().collect::<Vec<_>>(), waiting);
            prop_assert_eq!(requests.withdrawn().copied().collect::<Vec<_>>(), withdrawn);
        }
    }
}
