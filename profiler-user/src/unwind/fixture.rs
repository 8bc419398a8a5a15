//! Small ELF files for tests, and tables that no kernel reads.

use std::{
    fs::File,
    io::{self, Write},
};

use profiler_common::{layout::ProcessKey, unwind::pool::ProcessTable};

use super::{Kernel, Tables, Words, cfi::Dialect};

/// Words that nobody shares.
pub(crate) struct Memory(Vec<u64>);

impl Words for Memory {
    fn load(&self, index: usize) -> u64 {
        self.0[index]
    }

    fn store(&mut self, index: usize, value: u64) {
        self.0[index] = value;
    }
}

/// A kernel side that takes everything.
pub(crate) struct NoKernel;

impl Kernel for NoKernel {
    fn set_process(&mut self, _: &ProcessKey, _: &ProcessTable) -> io::Result<()> {
        Ok(())
    }

    fn remove_process(&mut self, _: &ProcessKey) {}

    fn wait(&mut self) {}
}

/// Empty tables in a pool of a MiB.
pub(crate) fn tables() -> Tables<Memory, NoKernel> {
    let words = || Memory(vec![0; (1 << 20) / 8]);
    Tables::new(words(), 1 << 20, words(), NoKernel)
}

/// A segment: type, flags, address, content.
pub(super) struct Segment(pub(super) u32, pub(super) u32, pub(super) u64, pub(super) Vec<u8>);

/// A section: name, type, flags, address, content, link.
pub(super) struct Section(
    pub(super) &'static str,
    pub(super) u32,
    pub(super) u64,
    pub(super) u64,
    pub(super) Vec<u8>,
    pub(super) u32,
);

impl Section {
    /// An ordinary section.
    pub(super) fn plain(name: &'static str, address: u64, content: Vec<u8>) -> Self {
        Self(name, 1, 0, address, content, 0)
    }
}

/// Executable code of some bytes.
pub(super) fn code(address: u64, size: usize) -> Segment {
    Segment(1, 5, address, vec![0x90; size])
}

/// A file; without sections it has no section headers either.
pub(super) fn elf(segments: &[Segment], sections: &[Section]) -> Vec<u8> {
    let mut content = Vec::new();
    let first = 64 + 56 * segments.len();
    let mut program_headers = Vec::new();
    for Segment(kind, flags, address, bytes) in segments {
        let offset = (first + content.len()) as u64;
        program_headers.extend([kind.to_le_bytes(), flags.to_le_bytes()].concat());
        for word in [offset, *address, *address, bytes.len() as u64, bytes.len() as u64, 1] {
            program_headers.extend(word.to_le_bytes());
        }
        content.extend(bytes);
    }
    let mut section_headers = Vec::new();
    if !sections.is_empty() {
        let mut names = vec![0];
        let mut header =
            |name: u32, kind: u32, flags: u64, address: u64, place: (usize, usize), link: u32| {
                section_headers.extend([name.to_le_bytes(), kind.to_le_bytes()].concat());
                for word in [flags, address, place.0 as u64, place.1 as u64] {
                    section_headers.extend(word.to_le_bytes());
                }
                section_headers.extend([link.to_le_bytes(), [0; 4]].concat());
                section_headers.extend([0; 16]);
            };
        header(0, 0, 0, 0, (0, 0), 0);
        for Section(name, kind, flags, address, bytes, link) in sections {
            header(names.len() as u32, *kind, *flags, *address, (first + content.len(), bytes.len()), *link);
            names.extend(name.as_bytes());
            names.push(0);
            content.extend(bytes);
        }
        header(0, 3, 0, 0, (first + content.len(), names.len()), 0);
        content.extend(names);
    }
    let mut file = b"\x7fELF\x02\x01\x01".to_vec();
    file.resize(16, 0);
    file.extend([3_u16.to_le_bytes(), 62_u16.to_le_bytes(), [1, 0], [0, 0]].concat());
    let section_headers_at = if sections.is_empty() { 0 } else { first + content.len() };
    for word in [0, 64, section_headers_at as u64] {
        file.extend(word.to_le_bytes());
    }
    let count = section_headers.len() / 64;
    let numbers = [0, 0, 64, 56, segments.len(), 64, count, count.saturating_sub(1)];
    file.extend(numbers.iter().flat_map(|&number| (number as u16).to_le_bytes()));
    [file, program_headers, content, section_headers].concat()
}

/// The file with some bytes.
pub(super) fn file(bytes: &[u8]) -> File {
    let mut file = tempfile::tempfile().unwrap();
    file.write_all(bytes).unwrap();
    file
}

/// Call-frame information of functions (start, length, instructions), whose rule at the start is that after a call;
/// and the places of their frame descriptions.
pub(super) fn frames(dialect: Dialect, functions: &[(u64, u64, &[u8])]) -> (Vec<u8>, Vec<u64>) {
    let record = |bytes: &mut Vec<u8>, body: &[u8]| {
        bytes.extend((body.len() as u32).to_le_bytes());
        bytes.extend(body);
    };
    let mut bytes = Vec::new();
    let cie: &[u8] = match dialect {
        Dialect::EhFrame => &[0, 0, 0, 0, 1, b'z', b'R', 0, 1, 0x78, 16, 1, 0, 0x0c, 7, 8, 0x90, 1],
        Dialect::DebugFrame => &[255, 255, 255, 255, 4, 0, 8, 0, 1, 0x78, 16, 0x0c, 7, 8, 0x90, 1],
    };
    record(&mut bytes, cie);
    let mut places = Vec::new();
    for (start, length, instructions) in functions {
        places.push(bytes.len() as u64);
        let id = if dialect == Dialect::EhFrame { bytes.len() as u32 + 4 } else { 0 };
        let mut body = [&id.to_le_bytes()[..], &start.to_le_bytes(), &length.to_le_bytes()].concat();
        if dialect == Dialect::EhFrame {
            body.push(0);
        }
        body.extend(*instructions);
        record(&mut bytes, &body);
    }
    bytes.extend([0; 4]);
    (bytes, places)
}

/// A header at an address, for .eh_frame at another and entries of start and place.
pub(super) fn header(address: u64, eh_frame: u64, entries: &[(u64, u64)]) -> Vec<u8> {
    let relative = |to: u64, from: u64| (to.wrapping_sub(from) as u32).to_le_bytes();
    let mut bytes = vec![1, 0x1b, 3, 0x3b];
    bytes.extend(relative(eh_frame, address + 4));
    bytes.extend((entries.len() as u32).to_le_bytes());
    for &(start, place) in entries {
        bytes.extend(relative(start, address));
        bytes.extend(relative(eh_frame + place, address));
    }
    bytes
}
