//! What is wrong with a scenario: the file, the line, and the word that was meant. `people` is what
//! can be wrong with populations and with what happens to them, `tier` what a tier does not play.

pub(super) mod people;
mod tier;

use std::collections::BTreeSet;
use std::fmt;

use seedbank_engine::content::metainfo::build::{DraftContent, MetainfoDraft};
use seedbank_engine::content::metainfo::{PIECE_LEN_MAX, PIECES_MAX};
use seedbank_engine::text::similar;
use seedbank_engine::units::{BLOCK_LEN, Geometry};
use seedbank_ledger::Duration;
use toml::Value;

use super::Scenario;

/// Least time between two rows of a series.
const SERIES_EVERY_MIN: Duration = Duration::from_millis(100);
/// Longest run.
const DURATION_MAX: Duration = Duration::from_secs(3_650 * 86_400);

/// Why a text is no scenario.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ScenarioError {
    /// What the text is called.
    pub file: String,
    /// Line, from 1.
    pub line: usize,
    /// What is wrong, for people.
    pub problem: String,
}

/// What is wrong with a text that is TOML and has the right shape.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Flaw {
    /// Where to look: a key, and in which of several equal tables.
    pub(super) place: (&'static str, usize),
    pub(super) what: String,
}

impl ScenarioError {
    /// What TOML says of it.
    pub(super) fn of_text(file: &str, text: &str, error: &toml::de::Error) -> Self {
        let begin = error.span().map_or(0, |span| span.start.min(text.len()));
        let message = error.message().trim_end();
        let line = text.as_bytes()[..begin].iter();
        let line = 1 + line.filter(|byte| **byte == b'\n').count();
        let told = message.replace('\n', ", ");
        let (line, problem) = match slip(text, line, message) {
            Some((line, word)) => (line, format!("{told}; did you mean `{word}`?")),
            None => (line_of(text, line, message), told + &meant(message)),
        };
        Self {
            file: file.to_owned(),
            line,
            problem,
        }
    }

    /// A key that was given and means nothing where it is: of some tables the parser lets any pass.
    pub(super) fn of_leftover(file: &str, text: &str, scenario: &Scenario) -> Option<Self> {
        let given: Value = toml::from_str(text).ok()?;
        let kept: Value = toml::from_str(&scenario.canonical()).ok()?;
        let (key, known) = leftover(&given, &kept)?;
        let is_here = |line: &&str| {
            let mut words = line.split(|c: char| !(c.is_alphanumeric() || c == '_' || c == '-'));
            words.any(|word| word == key)
        };
        let line = text.lines().position(|line| is_here(&line)).unwrap_or(0);
        Some(Self {
            file: file.to_owned(),
            line: line + 1,
            problem: format!("unknown field `{key}`, where there is {}", known.join(", ")),
        })
    }

    pub(super) fn of_meaning(file: &str, text: &str, problem: Flaw) -> Self {
        let (table, index) = problem.place;
        let heading = |line: &str| {
            let name = line.trim().trim_start_matches('[').split(']').next();
            line.trim_start().starts_with('[') && name == Some(table)
        };
        let mut places = text.lines().enumerate().filter(|(_, line)| heading(line));
        Self {
            file: file.to_owned(),
            line: places.nth(index).map_or(1, |(line, _)| line + 1),
            problem: problem.what,
        }
    }
}

impl fmt::Display for ScenarioError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}:{}: {}", self.file, self.line, self.problem)
    }
}

impl std::error::Error for ScenarioError {}

/// A key of the author's that did not become part of the scenario, and those beside it that did.
fn leftover(given: &Value, kept: &Value) -> Option<(String, Vec<String>)> {
    match (given, kept) {
        (Value::Table(given), Value::Table(kept)) => given.iter().find_map(|(key, value)| {
            let is_nothing = value.as_array().is_some_and(Vec::is_empty);
            match kept.get(key) {
                Some(inner) => leftover(value, inner),
                // Files became part of it under another name.
                None if is_nothing || key == "csv" => None,
                None => Some((key.clone(), kept.keys().cloned().collect())),
            }
        }),
        (Value::Array(given), Value::Array(kept)) => {
            let pairs = given.iter().zip(kept);
            pairs
                .into_iter()
                .find_map(|(given, kept)| leftover(given, kept))
        }
        _ => None,
    }
}

/// Where an unknown word is: of tables with kinds the parser tells no more than where the first of
/// them begins.
fn line_of(text: &str, line: usize, message: &str) -> usize {
    let unknown = message.strip_prefix("unknown ");
    let word = unknown.and_then(|rest| rest.split('`').nth(1));
    let Some(word) = word.filter(|word| !word.is_empty()) else {
        return line;
    };
    let mut from_there = text.lines().enumerate().skip(line - 1);
    let found = from_there.find(|(_, line)| line.contains(word));
    found.map_or(line, |(number, _)| number + 1)
}

