//! Pages of connections, for `NodeService` and `TorrentService`.

use seedbank_engine::units::TorrentId;
use seedbank_proto::{Failure, v1};

use super::backend::Backend;
use super::{error, field, message};

/// A page of peers and the token of the next.
pub(super) async fn page(
    backend: &dyn Backend,
    of: Option<TorrentId>,
    page_size: i32,
    page_token: &str,
) -> Result<(Vec<v1::Peer>, String), Failure> {
    let size = field::page_size(page_size)?;
    let after = field::page_token(page_token, |text| text.parse::<u64>().ok())?;
    let mut views = backend.peers(of).await.map_err(error::of_stopping)?;
    views.sort_by_key(|view| view.peer);
    let (views, next) = super::page::page(
        views,
        after,
        size,
        |view, after| view.peer.0 > *after,
        |view| view.peer.0.to_string(),
    );
    Ok((views.iter().map(message::peer).collect(), next))
}
