//! Real profiles, kept in the repository: what the reports say of them, word by word, and what becomes of them when their
//! bytes are damaged. `make.sh` tells how they were made.
//!
//! Golden reports lie in `golden/`, named by the profile and the options. `UPDATE_GOLDEN=1` writes them again.

#![expect(clippy::unwrap_used, reason = "clippy knows tests by their attribute, not their helpers")]

mod hostile;

use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

/// The profiles.
const PROFILES: [&str; 8] =
    ["chain", "two", "go-block", "go-cpu", "go-difference", "go-goroutine", "go-heap", "go-mutex"];

/// Reports of every profile; the name of a golden file is the arguments without their dashes.
const REPORTS: [&str; 15] = [
    "top",
    "top --cum --rows=5",
    "top --by=lines --rows=12",
    "top --by=addresses --noinlines --rows=8",
    "top --focus=main|chain|Py --node-fraction=0.01 --compact-labels",
    "top --json --rows=3",
    "tree --rows=8",
    "tree --by=files --json --rows=4",
    "peek main",
    "list --source-path=/nonexistent main",
    "tags",
    "tags --json",
    "callgraph --rows=10",
    "folded --focus=main",
    "flamegraph --format=speedscope --focus=sort|chain_12|Py",
];

/// Reports of the small ones, for they show every sample.
const WHOLE: [&str; 2] = ["traces", "raw"];

pub(crate) fn folder() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/corpus")
}

pub(crate) fn profiles() -> impl Iterator<Item = (&'static str, Vec<u8>)> {
    PROFILES.into_iter().map(|name| (name, fs::read(folder().join(format!("{name}.pb.gz"))).unwrap()))
}

/// `go-cpu.top-cum-rows5.txt`.
fn golden_name(profile: &str, report: &str) -> String {
    let plain = |word: &str| {
        word.chars().filter(|letter| letter.is_alphanumeric() || *letter == '_').collect::<String>()
    };
    let words: Vec<String> = report.split(' ').map(plain).collect();
    format!("{profile}.{}.txt", words.join("-"))
}

#[test]
fn golden_reports() {
    let update = std::env::var_os("UPDATE_GOLDEN").is_some_and(|value| !value.is_empty() && value != "0");
    let golden = folder().join("golden");
    fs::create_dir_all(&golden).unwrap();
    let mut wanted: BTreeSet<String> = BTreeSet::new();
    let mut wrong: Vec<String> = Vec::new();
    for (profile, bytes) in profiles() {
        let whole = WHOLE.into_iter().filter(|_| bytes.len() < 2000);
        for report in REPORTS.into_iter().chain(whole) {
            let mut command = Command::new(env!("CARGO_BIN_EXE_profiler"));
            command.args(report.split(' ')).arg(format!("{profile}.pb.gz")).current_dir(folder());
            let output = command.output().unwrap();
            // A refusal is an answer, too.
            let said = String::from_utf8(if output.status.success() { output.stdout } else { output.stderr })
                .unwrap();
            let name = golden_name(profile, report);
            let path = golden.join(&name);
            if update {
                fs::write(&path, &said).unwrap();
            } else if fs::read_to_string(&path).ok().as_deref() != Some(said.as_str()) {
                let other = std::env::temp_dir().join(&name);
                fs::write(&other, &said).unwrap();
                wrong.push(format!("diff {} {}", path.display(), other.display()));
            }
            assert!(wanted.insert(name), "two reports have the same name: {report}");
        }
    }
    let found: BTreeSet<String> = fs::read_dir(&golden)
        .unwrap()
        .map(|entry| entry.unwrap().file_name().into_string().unwrap())
        .collect();
    let left_over: Vec<&String> = found.difference(&wanted).collect();
    assert!(left_over.is_empty(), "no report is called {left_over:?}");
    assert!(
        wrong.is_empty(),
        "these reports changed; if they should, write them again with UPDATE_GOLDEN=1:\n{}",
        wrong.join("\n")
    );
}

/// Everything that could tell of the machine that they were made on: paths outside of the system's own folders.
#[test]
fn nothing_tells_of_a_machine() {
    for (name, bytes) in profiles() {
        let profile = profiler_user::profile::codec::decode(&bytes, 1 << 26).unwrap();
        for string in &profile.string_table {
            // Functions of Go have slashes, but do not begin with one.
            let known = ["/usr/", "/lib/", "/lib64/", "/bin/", "/opt/app/"];
            let is_known = !string.starts_with('/') || known.iter().any(|start| string.starts_with(start));
            assert!(is_known, "{name} holds {string:?}");
        }
    }
}
