//! Each strategy does what its name says, in a small swarm, and gains no more than
//! docs/RULES.md (what others can gain) and docs/SECURITY.md promise.

use std::sync::atomic::{AtomicI64, Ordering};
use std::sync::{Arc, Mutex};

use seedbank_engine::transfer::choker::{Candidate, Choke, PaidRule, RankRow, SlotPolicy};
use seedbank_engine::units::PeerIndex;

use super::*;
use crate::play::{PeerRow, Play, PlayOutcome};
use crate::scenario::Scenario;
use crate::twin::Fate;

#[path = "../../examples/half_hearted.rs"]
#[expect(dead_code, unreachable_pub, reason = "a program of its own")]
mod half_hearted;

const MIB: u64 = 1 << 20;
const FILE: u64 = 8 * MIB;
const PIECE: u64 = 128 << 10;
/// The window of a key that has paid for all of the file (P1): what is least, and a sixteenth.
const WINDOW_MAX: u64 = MIB + FILE / 16;
/// The same of a key that has paid nothing.
const WINDOW_NEW: u64 = PIECE;

/// Two payers and six others, one seeder with fewer paid seats than there are payers, and one who
/// is strategic.
fn swarm(strategy: &str) -> String {
    let line = "line = { uplink = \"100kB/s\", downlink = \"1MB/s\" }\nslots = 4\n";
    let boost = "boost = { budget = \"1cr\", bid = \"2cr/GiB\" }\n";
    let population = |name: &str, count: u32, more: &str| {
        format!("[[population]]\nname = \"{name}\"\ncount = {count}\n{line}{more}")
    };
    let seeder = "[[population]]\nname = \"seeder\"\ncount = 1\nhas = \"100%\"\nslots = 4\n\
                  line = { uplink = \"300kB/s\" }\n";
    [
        "[run]\nduration = \"20min\"\n[overlay]\nkind = \"full\"\n[network]\ngrant = \"2cr\"\n",
        "[[torrent]]\nlength = \"8MiB\"\npiece = \"128KiB\"\n",
        seeder,
        &population("strategic", 1, &format!("strategy = {strategy}\n{boost}")),
        &population("payers", 2, boost),
        &population("others", 6, ""),
    ]
    .concat()
}

fn without_boost(text: &str) -> String {
    text.replacen("boost = { budget = \"1cr\", bid = \"2cr/GiB\" }\n", "", 1)
}

fn scenario(text: &str) -> Scenario {
    Scenario::parse("test", text).unwrap()
}

fn played(text: &str) -> PlayOutcome {
    Play::new(&scenario(text)).run()
}

fn rows<'a>(played: &'a PlayOutcome, name: &str) -> Vec<&'a PeerRow> {
    let rows = played.peers.iter().filter(|row| row.population == name);
    rows.collect()
}

fn strategic(played: &PlayOutcome) -> &PeerRow {
    rows(played, "strategic")[0]
}

fn took(text: &str, played: &PlayOutcome, name: &str) -> f64 {
    Fate::of(&scenario(text), played, name).took.unwrap()
}

/// What was taken of the others and is not paid for.
fn unpaid(played: &PlayOutcome) -> Vec<u64> {
    let others = played
        .peers
        .iter()
        .filter(|row| row.population != "strategic");
    others.map(|row| row.unpaid).collect()
}

/// Who followed no strategy has all, and nobody has credit out of nothing.
fn check_others(played: &PlayOutcome) {
    let wants = |row: &&PeerRow| row.population != "seeder" && row.population != "strategic";
    for row in played.peers.iter().filter(wants) {
        assert!(row.done.is_some(), "{row:?}");
    }
    let sum = |of: fn(&PeerRow) -> u64| played.peers.iter().map(of).sum::<u64>();
    assert!(sum(|row| row.earned) <= sum(|row| row.spent));
}

/// An agent, if any, that is looked at every second; the highest number seen is kept.
#[derive(Debug)]
struct Watched {
    agent: Option<Box<dyn Agent>>,
    look: fn(&Scene<'_>) -> i64,
    most: Arc<AtomicI64>,
}

impl Agent for Watched {
    fn prepare(&self, config: &mut SessionConfig, policy: &mut Policy) {
        if let Some(agent) = &self.agent {
            agent.prepare(config, policy);
        }
    }

