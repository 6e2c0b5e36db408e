//! A scenario of what a node saw: who came when, for which torrents, over which lines.
//!
//! `observed` reads the node's own lines. What they do not say is assumed, and the scenario says
//! so. A ledger is refused: what was paid is an outcome of the rules under which it was paid.

mod observed;
#[cfg(test)]
mod tests;

use std::fmt::Write as _;

use seedbank_sim::scenario::Scenario;
use toml::Value;

use super::args::CalibrateArgs;
use super::{SimFailure, files, say};
use observed::{OUTCOME, Observed, SeenTorrent};

/// Bytes of a torrent whose length nobody said.
const LEN_ASSUMED: u64 = 1 << 30;
/// Bytes of a piece where nobody said.
const PIECE_ASSUMED: u64 = 1 << 20;
/// Fewest peers whose rates make a table.
const RATES_MIN: usize = 5;

pub(super) fn run(args: &CalibrateArgs) -> Result<(), SimFailure> {
    let mut observed = Observed::default();
    for path in &args.files {
        let file = path.display().to_string();
        let text = files::read_text(path)?.ok_or_else(|| {
            SimFailure::usage(format_args!(
                "{file}: is no text, as a ledger is none; {OUTCOME}"
            ))
        })?;
        observed.read(&file, &text).map_err(SimFailure::usage)?;
    }
    let text = scenario(&args.name, &observed).map_err(SimFailure::usage)?;
    let file = "the scenario that was made";
    // Ours alone could make one that is none.
    Scenario::parse(file, &text).map_err(SimFailure::new)?;
    say(text.trim_end());
    Ok(())
}

/// The scenario, as text for people to go on with.
fn scenario(name: &str, observed: &Observed) -> Result<String, String> {
    let torrents: Vec<&SeenTorrent> = observed.torrents.values().collect();
    let came = observed.peers.values().filter(|peer| peer.came.is_some());
    if observed.event_count == 0 || came.clone().count() == 0 {
        return Err(
            "no peer is seen to come: what is needed are the lines of `seedbank events --json`, \
             with events of the kind EVENT_KIND_CHOKE"
                .to_owned(),
        );
    }
    let mut told = vec![format!(
        "Arrivals are when this node first decided about a peer ({} peers in {}).",
        came.count(),
        time_text(observed.lasts_ms())
    )];
    let line = lines_of(observed, &mut told);
    let uplink = own_uplink(observed, &mut told);
    assumptions(observed, &mut told);
    let mut text = String::new();
    let duration = (observed.lasts_ms() * 2).max(3_600_000);
    let about = Value::from(told.join("\n") + "\n");
    let _ = writeln!(text, "[run]\nname = {}", Value::from(name));
    let _ = writeln!(text, "about = {about}\nduration = \"{duration}ms\"\n");
    for (number, torrent) in (1..).zip(&torrents) {
        let _ = writeln!(text, "# {}", torrent.info_hash);
        let len = torrent.len.unwrap_or(LEN_ASSUMED);
        let piece = torrent.piece.unwrap_or(PIECE_ASSUMED);
        let _ = writeln!(text, "[[torrent]]\nname = \"torrent-{number}\"");
        let _ = writeln!(text, "length = \"{len}B\"\npiece = \"{piece}B\"\n");
    }
    text.push_str("# The rules to try are yours: a [network], prices, boosts, strategies.\n\n");
    text.push_str("# The node itself.\n");
    text.push_str(&node(&torrents, uplink));
    for (number, torrent) in (1..).zip(&torrents) {
        text.push_str(&population(number, torrent, observed, &line));
    }
    Ok(text)
}

/// The node whose log it is: a seed of every torrent.
fn node(torrents: &[&SeenTorrent], uplink: u64) -> String {
    let holds = (2..=torrents.len()).map(|number| format!("\"torrent-{number}\""));
    let holds = holds.collect::<Vec<_>>().join(", ");
    let mut text = "[[population]]\nname = \"node\"\ncount = 1\nhas = \"100%\"\n".to_owned();
    if !holds.is_empty() {
        let _ = writeln!(text, "holds = [{holds}]");
    }
    let _ = writeln!(text, "line = {{ uplink = \"{uplink}B/s\" }}\n");
    text
}

