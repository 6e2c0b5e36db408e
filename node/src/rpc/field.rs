//! Fields of requests as checked types; each failure names its field.

use std::net::SocketAddr;
use std::ops::RangeInclusive;
use std::path::PathBuf;

use seedbank_engine::content::metainfo::build::{PIECE_LEN_LARGEST, PIECE_LEN_SMALLEST};
use seedbank_engine::units::TorrentId;
use seedbank_ledger::settlement::REQUEST_ID_LEN_MAX;
use seedbank_ledger::{MicroCredits, NodeId, Rate};
use seedbank_proto::Failure;
use seedbank_proto::v1::ErrorReason;

use crate::host::hex;

/// Most addresses in one request.
pub(super) const ADDRS_MAX: usize = 100;
/// Longest free text in bytes.
pub(super) const TEXT_LEN_MAX: usize = 4_096;
/// Most characters of a bad value that a message repeats.
const QUOTED_MAX: usize = 80;
/// What pieces of a new torrent may hold.
const PIECE_LENS: RangeInclusive<u32> = PIECE_LEN_SMALLEST..=PIECE_LEN_LARGEST;
/// Items on a page if the caller does not say.
const PAGE_SIZE_DEFAULT: usize = 50;
/// Most items on a page.
pub(super) const PAGE_SIZE_MAX: usize = 1_000;

/// A failure about one field.
pub(super) fn bad(field: &str, problem: impl std::fmt::Display) -> Failure {
    Failure::new(ErrorReason::BadField, format!("{field} {problem}")).with("field", field)
}

pub(super) fn torrent_id(text: &str) -> Result<TorrentId, Failure> {
    hex::decode(text)
        .and_then(|bytes| bytes.try_into().ok())
        .map(TorrentId)
        .ok_or_else(|| {
            bad(
                "info_hash",
                format!("must be 40 hex digits, not {}", quoted(text)),
            )
        })
}

pub(super) fn node_id(field: &str, text: &str) -> Result<NodeId, Failure> {
    let key = NodeId::from_hex(text).ok_or_else(|| {
        bad(
            field,
            format!("must be 64 hex digits, not {}", quoted(text)),
        )
    })?;
    match key.check() {
        Ok(()) => Ok(key),
        Err(_) => Err(bad(
            field,
            format!("must be a key that somebody can hold, not {key}"),
        )),
    }
}

pub(super) fn amount(field: &str, raw: i64) -> Result<MicroCredits, Failure> {
    u64::try_from(raw)
        .ok()
        .filter(|raw| *raw > 0)
        .map(MicroCredits::new)
        .ok_or_else(|| bad_amount(field, raw))
}

pub(super) fn rate(field: &str, raw: i64) -> Result<Rate, Failure> {
    amount(field, raw).map(|amount| Rate::new(amount.get()))
}

pub(super) fn boost_id(text: &str) -> Result<u64, Failure> {
    text.parse().map_err(|_| {
        let problem = format!("must be the number of a boost, not {}", quoted(text));
        bad("boost_id", problem)
    })
}

pub(super) fn addrs(field: &str, texts: &[String]) -> Result<Vec<SocketAddr>, Failure> {
    if texts.len() > ADDRS_MAX {
        let count = texts.len();
        return Err(bad(
            field,
            format!("names {count} addresses, at most {ADDRS_MAX} are taken at once"),
        ));
    }
    let parse = |text: &String| {
        text.parse::<SocketAddr>()
            .ok()
            .filter(|addr| addr.port() > 0)
            .ok_or_else(|| {
                let text = quoted(text);
                let problem =
                    format!("must be an IP address and a port, as 203.0.113.7:6881, not {text}");
                bad(field, problem)
            })
    };
    texts.iter().map(parse).collect()
}

pub(super) fn request_id(text: &str) -> Result<&str, Failure> {
    match text.len() {
        1..=REQUEST_ID_LEN_MAX => Ok(text),
        len => Err(bad(
            "request_id",
            format!("must be 1 to {REQUEST_ID_LEN_MAX} bytes long, not {len}"),
        )),
    }
}

pub(super) fn text<'a>(field: &str, text: &'a str) -> Result<&'a str, Failure> {
    match text.len() {
        0..=TEXT_LEN_MAX => Ok(text),
        len => Err(bad(
            field,
            format!("must be at most {TEXT_LEN_MAX} bytes long, not {len}"),
        )),
    }
}

pub(super) fn absolute_path(field: &str, text: &str) -> Result<PathBuf, Failure> {
    let path = PathBuf::from(text);
    if path.is_absolute() {
        Ok(path)
    } else {
        let text = quoted(text);
        Err(bad(field, format!("must be an absolute path, not {text}")))
    }
}

