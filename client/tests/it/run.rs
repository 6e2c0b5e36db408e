//! Runs one command line in this process and keeps what it printed.

use std::ffi::OsString;
use std::io::{self, Cursor, Write};
use std::sync::{Arc, Mutex};

use seedbank_client::cli::{self, Io};

use crate::fake::Server;

/// What a command did.
#[derive(Debug)]
pub(crate) struct Outcome {
    pub(crate) code: u8,
    pub(crate) out: String,
    pub(crate) err: String,
}

#[derive(Clone, Debug, Default)]
struct Printed(Arc<Mutex<Vec<u8>>>);

impl Printed {
    fn text(&self) -> String {
        String::from_utf8(self.0.lock().unwrap().clone()).unwrap()
    }
}

impl Write for Printed {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.0.lock().unwrap().extend_from_slice(bytes);
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

/// Runs `line` with nobody at the terminal.
pub(crate) async fn run(server: &Server, line: &str) -> Outcome {
    execute(server, line, None).await
}

/// Runs `line` with somebody who types `answers`.
pub(crate) async fn answering(server: &Server, line: &str, answers: &str) -> Outcome {
    execute(server, line, Some(answers)).await
}

async fn execute(server: &Server, line: &str, answers: Option<&str>) -> Outcome {
    let mut args: Vec<OsString> = vec!["seedbank".into()];
    if !line.contains("--api") {
        args.push("--api".into());
        args.push(server.address().into());
    }
    args.extend(line.split_whitespace().map(OsString::from));
    let (out, err) = (Printed::default(), Printed::default());
    let typed = answers.unwrap_or_default().as_bytes().to_vec();
    let mut io = Io {
        out: Box::new(out.clone()),
        err: Box::new(err.clone()),
        input: Box::new(Cursor::new(typed)),
        out_is_terminal: false,
        out_columns: None,
        err_is_terminal: false,
        input_is_terminal: answers.is_some(),
    };
    let code = cli::run(args, &mut io).await;
    Outcome {
        code,
        out: out.text(),
        err: err.text(),
    }
}
