//! aria2, over its JSON-RPC; its log tells what it thinks of its peers.

use std::net::{Ipv4Addr, SocketAddrV4};
use std::path::Path;
use std::process::Command;
use std::sync::Arc;
use std::time::Duration;

use anyhow::{Context, Result, bail, ensure};
use serde_json::{Value, json};

use super::{Client, PeerView, Progress, Source};
use crate::http::post;
use crate::net::Net;
use crate::poll::poll;
use crate::process::{Process, each_line};
use crate::torrent::Torrent;
use crate::tracker::Tracker;

const RPC_PORT: u16 = 6800;

const START_MAX: Duration = Duration::from_secs(30);

/// In its log: it hangs up on a peer. A `PeerAbstractCommand` is one peer's connection.
const ABORTED: &str = "PeerAbstractCommand.cc:109]";

/// Reasons that are no fault of the peer's: it left, nobody had anything for the other, both
/// dialled at once, or aria2 waited 60 s for a slot.
const ORDINARY_ENDS: [&str; 11] = [
    "EOF",
    "Connection reset",
    "Broken pipe",
    "Connection refused",
    "Failed to establish connection",
    "Timeout",
    "not interested each other",
    "no request/piece messages were exchanged",
    "Good Bye Seeder",
    "download was aborted",
    "Same Peer ID has been already seen",
];

/// In its log: a piece failed its hash.
const WRONG_PIECE: &str = "we got wrong piece";

/// An aria2 with one torrent.
#[derive(Debug)]
pub struct Aria2 {
    name: String,
    addr: SocketAddrV4,
    process: Process,
    log: std::path::PathBuf,
    tracker: Arc<Tracker>,
    /// How aria2 names its one download.
    gid: String,
}

impl Aria2 {
    /// Starts aria2 on an address of its own, plain text, peers from our tracker only.
    ///
    /// # Errors
    /// When aria2 is not installed.
    pub fn start(net: &Net, name: &str) -> Result<Self> {
        let addr = net.listen_addr();
        let log = net.folder("")?.join(format!("{name}.log"));
        let mut command = Command::new("aria2c");
        command.args([
            "--no-conf=true",
            "--enable-rpc=true",
            "--rpc-listen-all=true",
            "--enable-dht=false",
            "--enable-dht6=false",
            "--bt-enable-lpd=false",
            "--enable-peer-exchange=false",
            "--disable-ipv6=true",
            "--file-allocation=none",
            "--seed-ratio=0.0",
            "--bt-min-crypto-level=plain",
            "--bt-require-crypto=false",
            // With it, aria2 checks files that are there, and so can begin as a seed.
            "--check-integrity=true",
            "--quiet=true",
            // Why it hangs up on a peer is told on no higher level.
            "--log-level=debug",
        ]);
        command.arg(format!("--rpc-listen-port={RPC_PORT}"));
        command.arg(format!("--interface={}", addr.ip()));
        command.arg(format!("--listen-port={}", addr.port()));
        command.arg(format!("--log={}", log.display()));
        let output = net.folder("")?.join(format!("{name}-output.log"));
        let mut process = Process::spawn(name, &mut command, &output)?;
        let rpc = SocketAddrV4::new(*addr.ip(), RPC_PORT);
        poll(START_MAX, &format!("{name} listening"), || {
            process.check_alive()?;
            Ok(std::net::TcpStream::connect(rpc).ok())
        })?;
        let tracker = Arc::clone(&net.tracker);
        Ok(Self {
            name: name.to_owned(),
            addr,
            process,
            log,
            tracker,
            gid: String::new(),
        })
    }

    fn rpc(&self, method: &str, params: &Value) -> Result<Value> {
        let request = json!({
            "jsonrpc": "2.0", "id": "1", "method": format!("aria2.{method}"), "params": params,
        });
        let rpc = SocketAddrV4::new(*self.addr.ip(), RPC_PORT);
        let answer = post(rpc, "/jsonrpc", &[], request.to_string().as_bytes())?;
        let body: Value = serde_json::from_slice(&answer.body)
            .with_context(|| format!("{method}: status {}", answer.status))?;
        ensure!(body["error"].is_null(), "{method}: {body}");
        Ok(body["result"].clone())
    }

