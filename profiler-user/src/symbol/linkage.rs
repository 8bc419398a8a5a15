//! Names of the entries of procedure linkage tables: `memcpy@plt`. No symbol stands for them, and the nearest one that has no
//! size, `_init` in most files, would be taken for theirs.

use std::{fs::File, ops::Range, sync::Arc};

use object::{
    Endianness, ReadCache, ReadRef, SymbolIndex,
    elf::{EM_AARCH64, EM_X86_64, FileHeader64, SHF_EXECINSTR, SHT_DYNSYM, SHT_NOBITS, SHT_RELA},
    read::elf::{FileHeader as _, Rela as _, SectionHeader as _, Sym as _},
};

use super::{Function, Functions};

/// Tables of a file; linkers make up to four.
const MOST_TABLES: usize = 8;
/// Bytes of a table of relocations or symbols that is looked through.
const MOST_BYTES: u64 = 4 << 20;
/// Bytes of an entry at the most, with a landing pad and a signature that is checked.
const MOST_ENTRY: u64 = 24;

/// The linkage tables of a file.
#[derive(Debug, Default)]
pub(super) struct Linkage {
    tables: Vec<Table>,
    is_aarch64: bool,
}

/// A linkage table: its addresses, its place in the file, if it is there, and the bytes of an entry on x86_64.
#[derive(Debug)]
struct Table {
    addresses: Range<u64>,
    place: Option<u64>,
    entry: u64,
}

/// What an entry leads to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Target {
    /// The relocation that fills the slot at this address.
    Slot(u64),
    /// The relocation with this number.
    Number(u32),
}

impl Linkage {
    /// Those of a file; none where it has none, or is no ELF file.
    pub(super) fn of(file: &File) -> Self {
        Self::read(file).unwrap_or_default()
    }

    fn read(file: &File) -> object::Result<Self> {
        let cache = ReadCache::new(file);
        let header = FileHeader64::<Endianness>::parse(&cache)?;
        let endian = header.endian()?;
        let machine = header.e_machine(endian);
        let mut found = Self { tables: Vec::new(), is_aarch64: machine == EM_AARCH64 };
        if machine != EM_X86_64 && machine != EM_AARCH64 {
            return Ok(found);
        }
        let sections = header.sections(endian, &cache)?;
        for section in sections.iter() {
            let name = sections.section_name(endian, section).unwrap_or_default();
            let is_code = section.sh_flags(endian).contains(SHF_EXECINSTR);
            if !is_code || ![&b".plt"[..], b".plt.sec", b".plt.got", b".iplt"].contains(&name) {
                continue;
            }
            let start = section.sh_addr(endian);
            let Some(end) = start.checked_add(section.sh_size(endian)) else { continue };
            if found.tables.len() < MOST_TABLES {
                let is_there = section.sh_type(endian) != SHT_NOBITS;
                let place = is_there.then(|| section.sh_offset(endian));
                let entry = if section.sh_entsize(endian) == 8 { 8 } else { 16 };
                found.tables.push(Table { addresses: start..end, place, entry });
            }
        }
        Ok(found)
    }

    /// Gives addresses in the tables their names, or none: that of a symbol is not theirs.
    pub(super) fn name(&self, file: &File, addresses: &[u64], named: &mut [Functions]) {
        for (&address, functions) in addresses.iter().zip(named) {
            let Some(table) = self.tables.iter().find(|table| table.addresses.contains(&address)) else {
                continue;
            };
            let name = self.name_in(table, file, address).ok().flatten();
            let function = name.map(|name| Function { name, file: String::new(), line: 0 });
            *functions = function.into_iter().collect::<Arc<[_]>>();
        }
    }

