//! Processes that live for milliseconds, by the hundreds.

use crate::{Bare, Session, Target};

/// Copies of `brief`, each a file of its own to the profiler.
pub fn copies(session: &Session, prefix: &str, count: usize) -> Vec<String> {
    let program = Bare::c("brief.c", "brief").build();
    let copy = |n: usize| {
        let path = session.path(&format!("{prefix}{n}"));
        let copied = std::fs::copy(&program, &path);
        assert!(copied.is_ok(), "cannot copy to {}: {copied:?}", path.display());
        path.display().to_string()
    };
    (0..count).map(copy).collect()
}

/// Starts the program that starts `count` processes over `seconds`, each of which lives for 5 to 20 ms.
pub fn spawner(count: usize, seconds: usize, programs: &[String]) -> Target {
    let (count, seconds) = (count.to_string(), seconds.to_string());
    let spawner = Bare::c("brief.c", "brief-spawner").build();
    let mut args = vec!["spawn", &*count, &*seconds];
    args.extend(programs.iter().map(String::as_str));
    Target::start(&spawner, &args)
}

/// Waits until they all have lived. Gives the pid of the program that started them and the CPU time, nanoseconds, that the
/// kernel accounted to them.
pub fn spawn(count: usize, seconds: usize, programs: &[String]) -> (u32, i64) {
    let target = spawner(count, seconds, programs);
    let pid = target.pid();
    let report = target.finish();
    assert_eq!(report.number("spawned", "count"), count as u64);
    (pid, report.number("spawned", "cpu_ns").cast_signed())
}
