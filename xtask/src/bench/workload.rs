//! What is profiled: processes that keep the CPUs busy at the bottom of deep stacks, and one that mostly sleeps.

use std::fs;
use std::path::Path;
use std::process::{Child, Command};

use anyhow::{Context, Result, bail};

/// How many processes spin. Fixed, so that figures of machines of the same size compare.
const BUSY: usize = 2;

/// Thirty-odd frames with frame pointers: `leaf` at the bottom of a recursion that the compiler must not fold.
const SOURCE: &str = r"
#include <time.h>
#include <unistd.h>
static volatile unsigned long sink;
__attribute__((noinline)) static void leaf(void) {
    for (unsigned long i = 0; i < 1000000; i++) sink += i * i;
}
__attribute__((noinline)) static void descend(int depth) {
    if (depth == 0) leaf(); else descend(depth - 1);
    sink++; /* keeps the call from becoming a jump */
}
int main(int argc, char **argv) {
    (void)argv;
    for (;;) {
        descend(28);
        if (argc > 1) usleep(20000); /* any argument: mostly asleep */
    }
}
";

/// Running processes, ended when this is dropped.
pub(super) struct Workload {
    children: Vec<Child>,
}

impl Workload {
    /// Compiles the program in `folder` and starts it.
    pub(super) fn start(folder: &Path) -> Result<Self> {
        let (source, binary) = (folder.join("workload.c"), folder.join("workload"));
        fs::write(&source, SOURCE)?;
        let compiled = Command::new("cc")
            .args(["-O1", "-g", "-fno-omit-frame-pointer", "-fno-optimize-sibling-calls", "-o"])
            .arg(&binary)
            .arg(&source)
            .status()
            .context("cannot run cc, which the benchmark's workload is compiled with")?;
        if !compiled.success() {
            bail!("the benchmark's workload does not compile");
        }
        let mut workload = Self { children: Vec::new() };
        for _ in 0..BUSY {
            workload.children.push(Command::new(&binary).spawn()?);
        }
        workload.children.push(Command::new(&binary).arg("sleepy").spawn()?);
        Ok(workload)
    }
}

impl Drop for Workload {
    fn drop(&mut self) {
        for child in &mut self.children {
            // It may have been killed by somebody else; either way it is gone.
            let _ = child.kill();
            let _ = child.wait();
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_workload_runs_until_it_is_dropped() {
        let folder = tempfile::tempdir().unwrap();
        let mut workload = Workload::start(folder.path()).unwrap();
        assert_eq!(workload.children.len(), BUSY + 1);
        for child in &mut workload.children {
            assert!(child.try_wait().unwrap().is_none());
        }
    }
}
