//! Peers that do not pay, pay late, or sell garbage, against real daemons: no grant passes the
//! window, garbage is never paid, and whoever is beside them is not slowed.

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, ensure};
use seedbank_engine::wire::receipt::{Quote, QuoteState, ReceiptMessage};
use seedbank_ledger::signed::lock::SignedLock;
use seedbank_ledger::{Bytes, NodeId, Rate};
use seedbank_tests::client::{
    Client, Libtorrent, LibtorrentOptions, Source, await_complete, ensure_no_complaints,
};
use seedbank_tests::community::{Community, SETTLEMENT_NODE, account, key_of};
use seedbank_tests::content::Plan;
use seedbank_tests::daemon::{Daemon, number};
use seedbank_tests::member::Member;
use seedbank_tests::namespace::run_alone;
use seedbank_tests::net::Net;
use seedbank_tests::poll::poll;
use seedbank_tests::receipt_peer::{Came, Has, ReceiptPeer, id};
use seedbank_tests::torrent::Torrent;

const SCENARIO_MAX: Duration = Duration::from_secs(150);
const TRANSFER_MAX: Duration = Duration::from_secs(60);
const SETTLED_MAX: Duration = Duration::from_secs(30);

/// The seeder's upload limit.
const UPLOAD: &str = "3MiB/s";
/// The same where who lost its seat is to come back before the ordinary leecher is done: it rests
/// for 10 s, and slots are dealt every 10 s.
const SLOW_UPLOAD: &str = "768KiB/s";
const PAYER: &str = "[earn]\nenabled = false\n";

const BLOCK: u64 = 16 << 10;
const PIECE: u64 = 256 << 10;
const TOTAL: u64 = 12 << 20;
const RATE: Rate = Rate::new(3_000_000);
/// What the hostile peer is granted, and what it locks: more than it ever takes.
pub(crate) const LOCK: u64 = 900_000;

/// Requests that it keeps on the way.
const PIPELINE: usize = 32;

/// Time of an ordinary peer beside a hostile one, over that beside a plain one.
const RATIO_MAX: f64 = 1.25;

/// Pieces that failed are fetched again.
const GARBAGE_RATIO_MAX: f64 = 1.5;

/// After this the payee has put a late payer into the open class (P4: 5 s at these rates).
const LATE: Duration = Duration::from_secs(6);

/// How a greedy peer pays.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Pays {
    /// It never bids: an ordinary peer of the open class.
    Nothing,
    Never,
    /// Everything that it owes, a while after it was refused more.
    Late,
}

/// What a greedy peer took and paid.
#[derive(Debug, Default)]
struct Taken {
    /// While it was quoted as paid.
    paid_class: u64,
    open_class: u64,
    /// The most that it owed at once.
    unpaid_max: u64,
    unpaid: u64,
    raw: u128,
    signed: u64,
    payments: u32,
    /// Bytes of the paid class after its first payment.
    after_payment: u64,
}

/// Fetches the same torrent over and over until `stop`.
struct Greedy<'a> {
    peer: ReceiptPeer,
    member: &'a Member,
    lock: Option<SignedLock>,
    pays: Pays,
    taken: Taken,
    unchoked: bool,
    quote: Quote,
    refused_at: Option<Instant>,
    next_block: u64,
    requested: usize,
}

