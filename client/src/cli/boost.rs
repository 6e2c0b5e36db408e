//! `boost`: credit for being served first.

use seedbank_proto::v1::{self, BoostState, BoostWaitingReason};
use serde_json::{Value, json};

use super::args::BoostCommand;
use super::output::Page;
use super::table::{Align, TextTable};
use super::torrent::short;
use super::{App, request_id};
use crate::connection::Client;
use crate::error::ClientError;
use crate::json::to_value;
use crate::time;
use crate::units::{bytes, bytes_per_second, credit, rate};

/// Boosts asked for at once.
const PAGE_SIZE: i32 = 1_000;
/// Pages read at most.
const PAGES_MAX: u32 = 100;

pub(super) async fn run(app: &mut App<'_>, command: BoostCommand) -> Result<(), ClientError> {
    match command {
        BoostCommand::Quote { id, bid } => quote(app, &id.id, bid).await,
        BoostCommand::Start {
            id,
            max,
            bid,
            duration,
            request_id: repeated,
        } => {
            let mut client = app.client().await?;
            let request = v1::CreateBoostRequest {
                request_id: repeated.map_or_else(request_id, Ok)?,
                info_hash: client.resolve(&id.id).await?,
                max_microcredits: max,
                bid_microcredits_per_gib: bid,
                time_to_live: duration.and_then(|duration| duration.try_into().ok()),
            };
            let answer = client.boosts.create_boost(request).await?.into_inner();
            let boost = answer.boost.clone().unwrap_or_default();
            app.printer.message(&answer, |page| {
                put_boost(page, &boost);
                page.next(format!("seedbank boost show {}", boost.boost_id));
            })
        }
        BoostCommand::List => list(app).await,
        BoostCommand::Show { boost_id } => {
            let mut client = app.client().await?;
            let request = v1::GetBoostRequest { boost_id };
            let answer = client.boosts.get_boost(request).await?.into_inner();
            app.printer.message(&answer, |page| {
                put_boost(page, &answer.boost.clone().unwrap_or_default());
            })
        }
        BoostCommand::Cancel { boost_id } => {
            let mut client = app.client().await?;
            let request = v1::CancelBoostRequest { boost_id };
            let answer = client.boosts.cancel_boost(request).await?.into_inner();
            app.printer.message(&answer, |page| {
                put_boost(page, &answer.boost.clone().unwrap_or_default());
                page.next("seedbank wallet balance");
            })
        }
    }
}

async fn quote(app: &mut App<'_>, id: &str, bid: Option<i64>) -> Result<(), ClientError> {
    let mut client = app.client().await?;
    let info_hash = client.resolve(id).await?;
    let request = v1::QuoteBoostRequest {
        info_hash: info_hash.clone(),
        bid_microcredits_per_gib: bid,
    };
    let quote = client.boosts.quote_boost(request).await?.into_inner();
    app.printer.message(&quote, |page| {
        put_quote(page, &quote);
        page.next(next_step(&quote, short(&info_hash), bid));
    })
}

fn put_quote(page: &mut Page, quote: &v1::QuoteBoostResponse) {
    page.fact("missing", bytes(quote.left_bytes));
    if quote.waiting_reason() == BoostWaitingReason::TorrentComplete {
        return page.fact("would wait", &quote.waiting_message);
    }
    page.fact("bid", rate(quote.bid_microcredits_per_gib));
    let max = credit(quote.max_cost_microcredits);
    page.fact("costs", format!("at most {max}"));
    page.fact("payees", quote.payee_count);
    if quote.payee_count > 0 {
        let lowest = rate(quote.lowest_ask_microcredits_per_gib);
        let highest = rate(quote.highest_ask_microcredits_per_gib);
        let asks = if lowest == highest {
            lowest
        } else {
            format!("{lowest} to {highest}")
        };
        page.fact("they ask", asks);
    }
    if quote.smallest_lock_microcredits > 0 {
        let smallest = credit(quote.smallest_lock_microcredits);
        page.fact(
            "budget",
            format!("at least {smallest}, the smallest lock, part of which may come back"),
        );
    }
    page.fact("you have", credit(quote.free_microcredits));
    page.fact("takes", expected(quote));
    if !quote.waiting_message.is_empty() {
        page.fact("would wait", &quote.waiting_message);
    }
}

/// How long the rest takes with and without, said as an estimate.
fn expected(quote: &v1::QuoteBoostResponse) -> String {
    let (Some(without), Some(with)) = (&quote.unboosted_duration, &quote.boosted_duration) else {
        return "not known yet: nobody who could be paid has sent enough to measure".to_owned();
    };
    let (without_secs, with_secs) = (without.seconds.max(1), with.seconds.max(1));
    let sooner = without_secs.saturating_sub(with_secs);
    let without = time::duration(without_secs);
    if sooner == 0 {
        return format!("about {without} with or without a boost, by the rates measured now");
    }
    let (with, sooner) = (time::duration(with_secs), time::duration(sooner));
    format!("about {with} instead of {without}, {sooner} sooner, by the rates measured now")
}