    fn name_in(&self, table: &Table, file: &File, address: u64) -> object::Result<Option<String>> {
        let cache = ReadCache::new(file);
        let Some(target) = self.target(table, &cache, address) else {
            return Ok(None);
        };
        let header = FileHeader64::<Endianness>::parse(&cache)?;
        let endian = header.endian()?;
        let sections = header.sections(endian, &cache)?;
        let tables = sections.iter().filter(|section| {
            let name = sections.section_name(endian, section).unwrap_or_default();
            section.sh_type(endian) == SHT_RELA
                && section.sh_size(endian) <= MOST_BYTES
                // Slots of functions whose address is taken, too, are filled by relocations of the other kind.
                && (name == b".rela.plt" || (name == b".rela.dyn" && matches!(target, Target::Slot(_))))
        });
        let mut symbol = None;
        for table in tables {
            let Some((relocations, _)) = table.rela(endian, &cache)? else { continue };
            let relocation = match target {
                Target::Slot(slot) => {
                    relocations.iter().find(|relocation| relocation.r_offset(endian) == slot)
                }
                Target::Number(number) => relocations.get(number as usize),
            };
            symbol = symbol.or(relocation.map(|relocation| relocation.r_sym(endian, false)));
        }
        let Some(symbol) = symbol.filter(|&symbol| symbol != 0) else {
            return Ok(None);
        };
        let is_too_large = |section: &object::elf::SectionHeader64<Endianness>| {
            section.sh_type(endian) == SHT_DYNSYM && section.sh_size(endian) > MOST_BYTES
        };
        if sections.iter().any(is_too_large) {
            return Ok(None);
        }
        let symbols = sections.symbols(endian, &cache, SHT_DYNSYM)?;
        let name = symbols.symbol(SymbolIndex(symbol as usize))?.name(endian, symbols.strings())?;
        let name = str::from_utf8(name).ok().filter(|name| !name.is_empty());
        Ok(name.map(|name| format!("{}@plt", demangled(name))))
    }

    /// Where the entry at this address leads, by its instructions.
    fn target(&self, table: &Table, cache: &ReadCache<&File>, address: u64) -> Option<Target> {
        let Range { start, end } = table.addresses;
        // An entry's first byte, or where it is at the earliest.
        let from = if self.is_aarch64 {
            address.saturating_sub(MOST_ENTRY - 4).max(start)
        } else {
            address - (address - start) % table.entry
        };
        let bytes = end.checked_sub(from)?.min(2 * MOST_ENTRY);
        let place = table.place?.checked_add(from - start)?;
        let code = cache.read_bytes_at(place, bytes).ok()?;
        if self.is_aarch64 { aarch64_target(code, from, address) } else { x86_64_target(code, from) }
    }
}

/// The target of an entry that begins at `start` (System V ABI AMD64, 5.2; with landing pads: binutils, bfd/elfxx-x86.c).
fn x86_64_target(code: &[u8], start: u64) -> Option<Target> {
    const LANDING_PAD: &[u8] = &[0xf3, 0x0f, 0x1e, 0xfa];
    let number = |bytes: &[u8]| bytes.first_chunk().map(|&bytes| u32::from_le_bytes(bytes));
    let rest = code.strip_prefix(LANDING_PAD).unwrap_or(code);
    // A prefix that MPX gave a meaning.
    let rest = rest.strip_prefix(&[0xf2]).unwrap_or(rest);
    match rest {
        // jmp *slot(%rip)
        [0xff, 0x25, slot @ ..] => {
            let next = start + (code.len() - rest.len()) as u64 + 6;
            Some(Target::Slot(next.wrapping_add_signed(i64::from(number(slot)?.cast_signed()))))
        }
        // push $number, where the jump is in a table of its own
        [0x68, pushed @ ..] => number(pushed).map(Target::Number),
        _ => None,
    }
}

/// The target of the entry that `address` is in; `code` begins at `start`, with this entry or one before it.
fn aarch64_target(code: &[u8], start: u64, address: u64) -> Option<Target> {
    let words: Vec<u32> = code.as_chunks().0.iter().map(|&word| u32::from_le_bytes(word)).collect();
    let last = usize::try_from((address - start) / 4).ok()?;
    // The nearest beginning at or before the address: adrp x16, page; ldr x17, [x16, #offset]. The address may be a landing pad.
    let candidates = (0..=last).rev().chain([last + 1]);
    candidates
        .filter_map(|index| Some((index, *words.get(index)?, *words.get(index + 1)?)))
        .find(|&(_, adrp, ldr)| adrp & 0x9f00_001f == 0x9000_0010 && ldr & 0xffc0_03ff == 0xf940_0211)
        .map(|(index, adrp, ldr)| {
            let pages = (adrp >> 5 & 0x7_ffff) << 2 | (adrp >> 29 & 3);
            // A number of 21 bits with a sign.
            let pages = i64::from((pages << 11).cast_signed() >> 11);
            let page = (start + 4 * index as u64) & !0xfff;
            Target::Slot(page.wrapping_add_signed(pages << 12).wrapping_add(u64::from(ldr >> 10 & 0xfff) * 8))
        })
}

