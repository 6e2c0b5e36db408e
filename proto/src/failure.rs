//! Errors as both sides see them: a canonical code and exactly one `google.rpc.ErrorInfo`, carried
//! in `grpc-status-details-bin` (AIP-193); one about a field of the request has a
//! `google.rpc.BadRequest` besides. Reasons are listed in `error_reason.proto`.

use std::collections::BTreeMap;
use std::fmt;
use std::time::Duration;

use prost::Message as _;
use tonic::{Code, Status};

use crate::v1::ErrorReason;

/// Domain of every reason.
pub const DOMAIN: &str = "seedbank";

const PREFIX: &str = "ERROR_REASON_";
const ERROR_INFO_URL: &str = "type.googleapis.com/google.rpc.ErrorInfo";
const BAD_REQUEST_URL: &str = "type.googleapis.com/google.rpc.BadRequest";
const RETRY_INFO_URL: &str = "type.googleapis.com/google.rpc.RetryInfo";

/// Why a call failed, before it is packed into a status or after it was unpacked from one.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Failure {
    /// The reason; its canonical code follows from it.
    pub reason: ErrorReason,
    /// For people; lower case, without a full stop.
    pub message: String,
    /// The values that clash, by name.
    pub metadata: BTreeMap<String, String>,
    /// When to try again, if waiting helps.
    pub retry_after: Option<Duration>,
}

impl Failure {
    /// A failure without metadata.
    pub fn new(reason: ErrorReason, message: impl fmt::Display) -> Self {
        Self {
            reason,
            message: message.to_string(),
            metadata: BTreeMap::new(),
            retry_after: None,
        }
    }

    /// Adds a value by name.
    #[must_use]
    pub fn with(mut self, name: &str, value: impl fmt::Display) -> Self {
        self.metadata.insert(name.to_owned(), value.to_string());
        self
    }

    /// Says when to try again.
    #[must_use]
    pub fn retry_after(mut self, delay: Duration) -> Self {
        self.retry_after = Some(delay);
        self
    }

    /// The failure inside a status, if this contract's server made it.
    pub fn of(status: &Status) -> Option<Self> {
        let details = rpc::Status::decode(status.details()).ok()?;
        let info: rpc::ErrorInfo = find(&details, ERROR_INFO_URL)?;
        let reason = ErrorReason::from_str_name(&format!("{PREFIX}{}", info.reason))?;
        let retry: Option<rpc::RetryInfo> = find(&details, RETRY_INFO_URL);
        (info.domain == DOMAIN).then(|| Self {
            reason,
            message: status.message().to_owned(),
            metadata: info.metadata,
            retry_after: retry
                .and_then(|retry| retry.retry_delay)
                .and_then(|delay| delay.try_into().ok()),
        })
    }
}

/// The name of a reason as `ErrorInfo` carries it.
pub fn name_of(reason: ErrorReason) -> &'static str {
    let name = reason.as_str_name();
    name.strip_prefix(PREFIX).unwrap_or(name)
}

/// The canonical code of a reason.
pub fn code_of(reason: ErrorReason) -> Code {
    match reason {
        ErrorReason::Unspecified => Code::Unknown,
        ErrorReason::BadMagnet
        | ErrorReason::BadMetainfo
        | ErrorReason::BadAmount
        | ErrorReason::BadPageToken
        | ErrorReason::BadField
        | ErrorReason::BadSignedBytes => Code::InvalidArgument,
        ErrorReason::TorrentUnknown
        | ErrorReason::BoostUnknown
        | ErrorReason::LockUnknown
        | ErrorReason::PathUnknown => Code::NotFound,
        ErrorReason::RequestIdReused => Code::AlreadyExists,
        ErrorReason::InsufficientCredit
        | ErrorReason::SpendingDisabled
        | ErrorReason::NoSettlement
        | ErrorReason::NotIssuer
        | ErrorReason::NotSettlementNode
        | ErrorReason::LedgerPoisoned
        | ErrorReason::NoMetainfo
        | ErrorReason::FilesTaken
        | ErrorReason::TorrentComplete
        | ErrorReason::TorrentPrivate
        | ErrorReason::Refused => Code::FailedPrecondition,
        ErrorReason::TokenMissing | ErrorReason::TokenUnknown => Code::Unauthenticated,
        ErrorReason::UidMismatch | ErrorReason::PathDenied => Code::PermissionDenied,
        ErrorReason::DiskFull
        | ErrorReason::TooManyWatches
        | ErrorReason::RateLimited
        | ErrorReason::QueueFull => Code::ResourceExhausted,
        ErrorReason::HistoryPruned | ErrorReason::HistoryAhead => Code::OutOfRange,
        ErrorReason::Starting | ErrorReason::ShuttingDown | ErrorReason::SettlementUnreachable => {
            Code::Unavailable
        }
        ErrorReason::StorageFailed => Code::Internal,
    }
}

