//! The command line of `seedbankd`: what owns files. Everything else is `seedbank`, over gRPC.

mod books;
#[cfg(feature = "demo")]
mod demo;
mod manual;
mod network;
mod output;
mod run;
mod signals;

use std::fmt;
use std::io::{self, Write};
use std::path::PathBuf;
use std::process::ExitCode;

use clap::{Args, Parser, Subcommand};

use crate::host::config::layers::ConfigError;
use crate::host::config::{self, Config, Sources};
use crate::host::datadir::DataDirError;
use crate::host::keys;
use output::StandardOutput;

/// A BitTorrent node that keeps accounts.
#[derive(Debug, Parser)]
#[command(name = "seedbankd", version, arg_required_else_help = true)]
pub struct Cli {
    #[command(flatten)]
    settings: Settings,
    #[command(subcommand)]
    command: DaemonCommand,
}

/// Settings that every command takes; flags win over the environment, the file and defaults.
#[derive(Clone, Debug, Default, Args)]
pub struct Settings {
    /// Configuration file, instead of the usual one
    #[arg(short, long, value_name = "FILE", global = true)]
    config: Option<PathBuf>,
    /// Folder of identity, ledger and torrents
    #[arg(long, value_name = "DIR", global = true)]
    data_dir: Option<String>,
    /// Folder that torrents go to
    #[arg(long, value_name = "DIR", global = true)]
    download_dir: Option<String>,
    /// Address for peers; several times for several
    #[arg(long, value_name = "ADDR", global = true)]
    listen: Vec<String>,
    /// Address of the API: HOST:PORT, unix:PATH or off; several times for several
    #[arg(long, value_name = "ADDR", global = true)]
    api: Vec<String>,
    /// Which log lines to print, such as debug or warn
    #[arg(long, value_name = "FILTER", global = true)]
    log: Option<String>,
    /// How log lines look: auto, text or json
    #[arg(long, value_name = "FORMAT", global = true)]
    log_format: Option<String>,
    /// Any other setting, such as limits.upload=4MiB/s
    #[arg(long, value_name = "KEY=VALUE", global = true)]
    set: Vec<String>,
}

#[derive(Debug, Subcommand)]
enum DaemonCommand {
    /// Run the daemon
    #[command(after_help = manual::RUN_EXAMPLES)]
    Run,
    /// See a paying leecher overtake others in a real swarm on loopback, with a control beside it
    #[cfg(feature = "demo")]
    Demo(demo::DemoArgs),
    /// Look after the ledger while no daemon runs
    #[command(subcommand, after_help = manual::LEDGER_EXAMPLES)]
    Ledger(LedgerCommand),
    /// Look after this node's key
    #[command(subcommand)]
    Key(KeyCommand),
    /// Show settings and where they come from
    #[command(subcommand, after_help = manual::CONFIG_EXAMPLES)]
    Config(ConfigCommand),
    /// Found a network, or go on with one after a loss
    #[command(subcommand)]
    Network(NetworkCommand),
    /// Print a completion script for a shell
    #[command(after_help = manual::COMPLETIONS_EXAMPLES)]
    Completions { shell: clap_complete::Shell },
    /// Print the manual page, or write a page for every command to a folder
    #[command(after_help = manual::MAN_EXAMPLES)]
    Man {
        /// Folder for the pages, made if need be
        dir: Option<PathBuf>,
    },
}

#[derive(Debug, Subcommand)]
enum LedgerCommand {
    /// Make the ledger again from its entries and compare
    Check,
    /// Say where the credit came from and where it went, as sums over entries
    Explain {
        /// What the lines are grouped by
        #[arg(long, value_enum, default_value_t = books::ExplainBy::Kind)]
        by: books::ExplainBy,
    },
}

#[derive(Debug, Subcommand)]
enum KeyCommand {
    /// Print this node's public key
    Show,
}

#[derive(Debug, Subcommand)]
enum ConfigCommand {
    /// Print every setting in force
    Show {
        /// Say who set each
        #[arg(long)]
        origin: bool,
    },
    /// Read every setting and say nothing if all is well
    Check,
    /// Print where the file is looked for
    Path,
}

