//! What `seedbank policy set` keeps: `policy.toml` in the data folder, which the daemon alone
//! writes.
//!
//! A value there outranks the configuration file and gives way to the environment and to flags,
//! which are said again at each start. One that is taken back uncovers what was below it.

use std::collections::{BTreeMap, BTreeSet};
use std::io;
use std::path::PathBuf;
use std::sync::{Mutex, MutexGuard, PoisonError};

use seedbank_engine::interface::config::{PaidRule, Policy};
use seedbank_engine::text::amounts;

use super::layers::Origin;
use super::toml_value;
use crate::host::durable;

/// First line of the file.
const HEADING: &str =
    "# Kept by `seedbank policy set`; `seedbank policy reset` takes values back.\n";

/// A part of the policy that has a name of its own.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum PolicyField {
    /// Take paying peers.
    Earn,
    /// Keys that rank as paid for nothing.
    Friends,
    /// Lowest bid that is served as paid.
    MinPrice,
    /// What stays outside the market.
    OpenShare,
    /// How the paid class is ranked.
    Rule,
    /// Upload slots.
    Slots,
    /// Payload received per second.
    DownloadLimit,
    /// Payload sent per second.
    UploadLimit,
    /// Let boosts spend.
    Spend,
    /// Most credit spent in 24 h.
    MaxPerDay,
}

/// What a daemon's policy starts from, and who said so.
#[derive(Clone, Debug)]
pub struct PolicySources {
    /// Without what was kept.
    given: Policy,
    /// Who said so, of every field.
    given_by: BTreeMap<PolicyField, Origin>,
    /// What was kept, in these fields.
    kept: Policy,
    kept_in: BTreeSet<PolicyField>,
}

/// What is kept of a running daemon's policy. Whoever changes it takes turns with others.
#[derive(Debug)]
pub struct KeptPolicy {
    path: PathBuf,
    state: Mutex<PolicyState>,
}

#[derive(Debug)]
struct PolicyState {
    sources: PolicySources,
    /// Who said what is in force now, of every field.
    now: BTreeMap<PolicyField, Origin>,
}

impl PolicyField {
    /// Every field, in the order of their settings.
    pub const ALL: [Self; 10] = [
        Self::Earn,
        Self::Friends,
        Self::MinPrice,
        Self::OpenShare,
        Self::Rule,
        Self::Slots,
        Self::DownloadLimit,
        Self::UploadLimit,
        Self::Spend,
        Self::MaxPerDay,
    ];

    /// The setting that says it at start.
    pub const fn key(self) -> &'static str {
        match self {
            Self::Earn => "earn.enabled",
            Self::Friends => "earn.friends",
            Self::MinPrice => "earn.min_price_per_gib",
            Self::OpenShare => "earn.open_share",
            Self::Rule => "earn.rule",
            Self::Slots => "earn.slots",
            Self::DownloadLimit => "limits.download",
            Self::UploadLimit => "limits.upload",
            Self::Spend => "spend.enabled",
            Self::MaxPerDay => "spend.max_per_day",
        }
    }

    /// Takes this field over, and no other.
    fn copy(self, from: &Policy, to: &mut Policy) {
        match self {
            Self::Earn => to.credit.earn = from.credit.earn,
            Self::Friends => to.credit.friends.clone_from(&from.credit.friends),
            Self::MinPrice => to.credit.rate_min = from.credit.rate_min,
            Self::OpenShare => to.open_share_percent = from.open_share_percent,
            Self::Rule => to.paid_rule = from.paid_rule,
            Self::Slots => to.slots = from.slots,
            Self::DownloadLimit => to.download_limit = from.download_limit,
            Self::UploadLimit => to.upload_limit = from.upload_limit,
            Self::Spend => to.credit.spend = from.credit.spend,
            Self::MaxPerDay => to.credit.spend_per_day_max = from.credit.spend_per_day_max,
        }
    }

    /// Its value as a file says it.
    fn text(self, policy: &Policy) -> String {
        let credit = &policy.credit;
        let one = |value: String| toml_value(&[value], false);
        match self {
            Self::Earn => one(credit.earn.to_string()),
            Self::Friends => {
                let keys: Vec<String> = credit.friends.iter().map(ToString::to_string).collect();
                toml_value(&keys, true)
            }
            Self::MinPrice => one(credit.rate_min.map_or_else(
                || "par".to_owned(),
                |rate| amounts::credits_text(seedbank_ledger::MicroCredits::new(rate.get())),
            )),
            Self::OpenShare => one(format!("{}%", policy.open_share_percent)),
            Self::Rule => one(match policy.paid_rule {
                PaidRule::TopK => "top_k".to_owned(),
                PaidRule::Proportional => "proportional".to_owned(),
                PaidRule::UniformPrice => "uniform_price".to_owned(),
            }),
            Self::Slots => one(policy.slots.to_string()),
            Self::DownloadLimit => one(amounts::byte_rate_text(policy.download_limit)),
            Self::UploadLimit => one(amounts::byte_rate_text(policy.upload_limit)),
            Self::Spend => one(credit.spend.to_string()),
            Self::MaxPerDay => one(credit
                .spend_per_day_max
                .map_or_else(|| "unlimited".to_owned(), amounts::credits_text)),
        }
    }
}

