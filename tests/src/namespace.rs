//! Runs a scenario in a network of its own: an unprivileged user, network, mount and process
//! namespace.
//!
//! The test starts itself a second time under `unshare`, asking for itself alone; the copy finds
//! `MARK` in its environment and runs the body. In there it is root over an empty network, so
//! every client gets an address, nothing leaves the machine, and no port is taken. The copy is the
//! first process of its namespace: when it ends, the kernel ends every client that it started.

use std::any::type_name;
use std::io::{BufRead, BufReader, Read};
use std::process::{Command, Stdio};
use std::sync::mpsc::{self, RecvTimeoutError, Sender};
use std::sync::{Condvar, Mutex};
use std::thread;
use std::time::{Duration, Instant};

use anyhow::Result;

use crate::net::Net;

/// Set for the copy of a test that runs inside.
const MARK: &str = "SEEDBANK_TEST_IN_NAMESPACE";

/// Scenarios at a time: clients under test are timed, and machines have two cores.
const SCENARIOS_MAX: u32 = 2;

/// Says in a report that a program which is not ours crashed or stands still: its scenario is tried
/// once more.
pub(crate) const FOREIGN_FAULT: &str = "and it is not ours";

static GATE: Gate = Gate {
    free: Mutex::new(SCENARIOS_MAX),
    freed: Condvar::new(),
};

/// Runs `body` in a namespace of its own, beside at most one other scenario.
///
/// The test's name is taken from the type of `body`: it must be a closure written in the test.
///
/// # Panics
/// When the body fails, or is not done within `limit`.
pub fn run<F: FnOnce(&Net) -> Result<()>>(limit: Duration, body: F) {
    enter::<F>(limit, 1, body);
}

/// As [`run`], with no other scenario beside it: for those whose figures are compared.
///
/// # Panics
/// As [`run`].
pub fn run_alone<F: FnOnce(&Net) -> Result<()>>(limit: Duration, body: F) {
    enter::<F>(limit, SCENARIOS_MAX, body);
}

fn enter<F: FnOnce(&Net) -> Result<()>>(limit: Duration, share: u32, body: F) {
    let name = test_name(type_name::<F>());
    if std::env::var_os(MARK).is_some() {
        inside(&name, body);
    } else {
        GATE.enter(share);
        let mut outcome = outside(&name, limit);
        if let Err(report) = &outcome
            && report.contains(FOREIGN_FAULT)
        {
            println!("{report}\n{name}: once more");
            outcome = outside(&name, limit);
        }
        GATE.leave(share);
        if let Err(report) = outcome {
            panic!("{report}");
        }
    }
}

/// `it::peers::a_test::{{closure}}` is the closure of the test `peers::a_test`.
fn test_name(closure: &str) -> String {
    let path = closure.trim_end_matches("::{{closure}}");
    let (_, name) = path.split_once("::").expect("a test lies in a crate");
    name.to_owned()
}

fn inside<F: FnOnce(&Net) -> Result<()>>(name: &str, body: F) {
    let net = Net::start(name).expect("the namespace is ours to set up");
    if let Err(error) = body(&net) {
        panic!("{error:?}");
    }
    net.succeed();
}

fn outside(name: &str, limit: Duration) -> Result<(), String> {
    let exe = std::env::current_exe().map_err(|error| error.to_string())?;
    let begin = Instant::now();
    let mut child = Command::new("unshare")
        .args([
            "--user",
            "--map-root-user",
            "--net",
            "--mount",
            "--pid",
            "--fork",
            "--kill-child",
            "--",
        ])
        .arg(exe)
        .args([name, "--exact", "--include-ignored"])
        .args(["--nocapture", "--test-threads=1"])
        .env(MARK, name)
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .map_err(|error| format!("unshare (package util-linux): {error}"))?;
    let (lines, received) = mpsc::channel();
    forward(
        child.stdout.take().expect("standard output was asked for"),
        lines.clone(),
    );
    forward(
        child.stderr.take().expect("standard error was asked for"),
        lines,
    );

    let mut output = String::new();
    let late = loop {
        // The channel closes when the last process in there has closed its output.
        match received.recv_timeout(limit.saturating_sub(begin.elapsed())) {
            Ok(line) => output.push_str(&(line + "\n")),
            Err(RecvTimeoutError::Disconnected) => break false,
            Err(RecvTimeoutError::Timeout) => break true,
        }
    };
    if late {
        // Ends the whole namespace; it may have ended by itself this very moment.
        let _ = child.kill();
    }
    let status = child.wait().map_err(|error| error.to_string())?;
    // A wrong name selects no test, and selecting none is a success to the test runner.
    if status.success() && !late && output.contains("test result: ok. 1 passed") {
        println!("{name}: {:.1} s\n{output}", begin.elapsed().as_secs_f64());
        return Ok(());
    }
    let end = if late {
        format!("not done within {limit:?}")
    } else {
        status.to_string()
    };
    Err(format!("{name}: {end}\n{output}"))
}

fn forward(pipe: impl Read + Send + 'static, lines: Sender<String>) {
    thread::spawn(move || {
        for line in BufReader::new(pipe).lines().map_while(Result::ok) {
            if lines.send(line).is_err() {
                return;
            }
        }
    });
}

/// Counts the scenarios that run.
struct Gate {
    free: Mutex<u32>,
    freed: Condvar,
}

impl Gate {
    fn enter(&self, share: u32) {
        let free = self
            .free
            .lock()
            .expect("nothing panics with the gate in hand");
        let mut free = self
            .freed
            .wait_while(free, |free| *free < share)
            .expect("nothing panics with the gate in hand");
        *free -= share;
    }

    fn leave(&self, share: u32) {
        *self
            .free
            .lock()
            .expect("nothing panics with the gate in hand") += share;
        self.freed.notify_all();
    }
}
