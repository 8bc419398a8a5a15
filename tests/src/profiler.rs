//! Runs the binary under test.

use std::ffi::{OsStr, OsString};
use std::fmt;
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus, Stdio};
use std::sync::OnceLock;
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use crate::programs::must_run;
use crate::session::{target_folder, workspace};
use crate::target::wait_at_most;

/// A run that takes this much longer than it asked for hangs. No statement about speed.
const PATIENCE: Duration = Duration::from_secs(300);

/// The binary under test: `PROFILER_BIN`, or the release build of this workspace, built once per test process.
pub fn binary() -> &'static Path {
    static BINARY: OnceLock<PathBuf> = OnceLock::new();
    BINARY.get_or_init(|| {
        if let Some(path) = std::env::var_os("PROFILER_BIN") {
            let path = PathBuf::from(path);
            return path.canonicalize().unwrap_or_else(|e| panic!("PROFILER_BIN={}: {e}", path.display()));
        }
        must_run(
            cargo()
                .args(["build", "--release", "-p", "profiler-user", "--bin", "profiler"])
                .current_dir(workspace())
                .env("CARGO_TARGET_DIR", target_folder()),
        );
        target_folder().join("release/profiler")
    })
}

/// The cargo that runs the tests, without what it tells them about their package: to build scripts that would be a change,
/// and of everything that links `ring` it would make a build of minutes, each time that a test or somebody else builds.
fn cargo() -> Command {
    let mut command = Command::new(std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into()));
    let is_about_the_package =
        |name: &str| name.starts_with("CARGO_PKG_") || name.starts_with("CARGO_MANIFEST_");
    for (name, _) in std::env::vars_os().filter(|(name, _)| name.to_str().is_some_and(is_about_the_package)) {
        command.env_remove(&name);
    }
    command
}

/// A command line of the profiler, run in a folder of the test's.
#[derive(Debug)]
pub struct Profiler {
    command: Command,
    folder: PathBuf,
    shown: String,
}

impl Profiler {
    /// The profiler with these arguments, to be run in `folder`.
    pub fn new<S: AsRef<OsStr>>(folder: &Path, args: impl IntoIterator<Item = S>) -> Profiler {
        Profiler::wrapped(folder, &[], args)
    }

    /// Likewise, started by another command such as `setpriv …`.
    pub fn wrapped<S: AsRef<OsStr>>(
        folder: &Path,
        wrapper: &[&str],
        args: impl IntoIterator<Item = S>,
    ) -> Profiler {
        let mut words: Vec<OsString> = wrapper.iter().map(Into::into).collect();
        words.push(binary().into());
        Profiler::from_words(folder, words, args)
    }

    /// Likewise, with a copy of the binary.
    pub fn of<S: AsRef<OsStr>>(binary: &Path, folder: &Path, args: impl IntoIterator<Item = S>) -> Profiler {
        Profiler::from_words(folder, vec![binary.into()], args)
    }

    fn from_words<S: AsRef<OsStr>>(
        folder: &Path,
        mut words: Vec<OsString>,
        args: impl IntoIterator<Item = S>,
    ) -> Profiler {
        words.extend(args.into_iter().map(|arg| arg.as_ref().to_owned()));
        let mut command = Command::new(&words[0]);
        command.args(&words[1..]).current_dir(folder).stdin(Stdio::null());
        let shown = words.iter().map(|w| w.to_string_lossy()).collect::<Vec<_>>().join(" ");
        Profiler { command, folder: folder.to_owned(), shown }
    }

    /// Runs as another user.
    pub fn uid(mut self, uid: u32) -> Profiler {
        self.command.uid(uid).gid(uid);
        self
    }

    /// Starts it.
    pub fn start(mut self) -> Running {
        let mut child = self
            .command
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .unwrap_or_else(|e| panic!("cannot start {}: {e}", self.shown));
        let stdout = read_all(child.stdout.take().unwrap());
        let stderr = read_all(child.stderr.take().unwrap());
        Running { child, shown: self.shown, folder: self.folder, output: Some((stdout, stderr)) }
    }

    /// Runs it to its end.
    pub fn run(self) -> Finished {
        self.start().finish()
    }
}

/// A profiler that runs. Dropping it kills and reaps it.
#[derive(Debug)]
pub struct Running {
    child: Child,
    shown: String,
    folder: PathBuf,
    output: Option<(JoinHandle<String>, JoinHandle<String>)>,
}

impl Running {
    /// Its pid.
    pub fn pid(&self) -> u32 {
        self.child.id()
    }

