//! A web server that gives one .torrent file, and several things that are none.

use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::{TcpListener, TcpStream};

/// What the good path gives.
pub(crate) const TORRENT: &[u8] = b"d4:infode";

/// A server on loopback.
pub(crate) struct Web {
    url: String,
}

impl Web {
    pub(crate) async fn start() -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let url = format!("http://{}", listener.local_addr().unwrap());
        tokio::spawn(async move {
            while let Ok((stream, _)) = listener.accept().await {
                tokio::spawn(serve(stream));
            }
        });
        Self { url }
    }

    pub(crate) fn url(&self) -> &str {
        &self.url
    }
}

/// Answers one request and closes.
async fn serve(mut stream: TcpStream) {
    let mut request = vec![0; 4_096];
    let len = stream.read(&mut request).await.unwrap();
    let request = String::from_utf8_lossy(&request[..len]).into_owned();
    let path = request.split([' ', '?']).nth(1).unwrap_or_default();
    let redirect = |to: &str| format!("HTTP/1.1 302 Found\r\nlocation: {to}\r\n\r\n").into_bytes();
    let ok = |body: &[u8]| [b"HTTP/1.1 200 OK\r\n\r\n", body].concat();
    let answer = match path {
        "/good" => ok(TORRENT),
        "/moved" => redirect("/good"),
        "/round" => redirect("/round"),
        "/ftp" => redirect("ftp://127.0.0.1/good"),
        "/page" => ok(b"<html>log in</html>"),
        "/endless" => ok(&vec![b'd'; 12 << 20]),
        _ => b"HTTP/1.1 404 Not Found\r\ncontent-length: 0\r\n\r\n".to_vec(),
    };
    // Whoever asked may have had enough.
    let _ = stream.write_all(&answer).await;
}