/// A symbol's name as its language has it: what blazesym makes of it, which names all else.
fn demangled(name: &str) -> String {
    if let Ok(rust) = rustc_demangle::try_demangle(name) {
        return format!("{rust:#}");
    }
    let cpp = cpp_demangle::Symbol::new(name).ok().and_then(|symbol| symbol.demangle().ok());
    cpp.unwrap_or_else(|| name.to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn entries_of_x86_64_lead_to_their_slots() {
        let lazy = [0xff, 0x25, 0x7a, 0x2f, 0, 0, 0x68, 10, 0, 0, 0, 0xe9, 0x40, 0xff, 0xff, 0xff];
        assert_eq!(x86_64_target(&lazy, 0x10d0), Some(Target::Slot(0x4050)));
        let secure = [0xf3, 0x0f, 0x1e, 0xfa, 0xf2, 0xff, 0x25, 0xf5, 0x2f, 0, 0, 0x0f, 0x1f, 0x44, 0, 0];
        assert_eq!(x86_64_target(&secure, 0x1060), Some(Target::Slot(0x1060 + 11 + 0x2ff5)));
        let number = [0xf3, 0x0f, 0x1e, 0xfa, 0x68, 3, 0, 0, 0, 0xf2, 0xe9, 0xb1, 0xff, 0xff, 0xff, 0x90];
        assert_eq!(x86_64_target(&number, 0x1060), Some(Target::Number(3)));
        let head = [0xff, 0x35, 0xca, 0x2f, 0, 0, 0xff, 0x25, 0xcc, 0x2f, 0, 0, 0x0f, 0x1f, 0x40, 0];
        assert_eq!(x86_64_target(&head, 0x1020), None);
        assert_eq!(x86_64_target(&lazy[..4], 0x10d0), None);
    }

    #[test]
    fn entries_of_aarch64_lead_to_their_slots_from_each_of_their_instructions() {
        // adrp x16, +0x1f000; ldr x17, [x16, #0xfa8]; add x16, x16, #0xfa8; br x17
        let entry = [0xf000_00f0_u32, 0xf947_d611, 0x913e_a210, 0xd61f_0220];
        let code: Vec<u8> = entry.iter().chain(&entry).flat_map(|word| word.to_le_bytes()).collect();
        for offset in [0, 4, 8, 12] {
            let found = aarch64_target(&code, 0x6d0, 0x6d0 + offset);
            assert_eq!(found, Some(Target::Slot(0x1f000 + 0xfa8)), "{offset}");
        }
        let backwards = [0xf0ff_fff0_u32, 0xf940_0211];
        let code: Vec<u8> = backwards.iter().flat_map(|word| word.to_le_bytes()).collect();
        assert_eq!(aarch64_target(&code, 0x2000, 0x2000), Some(Target::Slot(0x1000)));
        assert_eq!(aarch64_target(&[0; 16], 0x2000, 0x2004), None);
    }

    #[test]
    fn names_are_those_of_the_language() {
        assert_eq!(demangled("memcpy"), "memcpy");
        assert_eq!(demangled("_ZN4llvm8InitLLVMD1Ev"), "llvm::InitLLVM::~InitLLVM()");
        assert_eq!(demangled("_ZN4core3fmt5write17h0123456789abcdefE"), "core::fmt::write");
    }

    #[test]
    fn a_text_has_no_tables_and_its_addresses_keep_their_names() {
        let file = File::open("/proc/self/maps").unwrap();
        let linkage = Linkage::of(&file);
        let mut named = [Arc::from([Function { name: "f".to_owned(), file: String::new(), line: 0 }])];
        linkage.name(&file, &[7], &mut named);
        assert_eq!(named[0][0].name, "f");
    }
}
