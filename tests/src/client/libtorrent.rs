//! libtorrent, through Debian's Python binding and a script of ours on its standard input.

use std::ffi::OsString;
use std::io::{BufRead, BufReader, Write};
use std::net::{Ipv4Addr, SocketAddrV4};
use std::path::Path;
use std::process::{ChildStdin, ChildStdout, Command};
use std::sync::Arc;
use std::sync::mpsc::{self, Receiver};
use std::thread;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail};
use serde_json::{Value, json};

use super::{Client, PeerView, Progress, Source};
use crate::namespace::FOREIGN_FAULT;
use crate::net::Net;
use crate::process::Process;
use crate::torrent::Torrent;
use crate::tracker::Tracker;

const SCRIPT: &str = include_str!("libtorrent.py");

/// The interpreter that Debian's python3-libtorrent belongs to, whatever else is in the PATH.
const PYTHON: &str = "/usr/bin/python3";

/// Names the interpreter of a newer libtorrent, for measurements (`make bench`).
const NEWER_PYTHON: &str = "SEEDBANK_BENCH_PYTHON";

const ANSWER_MAX: Duration = Duration::from_secs(30);

/// Codes of libtorrent's own error category that mean: the peer broke the protocol. The others are
/// the ordinary ends of a connection: idle, paused, finished, a second one to the same peer.
const PROTOCOL_CODES: [i64; 36] = [
    26, 30, 39, // empty piece, wrong or invalid info hash
    41, 42, 43, 44, 48, // have, bitfield, requests while choked, piece, piece size
    50, 51, // 120 s of silence, no handshake
    53, 54, 55, 56, 57, 60, 61, 62, 63, 64, 65, 66, 67, 68, // one malformed message each
    81, 91, 93, // packet too large, banned, too many corrupt pieces
    101, 102, 103, 104, 105, 106, 108, 110,
    120, // metadata, peer exchange, dont-have, version
];

/// What a test may limit.
#[derive(Debug, Clone, Copy)]
pub struct Options {
    /// Bytes per second; 0 is no limit.
    pub upload_rate: u32,
    /// Peers unchoked at a time; 0 is libtorrent's own default.
    pub unchoke_slots: u32,
    /// Connections; 0 is libtorrent's own default.
    pub connections: u32,
    /// The one that `make bench` installs, not Debian's.
    pub newer: bool,
}

impl Default for Options {
    fn default() -> Self {
        Self {
            upload_rate: 0,
            unchoke_slots: 8,
            connections: 0,
            newer: false,
        }
    }
}

/// A libtorrent session.
#[derive(Debug)]
pub struct Libtorrent {
    name: String,
    addr: SocketAddrV4,
    version: String,
    process: Process,
    stdin: ChildStdin,
    events: Receiver<String>,
    tracker: Arc<Tracker>,
    complaints: Vec<String>,
}

impl Libtorrent {
    /// Starts a session on an address of its own.
    ///
    /// # Errors
    /// When python3-libtorrent is not installed.
    pub fn start(net: &Net, name: &str, options: Options) -> Result<Self> {
        let addr = net.listen_addr();
        let log = net.folder("")?.join(format!("{name}.log"));
        let mut command = match options.newer {
            true => Command::new(newer_python()?),
            false => Command::new(PYTHON),
        };
        command.args(["-c", SCRIPT]);
        let (process, stdin, stdout) = Process::spawn_piped(name, &mut command, &log)?;
        let mut client = Self {
            name: name.to_owned(),
            addr,
            version: String::new(),
            process,
            stdin,
            events: read_lines(stdout),
            tracker: Arc::clone(&net.tracker),
            complaints: Vec::new(),
        };
        client.send(&json!({
            "ip": addr.ip().to_string(),
            "port": addr.port(),
            "upload_rate": options.upload_rate,
            "unchoke_slots": options.unchoke_slots,
            "connections": options.connections,
        }))?;
        let ready = client
            .wait_for("ready")
            .context("is python3-libtorrent installed?")?;
        client.version = ready["version"].as_str().unwrap_or_default().to_owned();
        Ok(client)
    }

    /// What it calls itself, such as `2.1.1.0`.
    #[must_use]
    pub fn version(&self) -> &str {
        &self.version
    }

    /// The process, for what the system says of it.
    #[must_use]
    pub fn process_id(&self) -> u32 {
        self.process.id()
    }

    /// Dials one more peer.
    ///
    /// # Errors
    /// When the session has died.
    pub fn connect(&mut self, peer: SocketAddrV4) -> Result<()> {
        self.send(&json!({"do": "connect", "ip": peer.ip().to_string(), "port": peer.port()}))
    }

    /// Closes every connection, and dials the known peers again.
    ///
    /// # Errors
    /// When the session has died.
    pub fn reconnect(&mut self) -> Result<()> {
        self.send(&json!({"do": "disconnect"}))
    }

