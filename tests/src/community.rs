//! A network of nodes that settle with each other: who founds it, and what its books say.

use std::collections::BTreeMap;
use std::net::SocketAddrV4;
use std::path::PathBuf;
use std::process::Command;

use anyhow::{Context, Result, ensure};
use serde_json::Value;

use crate::daemon::{Daemon, number};
use crate::net::Net;
use crate::repository::program;

/// What the network is called; it names its files.
const NAME: &str = "pond";

/// Where settlement nodes listen.
const SETTLEMENT_PORT: u16 = 4621;

/// A network that was founded: its files, and where it is settled.
#[derive(Debug)]
pub struct Community {
    folder: PathBuf,
    settlement: SocketAddrV4,
}

/// What a node's own ledger says about its credit, in micro-credits.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Account {
    pub free: u64,
    pub set_aside: u64,
    pub pending: u64,
    pub locked: u64,
    pub signed: u64,
    pub claimable: u64,
    /// Signed for others, less what came back unclaimed.
    pub spent: u64,
    /// Signed by others, less what was never paid.
    pub earned: u64,
}

/// What the network's ledger says, in micro-credits.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Supply {
    pub granted: u64,
    pub burned: u64,
    pub free: u64,
    pub locks_open: u64,
    pub in_locks: u64,
    pub paid: u64,
}

/// A group of `wallet explain`, in micro-credits and bytes.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Service {
    pub earned: u64,
    pub spent: u64,
    pub given: u64,
    pub taken: u64,
}

impl Account {
    /// What is the node's own: all but what it signed away.
    #[must_use]
    pub fn own(&self) -> u64 {
        self.free + self.set_aside + self.pending + self.locked + self.claimable
    }
}

impl Community {
    /// Runs `seedbankd network init`.
    ///
    /// # Errors
    /// When it fails.
    pub fn found(net: &Net) -> Result<Self> {
        let folder = net.folder(NAME)?;
        let mut command = Command::new(program("seedbankd")?);
        let init = command
            .args(["network", "init", NAME, "--out"])
            .arg(&folder);
        let output = init.output()?;
        let said = String::from_utf8_lossy(&output.stderr);
        ensure!(output.status.success(), "network init: {said}");
        let settlement = SocketAddrV4::new(net.address(), SETTLEMENT_PORT);
        Ok(Self { folder, settlement })
    }

    /// Configuration of the settlement node.
    #[must_use]
    pub fn settlement_config(&self) -> String {
        format!(
            "[network]\ngenesis = {:?}\n[settlement]\nenabled = true\nlisten = \"{}\"\n\
             key = {:?}\nissuer_key = {:?}\n",
            self.file("genesis"),
            self.settlement,
            self.file("settlement.key"),
            self.file("issuer.key"),
        )
    }

    /// Configuration of everybody else.
    #[must_use]
    pub fn member_config(&self) -> String {
        format!(
            "[network]\ngenesis = {:?}\nsettlement = {:?}\nplaintext = true\n",
            self.file("genesis"),
            self.settlement_uri(),
        )
    }

    /// Where the settlement node listens.
    #[must_use]
    pub fn settlement_addr(&self) -> SocketAddrV4 {
        self.settlement
    }

    /// Where members reach the settlement node.
    #[must_use]
    pub fn settlement_uri(&self) -> String {
        format!("http://{}", self.settlement)
    }

    /// A file that `network init` wrote: `genesis`, `settlement.key` or `issuer.key`.
    #[must_use]
    pub fn file(&self, ending: &str) -> PathBuf {
        self.folder.join(format!("{NAME}.{ending}"))
    }
}

/// A node's key, 64 hex digits.
///
/// # Errors
/// When the node does not answer.
pub fn key_of(node: &Daemon) -> Result<String> {
    let balance = node.cli(&["wallet", "balance"])?;
    let key = balance["account"].as_str().context("no account")?;
    Ok(key.to_owned())
}

