//! Programs of others: their stacks are not known, but each of them begins where its process or thread began.

use std::path::Path;

use profiler_tests::shape::{Roots, assert_all, check_share};
use profiler_tests::{Pprof, Session, Stack, recording, tools};

fn of_process<'a>(profile: &'a Pprof, name: &'a str) -> Vec<&'a Stack> {
    let stacks: Vec<&Stack> = profile.with_label("process", name).collect();
    profile.check(!stacks.is_empty(), &format!("no samples of {name}"));
    stacks
}

/// Of the user samples, at least the share `least` has a function whose name begins in one of these ways.
fn check_functions(stacks: &[&Stack], prefixes: &[&str], least: f64) -> Result<(), String> {
    check_share(&prefixes.join("|"), stacks, least, "       one of these functions\n", |stack| {
        stack.frames.iter().any(|frame| prefixes.iter().any(|prefix| frame.path().starts_with(prefix)))
    })
}

/// What the kernel keeps of a program's name.
fn process_name(program: &Path) -> String {
    let name = program.file_name().unwrap_or_default().to_string_lossy();
    name.chars().take(15).collect()
}

#[test]
fn openssl_with_leaves_in_assembly() {
    let session = Session::begin();
    let openssl = tools::require("openssl", "openssl");
    // Ciphers, digests and big numbers, each of which has loops of its own in assembly.
    let script = "for what in sha256 aes-256-gcm chacha20-poly1305; do
                      \"$0\" speed -seconds 1 -bytes 16384 -evp $what || exit
                  done
                  \"$0\" speed -seconds 1 rsa2048 ecdsap256";
    let profile = recording::of_command(&session, 299, &["sh", "-c", script, openssl.to_str().unwrap()]);
    let stacks = of_process(&profile, "openssl");
    let roots = Roots::of(&[&openssl]);
    let in_libcrypto: Vec<&Stack> = stacks
        .iter()
        .copied()
        .filter(|s| s.frames.iter().any(|f| f.file_name().starts_with("libcrypto")))
        .collect();
    assert_all([
        roots.check("openssl", &stacks),
        check_share("openssl", &stacks, 0.9, "       a leaf in libcrypto\n", |stack| {
            stack
                .frames
                .iter()
                .find(|f| !f.is_kernel())
                .is_some_and(|f| f.file_name().starts_with("libcrypto"))
        }),
        check_functions(&in_libcrypto, &["EVP_", "BN_", "EC_", "RSA_"], 0.8),
    ]);
}

#[test]
fn clang_with_a_library_of_a_hundred_megabytes() {
    let session = Session::begin();
    let clang = tools::clang();
    let source = concat!(env!("CARGO_MANIFEST_DIR"), "/programs/headers.cpp");
    let object = session.path("headers.o");
    let args = ["-std=c++17", "-O2", "-c", source, "-o", object.to_str().unwrap()];
    let command: Vec<&str> = std::iter::once(clang.to_str().unwrap()).chain(args).collect();
    let profile = recording::of_command(&session, 199, &command);
    assert!(object.exists(), "it compiled {source}");
    let name = process_name(&clang);
    let stacks = of_process(&profile, &name);
    assert_all([
        Roots::of(&[&clang]).check(&name, &stacks),
        check_functions(&stacks, &["clang::ParseAST"], 0.8),
    ]);
}

#[test]
fn python() {
    let session = Session::begin();
    let python = tools::python();
    let script = "
import json, re, time
def fib(n):
    return n if n < 2 else fib(n - 1) + fib(n - 2)
def compare(pair):
    return pair[1], fib(3)
until = time.process_time() + 3.5
while time.process_time() < until:
    fib(18)
    table = {str(i): [i] * 5 for i in range(2000)}
    json.loads(json.dumps(table))
    sorted(table.items(), key=compare)
    re.findall('[0-9]+[2-5]', ' '.join(table))
";
    let command = [python.to_str().unwrap(), "-c", script];
    let profile = recording::of_command(&session, 299, &command);
    let name = process_name(&python);
    let stacks = of_process(&profile, &name);
    assert_all([
        Roots::of(&[&python]).check(&name, &stacks),
        check_functions(&stacks, &["Py_BytesMain"], 0.95),
    ]);
}

#[test]
fn node() {
    let session = Session::begin();
    let node = tools::require("node", "nodejs");
    let script = "
const zlib = require('zlib'), crypto = require('crypto');
const table = Object.fromEntries(Array.from({ length: 3000 }, (_, i) => [`key${i}`, [i, `${i * i}`]]));
const until = process.cpuUsage().user + 3.5e6;
while (process.cpuUsage().user < until) {
    const text = JSON.stringify(table);
    JSON.parse(text);
    zlib.deflateSync(text);
    crypto.createHash('sha256').update(text).digest();
    Object.keys(table).sort((a, b) => table[b][0] - table[a][0]);
}
";
    let command = [node.to_str().unwrap(), "-e", script];
    let profile = recording::of_command(&session, 299, &command);
    let stacks: Vec<&Stack> =
        profile.stacks.iter().filter(|s| s.frames.iter().any(|f| f.file_name() == "node")).collect();
    // Some versions name their other threads, and some do not.
    let of_main = |s: &&Stack| !s.has("start_thread");
    let of_main: Vec<&Stack> = stacks.iter().copied().filter(of_main).collect();
    assert_all([
        Roots::of(&[&node]).check("node", &stacks),
        check_functions(&of_main, &["node::Start"], 0.95),
    ]);
}
