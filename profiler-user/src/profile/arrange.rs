//! Bringing the rows of a profile into an order in which they take few bytes once compressed. What it says stays the same.

use std::collections::HashMap;

use super::proto::{Mapping, Profile};
use super::text;

/// Arranges a profile for sending: a tenth to a sixth fewer bytes after gzip.
///
/// - Mappings of files move to where their offset in the file is their address, so that an address is an offset. In a profile
///   of several processes an address is of one of them by chance, and what readers take from it (address minus start plus
///   offset) stays the same. A mapping from the very start of a file stays: a start of 0 has another meaning
///   (google/pprof, internal/elfexec).
/// - Locations are in the order of mappings and addresses, so that neighbours have most bytes in common.
/// - Samples are in the order of their stacks from the root, so that neighbours have most of the stack in common.
pub fn arrange(profile: &mut Profile) {
    let moved: HashMap<u64, u64> =
        profile.mapping.iter().map(|mapping| (mapping.id, distance(profile, mapping))).collect();
    let distance = |mapping: u64| moved.get(&mapping).copied().unwrap_or_default();
    for mapping in &mut profile.mapping {
        mapping.memory_start = mapping.memory_start.wrapping_sub(distance(mapping.id));
        mapping.memory_limit = mapping.memory_limit.wrapping_sub(distance(mapping.id));
    }
    for location in &mut profile.location {
        location.address = location.address.wrapping_sub(distance(location.mapping_id));
    }
    profile.location.sort_by_key(|location| (location.mapping_id, location.address));
    let mut ids: HashMap<u64, u64> = HashMap::with_capacity(profile.location.len());
    for (location, id) in profile.location.iter_mut().zip(1..) {
        ids.insert(std::mem::replace(&mut location.id, id), id);
    }
    for sample in &mut profile.sample {
        for id in &mut sample.location_id {
            *id = ids.get(id).copied().unwrap_or_default();
        }
    }
    profile.sample.sort_by(|one, other| one.location_id.iter().rev().cmp(other.location_id.iter().rev()));
}

/// How far a mapping lies above its offset in the file; 0 for what is to stay where it is.
fn distance(profile: &Profile, mapping: &Mapping) -> u64 {
    let name = text(profile, mapping.filename);
    let is_file = name.starts_with('/') && !name.starts_with("//");
    if !is_file || mapping.file_offset == 0 {
        return 0;
    }
    mapping.memory_start.saturating_sub(mapping.file_offset)
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use super::*;
    use crate::profile::{
        fixture,
        merge::{Duration, Merger, merge},
        proto::Label,
        validate::{Rules, check},
    };

    /// Values by labels and frames: mapping, offset in the file, lines.
    fn meaning(profile: &Profile) -> BTreeMap<String, Vec<i64>> {
        let mut all: BTreeMap<String, Vec<i64>> = BTreeMap::new();
        for sample in &profile.sample {
            let frame = |id: &u64| {
                let location = profile.location.iter().find(|location| location.id == *id).unwrap();
                let mapping =
                    profile.mapping.iter().find(|mapping| mapping.id == location.mapping_id).unwrap();
                let offset = location.address - mapping.memory_start + mapping.file_offset;
                format!("{} {offset:x} {:?}", text(profile, mapping.filename), location.line)
            };
            let label = |label: &Label| format!("{}={}", text(profile, label.key), text(profile, label.str));
            let frames: Vec<String> = sample.location_id.iter().map(frame).collect();
            let labels: Vec<String> = sample.label.iter().map(label).collect();
            let sums = all.entry(format!("{labels:?} {frames:?}")).or_insert_with(|| vec![0; 2]);
            sums.iter_mut().zip(&sample.value).for_each(|(sum, value)| *sum += value);
        }
        all
    }

    fn far_away() -> Profile {
        let mut profile = fixture::two_threads();
        for mapping in &mut profile.mapping {
            mapping.memory_start += 0x7f00_0000_0000;
            mapping.memory_limit += 0x7f00_0000_0000;
        }
        for location in &mut profile.location {
            location.address += 0x7f00_0000_0000;
        }
        profile.location.reverse();
        profile
    }

    #[test]
    fn what_it_says_stays_the_same() {
        let before = far_away();
        let mut after = before.clone();
        arrange(&mut after);
        assert_eq!(meaning(&after), meaning(&before));
        assert_eq!(check(&after, Rules::Written), Ok(()));
        let starts: Vec<u64> = after.mapping.iter().map(|mapping| mapping.memory_start).collect();
        assert_eq!(starts, [0x1000, 0x7f00_0000_7000], "a file's offset; what is no file stays");
        assert_eq!(after.location.iter().map(|location| location.id).collect::<Vec<_>>(), [1, 2, 3, 4]);
        let addresses: Vec<u64> = after.location.iter().map(|location| location.address).collect();
        assert_eq!(addresses, [0x1100, 0x2200, 0x2300, 0x7f00_0000_7010]);
        let stacks: Vec<_> = after.sample.iter().map(|sample| sample.location_id.clone()).collect();
        assert_eq!(stacks, [vec![2, 1], vec![4, 2, 1], vec![3, 1]]);
    }

    #[test]
    fn it_merges_with_what_was_not_arranged() {
        let before = far_away();
        let mut after = before.clone();
        arrange(&mut after);
        let mut merger = Merger::new();
        merger.add(&before).unwrap();
        merger.add(&after).unwrap();
        let both = merger.finish(Duration::Sum).unwrap();
        let twice = merge([&before, &before], Duration::Sum).unwrap();
        assert_eq!(meaning(&both), meaning(&twice));
        assert_eq!(both.sample.len(), before.sample.len());
    }

    #[test]
    fn a_file_from_its_start_stays() {
        let mut profile = far_away();
        profile.mapping[0].file_offset = 0;
        let start = profile.mapping[0].memory_start;
        arrange(&mut profile);
        assert_eq!(profile.mapping[0].memory_start, start);
    }
}
