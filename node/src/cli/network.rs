//! `seedbankd network init`: founds a network.

use std::io::Write;
use std::path::Path;

use seedbank_ledger::Genesis;

use super::Failure;
use crate::{durable, keys};

/// Writes `NAME.genesis`, `NAME.settlement.key` and `NAME.issuer.key`; overwrites nothing.
pub(super) fn init(name: &str, folder: &Path, out: &mut impl Write) -> Result<(), Failure> {
    let plain = |c: char| c.is_ascii_alphanumeric() || c == '-' || c == '_';
    if name.is_empty() || !name.chars().all(plain) {
        let rule = "letters, digits, - and _ only: it names files";
        return Err(Failure::usage(format!("network name {name:?}: {rule}")));
    }
    let genesis_file = folder.join(format!("{name}.genesis"));
    let settlement_key = folder.join(format!("{name}.settlement.key"));
    let issuer_key = folder.join(format!("{name}.issuer.key"));
    if let Some(there) = [&genesis_file, &settlement_key, &issuer_key]
        .iter()
        .find(|f| f.exists())
    {
        return Err(Failure::failed(format!(
            "{} is there already",
            there.display()
        )));
    }
    std::fs::create_dir_all(folder)?;
    let settlement = keys::create(&settlement_key).map_err(Failure::failed)?;
    let issuer = keys::create(&issuer_key).map_err(Failure::failed)?;
    let text = Genesis::render(name, settlement.id(), &[issuer.id()]).map_err(Failure::failed)?;
    durable::create(&genesis_file, text.as_bytes(), durable::PLAIN_MODE)?;
    let genesis = Genesis::parse(&text).map_err(Failure::failed)?;
    writeln!(out, "network     {}", genesis.network_id())?;
    writeln!(
        out,
        "genesis     {}  (give it to every member)",
        genesis_file.display()
    )?;
    writeln!(
        out,
        "settlement  {}  (secret: signs locks)",
        settlement_key.display()
    )?;
    writeln!(
        out,
        "issuer      {}  (secret: grants credit)",
        issuer_key.display()
    )?;
    writeln!(out)?;
    writeln!(out, "On the settlement node, in config.toml:")?;
    writeln!(out, "  [network]")?;
    writeln!(out, "  genesis = {:?}", genesis_file.display().to_string())?;
    writeln!(out, "  [settlement]")?;
    writeln!(out, "  enabled = true")?;
    writeln!(out, "  key = {:?}", settlement_key.display().to_string())?;
    writeln!(out, "  issuer_key = {:?}", issuer_key.display().to_string())?;
    Ok(())
}
