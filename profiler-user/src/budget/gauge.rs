//! How much memory is in use, by part.

use std::{
    fs,
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
};

use super::Memory;

/// Memory in use, bytes.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Usage {
    /// Heap and stacks.
    pub heap: u64,
    /// Parts of files: the profiler itself, and the files that names are read from.
    pub files: u64,
    /// BPF maps.
    pub maps: u64,
}

impl Usage {
    /// All of it.
    #[must_use]
    pub fn total(self) -> u64 {
        self.heap + self.files + self.maps
    }
}

/// Bytes of the BPF maps.
#[derive(Debug, Default)]
struct Maps {
    /// All of them.
    all: AtomicU64,
    /// What the resident set has of them: maps that are read in place.
    in_place: AtomicU64,
}

/// Reads how much memory is in use, and holds it against the budget. Clones share what they know.
#[derive(Clone, Debug)]
pub struct Gauge {
    memory: Memory,
    page_bytes: u64,
    maps: Arc<Maps>,
}

impl Gauge {
    /// A gauge for this budget.
    #[must_use]
    pub fn new(memory: Memory) -> Self {
        // SAFETY: numbers only.
        let page = unsafe { libc::sysconf(libc::_SC_PAGESIZE) };
        Self { memory, page_bytes: u64::try_from(page).unwrap_or(4096), maps: Arc::default() }
    }

    /// Says how large the BPF maps are: `all` bytes, of which `in_place` are mapped into this process.
    pub fn set_maps(&self, all: u64, in_place: u64) {
        self.maps.all.store(all, Ordering::Relaxed);
        self.maps.in_place.store(in_place, Ordering::Relaxed);
    }

    /// What is in use now; nothing where /proc is not there.
    #[must_use]
    pub fn usage(&self) -> Usage {
        let statm = fs::read_to_string("/proc/self/statm").unwrap_or_default();
        let (resident, shared) = resident_and_shared(&statm);
        let in_place = self.maps.in_place.load(Ordering::Relaxed);
        Usage {
            heap: resident.saturating_sub(shared) * self.page_bytes,
            files: (shared * self.page_bytes).saturating_sub(in_place),
            maps: self.maps.all.load(Ordering::Relaxed),
        }
    }

    /// Bytes that are still free of four fifths of the budget: what grows between two looks has the rest.
    #[must_use]
    pub fn room(&self) -> u64 {
        (self.memory.bytes / 5 * 4).saturating_sub(self.usage().total())
    }

    /// Whether nearly all of the budget is used.
    #[must_use]
    pub fn is_short(&self) -> bool {
        self.usage().total() > self.memory.bytes / 20 * 19
    }

    /// The budget.
    #[must_use]
    pub fn memory(&self) -> Memory {
        self.memory
    }
}

/// Pages of /proc/PID/statm: its second and third number. What has a file behind it, and shared memory, is "shared".
fn resident_and_shared(statm: &str) -> (u64, u64) {
    let mut numbers = statm.split_ascii_whitespace().skip(1).map(|number| number.parse().unwrap_or(0));
    (numbers.next().unwrap_or(0), numbers.next().unwrap_or(0))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn statm_is_read() {
        assert_eq!(resident_and_shared("5000 3000 1000 2 0 700 0\n"), (3000, 1000));
        assert_eq!(resident_and_shared(""), (0, 0));
    }

    #[test]
    fn what_is_taken_shows() {
        let gauge = Gauge::new(Memory { bytes: 1 << 40 });
        let before = gauge.usage();
        assert!(before.heap > 0 && before.files > 0);
        let taken = vec![1_u8; 64 << 20];
        let after = gauge.usage();
        assert!(after.heap > before.heap + (48 << 20), "{before:?} {after:?} {}", taken[taken.len() / 2]);
        gauge.set_maps(10 << 20, 0);
        assert_eq!(gauge.usage().maps, 10 << 20);
        assert!(gauge.room() < 1 << 40);
        assert_eq!(Gauge::new(Memory { bytes: 1 << 20 }).room(), 0);
    }
}
