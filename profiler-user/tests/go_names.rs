//! Names, files and lines of a stripped Go program, beside those that `go tool addr2line` has for the same program whole.
#![expect(clippy::expect_used, reason = "a test fails by panicking")]

use std::fs::File;
use std::io::Write;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::sync::Arc;

use profiler_user::unwind::{GoFunction, GoNames};

const SOURCE: &str = r#"package main

import (
	"encoding/json"
	"fmt"
	"sort"
)

type pair[K comparable, V any] struct {
	Key   K
	Value V
}

//go:noinline
func generic[K comparable, V any](key K, value V) any { return pair[K, V]{key, value} }

func inlined(n int) int { return n*n + 1 }

func main() {
	numbers := []int{3, 1, 2}
	sort.Slice(numbers, func(i, j int) bool { return inlined(numbers[i]) < inlined(numbers[j]) })
	text, _ := json.Marshal([]any{generic("a", 1), generic(1, "a"), numbers})
	fmt.Println(string(text))
}
"#;

/// Runs a command with this input, and gives what it prints.
fn run(command: &mut Command, input: &str) -> String {
    let mut child =
        command.stdin(Stdio::piped()).stdout(Stdio::piped()).spawn().expect("go, to compare with");
    let mut stdin = child.stdin.take().expect("its input");
    let input = input.to_owned();
    let writer = std::thread::spawn(move || stdin.write_all(input.as_bytes()));
    let output = child.wait_with_output().expect("its output");
    assert!(output.status.success(), "{command:?} failed");
    writer.join().expect("a thread").expect("its input is taken");
    String::from_utf8(output.stdout).expect("text")
}

fn build(folder: &Path, name: &str, flags: &[&str]) -> PathBuf {
    let program = folder.join(name);
    let mut go = Command::new("go");
    go.current_dir(folder).args(["build"]).args(flags).arg("-o").arg(&program).arg("main.go");
    run(&mut go, "");
    program
}

/// Addresses in every function, by `go tool nm`.
fn addresses(program: &Path) -> Vec<u64> {
    let text = run(Command::new("go").args(["tool", "nm", "-n", "-size"]).arg(program), "");
    let mut addresses = Vec::new();
    for line in text.lines() {
        let words: Vec<&str> = line.split_whitespace().collect();
        // Markers have no size.
        if let [address, size, "T" | "t", ..] = words[..]
            && let (Ok(address), Ok(size)) = (u64::from_str_radix(address, 16), size.parse::<u64>())
        {
            addresses.extend((0..size).step_by(101).map(|offset| address + offset));
        }
    }
    addresses
}

#[test]
fn a_stripped_program_has_the_names_and_lines_of_a_whole_one() {
    let folder = tempfile::tempdir().expect("a folder");
    std::fs::write(folder.path().join("main.go"), SOURCE).expect("a file");
    let whole = build(folder.path(), "whole", &[]);
    let stripped = build(folder.path(), "stripped", &["-ldflags=-s -w"]);
    let addresses = addresses(&whole);
    assert!(addresses.len() > 5_000, "{} addresses", addresses.len());
    let asked: String = addresses.iter().map(|address| format!("{address:#x}\n")).collect();
    let answers = run(Command::new("go").args(["tool", "addr2line"]).arg(&whole), &asked);
    let answers: Vec<&str> = answers.lines().collect();
    assert_eq!(answers.len(), 2 * addresses.len());

    let open = |path: &Path| GoNames::open(&Arc::new(File::open(path).expect("a program"))).expect("a table");
    assert!(open(&whole).is_none(), "symbols tell more");
    let mut names = open(&stripped).expect("a table");
    let (mut with_lines, mut compared) = (0, 0);
    for (address, answer) in addresses.iter().zip(answers.chunks(2)) {
        let [name, place] = answer else { unreachable!("two lines each") };
        // Padding behind a function is nobody's for addr2line.
        if *name == "?" {
            continue;
        }
        let GoFunction { name: ours, file, line } =
            names.look(*address).expect("a sound table").unwrap_or_else(|| panic!("{address:#x}: {name}"));
        assert_eq!(ours, *name, "{address:#x}");
        compared += 1;
        if !file.is_empty() {
            with_lines += 1;
            assert_eq!(format!("{file}:{line}"), *place, "{address:#x} in {name}");
        }
    }
    // The others are in calls that were inlined.
    assert!(compared > 5_000 && with_lines * 2 > compared, "{with_lines} of {compared} have lines");
    assert_eq!(names.look(1).expect("a sound table"), None);
}
