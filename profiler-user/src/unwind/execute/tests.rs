use std::sync::Arc;

use profiler_common::unwind::rule::{fp, kind, ra};

use super::*;
use crate::unwind::{
    cfi::{Dialect, Head, Kind},
    pointer::Encoding,
};

/// Return address at CFA - 8, CFA = rsp + 8, rbp at CFA - 16.
const INITIAL: [u8; 7] = [0x0c, 7, 8, 0x90, 1, 0x86, 2];
const START: Rule = Rule { fp: fp::AT_CFA, fp_offset: -16, ..Rule::offset(7, 8) };

/// A CIE with code factor 4 and data factor -8, whose addresses are absolute words.
fn cie() -> Cie {
    let mut body = vec![1, 0, 4, 0x78, 16];
    body.extend(INITIAL);
    Cie::parse(&body, 0, Dialect::EhFrame, Arch::X86_64).unwrap()
}

/// The rules of a function at 0x1000..0x1100.
fn run(instructions: &[u8]) -> Vec<(u64, Rule)> {
    run_inside(instructions, 0..u64::MAX)
}

fn run_inside(instructions: &[u8], window: Range<u64>) -> Vec<(u64, Rule)> {
    let fde = Fde { cie: cie().into(), code: 0x1000..0x1100, instructions: 0..instructions.len() as u64 };
    let mut steps = Steps::default();
    rules(&fde, instructions, 0, &window, &mut steps);
    steps.as_slice().to_vec()
}

/// The rule after some instructions.
#[track_caller]
fn check(instructions: &[u8], expected: Rule) {
    assert_eq!(run(instructions), [(0x1000, expected)]);
}

#[test]
fn the_start() {
    check(&[], START);
    // DW_CFA_nop, DW_CFA_GNU_args_size
    check(&[0, 0, 0x2e, 0x90, 1], START);
}

#[test]
fn locations() {
    for (advance, delta) in [
        // DW_CFA_advance_loc, 1, 2, 4, DW_CFA_MIPS_advance_loc8, DW_CFA_set_loc
        (&[0x41][..], 4),
        (&[0x7f], 0xfc),
        (&[0x02, 3], 12),
        (&[0x03, 4, 0], 16),
        (&[0x04, 5, 0, 0, 0], 20),
        (&[0x1d, 6, 0, 0, 0, 0, 0, 0, 0], 24),
        (&[0x01, 0x20, 0x10, 0, 0, 0, 0, 0, 0], 32),
    ] {
        let instructions = [advance, &[0x0e, 16]].concat();
        let after = Rule { cfa_offset: 16, ..START };
        assert_eq!(run(&instructions), [(0x1000, START), (0x1000 + delta, after)], "{advance:x?}");
    }
    // Past the end, and by zero.
    assert_eq!(run(&[0x02, 0x40, 0x0e, 16]), [(0x1000, START)]);
    check(&[0x40, 0x0e, 16], Rule { cfa_offset: 16, ..START });
    // Backwards, and beyond all addresses.
    for wrong in
        [&[0x41, 0x01, 0, 0x10, 0, 0, 0, 0, 0, 0][..], &[0x41, 0x1d, 255, 255, 255, 255, 255, 255, 255, 255]]
    {
        assert_eq!(run(wrong), [(0x1000, START), (0x1004, Rule::UNSUPPORTED)]);
    }
}

#[test]
fn windows_cut_rules() {
    // def_cfa_offset 16 at 0x1010, 24 at 0x1020.
    let instructions = [0x44, 0x0e, 16, 0x44, 0x0e, 24];
    let [one, two, three] = [8, 16, 24].map(|offset| Rule { cfa_offset: offset, ..START });
    assert_eq!(run(&instructions), [(0x1000, one), (0x1010, two), (0x1020, three)]);
    assert_eq!(run_inside(&instructions, 0x1008..0x1020), [(0x1008, one), (0x1010, two)]);
    assert_eq!(run_inside(&instructions, 0x1010..0x1021), [(0x1010, two), (0x1020, three)]);
    assert_eq!(run_inside(&instructions, 0x1030..0x1031), [(0x1030, three)]);
}

