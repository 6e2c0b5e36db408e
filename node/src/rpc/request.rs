//! Request ids of calls that spend nothing: the same id with another body is refused.
//!
//! Kept in memory, because repeating such a call is harmless; what spends is kept by session and
//! ledger.

use std::collections::{BTreeMap, VecDeque};
use std::sync::{Mutex, PoisonError};

use seedbank_proto::Failure;
use seedbank_proto::v1::ErrorReason;

use super::field;

/// Request ids remembered; the oldest give way.
const REQUESTS_MAX: usize = 1_000;

/// The newest request ids, each with the hash of its body.
#[derive(Debug, Default)]
pub(super) struct RecentRequests(Mutex<Known>);

#[derive(Debug, Default)]
struct Known {
    bodies: BTreeMap<String, [u8; 32]>,
    order: VecDeque<String>,
}

impl RecentRequests {
    /// Remembers a request, or refuses it if its id was used for another body.
    pub(super) fn admit(&self, id: &str, body: &impl prost::Message) -> Result<(), Failure> {
        let id = field::request_id(id)?;
        let hash = *blake3::hash(&body.encode_to_vec()).as_bytes();
        let mut known = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        match known.bodies.get(id) {
            Some(before) if *before == hash => return Ok(()),
            Some(_) => {
                let message = format!("request id {id:?} was used for something else");
                return Err(
                    Failure::new(ErrorReason::RequestIdReused, message).with("request_id", id)
                );
            }
            None => {}
        }
        if known.order.len() == REQUESTS_MAX
            && let Some(oldest) = known.order.pop_front()
        {
            known.bodies.remove(&oldest);
        }
        known.order.push_back(id.to_owned());
        known.bodies.insert(id.to_owned(), hash);
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use seedbank_ledger::settlement::REQUEST_ID_LEN_MAX;
    use seedbank_proto::v1;

    use super::*;

    #[test]
    fn an_id_stands_for_one_body() {
        let requests = RecentRequests::default();
        let body = v1::AddTorrentRequest::default();
        let other = v1::AddTorrentRequest {
            stopped: true,
            ..body.clone()
        };
        requests.admit("a", &body).unwrap();
        requests.admit("a", &body).unwrap();
        let failure = requests.admit("a", &other).unwrap_err();
        assert_eq!(failure.reason, ErrorReason::RequestIdReused);
        let long = "x".repeat(REQUEST_ID_LEN_MAX + 1);
        assert!(requests.admit(&long, &body).is_err());
        for number in 0..REQUESTS_MAX {
            requests.admit(&number.to_string(), &body).unwrap();
        }
        requests.admit("a", &other).unwrap();
    }
}