/// The command that is useful after a quote: the boost that it is a quote for, if it could pay.
fn next_step(quote: &v1::QuoteBoostResponse, id: &str, bid: Option<i64>) -> String {
    let amount = |text: String| text.replace(' ', "");
    let smallest = quote.smallest_lock_microcredits;
    match quote.waiting_reason() {
        BoostWaitingReason::TorrentComplete
        | BoostWaitingReason::TorrentPrivate
        | BoostWaitingReason::TorrentNotReady
        | BoostWaitingReason::PieceTooLong => return format!("seedbank show {id}"),
        BoostWaitingReason::BelowAsk => {
            let ask = amount(rate(quote.lowest_ask_microcredits_per_gib));
            return format!("seedbank boost quote {id} --bid {ask}");
        }
        BoostWaitingReason::SpendingOff => return "seedbank policy set spend=on".to_owned(),
        _ => {}
    }
    let max = quote.max_cost_microcredits.max(smallest);
    let max = max.min(quote.free_microcredits);
    if max <= 0 || max < smallest {
        return "seedbank wallet balance".to_owned();
    }
    let bid = bid.map(|bid| format!(" --bid {}", amount(rate(bid))));
    let bid = bid.unwrap_or_default();
    format!(
        "seedbank boost start {id} --max {}{bid}",
        amount(credit(max))
    )
}

async fn list(app: &mut App<'_>) -> Result<(), ClientError> {
    let mut client = app.client().await?;
    let boosts = all(&mut client).await?;
    let documents: Vec<Value> = boosts.iter().map(to_value).collect();
    app.printer
        .document(&json!({ "boosts": documents }), |page| {
            if boosts.is_empty() {
                page.line("no boosts");
                page.next("seedbank boost quote ID");
                return;
            }
            page.table(&table(&boosts));
            page.next(format!("seedbank boost show {}", boosts[0].boost_id));
        })
}

async fn all(client: &mut Client) -> Result<Vec<v1::Boost>, ClientError> {
    let mut boosts = Vec::new();
    let mut page_token = String::new();
    for _ in 0..PAGES_MAX {
        let request = v1::ListBoostsRequest {
            page_size: PAGE_SIZE,
            page_token,
            states: Vec::new(),
        };
        let answer = client.boosts.list_boosts(request).await?.into_inner();
        boosts.extend(answer.boosts);
        page_token = answer.next_page_token;
        if page_token.is_empty() {
            break;
        }
    }
    Ok(boosts)
}

fn table(boosts: &[v1::Boost]) -> TextTable {
    let mut table = TextTable::new(&[
        ("boost", Align::Right),
        ("torrent", Align::Left),
        ("state", Align::Left),
        ("bid", Align::Right),
        ("spent", Align::Right),
        ("locked", Align::Right),
        ("max", Align::Right),
    ]);
    for boost in boosts {
        table.row([
            boost.boost_id.clone(),
            short(&boost.info_hash).to_owned(),
            state_name(boost),
            rate(boost.bid_microcredits_per_gib),
            credit(boost.spent_microcredits),
            credit(boost.locked_microcredits),
            credit(boost.max_microcredits),
        ]);
    }
    table
}

fn put_boost(page: &mut Page, boost: &v1::Boost) {
    page.fact("boost", &boost.boost_id);
    page.fact("torrent", &boost.info_hash);
    page.fact("state", state_name(boost));
    page.fact("bid", rate(boost.bid_microcredits_per_gib));
    page.fact("max", credit(boost.max_microcredits));
    if !boost.waiting_message.is_empty() {
        page.fact("waits", &boost.waiting_message);
    }
    let spent = credit(boost.spent_microcredits);
    let ended = !matches!(boost.state(), BoostState::Active | BoostState::Waiting);
    if ended && boost.locked_microcredits > 0 {
        page.fact("spent", format!("{spent} so far: not all locks are closed"));
    } else {
        page.fact("spent", spent);
    }
    page.fact("locked", credit(boost.locked_microcredits));
    page.fact("free", credit(boost.free_microcredits));
    if boost.expire_time.is_some() {
        page.fact("ends", time::relative(boost.expire_time, time::now()));
    }
    put_report(page, boost);
    for payee in &boost.payees {
        let signed = credit(payee.signed_microcredits);
        let amount = credit(payee.amount_microcredits);
        let returns = time::relative(payee.return_time, time::now());
        let key = short(&payee.public_key);
        page.fact(
            "pays",
            format!("{key}: {signed} of {amount}, the rest returns {returns}"),
        );
    }
}

/// What it came to: what a GiB cost, and how fast it was against before.
fn put_report(page: &mut Page, boost: &v1::Boost) {
    if let Some(price) = boost.cost_microcredits_per_gib {
        let paid = bytes(boost.paid_bytes);
        page.fact("bought", format!("{paid} at {}", rate(price)));
    }
    let Some(boosted) = boost.boosted_bytes_per_second else {
        return;
    };
    let speed = bytes_per_second(boosted);
    page.fact(
        "speed",
        match boost.before_bytes_per_second {
            Some(0) => format!("{speed} while paid, nothing came before"),
            Some(before) => format!(
                "{speed} while paid, {} before: {} times",
                bytes_per_second(before),
                times(boosted, before)
            ),
            None => format!("{speed} while paid; before is not known"),
        },
    );
}

