//! Target programs that run: started, asked for their report, always ended.

use std::collections::BTreeMap;
use std::io::{BufRead, BufReader};
use std::path::Path;
use std::process::{Child, ChildStdout, Command, Stdio};
use std::time::{Duration, Instant};

/// A running target program. Dropping it kills and reaps it.
#[derive(Debug)]
pub struct Target {
    child: Child,
    stdout: BufReader<ChildStdout>,
    /// Host pid of the program itself, which `unshare` or a shell may have started.
    pid: u32,
    before_ready: Report,
    ended: bool,
}

impl Target {
    /// Starts a program and waits until it says that it is ready.
    pub fn start(program: &Path, args: &[&str]) -> Target {
        Target::launch(Command::new(program).args(args))
    }

    /// Starts a command that turns into a target program by exec, such as `setpriv`, and waits until that is ready.
    pub fn start_as(wrapper: &mut Command) -> Target {
        Target::launch(wrapper)
    }

    /// Starts a command that has a target program as its only child, such as `unshare --fork`, and waits until that is
    /// ready. The pid is then the child's, as the host sees it.
    pub fn start_behind(wrapper: &mut Command) -> Target {
        let mut target = Target::launch(wrapper);
        target.pid = only_child(target.child.id());
        target
    }

    fn launch(command: &mut Command) -> Target {
        let mut child = command
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .spawn()
            .unwrap_or_else(|e| panic!("cannot start {command:?}: {e}"));
        let stdout = BufReader::new(child.stdout.take().unwrap());
        let pid = child.id();
        // From here on the guard ends the child, whatever fails.
        let mut target = Target { child, stdout, pid, before_ready: Report::default(), ended: false };
        loop {
            let line = target.read_line().unwrap_or_else(|| panic!("{command:?} ended before it was ready"));
            if line.starts_with("ready") {
                return target;
            }
            target.before_ready.add(&line);
        }
    }

    /// The pid as the host sees it.
    pub fn pid(&self) -> u32 {
        self.pid
    }

    /// The pid as the `pid` label shows it.
    pub fn pid_label(&self) -> String {
        self.pid.to_string()
    }

    /// What the program printed before it was ready.
    pub fn announced(&self) -> &Report {
        &self.before_ready
    }

    /// Sends SIGTERM, waits for the end and gives the program's report.
    pub fn stop(mut self) -> Report {
        // SAFETY: the pid is that of a child that is not reaped yet, or of such a child's only child.
        unsafe { libc::kill(self.pid.cast_signed(), libc::SIGTERM) };
        self.read_report()
    }

    /// Waits until the program ends by itself and gives its report.
    pub fn finish(mut self) -> Report {
        self.read_report()
    }

    fn read_report(&mut self) -> Report {
        let mut report = Report::default();
        while let Some(line) = self.read_line() {
            report.add(&line);
        }
        wait_at_most(&mut self.child, Duration::from_secs(120), "a target");
        self.ended = true;
        report
    }

    fn read_line(&mut self) -> Option<String> {
        let mut line = String::new();
        (self.stdout.read_line(&mut line).expect("a target's stdout") > 0).then(|| line.trim_end().to_owned())
    }
}

impl Drop for Target {
    fn drop(&mut self) {
        if self.ended {
            return;
        }
        if self.pid != self.child.id() {
            // SAFETY: kill has no memory effects; the pid is that of our child's only child.
            unsafe { libc::kill(self.pid.cast_signed(), libc::SIGKILL) };
            // The wrapper reaps its child and ends; killed at once, it would leave a zombie.
            for _ in 0..200 {
                if !matches!(self.child.try_wait(), Ok(None)) {
                    return;
                }
                std::thread::sleep(Duration::from_millis(10));
            }
        }
        // The process may have ended by itself; it is reaped in either case.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// Lines of `kind key=value key=value…` that target programs print.
#[derive(Debug, Default, Clone)]
pub struct Report {
    lines: Vec<(String, BTreeMap<String, String>)>,
}

impl Report {
    /// Adds the lines of a text that are of this form.
    pub fn parse(text: &str) -> Report {
        let mut report = Report::default();
        text.lines().for_each(|line| report.add(line));
        report
    }

    /// All lines of a kind.
    pub fn all<'a>(&'a self, kind: &'a str) -> impl Iterator<Item = &'a BTreeMap<String, String>> {
        self.lines.iter().filter(move |(k, _)| k == kind).map(|(_, values)| values)
    }

    /// A number of the only line of a kind.
    pub fn number(&self, kind: &str, key: &str) -> u64 {
        let lines: Vec<_> = self.all(kind).collect();
        assert!(lines.len() == 1, "{} lines of {kind} in {self:?}", lines.len());
        number(lines[0], key)
    }

    /// CPU time by pid, for each process that reported, nanoseconds.
    pub fn cpu_by_pid(&self) -> BTreeMap<u32, i64> {
        let pair = |line| (number(line, "pid") as u32, number(line, "cpu_ns").cast_signed());
        self.all("process").map(pair).collect()
    }

    fn add(&mut self, line: &str) {
        let mut words = line.split_whitespace();
        let Some(kind) = words.next() else { return };
        let values =
            words.filter_map(|w| w.split_once('=')).map(|(k, v)| (k.to_owned(), v.to_owned())).collect();
        self.lines.push((kind.to_owned(), values));
    }
}

fn number(line: &BTreeMap<String, String>, key: &str) -> u64 {
    line.get(key).and_then(|v| v.parse().ok()).unwrap_or_else(|| panic!("no number {key} in {line:?}"))
}

/// Waits for a child; kills it and fails, with what it is, when it hangs.
pub(crate) fn wait_at_most(child: &mut Child, limit: Duration, what: &str) -> std::process::ExitStatus {
    let deadline = Instant::now() + limit;
    loop {
        if let Some(status) = child.try_wait().expect("a child to wait for") {
            return status;
        }
        if Instant::now() > deadline {
            let threads = threads_wait_in(child.id());
            let _ = child.kill();
            let _ = child.wait();
            panic!("did not end within {limit:?} and was killed: {what}; its threads:\n{threads}");
        }
        std::thread::sleep(Duration::from_millis(10));
    }
}

/// A line for each thread: its name, its state, where in the kernel it waits and in which call with which arguments.
fn threads_wait_in(pid: u32) -> String {
    let threads = std::fs::read_dir(format!("/proc/{pid}/task")).into_iter().flatten().flatten();
    let lines = threads.map(|thread| {
        let read = |name| std::fs::read_to_string(thread.path().join(name)).unwrap_or_default();
        let status = read("status");
        let of = |key| status.lines().find_map(|line| line.strip_prefix(key)).unwrap_or_default().trim();
        let state = [of("State:"), "traced by", of("TracerPid:")].join(" ");
        format!("{}: {state}; {}; {}", read("comm").trim(), read("wchan").trim(), read("syscall").trim())
    });
    lines.collect::<Vec<String>>().join("\n")
}

fn only_child(pid: u32) -> u32 {
    let path = format!("/proc/{pid}/task/{pid}/children");
    let children = std::fs::read_to_string(&path).unwrap_or_else(|e| panic!("cannot read {path}: {e}"));
    let children: Vec<u32> = children.split_whitespace().filter_map(|pid| pid.parse().ok()).collect();
    assert!(children.len() == 1, "pid {pid} has the children {children:?}, not one");
    children[0]
}
