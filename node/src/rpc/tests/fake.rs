//! A small backend: what it is told, it shows; its ledger is a real one in memory.

use std::collections::BTreeMap;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Mutex, MutexGuard};

use seedbank_engine::interface::command::{
    AddError, AddTorrent, Added, BoostOrder, Command, CommandError, CommandReply, CreditError,
    TorrentTotals,
};
use seedbank_engine::interface::config::Policy;
use seedbank_engine::interface::event::SessionEvent;
use seedbank_engine::interface::input::Transport;
use seedbank_engine::interface::view::{
    BoostQuote, BoostReport, BoostState, BoostView, FileView, FilesView, PeerView, TorrentState,
    TorrentView,
};
use seedbank_engine::transfer::choker::Reason;
use seedbank_engine::units::{InfoHash, PeerIndex, TorrentId};
use seedbank_ledger::charts::node::{
    Available, Breakdown, Explanation, Grouping, NodeCause, NodeCommand, NodeLedger,
};
use seedbank_ledger::entry::Entry;
use seedbank_ledger::ledger::check::CheckReport;
use seedbank_ledger::settlement::{GrantOutcome, IssueError, NewGrant};
use seedbank_ledger::store::Memory;
use seedbank_ledger::{
    Bytes, Identity, Instant, MicroCredits, NetworkId, NodeId, Rate, Sequence, UnixTime,
};
use tokio::sync::mpsc;

use crate::events::Events;
use crate::host::config::kept::{KeptPolicy, PolicySources};
use crate::rpc::backend::{
    Backend, BalanceSheet, BooksError, CreateStep, NetworkInfo, NewMetainfo, NodeInfo,
    PlacedTorrent, Steps, Stopping, TorrentError, VerifyStep,
};
use crate::settlement::{GrantError, Keeper};

/// What the fake has to spend.
const AVAILABLE: MicroCredits = MicroCredits::new(1_000);
/// The least that its network moves in one transfer.
const TRANSFER_MIN: MicroCredits = MicroCredits::new(5);
const NOW: UnixTime = UnixTime::from_secs(1_000);

pub(super) fn own_key() -> NodeId {
    Identity::from_secret([1; 32]).id()
}

pub(super) struct Fake {
    info: NodeInfo,
    events: Events,
    kept_policy: KeptPolicy,
    keeper: Option<Keeper>,
    stopping: AtomicBool,
    state: Mutex<State>,
}

struct State {
    torrents: BTreeMap<TorrentId, PlacedTorrent>,
    boosts: Vec<(BoostOrder, BoostView)>,
    policy: Policy,
    ledger: NodeLedger<Memory>,
}

impl Fake {
    /// What is kept of its policy lies in `folder`.
    pub(super) fn new(folder: &Path) -> Self {
        let ledger = NodeLedger::open(Memory::new(), own_key(), None, NOW).unwrap();
        Self {
            info: NodeInfo {
                node_id: own_key(),
                network: Some(NetworkInfo {
                    id: NetworkId::from_bytes([7; 32]),
                    name: "testers".into(),
                    par_price: Rate::new(3_000_000),
                    settlement_uri: None,
                    kept_here: false,
                }),
                listen_addrs: Vec::new(),
                api_addrs: Vec::new(),
                data_dir: PathBuf::from("/data"),
                download_dir: PathBuf::from("/downloads"),
                started_at: NOW,
            },
            events: Events::new(),
            kept_policy: KeptPolicy::new(
                folder.join("policy.toml"),
                PolicySources::of(Policy::default()),
            ),
            keeper: None,
            stopping: AtomicBool::new(false),
            state: Mutex::new(State {
                torrents: BTreeMap::new(),
                boosts: Vec::new(),
                policy: Policy::default(),
                ledger,
            }),
        }
    }

    /// One that keeps a network's ledger.
    pub(super) fn keeping(folder: &Path, keeper: Keeper) -> Self {
        Self {
            keeper: Some(keeper),
            ..Self::new(folder)
        }
    }

    pub(super) fn insert(&self, byte: u8) -> TorrentId {
        self.insert_torrent(TorrentId([byte; 20]))
    }

    fn insert_torrent(&self, torrent_id: TorrentId) -> TorrentId {
        let row = PlacedTorrent {
            view: torrent(torrent_id),
            download_dir: PathBuf::from("/downloads"),
        };
        self.state().torrents.insert(torrent_id, row);
        torrent_id
    }

    pub(super) fn write_off(&self, count: u8) {
        for byte in 1..=count {
            let command = NodeCommand::WriteOff {
                peer: Identity::from_secret([100 + byte; 32]).id(),
                bytes: Bytes::new(u64::from(byte)),
            };
            self.state().ledger.append(NOW, &[command]).unwrap();
        }
    }

    pub(super) fn happened(&self, event: SessionEvent) {
        self.events.push(event, NOW);
    }

    pub(super) fn was_asked_to_stop(&self) -> bool {
        self.stopping.load(Ordering::SeqCst)
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap()
    }

