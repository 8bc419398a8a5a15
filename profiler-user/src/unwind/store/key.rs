//! What an entry is found by: the object, and the code that makes rows of it.

use std::{fs::File, io, os::unix::fs::MetadataExt};

use flate2::Crc;

use crate::process::Object;

/// Bytes of the longest build-id that is cached: linkers write 8 (xxhash), 16 (MD5, UUID), 20 (SHA-1) or 32.
pub(super) const MOST_ID_BYTES: usize = 32;
/// Bytes of the shortest one.
const LEAST_ID_BYTES: usize = 8;

/// The sources that decide what rows a file gets.
const SOURCES: [(&str, &[u8]); 20] = [
    ("arch.rs", include_bytes!("../arch.rs")),
    ("bytes.rs", include_bytes!("../bytes.rs")),
    ("cfi.rs", include_bytes!("../cfi.rs")),
    ("cursor.rs", include_bytes!("../cursor.rs")),
    ("elf.rs", include_bytes!("../elf.rs")),
    ("execute.rs", include_bytes!("../execute.rs")),
    ("expression.rs", include_bytes!("../expression.rs")),
    ("frames.rs", include_bytes!("../frames.rs")),
    ("gaps.rs", include_bytes!("../gaps.rs")),
    ("gaps/aarch64.rs", include_bytes!("../gaps/aarch64.rs")),
    ("gaps/x86_64.rs", include_bytes!("../gaps/x86_64.rs")),
    ("go.rs", include_bytes!("../go.rs")),
    ("header.rs", include_bytes!("../header.rs")),
    ("module.rs", include_bytes!("../module.rs")),
    ("pclntab.rs", include_bytes!("../pclntab.rs")),
    ("pointer.rs", include_bytes!("../pointer.rs")),
    ("state.rs", include_bytes!("../state.rs")),
    ("steps.rs", include_bytes!("../steps.rs")),
    ("table.rs", include_bytes!("../table.rs")),
    ("rule.rs", include_bytes!("../../../../profiler-common/src/unwind/rule.rs")),
];

/// A hash of [`SOURCES`]: rows that other sources made are not taken for one's own, and nobody has to remember to raise a
/// number. It is worked out by the compiler, so the binary does not hold the sources.
pub(super) const GENERATION: u64 = {
    let mut hash = FNV_BASIS;
    let mut index = 0;
    while index < SOURCES.len() {
        hash = fnv(hash, SOURCES[index].1);
        index += 1;
    }
    hash
};

const FNV_BASIS: u64 = 0xcbf2_9ce4_8422_2325;

/// FNV-1a (draft-eastlake-fnv), for names only: what is in an entry has a checksum.
const fn fnv(mut hash: u64, bytes: &[u8]) -> u64 {
    let mut index = 0;
    while index < bytes.len() {
        hash = (hash ^ bytes[index] as u64).wrapping_mul(0x100_0000_01b3);
        index += 1;
    }
    hash
}

/// What an entry's rows are of.
///
/// Not the build-id alone: tools that change a file keep it, and anybody can write any build-id into a file. So the
/// file's size counts, too, the layout of its code, and whose it is: what the files of one user or one container claim never
/// reaches the stacks of another's.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(crate) struct Key {
    pub(super) build_id: Vec<u8>,
    /// Bytes.
    pub(super) size: u64,
    /// The file system that the file is on (`st_dev`). Containers have file systems of their own.
    pub(super) device: u64,
    /// User id of the file's owner.
    pub(super) owner: u32,
    /// Checksum of the executable segments.
    pub(super) layout: u32,
}

/// When a file changed last, as no user can set it: seconds and nanoseconds.
pub(crate) type Changed = (i64, i64);

impl Key {
    /// The key of an object and when its file changed; `None` for what is not cached: no file, no build-id, or one of an
    /// unusual length.
    pub(crate) fn of(object: &Object) -> Option<(Self, Changed)> {
        let build_id = unhex(&object.build_id)?;
        if !(LEAST_ID_BYTES..=MOST_ID_BYTES).contains(&build_id.len()) {
            return None;
        }
        let status = |file: &File| -> io::Result<_> {
            let metadata = file.metadata()?;
            let changed = (metadata.ctime(), metadata.ctime_nsec());
            Ok((metadata.size(), metadata.dev(), metadata.uid(), changed))
        };
        let (size, device, owner, changed) = status(object.file.as_ref()?).ok()?;
        let mut layout = Crc::new();
        for segment in &object.segments {
            for number in [segment.offset, segment.size, segment.address] {
                layout.update(&number.to_le_bytes());
            }
        }
        Some((Self { build_id, size, device, owner, layout: layout.sum() }, changed))
    }

