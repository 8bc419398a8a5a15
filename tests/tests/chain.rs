//! A process that is recorded by pid: shares of its functions and order of its callers, for all ways to build it.

use std::path::{Path, PathBuf};
use std::process::Command;

use profiler_tests::chain::Chain;
use profiler_tests::programs::must_run;
use profiler_tests::stats::assert_at_least;
use profiler_tests::{Pprof, Profiler, Program, Session, Target, elf, pprof};

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

/// A program without symbols whose debug file lies elsewhere.
struct Split {
    program: PathBuf,
    debug: PathBuf,
}

/// Splits a build with a build-id of its own, made of `seed`, into a stripped program and `app.debug`.
fn split(session: &Session, seed: &str) -> Split {
    let program = session.path("chain-split");
    let debug = session.path("app.debug");
    let unique = format!("{:08x}{:016x}", std::process::id(), profiler_tests::cpu::unix_now());
    let id = format!("{seed}{unique}{:0>14}", "");
    let mut gcc = Command::new("gcc");
    gcc.args(["-O2", "-g", "-fno-omit-frame-pointer", "-mno-omit-leaf-frame-pointer"])
        .args(["-fno-optimize-sibling-calls", &format!("-Wl,--build-id=0x{id}"), "-o"])
        .arg(&program)
        .arg(Program::Debug.source());
    must_run(&mut gcc);
    assert_eq!(elf::build_id(&program).as_deref(), Some(&*id));
    must_run(Command::new("objcopy").arg("--only-keep-debug").args([&program, &debug]));
    must_run(Command::new("strip").arg("--strip-all").arg(&program));
    assert_eq!(elf::symbol_count(&program), 0, "the program is stripped");
    Split { program, debug }
}

/// A file that is removed at the end, with the folder that was made for it.
struct Installed {
    file: PathBuf,
    made_folder: bool,
}

impl Installed {
    fn new(from: &Path, file: PathBuf) -> Installed {
        let folder = file.parent().map(Path::to_owned).unwrap_or_default();
        let made_folder = !folder.exists();
        let installed = Installed { file, made_folder };
        let copied = std::fs::create_dir_all(folder).and_then(|()| std::fs::copy(from, &installed.file));
        assert!(copied.is_ok(), "cannot install {}: {copied:?}", installed.file.display());
        installed
    }
}

impl Drop for Installed {
    fn drop(&mut self) {
        // What cannot be removed at the end of a test is not worth a second panic.
        let _ = std::fs::remove_file(&self.file);
        if let (true, Some(folder)) = (self.made_folder, self.file.parent()) {
            let _ = std::fs::remove_dir(folder);
        }
    }
}

#[test]
fn stripped_with_a_debug_file_by_build_id() {
    let session = Session::begin();
    let split = split(&session, "e2");
    let id = elf::build_id(&split.program).unwrap();
    let file = format!("/usr/lib/debug/.build-id/{}/{}.debug", &id[..2], &id[2..]);
    let _installed = Installed::new(&split.debug, file.into());
    let target = Target::start(&split.program, &["burn"]);
    let profile = record(&session, &target);
    Chain::of(Program::Debug).assert_in(&profile, target.pid());
}

#[test]
fn stripped_with_a_debug_file_by_debuglink() {
    let session = Session::begin();
    let split = split(&session, "e3");
    let folder = session.path(".debug");
    let _installed = Installed::new(&split.debug, folder.join("app.debug"));
    let link = format!("--add-gnu-debuglink={}", split.debug.display());
    must_run(Command::new("objcopy").arg(link).arg(&split.program));
    std::fs::remove_file(&split.debug).unwrap();
    let target = Target::start(&split.program, &["burn"]);
    let profile = record(&session, &target);
    Chain::of(Program::Debug).assert_in(&profile, target.pid());
}
