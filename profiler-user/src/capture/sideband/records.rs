//! The records of process life, from bytes (`enum perf_event_type` in include/uapi/linux/perf_event.h).

/// A record with its time. Names borrow from the record's bytes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Event<'a> {
    /// When the kernel wrote it: nanoseconds of CLOCK_BOOTTIME, as [`ProcessKey::start_ns`] is.
    ///
    /// [`ProcessKey::start_ns`]: profiler_common::layout::ProcessKey::start_ns
    pub time_ns: u64,
    /// What happened.
    pub kind: Kind<'a>,
}

/// What happened. Process and thread ids are those of the pid namespace of whoever opened the event.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind<'a> {
    /// A process mapped executable memory, or made memory executable (mprotect reports the whole area anew).
    Mmap2 {
        /// Process.
        pid: u32,
        /// Thread.
        tid: u32,
        /// What was mapped.
        map: Map<'a>,
    },
    /// A thread got another name.
    Comm {
        /// Process.
        pid: u32,
        /// Thread.
        tid: u32,
        /// Whether it did so by executing a program: all that was mapped before is gone.
        exec: bool,
        /// The name, up to 15 bytes.
        name: &'a [u8],
    },
    /// A process or, where `pid` and `ppid` are the same, a thread was made. It has not run yet.
    Fork {
        /// Process.
        pid: u32,
        /// Process that made it.
        ppid: u32,
        /// Thread.
        tid: u32,
    },
    /// A thread ended; a process ends with the last of its threads, which need not be its leader.
    Exit {
        /// Process.
        pid: u32,
        /// Thread.
        tid: u32,
    },
    /// The ring was full: this many records before this one are missing.
    Lost {
        /// Number of records.
        count: u64,
    },
}

/// An executable mapping.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Map<'a> {
    /// First address.
    pub addr: u64,
    /// Bytes.
    pub len: u64,
    /// Offset in the file, bytes; without a file it means nothing.
    pub pgoff: u64,
    /// Device of the file as /proc/PID/maps shows it: that of the file system, which on btrfs and overlayfs is not the
    /// one that stat(2) tells.
    pub device: (u32, u32),
    /// Inode of the file; 0 where there is none.
    pub ino: u64,
    /// `PROT_*`.
    pub prot: u32,
    /// Path below the process's root folder, with the suffix of a deleted file; `//anon` without a file; `[vdso]`.
    pub filename: &'a [u8],
}

const LOST: u32 = 2;
const COMM: u32 = 3;
const EXIT: u32 = 4;
const FORK: u32 = 7;
const MMAP2: u32 = 10;
/// PERF_RECORD_MISC_COMM_EXEC.
const MISC_COMM_EXEC: u16 = 1 << 13;
/// PERF_RECORD_MISC_MMAP_BUILD_ID (5.12): device and inode are replaced by a build-id. Not asked for.
const MISC_MMAP_BUILD_ID: u16 = 1 << 14;

/// Reads one whole record of an event opened by [`EventSpec::life`](crate::sys::perf::EventSpec::life). `None` for
/// records of other types and for bytes that are none.
#[must_use]
pub fn parse(record: &[u8]) -> Option<Event<'_>> {
    let (rest, time) = record.split_last_chunk()?;
    let time_ns = u64::from_ne_bytes(*time);
    let mut body = Fields(rest);
    let kind = body.u32()?;
    let misc = body.u16()?;
    if usize::from(body.u16()?) != record.len() {
        return None;
    }
    let kind = match kind {
        MMAP2 if misc & MISC_MMAP_BUILD_ID == 0 => {
            let (pid, tid) = (body.u32()?, body.u32()?);
            let (addr, len, pgoff) = (body.u64()?, body.u64()?, body.u64()?);
            let device = (body.u32()?, body.u32()?);
            let (ino, _generation) = (body.u64()?, body.u64()?);
            let (prot, _flags) = (body.u32()?, body.u32()?);
            // An empty or wrapping range is none that a process can have.
            addr.checked_add(len).filter(|_| len > 0)?;
            Kind::Mmap2 { pid, tid, map: Map { addr, len, pgoff, device, ino, prot, filename: body.name()? } }
        }
        COMM => Kind::Comm {
            pid: body.u32()?,
            tid: body.u32()?,
            exec: misc & MISC_COMM_EXEC != 0,
            name: body.name()?,
        },
        FORK | EXIT => {
            let (pid, ppid, tid) = (body.u32()?, body.u32()?, body.u32()?);
            let (_ptid, _time) = (body.u32()?, body.u64()?);
            if kind == FORK { Kind::Fork { pid, ppid, tid } } else { Kind::Exit { pid, tid } }
        }
        LOST => {
            let _id = body.u64()?;
            Kind::Lost { count: body.u64()? }
        }
        _ => return None,
    };
    Some(Event { time_ns, kind })
}

