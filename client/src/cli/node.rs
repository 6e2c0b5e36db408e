//! `status`, `health`, `shutdown`.

use seedbank_proto::v1;
use serde_json::json;
use tonic_health::pb::HealthCheckRequest;
use tonic_health::pb::health_check_response::ServingStatus;

use super::App;
use crate::error::ClientError;
use crate::json::to_value;
use crate::time;
use crate::units::{bytes, bytes_per_second, credit};

pub(super) async fn status(app: &mut App<'_>) -> Result<(), ClientError> {
    let mut client = app.client().await?;
    let node = client.node.get_node_info(v1::GetNodeInfoRequest {});
    let node = node.await?.into_inner();
    let stats = client.node.get_stats(v1::GetStatsRequest {});
    let stats = stats.await?.into_inner();
    let balance = client.wallet.get_balance(v1::GetBalanceRequest {});
    let balance = balance.await?.into_inner();
    let document = json!({
        "node": to_value(&node),
        "stats": to_value(&stats),
        "balance": to_value(&balance),
    });
    app.printer.document(&document, |page| {
        page.fact("node", &node.public_key);
        let up = time::relative(node.start_time, time::now());
        page.fact("seedbankd", format!("{}, started {up}", node.version));
        page.fact("network", network(&node, &balance));
        page.fact("listening", node.listen_addresses.join(", "));
        page.fact(
            "torrents",
            format!("{}, {} seeding", stats.torrent_count, stats.seeding_count),
        );
        page.fact(
            "peers",
            format!(
                "{} connected, {} unchoked, {} with a key",
                stats.peer_count, stats.unchoked_peer_count, stats.keyed_peer_count
            ),
        );
        page.fact(
            "up",
            format!(
                "{}, {} in all",
                bytes_per_second(stats.upload_bytes_per_second),
                bytes(stats.uploaded_bytes)
            ),
        );
        page.fact(
            "down",
            format!(
                "{}, {} in all",
                bytes_per_second(stats.download_bytes_per_second),
                bytes(stats.downloaded_bytes)
            ),
        );
        if let Some(ratio) = stats.ratio_thousandths {
            page.fact("ratio", format!("{}.{:03}", ratio / 1_000, ratio % 1_000));
        }
        page.fact(
            "balance",
            format!(
                "{} free, {} locked",
                credit(balance.free_microcredits),
                credit(balance.locked_microcredits)
            ),
        );
        page.next(if stats.torrent_count == 0 {
            "seedbank add FILE.torrent"
        } else {
            "seedbank ls"
        });
    })
}

pub(super) async fn health(app: &mut App<'_>, service: Option<String>) -> Result<(), ClientError> {
    let mut client = app.client().await?;
    let request = HealthCheckRequest {
        service: service.unwrap_or_default(),
    };
    let answer = client.health.check(request).await?.into_inner();
    let status = answer.status().as_str_name();
    app.printer
        .document(&json!({ "status": status }), |page| page.line(status))?;
    match answer.status() {
        ServingStatus::Serving => Ok(()),
        ServingStatus::Unknown | ServingStatus::NotServing | ServingStatus::ServiceUnknown => Err(
            ClientError::CheckFailed("the daemon does not serve".to_owned()),
        ),
    }
}

pub(super) async fn shutdown(app: &mut App<'_>) -> Result<(), ClientError> {
    let mut client = app.client().await?;
    let answer = client.node.shutdown(v1::ShutdownRequest {}).await?;
    app.printer
        .message(&answer.into_inner(), |page| page.line("stopping"))
}

fn network(node: &v1::GetNodeInfoResponse, balance: &v1::GetBalanceResponse) -> String {
    if node.network_id.is_empty() {
        return "none: this node neither earns nor spends".to_owned();
    }
    let settlement = match (node.settlement_role, balance.settlement_reachable) {
        (true, _) => "kept here".to_owned(),
        (false, _) if node.settlement_uri.is_empty() => "no settlement node configured".to_owned(),
        (false, true) => format!("settlement {} reachable", node.settlement_uri),
        (false, false) => format!("settlement {} not reachable", node.settlement_uri),
    };
    format!("{}, {settlement}", node.network_name)
}
