//! What one address can take of a settlement node, and that it stops whoever is connected.

use std::net::Ipv4Addr;
use std::sync::Arc;
use std::thread::JoinHandle;
use std::time::Duration;

use seedbank_ledger::charts::network::NetworkLedger;
use seedbank_ledger::settlement::codec::SettlementRequest;
use seedbank_ledger::signed::Body as _;
use seedbank_ledger::signed::read::{ReadKind, ReadRequest};
use seedbank_ledger::store::Memory;
use seedbank_ledger::{Genesis, Identity, UnixTime};
use seedbank_proto::Failure;
use seedbank_proto::settlement_v1::settlement_service_client::SettlementServiceClient;
use seedbank_proto::settlement_v1::{WatchRequest, WatchResponse};
use seedbank_proto::v1::ErrorReason;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;
use tokio::task::JoinHandle as TaskHandle;
use tonic::transport::{Channel, Endpoint, Identity as TlsIdentity, ServerTlsConfig};
use tonic::{Status, Streaming};

use super::*;
use crate::rpc::settlement::serve;
use crate::settlement::Keeper;

/// Longest time for anything that a test waits for; it never passes where the test succeeds.
const WAIT_MAX: Duration = Duration::from_secs(30);

struct KeptLedger {
    addr: SocketAddr,
    stop: watch::Sender<bool>,
    served: TaskHandle<Result<(), crate::rpc::ServeError>>,
    thread: JoinHandle<()>,
}

fn genesis() -> Genesis {
    let [own, issuer] = [1, 2].map(|byte| Identity::from_secret([byte; 32]).id());
    let genesis = Genesis::render("testers", own, &[issuer]).unwrap();
    Genesis::parse(&genesis).unwrap()
}

fn keep() -> KeptLedger {
    keep_with(None)
}

fn keep_with(tls: Option<ServerTlsConfig>) -> KeptLedger {
    let own = Identity::from_secret([1; 32]);
    let now = || UnixTime::from_secs(1_000_000);
    let ledger = NetworkLedger::found(Memory::new(), genesis(), own, now()).unwrap();
    let (keeper, thread) = Keeper::start(ledger, None, now).unwrap();
    let door = Door::open("127.0.0.1:0".parse().unwrap()).unwrap();
    let addr = door.addr().unwrap();
    let (stop, stopping) = watch::channel(false);
    let served = tokio::spawn(serve(door, keeper, tls, stopping));
    KeptLedger {
        addr,
        stop,
        served,
        thread,
    }
}

async fn client(from: [u8; 4], to: SocketAddr) -> SettlementServiceClient<Channel> {
    let endpoint = Endpoint::from_shared(format!("http://{to}")).unwrap();
    let endpoint = endpoint.local_address(Some(Ipv4Addr::from(from).into()));
    SettlementServiceClient::new(endpoint.connect().await.unwrap())
}

async fn watch_one(
    client: &mut SettlementServiceClient<Channel>,
) -> Result<Streaming<WatchResponse>, Status> {
    let own = Identity::from_secret([3; 32]);
    let read = ReadRequest {
        network_id: genesis().network_id(),
        account: own.id(),
        kind: ReadKind::Watch { after: None },
        random: [5; 16],
        valid_until: UnixTime::from_secs(1_000_300),
    };
    let request = SettlementRequest::Read(read.sign(&own)).to_bytes();
    Ok(client.watch(WatchRequest { request }).await?.into_inner())
}

#[tokio::test]
async fn l9_one_address_cannot_take_all_watches() {
    let kept = keep();
    let mut streams = Vec::new();
    let refused = 'all: {
        // Each connection takes as many calls at once as it may.
        for _ in 0..20 {
            let mut client = client([127, 0, 0, 2], kept.addr).await;
            for _ in 0..30 {
                match watch_one(&mut client).await {
                    Ok(stream) => streams.push(stream),
                    Err(status) => break 'all status,
                }
            }
        }
        panic!("{} watches of one address", streams.len());
    };
    let reason = Failure::of(&refused).unwrap().reason;
    assert_eq!(reason, ErrorReason::TooManyWatches);
    assert_eq!(streams.len(), 32);
    let mut other = client([127, 0, 0, 3], kept.addr).await;
    watch_one(&mut other).await.unwrap();
}

