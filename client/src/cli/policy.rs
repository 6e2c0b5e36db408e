//! `policy`: what the node takes, gives and spends.

use prost_types::FieldMask;
use seedbank_proto::v1;
use seedbank_proto::v1::{PaidRule, PolicyOrigin};

use super::App;
use super::args::PolicyCommand;
use super::output::Page;
use super::table::{Align, TextTable};
use crate::error::ClientError;
use crate::units::{bytes_per_second, credit, parse_byte_rate, parse_credit, parse_rate, rate};

/// What users call a field, and its name in the contract.
const KEYS: [(&str, &str); 10] = [
    ("earn", "earn"),
    ("spend", "spend"),
    ("min-rate", "min_rate_microcredits_per_gib"),
    ("open-share", "open_share_percent"),
    ("slots", "slot_count"),
    ("rule", "paid_rule"),
    ("upload-limit", "upload_limit_bytes_per_second"),
    ("download-limit", "download_limit_bytes_per_second"),
    ("max-per-day", "max_spend_per_day_microcredits"),
    ("friends", "friends"),
];

pub(super) async fn run(app: &mut App<'_>, command: PolicyCommand) -> Result<(), ClientError> {
    match command {
        PolicyCommand::Show => {
            let mut client = app.client().await?;
            let answer = client.policy.get_policy(v1::GetPolicyRequest {}).await?;
            let answer = answer.into_inner();
            app.printer.message(&answer, |page| {
                put_policy(
                    page,
                    &answer.policy.clone().unwrap_or_default(),
                    &answer.origins,
                );
                page.next("seedbank policy set KEY=VALUE");
            })
        }
        PolicyCommand::Set {
            changes,
            until_restart,
        } => {
            let request = v1::SetPolicyRequest {
                until_restart,
                ..parse(&changes)?
            };
            let mask = request.update_mask.clone().unwrap_or_default();
            let mut client = app.client().await?;
            let answer = client.policy.set_policy(request).await?.into_inner();
            app.printer.message(&answer, |page| {
                put_policy(
                    page,
                    &answer.policy.clone().unwrap_or_default(),
                    &answer.origins,
                );
                put_lifetime(page, answer.kept, &answer.origins, &mask.paths);
            })
        }
        PolicyCommand::Reset { keys, all: _ } => {
            let request = v1::ResetPolicyRequest {
                fields: Some(FieldMask {
                    paths: parse_keys(&keys)?,
                }),
            };
            let mut client = app.client().await?;
            let answer = client.policy.reset_policy(request).await?.into_inner();
            app.printer.message(&answer, |page| {
                put_policy(
                    page,
                    &answer.policy.clone().unwrap_or_default(),
                    &answer.origins,
                );
            })
        }
    }
}

/// The fields of these keys; all of them if none is given.
fn parse_keys(keys: &[String]) -> Result<Vec<String>, ClientError> {
    if keys.is_empty() {
        return Ok(KEYS.iter().map(|(_, path)| (*path).to_owned()).collect());
    }
    let path = |key: &String| {
        let known = KEYS.iter().find(|(name, _)| name == key);
        let names = KEYS.map(|(name, _)| name).join(", ");
        let unknown = || ClientError::Usage(format!("{key}: no such key; there are {names}"));
        known
            .map(|(_, path)| (*path).to_owned())
            .ok_or_else(unknown)
    };
    keys.iter().map(path).collect()
}

fn parse(changes: &[String]) -> Result<v1::SetPolicyRequest, ClientError> {
    let mut policy = v1::Policy::default();
    let mut paths = Vec::new();
    for change in changes {
        let (key, value) = change
            .split_once('=')
            .ok_or_else(|| ClientError::Usage(format!("{change:?} is not KEY=VALUE")))?;
        let (_, path) = KEYS.iter().find(|(name, _)| *name == key).ok_or_else(|| {
            let help = "no such key; `seedbank policy set --help` lists them";
            ClientError::Usage(format!("{key}: {help}"))
        })?;
        apply(&mut policy, key, value)
            .map_err(|problem| ClientError::Usage(format!("{key}: {problem}")))?;
        paths.push((*path).to_owned());
    }
    Ok(v1::SetPolicyRequest {
        policy: Some(policy),
        update_mask: Some(FieldMask { paths }),
        until_restart: false,
    })
}

/// Sets the field of one of [`KEYS`].
fn apply(policy: &mut v1::Policy, key: &str, value: &str) -> Result<(), String> {
    match key {
        "earn" => policy.earn = parse_switch(value)?,
        "spend" => policy.spend = parse_switch(value)?,
        "min-rate" => policy.min_rate_microcredits_per_gib = parse_ask(value)?,
        "open-share" => policy.open_share_percent = parse_count(value.trim_end_matches('%'))?,
        "slots" => policy.slot_count = parse_count(value)?,
        "rule" => policy.set_paid_rule(parse_rule(value)?),
        "upload-limit" => {
            policy.upload_limit_bytes_per_second = parse_limit(value, parse_byte_rate)?;
        }
        "download-limit" => {
            policy.download_limit_bytes_per_second = parse_limit(value, parse_byte_rate)?;
        }
        "max-per-day" => {
            policy.max_spend_per_day_microcredits = parse_limit(value, parse_credit)?;
        }
        "friends" => {
            let keys = value.split(',').filter(|key| *key != "none");
            policy.friends = keys.map(|key| key.trim().to_owned()).collect();
        }
        _ => return Err("no such key".to_owned()),
    }
    Ok(())
}

fn parse_switch(value: &str) -> Result<bool, String> {
    match value {
        "on" => Ok(true),
        "off" => Ok(false),
        _ => Err(format!("{value:?} is neither on nor off")),
    }
}

