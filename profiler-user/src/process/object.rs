//! Objects: executable files by identity, opened once for all processes that map them.

use std::{
    collections::HashMap,
    fs::File,
    io,
    os::unix::fs::MetadataExt,
    path::{Path, PathBuf},
    sync::{Arc, Weak},
};

use object::{
    Endianness,
    elf::{FileHeader64, NT_GNU_BUILD_ID, PF_X, PT_LOAD, PT_NOTE},
    read::{
        ReadCache, ReadRef,
        elf::{FileHeader, ProgramHeader},
    },
};

use super::maps::MapsLine;

/// A loadable, executable part of an ELF file.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Segment {
    /// Offset in the file, bytes.
    pub offset: u64,
    /// Bytes in the file.
    pub size: u64,
    /// Address that the file gives it.
    pub address: u64,
}

/// An executable file.
#[derive(Debug)]
pub struct Object {
    /// Unique in this run of the agent.
    pub id: u64,
    /// Path, as the process that showed the file sees it.
    pub path: String,
    /// GNU build-id, lowercase hexadecimal; empty where the file has none.
    pub build_id: String,
    /// Executable segments; empty where the file is no readable ELF file.
    pub segments: Vec<Segment>,
    /// The open file; `None` where it could not be opened.
    pub file: Option<File>,
    /// Where separate debug information may lie: the folder of the file, as this process sees it.
    pub folder: Option<PathBuf>,
    /// The root folder of the process that showed the file, while that process lives.
    pub root: Option<PathBuf>,
}

impl Object {
    /// The address that the file itself gives to a file offset; `None` for an offset outside executable segments.
    ///
    /// The two differ in files that lld links, where segments are not laid out at their offsets.
    #[must_use]
    pub fn address_of(&self, offset: u64) -> Option<u64> {
        self.segments
            .iter()
            .find(|segment| offset >= segment.offset && offset - segment.offset < segment.size)
            .map(|segment| offset - segment.offset + segment.address)
    }
}

/// Identity of a file's contents as far as the file system tells.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
struct FileKey {
    device: u64,
    inode: u64,
    size: u64,
    modified_ns: (i64, i64),
}

/// All objects that some process has mapped.
#[derive(Debug, Default)]
pub(super) struct Objects {
    by_file: HashMap<FileKey, Weak<Object>>,
    next_id: u64,
}

impl Objects {
    /// The object behind a line of a process's mappings.
    pub(super) fn open(&mut self, pid: u32, line: &MapsLine<'_>) -> Arc<Object> {
        let path = String::from_utf8_lossy(line.clean_path()).into_owned();
        let root = PathBuf::from(format!("/proc/{pid}/root"));
        let folder = Path::new(&path).parent().map(Path::to_path_buf);
        let file = open(pid, line, &root)
            .inspect_err(|error| tracing::debug!("{path}, mapped by process {pid}, cannot be read: {error}"))
            .ok();
        let Some((file, key)) = file else {
            return self.add(Object {
                id: 0,
                path,
                build_id: String::new(),
                segments: Vec::new(),
                file: None,
                folder: None,
                root: None,
            });
        };
        if let Some(object) = self.by_file.get(&key).and_then(Weak::upgrade) {
            return object;
        }
        let (segments, build_id) = read_elf(&file).unwrap_or_else(|| {
            tracing::debug!("{path} is no ELF file that can be read");
            (Vec::new(), String::new())
        });
        let object =
            self.add(Object { id: 0, path, build_id, segments, file: Some(file), folder, root: Some(root) });
        if self.by_file.len() >= 1024 && self.by_file.len().is_power_of_two() {
            self.by_file.retain(|_, object| object.strong_count() > 0);
        }
        self.by_file.insert(key, Arc::downgrade(&object));
        object
    }

    /// Registers an object that is no mapped file.
    pub(super) fn add(&mut self, mut object: Object) -> Arc<Object> {
        self.next_id += 1;
        object.id = self.next_id;
        Arc::new(object)
    }
}