impl PolicySources {
    /// A policy that nobody set, with nothing kept.
    pub fn of(given: Policy) -> Self {
        let kept = given.clone();
        Self::new(given, kept, |_| (Origin::Default, Origin::Default))
    }

    /// What was given, and what was kept; `origin` gives a field's origin in either, and one that
    /// is not kept has none but its default.
    pub(super) fn new(
        given: Policy,
        kept: Policy,
        origin: impl Fn(PolicyField) -> (Origin, Origin),
    ) -> Self {
        let mut given_by = BTreeMap::new();
        let mut kept_in = BTreeSet::new();
        for field in PolicyField::ALL {
            let (by, kept_by) = origin(field);
            given_by.insert(field, by);
            if kept_by != Origin::Default {
                kept_in.insert(field);
            }
        }
        Self {
            given,
            given_by,
            kept,
            kept_in,
        }
    }

    /// The policy to start with.
    pub fn in_force(&self) -> Policy {
        let mut policy = self.given.clone();
        let kept = self.kept_in.iter();
        let kept = kept.filter(|field| !self.given_by[*field].outranks_kept());
        kept.for_each(|field| field.copy(&self.kept, &mut policy));
        policy
    }

    /// What is kept, as a file.
    fn text(&self) -> String {
        let mut text = HEADING.to_owned();
        let mut section = "";
        for field in &self.kept_in {
            let key = field.key();
            let (in_section, name) = key.split_once('.').expect("settings have a section");
            if in_section != section {
                text.push_str(&format!("[{in_section}]\n"));
                section = in_section;
            }
            text.push_str(&format!("{name} = {}\n", field.text(&self.kept)));
        }
        text
    }
}

impl KeptPolicy {
    /// What is kept at `path` is what `sources` say.
    pub fn new(path: PathBuf, sources: PolicySources) -> Self {
        let kept = |field: &PolicyField| {
            sources.kept_in.contains(field) && !sources.given_by[field].outranks_kept()
        };
        let now = PolicyField::ALL.iter().map(|field| match kept(field) {
            true => (*field, Origin::Kept(path.clone(), 0)),
            false => (*field, sources.given_by[field].clone()),
        });
        Self {
            state: Mutex::new(PolicyState {
                now: now.collect(),
                sources,
            }),
            path,
        }
    }

    /// Who said what is in force.
    pub fn origin(&self, field: PolicyField) -> Origin {
        self.state().now[&field].clone()
    }

    /// The variable or flag that said it at start, and will again outrank what is kept.
    pub fn outranked_by(&self, field: PolicyField) -> Option<Origin> {
        let origin = self.state().sources.given_by[&field].clone();
        origin.outranks_kept().then_some(origin)
    }

