//! Resource limits of this process.

use std::io;

use super::own;

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

#[cfg(target_env = "gnu")]
type Resource = libc::__rlimit_resource_t;
#[cfg(not(target_env = "gnu"))]
type Resource = libc::c_int;

fn limit_of(resource: Resource) -> io::Result<Limit> {
    let mut limit = libc::rlimit { rlim_cur: 0, rlim_max: 0 };
    // SAFETY: `limit` is writable and of the type that getrlimit fills.
    super::check(unsafe { libc::getrlimit(resource, &raw mut limit) }.into())?;
    Ok(Limit { soft: limit.rlim_cur, hard: limit.rlim_max })
}

fn set_limit_of(resource: Resource, limit: Limit) -> io::Result<()> {
    let limit = libc::rlimit { rlim_cur: limit.soft, rlim_max: limit.hard };
    // SAFETY: `limit` is a valid rlimit that is only read.
    super::check(unsafe { libc::setrlimit(resource, &raw const limit) }.into())
}

/// Bytes of memory that this process may lock. Kernels before 5.11 charge BPF maps and programs to it.
///
/// # Errors
/// None are known.
pub fn memlock() -> io::Result<Limit> {
    limit_of(libc::RLIMIT_MEMLOCK)
}

/// Sets the limit on locked memory of this process and the children that it starts from now on.
///
/// # Errors
/// `EPERM` when the hard limit would rise without `CAP_SYS_RESOURCE`, `EINVAL` when soft is above hard.
pub fn set_memlock(limit: Limit) -> io::Result<()> {
    set_limit_of(libc::RLIMIT_MEMLOCK, limit)
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
    let Limit { hard, .. } = limit_of(libc::RLIMIT_CPU)?;
    set_limit_of(libc::RLIMIT_CPU, Limit { soft: seconds.min(hard), hard })
}

/// Lets this process take so many bytes of memory more than it has now, for its heap and whatever else is its own and can be written
/// to, touched or not; what is beyond that is refused (`RLIMIT_DATA`, which covers all of it since Linux 4.7).
///
/// # Errors
/// Those of setrlimit(2).
pub fn set_growth(bytes: u64) -> io::Result<()> {
    let Limit { hard, .. } = limit_of(libc::RLIMIT_DATA)?;
    let soft = own::writable_bytes().saturating_add(bytes).min(hard);
    set_limit_of(libc::RLIMIT_DATA, Limit { soft, hard })
}

/// Leaves this process no way to have more than so many bytes beyond what it has now, whatever [`set_growth`] says later.
///
/// # Errors
/// Those of setrlimit(2).
pub fn keep_growth_below(bytes: u64) -> io::Result<()> {
    let Limit { hard, .. } = limit_of(libc::RLIMIT_DATA)?;
    let most = own::writable_bytes().saturating_add(bytes).min(hard);
    set_limit_of(libc::RLIMIT_DATA, Limit { soft: most, hard: most })
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
    fn a_process_may_grow_so_far_and_no_further() {
        let have = |bytes: usize| {
            // SAFETY: a new mapping of its own, which nothing refers to.
            let at = unsafe {
                let access = libc::PROT_READ | libc::PROT_WRITE;
                libc::mmap(
                    std::ptr::null_mut(),
                    bytes,
                    access,
                    libc::MAP_PRIVATE | libc::MAP_ANONYMOUS,
                    -1,
                    0,
                )
            };
            at != libc::MAP_FAILED
        };
        // SAFETY: the child only maps memory and ends. It allocates a little, while it is the only thread that there is of it: no
        // lock of the heap is held across a fork (malloc's handlers see to that).
        let child = unsafe { libc::fork() };
        if child == 0 {
            let right = keep_growth_below(256 << 20).is_ok()
                && set_growth(64 << 20).is_ok()
                && have(32 << 20)
                && !have(64 << 20)
                && set_growth(1 << 40).is_ok()
                && have(128 << 20)
                && !have(256 << 20);
            // SAFETY: takes a number.
            unsafe { libc::_exit(i32::from(!right)) };
        }
        let mut status = 0;
        // SAFETY: the status is writable, and the child is waited for nowhere else.
        assert_eq!(unsafe { libc::waitpid(child, &raw mut status, 0) }, child);
        assert!(libc::WIFEXITED(status) && libc::WEXITSTATUS(status) == 0, "{status:#x}");
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
