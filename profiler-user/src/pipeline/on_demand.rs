//! What somebody wants to see of the next seconds, taken from the capture that runs anyway.
//!
//! A request cuts the window where it begins and where it ends, so what is between belongs to it alone, to the tick.
//! Requests at the same time share all windows; what they cut is put together again for everybody else
//! ([`Gatherer`], [`Rejoin`]).

use std::{
    sync::{
        Arc, Mutex, MutexGuard, PoisonError,
        atomic::{AtomicU64, Ordering},
    },
    time::Duration,
};

use tokio::sync::oneshot;

use super::{
    NamedWindow, ProcessProfile,
    asked::{self, Asking, Unasked},
    gather::Gatherer,
};
use crate::capture::{Cutter, sideband::boottime_ns};

/// Requests at once. Each holds a merged profile in memory.
pub const MOST: usize = 16;

/// Which processes a request wants.
pub type Wanted = Box<dyn Fn(&ProcessProfile) -> bool + Send>;

/// Why there is nothing.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Refused {
    /// Too many at once.
    #[error("{MOST} profiles are being taken already: try again when one of them is done")]
    TooMany,
    /// Too many questions at once.
    #[error("{most} requests for names wait already: try again in a moment", most = asked::MOST)]
    TooManyNames,
    /// The capture does not run yet, or no more.
    #[error("nothing is being captured: the profiler starts or ends")]
    NotRunning,
    /// Other hosts of the fleet have their turn.
    #[error(
        "this host profiles at other times only, for --fleet-fraction is less than 1: ask one whose turn it is"
    )]
    Paused,
}

/// One request.
struct Request {
    id: u64,
    /// From then until then, nanoseconds since boot; the end is not known until it comes.
    begin_ns: u64,
    end_ns: Option<u64>,
    wanted: Wanted,
    gatherer: Gatherer,
    answer: oneshot::Sender<(NamedWindow, Vec<String>)>,
}

/// All requests. The naming thread feeds them, others make them.
#[derive(Default)]
pub struct OnDemand {
    running: Mutex<State>,
    ids: AtomicU64,
}

/// Whether there is a capture.
#[derive(Default)]
enum State {
    /// There is none yet, or no more.
    #[default]
    NotRunning,
    /// There will be one again.
    Paused,
    /// There is one, with what it is asked for.
    Running { cutter: Arc<Cutter>, asking: Asking, requests: Vec<Request> },
}

impl State {
    fn requests(&mut self) -> Option<&mut Vec<Request>> {
        match self {
            State::Running { requests, .. } => Some(requests),
            State::NotRunning | State::Paused => None,
        }
    }
}

impl std::fmt::Debug for OnDemand {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("OnDemand").finish_non_exhaustive()
    }
}

impl OnDemand {
    /// From now on there are windows, and somebody who knows names.
    pub fn open(&self, cutter: Cutter, asking: Asking) {
        *self.lock() = State::Running { cutter: Arc::new(cutter), asking, requests: Vec::new() };
    }

    /// For a while there are no windows: who waits is told so.
    pub fn pause(&self) {
        *self.lock() = State::Paused;
    }

    /// There are no more windows: who waits is told so.
    pub fn close(&self) {
        *self.lock() = State::NotRunning;
    }

