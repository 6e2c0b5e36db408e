//! The genesis file of a network: its name, unit, keys, limits and policy.
//!
//! A network's id is the hash of the exact bytes, so nobody can change a limit without founding
//! another network. Where its settlement node can be reached is configuration and never in here.

use serde::Deserialize;

use crate::identity::{NetworkId, NodeId};
use crate::units::Rate;

/// Longest genesis file in bytes.
pub const GENESIS_LEN_MAX: usize = 8_192;

/// Most issuers.
pub const ISSUER_COUNT_MAX: usize = 16;

/// Longest network or unit name in bytes.
pub const NAME_LEN_MAX: usize = 64;

/// Shortest time a payee has to claim after a lock's expiry, in seconds (docs/RULES.md, P5).
pub const GRACE_SECS_MIN: u32 = 3_600;

const _: () = assert!(GENESIS_LEN_MAX <= crate::entry::CAUSE_LEN_MAX);

/// Highest par price: a boost goes up to twice par, and bids end at 2⁵⁰.
const PAR_MAX: u64 = 1 << 49;

const YEAR_SECS: u32 = 31_536_000;

/// Most orders that a network may let an account send at once, or in an hour.
const ORDERS_MAX: u32 = 1_000_000;

/// A network's constitution, as parsed from its genesis file.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Genesis {
    /// The exact text; its hash is the network's id.
    pub text: String,
    /// What the network is called.
    pub name: String,
    /// What one credit is called.
    pub unit: String,
    /// The key that signs locks and certificates.
    pub settlement: NodeId,
    /// Who may grant and burn, 1 to [`ISSUER_COUNT_MAX`].
    pub issuers: Vec<NodeId>,
    /// What a node asks that was told nothing else, above 0; [`Rate::PAR`] if the file names none.
    /// A custom, and no rule.
    pub par_price: Rate,
    /// What bounds orders.
    pub limits: Limits,
    /// What the operator promises.
    pub policy: NetworkPolicy,
}

/// What bounds orders. Amounts are micro-credits, times seconds.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "snake_case")]
pub struct Limits {
    /// Lifetime of a lock that asks for nothing else.
    pub lock_ttl_secs: u32,
    /// Longest lifetime that an order may ask for.
    pub lock_ttl_secs_max: u32,
    /// How long a payee can claim after a lock's expiry; every lock has the same.
    pub lock_grace_secs: u32,
    /// Most credit in one lock, top-ups included.
    pub lock_microcredits_max: u64,
    /// Most credit in one grant.
    pub grant_microcredits_max: u64,
    /// Least credit in one transfer: dust would cost everybody an entry for ever.
    pub transfer_microcredits_min: u64,
    /// Orders and claims that one account may send at once; with none left it is asked to wait,
    /// before a nonce is used.
    pub order_budget: u32,
    /// How many of them come back in an hour.
    pub orders_per_hour: u32,
}

impl Limits {
    /// Most orders and claims of one account that are entered in any 24 h: its budget, and what
    /// comes back of it. What each may leave is in docs/RULES.md, standing in a network.
    pub fn orders_per_day_max(&self) -> u64 {
        const HOURS: u64 = 24;
        // Numbers of 32 bits: nothing saturates.
        let refilled = HOURS.saturating_mul(self.orders_per_hour.into());
        refilled.saturating_add(self.order_budget.into())
    }
}

impl Default for Limits {
    /// Those of [`Genesis::render`].
    fn default() -> Self {
        Self {
            lock_ttl_secs: 3_600,
            lock_ttl_secs_max: 604_800,
            lock_grace_secs: 86_400,
            lock_microcredits_max: 1_000_000_000_000,
            grant_microcredits_max: 1_000_000_000_000_000,
            transfer_microcredits_min: 1_000,
            order_budget: 200,
            orders_per_hour: 72_000,
        }
    }
}

/// What the operator promises.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "snake_case")]
pub struct NetworkPolicy {
    /// What becomes of old entries.
    pub retention: Retention,
}

/// What becomes of old entries.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Retention {
    /// They are kept for ever.
    Forever,
}

/// Why a text is no genesis file.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum GenesisError {
    /// It is too long to be one.
    #[error("a genesis file has at most {GENESIS_LEN_MAX} bytes, not {0}")]
    TooLong(usize),
    /// It is no TOML, or a field is unknown, missing or of the wrong type.
    #[error("line {line}: {problem}")]
    Syntax {
        /// Counted from 1.
        line: usize,
        /// What is wrong there.
        problem: String,
    },
    /// A field holds what it must not.
    #[error("{field} {problem}")]
    Field {
        /// Which.
        field: &'static str,
        /// What is wrong with it.
        problem: String,
    },
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct File {
    name: String,
    unit: String,
    settlement: String,
    issuers: Vec<String>,
    par_microcredits_per_gib: Option<u64>,
    limits: Limits,
    policy: NetworkPolicy,
}

