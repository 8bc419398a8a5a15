//! Reading and writing BPF maps through their descriptor, one entry at a time or in batches.
//!
//! The kernel takes the sizes of keys and values from the map, not from the caller. [`Map`] therefore asks the kernel for
//! them once and holds every buffer against them, so that its methods are safe whatever descriptor they are used on,
//! including those of maps that aya created.

use std::io;
use std::os::fd::{AsRawFd, BorrowedFd};

use super::bpf::{Command, bpf};
use super::{check, cpus};

/// The start of the kernel's `struct bpf_map_info`; the kernel fills as much as it is given room for.
#[repr(C)]
#[derive(Default)]
struct MapInfo {
    map_type: u32,
    id: u32,
    key_size: u32,
    value_size: u32,
    max_entries: u32,
    map_flags: u32,
}

/// The `BPF_OBJ_GET_INFO_BY_FD` part of `union bpf_attr`.
#[repr(C)]
struct GetInfo {
    bpf_fd: u32,
    info_len: u32,
    info: u64,
}

/// The `BPF_MAP_*_ELEM` part of `union bpf_attr`.
#[repr(C)]
struct Element {
    map_fd: u32,
    padding: u32,
    key: u64,
    value: u64,
    flags: u64,
}

/// The `BPF_MAP_*_BATCH` part of `union bpf_attr`.
#[repr(C)]
struct Batch {
    in_batch: u64,
    out_batch: u64,
    keys: u64,
    values: u64,
    count: u32,
    map_fd: u32,
    elem_flags: u64,
    flags: u64,
}

/// Bytes that a map takes, as the kernel accounts for them (`memlock` in the descriptor's fdinfo); 0 where it does not say.
#[must_use]
pub fn accounted_bytes(fd: BorrowedFd<'_>) -> u64 {
    accounted(&std::fs::read_to_string(format!("/proc/self/fdinfo/{}", fd.as_raw_fd())).unwrap_or_default())
}

/// The same, from the descriptor's fdinfo.
fn accounted(info: &str) -> u64 {
    /// `BPF_MAP_TYPE_RINGBUF`.
    const RINGBUF: u64 = 27;
    let number = |key: &str| -> u64 {
        let value = info.lines().find_map(|line| line.strip_prefix(key));
        value.and_then(|value| value.trim().parse().ok()).unwrap_or(0)
    };
    let bytes = number("memlock:");
    // From 5.11 to 6.3 kernels multiply entries by their sizes, and the "entries" of a ring are bytes without any.
    if number("map_type:") == RINGBUF { bytes.max(number("max_entries:")) } else { bytes }
}

/// Which entries an update may touch.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u64)]
pub enum Update {
    /// Insert or replace.
    Any = 0,
    /// Insert; `EEXIST` when the key is there.
    NewOnly = 1,
    /// Replace; `ENOENT` when the key is not there.
    ExistingOnly = 2,
}

/// How far a batched drain of one map has come. Start a new one for each drain.
#[derive(Debug, Default)]
pub struct BatchCursor {
    /// Where the kernel continues; opaque. Empty before the first call.
    position: Vec<u8>,
    finished: bool,
}

impl BatchCursor {
    /// Whether the whole map has been visited.
    #[must_use]
    pub fn is_finished(&self) -> bool {
        self.finished
    }
}

/// A map that somebody else owns, with the sizes that the kernel gave for it.
#[derive(Clone, Copy, Debug)]
pub struct Map<'fd> {
    fd: BorrowedFd<'fd>,
    key_len: usize,
    value_len: usize,
    max_entries: u32,
}

impl<'fd> Map<'fd> {
    /// Asks the kernel what the map behind this descriptor looks like.
    ///
    /// # Errors
    /// `EBADF` or `EINVAL` when it is not a BPF map.
    pub fn new(fd: BorrowedFd<'fd>) -> io::Result<Self> {
        let mut info = MapInfo::default();
        let mut attr = GetInfo {
            bpf_fd: fd.as_raw_fd().cast_unsigned(),
            info_len: size_of::<MapInfo>() as u32,
            info: std::ptr::from_mut(&mut info) as u64,
        };
        // SAFETY: the layout is the kernel's, without padding; `info` is writable for `info_len` bytes, has no padding,
        // and any bytes make a valid `MapInfo`. Another kind of BPF object fills it with other numbers, which does no
        // harm: every map command refuses such a descriptor before it looks at a buffer.
        check(unsafe { bpf(Command::ObjGetInfoByFd, &mut attr) })?;
        let value_len = if is_per_cpu(info.map_type) {
            // The kernel gives the value of every possible CPU, each rounded up to eight bytes.
            (info.value_size as usize).next_multiple_of(8) * cpus::possible()?.len()
        } else {
            info.value_size as usize
        };
        Ok(Self { fd, key_len: info.key_size as usize, value_len, max_entries: info.max_entries })
    }

