//! The promise where something changes while it is kept: a payer that takes little, an uplink that
//! narrows and widens, a payer that comes and goes, a stranger's flow beside the swarm.

use std::net::IpAddr;
use std::ops::RangeBounds;
use std::time::Duration;

use anyhow::{Context as _, Result, ensure};
use seedbank_tests::client::Client as _;
use seedbank_tests::content::Plan;
use seedbank_tests::link::LinkPlan;
use seedbank_tests::namespace::run_alone;

use super::foreign::Foreign;
use super::meter::{Meter, Rates};
use super::{Bed, Cell, LEECHER_BUFFER, SETTLED_MAX, Swarm};

const SEC: Duration = Duration::from_secs(1);
/// The paid class' part of an uplink that both classes want, DESIGN §5.
const PAID_SHARE: f64 = 0.7;

/// A swarm that downloads more than it is watched for.
struct Scene<'a> {
    bed: &'a Bed<'a>,
    cell: Cell,
    plan: Plan,
    /// The payer's way in, bits per second.
    way_in: Option<u64>,
    pays: bool,
}

impl Scene<'_> {
    /// Starts the swarm, hands it to `body`, and stops it.
    fn play<T>(
        &self,
        name: &str,
        body: impl FnOnce(&Swarm, &mut Meter<'_>) -> Result<T>,
    ) -> Result<T> {
        let Bed { net, community, .. } = self.bed;
        let torrent = net.torrent(self.plan.clone())?;
        let seeds = net.seed_folder(&format!("{name}-seed-files"), &torrent.content)?;
        let mut swarm = Swarm::start(net, self.cell, community, name)?;
        if let Some(rate) = self.way_in {
            // Room for a few packets of everybody: a modem with less would reset its connections.
            let buffer = 4 * LEECHER_BUFFER;
            swarm.payer_link.set_way_in(LinkPlan { rate, buffer })?;
        }
        if self.pays {
            self.bed.grant(&swarm.leechers[0])?;
        }
        swarm.seeder.seed(&torrent, &seeds)?;
        swarm.leech(net, &torrent)?;
        let payer = IpAddr::V4(swarm.payer_link.address);
        let mut meter = Meter::new(&swarm.seeder, &swarm.seeder_link, payer, torrent.hash_hex());
        if self.pays {
            swarm.boost(&torrent)?;
            meter.watch(SETTLED_MAX, "a byte to be paid for", |meter| {
                Ok(!meter.turns().is_empty())
            })?;
        } else {
            meter.watch(SETTLED_MAX, "a byte to be sent", |meter| {
                Ok(meter.anything())
            })?;
        }
        let told = body(&swarm, &mut meter)?;
        swarm.stop()?;
        Ok(told)
    }
}

/// Whether it is a number of that range; what nobody sent has no share.
fn is_within(value: f64, range: impl RangeBounds<f64>) -> bool {
    range.contains(&value)
}

/// More than is sent while anybody looks, in pieces of 1 MiB.
fn plenty(uplink: u64) -> Plan {
    match uplink {
        8 => plan("changes-48.bin", 48),
        32 => plan("changes-128.bin", 128),
        _ => plan("changes-384.bin", 384),
    }
}

/// `mib` of content in pieces of 1 MiB.
fn plan(name: &'static str, mib: u64) -> Plan {
    Plan::single(name, mib << 20, 1 << 20)
}

/// From 5 s after the first byte, over 20 s.
fn steady(meter: &mut Meter<'_>) -> Result<Rates> {
    let begin = meter.turns().first().copied().unwrap_or(meter.now());
    meter.watch_until(begin + 25 * SEC)?;
    meter.rates(begin + 5 * SEC, begin + 25 * SEC)
}

