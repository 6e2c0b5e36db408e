//! The rows: how each is brought about, and what is told of it.

use seedbank_ledger::{Bytes, MicroCredits, Rate};

use super::buyer::{ASK, Buyer, PAYEE};
use super::{Outcome, Row, SMALLEST};
use crate::interface::command::Command;
use crate::interface::view::WaitReason;
use crate::session::tests::Remote;
use crate::session::tests::boosting::private;
use crate::session::tests::magnets::{give_all, magnet};
use crate::session::tests::rig::{adding, metainfo};
use crate::wire::message::Message;
use crate::wire::receipt::{Quote, QuoteState, ReceiptMessage};

const NO_CREDIT: WaitReason = WaitReason::NoCredit {
    smallest: SMALLEST,
    available: MicroCredits::ZERO,
};
const NO_CREDIT_TEXT: &str = "the smallest lock is 0.000245 cr and 0.000000 cr is free to spend";
const PRIVATE_TEXT: &str = "the torrent is private: its peers are not shown the key that pays";
const COMPLETE_TEXT: &str = "the torrent is complete: nothing is left to buy";
const UNREACHABLE_TEXT: &str = "a lock is needed and the settlement node does not answer";
const SLOW_TEXT: &str =
    "the clock is 900 s behind settlement time, so no lock is opened: set the clock";
const SILENT_TEXT: &str = "1 payee lets us ask and sends nothing: others are tried, \
                           and this one again after some minutes";

/// The twelve ways, some of them in several variants.
pub(super) fn rows_of_twelve() -> Vec<Row> {
    let mut rows = rows_of_torrents_and_peers();
    rows.extend(rows_of_service());
    rows.extend(rows_of_locks());
    rows
}

/// What makes a boost that works stop working.
#[expect(clippy::too_many_lines, reason = "a table")]
pub(super) fn rows_of_work() -> Vec<Row> {
    let choked = WaitReason::AllChoke {
        payees: 1,
        bid: Rate::PAR,
        max: Rate::PAR,
    };
    let choked_text = "1 payee does not serve us at 1.000000 cr/GiB, the highest bid: \
                       others bid more, or no place is free";
    vec![
        row("choked without a word", choked, choked_text, |buyer| {
            let payee = buyer.is_served();
            buyer.market.rig.says(payee, [Message::Choke]);
            buyer.falls_silent();
        }),
        row("choked and queued", choked, choked_text, |buyer| {
            let payee = buyer.is_served();
            buyer.quote(payee, QuoteState::Queued);
            buyer.market.rig.says(payee, [Message::Choke]);
            buyer.falls_silent();
        }),
        row(
            "nothing comes any more",
            WaitReason::AllSilent { payees: 1 },
            SILENT_TEXT,
            |buyer| {
                buyer.is_served();
                buyer.falls_silent();
            },
        ),
        row(
            "served for nothing",
            WaitReason::NotSeated { payees: 1 },
            "1 payee serves us for nothing and gives us no paid place yet",
            |buyer| {
                let payee = buyer.is_served();
                let open = Quote::open(Bytes::new(1 << 20), Bytes::ZERO);
                buyer.market.say(payee, &ReceiptMessage::Quote(open));
                buyer.begins();
            },
        ),
        row(
            "the payee leaves",
            WaitReason::NoPeers,
            "no peer is connected",
            |buyer| {
                let payee = buyer.is_served();
                buyer.falls_silent();
                buyer.market.rig.close(payee);
            },
        ),
        row(
            "the payee comes back and asks more",
            WaitReason::BelowAsk {
                ask: Rate::new(2 * Rate::PAR.get()),
                bid: Rate::PAR,
            },
            "payees ask 2.000000 cr/GiB or more and the boost bids 1.000000 cr/GiB at most: \
             start one with a higher bid",
            |buyer| {
                let payee = buyer.is_served();
                buyer.falls_silent();
                buyer.market.rig.close(payee);
                buyer.payee(Rate::new(2 * Rate::PAR.get()));
            },
        ),
        row(
            "no answer when another payee comes",
            WaitReason::SettlementUnreachable,
            UNREACHABLE_TEXT,
            |buyer| {
                let payee = buyer.is_served();
                buyer.falls_silent();
                buyer.market.available = None;
                buyer.market.rig.close(payee);
                let torrent_id = buyer.torrent_id;
                buyer.market.payee(torrent_id, PAYEE + 1, ASK.get());
            },
        ),
        row(
            "day's limit lowered",
            WaitReason::DayLimit {
                max: MicroCredits::new(200),
                left: MicroCredits::ZERO,
            },
            "the day's limit of 0.000200 cr leaves 0.000000 cr: wait, or raise it in the policy",
            |buyer| {
                buyer.is_served();
                buyer.begins();
                buyer.set_policy(|policy| {
                    policy.credit.spend_per_day_max = Some(MicroCredits::new(200));
                });
            },
        ),
        row(
            "spending switched off",
            WaitReason::SpendingOff,
            "spending is off: switch it on in the policy",
            |buyer| {
                buyer.is_served();
                buyer.begins();
                buyer.set_policy(|policy| policy.credit.spend = false);
            },
        ),
        row(
            "torrent stopped",
            WaitReason::TorrentNotReady,
            "the torrent is stopped, has failed, is being checked, or has no metainfo yet",
            |buyer| {
                buyer.is_served();
                buyer.falls_silent();
                let torrent_id = buyer.torrent_id;
                buyer.market.rig.command(Command::StopTorrent(torrent_id));
                buyer.market.settle();
            },
        ),
    ]
}

