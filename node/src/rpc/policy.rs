//! `PolicyService`.

use std::sync::Arc;

use seedbank_engine::interface::command::Command;
use seedbank_engine::interface::config::{PaidRule, Policy};
use seedbank_ledger::Rate;
use seedbank_proto::v1::policy_service_server::PolicyService;
use seedbank_proto::{Failure, v1};
use tokio::sync::Mutex;
use tonic::{Request, Response, Status};

use super::backend::Backend;
use super::{error, field, message};

/// Most slots.
const SLOTS_MAX: usize = 1_000;
/// Most friends.
const FRIENDS_MAX: usize = 1_000;

/// What the owner wants, changeable while the node runs.
pub(super) struct Policies {
    backend: Arc<dyn Backend>,
    /// Held from reading the policy to replacing it, so that no change is lost between.
    turn: Mutex<()>,
}

type Answer<T> = Result<Response<T>, Status>;

impl Policies {
    pub(super) fn new(backend: Arc<dyn Backend>) -> Self {
        Self {
            backend,
            turn: Mutex::new(()),
        }
    }
}

#[tonic::async_trait]
impl PolicyService for Policies {
    async fn get_policy(&self, _: Request<v1::GetPolicyRequest>) -> Answer<v1::GetPolicyResponse> {
        let policy = self.backend.policy().await.map_err(error::of_stopping)?;
        Ok(Response::new(v1::GetPolicyResponse {
            policy: Some(message::policy(&policy, self.backend.info().par_price())),
        }))
    }

    async fn set_policy(
        &self,
        request: Request<v1::SetPolicyRequest>,
    ) -> Answer<v1::SetPolicyResponse> {
        let request = request.into_inner();
        let wanted = request.policy.unwrap_or_default();
        let paths = request.update_mask.unwrap_or_default().paths;
        if paths.is_empty() {
            return Err(field::bad("update_mask", "names no field").into());
        }
        let _turn = self.turn.lock().await;
        let mut policy = self.backend.policy().await.map_err(error::of_stopping)?;
        for path in &paths {
            apply(&mut policy, &wanted, path)?;
        }
        let reply = self.backend.command(Command::SetPolicy(policy.clone()));
        reply.await.map_err(|error| error::of_command(&error))?;
        Ok(Response::new(v1::SetPolicyResponse {
            policy: Some(message::policy(&policy, self.backend.info().par_price())),
        }))
    }
}

/// Takes one named field over.
fn apply(policy: &mut Policy, wanted: &v1::Policy, path: &str) -> Result<(), Failure> {
    match path {
        "earn" => policy.credit.earn = wanted.earn,
        "spend" => policy.credit.spend = wanted.spend,
        "min_rate_microcredits_per_gib" => {
            let raw = wanted.min_rate_microcredits_per_gib;
            policy.credit.rate_min = raw.map(|raw| ask(path, raw)).transpose()?;
        }
        "open_share_percent" => {
            policy.open_share_percent = u8::try_from(wanted.open_share_percent)
                .ok()
                .filter(|percent| *percent <= 100)
                .ok_or_else(|| {
                    let percent = wanted.open_share_percent;
                    field::bad(path, format!("must be 0 to 100, not {percent}"))
                })?;
        }
        "paid_rule" => policy.paid_rule = paid_rule(wanted.paid_rule())?,
        "slot_count" => {
            policy.slots = usize::try_from(wanted.slot_count)
                .ok()
                .filter(|slots| (1..=SLOTS_MAX).contains(slots))
                .ok_or_else(|| {
                    let slots = wanted.slot_count;
                    field::bad(path, format!("must be 1 to {SLOTS_MAX}, not {slots}"))
                })?;
        }
        "upload_limit_bytes_per_second" => {
            policy.upload_limit = limit(path, wanted.upload_limit_bytes_per_second)?;
        }
        "download_limit_bytes_per_second" => {
            policy.download_limit = limit(path, wanted.download_limit_bytes_per_second)?;
        }
        "max_spend_per_day_microcredits" => {
            policy.credit.spend_per_day_max = wanted
                .max_spend_per_day_microcredits
                .map(|raw| field::amount(path, raw))
                .transpose()?;
        }
        "friends" => {
            if wanted.friends.len() > FRIENDS_MAX {
                return Err(field::bad(
                    path,
                    format!(
                        "must be at most {FRIENDS_MAX} keys, not {}",
                        wanted.friends.len()
                    ),
                ));
            }
            let keys = wanted.friends.iter().map(|key| field::node_id(path, key));
            policy.credit.friends = keys.collect::<Result<_, _>>()?;
        }
        other => {
            return Err(field::bad(
                "update_mask",
                format!("names no field of policy: {other:?}"),
            ));
        }
    }
    Ok(())
}

/// 0 is a price too: any bid is served as paid.
fn ask(path: &str, raw: i64) -> Result<Rate, Failure> {
    match raw {
        0 => Ok(Rate::ZERO),
        raw => field::rate(path, raw),
    }
}

fn limit(path: &str, raw: Option<i64>) -> Result<Option<u64>, Failure> {
    let Some(raw) = raw else {
        return Ok(None);
    };
    match u64::try_from(raw) {
        Ok(limit) if limit > 0 => Ok(Some(limit)),
        _ => Err(field::bad(
            path,
            "must be above 0; leave it out for no limit",
        )),
    }
}

fn paid_rule(rule: v1::PaidRule) -> Result<PaidRule, Failure> {
    match rule {
        v1::PaidRule::TopK => Ok(PaidRule::TopK),
        v1::PaidRule::Proportional => Ok(PaidRule::Proportional),
        v1::PaidRule::UniformPrice => Ok(PaidRule::UniformPrice),
        v1::PaidRule::Unspecified => Err(field::bad("paid_rule", "is none that this node knows")),
    }
}
