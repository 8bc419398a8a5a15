//! Where profiles to read come from: a pprof file, a folder that the agent writes, a URL.
//!
//! Several sources, and the files of a folder, become one profile. They are merged one by one, so that memory grows
//! with what is different in them and not with their number.

pub mod assembly;
pub mod census;
pub mod code;
mod folder;
mod load;
pub mod moment;
mod parallel;
mod url;

use std::fmt;
use std::path::PathBuf;

pub use load::{Labels, Loaded, Selection, Watcher, load};

use crate::profile::codec::DecodeError;
use crate::profile::merge::MergeError;
use crate::profile::validate::Invalid;

/// A source as it is named on the command line. Nothing is opened before [`load`].
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Source {
    /// A pprof file, gzip-compressed or not, or a folder.
    Path(PathBuf),
    /// `http://` or `https://`.
    Url(String),
}

impl Source {
    /// A URL where it begins like one, else a path; so any text is a source.
    #[must_use]
    pub fn new(name: &str) -> Source {
        let is_url = ["http://", "https://"]
            .iter()
            .any(|scheme| name.get(..scheme.len()).is_some_and(|start| start.eq_ignore_ascii_case(scheme)));
        if is_url { Source::Url(name.to_owned()) } else { Source::Path(PathBuf::from(name)) }
    }
}

/// The name for people; a password in a URL is left out.
impl fmt::Display for Source {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Source::Path(path) => path.display().fmt(formatter),
            Source::Url(url) => formatter.write_str(&url::without_password(url)),
        }
    }
}

/// Why there is no profile. Its text is whole: it has no sources that would have to be printed after it.
#[derive(Debug, thiserror::Error)]
#[error("{source_name}: {problem}")]
pub struct SourceError {
    /// The source, or the file in it.
    pub source_name: String,
    /// What is wrong with it.
    pub problem: Problem,
}

/// What is wrong with a source.
#[derive(Debug, thiserror::Error)]
pub enum Problem {
    /// No such path.
    #[error("no such file or folder; name a pprof file, a folder that the agent writes, or an http(s) URL")]
    Missing,
    /// The system refuses to read it.
    #[error("cannot be read: {0}")]
    Io(#[from] std::io::Error),
    /// Not a profile.
    #[error("{0}")]
    Decode(#[from] DecodeError),
    /// A profile whose tables do not fit each other.
    #[error("the profile is inconsistent: {0}")]
    Invalid(#[from] Invalid),
    /// A profile that cannot be added to the others.
    #[error("{0}")]
    Merge(#[from] MergeError),
    /// A folder without profiles.
    #[error("the folder holds no profiles (*.pb.gz); is it the one that `profiler agent -o` names?")]
    EmptyFolder,
    /// All files of a folder are broken.
    #[error("none of its {files} profiles could be read")]
    AllBroken {
        /// How many files there are.
        files: u64,
    },
    /// Everything lies outside `--since` and `--until`.
    #[error("no profile starts in the time between --since and --until (UTC)")]
    OutsideTime,
    /// The server could not be asked, or broke off.
    #[error("cannot be fetched: {0}; is the address right and the server up?")]
    Fetch(String),
    /// The server refuses.
    #[error("the server answers {status}{text}")]
    Status {
        /// Status code of HTTP.
        status: u16,
        /// What the server says about it, after a colon; empty unless it is a pprof endpoint.
        text: String,
    },
}

impl SourceError {
    /// True where the source is not there or holds nothing, rather than being broken: the command could not start.
    #[must_use]
    pub fn is_missing(&self) -> bool {
        match &self.problem {
            Problem::Missing | Problem::EmptyFolder | Problem::OutsideTime | Problem::Fetch(_) => true,
            Problem::Io(_)
            | Problem::Decode(_)
            | Problem::Invalid(_)
            | Problem::Merge(_)
            | Problem::AllBroken { .. }
            | Problem::Status { .. } => false,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn urls_are_told_from_paths() {
        assert_eq!(Source::new("a.pb.gz"), Source::Path("a.pb.gz".into()));
        assert_eq!(Source::new("http"), Source::Path("http".into()));
        assert_eq!(Source::new("HTTP://h/p"), Source::Url("HTTP://h/p".into()));
        assert_eq!(Source::new("https://me:secret@h/p").to_string(), "https://me@h/p");
    }
}
