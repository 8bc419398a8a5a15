//! Facts about a built program, read from its file.

use std::path::Path;

use object::read::elf::{ElfFile64, FileHeader, ProgramHeader};
use object::{Endianness, Object, ObjectSymbol, elf};

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

fn with_file<T>(path: &Path, f: impl FnOnce(&ElfFile64<'_, Endianness>) -> T) -> T {
    let bytes = std::fs::read(path).unwrap_or_else(|e| panic!("cannot read {}: {e}", path.display()));
    let file = ElfFile64::parse(&*bytes).unwrap_or_else(|e| panic!("{}: {e}", path.display()));
    f(&file)
}
