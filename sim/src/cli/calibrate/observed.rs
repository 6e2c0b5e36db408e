//! Reads what a node tells of itself, line by line: events, torrents and peers as JSON
//! (`proto/proto/seedbank/v1`, names as in the contract).

use std::collections::BTreeMap;

use serde_json::{Map, Value};

/// Why no ledger is read.
pub(super) const OUTCOME: &str = "what was paid is an outcome of the rules under which it was \
     paid, and is not replayed under others: give the lines of `seedbank events --json`";
/// Keys that only documents about credit have.
const OF_LEDGERS: [&str; 9] = [
    "entries",
    "entry_hash",
    "postings",
    "prev_hash",
    "balance",
    "channels",
    "grants",
    "explanation",
    "cause",
];

/// What was seen.
#[derive(Debug, Default)]
pub(super) struct Observed {
    /// By info hash.
    pub(super) torrents: BTreeMap<String, SeenTorrent>,
    /// By number of the connection.
    pub(super) peers: BTreeMap<String, SeenPeer>,
    /// Time of the first event and of the last, in ms since 1970.
    pub(super) first_ms: u64,
    pub(super) last_ms: u64,
    pub(super) event_count: u64,
    pub(super) credit_count: u64,
    /// Numbers between those of the events that are here.
    pub(super) missing: u64,
    /// Bytes per second that the node sent at most, of one torrent.
    pub(super) rate_out: u64,
    newest: Option<u64>,
}

#[derive(Debug, Default)]
pub(super) struct SeenTorrent {
    pub(super) info_hash: String,
    pub(super) len: Option<u64>,
    pub(super) piece: Option<u64>,
    piece_count: u64,
}

#[derive(Debug, Default)]
pub(super) struct SeenPeer {
    pub(super) info_hash: String,
    /// When something was first decided about it, in ms since 1970.
    pub(super) came: Option<u64>,
    /// It was chosen as a seed when something was first decided about it.
    is_seed: bool,
    /// Most pieces that it was seen to have.
    have: u64,
    /// Bytes per second that came from it at most.
    pub(super) rate_from: u64,
}

impl Observed {
    /// How long the log goes, in ms.
    pub(super) fn lasts_ms(&self) -> u64 {
        self.last_ms - self.first_ms
    }

    /// Whether a peer had everything when it came, as far as that is known.
    pub(super) fn is_seed(&self, peer: &SeenPeer) -> bool {
        let torrent = self.torrents.get(&peer.info_hash);
        let all = torrent.map_or(0, |seen| seen.piece_count);
        // Nothing is ever decided about who wants nothing.
        peer.is_seed || (peer.came.is_none() && all > 0 && peer.have >= all)
    }

    /// Reads the lines of a file.
    pub(super) fn read(&mut self, file: &str, text: &str) -> Result<(), String> {
        for (number, line) in (1..).zip(text.lines()) {
            if line.trim().is_empty() {
                continue;
            }
            let read = serde_json::from_str(line).map_err(|error| format!("no JSON: {error}"));
            let taken = read.and_then(|value| self.document(&value));
            taken.map_err(|problem| format!("{file}:{number}: {problem}"))?;
        }
        Ok(())
    }

    fn document(&mut self, value: &Value) -> Result<(), String> {
        let Value::Object(fields) = value else {
            return Err("no document: a line is one JSON object".to_owned());
        };
        if fields.contains_key("create_time") && fields.contains_key("kind") {
            let kind = text(fields, "kind")?;
            if kind.starts_with("ENTRY_KIND") {
                return Err(format!("is of a ledger; {OUTCOME}"));
            }
            return self.event(fields, kind);
        }
        if let Some(several) = fields.get("torrents").and_then(Value::as_array) {
            return several.iter().try_for_each(|one| self.torrent(one));
        }
        if let Some(several) = fields.get("peers").and_then(Value::as_array) {
            return several.iter().try_for_each(|one| self.peer(one));
        }
        if fields.contains_key("total_bytes") {
            return self.torrent(value);
        }
        if OF_LEDGERS.iter().any(|key| fields.contains_key(*key)) {
            return Err(format!("is of a ledger; {OUTCOME}"));
        }
        let keys: Vec<&str> = fields.keys().map(String::as_str).take(5).collect();
        Err(format!(
            "neither an event nor a list of torrents or peers: it has {}",
            keys.join(", ")
        ))
    }

