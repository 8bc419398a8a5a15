//! What can happen to an agent's host: no room, no memory, no CPU, clocks that step, CPUs that go, another agent.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

use profiler_tests::agent::assert_tidy;
use profiler_tests::cgroup::Cgroup;
use profiler_tests::cpu::CpuWatch;
use profiler_tests::programs::must_run;
use profiler_tests::stats::assert_cpu;
use profiler_tests::{Agent, Pprof, Profiler, Program, Session, Target, folder};

/// A file system of its own that holds little, unmounted when this goes.
struct SmallDisk(PathBuf);

impl SmallDisk {
    fn mount(path: PathBuf, size: &str) -> SmallDisk {
        assert!(fs::create_dir(&path).is_ok(), "{}", path.display());
        must_run(
            Command::new("mount").args(["-t", "tmpfs", "-o", &format!("size={size}"), "small"]).arg(&path),
        );
        SmallDisk(path)
    }
}

impl Drop for SmallDisk {
    fn drop(&mut self) {
        let _ = Command::new("umount").arg("--lazy").arg(&self.0).status();
    }
}

/// Writes to a file until there is no more room for it.
fn fill(filler: &Path) {
    let file = fs::File::options().append(true).create(true).open(filler);
    assert!(file.is_ok(), "{}", filler.display());
    if let Ok(mut file) = file {
        while std::io::Write::write_all(&mut file, &[1; 4096]).is_ok() {}
    }
}

#[test]
fn a_full_disk_costs_profiles_which_are_counted() {
    let session = Session::begin();
    let target = Target::start(&Program::Pie.build(), &["burn"]);
    let disk = SmallDisk::mount(session.path("disk"), "4m");
    let mut agent = Agent::wrapped(&session, &[], "disk/out", &[]);
    agent.assert_right("with room", target.pid());
    let filler = disk.0.join("filler");
    let before = agent.metric("profiler_profile_write_errors_total");
    agent.wait_until("could profiles not be written", |agent| {
        fill(&filler);
        agent.metric("profiler_profile_write_errors_total") > before
    });
    fs::remove_file(&filler).expect("the file");
    agent.assert_right("with room again", target.pid());
    assert!(
        agent.metric("profiler_profile_write_errors_total") < agent.metric("profiler_profiles_written_total")
    );
    let run = agent.finish();
    run.check(run.stderr.contains("cannot be written"), "the log says so");
    drop(disk);
}

#[test]
fn a_recording_without_room_says_so_and_leaves_nothing_unfinished() {
    let session = Session::begin();
    let target = Target::start(&Program::Pie.build(), &["burn"]);
    let disk = SmallDisk::mount(session.path("disk"), "4m");
    fs::create_dir(disk.0.join("out")).expect("a folder");
    fill(&disk.0.join("filler"));
    let pid = target.pid().to_string();
    let args = ["record", "-d", "300ms", "-p", &pid, "-o", "disk/out/", "--unwind-cache", "disk/cache"];
    let run = Profiler::new(session.folder(), args).run();
    run.check(run.status.code() == Some(1), "it fails");
    run.check(run.stderr.contains("No space left on device"), "it says why");
    assert_eq!(folder::files(&disk.0.join("out")), [] as [PathBuf; 0]);
}

#[test]
fn a_log_that_cannot_be_written_costs_no_profile() {
    let session = Session::begin();
    let target = Target::start(&Program::Pie.build(), &["burn"]);
    let full = ["sh", "-c", "exec \"$@\" -v 2>/dev/full", "sh"];
    let mut agent = Agent::wrapped(&session, &full, "out", &[]);
    agent.assert_right("without a log", target.pid());
    agent.finish();
}

/// Builds what is preloaded into the agent.
fn faulty(session: &Session) -> String {
    let source = concat!(env!("CARGO_MANIFEST_DIR"), "/programs/faulty.c");
    let library = session.path("faulty.so");
    must_run(Command::new("gcc").args(["-O2", "-shared", "-fPIC", source, "-o"]).arg(&library));
    format!("LD_PRELOAD={}", library.display())
}

#[test]
fn short_reads_are_read_on() {
    let session = Session::begin();
    let target = Target::start(&Program::Pie.build(), &["burn"]);
    let mut agent = Agent::wrapped(&session, &["env", &faulty(&session), "SHORT_READS=1"], "out", &[]);
    agent.assert_right("with short reads", target.pid());
    agent.finish();
}

