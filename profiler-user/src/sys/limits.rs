//! Resource limits of this process.

use std::io;

/// A soft and a hard limit; [`libc::RLIM_INFINITY`] means none.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Limit {
    /// What is enforced.
    pub soft: u64,
    /// How far the soft limit may be raised without `CAP_SYS_RESOURCE`.
    pub hard: u64,
}

impl Limit {
    /// No limit at all.
    pub const UNLIMITED: Self = Self { soft: libc::RLIM_INFINITY, hard: libc::RLIM_INFINITY };
}

/// Bytes of memory that this process may lock. Kernels before 5.11 charge BPF maps and programs to it.
///
/// # Errors
/// None are known.
pub fn memlock() -> io::Result<Limit> {
    let mut limit = libc::rlimit { rlim_cur: 0, rlim_max: 0 };
    // SAFETY: `limit` is writable and of the type that getrlimit fills.
    if unsafe { libc::getrlimit(libc::RLIMIT_MEMLOCK, &raw mut limit) } < 0 {
        return Err(io::Error::last_os_error());
    }
    Ok(Limit { soft: limit.rlim_cur, hard: limit.rlim_max })
}

/// Sets the limit on locked memory of this process and the children that it starts from now on.
///
/// # Errors
/// `EPERM` when the hard limit would rise without `CAP_SYS_RESOURCE`, `EINVAL` when soft is above hard.
pub fn set_memlock(limit: Limit) -> io::Result<()> {
    let limit = libc::rlimit { rlim_cur: limit.soft, rlim_max: limit.hard };
    // SAFETY: `limit` is a valid rlimit that is only read.
    if unsafe { libc::setrlimit(libc::RLIMIT_MEMLOCK, &raw const limit) } < 0 {
        return Err(io::Error::last_os_error());
    }
    Ok(())
}

/// Gives free memory of the heap back to the kernel. The GNU C library keeps what lies under the last used block; others
/// give it back by themselves.
pub fn trim_heap() {
    #[cfg(target_env = "gnu")]
    // SAFETY: the function takes a number and may be called at any time, from any thread (malloc_trim(3)).
    unsafe {
        libc::malloc_trim(0);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_limit_can_be_read_and_set_to_itself() {
        let limit = memlock().unwrap();
        assert!(limit.soft <= limit.hard);
        set_memlock(limit).unwrap();
        assert_eq!(memlock().unwrap(), limit);
    }
}
