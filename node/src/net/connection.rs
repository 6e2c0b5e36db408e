//! One task per connection: it owns a stream of bytes, whatever carries them, parses what comes,
//! and writes what the session queued, in batches. Payload goes between socket and lease or storage
//! here and nowhere else.

mod reader;
mod stream;
mod writer;

use std::sync::Arc;
use std::time::Duration;

use seedbank_engine::interface::input::{FailureReason, Input};
use tokio::sync::OwnedSemaphorePermit;
use tokio::time::{sleep, timeout};

use crate::disk::plane::DataPlane;
use crate::inbox::ToSession;
use crate::link::PeerLink;
use crate::net::connection::reader::StreamReader;
use crate::net::connection::stream::PeerStream;
use crate::net::connection::writer::StreamWriter;

/// Time for the peer's 68 bytes.
const HANDSHAKE_TIMEOUT: Duration = Duration::from_secs(10);
/// A peer silent for longer is gone; clients send something every two minutes (BEP 3).
const SILENCE_MAX: Duration = Duration::from_secs(180);
/// Time for what is queued to leave once the session has closed a connection.
const FLUSH_TIMEOUT: Duration = Duration::from_secs(5);
/// Time for the peer to read what was flushed and close its side, so that no reset destroys it.
const LINGER: Duration = Duration::from_secs(1);
/// How long a buffer that is not used is kept.
const IDLE: Duration = Duration::from_secs(2);

/// Tells the session of a connection; `first` says how it came about (`Accepted` or `Dialled`).
/// False once the session has ended.
pub(crate) async fn begin(
    plane: &DataPlane,
    link: &Arc<PeerLink>,
    stream: &impl PeerStream,
    first: Input,
) -> bool {
    match stream.probe() {
        Ok(probe) => link.set_probe(Some(probe)),
        Err(error) => tracing::debug!(%error, "a connection that cannot be measured"),
    }
    let connected = ToSession::Connected {
        link: Arc::clone(link),
        input: first,
    };
    plane.inbox.send(connected).await
}

/// Serves one connection, which the session knows of, to its end.
///
/// `pending` is held until the peer's handshake is here. The last thing the session hears of the
/// connection is `Closed`.
pub(crate) async fn run(
    plane: Arc<DataPlane>,
    link: Arc<PeerLink>,
    stream: impl PeerStream,
    pending: Option<OwnedSemaphorePermit>,
) {
    let failure = match stream.into_halves() {
        Ok((read_half, write_half)) => {
            // Here once, and not in each future once more: they are what a silent peer costs.
            let mut reader = StreamReader::new(Arc::clone(&plane), Arc::clone(&link), read_half);
            let mut writer = StreamWriter::new(Arc::clone(&plane), Arc::clone(&link), write_half);
            let ends = tokio::join!(reader.run(pending), writer.run(), deadline(&link));
            ends.0
        }
        Err(error) => {
            link.end(error.to_string());
            Some(FailureReason::Local)
        }
    };
    link.set_probe(None);
    let closed = Input::Closed {
        peer: link.index(),
        reason: link.ended().await,
        failure,
    };
    plane.inbox.input(closed).await;
}

/// Ends a connection that the session closed and whose peer does not take the rest.
async fn deadline(link: &PeerLink) {
    link.closing().await;
    let flushed = Box::pin(timeout(FLUSH_TIMEOUT, link.ended()));
    if flushed.await.is_err() {
        link.end("did not read the rest in time".to_owned());
    }
}

/// Waits a while for the peer to close its side too.
async fn linger(link: &PeerLink) {
    tokio::select! {
        _ = link.ended() => {}
        () = sleep(LINGER) => link.end("closed".to_owned()),
    }
}

#[cfg(test)]
mod tests;
