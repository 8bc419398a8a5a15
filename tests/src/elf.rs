//! Facts about a built program, read from its file.

use std::collections::BTreeMap;
use std::ops::Range;
use std::path::Path;

use object::read::elf::{ElfFile64, FileHeader, ProgramHeader};
use object::{Endianness, Object, ObjectSection, ObjectSymbol, SymbolKind, elf};

/// A loadable segment with code: where it is in the file and where it goes in memory, bytes.
#[derive(Debug, Clone, Copy)]
pub struct CodeSegment {
    /// Offset in the file.
    pub offset: u64,
    /// Virtual address that the linker gave it.
    pub vaddr: u64,
    /// Length in the file.
    pub size: u64,
}

impl CodeSegment {
    /// The linker's address of the byte at `offset` in the file.
    pub fn vaddr_of(&self, offset: u64) -> u64 {
        offset - self.offset + self.vaddr
    }
}

/// The executable segments of an ELF file.
pub fn code_segments(path: &Path) -> Vec<CodeSegment> {
    with_file(path, |file| {
        let endian = file.endian();
        let headers = file.elf_header().program_headers(endian, file.data()).unwrap();
        headers
            .iter()
            .filter(|h| h.p_type(endian) == elf::PT_LOAD && h.p_flags(endian).contains(elf::PF_X))
            .map(|h| CodeSegment {
                offset: h.p_offset(endian),
                vaddr: h.p_vaddr(endian),
                size: h.p_filesz(endian),
            })
            .collect()
    })
}

/// Asserts that the code of `path` lies at another address than its offset in the file, as lld links it: the case in
/// which "start minus offset" is the wrong load bias.
pub fn assert_vaddr_differs_from_offset(path: &Path) {
    let segments = code_segments(path);
    assert!(
        !segments.is_empty() && segments.iter().all(|s| s.vaddr != s.offset),
        "{} was meant to have p_vaddr != p_offset, but has {segments:x?}",
        path.display()
    );
}

/// The build-id in lowercase hexadecimal, where there is one.
pub fn build_id(path: &Path) -> Option<String> {
    with_file(path, |file| {
        file.build_id().unwrap().map(|id| id.iter().map(|byte| format!("{byte:02x}")).collect())
    })
}

/// How many symbols the static symbol table has; 0 in a stripped file.
pub fn symbol_count(path: &Path) -> usize {
    with_file(path, |file| file.symbols().filter(|symbol| symbol.name().is_ok_and(|n| !n.is_empty())).count())
}

/// Where in the file the program's first instruction is, bytes.
pub fn entry_offset(path: &Path) -> u64 {
    let entry = with_file(path, |file| file.entry());
    let segments = code_segments(path);
    let segment = segments.iter().find(|s| (s.vaddr..s.vaddr + s.size).contains(&entry));
    let segment = segment.unwrap_or_else(|| panic!("{}: no code at the entry point", path.display()));
    entry - segment.vaddr + segment.offset
}

/// Where in the file the sections are whose names begin with `prefix`, bytes.
pub fn sections(path: &Path, prefix: &str) -> Vec<Range<u64>> {
    with_file(path, |file| {
        let named = file.sections().filter(|s| s.name().is_ok_and(|name| name.starts_with(prefix)));
        named.filter_map(|s| s.file_range()).map(|(start, size)| start..start + size).collect()
    })
}

/// The functions of an unstripped file: the code and the name at each offset of a stripped copy of it.
#[derive(Debug)]
pub struct Functions {
    /// By start in the file: size in bytes and name.
    by_offset: BTreeMap<u64, (u64, String)>,
    bytes: Vec<u8>,
}

impl Functions {
    /// The functions in the static symbol table.
    pub fn of(path: &Path) -> Functions {
        Functions::with_debug(path, path)
    }

    /// The functions of the file `path` by the symbol table of its debug file.
    pub fn with_debug(path: &Path, debug: &Path) -> Functions {
        let segments = code_segments(path);
        let by_offset = with_file(debug, |file| {
            let mut by_offset = BTreeMap::new();
            for symbol in file.symbols().filter(|s| s.kind() == SymbolKind::Text) {
                let (start, Ok(name)) = (symbol.address(), symbol.name()) else { continue };
                let within = |s: &&CodeSegment| (s.vaddr..s.vaddr + s.size).contains(&start);
                if let Some(segment) = segments.iter().find(within) {
                    // The end of `_start` and of other assembly is not always told.
                    let size = symbol.size().max(1);
                    by_offset.insert(start - segment.vaddr + segment.offset, (size, name.to_owned()));
                }
            }
            by_offset
        });
        let bytes = std::fs::read(path).unwrap_or_else(|e| panic!("cannot read {}: {e}", path.display()));
        Functions { by_offset, bytes }
    }

    /// The function whose code is at this offset of the file.
    pub fn at(&self, offset: u64) -> Option<&str> {
        let (start, (size, name)) = self.by_offset.range(..=offset).next_back()?;
        (offset < start + size).then_some(name)
    }

    /// Where in the file a function begins.
    pub fn offset(&self, name: &str) -> Option<u64> {
        self.by_offset.iter().find(|(_, (_, n))| n == name).map(|(&start, _)| start)
    }

    /// The machine code of a function.
    pub fn code(&self, name: &str) -> Option<&[u8]> {
        let (start, (size, _)) = self.by_offset.iter().find(|(_, (_, n))| n == name)?;
        let start = usize::try_from(*start).ok()?;
        self.bytes.get(start..start + usize::try_from(*size).ok()?)
    }
}

fn with_file<T>(path: &Path, f: impl FnOnce(&ElfFile64<'_, Endianness>) -> T) -> T {
    let bytes = std::fs::read(path).unwrap_or_else(|e| panic!("cannot read {}: {e}", path.display()));
    let file = ElfFile64::parse(&*bytes).unwrap_or_else(|e| panic!("{}: {e}", path.display()));
    f(&file)
}
