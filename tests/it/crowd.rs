//! Ten thousand hostile connections from a hundred addresses: honest peers keep their rate, the
//! owner and the members of a network are answered, and memory stays bounded.

mod strangers;

use std::time::{Duration, Instant};

use anyhow::{Context, Result, ensure};
use seedbank_ledger::signed::read::ReadKind;
use seedbank_ledger::{Identity, NodeId};
use seedbank_tests::client::{Client, Libtorrent, LibtorrentOptions, Source};
use seedbank_tests::community::Community;
use seedbank_tests::content::Plan;
use seedbank_tests::daemon::Daemon;
use seedbank_tests::limits::peak_bytes;
use seedbank_tests::member::{Member, submission};
use seedbank_tests::namespace::run_alone;
use seedbank_tests::net::Net;
use seedbank_tests::poll::poll;
use seedbank_tests::raw_peer::{MODERN, RawPeer};
use seedbank_tests::receipt_peer::id;
use seedbank_tests::torrent::Torrent;
use strangers::{Crowd, Manner};

const SCENARIO_MAX: Duration = Duration::from_secs(240);
const BEGIN_MAX: Duration = Duration::from_secs(30);
/// Connections of the crowd.
const COUNT: u16 = 10_000;
/// What honest peers keep of their rate.
const RATE_SHARE_MIN: f64 = 0.9;
/// Longest wait for an answer.
const ANSWER_MAX: Duration = Duration::from_secs(1);
/// The same for the one of twenty whose first SYN or two are lost while ten thousand others
/// connect: TCP sends them again after 1 s and 3 s (RFC 6298 §2).
const SYN_LOST_MAX: Duration = Duration::from_secs(4);
const MEMORY_MAX: u64 = 256 << 20;
/// How long rates are compared.
const SPAN: Duration = Duration::from_secs(8);
const UPLOAD: &str = "[limits]\nupload = \"4MiB/s\"\n";
/// Two leechers are busy with it for half a minute.
const TOTAL: u64 = 64 << 20;
const PIECE: u64 = 256 << 10;
/// Orders or reads that a member gives under the crowd.
const QUESTIONS: usize = 20;

fn handshake(reserved: [u8; 8], info_hash: [u8; 20], peer_id: [u8; 20]) -> Vec<u8> {
    let begin = b"\x13BitTorrent protocol".as_slice();
    [begin, &reserved, &info_hash, &peer_id].concat()
}

fn message(id: u8, payload: &[u8]) -> Vec<u8> {
    let len = u32::try_from(1 + payload.len()).expect("a short message");
    [len.to_be_bytes().as_slice(), &[id], payload].concat()
}

/// What peers do who are up to no good.
fn peer_manners(torrent: &Torrent, replayed: [u8; 20], own: [u8; 20]) -> Vec<Manner> {
    let hash = torrent.info_hash;
    let named = |hash| handshake(MODERN, hash, *b"-XX0000-one-of-crowd");
    let ours = named(hash);
    let block = [0u32, 0, 16_384].map(u32::to_be_bytes).concat();
    let flood = [
        message(id::REQUEST, &block).repeat(100),
        message(4, &[0, 0, 0, 9]).repeat(50),
        message(id::EXTENDED, b"\0d1:md11:ut_metadatai2eee"),
        message(id::EXTENDED, b"\x01d8:msg_typei0e5:piecei0ee").repeat(20),
        vec![0; 400],
    ];
    vec![
        Manner::says(&[]),
        Manner::says(&ours[..40]),
        Manner::floods(&ours, &flood.concat()),
        Manner::says(&handshake(MODERN, hash, replayed)),
        Manner::says(&named([0x5a; 20])),
        Manner::says(&handshake(MODERN, hash, own)),
    ]
}

/// A seed with a limited rate, and two leechers that know nobody else.
struct Swarm {
    seed: Daemon,
    leechers: Vec<Libtorrent>,
    torrent: Torrent,
}

