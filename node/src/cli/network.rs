//! `seedbankd network`: founds a network and says how to run and join it, and goes on with one
//! after a loss if its owner says so.

use std::io::{self, Write};
use std::path::Path;

use super::CliFailure;
use crate::books::network::{self, Accepted, NetworkBook, shown};
use crate::host::config::{Config, StoreKind, is_private};
use crate::host::datadir::DataDir;
use crate::host::founding::{self, Founded};
use crate::host::keys;

/// Where the settlement node is reached on its own machine, unless it is configured otherwise.
pub(super) const LOCAL_URL: &str = "http://127.0.0.1:4621";

/// Writes `NAME.genesis`, `NAME.settlement.key` and `NAME.issuer.key`, and begins the network's
/// ledger in the data folder; overwrites nothing. What it prints can be pasted into the
/// configuration of the settlement node and of members.
pub(super) fn init(
    config: &Config,
    name: &str,
    folder: &Path,
    url: &str,
    out: &mut impl Write,
) -> Result<(), CliFailure> {
    let listen = listen_address(url)?;
    let folder = std::path::absolute(folder)?;
    refuse_memory(config)?;
    founding::check_name(name).map_err(CliFailure::usage)?;
    let data_dir = DataDir::open(&config.data_dir)?;
    network::check_vacant(&data_dir).map_err(CliFailure::failed)?;
    let founded = founding::found(name, &folder).map_err(CliFailure::failed)?;
    let key = keys::load(&founded.settlement_key).map_err(CliFailure::failed)?;
    let book = NetworkBook::new(&data_dir, config.store, founded.genesis.clone());
    book.found(key).map_err(CliFailure::failed)?;
    describe(&founded, &data_dir, (&listen, url), out)?;
    Ok(())
}

/// Goes on with the network ledger as it is: after `entries`, although more were acknowledged, and
/// by the clock, although it is far ahead.
pub(super) fn accept(
    config: &Config,
    entries: Option<u64>,
    clock: bool,
    out: &mut impl Write,
) -> Result<(), CliFailure> {
    refuse_memory(config)?;
    let (Some(role), Some(genesis)) = (&config.settlement_role, config.read_genesis()?) else {
        return Err(CliFailure::usage(
            "this node keeps no network's ledger: [settlement] enabled is not true",
        ));
    };
    let data_dir = DataDir::open(&config.data_dir)?;
    let key = keys::load(&role.key).map_err(CliFailure::failed)?;
    let book = NetworkBook::new(&data_dir, config.store, genesis);
    let accepted = book.accept(key, entries, clock);
    let Accepted { end, lost, time } = accepted.map_err(CliFailure::failed)?;
    let (size, last) = (end.size, shown(end.time));
    writeln!(
        out,
        "the network ledger goes on after {size} entries, the last at {last}"
    )?;
    if lost > 0 {
        writeln!(out, "{lost} acknowledged entries are given up")?;
    }
    writeln!(out, "settlement time goes on from {}", shown(time))?;
    Ok(())
}

/// A ledger that ends with its process cannot be founded before it, and would be another at every
/// start, under one name.
pub(super) fn refuse_memory(config: &Config) -> Result<(), CliFailure> {
    if config.store == StoreKind::Memory {
        return Err(CliFailure::usage(
            "a network's ledger cannot be kept in memory: set ledger.store to rocksdb",
        ));
    }
    Ok(())
}

fn describe(
    founded: &Founded,
    data_dir: &DataDir,
    (listen, url): (&str, &str),
    out: &mut impl Write,
) -> io::Result<()> {
    let ledger = data_dir.network_ledger();
    let genesis_file = founded.genesis_file.display();
    let settlement_key = founded.settlement_key.display();
    let issuer_key = founded.issuer_key.display();
    writeln!(out, "network     {}", founded.genesis.network_id())?;
    writeln!(out, "genesis     {genesis_file}  (give it to every member)")?;
    writeln!(out, "settlement  {settlement_key}  (secret: signs locks)")?;
    writeln!(out, "issuer      {issuer_key}  (secret: grants credit)")?;
    writeln!(
        out,
        "ledger      {}  (begun; its folder belongs to the settlement node)",
        ledger.display()
    )?;
    writeln!(out, "\nOn the settlement node, in config.toml:\n")?;
    writeln!(out, "[network]\ngenesis = {}\n", quoted(&genesis_file))?;
    writeln!(out, "[settlement]\nenabled = true\nlisten = {listen:?}")?;
    writeln!(out, "key = {}", quoted(&settlement_key))?;
    writeln!(out, "issuer_key = {}", quoted(&issuer_key))?;
    if url.starts_with("https://") {
        writeln!(
            out,
            "tls_cert = \"cert.pem\"  # the chain that the host of {url} shows"
        )?;
        writeln!(out, "tls_key = \"key.pem\"")?;
    }
    writeln!(out, "\nOn every member's node, in config.toml:\n")?;
    writeln!(out, "[network]")?;
    writeln!(
        out,
        "genesis = {}  # where the member has put it",
        quoted(&genesis_file)
    )?;
    writeln!(out, "settlement = {url:?}")?;
    if !is_private(url) {
        writeln!(
            out,
            "plaintext = true  # who carries it reads who pays whom: better https://"
        )?;
    }
    if url == LOCAL_URL {
        writeln!(
            out,
            "# That URL is good on this machine only; `--url https://HOST:4621` names another."
        )?;
    }
    writeln!(
        out,
        "\nA member's key, on its machine:     seedbankd key show"
    )?;
    writeln!(
        out,
        "Credit for it, on the settlement node: seedbank wallet grant KEY 100cr --reason WHY"
    )?;
    writeln!(
        out,
        "Who has how much, on the settlement node: seedbank network members"
    )
}

/// A path as TOML writes it.
fn quoted(path: &impl std::fmt::Display) -> String {
    toml::Value::String(path.to_string()).to_string()
}

/// Where the settlement node listens so that `url` reaches it.
fn listen_address(url: &str) -> Result<String, CliFailure> {
    let wrong = || CliFailure::usage(format!("--url {url}: write it as https://HOST:PORT"));
    let address = url.strip_prefix("https://");
    let address = address.or_else(|| url.strip_prefix("http://"));
    let address = address.ok_or_else(wrong)?;
    let (host, port) = address
        .trim_end_matches('/')
        .rsplit_once(':')
        .ok_or_else(wrong)?;
    let port: u16 = port
        .parse()
        .ok()
        .filter(|port| *port > 0)
        .ok_or_else(wrong)?;
    match host {
        "" => Err(wrong()),
        "127.0.0.1" | "localhost" => Ok(format!("127.0.0.1:{port}")),
        _ => Ok(format!("[::]:{port}")),
    }
}
