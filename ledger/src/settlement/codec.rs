//! Questions to a settlement node and its answers as bytes: what is hashed, sealed and sent.
//!
//! One byte string each (docs/PROTOCOL.md, settlement), whatever carries it. Reading checks the
//! layout and its bounds and no signature: [`SettlementRequest::check`] does that for a question,
//! [`Envelope::open`](super::envelope::Envelope::open) for an answer.

use crate::charts::network::LINES_MAX;
use crate::identity::{NetworkId, NodeId, SignatureScheme};
use crate::layout::{LayoutError, Reader, Writer};
use crate::refusal::Refusal;
use crate::signed::answer::{AnswerHash, RequestHash};
use crate::signed::claim::{Claim, SignedClaim};
use crate::signed::head::{LedgerHead, SignedHead};
use crate::signed::order::SignedOrder;
use crate::signed::read::{ReadKind, SignedRead};
use crate::signed::{Body as _, Signed};
use crate::statement::{AccountStatus, LockStatus, StatementLine};
use crate::time::UnixTime;
use crate::units::Sequence;

/// Most lines in one answer: one less than the ledger reads at once, to know whether there are
/// more.
pub const PAGE_LINES_MAX: usize = LINES_MAX - 1;

/// No question is longer, in bytes.
pub const REQUEST_LEN_MAX: usize = 1 + 16 + Claim::LEN + 64;

/// No answer is longer, in bytes: a page of the longest lines.
pub const ANSWER_LEN_MAX: usize =
    9 + AccountAnswer::LEN + 3 + PAGE_LINES_MAX * (2 + StatementLine::LEN_MAX);

/// Longest time for which a signed read may be good, in seconds of settlement time.
pub const READ_VALID_SECS_MAX: u64 = 600;

/// A question. An order or claim is its account's, a read its signer's; each may be asked again.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum SettlementRequest {
    /// Carry out an order.
    Submit {
        /// Drawn for this question, so that no answer to another fits.
        random: [u8; 16],
        /// The order.
        order: SignedOrder,
    },
    /// Pay a claim.
    Claim {
        /// Drawn for this question.
        random: [u8; 16],
        /// The claim.
        claim: SignedClaim,
    },
    /// Say what only the parties to it may know.
    Read(SignedRead),
}

/// An answer and when it was given; what it speaks of is durable.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SettlementAnswer {
    /// Settlement time.
    pub time: UnixTime,
    /// What is answered.
    pub body: AnswerBody,
}

/// What is answered.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum AnswerBody {
    /// To any question: it is none that may be asked, or not so.
    Refused(Refusal),
    /// To an order or a claim.
    Operation(Box<OperationAnswer>),
    /// To a read of an account.
    Account(AccountAnswer),
    /// To a read of a lock; `None` if the asker is party to no lock of that number.
    Lock(Option<LockStatus>),
    /// To a read of a statement, and each message of a watch.
    Statement(Statement),
}

/// What became of an order or claim.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct OperationAnswer {
    /// Why it changed nothing but a nonce, or nothing at all.
    pub refusal: Option<Refusal>,
    /// The order that used this nonce first, if it is another.
    pub used_by: Option<SignedOrder>,
    /// The entry that it is or that answers it; `None` if it left none.
    pub sequence: Option<Sequence>,
    /// Its line in the statement of whoever signed it, if this very question entered it. Of what
    /// was there before only a signed read tells the line: anybody may repeat an order.
    pub line: Option<StatementLine>,
}

/// An account as it stands, and how far the ledger goes that says so.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct AccountAnswer {
    /// The account.
    pub status: AccountStatus,
    /// The ledger's end.
    pub head: SignedHead,
}

/// What happened to an account.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Statement {
    /// The account as it stands, whatever `more` says.
    pub account: AccountAnswer,
    /// Whether there are more lines after these; who wants them asks again.
    pub more: bool,
    /// New lines, oldest first, without a gap.
    pub lines: Vec<StatementLine>,
}

