//! `record -- CMD`: the command with its descendants, and nothing else.

use std::collections::BTreeSet;

use profiler_tests::chain::Chain;
use profiler_tests::stats::assert_cpu;
use profiler_tests::target::Report;
use profiler_tests::{Pprof, Profiler, Program, Session, Target};

#[test]
fn a_command_and_its_descendants_and_nothing_else() {
    let session = Session::begin();
    let chain = Program::Pie.build();
    let beside = Target::start(&chain, &["burn"]);
    let run = Profiler::new(
        session.folder(),
        ["record", "-F", "99", "-o", "x.pb.gz", "--", chain.to_str().unwrap(), "forks", "1000"],
    )
    .run();
    run.assert_success();
    let profile = Pprof::read(&session.path("x.pb.gz"));
    let spent = Report::parse(&run.stdout).cpu_by_pid();
    run.check(spent.len() == 5, "the command's own output is passed through: five processes report");

    profile
        .check(profile.of_pid(beside.pid()).is_empty(), "a process beside the command is not in the profile");
    let expected: BTreeSet<String> = spent.keys().map(u32::to_string).collect();
    let found: BTreeSet<String> = profile.values("pid").into_iter().map(str::to_owned).collect();
    profile
        .check(found == expected, &format!("pids in the profile: {found:?}, of the command: {expected:?}"));

    let (period, capacity) = (profile.proto.period, profile.capacity_ns());
    let total = profile.cpu_ns(|_| true);
    assert_cpu("the command and all its children", total, spent.values().sum(), capacity, period, 0.03);
    for (pid, cpu) in spent {
        let sampled = profile.cpu_ns(|s| s.label("pid") == pid.to_string());
        assert_cpu(&format!("pid {pid}"), sampled, cpu, capacity, period, 0.03);
        Chain::of(Program::Pie).assert_whole(&format!("pid {pid}"), &profile.of_pid(pid));
    }
}

#[test]
fn the_exit_code_is_the_commands_own() {
    let session = Session::begin();
    for code in [0, 7, 143] {
        let exit = format!("exit {code}");
        Profiler::new(session.folder(), ["record", "-o", "x.pb.gz", "--", "sh", "-c", &exit])
            .run()
            .assert_code(code);
        Pprof::read(&session.path("x.pb.gz"));
    }
}

#[test]
fn a_command_that_does_not_exist() {
    let session = Session::begin();
    Profiler::new(session.folder(), ["record", "-o", "x.pb.gz", "--", "no-such-command-here"])
        .run()
        .assert_refused(&["no-such-command-here"]);
    assert!(!session.path("x.pb.gz").exists(), "nothing was recorded");
}

#[test]
fn the_default_file() {
    let session = Session::begin();
    let chain = Program::Pie.build();
    Profiler::new(session.folder(), ["record", "--", chain.to_str().unwrap(), "burn", "300"])
        .run()
        .assert_success();
    let profile = Pprof::read(&session.path("profile.pb.gz"));
    profile.check(profile.samples(|_| true) > 0, "samples of the command");
}

#[test]
fn a_folder_gets_one_file_per_process() {
    let session = Session::begin();
    let chain = Program::Pie.build();
    let run = Profiler::new(
        session.folder(),
        ["record", "-F", "99", "-o", "out/", "--", chain.to_str().unwrap(), "forks", "500"],
    )
    .run();
    run.assert_success();
    let spent = Report::parse(&run.stdout).cpu_by_pid();
    let mut seen = BTreeSet::new();
    for file in profiler_tests::folder::files(&session.path("out")) {
        let profile = Pprof::read(&file);
        let pids = profile.values("pid");
        profile.check(pids.len() == 1, "a file holds one process");
        seen.extend(pids.iter().filter_map(|pid| pid.parse().ok()).filter(|pid| spent.contains_key(pid)));
        profile.check(seen.len() <= spent.len(), "processes of the command only");
    }
    assert_eq!(seen, spent.into_keys().collect(), "a file for each process");
}

#[test]
fn ctrl_c_ends_early_and_writes() {
    let session = Session::begin();
    let target = Target::start(&Program::Pie.build(), &["burn"]);
    let pid = target.pid_label();
    let mut run =
        Profiler::new(session.folder(), ["record", "-d", "3600s", "-p", &pid, "-o", "x.pb.gz"]).start();
    run.wait_until_sampling();
    // Long enough for samples, whatever else runs here.
    std::thread::sleep(std::time::Duration::from_secs(2));
    run.signal(libc::SIGINT);
    run.finish().assert_success();
    let profile = Pprof::read(&session.path("x.pb.gz"));
    Chain::of(Program::Pie).assert_in(&profile, target.pid());
}
