//! Too little credit and too much of it (row 23; Rahman, Hales, Vinkó, Pouwelse and Sips, "No more
//! crash or crunch", 2010), and what new and old torrents earn (row 24; Kash, Lai, Zhang and Zohar,
//! "Economics of BitTorrent communities", WWW 2012).

use seedbank_engine::interface::command::Command;
use seedbank_ledger::{Duration, MicroCredits};

use super::row::ran;
use super::tyrants::counted;
use super::{RowForm, Tolerance, ValidationRow};
use crate::agent::{Agent, Scene};
use crate::play::{Play, PlayOutcome};
use crate::scenario::Scenario;
use crate::stats::{float, whole};
use crate::world::WorldCounts;

/// How often somebody looks whether it has enough.
const LOOK_EVERY: Duration = Duration::from_secs(10);
/// Micro-credits of which somebody has enough: what eight things cost.
const ENOUGH: MicroCredits = MicroCredits::new(200_000);
/// Credits granted to each, of which six things cost 0.047: too little, enough, too much.
const GRANTS: [&str; 3] = ["0.002cr", "0.05cr", "1cr"];

/// Serves while it has less credit than it thinks it needs (Kash, Friedman and Halpern, EC 2007).
#[derive(Debug)]
struct Satisficer;

impl Agent for Satisficer {
    fn tick_every(&self) -> Option<Duration> {
        Some(LOOK_EVERY)
    }

    fn tick(&mut self, scene: &mut Scene<'_>) {
        let wallet = scene.session.wallet();
        let has = wallet.available.saturating_add(wallet.claimable);
        let mut policy = scene.session.policy().clone();
        let limit = (has >= ENOUGH).then_some(1);
        if policy.upload_limit != limit {
            policy.upload_limit = limit;
            scene.command(Command::SetPolicy(policy));
        }
    }
}

/// Row 23: with too little credit nobody can buy, and with too much nobody sells.
pub(super) fn crunch_and_crash(form: RowForm) -> Vec<ValidationRow> {
    let (traders, until) = match form {
        RowForm::Short => (6, "10min"),
        RowForm::Full => (20, "30min"),
    };
    let mut counts = WorldCounts::default();
    let runs = GRANTS.map(|grant| {
        let text = trade(traders, until, grant);
        let scenario = Scenario::parse("validation", &text).expect("a sound scenario");
        let satisficer = |_: &_| -> Box<dyn Agent> { Box::new(Satisficer) };
        let play = Play::new(&scenario).cast("traders", satisficer);
        let (played, world) = play.run_to_world();
        counts.chokes += world.counts().chokes;
        counts.blocks_served += world.counts().blocks_served;
        counts.entries += world.counts().entries;
        let sum =
            |of: fn(&crate::play::PeerRow) -> u64| whole(played.peers.iter().map(of).sum::<u64>());
        let done = played.fetches.iter().filter(|fetch| fetch.done.is_some());
        [sum(|row| row.paid_received), float(done.count())]
    });
    let of_middle = |run: usize, what: usize| runs[run][what] / runs[1][what];
    let mut ran = ran(&counts);
    ran.push(("ledger entries", counts.entries));
    let row = |id, what| ValidationRow::production(id, what, ran.clone());
    vec![
        row(
            "23a",
            "trade with 1/25 and 20 times the credit, of that with enough",
        )
        .pair(0.0, of_middle(0, 0))
        .pair(0.0, of_middle(2, 0))
        .within(Tolerance::Absolute(0.5)),
        row("23b", "things fetched, the same")
            .pair(0.0, of_middle(0, 1))
            .pair(0.0, of_middle(2, 1))
            .within(Tolerance::Absolute(0.5))
            .explained(&[1.0, 0.033], SERVED_ANYHOW),
    ]
}

const SERVED_ANYHOW: &str = "too much credit ends everything, as published; too little ends trade \
    alone. Who cannot pay is served in the open class, and with all that nobody pays for: with a \
    fifth of the trade as many things are fetched. Ratio communities refuse who has no credit, \
    which nothing here does";

