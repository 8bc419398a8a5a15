//! The rows of Go programs that were stripped against those of the whole ones: .gopclntab against .debug_frame and the
//! table of symbols, at every row of every function.

#![expect(clippy::unwrap_used, reason = "clippy knows tests by their attribute, not their helpers")]

use std::{collections::BTreeSet, fs, fs::File, path::Path, process::Command};

use object::{Object, ObjectSection, ObjectSymbol, SymbolKind};
use profiler_common::unwind::rule::{PAGE_SHIFT, Rule};
use profiler_user::unwind::Table;

/// Functions that may differ, for .debug_frame takes no account of what they do, and .gopclntab does.
const DIFFERENT: [&str; 6] = [
    // These align or replace the stack pointer; their frame pointer is right.
    "runtime.switchToCrashStack0",
    "runtime.callCgoSigaction",
    "runtime.callCgoMmap",
    "runtime.callCgoMunmap",
    "runtime.sigfwd",
    // It takes its return address off the stack.
    "syscall.rawVforkSyscall",
];
/// The name of two functions in the table of symbols, of which only the one in assembly changes stacks.
const TWICE: &str = "runtime.asmcgocall";

#[test]
fn a_program() {
    agree(&[]);
}

#[test]
fn a_position_independent_program() {
    agree(&["-buildmode=pie"]);
}

/// Builds a program twice and compares.
fn agree(flags: &[&str]) {
    let folder = tempfile::tempdir().unwrap();
    let source = concat!(env!("CARGO_MANIFEST_DIR"), "/../tests/programs/garbage.go");
    let [whole, stripped] = [&[][..], &["-ldflags=-s -w"]].map(|more: &[&str]| {
        let path = folder.path().join(format!("program{}", more.len()));
        let mut go = Command::new("go");
        go.args(["build", "-o"]).arg(&path).args(flags).args(more).arg(source);
        let status = go.current_dir(folder.path()).status();
        assert!(status.is_ok_and(|status| status.success()), "{go:?} (Debian's golang-go)");
        path
    });
    let data = fs::read(&stripped).unwrap();
    let elf = object::File::parse(&*data).unwrap();
    assert!(elf.symbols().next().is_none() && elf.section_by_name(".debug_frame").is_none());
    let data = fs::read(&whole).unwrap();
    let elf = object::File::parse(&*data).unwrap();
    assert!(elf.section_by_name(".debug_frame").is_some_and(|section| section.size() > 0));

    let (whole, stripped) = (rows(&whole), rows(&stripped));
    let places: BTreeSet<u64> = whole.iter().chain(&stripped).map(|row| row.0).collect();
    let (mut functions, mut compared) = (0, 0);
    let mut different = Vec::new();
    for symbol in elf.symbols().filter(|symbol| symbol.kind() == SymbolKind::Text && symbol.size() > 1) {
        let name = symbol.name().unwrap();
        let name = name.strip_suffix(".abi0").unwrap_or(name);
        functions += 1;
        // Go's .debug_frame ends one byte before the function does.
        let code = symbol.address()..symbol.address() + symbol.size() - 1;
        for place in [code.start].into_iter().chain(places.range(code.clone()).copied()) {
            compared += 1;
            let (one, other) = (rule(&whole, place), rule(&stripped, place));
            if one != other && name != TWICE && !DIFFERENT.contains(&name) {
                different.push(format!("{name}+{:#x}: {one:?}, {other:?}", place - code.start));
            }
        }
    }
    println!("{functions} functions, {compared} places");
    assert!(different.is_empty(), "{}", different.join("\n"));
    assert!(functions > 1000 && compared > 5000, "{functions} functions, {compared} places");
}

/// The rows of all pages, by address.
fn rows(path: &Path) -> Vec<(u64, Rule)> {
    let mut table = Table::open(&File::open(path).unwrap()).unwrap();
    let mut rows = Vec::new();
    for number in table.pages() {
        let page = table.page(number).unwrap();
        rows.extend(
            page.into_iter().map(|(offset, rule)| ((number << PAGE_SHIFT) + u64::from(offset), rule)),
        );
    }
    rows
}

fn rule(rows: &[(u64, Rule)], address: u64) -> Rule {
    rows[rows.partition_point(|row| row.0 <= address) - 1].1
}
