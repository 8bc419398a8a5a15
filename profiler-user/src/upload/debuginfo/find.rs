//! Objects with unnamed frames, and their files while their processes live.

use std::collections::{BTreeMap, BTreeSet};
use std::fs::{self, File};
use std::io::Read;
use std::path::Path;

use crate::confine::threads;
use crate::profile::proto::Profile;
use crate::profile::text;

/// An object that has frames without names.
#[derive(Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Wanted<'a> {
    pub(super) build_id: &'a str,
    path: &'a str,
    /// An address that it is mapped at.
    start: u64,
}

/// A file to offer.
#[derive(Debug)]
pub(super) struct Candidate {
    pub(super) build_id: String,
    /// For the log.
    pub(super) name: String,
    pub(super) file: File,
}

/// Objects of a profile's locations without lines.
pub(super) fn unnamed(profile: &Profile) -> BTreeSet<Wanted<'_>> {
    let mappings: BTreeMap<u64, Wanted> = profile
        .mapping
        .iter()
        .map(|mapping| {
            let (build_id, path) = (text(profile, mapping.build_id), text(profile, mapping.filename));
            (mapping.id, Wanted { build_id, path, start: mapping.memory_start })
        })
        .filter(|(_, wanted)| !wanted.build_id.is_empty() && wanted.path.starts_with('/'))
        .collect();
    let without_lines = profile.location.iter().filter(|location| location.line.is_empty());
    let found: BTreeSet<u64> = without_lines.map(|location| location.mapping_id).collect();
    mappings.into_iter().filter(|(id, _)| found.contains(id)).map(|(_, wanted)| wanted).collect()
}

impl Candidate {
    /// Opens the very file that a process has mapped, whatever has its name now; `None` where the process is gone.
    pub(super) fn open(pid: u32, wanted: &Wanted) -> Option<Candidate> {
        let mut maps = String::new();
        threads::open(Path::new(&format!("/proc/{pid}/maps"))).ok()?.read_to_string(&mut maps).ok()?;
        let range = maps.lines().find_map(|line| range(line, wanted.start))?;
        let path = format!("/proc/{pid}/map_files/{range}");
        // What is no file of a disk must not make anybody wait.
        let file = threads::open_with(Path::new(&path), libc::O_NONBLOCK).ok()?;
        file.metadata().ok().filter(fs::Metadata::is_file)?;
        Some(Candidate { build_id: wanted.build_id.to_owned(), name: wanted.path.to_owned(), file })
    }
}

/// The range of a line of /proc/PID/maps, if the address is in it.
fn range(line: &str, address: u64) -> Option<&str> {
    let range = line.split(' ').next()?;
    let (start, end) = range.split_once('-')?;
    let number = |text: &str| u64::from_str_radix(text, 16).ok();
    (number(start)?..number(end)?).contains(&address).then_some(range)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::profile::fixture;

    #[test]
    fn a_range_has_the_address() {
        let line = "7f00000a1000-7f00000a4000 r-xp 00001000 08:01 99 /usr/lib/x.so";
        assert_eq!(range(line, 0x7f00_000a_2000), Some("7f00000a1000-7f00000a4000"));
        assert_eq!(range(line, 0x7f00_000a_4000), None);
        assert_eq!(range("nonsense", 1), None);
    }

    #[test]
    fn objects_of_unnamed_frames_alone() {
        let mut profile = fixture::two_threads();
        let named = unnamed(&profile).len();
        let at = i64::try_from(profile.string_table.len()).unwrap();
        profile.string_table.extend(["abcd".to_owned(), "/usr/bin/x".to_owned()]);
        for mapping in &mut profile.mapping {
            (mapping.build_id, mapping.filename) = (at, at + 1);
        }
        for location in &mut profile.location {
            location.line.clear();
        }
        assert_eq!(named, 0);
        let found = unnamed(&profile);
        assert!(found.iter().all(|wanted| (wanted.build_id, wanted.path) == ("abcd", "/usr/bin/x")));
        assert!(!found.is_empty());
    }
}
