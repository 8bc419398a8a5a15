//! The known stack: a leaf, `chain_12` … `chain_01`, `main`.

use crate::pprof::{Pprof, Stack, describe, samples};
use crate::programs::Program;
use crate::stats::{assert_at_least, assert_share};

/// Share of CPU time in the heavy leaf, by the ratio of iterations.
pub const HEAVY: f64 = 0.7;

/// Least share of a program's samples that must show the whole chain. The rest is for the few instructions around a
/// frame pointer's set-up, and for start and end of the program.
pub const WHOLE: f64 = 0.995;

/// Names of the chain's functions as one build shows them.
#[derive(Debug, Clone)]
pub struct Chain {
    /// Name of the leaf that takes [`HEAVY`] of the time.
    pub heavy: String,
    /// Name of the other leaf.
    pub light: String,
    /// `chain_12` … `chain_01`, `main`.
    pub callers: Vec<String>,
}

impl Chain {
    /// The names in a build of the chain.
    pub fn of(program: Program) -> Chain {
        let (space, main, heavy, light) = match program {
            Program::Cpp => ("app::", "main", "app::Widget<int>::spin", "app::Widget<char>::spin"),
            Program::Rust => ("chain::", "chain::main", "chain::leaf_heavy", "chain::leaf_light"),
            _ => ("", "main", "leaf_heavy", "leaf_light"),
        };
        let mut callers: Vec<String> = (1..=12).rev().map(|n| format!("{space}chain_{n:02}")).collect();
        callers.push(main.to_owned());
        Chain { heavy: heavy.to_owned(), light: light.to_owned(), callers }
    }

    /// Whether the sample is in one of the leaves or in what it calls, down to an interrupt handler; by the leaf's
    /// name alone, so that it is also true of a stack that breaks off below it.
    pub fn in_leaf(&self, stack: &Stack) -> bool {
        stack.has(&self.heavy) || stack.has(&self.light)
    }

    /// Whether the stack shows a leaf with the whole chain under it, in order and without gap.
    pub fn is_whole(&self, stack: &Stack) -> bool {
        let names = stack.names();
        let Some(leaf) = names.iter().position(|&name| name == self.heavy || name == self.light) else {
            return false;
        };
        // The chain's mode `forks` calls it from the function that forks, once per generation.
        let callers = names[leaf + 1..].iter().filter(|&&name| name != "forks");
        callers.take(self.callers.len()).eq(self.callers.iter())
    }

    /// Asserts that the samples in the leaves show the whole chain.
    pub fn assert_whole(&self, what: &str, stacks: &[&Stack]) {
        let inside: Vec<&Stack> = stacks.iter().copied().filter(|stack| self.in_leaf(stack)).collect();
        let broken = inside.iter().copied().filter(|stack| !self.is_whole(stack));
        let whole = samples(inside.iter().copied().filter(|stack| self.is_whole(stack)));
        let shown = describe(broken, 5);
        assert_at_least(
            &format!("{what}: whole chain\n{shown}"),
            whole,
            samples(inside.iter().copied()),
            WHOLE,
        );
        // The leaves are nearly all that the program does: if they are not, their names were not found.
        let all = samples(stacks.iter().copied());
        let shown = describe(stacks.iter().copied(), 10);
        assert_at_least(&format!("{what}: in a leaf\n{shown}"), samples(inside), all, 0.95);
    }

    /// Asserts the shares of the two leaves.
    pub fn assert_shares(&self, what: &str, stacks: &[&Stack]) {
        let count = |name: &str| samples(stacks.iter().copied().filter(|stack| stack.has(name)));
        let (heavy, light) = (count(&self.heavy), count(&self.light));
        assert_share(&format!("{what}: {}", self.heavy), heavy, heavy + light, HEAVY);
    }

    /// Asserts shares and order for one process of a profile.
    pub fn assert_in(&self, profile: &Pprof, pid: u32) {
        let stacks = profile.of_pid(pid);
        profile.check(!stacks.is_empty(), &format!("no samples of pid {pid}"));
        let what = profile.path.display().to_string();
        self.assert_whole(&what, &stacks);
        self.assert_shares(&what, &stacks);
    }
}
