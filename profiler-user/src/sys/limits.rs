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

/// Raises the limit on locked memory as far as this process may: to none, or else up to the hard limit.
///
/// # Errors
/// None are known.
pub fn raise_memlock() -> io::Result<()> {
    if set_memlock(Limit::UNLIMITED).is_ok() {
        return Ok(());
    }
    let Limit { hard, .. } = memlock()?;
    set_memlock(Limit { soft: hard, hard })
}

/// Lets this process use CPU time until it has used so many seconds since its start; then the kernel ends it (SIGXCPU).
///
/// # Errors
/// Those of setrlimit(2).
pub fn set_cpu_seconds(seconds: u64) -> io::Result<()> {
    let mut limit = libc::rlimit { rlim_cur: 0, rlim_max: 0 };
    // SAFETY: the struct is writable.
    super::check(unsafe { libc::getrlimit(libc::RLIMIT_CPU, &raw mut limit) }.into())?;
    limit.rlim_cur = seconds.min(limit.rlim_max);
    // SAFETY: the struct is readable.
    super::check(unsafe { libc::setrlimit(libc::RLIMIT_CPU, &raw const limit) }.into())
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

/// Makes the heap give large blocks back to the kernel as soon as they are free. Call it before there are other threads.
///
/// The GNU C library raises the size from which on it does so with each such block that is freed, up to 32 MiB, and keeps a
/// heap for each thread (mallopt(3)): a long-running program then holds what it once needed for a moment.
pub fn keep_heap_small() {
    #[cfg(target_env = "gnu")]
    {
        const LARGE_BYTES: libc::c_int = 128 << 10;
        const HEAPS: libc::c_int = 2;
        // SAFETY: the function takes numbers, and no other thread uses the heap yet.
        unsafe { libc::mallopt(libc::M_MMAP_THRESHOLD, LARGE_BYTES) };
        // SAFETY: as above.
        unsafe { libc::mallopt(libc::M_ARENA_MAX, HEAPS) };
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_process_that_has_used_its_cpu_time_is_ended() {
        // SAFETY: the child calls what is safe after a fork, and nothing that allocates.
        let child = unsafe { libc::fork() };
        if child == 0 {
            if set_cpu_seconds(1).is_ok() {
                loop {
                    std::hint::spin_loop();
                }
            }
            // SAFETY: takes a number.
            unsafe { libc::_exit(1) };
        }
        let mut status = 0;
        // SAFETY: the status is writable, and the child is waited for nowhere else.
        assert_eq!(unsafe { libc::waitpid(child, &raw mut status, 0) }, child);
        assert!(libc::WIFSIGNALED(status) && libc::WTERMSIG(status) == libc::SIGXCPU, "{status:#x}");
    }

    #[test]
    fn the_limit_can_be_read_and_set_to_itself() {
        let limit = memlock().unwrap();
        assert!(limit.soft <= limit.hard);
        set_memlock(limit).unwrap();
        assert_eq!(memlock().unwrap(), limit);
    }

    #[test]
    fn the_limit_is_raised_to_what_is_allowed() {
        raise_memlock().unwrap();
        let limit = memlock().unwrap();
        assert_eq!(limit.soft, limit.hard);
    }
}
