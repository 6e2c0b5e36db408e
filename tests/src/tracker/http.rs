//! The HTTP tracker: BEP 3, compact answers as in BEP 23.

use std::collections::BTreeMap;
use std::io::{BufRead, BufReader, Write};
use std::net::{IpAddr, Ipv4Addr, SocketAddr, SocketAddrV4, TcpListener, TcpStream};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};
use std::thread::{self, JoinHandle};
use std::time::Duration;

use anyhow::{Context, Result, bail};

use super::{Announce, Event, INTERVAL_SECS, Peers, Registry, lock};
use crate::bencode::Value;
use crate::http::read_headers;

/// A client that connects says what it wants within this time.
const REQUEST_MAX: Duration = Duration::from_secs(10);

#[derive(Debug)]
pub(super) struct Server {
    addr: SocketAddrV4,
    stopping: Arc<AtomicBool>,
    thread: Option<JoinHandle<()>>,
}

impl Server {
    pub(super) fn start(ip: Ipv4Addr, registry: &Arc<Mutex<Registry>>) -> Result<Self> {
        let listener = TcpListener::bind((ip, 0))?;
        let addr = SocketAddrV4::new(ip, listener.local_addr()?.port());
        let stopping = Arc::new(AtomicBool::new(false));
        let thread = thread::spawn({
            let (registry, stopping) = (Arc::clone(registry), Arc::clone(&stopping));
            move || serve(&listener, &registry, &stopping)
        });
        Ok(Self {
            addr,
            stopping,
            thread: Some(thread),
        })
    }

    pub(super) fn addr(&self) -> SocketAddrV4 {
        self.addr
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        self.stopping.store(true, Ordering::SeqCst);
        // Wakes the thread from its accept; if nobody listens any more, it has gone already.
        let _ = TcpStream::connect(self.addr);
        if let Some(thread) = self.thread.take() {
            let _ = thread.join();
        }
    }
}

fn serve(listener: &TcpListener, registry: &Arc<Mutex<Registry>>, stopping: &AtomicBool) {
    for stream in listener.incoming() {
        if stopping.load(Ordering::SeqCst) {
            return;
        }
        let Ok(stream) = stream else { continue };
        let registry = Arc::clone(registry);
        // A thread each: a client that connects and says nothing keeps nobody waiting.
        thread::spawn(move || answer(stream, &registry));
    }
}

/// A client that hangs up in the middle hears nothing; the test notices by what is missing.
fn answer(mut stream: TcpStream, registry: &Mutex<Registry>) {
    let body = match request(&stream) {
        Ok((announce, compact)) => respond(registry, announce, compact),
        Err(error) => Value::dict([("failure reason", Value::from(error.to_string().as_str()))]),
    };
    let body = body.encode();
    let head = format!(
        "HTTP/1.0 200 OK\r\nContent-Type: text/plain\r\nContent-Length: {}\r\n\r\n",
        body.len()
    );
    let _ = stream
        .write_all(head.as_bytes())
        .and_then(|()| stream.write_all(&body));
}

fn respond(registry: &Mutex<Registry>, announce: Announce, compact: bool) -> Value {
    let mut registry = lock(registry);
    let peers = registry.announce(announce);
    if let Some(reason) = &registry.failure {
        return Value::dict([("failure reason", Value::from(reason.as_str()))]);
    }
    let peers = if compact && registry.peers == Peers::Compact {
        Value::from(peers.iter().flat_map(compact_peer).collect::<Vec<u8>>())
    } else {
        Value::List(peers.iter().map(dictionary).collect())
    };
    Value::dict([
        ("interval", Value::Int(INTERVAL_SECS.into())),
        ("peers", peers),
    ])
}

/// Six bytes: address and port, in network order (BEP 23).
pub(super) fn compact_peer(peer: &SocketAddrV4) -> Vec<u8> {
    [&peer.ip().octets()[..], &peer.port().to_be_bytes()[..]].concat()
}

fn dictionary(peer: &SocketAddrV4) -> Value {
    Value::dict([
        ("ip", Value::from(peer.ip().to_string().as_str())),
        ("peer id", Value::from("-XX0000-000000000000")),
        ("port", Value::from(u64::from(peer.port()))),
    ])
}

/// Reads one request; the flag is whether compact peers are welcome.
fn request(stream: &TcpStream) -> Result<(Announce, bool)> {
    stream.set_read_timeout(Some(REQUEST_MAX))?;
    let SocketAddr::V4(remote) = stream.peer_addr()? else {
        bail!("not an IPv4 client")
    };
    let mut reader = BufReader::new(stream);
    let mut line = String::new();
    reader.read_line(&mut line)?;
    read_headers(&mut reader)?;
    let target = line.split_whitespace().nth(1).context("no request line")?;
    let query = target
        .strip_prefix("/announce?")
        .context("not an announce")?;
    let query: BTreeMap<&str, Vec<u8>> = query
        .split('&')
        .filter_map(|pair| pair.split_once('='))
        .map(|(key, value)| (key, unescape(value)))
        .collect();
    let bytes = |key: &str| query.get(key).with_context(|| format!("no {key}"));
    let text = |key: &str| anyhow::Ok(String::from_utf8_lossy(bytes(key)?).into_owned());
    let ip = match remote.ip() {
        ip if ip.is_unspecified() => bail!("no client has the address {}", IpAddr::V4(*ip)),
        ip => *ip,
    };
    let announce = Announce {
        info_hash: bytes("info_hash")?
            .as_slice()
            .try_into()
            .context("info_hash of 20 bytes")?,
        from: SocketAddrV4::new(ip, text("port")?.parse()?),
        event: match text("event").unwrap_or_default().as_str() {
            "started" => Event::Started,
            "completed" => Event::Completed,
            "stopped" => Event::Stopped,
            _ => Event::Regular,
        },
        uploaded: text("uploaded")?.parse()?,
        downloaded: text("downloaded")?.parse()?,
        left: text("left")?.parse()?,
        udp: false,
    };
    Ok((announce, text("compact").unwrap_or_default() != "0"))
}

/// Undoes percent-encoding; what is not well-formed stays as it is.
fn unescape(text: &str) -> Vec<u8> {
    let mut out = Vec::new();
    let mut rest = text.as_bytes();
    while let Some((first, after)) = rest.split_first() {
        let escaped = (*first == b'%').then(|| after.first_chunk::<2>()).flatten();
        let byte = escaped
            .and_then(|digits| std::str::from_utf8(digits).ok())
            .and_then(|digits| u8::from_str_radix(digits, 16).ok());
        match byte {
            Some(byte) => {
                out.push(byte);
                rest = &after[2..];
            }
            None => {
                out.push(*first);
                rest = after;
            }
        }
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn percent_encoding_is_undone_and_the_rest_left_alone() {
        assert_eq!(unescape("a%20%ffZ%"), b"a \xffZ%");
    }
}