    /// What the wanted processes do from now on for this long, and what is missing of it. Dropping the future takes the
    /// request back.
    ///
    /// # Errors
    /// See [`Refused`].
    pub async fn take(
        &self,
        length: Duration,
        wanted: Wanted,
    ) -> Result<(NamedWindow, Vec<String>), Refused> {
        let (answer, answered) = oneshot::channel();
        let id = self.ids.fetch_add(1, Ordering::Relaxed);
        let begin_ns = boottime_ns();
        let cutter = match &mut *self.lock() {
            State::NotRunning => return Err(Refused::NotRunning),
            State::Paused => return Err(Refused::Paused),
            State::Running { requests, .. } if requests.len() >= MOST => return Err(Refused::TooMany),
            State::Running { cutter, requests, .. } => {
                let gatherer = Gatherer::default();
                requests.push(Request { id, begin_ns, end_ns: None, wanted, gatherer, answer });
                Arc::clone(cutter)
            }
        };
        // Also when nobody waits for the answer any more.
        let _registered = Registered { all: self, id };
        cutter.cut();
        // Where naming is behind, the window is not cut at once.
        if !cutter.begun(begin_ns).await {
            return Err(Refused::NotRunning);
        }
        tokio::time::sleep(length).await;
        let end_ns = boottime_ns();
        if let Some(request) = self.lock().requests().into_iter().flatten().find(|request| request.id == id) {
            request.end_ns = Some(end_ns);
        }
        cutter.cut();
        answered.await.map_err(|_| Refused::NotRunning)
    }

    /// The function at each address, where there is one: in a process, or without a pid in the kernel.
    ///
    /// # Errors
    /// See [`Refused`].
    pub async fn names(&self, pid: Option<u32>, addresses: Vec<u64>) -> Result<Vec<Option<String>>, Refused> {
        let asking = match &*self.lock() {
            State::NotRunning => return Err(Refused::NotRunning),
            State::Paused => return Err(Refused::Paused),
            State::Running { asking, .. } => asking.clone(),
        };
        asking.ask(pid, addresses).await.map_err(|unasked| match unasked {
            Unasked::TooMany => Refused::TooManyNames,
            Unasked::Over => Refused::NotRunning,
        })
    }

    /// Number of requests that are being answered.
    #[must_use]
    pub fn len(&self) -> usize {
        self.lock().requests().map_or(0, |requests| requests.len())
    }

    /// Whether nobody wants anything.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// Gives a window to those who want it.
    pub fn window(&self, window: &NamedWindow) {
        let [begin_ns, end_ns] = window.span.boottime_ns;
        let mut done = Vec::new();
        if let Some(requests) = self.lock().requests() {
            for request in requests.iter_mut() {
                if request.begin_ns <= begin_ns && request.end_ns.is_none_or(|end| begin_ns < end) {
                    request.gatherer.add(window, &request.wanted);
                }
            }
            done.extend(requests.extract_if(.., |request| request.end_ns.is_some_and(|end| end <= end_ns)));
        }
        for request in done {
            // Who has gone away wants nothing.
            let _ = request.answer.send(request.gatherer.finish());
        }
    }

    /// What a thread that panicked left is whole.
    fn lock(&self) -> MutexGuard<'_, State> {
        self.running.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Takes a request back.
struct Registered<'a> {
    all: &'a OnDemand,
    id: u64,
}

impl Drop for Registered<'_> {
    fn drop(&mut self) {
        if let Some(requests) = self.all.lock().requests() {
            requests.retain(|request| request.id != self.id);
        }
    }
}

/// Puts windows together again that were cut.
#[derive(Debug, Default)]
pub struct Rejoin(Option<Gatherer>);

impl Rejoin {
    /// The whole window once its last part is there, and what is missing of it.
    pub fn window(&mut self, part: NamedWindow) -> Option<(NamedWindow, Vec<String>)> {
        if self.0.is_none() && !part.cut {
            return Some((part, Vec::new()));
        }
        let gatherer = self.0.get_or_insert_default();
        gatherer.add(&part, |_| true);
        if part.cut { None } else { self.0.take().map(Gatherer::finish) }
    }

    /// What was cut and has had no end.
    pub fn rest(&mut self) -> Option<(NamedWindow, Vec<String>)> {
        self.0.take().map(Gatherer::finish)
    }
}

#[cfg(test)]
mod tests {
    use profiler_common::{layout::ProcessKey, outcome::OUTCOMES};

    use super::*;
    use crate::pipeline::Effort;
    use crate::profile::{build::Span, fixture};

