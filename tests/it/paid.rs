//! A seeder, a payer and a settlement node with a torrent between them, for every test that pays.

use std::path::PathBuf;
use std::time::Duration;

use anyhow::{Result, ensure};
use seedbank_tests::client::{Client, Source};
use seedbank_tests::community::{
    Community, SETTLEMENT_NODE, account, check_ledgers, check_network, key_of,
};
use seedbank_tests::content::Plan;
use seedbank_tests::daemon::Daemon;
use seedbank_tests::net::Net;
use seedbank_tests::poll::poll;
use seedbank_tests::torrent::Torrent;

/// Micro-credits that `grant("…", "10")` creates.
pub(crate) const GRANTED: u64 = 10_000_000;

pub(crate) const TOTAL: u64 = 24 << 20;

/// What the whole torrent costs.
pub(crate) const COST: u64 = cost(TOTAL);

/// Eight seconds at the seeder's limit, and what a kill and a start cost.
pub(crate) const TRANSFER_MAX: Duration = Duration::from_secs(60);

/// From the last byte until every lock is closed and every node has heard of it.
const SETTLED_MAX: Duration = Duration::from_secs(60);

/// A grant takes a second; a node that just lost its settlement node asks again within a few.
const GRANT_MAX: Duration = Duration::from_secs(10);

const SEEDER: &str = "[limits]\nupload = \"3MiB/s\"\n[earn]\nmin_price_per_gib = \"3cr\"\n";
const PAYER: &str = "[earn]\nenabled = false\n";

/// What so many bytes cost at 3 cr/GiB.
pub(crate) const fn cost(bytes: u64) -> u64 {
    3_000_000 * bytes / (1 << 30)
}

/// One file of 24 MiB.
pub(crate) fn plan() -> Plan {
    Plan::single("paid.bin", TOTAL, 256 << 10)
}

/// Three processes.
#[derive(Debug)]
pub(crate) struct Three {
    pub(crate) settlement: Daemon,
    pub(crate) seeder: Daemon,
    pub(crate) payer: Daemon,
}

/// What all ledgers say in the end, once they are found to agree.
#[derive(Debug)]
pub(crate) struct Books {
    pub(crate) spent: u64,
    pub(crate) granted: u64,
}

impl Three {
    pub(crate) fn start(net: &Net) -> Result<Self> {
        let community = Community::found(net)?;
        let settlement = Daemon::start(net, SETTLEMENT_NODE, &community.settlement_config())?;
        let member = community.member_config();
        Ok(Self {
            settlement,
            seeder: Daemon::start(net, "seeder", &(member.clone() + SEEDER))?,
            payer: Daemon::start(net, "payer", &(member + PAYER))?,
        })
    }

    /// Grants to the payer by command line.
    pub(crate) fn grant(&self, request_id: &str, amount: &str) -> Result<serde_json::Value> {
        let to = key_of(&self.payer)?;
        let args = ["wallet", "grant", &to, amount, "--request-id", request_id];
        self.settlement.cli(&args)
    }

    /// Both nodes have the torrent, and the payer a boost. Gives the folder that it fetches into.
    pub(crate) fn begin(&mut self, net: &Net, torrent: &Torrent) -> Result<PathBuf> {
        let seeds = net.seed_folder("seed-files", &torrent.content)?;
        self.seeder.seed(torrent, &seeds)?;
        poll(GRANT_MAX, "the payer to hear of its credit", || {
            Ok((account(&self.payer)?.free > 0).then_some(()))
        })?;
        let folder = net.folder("payer-files")?;
        let peers = [self.seeder.addr()];
        self.payer.leech(torrent, Source::File, &folder, &peers)?;
        let hash = torrent.hash_hex();
        self.payer
            .cli(&["boost", "start", &hash, "--max", "1", "--bid", "3"])?;
        Ok(folder)
    }

    /// Waits until everything is settled, stops all three, and compares and checks their ledgers.
    pub(crate) fn settle_up(&mut self) -> Result<Books> {
        let mut last = None;
        let settled = poll(SETTLED_MAX, "every lock to be closed", || {
            let (payer, seeder) = (account(&self.payer)?, account(&self.seeder)?);
            last = Some((payer, seeder));
            let open = payer.locked + payer.signed + seeder.claimable;
            Ok((open == 0).then_some((payer, seeder)))
        });
        let (payer, seeder) = settled.map_err(|error| error.context(format!("{last:?}")))?;
        for node in [&mut self.payer, &mut self.seeder, &mut self.settlement] {
            node.terminate()?;
        }
        check_ledgers(&self.payer)?;
        check_ledgers(&self.seeder)?;
        let supply = check_network(&self.settlement)?;
        let all = format!("payer {payer:?}, seeder {seeder:?}, network {supply:?}");
        println!("{all}");
        ensure!(payer.spent == seeder.earned, "spent is not earned: {all}");
        ensure!(
            payer.spent == supply.paid,
            "spent is not what was paid: {all}"
        );
        ensure!(
            supply.locks_open == 0 && supply.in_locks == 0,
            "locks are open: {all}"
        );
        ensure!(
            supply.granted == supply.free + supply.burned,
            "not conserved: {all}"
        );
        ensure!(
            payer.free + seeder.free == supply.free,
            "members hold another sum: {all}"
        );
        Ok(Books {
            spent: payer.spent,
            granted: supply.granted,
        })
    }
}