    /// Bytes of one key.
    #[must_use]
    pub fn key_len(&self) -> usize {
        self.key_len
    }

    /// Bytes of one value as user space sees it: for per-CPU maps the values of all possible CPUs, each padded to eight.
    #[must_use]
    pub fn value_len(&self) -> usize {
        self.value_len
    }

    /// Most entries that it holds.
    #[must_use]
    pub fn max_entries(&self) -> u32 {
        self.max_entries
    }

    /// Copies the value under `key` to `value` and says whether there was one.
    ///
    /// # Errors
    /// `EINVAL` when a buffer is not exactly as long as the map wants; otherwise the kernel's error.
    pub fn lookup(&self, key: &[u8], value: &mut [u8]) -> io::Result<bool> {
        self.expect_key(key)?;
        expect_len("value", value.len(), self.value_len)?;
        let mut attr = self.element(key.as_ptr(), value.as_mut_ptr().cast_const(), 0);
        // SAFETY: the layout is the kernel's with its padding spelled out; the key has the map's key size and is only
        // read, and the kernel writes one value, for which `value` has room; both as checked above.
        found(check(unsafe { bpf(Command::MapLookupElem, &mut attr) }))
    }

    /// Sets the value under `key`.
    ///
    /// # Errors
    /// As for [`Map::lookup`]; `E2BIG` when the map is full; what [`Update`] says.
    pub fn update(&self, key: &[u8], value: &[u8], mode: Update) -> io::Result<()> {
        self.expect_key(key)?;
        expect_len("value", value.len(), self.value_len)?;
        let mut attr = self.element(key.as_ptr(), value.as_ptr(), mode as u64);
        // SAFETY: the layout is the kernel's; key and value have the map's sizes, as checked above, and are only read.
        check(unsafe { bpf(Command::MapUpdateElem, &mut attr) })
    }

    /// Removes the entry under `key` and says whether there was one.
    ///
    /// # Errors
    /// As for [`Map::lookup`].
    pub fn delete(&self, key: &[u8]) -> io::Result<bool> {
        self.expect_key(key)?;
        let mut attr = self.element(key.as_ptr(), std::ptr::null(), 0);
        // SAFETY: the layout is the kernel's; the key has the map's key size, as checked above, and is only read.
        found(check(unsafe { bpf(Command::MapDeleteElem, &mut attr) }))
    }

    /// Copies the key that follows `key` to `next`, or the first one where there is no `key`, or where it was removed
    /// meanwhile. Says whether there was one.
    ///
    /// # Errors
    /// As for [`Map::lookup`].
    pub fn next_key(&self, key: Option<&[u8]>, next: &mut [u8]) -> io::Result<bool> {
        if let Some(key) = key {
            self.expect_key(key)?;
        }
        self.expect_key(next)?;
        let key = key.map_or(std::ptr::null(), <[u8]>::as_ptr);
        let mut attr = self.element(key, next.as_mut_ptr().cast_const(), 0);
        // SAFETY: the layout is the kernel's (`next_key` takes the place of `value`); both buffers have the map's key
        // size, as checked above; a null key stands for none.
        found(check(unsafe { bpf(Command::MapGetNextKey, &mut attr) }))
    }