impl Genesis {
    /// Parses and checks a genesis file.
    pub fn parse(text: &str) -> Result<Self, GenesisError> {
        if text.len() > GENESIS_LEN_MAX {
            return Err(GenesisError::TooLong(text.len()));
        }
        let file: File = toml::from_str(text).map_err(|error| syntax(text, &error))?;
        check_name("name", &file.name)?;
        check_name("unit", &file.unit)?;
        check_limits(&file.limits)?;
        Ok(Self {
            text: text.to_owned(),
            settlement: key("settlement", &file.settlement)?,
            issuers: issuers(&file.issuers)?,
            par_price: par_price(file.par_microcredits_per_gib)?,
            name: file.name,
            unit: file.unit,
            limits: file.limits,
            policy: file.policy,
        })
    }

    /// The text of a new network's genesis file, with the default limits.
    ///
    /// The caller writes exactly these bytes. Two networks of one name and keys have one id.
    pub fn render(
        name: &str,
        settlement: NodeId,
        issuers: &[NodeId],
    ) -> Result<String, GenesisError> {
        check_name("name", name)?;
        let issuers: Vec<String> = issuers.iter().map(|key| format!("\"{key}\"")).collect();
        let text = format!(
            "# Genesis of a Seedbank network. Its id is the hash of exactly these bytes.\n\
             # Amounts are micro-credits (1,000,000 are one credit), times are seconds.\n\
             name = {}\n\
             unit = \"credit\"\n\
             settlement = \"{settlement}\"\n\
             issuers = [{}]\n\
             par_microcredits_per_gib = {}\n\
             \n\
             [limits]\n\
             lock_ttl_secs = 3600\n\
             lock_ttl_secs_max = 604800\n\
             lock_grace_secs = 86400\n\
             lock_microcredits_max = 1000000000000\n\
             grant_microcredits_max = 1000000000000000\n\
             transfer_microcredits_min = 1000\n\
             order_budget = 200\n\
             orders_per_hour = 72000\n\
             \n\
             [policy]\n\
             retention = \"forever\"\n",
            toml::Value::from(name),
            issuers.join(", "),
            Rate::PAR.get()
        );
        Self::parse(&text).map(|genesis| genesis.text)
    }

    /// BLAKE3 of the exact bytes.
    pub fn network_id(&self) -> NetworkId {
        NetworkId::from_bytes(*blake3::hash(self.text.as_bytes()).as_bytes())
    }

    /// Whether `key` may grant and burn.
    pub fn is_issuer(&self, key: &NodeId) -> bool {
        self.issuers.contains(key)
    }
}

fn syntax(text: &str, error: &toml::de::Error) -> GenesisError {
    let start = error.span().map_or(0, |span| span.start);
    let before = text.get(..start).unwrap_or(text);
    GenesisError::Syntax {
        line: before.matches('\n').count().saturating_add(1),
        problem: error.message().to_owned(),
    }
}

fn bad(field: &'static str, problem: impl Into<String>) -> GenesisError {
    GenesisError::Field {
        field,
        problem: problem.into(),
    }
}

fn check_name(field: &'static str, name: &str) -> Result<(), GenesisError> {
    if name.is_empty() || name.len() > NAME_LEN_MAX {
        let len = name.len();
        return Err(bad(
            field,
            format!("has 1 to {NAME_LEN_MAX} bytes, not {len}"),
        ));
    }
    if name.chars().any(char::is_control) {
        return Err(bad(field, "holds a control character"));
    }
    Ok(())
}

fn check_limits(limits: &Limits) -> Result<(), GenesisError> {
    let Limits {
        lock_ttl_secs,
        lock_ttl_secs_max,
        lock_grace_secs,
        lock_microcredits_max,
        grant_microcredits_max,
        transfer_microcredits_min,
        order_budget,
        orders_per_hour,
    } = *limits;
    if !(1..=YEAR_SECS).contains(&lock_ttl_secs_max) {
        return Err(bad(
            "lock_ttl_secs_max",
            format!("is 1 to {YEAR_SECS}, not {lock_ttl_secs_max}"),
        ));
    }
    if !(1..=lock_ttl_secs_max).contains(&lock_ttl_secs) {
        return Err(bad(
            "lock_ttl_secs",
            format!("is 1 to {lock_ttl_secs_max}, not {lock_ttl_secs}"),
        ));
    }
    if !(GRACE_SECS_MIN..=YEAR_SECS).contains(&lock_grace_secs) {
        return Err(bad(
            "lock_grace_secs",
            format!("is {GRACE_SECS_MIN} to {YEAR_SECS}, not {lock_grace_secs}"),
        ));
    }
    if lock_microcredits_max == 0 {
        return Err(bad("lock_microcredits_max", "is 0"));
    }
    if grant_microcredits_max == 0 {
        return Err(bad("grant_microcredits_max", "is 0"));
    }
    if !(1..=grant_microcredits_max).contains(&transfer_microcredits_min) {
        return Err(bad(
            "transfer_microcredits_min",
            format!("is 1 to {grant_microcredits_max}, not {transfer_microcredits_min}"),
        ));
    }
    for (field, count) in [
        ("order_budget", order_budget),
        ("orders_per_hour", orders_per_hour),
    ] {
        if !(1..=ORDERS_MAX).contains(&count) {
            return Err(bad(field, format!("is 1 to {ORDERS_MAX}, not {count}")));
        }
    }
    Ok(())
}

