//! Makes system calls of a process fail, by strace(1): of all the ways it is the one that reaches every call, from whichever
//! library, and each by itself. A traced process is slow, so nothing here says anything of time.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use crate::{Session, family};

/// Calls of a process that fail until this is dropped.
#[derive(Debug)]
pub struct Fault {
    strace: Child,
    log: PathBuf,
}

impl Fault {
    /// From now on each call of this name fails in all threads of a process and of its descendants; `how` is what strace's `inject` takes, such as
    /// `error=ENOSPC`.
    pub fn begin(session: &Session, pid: u32, call: &str, how: &str) -> Fault {
        let log = session.path(&format!("strace-{call}"));
        let family = family::of(pid);
        let attach = family.iter().flat_map(|pid| ["-p".to_owned(), pid.to_string()]);
        let strace = Command::new("strace")
            .args(["-f", "-qq", "-e", &format!("trace={call}"), "-e", &format!("inject={call}:{how}"), "-o"])
            .arg(&log)
            .args(attach)
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .spawn()
            .expect("strace");
        let fault = Fault { strace, log };
        let deadline = Instant::now() + Duration::from_secs(60);
        while !family.iter().all(|&pid| is_traced(pid)) {
            assert!(Instant::now() < deadline, "strace does not trace {family:?}");
            std::thread::sleep(Duration::from_millis(10));
        }
        fault
    }

    /// How many calls failed so far.
    pub fn count(&self) -> usize {
        injected(&self.log)
    }

    /// Waits until that many calls have failed, or the process has made no such call for a while. Gives their number.
    pub fn wait_for(&self, calls: usize, limit: Duration) -> usize {
        let deadline = Instant::now() + limit;
        while self.count() < calls && Instant::now() < deadline {
            std::thread::sleep(Duration::from_millis(20));
        }
        self.count()
    }
}

impl Drop for Fault {
    fn drop(&mut self) {
        // At SIGINT strace lets go of what it traces. Killed, it would leave that stopped.
        // SAFETY: the pid is that of a child that is not reaped yet.
        unsafe { libc::kill(self.strace.id().cast_signed(), libc::SIGINT) };
        let _ = self.strace.wait();
    }
}

/// The words that run a command with calls that fail from its first one on, for [`crate::Profiler::wrapped`]. strace is not
/// its parent, so that the pid and the exit code are the command's own.
pub fn wrapper(log: &Path, call: &str, how: &str) -> Vec<String> {
    let log = log.to_string_lossy();
    let (trace, inject) = (format!("trace={call}"), format!("inject={call}:{how}"));
    let mut words = vec!["strace", "-D", "-f", "-qq", "-o", &log, "-e", &trace, "-e", &inject];
    if !how.starts_with("signal=") {
        // Stops at these calls only. strace 6.1 does not send signals then.
        words.push("--seccomp-bpf");
    }
    words.into_iter().map(str::to_owned).collect()
}

/// How many calls strace's log says were made to fail.
pub fn injected(log: &Path) -> usize {
    fs::read(log).map_or(0, |log| String::from_utf8_lossy(&log).matches("(INJECTED)").count())
}

/// Whether all threads of a process are traced.
fn is_traced(pid: u32) -> bool {
    let threads = fs::read_dir(format!("/proc/{pid}/task")).into_iter().flatten().flatten();
    let statuses: Vec<String> =
        threads.filter_map(|thread| fs::read_to_string(thread.path().join("status")).ok()).collect();
    !statuses.is_empty() && !statuses.iter().any(|status| status.contains("TracerPid:\t0\n"))
}
