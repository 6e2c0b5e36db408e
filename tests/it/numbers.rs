//! One truth for every number: what the nodes of a network print adds up to what its issuer
//! granted, at every moment, and says for which torrent and with whom. Only `--json` is read.

use std::time::Duration;

use anyhow::{Context, Result, ensure};
use seedbank_tests::client::{Client, await_complete};
use seedbank_tests::community::{Account, Service, account, entries, key_of, services, supply};
use seedbank_tests::daemon::{Daemon, number};
use seedbank_tests::namespace::run;
use seedbank_tests::poll::poll;
use seedbank_tests::torrent::Torrent;

use crate::paid::{self, GRANTED, Three};

const SCENARIO_MAX: Duration = Duration::from_secs(180);

/// Receipts under way are verified within a second, and lines told as soon.
const BALANCED_MAX: Duration = Duration::from_secs(15);

/// How far the payer is when it stops for a while: some of its lock is signed away, and not so much
/// that the seeder claims it.
const HALF_WAY_PERMILLE: u64 = 400;

/// A transfer that waits for a settlement node which does not answer.
const PENDING: u64 = 1_000_000;

/// One block, and what it costs: as much may be cleared and not attributed yet.
const BLOCK: u64 = 16 << 10;
const BLOCK_COST: u64 = paid::COST * BLOCK / paid::TOTAL;

/// What the three nodes print, once nothing is under way between them.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Printed {
    settlement: Account,
    seeder: Account,
    payer: Account,
}

impl Printed {
    fn read(three: &Three) -> Result<Self> {
        Ok(Self {
            settlement: account(&three.settlement)?,
            seeder: account(&three.seeder)?,
            payer: account(&three.payer)?,
        })
    }

    fn own(&self) -> u64 {
        self.settlement.own() + self.seeder.own() + self.payer.own()
    }

    /// Whether two readings are of one moment: no number changed between them, and no receipt is on
    /// its way, for what the payer signed away is what the seeder may claim.
    fn is_still(&self, again: &Self) -> bool {
        self == again && self.payer.signed == self.seeder.claimable
    }
}

/// Waits until nothing is under way, and demands that all wallets add up to the supply.
fn balanced(three: &Three, when: &str) -> Result<Printed> {
    let mut last = None;
    let printed = poll(BALANCED_MAX, "a moment with nothing under way", || {
        let one = Printed::read(three)?;
        let again = Printed::read(three)?;
        last = Some(again);
        Ok(one.is_still(&again).then_some(again))
    });
    let printed = printed.with_context(|| format!("{when}: {last:?}"))?;
    let supply = supply(&three.settlement)?;
    println!("{when}: supply {supply}, {printed:?}");
    ensure!(
        printed.own() == supply,
        "{when}: wallets hold {}, {supply} are in being: {printed:?}",
        printed.own()
    );
    Ok(printed)
}

/// Stops the torrent at a moment with nothing under way. What is verified behind the stop is signed
/// for when there is nobody to send it to: then once more, since it arrives when both meet again.
fn pause(three: &Three, hash: &str) -> Result<Printed> {
    three.payer.cli(&["stop", hash])?;
    let first = balanced(three, "half way");
    if first.is_ok() {
        return first;
    }
    three.payer.cli(&["start", hash])?;
    poll(BALANCED_MAX, "the receipt behind the stop", || {
        let (payer, seeder) = (account(&three.payer)?, account(&three.seeder)?);
        Ok((payer.signed == seeder.claimable).then_some(()))
    })?;
    three.payer.cli(&["stop", hash])?;
    balanced(three, "half way, once more")
}

/// A transfer of more than is free is refused, and the refusal says what the wallet says.
fn refused_as_printed(payer: &Daemon, to: &str) -> Result<()> {
    let before = account(payer)?;
    let refused = payer.try_cli(&["wallet", "transfer", to, "9.9", "--yes"])?;
    let failure = refused.err().context("more than is free was sent")?;
    ensure!(
        failure.error["reason"] == "INSUFFICIENT_CREDIT",
        "{failure:?}"
    );
    let said = &failure.error["metadata"];
    ensure!(
        number(said, "free")? == before.free,
        "{said} but {before:?}"
    );
    ensure!(
        number(said, "set_aside")? == before.set_aside,
        "{said} but {before:?}"
    );
    ensure!(
        number(said, "pending")? == before.pending,
        "{said} but {before:?}"
    );
    ensure!(before.set_aside > 0, "the boost has a budget: {before:?}");
    Ok(())
}

/// A transfer whose order is not answered is neither free nor gone.
fn pending_shows(three: &Three, to: &str) -> Result<()> {
    let before = account(&three.payer)?;
    three.settlement.hold(true)?;
    three.payer.cli(&["wallet", "transfer", to, "1", "--yes"])?;
    let during = account(&three.payer);
    three.settlement.hold(false)?;
    let during = during?;
    ensure!(during.pending == PENDING, "{before:?} became {during:?}");
    ensure!(
        during.free == before.free - PENDING,
        "{before:?} became {during:?}"
    );
    ensure!(during.own() == before.own(), "{before:?} became {during:?}");
    let after = poll(BALANCED_MAX, "the transfer to be answered", || {
        let after = account(&three.payer)?;
        Ok((after.pending == 0).then_some(after))
    })?;
    ensure!(
        after.free == before.free - PENDING,
        "{before:?} became {after:?}"
    );
    Ok(())
}

