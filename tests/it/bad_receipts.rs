//! Receipts and locks that prove nothing, from a raw peer to a real daemon: each leaves what was
//! earned as it was.

use std::fs;
use std::time::Duration;

use anyhow::{Context, Result, ensure};
use seedbank_engine::wire::receipt::{ErrorCode, QuoteState, ReceiptMessage, SyncEntry};
use seedbank_ledger::signed::Body as _;
use seedbank_ledger::signed::lock::{Lock, LockId, SignedLock};
use seedbank_ledger::signed::order::OrderHash;
use seedbank_ledger::signed::receipt::SignedReceipt;
use seedbank_ledger::{Identity, MicroCredits, NetworkId, NodeId, Rate, UnixTime};
use seedbank_tests::client::Client as _;
use seedbank_tests::community::{account, check_ledgers, check_network, services};
use seedbank_tests::member::Member;
use seedbank_tests::namespace::run;
use seedbank_tests::poll::poll;
use seedbank_tests::receipt_peer::{Came, Has, ReceiptPeer, id};
use serde_json::Value;

use crate::hostile_peers::{LOCK, Scene};

const SCENARIO_MAX: Duration = Duration::from_secs(90);
const EVENT_MAX: Duration = Duration::from_secs(10);
const CLOSED_MAX: Duration = Duration::from_secs(30);

/// A receipt that is so much further is verified at once.
const STEP: u64 = 64 << 10;

/// Messages of the other side that are looked through for an answer.
const MESSAGES_MAX: usize = 100;

fn connect(scene: &Scene<'_>, member: &Member) -> Result<ReceiptPeer> {
    let (from, to) = (scene.net.address(), scene.seeder.addr());
    ReceiptPeer::connect(from, to, scene.torrent.info_hash, member, Has::Nothing)
}

/// The next message of `Sb_receipt` for which there is a value.
fn answer<T>(
    peer: &mut ReceiptPeer,
    what: &str,
    mut of: impl FnMut(&ReceiptMessage) -> Option<T>,
) -> Result<T> {
    for _ in 0..MESSAGES_MAX {
        if let Came::Receipt(message) = peer.receive()?.with_context(|| format!("no {what}"))?
            && let Some(value) = of(&message)
        {
            return Ok(value);
        }
    }
    anyhow::bail!("no {what} in {MESSAGES_MAX} messages")
}

/// Amount of the newest receipt that the payee holds on a lock.
fn held(entries: &[SyncEntry], lock: &SignedLock) -> u64 {
    let lock_id = Some(lock.body.lock_id);
    let entry = entries.iter().find(|entry| entry.lock_id == lock_id);
    let receipt = entry.and_then(|entry| entry.held);
    receipt.map_or(0, |receipt| receipt.body.amount.get())
}

/// Asks the payee where it stands.
fn asked(peer: &mut ReceiptPeer, lock: &SignedLock) -> Result<u64> {
    let (code, channel_id) = (ErrorCode::NotSynced, None);
    peer.say(&ReceiptMessage::Error { code, channel_id })?;
    answer(peer, "SYNC", |message| match message {
        ReceiptMessage::Sync(entries) => Some(held(entries, lock)),
        _ => None,
    })
}

fn error_code(peer: &mut ReceiptPeer) -> Result<ErrorCode> {
    answer(peer, "ERR", |message| match message {
        ReceiptMessage::Error { code, .. } => Some(*code),
        _ => None,
    })
}

/// Sends what is a violation, and waits until the daemon says so.
fn violates(scene: &Scene<'_>, member: &Member, bad: &ReceiptMessage, said: &str) -> Result<()> {
    let count = || -> Result<usize> {
        let events = scene.seeder.events()?;
        let said_so = |event: &&Value| event.to_string().contains(said);
        Ok(events.iter().filter(said_so).count())
    };
    let before = count()?;
    let mut peer = connect(scene, member)?;
    peer.say(bad)?;
    poll(EVENT_MAX, said, || Ok((count()? > before).then_some(())))
}

fn signed_by(receipt: SignedReceipt, by: &Identity) -> ReceiptMessage {
    ReceiptMessage::Receipt(receipt.body.sign(by))
}

