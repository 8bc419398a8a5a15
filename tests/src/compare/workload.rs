//! What is profiled by both: a compiler of C and of C++, an interpreter, and an engine that generates code.

use std::fmt::Write as _;
use std::path::Path;
use std::process::{Child, Command, Stdio};

use crate::programs::{must_run, source_folder};
use crate::tools;

/// Sorting with a function of its own, text to objects and back, and pattern matching: C that calls Python that calls C.
const PYTHON: &str = "
import json, re
def fib(n):
    return n if n < 2 else fib(n - 1) + fib(n - 2)
def compare(pair):
    return pair[1], fib(3)
while True:
    fib(18)
    table = {str(i): [i] * 5 for i in range(2000)}
    json.loads(json.dumps(table))
    sorted(table.items(), key=compare)
    re.findall('[0-9]+[2-5]', ' '.join(table))
";

/// The like in JavaScript, with libraries of node's own in C and assembly.
const NODE: &str = "
const zlib = require('zlib'), crypto = require('crypto');
const table = Object.fromEntries(Array.from({ length: 3000 }, (_, i) => [`key${i}`, [i, `${i * i}`]]));
for (;;) {
    const text = JSON.stringify(table);
    JSON.parse(text);
    zlib.deflateSync(text);
    crypto.createHash('sha256').update(text).digest();
    Object.keys(table).sort((a, b) => table[b][0] - table[a][0]);
}
";

/// Names of the workloads.
pub const NAMES: [&str; 4] = ["clang", "clang++", "python3", "node"];

/// The command of a workload, which runs for longer than anybody profiles it.
pub fn command(name: &str, folder: &Path) -> Command {
    match name {
        "clang" => compiler(folder, "large.c", &one_large_function(), &["-O2"]),
        "clang++" => compiler(folder, "large.cpp", &many_templates(), &["-std=c++17", "-O2"]),
        "python3" => {
            let mut command = Command::new(tools::python());
            command.args(["-c", PYTHON]);
            command
        }
        "node" => {
            let mut command = Command::new(tools::require("node", "nodejs"));
            command.args(["-e", NODE]);
            command
        }
        _ => panic!("there is no workload {name}, but {}", NAMES.join(", ")),
    }
}

/// A process that is ended when this is dropped.
#[derive(Debug)]
pub struct Background(Child);

impl Background {
    /// Starts a command without input, its output thrown away.
    pub fn start(command: &mut Command) -> Background {
        let quiet = command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null());
        Background(quiet.spawn().unwrap_or_else(|e| panic!("cannot start {command:?}: {e}")))
    }

    /// Its pid.
    pub fn pid(&self) -> u32 {
        self.0.id()
    }
}

impl Drop for Background {
    fn drop(&mut self) {
        // It may have ended by itself; it is reaped in either case.
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

/// The first line that the workload's program says of its version.
pub fn version(name: &str, folder: &Path) -> String {
    let program = command(name, folder).get_program().to_owned();
    must_run(Command::new(program).arg("--version")).lines().next().unwrap_or_default().to_owned()
}

fn compiler(folder: &Path, file: &str, source: &str, flags: &[&str]) -> Command {
    let path = folder.join(file);
    std::fs::write(&path, source).expect("a scratch file");
    let mut command = Command::new(tools::clang());
    command.args(flags).arg("-c").arg(&path).arg("-o").arg(path.with_extension("o"));
    command
}

/// A switch of thousands of cases, such as parsers and interpreters are generated: the compiler spends minutes in few
/// places, at different depths.
fn one_large_function() -> String {
    let mut source = String::from("int step(int r, int *p) {\nfor (;;) switch (p[r & 4095]) {\n");
    let mut random = 1_u32;
    let mut number = |below: u32| {
        random = random.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
        (random >> 8) % below
    };
    for case in 0..20_000 {
        let (factor, from, bit, to) = (number(98) + 1, number(4096), 1 << number(12), number(64));
        // Writing to a String cannot fail.
        let _ =
            writeln!(source, "case {case}: r = r * {factor} + p[{from}]; if (r & {bit}) p[{to}] = r; break;");
    }
    source + "default: return r; } }\n"
}

/// `headers.cpp` with its templates made over and over: deep recursion, in which no path is frequent.
fn many_templates() -> String {
    let path = source_folder().join("headers.cpp");
    let mut source = std::fs::read_to_string(&path).unwrap_or_else(|e| panic!("{}: {e}", path.display()));
    for number in 100..400 {
        let _ = writeln!(source, "template struct Words<{number}>;");
    }
    source
}
