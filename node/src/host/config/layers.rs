//! Where settings come from: defaults, a file, what `policy set` kept, the environment, flags; the
//! last to speak wins, and each value remembers who said it.

use std::collections::BTreeMap;
use std::fmt;
use std::io::ErrorKind;
use std::path::{Path, PathBuf};

use seedbank_engine::text;
use toml::de::{DeTable, DeValue};

/// Longest file that is read at all.
const FILE_LEN_MAX: u64 = 1024 * 1024;
/// In front of every variable: `SEEDBANK_LIMITS_UPLOAD` is `limits.upload`.
pub const ENV_PREFIX: &str = "SEEDBANK_";

/// A setting that exists.
#[derive(Clone, Copy, Debug)]
pub struct Key {
    /// `section.key`.
    pub name: &'static str,
    /// Value when nobody says otherwise; several are separated by commas.
    pub default: &'static str,
    /// Whether it takes several values.
    pub list: bool,
}

/// Who set a value.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Origin {
    /// Nobody.
    Default,
    /// A line of a file.
    File(PathBuf, usize),
    /// A line of what `seedbank policy set` kept.
    Kept(PathBuf, usize),
    /// An environment variable.
    Environment(String),
    /// A flag on the command line.
    Flag(String),
    /// `seedbank policy set --until-restart`.
    UntilRestart,
}

/// Makes the origin of a line of a file.
pub type LineOf = fn(PathBuf, usize) -> Origin;

/// A value as it was written.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Setting {
    /// One text, or several for a list.
    pub values: Vec<String>,
    /// Who said so.
    pub origin: Origin,
}

/// Why settings could not be read.
#[derive(Debug, thiserror::Error)]
pub enum ConfigError {
    /// The file cannot be read.
    #[error("{}: {source}", path.display())]
    Io {
        /// Which file.
        path: PathBuf,
        /// What the system said.
        source: std::io::Error,
    },
    /// The file is no TOML.
    #[error("{}:{line}: {problem}", path.display())]
    Syntax {
        /// Which file.
        path: PathBuf,
        /// Which line.
        line: usize,
        /// What is wrong.
        problem: String,
    },
    /// The genesis file that it names is none.
    #[error("{}: {error}", path.display())]
    Genesis {
        /// Which file.
        path: PathBuf,
        /// What is wrong with it.
        error: seedbank_ledger::genesis::GenesisError,
    },
    /// There is no such setting.
    #[error("{origin}: unknown setting {key:?}{}", suggestion(similar.as_deref()))]
    Unknown {
        /// Who named it.
        origin: Origin,
        /// What was named.
        key: String,
        /// What may have been meant.
        similar: Option<String>,
    },
    /// A value does not fit its setting.
    #[error("{origin}: {key} = {value:?} {problem}")]
    Value {
        /// Who set it.
        origin: Origin,
        /// Which setting.
        key: String,
        /// To what.
        value: String,
        /// What is wrong with it.
        problem: String,
    },
}

/// All settings, from every layer.
#[derive(Clone, Debug)]
pub struct Layers {
    keys: &'static [Key],
    settings: BTreeMap<&'static str, Setting>,
}

impl Layers {
    /// Every setting at its default.
    pub fn defaults(keys: &'static [Key]) -> Self {
        let setting = |key: &Key| Setting {
            values: split(key, key.default),
            origin: Origin::Default,
        };
        Self {
            keys,
            settings: keys.iter().map(|key| (key.name, setting(key))).collect(),
        }
    }

    /// Lays the file at `path` over what is there.
    pub fn read_file(&mut self, path: &Path) -> Result<(), ConfigError> {
        self.read(path, Origin::File)
    }

    /// The same with what `policy set` kept; one that is not there kept nothing.
    pub fn read_kept(&mut self, path: &Path) -> Result<(), ConfigError> {
        match self.read(path, Origin::Kept) {
            Err(ConfigError::Io { source, .. }) if source.kind() == ErrorKind::NotFound => Ok(()),
            other => other,
        }
    }

