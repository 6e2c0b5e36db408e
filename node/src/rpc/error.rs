//! The node's errors as reasons of the contract.

use std::io;

use seedbank_engine::interface::command::{AddError, CommandError, CreditError};
use seedbank_engine::units::TorrentId;
use seedbank_ledger::settlement::IssueError;
use seedbank_proto::Failure;
use seedbank_proto::v1::ErrorReason;

use crate::events::EventsMissing;
use crate::rpc::backend::{BooksError, Stopping, TorrentError};
use crate::rpc::message;
use crate::settlement::{GrantError, KeeperError};

pub(super) fn of_command(error: &CommandError) -> Failure {
    match error {
        CommandError::TorrentUnknown(torrent_id) => {
            Failure::new(ErrorReason::TorrentUnknown, error).with("info_hash", torrent_id)
        }
        CommandError::BadValue { field, .. } => {
            Failure::new(ErrorReason::BadField, error).with("field", field)
        }
        CommandError::ShuttingDown => Failure::new(ErrorReason::ShuttingDown, error),
        CommandError::Add(error) => of_add(error),
        CommandError::Credit(error) => of_credit(error),
    }
}

fn of_credit(error: &CreditError) -> Failure {
    let failure = |reason| Failure::new(reason, error);
    match error {
        CreditError::BoostUnknown(boost) => {
            failure(ErrorReason::BoostUnknown).with("boost_id", boost)
        }
        CreditError::RequestIdReused(id) => {
            failure(ErrorReason::RequestIdReused).with("request_id", id)
        }
        CreditError::TorrentComplete(torrent_id) => {
            failure(ErrorReason::TorrentComplete).with("info_hash", torrent_id)
        }
        CreditError::TorrentPrivate(torrent_id) => {
            failure(ErrorReason::TorrentPrivate).with("info_hash", torrent_id)
        }
        CreditError::SpendingDisabled => failure(ErrorReason::SpendingDisabled),
        CreditError::InsufficientCredit { needed, available } => {
            failure(ErrorReason::InsufficientCredit)
                .with("needed", needed.get())
                .with("free", available.free.get())
                .with("set_aside", available.set_aside.get())
                .with("pending", available.pending.get())
        }
        CreditError::TransferTooSmall { .. } => {
            failure(ErrorReason::BadAmount).with("field", "amount")
        }
        CreditError::NoSettlement | CreditError::LedgerWentBack(_) => {
            failure(ErrorReason::NoSettlement)
        }
        CreditError::BadValue { field, .. } => failure(ErrorReason::BadField).with("field", field),
        CreditError::ShuttingDown => failure(ErrorReason::ShuttingDown),
    }
}

pub(super) fn of_add(error: &AddError) -> Failure {
    match error {
        AddError::Metainfo(_) => Failure::new(ErrorReason::BadMetainfo, error),
        AddError::Magnet(_) => Failure::new(ErrorReason::BadMagnet, error),
        AddError::TooMany => Failure::new(ErrorReason::BadField, error).with("field", "torrents"),
        AddError::SameFiles { path, other, .. } => Failure::new(ErrorReason::FilesTaken, error)
            .with("path", path.display())
            .with("info_hash", other),
        AddError::PathInTheWay(path) => Failure::new(ErrorReason::BadField, error)
            .with("field", "download_dir")
            .with("path", path.display()),
        AddError::Record { kind, .. } => Failure::new(reason_of(*kind), error),
        AddError::ShuttingDown => Failure::new(ErrorReason::ShuttingDown, error),
    }
}

pub(super) fn of_torrent(error: &TorrentError) -> Failure {
    match error {
        TorrentError::BadField { field, .. } => {
            Failure::new(ErrorReason::BadField, error).with("field", field)
        }
        TorrentError::Unknown(torrent_id) => torrent_unknown(*torrent_id),
        TorrentError::NoMetainfo(torrent_id) => {
            Failure::new(ErrorReason::NoMetainfo, error).with("info_hash", torrent_id)
        }
        TorrentError::Io { path, source } => {
            Failure::new(reason_of(source.kind()), error).with("path", path.display())
        }
        TorrentError::Command(command) => of_command(command),
    }
}

