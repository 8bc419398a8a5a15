//! More than is comfortable: many processes, more stacks than fit.

use profiler_tests::chain::Chain;
use profiler_tests::cpu::CpuWatch;
use profiler_tests::outcomes::count_in_comments;
use profiler_tests::stats::assert_cpu;
use profiler_tests::{Pprof, Profiler, Program, Session, Summary, Target};

/// How long to record; a minute when `PROFILER_TEST_LONG` is set.
fn duration() -> &'static str {
    if std::env::var_os("PROFILER_TEST_LONG").is_some() { "60s" } else { "8s" }
}

#[test]
fn fifty_busy_processes_lose_nothing() {
    let session = Session::begin();
    let chain = Program::Pie.build();
    let targets: Vec<Target> = (0..50).map(|_| Target::start(&chain, &["burn"])).collect();
    let pids: Vec<u32> = targets.iter().map(Target::pid).collect();
    let watch = CpuWatch::start(&pids);
    let run =
        Profiler::new(session.folder(), ["record", "-d", duration(), "-F", "99", "-o", "x.pb.gz", "--json"])
            .run();
    let log = watch.finish();
    run.assert_success();
    let summary = Summary::of(&run);
    summary.assert_consistent();
    assert_eq!(summary.lost(), 0, "nothing is lost\n{run}");

    let profile = Pprof::read(&session.path("x.pb.gz"));
    let (from, until) = profile.span();
    let (mut sampled, mut spent) = (0, 0);
    for &pid in &pids {
        let cpu = profile.cpu_ns(|s| s.label("pid") == pid.to_string());
        let expected = log.process(pid, from, until);
        assert_cpu(&format!("pid {pid}"), cpu, expected, profile.capacity_ns(), profile.proto.period, 0.03);
        sampled += cpu;
        spent += expected;
    }
    assert_cpu("all fifty", sampled, spent, profile.capacity_ns(), profile.proto.period, 0.03);
    let stacks: Vec<_> = profile.stacks.iter().filter(|s| s.label("process") == "chain-pie").collect();
    Chain::of(Program::Pie).assert_whole("all fifty", &stacks);
}

#[test]
fn more_stacks_than_fit_are_counted_and_said() {
    let session = Session::begin();
    let target = Target::start(&Program::Pie.build(), &["distinct"]);
    let pid = target.pid();
    let watch = CpuWatch::start(&[pid]);
    let run = Profiler::new(
        session.folder(),
        [
            "record",
            "-p",
            &pid.to_string(),
            "-d",
            "6s",
            "-F",
            "499",
            "-o",
            "x.pb.gz",
            "--max-stacks",
            "64",
            "--json",
        ],
    )
    .run();
    let log = watch.finish();
    run.assert_success();
    run.check(run.stderr.contains("stack"), "stderr says that stacks did not fit");

    let profile = Pprof::read(&session.path("x.pb.gz"));
    let (from, until) = profile.span();
    let spent = log.process(pid, from, until);
    // What did not fit loses its stack, not its time: the process keeps its total.
    let sampled = profile.cpu_ns(|s| s.label("pid") == pid.to_string());
    assert_cpu("total", sampled, spent, profile.capacity_ns(), profile.proto.period, 0.03);

    let summary = Summary::of(&run);
    assert_eq!(summary.outcomes.values().sum::<i64>(), summary.ticks, "every tick has one outcome\n{run}");
    let complete = summary.outcomes.get("complete").copied().unwrap_or(0);
    run.check(complete < profile.samples(|_| true), "stacks that did not fit are not complete");
    let named = count_in_comments(&profile.comments(), "complete");
    assert_eq!(named, Some(complete), "the file says it too: {:?}", profile.comments());
}
