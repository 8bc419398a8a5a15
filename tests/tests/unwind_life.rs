//! Stacks of processes whose memory changes: libraries come and go, programs replace themselves, threads end.

use std::os::unix::fs::{PermissionsExt, chown};
use std::process::Command;

use profiler_tests::chain::Chain;
use profiler_tests::shape::{assert_all, check, check_share};
use profiler_tests::{Bare, Program, Session, Shape, Stack, Target, emulated, recording};

fn chain() -> Shape {
    Shape::chain(&Chain::of(Program::Pie)).from_start()
}

#[test]
fn libraries_that_are_loaded_and_unloaded() {
    const PLUGINS: usize = 10;
    let session = Session::begin();
    let libraries: Vec<String> =
        (0..PLUGINS).map(|n| Bare::plugin(n).build().to_str().unwrap().to_owned()).collect();
    // Each works for 30 ms before another one takes its place, mostly at the same address.
    let args: Vec<&str> = std::iter::once("30").chain(libraries.iter().map(String::as_str)).collect();
    let target = Target::start(&Bare::c("plugins.c", "plugins").build(), &args);
    let profile = recording::of_targets(&session, &[&target], "4s");
    let main = |shape: Shape| shape.names(["load_and_run", "main"]).from_start();
    let in_libraries =
        |f: &profiler_tests::Frame| f.file_name().contains(".so") && !f.file_name().starts_with("plugin");
    let mut shapes = vec![
        main(Shape::in_library_calls().name("plugin_run")),
        // dlopen and dlclose.
        main(Shape::new().any(0..=40, "libc and the loader", in_libraries)),
    ];
    for n in 0..PLUGINS {
        let (leaf, middle) = (format!("plugin_leaf_{n}"), format!("plugin_middle_{n}"));
        shapes.push(main(Shape::new().maybe(&[&leaf]).names([&*middle, "plugin_run"])));
    }
    let stacks = profile.of_pid(target.pid());
    assert_all([check("plugins", &stacks, &shapes)]);
    for n in 0..PLUGINS {
        let leaf = format!("plugin_leaf_{n}");
        let named = |s: &&&Stack| s.leaf().is_some_and(|f| f.name == leaf);
        // A symbol of the library that was there before would be as good a name, if its file were not told.
        let file = format!("plugin{n}.so");
        let found: Vec<_> = stacks.iter().filter(named).collect();
        profile.check(!found.is_empty(), &format!("no samples in {leaf}"));
        let elsewhere: Vec<_> =
            found.iter().map(|s| &s.frames[0]).filter(|f| f.file_name() != file).collect();
        profile.check(elsewhere.is_empty(), &format!("{leaf} belongs to {file}: {elsewhere:x?}"));
    }
    let loads = target.stop().number("loads", "count");
    assert!(loads > 2 * PLUGINS as u64, "{loads} libraries were loaded");
}

/// The exact stacks of `relay.c` under the function that is specific to the mode.
fn relay(stage: &str, run: &[&str]) -> [Shape; 3] {
    [
        Shape::new().names(["stage_leaf", stage]).names(run),
        Shape::in_library_calls().name(stage).names(run),
        Shape::in_library_calls().names(run),
    ]
    .map(|shape| shape.name("main").from_start())
}

/// Checks processes that begin while they are recorded: their stacks are complete, and but for the share of time
/// before `main`, `working` of them are in the program's own functions.
fn check_beginners(what: &str, stacks: &[&Stack], exact: Vec<Shape>, working: f64) {
    let share = check_share(what, stacks, working, "       in the program's functions\n", |stack| {
        exact.iter().any(|shape| shape.fits(stack))
    });
    let mut shapes = exact;
    shapes.push(Shape::loader());
    // What ends in `main` without having been anywhere is neither in the loader nor in the program.
    shapes.push(Shape::in_library_calls().maybe(&["main"]).from_start());
    assert_all([check(what, stacks, &shapes), share]);
}

#[test]
fn exec_without_fork() {
    let session = Session::begin();
    let (pie, fixed) = (
        Bare::c("relay.c", "relay-pie").build(),
        Bare::c("relay.c", "relay-fixed").with(&["-fno-pie", "-no-pie", "-O3"]).build(),
    );
    let next = [fixed.to_str().unwrap(), pie.to_str().unwrap()];
    let target = Target::start(&pie, &["exec", "100", next[0], next[1]]);
    let profile = recording::of_targets(&session, &[&target], "5s");
    let stacks = profile.of_pid(target.pid());
    for name in ["relay-pie", "relay-fixed"] {
        let of_program = profile.samples(|s| s.label("process") == name);
        profile.check(of_program > 100, &format!("{of_program} samples of {name}"));
    }
    check_beginners("exec", &stacks, relay("stage", &["run_exec"]).into(), 0.9);
}

