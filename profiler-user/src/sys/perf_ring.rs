//! The ring buffer that a perf event writes its records to (perf_event_open(2), "MMAP layout").

use std::{
    io,
    os::fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd},
    ptr::NonNull,
    sync::atomic::{AtomicU64, Ordering},
};

/// Where `data_head` lies in the first page (`struct perf_event_mmap_page`); `data_tail` is behind it.
const DATA_HEAD: usize = 1024;
const DATA_TAIL: usize = 1032;
/// Bytes of `struct perf_event_header`: u32 type, u16 misc, u16 size.
const HEADER: usize = 8;

/// A perf event with its ring. Both end when it is dropped.
#[derive(Debug)]
pub struct PerfRing {
    event: OwnedFd,
    base: NonNull<u8>,
    page: usize,
    /// Bytes of data, a power of two.
    data: usize,
}

// SAFETY: the mapping belongs to this value alone, and nothing of it is bound to a thread.
unsafe impl Send for PerfRing {}

impl PerfRing {
    /// Maps a ring of this many bytes, a power of two and at least a page. The kernel stops writing when it is full, and
    /// tells how many records it dropped once there is room again.
    ///
    /// # Errors
    /// `EINVAL` for another size, `EPERM` above `perf_event_mlock_kb` per CPU without `CAP_IPC_LOCK`, `ENOMEM`.
    pub fn map(event: OwnedFd, data: usize) -> io::Result<Self> {
        // SAFETY: sysconf touches no memory of ours.
        let page = usize::try_from(unsafe { libc::sysconf(libc::_SC_PAGESIZE) }).map_err(io::Error::other)?;
        if !data.is_power_of_two() || data < page {
            return Err(io::ErrorKind::InvalidInput.into());
        }
        // Writable, so that the kernel honours `data_tail` instead of overwriting what was not read.
        // SAFETY: a fresh mapping at a place that the kernel chooses; the kernel checks the length.
        let base = unsafe {
            libc::mmap(
                std::ptr::null_mut(),
                page + data,
                libc::PROT_READ | libc::PROT_WRITE,
                libc::MAP_SHARED,
                event.as_raw_fd(),
                0,
            )
        };
        if base == libc::MAP_FAILED {
            return Err(io::Error::last_os_error());
        }
        let base = NonNull::new(base.cast()).ok_or_else(|| io::Error::other("mapped at zero"))?;
        Ok(Self { event, base, page, data })
    }

    /// Appends the bytes of all whole records that are there at this moment to `to`, frees their room, and calls `each`
    /// with the length of each. It reads at most one ring's worth, however fast the kernel goes on writing.
    ///
    /// # Errors
    /// `InvalidData` for a record that is none: the rest of what was there is skipped.
    pub fn read(&mut self, to: &mut Vec<u8>, mut each: impl FnMut(usize)) -> io::Result<()> {
        // Acquire pairs with the kernel's barrier before it moves the head: the records are complete.
        let head = self.position(DATA_HEAD).load(Ordering::Acquire);
        let mut tail = self.position(DATA_TAIL).load(Ordering::Relaxed);
        let mut result = Ok(());
        while tail != head {
            let left = usize::try_from(head.wrapping_sub(tail)).unwrap_or(usize::MAX);
            let start = to.len();
            let size = (HEADER..=self.data).contains(&left).then(|| {
                self.copy(tail, HEADER, to);
                to.get(start + 6..start + HEADER).map_or(0, |size| {
                    size.iter().rev().fold(0, |number, &byte| number << 8 | usize::from(byte))
                })
            });
            let Some(size) = size.filter(|size| (HEADER..=left).contains(size)) else {
                to.truncate(start);
                tail = head;
                result =
                    Err(io::Error::new(io::ErrorKind::InvalidData, "a perf record has an impossible size"));
                break;
            };
            self.copy(tail.wrapping_add(HEADER as u64), size - HEADER, to);
            tail = tail.wrapping_add(size as u64);
            each(size);
        }
        // Release pairs with the kernel's barrier after it reads the tail: it overwrites nothing that is still read.
        self.position(DATA_TAIL).store(tail, Ordering::Release);
        result
    }