    fn event(&mut self, fields: &Map<String, Value>, kind: &str) -> Result<(), String> {
        let Some(kind) = kind.strip_prefix("EVENT_KIND_") else {
            return Err(format!("{kind:?} is no kind of event"));
        };
        if kind == "HEARTBEAT" {
            return Ok(());
        }
        let at = ms_of(text(fields, "create_time")?)?;
        let sequence = number(fields, "sequence")?;
        if self.newest.is_some_and(|newest| sequence <= newest) {
            return Err(format!(
                "event {sequence} after {}: events are in order, each once",
                self.newest.unwrap_or_default()
            ));
        }
        let next = self.newest.map_or(sequence, |newest| newest + 1);
        self.missing += sequence - next;
        self.newest = Some(sequence);
        if self.event_count == 0 {
            self.first_ms = at;
        }
        if at < self.first_ms {
            return Err("happened before the first event: the clock was set back".to_owned());
        }
        self.last_ms = self.last_ms.max(at);
        self.event_count += 1;
        match kind {
            "CHOKE" => self.choke(fields, at),
            "TORRENT_COMPLETED" | "TORRENT_FAILED" | "PIECE_FAILED" | "PEER_UNREACHED"
            | "TRACKER_FAILED" | "PEER_MISBEHAVED" | "CLOCK_SKEWED" => Ok(()),
            // Of later kinds nothing is known but that they are no arrivals.
            _ => {
                self.credit_count += 1;
                Ok(())
            }
        }
    }

    fn choke(&mut self, fields: &Map<String, Value>, at: u64) -> Result<(), String> {
        let info_hash = info_hash(fields)?;
        let id = text(fields, "peer_id")?;
        if id.is_empty() {
            return Err("a choke decision about nobody: peer_id is empty".to_owned());
        }
        let is_seed = text(fields, "unchoke_reason")? == "UNCHOKE_REASON_SEED";
        self.torrents
            .entry(info_hash.clone())
            .or_insert_with(|| SeenTorrent {
                info_hash: info_hash.clone(),
                ..SeenTorrent::default()
            });
        let peer = self.peers.entry(id.to_owned()).or_default();
        // Later it is one that has become a seed here.
        peer.is_seed |= peer.came.is_none() && is_seed;
        peer.info_hash = info_hash;
        peer.came = peer.came.or(Some(at));
        Ok(())
    }

    fn torrent(&mut self, value: &Value) -> Result<(), String> {
        let Value::Object(fields) = value else {
            return Err("torrents: one of them is no object".to_owned());
        };
        let info_hash = info_hash(fields)?;
        let (len, pieces) = (
            number(fields, "total_bytes")?,
            number(fields, "piece_count")?,
        );
        self.rate_out = self
            .rate_out
            .max(number(fields, "upload_bytes_per_second")?);
        let torrent = self.torrents.entry(info_hash.clone()).or_default();
        torrent.info_hash = info_hash;
        if len > 0 && pieces > 0 {
            torrent.len = Some(len);
            torrent.piece = Some(len.div_ceil(pieces).next_power_of_two());
            torrent.piece_count = pieces;
        }
        Ok(())
    }

    fn peer(&mut self, value: &Value) -> Result<(), String> {
        let Value::Object(fields) = value else {
            return Err("peers: one of them is no object".to_owned());
        };
        let info_hash = info_hash(fields)?;
        let id = text(fields, "peer_id")?.to_owned();
        let rate = number(fields, "download_bytes_per_second")?;
        let have = number(fields, "have_piece_count")?;
        self.torrents
            .entry(info_hash.clone())
            .or_insert_with(|| SeenTorrent {
                info_hash: info_hash.clone(),
                ..SeenTorrent::default()
            });
        let peer = self.peers.entry(id).or_default();
        peer.info_hash = info_hash;
        peer.rate_from = peer.rate_from.max(rate);
        peer.have = peer.have.max(have);
        Ok(())
    }
}

