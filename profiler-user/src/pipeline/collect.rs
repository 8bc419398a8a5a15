//! The collecting stage: looks at processes when they are announced, and joins them to the drained windows.

use std::{
    collections::{HashMap, HashSet},
    future::Future,
    io,
    os::fd::AsRawFd,
    sync::Arc,
};

use aya::maps::{MapData, RingBuf};
use profiler_common::{layout::ProcessKey, outcome::Outcome, stack::StackRef};
use tokio::{io::unix::AsyncFd, sync::mpsc};

use super::{
    Job,
    tables::{TablesQueue, WalkedSample},
};
use crate::{
    capture::{Capture, CountedStack, Message, Sideband, Window},
    process::{Process, Table},
    profile::build::frames,
};

type Log = aya_log::EbpfLogger<&'static dyn log::Log>;

/// What the collecting stage reads from.
pub struct Collector {
    messages: AsyncFd<RingBuf<MapData>>,
    log: Option<AsyncFd<Log>>,
    windows: mpsc::Receiver<Window>,
    jobs: mpsc::Sender<Job>,
    sideband: AsyncFd<Sideband>,
    table: Table,
    tables: TablesQueue,
}

impl std::fmt::Debug for Collector {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Collector").field("messages", &self.messages.as_raw_fd()).finish_non_exhaustive()
    }
}

impl Collector {
    /// Joins the streams. Must be called within a tokio runtime.
    ///
    /// # Errors
    /// When the runtime cannot watch the ring buffers.
    pub fn new(
        messages: RingBuf<MapData>,
        sideband: Sideband,
        tables: TablesQueue,
        log: Option<Log>,
        windows: mpsc::Receiver<Window>,
        jobs: mpsc::Sender<Job>,
    ) -> io::Result<Self> {
        Ok(Self {
            // SAFETY: a ring buffer owns its map's descriptor, always gives that same one, and closes it when dropped.
            messages: unsafe { AsyncFd::register(messages) }?,
            log: match log {
                // SAFETY: the log reads from a ring buffer, see above.
                Some(log) => Some(unsafe { AsyncFd::register(log) }?),
                None => None,
            },
            windows,
            jobs,
            // SAFETY: the side-band owns its epoll descriptor, always gives that same one, and closes it when dropped.
            sideband: unsafe { AsyncFd::register(sideband) }?,
            table: Table::new(),
            tables,
        })
    }

    /// Learns what happened to processes, and passes it on where it concerns sampled ones.
    fn hear(&mut self) {
        let Self { sideband, table, tables, .. } = self;
        let mut changed = HashSet::new();
        sideband.get_mut().drain(|event| changed.extend(table.apply(event)));
        for key in changed {
            tables.set_process(key, table.get(&key));
        }
    }

    /// Answers what the kernel side told and asked.
    fn take_messages(&mut self) {
        while let Some(message) = self.messages.get_mut().next().map(|bytes| Message::parse(&bytes)) {
            let Some(message) = message else {
                tracing::debug!("a message has no known length");
                continue;
            };
            // After the message was taken, so that all that came before the sample is known.
            self.hear();
            match message {
                Message::FirstSight(sight) => {
                    let process = self.table.first_sight(sight.process, &sight.info);
                    self.tables.set_process(sight.process, process);
                }
                Message::UnknownPc(unknown) => {
                    let process = self.table.get(&unknown.process);
                    if process.find(unknown.pc).is_none() && self.table.refresh(&unknown.process) {
                        self.tables.set_process(unknown.process, self.table.get(&unknown.process));
                    }
                }
                Message::PageWanted(wanted) => self.tables.page_wanted(wanted),
                Message::Deferred(sample) => {
                    let process = self.table.get(&sample.process);
                    self.tables.walk(sample, process);
                }
            }
        }
    }

    /// Joins a window to its processes, and to the samples that were walked in user space.
    async fn job(&mut self, mut window: Window) -> Job {
        self.take_messages();
        self.sideband.get_mut().follow_hotplug();
        self.hear();
        match self.tables.end_window(window.epoch).await {
            Ok(walked) => add_walked(&mut window, walked),
            Err(_) => tracing::debug!("the tables thread has ended"),
        }
        let mut processes: HashMap<ProcessKey, Arc<Process>> = HashMap::new();
        let mut refreshed = HashSet::new();
        for row in &window.rows {
            let process = processes.entry(row.process).or_insert_with(|| self.table.get(&row.process));
            // Code outside of what was mapped at the first sight was loaded since; one look shows all of it.
            let unknown = frames(row, &window.stacks)
                .any(|(address, is_kernel)| !is_kernel && process.find(address).is_none());
            if unknown && refreshed.insert(row.process) && self.table.refresh(&row.process) {
                *process = self.table.get(&row.process);
                self.tables.set_process(row.process, Arc::clone(process));
            }
        }
        for gone in self.table.end_window() {
            self.tables.remove_process(gone);
        }
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
            ready = collector.messages.readable_mut() => {
                ready?.clear_ready();
                collector.take_messages();
            }
            ready = collector.sideband.readable_mut() => {
                ready?.clear_ready();
                collector.sideband.get_mut().follow_hotplug();
                collector.hear();
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
                Some(window) => waiting = Some(collector.job(window).await),
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

/// Adds samples that the kernel side deferred to the window that it counted them in.
fn add_walked(window: &mut Window, walked: Vec<WalkedSample>) {
    // Above all places in the arena, which is smaller than that many chunks.
    const FIRST: u32 = 1 << 31;
    for (number, sample) in (FIRST..).zip(walked) {
        let stack = StackRef(number);
        window.stacks.insert(stack, &sample.words);
        window.rows.push(CountedStack {
            process: sample.process,
            thread_name: sample.thread_name,
            stack,
            count: 1,
        });
        let deferred = &mut window.outcomes[Outcome::Deferred as usize];
        *deferred = deferred.saturating_sub(1);
        window.outcomes[sample.outcome as usize] += 1;
    }
}
