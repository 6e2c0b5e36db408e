//! `seedbankd network init`: founds a network, and says how to run and join it.

use std::io::{self, Write};
use std::path::Path;

use super::CliFailure;
use crate::host::config::is_private;
use crate::host::founding::{self, FoundError, Founded};

/// Where the settlement node is reached on its own machine, unless it is configured otherwise.
pub(super) const LOCAL_URL: &str = "http://127.0.0.1:4621";

/// Writes `NAME.genesis`, `NAME.settlement.key` and `NAME.issuer.key`; overwrites nothing. What it
/// prints can be pasted into the configuration of the settlement node and of members.
pub(super) fn init(
    name: &str,
    folder: &Path,
    url: &str,
    out: &mut impl Write,
) -> Result<(), CliFailure> {
    let listen = listen_address(url)?;
    let folder = std::path::absolute(folder)?;
    let founded = founding::found(name, &folder).map_err(|error| match error {
        FoundError::Name(_) => CliFailure::usage(error),
        _ => CliFailure::failed(error),
    })?;
    describe(&founded, &listen, url, out)?;
    Ok(())
}

fn describe(founded: &Founded, listen: &str, url: &str, out: &mut impl Write) -> io::Result<()> {
    let genesis_file = founded.genesis_file.display();
    let settlement_key = founded.settlement_key.display();
    let issuer_key = founded.issuer_key.display();
    writeln!(out, "network     {}", founded.genesis.network_id())?;
    writeln!(out, "genesis     {genesis_file}  (give it to every member)")?;
    writeln!(out, "settlement  {settlement_key}  (secret: signs locks)")?;
    writeln!(out, "issuer      {issuer_key}  (secret: grants credit)")?;
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
