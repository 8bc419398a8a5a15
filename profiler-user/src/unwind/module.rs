//! Where a Go program's code begins, which its table of functions counts from.

use std::{fs::File, sync::Arc};

use super::{Result, bytes::Bytes, cursor::Cursor, elf::Elf, elf::Part};

/// Place of `text` in `runtime.moduledata` (runtime/symtab.go), the same since Go 1.16: behind a pointer to the table of
/// functions, six slices, and three more addresses.
const TEXT_AT: u64 = 8 * (1 + 6 * 3 + 3);
/// Bytes of relocations that are looked at; a program of 100 MB of code has some 20 MiB.
const MOST_RELOCATION_BYTES: u64 = 64 << 20;
const RELOCATION_BYTES: u64 = 24;

/// The address of the first function, `runtime.text`; `written` is what the table of functions itself says, which since
/// Go 1.26 is nothing.
///
/// The start of .text will not do: with cgo, the C library's startup code comes first.
pub(super) fn text_start(
    file: &Arc<File>,
    elf: &Elf,
    pclntab: &Part,
    written: Option<u64>,
) -> Result<Option<u64>> {
    let is_code = |address: &u64| elf.code.iter().any(|code| code.contains(address));
    if let Some(start) = written.filter(is_code) {
        return Ok(Some(start));
    }
    if let Some(module) = &elf.go_module {
        let mut bytes = Bytes::of_file(file, module.offset, module.size);
        bytes.allow(1 << 20);
        let start = Cursor::new(bytes.read_up_to(TEXT_AT, 8)?, 0).u64();
        if let Some(start) = start.filter(is_code) {
            return Ok(Some(start));
        }
    }
    // In a position-independent program that a C linker made, only the relocations say what will be there.
    Ok(relocated(file, elf, pclntab)?.filter(is_code))
}

/// `text` as it will be once the program is relocated: the description of the program is what points to the table of
/// functions, and linkers sort relocations by place.
fn relocated(file: &Arc<File>, elf: &Elf, pclntab: &Part) -> Result<Option<u64>> {
    let Some(relocations) = &elf.relocations else {
        return Ok(None);
    };
    let size = relocations.size.min(MOST_RELOCATION_BYTES);
    let mut bytes = Bytes::of_file(file, relocations.offset, size);
    bytes.allow(2 * MOST_RELOCATION_BYTES);
    let mut text_at = None;
    for index in 0..size / RELOCATION_BYTES {
        let mut cursor = Cursor::new(bytes.read(index * RELOCATION_BYTES, RELOCATION_BYTES as usize)?, 0);
        let (Some(place), Some(kind), Some(value)) = (cursor.u64(), cursor.u64(), cursor.u64()) else {
            continue;
        };
        if kind != elf.arch.relative_relocation() {
            continue;
        }
        if text_at == Some(place) {
            return Ok(Some(value));
        }
        if value == pclntab.address {
            text_at = place.checked_add(TEXT_AT);
        }
    }
    Ok(None)
}
