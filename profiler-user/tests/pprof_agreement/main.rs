//! Our tables against those of `go tool pprof`, line by line.
//!
//! Needs `go` on the PATH; without it these tests fail, because a table that nobody compared is not known to agree.

#![expect(
    clippy::unwrap_used,
    clippy::panic,
    reason = "clippy knows tests by their attribute, not their helpers"
)]

mod commands;
mod difference;
mod made;
mod prompt;

use std::collections::HashSet;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::OnceLock;

use made::Kind;
use profiler_user::profile::codec::encode;
use profiler_user::profile::filter::FrameFilter;
use profiler_user::report::node::Granularity;
use profiler_user::report::subject::Lens;
use profiler_user::report::text::{self, Paint};
use profiler_user::report::top::{Options, Sort, top};
use profiler_user::source::{Labels, Selection, Source, SourceError, Watcher, load};
use regex::Regex;

/// Runs Go, whose caches stay in the build folder.
fn go(arguments: &[&str]) {
    let cache = Path::new(env!("CARGO_TARGET_TMPDIR")).join("go");
    let mut command = Command::new("go");
    command.args(arguments).env("GOCACHE", cache.join("build")).env("GOPATH", cache.join("path"));
    stdout_of(command.env("GOFLAGS", ""));
}

fn stdout_of(command: &mut Command) -> String {
    let output = command.output().unwrap_or_else(|error| {
        panic!("this test compares with `go tool pprof`, but {command:?} cannot be run ({error}); install Go and put it on the PATH")
    });
    assert!(output.status.success(), "{command:?} failed:\n{}", String::from_utf8_lossy(&output.stderr));
    String::from_utf8(output.stdout).unwrap()
}

/// The profiles of a Go program: CPU, heap, mutex, block, goroutine.
fn real() -> [PathBuf; 5] {
    static FOLDER: OnceLock<PathBuf> = OnceLock::new();
    let folder = FOLDER.get_or_init(|| {
        let folder = Path::new(env!("CARGO_TARGET_TMPDIR")).join("pprof_agreement");
        fs::create_dir_all(&folder).unwrap();
        let program = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/pprof_agreement/work.go");
        let built = folder.join("work");
        go(&["build", "-o", built.to_str().unwrap(), program]);
        stdout_of(Command::new(&built).arg(&folder));
        folder
    });
    ["cpu", "heap", "mutex", "block", "goroutine"].map(|name| folder.join(format!("{name}.pb.gz")))
}

fn write(name: &str, seed: u64, kind: Kind) -> PathBuf {
    let path = Path::new(env!("CARGO_TARGET_TMPDIR")).join(name);
    fs::write(&path, encode(&made::profile(seed, kind)).unwrap()).unwrap();
    path
}

/// The same request in both languages.
struct Case {
    pprof: Vec<String>,
    options: Options,
}

fn regex(pattern: &str) -> Option<Regex> {
    Some(Regex::new(pattern).unwrap())
}

/// A dozen and more ways to ask; `value` is a sample type that the profile has besides its default.
fn cases(value: &str) -> Vec<Case> {
    let case = |pprof: &[&str], options: Options| Case {
        pprof: pprof.iter().map(|&argument| argument.to_owned()).collect(),
        options,
    };
    let through = |lens: Lens| Options { lens, ..Options::default() };
    let frames = |frames: FrameFilter| through(Lens { frames, ..Lens::default() });
    let none = FrameFilter::default;
    let by = |by| through(Lens { by, ..Lens::default() });
    let value_named = |name: &str| through(Lens { sample_index: Some(name.to_owned()), ..Lens::default() });
    vec![
        case(&[], Options::default()),
        case(&["-cum"], Options { sort: Sort::Cum, ..Options::default() }),
        case(&["-nodecount=7"], Options { rows: Some(7), ..Options::default() }),
        case(&["-nodecount=5", "-cum"], Options { rows: Some(5), sort: Sort::Cum, ..Options::default() }),
        case(&[&format!("-sample_index={value}")], value_named(value)),
        case(&["-sample_index=0"], value_named("0")),
        case(&["-filefunctions"], by(Granularity::Filefunctions)),
        case(&["-files"], by(Granularity::Files)),
        case(&["-lines"], by(Granularity::Lines)),
        case(&["-lines", "-nodecount=9"], Options { rows: Some(9), ..by(Granularity::Lines) }),
        case(&["-addresses"], by(Granularity::Addresses)),
        case(&["-addresses", "-cum"], Options { sort: Sort::Cum, ..by(Granularity::Addresses) }),
        case(&["-focus=work|recurse"], frames(FrameFilter { focus: regex("work|recurse"), ..none() })),
        case(
            &["-focus=main", "-ignore=vector|small"],
            frames(FrameFilter { focus: regex("main"), ignore: regex("vector|small"), ..none() }),
        ),
        case(&["-ignore=libc|runtime"], frames(FrameFilter { ignore: regex("libc|runtime"), ..none() })),
        case(&["-hide=^work$|spin"], frames(FrameFilter { hide: regex("^work$|spin"), ..none() })),
        case(&["-hide=usr/bin/app|fmt"], frames(FrameFilter { hide: regex("usr/bin/app|fmt"), ..none() })),
        case(&["-show=main|std|vdso"], frames(FrameFilter { show: regex("main|std|vdso"), ..none() })),
        case(&["-focus=nothing at all"], frames(FrameFilter { focus: regex("nothing at all"), ..none() })),
        case(
            &["-lines", "-cum", "-focus=a", "-ignore=z", "-hide=helper|sort", "-show=m"],
            Options {
                sort: Sort::Cum,
                lens: Lens {
                    by: Granularity::Lines,
                    frames: FrameFilter {
                        focus: regex("a"),
                        ignore: regex("z"),
                        hide: regex("helper|sort"),
                        show: regex("m"),
                        ..none()
                    },
                    ..Lens::default()
                },
                ..Options::default()
            },
        ),
    ]
}

