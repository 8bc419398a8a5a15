//! The tables stage: builds unwind tables where the kernel side needs them, on a thread of its own, for a table may have
//! to come from a slow disk.

use std::{
    io,
    sync::{
        Arc,
        atomic::{AtomicBool, AtomicUsize, Ordering},
        mpsc::{Receiver, SyncSender, TrySendError, sync_channel},
    },
    thread::JoinHandle,
};

use profiler_common::{
    layout::{Name, PageWanted, ProcessKey},
    outcome::Outcome,
    stack::Header,
};
use tokio::sync::oneshot;

use crate::{
    capture::DeferredSample,
    confine,
    process::Process,
    sys::priority::{self, Urgency},
    unwind::{
        Figures, Kernel, Tables, Words,
        walk::{Parts, StackMemory, Start, Watched},
    },
};

/// Requests that wait at the most. One that finds no room is dropped and counted: the kernel side asks for a page again in
/// the next window.
const QUEUE: usize = 4096;
enum Request {
    Process(ProcessKey, Arc<Process>),
    Excluded(ProcessKey),
    Gone(ProcessKey),
    Page(PageWanted),
    Sample(Box<DeferredSample>, Arc<Process>),
    EndWindow(u64, oneshot::Sender<Vec<WalkedSample>>),
    /// Windows up to this one have ended without the thread being told.
    Passed(u64),
}

/// A deferred sample whose stack is known now.
#[derive(Debug)]
pub(super) struct WalkedSample {
    epoch: u64,
    /// The process.
    pub process: ProcessKey,
    /// The thread's name.
    pub thread_name: Name,
    /// Its stack as the kernel side would have written it: header, kernel frames, user frames.
    pub words: Vec<u64>,
    /// How it ended.
    pub outcome: Outcome,
    /// The process as it was then.
    pub image: Arc<Process>,
}

/// Where requests go.
#[derive(Debug)]
pub struct TablesQueue {
    requests: SyncSender<Request>,
    /// Bytes of stacks that wait.
    waiting: Arc<AtomicUsize>,
    /// Most of them, so that a slow disk costs samples and not memory.
    most_waiting: usize,
    /// Samples that found no room.
    unwalked: Vec<WalkedSample>,
    dropped: u64,
    /// Whether anything was asked for since the last end of a window that the thread was told of.
    asked: bool,
    /// Whether the thread has nothing to do at the end of a window where nothing is asked for before.
    quiet: Arc<AtomicBool>,
    /// The last window whose end the thread slept through.
    passed: Option<u64>,
}

impl TablesQueue {
    /// A process was seen, or mapped something.
    pub(super) fn set_process(&mut self, key: ProcessKey, process: Arc<Process>) {
        self.send(Request::Process(key, process));
    }

    /// A process is not to be sampled.
    pub(super) fn exclude(&mut self, key: ProcessKey) {
        self.send(Request::Excluded(key));
    }

    /// A process is forgotten.
    pub(super) fn remove_process(&mut self, key: ProcessKey) {
        self.send(Request::Gone(key));
    }

    /// A sample needed a page.
    pub(super) fn page_wanted(&mut self, wanted: PageWanted) {
        self.send(Request::Page(wanted));
    }

    /// A sample is to be walked. Where too many wait already it is kept as it is: with its kernel stack and its first user
    /// frame. Their number is bounded by the kernel side's ([`MAX_DEFERRED`](profiler_common::layout::MAX_DEFERRED)).
    pub(super) fn walk(&mut self, sample: Box<DeferredSample>, process: Arc<Process>) {
        let bytes = sample.stack_bytes();
        if self.waiting.load(Ordering::Relaxed) + bytes > self.most_waiting {
            self.count_dropped();
            self.unwalked.push(unwalked(&sample, process));
            return;
        }
        self.waiting.fetch_add(bytes, Ordering::Relaxed);
        if let Some(Request::Sample(sample, process)) = self.send(Request::Sample(sample, process)) {
            self.waiting.fetch_sub(bytes, Ordering::Relaxed);
            self.unwalked.push(unwalked(&sample, process));
        }
    }

    /// A sample is not to be walked.
    pub(super) fn leave(&mut self, sample: &DeferredSample, process: Arc<Process>) {
        self.unwalked.push(unwalked(sample, process));
    }

