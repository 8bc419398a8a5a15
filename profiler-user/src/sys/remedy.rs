//! What helps where the system is out of something: the end of a sentence about a system call that failed.

/// What to do about this errno (errno(3)); `None` where that depends on the call.
#[must_use]
pub fn remedy(errno: i32) -> Option<&'static str> {
    Some(match errno {
        libc::EMFILE => "raise its limit of open files (LimitNOFILE= of the unit, `ulimit -n`)",
        libc::ENFILE => "raise the host's limit of open files, fs.file-max",
        libc::ENOMEM => {
            "free memory, raise the limit of its cgroup (MemoryMax= of the unit), or give it less to use with --memory"
        }
        libc::ENOSPC => "make room, or use another file system",
        libc::EDQUOT => "raise the quota, or use another file system",
        libc::EROFS => "mount the file system for writing, or use another one",
        libc::EAGAIN => "raise its limit of threads (TasksMax= of the unit, `ulimit -u`), and start it again",
        libc::EINTR => "start it again",
        libc::EIO => "the device is at fault, `dmesg` says more",
        _ => return None,
    })
}
