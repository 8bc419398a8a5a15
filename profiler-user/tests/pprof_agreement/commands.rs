//! The same request to both command lines, and their answers compared number by number.

use std::collections::{HashMap, HashSet};
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::OnceLock;

/// A report in both languages, without the names of files.
#[derive(Clone, Debug)]
pub(crate) struct Request {
    pub(crate) ours: Vec<String>,
    pub(crate) theirs: Vec<String>,
}

fn words(text: &str) -> Vec<String> {
    text.split(' ').filter(|word| !word.is_empty()).map(str::to_owned).collect()
}

/// Options that both understand, in our writing; theirs have one dash and underscores, and granularities are options.
const OPTIONS: [&str; 28] = [
    "",
    "--by=filefunctions",
    "--by=files",
    "--by=lines",
    "--by=addresses",
    "--noinlines",
    "--noinlines --by=lines",
    "--noinlines --by=addresses",
    "--sample-index=0",
    "--focus=work|recurse|json|compile",
    "--focus=main --ignore=vector|small|gc",
    "--ignore=libc|runtime|kernel",
    "--hide=^work$|spin|alloc",
    "--hide=usr/bin|fmt",
    "--show=main|std|vdso|runtime|Py",
    "--show-from=work|sort|PyEval|mallocgc",
    "--prune-from=work|alloc|Dict|read",
    "--show-from=main --prune-from=sort|dumps --by=lines",
    "--tagfocus=one|python|2kb:",
    "--tagignore=thread=two|gzip",
    "--tagfocus=bytes=1kb:1mb",
    "--tagroot=thread,process",
    "--tagleaf=thread --hide=spin",
    "--unit=us --divide-by=7",
    "--unit=auto",
    "--relative-percentages --focus=work|json|runtime",
    "--drop-negative",
    "--showcolumns --by=lines",
];

/// One way to ask for a report.
fn request(report: &str, functions: &str, extra: &str) -> Request {
    let ours = match report {
        "peek" | "list" => vec![report.to_owned(), functions.to_owned()],
        report => vec![report.to_owned()],
    };
    let theirs = match report {
        "peek" | "list" => vec![format!("-{report}={functions}")],
        report => vec![format!("-{report}")],
    };
    let dashed = |option: String| match option.strip_prefix("--by=") {
        Some(granularity) => format!("-{granularity}"),
        None => {
            let (name, value) = option.split_once('=').map_or((&*option, None), |(n, v)| (n, Some(v)));
            let name = name.trim_start_matches("--").replace('-', "_");
            value.map_or(format!("-{name}"), |value| format!("-{name}={value}"))
        }
    };
    Request {
        ours: ours.into_iter().chain(words(extra)).collect(),
        theirs: theirs.into_iter().chain(words(extra).into_iter().map(dashed)).collect(),
    }
}

/// A dozen and more ways to ask for each report; `functions` are regexes that match something.
pub(crate) fn requests(report: &str, functions: &str) -> Vec<Request> {
    let of = |extra: &str| request(report, functions, extra);
    let mut all: Vec<Request> = OPTIONS.iter().map(|options| of(options)).collect();
    if report == "traces" {
        all.push(of("--mean"));
        all.push(of("--mean --by=lines --focus=main"));
    }
    if report == "tree" {
        for trim in [
            "--nodecount=7",
            "--nodecount=7 --cum",
            "--cum --by=lines",
            "--nodefraction=0 --edgefraction=0",
            "--nodecount=0 --nodefraction=0.05 --edgefraction=0.02",
            "--nodecount=3 --nodefraction=0 --edgefraction=0 --by=addresses",
        ] {
            all.push(of(trim));
        }
    }
    if report == "top" {
        for request in &mut all {
            request.ours.push("--rows=0".to_owned());
            request.theirs.extend(words("-nodefraction=0 -edgefraction=0"));
        }
        for trim in [
            "--nodecount=12 --nodefraction=0.005 --edgefraction=0.001",
            "--nodecount=0 --nodefraction=0.03 --edgefraction=0.01 --cum --compact-labels",
            "--nodecount=5 --nodefraction=0.01 --edgefraction=0 --by=lines --focus=main",
            "--mean --nodecount=0 --nodefraction=0 --edgefraction=0",
            "--mean --cum --nodecount=9 --nodefraction=0.01 --edgefraction=0.001",
        ] {
            all.push(of(trim));
        }
    }
    all
}

/// A dozen of these.
pub(crate) fn dozen(report: &str, functions: &str) -> Vec<Request> {
    const PLACES: [usize; 12] = [0, 1, 3, 4, 5, 9, 11, 12, 15, 16, 21, 25];
    let mut all: Vec<Option<Request>> = requests(report, functions).into_iter().map(Some).collect();
    PLACES.iter().filter_map(|&place| all.get_mut(place)?.take()).collect()
}

