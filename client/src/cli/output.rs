//! Data on standard output, everything else on standard error; people or machines.

use std::io::{self, BufRead, IsTerminal as _, Write};

use console::Term;
use serde_json::Value;

use super::args::{Color, Global};
use super::progress::{Counted, Progress, Watcher};
use super::table::TextTable;
use crate::error::ClientError;
use crate::json;

/// The three streams of a process, or stand-ins for them.
pub struct Io {
    /// Standard output.
    pub out: Box<dyn Write + Send>,
    /// Standard error.
    pub err: Box<dyn Write + Send>,
    /// Standard input.
    pub input: Box<dyn BufRead + Send>,
    /// Whether a person reads standard output.
    pub out_is_terminal: bool,
    /// Columns of the terminal behind standard output, if there is one.
    pub out_columns: Option<usize>,
    /// Whether a person reads standard error.
    pub err_is_terminal: bool,
    /// Whether a person can answer on standard input.
    pub input_is_terminal: bool,
}

impl Io {
    /// Those of this process.
    pub fn of_process() -> Self {
        Self {
            out: Box::new(io::stdout()),
            err: Box::new(io::stderr()),
            input: Box::new(io::BufReader::new(io::stdin())),
            out_is_terminal: io::stdout().is_terminal(),
            out_columns: Term::stdout()
                .size_checked()
                .map(|(_, columns)| columns.into()),
            err_is_terminal: io::stderr().is_terminal(),
            input_is_terminal: io::stdin().is_terminal(),
        }
    }

    pub(super) fn write_out(&mut self, bytes: &[u8]) -> io::Result<()> {
        self.out.write_all(bytes)?;
        self.out.flush()
    }

    pub(super) fn write_err(&mut self, bytes: &[u8]) -> io::Result<()> {
        self.err.write_all(bytes)?;
        self.err.flush()
    }
}

impl std::fmt::Debug for Io {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Io")
            .field("out_is_terminal", &self.out_is_terminal)
            .field("out_columns", &self.out_columns)
            .field("err_is_terminal", &self.err_is_terminal)
            .field("input_is_terminal", &self.input_is_terminal)
            .finish_non_exhaustive()
    }
}

/// Prints in the way the flags ask for.
pub(super) struct Printer<'io> {
    io: &'io mut Io,
    is_json: bool,
    is_quiet: bool,
    colors_err: bool,
}

impl<'io> Printer<'io> {
    pub(super) fn new(io: &'io mut Io, global: &Global) -> Self {
        let no_color = std::env::var_os("NO_COLOR").is_some_and(|value| !value.is_empty());
        let colors_err = match global.color {
            Color::Always => true,
            Color::Never => false,
            Color::Auto => io.err_is_terminal && !no_color,
        };
        Self {
            io,
            is_json: global.json,
            is_quiet: global.quiet,
            colors_err,
        }
    }

    pub(super) fn is_json(&self) -> bool {
        self.is_json
    }

    /// One document for machines or, by `human`, lines for people.
    pub(super) fn document(
        &mut self,
        document: &Value,
        human: impl FnOnce(&mut Page),
    ) -> Result<(), ClientError> {
        if self.is_json {
            return self.json_line(document);
        }
        let mut page = Page {
            columns: self.io.out_columns.filter(|_| self.io.out_is_terminal),
            ..Page::default()
        };
        human(&mut page);
        if !self.is_quiet {
            page.put_hint();
        }
        self.raw(page.text.as_bytes())
    }

    /// [`Self::document`] of one message.
    pub(super) fn message<M: prost::Message + prost::Name>(
        &mut self,
        message: &M,
        human: impl FnOnce(&mut Page),
    ) -> Result<(), ClientError> {
        self.document(&json::to_value(message), human)
    }

    /// One line of a stream.
    pub(super) fn json_line(&mut self, document: &Value) -> Result<(), ClientError> {
        self.raw(format!("{document}\n").as_bytes())
    }