/// Everybody wants six things, of which one seller has all, and sells what it has.
fn trade(traders: u32, until: &str, grant: &str) -> String {
    let names: Vec<String> = (1..=6).map(|number| format!("t{number}")).collect();
    let torrents = names.iter().map(|name| {
        format!("[[torrent]]\nname = \"{name}\"\nlength = \"8MiB\"\npiece = \"256KiB\"\n")
    });
    let wanted = names
        .iter()
        .map(|name| format!("{{ torrent = \"{name}\" }}"));
    format!(
        "[run]\nduration = \"{until}\"\n[network]\ngrant = \"{grant}\"\n{}\
         [[population]]\nname = \"origin\"\ncount = 1\nhas = \"100%\"\n\
         holds = [\"t2\", \"t3\", \"t4\", \"t5\", \"t6\"]\nline = {{ uplink = \"60kB/s\" }}\n\
         [[population]]\nname = \"traders\"\ncount = {traders}\nfetches = 6\n\
         line = {{ uplink = \"60kB/s\", downlink = \"2MB/s\" }}\n\
         arrivals = {{ kind = \"flash\", within = \"1min\" }}\n\
         demand = [{}]\nboost = {{ budget = \"{grant}\", bid = \"2cr/GiB\" }}\n",
        torrents.collect::<String>(),
        wanted.collect::<Vec<String>>().join(", "),
    )
}

/// Row 24: where everybody asks the same, a new torrent earns its seeders more than an old one, and
/// less and less so.
pub(super) fn new_and_old(form: RowForm) -> Vec<ValidationRow> {
    let buyers = if form == RowForm::Short { 10 } else { 90 };
    let mut counts = WorldCounts::default();
    // Credits per seeder in the first part of the time, and in all of it.
    let [early, all] = ["15min", "60min"].map(|until| {
        let played = counted(&releases(buyers, until), &mut counts);
        ["new", "old"].map(|name| earned(&played, name))
    });
    let late = [all[0] - early[0], all[1] - early[1]];
    let mut ran = ran(&counts);
    ran.push(("ledger entries", counts.entries));
    let row = |id, what| ValidationRow::production(id, what, ran.clone());
    vec![
        row(
            "24a",
            "what a seeder of the new earns, of one of the old; first quarter of an hour",
        )
        .pair(3.0, early[0] / early[1])
        .within(Tolerance::AtLeast(100.0))
        .note(
            "free leech is not played: peers choose torrents by the scenario's weights, and \
                 not by price",
        ),
        row("24b", "the same later, of what it was")
            .pair(0.5, late[0] / late[1] / (early[0] / early[1]))
            .within(Tolerance::Absolute(0.5)),
    ]
}

fn earned(played: &PlayOutcome, population: &str) -> f64 {
    let rows = played
        .peers
        .iter()
        .filter(|row| row.population == population);
    let earned: Vec<u64> = rows.map(|row| row.earned).collect();
    whole(earned.iter().sum()) / float(earned.len())
}

/// Two have the new torrent, six the old one. Nine of ten want the new one at first, half of them
/// in the end.
fn releases(buyers: u32, until: &str) -> String {
    let seeders = |name: &str, count: u32| {
        format!(
            "[[population]]\nname = \"{name}\"\ntorrent = \"{name}\"\ncount = {count}\n\
             has = \"100%\"\nline = {{ uplink = \"250kB/s\" }}\n"
        )
    };
    format!(
        "[run]\nduration = \"{until}\"\n[network]\n\
         [[torrent]]\nname = \"new\"\nlength = \"16MiB\"\npiece = \"256KiB\"\n\
         [[torrent]]\nname = \"old\"\nlength = \"16MiB\"\npiece = \"256KiB\"\n{}{}\
         [[population]]\nname = \"buyers\"\ncount = {buyers}\n\
         line = {{ uplink = \"50kB/s\", downlink = \"2MB/s\" }}\n\
         arrivals = {{ kind = \"poisson\", every = \"30s\" }}\n\
         demand = [{{ torrent = \"new\", weight = 9, to = 1, by = \"30min\" }}, \
         {{ torrent = \"old\" }}]\nboost = {{ budget = \"1cr\" }}\n\
         seeding = {{ kind = \"for\", time = \"30s\" }}\n",
        seeders("new", 2),
        seeders("old", 6),
    )
}