    fn window(pid: u32, boottime_ns: [u64; 2], cut: bool) -> NamedWindow {
        let span = Span { duration_ns: boottime_ns[1] - boottime_ns[0], boottime_ns, ..Span::default() };
        let process = ProcessProfile {
            key: ProcessKey { pid, exec_id: 0, start_ns: 1 },
            name: "a".to_owned(),
            profile: fixture::two_threads(),
            outcomes: [0; OUTCOMES],
        };
        NamedWindow { span, outcomes: [0; OUTCOMES], profiles: vec![process], cut, effort: Effort::default() }
    }

    fn pids(window: &NamedWindow) -> Vec<u32> {
        let mut pids: Vec<u32> = window.profiles.iter().map(|process| process.key.pid).collect();
        pids.sort_unstable();
        pids
    }

    fn any() -> Wanted {
        Box::new(|_| true)
    }

    #[tokio::test]
    async fn requests_have_what_was_counted_between_their_begin_and_end() {
        let all = OnDemand::default();
        let mut answers = Vec::new();
        let third: Wanted = Box::new(|process| process.key.pid == 3);
        let requests = [(100, Some(200), any()), (100, Some(200), third), (150, None, any())].map(
            |(begin_ns, end_ns, wanted)| {
                let (answer, answered) = oneshot::channel();
                answers.push(answered);
                Request { id: 0, begin_ns, end_ns, wanted, gatherer: Gatherer::default(), answer }
            },
        );
        all.open(Cutter::of_nothing(), Asking::new().0);
        all.lock().requests().unwrap().extend(requests);
        for (pid, begin, end) in [(1, 50, 100), (2, 100, 150), (3, 150, 200)] {
            assert_eq!(all.len(), 3);
            all.window(&window(pid, [begin, end], true));
        }
        assert_eq!(all.len(), 1, "one has no end yet");
        all.window(&window(4, [200, 260], false));
        let mut seen = Vec::new();
        for answer in answers.drain(..2) {
            let (window, errors) = answer.await.unwrap();
            assert!(errors.is_empty(), "{errors:?}");
            seen.push((pids(&window), window.span.boottime_ns));
        }
        assert_eq!(seen, [(vec![2, 3], [100, 200]), (vec![3], [100, 200])]);
        all.pause();
        assert_eq!(all.take(Duration::ZERO, any()).await.unwrap_err(), Refused::Paused);
        all.close();
        assert_eq!(all.take(Duration::ZERO, any()).await.unwrap_err(), Refused::NotRunning);
    }

    #[tokio::test(start_paused = true)]
    async fn who_goes_away_is_forgotten() {
        let all = OnDemand::default();
        all.open(Cutter::of_nothing(), Asking::new().0);
        let wait = tokio::time::timeout(Duration::from_secs(1), all.take(Duration::from_secs(60), any()));
        assert!(wait.await.is_err());
        assert!(all.is_empty());
        let taking = all.take(Duration::from_secs(1), any());
        let closing = async {
            tokio::time::sleep(Duration::from_secs(2)).await;
            all.close();
        };
        let (taken, ()) = tokio::join!(taking, closing);
        assert_eq!(taken.unwrap_err(), Refused::NotRunning);
    }

    #[test]
    fn parts_of_a_window_are_put_together() {
        let mut rejoin = Rejoin::default();
        let (whole, _) = rejoin.window(window(1, [0, 10], false)).unwrap();
        assert_eq!(pids(&whole), [1]);
        assert!(rejoin.window(window(1, [10, 13], true)).is_none());
        assert!(rejoin.window(window(2, [13, 14], true)).is_none());
        let (whole, errors) = rejoin.window(window(3, [14, 20], false)).unwrap();
        assert_eq!((pids(&whole), whole.span.boottime_ns, errors.len()), (vec![1, 2, 3], [10, 20], 0));
        assert!(rejoin.rest().is_none());
        assert!(rejoin.window(window(4, [20, 21], true)).is_none());
        assert_eq!(rejoin.rest().map(|(rest, _)| pids(&rest)), Some(vec![4]));
    }
}
