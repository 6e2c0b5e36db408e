//! Settings of a daemon, read once. Precedence: flag, environment, `policy set`, file, default.
//!
//! The file is TOML and never written by the daemon; what `seedbank policy set` changes is kept
//! beside the data (`config/kept.rs`). A setting that does not exist is an error that names the
//! line; `config show` prints every value and where it came from.

pub mod kept;
pub mod layers;
mod settlement;

use std::net::SocketAddr;
use std::path::{Path, PathBuf};

use seedbank_engine::interface::config::{CreditPolicy, PaidRule, Policy};
use seedbank_engine::text::amounts;
use seedbank_ledger::{Genesis, MicroCredits, NodeId, Rate};

use kept::{PolicyField, PolicySources};
use layers::{ConfigError, Key, Layers, Origin};
pub use settlement::{SettlementRole, TlsFiles, is_private};

use crate::host::datadir::POLICY_FILE;
use crate::host::logs;

/// Every setting there is.
const KEYS: &[Key] = &[
    one("node.data_dir", "~/.local/share/seedbank"),
    one("node.download_dir", "~/Downloads"),
    list("node.listen", "[::]:6881"),
    one("node.max_peers", "200"),
    one("limits.upload", "unlimited"),
    one("limits.download", "unlimited"),
    one("earn.enabled", "true"),
    one("earn.slots", "8"),
    one("earn.open_share", "30%"),
    one("earn.min_price_per_gib", "par"),
    one("earn.rule", "top_k"),
    one("earn.receipts", "true"),
    one("earn.receipts_private", "false"),
    list("earn.friends", ""),
    one("spend.enabled", "true"),
    one("spend.max_per_day", "unlimited"),
    one("network.genesis", ""),
    one("network.settlement", ""),
    one("network.settlement_ca", ""),
    one("network.plaintext", "false"),
    one("settlement.enabled", "false"),
    one("settlement.listen", "127.0.0.1:4621"),
    one("settlement.key", ""),
    one("settlement.issuer_key", ""),
    one("settlement.tls_cert", ""),
    one("settlement.tls_key", ""),
    one("ledger.store", DEFAULT_STORE),
    one("api.unix", "auto"),
    list("api.listen", "127.0.0.1:4620"),
    one("log.filter", "info"),
    one("log.format", "auto"),
];

const DEFAULT_STORE: &str = if cfg!(feature = "rocksdb") {
    "rocksdb"
} else {
    "memory"
};

/// Every setting, checked.
#[derive(Clone, Debug)]
pub struct Config {
    /// Where everything that survives a restart lives.
    pub data_dir: PathBuf,
    /// Where torrents go unless told otherwise.
    pub download_dir: PathBuf,
    /// Where peers reach us.
    pub listen: Vec<SocketAddr>,
    /// Most connections.
    pub max_peers: usize,
    /// What the owner may change while the node runs.
    pub policy: Policy,
    /// Who said what of it.
    pub policy_sources: PolicySources,
    /// Speak the receipt protocol at all.
    pub receipts: bool,
    /// Speak it to peers of private torrents too.
    pub receipts_private: bool,
    /// Genesis file of the network, if any.
    pub genesis: Option<PathBuf>,
    /// URL of the settlement node, if any.
    pub settlement: Option<String>,
    /// Certificates (PEM) that it is known by; without them the public ones.
    pub settlement_ca: Option<PathBuf>,
    /// The settlement role, if this node has it.
    pub settlement_role: Option<SettlementRole>,
    /// What holds the ledger.
    pub store: StoreKind,
    /// Unix socket of the API; `None` for none.
    pub api_unix: Option<PathBuf>,
    /// TCP addresses of the API.
    pub api_listen: Vec<SocketAddr>,
    /// Which log lines are printed, as `tracing` writes it.
    pub log_filter: String,
    /// How they look.
    pub log_format: LogFormat,
}

/// Most connections to peers: file descriptors are as many.
const PEERS_MAX: usize = 65_000;

/// What holds a ledger.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum StoreKind {
    /// Files in the data folder.
    RocksDb,
    /// Nothing: the ledger ends with the process.
    Memory,
}

/// How log lines look.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum LogFormat {
    /// Text on a terminal, JSON elsewhere.
    Auto,
    /// For people.
    Text,
    /// One object a line.
    Json,
}

/// Where settings are read from.
#[derive(Clone, Debug, Default)]
pub struct Sources {
    /// A file named by the user, which must be there; `None` for the usual place, if it is.
    pub file: Option<PathBuf>,
    /// Environment variables.
    pub environment: Vec<(String, String)>,
    /// Flags: setting, value, name of the flag.
    pub flags: Vec<(String, String, String)>,
}

