//! What `add` is given: a file, standard input, a URL, a magnet link or an info hash.

use std::io::{self, Read as _};

use seedbank_proto::v1::add_torrent_request::Source;

use super::App;
use crate::error::ClientError;
use crate::fetch::{self, METAINFO_LEN_MAX};

/// Digits of an info hash.
const HEX_DIGITS: usize = 40;
/// The same in base32.
const BASE32_DIGITS: usize = 32;

/// Reads what is to be added.
pub(super) async fn read(app: &mut App<'_>, source: &str) -> Result<Source, ClientError> {
    if source == "-" {
        let input = app.printer.input();
        return bounded("standard input", input).map(Source::Metainfo);
    }
    if source.starts_with("magnet:") {
        return Ok(Source::Magnet(source.to_owned()));
    }
    if fetch::is_url(source) {
        let bytes = fetch::metainfo(source, app.global.timeout).await?;
        return Ok(Source::Metainfo(bytes));
    }
    match std::fs::File::open(source) {
        Ok(file) => bounded(source, file).map(Source::Metainfo),
        Err(error) if error.kind() == io::ErrorKind::NotFound => {
            magnet_of(source).map(Source::Magnet).ok_or_else(|| {
                let what = "there is no such file, and it is neither an http(s) URL, a magnet \
                            link nor an info hash of 40 hex digits";
                failed(source, io::Error::new(io::ErrorKind::NotFound, what))
            })
        }
        Err(error) => Err(failed(source, error)),
    }
}

/// The magnet link of a bare info hash.
fn magnet_of(source: &str) -> Option<String> {
    let is_hex =
        source.len() == HEX_DIGITS && source.bytes().all(|digit| digit.is_ascii_hexdigit());
    let is_base32 = source.len() == BASE32_DIGITS
        && source
            .bytes()
            .all(|digit| matches!(digit.to_ascii_uppercase(), b'A'..=b'Z' | b'2'..=b'7'));
    (is_hex || is_base32).then(|| format!("magnet:?xt=urn:btih:{source}"))
}

fn bounded(name: &str, from: impl io::Read) -> Result<Vec<u8>, ClientError> {
    let mut bytes = Vec::new();
    let most = u64::try_from(METAINFO_LEN_MAX).expect("a file that fits memory");
    let mut from = from.take(most + 1);
    from.read_to_end(&mut bytes)
        .map_err(|error| failed(name, error))?;
    if bytes.len() <= METAINFO_LEN_MAX {
        return Ok(bytes);
    }
    let what = format!("has more than {METAINFO_LEN_MAX} bytes, no .torrent file has");
    Err(failed(name, io::Error::other(what)))
}

fn failed(path: &str, source: io::Error) -> ClientError {
    ClientError::File {
        path: path.to_owned(),
        source,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_info_hash_is_a_magnet_link_without_trackers() {
        let hex = "c0ffee254729296a45a3885639AC7DCE1E22BB4B";
        assert_eq!(magnet_of(hex), Some(format!("magnet:?xt=urn:btih:{hex}")));
        assert!(magnet_of("MFRGGZDFMZTWQ2LKNNWG23TPOBYXE43U").is_some());
        assert_eq!(magnet_of(&hex[1..]), None);
        assert_eq!(magnet_of("MFRGGZDFMZTWQ2LKNNWG23TPOBYXE431"), None);
        assert_eq!(magnet_of("film.torrent"), None);
    }

    #[test]
    fn what_is_too_long_for_a_torrent_file_is_not_read_whole() {
        let error = bounded("x", io::repeat(b'd')).unwrap_err();
        assert!(error.to_string().starts_with("x: has more than"), "{error}");
        assert_eq!(bounded("x", &b"d4:info"[..]).unwrap(), b"d4:info");
    }
}
