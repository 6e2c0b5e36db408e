//! Magnet links (BEP 9, 53).

use std::fmt;
use std::net::SocketAddr;

use crate::content::metainfo::{TRACKER_URL_MAX, TRACKERS_MAX};
use crate::text::printable;
use crate::units::InfoHash;

/// Most bytes in a link.
pub const MAGNET_LEN_MAX: usize = 64 * 1024;
/// Most peers taken from a link.
pub const PEERS_MAX: usize = 100;

const NAME_CHARS_MAX: usize = 255;
const SCHEME: &str = "magnet:?";
const TOPIC: &str = "urn:btih:";
/// The topic of version 2 (BEP 52).
const TOPIC_V2: &str = "urn:btmh:";

/// A parsed `magnet:?xt=urn:btih:…` link.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Magnet {
    /// Which torrent.
    pub info_hash: InfoHash,
    /// `dn`, for people until the metainfo is here.
    pub name: Option<String>,
    /// `tr`, each a tier of its own.
    pub trackers: Vec<String>,
    /// `x.pe`, literal addresses only.
    pub peers: Vec<SocketAddr>,
}

/// Why a text is no magnet link that we can follow.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum MagnetError {
    /// It does not begin with `magnet:?`.
    #[error("does not begin with {SCHEME:?}")]
    Scheme,
    /// Too long.
    #[error("has {len} bytes, at most {MAGNET_LEN_MAX} allowed")]
    TooLong {
        /// Bytes found.
        len: usize,
    },
    /// A percent sign without two hex digits behind it.
    #[error("has a malformed percent escape in {0:?}")]
    Escape(String),
    /// No `xt=urn:btih:`.
    #[error("names no torrent (xt=urn:btih:)")]
    NoTopic,
    /// `xt=urn:btmh:` and no `xt=urn:btih:`: a torrent without a version 1 part (BEP 52).
    #[error("names a torrent of version 2 only, which is not supported")]
    VersionTwoOnly,
    /// The hash is neither 40 hex digits nor 32 of base32.
    #[error("{0:?} is neither 40 hex digits nor 32 of base32")]
    InfoHash(String),
    /// Two different torrents.
    #[error("names two torrents, {first} and {second}")]
    TwoTopics {
        /// The one named first.
        first: InfoHash,
        /// The other.
        second: InfoHash,
    },
}

impl Magnet {
    /// Reads a link. Parameters that we do not know are ignored, and so are trackers and peers that
    /// are malformed or too many, and trackers that a link of ours has no room for.
    pub fn parse(text: &str) -> Result<Self, MagnetError> {
        let len = text.len();
        if len > MAGNET_LEN_MAX {
            return Err(MagnetError::TooLong { len });
        }
        let text = text.trim();
        let query = match text.split_at_checked(SCHEME.len()) {
            Some((scheme, query)) if scheme.eq_ignore_ascii_case(SCHEME) => query,
            _ => return Err(MagnetError::Scheme),
        };
        let (mut topic, mut has_version_two) = (None, false);
        let mut magnet = Self {
            info_hash: InfoHash([0; 20]),
            name: None,
            trackers: Vec::new(),
            peers: Vec::new(),
        };
        for parameter in query.split('&') {
            let (key, value) = parameter.split_once('=').unwrap_or((parameter, ""));
            let value = unescape(value)?;
            // A key may be numbered: `tr.1`, `xt.2`.
            let key = match key.split_once('.').filter(|(_, n)| is_number(n)) {
                Some((key, _)) => key,
                None => key,
            };
            let text = std::str::from_utf8(&value).unwrap_or_default();
            has_version_two |= key == "xt" && after(TOPIC_V2, text).is_some();
            magnet.take(key, &value, &mut topic)?;
        }
        magnet.info_hash = topic.ok_or(match has_version_two {
            true => MagnetError::VersionTwoOnly,
            false => MagnetError::NoTopic,
        })?;
        magnet.leave_out_trackers();
        Ok(magnet)
    }

    /// Keeps as many trackers as a link of ours has room for: escaped they are up to three times as
    /// long as they may have come, and what was longer than a link could not be read again.
    fn leave_out_trackers(&mut self) {
        let trackers = std::mem::take(&mut self.trackers);
        let mut len = self.to_string().len();
        let fits = |url: &String| {
            len += TrackerParameter(url).to_string().len();
            len <= MAGNET_LEN_MAX
        };
        self.trackers = trackers.into_iter().take_while(fits).collect();
    }

