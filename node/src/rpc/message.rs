//! Views of the session as messages of the contract.

use prost_types::Timestamp;
use seedbank_engine::interface::config::{PaidRule, Policy};
use seedbank_engine::interface::view::{
    BoostQuote, BoostState, BoostView, FileView, PayeeView, PeerView, TorrentState, TrackerView,
};
use seedbank_engine::transfer::choker::Reason;
use seedbank_ledger::refusal::Refusal;
use seedbank_ledger::{Duration, Instant, Rate, UnixTime};
use seedbank_proto::v1;

pub(super) use crate::number::{bytes, count, credit, number, rate, small_count};
use crate::rpc::backend::PlacedTorrent;

/// The wall-clock time at the driver's instant zero, to show instants as times.
#[derive(Clone, Copy, Debug)]
pub(super) struct WallTime(pub(super) UnixTime);

impl WallTime {
    fn time_of(self, instant: Instant) -> Timestamp {
        let since_start = instant.since(Instant::ZERO);
        time(self.0.plus_secs(Duration::as_secs(since_start)))
    }
}

pub(super) fn time(time: UnixTime) -> Timestamp {
    Timestamp {
        seconds: number(time.as_secs()),
        nanos: 0,
    }
}

pub(super) fn torrent(row: &PlacedTorrent, clock: WallTime) -> v1::Torrent {
    let view = &row.view;
    v1::Torrent {
        info_hash: view.torrent_id.to_string(),
        display_name: view.name.clone(),
        state: torrent_state(view.state).into(),
        error_message: view.error.clone().unwrap_or_default(),
        total_bytes: bytes(view.total),
        have_bytes: bytes(view.have),
        piece_count: small_count(view.piece_count),
        have_piece_count: small_count(view.piece_have_count),
        uploaded_bytes: bytes(view.uploaded),
        downloaded_bytes: bytes(view.downloaded),
        wasted_bytes: bytes(view.wasted),
        upload_bytes_per_second: bytes(view.upload_rate),
        download_bytes_per_second: bytes(view.download_rate),
        peer_count: small_count(view.peer_count),
        seed_count: small_count(view.seed_count),
        trackers: view
            .trackers
            .iter()
            .map(|one| tracker(one, clock))
            .collect(),
        download_dir: row.download_dir.display().to_string(),
        complete_time: view.completed_at.map(|at| clock.time_of(at)),
    }
}

pub(super) fn file(view: &FileView) -> v1::TorrentFile {
    v1::TorrentFile {
        path: view.path.join("/"),
        total_bytes: bytes(view.total),
        have_bytes: bytes(view.have),
    }
}

fn tracker(view: &TrackerView, clock: WallTime) -> v1::Tracker {
    v1::Tracker {
        url: view.url.clone(),
        status_message: view.status.clone(),
        next_announce_time: view.next_announce.map(|at| clock.time_of(at)),
    }
}

pub(super) fn torrent_state(state: TorrentState) -> v1::TorrentState {
    match state {
        TorrentState::FetchingMetadata => v1::TorrentState::FetchingMetadata,
        TorrentState::Checking => v1::TorrentState::Checking,
        TorrentState::Downloading => v1::TorrentState::Downloading,
        TorrentState::Seeding => v1::TorrentState::Seeding,
        TorrentState::Stopped => v1::TorrentState::Stopped,
        TorrentState::Failed => v1::TorrentState::Failed,
    }
}

pub(super) fn peer(view: &PeerView) -> v1::Peer {
    v1::Peer {
        peer_id: view.peer.0.to_string(),
        info_hash: view.torrent_id.to_string(),
        address: view.addr.to_string(),
        incoming: view.incoming,
        client_name: view.client.clone(),
        public_key: view.node_id.map(|id| id.to_string()).unwrap_or_default(),
        have_piece_count: small_count(view.piece_have_count),
        interested: view.interested,
        interesting: view.interesting,
        unchoked_us: view.unchoked_us,
        unchoked: view.unchoked,
        unchoke_reason: view.reason.map(unchoke_reason).unwrap_or_default().into(),
        uploaded_bytes: bytes(view.uploaded),
        downloaded_bytes: bytes(view.downloaded),
        upload_bytes_per_second: bytes(view.upload_rate),
        download_bytes_per_second: bytes(view.download_rate),
        bid_microcredits_per_gib: rate(view.bid),
        own_bid_microcredits_per_gib: rate(view.own_bid),
        exposure_bytes: bytes(view.exposure),
        window_bytes: bytes(view.window),
        standing_bytes: view.standing,
        backing_off: view.backing_off,
    }
}

