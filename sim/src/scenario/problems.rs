//! What is wrong with a scenario: the file, the line, and the word that was meant.

use std::collections::BTreeSet;
use std::fmt;

use seedbank_engine::content::metainfo::{PIECE_LEN_MAX, PIECES_MAX};
use seedbank_engine::text::similar;
use seedbank_engine::units::{BLOCK_LEN, Geometry};

use super::{ArrivalPlan, PEERS_MAX, PlannedEvent, Population, Scenario};

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
    place: (&'static str, usize),
    what: String,
}

impl ScenarioError {
    /// What TOML says of it.
    pub(super) fn of_text(file: &str, text: &str, error: &toml::de::Error) -> Self {
        let begin = error.span().map_or(0, |span| span.start.min(text.len()));
        let message = error.message().trim_end();
        Self {
            file: file.to_owned(),
            line: 1 + text.as_bytes()[..begin]
                .iter()
                .filter(|byte| **byte == b'\n')
                .count(),
            problem: format!("{}{}", message.replace('\n', ", "), meant(message)),
        }
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
                        Some(_) => return None,
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
    }

    fn problem_of_run(&self) -> Option<String> {
        let names = self.populations.iter().map(|population| &population.name);
        let mut seen = BTreeSet::new();
        let twice = names.filter(|name| !seen.insert(*name)).min();
        let torrents = self.torrents.iter().map(|torrent| &torrent.name);
        let mut seen = BTreeSet::new();
        let same = torrents.filter(|name| !seen.insert(*name)).min();
        if self.torrents.is_empty() {
            Some("there is no [[torrent]]".to_owned())
        } else if let Some(name) = twice {
            Some(format!("two populations are called {name:?}"))
        } else if let Some(name) = same {
            Some(format!("two torrents are called {name:?}"))
        } else if self.peer_count() == 0 {
            Some("nobody is there".to_owned())
        } else if self.peer_count() > PEERS_MAX {
            let count = self.peer_count();
            Some(format!("{count} peers: the block tier takes {PEERS_MAX}"))
        } else if self.run.series_every.0.as_nanos() == 0 {
            Some("series_every: a time between two rows is needed".to_owned())
        } else {
            None
        }
    }

    fn problem_of(&self, population: &Population) -> Option<String> {
        let Population { name, line, .. } = population;
        let torrents = self.torrents.iter().map(|torrent| torrent.name.as_str());
        let asked = population.torrent.as_deref();
        if let Some(torrent) = asked.filter(|name| !torrents.clone().any(|known| known == *name)) {
            let known: Vec<&str> = torrents.collect();
            let meant = similar(torrent, known.iter().copied());
            let meant = meant.map_or_else(String::new, |name| format!("; did you mean {name:?}?"));
            return Some(format!("{name:?}: there is no torrent {torrent:?}{meant}"));
        }
        let drawn = (line.uplink.is_some(), line.profile.is_some());
        let what = match (drawn, &population.arrivals) {
            ((true, true), _) => "an uplink and a profile exclude each other".to_owned(),
            ((false, false), _) => "its line needs an uplink, or a profile".to_owned(),
            (_, ArrivalPlan::Trace { times }) if times.len() as u64 != population.count => {
                format!("{} times for {} peers", times.len(), population.count)
            }
            _ if population.slots == 0 || population.slots > 1_000 => {
                format!("{} slots: from 1 to 1000", population.slots)
            }
            _ if population.boost.is_some() && self.network.is_none() => {
                "who boosts needs a [network]".to_owned()
            }
            _ if population.boost.is_some() && !population.receipts => {
                "who boosts needs receipts".to_owned()
            }
            _ if line.downlink_factor == 0 => "a downlink_factor of 0 carries nothing".to_owned(),
            _ if line.loss_ppm > 250_000 => "loses more than a quarter".to_owned(),
            _ => population.strategy.problem(population)?,
        };
        Some(format!("{name:?}: {what}"))
    }

    fn problem_of_event(&self, event: &PlannedEvent) -> Option<String> {
        match event {
            PlannedEvent::Leave { population, .. } => {
                let names = self.populations.iter().map(|known| known.name.as_str());
                if names.clone().any(|known| known == population) {
                    return None;
                }
                let meant = similar(population, names);
                let meant =
                    meant.map_or_else(String::new, |name| format!("; did you mean {name:?}?"));
                Some(format!("there is no population {population:?}{meant}"))
            }
            PlannedEvent::SettlementDown { .. } if self.network.is_none() => {
                Some("there is no [network]".to_owned())
            }
            PlannedEvent::SettlementDown { .. } => None,
        }
    }
}
