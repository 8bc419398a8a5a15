//! A process beside the profiler that reads what strangers wrote, and can do nothing else: it has no capability but the one to read
//! files, no other process's memory, no network, and writes nowhere.
//!
//! Two processes are forked before there are threads and BPF maps. The *keeper* holds a socket to the profiler ([`connect`]) and starts
//! the *reader*: a socket of its own leads to it, whose other end the keeper hands to the profiler. A reader that ends, by a file that
//! broke it, ends that connection, and the keeper starts the next one. Both end when the profiler does.

use std::{
    fs::File,
    io::{self, Read},
    os::{
        fd::{AsFd, AsRawFd, FromRawFd, OwnedFd},
        unix::net::UnixStream,
    },
    panic::{AssertUnwindSafe, catch_unwind},
    sync::{Mutex, PoisonError},
    time::{Duration, Instant},
};

use super::{filter, folders};
use crate::sys::{
    caps::{self, Capability},
    limits,
    own::{self, Resident},
    passing, priority,
    seccomp::{self, Reach, Told},
};

/// What the reader does with its socket.
pub type Work = fn(UnixStream);

/// The keeper as the profiler knows it.
#[derive(Debug)]
struct Keeper {
    socket: UnixStream,
    pid: libc::pid_t,
}

static KEEPER: Mutex<Option<Keeper>> = Mutex::new(None);

/// After a reader that ends sooner than this, as after none, the keeper waits before it starts the next one, so that no host is
/// busy with that.
const SOON: Duration = Duration::from_secs(1);
/// How long it waits.
const PAUSE: Duration = Duration::from_millis(200);

/// Starts the keeper, and it the first reader. No reader gets more than `most` bytes of memory of its own.
///
/// Call it while there is one thread, and before there is anything that they had
/// better not have: what is mapped and shared stays so.
///
/// # Errors
/// When there are more threads, or no process can be made.
pub fn start(work: Work, most: u64) -> io::Result<()> {
    if std::fs::read_dir("/proc/self/task").map_or(1, Iterator::count) > 1 {
        return Err(io::Error::other("there are threads already that a process of its own would be without"));
    }
    let (socket, keepers) = UnixStream::pair()?;
    match fork()? {
        None => {
            // Nothing here may return into the profiler's code, of which this is a copy.
            let _ = catch_unwind(AssertUnwindSafe(|| keep(keepers, work, most)));
            end();
        }
        Some(pid) => {
            tracing::debug!("process {pid} keeps a process that reads files");
            *KEEPER.lock().unwrap_or_else(PoisonError::into_inner) = Some(Keeper { socket, pid });
            Ok(())
        }
    }
}

/// A connection to the next reader: the first one, or the one in the place of one that has ended or whose connection was
/// closed. `None` where no keeper was started.
///
/// # Errors
/// When the keeper is gone: somebody has killed it.
pub fn connect() -> Option<io::Result<UnixStream>> {
    let keeper = KEEPER.lock().unwrap_or_else(PoisonError::into_inner);
    let keeper = keeper.as_ref()?;
    let file = match passing::receive(&keeper.socket, 0) {
        Ok(Some((_, file))) => file,
        Ok(None) => None,
        Err(error) => return Some(Err(error)),
    };
    let gone =
        || io::Error::other("the process that starts those that read files is gone; restart the profiler");
    Some(file.map(|file| OwnedFd::from(file).into()).ok_or_else(gone))
}

/// Memory that the keeper has resident: it does nothing, so that does not change. Nothing where there is none.
#[must_use]
pub fn keeper_memory() -> Resident {
    let keeper = KEEPER.lock().unwrap_or_else(PoisonError::into_inner);
    keeper.as_ref().map_or_else(Resident::default, |keeper| own::memory_of(&keeper.pid.to_string()))
}

/// The keeper.
fn keep(control: UnixStream, work: Work, most: u64) {
    // What a terminal or a service manager sends to all is for the profiler, whose last window wants names.
    for signal in [libc::SIGINT, libc::SIGTERM, libc::SIGHUP, libc::SIGQUIT, libc::SIGUSR1, libc::SIGUSR2] {
        // SAFETY: no function is called by it.
        unsafe { libc::signal(signal, libc::SIG_IGN) };
    }
    let Ok(control) = alone_with(control) else { return };
    name(c"keeper");
    if give_up().is_err() {
        return;
    }
    while !is_closed(&control) {
        let begun = Instant::now();
        // There may be no process to be had now, where their number is limited, but later.
        if let Ok((profilers, readers)) = UnixStream::pair()
            && let Ok(child) = fork()
        {
            let Some(pid) = child else {
                drop((control, profilers));
                read(readers, work, most);
                return;
            };
            drop(readers);
            if passing::send(&control, &[], Some(profilers.as_fd())).is_err() {
                return;
            }
            drop(profilers);
            wait_for(pid);
        }
        if begun.elapsed() < SOON && !is_closed(&control) {
            std::thread::sleep(PAUSE);
        }
    }
}