    /// Lays what `kept` read of such a file over what is there, but not over the environment and
    /// flags.
    pub fn lay_kept(&mut self, kept: &Self) {
        for (name, setting) in &kept.settings {
            let is_kept = matches!(setting.origin, Origin::Kept(..));
            if is_kept && !self.get(name).origin.outranks_kept() {
                self.settings.insert(name, setting.clone());
            }
        }
    }

    fn read(&mut self, path: &Path, origin: LineOf) -> Result<(), ConfigError> {
        let io_error = |source| ConfigError::Io {
            path: path.to_owned(),
            source,
        };
        let len = std::fs::metadata(path).map_err(io_error)?.len();
        if len > FILE_LEN_MAX {
            let message = format!("{len} bytes are too many for a configuration");
            return Err(io_error(std::io::Error::other(message)));
        }
        let text = std::fs::read_to_string(path).map_err(io_error)?;
        self.read_text(path, &text, origin)
    }

    /// Lays the text of a file over what is there; `path` is for errors and `from` for origins.
    pub fn read_text(&mut self, path: &Path, text: &str, from: LineOf) -> Result<(), ConfigError> {
        let line_at = |at: usize| text[..at.min(text.len())].matches('\n').count() + 1;
        let document = DeTable::parse(text).map_err(|error| ConfigError::Syntax {
            path: path.to_owned(),
            line: line_at(error.span().map_or(0, |span| span.start)),
            problem: error.message().to_owned(),
        })?;
        for (section, value) in document.get_ref() {
            let origin = from(path.to_owned(), line_at(section.span().start));
            let name = section.get_ref();
            let prefix = format!("{name}.");
            if !self.keys.iter().any(|key| key.name.starts_with(&prefix)) {
                return Err(self.unknown(origin, name.clone().into_owned()));
            }
            let DeValue::Table(table) = value.get_ref() else {
                return Err(ConfigError::Value {
                    origin,
                    key: name.clone().into_owned(),
                    value: value.get_ref().type_str().to_owned(),
                    problem: format!("is no section: write [{name}] on a line of its own"),
                });
            };
            for (key, value) in table {
                let origin = from(path.to_owned(), line_at(key.span().start));
                let name = format!("{name}.{}", key.get_ref());
                self.set_toml(&name, value.get_ref(), origin)?;
            }
        }
        Ok(())
    }

    /// Lays environment variables over what is there; those of others are passed over.
    pub fn read_environment(
        &mut self,
        variables: impl IntoIterator<Item = (String, String)>,
    ) -> Result<(), ConfigError> {
        for (name, value) in variables {
            let Some(rest) = name.strip_prefix(ENV_PREFIX) else {
                continue;
            };
            let lower = rest.to_ascii_lowercase();
            let key = self
                .keys
                .iter()
                .find(|key| key.name.replace('.', "_") == lower);
            // Other programs of this project have variables of the same prefix.
            let Some(key) = key else { continue };
            self.set(key.name, &value, Origin::Environment(name))?;
        }
        Ok(())
    }

    /// Sets one value, from a flag.
    pub fn set(&mut self, name: &str, value: &str, origin: Origin) -> Result<(), ConfigError> {
        let key = self.key(name, &origin)?;
        let values = split(&key, value);
        self.settings.insert(key.name, Setting { values, origin });
        Ok(())
    }

    /// The value of a setting.
    ///
    /// # Panics
    /// If there is no such setting.
    pub fn get(&self, name: &str) -> &Setting {
        self.settings
            .get(name)
            .expect("settings are asked for by name")
    }

