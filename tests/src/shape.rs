//! What a whole stack of a known program looks like, frame by frame from the leaf to the first function of the thread,
//! with nothing before and nothing behind.
//!
//! A profiler marks a stack that it could not walk to the end by a last frame whose name begins with `[`. No step of a
//! shape takes such a frame, so that what fits a shape is complete, and says so.

use std::collections::BTreeMap;
use std::fmt;
use std::ops::{Range, RangeInclusive};
use std::path::{Path, PathBuf};

use crate::chain::Chain;
use crate::elf::{self, Functions};
use crate::emulated;
use crate::pprof::{Frame, Pprof, Stack, describe, join_short, samples};

/// Least share of the user samples that have to be complete and exactly right.
pub const EXACT: f64 = 0.995;

/// Fewer samples than this say little about a share of [`EXACT`].
pub const LEAST_SAMPLES: i64 = 500;

/// Names of the function in which the kernel starts a thread, in the versions of glibc and on its ways to clone.
const THREAD_ROOTS: [&str; 6] = ["clone3", "__clone3", "__GI___clone3", "clone", "__clone", "__GI___clone"];

/// Names of the functions that are their own callers in Go: of goroutines, of threads and of the program.
const GO_ROOTS: [&str; 3] = ["runtime.goexit", "runtime.mstart", "runtime.rt0_go"];

/// A sequence of steps, each of which takes some frames. See the module.
pub struct Shape {
    steps: Vec<Step>,
}

struct Step {
    what: String,
    count: RangeInclusive<usize>,
    test: Box<dyn Fn(&Frame) -> bool>,
}

impl Shape {
    /// A stack whose first function may have been interrupted by, or have called, the kernel.
    pub fn new() -> Shape {
        Shape { steps: Vec::new() }.any(0..=usize::MAX, "kernel", Frame::is_kernel)
    }

    /// Likewise, and what follows may also be in a library call of its own, down to the vdso, or in the loader, which binds
    /// the function at its first call.
    pub fn in_library_calls() -> Shape {
        let vdso = Shape::new().any(0..=4, "[vdso]", |f| f.mapping == "[vdso]");
        vdso.library("libc.so", 0..=6).library("ld-linux", 0..=12)
    }

    /// The chain, from a leaf or from the function that calls the leaves.
    pub fn chain(chain: &Chain) -> Shape {
        Shape::new().maybe(&[&chain.heavy, &chain.light]).names(&chain.callers)
    }

    /// As many frames in a row as `count` says for which `test` holds; `what` shows in messages.
    pub fn any(
        mut self,
        count: RangeInclusive<usize>,
        what: &str,
        test: impl Fn(&Frame) -> bool + 'static,
    ) -> Shape {
        let test = move |frame: &Frame| !frame.is_remark() && test(frame);
        self.steps.push(Step { what: what.to_owned(), count, test: Box::new(test) });
        self
    }

    /// One frame of this name.
    pub fn name(self, name: &str) -> Shape {
        self.one_of(&[name])
    }

    /// A frame of each of these names, in order.
    pub fn names<S: AsRef<str>>(self, names: impl IntoIterator<Item = S>) -> Shape {
        names.into_iter().fold(self, |shape, name| shape.name(name.as_ref()))
    }

    /// One frame that has one of these names.
    pub fn one_of(self, names: &[&str]) -> Shape {
        self.named(1..=1, names)
    }

    /// At most one frame that has one of these names.
    pub fn maybe(self, names: &[&str]) -> Shape {
        self.named(0..=1, names)
    }

    /// Frames in a library whose file name begins with `file`. How many there are, and how they are called, is up to
    /// the version of the library and to whether its symbols are installed.
    pub fn library(self, file: &str, count: RangeInclusive<usize>) -> Shape {
        let prefix = file.to_owned();
        self.any(count, file, move |frame| frame.file_name().starts_with(&prefix))
    }

    /// The end of a main thread's stack below `main`: libc, then `_start`.
    pub fn from_start(self) -> Shape {
        let in_libc = |f: &Frame| f.file_name().starts_with("libc.so") || f.name.starts_with("__libc_start");
        self.any(1..=3, "libc's start", in_libc).name("_start")
    }

    /// The end of another thread's stack, below the function that it was created with.
    pub fn from_thread(self) -> Shape {
        self.name("start_thread").thread_root()
    }

    /// The function in which threads begin.
    pub fn thread_root(self) -> Shape {
        self.any(1..=1, "clone3", is_thread_root)
    }

    /// A process that has not come to its `main` yet, or has left it: the dynamic loader and libc.
    pub fn loader() -> Shape {
        let in_libraries = |f: &Frame| f.file_name().contains(".so") || f.mapping == "[vdso]";
        let is_root = |f: &Frame| f.name == "_start" || is_loader(f);
        Shape::new().any(0..=60, "libraries", in_libraries).any(1..=1, "_start", is_root)
    }

    /// Whether all frames of the stack, and no others, are the shape's.
    pub fn fits(&self, stack: &Stack) -> bool {
        fits(&self.steps, &stack.frames)
    }

