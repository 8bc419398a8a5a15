//! Opening the files that processes have mapped.

use std::{
    ffi::OsStr,
    fs::File,
    io,
    os::{
        fd::AsRawFd,
        unix::{
            ffi::{OsStrExt, OsStringExt},
            fs::MetadataExt,
        },
    },
    path::{Path, PathBuf},
};

use super::maps::{MapsLine, without_deleted};
use crate::sys::regular;

/// Where a mapped file may be opened.
#[derive(Clone, Copy, Debug)]
pub(super) enum Owner {
    /// The process that mapped it lives.
    Alive(u32),
    /// It is gone, and left this parent.
    Gone {
        /// Its parent's process id; 0 where that is not known.
        parent: u32,
    },
}

/// Opens what is really mapped: through map_files, which also leads to deleted files and into other mount namespaces;
/// where that is not permitted, by path, if the path still leads to the same inode. With it comes the root folder.
pub(super) fn by_mapping(pid: u32, line: &MapsLine<'_>) -> io::Result<(PathBuf, File)> {
    let root = PathBuf::from(format!("/proc/{pid}/root"));
    let through_map = PathBuf::from(format!("/proc/{pid}/map_files/{:x}-{:x}", line.start, line.end));
    let mapped = regular::open(&through_map)
        .and_then(|file| if is_mapped(&file, line, &through_map)? { Ok(file) } else { Err(another_file()) });
    let file = mapped.or_else(|error| {
        if may_pass(&error) {
            return Err(error);
        }
        let file = regular::open(&below(&root, line))?;
        if file.metadata()?.ino() == line.inode { Ok(file) } else { Err(another_file()) }
    })?;
    Ok((root, file))
}

/// Whether a file that a range of a process leads to is the one that was told of: another one may have been mapped there since,
/// as it is where libraries of one size are loaded and unloaded. The inode tells; but where the device is another one, too,
/// as on overlayfs, inodes may be those of the file systems below, and the name has to do.
fn is_mapped(file: &File, line: &MapsLine<'_>, link: &Path) -> io::Result<bool> {
    let metadata = file.metadata()?;
    if metadata.ino() == line.inode {
        return Ok(true);
    }
    let device = metadata.dev();
    if (libc::major(device), libc::minor(device)) == line.device {
        return Ok(false);
    }
    let path = std::fs::read_link(link)?.into_os_string().into_vec();
    let name = |path: &[u8]| Path::new(OsStr::from_bytes(path)).file_name().map(OsStr::to_owned);
    Ok(name(without_deleted(&path)) == name(line.clean_path()))
}

/// Opens what a process that is gone had mapped, by path: as its parent sees it, or as the agent does; if the path leads
/// to the same device and inode.
pub(super) fn by_path_when_gone(parent: u32, line: &MapsLine<'_>) -> io::Result<(PathBuf, File)> {
    let roots = [(parent != 0).then(|| format!("/proc/{parent}/root")), Some("/".to_owned())];
    for root in roots.into_iter().flatten().map(PathBuf::from) {
        let file = match regular::open(&below(&root, line)) {
            Ok(file) => file,
            Err(error) if may_pass(&error) => return Err(error),
            Err(_) => continue,
        };
        let metadata = file.metadata()?;
        let device = metadata.dev();
        let same_device = (libc::major(device), libc::minor(device)) == line.device
            || file_system(&file) == Some(line.device);
        if metadata.ino() == line.inode && same_device {
            return Ok((root, file));
        }
    }
    Err(another_file())
}

/// A mapped path below a root folder.
fn below(root: &Path, line: &MapsLine<'_>) -> PathBuf {
    root.join(String::from_utf8_lossy(line.clean_path()).trim_start_matches('/'))
}

/// Whether the same call may succeed a moment later: no descriptor was left, no memory, or the disk did not answer.
pub(crate) fn may_pass(error: &io::Error) -> bool {
    const PASSING: [i32; 6] =
        [libc::EMFILE, libc::ENFILE, libc::ENOMEM, libc::EIO, libc::EINTR, libc::EAGAIN];
    error.raw_os_error().is_some_and(|errno| PASSING.contains(&errno))
}

fn another_file() -> io::Error {
    io::Error::new(io::ErrorKind::NotFound, "the path leads to another file by now")
}

/// The device of the file system that a file is on, as mappings tell it: that of its mount (proc_pid_mountinfo(5)).
fn file_system(file: &File) -> Option<(u32, u32)> {
    let fdinfo = std::fs::read_to_string(format!("/proc/self/fdinfo/{}", file.as_raw_fd())).ok()?;
    let mount = fdinfo.lines().find_map(|line| line.strip_prefix("mnt_id:"))?.trim();
    let mounts = std::fs::read_to_string("/proc/self/mountinfo").ok()?;
    let mut lines = mounts.lines().map(str::split_ascii_whitespace);
    let device = lines.find_map(|mut fields| (fields.next()? == mount).then(|| fields.nth(1))?)?;
    let (major, minor) = device.split_once(':')?;
    Some((major.parse().ok()?, minor.parse().ok()?))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_file_system_is_that_of_the_mount() {
        let file = File::open("/proc/self/comm").unwrap();
        let device = file.metadata().unwrap().dev();
        assert_eq!(file_system(&file), Some((libc::major(device), libc::minor(device))));
    }

    #[test]
    fn a_file_that_took_anothers_place_is_not_taken_for_it() {
        let folder = tempfile::tempdir().unwrap();
        let write = |name: &str| {
            let path = folder.path().join(name);
            std::fs::write(&path, name).unwrap();
            path
        };
        let (old, new) = (write("old"), write("new"));
        let (old_inode, new_inode) = (inode(&old), inode(&new));
        let new_file = File::open(&new).unwrap();
        // SAFETY: a new mapping of one page, which nobody reads, for as long as the test runs.
        let start = unsafe {
            libc::mmap(
                std::ptr::null_mut(),
                4096,
                libc::PROT_READ,
                libc::MAP_PRIVATE,
                new_file.as_raw_fd(),
                0,
            )
        };
        assert_ne!(start, libc::MAP_FAILED);
        let device = File::open(&old).unwrap().metadata().unwrap().dev();
        let told = |path: &Path, inode: u64| {
            let path = path.as_os_str().as_bytes();
            let (start, device) = (start as u64, (libc::major(device), libc::minor(device)));
            let line =
                MapsLine { start, end: start + 4096, executable: true, offset: 0, device, inode, path };
            let (_, file) = by_mapping(std::process::id(), &line)?;
            file.metadata().map(|metadata| metadata.ino())
        };
        assert_eq!(told(&new, new_inode).unwrap(), new_inode);
        assert_eq!(told(&old, old_inode).unwrap(), old_inode, "it is still at its path");
        std::fs::remove_file(&old).unwrap();
        assert!(told(&old, old_inode).is_err(), "it is nowhere any more");
    }

    #[test]
    fn where_inodes_are_no_help_the_name_is() {
        let file = File::open("/proc/self/exe").unwrap();
        let path = std::fs::read_link("/proc/self/exe").unwrap();
        let line = |path| MapsLine {
            start: 0,
            end: 0,
            executable: true,
            offset: 0,
            // Of no file system.
            device: (0xfff, 0xfffff),
            inode: u64::MAX,
            path,
        };
        let is = |path| is_mapped(&file, &line(path), Path::new("/proc/self/exe")).unwrap();
        assert!(is(path.as_os_str().as_bytes()));
        assert!(!is(b"/usr/lib/libother.so"));
    }

    fn inode(path: &Path) -> u64 {
        std::fs::metadata(path).unwrap().ino()
    }
}
