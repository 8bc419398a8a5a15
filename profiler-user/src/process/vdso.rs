//! The vDSO: code that the kernel maps into every process. The image is the same for all 64-bit processes, so the
//! agent's own copy stands for it.

use std::{
    fs::File,
    io::{self, Write},
    os::fd::FromRawFd,
    sync::atomic::AtomicBool,
};

use super::object::{Elf, Object, read_elf};

/// An object with a copy of the image; without symbols where it cannot be copied.
pub(super) fn object() -> Object {
    let file = copy().inspect_err(|error| tracing::debug!("the vDSO cannot be copied: {error}")).ok();
    let Elf { segments, build_id, .. } =
        file.as_ref().and_then(|file| read_elf(file).ok()?).unwrap_or_default();
    // No mark: nothing takes the place of the vDSO.
    Object {
        id: 0,
        path: "[vdso]".to_owned(),
        build_id,
        mark: None,
        segments,
        file,
        folder: None,
        root: None,
        refused: AtomicBool::default(),
    }
}

/// Copies the image to a file in memory, for what reads ELF files reads files.
fn copy() -> io::Result<File> {
    let maps = std::fs::read("/proc/self/maps")?;
    let line = maps
        .split(|&byte| byte == b'\n')
        .filter_map(super::parse_line)
        .find(|line| line.path == b"[vdso]")
        .ok_or_else(|| io::Error::new(io::ErrorKind::NotFound, "this process has none"))?;
    let length = usize::try_from(line.end - line.start).map_err(io::Error::other)?;
    // SAFETY: the kernel maps the vDSO readable for the whole life of the process, and nothing unmaps it here.
    let image = unsafe { std::slice::from_raw_parts(line.start as *const u8, length) };
    // SAFETY: the name is a valid C string.
    let fd = unsafe { libc::memfd_create(c"vdso".as_ptr(), libc::MFD_CLOEXEC) };
    if fd < 0 {
        return Err(io::Error::last_os_error());
    }
    // SAFETY: the call above just made the descriptor, and nothing else owns it.
    let mut file = unsafe { File::from_raw_fd(fd) };
    file.write_all(image)?;
    Ok(file)
}