    /// Moves the next entries out of the map into `keys` and `values`, which each hold the same whole number of entries,
    /// and returns how many it moved, in the same order in both. Call it until [`BatchCursor::is_finished`].
    ///
    /// The kernel hands out a hash bucket whole or not at all, so a batch can be shorter than the buffers. Entries that
    /// are inserted meanwhile may or may not be seen.
    ///
    /// # Errors
    /// `EINVAL` for buffers of a wrong length, or when the kernel has no batch operations for this type of map;
    /// `ENOSPC` when one bucket holds more entries than the buffers: nothing was removed, call again with larger ones.
    pub fn lookup_and_delete_batch(
        &self,
        cursor: &mut BatchCursor,
        keys: &mut [u8],
        values: &mut [u8],
    ) -> io::Result<usize> {
        if cursor.finished {
            return Ok(0);
        }
        let count = keys.len().checked_div(self.key_len).unwrap_or(0);
        expect_len("keys", keys.len(), count * self.key_len)?;
        expect_len("values", values.len(), count * self.value_len)?;
        if count == 0 {
            return Err(invalid("the batch has room for no entry".to_owned()));
        }
        // A hash keeps the bucket's number (four bytes) as its position, other types the last key.
        let mut next = vec![0; self.key_len.max(4)];
        let in_batch = match cursor.position.len() {
            0 => 0,
            len if len == next.len() => cursor.position.as_ptr() as u64,
            _ => return Err(invalid("the cursor belongs to another map".to_owned())),
        };
        let mut attr = Batch {
            in_batch,
            out_batch: next.as_mut_ptr() as u64,
            keys: keys.as_mut_ptr() as u64,
            values: values.as_mut_ptr() as u64,
            count: u32::try_from(count).map_err(io::Error::other)?,
            map_fd: self.fd.as_raw_fd().cast_unsigned(),
            elem_flags: 0,
            flags: 0,
        };
        // SAFETY: the layout is the kernel's, without padding. The kernel writes at most `count` keys and values, for
        // which the buffers have room, as checked above. It writes four bytes or one key to `out_batch` and reads as
        // much from `in_batch`, and both buffers are at least that long.
        let ret = check(unsafe { bpf(Command::MapLookupAndDeleteBatch, &mut attr) });
        match ret {
            Ok(()) => cursor.position = next,
            // The end of the map. `count` says how many entries came with it.
            Err(error) if error.raw_os_error() == Some(libc::ENOENT) => cursor.finished = true,
            Err(error) => return Err(error),
        }
        Ok(attr.count as usize)
    }

    fn element(&self, key: *const u8, value: *const u8, flags: u64) -> Element {
        Element {
            map_fd: self.fd.as_raw_fd().cast_unsigned(),
            padding: 0,
            key: key as u64,
            value: value as u64,
            flags,
        }
    }

    fn expect_key(&self, key: &[u8]) -> io::Result<()> {
        expect_len("key", key.len(), self.key_len)
    }
}

/// Whether a map of this `enum bpf_map_type` has a value per possible CPU: per-CPU hash, array, LRU hash, cgroup storage.
fn is_per_cpu(map_type: u32) -> bool {
    matches!(map_type, 5 | 6 | 10 | 21)
}

/// Reads `ENOENT` as "no such entry".
fn found(result: io::Result<()>) -> io::Result<bool> {
    match result {
        Ok(()) => Ok(true),
        Err(error) if error.raw_os_error() == Some(libc::ENOENT) => Ok(false),
        Err(error) => Err(error),
    }
}

fn expect_len(what: &str, is: usize, should_be: usize) -> io::Result<()> {
    if is == should_be {
        Ok(())
    } else {
        Err(invalid(format!("the {what} buffer has {is} bytes, the map wants {should_be}")))
    }
}

