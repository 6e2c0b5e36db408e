//! Announces over HTTP and HTTPS (BEP 3).

use std::net::IpAddr;
use std::sync::Arc;
use std::time::Duration;

use seedbank_engine::discovery::tracker::http::{REPLY_LEN_MAX, announce_url, parse_reply};
use seedbank_engine::discovery::tracker::{AnnounceError, AnnounceReply, AnnounceRequest};

use super::unreachable;

/// Time for a whole announce, redirects included.
const TIMEOUT: Duration = Duration::from_secs(30);
/// Time for the connection.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(10);
/// Redirects that are followed.
const REDIRECTS_MAX: usize = 5;

/// A client that speaks from `source` and trusts the usual authorities.
pub(super) fn client(source: Option<IpAddr>) -> Result<reqwest::Client, String> {
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let roots = rustls::RootCertStore::from_iter(webpki_roots::TLS_SERVER_ROOTS.iter().cloned());
    let tls = rustls::ClientConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .map_err(|error| error.to_string())?
        .with_root_certificates(roots)
        .with_no_client_auth();
    reqwest::Client::builder()
        .tls_backend_preconfigured(tls)
        .user_agent(concat!("Seedbank/", env!("CARGO_PKG_VERSION")))
        .timeout(TIMEOUT)
        .connect_timeout(CONNECT_TIMEOUT)
        .redirect(reqwest::redirect::Policy::limited(REDIRECTS_MAX))
        .local_address(source)
        .build()
        .map_err(|error| error.to_string())
}

/// Asks a tracker.
pub(super) async fn ask(
    client: &reqwest::Client,
    tracker: &str,
    request: &AnnounceRequest,
) -> Result<AnnounceReply, AnnounceError> {
    let url = announce_url(tracker, request).map_err(|error| unreachable(&error))?;
    let response = client.get(url).send().await;
    let mut response = response.map_err(|error| failed(&error))?;
    let status = response.status();
    let mut body = Vec::new();
    while let Some(chunk) = response.chunk().await.map_err(|error| failed(&error))? {
        body.extend_from_slice(&chunk);
        if body.len() > REPLY_LEN_MAX {
            let problem = format!("more than {REPLY_LEN_MAX} bytes");
            return Err(AnnounceError::Malformed(problem));
        }
    }
    // Some trackers say why with a status of their own.
    match parse_reply(&body) {
        Err(AnnounceError::Malformed(_)) if !status.is_success() => {
            Err(unreachable(&format!("HTTP status {}", status.as_u16())))
        }
        other => other,
    }
}

/// The innermost cause says most; the URL, which may hold a passkey, is left out.
fn failed(error: &reqwest::Error) -> AnnounceError {
    if error.is_timeout() {
        return unreachable(&"no answer in time");
    }
    let mut cause: &dyn std::error::Error = error;
    while let Some(source) = cause.source() {
        cause = source;
    }
    if std::ptr::addr_eq(cause, error) {
        return unreachable(&"request failed");
    }
    unreachable(&cause)
}