impl Sources {
    /// All layers, laid over each other.
    pub fn layers(&self) -> Result<Layers, ConfigError> {
        let mut layers = self.given()?;
        layers.lay_kept(&self.kept(&layers)?);
        Ok(layers)
    }

    /// What `policy set` kept in the data folder that `given` names.
    fn kept(&self, given: &Layers) -> Result<Layers, ConfigError> {
        let data_dir = self.path(given, "node.data_dir")?;
        let mut kept = Layers::defaults(KEYS);
        kept.read_kept(&data_dir.join(POLICY_FILE))?;
        let foreign = kept.iter().find(|(name, setting)| {
            let is_policy = PolicyField::ALL.iter().any(|field| field.key() == *name);
            setting.origin != Origin::Default && !is_policy
        });
        match foreign {
            None => Ok(kept),
            Some((name, setting)) => Err(ConfigError::Value {
                origin: setting.origin.clone(),
                key: name.to_owned(),
                value: setting.values.join(","),
                problem: "is no part of the policy: it belongs in config.toml".to_owned(),
            }),
        }
    }

    /// Every layer but what `policy set` kept.
    fn given(&self) -> Result<Layers, ConfigError> {
        let mut layers = Layers::defaults(KEYS);
        if let Some(data) = self.variable("XDG_DATA_HOME") {
            let folder = Path::new(data).join("seedbank");
            let origin = Origin::Environment("XDG_DATA_HOME".to_owned());
            layers.set("node.data_dir", &folder.to_string_lossy(), origin)?;
        }
        match &self.file {
            Some(file) => layers.read_file(file)?,
            None => {
                if let Some(file) = self.usual_file().filter(|file| file.exists()) {
                    layers.read_file(&file)?;
                }
            }
        }
        layers.read_environment(self.environment.iter().cloned())?;
        for (name, value, flag) in &self.flags {
            layers.set(name, value, Origin::Flag(flag.clone()))?;
        }
        Ok(layers)
    }

    /// Where the file is looked for.
    pub fn usual_file(&self) -> Option<PathBuf> {
        let folder = match self.variable("XDG_CONFIG_HOME") {
            Some(folder) => PathBuf::from(folder),
            None => PathBuf::from(self.variable("HOME")?).join(".config"),
        };
        Some(folder.join("seedbank/config.toml"))
    }

    fn variable(&self, name: &str) -> Option<&str> {
        let found = self.environment.iter().find(|(known, _)| known == name);
        found
            .map(|(_, value)| value.as_str())
            .filter(|value| !value.is_empty())
    }

    /// A setting that is a path.
    fn path(&self, layers: &Layers, key: &str) -> Result<PathBuf, ConfigError> {
        let folder = layers.get(key).origin.folder();
        layers.parse(key, |text| self.expand(text, folder))
    }

    /// A setting that is a path or nothing.
    fn path_if_any(&self, layers: &Layers, key: &str) -> Result<Option<PathBuf>, ConfigError> {
        let is_given = layers.get(key).values.iter().any(|text| !text.is_empty());
        is_given.then(|| self.path(layers, key)).transpose()
    }

    /// A path as the user means it: below the user's home, from the folder of the file that says
    /// it, or else from where they stand.
    fn expand(&self, path: &str, folder: Option<&Path>) -> Result<PathBuf, &'static str> {
        let path = match path.strip_prefix('~') {
            Some(rest) if rest.is_empty() || rest.starts_with('/') => {
                let home = self
                    .variable("HOME")
                    .ok_or("needs HOME, which is not set")?;
                Path::new(home).join(rest.trim_start_matches('/'))
            }
            _ if path.is_empty() => return Err("is empty"),
            _ => folder.unwrap_or(Path::new("")).join(path),
        };
        std::path::absolute(path).map_err(|_| "cannot be made absolute")
    }

    fn socket(&self, layers: &Layers, data_dir: &Path) -> Result<Option<PathBuf>, ConfigError> {
        const KEY: &str = "api.unix";
        match layers.get(KEY).values.first().map(String::as_str) {
            Some("off") => Ok(None),
            Some("auto") => Ok(Some(match self.variable("XDG_RUNTIME_DIR") {
                Some(folder) => Path::new(folder).join("seedbank/api.sock"),
                None => data_dir.join("api.sock"),
            })),
            _ => self.path(layers, KEY).map(Some),
        }
    }
}

