//! What the demo says before and after, in lines of at most 79 characters.

use std::io::{self, Write};

use seedbank_ledger::Duration;
use seedbank_sim::demo::{
    Demo, DemoOutcome, Finding, Prediction, Span, Times, last, median, seconds,
};

const MIB: u64 = 1 << 20;

/// Who is there.
pub(super) fn opening(scenario: &Demo, out: &mut impl Write) -> io::Result<()> {
    writeln!(
        out,
        "A swarm on loopback: one seeder, {} leechers, {} MiB in pieces of {} KiB.\n\
         The seeder is told no rate; what it sends passes a modem of {} MiB/s with a\n\
         buffer of {} ms. Leechers are told to upload {} KiB/s. All else is default,\n\
         prices too. One leecher, the payer, boosts its download for up to {}.\n",
        scenario.unpaid_count + 1,
        scenario.total_len / MIB,
        scenario.piece_len / 1024,
        scenario.uplink / MIB,
        scenario.buffer.as_millis(),
        scenario.leecher_rate / 1024,
        scenario.boost_max,
    )?;
    writeln!(
        out,
        "Beside it, at the same time, the same swarm without receipts (control).\n\
         Real: nodes, sockets, files, receipts, ledgers, settlement. Not real: it is one\n\
         machine, and the modem, a relay, hides from the seeder how long its queue is.\n\
         Ctrl-C stops.\n"
    )?;
    out.flush()
}

/// What the simulator says.
pub(super) fn prediction(prediction: &Prediction, out: &mut impl Write) -> io::Result<()> {
    writeln!(
        out,
        "Predicted by the simulator, {} runs: payer {} s, median of the others\n\
         {} s, {}× sooner.\n",
        prediction.runs.len(),
        prediction.span(|times| seconds(times.paid)),
        prediction.span(|times| seconds(median(&times.unpaid))),
        prediction.span(Times::gain)
    )?;
    out.flush()
}

pub(super) fn settling(out: &mut impl Write) -> io::Result<()> {
    writeln!(out, "\nEverybody is done; locks are being settled.")?;
    out.flush()
}

/// The table and the verdict; whether all of it holds.
pub(super) fn verdict(
    outcome: &DemoOutcome,
    prediction: &Prediction,
    out: &mut impl Write,
) -> io::Result<bool> {
    table(&outcome.times, prediction, out)?;
    let mut findings = outcome.findings();
    findings.push(prediction.finding(&outcome.times));
    writeln!(out)?;
    for Finding { claim, holds } in &findings {
        let word = if *holds { " ok " } else { "FAIL" };
        writeln!(out, "  {word}  {claim}")?;
    }
    let holds = findings.iter().all(|finding| finding.holds);
    let verdict = if holds {
        format!(
            "who pays is served first: {:.1} s instead of {:.1} s,\n\
             for {}, and nobody else is later",
            seconds(outcome.times.paid),
            seconds(median(&outcome.times.unpaid)),
            outcome.accounts.spent
        )
    } else {
        "it does not hold: see FAIL above".to_owned()
    };
    writeln!(out, "\nVerdict: {verdict}.\n")?;
    little(prediction, out)?;
    out.flush()?;
    Ok(holds)
}

/// Where the claim ends.
fn little(prediction: &Prediction, out: &mut impl Write) -> io::Result<()> {
    writeln!(out, "Where paying buys little, by the same simulator:")?;
    for (condition, runs) in [
        (
            "leechers upload as much as the seeder",
            &prediction.plentiful,
        ),
        (
            "the payer's own line is a quarter of its",
            &prediction.slow_payer,
        ),
    ] {
        let gain = Span::over(runs, Times::gain);
        writeln!(out, "  {condition:<42}{gain}× sooner")?;
    }
    Ok(())
}

fn table(times: &Times, prediction: &Prediction, out: &mut impl Write) -> io::Result<()> {
    writeln!(
        out,
        "\n                  payer   {:<41}sooner",
        "the others, first to last"
    )?;
    writeln!(
        out,
        "  measured     {:6.1} s   {:<40}{:6.2}×",
        seconds(times.paid),
        in_order(&times.unpaid),
        times.gain()
    )?;
    writeln!(
        out,
        "  predicted {:>11}   {:<40}{:>7}",
        prediction.span(|times| seconds(times.paid)).to_string() + " s",
        in_range(prediction, |times| &times.unpaid),
        prediction.span(Times::gain).to_string() + "×"
    )?;
    // In the control swarm nobody pays: its first leecher is one of the others.
    writeln!(
        out,
        "  no receipts       –     {}",
        in_order(&times.control)
    )?;
    writeln!(
        out,
        "  predicted               {}",
        in_range(prediction, |times| &times.control)
    )
}

fn in_order(times: &[Duration]) -> String {
    let mut times = times.to_vec();
    times.sort_unstable();
    let times: Vec<String> = times
        .into_iter()
        .map(|time| format!("{:.1}", seconds(time)))
        .collect();
    times.join("  ") + " s"
}

/// Where the middle and the last of some leechers are predicted.
fn in_range(prediction: &Prediction, of: impl Fn(&Times) -> &Vec<Duration>) -> String {
    let middle = prediction.span(|times| seconds(median(of(times))));
    let end = prediction.span(|times| seconds(last(of(times))));
    format!("median {middle}  last {end} s")
}
