//! What the snapshots are taken of.

use std::path::PathBuf;

use super::Beginning;
use crate::{Bare, Program};

/// A frame's object and function, both by name; the latter is empty where it is not known.
pub type Named = (String, String);

/// How a snapshot is taken.
pub struct Recipe {
    /// Name of the snapshot.
    pub name: &'static str,
    /// What it is a stack of.
    pub description: &'static str,
    /// Builds the program.
    pub program: fn() -> PathBuf,
    /// Its arguments.
    pub args: &'static [&'static str],
    /// Whether a thread was stopped where it is to be recorded.
    pub is_here: fn(&Beginning, &[Named]) -> bool,
    /// Functions that the stack then has, in this order, up to the last of its frames; `|` parts the names of one.
    pub functions: fn() -> Vec<String>,
}

impl Recipe {
    /// Checks a stack that was recorded: a golden stack that is wrong would keep the unwinder wrong.
    pub fn check(&self, frames: &[Named]) {
        check(self.name, &(self.functions)(), frames);
    }
}

/// Checks that a stack has these functions in this order, up to the last of its frames.
pub(super) fn check(recipe: &str, functions: &[String], frames: &[Named]) {
    let mut rest = frames.iter().map(|(_, function)| function);
    for expected in functions {
        let found = rest.any(|function| expected.split('|').any(|name| is_named(function, name)));
        assert!(found, "{recipe}: no {expected} in its place: {frames:#?}");
    }
    assert!(rest.next().is_none(), "{recipe}: the stack ends elsewhere: {frames:#?}");
}