/// What the others keep of what they had less what a payer takes that has a tenth of `U`.
fn kept_beside_a_slow_payer(bed: &mut Bed<'_>, cell: Cell) -> Result<f64> {
    bed.rounds += 1;
    let round = bed.rounds;
    let scene = |pays| Scene {
        bed,
        cell,
        plan: cell.plan(),
        way_in: Some(cell.uplink * 100_000),
        pays,
    };
    let free = scene(false).play(&format!("slow-free-{round}"), |_, meter| steady(meter))?;
    let paid = scene(true).play(&format!("slow-paid-{round}"), |_, meter| steady(meter))?;
    let kept = paid.others / (free.sum() - paid.payer);
    println!(
        "| {} | {} | {:.0} | {:.0} | {:.0} | {kept:.3} |",
        cell.uplink,
        cell.buffer.as_millis(),
        free.sum() / 1e3,
        paid.payer / 1e3,
        paid.others / 1e3,
    );
    Ok(kept)
}

#[test]
#[ignore = "five minutes, make promise"]
fn a_slow_payer_holds_nobody_up() {
    run_alone(15 * 60 * SEC, |net| {
        println!("| U Mbit/s | buffer ms | unpaid kB/s | payer | others | kept |");
        let mut bed = Bed::new(net)?;
        let mut broken = Vec::new();
        for (uplink, buffer, kept_min) in [(8, 20, 0.90), (8, 200, 0.93), (100, 20, 0.93)] {
            let cell = Cell::new(uplink, buffer, false);
            let kept = kept_beside_a_slow_payer(&mut bed, cell)?;
            if !is_within(kept, kept_min..) {
                broken.push(format!("{uplink} / {buffer}: {kept:.3}"));
            }
        }
        ensure!(broken.is_empty(), "not kept: {broken:#?}");
        Ok(())
    });
}

/// The payer's part, second by second, of five seconds that begin 5 s after `change`.
fn shares_after(meter: &mut Meter<'_>, change: Duration) -> Result<Vec<f64>> {
    meter.watch_until(change + 10 * SEC)?;
    let share = |second: u32| {
        let start = change + (5 + second) * SEC;
        Ok(meter.rates(start, start + SEC)?.share())
    };
    (0..5).map(share).collect()
}

#[test]
#[ignore = "two minutes, make promise"]
fn an_uplink_that_halves_and_recovers_is_shared_as_before() {
    run_alone(10 * 60 * SEC, |net| {
        let bed = Bed::new(net)?;
        let mut broken = Vec::new();
        for (uplink, buffer) in [(8, 200), (32, 20), (100, 20)] {
            let cell = Cell::new(uplink, buffer, false);
            let scene = Scene {
                bed: &bed,
                cell,
                plan: plenty(uplink),
                way_in: None,
                pays: true,
            };
            let shares = scene.play(&format!("halved-{uplink}"), |swarm, meter| {
                let begin = meter.turns()[0];
                let way_out = cell.way_out();
                let half = LinkPlan {
                    rate: way_out.rate / 2,
                    ..way_out
                };
                let before = shares_after(meter, begin)?;
                swarm.seeder_link.set_way_out(half)?;
                let halved = shares_after(meter, meter.now())?;
                swarm.seeder_link.set_way_out(way_out)?;
                let again = shares_after(meter, meter.now())?;
                Ok([before, halved, again])
            })?;
            println!("{uplink} / {buffer}: {shares:.2?}");
            let off = |share: &&f64| !is_within(**share, PAID_SHARE - 0.05..=PAID_SHARE + 0.05);
            let [_, halved, again] = &shares;
            broken.extend(
                halved
                    .iter()
                    .chain(again)
                    .filter(off)
                    .map(|share| format!("{uplink} / {buffer}: {share:.2}")),
            );
        }
        ensure!(broken.is_empty(), "not .70 ± .05: {broken:#?}");
        Ok(())
    });
}

/// The payer's and the others' rates over the ideal split's, each cycle from its first paid byte to
/// its last request.
fn cycles(scene: &Scene<'_>, hash: &str, count: usize) -> Result<Vec<Rates>> {
    scene.play("cycles", |swarm, meter| {
        let payer = &swarm.leechers[0];
        for cycle in 0..count {
            if cycle > 0 {
                payer.cli(&["boost", "start", hash, "--max", "1"])?;
            }
            let boosts = payer.cli(&["boost", "list"])?;
            let boost = &boosts["boosts"][0]["boost_id"];
            let boost = boost.as_str().context("no boost")?.to_owned();
            let number = 2 * cycle + 1;
            meter.watch(SETTLED_MAX, "the payer's turn", |meter| {
                Ok(meter.turns().len() >= number)
            })?;
            let begin = meter.turns()[number - 1];
            meter.watch_until(begin + 10 * SEC)?;
            payer.cli(&["boost", "cancel", &boost])?;
            meter.watch_until(begin + 20 * SEC)?;
            ensure!(meter.turns().len() > number, "its bid is still in force");
        }
        let turn = |turn: &[Duration]| meter.rates(turn[0], turn[1]);
        meter.turns().chunks_exact(2).map(turn).collect()
    })
}

