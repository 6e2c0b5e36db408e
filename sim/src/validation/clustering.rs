//! Who serves whom, by class of line (rows 19 and 20; Legout et al., SIGMETRICS 2007).

use std::collections::BTreeMap;

use seedbank_engine::interface::view::PeerView;

use super::choking::played;
use super::row::ran;
use super::{RowForm, Tolerance, ValidationRow};
use crate::play::PlayOutcome;
use crate::stats::{Estimate, float, whole};
use crate::world::{World, WorldCounts};

const CLASSES: [&str; 3] = ["slow", "middle", "fast"];
/// Uplink of the seed in kB/s, and seconds after which is looked who holds whose slots.
const GOOD_SEED: (u32, [u32; 3]) = (400, [200, 250, 300]);
/// Half of what a fast peer can send.
const WEAK_SEED: (u32, [u32; 3]) = (100, [300, 400, 500]);
/// What a slow peer can send.
const SLOW_SEED: (u32, [u32; 3]) = (20, [600, 750, 900]);
/// Half-widths of 95 % that leave 1 % below a mean, by Student's distribution of three degrees of
/// freedom: 4.541 of 3.182, and less of more.
const SURE: f64 = 1.43;
/// How far what comes about by chance may be from it.
const APART_MAX: f64 = 0.15;
/// Seconds over which is counted whom a seed serves: some 25 turns of each of its slots.
const SERVED: u32 = 1_500;

/// Slots of leechers that others hold who want something of theirs.
#[derive(Clone, Copy, Debug, Default)]
struct SlotCount {
    /// Of their own class.
    own: f64,
    /// The same, were they drawn from all who want something of that leecher.
    by_chance: f64,
}

/// Row 19: peers of one class find each other if the seed is fast, and not if it is weak.
pub(super) fn own_class(form: RowForm) -> Vec<ValidationRow> {
    let seeds = match form {
        RowForm::Short => 4,
        RowForm::Full => 12,
    };
    let mut counts = WorldCounts::default();
    let [good, weak, slow] = [GOOD_SEED, WEAK_SEED, SLOW_SEED].map(|(uplink, moments)| {
        let of_seed = |seed| {
            let mut held = SlotCount::default();
            for until in moments {
                let (played, world) = counted(&three_classes(uplink, until, seed), &mut counts);
                held.add(&played, &world);
            }
            held.preference()
        };
        let preferences: Vec<f64> = (1..=seeds).map(of_seed).collect();
        Estimate::of(&preferences).expect("there are seeds")
    });
    let row = |id, what| ValidationRow::production(id, what, ran(&counts));
    vec![
        row(
            "19a",
            "slots held by the own class, of those by chance: surely more (p < 0.01)",
        )
        .pair(1.0, good.mean - SURE * good.half_width)
        .within(Tolerance::AtLeast(3.0)),
        row(
            "19b",
            "the same behind a seed of half a fast peer's uplink: as by chance",
        )
        .pair(1.0, weak.mean)
        .within(Tolerance::Absolute(APART_MAX)),
        row("19c", "the same behind a seed of a slow peer's uplink")
            .pair(1.0, slow.mean)
            .within(Tolerance::Absolute(APART_MAX))
            .explained(&[1.36], WHY_SLOW),
    ]
}

const WHY_SLOW: &str = "a slow peer alone could pass on all that the seed sends: uplinks lie idle, \
    and 5 to 16 of 38 others want something of a leecher, not 36. It is no preference for who \
    gives: if what others give is not looked at, it is as much (1.30)";

impl SlotCount {
    fn add(&mut self, played: &PlayOutcome, world: &World) {
        // By leecher: interested of its class, interested, and both unchoked.
        let mut wishes: BTreeMap<usize, [f64; 4]> = BTreeMap::new();
        each_link(played, world, |from, to, peer| {
            let class = played.peers[from].population.as_str();
            if class != "seed" && peer.interested {
                let own = f64::from(u8::from(class == to));
                let held = f64::from(u8::from(peer.unchoked));
                let sums = wishes.entry(from).or_default();
                let more = [own, 1.0, own * held, held];
                sums.iter_mut()
                    .zip(more)
                    .for_each(|(sum, more)| *sum += more);
            }
        });
        for [own, all, own_held, held] in wishes.into_values() {
            let share = own / all;
            self.own += own_held;
            self.by_chance += held * share;
        }
    }

