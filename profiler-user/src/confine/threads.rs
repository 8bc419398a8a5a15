//! The threads that hold what privileges there are, and doing things on them.
//!
//! A thread's capabilities, filters and Landlock domain are its own, and threads inherit them from the one that starts them. So
//! what needs a privilege, or starts threads that are to have less, is done by asking one of these. Where nothing is confined
//! there are none, and the caller does it itself.

use std::{
    cell::Cell,
    fs::File,
    io,
    panic::{AssertUnwindSafe, catch_unwind},
    path::{Path, PathBuf},
    sync::{
        OnceLock,
        mpsc::{SyncSender, sync_channel},
    },
};

use super::Role;
use crate::sys::regular;

type Work = Box<dyn FnOnce() + Send>;

/// Pieces of work that wait for one thread at the most; who asks for more waits, too.
const QUEUE: usize = 16;

/// The running threads.
#[derive(Debug)]
struct Threads {
    opening: SyncSender<Work>,
    loading: SyncSender<Work>,
    working: SyncSender<Work>,
}

static THREADS: OnceLock<Threads> = OnceLock::new();

thread_local! {
    /// Which of them this thread is.
    static OWN: Cell<Option<Role>> = const { Cell::new(None) };
}

/// Starts the threads; each prepares itself by `prepare` before this goes on, and gives what that gave.
///
/// # Errors
/// When no thread can be started, or they were started before.
pub(super) fn start<T: Send + 'static>(
    prepare: impl Fn(Role) -> T + Clone + Send + 'static,
) -> io::Result<[(Role, T); 3]> {
    let thread = |role: Role, name: &str| -> io::Result<(SyncSender<Work>, (Role, T))> {
        let (sender, receiver) = sync_channel::<Work>(QUEUE);
        let (tell, told) = sync_channel(1);
        let prepare = prepare.clone();
        let run = move || {
            OWN.set(Some(role));
            // Whoever started it waits.
            let _ = tell.send(prepare(role));
            drop(prepare);
            while let Ok(work) = receiver.recv() {
                // Who asked learns of it, for there will be no answer.
                let _ = catch_unwind(AssertUnwindSafe(work));
            }
        };
        std::thread::Builder::new().name(name.to_owned()).spawn(run)?;
        let prepared = told.recv().map_err(|_| panicked())?;
        Ok((sender, (role, prepared)))
    };
    let (opening, opener) = thread(Role::Opening, "opener")?;
    let (loading, loader) = thread(Role::Loading, "loader")?;
    let (working, worker) = thread(Role::Working, "worker")?;
    let threads = Threads { opening, loading, working };
    THREADS.set(threads).map_err(|_| io::Error::other("the threads were started already"))?;
    Ok([opener, loader, worker])
}

/// Whether there are such threads.
#[must_use]
pub(super) fn are_running() -> bool {
    THREADS.get().is_some()
}

fn panicked() -> io::Error {
    io::Error::other("a thread panicked; please report it")
}

fn on<T: Send + 'static>(role: Role, work: impl FnOnce() -> T + Send + 'static) -> io::Result<T> {
    let Some(threads) = THREADS.get() else { return Ok(work()) };
    let thread = match role {
        Role::Opening => &threads.opening,
        Role::Loading => &threads.loading,
        Role::Working => &threads.working,
        Role::Collecting => return Ok(work()),
    };
    if OWN.get() == Some(role) {
        return Ok(work());
    }
    let (tell, told) = sync_channel(1);
    let work = Box::new(move || {
        // Who asked waits.
        let _ = tell.send(work());
    });
    thread.send(work).map_err(|_| panicked())?;
    told.recv().map_err(|_| panicked())
}

/// Does this where programs may be loaded and events opened. Nothing of strangers may be read there.
///
/// # Errors
/// When the work panicked.
pub fn loading<T: Send + 'static>(work: impl FnOnce() -> T + Send + 'static) -> io::Result<T> {
    on(Role::Loading, work)
}

/// Does this where no privilege is left but to read files; threads that it starts have no more.
///
/// # Errors
/// When the work panicked.
pub fn working<T: Send + 'static>(work: impl FnOnce() -> T + Send + 'static) -> io::Result<T> {
    on(Role::Working, work)
}

/// Opens a file for reading: also one of another user's process, and below such a process's root.
///
/// # Errors
/// Those of open(2).
pub fn open(path: &Path) -> io::Result<File> {
    open_with(path, 0)
}

/// Likewise, if it is a regular file: for paths that others choose ([`regular::open`]).
///
/// # Errors
/// Those of open(2); `InvalidInput` for what is no regular file.
pub fn open_regular(path: &Path) -> io::Result<File> {
    let path: PathBuf = path.to_owned();
    on(Role::Opening, move || regular::open(&path)).and_then(|opened| opened)
}

/// Likewise, with further flags of open(2).
///
/// # Errors
/// Those of open(2).
pub fn open_with(path: &Path, flags: libc::c_int) -> io::Result<File> {
    use std::os::unix::fs::OpenOptionsExt;
    let path: PathBuf = path.to_owned();
    let open = move || std::fs::OpenOptions::new().read(true).custom_flags(flags).open(path);
    on(Role::Opening, open).and_then(|opened| opened)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn without_threads_the_caller_does_it() {
        let own = std::thread::current().id();
        assert_eq!(loading(|| std::thread::current().id()).unwrap(), own);
        assert_eq!(working(|| std::thread::current().id()).unwrap(), own);
        assert!(open(Path::new("/proc/self/comm")).is_ok() && !are_running());
        assert_eq!(open(Path::new("/nowhere")).unwrap_err().kind(), io::ErrorKind::NotFound);
    }
}
