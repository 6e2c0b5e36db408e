//! A daemon started by a test: it says where it listens, is sent signals, and leaves in time.

use std::io::{BufRead, BufReader, Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::path::Path;
use std::process::{Child, Command, ExitStatus, Stdio};
use std::sync::mpsc::{Receiver, RecvTimeoutError, channel};
use std::time::{Duration, Instant};

use rustix::process::{Pid, Signal, kill_process};
use sha1::{Digest, Sha1};

/// Longest time for anything that a test waits for; seconds on a busy machine.
const WAIT_MAX: Duration = Duration::from_secs(60);

/// Bytes of a handshake (BEP 3).
const HANDSHAKE_LEN: usize = 68;

/// A process that is killed when the test is over.
#[derive(Debug)]
pub(crate) struct Daemon {
    child: Child,
    lines: Receiver<String>,
}

/// `seedbankd` with a data folder and ports of its own, nothing inherited from who runs the test.
pub(crate) fn seedbankd(folder: &Path, args: &[&str]) -> Command {
    seedbankd_within(&[env!("CARGO_BIN_EXE_seedbankd")], folder, args)
}

/// As [`seedbankd`], after `script` has been run by the shell that becomes it.
pub(crate) fn seedbankd_after(script: &str, folder: &Path, args: &[&str]) -> Command {
    let script = format!("{script}; exec \"$0\" \"$@\"");
    let shell = ["sh", "-c", &script, env!("CARGO_BIN_EXE_seedbankd")];
    seedbankd_within(&shell, folder, args)
}

/// Signals are at their default too: `nohup make test` ignores a hangup, and so would the daemon.
fn seedbankd_within(program: &[&str], folder: &Path, args: &[&str]) -> Command {
    let mut command = Command::new("env");
    command
        .arg("--default-signal")
        .args(program)
        .args(args)
        .env_clear()
        .env("HOME", folder)
        .current_dir(folder)
        .stdin(Stdio::null());
    command
}

/// The arguments of a daemon that listens on loopback.
pub(crate) const RUN: [&str; 7] = [
    "run",
    "--data-dir=data",
    "--download-dir=files",
    "--listen=127.0.0.1:0",
    "--api=unix:api.sock",
    "--set=ledger.store=memory",
    "--set=earn.receipts=false",
];

impl Daemon {
    /// Starts `command`, whose standard output is read here.
    pub(crate) fn spawn(mut command: Command) -> Self {
        let mut child = command.stdout(Stdio::piped()).spawn().unwrap();
        let out = child.stdout.take().unwrap();
        Self::reading(child, out)
    }

    /// Starts `command`, whose log is read here.
    pub(crate) fn spawn_logging(mut command: Command) -> Self {
        let mut child = command.stderr(Stdio::piped()).spawn().unwrap();
        let log = child.stderr.take().unwrap();
        Self::reading(child, log)
    }

    fn reading(child: Child, stream: impl Read + Send + 'static) -> Self {
        let (line, lines) = channel();
        std::thread::spawn(move || {
            for text in BufReader::new(stream).lines().map_while(Result::ok) {
                // The test may have read enough; the daemon must not wait for it.
                let _ = line.send(text);
            }
        });
        Self { child, lines }
    }

    /// What follows `words` in the first line that has them, once it is there.
    pub(crate) fn said(&self, words: &str) -> String {
        loop {
            let line = self.lines.recv_timeout(WAIT_MAX);
            let line = line.unwrap_or_else(|error| panic!("no line with {words:?}: {error}"));
            if let Some((_, rest)) = line.split_once(words) {
                return rest.trim().to_owned();
            }
        }
    }

    /// Where it listens for peers, once it says so.
    pub(crate) fn peer_addr(&self) -> SocketAddr {
        self.said("peers ").parse().unwrap()
    }

    /// Sends a signal.
    pub(crate) fn signal(&self, signal: Signal) {
        kill_process(self.id(), signal).unwrap();
    }

    /// Whether `signal` does nothing to it.
    pub(crate) fn ignores(&self, signal: Signal) -> bool {
        let path = format!("/proc/{}/status", self.id().as_raw_nonzero());
        let status = std::fs::read_to_string(path).unwrap();
        let mask = status.lines().find_map(|line| line.strip_prefix("SigIgn:"));
        let mask = u64::from_str_radix(mask.unwrap().trim(), 16).unwrap();
        mask >> (signal.as_raw() - 1) & 1 == 1
    }

    /// The most memory it has had so far, in MiB.
    pub(crate) fn memory_max(&self) -> u64 {
        let path = format!("/proc/{}/status", self.id().as_raw_nonzero());
        let status = std::fs::read_to_string(path).unwrap();
        let max = status.lines().find_map(|line| line.strip_prefix("VmHWM:"));
        let kib = max.unwrap().trim().trim_end_matches(" kB");
        kib.parse::<u64>().unwrap() / 1024
    }

    /// Waits until it has left, which closes the stream that is read here.
    pub(crate) fn left(&mut self) -> ExitStatus {
        loop {
            match self.lines.recv_timeout(WAIT_MAX) {
                Ok(_line) => {}
                Err(RecvTimeoutError::Timeout) => panic!("the daemon does not leave"),
                Err(RecvTimeoutError::Disconnected) => return self.child.wait().unwrap(),
            }
        }
    }

    fn id(&self) -> Pid {
        Pid::from_child(&self.child)
    }
}

impl Drop for Daemon {
    fn drop(&mut self) {
        // It may have left, and the test may have failed already.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// Where a daemon listens for peers, as it says on its standard output.
pub(crate) fn announced(out: impl Read) -> SocketAddr {
    let mut lines = BufReader::new(out).lines().map_while(Result::ok);
    let addr = lines.find_map(|line| line.strip_prefix("peers ").map(str::to_owned));
    let addr = addr.expect("a daemon says where it listens");
    addr.trim().parse().unwrap()
}

/// Leaves a torrent in the data folder of a daemon to be started in `folder`; gives its info hash.
pub(crate) fn leave_torrent(folder: &Path) -> [u8; 20] {
    leave_torrent_of(folder, 1, 16_384, 1)
}

/// The same with a file of `len` bytes in `pieces` pieces of `piece_len`.
pub(crate) fn leave_torrent_of(folder: &Path, len: u64, piece_len: u32, pieces: usize) -> [u8; 20] {
    let hashes_len = 20 * pieces;
    let info = format!(
        "d6:lengthi{len}e4:name4:file12:piece lengthi{piece_len}e6:pieces{hashes_len}:{}e",
        "x".repeat(hashes_len)
    );
    let info_hash: [u8; 20] = Sha1::digest(&info).into();
    let hex: String = info_hash.iter().map(|byte| format!("{byte:02x}")).collect();
    let torrents = folder.join("data/torrents");
    std::fs::create_dir_all(&torrents).unwrap();
    let torrent = format!("d4:info{info}e");
    std::fs::write(torrents.join(format!("{hex}.torrent")), torrent).unwrap();
    info_hash
}

/// A stranger breaks the protocol, which is logged: an extension handshake that is no bencode
/// (BEP 10). Returns when the daemon has hung up.
pub(crate) fn break_protocol(addr: SocketAddr, info_hash: [u8; 20]) {
    let mut stream = shake_hands(addr, info_hash);
    let message = [0, 0, 0, 3, 20, 0, b'?'];
    stream.write_all(&message).unwrap();
    let ended = stream.read_to_end(&mut Vec::new());
    let timed_out = ended.is_err_and(|error| {
        matches!(
            error.kind(),
            std::io::ErrorKind::WouldBlock | std::io::ErrorKind::TimedOut
        )
    });
    assert!(!timed_out, "the daemon does not hang up");
}

/// A connection on which both sides have sent a handshake with extensions.
fn shake_hands(addr: SocketAddr, info_hash: [u8; 20]) -> TcpStream {
    let extensions = [0, 0, 0, 0, 0, 0x10, 0, 0];
    let client_id = [b'?'; 20];
    let handshake = [
        &b"\x13BitTorrent protocol"[..],
        &extensions,
        &info_hash,
        &client_id,
    ];
    let begin = Instant::now();
    loop {
        let mut stream = TcpStream::connect(addr).unwrap();
        stream.set_read_timeout(Some(WAIT_MAX)).unwrap();
        stream.write_all(&handshake.concat()).unwrap();
        if stream.read_exact(&mut [0; HANDSHAKE_LEN]).is_ok() {
            return stream;
        }
        // It listens a moment before it has taken up its torrents.
        assert!(
            begin.elapsed() < WAIT_MAX,
            "the daemon answers no handshake"
        );
    }
}
