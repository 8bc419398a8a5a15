//! The agent: files per process and window, and what is left when it ends, however it ends.

use std::collections::BTreeSet;
use std::path::Path;
use std::time::{Duration, Instant};

use profiler_tests::bpf::BpfObjects;
use profiler_tests::chain::Chain;
use profiler_tests::pprof_tool::pprof;
use profiler_tests::{Pprof, Profiler, Program, Running, Session, Target, folder};

fn start(session: &Session) -> Running {
    let mut agent =
        Profiler::new(session.folder(), ["agent", "-o", "out", "--window", "2s", "-F", "99"]).start();
    agent.wait_until_sampling();
    agent
}

/// Polls until there are `count` windows; fails after two minutes, which is no statement about speed.
fn wait_for_windows(out: &Path, count: usize) {
    let deadline = Instant::now() + Duration::from_secs(120);
    loop {
        let files = if out.exists() { folder::profiles(out) } else { Vec::new() };
        let windows: BTreeSet<&Path> = files.iter().filter_map(|file| file.parent()).collect();
        if windows.len() >= count {
            return;
        }
        assert!(Instant::now() < deadline, "{} windows instead of {count} in {files:?}", windows.len());
        std::thread::sleep(Duration::from_millis(100));
    }
}

/// Asserts that there are only whole profiles with the right names.
fn assert_tidy(out: &Path) {
    for file in folder::files(out) {
        let below = file.strip_prefix(out).unwrap_or(&file);
        assert!(folder::is_agent_path(below), "not a name of an agent's file: {}", below.display());
        Pprof::read(&file);
    }
}

#[test]
fn files_appear_and_the_reference_reader_takes_them() {
    let session = Session::begin();
    let out = session.path("out");
    let target = Target::start(&Program::Pie.build(), &["burn"]);
    let agent = start(&session);
    wait_for_windows(&out, 2);
    agent.signal(libc::SIGTERM);
    agent.finish().assert_success();
    assert_tidy(&out);

    let files = folder::profiles_of(&out, target.pid());
    assert!(files.len() >= 2, "a file per window: {files:?}");
    for file in &files {
        let name = file.file_name().and_then(|name| name.to_str()).unwrap();
        assert_eq!(name, format!("chain-pie-{}.cpu.pb.gz", target.pid()));
        let profile = Pprof::read(file);
        profile.check(profile.values("pid") == [&*target.pid_label()].into(), "one process per file");
        profile.check(profile.values("process") == ["chain-pie"].into(), "the process has its name");
        Chain::of(Program::Pie).assert_whole(name, &profile.of_pid(target.pid()));
        assert!(pprof(file, &["-top"]).contains("leaf_heavy"));
        assert!(pprof(file, &["-raw"]).contains("PeriodType: cpu nanoseconds"));
    }
    // The windows touch: what one leaves out, the next has.
    let spans: Vec<_> = files.iter().map(|file| Pprof::read(file).span()).collect();
    for pair in spans.windows(2) {
        let gap = (pair[1].0 - pair[0].1).abs();
        assert!(gap < 100_000_000, "{gap} ns between two windows: {spans:?}");
    }
}

#[test]
fn sigterm_writes_the_last_window() {
    let session = Session::begin();
    let target = Target::start(&Program::Pie.build(), &["burn"]);
    let mut agent =
        Profiler::new(session.folder(), ["agent", "-o", "out", "--window", "1h", "-F", "99"]).start();
    agent.wait_until_sampling();
    std::thread::sleep(Duration::from_secs(2));
    agent.signal(libc::SIGTERM);
    agent.finish().assert_success();
    let files = folder::profiles_of(&session.path("out"), target.pid());
    assert!(files.len() == 1, "the window that had begun: {files:?}");
    let profile = Pprof::read(&files[0]);
    Chain::of(Program::Pie).assert_whole("last window", &profile.of_pid(target.pid()));
}

#[test]
fn sigkill_leaves_nothing_torn_and_nothing_in_the_kernel() {
    let session = Session::begin();
    let out = session.path("out");
    let _busy = Target::start(&Program::Pie.build(), &["burn"]);
    // Kills fall on different moments of a window, among them the one in which files are written.
    for delay_ms in [0, 5, 20, 100, 700] {
        let before = BpfObjects::now();
        let agent = start(&session);
        let loaded = BpfObjects::now().since(&before);
        assert!(!loaded.programs.is_empty() && !loaded.maps.is_empty(), "the agent loads BPF: {loaded:?}");
        let windows = if out.exists() { folder::profiles(&out).len() } else { 0 };
        let deadline = Instant::now() + Duration::from_secs(120);
        while !out.exists() || folder::profiles(&out).len() == windows {
            assert!(Instant::now() < deadline, "no further window");
            std::thread::sleep(Duration::from_millis(1));
        }
        std::thread::sleep(Duration::from_millis(delay_ms));
        agent.signal(libc::SIGKILL);
        let run = agent.finish();
        run.check(run.status.code().is_none(), "it was killed");
        loaded.assert_gone();
        folder::profiles(&out).iter().for_each(|file| drop(Pprof::read(file)));
    }
    // A file that a killed agent had begun: of the next start, nothing of it remains.
    let agent = start(&session);
    agent.signal(libc::SIGTERM);
    agent.finish().assert_success();
    assert_tidy(&out);
}