fn invalid(message: String) -> io::Error {
    io::Error::new(io::ErrorKind::InvalidInput, message)
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;
    use std::os::fd::{AsFd, OwnedFd};

    use super::super::bpf::{MapSpec, MapType, map_create};
    use super::*;

    fn create(map_type: MapType, key_size: u32, value_size: u32, max_entries: u32) -> OwnedFd {
        map_create(&MapSpec { map_type, key_size, value_size, max_entries, flags: 0, name: "test.map" })
            .unwrap()
    }

    #[test]
    fn a_ring_takes_its_bytes_whatever_the_kernel_says() {
        let info = |kind, memlock| {
            format!("map_type:\t{kind}\nkey_size:\t0\nmax_entries:\t4194304\nmemlock:\t{memlock}\n")
        };
        assert_eq!(accounted(&info(27, 0)), 4 << 20);
        assert_eq!(accounted(&info(27, 4_210_832)), 4_210_832);
        assert_eq!(accounted(&info(1, 0)), 0);
        assert_eq!(accounted(""), 0);
    }

    #[test]
    fn a_value_is_set_found_and_deleted() {
        let fd = create(MapType::Hash, 8, 4, 16);
        let map = Map::new(fd.as_fd()).unwrap();
        assert_eq!((map.key_len(), map.value_len(), map.max_entries()), (8, 4, 16));
        let (key, mut value) = ([7; 8], [0; 4]);
        assert!(!map.lookup(&key, &mut value).unwrap());
        map.update(&key, &[1, 2, 3, 4], Update::NewOnly).unwrap();
        let error = map.update(&key, &[0; 4], Update::NewOnly).unwrap_err();
        assert_eq!(error.raw_os_error(), Some(libc::EEXIST));
        assert!(map.lookup(&key, &mut value).unwrap());
        assert_eq!(value, [1, 2, 3, 4]);
        assert!(map.delete(&key).unwrap());
        assert!(!map.delete(&key).unwrap());
        let error = map.update(&key, &[0; 4], Update::ExistingOnly).unwrap_err();
        assert_eq!(error.raw_os_error(), Some(libc::ENOENT));
    }

    #[test]
    fn buffers_of_a_wrong_length_never_reach_the_kernel() {
        let fd = create(MapType::Hash, 8, 4, 16);
        let map = Map::new(fd.as_fd()).unwrap();
        let kind = |result: io::Result<bool>| result.unwrap_err().kind();
        assert_eq!(kind(map.lookup(&[0; 7], &mut [0; 4])), io::ErrorKind::InvalidInput);
        assert_eq!(kind(map.lookup(&[0; 8], &mut [0; 3])), io::ErrorKind::InvalidInput);
        let mut cursor = BatchCursor::default();
        assert!(map.lookup_and_delete_batch(&mut cursor, &mut [0; 16], &mut [0; 4]).is_err());
        assert!(map.lookup_and_delete_batch(&mut cursor, &mut [0; 12], &mut [0; 4]).is_err());
        assert!(map.lookup_and_delete_batch(&mut cursor, &mut [], &mut []).is_err());
    }

    #[test]
    fn per_cpu_values_are_as_long_as_all_cpus_together() {
        let fd = create(MapType::PerCpuArray, 4, 4, 1);
        let map = Map::new(fd.as_fd()).unwrap();
        assert_eq!(map.value_len(), 8 * cpus::possible().unwrap().len());
        let mut value = vec![0xff; map.value_len()];
        assert!(map.lookup(&[0; 4], &mut value).unwrap());
        assert!(value.iter().all(|byte| *byte == 0), "{value:?}");
    }

    #[test]
    fn batches_drain_every_entry_once_and_leave_the_map_empty() {
        const ENTRIES: u32 = 1000;
        for map_type in [MapType::Hash, MapType::LruHash, MapType::PerCpuHash] {
            let fd = create(map_type, 4, 8, ENTRIES * 2);
            let map = Map::new(fd.as_fd()).unwrap();
            for n in 0..ENTRIES {
                let value: Vec<u8> = u64::from(n).to_ne_bytes().repeat(map.value_len() / 8);
                map.update(&n.to_ne_bytes(), &value, Update::Any).unwrap();
            }
            let (mut keys, mut values) = (vec![0; 64 * 4], vec![0; 64 * map.value_len()]);
            let mut cursor = BatchCursor::default();
            let mut seen = BTreeMap::new();
            while !cursor.is_finished() {
                let count = map.lookup_and_delete_batch(&mut cursor, &mut keys, &mut values).unwrap();
                for (key, value) in keys.chunks(4).zip(values.chunks(map.value_len())).take(count) {
                    let key = u32::from_ne_bytes(key.try_into().unwrap());
                    let value = u64::from_ne_bytes(value[..8].try_into().unwrap());
                    assert_eq!(seen.insert(key, value), None, "{map_type:?}: {key} came twice");
                }
            }
            assert_eq!(seen, (0..ENTRIES).map(|n| (n, u64::from(n))).collect(), "{map_type:?}");
            assert_eq!(map.lookup_and_delete_batch(&mut cursor, &mut keys, &mut values).unwrap(), 0);
            let mut cursor = BatchCursor::default();
            assert_eq!(map.lookup_and_delete_batch(&mut cursor, &mut keys, &mut values).unwrap(), 0);
            assert!(cursor.is_finished());
        }
    }

    #[test]
    fn a_bucket_larger_than_the_batch_is_refused_and_kept() {
        // Few buckets, many entries: some bucket holds more than one.
        let fd = create(MapType::Hash, 4, 4, 64);
        let map = Map::new(fd.as_fd()).unwrap();
        for n in 0..64_u32 {
            map.update(&n.to_ne_bytes(), &n.to_ne_bytes(), Update::Any).unwrap();
        }
        let mut cursor = BatchCursor::default();
        let mut moved = 0;
        let error = loop {
            match map.lookup_and_delete_batch(&mut cursor, &mut [0; 4], &mut [0; 4]) {
                Ok(count) => moved += count,
                Err(error) => break error,
            }
            assert!(!cursor.is_finished(), "64 entries fell into 64 buckets");
        };
        assert_eq!(error.raw_os_error(), Some(libc::ENOSPC));
        let (mut keys, mut values) = ([0; 256], [0; 256]);
        while !cursor.is_finished() {
            moved += map.lookup_and_delete_batch(&mut cursor, &mut keys, &mut values).unwrap();
        }
        assert_eq!(moved, 64);
    }

    #[test]
    fn what_is_not_a_map_is_refused() {
        let file = std::fs::File::open("/dev/null").unwrap();
        assert!(Map::new(file.as_fd()).is_err());
    }
}