    /// The window of this number has ended: gives the samples in it that were deferred. Where nothing new runs there are none,
    /// and the thread is not woken.
    pub(super) async fn end_window(&mut self, epoch: u64) -> Vec<WalkedSample> {
        if !self.asked && self.quiet.load(Ordering::Relaxed) {
            self.passed = Some(epoch);
            return take_until(&mut self.unwalked, epoch);
        }
        self.asked = false;
        self.quiet.store(false, Ordering::Relaxed);
        let (reply, receiver) = oneshot::channel();
        // This one may wait for its place: a window is not dropped.
        let sent = self.requests.send(Request::EndWindow(epoch, reply));
        let walked = if sent.is_ok() { receiver.await.ok() } else { None };
        let mut walked = walked.unwrap_or_else(|| {
            tracing::debug!("the tables thread has ended");
            Vec::new()
        });
        walked.extend(take_until(&mut self.unwalked, epoch));
        walked
    }

    /// Gives the request back where it finds no room.
    fn send(&mut self, request: Request) -> Option<Request> {
        self.asked = true;
        if let Some(epoch) = self.passed.take() {
            // There is room: it sleeps.
            let _ = self.requests.try_send(Request::Passed(epoch));
        }
        match self.requests.try_send(request) {
            Ok(()) => None,
            Err(TrySendError::Full(request)) => {
                self.count_dropped();
                Some(request)
            }
            Err(TrySendError::Disconnected(request)) => {
                tracing::debug!("the tables thread has ended");
                Some(request)
            }
        }
    }

    fn count_dropped(&mut self) {
        self.dropped += 1;
        if self.dropped.is_power_of_two() {
            tracing::warn!("{} requests for unwind tables were dropped so far", self.dropped);
        }
    }
}

/// The running stage.
#[derive(Debug)]
pub struct TablesThread {
    thread: JoinHandle<Figures>,
}

impl TablesThread {
    /// Starts the thread. It ends when the queue is dropped. At the most `most_waiting` bytes of stacks wait in it.
    ///
    /// # Errors
    /// When no thread can be started.
    pub fn start<W: Words + 'static, K: Kernel + 'static>(
        tables: Tables<W, K>,
        most_waiting: usize,
    ) -> io::Result<(Self, TablesQueue)> {
        let (requests, receiver) = sync_channel(QUEUE);
        let waiting = Arc::new(AtomicUsize::new(0));
        let quiet = Arc::new(AtomicBool::new(false));
        let (walked, nothing_to_do) = (Arc::clone(&waiting), Arc::clone(&quiet));
        let thread = std::thread::Builder::new()
            .name("tables".to_owned())
            .spawn(move || run(tables, &receiver, &walked, &nothing_to_do))?;
        Ok((
            Self { thread },
            TablesQueue {
                requests,
                waiting,
                most_waiting,
                unwalked: Vec::new(),
                dropped: 0,
                asked: false,
                quiet,
                passed: None,
            },
        ))
    }

    /// Waits for the end and says how full the tables were.
    ///
    /// # Errors
    /// When the thread panicked, which is a defect.
    pub fn join(self) -> io::Result<Figures> {
        self.thread.join().map_err(|_| io::Error::other("the tables thread panicked"))
    }
}

fn run<W: Words, K: Kernel>(
    mut tables: Tables<W, K>,
    requests: &Receiver<Request>,
    waiting: &AtomicUsize,
    quiet: &AtomicBool,
) -> Figures {
    // What it reads was opened by others.
    confine::keep_nothing();
    // While a table is not loaded, samples are copied out with their stacks, which costs more than loading it.
    priority::try_set(Urgency::Soon);
    let mut walked: Vec<WalkedSample> = Vec::new();
    while let Ok(request) = requests.recv() {
        match request {
            Request::Process(key, process) => tables.set_process(key, &process),
            Request::Excluded(key) => tables.exclude(key),
            Request::Gone(key) => tables.remove_process(&key),
            Request::Page(wanted) => tables.page_wanted(wanted.directory, wanted.page),
            Request::Sample(sample, process) => {
                walked.push(walk(&mut tables, &sample, process));
                waiting.fetch_sub(sample.stack_bytes(), Ordering::Relaxed);
            }
            Request::EndWindow(epoch, reply) => {
                // A collecting stage that is gone wants no samples.
                let _ = reply.send(take_until(&mut walked, epoch));
                let is_quiet = tables.end_window(epoch + 1) && walked.is_empty();
                quiet.store(is_quiet, Ordering::Relaxed);
                tracing::debug!(figures = ?tables.figures(), is_quiet, "unwind tables");
            }
            Request::Passed(epoch) => {
                tables.end_window(epoch + 1);
            }
        }
    }
    tables.finish();
    let figures = tables.figures();
    tracing::debug!(?figures, "unwind tables at the end");
    figures
}

