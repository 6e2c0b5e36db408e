//! The session as users see it: plain copies.

use seedbank_ledger::{Bytes, Instant};

use crate::content::bitfield::Bitfield;
use crate::content::metainfo::FileEntry;
use crate::interface::view::{FileView, FilesView, PeerView, TorrentView};
use crate::session::Session;
use crate::session::peer::Peer;
use crate::session::torrent::{Open, Torrent};
use crate::units::PieceIndex;

impl Session {
    pub(super) fn torrent_view(&self, torrent: &Torrent, now: Instant) -> TorrentView {
        let geometry = torrent.metainfo().map(|metainfo| metainfo.geometry);
        let links = torrent
            .peers
            .iter()
            .filter_map(|peer| self.peers.get(peer)?.live());
        let (counters, totals) = (&torrent.counters, torrent.totals());
        TorrentView {
            torrent_id: torrent.torrent_id,
            name: torrent.name.clone(),
            state: torrent.state(),
            error: torrent.failure.clone(),
            total: Bytes::new(geometry.map_or(0, |geometry| geometry.total_len())),
            have: torrent.have_bytes(),
            piece_count: geometry.map_or(0, |geometry| geometry.piece_count()),
            piece_have_count: torrent.open().map_or(0, |open| open.picker.have().count()),
            uploaded: totals.uploaded,
            downloaded: totals.downloaded,
            wasted: totals.wasted,
            upload_rate: Bytes::new(counters.upload_rate.per_second(now)),
            download_rate: Bytes::new(counters.download_rate.per_second(now)),
            peer_count: count(links.clone()),
            seed_count: count(links.filter(|link| link.is_seed)),
            trackers: torrent.trackers.views(),
            unreached: torrent.failures.views(),
            completed_at: torrent.completed_at,
        }
    }

    pub(super) fn peer_view(&self, peer: &Peer, now: Instant) -> Option<PeerView> {
        let link = peer.live()?;
        let decision = self.choker.decision(peer.index);
        let credit = self.market.peer(peer.index);
        Some(PeerView {
            peer: peer.index,
            torrent_id: peer.torrent_id?,
            addr: peer.addr,
            transport: peer.transport,
            incoming: peer.incoming,
            client: link
                .remote
                .client
                .clone()
                .unwrap_or_else(|| client_of(&link.client_id.0)),
            node_id: credit.node_id,
            piece_have_count: self.pieces_of(peer).map_or(0, Bitfield::count),
            interested: link.interested_since.is_some(),
            interesting: link.interesting,
            unchoked_us: !link.choking_us,
            unchoked: self.is_unchoked(peer.index),
            reason: decision.map(|decision| decision.reason),
            uploaded: link.upload.sent,
            downloaded: link.download.received,
            upload_rate: Bytes::new(link.upload.rate.per_second(now)),
            download_rate: Bytes::new(link.download.rate.per_second(now)),
            bid: credit.bid,
            own_bid: credit.own_bid,
            exposure: credit.exposure,
            window: credit.window,
            standing: credit.standing,
            backing_off: credit.backing_off,
        })
    }
}

/// Files in their order, and what is there of each.
pub(super) fn files_view(torrent: &Torrent, from: usize, limit: usize) -> FilesView {
    let Some(metainfo) = torrent.metainfo() else {
        return FilesView::default();
    };
    let files = || metainfo.files.iter().filter(|file| !file.pad);
    let open = torrent.open();
    let shown = files().enumerate().skip(from).take(limit);
    FilesView {
        count: files().count(),
        files: shown
            .map(|(index, file)| FileView {
                index,
                path: file.path.clone(),
                original: file.original.clone(),
                total: Bytes::new(file.len),
                have: Bytes::new(open.map_or(0, |open| have_of(open, file))),
            })
            .collect(),
    }
}

/// Bytes of a file that lie in verified pieces.
fn have_of(open: &Open, file: &FileEntry) -> u64 {
    let have = open.picker.have();
    if have.is_complete() {
        return file.len;
    }
    let geometry = &open.metainfo.geometry;
    let end = file.offset + file.len;
    let piece_len = u64::from(geometry.piece_len());
    let pieces = (file.offset / piece_len)..end.div_ceil(piece_len);
    pieces
        .filter_map(|raw| PieceIndex::new(u32::try_from(raw).ok()?, geometry))
        .filter(|piece| have.get(*piece))
        .map(|piece| {
            let begin = geometry.piece_offset(piece);
            let piece_end = begin + u64::from(geometry.len_of(piece));
            piece_end.min(end) - begin.max(file.offset)
        })
        .sum()
}

fn count<T>(items: impl Iterator<Item = T>) -> u32 {
    u32::try_from(items.count()).unwrap_or(u32::MAX)
}

/// The code and version in a client id (BEP 20), made printable.
fn client_of(client_id: &[u8; 20]) -> String {
    crate::text::printable(&client_id[..8], 8)
}
