//! The validation table, printed.

mod growth;

use comfy_table::{CellAlignment, Table, presets};
use seedbank_sim::library::LIBRARY;
use seedbank_sim::validation::{
    CASES, RowForm, RowLabel, RowVerdict, Tolerance, ValidationCase, ValidationRow, variance,
};
use serde_json::json;

use super::args::VerifyArgs;
use super::progress::SweepProgress;
use super::{REFUTED, SimFailure, files, say};

/// Rows of a case, and the seconds that they took together.
type Timed = (Vec<ValidationRow>, f64);

pub(super) fn run(args: &VerifyArgs) -> Result<(), SimFailure> {
    if let Some(seeds) = args.variance {
        return variance(seeds);
    }
    if args.cost {
        return growth::run(args.long, args.out.as_deref(), args.quiet);
    }
    let asked = asked(args)?;
    let mut done: Vec<Timed> = Vec::new();
    let progress = SweepProgress::of_table(asked.len(), args.quiet);
    progress.begin();
    for case in asked {
        let begin = files::WallClock::start();
        let rows = (case.run)(RowForm::Full);
        done.push((rows, begin.elapsed().as_secs_f64()));
        progress.step(true);
    }
    progress.end();
    match args.json {
        true => say(json(&done)),
        false => print(&done),
    }
    let rows = done.iter().flat_map(|(rows, _)| rows);
    let red: Vec<&str> = rows.filter(|row| row.is_red()).map(|row| row.id).collect();
    match red.is_empty() {
        true => Ok(()),
        false => Err(SimFailure {
            code: REFUTED,
            problem: format!("does not hold: {}", red.join(", ")),
        }),
    }
}

/// The cases that were asked for, or those that do not take minutes.
fn asked(args: &VerifyArgs) -> Result<Vec<&'static ValidationCase>, SimFailure> {
    if args.only.is_empty() {
        return Ok(CASES
            .iter()
            .filter(|case| args.long || !case.is_long)
            .collect());
    }
    let find = |number: &String| {
        let case = CASES.iter().find(|case| case.number == number.trim());
        case.ok_or_else(|| {
            let known: Vec<&str> = CASES.iter().map(|case| case.number).collect();
            SimFailure::usage(format_args!(
                "there is no row {number:?}; there are {}",
                known.join(", ")
            ))
        })
    };
    args.only.iter().map(find).collect()
}

fn print(done: &[Timed]) {
    let mut table = Table::new();
    table.load_style(presets::ASCII_MARKDOWN);
    let _ = table.set_header([
        "row",
        "what",
        "expected",
        "measured",
        "may differ",
        "verdict",
        "label",
        "s",
    ]);
    for (rows, took) in done {
        for (place, row) in rows.iter().enumerate() {
            let took = if place == 0 {
                format!("{took:.1}")
            } else {
                String::new()
            };
            let _ = table.add_row([
                row.id.to_owned(),
                row.what.clone(),
                numbers(&row.expected),
                numbers(&row.measured),
                tolerance(row.tolerance),
                verdict(row).to_owned(),
                label(row.label).to_owned(),
                took,
            ]);
        }
    }
    if let Some(column) = table.column_mut(7) {
        column.set_cell_alignment(CellAlignment::Right);
    }
    say(&table);
    let all = || done.iter().flat_map(|(rows, _)| rows);
    say("\nProduction code that ran:");
    for row in all().filter(|row| !row.ran.is_empty()) {
        let ran: Vec<String> = row
            .ran
            .iter()
            .map(|(what, times)| format!("{times} {what}"))
            .collect();
        say(format_args!("  {:<4} {}", row.id, ran.join(", ")));
    }
    say("\nNotes:");
    for row in all().filter(|row| !row.note.is_empty()) {
        say(format_args!("  {:<4} {}", row.id, row.note));
    }
}

/// What common random numbers are worth in each scenario of the library.
fn variance(seeds: u64) -> Result<(), SimFailure> {
    let mut table = Table::new();
    table.load_style(presets::ASCII_MARKDOWN);
    let _ = table.set_header([
        "scenario",
        "change",
        "mean s",
        "difference s",
        "± (95 %)",
        "variance, same luck",
        "variance, own luck",
        "ratio",
    ]);
    for included in LIBRARY.iter().filter(|one| variance::has_times(one)) {
        let change = variance::change_of(included);
        let row = variance::of(
            included,
            &change,
            seeds,
            variance::payload_max(RowForm::Full),
        );
        let row = row.map_err(SimFailure::new)?;
        let _ = table.add_row([
            row.scenario.to_owned(),
            row.change.clone(),
            format!("{:.1}", row.mean),
            format!("{:+.2}", row.paired.mean),
            format!("{:.2}", row.paired.half_width),
            format!("{:.3}", row.together()),
            format!("{:.3}", row.apart),
            format!("{:.2}", row.together() / row.apart),
        ]);
    }
    for column in table.column_iter_mut().skip(2) {
        column.set_cell_alignment(CellAlignment::Right);
    }
    say(table);
    say("\nAt most 300 peers, and torrents of 1 to 16 MiB, 256 MiB for all; idle has no times.");
    Ok(())
}

fn json(done: &[Timed]) -> serde_json::Value {
    let row = |row: &ValidationRow| {
        let ran: serde_json::Map<String, serde_json::Value> = row
            .ran
            .iter()
            .map(|(what, times)| ((*what).to_owned(), json!(times)))
            .collect();
        json!({
            "row": row.id,
            "what": row.what,
            "expected": row.expected,
            "measured": row.measured,
            "may_differ": tolerance(row.tolerance),
            "verdict": verdict(row),
            "label": label(row.label),
            "ran": ran,
            "note": row.note,
        })
    };
    let case = |(rows, took): &Timed| {
        let rows: Vec<_> = rows.iter().map(row).collect();
        json!({ "rows": rows, "seconds": took })
    };
    done.iter().map(case).collect()
}

fn numbers(all: &[f64]) -> String {
    let texts: Vec<String> = all.iter().map(|number| digits(*number)).collect();
    texts.join(" ")
}

/// As many digits as a table needs.
fn digits(number: f64) -> String {
    match number.abs() {
        size if size >= 1_000.0 || (number.fract().abs() < 1e-9) => format!("{number:.0}"),
        size if size >= 100.0 => format!("{number:.1}"),
        size if size >= 10.0 => format!("{number:.2}"),
        _ => format!("{number:.4}"),
    }
}

fn tolerance(tolerance: Tolerance) -> String {
    match tolerance {
        Tolerance::Exact => "exact".to_owned(),
        Tolerance::Absolute(most) => format!("±{most:.4}"),
        Tolerance::Percent(most) => format!("±{most} %"),
        Tolerance::AtLeast(factor) => format!("1 to {factor:.2} times"),
    }
}

fn verdict(row: &ValidationRow) -> &'static str {
    match row.verdict() {
        RowVerdict::Holds => "holds",
        RowVerdict::Differs => "differs",
        RowVerdict::Red => "RED",
    }
}

fn label(label: RowLabel) -> &'static str {
    match label {
        RowLabel::Theory => "theory",
        RowLabel::Production => "production",
    }
}
