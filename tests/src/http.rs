//! As much HTTP as a test needs: one request, one answer, the connection closed behind it.

use std::collections::BTreeMap;
use std::io::{BufRead, BufReader, Read, Write};
use std::net::{SocketAddrV4, TcpStream};
use std::time::Duration;

use anyhow::{Context, Result, bail};

/// No answer of a client under test takes longer, however busy the machine.
const ANSWER_MAX: Duration = Duration::from_secs(30);

/// Of one answer; a list of a torrent's peers is a few KiB.
const BODY_BYTES_MAX: u64 = 16 << 20;

/// An answer with its status line taken apart; header names are in lower case.
#[derive(Debug)]
pub struct Answer {
    pub status: u16,
    pub headers: BTreeMap<String, String>,
    pub body: Vec<u8>,
}

/// Posts `body` to `http://addr/path`.
///
/// # Errors
/// When nobody listens, or what answers is not HTTP. A status other than 200 is an answer.
pub fn post(
    addr: SocketAddrV4,
    path: &str,
    headers: &[(&str, &str)],
    body: &[u8],
) -> Result<Answer> {
    let mut stream = TcpStream::connect_timeout(&addr.into(), ANSWER_MAX)?;
    stream.set_read_timeout(Some(ANSWER_MAX))?;
    let mut head = format!(
        "POST {path} HTTP/1.1\r\nHost: {addr}\r\nConnection: close\r\nContent-Length: {}\r\n",
        body.len()
    );
    for (name, value) in headers {
        head.push_str(&format!("{name}: {value}\r\n"));
    }
    head.push_str("\r\n");
    stream.write_all(head.as_bytes())?;
    stream.write_all(body)?;
    read(&mut BufReader::new(stream))
}

fn read(reader: &mut impl BufRead) -> Result<Answer> {
    let mut line = String::new();
    reader.read_line(&mut line)?;
    let status = line
        .split_whitespace()
        .nth(1)
        .context("an answer without a status line")?;
    let status = status
        .parse()
        .with_context(|| format!("the status line {line:?}"))?;
    let headers = read_headers(reader)?;
    let mut body = Vec::new();
    match headers.get("content-length") {
        Some(len) => {
            let len: u64 = len.parse()?;
            if len > BODY_BYTES_MAX {
                bail!("an answer of {len} bytes, over {BODY_BYTES_MAX}");
            }
            reader.take(len).read_to_end(&mut body)?;
        }
        None => {
            reader.take(BODY_BYTES_MAX).read_to_end(&mut body)?;
        }
    }
    Ok(Answer {
        status,
        headers,
        body,
    })
}

/// Reads header lines up to the empty one.
pub(crate) fn read_headers(reader: &mut impl BufRead) -> Result<BTreeMap<String, String>> {
    let mut headers = BTreeMap::new();
    loop {
        let mut line = String::new();
        reader.read_line(&mut line)?;
        let Some((name, value)) = line.split_once(':') else {
            return Ok(headers);
        };
        headers.insert(name.trim().to_ascii_lowercase(), value.trim().to_owned());
    }
}
