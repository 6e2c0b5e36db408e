//! `peers`: connections, and why each is served or not.

use seedbank_proto::v1;
use seedbank_proto::v1::UnchokeReason;
use serde_json::{Value, json};

use super::App;
use super::args::Peers;
use super::table::{Align, TextTable};
use super::torrent::short;
use crate::connection::Client;
use crate::error::ClientError;
use crate::json::to_value;
use crate::units::{bytes, bytes_per_second};

/// Peers asked for at once.
const PAGE_SIZE: i32 = 1_000;
/// Pages read at most: more peers than any node has.
const PAGES_MAX: u32 = 100;

pub(super) async fn run(app: &mut App<'_>, args: Peers) -> Result<(), ClientError> {
    let mut client = app.client().await?;
    let info_hash = match &args.id {
        Some(id) => Some(client.resolve(id).await?),
        None => None,
    };
    if let (Some(info_hash), false) = (&info_hash, args.add.is_empty()) {
        let request = v1::AddPeersRequest {
            info_hash: info_hash.clone(),
            addresses: args.add,
        };
        let answer = client.torrents.add_peers(request).await?.into_inner();
        return app.printer.message(&answer, |page| {
            page.line("told");
            page.next(format!("seedbank peers {}", short(info_hash)));
        });
    }
    let peers = list(&mut client, info_hash.as_deref()).await?;
    let documents: Vec<Value> = peers.iter().map(to_value).collect();
    app.printer
        .document(&json!({ "peers": documents }), |page| {
            if peers.is_empty() {
                page.line("no peers");
                return;
            }
            page.table(&table(&peers));
        })
}

async fn list(client: &mut Client, of: Option<&str>) -> Result<Vec<v1::Peer>, ClientError> {
    let mut peers = Vec::new();
    let mut page_token = String::new();
    for _ in 0..PAGES_MAX {
        let (page, next) = page(client, of, page_token).await?;
        peers.extend(page);
        page_token = next;
        if page_token.is_empty() {
            break;
        }
    }
    Ok(peers)
}

async fn page(
    client: &mut Client,
    of: Option<&str>,
    page_token: String,
) -> Result<(Vec<v1::Peer>, String), ClientError> {
    match of {
        Some(info_hash) => {
            let request = v1::ListTorrentPeersRequest {
                info_hash: info_hash.to_owned(),
                page_size: PAGE_SIZE,
                page_token,
            };
            let answer = client.torrents.list_torrent_peers(request).await?;
            let answer = answer.into_inner();
            Ok((answer.peers, answer.next_page_token))
        }
        None => {
            let request = v1::ListPeersRequest {
                page_size: PAGE_SIZE,
                page_token,
            };
            let answer = client.node.list_peers(request).await?.into_inner();
            Ok((answer.peers, answer.next_page_token))
        }
    }
}

fn table(peers: &[v1::Peer]) -> TextTable {
    let mut table = TextTable::new(&[
        ("address", Align::Left),
        ("client", Align::Left),
        ("key", Align::Left),
        ("we serve it", Align::Left),
        ("up", Align::Right),
        ("down", Align::Right),
        ("sent", Align::Right),
        ("received", Align::Right),
        ("unpaid", Align::Right),
        ("standing", Align::Right),
    ]);
    for peer in peers {
        table.row([
            peer.address.clone(),
            peer.client_name.clone(),
            if peer.public_key.is_empty() {
                "-".to_owned()
            } else {
                short(&peer.public_key).to_owned()
            },
            verdict(peer),
            bytes_per_second(peer.upload_bytes_per_second),
            bytes_per_second(peer.download_bytes_per_second),
            bytes(peer.uploaded_bytes),
            bytes(peer.downloaded_bytes),
            bytes(peer.exposure_bytes),
            bytes(peer.standing_bytes),
        ]);
    }
    table
}

fn verdict(peer: &v1::Peer) -> String {
    let answer = if peer.unchoked { "yes" } else { "no" };
    let reason = match peer.unchoke_reason() {
        UnchokeReason::Unspecified => "not decided yet",
        UnchokeReason::Paid => "pays",
        UnchokeReason::Friend => "friend",
        UnchokeReason::Reciprocal => "gives us data",
        UnchokeReason::Standing => "good standing",
        UnchokeReason::Waited => "waited longest",
        UnchokeReason::Optimistic => "optimistic slot",
        UnchokeReason::FreeSlot => "a slot was free",
        UnchokeReason::Dwell => "only just unchoked",
        UnchokeReason::Outranked => "outranked",
        UnchokeReason::NotInterested => "not interested",
        UnchokeReason::Snubbed => "snubbed us",
        UnchokeReason::TorrentStopped => "torrent stopped",
        UnchokeReason::Seed => "is a seed",
        UnchokeReason::JustChoked => "only just choked",
        UnchokeReason::SeatLost => "did not use its paid seat",
    };
    format!("{answer}: {reason}")
}