/// The keeper's thread ends when nobody can ask it any more: the last to leave are connections.
#[tokio::test]
async fn l9_a_stop_waits_for_no_silent_connection() {
    let kept = keep();
    let mut silent = TcpStream::connect(kept.addr).await.unwrap();
    // What the server says first: it is at this connection.
    silent.read_exact(&mut [0; 9]).await.unwrap();
    let mut begun = TcpStream::connect(kept.addr).await.unwrap();
    begun
        .write_all(b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n")
        .await
        .unwrap();
    begun.read_exact(&mut [0; 9]).await.unwrap();
    let mut client = client([127, 0, 0, 1], kept.addr).await;
    let _open = watch_one(&mut client).await.unwrap();
    kept.stop.send_replace(true);
    let thread = kept.thread;
    let ended = async {
        kept.served.await.unwrap().unwrap();
        tokio::task::spawn_blocking(move || thread.join())
            .await
            .unwrap()
    };
    let ended = tokio::time::timeout(WAIT_MAX, ended).await;
    ended.expect("it stops whoever is connected").unwrap();
    // Closed or reset.
    let _ = silent.read_to_end(&mut Vec::new()).await;
}

/// Where nothing else is said, a connection may have any number of calls open: 20 bytes each to
/// send, and a task and up to 16 KiB of headers each to keep.
#[tokio::test]
async fn l9_one_connection_has_so_many_calls_and_bytes_waiting_and_no_more() {
    let kept = keep();
    let mut stream = TcpStream::connect(kept.addr).await.unwrap();
    let begin = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n\0\0\0\x04\0\0\0\0\0";
    stream.write_all(begin).await.unwrap();
    let mut header = [0; 9];
    stream.read_exact(&mut header).await.unwrap();
    let [_, _, len, kind, ..] = header;
    assert_eq!(kind, 4, "settings come first");
    let mut settings = vec![0; usize::from(len)];
    stream.read_exact(&mut settings).await.unwrap();
    // RFC 9113, section 6.5.2.
    let setting = |which: u16| {
        let mut all = settings.chunks_exact(6);
        all.find_map(|one| {
            let [a, b, value @ ..] = <[u8; 6]>::try_from(one).unwrap();
            (u16::from_be_bytes([a, b]) == which).then(|| u32::from_be_bytes(value))
        })
    };
    let streams = setting(3).expect("the number of streams is bounded");
    assert!((32..=256).contains(&streams), "{streams}");
    let window = setting(4).unwrap_or(65_535);
    assert!(window <= 65_535, "{window}");
    // And the connection's own window, the same at first, is not made wider.
    let mut more = [0; 9];
    stream.read_exact(&mut more).await.unwrap();
    assert_ne!(more[3], 8, "a window was made wider: {more:?}");
}

/// What begins a handshake of TLS: as a client says it.
fn client_hello() -> Vec<u8> {
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let config = rustls::ClientConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .unwrap()
        .with_root_certificates(rustls::RootCertStore::empty())
        .with_no_client_auth();
    let name = "localhost".try_into().unwrap();
    let mut client = rustls::ClientConnection::new(Arc::new(config), name).unwrap();
    let mut hello = Vec::new();
    client.write_tls(&mut hello).unwrap();
    hello
}

/// The door counts bytes of records that it cannot read: a record that never ends counts, and there
/// the handshake stays. Nobody asks such a connection for signs of life.
#[tokio::test]
async fn l9_a_handshake_of_tls_that_never_ends_gives_its_place_back() {
    let certified = rcgen::generate_simple_self_signed(["localhost".to_owned()]).unwrap();
    let tls_key = certified.signing_key.serialize_pem();
    let identity = TlsIdentity::from_pem(certified.cert.pem(), tls_key);
    let kept = keep_with(Some(ServerTlsConfig::new().identity(identity)));
    let mut stream = TcpStream::connect(kept.addr).await.unwrap();
    // Of 4,096 bytes of data 400.
    let begun = [client_hello(), vec![23, 3, 3, 16, 0], vec![7; 400]].concat();
    stream.write_all(&begun).await.unwrap();
    // The server has read it all once it answers.
    stream.read_exact(&mut [0; 5]).await.unwrap();
    // Time jumps from here on to the next timer whenever everybody waits.
    tokio::time::pause();
    let hour = Duration::from_secs(3_600);
    let mut rest = Vec::new();
    let end = tokio::time::timeout(hour, stream.read_to_end(&mut rest));
    assert!(end.await.is_ok(), "it keeps its place for ever");
}
