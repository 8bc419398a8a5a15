//! What an agent wrote beside what it sent.

use std::collections::BTreeMap;
use std::time::{Duration, Instant};

use crate::{Pprof, Session, Target, folder};

/// Samples by function at the leaf.
pub type Sums = BTreeMap<String, i64>;

/// Samples by the start of their window, nanoseconds since the Unix epoch.
pub type Windows = BTreeMap<i64, Sums>;

/// Adds a profile's samples.
pub fn add(windows: &mut Windows, profile: &Pprof) {
    let sums = windows.entry(profile.proto.time_nanos).or_default();
    for stack in &profile.stacks {
        *sums.entry(stack.names().first().copied().unwrap_or_default().to_owned()).or_default() +=
            stack.samples;
    }
}

/// Bytes of a profile, read.
pub fn read(session: &Session, bytes: &[u8]) -> Pprof {
    let path = session.path("arrived.pb.gz");
    assert!(std::fs::write(&path, bytes).is_ok(), "a file");
    Pprof::read(&path)
}

/// What the agent wrote of a program into its folder, `out`.
pub fn written(session: &Session, target: &Target) -> Windows {
    let own = format!("-{}.", target.pid());
    let mut windows = BTreeMap::new();
    for file in folder::profiles(&session.path("out")) {
        if file.to_string_lossy().contains(&own) {
            add(&mut windows, &Pprof::read(&file));
        }
    }
    windows
}

/// All windows in one.
pub fn sum(windows: Windows) -> Sums {
    let mut sums = Sums::new();
    for (name, count) in windows.into_values().flatten() {
        *sums.entry(name).or_default() += count;
    }
    sums
}

/// Waits; two minutes are no statement about speed.
pub fn wait_until(what: &str, mut done: impl FnMut() -> bool) {
    let deadline = Instant::now() + Duration::from_secs(120);
    while !done() {
        assert!(Instant::now() < deadline, "never: {what}");
        std::thread::sleep(Duration::from_millis(100));
    }
}
