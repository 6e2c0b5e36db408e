//! `wallet`: the balance, why it is what it is, and moving it.

use std::time::Duration;

use prost_types::Timestamp;
use seedbank_proto::v1;
use seedbank_proto::v1::GroupBy;
use serde_json::{Value, json};

use super::args::{LinesBy, Payment, WalletCommand};
use super::table::{Align, TextTable};
use super::torrent::short;
use super::{App, request_id};
use crate::error::ClientError;
use crate::json::to_value;
use crate::time;
use crate::units::{bytes, credit, credit_change};

/// Entries asked for at once.
const PAGE_SIZE: u32 = 1_000;

pub(super) async fn run(app: &mut App<'_>, command: WalletCommand) -> Result<(), ClientError> {
    match command {
        WalletCommand::Balance => balance(app).await,
        WalletCommand::Explain { by, since } => explain(app, by, since).await,
        WalletCommand::History { limit } => history(app, limit).await,
        WalletCommand::Transfer(payment) => transfer(app, payment).await,
        WalletCommand::Grant { payment, reason } => grant(app, payment, reason).await,
        WalletCommand::Check => check(app).await,
    }
}

async fn balance(app: &mut App<'_>) -> Result<(), ClientError> {
    let mut client = app.client().await?;
    let answer = client.wallet.get_balance(v1::GetBalanceRequest {}).await?;
    let balance = answer.into_inner();
    app.printer.message(&balance, |page| {
        page.fact("free", credit(balance.free_microcredits));
        page.fact("set aside", credit(balance.set_aside_microcredits));
        page.fact("pending", credit(balance.pending_microcredits));
        page.fact("locked", credit(balance.locked_microcredits));
        page.fact("signed", credit(balance.signed_microcredits));
        page.fact("claimable", credit(balance.claimable_microcredits));
        let as_of = time::relative(balance.as_of_time, time::now());
        let reachable = if balance.settlement_reachable {
            "reachable"
        } else {
            "not reachable"
        };
        let sequence = balance.sequence;
        page.fact(
            "as of",
            format!("entry {sequence}, settled {as_of}, settlement {reachable}"),
        );
        page.fact("account", &balance.account);
        if let Some(supply) = &balance.supply {
            let [total, granted, burned] = [
                supply.total_microcredits,
                supply.granted_microcredits,
                supply.burned_microcredits,
            ]
            .map(credit);
            page.fact(
                "supply",
                format!("{total} in being: {granted} granted, {burned} burned"),
            );
        }
        page.next("seedbank wallet explain");
    })
}

async fn explain(
    app: &mut App<'_>,
    by: LinesBy,
    since: Option<Duration>,
) -> Result<(), ClientError> {
    let mut client = app.client().await?;
    let start_time = since.map(|since| Timestamp {
        seconds: time::now().saturating_sub_unsigned(since.as_secs()),
        nanos: 0,
    });
    let request = v1::ExplainBalanceRequest {
        group_by: by.to_proto().into(),
        start_time,
    };
    let answer = client.wallet.explain_balance(request).await?.into_inner();
    app.printer.message(&answer, |page| {
        page.table(&match by {
            LinesBy::Kind => by_kind(&answer),
            LinesBy::Peer | LinesBy::Torrent | LinesBy::Day => by_group(&answer),
        });
        page.line(format!("every entry up to {} is counted", answer.sequence));
        page.next("seedbank wallet history");
    })
}

/// One number of bytes and one of credit for each reason.
fn by_kind(answer: &v1::ExplainBalanceResponse) -> TextTable {
    let mut table = TextTable::new(&[
        ("", Align::Left),
        ("bytes", Align::Right),
        ("credit", Align::Right),
        ("entries", Align::Right),
    ]);
    let none = String::new;
    let opening = plain(answer.opening_microcredits);
    table.row(["opening balance".into(), none(), opening, none()]);
    for line in &answer.lines {
        table.row([
            line.label.clone(),
            some(line.payload_bytes, bytes),
            credit_change(line.delta_microcredits),
            line.entry_count.to_string(),
        ]);
    }
    let closing = plain(answer.closing_microcredits);
    table.row(["closing balance".into(), none(), closing, none()]);
    table
}

/// What was served and earned, received and spent with or for each.
fn by_group(answer: &v1::ExplainBalanceResponse) -> TextTable {
    let mut table = TextTable::new(&[
        ("", Align::Left),
        ("served", Align::Right),
        ("earned", Align::Right),
        ("received", Align::Right),
        ("spent", Align::Right),
        ("credit", Align::Right),
    ]);
    let total = |label: &str, amount| {
        let mut row = <[String; 6]>::default();
        label.clone_into(&mut row[0]);
        row[5] = plain(amount);
        row
    };
    table.row(total("opening balance", answer.opening_microcredits));
    for line in &answer.lines {
        table.row([
            line.label.clone(),
            some(line.given_bytes, bytes),
            some(line.earned_microcredits, plain),
            some(line.taken_bytes, bytes),
            some(line.spent_microcredits, plain),
            credit_change(line.delta_microcredits),
        ]);
    }
    table.row(total("closing balance", answer.closing_microcredits));
    table
}

