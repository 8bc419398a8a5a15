//! Processes whose code is hard to find: deleted, in another mount namespace, gone in 200 ms, in the vdso, from a JIT.

use std::process::Command;

use profiler_tests::chain::{Chain, WHOLE};
use profiler_tests::stats::{assert_at_least, assert_cpu};
use profiler_tests::{Pprof, Profiler, Program, Session, Stack, Target, pprof};

fn record(session: &Session, target: &Target) -> Pprof {
    let pid = target.pid_label();
    Profiler::new(session.folder(), ["record", "-p", &pid, "-d", "4s", "-F", "99", "-o", "x.pb.gz"])
        .run()
        .assert_success();
    Pprof::read(&session.path("x.pb.gz"))
}

#[test]
fn a_program_that_was_deleted_while_it_runs() {
    let session = Session::begin();
    let copy = session.path("deleted");
    std::fs::copy(Program::Pie.build(), &copy).unwrap();
    let target = Target::start(&copy, &["burn"]);
    std::fs::remove_file(&copy).unwrap();
    let profile = record(&session, &target);
    Chain::of(Program::Pie).assert_in(&profile, target.pid());
    profile.check(profile.values("process") == ["deleted"].into(), "the process keeps its name");
    let main = profile.string(profile.proto.mapping[0].filename);
    profile.check(main.starts_with(copy.to_str().unwrap()), "the first mapping is the deleted program");
}

#[test]
fn a_program_that_only_its_own_mount_and_pid_namespace_sees() {
    let session = Session::begin();
    let tmpfs = session.path("tmpfs");
    std::fs::create_dir(&tmpfs).unwrap();
    let hidden = tmpfs.join("hidden");
    let mut unshare = Command::new("unshare");
    unshare.args(["--mount", "--pid", "--fork", "--kill-child", "--mount-proc", "sh", "-c"]);
    unshare.arg("mount -t tmpfs none \"$1\" && cp \"$2\" \"$3\" && exec \"$3\" burn");
    unshare.arg("sh").args([&tmpfs, &Program::Pie.build(), &hidden]);
    let target = Target::start_behind(&mut unshare);
    assert!(!hidden.exists(), "the program is not to be seen from here");
    let profile = record(&session, &target);
    Chain::of(Program::Pie).assert_in(&profile, target.pid());
    profile.check(profile.values("process") == ["hidden"].into(), "the process has its name");
    let main = profile.string(profile.proto.mapping[0].filename);
    profile.check(main == hidden.to_str().unwrap(), "the path is what the process sees");
}

#[test]
fn processes_that_live_for_200_ms() {
    let session = Session::begin();
    let copy = session.path("short-lived");
    std::fs::copy(Program::Pie.build(), &copy).unwrap();
    let mut recording =
        Profiler::new(session.folder(), ["record", "-d", "120s", "-F", "99", "-o", "x.pb.gz"]).start();
    recording.wait_until_sampling();
    let mut spent = 0;
    let mut pids = Vec::new();
    for _ in 0..20 {
        let report = Target::start(&copy, &["burn", "200"]).finish();
        spent += report.cpu_by_pid().values().sum::<i64>();
        pids.extend(report.cpu_by_pid().into_keys());
    }
    recording.signal(libc::SIGINT);
    recording.finish().assert_success();

    let profile = Pprof::read(&session.path("x.pb.gz"));
    // 20 ticks are expected of each, give or take a preemption: none is missed.
    for &pid in &pids {
        profile.check(
            !profile.of_pid(pid).is_empty(),
            &format!("no samples of pid {pid}, which lived for 200 ms"),
        );
    }
    // A pid's samples before exec belong to this test process, which forked it.
    let of_short = |s: &Stack| s.label("process") == "short-lived";
    let stacks: Vec<&Stack> = profile.stacks.iter().filter(|s| of_short(s)).collect();
    Chain::of(Program::Pie).assert_whole("short-lived", &stacks);
    let sampled = profile.cpu_ns(of_short);
    assert_cpu("short-lived", sampled, spent, profile.capacity_ns(), profile.proto.period, 0.03);
}

#[test]
fn time_in_the_vdso() {
    let session = Session::begin();
    let target = Target::start(&Program::Vdso.build(), &[]);
    let profile = record(&session, &target);
    let vdso: Vec<&Stack> =
        profile.stacks.iter().filter(|s| s.leaf().is_some_and(|l| l.mapping == "[vdso]")).collect();
    let total = pprof::samples(vdso.iter().copied());
    let shown = pprof::describe(&profile.stacks, 10);
    assert_at_least(&format!("samples in the vdso\n{shown}"), total, profile.samples(|_| true), 0.5);
    let named = vdso.iter().copied().filter(|s| s.leaf().is_some_and(|l| l.name.contains("clock_gettime")));
    assert_at_least(&format!("vdso leaves by name\n{shown}"), pprof::samples(named), total, 0.9);
    let called = vdso.iter().copied().filter(|s| s.has("vdso_caller") && s.has("main"));
    assert_at_least(&format!("callers of the vdso\n{shown}"), pprof::samples(called), total, 0.95);
}

#[test]
fn code_that_the_process_wrote_itself() {
    let session = Session::begin();
    let target = Target::start(&Program::Jit.build(), &[]);
    let area = |key: &str| target.announced().number("area", key);
    let (start, limit, code) = (area("start"), area("limit"), area("code"));
    let profile = record(&session, &target);

    let jit: Vec<&Stack> = profile
        .stacks
        .iter()
        .filter(|s| s.leaf().is_some_and(|l| (start..limit).contains(&l.address)))
        .collect();
    let total = pprof::samples(jit.iter().copied());
    let shown = pprof::describe(&profile.stacks, 10);
    assert_at_least(&format!("samples in the area\n{shown}"), total, profile.samples(|_| true), 0.95);
    for stack in &jit {
        let leaf = stack.leaf().unwrap();
        assert!((code..code + 32).contains(&leaf.address), "the address is kept: {leaf:x?}");
        assert!(leaf.mapping.starts_with("[anon"), "the mapping says that it is anonymous: {leaf:x?}");
    }
    // The call under the area, then its callers: by name and without gap.
    let called = jit.iter().copied().filter(|s| s.names().get(1..3) == Some(&["jit_caller", "main"]));
    assert_at_least(&format!("callers of the area\n{shown}"), pprof::samples(called), total, WHOLE);
    let mapping = profile.proto.mapping.iter().find(|m| m.memory_start == start);
    profile
        .check(mapping.is_some_and(|m| m.memory_limit == limit && m.build_id == 0), "the area is a mapping");
}
