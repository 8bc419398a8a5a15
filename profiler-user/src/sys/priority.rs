//! How soon a thread gets its turn.
//!
//! On Linux a nice value belongs to a thread, not to its process (setpriority(2), "C library/kernel differences"), and
//! threads and processes that are made later inherit it.

use std::{
    io,
    sync::{
        Arc, OnceLock,
        atomic::{AtomicU32, Ordering},
    },
};

/// The nice value and the I/O priority that the profiler was started with.
static ORIGINAL: OnceLock<(libc::c_int, libc::c_long)> = OnceLock::new();

/// How much lower the nice value of an urgent thread is.
const SOONER: libc::c_int = 10;
/// linux/ioprio.h: a thread; 0 is the calling one.
const IOPRIO_WHO_PROCESS: libc::c_int = 1;
/// The class lies above bit 13.
const IOPRIO_CLASS_IDLE: libc::c_long = 3 << 13;

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

/// A thread whose urgency another one may change. Clones are of the same thread.
#[derive(Clone, Debug, Default)]
pub struct Thread(Arc<AtomicU32>);

impl Thread {
    /// From now on this is the calling thread.
    pub fn enter(&self) {
        // SAFETY: takes nothing.
        let id = unsafe { libc::gettid() };
        self.0.store(id.cast_unsigned(), Ordering::Relaxed);
    }

    /// Sets its urgency, if it runs; that it cannot be done is no more than worth a note. Call it while the thread lives,
    /// for another one may be given its id.
    pub fn try_set(&self, urgency: Urgency) {
        match self.0.load(Ordering::Relaxed) {
            0 => {}
            id => {
                if let Err(error) = set_for(id, urgency) {
                    tracing::debug!("a thread stays as urgent as it was: {error}");
                }
            }
        }
    }
}

/// Raises the limit on nice values (`RLIMIT_NICE`) as far as it may be, so that threads become urgent without `CAP_SYS_NICE`.
/// Says whether that is far enough for [`Urgency::Soon`].
pub fn permit() -> bool {
    let nice = nice();
    // A nice value is 20 less what the limit has to be (getrlimit(2)).
    let wanted = libc::rlim_t::try_from(20 - (nice - SOONER).max(-20)).unwrap_or(40);
    let mut limit = libc::rlimit { rlim_cur: 0, rlim_max: 0 };
    // SAFETY: the struct is writable.
    if unsafe { libc::getrlimit(libc::RLIMIT_NICE, &raw mut limit) } != 0 {
        return false;
    }
    for hard in [limit.rlim_max.max(wanted), limit.rlim_max] {
        let raised = libc::rlimit { rlim_cur: limit.rlim_cur.max(hard.min(wanted)), rlim_max: hard };
        // SAFETY: the struct is readable; a refusal leaves the limit as it is.
        if unsafe { libc::setrlimit(libc::RLIMIT_NICE, &raw const raised) } == 0 {
            return raised.rlim_cur >= wanted;
        }
    }
    false
}

/// Sets the calling thread's urgency. Calls nothing but setpriority(2) and ioprio_set(2) once it has been called before.
///
/// # Errors
/// `EACCES` or `EPERM` when the thread would become more urgent without `CAP_SYS_NICE`.
pub fn set(urgency: Urgency) -> io::Result<()> {
    set_for(0, urgency)
}

/// Likewise for a thread by its id; 0 is the calling one.
fn set_for(thread: u32, urgency: Urgency) -> io::Result<()> {
    let &(original, original_io) = ORIGINAL.get_or_init(|| {
        let nice = nice();
        // SAFETY: takes numbers only.
        let io = unsafe { libc::syscall(libc::SYS_ioprio_get, IOPRIO_WHO_PROCESS, 0) };
        // 0 is what follows from the nice value.
        (nice, io.max(0))
    });
    let nice = match urgency {
        Urgency::Soon => original - SOONER,
        Urgency::Ordinary => original,
        Urgency::Late => original + 10,
    };
    // SAFETY: takes numbers only.
    super::check(unsafe { libc::setpriority(libc::PRIO_PROCESS, thread, nice.clamp(-20, 19)) }.into())?;
    let io_class = if urgency == Urgency::Late { IOPRIO_CLASS_IDLE } else { original_io };
    // SAFETY: takes numbers only.
    let set =
        super::check(unsafe { libc::syscall(libc::SYS_ioprio_set, IOPRIO_WHO_PROCESS, thread, io_class) });
    // What was so from the start need not be settable: a real-time class wants a capability.
    if urgency == Urgency::Late { set } else { Ok(()) }
}

/// The calling thread's nice value.
#[must_use]
pub fn nice() -> i32 {
    // SAFETY: takes numbers only. -1 is a nice value, too, but no failure is known for one's own thread.
    unsafe { libc::getpriority(libc::PRIO_PROCESS, 0) }
}

/// Gives the calling thread this nice value, and where that is one for what nobody waits for, the idle class at disks; that it
/// cannot be done is no more than worth a note.
pub fn try_set_nice(nice: i32) {
    let late = nice >= 10;
    let class = if late { IOPRIO_CLASS_IDLE } else { 0 };
    // SAFETY: takes numbers only.
    let set = super::check(unsafe { libc::setpriority(libc::PRIO_PROCESS, 0, nice.clamp(-20, 19)) }.into());
    // SAFETY: takes numbers only.
    let set_io = super::check(unsafe { libc::syscall(libc::SYS_ioprio_set, IOPRIO_WHO_PROCESS, 0, class) });
    if let Err(error) = set.and(set_io) {
        tracing::debug!("a process stays as urgent as it was: {error}");
    }
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

    #[test]
    fn a_thread_is_changed_by_another() {
        // SAFETY: takes numbers only.
        let nice = || unsafe { libc::getpriority(libc::PRIO_PROCESS, 0) };
        let thread = Thread::default();
        thread.try_set(Urgency::Late);
        let (entered, changed) = (std::sync::Barrier::new(2), std::sync::Barrier::new(2));
        let before = nice();
        let after = std::thread::scope(|scope| {
            let other = scope.spawn(|| {
                thread.enter();
                entered.wait();
                changed.wait();
                nice()
            });
            entered.wait();
            thread.try_set(Urgency::Late);
            changed.wait();
            other.join().unwrap()
        });
        assert_eq!((after, nice()), ((before + 10).min(19), before));
    }
}