#[test]
fn receipts_that_prove_nothing_earn_nothing() {
    run(SCENARIO_MAX, |net| {
        let mut scene = Scene::start(net)?;
        let seeder = scene.seeder_key()?;
        let lock = scene.member.open_lock(seeder, LOCK)?;
        let member = &scene.member;
        let receipt = |bytes, amount| member.receipt(&lock, bytes, amount);
        let say = |peer: &mut ReceiptPeer, receipt| peer.say(&ReceiptMessage::Receipt(receipt));

        let mut peer = connect(&scene, member)?;
        peer.say(&ReceiptMessage::Lock(Box::new(lock)))?;
        say(&mut peer, receipt(STEP, 100))?;
        ensure!(asked(&mut peer, &lock)? == 100, "a good receipt is held");
        // Backwards, and replayed.
        say(&mut peer, receipt(STEP / 2, 50))?;
        say(&mut peer, receipt(STEP, 100))?;
        ensure!(asked(&mut peer, &lock)? == 100);

        // More bytes for less, and a channel of nobody's.
        let mut peer = connect(&scene, member)?;
        ensure!(held(&peer.synced, &lock) == 100);
        say(&mut peer, receipt(4 * STEP, 50))?;
        ensure!(error_code(&mut peer)? == ErrorCode::Stale);
        let mut other = lock;
        other.body.opening_order = OrderHash::from_bytes([9; 32]);
        say(&mut peer, member.receipt(&other, 4 * STEP, 200))?;
        ensure!(error_code(&mut peer)? == ErrorCode::ChannelUnknown);

        let thief = Identity::from_secret([66; 32]);
        let forged = signed_by(receipt(5 * STEP, 300), &thief);
        violates(&scene, member, &forged, "forged receipt")?;
        let mut foreign = receipt(6 * STEP, 400);
        foreign.body.network_id = NetworkId::from_bytes([9; 32]);
        let foreign = signed_by(foreign, &member.identity);
        violates(&scene, member, &foreign, "receipt of another network")?;

        // More than the lock holds counts for what it holds, and bytes that were never served for
        // none.
        let mut peer = connect(&scene, member)?;
        ensure!(held(&peer.synced, &lock) == 100, "bad ones were held");
        let all = receipt(u64::MAX, LOCK + 500_000);
        say(&mut peer, all)?;
        let (lock_id, newest) = (lock.body.lock_id, Some(all));
        peer.say(&ReceiptMessage::Close { lock_id, newest })?;
        poll(CLOSED_MAX, "the lock to be claimed and closed", || {
            let account = account(&scene.seeder)?;
            Ok((account.free > 0 && account.claimable == 0).then_some(()))
        })?;
        let account = account(&scene.seeder)?;
        let sold = services(&scene.seeder, "peer")?;
        println!("{account:?}, {sold:?}");
        let sold = sold.get(&member.identity.id().to_string());
        ensure!(sold.is_some_and(|to| to.given == 0 && to.earned == LOCK));
        ensure!(
            account.earned == LOCK && account.free == LOCK,
            "{account:?}"
        );
        scene.seeder.terminate()?;
        scene.settlement.terminate()?;
        check_ledgers(&scene.seeder)?;
        let supply = check_network(&scene.settlement)?;
        ensure!(supply.paid == LOCK && supply.locks_open == 0, "{supply:?}");
        Ok(())
    });
}

/// A lock that no settlement node ever opened.
fn invented(member: &Member, payee: NodeId, expires_at: UnixTime) -> Lock {
    Lock {
        network_id: member.network,
        lock_id: LockId::new(98),
        opening_order: OrderHash::from_bytes([0x0d; 32]),
        payer: member.identity.id(),
        payee,
        amount: MicroCredits::new(LOCK),
        expires_at,
        grace_secs: 86_400,
    }
}

#[test]
fn locks_that_prove_nothing_buy_nothing() {
    run(SCENARIO_MAX, |net| {
        let scene = Scene::start(net)?;
        let seeder = scene.seeder_key()?;
        let member = &scene.member;
        let now = std::time::SystemTime::UNIX_EPOCH.elapsed()?.as_secs();
        let later = UnixTime::from_secs(now + 3_600);
        let shown = |lock: SignedLock| ReceiptMessage::Lock(Box::new(lock));
        let settlement = fs::read_to_string(scene.community.file("settlement.key"))?;
        // NodeId reads 64 hex digits; these are a secret.
        let secret = NodeId::from_hex(settlement.trim()).context("a key file")?;
        let settlement = Identity::from_secret(*secret.as_bytes());

        let lock = invented(member, seeder, later);
        let stranger = Identity::from_secret([66; 32]);
        let unknown = shown(lock.sign(&stranger));
        violates(&scene, member, &unknown, "forged lock")?;
        let mut abroad = lock;
        abroad.network_id = NetworkId::from_bytes([9; 32]);
        let abroad = shown(abroad.sign(&settlement));
        violates(&scene, member, &abroad, "lock of another pair or network")?;
        let mut for_another = lock;
        for_another.payee = stranger.id();
        let for_another = shown(for_another.sign(&settlement));
        violates(
            &scene,
            member,
            &for_another,
            "lock of another pair or network",
        )?;

        // Signed by the settlement node, but long expired: served like anybody.
        let expired = invented(member, seeder, UnixTime::from_secs(now - 1));
        let mut peer = connect(&scene, member)?;
        peer.say(&shown(expired.sign(&settlement)))?;
        peer.say(&ReceiptMessage::Bid(Rate::new(3_000_000)))?;
        peer.send(id::INTERESTED, &[])?;
        let mut requested = false;
        for _ in 0..MESSAGES_MAX {
            match peer.receive()?.context("it hung up")? {
                Came::Receipt(message) => {
                    if let ReceiptMessage::Quote(quote) = *message {
                        ensure!(quote.state != QuoteState::Paid, "{quote:?}");
                    }
                }
                Came::Plain(id::UNCHOKE, _) => {
                    let block = [0_u32, 0, 16 << 10].map(u32::to_be_bytes).concat();
                    peer.send(id::REQUEST, &block)?;
                    requested = true;
                }
                Came::Plain(id::PIECE, _) => {
                    ensure!(requested);
                    let account = account(&scene.seeder)?;
                    ensure!(account.earned == 0 && account.claimable == 0, "{account:?}");
                    return Ok(());
                }
                Came::Plain(..) => {}
            }
        }
        anyhow::bail!("nothing was served in {MESSAGES_MAX} messages")
    });
}
