//! Objects: executable files by identity, opened once for all processes that map them.

use std::{
    cell::Cell,
    collections::HashMap,
    fs::File,
    io::{self, Read, Seek, SeekFrom},
    os::unix::fs::MetadataExt,
    path::{Path, PathBuf},
    sync::{Arc, Weak, atomic::AtomicBool},
};

use object::{
    Endianness,
    elf::{FileHeader64, NT_GNU_BUILD_ID, PF_X, PT_LOAD, PT_NOTE},
    read::{
        ReadCache, ReadRef,
        elf::{FileHeader, ProgramHeader},
    },
};

use super::{
    maps::MapsLine,
    opening::{Owner, by_mapping, by_path_when_gone, may_pass},
};

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

/// The first bytes of a file's build-id, where they are loaded.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Mark {
    /// The address that the file itself gives them.
    pub address: u64,
    /// The bytes.
    pub word: u64,
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
    /// What shows in a process's memory that this file, and no other, is mapped; `None` where it has no build-id.
    pub mark: Option<Mark>,
    /// Executable segments; empty where the file is no readable ELF file.
    pub segments: Vec<Segment>,
    /// The open file; `None` where it could not be opened.
    pub file: Option<File>,
    /// Where separate debug information may lie: the folder of the file, as this process sees it.
    pub folder: Option<PathBuf>,
    /// The root folder of the process that showed the file, while that process lives.
    pub root: Option<PathBuf>,
    /// Whether it, or how its code is unwound, is not known for a reason that may pass: no descriptor was left, no memory, or the disk did not
    /// answer.
    pub refused: AtomicBool,
}

impl Object {
    /// An object of an open file, as if a process had mapped it that is gone. Its separate debug file is looked for by its
    /// build-id only.
    #[must_use]
    pub fn of_file(id: u64, file: File) -> Self {
        let Elf { segments, build_id, mark } = read_elf(&file).ok().flatten().unwrap_or_default();
        let path = String::new();
        Self {
            id,
            path,
            build_id,
            mark,
            segments,
            file: Some(file),
            folder: None,
            root: None,
            refused: AtomicBool::default(),
        }
    }

    /// The address that the file itself gives to a file offset; `None` for an offset outside executable segments, and where
    /// the file's own headers give an address that does not exist.
    ///
    /// The two differ in files that lld links, where segments are not laid out at their offsets.
    #[must_use]
    pub fn address_of(&self, offset: u64) -> Option<u64> {
        self.segments
            .iter()
            .find(|segment| offset >= segment.offset && offset - segment.offset < segment.size)
            .and_then(|segment| (offset - segment.offset).checked_add(segment.address))
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

/// A file as mappings tell of it: device and inode. The device is that of the file system, which on btrfs and overlayfs
/// is not the one that stat(2) tells. The inode is not given to another file while the object holds it open.
type MappedKey = ((u32, u32), u64);

/// All objects that some process has mapped.
#[derive(Debug, Default)]
pub(super) struct Objects {
    by_file: HashMap<FileKey, Weak<Object>>,
    by_mapping: HashMap<MappedKey, Weak<Object>>,
    next_id: u64,
}

impl Objects {
    /// The object behind a line of a process's mappings.
    pub(super) fn open(&mut self, owner: Owner, line: &MapsLine<'_>) -> Arc<Object> {
        let path = String::from_utf8_lossy(line.clean_path()).into_owned();
        let key: MappedKey = (line.device, line.inode);
        let known = self.by_mapping.get(&key).and_then(Weak::upgrade);
        let opened = match (owner, known) {
            (Owner::Gone { .. }, Some(object)) => return object,
            (Owner::Gone { parent }, None) => by_path_when_gone(parent, line),
            // A living process shows what it really has, even where a file was written to since another one mapped it.
            (Owner::Alive(pid), known) => match (by_mapping(pid, line), known) {
                (Ok(opened), _) => Ok(opened),
                (Err(_), Some(object)) => return object,
                (Err(error), None) if may_pass(&error) => Err(error),
                (Err(_), None) => by_path_when_gone(0, line),
            },
        };
        let by_file = &self.by_file;
        let opened = opened.and_then(|(root, file)| {
            let key = file_key(&file)?;
            let known = by_file.get(&key).and_then(Weak::upgrade);
            // A disk that does not answer makes no file something other than an ELF file.
            let elf = if known.is_some() { None } else { read_elf(&file)? };
            Ok((root, key, file, known, elf))
        });
        let opened = opened
            .inspect_err(|error| tracing::debug!("{path}, mapped by {owner:?}, cannot be read: {error}"));
        let refused = opened.as_ref().err().is_some_and(may_pass);
        let Ok((root, file_key, file, known, elf)) = opened else {
            return self.add(Object {
                refused: refused.into(),
                id: 0,
                path,
                build_id: String::new(),
                mark: None,
                segments: Vec::new(),
                file: None,
                folder: None,
                root: None,
            });
        };
        if let Some(object) = known {
            self.by_mapping.insert(key, Arc::downgrade(&object));
            return object;
        }
        let Elf { segments, build_id, mark } = elf.unwrap_or_else(|| {
            tracing::debug!("{path} is no ELF file that can be read");
            Elf::default()
        });
        let folder = Path::new(&path).parent().map(Path::to_path_buf);
        let object = self.add(Object {
            id: 0,
            path,
            build_id,
            mark,
            segments,
            file: Some(file),
            folder,
            root: Some(root),
            refused: AtomicBool::default(),
        });
        if self.by_file.len() >= 1024 && self.by_file.len().is_power_of_two() {
            self.by_file.retain(|_, object| object.strong_count() > 0);
        }
        self.by_file.insert(file_key, Arc::downgrade(&object));
        if self.by_mapping.len() >= 1024 && self.by_mapping.len().is_power_of_two() {
            self.by_mapping.retain(|_, object| object.strong_count() > 0);
        }
        self.by_mapping.insert(key, Arc::downgrade(&object));
        object
    }

    /// Registers an object that is no mapped file.
    pub(super) fn add(&mut self, mut object: Object) -> Arc<Object> {
        self.next_id += 1;
        object.id = self.next_id;
        Arc::new(object)
    }
}

fn file_key(file: &File) -> io::Result<FileKey> {
    let metadata = file.metadata()?;
    if !metadata.is_file() {
        return Err(io::Error::new(io::ErrorKind::InvalidInput, "not a regular file"));
    }
    Ok(FileKey {
        device: metadata.dev(),
        inode: metadata.ino(),
        size: metadata.size(),
        modified_ns: (metadata.mtime(), metadata.mtime_nsec()),
    })
}

/// What of an ELF file an object needs.
#[derive(Debug, Default)]
pub(super) struct Elf {
    pub(super) segments: Vec<Segment>,
    pub(super) build_id: String,
    pub(super) mark: Option<Mark>,
}

/// Reads a file and remembers why it could not be read, for what parses it only knows that.
struct Noting<'a> {
    file: &'a File,
    failed: &'a Cell<Option<io::Error>>,
}

impl Noting<'_> {
    fn note<T>(&self, result: io::Result<T>) -> io::Result<T> {
        result.map_err(|error| {
            let kind = error.kind();
            // Who reads asks again then.
            if kind != io::ErrorKind::Interrupted {
                self.failed.set(Some(error));
            }
            kind.into()
        })
    }
}

