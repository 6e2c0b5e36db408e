//! `peers`: connections, whether each serves us, and why we serve it or not.

use seedbank_proto::v1;
use seedbank_proto::v1::UnchokeReason;
use serde_json::{Value, json};

use super::App;
use super::args::Peers;
use super::show::unreached;
use super::table::{Align, TextTable};
use super::torrent::{get, short};
use crate::connection::Client;
use crate::error::ClientError;
use crate::json::to_value;
use crate::units::{bytes, bytes_per_second};

/// Peers asked for at once.
const PAGE_SIZE: i32 = 1_000;
/// Pages read at most: more peers than any node has.
const PAGES_MAX: u32 = 100;

/// Columns that a narrow terminal does without, the first one first.
const DROPPABLE: [&str; 6] = ["standing", "unpaid", "sent", "received", "key", "client"];
/// Columns of an address of IPv4 and its port.
const ADDRESS_MIN: usize = 21;

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
    let torrents = match info_hash {
        Some(info_hash) => Vec::from_iter(get(&mut client, info_hash).await?.torrent),
        None => client.list_torrents().await?,
    };
    let documents: Vec<Value> = peers.iter().map(to_value).collect();
    let document = json!({ "peers": documents, "unreached": unreached_documents(&torrents) });
    app.printer.document(&document, |page| {
        if peers.is_empty() {
            page.line("no peers");
        } else {
            page.fitted(table(&peers), &DROPPABLE, "address", ADDRESS_MIN);
        }
        if let Some(unreached) = unreached(&torrents) {
            page.line(format!("not reached: {unreached}"));
        }
    })
}

/// What was dialled in vain, each line with its torrent.
fn unreached_documents(torrents: &[v1::Torrent]) -> Vec<Value> {
    let lines = torrents.iter().flat_map(|torrent| {
        torrent.unreached.iter().map(|one| {
            let mut line = to_value(one);
            line["info_hash"] = json!(torrent.info_hash);
            line
        })
    });
    lines.collect()
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
        ("serves us", Align::Left),
        ("down", Align::Right),
        ("we serve it", Align::Left),
        ("up", Align::Right),
        ("received", Align::Right),
        ("sent", Align::Right),
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
            serves_us(peer).to_owned(),
            bytes_per_second(peer.download_bytes_per_second),
            verdict(peer),
            bytes_per_second(peer.upload_bytes_per_second),
            bytes(peer.downloaded_bytes),
            bytes(peer.uploaded_bytes),
            bytes(peer.exposure_bytes),
            bytes(peer.standing_bytes),
        ]);
    }
    table
}

/// Whether it lets us ask for what we want; why it does not, no message says.
fn serves_us(peer: &v1::Peer) -> &'static str {
    let pays = peer.own_bid_microcredits_per_gib > 0;
    match (peer.interesting, peer.unchoked_us, pays) {
        (false, _, _) => "-",
        (true, true, false) => "yes",
        (true, true, true) => "yes: paid",
        (true, false, false) => "no",
        (true, false, true) => "no: bid",
    }
}

fn verdict(peer: &v1::Peer) -> String {
    let answer = if peer.unchoked { "yes" } else { "no" };
    let reason = match peer.unchoke_reason() {
        UnchokeReason::Unspecified => "undecided",
        UnchokeReason::Paid => "pays",
        UnchokeReason::Friend => "friend",
        UnchokeReason::Reciprocal => "gives us data",
        UnchokeReason::Standing => "good standing",
        UnchokeReason::Waited => "waited longest",
        UnchokeReason::Optimistic => "optimistic",
        UnchokeReason::FreeSlot => "free slot",
        UnchokeReason::Dwell => "just unchoked",
        UnchokeReason::Outranked => "outranked",
        UnchokeReason::NotInterested => "not interested",
        UnchokeReason::Snubbed => "snubbed us",
        UnchokeReason::TorrentStopped => "torrent stopped",
        UnchokeReason::Seed => "is a seed",
        UnchokeReason::JustChoked => "just choked",
        UnchokeReason::SeatLost => "lost its seat",
    };
    format!("{answer}: {reason}")
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::columns::width;

    fn peer(address: &str, reason: UnchokeReason) -> v1::Peer {
        v1::Peer {
            address: address.into(),
            client_name: "Seedbank 0.1.0".into(),
            public_key: "c0".repeat(32),
            interesting: true,
            own_bid_microcredits_per_gib: 1,
            unchoke_reason: reason.into(),
            upload_bytes_per_second: 123_456_789,
            download_bytes_per_second: 1_047_000,
            uploaded_bytes: 1 << 40,
            ..v1::Peer::default()
        }
    }

    #[test]
    fn both_directions_fit_80_columns() {
        let peers = [
            peer("203.0.113.255:65535", UnchokeReason::SeatLost),
            peer(
                "[2001:db8:1234:5678:9abc:def0:1234:5678]:65535",
                UnchokeReason::Optimistic,
            ),
        ];
        let mut table = table(&peers);
        table.fit(80, &DROPPABLE, "address", ADDRESS_MIN);
        let text = table.to_string();
        assert!(text.lines().all(|line| width(line) <= 80), "{text}");
        for wanted in [
            "serves us",
            "we serve it",
            "down",
            "up",
            "203.0.113.255:65535",
        ] {
            assert!(text.contains(wanted), "{wanted}: {text}");
        }
    }

    #[test]
    fn what_they_do_for_us_is_told_from_what_we_want() {
        let mut peer = peer("203.0.113.7:1", UnchokeReason::Paid);
        assert_eq!(serves_us(&peer), "no: bid");
        peer.unchoked_us = true;
        assert_eq!(serves_us(&peer), "yes: paid");
        peer.own_bid_microcredits_per_gib = 0;
        assert_eq!(serves_us(&peer), "yes");
        peer.interesting = false;
        assert_eq!(serves_us(&peer), "-");
    }
}
