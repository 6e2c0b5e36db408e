//! `seedbankd ledger`: an audit of the books, and an account of them, while no daemon runs.

use std::io::{self, Write};

use seedbank_ledger::UnixTime;
use seedbank_ledger::charts::network::Audit;
use seedbank_ledger::charts::node::{Grouping, NodeLedger};
use seedbank_ledger::ledger::LedgerError;
use seedbank_ledger::ledger::check::CheckReport;
use seedbank_ledger::store::Store;
use seedbank_proto::v1::ExplainBalanceResponse;

use super::CliFailure;
use crate::books::network::NetworkBook;
use crate::books::{AnyStore, open_store_to_read};
use crate::host::config::{Config, StoreKind};
use crate::host::datadir::DataDir;
use crate::host::keys;
use crate::rpc::explain::{Names, by_group, by_reason};

/// What the lines of an explanation are grouped by.
#[derive(Clone, Copy, Debug, PartialEq, Eq, clap::ValueEnum)]
pub(super) enum ExplainBy {
    /// What happened: granted, earned, spent and so on
    Kind,
    /// The other side's key
    Peer,
    /// The torrent
    Torrent,
    /// The UTC day
    Day,
}

/// Makes every ledger of the data folder again from its entries and compares.
pub(super) fn check(config: &Config, out: &mut impl Write) -> Result<(), CliFailure> {
    let (data_dir, ledger) = open(config)?;
    report(
        "node",
        &ledger.check().map_err(CliFailure::verification)?,
        out,
    )?;

    let (Some(role), Some(genesis)) = (&config.settlement_role, config.read_genesis()?) else {
        return Ok(());
    };
    let key = keys::load(&role.key).map_err(CliFailure::failed)?;
    let book = NetworkBook::new(&data_dir, config.store, genesis);
    let ledger = book.open_to_read(key).map_err(CliFailure::verification)?;
    let audit = ledger.audit().map_err(CliFailure::verification)?;
    report("network", &audit.report, out)?;
    sums(&audit, out)
}

/// Says where the node's credit came from.
pub(super) fn explain(
    config: &Config,
    by: ExplainBy,
    out: &mut impl Write,
) -> Result<(), CliFailure> {
    let (_data_dir, ledger) = open(config)?;
    let answer = explained(&ledger, by).map_err(CliFailure::verification)?;
    Ok(account(&answer, out)?)
}

/// The node's own ledger; nobody else has the data folder while it is held.
fn open(config: &Config) -> Result<(DataDir, NodeLedger<AnyStore>), CliFailure> {
    let folder = &config.data_dir;
    if config.store == StoreKind::Memory || !folder.join("ledger").exists() {
        let folder = folder.display();
        return Err(CliFailure::not_found(format!("no ledger in {folder}")));
    }
    let data_dir = DataDir::open(folder)?;
    let identity = keys::load(&data_dir.identity_key()).map_err(CliFailure::failed)?;
    let store = open_store_to_read(config.store, &data_dir.ledger());
    let store = store.map_err(CliFailure::failed)?;
    let ledger = NodeLedger::open_to_read(store, identity.id());
    Ok((data_dir, ledger.map_err(CliFailure::verification)?))
}

/// What the running node would answer, but for the names of torrents.
fn explained<S: Store>(
    ledger: &NodeLedger<S>,
    by: ExplainBy,
) -> Result<ExplainBalanceResponse, LedgerError> {
    let grouping = match by {
        ExplainBy::Kind => return Ok(by_reason(&ledger.explain(UnixTime::ZERO)?)),
        ExplainBy::Peer => Grouping::Peer,
        ExplainBy::Torrent => Grouping::Subject,
        ExplainBy::Day => Grouping::Day,
    };
    let breakdown = ledger.explain_by(grouping, UnixTime::ZERO)?;
    Ok(by_group(&breakdown, grouping, &Names::new()))
}

fn account(answer: &ExplainBalanceResponse, out: &mut impl Write) -> io::Result<()> {
    writeln!(out, "opening {} µcr", answer.opening_microcredits)?;
    for line in &answer.lines {
        writeln!(
            out,
            "  {:+} µcr, {} bytes, {} entries: {}",
            line.delta_microcredits, line.payload_bytes, line.entry_count, line.label
        )?;
    }
    let (closing, sequence) = (answer.closing_microcredits, answer.sequence);
    writeln!(out, "closing {closing} µcr at entry {sequence}")
}

fn sums(audit: &Audit, out: &mut impl Write) -> Result<(), CliFailure> {
    let Audit {
        granted,
        burned,
        available,
        escrow,
        locks_open,
        ..
    } = audit;
    let paid: u128 = audit
        .claimed
        .values()
        .map(|sum| u128::from(sum.get()))
        .sum();
    writeln!(out, "  granted {granted} µcr, burned {burned} µcr")?;
    writeln!(
        out,
        "  free {available} µcr, in {locks_open} open locks {escrow} µcr"
    )?;
    writeln!(out, "  claims paid {paid} µcr")?;
    if audit.is_conserved() {
        Ok(())
    } else {
        Err(CliFailure::verification("credit is not conserved"))
    }
}

fn report(name: &str, report: &CheckReport, out: &mut impl Write) -> Result<(), CliFailure> {
    let CheckReport {
        entry_count,
        head,
        row_count,
        signed_head_count,
    } = report;
    writeln!(
        out,
        "{name} ledger: {entry_count} entries and {row_count} rows add up"
    )?;
    writeln!(out, "  head {} {}", head.next, head.hash)?;
    if *signed_head_count > 0 {
        writeln!(
            out,
            "  signed after {signed_head_count} groups, the last included"
        )?;
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use seedbank_ledger::charts::node::NodeCommand;
    use seedbank_ledger::store::Memory;
    use seedbank_ledger::{Bytes, Identity};

    use super::*;

    #[test]
    fn the_books_of_a_stopped_node_explain_themselves_whatever_they_are_grouped_by() {
        let [own, peer] = [1, 2].map(|byte| Identity::from_secret([byte; 32]).id());
        let now = UnixTime::from_secs(1_700_000_000);
        let mut ledger = NodeLedger::open(Memory::new(), own, None, now).unwrap();
        let bytes = Bytes::new(7);
        let unpaid = NodeCommand::WriteOff { peer, bytes };
        ledger.append(now, &[unpaid.clone(), unpaid]).unwrap();
        let peer = peer.to_string();
        for (by, label) in [
            (ExplainBy::Kind, "served, never paid for"),
            (ExplainBy::Peer, &peer[..10]),
            (ExplainBy::Torrent, "no torrent"),
            (ExplainBy::Day, "2023-11-14"),
        ] {
            let mut out = Vec::new();
            account(&explained(&ledger, by).unwrap(), &mut out).unwrap();
            let said = String::from_utf8(out).unwrap();
            let lines: Vec<&str> = said.lines().collect();
            assert_eq!(lines[0], "opening 0 µcr");
            let entries = match by {
                // The genesis is nobody's, but of a day, and of no torrent either.
                ExplainBy::Torrent | ExplainBy::Day => 3,
                ExplainBy::Kind | ExplainBy::Peer => 2,
            };
            let line = format!("  +0 µcr, 14 bytes, {entries} entries: {label}");
            assert_eq!(lines[1], line);
            assert_eq!(lines[2..], ["closing 0 µcr at entry 2"]);
        }
    }
}
