use std::{fs, io::Write};

use proptest::{collection::vec, prelude::*, sample::Index};

use super::*;
use crate::unwind::fixture::{Section, Segment, code, elf, file, frames, header};

const CALLED: Rule = Rule::offset(7, 8);
/// After a push: DW_CFA_def_cfa_offset 16.
const PUSHED: Rule = Rule::offset(7, 16);
const PUSH: &[u8] = &[0x0e, 16];
const GAP: Rule = Rule::GAP;

fn open(bytes: &[u8]) -> Table {
    Table::open(&file(bytes)).unwrap()
}

fn open_error(bytes: &[u8]) -> Error {
    Table::open(&file(bytes)).unwrap_err()
}

/// A file that was stripped of its section headers.
fn stripped(code: Segment, functions: &[(u64, u64, &[u8])]) -> Vec<u8> {
    let (eh_frame, places) = frames(Dialect::EhFrame, functions);
    let entries: Vec<_> = functions.iter().map(|function| function.0).zip(places).collect();
    let header = header(0x9_0000, 0x8_0000, &entries);
    let kind = 0x6474_e550;
    elf(&[code, Segment(1, 4, 0x8_0000, eh_frame), Segment(kind, 4, 0x9_0000, header)], &[])
}

#[test]
fn a_stripped_file_has_its_rows() {
    let functions: &[(u64, u64, &[u8])] = &[
        // A rule from 0x1_0010 to the next page, an empty function, an overlap, one beyond the code.
        (0x1_0010, 0x20, &[0x44, 0x0e, 16]),
        (0x1_0030, 0, PUSH),
        (0x1_0100, 0x100, PUSH),
        (0x1_0180, 0x10, &[]),
        (0x1_fff0, 0x20, PUSH),
        (0x2_0ff0, 0x100, PUSH),
        (0x7_0000, 0x100, PUSH),
    ];
    let mut table = open(&stripped(code(0x1_0000, 0x1_1000), functions));
    assert_eq!(table.pages(), 1..=2);
    let expected = [
        (0, GAP),
        (0x10, CALLED),
        (0x14, PUSHED),
        (0x30, GAP),
        (0x100, PUSHED),
        (0x180, CALLED),
        // Much code that nothing describes: nobody's padding.
        (0x190, Rule::FRAME_POINTER),
        (0xfff0, PUSHED),
    ];
    assert_eq!(table.page(1).unwrap(), expected);
    assert_eq!(table.page(2).unwrap(), [(0, PUSHED), (0x10, GAP), (0xff0, PUSHED), (0x1000, GAP)]);
    for outside in [0, 3, 7, u64::MAX, u64::MAX >> PAGE_SHIFT] {
        assert_eq!(table.page(outside).unwrap(), [(0, GAP)]);
    }
}

#[test]
fn a_search_table_may_list_an_empty_function_in_place_of_the_one_after_it() {
    // As lld does; LLVM has such functions where all code is unreachable.
    let (eh_frame, places) =
        frames(Dialect::EhFrame, &[(0x1_0010, 0, &[]), (0x1_0010, 0x10, PUSH), (0x1_0020, 0, PUSH)]);
    let header = header(0x9_0000, 0x8_0000, &[(0x1_0010, places[0]), (0x1_0020, places[2])]);
    let segments =
        [code(0x1_0000, 0x100), Segment(1, 4, 0x8_0000, eh_frame), Segment(0x6474_e550, 4, 0x9_0000, header)];
    assert_eq!(open(&elf(&segments, &[])).page(1).unwrap(), [(0, GAP), (0x10, PUSHED), (0x20, GAP)]);
}

#[test]
fn segments_of_code_are_apart() {
    let functions: &[(u64, u64, &[u8])] = &[(0x1_0000, 0x1000, PUSH)];
    let (eh_frame, _) = frames(Dialect::EhFrame, functions);
    let section = Section::plain(".eh_frame", 0x8_0000, eh_frame);
    let mut table = open(&elf(&[code(0x1_0800, 0x100), code(0x1_0100, 0x100)], &[section]));
    let rows = [(0, GAP), (0x100, PUSHED), (0x200, GAP), (0x800, PUSHED), (0x900, GAP)];
    assert_eq!(table.page(1).unwrap(), rows);
}

#[test]
fn without_a_search_table_all_descriptions_are_indexed() {
    // Out of order, as nobody sorts .eh_frame.
    let functions: &[(u64, u64, &[u8])] =
        &[(0x1_0100, 0x10, PUSH), (0x1_0000, 0x10, &[]), (0x1_0200, 0, PUSH)];
    let (eh_frame, _) = frames(Dialect::EhFrame, functions);
    let section = Section::plain(".eh_frame", 0x8_0000, eh_frame);
    let mut table = open(&elf(&[code(0x1_0000, 0x1000)], &[section]));
    let rows = [(0, CALLED), (0x10, GAP), (0x100, PUSHED), (0x110, GAP)];
    assert_eq!(table.page(1).unwrap(), rows);
    assert_eq!(table.page(1).unwrap(), rows);
}

