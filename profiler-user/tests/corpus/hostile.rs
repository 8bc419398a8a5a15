//! Damaged profiles: an error or a report, never a panic, and memory within bounds.

use std::io::{Read, Write};

use flate2::Compression;
use flate2::read::MultiGzDecoder;
use flate2::write::GzEncoder;
use profiler_user::profile::codec::{DecodeError, decode};
use profiler_user::profile::proto::{Function, Line, Location, Profile, Sample, ValueType};
use profiler_user::profile::validate::{Rules, check};
use profiler_user::report::disasm::{disasm, routines};
use profiler_user::report::flame::{firefox::firefox, flame, html::html, speedscope::speedscope, svg::svg};
use profiler_user::report::subject::Lens;
use profiler_user::report::text::{self, Paint};
use profiler_user::report::trim::{Purpose, Trim};
use profiler_user::report::{dot, folded, json, labels, list, raw, top, traces, tree};
use prost::Message;
use regex::Regex;

/// Most uncompressed bytes in these tests.
const LIMIT: usize = 4 << 20;

/// Numbers that look random and are the same on every run.
struct Numbers(u64);

impl Numbers {
    fn below(&mut self, limit: usize) -> usize {
        self.0 = self.0.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        usize::try_from(self.0 >> 33).unwrap() % limit.max(1)
    }

    fn byte(&mut self) -> u8 {
        // What numbers, lengths and keys of protobuf trip over.
        const EDGES: [u8; 10] = [0, 1, 2, 0x0a, 0x12, 0x1a, 0x7f, 0x80, 0xfe, 0xff];
        if self.below(2) == 0 { EDGES[self.below(10)] } else { u8::try_from(self.below(256)).unwrap() }
    }
}

fn unpacked(bytes: &[u8]) -> Vec<u8> {
    let mut raw = Vec::new();
    MultiGzDecoder::new(bytes).read_to_end(&mut raw).unwrap();
    raw
}

fn packed(raw: &[u8]) -> Vec<u8> {
    let mut encoder = GzEncoder::new(Vec::new(), Compression::fast());
    encoder.write_all(raw).unwrap();
    encoder.finish().unwrap()
}

/// One to four changes: bytes are set, cut out, doubled or swapped, or the end is cut off.
fn damaged(bytes: &[u8], numbers: &mut Numbers) -> Vec<u8> {
    let mut bytes = bytes.to_vec();
    for _ in 0..=numbers.below(4) {
        if bytes.is_empty() {
            break;
        }
        let at = numbers.below(bytes.len());
        let end = (at + 1 + numbers.below(40)).min(bytes.len());
        match numbers.below(6) {
            0 | 1 => bytes[at] = numbers.byte(),
            2 => {
                bytes.drain(at..end);
            }
            3 => {
                let part = bytes[at..end].to_vec();
                bytes.splice(at..at, part);
            }
            4 => bytes.truncate(at),
            _ => {
                let more: Vec<u8> = (0..=numbers.below(12)).map(|_| numbers.byte()).collect();
                bytes.splice(at..at, more);
            }
        }
    }
    bytes
}

/// All that can be asked of a profile; an error is an answer.
fn ask_everything(profile: &Profile) {
    let lens = Lens::default();
    let regex = Regex::new("a|main").unwrap();
    if let Ok(report) = top::top(profile, &top::Options::default()) {
        let _ = text::top(&report, Paint::Colours);
        let _ = json::top(&report).unwrap();
    }
    for purpose in [Purpose::Text(top::Sort::Cum), Purpose::Drawing] {
        if let Ok(report) =
            tree::tree(profile, &tree::Options { lens: lens.clone(), trim: Trim::GRAPH, purpose })
        {
            let _ = text::tree(&report, Paint::Plain);
            let _ = dot::dot(&report);
        }
    }
    if let Ok(report) = list::list(profile, &lens, &regex) {
        let _ = text::list(&report, Paint::Plain, &mut |_| Err(String::new()));
    }
    if let Ok(report) = disasm(profile, &lens, &regex) {
        let _ = routines(&report, &mut |_| Err(String::new()));
    }
    if let Ok(report) = traces::traces(profile, &lens) {
        let _ = text::traces(&report, Paint::Plain);
    }
    if let Ok(report) = labels::labels(profile, &lens) {
        let _ = text::labels(&report);
    }
    if let Ok((profile, _)) = raw::raw(profile, &lens) {
        let _ = text::raw(&profile);
    }
    if let Ok(report) = folded::folded(profile, &lens) {
        let _ = text::folded(&report);
    }
    if let Ok(report) = flame(profile, &lens) {
        let _ = svg(&report);
        let _ = html(&report).unwrap();
        let _ = speedscope(&report).unwrap();
        let _ = firefox(&report).unwrap();
    }
}

