//! Deep stacks, of functions whose frames differ.

use profiler_tests::shape::{assert_all, check};
use profiler_tests::{Bare, Session, Shape, Target, recording};

/// The levels in between, leaf first: `deep.c` picks the function by the remaining depth.
fn levels(depth: usize) -> impl Iterator<Item = &'static str> {
    (1..=depth).map(|level| ["down_a", "down_b", "down_c"][level % 3])
}

fn check_depth(depth: usize, options: &[&str]) {
    let session = Session::begin();
    let target = Target::start(&Bare::c("deep.c", "deep").build(), &[&depth.to_string()]);
    let profile = recording::of_targets_with(&session, &[&target], "3s", options);
    let main = |shape: Shape| shape.name("main").from_start();
    let whole = main(Shape::new().name("bottom").names(levels(depth)));
    assert_all([check(&format!("{depth} levels"), &profile.of_pid(target.pid()), &[whole])]);
}

#[test]
fn a_hundred_levels() {
    check_depth(100, &[]);
}

#[test]
fn nine_hundred_levels() {
    check_depth(900, &[]);
}

#[test]
fn nine_hundred_levels_on_kernels_before_5_17() {
    // Without bpf_loop a walk goes on in another run of the program.
    check_depth(900, &["--no-bpf-loop", "--no-batch"]);
}
