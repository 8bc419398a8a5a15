//! Where the functions are that a thread's stack begins with, for profilers that send addresses and no names.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::ops::Range;
use std::path::{Path, PathBuf};

use object::read::elf::ElfFile64;
use object::{Endianness, Object, ObjectSymbol};

use super::stacks::is_root;
use crate::elf;

/// `_start` has no size in many files, and no name in stripped ones; it is that long at most.
const START_LENGTH: u64 = 64;

/// Root functions by the name of their file, as offsets in it.
#[derive(Debug)]
pub struct Roots {
    places: BTreeMap<String, Vec<Range<u64>>>,
}

impl Roots {
    /// These.
    pub fn of<'a>(places: impl IntoIterator<Item = (&'a str, Vec<Range<u64>>)>) -> Roots {
        Roots { places: places.into_iter().map(|(file, ranges)| (file.to_owned(), ranges)).collect() }
    }

    /// Those of all files that have been mapped as code by a process of this host, some moments long.
    pub fn on_this_host() -> Roots {
        let mut files = BTreeSet::new();
        for moment in 0..5 {
            if moment > 0 {
                // A compiler that comes and goes is there at one moment and not at the other.
                std::thread::sleep(std::time::Duration::from_millis(200));
            }
            files.extend(mapped_files());
        }
        let mut places: BTreeMap<String, Vec<Range<u64>>> = BTreeMap::new();
        for file in files {
            let Some(name) = file.file_name() else { continue };
            places.entry(name.to_string_lossy().into_owned()).or_default().extend(roots_of(&file));
        }
        Roots { places }
    }

    /// Whether the byte at an offset of a file belongs to one.
    pub fn contain(&mut self, file: &str, offset: u64) -> bool {
        self.places.get(file).is_some_and(|ranges| ranges.iter().any(|range| range.contains(&offset)))
    }
}

fn mapped_files() -> BTreeSet<PathBuf> {
    let processes = fs::read_dir("/proc").into_iter().flatten().flatten();
    let maps = processes.filter_map(|process| fs::read_to_string(process.path().join("maps")).ok());
    let mut files = BTreeSet::new();
    for maps in maps {
        for line in maps.lines() {
            let is_code = line.split(' ').nth(1).is_some_and(|flags| flags.contains('x'));
            if let (true, Some(at)) = (is_code, line.find('/')) {
                files.insert(PathBuf::from(&line[at..]));
            }
        }
    }
    files
}

/// The root functions of a file: by its symbols, those of its debug file, and its entry point.
fn roots_of(path: &Path) -> Vec<Range<u64>> {
    let Ok(bytes) = fs::read(path) else { return Vec::new() };
    let Ok(file) = ElfFile64::<Endianness>::parse(&*bytes) else { return Vec::new() };
    let segments = elf::code_segments(path);
    let offset = |address: u64| {
        let segment = segments.iter().find(|s| (s.vaddr..s.vaddr + s.size).contains(&address))?;
        Some(address - segment.vaddr + segment.offset)
    };
    let mut addresses = named(&file);
    if let Some(debug) = debug_file(&file).and_then(|path| fs::read(path).ok())
        && let Ok(debug) = ElfFile64::<Endianness>::parse(&*debug)
    {
        addresses.extend(named(&debug));
    }
    if file.entry() != 0 {
        addresses.push((file.entry(), START_LENGTH));
    }
    addresses
        .into_iter()
        .filter_map(|(start, size)| Some((offset(start)?, size)))
        .map(|(at, size)| at..at + size)
        .collect()
}

/// Addresses and sizes of the symbols that name a root function.
fn named(file: &ElfFile64<'_, Endianness>) -> Vec<(u64, u64)> {
    let symbols = file.symbols().chain(file.dynamic_symbols());
    symbols
        .filter(|symbol| symbol.is_definition() && symbol.name().is_ok_and(is_root))
        .map(|symbol| (symbol.address(), if symbol.size() == 0 { START_LENGTH } else { symbol.size() }))
        .collect()
}

fn debug_file(file: &ElfFile64<'_, Endianness>) -> Option<PathBuf> {
    let id = file.build_id().ok()??;
    let hex: String = id.iter().map(|byte| format!("{byte:02x}")).collect();
    let (first, rest) = hex.split_at_checked(2)?;
    Some(PathBuf::from(format!("/usr/lib/debug/.build-id/{first}/{rest}.debug")))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_entry_of_this_program_is_a_root() {
        let path = std::env::current_exe().unwrap();
        let name = path.file_name().unwrap().to_str().unwrap();
        let mut roots = Roots::on_this_host();
        let entry = elf::entry_offset(&path);
        assert!(roots.contain(name, entry + 8));
        assert!(!roots.contain(name, entry + START_LENGTH));
        assert!(!roots.contain("another", entry));
    }
}
