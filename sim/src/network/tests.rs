//! Lines without sessions: blocks are sent from end to end, and what arrives when is looked at.

use seedbank_engine::units::{BLOCK_LEN, Block, PieceIndex};
use seedbank_engine::wire::message::Message;

use super::*;
use crate::queue::EventQueue;

const MS: Duration = Duration::from_millis(1);
const MEGABYTE: u64 = 1_000_000;

/// Lines, and what came over them.
struct Bench {
    links: Links,
    queue: EventQueue<(NodeIndex, LinkEvent)>,
    now: Instant,
    /// What arrived, when and where.
    came: Vec<(Instant, End, LinkItem)>,
    /// Bytes that arrived at an end.
    bytes: BTreeMap<End, u64>,
    /// Blocks that a sender's socket took in, and when.
    written: Vec<(Instant, End, u32)>,
    /// Ends that heard that the other side has closed, and when.
    gone: Vec<(Instant, End)>,
    /// Ends that never run out of blocks to send.
    greedy: Vec<End>,
    /// Blocks sent from an end: each has a number of its own.
    sent: BTreeMap<End, u32>,
    peers: u64,
}

impl Bench {
    fn new(lines: &[LinkConfig]) -> Self {
        let mut links = Links::new();
        for (index, line) in (0_u8..).zip(lines) {
            links.add_node(NodeIndex(index.into()), *line, Rng::new(index.into()));
        }
        Self {
            links,
            queue: EventQueue::default(),
            now: Instant::ZERO,
            came: Vec::new(),
            bytes: BTreeMap::new(),
            written: Vec::new(),
            gone: Vec::new(),
            greedy: Vec::new(),
            sent: BTreeMap::new(),
            peers: 0,
        }
    }

    /// A connection; the end at `a`.
    fn connect(&mut self, a: usize, b: usize) -> End {
        let end = |node, peer| End {
            node: NodeIndex(node),
            peer: PeerIndex(peer),
        };
        let (a, b) = (end(a, self.peers), end(b, self.peers));
        self.peers += 1;
        self.links.connect(a, b, self.now);
        a
    }

    fn send(&mut self, from: End, item: LinkItem) {
        self.links.send(from, item, self.now);
        self.drain();
    }

    /// Sends the next blocks.
    fn blocks(&mut self, from: End, count: u32) {
        for _ in 0..count {
            let sent = self.sent.entry(from).or_default();
            let block = block(*sent);
            *sent += 1;
            self.links.send(from, block, self.now);
        }
    }

    /// Keeps this end busy from now on.
    fn flood(&mut self, from: End) {
        self.greedy.push(from);
        self.blocks(from, 16);
        self.drain();
    }

    fn drain(&mut self) {
        while let Some((at, node, event)) = self.links.poll_timer() {
            self.queue.push(at, (node, event));
        }
        let now = self.now;
        while let Some(output) = self.links.poll_output() {
            match output {
                LinkOutput::Delivered { to, item } => {
                    *self.bytes.entry(to).or_default() += item.len();
                    self.came.push((now, to, item));
                }
                LinkOutput::Written { from, blocks, .. } => {
                    self.written.push((now, from, blocks));
                    if self.greedy.contains(&from) {
                        self.blocks(from, blocks);
                    }
                }
                LinkOutput::Gone(end) => self.gone.push((now, end)),
            }
            while let Some((at, node, event)) = self.links.poll_timer() {
                self.queue.push(at, (node, event));
            }
        }
        self.links.check_invariants();
    }

    fn run(&mut self, time: Duration) {
        let end = self.now.after(time);
        while self.queue.peek().is_some_and(|at| at <= end) {
            let (at, (node, event)) = self.queue.pop().unwrap();
            self.now = self.now.max(at);
            self.links.handle(node, event, self.now);
            self.drain();
        }
        self.now = end;
    }

    /// Bytes per second that came from these ends, after a while in which queues fill.
    fn rates(&mut self, from: &[End]) -> Vec<u64> {
        self.run(Duration::from_secs(4));
        self.bytes.clear();
        self.run(Duration::from_secs(10));
        let to = |from: &End| self.links.other(*from).unwrap();
        from.iter()
            .map(|from| self.bytes.get(&to(from)).copied().unwrap_or(0) / 10)
            .collect()
    }

    fn sample(&mut self, end: End) -> UplinkSample {
        let samples = self.links.sample(end.node, self.now);
        let mut samples = samples.into_iter();
        samples.find(|sample| sample.peer == end.peer).unwrap()
    }
}

