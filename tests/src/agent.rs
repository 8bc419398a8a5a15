//! An agent with short windows beside which something goes wrong: what it counts, and whether what it writes is right again.

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use crate::chain::Chain;
use crate::held::Held;
use crate::server::{free_port, get, metric};
use crate::{Finished, Pprof, Profiler, Program, Running, Session, folder};

/// What takes longer hangs. No statement about speed.
const PATIENCE: Duration = Duration::from_secs(60);

/// A running agent that serves its metrics.
#[derive(Debug)]
pub struct Agent {
    running: Running,
    port: u16,
    out: PathBuf,
}

impl Agent {
    /// Starts one with windows of half a second, and waits until it samples.
    pub fn start(session: &Session, more: &[&str]) -> Agent {
        Agent::wrapped(session, &[], "out", more)
    }

    /// Likewise, by way of another command, such as `env …`, and into this folder of the session's.
    pub fn wrapped(session: &Session, wrapper: &[&str], out: &str, more: &[&str]) -> Agent {
        let port = free_port();
        let address = format!("127.0.0.1:{port}");
        let cache = session.path("cache");
        let cache = cache.to_string_lossy();
        let mut args = vec!["agent", "-o", out, "--http", &address, "--unwind-cache", &cache];
        for usual in [["-F", "99"], ["--window", "500ms"]] {
            if !more.contains(&usual[0]) {
                args.extend(usual);
            }
        }
        args.extend(more);
        let mut running = Profiler::wrapped(session.folder(), wrapper, &args).start();
        running.wait_until_sampling();
        Agent { running, port, out: session.path(out) }
    }

    /// Its pid.
    pub fn pid(&self) -> u32 {
        self.running.pid()
    }

    /// Sends it a signal.
    pub fn signal(&self, signal: libc::c_int) {
        self.running.signal(signal);
    }

    /// A metric without labels.
    pub fn metric(&self, name: &str) -> f64 {
        metric(self.port, name)
    }

    /// Ticks that ended this way.
    pub fn ticks(&self, outcome: &str) -> f64 {
        self.metric(&format!("profiler_ticks_total{{outcome=\"{outcome}\"}}"))
    }

    /// All ticks, however they ended.
    pub fn all_ticks(&self) -> f64 {
        let text = get(self.port, "/metrics").text();
        let values = text.lines().filter(|line| line.starts_with("profiler_ticks_total{"));
        values.filter_map(|line| line.rsplit(' ').next()?.parse::<f64>().ok()).sum()
    }

    /// The folder that it writes to.
    pub fn out(&self) -> &Path {
        &self.out
    }

    /// Its windows that have a profile of this process, oldest first.
    pub fn windows_of(&self, pid: u32) -> Vec<PathBuf> {
        folder::profiles_of(&self.out, pid)
    }

    /// Waits until this comes true, of an agent that lives; fails after a minute.
    #[track_caller]
    pub fn wait_until(&mut self, what: &str, mut holds: impl FnMut(&Agent) -> bool) {
        let deadline = Instant::now() + PATIENCE;
        while !holds(self) {
            self.running.assert_alive();
            if Instant::now() >= deadline {
                let files = folder::files(&self.out);
                let last = &files[files.len().saturating_sub(10)..];
                panic!("never {what}; of {} files the last are {last:?}", files.len());
            }
            std::thread::sleep(Duration::from_millis(50));
        }
    }

    /// Waits for so many profiles of a process that begin from now on.
    #[track_caller]
    pub fn wait_for_windows(&mut self, pid: u32, count: usize) -> Vec<PathBuf> {
        let before: BTreeSet<PathBuf> = self.windows_of(pid).into_iter().collect();
        let mut new = Vec::new();
        // The first of them may have begun before.
        self.wait_until("a new window", |agent| {
            new = agent.windows_of(pid).into_iter().filter(|file| !before.contains(file)).collect();
            new.len() > count
        });
        new.split_off(1)
    }

    /// Asserts that it works as if nothing had happened: of two windows of the chain that begin from now on every stack is
    /// whole.
    #[track_caller]
    pub fn assert_right(&mut self, what: &str, pid: u32) {
        for file in self.wait_for_windows(pid, 2) {
            let profile = Pprof::read(&file);
            profile.check(profile.samples(|_| true) > 0, "it has samples");
            Chain::of(Program::Pie).assert_whole(what, &profile.of_pid(pid));
        }
    }

    /// Likewise, but waits until it is so: what was not to be had comes back within a window or a few.
    #[track_caller]
    pub fn wait_until_right(&mut self, what: &str, pid: u32) {
        let chain = Chain::of(Program::Pie);
        self.wait_until(what, |agent| {
            let last = agent.windows_of(pid).pop();
            let Some(Ok(profile)) = last.map(|file| Pprof::try_read(&file)) else { return false };
            let stacks = profile.of_pid(pid);
            let whole = stacks.iter().filter(|stack| chain.is_whole(stack)).count();
            whole > 0 && whole * 100 >= stacks.len() * 95
        });
        self.assert_right(what, pid);
    }

    /// What it holds now.
    pub fn held(&self) -> Held {
        Held::by(self.pid())
    }

    /// Ends it, and asserts that it ends well and leaves whole profiles and nothing else.
    #[track_caller]
    pub fn finish(self) -> Finished {
        self.finish_after_panics_of("nobody")
    }

    /// Likewise, where panics of a thread are contained, and so no fault of the agent's.
    #[track_caller]
    pub fn finish_after_panics_of(self, thread: &str) -> Finished {
        self.running.signal(libc::SIGTERM);
        let run = self.running.finish();
        let contained = format!("thread '{thread}'");
        let others =
            run.stderr.lines().filter(|line| line.contains("panicked") && !line.contains(&contained));
        run.assert_success().check(others.count() == 0, "nothing panicked");
        assert_tidy(&self.out);
        run
    }

    /// Waits for its end, which somebody else brings about.
    pub fn end(self) -> Finished {
        self.running.finish()
    }
}

/// Files that are read to see whether they are whole: on a busy host there may be thousands.
const MOST_READ: usize = 100;

/// Asserts that a folder has only files under the names that an agent gives, and that the last of them are whole.
#[track_caller]
pub fn assert_tidy(out: &Path) {
    let files = folder::files(out);
    for file in &files {
        let below = file.strip_prefix(out).unwrap_or(file);
        assert!(folder::is_agent_path(below), "not a name of an agent's file: {}", below.display());
    }
    files.iter().rev().take(MOST_READ).for_each(|file| drop(Pprof::read(file)));
}
