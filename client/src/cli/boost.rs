//! `boost`: credit for being served first.

use seedbank_proto::v1;
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
use crate::units::{bytes, credit, rate};

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
        page.fact("missing", bytes(quote.left_bytes));
        page.fact("bid", rate(quote.bid_microcredits_per_gib));
        page.fact(
            "costs",
            format!("at most {}", credit(quote.max_cost_microcredits)),
        );
        page.fact("payees", quote.payee_count);
        page.fact(
            "they ask",
            format!("at most {}", rate(quote.min_rate_microcredits_per_gib)),
        );
        page.fact("you have", credit(quote.available_microcredits));
        let max = credit(quote.max_cost_microcredits).replace(' ', "");
        page.next(format!(
            "seedbank boost start {} --max {max}",
            short(&info_hash)
        ));
    })
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
    page.fact("spent", credit(boost.spent_microcredits));
    page.fact("locked", credit(boost.locked_microcredits));
    page.fact("free", credit(boost.free_microcredits));
    if boost.expire_time.is_some() {
        page.fact("ends", time::relative(boost.expire_time, time::now()));
    }
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

fn state_name(boost: &v1::Boost) -> String {
    let name = boost.state().as_str_name();
    let name = name.strip_prefix("BOOST_STATE_").unwrap_or(name);
    name.to_ascii_lowercase()
}