/// All of them.
pub const RECIPES: [Recipe; 16] = [
    Recipe {
        name: "c-leaf",
        description: "C at -O2 without frame pointers, in a leaf that has no frame",
        program: || Bare::chain().build(),
        args: &["burn"],
        is_here: |_, frames| leaf(frames, "leaf_heavy"),
        functions: || chain("leaf_heavy"),
    },
    Recipe {
        name: "c-system-call",
        description: "C in a system call: the pc is behind the instruction",
        program: || Bare::chain().build(),
        args: &["syscall"],
        is_here: |start, frames| start.is_return && leaf(frames, "leaf_heavy"),
        functions: || chain("leaf_heavy"),
    },
    Recipe {
        name: "c-static-pie",
        description: "C, linked statically and relocatable",
        program: || Bare::c("chain.c", "bare-spie").with(&["-static-pie"]).build(),
        args: &["burn"],
        is_here: |_, frames| leaf(frames, "leaf_light"),
        functions: || chain("leaf_light"),
    },
    Recipe {
        name: "c-lld",
        description: "C, linked by lld: the object's own addresses differ from file offsets",
        program: || Bare::c("chain.c", "bare-lld").lld().build(),
        args: &["burn"],
        is_here: |_, frames| leaf(frames, "leaf_heavy"),
        functions: || chain("leaf_heavy"),
    },
    Recipe {
        name: "c-thread",
        description: "C in a thread, whose first function is clone3",
        program: || Bare::chain().build(),
        args: &["threads"],
        is_here: |_, frames| leaf(frames, "leaf_heavy"),
        functions: || {
            let mut names = chain("leaf_heavy");
            names.truncate(13);
            names.extend(["thread_main", "start_thread", "clone3|__clone3|__GI___clone3"].map(str::to_owned));
            names
        },
    },
    Recipe {
        name: "c-plt",
        description: "C in an entry of the procedure linkage table",
        program: || Bare::calls().build(),
        args: &["plt"],
        is_here: |_, frames| {
            frames[0] == ("calls".to_owned(), String::new())
                && frames.get(1).is_some_and(|(_, function)| function == "plt_step")
        },
        functions: || names(&["plt_step", "main", "_start"]),
    },
    Recipe {
        name: "c-qsort",
        description: "C called back by libc's qsort",
        program: || Bare::calls().build(),
        args: &["sort"],
        // Some levels deep in its own recursion.
        is_here: |_, frames| leaf(frames, "compare_leaf") && frames.len() > 11,
        functions: || names(&["compare_leaf", "compare", "sort_step", "main", "_start"]),
    },
    Recipe {
        name: "c-memcpy",
        description: "C in libc's memcpy, which is assembly",
        program: || Bare::calls().build(),
        args: &["copy"],
        is_here: |_, frames| {
            frames[0].0.starts_with("libc.so")
                && frames.get(1).is_some_and(|(_, function)| function == "copy_step")
        },
        functions: || names(&["copy_step", "main", "_start"]),
    },
    Recipe {
        name: "c-signal",
        description: "C in a signal handler on an alternate stack, which interrupted a function",
        program: || Bare::c("signals.c", "signals").build(),
        args: &["timer"],
        is_here: |_, frames| leaf(frames, "handler_leaf") && frames.iter().any(|(_, name)| name == "inner"),
        functions: || names(&["handler_leaf", "handler", "inner", "middle", "outer", "main", "_start"]),
    },
    Recipe {
        name: "c-aligned",
        description: "C with realigned stacks: CFA = *(rbp - 8)",
        program: || Bare::c("aligned.c", "aligned").build(),
        args: &[],
        is_here: |_, frames| leaf(frames, "aligned_leaf"),
        functions: || names(&["aligned_leaf", "aligned_inner", "aligned_outer", "main", "_start"]),
    },
    Recipe {
        name: "c-recursion",
        description: "C, a hundred levels of three functions whose frames differ",
        program: || Bare::c("deep.c", "deep").build(),
        args: &["100"],
        is_here: |_, frames| leaf(frames, "bottom"),
        functions: || {
            let levels = (1..=100).map(|level| ["down_a", "down_b", "down_c"][level % 3]);
            let all = std::iter::once("bottom").chain(levels).chain(["main", "_start"]);
            all.map(str::to_owned).collect()
        },
    },
    Recipe {
        name: "c-vdso",
        description: "C in the vDSO",
        program: || Program::Vdso.build(),
        args: &[],
        is_here: |_, frames| frames[0].0 == "[vdso]",
        functions: || names(&["vdso_caller", "main", "_start"]),
    },
    Recipe {
        name: "c-generated",
        description: "Generated code with frame pointers and without a file, under C",
        program: || Program::Jit.build(),
        args: &[],
        is_here: |_, frames| frames[0].0 == "[anon]" && frames.len() > 3,
        functions: || names(&["jit_caller", "main", "_start"]),
    },
    Recipe {
        name: "cpp-throw",
        description: "C++ that throws, in the unwinder of exceptions",
        program: || Bare::cpp("throws.cpp", "throws").build(),
        args: &[],
        is_here: |_, frames| {
            frames[0].0.starts_with("libgcc_s") && frames.iter().any(|(_, name)| name.contains("chain_12"))
        },
        functions: || names(&["chain_12", "chain_11", "chain_02", "chain_01", "main", "_start"]),
    },
    Recipe {
        name: "rust",
        description: "Rust as cargo build --release builds it",
        program: || Bare::rust("chain.rs", "bare-rust").build(),
        args: &[],
        is_here: |_, frames| frames[0].1.contains("leaf_heavy"),
        functions: || chain("leaf_heavy"),
    },
    Recipe {
        name: "go",
        // Known limit: main.chain12 is missing, for the leaf has not pushed the frame pointer that leads to it.
        description: "Go by its own .debug_frame to runtime.goexit, from a leaf without a frame",
        program: || Bare::go("chain.go", "bare-go").build(),
        args: &[],
        is_here: |_, frames| leaf(frames, "main.leafHeavy"),
        functions: || {
            let links = (1..=11).rev().map(|number| format!("main.chain{number:02}"));
            let all = std::iter::once("main.leafHeavy".to_owned()).chain(links);
            all.chain(names(&["main.main", "runtime.main", "runtime.goexit.abi0"])).collect()
        },
    },
];

/// Whether a symbol is this function's: a mangled name has its length before it.
fn is_named(symbol: &str, function: &str) -> bool {
    symbol == function
        || symbol.starts_with("_ZN") && symbol.contains(&format!("{}{function}", function.len()))
}

fn leaf(frames: &[Named], function: &str) -> bool {
    frames[0].1 == function
}

pub(super) fn names(names: &[&str]) -> Vec<String> {
    names.iter().map(|&name| name.to_owned()).collect()
}

/// The chain under a leaf, down to `_start`.
fn chain(leaf: &str) -> Vec<String> {
    let links = (1..=12).rev().map(|number| format!("chain_{number:02}"));
    std::iter::once(leaf.to_owned()).chain(links).chain(names(&["main", "_start"])).collect()
}