#[derive(Debug, Subcommand)]
enum NetworkCommand {
    /// Write a genesis file and the keys of its settlement node, and begin its ledger
    Init {
        /// What the network is called
        name: String,
        /// Folder for the files
        #[arg(long, value_name = "DIR", default_value = ".")]
        out: PathBuf,
        /// Where members will reach its settlement node
        #[arg(long, value_name = "URL", default_value = network::LOCAL_URL)]
        url: String,
    },
    /// Go on after a loss, or with a clock far ahead: what `run` refuses until its owner says so
    #[command(group = clap::ArgGroup::new("what").required(true).multiple(true))]
    Accept {
        /// Give up every entry that the ledger had beyond these, although they were acknowledged
        #[arg(long, value_name = "COUNT", group = "what")]
        entries: Option<u64>,
        /// Believe the clock, although it is more than a day ahead of settlement time
        #[arg(long, group = "what")]
        clock: bool,
    },
}

/// How a command failed: what to say, and the exit code that scripts rely on.
#[derive(Debug)]
pub struct CliFailure {
    code: u8,
    message: String,
}

impl CliFailure {
    const FAILED: u8 = 1;
    const USAGE: u8 = 2;
    const NOT_FOUND: u8 = 5;
    const VERIFICATION: u8 = 8;
    const INTERRUPTED: u8 = 130;

    /// The command could not be carried out.
    pub fn failed(message: impl fmt::Display) -> Self {
        Self::with(Self::FAILED, message)
    }

    /// The command line or configuration asks for something that does not exist.
    pub fn usage(message: impl fmt::Display) -> Self {
        Self::with(Self::USAGE, message)
    }

    /// What the command is about is not there.
    pub fn not_found(message: impl fmt::Display) -> Self {
        Self::with(Self::NOT_FOUND, message)
    }

    /// What was checked does not hold.
    pub fn verification(message: impl fmt::Display) -> Self {
        Self::with(Self::VERIFICATION, message)
    }

    /// The user stopped the command before it was done.
    pub fn interrupted(message: impl fmt::Display) -> Self {
        Self::with(Self::INTERRUPTED, message)
    }

    fn with(code: u8, message: impl fmt::Display) -> Self {
        Self {
            code,
            message: message.to_string(),
        }
    }
}

impl From<ConfigError> for CliFailure {
    fn from(error: ConfigError) -> Self {
        Self::usage(error)
    }
}

impl From<DataDirError> for CliFailure {
    fn from(error: DataDirError) -> Self {
        Self::failed(error)
    }
}

impl From<io::Error> for CliFailure {
    fn from(error: io::Error) -> Self {
        Self::failed(error)
    }
}

/// Parses the process's arguments and carries them out; errors go to stderr.
pub fn main() -> ExitCode {
    let cli = Cli::parse();
    match execute(cli, &mut StandardOutput::new(io::stdout().lock())) {
        Ok(()) => ExitCode::SUCCESS,
        Err(failure) => {
            // Nobody may be reading stderr.
            let _ = writeln!(io::stderr(), "seedbankd: {}", failure.message);
            ExitCode::from(failure.code)
        }
    }
}

fn execute(cli: Cli, out: &mut impl Write) -> Result<(), CliFailure> {
    let sources = cli.settings.sources()?;
    match cli.command {
        DaemonCommand::Run => run::run(&Config::load(&sources)?, out),
        #[cfg(feature = "demo")]
        DaemonCommand::Demo(args) => demo::run(&args, cli.settings.log.as_deref(), out),
        DaemonCommand::Ledger(LedgerCommand::Check) => books::check(&Config::load(&sources)?, out),
        DaemonCommand::Ledger(LedgerCommand::Explain { by }) => {
            books::explain(&Config::load(&sources)?, by, out)
        }
        DaemonCommand::Key(KeyCommand::Show) => {
            let path = Config::load(&sources)?.data_dir.join("identity.key");
            if !path.exists() {
                let path = path.display();
                return Err(CliFailure::not_found(format!(
                    "no key at {path}: run the daemon once"
                )));
            }
            let identity = keys::load(&path).map_err(CliFailure::failed)?;
            writeln!(out, "{}", identity.id())?;
            Ok(())
        }
        DaemonCommand::Config(ConfigCommand::Show { origin }) => {
            Config::load(&sources)?;
            write!(out, "{}", config::show(&sources.layers()?, origin))?;
            Ok(())
        }
        DaemonCommand::Config(ConfigCommand::Check) => {
            Config::load(&sources)?.read_genesis()?;
            Ok(())
        }
        DaemonCommand::Config(ConfigCommand::Path) => {
            let path = sources.file.clone().or_else(|| sources.usual_file());
            let path = path.ok_or_else(|| CliFailure::not_found("HOME is not set"))?;
            writeln!(out, "{}", path.display())?;
            Ok(())
        }
        DaemonCommand::Network(NetworkCommand::Init {
            name,
            out: folder,
            url,
        }) => network::init(&Config::load(&sources)?, &name, &folder, &url, out),
        DaemonCommand::Network(NetworkCommand::Accept { entries, clock }) => {
            network::accept(&Config::load(&sources)?, entries, clock, out)
        }
        DaemonCommand::Completions { shell } => Ok(manual::completions(shell, out)?),
        DaemonCommand::Man { dir } => Ok(manual::pages(dir.as_deref(), out)?),
    }
}