/// The peers of a torrent: its seeds, and those who came for it.
fn population(number: usize, torrent: &SeenTorrent, observed: &Observed, line: &str) -> String {
    let mut text = String::new();
    let peers = || {
        let peers = observed.peers.values();
        peers.filter(|peer| peer.info_hash == torrent.info_hash)
    };
    let seeds = peers().filter(|peer| observed.is_seed(peer)).count();
    if seeds > 0 {
        let _ = writeln!(
            text,
            "[[population]]\nname = \"seeds-{number}\"\ncount = {seeds}\n\
             torrent = \"torrent-{number}\"\nhas = \"100%\"\nline = {line}\n"
        );
    }
    let mut times: Vec<u64> = peers()
        .filter(|peer| !observed.is_seed(peer))
        .filter_map(|peer| peer.came)
        .map(|at| at - observed.first_ms)
        .collect();
    times.sort_unstable();
    if !times.is_empty() {
        let count = times.len();
        let times = times.iter().map(|time| format!("\"{time}ms\""));
        let times = times.collect::<Vec<_>>().join(", ");
        let _ = writeln!(
            text,
            "[[population]]\nname = \"peers-{number}\"\ncount = {count}\n\
             torrent = \"torrent-{number}\"\nline = {line}\n\
             seeding = {{ kind = \"for\", time = \"0s\" }}\n\
             arrivals = {{ kind = \"trace\", times = [{times}] }}\n"
        );
    }
    text
}

/// The lines of peers, by what came from each at most.
fn lines_of(observed: &Observed, told: &mut Vec<String>) -> String {
    let mut rates: Vec<u64> = observed.peers.values().map(|peer| peer.rate_from).collect();
    rates.retain(|rate| *rate > 0);
    rates.sort_unstable();
    if rates.len() < RATES_MIN {
        told.push(format!(
            "Assumed: uplinks of today (profile modern); rates of {} peers were seen, and \
             {RATES_MIN} are needed. Lines of `seedbank peers --json`, asked for again and \
             again, have them.",
            rates.len()
        ));
        return "{ profile = \"modern\" }".to_owned();
    }
    told.push(format!(
        "Uplinks are the highest rates at which {} peers were seen to send to this node: no more \
         than what they have, since they send to others too.",
        rates.len()
    ));
    let count = rates.len();
    let row = |(place, rate): (usize, &u64)| {
        let parts = (place + 1) * 1_000_000 / count;
        let (whole, part) = (parts / 10_000, parts % 10_000);
        format!("[\"{whole}.{part:04}%\", \"{rate}B/s\"]")
    };
    let rows: Vec<String> = rates.iter().enumerate().map(row).collect();
    format!("{{ table = [{}] }}", rows.join(", "))
}

/// Bytes per second that the node was seen to send at most.
fn own_uplink(observed: &Observed, told: &mut Vec<String>) -> u64 {
    match observed.rate_out {
        0 => {
            told.push("Assumed: this node sends 1 MB/s; no rate of its was seen.".to_owned());
            1_000_000
        }
        rate => {
            told.push(
                "This node's uplink is the highest rate at which it was seen to send.".into(),
            );
            rate
        }
    }
}

fn assumptions(observed: &Observed, told: &mut Vec<String>) {
    let unknown = observed.torrents.values();
    let unknown = unknown.filter(|torrent| torrent.len.is_none()).count();
    if unknown > 0 {
        told.push(format!(
            "Assumed: 1 GiB in pieces of 1 MiB where no length was told ({unknown} of {}); lines \
             of `seedbank ls --json` tell it.",
            observed.torrents.len()
        ));
    }
    told.push(
        "Assumed: who has everything leaves at once, and nobody gives up: a log says of neither. \
         This node has every torrent from the start."
            .to_owned(),
    );
    if observed.missing > 0 {
        told.push(format!(
            "Events are missing between those that are here ({}): of what strangers cause a node \
             keeps the last 4,096, and whoever came then is not counted.",
            observed.missing
        ));
    }
    if observed.credit_count > 0 {
        told.push(format!(
            "Events about credit are left out ({}): what was paid followed from the rules in \
             force.",
            observed.credit_count
        ));
    }
}

fn time_text(ms: u64) -> String {
    match ms / 1_000 {
        secs @ 0..600 => format!("{secs} s"),
        secs @ 600..36_000 => format!("{} min", secs / 60),
        secs => format!("{} h", secs / 3_600),
    }
}