/// What is left of a record.
struct Fields<'a>(&'a [u8]);

impl<'a> Fields<'a> {
    fn take<const N: usize>(&mut self) -> Option<[u8; N]> {
        let (field, rest) = self.0.split_first_chunk()?;
        self.0 = rest;
        Some(*field)
    }

    fn u16(&mut self) -> Option<u16> {
        self.take().map(u16::from_ne_bytes)
    }

    fn u32(&mut self) -> Option<u32> {
        self.take().map(u32::from_ne_bytes)
    }

    fn u64(&mut self) -> Option<u64> {
        self.take().map(u64::from_ne_bytes)
    }

    /// A name with at least one zero behind it, to the end of the record.
    fn name(&self) -> Option<&'a [u8]> {
        let end = self.0.iter().position(|&byte| byte == 0)?;
        self.0.get(..end)
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn record(kind: u32, misc: u16, words: &[u64], name: &[u8]) -> Vec<u8> {
        let mut bytes = kind.to_ne_bytes().to_vec();
        bytes.extend(misc.to_ne_bytes());
        bytes.extend([0, 0]);
        words.iter().for_each(|word| bytes.extend(word.to_ne_bytes()));
        bytes.extend(name);
        bytes.extend(77_u64.to_ne_bytes());
        let size = bytes.len() as u16;
        bytes[6..8].copy_from_slice(&size.to_ne_bytes());
        bytes
    }

    /// Two 32-bit fields as they lie in memory.
    fn pair(first: u32, second: u32) -> u64 {
        let [a, b, c, d] = first.to_ne_bytes();
        let [e, f, g, h] = second.to_ne_bytes();
        u64::from_ne_bytes([a, b, c, d, e, f, g, h])
    }

    fn mmap2(misc: u16, len: u64) -> Vec<u8> {
        let words = [pair(5, 6), 0x1000, len, 0x3000, pair(8, 1), 42, 0, pair(5, 2)];
        record(MMAP2, misc, &words, b"/bin/true\0\0\0\0\0\0\0")
    }

    #[test]
    fn each_kind_is_read_field_by_field() {
        let kind = |bytes: &[u8]| {
            let event = parse(bytes).map(|event| (event.time_ns, format!("{:?}", event.kind)));
            event.map(|(time, kind)| {
                assert_eq!(time, 77);
                kind
            })
        };
        let map = Map {
            addr: 0x1000,
            len: 0x2000,
            pgoff: 0x3000,
            device: (8, 1),
            ino: 42,
            prot: 5,
            filename: b"/bin/true",
        };
        assert_eq!(kind(&mmap2(2, 0x2000)), Some(format!("{:?}", Kind::Mmap2 { pid: 5, tid: 6, map })));
        for (misc, exec) in [(0, false), (MISC_COMM_EXEC, true)] {
            let bytes = record(COMM, misc, &[pair(5, 6)], b"true\0\0\0\0");
            let expected = Kind::Comm { pid: 5, tid: 6, exec, name: b"true" };
            assert_eq!(kind(&bytes), Some(format!("{expected:?}")));
        }
        let task = [pair(5, 4), pair(6, 3), 76];
        let fork = Kind::Fork { pid: 5, ppid: 4, tid: 6 };
        assert_eq!(kind(&record(FORK, 0, &task, b"")), Some(format!("{fork:?}")));
        let exit = Kind::Exit { pid: 5, tid: 6 };
        assert_eq!(kind(&record(EXIT, 0, &task, b"")), Some(format!("{exit:?}")));
        let lost = Kind::Lost { count: 9 };
        assert_eq!(kind(&record(LOST, 0, &[1, 9], b"")), Some(format!("{lost:?}")));
    }

    #[test]
    fn what_cannot_be_is_none() {
        assert_eq!(parse(&mmap2(MISC_MMAP_BUILD_ID, 0x2000)), None);
        assert_eq!(parse(&mmap2(0, 0)), None);
        assert_eq!(parse(&mmap2(0, u64::MAX)), None);
        assert_eq!(parse(&record(99, 0, &[1, 2], b"")), None);
        assert_eq!(parse(&record(COMM, 0, &[pair(5, 6)], b"endless!")), None);
        let whole = mmap2(0, 0x2000);
        for len in 0..whole.len() {
            assert_eq!(parse(&whole[..len]), None, "{len} bytes");
        }
    }

    proptest! {
        #[test]
        fn no_bytes_are_too_odd(kind in 0_u32..16, misc: u16, body: Vec<u8>) {
            let _ = parse(&body);
            let _ = parse(&record(kind, misc, &[], &body));
        }
    }
}
