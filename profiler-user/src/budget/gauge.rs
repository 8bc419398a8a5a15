//! How much memory is in use.

use std::{
    fs,
    sync::{
        Arc, Mutex, PoisonError,
        atomic::{AtomicU64, Ordering},
    },
};

use super::{
    Memory,
    parts::{Maps, Parts, Resident},
};
use crate::sys::own;

/// Memory in use, bytes.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Usage {
    /// Heap and stacks.
    pub heap: u64,
    /// Parts of files: the profiler itself, once for each of its processes, and the files that names are read from.
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

/// What nobody but its owner knows the size of.
#[derive(Debug, Default)]
struct Known {
    maps: Mutex<Maps>,
    names: AtomicU64,
    kernel_names: AtomicU64,
    left_out: AtomicU64,
}

/// Reads how much memory is in use, and holds it against the budget. Clones share what they know.
#[derive(Clone, Debug)]
pub struct Gauge {
    memory: Memory,
    known: Arc<Known>,
}

impl Gauge {
    /// A gauge for this budget.
    #[must_use]
    pub fn new(memory: Memory) -> Self {
        Self { memory, known: Arc::default() }
    }

    /// Says how large the BPF maps are that there are now.
    pub fn set_maps(&self, maps: Maps) {
        *self.known.maps.lock().unwrap_or_else(PoisonError::into_inner) = maps;
    }

    /// Says how much memory names by address take now, and those of the kernel, bytes.
    pub fn set_names(&self, names: u64, kernel_names: u64) {
        self.known.names.store(names, Ordering::Relaxed);
        self.known.kernel_names.store(kernel_names, Ordering::Relaxed);
    }

    /// Counts a file whose debug information is left out, for it takes, or may take, more than there is; says how many there were.
    pub fn count_left_out(&self) -> u64 {
        self.known.left_out.fetch_add(1, Ordering::Relaxed) + 1
    }

    /// Times that debug information was left out.
    #[must_use]
    pub fn left_out(&self) -> u64 {
        self.known.left_out.load(Ordering::Relaxed)
    }

    fn maps(&self) -> Maps {
        *self.known.maps.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// What is in use now; nothing where /proc is not there.
    #[must_use]
    pub fn usage(&self) -> Usage {
        let (memory, share, maps) = (own::memory(), own::share(), self.maps());
        Usage {
            heap: memory.private + share.heap,
            files: memory.shared.saturating_sub(maps.in_place) + share.files,
            maps: maps.total(),
        }
    }

    /// What is in use now, by part. It takes a millisecond and more where much is resident: ask once a window.
    #[must_use]
    pub fn parts(&self) -> Parts {
        let Resident { anonymous, program, files, events, maps: _ } =
            Resident::of(&fs::read_to_string("/proc/self/smaps").unwrap_or_default());
        let Maps { tables, stacks, counts, messages, others, in_place: _ } = self.maps();
        // Owners estimate; they do not know what the allocator makes of it.
        let names = self.known.names.load(Ordering::Relaxed).min(anonymous);
        let kernel_names = self.known.kernel_names.load(Ordering::Relaxed).min(anonymous - names);
        let share = own::share();
        Parts {
            names,
            kernel_names,
            other_heap: anonymous - names - kernel_names,
            program,
            files,
            reader: share.heap + share.files,
            events,
            tables,
            stacks,
            counts,
            messages,
            other_maps: others,
        }
    }

    /// Bytes that are still free of four fifths of the budget: what grows between two looks has the rest.
    #[must_use]
    pub fn room(&self) -> u64 {
        (self.memory.bytes / 5 * 4).saturating_sub(self.usage().total())
    }

    /// Bytes that reading one file may take: what is left of the budget, or a twentieth of it where that is more: nothing exceeds it by
    /// more than that.
    #[must_use]
    pub fn growth(&self) -> u64 {
        self.memory.bytes.saturating_sub(self.usage().total()).max(self.memory.bytes / 20)
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_taken_shows() {
        let gauge = Gauge::new(Memory { bytes: 1 << 40 });
        let before = gauge.usage();
        assert!(before.heap > 0 && before.files > 0);
        let taken = vec![1_u8; 64 << 20];
        let after = gauge.usage();
        assert!(after.heap > before.heap + (48 << 20), "{before:?} {after:?} {}", taken[taken.len() / 2]);
        gauge.set_maps(Maps { tables: 10 << 20, ..Maps::default() });
        assert_eq!(gauge.usage().maps, 10 << 20);
        gauge.set_names(4 << 20, 2 << 20);
        // One after the other, for this process runs other tests, too.
        let (parts, usage) = (gauge.parts(), gauge.usage());
        assert_eq!([parts.names, parts.kernel_names, parts.tables], [4 << 20, 2 << 20, 10 << 20]);
        assert!(parts.other_heap > 48 << 20 && parts.program > 0, "{parts:?} {}", taken[taken.len() / 3]);
        assert!(parts.total().abs_diff(usage.total()) < 16 << 20, "{parts:?} {usage:?}");
        assert!(gauge.room() < gauge.growth() && gauge.growth() < 1 << 40);
        let spent = Gauge::new(Memory { bytes: 1 << 20 });
        assert_eq!((spent.room(), spent.growth()), (0, (1 << 20) / 20));
        assert_eq!((spent.clone().count_left_out(), spent.left_out()), (1, 1));
    }

    #[test]
    fn owners_who_estimate_too_much_do_not_make_more_of_it() {
        let gauge = Gauge::new(Memory { bytes: 1 << 40 });
        let before = gauge.parts().total();
        gauge.set_names(1 << 50, 1 << 50);
        let parts = gauge.parts();
        assert_eq!((parts.kernel_names, parts.other_heap), (0, 0));
        assert!(parts.total() < before + (1 << 30));
    }
}
