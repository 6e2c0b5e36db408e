//! How much sooner a torrent is expected to be complete with a boost, from rates that are measured.
//!
//! What a payer can see of a payee is how fast it serves us, for nothing or as paid, and how many
//! others there are to be served. A payee that serves us for nothing shares its rate among its
//! slots, or among those who want something if they are fewer; so that its rate is ours times their
//! number. A payer who has its paid class alone gets what is not kept open. What other payees and
//! peers send us stays as it is. Other payers, other torrents of a payee and what a new place does
//! to the shares of the rest cannot be seen: it is an estimate, and said as one.

use seedbank_ledger::{Bytes, Duration};

use super::TorrentRow;
use super::config::PAYEES_MAX;
use super::order::BoostEstimate;
use super::payee::PayeeSight;

/// Upload slots of a payee, unless its owner decided otherwise.
const SLOTS: u64 = 8;
/// Percent of a payee's rate that is for sale, unless its owner decided otherwise.
const PAID_PERCENT: u64 = 70;
/// Until a lock is there, its bid is ranked, and what was asked before is served.
const START: Duration = Duration::from_secs(2);

/// The rest of a torrent with and without a boost that pays the best of `payees`, best first.
/// `None` while nothing comes, or nothing from anybody who could be paid.
pub(super) fn estimate(
    torrent: &TorrentRow,
    payees: &[&PayeeSight],
    download_max: Option<Bytes>,
) -> Option<BoostEstimate> {
    let left = torrent.left.filter(|left| !left.is_zero())?;
    let rate = torrent.rate.filter(|rate| !rate.is_zero())?.get();
    let measured = payees.iter().take(PAYEES_MAX);
    let measured: Vec<&&PayeeSight> = measured
        .filter(|payee| !payee.rate_to_us.is_zero())
        .collect();
    if measured.is_empty() {
        return None;
    }
    let gain = measured.iter().fold(0_u64, |sum, payee| {
        let more = paid_rate(torrent, payee).saturating_sub(payee.rate_to_us.get());
        sum.saturating_add(more)
    });
    let bound = download_max.map_or(u64::MAX, Bytes::get).max(rate);
    let boosted = rate.saturating_add(gain).min(bound);
    let unboosted = time_of(left, rate);
    let boosted = START
        .as_nanos()
        .saturating_add(time_of(left, boosted).as_nanos());
    Some(BoostEstimate {
        unboosted,
        boosted: Duration::from_nanos(boosted).min(unboosted),
    })
}

/// Bytes per second that a payee would send us in a paid place.
fn paid_rate(torrent: &TorrentRow, payee: &PayeeSight) -> u64 {
    let rate = payee.rate_to_us.get();
    let itself = u64::from(!payee.is_seed);
    let others = u64::from(torrent.leecher_count).saturating_sub(itself);
    if payee.seated || others == 0 {
        return rate;
    }
    let shared_by = others.saturating_add(1).min(SLOTS);
    let whole = rate.saturating_mul(shared_by);
    rate.max(whole / 100 * PAID_PERCENT)
}

fn time_of(left: Bytes, rate: u64) -> Duration {
    let nanos = u128::from(left.get()) * 1_000_000_000 / u128::from(rate.max(1));
    Duration::from_nanos(u64::try_from(nanos).unwrap_or(u64::MAX))
}

#[cfg(test)]
mod tests {
    use seedbank_ledger::{MicroCredits, NodeId, Rate};

    use super::*;
    use crate::units::{PeerIndex, TorrentId};

    const MIB: u64 = 1 << 20;

    fn torrent(rate: Option<u64>, leecher_count: u32) -> TorrentRow {
        TorrentRow {
            left: Some(Bytes::new(70 * MIB)),
            rate: rate.map(Bytes::new),
            leecher_count,
            ..TorrentRow::new(TorrentId([1; 20]))
        }
    }

    fn payee(rate: u64) -> PayeeSight {
        PayeeSight {
            node_id: NodeId::from_bytes([1; 32]),
            rate_min: Rate::PAR,
            piece_len: Bytes::new(MIB),
            paid: MicroCredits::ZERO,
            is_seed: true,
            has_missing: true,
            rate_to_us: Bytes::new(rate),
            choking_us: false,
            received: Bytes::new(rate),
            asked: true,
            seated: false,
            met: PeerIndex(1),
        }
    }

    fn secs(torrent: &TorrentRow, payee: &PayeeSight) -> Option<(u64, u64)> {
        let estimate = estimate(torrent, &[payee], None)?;
        Some((estimate.unboosted.as_secs(), estimate.boosted.as_secs()))
    }

    #[test]
    fn the_paid_share_of_what_a_payee_shares_among_its_leechers_is_expected() {
        // Six others and us: 7 MiB/s in all, 4.9 of them for sale, and 1 MiB/s from elsewhere.
        let (torrent, payee) = (torrent(Some(2 * MIB), 6), payee(MIB));
        assert_eq!(secs(&torrent, &payee), Some((35, 13)));
        let crowd = TorrentRow {
            leecher_count: u32::MAX,
            ..torrent
        };
        assert_eq!(secs(&crowd, &payee), Some((35, 12)), "eight slots at most");
    }

    #[test]
    fn who_is_alone_or_paid_already_gains_nothing() {
        let torrent = torrent(Some(MIB), 0);
        assert_eq!(secs(&torrent, &payee(MIB)), Some((70, 70)));
        let seated = PayeeSight {
            seated: true,
            ..payee(MIB)
        };
        let torrent = TorrentRow {
            leecher_count: 6,
            ..torrent
        };
        assert_eq!(secs(&torrent, &seated), Some((70, 70)));
    }

    #[test]
    fn nothing_is_said_of_what_is_not_measured() {
        assert_eq!(secs(&torrent(None, 6), &payee(MIB)), None);
        assert_eq!(secs(&torrent(Some(0), 6), &payee(MIB)), None);
        assert_eq!(secs(&torrent(Some(MIB), 6), &payee(0)), None);
        let done = TorrentRow {
            left: Some(Bytes::ZERO),
            ..torrent(Some(MIB), 6)
        };
        assert_eq!(secs(&done, &payee(MIB)), None);
    }

    #[test]
    fn a_download_limit_bounds_what_is_expected() {
        let (torrent, payee) = (torrent(Some(MIB), 6), payee(MIB));
        let limited = estimate(&torrent, &[&payee], Some(Bytes::new(2 * MIB)));
        assert_eq!(limited.map(|one| one.boosted.as_secs()), Some(37));
    }
}
