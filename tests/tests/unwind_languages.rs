//! Stacks of programs in C++, Rust and Go without frame pointers.

use profiler_tests::chain::Chain;
use profiler_tests::pprof::{Pprof, samples};
use profiler_tests::shape::{EXACT, Roots, assert_all, check, check_share};
use profiler_tests::{Bare, Frame, Program, Session, Shape, Stack, Target, elf, recording};

/// Names from `app::chain_<first>` up to `main`.
fn chain_from(first: usize) -> Vec<String> {
    let links = (1..=first).rev().map(|n| format!("app::chain_{n:02}"));
    links.chain(std::iter::once("main".to_owned())).collect()
}

/// libgcc's unwinder and what it calls, under the C++ runtime.
fn in_runtime(frame: &Frame) -> bool {
    ["libstdc++", "libgcc_s", "libc.so", "ld-linux"].iter().any(|file| frame.file_name().starts_with(file))
}

#[test]
fn cpp_that_throws_a_thousand_exceptions_a_second() {
    let session = Session::begin();
    let target = Target::start(&Bare::cpp("throws.cpp", "throws").build(), &[]);
    let profile = recording::of_targets(&session, &[&target], "4s");
    let mut shapes = Vec::new();
    for first in 1..=12 {
        // A throw, or the way on from the cleanup of one frame to the next; then the cleanup itself.
        let runtime = Shape::new().any(0..=24, "the C++ runtime", in_runtime).names(chain_from(first));
        let cleanup = Shape::new().name("app::Guard::~Guard").names(chain_from(first));
        shapes.extend([runtime, cleanup].map(Shape::from_start));
    }
    shapes.push(Shape::new().name("app::leaf").names(chain_from(12)).from_start());
    let stacks = profile.of_pid(target.pid());
    assert_all([check("throws", &stacks, &shapes)]);
    let unwinding = stacks.iter().filter(|s| s.frames.iter().any(|f| f.file_name().starts_with("libgcc_s")));
    let unwinding: i64 = unwinding.map(|s| s.samples).sum();
    assert!(unwinding > 0, "samples in the unwinder of exceptions");
    let exceptions = target.stop().number("exceptions", "count");
    assert!(exceptions > 1000, "{exceptions} exceptions");
}

#[test]
fn rust_release_builds() {
    let session = Session::begin();
    let builds = [Bare::rust("chain.rs", "bare-rust"), Bare::rust("chain.rs", "bare-rust-lld").lld()];
    let targets = builds.each_ref().map(|bare| Target::start(&bare.build(), &[]));
    let profile = recording::of_targets(&session, &targets.each_ref(), "4s");
    let chain = Chain::of(Program::Rust);
    // The standard library brings debug information that tells what was inlined, or does not, by distribution.
    let in_std =
        |f: &Frame| f.file_name().starts_with("bare-rust") && !f.name.is_empty() && f.path() != "main";
    let whole = || Shape::chain(&chain).any(1..=24, "std", in_std).name("main").from_start();
    assert_all(
        builds
            .iter()
            .zip(&targets)
            .map(|(bare, target)| check(bare.name(), &profile.of_pid(target.pid()), &[whole()])),
    );
}

/// Whether a stack ends where the runtime's own stacks do: where a thread begins or, of its scheduler, where a goroutine was
/// left for good.
fn ends_in_runtime(stack: &Stack) -> bool {
    let ends = ["runtime.mstart", "runtime.mcall", "runtime.morestack"];
    stack.names().last().is_some_and(|last| ends.contains(&last.trim_end_matches(".abi0")))
}

/// How Go programs are mostly deployed: without symbols and DWARF.
const STRIPPED: &[&str] = &["-ldflags=-s -w"];

