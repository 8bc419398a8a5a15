//! Golden stacks: registers and memory of a real thread, the rules for its code, and the stack that comes of them.
//!
//! A [`Snapshot`] is a file in `tests/golden`. [`Replay`] walks it on any host, without the programs; [`record`] makes
//! one. `docs/testing.md` tells what is in it.

pub mod live;
pub mod programs;
pub mod record;
pub mod replay;
mod rule;
pub mod stopped;

use std::collections::BTreeMap;
use std::fmt;
use std::ops::Range;
use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};

pub use replay::Replay;

/// The general registers by their DWARF numbers (System V ABI AMD64, figure 3.36).
pub const REGISTERS: [&str; 16] = [
    "rax", "rdx", "rcx", "rbx", "rsi", "rdi", "rbp", "rsp", "r8", "r9", "r10", "r11", "r12", "r13", "r14",
    "r15",
];

/// A number that is written in hexadecimal.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct Hex(pub u64);

impl From<Hex> for String {
    fn from(hex: Hex) -> String {
        format!("{:#x}", hex.0)
    }
}

impl TryFrom<String> for Hex {
    type Error = String;

    fn try_from(text: String) -> Result<Hex, String> {
        parse_hex(&text).map(Hex).ok_or_else(|| format!("{text:?} is no hexadecimal number"))
    }
}

fn parse_hex(text: &str) -> Option<u64> {
    u64::from_str_radix(text.strip_prefix("0x")?, 16).ok()
}

/// One recorded stack.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Snapshot {
    /// What it is a stack of.
    pub description: String,
    /// As in `uname -m`.
    pub architecture: String,
    /// Whether the thread was in a system call, which its pc is then behind.
    pub in_system_call: bool,
    /// The program counter.
    pub pc: Hex,
    /// By the names of [`REGISTERS`].
    pub registers: BTreeMap<String, Hex>,
    /// The memory that the walk needs, and what lies between.
    pub memory: Vec<Zone>,
    /// The executable mappings that the walk meets.
    pub mappings: Vec<Mapped>,
    /// `<address> <object>+<own address> <function>`, leaf first. Addresses are those that the kernel side keeps.
    pub frames: Vec<String>,
    /// Name of the outcome.
    pub outcome: String,
    /// What becomes of the walk where some of the memory cannot be read.
    pub faults: Vec<Fault>,
}

/// A range of memory.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Zone {
    /// First address.
    pub start: Hex,
    /// First address behind.
    pub end: Hex,
    /// Up to four words from an address on; what is in no line is zero.
    pub words: BTreeMap<Hex, String>,
}

/// An executable mapping.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Mapped {
    /// File name of the object, or its name in brackets.
    pub object: String,
    /// First address.
    pub start: Hex,
    /// First address behind.
    pub end: Hex,
    /// What is added (wrapping) to an address to get the object's own.
    pub delta: Hex,
    /// Whether it is walked along frame pointers rather than by rules.
    pub frame_pointers: bool,
    /// The rules that the walk needs, by the object's own addresses: `<start>..<end>`.
    pub rules: BTreeMap<String, String>,
}

/// A variant of the snapshot in which some memory cannot be read.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Fault {
    /// What is missing.
    pub what: String,
    /// The addresses that cannot be read, `<start>..<end>`. The walk has to ask for each of the ranges.
    pub unreadable: Vec<String>,
    /// How many of the snapshot's frames are kept, from the leaf on.
    pub frames: usize,
    /// Address of the last one of them. That of a signal's frame is one lower than in the snapshot where what the
    /// signal interrupted cannot be read.
    pub last: Hex,
    /// Name of the outcome.
    pub outcome: String,
}

impl Fault {
    /// The addresses that cannot be read.
    pub fn ranges(&self) -> Vec<Range<u64>> {
        let range =
            |text: &String| parse_range(text).unwrap_or_else(|| panic!("{text:?} is no range of addresses"));
        self.unreadable.iter().map(range).collect()
    }
}

/// A range of addresses as text.
pub(crate) fn range_text(range: &Range<u64>) -> String {
    format!("{:#x}..{:#x}", range.start, range.end)
}

/// Reads back what [`range_text`] wrote.
pub(crate) fn parse_range(text: &str) -> Option<Range<u64>> {
    let (start, end) = text.split_once("..")?;
    Some(parse_hex(start)?..parse_hex(end)?)
}

impl Snapshot {
    /// Reads a snapshot.
    pub fn read(path: &Path) -> Snapshot {
        let text =
            std::fs::read_to_string(path).unwrap_or_else(|e| panic!("cannot read {}: {e}", path.display()));
        serde_json::from_str(&text).unwrap_or_else(|e| panic!("{}: {e}", path.display()))
    }

    /// The snapshot as the text of its file.
    pub fn text(&self) -> String {
        serde_json::to_string_pretty(self).unwrap() + "\n"
    }
}

impl fmt::Display for Snapshot {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(f, "{}: {}", self.description, self.outcome)?;
        self.frames.iter().try_for_each(|frame| writeln!(f, "  {frame}"))
    }
}

/// Where the snapshots are.
pub fn folder() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("golden")
}

/// All snapshots with their names.
pub fn all() -> Vec<(String, Snapshot)> {
    let entries = std::fs::read_dir(folder()).unwrap_or_else(|e| panic!("no folder of golden stacks: {e}"));
    let mut paths: Vec<PathBuf> = entries.map(|entry| entry.unwrap().path()).collect();
    paths.sort();
    let name = |path: &PathBuf| path.file_stem().unwrap_or_default().to_string_lossy().into_owned();
    paths.iter().map(|path| (name(path), Snapshot::read(path))).collect()
}
