//! The programs without frame pointers alone: what the other tests take for known is so.

use profiler_tests::elf::{self, Functions};
use profiler_tests::{Bare, Program, Session, Target};

/// `push %rbp; mov %rsp,%rbp`: how gcc and rustc set up a frame pointer.
const FRAME_POINTER: [u8; 4] = [0x55, 0x48, 0x89, 0xe5];

#[test]
fn the_chains_keep_no_frame_pointers() {
    let _session = Session::begin();
    for bare in Bare::chains() {
        let functions = Functions::of(&bare.build());
        for name in ["leaf_heavy", "leaf_light", "chain_12", "chain_06", "chain_01", "main"] {
            let code = functions.code(name);
            let code = code.unwrap_or_else(|| unreachable!("{} has a function {name}", bare.name()));
            let kept = code.windows(FRAME_POINTER.len()).any(|window| window == FRAME_POINTER);
            assert!(!code.is_empty() && !kept, "{name} of {} keeps a frame pointer", bare.name());
        }
    }
}

#[test]
fn builds_are_what_they_say() {
    let _session = Session::begin();
    for bare in Bare::chains() {
        let built = bare.build();
        let kind = std::fs::read(&built).map(|bytes| bytes[16]).unwrap_or_default();
        let fixed = ["bare-nopie", "bare-static"].contains(&bare.name());
        assert_eq!(kind, if fixed { 2 } else { 3 }, "{} is ET_EXEC or ET_DYN", bare.name());
        assert!(elf::symbol_count(&built) > 0, "{} has symbols", bare.name());
        assert!(elf::entry_offset(&built) > 0, "{} has an entry point in its code", bare.name());
        assert_eq!(Functions::of(&built).at(elf::entry_offset(&built)), Some("_start"));
    }
    elf::assert_vaddr_differs_from_offset(&Bare::c("chain.c", "bare-lld").lld().build());
    elf::assert_vaddr_differs_from_offset(&Bare::rust("chain.rs", "bare-rust-lld").lld().build());
}

#[test]
fn programs_run_and_report() {
    let _session = Session::begin();
    let plugins = [Bare::plugin(0), Bare::plugin(1)].map(|bare| bare.build().display().to_string());
    let runs: [(Bare, &[&str]); 7] = [
        (Bare::chain(), &["threads"]),
        (Bare::calls(), &["sort"]),
        (Bare::c("signals.c", "signals"), &["timer"]),
        (Bare::c("deep.c", "deep"), &["900"]),
        (Bare::c("plugins.c", "plugins"), &["1", &plugins[0], &plugins[1]]),
        (Bare::c("workers.c", "workers"), &["500"]),
        (Bare::cpp("throws.cpp", "throws"), &[]),
    ];
    for (bare, args) in runs {
        let target = Target::start(&bare.build(), args);
        // Each of them is to get into its loop, rather than to see the signal first.
        std::thread::sleep(std::time::Duration::from_millis(50));
        let report = target.stop();
        assert!(report.number("process", "cpu_ns") > 0, "{} reports its CPU time", bare.name());
    }
    // These two run until they are killed.
    drop(Target::start(&Bare::rust("chain.rs", "bare-rust").build(), &[]));
    drop(Target::start(&Bare::go("chain.go", "bare-go").build(), &[]));
}

#[test]
fn brief_processes_are_accounted() {
    let _session = Session::begin();
    let brief = Bare::c("brief.c", "brief").build();
    let path = brief.display().to_string();
    let report = Target::start(&brief, &["spawn", "20", "1", &path]).finish();
    assert_eq!(report.number("spawned", "count"), 20);
    // Of 5 to 20 ms they work about half, and never more than all.
    let cpu_ns = report.number("spawned", "cpu_ns");
    assert!(cpu_ns > 20 * 1_000_000, "{cpu_ns} ns of 20 processes");
}

#[test]
#[ignore = "`cargo xtask vm test` runs it before its machines, in which compilers are slow"]
fn what_other_kernels_run_is_built() {
    let relay = |name| Bare::c("relay.c", name);
    let mut programs = Bare::chains();
    programs.extend((0..10).map(Bare::plugin));
    programs.extend(["relay-pie", "relay-fork", "relay-vfork", "relay-work"].map(relay));
    programs.push(relay("relay-fixed").with(&["-fno-pie", "-no-pie", "-O3"]));
    programs.extend([
        Bare::c("signals.c", "signals"),
        Bare::c("deep.c", "deep"),
        Bare::c("plugins.c", "plugins"),
        Bare::c("workers.c", "workers"),
    ]);
    for program in programs {
        program.build();
    }
    Bare::chain().build_stripped();
    Program::Pie.build();
}