impl Swarm {
    fn start(net: &Net) -> Result<Self> {
        let torrent = net.torrent(Plan::single("crowd.bin", TOTAL, PIECE))?;
        let mut seed = Daemon::start(net, "seed", UPLOAD)?;
        seed.seed(&torrent, &net.seed_folder("seed-files", &torrent.content)?)?;
        let mut leechers = Vec::new();
        for name in ["first", "second"] {
            let mut leecher = Libtorrent::start(net, name, LibtorrentOptions::default())?;
            let folder = net.folder(&format!("{name}-files"))?;
            leecher.leech(&torrent, Source::File, &folder, &[seed.addr()])?;
            leechers.push(leecher);
        }
        let mut swarm = Self {
            seed,
            leechers,
            torrent,
        };
        poll(BEGIN_MAX, "both leechers to be served", || {
            let received = swarm.received()?;
            Ok(received.iter().all(|one| *one > TOTAL / 64).then_some(()))
        })?;
        Ok(swarm)
    }

    fn received(&mut self) -> Result<Vec<u64>> {
        let leechers = self.leechers.iter_mut();
        leechers.map(|one| Ok(one.progress()?.received)).collect()
    }

    /// Bytes per second that both leechers get together, and the slowest `status` meanwhile.
    fn observe(&mut self) -> Result<(f64, Duration)> {
        let (begin, before) = (Instant::now(), self.received()?);
        let mut slowest = Duration::ZERO;
        let rate = poll(2 * SPAN, "a span", || {
            let asked = Instant::now();
            self.seed.cli(&["status"])?;
            slowest = slowest.max(asked.elapsed());
            if begin.elapsed() < SPAN {
                return Ok(None);
            }
            let (after, took) = (self.received()?, begin.elapsed().as_secs_f64());
            let bytes = after.iter().sum::<u64>() - before.iter().sum::<u64>();
            #[expect(clippy::cast_precision_loss, reason = "a rate to compare")]
            Ok(Some(bytes as f64 / took))
        })?;
        Ok((rate, slowest))
    }
}

#[test]
fn ten_thousand_hostile_connections_slow_no_honest_peer() {
    run_alone(SCENARIO_MAX, |net| {
        let mut swarm = Swarm::start(net)?;
        let hash = swarm.torrent.info_hash;
        // Whose handshakes are said again: a leecher's, and the seed's own.
        let leecher = RawPeer::connect(net.address(), swarm.leechers[0].addr(), hash, MODERN)?;
        let seed = RawPeer::connect(net.address(), swarm.seed.addr(), hash, MODERN)?;
        let manners = peer_manners(&swarm.torrent, leecher.peer_id, seed.peer_id);
        drop((leecher, seed));

        let (alone, quick) = swarm.observe()?;
        let crowd = Crowd::start(net, swarm.seed.addr(), COUNT, &manners)?;
        let (beside, slowest) = swarm.observe()?;
        let [made, closed, sent] = crowd.tally()?;
        let memory = peak_bytes(swarm.seed.process_id()?)?;
        let share = beside / alone;
        println!(
            "{alone:.0} bytes/s alone, {beside:.0} beside the crowd: {share:.2}; status {quick:?} \
             alone, {slowest:?} beside; {memory} bytes of memory; the crowd made {made} \
             connections, lost {closed}, sent {sent} bytes"
        );
        ensure!(made > 0 && sent > 0, "the crowd did nothing");
        ensure!(share >= RATE_SHARE_MIN, "{share:.2} of their rate");
        ensure!(slowest <= ANSWER_MAX, "status took {slowest:?}");
        ensure!(memory <= MEMORY_MAX, "{memory} bytes");
        Ok(())
    });
}

/// A frame of HTTP/2 (RFC 9113 §4.1).
fn frame(kind: u8, flags: u8, stream: u32, payload: &[u8]) -> Vec<u8> {
    let len = u32::try_from(payload.len()).expect("a short frame");
    let head = [
        &len.to_be_bytes()[1..],
        &[kind, flags],
        &stream.to_be_bytes(),
    ];
    [&head.concat(), payload].concat()
}

const PREFACE: &[u8] = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n";

/// A call of `Ask` with these bytes as its question, on one stream.
fn ask(stream: u32, question: &[u8]) -> Vec<u8> {
    let field = |name: &str, value: &str| {
        let text = |text: &str| {
            let len = u8::try_from(text.len()).expect("below 127");
            [&[len], text.as_bytes()].concat()
        };
        [vec![0], text(name), text(value)].concat()
    };
    let headers = [
        field(":method", "POST"),
        field(":scheme", "http"),
        field(":path", "/seedbank.settlement.v1.SettlementService/Ask"),
        field(":authority", "settlement"),
        field("content-type", "application/grpc"),
        field("te", "trailers"),
    ];
    // The one field of the message: number 1, bytes.
    let (low, high) = (question.len() & 0x7f | 0x80, question.len() >> 7);
    let len = [low, high].map(|part| u8::try_from(part).expect("a short question"));
    let question = [&[0x0a], &len[..], question].concat();
    let size = u32::try_from(question.len()).expect("as short");
    let data = [&[0], &size.to_be_bytes()[..], &question].concat();
    let frames = [
        frame(1, 4, stream, &headers.concat()),
        frame(0, 1, stream, &data),
    ];
    frames.concat()
}

