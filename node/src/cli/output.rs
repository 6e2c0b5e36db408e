//! Standard output, which may be a pipe whose reader has read enough.

use std::io::{self, ErrorKind, Write};

/// Writes until the reader goes away, and from then on to nobody.
///
/// What a command does, and how it ends, does not depend on who reads what it says. Any other
/// failure to write is an error, as a full disk is.
#[derive(Debug)]
pub(super) struct StandardOutput<W> {
    to: W,
    is_read: bool,
}

impl<W: Write> StandardOutput<W> {
    pub(super) fn new(to: W) -> Self {
        Self { to, is_read: true }
    }

    /// The result of a write, or `unread` if nobody reads any more.
    fn unless_unread<T>(&mut self, written: io::Result<T>, unread: T) -> io::Result<T> {
        match written {
            Err(error) if error.kind() == ErrorKind::BrokenPipe => {
                self.is_read = false;
                Ok(unread)
            }
            written => written,
        }
    }
}

impl<W: Write> Write for StandardOutput<W> {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        if !self.is_read {
            return Ok(bytes.len());
        }
        let written = self.to.write(bytes);
        self.unless_unread(written, bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        if !self.is_read {
            return Ok(());
        }
        let flushed = self.to.flush();
        self.unless_unread(flushed, ())
    }
}
