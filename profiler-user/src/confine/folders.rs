//! Where the profiler may write.

use std::{
    fs::DirBuilder,
    io,
    os::unix::{ffi::OsStrExt, fs::DirBuilderExt},
    path::{Component, Path, PathBuf},
};

use crate::sys::{
    caps::{self, Capability},
    landlock::{Rights, Ruleset},
};

/// What is written into a folder.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Content {
    /// Files and folders.
    Files,
    /// A socket.
    Socket,
}

/// A folder that is written to.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Folder {
    /// Where it is.
    pub path: PathBuf,
    /// What it is for.
    pub content: Content,
    /// The permissions that it gets where it is made.
    mode: u32,
}

impl Folder {
    /// One for files.
    #[must_use]
    pub fn of_files(path: &Path) -> Self {
        Self { path: path.to_owned(), content: Content::Files, mode: 0o777 }
    }

    /// One for files that are nobody else's business.
    #[must_use]
    pub fn of_own_files(path: &Path) -> Self {
        Self { mode: 0o700, ..Self::of_files(path) }
    }

    /// One for a socket.
    #[must_use]
    pub fn of_socket(socket: &Path) -> Self {
        let parent = socket.parent().filter(|parent| !parent.as_os_str().is_empty());
        let path = parent.unwrap_or(Path::new(".")).to_owned();
        Self { path, content: Content::Socket, mode: 0o777 }
    }

    fn rights(&self) -> Rights {
        match self.content {
            Content::Files => Rights::files(),
            Content::Socket => Rights::sockets(),
        }
    }

    /// Makes it where it is missing: a rule is about a folder, not about a path.
    pub(super) fn make(&self) {
        if let Err(error) = DirBuilder::new().recursive(true).mode(self.mode).create(&self.path) {
            // Whoever needs it says what is wrong with it, or does without.
            tracing::debug!("the folder {} cannot be made: {error}", self.path.display());
        }
    }

    /// Whether another one, or part of it, is this one: with links followed where there are any.
    pub(super) fn holds(&self, other: &Folder) -> bool {
        let suits = self.content == other.content;
        suits && resolved(&other.path).starts_with(resolved(&self.path))
    }

    /// Whether the calling thread could write to it without `CAP_DAC_OVERRIDE`.
    pub(super) fn is_own(&self) -> bool {
        let Ok(effective) = caps::effective() else { return true };
        if !effective.contains(Capability::DacOverride) {
            return true;
        }
        let Ok(path) = std::ffi::CString::new(self.path.as_os_str().as_bytes()) else { return true };
        if caps::set_effective(effective.without(Capability::DacOverride)).is_err() {
            return true;
        }
        // access(2) asks for what root could make effective; this one for what is.
        // SAFETY: the path ends with a zero.
        let refused = unsafe {
            libc::syscall(
                libc::SYS_faccessat2,
                libc::AT_FDCWD,
                path.as_ptr(),
                libc::W_OK | libc::X_OK,
                libc::AT_EACCESS,
            )
        };
        let is_refused = refused < 0 && io::Error::last_os_error().kind() == io::ErrorKind::PermissionDenied;
        if let Err(error) = caps::set_effective(effective) {
            tracing::warn!("capabilities cannot be had back: {error}");
        }
        !is_refused
    }
}

/// An absolute path without links, of which the end need not exist.
fn resolved(path: &Path) -> PathBuf {
    let path = std::path::absolute(path).unwrap_or_else(|_| path.to_owned());
    let mut missing = Vec::new();
    let mut there = path.as_path();
    loop {
        if let Ok(real) = there.canonicalize() {
            return missing.into_iter().rev().fold(real, |path: PathBuf, name| path.join(name));
        }
        match (there.components().next_back(), there.parent()) {
            (Some(last @ (Component::Normal(_) | Component::ParentDir)), Some(parent)) => {
                missing.push(last.as_os_str().to_owned());
                there = parent;
            }
            _ => return path,
        }
    }
}

/// The rules for these folders.
///
/// # Errors
/// Where the kernel has no Landlock.
pub(super) fn rules(folders: &[Folder]) -> io::Result<Ruleset> {
    let mut rules = Ruleset::new()?;
    for folder in folders {
        if let Err(error) = rules.allow(&folder.path, folder.rights()) {
            tracing::debug!("nothing can be written to {}: {error}", folder.path.display());
        }
    }
    Ok(rules)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_folder_holds_what_lies_in_it_wherever_links_lead() {
        let folder = tempfile::tempdir().unwrap();
        let (real, link) = (folder.path().join("real"), folder.path().join("link"));
        std::fs::create_dir(&real).unwrap();
        std::os::unix::fs::symlink(&real, &link).unwrap();
        let holder = Folder::of_files(&real);
        for inside in [real.clone(), real.join("a/b"), link.join("new"), link.clone()] {
            assert!(holder.holds(&Folder::of_files(&inside)), "{}", inside.display());
        }
        for outside in [folder.path().to_owned(), folder.path().join("realm"), real.join("../other")] {
            assert!(!holder.holds(&Folder::of_files(&outside)), "{}", outside.display());
        }
        assert!(!holder.holds(&Folder::of_socket(&real.join("socket"))), "no socket was foreseen there");
        assert!(Folder::of_socket(&real.join("a")).holds(&Folder::of_socket(&link.join("b"))));
    }

    #[test]
    fn a_folder_of_another_user_is_none_of_roots_own() {
        let folder = tempfile::tempdir().unwrap();
        assert!(Folder::of_files(folder.path()).is_own());
        std::os::unix::fs::chown(folder.path(), Some(65_534), Some(65_534)).unwrap();
        assert!(!Folder::of_files(folder.path()).is_own());
        assert!(caps::effective().unwrap().contains(Capability::DacOverride), "the tests run as root");
    }
}
