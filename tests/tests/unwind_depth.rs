//! Deep stacks, of functions whose frames differ.

use profiler_tests::shape::{assert_all, check};
use profiler_tests::{Bare, Session, Shape, Stack, Target, recording};

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

#[test]
fn frames_of_hundreds_of_kilobytes_in_processes_that_begin() {
    let session = Session::begin();
    let wide = Bare::c("wide.c", "wide").build();
    let profile = recording::of_copies(&session, 999, &wide, 400, "\"$copy\" 2");
    let stacks: Vec<&Stack> = profile.stacks.iter().filter(|s| s.has("wide")).collect();
    let thread = |shape: Shape| shape.names(["wide_middle", "wide"]).from_thread();
    let begins = Shape::in_library_calls().name("wide").from_thread();
    let shapes = [thread(Shape::in_library_calls()), thread(Shape::new().name("wide_leaf")), begins];
    assert_all([check("wide frames", &stacks, &shapes)]);
}

#[test]
fn stacks_that_a_copy_just_holds_in_processes_that_begin() {
    let session = Session::begin();
    let filled = Bare::c("filled.c", "filled").build();
    // Around eight kilobytes, of which the frames of libc and the loader's arguments take some.
    let profile = recording::of_copies(&session, 999, &filled, 96, "\"$copy\" $((6400 + 20 * i))");
    let stacks: Vec<&Stack> = profile.stacks.iter().filter(|s| s.has("filled")).collect();
    let whole = |shape: Shape| shape.name("filled").name("main").from_start();
    let shapes = [whole(Shape::new().name("filled_leaf")), whole(Shape::in_library_calls())];
    assert_all([check("filled frames", &stacks, &shapes)]);
}