    /// The entry's file name: the build-id for people, and a hash of the whole key and of the generation.
    pub(super) fn file_name(&self) -> String {
        let mut hash = fnv(FNV_BASIS, &GENERATION.to_le_bytes());
        hash = fnv(hash, &self.size.to_le_bytes());
        hash = fnv(hash, &self.device.to_le_bytes());
        hash = fnv(hash, &self.owner.to_le_bytes());
        hash = fnv(hash, &self.layout.to_le_bytes());
        format!("{}-{hash:016x}{ENDING}", crate::process::hex(&self.build_id))
    }
}

/// How the names of entries end.
const ENDING: &str = ".rows";

/// Whether a file in the folder is an entry by its name. Nothing else is ever removed.
pub(super) fn is_entry(name: &str) -> bool {
    let hexadecimal = |text: &str| text.bytes().all(|byte| byte.is_ascii_hexdigit());
    name.strip_suffix(ENDING)
        .and_then(|stem| stem.split_once('-'))
        .is_some_and(|(id, hash)| hash.len() == 16 && hexadecimal(hash) && !id.is_empty() && hexadecimal(id))
}

/// Bytes from hexadecimal.
fn unhex(text: &str) -> Option<Vec<u8>> {
    let digits: Option<Vec<u8>> = text.chars().map(|digit| Some(digit.to_digit(16)? as u8)).collect();
    let (pairs, []) = digits.as_ref()?.as_chunks::<2>() else {
        return None;
    };
    Some(pairs.iter().map(|[high, low]| high << 4 | low).collect())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_source_that_makes_rows_counts() {
        // What loads, keeps or walks rows that are there does not.
        const OTHERS: [&str; 8] = [
            "depth.rs",
            "extents.rs",
            "fixture.rs",
            "memory.rs",
            "mod.rs",
            "source.rs",
            "tables.rs",
            "walk.rs",
        ];
        let folder = concat!(env!("CARGO_MANIFEST_DIR"), "/src/unwind");
        for entry in std::fs::read_dir(folder).unwrap() {
            let name = entry.unwrap().file_name().into_string().unwrap();
            let known = SOURCES.iter().any(|source| source.0 == name) || OTHERS.contains(&name.as_str());
            assert!(
                known || !name.ends_with(".rs"),
                "{name} belongs to SOURCES, or to those that make no rows"
            );
        }
    }

    #[test]
    fn an_object_is_known_by_more_than_its_build_id() {
        let file = tempfile::NamedTempFile::new().unwrap();
        let object = |build_id: &str, address| Object {
            id: 1,
            path: String::new(),
            build_id: build_id.to_owned(),
            mark: None,
            segments: vec![crate::process::Segment { offset: 0, size: 1, address }],
            file: Some(file.reopen().unwrap()),
            folder: None,
            root: None,
            refused: false.into(),
        };
        let key = |object: &Object| Key::of(object).unwrap().0;
        let id = "00112233445566778899aabbccddeeff00112233";
        let name = key(&object(id, 0)).file_name();
        assert!(name.starts_with(id) && is_entry(&name), "{name}");
        assert_ne!(name, key(&object(id, 0x1000)).file_name());
        file.as_file().set_len(1).unwrap();
        let larger = key(&object(id, 0));
        assert_ne!(name, larger.file_name());
        assert_ne!(Key { owner: 1000, ..larger.clone() }.file_name(), larger.file_name());
        assert_ne!(Key { device: larger.device + 1, ..larger.clone() }.file_name(), larger.file_name());
        for odd in ["", "0", "0g112233445566", "00112233445566", &"00".repeat(33)] {
            assert!(Key::of(&object(odd, 0)).is_none(), "{odd}");
        }
        let gone = Object { file: None, ..object(id, 0) };
        assert!(Key::of(&gone).is_none());
    }

    #[test]
    fn foreign_files_are_no_entries() {
        for name in
            ["0a-0123456789abcdef.rows.bak", "0a.rows", "-0123456789abcdef.rows", "notes.txt", ".rows"]
        {
            assert!(!is_entry(name), "{name}");
        }
    }
}
