//! Profiles for tests.

use proptest::collection::vec;
use proptest::prelude::*;

use super::proto::{Function, Label, Line, Location, Mapping, Profile, Sample, ValueType};

fn strings(strings: &[&str]) -> Vec<String> {
    strings.iter().map(|&string| string.to_owned()).collect()
}

/// Two threads in one binary, one inlined call, one frame of the vDSO without a symbol. Fit for any consumer.
///
/// ```text
/// thread a  main -> work [inlined]   3  30 ms
/// thread a  main -> work             1  10 ms
/// thread b  main -> work [inlined] -> [vdso]   2  20 ms
/// ```
pub(crate) fn two_threads() -> Profile {
    let line = |function_id, line| Line { function_id, line, column: 0 };
    let location =
        |id, mapping_id, address, line| Location { id, mapping_id, address, line, is_folded: false };
    let function = |id, name, system_name, filename, start_line| Function {
        id,
        name,
        system_name,
        filename,
        start_line,
    };
    let sample = |location_id: &[u64], count: i64, thread| Sample {
        location_id: location_id.to_vec(),
        value: vec![count, count * 10_000_000],
        label: vec![Label { key: 14, str: thread, num: 0, num_unit: 0 }],
    };
    Profile {
        sample_type: vec![ValueType { r#type: 1, unit: 2 }, ValueType { r#type: 3, unit: 4 }],
        sample: vec![sample(&[2, 1], 3, 15), sample(&[3, 1], 1, 15), sample(&[4, 2, 1], 2, 16)],
        mapping: vec![
            Mapping {
                id: 1,
                memory_start: 0x1000,
                memory_limit: 0x5000,
                file_offset: 0x1000,
                filename: 5,
                build_id: 6,
                has_functions: true,
                has_filenames: true,
                has_line_numbers: true,
                has_inline_frames: true,
            },
            Mapping { id: 2, memory_start: 0x7000, memory_limit: 0x8000, filename: 7, ..Mapping::default() },
        ],
        location: vec![
            location(1, 1, 0x1100, vec![line(1, 12)]),
            location(2, 1, 0x2200, vec![line(3, 31), line(2, 22)]),
            location(3, 1, 0x2300, vec![line(2, 25)]),
            location(4, 2, 0x7010, vec![]),
        ],
        function: vec![function(1, 8, 8, 9, 10), function(2, 10, 17, 11, 20), function(3, 12, 12, 13, 30)],
        string_table: strings(&[
            "",
            "samples",
            "count",
            "cpu",
            "nanoseconds",
            "/usr/bin/app",
            "abcdef",
            "[vdso]",
            "main",
            "main.c",
            "work",
            "work.c",
            "inlined",
            "inlined.h",
            "thread",
            "a",
            "b",
            "_work",
        ]),
        time_nanos: 1_700_000_000_000_000_000,
        duration_nanos: 1_000_000_000,
        period_type: Some(ValueType { r#type: 3, unit: 4 }),
        period: 10_000_000,
        default_sample_type: 3,
        ..Profile::default()
    }
}

/// Readable profiles of one kind, so that any of them merge: few distinct names and mappings, so that they share rows.
pub(crate) fn profiles() -> impl Strategy<Value = Profile> {
    let names = 4_i64..10;
    let mapping = (0_u64..3, names.clone(), 4_i64..6, 1_u64..3);
    let function = (names.clone(), names.clone(), 0_i64..3);
    let location = (any::<u8>(), 0_u64..0x40, vec((any::<u8>(), 0_i64..4), 0..3), any::<bool>());
    let sample =
        (vec(any::<u8>(), 0..5), -50_i64..100, -50_i64..100, proptest::option::of((names, 4_i64..10)));
    (
        vec(mapping, 0..4),
        vec(function, 1..5),
        vec(location, 1..8),
        vec(sample, 0..12),
        (0_i64..1000, 0_i64..1000, 0_i64..100),
    )
        .prop_map(|(mappings, functions, locations, samples, (time, duration, period))| {
            build(mappings, functions, locations, samples, (time, duration, period))
        })
}

type Places = Vec<(u8, u64, Vec<(u8, i64)>, bool)>;
type Stacks = Vec<(Vec<u8>, i64, i64, Option<(i64, i64)>)>;

fn build(
    mappings: Vec<(u64, i64, i64, u64)>,
    functions: Vec<(i64, i64, i64)>,
    locations: Places,
    samples: Stacks,
    (time_nanos, duration_nanos, period): (i64, i64, i64),
) -> Profile {
    let (all_mappings, all_functions) = (mappings.len() as u64, functions.len() as u64);
    let all_locations = locations.len() as u64;
    let mut mapping = Vec::new();
    for (id, (place, filename, build_id, pages)) in (1_u64..).zip(mappings) {
        let memory_start = (place + 4 * id) << 16;
        mapping.push(Mapping {
            id,
            memory_start,
            memory_limit: memory_start + (pages << 12),
            filename,
            build_id: build_id - 4,
            ..Mapping::default()
        });
    }
    let function = (1_u64..)
        .zip(functions)
        .map(|(id, (name, filename, start_line))| Function {
            id,
            name,
            system_name: name,
            filename,
            start_line,
        })
        .collect();
    let location = (1_u64..)
        .zip(locations)
        .map(|(id, (mapping_id, offset, lines, is_folded))| {
            let mapping_id = u64::from(mapping_id) % (all_mappings + 1);
            let start = mapping
                .iter()
                .find(|mapping: &&Mapping| mapping.id == mapping_id)
                .map_or(0, |mapping| mapping.memory_start);
            let line = lines
                .into_iter()
                .map(|(function, line)| Line {
                    function_id: u64::from(function) % all_functions + 1,
                    line,
                    column: 0,
                })
                .collect();
            Location { id, mapping_id, address: start + offset, line, is_folded }
        })
        .collect();
    let sample = samples
        .into_iter()
        .map(|(stack, count, cpu, label)| Sample {
            location_id: stack.into_iter().map(|place| u64::from(place) % all_locations + 1).collect(),
            value: vec![count, cpu],
            label: label.map(|(key, str)| Label { key, str, num: 0, num_unit: 0 }).into_iter().collect(),
        })
        .collect();
    Profile {
        sample_type: vec![ValueType { r#type: 1, unit: 2 }, ValueType { r#type: 3, unit: 2 }],
        sample,
        mapping,
        location,
        function,
        string_table: strings(&["", "samples", "count", "cpu", "a", "b", "c", "d", "e", "f"]),
        time_nanos,
        duration_nanos,
        period_type: Some(ValueType { r#type: 3, unit: 2 }),
        period,
        ..Profile::default()
    }
}
