//! The command tree. Names of commands and flags are API.

use std::path::PathBuf;
use std::time::Duration;

use clap::{Parser, Subcommand, ValueEnum};

use super::examples;
use crate::connection::ApiAddress;
use crate::units::{parse_credit, parse_duration, parse_key, parse_piece, parse_rate};

/// Longest wait when `--wait` names none: a year.
const WAIT_DEFAULT: &str = "365d";

/// Talks to a running seedbankd.
#[derive(Debug, Parser)]
#[command(name = "seedbank", version, propagate_version = true)]
#[command(
    after_help = format!("IDs are info hashes or names of torrents, or unique beginnings of one.\n\
    Amounts are credits: 5, 5cr, 2.5cr. Rates are credits per GiB: 3cr/GiB.\n\
    Exit codes: 0 ok, 1 refused or failed, 2 usage, 3 cannot reach the daemon, 4 not allowed,\n\
    5 not found, 6 not enough credit, 7 timed out, 8 verification failed, 130 interrupted.\n\n{}",
    examples::ALL)
)]
pub(super) struct Args {
    #[command(flatten)]
    pub(super) global: Global,
    #[command(subcommand)]
    pub(super) command: ClientCommand,
}

/// Flags that may stand anywhere on the line.
#[derive(Debug, clap::Args)]
pub(super) struct Global {
    /// Where the daemon is: unix:PATH or HOST:PORT
    #[arg(long, global = true, env = "SEEDBANK_API", value_name = "ADDR")]
    pub(super) api: Option<ApiAddress>,
    /// File with the API token (only needed for HOST:PORT)
    #[arg(long, global = true, env = "SEEDBANK_TOKEN_FILE", value_name = "FILE")]
    pub(super) token_file: Option<PathBuf>,
    /// Print JSON: one document, or one line per message of a stream
    #[arg(long, global = true)]
    pub(super) json: bool,
    /// Print data only: no hints, no progress
    #[arg(short, long, global = true)]
    pub(super) quiet: bool,
    /// Colours
    #[arg(long, global = true, value_enum, default_value_t = Color::Auto, value_name = "WHEN")]
    pub(super) color: Color,
    /// Longest wait for one answer
    #[arg(long, global = true, value_parser = parse_duration, default_value = "30s")]
    #[arg(value_name = "DURATION")]
    pub(super) timeout: Duration,
    /// Wait for the daemon to come up and, with `add`, for the torrent to complete
    #[arg(long, global = true, value_parser = parse_duration, value_name = "DURATION")]
    #[arg(num_args = 0..=1, require_equals = true, default_missing_value = WAIT_DEFAULT)]
    pub(super) wait: Option<Duration>,
    /// Do not ask
    #[arg(short, long, global = true)]
    pub(super) yes: bool,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(super) enum Color {
    Auto,
    Always,
    Never,
}

#[derive(Debug, Subcommand)]
pub(super) enum ClientCommand {
    /// One screen: identity, rates, balance
    Status,
    /// Add torrents: .torrent files, their URLs, magnet links or info hashes
    #[command(after_help = examples::ADD)]
    Add(Add),
    /// List torrents
    #[command(visible_alias = "list", after_help = examples::LS)]
    Ls(Ls),
    /// Show one torrent and its files
    #[command(after_help = examples::SHOW)]
    Show(Show),
    /// Start torrents, or all
    #[command(after_help = examples::START)]
    Start(Ids),
    /// Stop torrents, or all, keeping their data
    #[command(after_help = examples::STOP)]
    Stop(Ids),
    /// Forget torrents
    #[command(after_help = examples::RM)]
    Rm(Rm),
    /// Check a torrent's data on disk again
    #[command(after_help = examples::VERIFY)]
    Verify(OneId),
    /// List peers: who serves us, whom we serve and why
    #[command(after_help = examples::PEERS)]
    Peers(Peers),
    /// Balance and history
    #[command(subcommand, after_help = examples::WALLET)]
    Wallet(WalletCommand),
    /// Spend credit to be served first
    #[command(subcommand, after_help = examples::BOOST)]
    Boost(BoostCommand),
    /// What the node takes, gives and spends
    #[command(subcommand, after_help = examples::POLICY)]
    Policy(PolicyCommand),
    /// The network as its settlement node sees it: supply, members, grants
    #[command(subcommand, after_help = examples::NETWORK)]
    Network(NetworkView),
    /// Make a .torrent file from a file or folder on the daemon's machine
    #[command(after_help = examples::CREATE)]
    Create(Create),
    /// Print events as they happen, or those there are
    #[command(after_help = examples::EVENTS)]
    Events(EventsArgs),
    /// Whether the daemon serves
    Health {
        /// Only this service, such as seedbank.v1.WalletService
        service: Option<String>,
    },
    /// Stop the daemon
    Shutdown,
    /// Print a completion script for a shell
    #[command(after_help = examples::COMPLETIONS)]
    Completions { shell: clap_complete::Shell },
    /// Print the manual page, or write a page for every command to a folder
    #[command(after_help = examples::MAN)]
    Man {
        /// Folder for the pages, made if need be
        dir: Option<PathBuf>,
    },
}

#[derive(Debug, clap::Args)]
pub(super) struct OneId {
    /// Info hash or name, or a unique beginning of one
    #[arg(value_name = "ID")]
    pub(super) id: String,
}

#[derive(Debug, clap::Args)]
pub(super) struct Show {
    #[command(flatten)]
    pub(super) id: OneId,
    /// Every file, not just the first ones
    #[arg(long)]
    pub(super) files: bool,
}

#[derive(Debug, clap::Args)]
pub(super) struct Ids {
    /// Info hashes or names, or unique beginnings of one
    #[arg(value_name = "ID", required = true)]
    pub(super) ids: Vec<String>,
}

#[derive(Debug, clap::Args)]
pub(super) struct Add {
    /// .torrent file, its http(s) URL, magnet link, info hash, or - for a file on standard input
    #[arg(value_name = "SRC", required = true)]
    pub(super) sources: Vec<String>,
    /// Folder on the daemon's machine
    #[arg(long, value_name = "DIR")]
    pub(super) dir: Option<PathBuf>,
    /// Add without starting
    #[arg(long, conflicts_with = "wait")]
    pub(super) stopped: bool,
    /// Address of a peer known beforehand
    #[arg(long = "peer", value_name = "ADDR")]
    pub(super) peers: Vec<String>,
    /// Tracker to ask beside its own; may be at a private address, as its own may not
    #[arg(long = "tracker", value_name = "URL")]
    pub(super) trackers: Vec<String>,
    /// Spend up to this much on each to be served first
    #[arg(long, value_name = "CR", value_parser = parse_credit)]
    pub(super) boost: Option<i64>,
    /// Highest bid of the boost; twice the network's par price if not given
    #[arg(long, value_name = "CR/GiB", value_parser = parse_rate, requires = "boost")]
    pub(super) bid: Option<i64>,
}

#[derive(Debug, clap::Args)]
pub(super) struct Ls {
    /// Only torrents in this state
    #[arg(long, value_enum)]
    pub(super) state: Option<StateFilter>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(super) enum StateFilter {
    FetchingMetadata,
    Checking,
    Downloading,
    Seeding,
    Stopped,
    Failed,
}

#[derive(Debug, clap::Args)]
pub(super) struct Rm {
    #[command(flatten)]
    pub(super) ids: Ids,
    /// Delete the files too
    #[arg(long)]
    pub(super) data: bool,
}

#[derive(Debug, clap::Args)]
pub(super) struct Peers {
    /// Only peers of this torrent
    #[arg(value_name = "ID")]
    pub(super) id: Option<String>,
    /// Tell the torrent of this peer instead of listing
    #[arg(long = "add", value_name = "ADDR", requires = "id")]
    pub(super) add: Vec<String>,
}

#[derive(Debug, clap::Args)]
pub(super) struct Create {
    /// File or folder on the daemon's machine
    pub(super) path: PathBuf,
    /// Announce URL
    #[arg(long = "tracker", value_name = "URL")]
    pub(super) trackers: Vec<String>,
    /// No peers but from the trackers
    #[arg(long)]
    pub(super) private: bool,
    /// Text for people
    #[arg(long)]
    pub(super) comment: Option<String>,
    /// Bytes in a piece: a power of two, 16KiB to 16MiB
    #[arg(long, value_name = "SIZE", value_parser = parse_piece)]
    pub(super) piece: Option<i32>,
    /// Where to write it; NAME.torrent here if not given
    #[arg(long, value_name = "FILE")]
    pub(super) out: Option<PathBuf>,
    /// Overwrite a file that is there
    #[arg(long)]
    pub(super) force: bool,
    /// Seed it at once
    #[arg(long)]
    pub(super) seed: bool,
}

#[derive(Debug, clap::Args)]
pub(super) struct EventsArgs {
    /// First event wanted, 0 for the oldest there is; only new ones if nothing else is said
    #[arg(long, value_name = "SEQUENCE", value_parser = clap::value_parser!(i64).range(0..))]
    pub(super) from: Option<i64>,
    /// Only this kind, as in the JSON without `EVENT_KIND_` (choke, boost-funded, ...)
    #[arg(long = "kind", value_name = "KIND")]
    pub(super) kinds: Vec<String>,
    /// This many: the newest there are, or the first from --from; with --follow, also those to come
    #[arg(long, value_name = "COUNT")]
    pub(super) limit: Option<usize>,
    /// Wait for events to come, as is done without --limit
    #[arg(long, overrides_with = "no_follow")]
    pub(super) follow: bool,
    /// Print the events there are, and stop
    #[arg(long, overrides_with = "follow")]
    pub(super) no_follow: bool,
}

#[derive(Debug, Subcommand)]
pub(super) enum NetworkView {
    /// Where all credit is
    Show,
    /// Accounts of the network, by key
    Members {
        /// Most accounts
        #[arg(long, default_value_t = 50, value_name = "COUNT")]
        limit: u32,
        /// `next_page_token` of the page before
        #[arg(long, value_name = "TOKEN", default_value = "")]
        page: String,
    },
    /// Credit that was created, newest first
    Grants {
        /// Most grants
        #[arg(long, default_value_t = 50, value_name = "COUNT")]
        limit: u32,
        /// `next_page_token` of the page before
        #[arg(long, value_name = "TOKEN", default_value = "")]
        page: String,
    },
}

#[derive(Debug, Subcommand)]
pub(super) enum WalletCommand {
    /// What is free, locked, signed away and claimable
    Balance,
    /// Why the balance is what it is
    Explain {
        /// What to sum by
        #[arg(long, value_enum, default_value_t = LinesBy::Kind)]
        by: LinesBy,
        /// Only this far back
        #[arg(long, value_parser = parse_duration, value_name = "DURATION")]
        since: Option<Duration>,
    },
    /// Entries, newest first
    History {
        /// Most entries
        #[arg(long, default_value_t = 50, value_name = "COUNT")]
        limit: u32,
    },
    /// Send credit to another account
    Transfer(Payment),
    /// Create credit (issuer only)
    Grant {
        #[command(flatten)]
        payment: Payment,
        /// Why, for people
        #[arg(long, default_value = "")]
        reason: String,
    },
    /// Replay the ledger and check every hash, signature and sum
    Check,
}

#[derive(Debug, clap::Args)]
pub(super) struct Payment {
    /// Receiver's key, 64 hex digits
    #[arg(value_parser = parse_key)]
    pub(super) to: String,
    /// How much
    #[arg(value_parser = parse_credit)]
    pub(super) amount: i64,
    /// Repeat a call under the id of the first attempt
    #[arg(long, value_name = "ID")]
    pub(super) request_id: Option<String>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(super) enum LinesBy {
    Kind,
    Peer,
    Torrent,
    /// The UTC day
    Day,
}

#[derive(Debug, Subcommand)]
pub(super) enum BoostCommand {
    /// What a boost would cost at most, whom it could pay, and how much sooner it would be done
    #[command(after_help = "Example: seedbank boost quote film --bid 3cr/GiB\n\n\
        It says what payees ask, the smallest budget that buys anything, what the rest costs at \
        most,\nhow long the rest takes with and without (an estimate from rates measured now), and \
        what would\nkeep the boost waiting. Nothing is spent.")]
    Quote {
        #[command(flatten)]
        id: OneId,
        /// Highest bid; twice the network's par price if not given
        #[arg(long, value_name = "CR/GiB", value_parser = parse_rate)]
        bid: Option<i64>,
    },
    /// Start a boost
    Start {
        #[command(flatten)]
        id: OneId,
        /// Most it may spend
        #[arg(long, value_name = "CR", value_parser = parse_credit)]
        max: i64,
        /// Highest bid; twice the network's par price if not given
        #[arg(long, value_name = "CR/GiB", value_parser = parse_rate)]
        bid: Option<i64>,
        /// When it ends by itself
        #[arg(long = "for", value_name = "DURATION", value_parser = parse_duration)]
        duration: Option<Duration>,
        /// Repeat a call under the id of the first attempt
        #[arg(long, value_name = "ID")]
        request_id: Option<String>,
    },
    /// List boosts, newest first
    #[command(visible_alias = "ls")]
    List,
    /// Show one boost: what it waits for, spent, locked, free, and what it came to
    Show { boost_id: String },
    /// Stop a boost; locked credit returns as its locks close
    Cancel { boost_id: String },
}

#[derive(Debug, Subcommand)]
pub(super) enum PolicyCommand {
    /// Show the policy in force, and where each value comes from
    Show,
    /// Change it, for good unless told otherwise
    ///
    /// Keys: earn=on|off spend=on|off min-rate=CR/GiB|par open-share=PERCENT slots=COUNT
    /// rule=top-k|proportional|uniform-price upload-limit=RATE|none download-limit=RATE|none
    /// friends=KEY,...|none max-per-day=CR|none
    #[command(verbatim_doc_comment)]
    Set {
        #[arg(value_name = "KEY=VALUE", required = true)]
        changes: Vec<String>,
        /// Only until the daemon restarts
        #[arg(long)]
        until_restart: bool,
    },
    /// Take back what was set: the configuration file or the default holds again
    Reset {
        /// Which, as in `policy set`
        #[arg(value_name = "KEY", required_unless_present = "all")]
        keys: Vec<String>,
        /// All of them
        #[arg(long, conflicts_with = "keys")]
        all: bool,
    },
}
