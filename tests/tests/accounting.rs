//! The sum of a profile is the CPU time that was spent.

use profiler_tests::cpu::CpuWatch;
use profiler_tests::outcomes::{count_in_comments, is_sample};
use profiler_tests::stats::assert_cpu;
use profiler_tests::{Pprof, Profiler, Program, Session, Summary, Target};

/// Both CPUs busy, the whole host recorded: the burners' sampled time against their own clocks, and the counters.
fn check(hertz: i64, duration: &str) {
    let session = Session::begin();
    let chain = Program::Pie.build();
    let burners = [Target::start(&chain, &["burn"]), Target::start(&chain, &["syscall"])];
    let pids = burners.each_ref().map(Target::pid);
    let watch = CpuWatch::start(&pids);
    let run = Profiler::new(
        session.folder(),
        ["record", "-d", duration, "-F", &hertz.to_string(), "-o", "x.pb.gz", "--json"],
    )
    .run();
    let log = watch.finish();
    run.assert_success();
    let profile = Pprof::read(&session.path("x.pb.gz"));
    let summary = Summary::of(&run);

    let period = profile.proto.period;
    assert!((period - 1_000_000_000 / hertz).abs() <= 1, "period is 1e9/Hz, not {period}");
    let (from, until) = profile.span();
    let spent = |pid: &u32| log.process(*pid, from, until);
    let of_pid = |pid: &u32| profile.cpu_ns(|s| s.label("pid") == pid.to_string());
    let (sampled, expected) = (pids.iter().map(of_pid).sum(), pids.iter().map(spent).sum());
    assert_cpu("both burners", sampled, expected, profile.capacity_ns(), period, 0.03);
    for pid in &pids {
        assert_cpu("one burner", of_pid(pid), spent(pid), profile.capacity_ns(), period, 0.03);
    }

    summary.assert_consistent();
    assert_eq!(profile.samples(|_| true), summary.samples, "samples in the file and in the JSON\n{run}");
    assert_eq!(profile.cpu_ns(|_| true), summary.samples * period, "every sample is one period\n{run}");
    assert_eq!(summary.lost(), 0, "nothing is lost\n{run}");
    let comments = profile.comments();
    for (name, count) in summary.outcomes.iter().filter(|(name, count)| is_sample(name) && **count > 0) {
        assert_eq!(count_in_comments(&comments, name), Some(*count), "{name} in the comments {comments:?}");
    }
}

#[test]
fn at_19_hz() {
    check(19, "20s");
}

#[test]
fn at_99_hz() {
    check(99, "10s");
}

#[test]
fn at_999_hz() {
    check(999, "5s");
}
