//! The fuzz targets over what is kept in `tests/fuzz`, whole and damaged. Needs neither root nor programs.

use std::fs;
use std::panic::{AssertUnwindSafe, catch_unwind};

use profiler_tests::fuzz::damage::{Numbers, damaged};
use profiler_tests::fuzz::{TARGETS, Target};

/// Damaged inputs of each target. `cargo xtask fuzz` does a million.
const DAMAGED: usize = 300;

/// Runs a target, and keeps the input where it fails.
fn run(target: &Target, what: &str, input: &[u8]) {
    let passed = catch_unwind(AssertUnwindSafe(|| (target.run)(input))).is_ok();
    if !passed {
        let kept = std::env::temp_dir().join(format!("fuzz-{}-{}", target.name, std::process::id()));
        let written = fs::write(&kept, input);
        assert!(passed, "{} fails with {what}: {} ({written:?})", target.name, kept.display());
    }
}

fn check(name: &str) {
    let Some(target) = Target::named(name) else { unreachable!("{name} is a target") };
    let inputs = target.inputs();
    assert!(!inputs.is_empty(), "{name} has no inputs in {}", target.corpus().display());
    run(target, "nothing", &[]);
    for (file, input) in &inputs {
        run(target, file, input);
    }
    let mut numbers = Numbers::new(1);
    for round in 0..DAMAGED {
        let (file, input) = &inputs[numbers.below(inputs.len())];
        let (_, other) = &inputs[numbers.below(inputs.len())];
        let input = damaged(input, other, target.longest, &mut numbers);
        run(target, &format!("{file}, damaged, round {round}"), &input);
    }
}

/// A test for each target.
macro_rules! targets {
    ($($name:ident)*) => {
        $(
            #[test]
            fn $name() {
                check(stringify!($name));
            }
        )*

        #[test]
        fn every_target_has_a_test() {
            let tested = [$(stringify!($name)),*];
            let all: Vec<&str> = TARGETS.iter().map(|target| target.name).collect();
            assert_eq!(all, tested);
        }
    };
}

targets!(elf eh_frame debug_frame pclntab step rows dwarf answers maps identity events pprof http configuration);
