//! The label `thread`.

use profiler_tests::stats::{assert_cpu, assert_share};
use profiler_tests::{Pprof, Profiler, Program, Session, Target, cpu::CpuWatch};

#[test]
fn threads_are_told_apart_by_name() {
    let session = Session::begin();
    let target = Target::start(&Program::Pie.build(), &["threads"]);
    let pid = target.pid();
    let watch = CpuWatch::start(&[pid]);
    Profiler::new(
        session.folder(),
        ["record", "-p", &pid.to_string(), "-d", "10s", "-F", "99", "-o", "x.pb.gz"],
    )
    .run()
    .assert_success();
    let log = watch.finish();
    let profile = Pprof::read(&session.path("x.pb.gz"));
    let report = target.stop();
    assert_eq!(report.all("thread").count(), 2);

    let (from, until) = profile.span();
    let spent = |name: &str| log.thread(pid, name, from, until);
    let sampled = |name: &str| profile.samples(|s| s.label("thread") == name);
    let (alpha, beta) = (spent("alpha"), spent("beta"));
    let share = alpha as f64 / (alpha + beta) as f64;
    profile.check(profile.values("thread").is_subset(&["alpha", "beta", "chain-pie"].into()), "thread names");
    assert_share("alpha of alpha and beta", sampled("alpha"), sampled("alpha") + sampled("beta"), share);
    for name in ["alpha", "beta"] {
        let found = profile.cpu_ns(|s| s.label("thread") == name);
        assert_cpu(name, found, spent(name), profile.capacity_ns(), profile.proto.period, 0.03);
    }
}