    fn named(self, count: RangeInclusive<usize>, names: &[&str]) -> Shape {
        let owned: Vec<String> = names.iter().map(|&name| name.to_owned()).collect();
        self.any(count, &names.join("|"), move |frame| owned.iter().any(|name| frame.path() == name))
    }
}

impl Default for Shape {
    fn default() -> Shape {
        Shape::new()
    }
}

impl fmt::Display for Shape {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let step = |step: &Step| match (*step.count.start(), *step.count.end()) {
            (1, 1) => step.what.clone(),
            (0, 1) => format!("({})?", step.what),
            (0, usize::MAX) => format!("({})*", step.what),
            (least, most) => format!("({}){{{least},{most}}}", step.what),
        };
        write!(f, "{}", join_short(&self.steps.iter().map(step).collect::<Vec<_>>()))
    }
}

impl fmt::Debug for Shape {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Shape({self})")
    }
}

/// Takes as many frames as the first step may have and tries the rest, the longest run first.
fn fits(steps: &[Step], frames: &[Frame]) -> bool {
    let Some((step, rest)) = steps.split_first() else { return frames.is_empty() };
    let run = frames.iter().take(*step.count.end()).take_while(|frame| (step.test)(frame)).count();
    (*step.count.start()..=run).rev().any(|taken| fits(rest, &frames[taken..]))
}

fn is_thread_root(frame: &Frame) -> bool {
    THREAD_ROOTS.contains(&frame.path())
}

/// The dynamic loader, whose first function calls nothing by name and has no unwind table.
fn is_loader(frame: &Frame) -> bool {
    frame.file_name().starts_with("ld-linux")
}

/// Whether it is a sample of user code, or of the kernel on behalf of user code. A process that is in the middle of
/// exec, or at its end, has no stack any more, or not yet.
pub fn is_user(stack: &Stack) -> bool {
    let gone = ["execve", "do_exit", "do_group_exit"];
    let between = |f: &Frame| f.is_kernel() && gone.iter().any(|name| f.name.contains(name));
    !stack.frames.iter().any(between) && stack.frames.iter().any(|f| !f.is_kernel())
}

/// Compares the user samples with shapes: at least the share [`EXACT`] of them has to fit one, out of at least
/// [`LEAST_SAMPLES`].
pub fn check(what: &str, stacks: &[&Stack], shapes: &[Shape]) -> Result<(), String> {
    let expected: String = shapes.iter().map(|shape| format!("       {shape}\n")).collect();
    check_share(what, stacks, EXACT, &expected, |stack| shapes.iter().any(|shape| shape.fits(stack)))
}

/// Compares the user samples with a test that at least the share `least` has to pass, out of at least
/// [`LEAST_SAMPLES`]; `expected` shows in the message.
pub fn check_share(
    what: &str,
    stacks: &[&Stack],
    least: f64,
    expected: &str,
    test: impl Fn(&Stack) -> bool,
) -> Result<(), String> {
    let (good, bad): (Vec<&Stack>, Vec<&Stack>) =
        stacks.iter().copied().filter(|stack| is_user(stack)).partition(|stack| test(stack));
    let hits = samples(good);
    let total = hits + samples(bad.iter().copied());
    if total < LEAST_SAMPLES {
        let all = describe(stacks.iter().copied(), 5);
        return Err(format!("{what}: {total} user samples, fewer than {LEAST_SAMPLES}\n{all}"));
    }
    let share = hits as f64 / total as f64;
    let least = emulated::least(least);
    if share >= least {
        return Ok(());
    }
    let shown = describe(bad, 20);
    Err(format!(
        "{what}: {hits} of {total} user samples are as expected: {share:.4}, less than {least}\n\
         expected:\n{expected}others, leaf first:\n{shown}"
    ))
}

/// Fails with all that failed.
#[track_caller]
pub fn assert_all(results: impl IntoIterator<Item = Result<(), String>>) {
    let failures: Vec<String> = results.into_iter().filter_map(Result::err).collect();
    assert!(failures.is_empty(), "{}", failures.join("\n"));
}

/// Names the frames of a stripped program by its unstripped original, whatever names they have.
pub fn name_by(profile: &mut Pprof, stripped: &Path, original: &Path) {
    let functions = Functions::of(original);
    let path = stripped.to_string_lossy();
    for frame in profile.stacks.iter_mut().flat_map(|stack| &mut stack.frames) {
        if frame.mapping == path {
            functions.at(frame.offset).unwrap_or_default().clone_into(&mut frame.name);
        }
    }
}

/// Names the frames in libc that have no name, by libc's installed debug file: whether a profiler reads that is not what
/// tests of stacks are about, but whether the last frame is the first function of a thread is.
///
/// Panics with one sentence where the file is not installed.
pub fn name_libc(profile: &mut Pprof) {
    let mut libraries: BTreeMap<String, Functions> = BTreeMap::new();
    for frame in profile.stacks.iter_mut().flat_map(|stack| &mut stack.frames) {
        if frame.name.is_empty() && frame.file_name().starts_with("libc.so") {
            let functions =
                libraries.entry(frame.mapping.clone()).or_insert_with_key(|path| libc_functions(path));
            functions.at(frame.offset).unwrap_or_default().clone_into(&mut frame.name);
        }
    }
}

