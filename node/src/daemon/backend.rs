//! The running node as the API's [`Backend`]: every question goes to the thread that knows.

use seedbank_engine::interface::command::{
    AddError, AddTorrent, Added, Command, CommandError, CommandReply, TorrentTotals,
};
use seedbank_engine::interface::config::Policy;
use seedbank_engine::interface::view::{BoostQuote, BoostView, FilesView, PeerView, WalletView};
use seedbank_engine::units::TorrentId;
use seedbank_ledger::charts::node::{
    Balance, Breakdown, Explanation, Grouping, NodeCause, NodeLedger,
};
use seedbank_ledger::entry::Entry;
use seedbank_ledger::ledger::Head;
use seedbank_ledger::ledger::check::CheckReport;
use seedbank_ledger::settlement::{GrantOutcome, IssueError, NewGrant};
use seedbank_ledger::store::Snapshot;
use seedbank_ledger::{Rate, Sequence, UnixTime};
use tokio::sync::{mpsc, watch};

use crate::NodeHandle;
use crate::events::Events;
use crate::host::config::kept::KeptPolicy;
use crate::rpc::Backend;
use crate::rpc::backend::{
    BalanceSheet, BooksError, CreateStep, NewMetainfo, NodeInfo, PlacedTorrent, Steps, Stopping,
    TorrentError, VerifyStep,
};
use crate::settlement::{GrantError, Keeper};
use crate::torrents::create::{CreateError, CreateRequest, create_metainfo};

/// What we write into torrents that we make.
const CREATED_BY: &str = concat!("Seedbank ", env!("CARGO_PKG_VERSION"));
/// Steps of progress that a slow reader may leave lying.
const STEPS_MAX: usize = 4;

/// A node, and the network ledger that it keeps, if it does.
pub(crate) struct NodeBackend {
    pub(crate) node: NodeHandle,
    pub(crate) info: NodeInfo,
    pub(crate) keeper: Option<Keeper>,
    pub(crate) kept_policy: KeptPolicy,
    /// Set once to ask for a clean stop.
    pub(crate) stop: watch::Sender<bool>,
}

impl NodeBackend {
    /// Reads the ledger as it stands, on a thread that may block.
    async fn books<T: Send + 'static>(
        &self,
        read: impl FnOnce(&NodeLedger<Snapshot<'_>>) -> Result<T, BooksError> + Send + 'static,
    ) -> Result<T, BooksError> {
        let node = self.node.clone();
        let reading = tokio::task::spawn_blocking(move || match node.ledger() {
            Some(reader) => read(&reader.now()?),
            None => Err(Stopping.into()),
        });
        reading.await.unwrap_or(Err(Stopping.into()))
    }

    /// The books, once everything is entered that the session has to say.
    async fn booked(&self) -> Result<(Balance, Head, WalletView), BooksError> {
        let told = self.node.balance().await.ok_or(Stopping)?;
        Ok(told?)
    }

    fn row(&self, view: seedbank_engine::interface::view::TorrentView) -> PlacedTorrent {
        let download_dir = self.node.download_dir(&view.torrent_id);
        let download_dir = download_dir.unwrap_or_else(|| self.info.download_dir.clone());
        PlacedTorrent { view, download_dir }
    }
}

#[tonic::async_trait]
impl Backend for NodeBackend {
    fn info(&self) -> &NodeInfo {
        &self.info
    }

    fn events(&self) -> &Events {
        self.node.events()
    }

    fn kept_policy(&self) -> &KeptPolicy {
        &self.kept_policy
    }

    fn shutdown(&self) {
        self.stop.send_replace(true);
    }

    async fn command(&self, command: Command) -> Result<CommandReply, CommandError> {
        self.node.command(command).await
    }

    async fn policy(&self) -> Result<Policy, Stopping> {
        self.node
            .query(|session| session.policy().clone())
            .await
            .ok_or(Stopping)
    }

    async fn totals(&self) -> Result<TorrentTotals, Stopping> {
        self.node.totals().await.ok_or(Stopping)
    }

    async fn torrents(&self) -> Result<Vec<PlacedTorrent>, Stopping> {
        let views = self
            .node
            .query(|session| session.torrents())
            .await
            .ok_or(Stopping)?;
        Ok(views.into_iter().map(|view| self.row(view)).collect())
    }

    async fn torrent(&self, torrent_id: TorrentId) -> Result<Option<PlacedTorrent>, Stopping> {
        let view = self
            .node
            .query(move |session| session.torrent(&torrent_id))
            .await;
        Ok(view.ok_or(Stopping)?.map(|view| self.row(view)))
    }

    async fn torrent_files(
        &self,
        torrent_id: TorrentId,
        from: usize,
        limit: usize,
    ) -> Result<Option<FilesView>, Stopping> {
        let files = self
            .node
            .query(move |session| session.torrent_files(&torrent_id, from, limit))
            .await;
        files.ok_or(Stopping)
    }

    async fn peers(&self, of: Option<TorrentId>) -> Result<Vec<PeerView>, Stopping> {
        self.node
            .query(move |session| session.peers(of))
            .await
            .ok_or(Stopping)
    }

    async fn boosts(&self) -> Result<Vec<BoostView>, Stopping> {
        self.node
            .query(|session| session.boosts())
            .await
            .ok_or(Stopping)
    }

    async fn boost_quote(
        &self,
        torrent_id: TorrentId,
        bid: Rate,
    ) -> Result<Option<BoostQuote>, Stopping> {
        let quote = self
            .node
            .query(move |session| session.boost_quote(torrent_id, bid))
            .await;
        quote.ok_or(Stopping)
    }