impl Greedy<'_> {
    fn run(mut self, stop: &AtomicBool) -> Result<Taken> {
        let ended = self.fetch(stop);
        ensure!(
            stop.load(Ordering::SeqCst) || ended.is_ok(),
            "{ended:?} after {:?}",
            self.taken
        );
        Ok(self.taken)
    }

    fn fetch(&mut self, stop: &AtomicBool) -> Result<()> {
        self.peer.send(id::INTERESTED, &[])?;
        if let Some(lock) = self.lock {
            self.peer.say(&ReceiptMessage::Lock(Box::new(lock)))?;
            self.peer.say(&ReceiptMessage::Bid(RATE))?;
        }
        let mut closing = false;
        loop {
            let stopping = stop.load(Ordering::SeqCst);
            if stopping && self.pays != Pays::Late {
                return Ok(());
            }
            if stopping && self.requested == 0 && !closing {
                closing = true;
                self.close()?;
            }
            match self.peer.receive()?.context("it hung up")? {
                Came::Receipt(message) => self.told(&message),
                Came::Plain(id::UNCHOKE, _) => self.unchoked = true,
                Came::Plain(id::CHOKE, _) => self.unchoked = false,
                Came::Plain(id::PIECE, payload) => self.took(u64::try_from(payload.len() - 8)?),
                Came::Plain(id::REJECT, _) => self.requested -= 1,
                Came::Plain(..) => {}
            }
            self.pay()?;
            while !stopping && self.unchoked && self.requested < PIPELINE {
                self.request()?;
            }
        }
    }

    fn told(&mut self, message: &ReceiptMessage) {
        if let ReceiptMessage::Quote(quote) = message {
            let was_paid = self.quote.state == QuoteState::Paid;
            if was_paid && quote.state == QuoteState::Open && self.taken.unpaid > 0 {
                self.refused_at.get_or_insert(Instant::now());
            }
            self.quote = *quote;
        }
    }

    fn took(&mut self, len: u64) {
        self.requested -= 1;
        let taken = &mut self.taken;
        if self.quote.state != QuoteState::Paid {
            taken.open_class += len;
            return;
        }
        taken.paid_class += len;
        taken.unpaid += len;
        taken.unpaid_max = taken.unpaid_max.max(taken.unpaid);
        taken.raw += u128::from(len) * u128::from(RATE.min(self.quote.rate).get());
        if taken.payments > 0 {
            taken.after_payment += len;
        }
    }

    /// Pays everything, and asks for what is left of the lock.
    fn close(&mut self) -> Result<()> {
        self.sign()?;
        let lock_id = self.lock.context("a payer has a lock")?.body.lock_id;
        let newest = None;
        self.peer.say(&ReceiptMessage::Close { lock_id, newest })
    }

    fn pay(&mut self) -> Result<()> {
        let due = self.refused_at.is_some_and(|at| at.elapsed() > LATE);
        if due && self.pays == Pays::Late {
            self.sign()?;
        }
        Ok(())
    }

    fn sign(&mut self) -> Result<()> {
        let lock = self.lock.as_ref().context("a payer has a lock")?;
        let taken = &mut self.taken;
        taken.signed = u64::try_from(taken.raw >> 30)?;
        taken.payments += 1;
        taken.unpaid = 0;
        self.refused_at = None;
        let receipt = self.member.receipt(lock, taken.paid_class, taken.signed);
        self.peer.say(&ReceiptMessage::Receipt(receipt))
    }

    fn request(&mut self) -> Result<()> {
        let at = self.next_block * BLOCK;
        self.next_block = (self.next_block + 1) % (TOTAL / BLOCK);
        let fields = [at / PIECE, at % PIECE, BLOCK].map(|field| {
            let field = u32::try_from(field).expect("numbers of a small torrent");
            field.to_be_bytes()
        });
        self.requested += 1;
        self.peer.send(id::REQUEST, &fields.concat())
    }
}

/// A settlement node, a seeder, a member that is up to no good, and what it wants.
pub(crate) struct Scene<'a> {
    pub(crate) net: &'a Net,
    pub(crate) seeder: Daemon,
    pub(crate) settlement: Daemon,
    pub(crate) community: Community,
    pub(crate) member: Member,
    pub(crate) torrent: Torrent,
}

impl<'a> Scene<'a> {
    pub(crate) fn start(net: &'a Net) -> Result<Self> {
        Self::start_at(net, UPLOAD)
    }

    fn start_at(net: &'a Net, upload: &str) -> Result<Self> {
        let community = Community::found(net)?;
        let settlement = Daemon::start(net, SETTLEMENT_NODE, &community.settlement_config())?;
        let limits = format!("[limits]\nupload = \"{upload}\"\n");
        let config = community.member_config() + &limits + "[earn]\nmin_price_per_gib = \"3cr\"\n";
        let mut seeder = Daemon::start(net, "seeder", &config)?;
        let torrent = net.torrent(Plan::single("hostile.bin", TOTAL, PIECE))?;
        seeder.seed(&torrent, &net.seed_folder("seed-files", &torrent.content)?)?;
        let member = Member::new(&community, 77)?;
        let to = member.identity.id().to_string();
        settlement.cli(&["wallet", "grant", &to, "1"])?;
        Ok(Self {
            net,
            seeder,
            settlement,
            community,
            member,
            torrent,
        })
    }

    pub(crate) fn seeder_key(&self) -> Result<NodeId> {
        NodeId::from_hex(&key_of(&self.seeder)?).context("a key")
    }

