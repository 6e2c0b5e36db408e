//! Seedbank under test: `seedbankd` as a process, asked and told through `seedbank --json`.

use std::cell::Cell;
use std::fs;
use std::net::SocketAddrV4;
use std::path::{Path, PathBuf};
use std::process::{Command, Output};
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail, ensure};
use serde_json::Value;

use crate::client::{Client, PeerView, Progress, Source};
use crate::link::Link;
use crate::net::{Net, PORT};
use crate::process::{Process, each_line};
use crate::repository::program;
use crate::torrent::Torrent;

/// Between start and the first answer: RocksDB opens, the ledger is checked.
const START_MAX: &str = "--wait=60s";

/// A question costs a process, so progress is asked for no more often than this.
const QUESTION_PAUSE: Duration = Duration::from_millis(200);

/// A node: its data folder outlives the process, which may be killed and started again.
#[derive(Debug)]
pub struct Daemon {
    name: String,
    addr: SocketAddrV4,
    folder: PathBuf,
    socket: PathBuf,
    config: PathBuf,
    /// Whose machine it runs on, if not the harness's.
    link: Option<Link>,
    /// How often it was started: every life has a log of its own.
    lives: u32,
    process: Option<Process>,
    /// `seedbank events`, writing to a file.
    events: Option<Process>,
    torrent_id: String,
    asked: Cell<Option<(Instant, Progress)>>,
}

/// How a command of `seedbank` ended, when it was not well.
#[derive(Debug)]
pub struct Failure {
    pub exit_code: Option<i32>,
    /// The object under `error` in what it printed.
    pub error: Value,
}

impl Daemon {
    /// Starts a node on an address of its own. `config` is TOML of its own tables; `[node]` and
    /// `[api]` are ours.
    ///
    /// # Errors
    /// When the programs are not built, or the node does not come up.
    pub fn start(net: &Net, name: &str, config: &str) -> Result<Self> {
        Self::start_at(net, name, net.listen_addr(), config)
    }

    /// As [`Daemon::start`], where the address must be known before: others are told of it first.
    ///
    /// # Errors
    /// As [`Daemon::start`].
    pub fn start_at(net: &Net, name: &str, addr: SocketAddrV4, config: &str) -> Result<Self> {
        Self::start_on(net, name, (addr, None), "", config)
    }

    /// As [`Daemon::start`], with room for so many connections to peers.
    ///
    /// # Errors
    /// As [`Daemon::start`].
    pub fn start_for(net: &Net, name: &str, peers_max: u16, config: &str) -> Result<Self> {
        let node = format!("max_peers = {peers_max}\n");
        Self::start_on(net, name, (net.listen_addr(), None), &node, config)
    }

    /// As [`Daemon::start`], on a machine behind a link of its own.
    ///
    /// # Errors
    /// As [`Daemon::start`].
    pub fn start_behind(net: &Net, name: &str, link: &Link, config: &str) -> Result<Self> {
        let addr = SocketAddrV4::new(link.address, PORT);
        Self::start_on(net, name, (addr, Some(link.clone())), "", config)
    }

    fn start_on(
        net: &Net,
        name: &str,
        (addr, link): (SocketAddrV4, Option<Link>),
        node: &str,
        config: &str,
    ) -> Result<Self> {
        let folder = net.folder(name)?;
        let file = folder.join("config.toml");
        let socket = net.socket(name);
        let ours = format!(
            "[node]\ndata_dir = {:?}\nlisten = [\"{addr}\"]\n{node}\
             [api]\nunix = {:?}\nlisten = [\"127.0.0.1:0\"]\n",
            folder.join("data"),
            socket,
        );
        fs::write(&file, ours + config)?;
        let mut daemon = Self {
            name: name.to_owned(),
            addr,
            socket,
            config: file,
            link,
            folder,
            lives: 0,
            process: None,
            events: None,
            torrent_id: String::new(),
            asked: Cell::new(None),
        };
        daemon.resume()?;
        Ok(daemon)
    }

    /// Starts the node again on the same data, after it was killed or terminated.
    ///
    /// # Errors
    /// As [`Daemon::start`].
    pub fn resume(&mut self) -> Result<()> {
        self.lives += 1;
        let log = self.log_of_life("log");
        let program = program("seedbankd")?;
        let mut command = match &self.link {
            Some(link) => link.command(program),
            None => Command::new(program),
        };
        command.arg("run").arg("-c").arg(&self.config);
        self.process = Some(Process::spawn(&self.name, &mut command, &log)?);
        if let Err(failure) = self.try_cli(&[START_MAX, "health"])? {
            self.check_alive()?;
            bail!("{} does not serve: {failure:?}", self.name);
        }
        let mut command = self.command(&["events", "--from", "0"])?;
        let events = Process::spawn("seedbank events", &mut command, &self.log_of_life("events"))?;
        self.events = Some(events);
        Ok(())
    }

