//! Reading files through mappings while others cut them short.
//!
//! The symbolizer maps the files that it reads. A page behind the end of a file that has been truncated since raises SIGBUS,
//! which by default ends the process: whoever may write to a library of theirs could end the agent. Here the reading thread
//! gets a page of zeros instead, which the symbolizer takes for damage.

use std::{
    io,
    sync::atomic::{AtomicI32, AtomicU64, AtomicUsize, Ordering},
};

/// The thread that reads, 0 for none.
static READER: AtomicI32 = AtomicI32::new(0);
static PAGE: AtomicUsize = AtomicUsize::new(0);
static LOST: AtomicU64 = AtomicU64::new(0);

/// Pages of files that were gone when they were read, since the start, by this process and the one that reads for it.
#[must_use]
pub fn count() -> u64 {
    LOST.load(Ordering::Relaxed) + super::own::share().lost_pages
}

/// From now on this thread reads files through mappings of its own. There is one such thread in a process: the last one that
/// has said so.
///
/// # Errors
/// When the kernel refuses the handler.
pub fn expect() -> io::Result<()> {
    // SAFETY: a number goes in, and one comes out.
    let page = unsafe { libc::sysconf(libc::_SC_PAGESIZE) };
    // SAFETY: gettid has no memory effects.
    let thread = unsafe { libc::gettid() };
    PAGE.store(usize::try_from(page).map_err(io::Error::other)?, Ordering::Relaxed);
    READER.store(thread, Ordering::Relaxed);
    let handler: extern "C" fn(libc::c_int, *mut libc::siginfo_t, *mut libc::c_void) = on_bus_error;
    // SAFETY: sigaction is plain numbers, for which zero is a value.
    let mut action: libc::sigaction = unsafe { std::mem::zeroed() };
    action.sa_sigaction = handler as libc::sighandler_t;
    action.sa_flags = libc::SA_SIGINFO | libc::SA_ONSTACK;
    // SAFETY: the handler has the signature that SA_SIGINFO asks for and calls nothing but what signal-safety(7) allows.
    match unsafe { libc::sigaction(libc::SIGBUS, &raw const action, std::ptr::null_mut()) } {
        0 => Ok(()),
        _ => Err(io::Error::last_os_error()),
    }
}

/// Puts a page of zeros where one was gone. Any other SIGBUS ends the process as ever, when the instruction runs again.
extern "C" fn on_bus_error(_: libc::c_int, info: *mut libc::siginfo_t, _: *mut libc::c_void) {
    // SAFETY: with SA_SIGINFO the kernel passes a valid siginfo_t, which nobody else has.
    let info = unsafe { &*info };
    // SAFETY: of SIGBUS it has an address.
    let (code, address) = (info.si_code, unsafe { info.si_addr() } as usize);
    // SAFETY: gettid has no memory effects.
    let is_reader = unsafe { libc::gettid() } == READER.load(Ordering::Relaxed);
    let page = PAGE.load(Ordering::Relaxed);
    if code == libc::BUS_ADRERR && is_reader && page > 0 {
        let start = address & !(page - 1);
        // SAFETY: the page that is replaced cannot be read any more, for its file ends before it, and only mappings of files
        // raise BUS_ADRERR. It belongs to a mapping of this thread's, which unmaps all of it later.
        let mapped = unsafe {
            libc::mmap(
                start as *mut libc::c_void,
                page,
                libc::PROT_READ,
                libc::MAP_FIXED | libc::MAP_PRIVATE | libc::MAP_ANONYMOUS,
                -1,
                0,
            )
        };
        if mapped != libc::MAP_FAILED {
            LOST.fetch_add(1, Ordering::Relaxed);
            return;
        }
    }
    // SAFETY: signal is on the list of signal-safety(7).
    unsafe { libc::signal(libc::SIGBUS, libc::SIG_DFL) };
}

#[cfg(test)]
mod tests {
    use std::{fs::File, io::Write, os::fd::AsRawFd};

    use super::*;

    #[test]
    fn a_page_that_is_cut_off_reads_as_zeros() {
        expect().unwrap();
        let mut file = tempfile::tempfile().unwrap();
        file.write_all(&[7; 8192]).unwrap();
        let map = |file: &File| {
            // SAFETY: a new mapping at an address of the kernel's choice.
            unsafe {
                libc::mmap(std::ptr::null_mut(), 8192, libc::PROT_READ, libc::MAP_SHARED, file.as_raw_fd(), 0)
            }
        };
        let start = map(&file);
        assert_ne!(start, libc::MAP_FAILED);
        file.set_len(4096).unwrap();
        let before = count();
        let read = |at: usize| {
            let place = start.cast::<u8>().wrapping_add(at);
            // SAFETY: both pages are mapped; that the second one is gone is what is tested.
            unsafe { place.read_volatile() }
        };
        assert_eq!((read(0), read(4096), read(8191)), (7, 0, 0));
        assert_eq!(count(), before + 1);
        // SAFETY: nobody has a pointer into it any more.
        unsafe { libc::munmap(start, 8192) };
    }
}