#[test]
fn canonical_frame_addresses() {
    // DW_CFA_def_cfa, _sf, _register, _offset, _offset_sf
    check(&[0x0c, 6, 16], Rule { cfa_register: 6, cfa_offset: 16, ..START });
    check(&[0x12, 6, 0x7e], Rule { cfa_register: 6, cfa_offset: 16, ..START });
    check(&[0x0d, 6], Rule { cfa_register: 6, ..START });
    check(&[0x0e, 0x80, 1], Rule { cfa_offset: 128, ..START });
    check(&[0x13, 0x7c], Rule { cfa_offset: 32, ..START });
    // DW_CFA_def_cfa_expression: the word at rbp - 8; then a shape that no rule can hold.
    let deref = Rule { cfa_register: 6, cfa_offset: -8, ..Rule::special(kind::DEREF) };
    check(&[0x0f, 3, 0x76, 0x78, 0x06], Rule { fp: fp::AT_CFA, fp_offset: -16, ..deref });
    check(&[0x0f, 1, 0x30], Rule::UNSUPPORTED);
    // There is no register or offset to change after an expression.
    for wrong in [[0x0d, 7], [0x0e, 8], [0x13, 8]] {
        check(&[&[0x0f, 2, 0x77, 8][..], &wrong].concat(), Rule::UNSUPPORTED);
    }
}

#[test]
fn saved_registers() {
    // DW_CFA_offset of rbp; DW_CFA_offset_extended, _sf, DW_CFA_GNU_negative_offset_extended
    let at = |offset| Rule { fp_offset: offset, ..START };
    check(&[0x86, 3], at(-24));
    check(&[0x05, 6, 4], at(-32));
    check(&[0x11, 6, 0x7d], at(24));
    check(&[0x2f, 6, 5], at(40));
    // DW_CFA_same_value, DW_CFA_undefined, DW_CFA_register
    check(&[0x08, 6], Rule::offset(7, 8));
    check(&[0x07, 6], Rule { fp: fp::UNDEFINED, ..Rule::offset(7, 8) });
    check(&[0x09, 6, 3], Rule { fp: fp::UNDEFINED, ..Rule::offset(7, 8) });
    // DW_CFA_expression, DW_CFA_val_offset, _sf, DW_CFA_val_expression
    let at_register = Rule { fp: fp::AT_REGISTER, fp_register: 6, fp_offset: 16, ..Rule::offset(7, 8) };
    check(&[0x10, 6, 2, 0x76, 16], at_register);
    for lost in [&[0x10, 6, 1, 0x30][..], &[0x14, 6, 2], &[0x15, 6, 2], &[0x16, 6, 2, 0x76, 16]] {
        check(lost, Rule { fp: fp::UNDEFINED, ..Rule::offset(7, 8) });
    }
    // DW_CFA_restore, DW_CFA_restore_extended
    check(&[0x86, 3, 0xc6], START);
    check(&[0x86, 3, 0x06, 6], START);
    // Other registers do not matter.
    check(&[0x83, 5, 0x05, 40, 1, 0x07, 12, 0x09, 3, 4, 0x10, 3, 1, 0x30, 0x16, 3, 1, 0x30, 0xc3], START);
}

#[test]
fn return_addresses_and_stack_pointers() {
    check(&[0x07, 16], Rule::END);
    check(&[0x90, 2], Rule::UNSUPPORTED);
    check(&[0x09, 16, 2], Rule { ra: 1, ra_register: 2, ..START });
    check(&[0x10, 16, 2, 0x77, 0], START);
    check(&[0x14, 7, 0], START);
    for other in [&[0x14, 7, 1][..], &[0x08, 7], &[0x09, 7, 3], &[0x87, 1]] {
        check(other, Rule::UNSUPPORTED);
    }
}

#[test]
fn remembered_states() {
    let [one, two] = [16, 24].map(|offset| Rule { cfa_offset: offset, ..START });
    // remember, offset 16, remember, offset 24, restore, restore, each at its own address.
    let instructions = [0x0a, 0x0e, 16, 0x41, 0x0a, 0x0e, 24, 0x41, 0x0b, 0x41, 0x0b];
    assert_eq!(run(&instructions), [(0x1000, one), (0x1004, two), (0x1008, one), (0x100c, START)]);
    check(&[0x0b], Rule::UNSUPPORTED);
    check(&[0x0a; MOST_REMEMBERED], START);
    check(&[0x0a; MOST_REMEMBERED + 1], Rule::UNSUPPORTED);
}