struct Silent;

impl Watcher for Silent {
    fn reading(&mut self, _name: &str) {}
    fn broken(&mut self, error: &SourceError) {
        panic!("{error}");
    }
}

/// Lines to compare. Places without a function name are told apart by the line where the function starts, which no
/// column shows; pprof leaves rows of equal name and value in the random order of Go's maps. Where a name has several
/// rows they are compared sorted, and without sum%, which depends on the order.
fn lines(text: &str) -> Vec<String> {
    let mut lines: Vec<String> = text.lines().map(|line| line.trim_end().to_owned()).collect();
    let head = lines.iter().position(|line| line.trim_start().starts_with("flat ")).unwrap();
    let table = &mut lines[head + 1..];
    let name = |line: &str| {
        let name = line.split_whitespace().skip(5).collect::<Vec<_>>().join(" ");
        name.trim_end_matches(" (inline)").trim_end_matches(" (partial-inline)").to_owned()
    };
    let names: HashSet<String> = table.iter().map(|line| name(line)).collect();
    if names.len() < table.len() {
        for line in &mut *table {
            let mut words: Vec<&str> = line.split_whitespace().collect();
            words.remove(2);
            *line = words.join(" ");
        }
        table.sort_unstable();
    }
    lines
}

fn compare(files: &[PathBuf], case: &Case) {
    let mut arguments = vec!["-top", "-symbolize=none", "-nodefraction=0", "-edgefraction=0"];
    arguments.extend(case.pprof.iter().map(String::as_str));
    arguments.extend(files.iter().map(|file| file.to_str().unwrap()));
    let mut pprof = Command::new(commands::pprof());
    let theirs = stdout_of(pprof.args(&arguments).env("TZ", "UTC").env("PPROF_BINARY_PATH", "/nonexistent"));
    let sources: Vec<Source> = files.iter().cloned().map(Source::Path).collect();
    let selection = Selection { labels: Labels::Keep, ..Selection::default() };
    let loaded = load(&sources, &selection, &mut Silent).unwrap();
    let ours = text::top(&top(&loaded.profile, &case.options).unwrap(), Paint::Plain);
    let (theirs, ours) = (lines(&theirs), lines(&ours));
    for (number, (theirs, ours)) in theirs.iter().zip(&ours).enumerate() {
        assert_eq!(ours, theirs, "line {} of `pprof {}`", number + 1, arguments.join(" "));
    }
    assert_eq!(ours.len(), theirs.len(), "lines of `pprof {}`", arguments.join(" "));
}

#[test]
fn a_go_programs_cpu_profile() {
    let [cpu, ..] = real();
    for case in cases("samples") {
        compare(std::slice::from_ref(&cpu), &case);
    }
}

#[test]
fn a_go_programs_heap_profile() {
    let [_, heap, ..] = real();
    for case in cases("alloc_space") {
        compare(std::slice::from_ref(&heap), &case);
    }
}

#[test]
fn made_profiles() {
    for seed in 1..=3 {
        let path = write(&format!("made-{seed}.pb.gz"), seed, Kind::Cpu);
        for case in cases("wall") {
            compare(std::slice::from_ref(&path), &case);
        }
    }
}