impl Config {
    /// Reads every layer and checks every value.
    pub fn load(sources: &Sources) -> Result<Self, ConfigError> {
        let given = sources.given()?;
        let kept = sources.kept(&given)?;
        Self::from_layers(&given, &kept, sources)
    }

    /// Reads and checks the genesis file, if one is named.
    pub fn read_genesis(&self) -> Result<Option<Genesis>, ConfigError> {
        let Some(path) = &self.genesis else {
            return Ok(None);
        };
        let text = std::fs::read_to_string(path).map_err(|source| ConfigError::Io {
            path: path.clone(),
            source,
        })?;
        let genesis = Genesis::parse(&text).map_err(|error| ConfigError::Genesis {
            path: path.clone(),
            error,
        })?;
        Ok(Some(genesis))
    }

    fn from_layers(layers: &Layers, kept: &Layers, sources: &Sources) -> Result<Self, ConfigError> {
        let path = |key| sources.path(layers, key);
        let optional = |key| sources.path_if_any(layers, key);
        let data_dir = path("node.data_dir")?;
        let role = match layers.parse("settlement.enabled", truth)? {
            false => None,
            true => Some(SettlementRole {
                listen: layers.parse("settlement.listen", address)?,
                key: path("settlement.key")?,
                issuer_key: optional("settlement.issuer_key")?,
                tls: settlement::tls_files(
                    layers,
                    optional("settlement.tls_cert")?,
                    optional("settlement.tls_key")?,
                )?,
            }),
        };
        let policy_sources = PolicySources::new(policy(layers)?, policy(kept)?, |field| {
            let key = field.key();
            (layers.get(key).origin.clone(), kept.get(key).origin.clone())
        });
        Ok(Self {
            download_dir: path("node.download_dir")?,
            listen: layers.parse_list("node.listen", address)?,
            max_peers: layers.parse("node.max_peers", peer_count)?,
            policy: policy_sources.in_force(),
            policy_sources,
            receipts: layers.parse("earn.receipts", truth)?,
            receipts_private: layers.parse("earn.receipts_private", truth)?,
            genesis: optional("network.genesis")?,
            settlement: settlement::url(layers)?,
            settlement_ca: optional("network.settlement_ca")?,
            settlement_role: role,
            store: layers.parse("ledger.store", store)?,
            api_unix: sources.socket(layers, &data_dir)?,
            api_listen: layers.parse_list("api.listen", own_address)?,
            log_filter: layers.parse("log.filter", logs::filter)?,
            log_format: layers.parse("log.format", log_format)?,
            data_dir,
        })
    }
}

/// Every setting as a file would say it; with `origin`, who said so behind each.
pub fn show(layers: &Layers, origin: bool) -> String {
    let mut text = String::new();
    let mut section = "";
    for (name, setting) in layers.iter() {
        let (in_section, key) = name.split_once('.').expect("settings have a section");
        if in_section != section {
            let gap = if section.is_empty() { "" } else { "\n" };
            text.push_str(&format!("{gap}[{in_section}]\n"));
            section = in_section;
        }
        let value = toml_value(&setting.values, layers.is_list(name));
        let comment = if origin {
            format!("  # {}", setting.origin)
        } else {
            String::new()
        };
        text.push_str(&format!("{key} = {value}{comment}\n"));
    }
    text
}

const fn one(name: &'static str, default: &'static str) -> Key {
    let list = false;
    Key {
        name,
        default,
        list,
    }
}

const fn list(name: &'static str, default: &'static str) -> Key {
    let list = true;
    Key {
        name,
        default,
        list,
    }
}

/// A setting's value as a file says it.
fn toml_value(values: &[String], is_list: bool) -> String {
    let quoted: Vec<String> = values.iter().map(|value| quote(value)).collect();
    if is_list {
        format!("[{}]", quoted.join(", "))
    } else {
        quoted.concat()
    }
}

fn quote(value: &str) -> String {
    let reads_back = |number: i64| number.to_string() == value;
    let is_number = value.parse().is_ok_and(reads_back);
    let bare = value == "true" || value == "false" || is_number;
    if bare {
        value.to_owned()
    } else {
        toml::Value::String(value.to_owned()).to_string()
    }
}

