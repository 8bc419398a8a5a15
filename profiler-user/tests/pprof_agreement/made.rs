//! Profiles made of everything that tables can trip over.

use std::collections::HashMap;

use profiler_user::profile::proto::{Function, Label, Line, Location, Mapping, Profile, Sample, ValueType};

/// Numbers that look random and are the same on every run.
struct Numbers(u64);

impl Numbers {
    fn below(&mut self, limit: u64) -> u64 {
        self.0 = self.0.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        (self.0 >> 33) % limit
    }
}

#[derive(Default)]
struct Strings {
    table: Vec<String>,
    known: HashMap<String, i64>,
}

impl Strings {
    fn add(&mut self, string: &str) -> i64 {
        if let Some(&index) = self.known.get(string) {
            return index;
        }
        let index = i64::try_from(self.table.len()).unwrap();
        self.table.push(string.to_owned());
        self.known.insert(string.to_owned(), index);
        index
    }
}

const NAMES: [&str; 12] = [
    "main",
    "work",
    "std::vector<int, std::allocator<int> >::push_back(int const&)",
    "(anonymous namespace)::helper",
    "github.com/some/module/v2/pkg.(*Type).Method",
    "<alloc::vec::Vec<T> as core::ops::Drop>::drop",
    "malloc",
    "a name with spaces",
    "operator()",
    "ünïcödé",
    "_start",
    "",
];

const FILES: [&str; 7] = [
    "main.c",
    "/proc/self/cwd/src/work.c",
    "/usr/include//c++/./vector",
    "../lib/x.rs",
    "",
    "pkg/type.go",
    "main.c",
];

/// What a made profile holds.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) enum Kind {
    /// CPU time; all values positive.
    Cpu,
    /// A comparison: some values negative, no `default_sample_type`, bytes.
    Difference,
    /// CPU time that drops what `malloc` calls.
    Dropping,
    /// Values of so few of the counted events that the mean of all is zero, and that of some stacks is not.
    Rare,
}

/// A profile of 60 locations and 200 samples: inlined calls (some functions only partly inlined), recursion, frames
/// without symbols in and outside of mappings, equal names in different files, columns, labels.
pub(crate) fn profile(seed: u64, kind: Kind) -> Profile {
    let mut numbers = Numbers(seed);
    let mut strings = Strings::default();
    strings.add("");
    let unit = if kind == Kind::Difference { "bytes" } else { "nanoseconds" };
    let value = strings.add(if kind == Kind::Difference { "inuse_space" } else { "cpu" });
    let sample_type = vec![
        ValueType { r#type: strings.add("samples"), unit: strings.add("count") },
        ValueType { r#type: value, unit: strings.add(unit) },
        ValueType { r#type: strings.add("wall"), unit: strings.add("milliseconds") },
    ];
    let mapping = [("/usr/bin/app", "abc123"), ("[vdso]", ""), ("/lib/x86_64/libc.so.6", ""), ("", "")];
    let mapping: Vec<Mapping> = (1_u64..)
        .zip(mapping)
        .map(|(id, (file, build_id))| Mapping {
            id,
            memory_start: id << 20,
            memory_limit: (id << 20) + 0x10_000 * id,
            filename: strings.add(file),
            build_id: strings.add(build_id),
            ..Mapping::default()
        })
        .collect();
    let mut function = Vec::new();
    for id in 1..=30 {
        let name = strings.add(NAMES[numbers.below(12) as usize]);
        let filename = strings.add(FILES[numbers.below(7) as usize]);
        let start_line = numbers.below(3) as i64 * 10;
        function.push(Function { id, name, system_name: name, filename, start_line });
    }
    let mut location = Vec::new();
    for id in 1..=60 {
        let mapping_id = numbers.below(5);
        let lines = numbers.below(4);
        let line = (0..lines).map(|_| Line {
            function_id: numbers.below(30) + 1,
            line: numbers.below(4) as i64,
            column: numbers.below(3) as i64,
        });
        let line = line.collect();
        let address = (mapping_id.max(1) << 20) + numbers.below(0x4000);
        location.push(Location { id, mapping_id, address, line, is_folded: false });
    }
    let (thread, base, yes) = (strings.add("thread"), strings.add("pprof::base"), strings.add("true"));
    let threads = [strings.add("one"), strings.add("two")];
    let mut sample = Vec::new();
    for number in 0..200 {
        let depth = numbers.below(12) + 1;
        let location_id = (0..depth).map(|_| numbers.below(60) + 1).collect();
        let mut count = numbers.below(40) as i64;
        let mut label = vec![Label { key: thread, str: threads[number % 2], ..Label::default() }];
        if kind == Kind::Difference && numbers.below(3) == 0 {
            count = -count;
            label.push(Label { key: base, str: yes, ..Label::default() });
        }
        let mut value = vec![count, count * 7_654_321, numbers.below(1 << 20) as i64];
        if kind == Kind::Rare {
            value = if number % 20 == 0 { vec![1, 50_000, 1] } else { vec![count * 10_000, count, 1] };
        }
        sample.push(Sample { location_id, value, label });
    }
    let (drop_frames, keep_frames) = match kind {
        Kind::Dropping => (strings.add("mal.*|operator"), strings.add("malloc_keep")),
        Kind::Cpu | Kind::Difference | Kind::Rare => (0, 0),
    };
    let default_sample_type = if kind == Kind::Difference { 0 } else { value };
    Profile {
        period_type: Some(sample_type[1]),
        sample_type,
        sample,
        mapping,
        location,
        function,
        string_table: strings.table,
        drop_frames,
        keep_frames,
        time_nanos: 1_795_000_000_000_000_000,
        duration_nanos: 10_000_000_000,
        period: 10_000_000,
        default_sample_type,
        ..Profile::default()
    }
}
