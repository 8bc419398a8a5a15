use proptest::{collection::vec, prelude::*, sample::Index};

use super::*;
use crate::unwind::{
    Table,
    fixture::{Section, code, elf, file},
};

const TEXT: u64 = 0x1_0000;
const TABLE: u64 = 0x9_0000;
const MODULE: u64 = 0xa_0000;
const SP: u8 = 7;
const CALLED: Rule = Rule::offset(SP, 8);
const SP_WRITE_ASSEMBLY: u8 = SP_WRITE | ASSEMBLY;

/// Another depth: 8 bytes more or less for each step, as zigzag, and for how many bytes.
fn called_and_pushed(called: u8, pushed: u8, popped: u8) -> Vec<u8> {
    // -1 to 0, to 16, to 0.
    vec![2, called, 32, pushed, 31, popped, 0]
}

/// Function: its place from the start of the code, name, changes of the stack pointer, flags.
type Function = (u32, &'static str, Vec<u8>, u8);

/// A table of functions that ends at `end`.
fn table(magic: u32, text: u64, end: u32, functions: &[Function]) -> Vec<u8> {
    let layout = Layout::of(magic).unwrap();
    let (mut names, mut changes, mut records, mut list) = (vec![0], vec![0], Vec::new(), Vec::new());
    let field = |value: u64| value.to_le_bytes()[..layout.field as usize].to_vec();
    let base = if layout.is_relative() { 0 } else { TEXT };
    let list_bytes = (2 * functions.len() as u64 + 1) * layout.field;
    for (start, name, steps, flags) in functions {
        list.extend(field(base + u64::from(*start)));
        list.extend(field(list_bytes + records.len() as u64));
        let mut record = vec![0; 48];
        record[layout.name_at..][..4].copy_from_slice(&(names.len() as u32).to_le_bytes());
        let at = if steps.is_empty() { 0 } else { changes.len() as u32 };
        record[layout.stack_at..][..4].copy_from_slice(&at.to_le_bytes());
        record[layout.flags_at] = *flags;
        records.extend(record);
        names.extend(name.as_bytes());
        names.push(0);
        changes.extend(steps);
    }
    list.extend(field(base + u64::from(end)));
    let mut bytes = [&magic.to_le_bytes()[..], &[0, 0, 1, 8]].concat();
    let mut words = vec![functions.len() as u64, 0];
    if layout.words == 3 {
        words.push(text);
    }
    let first = 8 + 8 * (words.len() as u64 + 5);
    let changes_at = first + names.len() as u64;
    words.extend([first, 0, 0, changes_at, changes_at + changes.len() as u64]);
    bytes.extend(words.iter().flat_map(|word| word.to_le_bytes()));
    [bytes, names, changes, list, records].concat()
}

fn functions() -> Vec<Function> {
    vec![
        (0x40, "main.leaf", vec![2, 0x10, 0], 0),
        (0x60, "main.frame", called_and_pushed(4, 0xc, 4), 0),
        (0x80, "runtime.goexit", vec![2, 0x20, 0], ASSEMBLY),
        (0xa0, "runtime.sigreturn__sigaction", vec![2, 9, 0], ASSEMBLY),
        (0xc0, "runtime.systemstack", called_and_pushed(1, 0x1e, 1), SP_WRITE_ASSEMBLY),
        (0xe0, "from.c", Vec::new(), 0),
        (0x100, "gogo", vec![2, 0x20, 0], SP_WRITE_ASSEMBLY),
    ]
}

fn program(table: Vec<u8>, more: Vec<Section>) -> Vec<u8> {
    let mut sections = vec![Section::plain(".gopclntab", TABLE, table)];
    sections.extend(more);
    elf(&[code(TEXT, 0x1000)], &sections)
}

fn rows(bytes: &[u8]) -> Vec<(u16, Rule)> {
    Table::open(&file(bytes)).unwrap().page(1).unwrap()
}

fn expected() -> Vec<(u16, Rule)> {
    let framed = Rule { fp: 1, fp_offset: -16, ..Rule::offset(SP, 24) };
    vec![
        (0, Rule::FRAME_POINTER),
        (0x40, CALLED),
        (0x50, Rule::FRAME_POINTER),
        (0x60, CALLED),
        (0x64, framed),
        (0x70, CALLED),
        (0x74, Rule::FRAME_POINTER),
        (0x80, Rule::END),
        (0x9f, Rule::SIGNAL),
        // The fixture's functions have no prologue.
        (0xc0, Rule::OTHER_STACK),
        (0xe0, Rule::FRAME_POINTER),
        (0x100, CALLED),
        (0x120, Rule::FRAME_POINTER),
        (0x1000, Rule::GAP),
    ]
}

#[test]
fn all_versions_have_the_same_rules() {
    for magic in [0xffff_fff1, 0xffff_fff0, 0xffff_fffa] {
        assert_eq!(rows(&program(table(magic, TEXT, 0x120, &functions()), vec![])), expected(), "{magic:x}");
    }
}

#[test]
fn functions_reach_into_pages_and_special_rules_begin_a_page_early() {
    let functions: [Function; 2] = [
        (0xfff0, "main.frame", vec![2, 8, 32, 0x78, 0], 0),
        (0x1_0000, "runtime.sigreturn", vec![2, 9, 0], ASSEMBLY),
    ];
    let elf = elf(
        &[code(TEXT, 0x2_0000)],
        &[Section::plain(".gopclntab", TABLE, table(0xffff_fff1, TEXT, 0x1_0020, &functions))],
    );
    let mut table = Table::open(&file(&elf)).unwrap();
    let framed = Rule { fp: 1, fp_offset: -16, ..Rule::offset(SP, 24) };
    let first = [(0, Rule::FRAME_POINTER), (0xfff0, CALLED), (0xfff8, framed), (0xffff, Rule::SIGNAL)];
    assert_eq!(table.page(1).unwrap(), first);
    assert_eq!(table.page(2).unwrap(), [(0, Rule::SIGNAL), (0x20, Rule::FRAME_POINTER)]);
}

#[test]
fn where_the_code_begins_is_in_the_module_or_its_relocations() {
    let table = || table(0xffff_fff1, 0, 0x120, &functions());
    let mut module = vec![0; 0x250];
    module[176..184].copy_from_slice(&TEXT.to_le_bytes());
    assert_eq!(rows(&program(table(), vec![Section::plain(".go.module", MODULE, module)])), expected());
    let relocation = |place: u64, value: u64| [place, 8, value].map(u64::to_le_bytes).concat();
    let relocations = [relocation(MODULE, TABLE), relocation(MODULE + 176, TEXT)].concat();
    let more = || vec![Section::plain(".rela.dyn", 0xb_0000, relocations.clone())];
    assert_eq!(rows(&program(table(), more())), expected());
    // Also where the module has a section, which is zero as long as nobody relocates it.
    let mut both = more();
    both.push(Section::plain(".go.module", MODULE, vec![0; 0x250]));
    assert_eq!(rows(&program(table(), both)), expected());
    // Without, nothing is known.
    let unknown = [(0, Rule::FRAME_POINTER), (0x1000, Rule::GAP)];
    assert_eq!(rows(&program(table(), vec![])), unknown);
}

#[test]
fn what_is_not_understood_is_left_to_frame_pointers() {
    let unknown = [(0, Rule::FRAME_POINTER), (0x1000, Rule::GAP)];
    let sound = table(0xffff_fff1, TEXT, 0x120, &functions());
    for (at, byte) in [(0, 0xfb), (4, 1), (6, 4), (7, 4), (12, 1), (11, 1)] {
        let mut bytes = sound.clone();
        bytes[at] = byte;
        assert_eq!(rows(&program(bytes, vec![])), unknown, "byte {at}");
    }
    assert_eq!(rows(&program(sound[..70].to_vec(), vec![])), unknown);
    // A list that falls.
    let mut falling = functions();
    falling.swap(0, 1);
    assert_eq!(rows(&program(table(0xffff_fff1, TEXT, 0x120, &falling), vec![])), unknown);
}

/// Everything of a file, which must be in order whatever the table is.
fn read_all(bytes: &[u8]) {
    let mut table = Table::open(&file(bytes)).unwrap();
    for number in table.pages() {
        let rows = table.page(number).unwrap();
        assert_eq!(rows[0].0, 0);
        assert!(rows.windows(2).all(|pair| pair[0].0 < pair[1].0 && pair[0].1 != pair[1].1));
    }
    if let Ok(Some(mut names)) = names::GoNames::open(&Arc::new(file(bytes))) {
        for address in (TEXT..TEXT + 0x140).step_by(3) {
            // Whatever it says, it ends and does not panic.
            let _ = names.look(address);
        }
    }
}

proptest! {
    #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::with_cases(128) })]

    #[test]
    fn damaged_tables_do_no_harm(
        changes in vec((any::<Index>(), any::<u8>()), 1..20),
        tail in any::<Index>(),
        version in 0..3_usize,
    ) {
        let magic = [0xffff_fff1, 0xffff_fff0, 0xffff_fffa][version];
        let mut bytes = table(magic, TEXT, 0x120, &functions());
        for (index, value) in changes {
            let at = 4 + index.index(bytes.len() - 4);
            bytes[at] = value;
        }
        bytes.truncate(bytes.len() - tail.index(bytes.len()) / 8);
        read_all(&program(bytes, vec![]));
    }

    #[test]
    fn random_tables_do_no_harm(
        content in vec(any::<u8>(), 0..500),
        small in vec(0..16_u8, 0..500),
        relocations in vec(any::<u8>(), 0..500),
    ) {
        for bytes in [content, small] {
            let bytes = [&0xffff_fff1_u32.to_le_bytes()[..], &[0, 0, 1, 8], &bytes].concat();
            let module = Section::plain(".go.module", MODULE, bytes.clone());
            read_all(&program(bytes, vec![module, Section::plain(".rela.dyn", 0xb_0000, relocations.clone())]));
        }
    }

    /// Random places of random changes in a sound list.
    #[test]
    fn random_changes_do_no_harm(changes in vec((vec(any::<u8>(), 0..100), any::<u8>()), 1..10)) {
        let functions: Vec<Function> = changes
            .into_iter()
            .zip((0..).step_by(0x40))
            .map(|((steps, flags), start)| (start, "main.f", steps, flags))
            .collect();
        read_all(&program(table(0xffff_fff1, TEXT, 0x1000, &functions), vec![]));
    }
}