fn policy(layers: &Layers) -> Result<Policy, ConfigError> {
    Ok(Policy {
        slots: layers.parse("earn.slots", positive)?,
        open_share_percent: layers.parse("earn.open_share", amounts::percent)?,
        paid_rule: layers.parse("earn.rule", paid_rule)?,
        upload_limit: layers.parse("limits.upload", amounts::byte_rate)?,
        download_limit: layers.parse("limits.download", amounts::byte_rate)?,
        credit: CreditPolicy {
            earn: layers.parse("earn.enabled", truth)?,
            spend: layers.parse("spend.enabled", truth)?,
            rate_min: layers.parse("earn.min_price_per_gib", ask)?,
            friends: layers.parse_list("earn.friends", node_id)?,
            spend_per_day_max: layers.parse("spend.max_per_day", credit_limit)?,
        },
    })
}

fn truth(text: &str) -> Result<bool, &'static str> {
    match text {
        "true" | "on" | "yes" => Ok(true),
        "false" | "off" | "no" => Ok(false),
        _ => Err("is neither true nor false"),
    }
}

fn address(text: &str) -> Result<SocketAddr, &'static str> {
    text.parse()
        .map_err(|_| "is no address: write it as 127.0.0.1:6881 or [::]:6881")
}

/// Of the owner's API, which nobody else may listen to.
fn own_address(text: &str) -> Result<SocketAddr, &'static str> {
    let addr = address(text)?;
    if addr.ip().is_loopback() {
        Ok(addr)
    } else {
        Err(
            "is not a loopback address, and this daemon does not speak TLS: use 127.0.0.1 and \
             forward the port with ssh -L",
        )
    }
}

fn peer_count(text: &str) -> Result<usize, &'static str> {
    let count = positive(text)?;
    let is_possible = count <= PEERS_MAX;
    is_possible
        .then_some(count)
        .ok_or("is more than 65000, the most connections one node keeps")
}

fn positive(text: &str) -> Result<usize, &'static str> {
    let number = text.parse().ok().filter(|number| *number > 0);
    number.ok_or("is no whole number above 0")
}

/// A price, or the network's par price.
fn ask(text: &str) -> Result<Option<Rate>, &'static str> {
    match text {
        "par" => Ok(None),
        text => amounts::credits(text).map(|price| Some(Rate::new(price.get()))),
    }
}

fn credit_limit(text: &str) -> Result<Option<MicroCredits>, &'static str> {
    match text {
        "unlimited" => Ok(None),
        text => amounts::credits(text).map(Some),
    }
}

fn node_id(text: &str) -> Result<NodeId, &'static str> {
    let key = NodeId::from_hex(text).ok_or("is no key: 64 hex digits expected")?;
    match key.check() {
        Ok(()) => Ok(key),
        Err(_) => Err("is a key that nobody can hold"),
    }
}

fn paid_rule(text: &str) -> Result<PaidRule, &'static str> {
    match text {
        "top_k" => Ok(PaidRule::TopK),
        "proportional" => Ok(PaidRule::Proportional),
        "uniform_price" => Ok(PaidRule::UniformPrice),
        _ => Err("is none of top_k, proportional, uniform_price"),
    }
}

fn store(text: &str) -> Result<StoreKind, &'static str> {
    match text {
        "rocksdb" if cfg!(feature = "rocksdb") => Ok(StoreKind::RocksDb),
        "rocksdb" => Err("is not built in; this build has memory only"),
        "memory" => Ok(StoreKind::Memory),
        _ => Err("is neither rocksdb nor memory"),
    }
}

