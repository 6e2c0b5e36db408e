//! Whatever an author writes is a scenario that is played, or an error with its file, its line and
//! the word that was meant; nothing ends in a panic.

use seedbank_engine::rng::Rng;

use super::*;
use crate::library::{LIBRARY, TEMPLATE};
use crate::scenario::ArrivalPlan;
use crate::scenario::written::{Size, Time};

const EVERYTHING: &str = include_str!("../../scenario/tests/everything.toml");
/// What values are replaced by.
const VALUES: [&str; 26] = [
    "0",
    "1",
    "-1",
    "99999999999999999999",
    "9223372036854775807",
    "1.5",
    "true",
    "\"\"",
    "\"0s\"",
    "\"1us\"",
    "\"99999d\"",
    "\"exp(0s)\"",
    "\"9s..3s\"",
    "\"0%\"",
    "\"100%\"",
    "\"101%\"",
    "\"0cr\"",
    "\"0.000001cr\"",
    "\"1000000cr\"",
    "\"18446744073709cr/GiB\"",
    "\"1B/s\"",
    "\"1TB/s\"",
    "\"1B\"",
    "\"others\"",
    "[]",
    "{}",
];

/// One mistake, or what looks like one.
fn edited(text: &str, rng: &mut Rng) -> String {
    let mut lines: Vec<String> = text.lines().map(str::to_owned).collect();
    let draw = |rng: &mut Rng, bound: usize| usize::try_from(rng.below(bound as u64)).unwrap();
    let place = draw(rng, lines.len());
    let other = draw(rng, lines.len());
    match draw(rng, 8) {
        0 => drop(lines.remove(place)),
        1 => lines.insert(other, lines[place].clone()),
        2 => lines.swap(place, other),
        3 => {
            let cut = draw(rng, lines[place].chars().count() + 1);
            lines[place] = lines[place].chars().take(cut).collect();
        }
        4 => {
            let mut chars: Vec<char> = lines[place].chars().collect();
            let at = draw(rng, chars.len() + 1);
            chars.insert(at, ['e', '"', '=', '[', '}', '0', '.', 'ß'][draw(rng, 8)]);
            lines[place] = chars.into_iter().collect();
        }
        _ => {
            // Another value for a key that has one, also of an inner table.
            let keys: Vec<usize> = lines[place]
                .match_indices(" = ")
                .map(|(at, _)| at + 3)
                .collect();
            if let Some(at) = keys.get(draw(rng, keys.len().max(1))) {
                let rest = &lines[place][*at..];
                let end = rest.find([',', '}']).unwrap_or(rest.len());
                let value = VALUES[draw(rng, VALUES.len())];
                lines[place] = format!("{}{value}{}", &lines[place][..*at], &rest[end..]);
            }
        }
    }
    lines.join("\n")
}

/// The same scenario, short and with few peers.
fn small(mut scenario: Scenario) -> Scenario {
    scenario.run.duration = Time(scenario.run.duration.0.min(Duration::from_secs(15)));
    scenario.run.series_every = Time(Duration::from_secs(5));
    for torrent in &mut scenario.torrents {
        torrent.length = Size(torrent.length.0.min(300_000));
        torrent.piece = Size(torrent.piece.0.min(65_536));
    }
    for population in &mut scenario.populations {
        population.count = population.count.min(3);
        if let ArrivalPlan::Trace { times, .. } = &mut population.arrivals {
            times.truncate(3);
        }
    }
    scenario
}

#[test]
fn any_edit_is_a_run_or_an_error_with_its_line() {
    let mut texts: Vec<&str> = LIBRARY.iter().map(|included| included.text).collect();
    texts.extend([TEMPLATE, EVERYTHING, EVERYTHING, EVERYTHING]);
    let (mut played, mut refused) = (0, 0);
    for round in 0..1_500_u64 {
        let mut rng = Rng::new(round);
        let mut text = texts[usize::try_from(round).unwrap() % texts.len()].to_owned();
        for _ in 0..=rng.below(2) {
            text = edited(&text, &mut rng);
        }
        match Scenario::parse("edited.toml", &text) {
            Ok(scenario) => {
                let canonical = scenario.canonical();
                let again = Scenario::parse("canonical", &canonical);
                assert_eq!(again.as_ref(), Ok(&scenario), "round {round}:\n{text}");
                // Every one is read; some are played.
                if round % 3 == 0 {
                    drop(outcome(&small(scenario)));
                    played += 1;
                }
            }
            Err(error) => {
                let lines = text.lines().count().max(1);
                assert_eq!(error.file, "edited.toml");
                assert!(
                    (1..=lines + 1).contains(&error.line),
                    "round {round}: {error}"
                );
                assert!(!error.problem.is_empty(), "round {round}");
                refused += 1;
            }
        }
    }
    assert!(
        played > 80 && refused > 400,
        "{played} played, {refused} refused"
    );
}

#[test]
fn a_key_with_a_slip_is_told_on_its_line_with_the_one_that_was_meant() {
    let mut seen = 0;
    for (number, line) in (1..).zip(EVERYTHING.lines()) {
        let Some((key, rest)) = line.split_once(" = ") else {
            continue;
        };
        if key.starts_with([' ', '#', '{', '[']) || key.len() < 4 {
            continue;
        }
        let slip = format!("{}x{}", &key[..2], &key[2..]);
        let mut lines: Vec<&str> = EVERYTHING.lines().collect();
        let wrong = format!("{slip} = {rest}");
        lines[number - 1] = &wrong;
        let error = Scenario::parse("s.toml", &lines.join("\n")).unwrap_err();
        assert_eq!(error.line, number, "{error}");
        assert!(
            error.problem.ends_with(&format!("did you mean `{key}`?")),
            "{error}"
        );
        seen += 1;
    }
    assert!(seen > 50, "{seen}");
}
