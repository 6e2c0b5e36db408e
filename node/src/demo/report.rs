//! What the demo says before and after.

use std::io::{self, Write};

use seedbank_ledger::Duration;
use seedbank_sim::demo::{Demo, DemoOutcome, Times, median, seconds};

const MIB: u64 = 1 << 20;

/// Who is there.
pub(super) fn opening(scenario: &Demo, out: &mut impl Write) -> io::Result<()> {
    writeln!(
        out,
        "A swarm on loopback: one seeder at {} MiB/s with {} slots, {} leechers at {} KiB/s of\n\
         upload, {} MiB in pieces of {} KiB. Everybody holds {}; one leecher,\n\
         the payer, spends at {}.",
        scenario.seeder_rate / MIB,
        scenario.seeder_slots,
        scenario.unpaid_count + 1,
        scenario.leecher_rate / 1024,
        scenario.total_len / MIB,
        scenario.piece_len / 1024,
        scenario.granted,
        scenario.rate,
    )?;
    writeln!(
        out,
        "Beside it, at the same time, the same swarm without receipts (control). Ctrl-C stops.\n"
    )?;
    out.flush()
}

/// What the simulator says.
pub(super) fn prediction(prediction: &DemoOutcome, out: &mut impl Write) -> io::Result<()> {
    let times = &prediction.times;
    writeln!(
        out,
        "Predicted by the simulator: payer {:.1} s, median of the others {:.1} s, {:.2}× \
         faster.\n",
        seconds(times.paid),
        seconds(median(&times.unpaid)),
        times.speedup()
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
    prediction: &DemoOutcome,
    out: &mut impl Write,
) -> io::Result<bool> {
    writeln!(
        out,
        "\n                payer   the others, first to last{:21}faster by",
        ""
    )?;
    row(out, "measured", &outcome.times)?;
    row(out, "predicted", &prediction.times)?;
    control(out, "no receipts", &outcome.times)?;
    control(out, "  predicted", &prediction.times)?;
    writeln!(out)?;
    let findings = outcome.findings();
    for finding in &findings {
        let word = if finding.holds { " ok " } else { "FAIL" };
        writeln!(out, "  {word}  {}", finding.claim)?;
    }
    let holds = findings.iter().all(|finding| finding.holds);
    let verdict = if holds {
        format!(
            "who pays is served first: {:.1} s instead of {:.1} s for {}, and nobody else is later",
            seconds(outcome.times.paid),
            seconds(median(&outcome.times.unpaid)),
            outcome.accounts.spent
        )
    } else {
        "it does not hold: see FAIL above".to_owned()
    };
    writeln!(out, "\nVerdict: {verdict}.")?;
    out.flush()?;
    Ok(holds)
}

fn row(out: &mut impl Write, name: &str, times: &Times) -> io::Result<()> {
    writeln!(
        out,
        "  {name:<12}{:6.1} s   {:<44}    {:.2}×",
        seconds(times.paid),
        in_order(&times.unpaid),
        times.speedup()
    )
}

/// In the control swarm nobody pays: its first leecher is one of the others.
fn control(out: &mut impl Write, name: &str, times: &Times) -> io::Result<()> {
    writeln!(out, "  {name:<12}     –     {}", in_order(&times.control))
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
