//! The network of the fake: one member, one grant.

use seedbank_proto::v1;
use seedbank_proto::v1::network_service_server::NetworkService;
use tonic::Request;

use super::{Answer, Fake, KEY, answer, time};

#[tonic::async_trait]
impl NetworkService for Fake {
    async fn get_network(
        &self,
        _: Request<v1::GetNetworkRequest>,
    ) -> Answer<v1::GetNetworkResponse> {
        answer(v1::GetNetworkResponse {
            network_id: KEY.into(),
            display_name: "testers".into(),
            par_microcredits_per_gib: 1_000_000,
            granted_microcredits: 100_000_000,
            supply_microcredits: 100_000_000,
            account_microcredits: 98_000_000,
            lock_microcredits: 2_000_000,
            member_count: 1,
            open_lock_count: 1,
            entry_count: 3,
            can_grant: true,
            ..v1::GetNetworkResponse::default()
        })
    }

    async fn list_members(
        &self,
        request: Request<v1::ListMembersRequest>,
    ) -> Answer<v1::ListMembersResponse> {
        assert_eq!(request.get_ref().page_size, 1);
        answer(v1::ListMembersResponse {
            members: vec![v1::NetworkMember {
                public_key: KEY.into(),
                available_microcredits: 98_000_000,
                locked_microcredits: 2_000_000,
                received_microcredits: 100_000_000,
                sent_microcredits: 2_000_000,
            }],
            next_page_token: "c0".into(),
        })
    }

    async fn list_grants(
        &self,
        _: Request<v1::ListGrantsRequest>,
    ) -> Answer<v1::ListGrantsResponse> {
        answer(v1::ListGrantsResponse {
            grants: vec![v1::NetworkGrant {
                sequence: 1,
                create_time: time(1_700_000_000),
                to: KEY.into(),
                amount_microcredits: 100_000_000,
                issuer: KEY.into(),
                reason: "welcome".into(),
            }],
            next_page_token: String::new(),
        })
    }
}
