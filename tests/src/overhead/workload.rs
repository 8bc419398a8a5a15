//! The host that is profiled: native code without frame pointers, interpreters, generated code, a compiler that comes and
//! goes, and fifty processes that do next to nothing.

use std::fs::File;
use std::os::unix::fs::FileExt;
use std::path::Path;
use std::process::Command;

use crate::busy::Busy;
use crate::compare::workload::command;
use crate::programs::{must_run, source_folder};
use crate::{Bare, tools};

/// Processes that wake twice a second.
const IDLE: usize = 50;

/// Thirty frames without frame pointers. Counts its rounds, and its CPU time, nanoseconds, in a file.
const COUNTED: &str = r#"
#include <fcntl.h>
#include <stdint.h>
#include <time.h>
#include <unistd.h>
static volatile uint64_t sink;
__attribute__((noinline)) static void leaf(void) { for (uint64_t i = 0; i < 20000; i++) sink += i * i; }
__attribute__((noinline)) static void descend(int depth) { if (depth == 0) leaf(); else descend(depth - 1); sink++; }
int main(int argc, char **argv) {
    uint64_t counted[2] = { 0, 0 };
    int file = argc > 1 ? open(argv[1], O_WRONLY) : -1;
    for (;;) {
        struct timespec now;
        for (int i = 0; i < 100; i++) descend(28);
        counted[0] += 100;
        clock_gettime(CLOCK_PROCESS_CPUTIME_ID, &now);
        counted[1] = (uint64_t)now.tv_sec * 1000000000 + now.tv_nsec;
        if (file >= 0 && pwrite(file, counted, sizeof(counted), 0) != sizeof(counted)) return 1;
    }
}
"#;

/// A mostly idle program.
const SLEEPY: &str = "
#include <unistd.h>
static volatile unsigned long sink;
int main(void) { for (;;) { for (unsigned long i = 0; i < 200000; i++) sink += i; usleep(500000); } }
";

/// Running programs, ended when this is dropped.
#[derive(Debug)]
pub struct Workload {
    counts: File,
    running: Vec<Busy>,
}

/// What a program has done so far.
#[derive(Debug, Clone, Copy)]
pub struct Work {
    rounds: u64,
    cpu_ns: u64,
}

impl Work {
    /// Rounds per second of CPU time since then.
    pub fn since(self, before: Work) -> f64 {
        let cpu_ns = self.cpu_ns.saturating_sub(before.cpu_ns).max(1);
        self.rounds.saturating_sub(before.rounds) as f64 * 1e9 / cpu_ns as f64
    }
}

impl Workload {
    /// Starts everything, and waits until it has settled.
    pub fn start(folder: &Path) -> Workload {
        let mut workload = Workload::begin(folder);
        let compiler = "while :; do \"$0\" -std=c++17 -O1 -c \"$1\" -o /dev/null; done";
        let mut shell = Command::new("sh");
        shell.args(["-c", compiler]).arg(tools::clang()).arg(source_folder().join("headers.cpp"));
        workload.running.push(Busy::start(&mut shell));
        workload.settled()
    }

    /// Likewise, without a compiler: programs that do the same all day, as services do.
    pub fn services(folder: &Path) -> Workload {
        Workload::begin(folder).settled()
    }

    fn settled(self) -> Workload {
        std::thread::sleep(std::time::Duration::from_secs(5));
        self
    }

    fn begin(folder: &Path) -> Workload {
        let compile = |name: &str, source: &str| {
            let (from, to) = (folder.join(format!("{name}.c")), folder.join(name));
            std::fs::write(&from, source).expect("a scratch file");
            let flags = ["-O2", "-fomit-frame-pointer", "-fno-optimize-sibling-calls", "-o"];
            must_run(Command::new("gcc").args(flags).arg(&to).arg(&from));
            to
        };
        let file = folder.join("counts");
        std::fs::write(&file, [0; 16]).expect("a scratch file");
        let counts = File::open(&file).expect("a scratch file");
        let mut running = vec![Busy::start(Command::new(compile("counted", COUNTED)).arg(&file))];
        let sleepy = compile("sleepy", SLEEPY);
        running.extend((0..IDLE).map(|_| Busy::start(&mut Command::new(&sleepy))));
        running.extend(["python3", "node"].map(|name| Busy::start(&mut command(name, folder))));
        for program in
            [Bare::rust("chain.rs", "chain-rust").build(), Bare::go("chain.go", "chain-go").build()]
        {
            running.push(Busy::start(Command::new(&program).arg("burn")));
        }
        Workload { counts, running }
    }

    /// What the counting program has done so far.
    pub fn work(&mut self) -> Work {
        let mut bytes = [0; 16];
        self.counts.read_exact_at(&mut bytes, 0).expect("the counting program runs");
        let word = |at: usize| u64::from_ne_bytes(bytes[at..at + 8].try_into().expect("eight bytes"));
        Work { rounds: word(0), cpu_ns: word(8) }
    }
}
