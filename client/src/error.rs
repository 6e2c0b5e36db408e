//! What can go wrong, the exit code it means, and how it is shown: a line, or JSON.

use std::io;

use seedbank_proto::Failure;
use seedbank_proto::failure::name_of;
use seedbank_proto::v1::ErrorReason;
use serde_json::{Value, json};
use tonic::{Code, Status};

/// Message with which tonic's own deadline ends a call.
const TIMEOUT_MESSAGE: &str = "Timeout expired";

/// Why a command failed.
#[derive(Debug, thiserror::Error)]
pub enum ClientError {
    /// The command line makes no sense.
    #[error("{0}")]
    Usage(String),
    /// Nobody answers at the address.
    #[error("cannot reach seedbankd at {address}: {reason}")]
    Unreachable {
        /// Where it should be.
        address: String,
        /// What the system said.
        reason: String,
    },
    /// The daemon refused or failed.
    #[error("{}", in_flags(.0))]
    Call(Box<Status>),
    /// No torrent fits the name given.
    #[error("no torrent is called {0:?}")]
    TorrentUnknown(String),
    /// It took too long.
    #[error("timed out {0}")]
    TimedOut(String),
    /// A check found something wrong.
    #[error("{0}")]
    CheckFailed(String),
    /// A torrent stopped with an error while we waited.
    #[error("{0}")]
    TorrentFailed(String),
    /// A local file could not be read or written.
    #[error("{path}: {source}")]
    File {
        /// Which file.
        path: String,
        /// What the system said.
        source: io::Error,
    },
    /// A web server did not give a .torrent file.
    #[error("cannot fetch {url}: {problem}")]
    Fetch {
        /// Which, without what may be secret.
        url: String,
        /// What went wrong.
        problem: String,
    },
    /// Output could not be written.
    #[error("cannot write output: {0}")]
    Output(#[from] io::Error),
}

impl ClientError {
    /// Exit code: 1 refused or failed, 2 usage, 3 unreachable, 4 not allowed, 5 not found,
    /// 6 not enough credit, 7 timed out, 8 verification failed. An interrupt keeps its signal,
    /// which shells show as 130.
    pub fn exit_code(&self) -> u8 {
        match self {
            Self::TorrentFailed(_) | Self::File { .. } | Self::Fetch { .. } | Self::Output(_) => 1,
            Self::Usage(_) => 2,
            Self::Unreachable { .. } => 3,
            Self::TorrentUnknown(_) => 5,
            Self::TimedOut(_) => 7,
            Self::CheckFailed(_) => 8,
            Self::Call(status) => exit_code_of(status),
        }
    }

    /// The document that `--json` prints on standard error.
    pub fn to_json(&self) -> Value {
        let failure = match self {
            Self::Call(status) => Failure::of(status),
            _ => None,
        };
        let metadata = failure.as_ref().map(|failure| &failure.metadata);
        json!({ "error": {
            "code": self.code(),
            "reason": self.reason(),
            "message": self.to_string(),
            "metadata": metadata.cloned().unwrap_or_default(),
            "help": self.help().unwrap_or_default(),
        }})
    }

    /// The command that shows what is wrong, if there is one.
    pub fn help(&self) -> Option<&'static str> {
        match self {
            Self::Usage(_) => Some("seedbank --help"),
            Self::Unreachable { .. } => Some("seedbankd run"),
            Self::TorrentUnknown(_) => Some("seedbank ls"),
            Self::Call(status) => help_of(Failure::of(status)?.reason),
            Self::TimedOut(_)
            | Self::CheckFailed(_)
            | Self::TorrentFailed(_)
            | Self::File { .. }
            | Self::Fetch { .. }
            | Self::Output(_) => None,
        }
    }

