//! The settlement room: a network's shared ledger, kept here or asked for elsewhere.
//!
//! [`Settlement`] is a node's way to a settlement node, whatever carries it: `remote.rs` over gRPC,
//! `local.rs` straight to the keeper in the same process. What it brings is sealed, and opened by
//! nobody but the wallet. The service is the ledger's
//! [`SettlementNode`](seedbank_ledger::settlement::SettlementNode); `keeper.rs` is the thread that
//! drives it. Serving it to others is left to `rpc/settlement.rs`.

mod grant;
mod keeper;
mod local;
mod remote;

use std::fmt;
use std::pin::Pin;
use std::sync::Arc;
use std::time::Duration;

use seedbank_engine::credit::settlement::Unreachable;
use seedbank_engine::interface::input::Input;
use seedbank_ledger::Sequence;
use seedbank_ledger::settlement::codec::SettlementRequest;
use seedbank_ledger::settlement::envelope::Envelope;
use tokio::time::sleep;

use crate::inbox::Inbox;

pub use grant::GrantError;
pub use keeper::{Keeper, KeeperError, NetworkOverview};
pub use local::Local;
pub use remote::{AccountKeys, Remote, RemoteError};

/// Between two words about new lines; the wallet asks no more often.
const PAUSE: Duration = Duration::from_secs(1);
/// Longest pause after nobody would tell.
const PAUSE_MAX: Duration = Duration::from_secs(60);

/// A future that may move between threads.
pub type BoxFuture<'a, T> = Pin<Box<dyn Future<Output = T> + Send + 'a>>;

/// What came of asking; whether it is an answer, its seal says.
pub type Reply = Result<Envelope, Unreachable>;

/// Somebody who can ask a settlement node.
///
/// Every request gets an answer, or `Unreachable` at the latest after a time-out of the
/// implementor's; the session asks again, so nothing is retried below.
pub trait Settlement: fmt::Debug + Send + Sync + 'static {
    /// Asks, and gives what came back.
    fn ask(&self, request: SettlementRequest) -> BoxFuture<'_, Reply>;

    /// Waits until the account has lines after `after`, and gives the newest; `None` when nobody
    /// would tell. Who never tells leaves the session to its own pace.
    fn next_line(&self, after: Option<Sequence>) -> BoxFuture<'_, Option<Sequence>> {
        let _ = after;
        Box::pin(std::future::pending())
    }
}

/// Tells the session of every new line of its account, the newest it has being `seen`.
pub(crate) async fn keep_telling(
    settlement: Arc<dyn Settlement>,
    inbox: Inbox,
    mut seen: Option<Sequence>,
) {
    let mut pause = PAUSE;
    loop {
        match settlement.next_line(seen).await {
            Some(line) => {
                seen = Some(line);
                pause = PAUSE;
                inbox.input(Input::LineEntered(line)).await;
                sleep(PAUSE).await;
            }
            None => {
                sleep(pause).await;
                pause = (pause * 2).min(PAUSE_MAX);
            }
        }
    }
}

/// For a node without a settlement node.
#[derive(Clone, Copy, Debug)]
pub struct NoSettlement;

impl Settlement for NoSettlement {
    fn ask(&self, _request: SettlementRequest) -> BoxFuture<'_, Reply> {
        let why = "no settlement node is configured".to_owned();
        Box::pin(std::future::ready(Err(Unreachable(why))))
    }
}
