//! Two nodes and a settlement node, each a process: credit is granted, data is paid for, and all
//! three ledgers agree on what it cost.

use std::time::{Duration, Instant};

use anyhow::ensure;
use seedbank_tests::client::{Client, await_complete};
use seedbank_tests::community::{account, check_ledgers};
use seedbank_tests::namespace::run;
use seedbank_tests::poll::poll;

use crate::paid::{self, GRANTED, Three};

const SCENARIO_MAX: Duration = Duration::from_secs(120);

/// The settlement node tells a member of a grant; nobody has to ask.
const GRANT_SHOWS_MAX: Duration = Duration::from_secs(2);

#[test]
fn a_grant_shows_within_two_seconds() {
    run(SCENARIO_MAX, |net| {
        let three = Three::start(net)?;
        for (count, amount) in [(1, "1"), (2, "2.5")] {
            let begin = Instant::now();
            three.grant(&format!("grant {count}"), amount)?;
            let expected = [1_000_000, 3_500_000][count - 1];
            poll(GRANT_SHOWS_MAX, "the grant to show", || {
                let available = account(&three.payer)?.free;
                Ok((available == expected).then_some(()))
            })?;
            println!("seen after {:.2} s", begin.elapsed().as_secs_f64());
        }
        Ok(())
    });
}

#[test]
fn a_boost_is_paid_and_all_three_ledgers_agree() {
    run(SCENARIO_MAX, |net| {
        let mut three = Three::start(net)?;
        three.grant("welcome", "10")?;
        let torrent = net.torrent(paid::plan())?;
        let folder = three.begin(net, &torrent)?;
        let took = await_complete(&mut [&mut three.payer], paid::TRANSFER_MAX)?;
        three.payer.verify(&torrent, &folder)?;
        println!("complete after {:.1} s", took[0].as_secs_f64());

        let books = three.settle_up()?;
        println!("{books:?}");
        ensure!(
            books.spent >= paid::COST / 2,
            "hardly anything was paid: {books:?}"
        );
        ensure!(books.spent <= paid::COST, "more than it cost: {books:?}");
        ensure!(books.granted == GRANTED, "{books:?}");
        three.payer.complaints()?;
        check_ledgers(&three.payer)?;
        Ok(())
    });
}
