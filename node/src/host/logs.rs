//! Log lines: text on a terminal, JSON elsewhere, on stderr; `log.filter` says which, and
//! `logs/budget.rs` how many strangers can cause.

pub(crate) mod budget;

use std::io::IsTerminal as _;

use tracing_subscriber::EnvFilter;

use crate::host::config::LogFormat;
use seedbank_engine::text::distance;

/// Words that say how much is logged.
const LEVELS: [&str; 6] = ["off", "error", "warn", "info", "debug", "trace"];

/// A filter that says something: `info`, or `warn,seedbank_node=debug`. A word that is no level
/// would be taken for a target of that name, and silence all others.
pub fn filter(text: &str) -> Result<String, String> {
    if text.trim().is_empty() {
        return Err(format!("is empty: write one of {}", LEVELS.join(", ")));
    }
    let words = text.split(',').map(str::trim);
    let wrong = words
        .filter(|word| !word.contains(['=', '[']))
        .find(|word| !LEVELS.contains(&word.to_ascii_lowercase().as_str()));
    if let Some(word) = wrong {
        let near = |level: &&&str| distance(level, word) <= 2;
        let meant = LEVELS
            .iter()
            .filter(near)
            .min_by_key(|level| distance(level, word));
        let hint = meant.map_or_else(String::new, |level| format!("; did you mean {level:?}?"));
        let levels = LEVELS.join(", ");
        return Err(format!(
            "has no level {word:?}: write one of {levels}, or TARGET=LEVEL{hint}"
        ));
    }
    match EnvFilter::try_new(text) {
        Ok(_) => Ok(text.to_owned()),
        Err(error) => Err(error.to_string()),
    }
}

/// Starts logging for this process; a second call changes nothing.
///
/// A line that cannot be written is lost, and whoever logged it goes on.
pub fn start(text: &str, format: LogFormat) -> Result<(), String> {
    let filter = EnvFilter::new(filter(text)?);
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_filter_that_would_silence_everything_is_named() {
        for good in [
            "info",
            "WARN",
            "warn,seedbank_node=debug",
            "seedbank_node=trace",
            "off",
        ] {
            assert_eq!(filter(good).as_deref(), Ok(good));
        }
        let said = filter("wran").unwrap_err();
        assert!(said.contains("\"wran\""), "{said}");
        assert!(said.ends_with("did you mean \"warn\"?"), "{said}");
        for bad in ["", "info,debgu", "seedbank_node", "seedbank_node=loud"] {
            assert!(filter(bad).is_err(), "{bad}");
        }
    }
}
