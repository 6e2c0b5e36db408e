//! A program under test: its output in a log file, its end in our hands.

use std::fs::{self, File};
use std::io::{BufRead, BufReader};
use std::os::unix::process::ExitStatusExt as _;
use std::path::{Path, PathBuf};
use std::process::{Child, ChildStdin, ChildStdout, Command, ExitStatus, Stdio};
use std::time::Duration;

use anyhow::{Context, Result, bail};
use rustix::process::{Pid, Signal, kill_process};

use crate::limits::folder_of;
use crate::poll::poll;

/// What a program gets to leave in peace after SIGTERM.
const GRACE: Duration = Duration::from_secs(20);

/// Lines of a log that a failed test shows.
const TAIL_LINES: usize = 40;

/// A running program. Dropping it kills it.
#[derive(Debug)]
pub struct Process {
    name: String,
    child: Child,
    log: PathBuf,
}

impl Process {
    /// Starts `command` with standard output and error in `log`.
    ///
    /// # Errors
    /// When the program does not exist: an absent peer fails the test that wants it.
    pub fn spawn(name: &str, command: &mut Command, log: &Path) -> Result<Self> {
        let file = File::create(log)?;
        command
            .stdin(Stdio::null())
            .stdout(file.try_clone()?)
            .stderr(file);
        Self::start(name, command, log)
    }

    /// Starts `command` with its input and output as pipes, and standard error in `log`.
    ///
    /// # Errors
    /// As [`Process::spawn`].
    pub fn spawn_piped(
        name: &str,
        command: &mut Command,
        log: &Path,
    ) -> Result<(Self, ChildStdin, ChildStdout)> {
        command
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(File::create(log)?);
        let mut process = Self::start(name, command, log)?;
        let stdin = process
            .child
            .stdin
            .take()
            .expect("standard input was asked for");
        let stdout = process
            .child
            .stdout
            .take()
            .expect("standard output was asked for");
        Ok((process, stdin, stdout))
    }

    fn start(name: &str, command: &mut Command, log: &Path) -> Result<Self> {
        let child = command.spawn().with_context(|| {
            format!("starting {name}: is it installed? `make peers` installs the real peers")
        })?;
        Ok(Self {
            name: name.to_owned(),
            child,
            log: log.to_owned(),
        })
    }

    /// The process id, as seen in the namespace.
    #[must_use]
    pub fn id(&self) -> u32 {
        self.child.id()
    }

    /// Where its output goes.
    #[must_use]
    pub fn log_path(&self) -> &Path {
        &self.log
    }

    /// Fails if the program has ended.
    ///
    /// # Errors
    /// Says how it ended, and its last words.
    pub fn check_alive(&mut self) -> Result<()> {
        if let Some(status) = self.child.try_wait()? {
            bail!("{} ended with {status}:\n{}", self.name, self.log_tail());
        }
        Ok(())
    }

    /// Whether it was ended by a signal, such as SIGSEGV.
    pub fn is_crashed(&mut self) -> bool {
        let ended = self.child.try_wait().ok().flatten();
        ended.is_some_and(|status| status.signal().is_some())
    }

    /// For the report on a program that no longer answers: of each thread its name, its state, what
    /// it waits for and its ticks of CPU time (proc(5)), then the program's last words.
    #[must_use]
    pub fn standstill(&self) -> String {
        let tasks = folder_of(self.id()).map(|folder| fs::read_dir(folder.join("task")));
        let tasks = tasks.into_iter().flatten().flatten().flatten();
        let lines: Vec<String> = tasks.map(|task| thread_line(&task.path())).collect();
        format!("{}\n{}", lines.join("\n"), self.log_tail())
    }

    /// Sends SIGTERM and waits for the end, at most 20 s.
    ///
    /// # Errors
    /// When the program does not leave in time.
    pub fn terminate(&mut self) -> Result<ExitStatus> {
        self.signal(Signal::TERM)?;
        let child = &mut self.child;
        poll(
            GRACE,
            &format!("the end of {} after SIGTERM", self.name),
            || Ok(child.try_wait()?),
        )
    }

    /// Sends SIGKILL and waits for the end: what `kill -9` does.
    ///
    /// # Errors
    /// When the program has already gone.
    pub fn kill(&mut self) -> Result<()> {
        self.child.kill()?;
        self.child.wait()?;
        Ok(())
    }

    /// Stops the program where it stands, or lets it go on.
    ///
    /// # Errors
    /// When the program has gone.
    pub fn hold(&self, held: bool) -> Result<()> {
        self.signal(if held { Signal::STOP } else { Signal::CONT })
    }

    fn signal(&self, signal: Signal) -> Result<()> {
        let pid = Pid::from_raw(i32::try_from(self.child.id())?).context("a process id above 0")?;
        kill_process(pid, signal).with_context(|| format!("signalling {}", self.name))
    }

    fn log_tail(&self) -> String {
        tail(&String::from_utf8_lossy(
            &fs::read(&self.log).unwrap_or_default(),
        ))
    }
}

fn thread_line(task: &Path) -> String {
    let read = |name| fs::read_to_string(task.join(name)).unwrap_or_default();
    let (stat, waits_for) = (read("stat"), read("wchan"));
    // The name stands in parentheses, and may itself hold some.
    let (name, rest) = stat.rsplit_once(')').unwrap_or_default();
    let fields: Vec<&str> = rest.split_whitespace().collect();
    let field = |index: usize| fields.get(index).copied().unwrap_or("?");
    let (state, user, system) = (field(0), field(11), field(12));
    format!("{name}): {state} in {waits_for:?}, {user} + {system} ticks")
}

impl Drop for Process {
    fn drop(&mut self) {
        // It may have ended already, which is as good.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// Hands every line of a log to `see`, one at a time: a debug log may be larger than its torrent.
///
/// # Errors
/// When the log cannot be read.
pub fn each_line(log: &Path, mut see: impl FnMut(&str)) -> Result<()> {
    let mut reader = BufReader::new(File::open(log)?);
    let mut line = Vec::new();
    while reader.read_until(b'\n', &mut line)? > 0 {
        see(String::from_utf8_lossy(&line).trim_end());
        line.clear();
    }
    Ok(())
}

/// The last lines of a log.
#[must_use]
pub fn tail(text: &str) -> String {
    let lines: Vec<&str> = text.lines().collect();
    lines[lines.len().saturating_sub(TAIL_LINES)..].join("\n")
}