pub(super) fn unchoke_reason(reason: Reason) -> v1::UnchokeReason {
    match reason {
        Reason::Paid => v1::UnchokeReason::Paid,
        Reason::Friend => v1::UnchokeReason::Friend,
        Reason::Reciprocal => v1::UnchokeReason::Reciprocal,
        Reason::Standing => v1::UnchokeReason::Standing,
        Reason::Waited => v1::UnchokeReason::Waited,
        Reason::Optimistic => v1::UnchokeReason::Optimistic,
        Reason::FreeSlot => v1::UnchokeReason::FreeSlot,
        Reason::Dwell => v1::UnchokeReason::Dwell,
        Reason::JustChoked => v1::UnchokeReason::JustChoked,
        Reason::Outranked => v1::UnchokeReason::Outranked,
        Reason::SeatLost => v1::UnchokeReason::SeatLost,
        Reason::NotInterested => v1::UnchokeReason::NotInterested,
        Reason::Snubbed => v1::UnchokeReason::Snubbed,
        Reason::TorrentStopped => v1::UnchokeReason::TorrentStopped,
        Reason::Seed => v1::UnchokeReason::Seed,
    }
}

pub(super) fn boost(view: &BoostView) -> v1::Boost {
    v1::Boost {
        boost_id: view.id.to_string(),
        info_hash: view.torrent_id.to_string(),
        state: boost_state(view.state).into(),
        max_microcredits: credit(view.max),
        bid_microcredits_per_gib: rate(view.bid),
        spent_microcredits: credit(view.spent),
        locked_microcredits: credit(view.locked),
        free_microcredits: credit(view.free),
        create_time: Some(time(view.created_at)),
        expire_time: view.until.map(time),
        payees: view.payees.iter().map(payee).collect(),
    }
}

fn payee(view: &PayeeView) -> v1::Payee {
    v1::Payee {
        public_key: view.node_id.to_string(),
        lock_id: view.lock_id.to_string(),
        amount_microcredits: credit(view.amount),
        signed_microcredits: credit(view.signed),
        return_time: Some(time(view.returns_at)),
    }
}

pub(super) fn boost_state(state: BoostState) -> v1::BoostState {
    match state {
        BoostState::Active => v1::BoostState::Active,
        BoostState::Completed => v1::BoostState::Completed,
        BoostState::Exhausted => v1::BoostState::Exhausted,
        BoostState::Cancelled => v1::BoostState::Cancelled,
        BoostState::Expired => v1::BoostState::Expired,
    }
}

pub(super) fn boost_quote(quote: &BoostQuote, bid: Rate) -> v1::QuoteBoostResponse {
    v1::QuoteBoostResponse {
        left_bytes: bytes(quote.left),
        bid_microcredits_per_gib: rate(bid),
        max_cost_microcredits: credit(quote.cost_max),
        payee_count: small_count(quote.payee_count),
        min_rate_microcredits_per_gib: rate(quote.rate_min),
        available_microcredits: credit(quote.available),
    }
}

pub(super) fn policy(policy: &Policy, par_price: Rate) -> v1::Policy {
    v1::Policy {
        earn: policy.credit.earn,
        spend: policy.credit.spend,
        min_rate_microcredits_per_gib: policy.credit.rate_min.map(rate),
        ask_microcredits_per_gib: rate(policy.credit.rate_min.unwrap_or(par_price)),
        open_share_percent: policy.open_share_percent.into(),
        paid_rule: paid_rule(policy.paid_rule).into(),
        slot_count: count(policy.slots),
        upload_limit_bytes_per_second: policy.upload_limit.map(number),
        download_limit_bytes_per_second: policy.download_limit.map(number),
        friends: policy
            .credit
            .friends
            .iter()
            .map(ToString::to_string)
            .collect(),
        max_spend_per_day_microcredits: policy.credit.spend_per_day_max.map(credit),
    }
}

fn paid_rule(rule: PaidRule) -> v1::PaidRule {
    match rule {
        PaidRule::TopK => v1::PaidRule::TopK,
        PaidRule::Proportional => v1::PaidRule::Proportional,
        PaidRule::UniformPrice => v1::PaidRule::UniformPrice,
    }
}

/// Both sides number refusals alike; 0 is none.
pub(super) fn refusal(refusal: Option<Refusal>) -> v1::Refusal {
    refusal
        .and_then(|refusal| v1::Refusal::try_from(i32::from(refusal.code())).ok())
        .unwrap_or_default()
}