    fn greedy(&self, lock: Option<SignedLock>, pays: Pays) -> Result<Greedy<'_>> {
        let (from, to) = (self.net.address(), self.seeder.addr());
        let hash = self.torrent.info_hash;
        Ok(Greedy {
            peer: ReceiptPeer::connect(from, to, hash, &self.member, Has::Nothing)?,
            member: &self.member,
            lock,
            pays,
            taken: Taken::default(),
            unchoked: false,
            quote: Quote::open(Bytes::ZERO, Bytes::ZERO),
            refused_at: None,
            next_block: 0,
            requested: 0,
        })
    }

    /// How long an ordinary leecher takes beside this peer, and what the peer took. The seeder is
    /// watched all the while.
    fn leech_beside(&self, name: &str, greedy: Greedy<'_>) -> Result<(Duration, Taken)> {
        let options = LibtorrentOptions::default();
        let mut leecher = Libtorrent::start(self.net, name, options)?;
        let folder = self.net.folder(&format!("{name}-files"))?;
        let line = greedy.peer.line()?;
        let stop = AtomicBool::new(false);
        let settles = greedy.pays == Pays::Late;
        let (watched, taken) = thread::scope(|scope| {
            let greedy = scope.spawn(|| greedy.run(&stop));
            let watched = (|| {
                leecher.leech(&self.torrent, Source::File, &folder, &[self.seeder.addr()])?;
                let begin = Instant::now();
                poll(TRANSFER_MAX, "the ordinary leecher to complete", || {
                    self.watch()?;
                    Ok(leecher.progress()?.complete.then_some(()))
                })?;
                let took = begin.elapsed();
                stop.store(true, Ordering::SeqCst);
                if settles {
                    poll(SETTLED_MAX, "its lock to be closed", || {
                        let seeder = account(&self.seeder)?;
                        Ok((seeder.free > 0 && seeder.claimable == 0).then_some(()))
                    })?;
                }
                Ok::<_, anyhow::Error>(took)
            })();
            stop.store(true, Ordering::SeqCst);
            line.cut();
            (watched, greedy.join().expect("the peer does not panic"))
        });
        let taken = taken?;
        let took = watched.with_context(|| format!("{name}: {taken:?}"))?;
        leecher.verify(&self.torrent, &folder)?;
        ensure_no_complaints(&mut [&mut leecher])?;
        println!("{name}: {:.2} s, the other {taken:?}", took.as_secs_f64());
        Ok((took, taken))
    }

    /// No grant passes the window.
    fn watch(&self) -> Result<()> {
        let answer = self.seeder.cli(&["peers"])?;
        for peer in answer["peers"].as_array().context("no peers")? {
            let exposure = number(peer, "exposure_bytes")?;
            let window = number(peer, "window_bytes")?;
            ensure!(exposure <= window, "{exposure} of {window}: {peer}");
        }
        Ok(())
    }

    fn ratio(&self, lock: SignedLock, pays: Pays) -> Result<Taken> {
        let (plain, _) = self.leech_beside("beside-plain", self.greedy(None, Pays::Nothing)?)?;
        let (took, taken) = self.leech_beside("beside-hostile", self.greedy(Some(lock), pays)?)?;
        let ratio = took.as_secs_f64() / plain.as_secs_f64();
        println!("{ratio:.2} times as long as beside a plain peer");
        ensure!(ratio <= RATIO_MAX, "{ratio:.2} times as long");
        Ok(taken)
    }
}

#[test]
fn who_never_pays_gets_one_window_and_slows_nobody() {
    run_alone(SCENARIO_MAX, |net| {
        let mut scene = Scene::start_at(net, SLOW_UPLOAD)?;
        let seeder = scene.seeder_key()?;
        let lock = scene.member.open_lock(seeder, LOCK)?;
        let taken = scene.ratio(lock, Pays::Never)?;
        ensure!(taken.paid_class > 0, "it was never in the paid class");
        ensure!(taken.paid_class <= PIECE, "more than a window: {taken:?}");
        ensure!(taken.open_class > 0, "it was cut off: {taken:?}");
        ensure!(account(&scene.seeder)?.earned == 0);
        Ok(())
    });
}

#[test]
fn who_pays_late_owes_a_window_at_most_and_slows_nobody() {
    run_alone(SCENARIO_MAX, |net| {
        let mut scene = Scene::start_at(net, SLOW_UPLOAD)?;
        let seeder = scene.seeder_key()?;
        let lock = scene.member.open_lock(seeder, LOCK)?;
        let taken = scene.ratio(lock, Pays::Late)?;
        ensure!(
            taken.payments > 1,
            "it never paid in time for more: {taken:?}"
        );
        // A window of a key that paid: 1 MiB, and a little for what was paid.
        ensure!(
            taken.after_payment > 0,
            "it was not let in again: {taken:?}"
        );
        ensure!(
            taken.unpaid_max <= (1 << 20) + taken.paid_class / 16,
            "{taken:?}"
        );
        let earned = account(&scene.seeder)?.earned;
        ensure!(earned == taken.signed, "{earned} of {}", taken.signed);
        Ok(())
    });
}

/// What a seller of garbage was offered and given.
#[derive(Debug, Default)]
struct Sold {
    blocks: u64,
    locks: u32,
    bids: u32,
    /// By channel, the most that was signed.
    signed: BTreeMap<[u8; 32], u64>,
}

