//! Ticks that never come: they are missed where CPU time was spent, and only there.

use std::time::Instant;

use profiler_tests::brief::{copies, spawner};
use profiler_tests::cpu::{CpuWatch, idle_seconds, online_cpus};
use profiler_tests::stats::{SIGMAS, assert_cpu};
use profiler_tests::{Bare, Pprof, Profiler, Session, Summary, Target};

const HERTZ: i64 = 199;

#[test]
fn the_time_of_an_idle_cpu_is_not_missed() {
    let session = Session::begin();
    // What wakes a CPU often, and leaves it idle most of the time.
    let spawner = spawner(500, 10, &copies(&session, "brief-", 2));
    let args =
        ["record", "-d", "600s", "-F", &HERTZ.to_string(), "-o", "x.pb.gz", "--json"].map(str::to_owned);
    let mut recording = Profiler::new(session.folder(), &args).start();
    recording.wait_until_sampling();
    let (begun, before) = (Instant::now(), idle_seconds());
    spawner.finish();
    recording.signal(libc::SIGINT);
    let run = recording.finish();
    let passed = begun.elapsed().as_secs_f64() * online_cpus() as f64;
    let busy = (passed - (idle_seconds() - before)) * HERTZ as f64;
    run.assert_success();
    let summary = Summary::of(&run);

    // The kernel has a last say: what it calls idle is no tick of ours.
    let counted = (summary.sampled() + summary.outcomes["missed"]) as f64;
    let most = 1.1 * busy + SIGMAS * busy.sqrt();
    assert!(busy > 100.0, "the host was busy for {busy:.0} ticks only");
    assert!(
        counted <= most,
        "{counted} ticks sampled or missed, of {busy:.0} busy ones\n{:?}",
        summary.outcomes
    );
}

#[test]
fn a_tick_that_the_kernel_skips_is_missed() {
    let session = Session::begin();
    let target = Target::start(&Bare::c("skipped.c", "skipped").build(), &[]);
    let pid = target.pid();
    let watch = CpuWatch::start(&[pid]);
    let args = ["record", "-d", "8s", "-F", &HERTZ.to_string(), "-o", "x.pb.gz", "--json"].map(str::to_owned);
    let run = Profiler::new(session.folder(), &args).run();
    let log = watch.finish();
    target.stop();
    run.assert_success();
    let profile = Pprof::read(&session.path("x.pb.gz"));
    let summary = Summary::of(&run);

    let (period, (from, until)) = (profile.proto.period, profile.span());
    let spent = log.process(pid, from, until);
    let missed = summary.outcomes["missed"] * period;
    assert!(missed > spent / 10, "{missed} ns missed of {spent} ns: the kernel skipped nothing\n{run}");
    // Nobody else misses any to speak of.
    let sampled = profile.cpu_ns(|stack| stack.label("pid") == pid.to_string());
    assert_cpu("sampled and missed", sampled + missed, spent, profile.capacity_ns(), period, 0.05);
}
