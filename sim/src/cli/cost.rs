//! What a play cost the machine: processor time, events, memory.

use std::fs;
use std::time::Duration;

use rustix::time::{ClockId, clock_gettime};
use serde::Serialize;

use crate::play::PlayOutcome;
use crate::stats::GIB;

const BLOCK_LEN: f64 = 16_384.0;

/// Processor time of this process, user and system together.
#[derive(Debug)]
pub(super) struct CpuClock(Duration);

/// What a play cost.
#[derive(Debug, Serialize)]
pub(super) struct PlayCost {
    /// Processor time, user and system together, of this process while it played.
    cpu_seconds: f64,
    /// Payload that peers received.
    gib_moved: f64,
    /// `None` where nothing moved.
    cpu_seconds_per_gib: Option<f64>,
    /// Processor time for each 16 KiB that moved.
    cpu_micros_per_block: Option<f64>,
    events_per_block: Option<f64>,
    /// The most memory that this process ever had; `None` where the system does not tell.
    memory_bytes_max: Option<u64>,
    memory_bytes_per_peer: Option<u64>,
}

impl CpuClock {
    pub(super) fn start() -> Self {
        Self(cpu_time())
    }

    fn elapsed(&self) -> Duration {
        cpu_time().saturating_sub(self.0)
    }
}

impl PlayCost {
    /// Of a play that has just ended, and began when `begin` did.
    pub(super) fn of(played: &PlayOutcome, begin: &CpuClock) -> Self {
        let moved: u64 = played.peers.iter().map(|row| row.downloaded).sum();
        Self::new(played, moved, begin.elapsed(), memory_max())
    }

    #[expect(clippy::cast_precision_loss, reason = "figures to read")]
    fn new(played: &PlayOutcome, moved: u64, cpu: Duration, memory: Option<u64>) -> Self {
        let cpu_seconds = cpu.as_secs_f64();
        let gib_moved = moved as f64 / GIB;
        let for_each = |whole: f64, count: f64| (moved > 0).then(|| whole / count);
        let blocks = moved as f64 / BLOCK_LEN;
        let joined = played.peers.iter().filter(|row| row.joined.is_some());
        let joined = u64::try_from(joined.count()).unwrap_or(u64::MAX);
        Self {
            cpu_seconds,
            gib_moved,
            cpu_seconds_per_gib: for_each(cpu_seconds, gib_moved),
            cpu_micros_per_block: for_each(cpu_seconds * 1e6, blocks),
            events_per_block: for_each(played.handled as f64, blocks),
            memory_bytes_max: memory,
            memory_bytes_per_peer: memory.and_then(|bytes| bytes.checked_div(joined)),
        }
    }

    /// The same as a line to read.
    pub(super) fn line(&self) -> String {
        let mut line = format!("{:.1} s of CPU", self.cpu_seconds);
        if let (Some(per_gib), Some(micros), Some(events)) = (
            self.cpu_seconds_per_gib,
            self.cpu_micros_per_block,
            self.events_per_block,
        ) {
            line += &format!(
                " for {:.2} GiB moved: {per_gib:.2} s/GiB, {micros:.1} µs and {events:.1} events \
                 a block",
                self.gib_moved
            );
        }
        if let (Some(most), Some(each)) = (self.memory_bytes_max, self.memory_bytes_per_peer) {
            let (most, each) = (most >> 20, each >> 10);
            line += &format!("; at most {most} MiB of memory, {each} KiB a peer");
        }
        line
    }
}

fn cpu_time() -> Duration {
    let time = clock_gettime(ClockId::ProcessCPUTime);
    let secs = u64::try_from(time.tv_sec).unwrap_or(0);
    Duration::new(secs, u32::try_from(time.tv_nsec).unwrap_or(0))
}

/// As Linux tells it: `VmHWM` in `proc_pid_status(5)`.
fn memory_max() -> Option<u64> {
    let status = fs::read_to_string("/proc/self/status").ok()?;
    let line = status
        .lines()
        .find_map(|line| line.strip_prefix("VmHWM:"))?;
    let kib: u64 = line.trim().strip_suffix(" kB")?.trim().parse().ok()?;
    Some(kib << 10)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_cost_is_told_for_each_block_and_peer_and_of_nothing_where_nothing_moved() {
        let played = PlayOutcome {
            fetches: Vec::new(),
            peers: Vec::new(),
            series: Vec::new(),
            unchokes: Vec::new(),
            lasted: seedbank_ledger::Duration::ZERO,
            handled: 128,
            signatures: None,
            ..PlayOutcome::default()
        };
        let (cpu, memory) = (Duration::from_millis(2), Some(3 << 20));
        let cost = PlayCost::new(&played, 64 << 14, cpu, memory);
        assert_eq!(
            cost.line(),
            "0.0 s of CPU for 0.00 GiB moved: 2.05 s/GiB, 31.2 µs and 2.0 events a block"
        );
        let idle = PlayCost::new(&played, 0, cpu, memory);
        assert_eq!(idle.line(), "0.0 s of CPU");
    }

    #[test]
    fn the_system_tells_processor_time_and_memory() {
        let clock = CpuClock::start();
        let mut sum = 0_u64;
        while clock.elapsed() == Duration::ZERO {
            sum = std::hint::black_box(sum + 1);
        }
        if cfg!(target_os = "linux") {
            assert!(memory_max().is_some_and(|bytes| bytes > 1 << 20));
        }
    }
}