    /// Ends the node as `kill -9` does.
    ///
    /// # Errors
    /// When it is not running.
    pub fn kill(&mut self) -> Result<()> {
        self.process
            .take()
            .context("the node is not running")?
            .kill()
    }

    /// Asks the node to leave, and waits until it has.
    ///
    /// # Errors
    /// When it does not leave in time, or not in peace.
    pub fn terminate(&mut self) -> Result<()> {
        let status = self
            .process
            .take()
            .context("the node is not running")?
            .terminate()?;
        ensure!(status.success(), "{} left with {status}", self.name);
        Ok(())
    }

    /// Stops the process where it stands, or lets it go on: a machine that nobody can reach.
    ///
    /// # Errors
    /// When it is not running.
    pub fn hold(&self, held: bool) -> Result<()> {
        let process = self.process.as_ref();
        process.context("the node is not running")?.hold(held)
    }

    /// The process, for what the system says of it.
    ///
    /// # Errors
    /// When it is not running.
    pub fn process_id(&self) -> Result<u32> {
        let process = self.process.as_ref();
        Ok(process.context("the node is not running")?.id())
    }

    /// Where the node keeps what outlives it.
    #[must_use]
    pub fn data_dir(&self) -> PathBuf {
        self.folder.join("data")
    }

    /// Where its API listens.
    #[must_use]
    pub fn socket(&self) -> &Path {
        &self.socket
    }

    /// Runs `seedbank ARGS... --json` and gives the document that it printed.
    ///
    /// # Errors
    /// When the command fails, with what it said.
    pub fn cli(&self, args: &[&str]) -> Result<Value> {
        match self.try_cli(args)? {
            Ok(document) => Ok(document),
            Err(failure) => bail!("seedbank {}: {failure:?}", args.join(" ")),
        }
    }

    /// As [`Daemon::cli`], for commands that are to fail.
    ///
    /// # Errors
    /// When the program cannot be run or prints no JSON.
    pub fn try_cli(&self, args: &[&str]) -> Result<Result<Value, Failure>> {
        carry_out(&mut self.command(args)?)
    }

    /// As [`Daemon::try_cli`], over TCP with the token in this file.
    ///
    /// # Errors
    /// As [`Daemon::try_cli`].
    pub fn try_cli_over_tcp(
        &self,
        token_file: &Path,
        args: &[&str],
    ) -> Result<Result<Value, Failure>> {
        let status = self.cli(&["status"])?;
        let addresses = status["node"]["api_addresses"].as_array();
        let mut addresses = addresses.into_iter().flatten().filter_map(Value::as_str);
        let tcp = addresses
            .find_map(|address| address.strip_prefix("http://"))
            .with_context(|| format!("no TCP address in {status}"))?;
        let mut command = Command::new(program("seedbank")?);
        command
            .arg("--api")
            .arg(tcp)
            .arg("--token-file")
            .arg(token_file);
        carry_out(command.arg("--json").args(args))
    }

    /// Runs a command of `seedbankd` itself on this node's data, such as `ledger check`.
    ///
    /// # Errors
    /// When the program cannot be run.
    pub fn offline(&self, args: &[&str]) -> Result<Output> {
        let mut command = Command::new(program("seedbankd")?);
        command.args(args).arg("-c").arg(&self.config);
        Ok(command.output()?)
    }

    /// Every event of this life so far, oldest first.
    ///
    /// # Errors
    /// When the file that they are written to cannot be read.
    pub fn events(&self) -> Result<Vec<Value>> {
        let mut events = Vec::new();
        each_line(&self.log_of_life("events"), |line| {
            // The last line may be half written: it comes whole the next time.
            events.extend(serde_json::from_str::<Value>(line));
        })?;
        Ok(events)
    }

    fn events_of(&self, kinds: &[&str]) -> Result<Vec<Value>> {
        let mut events = self.events()?;
        events.retain(|event| kinds.iter().any(|kind| event["kind"] == *kind));
        Ok(events)
    }

    /// How often each peer was unchoked after it had been choked, by our own log of decisions.
    ///
    /// # Errors
    /// As [`Daemon::events`].
    pub fn unchokes(&self) -> Result<std::collections::BTreeMap<String, u32>> {
        let mut counts = std::collections::BTreeMap::new();
        for event in self.events_of(&["EVENT_KIND_CHOKE"])? {
            if event["unchoked"] == true {
                let peer = event["peer_id"]
                    .as_str()
                    .context("a decision about nobody")?;
                *counts.entry(peer.to_owned()).or_default() += 1;
            }
        }
        Ok(counts)
    }