#[test]
fn damaged_profiles() {
    let (mut readable, mut refused) = (0, 0);
    for (name, bytes) in crate::profiles() {
        let raw = unpacked(&bytes);
        let mut numbers = Numbers(bytes.len().try_into().unwrap());
        for round in 0..400 {
            let given = match round % 4 {
                0 => damaged(&bytes, &mut numbers),
                1 => packed(&damaged(&raw, &mut numbers)),
                _ => damaged(&raw, &mut numbers),
            };
            match decode(&given, LIMIT) {
                Ok(profile) if check(&profile, Rules::Readable).is_ok() => {
                    readable += 1;
                    // Drawing all of them would take minutes.
                    if round % 5 == 0 {
                        ask_everything(&profile);
                    }
                }
                Ok(profile) => {
                    refused += 1;
                    assert!(top::top(&profile, &top::Options::default()).is_err(), "{name}, round {round}");
                }
                Err(error) => {
                    refused += 1;
                    let said = error.to_string();
                    let has_place =
                        said.contains("at byte") || said.contains("is empty") || said.contains("more than");
                    assert!(has_place, "{name}, round {round}: {said}");
                }
            }
        }
    }
    // Else nothing was tested.
    assert!(readable > 50 && refused > 500, "{readable} readable, {refused} refused");
}

#[test]
fn every_cut_is_an_error_or_a_shorter_profile() {
    for (name, bytes) in crate::profiles().filter(|(_, bytes)| bytes.len() < 2000) {
        for end in 0..bytes.len() {
            let error = decode(&bytes[..end], LIMIT).expect_err(name).to_string();
            assert!(end == 0 || error.contains("at byte"), "{name} cut at {end}: {error}");
        }
        let raw = unpacked(&bytes);
        for end in 1..raw.len() {
            if let Ok(profile) = decode(&raw[..end], LIMIT) {
                let _ = check(&profile, Rules::Readable);
            }
        }
    }
}

/// Small messages become large tables: two bytes a sample.
#[test]
fn bombs_end_at_a_limit() {
    let bomb = |entry: &[u8]| packed(&entry.repeat(LIMIT / entry.len() / 2));
    for (what, entry) in [
        ("samples", &[0x12, 0][..]),
        ("mappings", &[0x1a, 0]),
        ("locations", &[0x22, 0]),
        ("functions", &[0x2a, 0]),
    ] {
        let error = decode(&bomb(entry), LIMIT).expect_err(what);
        assert!(matches!(error, DecodeError::TooManyEntries { .. }), "{what}: {error}");
        assert!(error.to_string().contains("at byte"), "{error}");
    }
    // The same inside of one sample: labels, then numbers.
    for inner in [&[0x1a, 0][..], &[0x08, 1]] {
        let inner = inner.repeat(LIMIT / 4);
        let mut raw = vec![0x12];
        prost::encoding::encode_varint(inner.len().try_into().unwrap(), &mut raw);
        raw.extend(&inner);
        assert!(matches!(decode(&packed(&raw), LIMIT), Err(DecodeError::TooManyEntries { .. })));
    }
    let zeros = packed(&vec![0; LIMIT + 1]);
    assert!(zeros.len() < 100_000);
    assert!(matches!(decode(&zeros, LIMIT), Err(DecodeError::TooLarge { limit: LIMIT })));
}

/// Nothing recurses over a stack's depth.
#[test]
fn a_stack_of_two_hundred_thousand_frames() {
    let deep = 200_000_u64;
    let profile = Profile {
        sample_type: vec![ValueType { r#type: 1, unit: 2 }],
        sample: vec![Sample { location_id: (1..=deep).collect(), value: vec![3], label: vec![] }],
        location: (1..=deep)
            .map(|id| Location {
                id,
                address: id,
                line: vec![Line { function_id: id, line: 1, column: 0 }],
                ..Location::default()
            })
            .collect(),
        function: (1..=deep)
            .map(|id| Function { id, name: 1 + (id % 2) as i64, ..Function::default() })
            .collect(),
        string_table: ["", "main", "a"].map(str::to_owned).into(),
        ..Profile::default()
    };
    let profile = decode(&profile.encode_to_vec(), 1 << 26).unwrap();
    ask_everything(&profile);
}
