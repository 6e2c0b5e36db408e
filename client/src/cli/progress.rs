//! A progress bar on standard error, or nothing.

use indicatif::{ProgressBar, ProgressStyle};

/// A bar that counts bytes; hidden unless a person watches.
#[derive(Debug)]
pub(super) struct Progress(ProgressBar);

const TEMPLATE: &str = "{msg} [{bar:30}] {bytes}/{total_bytes} {bytes_per_sec}";

impl Progress {
    pub(super) fn new(is_visible: bool, what: &str) -> Self {
        if !is_visible {
            return Self(ProgressBar::hidden());
        }
        let style = ProgressStyle::with_template(TEMPLATE).expect("the template is well formed");
        let bar = ProgressBar::new(0).with_style(style.progress_chars("=> "));
        bar.set_message(what.to_owned());
        Self(bar)
    }

    pub(super) fn set(&self, done: i64, total: i64) {
        self.0.set_length(u64::try_from(total).unwrap_or_default());
        self.0.set_position(u64::try_from(done).unwrap_or_default());
    }
}

impl Drop for Progress {
    fn drop(&mut self) {
        self.0.finish_and_clear();
    }
}