impl SettlementRequest {
    /// Whose question it is: the account that signed the order, claim or read.
    pub fn account(&self) -> NodeId {
        match self {
            Self::Submit { order, .. } => order.body.account,
            Self::Claim { claim, .. } => claim.body.payee,
            Self::Read(read) => read.body.account,
        }
    }

    /// Checks that it is for this network and that [`Self::account`] signed it. Whoever lets a
    /// question in asks this once; [`SettlementNode`](super::SettlementNode) believes reads.
    pub fn check(
        &self,
        scheme: &dyn SignatureScheme,
        network_id: NetworkId,
    ) -> Result<(), Refusal> {
        let account = self.account();
        let (named, checked) = match self {
            Self::Submit { order, .. } => {
                (order.body.network_id, order.verify_by(scheme, &account))
            }
            Self::Claim { claim, .. } => (claim.body.network_id, claim.verify_by(scheme, &account)),
            Self::Read(read) => (read.body.network_id, read.verify_by(scheme, &account)),
        };
        if named != network_id {
            return Err(Refusal::WrongNetwork);
        }
        checked.map_err(|_| Refusal::BadSignature)
    }

    /// Whether it asks for more than one answer.
    pub fn is_watch(&self) -> bool {
        matches!(self, Self::Read(read) if matches!(read.body.kind, ReadKind::Watch { .. }))
    }

    /// What its answers are sealed to.
    pub fn hash(&self) -> RequestHash {
        RequestHash::of(&self.to_bytes())
    }

    /// The bytes: kind u8; then of an order or claim its random 16 and the signed body, of a read
    /// the signed body, which has its random in it.
    pub fn to_bytes(&self) -> Vec<u8> {
        let out = Writer::new();
        let out = match self {
            Self::Submit { random, order } => order.write(out.u8(1).bytes(random)),
            Self::Claim { random, claim } => claim.write(out.u8(2).bytes(random)),
            Self::Read(read) => read.write(out.u8(3)),
        };
        out.finish()
    }

    /// Parses exactly one question; no signature is checked.
    pub fn from_bytes(bytes: &[u8]) -> Result<Self, LayoutError> {
        let mut reader = Reader::new(bytes);
        let from = &mut reader;
        let request = match from.u8()? {
            1 => Self::Submit {
                random: from.array()?,
                order: Signed::read(from)?,
            },
            2 => Self::Claim {
                random: from.array()?,
                claim: Signed::read(from)?,
            },
            3 => Self::Read(Signed::read(from)?),
            value => return Err(unknown("kind of request", value)),
        };
        reader.end()?;
        Ok(request)
    }
}

impl SettlementAnswer {
    /// That it is no question that may be asked, or not so.
    pub fn refused(time: UnixTime, refusal: Refusal) -> Self {
        let body = AnswerBody::Refused(refusal);
        Self { time, body }
    }

    /// The bytes: kind u8, settlement time u64, and what the kind has. Optional fields have a flag
    /// in front and are left out when it is 0; a line has its length in front.
    pub fn to_bytes(&self) -> Vec<u8> {
        let out = Writer::new().u8(self.body.kind()).u64(self.time.as_secs());
        let out = match &self.body {
            AnswerBody::Refused(refusal) => out.u16(refusal.code()),
            AnswerBody::Operation(operation) => operation.write(out),
            AnswerBody::Account(account) => account.write(out),
            AnswerBody::Lock(lock) => {
                out.optional(lock.as_ref().map(LockStatus::to_bytes).as_deref())
            }
            AnswerBody::Statement(statement) => statement.write(out),
        };
        out.finish()
    }

    /// Parses exactly one answer of at most [`ANSWER_LEN_MAX`] bytes; no signature is checked.
    pub fn from_bytes(bytes: &[u8]) -> Result<Self, LayoutError> {
        if bytes.len() > ANSWER_LEN_MAX {
            return Err(LayoutError::TooLong {
                field: "answer",
                len: bytes.len(),
                max: ANSWER_LEN_MAX,
            });
        }
        let mut reader = Reader::new(bytes);
        let from = &mut reader;
        let kind = from.u8()?;
        let time = UnixTime::from_secs(from.u64()?);
        let body = match kind {
            0 => AnswerBody::Refused(Refusal::read(from)?.ok_or_else(|| unknown("refusal", 0))?),
            1 => AnswerBody::Operation(Box::new(OperationAnswer::read(from)?)),
            2 => AnswerBody::Account(AccountAnswer::read(from)?),
            3 => AnswerBody::Lock(from.optional("lock", LockStatus::read)?),
            4 => AnswerBody::Statement(Statement::read(from)?),
            value => return Err(unknown("kind of answer", value)),
        };
        reader.end()?;
        Ok(Self { time, body })
    }
}

