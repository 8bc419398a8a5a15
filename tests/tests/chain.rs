//! A process that is recorded by pid: shares of its functions and order of its callers, for all ways to build it.

use std::process::Command;

use profiler_tests::chain::Chain;
use profiler_tests::programs::must_run;
use profiler_tests::split::{Installed, Split};
use profiler_tests::stats::assert_at_least;
use profiler_tests::{Pprof, Profiler, Program, Session, Target, pprof};

/// Of the programs that are split into code and debug information.
const FRAME_POINTERS: [&str; 3] =
    ["-fno-omit-frame-pointer", "-mno-omit-leaf-frame-pointer", "-fno-optimize-sibling-calls"];

/// Records a running process for five seconds.
fn record(session: &Session, target: &Target) -> Pprof {
    let pid = target.pid_label();
    Profiler::new(session.folder(), ["record", "-p", &pid, "-d", "5s", "-F", "99", "-o", "x.pb.gz"])
        .run()
        .assert_success();
    Pprof::read(&session.path("x.pb.gz"))
}

fn check_chain(program: Program) {
    let session = Session::begin();
    let target = Target::start(&program.build(), &["burn"]);
    let profile = record(&session, &target);
    profile.check(profile.values("pid").len() == 1, "-p selects one process");
    Chain::of(program).assert_in(&profile, target.pid());
}

#[test]
fn pie() {
    check_chain(Program::Pie);
}

#[test]
fn no_pie() {
    check_chain(Program::NoPie);
}

#[test]
fn static_at_a_fixed_address() {
    check_chain(Program::Static);
}

#[test]
fn static_pie() {
    check_chain(Program::StaticPie);
}

#[test]
fn lld_with_addresses_other_than_offsets() {
    check_chain(Program::Lld);
}

#[test]
fn cpp_names_are_demangled() {
    check_chain(Program::Cpp);
}

#[test]
fn rust_names_are_demangled() {
    check_chain(Program::Rust);
}

#[test]
fn debug_information_gives_inlined_functions_and_lines() {
    let session = Session::begin();
    let program = Program::Debug;
    let target = Target::start(&program.build(), &["burn"]);
    let profile = record(&session, &target);
    let chain = Chain::of(program);
    chain.assert_in(&profile, target.pid());

    let inside: Vec<_> = profile.stacks.iter().filter(|s| chain.in_leaf(s)).collect();
    let total = pprof::samples(inside.iter().copied());
    let inlined =
        inside.iter().copied().filter(|s| s.frames.iter().any(|f| f.name == "spin_work" && f.inlined));
    assert_at_least("spin_work inlined into a leaf", pprof::samples(inlined), total, 0.95);

    // Two calls on neighbouring lines: a return address that is not moved into the call names the wrong one.
    for (leaf, call) in [("leaf_heavy", "line of the heavy call"), ("leaf_light", "line of the light call")] {
        let line = program.line_of(call);
        for stack in inside.iter().filter(|s| s.has(leaf)) {
            let Some(caller) = stack.frames.iter().find(|f| f.name == "chain_12") else { continue };
            assert_eq!(caller.line, line, "{leaf} is called on line {line}: {stack:?}");
            assert!(caller.file.ends_with("chain.c"), "{stack:?}");
        }
    }
}

#[test]
fn stripped_with_a_debug_file_by_build_id() {
    let session = Session::begin();
    let split = Split::build(&session, "e2", &FRAME_POINTERS);
    let _installed = split.install_by_build_id();
    let target = Target::start(&split.program, &["burn"]);
    let profile = record(&session, &target);
    Chain::of(Program::Debug).assert_in(&profile, target.pid());
}

#[test]
fn stripped_with_a_debug_file_by_debuglink() {
    let session = Session::begin();
    let split = Split::build(&session, "e3", &FRAME_POINTERS);
    let folder = session.path(".debug");
    let _installed = Installed::new(&split.debug, folder.join("app.debug"));
    let link = format!("--add-gnu-debuglink={}", split.debug.display());
    must_run(Command::new("objcopy").arg(link).arg(&split.program));
    std::fs::remove_file(&split.debug).unwrap();
    let target = Target::start(&split.program, &["burn"]);
    let profile = record(&session, &target);
    Chain::of(Program::Debug).assert_in(&profile, target.pid());
}
