//! How the source paths in profiles, which are those of the machine that built, become paths to show and to open:
//! google/pprof's `-trim_path` and `-source_path` (its report/source.go, `trimPath`).

use std::path::{Path, PathBuf};

/// Prefixes to take off, and folders to look in.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Paths {
    /// Prefixes that are taken off.
    pub trim: Vec<String>,
    /// Folders in which what is not absolute is looked for.
    pub search: Vec<String>,
}

/// Build systems run compilers in there, which says nothing about the source.
const OF_BUILDS: [&str; 2] = ["/proc/self/cwd/./", "/proc/self/cwd/"];

impl Paths {
    /// A list as it is written in one argument, separated by colons.
    #[must_use]
    pub fn split(written: &str) -> Vec<String> {
        written.split(':').filter(|part| !part.is_empty()).map(str::to_owned).collect()
    }

    /// The path without what is to be taken off. Where no prefix is given, everything up to a folder with the name of
    /// one that is searched: `/build/7/app/src/a.c` becomes `src/a.c` where `/home/me/app` is searched.
    #[must_use]
    pub fn trimmed<'p>(&self, path: &'p str) -> &'p str {
        if self.trim.is_empty() {
            for folder in &self.search {
                let wanted = format!("/{}/", super::node::base(folder));
                if let Some((_, rest)) = path.split_once(&wanted) {
                    return rest;
                }
            }
        }
        let taken_off = |prefix: &str| {
            let rest = path.strip_prefix(prefix)?;
            if prefix.ends_with('/') { Some(rest) } else { rest.strip_prefix('/') }
        };
        let prefixes = self.trim.iter().map(String::as_str).chain(OF_BUILDS);
        prefixes.into_iter().find_map(taken_off).unwrap_or(path)
    }

    /// The same; where no folder is searched, this one is.
    #[must_use]
    pub fn or_here(&self, here: &Path) -> Paths {
        let mut paths = self.clone();
        if let Some(here) = here.to_str().filter(|_| paths.search.is_empty()) {
            paths.search.push(here.to_owned());
        }
        paths
    }

    /// Where a source file may lie, in the order to try: an absolute path as it is; others in each folder that is
    /// searched (`here` where none is given) and all folders above it.
    #[must_use]
    pub fn candidates(&self, path: &str, here: &Path) -> Vec<PathBuf> {
        let path = Path::new(self.trimmed(path));
        if path.is_absolute() {
            return vec![path.to_owned()];
        }
        let folders: Vec<&Path> =
            if self.search.is_empty() { vec![here] } else { self.search.iter().map(Path::new).collect() };
        let all = folders.iter().flat_map(|folder| folder.ancestors());
        all.filter(|folder| !folder.as_os_str().is_empty()).map(|folder| folder.join(path)).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn prefixes_are_taken_off() {
        let trimmed = |trim: &str, search: &str, path: &'static str| {
            Paths { trim: Paths::split(trim), search: Paths::split(search) }.trimmed(path).to_owned()
        };
        assert_eq!(trimmed("", "", "/proc/self/cwd/./a.c"), "a.c");
        assert_eq!(trimmed("", "", "/proc/self/cwd/a.c"), "a.c");
        assert_eq!(trimmed("/x:/build", "", "/build/a.c"), "a.c");
        assert_eq!(trimmed("/bui", "", "/build/a.c"), "/build/a.c", "whole folders only");
        assert_eq!(trimmed("", "/home/me/app", "/build/7/app/src/a.c"), "src/a.c");
        assert_eq!(trimmed("/build", "/home/me/app", "/build/7/app/src/a.c"), "7/app/src/a.c");
    }

    #[test]
    fn looks_upwards_from_every_folder() {
        let paths = Paths { trim: vec![], search: vec!["/s/t".into()] };
        let found = paths.candidates("a.c", Path::new("/here"));
        assert_eq!(found, [Path::new("/s/t/a.c"), Path::new("/s/a.c"), Path::new("/a.c")]);
        assert_eq!(paths.candidates("/x/a.c", Path::new("/here")), [Path::new("/x/a.c")]);
        let here = Paths::default().candidates("a.c", Path::new("/here"));
        assert_eq!(here, [Path::new("/here/a.c"), Path::new("/a.c")]);
    }
}
