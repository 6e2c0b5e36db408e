//! One name of a torrent as one component of a path: safe to open, and the one that libtorrent
//! makes of it, so that what one client has downloaded the other finds.
//!
//! The rules are those of libtorrent 2.1 on Linux. Names that it takes as they are come through
//! unchanged, those that Windows reserves among them.

use crate::content::metainfo::{MetainfoError, PATH_COMPONENT_MAX, PATH_DEPTH_MAX};
use crate::text::{is_unseen, printable};

/// A component that has come this far ends here, but for its extension; what is appended to tell
/// two files apart still fits [`PATH_COMPONENT_MAX`].
const CUT_LEN: usize = 240;
/// Most bytes of an extension that is kept behind a cut, its dot among them.
const EXTENSION_LEN_MAX: usize = 9;
const SHOWN_CHARS_MAX: usize = 80;

/// Why a name must not become a path.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum PathError {
    /// No components; of a single file's name, no character that may stay.
    #[error("empty")]
    Empty,
    /// Too many components.
    #[error("has {count} components, at most {PATH_DEPTH_MAX} allowed")]
    TooDeep {
        /// Components found.
        count: usize,
    },
    /// A component is too long once it tells its file from others of the same path.
    #[error("has a component of {len} bytes, at most {PATH_COMPONENT_MAX} allowed")]
    ComponentTooLong {
        /// Bytes found.
        len: usize,
    },
    /// Too many files of the same paths.
    #[error("is the path of too many files")]
    TooManyDuplicates,
    /// In a torrent that is being made: whoever downloads it could not keep the name.
    #[error("would have another name where the torrent is downloaded")]
    Renamed,
}

/// The component that a name becomes. `None` if no character may stay or only one or two dots.
///
/// Left out are separators, NUL and what is not seen: marks of direction, joiners, spaces of no
/// width. `_` stands for other control characters, malformed UTF-8 and a name without a byte.
pub(super) fn component(name: &[u8]) -> Option<String> {
    if name.is_empty() {
        return Some("_".to_owned());
    }
    let mut out = String::with_capacity(name.len().min(PATH_COMPONENT_MAX));
    let (mut at, mut in_extension) = (0, false);
    while at < name.len() {
        let (read, len) = first_char(&name[at..]);
        match read {
            Some(c) if is_left_out(c) => {}
            Some(c) if !c.is_control() => {
                out.push(c);
                if out.len() >= CUT_LEN && !in_extension {
                    let Some(dot) = extension(name, at) else {
                        break;
                    };
                    (at, in_extension) = (dot, true);
                    continue;
                }
            }
            Some(_) | None => out.push('_'),
        }
        at += len;
    }
    if out.len() > PATH_COMPONENT_MAX {
        // Where libtorrent does not count and could not make the file: a long run of `_`.
        let boundary = (0..=CUT_LEN).rev().find(|at| out.is_char_boundary(*at));
        out.truncate(boundary.expect("0 is one"));
    }
    (!matches!(&*out, "" | "." | "..")).then_some(out)
}

/// The component of a path that a name becomes: `_` if nothing else is left of it.
pub(super) fn component_or_underscore(name: &[u8]) -> String {
    component(name).unwrap_or_else(|| "_".to_owned())
}

/// Checks how many components a path has.
pub(super) fn check_depth(names: &[&[u8]]) -> Result<(), MetainfoError> {
    match names.len() {
        0 => Err(error(names, PathError::Empty)),
        1..=PATH_DEPTH_MAX => Ok(()),
        count => Err(error(names, PathError::TooDeep { count })),
    }
}

/// The error, with the path that it is about, bounded and printable.
pub(super) fn error<T: AsRef<[u8]>>(path: &[T], error: PathError) -> MetainfoError {
    MetainfoError::Path {
        path: shown(path),
        error,
    }
}

/// A path for people, bounded and printable.
pub(super) fn shown<T: AsRef<[u8]>>(path: &[T]) -> String {
    let names: Vec<&[u8]> = path
        .iter()
        .take(SHOWN_CHARS_MAX)
        .map(AsRef::as_ref)
        .collect();
    printable(&names.join(&b'/'), SHOWN_CHARS_MAX)
}

/// The character at the front, `None` if it is malformed, and how many bytes it takes: as many as
/// its first byte announces, also where those behind it do not belong to it.
fn first_char(bytes: &[u8]) -> (Option<char>, usize) {
    let announced = match bytes[0] {
        0x00..=0x7f => 1,
        0xc0..=0xdf => 2,
        0xe0..=0xef => 3,
        0xf0..=0xf7 => 4,
        0xf8..=0xfb => 5,
        0x80..=0xbf | 0xfc..=0xff => return (None, 1),
    };
    let len = announced.min(bytes.len());
    let text = std::str::from_utf8(&bytes[..len]).ok();
    (text.and_then(|text| text.chars().next()), len)
}

/// Separators, NUL, and characters that nobody sees.
fn is_left_out(c: char) -> bool {
    matches!(c, '/' | '\\' | '\0') || is_unseen(c)
}

/// Where the extension of a name begins, if it lies behind the character at `at` and is short.
fn extension(name: &[u8], at: usize) -> Option<usize> {
    let from = name.len().saturating_sub(EXTENSION_LEN_MAX).max(at + 1);
    let dot = name[from..].iter().rposition(|byte| *byte == b'.')?;
    Some(from + dot)
}
