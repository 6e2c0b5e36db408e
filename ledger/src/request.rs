//! Requests answered once: the same id and body get the same answer, another body is refused.
//!
//! For the API of whoever runs a ledger. It is no part of the log: replaying entries does not make
//! these rows again.

use crate::layout::{LayoutError, Reader, Writer};
use crate::ledger::LedgerError;
use crate::state::{Row, State};
use crate::store::{Batch, Durability, Store, StoreError, Table, for_each};
use crate::time::UnixTime;

/// Longest request id in bytes.
pub const REQUEST_ID_LEN_MAX: usize = 128;

/// Longest stored answer in bytes.
pub const ANSWER_LEN_MAX: usize = 4_096;

/// Most requests kept; the oldest give way.
pub const REQUEST_COUNT_MAX: usize = 10_000;

/// Why a request is not remembered.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum RequestError {
    /// The id was used for another body.
    #[error("request id {0:?} was used for another request")]
    Reused(String),
    /// The id is empty or too long.
    #[error("a request id has 1 to {REQUEST_ID_LEN_MAX} bytes, not {0}")]
    BadId(usize),
    /// The answer is too long.
    #[error("an answer has at most {ANSWER_LEN_MAX} bytes, not {0}")]
    BadAnswer(usize),
    /// The table cannot be read or written.
    #[error(transparent)]
    Ledger(#[from] LedgerError),
}

impl From<StoreError> for RequestError {
    fn from(error: StoreError) -> Self {
        Self::Ledger(error.into())
    }
}

/// The answered requests inside a store.
#[derive(Clone, Debug)]
pub struct AnsweredRequests<S>(S);

/// One answered request.
#[derive(Clone, Debug, PartialEq, Eq)]
struct RequestRow {
    body_hash: [u8; 32],
    time: UnixTime,
    answer: Vec<u8>,
}

impl<S: Store> AnsweredRequests<S> {
    /// The requests in `store`.
    pub fn new(store: S) -> Self {
        Self(store)
    }

    /// The answer given to this request before; `None` if it is new.
    pub fn answer(&self, id: &str, body: &[u8]) -> Result<Option<Vec<u8>>, RequestError> {
        check_id(id)?;
        match State::new(&self.0).row::<RequestRow>(id.as_bytes())? {
            Some(row) if row.body_hash == hash(body) => Ok(Some(row.answer)),
            Some(_) => Err(RequestError::Reused(id.to_owned())),
            None => Ok(None),
        }
    }

    /// Remembers the answer to a new request; it is fsynced when this returns. Where
    /// [`REQUEST_COUNT_MAX`] are kept, the oldest is forgotten. O(requests kept).
    pub fn remember(
        &self,
        id: &str,
        body: &[u8],
        answer: &[u8],
        now: UnixTime,
    ) -> Result<(), RequestError> {
        if let Some(before) = self.answer(id, body)? {
            assert_eq!(before, answer, "one request has one answer");
            return Ok(());
        }
        if answer.len() > ANSWER_LEN_MAX {
            return Err(RequestError::BadAnswer(answer.len()));
        }
        let row = RequestRow {
            body_hash: hash(body),
            time: now,
            answer: answer.to_vec(),
        };
        let mut batch = Batch::new();
        if let Some(oldest) = self.oldest_if_full()? {
            batch.delete(Table::Request, oldest);
        }
        batch.put(Table::Request, id.as_bytes().to_vec(), row.to_bytes());
        Ok(self.0.write(&batch, Durability::Synced)?)
    }

    fn oldest_if_full(&self) -> Result<Option<Vec<u8>>, LedgerError> {
        let mut count: usize = 0;
        let mut oldest: Option<(UnixTime, Vec<u8>)> = None;
        for_each(&self.0, Table::Request, &[], |key, value| {
            let row = RequestRow::from_bytes(value)
                .map_err(|error| LedgerError::row(Table::Request, key, error))?;
            count = count.saturating_add(1);
            if oldest.as_ref().is_none_or(|(time, _)| row.time < *time) {
                oldest = Some((row.time, key.to_vec()));
            }
            Ok::<(), LedgerError>(())
        })?;
        Ok(oldest
            .filter(|_| count >= REQUEST_COUNT_MAX)
            .map(|(_, key)| key))
    }
}

fn check_id(id: &str) -> Result<(), RequestError> {
    if (1..=REQUEST_ID_LEN_MAX).contains(&id.len()) {
        Ok(())
    } else {
        Err(RequestError::BadId(id.len()))
    }
}

fn hash(body: &[u8]) -> [u8; 32] {
    blake3::derive_key("seedbank v1 request", body)
}

impl Row for RequestRow {
    const TABLE: Table = Table::Request;

    fn to_bytes(&self) -> Vec<u8> {
        Writer::new()
            .bytes(&self.body_hash)
            .u64(self.time.as_secs())
            .sized(&self.answer)
            .finish()
    }

    fn from_bytes(bytes: &[u8]) -> Result<Self, LayoutError> {
        let mut reader = Reader::new(bytes);
        let row = Self {
            body_hash: reader.array()?,
            time: UnixTime::from_secs(reader.u64()?),
            answer: reader.sized("answer", ANSWER_LEN_MAX)?.to_vec(),
        };
        reader.end()?;
        Ok(row)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::store::Memory;

    #[test]
    fn the_same_request_gets_the_same_answer_and_another_is_refused() {
        let requests = AnsweredRequests::new(Memory::new());
        assert_eq!(requests.answer("a", b"body"), Ok(None));
        let now = UnixTime::from_secs(1);
        requests.remember("a", b"body", b"answer", now).unwrap();
        requests.remember("a", b"body", b"answer", now).unwrap();
        assert_eq!(requests.answer("a", b"body"), Ok(Some(b"answer".to_vec())));
        assert_eq!(
            requests.answer("a", b"other"),
            Err(RequestError::Reused("a".to_owned()))
        );
        assert_eq!(requests.answer("", b""), Err(RequestError::BadId(0)));
    }
}
