//! Announces over HTTP and HTTPS (BEP 3).
//!
//! Each hop is looked up here, held against what may be reached, and connected to at the very
//! addresses that were: a name that says something else a moment later leads nowhere.

use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;
use std::time::Duration;

use reqwest::{Response, Url, header};
use seedbank_engine::discovery::reach::Reach;
use seedbank_engine::discovery::tracker::http::{REPLY_LEN_MAX, announce_url, parse_reply};
use seedbank_engine::discovery::tracker::{AnnounceError, AnnounceReply, AnnounceRequest};
use tokio::time::timeout;

use super::unreachable;
use crate::net::lookup::Lookups;

/// Time for a whole announce, lookups and redirects included.
const TIMEOUT: Duration = Duration::from_secs(30);
/// Time for a connection.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(10);
/// Redirects that are followed.
const REDIRECTS_MAX: usize = 5;

/// How HTTP trackers are asked.
#[derive(Debug)]
pub(super) struct Http {
    tls: rustls::ClientConfig,
    /// Address to speak from; `None` for any.
    source: Option<IpAddr>,
    lookups: Arc<Lookups>,
}

impl Http {
    /// Speaks from `source` and trusts the usual authorities.
    pub(super) fn new(source: Option<IpAddr>, lookups: Arc<Lookups>) -> Result<Self, String> {
        let provider = Arc::new(rustls::crypto::ring::default_provider());
        let roots =
            rustls::RootCertStore::from_iter(webpki_roots::TLS_SERVER_ROOTS.iter().cloned());
        let tls = rustls::ClientConfig::builder_with_provider(provider)
            .with_safe_default_protocol_versions()
            .map_err(|error| error.to_string())?
            .with_root_certificates(roots)
            .with_no_client_auth();
        Ok(Self {
            tls,
            source,
            lookups,
        })
    }

    /// Asks a tracker. Peers that it may not name are left out.
    pub(super) async fn ask(
        &self,
        tracker: &str,
        request: &AnnounceRequest,
        reach: Reach,
    ) -> Result<AnnounceReply, AnnounceError> {
        let url = announce_url(tracker, request).map_err(|error| unreachable(&error))?;
        let answer = timeout(TIMEOUT, self.follow(&url, reach)).await;
        answer.unwrap_or_else(|_| Err(unreachable(&"no answer in time")))
    }

    /// Goes from one redirect to the next, each held against what the one before may lead to.
    async fn follow(&self, first: &str, mut reach: Reach) -> Result<AnnounceReply, AnnounceError> {
        let mut url = Url::parse(first).map_err(|error| unreachable(&error))?;
        for _ in 0..=REDIRECTS_MAX {
            let addrs = self.reached(&url, reach).await?;
            let client = self.client(&url, &addrs)?;
            let response = client.get(url.clone()).send().await;
            let response = response.map_err(|error| failed(&error))?;
            let tracker = response.remote_addr().or(addrs.first().copied());
            reach = tracker.map_or(reach, |addr| reach.behind(addr));
            match redirect(&response) {
                Some(next) => url = url.join(&next).map_err(|error| unreachable(&error))?,
                None => {
                    let mut reply = read(response).await?;
                    reply.peers.retain(|peer| reach.peer(*peer).is_ok());
                    return Ok(reply);
                }
            }
        }
        Err(unreachable(&format!("more than {REDIRECTS_MAX} redirects")))
    }

    /// The addresses of a URL's host that may be reached: at least one.
    async fn reached(&self, url: &Url, reach: Reach) -> Result<Vec<SocketAddr>, AnnounceError> {
        let is_http = matches!(url.scheme(), "http" | "https");
        let host = url.host_str().filter(|_| is_http);
        let (Some(host), Some(port)) = (host, url.port_or_known_default()) else {
            return Err(unreachable(&"redirected to no HTTP tracker"));
        };
        let literal = host.trim_start_matches('[').trim_end_matches(']');
        let addrs = match literal.parse() {
            Ok(ip) => vec![SocketAddr::new(ip, port)],
            Err(_) => {
                let found = self.lookups.find(host, port).await;
                found.map_err(|error| unreachable(&error))?
            }
        };
        let mut refused = unreachable(&"host has no address");
        let mut reached = Vec::new();
        for addr in addrs {
            match reach.tracker(addr, Some(url.path())) {
                Ok(()) => reached.push(addr),
                Err(error) => refused = error.into(),
            }
        }
        match reached.is_empty() {
            true => Err(refused),
            false => Ok(reached),
        }
    }

    /// A client for one hop: it knows no other address of this host, and no proxy.
    fn client(&self, url: &Url, addrs: &[SocketAddr]) -> Result<reqwest::Client, AnnounceError> {
        let client = reqwest::Client::builder()
            .tls_backend_preconfigured(self.tls.clone())
            .user_agent(concat!("Seedbank/", env!("CARGO_PKG_VERSION")))
            .connect_timeout(CONNECT_TIMEOUT)
            .redirect(reqwest::redirect::Policy::none())
            .no_proxy()
            .local_address(self.source)
            .resolve_to_addrs(url.host_str().unwrap_or_default(), addrs)
            .build();
        client.map_err(|error| failed(&error))
    }
}

/// Where a response leads to instead.
fn redirect(response: &Response) -> Option<String> {
    let location = response.headers().get(header::LOCATION)?;
    let location = location.to_str().ok()?;
    let leads = response.status().is_redirection();
    leads.then(|| location.to_owned())
}

async fn read(mut response: Response) -> Result<AnnounceReply, AnnounceError> {
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
