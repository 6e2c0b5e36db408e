//! A node's way to a settlement node somewhere else, over gRPC.
//!
//! Every question is answered in bounded time, if need be with `Unreachable`; the session repeats
//! it, so nothing is retried here but the connection. Whoever carries an answer can keep it and
//! nothing else: it is handed on sealed, and the lines of a watch are believed by their seals.

use std::fmt;
use std::sync::Arc;
use std::sync::atomic::{AtomicI64, Ordering};
use std::time::Duration;

use seedbank_engine::credit::settlement::Unreachable;
use seedbank_ledger::refusal::Refusal;
use seedbank_ledger::settlement::codec::{ANSWER_LEN_MAX, AnswerBody, SettlementRequest};
use seedbank_ledger::settlement::envelope::{Envelope, EnvelopeError};
use seedbank_ledger::signed::Body as _;
use seedbank_ledger::signed::read::{ReadKind, ReadRequest};
use seedbank_ledger::{Identity, NetworkId, NodeId, Sequence, Signature, UnixTime};
use seedbank_proto::settlement_v1::settlement_service_client::SettlementServiceClient;
use seedbank_proto::settlement_v1::{AskRequest, WatchRequest};
use tonic::Status;
use tonic::transport::{Certificate, Channel, ClientTlsConfig, Endpoint};

use crate::host::clock::unix_now;
use crate::host::keys;
use crate::settlement::{BoxFuture, Reply, Settlement};

/// Longest wait for a connection.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(5);
/// Longest wait for an answer.
const ANSWER_TIMEOUT: Duration = Duration::from_secs(15);
/// Longest silence of somebody who tells of new lines: two heartbeats and a half.
const SILENCE_MAX: Duration = Duration::from_secs(75);
/// Between two signs of life on an idle connection.
const KEEPALIVE: Duration = Duration::from_secs(20);
/// How long the question for new lines is good, in seconds of settlement time.
const WATCH_VALID_SECS: u64 = 300;
/// A seal that verifies for no key, question or answer.
const NO_SEAL: [u8; 64] = [0xff; 64];
/// What a message adds to an answer's bytes, at most.
const FRAME_LEN_MAX: usize = 1 << 10;

/// Why an address of a settlement node cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum RemoteError {
    /// It is no URL of the kind we speak.
    #[error("settlement {0:?} is not of the form https://HOST:PORT or http://HOST:PORT")]
    BadUri(String),
    /// The certificates that it may be known by are none.
    #[error("settlement {uri:?}: {source}")]
    Tls {
        /// Of which address.
        uri: String,
        /// What is wrong.
        source: tonic::transport::Error,
    },
}

/// A member of a network: who asks, and whose seal it believes.
#[derive(Clone, Debug)]
pub struct AccountKeys {
    /// The account's key.
    pub identity: Arc<Identity>,
    /// Its network.
    pub network_id: NetworkId,
    /// The key that seals that network's answers.
    pub settlement: NodeId,
}

/// A settlement node somewhere else. Connects when it is first asked, and again after failures.
#[derive(Clone)]
pub struct Remote {
    uri: String,
    channel: Channel,
    member: AccountKeys,
    /// Settlement time minus ours, in seconds, as far as a refusal told.
    clock_ahead: Arc<AtomicI64>,
}

/// Why there is no answer.
#[derive(Debug, thiserror::Error)]
enum AskError {
    #[error("{}", .0.message())]
    Call(Box<Status>),
    #[error("its answer is {0}")]
    Envelope(#[from] EnvelopeError),
    #[error("it refuses: {0:?}")]
    Refused(Refusal),
    #[error("its answer is to another question")]
    OtherQuestion,
    #[error("no answer within {} s", ANSWER_TIMEOUT.as_secs())]
    TimedOut,
    #[error("it ended the stream without an answer")]
    Ended,
    #[error("it said nothing for {} s", SILENCE_MAX.as_secs())]
    Silent,
    #[error("no random numbers: {0}")]
    Random(std::io::Error),
}

impl Remote {
    /// The settlement node at `uri` (`https://HOST:PORT`, or without a tunnel `http://HOST:PORT`),
    /// asked on behalf of `member`. With `https`, it is known by the certificates in `ca` (PEM),
    /// or if there are none by the public ones. Does not connect yet; needs a tokio runtime.
    pub fn new(uri: &str, ca: Option<&[u8]>, member: AccountKeys) -> Result<Self, RemoteError> {
        let bad = || RemoteError::BadUri(uri.to_owned());
        let is_tls = uri.starts_with("https://");
        if !is_tls && !uri.starts_with("http://") {
            return Err(bad());
        }
        let mut endpoint = Endpoint::from_shared(uri.to_owned()).map_err(|_| bad())?;
        if is_tls {
            let tls = ClientTlsConfig::new();
            let tls = match ca {
                Some(pem) => tls.ca_certificate(Certificate::from_pem(pem)),
                None => tls.with_webpki_roots(),
            };
            let failed = |source| RemoteError::Tls {
                uri: uri.to_owned(),
                source,
            };
            endpoint = endpoint.tls_config(tls).map_err(failed)?;
        }
        let channel = endpoint
            .connect_timeout(CONNECT_TIMEOUT)
            .tcp_nodelay(true)
            .http2_keep_alive_interval(KEEPALIVE)
            .connect_lazy();
        Ok(Self {
            uri: uri.to_owned(),
            channel,
            member,
            clock_ahead: Arc::default(),
        })
    }

