//! Unwind tables of files.

use profiler_common::unwind::rule::{Row, Rule, find_row, fp, kind, ra};
use profiler_user::process::Object;
use profiler_user::unwind::Table;

use super::elf::{self, Section, Segment};
use super::input::{Input, with_file};

/// Where code lies in the made files.
const CODE: u64 = 0x1_0000;
const FRAMES: u64 = 0x8_0000;
const HEADER: u64 = 0x9_0000;
const PT_GNU_EH_FRAME: u32 = 0x6474_e550;
const SHF_COMPRESSED: u64 = 1 << 11;
/// Registers of x86_64 that rules name, with the return address.
const REGISTERS: u8 = 17;

/// A whole file.
pub(super) fn elf(bytes: &[u8]) {
    with_file(bytes, |file| {
        let object = Object::of_file(1, file.try_clone().expect("a descriptor can be duplicated"));
        for segment in &object.segments {
            for offset in [segment.offset, segment.offset.wrapping_add(segment.size).wrapping_sub(1)] {
                let _ = object.address_of(offset);
            }
        }
        // A file may be its own debug file as well.
        if let Ok(mut table) = Table::open(file) {
            pages(&mut table);
        }
        if let Ok(mut table) = Table::open_with_debug(file, Some(file)) {
            pages(&mut table);
        }
    });
}

/// The first byte says how the rest lies in the file.
pub(super) fn eh_frame(bytes: &[u8]) {
    let mut input = Input(bytes);
    let how = input.u8();
    let header = if how & 1 == 0 { &[][..] } else { input.take(usize::from(how >> 1)) };
    let frames = input.0;
    let code = Segment::code(CODE, code(frames));
    if header.is_empty() {
        let section = Section { name: ".eh_frame", flags: 0, address: FRAMES, content: frames };
        made(&elf::file(&[code], &[section]));
    } else {
        let frames = Segment { kind: 1, flags: 4, address: FRAMES, content: frames };
        let header = Segment { kind: PT_GNU_EH_FRAME, flags: 4, address: HEADER, content: header };
        made(&elf::file(&[code, frames, header], &[]));
    }
}

/// The first byte says whose section it is.
pub(super) fn debug_frame(bytes: &[u8]) {
    let mut input = Input(bytes);
    let how = input.u8();
    let frames = input.0;
    let flags = if how & 1 == 0 { 0 } else { SHF_COMPRESSED };
    let frames = Section { name: ".debug_frame", flags, address: 0, content: frames };
    let go = Section { name: ".go.buildinfo", flags: 0, address: HEADER, content: &[] };
    let sections = if how & 2 == 0 { vec![frames] } else { vec![frames, go] };
    made(&elf::file(&[Segment::code(CODE, code(bytes))], &sections));
}

/// The first two bytes say how much of it tells where the code begins, and how.
pub(super) fn pclntab(bytes: &[u8]) {
    let mut input = Input(bytes);
    let how = input.u8();
    let more = input.u8();
    let more = input.take(usize::from(more) * 4);
    let table = Section { name: ".gopclntab", flags: 0, address: FRAMES, content: input.0 };
    let name = if how & 1 == 0 { ".go.module" } else { ".rela" };
    let more = Section { name, flags: 0, address: HEADER, content: more };
    made(&elf::file(&[Segment::code(CODE, code(bytes))], &[table, more]));
}

/// Code of one page and a bit, which gaps are looked through for.
fn code(bytes: &[u8]) -> &[u8] {
    const LONGEST: usize = 512;
    bytes.get(..LONGEST).unwrap_or(bytes)
}

fn made(bytes: &[u8]) {
    with_file(bytes, |file| {
        if let Ok(mut table) = Table::open(file) {
            pages(&mut table);
        }
    });
}

/// Pages at both ends and one between have rows that can be searched and followed, or say why there are none.
fn pages(table: &mut Table) {
    let (first, last) = (*table.pages().start(), *table.pages().end());
    assert!(first <= last);
    let mut wanted = [first, first + (last - first) / 2, last, last.saturating_add(1)].to_vec();
    wanted.dedup();
    for page in wanted {
        if let Ok(rows) = table.page(page) {
            check(&rows);
        }
    }
}

fn check(rows: &[(u16, Rule)]) {
    assert_eq!(rows.first().map(|row| row.0), Some(0), "a page begins with a row: {rows:?}");
    for pair in rows.windows(2) {
        assert!(pair[0].0 < pair[1].0 && pair[0].1 != pair[1].1, "rows rise and differ: {rows:?}");
    }
    for (offset, rule) in rows {
        let Rule { kind: what, fp: pointer, ra: address, cfa_register, fp_register, ra_register, .. } = *rule;
        assert!(what <= kind::OTHER_STACK && pointer <= fp::UNDEFINED && address <= ra::REGISTER, "{rule:?}");
        assert!([cfa_register, fp_register, ra_register].iter().all(|&one| one < REGISTERS), "{rule:?}");
        let found = find_row(rows.len() as u64, u64::from(*offset), |index| {
            let at = usize::try_from(index).ok()?;
            Some(Row { offset: rows.get(at)?.0, rule: u16::try_from(at).ok()? })
        });
        let found = found.map(|row| rows[usize::from(row.rule)]);
        assert_eq!(found, Some((*offset, *rule)), "a row is found");
    }
}