/// Takes the samples of this window and earlier ones.
fn take_until(samples: &mut Vec<WalkedSample>, epoch: u64) -> Vec<WalkedSample> {
    let (taken, later) = std::mem::take(samples).into_iter().partition(|sample| sample.epoch <= epoch);
    *samples = later;
    taken
}

fn walk<W: Words, K: Kernel>(
    tables: &mut Tables<W, K>,
    sample: &DeferredSample,
    image: Arc<Process>,
) -> WalkedSample {
    let start = Start { pc: sample.pc, registers: sample.registers, is_return: sample.is_return };
    let parts: Vec<StackMemory<'_>> =
        sample.stack.iter().map(|part| StackMemory { start: part.start, bytes: &part.bytes }).collect();
    let memory = Parts(&parts);
    let memory = Watched::new(&memory);
    let (user, outcome) = tables.walk(start, &memory, &image);
    let used = memory.highest().saturating_sub(sample.places.ordinary);
    tables.learn_depth(&sample.process, sample.reach, used, outcome);
    tracing::debug!(
        "walked a sample of process {}: {} user frames, {}",
        sample.process.pid,
        user.len(),
        outcome.name()
    );
    finished(sample, &user, outcome, image)
}

/// A sample that could not be walked for want of time.
fn unwalked(sample: &DeferredSample, image: Arc<Process>) -> WalkedSample {
    finished(sample, &[sample.pc], Outcome::TableNotLoaded, image)
}

fn finished(sample: &DeferredSample, user: &[u64], outcome: Outcome, image: Arc<Process>) -> WalkedSample {
    let outcome = if image.mappings.is_empty() { Outcome::NewProcess } else { outcome };
    let header = Header::new(sample.kernel.len() as u64, user.len() as u64, outcome, sample.is_return);
    let words =
        std::iter::once(header.0).chain(sample.kernel.iter().copied()).chain(user.iter().copied()).collect();
    let DeferredSample { epoch, process, thread_name, .. } = *sample;
    WalkedSample { epoch, process, thread_name, words, outcome, image }
}

#[cfg(test)]
mod tests {
    use profiler_common::layout::Stacks;

    use super::*;
    use crate::unwind::fixture;

    const KEY: ProcessKey = ProcessKey { start_ns: 1, pid: 1, exec_id: 0 };

    /// Ends windows until the thread is not woken for one, and says which one that was.
    async fn until_quiet(queue: &mut TablesQueue, mut epoch: u64) -> u64 {
        while queue.passed.is_none() {
            assert!(queue.end_window(epoch).await.is_empty());
            epoch += 1;
            // It says that it has nothing more to do a moment after it has answered.
            std::thread::sleep(std::time::Duration::from_millis(1));
        }
        epoch - 1
    }

    #[tokio::test]
    async fn the_thread_sleeps_through_windows_in_which_nothing_is_asked_for() {
        let (thread, mut queue) = TablesThread::start(fixture::tables(), 1 << 20).unwrap();
        let epoch = until_quiet(&mut queue, 0).await;
        assert!(queue.end_window(epoch + 1).await.is_empty());
        assert_eq!(queue.passed, Some(epoch + 1));
        // Whatever is asked for comes after what it slept through.
        queue.set_process(KEY, Arc::default());
        assert_eq!(queue.passed, None);
        assert!(queue.end_window(epoch + 2).await.is_empty());
        assert_eq!(queue.passed, None, "there was something in this window");
        until_quiet(&mut queue, epoch + 3).await;
        drop(queue);
        thread.join().unwrap();
    }

    #[tokio::test]
    async fn a_sample_that_found_no_room_comes_with_its_window() {
        let (thread, mut queue) = TablesThread::start(fixture::tables(), 0).unwrap();
        let epoch = until_quiet(&mut queue, 0).await;
        let sample = DeferredSample {
            process: KEY,
            thread_name: Name::default(),
            epoch: epoch + 2,
            pc: 7,
            registers: [0; _],
            is_return: false,
            kernel: Vec::new(),
            places: Stacks::default(),
            stack: Vec::new(),
            reach: 0,
        };
        queue.leave(&sample, Arc::default());
        assert!(queue.end_window(epoch + 1).await.is_empty(), "it belongs to the next one");
        let walked = queue.end_window(epoch + 2).await;
        assert_eq!(walked.iter().map(|walked| walked.epoch).collect::<Vec<_>>(), [epoch + 2]);
        drop(queue);
        thread.join().unwrap();
    }
}
