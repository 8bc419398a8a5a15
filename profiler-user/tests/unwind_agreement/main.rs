//! Our unwind rules against what gimli reads from the same files, for every row of every frame description.
//!
//! `PROFILER_UNWIND_FILES` names more files, separated by colons.

#![expect(clippy::unwrap_used, reason = "clippy knows tests by their attribute, not their helpers")]

use std::{
    collections::HashMap,
    fs,
    fs::File,
    path::{Path, PathBuf},
};

use gimli::{
    BaseAddresses, CfaRule, CieOrFde, EhFrame, Encoding, EndianSlice, Expression, LittleEndian, Operation,
    Register, RegisterRule, UnwindContext, UnwindExpression, UnwindSection, UnwindTableRow,
};
use object::{Object, ObjectSection, ObjectSegment, elf::FileHeader64, read::elf::ElfFile};
use profiler_common::unwind::rule::{PAGE_SHIFT, Rule, fp, kind, ra};
use profiler_user::unwind::Table;

type Bytes<'data> = EndianSlice<'data, LittleEndian>;

/// One row of a frame description as gimli has it.
#[derive(Debug)]
struct Row {
    start: u64,
    end: u64,
    rule: Rule,
}

#[test]
fn the_c_library() {
    // The end of setcontext, when all registers are in a structure; it is one row in glibc 2.36.
    agree(&mapped("/libc.so"), 1);
}

#[test]
fn the_dynamic_linker() {
    agree(Path::new("/lib64/ld-linux-x86-64.so.2"), 0);
}

#[test]
fn this_test_itself() {
    agree(Path::new("/proc/self/exe"), 0);
}

/// Path of a library of this process.
fn mapped(name: &str) -> PathBuf {
    let maps = fs::read_to_string("/proc/self/maps").unwrap();
    let mut paths = maps.lines().filter_map(|line| line.split_whitespace().nth(5));
    PathBuf::from(paths.find(|path| path.contains(name)).unwrap())
}

#[test]
fn libraries_that_may_be_there() {
    for path in
        ["/lib/x86_64-linux-gnu/libcrypto.so.3", "/lib/x86_64-linux-gnu/libstdc++.so.6", "/usr/bin/python3"]
    {
        if Path::new(path).exists() {
            agree(Path::new(path), usize::MAX);
        }
    }
}

#[test]
fn files_that_the_environment_names() {
    let paths = std::env::var("PROFILER_UNWIND_FILES").unwrap_or_default();
    for path in paths.split(':').filter(|path| !path.is_empty()) {
        agree(Path::new(path), usize::MAX);
    }
}

/// Compares a file, of which only so many rows may be inexpressible.
fn agree(path: &Path, most_unsupported: usize) {
    let data = fs::read(path).unwrap();
    let rows = rows(&data);
    let mut looked_up = Lookup::open(path);
    let mut unsupported = 0;
    let mut previous_end = None;
    for (index, row) in rows.iter().enumerate() {
        let Row { start, end, rule } = row;
        let context = || format!("{}, row {index}: {row:x?}", path.display());
        assert_eq!(looked_up.rule(*start), *rule, "at the start, {}", context());
        assert_eq!(looked_up.rule(end - 1), *rule, "at the end, {}", context());
        if let Some(previous_end) = previous_end
            && previous_end < *start
        {
            for address in [previous_end, start - 1] {
                let found = looked_up.rule(address);
                assert!(may_fill(found, start - previous_end), "{found:?} before {}", context());
            }
        }
        previous_end = Some(*end);
        if *rule == Rule::UNSUPPORTED {
            println!("unsupported: {}", context());
            unsupported += 1;
        }
    }
    println!("{}: {} rows agree, {unsupported} of them unsupported", path.display(), rows.len());
    assert!(!rows.is_empty(), "{}", path.display());
    assert!(unsupported <= most_unsupported, "{unsupported} rows of {} are unsupported", path.display());
}

/// Whether a gap of so many bytes may have this rule, which is not from call-frame information.
fn may_fill(rule: Rule, bytes: u64) -> bool {
    match rule.kind {
        kind::GAP => true,
        // The system call that makes a thread; the first function of a program; entries of linkage tables.
        kind::CLONE | kind::END | kind::PLT => true,
        // Code that no compiler described.
        kind::FRAME_POINTER => bytes >= 4096,
        _ => false,
    }
}

/// The table under test.
struct Lookup {
    table: Table,
    pages: HashMap<u64, Vec<(u16, Rule)>>,
}

impl Lookup {
    fn open(path: &Path) -> Self {
        Self { table: Table::open(&File::open(path).unwrap()).unwrap(), pages: HashMap::new() }
    }

    fn rule(&mut self, address: u64) -> Rule {
        let number = address >> PAGE_SHIFT;
        let rows = self.pages.entry(number).or_insert_with(|| {
            assert!(self.table.pages().contains(&number));
            let rows = self.table.page(number).unwrap();
            assert_eq!(rows[0].0, 0);
            assert!(rows.windows(2).all(|pair| pair[0].0 < pair[1].0 && pair[0].1 != pair[1].1));
            rows
        });
        let after = rows.partition_point(|row| row.0 <= (address & 0xffff) as u16);
        rows[after - 1].1
    }
}