    /// Waits until it samples: until it holds a perf event for each CPU, as seen in /proc, and a little longer. Fails
    /// when it ends before.
    pub fn wait_until_sampling(&mut self) {
        let deadline = Instant::now() + PATIENCE;
        let mut seen = 0;
        while seen < 3 {
            if let Some(status) = self.child.try_wait().expect("the profiler's state") {
                let (stdout, stderr) = self.collect();
                panic!("ended with {status} before it sampled: {}\n{stdout}\n{stderr}", self.shown);
            }
            assert!(Instant::now() < deadline, "never sampled: {}", self.shown);
            seen = if perf_events(self.pid()) >= crate::cpu::online_cpus() { seen + 1 } else { 0 };
            std::thread::sleep(Duration::from_millis(100));
        }
    }

    /// Asserts that it has not ended; shows what it said if it has.
    #[track_caller]
    pub fn assert_alive(&mut self) {
        if let Some(status) = self.child.try_wait().expect("the profiler's state") {
            let (stdout, stderr) = self.collect();
            panic!("ended with {status}: {}\n{stdout}\n{stderr}", self.shown);
        }
    }

    /// Sends it a signal.
    pub fn signal(&self, signal: libc::c_int) {
        // SAFETY: kill has no memory effects; the pid is that of a child that is not reaped yet.
        let result = unsafe { libc::kill(self.pid().cast_signed(), signal) };
        assert!(result == 0, "cannot signal {}", self.shown);
    }

    /// Waits for its end.
    pub fn finish(mut self) -> Finished {
        let status = wait_at_most(&mut self.child, PATIENCE, &self.shown);
        let (stdout, stderr) = self.collect();
        Finished { shown: self.shown.clone(), folder: self.folder.clone(), status, stdout, stderr }
    }

    fn collect(&mut self) -> (String, String) {
        let (stdout, stderr) = self.output.take().expect("output is collected once");
        (stdout.join().unwrap(), stderr.join().unwrap())
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        if !matches!(self.child.try_wait(), Ok(Some(_))) {
            let _ = self.child.kill();
            let _ = self.child.wait();
        }
    }
}

/// A profiler that ended.
#[derive(Debug)]
pub struct Finished {
    shown: String,
    folder: PathBuf,
    /// How it ended.
    pub status: ExitStatus,
    /// All that it printed to stdout.
    pub stdout: String,
    /// All that it printed to stderr.
    pub stderr: String,
}

impl Finished {
    /// Asserts something about the run and shows the run when it does not hold.
    #[track_caller]
    pub fn check(&self, holds: bool, what: &str) -> &Finished {
        assert!(holds, "{what}\n{self}");
        self
    }

    /// Asserts the exit code.
    #[track_caller]
    pub fn assert_code(&self, code: i32) -> &Finished {
        self.check(self.status.code() == Some(code), &format!("exit code {code} was expected"))
    }

    /// Asserts that it did what it was asked for.
    #[track_caller]
    pub fn assert_success(&self) -> &Finished {
        self.assert_code(0)
    }

    /// Asserts that it could not start, and said why in one sentence: exit code 2, one line on stderr that begins with
    /// `profiler: ` and contains each of `words`, no panic and no verifier log.
    #[track_caller]
    pub fn assert_refused(&self, words: &[&str]) -> &Finished {
        self.assert_code(2);
        let lines: Vec<&str> = self.stderr.lines().collect();
        self.check(
            lines.len() == 1 && lines[0].starts_with("profiler: "),
            "one sentence on stderr was expected",
        );
        self.check(!self.stderr.contains("panicked"), "it panicked");
        let log = ["processed ", "; R0", "verifier log", "BPF_PROG_LOAD"];
        self.check(!log.iter().any(|l| self.stderr.contains(l)), "a raw verifier log was printed");
        let lower = self.stderr.to_lowercase();
        for word in words {
            self.check(
                lower.contains(&word.to_lowercase()),
                &format!("stderr was expected to mention {word:?}"),
            );
        }
        self
    }
}

impl fmt::Display for Finished {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(f, "command: {}\nfolder:  {}\nstatus:  {}", self.shown, self.folder.display(), self.status)?;
        write!(f, "stdout:\n{}\nstderr:\n{}", self.stdout, self.stderr)
    }
}

fn read_all(mut from: impl std::io::Read + Send + 'static) -> JoinHandle<String> {
    std::thread::spawn(move || {
        let mut bytes = Vec::new();
        from.read_to_end(&mut bytes).expect("the profiler's output");
        String::from_utf8_lossy(&bytes).into_owned()
    })
}

/// How many perf events a process has open.
pub(crate) fn perf_events(pid: u32) -> i64 {
    let Ok(fds) = std::fs::read_dir(format!("/proc/{pid}/fd")) else { return 0 };
    let is_event = |fd: &std::fs::DirEntry| {
        std::fs::read_link(fd.path()).is_ok_and(|to| to.to_string_lossy().contains("[perf_event]"))
    };
    i64::try_from(fds.flatten().filter(is_event).count()).unwrap()
}