    fn take(
        &mut self,
        key: &str,
        value: &[u8],
        topic: &mut Option<InfoHash>,
    ) -> Result<(), MagnetError> {
        let text = || std::str::from_utf8(value).ok();
        match key {
            "xt" => {
                if let Some(second) = text().map(info_hash).transpose()?.flatten() {
                    let first = *topic.get_or_insert(second);
                    if first != second {
                        return Err(MagnetError::TwoTopics { first, second });
                    }
                }
            }
            "dn" if self.name.is_none() => {
                let name = printable(value, NAME_CHARS_MAX);
                self.name = Some(name).filter(|name| !name.is_empty());
            }
            "tr" if self.trackers.len() < TRACKERS_MAX => {
                let url = text().map(str::trim).filter(|url| is_url(url));
                if let Some(url) = url
                    && !self.trackers.iter().any(|known| known == url)
                {
                    self.trackers.push(url.to_owned());
                }
            }
            "x.pe" if self.peers.len() < PEERS_MAX => {
                let peer = text().and_then(|text| text.parse::<SocketAddr>().ok());
                // A scope is an interface of whoever wrote the link.
                let peer = peer.map(|peer| SocketAddr::new(peer.ip(), peer.port()));
                self.peers.extend(peer.filter(|peer| peer.port() != 0));
            }
            _ => {}
        }
        Ok(())
    }
}

/// The link. Parsed again it gives the same magnet.
impl fmt::Display for Magnet {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{SCHEME}xt={TOPIC}{}", self.info_hash)?;
        if let Some(name) = &self.name {
            write!(f, "&dn={}", Escaped(name))?;
        }
        for url in &self.trackers {
            write!(f, "{}", TrackerParameter(url))?;
        }
        self.peers
            .iter()
            .try_for_each(|peer| write!(f, "&x.pe={peer}"))
    }
}

/// A tracker as a parameter of a link.
struct TrackerParameter<'a>(&'a str);

impl fmt::Display for TrackerParameter<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "&tr={}", Escaped(self.0))
    }
}

/// Text with everything percent-escaped but the unreserved characters of RFC 3986.
struct Escaped<'a>(&'a str);

impl fmt::Display for Escaped<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.bytes().try_for_each(|byte| match byte {
            b'A'..=b'Z' | b'a'..=b'z' | b'0'..=b'9' | b'-' | b'.' | b'_' | b'~' => {
                write!(f, "{}", char::from(byte))
            }
            byte => write!(f, "%{byte:02X}"),
        })
    }
}

fn is_number(text: &str) -> bool {
    !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_digit())
}

fn is_url(url: &str) -> bool {
    (1..=TRACKER_URL_MAX).contains(&url.len()) && !url.contains(char::is_control)
}

/// Undoes percent escapes; `+` is a space. Never longer than its input.
fn unescape(text: &str) -> Result<Vec<u8>, MagnetError> {
    let error = || MagnetError::Escape(printable(text.as_bytes(), 80));
    let mut out = Vec::with_capacity(text.len());
    let mut bytes = text.bytes();
    while let Some(byte) = bytes.next() {
        out.push(match byte {
            b'%' => {
                let high = bytes.next().and_then(hex_digit).ok_or_else(error)?;
                let low = bytes.next().and_then(hex_digit).ok_or_else(error)?;
                high << 4 | low
            }
            b'+' => b' ',
            byte => byte,
        });
    }
    Ok(out)
}

/// The info hash of an `xt` value; `None` for another kind of topic (`urn:btmh:` among them).
fn info_hash(topic: &str) -> Result<Option<InfoHash>, MagnetError> {
    let Some(digits) = after(TOPIC, topic) else {
        return Ok(None);
    };
    let hash = match digits.len() {
        40 => gather(digits, 4, hex_digit),
        32 => gather(digits, 5, base32_digit),
        _ => None,
    };
    let shown = || printable(digits.as_bytes(), 80);
    let hash = hash.ok_or_else(|| MagnetError::InfoHash(shown()))?;
    Ok(Some(InfoHash(hash)))
}

/// What follows a kind of topic, written in either case; `None` for another kind.
fn after<'a>(kind: &str, topic: &'a str) -> Option<&'a str> {
    let (urn, rest) = topic.split_at_checked(kind.len())?;
    urn.eq_ignore_ascii_case(kind).then_some(rest)
}

/// Puts 160 bits together from digits of `width` bits each.
fn gather(digits: &str, width: u32, digit: fn(u8) -> Option<u8>) -> Option<[u8; 20]> {
    let mut hash = [0; 20];
    let mut filled = hash.iter_mut();
    let (mut bits, mut count) = (0_u32, 0);
    for byte in digits.bytes() {
        bits = (bits << width) | u32::from(digit(byte)?);
        count += width;
        if count >= 8 {
            count -= 8;
            *filled.next()? = u8::try_from(bits >> count).ok()?;
            bits &= (1 << count) - 1;
        }
    }
    Some(hash)
}

fn hex_digit(byte: u8) -> Option<u8> {
    u8::try_from(char::from(byte).to_digit(16)?).ok()
}

fn base32_digit(byte: u8) -> Option<u8> {
    match byte.to_ascii_uppercase() {
        letter @ b'A'..=b'Z' => Some(letter - b'A'),
        digit @ b'2'..=b'7' => Some(digit - b'2' + 26),
        _ => None,
    }
}

#[cfg(test)]
mod tests;
