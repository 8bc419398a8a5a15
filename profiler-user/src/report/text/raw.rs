//! `profiler raw`: a profile's tables as they are, in the form that google/pprof prints them in (profile/profile.go,
//! `String`).

use std::collections::BTreeMap;

use time::OffsetDateTime;
use time::macros::format_description;

use super::{push_line, safe};
use crate::profile::ids::Rows;
use crate::profile::proto::{Function, Label, Location, Mapping, Profile, Sample};
use crate::profile::text;
use crate::report::tags::{is_number, is_string};

/// The tables, with a line feed at their end: samples by the ids of their locations, locations by those of their
/// mappings.
#[must_use]
pub fn raw(profile: &Profile) -> String {
    let mut lines: Vec<String> =
        profile.comment.iter().map(|&comment| format!("Comment: {}", text(profile, comment))).collect();
    if profile.doc_url != 0 {
        lines.push(format!("Doc: {}", text(profile, profile.doc_url)));
    }
    if let Some(kind) = profile.period_type {
        lines.push(format!("PeriodType: {} {}", text(profile, kind.r#type), text(profile, kind.unit)));
    }
    lines.push(format!("Period: {}", profile.period));
    if let Some(time) = Some(profile.time_nanos).filter(|&nanos| nanos != 0).and_then(time) {
        lines.push(format!("Time: {time}"));
    }
    if profile.duration_nanos != 0 {
        let duration: String = duration(profile.duration_nanos).chars().take(4).collect();
        lines.push(format!("Duration: {duration}"));
    }
    lines.push("Samples:".to_owned());
    let default = text(profile, profile.default_sample_type);
    let kinds = profile.sample_type.iter().map(|kind| {
        let name = text(profile, kind.r#type);
        let mark = if name == default { "[dflt]" } else { "" };
        format!("{name}/{}{mark}", text(profile, kind.unit))
    });
    lines.push(kinds.collect::<Vec<_>>().join(" "));
    for one in &profile.sample {
        sample(profile, one, &mut lines);
    }
    lines.push("Locations".to_owned());
    let functions = Rows::functions(profile).ok();
    for one in &profile.location {
        location(profile, one, functions.as_ref(), &mut lines);
    }
    lines.push("Mappings".to_owned());
    lines.extend(profile.mapping.iter().map(|one| mapping(profile, one)));
    let mut out = String::new();
    for line in lines {
        push_line(&mut out, &safe(&line));
    }
    out
}

fn sample(profile: &Profile, sample: &Sample, lines: &mut Vec<String>) {
    let values: String = sample.value.iter().map(|value| format!(" {value:>10}")).collect();
    let ids: String = sample.location_id.iter().map(|id| format!("{id} ")).collect();
    lines.push(format!("{values}: {ids}"));
    let mut strings: BTreeMap<&str, Vec<String>> = BTreeMap::new();
    let mut numbers: BTreeMap<&str, Vec<&Label>> = BTreeMap::new();
    for label in &sample.label {
        let key = text(profile, label.key);
        if is_string(label) {
            strings.entry(key).or_default().push(text(profile, label.str).to_owned());
        } else if is_number(label) {
            numbers.entry(key).or_default().push(label);
        }
    }
    let numbers = numbers.into_iter().map(|(key, labels)| {
        let with_units = labels.iter().any(|label| label.num_unit != 0);
        let value = |label: &&Label| match with_units {
            true => format!("{} {}", label.num, text(profile, label.num_unit)),
            false => label.num.to_string(),
        };
        (key, labels.iter().map(value).collect())
    });
    for list in [strings.into_iter().collect(), numbers.collect::<Vec<(&str, Vec<String>)>>()] {
        if !list.is_empty() {
            let mut list: Vec<String> =
                list.iter().map(|(key, values)| format!("{key}:[{}]", values.join(" "))).collect();
            list.sort();
            lines.push(format!("                {}", list.join(" ")));
        }
    }
}

fn location(profile: &Profile, location: &Location, functions: Option<&Rows>, lines: &mut Vec<String>) {
    let mut head = format!("{:>6}: {:#x} ", location.id, location.address);
    if location.mapping_id != 0 {
        head.push_str(&format!("M={} ", location.mapping_id));
    }
    if location.is_folded {
        head.push_str("[F] ");
    }
    if location.line.is_empty() {
        lines.push(head.clone());
    }
    for line in &location.line {
        let row = functions.and_then(|rows| rows.get(line.function_id));
        let function = row.and_then(|row| profile.function.get(row));
        let of = |function: &Function| {
            let (name, system_name) = (text(profile, function.name), text(profile, function.system_name));
            let other = if name == system_name { String::new() } else { format!("({system_name})") };
            let file = text(profile, function.filename);
            format!("{name} {file}:{}:{} s={}{other}", line.line, line.column, function.start_line)
        };
        lines.push(format!("{head}{}", function.map_or_else(|| "??".to_owned(), of)));
        head = " ".repeat(13);
    }
}

fn mapping(profile: &Profile, mapping: &Mapping) -> String {
    let flags = [
        (mapping.has_functions, "[FN]"),
        (mapping.has_filenames, "[FL]"),
        (mapping.has_line_numbers, "[LN]"),
        (mapping.has_inline_frames, "[IN]"),
    ];
    let flags: String = flags.into_iter().filter(|(set, _)| *set).map(|(_, flag)| flag).collect();
    format!(
        "{}: {:#x}/{:#x}/{:#x} {} {} {flags}",
        mapping.id,
        mapping.memory_start,
        mapping.memory_limit,
        mapping.file_offset,
        text(profile, mapping.filename),
        text(profile, mapping.build_id)
    )
}

/// `2026-11-24 02:03:00.5 +0000 UTC`.
fn time(nanos: i64) -> Option<String> {
    let format = format_description!("[year]-[month]-[day] [hour]:[minute]:[second]");
    let whole = OffsetDateTime::from_unix_timestamp_nanos(i128::from(nanos)).ok()?.format(&format).ok()?;
    let fraction = match nanos.rem_euclid(1_000_000_000) {
        0 => String::new(),
        rest => format!(".{rest:09}").trim_end_matches('0').to_owned(),
    };
    Some(format!("{whole}{fraction} +0000 UTC"))
}

/// A length of time as Go writes it: `1h0m2.5s`, `1.5ms`, `0s`.
fn duration(nanos: i64) -> String {
    let sign = if nanos < 0 { "-" } else { "" };
    let nanos = nanos.unsigned_abs();
    let decimal = |nanos: u64, unit: u64, digits: usize| {
        let (whole, rest) = (nanos / unit, nanos % unit);
        format!("{whole}.{rest:0digits$}").trim_end_matches('0').trim_end_matches('.').to_owned()
    };
    let text = match nanos {
        0 => "0s".to_owned(),
        1..1_000 => format!("{nanos}ns"),
        1_000..1_000_000 => format!("{}µs", decimal(nanos, 1_000, 3)),
        1_000_000..1_000_000_000 => format!("{}ms", decimal(nanos, 1_000_000, 6)),
        _ => {
            let (minutes, rest) = (nanos / 60_000_000_000, nanos % 60_000_000_000);
            let seconds = format!("{}s", decimal(rest, 1_000_000_000, 9));
            match (minutes / 60, minutes % 60) {
                (0, 0) => seconds,
                (0, minutes) => format!("{minutes}m{seconds}"),
                (hours, minutes) => format!("{hours}h{minutes}m{seconds}"),
            }
        }
    };
    format!("{sign}{text}")
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::profile::fixture;

    #[test]
    fn reads_like_pprof() {
        let mut profile = fixture::two_threads();
        profile.sample.truncate(1);
        profile.location.truncate(2);
        let next = i64::try_from(profile.string_table.len()).unwrap();
        profile.string_table.extend(["size".to_owned(), "bytes".to_owned()]);
        let label = Label { key: next, num: 7, num_unit: next + 1, ..Label::default() };
        profile.sample[0].label.push(label);
        assert_eq!(
            raw(&profile),
            "\
PeriodType: cpu nanoseconds
Period: 10000000
Time: 2023-11-14 22:13:20 +0000 UTC
Duration: 1s
Samples:
samples/count cpu/nanoseconds[dflt]
          3   30000000: 2 1\u{20}
                thread:[a]
                size:[7 bytes]
Locations
     1: 0x1100 M=1 main main.c:12:0 s=10
     2: 0x2200 M=1 inlined inlined.h:31:0 s=30
             work work.c:22:0 s=20(_work)
Mappings
1: 0x1000/0x5000/0x1000 /usr/bin/app abcdef [FN][FL][LN][IN]
2: 0x7000/0x8000/0x0 [vdso] \u{20}
"
        );
    }

    #[test]
    fn times_as_go_writes_them() {
        let cases = [
            (0, "0s"),
            (15, "15ns"),
            (1_500, "1.5µs"),
            (30_000_000, "30ms"),
            (1_234_500_000, "1.2345s"),
            (60_000_000_000, "1m0s"),
            (3_602_500_000_000, "1h0m2.5s"),
            (-1_000_000_000, "-1s"),
        ];
        for (nanos, wanted) in cases {
            assert_eq!(duration(nanos), wanted);
        }
        assert_eq!(time(1_500_000_000).unwrap(), "1970-01-01 00:00:01.5 +0000 UTC");
    }
}