    fn service(&self) -> SettlementServiceClient<Channel> {
        SettlementServiceClient::new(self.channel.clone())
            .max_decoding_message_size(ANSWER_LEN_MAX + FRAME_LEN_MAX)
    }

    async fn answer(&self, request: &SettlementRequest) -> Result<Envelope, AskError> {
        let request = AskRequest {
            request: request.to_bytes(),
        };
        let answer = self.service().ask(request).await?.into_inner();
        Ok(envelope(answer.answer, &answer.signature))
    }

    async fn watch(&self, after: Option<Sequence>) -> Result<Sequence, AskError> {
        let read = ReadRequest {
            network_id: self.member.network_id,
            account: self.member.identity.id(),
            kind: ReadKind::Watch { after },
            random: keys::random_bytes().map_err(AskError::Random)?,
            valid_until: self.settlement_time().plus_secs(WATCH_VALID_SECS),
        };
        let question = SettlementRequest::Read(read.sign(&self.member.identity));
        let request = WatchRequest {
            request: question.to_bytes(),
        };
        let hash = question.hash();
        let opened = tokio::time::timeout(ANSWER_TIMEOUT, async {
            self.service().watch(request).await
        });
        let opened = opened.await.map_err(|_| AskError::TimedOut)?;
        let mut stream = opened?.into_inner();
        for index in 0.. {
            let next = tokio::time::timeout(SILENCE_MAX, stream.message()).await;
            let message = next.map_err(|_| AskError::Silent)??;
            let message = message.ok_or(AskError::Ended)?;
            let envelope = envelope(message.answer, &message.signature);
            let AccountKeys {
                identity,
                network_id,
                settlement,
            } = &self.member;
            let answer = envelope.open(identity.scheme(), *network_id, settlement, hash, index)?;
            match answer.body {
                AnswerBody::Statement(statement) => {
                    if let Some(line) = statement.newest() {
                        return Ok(line);
                    }
                }
                AnswerBody::Refused(refusal) => {
                    self.note_time(answer.time);
                    return Err(AskError::Refused(refusal));
                }
                AnswerBody::Operation(_) | AnswerBody::Account(_) | AnswerBody::Lock(_) => {
                    return Err(AskError::OtherQuestion);
                }
            }
        }
        Err(AskError::Ended)
    }

    /// Settlement time as far as known: the question for lines is good for minutes, no more.
    fn settlement_time(&self) -> UnixTime {
        let ahead = self.clock_ahead.load(Ordering::Relaxed);
        let now = unix_now().as_secs();
        UnixTime::from_secs(now.saturating_add_signed(ahead))
    }

    fn note_time(&self, settlement: UnixTime) {
        let [theirs, ours] = [settlement, unix_now()].map(|time| time.as_secs());
        let ahead = i128::from(theirs) - i128::from(ours);
        let ahead = i64::try_from(ahead).unwrap_or_default();
        self.clock_ahead.store(ahead, Ordering::Relaxed);
    }
}

/// What came, for whoever asked to open: a seal that is cut fits nothing, and is told as any other
/// that does not fit.
fn envelope(answer: Vec<u8>, signature: &[u8]) -> Envelope {
    let signature = <[u8; 64]>::try_from(signature).unwrap_or(NO_SEAL);
    Envelope {
        answer,
        signature: Signature::from_bytes(signature),
    }
}

impl Settlement for Remote {
    fn ask(&self, request: SettlementRequest) -> BoxFuture<'_, Reply> {
        Box::pin(async move {
            let answer = tokio::time::timeout(ANSWER_TIMEOUT, self.answer(&request)).await;
            let answer = answer.unwrap_or(Err(AskError::TimedOut));
            answer.map_err(|error| Unreachable(format!("{}: {error}", self.uri)))
        })
    }

    fn next_line(&self, after: Option<Sequence>) -> BoxFuture<'_, Option<Sequence>> {
        Box::pin(async move {
            let mut line = self.watch(after).await;
            if let Err(AskError::Refused(Refusal::Expired)) = line {
                // It has told its time.
                line = self.watch(after).await;
            }
            let why = |error| tracing::debug!(uri = self.uri, %error, "settlement: watch");
            line.map_err(why).ok()
        })
    }
}

impl fmt::Debug for Remote {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Remote({})", self.uri)
    }
}

impl From<Status> for AskError {
    fn from(status: Status) -> Self {
        Self::Call(Box::new(status))
    }
}

#[cfg(test)]
mod tests {
    use seedbank_ledger::settlement::codec::SettlementAnswer;
    use seedbank_ledger::settlement::envelope::Sealer;
    use seedbank_ledger::signed::answer::RequestHash;

    use super::*;

    /// It counted as no answer at all, which is told to nobody.
    #[test]
    fn a_seal_that_is_cut_is_handed_on_and_fits_nothing() {
        let key = Arc::new(Identity::from_secret([7; 32]));
        let network_id = NetworkId::from_bytes([1; 32]);
        let hash = RequestHash::of(b"asked");
        let answer = SettlementAnswer::refused(UnixTime::from_secs(1), Refusal::Expired);
        let sealed = Sealer::new(Arc::clone(&key), network_id).seal(hash, 0, &answer);
        let mut seal = sealed.signature.as_bytes().to_vec();
        seal.push(0);
        for len in 0..=seal.len() {
            let came = envelope(sealed.answer.clone(), &seal[..len]);
            let opened = came.open(key.scheme(), network_id, &key.id(), hash, 0);
            assert_eq!(opened.is_ok(), len == 64, "{len} bytes");
        }
    }
}