    /// Keeps these fields of `policy`, durably. On an error nothing has changed. Waits for the
    /// disk.
    pub fn keep(&self, fields: &[PolicyField], policy: &Policy) -> io::Result<()> {
        let mut sources = self.state().sources.clone();
        for field in fields {
            field.copy(policy, &mut sources.kept);
            sources.kept_in.insert(*field);
        }
        self.write(&sources)?;
        let mut state = self.state();
        state.sources = sources;
        for field in fields {
            let origin = Origin::Kept(self.path.clone(), 0);
            state.now.insert(*field, origin);
        }
        Ok(())
    }

    /// These fields were changed until the daemon restarts.
    pub fn changed_for_now(&self, fields: &[PolicyField]) {
        let mut state = self.state();
        for field in fields {
            state.now.insert(*field, Origin::UntilRestart);
        }
    }

    /// `policy` with these fields as they are without what was set.
    pub fn without(&self, fields: &[PolicyField], policy: &Policy) -> Policy {
        let state = self.state();
        let mut policy = policy.clone();
        for field in fields {
            field.copy(&state.sources.given, &mut policy);
        }
        policy
    }

    /// Keeps nothing of these fields any more, durably. On an error nothing has changed. Waits for
    /// the disk.
    pub fn take_back(&self, fields: &[PolicyField]) -> io::Result<()> {
        let mut sources = self.state().sources.clone();
        let before = sources.kept_in.len();
        for field in fields {
            sources.kept_in.remove(field);
        }
        if sources.kept_in.len() != before {
            self.write(&sources)?;
        }
        let mut state = self.state();
        for field in fields {
            let origin = sources.given_by[field].clone();
            state.now.insert(*field, origin);
        }
        state.sources = sources;
        Ok(())
    }

    /// Writes what is kept; a file that would keep nothing is removed.
    fn write(&self, sources: &PolicySources) -> io::Result<()> {
        if sources.kept_in.is_empty() {
            return durable::remove(&self.path);
        }
        durable::replace(&self.path, sources.text().as_bytes(), durable::SECRET_MODE)
    }

    fn state(&self) -> MutexGuard<'_, PolicyState> {
        // Nothing under this lock leaves it half done.
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::PermissionsExt as _;
    use std::path::Path;

    use seedbank_ledger::{Identity, MicroCredits, Rate};

    use super::*;
    use crate::host::config::layers::ConfigError;
    use crate::host::config::{Config, Sources, show};

    fn sources(folder: &Path) -> Sources {
        Sources {
            file: Some(folder.join("config.toml")),
            environment: vec![("HOME".into(), folder.display().to_string())],
            flags: vec![(
                "node.data_dir".into(),
                folder.display().to_string(),
                "--data-dir".into(),
            )],
        }
    }

    fn folder(config: &str) -> tempfile::TempDir {
        let folder = tempfile::tempdir().unwrap();
        std::fs::write(folder.path().join("config.toml"), config).unwrap();
        folder
    }

    fn kept(folder: &Path) -> (KeptPolicy, Policy) {
        let config = Config::load(&sources(folder)).unwrap();
        let path = folder.join("policy.toml");
        let kept = KeptPolicy::new(path, config.policy_sources);
        (kept, config.policy)
    }

    /// A policy that differs from the default in every field.
    fn other() -> Policy {
        let mut policy = Policy {
            slots: 3,
            open_share_percent: 7,
            paid_rule: PaidRule::UniformPrice,
            upload_limit: Some(4 << 20),
            download_limit: Some(1_000_001),
            ..Policy::default()
        };
        policy.credit.earn = false;
        policy.credit.spend = false;
        policy.credit.rate_min = Some(Rate::new(2_500_000));
        policy.credit.friends = [1, 2].map(|n| Identity::from_secret([n; 32]).id()).into();
        policy.credit.spend_per_day_max = Some(MicroCredits::new(50_000_001));
        policy
    }