#[test]
fn fork_without_exec() {
    let session = Session::begin();
    let program = Bare::c("relay.c", "relay-fork").build();
    let profile = recording::of_host_during(&session, || {
        let target = Target::start(&program, &["fork", "20"]);
        std::thread::sleep(std::time::Duration::from_secs(3));
        drop(target);
    });
    let stacks: Vec<&Stack> = profile.with_label("process", "relay-fork").collect();
    let pids = stacks.iter().map(|s| s.label("pid")).collect::<std::collections::BTreeSet<_>>();
    assert!(pids.len() > 20, "{} processes", pids.len());
    check_beginners("fork", &stacks, relay("stage", &["run_fork"]).into(), 0.97);
}

#[test]
fn vfork_and_exec() {
    let session = Session::begin();
    let (parent, child) =
        (Bare::c("relay.c", "relay-vfork").build(), Bare::c("relay.c", "relay-work").build());
    let target = Target::start(&parent, &["vfork", "20", child.to_str().unwrap()]);
    let profile = recording::of_host_during(&session, || {
        std::thread::sleep(emulated::longer(std::time::Duration::from_secs(4)));
    });
    // Until it execs, the child runs on its parent's memory, under a pid and with a stack pointer of its own.
    let before: Vec<&Stack> = profile
        .with_label("process", "relay-vfork")
        .filter(|s| s.label("pid") != target.pid_label())
        .collect();
    let after: Vec<&Stack> = profile.with_label("process", "relay-work").collect();
    assert_all([check("before exec", &before, &relay("stage_rounds", &["run_vfork"]))]);
    check_beginners("after exec", &after, relay("stage", &[]).into(), 0.75);
}

#[test]
fn five_hundred_threads_a_second() {
    let session = Session::begin();
    let target = Target::start(&Bare::c("workers.c", "workers").build(), &["500"]);
    let profile = recording::of_targets(&session, &[&target], "4s");
    let shapes = [
        Shape::new().maybe(&["worker_leaf"]).names(["worker_middle", "worker"]).from_thread(),
        // At its start and end a thread is in libc only.
        Shape::in_library_calls().from_thread(),
        Shape::in_library_calls().name("main").from_start(),
        // glibc's clone3 has no unwind table around its system call, for the sake of the child, in which it would be
        // wrong. There the creating thread looks like the new one, whose stack begins in clone3.
        Shape::new().thread_root(),
    ];
    let stacks = profile.of_pid(target.pid());
    let workers: Vec<&Stack> = stacks.iter().copied().filter(|s| s.has("worker_leaf")).collect();
    assert_all([check("all threads", &stacks, &shapes), check("workers", &workers, &shapes[..1])]);
    let threads = target.stop().number("threads", "count");
    assert!(threads > 1000, "{threads} threads");
}

#[test]
fn a_setuid_program() {
    // Two users without privileges: one owns the program, the other runs it.
    const OWNER: u32 = 65534;
    const USER: u32 = 65533;
    let session = Session::begin();
    let program = session.path("setuid");
    std::fs::copy(Bare::chain().build(), &program).unwrap();
    chown(&program, Some(OWNER), None).unwrap();
    for (path, mode) in [(&*program, 0o4755), (session.folder(), 0o755)] {
        std::fs::set_permissions(path, PermissionsExt::from_mode(mode)).unwrap();
    }
    let user = USER.to_string();
    let mut setpriv = Command::new("setpriv");
    setpriv.args(["--reuid", &user, "--regid", &user, "--clear-groups"]).arg(&program).arg("burn");
    let target = Target::start_as(&mut setpriv);
    let status = std::fs::read_to_string(format!("/proc/{}/status", target.pid())).unwrap();
    let uids = format!("Uid:\t{USER}\t{OWNER}\t");
    assert!(status.contains(&uids), "it runs with its owner's rights:\n{status}");
    let profile = recording::of_targets(&session, &[&target], "3s");
    assert_all([check("setuid", &profile.of_pid(target.pid()), &[chain()])]);
}

#[test]
fn a_program_in_other_pid_and_mount_namespaces() {
    let session = Session::begin();
    let tmpfs = session.path("tmpfs");
    std::fs::create_dir(&tmpfs).unwrap();
    let hidden = tmpfs.join("hidden");
    let mut unshare = Command::new("unshare");
    unshare.args(["--mount", "--pid", "--fork", "--kill-child", "--mount-proc", "sh", "-c"]);
    unshare.arg("mount -t tmpfs none \"$1\" && cp \"$2\" \"$3\" && exec \"$3\" burn");
    unshare.arg("sh").args([&tmpfs, &Bare::chain().build(), &hidden]);
    let target = Target::start_behind(&mut unshare);
    assert!(!hidden.exists(), "the program is not to be seen from here");
    let profile = recording::of_targets(&session, &[&target], "3s");
    assert_all([check("namespaces", &profile.of_pid(target.pid()), &[chain()])]);
}
