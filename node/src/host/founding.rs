//! Founding a network: a genesis file and the keys of its settlement node. Its ledger is begun by
//! `books/network.rs`.

use std::io;
use std::path::{Path, PathBuf};

use seedbank_ledger::Genesis;
use seedbank_ledger::genesis::GenesisError;

use crate::host::durable;
use crate::host::keys::{self, KeyError};

/// A network that was just founded.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Founded {
    /// What every member is given.
    pub genesis: Genesis,
    /// Where that lies.
    pub genesis_file: PathBuf,
    /// Secret: signs locks and certificates.
    pub settlement_key: PathBuf,
    /// Secret: grants credit.
    pub issuer_key: PathBuf,
}

/// Why a network was not founded.
#[derive(Debug, thiserror::Error)]
pub enum FoundError {
    /// Its name would not do as that of a file.
    #[error("network name {0:?}: letters, digits, - and _ only: it names files")]
    Name(String),
    /// Nothing is overwritten.
    #[error("{} is there already", .0.display())]
    There(PathBuf),
    /// A key.
    #[error(transparent)]
    Key(#[from] KeyError),
    /// The genesis file's text.
    #[error(transparent)]
    Genesis(#[from] GenesisError),
    /// A file or folder cannot be written.
    #[error("{}: {source}", path.display())]
    Io {
        /// Which.
        path: PathBuf,
        /// What the system said.
        source: io::Error,
    },
}

/// Writes `NAME.genesis`, `NAME.settlement.key` and `NAME.issuer.key` into `folder`; overwrites
/// nothing.
pub fn found(name: &str, folder: &Path) -> Result<Founded, FoundError> {
    check_name(name)?;
    let genesis_file = folder.join(format!("{name}.genesis"));
    let settlement_key = folder.join(format!("{name}.settlement.key"));
    let issuer_key = folder.join(format!("{name}.issuer.key"));
    let files = [&genesis_file, &settlement_key, &issuer_key];
    if let Some(there) = files.into_iter().find(|file| file.exists()) {
        return Err(FoundError::There(there.clone()));
    }
    let at = |path: &Path| {
        let path = path.to_owned();
        move |source| FoundError::Io { path, source }
    };
    std::fs::create_dir_all(folder).map_err(at(folder))?;
    let settlement = keys::create(&settlement_key)?;
    let issuer = keys::create(&issuer_key)?;
    let text = Genesis::render(name, settlement.id(), &[issuer.id()])?;
    let written = durable::create(&genesis_file, text.as_bytes(), durable::PLAIN_MODE);
    written.map_err(at(&genesis_file))?;
    Ok(Founded {
        genesis: Genesis::parse(&text)?,
        genesis_file,
        settlement_key,
        issuer_key,
    })
}

/// Refuses what would not do as the name of a file.
pub fn check_name(name: &str) -> Result<(), FoundError> {
    let plain = |c: char| c.is_ascii_alphanumeric() || c == '-' || c == '_';
    if name.is_empty() || !name.chars().all(plain) {
        return Err(FoundError::Name(name.to_owned()));
    }
    Ok(())
}
