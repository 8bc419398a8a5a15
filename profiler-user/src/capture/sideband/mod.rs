//! The life of processes as the kernel tells it beside the samples: exec, executable mappings, fork, exit.
//!
//! A dummy software event per CPU writes records to that CPU's ring. Nobody asks /proc, so that a process can be named
//! whose whole life lay between two looks.

mod records;

use std::{
    io,
    os::fd::{AsFd, AsRawFd, BorrowedFd, FromRawFd, OwnedFd},
};

pub use records::{Event, Kind, Map, parse};

use super::{
    Error,
    error::is_permission,
    hotplug::{CpuEvent, Hotplug},
    per_cpu::PerCpu,
};
use crate::confine::threads;
use crate::sys::{
    perf::{self, EventSpec, Scope},
    perf_ring::PerfRing,
};

/// Bytes of a CPU's ring. The life of a small dynamically linked command is about 1 KiB of records, so that one ring
/// holds some 60 of them between two looks.
const RING_BYTES: usize = 64 << 10;
/// Bytes at which [`Sideband`] becomes readable, for windows may be long.
const WAKEUP_BYTES: u32 = 32 << 10;

/// The records of all CPUs. Its descriptor becomes readable when a ring is half full, and when CPUs come or go.
pub struct Sideband {
    epoll: OwnedFd,
    hotplug: Option<Hotplug>,
    rings: PerCpu<PerfRing>,
    /// Records that were read: bytes, and time, place and length of each.
    bytes: Vec<u8>,
    order: Vec<Record>,
    lost: u64,
}

#[derive(Clone, Copy)]
struct Record {
    time_ns: u64,
    start: usize,
    len: usize,
}

impl std::fmt::Debug for Sideband {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Sideband").field("lost", &self.lost).finish_non_exhaustive()
    }
}

impl Sideband {
    /// Starts recording on every online CPU. Open it before the first sample is taken.
    ///
    /// # Errors
    /// Missing privilege (`CAP_PERFMON`), or too little memory that may be locked for the rings.
    pub fn open() -> Result<Self, Error> {
        // SAFETY: numbers only.
        let fd = unsafe { libc::epoll_create1(libc::EPOLL_CLOEXEC) };
        if fd < 0 {
            return Err(Error::system("making an epoll descriptor")(io::Error::last_os_error()));
        }
        // SAFETY: the call above just made the descriptor, and nothing else owns it.
        let epoll = unsafe { OwnedFd::from_raw_fd(fd) };
        let hotplug = Hotplug::listen()
            .inspect_err(|error| tracing::info!("CPU hotplug is looked for once a window only: {error}"))
            .ok();
        if let Some(hotplug) = &hotplug {
            watch(epoll.as_fd(), hotplug.as_fd())
                .map_err(Error::system("watching for CPUs that come and go"))?;
        }
        let rings = PerCpu::open("heard of new processes", |cpu| open_one(epoll.as_fd(), cpu))?;
        Ok(Self { epoll, hotplug, rings, bytes: Vec::new(), order: Vec::new(), lost: 0 })
    }

