//! HTTP trackers: the URL to fetch, and how to read the body (BEP 3, 7, 23).

use std::fmt::Write as _;
use std::net::{IpAddr, SocketAddr};

use crate::content::bencode::{self, DecodeLimits, Element};
use crate::discovery::tracker::url::{TrackerUrl, UrlError};
use crate::discovery::tracker::{
    AnnounceError, AnnounceEvent, AnnounceReply, AnnounceRequest, INTERVAL_DEFAULT, TEXT_MAX,
    compact, interval, usable,
};
use crate::text::printable;

/// Most bytes of a body that are worth fetching.
pub const REPLY_LEN_MAX: usize = 1024 * 1024;

/// The URL to fetch. A query that `base` has already, such as a passkey, stays in front.
///
/// Counters are payload bytes as in the request; asks for compact peers, and for none when
/// stopping.
pub fn announce_url(base: &str, request: &AnnounceRequest) -> Result<String, UrlError> {
    let TrackerUrl::Http(mut url) = TrackerUrl::parse(base)? else {
        return Err(UrlError::Scheme);
    };
    url.push(match url.as_bytes() {
        [.., b'?' | b'&'] => '&',
        bytes if bytes.contains(&b'?') => '&',
        _ => '?',
    });
    // "?&" is legal but has been seen to confuse trackers.
    if url.ends_with("?&") || url.ends_with("&&") {
        url.pop();
    }
    let num_want = match request.event {
        AnnounceEvent::Stopped => 0,
        _ => request.num_want,
    };
    let write = write!(
        url,
        "info_hash={}&peer_id={}&port={}&uploaded={}&downloaded={}&left={}&compact=1\
         &numwant={num_want}&key={:08x}",
        escape(&request.info_hash.0),
        escape(&request.client_id.0),
        request.port,
        request.uploaded,
        request.downloaded,
        request.left,
        request.key,
    );
    write.expect("writing to a string cannot fail");
    url.push_str(match request.event {
        AnnounceEvent::Interval => "",
        AnnounceEvent::Started => "&event=started",
        AnnounceEvent::Completed => "&event=completed",
        AnnounceEvent::Stopped => "&event=stopped",
    });
    Ok(url)
}

/// Reads a body: peers as a list of dictionaries or in compact form, of both families. Peers that
/// are malformed or that nobody can be reached at are left out.
pub fn parse_reply(body: &[u8]) -> Result<AnnounceReply, AnnounceError> {
    if body.len() > REPLY_LEN_MAX {
        let len = body.len();
        return Err(malformed(format!("{len} bytes are too many")));
    }
    let limits = DecodeLimits {
        tokens_max: TOKENS_MAX,
        ..DecodeLimits::MESSAGE
    };
    // Some trackers end the body with a line break.
    let document = bencode::decode_prefix(body, &limits);
    let document = document.map_err(|error| malformed(error.to_string()))?;
    let dict = document.root();
    if dict.entries().is_none() {
        return Err(malformed("not a dictionary".to_owned()));
    }
    let text = |key| {
        let bytes = dict.get(key).and_then(|value| value.as_bytes())?;
        Some(printable(bytes, TEXT_MAX))
    };
    let number = |key| dict.get(key).and_then(|value| value.as_u64());
    let count = |key| number(key).map(|count| u32::try_from(count).unwrap_or(u32::MAX));
    if let Some(reason) = text("failure reason") {
        return Err(AnnounceError::Refused(reason));
    }
    Ok(AnnounceReply {
        interval: number("interval").map_or(INTERVAL_DEFAULT, interval),
        interval_min: number("min interval").map(interval),
        seeds: count("complete"),
        leechers: count("incomplete"),
        peers: usable(peers(dict)),
        warning: text("warning message").filter(|text| !text.is_empty()),
    })
}

/// Enough for the most peers that fit a body as dictionaries with ids.
const TOKENS_MAX: usize = 128 * 1024;

fn malformed(problem: String) -> AnnounceError {
    AnnounceError::Malformed(problem)
}

fn peers(dict: Element<'_>) -> Vec<SocketAddr> {
    let mut peers = Vec::new();
    if let Some(value) = dict.get("peers") {
        peers.extend(compact::<4>(value.as_bytes().unwrap_or_default()));
        peers.extend(value.items().into_iter().flatten().filter_map(peer));
    }
    if let Some(value) = dict.get("peers6") {
        peers.extend(compact::<16>(value.as_bytes().unwrap_or_default()));
    }
    peers
}

/// A peer as a dictionary; only literal addresses, never a name to resolve.
fn peer(dict: Element<'_>) -> Option<SocketAddr> {
    let ip: IpAddr = dict.get("ip")?.as_str()?.parse().ok()?;
    let port = u16::try_from(dict.get("port")?.as_u64()?).ok()?;
    Some(SocketAddr::new(ip, port))
}

/// Escapes everything but the unreserved characters of RFC 3986.
fn escape(bytes: &[u8]) -> String {
    let mut out = String::with_capacity(bytes.len() * 3);
    for byte in bytes {
        match byte {
            b'A'..=b'Z' | b'a'..=b'z' | b'0'..=b'9' | b'-' | b'.' | b'_' | b'~' => {
                out.push(char::from(*byte));
            }
            byte => write!(out, "%{byte:02X}").expect("writing to a string cannot fail"),
        }
    }
    out
}

#[cfg(test)]
mod tests;
