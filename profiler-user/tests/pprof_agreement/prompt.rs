//! The same commands at both prompts, from a pipe, and what they write compared.

use std::fs;
use std::io::Write;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use crate::commands::{agree, drawn, pprof};

/// What is typed; `FUNCTIONS` is a regex that matches something, `VALUE` a value of the profile.
const SESSION: &str = "\
top
top5
top 7 -cum
text 4
top 6 FUNCTIONS
top20 FUNCTIONS -runtime -small -gc
tree
tree 5 FUNCTIONS --cum
peek FUNCTIONS
list FUNCTIONS
traces
traces FUNCTIONS -main
raw
tags
tags one -two
comments
dot
dot 10 FUNCTIONS
focus=FUNCTIONS
top
tree 12
ignore=gc|small
top
hide=spin //: a remark
top
tags
:
top
sample_index=VALUE
top
traces
granularity=lines
top
tree
list FUNCTIONS
granularity=files
top 0
granularity=addresses
top 15
granularity=functions
sort=cum
top
peek FUNCTIONS
sort=flat
noinlines
top
list FUNCTIONS
noinlines=f
nodecount=7
top
tree
dot
nodecount=-1
nodefraction=0.05
edgefraction=0.02
top
tree
dot
trim=false
top 3
tree
trim=yes
compact_labels=false
top
tree
relative_percentages=1
top FUNCTIONS
relative_percentages=0
unit=ms
top
divide_by=3
top
tags
unit=minimum
divide_by=1
tagfocus=one
top
tagfocus=
tagroot=thread
top
tree
tagroot=
drop_negative=true
top
show=main|work
top
show=
show_from=FUNCTIONS
top
show_from=
prune_from=FUNCTIONS
top
nothing of the kind
top
quit
top
";

/// The lines, each that makes a report with its own file at its end; and the reports, in order.
fn session(folder: &Path, functions: &str, value: &str) -> (String, Vec<(String, PathBuf)>) {
    let mut reports = Vec::new();
    let mut lines = String::new();
    for line in SESSION.replace("FUNCTIONS", functions).replace("VALUE", value).lines() {
        let command =
            line.split(' ').next().unwrap_or_default().trim_end_matches(|digit: char| digit.is_ascii_digit());
        let known = ["top", "text", "tree", "peek", "list", "traces", "raw", "tags", "comments", "dot"];
        if known.contains(&command) {
            let file = folder.join(reports.len().to_string());
            lines.push_str(&format!("{line} >{}\n", file.display()));
            reports.push((if command == "text" { "top" } else { command }.to_owned(), file));
        } else {
            lines.push_str(&format!("{line}\n"));
        }
    }
    (lines, reports)
}

/// Types the lines into a prompt that reads a pipe.
fn typed(command: &mut Command, lines: &str) {
    let mut child =
        command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
    let mut stdin = child.stdin.take().unwrap();
    // One that ends at `quit` reads no further.
    let _ = stdin.write_all(lines.as_bytes());
    drop(stdin);
    child.wait_with_output().unwrap();
}

/// Has both read the same session, and compares every report of it.
pub(crate) fn compare(profiler: &Path, profile: &Path, functions: &str, value: &str) {
    let folder = tempfile::tempdir().unwrap();
    let [ours, theirs] = ["ours", "theirs"].map(|name| {
        let folder = folder.path().join(name);
        fs::create_dir(&folder).unwrap();
        folder
    });
    let (our_lines, our_reports) = session(&ours, functions, value);
    let (their_lines, their_reports) = session(&theirs, functions, value);
    typed(Command::new(profiler).arg("shell").arg(profile), &our_lines);
    let ask = || {
        let nowhere = "/nonexistent";
        let mut command = Command::new(pprof());
        command.arg("-symbolize=none").arg(profile);
        command.env("TZ", "UTC").env("XDG_CONFIG_HOME", nowhere).env("PPROF_BINARY_PATH", nowhere);
        typed(command.env("PPROF_TMPDIR", std::env::temp_dir()), &their_lines);
    };
    ask();
    let read = |file: &Path| fs::read_to_string(file).ok();
    let mut compared = 0;
    for ((report, our_file), (_, their_file)) in our_reports.iter().zip(&their_reports) {
        let line =
            our_lines.lines().find(|line| line.ends_with(&format!(">{}", our_file.display()))).unwrap();
        let (ours, theirs) = (read(our_file), read(their_file));
        assert_eq!(ours.is_some(), theirs.is_some(), "{line} of {}", profile.display());
        let (Some(ours), Some(theirs)) = (ours, theirs) else { continue };
        if report == "dot" {
            // Which nodes pprof draws of a comparison depends on the processor: with calls whose values cancel out, their
            // scores are no numbers.
            if profile.to_string_lossy().contains("difference") {
                continue;
            }
            assert_eq!(drawn(&ours), drawn(&theirs), "{line} of {}", profile.display());
        } else {
            let again = || {
                ask();
                read(their_file).unwrap()
            };
            if let Err(difference) = agree(report, &theirs, &ours, again) {
                panic!("{line} of {}: {difference}", profile.display());
            }
        }
        compared += 1;
    }
    assert!(compared > 40, "only {compared} reports of {}", profile.display());
    assert!(!our_reports.last().unwrap().1.exists(), "nothing is read behind `quit`");
}