    fn add(&mut self, mut command: Value, folder: &Path, peers: &[SocketAddrV4]) -> Result<()> {
        command["do"] = json!("add");
        command["folder"] = json!(folder);
        let peers = peers
            .iter()
            .map(|peer| json!([peer.ip().to_string(), peer.port()]));
        command["peers"] = Value::Array(peers.collect());
        self.send(&command)
    }

    fn send(&mut self, command: &Value) -> Result<()> {
        let written = writeln!(self.stdin, "{command}");
        if written.is_err() {
            self.check_alive()?;
        }
        Ok(written?)
    }

    fn check_alive(&mut self) -> Result<()> {
        let alive = self.process.check_alive();
        if self.process.is_crashed() {
            return alive.with_context(|| format!("crashed, {FOREIGN_FAULT}"));
        }
        alive
    }

    /// The next event of this kind; complaints among those before it are noted.
    fn wait_for(&mut self, kind: &str) -> Result<Value> {
        let deadline = Instant::now() + ANSWER_MAX;
        loop {
            let event = self.next_event(deadline)?;
            if event["event"] == kind {
                return Ok(event);
            }
            self.note(&event)?;
        }
    }

    fn next_event(&mut self, deadline: Instant) -> Result<Value> {
        match self
            .events
            .recv_timeout(deadline.saturating_duration_since(Instant::now()))
        {
            Ok(line) => Ok(serde_json::from_str(&line)?),
            Err(_) => {
                self.check_alive()?;
                let (name, state) = (&self.name, self.process.standstill());
                bail!("{name} did not answer within {ANSWER_MAX:?}, {FOREIGN_FAULT}:\n{state}")
            }
        }
    }

    fn note(&mut self, event: &Value) -> Result<()> {
        match event["event"].as_str().unwrap_or_default() {
            "broken" | "failed" => bail!("{}: {event}", self.name),
            "bad_data" => self.complaints.push(event["message"].to_string()),
            "disconnected" if is_protocol_error(event) => {
                self.complaints.push(event["message"].to_string());
            }
            _ => {}
        }
        Ok(())
    }

    fn stat(&mut self) -> Result<Value> {
        self.send(&json!({"do": "stat"}))?;
        self.wait_for("stat")
    }
}

fn newer_python() -> Result<OsString> {
    let python = std::env::var_os(NEWER_PYTHON);
    python.with_context(|| format!("{NEWER_PYTHON} is not set: run `make bench`"))
}

fn is_protocol_error(event: &Value) -> bool {
    match event["category"].as_str().unwrap_or_default() {
        "libtorrent" => event["code"]
            .as_i64()
            .is_some_and(|code| PROTOCOL_CODES.contains(&code)),
        "bdecode" => true,
        _ => false,
    }
}

fn read_lines(stdout: ChildStdout) -> Receiver<String> {
    let (lines, received) = mpsc::channel();
    thread::spawn(move || {
        for line in BufReader::new(stdout).lines().map_while(Result::ok) {
            if lines.send(line).is_err() {
                return;
            }
        }
    });
    received
}

impl Client for Libtorrent {
    fn name(&self) -> &str {
        &self.name
    }

    fn addr(&self) -> SocketAddrV4 {
        self.addr
    }

    fn add_seed(&mut self, torrent: &Torrent, folder: &Path) -> Result<()> {
        self.add(json!({"torrent": torrent.path}), folder, &[])
    }

    fn leech(
        &mut self,
        torrent: &Torrent,
        source: Source,
        folder: &Path,
        peers: &[SocketAddrV4],
    ) -> Result<()> {
        let command = match source {
            Source::File => json!({"torrent": torrent.path}),
            Source::Magnet => json!({"magnet": torrent.magnet()}),
        };
        if !peers.is_empty() {
            self.tracker.introduce(*self.addr.ip(), peers);
        }
        self.add(command, folder, peers)
    }

    fn progress(&mut self) -> Result<Progress> {
        let stat = self.stat()?;
        let number = |key: &str| {
            stat[key]
                .as_u64()
                .with_context(|| format!("no {key}: {stat}"))
        };
        Ok(Progress {
            have: number("have")?,
            total: number("total")?,
            sent: number("sent")?,
            received: number("received")?,
            complete: stat["complete"] == true,
        })
    }

    fn peers(&mut self) -> Result<Vec<PeerView>> {
        let stat = self.stat()?;
        let peers = stat["peers"]
            .as_array()
            .context("no peers")?
            .iter()
            .map(|peer| {
                let ip: Ipv4Addr = peer["ip"].as_str().context("no ip")?.parse()?;
                let port = u16::try_from(peer["port"].as_u64().context("no port")?)?;
                Ok(PeerView {
                    addr: SocketAddrV4::new(ip, port),
                    chokes_us: peer["chokes_us"] == true,
                    we_choke: peer["we_choke"] == true,
                })
            });
        peers.collect()
    }

    fn complaints(&mut self) -> Result<Vec<String>> {
        // Whatever was reported before this answer has been noted when it arrives.
        self.stat()?;
        Ok(self.complaints.clone())
    }
}
