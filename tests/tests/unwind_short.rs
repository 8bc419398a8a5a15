//! Thousands of processes that live for some milliseconds: whether they are seen, and what they leave behind.

use std::collections::BTreeSet;

use profiler_tests::brief::{copies, spawn};
use profiler_tests::held::Held;
use profiler_tests::outcomes::count_in_comments;
use profiler_tests::stats::SIGMAS;
use profiler_tests::{Frame, Profiler, Session, Stack, pprof, recording};

#[test]
fn ten_thousand_processes_in_a_minute() {
    let (count, seconds) =
        if std::env::var_os("PROFILER_TEST_LONG").is_some() { (10_000, 60) } else { (1_500, 9) };
    let session = Session::begin();
    let programs = copies(&session, "brief-", 4);
    let (mut spawner, mut spent) = (0, 0);
    let profile = recording::of_host_during(&session, || (spawner, spent) = spawn(count, seconds, &programs));

    let names: BTreeSet<String> = (0..4).map(|n| format!("brief-{n}")).collect();
    let is_brief = |s: &Stack| names.contains(s.label("process"));
    let found = profile.cpu_ns(is_brief);
    // Until it execs, a process has the name of the one that spawned it, and rightly so.
    let is_unborn =
        |s: &Stack| s.label("process") == "brief-spawner" && s.label("pid") != spawner.to_string();
    let unborn = profile.cpu_ns(is_unborn);
    profile.check(unborn * 10 < found, &format!("{unborn} ns before exec, {found} ns after"));
    // Where the host of a virtual machine runs something else, time is accounted to a task while its ticks come late: no
    // sampler sees it. What is expected is then less by the share of ticks that were missed.
    let missed = count_in_comments(&profile.comments(), "missed").unwrap_or(0);
    let late = missed as f64 * profile.proto.period as f64 / profile.capacity_ns() as f64;
    let least = 0.95 * (1.0 - late.min(0.2));
    // Sampling error: each of the host's ticks hits with the share of the CPU time that the processes had.
    let ticks = profile.capacity_ns() as f64 / profile.proto.period as f64;
    let p = (spent as f64 / profile.capacity_ns() as f64).min(1.0);
    let error = SIGMAS * (ticks * p * (1.0 - p)).sqrt() * profile.proto.period as f64;
    profile.check(
        (found + unborn) as f64 >= least * spent as f64 - error,
        &format!(
            "{found} + {unborn} ns sampled of {spent} ns spent, at least {least:.3} of it expected, sampling error \
             {error:.0} ns"
        ),
    );
    profile.check(
        names.iter().all(|name| profile.values("process").contains(name.as_str())),
        "every program is there under its name",
    );

    let is_named = |s: &Stack| !s.frames.iter().any(|f| f.name.is_empty() || f.is_remark());
    let named = profile.cpu_ns(|s| is_brief(s) && is_named(s));
    let unnamed = profile.stacks.iter().filter(|s| is_brief(s) && !is_named(s));
    let shown = pprof::describe(unnamed, 10);
    assert!(named as f64 >= 0.9 * found as f64, "{named} of {found} ns have named frames\n{shown}");
    // Named, and right: it is in this function that they work.
    let is_work = |f: &Frame| f.name == "brief_leaf";
    let working = profile.cpu_ns(|s| is_brief(s) && s.frames.iter().any(is_work));
    profile.check(working * 2 > found, &format!("{working} of {found} ns in brief_leaf"));
}

#[test]
fn a_thousand_processes_leave_nothing_behind() {
    // Files of other programs: fewer than a round has programs.
    const OTHERS: u64 = 8;
    let session = Session::begin();
    let agent = ["agent", "-o", "out", "--window", "2s", "-F", "99"];
    let mut agent = Profiler::new(session.folder(), agent).start();
    agent.wait_until_sampling();
    // The first two thousand fill what is kept on purpose: the caches of names, the allocator's arenas and the tables of
    // libc. Each round has programs of its own, so that what is kept per program is found as well as what is kept per
    // process.
    spawn(1000, 6, &copies(&session, "first-", 20));
    spawn(1000, 6, &copies(&session, "second-", 20));
    let settled = Held::settled(agent.pid(), |_| false);
    spawn(1000, 6, &copies(&session, "third-", 20));
    let after = Held::settled(agent.pid(), |held| held.is_back_at(&settled, OTHERS));
    agent.signal(libc::SIGTERM);
    agent.finish().assert_success();
    assert!(after.is_back_at(&settled, OTHERS), "after two thousand {settled:?}, after the third {after:?}");
}
