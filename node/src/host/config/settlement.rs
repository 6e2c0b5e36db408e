//! The way to the settlement node, and the role of one.

use std::net::{IpAddr, SocketAddr};
use std::path::PathBuf;
use std::str::FromStr as _;

use super::layers::{ConfigError, Layers};
use super::truth;

/// The role of a network's settlement node.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SettlementRole {
    /// Where `SettlementService` listens.
    pub listen: SocketAddr,
    /// The key that signs locks and certificates.
    pub key: PathBuf,
    /// The key that grants credit, if it is kept here.
    pub issuer_key: Option<PathBuf>,
    /// What the listener shows to whoever asks over TLS; plain text without.
    pub tls: Option<TlsFiles>,
}

/// A certificate chain and its key, in PEM.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TlsFiles {
    /// The chain.
    pub cert: PathBuf,
    /// The key.
    pub key: PathBuf,
}

fn any_url(text: &str) -> Result<Option<String>, &'static str> {
    match text {
        "" => Ok(None),
        url if url.starts_with("http://") || url.starts_with("https://") => {
            Ok(Some(url.to_owned()))
        }
        _ => Err("is no URL: write it as https://HOST:PORT"),
    }
}

/// A URL, in plain text to another machine only where somebody said so: nobody on the way can
/// forge an answer, but everybody reads who pays whom.
fn private_url(text: &str) -> Result<Option<String>, &'static str> {
    let url = any_url(text)?;
    match &url {
        Some(url) if !is_private(url) => Err(
            "sends in plain text who pays whom: write https://, or set network.plaintext = true",
        ),
        _ => Ok(url),
    }
}

/// Whether nobody reads on the way what is asked there and answered.
pub fn is_private(url: &str) -> bool {
    url.strip_prefix("http://").is_none_or(is_this_machine)
}

/// Whether HOST:PORT is of this machine, whatever follows it.
fn is_this_machine(rest: &str) -> bool {
    let authority = rest.split(['/', '?', '#']).next().unwrap_or(rest);
    let addr = SocketAddr::from_str(authority).map(|addr| addr.ip());
    let host = authority
        .rsplit_once(':')
        .map_or(authority, |(host, _)| host);
    match addr.or_else(|_| IpAddr::from_str(host.trim_matches(['[', ']']))) {
        Ok(ip) => ip.to_canonical().is_loopback(),
        Err(_) => host == "localhost",
    }
}

/// Where the settlement node is.
pub(super) fn url(layers: &Layers) -> Result<Option<String>, ConfigError> {
    match layers.parse("network.plaintext", truth)? {
        true => layers.parse("network.settlement", any_url),
        false => layers.parse("network.settlement", private_url),
    }
}

/// Certificate and key that the settlement listener shows; both or neither.
pub(super) fn tls_files(
    layers: &Layers,
    cert: Option<PathBuf>,
    key: Option<PathBuf>,
) -> Result<Option<TlsFiles>, ConfigError> {
    match (cert, key) {
        (Some(cert), Some(key)) => Ok(Some(TlsFiles { cert, key })),
        (None, None) => Ok(None),
        (Some(_), None) => layers.parse("settlement.tls_key", |_| {
            Err("is missing: settlement.tls_cert is set")
        }),
        (None, Some(_)) => layers.parse("settlement.tls_cert", |_| {
            Err("is missing: settlement.tls_key is set")
        }),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn plain_text_goes_to_this_machine_alone_unless_somebody_said_so() {
        let fine = [
            "https://settle.example:4621",
            "http://127.0.0.1:4621",
            "http://[::1]:4621/",
            "http://localhost:4621",
            "http://[::ffff:127.0.0.2]:1",
        ];
        for url in fine {
            assert_eq!(private_url(url), Ok(Some(url.to_owned())));
        }
        let plain = [
            "http://settle.example:4621",
            "http://192.168.1.2:4621",
            "http://localhost.example:1",
            "http://127.0.0.1.example",
        ];
        for url in plain {
            assert!(private_url(url).is_err(), "{url}");
            assert_eq!(any_url(url), Ok(Some(url.to_owned())));
        }
        assert!(any_url("ftp://x").is_err());
    }
}