#[expect(clippy::too_many_lines, reason = "a table")]
fn rows_of_torrents_and_peers() -> Vec<Row> {
    let below_ask = WaitReason::BelowAsk {
        ask: Rate::new(3 * Rate::PAR.get()),
        bid: Rate::PAR,
    };
    let below_lock = WaitReason::BelowSmallestLock {
        smallest: SMALLEST,
        free: MicroCredits::new(244),
    };
    let too_long = WaitReason::PieceTooLong {
        piece: Bytes::new(128 << 20),
        max: Bytes::new(64 << 20),
    };
    vec![
        row(
            "below the ask",
            below_ask,
            "payees ask 3.000000 cr/GiB or more and the boost bids 1.000000 cr/GiB at most: \
             start one with a higher bid",
            |buyer| {
                buyer.payee(Rate::new(3 * Rate::PAR.get()));
                buyer.boost();
            },
        ),
        row(
            "below the smallest lock",
            below_lock,
            "it has 0.000244 cr left and the smallest lock is 0.000245 cr: \
             start one with a larger budget or a lower bid",
            |buyer| {
                buyer.payee(ASK);
                buyer.max = 244;
                buyer.boost();
            },
        ),
        row(
            "piece longer than the window",
            too_long,
            "its pieces of 128 MiB are longer than the 64 MiB that can be paid for",
            |buyer| {
                buyer.want(&metainfo("long", 2, 8_192));
                buyer.payee(ASK);
                buyer.boost();
            },
        ),
        row(
            "nobody has what I lack",
            WaitReason::NobodyHasMissing { payees: 1 },
            "the only payee has no piece that is missing here",
            |buyer| {
                let torrent_id = buyer.torrent_id;
                let market = &mut buyer.market;
                market.payee_having(torrent_id, Message::HaveNone, PAYEE, ASK.get());
                buyer.boost();
            },
        ),
        row(
            "nobody speaks it",
            WaitReason::NobodyTakesPayment { peers: 3 },
            "none of 3 connected peers takes payment",
            |buyer| {
                for name in 9..12 {
                    buyer.market.rig.join_seed(buyer.torrent_id, name);
                }
                buyer.boost();
            },
        ),
        refused(
            "private",
            WaitReason::TorrentPrivate,
            PRIVATE_TEXT,
            |buyer| {
                buyer.want(&private());
                buyer.boost();
            },
        ),
        refused(
            "complete",
            WaitReason::TorrentComplete,
            COMPLETE_TEXT,
            |buyer| {
                buyer.torrent_id = buyer.market.torrent;
                buyer.boost();
            },
        ),
        row(
            "private, as its metainfo says that comes later",
            WaitReason::TorrentPrivate,
            PRIVATE_TEXT,
            |buyer| {
                let whole = private();
                let rig = &mut buyer.market.rig;
                rig.know(&whole, &[]);
                let mut add = adding(&whole);
                add.source = magnet(whole.info_hash);
                rig.command(Command::AddTorrent(Box::new(add)));
                buyer.torrent_id = whole.torrent_id();
                let peer = rig.join(whole.torrent_id(), Remote::modern(9));
                buyer.boost();
                buyer.run(1_000);
                buyer.begins();
                let rig = &mut buyer.market.rig;
                give_all(rig, peer, &whole);
                rig.checked(whole.torrent_id());
                buyer.market.settle();
            },
        ),
    ]
}

