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
    fn agent_paths() {
        assert!(is_agent_path(Path::new("2026-01-31/235959Z/nginx-17.cpu.pb.gz")));
        assert!(is_agent_path(Path::new("2026-01-31/235959Z/a-b-17.1.cpu.pb.gz")));
        assert!(!is_agent_path(Path::new("2026-01-31/235959Z/nginx-17.cpu.pb.gz.tmp")));
        assert!(!is_agent_path(Path::new("2026-01-31/235959Z/.nginx-17.cpu.pb.gz")));
        assert!(!is_agent_path(Path::new("235959Z/nginx-17.cpu.pb.gz")));
    }
}
