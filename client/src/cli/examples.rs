//! Examples in the help of the daily commands. Tests parse every one of them.

pub(super) const ALL: &str = "Examples:
  seedbank add debian.torrent --wait
  seedbank ls
  seedbank peers debian
  seedbank wallet explain
";

pub(super) const ADD: &str = "Examples:
  seedbank add debian.torrent
  seedbank add https://example.org/debian.torrent --dir /srv/torrents
  seedbank add 'magnet:?xt=urn:btih:c0ffee254729296a45a3885639ac7dce1e22bb4b&dn=debian' --wait
  seedbank add c0ffee254729296a45a3885639ac7dce1e22bb4b --peer 203.0.113.7:6881
  seedbank add one.torrent two.torrent --boost 5cr --wait=2h
  curl -s https://example.org/debian.torrent | seedbank add -

An info hash names no tracker: somebody who has the torrent must be named with --peer, now or
later (`seedbank peers ID --add IP:PORT`). URLs are fetched here, not by the daemon.";

pub(super) const LS: &str = "Examples:
  seedbank ls
  seedbank ls --state downloading
  seedbank ls --json

eta is what is missing at the rate of the last 10 s, ∞ if nothing comes. ratio is what was sent per
byte received or, of what was not received, per byte that is there. On a narrow terminal names are
cut and size, peers and hash left out; a pipe gets everything.";

pub(super) const SHOW: &str = "Examples:
  seedbank show debian
  seedbank show c0ffee --files
  seedbank show debian --json";

pub(super) const START: &str = "Examples:
  seedbank start debian
  seedbank start c0ffee film
  seedbank start all";

pub(super) const STOP: &str = "Examples:
  seedbank stop debian
  seedbank stop c0ffee film
  seedbank stop all";

pub(super) const RM: &str = "Examples:
  seedbank rm debian
  seedbank rm c0ffee film --data
  seedbank rm debian --yes";

pub(super) const VERIFY: &str = "Examples:
  seedbank verify debian";

pub(super) const PEERS: &str = "Examples:
  seedbank peers
  seedbank peers debian
  seedbank peers debian --add 203.0.113.7:6881

serves us   whether it lets us ask: yes, no (it chokes us), or - if we want nothing of it;
            paid, or bid, if we bid for it. Why it does not is its own affair: no message says so.
we serve it whether we let it ask, and why or why not.
down, up    what comes from it and goes to it now; received and sent, on this connection.
unpaid      what it was served as paid and has not paid for yet.
standing    what it is owed by us in acknowledged bytes; below 0, what it owes.

On a narrow terminal the columns that matter least are left out; a pipe gets everything.";

pub(super) const CREATE: &str = "Examples:
  seedbank create film.mkv --tracker udp://tracker.example:6969 --seed
  seedbank create album --piece 1MiB --out album.torrent --force";

pub(super) const WALLET: &str = "Examples:
  seedbank wallet balance
  seedbank wallet explain --by peer --since 7d
  seedbank wallet history --limit 20";

pub(super) const BOOST: &str = "Examples:
  seedbank boost quote debian
  seedbank boost start debian --max 5cr --for 30m
  seedbank boost list";

pub(super) const POLICY: &str = "Examples:
  seedbank policy show
  seedbank policy set slots=12 open-share=20% upload-limit=4MiB/s
  seedbank policy set spend=off";

pub(super) const NETWORK: &str = "Examples:
  seedbank network show
  seedbank network members --limit 20
  seedbank network grants --json";

pub(super) const EVENTS: &str = "Examples:
  seedbank events
  seedbank events --kind torrent-completed --limit 1
  seedbank events --json";

pub(super) const COMPLETIONS: &str = "Examples:
  seedbank completions bash > ~/.local/share/bash-completion/completions/seedbank
  seedbank completions zsh > ~/.zfunc/_seedbank
  seedbank completions fish > ~/.config/fish/completions/seedbank.fish";

pub(super) const MAN: &str = "Examples:
  seedbank man | man -l -
  seedbank man ~/.local/share/man/man1";

#[cfg(test)]
mod tests {
    use clap::{Command, CommandFactory as _, Parser as _};

    use crate::cli::args::Args;

    fn helps(command: &Command) -> Vec<String> {
        let own = command.get_after_help().map(ToString::to_string);
        let below = command.get_subcommands().flat_map(helps);
        own.into_iter().chain(below).collect()
    }

    /// Words as a shell sees them: single quotes, pipes and files apart.
    fn words(line: &str) -> Vec<String> {
        let from = line.find("seedbank").unwrap_or_default();
        let line = line[from..].split(['|', '>']).next().unwrap_or_default();
        let pieces = line.split('\'').enumerate();
        let words = pieces.flat_map(|(index, piece)| match index % 2 {
            0 => piece.split_whitespace().map(str::to_owned).collect(),
            _ => vec![piece.to_owned()],
        });
        words.collect()
    }

    #[test]
    fn every_example_is_a_command_line() {
        let helps = helps(&Args::command());
        let examples: Vec<&str> = helps
            .iter()
            .flat_map(|help| help.lines())
            .filter_map(|line| line.strip_prefix("  "))
            .filter(|line| !line.starts_with(' ') && line.contains("seedbank"))
            .collect();
        assert!(examples.len() >= 40, "{examples:?}");
        for example in examples {
            let parsed = Args::try_parse_from(words(example));
            assert!(parsed.is_ok(), "{example}: {}", parsed.unwrap_err());
        }
    }

    #[test]
    fn every_daily_command_has_examples() {
        let command = Args::command();
        let without: Vec<&str> = command
            .get_subcommands()
            .filter(|one| one.get_after_help().is_none())
            .map(Command::get_name)
            .collect();
        assert_eq!(without, ["status", "health", "shutdown"]);
    }
}