/// The path of the tool itself: `go tool` takes longer to find it than it takes to answer.
pub(crate) fn pprof() -> &'static Path {
    static PPROF: OnceLock<PathBuf> = OnceLock::new();
    PPROF.get_or_init(|| {
        // Running it once makes Go build it where it is not built yet.
        let answer = |args: &[&str]| {
            let output = Command::new("go").args(args).output();
            output.unwrap_or_else(|error| {
                panic!("these tests compare with `go tool pprof`, but `go` cannot be run ({error})")
            })
        };
        answer(&["tool", "pprof", "-h"]);
        let path = answer(&["tool", "-n", "pprof"]).stdout;
        PathBuf::from(String::from_utf8(path).unwrap().trim())
    })
}

fn theirs(files: &[PathBuf], request: &Request) -> Command {
    let mut command = Command::new(pprof());
    // Settings of the user are not looked for.
    let nowhere = "/nonexistent";
    command.arg("-symbolize=none").args(&request.theirs).args(files);
    command.env("TZ", "UTC").env("XDG_CONFIG_HOME", nowhere).env("PPROF_BINARY_PATH", nowhere);
    command.env("PPROF_TMPDIR", std::env::temp_dir());
    command
}

fn ours(profiler: &Path, files: &[PathBuf], request: &Request) -> Command {
    let mut command = Command::new(profiler);
    command.args(&request.ours).args(files);
    command
}

/// Whether it succeeded, and its stdout.
fn ask(command: &mut Command) -> (bool, String) {
    let output = command.output().unwrap_or_else(|error| panic!("{command:?} cannot be run: {error}"));
    (output.status.success(), String::from_utf8_lossy(&output.stdout).into_owned())
}

/// Whether our answer has every line that is in all of pprof's.
///
/// Of rows with equal names and values pprof also shows random ones where it does not show all, so that no two of its own
/// answers need be the same. It is asked again until what they share is among ours: a line that is really missing there stays.
fn agrees_where_determined(
    first: &[String],
    ours: &[String],
    mut again: impl FnMut() -> Vec<String>,
) -> bool {
    const ANSWERS: usize = 30;
    let count = |lines: &[String]| {
        let mut counts: HashMap<String, usize> = HashMap::new();
        for line in lines {
            *counts.entry(line.clone()).or_default() += 1;
        }
        counts
    };
    let ours = count(ours);
    let mut shared = count(first);
    for _ in 0..ANSWERS {
        if shared.iter().all(|(line, times)| ours.get(line).is_some_and(|found| found >= times)) {
            return true;
        }
        let next = count(&again());
        shared.retain(|line, times| {
            *times = (*times).min(next.get(line).copied().unwrap_or(0));
            *times > 0
        });
    }
    false
}

/// Asks both and compares. Where pprof refuses, so must we.
pub(crate) fn compare(profiler: &Path, files: &[PathBuf], request: &Request) {
    let (mut theirs, mut ours) = (theirs(files, request), ours(profiler, files, request));
    let ((their_success, their_text), (our_success, our_text)) = (ask(&mut theirs), ask(&mut ours));
    assert_eq!(our_success, their_success, "{ours:?} and {theirs:?}");
    if !their_success {
        return;
    }
    let report = request.ours[0].as_str();
    if let Err(difference) = agree(report, &their_text, &our_text, || ask(&mut theirs).1) {
        panic!("{theirs:?}\nand\n{ours:?}\n{difference}");
    }
}

/// Compares two reports number by number; `again` asks pprof once more, and an error tells where they differ.
pub(crate) fn agree(
    report: &str,
    their_text: &str,
    our_text: &str,
    mut again: impl FnMut() -> String,
) -> Result<(), String> {
    let (theirs_read, ours_read) = (read(report, their_text), read(report, our_text));
    if theirs_read == ours_read {
        return Ok(());
    }
    // pprof leaves what has equal names and values in the random order of Go's maps, and so do its sums.
    let (theirs_sorted, ours_sorted) = (sorted(report, &theirs_read), sorted(report, &ours_read));
    let ambiguous = has_equals(report, &theirs_read);
    if ambiguous
        && (theirs_sorted == ours_sorted
            || agrees_where_determined(&theirs_sorted, &ours_sorted, || {
                sorted(report, &read(report, &again()))
            }))
    {
        return Ok(());
    }
    let (left, right) =
        if ambiguous { (theirs_sorted, ours_sorted) } else { (theirs_read.concat(), ours_read.concat()) };
    let place = left.iter().zip(&right).position(|(left, right)| left != right);
    let place = place.unwrap_or(left.len().min(right.len()));
    let near = |lines: &[String]| {
        lines.iter().skip(place.saturating_sub(6)).take(12).cloned().collect::<Vec<_>>().join("\n")
    };
    let folder = std::env::temp_dir().join("report-agreement");
    let _ = fs::create_dir_all(&folder);
    let _ = fs::write(folder.join("theirs"), their_text);
    let _ = fs::write(folder.join("ours"), our_text);
    Err(format!(
        "differ at line {place} of {} and {}:\n{}\n--- ours:\n{}\n(whole in {})",
        left.len(),
        right.len(),
        near(&left),
        near(&right),
        folder.display()
    ))
}

