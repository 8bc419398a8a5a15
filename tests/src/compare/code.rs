//! Which function the code at an offset of a file belongs to.

use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;

use object::read::elf::ElfFile64;
use object::{Endianness, Object, ObjectSection, ObjectSymbol, SymbolKind};

use crate::elf::{self, CodeSegment};

/// Where a frame's code lies.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Place {
    /// Path of the file; something else for code that is in none.
    pub object: String,
    /// Offset in the file, bytes.
    pub offset: u64,
    /// What the tool calls the function; empty or `[unknown]` where it has no name.
    pub name: String,
}

/// A function by where it begins: one text whoever asks. Code that a program made at run time is all one function.
pub type Function = String;

/// Functions of files, read once.
#[derive(Debug, Default)]
pub struct Code {
    objects: BTreeMap<String, Option<Functions>>,
}

/// Starts of functions in a file.
#[derive(Debug)]
struct Functions {
    /// Offsets in the file.
    starts: BTreeSet<u64>,
}

impl Code {
    /// The function at a place.
    pub fn function(&mut self, place: &Place) -> Function {
        let path = Path::new(&place.object);
        let functions = self.objects.entry(place.object.clone()).or_insert_with(|| {
            let is_file = path.is_absolute() && path.is_file();
            is_file.then(|| Functions::read(path)).flatten()
        });
        let file = path.file_name().unwrap_or_default().to_string_lossy();
        match functions {
            Some(functions) => format!("{file}+{:#x}", functions.start(place.offset)),
            None if place.object == "[vdso]" => "[vdso]".to_owned(),
            None => "[generated]".to_owned(),
        }
    }
}

impl Functions {
    /// `None` for what is no ELF file, such as perf's map of generated code.
    fn read(path: &Path) -> Option<Functions> {
        let bytes = std::fs::read(path).ok()?;
        let file = ElfFile64::<Endianness>::parse(&*bytes).ok()?;
        let segments = elf::code_segments(path);
        let offset = |address: u64| {
            let within = |s: &&CodeSegment| (s.vaddr..s.vaddr + s.size).contains(&address);
            segments.iter().find(within).map(|segment| address - segment.vaddr + segment.offset)
        };
        let symbols = file.symbols().chain(file.dynamic_symbols()).filter(|s| s.kind() == SymbolKind::Text);
        let addresses = described(&file).into_iter().chain(symbols.map(|symbol| symbol.address()));
        Some(Functions { starts: addresses.filter_map(offset).collect() })
    }

    /// Where the function with this offset begins.
    fn start(&self, offset: u64) -> u64 {
        self.starts.range(..=offset).next_back().copied().unwrap_or(0)
    }
}

/// Addresses of the functions that `.eh_frame_hdr` has, in the form that linkers write: a table of signed 32-bit
/// offsets from the section (Linux Standard Base, "Exception Frames").
fn described(file: &ElfFile64<'_, Endianness>) -> Vec<u64> {
    const TABLE: [u8; 4] = [1, 0x1b, 0x03, 0x3b];
    let Some(section) = file.section_by_name(".eh_frame_hdr") else { return Vec::new() };
    let Ok(bytes) = section.data() else { return Vec::new() };
    if !bytes.starts_with(&TABLE) {
        return Vec::new();
    }
    let entries = bytes.get(12..).unwrap_or_default().chunks_exact(8);
    let start = |entry: &[u8]| {
        let offset = i32::from_ne_bytes([entry[0], entry[1], entry[2], entry[3]]);
        section.address().wrapping_add_signed(i64::from(offset))
    };
    entries.map(start).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_byte_of_a_function_is_the_same_function() {
        let path = std::env::current_exe().unwrap();
        let object = path.to_str().unwrap().to_owned();
        let mut code = Code::default();
        let mut at = |offset| code.function(&Place { object: object.clone(), offset, name: String::new() });
        let entry = elf::entry_offset(&path);
        assert_eq!(at(entry), at(entry + 8));
        assert_ne!(at(entry), at(entry - 1));
    }

    #[test]
    fn code_without_a_file_is_generated() {
        let place = Place { object: "[anon]".to_owned(), offset: 7, name: String::new() };
        assert_eq!(Code::default().function(&place), "[generated]");
    }
}
