//! `network`: the network as its settlement node sees it.

use seedbank_proto::v1;

use super::App;
use super::args::NetworkView;
use super::output::Page;
use super::table::{Align, TextTable};
use crate::error::ClientError;
use crate::time;
use crate::units::{credit, rate};

pub(super) async fn run(app: &mut App<'_>, command: NetworkView) -> Result<(), ClientError> {
    match command {
        NetworkView::Show => show(app).await,
        NetworkView::Members { limit, page } => members(app, limit, page).await,
        NetworkView::Grants { limit, page } => grants(app, limit, page).await,
    }
}

async fn show(app: &mut App<'_>) -> Result<(), ClientError> {
    let mut client = app.client().await?;
    let answer = client.network.get_network(v1::GetNetworkRequest {});
    let network = answer.await?.into_inner();
    app.printer.message(&network, |page| {
        page.fact("network", &network.display_name);
        page.fact("id", &network.network_id);
        page.fact("par", rate(network.par_microcredits_per_gib));
        page.fact("granted", credit(network.granted_microcredits));
        page.fact("burned", credit(network.burned_microcredits));
        page.fact("supply", credit(network.supply_microcredits));
        page.fact("in accounts", credit(network.account_microcredits));
        let locks = credit(network.lock_microcredits);
        page.fact(
            "in locks",
            format!("{locks}, {} open", network.open_lock_count),
        );
        page.fact("members", network.member_count);
        page.fact("entries", network.entry_count);
        let grants = match network.can_grant {
            true => "made here",
            false => "not made here: this node has no issuer's key",
        };
        page.fact("grants", grants);
        page.next("seedbank network members");
    })
}

async fn members(app: &mut App<'_>, limit: u32, page_token: String) -> Result<(), ClientError> {
    let mut client = app.client().await?;
    let request = v1::ListMembersRequest {
        page_size: page_size(limit)?,
        page_token,
    };
    let answer = client.network.list_members(request).await?.into_inner();
    app.printer.message(&answer, |page| {
        let mut table = TextTable::new(&[
            ("free", Align::Right),
            ("in locks", Align::Right),
            ("came in", Align::Right),
            ("went out", Align::Right),
            ("key", Align::Left),
        ]);
        for member in &answer.members {
            table.row([
                credit(member.available_microcredits),
                credit(member.locked_microcredits),
                credit(member.received_microcredits),
                credit(member.sent_microcredits),
                member.public_key.clone(),
            ]);
        }
        page.table(&table);
        hint(page, "members", &answer.next_page_token);
    })
}

async fn grants(app: &mut App<'_>, limit: u32, page_token: String) -> Result<(), ClientError> {
    let mut client = app.client().await?;
    let request = v1::ListGrantsRequest {
        page_size: page_size(limit)?,
        page_token,
    };
    let answer = client.network.list_grants(request).await?.into_inner();
    app.printer.message(&answer, |page| {
        let mut table = TextTable::new(&[
            ("entry", Align::Right),
            ("when", Align::Left),
            ("amount", Align::Right),
            ("to", Align::Left),
            ("reason", Align::Left),
        ]);
        for grant in &answer.grants {
            table.row([
                grant.sequence.to_string(),
                time::minute(grant.create_time),
                credit(grant.amount_microcredits),
                grant.to.clone(),
                grant.reason.clone(),
            ]);
        }
        page.table(&table);
        hint(page, "grants", &answer.next_page_token);
    })
}

/// The command for the next page, if there is one.
fn hint(page: &mut Page, list: &str, next_page_token: &str) {
    if !next_page_token.is_empty() {
        page.next(format!("seedbank network {list} --page {next_page_token}"));
    }
}

fn page_size(limit: u32) -> Result<i32, ClientError> {
    i32::try_from(limit)
        .ok()
        .filter(|size| (1..=1_000).contains(size))
        .ok_or_else(|| ClientError::Usage(format!("--limit {limit} is not 1 to 1000")))
}
