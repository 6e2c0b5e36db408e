//! The way to a settlement node, whatever carries it.

use std::fmt;
use std::pin::Pin;

use seedbank_engine::session::settlement::{SettlementReply, SettlementRequest};

/// A future that may move between threads.
pub type BoxFuture<'a, T> = Pin<Box<dyn Future<Output = T> + Send + 'a>>;

/// Somebody who can ask a settlement node.
///
/// Every request gets a reply, `Unreachable` at the latest after a time-out of the implementor's;
/// the session asks again, so nothing is retried below.
pub trait Settlement: fmt::Debug + Send + Sync + 'static {
    /// Asks, and gives the answer.
    fn ask(&self, request: SettlementRequest) -> BoxFuture<'_, SettlementReply>;
}

/// For a node without a settlement node.
#[derive(Clone, Copy, Debug)]
pub struct NoSettlement;

impl Settlement for NoSettlement {
    fn ask(&self, _request: SettlementRequest) -> BoxFuture<'_, SettlementReply> {
        let reply = "no settlement node is configured".to_owned();
        Box::pin(std::future::ready(SettlementReply::Unreachable(reply)))
    }
}
