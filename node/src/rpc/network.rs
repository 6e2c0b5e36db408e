//! `NetworkService`: the network's ledger as its keeper sees it.

use std::sync::Arc;

use seedbank_engine::text::printable;
use seedbank_ledger::charts::network::{AccountSummary, GrantSummary};
use seedbank_ledger::signed::order::REASON_LEN_MAX;
use seedbank_ledger::{NodeId, Sequence};
use seedbank_proto::v1::ErrorReason;
use seedbank_proto::v1::network_service_server::NetworkService;
use seedbank_proto::{Failure, v1};
use tonic::{Request, Response, Status};

use super::backend::{Backend, NetworkInfo};
use super::{error, field, message};
use crate::settlement::Keeper;

/// What a settlement node tells its owner.
pub(super) struct NetworkApi {
    pub(super) backend: Arc<dyn Backend>,
}

type Answer<T> = Result<Response<T>, Status>;

impl NetworkApi {
    fn keeper(&self) -> Result<(&Keeper, &NetworkInfo), Failure> {
        let network = self.backend.info().network.as_ref();
        self.backend.keeper().zip(network).ok_or_else(|| {
            let message = "this node keeps no network's ledger: ask on the settlement node";
            Failure::new(ErrorReason::NotSettlementNode, message)
        })
    }
}

#[tonic::async_trait]
impl NetworkService for NetworkApi {
    async fn get_network(
        &self,
        _: Request<v1::GetNetworkRequest>,
    ) -> Answer<v1::GetNetworkResponse> {
        let (keeper, network) = self.keeper()?;
        let overview = keeper.overview().await;
        let overview = overview.map_err(|error| error::of_keeper(&error))?;
        let sums = overview.sums;
        Ok(Response::new(v1::GetNetworkResponse {
            network_id: network.id.to_string(),
            display_name: network.name.clone(),
            par_microcredits_per_gib: message::rate(network.par_price),
            granted_microcredits: narrow(sums.granted),
            burned_microcredits: narrow(sums.burned),
            supply_microcredits: message::credit(sums.supply),
            account_microcredits: narrow(sums.available),
            lock_microcredits: narrow(sums.escrow),
            member_count: message::number(sums.member_count),
            open_lock_count: message::number(sums.lock_count),
            entry_count: message::number(overview.entry_count),
            can_grant: overview.can_grant,
        }))
    }

    async fn list_members(
        &self,
        request: Request<v1::ListMembersRequest>,
    ) -> Answer<v1::ListMembersResponse> {
        let request = request.into_inner();
        let (keeper, _) = self.keeper()?;
        let size = field::page_size(request.page_size)?;
        let after = field::page_token(&request.page_token, NodeId::from_hex)?;
        let members = keeper.members(after, size).await;
        let members = members.map_err(|error| error::of_keeper(&error))?;
        // A full page may be the last one; the next is empty then.
        let last = members.last().filter(|_| members.len() == size);
        Ok(Response::new(v1::ListMembersResponse {
            next_page_token: last
                .map(|last| last.account.to_string())
                .unwrap_or_default(),
            members: members.iter().map(member).collect(),
        }))
    }

    async fn list_grants(
        &self,
        request: Request<v1::ListGrantsRequest>,
    ) -> Answer<v1::ListGrantsResponse> {
        let request = request.into_inner();
        let (keeper, _) = self.keeper()?;
        let size = field::page_size(request.page_size)?;
        let before = field::page_token(&request.page_token, |text| text.parse().ok())?;
        let page = keeper.grants(before.map(Sequence::new), size).await;
        let page = page.map_err(|error| error::of_keeper(&error))?;
        Ok(Response::new(v1::ListGrantsResponse {
            grants: page.grants.iter().map(grant).collect(),
            next_page_token: page
                .next
                .map(|next| next.get().to_string())
                .unwrap_or_default(),
        }))
    }
}

fn member(member: &AccountSummary) -> v1::NetworkMember {
    v1::NetworkMember {
        public_key: member.account.to_string(),
        available_microcredits: message::credit(member.available),
        locked_microcredits: message::credit(member.reserved),
        received_microcredits: narrow(member.credited),
        sent_microcredits: narrow(member.debited),
    }
}

fn grant((grant, reason): &(GrantSummary, String)) -> v1::NetworkGrant {
    v1::NetworkGrant {
        sequence: message::number(grant.sequence.get()),
        create_time: Some(message::time(grant.time)),
        to: grant.to.to_string(),
        amount_microcredits: message::credit(grant.amount),
        issuer: grant.issuer.to_string(),
        reason: printable(reason.as_bytes(), REASON_LEN_MAX),
    }
}

/// Held inside the range of the contract's integers.
fn narrow(wide: u128) -> i64 {
    i64::try_from(wide).unwrap_or(i64::MAX)
}