    fn reason(&self) -> &'static str {
        match self {
            Self::Usage(_) => "USAGE",
            Self::Unreachable { .. } => "UNREACHABLE",
            Self::TorrentUnknown(_) => name_of(ErrorReason::TorrentUnknown),
            Self::TimedOut(_) => "TIMED_OUT",
            Self::CheckFailed(_) => "CHECK_FAILED",
            Self::TorrentFailed(_) => "TORRENT_FAILED",
            Self::File { .. } | Self::Output(_) => "FILE",
            Self::Fetch { .. } => "FETCH",
            Self::Call(status) => Failure::of(status).map_or("", |failure| name_of(failure.reason)),
        }
    }

    fn code(&self) -> &'static str {
        match self {
            Self::Usage(_) => name_of_code(Code::InvalidArgument),
            Self::Unreachable { .. } => name_of_code(Code::Unavailable),
            Self::TorrentUnknown(_) => name_of_code(Code::NotFound),
            Self::TimedOut(_) => name_of_code(Code::DeadlineExceeded),
            Self::CheckFailed(_) => name_of_code(Code::DataLoss),
            Self::TorrentFailed(_) => name_of_code(Code::Aborted),
            Self::File { .. } | Self::Fetch { .. } | Self::Output(_) => name_of_code(Code::Unknown),
            Self::Call(status) => name_of_code(status.code()),
        }
    }
}

impl From<Status> for ClientError {
    fn from(status: Status) -> Self {
        let ended_by_us = status.code() == Code::Cancelled && status.message() == TIMEOUT_MESSAGE;
        if ended_by_us || status.code() == Code::DeadlineExceeded {
            return Self::TimedOut("waiting for the daemon's answer".to_owned());
        }
        Self::Call(Box::new(status))
    }
}

/// What the daemon said, with its name for a field replaced by what the user wrote.
fn in_flags(status: &Status) -> String {
    let message = status.message();
    let failure = Failure::of(status);
    let field = failure.and_then(|failure| failure.metadata.get("field").cloned());
    let in_words = field.and_then(|field| {
        let rest = message.strip_prefix(field.as_str())?;
        Some(format!("{}{rest}", flag_of(&field)?))
    });
    in_words.unwrap_or_else(|| message.to_owned())
}

/// The flag, or the word in the usage, behind a field of the contract.
fn flag_of(field: &str) -> Option<&'static str> {
    Some(match field {
        "addresses" => "--add",
        "amount_microcredits" | "amount" => "AMOUNT",
        "bid_microcredits_per_gib" | "bid" => "--bid",
        "boost_id" => "BOOST_ID",
        "comment" => "--comment",
        "download_dir" => "--dir",
        "download_limit_bytes_per_second" => "download-limit",
        "from_sequence" => "--from",
        "info_hash" => "ID",
        "initial_peers" => "--peer",
        "magnet" => "SRC",
        "max_microcredits" | "max" => "--max",
        "max_spend_per_day_microcredits" => "max-per-day",
        "min_rate_microcredits_per_gib" => "min-rate",
        "open_share_percent" => "open-share",
        "paid_rule" => "rule",
        "path" => "PATH",
        "piece_bytes" => "--piece",
        "request_id" => "--request-id",
        "reason" => "--reason",
        "slot_count" => "slots",
        "start_time" => "--since",
        "time_to_live" => "--for",
        "to" => "TO",
        "trackers" => "--tracker",
        "upload_limit_bytes_per_second" => "upload-limit",
        _ => return None,
    })
}

fn exit_code_of(status: &Status) -> u8 {
    let failure = Failure::of(status);
    match (status.code(), failure.map(|failure| failure.reason)) {
        (_, Some(ErrorReason::InsufficientCredit)) => 6,
        (Code::Unavailable, None) => 3,
        (Code::Unauthenticated | Code::PermissionDenied, _) => 4,
        (Code::NotFound, _) => 5,
        (Code::DataLoss, _) => 8,
        (_, _) => 1,
    }
}

fn help_of(reason: ErrorReason) -> Option<&'static str> {
    match reason {
        ErrorReason::InsufficientCredit | ErrorReason::Refused => Some("seedbank wallet balance"),
        ErrorReason::SpendingDisabled => Some("seedbank policy set spend=on"),
        ErrorReason::TorrentUnknown
        | ErrorReason::FilesTaken
        | ErrorReason::TorrentComplete
        | ErrorReason::TorrentPrivate => Some("seedbank ls"),
        ErrorReason::BoostUnknown => Some("seedbank boost list"),
        ErrorReason::TokenMissing | ErrorReason::TokenUnknown => {
            Some("seedbank --token-file DATA_DIR/api.token status")
        }
        ErrorReason::LedgerPoisoned => Some("seedbankd ledger check"),
        ErrorReason::HistoryPruned => Some("seedbank events --from 0"),
        _ => None,
    }
}

