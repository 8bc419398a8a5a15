//! What a test holds while it profiles: root, the machine to itself, a scratch folder.

use std::fs::File;
use std::os::fd::AsRawFd;
use std::path::{Path, PathBuf};

use tempfile::TempDir;

/// The right to profile, and a scratch folder that goes away with it.
///
/// Tests measure shares of the CPU time of this host, so only one of them runs at a time, over all test processes
/// that share a target folder.
#[derive(Debug)]
pub struct Session {
    folder: TempDir,
    _lock: File,
}

impl Session {
    /// Waits for other tests to end.
    ///
    /// Panics with one sentence when the process is not root: a profiler test that is skipped proves nothing.
    pub fn begin() -> Session {
        // SAFETY: geteuid has no preconditions.
        let euid = unsafe { libc::geteuid() };
        assert!(
            euid == 0,
            "the end-to-end tests load BPF programs and must be run as root, not as uid {euid}"
        );
        let lock = lock("profiling");
        let folder = tempfile::Builder::new().prefix("profiler-tests-").tempdir().expect("a scratch folder");
        Session { folder, _lock: lock }
    }

    /// The scratch folder.
    pub fn folder(&self) -> &Path {
        self.folder.path()
    }

    /// A path in the scratch folder.
    pub fn path(&self, name: &str) -> PathBuf {
        self.folder().join(name)
    }
}

/// Takes the named lock, which holds between processes and between threads, until the file is dropped.
pub(crate) fn lock(name: &str) -> File {
    let path = cache_folder().join(format!("{name}.lock"));
    let file = File::create(&path).unwrap_or_else(|e| panic!("cannot create {}: {e}", path.display()));
    // SAFETY: the descriptor is open as long as `file` lives.
    let result = unsafe { libc::flock(file.as_raw_fd(), libc::LOCK_EX) };
    assert!(result == 0, "cannot lock {}: {}", path.display(), std::io::Error::last_os_error());
    file
}

/// Where built programs and locks are kept: `tmp/profiler-tests` in cargo's target folder.
pub(crate) fn cache_folder() -> PathBuf {
    let path = target_folder().join("tmp").join("profiler-tests");
    std::fs::create_dir_all(&path).unwrap_or_else(|e| panic!("cannot create {}: {e}", path.display()));
    path
}

/// Cargo's target folder: the test itself runs from `<target>/<profile>/deps`.
pub(crate) fn target_folder() -> PathBuf {
    let test = std::env::current_exe().expect("the path of the running test");
    let folder = test.ancestors().nth(3).expect("a test runs from <target>/<profile>/deps");
    folder.to_owned()
}

/// The top of the workspace.
pub(crate) fn workspace() -> &'static Path {
    Path::new(concat!(env!("CARGO_MANIFEST_DIR"), "/.."))
}
