//! Processes that make trouble for who looks at them.

use std::path::Path;
use std::process::Command;

use profiler_tests::busy::Busy;
use profiler_tests::cgroup::Cgroup;
use profiler_tests::{Agent, Pprof, Program, Session, Target};

#[test]
fn a_process_that_rewrites_its_mappings_all_the_time() {
    let session = Session::begin();
    let hostile = Target::start(&Program::Hostile.build(), &["remap"]);
    let good = Target::start(&Program::Pie.build(), &["burn"]);
    let mut agent = Agent::start(&session, &[]);
    agent.assert_right("beside it", good.pid());
    let held = agent.held();
    let windows = agent.wait_for_windows(hostile.pid(), 8);
    for profile in windows.iter().map(|file| Pprof::read(file)) {
        profile.check(profile.samples(|stack| stack.has("leaf_heavy")) > 0, "what stays is named");
    }
    // It has mapped something thousands of times.
    let after = agent.held();
    assert!(after.is_back_at(&held, 64), "{held:?} became {after:?}");
    agent.finish();
}

#[test]
fn a_fork_bomb_in_a_cgroup_of_its_own() {
    let session = Session::begin();
    let cgroup = Cgroup::limited("pids", "pids.max", "100");
    let good = Target::start(&Program::Pie.build(), &["burn"]);
    let mut agent = Agent::start(&session, &[]);
    agent.assert_right("before", good.pid());
    let held = agent.held();
    let bomb = Busy::start(cgroup.enter().arg(Program::Hostile.build()).arg("bomb"));
    agent.wait_until("was the bomb seen", |agent| agent.metric("profiler_processes") > 20.0);
    cgroup.kill_all();
    drop(bomb);
    agent.wait_until_right("after it", good.pid());
    let after = agent.held();
    assert!(after.files < held.files + 64, "{held:?} became {after:?}");
    agent.finish();
}

#[test]
fn names_with_line_feeds_and_terminal_escapes_stay_in_their_place() {
    let session = Session::begin();
    let program = session.path("evil\n\u{1b}[31mname");
    std::fs::copy(Program::Hostile.build(), &program).expect("a copy");
    let hostile = Target::start(&program, &["name"]);
    let mut agent = Agent::wrapped(&session, &[], "out", &["-v"]);
    let windows = agent.wait_for_windows(hostile.pid(), 1);
    let profile = Pprof::read(&windows[0]);
    profile.check(profile.samples(|stack| stack.has("leaf_heavy")) > 0, "it is named all the same");
    for stack in profile.of_pid(hostile.pid()) {
        for (key, value) in &stack.labels {
            assert!(!value.contains(char::is_control), "the label {key} is {value:?}");
        }
    }
    let run = agent.finish();
    run.check(!run.stderr.contains('\u{1b}'), "no escape comes to the terminal of who reads the log");
    let shown = profiler_tests::Profiler::new(session.folder(), [Path::new("top"), &windows[0]]).run();
    shown.assert_success().check(!shown.stdout.contains('\u{1b}'), "nor of who reads a report");
}

#[test]
fn a_process_that_says_it_is_in_another_container() {
    let session = Session::begin();
    let id = "0123456789abcdef".repeat(4);
    let mut command = Command::new(Program::Pie.build());
    command.arg("burn").env("HOSTNAME", &id[..12]);
    command.env("OTEL_RESOURCE_ATTRIBUTES", format!("container.id={id},k8s.container.name=bank"));
    let hostile = Target::start_as(&mut command);
    let mut agent = Agent::start(&session, &[]);
    let windows = agent.wait_for_windows(hostile.pid(), 1);
    let profile = Pprof::read(&windows[0]);
    // Which container it is in is the kernel's to say; what it calls itself is its own.
    let ids = profile.values("container_id");
    profile.check(!ids.contains(&*id), "the id comes from the cgroup alone");
    agent.finish();
}