impl AnswerBody {
    fn kind(&self) -> u8 {
        match self {
            Self::Refused(_) => 0,
            Self::Operation(_) => 1,
            Self::Account(_) => 2,
            Self::Lock(_) => 3,
            Self::Statement(_) => 4,
        }
    }
}

impl OperationAnswer {
    fn write(&self, out: Writer) -> Writer {
        let used_by = self.used_by.as_ref().map(Signed::to_bytes);
        let sequence = self.sequence.map(|sequence| sequence.get().to_le_bytes());
        let out = out
            .u16(self.refusal.map_or(0, Refusal::code))
            .optional(used_by.as_deref())
            .optional(sequence.as_ref().map(<[u8; 8]>::as_slice))
            .flag(self.line.is_some());
        match &self.line {
            Some(line) => out.sized(&line.to_bytes()),
            None => out,
        }
    }

    fn read(from: &mut Reader<'_>) -> Result<Self, LayoutError> {
        Ok(Self {
            refusal: Refusal::read(from)?,
            used_by: from.optional("used by", Signed::read)?,
            sequence: from.optional("sequence", |from| Ok(Sequence::new(from.u64()?)))?,
            line: from.optional("line", read_line)?,
        })
    }
}

impl AccountAnswer {
    /// Length in bytes.
    const LEN: usize = 32 + 24 + LedgerHead::LEN + 64;

    fn write(&self, out: Writer) -> Writer {
        self.head.write(self.status.write(out))
    }

    fn read(from: &mut Reader<'_>) -> Result<Self, LayoutError> {
        Ok(Self {
            status: AccountStatus::read(from)?,
            head: Signed::read(from)?,
        })
    }
}

impl Statement {
    /// Sequence of its newest line.
    pub fn newest(&self) -> Option<Sequence> {
        let line = self.lines.last()?;
        Some(line.certificate.body.sequence)
    }

    fn write(&self, out: Writer) -> Writer {
        let count = u16::try_from(self.lines.len()).expect("a page of lines is bounded");
        let out = self.account.write(out).flag(self.more).u16(count);
        let line = |out: Writer, line: &StatementLine| out.sized(&line.to_bytes());
        self.lines.iter().fold(out, line)
    }

    fn read(from: &mut Reader<'_>) -> Result<Self, LayoutError> {
        let account = AccountAnswer::read(from)?;
        let more = from.flag("more")?;
        let count = usize::from(from.u16()?);
        if count > PAGE_LINES_MAX {
            return Err(LayoutError::TooLong {
                field: "lines",
                len: count,
                max: PAGE_LINES_MAX,
            });
        }
        let lines: Result<_, LayoutError> = (0..count).map(|_| read_line(from)).collect();
        Ok(Self {
            account,
            more,
            lines: lines?,
        })
    }
}

fn read_line(from: &mut Reader<'_>) -> Result<StatementLine, LayoutError> {
    StatementLine::from_bytes(from.sized("line", StatementLine::LEN_MAX)?)
}

fn unknown(field: &'static str, value: u8) -> LayoutError {
    LayoutError::Value {
        field,
        value: value.into(),
    }
}

impl RequestHash {
    /// The hash of a question's bytes.
    pub fn of(bytes: &[u8]) -> Self {
        Self::from_bytes(*blake3::hash(bytes).as_bytes())
    }
}

impl AnswerHash {
    /// The hash of an answer's bytes.
    pub fn of(bytes: &[u8]) -> Self {
        Self::from_bytes(*blake3::hash(bytes).as_bytes())
    }
}
