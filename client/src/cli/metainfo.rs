//! `create`: a .torrent file from what is on the daemon's machine.

use std::fs::OpenOptions;
use std::io::{self, Write as _};
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
    let out = match args.out {
        Some(out) => out,
        None => beside_us(Path::new(&path))?,
    };
    // Better now than after an hour of hashing.
    if !args.force && out.try_exists().unwrap_or_default() {
        return Err(is_there(&out));
    }
    let mut client = app.client().await?;
    let request = v1::CreateMetainfoRequest {
        path: path.clone(),
        trackers: args.trackers.clone(),
        private: args.private,
        comment: args.comment.unwrap_or_default(),
        piece_bytes: args.piece.unwrap_or_default(),
    };
    let made = hash(app, &mut client, request).await?;
    write(&out, &made.metainfo, args.force)?;
    if args.seed {
        seed(&mut client, &path, made.metainfo.clone(), args.trackers).await?;
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
    app: &mut App<'_>,
    client: &mut Client,
    request: v1::CreateMetainfoRequest,
) -> Result<v1::CreateMetainfoResponse, ClientError> {
    let mut progress = app.printer.counted("hashing");
    let mut stream = client.torrents.create_metainfo(request).await?.into_inner();
    let mut last = v1::CreateMetainfoResponse::default();
    while let Some(step) = stream.message().await? {
        progress.set(&mut app.printer, step.hashed_bytes, step.total_bytes)?;
        last = step;
    }
    Ok(last)
}

/// The owner named its trackers: they may be anywhere.
async fn seed(
    client: &mut Client,
    path: &str,
    metainfo: Vec<u8>,
    trackers: Vec<String>,
) -> Result<(), ClientError> {
    let parent = Path::new(path).parent().unwrap_or(Path::new("/"));
    let request = v1::AddTorrentRequest {
        request_id: request_id()?,
        source: Some(Source::Metainfo(metainfo)),
        download_dir: absolute(parent)?,
        stopped: false,
        initial_peers: Vec::new(),
        trackers,
    };
    client.torrents.add_torrent(request).await?;
    Ok(())
}

/// Writes a file that is not there yet, unless it may be overwritten.
fn write(path: &Path, bytes: &[u8], may_overwrite: bool) -> Result<(), ClientError> {
    let mut options = OpenOptions::new();
    options.write(true);
    if may_overwrite {
        options.create(true).truncate(true);
    } else {
        options.create_new(true);
    }
    let written = options
        .open(path)
        .and_then(|mut file| file.write_all(bytes));
    written.map_err(|source| match source.kind() {
        io::ErrorKind::AlreadyExists => is_there(path),
        _ => ClientError::File {
            path: path.display().to_string(),
            source,
        },
    })
}

fn is_there(path: &Path) -> ClientError {
    let advice = "is there already; --force overwrites it, --out names another file";
    ClientError::File {
        path: path.display().to_string(),
        source: io::Error::new(io::ErrorKind::AlreadyExists, advice),
    }
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