    /// Parses the value of a setting; an error names where it came from.
    pub fn parse<T, E: fmt::Display>(
        &self,
        name: &str,
        parse: impl Fn(&str) -> Result<T, E>,
    ) -> Result<T, ConfigError> {
        let setting = self.get(name);
        let value = setting.values.first().map_or("", String::as_str);
        parse(value).map_err(|problem| self.bad(name, value, &problem))
    }

    /// Parses every value of a list.
    pub fn parse_list<T, E: fmt::Display>(
        &self,
        name: &str,
        parse: impl Fn(&str) -> Result<T, E>,
    ) -> Result<Vec<T>, ConfigError> {
        let values = self.get(name).values.iter();
        values
            .map(|value| parse(value).map_err(|problem| self.bad(name, value, &problem)))
            .collect()
    }

    /// Every setting in order of its name.
    pub fn iter(&self) -> impl Iterator<Item = (&'static str, &Setting)> {
        self.settings.iter().map(|(name, setting)| (*name, setting))
    }

    /// Whether a setting takes several values.
    pub fn is_list(&self, name: &str) -> bool {
        self.keys.iter().any(|key| key.name == name && key.list)
    }

    fn set_toml(
        &mut self,
        name: &str,
        value: &DeValue<'_>,
        origin: Origin,
    ) -> Result<(), ConfigError> {
        let key = self.key(name, &origin)?;
        let wrong = |problem: &str| ConfigError::Value {
            origin: origin.clone(),
            key: name.to_owned(),
            value: value.type_str().to_owned(),
            problem: problem.to_owned(),
        };
        let values = match value {
            DeValue::Array(_) if !key.list => return Err(wrong("is a list; one value expected")),
            DeValue::Array(values) => values
                .iter()
                .map(|value| scalar(value.get_ref()))
                .collect::<Option<Vec<_>>>()
                .ok_or_else(|| wrong("holds something that is no text"))?,
            other => vec![scalar(other).ok_or_else(|| wrong("is no text, number or truth"))?],
        };
        self.settings.insert(key.name, Setting { values, origin });
        Ok(())
    }

    fn key(&self, name: &str, origin: &Origin) -> Result<Key, ConfigError> {
        let key = self.keys.iter().find(|key| key.name == name).copied();
        key.ok_or_else(|| self.unknown(origin.clone(), name.to_owned()))
    }

    fn unknown(&self, origin: Origin, key: String) -> ConfigError {
        let sections = self
            .keys
            .iter()
            .filter_map(|known| known.name.split('.').next());
        let names = self.keys.iter().map(|known| known.name);
        let is_section = !key.contains('.');
        let candidates = sections
            .filter(|_| is_section)
            .chain(names.filter(|_| !is_section));
        let similar = text::similar(&key, candidates).map(str::to_owned);
        ConfigError::Unknown {
            origin,
            key,
            similar,
        }
    }

    fn bad(&self, name: &str, value: &str, problem: &impl fmt::Display) -> ConfigError {
        ConfigError::Value {
            origin: self.get(name).origin.clone(),
            key: name.to_owned(),
            value: value.to_owned(),
            problem: problem.to_string(),
        }
    }
}

impl Origin {
    /// The folder that a path in such a value is from; `None` for the current one.
    pub fn folder(&self) -> Option<&Path> {
        match self {
            Self::File(path, _) | Self::Kept(path, _) => path.parent(),
            Self::Default | Self::Environment(_) | Self::Flag(_) | Self::UntilRestart => None,
        }
    }

    /// Whether `policy set` gives way to it when a daemon starts.
    pub const fn outranks_kept(&self) -> bool {
        match self {
            Self::Environment(_) | Self::Flag(_) => true,
            Self::Default | Self::File(..) | Self::Kept(..) | Self::UntilRestart => false,
        }
    }
}

impl fmt::Display for Origin {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Default => f.write_str("default"),
            Self::File(path, line) => write!(f, "{}:{line}", path.display()),
            Self::Kept(path, line) => {
                write!(f, "{}:{line} (seedbank policy set)", path.display())
            }
            Self::Environment(name) => f.write_str(name),
            Self::Flag(name) => f.write_str(name),
            Self::UntilRestart => f.write_str("until the daemon restarts"),
        }
    }
}

