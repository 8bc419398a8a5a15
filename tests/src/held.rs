//! What a process holds of memory, files and BPF objects, to see that it gives them back.

use std::collections::BTreeMap;
use std::time::{Duration, Instant};

use crate::{bpf::BpfObjects, family};

/// What an agent holds.
#[derive(Debug, Clone, Copy)]
pub struct Held {
    /// Memory of its own, bytes, and of its children: neither files nor what it shares.
    pub memory: u64,
    /// Memory of the BPF maps that it has open, bytes. The kernel counts the entries of a table that allocates them
    /// one by one since 6.4; before, this is a constant.
    pub maps: u64,
    /// Open files, those of its children too.
    pub files: u64,
    /// BPF maps of the host.
    pub objects: u64,
}

impl Held {
    /// What the process with this pid holds now.
    pub fn by(pid: u32) -> Held {
        let status = std::fs::read_to_string(format!("/proc/{pid}/status")).unwrap();
        let (mut memory, mut maps, mut files) = (number_after(&status, "RssAnon:"), 0, 0);
        let children = family::of(pid).split_off(1);
        for child in &children {
            // One that reads files may have ended meanwhile.
            let status = std::fs::read_to_string(format!("/proc/{child}/status")).unwrap_or_default();
            memory += if status.contains("RssAnon:") { number_after(&status, "RssAnon:") } else { 0 };
            files += std::fs::read_dir(format!("/proc/{child}/fd")).map_or(0, |files| files.count() as u64);
        }
        for file in std::fs::read_dir(format!("/proc/{pid}/fd")).unwrap().flatten() {
            files += 1;
            let Ok(info) =
                std::fs::read_to_string(format!("/proc/{pid}/fdinfo/{}", file.file_name().display()))
            else {
                continue;
            };
            if info.contains("map_type:") {
                maps += number_after(&info, "memlock:");
            }
        }
        let objects = BpfObjects::now().maps.len() as u64;
        Held { memory: 1024 * memory, maps, files, objects }
    }

    /// Polls what the agent holds until it is `enough`, for ten windows at most, and gives the least of it.
    pub fn settled(pid: u32, enough: impl Fn(&Held) -> bool) -> Held {
        let deadline = Instant::now() + Duration::from_secs(20);
        let mut held = Held::by(pid);
        while !enough(&held) && Instant::now() < deadline {
            std::thread::sleep(Duration::from_millis(250));
            let now = Held::by(pid);
            held = Held {
                memory: held.memory.min(now.memory),
                maps: held.maps.min(now.maps),
                files: held.files.min(now.files),
                objects: held.objects.min(now.objects),
            };
        }
        held
    }

    /// Whether it is no more than `before`, to what an allocator keeps back, and to so many files of other programs of the
    /// host, which may have run meanwhile: two for each that they map.
    pub fn is_back_at(&self, before: &Held, others: u64) -> bool {
        // Of a thousand processes: less than 64 bytes each in the kernel. The kernel's symbols, some 12 MiB, may be in
        // memory at one time and not at the other.
        self.memory <= before.memory + 16 * 1024 * 1024
            && self.maps <= before.maps + 64 * 1024
            && self.files <= before.files + others
            && self.objects <= before.objects
    }
}

/// Most memory that a process and each of its children had resident so far, and its BPF maps that are not part of that, bytes:
/// those that are read by system calls. Pages of the program's own file and its libraries' count once, for its children were
/// forked from it and have the same ones.
pub fn most_memory(pid: u32) -> u64 {
    let number = |text: &str, key: &str| -> u64 {
        let digits = text.lines().find_map(|line| line.strip_prefix(key)).unwrap_or_default();
        digits.trim().trim_end_matches(" kB").trim().parse().unwrap_or(0)
    };
    // By id, for a map may have several descriptors. Hashes and arrays per CPU (enum bpf_map_type).
    let mut maps = BTreeMap::new();
    for file in std::fs::read_dir(format!("/proc/{pid}/fdinfo")).into_iter().flatten().flatten() {
        let info = std::fs::read_to_string(file.path()).unwrap_or_default();
        if [1, 6, 9].contains(&number(&info, "map_type:")) {
            maps.insert(number(&info, "map_id:"), number(&info, "memlock:"));
        }
    }
    // Before 6.2 each thread keeps up to 64 pages to itself before it adds them to the process's number; walking all pages
    // tells what is there now.
    let resident = family::of(pid).into_iter().map(|pid| {
        let status = std::fs::read_to_string(format!("/proc/{pid}/status")).unwrap_or_default();
        let walked = std::fs::read_to_string(format!("/proc/{pid}/smaps_rollup")).unwrap_or_default();
        number(&status, "VmHWM:").max(number(&walked, "Rss:"))
    });
    let again: u64 = family::of(pid).into_iter().skip(1).map(program_kib).sum();
    1024 * resident.sum::<u64>().saturating_sub(again) + maps.values().sum::<u64>()
}

/// Pages of its program and libraries that a process has resident, KiB: those of files that are mapped for itself alone, but for
/// those that it has written to. Files that it reads are mapped shared.
fn program_kib(pid: u32) -> u64 {
    let smaps = std::fs::read_to_string(format!("/proc/{pid}/smaps")).unwrap_or_default();
    let (mut is_program, mut pages) = (false, 0);
    for line in smaps.lines() {
        let mut words = line.split_ascii_whitespace();
        match (words.next(), words.next().and_then(|word| word.parse::<u64>().ok())) {
            (Some("Rss:"), Some(kib)) if is_program => pages += kib,
            (Some("Anonymous:"), Some(kib)) if is_program => pages -= kib,
            (Some(key), _) if !key.ends_with(':') => {
                is_program = line.split_ascii_whitespace().nth(1).is_some_and(|mode| mode.ends_with('p'))
                    && line.split_ascii_whitespace().nth(5).is_some_and(|path| path.starts_with('/'));
            }
            _ => {}
        }
    }
    pages
}

fn number_after(text: &str, key: &str) -> u64 {
    let after = text.split_once(key).unwrap_or_else(|| panic!("no {key} in {text}")).1;
    after.split_whitespace().next().and_then(|n| n.parse().ok()).unwrap_or_else(|| panic!("{key} in {text}"))
}
