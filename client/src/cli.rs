//! The command line: parses arguments, runs one command, turns its outcome into an exit code.
//!
//! `args.rs` is the command tree, `output.rs` what is printed and how; the other files hold the
//! commands, by noun.

mod args;
mod boost;
mod events;
mod examples;
mod metainfo;
mod network;
mod node;
mod output;
mod pace;
mod peers;
mod policy;
mod progress;
mod show;
mod source;
mod table;
mod torrent;
mod wait;
mod wallet;

use std::ffi::OsString;
use std::io::{self, Read as _};
use std::path::{Path, PathBuf};

use clap::{CommandFactory as _, Parser as _};

use crate::connection::{ApiAddress, Client, Options, default_socket};
use crate::error::ClientError;
use args::{Args, ClientCommand, Global};

pub use output::Io;
use output::Printer;

/// Longest token file that is read.
const TOKEN_FILE_LEN_MAX: u64 = 256;

/// Runs one command line and gives its exit code (see [`ClientError::exit_code`]).
pub async fn run(args: impl IntoIterator<Item = OsString>, io: &mut Io) -> u8 {
    let args: Vec<OsString> = args.into_iter().collect();
    let parsed = match Args::try_parse_from(&args) {
        Ok(parsed) => parsed,
        Err(error) => return explain_usage(&error, &args, io),
    };
    let printer = Printer::new(io, &parsed.global);
    let mut app = App {
        global: parsed.global,
        printer,
    };
    match execute(&mut app, parsed.command).await {
        Ok(()) => 0,
        // The reader of our output went away (`| head`): it has what it wanted.
        Err(ClientError::Output(error)) if error.kind() == io::ErrorKind::BrokenPipe => 0,
        Err(error) => {
            app.printer.error(&error);
            error.exit_code()
        }
    }
}

/// What a command needs: its global flags and somewhere to print.
struct App<'io> {
    global: Global,
    printer: Printer<'io>,
}

impl App<'_> {
    async fn client(&self) -> Result<Client, ClientError> {
        Client::connect(&self.options()?).await
    }

    fn options(&self) -> Result<Options, ClientError> {
        let home = std::env::var_os("HOME").map(PathBuf::from);
        let address = match &self.global.api {
            Some(address) => address.clone(),
            None => default_address(home.as_deref())?,
        };
        let token_file = match (&self.global.token_file, &address) {
            (Some(path), _) => Some(path.clone()),
            (None, ApiAddress::Unix(_)) => None,
            (None, ApiAddress::Tcp(_)) => home
                .map(|home| home.join(".local/share/seedbank/api.token"))
                .filter(|path| path.exists()),
        };
        Ok(Options {
            address,
            token: token_file.as_deref().map(read_token).transpose()?,
            timeout: self.global.timeout,
            wait: self.global.wait,
        })
    }
}

async fn execute(app: &mut App<'_>, command: ClientCommand) -> Result<(), ClientError> {
    match command {
        ClientCommand::Status => node::status(app).await,
        ClientCommand::Health { service } => node::health(app, service).await,
        ClientCommand::Shutdown => node::shutdown(app).await,
        ClientCommand::Events(args) => events::watch(app, args).await,
        ClientCommand::Add(args) => torrent::add(app, args).await,
        ClientCommand::Ls(args) => show::list(app, args).await,
        ClientCommand::Show(args) => show::show(app, args).await,
        ClientCommand::Start(args) => torrent::start(app, &args.ids).await,
        ClientCommand::Stop(args) => torrent::stop(app, &args.ids).await,
        ClientCommand::Rm(args) => torrent::remove(app, args).await,
        ClientCommand::Verify(args) => torrent::verify(app, &args.id).await,
        ClientCommand::Peers(args) => peers::run(app, args).await,
        ClientCommand::Create(args) => metainfo::create(app, args).await,
        ClientCommand::Wallet(command) => wallet::run(app, command).await,
        ClientCommand::Boost(command) => boost::run(app, command).await,
        ClientCommand::Policy(command) => policy::run(app, command).await,
        ClientCommand::Network(command) => network::run(app, command).await,
        ClientCommand::Completions { shell } => {
            let mut script = Vec::new();
            clap_complete::generate(shell, &mut Args::command(), "seedbank", &mut script);
            app.printer.raw(&script)
        }
        ClientCommand::Man { dir } => manual(app, dir.as_deref()),
    }
}

/// Prints the first page, or writes a page for every command to `dir`.
fn manual(app: &mut App<'_>, dir: Option<&Path>) -> Result<(), ClientError> {
    let Some(dir) = dir else {
        let mut page = Vec::new();
        clap_mangen::Man::new(Args::command()).render(&mut page)?;
        return app.printer.raw(&page);
    };
    std::fs::create_dir_all(dir)
        .and_then(|()| clap_mangen::generate_to(Args::command(), dir))
        .map_err(|source| ClientError::File {
            path: dir.display().to_string(),
            source,
        })
}

fn default_address(home: Option<&Path>) -> Result<ApiAddress, ClientError> {
    let runtime_dir = std::env::var_os("XDG_RUNTIME_DIR").map(PathBuf::from);
    default_socket(runtime_dir.as_deref(), home)
        .map(ApiAddress::Unix)
        .ok_or_else(|| {
            ClientError::Usage("neither XDG_RUNTIME_DIR nor HOME is set: use --api".into())
        })
}

fn read_token(path: &Path) -> Result<String, ClientError> {
    let file_error = |source| ClientError::File {
        path: path.display().to_string(),
        source,
    };
    let mut token = String::new();
    std::fs::File::open(path)
        .map_err(file_error)?
        .take(TOKEN_FILE_LEN_MAX)
        .read_to_string(&mut token)
        .map_err(file_error)?;
    Ok(token.trim().to_owned())
}

/// A new idempotency key: 16 bytes from the kernel.
fn request_id() -> Result<String, ClientError> {
    let path = "/dev/urandom";
    let file_error = |source| ClientError::File {
        path: path.to_owned(),
        source,
    };
    let mut bytes = [0; 16];
    std::fs::File::open(path)
        .map_err(file_error)?
        .read_exact(&mut bytes)
        .map_err(file_error)?;
    Ok(bytes.iter().map(|byte| format!("{byte:02x}")).collect())
}

fn explain_usage(error: &clap::Error, args: &[OsString], io: &mut Io) -> u8 {
    let text = error.render().to_string();
    if !error.use_stderr() {
        return io.write_out(text.as_bytes()).map_or(1, |()| 0);
    }
    let usage = ClientError::Usage(text.trim_end().to_owned());
    let shown = if args.iter().any(|arg| arg == "--json") {
        format!("{}\n", usage.to_json())
    } else {
        text
    };
    // Nobody is left to tell if standard error is closed.
    let _ = io.write_err(shown.as_bytes());
    usage.exit_code()
}
