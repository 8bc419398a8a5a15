//! How soon a thread gets its turn.
//!
//! On Linux a nice value belongs to a thread, not to its process (setpriority(2), "C library/kernel differences"), and
//! threads and processes that are made later inherit it.

use std::{io, sync::OnceLock};

/// The nice value that the profiler was started with.
static ORIGINAL: OnceLock<libc::c_int> = OnceLock::new();

/// How soon a thread gets its turn on a host with more work than CPUs.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Urgency {
    /// Before others: what the thread does is short, and samples are incomplete or lost if it comes late.
    Soon,
    /// As the profiler was started.
    Ordinary,
    /// After others, at CPUs and at disks.
    Late,
}

/// Sets the calling thread's urgency. Calls nothing but setpriority(2) and ioprio_set(2) once it has been called before.
///
/// # Errors
/// `EACCES` or `EPERM` when the thread would become more urgent without `CAP_SYS_NICE`.
pub fn set(urgency: Urgency) -> io::Result<()> {
    // SAFETY: takes numbers only. -1 is a nice value, too, but no failure is known for one's own thread.
    let original = *ORIGINAL.get_or_init(|| unsafe { libc::getpriority(libc::PRIO_PROCESS, 0) });
    let nice = match urgency {
        Urgency::Soon => original - 10,
        Urgency::Ordinary => original,
        Urgency::Late => original + 10,
    };
    // SAFETY: takes numbers only.
    super::check(unsafe { libc::setpriority(libc::PRIO_PROCESS, 0, nice.clamp(-20, 19)) }.into())?;
    if urgency == Urgency::Late {
        // linux/ioprio.h: one thread, here the calling one; the class lies above bit 13.
        const IOPRIO_WHO_PROCESS: libc::c_int = 1;
        const IOPRIO_CLASS_IDLE: libc::c_int = 3 << 13;
        // SAFETY: takes numbers only.
        super::check(unsafe {
            libc::syscall(libc::SYS_ioprio_set, IOPRIO_WHO_PROCESS, 0, IOPRIO_CLASS_IDLE)
        })?;
    }
    Ok(())
}

/// Likewise; that it cannot be done is no more than worth a note.
pub fn try_set(urgency: Urgency) {
    if let Err(error) = set(urgency) {
        let thread = std::thread::current();
        let name = thread.name().unwrap_or_default();
        tracing::debug!("the thread {name} stays as urgent as it was: {error}");
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_thread_changes_alone() {
        // SAFETY: takes numbers only.
        let nice = || unsafe { libc::getpriority(libc::PRIO_PROCESS, 0) };
        let before = nice();
        let changed = std::thread::spawn(move || {
            set(Urgency::Late).unwrap();
            nice()
        });
        assert_eq!(changed.join().unwrap(), (before + 10).min(19));
        assert_eq!(nice(), before);
    }
}
