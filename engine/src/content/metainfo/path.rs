//! Which names of a torrent may become paths, and which lists of paths one folder can hold.

use crate::content::metainfo::{FileEntry, MetainfoError, PATH_COMPONENT_MAX, PATH_DEPTH_MAX};
use crate::text::printable;

const SHOWN_CHARS_MAX: usize = 80;

/// Why a name must not become a path.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum PathError {
    /// No components, or one without characters.
    #[error("empty")]
    Empty,
    /// `.` or `..`.
    #[error("leads elsewhere")]
    Relative,
    /// A slash or a backslash inside a component.
    #[error("has a separator inside a component")]
    Separator,
    /// A control character, NUL among them.
    #[error("has a control character")]
    Control,
    /// A component is too long.
    #[error("has a component of {len} bytes, at most {PATH_COMPONENT_MAX} allowed")]
    ComponentTooLong {
        /// Bytes found.
        len: usize,
    },
    /// Too many components.
    #[error("has {count} components, at most {PATH_DEPTH_MAX} allowed")]
    TooDeep {
        /// Components found.
        count: usize,
    },
    /// Two files of one path.
    #[error("appears twice")]
    Duplicate,
    /// A file where another path needs a folder.
    #[error("is a file and a folder")]
    FileAndFolder,
}

/// Reads one component. Bytes that are not UTF-8 become U+FFFD: old torrents have names in other
/// encodings, and a changed name harms nobody.
pub(super) fn component(bytes: &[u8]) -> Result<String, MetainfoError> {
    let name = String::from_utf8_lossy(bytes);
    match check(&name) {
        Ok(()) => Ok(name.into_owned()),
        Err(error) => Err(MetainfoError::Path {
            path: printable(bytes, SHOWN_CHARS_MAX),
            error,
        }),
    }
}

fn check(name: &str) -> Result<(), PathError> {
    let len = name.len();
    if name.is_empty() {
        Err(PathError::Empty)
    } else if name == "." || name == ".." {
        Err(PathError::Relative)
    } else if name.contains(['/', '\\']) {
        Err(PathError::Separator)
    } else if name.contains(char::is_control) {
        Err(PathError::Control)
    } else if len > PATH_COMPONENT_MAX {
        Err(PathError::ComponentTooLong { len })
    } else {
        Ok(())
    }
}

/// Checks how many components a path has.
pub(super) fn check_depth(path: &[String]) -> Result<(), MetainfoError> {
    let error = match path.len() {
        0 => PathError::Empty,
        1..=PATH_DEPTH_MAX => return Ok(()),
        count => PathError::TooDeep { count },
    };
    Err(conflict(path, error))
}

/// Checks that no two files share a path and none is in the way of another's folder. Pad files are
/// never on disk, so theirs may repeat.
pub(super) fn check_distinct(files: &[FileEntry]) -> Result<(), MetainfoError> {
    let on_disk = files.iter().filter(|file| !file.pad);
    let mut paths: Vec<&[String]> = on_disk.map(|file| &*file.path).collect();
    paths.sort_unstable();
    // In this order a path comes right before whatever lies below it.
    for pair in paths.windows(2) {
        if pair[0] == pair[1] {
            return Err(conflict(pair[0], PathError::Duplicate));
        }
        if pair[1].starts_with(pair[0]) {
            return Err(conflict(pair[0], PathError::FileAndFolder));
        }
    }
    Ok(())
}

fn conflict(path: &[String], error: PathError) -> MetainfoError {
    let shown = path.iter().take(SHOWN_CHARS_MAX);
    let shown: Vec<&str> = shown.map(String::as_str).collect();
    MetainfoError::Path {
        path: printable(shown.join("/").as_bytes(), SHOWN_CHARS_MAX),
        error,
    }
}