fn text<'a>(fields: &'a Map<String, Value>, key: &str) -> Result<&'a str, String> {
    let found = fields.get(key).ok_or_else(|| format!("{key} is missing"))?;
    found
        .as_str()
        .ok_or_else(|| format!("{key}: {found} is no text"))
}

/// A whole number; wide ones are texts in `ProtoJSON`.
fn number(fields: &Map<String, Value>, key: &str) -> Result<u64, String> {
    let found = fields.get(key).ok_or_else(|| format!("{key} is missing"))?;
    let number = match found {
        Value::String(text) => text.parse().ok(),
        other => other.as_u64(),
    };
    number.ok_or_else(|| format!("{key}: {found} is no whole number"))
}

fn info_hash(fields: &Map<String, Value>) -> Result<String, String> {
    let hash = text(fields, "info_hash")?;
    let is_one = hash.len() == 40 && hash.bytes().all(|digit| digit.is_ascii_hexdigit());
    match is_one {
        true => Ok(hash.to_owned()),
        false => Err(format!("info_hash: {hash:?} is not 40 hex digits")),
    }
}

/// Milliseconds since 1970 of `2026-01-01T00:00:00.250Z` (RFC 3339, in UTC, as in `ProtoJSON`).
fn ms_of(text: &str) -> Result<u64, String> {
    let read = || {
        let (date, time) = text.strip_suffix('Z')?.split_once('T')?;
        let mut date = date.splitn(3, '-').map(|part| part.parse::<u64>().ok());
        let [year, month, day] = [date.next()??, date.next()??, date.next()??];
        let (time, part) = time.split_once('.').unwrap_or((time, "0"));
        let mut time = time.splitn(3, ':').map(|part| part.parse::<u64>().ok());
        let [hour, minute, second] = [time.next()??, time.next()??, time.next()??];
        let is_sound = (1970..10_000).contains(&year)
            && (1..=12).contains(&month)
            && (1..=31).contains(&day)
            && hour < 24
            && minute < 60
            && second <= 60
            && (1..=9).contains(&part.len())
            && part.bytes().all(|digit| digit.is_ascii_digit());
        if !is_sound {
            return None;
        }
        let part: u64 = format!("{part:0<3}")[..3].parse().ok()?;
        let secs = days(year, month, day) * 86_400 + hour * 3_600 + minute * 60 + second;
        Some(secs * 1_000 + part)
    };
    read().ok_or_else(|| format!("create_time: {text:?} is no time: 2026-01-01T00:00:00Z"))
}

/// Days from 1970-01-01 to a date of the Gregorian calendar, counted in years that begin in March,
/// so that the day that is sometimes there is the last.
fn days(year: u64, month: u64, day: u64) -> u64 {
    let (year, month) = match month {
        1 | 2 => (year - 1, month + 9),
        _ => (year, month - 3),
    };
    let leap = year / 4 - year / 100 + year / 400;
    year * 365 + leap + (month * 153 + 2) / 5 + day - 1 - 719_468
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times_are_read_as_they_are_written() {
        assert_eq!(ms_of("1970-01-01T00:00:00Z"), Ok(0));
        assert_eq!(ms_of("2023-11-14T22:13:20Z"), Ok(1_700_000_000_000));
        assert_eq!(ms_of("2024-02-29T00:00:00.250Z"), Ok(1_709_164_800_250));
        assert_eq!(ms_of("2026-01-01T00:00:00.5Z"), Ok(1_767_225_600_500));
        for wrong in [
            "",
            "2026-01-01",
            "2026-13-01T00:00:00Z",
            "2026-01-01T00:00:00+01:00",
        ] {
            assert!(ms_of(wrong).is_err(), "{wrong}");
        }
    }
}