    fn ranker(&self) -> Option<Box<dyn Ranker>> {
        self.agent.as_ref()?.ranker()
    }

    fn input(&mut self, input: Input, scene: &mut Scene<'_>) -> Option<Input> {
        match &mut self.agent {
            Some(agent) => agent.input(input, scene),
            None => Some(input),
        }
    }

    fn output(&mut self, output: Output, scene: &mut Scene<'_>) -> Option<Output> {
        match &mut self.agent {
            Some(agent) => agent.output(output, scene),
            None => Some(output),
        }
    }

    fn tick_every(&self) -> Option<Duration> {
        let own = self.agent.as_ref().and_then(|agent| agent.tick_every());
        Some(own.unwrap_or(Duration::from_secs(1)))
    }

    fn tick(&mut self, scene: &mut Scene<'_>) {
        if let Some(agent) = &mut self.agent {
            agent.tick(scene);
        }
        self.most.fetch_max((self.look)(scene), Ordering::Relaxed);
    }
}

/// Plays with everybody of a population looked at: what came of it, and the highest number seen.
fn watching(text: &str, name: &str, look: fn(&Scene<'_>) -> i64) -> (PlayOutcome, i64) {
    let scenario = scenario(text);
    let plan = scenario.populations.iter().find(|plan| plan.name == name);
    let strategy = plan.unwrap().strategy;
    let most = Arc::new(AtomicI64::new(i64::MIN));
    let watch = |setup: &AgentSetup| -> Box<dyn Agent> {
        Box::new(Watched {
            agent: agent_of(&strategy, setup),
            look,
            most: Arc::clone(&most),
        })
    };
    let played = Play::new(&scenario).cast(name, watch).run();
    (played, most.load(Ordering::Relaxed))
}

fn signed(number: u64) -> i64 {
    i64::try_from(number).unwrap()
}

fn highest_bid(scene: &Scene<'_>) -> i64 {
    let peers = scene.session.peers(None);
    let bids = peers.iter().map(|peer| peer.bid.get());
    signed(bids.max().unwrap_or(0))
}

fn highest_exposure(scene: &Scene<'_>) -> i64 {
    let peers = scene.session.peers(None);
    let owed = peers.iter().map(|peer| peer.exposure.get());
    signed(owed.max().unwrap_or(0))
}

fn unchoked(scene: &Scene<'_>) -> i64 {
    let peers = scene.session.peers(None);
    i64::try_from(peers.iter().filter(|peer| peer.unchoked).count()).unwrap()
}

fn connections(scene: &Scene<'_>) -> i64 {
    i64::try_from(scene.session.peers(None).len()).unwrap()
}

#[test]
fn who_is_watched_and_honest_does_as_nobody_watched() {
    let text = swarm("\"honest\"");
    let (watched, _) = watching(&text, "strategic", connections);
    let plain = played(&text);
    assert_eq!(watched.peers, plain.peers);
    check_others(&plain);
    // What was on its way as they took it back at the end.
    assert!(unpaid(&plain).iter().sum::<u64>() <= 128 << 10);
    assert!(strategic(&plain).paid_received > 0, "it pays");
}

#[test]
fn another_strategy_moves_nobody_elses_draws_and_is_played_the_same_twice() {
    let [honest, sybil] = ["\"honest\"", "{ kind = \"sybil\", identities = 3 }"].map(|strategy| {
        let line = "line = { profile = \"piatek2006\" }\n";
        let flash = "arrivals = { kind = \"flash\", within = \"60s\" }\n";
        let text = swarm(strategy).replace("\"others\"\n", &format!("\"others\"\n{flash}"));
        let old = "line = { uplink = \"100kB/s\", downlink = \"1MB/s\" }\nslots = 4\n";
        let (head, tail) = text.rsplit_once(old).unwrap();
        played(&format!("{head}{line}{tail}"))
    });
    let draws = |played: &PlayOutcome| {
        let rows = rows(played, "others");
        let draws = rows.iter().map(|row| (row.joined, row.uplink));
        draws.collect::<Vec<_>>()
    };
    assert_eq!(draws(&honest), draws(&sybil));
    let text = swarm("{ kind = \"whitewasher\", patience = \"5s\" }");
    assert_eq!(played(&text).state_hash(), played(&text).state_hash());
}

#[test]
fn a_large_view_knows_more_peers_and_gives_nothing() {
    let text = |strategy: &str| {
        format!(
            "[run]\nduration = \"10min\"\n[[torrent]]\nlength = \"2MiB\"\npiece = \"64KiB\"\n\
             [[population]]\nname = \"seeder\"\ncount = 1\nhas = \"100%\"\n\
             line = {{ uplink = \"200kB/s\" }}\n\
             [[population]]\nname = \"others\"\ncount = 90\n\
             line = {{ uplink = \"50kB/s\" }}\n\
             [[population]]\nname = \"strategic\"\ncount = 1\nstrategy = {strategy}\n\
             line = {{ uplink = \"50kB/s\" }}\n\
             arrivals = {{ kind = \"at-once\", at = \"20s\" }}\n"
        )
    };
    let [honest, large] = ["\"honest\"", "{ kind = \"large-view\", every = \"2s\" }"]
        .map(|strategy| watching(&text(strategy), "strategic", connections));
    assert!(large.1 >= 85, "{} connections", large.1);
    assert!(large.1 > honest.1 + 15, "{} and {}", large.1, honest.1);
    assert_eq!(strategic(&large.0).uploaded, 0);
    check_others(&large.0);
}

#[test]
fn bittyrant_gives_to_the_cheapest_until_its_uplink_is_used_up() {
    let mut tyrant = BitTyrant::new(80_000);
    let row = |peer, received_rate| RankRow {
        candidate: Candidate {
            interested_since: Some(Instant::ZERO),
            received_rate,
            ..Candidate::new(PeerIndex(peer))
        },
        choke: Choke::Choked { since: None },
        group_turn: None,
    };
    let choose = |tyrant: &mut BitTyrant, rates: &[u64]| {
        let rows = (0..).zip(rates).map(|(peer, rate)| row(peer, *rate));
        let rows: Vec<RankRow> = rows.collect();
        let choices = tyrant.choose(&rows, &slots(40), Instant::ZERO);
        let pairs = choices.iter().map(|one| (one.peer.0, one.weight));
        pairs.collect::<Vec<(u64, u64)>>()
    };
    // Of nobody is anything known: eight get an eighth each.
    let first = choose(&mut tyrant, &[0; 10]);
    assert_eq!(first, (0..8).map(|peer| (peer, 10_000)).collect::<Vec<_>>());
    // The ninth gives most for what it costs; who gave nothing costs a fifth more.
    let rates = [0, 0, 0, 0, 0, 0, 0, 5_000, 50_000, 20_000];
    let second = choose(&mut tyrant, &rates);
    assert_eq!(second[..3], [(8, 10_000), (9, 10_000), (0, 12_000)]);
    let given: u64 = second.iter().map(|(_, weight)| weight).sum();
    assert!(given <= 80_000, "{second:?}");
    // After three rounds in which it gave back it gets a tenth less.
    let third = choose(&mut tyrant, &rates);
    assert_eq!(third[0], (8, 10_000));
    assert_eq!(choose(&mut tyrant, &rates)[0], (8, 10_000));
    assert_eq!(choose(&mut tyrant, &rates)[0], (8, 9_000));
}

#[test]
fn propshare_gives_in_proportion_and_a_fifth_to_one_of_whom_it_got_nothing() {
    let row = |peer, received_rate| RankRow {
        candidate: Candidate {
            interested_since: Some(Instant::ZERO),
            received_rate,
            ..Candidate::new(PeerIndex(peer))
        },
        choke: Choke::Choked { since: None },
        group_turn: None,
    };
    let rows = [row(1, 30_000), row(2, 10_000), row(3, 0), row(4, 0)];
    let mut share = PropShare::default();
    let choices = share.choose(&rows, &slots(40), Instant::ZERO);
    let pairs: Vec<(u64, u64)> = choices.iter().map(|one| (one.peer.0, one.weight)).collect();
    assert_eq!(pairs, [(3, 10_000), (1, 30_000), (2, 10_000)]);
}

#[test]
fn fairtorrent_serves_those_it_owes_most_by_what_has_moved() {
    let row = |peer, received_rate, sent_rate| RankRow {
        candidate: Candidate {
            interested_since: Some(Instant::ZERO),
            received_rate,
            sent_rate,
            ..Candidate::new(PeerIndex(peer))
        },
        choke: Choke::Choked { since: None },
        group_turn: None,
    };
    let at = |secs| Instant::ZERO.after(Duration::from_secs(secs));
    let mut fair = FairTorrent::default();
    let mut served = |rows: &[RankRow], secs| {
        let choices = fair.choose(rows, &slots(40), at(secs));
        let peers = choices.iter().map(|one| one.peer.0);
        peers.collect::<Vec<u64>>()
    };
    let nothing: Vec<RankRow> = (0..10).map(|peer| row(peer, 0, 0)).collect();
    assert_eq!(served(&nothing, 10), [0, 1, 2, 3, 4, 5, 6, 7]);
    // The first took and gave nothing, the last gave and took nothing.
    let mut moved = nothing.clone();
    moved[0] = row(0, 0, 5_000);
    moved[9] = row(9, 5_000, 0);
    assert_eq!(served(&moved, 20), [9, 1, 2, 3, 4, 5, 6, 7]);
    assert_eq!(served(&nothing, 30), [9, 1, 2, 3, 4, 5, 6, 7], "still so");
}

fn slots(slots: usize) -> SlotPolicy {
    SlotPolicy {
        slots,
        open_share_percent: 30,
        rule: PaidRule::TopK,
        rate_min: Rate::ZERO,
    }
}

#[test]
fn clients_that_rank_otherwise_are_done_and_harm_nobody() {
    let honest = without_boost(&swarm("\"honest\""));
    let twin = played(&honest);
    for kind in ["\"bittyrant\"", "\"propshare\"", "\"fairtorrent\""] {
        let text = without_boost(&swarm(kind));
        let (outcome, served) = watching(&text, "strategic", unchoked);
        check_others(&outcome);
        assert!(served > 5, "its rule says how many it serves: {served}");
        assert!(strategic(&outcome).done.is_some());
        assert!(strategic(&outcome).uploaded > 0);
        let [harmed, others] = [
            took(&text, &outcome, "others"),
            took(&honest, &twin, "others"),
        ];
        assert!(harmed <= 1.2 * others, "{kind}: {harmed} of {others}");
    }
}

#[test]
fn a_bid_flipper_is_seen_bidding_high_and_takes_two_windows_of_nobody() {
    let (honest, bid) = watching(&swarm("\"honest\""), "seeder", highest_bid);
    let text = swarm("{ kind = \"bid-flipper\", every = \"5s\", factor = 4 }");
    let (outcome, high) = watching(&text, "seeder", highest_bid);
    assert!(bid <= 2_000_000, "the boosts bid so much at most: {bid}");
    assert!(high >= 4_000_000, "{high}");
    check_others(&outcome);
    for taken in unpaid(&outcome) {
        assert!(taken <= 2 * WINDOW_MAX, "{taken}");
    }
    let payers = |played| {
        rows(played, "payers")
            .iter()
            .map(|row| row.took().unwrap())
            .sum::<f64>()
    };
    assert!(payers(&outcome) <= 1.5 * payers(&honest));
}

#[test]
fn a_dripper_pays_for_what_it_takes_and_is_late() {
    let honest = played(&swarm("\"honest\""));
    let text = swarm("{ kind = \"dripper\", rate = \"60kB/s\", every = \"10s\" }");
    let outcome = played(&text);
    check_others(&outcome);
    let (drips, twin) = (strategic(&outcome), strategic(&honest));
    assert!(drips.paid_received > 0 && drips.done.is_some(), "{drips:?}");
    assert!(drips.took() > twin.took(), "{drips:?} {twin:?}");
    // It is slow, and so no payer is later for it.
    let payers = |played| {
        rows(played, "payers")
            .iter()
            .map(|row| row.took().unwrap())
            .sum::<f64>()
    };
    assert!(payers(&outcome) <= 1.2 * payers(&honest));
    assert!(unpaid(&outcome).iter().all(|taken| *taken <= WINDOW_MAX));
}

#[test]
fn a_late_payer_owes_more_for_a_while_and_pays_in_the_end() {
    let (honest, owed) = watching(&swarm("\"honest\""), "seeder", highest_exposure);
    let text = swarm("{ kind = \"late-payer\", share = \"80%\" }");
    let (outcome, owed_late) = watching(&text, "seeder", highest_exposure);
    check_others(&outcome);
    assert!(owed_late <= signed(WINDOW_MAX), "{owed_late}");
    assert!(owed_late > owed, "{owed_late} {owed}");
    for taken in unpaid(&outcome) {
        assert!(taken <= 2 * WINDOW_MAX, "{taken}");
    }
    let (late, twin) = (strategic(&outcome), strategic(&honest));
    assert!(late.paid_received > 0, "{late:?}");
    assert!(
        late.took().unwrap() >= 0.9 * twin.took().unwrap(),
        "{late:?} {twin:?}"
    );
}

#[test]
fn a_whale_bids_all_it_may_at_once_and_the_open_share_stays_open() {
    let honest = swarm("\"honest\"");
    let twin = played(&honest);
    let text = swarm("\"whale\"").replacen("2cr/GiB", "50cr/GiB", 1);
    let (outcome, bid) = watching(&text, "seeder", highest_bid);
    assert_eq!(bid, 50_000_000);
    check_others(&outcome);
    let (whale, honest_one) = (strategic(&outcome), strategic(&twin));
    assert!(
        whale.spent > 5 * honest_one.spent,
        "{whale:?} {honest_one:?}"
    );
    let [others, before] = [
        took(&text, &outcome, "others"),
        took(&honest, &twin, "others"),
    ];
    assert!(others <= 1.25 * before, "{others} of {before}");
}

#[test]
fn a_plain_client_neither_pays_nor_is_paid_and_is_served() {
    let outcome = played(&without_boost(&swarm("\"plain-client\"")));
    check_others(&outcome);
    let plain = strategic(&outcome);
    assert_eq!([plain.granted, plain.spent, plain.earned], [0; 3]);
    assert!(plain.done.is_some());
}

/// The swarm with a second seeder, who is strategic.
fn two_seeders(strategy: &str) -> String {
    let text = without_boost(&swarm(strategy));
    text.replace(
        "\"strategic\"\ncount = 1\nline = { uplink = \"100kB/s\", downlink = \"1MB/s\" }\n",
        "\"strategic\"\ncount = 1\nhas = \"100%\"\nline = { uplink = \"300kB/s\" }\n",
    )
}

#[test]
fn a_stalled_payee_is_paid_for_what_it_sends_and_no_more() {
    let text = two_seeders("{ kind = \"stalled-payee\", every = \"5s\" }");
    let outcome = played(&text);
    check_others(&outcome);
    let stalled = strategic(&outcome);
    // A block for each of eight every five seconds.
    let secs = outcome.lasted.as_nanos() / 1_000_000_000;
    assert!(
        stalled.uploaded <= 8 * (16 << 10) * (1 + secs / 5),
        "{stalled:?}"
    );
    assert!(
        stalled.uploaded > 0 && stalled.paid_sent <= stalled.uploaded,
        "{stalled:?}"
    );
    // At twice par, which is the most that was bid.
    assert!(stalled.earned <= 2_000_000 * stalled.uploaded / (1 << 30) + 1);
}

#[test]
fn a_garbage_seeder_wastes_some_pieces_of_each_and_earns_nothing() {
    let outcome = played(&two_seeders("\"garbage-seeder\""));
    check_others(&outcome);
    let garbage = strategic(&outcome);
    assert!(garbage.uploaded > 0);
    assert_eq!(garbage.earned, 0);
    for row in rows(&outcome, "others")
        .iter()
        .chain(&rows(&outcome, "payers"))
    {
        assert!(row.wasted <= 16 * PIECE, "{row:?}");
    }
}

#[test]
fn identities_of_one_line_share_the_file_and_are_served_as_one() {
    let rider = without_boost(&swarm("\"free-rider\""));
    let one = took(&rider, &played(&rider), "strategic");
    let text = without_boost(&swarm("{ kind = \"sybil\", identities = 4 }"));
    let outcome = played(&text);
    check_others(&outcome);
    let identities = rows(&outcome, "strategic");
    assert_eq!(identities.len(), 4);
    assert!(
        identities
            .iter()
            .all(|row| row.done.is_some() && row.uploaded == 0)
    );
    let fetched: u64 = identities
        .iter()
        .map(|row| row.downloaded - row.wasted)
        .sum();
    assert_eq!(fetched, FILE, "each its part");
    let four = took(&text, &outcome, "strategic");
    assert!(four >= 0.8 * one, "{four} as four, {one} as one");
}

#[test]
fn a_whitewasher_has_a_newcomers_window_for_each_key() {
    let text = swarm("{ kind = \"whitewasher\", patience = \"5s\" }");
    let outcome = played(&text);
    check_others(&outcome);
    let washer = strategic(&outcome);
    assert!(washer.keys > 1, "{washer:?}");
    assert_eq!([washer.uploaded, washer.spent], [0; 2]);
    assert_eq!(washer.granted, 2_000_000, "credit is moved, not made");
    for taken in unpaid(&outcome) {
        assert!(taken <= 2 * WINDOW_NEW * washer.keys, "{taken} {washer:?}");
    }
}

/// Keys that the look below is about.
static RING: Mutex<Vec<NodeId>> = Mutex::new(Vec::new());

fn highest_standing_of_the_ring(scene: &Scene<'_>) -> i64 {
    let ring = RING.lock().unwrap();
    let peers = scene.session.peers(None);
    let of = peers
        .iter()
        .filter(|peer| peer.node_id.is_some_and(|key| ring.contains(&key)));
    of.map(|peer| peer.standing).max().unwrap_or(i64::MIN)
}

#[test]
fn praise_within_a_ring_is_no_standing_with_anybody_else() {
    let text = without_boost(&swarm("{ kind = \"colluding-ring\", every = \"1s\" }"));
    let text = text.replace("\"strategic\"\ncount = 1", "\"strategic\"\ncount = 3");
    let parsed = scenario(&text);
    let strategy = parsed.populations[1].strategy;
    let most = Arc::new(AtomicI64::new(i64::MIN));
    let member = |setup: &AgentSetup| {
        RING.lock().unwrap().extend(setup.fellows.iter());
        agent_of(&strategy, setup).unwrap()
    };
    let watch = |_: &AgentSetup| -> Box<dyn Agent> {
        Box::new(Watched {
            agent: None,
            look: highest_standing_of_the_ring,
            most: Arc::clone(&most),
        })
    };
    let play = Play::new(&parsed).cast("strategic", member);
    let outcome = play.cast("others", watch).run();
    check_others(&outcome);
    let most = most.load(Ordering::Relaxed);
    assert!(most <= 0 && most > i64::MIN, "of a member: {most}");
    let members = rows(&outcome, "strategic");
    assert!(members.iter().all(|row| row.done.is_some()));
    assert!(members.iter().any(|row| row.uploaded > 0), "to each other");
    let honest = without_boost(&swarm("\"honest\""));
    let honest = honest.replace("\"strategic\"\ncount = 1", "\"strategic\"\ncount = 3");
    let twin = took(&honest, &played(&honest), "strategic");
    let ring = took(&text, &outcome, "strategic");
    assert!(ring >= 0.9 * twin, "{ring} of {twin}");
}

#[test]
fn the_strategy_of_the_tutorial_gives_half_and_is_short() {
    let parsed = scenario(&without_boost(&swarm("\"honest\"")));
    let half = |_: &AgentSetup| -> Box<dyn Agent> { Box::new(half_hearted::HalfHearted) };
    let outcome = Play::new(&parsed).cast("strategic", half).run();
    let honest = Play::new(&parsed).run();
    let [given, twin] = [&outcome, &honest].map(|played| strategic(played).uploaded);
    assert!(given > 0 && given < twin, "{given} of {twin}");
    let code = include_str!("../../examples/half_hearted.rs");
    assert!(code.lines().count() <= 40, "{}", code.lines().count());
    let tutorial = include_str!("../../../docs/STRATEGIES.md");
    assert!(tutorial.contains(code), "the tutorial shows another code");
}