/// Leaves both no capability but the one for files that not everybody may read, which are opened once more by their path below
/// /proc/self/fd, and that to be as urgent as the thread that asks, where the limit on nice values does not allow it.
fn give_up() -> io::Result<()> {
    let urgent: &[Capability] = if priority::permit() { &[] } else { &[Capability::SysNice] };
    let kept = caps::permitted()?.granting(&[&[Capability::DacReadSearch], urgent].concat());
    caps::no_new_privileges()?;
    // Without root there is none to give, for "no new privileges" is in force.
    let _ = caps::empty_bounding_set();
    caps::keep_only(kept).map(drop)
}

/// The reader.
fn read(socket: UnixStream, work: Work, most: u64) {
    name(c"reader");
    // What of this the kernel has not is left out, as of the profiler's threads, which say so.
    let _ = limits::keep_growth_below(most);
    let _ = folders::rules(&[]).and_then(|rules| rules.confine());
    if seccomp::is_available() {
        // SAFETY: takes nothing.
        let own = unsafe { libc::getpid() };
        let filters = [filter::everybody(own.cast_unsigned()), filter::reader()];
        for filter in filters {
            if filter.install(Reach::ThisThread, Told::InKernelLog).is_err() {
                return;
            }
        }
    }
    work(socket);
}

/// Closes all that the profiler had open but for this socket.
fn alone_with(control: UnixStream) -> io::Result<UnixStream> {
    const PLACE: i32 = 3;
    let null = File::options().read(true).write(true).open("/dev/null")?;
    for standard in 0..PLACE {
        // SAFETY: numbers only; what these were is not used in this process any more.
        crate::sys::check(unsafe { libc::dup2(null.as_raw_fd(), standard) }.into())?;
    }
    if control.as_raw_fd() != PLACE {
        // SAFETY: as above.
        crate::sys::check(unsafe { libc::dup2(control.as_raw_fd(), PLACE) }.into())?;
    }
    // What owns the descriptors that are closed now is never dropped: this process ends without returning.
    std::mem::forget((control, null));
    // SAFETY: numbers only; see above.
    crate::sys::check(unsafe { libc::syscall(libc::SYS_close_range, PLACE + 1, u32::MAX, 0) })?;
    // SAFETY: the descriptor is open, and its owner was forgotten.
    Ok(unsafe { UnixStream::from_raw_fd(PLACE) })
}

fn name(name: &std::ffi::CStr) {
    // SAFETY: the name ends with a zero.
    unsafe { libc::prctl(libc::PR_SET_NAME, name.as_ptr()) };
}

/// The child's pid; `None` in the child.
fn fork() -> io::Result<Option<libc::pid_t>> {
    // SAFETY: there is one thread, so the child is in no state that another one would have to leave.
    match unsafe { libc::fork() } {
        0 => Ok(None),
        pid if pid > 0 => Ok(Some(pid)),
        _ => Err(io::Error::last_os_error()),
    }
}

fn wait_for(pid: libc::pid_t) {
    loop {
        // SAFETY: the status is not asked for.
        let waited = unsafe { libc::waitpid(pid, std::ptr::null_mut(), 0) };
        if waited == pid || io::Error::last_os_error().kind() != io::ErrorKind::Interrupted {
            return;
        }
    }
}

/// Whether the profiler has ended. It never says anything here.
fn is_closed(control: &UnixStream) -> bool {
    let _ = control.set_nonblocking(true);
    let read = (&*control).read(&mut [0]);
    let _ = control.set_nonblocking(false);
    !matches!(read, Err(error) if error.kind() == io::ErrorKind::WouldBlock)
}

/// Ends the process, and runs nothing of what the profiler has registered for its own end.
fn end() -> ! {
    // SAFETY: takes a number.
    unsafe { libc::_exit(0) }
}