impl Settings {
    fn sources(&self) -> Result<Sources, CliFailure> {
        let mut flags = Vec::new();
        let mut flag = |key: &str, value: &str, name: &str| {
            flags.push((key.to_owned(), value.to_owned(), name.to_owned()));
        };
        for (key, value, name) in [
            ("node.data_dir", &self.data_dir, "--data-dir"),
            ("node.download_dir", &self.download_dir, "--download-dir"),
            ("log.filter", &self.log, "--log"),
            ("log.format", &self.log_format, "--log-format"),
        ] {
            value.iter().for_each(|value| flag(key, value, name));
        }
        if !self.listen.is_empty() {
            flag("node.listen", &self.listen.join(","), "--listen");
        }
        if !self.api.is_empty() {
            let unix = self.api.iter().find_map(|addr| addr.strip_prefix("unix:"));
            let tcp = self
                .api
                .iter()
                .filter(|addr| !addr.starts_with("unix:") && *addr != "off");
            let tcp: Vec<&str> = tcp.map(String::as_str).collect();
            flag("api.unix", unix.unwrap_or("off"), "--api");
            flag("api.listen", &tcp.join(","), "--api");
        }
        for setting in &self.set {
            let (key, value) = setting.split_once('=').ok_or_else(|| {
                CliFailure::usage(format!("--set {setting}: write it as KEY=VALUE"))
            })?;
            flag(key, value, "--set");
        }
        Ok(Sources {
            file: self.config.clone(),
            environment: environment(),
            flags,
        })
    }
}

/// Variables that are text; none of ours can be anything else.
fn environment() -> Vec<(String, String)> {
    let text = |(name, value): (std::ffi::OsString, std::ffi::OsString)| {
        Some((name.into_string().ok()?, value.into_string().ok()?))
    };
    std::env::vars_os().filter_map(text).collect()
}

#[cfg(test)]
mod tests {
    use clap::CommandFactory as _;

    use super::*;

    fn run(folder: &std::path::Path, args: &[&str]) -> Result<String, CliFailure> {
        let data = folder.join("data");
        let fixed = ["seedbankd", "--data-dir", data.to_str().unwrap()];
        let cli = Cli::try_parse_from(fixed.iter().chain(args)).unwrap();
        let mut out = Vec::new();
        execute(cli, &mut out)?;
        Ok(String::from_utf8(out).unwrap())
    }

    #[test]
    fn the_command_line_is_consistent() {
        Cli::command().debug_assert();
    }

    #[test]
    fn every_example_in_the_help_is_a_command_line() {
        let command = Cli::command();
        let helps = command
            .get_subcommands()
            .filter_map(clap::Command::get_after_help);
        let helps: Vec<String> = helps.map(ToString::to_string).collect();
        let lines = helps.iter().flat_map(|help| help.lines());
        let examples: Vec<&str> = lines.filter_map(|line| line.strip_prefix("  ")).collect();
        assert!(examples.len() >= 8, "{examples:?}");
        for example in examples {
            let words = example.split(['>', '|']).next().unwrap().split_whitespace();
            let parsed = Cli::try_parse_from(words);
            assert!(parsed.is_ok(), "{example}: {}", parsed.unwrap_err());
        }
    }

    #[test]
    fn completions_and_pages_name_the_commands() {
        let folder = tempfile::tempdir().unwrap();
        for shell in ["bash", "zsh", "fish"] {
            let script = run(folder.path(), &["completions", shell]).unwrap();
            assert!(script.contains("data-dir"), "{shell}");
        }
        assert!(
            run(folder.path(), &["man"])
                .unwrap()
                .contains(".TH seedbankd 1")
        );
        let pages = folder.path().join("man/man1");
        run(folder.path(), &["man", pages.to_str().unwrap()]).unwrap();
        for page in ["seedbankd.1", "seedbankd-run.1", "seedbankd-network-init.1"] {
            assert!(pages.join(page).exists(), "{page}");
        }
    }