#[test]
#[ignore = "three minutes, make promise"]
fn a_payer_that_comes_and_goes_has_its_share_each_time() {
    run_alone(10 * 60 * SEC, |net| {
        let bed = Bed::new(net)?;
        let cell = Cell::new(32, 200, false);
        let plan = plan("changes-384.bin", 384);
        let scene = Scene {
            bed: &bed,
            cell,
            plan: plan.clone(),
            way_in: None,
            pays: true,
        };
        let hash = net.torrent(plan)?.hash_hex();
        let cycles = cycles(&scene, &hash, 6)?;
        let mut broken = Vec::new();
        for (number, rates) in cycles.iter().enumerate() {
            let payer = rates.share() / PAID_SHARE;
            let others = (1.0 - rates.share()) / (1.0 - PAID_SHARE);
            let sum = rates.sum() / 1e3;
            println!("cycle {number}: payer {payer:.2}, others {others:.2} of {sum:.0} kB/s");
            if !is_within(payer, 0.85..=1.15) || !is_within(others, 0.9..=1.1) {
                broken.push(number);
            }
        }
        ensure!(broken.is_empty(), "cycles {broken:?}");
        Ok(())
    });
}

/// What a stranger's flow gets per second beside the swarm over 40 s, in bytes, and the median and
/// the ninth tenth of what a datagram waits.
fn beside(scene: &Scene<'_>, name: &str) -> Result<(f64, [Duration; 2])> {
    scene.play(name, |swarm, meter| {
        let foreign = Foreign::start(&swarm.seeder_link)?;
        meter.watch_until(meter.now() + 5 * SEC)?;
        let (begin, before) = (meter.now(), foreign.received());
        meter.watch_until(begin + 40 * SEC)?;
        let secs = (meter.now() - begin).as_secs_f64();
        let rate = (foreign.received() - before) as f64 / secs;
        let waits = foreign.stop()?;
        ensure!(
            !scene.pays || meter.turns().len() == 1,
            "the payer has left: this is no swarm with a payer"
        );
        let at = |tenths: usize| waits.get(waits.len() * tenths / 10).copied();
        let wait = |tenths| at(tenths).context("no datagrams");
        Ok((rate, [wait(5)?, wait(9)?]))
    })
}

#[test]
#[ignore = "six minutes, make promise"]
fn a_strangers_flow_keeps_what_it_has_beside_the_swarm() {
    run_alone(15 * 60 * SEC, |net| {
        println!("| U Mbit/s | buffer ms | unpaid kB/s | its delay | paid kB/s | its delay |");
        let mut bed = Bed::new(net)?;
        let mut broken = Vec::new();
        for (uplink, buffer) in [(8, 20), (8, 200), (100, 20)] {
            let cell = Cell::new(uplink, buffer, false);
            bed.rounds += 1;
            let round = bed.rounds;
            let scene = |pays| Scene {
                bed: &bed,
                cell,
                plan: plenty(uplink),
                way_in: None,
                pays,
            };
            let free = beside(&scene(false), &format!("beside-free-{round}"))?;
            let paid = beside(&scene(true), &format!("beside-paid-{round}"))?;
            println!(
                "| {uplink} | {buffer} | {:.0} | {:.0?} | {:.0} | {:.0?} |",
                free.0 / 1e3,
                free.1,
                paid.0 / 1e3,
                paid.1
            );
            if !is_within(paid.0 / free.0, 0.9..) {
                broken.push(format!("{uplink} / {buffer}: {:.2}", paid.0 / free.0));
            }
        }
        ensure!(broken.is_empty(), "less than 0.9: {broken:#?}");
        Ok(())
    });
}