    pub(super) fn raw(&mut self, bytes: &[u8]) -> Result<(), ClientError> {
        Ok(self.io.write_out(bytes)?)
    }

    /// Progress on standard error, if somebody wants to see it.
    pub(super) fn progress(&self) -> Progress {
        Progress::new(self.watcher())
    }

    /// [`Self::progress`] of work whose bytes are counted.
    pub(super) fn counted(&self, what: &str) -> Counted {
        Counted::new(self.watcher(), what)
    }

    /// Something by the way, for people.
    pub(super) fn note(&mut self, text: &str) -> Result<(), ClientError> {
        Ok(self.io.write_err(text.as_bytes())?)
    }

    /// What is typed or piped in.
    pub(super) fn input(&mut self) -> &mut (dyn BufRead + Send) {
        &mut *self.io.input
    }

    fn watcher(&self) -> Watcher {
        match (self.is_quiet, self.io.err_is_terminal) {
            (true, _) => Watcher::Nobody,
            (false, true) => Watcher::Terminal,
            // Only errors go there, and they are JSON.
            (false, false) if self.is_json => Watcher::Nobody,
            (false, false) => Watcher::Log,
        }
    }

    /// Asks a person; without one, `--yes` must have been given.
    pub(super) fn confirm(&mut self, question: &str) -> Result<(), ClientError> {
        if !self.io.input_is_terminal {
            return Err(ClientError::Usage(format!(
                "{question} Nobody is there to ask: add --yes"
            )));
        }
        self.io.write_err(format!("{question} [y/N] ").as_bytes())?;
        let mut answer = String::new();
        self.io.input.read_line(&mut answer)?;
        match answer.trim() {
            "y" | "Y" | "yes" => Ok(()),
            _ => Err(ClientError::Usage(
                "not confirmed, nothing was done".to_owned(),
            )),
        }
    }

    pub(super) fn error(&mut self, error: &ClientError) {
        let text = if self.is_json {
            format!("{}\n", error.to_json())
        } else {
            let (red, plain) = if self.colors_err {
                ("\u{1b}[31m", "\u{1b}[0m")
            } else {
                ("", "")
            };
            let help = error
                .help()
                .map(|help| format!("try: {help}\n"))
                .unwrap_or_default();
            format!("{red}error:{plain} {error}\n{help}")
        };
        // Nobody is left to tell if standard error is closed.
        let _ = self.io.write_err(text.as_bytes());
    }
}

/// Lines for people, and the command that is useful next.
#[derive(Debug, Default)]
pub(super) struct Page {
    text: String,
    next: Option<String>,
    /// Columns of the terminal it goes to, if it goes to one.
    columns: Option<usize>,
}

impl Page {
    pub(super) fn line(&mut self, line: impl AsRef<str>) {
        self.text.push_str(line.as_ref().trim_end());
        self.text.push('\n');
    }

    /// Name and value, aligned with the others.
    pub(super) fn fact(&mut self, name: &str, value: impl std::fmt::Display) {
        self.line(format!("{name:<12} {value}"));
    }

    pub(super) fn table(&mut self, table: &TextTable) {
        self.text.push_str(&table.to_string());
    }

    /// A table that fits the terminal, as [`TextTable::fit`] does it; whole elsewhere.
    pub(super) fn fitted(
        &mut self,
        mut table: TextTable,
        droppable: &[&str],
        flexible: &str,
        flexible_min: usize,
    ) {
        if let Some(columns) = self.columns {
            table.fit(columns, droppable, flexible, flexible_min);
        }
        self.table(&table);
    }

    pub(super) fn next(&mut self, command: impl Into<String>) {
        self.next = Some(command.into());
    }

    fn put_hint(&mut self) {
        if let Some(next) = self.next.take() {
            self.line(format!("next: {next}"));
        }
    }
}
