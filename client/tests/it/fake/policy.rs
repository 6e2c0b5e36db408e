//! The policy of the fake: set in two fields, taken back in one.

use seedbank_proto::v1;
use seedbank_proto::v1::policy_service_server::PolicyService;
use tonic::Request;

use super::{Answer, Fake, answer};

#[tonic::async_trait]
impl PolicyService for Fake {
    async fn get_policy(&self, _: Request<v1::GetPolicyRequest>) -> Answer<v1::GetPolicyResponse> {
        answer(v1::GetPolicyResponse {
            policy: Some(policy()),
            origins: vec![origin("slot_count", v1::PolicyOrigin::Default)],
        })
    }

    async fn reset_policy(
        &self,
        request: Request<v1::ResetPolicyRequest>,
    ) -> Answer<v1::ResetPolicyResponse> {
        let paths = request.into_inner().fields.unwrap_or_default().paths;
        assert_eq!(paths, ["slot_count"]);
        answer(v1::ResetPolicyResponse {
            policy: Some(policy()),
            origins: vec![origin("slot_count", v1::PolicyOrigin::Default)],
        })
    }

    async fn set_policy(
        &self,
        request: Request<v1::SetPolicyRequest>,
    ) -> Answer<v1::SetPolicyResponse> {
        let request = request.into_inner();
        let wanted = request.policy.unwrap_or_default();
        let paths = request.update_mask.unwrap_or_default().paths;
        assert_eq!(paths, ["spend", "slot_count"]);
        answer(v1::SetPolicyResponse {
            policy: Some(v1::Policy {
                spend: wanted.spend,
                slot_count: wanted.slot_count,
                ..policy()
            }),
            kept: !request.until_restart,
            origins: vec![v1::PolicyFieldOrigin {
                outranked_by: "--set".into(),
                ..origin("slot_count", v1::PolicyOrigin::PolicySet)
            }],
        })
    }
}

fn policy() -> v1::Policy {
    v1::Policy {
        earn: true,
        spend: true,
        ask_microcredits_per_gib: 1_000_000,
        open_share_percent: 30,
        paid_rule: v1::PaidRule::TopK.into(),
        slot_count: 8,
        upload_limit_bytes_per_second: Some(4 << 20),
        ..v1::Policy::default()
    }
}

fn origin(field: &str, origin: v1::PolicyOrigin) -> v1::PolicyFieldOrigin {
    v1::PolicyFieldOrigin {
        field: field.into(),
        origin: origin.into(),
        ..v1::PolicyFieldOrigin::default()
    }
}