/// One question after the other on one connection.
fn asks(question: &[u8]) -> Vec<u8> {
    let streams = (0..20).map(|index| 2 * index + 1);
    let calls: Vec<Vec<u8>> = streams.map(|stream| ask(stream, question)).collect();
    [PREFACE, &frame(4, 0, 0, &[]), &calls.concat()].concat()
}

/// What strangers do to a settlement node.
fn settlement_manners(order: &[u8]) -> Vec<Manner> {
    let begin = [PREFACE, &frame(4, 0, 0, &[])].concat();
    let mut forged = order.to_vec();
    if let Some(last) = forged.last_mut() {
        *last ^= 1;
    }
    let pings = frame(6, 0, 0, &[7; 8]).repeat(50);
    vec![
        Manner::says(&[]),
        Manner::says(&PREFACE[..10]),
        Manner::says(&[22, 3, 1, 2, 0, 1, 0, 1]),
        Manner::says(&ask(1, order)[..30]),
        Manner::says(&[&begin[..], &ask(1, order)[..30]].concat()),
        Manner::floods(&begin, &pings),
        Manner::says(&asks(&[0xa5; 200])),
        Manner::says(&asks(order)),
        Manner::says(&asks(&forged)),
    ]
}

/// How long each of some orders, each for another payee, and of as many reads took, the slowest
/// first. Each is asked on a connection of its own.
fn times(
    member: &mut Member,
    payees: &mut impl Iterator<Item = NodeId>,
) -> Result<[Vec<Duration>; 2]> {
    let mut times = [Vec::new(), Vec::new()];
    for payee in payees.take(QUESTIONS) {
        let begin = Instant::now();
        member.open_lock(payee, 1_000)?;
        times[0].push(begin.elapsed());
        let begin = Instant::now();
        member.read(ReadKind::Account)?;
        times[1].push(begin.elapsed());
    }
    for times in &mut times {
        times.sort_by(|a, b| b.cmp(a));
    }
    Ok(times)
}

#[test]
fn ten_thousand_hostile_connections_keep_no_member_from_the_settlement_node() {
    run_alone(SCENARIO_MAX, |net| {
        let community = Community::found(net)?;
        let settlement = Daemon::start(net, "settlement", &community.settlement_config())?;
        let mut member = Member::new(&community, 77)?;
        let mut payees = (100..).map(|seed| Identity::from_secret([seed; 32]).id());
        let granted = member.identity.id().to_string();
        settlement.cli(&["wallet", "grant", &granted, "1"])?;

        let alone = times(&mut member, &mut payees)?;
        let payee = payees.next().context("another payee")?;
        let order = member.order(payee, 1_000)?;
        let manners = settlement_manners(&submission(order));
        let crowd = Crowd::start(net, community.settlement_addr(), COUNT, &manners)?;
        let beside = times(&mut member, &mut payees).context("beside the crowd")?;
        let begin = Instant::now();
        settlement.cli(&["status"])?;
        let status = begin.elapsed();
        let [made, closed, sent] = crowd.tally()?;
        let memory = peak_bytes(settlement.process_id()?)?;
        println!(
            "slowest orders and reads {:?} alone, {:?} beside the crowd; status {status:?}; \
             {memory} bytes of memory; the crowd made {made} connections, lost {closed}, flooded \
             {sent} bytes",
            alone.each_ref().map(|times| times[0]),
            beside.each_ref().map(|times| &times[..3])
        );
        ensure!(made > 0, "the crowd did nothing");
        ensure!(status <= ANSWER_MAX, "status took {status:?}");
        for times in beside {
            let [lost, rest] = [times[0], times[1]];
            ensure!(rest <= ANSWER_MAX, "{rest:?} for an answer");
            ensure!(lost <= SYN_LOST_MAX, "{lost:?} for an answer");
        }
        ensure!(memory <= MEMORY_MAX, "{memory} bytes");
        Ok(())
    });
}
