//! Announces over UDP (BEP 15); the exchange itself is the engine's.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};

use seedbank_engine::discovery::tracker::udp::{
    Family, RETRIES_DEFAULT, Step, UdpAnnounce, UdpParameters,
};
use seedbank_engine::discovery::tracker::url::UdpTarget;
use seedbank_engine::discovery::tracker::{AnnounceError, AnnounceReply, AnnounceRequest};
use tokio::net::UdpSocket;
use tokio::time::timeout_at;

use super::unreachable;
use crate::host::clock::Clock;

/// Longest datagram that is read; a reply of 200 peers is a quarter of it.
const DATAGRAM_LEN_MAX: usize = 16 * 1024;

/// Asks a tracker.
pub(super) async fn ask(
    target: &UdpTarget,
    request: AnnounceRequest,
    source: Option<IpAddr>,
    clock: Clock,
) -> Result<AnnounceReply, AnnounceError> {
    let failed = |error: std::io::Error| unreachable(&error);
    let addresses = tokio::net::lookup_host((target.host.as_str(), target.port)).await;
    let remote = choose(addresses.map_err(failed)?, source);
    let remote = remote.ok_or_else(|| unreachable(&"no address of a usable family"))?;
    let (family, any): (_, IpAddr) = match remote {
        SocketAddr::V4(_) => (Family::V4, Ipv4Addr::UNSPECIFIED.into()),
        SocketAddr::V6(_) => (Family::V6, Ipv6Addr::UNSPECIFIED.into()),
    };
    let local = SocketAddr::new(source.unwrap_or(any), 0);
    let socket = UdpSocket::bind(local).await.map_err(failed)?;
    // From here the kernel drops what others send.
    socket.connect(remote).await.map_err(failed)?;

    let ids = crate::host::keys::random_bytes::<8>().map_err(failed)?;
    let [connect, announce] = *ids.as_chunks::<4>().0 else {
        unreachable!("eight bytes are two chunks of four");
    };
    let mut exchange = UdpAnnounce::new(UdpParameters {
        request,
        path: &target.path,
        family,
        transaction_ids: [connect, announce].map(u32::from_le_bytes),
        retries: RETRIES_DEFAULT,
        connection: None,
    });
    let mut datagram = vec![0; DATAGRAM_LEN_MAX];
    loop {
        match exchange.poll(clock.now()) {
            Step::Send(bytes) => {
                // A port that is closed answers the next time we send; the exchange repeats.
                let _ = socket.send(&bytes).await;
            }
            Step::Wait(until) => {
                let received = timeout_at(clock.at(until), socket.recv(&mut datagram)).await;
                let Ok(Ok(len)) = received else { continue };
                if let Some(result) = exchange.handle(&datagram[..len], clock.now()) {
                    return result;
                }
            }
            Step::Failed(error) => return Err(error),
        }
    }
}

/// The first address of a family that we can speak from.
fn choose(
    addresses: impl Iterator<Item = SocketAddr>,
    source: Option<IpAddr>,
) -> Option<SocketAddr> {
    let mut addresses = addresses;
    addresses.find(|addr| source.is_none_or(|source| source.is_ipv4() == addr.is_ipv4()))
}
