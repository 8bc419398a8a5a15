//! Stacks of programs in C that keep no frame pointers: complete, and exactly right from the leaf to `_start`.

use profiler_tests::chain::Chain;
use profiler_tests::pprof::samples;
use profiler_tests::shape::{assert_all, check, name_by};
use profiler_tests::split::Split;
use profiler_tests::{Bare, Program, Session, Shape, Stack, Target, elf, recording};

/// The chain in C down to `_start`.
fn chain() -> Shape {
    Shape::chain(&Chain::of(Program::Pie)).from_start()
}

fn check_chains(mode: &str) {
    let session = Session::begin();
    let builds = Bare::chains();
    let targets: Vec<Target> = builds.iter().map(|bare| Target::start(&bare.build(), &[mode])).collect();
    let profile = recording::of_targets(&session, &targets.iter().collect::<Vec<_>>(), "8s");
    assert_all(
        builds.iter().zip(&targets).map(|(bare, t)| check(bare.name(), &profile.of_pid(t.pid()), &[chain()])),
    );
}

#[test]
fn every_build() {
    check_chains("burn");
}

#[test]
fn every_build_in_system_calls() {
    check_chains("syscall");
}

#[test]
fn threads() {
    let session = Session::begin();
    let target = Target::start(&Bare::chain().build(), &["threads"]);
    let profile = recording::of_targets(&session, &[&target], "3s");
    let chain = Chain::of(Program::Pie);
    let links = || chain.callers.iter().filter(|name| *name != "main");
    let working = Shape::new().maybe(&["leaf_heavy", "leaf_light"]).names(links());
    // One of the threads looks at its clock and sleeps now and then.
    let pausing = Shape::in_library_calls().maybe(&["done"]).names(links());
    let shapes = [working, pausing].map(|shape| shape.name("thread_main").from_thread());
    assert_all([check("threads", &profile.of_pid(target.pid()), &shapes)]);
}

#[test]
fn stripped() {
    let session = Session::begin();
    let bare = Bare::chain();
    let stripped = bare.build_stripped();
    let target = Target::start(&stripped, &["burn"]);
    let mut profile = recording::of_targets(&session, &[&target], "3s");
    name_by(&mut profile, &stripped, &bare.build());
    assert_all([check("stripped", &profile.of_pid(target.pid()), &[chain()])]);
}

#[test]
fn stripped_with_a_debug_file() {
    let session = Session::begin();
    let split = Split::build(&session, "e4", &["-fomit-frame-pointer", "-DOMIT_FRAMES"]);
    let _installed = split.install_by_build_id();
    let target = Target::start(&split.program, &["burn"]);
    let profile = recording::of_targets(&session, &[&target], "3s");
    assert_all([check("split", &profile.of_pid(target.pid()), &[inlined_chain()])]);
}

/// The chain of which debug information tells what was inlined into the leaves.
fn inlined_chain() -> Shape {
    let chain = Chain::of(Program::Debug);
    let inlined = |f: &profiler_tests::Frame| f.inlined;
    let shape = Shape::new().any(0..=4, "inlined", inlined).maybe(&[&chain.heavy, &chain.light]);
    shape.names(&chain.callers).from_start()
}

#[test]
fn stripped_with_rules_in_the_debug_file_only() {
    let session = Session::begin();
    let flags = ["-fomit-frame-pointer", "-DOMIT_FRAMES", "-fno-asynchronous-unwind-tables"];
    let split = Split::build(&session, "e5", &flags);
    assert!(!elf::sections(&split.debug, ".debug_frame").is_empty(), "the debug file has .debug_frame");
    let _installed = split.install_by_build_id();
    let target = Target::start(&split.program, &["burn"]);
    let profile = recording::of_targets(&session, &[&target], "3s");
    assert_all([check("split", &profile.of_pid(target.pid()), &[inlined_chain()])]);
}

