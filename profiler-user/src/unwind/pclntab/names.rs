//! Names, files and lines by Go's table of functions, for programs that have nothing else: `-ldflags='-s -w'` takes symbols
//! and DWARF away, and leaves the table, which the runtime prints its own tracebacks by.

use std::{fs::File, sync::Arc};

use super::{
    super::{Error, Result, bytes::Bytes, cursor::Cursor, elf::Elf},
    CHANGE_BYTES, HEADER_BYTES, Layout, MOST_FETCHED_BYTES, Pclntab,
};

/// Longest name of a function or file; real ones of generic functions have some hundred.
const NAME_BYTES: usize = 4096;
/// Entries of one function's table of numbers; the largest real ones have some ten thousand.
const MOST_STEPS: u32 = 1 << 17;
/// Which table of a function says what inlined call an address is in (PCDATA_InlTreeIndex, internal/abi/funcdata.go).
const INLINED: u64 = 2;
/// Bytes from the last flags of a record to the list of such tables.
const TABLES_BEHIND_FLAGS: usize = 3;

/// A function, as the table has it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct GoFunction {
    /// With its package: `net/http.(*conn).serve`.
    pub name: String,
    /// Source file; empty where it is not known, and within a call that was inlined, whose function is not told.
    pub file: String,
    /// Line; 0 where the file is empty.
    pub line: u32,
}

/// The table of a file, to look addresses up in.
#[derive(Debug)]
pub struct GoNames {
    table: Pclntab,
    /// By compilation unit and number of a file: where its name is.
    units: Bytes,
    files: Bytes,
    /// Least bytes of an instruction, which lengths of code are counted in.
    quantum: u64,
}

impl GoNames {
    /// The table of a file; `None` where there is none, or none that is understood, and where there are symbols, which come
    /// with more.
    ///
    /// # Errors
    /// The file cannot be read, or contradicts itself.
    pub fn open(file: &Arc<File>) -> Result<Option<GoNames>> {
        let elf = Elf::read(file)?;
        if elf.symbols.is_some() {
            return Ok(None);
        }
        GoNames::of(file, &elf)
    }

    /// The table of a file, whatever else it has.
    fn of(file: &Arc<File>, elf: &Elf) -> Result<Option<GoNames>> {
        let (Some(part), Some(table)) = (elf.pclntab, Pclntab::open(file, elf)?) else {
            return Ok(None);
        };
        let mut header = Bytes::of_file(file, part.offset, part.size);
        header.allow(1 << 20);
        let Some((quantum, units, files)) = parts(header.read_up_to(0, HEADER_BYTES)?) else {
            return Ok(None);
        };
        let from = |at: u64| {
            let left = part.size.checked_sub(at).ok_or(Error::Damaged("table of functions"))?;
            Ok::<_, Error>(Bytes::of_file(file, part.offset.saturating_add(at), left))
        };
        Ok(Some(GoNames { table, units: from(units)?, files: from(files)?, quantum }))
    }

