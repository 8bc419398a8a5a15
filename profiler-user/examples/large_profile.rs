//! Writes a large profile that is the same on every machine, for figures of the reading commands:
//! `cargo run --release -p profiler-user --example large_profile -- large.pb.gz 200` (MB, uncompressed).
//!
//! Its shape is that of a merged profile of a fleet: 40,000 functions, each of which calls a few others, 120,000 addresses,
//! stacks of 8 to 60 frames, labels for process, pid and thread.

use std::error::Error;
use std::path::Path;

use profiler_user::export::file;
use profiler_user::profile::codec::encode;
use profiler_user::profile::proto::{Function, Label, Line, Location, Mapping, Profile, Sample, ValueType};

const FUNCTIONS: u64 = 40_000;
const LOCATIONS: u64 = 3 * FUNCTIONS;

/// Numbers that look random and are the same on every run.
struct Numbers(u64);

impl Numbers {
    fn below(&mut self, limit: u64) -> u64 {
        self.0 = self.0.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        (self.0 >> 33) % limit
    }
}

fn main() -> Result<(), Box<dyn Error>> {
    let mut arguments = std::env::args().skip(1);
    let (Some(path), Some(megabytes)) = (arguments.next(), arguments.next()) else {
        return Err("usage: large_profile PATH MEGABYTES".into());
    };
    let profile = profile(megabytes.parse::<usize>()? * 1_000_000)?;
    file::write(Path::new(&path), &encode(&profile)?)?;
    println!(
        "{} samples, {} bytes uncompressed",
        profile.sample.len(),
        prost::Message::encoded_len(&profile)
    );
    Ok(())
}

fn profile(bytes: usize) -> Result<Profile, Box<dyn Error>> {
    let mut numbers = Numbers(7);
    let mut string_table: Vec<String> =
        ["", "samples", "count", "cpu", "nanoseconds", "process", "pid", "thread"].map(str::to_owned).into();
    let mut string = |text: String| {
        string_table.push(text);
        i64::try_from(string_table.len() - 1)
    };
    let mapping: Vec<Mapping> = (1..=40)
        .map(|id| {
            Ok::<_, std::num::TryFromIntError>(Mapping {
                id,
                memory_start: id << 32,
                memory_limit: (id << 32) + (1 << 24),
                filename: string(format!("/usr/lib/app/module-{id}.so"))?,
                has_functions: true,
                ..Mapping::default()
            })
        })
        .collect::<Result<_, _>>()?;
    let mut function = Vec::new();
    for id in 1..=FUNCTIONS {
        let name =
            string(format!("app::module_{}::Type<{}>::function_{id}(int, char const*)", id % 40, id % 7))?;
        let filename = string(format!("/build/app/module_{}/source_{}.cpp", id % 40, id % 400))?;
        function.push(Function { id, name, system_name: name, filename, start_line: 10 });
    }
    let location: Vec<Location> = (1..=LOCATIONS)
        .map(|id| {
            let function_id = id.div_ceil(3);
            let line = vec![Line { function_id, line: 12 + i64::from(id % 3 == 0), column: 0 }];
            let mapping_id = function_id % 40 + 1;
            Location { id, mapping_id, address: (mapping_id << 32) + id * 16, line, is_folded: false }
        })
        .collect();
    let mut values = Vec::new();
    for number in 0..300 {
        values.push(string(format!("value-{number}"))?);
    }
    let mut sample: Vec<Sample> = Vec::new();
    let mut size = 0;
    while size < bytes {
        let depth = 8 + numbers.below(26) + numbers.below(26);
        // From the root down: each function calls one of eight others, the first ones more often.
        let mut at = 1 + numbers.below(20);
        let mut stack = Vec::new();
        for _ in 0..depth {
            stack.push(at * 3 - numbers.below(3));
            let callee = numbers.below(8).min(numbers.below(8));
            at = (at * 8 + callee * 5) % FUNCTIONS + 1;
        }
        stack.reverse();
        let count = 1 + i64::try_from(numbers.below(3))?;
        let of = |key: i64, numbers: &mut Numbers| {
            let place = usize::try_from(numbers.below(300)).unwrap_or_default();
            Label { key, str: values.get(place).copied().unwrap_or_default(), ..Label::default() }
        };
        let label = vec![of(5, &mut numbers), of(6, &mut numbers), of(7, &mut numbers)];
        let next = Sample { location_id: stack, value: vec![count, count * 10_101_010], label };
        size += prost::Message::encoded_len(&next) + 4;
        sample.push(next);
    }
    let kind = |r#type, unit| ValueType { r#type, unit };
    Ok(Profile {
        sample_type: vec![kind(1, 2), kind(3, 4)],
        sample,
        mapping,
        location,
        function,
        period_type: Some(kind(3, 4)),
        period: 10_101_010,
        time_nanos: 1_795_000_000_000_000_000,
        duration_nanos: 60_000_000_000,
        string_table,
        ..Profile::default()
    })
}