fn block(index: u32) -> LinkItem {
    let block = Block {
        piece: PieceIndex::unchecked(index),
        begin: 0,
        len: BLOCK_LEN,
    };
    LinkItem::Block {
        block,
        garbage: false,
    }
}

fn line(uplink: u64) -> LinkConfig {
    LinkConfig::new(uplink, MS.times(10))
}

/// Asserts that a figure is within some percent of what is expected.
#[track_caller]
fn assert_near(figure: u64, expected: u64, percent: u64) {
    let off = figure.abs_diff(expected);
    assert!(
        off * 100 <= expected * percent,
        "{figure} instead of {expected}"
    );
}

#[test]
fn a_message_on_empty_lines_takes_its_length_and_the_way() {
    let mut bench = Bench::new(&[line(17_000), line(MEGABYTE).with_downlink(8_500)]);
    let from = bench.connect(0, 1);
    bench.send(from, LinkItem::Message(Message::Unchoke));
    bench.run(Duration::from_secs(1));
    let (at, to, _) = bench.came[0].clone();
    assert_eq!(Some(to), bench.links.other(from));
    // 1 ms out, 20 ms on the way, 2 ms in.
    assert_eq!(at, Instant::ZERO.after(MS.times(23)));
    assert_eq!(bench.came.len(), 1);
}

#[test]
fn connections_of_one_uplink_share_it_byte_by_byte() {
    let mut bench = Bench::new(&[line(MEGABYTE); 4]);
    let ends: Vec<End> = (1..4).map(|to| bench.connect(0, to)).collect();
    ends.iter().for_each(|end| bench.flood(*end));
    for rate in bench.rates(&ends) {
        assert_near(rate, MEGABYTE / 3, 1);
    }
}

#[test]
fn who_sends_little_does_not_wait_behind_others_blocks() {
    let mut bench = Bench::new(&[line(MEGABYTE); 3]);
    let busy = bench.connect(0, 1);
    let quiet = bench.connect(0, 2);
    bench.flood(busy);
    bench.run(Duration::from_secs(1));
    let asked_at = bench.now;
    bench.send(quiet, LinkItem::Message(Message::Unchoke));
    bench.run(Duration::from_secs(1));
    let to = bench.links.other(quiet);
    let (at, _, _) = bench
        .came
        .iter()
        .find(|(_, at, _)| Some(*at) == to)
        .unwrap();
    // The modem's 200 ms and the way; not what waits in the other socket.
    let took = at.since(asked_at).as_millis();
    assert!((215..=225).contains(&took), "{took} ms");
}

#[test]
fn a_slow_receiver_leaves_the_rest_of_the_uplink_to_others() {
    for buffer in [20, 200] {
        let buffer = MS.times(buffer);
        let fast = LinkConfig {
            buffer,
            ..line(MEGABYTE)
        };
        let slow = fast.with_downlink(MEGABYTE / 10);
        let mut bench = Bench::new(&[fast, fast, slow]);
        let ends = [bench.connect(0, 1), bench.connect(0, 2)];
        ends.iter().for_each(|end| bench.flood(*end));
        let rates = bench.rates(&ends);
        assert_near(rates[1], MEGABYTE / 10, 1);
        assert_near(rates[0], MEGABYTE * 9 / 10, 1);
    }
}

#[test]
fn two_senders_share_a_downlink_and_leave_nothing_of_it_unused() {
    let receiver = line(MEGABYTE).with_downlink(MEGABYTE);
    let mut bench = Bench::new(&[line(2 * MEGABYTE), line(16 * MEGABYTE), receiver]);
    let ends = [bench.connect(0, 2), bench.connect(1, 2)];
    ends.iter().for_each(|end| bench.flood(*end));
    for rate in bench.rates(&ends) {
        assert_near(rate, MEGABYTE / 2, 2);
    }

    // One that cannot use its half leaves it to the other.
    let mut bench = Bench::new(&[line(MEGABYTE / 5), line(16 * MEGABYTE), receiver]);
    let ends = [bench.connect(0, 2), bench.connect(1, 2)];
    ends.iter().for_each(|end| bench.flood(*end));
    let rates = bench.rates(&ends);
    assert_near(rates[0], MEGABYTE / 5, 2);
    assert_near(rates[1], MEGABYTE * 4 / 5, 2);
}

