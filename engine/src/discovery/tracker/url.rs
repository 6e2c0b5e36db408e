//! Which tracker URLs can be asked, and the parts of one that a driver needs.

/// Where a tracker is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum TrackerUrl {
    /// `http` or `https`: the whole URL, without a fragment.
    Http(String),
    /// `udp` (BEP 15).
    Udp(UdpTarget),
}

/// A UDP tracker.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct UdpTarget {
    /// A name or a literal address, an IPv6 one without its brackets.
    pub host: String,
    /// Its port.
    pub port: u16,
    /// Path and query, for BEP 41; may be empty.
    pub path: String,
}

/// Why a tracker cannot be asked.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum UrlError {
    /// Neither `http`, `https` nor `udp`.
    #[error("tracker URL is neither http, https nor udp")]
    Scheme,
    /// No host.
    #[error("tracker URL has no host")]
    Host,
    /// No port, or none that a datagram can go to.
    #[error("tracker URL has no usable port")]
    Port,
    /// A space, a control character or something beyond ASCII: not a URL (RFC 3986).
    #[error("tracker URL has a character that must be escaped")]
    Character,
}

impl TrackerUrl {
    /// Reads a URL.
    pub fn parse(url: &str) -> Result<Self, UrlError> {
        if !url.bytes().all(|byte| byte.is_ascii_graphic()) {
            return Err(UrlError::Character);
        }
        let url = url.split('#').next().unwrap_or_default();
        let (scheme, rest) = url.split_once("://").ok_or(UrlError::Scheme)?;
        let split = rest.find(['/', '?']).unwrap_or(rest.len());
        let (authority, path) = rest.split_at(split);
        let authority = authority
            .rsplit_once('@')
            .map_or(authority, |(_, host)| host);
        match scheme.to_ascii_lowercase().as_str() {
            "http" | "https" if authority.is_empty() => Err(UrlError::Host),
            "http" | "https" => Ok(Self::Http(url.to_owned())),
            "udp" => udp(authority, path).map(Self::Udp),
            _ => Err(UrlError::Scheme),
        }
    }
}

fn udp(authority: &str, path: &str) -> Result<UdpTarget, UrlError> {
    let (host, port) = match authority.strip_prefix('[') {
        Some(literal) => literal.split_once("]:").ok_or(UrlError::Port)?,
        None => authority.rsplit_once(':').ok_or(UrlError::Port)?,
    };
    if host.is_empty() {
        return Err(UrlError::Host);
    }
    let port = port.parse().ok().filter(|port| *port != 0);
    Ok(UdpTarget {
        host: host.to_owned(),
        port: port.ok_or(UrlError::Port)?,
        path: path.to_owned(),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn target(url: &str) -> (String, u16, String) {
        match TrackerUrl::parse(url) {
            Ok(TrackerUrl::Udp(udp)) => (udp.host, udp.port, udp.path),
            other => panic!("{other:?}"),
        }
    }

    #[test]
    fn a_udp_url_is_taken_apart() {
        let expect = |host: &str, port, path: &str| (host.to_owned(), port, path.to_owned());
        assert_eq!(target("udp://a.b:80"), expect("a.b", 80, ""));
        assert_eq!(
            target("UDP://a:1/announce?k=v#x"),
            expect("a", 1, "/announce?k=v")
        );
        assert_eq!(target("udp://u:p@[::1]:6969?k"), expect("::1", 6969, "?k"));
    }

    #[test]
    fn what_cannot_be_asked_is_refused() {
        for (url, error) in [
            ("", UrlError::Scheme),
            ("wss://a", UrlError::Scheme),
            ("http:a", UrlError::Scheme),
            ("http://", UrlError::Host),
            ("https:///x", UrlError::Host),
            ("udp://a", UrlError::Port),
            ("udp://a:0", UrlError::Port),
            ("udp://a:65536", UrlError::Port),
            ("udp://[::1]", UrlError::Port),
            ("udp://:80", UrlError::Host),
            ("http://a b", UrlError::Character),
            ("http://a\r\nHost: b", UrlError::Character),
            ("http://é", UrlError::Character),
        ] {
            assert_eq!(TrackerUrl::parse(url), Err(error), "{url}");
        }
        let http = TrackerUrl::parse("HTTP://a/x?y#z");
        assert_eq!(http, Ok(TrackerUrl::Http("HTTP://a/x?y".to_owned())));
    }
}