    /// The function that an address lies in; `None` where there is none, or only one that C code stands for.
    ///
    /// # Errors
    /// The file cannot be read, or contradicts itself.
    pub fn look(&mut self, address: u64) -> Result<Option<GoFunction>> {
        let Pclntab { list, records, names, changes, .. } = &mut self.table;
        for bytes in [list, records, names, changes, &mut self.units, &mut self.files] {
            bytes.allow(MOST_FETCHED_BYTES);
        }
        let table = &mut self.table;
        let index = table.first(address)?;
        if index >= table.functions {
            return Ok(None);
        }
        let (start, end) = (table.start(index)?, table.start(index + 1)?);
        if !(start..end).contains(&address) {
            return Ok(None);
        }
        let layout = table.layout;
        let at = table.field(2 * index + 1)?;
        let record = table.records.read(at, layout.flags_at + TABLES_BEHIND_FLAGS)?;
        let number = |at: usize| {
            let bytes = record.get(at..).unwrap_or_default();
            Cursor::new(bytes, 0).u32().ok_or(Error::Damaged("functions"))
        };
        let name = number(layout.name_at)?;
        // The tables of files and lines, how many others there are, and the compilation unit.
        let [files, lines, others, unit] = [4, 8, 12, 16].map(|more| number(layout.stack_at + more));
        let (files, lines, others, unit) = (files?, lines?, u64::from(others?), unit?);
        let name = string(&mut table.names, name.into())?;
        if name.is_empty() {
            return Ok(None);
        }
        let nowhere = GoFunction { name, file: String::new(), line: 0 };
        if others > INLINED {
            let behind = (layout.flags_at + TABLES_BEHIND_FLAGS) as u64;
            let inlined = table.records.read(at.saturating_add(behind + 4 * INLINED), 4)?;
            let inlined = Cursor::new(inlined, 0).u32().ok_or(Error::Damaged("functions"))?;
            if self.value(inlined, start, address)?.is_some_and(|call| call >= 0) {
                return Ok(Some(nowhere));
            }
        }
        let (file, line) = (self.value(files, start, address)?, self.value(lines, start, address)?);
        let (Some(file), Some(line)) = (file, line.and_then(|line| u32::try_from(line).ok())) else {
            return Ok(Some(nowhere));
        };
        let Some(file) = self.file(unit, file)? else {
            return Ok(Some(nowhere));
        };
        Ok(Some(GoFunction { file, line, ..nowhere }))
    }

    /// The name of a file by its number in a compilation unit (runtime.funcfile).
    fn file(&mut self, unit: u32, file: i32) -> Result<Option<String>> {
        let Ok(file) = u64::try_from(file) else { return Ok(None) };
        let place = self.units.read(4 * (u64::from(unit) + file), 4)?;
        let place = Cursor::new(place, 0).u32().ok_or(Error::Damaged("functions"))?;
        if place == u32::MAX {
            // What dead code was removed of.
            return Ok(None);
        }
        string(&mut self.files, place.into()).map(|name| Some(name).filter(|name| !name.is_empty()))
    }

    /// What a table of numbers has for an address (runtime.pcvalue); `None` where it has nothing.
    fn value(&mut self, table: u32, start: u64, wanted: u64) -> Result<Option<i32>> {
        if table == 0 {
            return Ok(None);
        }
        let (mut at, mut address, mut value) = (u64::from(table), start, -1_i32);
        for _ in 0..MOST_STEPS {
            let bytes = self.table.changes.read_up_to(at, CHANGE_BYTES)?;
            let mut cursor = Cursor::new(bytes, 0);
            let change = cursor.uleb().ok_or(Error::Damaged("functions"))? as u32;
            // Zero ends the table, but for its first entry.
            if change == 0 && address != start {
                return Ok(None);
            }
            let length = cursor.uleb().ok_or(Error::Damaged("functions"))?;
            at = at.saturating_add(bytes.len() as u64 - cursor.left().len() as u64);
            // The lowest bit is the sign.
            value = value.wrapping_add((change >> 1) as i32 ^ -((change & 1) as i32));
            address = address.saturating_add(length.saturating_mul(self.quantum));
            if wanted < address {
                return Ok(Some(value));
            }
        }
        Err(Error::TooLarge("table of functions"))
    }
}

/// Of a header: the least bytes of an instruction, and where the lists of units and files are.
fn parts(bytes: &[u8]) -> Option<(u64, u64, u64)> {
    let mut cursor = Cursor::new(bytes, 0);
    let layout = Layout::of(cursor.u32()?)?;
    let &[_, _, quantum, _] = cursor.take(4)? else { return None };
    // Functions, files, since Go 1.18 where the code begins, names.
    cursor.take(8 * (layout.words + 1))?;
    Some((quantum.into(), cursor.u64()?, cursor.u64()?))
}

/// A text that ends with a zero.
fn string(bytes: &mut Bytes, at: u64) -> Result<String> {
    let bytes = bytes.read_up_to(at, NAME_BYTES)?;
    let text = bytes.split(|&byte| byte == 0).next().unwrap_or_default();
    Ok(String::from_utf8_lossy(text).into_owned())
}