    /// How many of their own class, of those that there would be by chance.
    fn preference(&self) -> f64 {
        self.own / self.by_chance
    }
}

/// Row 20: a seed serves all classes alike.
pub(super) fn seed_service(form: RowForm) -> Vec<ValidationRow> {
    let mut counts = WorldCounts::default();
    let jains = (1..=seeds_of(form)).map(|seed| {
        let (played, world) = counted(&three_classes(GOOD_SEED.0, SERVED, seed), &mut counts);
        let mut served = CLASSES.map(|_| 0.0);
        each_link(&played, &world, |from, to, peer| {
            let class = CLASSES.iter().position(|class| *class == to);
            let is_seed = played.peers[from].population == "seed";
            if let Some(class) = class.filter(|_| is_seed) {
                served[class] += whole(peer.uploaded.get());
            }
        });
        let sum: f64 = served.iter().sum();
        let squares: f64 = served.iter().map(|part| part * part).sum();
        sum * sum / (float(served.len()) * squares)
    });
    let jains: Vec<f64> = jains.collect();
    let mean = jains.iter().sum::<f64>() / float(jains.len());
    vec![
        ValidationRow::production(
            "20",
            "Jain index of a seed's service to classes",
            ran(&counts),
        )
        .pair(0.95, mean)
        .within(Tolerance::AtLeast(1.06)),
    ]
}

const fn seeds_of(form: RowForm) -> u32 {
    match form {
        RowForm::Short => 2,
        RowForm::Full => 4,
    }
}

/// 20, 50 and 200 kB/s, 13 of each; nobody is done when it ends.
fn three_classes(seed_uplink: u32, until: u32, seed: u32) -> String {
    let class = |name: &str, uplink: u32| {
        format!(
            "[[population]]\nname = \"{name}\"\ncount = 13\nslots = 4\nreceipts = false\n\
             line = {{ uplink = \"{}kB/s\", downlink = \"2MB/s\" }}\nupload_limit = \"10%\"\n",
            uplink * 10
        )
    };
    format!(
        "[run]\nseed = {seed}\nduration = \"{until}s\"\n[overlay]\nkind = \"full\"\n\
         [[torrent]]\nlength = \"512MiB\"\npiece = \"256KiB\"\n\
         [[population]]\nname = \"seed\"\ncount = 1\nhas = \"100%\"\nslots = 4\n\
         receipts = false\nline = {{ uplink = \"{}kB/s\" }}\nupload_limit = \"10%\"\n{}{}{}",
        seed_uplink * 10,
        class("slow", 20),
        class("middle", 50),
        class("fast", 200),
    )
}

fn counted(text: &str, counts: &mut WorldCounts) -> (PlayOutcome, World) {
    let (played, world) = played(text);
    counts.chokes += world.counts().chokes;
    counts.blocks_served += world.counts().blocks_served;
    (played, world)
}

/// What each who is there says of each whom it knows: which it is, the other's class, and the
/// connection.
fn each_link(played: &PlayOutcome, world: &World, mut look: impl FnMut(usize, &str, &PeerView)) {
    // Nobody left, and all came in the order of the scenario.
    let name = |node: usize| played.peers[node].population.as_str();
    let places: BTreeMap<_, _> = world
        .nodes()
        .iter()
        .enumerate()
        .map(|(place, node)| (node.addr.ip(), place))
        .collect();
    for (from, node) in world.nodes().iter().enumerate() {
        for peer in node.session.iter().flat_map(|session| session.peers(None)) {
            if let Some(to) = places.get(&peer.addr.ip()) {
                look(from, name(*to), &peer);
            }
        }
    }
}