    async fn balance(&self) -> Result<BalanceSheet, BooksError> {
        let (balance, head, wallet) = self.booked().await?;
        let supply = match &self.keeper {
            // A keeper that is busy or gone says nothing.
            Some(keeper) => keeper.supply().await.ok(),
            None => None,
        };
        Ok(BalanceSheet {
            holdings: balance.holdings(wallet.pending, wallet.set_aside),
            as_of: balance.as_of,
            head: head.last(),
            settlement_reachable: wallet.reachable,
            supply,
        })
    }

    async fn entries(
        &self,
        from: Sequence,
        limit: usize,
    ) -> Result<Vec<(Entry, NodeCause)>, BooksError> {
        self.books(move |ledger| {
            let entries = ledger.entries(from, limit)?;
            let caused = entries.into_iter().map(|entry| {
                let cause = ledger.cause(&entry)?;
                Ok((entry, cause))
            });
            caused.collect()
        })
        .await
    }

    async fn explain(&self, since: UnixTime) -> Result<Explanation, BooksError> {
        self.booked().await?;
        self.books(move |ledger| Ok(ledger.explain(since)?)).await
    }

    async fn explain_by(
        &self,
        grouping: Grouping,
        since: UnixTime,
    ) -> Result<Breakdown, BooksError> {
        self.booked().await?;
        self.books(move |ledger| Ok(ledger.explain_by(grouping, since)?))
            .await
    }

    async fn check_ledger(&self) -> Result<CheckReport, BooksError> {
        self.books(|ledger| Ok(ledger.check()?)).await
    }

    fn keeper(&self) -> Option<&Keeper> {
        self.keeper.as_ref()
    }

    async fn grant(&self, grant: NewGrant) -> Result<GrantOutcome, GrantError> {
        match &self.keeper {
            Some(keeper) => keeper.grant(grant).await,
            None => Err(IssueError::NotIssuer.into()),
        }
    }

    async fn add_torrent(&self, add: AddTorrent) -> Result<Added, AddError> {
        self.node.add_torrent(add).await
    }

    async fn remove_torrent(
        &self,
        torrent_id: TorrentId,
        delete_data: bool,
    ) -> Result<(), TorrentError> {
        Ok(self.node.remove_torrent(torrent_id, delete_data).await?)
    }

    async fn verify_torrent(
        &self,
        torrent_id: TorrentId,
    ) -> Result<Steps<VerifyStep>, TorrentError> {
        let checking = self.node.verify_torrent(torrent_id).await?;
        let mut checking = checking.ok_or(TorrentError::NoMetainfo(torrent_id))?;
        let (sender, receiver) = mpsc::channel(STEPS_MAX);
        tokio::spawn(async move {
            while let Some(step) = checking.next().await {
                let step = VerifyStep {
                    checked: step.checked,
                    total: step.total,
                    have: step.have,
                };
                if sender.send(Ok(step)).await.is_err() {
                    break;
                }
            }
        });
        Ok(receiver)
    }

    async fn create_metainfo(&self, what: NewMetainfo) -> Result<Steps<CreateStep>, TorrentError> {
        let (sender, receiver) = mpsc::channel(STEPS_MAX);
        tokio::task::spawn_blocking(move || {
            let made = make(what, &sender);
            // Whoever asked may be gone.
            let _ = sender.blocking_send(made);
        });
        Ok(receiver)
    }
}

fn make(
    what: NewMetainfo,
    steps: &mpsc::Sender<Result<CreateStep, TorrentError>>,
) -> Result<CreateStep, TorrentError> {
    let request = CreateRequest {
        path: what.path,
        trackers: what.trackers,
        private: what.private,
        comment: what.comment,
        piece_len: what.piece_len,
    };
    let now = Some(crate::host::clock::unix_now().as_secs());
    let mut hashed = 0;
    let metainfo = create_metainfo(&request, CREATED_BY, now, |bytes, total| {
        hashed = total;
        match steps.try_send(Ok(CreateStep::Hashed { bytes, total })) {
            Ok(()) | Err(mpsc::error::TrySendError::Full(_)) => true,
            Err(mpsc::error::TrySendError::Closed(_)) => false,
        }
    });
    let metainfo = metainfo.map_err(|error| create_error(error, &request))?;
    let magnet = seedbank_engine::content::magnet::Magnet {
        info_hash: metainfo.info_hash,
        name: Some(metainfo.name.clone()),
        trackers: request.trackers,
        peers: Vec::new(),
    };
    Ok(CreateStep::Done {
        total: hashed,
        metainfo: metainfo.to_bytes(),
        info_hash: metainfo.info_hash,
        magnet: magnet.to_string(),
    })
}

fn create_error(error: CreateError, request: &CreateRequest) -> TorrentError {
    match error {
        CreateError::Io { path, source } => TorrentError::Io { path, source },
        // These name what they are about, which may lie below what was asked for.
        CreateError::Changed { .. } | CreateError::Name(_) | CreateError::TooMany(_) => {
            TorrentError::BadField {
                field: "path",
                problem: error.to_string(),
            }
        }
        CreateError::TooLong { .. } | CreateError::Metainfo(_) | CreateError::Cancelled => {
            let problem = format!("{}: {error}", request.path.display());
            TorrentError::BadField {
                field: "path",
                problem,
            }
        }
    }
}
