//! `WalletService`: the node's ledger, read; credit, moved.

use std::pin::Pin;
use std::sync::Arc;

use seedbank_engine::interface::command::{Command, CommandReply};
use seedbank_ledger::ledger::ENTRIES_MAX;
use seedbank_ledger::settlement::NewGrant;
use seedbank_ledger::signed::order::REASON_LEN_MAX;
use seedbank_ledger::{Sequence, UnixTime};
use seedbank_proto::v1::wallet_service_server::WalletService;
use seedbank_proto::{Failure, v1};
use tokio::sync::mpsc;
use tokio_stream::Stream;
use tokio_stream::wrappers::ReceiverStream;
use tonic::{Request, Response, Status};

use super::backend::{Backend, BalanceSheet, BooksError};
use super::{entry, error, explain, field, message};

/// Batches of entries read for one page at most, when few of them are of the kinds asked for.
const BATCHES_MAX: usize = 32;

/// Reads the node's ledger and moves its credit.
pub(super) struct WalletApi {
    pub(super) backend: Arc<dyn Backend>,
}

type Answer<T> = Result<Response<T>, Status>;

#[tonic::async_trait]
impl WalletService for WalletApi {
    async fn get_balance(
        &self,
        _: Request<v1::GetBalanceRequest>,
    ) -> Answer<v1::GetBalanceResponse> {
        let sheet = self.backend.balance().await;
        let sheet = sheet.map_err(|error| error::of_books(&error))?;
        let account = self.backend.info().node_id;
        Ok(Response::new(message::balance(&sheet, account)))
    }

    async fn explain_balance(
        &self,
        request: Request<v1::ExplainBalanceRequest>,
    ) -> Answer<v1::ExplainBalanceResponse> {
        let request = request.into_inner();
        let since = request
            .start_time
            .map_or(Ok(0), |time| u64::try_from(time.seconds));
        let since = since.map_err(|_| field::bad("start_time", "is before 1970"))?;
        let since = UnixTime::from_secs(since);
        let group_by = match request.group_by {
            0 => request.group_by(),
            raw => field::known("group_by", raw)?,
        };
        let answer = explain::explain(&*self.backend, group_by, since).await?;
        Ok(Response::new(answer))
    }

    async fn list_entries(
        &self,
        request: Request<v1::ListEntriesRequest>,
    ) -> Answer<v1::ListEntriesResponse> {
        Ok(Response::new(
            list(&*self.backend, request.get_ref()).await?,
        ))
    }

    async fn transfer(
        &self,
        request: Request<v1::TransferRequest>,
    ) -> Answer<v1::TransferResponse> {
        let request = request.into_inner();
        let command = Command::Transfer {
            request_id: field::request_id(&request.request_id)?.to_owned(),
            to: field::node_id("to", &request.to)?,
            amount: field::amount("amount_microcredits", request.amount_microcredits)?,
        };
        let reply = self.backend.command(command).await;
        match reply.map_err(|error| error::of_command(&error))? {
            CommandReply::Transfer { nonce } => Ok(Response::new(v1::TransferResponse {
                nonce: message::number(nonce),
            })),
            CommandReply::Done | CommandReply::Torrent(_) | CommandReply::Boost(_) => {
                Err(Status::internal("the session gave no nonce"))
            }
        }
    }

    async fn grant(&self, request: Request<v1::GrantRequest>) -> Answer<v1::GrantResponse> {
        let request = request.into_inner();
        if request.reason.len() > REASON_LEN_MAX {
            let len = request.reason.len();
            let problem = format!("must be at most {REASON_LEN_MAX} bytes long, not {len}");
            return Err(field::bad("reason", problem).into());
        }
        let grant = NewGrant {
            request_id: field::request_id(&request.request_id)?.to_owned(),
            to: field::node_id("to", &request.to)?,
            amount: field::amount("amount_microcredits", request.amount_microcredits)?,
            reason: request.reason,
        };
        let granted = self.backend.grant(grant).await;
        let granted = granted.map_err(|error| error::of_grant(&error))?;
        Ok(Response::new(v1::GrantResponse {
            sequence: message::number(granted.sequence.get()),
            entry_hash: granted.entry_hash.to_string(),
            nonce: message::number(granted.nonce),
        }))
    }

