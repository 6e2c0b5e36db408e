//! `Sb_receipt` messages as bytes. The keys are listed in `receipt.rs`.

use seedbank_ledger::layout::LayoutError;
use seedbank_ledger::signed::channel::ChannelId;
use seedbank_ledger::signed::lock::{LockId, SignedLock};
use seedbank_ledger::signed::{Body, Signed};
use seedbank_ledger::{Bytes, MicroCredits, NetworkId, NodeId, Rate, Signature};

use crate::content::bencode::{self, DecodeError, Dict, Element, Value};
use crate::text::printable;
use crate::wire::receipt::{
    ErrorCode, Hello, LockFault, MESSAGE_LEN_MAX, NOTE_LEN_MAX, Quote, QuoteState, ReceiptMessage,
    SETTLEMENT_KEYS_MAX, SYNC_ENTRIES_MAX, SyncEntry,
};

/// Why a payload is no `Sb_receipt` message.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum ReceiptMessageError {
    /// Too long.
    #[error("receipt message has {len} bytes, at most {MESSAGE_LEN_MAX} allowed")]
    TooLong {
        /// Bytes found.
        len: usize,
    },
    /// Not bencoded.
    #[error("receipt message {0}")]
    Bencode(#[from] DecodeError),
    /// A type that we do not know: a later version's, and no fault of its sender.
    #[error("receipt message of unknown type {0}")]
    Type(u64),
    /// A key is missing, or holds a value of another type, length or range.
    #[error("receipt message has no usable {0:?}")]
    Field(&'static str),
    /// A list has too many items.
    #[error("receipt message has more than {max} items in {key:?}")]
    TooMany {
        /// Which list.
        key: &'static str,
        /// The bound.
        max: usize,
    },
    /// A signed object is not laid out as it should be.
    #[error("receipt message has a malformed {key:?}: {error}")]
    Layout {
        /// Which.
        key: &'static str,
        /// What is wrong with it.
        error: LayoutError,
    },
}

type Result<T> = std::result::Result<T, ReceiptMessageError>;

const HELLO: u64 = 0;
const AUTH: u64 = 1;
const BID: u64 = 2;
const QUOTE: u64 = 3;
const LOCK: u64 = 4;
const RECEIPT: u64 = 5;
const SYNC: u64 = 6;
const CLOSE: u64 = 7;
const TIP: u64 = 8;
const ERR: u64 = 9;

const KIND_ACKNOWLEDGEMENT: u64 = 0;
const KIND_LOCK: u64 = 1;

/// The longest entry: two receipts, a lock, a 20-digit id, and their keys.
const SYNC_ENTRY_LEN_MAX: usize = 2 + 6 + 26 + 152 + 152 + 228 + 7;
const _: () = assert!(
    SYNC_ENTRIES_MAX * SYNC_ENTRY_LEN_MAX + 32 <= MESSAGE_LEN_MAX,
    "a full SYNC fits a message"
);

impl ReceiptMessage {
    /// The payload to send under the peer's id.
    ///
    /// # Panics
    /// If a list or note of ours is past its bound, or a quote of the open class has a rate.
    pub fn encode(&self) -> Vec<u8> {
        let bytes = self.to_dict().encode();
        assert!(
            bytes.len() <= MESSAGE_LEN_MAX,
            "{} bytes are too long for a receipt message",
            bytes.len()
        );
        bytes
    }

    fn to_dict(&self) -> Dict {
        let of_type = |t: u64| Dict::new().with("t", t);
        match self {
            Self::Hello(hello) => hello.extend(of_type(HELLO)),
            Self::Auth(signature) => of_type(AUTH).with("sg", &signature.as_bytes()[..]),
            Self::Bid(rate) => of_type(BID).with("ra", rate.get()),
            Self::Quote(quote) => quote.extend(of_type(QUOTE)),
            Self::Lock(lock) => of_type(LOCK).with("lk", &*lock.to_bytes()),
            Self::Receipt(receipt) => of_type(RECEIPT).with("rc", &*receipt.to_bytes()),
            Self::Sync(entries) => {
                assert!(entries.len() <= SYNC_ENTRIES_MAX, "a SYNC is bounded");
                let entries: Vec<Value> = entries.iter().map(SyncEntry::value).collect();
                of_type(SYNC).with("cs", entries)
            }
            Self::Close { lock_id, newest } => of_type(CLOSE)
                .with("id", lock_id.get())
                .with_some("rc", bytes_of(newest.as_ref())),
            Self::Tip { amount, note } => {
                assert!(note.len() <= NOTE_LEN_MAX, "a note is bounded");
                of_type(TIP)
                    .with("am", amount.get())
                    .with("nt", note.as_str())
            }
            Self::Error { code, channel_id } => of_type(ERR)
                .with("er", code.number())
                .with_some("ch", channel_id.as_ref().map(|id| &id.as_bytes()[..]))
                .with_some("rs", code.fault().and_then(LockFault::number)),
        }
    }

    /// Reads a payload: one dictionary and nothing behind it.
    pub fn decode(payload: &[u8]) -> Result<Self> {
        let len = payload.len();
        if len > MESSAGE_LEN_MAX {
            return Err(ReceiptMessageError::TooLong { len });
        }
        let document = bencode::decode(payload, &bencode::DecodeLimits::MESSAGE)?;
        let dict = document.root();
        Ok(match number(dict, "t")? {
            HELLO => Self::Hello(Hello::read(dict)?),
            AUTH => Self::Auth(Signature::from_bytes(array(dict, "sg")?)),
            BID => Self::Bid(Rate::new(number(dict, "ra")?)),
            QUOTE => Self::Quote(Quote::read(dict)?),
            LOCK => Self::Lock(Box::new(required(dict, "lk")?)),
            RECEIPT => Self::Receipt(required(dict, "rc")?),
            SYNC => Self::Sync(entries(dict)?),
            CLOSE => Self::Close {
                lock_id: LockId::new(number(dict, "id")?),
                newest: signed(dict, "rc")?,
            },
            TIP => Self::Tip {
                amount: MicroCredits::new(number(dict, "am")?),
                note: note(dict)?,
            },
            ERR => Self::Error {
                code: ErrorCode::from_number(narrow(dict, "er")?, fault(dict)?),
                channel_id: channel_id(dict)?,
            },
            other => return Err(ReceiptMessageError::Type(other)),
        })
    }
}

impl Hello {
    fn extend(&self, dict: Dict) -> Dict {
        let keys = &self.settlement_keys;
        assert!(keys.len() <= SETTLEMENT_KEYS_MAX, "keys are bounded");
        let keys = keys.iter().map(|key| Value::from(&key.as_bytes()[..]));
        dict.with("v", self.version)
            .with("no", &self.nonce[..])
            .with("pk", &self.node_id.as_bytes()[..])
            .with("net", &self.network_id.as_bytes()[..])
            .with("is", keys.collect::<Vec<_>>())
            .with_some("ra", self.rate_min.map(Rate::get))
            .with("wi", self.window.get())
    }

    fn read(dict: Element<'_>) -> Result<Self> {
        let mut settlement_keys = Vec::new();
        for item in list(dict, "is", SETTLEMENT_KEYS_MAX)? {
            let key = item.as_array().ok_or(ReceiptMessageError::Field("is"))?;
            settlement_keys.push(NodeId::from_bytes(key));
        }
        Ok(Self {
            version: narrow(dict, "v")?,
            nonce: array(dict, "no")?,
            node_id: NodeId::from_bytes(array(dict, "pk")?),
            network_id: NetworkId::from_bytes(array(dict, "net")?),
            settlement_keys,
            rate_min: rate(dict)?,
            window: Bytes::new(number(dict, "wi")?),
        })
    }
}

impl Quote {
    fn extend(&self, dict: Dict) -> Dict {
        let (state, rate) = match self.state {
            QuoteState::Open => {
                assert!(self.rate.is_zero(), "the open class costs nothing");
                (0_u8, None)
            }
            QuoteState::Queued => (1, self.cap()),
            QuoteState::Paid => (2, self.cap()),
        };
        dict.with("st", state)
            .with_some("ra", rate)
            .with("wi", self.window.get())
            .with("wo", self.written_off.get())
    }

    fn cap(&self) -> Option<u64> {
        (self.rate != Rate::MAX).then_some(self.rate.get())
    }

    fn read(dict: Element<'_>) -> Result<Self> {
        let state = match number(dict, "st")? {
            0 => QuoteState::Open,
            1 => QuoteState::Queued,
            2 => QuoteState::Paid,
            _ => return Err(ReceiptMessageError::Field("st")),
        };
        let rate = match state {
            QuoteState::Open => Rate::ZERO,
            QuoteState::Queued | QuoteState::Paid => rate(dict)?.unwrap_or(Rate::MAX),
        };
        Ok(Self {
            state,
            rate,
            window: Bytes::new(number(dict, "wi")?),
            written_off: Bytes::new(number(dict, "wo")?),
        })
    }
}

impl SyncEntry {
    fn value(&self) -> Value {
        let dict = match self.lock_id {
            None => Dict::new().with("k", KIND_ACKNOWLEDGEMENT),
            Some(id) => Dict::new().with("k", KIND_LOCK).with("id", id.get()),
        };
        dict.with_some("hd", bytes_of(self.held.as_ref()))
            .with_some("sn", bytes_of(self.sent.as_ref()))
            .with_some("lk", bytes_of(self.lock.as_ref()))
            .with_some("cl", self.closed.then_some(1_u8))
            .into()
    }

    fn read(dict: Element<'_>) -> Result<Self> {
        let lock_id = match number(dict, "k")? {
            KIND_ACKNOWLEDGEMENT => None,
            KIND_LOCK => Some(LockId::new(number(dict, "id")?)),
            _ => return Err(ReceiptMessageError::Field("k")),
        };
        let lock: Option<SignedLock> = signed(dict, "lk")?;
        let closed = dict.get("cl").and_then(|flag| flag.as_i64()) == Some(1);
        let fits = match (lock_id, &lock) {
            (None, lock) => lock.is_none() && !closed,
            (Some(id), Some(lock)) => lock.body.lock_id == id,
            (Some(_), None) => true,
        };
        if !fits {
            return Err(ReceiptMessageError::Field("lk"));
        }
        Ok(Self {
            lock_id,
            held: signed(dict, "hd")?,
            sent: signed(dict, "sn")?,
            lock,
            closed,
        })
    }
}

fn entries(dict: Element<'_>) -> Result<Vec<SyncEntry>> {
    let mut entries: Vec<SyncEntry> = Vec::new();
    for item in list(dict, "cs", SYNC_ENTRIES_MAX)? {
        let entry = SyncEntry::read(item)?;
        if entries.iter().any(|known| known.lock_id == entry.lock_id) {
            return Err(ReceiptMessageError::Field("cs"));
        }
        entries.push(entry);
    }
    Ok(entries)
}

fn note(dict: Element<'_>) -> Result<String> {
    let note = dict.get("nt").and_then(|note| note.as_bytes());
    let note = note.filter(|note| note.len() <= NOTE_LEN_MAX);
    let note = note.and_then(|note| std::str::from_utf8(note).ok());
    let note = note.ok_or(ReceiptMessageError::Field("nt"))?;
    Ok(printable(note.as_bytes(), NOTE_LEN_MAX))
}

fn rate(dict: Element<'_>) -> Result<Option<Rate>> {
    match dict.get("ra") {
        None => Ok(None),
        Some(_) => Ok(Some(Rate::new(number(dict, "ra")?))),
    }
}

fn fault(dict: Element<'_>) -> Result<LockFault> {
    match dict.get("rs") {
        None => Ok(LockFault::Other(0)),
        Some(_) => Ok(LockFault::from_number(narrow(dict, "rs")?)),
    }
}

fn channel_id(dict: Element<'_>) -> Result<Option<ChannelId>> {
    match dict.get("ch") {
        None => Ok(None),
        Some(_) => Ok(Some(ChannelId::from_bytes(array(dict, "ch")?))),
    }
}

fn number(dict: Element<'_>, key: &'static str) -> Result<u64> {
    let value = dict.get(key).and_then(|value| value.as_u64());
    value.ok_or(ReceiptMessageError::Field(key))
}

fn narrow(dict: Element<'_>, key: &'static str) -> Result<u32> {
    u32::try_from(number(dict, key)?).map_err(|_| ReceiptMessageError::Field(key))
}

fn array<const N: usize>(dict: Element<'_>, key: &'static str) -> Result<[u8; N]> {
    let value = dict.get(key).and_then(|value| value.as_array());
    value.ok_or(ReceiptMessageError::Field(key))
}

fn list<'a>(dict: Element<'a>, key: &'static str, max: usize) -> Result<bencode::Items<'a>> {
    let items = dict.get(key).and_then(|value| value.items());
    let items = items.ok_or(ReceiptMessageError::Field(key))?;
    if items.clone().nth(max).is_some() {
        return Err(ReceiptMessageError::TooMany { key, max });
    }
    Ok(items)
}

fn required<B: Body>(dict: Element<'_>, key: &'static str) -> Result<Signed<B>> {
    signed(dict, key)?.ok_or(ReceiptMessageError::Field(key))
}

fn signed<B: Body>(dict: Element<'_>, key: &'static str) -> Result<Option<Signed<B>>> {
    let Some(value) = dict.get(key) else {
        return Ok(None);
    };
    let bytes = value.as_bytes().ok_or(ReceiptMessageError::Field(key))?;
    let signed = Signed::from_bytes(bytes);
    let signed = signed.map_err(|error| ReceiptMessageError::Layout { key, error })?;
    Ok(Some(signed))
}

fn bytes_of<B: Body>(signed: Option<&Signed<B>>) -> Option<Value> {
    signed.map(|signed| Value::Bytes(signed.to_bytes()))
}
