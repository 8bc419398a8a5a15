//! Bringing a new file's data to disk before its name, by as few waits as its file system allows.

use std::{fs::File, io, mem::MaybeUninit, os::fd::AsRawFd};

use super::check;

/// File systems (`f_type` of statfs(2)) on which a file whose data was written out before it is renamed is, after a power cut,
/// there whole or not there: what it takes to find the data is in the journal before the name is, or with it. So it is on
/// ext4, of which a test cuts the power (tests/tests/power_cut.rs), and on XFS, where that was done by hand. Others were not tried.
const IN_ORDER: [u32; 2] = [0xef53, 0x5846_5342];

/// Begins to write a file's data to disk, and waits for nothing.
pub fn begin(file: &File) {
    if let Err(error) = sync_file_range(file, libc::SYNC_FILE_RANGE_WRITE) {
        // Some file systems cannot begin early (sync_file_range(2)); the wait at the end is longer there.
        tracing::trace!("writing a file early: {error}");
    }
}

/// Waits until the name that the file is given next cannot outlive its data. That needs no fsync(2) everywhere, which writes the
/// journal out and empties the disk's cache for each file; a file may then be gone after a power cut, for as long as
/// the file system keeps its journal in memory (5 s on ext4, 30 s on XFS).
///
/// # Errors
/// The data could not be written.
pub fn end(file: &File) -> io::Result<()> {
    const ALL: libc::c_uint =
        libc::SYNC_FILE_RANGE_WAIT_BEFORE | libc::SYNC_FILE_RANGE_WRITE | libc::SYNC_FILE_RANGE_WAIT_AFTER;
    if !is_in_order(file) {
        return file.sync_all();
    }
    loop {
        match sync_file_range(file, ALL) {
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            Err(error) if matches!(error.raw_os_error(), Some(libc::EINVAL | libc::ENOSYS)) => {
                return file.sync_all();
            }
            result => return result,
        }
    }
}

fn is_in_order(file: &File) -> bool {
    let mut about = MaybeUninit::<libc::statfs>::uninit();
    // SAFETY: the descriptor is the file's, and the kernel writes one such structure, for which there is room.
    if unsafe { libc::fstatfs(file.as_raw_fd(), about.as_mut_ptr()) } != 0 {
        return false;
    }
    // SAFETY: the call has succeeded, and so has filled it.
    let about = unsafe { about.assume_init() };
    // A magic number of 32 bits, whatever the width of the field.
    IN_ORDER.contains(&(about.f_type as u32))
}

fn sync_file_range(file: &File, what: libc::c_uint) -> io::Result<()> {
    // SAFETY: the descriptor is the file's, and the call touches no memory of ours.
    check(unsafe { libc::sync_file_range(file.as_raw_fd(), 0, 0, what) }.into())
}

#[cfg(test)]
mod tests {
    use std::io::Write;

    use super::*;

    #[test]
    fn a_file_is_written_on_any_file_system() {
        for folder in [std::env::temp_dir(), "/dev/shm".into()] {
            let Ok(mut file) = tempfile::tempfile_in(&folder) else { continue };
            file.write_all(b"x").unwrap();
            begin(&file);
            end(&file).unwrap();
        }
    }

    #[test]
    fn what_has_no_data_to_write_is_an_error() {
        let (_reader, writer) = std::io::pipe().unwrap();
        assert!(end(&File::from(std::os::fd::OwnedFd::from(writer))).is_err());
    }
}
