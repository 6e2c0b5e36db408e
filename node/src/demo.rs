//! `seedbankd demo`: a real swarm on loopback in one process, and its control.
//!
//! The scenario is [`seedbank_sim::demo::Demo`], first predicted under virtual time, then run here
//! with real sockets, files, ledgers and a settlement node, and judged by the same findings. Beside
//! it the same nodes run without receipts. Each seeder sends through a modem of its own.
//! Everything lies in a temporary folder.

mod modem;
mod report;
mod screen;
mod swarm;

use std::io::{self, Write};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::thread::available_parallelism;
use std::time::Duration;

use seedbank_engine::content::metainfo::{Metainfo, MetainfoError};
use seedbank_engine::interface::command::{AddError, CommandError};
use seedbank_ledger::charts::network::Audit;
use seedbank_ledger::charts::node::NodeReader;
use seedbank_ledger::ledger::LedgerError;
use seedbank_ledger::ledger::check::CheckError;
use seedbank_sim::demo::{Accounts, Demo, DemoOutcome, PAYER, Prediction, SEEDER};
use tokio::sync::Semaphore;
use tokio::time::{Instant, sleep};

use crate::daemon::DaemonError;
use crate::host::config::StoreKind;
use crate::host::founding::FoundError;
use crate::host::keys::KeyError;
use crate::settlement::{GrantError, KeeperError};
use crate::torrents::create::{CreateError, CreateRequest, create_metainfo};
use crate::{NodeHandle, StartError};
use swarm::{Credit, Swarm};

/// Name of the torrent and its only file.
const NAME: &str = "demo.bin";
/// Longest time for locks to be closed and ledgers to have heard of it.
const SETTLING_MAX: Duration = Duration::from_secs(60);
/// How often that is looked at.
const SETTLING_POLL: Duration = Duration::from_millis(500);

/// How the demo is run.
#[derive(Clone, Debug)]
pub struct DemoOptions {
    /// Who is there.
    pub scenario: Demo,
    /// What holds the ledgers.
    pub store: StoreKind,
    /// Draw bars on standard error instead of printing lines.
    pub bars: bool,
}

