//! What the agent does while nothing new runs: nothing that grows with the processes of the host.

use std::path::Path;
use std::time::{Duration, Instant};

use profiler_tests::{Profiler, Program, Session, Target, folder};

/// Polls until there are so many profiles; fails after two minutes, which is no statement about speed.
fn wait_for_profiles(out: &Path, count: usize) {
    let deadline = Instant::now() + Duration::from_secs(120);
    while !out.exists() || folder::profiles(out).len() < count {
        assert!(Instant::now() < deadline, "fewer than {count} profiles");
        std::thread::sleep(Duration::from_millis(50));
    }
}

#[test]
fn known_processes_are_not_looked_at_again() {
    let session = Session::begin();
    let targets = [(); 3].map(|()| Target::start(&Program::Pie.build(), &["burn"]));
    let calls = session.path("calls");
    let strace = ["strace", "-D", "-f", "-q", "-e", "trace=open,openat,readlink,readlinkat", "-o"];
    let wrapper: Vec<&str> = strace.into_iter().chain([calls.to_str().unwrap()]).collect();
    let args = ["agent", "-o", "out", "--window", "1s", "-F", "99"];
    let mut agent = Profiler::wrapped(session.folder(), &wrapper, args).start();
    agent.wait_until_sampling();
    let out = session.path("out");
    // Three windows in which the processes may be new, and some in which they are not.
    wait_for_profiles(&out, 3 * targets.len());
    let before = std::fs::read_to_string(&calls).unwrap();
    wait_for_profiles(&out, 7 * targets.len());
    let after = std::fs::read_to_string(&calls).unwrap();
    agent.signal(libc::SIGTERM);
    agent.finish().assert_success();

    let looks = |text: &str, target: &Target| text.matches(&format!("\"/proc/{}/", target.pid())).count();
    for target in &targets {
        assert!(looks(&before, target) > 0, "a process that is older than the agent is looked at once");
        let again = looks(&after, target) - looks(&before, target);
        assert!(
            again == 0,
            "pid {} was looked at again {again} times:\n{}",
            target.pid(),
            &after[before.len()..]
        );
    }
}
