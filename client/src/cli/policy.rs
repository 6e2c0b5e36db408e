//! `policy`: what the node takes, gives and spends.

use prost_types::FieldMask;
use seedbank_proto::v1;
use seedbank_proto::v1::PaidRule;

use super::App;
use super::args::PolicyCommand;
use super::output::Page;
use crate::error::ClientError;
use crate::units::{bytes_per_second, credit, parse_bytes, parse_credit, parse_rate, rate};

pub(super) async fn run(app: &mut App<'_>, command: PolicyCommand) -> Result<(), ClientError> {
    match command {
        PolicyCommand::Show => {
            let mut client = app.client().await?;
            let answer = client.policy.get_policy(v1::GetPolicyRequest {}).await?;
            let answer = answer.into_inner();
            app.printer.message(&answer, |page| {
                put_policy(page, &answer.policy.clone().unwrap_or_default());
                page.next("seedbank policy set KEY=VALUE");
            })
        }
        PolicyCommand::Set { changes } => {
            let request = parse(&changes)?;
            let mut client = app.client().await?;
            let answer = client.policy.set_policy(request).await?.into_inner();
            app.printer.message(&answer, |page| {
                put_policy(page, &answer.policy.clone().unwrap_or_default());
            })
        }
    }
}

fn parse(changes: &[String]) -> Result<v1::SetPolicyRequest, ClientError> {
    let mut policy = v1::Policy::default();
    let mut paths = Vec::new();
    for change in changes {
        let (key, value) = change
            .split_once('=')
            .ok_or_else(|| ClientError::Usage(format!("{change:?} is not KEY=VALUE")))?;
        let path = apply(&mut policy, key, value)
            .map_err(|problem| ClientError::Usage(format!("{key}: {problem}")))?;
        paths.push(path.to_owned());
    }
    Ok(v1::SetPolicyRequest {
        policy: Some(policy),
        update_mask: Some(FieldMask { paths }),
    })
}

/// Sets one field and gives its name in the contract.
fn apply(policy: &mut v1::Policy, key: &str, value: &str) -> Result<&'static str, String> {
    match key {
        "earn" => {
            policy.earn = parse_switch(value)?;
            Ok("earn")
        }
        "spend" => {
            policy.spend = parse_switch(value)?;
            Ok("spend")
        }
        "min-rate" => {
            policy.min_rate_microcredits_per_gib = parse_ask(value)?;
            Ok("min_rate_microcredits_per_gib")
        }
        "open-share" => {
            policy.open_share_percent = parse_count(value.trim_end_matches('%'))?;
            Ok("open_share_percent")
        }
        "slots" => {
            policy.slot_count = parse_count(value)?;
            Ok("slot_count")
        }
        "rule" => {
            policy.set_paid_rule(parse_rule(value)?);
            Ok("paid_rule")
        }
        "upload-limit" => {
            policy.upload_limit_bytes_per_second = parse_limit(value, parse_bytes)?;
            Ok("upload_limit_bytes_per_second")
        }
        "download-limit" => {
            policy.download_limit_bytes_per_second = parse_limit(value, parse_bytes)?;
            Ok("download_limit_bytes_per_second")
        }
        "max-per-day" => {
            policy.max_spend_per_day_microcredits = parse_limit(value, parse_credit)?;
            Ok("max_spend_per_day_microcredits")
        }
        "friends" => {
            let keys = value.split(',').filter(|key| *key != "none");
            policy.friends = keys.map(|key| key.trim().to_owned()).collect();
            Ok("friends")
        }
        _ => Err("no such key; `seedbank policy set --help` lists them".to_owned()),
    }
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

fn put_policy(page: &mut Page, policy: &v1::Policy) {
    let switch = |on| if on { "on" } else { "off" };
    let limit = |limit: Option<i64>| limit.map_or_else(|| "none".to_owned(), bytes_per_second);
    let rule = match policy.paid_rule() {
        PaidRule::Unspecified => "unknown",
        PaidRule::TopK => "top-k",
        PaidRule::Proportional => "proportional",
        PaidRule::UniformPrice => "uniform-price",
    };
    let per_day = policy.max_spend_per_day_microcredits;
    page.fact("earn", switch(policy.earn));
    page.fact("spend", switch(policy.spend));
    let ask = rate(policy.ask_microcredits_per_gib);
    page.fact(
        "min-rate",
        match policy.min_rate_microcredits_per_gib {
            Some(_) => ask,
            None => format!("{ask} (par)"),
        },
    );
    page.fact("open-share", format!("{} %", policy.open_share_percent));
    page.fact("slots", policy.slot_count);
    page.fact("rule", rule);
    page.fact("upload-limit", limit(policy.upload_limit_bytes_per_second));
    page.fact(
        "download-limit",
        limit(policy.download_limit_bytes_per_second),
    );
    page.fact(
        "max-per-day",
        per_day.map_or_else(|| "none".to_owned(), credit),
    );
    page.fact(
        "friends",
        match policy.friends.len() {
            0 => "none".to_owned(),
            _ => policy.friends.join(","),
        },
    );
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
    fn nonsense_is_usage() {
        for bad in [
            "spend",
            "spend=maybe",
            "slots=x",
            "rule=best",
            "colour=red",
            "min-rate=cheap",
        ] {
            let error = parse(&[bad.to_owned()]).unwrap_err();
            assert_eq!(error.exit_code(), 2, "{bad}");
        }
    }
}
