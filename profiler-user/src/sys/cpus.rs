//! Which CPUs the kernel has.

use std::{fs, io, sync::OnceLock};

/// CPUs that are running now: where perf events can be opened.
///
/// # Errors
/// When sysfs is not mounted or says something unexpected.
pub fn online() -> io::Result<Vec<u32>> {
    read("/sys/devices/system/cpu/online")
}

/// CPUs that may ever run on this machine: how many values a per-CPU map entry has.
///
/// # Errors
/// As for [`online`].
pub fn possible() -> io::Result<&'static [u32]> {
    // The kernel never changes it, and maps are read at times when there may be no descriptor left to open a file.
    static POSSIBLE: OnceLock<Vec<u32>> = OnceLock::new();
    if let Some(known) = POSSIBLE.get() {
        return Ok(known);
    }
    let read = read("/sys/devices/system/cpu/possible")?;
    Ok(POSSIBLE.get_or_init(|| read))
}

/// CPUs that are plugged in now, online or not.
///
/// # Errors
/// As for [`online`].
pub fn present() -> io::Result<Vec<u32>> {
    read("/sys/devices/system/cpu/present")
}

fn read(path: &str) -> io::Result<Vec<u32>> {
    let text = fs::read_to_string(path)?;
    parse(text.trim())
        .ok_or_else(|| io::Error::new(io::ErrorKind::InvalidData, format!("{path} says {:?}", text.trim())))
}

/// Parses the kernel's list format, such as `0-3,8`. `None` for anything else, and for an empty list.
fn parse(list: &str) -> Option<Vec<u32>> {
    let mut cpus = Vec::new();
    for range in list.split(',') {
        let (first, last) = range.split_once('-').unwrap_or((range, range));
        cpus.extend(first.parse::<u32>().ok()?..=last.parse::<u32>().ok()?);
    }
    (!cpus.is_empty()).then_some(cpus)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ranges_and_single_cpus_are_listed() {
        assert_eq!(parse("0"), Some(vec![0]));
        assert_eq!(parse("0-2,5,7-8"), Some(vec![0, 1, 2, 5, 7, 8]));
        for bad in ["", "a", "0-", "-1", "0,,1", "3-1"] {
            assert_eq!(parse(bad), None, "{bad:?}");
        }
    }

    #[test]
    fn every_online_cpu_is_possible() {
        let possible = possible().unwrap();
        assert!(online().unwrap().iter().all(|cpu| possible.contains(cpu)));
    }
}