/// Bytes in a piece of a new torrent; `None` to choose by size.
pub(super) fn piece_len(raw: i32) -> Result<Option<u32>, Failure> {
    match u32::try_from(raw) {
        Ok(0) => Ok(None),
        Ok(len) if len.is_power_of_two() && PIECE_LENS.contains(&len) => Ok(Some(len)),
        _ => {
            let (shortest, longest) = (PIECE_LENS.start(), PIECE_LENS.end());
            let problem =
                format!("must be a power of two from {shortest} to {longest} bytes, not {raw}");
            Err(bad("piece_bytes", problem))
        }
    }
}

/// A value of an enumeration that this node knows, and not its zero.
pub(super) fn known<E: TryFrom<i32> + Default + PartialEq>(
    field: &str,
    raw: i32,
) -> Result<E, Failure> {
    E::try_from(raw)
        .ok()
        .filter(|value| *value != E::default())
        .ok_or_else(|| bad(field, format!("holds {raw}, which stands for nothing here")))
}

/// The same of a list.
pub(super) fn all_known<E: TryFrom<i32> + Default + PartialEq>(
    field: &str,
    raw: &[i32],
) -> Result<(), Failure> {
    raw.iter()
        .try_for_each(|raw| known::<E>(field, *raw).map(drop))
}

/// Items to put on a page.
pub(super) fn page_size(raw: i32) -> Result<usize, Failure> {
    match usize::try_from(raw) {
        Ok(0) => Ok(PAGE_SIZE_DEFAULT),
        Ok(size) => Ok(size.min(PAGE_SIZE_MAX)),
        Err(_) => Err(bad("page_size", format!("must be 0 or more, not {raw}"))),
    }
}

/// A page token of ours; `None` asks for the first page.
pub(super) fn page_token<T>(
    text: &str,
    parse: impl FnOnce(&str) -> Option<T>,
) -> Result<Option<T>, Failure> {
    if text.is_empty() {
        return Ok(None);
    }
    parse(text).map(Some).ok_or_else(|| {
        let message = format!("{text:?} is no page token of this server");
        Failure::new(ErrorReason::BadPageToken, message)
    })
}

/// What the caller sent, printable and not too long to read.
pub(super) fn quoted(text: &str) -> String {
    let shown: String = text.chars().take(QUOTED_MAX).collect();
    let more = if shown.len() < text.len() { "…" } else { "" };
    format!("{shown:?}{more}")
}

fn bad_amount(field: &str, raw: i64) -> Failure {
    let message = format!("{field} must be above 0, not {raw}");
    Failure::new(ErrorReason::BadAmount, message).with("field", field)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_failure_names_its_field_the_limit_and_the_value() {
        let long = "x".repeat(1_000);
        for (failure, message) in [
            (
                piece_len(5).unwrap_err(),
                "piece_bytes must be a power of two from 16384 to 16777216 bytes, not 5",
            ),
            (
                torrent_id("zz").unwrap_err(),
                "info_hash must be 40 hex digits, not \"zz\"",
            ),
            (
                addrs("initial_peers", &["foo".to_owned()]).unwrap_err(),
                "initial_peers must be an IP address and a port, as 203.0.113.7:6881, not \"foo\"",
            ),
            (
                request_id("").unwrap_err(),
                "request_id must be 1 to 128 bytes long, not 0",
            ),
            (
                absolute_path("path", "here").unwrap_err(),
                "path must be an absolute path, not \"here\"",
            ),
            (
                amount("amount_microcredits", -1).unwrap_err(),
                "amount_microcredits must be above 0, not -1",
            ),
        ] {
            assert_eq!(failure.message, message);
            assert!(message.starts_with(&failure.metadata["field"]), "{message}");
        }
        let nobody = node_id("to", &"00".repeat(32)).unwrap_err();
        let nobody = nobody.message;
        assert!(
            nobody.starts_with("to must be a key that somebody can hold, not 0000"),
            "{nobody}"
        );
        let failure = node_id("to", &long).unwrap_err();
        assert!(failure.message.len() < 200, "{}", failure.message);
    }

    #[test]
    fn piece_lengths_are_those_that_are_made() {
        assert_eq!(piece_len(0).unwrap(), None);
        assert_eq!(piece_len(16_384).unwrap(), Some(16_384));
        assert_eq!(piece_len(16 << 20).unwrap(), Some(16 << 20));
        for bad in [-1, 1, 8_192, 3 << 14, 32 << 20] {
            assert!(piece_len(bad).is_err(), "{bad}");
        }
    }
}
