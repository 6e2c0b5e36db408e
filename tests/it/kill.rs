//! `kill -9` of each of the three processes, while data is being paid for and while it is settled:
//! no entry that was acknowledged is lost, and no credit is lost or doubled.
//!
//! Twenty kills in every run of the tests. Two hundred: `cargo test --release --workspace --test it
//! -- --ignored --nocapture kill::`, two minutes.

use std::time::Duration;

use anyhow::{Result, ensure};
use seedbank_tests::client::{Client, await_complete};
use seedbank_tests::community::entries;
use seedbank_tests::content::Plan;
use seedbank_tests::daemon::Daemon;
use seedbank_tests::namespace::run;
use seedbank_tests::net::Net;
use seedbank_tests::poll::poll;

use crate::paid::{self, GRANTED, Three};

const SCENARIO_MAX: Duration = Duration::from_secs(180);
const LONG_MAX: Duration = Duration::from_secs(900);

/// Bytes of the torrent during which two hundred processes are killed.
const LONG_TOTAL: u64 = 240 << 20;

#[derive(Clone, Copy, Debug)]
enum Victim {
    Payer,
    Seeder,
    Settlement,
}

impl Victim {
    fn of(self, three: &mut Three) -> &mut Daemon {
        match self {
            Self::Payer => &mut three.payer,
            Self::Seeder => &mut three.seeder,
            Self::Settlement => &mut three.settlement,
        }
    }
}

/// Who is killed when, in per mille of the torrent that the payer has; the last of them once it is
/// complete.
struct Kills {
    plan: Plan,
    moments: Vec<(u64, Victim)>,
    last: Victim,
    /// What is paid for is at least one in so many bytes: a payer that just started is unchoked for
    /// nothing until its lock is known.
    paid_one_in: u64,
}

impl Kills {
    fn of_one(victim: Victim) -> Self {
        Self {
            plan: paid::plan(),
            moments: vec![(250, victim), (600, victim)],
            last: victim,
            paid_one_in: 4,
        }
    }

    /// `count` in all, spread over the torrent, of whoever a fixed draw names.
    fn of_anybody(plan: Plan, count: u64) -> Self {
        let mut draw = 8_u64;
        let mut victim = || {
            // Knuth's linear congruential generator, MMIX.
            draw = draw.wrapping_mul(6_364_136_223_846_793_005);
            draw = draw.wrapping_add(1_442_695_040_888_963_407);
            match (draw >> 33) % 3 {
                0 => Victim::Payer,
                1 => Victim::Seeder,
                _ => Victim::Settlement,
            }
        };
        Self {
            plan,
            moments: (1..count).map(|n| (n * 900 / count, victim())).collect(),
            last: victim(),
            paid_one_in: 10,
        }
    }
}

fn survives(net: &Net, kills: Kills) -> Result<()> {
    let mut three = Three::start(net)?;
    let granted = three.grant("welcome", "10")?;
    let torrent = net.torrent(kills.plan)?;
    let cost = paid::cost(torrent.content.plan.total());
    let folder = three.begin(net, &torrent)?;
    for (moment, victim) in kills.moments {
        poll(paid::TRANSFER_MAX, "the moment to kill", || {
            let progress = three.payer.progress()?;
            ensure!(!progress.complete, "complete before {moment} ‰");
            Ok((progress.have * 1000 >= progress.total * moment).then_some(()))
        })?;
        println!("{moment} ‰: kill -9 of the {victim:?}");
        kill(victim.of(&mut three))?;
    }
    let took = await_complete(&mut [&mut three.payer], paid::TRANSFER_MAX)?;
    println!(
        "complete {:.1} s after the last kill",
        took[0].as_secs_f64()
    );
    // Locks are being claimed and closed by now.
    kill(kills.last.of(&mut three))?;
    three.payer.verify(&torrent, &folder)?;
    ensure!(
        three.grant("welcome", "10")? == granted,
        "the grant was forgotten"
    );
    no_conflicts(&three.payer)?;
    no_conflicts(&three.seeder)?;
    let books = three.settle_up()?;
    println!("{books:?}, of {cost} that it costs");
    ensure!(books.granted == GRANTED, "{books:?}");
    ensure!(
        books.spent > cost / kills.paid_one_in,
        "hardly anything was paid: {books:?}"
    );
    ensure!(books.spent <= cost, "more than it cost: {books:?}");
    Ok(())
}

/// Kills and restarts a node, whose entries are all there afterwards.
fn kill(node: &mut Daemon) -> Result<()> {
    let before = entries(node)?;
    node.kill()?;
    node.resume()?;
    let after = entries(node)?;
    ensure!(
        after.starts_with(&before),
        "{} lost entries: {before:?} became {after:?}",
        node.name()
    );
    Ok(())
}

/// A settlement node that lost an entry would contradict the certificates that members hold.
fn no_conflicts(node: &Daemon) -> Result<()> {
    let mut events = node.events()?;
    events.retain(|event| event["kind"] == "EVENT_KIND_CONFLICT");
    ensure!(events.is_empty(), "{}: {events:?}", node.name());
    Ok(())
}

#[test]
fn a_killed_payer_pays_every_byte_once() {
    run(SCENARIO_MAX, |net| {
        survives(net, Kills::of_one(Victim::Payer))
    });
}

#[test]
fn a_killed_seeder_is_paid_for_every_byte_once() {
    run(SCENARIO_MAX, |net| {
        survives(net, Kills::of_one(Victim::Seeder))
    });
}

#[test]
fn a_killed_settlement_node_keeps_every_entry_that_it_answered() {
    run(SCENARIO_MAX, |net| {
        survives(net, Kills::of_one(Victim::Settlement))
    });
}

#[test]
fn eleven_kills_of_anybody_lose_and_double_nothing() {
    run(SCENARIO_MAX, |net| {
        survives(net, Kills::of_anybody(paid::plan(), 11))
    });
}

#[test]
#[ignore = "two minutes; the short form runs always"]
fn two_hundred_kills_of_anybody_lose_and_double_nothing() {
    run(LONG_MAX, |net| {
        let plan = Plan::single("killed.bin", LONG_TOTAL, 256 << 10);
        survives(net, Kills::of_anybody(plan, 200))
    });
}
