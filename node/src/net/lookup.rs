//! Names of hosts: many at once, and none for long, so that a dead name server holds up nobody
//! whose name is known to another.

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use seedbank_engine::discovery::ResolveError;
use tokio::sync::Semaphore;
use tokio::time::timeout;

/// Most hosts looked up at once; the rest wait.
const LOOKUPS_MAX: usize = 256;
/// Time for one host.
const LOOKUP_TIMEOUT: Duration = Duration::from_secs(10);

/// Lookups of one node.
#[derive(Debug)]
pub(crate) struct Lookups {
    running: Semaphore,
}

impl Lookups {
    pub(crate) fn new() -> Arc<Self> {
        Arc::new(Self {
            running: Semaphore::new(LOOKUPS_MAX),
        })
    }

    /// The addresses of a host, with this port.
    pub(crate) async fn find(
        &self,
        host: &str,
        port: u16,
    ) -> Result<Vec<SocketAddr>, ResolveError> {
        let _running = self.running.acquire().await;
        match timeout(LOOKUP_TIMEOUT, tokio::net::lookup_host((host, port))).await {
            Ok(Ok(addrs)) => Ok(addrs.collect()),
            Ok(Err(error)) => Err(ResolveError(error.to_string())),
            Err(_) => {
                let secs = LOOKUP_TIMEOUT.as_secs();
                Err(ResolveError(format!("{host:?} is not found in {secs} s")))
            }
        }
    }
}
