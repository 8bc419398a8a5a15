//! Go's table of functions, .gopclntab: it stays in programs whose symbols and DWARF were stripped (`-ldflags='-s -w'`),
//! because the runtime walks stacks by it.
//!
//! A header, a sorted list of functions (`functab`), a record of each (`_func`), their names, and tables of numbers by
//! address (`pctab`), among them how far the stack pointer is from where it was when the function was called. The layout
//! is that of cmd/link/internal/ld/pcln.go and runtime/symtab.go.

pub(super) mod names;

use std::{fs::File, ops::Range, sync::Arc};

use profiler_common::unwind::rule::Rule;

use super::{
    Error, Result,
    arch::Arch,
    bytes::Bytes,
    cursor::Cursor,
    elf::{Elf, Part},
    go, module,
    steps::Steps,
};

/// Magic number, two zeros, the least size of an instruction and the size of a pointer, and up to eight words.
const HEADER_BYTES: usize = 8 + 8 * 8;
/// Functions of a program; the largest known have some 500,000.
const MOST_FUNCTIONS: u64 = 1 << 24;
/// Bytes that one window may fetch from each part of the table.
const MOST_FETCHED_BYTES: u64 = 32 << 20;
/// Changes of the stack pointer in one window; real ones have some thousands.
const MOST_CHANGES: u32 = 1 << 18;
/// Bytes of two variable-length numbers.
const CHANGE_BYTES: usize = 10;

/// Flags of functions (internal/abi/symtab.go). That for functions which begin a stack is of no use: it is also set for
/// the trampoline into signal handlers (`runtime.sigtramp`), above which lies the interrupted code.
///
/// It writes the stack pointer in a way that the table does not tell.
const SP_WRITE: u8 = 2;
/// It was written in assembly.
const ASSEMBLY: u8 = 4;

/// What differs between versions. Places are in bytes from the start of a record.
#[derive(Clone, Copy, Debug)]
struct Layout {
    /// Words of the header before the places of the table's parts.
    words: u64,
    /// Bytes of an address, and of a place, in the list of functions.
    field: u64,
    name_at: usize,
    stack_at: usize,
    flags_at: usize,
    /// Whether [`ASSEMBLY`] is set.
    marks_assembly: bool,
}

impl Layout {
    /// By the magic number.
    fn of(magic: u32) -> Option<Self> {
        match magic {
            // Go 1.20.
            0xffff_fff1 => Some(Self {
                words: 3,
                field: 4,
                name_at: 4,
                stack_at: 16,
                flags_at: 41,
                marks_assembly: true,
            }),
            // Go 1.18.
            0xffff_fff0 => Some(Self {
                words: 3,
                field: 4,
                name_at: 4,
                stack_at: 16,
                flags_at: 37,
                marks_assembly: false,
            }),
            // Go 1.16; the flags are since 1.17, and zero before. Addresses are absolute.
            0xffff_fffa => Some(Self {
                words: 2,
                field: 8,
                name_at: 8,
                stack_at: 20,
                flags_at: 41,
                marks_assembly: false,
            }),
            _ => None,
        }
    }

    fn is_relative(&self) -> bool {
        self.field == 4
    }
}

/// The table of a file.
#[derive(Debug)]
pub(super) struct Pclntab {
    arch: Arch,
    file: Arc<File>,
    layout: Layout,
    functions: u64,
    /// Address of the first function, or zero where addresses are absolute.
    text: u64,
    /// The list of functions.
    list: Bytes,
    /// Their records, by the same places.
    records: Bytes,
    names: Bytes,
    changes: Bytes,
}

/// The rules in a window.
#[derive(Debug, Default)]
pub(super) struct Found {
    /// Those that come before all others.
    pub(super) special: Steps,
    pub(super) ordinary: Steps,
}