#[test]
fn damage_counts_from_its_address_on() {
    for damage in [&[0x3f][..], &[0x02], &[0x0c, 7], &[0x0f, 9, 0x77], &[0x05, 6], &[0x17], &[0x2d]] {
        let instructions = [&[0x41], damage].concat();
        assert_eq!(run(&instructions), [(0x1000, START), (0x1004, Rule::UNSUPPORTED)], "{damage:x?}");
    }
}

#[test]
fn common_information_entries() {
    let parse = |body: &[u8], dialect| Cie::parse(body, 0x1000, dialect, Arch::X86_64);
    // "zPLRS": personality of four bytes, two encodings; version 3 has a return address column in LEB128.
    let body =
        [3, b'z', b'P', b'L', b'R', b'S', 0, 1, 0x78, 0x90, 0, 7, 0x9b, 0, 0, 0, 0, 0x1b, 0x1b, 0x0c, 7, 8];
    let cie = parse(&body, Dialect::EhFrame).unwrap();
    assert_eq!((cie.encoding, cie.signal, cie.return_address), (Encoding(0x1b), true, 16));
    assert_eq!(cie.initial.cfa, Cfa::Offset { register: 7, offset: 8 });
    // Unknown letters are skipped with the data; without a length of it they cannot be.
    assert!(parse(&[1, b'z', b'B', b'?', 0, 1, 0x78, 16, 2, 9, 9], Dialect::EhFrame).is_some());
    assert!(parse(&[1, b'R', 0, 1, 0x78, 16, 0x1b], Dialect::EhFrame).is_none());
    assert!(parse(&[1, b'e', b'h', 0, 1, 2, 3, 4, 5, 6, 7, 8, 1, 0x78, 16], Dialect::EhFrame).is_some());
    // Version 4 has the sizes of addresses and segments.
    assert!(parse(&[4, 0, 8, 0, 1, 0x78, 16], Dialect::DebugFrame).is_some());
    assert!(parse(&[4, 0, 4, 0, 1, 0x78, 16], Dialect::DebugFrame).is_none());
    assert!(parse(&[4, 0, 8, 0, 1, 0x78, 16], Dialect::EhFrame).is_none());
    assert!(parse(&[2, 0, 1, 0x78, 16], Dialect::EhFrame).is_none());
    // Instructions that set a location or restore have no place here.
    assert!(parse(&[1, 0, 1, 0x78, 16, 0x41], Dialect::EhFrame).is_none());
    assert!(parse(&[1, 0, 1, 0x78, 16, 0xc6], Dialect::EhFrame).is_none());
}

#[test]
fn heads_of_records() {
    let parse = |bytes: &[u8], dialect| Head::parse(bytes, 100, dialect);
    let head = |kind, body, end| Some(Head { kind, body, end });
    assert_eq!(parse(&[0; 4], Dialect::EhFrame), head(Kind::End, 104, 104));
    assert_eq!(parse(&[12, 0, 0, 0, 0, 0, 0, 0], Dialect::EhFrame), head(Kind::Cie, 108, 116));
    assert_eq!(parse(&[12, 0, 0, 0, 54, 0, 0, 0], Dialect::EhFrame), head(Kind::Fde { cie: 50 }, 108, 116));
    assert_eq!(
        parse(&[12, 0, 0, 0, 54, 0, 0, 0], Dialect::DebugFrame),
        head(Kind::Fde { cie: 54 }, 108, 116)
    );
    assert_eq!(parse(&[12, 0, 0, 0, 255, 255, 255, 255], Dialect::DebugFrame), head(Kind::Cie, 108, 116));
    let long = |id: [u8; 8]| [&[255, 255, 255, 255, 12, 0, 0, 0, 0, 0, 0, 0][..], &id].concat();
    assert_eq!(parse(&long([0; 8]), Dialect::EhFrame), head(Kind::Cie, 116, 124));
    assert_eq!(parse(&long([255; 8]), Dialect::DebugFrame), head(Kind::Cie, 120, 124));
    assert_eq!(
        parse(&long([7, 0, 0, 0, 0, 0, 0, 0]), Dialect::DebugFrame),
        head(Kind::Fde { cie: 7 }, 120, 124)
    );
    // Before the section, a reserved length, shorter than the head, cut short.
    assert_eq!(parse(&[12, 0, 0, 0, 200, 0, 0, 0], Dialect::EhFrame), None);
    assert_eq!(parse(&[0xf0, 255, 255, 255, 0, 0, 0, 0], Dialect::EhFrame), None);
    assert_eq!(parse(&[3, 0, 0, 0, 0, 0, 0, 0], Dialect::EhFrame), None);
    assert_eq!(parse(&[12, 0, 0, 0, 0, 0, 0], Dialect::EhFrame), None);
}

