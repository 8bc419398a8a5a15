//! The kernel's BPF programs and maps by id, to see that none is left behind.

use std::collections::BTreeSet;
use std::time::{Duration, Instant};

/// bpf(2) commands, from linux/bpf.h.
const BPF_PROG_GET_NEXT_ID: libc::c_long = 11;
const BPF_MAP_GET_NEXT_ID: libc::c_long = 12;

/// The part of `union bpf_attr` that the two commands use.
#[repr(C)]
#[derive(Default)]
struct NextId {
    start_id: u32,
    next_id: u32,
    open_flags: u32,
}

/// Ids of all BPF objects of the host.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct BpfObjects {
    /// Program ids.
    pub programs: BTreeSet<u32>,
    /// Map ids.
    pub maps: BTreeSet<u32>,
}

impl BpfObjects {
    /// What is loaded now. Needs root.
    pub fn now() -> BpfObjects {
        BpfObjects { programs: ids(BPF_PROG_GET_NEXT_ID), maps: ids(BPF_MAP_GET_NEXT_ID) }
    }

    /// What is in `self` and not in `before`.
    pub fn since(&self, before: &BpfObjects) -> BpfObjects {
        BpfObjects { programs: &self.programs - &before.programs, maps: &self.maps - &before.maps }
    }

    /// Whether there is neither a program nor a map.
    pub fn is_empty(&self) -> bool {
        self.programs.is_empty() && self.maps.is_empty()
    }

    /// Asserts that all of these objects go away. The kernel frees them some time after the last descriptor is closed,
    /// so this polls, for ten seconds at most.
    pub fn assert_gone(&self) {
        let deadline = Instant::now() + Duration::from_secs(10);
        loop {
            let now = BpfObjects::now();
            let left = BpfObjects { programs: &self.programs & &now.programs, maps: &self.maps & &now.maps };
            if left.is_empty() {
                return;
            }
            assert!(Instant::now() < deadline, "BPF objects left behind: {left:?}");
            std::thread::sleep(Duration::from_millis(100));
        }
    }
}

fn ids(command: libc::c_long) -> BTreeSet<u32> {
    let mut found = BTreeSet::new();
    let mut attr = NextId::default();
    loop {
        // SAFETY: `attr` is a live, zero-padded prefix of union bpf_attr of the length that is passed; the kernel
        // writes next_id only.
        let result = unsafe { libc::syscall(libc::SYS_bpf, command, &raw mut attr, size_of::<NextId>()) };
        if result != 0 {
            let error = std::io::Error::last_os_error();
            assert!(error.raw_os_error() == Some(libc::ENOENT), "cannot list BPF objects: {error}");
            return found;
        }
        found.insert(attr.next_id);
        attr.start_id = attr.next_id;
    }
}