/// What both sides say of the torrent, and of each other, is what they say of everything. Bytes
/// that were had for nothing are told of once a minute, so those of the paid class are compared.
fn services_agree(three: &Three, torrent: &Torrent) -> Result<()> {
    let of = |node: &Daemon, grouping: &str, key: &str| -> Result<Service> {
        let all = services(node, grouping)?;
        println!("{} by {grouping}: {all:?}", node.name());
        let rest = all.get("none").copied().unwrap_or_default();
        let (credit, bytes) = (rest.earned + rest.spent, rest.given + rest.taken);
        ensure!(credit <= BLOCK_COST, "for nothing known: {rest:?}");
        ensure!(bytes <= BLOCK, "of nothing known: {rest:?}");
        let found = all.get(key).copied();
        found.with_context(|| format!("no {key} in {all:?}"))
    };
    let hash = torrent.hash_hex();
    let (payer_key, seeder_key) = (key_of(&three.payer)?, key_of(&three.seeder)?);
    let bought = of(&three.payer, "torrent", &hash)?;
    let sold = of(&three.seeder, "torrent", &hash)?;
    let from = of(&three.payer, "peer", &seeder_key)?;
    let to = of(&three.seeder, "peer", &payer_key)?;
    let all_bought = of(&three.payer, "kind", "spent")?;
    let all_sold = of(&three.seeder, "kind", "earned")?;
    ensure!(
        all_bought.spent == all_sold.earned,
        "{all_bought:?}, {all_sold:?}"
    );
    ensure!(
        all_bought.taken >= all_sold.given,
        "{all_bought:?}, {all_sold:?}"
    );
    ensure!(
        all_bought.taken - all_sold.given <= 4 * BLOCK,
        "{all_bought:?}, {all_sold:?}"
    );
    ensure!(from.spent == all_bought.spent, "{from:?} of {all_bought:?}");
    ensure!(to.earned == all_sold.earned, "{to:?} of {all_sold:?}");
    ensure!(
        all_bought.spent - bought.spent <= BLOCK_COST,
        "{bought:?} of {all_bought:?}"
    );
    ensure!(
        all_sold.earned - sold.earned <= BLOCK_COST,
        "{sold:?} of {all_sold:?}"
    );
    ensure!(
        bought.taken + BLOCK >= all_bought.taken,
        "{bought:?} of {all_bought:?}"
    );
    ensure!(
        sold.given + BLOCK >= all_sold.given,
        "{sold:?} of {all_sold:?}"
    );
    ensure!(all_bought.taken >= paid::TOTAL / 2, "{all_bought:?}");
    Ok(())
}

/// The receiver is told why, in words that a terminal can be shown.
fn reason_shows(payer: &Daemon) -> Result<()> {
    let grants = entries(payer)?;
    let grant = grants
        .iter()
        .find(|entry| entry["kind"] == "ENTRY_KIND_GRANT");
    let grant = grant.context("no grant")?;
    ensure!(grant["reason"] == "welcome to the [31mpond", "{grant}");
    Ok(())
}

#[test]
fn wallets_add_up_to_the_supply_at_every_moment() {
    run(SCENARIO_MAX, |net| {
        let mut three = Three::start(net)?;
        balanced(&three, "nothing granted")?;
        let payer_key = key_of(&three.payer)?;
        let seeder_key = key_of(&three.seeder)?;
        let reason = "welcome to the \u{1b}[31mpond";
        let grant = ["wallet", "grant", &payer_key, "10", "--reason", reason];
        three.settlement.cli(&grant)?;
        let torrent = net.torrent(paid::plan())?;
        let folder = three.begin(net, &torrent)?;
        reason_shows(&three.payer)?;

        poll(paid::TRANSFER_MAX, "half the torrent", || {
            let progress = three.payer.progress()?;
            ensure!(!progress.complete, "complete before anybody looked");
            Ok((progress.have * 1000 >= progress.total * HALF_WAY_PERMILLE).then_some(()))
        })?;
        let hash = torrent.hash_hex();
        let paused = pause(&three, &hash)?;
        ensure!(
            paused.payer.signed > 0,
            "nothing is signed away: {paused:?}"
        );
        ensure!(paused.payer.locked > 0, "nothing is locked: {paused:?}");
        ensure!(paused.payer.spent == paused.seeder.earned, "{paused:?}");
        refused_as_printed(&three.payer, &seeder_key)?;
        pending_shows(&three, &seeder_key)?;
        let sent = balanced(&three, "a transfer later")?;
        ensure!(sent.seeder.free >= PENDING, "nothing came: {sent:?}");

        three.payer.cli(&["start", &hash])?;
        await_complete(&mut [&mut three.payer], paid::TRANSFER_MAX)?;
        three.payer.verify(&torrent, &folder)?;
        balanced(&three, "complete")?;
        services_agree(&three, &torrent)?;
        let books = three.settle_up()?;
        ensure!(books.granted == GRANTED, "{books:?}");
        ensure!(books.spent <= paid::COST, "{books:?}");
        Ok(())
    });
}