fn libc_functions(path: &str) -> Functions {
    let path = Path::new(path);
    let id = elf::build_id(path).unwrap_or_default();
    let (folder, file) = id.split_at(id.len().min(2));
    let debug = PathBuf::from(format!("/usr/lib/debug/.build-id/{folder}/{file}.debug"));
    assert!(
        debug.exists(),
        "this test needs the debug symbols of {}: install the Debian package `libc6-dbg`",
        path.display()
    );
    Functions::with_debug(path, &debug)
}

/// The ends that the stacks of programs of others may have.
#[derive(Debug)]
pub struct Roots {
    /// By path: where in the file its first function is.
    entries: BTreeMap<PathBuf, Range<u64>>,
}

impl Roots {
    /// Of these programs.
    pub fn of(programs: &[&Path]) -> Roots {
        // The return address of `_start`, the only call in it, is within so many bytes in every libc and in Go.
        const START_BYTES: u64 = 64;
        let entry = |path: &&Path| {
            let start = elf::entry_offset(path);
            (path.to_path_buf(), start..start + START_BYTES)
        };
        Roots { entries: programs.iter().map(entry).collect() }
    }

    /// Whether the stack ends in the first function of a program, of the dynamic loader or of a thread, and no frame
    /// of it says that it is incomplete.
    pub fn is_complete(&self, stack: &Stack) -> bool {
        let Some(root) = stack.frames.last() else { return false };
        !stack.frames.iter().any(Frame::is_remark) && self.is_root(root)
    }

    fn is_root(&self, frame: &Frame) -> bool {
        let by_offset = self.entries.get(Path::new(&frame.mapping));
        by_offset.is_some_and(|start| start.contains(&frame.offset))
            || is_thread_root(frame)
            || is_loader(frame)
            || GO_ROOTS.contains(&frame.path().trim_end_matches(".abi0"))
    }

    /// Checks that the user samples are complete.
    pub fn check(&self, what: &str, stacks: &[&Stack]) -> Result<(), String> {
        let expected = format!("       … down to {:x?}, to {THREAD_ROOTS:?} or the like\n", self.entries);
        check_share(what, stacks, EXACT, &expected, |stack| self.is_complete(stack))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn stack(names: &[&str]) -> Stack {
        let frame = |name: &&str| Frame {
            name: (*name).to_owned(),
            file: String::new(),
            line: 0,
            address: if name.starts_with("k_") { 1 << 63 } else { 1 },
            mapping: if name.starts_with("__libc") { "/lib/libc.so.6" } else { "/bin/x" }.to_owned(),
            offset: 0,
            inlined: false,
        };
        let frames = names.iter().map(frame).collect();
        Stack { frames, labels: BTreeMap::new(), samples: LEAST_SAMPLES, cpu_ns: 1 }
    }

    fn shape() -> Shape {
        Shape::new().maybe(&["leaf"]).names(["a", "main"]).from_start()
    }

    #[test]
    fn whole_stacks_fit() {
        assert!(shape().fits(&stack(&["leaf", "a", "main", "__libc_1", "_start"])));
        assert!(shape().fits(&stack(&["k_2", "k_1", "a", "main", "__libc_2", "__libc_1", "_start"])));
    }

    #[test]
    fn stacks_with_a_gap_a_stranger_or_an_open_end_do_not_fit() {
        for names in [
            &["leaf", "main", "__libc_1", "_start"][..],
            &["leaf", "x", "a", "main", "__libc_1", "_start"],
            &["a", "leaf", "main", "__libc_1", "_start"],
            &["leaf", "a", "main", "__libc_1"],
            &["leaf", "a", "main", "_start"],
            &["leaf", "a", "main", "__libc_1", "_start", "_start"],
            &["leaf", "a", "main", "__libc_1", "_start", "[incomplete: lost_chain]"],
            &["leaf", "a", "[truncated]"],
        ] {
            assert!(!shape().fits(&stack(names)), "{names:?}");
        }
    }

    #[test]
    fn a_stack_that_ends_in_the_kernel_is_no_user_sample() {
        assert!(!is_user(&stack(&["k_1"])));
        assert!(!is_user(&stack(&["k_do_exit", "a"])));
        assert!(is_user(&stack(&["k_1", "[incomplete: lost_chain]"])));
    }

    #[test]
    fn shares_are_of_samples() {
        let (good, bad) = (stack(&["a", "main", "__libc_1", "_start"]), stack(&["a"]));
        assert_eq!(check("x", &[&good], &[shape()]), Ok(()));
        let error = check("x", &[&good, &bad], &[shape()]).unwrap_err();
        assert!(error.contains("500 of 1000 user samples are as expected: 0.5000"), "{error}");
        assert!(check("x", &[], &[shape()]).is_err());
    }
}