/// The max–min fair rates of connections between lines: all grow alike, each until a line that it
/// passes is full.
fn fair_rates(lines: &[LinkConfig], ways: &[(usize, usize)]) -> Vec<u64> {
    let mut fixed: Vec<Option<u64>> = vec![None; ways.len()];
    while fixed.iter().any(Option::is_none) {
        let mut tightest: Option<(u64, Vec<usize>)> = None;
        for (node, line) in lines.iter().enumerate() {
            for (capacity, is_up) in [(Some(line.uplink), true), (line.downlink, false)] {
                let Some(capacity) = capacity else { continue };
                let on = |way: &(usize, usize)| if is_up { way.0 == node } else { way.1 == node };
                let members: Vec<usize> = (0..ways.len()).filter(|i| on(&ways[*i])).collect();
                let used: u64 = members.iter().filter_map(|i| fixed[*i]).sum();
                let open: Vec<usize> = members
                    .into_iter()
                    .filter(|i| fixed[*i].is_none())
                    .collect();
                if open.is_empty() {
                    continue;
                }
                let share = capacity.saturating_sub(used) / open.len() as u64;
                if tightest.as_ref().is_none_or(|(least, _)| share < *least) {
                    tightest = Some((share, open));
                }
            }
        }
        let (share, members) = tightest.expect("every connection passes an uplink");
        for member in members {
            fixed[member] = Some(share);
        }
    }
    fixed.into_iter().flatten().collect()
}

#[test]
fn rates_are_max_min_fair_whatever_the_lines() {
    let mut rng = Rng::new(3);
    for _ in 0..12 {
        let lines: Vec<LinkConfig> = (0..6)
            .map(|_| {
                let line = LinkConfig {
                    delay: MS.times(1 + rng.below(40)),
                    ..line(200_000 + rng.below(2 * MEGABYTE))
                };
                match rng.chance(2, 3) {
                    true => line.with_downlink(200_000 + rng.below(2 * MEGABYTE)),
                    false => line,
                }
            })
            .collect();
        let mut ways = Vec::new();
        for from in 0..lines.len() {
            for to in 0..lines.len() {
                if from != to && rng.chance(1, 2) {
                    ways.push((from, to));
                }
            }
        }
        let mut bench = Bench::new(&lines);
        let ends: Vec<End> = ways.iter().map(|(a, b)| bench.connect(*a, *b)).collect();
        ends.iter().for_each(|end| bench.flood(*end));
        let rates = bench.rates(&ends);
        let fair = fair_rates(&lines, &ways);
        for (rate, fair) in rates.iter().zip(&fair) {
            assert_near(*rate, *fair, 8);
        }
        assert_near(rates.iter().sum(), fair.iter().sum(), 2);
    }
}

#[test]
fn a_full_buffer_shows_in_the_time_there_and_back() {
    for buffer in [20, 200] {
        let buffer = MS.times(buffer);
        let from = LinkConfig {
            buffer,
            ..line(MEGABYTE)
        };
        let mut bench = Bench::new(&[from, line(MEGABYTE)]);
        let end = bench.connect(0, 1);
        bench.send(end, LinkItem::Message(Message::Unchoke));
        bench.run(MS.times(500));
        let idle = bench.sample(end);
        assert_near(idle.rtt.as_nanos(), MS.times(40).as_nanos(), 1);
        bench.flood(end);
        bench.run(Duration::from_secs(2));
        let busy = bench.sample(end);
        let expected = both(MS.times(40), buffer);
        assert_near(busy.rtt.as_nanos(), expected.as_nanos(), 5);
        assert_near(busy.rtt_min.as_nanos(), MS.times(40).as_nanos(), 1);
    }
}

#[test]
fn what_waits_for_a_slow_receiver_fills_its_own_buffer_and_not_the_modem() {
    for connections in [1, 8] {
        let slow = line(MEGABYTE).with_downlink(MEGABYTE / 10);
        let mut bench = Bench::new(&[line(MEGABYTE), slow, line(MEGABYTE)]);
        let to_slow: Vec<End> = (0..connections).map(|_| bench.connect(0, 1)).collect();
        to_slow.iter().for_each(|end| bench.flood(*end));
        bench.run(Duration::from_secs(5));
        let samples = bench.links.sample(NodeIndex(0), bench.now);
        let rtts = samples.iter().map(|sample| sample.rtt.as_millis());
        // 40 ms of way, 200 ms of the receiver's buffer, and a quarter of both for many.
        let rtt = rtts.sum::<u64>() / connections;
        assert!((200..=320).contains(&rtt), "{rtt} ms");
        let other = bench.connect(0, 2);
        let asked_at = bench.now;
        bench.send(other, LinkItem::Message(Message::Unchoke));
        bench.run(Duration::from_secs(1));
        let to = bench.links.other(other);
        let (at, _, _) = bench
            .came
            .iter()
            .find(|(_, at, _)| Some(*at) == to)
            .unwrap();
        assert!(at.since(asked_at) < MS.times(40), "the modem is empty");
    }
}

