//! What one address can take of a settlement node, and that it stops whoever is connected.

use std::net::Ipv4Addr;
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
use tonic::transport::{Channel, Endpoint};
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

async fn keep() -> KeptLedger {
    let own = Identity::from_secret([1; 32]);
    let now = || UnixTime::from_secs(1_000_000);
    let ledger = NetworkLedger::found(Memory::new(), genesis(), own, now()).unwrap();
    let (keeper, thread) = Keeper::start(ledger, None, now).unwrap();
    let door = Door::open("127.0.0.1:0".parse().unwrap()).await.unwrap();
    let addr = door.addr().unwrap();
    let (stop, stopping) = watch::channel(false);
    let served = tokio::spawn(serve(door, keeper, None, stopping));
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
    let kept = keep().await;
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
    let kept = keep().await;
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