/// Answers every request with garbage, and wants to be paid for it, until the other side hangs up.
fn sell_garbage(mut peer: ReceiptPeer) -> Sold {
    let mut sold = Sold::default();
    let quote = Quote {
        state: QuoteState::Paid,
        rate: Rate::MAX,
        window: Bytes::new(1 << 20),
        written_off: Bytes::ZERO,
    };
    // As any payee that wants to be bid at.
    let mut next = peer.say(&ReceiptMessage::Quote(Quote::open(
        Bytes::new(1 << 20),
        Bytes::ZERO,
    )));
    while let (Ok(()), Ok(Some(came))) = (next, peer.receive()) {
        next = match came {
            Came::Receipt(message) => match *message {
                // It serves nobody who does not pay.
                ReceiptMessage::Bid(_) => {
                    sold.bids += 1;
                    let quoted = peer.say(&ReceiptMessage::Quote(quote));
                    quoted.and_then(|()| peer.send(id::UNCHOKE, &[]))
                }
                ReceiptMessage::Lock(_) => {
                    sold.locks += 1;
                    Ok(())
                }
                ReceiptMessage::Receipt(receipt) => {
                    let channel = *receipt.body.channel_id.as_bytes();
                    sold.signed.insert(channel, receipt.body.amount.get());
                    Ok(())
                }
                _ => Ok(()),
            },
            Came::Plain(id::REQUEST, request) => {
                sold.blocks += 1;
                let garbage = vec![0xab; usize::try_from(BLOCK).expect("small")];
                peer.send(id::PIECE, &[&request[..8], &garbage].concat())
            }
            Came::Plain(..) => Ok(()),
        };
    }
    sold
}

/// A boosted download, with a seller of garbage beside the honest seeder or without.
fn boosted(scene: &mut Scene<'_>, name: &str, garbage: bool) -> Result<Duration> {
    let config = scene.community.member_config() + PAYER;
    let mut payer = Daemon::start(scene.net, name, &config)?;
    let earned_before = account(&scene.seeder)?.earned;
    let key = key_of(&payer)?;
    scene.settlement.cli(&["wallet", "grant", &key, "10"])?;
    poll(SETTLED_MAX, "the grant to show", || {
        Ok((account(&payer)?.free > 0).then_some(()))
    })?;
    let folder = scene.net.folder(&format!("{name}-files"))?;
    let hash = scene.torrent.hash_hex();
    let peers = [scene.seeder.addr()];
    payer.leech(&scene.torrent, Source::File, &folder, &peers)?;
    payer.cli(&["boost", "start", &hash, "--max", "1", "--bid", "3"])?;
    let seller = if garbage {
        let from = scene.net.address();
        let (to, hash) = (payer.addr(), scene.torrent.info_hash);
        let peer = ReceiptPeer::connect(from, to, hash, &scene.member, Has::Everything)?;
        let line = peer.line()?;
        Some((line, thread::spawn(move || sell_garbage(peer))))
    } else {
        None
    };
    let took = await_complete(&mut [&mut payer], TRANSFER_MAX)?[0];
    payer.verify(&scene.torrent, &folder)?;
    println!("{name}: {:.2} s", took.as_secs_f64());
    if let Some((line, seller)) = seller {
        line.cut();
        let sold = seller.join().expect("the seller does not panic");
        println!("{sold:?}");
        let complaints = payer.complaints()?;
        println!(
            "{} complaints, such as {:?}",
            complaints.len(),
            complaints.first()
        );
        ensure!(sold.locks > 0 && sold.bids > 0, "nobody offered to pay it");
        ensure!(sold.blocks > 0, "nobody asked for its garbage");
        ensure!(sold.signed.values().all(|amount| *amount == 0), "{sold:?}");
        ensure!(!complaints.is_empty(), "nobody noticed");
    }
    // Who leaves writes down what every channel came to.
    for node in [&mut payer, &mut scene.seeder] {
        node.terminate()?;
        node.resume()?;
    }
    let spent = account(&payer)?.spent;
    let earned = account(&scene.seeder)?.earned - earned_before;
    println!("spent {spent}, earned {earned}");
    ensure!(spent > 0 && spent == earned, "only honest bytes are paid");
    payer.terminate()?;
    Ok(took)
}

#[test]
fn garbage_is_never_paid_and_slows_nobody() {
    run_alone(SCENARIO_MAX, |net| {
        let mut scene = Scene::start(net)?;
        let alone = boosted(&mut scene, "without", false)?;
        let beside = boosted(&mut scene, "with", true)?;
        let ratio = beside.as_secs_f64() / alone.as_secs_f64();
        println!("{ratio:.2} times as long as without garbage");
        ensure!(ratio <= GARBAGE_RATIO_MAX, "{ratio:.2} times as long");
        Ok(())
    });
}