    /// One of the two positions in the first page.
    fn position(&self, offset: usize) -> &AtomicU64 {
        // SAFETY: both offsets lie in the first page, which stays mapped as long as `self`.
        let position = unsafe { self.base.add(offset) };
        // SAFETY: the offsets are multiples of eight in an aligned page; the kernel accesses them as whole words, too.
        unsafe { AtomicU64::from_ptr(position.as_ptr().cast()) }
    }

    /// Appends `len` bytes, not more than a ring's worth, from a position of the stream.
    fn copy(&self, position: u64, len: usize, to: &mut Vec<u8>) {
        let start = (position & (self.data as u64 - 1)) as usize;
        let first = len.min(self.data - start);
        for (start, len) in [(start, first), (0, len - first)] {
            // SAFETY: `start` is below `data`, which bytes follow the first page of the mapping.
            let source = unsafe { self.base.add(self.page + start) };
            // SAFETY: `start + len` is at most `data`. Between tail and head the kernel writes nothing until the tail is
            // moved, which needs `&mut self`, so that the bytes do not change while they are borrowed.
            to.extend_from_slice(unsafe { std::slice::from_raw_parts(source.as_ptr(), len) });
        }
    }
}

impl AsFd for PerfRing {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.event.as_fd()
    }
}

impl Drop for PerfRing {
    fn drop(&mut self) {
        // SAFETY: the mapping was made with this length and nothing borrowed from it outlives `self`.
        let _ = unsafe { libc::munmap(self.base.as_ptr().cast(), self.page + self.data) };
    }
}

/// Tests that write many records, and tests that lose none, run one after the other: they share the CPUs' rings.
#[cfg(test)]
pub(crate) fn quiet() -> std::sync::MutexGuard<'static, ()> {
    static QUIET: std::sync::Mutex<()> = std::sync::Mutex::new(());
    QUIET.lock().unwrap_or_else(std::sync::PoisonError::into_inner)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::sys::perf::{self, EventSpec, Scope};

    const SIZE: usize = 4096;

    fn ring() -> PerfRing {
        let event = perf::open(&EventSpec::life(SIZE as u32 / 2), Scope::ThisThread).unwrap();
        PerfRing::map(event, SIZE).unwrap()
    }

    /// Each renaming of a thread writes one record.
    fn rename(count: usize) {
        for _ in 0..count {
            // SAFETY: the name is a valid C string.
            assert_eq!(unsafe { libc::prctl(libc::PR_SET_NAME, c"renamed".as_ptr()) }, 0);
        }
    }

    #[test]
    fn records_come_whole_through_many_rounds_of_the_ring() {
        let _quiet = quiet();
        let mut ring = ring();
        for _ in 0..100 {
            rename(37);
            let (mut bytes, mut sizes) = (Vec::new(), Vec::new());
            ring.read(&mut bytes, |size| sizes.push(size)).unwrap();
            assert_eq!(sizes.len(), 37);
            assert_eq!(sizes.iter().sum::<usize>(), bytes.len());
            let mut rest = bytes.as_slice();
            for size in sizes {
                let (record, tail) = rest.split_at(size);
                assert_eq!(record[..4], 3_u32.to_ne_bytes(), "PERF_RECORD_COMM");
                assert_eq!(&record[16..23], b"renamed");
                rest = tail;
            }
        }
    }

    #[test]
    fn a_full_ring_drops_and_tells() {
        let _quiet = quiet();
        let mut ring = ring();
        rename(1000);
        let mut count = 0;
        ring.read(&mut Vec::new(), |_| count += 1).unwrap();
        assert!((50..1000).contains(&count), "{count}");
        rename(1);
        let mut bytes = Vec::new();
        ring.read(&mut bytes, |_| {}).unwrap();
        assert_eq!(bytes[..4], 2_u32.to_ne_bytes(), "PERF_RECORD_LOST");
        assert_eq!(bytes[16..24], (1000 - count as u64).to_ne_bytes());
    }

    #[test]
    fn odd_sizes_are_refused() {
        for size in [0, 1, 3 * 4096] {
            let event = perf::open(&EventSpec::life(1), Scope::ThisThread).unwrap();
            assert_eq!(PerfRing::map(event, size).unwrap_err().kind(), io::ErrorKind::InvalidInput);
        }
    }
}
