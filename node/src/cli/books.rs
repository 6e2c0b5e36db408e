//! `seedbankd ledger check`: an audit of the books while no daemon runs.

use std::io::Write;

use seedbank_ledger::charts::network::{Audit, NetworkLedger};
use seedbank_ledger::charts::node::NodeLedger;
use seedbank_ledger::ledger::check::CheckReport;

use super::Failure;
use crate::books::open_store;
use crate::host::clock::unix_now;
use crate::host::config::{Config, StoreKind};
use crate::host::datadir::DataDir;
use crate::host::keys;

/// Makes every ledger of the data folder again from its entries and compares.
pub(super) fn check(config: &Config, out: &mut impl Write) -> Result<(), Failure> {
    let folder = &config.data_dir;
    if config.store == StoreKind::Memory || !folder.join("ledger").exists() {
        let folder = folder.display();
        return Err(Failure::not_found(format!("no ledger in {folder}")));
    }
    let data_dir = DataDir::open(folder)?;
    let identity = keys::load(&data_dir.identity_key()).map_err(Failure::failed)?;
    let store = open_store(config.store, &data_dir.ledger()).map_err(Failure::failed)?;
    let ledger = NodeLedger::open(store, identity.id(), None, unix_now());
    let ledger = ledger.map_err(Failure::verification)?;
    report("node", &ledger.check().map_err(Failure::verification)?, out)?;

    let (Some(role), Some(genesis)) = (&config.settlement_role, config.read_genesis()?) else {
        return Ok(());
    };
    if !data_dir.network_ledger().exists() {
        return Ok(());
    }
    let key = keys::load(&role.key).map_err(Failure::failed)?;
    let store = open_store(config.store, &data_dir.network_ledger()).map_err(Failure::failed)?;
    let ledger = NetworkLedger::open(store, genesis, key, unix_now());
    let ledger = ledger.map_err(Failure::verification)?;
    let audit = ledger.audit().map_err(Failure::verification)?;
    report("network", &audit.report, out)?;
    sums(&audit, out)
}

fn sums(audit: &Audit, out: &mut impl Write) -> Result<(), Failure> {
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
        Err(Failure::verification("credit is not conserved"))
    }
}

fn report(name: &str, report: &CheckReport, out: &mut impl Write) -> Result<(), Failure> {
    let CheckReport {
        entry_count,
        head,
        row_count,
    } = report;
    writeln!(
        out,
        "{name} ledger: {entry_count} entries and {row_count} rows add up"
    )?;
    writeln!(out, "  head {} {}", head.next, head.hash)?;
    Ok(())
}
