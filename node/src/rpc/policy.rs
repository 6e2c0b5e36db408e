//! `PolicyService`: the policy in force, and what is kept of it across restarts.

use std::io;
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
use crate::host::config::kept::{KeptPolicy, PolicyField};
use crate::host::config::layers::Origin;
use crate::inbox::Stopping;

/// Most slots.
const SLOTS_MAX: usize = 1_000;
/// Most friends.
const FRIENDS_MAX: usize = 1_000;

/// Fields of the contract's policy, and what they are here.
const FIELDS: [(&str, PolicyField); 10] = [
    ("earn", PolicyField::Earn),
    ("spend", PolicyField::Spend),
    ("min_rate_microcredits_per_gib", PolicyField::MinPrice),
    ("open_share_percent", PolicyField::OpenShare),
    ("paid_rule", PolicyField::Rule),
    ("slot_count", PolicyField::Slots),
    ("upload_limit_bytes_per_second", PolicyField::UploadLimit),
    (
        "download_limit_bytes_per_second",
        PolicyField::DownloadLimit,
    ),
    ("friends", PolicyField::Friends),
    ("max_spend_per_day_microcredits", PolicyField::MaxPerDay),
];

/// What the owner wants, changeable while the node runs.
#[derive(Clone)]
pub(super) struct Policies {
    backend: Arc<dyn Backend>,
    /// Held from reading the policy until it is on record, so that no change is lost between.
    turn: Arc<Mutex<()>>,
}

type Answer<T> = Result<Response<T>, Status>;

impl Policies {
    pub(super) fn new(backend: Arc<dyn Backend>) -> Self {
        Self {
            backend,
            turn: Arc::new(Mutex::new(())),
        }
    }

    fn message(&self, policy: &Policy) -> v1::Policy {
        message::policy(policy, self.backend.info().par_price())
    }

    fn origins(&self) -> Vec<v1::PolicyFieldOrigin> {
        let kept = self.backend.kept_policy();
        FIELDS
            .iter()
            .map(|(name, field)| origin(kept, name, *field))
            .collect()
    }

    async fn put_in_force(&self, policy: &Policy) -> Result<(), Failure> {
        let reply = self.backend.command(Command::SetPolicy(policy.clone()));
        let reply = reply.await;
        reply.map(drop).map_err(|error| error::of_command(&error))
    }

    /// Puts `policy` in force, then on record. What cannot be kept is not in force either.
    async fn change(
        &self,
        before: &Policy,
        policy: &Policy,
        record: impl FnOnce(&KeptPolicy) -> io::Result<()> + Send + 'static,
    ) -> Result<(), Failure> {
        self.put_in_force(policy).await?;
        let backend = Arc::clone(&self.backend);
        let recorded = tokio::task::spawn_blocking(move || record(backend.kept_policy()));
        let Err(error) = recorded.await.expect("keeping a policy does not panic") else {
            return Ok(());
        };
        self.put_in_force(before).await?;
        Err(error::of_unkept(&error))
    }

    /// Changes the named fields.
    async fn set(&self, request: v1::SetPolicyRequest) -> Result<v1::SetPolicyResponse, Failure> {
        let wanted = request.policy.unwrap_or_default();
        let paths = request.update_mask.unwrap_or_default().paths;
        let fields = named("update_mask", &paths)?;
        let _turn = self.turn.lock().await;
        let before = self.backend.policy().await.map_err(error::of_stopping)?;
        let mut policy = before.clone();
        for path in &paths {
            apply(&mut policy, &wanted, path)?;
        }
        let (kept, value) = (!request.until_restart, policy.clone());
        self.change(&before, &policy, move |book| {
            if kept {
                return book.keep(&fields, &value);
            }
            book.changed_for_now(&fields);
            Ok(())
        })
        .await?;
        Ok(v1::SetPolicyResponse {
            policy: Some(self.message(&policy)),
            kept,
            origins: self.origins(),
        })
    }

    /// Takes the named fields back.
    async fn reset(
        &self,
        request: v1::ResetPolicyRequest,
    ) -> Result<v1::ResetPolicyResponse, Failure> {
        let paths = request.fields.unwrap_or_default().paths;
        let fields = named("fields", &paths)?;
        let _turn = self.turn.lock().await;
        let before = self.backend.policy().await.map_err(error::of_stopping)?;
        let policy = self.backend.kept_policy().without(&fields, &before);
        self.change(&before, &policy, move |book| book.take_back(&fields))
            .await?;
        Ok(v1::ResetPolicyResponse {
            policy: Some(self.message(&policy)),
            origins: self.origins(),
        })
    }
}

#[tonic::async_trait]
impl PolicyService for Policies {
    async fn get_policy(&self, _: Request<v1::GetPolicyRequest>) -> Answer<v1::GetPolicyResponse> {
        let policy = self.backend.policy().await.map_err(error::of_stopping)?;
        Ok(Response::new(v1::GetPolicyResponse {
            policy: Some(self.message(&policy)),
            origins: self.origins(),
        }))
    }

    async fn set_policy(
        &self,
        request: Request<v1::SetPolicyRequest>,
    ) -> Answer<v1::SetPolicyResponse> {
        let (this, request) = (self.clone(), request.into_inner());
        to_its_end(async move { this.set(request).await }).await
    }

    async fn reset_policy(
        &self,
        request: Request<v1::ResetPolicyRequest>,
    ) -> Answer<v1::ResetPolicyResponse> {
        let (this, request) = (self.clone(), request.into_inner());
        to_its_end(async move { this.reset(request).await }).await
    }
}

/// Runs `work` to its end, whoever waits for it or goes.
async fn to_its_end<T: Send + 'static>(
    work: impl Future<Output = Result<T, Failure>> + Send + 'static,
) -> Answer<T> {
    let ended = tokio::spawn(work).await;
    let done = ended.map_err(|_| error::of_stopping(Stopping))?;
    Ok(Response::new(done?))
}

/// The fields that a mask names, at least one.
fn named(mask: &str, paths: &[String]) -> Result<Vec<PolicyField>, Failure> {
    if paths.is_empty() {
        return Err(field::bad(mask, "names no field"));
    }
    let known = |path: &String| {
        let known = FIELDS.iter().find(|(name, _)| name == path);
        let unknown = || field::bad(mask, format!("names no field of policy: {path:?}"));
        known.map(|(_, field)| *field).ok_or_else(unknown)
    };
    paths.iter().map(known).collect()
}

fn origin(kept: &KeptPolicy, name: &str, field: PolicyField) -> v1::PolicyFieldOrigin {
    let now = kept.origin(field);
    let (kind, source) = match &now {
        Origin::Default => (v1::PolicyOrigin::Default, String::new()),
        Origin::File(..) => (v1::PolicyOrigin::ConfigFile, now.to_string()),
        Origin::Kept(path, _) => (v1::PolicyOrigin::PolicySet, path.display().to_string()),
        Origin::Environment(_) => (v1::PolicyOrigin::Environment, now.to_string()),
        Origin::Flag(_) => (v1::PolicyOrigin::Flag, now.to_string()),
        Origin::UntilRestart => (v1::PolicyOrigin::UntilRestart, String::new()),
    };
    let outranked_by = kept.outranked_by(field).filter(|origin| *origin != now);
    v1::PolicyFieldOrigin {
        field: name.to_owned(),
        origin: kind.into(),
        source,
        outranked_by: outranked_by.map(|by| by.to_string()).unwrap_or_default(),
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
        "paid_rule" => policy.paid_rule = paid_rule(field::known(path, wanted.paid_rule)?)?,
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