#[test]
fn steps_of_the_wall_clock_move_names_of_windows_and_no_cpu_time() {
    let session = Session::begin();
    let target = Target::start(&Program::Pie.build(), &["burn"]);
    let clock = session.path("clock");
    fs::write(&clock, "0").expect("the clock");
    let set = format!("CLOCK_FILE={}", clock.display());
    let mut agent = Agent::wrapped(&session, &["env", &faulty(&session), &set], "out", &[]);
    agent.assert_right("before", target.pid());
    for (seconds, day) in [(-40 * 86_400_i64, "back"), (5 * 86_400, "forward"), (0, "right again")] {
        fs::write(&clock, seconds.to_string()).expect("the clock");
        agent.wait_until("a window by the other clock", |agent| {
            let files = agent.windows_of(target.pid());
            files.iter().any(|file| {
                (Pprof::read(file).span().0 - now_ns() - seconds * 1_000_000_000).abs() < 3_000_000_000
            })
        });
        // How long a window was is none of the wall clock's business, and nor is how much of it somebody ran.
        let files = agent.windows_of(target.pid());
        let longest = files.iter().map(|file| Pprof::read(file).proto.duration_nanos).max().unwrap_or(0);
        assert!(longest < 60_000_000_000, "a clock that went {day} made a window of {longest} ns");
        for file in &files {
            let profile = Pprof::read(file);
            let cpu = profile.cpu_ns(|_| true);
            profile.check(cpu <= profile.proto.duration_nanos * 13 / 10, "no more CPU time than time");
        }
    }
    // What became too old when the clock went forward was removed, and counted.
    assert!(agent.metric("profiler_windows_pruned_total") > 0.0);
    agent.finish();
}

fn now_ns() -> i64 {
    profiler_tests::cpu::unix_now()
}

#[test]
fn a_stopped_agent_misses_nothing_or_counts_it() {
    let session = Session::begin();
    let target = Target::start(&Program::Pie.build(), &["burn"]);
    let mut agent = Agent::start(&session, &["--window", "1s"]);
    agent.assert_right("before", target.pid());
    let long = std::env::var_os("PROFILER_TEST_LONG").is_some();
    let (before, watch) = (agent.all_ticks(), CpuWatch::start(&[target.pid()]));
    agent.signal(libc::SIGSTOP);
    std::thread::sleep(Duration::from_secs(if long { 60 } else { 8 }));
    agent.signal(libc::SIGCONT);
    // The window that was being counted, however long it became.
    agent.wait_for_windows(target.pid(), 2);
    let log = watch.finish();
    agent.assert_right("after", target.pid());
    let spent = log.process(target.pid(), 0, i64::MAX);
    let ticks = agent.all_ticks() - before;
    let period = 1e9 / 99.0;
    assert!(ticks * period > spent as f64 * 0.95, "{ticks} ticks for {spent} ns of the target alone");
    agent.finish();
}

#[test]
fn an_agent_without_cpu_time_catches_up() {
    let session = Session::begin();
    let target = Target::start(&Program::Pie.build(), &["burn"]);
    let cgroup = Cgroup::limited("cpu", cpu_file(), if cpu_file() == "cpu.max" { "max" } else { "-1" });
    let mut agent = Agent::start(&session, &[]);
    agent.assert_right("before", target.pid());
    cgroup.add(agent.pid());
    // Two milliseconds of every hundred, of which both CPUs' threads have to take theirs.
    cgroup.set(cpu_file(), if cpu_file() == "cpu.max" { "2000 100000" } else { "2000" });
    std::thread::sleep(Duration::from_secs(5));
    cgroup.set(cpu_file(), if cpu_file() == "cpu.max" { "max" } else { "-1" });
    agent.wait_until_right("after it was starved", target.pid());
    agent.finish();
}

/// The file with the quota, in the version of cgroups that has the controller.
fn cpu_file() -> &'static str {
    let version_1 = Path::new("/sys/fs/cgroup/cpu/cpu.cfs_quota_us").exists();
    if version_1 { "cpu.cfs_quota_us" } else { "cpu.max" }
}