    pub(super) fn put(
        &self,
        torrent_id: TorrentId,
        to: TorrentState,
    ) -> Result<CommandReply, CommandError> {
        let mut state = self.state();
        let unknown = CommandError::TorrentUnknown(torrent_id);
        let row = state.torrents.get_mut(&torrent_id).ok_or(unknown)?;
        row.view.state = to;
        Ok(CommandReply::Done)
    }

    fn boost(&self, order: BoostOrder) -> Result<CommandReply, CommandError> {
        let mut state = self.state();
        let same_id = |known: &&(BoostOrder, BoostView)| known.0.request_id == order.request_id;
        if let Some((known, view)) = state.boosts.iter().find(same_id) {
            return if *known == order {
                Ok(CommandReply::Boost(view.id))
            } else {
                Err(CreditError::RequestIdReused(order.request_id).into())
            };
        }
        if order.max > AVAILABLE {
            return Err(CreditError::InsufficientCredit {
                needed: order.max,
                available: Available::divide(AVAILABLE, MicroCredits::ZERO, MicroCredits::ZERO),
            }
            .into());
        }
        let id = u64::try_from(state.boosts.len()).unwrap() + 1;
        let view = BoostView {
            id,
            torrent_id: order.torrent_id,
            state: BoostState::Active,
            waiting: None,
            max: order.max,
            bid: order.bid,
            spent: MicroCredits::ZERO,
            locked: MicroCredits::ZERO,
            free: order.max,
            created_at: NOW,
            until: order.time_to_live_secs.map(|secs| NOW.plus_secs(secs)),
            payees: Vec::new(),
            report: BoostReport::default(),
        };
        state.boosts.push((order, view));
        Ok(CommandReply::Boost(id))
    }
}

#[tonic::async_trait]
impl Backend for Fake {
    fn info(&self) -> &NodeInfo {
        &self.info
    }

    fn events(&self) -> &Events {
        &self.events
    }

    fn kept_policy(&self) -> &KeptPolicy {
        &self.kept_policy
    }

    fn shutdown(&self) {
        self.stopping.store(true, Ordering::SeqCst);
    }

    async fn command(&self, command: Command) -> Result<CommandReply, CommandError> {
        match command {
            Command::Boost(order) => self.boost(order),
            Command::Transfer { amount, .. } if amount < TRANSFER_MIN => {
                let least = TRANSFER_MIN;
                Err(CreditError::TransferTooSmall { amount, least }.into())
            }
            Command::Transfer { .. } => Ok(CommandReply::Transfer { nonce: 1 }),
            Command::SetPolicy(policy) => {
                self.state().policy = policy;
                Ok(CommandReply::Done)
            }
            Command::StartTorrent(torrent_id) => self.put(torrent_id, TorrentState::Seeding),
            Command::StopTorrent(torrent_id) => self.put(torrent_id, TorrentState::Stopped),
            other => panic!("no test sends {other:?}"),
        }
    }

    async fn policy(&self) -> Result<Policy, Stopping> {
        Ok(self.state().policy.clone())
    }

    async fn totals(&self) -> Result<TorrentTotals, Stopping> {
        Ok(TorrentTotals {
            uploaded: Bytes::new(300),
            downloaded: Bytes::new(200),
            wasted: Bytes::new(1),
        })
    }

    async fn torrents(&self) -> Result<Vec<PlacedTorrent>, Stopping> {
        Ok(self.state().torrents.values().cloned().collect())
    }

    async fn torrent(&self, torrent_id: TorrentId) -> Result<Option<PlacedTorrent>, Stopping> {
        Ok(self.state().torrents.get(&torrent_id).cloned())
    }

    /// Three files, of one byte more each.
    async fn torrent_files(
        &self,
        torrent_id: TorrentId,
        from: usize,
        limit: usize,
    ) -> Result<Option<FilesView>, Stopping> {
        let file = |index: usize| FileView {
            index,
            path: vec!["disc".to_owned(), format!("{index}.flac")],
            original: (index == 1).then(|| {
                [&b"di/sc"[..], b"1\x1b\xff.flac"]
                    .map(<[u8]>::to_vec)
                    .into()
            }),
            total: Bytes::new(u64::try_from(index).unwrap() + 1),
            have: Bytes::new(1),
        };
        let known = self.state().torrents.contains_key(&torrent_id);
        Ok(known.then(|| FilesView {
            count: 3,
            files: (0..3).skip(from).take(limit).map(file).collect(),
        }))
    }

    async fn peers(&self, of: Option<TorrentId>) -> Result<Vec<PeerView>, Stopping> {
        let torrent_id = of.unwrap_or(TorrentId([1; 20]));
        Ok((1..=2).map(|number| peer(number, torrent_id)).collect())
    }

    async fn boosts(&self) -> Result<Vec<BoostView>, Stopping> {
        let state = self.state();
        Ok(state.boosts.iter().map(|(_, view)| view.clone()).collect())
    }

    async fn boost_quote(&self, _: TorrentId, _: Rate) -> Result<Option<BoostQuote>, Stopping> {
        Ok(None)
    }