/// Credit for a column that says so.
fn plain(amount: i64) -> String {
    credit(amount).trim_end_matches(" cr").to_owned()
}

/// A number that is left out if it is 0.
fn some(number: i64, shown: fn(i64) -> String) -> String {
    if number == 0 {
        String::new()
    } else {
        shown(number)
    }
}

async fn history(app: &mut App<'_>, limit: u32) -> Result<(), ClientError> {
    let mut client = app.client().await?;
    let mut entries = Vec::new();
    let mut page_token = String::new();
    let mut left = limit;
    while left > 0 {
        let page_size = left.min(PAGE_SIZE);
        let request = v1::ListEntriesRequest {
            page_size: i32::try_from(page_size).expect("a page has at most 1000 entries"),
            page_token,
            kinds: Vec::new(),
        };
        let answer = client.wallet.list_entries(request).await?.into_inner();
        entries.extend(answer.entries);
        left = left.saturating_sub(page_size);
        page_token = answer.next_page_token;
        if page_token.is_empty() {
            break;
        }
    }
    let documents: Vec<Value> = entries.iter().map(to_value).collect();
    app.printer
        .document(&json!({ "entries": documents }), |page| {
            if entries.is_empty() {
                page.line("no entries");
                return;
            }
            page.table(&table(&entries));
            page.next("seedbank wallet explain");
        })
}

async fn transfer(app: &mut App<'_>, payment: Payment) -> Result<(), ClientError> {
    let amount = credit(payment.amount);
    if !app.global.yes {
        let to = &payment.to;
        app.printer
            .confirm(&format!("Send {amount} to {to}? It cannot be taken back."))?;
    }
    let mut client = app.client().await?;
    let request_id = payment.request_id.map_or_else(request_id, Ok)?;
    let request = v1::TransferRequest {
        request_id: request_id.clone(),
        to: payment.to,
        amount_microcredits: payment.amount,
    };
    let answer = client.wallet.transfer(request).await?.into_inner();
    let mut document = to_value(&answer);
    document["request_id"] = json!(request_id);
    app.printer.document(&document, |page| {
        page.line(format!("{amount} on its way, order {}", answer.nonce));
        page.next("seedbank wallet history");
    })
}

async fn grant(app: &mut App<'_>, payment: Payment, reason: String) -> Result<(), ClientError> {
    let mut client = app.client().await?;
    let request_id = payment.request_id.map_or_else(request_id, Ok)?;
    let request = v1::GrantRequest {
        request_id: request_id.clone(),
        to: payment.to,
        amount_microcredits: payment.amount,
        reason,
    };
    let answer = client.wallet.grant(request).await?.into_inner();
    let mut document = to_value(&answer);
    document["request_id"] = json!(request_id);
    app.printer.document(&document, |page| {
        let (amount, sequence) = (credit(payment.amount), answer.sequence);
        page.line(format!(
            "granted {amount}, entry {sequence} of the network ledger"
        ));
    })
}

async fn check(app: &mut App<'_>) -> Result<(), ClientError> {
    let mut client = app.client().await?;
    let request = v1::CheckLedgerRequest {};
    let mut stream = client.wallet.check_ledger(request).await?.into_inner();
    let mut last = v1::CheckLedgerResponse::default();
    while let Some(step) = stream.message().await? {
        if app.printer.is_json() {
            app.printer.json_line(&to_value(&step))?;
        }
        last = step;
    }
    if !last.problem.is_empty() {
        return Err(ClientError::CheckFailed(last.problem));
    }
    if app.printer.is_json() {
        return Ok(());
    }
    let (checked, total) = (last.checked_count, last.total_count);
    app.printer
        .raw(format!("{checked} of {total} entries are right\n").as_bytes())
}

impl LinesBy {
    fn to_proto(self) -> GroupBy {
        match self {
            Self::Kind => GroupBy::Kind,
            Self::Peer => GroupBy::Peer,
            Self::Torrent => GroupBy::Torrent,
            Self::Day => GroupBy::Day,
        }
    }
}

fn table(entries: &[v1::Entry]) -> TextTable {
    let mut table = TextTable::new(&[
        ("entry", Align::Right),
        ("when", Align::Left),
        ("credit", Align::Right),
        ("bytes", Align::Right),
        ("peer", Align::Left),
        ("cause", Align::Left),
    ]);
    for entry in entries {
        table.row([
            entry.sequence.to_string(),
            time::minute(entry.create_time),
            credit_change(entry.delta_microcredits),
            if entry.payload_bytes == 0 {
                String::new()
            } else {
                bytes(entry.payload_bytes)
            },
            short(&entry.peer_key).to_owned(),
            match entry.reason.as_str() {
                "" => entry.cause.clone(),
                reason => format!("{}: {reason}", entry.cause),
            },
        ]);
    }
    table
}
