//! A member of a network in the hands of a test: a key of its own, and orders it gives itself.

use anyhow::{Context, Result, ensure};
use seedbank_ledger::genesis::Genesis;
use seedbank_ledger::signed::Body as _;
use seedbank_ledger::signed::lock::SignedLock;
use seedbank_ledger::signed::order::{Order, OrderKind};
use seedbank_ledger::signed::receipt::{Receipt, SignedReceipt};
use seedbank_ledger::statement::StatementLine;
use seedbank_ledger::{Bytes, Identity, MicroCredits, NetworkId, NodeId, UnixTime};
use seedbank_proto::v1;
use seedbank_proto::v1::settlement_service_client::SettlementServiceClient;

use crate::community::Community;

/// Life of the locks it opens.
const LOCK_SECS: u32 = 3600;

/// A key, and the network it belongs to.
#[derive(Debug)]
pub struct Member {
    pub identity: Identity,
    pub network: NetworkId,
    /// Whose locks count.
    pub settlement: NodeId,
    uri: String,
    nonce: u64,
}

impl Member {
    /// A member whose secret is 32 times `seed`.
    ///
    /// # Errors
    /// When the genesis file cannot be read.
    pub fn new(community: &Community, seed: u8) -> Result<Self> {
        let text = std::fs::read_to_string(community.file("genesis"))?;
        let genesis = Genesis::parse(&text)?;
        Ok(Self {
            identity: Identity::from_secret([seed; 32]),
            network: genesis.network_id(),
            settlement: genesis.settlement,
            uri: community.settlement_uri(),
            nonce: 0,
        })
    }

    /// Orders a lock for `payee` and gives its certificate.
    ///
    /// # Errors
    /// When the settlement node refuses or does not answer.
    pub fn open_lock(&mut self, payee: NodeId, amount: u64) -> Result<SignedLock> {
        self.nonce += 1;
        let now = std::time::SystemTime::UNIX_EPOCH.elapsed()?.as_secs();
        let order = Order {
            network_id: self.network,
            account: self.identity.id(),
            nonce: self.nonce,
            valid_until: UnixTime::from_secs(now + 600),
            kind: OrderKind::OpenLock {
                payee,
                amount: MicroCredits::new(amount),
                ttl_secs: LOCK_SECS,
            },
            memo_hash: [0; 32],
        };
        let answer = self.submit(&order.sign(&self.identity).to_bytes())?;
        let statement = answer.statement.context("no statement")?;
        let refusal = v1::Refusal::try_from(answer.refusal);
        let newest = statement.lines.last().context("no lines")?;
        let line = StatementLine::from_bytes(newest)?;
        ensure!(line.refusal.is_none(), "refused: {refusal:?}");
        Ok(line.lock.context("no lock")?.lock)
    }

    /// A receipt on one of its locks.
    #[must_use]
    pub fn receipt(&self, lock: &SignedLock, bytes: u64, amount: u64) -> SignedReceipt {
        let receipt = Receipt {
            network_id: self.network,
            channel_id: lock.body.channel().id(),
            bytes: Bytes::new(bytes),
            amount: MicroCredits::new(amount),
        };
        receipt.sign(&self.identity)
    }

    fn submit(&self, signed_order: &[u8]) -> Result<v1::SubmitResponse> {
        let request = v1::SubmitRequest {
            signed_order: signed_order.to_vec(),
            after_sequence: None,
        };
        let runtime = tokio::runtime::Builder::new_current_thread()
            .enable_all()
            .build()?;
        runtime.block_on(async {
            let mut service = SettlementServiceClient::connect(self.uri.clone()).await?;
            let mut answers = service
                .submit(tokio_stream::once(request))
                .await?
                .into_inner();
            answers.message().await?.context("no answer")
        })
    }
}
