//! The fuzz targets driven by libFuzzer, which `cargo xtask fuzz` builds and runs: the target is the one that the variable
//! `PROFILER_FUZZ_TARGET` names, the arguments are libFuzzer's. Without one, the targets and their longest inputs are listed.
#![no_main]
#![expect(clippy::panic, reason = "that is how a target says that something is wrong")]

use std::sync::LazyLock;
use std::sync::atomic::{AtomicU64, Ordering};

use profiler_tests::fuzz::{TARGETS, Target};

/// The longest that a case may take, microseconds of CPU time.
const LONGEST_US: u64 = 100_000;
/// How often a case is tried again that took so long: machines have other things to do.
const AGAIN: u32 = 3;

static CASES: AtomicU64 = AtomicU64::new(0);
static SLOWEST_US: AtomicU64 = AtomicU64::new(0);

static TARGET: LazyLock<Target> = LazyLock::new(|| {
    let Ok(name) = std::env::var("PROFILER_FUZZ_TARGET") else {
        for Target { name, longest, .. } in TARGETS {
            println!("{name} {longest}");
        }
        std::process::exit(0);
    };
    let Some(target) = Target::named(&name) else { panic!("PROFILER_FUZZ_TARGET={name:?} is no target") };
    let end = std::panic::take_hook();
    // libFuzzer's driver ends the process at each panic. Those of blazesym are caught where it is asked, and cost a file its names.
    std::panic::set_hook(Box::new(move |about| {
        if !about.location().is_some_and(|place| place.file().contains("/blazesym-")) {
            end(about);
        }
    }));
    // SAFETY: the function does nothing but read two counters and write to stderr, as functions at the end may.
    unsafe { libc::atexit(tell) };
    *target
});

extern "C" fn tell() {
    let (cases, slowest) = (CASES.load(Ordering::Relaxed), SLOWEST_US.load(Ordering::Relaxed));
    eprintln!("profiler-fuzz: {cases} cases, slowest {slowest} us");
}

/// CPU time of this process so far, microseconds: some targets have threads.
fn cpu_us() -> u64 {
    let mut time = libc::timespec { tv_sec: 0, tv_nsec: 0 };
    // SAFETY: the call writes into the variable, and the clock is there since Linux 2.6.12.
    unsafe { libc::clock_gettime(libc::CLOCK_PROCESS_CPUTIME_ID, &raw mut time) };
    u64::try_from(time.tv_sec).unwrap_or(0) * 1_000_000 + u64::try_from(time.tv_nsec).unwrap_or(0) / 1000
}

fn time_us(target: &Target, input: &[u8]) -> u64 {
    let before = cpu_us();
    (target.run)(input);
    cpu_us() - before
}

libfuzzer_sys::fuzz_target!(init: LazyLock::force(&TARGET), |input: &[u8]| {
    let target = &*TARGET;
    let mut took = time_us(target, input);
    for _ in 0..AGAIN {
        if took > LONGEST_US {
            took = took.min(time_us(target, input));
        }
    }
    CASES.fetch_add(1, Ordering::Relaxed);
    SLOWEST_US.fetch_max(took, Ordering::Relaxed);
    assert!(took <= LONGEST_US, "a case took {} ms", took / 1000);
});
