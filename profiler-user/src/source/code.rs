//! Source files, to be shown beside what their lines cost.

use std::collections::HashMap;
use std::fs;
use std::io::Read;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use crate::report::paths::Paths;

/// A source file longer than this is none.
const LONGEST: u64 = 64 << 20;

/// Why a source file is not at hand.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("looked for {}{}; name the folder it lies in with --source-path, or take the start of its path off with --trim-path",
    looked_for.first().map(|path| path.display().to_string()).unwrap_or_default(),
    if looked_for.len() > 1 { " and in the folders above" } else { "" })]
pub struct NoCode {
    /// The paths that were tried.
    pub looked_for: Vec<PathBuf>,
}

/// Reads source files, each once.
#[derive(Debug)]
pub struct Code {
    paths: Paths,
    here: PathBuf,
    known: HashMap<String, Result<Arc<[String]>, NoCode>>,
}

impl Code {
    /// Looks where `paths` say; relative ones without a folder to search are looked for from `here` upwards.
    #[must_use]
    pub fn new(paths: Paths, here: &Path) -> Code {
        Code { paths, here: here.to_owned(), known: HashMap::new() }
    }

    /// The lines of a file, by its path in the profile.
    ///
    /// # Errors
    /// It is nowhere, or cannot be read.
    pub fn lines(&mut self, path: &str) -> Result<Arc<[String]>, NoCode> {
        if let Some(known) = self.known.get(path) {
            return known.clone();
        }
        let looked_for = self.paths.candidates(path, &self.here);
        let found = looked_for.iter().find_map(|path| read(path)).ok_or(NoCode { looked_for });
        self.known.insert(path.to_owned(), found.clone());
        found
    }
}

/// `None` for anything but a plain file: paths come from the profile, and a device or pipe would never end.
fn read(path: &Path) -> Option<Arc<[String]>> {
    if !fs::metadata(path).ok()?.is_file() {
        return None;
    }
    let mut bytes = Vec::new();
    fs::File::open(path).ok()?.take(LONGEST).read_to_end(&mut bytes).ok()?;
    Some(String::from_utf8_lossy(&bytes).lines().map(str::to_owned).collect())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn finds_files_and_says_where_it_looked() {
        let folder = tempfile::tempdir().unwrap();
        fs::create_dir(folder.path().join("deep")).unwrap();
        fs::write(folder.path().join("a.c"), "one\ntwo\n").unwrap();
        let search = vec![folder.path().join("deep").to_str().unwrap().to_owned()];
        let mut code = Code::new(Paths { trim: vec![], search }, Path::new("/"));
        assert_eq!(&*code.lines("a.c").unwrap(), ["one", "two"]);
        let error = code.lines("/nowhere/b.c").unwrap_err().to_string();
        assert!(error.starts_with("looked for /nowhere/b.c;"), "{error}");
        assert!(code.lines("b.c").unwrap_err().to_string().contains("deep/b.c and in the folders above"));
        assert!(Code::new(Paths::default(), Path::new("/")).lines("/dev/zero").is_err(), "no device");
    }
}