#[test]
fn frame_descriptions() {
    let augmented =
        Cie::parse(&[1, b'z', b'R', 0, 1, 0x78, 16, 1, 0x1b], 0, Dialect::EhFrame, Arch::X86_64).unwrap();
    let head = Head { kind: Kind::Fde { cie: 0 }, body: 8, end: 24 };
    let body = [0xf0, 0xff, 0xff, 0xff, 0x20, 0, 0, 0, 2, 9, 9, 0x41];
    let fde = Fde::parse(&body, 0x2000, &head, Arc::new(augmented)).unwrap();
    assert_eq!((fde.code, fde.instructions), (0x1ff0..0x2010, 19..24));
    let plain = Arc::new(cie());
    let body = [&0x1000_u64.to_le_bytes()[..], &[0x10, 0, 0, 0, 0, 0, 0, 0]].concat();
    let fde = Fde::parse(&body, 0x2000, &head, Arc::clone(&plain)).unwrap();
    assert_eq!((fde.code, fde.instructions), (0x1000..0x1010, 24..24));
    // Beyond all addresses, and beyond the record.
    assert!(Fde::parse(&[0xff; 16], 0x2000, &head, Arc::clone(&plain)).is_none());
    assert!(Fde::parse(&body, 0x2000, &Head { end: 23, ..head }, plain).is_none());
}

#[test]
fn on_aarch64_the_return_address_is_in_its_register_until_it_is_saved() {
    // Code factor 4, data factor -8, return address in x30; CFA = sp.
    let cie = Cie::parse(&[1, 0, 4, 0x78, 30, 0x0c, 31, 0], 0, Dialect::EhFrame, Arch::Aarch64).unwrap();
    let cie = Arc::new(cie);
    let check = |instructions: &[u8], expected: &[(u64, Rule)]| {
        let len = instructions.len() as u64;
        let fde = Fde { cie: Arc::clone(&cie), code: 0x1000..0x1100, instructions: 0..len };
        let mut steps = Steps::default();
        rules(&fde, instructions, 0, &(0..u64::MAX), &mut steps);
        assert_eq!(steps.as_slice(), expected, "{instructions:x?}");
    };
    let called = Rule { ra: ra::REGISTER, ra_register: 30, ..Rule::offset(31, 0) };
    check(&[], &[(0x1000, called)]);
    // paciasp; stp x29, x30, [sp, #-32]!: DW_CFA_AARCH64_negate_ra_state, DW_CFA_def_cfa_offset, DW_CFA_offset.
    let record = Rule { fp: fp::AT_CFA, fp_offset: -32, ra: ra::IN_RECORD, ..Rule::offset(31, 32) };
    let prologue = [0x41, 0x2d, 0x41, 0x0e, 32, 0x9d, 4, 0x9e, 3];
    check(&prologue, &[(0x1000, called), (0x1008, record)]);
    // And back: DW_CFA_restore, DW_CFA_def_cfa_offset.
    let epilogue = [&prologue[..], &[0x42, 0xde, 0xdd, 0x0e, 0]].concat();
    check(&epilogue, &[(0x1000, called), (0x1008, record), (0x1010, called)]);
    // DW_CFA_same_value says so, too.
    check(&[0x08, 30], &[(0x1000, called)]);
    // str x30, [sp, #-16]!
    let alone = Rule { cfa_add: -16, ..Rule::offset(31, 16) };
    check(&[0x0e, 16, 0x9e, 2], &[(0x1000, alone)]);
    // The record may be farther from the CFA than a lone return address.
    let far = Rule { fp: fp::AT_CFA, fp_offset: -102_432, ra: ra::IN_RECORD, ..Rule::offset(31, 102_432) };
    let large = [0x0e, 0xa0, 0xa0, 6, 0x9d, 0x84, 0x64, 0x9e, 0x83, 0x64];
    check(&large, &[(0x1000, far)]);
    check(&[0x0e, 0xa0, 0xa0, 6, 0x9e, 0x83, 0x64], &[(0x1000, Rule::UNSUPPORTED)]);
    // DW_CFA_undefined: the thread's first function.
    check(&[0x07, 30], &[(0x1000, Rule::END)]);
}
