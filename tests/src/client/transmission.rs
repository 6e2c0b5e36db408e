//! Transmission's daemon, over its RPC; its debug log tells what it thinks of its peers.

use std::fs;
use std::net::{Ipv4Addr, SocketAddrV4};
use std::path::Path;
use std::process::Command;
use std::sync::Arc;
use std::time::Duration;

use anyhow::{Context, Result, ensure};
use serde_json::{Value, json};

use super::{Client, PeerView, Progress, Source};
use crate::http::post;
use crate::net::Net;
use crate::poll::poll;
use crate::process::{Process, each_line};
use crate::torrent::Torrent;
use crate::tracker::Tracker;

const RPC_PORT: u16 = 9091;

const START_MAX: Duration = Duration::from_secs(30);

/// What its log says about a peer that breaks the protocol.
const COMPLAINTS: [&str; 8] = [
    "bad packet",
    "peer sent us an UNKNOWN",
    "wrong block size",
    "contributed to corrupt piece",
    "banning peer",
    "rejecting an invalid request",
    "handshake length is too big",
    "skipping unknown ltep message",
];

/// A Transmission daemon.
#[derive(Debug)]
pub struct Transmission {
    name: String,
    addr: SocketAddrV4,
    process: Process,
    tracker: Arc<Tracker>,
    /// Handed out by the daemon against forged requests from browsers.
    session: String,
}

impl Transmission {
    /// Starts a daemon on an address of its own, plain text over TCP, peers from our tracker only.
    ///
    /// # Errors
    /// When transmission-daemon is not installed.
    pub fn start(net: &Net, name: &str) -> Result<Self> {
        let addr = net.listen_addr();
        let home = net.folder(&format!("{name}-home"))?;
        fs::write(home.join("settings.json"), settings(addr).to_string())?;
        let log = net.folder("")?.join(format!("{name}.log"));
        let mut command = Command::new("transmission-daemon");
        command.arg("--foreground").arg("--config-dir").arg(&home);
        // The only way to make it tell what its peers send: file descriptor 2.
        command.env("TR_DEBUG_FD", "2").env("HOME", &home);
        let mut process = Process::spawn(name, &mut command, &log)?;
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
            tracker,
            session: String::new(),
        })
    }

    fn rpc(&mut self, method: &str, arguments: &Value) -> Result<Value> {
        let request = json!({"method": method, "arguments": arguments}).to_string();
        let rpc = SocketAddrV4::new(*self.addr.ip(), RPC_PORT);
        let send = |session: &str| {
            let headers = [("X-Transmission-Session-Id", session)];
            post(rpc, "/transmission/rpc", &headers, request.as_bytes())
        };
        let mut answer = send(&self.session)?;
        if answer.status == 409 {
            let session = answer.headers.get("x-transmission-session-id");
            self.session = session.context("a conflict without a session id")?.clone();
            answer = send(&self.session)?;
        }
        let body: Value = serde_json::from_slice(&answer.body)
            .with_context(|| format!("{method}: status {}", answer.status))?;
        ensure!(body["result"] == "success", "{method}: {body}");
        Ok(body["arguments"].clone())
    }

    fn torrent(&mut self, fields: &[&str]) -> Result<Value> {
        self.process.check_alive()?;
        let answer = self.rpc("torrent-get", &json!({"fields": fields}))?;
        let torrent = answer["torrents"][0].clone();
        let error = torrent["errorString"].as_str().unwrap_or_default();
        ensure!(error.is_empty(), "{}: {error}", self.name);
        Ok(torrent)
    }

    fn add(&mut self, name: &str, folder: &Path) -> Result<()> {
        let arguments = json!({"filename": name, "download-dir": folder, "paused": false});
        self.rpc("torrent-add", &arguments).map(drop)
    }
}

/// Everything off that looks for peers or limits them; no encryption, as everything here.
fn settings(addr: SocketAddrV4) -> Value {
    json!({
        "bind-address-ipv4": addr.ip().to_string(),
        "bind-address-ipv6": "::1",
        "peer-port": addr.port(),
        "rpc-bind-address": addr.ip().to_string(),
        "rpc-port": RPC_PORT,
        "rpc-whitelist-enabled": false,
        "rpc-host-whitelist-enabled": false,
        "rpc-authentication-required": false,
        "dht-enabled": false,
        "lpd-enabled": false,
        "pex-enabled": false,
        "utp-enabled": false,
        "port-forwarding-enabled": false,
        "encryption": 0,
        "preallocation": 0,
        "rename-partial-files": false,
        "download-queue-enabled": false,
        "queue-stalled-enabled": false,
        "ratio-limit-enabled": false,
        "idle-seeding-limit-enabled": false,
    })
}

impl Client for Transmission {
    fn name(&self) -> &str {
        &self.name
    }

    fn addr(&self) -> SocketAddrV4 {
        self.addr
    }

    fn makes_empty_files(&self) -> bool {
        false // 3.00 never creates a file of no bytes
    }

    fn add_seed(&mut self, torrent: &Torrent, folder: &Path) -> Result<()> {
        self.add(&torrent.path.to_string_lossy(), folder)
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
        match source {
            Source::File => self.add(&torrent.path.to_string_lossy(), folder),
            Source::Magnet => self.add(&torrent.magnet(), folder),
        }
    }

    fn progress(&mut self) -> Result<Progress> {
        const SEEDING: u64 = 6;
        let torrent = self.torrent(&[
            "haveValid",
            "sizeWhenDone",
            "uploadedEver",
            "downloadedEver",
            "leftUntilDone",
            "status",
            "errorString",
        ])?;
        let number = |key: &str| torrent[key].as_u64().with_context(|| format!("no {key}"));
        let (have, total) = (number("haveValid")?, number("sizeWhenDone")?);
        Ok(Progress {
            have,
            total,
            sent: number("uploadedEver")?,
            received: number("downloadedEver")?,
            complete: total > 0 && number("leftUntilDone")? == 0 && number("status")? == SEEDING,
        })
    }

    fn peers(&mut self) -> Result<Vec<PeerView>> {
        let torrent = self.torrent(&["peers", "errorString"])?;
        let peers = torrent["peers"]
            .as_array()
            .context("no peers")?
            .iter()
            .map(|peer| {
                let ip: Ipv4Addr = peer["address"].as_str().context("no address")?.parse()?;
                let port = u16::try_from(peer["port"].as_u64().context("no port")?)?;
                Ok(PeerView {
                    addr: SocketAddrV4::new(ip, port),
                    chokes_us: peer["clientIsChoked"] == true,
                    we_choke: peer["peerIsChoked"] == true,
                })
            });
        peers.collect()
    }

    fn complaints(&mut self) -> Result<Vec<String>> {
        let mut complaints = Vec::new();
        each_line(self.process.log_path(), |line| {
            if COMPLAINTS.iter().any(|words| line.contains(words)) {
                complaints.push(line.to_owned());
            }
        })?;
        Ok(complaints)
    }
}