fn log_format(text: &str) -> Result<LogFormat, &'static str> {
    match text {
        "auto" => Ok(LogFormat::Auto),
        "text" => Ok(LogFormat::Text),
        "json" => Ok(LogFormat::Json),
        _ => Err("is none of auto, text, json"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn sources(file: &Path) -> Sources {
        Sources {
            file: Some(file.to_owned()),
            environment: vec![("HOME".to_owned(), "/srv/x".to_owned())],
            flags: Vec::new(),
        }
    }

    fn load(text: &str) -> Result<Config, ConfigError> {
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("config.toml");
        std::fs::write(&file, text).unwrap();
        Config::load(&sources(&file))
    }

    #[test]
    fn an_empty_file_gives_the_defaults_of_policy() {
        let config = load("").unwrap();
        assert_eq!(config.policy, Policy::default());
        assert_eq!(config.data_dir, Path::new("/srv/x/.local/share/seedbank"));
        assert_eq!(
            config.api_unix.as_deref(),
            Some(&*config.data_dir.join("api.sock"))
        );
        assert_eq!(config.settlement_role, None);
    }

    #[test]
    fn every_section_is_read() {
        let config = load(
            "[limits]\nupload = \"4MiB/s\"\n[earn]\nopen_share = \"20%\"\nslots = 4\n\
             [spend]\nmax_per_day = \"50cr\"\n[settlement]\nenabled = true\nkey = \"~/k\"\n",
        )
        .unwrap();
        assert_eq!(config.policy.upload_limit, Some(4 << 20));
        assert_eq!(config.policy.open_share_percent, 20);
        assert_eq!(config.policy.slots, 4);
        assert_eq!(
            config.policy.credit.spend_per_day_max,
            Some(MicroCredits::new(50_000_000))
        );
        assert_eq!(config.settlement_role.unwrap().key, Path::new("/srv/x/k"));
    }

    #[test]
    fn a_bad_value_names_file_and_line() {
        let error = load("[node]\nmax_peers = 0\n").unwrap_err().to_string();
        assert!(
            error.contains("config.toml:2: node.max_peers = \"0\""),
            "{error}"
        );
        let error = load("[earn]\nfriends = [\"abc\"]\n")
            .unwrap_err()
            .to_string();
        assert!(
            error.contains(":2: earn.friends = \"abc\" is no key"),
            "{error}"
        );
        let nobody = format!("[earn]\nfriends = [\"{}\"]\n", "00".repeat(32));
        let error = load(&nobody).unwrap_err().to_string();
        assert!(error.contains(" is a key that nobody can hold"), "{error}");
    }

    #[test]
    fn a_path_in_a_file_is_from_its_folder_and_a_flags_from_where_one_stands() {
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("config.toml");
        let text = "[node]\ndata_dir = \"data\"\n[network]\ngenesis = \"g.toml\"\n\
                    [api]\nunix = \"run/api.sock\"\n";
        std::fs::write(&file, text).unwrap();
        let mut sources = sources(&file);
        let config = Config::load(&sources).unwrap();
        assert_eq!(config.data_dir, folder.path().join("data"));
        assert_eq!(config.genesis, Some(folder.path().join("g.toml")));
        assert_eq!(config.api_unix, Some(folder.path().join("run/api.sock")));

        let flag = |key: &str, value: &str| (key.to_owned(), value.to_owned(), "--set".to_owned());
        sources.flags.push(flag("node.data_dir", "here"));
        let here = std::env::current_dir().unwrap().join("here");
        assert_eq!(Config::load(&sources).unwrap().data_dir, here);
    }

    #[test]
    fn what_a_start_would_refuse_is_refused_where_it_stands() {
        for (text, said) in [
            (
                "[api]\nlisten = [\"0.0.0.0:4620\"]\n",
                "not a loopback address",
            ),
            ("[node]\nmax_peers = 100000000000000\n", "more than 65000"),
            ("[network]\nsettlement = \"http://x:1\"\n", "in plain text"),
        ] {
            let error = load(text).unwrap_err().to_string();
            assert!(error.contains("config.toml:2: "), "{error}");
            assert!(error.contains(said), "{error}");
        }
    }

    #[test]
    fn a_named_file_must_be_there() {
        let error = Config::load(&sources(Path::new("/nowhere/c.toml"))).unwrap_err();
        assert!(matches!(error, ConfigError::Io { .. }), "{error}");
    }

    #[test]
    fn what_is_shown_reads_back_the_same() {
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("config.toml");
        std::fs::write(&file, "[limits]\nupload = \"1MiB/s\"\n").unwrap();
        let mut sources = sources(&file);
        let shown = show(&sources.layers().unwrap(), false);
        std::fs::write(&file, &shown).unwrap();
        assert_eq!(show(&sources.layers().unwrap(), false), shown);
        sources
            .flags
            .push(("log.filter".into(), "debug".into(), "--log".into()));
        let shown = show(&sources.layers().unwrap(), true);
        assert!(shown.contains("filter = \"debug\"  # --log"), "{shown}");
        assert!(shown.contains("config.toml:"), "{shown}");
    }

    #[test]
    fn text_that_looks_like_a_number_is_shown_as_text() {
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("config.toml");
        for text in ["03", "+3", "-0", "9223372036854775808", "0x3", "1_0"] {
            std::fs::write(&file, format!("[api]\nunix = \"{text}\"\n")).unwrap();
            let layers = sources(&file).layers().unwrap();
            let shown = show(&layers, false);
            assert!(shown.contains(&format!("unix = \"{text}\"")), "{shown}");
            std::fs::write(&file, &shown).unwrap();
            assert_eq!(show(&sources(&file).layers().unwrap(), false), shown);
        }
    }
}