#[test]
fn a_block_is_sent_once_the_socket_has_it() {
    let from = LinkConfig {
        send_buffer: 4 * 16_397,
        buffer: MS.times(20),
        ..line(MEGABYTE)
    };
    let mut bench = Bench::new(&[from, line(MEGABYTE)]);
    let end = bench.connect(0, 1);
    bench.blocks(end, 10);
    bench.drain();
    let at_once: u32 = bench.written.iter().map(|(_, _, blocks)| blocks).sum();
    // 20 kB in the modem and four blocks in the socket.
    assert_eq!(at_once, 5);
    let sample = bench.sample(end);
    assert!(sample.unsent <= 4 * 16_397);
    assert!(sample.unsent > 3 * 16_397);
    bench.run(Duration::from_secs(1));
    let (at, _, _) = bench.written.last().unwrap();
    // The last enters when all but the buffers has left: 78 kB, after 78 ms.
    let ms = at.since(Instant::ZERO).as_millis();
    assert!((75..=82).contains(&ms), "{ms} ms");
    let all: u32 = bench.written.iter().map(|(_, _, blocks)| blocks).sum();
    assert_eq!(all, 10);
    let sample = bench.links.sample(end.node, bench.now);
    assert_eq!(sample.len(), 1, "it was acknowledged since");
    assert_eq!(sample[0].acknowledged, 10 * 16_397);
    assert_eq!(sample[0].unsent, 0);
    let again = bench.links.sample(end.node, bench.now);
    assert_eq!(again, [], "who has nothing is not sampled");
}

#[test]
fn acknowledgements_take_the_way_back() {
    let mut bench = Bench::new(&[line(MEGABYTE); 2]);
    let end = bench.connect(0, 1);
    bench.blocks(end, 1);
    bench.drain();
    bench.run(MS.times(37));
    assert_eq!(bench.came.len(), 1, "it is there after 16 + 20 ms");
    assert!(bench.sample(end).acknowledged < 2_000);
    bench.run(MS.times(20));
    assert_eq!(bench.sample(end).acknowledged, 16_397);
}

#[test]
fn a_lost_segment_costs_the_uplink_twice_and_holds_up_what_is_behind_it() {
    let lossy = LinkConfig {
        loss_ppm: 100_000,
        ..line(MEGABYTE)
    };
    let mut bench = Bench::new(&[lossy, line(MEGABYTE)]);
    let end = bench.connect(0, 1);
    bench.flood(end);
    let rates = bench.rates(&[end]);
    assert_near(rates[0], MEGABYTE * 9 / 10, 5);
    let pieces: Vec<u32> = bench.came.iter().filter_map(piece_of).collect();
    assert!(pieces.len() > 500);
    assert!(
        pieces.iter().copied().eq((0..).take(pieces.len())),
        "in order"
    );
    let mut lates = bench.came.windows(2);
    let held_up = lates.any(|pair| pair[1].0.since(pair[0].0) > MS.times(40));
    assert!(held_up, "a hole takes a round trip to fill");
}

fn piece_of((_, _, item): &(Instant, End, LinkItem)) -> Option<u32> {
    match item {
        LinkItem::Block { block, .. } => Some(block.piece.get()),
        LinkItem::Handshake(_) | LinkItem::Message(_) | LinkItem::Fin => None,
    }
}

#[test]
fn jitter_delays_and_keeps_the_order() {
    let jittery = LinkConfig {
        jitter: MS.times(30),
        ..line(MEGABYTE)
    };
    let mut bench = Bench::new(&[jittery, line(MEGABYTE)]);
    let end = bench.connect(0, 1);
    bench.blocks(end, 200);
    bench.drain();
    bench.run(Duration::from_secs(10));
    let pieces: Vec<u32> = bench.came.iter().filter_map(piece_of).collect();
    assert_eq!(pieces, (0..200).collect::<Vec<_>>());
    let sample = bench.sample(end);
    let base = MS.times(40);
    assert!(sample.rtt > both(base, MS.times(5)), "{}", sample.rtt);
    assert!(sample.rtt_min >= base);
}