/// Opens what is really mapped: through map_files, which also leads to deleted files and into other mount namespaces;
/// where that is not permitted, by path, if the path still leads to the same inode.
fn open(pid: u32, line: &MapsLine<'_>, root: &Path) -> io::Result<(File, FileKey)> {
    let through_map = format!("/proc/{pid}/map_files/{:x}-{:x}", line.start, line.end);
    let file = File::open(through_map).or_else(|_| {
        let path = String::from_utf8_lossy(line.clean_path()).into_owned();
        let file = File::open(root.join(path.trim_start_matches('/')))?;
        if file.metadata()?.ino() == line.inode {
            Ok(file)
        } else {
            Err(io::Error::new(io::ErrorKind::NotFound, "the path leads to another file by now"))
        }
    })?;
    let metadata = file.metadata()?;
    if !metadata.is_file() {
        return Err(io::Error::new(io::ErrorKind::InvalidInput, "not a regular file"));
    }
    let key = FileKey {
        device: metadata.dev(),
        inode: metadata.ino(),
        size: metadata.size(),
        modified_ns: (metadata.mtime(), metadata.mtime_nsec()),
    };
    Ok((file, key))
}

/// Executable segments and build-id of a 64-bit ELF file.
pub(super) fn read_elf(file: &File) -> Option<(Vec<Segment>, String)> {
    let cache = ReadCache::new(file);
    let data: &ReadCache<&File> = &cache;
    let header = FileHeader64::<Endianness>::parse(data).ok()?;
    let endian = header.endian().ok()?;
    let mut segments = Vec::new();
    let mut build_id = String::new();
    for part in header.program_headers(endian, data).ok()? {
        match part.p_type(endian) {
            PT_LOAD if part.p_flags(endian).contains(PF_X) => segments.push(Segment {
                offset: part.p_offset(endian),
                size: part.p_filesz(endian),
                address: part.p_vaddr(endian),
            }),
            PT_NOTE if build_id.is_empty() => {
                build_id = find_build_id(part, endian, data).unwrap_or_default();
            }
            _ => {}
        }
    }
    Some((segments, build_id))
}

/// The build-id in a note segment (NT_GNU_BUILD_ID of owner "GNU").
fn find_build_id<'data, R: ReadRef<'data>>(
    part: &object::elf::ProgramHeader64<Endianness>,
    endian: Endianness,
    data: R,
) -> Option<String> {
    // Notes are small; a segment that claims to be large is not worth reading.
    if part.p_filesz(endian) > 1 << 16 {
        return None;
    }
    let mut notes = part.notes(endian, data).ok()??;
    while let Ok(Some(note)) = notes.next() {
        if note.name() == b"GNU" && note.n_type(endian) == NT_GNU_BUILD_ID {
            return Some(hex(note.desc()));
        }
    }
    None
}

/// Lowercase hexadecimal.
pub(crate) fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn addresses_follow_the_segments_bias() {
        let object = Object {
            id: 1,
            path: String::new(),
            build_id: String::new(),
            segments: vec![
                Segment { offset: 0x1000, size: 0x100, address: 0x2000 },
                Segment { offset: 0x5000, size: 0x10, address: 0x9000 },
            ],
            file: None,
            folder: None,
            root: None,
        };
        assert_eq!(object.address_of(0x1010), Some(0x2010));
        assert_eq!(object.address_of(0x500f), Some(0x900f));
        assert_eq!(object.address_of(0x5010), None);
        assert_eq!(object.address_of(0), None);
    }

    #[test]
    fn this_test_is_an_elf_file() {
        let file = File::open("/proc/self/exe").unwrap();
        let (segments, _) = read_elf(&file).unwrap();
        assert!(!segments.is_empty());
        assert!(read_elf(&File::open("/proc/self/comm").unwrap()).is_none());
    }
}