#[test]
fn negative_values_and_a_base() {
    for seed in 1..=2 {
        let path = write(&format!("difference-{seed}.pb.gz"), seed, Kind::Difference);
        for case in cases("space") {
            let unknown = case.options.lens.sample_index.as_deref() == Some("space");
            if !unknown {
                compare(std::slice::from_ref(&path), &case);
            }
        }
    }
}

#[test]
fn dropped_frames() {
    let path = write("dropping.pb.gz", 5, Kind::Dropping);
    for case in cases("wall") {
        compare(std::slice::from_ref(&path), &case);
    }
}

#[test]
fn several_profiles_merged() {
    let files = [write("merge-1.pb.gz", 11, Kind::Cpu), write("merge-2.pb.gz", 12, Kind::Cpu)];
    for case in cases("wall") {
        compare(&files, &case);
    }
}

/// All reports of some files, with all options.
fn compare_reports(files: &[PathBuf], functions: &str) {
    for report in ["top", "tree", "peek", "list", "traces", "tags", "raw"] {
        for request in commands::requests(report, functions) {
            commands::compare(Path::new(env!("CARGO_BIN_EXE_profiler")), files, &request);
        }
    }
}

#[test]
fn reports_of_a_go_programs_profiles() {
    for file in real() {
        compare_reports(&[file], "main|sort|mallocgc");
    }
}

/// Profiles that the profiler and Go's pprof made on other days, with a dozen ways to ask for each report.
#[test]
fn reports_of_the_corpus() {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/corpus");
    let files = fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().path());
    let files: Vec<PathBuf> = files.filter(|file| file.extension().is_some_and(|end| end == "gz")).collect();
    assert!(files.len() >= 8, "{files:?}");
    for file in files {
        for report in ["top", "tree", "peek", "list", "traces"] {
            for request in commands::dozen(report, "main|sort|mallocgc|chain_1|leaf") {
                commands::compare(
                    Path::new(env!("CARGO_BIN_EXE_profiler")),
                    std::slice::from_ref(&file),
                    &request,
                );
            }
        }
    }
}

#[test]
fn reports_of_made_profiles() {
    compare_reports(&[write("reports.pb.gz", 21, Kind::Cpu)], "work|helper");
    compare_reports(&[write("reports-dropping.pb.gz", 22, Kind::Dropping)], "work|helper");
    compare_reports(&[write("reports-rare.pb.gz", 26, Kind::Rare)], "work|helper");
}

#[test]
fn reports_of_a_difference() {
    compare_reports(&[write("reports-difference.pb.gz", 23, Kind::Difference)], "work|helper");
}

#[test]
fn reports_of_merged_profiles() {
    compare_reports(
        &[write("reports-1.pb.gz", 24, Kind::Cpu), write("reports-2.pb.gz", 25, Kind::Cpu)],
        "work",
    );
}

#[test]
fn one_profile_less_another() {
    let profiler = Path::new(env!("CARGO_BIN_EXE_profiler"));
    let [_, heap, ..] = real();
    let others = [write("less-1.pb.gz", 51, Kind::Cpu), write("less-2.pb.gz", 52, Kind::Cpu)];
    for (file, base) in [(&others[0], &others[1]), (&others[1], &heap), (&others[1], &others[1])] {
        for how in ["base", "diff_base"] {
            difference::compare_difference(profiler, file, base, how);
        }
    }
}

#[test]
fn instructions() {
    let profiler = Path::new(env!("CARGO_BIN_EXE_profiler"));
    commands::compare_instructions(profiler, &real()[0], "^main\\.|^sort\\.|mallocgc");
}

#[test]
fn the_prompt() {
    let profiler = Path::new(env!("CARGO_BIN_EXE_profiler"));
    for file in real() {
        prompt::compare(profiler, &file, "main|sort", "0");
    }
    prompt::compare(profiler, &write("prompt.pb.gz", 31, Kind::Cpu), "work|helper", "wall");
    prompt::compare(profiler, &write("prompt-difference.pb.gz", 32, Kind::Difference), "work|helper", "0");
}

#[test]
fn call_graphs() {
    let [cpu, heap, ..] = real();
    let made = write("graph.pb.gz", 41, Kind::Cpu);
    let difference = write("graph-difference.pb.gz", 42, Kind::Difference);
    let rare = write("graph-rare.pb.gz", 43, Kind::Rare);
    for file in [cpu, heap, made, difference, rare] {
        commands::compare_graphs(Path::new(env!("CARGO_BIN_EXE_profiler")), &[file]);
    }
}