fn suggestion(similar: Option<&str>) -> String {
    similar.map_or_else(String::new, |similar| {
        format!("; did you mean {similar:?}?")
    })
}

fn split(key: &Key, value: &str) -> Vec<String> {
    if !key.list {
        return vec![value.to_owned()];
    }
    let values = value.split(',').map(str::trim);
    values
        .filter(|value| !value.is_empty())
        .map(str::to_owned)
        .collect()
}

fn scalar(value: &DeValue<'_>) -> Option<String> {
    match value {
        DeValue::String(text) => Some(text.clone().into_owned()),
        DeValue::Integer(number) => Some(number.as_str().to_owned()),
        DeValue::Boolean(truth) => Some(truth.to_string()),
        DeValue::Float(_) | DeValue::Datetime(_) | DeValue::Array(_) | DeValue::Table(_) => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const KEYS: &[Key] = &[
        Key {
            name: "limits.upload",
            default: "unlimited",
            list: false,
        },
        Key {
            name: "node.listen",
            default: "[::]:6881",
            list: true,
        },
    ];

    fn read(text: &str) -> Result<Layers, ConfigError> {
        let mut layers = Layers::defaults(KEYS);
        layers.read_text(Path::new("c.toml"), text, Origin::File)?;
        Ok(layers)
    }

    fn error(text: &str) -> String {
        read(text).unwrap_err().to_string()
    }

    #[test]
    fn errors_name_the_line_and_what_may_be_meant() {
        assert_eq!(
            error("[limits]\n\nuplod = \"1\"\n"),
            "c.toml:3: unknown setting \"limits.uplod\"; did you mean \"limits.upload\"?"
        );
        assert_eq!(
            error("\n[limit]\n"),
            "c.toml:2: unknown setting \"limit\"; did you mean \"limits\"?"
        );
        assert_eq!(
            error("[limits]\nsomething_else = 1"),
            "c.toml:2: unknown setting \"limits.something_else\""
        );
        assert!(error("[limits]\nupload = \n").starts_with("c.toml:2: "));
        assert!(error("[limits]\nupload = [\"1\"]").contains("one value expected"));
        assert!(error("limits = 1").contains("write [limits]"));
        assert!(error("[limits]\nupload = 1.5").starts_with("c.toml:2: limits.upload"));
    }

    #[test]
    fn the_last_layer_wins_and_is_remembered() {
        let mut layers = read("[limits]\nupload = \"1MiB/s\"\n").unwrap();
        let file = Origin::File(PathBuf::from("c.toml"), 2);
        assert_eq!(layers.get("limits.upload").origin, file);
        let variables = [
            ("SEEDBANK_LIMITS_UPLOAD", "2MiB/s"),
            ("SEEDBANK_API", "http://elsewhere"),
            ("PATH", "/bin"),
        ];
        let variables = variables.map(|(name, value)| (name.to_owned(), value.to_owned()));
        layers.read_environment(variables).unwrap();
        assert_eq!(layers.get("limits.upload").values, ["2MiB/s"]);
        let flag = Origin::Flag("--set".to_owned());
        layers.set("node.listen", "a, b", flag.clone()).unwrap();
        assert_eq!(layers.get("node.listen").values, ["a", "b"]);
        assert_eq!(layers.get("node.listen").origin, flag);
    }

    #[test]
    fn a_bad_value_names_its_origin() {
        let layers = read("[limits]\nupload = \"fast\"").unwrap();
        let parsed = layers.parse("limits.upload", |text| text.parse::<u64>());
        assert_eq!(
            parsed.unwrap_err().to_string(),
            "c.toml:2: limits.upload = \"fast\" invalid digit found in string"
        );
    }
}
