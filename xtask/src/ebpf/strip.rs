//! Removing DWARF from the linked object.
//!
//! bpf-linker keeps the debug sections it made BTF from. Nothing reads them, and they are four fifths of the file.

use anyhow::Result;
use object::build::elf::{Builder, SectionData};
use object::elf;

const SECTION_NAMES: &[u8] = b".shstrtab";

/// The same ELF file without its `.debug_*` sections and what refers to them. BTF, programs, maps, their symbols and
/// relocations stay.
pub(super) fn without_debug_sections(elf: &[u8]) -> Result<Vec<u8>> {
    let mut builder = Builder::read(elf)?;
    for section in &mut builder.sections {
        let name = section.name.as_slice();
        if name.starts_with(b".debug_") || name.starts_with(b".rel.debug_") {
            section.delete = true;
        }
    }
    // Symbols that stood for the deleted sections.
    builder.delete_orphans();
    // LLVM keeps the names of sections and symbols in one table; the builder writes two.
    if !builder.sections.iter().any(|section| section.name.as_slice() == SECTION_NAMES) {
        let names = builder.sections.add();
        names.name = SECTION_NAMES.into();
        names.sh_type = elf::SHT_STRTAB;
        names.sh_addralign = 1;
        names.data = SectionData::SectionString;
    }
    let mut stripped = Vec::new();
    builder.write(&mut stripped)?;
    Ok(stripped)
}