/// Asks both for the call graph and compares nodes and edges with their values.
pub(crate) fn compare_graphs(profiler: &Path, files: &[PathBuf]) {
    for options in
        ["", "--nodecount=15", "--by=lines", "--focus=main", "--nodefraction=0.02 --edgefraction=0.01"]
    {
        let mut request = request("callgraph", "", options);
        request.theirs[0] = "-dot".to_owned();
        let (_, theirs) = ask(&mut theirs(files, &request));
        let (_, ours) = ask(&mut ours(profiler, files, &request));
        let (theirs, ours) = (drawn(&theirs), drawn(&ours));
        assert!(theirs.len() > 4, "{request:?} of {files:?}: there is a graph");
        for (theirs, ours) in theirs.iter().zip(&ours) {
            assert_eq!(ours, theirs, "{request:?} of {files:?}");
        }
        assert_eq!(ours.len(), theirs.len(), "{request:?} of {files:?}");
    }
}

/// Asks both for instructions and compares addresses with their values; Go's pprof writes the instructions themselves in
/// its own assembler's words.
pub(crate) fn compare_instructions(profiler: &Path, file: &Path, functions: &str) {
    for options in ["", "--focus=main", "--sample-index=0", "--hide=nothing"] {
        let mut request = request("list", functions, options);
        request.ours[0] = "disasm".to_owned();
        request.theirs[0] = format!("-disasm={functions}");
        let files = [file.to_owned()];
        let (_, theirs) = ask(&mut theirs(&files, &request));
        let (_, ours) = ask(&mut ours(profiler, &files, &request));
        let (theirs, ours) = (costs(&theirs), costs(&ours));
        assert!(theirs.len() > 8, "{request:?}: there are instructions");
        assert_eq!(ours, theirs, "{request:?}");
    }
}

/// Heads and sums of routines, and `flat cum address` of the instructions with a value. Routines of one name, which are in
/// several programs, come in no order that could be told from their names: they are sorted by their contents.
fn costs(text: &str) -> Vec<String> {
    let line = |line: &str| {
        let words: Vec<&str> = line.split_whitespace().collect();
        match words.as_slice() {
            ["ROUTINE", ..] | ["Total:", ..] => Some(line.to_owned()),
            [flat, cum, "(flat,", ..] => Some(format!("{flat} {cum}")),
            [".", ".", ..] => None,
            [flat, cum, address, ..] if address.ends_with(':') => Some(format!("{flat} {cum} {address}")),
            _ => None,
        }
    };
    let mut routines: Vec<Vec<String>> = vec![Vec::new()];
    for line in text.lines().filter_map(line) {
        if line.starts_with("ROUTINE") {
            routines.push(Vec::new());
        }
        if let Some(routine) = routines.last_mut() {
            routine.push(line);
        }
    }
    routines.sort();
    routines.concat()
}

/// What tells of nodes and edges: the hint under the mouse, which has the whole name and the value; the size of a
/// node's letters, which tells its own value; and whether an edge is inlined or dotted. Of the boxes of labels whose they
/// are, their names, values and dots. Sorted.
pub(crate) fn drawn(dot: &str) -> Vec<String> {
    let part = |line: &str, start: &str, end: &str| {
        let (_, rest) = line.split_once(start)?;
        Some(rest.split_once(end)?.0.to_owned())
    };
    let id = |line: &str| line.split_once(" [").map(|(id, _)| id.to_owned());
    // What an id stands for; boxes have their node's in front of their own number.
    let names: HashMap<String, String> = dot
        .lines()
        .filter_map(|line| Some((id(line)?, part(line, "tooltip=\"", "\"")?)))
        .filter(|(id, _)| id.starts_with('N') && !id.contains(' '))
        .collect();
    let owner = |id: &str| {
        let node: String = id.trim_start_matches('N').chars().take_while(char::is_ascii_digit).collect();
        names.get(&format!("N{node}")).cloned().unwrap_or_default()
    };
    let line = |line: &str| {
        let own = id(line)?;
        if own.contains('_') {
            let what = part(line, "label = \"", "\"").unwrap_or_default();
            let ends: Vec<usize> = own.split(" -> ").map(|end| end.matches('_').count()).collect();
            let (value, dotted) = (part(line, "tooltip=\"", "\"")?, line.contains("dotted"));
            return Some(format!("{} {what} {value} {dotted} {ends:?}", owner(&own)));
        }
        let hint = part(line, "tooltip=\"", "\" ")?;
        if line.contains(" -> N") {
            let marks = ["(inline)", "style=\"dotted\""].map(|mark| line.contains(mark));
            return Some(format!("{hint} {marks:?}"));
        }
        Some(format!("{hint} {}", part(line, "fontsize=", " ")?))
    };
    let mut lines: Vec<String> = dot.lines().filter(|line| line.starts_with('N')).filter_map(line).collect();
    lines.sort_unstable();
    lines
}

