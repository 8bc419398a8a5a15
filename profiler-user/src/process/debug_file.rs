//! Separate debug files: by build-id under /usr/lib/debug, or by the debug link in the file (gdb's manual,
//! "Debugging Information in Separate Files").

use std::{
    fs::File,
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

/// Where distributions put debug files.
const DEBUG: &str = "/usr/lib/debug";

/// The debug file of an object by its build-id, if there is one on the host, or in the process's own file system: without
/// reading any file.
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

/// Likewise by the name in its debug link; `is_it` says of a file whether it is of the same build.
pub(crate) fn by_link(object: &Object, link: &str, mut is_it: impl FnMut(&File) -> bool) -> Option<File> {
    // A link is a plain file name; anything else could lead anywhere.
    if link.is_empty() || link.contains('/') {
        return None;
    }
    let folder = object.folder.as_deref()?;
    let inside = |root: &Path, folder: &Path| root.join(folder.strip_prefix("/").unwrap_or(folder));
    for root in object.root.iter().cloned().chain([PathBuf::from("/")]) {
        let own = inside(&root, folder);
        let debug = inside(&root, Path::new(DEBUG)).join(folder.strip_prefix("/").unwrap_or(folder));
        for candidate in [own.join(link), own.join(".debug").join(link), debug.join(link)] {
            match threads::open_regular(&candidate) {
                Ok(found) if is_it(&found) => return Some(found),
                Ok(_) => tracing::debug!("{} is of another build", candidate.display()),
                Err(_) => {}
            }
        }
    }
    None
}

/// Name and checksum in the section .gnu_debuglink: `Some(None)` for a file that certainly has no such section, and `None`
/// where that cannot be told.
pub(crate) fn debug_link(file: &File) -> Option<Option<(String, u32)>> {
    let cache = ReadCache::new(file);
    let elf = ElfFile::<FileHeader64<Endianness>, _>::parse(&cache).ok()?;
    match elf.gnu_debuglink().ok()? {
        None => Some(None),
        Some((name, checksum)) => Some(Some((String::from_utf8(name.to_vec()).ok()?, checksum))),
    }
}
