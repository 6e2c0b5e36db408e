//! A session that begins with what an earlier run left behind.

use seedbank_ledger::Genesis;
use seedbank_ledger::charts::network::NetworkLedger;
use seedbank_ledger::settlement::SettlementNode;
use seedbank_ledger::signed::Body as _;
use seedbank_ledger::signed::lock::{Lock, LockId};
use seedbank_ledger::signed::order::OrderHash;
use seedbank_ledger::signed::order::{Order, OrderKind};
use seedbank_ledger::signed::receipt::Receipt;
use seedbank_ledger::statement::Operation;
use seedbank_ledger::store::Memory;
use seedbank_ledger::tally::{ChannelRow, LockRow, TallyRow};
use seedbank_ledger::{Bytes, Identity, Instant, MicroCredits, NetworkId, Rate, UnixTime};

use super::rig::config;
use crate::credit::wallet::WalletBook;
use crate::interface::command::Command;
use crate::interface::config::{Network, Policy, SessionConfig};
use crate::interface::input::Input;
use crate::interface::output::Output;
use crate::session::Session;

const NETWORK: NetworkId = NetworkId::from_bytes([1; 32]);

fn member(network_id: NetworkId, settlement: &Identity) -> SessionConfig {
    SessionConfig {
        network: Some(Network {
            id: network_id,
            settlement: settlement.id(),
            limits: Default::default(),
            par_price: Rate::PAR,
        }),
        ..config()
    }
}

/// More than the 10 minutes by which a clock may be off (docs/RULES.md, settlement time).
#[test]
fn a_node_whose_clock_is_off_takes_no_locks_until_it_is_right() {
    const RIGHT: UnixTime = UnixTime::from_secs(1_000_000);
    let settlement = || Identity::from_secret([9; 32]);
    let [own, issuer] = [7, 8].map(|secret| Identity::from_secret([secret; 32]));
    let (own_id, issuer_id) = (own.id(), issuer.id());
    let genesis = Genesis::render("test", settlement().id(), &[issuer_id]).unwrap();
    let genesis = Genesis::parse(&genesis).unwrap();
    let mut ledger = NetworkLedger::found(Memory::new(), genesis, settlement(), RIGHT).unwrap();
    let network_id = ledger.network_id();
    let grant = Order {
        network_id,
        account: issuer_id,
        nonce: 1,
        valid_until: RIGHT.plus_secs(60),
        kind: OrderKind::Grant {
            to: own_id,
            amount: MicroCredits::new(5),
        },
        memo_hash: [0; 32],
    };
    let grant = Operation::Order(grant.sign(&issuer));
    ledger.append(RIGHT, &[grant]).unwrap();
    let mut node = SettlementNode::new(ledger, None);

    let now = Instant::from_nanos(1_000_000_000);
    let config = member(network_id, &settlement());
    let mut session = Session::new(config, own, &WalletBook::default(), now);
    let policy = Command::SetPolicy(Policy::default());
    session.command(policy, now).unwrap();
    session.handle(Input::Clock(RIGHT.minus_secs(7_200)), now);
    assert!(
        session.market.exchange().terms().earn,
        "not known to be off"
    );
    while let Some(output) = session.poll_output() {
        if let Output::Settle { request, what } = output {
            let answers = node.answer(RIGHT, std::slice::from_ref(&what));
            let answer = answers.into_iter().next().unwrap().unwrap().answer;
            let answer = Ok(node.sealer().seal(what.hash(), 0, &answer));
            session.handle(Input::Settled { request, answer }, now);
        }
    }
    session.handle(Input::Clock(RIGHT.minus_secs(7_200)), now);
    assert!(!session.market.exchange().terms().earn, "two hours behind");
    session.handle(Input::Clock(RIGHT), now);
    assert!(session.market.exchange().terms().earn, "put right");
}

/// A node was killed between CLOSE of a payer and the close of its lock: it is closed when it has
/// started again, and not before somebody listens.
#[test]
fn a_lock_whose_close_is_due_is_closed_after_the_start() {
    let [own, payer, settlement] = [7, 8, 9].map(|secret| Identity::from_secret([secret; 32]));
    let lock = Lock {
        network_id: NETWORK,
        lock_id: LockId::new(5),
        opening_order: OrderHash::from_bytes([0x0d; 32]),
        payer: payer.id(),
        payee: own.id(),
        amount: MicroCredits::new(1_000),
        expires_at: UnixTime::from_secs(4_600),
        grace_secs: 86_400,
    };
    let receipt = Receipt {
        network_id: NETWORK,
        channel_id: lock.channel().id(),
        bytes: Bytes::new(1 << 20),
        amount: MicroCredits::new(300),
    };
    let book = WalletBook {
        rows: vec![
            TallyRow::Lock(LockRow {
                lock: lock.sign(&settlement),
                claimed: MicroCredits::ZERO,
                closed: false,
                close_asked: true,
            }),
            TallyRow::Receipt(ChannelRow {
                channel: lock.channel(),
                receipt: receipt.sign(&payer),
            }),
        ],
        ..WalletBook::default()
    };
    let config = member(NETWORK, &settlement);
    let now = Instant::from_nanos(1_000_000_000);
    let mut session = Session::new(config, own, &book, now);
    assert!(session.poll_output().is_none(), "nobody listens yet");
    session
        .command(Command::SetPolicy(Policy::default()), now)
        .expect("legal");
    let closed = |session: &mut Session| {
        let outputs = std::iter::from_fn(|| session.poll_output());
        let rows = outputs.filter_map(|output| match output {
            Output::Tally(rows) => Some(rows),
            _ => None,
        });
        let mut rows = rows.flatten();
        rows.any(|row| matches!(row, TallyRow::Lock(row) if row.closed))
    };
    assert!(!closed(&mut session), "what time it is nobody knows");
    session.handle(Input::Clock(UnixTime::from_secs(1_000)), now);
    assert!(closed(&mut session));
}
