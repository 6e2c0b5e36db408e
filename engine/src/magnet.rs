//! Magnet links (BEP 9, 53).

use std::net::SocketAddr;

use crate::units::InfoHash;

/// A parsed `magnet:?xt=urn:btih:…` link.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Magnet {
    /// Which torrent.
    pub info_hash: InfoHash,
    /// `dn`, for people until the metainfo is here.
    pub name: Option<String>,
    /// `tr`, each a tier of its own.
    pub trackers: Vec<String>,
    /// `x.pe`, literal addresses only.
    pub peers: Vec<SocketAddr>,
}
