//! Metainfo files and magnet links of the tests' content.

use std::path::{Path, PathBuf};

use anyhow::Result;
use sha1::{Digest, Sha1};

use crate::bencode::Value;
use crate::content::Content;

/// A metainfo file on disk, and what names it.
#[derive(Debug, Clone)]
pub struct Torrent {
    pub path: PathBuf,
    pub info_hash: [u8; 20],
    pub content: Content,
    announce: String,
}

impl Torrent {
    /// Writes `NAME.torrent` into `folder`, announced to `announce`.
    ///
    /// # Errors
    /// When the disk refuses.
    pub fn write(content: &Content, announce: &str, folder: &Path) -> Result<Self> {
        let info = info(content);
        let info_hash = Sha1::digest(info.encode()).into();
        let path = folder.join(format!("{}.torrent", content.plan.name));
        let metainfo = Value::dict([("announce", Value::from(announce)), ("info", info)]);
        std::fs::write(&path, metainfo.encode())?;
        Ok(Self {
            path,
            info_hash,
            content: content.clone(),
            announce: announce.to_owned(),
        })
    }

    /// The info hash in lower-case hex.
    #[must_use]
    pub fn hash_hex(&self) -> String {
        self.info_hash
            .iter()
            .map(|byte| format!("{byte:02x}"))
            .collect()
    }

    /// A link that carries the info hash, the name and the tracker, and nothing else (BEP 9).
    #[must_use]
    pub fn magnet(&self) -> String {
        format!(
            "magnet:?xt=urn:btih:{}&dn={}&tr={}",
            self.hash_hex(),
            self.content.plan.name,
            self.announce.replace(':', "%3A").replace('/', "%2F"),
        )
    }
}

fn info(content: &Content) -> Value {
    let plan = &content.plan;
    let mut entries = vec![
        ("name", Value::from(plan.name)),
        ("piece length", Value::from(plan.piece_len)),
        ("pieces", Value::from(content.pieces.concat())),
    ];
    if let [("", len)] = plan.files[..] {
        entries.push(("length", Value::from(len)));
    } else {
        let files = plan.files.iter().map(|(path, len)| {
            let parts = path.split('/').map(Value::from).collect();
            Value::dict([("length", Value::from(*len)), ("path", Value::List(parts))])
        });
        entries.push(("files", Value::List(files.collect())));
    }
    Value::dict(entries)
}