/// Blocks between separators, each line with its spaces made one. The profile's comments, which we do not repeat on
/// top of every report, are taken out.
fn read(report: &str, text: &str) -> Vec<Vec<String>> {
    if report == "list" {
        return read_listing(text);
    }
    let mut lines: Vec<String> = text.lines().map(spaced).collect();
    if report != "raw" {
        let kind = lines.iter().position(|line| line.starts_with("Type:")).unwrap_or(0);
        let own = |line: &String| line.starts_with("File: ") || line.starts_with("Build ID: ");
        let head: Vec<String> = lines.drain(..kind).filter(own).collect();
        lines.splice(0..0, head);
    }
    let separator = |line: &String| line.starts_with("-----------+") || line.starts_with("-----------------");
    lines.split(separator).map(<[String]>::to_vec).collect()
}

/// A line with its spaces made one. Behind a bracket pprof pads shares, and we do not everywhere.
fn spaced(line: &str) -> String {
    line.split_whitespace().collect::<Vec<_>>().join(" ").replace("( ", "(")
}

/// Routines; of one without source only its sums, because there pprof has an error and we the lines without text.
fn read_listing(text: &str) -> Vec<Vec<String>> {
    let mut blocks: Vec<Vec<String>> = vec![vec![]];
    let mut without_source = false;
    for line in text.lines() {
        let line = line.split_whitespace().collect::<Vec<_>>().join(" ");
        let unknown = line.to_lowercase().starts_with("no source information for ");
        if line.starts_with("ROUTINE") || (unknown && (without_source || line.starts_with('N'))) {
            blocks.push(vec![]);
            without_source = false;
        }
        if unknown || line.starts_with("Error: ") {
            without_source = true;
        } else if !without_source && let Some(block) = blocks.last_mut() {
            block.push(line);
        }
    }
    blocks.into_iter().filter(|block| !block.is_empty()).collect()
}

/// The row of a block of a tree, by its bar without spaces around: `flat flat% sum% cum cum% | name`.
fn is_row(line: &str) -> bool {
    line.split(' ').nth(5) == Some("|")
}

/// Whether the order of the answer is not determined: equal names, or values that differ in their sign only.
fn has_equals(report: &str, blocks: &[Vec<String>]) -> bool {
    let lines = blocks.concat();
    let mut names = HashSet::new();
    match report {
        "tree" | "peek" => {
            let mut rows = lines.iter().filter(|line| is_row(line));
            lines.iter().any(|line| line.contains(" -") || line.starts_with('-'))
                || !rows.all(|row| names.insert(row.split_once(" | ").map(|(_, name)| name)))
        }
        "top" => {
            let name = |line: &String| {
                let name = line.split(' ').skip(5).collect::<Vec<_>>().join(" ");
                name.trim_end_matches(" (inline)").trim_end_matches(" (partial-inline)").to_owned()
            };
            let head = lines.iter().position(|line| line.starts_with("flat ")).unwrap_or(0);
            let mut found = HashSet::new();
            !lines.iter().skip(head).map(name).all(|name| found.insert(name))
        }
        _ => false,
    }
}

fn sorted(report: &str, blocks: &[Vec<String>]) -> Vec<String> {
    let without_sum = |line: &String| {
        let mut words: Vec<&str> = line.split(' ').collect();
        if (is_row(line) || report == "top") && words.len() > 4 {
            words.remove(2);
        }
        words.join(" ")
    };
    let mut blocks: Vec<String> = blocks
        .iter()
        .map(|block| {
            let mut lines: Vec<String> = block.iter().map(without_sum).collect();
            lines.sort_unstable();
            lines.join("\n")
        })
        .collect();
    blocks.sort_unstable();
    blocks.iter().flat_map(|block| block.lines().map(str::to_owned).collect::<Vec<_>>()).collect()
}