#[test]
fn what_was_not_delivered_when_a_connection_was_cut_never_is() {
    let lines = [line(MEGABYTE), line(MEGABYTE).with_downlink(MEGABYTE / 4)];
    let mut bench = Bench::new(&lines);
    let cut = bench.connect(0, 1);
    let kept = bench.connect(0, 1);
    bench.flood(cut);
    bench.flood(kept);
    bench.run(Duration::from_secs(1));
    let other = bench.links.other(cut).unwrap();
    assert_eq!(bench.links.cut(cut), [cut, other]);
    assert_eq!(bench.links.cut(other), []);
    assert!(!bench.links.is_connected(other));
    bench.greedy.retain(|end| *end == kept);
    let before = bench.came.len();
    let rates = bench.rates(&[kept]);
    assert_near(rates[0], MEGABYTE / 4, 1);
    assert!(bench.came[before..].iter().all(|(_, to, _)| *to != other));
    assert_eq!(bench.links.ends_of(NodeIndex(0)), [kept]);
}

#[test]
fn lines_do_the_same_twice() {
    let run = || {
        let rough = LinkConfig {
            jitter: MS.times(5),
            loss_ppm: 20_000,
            ..line(MEGABYTE).with_downlink(MEGABYTE / 2)
        };
        let mut bench = Bench::new(&[rough; 4]);
        for (from, to) in [(0, 1), (0, 2), (1, 2), (2, 3), (3, 0)] {
            let end = bench.connect(from, to);
            bench.flood(end);
        }
        bench.run(Duration::from_secs(3));
        let when: Vec<(Instant, End)> = bench.came.iter().map(|(at, to, _)| (*at, *to)).collect();
        when
    };
    assert_eq!(run(), run());
}

#[test]
fn who_closes_is_heard_after_the_way_and_gets_nothing_more() {
    let mut bench = Bench::new(&[line(MEGABYTE); 2]);
    let closing = bench.connect(0, 1);
    let other = bench.links.other(closing).unwrap();
    bench.flood(other);
    bench.flood(closing);
    bench.run(Duration::from_secs(1));
    let closed_at = bench.now;
    let before = bench.came.len();
    bench.greedy.clear();
    bench.links.close(closing, closed_at);
    bench.drain();
    assert!(!bench.links.is_connected(closing));
    assert!(bench.links.is_connected(other));
    bench.send(closing, LinkItem::Message(Message::Unchoke));
    bench.run(Duration::from_secs(1));
    assert_eq!(bench.gone, [(closed_at.after(MS.times(20)), other)]);
    let came = &bench.came[before..];
    assert!(came.iter().all(|(_, to, _)| *to == other), "nothing here");
    // What was on its way goes on until the other side has heard.
    assert!(!came.is_empty());
    let late = closed_at.after(MS.times(20));
    assert!(came.iter().all(|(at, ..)| *at <= late));
    let blocks: u32 = bench.sent.values().sum();
    let came = bench.came.iter().filter_map(piece_of).count();
    let [lost, under_way] = bench.links.blocks_lost_and_under_way();
    assert_eq!(under_way, 0);
    assert_eq!(u64::from(blocks), came as u64 + lost);
}

#[test]
fn both_ends_may_close_before_either_hears_of_it() {
    let mut bench = Bench::new(&[line(MEGABYTE); 2]);
    let one = bench.connect(0, 1);
    let other = bench.links.other(one).unwrap();
    bench.flood(one);
    bench.run(MS.times(100));
    bench.greedy.clear();
    for (end, after) in [(one, 0), (other, 5)] {
        bench.run(MS.times(after));
        bench.links.close(end, bench.now);
        bench.drain();
    }
    bench.run(Duration::from_secs(1));
    assert_eq!(bench.gone, []);
    assert_eq!(bench.links.blocks_lost_and_under_way()[1], 0);
    assert_eq!(bench.links.lines[1].downlink.reserved(), 0);
}

#[test]
fn a_connection_alone_fills_a_long_way_to_a_slow_receiver() {
    for delay in [1, 40, 200] {
        let line = LinkConfig {
            delay: MS.times(delay),
            buffer: MS.times(20),
            ..line(MEGABYTE)
        };
        let mut bench = Bench::new(&[line, line.with_downlink(MEGABYTE / 4)]);
        let end = bench.connect(0, 1);
        bench.flood(end);
        assert_near(bench.rates(&[end])[0], MEGABYTE / 4, 1);
    }
}
