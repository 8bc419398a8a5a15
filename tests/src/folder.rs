//! Folders of profiles.

use std::path::{Path, PathBuf};

/// All files in a folder and below, sorted. Fails when the folder cannot be read; files that vanish meanwhile are not
/// an error, as the agent writes and renames.
pub fn files(folder: &Path) -> Vec<PathBuf> {
    let mut found = Vec::new();
    let entries =
        std::fs::read_dir(folder).unwrap_or_else(|e| panic!("cannot read {}: {e}", folder.display()));
    for entry in entries.flatten() {
        match entry.file_type() {
            Ok(kind) if kind.is_dir() => found.extend(files(&entry.path())),
            Ok(_) => found.push(entry.path()),
            Err(_) => {}
        }
    }
    found.sort();
    found
}

/// The profiles below a folder: files whose names end in `.pb.gz`, sorted.
pub fn profiles(folder: &Path) -> Vec<PathBuf> {
    files(folder).into_iter().filter(|file| file.to_string_lossy().ends_with(".pb.gz")).collect()
}

/// An agent's profiles of one process, oldest first; none where the folder is not there yet. A profile of a second that
/// has another one of that process already has a number in its name.
pub fn profiles_of(folder: &Path, pid: u32) -> Vec<PathBuf> {
    let all = if folder.exists() { profiles(folder) } else { Vec::new() };
    let mut found: Vec<PathBuf> = all.into_iter().filter(|file| number_of(file, pid).is_some()).collect();
    found.sort_by_cached_key(|file| (file.parent().map(Path::to_owned), number_of(file, pid)));
    found
}

/// Which one it is of the profiles of this process that began in one second: the first has no number in its name.
fn number_of(file: &Path, pid: u32) -> Option<u32> {
    let stem = file.file_name()?.to_str()?.strip_suffix(".cpu.pb.gz")?;
    let (_, last) = stem.rsplit_once('-')?;
    match last.split_once('.') {
        Some((of, number)) => (of.parse() == Ok(pid)).then(|| number.parse().ok())?,
        None => (last.parse() == Ok(pid)).then_some(1),
    }
}

/// Whether a path below the agent's folder is `<YYYY-MM-DD>/<HHMMSS>Z/<process>-<pid>.cpu.pb.gz`, where a pid that was
/// reused within a window has a suffix.
pub fn is_agent_path(path: &Path) -> bool {
    let parts: Vec<&str> = path.iter().filter_map(|part| part.to_str()).collect();
    let [date, time, file] = parts[..] else { return false };
    let matches = |text: &str, shape: &str| {
        text.len() == shape.len()
            && text
                .bytes()
                .zip(shape.bytes())
                .all(|(c, s)| if s == b'0' { c.is_ascii_digit() } else { c == s })
    };
    let Some((process, pid)) = file.strip_suffix(".cpu.pb.gz").and_then(|name| name.split_once('-')) else {
        return false;
    };
    matches(date, "0000-00-00")
        && matches(time, "000000Z")
        && !process.is_empty()
        && !process.starts_with('.')
        && pid.contains(|c: char| c.is_ascii_digit())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn profiles_of_one_second_are_in_their_order() {
        let folder = tempfile::tempdir().unwrap();
        let folder = folder.path();
        assert!(profiles_of(&folder.join("nowhere"), 17).is_empty());
        for name in ["a-17.2", "a-17.10", "a-17", "b-117", "b-1.17"] {
            std::fs::write(folder.join(format!("{name}.cpu.pb.gz")), "").unwrap();
        }
        let names: Vec<_> = profiles_of(folder, 17)
            .iter()
            .map(|file| file.file_name().unwrap().to_str().unwrap().to_owned())
            .collect();
        assert_eq!(names, ["a-17.cpu.pb.gz", "a-17.2.cpu.pb.gz", "a-17.10.cpu.pb.gz"]);
    }

    #[test]
    fn agent_paths() {
        assert!(is_agent_path(Path::new("2026-01-31/235959Z/nginx-17.cpu.pb.gz")));
        assert!(is_agent_path(Path::new("2026-01-31/235959Z/a-b-17.1.cpu.pb.gz")));
        assert!(!is_agent_path(Path::new("2026-01-31/235959Z/nginx-17.cpu.pb.gz.tmp")));
        assert!(!is_agent_path(Path::new("2026-01-31/235959Z/.nginx-17.cpu.pb.gz")));
        assert!(!is_agent_path(Path::new("235959Z/nginx-17.cpu.pb.gz")));
    }
}