impl Pclntab {
    /// The table of a file; `None` where there is none, or none that is understood.
    pub(super) fn open(file: &Arc<File>, elf: &Elf) -> Result<Option<Self>> {
        let Some(part) = elf.pclntab else {
            return Ok(None);
        };
        let mut bytes = Bytes::of_file(file, part.offset, part.size);
        bytes.allow(1 << 20);
        let Some(header) = Header::read(bytes.read_up_to(0, HEADER_BYTES)?, elf.arch) else {
            return Ok(None);
        };
        let Header { layout, functions, text, names, changes, list } = header;
        let text = if layout.is_relative() { module::text_start(file, elf, &part, text)? } else { Some(0) };
        let Some(text) = text else {
            tracing::debug!("Go's table of functions is left out: it is not known where they begin");
            return Ok(None);
        };
        let from = |at: u64| {
            let left = part.size.checked_sub(at).ok_or(Error::Damaged("table of functions"))?;
            Ok::<_, Error>(Bytes::of_file(file, part.offset.saturating_add(at), left))
        };
        let (list, records) = (from(list)?, from(list)?);
        // Each has an address and a place, and the end of the last one an address.
        if functions > MOST_FUNCTIONS || (2 * functions + 1) * layout.field > list.len() {
            return Err(Error::Damaged("table of functions"));
        }
        let (names, changes) = (from(names)?, from(changes)?);
        let arch = elf.arch;
        Ok(Some(Self {
            arch,
            file: Arc::clone(file),
            layout,
            functions,
            text,
            list,
            records,
            names,
            changes,
        }))
    }

    /// The rules in a window of addresses, gaps included.
    pub(super) fn rules(&mut self, window: &Range<u64>, loaded: &[Part]) -> Result<Found> {
        for bytes in [&mut self.list, &mut self.records, &mut self.names, &mut self.changes] {
            bytes.allow(MOST_FETCHED_BYTES);
        }
        let found = self.read(window, loaded);
        for bytes in [&mut self.list, &mut self.records, &mut self.names, &mut self.changes] {
            bytes.release();
        }
        let Found { special, ordinary } = found?;
        Ok(Found { special: special.inside(window), ordinary: ordinary.inside(window) })
    }

    fn read(&mut self, window: &Range<u64>, loaded: &[Part]) -> Result<Found> {
        let mut found = Found::default();
        let mut left = MOST_CHANGES;
        let mut index = self.first(window.start)?;
        let mut start = self.start(index)?;
        // A special rule may begin a byte before its function.
        while index < self.functions && start <= window.end {
            let end = self.start(index + 1)?;
            if end < start {
                return Err(Error::Damaged("list of functions"));
            }
            if start < end {
                self.function(index, start..end, loaded, &mut left, &mut found)?;
            }
            index += 1;
            start = end;
        }
        Ok(found)
    }

    /// The last function that starts at or before an address, or the first one.
    fn first(&mut self, address: u64) -> Result<u64> {
        let (mut low, mut high) = (0, self.functions);
        while low < high {
            let middle = low + (high - low) / 2;
            if self.start(middle)? <= address {
                low = middle + 1;
            } else {
                high = middle;
            }
        }
        Ok(low.saturating_sub(1))
    }

    /// Address of a function, or of the end of the last one.
    fn start(&mut self, index: u64) -> Result<u64> {
        let start = self.field(2 * index)?;
        self.text.checked_add(start).ok_or(Error::Damaged("list of functions"))
    }

    fn field(&mut self, index: u64) -> Result<u64> {
        let mut cursor =
            Cursor::new(self.list.read(index * self.layout.field, self.layout.field as usize)?, 0);
        let field = if self.layout.field == 4 { cursor.u32().map(u64::from) } else { cursor.u64() };
        field.ok_or(Error::Damaged("list of functions"))
    }