#[test]
fn two_agents_share_a_folder() {
    let session = Session::begin();
    let target = Target::start(&Program::Pie.build(), &["burn"]);
    let mut first = Agent::start(&session, &[]);
    first.assert_right("alone", target.pid());
    let mut second = Agent::start(&session, &[]);
    second.assert_right("beside another one", target.pid());
    first.wait_for_windows(target.pid(), 4);
    for agent in [&first, &second] {
        assert_eq!(agent.metric("profiler_profile_write_errors_total"), 0.0);
    }
    let written =
        first.metric("profiler_profiles_written_total") + second.metric("profiler_profiles_written_total");
    let out = first.out().to_owned();
    // Both end before the folder is looked at, for the one that is left would be writing.
    for agent in [&first, &second] {
        agent.signal(libc::SIGTERM);
    }
    for agent in [first, second] {
        agent.end().assert_success();
    }
    // Neither has replaced what the other one wrote.
    let files = profiler_tests::folder::profiles(&out).len();
    assert!(files as f64 >= written, "{files} files of {written}");
    assert_tidy(&out);
}

/// CPU 1, which is brought back when this goes.
struct SecondCpu;

const ONLINE: &str = "/sys/devices/system/cpu/cpu1/online";

impl SecondCpu {
    fn set(online: bool) {
        let set = fs::write(ONLINE, if online { "1" } else { "0" });
        assert!(set.is_ok(), "this test needs a CPU that can be taken away: {ONLINE}: {set:?}");
    }
}

impl Drop for SecondCpu {
    fn drop(&mut self) {
        let _ = fs::write(ONLINE, "1");
    }
}

#[test]
fn cpus_that_go_and_come_are_followed() {
    let session = Session::begin();
    let targets = [(); 2].map(|()| Target::start(&Program::Pie.build(), &["burn"]));
    let mut agent = Agent::start(&session, &[]);
    agent.assert_right("with all CPUs", targets[0].pid());
    let second = SecondCpu;
    for _ in 0..2 {
        SecondCpu::set(false);
        agent.assert_right("with one CPU less", targets[0].pid());
        SecondCpu::set(true);
        agent.assert_right("with all CPUs again", targets[1].pid());
    }
    drop(second);
    // A CPU that is not ticked any more would cost half of the time.
    let watch = CpuWatch::start(&targets.each_ref().map(Target::pid));
    let files: Vec<_> = targets.iter().map(|target| agent.wait_for_windows(target.pid(), 6)).collect();
    let log = watch.finish();
    let (mut sampled, mut spent, mut capacity, mut period) = (0, 0, 0, 0);
    for (target, files) in targets.iter().zip(files) {
        for profile in files.iter().map(|file| Pprof::read(file)) {
            let (from, until) = profile.span();
            sampled += profile.cpu_ns(|_| true);
            spent += log.process(target.pid(), from, until);
            capacity += profile.capacity_ns();
            period = profile.proto.period;
        }
    }
    assert_cpu("both targets", sampled, spent, capacity, period, 0.08);
    agent.finish();
}

#[test]
fn too_little_memory_in_its_cgroup_is_said_or_kept_to() {
    let session = Session::begin();
    let _target = Target::start(&Program::Pie.build(), &["burn"]);
    let file = if Path::new("/sys/fs/cgroup/memory/memory.limit_in_bytes").exists() {
        "memory.limit_in_bytes"
    } else {
        "memory.max"
    };
    // As docs/operations.md has it for containers: the budget and some 100 MiB.
    let cgroup = Cgroup::limited("memory", file, "160M");
    let procs = cgroup.procs();
    let procs = procs.to_string_lossy().into_owned();
    let enter = ["sh", "-c", "echo $$ > \"$0\" && exec \"$@\"", &procs];
    let args = ["record", "-d", "4s", "-F", "99", "--memory", "48MiB", "-o", "x.pb.gz"];
    let run = Profiler::wrapped(session.folder(), &enter, args).run();
    run.assert_success();
    Pprof::read(&session.path("x.pb.gz"));
    // Less than the maps alone take.
    cgroup.set(file, "16M");
    let run = Profiler::wrapped(session.folder(), &enter, ["record", "-d", "1s", "-o", "y.pb.gz"]).run();
    run.check(run.status.code() != Some(0), "it cannot run there");
    run.check(!run.stderr.contains("panicked"), "it does not panic");
    run.check(!session.path("y.pb.gz").exists(), "and leaves no file");
}
