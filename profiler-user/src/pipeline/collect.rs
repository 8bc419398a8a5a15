//! The collecting stage: looks at processes when they are announced, and joins them to the drained windows.

use std::{
    collections::{HashMap, HashSet},
    future::Future,
    io,
    os::fd::AsRawFd,
    sync::Arc,
};

use aya::maps::{MapData, RingBuf};
use profiler_common::layout::{FirstSight, NAME_BYTES, ProcessInfo, ProcessKey};
use tokio::{io::unix::AsyncFd, sync::mpsc};

use super::Job;
use crate::{
    capture::{Capture, Window},
    process::{Process, Table},
    profile::build::frames,
};

type Log = aya_log::EbpfLogger<&'static dyn log::Log>;

/// What the collecting stage reads from.
pub struct Collector {
    announcements: AsyncFd<RingBuf<MapData>>,
    log: Option<AsyncFd<Log>>,
    windows: mpsc::Receiver<Window>,
    jobs: mpsc::Sender<Job>,
    table: Table,
}

impl std::fmt::Debug for Collector {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Collector")
            .field("announcements", &self.announcements.as_raw_fd())
            .finish_non_exhaustive()
    }
}

impl Collector {
    /// Joins the streams. Must be called within a tokio runtime.
    ///
    /// # Errors
    /// When the runtime cannot watch the ring buffers.
    pub fn new(
        announcements: RingBuf<MapData>,
        log: Option<Log>,
        windows: mpsc::Receiver<Window>,
        jobs: mpsc::Sender<Job>,
    ) -> io::Result<Self> {
        Ok(Self {
            // SAFETY: a ring buffer owns its map's descriptor, always gives that same one, and closes it when dropped.
            announcements: unsafe { AsyncFd::register(announcements) }?,
            log: match log {
                // SAFETY: the log reads from a ring buffer, see above.
                Some(log) => Some(unsafe { AsyncFd::register(log) }?),
                None => None,
            },
            windows,
            jobs,
            table: Table::new(),
        })
    }

    /// Looks at all processes that were announced.
    fn take_announcements(&mut self) {
        while let Some(message) = self.announcements.get_mut().next() {
            if let Some(FirstSight { process, info }) = first_sight(&message) {
                self.table.first_sight(process, &info);
            }
        }
    }

    /// Joins a window to its processes.
    fn job(&mut self, window: Window) -> Job {
        self.take_announcements();
        let mut processes: HashMap<ProcessKey, Arc<Process>> = HashMap::new();
        let mut refreshed = HashSet::new();
        for row in &window.rows {
            let process = processes.entry(row.process).or_insert_with(|| self.table.get(&row.process));
            // Code outside of what was mapped at the first sight was loaded since; one look shows all of it.
            let unknown = frames(row, &window.stacks)
                .any(|(address, is_kernel)| !is_kernel && process.find(address).is_none());
            if unknown && refreshed.insert(row.process) && self.table.refresh(&row.process) {
                *process = self.table.get(&row.process);
            }
        }
        self.table.end_window();
        Job { window, processes: processes.into_iter().collect() }
    }
}

/// Runs until the capture has ended: by itself, or because `stop` came true. Everything captured is passed on.
///
/// # Errors
/// When the ring buffers cannot be watched.
pub async fn collect(
    mut collector: Collector,
    capture: &Capture,
    stop: impl Future<Output = ()>,
) -> io::Result<()> {
    tokio::pin!(stop);
    let mut stopping = false;
    let mut waiting: Option<Job> = None;
    loop {
        let jobs = collector.jobs.clone();
        tokio::select! {
            () = &mut stop, if !stopping => {
                stopping = true;
                capture.stop();
            }
            ready = collector.announcements.readable_mut() => {
                ready?.clear_ready();
                collector.take_announcements();
            }
            ready = log_ready(collector.log.as_mut()) => {
                if ready.is_err() {
                    collector.log = None;
                }
            }
            place = jobs.reserve(), if waiting.is_some() => {
                // Without a reader nothing more can be done with what is captured.
                let (Ok(place), Some(job)) = (place, waiting.take()) else {
                    capture.stop();
                    return Ok(());
                };
                place.send(job);
            }
            window = collector.windows.recv(), if waiting.is_none() => match window {
                Some(window) => waiting = Some(collector.job(window)),
                None => return Ok(()),
            }
        }
    }
}

/// Passes on what the BPF program logged; waits for ever where there is no log.
async fn log_ready(log: Option<&mut AsyncFd<Log>>) -> io::Result<()> {
    let Some(log) = log else {
        return std::future::pending().await;
    };
    let mut ready = log.readable_mut().await?;
    ready.get_inner_mut().flush();
    ready.clear_ready();
    Ok(())
}

/// Reads a [`FirstSight`] message; `None` for one of another length.
fn first_sight(bytes: &[u8]) -> Option<FirstSight> {
    let bytes: &[u8; 48] = bytes.try_into().ok()?;
    let long = |at: usize| Some(u64::from_ne_bytes(bytes.get(at..at + 8)?.try_into().ok()?));
    let short = |at: usize| Some(u32::from_ne_bytes(bytes.get(at..at + 4)?.try_into().ok()?));
    let name: [u8; NAME_BYTES] = bytes.get(16..32)?.try_into().ok()?;
    Some(FirstSight {
        process: ProcessKey { start_ns: long(0)?, pid: short(8)?, exec_id: short(12)? },
        info: ProcessInfo { name, cgroup_id: long(32)?, lost: long(40)? },
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_announcement_is_read_field_by_field() {
        let mut bytes = Vec::new();
        bytes.extend_from_slice(&7_u64.to_ne_bytes());
        bytes.extend_from_slice(&42_u32.to_ne_bytes());
        bytes.extend_from_slice(&3_u32.to_ne_bytes());
        bytes.extend_from_slice(b"postgres\0\0\0\0\0\0\0\0");
        bytes.extend_from_slice(&9_u64.to_ne_bytes());
        bytes.extend_from_slice(&0_u64.to_ne_bytes());
        let message = first_sight(&bytes).unwrap();
        assert_eq!(message.process, ProcessKey { start_ns: 7, pid: 42, exec_id: 3 });
        assert_eq!(message.info.cgroup_id, 9);
        assert_eq!(first_sight(&bytes[1..]), None);
    }
}