/// All rows of executable code in .eh_frame, in rising order.
fn rows(data: &[u8]) -> Vec<Row> {
    let elf = ElfFile::<FileHeader64<object::Endianness>>::parse(data).unwrap();
    let section = elf.section_by_name(".eh_frame").unwrap();
    let eh_frame = EhFrame::new(section.data().unwrap(), LittleEndian);
    let bases = BaseAddresses::default().set_eh_frame(section.address());
    let mut context = UnwindContext::new();
    let mut rows = Vec::new();
    let mut entries = eh_frame.entries(&bases);
    while let Some(entry) = entries.next().unwrap() {
        let CieOrFde::Fde(partial) = entry else {
            continue;
        };
        let fde = partial.parse(EhFrame::cie_from_offset).unwrap();
        let signal = fde.is_signal_trampoline();
        let encoding = fde.cie().encoding();
        let mut table = fde.rows(&eh_frame, &bases, &mut context).unwrap();
        while let Some(row) = table.next_row().unwrap() {
            let (start, end) = (row.start_address(), row.end_address().min(fde.end_address()));
            if start < end && is_code(&elf, start) && is_code(&elf, end - 1) {
                rows.push(Row { start, end, rule: rule(row, &eh_frame, encoding, signal) });
            }
        }
    }
    rows.sort_by_key(|row| row.start);
    // Functions that were folded into one are described more than once.
    rows.dedup_by_key(|row| row.start);
    rows
}

fn is_code(elf: &ElfFile<'_, FileHeader64<object::Endianness>>, address: u64) -> bool {
    elf.segments().any(|segment| {
        let executable = segment.permissions().executable();
        executable && (segment.address()..segment.address() + segment.file_range().1).contains(&address)
    })
}

/// The rule that a row calls for, in the plainest way.
fn rule(row: &UnwindTableRow<usize>, section: &EhFrame<Bytes<'_>>, encoding: Encoding, signal: bool) -> Rule {
    let operations = |expression: &UnwindExpression<usize>| {
        let Expression(bytes) = expression.get(section).unwrap();
        let mut operations = Expression(bytes).operations(encoding);
        let mut list = Vec::new();
        while let Some(operation) = operations.next().unwrap() {
            list.push(operation);
        }
        list
    };
    let return_address = row.register(Register(16));
    if return_address == Some(RegisterRule::Undefined) {
        return Rule::END;
    }
    let mut rule = match row.cfa() {
        CfaRule::RegisterAndOffset { register, offset } if register.0 < 16 => {
            Rule::offset(register.0 as u8, (*offset).try_into().unwrap())
        }
        CfaRule::RegisterAndOffset { .. } => return Rule::UNSUPPORTED,
        CfaRule::Expression(expression) => match operations(expression)[..] {
            [
                Operation::RegisterOffset { register: Register(7), offset: 160, .. },
                Operation::Deref { .. },
            ] if signal => {
                return Rule::SIGNAL;
            }
            [Operation::RegisterOffset { register, offset, .. }, Operation::Deref { .. }] => {
                deref(register, offset, 0)
            }
            [
                Operation::RegisterOffset { register, offset, .. },
                Operation::Deref { .. },
                Operation::PlusConstant { value },
            ] => deref(register, offset, value),
            [
                Operation::RegisterOffset { register: Register(7), offset: 8, .. },
                Operation::RegisterOffset { register: Register(16), offset: 0, .. },
                Operation::UnsignedConstant { value: 15 },
                Operation::And,
                Operation::UnsignedConstant { value },
                Operation::Ge,
                Operation::UnsignedConstant { value: 3 },
                Operation::Shl,
                Operation::Plus,
            ] => Rule { cfa_add: value as i16, ..Rule::special(kind::PLT) },
            _ => return Rule::UNSUPPORTED,
        },
    };
    match (row.register(Register(7)), &return_address) {
        (None, _) => {}
        (Some(RegisterRule::Register(register)), Some(RegisterRule::Register(_))) => {
            rule = Rule::offset(register.0 as u8, 0);
        }
        _ => return Rule::UNSUPPORTED,
    }
    match return_address {
        Some(RegisterRule::Offset(-8)) => {}
        Some(RegisterRule::Register(register)) if register.0 < 16 => {
            rule.ra = ra::REGISTER;
            rule.ra_register = register.0 as u8;
        }
        _ => return Rule::UNSUPPORTED,
    }
    match row.register(Register(6)) {
        None | Some(RegisterRule::SameValue | RegisterRule::Register(Register(6))) => {}
        Some(RegisterRule::Offset(offset)) => {
            rule.fp = fp::AT_CFA;
            rule.fp_offset = offset.try_into().unwrap();
        }
        Some(RegisterRule::Expression(expression)) => match operations(&expression)[..] {
            [Operation::RegisterOffset { register, offset, .. }] => {
                rule.fp = fp::AT_REGISTER;
                rule.fp_register = register.0 as u8;
                rule.fp_offset = offset.try_into().unwrap();
            }
            _ => rule.fp = fp::UNDEFINED,
        },
        Some(_) => rule.fp = fp::UNDEFINED,
    }
    rule
}

fn deref(register: Register, offset: i64, add: u64) -> Rule {
    Rule {
        cfa_register: register.0 as u8,
        cfa_offset: offset.try_into().unwrap(),
        cfa_add: add.try_into().unwrap(),
        ..Rule::special(kind::DEREF)
    }
}
