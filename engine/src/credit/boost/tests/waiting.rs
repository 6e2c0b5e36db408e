//! Every way in which a boost cannot work is said within five seconds, silence within 35, and its
//! end too; what a boost came to is said when it is final.

use super::*;

/// How soon a reason is told.
const TOLD_MAX: u64 = 5;
/// How soon silence is.
const SILENCE_TOLD_MAX: u64 = 35;

/// A way in which a boost cannot work.
struct Case {
    name: &'static str,
    max: u64,
    /// What is in the way from the start.
    set: fn(&mut Scene),
    waiting: WaitReason,
    told_max: u64,
    /// What is done about it.
    clear: fn(&mut Scene),
}

fn cases() -> Vec<Case> {
    let case = |name, set: fn(&mut Scene), waiting, clear: fn(&mut Scene)| Case {
        name,
        max: CREDIT,
        set,
        waiting,
        told_max: TOLD_MAX,
        clear,
    };
    let mut cases = cases_of_torrents_and_peers(&case);
    cases.extend(cases_of_locks(&case));
    cases.push(Case {
        told_max: SILENCE_TOLD_MAX,
        ..case(
            "all silent",
            |scene| {
                scene.seed(1);
                let row = scene.candidate(1);
                (row.choking_us, row.asked) = (false, true);
            },
            WaitReason::AllSilent { payees: 1 },
            |scene| {
                scene.seed(2);
                scene.serves(2, MIB);
            },
        )
    });
    cases
}