    fn add(&mut self, torrent: &Torrent, source: Source, folder: &Path) -> Result<()> {
        let options = json!({"dir": folder});
        let gid = match source {
            Source::File => {
                let metainfo = base64(&std::fs::read(&torrent.path)?);
                self.rpc("addTorrent", &json!([metainfo, [], options]))?
            }
            Source::Magnet => self.rpc("addUri", &json!([[torrent.magnet()], options]))?,
        };
        self.gid = gid.as_str().context("no gid")?.to_owned();
        Ok(())
    }

    /// The state of the download; a magnet link's turns into that of what it led to.
    fn status(&mut self) -> Result<Value> {
        self.process.check_alive()?;
        let status = self.rpc("tellStatus", &json!([self.gid]))?;
        if status["status"] == "error" {
            bail!("{}: {}", self.name, status["errorMessage"]);
        }
        if let Some(next) = status["followedBy"][0].as_str() {
            next.clone_into(&mut self.gid);
            return self.status();
        }
        Ok(status)
    }
}

impl Client for Aria2 {
    fn name(&self) -> &str {
        &self.name
    }

    fn addr(&self) -> SocketAddrV4 {
        self.addr
    }

    fn add_seed(&mut self, torrent: &Torrent, folder: &Path) -> Result<()> {
        self.add(torrent, Source::File, folder)
    }

    fn leech(
        &mut self,
        torrent: &Torrent,
        source: Source,
        folder: &Path,
        peers: &[SocketAddrV4],
    ) -> Result<()> {
        if !peers.is_empty() {
            self.tracker.introduce(*self.addr.ip(), peers);
        }
        self.add(torrent, source, folder)
    }

    fn progress(&mut self) -> Result<Progress> {
        let status = self.status()?;
        let number = |key: &str| {
            let text = status[key]
                .as_str()
                .with_context(|| format!("no {key}: {status}"))?;
            Ok::<u64, anyhow::Error>(text.parse()?)
        };
        let (have, total) = (number("completedLength")?, number("totalLength")?);
        // Both are set while files are being checked, when `completedLength` is not yet a result.
        let checking =
            status["verifiedLength"].is_string() || status["verifyIntegrityPending"].is_string();
        // A magnet link's own total is that of its metainfo.
        let payload = status["bittorrent"]["info"].is_object();
        Ok(Progress {
            have,
            total,
            sent: number("uploadLength")?,
            received: have,
            complete: payload && total > 0 && have == total && !checking,
        })
    }

    fn peers(&mut self) -> Result<Vec<PeerView>> {
        let answer = self.rpc("getPeers", &json!([self.gid]))?;
        let peers = answer.as_array().context("no peers")?.iter().map(|peer| {
            let text = |key: &str| {
                peer[key]
                    .as_str()
                    .with_context(|| format!("no {key}: {peer}"))
            };
            let ip: Ipv4Addr = text("ip")?.parse()?;
            Ok(PeerView {
                addr: SocketAddrV4::new(ip, text("port")?.parse()?),
                chokes_us: text("peerChoking")? == "true",
                we_choke: text("amChoking")? == "true",
            })
        });
        peers.collect()
    }

    fn complaints(&mut self) -> Result<Vec<String>> {
        let mut complaints = Vec::new();
        let mut aborted = false;
        each_line(&self.log, |line| {
            // The reason stands on the line after.
            if aborted && !ORDINARY_ENDS.iter().any(|words| line.contains(words)) {
                complaints.push(line.to_owned());
            }
            aborted = line.contains(ABORTED);
            if line.contains(WRONG_PIECE) {
                complaints.push(line.to_owned());
            }
        })?;
        Ok(complaints)
    }
}

/// RFC 4648, as aria2 wants its metainfo.
fn base64(bytes: &[u8]) -> String {
    const ALPHABET: &[u8; 64] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
    let mut text = String::new();
    for group in bytes.chunks(3) {
        let mut padded = [0; 4];
        padded[1..=group.len()].copy_from_slice(group);
        let word = u32::from_be_bytes(padded);
        for index in 0..4 {
            let six = usize::try_from(word >> (18 - 6 * index) & 63).expect("six bits");
            text.push(if index <= group.len() {
                char::from(ALPHABET[six])
            } else {
                '='
            });
        }
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn base64_pads_to_four() {
        assert_eq!(base64(b"Ma"), "TWE=");
        assert_eq!(base64(b"M"), "TQ==");
        assert_eq!(base64(b"Man"), "TWFu");
    }
}
