//! A member of a network in the hands of a test: a key of its own, and orders it gives itself.

use anyhow::{Context, Result, bail, ensure};
use seedbank_ledger::genesis::Genesis;
use seedbank_ledger::settlement::codec::{AnswerBody, SettlementRequest};
use seedbank_ledger::settlement::envelope::Envelope;
use seedbank_ledger::signed::Body as _;
use seedbank_ledger::signed::lock::SignedLock;
use seedbank_ledger::signed::order::{Order, OrderKind, SignedOrder};
use seedbank_ledger::signed::read::{ReadKind, ReadRequest};
use seedbank_ledger::signed::receipt::{Receipt, SignedReceipt};
use seedbank_ledger::{Bytes, Identity, MicroCredits, NetworkId, NodeId, Signature, UnixTime};
use seedbank_proto::settlement_v1::AskRequest;
use seedbank_proto::settlement_v1::settlement_service_client::SettlementServiceClient;

use crate::community::Community;

/// Life of the locks it opens.
const LOCK_SECS: u32 = 3600;
/// What tells its questions apart is what is in them.
const RANDOM: [u8; 16] = [7; 16];

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
        let order = self.order(payee, amount)?;
        let AnswerBody::Operation(answer) = self.ask(&SettlementRequest::Submit {
            random: RANDOM,
            order,
        })?
        else {
            bail!("no answer to an order");
        };
        ensure!(answer.refusal.is_none(), "refused: {:?}", answer.refusal);
        let line = answer.line.context("no line")?;
        Ok(line.lock.context("no lock")?.lock)
    }

    /// Asks about its own account.
    ///
    /// # Errors
    /// When the settlement node refuses or does not answer.
    pub fn read(&self, kind: ReadKind) -> Result<AnswerBody> {
        let read = ReadRequest {
            network_id: self.network,
            account: self.identity.id(),
            kind,
            random: RANDOM,
            valid_until: valid_until()?,
        };
        let answer = self.ask(&SettlementRequest::Read(read.sign(&self.identity)))?;
        ensure!(!matches!(answer, AnswerBody::Refused(_)), "{answer:?}");
        Ok(answer)
    }

    /// An order for a lock, under a nonce of its own, and not given yet.
    ///
    /// # Errors
    /// When the clock stands before 1970.
    pub fn order(&mut self, payee: NodeId, amount: u64) -> Result<SignedOrder> {
        self.nonce += 1;
        let order = Order {
            network_id: self.network,
            account: self.identity.id(),
            nonce: self.nonce,
            valid_until: valid_until()?,
            kind: OrderKind::OpenLock {
                payee,
                amount: MicroCredits::new(amount),
                ttl_secs: LOCK_SECS,
            },
            memo_hash: [0; 32],
        };
        Ok(order.sign(&self.identity))
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

    fn ask(&self, question: &SettlementRequest) -> Result<AnswerBody> {
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

/// The bytes of a question that gives this order.
#[must_use]
pub fn submission(order: SignedOrder) -> Vec<u8> {
    let random = RANDOM;
    SettlementRequest::Submit { random, order }.to_bytes()
}

fn valid_until() -> Result<UnixTime> {
    let now = std::time::SystemTime::UNIX_EPOCH.elapsed()?.as_secs();
    Ok(UnixTime::from_secs(now + 600))
}
