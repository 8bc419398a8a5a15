//! How complete the stacks of a profiler are, judged by what all of them tell: the name of the last function.

use std::io::{BufRead, BufReader, Read};
use std::path::{Path, PathBuf};
use std::time::Duration;

use serde::{Deserialize, Serialize};

use super::measure::ask;
use crate::compare::{is_remark, perf};
use crate::pprof::Pprof;
use crate::shape::is_user;

/// Functions that a thread's stack begins with: of programs and of threads in C libraries, and Go's.
const ROOTS: [&str; 12] = [
    "_start",
    "clone3",
    "__clone3",
    "__GI___clone3",
    "clone",
    "__clone",
    "_dl_start",
    "runtime.goexit",
    "runtime.goexit.abi0",
    "runtime.mstart",
    "runtime.mstart.abi0",
    "runtime.rt0_go",
];

/// What a profiler saw in user code.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Seen {
    /// Samples with user code.
    pub samples: i64,
    /// Those whose last function is one that a thread begins with.
    pub whole: i64,
}

impl Seen {
    /// Adds samples with user code.
    pub(super) fn add(&mut self, samples: i64, whole: bool) {
        self.samples += samples;
        self.whole += if whole { samples } else { 0 };
    }

    /// Adds samples by the name of their last function, if they have user code.
    fn add_named(&mut self, samples: i64, root: Option<&str>) {
        if let Some(root) = root {
            self.add(samples, is_root(root));
        }
    }

    /// The share of whole stacks, percent.
    pub fn percent(self) -> f64 {
        100.0 * self.whole as f64 / self.samples.max(1) as f64
    }
}

/// Whether a thread's stack begins with the function of that name.
pub(super) fn is_root(name: &str) -> bool {
    // Symbols may have a version or an offset behind them.
    let name = name.split(['@', '+']).next().unwrap_or_default();
    ROOTS.contains(&name) || name.starts_with("_rt0_")
}

/// In files of ours.
pub fn in_pprof(files: &[PathBuf]) -> Seen {
    let mut seen = Seen::default();
    for file in files {
        add_pprof(&mut seen, file);
    }
    seen
}

fn add_pprof(seen: &mut Seen, file: &Path) {
    let profile = Pprof::read(file);
    for stack in profile.stacks.iter().filter(|stack| is_user(stack)) {
        let root = stack.frames.last().map(|frame| if is_remark(frame) { "" } else { frame.path() });
        seen.add_named(stack.samples, root);
    }
}

/// In what perf recorded, and the CPU seconds that perf takes for them: it unwinds only now. As far as it comes in two minutes.
pub fn in_perf_data(file: &Path) -> (Seen, f64) {
    let answer = ask(&mut perf::script_command(file), Duration::from_secs(120));
    let mut samples = perf::parse(&answer.text);
    if !answer.complete {
        eprintln!("perf script did not come to its end; its CPU time is that of {} samples", samples.len());
        samples.pop();
    }
    let mut seen = Seen::default();
    for walked in samples {
        seen.add_named(walked.samples, walked.places.last().map(|place| place.name.as_str()));
    }
    (seen, answer.cpu_seconds)
}

/// In folded stacks: `process;root;…;leaf count`. Kernel frames follow a `-` of their own, or end in `_[k]` or `_k`.
pub fn in_folded(text: impl Read) -> Option<Seen> {
    let mut seen = Seen::default();
    for line in BufReader::new(text).lines() {
        let line = line.ok()?;
        let Some((stack, count)) = line.rsplit_once(' ') else { continue };
        let Ok(count) = count.parse() else { continue };
        let mut frames = stack.split(';').skip(1);
        let root =
            frames.next().filter(|root| *root != "-" && !root.ends_with("_[k]") && !root.ends_with("_k"));
        seen.add_named(count, root);
    }
    Some(seen)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn folded_stacks_are_whole_where_they_begin_with_a_root() {
        let text = "node;_start;main;work 5\n\
                    node;[unknown];work 3\n\
                    go;runtime.goexit.abi0;main.work;-;vfs_read 2\n\
                    kworker;-;ret_from_fork 7\n\
                    swapper 9\n";
        assert_eq!(in_folded(text.as_bytes()), Some(Seen { samples: 10, whole: 7 }));
    }
}
