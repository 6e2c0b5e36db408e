//! `seedbankd network init`: founds a network.

use std::io::Write;
use std::path::Path;

use super::CliFailure;
use crate::host::founding::{self, FoundError};

/// Writes `NAME.genesis`, `NAME.settlement.key` and `NAME.issuer.key`; overwrites nothing.
pub(super) fn init(name: &str, folder: &Path, out: &mut impl Write) -> Result<(), CliFailure> {
    let founded = founding::found(name, folder).map_err(|error| match error {
        FoundError::Name(_) => CliFailure::usage(error),
        _ => CliFailure::failed(error),
    })?;
    let genesis = &founded.genesis;
    writeln!(out, "network     {}", genesis.network_id())?;
    writeln!(
        out,
        "genesis     {}  (give it to every member)",
        founded.genesis_file.display()
    )?;
    writeln!(
        out,
        "settlement  {}  (secret: signs locks)",
        founded.settlement_key.display()
    )?;
    writeln!(
        out,
        "issuer      {}  (secret: grants credit)",
        founded.issuer_key.display()
    )?;
    writeln!(out)?;
    writeln!(out, "On the settlement node, in config.toml:")?;
    writeln!(out, "  [network]")?;
    writeln!(
        out,
        "  genesis = {:?}",
        founded.genesis_file.display().to_string()
    )?;
    writeln!(out, "  [settlement]")?;
    writeln!(out, "  enabled = true")?;
    writeln!(
        out,
        "  key = {:?}",
        founded.settlement_key.display().to_string()
    )?;
    writeln!(
        out,
        "  issuer_key = {:?}",
        founded.issuer_key.display().to_string()
    )?;
    Ok(())
}
