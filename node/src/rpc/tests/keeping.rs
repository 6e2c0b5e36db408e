//! What the owner is told of that lasts: the policy that is kept, the network that is.

use seedbank_ledger::charts::network::NetworkLedger;
use seedbank_ledger::settlement::{Issuing, NewGrant};
use seedbank_ledger::store::Memory;
use seedbank_ledger::{Genesis, Identity, MicroCredits, UnixTime};
use seedbank_proto::v1::network_service_client::NetworkServiceClient;

use super::*;
use crate::settlement::Keeper;

const NOW: UnixTime = UnixTime::from_secs(1_700_000_000);

fn mask(paths: &[&str]) -> Option<prost_types::FieldMask> {
    let paths = paths.iter().map(|path| (*path).to_owned()).collect();
    Some(prost_types::FieldMask { paths })
}

fn slots(count: i32, until_restart: bool) -> v1::SetPolicyRequest {
    v1::SetPolicyRequest {
        policy: Some(v1::Policy {
            slot_count: count,
            ..v1::Policy::default()
        }),
        update_mask: mask(&["slot_count"]),
        until_restart,
    }
}

#[track_caller]
fn origin_of(origins: &[v1::PolicyFieldOrigin], field: &str) -> v1::PolicyOrigin {
    let origin = origins.iter().find(|origin| origin.field == field);
    origin.unwrap().origin()
}

#[tokio::test]
async fn a_policy_that_is_set_is_kept_unless_it_is_to_end_with_the_daemon() {
    let served = Served::start().await;
    let file = served.folder.path().join("policy.toml");
    let mut policy = PolicyServiceClient::new(served.unix().await);
    let set = policy
        .set_policy(slots(3, true))
        .await
        .unwrap()
        .into_inner();
    assert!(!set.kept);
    let origin = origin_of(&set.origins, "slot_count");
    assert_eq!(origin, v1::PolicyOrigin::UntilRestart);
    assert_eq!(set.policy.unwrap().slot_count, 3);
    assert!(!file.exists());

    let set = policy
        .set_policy(slots(5, false))
        .await
        .unwrap()
        .into_inner();
    assert!(set.kept);
    let origin = origin_of(&set.origins, "slot_count");
    assert_eq!(origin, v1::PolicyOrigin::PolicySet);
    let text = std::fs::read_to_string(&file).unwrap();
    assert!(text.ends_with("[earn]\nslots = 5\n"), "{text}");

    let reset = v1::ResetPolicyRequest {
        fields: mask(&["slot_count", "earn"]),
    };
    let reset = policy.reset_policy(reset).await.unwrap().into_inner();
    let origin = origin_of(&reset.origins, "slot_count");
    assert_eq!(origin, v1::PolicyOrigin::Default);
    let now = reset.policy.unwrap();
    assert_eq!(now.slot_count, 8);
    assert!(!file.exists());
    let got = policy.get_policy(v1::GetPolicyRequest {}).await.unwrap();
    assert_eq!(got.into_inner().policy.unwrap(), now);
    for fields in [mask(&[]), mask(&["colour"]), None] {
        let reset = v1::ResetPolicyRequest { fields };
        let status = policy.reset_policy(reset).await.unwrap_err();
        assert_reason(&status, Code::InvalidArgument, ErrorReason::BadField);
    }
}

#[tokio::test]
async fn a_policy_that_cannot_be_kept_is_not_in_force() {
    let served = Served::start_with(|folder| Fake::new(&folder.join("nowhere"))).await;
    let mut policy = PolicyServiceClient::new(served.unix().await);
    let status = policy.set_policy(slots(5, false)).await.unwrap_err();
    assert_reason(&status, Code::NotFound, ErrorReason::PathUnknown);
    assert!(status.message().contains("nothing is changed"), "{status}");
    let got = policy.get_policy(v1::GetPolicyRequest {}).await.unwrap();
    assert_eq!(got.into_inner().policy.unwrap().slot_count, 8);
    policy.set_policy(slots(5, true)).await.unwrap();
}

#[tokio::test]
async fn a_network_is_shown_where_its_ledger_is_kept_and_nowhere_else() {
    let served = Served::start().await;
    let mut network = NetworkServiceClient::new(served.unix().await);
    let status = network.get_network(v1::GetNetworkRequest {}).await;
    let (code, reason) = (Code::FailedPrecondition, ErrorReason::NotSettlementNode);
    assert_reason(&status.unwrap_err(), code, reason);
    let status = network.list_members(v1::ListMembersRequest::default());
    assert_reason(&status.await.unwrap_err(), code, reason);
    let status = network.list_grants(v1::ListGrantsRequest::default());
    assert_reason(&status.await.unwrap_err(), code, reason);
}

#[tokio::test]
async fn a_keeper_sees_supply_members_and_grants_with_their_reasons() {
    let key = |byte: u8| Identity::from_secret([byte; 32]);
    let text = Genesis::render("testers", key(201).id(), &[key(202).id()]).unwrap();
    let genesis = Genesis::parse(&text).unwrap();
    let store = Memory::new();
    let ledger = NetworkLedger::found(store.clone(), genesis, key(201), NOW).unwrap();
    let issuing = Some(Issuing::new(key(202), store));
    let (keeper, _thread) = Keeper::start(ledger, issuing, || NOW).unwrap();
    for byte in 1..=5_u8 {
        let grant = NewGrant {
            request_id: byte.to_string(),
            to: key(byte).id(),
            amount: MicroCredits::new(100 + u64::from(byte)),
            reason: format!("reason {byte}"),
        };
        keeper.grant(grant).await.unwrap();
    }
    let served = Served::start_with(|folder| Fake::keeping(folder, keeper)).await;
    let mut network = NetworkServiceClient::new(served.unix().await);
    let shown = network.get_network(v1::GetNetworkRequest {}).await;
    let shown = shown.unwrap().into_inner();
    assert_eq!(shown.granted_microcredits, 515);
    assert_eq!(shown.supply_microcredits, 515);
    assert_eq!(shown.account_microcredits + shown.lock_microcredits, 515);
    assert_eq!((shown.member_count, shown.entry_count), (5, 6));
    assert!(shown.can_grant);

    let (mut members, mut page_token) = (Vec::new(), String::new());
    loop {
        let page_size = 2;
        let request = v1::ListMembersRequest {
            page_size,
            page_token,
        };
        let page = network.list_members(request).await.unwrap().into_inner();
        members.extend(page.members);
        page_token = page.next_page_token;
        if page_token.is_empty() {
            break;
        }
    }
    assert_eq!(members.len(), 5);
    assert!(members.is_sorted_by_key(|member| member.public_key.clone()));
    let sum: i64 = members
        .iter()
        .map(|member| member.available_microcredits)
        .sum();
    assert_eq!(sum, 515);

    let (mut grants, mut page_token) = (Vec::new(), String::new());
    loop {
        let page_size = 2;
        let request = v1::ListGrantsRequest {
            page_size,
            page_token,
        };
        let page = network.list_grants(request).await.unwrap().into_inner();
        grants.extend(page.grants);
        page_token = page.next_page_token;
        if page_token.is_empty() {
            break;
        }
    }
    let reasons: Vec<String> = grants.iter().map(|grant| grant.reason.clone()).collect();
    assert_eq!(
        reasons,
        ["reason 5", "reason 4", "reason 3", "reason 2", "reason 1"]
    );
    assert_eq!(grants[0].to, key(5).id().to_string());
    assert_eq!(grants[0].amount_microcredits, 105);
    assert_eq!(grants[0].issuer, key(202).id().to_string());
}
