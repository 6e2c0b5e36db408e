//! A member of a network in the hands of a test: a key of its own, and orders it gives itself.

use anyhow::{Context, Result, bail, ensure};
use seedbank_ledger::genesis::Genesis;
use seedbank_ledger::settlement::codec::{AnswerBody, SettlementRequest};
use seedbank_ledger::settlement::envelope::Envelope;
use seedbank_ledger::signed::Body as _;
use seedbank_ledger::signed::lock::SignedLock;
use seedbank_ledger::signed::order::{Order, OrderKind, SignedOrder};
use seedbank_ledger::signed::receipt::{Receipt, SignedReceipt};
use seedbank_ledger::{Bytes, Identity, MicroCredits, NetworkId, NodeId, Signature, UnixTime};
use seedbank_proto::settlement_v1::AskRequest;
use seedbank_proto::settlement_v1::settlement_service_client::SettlementServiceClient;

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
        let signed = order.sign(&self.identity);
        let AnswerBody::Operation(answer) = self.submit(signed)? else {
            bail!("no answer to an order");
        };
        ensure!(answer.refusal.is_none(), "refused: {:?}", answer.refusal);
        let line = answer.line.context("no line")?;
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

    fn submit(&self, order: SignedOrder) -> Result<AnswerBody> {
        let question = SettlementRequest::Submit {
            random: [7; 16],
            order,
        };
        let request = AskRequest {
            request: question.to_bytes(),
        };
        let runtime = tokio::runtime::Builder::new_current_thread()
            .enable_all()
            .build()?;
        let answer = runtime.block_on(async {
            let mut service = SettlementServiceClient::connect(self.uri.clone()).await?;
            anyhow::Ok(service.ask(request).await?.into_inner())
        })?;
        let signature = answer.signature.try_into();
        let envelope = Envelope {
            answer: answer.answer,
            signature: Signature::from_bytes(signature.ok().context("a seal has 64 bytes")?),
        };
        let (scheme, hash) = (self.identity.scheme(), question.hash());
        let answer = envelope.open(scheme, self.network, &self.settlement, hash, 0)?;
        Ok(answer.body)
    }
}
