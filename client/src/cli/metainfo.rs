//! `create`: a .torrent file from what is on the daemon's machine.

use std::path::{Path, PathBuf};

use seedbank_proto::v1;
use seedbank_proto::v1::add_torrent_request::Source;
use serde_json::json;

use super::App;
use super::args::Create;
use super::request_id;
use super::torrent::{absolute, short};
use crate::connection::Client;
use crate::error::ClientError;
use crate::units::bytes;

pub(super) async fn create(app: &mut App<'_>, args: Create) -> Result<(), ClientError> {
    let path = absolute(&args.path)?;
    let piece_bytes = i32::try_from(args.piece.unwrap_or_default())
        .map_err(|_| ClientError::Usage("a piece has at most 16MiB".to_owned()))?;
    let out = match args.out {
        Some(out) => out,
        None => beside_us(Path::new(&path))?,
    };
    let mut client = app.client().await?;
    let request = v1::CreateMetainfoRequest {
        path: path.clone(),
        trackers: args.trackers,
        private: args.private,
        comment: args.comment.unwrap_or_default(),
        piece_bytes,
    };
    let made = hash(app, &mut client, request).await?;
    std::fs::write(&out, &made.metainfo).map_err(|source| ClientError::File {
        path: out.display().to_string(),
        source,
    })?;
    if args.seed {
        seed(&mut client, &path, made.metainfo.clone()).await?;
    }
    let document = json!({
        "info_hash": made.info_hash,
        "magnet": made.magnet,
        "total_bytes": made.total_bytes.to_string(),
        "path": out.display().to_string(),
        "seeding": args.seed,
    });
    app.printer.document(&document, |page| {
        page.fact("file", out.display());
        page.fact("info hash", &made.info_hash);
        page.fact("size", bytes(made.total_bytes));
        page.fact("magnet", &made.magnet);
        if args.seed {
            page.next(format!("seedbank show {}", short(&made.info_hash)));
        } else {
            page.next(format!("seedbank add {}", out.display()));
        }
    })
}

async fn hash(
    app: &App<'_>,
    client: &mut Client,
    request: v1::CreateMetainfoRequest,
) -> Result<v1::CreateMetainfoResponse, ClientError> {
    let progress = app.printer.progress("hashing");
    let mut stream = client.torrents.create_metainfo(request).await?.into_inner();
    let mut last = v1::CreateMetainfoResponse::default();
    while let Some(step) = stream.message().await? {
        progress.set(step.hashed_bytes, step.total_bytes);
        last = step;
    }
    Ok(last)
}

async fn seed(client: &mut Client, path: &str, metainfo: Vec<u8>) -> Result<(), ClientError> {
    let parent = Path::new(path).parent().unwrap_or(Path::new("/"));
    let request = v1::AddTorrentRequest {
        request_id: request_id()?,
        source: Some(Source::Metainfo(metainfo)),
        download_dir: absolute(parent)?,
        stopped: false,
        initial_peers: Vec::new(),
    };
    client.torrents.add_torrent(request).await?;
    Ok(())
}

/// `NAME.torrent` in the folder we are in.
fn beside_us(path: &Path) -> Result<PathBuf, ClientError> {
    let name = path
        .file_name()
        .ok_or_else(|| ClientError::Usage(format!("{} has no name", path.display())))?;
    let mut name = name.to_owned();
    name.push(".torrent");
    Ok(PathBuf::from(name))
}