#[test]
fn debug_frame_fills_gaps() {
    let (eh_frame, _) = frames(Dialect::EhFrame, &[(0x1_0000, 0x10, PUSH)]);
    let (debug_frame, _) = frames(Dialect::DebugFrame, &[(0x1_0000, 0x10, &[]), (0x1_0020, 0x10, &[])]);
    let mut encoder = flate2::write::ZlibEncoder::new(
        [
            &1_u32.to_le_bytes()[..],
            &[0; 4],
            &(debug_frame.len() as u64).to_le_bytes(),
            &[1, 0, 0, 0, 0, 0, 0, 0],
        ]
        .concat(),
        flate2::Compression::default(),
    );
    encoder.write_all(&debug_frame).unwrap();
    let compressed = encoder.finish().unwrap();
    let eh_frame = || Section::plain(".eh_frame", 0x8_0000, eh_frame.clone());
    let plain = || Section::plain(".debug_frame", 0, debug_frame.clone());
    let compressed = Section(".debug_frame", 1, 1 << 11, 0, compressed, 0);
    let segments = || [code(0x1_0000, 0x100)];
    let rows = [(0, PUSHED), (0x10, GAP), (0x20, CALLED), (0x30, GAP)];
    assert_eq!(open(&elf(&segments(), &[eh_frame(), plain()])).page(1).unwrap(), rows);
    assert_eq!(open(&elf(&segments(), &[eh_frame(), compressed])).page(1).unwrap(), rows);
    // In a separate file, whose own .eh_frame takes no space.
    let own = file(&elf(&segments(), &[eh_frame()]));
    let nothing = Section(".eh_frame", 8, 0, 0x8_0000, Vec::new(), 0);
    let debug = file(&elf(&segments(), &[nothing, plain()]));
    assert_eq!(Table::open_with_debug(&own, Some(&debug)).unwrap().page(1).unwrap(), rows);
    // What cannot be used is left out.
    let rows = [(0, PUSHED), (0x10, GAP)];
    for other in
        [&b"no ELF"[..], &elf(&segments(), &[Section(".debug_frame", 1, 1 << 11, 0, vec![1; 40], 0)])]
    {
        let mut table = Table::open_with_debug(&own, Some(&file(other))).unwrap();
        assert_eq!(table.page(1).unwrap(), rows);
    }
}

#[test]
fn decompression_is_bounded() {
    let bomb = |size: u64| {
        [&1_u32.to_le_bytes()[..], &[0; 4], &size.to_le_bytes(), &[1, 0, 0, 0, 0, 0, 0, 0]].concat()
    };
    let section = |content| Section(".debug_frame", 1, 1 << 11, 0, content, 0);
    let mut encoder = flate2::write::ZlibEncoder::new(bomb(1000), flate2::Compression::default());
    encoder.write_all(&[0; 1 << 20]).unwrap();
    for content in [bomb(u64::MAX), bomb(1000), encoder.finish().unwrap()] {
        let elf = elf(&[code(0x1_0000, 0x100)], &[section(content)]);
        assert_eq!(open(&elf).page(1).unwrap(), [(0, GAP)]);
    }
}

#[test]
fn go_keeps_frame_pointers() {
    let symbol = |name: u32, start: u64, size: u64| {
        [&name.to_le_bytes()[..], &[2, 0, 1, 0], &start.to_le_bytes(), &size.to_le_bytes()].concat()
    };
    let names = b"\0runtime.goexit.abi0\0runtime.mstart0\0runtime.sigreturn__sigaction.abi0\0";
    let symbols = [symbol(1, 0x1_0040, 8), symbol(21, 0x1_0080, 8), symbol(37, 0x1_00c0, 9)].concat();
    let (eh_frame, _) = frames(Dialect::EhFrame, &[(0x1_0000, 0x10, PUSH)]);
    let (debug_frame, _) = frames(Dialect::DebugFrame, &[(0x1_0080, 0x10, &[])]);
    let sections = [
        Section::plain(".eh_frame", 0x8_0000, eh_frame),
        Section::plain(".gopclntab", 0x9_0000, vec![0]),
        Section::plain(".debug_frame", 0, debug_frame),
        Section(".symtab", 2, 0, 0, symbols, 5),
        Section(".strtab", 3, 0, 0, names.to_vec(), 0),
    ];
    let mut table = open(&elf(&[code(0x1_0000, 0x100)], &sections));
    let expected = [
        (0, PUSHED),
        (0x10, Rule::FRAME_POINTER),
        (0x40, Rule::END),
        (0x48, Rule::FRAME_POINTER),
        // Go's own description is better, where there is one.
        (0x80, CALLED),
        (0x90, Rule::FRAME_POINTER),
        (0xbf, Rule::SIGNAL),
        (0xc9, Rule::FRAME_POINTER),
        (0x100, GAP),
    ];
    assert_eq!(table.page(1).unwrap(), expected);
}

