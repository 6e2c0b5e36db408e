//! `seedbank-sim`: runs a scenario under virtual time and says what came of it.

use std::io::Write as _;
use std::process::ExitCode;

use seedbank_ledger::Duration;
use seedbank_sim::demo::{Demo, DemoOutcome, Prediction, Span, Times};
use seedbank_sim::signatures::Signatures;
use seedbank_sim::spread::{Bottleneck, Overlay, Spread, SpreadOutcome};

const USAGE: &str = "usage: seedbank-sim demo [--rng-seed N]\n\
    \x20      seedbank-sim spread [OPTION VALUE]...\n\n\
    demo predicts what `seedbankd demo` comes to under virtual time, and judges it.\n\
    spread has one seeder and some leechers of equal lines, and compares the time until all of\n\
    them are done with the least that is possible.\n\n\
    \x20 --leechers N         nodes that want the file (60)\n\
    \x20 --mib N              length of the file (128)\n\
    \x20 --piece-kib N        length of a piece (1024)\n\
    \x20 --uplink N           bytes per second (1000000)\n\
    \x20 --seeder-uplink N    of the seeder, if it is another\n\
    \x20 --downlink N         bytes per second (10000000)\n\
    \x20 --delay-ms N         from a node to the middle of the network (20)\n\
    \x20 --jitter-ms N        longest that a segment is late (0)\n\
    \x20 --loss-ppm N         segments lost of a million (0)\n\
    \x20 --buffer-ms N        length of a full buffer (200)\n\
    \x20 --slots N            upload slots (8)\n\
    \x20 --bottleneck WHAT    line, or limit: the same rate as a configured limit (line)\n\
    \x20 --overlay WHO        full, star, tracker, or the degree of a random graph (full)\n\
    \x20 --receipts on|off    (on)\n\
    \x20 --signatures HOW     counted or real (counted)\n\
    \x20 --rng-seed N         (1)";

fn main() -> ExitCode {
    let args: Vec<String> = std::env::args().skip(1).collect();
    let args: Vec<&str> = args.iter().map(String::as_str).collect();
    match args.as_slice() {
        ["--help" | "-h"] => {
            say(USAGE);
            ExitCode::SUCCESS
        }
        ["demo", options @ ..] => {
            let mut scenario = Demo::default();
            let set = |name: &str, value: &str| match name {
                "--rng-seed" => take(&mut scenario.rng_seed, value),
                _ => Err("no such option".to_owned()),
            };
            match each(options, set) {
                Ok(()) => demo(&scenario),
                Err(problem) => usage(&problem),
            }
        }
        ["spread", options @ ..] => {
            let mut scenario = Spread::default();
            match each(options, |name, value| set(&mut scenario, name, value)) {
                Ok(()) => spread(&scenario),
                Err(problem) => usage(&problem),
            }
        }
        _ => usage("a scenario is needed"),
    }
}

fn demo(scenario: &Demo) -> ExitCode {
    let scenarios = Prediction::scenarios(scenario);
    let outcomes: Result<Vec<DemoOutcome>, String> = scenarios.iter().map(Demo::predict).collect();
    let prediction = match outcomes {
        Ok(outcomes) => Prediction::of(outcomes),
        Err(error) => return failed(&error),
    };
    let mut holds = true;
    for (scenario, outcome) in scenarios.iter().zip(&prediction.runs) {
        let times = &outcome.times;
        say(&format!(
            "up for {}, seed {}: payer {}; others {}; without payment {}",
            scenario.up_for,
            scenario.rng_seed,
            times.paid,
            list(&times.unpaid),
            list(&times.control)
        ));
        for finding in outcome.findings() {
            let word = if finding.holds { "yes" } else { "NO " };
            say(&format!("  {word}  {}", finding.claim));
            holds &= finding.holds;
        }
    }
    for (condition, runs) in [
        ("as it is", &prediction.runs),
        (
            "leechers upload as much as the seeder",
            &prediction.plentiful,
        ),
        (
            "the payer's line is a quarter of the seeder's",
            &prediction.slow_payer,
        ),
    ] {
        let (gain, own) = (Span::over(runs, Times::gain), Span::over(runs, Times::own));
        say(&format!(
            "{condition}: {gain:.2}× sooner, {own:.2} of the time without payment"
        ));
    }
    ExitCode::from(if holds { 0 } else { 8 })
}

