//! Golden stacks: registers and memory of a real thread, the rules for its code, and the stack that comes of them.
//!
//! A [`Snapshot`] is a file in `tests/golden`. [`Replay`] walks it on any host, without the programs; [`record`] makes
//! one. `docs/testing.md` tells what is in it.

pub mod aarch64;
pub mod emulated;
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

use profiler_common::outcome::Outcome;
use profiler_common::unwind::{Aarch64, Architecture, Memory, X86_64};
use profiler_user::unwind::walk::{Lookup, Start, walk};
use serde::{Deserialize, Serialize};

pub use replay::Replay;

/// An architecture that stacks are recorded of.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Machine {
    /// 64-bit x86.
    X86_64,
    /// 64-bit Arm.
    Aarch64,
}

impl Machine {
    /// By its name, as in `uname -m`.
    pub fn named(name: &str) -> Option<Machine> {
        [Machine::X86_64, Machine::Aarch64].into_iter().find(|machine| machine.name() == name)
    }

    /// As in `uname -m`.
    pub fn name(self) -> &'static str {
        match self {
            Machine::X86_64 => "x86_64",
            Machine::Aarch64 => "aarch64",
        }
    }

    /// The general registers by their DWARF numbers (System V ABI AMD64, figure 3.36; DWARF for the Arm 64-bit Architecture,
    /// section 4.1).
    pub fn registers(self) -> &'static [&'static str] {
        match self {
            Machine::X86_64 => &[
                "rax", "rdx", "rcx", "rbx", "rsi", "rdi", "rbp", "rsp", "r8", "r9", "r10", "r11", "r12",
                "r13", "r14", "r15",
            ],
            Machine::Aarch64 => &[
                "x0", "x1", "x2", "x3", "x4", "x5", "x6", "x7", "x8", "x9", "x10", "x11", "x12", "x13",
                "x14", "x15", "x16", "x17", "x18", "x19", "x20", "x21", "x22", "x23", "x24", "x25", "x26",
                "x27", "x28", "x29", "x30", "sp",
            ],
        }
    }

    /// Number of the stack pointer.
    pub fn sp(self) -> usize {
        match self {
            Machine::X86_64 => X86_64::SP.into(),
            Machine::Aarch64 => Aarch64::SP.into(),
        }
    }

    /// Words of a signal's frame that hold the registers of what was interrupted.
    pub fn context_words(self) -> usize {
        match self {
            Machine::X86_64 => size_of::<<X86_64 as Architecture>::Context>() / 8,
            Machine::Aarch64 => size_of::<<Aarch64 as Architecture>::Context>() / 8,
        }
    }

    /// Whether calls leave the return address in a register, so that each rule says where it was saved.
    fn has_link(self) -> bool {
        self == Machine::Aarch64
    }
}

/// Where a walk sets out.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Beginning {
    /// What the code is for.
    pub machine: Machine,
    /// The program counter.
    pub pc: u64,
    /// In the order of [`Machine::registers`].
    pub registers: Vec<u64>,
    /// Whether the program counter is a return address.
    pub is_return: bool,
}

impl Beginning {
    /// Walks the stack by the step that the agent takes on that architecture.
    pub fn walk(&self, memory: &impl Memory, lookup: impl FnMut(u64) -> Lookup) -> (Vec<u64>, Outcome) {
        match self.machine {
            Machine::X86_64 => walk(self.start::<X86_64>(), memory, lookup),
            Machine::Aarch64 => walk(self.start::<Aarch64>(), memory, lookup),
        }
    }

    fn start<A: Architecture>(&self) -> Start<A> {
        let registers = A::General::try_from(&self.registers);
        let Ok(registers) = registers else {
            panic!("{} has other registers", self.machine.name());
        };
        Start { pc: self.pc, registers, is_return: self.is_return }
    }
}

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
    /// By the names of [`Machine::registers`].
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