/// What a running node's own ledger says.
///
/// # Errors
/// When the node does not answer.
pub fn account(node: &Daemon) -> Result<Account> {
    let balance = node.cli(&["wallet", "balance"])?;
    let explained = node.cli(&["wallet", "explain", "--by", "kind"])?;
    let lines = explained["lines"].as_array().context("no lines")?;
    let delta = |key: &str| -> Result<i64> {
        let line = lines.iter().find(|line| line["key"] == key);
        let Some(line) = line else { return Ok(0) };
        let text = line["delta_microcredits"].as_str().context("no delta")?;
        Ok(text.parse()?)
    };
    let spent = -(delta("spent")? + delta("returned")?);
    let earned = delta("earned")? + delta("forfeited")?;
    Ok(Account {
        free: number(&balance, "free_microcredits")?,
        set_aside: number(&balance, "set_aside_microcredits")?,
        pending: number(&balance, "pending_microcredits")?,
        locked: number(&balance, "locked_microcredits")?,
        signed: number(&balance, "signed_microcredits")?,
        claimable: number(&balance, "claimable_microcredits")?,
        spent: u64::try_from(spent)?,
        earned: u64::try_from(earned)?,
    })
}

/// What `wallet explain --by GROUPING` of a running node says, by key.
///
/// # Errors
/// When the node does not answer.
pub fn services(node: &Daemon, grouping: &str) -> Result<BTreeMap<String, Service>> {
    let explained = node.cli(&["wallet", "explain", "--by", grouping])?;
    let lines = explained["lines"].as_array().context("no lines")?;
    let service = |line: &Value| {
        let key = line["key"].as_str().context("no key")?.to_owned();
        let service = Service {
            earned: number(line, "earned_microcredits")?,
            spent: number(line, "spent_microcredits")?,
            given: number(line, "given_bytes")?,
            taken: number(line, "taken_bytes")?,
        };
        Ok((key, service))
    };
    lines.iter().map(service).collect()
}

/// Grants less burns, as the running settlement node prints them.
///
/// # Errors
/// When the node does not answer, or is no settlement node.
pub fn supply(settlement: &Daemon) -> Result<u64> {
    let balance = settlement.cli(&["wallet", "balance"])?;
    let supply = &balance["supply"];
    let granted = number(supply, "granted_microcredits")?;
    let burned = number(supply, "burned_microcredits")?;
    granted
        .checked_sub(burned)
        .context("more burned than granted")
}

/// Every entry of a running node's own ledger, oldest first.
///
/// # Errors
/// When the node does not answer.
pub fn entries(node: &Daemon) -> Result<Vec<Value>> {
    let history = node.cli(&["wallet", "history", "--limit", "100000"])?;
    let mut entries = history["entries"].as_array().context("no entries")?.clone();
    entries.reverse();
    Ok(entries)
}

/// Checks the ledgers of a node that has stopped: exit code 0 of `seedbankd ledger check`.
///
/// # Errors
/// With what it found.
pub fn check_ledgers(node: &Daemon) -> Result<String> {
    let output = node.offline(&["ledger", "check"])?;
    let said = String::from_utf8_lossy(&output.stdout).into_owned();
    let wrong = String::from_utf8_lossy(&output.stderr);
    ensure!(output.status.success(), "ledger check: {wrong}{said}");
    Ok(said)
}

/// As [`check_ledgers`] for the settlement node, with the sums of the network's ledger.
///
/// # Errors
/// As [`check_ledgers`].
pub fn check_network(settlement: &Daemon) -> Result<Supply> {
    let said = check_ledgers(settlement)?;
    let sum = |before: &str| -> Result<u64> {
        let (_, rest) = said
            .split_once(before)
            .with_context(|| format!("no {before:?} in {said}"))?;
        let digits: String = rest.chars().take_while(char::is_ascii_digit).collect();
        Ok(digits.parse()?)
    };
    Ok(Supply {
        granted: sum("granted ")?,
        burned: sum("burned ")?,
        free: sum("free ")?,
        locks_open: sum(", in ")?,
        in_locks: sum(" open locks ")?,
        paid: sum("claims paid ")?,
    })
}
