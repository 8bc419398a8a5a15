//! Unwind tables from the call-frame information in ELF files.
//!
//! Compilers describe for every instruction how to get from a function's registers to its caller's (DWARF 5, section
//! 6.4; Linux Standard Base Core 5.0, section 10.6). [`Table`] reads that from a file and turns it into rows of
//! [rules](profiler_common::unwind::rule::Rule), one page of code at a time: a process runs little of its code, and
//! large files have millions of rows.
//!
//! Files belong to whoever runs them and may change while they are read. So everything is read by pread and nothing
//! mapped (a file that is cut short would kill the agent with SIGBUS), every size is checked, and work and memory are
//! bounded whatever a file says. What cannot be understood becomes a rule that says so.

mod arch;
mod bytes;
mod cfi;
mod cursor;
mod depth;
mod elf;
mod execute;
mod expression;
mod extents;
#[cfg(test)]
pub(crate) mod fixture;
mod frames;
mod gaps;
mod go;
mod header;
mod memory;
mod module;
mod pclntab;
mod pointer;
mod source;
mod state;
mod steps;
mod store;
mod table;
mod tables;
pub mod walk;

use std::io;

pub use arch::Arch;
pub use memory::Words;
pub use pclntab::names::{GoFunction, GoNames};
pub use store::{FolderError, Store, StoreFigures};
pub use table::Table;
pub use tables::{Figures, Kernel, Tables};

/// Why there are no rows.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// Reading failed.
    #[error("the file cannot be read ({0})")]
    Read(#[from] io::Error),
    /// It is something else.
    #[error("the file is no 64-bit ELF file for {}", std::env::consts::ARCH)]
    NotElf,
    /// There is nothing to unwind.
    #[error("the file has no executable segment")]
    NoCode,
    /// The file contradicts itself or ends too early.
    #[error("the file's {0} cannot be understood")]
    Damaged(&'static str),
    /// Reading it all would cost too much.
    #[error("the file's {0} exceeds what one file may cost")]
    TooLarge(&'static str),
}

/// What a function here gives back.
pub(crate) type Result<T, E = Error> = std::result::Result<T, E>;