#[test]
fn leaves_and_callbacks_in_libc() {
    let session = Session::begin();
    let program = Bare::calls().build();
    let targets = ["copy", "plt", "sort"].map(|mode| Target::start(&program, &[mode]));
    let [copy, plt, sort] = &targets;
    let profile = recording::of_targets(&session, &[copy, plt, sort], "4s");
    let entries = elf::sections(&program, ".plt");
    assert!(!entries.is_empty(), "{} calls through a procedure linkage table", program.display());
    let path = program.display().to_string();
    let in_plt = move |f: &profiler_tests::Frame| {
        f.mapping == path && entries.iter().any(|entry| entry.contains(&f.offset))
    };
    let main = |shape: Shape| shape.name("main").from_start();
    let copying = main(Shape::new().library("libc.so", 0..=2).name("copy_step"));
    let calling = [
        main(Shape::new().library("libc.so", 0..=1).name("plt_step")),
        main(Shape::new().any(1..=1, "an entry of the .plt", in_plt).name("plt_step")),
    ];
    let sorting = [
        // 256 items: qsort halves them eight times, with up to two frames and what was inlined into them for each.
        Shape::new().maybe(&["compare_leaf"]).name("compare").library("libc.so", 1..=40).name("sort_step"),
        Shape::new().library("libc.so", 0..=40).name("sort_step"),
    ]
    .map(main);
    assert_all([
        check("copy", &profile.of_pid(copy.pid()), &[copying]),
        check("plt", &profile.of_pid(plt.pid()), &calling),
        check("sort", &profile.of_pid(sort.pid()), &sorting),
    ]);
    // What the test is about has to be among the samples.
    let leaf_of = |target: &Target| {
        let stacks = profile.of_pid(target.pid());
        move |test: &dyn Fn(&profiler_tests::Frame) -> bool| {
            stacks.iter().filter(|s| s.leaf().is_some_and(test)).map(|s| s.samples).sum::<i64>()
        }
    };
    assert!(leaf_of(copy)(&|leaf| leaf.file_name().starts_with("libc.so")) > 100, "samples in memcpy");
    assert!(leaf_of(sort)(&|leaf| leaf.name == "compare_leaf") > 100, "samples in the callback");
    let entries = elf::sections(&program, ".plt");
    let in_table = |leaf: &profiler_tests::Frame| entries.iter().any(|entry| entry.contains(&leaf.offset));
    let hits = leaf_of(plt)(&in_table);
    assert!(hits > 30, "samples in the procedure linkage table: {hits}");
    let named = leaf_of(plt)(&|leaf| in_table(leaf) && leaf.name == "labs@plt");
    assert_eq!(named, hits, "samples in the entry have its name");
}

fn check_signals(mode: &str, signalled: impl Fn(Shape) -> Shape) {
    let session = Session::begin();
    let target = Target::start(&Bare::c("signals.c", "signals").build(), &[mode]);
    let profile = recording::of_targets(&session, &[&target], "3s");
    let frame_of_signal = |shape: Shape| {
        // libc's __restore_rt has a table, but no symbol that is always installed.
        signalled(shape.name("handler").library("libc.so", 1..=1))
    };
    let below = |shape: Shape| shape.name("main").from_start();
    let inner = |shape: Shape| shape.names(["inner", "middle", "outer"]);
    let shapes = [
        frame_of_signal(Shape::new().name("handler_leaf")),
        frame_of_signal(Shape::new()),
        inner(Shape::new()),
        inner(Shape::new().library("libc.so", 1..=4)),
        Shape::new().names(["middle", "outer"]),
        Shape::new().maybe(&["outer"]),
    ]
    .map(below);
    let stacks = profile.of_pid(target.pid());
    assert_all([check(mode, &stacks, &shapes)]);
    // The first samples come before any rule, and are walked in user space: both stacks have to be there.
    let unreadable = |s: &&Stack| s.frames.iter().any(|f| f.name == "[incomplete: unreadable_memory]");
    let cut = samples(stacks.iter().copied().filter(unreadable));
    assert_eq!(cut, 0, "samples whose stack could not be read");
    let handled = stacks.iter().filter(|s| s.has("handler_leaf")).map(|s| s.samples).sum::<i64>();
    assert!(handled > 100, "samples in the handler: {handled}");
}

#[test]
fn a_handler_on_an_alternate_stack_that_interrupts_any_instruction() {
    // Nearly all interruptions hit the loop of `inner`; the share of the others is below the tolerance.
    check_signals("timer", |shape| shape.names(["inner", "middle", "outer"]));
}

#[test]
fn a_handler_on_an_alternate_stack_in_a_system_call() {
    check_signals("raise", |shape| shape.library("libc.so", 1..=4).names(["inner", "middle", "outer"]));
}
