//! `seedbank-sim`: runs a scenario under virtual time and says what came of it.

use std::io::Write as _;
use std::process::ExitCode;

use seedbank_ledger::Duration;
use seedbank_sim::demo::Demo;

const USAGE: &str = "usage: seedbank-sim demo [--rng-seed N]\n\n\
    Runs the scenario of `seedbankd demo` under virtual time and judges it.";

fn main() -> ExitCode {
    let mut args = std::env::args().skip(1);
    let mut demo = Demo::default();
    match (args.next().as_deref(), args.next().as_deref(), args.next()) {
        (Some("demo"), None, None) => {}
        (Some("demo"), Some("--rng-seed"), Some(number)) if args.next().is_none() => {
            match number.parse() {
                Ok(seed) => demo.rng_seed = seed,
                Err(error) => return usage(&format!("--rng-seed {number}: {error}")),
            }
        }
        (Some("--help" | "-h"), None, None) => {
            say(USAGE);
            return ExitCode::SUCCESS;
        }
        _ => return usage("a scenario is needed"),
    }
    match demo.predict() {
        Ok(outcome) => {
            let times = &outcome.times;
            say(&format!(
                "payer {}; others {}; without payment {}",
                times.paid,
                list(&times.unpaid),
                list(&times.control)
            ));
            let findings = outcome.findings();
            for finding in &findings {
                let word = if finding.holds { "yes" } else { "NO " };
                say(&format!("  {word}  {}", finding.claim));
            }
            ExitCode::from(if findings.iter().all(|finding| finding.holds) {
                0
            } else {
                8
            })
        }
        Err(error) => {
            complain(&error);
            ExitCode::FAILURE
        }
    }
}

fn list(times: &[Duration]) -> String {
    let times: Vec<String> = times.iter().map(ToString::to_string).collect();
    times.join(" ")
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
