//! Log lines: text on a terminal, JSON elsewhere, on stderr; `log.filter` says which.

use std::io::IsTerminal as _;

use tracing_subscriber::EnvFilter;
use tracing_subscriber::filter::ParseError;

use crate::host::config::LogFormat;

/// Starts logging for this process; a second call changes nothing.
///
/// A line that cannot be written is lost, and whoever logged it goes on.
pub fn start(filter: &str, format: LogFormat) -> Result<(), ParseError> {
    let filter = EnvFilter::try_new(filter)?;
    let text = match format {
        LogFormat::Text => true,
        LogFormat::Json => false,
        LogFormat::Auto => std::io::stderr().is_terminal(),
    };
    let lines = tracing_subscriber::fmt()
        .with_env_filter(filter)
        .with_writer(std::io::stderr)
        // Else a failed write is reported to standard error once more, and that one panics.
        .log_internal_errors(false);
    // An error means that logging has started before.
    let _ = if text {
        let colour = std::io::stderr().is_terminal() && std::env::var_os("NO_COLOR").is_none();
        lines.with_ansi(colour).try_init()
    } else {
        lines.json().flatten_event(true).try_init()
    };
    Ok(())
}
