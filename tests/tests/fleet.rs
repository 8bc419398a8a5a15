//! An agent that profiles at some times only, for others of its fleet do so at the other times.

use std::net::TcpStream;
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use profiler_tests::server::{free_port, get, metric};
use profiler_tests::{Pprof, Profiler, Program, Session, Target, folder};

fn unix_ns() -> i64 {
    let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    i64::try_from(now.as_nanos()).unwrap_or(i64::MAX)
}

#[test]
fn turns_of_a_host() {
    let session = Session::begin();
    let target = Target::start(&Program::Pie.build(), &["burn"]);
    let port = free_port();
    let address = format!("127.0.0.1:{port}");
    let args = ["agent", "-o", "out", "--window", "500ms", "-F", "100", "--http", &address];
    let agent = Profiler::new(
        session.folder(),
        [&args[..], &["--fleet-fraction", "0.5", "--fleet-interval", "2s"]].concat(),
    )
    .start();
    let deadline = Instant::now() + Duration::from_secs(60);
    while TcpStream::connect(("127.0.0.1", port)).is_err() {
        assert!(Instant::now() < deadline, "it never served");
        std::thread::sleep(Duration::from_millis(50));
    }
    let (mut seen, begun) = ([0; 2], Instant::now());
    let mut paused_at = Vec::new();
    // Which intervals are the host's is chance: three of each kind come within a minute, but for one time of millions.
    while seen.iter().any(|&turns| turns < 8) && begun.elapsed() < Duration::from_secs(100) {
        let before = unix_ns();
        let paused = metric(port, "profiler_paused") == 1.0;
        seen[usize::from(paused)] += 1;
        if paused {
            paused_at.push(before);
            assert_eq!(get(port, "/readyz").status, 200, "this is as it should be");
            assert_eq!(get(port, "/healthz").status, 200);
        }
        std::thread::sleep(Duration::from_millis(250));
    }
    assert!(seen.iter().all(|&turns| turns >= 8), "{seen:?}");
    // A request at a time that belongs to others says so.
    let mut refused = None;
    while refused.is_none() && begun.elapsed() < Duration::from_secs(150) {
        let answer = get(port, "/debug/pprof/profile?seconds=1");
        // At the ends of a turn there is a moment in which the capture starts or ends, and the answer says that.
        refused =
            (answer.status == 503).then(|| answer.text()).filter(|text| text.contains("--fleet-fraction"));
    }
    assert!(refused.is_some(), "no request was refused for it was others' turn");
    agent.signal(libc::SIGTERM);
    agent.finish().assert_success();

    let files = folder::profiles(&session.path("out"));
    assert!(!files.is_empty());
    let mut ticks = 0;
    for file in files {
        let profile = Pprof::read(&file);
        profile.check(profile.comments().contains(&"weight=2 (fleet fraction 0.5)"), "it says so");
        profile.check(profile.proto.period == 20_000_000, "twice the time between ticks");
        for stack in &profile.stacks {
            assert_eq!(stack.cpu_ns, stack.samples * 20_000_000);
        }
        let (start, length) = (profile.proto.time_nanos, profile.proto.duration_nanos);
        // A turn ends with a window that is drained and named.
        let inside = paused_at.iter().find(|&&at| at > start && at < start + length);
        assert_eq!(inside, None, "{} was counted while it was not the host's turn", file.display());
        ticks += profile.of_pid(target.pid()).iter().map(|stack| stack.samples).sum::<i64>();
    }
    assert!(ticks > 100, "{ticks}");
}
