//! Work that takes CPU time, away from the thread that serves: a few jobs at once, some waiting, no more.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use tokio::sync::Semaphore;
use tokio::task::spawn_blocking;

/// More jobs at once than this gain nothing: each of them reads a profile of its own into memory.
const MOST_AT_ONCE: usize = 4;

/// Requests that wait beyond this number are sent away.
const MOST_WAITING: usize = 32;

/// Why a job has no result.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum NoResult {
    /// Too many wait already.
    #[error("too many reports are being made: try again in a moment")]
    Busy,
    /// It panicked.
    #[error("making the report failed; the terminal that the profiler runs in says why")]
    Failed,
}

/// Runs jobs.
#[derive(Clone, Debug)]
pub struct Work {
    permits: Arc<Semaphore>,
    waiting: Arc<AtomicUsize>,
}

impl Default for Work {
    fn default() -> Work {
        let cpus = std::thread::available_parallelism().map_or(1, usize::from);
        Work { permits: Arc::new(Semaphore::new(cpus.min(MOST_AT_ONCE))), waiting: Arc::default() }
    }
}

impl Work {
    /// Runs a job on a thread for blocking work, when its turn comes.
    ///
    /// # Errors
    /// There is no turn, or the job panics.
    pub async fn run<T: Send + 'static>(
        &self,
        job: impl FnOnce() -> T + Send + 'static,
    ) -> Result<T, NoResult> {
        let place = Place::take(&self.waiting).ok_or(NoResult::Busy)?;
        let permit = Arc::clone(&self.permits).acquire_owned().await.map_err(|_| NoResult::Failed)?;
        drop(place);
        let job = move || {
            // Until the job is done, even where nobody waits for it any more.
            let _permit = permit;
            job()
        };
        spawn_blocking(job).await.map_err(|_| NoResult::Failed)
    }
}

/// A place in the queue.
struct Place(Arc<AtomicUsize>);

impl Place {
    fn take(waiting: &Arc<AtomicUsize>) -> Option<Place> {
        let place = Place(Arc::clone(waiting));
        (waiting.fetch_add(1, Ordering::Relaxed) < MOST_WAITING).then_some(place)
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        self.0.fetch_sub(1, Ordering::Relaxed);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn sends_away_what_finds_no_place() {
        let work = Work::default();
        assert_eq!(work.run(|| 7).await, Ok(7));
        let places: Vec<_> = (0..MOST_WAITING).map(|_| Place::take(&work.waiting)).collect();
        assert!(places.iter().all(Option::is_some));
        assert_eq!(work.run(|| 7).await, Err(NoResult::Busy));
        drop(places);
        assert_eq!(work.run(|| 7).await, Ok(7));
    }
}