#[expect(clippy::too_many_lines, reason = "a table")]
fn rows_of_service() -> Vec<Row> {
    vec![
        row(
            "all choke me",
            WaitReason::AllChoke {
                payees: 1,
                bid: ASK,
                max: Rate::PAR,
            },
            "1 payee does not serve us at 0.001000 cr/GiB: \
             the bid rises up to 1.000000 cr/GiB",
            |buyer| {
                buyer.payee(ASK);
                buyer.boost();
            },
        ),
        row(
            "all silent",
            WaitReason::AllSilent { payees: 1 },
            SILENT_TEXT,
            |buyer| {
                let payee = buyer.payee(ASK);
                buyer.market.rig.says(payee, [Message::Unchoke]);
                buyer.boost();
            },
        ),
        row(
            "more payees choke me than are funded",
            WaitReason::AllChoke {
                payees: 4,
                bid: ASK,
                max: Rate::PAR,
            },
            "none of 4 payees serves us at 0.001000 cr/GiB: the bid rises up to 1.000000 cr/GiB",
            |buyer| {
                for number in PAYEE..PAYEE + 6 {
                    buyer.market.payee(buyer.torrent_id, number, ASK.get());
                }
                buyer.boost();
            },
        ),
        row(
            "more payees are silent than are funded",
            WaitReason::AllSilent { payees: 4 },
            "4 payees let us ask and send nothing: others are tried, \
             and these again after some minutes",
            |buyer| {
                for number in PAYEE..PAYEE + 6 {
                    let payee = buyer.market.payee(buyer.torrent_id, number, ASK.get());
                    buyer.market.rig.says(payee, [Message::Unchoke]);
                }
                buyer.boost();
            },
        ),
        row(
            "silent long before",
            WaitReason::AllSilent { payees: 1 },
            SILENT_TEXT,
            |buyer| {
                let payee = buyer.payee(ASK);
                buyer.market.rig.says(payee, [Message::Unchoke]);
                buyer.run(100_000);
                buyer.boost();
            },
        ),
        row(
            "silent in a paid seat",
            WaitReason::AllSilent { payees: 1 },
            SILENT_TEXT,
            |buyer| {
                let payee = buyer.payee(ASK);
                buyer.quote(payee, QuoteState::Paid);
                buyer.market.rig.says(payee, [Message::Unchoke]);
                buyer.boost();
            },
        ),
    ]
}

#[expect(clippy::too_many_lines, reason = "a table")]
fn rows_of_locks() -> Vec<Row> {
    let clock_off = |name, secs, text, granted_off_secs| Row {
        clock_off_secs: secs,
        granted_off_secs,
        ..row(name, WaitReason::ClockOff { secs }, text, |buyer| {
            buyer.payee(ASK);
            buyer.boost();
        })
    };
    vec![
        row("no credit", NO_CREDIT, NO_CREDIT_TEXT, |buyer| {
            buyer.boost();
            buyer.is_robbed();
            buyer.hears_of_it();
            buyer.run(1_000);
            buyer.payee(ASK);
            buyer.begins();
        }),
        row(
            "no credit, as a lock that was not had says",
            NO_CREDIT,
            NO_CREDIT_TEXT,
            |buyer| {
                buyer.boost();
                buyer.is_robbed();
                buyer.payee(ASK);
                buyer.begins();
            },
        ),
        row(
            "day's limit",
            WaitReason::DayLimit {
                max: MicroCredits::new(100),
                left: MicroCredits::new(100),
            },
            "the day's limit of 0.000100 cr leaves 0.000100 cr: wait, or raise it in the policy",
            |buyer| {
                buyer.set_policy(|policy| {
                    policy.credit.spend_per_day_max = Some(MicroCredits::new(100));
                });
                buyer.payee(ASK);
                buyer.boost();
            },
        ),
        row(
            "settlement unreachable",
            WaitReason::SettlementUnreachable,
            UNREACHABLE_TEXT,
            |buyer| {
                buyer.market.available = None;
                buyer.payee(ASK);
                buyer.boost();
            },
        ),
        row(
            "settlement answers nothing",
            WaitReason::SettlementUnreachable,
            UNREACHABLE_TEXT,
            |buyer| {
                buyer.market.is_mute = true;
                buyer.payee(ASK);
                buyer.boost();
            },
        ),
        clock_off("clock off, as the account says", 900, SLOW_TEXT, 900),
        clock_off("clock off, as a refused lock says", 900, SLOW_TEXT, -90_000),
        Row {
            clock_off_secs: -900,
            granted_off_secs: -900,
            ..row(
                "clock off, as a lock that was had says",
                WaitReason::ClockOff { secs: -900 },
                "the clock is 900 s ahead of settlement time, so no lock is opened: set the clock",
                |buyer| {
                    let first = buyer.payee(ASK);
                    buyer.boost();
                    buyer.run(2_000);
                    assert_eq!(buyer.view().payees.len(), 1, "it has a lock");
                    buyer.market.rig.close(first);
                    let torrent_id = buyer.torrent_id;
                    buyer.market.payee(torrent_id, PAYEE + 1, ASK.get());
                    buyer.begins();
                },
            )
        },
    ]
}

fn row(name: &'static str, waiting: WaitReason, text: &'static str, set: fn(&mut Buyer)) -> Row {
    Row {
        name,
        clock_off_secs: 0,
        granted_off_secs: 0,
        set,
        outcome: Outcome::Told(waiting),
        text,
    }
}

fn refused(
    name: &'static str,
    waiting: WaitReason,
    text: &'static str,
    set: fn(&mut Buyer),
) -> Row {
    Row {
        outcome: Outcome::Refused(waiting),
        ..row(name, waiting, text, set)
    }
}