    type CheckLedgerStream =
        Pin<Box<dyn Stream<Item = Result<v1::CheckLedgerResponse, Status>> + Send>>;

    async fn check_ledger(
        &self,
        _: Request<v1::CheckLedgerRequest>,
    ) -> Answer<Self::CheckLedgerStream> {
        let sheet = self.backend.balance().await;
        let sheet = sheet.map_err(|error| error::of_books(&error))?;
        let total_count = message::number(entry_count(&sheet));
        let (sender, receiver) = mpsc::channel(2);
        let started = v1::CheckLedgerResponse {
            total_count,
            ..v1::CheckLedgerResponse::default()
        };
        // Neither send can fail while the receiver is ours; later, nobody is left to tell.
        let _ = sender.send(Ok(started)).await;
        let backend = self.backend.clone();
        tokio::spawn(async move {
            let result = check(&*backend, total_count).await;
            let _ = sender.send(result.map_err(Status::from)).await;
        });
        Ok(Response::new(Box::pin(ReceiverStream::new(receiver))))
    }
}

async fn check(
    backend: &dyn Backend,
    total_count: i64,
) -> Result<v1::CheckLedgerResponse, Failure> {
    match backend.check_ledger().await {
        Ok(report) => {
            let checked_count = message::number(report.entry_count);
            Ok(v1::CheckLedgerResponse {
                checked_count,
                // Entries may have come in meanwhile.
                total_count: total_count.max(checked_count),
                problem: String::new(),
            })
        }
        Err(BooksError::Check(problem)) => Ok(v1::CheckLedgerResponse {
            checked_count: 0,
            total_count,
            problem: problem.to_string(),
        }),
        Err(other) => Err(error::of_books(&other)),
    }
}

fn entry_count(sheet: &BalanceSheet) -> u64 {
    sheet.head.map_or(0, |last| last.next().get())
}

/// A page of entries, newest first; the token is the sequence of the last of them.
async fn list(
    backend: &dyn Backend,
    request: &v1::ListEntriesRequest,
) -> Result<v1::ListEntriesResponse, Failure> {
    field::all_known::<v1::EntryKind>("kinds", &request.kinds)?;
    let size = field::page_size(request.page_size)?;
    let before = field::page_token(&request.page_token, |text| text.parse::<u64>().ok())?;
    let sheet = backend.balance().await;
    let sheet = sheet.map_err(|error| error::of_books(&error))?;
    let mut end = entry_count(&sheet).min(before.unwrap_or(u64::MAX));
    let own = backend.info().node_id;
    let mut entries = Vec::new();
    for _ in 0..BATCHES_MAX {
        let batch_len = if request.kinds.is_empty() {
            size.saturating_sub(entries.len())
        } else {
            ENTRIES_MAX
        };
        let len = u64::try_from(batch_len).unwrap_or(u64::MAX).min(end);
        if len == 0 {
            break;
        }
        let start = end - len;
        let batch = backend.entries(
            Sequence::new(start),
            usize::try_from(len).unwrap_or(usize::MAX),
        );
        let batch = batch.await.map_err(|error| error::of_books(&error))?;
        let in_range = |entry: &v1::Entry| entry.sequence < message::number(end);
        let shown = batch
            .iter()
            .rev()
            .map(|(one, cause)| entry::entry(one, cause, own));
        for entry in shown.filter(in_range) {
            if entries.len() == size {
                break;
            }
            if request.kinds.is_empty() || request.kinds.contains(&entry.kind) {
                entries.push(entry);
            }
        }
        end = match entries.last() {
            Some(last) if entries.len() == size => u64::try_from(last.sequence).unwrap_or(start),
            Some(_) | None => start,
        };
        if entries.len() == size {
            break;
        }
    }
    Ok(v1::ListEntriesResponse {
        entries,
        next_page_token: if end == 0 {
            String::new()
        } else {
            end.to_string()
        },
    })
}
