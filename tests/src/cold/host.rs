//! The first window of a host with three hundred processes, on which the profiler starts.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::{Duration, Instant, SystemTime};

use super::log::Start;
use crate::compare::is_remark;
use crate::compare::workload::{self, Background};
use crate::cpu::{self, online_cpus};
use crate::outcomes::is_sample;
use crate::pprof::samples;
use crate::profiler::{Profiler, perf_events};
use crate::programs::{must_run, source_folder};
use crate::shape::is_user;
use crate::{Bare, Pprof, Session, Stack, Summary, tools};

/// Processes of which each wakes twice a second.
const IDLE: usize = 280;

/// A mostly idle program.
const SLEEPY: &str = "
#include <unistd.h>
static volatile unsigned long sink;
__attribute__((noinline)) static void work(void) { for (unsigned long i = 0; i < 200000; i++) sink += i; }
int main(void) { for (;;) { work(); usleep(500000); } }
";

/// What a start on this host gave.
#[derive(Debug)]
pub struct Measured {
    /// The way to the first tick.
    pub start: Start,
    /// CPU time of the profiler until the clocks ticked and a little longer, milliseconds.
    pub cpu_ms: f64,
    /// Processes in the window.
    pub processes: usize,
    /// Samples with user code in the window.
    pub user_samples: i64,
    /// Those of them whose stack is complete.
    pub complete: i64,
    /// Samples of all kinds by an outcome other than complete.
    pub others: BTreeMap<String, i64>,
}

/// The processes; ended when this is dropped.
#[derive(Debug)]
pub struct Host {
    running: Vec<Background>,
}

impl Host {
    /// Starts them, and waits until they have settled.
    pub fn start(folder: &Path) -> Host {
        let (source, sleepy) = (folder.join("sleepy.c"), folder.join("sleepy"));
        std::fs::write(&source, SLEEPY).expect("a scratch file");
        must_run(Command::new("gcc").args(["-O2", "-o"]).arg(&sleepy).arg(&source));
        let mut running: Vec<Background> =
            (0..IDLE).map(|_| Background::start(&mut Command::new(&sleepy))).collect();
        for (name, count) in [("python3", 4), ("node", 3)] {
            running.extend((0..count).map(|_| Background::start(&mut workload::command(name, folder))));
        }
        let bare: [(PathBuf, usize); 4] = [
            (Bare::c("chain.c", "chain-c").build(), 4),
            (Bare::cpp("chain.cpp", "chain-cpp").build(), 3),
            (Bare::rust("chain.rs", "chain-rust").build(), 2),
            (Bare::go("chain.go", "chain-go").build(), 2),
        ];
        for (program, count) in bare {
            running.extend((0..count).map(|_| Background::start(&mut Command::new(&program))));
        }
        // A compiler that is started again and again: processes that were not there when the profiler began.
        let compile = "while :; do \"$0\" -std=c++17 -O1 -c \"$1\" -o /dev/null; done";
        let source = source_folder().join("headers.cpp");
        for _ in 0..2 {
            let mut shell = Command::new("sh");
            shell.args(["-c", compile]).arg(tools::clang()).arg(&source);
            running.push(Background::start(&mut shell));
        }
        std::thread::sleep(Duration::from_secs(10));
        Host { running }
    }

    /// How many were started; the compilers' own children come on top.
    pub fn processes(&self) -> usize {
        self.running.len()
    }
}

/// Starts a recording of the host that has one window, and reads it.
pub fn measure(session: &Session) -> Measured {
    let args = ["-vv", "record", "-d", "5s", "--unwind-cache-size", "0", "--json", "-o", "x.pb.gz"];
    let profiler = Profiler::new(session.folder(), args);
    let started = SystemTime::now();
    let running = profiler.start();
    let cpu_ms = cpu_until_sampling(running.pid());
    let run = running.finish();
    run.assert_success();
    let start = Start::read(&run.stderr, started, 0);
    let mut others = Summary::of(&run).outcomes;
    others.retain(|name, samples| is_sample(name) && name != "complete" && *samples > 0);
    let profile = Pprof::read(&session.path("x.pb.gz"));
    let user: Vec<&Stack> = profile.stacks.iter().filter(|stack| is_user(stack)).collect();
    let is_complete = |stack: &&&Stack| !stack.frames.iter().any(is_remark);
    Measured {
        start,
        cpu_ms,
        processes: profile.values("pid").len(),
        user_samples: samples(user.iter().copied()),
        complete: samples(user.iter().filter(is_complete).copied()),
        others,
    }
}

/// CPU time of a profiler at the moment when it has a clock for each CPU, milliseconds, in steps of ten.
fn cpu_until_sampling(pid: u32) -> f64 {
    let deadline = Instant::now() + Duration::from_secs(120);
    while perf_events(pid) < 2 * online_cpus() {
        assert!(Instant::now() < deadline, "the profiler opened no clocks");
        std::thread::sleep(Duration::from_millis(2));
    }
    1000.0 * cpu::seconds_of(pid)
}