    #[test]
    fn flags_win_and_are_named() {
        let folder = tempfile::tempdir().unwrap();
        let args = [
            "config",
            "show",
            "--origin",
            "--set",
            "limits.upload=1MiB/s",
        ];
        let shown = run(folder.path(), &args).unwrap();
        assert!(shown.contains("upload = \"1MiB/s\"  # --set"), "{shown}");
        let args = ["config", "check", "--set", "limits.uplod=1"];
        let failure = run(folder.path(), &args).unwrap_err();
        assert_eq!(failure.code, CliFailure::USAGE);
        assert!(
            failure.message.contains("did you mean"),
            "{}",
            failure.message
        );
    }

    #[test]
    fn what_is_not_there_has_its_own_exit_code() {
        let folder = tempfile::tempdir().unwrap();
        for args in [["key", "show"], ["ledger", "check"], ["ledger", "explain"]] {
            let failure = run(folder.path(), &args).unwrap_err();
            assert_eq!(failure.code, CliFailure::NOT_FOUND, "{}", failure.message);
        }
        assert!(
            !folder.path().join("data").exists(),
            "looking makes nothing"
        );
    }

    #[test]
    fn a_new_network_has_a_genesis_and_two_keys() {
        let folder = tempfile::tempdir().unwrap();
        let out = folder.path().to_str().unwrap();
        let said = run(folder.path(), &["network", "init", "pond", "--out", out]).unwrap();
        let text = std::fs::read_to_string(folder.path().join("pond.genesis")).unwrap();
        let genesis = seedbank_ledger::Genesis::parse(&text).unwrap();
        assert!(said.contains(&genesis.network_id().to_string()), "{said}");
        let paths = said.lines().filter(|line| line.starts_with("genesis = "));
        assert_eq!(paths.count(), 2, "{said}");
        let settlement = keys::load(&folder.path().join("pond.settlement.key")).unwrap();
        let issuer = keys::load(&folder.path().join("pond.issuer.key")).unwrap();
        assert_eq!(settlement.id(), genesis.settlement);
        assert!(genesis.is_issuer(&issuer.id()));
        let again = run(folder.path(), &["network", "init", "pond", "--out", out]).unwrap_err();
        assert_eq!(again.code, CliFailure::FAILED, "nothing is overwritten");
    }

    /// The text between a heading and the blank line after its TOML.
    fn toml_after<'a>(said: &'a str, heading: &str) -> &'a str {
        let rest = said.split_once(heading).unwrap().1;
        rest.split("\n\nOn every")
            .next()
            .unwrap()
            .split("\n\nA member")
            .next()
            .unwrap()
    }

    #[test]
    fn what_a_new_network_prints_can_be_pasted() {
        let folder = tempfile::tempdir().unwrap();
        let out = folder.path().to_str().unwrap();
        let url = "http://bank.example:4700";
        let args = ["network", "init", "pond", "--out", out, "--url", url];
        let said = run(folder.path(), &args).unwrap();
        for (heading, name) in [
            ("On the settlement node, in config.toml:\n", "keeper.toml"),
            ("On every member's node, in config.toml:\n", "member.toml"),
        ] {
            let file = folder.path().join(name);
            std::fs::write(&file, toml_after(&said, heading)).unwrap();
            let args = ["config", "show", "--config", file.to_str().unwrap()];
            let shown = run(folder.path(), &args).unwrap();
            assert!(shown.contains("pond.genesis"), "{shown}");
            let is_keeper = name == "keeper.toml";
            assert_eq!(shown.contains(url), !is_keeper, "{shown}");
            assert_eq!(
                shown.contains("listen = \"[::]:4700\""),
                is_keeper,
                "{shown}"
            );
        }
        for bad in [
            "bank",
            "ftp://bank:1",
            "http://bank",
            "http://:1",
            "http://bank:0",
        ] {
            let args = ["network", "init", "pool", "--out", out, "--url", bad];
            let failure = run(folder.path(), &args).unwrap_err();
            assert_eq!(failure.code, CliFailure::USAGE, "{bad}");
            assert!(!folder.path().join("pool.genesis").exists(), "{bad}");
        }
    }

    #[test]
    fn a_log_filter_that_means_nothing_is_refused() {
        let folder = tempfile::tempdir().unwrap();
        let failure = run(folder.path(), &["config", "check", "--log", "wran"]).unwrap_err();
        assert_eq!(failure.code, CliFailure::USAGE);
        assert!(failure.message.contains("wran"), "{}", failure.message);
        assert!(failure.message.contains("--log"), "{}", failure.message);
    }
}