    async fn balance(&self) -> Result<BalanceSheet, BooksError> {
        let state = self.state();
        let balance = state.ledger.balance()?;
        Ok(BalanceSheet {
            holdings: balance.holdings(MicroCredits::ZERO, MicroCredits::ZERO),
            as_of: balance.as_of,
            head: state.ledger.head().last(),
            ..BalanceSheet::default()
        })
    }

    async fn entries(
        &self,
        from: Sequence,
        limit: usize,
    ) -> Result<Vec<(Entry, NodeCause)>, BooksError> {
        let state = self.state();
        let entries = state.ledger.entries(from, limit)?;
        let with_cause = |entry: Entry| {
            let cause = state.ledger.cause(&entry)?;
            Ok((entry, cause))
        };
        entries.into_iter().map(with_cause).collect()
    }

    async fn explain(&self, since: UnixTime) -> Result<Explanation, BooksError> {
        Ok(self.state().ledger.explain(since)?)
    }

    async fn explain_by(
        &self,
        grouping: Grouping,
        since: UnixTime,
    ) -> Result<Breakdown, BooksError> {
        Ok(self.state().ledger.explain_by(grouping, since)?)
    }

    async fn check_ledger(&self) -> Result<CheckReport, BooksError> {
        Ok(self.state().ledger.check()?)
    }

    fn keeper(&self) -> Option<&Keeper> {
        self.keeper.as_ref()
    }

    async fn grant(&self, _: NewGrant) -> Result<GrantOutcome, GrantError> {
        Err(IssueError::NotIssuer.into())
    }

    async fn add_torrent(&self, add: AddTorrent) -> Result<Added, AddError> {
        let torrent_id = add.torrent_id();
        let existed = self.state().torrents.contains_key(&torrent_id);
        self.insert_torrent(torrent_id);
        Ok(Added {
            torrent_id,
            existed,
        })
    }

    async fn remove_torrent(&self, torrent_id: TorrentId, _: bool) -> Result<(), TorrentError> {
        match self.state().torrents.remove(&torrent_id) {
            Some(_) => Ok(()),
            None => Err(TorrentError::Unknown(torrent_id)),
        }
    }

    async fn verify_torrent(
        &self,
        torrent_id: TorrentId,
    ) -> Result<Steps<VerifyStep>, TorrentError> {
        if !self.state().torrents.contains_key(&torrent_id) {
            return Err(TorrentError::Unknown(torrent_id));
        }
        let (sender, receiver) = mpsc::channel(4);
        for checked in [0, 50, 100] {
            let step = VerifyStep {
                checked,
                total: 100,
                have: checked,
            };
            sender.send(Ok(step)).await.unwrap();
        }
        Ok(receiver)
    }

    async fn create_metainfo(&self, what: NewMetainfo) -> Result<Steps<CreateStep>, TorrentError> {
        if what.path == Path::new("/missing") {
            return Err(TorrentError::Io {
                path: what.path,
                source: io::ErrorKind::NotFound.into(),
            });
        }
        let (sender, receiver) = mpsc::channel(4);
        let hashed = CreateStep::Hashed {
            bytes: 5,
            total: 10,
        };
        sender.send(Ok(hashed)).await.unwrap();
        let done = CreateStep::Done {
            total: 10,
            metainfo: vec![1, 2, 3],
            info_hash: InfoHash([3; 20]),
            magnet: "magnet:?xt=urn:btih:03".into(),
        };
        sender.send(Ok(done)).await.unwrap();
        Ok(receiver)
    }
}

fn torrent(torrent_id: TorrentId) -> TorrentView {
    TorrentView {
        torrent_id,
        name: format!("torrent {}", torrent_id.0[0]),
        state: TorrentState::Seeding,
        error: None,
        total: Bytes::new(100),
        have: Bytes::new(100),
        piece_count: 1,
        piece_have_count: 1,
        uploaded: Bytes::ZERO,
        downloaded: Bytes::ZERO,
        wasted: Bytes::ZERO,
        upload_rate: Bytes::ZERO,
        download_rate: Bytes::ZERO,
        peer_count: 2,
        seed_count: 0,
        trackers: Vec::new(),
        unreached: Vec::new(),
        completed_at: Some(Instant::ZERO),
    }
}

fn peer(number: u64, torrent_id: TorrentId) -> PeerView {
    PeerView {
        peer: PeerIndex(number),
        torrent_id,
        addr: ([127, 0, 0, 1], 6881).into(),
        transport: Transport::Tcp,
        incoming: true,
        client: "Fake 1.0".into(),
        node_id: None,
        piece_have_count: 0,
        interested: true,
        interesting: false,
        unchoked_us: false,
        unchoked: true,
        reason: Some(Reason::Paid),
        uploaded: Bytes::ZERO,
        downloaded: Bytes::ZERO,
        upload_rate: Bytes::ZERO,
        download_rate: Bytes::ZERO,
        bid: Rate::PAR,
        own_bid: Rate::ZERO,
        exposure: Bytes::ZERO,
        window: Bytes::ZERO,
        standing: 0,
        backing_off: false,
    }
}
