//! One seeder and equal leechers.

use seedbank_ledger::Duration;
use seedbank_sim::network::LinkConfig;
use seedbank_sim::signatures::Signatures;
use seedbank_sim::spread::{Bottleneck, Overlay, Spread, SpreadOutcome};

use super::args::{BottleneckArg, SpreadArgs};
use super::{SimFailure, say};

pub(super) fn run(args: &SpreadArgs) -> Result<(), SimFailure> {
    let scenario = scenario_of(args)?;
    let outcome = scenario.run().map_err(SimFailure::new)?;
    let SpreadOutcome { times, degrees, .. } = &outcome;
    let (bound, makespan) = (scenario.bound(), outcome.makespan());
    let ratio = makespan.as_millis() * 1_000 / bound.as_millis().max(1);
    say(format_args!(
        "all done after {makespan}, {}.{:03} of the least possible {bound}; first {}, median {}",
        ratio / 1_000,
        ratio % 1_000,
        times[0],
        times[times.len() / 2]
    ));
    say(format_args!(
        "leechers together had every piece after {}, when the seeder had sent {} MiB, all {} MiB",
        outcome.injected,
        outcome.seeder_sent >> 20,
        outcome.all_sent >> 20
    ));
    say(format_args!(
        "connections early {}, halfway {}; {} KiB were received in vain",
        spread_of(&outcome.degrees_early),
        spread_of(degrees),
        outcome.wasted >> 10
    ));
    say(format_args!("{} events", outcome.handled));
    if let Signatures::Counted(count) = &scenario.signatures {
        let (signed, verified) = (count.signed(), count.verified());
        say(format_args!("{signed} signatures made, {verified} checked"));
    }
    Ok(())
}

fn scenario_of(args: &SpreadArgs) -> Result<Spread, SimFailure> {
    let overlay = match args.overlay.as_str() {
        "full" => Overlay::Full,
        "star" => Overlay::Star,
        "tracker" => Overlay::Tracker,
        degree => Overlay::Random(degree.parse().map_err(|_| {
            SimFailure::usage(format_args!(
                "--overlay {degree}: write full, star, tracker, or a degree"
            ))
        })?),
    };
    let link = LinkConfig {
        jitter: Duration::from_millis(args.jitter_ms),
        buffer: Duration::from_millis(args.buffer_ms),
        loss_ppm: args.loss_ppm,
        ..LinkConfig::new(args.uplink, Duration::from_millis(args.delay_ms))
    };
    Ok(Spread {
        leecher_count: args.leechers,
        total_len: u64::from(args.mib) << 20,
        piece_len: u32::from(args.piece_kib) << 10,
        link: link.with_downlink(args.downlink),
        seeder_uplink: args.seeder_uplink,
        bottleneck: match args.bottleneck {
            BottleneckArg::Line => Bottleneck::Line,
            BottleneckArg::Limit => Bottleneck::Limit,
        },
        overlay,
        slots: args.slots,
        receipts: !args.no_receipts,
        signatures: match args.real_signatures {
            true => Signatures::Real,
            false => Signatures::counted(),
        },
        rng_seed: args.rng_seed,
    })
}

/// Least, median, mean and most of a sorted list.
fn spread_of(sorted: &[usize]) -> String {
    let [least, .., most] = sorted else {
        return format!("{sorted:?}");
    };
    let (median, sum) = (sorted[sorted.len() / 2], sorted.iter().sum::<usize>());
    let mean = sum / sorted.len();
    format!("{least} to {most}, median {median}, mean {mean}")
}