type MakeCase<'a> = &'a dyn Fn(&'static str, fn(&mut Scene), WaitReason, fn(&mut Scene)) -> Case;

#[expect(clippy::too_many_lines, reason = "a table")]
fn cases_of_torrents_and_peers(case: MakeCase<'_>) -> Vec<Case> {
    vec![
        case(
            "below the ask",
            |scene| {
                scene.seed(1);
                scene.candidate(1).rate_min = Rate::new(2 * PAR.get());
            },
            WaitReason::BelowAsk {
                ask: Rate::new(2 * PAR.get()),
                bid: PAR,
            },
            |scene| {
                scene.candidate(1).rate_min = PAR;
                scene.serves(1, MIB);
            },
        ),
        case(
            "piece longer than the window",
            |scene| {
                scene.seed(1);
                scene.torrents[0].piece_len = Some(Bytes::new(65 * MIB));
            },
            WaitReason::PieceTooLong {
                piece: Bytes::new(65 * MIB),
                max: Bytes::new(64 * MIB),
            },
            |scene| {
                scene.torrents[0].piece_len = Some(Bytes::new(64 * MIB));
                scene.serves(1, MIB);
            },
        ),
        case(
            "nobody has what is missing",
            |scene| {
                scene.seed(1);
                scene.candidate(1).has_missing = false;
            },
            WaitReason::NobodyHasMissing { payees: 1 },
            |scene| {
                scene.candidate(1).has_missing = true;
                scene.serves(1, MIB);
            },
        ),
        case(
            "nobody takes payment",
            |scene| scene.torrents[0].peer_count = 3,
            WaitReason::NobodyTakesPayment { peers: 3 },
            |scene| {
                scene.seed(1);
                scene.serves(1, MIB);
            },
        ),
        case(
            "nobody is connected",
            |scene| scene.torrents[0].peer_count = 0,
            WaitReason::NoPeers,
            |scene| {
                scene.torrents[0].peer_count = 1;
                scene.seed(1);
                scene.serves(1, MIB);
            },
        ),
        case(
            "all choke",
            |scene| scene.seed(1),
            WaitReason::AllChoke {
                payees: 1,
                bid: Rate::new(1_000),
                max: PAR,
            },
            |scene| scene.serves(1, MIB),
        ),
        case(
            "the torrent turned out to be private",
            |scene| scene.torrents[0].hides_key = true,
            WaitReason::TorrentPrivate,
            |scene| {
                scene.torrents[0].hides_key = false;
                scene.seed(1);
                scene.serves(1, MIB);
            },
        ),
        case(
            "stopped",
            |scene| {
                scene.seed(1);
                scene.torrents[0].active = false;
            },
            WaitReason::TorrentNotReady,
            |scene| {
                scene.torrents[0].active = true;
                scene.serves(1, MIB);
            },
        ),
    ]
}

#[expect(clippy::too_many_lines, reason = "a table")]
fn cases_of_locks(case: MakeCase<'_>) -> Vec<Case> {
    vec![
        Case {
            max: cost(1).get() - 1,
            ..case(
                "below the smallest lock",
                |scene| scene.seed(1),
                WaitReason::BelowSmallestLock {
                    smallest: cost(1),
                    free: cr(cost(1).get() - 1),
                },
                |scene| {
                    scene.candidate(1).piece_len = Bytes::new(MIB / 2);
                    scene.serves(1, MIB);
                },
            )
        },
        case(
            "no credit",
            |scene| {
                scene.seed(1);
                scene.purse.spendable = cr(5);
            },
            WaitReason::NoCredit {
                smallest: cost(1),
                available: cr(5),
            },
            |scene| {
                scene.purse.spendable = cr(CREDIT);
                scene.serves(1, MIB);
            },
        ),
        case(
            "the day's limit",
            |scene| {
                scene.seed(1);
                scene.policy.spend_per_day_max = Some(cr(7));
            },
            WaitReason::DayLimit {
                max: cr(7),
                left: cr(7),
            },
            |scene| {
                scene.policy.spend_per_day_max = None;
                scene.serves(1, MIB);
            },
        ),
        case(
            "the network's largest lock",
            |scene| {
                scene.seed(1);
                scene.purse.lock_max = cr(cost(1).get() - 1);
            },
            WaitReason::LocksTooSmall {
                smallest: cost(1),
                max: cr(cost(1).get() - 1),
            },
            |scene| {
                scene.purse.lock_max = cost(1);
                scene.serves(1, MIB);
            },
        ),
        case(
            "every lock is refused",
            |scene| {
                scene.seed(1);
                scene.refuses = true;
            },
            WaitReason::LockRefused,
            |scene| {
                scene.refuses = false;
                // The first is asked for again a minute after its refusal.
                scene.seed(2);
                scene.serves(2, MIB);
            },
        ),
        case(
            "the former lock is closing",
            |scene| {
                scene.seed(1);
                let expires_at = scene.time.plus_secs(3_600);
                scene.put_lock(LockId::new(1), node(1), cr(CREDIT), expires_at);
                scene.next_lock = 2;
                scene.nth(0).ending = Ending::Asked;
            },
            WaitReason::LockClosing,
            |scene| {
                scene.close(0);
                scene.serves(1, MIB);
            },
        ),
        case(
            "settlement unreachable",
            |scene| {
                scene.seed(1);
                (scene.purse.synced, scene.purse.ready) = (false, false);
                scene.purse.reachable = false;
            },
            WaitReason::SettlementUnreachable,
            |scene| {
                (scene.purse.synced, scene.purse.ready) = (true, true);
                scene.purse.reachable = true;
                scene.serves(1, MIB);
            },
        ),
        case(
            "clock off",
            |scene| {
                scene.seed(1);
                scene.purse.ready = false;
                scene.purse.clock_off_secs = Some(-900);
            },
            WaitReason::ClockOff { secs: -900 },
            |scene| {
                scene.purse.ready = true;
                scene.purse.clock_off_secs = None;
                scene.serves(1, MIB);
            },
        ),
        case(
            "spending off",
            |scene| {
                scene.seed(1);
                scene.policy.spend = false;
            },
            WaitReason::SpendingOff,
            |scene| {
                scene.policy.spend = true;
                scene.serves(1, MIB);
            },
        ),
        case(
            "the account opens no locks",
            |scene| {
                scene.seed(1);
                scene.purse.ready = false;
            },
            WaitReason::AccountClosed,
            |scene| {
                scene.purse.ready = true;
                scene.serves(1, MIB);
            },
        ),
        case(
            "served for nothing",
            |scene| {
                scene.seed(1);
                scene.serves(1, MIB);
                scene.candidate(1).seated = false;
            },
            WaitReason::NotSeated { payees: 1 },
            |scene| scene.serves(1, MIB),
        ),
    ]
}

fn waits(scene: &Scene) -> Vec<WaitReason> {
    let waits = scene.events.iter().filter_map(|event| match event {
        CreditEvent::BoostWaiting { boost: 1, waiting } => Some(*waiting),
        _ => None,
    });
    waits.collect()
}

fn works(scene: &Scene) -> usize {
    let works = CreditEvent::BoostWorking { boost: 1 };
    scene.events.iter().filter(|event| **event == works).count()
}

#[test]
fn every_way_in_which_a_boost_cannot_work_is_told_in_time_and_so_is_its_end() {
    for case in cases() {
        let name = case.name;
        let mut scene = Scene::new();
        let order = scene.order("a", case.max);
        assert_eq!(scene.create(&order), Ok(1), "{name}");
        (case.set)(&mut scene);
        scene.run(case.told_max);
        assert_eq!(scene.view(1).waiting, Some(case.waiting), "{name}");
        assert_eq!(waits(&scene), [case.waiting], "{name}: told once");
        assert_eq!(scene.view(1).state, BoostState::Active, "{name}");
        scene.run(60);
        let kind = std::mem::discriminant(&case.waiting);
        let same = |told: &WaitReason| std::mem::discriminant(told) == kind;
        assert!(waits(&scene).iter().all(same), "{name}: nothing else is");
        assert_eq!(works(&scene), 0, "{name}");
        (case.clear)(&mut scene);
        scene.run(TOLD_MAX + 3);
        assert_eq!(scene.view(1).waiting, None, "{name} is over");
        assert_eq!(works(&scene), 1, "{name} is over, and told to be");
        assert!(!scene.view(1).payees.is_empty(), "{name}: it pays");
    }
}

#[test]
fn what_is_said_agrees_with_its_figures() {
    let payees = 2;
    let piece = Bytes::new(64 * MIB + 1);
    let max = Bytes::new(64 * MIB);
    let bid = Rate::new(2 * PAR.get());
    for (waiting, text) in [
        (
            WaitReason::PieceTooLong { piece, max },
            "its pieces of 65 MiB are longer than the 64 MiB that can be paid for",
        ),
        (
            WaitReason::NobodyTakesPayment { peers: 1 },
            "the only connected peer takes no payment",
        ),
        (
            WaitReason::NobodyHasMissing { payees },
            "none of 2 payees has a piece that is missing here",
        ),
        (
            WaitReason::AllChoke {
                payees,
                bid,
                max: bid,
            },
            "none of 2 payees serves us at 2.000000 cr/GiB, the highest bid: \
             others bid more, or no place is free",
        ),
        (
            WaitReason::AllSilent { payees },
            "2 payees let us ask and send nothing: others are tried, \
             and these again after some minutes",
        ),
        (
            WaitReason::NotSeated { payees },
            "2 payees serve us for nothing and none gives us a paid place yet",
        ),
    ] {
        assert_eq!(waiting.to_string(), text);
    }
}

/// What the owner can do something about is said with the answer to the order.
#[test]
fn what_lasts_is_shown_by_the_first_plan() {
    let mut scene = Scene::new();
    scene.seed(1);
    let order = scene.order("a", 100);
    scene.create(&order).unwrap();
    scene.run(1);
    let waiting = scene.view(1).waiting;
    assert!(matches!(
        waiting,
        Some(WaitReason::BelowSmallestLock { .. })
    ));
    assert!(scene.events.is_empty(), "an event takes some seconds");
}

#[test]
fn a_boost_of_a_complete_or_private_torrent_is_refused() {
    let mut scene = Scene::new();
    let order = scene.order("a", CREDIT);
    scene.torrents[0].hides_key = true;
    let refused = Err(CreditError::TorrentPrivate(torrent(1)));
    assert_eq!(scene.create(&order), refused);
    scene.torrents[0].left = Some(Bytes::ZERO);
    let refused = Err(CreditError::TorrentComplete(torrent(1)));
    assert_eq!(scene.create(&order), refused);
    scene.torrents[0].left = Some(Bytes::new(1));
    scene.torrents[0].hides_key = false;
    assert_eq!(scene.create(&order), Ok(1));
    scene.torrents[0].left = Some(Bytes::ZERO);
    assert_eq!(scene.create(&order), Ok(1), "a repeat is answered");
}

/// What was sent as paid just before does not make a choke unsaid for 20 s.
#[test]
fn a_payee_that_chokes_us_is_told_of_in_time_whatever_it_quotes() {
    let mut scene = funded(CREDIT);
    scene.serves(1, MIB);
    scene.run(30);
    assert_eq!(scene.view(1).waiting, None);
    let row = scene.candidate(1);
    (row.choking_us, row.rate_to_us) = (true, Bytes::ZERO);
    assert!(row.seated, "it says so still");
    scene.run(TOLD_MAX);
    let told = waits(&scene);
    assert!(
        matches!(told[..], [WaitReason::AllChoke { .. }]),
        "{told:?}"
    );
}

#[test]
fn nothing_is_locked_for_pieces_that_no_window_holds() {
    let mut scene = Scene::new();
    scene.seed(1);
    scene.torrents[0].piece_len = Some(Bytes::new(65 * MIB));
    let order = scene.order("a", CREDIT);
    scene.create(&order).unwrap();
    scene.run(30);
    assert!(scene.locks.is_empty());
}

#[test]
fn an_ask_that_flips_every_second_fills_no_history() {
    let mut scene = Scene::new();
    scene.seed(1);
    let order = scene.order("a", CREDIT);
    scene.create(&order).unwrap();
    for secs in 0..3_600 {
        let high = secs % 8 < 4;
        scene.candidate(1).rate_min = Rate::new(if high { u64::MAX } else { 1 });
        scene.plan();
    }
    let told = waits(&scene).len() + works(&scene);
    assert!((2..=66).contains(&told), "{told} events in an hour");
}

#[test]
fn a_younger_boost_of_the_torrent_waits_for_the_older_one() {
    let mut scene = funded(100_000);
    let order = scene.order("b", 100_000);
    scene.create(&order).unwrap();
    scene.serves(1, MIB);
    scene.run(5);
    let first = WaitReason::AnotherFirst { boost: 1 };
    assert_eq!(scene.view(2).waiting, Some(first));
    assert_eq!(scene.view(1).waiting, None);
    scene.boosts.cancel(1).unwrap();
    scene.run(5);
    assert_eq!(scene.view(2).waiting, None);
}

#[test]
fn a_returning_customers_lock_covers_what_the_payee_requires() {
    for paid in [0, 1, 977, 100_000, CREDIT, 1_000 * CREDIT] {
        let mut scene = Scene::new();
        scene.seed(1);
        scene.candidate(1).paid = cr(paid);
        let candidates = scene.candidates.clone();
        let payee = payees_of(torrent(1), &candidates)[&node(1)];
        let least = least(PAR, &payee);
        for bid in [1, 1_000, PAR.get() / 2, PAR.get()] {
            let history = crate::credit::receipts::limits::history(cr(paid), Rate::new(bid));
            let window = Window::V1.of(Bytes::new(MIB), history);
            let required = Rate::new(bid).cost_ceil(window).unwrap();
            assert!(least >= required, "{paid} paid, at {bid}");
        }
        assert_eq!(paid == 0, least == cost(1), "a newcomer needs one piece");
    }
}

#[test]
fn a_quote_says_asks_the_smallest_lock_and_what_a_boost_would_wait_for() {
    let mut scene = Scene::new();
    let nobody = scene.quote(PAR);
    assert_eq!(
        nobody.waiting,
        Some(WaitReason::NobodyTakesPayment { peers: 1 })
    );
    assert_eq!((nobody.payee_count, nobody.ask_min), (0, Rate::ZERO));
    scene.seed(1);
    scene.seed(2);
    scene.candidate(1).rate_min = Rate::new(2 * PAR.get());
    scene.candidate(2).rate_min = Rate::new(3 * PAR.get());
    let low = scene.quote(PAR);
    let asks = (Rate::new(2 * PAR.get()), Rate::new(3 * PAR.get()));
    assert_eq!((low.ask_min, low.ask_max), asks);
    assert!(matches!(low.waiting, Some(WaitReason::BelowAsk { .. })));
    let bid = asks.0;
    let good = scene.quote(bid);
    assert_eq!(good.waiting, None);
    assert_eq!(good.lock_min, bid.cost_ceil(Bytes::new(MIB)).unwrap());
    assert_eq!(good.cost_max, bid.cost_ceil(Bytes::new(256 * MIB)).unwrap());
    scene.purse.spendable = cr(1);
    let poor = scene.quote(bid);
    assert!(matches!(poor.waiting, Some(WaitReason::NoCredit { .. })));
}

#[test]
fn the_final_sum_and_what_it_bought_are_told_when_the_last_lock_is_closed() {
    let mut scene = funded(CREDIT);
    scene.torrents[0].rate = Some(Bytes::new(MIB / 4));
    scene.serves(1, MIB);
    for _ in 0..10 {
        let received = scene.torrents[0].received;
        scene.torrents[0].received = received.saturating_add(Bytes::new(MIB));
        scene.run(1);
    }
    scene.sign(0, torrent(1), 5_000);
    scene.torrents[0].left = Some(Bytes::ZERO);
    scene.run(1);
    let ended = scene.events.iter().find_map(|event| match event {
        CreditEvent::BoostEnded {
            spent, is_final, ..
        } => Some((*spent, *is_final)),
        _ => None,
    });
    assert_eq!(ended, Some((cr(5_000), false)));
    // What was verified last is signed and paid for after the end.
    scene.sign(0, torrent(1), 91);
    scene.run(1);
    scene.close(0);
    scene.run(1);
    let settled = scene.events.iter().find_map(|event| match event {
        CreditEvent::BoostSettled {
            boost: 1,
            spent,
            report,
        } => Some((*spent, *report)),
        _ => None,
    });
    let (spent, report) = settled.expect("it is told");
    assert_eq!(spent, cr(5_091));
    // The scene counts a byte for each micro-credit.
    assert_eq!(report.paid, Bytes::new(5_091));
    assert_eq!(report.cost_per_gib(spent), Some(Rate::new(1 << 30)));
    assert_eq!(report.rate_before, Some(Bytes::new(MIB / 4)));
    assert_eq!(report.rate_boosted(), Some(Bytes::new(MIB)));
    scene.restart();
    assert_eq!(scene.view(1).report, report, "a restart forgets nothing");
}

#[test]
fn a_final_sum_is_what_was_claimed_whatever_was_signed() {
    let mut scene = funded(CREDIT);
    scene.sign(0, torrent(1), 5_000);
    scene.torrents[0].left = Some(Bytes::ZERO);
    scene.run(1);
    assert_eq!(scene.view(1).spent, cr(5_000));
    scene.close(0);
    scene.nth(0).status.claimed = cr(0);
    scene.run(1);
    let settled = scene.events.iter().find_map(|event| match event {
        CreditEvent::BoostSettled { spent, report, .. } => Some((*spent, *report)),
        _ => None,
    });
    let (spent, report) = settled.expect("it is told");
    assert_eq!(spent, cr(0));
    assert_eq!(report.cost_per_gib(spent), Some(Rate::ZERO));
    assert_eq!(scene.view(1).spent, cr(0));
}
