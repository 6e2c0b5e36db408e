//! Fields of requests as checked types; each failure names its field.

use std::net::SocketAddr;
use std::path::PathBuf;

use seedbank_engine::units::TorrentId;
use seedbank_ledger::{MicroCredits, NodeId, Rate};
use seedbank_proto::Failure;
use seedbank_proto::v1::ErrorReason;

use crate::host::hex;

/// Most addresses in one request.
pub(super) const ADDRS_MAX: usize = 100;
/// Longest request id in bytes.
pub(super) const REQUEST_ID_LEN_MAX: usize = 128;
/// Longest free text in bytes.
pub(super) const TEXT_LEN_MAX: usize = 4_096;
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
        .ok_or_else(|| bad("info_hash", "is not 40 hex digits"))
}

pub(super) fn node_id(field: &str, text: &str) -> Result<NodeId, Failure> {
    NodeId::from_hex(text).ok_or_else(|| bad(field, "is not 64 hex digits"))
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
    text.parse()
        .map_err(|_| bad("boost_id", format!("is no number: {text:?}")))
}

pub(super) fn addrs(field: &str, texts: &[String]) -> Result<Vec<SocketAddr>, Failure> {
    if texts.len() > ADDRS_MAX {
        let count = texts.len();
        return Err(bad(
            field,
            format!("has {count} addresses, at most {ADDRS_MAX}"),
        ));
    }
    let parse = |text: &String| {
        text.parse::<SocketAddr>()
            .ok()
            .filter(|addr| addr.port() > 0)
            .ok_or_else(|| {
                bad(
                    field,
                    format!("holds no address: {text:?}, write HOST:PORT"),
                )
            })
    };
    texts.iter().map(parse).collect()
}

pub(super) fn request_id(text: &str) -> Result<&str, Failure> {
    match text.len() {
        1..=REQUEST_ID_LEN_MAX => Ok(text),
        len => Err(bad(
            "request_id",
            format!("has {len} bytes, not 1 to {REQUEST_ID_LEN_MAX}"),
        )),
    }
}

pub(super) fn text<'a>(field: &str, text: &'a str) -> Result<&'a str, Failure> {
    match text.len() {
        0..=TEXT_LEN_MAX => Ok(text),
        len => Err(bad(
            field,
            format!("has {len} bytes, at most {TEXT_LEN_MAX}"),
        )),
    }
}

pub(super) fn absolute_path(field: &str, text: &str) -> Result<PathBuf, Failure> {
    let path = PathBuf::from(text);
    if path.is_absolute() {
        Ok(path)
    } else {
        Err(bad(field, format!("is not absolute: {text:?}")))
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
        Err(_) => Err(bad("page_size", format!("is below zero: {raw}"))),
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

fn bad_amount(field: &str, raw: i64) -> Failure {
    let message = format!("{field} must be above 0, not {raw}");
    Failure::new(ErrorReason::BadAmount, message).with("field", field)
}