fn parse_count(value: &str) -> Result<i32, String> {
    value.parse().map_err(|_| format!("{value:?} is no number"))
}

fn parse_rule(value: &str) -> Result<PaidRule, String> {
    match value {
        "top-k" => Ok(PaidRule::TopK),
        "proportional" => Ok(PaidRule::Proportional),
        "uniform-price" => Ok(PaidRule::UniformPrice),
        _ => Err(format!(
            "{value:?} is none of top-k, proportional, uniform-price"
        )),
    }
}

fn parse_limit(value: &str, parse: fn(&str) -> Result<i64, String>) -> Result<Option<i64>, String> {
    match value {
        "none" => Ok(None),
        value => parse(value).map(Some),
    }
}

/// A price, 0 for any bid, or the network's par price.
fn parse_ask(value: &str) -> Result<Option<i64>, String> {
    match value {
        "par" => Ok(None),
        "0" | "0cr" => Ok(Some(0)),
        value => parse_rate(value).map(Some),
    }
}

fn put_policy(page: &mut Page, policy: &v1::Policy, origins: &[v1::PolicyFieldOrigin]) {
    let mut table = TextTable::new(&[("", Align::Left); 3]);
    for (key, path) in KEYS {
        let origin = origins.iter().find(|origin| origin.field == path);
        let from = origin.map(describe).unwrap_or_default();
        table.row([key.to_owned(), value(policy, key), from]);
    }
    page.table(&table);
}

/// A field of [`KEYS`] as people read it.
fn value(policy: &v1::Policy, key: &str) -> String {
    let switch = |on| if on { "on" } else { "off" }.to_owned();
    let limit = |limit: Option<i64>| limit.map_or_else(|| "none".to_owned(), bytes_per_second);
    match key {
        "earn" => switch(policy.earn),
        "spend" => switch(policy.spend),
        "min-rate" => {
            let ask = rate(policy.ask_microcredits_per_gib);
            match policy.min_rate_microcredits_per_gib {
                Some(_) => ask,
                None => format!("{ask} (par)"),
            }
        }
        "open-share" => format!("{} %", policy.open_share_percent),
        "slots" => policy.slot_count.to_string(),
        "rule" => match policy.paid_rule() {
            PaidRule::Unspecified => "unknown",
            PaidRule::TopK => "top-k",
            PaidRule::Proportional => "proportional",
            PaidRule::UniformPrice => "uniform-price",
        }
        .to_owned(),
        "upload-limit" => limit(policy.upload_limit_bytes_per_second),
        "download-limit" => limit(policy.download_limit_bytes_per_second),
        "max-per-day" => policy
            .max_spend_per_day_microcredits
            .map_or_else(|| "none".to_owned(), credit),
        "friends" if policy.friends.is_empty() => "none".to_owned(),
        _ => policy.friends.join(","),
    }
}

/// Where a value comes from, in words.
fn describe(origin: &v1::PolicyFieldOrigin) -> String {
    match origin.origin() {
        PolicyOrigin::Unspecified => String::new(),
        PolicyOrigin::Default => "default".to_owned(),
        PolicyOrigin::PolicySet => "set by `seedbank policy set`".to_owned(),
        PolicyOrigin::UntilRestart => "until the daemon restarts".to_owned(),
        PolicyOrigin::ConfigFile => origin.source.clone(),
        PolicyOrigin::Environment => format!("variable {}", origin.source),
        PolicyOrigin::Flag => format!("flag {}", origin.source),
    }
}

/// How long what was set holds, and what will outrank it.
fn put_lifetime(page: &mut Page, kept: bool, origins: &[v1::PolicyFieldOrigin], set: &[String]) {
    page.line(match kept {
        true => "kept across restarts",
        false => "until the daemon restarts",
    });
    let outranked = origins
        .iter()
        .filter(|origin| kept && set.contains(&origin.field) && !origin.outranked_by.is_empty());
    for origin in outranked {
        let key = KEYS.iter().find(|(_, path)| *path == origin.field);
        let key = key.map_or(origin.field.as_str(), |(key, _)| key);
        page.line(format!(
            "{key}: the daemon was started with {}, which will win again at the next start",
            origin.outranked_by
        ));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_named_fields_are_in_the_mask() {
        let changes = ["spend=off", "open-share=20%", "upload-limit=none"];
        let request = parse(&changes.map(String::from)).unwrap();
        assert_eq!(
            request.update_mask.unwrap().paths,
            [
                "spend",
                "open_share_percent",
                "upload_limit_bytes_per_second"
            ]
        );
        let policy = request.policy.unwrap();
        assert!(!policy.spend);
        assert_eq!(policy.open_share_percent, 20);
        assert_eq!(policy.upload_limit_bytes_per_second, None);
    }

    #[test]
    fn keys_are_taken_back_by_their_names() {
        assert_eq!(parse_keys(&["slots".to_owned()]).unwrap(), ["slot_count"]);
        assert_eq!(parse_keys(&[]).unwrap().len(), KEYS.len());
        let error = parse_keys(&["slotz".to_owned()]).unwrap_err();
        assert!(error.to_string().contains("slots"), "{error}");
    }

    #[test]
    fn nonsense_is_usage() {
        for bad in [
            "spend",
            "spend=maybe",
            "slots=x",
            "rule=best",
            "colour=red",
            "min-rate=cheap",
            "upload-limit=5",
        ] {
            let error = parse(&[bad.to_owned()]).unwrap_err();
            assert_eq!(error.exit_code(), 2, "{bad}");
        }
    }
}