pub(super) fn torrent_unknown(torrent_id: TorrentId) -> Failure {
    Failure::new(
        ErrorReason::TorrentUnknown,
        format!("no torrent {torrent_id}"),
    )
    .with("info_hash", torrent_id)
}

pub(super) fn boost_unknown(boost: u64) -> Failure {
    Failure::new(ErrorReason::BoostUnknown, format!("no boost {boost}")).with("boost_id", boost)
}

pub(super) fn of_stopping(stopping: Stopping) -> Failure {
    Failure::new(ErrorReason::ShuttingDown, stopping)
}

/// What was set cannot be kept, and so is not in force.
pub(super) fn of_unkept(error: &io::Error) -> Failure {
    let message = format!("the policy cannot be kept across restarts, nothing is changed: {error}");
    Failure::new(reason_of(error.kind()), message)
}

pub(super) fn of_missing(missing: EventsMissing) -> Failure {
    match missing {
        EventsMissing::Pruned { oldest, .. } => {
            Failure::new(ErrorReason::HistoryPruned, missing).with("oldest", oldest)
        }
        EventsMissing::Ahead { next, .. } => {
            Failure::new(ErrorReason::HistoryAhead, missing).with("next", next)
        }
    }
}

pub(super) fn of_books(error: &BooksError) -> Failure {
    let reason = match error {
        BooksError::Ledger(_) | BooksError::Check(_) => ErrorReason::LedgerPoisoned,
        BooksError::Stopping(_) => ErrorReason::ShuttingDown,
    };
    Failure::new(reason, error)
}

pub(super) fn of_grant(error: &GrantError) -> Failure {
    match error {
        GrantError::Issue(IssueError::NotIssuer) => Failure::new(ErrorReason::NotIssuer, error),
        GrantError::Issue(IssueError::RequestIdReused(id)) => {
            Failure::new(ErrorReason::RequestIdReused, error).with("request_id", id)
        }
        GrantError::Issue(IssueError::BadRequestId(_)) => {
            Failure::new(ErrorReason::BadField, error).with("field", "request_id")
        }
        GrantError::Issue(IssueError::BadReason(_)) => {
            Failure::new(ErrorReason::BadField, error).with("field", "reason")
        }
        GrantError::Issue(IssueError::Refused(refusal)) => {
            let name = message::refusal(Some(*refusal)).as_str_name();
            let name = name.strip_prefix("REFUSAL_").unwrap_or(name);
            Failure::new(ErrorReason::Refused, error).with("refusal", name)
        }
        GrantError::Issue(IssueError::Ledger(_)) => {
            Failure::new(ErrorReason::LedgerPoisoned, error)
        }
        GrantError::Busy(_) => Failure::new(ErrorReason::QueueFull, error),
        GrantError::Stopping(_) => Failure::new(ErrorReason::ShuttingDown, error),
    }
}

pub(super) fn of_keeper(error: &KeeperError) -> Failure {
    let reason = match error {
        KeeperError::Busy => ErrorReason::QueueFull,
        KeeperError::Ledger(_) => ErrorReason::LedgerPoisoned,
        KeeperError::Closed => ErrorReason::ShuttingDown,
    };
    Failure::new(reason, error)
}

fn reason_of(kind: io::ErrorKind) -> ErrorReason {
    match kind {
        io::ErrorKind::NotFound => ErrorReason::PathUnknown,
        io::ErrorKind::PermissionDenied | io::ErrorKind::ReadOnlyFilesystem => {
            ErrorReason::PathDenied
        }
        io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded => ErrorReason::DiskFull,
        _ => ErrorReason::StorageFailed,
    }
}