/// A profile of a program, whose frames have their names also if it was stripped.
fn profile_of_go(session: &Session, program: &Bare, flags: &[&str]) -> (Target, Pprof) {
    let path = program.clone().with(flags).build();
    let target = Target::start(&path, &[]);
    let profile = recording::of_targets(session, &[&target], "4s");
    if !flags.is_empty() {
        assert_eq!(elf::symbol_count(&path), 0, "the program is stripped");
    }
    (target, profile)
}

#[test]
fn go() {
    go_chain(&[]);
}

#[test]
fn go_stripped() {
    go_chain(STRIPPED);
}

fn go_chain(flags: &[&str]) {
    let session = Session::begin();
    let (target, profile) = profile_of_go(&session, &Bare::go("chain.go", "bare-go"), flags);
    let links: Vec<String> = (1..=12).rev().map(|n| format!("main.chain{n:02}")).collect();
    let whole = |shape: Shape| {
        shape
            .names(&links)
            .names(["main.main", "runtime.main"])
            .one_of(&["runtime.goexit", "runtime.goexit.abi0"])
    };
    let shapes = [
        Shape::new().maybe(&["main.leafHeavy"]),
        Shape::new().maybe(&["runtime.memmove", "runtime.memmove.abi0"]).name("main.leafLight"),
    ]
    .map(whole);
    // The runtime's own threads and scheduler run beside the program.
    let is_the_runtimes =
        |stack: &Stack| ends_in_runtime(stack) && !stack.names().iter().any(|name| name.starts_with("main."));
    let stacks: Vec<&Stack> =
        profile.of_pid(target.pid()).into_iter().filter(|stack| !is_the_runtimes(stack)).collect();
    assert_all([check("go", &stacks, &shapes)]);
    let copying: i64 = stacks.iter().filter(|s| s.has("main.leafLight")).map(|s| s.samples).sum();
    assert!(copying > 50, "samples in the runtime's assembly: {copying}");
}

#[test]
fn go_collecting_garbage_on_the_threads_own_stacks() {
    go_garbage(&[]);
}

#[test]
fn go_stripped_collecting_garbage_on_the_threads_own_stacks() {
    go_garbage(STRIPPED);
}

fn go_garbage(flags: &[&str]) {
    let session = Session::begin();
    let bare = Bare::go("garbage.go", "garbage");
    let (target, profile) = profile_of_go(&session, &bare, flags);
    let stacks = profile.of_pid(target.pid());
    let collecting: Vec<&Stack> = stacks
        .iter()
        .copied()
        .filter(|s| s.has("runtime.systemstack") || s.has("runtime.systemstack.abi0"))
        .collect();
    assert!(samples(collecting.iter().copied()) > 100, "samples on the threads' own stacks");
    let roots = Roots::of(&[&bare.build()]);
    let expected = "       … down to goexit, mstart, mcall, clone or the entry\n";
    assert_all([check_share("garbage", &stacks, EXACT, expected, |stack| {
        roots.is_complete(stack) || ends_in_runtime(stack)
    })]);
}

#[test]
fn go_programs_of_milliseconds() {
    let session = Session::begin();
    let program = Bare::go("garbage.go", "garbage").build();
    let line = "timeout 0.03 \"$copy\" > /dev/null";
    let profile = recording::of_copies(&session, 499, &program, 100, line);
    let is_ours = |stack: &&Stack| stack.label("process").starts_with("garbage-");
    let stacks: Vec<&Stack> = profile.stacks.iter().filter(is_ours).collect();
    let is_the_runtimes = |s: &&&Stack| s.names().iter().any(|name| name.starts_with("runtime.systemstack"));
    let own = samples(stacks.iter().filter(is_the_runtimes).copied());
    assert!(own > 50, "{own} samples on the threads' own stacks");
    let roots = Roots::of(&[&program]);
    let expected = "       … down to goexit, mstart, mcall, clone or the entry\n";
    assert_all([check_share("garbage", &stacks, EXACT, expected, |stack| {
        roots.is_complete(stack) || ends_in_runtime(stack)
    })]);
}