#[test]
fn what_is_no_file_of_code() {
    assert!(matches!(open_error(b""), Error::NotElf));
    assert!(matches!(open_error(b"#!/bin/sh"), Error::NotElf));
    let mut other_machine = elf(&[code(0, 1)], &[]);
    other_machine[18] = 183;
    assert!(matches!(open_error(&other_machine), Error::NotElf));
    assert!(matches!(open_error(&elf(&[], &[])), Error::NoCode));
    assert!(matches!(open_error(&elf(&[code(0, 1), code(4 << 30, 1)], &[])), Error::TooLarge(_)));
    let many: Vec<_> = (0..17).map(|index| code(0x1000 * index, 1)).collect();
    assert!(matches!(open_error(&elf(&many, &[])), Error::TooLarge(_)));
    assert!(matches!(open_error(&elf(&[code(0, 1)], &[])[..100]), Error::Damaged(_)));
    assert_eq!(open(&elf(&[code(u64::MAX - 10, 4)], &[])).page(u64::MAX >> 16).unwrap(), [(0, GAP)]);
}

#[test]
fn a_file_that_is_cut_short_later_is_an_error() {
    let bytes = stripped(code(0x1_0000, 0x1000), &[(0x1_0000, 0x10, PUSH)]);
    let file = file(&bytes);
    let mut table = Table::open(&file).unwrap();
    file.set_len(100).unwrap();
    assert!(matches!(table.page(1), Err(Error::Damaged(_))));
}

/// Everything of a file, which must be in order whatever the file is.
fn read_all(bytes: &[u8]) {
    let Ok(mut table) = Table::open(&file(bytes)) else {
        return;
    };
    // Damaged headers may claim millions of pages.
    for number in table.pages().take(16) {
        if let Ok(rows) = table.page(number) {
            assert_eq!(rows[0].0, 0);
            assert!(rows.windows(2).all(|pair| pair[0].0 < pair[1].0 && pair[0].1 != pair[1].1));
        }
    }
}

proptest! {
    #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::with_cases(128) })]

    /// A real file with some bytes overwritten: anywhere, and where the headers and frame descriptions are.
    #[test]
    fn damaged_files_do_no_harm(
        anywhere in vec((any::<Index>(), any::<u8>()), 0..200),
        headers in vec((any::<Index>(), any::<u8>()), 0..3),
        tail in any::<Index>(),
    ) {
        let mut bytes = fs::read("/lib64/ld-linux-x86-64.so.2").unwrap();
        let rodata = bytes.len() / 2;
        for (index, value) in anywhere {
            let at = rodata + index.index(bytes.len() - rodata);
            bytes[at] = value;
        }
        for (index, value) in headers {
            bytes[16 + index.index(600)] = value;
        }
        let len = bytes.len();
        bytes.truncate(len - tail.index(len) / 8);
        read_all(&bytes);
    }

    /// Random bytes for .eh_frame, for .debug_frame and for the header.
    #[test]
    fn random_sections_do_no_harm(content in vec(any::<u8>(), 0..500), small in vec(0..16_u8, 0..500)) {
        let segments = || [code(0, 0x1000)];
        for bytes in [&content, &small] {
            for name in [".eh_frame", ".eh_frame_hdr", ".debug_frame", ".symtab"] {
                read_all(&elf(&segments(), &[Section::plain(name, 0x100, bytes.clone())]));
            }
            let header = header(0x9_0000, 0x8_0000, &[(0, 0), (1, 20), (2, 40), (0x100, 60)]);
            read_all(&elf(
                &[code(0, 0x1000), Segment(1, 4, 0x8_0000, bytes.clone()), Segment(0x6474_e550, 4, 0x9_0000, header)],
                &[],
            ));
        }
    }

    /// Random instructions in sound frame descriptions.
    #[test]
    fn random_instructions_do_no_harm(instructions in vec(vec(any::<u8>(), 0..100), 1..10)) {
        let functions: Vec<_> = instructions
            .iter()
            .enumerate()
            .map(|(index, instructions)| (0x1_0000 + 0x40 * index as u64, 0x60, instructions.as_slice()))
            .collect();
        read_all(&stripped(code(0x1_0000, 0x1000), &functions));
    }
}
