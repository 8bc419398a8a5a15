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
use tokio::{
    io::unix::AsyncFd,
    sync::mpsc::{self, error::TrySendError},
};

use super::{
    Asking, Job, Question, Task,
    asked::Unnamed,
    tables::{TablesQueue, WalkedSample},
};
use crate::{
    capture::{Capture, CountedStack, Message, Sideband, Window},
    process::{Methods, Process, Table},
    profile::build::{frames, outcome},
    sys::priority::{self, Urgency},
};

/// Lists of mappings that are kept of earlier at the most, of all processes together. Samples by one that is not kept are
/// named by the current one.
const MOST_EARLIER: usize = 4096;

type Log = aya_log::EbpfLogger<&'static dyn log::Log>;

/// What the collecting stage reads from.
pub struct Collector {
    messages: AsyncFd<RingBuf<MapData>>,
    log: Option<AsyncFd<Log>>,
    windows: mpsc::Receiver<Window>,
    questions: mpsc::Receiver<Question>,
    tasks: mpsc::Sender<Task>,
    /// The thread that works on the tasks.
    naming: priority::Thread,
    sideband: AsyncFd<Sideband>,
    table: Table,
    tables: TablesQueue,
    /// Processes with mappings that have changed since, and the window in which they did.
    earlier: HashMap<(ProcessKey, u32), (Arc<Process>, u64)>,
    epoch: u64,
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
        tasks: mpsc::Sender<Task>,
        naming: priority::Thread,
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
            questions: Asking::new().1,
            tasks,
            naming,
            // SAFETY: the side-band owns its epoll descriptor, always gives that same one, and closes it when dropped.
            sideband: unsafe { AsyncFd::register(sideband) }?,
            table: Table::new(),
            tables,
            earlier: HashMap::new(),
            epoch: 0,
        })
    }

    /// The same, which finds out by these methods who processes are.
    #[must_use]
    pub fn with(self, methods: Methods) -> Self {
        Self { table: Table::with(methods), ..self }
    }

    /// The same, which has these questions answered.
    #[must_use]
    pub fn answering(self, questions: mpsc::Receiver<Question>) -> Self {
        Self { questions, ..self }
    }

    /// Learns what happened to processes, and passes it on where it concerns sampled ones.
    fn hear(&mut self) {
        let Self { sideband, table, .. } = self;
        let mut changed = HashSet::new();
        sideband.get_mut().drain(|event| changed.extend(table.apply(event)));
        for key in changed {
            self.publish(key);
        }
    }

    /// Tells the kernel side what a process has mapped now.
    fn publish(&mut self, key: ProcessKey) {
        let process = self.table.get(&key);
        self.tell(key, process);
        self.keep_replaced();
    }

    fn tell(&mut self, key: ProcessKey, process: Arc<Process>) {
        if process.identity.excluded {
            self.tables.exclude(key);
        } else {
            self.tables.set_process(key, process);
        }
    }

    /// Keeps processes as they were, for samples that were walked by what they had mapped then.
    fn keep_replaced(&mut self) {
        for (key, process) in self.table.take_replaced() {
            if self.earlier.len() < MOST_EARLIER {
                self.earlier.insert((key, process.generation), (process, self.epoch));
            }
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
                Message::FirstSight(sight, strings) => {
                    let process = self.table.first_sight(sight.process, &sight.info, strings.as_ref());
                    self.tell(sight.process, process);
                    self.keep_replaced();
                }
                Message::UnknownPc(unknown) => {
                    let process = self.table.get(&unknown.process);
                    if !process.identity.excluded
                        && process.find(unknown.pc).is_none()
                        && self.table.refresh(&unknown.process)
                    {
                        self.publish(unknown.process);
                    }
                }
                Message::PageWanted(wanted) => self.tables.page_wanted(wanted),
                Message::Deferred(sample) => {
                    let process = self.table.get(&sample.process);
                    if process.identity.excluded {
                        self.tables.leave(&sample, process);
                    } else {
                        self.tables.walk(sample, process);
                    }
                }
            }
        }
    }

    /// Joins a question to the process that it is about.
    fn unnamed(&mut self, question: Question) -> Unnamed {
        self.hear();
        let process = question.pid.map(|pid| self.table.living(pid, &question.addresses));
        question.about(process)
    }

    /// Joins a window to its processes, and to the samples that were walked in user space.
    async fn job(&mut self, mut window: Window) -> Job {
        self.take_messages();
        self.sideband.get_mut().follow_hotplug();
        self.hear();
        let mut earlier: HashMap<(ProcessKey, u32), Arc<Process>> = HashMap::new();
        let walked = self.tables.end_window(window.epoch).await;
        add_walked(&mut window, &mut earlier, walked);
        for key in self.table.settle() {
            self.tables.exclude(key);
        }
        let mut processes: HashMap<ProcessKey, Arc<Process>> = HashMap::new();
        let (mut refreshed, mut excluded) = (HashSet::new(), HashSet::new());
        let mut refused: HashMap<ProcessKey, bool> = HashMap::new();
        for row in &window.rows {
            let process = processes.entry(row.process).or_insert_with(|| self.table.get(&row.process));
            if let Some((was, _)) = self.earlier.get(&(row.process, row.generation)) {
                earlier.insert((row.process, row.generation), Arc::clone(was));
            }
            if row.generation != 0 && row.generation != process.generation {
                continue;
            }
            if process.identity.excluded {
                if excluded.insert(row.process) {
                    // It may be one that was not announced.
                    self.tables.exclude(row.process);
                }
                continue;
            }
            // Code outside of what was mapped at the first sight was loaded since; one look shows all of it.
            // So does what could not be opened when it was asked for.
            let unknown = *refused.entry(row.process).or_insert_with(|| process.was_refused())
                || frames(row, &window.stacks)
                    .any(|(address, is_kernel)| !is_kernel && process.find(address).is_none());
            if unknown && refreshed.insert(row.process) && self.table.refresh(&row.process) {
                let now = self.table.get(&row.process);
                let was = std::mem::replace(process, Arc::clone(&now));
                // What was read shows the rows' code, too, with what they did not know of.
                earlier.insert((row.process, was.generation), Arc::clone(&now));
                self.tables.set_process(row.process, now);
            }
        }
        leave_out(&mut window, &excluded);
        processes.retain(|key, _| !excluded.contains(key));
        self.keep_replaced();
        // A row that was counted while the window ended belongs to the next one.
        self.epoch = window.epoch + 1;
        self.earlier.retain(|_, (_, epoch)| *epoch >= window.epoch);
        for gone in self.table.end_window() {
            self.tables.remove_process(gone);
        }
        Job { window, processes, earlier }
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
    let mut asked: Option<Unnamed> = None;
    loop {
        let tasks = collector.tasks.clone();
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
            place = tasks.reserve(), if waiting.is_some() || asked.is_some() => {
                // What somebody asks waits behind windows, which nobody gets back.
                let window = waiting.take().map(|job| Task::Window(Box::new(job)));
                let task = window.or_else(|| asked.take().map(Task::Asked));
                // Without a reader nothing more can be done with what is captured.
                let (Ok(place), Some(task)) = (place, task) else {
                    capture.stop();
                    return Ok(());
                };
                place.send(task);
            }
            Some(question) = collector.questions.recv(), if asked.is_none() => {
                asked = Some(collector.unnamed(question));
            }
            window = collector.windows.recv(), if waiting.is_none() => match window {
                Some(window) => {
                    waiting = Some(collector.job(window).await);
                    if matches!(tasks.try_reserve(), Err(TrySendError::Full(()))) {
                        // A whole window waits besides the one that is worked on. On a host with many more threads than
                        // CPUs naming would fall back until counts are lost, and what it has to do is little.
                        collector.naming.try_set(Urgency::Soon);
                    }
                }
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

/// Takes the samples of excluded processes out: those that were taken before it was known.
fn leave_out(window: &mut Window, excluded: &HashSet<ProcessKey>) {
    let Window { rows, stacks, outcomes, .. } = window;
    rows.retain(|row| {
        let is_in = !excluded.contains(&row.process);
        if !is_in {
            let ended = &mut outcomes[outcome(row, stacks) as usize];
            *ended = ended.saturating_sub(row.count);
            outcomes[Outcome::NotSelected as usize] += row.count;
        }
        is_in
    });
}

/// Adds samples that the kernel side deferred to the window that it counted them in.
fn add_walked(
    window: &mut Window,
    earlier: &mut HashMap<(ProcessKey, u32), Arc<Process>>,
    walked: Vec<WalkedSample>,
) {
    // Above all places in the arena, which is smaller than that many chunks.
    const FIRST: u32 = 1 << 31;
    for (number, sample) in (FIRST..).zip(walked) {
        let stack = StackRef(number);
        window.stacks.insert(stack, &sample.words);
        window.rows.push(CountedStack {
            process: sample.process,
            thread_name: sample.thread_name,
            stack,
            generation: sample.image.generation,
            count: 1,
        });
        earlier.insert((sample.process, sample.image.generation), sample.image);
        let deferred = &mut window.outcomes[Outcome::Deferred as usize];
        *deferred = deferred.saturating_sub(1);
        window.outcomes[sample.outcome as usize] += 1;
    }
}
