//! Examples in the help, scripts that complete command lines, and manual pages; all of them from
//! the one command tree.

use std::io::{self, Write};
use std::path::Path;

use clap::CommandFactory as _;
use clap_complete::Shell;

use super::Cli;

pub(super) const RUN_EXAMPLES: &str = "Examples:
  seedbankd run
  seedbankd run --download-dir /srv/torrents --listen 0.0.0.0:6881
  seedbankd run --set limits.upload=4MiB/s --log debug";

pub(super) const LEDGER_EXAMPLES: &str = "Examples:
  seedbankd ledger check
  seedbankd ledger explain --by peer";

pub(super) const CONFIG_EXAMPLES: &str = "Examples:
  seedbankd config show --origin
  seedbankd config check --config /etc/seedbank/config.toml";

pub(super) const COMPLETIONS_EXAMPLES: &str = "Examples:
  seedbankd completions bash > ~/.local/share/bash-completion/completions/seedbankd
  seedbankd completions zsh > ~/.zfunc/_seedbankd
  seedbankd completions fish > ~/.config/fish/completions/seedbankd.fish";

pub(super) const MAN_EXAMPLES: &str = "Examples:
  seedbankd man | man -l -
  seedbankd man ~/.local/share/man/man1";

/// Prints the script of one shell.
pub(super) fn completions(shell: Shell, out: &mut impl Write) -> io::Result<()> {
    let mut script = Vec::new();
    clap_complete::generate(shell, &mut Cli::command(), "seedbankd", &mut script);
    out.write_all(&script)
}

/// Prints the first page, or writes a page for every command to `dir`.
pub(super) fn pages(dir: Option<&Path>, out: &mut impl Write) -> io::Result<()> {
    match dir {
        None => clap_mangen::Man::new(Cli::command()).render(out),
        Some(dir) => {
            std::fs::create_dir_all(dir)?;
            clap_mangen::generate_to(Cli::command(), dir)
        }
    }
}