fn par_price(named: Option<u64>) -> Result<Rate, GenesisError> {
    match named {
        Some(rate) if (1..=PAR_MAX).contains(&rate) => Ok(Rate::new(rate)),
        Some(rate) => Err(bad(
            "par_microcredits_per_gib",
            format!("is 1 to {PAR_MAX}, not {rate}"),
        )),
        None => Ok(Rate::PAR),
    }
}

fn key(field: &'static str, text: &str) -> Result<NodeId, GenesisError> {
    let key = NodeId::from_hex(text)
        .ok_or_else(|| bad(field, format!("is a key in 64 hex digits, not {text:?}")))?;
    key.check().map_err(|error| bad(field, error.to_string()))?;
    Ok(key)
}

fn issuers(texts: &[String]) -> Result<Vec<NodeId>, GenesisError> {
    let count = texts.len();
    if !(1..=ISSUER_COUNT_MAX).contains(&count) {
        return Err(bad(
            "issuers",
            format!("are 1 to {ISSUER_COUNT_MAX} keys, not {count}"),
        ));
    }
    let issuers = texts
        .iter()
        .map(|text| key("issuers", text))
        .collect::<Result<Vec<_>, _>>()?;
    let twice = issuers
        .iter()
        .enumerate()
        .find(|(index, key)| issuers.iter().take(*index).any(|earlier| earlier == *key));
    match twice {
        Some((_, key)) => Err(bad("issuers", format!("name {key} twice"))),
        None => Ok(issuers),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::identity::Identity;

    fn text() -> String {
        let settlement = Identity::from_secret([1; 32]).id();
        let issuer = Identity::from_secret([2; 32]).id();
        Genesis::render("a \"quoted\" name", settlement, &[issuer]).unwrap()
    }

    #[test]
    fn a_rendered_genesis_parses_and_hashes_its_bytes() {
        let genesis = Genesis::parse(&text()).unwrap();
        assert_eq!(genesis.name, "a \"quoted\" name");
        assert_eq!(genesis.limits, Limits::default());
        assert!(genesis.is_issuer(&Identity::from_secret([2; 32]).id()));
        let hash = blake3::hash(text().as_bytes());
        assert_eq!(genesis.network_id().as_bytes(), hash.as_bytes());
    }

    #[test]
    fn a_genesis_may_name_a_par_price() {
        let par = |line: &str| {
            let text = text().replacen("par_microcredits_per_gib = 1000000\n", line, 1);
            Genesis::parse(&text).unwrap().par_price
        };
        assert_eq!(par("par_microcredits_per_gib = 7\n"), Rate::new(7));
        assert_eq!(par(""), Rate::PAR);
    }

    #[test]
    fn errors_name_the_line_or_the_field() {
        let error = |from: &str, to: &str| {
            let text = text().replacen(from, to, 1);
            Genesis::parse(&text).unwrap_err().to_string()
        };
        assert!(error("unit = ", "unti = ").starts_with("line 4: unknown field"));
        assert!(error("= 604800", "= -1").starts_with("line 11: "));
        assert!(error("per_gib = 1000000", "per_gib = 0").contains("is 1 to"));
        assert!(error("min = 1000", "min = 0").starts_with("transfer_microcredits_min is 1 to"));
        assert!(error("budget = 200", "budget = 0").starts_with("order_budget is 1 to"));
        assert!(error("hour = 72000", "hour = 0").starts_with("orders_per_hour is 1 to"));
        assert!(error("86400", "60").starts_with("lock_grace_secs is 3600 to"));
        assert!(error("lock_ttl_secs = 3600", "lock_ttl_secs = 0").contains("lock_ttl_secs is 1"));
        assert!(error("issuers = [\"", "issuers = [\"0").starts_with("issuers is a key"));
        let long = "#".repeat(GENESIS_LEN_MAX + 1);
        let too_long = Genesis::parse(&long);
        assert_eq!(too_long, Err(GenesisError::TooLong(GENESIS_LEN_MAX + 1)));
    }

    #[test]
    fn a_weak_key_is_no_settlement_key() {
        let weak = NodeId::from_bytes([0; 32]);
        let issuer = Identity::from_secret([2; 32]).id();
        let error = Genesis::render("x", weak, &[issuer]).unwrap_err();
        assert!(error.to_string().starts_with("settlement "));
    }
}
