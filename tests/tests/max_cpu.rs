//! The cap on CPU time: it is kept, and what waits for it is naming and not counting.

use std::time::{Duration, Instant};

use profiler_tests::busy::Busy;
use profiler_tests::outcomes::count_in_comments;
use profiler_tests::{Pprof, Profiler, Program, Session, Target, brief, cpu, folder};

/// How long each agent runs.
const LENGTH: Duration = Duration::from_secs(20);

/// What an agent did.
#[derive(Debug)]
struct Seen {
    /// CPUs that it used, its start and its end left out.
    cpus: f64,
    /// Windows with the program that was always busy.
    windows: usize,
    /// Ticks in its profiles, whatever became of them.
    ticks: i64,
    /// CPU time of that program while the agent ran, in ticks.
    expected: f64,
    /// Frames of that program that have no name.
    nameless: usize,
}

/// Runs an agent whose windows are short, so that it has much to do.
fn run_agent(session: &Session, target: &Target, folder_name: &str, more: &[&str]) -> Seen {
    const HERTZ: u32 = 199;
    let (out, hertz) = (session.path(folder_name), HERTZ.to_string());
    let mut args = vec!["agent", "-o", folder_name, "--window", "500ms", "-F", &hertz];
    args.extend(more);
    let mut agent = Profiler::new(session.folder(), args).start();
    agent.wait_until_sampling();
    let (begin, used, worked) =
        (Instant::now(), cpu::seconds_of_family(agent.pid()), cpu::seconds_of(target.pid()));
    std::thread::sleep(LENGTH);
    let cpus = (cpu::seconds_of_family(agent.pid()) - used) / begin.elapsed().as_secs_f64();
    // It counts no further from here on, while it may take long to name what it has.
    agent.signal(libc::SIGTERM);
    let expected = (cpu::seconds_of(target.pid()) - worked) * f64::from(HERTZ);
    agent.finish().assert_success();
    let mut seen = Seen { cpus, windows: 0, ticks: 0, expected, nameless: 0 };
    // Windows of the same second have names with a number behind the pid.
    let own = format!("-{}.", target.pid());
    for file in folder::profiles(&out).iter().filter(|file| file.to_string_lossy().contains(&own)) {
        seen.windows += 1;
        let profile = Pprof::read(file);
        let comments = profile.comments();
        let number = |name: &str| count_in_comments(&comments, name).unwrap_or(0);
        seen.ticks += number("complete") + number("truncated") + number("lost");
        let frames = profile.stacks.iter().flat_map(|stack| &stack.frames);
        seen.nameless += frames.filter(|frame| !frame.is_kernel() && frame.name.is_empty()).count();
    }
    seen
}

#[test]
fn a_cap_stretches_naming_and_loses_no_tick() {
    let session = Session::begin();
    let target = Target::start(&Program::Pie.build(), &["burn"]);
    let python = "import json\nwhile True: json.loads(json.dumps({str(i): [i] for i in range(999)}))";
    let _python = Busy::start(std::process::Command::new("python3").args(["-c", python]));
    // New processes all the time, each with a file to be written.
    let _spawner = brief::spawner(6000, 120, &brief::copies(&session, "brief-", 20));

    let free = run_agent(&session, &target, "free", &[]);
    let cap = free.cpus / 2.0;
    let capped = run_agent(&session, &target, "capped", &["--max-cpu", &format!("{cap:.4}")]);
    // Shown with --nocapture.
    eprintln!("cap {cap:.4}\nfree {free:?}\ncapped {capped:?}");
    // What follows processes and walks stacks waits for nobody, and a piece of work is not cut in two.
    assert!(capped.cpus < 0.75 * free.cpus, "{cap} {free:?} {capped:?}");
    assert!(capped.windows < free.windows, "windows are stretched: {free:?} {capped:?}");
    // Ticks that a virtual machine delivered late are missing in both.
    let share = |seen: &Seen| seen.ticks as f64 / seen.expected;
    let ratio = share(&capped) / share(&free);
    assert!((0.85..1.15).contains(&ratio), "ticks are counted, or counted as lost: {free:?} {capped:?}");
    for seen in [&free, &capped] {
        assert!(share(seen) > 0.5, "ticks are missing: {seen:?}");
        assert_eq!(seen.nameless, 0, "names come late, but they come: {seen:?}");
    }
}