/// Why the demo came to no verdict.
#[derive(Debug, thiserror::Error)]
pub enum DemoError {
    /// A file, a folder or the output.
    #[error(transparent)]
    Io(#[from] io::Error),
    /// The network.
    #[error(transparent)]
    Found(#[from] FoundError),
    /// A key.
    #[error(transparent)]
    Key(#[from] KeyError),
    /// The torrent could not be made.
    #[error(transparent)]
    Create(#[from] CreateError),
    /// The torrent that was made is none.
    #[error(transparent)]
    Metainfo(#[from] MetainfoError),
    /// A daemon did not start.
    #[error(transparent)]
    Daemon(#[from] DaemonError),
    /// A node of the control swarm did not start.
    #[error(transparent)]
    Start(#[from] StartError),
    /// Credit was not granted.
    #[error(transparent)]
    Grant(#[from] GrantError),
    /// A torrent was not taken.
    #[error(transparent)]
    Add(#[from] AddError),
    /// A command was refused.
    #[error(transparent)]
    Command(#[from] CommandError),
    /// The network's ledger did not answer.
    #[error(transparent)]
    Keeper(#[from] KeeperError),
    /// A ledger cannot be read.
    #[error(transparent)]
    Ledger(#[from] LedgerError),
    /// A node is gone.
    #[error("{0} has ended")]
    Ended(String),
    /// Something did not happen in time.
    #[error("{what} within {} s", .within.as_secs())]
    Late {
        /// What did not happen.
        what: String,
        /// How long it was waited for.
        within: Duration,
    },
    /// The simulator came to no prediction.
    #[error("prediction: {0}")]
    Prediction(String),
}

/// A demo that has come to its end, still alive.
#[derive(Debug)]
pub struct Running {
    /// What came of it.
    pub outcome: DemoOutcome,
    /// What the simulator had said.
    pub prediction: Prediction,
    paid: Swarm,
    control: Swarm,
    credit: Credit,
    // Last: everything else lies in it.
    folder: tempfile::TempDir,
}

/// Predicts, runs, and reports to `out` as it goes.
pub async fn run(options: &DemoOptions, out: &mut impl Write) -> Result<Running, DemoError> {
    let scenario = options.scenario;
    report::opening(&scenario, out)?;
    let folder = tempfile::Builder::new()
        .prefix("seedbank-demo-")
        .tempdir()?;
    let metainfo = content(folder.path(), &scenario)?;
    let swarms = async {
        let credit = Credit::start(folder.path(), options.store).await?;
        let paid = Swarm::with_credit(folder.path(), options, &credit).await?;
        let control = Swarm::without(folder.path(), options).await?;
        for swarm in [&paid, &control] {
            swarm.add(folder.path(), &scenario, &metainfo).await?;
        }
        paid.boost(&scenario, metainfo.torrent_id()).await?;
        Ok((credit, paid, control))
    };
    let (prediction, (credit, paid, control)) = tokio::try_join!(predict(scenario), swarms)?;
    report::prediction(&prediction, out)?;
    let times = swarm::race(&paid, &control, metainfo.torrent_id(), options.bars, out).await?;
    report::settling(out)?;
    let accounts = settled(&paid, &credit).await?;
    Ok(Running {
        outcome: DemoOutcome { times, accounts },
        prediction,
        paid,
        control,
        credit,
        folder,
    })
}

/// Asks the simulator, on all cores.
async fn predict(scenario: Demo) -> Result<Prediction, DemoError> {
    let turns = Arc::new(Semaphore::new(
        available_parallelism().map_or(1, usize::from),
    ));
    let one = |scenario: Demo| {
        let turns = Arc::clone(&turns);
        tokio::spawn(async move {
            let _turn = turns.acquire().await;
            tokio::task::spawn_blocking(move || scenario.predict()).await
        })
    };
    let running: Vec<_> = Prediction::scenarios(&scenario)
        .into_iter()
        .map(one)
        .collect();
    let mut outcomes = Vec::new();
    for run in running {
        let outcome = run.await.and_then(|outcome| outcome);
        let outcome = outcome.expect("the simulator does not panic");
        outcomes.push(outcome.map_err(DemoError::Prediction)?);
    }
    Ok(Prediction::of(outcomes))
}

impl Running {
    /// Writes the table and the verdict; whether everything that is claimed holds.
    pub fn report(&self, out: &mut impl Write) -> io::Result<bool> {
        report::verdict(&self.outcome, &self.prediction, out)
    }

    /// Where a client can look at the swarm.
    pub fn addresses(&self, out: &mut impl Write) -> io::Result<()> {
        for position in [PAYER, SEEDER] {
            let addr = self.paid.api_addr(position);
            writeln!(
                out,
                "  seedbank --api {addr} status   # the {}",
                Demo::name(position)
            )?;
        }
        writeln!(
            out,
            "  seedbank --api {} peers    # who is served, and why",
            self.paid.api_addr(SEEDER)
        )
    }

    /// Ends every node, the settlement node last, and removes the folder; gives the accounts as
    /// they are when everybody has gone.
    pub async fn shutdown(self) -> Result<Accounts, DemoError> {
        let readers = self.paid.ledgers()?;
        self.paid.shutdown().await;
        self.control.shutdown().await;
        let accounts = accounts(&self.credit.audit().await?, &readers)?;
        self.credit.shutdown().await;
        self.folder.close()?;
        Ok(accounts)
    }
}

fn accounts(
    network: &Result<Audit, CheckError>,
    readers: &[NodeReader],
) -> Result<Accounts, DemoError> {
    let ledgers: Vec<_> = readers
        .iter()
        .map(NodeReader::now)
        .collect::<Result<_, _>>()?;
    Ok(Accounts::of(network, &ledgers.iter().collect::<Vec<_>>()))
}

/// Writes the seeder's file and makes a torrent of it.
fn content(folder: &Path, scenario: &Demo) -> Result<Metainfo, DemoError> {
    let files = seed_folder(folder);
    std::fs::create_dir_all(&files)?;
    let path = files.join(NAME);
    let len = usize::try_from(scenario.total_len).expect("the demo's file fits into memory");
    let mut bytes = vec![0; len];
    let key = blake3::derive_key("seedbank demo content", &scenario.rng_seed.to_le_bytes());
    blake3::Hasher::new_keyed(&key)
        .finalize_xof()
        .fill(&mut bytes);
    std::fs::write(&path, &bytes)?;
    let request = CreateRequest {
        path,
        trackers: Vec::new(),
        private: false,
        comment: None,
        piece_len: Some(scenario.piece_len),
    };
    Ok(create_metainfo(
        &request,
        "seedbankd demo",
        None,
        |_, _| true,
    )?)
}

/// Where both seeders find the file.
fn seed_folder(folder: &Path) -> PathBuf {
    folder.join("seed-files")
}

/// The accounts, once every lock is closed and every ledger has heard of it, or as they are when
/// that takes too long: the findings say what is missing.
async fn settled(paid: &Swarm, credit: &Credit) -> Result<Accounts, DemoError> {
    let begin = Instant::now();
    loop {
        let accounts = accounts(&credit.audit().await?, &paid.ledgers()?)?;
        let equal = accounts.claimed == accounts.spent && accounts.spent == accounts.earned;
        let is_settled = accounts.locks_open == 0 && equal && !accounts.claimed.is_zero();
        if is_settled || begin.elapsed() > SETTLING_MAX {
            return Ok(accounts);
        }
        sleep(SETTLING_POLL).await;
    }
}

/// A question to a session that must be alive.
async fn ask<T: Send + 'static>(
    node: &NodeHandle,
    name: &str,
    question: impl FnOnce(&seedbank_engine::session::Session) -> T + Send + 'static,
) -> Result<T, DemoError> {
    let answer = node.query(question).await;
    answer.ok_or_else(|| DemoError::Ended(name.to_owned()))
}
