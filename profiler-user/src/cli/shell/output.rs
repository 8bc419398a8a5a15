//! Where a report goes: to the terminal, into a file, or to a program that shows it.

use std::fs::{self, OpenOptions};
use std::io::Write;
use std::os::unix::fs::OpenOptionsExt;
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::thread;
use std::time::Duration;

use anyhow::{Context, anyhow};

use crate::cli::Failure;

/// Programs that show a file to people, the first that is there.
const BROWSERS: [&str; 6] =
    ["chrome", "google-chrome", "chromium", "firefox", "sensible-browser", "xdg-open"];

/// How long a program may take to say that it cannot show anything.
const PATIENCE: Duration = Duration::from_millis(700);

/// Files that programs show; they go with the session.
#[derive(Debug, Default)]
pub(super) struct Shown {
    files: Vec<PathBuf>,
}

impl Drop for Shown {
    fn drop(&mut self) {
        for file in &self.files {
            // It may be gone already.
            let _ = fs::remove_file(file);
        }
    }
}

impl Shown {
    /// Has one of the programs show a report; a browser where none is named.
    ///
    /// # Errors
    /// None of them is there, or can show anything.
    pub(super) fn show(&mut self, bytes: &[u8], ending: &str, programs: &[&str]) -> Result<(), Failure> {
        let (path, mut file) =
            fresh(&std::env::temp_dir(), &format!("profiler-{}-", std::process::id()), ending)
                .context("a temporary file cannot be made")
                .map_err(Failure::WhileRunning)?;
        self.files.push(path.clone());
        file.write_all(bytes).context("a temporary file cannot be written").map_err(Failure::WhileRunning)?;
        let own = std::env::var("BROWSER").ok().filter(|browser| !browser.is_empty());
        let candidates: Vec<&str> = if programs.is_empty() {
            own.as_deref().into_iter().chain(BROWSERS).collect()
        } else {
            programs.to_vec()
        };
        for program in &candidates {
            if opened(program, &path) {
                println!("{} shown by {program}", path.display());
                return Ok(());
            }
        }
        let names = candidates.join(", ");
        let hint =
            if programs.is_empty() { "set BROWSER to one that works here, or " } else { "install one, or " };
        Err(Failure::WhileRunning(anyhow!(
            "none of {names} can show it here: {hint}write it to a file, such as `svg > graph.svg` or `flamegraph > flame.html`"
        )))
    }
}

/// True where the program runs, and has not failed at once.
fn opened(program: &str, path: &Path) -> bool {
    let mut words = program.split_whitespace();
    let Some(name) = words.next() else { return false };
    let started = Command::new(name)
        .args(words)
        .arg(path)
        .stdin(Stdio::null())
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        // Ctrl-C in the terminal is not for it.
        .process_group(0)
        .spawn();
    let Ok(mut child) = started else { return false };
    let (done, ended) = std::sync::mpsc::sync_channel(1);
    let waiting = thread::Builder::new().name("viewer".to_owned()).spawn(move || {
        let failed = child.wait().is_ok_and(|status| !status.success());
        // Nobody may wait for it any more.
        let _ = done.send(failed);
    });
    waiting.is_ok() && !ended.recv_timeout(PATIENCE).unwrap_or(false)
}

/// Writes what is nothing for a terminal to a new file in the current folder, and says its name.
///
/// # Errors
/// The folder cannot be written to.
pub(super) fn beside(bytes: &[u8], ending: &str) -> Result<PathBuf, Failure> {
    let written = fresh(Path::new(""), "profile", ending).and_then(|(path, mut file)| {
        file.write_all(bytes)?;
        Ok(path)
    });
    written
        .context("no file can be written in this folder; name one with `> file`")
        .map_err(Failure::WhileRunning)
}

/// A new file with a number in its name. A file or link that is there already is never written to.
fn fresh(folder: &Path, start: &str, ending: &str) -> std::io::Result<(PathBuf, fs::File)> {
    for number in 1..1000 {
        let path = folder.join(format!("{start}{number:03}.{ending}"));
        match OpenOptions::new().write(true).create_new(true).mode(0o600).open(&path) {
            Err(error) if error.kind() == std::io::ErrorKind::AlreadyExists => {}
            opened => return opened.map(|file| (path, file)),
        }
    }
    Err(std::io::Error::other("there are a thousand already"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn files_are_new_and_go_with_the_session() {
        let folder = tempfile::tempdir().unwrap();
        let (first, _) = fresh(folder.path(), "profile", "svg").unwrap();
        let (second, _) = fresh(folder.path(), "profile", "svg").unwrap();
        assert!(first.ends_with("profile001.svg") && second.ends_with("profile002.svg"));
        drop(Shown { files: vec![first.clone()] });
        assert!(!first.exists() && second.exists());
    }

    #[test]
    fn a_program_that_is_missing_or_fails_shows_nothing() {
        assert!(!opened("/nonexistent/browser", Path::new("/dev/null")));
        assert!(!opened("false", Path::new("/dev/null")));
        assert!(opened("true", Path::new("/dev/null")));
        assert!(!opened("", Path::new("/dev/null")));
    }
}