fn name_of_code(code: Code) -> &'static str {
    match code {
        Code::Ok => "OK",
        Code::Cancelled => "CANCELLED",
        Code::Unknown => "UNKNOWN",
        Code::InvalidArgument => "INVALID_ARGUMENT",
        Code::DeadlineExceeded => "DEADLINE_EXCEEDED",
        Code::NotFound => "NOT_FOUND",
        Code::AlreadyExists => "ALREADY_EXISTS",
        Code::PermissionDenied => "PERMISSION_DENIED",
        Code::ResourceExhausted => "RESOURCE_EXHAUSTED",
        Code::FailedPrecondition => "FAILED_PRECONDITION",
        Code::Aborted => "ABORTED",
        Code::OutOfRange => "OUT_OF_RANGE",
        Code::Unimplemented => "UNIMPLEMENTED",
        Code::Internal => "INTERNAL",
        Code::Unavailable => "UNAVAILABLE",
        Code::DataLoss => "DATA_LOSS",
        Code::Unauthenticated => "UNAUTHENTICATED",
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn exit_codes_are_those_of_the_manual() {
        let call = |reason| ClientError::from(Status::from(Failure::new(reason, "x"))).exit_code();
        assert_eq!(call(ErrorReason::RequestIdReused), 1);
        assert_eq!(call(ErrorReason::TokenMissing), 4);
        assert_eq!(call(ErrorReason::UidMismatch), 4);
        assert_eq!(call(ErrorReason::TorrentUnknown), 5);
        assert_eq!(call(ErrorReason::InsufficientCredit), 6);
        assert_eq!(call(ErrorReason::ShuttingDown), 1);
        assert_eq!(
            ClientError::from(Status::unavailable("gone")).exit_code(),
            3
        );
        assert_eq!(
            ClientError::from(Status::cancelled(TIMEOUT_MESSAGE)).exit_code(),
            7
        );
        assert_eq!(
            ClientError::from(Status::deadline_exceeded("late")).exit_code(),
            7
        );
        assert_eq!(ClientError::Usage(String::new()).exit_code(), 2);
        assert_eq!(ClientError::CheckFailed(String::new()).exit_code(), 8);
    }

    #[test]
    fn a_bad_field_is_named_as_the_user_wrote_it() {
        let said = |field: &str, problem: &str| {
            let failure = Failure::new(ErrorReason::BadField, format!("{field} {problem}"));
            ClientError::from(Status::from(failure.with("field", field))).to_string()
        };
        assert_eq!(
            said("slot_count", "must be 1 to 1000, not 0"),
            "slots must be 1 to 1000, not 0"
        );
        assert_eq!(said("initial_peers", "must be"), "--peer must be");
        assert_eq!(said("amount", "must be"), "AMOUNT must be");
        // A field of some later daemon keeps its name, and so does a sentence about none.
        assert_eq!(said("novel_field", "is odd"), "novel_field is odd");
        assert_eq!(said("", "is odd"), " is odd");
    }

    #[test]
    fn every_field_of_a_request_that_a_command_fills_has_a_flag() {
        let commands = [
            "AddTorrentRequest",
            "AddPeersRequest",
            "CreateMetainfoRequest",
            "CreateBoostRequest",
            "TransferRequest",
            "GrantRequest",
            "Policy",
        ];
        // Switches cannot be wrong, and these are not for people to write.
        let apart = [
            "ask_microcredits_per_gib",
            "earn",
            "friends",
            "metainfo",
            "private",
            "spend",
            "stopped",
        ];
        let pool = prost_reflect::DescriptorPool::decode(seedbank_proto::FILE_DESCRIPTOR_SET);
        let pool = pool.unwrap();
        for command in commands {
            let message = pool.get_message_by_name(&format!("seedbank.v1.{command}"));
            for field in message.unwrap().fields() {
                let name = field.name();
                let named = flag_of(name).is_some() || apart.contains(&name);
                assert!(named, "{command}.{name}");
            }
        }
    }

    #[test]
    fn json_errors_carry_code_reason_metadata_and_help() {
        let failure = Failure::new(ErrorReason::InsufficientCredit, "needs more")
            .with("needed", 5)
            .with("available", 1);
        let error = ClientError::from(Status::from(failure));
        assert_eq!(
            error.to_json(),
            json!({"error": {
                "code": "FAILED_PRECONDITION",
                "reason": "INSUFFICIENT_CREDIT",
                "message": "needs more",
                "metadata": {"needed": "5", "available": "1"},
                "help": "seedbank wallet balance",
            }})
        );
    }
}
