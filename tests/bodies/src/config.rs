//! A daemon's configuration file. Its owner's word, and read before anything else is.

use std::path::Path;

use seedbank_node::host::config::layers::{Layers, Origin};
use seedbank_node::host::config::{Config, Sources, show};

/// What is read is shown as a file that reads the same; what loads is within its bounds.
pub(crate) fn config(bytes: &[u8]) -> bool {
    let Ok(text) = std::str::from_utf8(bytes) else {
        return false;
    };
    let mut sources = Sources {
        environment: vec![("HOME".to_owned(), "/nowhere".to_owned())],
        ..Sources::default()
    };
    let Some(layers) = read(&sources, text) else {
        return false;
    };
    let shown = show(&layers, false);
    let again = read(&sources, &shown).expect("what is shown can be read");
    assert_eq!(show(&again, false), shown);
    for (name, setting) in layers.iter() {
        if matches!(setting.origin, Origin::File(..)) {
            let value = setting.values.join(",");
            sources
                .flags
                .push((name.to_owned(), value, "--set".to_owned()));
        }
    }
    match Config::load(&sources) {
        Ok(config) => {
            check(&config);
            true
        }
        Err(error) => {
            assert!(!error.to_string().is_empty());
            false
        }
    }
}

/// The defaults, and a file with this text over them.
fn read(sources: &Sources, text: &str) -> Option<Layers> {
    let mut layers = sources.layers().expect("nothing but defaults");
    let path = Path::new("config.toml");
    layers.read_text(path, text, Origin::File).ok()?;
    Some(layers)
}

fn check(config: &Config) {
    assert!((1..=65_000).contains(&config.max_peers));
    assert!(config.policy.open_share_percent <= 100);
    assert!(config.policy.slots > 0);
    assert!(config.api_listen.iter().all(|addr| addr.ip().is_loopback()));
    assert!(
        config
            .policy
            .credit
            .friends
            .iter()
            .all(|key| key.check().is_ok())
    );
    assert!(config.data_dir.is_absolute() && config.download_dir.is_absolute());
    if let Some(url) = &config.settlement {
        assert!(url.starts_with("http://") || url.starts_with("https://"));
    }
}