/// `2.5`: how often one goes into the other, rounded down to tenths.
fn times(count: i64, of: i64) -> String {
    let tenths = i128::from(count) * 10 / i128::from(of.max(1));
    format!("{}.{}", tenths / 10, tenths % 10)
}

/// `waiting: below ask`, `active`.
fn state_name(boost: &v1::Boost) -> String {
    let name = words(boost.state().as_str_name(), "BOOST_STATE_");
    match boost.waiting_reason() {
        BoostWaitingReason::Unspecified => name,
        reason => {
            let reason = words(reason.as_str_name(), "BOOST_WAITING_REASON_");
            format!("{name}: {reason}")
        }
    }
}

/// A name of the contract in words.
fn words(name: &str, prefix: &str) -> String {
    let name = name.strip_prefix(prefix).unwrap_or(name);
    name.to_ascii_lowercase().replace('_', " ")
}

#[cfg(test)]
mod tests {
    use super::*;

    const GIB: i64 = 1 << 30;

    /// 1 GiB at up to 4 cr/GiB from two payees.
    fn quote() -> v1::QuoteBoostResponse {
        v1::QuoteBoostResponse {
            left_bytes: GIB,
            bid_microcredits_per_gib: 4_000_000,
            max_cost_microcredits: 4_000_000,
            payee_count: 2,
            lowest_ask_microcredits_per_gib: 3_000_000,
            highest_ask_microcredits_per_gib: 5_000_000,
            smallest_lock_microcredits: 15_625,
            free_microcredits: 10_000_000,
            ..v1::QuoteBoostResponse::default()
        }
    }

    fn waits(reason: BoostWaitingReason) -> v1::QuoteBoostResponse {
        v1::QuoteBoostResponse {
            waiting_reason: reason.into(),
            waiting_message: "why".to_owned(),
            ..quote()
        }
    }

    #[test]
    fn the_boost_that_is_proposed_is_the_one_that_was_quoted() {
        assert_eq!(
            next_step(&quote(), "abc", Some(4_000_000)),
            "seedbank boost start abc --max 4.000000cr --bid 4.000000cr/GiB"
        );
        assert_eq!(
            next_step(&quote(), "abc", None),
            "seedbank boost start abc --max 4.000000cr"
        );
        let rest = v1::QuoteBoostResponse {
            left_bytes: 1,
            max_cost_microcredits: 1,
            ..quote()
        };
        assert_eq!(
            next_step(&rest, "abc", None),
            "seedbank boost start abc --max 0.015625cr",
            "a smaller budget fills no lock"
        );
        let poor = v1::QuoteBoostResponse {
            free_microcredits: 1,
            ..quote()
        };
        assert_eq!(next_step(&poor, "abc", None), "seedbank wallet balance");
    }

    #[test]
    fn a_boost_that_could_not_pay_is_not_proposed() {
        let step = |reason| next_step(&waits(reason), "abc", None);
        assert_eq!(
            step(BoostWaitingReason::BelowAsk),
            "seedbank boost quote abc --bid 3.000000cr/GiB"
        );
        assert_eq!(
            step(BoostWaitingReason::TorrentComplete),
            "seedbank show abc"
        );
        assert_eq!(
            step(BoostWaitingReason::SpendingOff),
            "seedbank policy set spend=on"
        );
    }

    #[test]
    fn an_estimate_is_said_as_one_and_not_at_all_without_a_measurement() {
        assert!(expected(&quote()).starts_with("not known yet"));
        let span = |seconds| Some(prost_types::Duration { seconds, nanos: 0 });
        let measured = v1::QuoteBoostResponse {
            unboosted_duration: span(100),
            boosted_duration: span(40),
            ..quote()
        };
        assert_eq!(
            expected(&measured),
            "about 40 s instead of 1 min, 1 min sooner, by the rates measured now"
        );
        let alone = v1::QuoteBoostResponse {
            boosted_duration: span(100),
            ..measured
        };
        assert!(expected(&alone).contains("with or without"));
    }

    #[test]
    fn a_waiting_boost_says_for_what_and_how_fast_one_was_is_said_against_before() {
        let mut boost = v1::Boost {
            state: BoostState::Waiting.into(),
            waiting_reason: BoostWaitingReason::BelowAsk.into(),
            ..v1::Boost::default()
        };
        assert_eq!(state_name(&boost), "waiting: below ask");
        boost.waiting_reason = BoostWaitingReason::Unspecified.into();
        boost.state = BoostState::Exhausted.into();
        assert_eq!(state_name(&boost), "exhausted");
        assert_eq!(times(25, 10), "2.5");
        assert_eq!(times(i64::MAX, 1), "9223372036854775807.0");
    }
}