    #[test]
    fn every_field_is_kept_across_a_restart() {
        let folder = folder("");
        let (book, before) = kept(folder.path());
        assert_eq!(before, Policy::default());
        book.keep(&PolicyField::ALL, &other()).unwrap();
        let (book, after) = kept(folder.path());
        assert_eq!(after, other());
        for field in PolicyField::ALL {
            assert!(matches!(book.origin(field), Origin::Kept(..)), "{field:?}");
        }
        let mode = std::fs::metadata(folder.path().join("policy.toml")).unwrap();
        assert_eq!(mode.permissions().mode() & 0o777, 0o600);
        // Unlimited and par are values too.
        book.keep(&PolicyField::ALL, &Policy::default()).unwrap();
        assert_eq!(kept(folder.path()).1, Policy::default());
    }

    #[test]
    fn what_was_set_ranks_between_the_file_and_a_flag() {
        let folder = folder("[limits]\nupload = \"1MiB/s\"\ndownload = \"1MiB/s\"\n");
        let (book, _) = kept(folder.path());
        let fields = [PolicyField::UploadLimit, PolicyField::DownloadLimit];
        book.keep(&fields, &other()).unwrap();
        let mut with_flag = sources(folder.path());
        let flag = ("limits.download".into(), "9MiB/s".into(), "--set".into());
        with_flag.flags.push(flag);
        let config = Config::load(&with_flag).unwrap();
        assert_eq!(config.policy.upload_limit, Some(4 << 20));
        assert_eq!(config.policy.download_limit, Some(9 << 20));
        let shown = show(&with_flag.layers().unwrap(), true);
        assert!(
            shown.contains("policy.toml:4 (seedbank policy set)"),
            "{shown}"
        );
        let book = KeptPolicy::new(folder.path().join("policy.toml"), config.policy_sources);
        let flag = Some(Origin::Flag("--set".into()));
        assert_eq!(book.outranked_by(PolicyField::DownloadLimit), flag);
        assert_eq!(book.outranked_by(PolicyField::UploadLimit), None);
    }

    #[test]
    fn what_is_taken_back_uncovers_what_was_below() {
        let folder = folder("[limits]\nupload = \"1MiB/s\"\n");
        let (book, before) = kept(folder.path());
        book.keep(&PolicyField::ALL, &other()).unwrap();
        book.changed_for_now(&[PolicyField::Slots]);
        assert_eq!(book.origin(PolicyField::Slots), Origin::UntilRestart);
        assert_eq!(book.without(&PolicyField::ALL, &other()), before);
        book.take_back(&[PolicyField::UploadLimit]).unwrap();
        let origin = book.origin(PolicyField::UploadLimit);
        assert!(matches!(origin, Origin::File(_, 2)), "{origin:?}");
        let (book, after) = kept(folder.path());
        assert_eq!(after.upload_limit, Some(1 << 20));
        assert_eq!(after.slots, 3);
        book.take_back(&PolicyField::ALL).unwrap();
        assert!(!folder.path().join("policy.toml").exists());
    }

    #[test]
    fn a_damaged_file_is_an_error_that_names_file_and_line() {
        let folder = folder("");
        for (text, line, problem) in [
            ("[earn]\nslots = \n", 2, ""),
            ("[earn]\n\nslots = 0\n", 3, "is no whole number"),
            ("[earn]\nslotz = 4\n", 2, "did you mean"),
            ("[node]\nmax_peers = 4\n", 2, "is no part of the policy"),
            ("[limits]\nupload = 5\n", 2, "needs a unit"),
        ] {
            std::fs::write(folder.path().join("policy.toml"), text).unwrap();
            let error: ConfigError = Config::load(&sources(folder.path())).unwrap_err();
            let said = error.to_string();
            assert!(said.contains(&format!("policy.toml:{line}")), "{said}");
            assert!(said.contains(problem), "{said}");
        }
    }

    #[test]
    fn a_folder_that_cannot_be_written_changes_nothing() {
        let book = KeptPolicy::new(
            PathBuf::from("/nowhere/policy.toml"),
            PolicySources::of(Policy::default()),
        );
        assert!(book.keep(&[PolicyField::Slots], &other()).is_err());
        assert_eq!(book.origin(PolicyField::Slots), Origin::Default);
    }
}
