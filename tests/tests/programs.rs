//! The target programs alone: what the other tests take for known is so.

use profiler_tests::{Program, Session, Target, elf, target::Report};

#[test]
fn every_program_runs_and_ends() {
    let session = Session::begin();
    for program in Program::CHAINS.into_iter().chain([Program::Vdso, Program::Jit]) {
        let target = Target::start(&program.build(), &[]);
        std::thread::sleep(std::time::Duration::from_millis(50));
        if program != Program::Rust {
            assert!(target.stop().number("process", "cpu_ns") > 0, "{program:?} reports its CPU time");
        }
    }
    drop(session);
}

#[test]
fn the_leaves_take_seven_and_three_tenths() {
    let _session = Session::begin();
    for mode in ["burn", "syscall"] {
        let report = Target::start(&Program::Pie.build(), &[mode, "3000"]).finish();
        let (heavy, light) = (report.number("leaves", "heavy_tsc"), report.number("leaves", "light_tsc"));
        let share = heavy as f64 / (heavy + light) as f64;
        // By the cycle counter, which also runs while the program is preempted: hence not to the last digit.
        assert!((share - 0.7).abs() < 0.04, "{mode}: leaf_heavy takes {share:.4}");
    }
}

#[test]
fn syscall_mode_is_in_the_kernel() {
    let _session = Session::begin();
    let report = Target::start(&Program::Pie.build(), &["syscall", "1000"]).finish();
    let (system, cpu) = (report.number("process", "system_ns"), report.number("process", "cpu_ns"));
    assert!(system * 10 > cpu * 8, "{system} of {cpu} ns in the kernel");
}

#[test]
fn forks_report_five_processes() {
    let _session = Session::begin();
    let report: Report = Target::start(&Program::Pie.build(), &["forks", "100"]).finish();
    let spent = report.cpu_by_pid();
    assert_eq!(spent.len(), 5, "{spent:?}");
    assert!(spent.values().all(|&ns| ns >= 100_000_000), "{spent:?}");
}

#[test]
fn beta_sleeps_half_of_the_time() {
    let _session = Session::begin();
    let target = Target::start(&Program::Pie.build(), &["threads"]);
    std::thread::sleep(std::time::Duration::from_secs(1));
    let report = target.stop();
    let names: Vec<_> = report.all("thread").map(|line| line["name"].clone()).collect();
    assert!(
        names.len() == 2 && names.contains(&"alpha".into()) && names.contains(&"beta".into()),
        "{names:?}"
    );
}

#[test]
fn builds_are_what_they_say() {
    let _session = Session::begin();
    elf::assert_vaddr_differs_from_offset(&Program::Lld.build());
    elf::assert_vaddr_differs_from_offset(&Program::Rust.build());
    for program in Program::CHAINS {
        let built = program.build();
        assert!(elf::symbol_count(&built) > 0, "{program:?} has symbols");
        let kind = std::fs::read(&built).map(|bytes| bytes[16]).unwrap_or_default();
        let fixed = matches!(program, Program::NoPie | Program::Static);
        assert_eq!(kind, if fixed { 2 } else { 3 }, "{program:?} is ET_EXEC or ET_DYN");
    }
}
