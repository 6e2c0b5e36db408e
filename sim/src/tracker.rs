//! The tracker of a world: it knows every node that is up and has the torrent.

use seedbank_engine::discovery::ResolveError;
use seedbank_engine::discovery::tracker::AnnounceReply;
use seedbank_engine::interface::input::Input;
use seedbank_engine::units::TorrentId;
use seedbank_ledger::Duration;

use crate::network::NodeIndex;
use crate::node::SimNode;

/// Time between announces that it asks for.
const INTERVAL: Duration = Duration::from_secs(1_800);

/// What `asking` is told of a torrent: everybody but itself.
pub(crate) fn answer(
    nodes: &[SimNode],
    asking: NodeIndex,
    torrent_id: TorrentId,
    tracker: String,
) -> Input {
    let others = nodes
        .iter()
        .enumerate()
        .filter(|(index, _)| *index != asking.0);
    let peers = others
        .filter(|(_, other)| other.session.is_some())
        .filter(|(_, other)| other.geometry.contains_key(&torrent_id))
        .map(|(_, other)| other.addr)
        .collect();
    let reply = AnnounceReply {
        interval: INTERVAL,
        interval_min: None,
        seeds: None,
        leechers: None,
        peers,
        warning: None,
    };
    Input::Announced {
        torrent_id,
        tracker,
        result: Ok(reply),
    }
}

/// No host of a world has a name.
pub(crate) fn unresolved(host: String, port: u16) -> Input {
    let result = Err(ResolveError("no such host".to_owned()));
    Input::Resolved { host, port, result }
}
