//! Separate debug files: by build-id under /usr/lib/debug, or by the debug link in the file (gdb's manual,
//! "Debugging Information in Separate Files").

use std::{
    fs::File,
    io::Read,
    os::unix::fs::FileExt,
    path::{Path, PathBuf},
};

use object::{
    Endianness,
    elf::FileHeader64,
    read::{Object as _, ReadCache, elf::ElfFile},
};

use super::Object;
use crate::confine::threads;

/// Bytes up to which a file is read to see whether it is the one that a debug link means. Larger ones are found by build-id
/// only, which takes no reading: a file with a terabyte of holes costs its owner nothing, and whoever reads it an hour.
const MOST_CHECKED: u64 = 1 << 30;

/// Where distributions put debug files.
const DEBUG: &str = "/usr/lib/debug";

/// The debug file of an object, if there is one on the host, or in the process's own file system.
pub(crate) fn find(object: &Object) -> Option<File> {
    by_build_id(object).or_else(|| by_link(object))
}

/// Likewise, where it is known by its build-id: without reading any file.
pub(crate) fn by_build_id(object: &Object) -> Option<File> {
    let (first, rest) = object.build_id.split_at_checked(2).filter(|(_, rest)| !rest.is_empty())?;
    let name = format!("usr/lib/debug/.build-id/{first}/{rest}.debug");
    let mut roots = std::iter::once(PathBuf::from("/")).chain(object.root.clone());
    roots.find_map(|root| threads::open_regular(&root.join(&name)).ok().filter(is_elf))
}

/// Whether a file begins as an ELF file does: readers may go through all of another one in search of what it is not.
fn is_elf(file: &File) -> bool {
    let mut magic = [0; 4];
    file.read_exact_at(&mut magic, 0).is_ok() && magic == object::elf::ELFMAG
}

/// Whether a file says that its debug information is in another one, or may say so to other readers.
pub(crate) fn has_link(file: &File) -> bool {
    let cache = ReadCache::new(file);
    let elf = ElfFile::<FileHeader64<Endianness>, _>::parse(&cache);
    elf.map_or(true, |elf| !matches!(elf.gnu_debuglink(), Ok(None)))
}

fn by_link(object: &Object) -> Option<File> {
    let (link, checksum) = debug_link(object.file.as_ref()?)?;
    // A link is a plain file name; anything else could lead anywhere.
    if link.is_empty() || link.contains('/') {
        return None;
    }
    let folder = object.folder.as_deref()?;
    let inside = |root: &Path, folder: &Path| root.join(folder.strip_prefix("/").unwrap_or(folder));
    for root in object.root.iter().cloned().chain([PathBuf::from("/")]) {
        let own = inside(&root, folder);
        let debug = inside(&root, Path::new(DEBUG)).join(folder.strip_prefix("/").unwrap_or(folder));
        for candidate in [own.join(&link), own.join(".debug").join(&link), debug.join(&link)] {
            match threads::open_regular(&candidate) {
                Ok(found) if crc32(&found) == Some(checksum) => return Some(found),
                Ok(_) => tracing::debug!("{} is of another build", candidate.display()),
                Err(_) => {}
            }
        }
    }
    None
}

/// Name and checksum in the section .gnu_debuglink.
fn debug_link(file: &File) -> Option<(String, u32)> {
    let cache = ReadCache::new(file);
    let elf = ElfFile::<FileHeader64<Endianness>, _>::parse(&cache).ok()?;
    let (name, checksum) = elf.gnu_debuglink().ok()??;
    Some((String::from_utf8(name.to_vec()).ok()?, checksum))
}

/// CRC-32 of a whole file, as debug links have it; `None` of one that is too large.
fn crc32(file: &File) -> Option<u32> {
    if file.metadata().ok()?.len() > MOST_CHECKED {
        return None;
    }
    // It may grow meanwhile.
    let mut file = file.take(MOST_CHECKED);
    let mut crc = flate2::Crc::new();
    let mut buffer = vec![0; 1 << 16];
    loop {
        match file.read(&mut buffer).ok()? {
            0 => return Some(crc.sum()),
            read => crc.update(buffer.get(..read)?),
        }
    }
}