    /// Calls `each` with what happened before this call, on all CPUs, in the order of time.
    ///
    /// Causes come before effects even between CPUs: an event is only handed out when its time is before the moment at
    /// which this call began, and by that time its causes, which were written before it was stamped, were in their rings.
    /// What is younger waits for the next call.
    pub fn drain(&mut self, mut each: impl FnMut(&Event<'_>)) {
        let begin_ns = boottime_ns();
        self.read();
        // Stable: what happened on one CPU in one nanosecond stays in order.
        self.order.sort_by_key(|record| record.time_ns);
        let ready = self.order.partition_point(|record| record.time_ns < begin_ns);
        let mut lost = 0;
        for record in self.order.drain(..ready) {
            let bytes = self.bytes.get(record.start..record.start + record.len);
            if let Some(event) = bytes.and_then(parse) {
                if let Kind::Lost { count } = event.kind {
                    lost += count;
                }
                each(&event);
            }
        }
        if lost > 0 {
            self.lost += lost;
            tracing::warn!(
                "{lost} records of new processes and mappings were lost: more happened than a ring of {RING_BYTES} bytes holds"
            );
        }
        let mut waiting = Vec::new();
        for record in &mut self.order {
            let start = waiting.len();
            waiting.extend_from_slice(
                self.bytes.get(record.start..record.start + record.len).unwrap_or_default(),
            );
            record.start = start;
        }
        if waiting.is_empty() {
            // Room for one ring is kept; what a storm took is given back.
            self.bytes.clear();
            self.bytes.shrink_to(RING_BYTES);
        } else {
            self.bytes = waiting;
        }
    }

    /// Follows CPUs that came or went. Call it when the descriptor is readable, and once a window.
    pub fn follow_hotplug(&mut self) {
        let events = self.hotplug.as_ref().map(Hotplug::drain);
        if events.as_ref().is_some_and(Vec::is_empty) {
            return;
        }
        // The ring outlives its CPU only as long as it is not closed.
        self.read();
        for event in events.unwrap_or_default() {
            // An event that came back before anyone looked would still hold its dead ring.
            let (CpuEvent::Offline(cpu) | CpuEvent::Online(cpu)) = event;
            self.rings.forget(cpu);
        }
        let Self { epoll, rings, .. } = self;
        rings.follow_hotplug(|cpu| open_one(epoll.as_fd(), cpu));
    }

    /// Records that were lost since the start.
    #[must_use]
    pub fn lost(&self) -> u64 {
        self.lost
    }

    /// Takes what is in the rings.
    fn read(&mut self) {
        let Self { rings, bytes, order, .. } = self;
        for (cpu, ring) in rings.iter_mut() {
            let before = bytes.len();
            let mut sizes = Vec::new();
            if let Err(error) = ring.read(bytes, |len| sizes.push(len)) {
                tracing::warn!("records of new processes on CPU {cpu} are skipped: {error}");
            }
            let mut start = before;
            for len in sizes {
                let time = bytes.get(start..start + len).and_then(|record| record.last_chunk());
                let time_ns = time.copied().map_or(0, u64::from_ne_bytes);
                order.push(Record { time_ns, start, len });
                start += len;
            }
        }
    }
}

impl AsFd for Sideband {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.epoll.as_fd()
    }
}

impl AsRawFd for Sideband {
    fn as_raw_fd(&self) -> std::os::fd::RawFd {
        self.epoll.as_raw_fd()
    }
}

fn open_one(epoll: BorrowedFd<'_>, cpu: u32) -> Result<PerfRing, Error> {
    let refused = |source: io::Error| {
        if is_permission(&source) {
            Error::NotPermitted { what: "to hear of new processes (perf_event_open)", source }
        } else {
            tracing::info!("new processes on CPU {cpu} cannot be heard of: {source}");
            Error::System { what: "opening the perf event that records new processes", source }
        }
    };
    // By who may, also for a CPU that came while all runs.
    let open = move || {
        let event = perf::open(&EventSpec::life(WAKEUP_BYTES), Scope::Cpu(cpu))?;
        PerfRing::map(event, RING_BYTES)
    };
    let ring = threads::loading(open).and_then(|opened| opened).map_err(refused)?;
    // Closing the ring takes it off the epoll descriptor again (epoll(7)).
    watch(epoll, ring.as_fd()).map_err(Error::system("watching a perf event"))?;
    Ok(ring)
}

fn watch(epoll: BorrowedFd<'_>, fd: BorrowedFd<'_>) -> io::Result<()> {
    // Edge-triggered: once per filling, even where a reader takes its time. A CPU's going away (POLLHUP) is one edge, too.
    let mut event = libc::epoll_event { events: (libc::EPOLLIN | libc::EPOLLET) as u32, u64: 0 };
    // SAFETY: the event is valid for the call, and the descriptors are open.
    let ret =
        unsafe { libc::epoll_ctl(epoll.as_raw_fd(), libc::EPOLL_CTL_ADD, fd.as_raw_fd(), &raw mut event) };
    if ret < 0 { Err(io::Error::last_os_error()) } else { Ok(()) }
}

/// Nanoseconds of CLOCK_BOOTTIME: the present as events tell time.
pub(crate) fn boottime_ns() -> u64 {
    let mut now = libc::timespec { tv_sec: 0, tv_nsec: 0 };
    // SAFETY: the struct is writable; the clock exists on every kernel since 2.6.39.
    let _ = unsafe { libc::clock_gettime(libc::CLOCK_BOOTTIME, &raw mut now) };
    u64::try_from(now.tv_sec).unwrap_or(0) * 1_000_000_000 + u64::try_from(now.tv_nsec).unwrap_or(0)
}

#[cfg(test)]
mod tests;