/// Where `kind` was written with a slip, if that is what is missing: of tables with kinds the
/// parser does not tell what it does not know before it knows the kind.
fn slip(text: &str, line: usize, message: &str) -> Option<(usize, &'static str)> {
    const FIELD: &str = "kind";
    let field = message.strip_prefix("missing field `")?.split('`').next()?;
    let mut table = text.lines().enumerate().skip(line - 1);
    let heading = table.next().filter(|_| field == FIELD)?;
    let inner = table.take_while(|(_, line)| !line.trim_start().starts_with('['));
    let mut keys = std::iter::once(heading)
        .chain(inner)
        .flat_map(|(number, line)| {
            let before = line.split('=').map(str::trim_end);
            let words = before.filter_map(|part| part.rsplit([' ', '{', ',']).next());
            words.map(move |word| (number + 1, word))
        });
    let is_slip = |word: &str| {
        let missing = FIELD.chars().filter(|c| !word.contains(*c)).count();
        let extra = word.chars().filter(|c| !FIELD.contains(*c)).count();
        missing + extra <= 2 && word != FIELD
    };
    let (line, _) = keys.find(|(_, word)| is_slip(word))?;
    Some((line, FIELD))
}

/// What is wrong with the name of a torrent, which is the name of its file.
fn problem_of_name(name: &str) -> Option<String> {
    let draft = MetainfoDraft {
        name: name.to_owned(),
        content: DraftContent::File(1),
        piece_len: BLOCK_LEN,
        trackers: Vec::new(),
        private: false,
        comment: None,
        created_by: None,
        creation_date: None,
    };
    let error = draft.finish(&[[0; 20]]).err()?;
    Some(format!("a torrent cannot be called {name:?}: {error}"))
}

/// What is said of a name that nobody has.
fn nobody<'a>(what: &str, name: &str, known: impl Iterator<Item = &'a str>) -> String {
    let meant = similar(name, known);
    let meant = meant.map_or_else(String::new, |name| format!("; did you mean {name:?}?"));
    format!("there is no {what} {name:?}{meant}")
}

/// The known word that is nearest to the unknown one, of a message of serde.
fn meant(message: &str) -> String {
    let quoted: Vec<&str> = message.split('`').skip(1).step_by(2).collect();
    let unknown = message.starts_with("unknown field") || message.starts_with("unknown variant");
    let nearest = match quoted.split_first() {
        Some((word, known)) if unknown => similar(word, known.iter().copied()),
        _ => None,
    };
    nearest.map_or_else(String::new, |word| format!("; did you mean `{word}`?"))
}

impl Scenario {
    /// What cannot be run, if anything.
    pub(super) fn problem(&self) -> Option<Flaw> {
        let at = |table, index| {
            move |what| Flaw {
                place: (table, index),
                what,
            }
        };
        self.problem_of_run()
            .map(at("run", 0))
            .or_else(|| self.problem_of_network().map(at("network", 0)))
            .or_else(|| {
                let torrents = self.torrents.iter().enumerate();
                let mut wrong = torrents.filter_map(|(index, torrent)| {
                    let whole = u32::try_from(torrent.piece.0).ok();
                    let piece = whole.filter(|len| {
                        len.is_power_of_two() && (BLOCK_LEN..=PIECE_LEN_MAX).contains(len)
                    });
                    let geometry = piece.and_then(|piece| Geometry::new(torrent.length.0, piece));
                    let geometry = geometry.filter(|lens| lens.piece_count() <= PIECES_MAX);
                    let what = match geometry {
                        Some(_) => problem_of_name(&torrent.name)?,
                        None => format!(
                            "a torrent of {} in pieces of {} cannot be: pieces are powers of two \
                             from 16KiB to 512MiB, and {PIECES_MAX} at most",
                            torrent.length, torrent.piece
                        ),
                    };
                    Some(at("torrent", index)(what))
                });
                wrong.next()
            })
            .or_else(|| {
                let populations = self.populations.iter().enumerate();
                let mut wrong = populations.filter_map(|(index, population)| {
                    self.problem_of(population).map(at("population", index))
                });
                wrong.next()
            })
            .or_else(|| {
                let events = self.events.iter().enumerate();
                let mut wrong = events.filter_map(|(index, event)| {
                    self.problem_of_event(event).map(at("event", index))
                });
                wrong.next()
            })
            .or_else(|| self.problem_of_tier())
    }

    fn problem_of_run(&self) -> Option<String> {
        let names = self.populations.iter().map(|population| &population.name);
        let mut seen = BTreeSet::new();
        let twice = names.filter(|name| !seen.insert(*name)).min();
        // Files whose names differ by case alone are one file on some disks.
        let torrents = self
            .torrents
            .iter()
            .map(|torrent| torrent.name.to_lowercase());
        let mut seen = BTreeSet::new();
        let same = torrents.filter(|name| !seen.insert(name.clone())).min();
        if self.torrents.is_empty() {
            Some("there is no [[torrent]]".to_owned())
        } else if let Some(name) = twice {
            Some(format!("two populations are called {name:?}"))
        } else if let Some(name) = same {
            Some(format!("two torrents are called {name:?}"))
        } else if self.peer_count() == 0 {
            Some("nobody is there".to_owned())
        } else if let Some(problem) = self.problem_of_size() {
            Some(problem)
        } else if self.run.series_every.0 < SERIES_EVERY_MIN {
            Some("series_every: at least 100ms between two rows".to_owned())
        } else if self.run.duration.0 > DURATION_MAX {
            Some("duration: at most 3650d".to_owned())
        } else if i64::try_from(self.run.seed).is_err() {
            Some(format!("seed: at most {}", i64::MAX))
        } else {
            None
        }
    }
}
