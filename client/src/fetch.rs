//! Fetches .torrent files from web servers: here and not in the daemon, which would otherwise ask
//! any address for anybody who may call it.

use std::sync::Arc;
use std::time::Duration;

use reqwest::redirect::{Attempt, Policy};
use reqwest::{Client, Url};

use crate::error::ClientError;

/// Most bytes of a .torrent file: what the daemon takes.
pub(crate) const METAINFO_LEN_MAX: usize = 11 << 20;
/// Redirects that are followed.
const REDIRECTS_MAX: usize = 5;

/// Whether a source of a torrent is to be fetched.
pub(crate) fn is_url(source: &str) -> bool {
    let scheme = source.split_once("://").map(|(scheme, _)| scheme);
    scheme.is_some_and(|scheme| {
        scheme.eq_ignore_ascii_case("http") || scheme.eq_ignore_ascii_case("https")
    })
}

/// The .torrent file at an http or https URL.
pub(crate) async fn metainfo(url: &str, timeout: Duration) -> Result<Vec<u8>, ClientError> {
    let failed = |problem: String| ClientError::Fetch {
        url: without_secrets(url),
        problem,
    };
    let client = client(timeout).map_err(failed)?;
    let response = client.get(url).send().await;
    let mut response = response.map_err(|error| failed(problem_of(&error)))?;
    if !response.status().is_success() {
        return Err(failed(format!("the server says {}", response.status())));
    }
    let mut body = Vec::new();
    while let Some(chunk) = response
        .chunk()
        .await
        .map_err(|error| failed(problem_of(&error)))?
    {
        body.extend_from_slice(&chunk);
        if body.len() > METAINFO_LEN_MAX {
            let most = METAINFO_LEN_MAX;
            let problem = format!("it has more than {most} bytes, no .torrent file has");
            return Err(failed(problem));
        }
    }
    // Metainfo is a bencoded dictionary. What else comes is a page that asks to log in.
    if body.first() != Some(&b'd') {
        return Err(failed(
            "what came is no .torrent file, perhaps a page for people".to_owned(),
        ));
    }
    Ok(body)
}

fn client(timeout: Duration) -> Result<Client, String> {
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let roots = rustls::RootCertStore::from_iter(webpki_roots::TLS_SERVER_ROOTS.iter().cloned());
    let tls = rustls::ClientConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .map_err(|error| error.to_string())?
        .with_root_certificates(roots)
        .with_no_client_auth();
    Client::builder()
        .tls_backend_preconfigured(tls)
        .user_agent(concat!("Seedbank/", env!("CARGO_PKG_VERSION")))
        .timeout(timeout)
        // It would tell the next host what the URL holds: a passkey.
        .referer(false)
        .redirect(Policy::custom(redirect))
        .build()
        .map_err(|error| error.to_string())
}

/// Follows a few, to http and https only, and never from the latter to the former.
fn redirect(attempt: Attempt<'_>) -> reqwest::redirect::Action {
    let was_secret = attempt.previous().iter().any(|url| url.scheme() == "https");
    let problem = match attempt.url().scheme() {
        "https" => None,
        "http" if !was_secret => None,
        "http" => Some("the server redirects from https to http"),
        _ => Some("the server redirects to something that is neither http nor https"),
    };
    match problem {
        Some(problem) => attempt.error(problem),
        None if attempt.previous().len() > REDIRECTS_MAX => attempt.error("too many redirects"),
        None => attempt.follow(),
    }
}

/// The innermost cause says most.
fn problem_of(error: &reqwest::Error) -> String {
    if error.is_timeout() {
        return "no answer in time (--timeout)".to_owned();
    }
    let mut cause: &dyn std::error::Error = error;
    while let Some(source) = cause.source() {
        cause = source;
    }
    if std::ptr::addr_eq(cause, error) {
        return "the request failed".to_owned();
    }
    cause.to_string()
}

/// The URL without user, password and query, where passkeys are.
fn without_secrets(url: &str) -> String {
    let Ok(mut url) = Url::parse(url) else {
        return "that URL".to_owned();
    };
    let hidden = url.set_username("").and_then(|()| url.set_password(None));
    url.set_query(None);
    url.set_fragment(None);
    match hidden {
        Ok(()) => url.to_string(),
        Err(()) => "that URL".to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_web_addresses_are_fetched() {
        assert!(is_url("https://example.org/a.torrent"));
        assert!(is_url("HTTP://example.org"));
        assert!(!is_url("ftp://example.org/a.torrent"));
        assert!(!is_url("a.torrent"));
        assert!(!is_url("magnet:?xt=urn:btih:http://"));
    }

    #[test]
    fn messages_hold_no_passkey() {
        assert_eq!(
            without_secrets("https://u:p@example.org/dl/7.torrent?passkey=k#x"),
            "https://example.org/dl/7.torrent"
        );
        assert_eq!(without_secrets("not a url"), "that URL");
    }
}
