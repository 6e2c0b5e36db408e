//! The tracker of a world: it knows every node that is up and has the torrent, and names some.

use seedbank_engine::discovery::ResolveError;
use seedbank_engine::discovery::tracker::AnnounceReply;
use seedbank_engine::interface::input::Input;
use seedbank_engine::units::TorrentId;
use seedbank_ledger::Duration;

use crate::network::NodeIndex;
use crate::node::SimNode;

/// Time between announces that it asks for.
const INTERVAL: Duration = Duration::from_secs(1_800);
/// Most peers named in one answer, as by most trackers.
pub const TRACKER_PEERS_MAX: usize = 50;

/// An announce.
#[derive(Clone, Debug)]
pub(crate) struct Asking {
    pub(crate) node: NodeIndex,
    pub(crate) torrent_id: TorrentId,
    /// The tracker's URL.
    pub(crate) tracker: String,
    /// Peers wanted.
    pub(crate) num_want: u32,
}

/// What a node is told of a torrent: some of the others, each as likely as the next.
pub(crate) fn answer(nodes: &mut [SimNode], asking: Asking) -> Input {
    let others = nodes
        .iter()
        .enumerate()
        .filter(|(index, _)| *index != asking.node.0);
    let mut peers: Vec<_> = others
        .filter(|(_, other)| other.session.is_some())
        .filter(|(_, other)| other.geometry.contains_key(&asking.torrent_id))
        .map(|(_, other)| other.addr)
        .collect();
    nodes[asking.node.0].tracker_rng.shuffle(&mut peers);
    let wanted = usize::try_from(asking.num_want).unwrap_or(usize::MAX);
    peers.truncate(wanted.min(TRACKER_PEERS_MAX));
    let reply = AnnounceReply {
        interval: INTERVAL,
        interval_min: None,
        seeds: None,
        leechers: None,
        peers,
        warning: None,
    };
    Input::Announced {
        torrent_id: asking.torrent_id,
        tracker: asking.tracker,
        result: Ok(reply),
    }
}

/// No host of a world has a name.
pub(crate) fn unresolved(host: String, port: u16) -> Input {
    let result = Err(ResolveError("no such host".to_owned()));
    Input::Resolved { host, port, result }
}