impl From<Failure> for Status {
    fn from(failure: Failure) -> Self {
        let code = code_of(failure.reason);
        let info = rpc::ErrorInfo {
            reason: name_of(failure.reason).to_owned(),
            domain: DOMAIN.to_owned(),
            metadata: failure.metadata,
        };
        let mut details = vec![any(ERROR_INFO_URL, &info)];
        if let (Code::InvalidArgument, Some(field)) = (code, info.metadata.get("field")) {
            let violation = rpc::FieldViolation {
                field: field.clone(),
                description: failure.message.clone(),
            };
            let field_violations = vec![violation];
            details.push(any(BAD_REQUEST_URL, &rpc::BadRequest { field_violations }));
        }
        if let Some(delay) = failure.retry_after {
            let retry_delay = delay.try_into().ok();
            details.push(any(RETRY_INFO_URL, &rpc::RetryInfo { retry_delay }));
        }
        let packed = rpc::Status {
            code: code.into(),
            message: failure.message.clone(),
            details,
        };
        Self::with_details(code, failure.message, packed.encode_to_vec().into())
    }
}

fn any(url: &str, message: &impl prost::Message) -> prost_types::Any {
    prost_types::Any {
        type_url: url.to_owned(),
        value: message.encode_to_vec(),
    }
}

fn find<M: prost::Message + Default>(status: &rpc::Status, url: &str) -> Option<M> {
    let detail = status
        .details
        .iter()
        .find(|detail| detail.type_url == url)?;
    M::decode(detail.value.as_slice()).ok()
}

/// The messages of `google.rpc` that the contract needs.
mod rpc {
    use std::collections::BTreeMap;

    #[derive(Clone, PartialEq, prost::Message)]
    pub(super) struct Status {
        #[prost(int32, tag = "1")]
        pub code: i32,
        #[prost(string, tag = "2")]
        pub message: String,
        #[prost(message, repeated, tag = "3")]
        pub details: Vec<prost_types::Any>,
    }

    #[derive(Clone, PartialEq, prost::Message)]
    pub(super) struct ErrorInfo {
        #[prost(string, tag = "1")]
        pub reason: String,
        #[prost(string, tag = "2")]
        pub domain: String,
        #[prost(btree_map = "string, string", tag = "3")]
        pub metadata: BTreeMap<String, String>,
    }

    #[derive(Clone, PartialEq, prost::Message)]
    pub(super) struct BadRequest {
        #[prost(message, repeated, tag = "1")]
        pub field_violations: Vec<FieldViolation>,
    }

    #[derive(Clone, PartialEq, prost::Message)]
    pub(super) struct FieldViolation {
        #[prost(string, tag = "1")]
        pub field: String,
        #[prost(string, tag = "2")]
        pub description: String,
    }

    #[derive(Clone, PartialEq, prost::Message)]
    pub(super) struct RetryInfo {
        #[prost(message, optional, tag = "1")]
        pub retry_delay: Option<prost_types::Duration>,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_failure_survives_the_trip_through_a_status() {
        let failure = Failure::new(ErrorReason::InsufficientCredit, "needs 5 cr, has 1.2 cr")
            .with("needed", 5_000_000)
            .with("available", 1_200_000)
            .retry_after(Duration::from_secs(3));
        let status = Status::from(failure.clone());
        assert_eq!(status.code(), Code::FailedPrecondition);
        assert_eq!(Failure::of(&status), Some(failure));
    }

    #[test]
    fn a_failure_about_a_field_is_a_violation_of_it() {
        let failure = Failure::new(ErrorReason::BadField, "slots is not 1 to 5");
        let status = Status::from(failure.with("field", "slots"));
        let details = rpc::Status::decode(status.details()).unwrap();
        let found: rpc::BadRequest = find(&details, BAD_REQUEST_URL).unwrap();
        assert_eq!(found.field_violations[0].field, "slots");
        let plain = Status::from(Failure::new(ErrorReason::ShuttingDown, "bye"));
        let details = rpc::Status::decode(plain.details()).unwrap();
        assert!(find::<rpc::BadRequest>(&details, BAD_REQUEST_URL).is_none());
    }

    #[test]
    fn a_foreign_status_has_no_failure() {
        assert_eq!(Failure::of(&Status::internal("no details")), None);
        let garbage = Status::with_details(Code::Internal, "x", vec![0xFF; 9].into());
        assert_eq!(Failure::of(&garbage), None);
    }

    #[test]
    fn every_reason_but_the_zero_has_a_code_and_a_short_name() {
        for number in 1..=200 {
            if let Ok(reason) = ErrorReason::try_from(number) {
                assert_ne!(code_of(reason), Code::Unknown, "{reason:?}");
                assert!(!name_of(reason).starts_with("ERROR_"), "{reason:?}");
            }
        }
    }
}