    /// Adds the rules of a function.
    fn function(
        &mut self,
        index: u64,
        code: Range<u64>,
        loaded: &[Part],
        left: &mut u32,
        found: &mut Found,
    ) -> Result<()> {
        let at = self.field(2 * index + 1)?;
        let layout = self.layout;
        let record = self.records.read(at, layout.flags_at + 1)?;
        let number = |at| record.get(at..).and_then(|bytes| Cursor::new(bytes, 0).u32());
        let (Some(name), Some(changes), Some(&flags)) =
            (number(layout.name_at), number(layout.stack_at), record.get(layout.flags_at))
        else {
            return Err(Error::Damaged("functions"));
        };
        let mut special = None;
        // All special functions are written in assembly.
        if (flags & ASSEMBLY != 0 || !layout.marks_assembly)
            && code.end - code.start <= go::MOST_FUNCTION_BYTES
        {
            let name = self.names.read_up_to(name.into(), go::NAME_BYTES)?;
            special = go::special_rule(name.split(|&byte| byte == 0).next().unwrap_or_default());
        }
        let parts = match special {
            Some(rule) => go::special_parts(self.arch, &self.file, loaded, &code, rule),
            // What the table says holds up to the frame, and without one up to the write.
            None if flags & SP_WRITE != 0 => go::parts_with_frame(self.arch, &self.file, loaded, &code),
            None => Vec::new(),
        };
        for (start, end, rule) in parts {
            found.special.push(start, rule);
            found.special.push(end, Rule::GAP);
        }
        if changes != 0 {
            self.changes(changes.into(), &code, left, &mut found.ordinary)?;
        }
        found.ordinary.push(code.end, Rule::GAP);
        Ok(())
    }

    /// Adds the rules by a table of how far the stack pointer is from the return address (runtime.step).
    fn changes(&mut self, mut at: u64, code: &Range<u64>, left: &mut u32, steps: &mut Steps) -> Result<()> {
        let mut address = code.start;
        let mut depth = -1_i32;
        while address < code.end {
            *left = left.checked_sub(1).ok_or(Error::TooLarge("table of functions"))?;
            let bytes = self.changes.read_up_to(at, CHANGE_BYTES)?;
            let mut cursor = Cursor::new(bytes, 0);
            let change = cursor.uleb().ok_or(Error::Damaged("functions"))? as u32;
            // Zero ends the table, but for its first entry.
            if change == 0 && depth != -1 {
                break;
            }
            let length = cursor.uleb().ok_or(Error::Damaged("functions"))?;
            at = at.saturating_add(bytes.len() as u64 - cursor.left().len() as u64);
            // The lowest bit is the sign.
            depth = depth.wrapping_add((change >> 1) as i32 ^ -((change & 1) as i32));
            let rule = if depth >= 0 { go::moved(self.arch, depth) } else { None };
            steps.push(address, rule.unwrap_or(Rule::GAP));
            address = address.saturating_add(length.saturating_mul(self.arch.instruction_bytes().into()));
        }
        steps.push(address.min(code.end), Rule::GAP);
        Ok(())
    }
}

/// What is read of the header.
struct Header {
    layout: Layout,
    functions: u64,
    /// Where the code begins, where the header says it.
    text: Option<u64>,
    /// Places of the parts, from the header's start.
    names: u64,
    changes: u64,
    list: u64,
}

impl Header {
    fn read(bytes: &[u8], arch: Arch) -> Option<Self> {
        let mut cursor = Cursor::new(bytes, 0);
        let layout = Layout::of(cursor.u32()?)?;
        if cursor.take(4)? != [0, 0, arch.instruction_bytes(), 8] {
            return None;
        }
        let functions = cursor.u64()?;
        let _files = cursor.u64()?;
        let text = if layout.words == 3 { Some(cursor.u64()?) } else { None };
        let names = cursor.u64()?;
        let (_units, _files) = (cursor.u64()?, cursor.u64()?);
        Some(Self { layout, functions, text, names, changes: cursor.u64()?, list: cursor.u64()? })
    }
}

#[cfg(test)]
mod tests;