impl Read for Noting<'_> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let result = self.file.read(buffer);
        self.note(result)
    }
}

impl Seek for Noting<'_> {
    fn seek(&mut self, position: SeekFrom) -> io::Result<u64> {
        let result = self.file.seek(position);
        self.note(result)
    }
}

/// Executable segments and build-id of a 64-bit ELF file; `None` for another file.
///
/// # Errors
/// When it cannot be read.
pub(super) fn read_elf(file: &File) -> io::Result<Option<Elf>> {
    let failed = Cell::new(None);
    let elf = parse_elf(Noting { file, failed: &failed });
    failed.take().map_or(Ok(elf), Err)
}

fn parse_elf(file: Noting<'_>) -> Option<Elf> {
    let cache = ReadCache::new(file);
    let data = &cache;
    let header = FileHeader64::<Endianness>::parse(data).ok()?;
    let endian = header.endian().ok()?;
    let mut elf = Elf::default();
    for part in header.program_headers(endian, data).ok()? {
        match part.p_type(endian) {
            PT_LOAD if part.p_flags(endian).contains(PF_X) => elf.segments.push(Segment {
                offset: part.p_offset(endian),
                size: part.p_filesz(endian),
                address: part.p_vaddr(endian),
            }),
            PT_NOTE if elf.build_id.is_empty() => {
                if let Some((at, id)) = find_build_id(part, endian, data) {
                    elf.build_id = hex(id);
                    let word = id.first_chunk().map(|bytes| u64::from_ne_bytes(*bytes));
                    elf.mark = word.map(|word| Mark { address: part.p_vaddr(endian).wrapping_add(at), word });
                }
            }
            _ => {}
        }
    }
    Some(elf)
}

/// The build-id in a note segment (NT_GNU_BUILD_ID of owner "GNU"), and where in the segment it lies.
fn find_build_id<'data, R: ReadRef<'data>>(
    part: &object::elf::ProgramHeader64<Endianness>,
    endian: Endianness,
    data: R,
) -> Option<(u64, &'data [u8])> {
    // Notes are small; a segment that claims to be large is not worth reading.
    if part.p_filesz(endian) > 1 << 16 {
        return None;
    }
    let mut notes = part.notes(endian, data).ok()??;
    while let Ok(Some(note)) = notes.next() {
        if note.name() == b"GNU" && note.n_type(endian) == NT_GNU_BUILD_ID {
            let id = note.desc();
            let all = part.data(endian, data).ok()?;
            let at = all.windows(id.len().max(1)).position(|window| window == id)?;
            return Some((at as u64, id));
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
            mark: None,
            segments: vec![
                Segment { offset: 0x1000, size: 0x100, address: 0x2000 },
                Segment { offset: 0x5000, size: 0x10, address: 0x9000 },
            ],
            file: None,
            folder: None,
            root: None,
            refused: AtomicBool::default(),
        };
        assert_eq!(object.address_of(0x1010), Some(0x2010));
        assert_eq!(object.address_of(0x500f), Some(0x900f));
        assert_eq!(object.address_of(0x5010), None);
        assert_eq!(object.address_of(0), None);
        let hostile = Object { segments: vec![Segment { offset: 0, size: 9, address: u64::MAX }], ..object };
        assert_eq!((hostile.address_of(0), hostile.address_of(1)), (Some(u64::MAX), None));
    }

    #[test]
    fn this_test_is_an_elf_file() {
        let file = File::open("/proc/self/exe").unwrap();
        assert!(!read_elf(&file).unwrap().unwrap().segments.is_empty());
        let other = File::open(concat!(env!("CARGO_MANIFEST_DIR"), "/Cargo.toml")).unwrap();
        assert!(read_elf(&other).unwrap().is_none());
        // Its end cannot be sought.
        assert!(read_elf(&File::open("/proc/self/comm").unwrap()).is_err());
    }
}