fn spread(scenario: &Spread) -> ExitCode {
    let outcome = match scenario.run() {
        Ok(outcome) => outcome,
        Err(error) => return failed(&error),
    };
    let SpreadOutcome { times, degrees, .. } = &outcome;
    let (bound, makespan) = (scenario.bound(), outcome.makespan());
    let ratio = makespan.as_millis() * 1_000 / bound.as_millis().max(1);
    say(&format!(
        "all done after {makespan}, {}.{:03} of the least possible {bound}; first {}, median {}",
        ratio / 1_000,
        ratio % 1_000,
        times[0],
        times[times.len() / 2]
    ));
    say(&format!(
        "leechers together had every piece after {}, when the seeder had sent {} MiB, all {} MiB",
        outcome.injected,
        outcome.seeder_sent >> 20,
        outcome.all_sent >> 20
    ));
    say(&format!(
        "connections early {}, halfway {}; {} KiB were received in vain",
        spread_of(&outcome.degrees_early),
        spread_of(degrees),
        outcome.wasted >> 10
    ));
    say(&format!("{} events", outcome.handled));
    if let Signatures::Counted(count) = &scenario.signatures {
        let (signed, verified) = (count.signed(), count.verified());
        say(&format!("{signed} signatures made, {verified} checked"));
    }
    ExitCode::SUCCESS
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

/// Hands every pair of option and value to `set`.
fn each(
    options: &[&str],
    mut set: impl FnMut(&str, &str) -> Result<(), String>,
) -> Result<(), String> {
    for pair in options.chunks(2) {
        match pair {
            [name, value] => {
                set(name, value).map_err(|error| format!("{name} {value}: {error}"))?;
            }
            _ => return Err(format!("{}: a value is needed", pair[0])),
        }
    }
    Ok(())
}

fn set(scenario: &mut Spread, name: &str, value: &str) -> Result<(), String> {
    let millis = || value.parse().map(Duration::from_millis).map_err(text);
    let link = &mut scenario.link;
    match (name, value) {
        ("--leechers", _) => take(&mut scenario.leecher_count, value)?,
        ("--mib", _) => scenario.total_len = value.parse::<u32>().map_err(text)?.into(),
        ("--piece-kib", _) => scenario.piece_len = value.parse::<u16>().map_err(text)?.into(),
        ("--uplink", _) => take(&mut link.uplink, value)?,
        ("--seeder-uplink", _) => {
            scenario.seeder_uplink = Some(value.parse().map_err(text)?);
        }
        ("--downlink", _) => link.downlink = Some(value.parse().map_err(text)?),
        ("--delay-ms", _) => link.delay = millis()?,
        ("--jitter-ms", _) => link.jitter = millis()?,
        ("--buffer-ms", _) => link.buffer = millis()?,
        ("--loss-ppm", _) => take(&mut link.loss_ppm, value)?,
        ("--slots", _) => take(&mut scenario.slots, value)?,
        ("--bottleneck", "line") => scenario.bottleneck = Bottleneck::Line,
        ("--bottleneck", "limit") => scenario.bottleneck = Bottleneck::Limit,
        ("--overlay", "full") => scenario.overlay = Overlay::Full,
        ("--overlay", "star") => scenario.overlay = Overlay::Star,
        ("--overlay", "tracker") => scenario.overlay = Overlay::Tracker,
        ("--overlay", _) => scenario.overlay = Overlay::Random(value.parse().map_err(text)?),
        ("--receipts", "on") => scenario.receipts = true,
        ("--receipts", "off") => scenario.receipts = false,
        ("--signatures", "counted") => scenario.signatures = Signatures::counted(),
        ("--signatures", "real") => scenario.signatures = Signatures::Real,
        ("--rng-seed", _) => take(&mut scenario.rng_seed, value)?,
        _ => return Err("no such option, or value".to_owned()),
    }
    match name {
        "--mib" => scenario.total_len <<= 20,
        "--piece-kib" => scenario.piece_len <<= 10,
        _ => {}
    }
    Ok(())
}

fn take<T: std::str::FromStr<Err: ToString>>(to: &mut T, value: &str) -> Result<(), String> {
    *to = value.parse().map_err(text)?;
    Ok(())
}

fn text(error: impl ToString) -> String {
    error.to_string()
}

fn list(times: &[Duration]) -> String {
    let times: Vec<String> = times.iter().map(ToString::to_string).collect();
    times.join(" ")
}

fn failed(problem: &str) -> ExitCode {
    complain(problem);
    ExitCode::FAILURE
}

fn usage(problem: &str) -> ExitCode {
    complain(&format!("{problem}\n\n{USAGE}"));
    ExitCode::from(2)
}

fn say(text: &str) {
    // A reader that has gone away has read enough.
    let _ = writeln!(std::io::stdout(), "{text}");
}

fn complain(text: &str) {
    let _ = writeln!(std::io::stderr(), "seedbank-sim: {text}");
}