    /// The torrent that was added last, as `seedbank show` has it.
    ///
    /// # Errors
    /// As [`Daemon::cli`].
    pub fn torrent(&self) -> Result<Value> {
        Ok(self.cli(&["show", &self.torrent_id])?["torrent"].clone())
    }

    fn command(&self, args: &[&str]) -> Result<Command> {
        let mut command = Command::new(program("seedbank")?);
        command
            .arg("--api")
            .arg(format!("unix:{}", self.socket.display()));
        command.arg("--json").args(args);
        Ok(command)
    }

    fn check_alive(&mut self) -> Result<()> {
        self.process
            .as_mut()
            .context("the node is not running")?
            .check_alive()
    }

    fn log_of_life(&self, kind: &str) -> PathBuf {
        self.folder
            .with_file_name(format!("{}-{}.{kind}", self.name, self.lives))
    }

    fn add(&mut self, torrent: &Torrent, source: &str, args: &[&str]) -> Result<()> {
        self.torrent_id = torrent.hash_hex();
        self.asked.set(None);
        self.cli(&[&["add", source], args].concat()).map(drop)
    }
}

/// Runs `seedbank --json ...` and reads what it printed.
fn carry_out(command: &mut Command) -> Result<Result<Value, Failure>> {
    let Output {
        status,
        stdout,
        stderr,
    } = command.output()?;
    if status.success() {
        return Ok(Ok(serde_json::from_slice(&stdout)?));
    }
    let said = String::from_utf8_lossy(&stderr);
    // Progress may stand before it.
    let last = said.lines().last().unwrap_or_default();
    let error: Value =
        serde_json::from_str(last).with_context(|| format!("seedbank: {status}: {said}"))?;
    Ok(Err(Failure {
        exit_code: status.code(),
        error: error["error"].clone(),
    }))
}

/// 64-bit numbers are strings in `ProtoJSON`.
///
/// # Errors
/// When there is no such field, or it is no number.
pub fn number(document: &Value, key: &str) -> Result<u64> {
    let text = document[key]
        .as_str()
        .with_context(|| format!("no {key} in {document}"))?;
    text.parse().with_context(|| format!("{key}: {text}"))
}

impl Client for Daemon {
    fn name(&self) -> &str {
        &self.name
    }

    fn addr(&self) -> SocketAddrV4 {
        self.addr
    }

    fn add_seed(&mut self, torrent: &Torrent, folder: &Path) -> Result<()> {
        let (path, dir) = (
            torrent.path.display().to_string(),
            folder.display().to_string(),
        );
        self.add(torrent, &path, &["--dir", &dir])
    }

    fn leech(
        &mut self,
        torrent: &Torrent,
        source: Source,
        folder: &Path,
        peers: &[SocketAddrV4],
    ) -> Result<()> {
        let source = match source {
            Source::File => torrent.path.display().to_string(),
            Source::Magnet => torrent.magnet(),
        };
        let dir = folder.display().to_string();
        let peers: Vec<String> = peers.iter().map(|peer| format!("--peer={peer}")).collect();
        let mut args = vec!["--dir", dir.as_str()];
        args.extend(peers.iter().map(String::as_str));
        self.add(torrent, &source, &args)
    }

    fn progress(&mut self) -> Result<Progress> {
        if let Some((at, progress)) = self.asked.get()
            && at.elapsed() < QUESTION_PAUSE
        {
            return Ok(progress);
        }
        self.check_alive()?;
        let torrent = self.torrent()?;
        let state = torrent["state"].as_str().unwrap_or_default();
        ensure!(state != "TORRENT_STATE_FAILED", "{}: {torrent}", self.name);
        let progress = Progress {
            have: number(&torrent, "have_bytes")?,
            total: number(&torrent, "total_bytes")?,
            sent: number(&torrent, "uploaded_bytes")?,
            received: number(&torrent, "downloaded_bytes")?,
            complete: state == "TORRENT_STATE_SEEDING",
        };
        self.asked.set(Some((Instant::now(), progress)));
        Ok(progress)
    }

    fn peers(&mut self) -> Result<Vec<PeerView>> {
        let answer = self.cli(&["peers", &self.torrent_id])?;
        let peers = answer["peers"]
            .as_array()
            .context("no peers")?
            .iter()
            .map(|peer| {
                Ok(PeerView {
                    addr: peer["address"].as_str().context("no address")?.parse()?,
                    chokes_us: peer["unchoked_us"] != true,
                    we_choke: peer["unchoked"] != true,
                })
            });
        peers.collect()
    }

    fn complaints(&mut self) -> Result<Vec<String>> {
        let events = self.events_of(&["EVENT_KIND_PEER_MISBEHAVED", "EVENT_KIND_PIECE_FAILED"])?;
        Ok(events.iter().map(Value::to_string).collect())
    }
}
