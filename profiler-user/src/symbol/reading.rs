//! Questions about the contents of files, which strangers wrote. They are answered in this process ([`Reader`](super::reader::Reader)),
//! or in one that can do nothing else ([`Apart`](super::apart::Apart)).

use std::fs::File;

use super::Functions;

/// Where a file says that its debug information is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Link {
    /// Nowhere else.
    None,
    /// In a file of this name with this checksum (section .gnu_debuglink).
    To {
        /// Its name.
        name: String,
        /// CRC-32 of all of it.
        checksum: u32,
    },
    /// It cannot be told, but other readers may see one.
    Unclear,
}

/// What there is in a file.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Contents {
    /// Where more is.
    pub(super) link: Link,
    /// Bytes that reading its debug information may take; 0 where there is none.
    pub(super) debug_bytes: u64,
}

/// Why there is no answer.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub(super) enum Refusal {
    /// The same question may be answered a moment later: no memory was left, no descriptor, or the disk did not answer.
    #[error("{0}")]
    Passing(String),
    /// Reading it takes more memory than there is for it.
    #[error("there is not enough memory for it")]
    NoMemory,
    /// The file is such.
    #[error("{0}")]
    Lasting(String),
    /// The file made the reader panic.
    #[error("reading them ended in a panic")]
    Broken,
    /// The file ended the process that reads. There is another one now, which holds no file.
    #[error("reading them ended the process that reads")]
    Ended,
    /// The process that reads had ended before it was asked: somebody has ended it. There is another one now, which holds no file.
    #[error("the process that reads was ended")]
    Replaced,
    /// There is no process that reads, and there will be none.
    #[error("no process reads: {0}")]
    NobodyReads(String),
}

/// Who answers. Files have numbers, which are given once.
pub(super) trait Reading {
    /// Takes a file, to be asked about until it is forgotten.
    fn hold(&mut self, number: u64, file: &File) -> Result<Contents, Refusal>;

    /// The functions at these of its addresses, in their order, by its symbols; with `lines` also by its debug information.
    fn names(&mut self, number: u64, lines: bool, addresses: &[u64]) -> Result<Vec<Functions>, Refusal>;

    /// The same by Go's own table; `None` where it has none, or has symbols.
    fn go_names(&mut self, number: u64, addresses: &[u64]) -> Result<Option<Vec<Functions>>, Refusal>;

    /// CRC-32 of a whole file, as debug links have it; `None` of one that is too large.
    fn checksum(&mut self, file: &File) -> Result<Option<u32>, Refusal>;

    /// Lets go of a file and of what was parsed of it.
    fn forget(&mut self, number: u64) -> Result<(), Refusal>;

    /// Lets go of pages of files. They come again when they are looked at.
    fn release_pages(&mut self) -> Result<(), Refusal>;

    /// Gives free memory back.
    fn trim(&mut self) -> Result<(), Refusal>;
}
