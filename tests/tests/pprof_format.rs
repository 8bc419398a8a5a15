//! What is inside each pprof, on a real recording.

use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;
use std::process::Command;

use profiler_tests::pprof_tool::pprof;
use profiler_tests::programs::must_run;
use profiler_tests::{Pprof, Profiler, Program, Session, Target, cpu::unix_now, elf};

/// A recording of one build of the chain, with the process still running.
struct Recorded {
    session: Session,
    target: Target,
    profile: Pprof,
    /// Unix time before and after, nanoseconds.
    around: (i64, i64),
}

fn record(program: Program) -> Recorded {
    let session = Session::begin();
    let target = Target::start(&program.build(), &["syscall"]);
    let pid = target.pid_label();
    let before = unix_now();
    Profiler::new(session.folder(), ["record", "-p", &pid, "-d", "3s", "-F", "99", "-o", "x.pb.gz"])
        .run()
        .assert_success();
    let around = (before, unix_now());
    let profile = Pprof::read(&session.path("x.pb.gz"));
    profile.check(profile.samples(|_| true) > 0, "there are samples");
    Recorded { session, target, profile, around }
}

#[test]
fn types_period_and_time() {
    let Recorded { profile, around, .. } = record(Program::Pie);
    let proto = &profile.proto;
    let types: Vec<_> =
        proto.sample_type.iter().map(|t| (profile.string(t.r#type), profile.string(t.unit))).collect();
    assert_eq!(types, [("samples", "count"), ("cpu", "nanoseconds")]);
    let period = proto.period_type.map(|t| (profile.string(t.r#type), profile.string(t.unit)));
    assert_eq!(period, Some(("cpu", "nanoseconds")));
    assert!((proto.period - 1_000_000_000 / 99).abs() <= 1, "period {}", proto.period);
    assert_eq!(profile.string(proto.default_sample_type), "cpu");
    let (from, until) = profile.span();
    assert!(around.0 <= from && from < until && until <= around.1, "{from} to {until} within {around:?}");
    for stack in &profile.stacks {
        assert!(stack.samples > 0, "no empty and no negative sample: {stack:?}");
        assert_eq!(stack.cpu_ns, stack.samples * proto.period, "a sample is one period");
    }
}

#[test]
fn tables() {
    let Recorded { profile, .. } = record(Program::Pie);
    let proto = &profile.proto;
    assert_eq!(profile.string(0), "");
    let unique: BTreeSet<&String> = proto.string_table.iter().collect();
    assert_eq!(unique.len(), proto.string_table.len(), "no string twice");
    let ids =
        |ids: Vec<u64>, what: &str| assert!(ids.iter().copied().eq(1..=ids.len() as u64), "{what} {ids:?}");
    ids(proto.mapping.iter().map(|m| m.id).collect(), "mappings");
    ids(proto.location.iter().map(|l| l.id).collect(), "locations");
    ids(proto.function.iter().map(|f| f.id).collect(), "functions");
    for line in proto.location.iter().flat_map(|l| &l.line) {
        assert!(line.line >= 0 && line.column >= 0, "no negative line");
    }
    for location in &proto.location {
        let mapping = proto.mapping.iter().find(|m| m.id == location.mapping_id);
        let inside = mapping.is_some_and(|m| (m.memory_start..m.memory_limit).contains(&location.address));
        assert!(inside, "address {:#x} lies in its mapping {mapping:?}", location.address);
    }
}

#[test]
fn labels() {
    let Recorded { profile, target, .. } = record(Program::Pie);
    let known = ["process", "pid", "thread", "service", "container", "host"];
    for label in profile.proto.sample.iter().flat_map(|s| &s.label) {
        assert!(label.num == 0 && label.num_unit == 0 && label.str != 0, "string labels only: {label:?}");
        assert!(known.contains(&profile.string(label.key)), "label {}", profile.string(label.key));
    }
    assert_eq!(profile.values("process"), ["chain-pie"].into());
    assert_eq!(profile.values("pid"), [&*target.pid_label()].into());
    assert_eq!(profile.values("thread"), ["chain-pie"].into());
}

/// Executable mappings of a process: start, limit, file offset, by path.
fn executable_maps(pid: u32) -> BTreeMap<String, (u64, u64, u64)> {
    let maps = std::fs::read_to_string(format!("/proc/{pid}/maps")).unwrap_or_default();
    let hex = |text: &str| u64::from_str_radix(text, 16).unwrap_or_default();
    let mut found = BTreeMap::new();
    for line in maps.lines() {
        let words: Vec<&str> = line.split_whitespace().collect();
        if let [range, permissions, offset, _, _, path] = words[..]
            && permissions.contains('x')
            && let Some((start, limit)) = range.split_once('-')
        {
            found.insert(path.to_owned(), (hex(start), hex(limit), hex(offset)));
        }
    }
    found
}

fn check_mappings(program: Program) {
    let Recorded { profile, target, .. } = record(program);
    let built = program.build();
    let maps = executable_maps(target.pid());
    let main = &profile.proto.mapping[0];
    assert_eq!(Path::new(profile.string(main.filename)), built, "the first mapping is the main binary");
    for mapping in &profile.proto.mapping {
        let path = profile.string(mapping.filename);
        if !path.starts_with('/') {
            assert!(path.starts_with('['), "what has no file has a name in brackets: {path}");
            continue;
        }
        let found = (mapping.memory_start, mapping.memory_limit, mapping.file_offset);
        assert_eq!(Some(&found), maps.get(path), "the whole executable range of {path}");
        let notes = must_run(Command::new("readelf").args(["-n", path]));
        let id = notes.lines().find_map(|line| line.trim().strip_prefix("Build ID: ")).unwrap_or("");
        assert_eq!(profile.string(mapping.build_id), id, "build-id of {path}");
    }
}

#[test]
fn mappings_of_a_pie() {
    check_mappings(Program::Pie);
}

#[test]
fn mappings_of_a_program_with_addresses_other_than_offsets() {
    check_mappings(Program::Lld);
}

/// Checks each mapping's flags against its locations; gives those of the main binary.
fn check_flags(program: Program) -> [bool; 4] {
    let Recorded { profile, .. } = record(program);
    let proto = &profile.proto;
    let functions: BTreeMap<_, _> = proto.function.iter().map(|f| (f.id, f)).collect();
    for mapping in &proto.mapping {
        let name = profile.string(mapping.filename);
        for location in proto.location.iter().filter(|l| l.mapping_id == mapping.id) {
            let of = |line: &profiler_user::profile::proto::Line| functions[&line.function_id];
            let named = !location.line.is_empty() && location.line.iter().all(|line| of(line).name != 0);
            let filed = named && location.line.iter().all(|line| of(line).filename != 0);
            let lined = named && location.line.iter().all(|line| line.line != 0);
            assert!(named || !mapping.has_functions, "{name}: {location:?} has no function");
            assert!(filed || !mapping.has_filenames, "{name}: {location:?} has no file");
            assert!(lined || !mapping.has_line_numbers, "{name}: {location:?} has no line");
        }
        assert!(
            mapping.has_line_numbers || !mapping.has_inline_frames,
            "{name}: inlined functions need lines"
        );
    }
    let main = &proto.mapping[0];
    [main.has_functions, main.has_filenames, main.has_line_numbers, main.has_inline_frames]
}

#[test]
fn flags_without_debug_information() {
    let [functions, files, lines, inlined] = check_flags(Program::Pie);
    assert!(functions, "all functions of the program are known");
    assert!(!files && !lines && !inlined, "there is no debug information");
}

#[test]
fn flags_with_debug_information() {
    // `_start`, the one function without lines, may be among the locations: then only the functions are complete.
    let [functions, files, lines, _] = check_flags(Program::Debug);
    assert!(functions, "all functions of the program are known");
    assert_eq!(files, lines, "debug information gives both");
}

/// Asserts that every caller's address in the main binary lies inside a call, by objdump: in, and not behind.
fn check_callers(program: Program) {
    let Recorded { profile, .. } = record(program);
    let built = program.build();
    let listing = must_run(Command::new("objdump").args(["-d", "--no-show-raw-insn"]).arg(&built));
    // Start of each instruction, and whether it is a call.
    let mut code: BTreeMap<u64, bool> = BTreeMap::new();
    for line in listing.lines() {
        if let Some((address, instruction)) = line.split_once(":\t")
            && let Ok(address) = u64::from_str_radix(address.trim(), 16)
        {
            code.insert(address, instruction.contains("call"));
        }
    }
    let main = &profile.proto.mapping[0];
    let segments = elf::code_segments(&built);
    let mut callers = 0;
    for sample in &profile.proto.sample {
        let resolve = |id: &u64| profile.proto.location.iter().find(|l| l.id == *id);
        let locations: Vec<_> = sample.location_id.iter().filter_map(resolve).collect();
        let kernel = locations.iter().take_while(|l| l.address >> 63 == 1).count();
        // Behind kernel frames, the first user address is where the program entered the kernel and no caller.
        for location in locations.iter().skip(kernel + 1).filter(|l| l.mapping_id == main.id) {
            let offset = location.address - main.memory_start + main.file_offset;
            let segment = segments.iter().find(|s| (s.offset..s.offset + s.size).contains(&offset));
            assert!(segment.is_some(), "offset {offset:#x} is not code of the program");
            let vaddr = segment.map_or(0, |segment| segment.vaddr_of(offset));
            let instruction = code.range(..=vaddr).next_back();
            assert!(
                instruction.is_some_and(|(_, &call)| call),
                "{vaddr:#x} is not in a call: {instruction:x?}"
            );
            callers += 1;
        }
    }
    assert!(callers > 0, "there are callers");
}

#[test]
fn callers_lie_inside_calls() {
    check_callers(Program::Pie);
}

#[test]
fn callers_lie_inside_calls_where_addresses_differ_from_offsets() {
    check_callers(Program::Lld);
}

#[test]
fn callers_lie_inside_calls_at_a_fixed_address() {
    check_callers(Program::NoPie);
}

#[test]
fn comments() {
    let Recorded { profile, .. } = record(Program::Pie);
    let all = profile.comments().join("\n");
    let kernel = std::fs::read_to_string("/proc/sys/kernel/osrelease").unwrap_or_default();
    let host = std::fs::read_to_string("/proc/sys/kernel/hostname").unwrap_or_default();
    for part in [env!("CARGO_PKG_VERSION"), kernel.trim(), host.trim(), "99", "complete", "truncated", "lost"]
    {
        assert!(all.contains(part), "{part:?} in the comments:\n{all}");
    }
}

#[test]
fn the_reference_reader_takes_it_without_a_warning() {
    let Recorded { profile, session, .. } = record(Program::Pie);
    let file = session.path("x.pb.gz");
    let raw = pprof(&file, &["-raw"]);
    assert!(raw.contains("PeriodType: cpu nanoseconds") && raw.contains("cpu/nanoseconds[dflt]"), "{raw}");
    assert!(raw.contains("samples/count"), "{raw}");
    assert!(pprof(&file, &["-top"]).contains("leaf_heavy"));
    let peek = pprof(&file, &["-peek", "^chain_12$"]);
    assert!(
        peek.contains("chain_11") && peek.contains("leaf_heavy") && peek.contains("leaf_light"),
        "{peek}"
    );
    let tagged = pprof(&file, &["-tags"]);
    assert!(tagged.contains("pid") && tagged.contains("thread"), "{tagged}\n{}", profile.path.display());
}
