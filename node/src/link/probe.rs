//! What the kernel knows of a connection's way out.

use std::io;
use std::os::fd::{AsFd, OwnedFd};
use std::sync::LazyLock;
use std::sync::atomic::{AtomicU64, Ordering};

use nix::sys::socket::getsockopt;
use seedbank_engine::interface::input::UplinkSample;
use seedbank_engine::units::PeerIndex;
use seedbank_ledger::Duration;
use socket2::SockRef;

/// Bytes the kernel may hold unsent: choke and cancel take effect after at most so much.
const UNSENT_MAX: u32 = 128 * 1024;
/// The same while the way out is measured: what the kernel has is out of reach of any share.
const UNSENT_MAX_MEASURED: u32 = 32 * 1024;

/// Whether the kernel has every field of [`TcpInfo`]; a shorter answer is one that `nix` does not
/// survive.
static HAS_TCP_INFO: LazyLock<bool> = LazyLock::new(|| {
    let uname = rustix::system::uname();
    is_at_least_4_6(&uname.release().to_string_lossy())
});

/// A TCP connection's second handle. The connection ends only when this is gone too.
#[derive(Debug)]
pub(crate) struct Probe {
    socket: OwnedFd,
    /// The most bytes acknowledged whenever this was asked.
    acknowledged: AtomicU64,
}

/// The beginning of Linux' `struct tcp_info` (linux/tcp.h), as far as 4.6 has it. Times in
/// microseconds. A kernel writes as much of its own as there is room for.
#[repr(C)]
#[derive(Clone, Copy, Debug)]
#[expect(
    unreachable_pub,
    reason = "the macro below implements a public trait for it"
)]
pub struct TcpInfo {
    state_and_options: [u8; 8],
    timeouts: [u32; 2],
    snd_mss: u32,
    rcv_mss: u32,
    unacked: u32,
    sacked: u32,
    losses_and_windows: [u32; 9],
    rtt: u32,
    rttvar: u32,
    windows: [u32; 6],
    total_retrans: u32,
    pacing_rates: [u64; 2],
    bytes_acked: u64,
    bytes_received: u64,
    segments: [u32; 2],
    notsent_bytes: u32,
    min_rtt: u32,
}

mod option {
    use nix::{getsockopt_impl, sockopt_impl};

    use super::TcpInfo;

    sockopt_impl!(Info, GetOnly, libc::IPPROTO_TCP, libc::TCP_INFO, TcpInfo);
}

impl Probe {
    /// A second handle of this connection, whose kernel queue is kept short from now on.
    pub(crate) fn new(socket: &impl AsFd) -> io::Result<Self> {
        let probe = Self {
            socket: socket.as_fd().try_clone_to_owned()?,
            acknowledged: AtomicU64::new(0),
        };
        probe.set_measured(false)?;
        Ok(probe)
    }

    /// Whether the way out is measured, which asks for shorter queues.
    pub(crate) fn set_measured(&self, measured: bool) -> io::Result<()> {
        let unsent_max = match measured {
            true => UNSENT_MAX_MEASURED,
            false => UNSENT_MAX,
        };
        SockRef::from(&self.socket).set_tcp_notsent_lowat(unsent_max)
    }

    /// How the connection fares; `None` if nothing was acknowledged since this was last asked and
    /// nothing waits, if it is over, or on a kernel before 4.6.
    pub(crate) fn sample(&self, peer: PeerIndex) -> Option<UplinkSample> {
        if !*HAS_TCP_INFO {
            return None;
        }
        let info = getsockopt(&self.socket, option::Info).ok()?;
        let before = self
            .acknowledged
            .fetch_max(info.arrived(), Ordering::Relaxed);
        let sample = UplinkSample {
            peer,
            acknowledged: info.arrived().max(before),
            unsent: info.notsent_bytes.into(),
            rtt: micros(info.rtt),
            rtt_min: micros(info.min_rtt),
        };
        (before != sample.acknowledged || sample.unsent > 0).then_some(sample)
    }
}

impl TcpInfo {
    /// Bytes acknowledged, those behind a hole too (RFC 2018): while a lost segment is sent again
    /// the others still arrive, and would all count in the moment when it does.
    fn arrived(&self) -> u64 {
        let behind_holes = u64::from(self.sacked) * u64::from(self.snd_mss);
        self.bytes_acked.saturating_add(behind_holes)
    }
}

fn is_at_least_4_6(release: &str) -> bool {
    let mut numbers = release.split(['.', '-']).map(str::parse::<u32>);
    let mut number = || numbers.next().and_then(Result::ok).unwrap_or(0);
    (number(), number()) >= (4, 6)
}

fn micros(micros: u32) -> Duration {
    Duration::from_nanos(u64::from(micros) * 1_000)
}

#[cfg(test)]
mod tests {
    use std::io::{Read as _, Write as _};
    use std::net::{TcpListener, TcpStream};

    use super::*;

    #[test]
    fn kernels_are_told_apart_by_their_numbers() {
        for release in ["4.6.0", "4.19", "6.1.0-18-amd64", "10.0"] {
            assert!(is_at_least_4_6(release), "{release}");
        }
        for release in ["4.5.9", "3.10.0-1160.el7", "4", "", "unknown"] {
            assert!(!is_at_least_4_6(release), "{release}");
        }
    }

    #[test]
    fn what_arrived_behind_a_lost_segment_counts_at_once() {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let ours = TcpStream::connect(listener.local_addr().unwrap()).unwrap();
        let info = getsockopt(&ours, option::Info).unwrap();
        assert_eq!((info.sacked, info.arrived()), (0, info.bytes_acked));
        assert!(info.snd_mss >= 536, "not where the kernel writes it");
        let holed = TcpInfo {
            bytes_acked: 10_000,
            sacked: 3,
            snd_mss: 1_448,
            ..info
        };
        assert_eq!(holed.arrived(), 14_344);
    }

    #[test]
    fn what_a_peer_acknowledged_is_told_once() {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let mut ours = TcpStream::connect(listener.local_addr().unwrap()).unwrap();
        let (mut theirs, _) = listener.accept().unwrap();
        let probe = Probe::new(&ours).unwrap();
        // The kernel counts the opening as a byte.
        let before = probe.sample(PeerIndex(3)).map(|sample| sample.acknowledged);
        assert_eq!(before, Some(1));
        assert_eq!(probe.sample(PeerIndex(3)), None);

        ours.write_all(&[7; 10_000]).unwrap();
        theirs.read_exact(&mut [0; 10_000]).unwrap();
        // The answer carries the acknowledgement of all of it.
        theirs.write_all(&[1]).unwrap();
        ours.read_exact(&mut [0]).unwrap();
        let sample = probe.sample(PeerIndex(3)).expect("bytes have moved");
        assert_eq!(sample.peer, PeerIndex(3));
        assert_eq!(sample.acknowledged, 10_001);
        assert_eq!(sample.unsent, 0);
        assert!(sample.rtt >= sample.rtt_min, "{sample:?}");
        assert!(sample.rtt_min > Duration::ZERO, "{sample:?}");
        assert!(sample.rtt < Duration::from_secs(10), "{sample:?}");
        assert_eq!(probe.sample(PeerIndex(3)), None);
    }
}
