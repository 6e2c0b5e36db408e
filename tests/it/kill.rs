//! `kill -9` of each of the three processes in turn, twice while data is being paid for and once
//! while it is settled: no entry that was acknowledged is lost, and no credit is lost or doubled.

use std::time::Duration;

use anyhow::{Result, ensure};
use seedbank_tests::client::{Client, await_complete};
use seedbank_tests::community::entries;
use seedbank_tests::daemon::Daemon;
use seedbank_tests::namespace::run;
use seedbank_tests::net::Net;
use seedbank_tests::poll::poll;

use crate::paid::{self, GRANTED, Three};

const SCENARIO_MAX: Duration = Duration::from_secs(180);

/// Per mille of the torrent that the payer has when somebody is killed.
const MOMENTS: [u64; 2] = [250, 600];

#[derive(Clone, Copy)]
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

fn survives(net: &Net, victim: Victim) -> Result<()> {
    let mut three = Three::start(net)?;
    let granted = three.grant("welcome", "10")?;
    let torrent = net.torrent(paid::plan())?;
    let folder = three.begin(net, &torrent)?;
    for moment in MOMENTS {
        poll(paid::TRANSFER_MAX, "the moment to kill", || {
            let progress = three.payer.progress()?;
            ensure!(!progress.complete, "complete before {moment} ‰");
            Ok((progress.have * 1000 >= progress.total * moment).then_some(()))
        })?;
        kill(victim.of(&mut three))?;
    }
    let took = await_complete(&mut [&mut three.payer], paid::TRANSFER_MAX)?;
    println!(
        "complete {:.1} s after the last kill",
        took[0].as_secs_f64()
    );
    // Locks are being claimed and closed by now.
    kill(victim.of(&mut three))?;
    three.payer.verify(&torrent, &folder)?;
    ensure!(
        three.grant("welcome", "10")? == granted,
        "the grant was forgotten"
    );
    no_conflicts(&three.payer)?;
    no_conflicts(&three.seeder)?;
    let books = three.settle_up()?;
    println!("{books:?}");
    ensure!(books.granted == GRANTED, "{books:?}");
    ensure!(
        books.spent > paid::COST / 4,
        "hardly anything was paid: {books:?}"
    );
    ensure!(books.spent <= paid::COST, "more than it cost: {books:?}");
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
    run(SCENARIO_MAX, |net| survives(net, Victim::Payer));
}

#[test]
fn a_killed_seeder_is_paid_for_every_byte_once() {
    run(SCENARIO_MAX, |net| survives(net, Victim::Seeder));
}

#[test]
fn a_killed_settlement_node_keeps_every_entry_that_it_answered() {
    run(SCENARIO_MAX, |net| survives(net, Victim::Settlement));
}
