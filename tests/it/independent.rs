//! An independent peer, `tests/peer`: in Python, from the documents alone, against real nodes.

use std::process::Command;
use std::time::Duration;

use anyhow::{Context as _, Result, ensure};
use seedbank_tests::namespace::run;
use seedbank_tests::net::Net;
use seedbank_tests::repository::{program, root};

/// A part takes half a minute on a machine that is not busy.
const PART_MAX: Duration = Duration::from_secs(600);

/// Debian's interpreter, whatever else is in the PATH.
const PYTHON: &str = "/usr/bin/python3";

fn peer(part: &str) -> Command {
    let mut command = Command::new(PYTHON);
    // Without compiled files beside the sources.
    command.arg("-B").arg(root().join("tests/peer")).arg(part);
    command
}

fn passes(command: &mut Command) -> Result<()> {
    let output = command
        .output()
        .context("is python3 installed? `make peers` does it")?;
    let said = String::from_utf8_lossy(&output.stdout);
    println!("{said}");
    let wrong = String::from_utf8_lossy(&output.stderr);
    ensure!(output.status.success(), "{said}{wrong}");
    Ok(())
}

/// Nodes are started by the peer itself, on loopback, with ports from the system.
fn passes_with_nodes(net: &Net, part: &str) -> Result<()> {
    let programs = program("seedbankd")?;
    program("seedbank")?;
    let folder = programs.parent().context("a program lies in a folder")?;
    let mut command = peer(part);
    command.arg("--bin").arg(folder);
    // Where paths of sockets are short enough.
    let socket = net.socket("api");
    let work = socket.parent().context("a socket lies in a folder")?;
    passes(command.env("TMPDIR", work))
}

#[test]
fn an_independent_reader_agrees_with_every_vector() {
    passes(&mut peer("vectors")).unwrap();
}

#[test]
fn an_independent_ledger_comes_to_the_same_hashes() {
    run(PART_MAX, |net| passes_with_nodes(net, "ledger"));
}

#[test]
fn an_independent_peer_finds_each_row_as_the_protocol_has_it() {
    run(PART_MAX, |net| passes_with_nodes(net, "rows"));
}

#[test]
fn an_independent_peer_pays_and_is_paid_for_a_whole_download() {
    run(PART_MAX, |net| passes_with_nodes(net, "paid"));
}

#[test]
fn each_answer_that_an_independent_peer_forges_is_refused() {
    run(PART_MAX, |net| passes_with_nodes(net, "forged"));
}
