//! A session in which nothing happens is not woken, and that changes nothing that it does.

use seedbank_ledger::{Duration, Instant};

use super::rig::{metainfo, millis, request, secs};
use super::{Remote, Rig};
use crate::discovery::ResolveError;
use crate::interface::input::Input;
use crate::transfer::choker::Reason;
use crate::wire::message::Message;

/// A seed with three connections of which nobody wants anything for ten minutes.
fn still() -> Rig {
    let mut rig = Rig::new();
    let torrent = rig.seed(&metainfo("still", 3, 1));
    rig.join_seed(torrent, 1);
    rig.join(torrent, Remote::modern(2));
    rig.join(torrent, Remote::plain(3));
    rig.advance(secs(60));
    rig
}

/// How often the session asks to be woken within so long, answered to the point.
fn wakes(rig: &mut Rig, time: Duration) -> usize {
    let until = rig.now.after(time);
    let mut count = 0;
    while let Some(at) = rig.session.next_timeout().filter(|at| *at <= until) {
        rig.advance(at.since(rig.now));
        count += 1;
    }
    count
}

#[test]
fn who_has_nothing_to_do_is_woken_for_keep_alives_only() {
    let mut rig = still();
    let count = wakes(&mut rig, secs(1_000));
    assert!((10..=30).contains(&count), "{count} wakes");
}

/// What came out at this instant.
fn said(rig: &mut Rig) -> impl Iterator<Item = (Instant, String)> + use<> {
    let now = rig.now;
    let outputs = rig.take().into_iter();
    outputs.map(move |output| (now, format!("{output:?}")))
}

/// All that comes out of two hours with long pauses, with its time. With `noise` the session hears
/// of something that means nothing every 100 ms, and so never rests.
fn story(noise: bool) -> Vec<(Instant, String)> {
    let mut rig = Rig::new();
    let mut told = Vec::new();
    let mut pass = |rig: &mut Rig, time: Duration| {
        let until = rig.now.after(time);
        // What happened before was answered at once.
        told.extend(said(rig));
        while rig.now < until {
            let step = if noise { millis(100) } else { time };
            let next = rig.session.next_timeout().unwrap_or(until);
            let next = next.max(rig.now).min(rig.now.after(step)).min(until);
            rig.advance(next.since(rig.now));
            if noise {
                let result = Err(ResolveError("unknown".to_owned()));
                let (host, port) = ("nobody.test".to_owned(), 1);
                rig.input(Input::Resolved { host, port, result });
            }
            told.extend(said(rig));
        }
    };
    let torrent = rig.seed(&metainfo("story", 3, 1));
    for round in 0..12_u64 {
        let name = u8::try_from(round).unwrap() + 1;
        let peer = match round % 3 {
            0 => rig.join(torrent, Remote::plain(name)),
            _ => rig.join(torrent, Remote::modern(name)),
        };
        pass(&mut rig, millis(61_037 + 1_013 * round));
        rig.says(peer, [Message::Interested]);
        pass(&mut rig, millis(777 * (round + 1)));
        rig.says(peer, [request(0, 0)]);
        pass(&mut rig, millis(333));
        rig.send_all(peer);
        if round % 2 == 0 {
            rig.says(peer, [Message::NotInterested]);
        }
        pass(&mut rig, millis(431_111));
        rig.says(peer, [Message::KeepAlive]);
        if round % 4 != 3 {
            rig.close(peer);
        }
    }
    told
}

#[test]
fn what_a_session_does_after_a_rest_is_what_it_would_have_done_without() {
    let (quiet, noisy) = (story(false), story(true));
    let unchoked = quiet
        .iter()
        .filter(|(_, output)| output.contains("Unchoke"));
    assert!(unchoked.count() >= 12);
    for (one, other) in quiet.iter().zip(&noisy) {
        assert_eq!(one, other);
    }
    assert_eq!(quiet.len(), noisy.len());
}

#[test]
fn who_is_interested_after_a_rest_is_let_in_at_once() {
    let mut rig = still();
    rig.advance(millis(500_123));
    let torrent = rig.session.torrents()[0].torrent_id;
    let peer = rig.join(torrent, Remote::modern(9));
    rig.take();
    rig.says(peer, [Message::Interested]);
    let decision = rig.session.choker.decision(peer).map(|one| one.reason);
    assert_eq!(decision, Some(Reason::FreeSlot));
}
