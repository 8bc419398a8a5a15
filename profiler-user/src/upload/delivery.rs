//! Brings batches to a receiver: the oldest first, again after every failure, until it has them or they are too old.

mod counters;
mod suspects;
mod waiting;

use std::hash::{BuildHasher, RandomState};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, SystemTime};

use tokio::sync::Notify;

use super::answer::Refusal;
use super::batch::Batch;
use super::debuginfo::Debuginfo;
use super::receiver::Receiver;
use super::split::{fitting, halves};
use super::spool::{NotKept, Spool};
use super::target::Target;
pub use counters::Counters;
use counters::add;
use suspects::Suspects;
use waiting::{Place, Put, Waiting};

/// How long to wait between two batches of a backlog: a receiver that just came back is not flooded.
const PACE: Duration = Duration::from_millis(200);

/// The longest that a new batch waits by chance: a fleet that was started at once does not send at once.
const LONGEST_JITTER: Duration = Duration::from_secs(10);

/// One target's batches. The naming thread puts them in, a task takes them out.
#[derive(Debug)]
pub struct Delivery {
    target: Target,
    waiting: Mutex<Waiting>,
    news: Notify,
    ending: AtomicBool,
    hurry: Notify,
    /// What became of them.
    pub counters: Counters,
    /// What else is offered.
    pub debuginfo: Debuginfo,
}

impl Delivery {
    /// For a target, with what its spool has from earlier.
    #[must_use]
    pub fn new(target: Target, spool: Spool) -> Arc<Self> {
        let delivery = Self {
            target,
            waiting: Mutex::new(Waiting::new(spool)),
            news: Notify::new(),
            ending: AtomicBool::new(false),
            hurry: Notify::new(),
            counters: Counters::default(),
            debuginfo: Debuginfo::default(),
        };
        delivery.measure();
        Arc::new(delivery)
    }

    /// The target's name.
    #[must_use]
    pub fn name(&self) -> &str {
        &self.target.name
    }

    /// The target.
    #[must_use]
    pub fn target(&self) -> &Target {
        &self.target
    }

    /// Takes a batch.
    pub fn put(&self, batch: Batch) {
        let series = batch.series.len();
        if series == 0 {
            return;
        }
        add(&self.counters.made, series);
        match self.waiting().put(batch) {
            Put::OnDisk => {}
            Put::InMemory(error) => {
                tracing::warn!("upload {}: {error}; the window waits in memory", self.name());
            }
            Put::Nowhere(error @ NotKept::Full(_)) => {
                tracing::warn!("upload {}: {error}", self.name());
                add(&self.counters.full, series);
            }
            Put::Nowhere(error) => {
                tracing::error!("upload {}: {error}; the window is lost", self.name());
                add(&self.counters.lost, series);
            }
        }
        self.measure();
        self.news.notify_one();
    }

    /// Whether nothing waits.
    #[must_use]
    pub fn is_done(&self) -> bool {
        self.waiting().len() == 0
    }

    /// The end is near: what waits by chance goes now.
    pub fn hurry(&self) {
        self.ending.store(true, Ordering::Relaxed);
        self.hurry.notify_one();
    }

    /// Nothing is sent any more. What is not on disk is lost, and counted.
    pub fn close(&self) {
        let mut waiting = self.waiting();
        waiting.settle();
        let lost = waiting.forget_memory();
        let left = waiting.len();
        drop(waiting);
        self.measure();
        if lost > 0 {
            add(&self.counters.lost, lost);
            tracing::error!("upload {}: {lost} profiles are lost: the disk takes none", self.name());
        }
        if left > 0 {
            tracing::info!("upload {}: {left} windows wait on disk for the next start", self.name());
        }
    }

    /// Delivers for ever. Stopping it at any time loses nothing that lies on disk.
    pub async fn run(&self, receiver: Box<dyn Receiver>) {
        let mut failures = 0_u32;
        let mut is_new = false;
        loop {
            self.expire();
            let Some(place) = self.waiting().oldest() else {
                failures = 0;
                self.news.notified().await;
                is_new = true;
                continue;
            };
            let Some(batch) = self.read(&place) else { continue };
            if std::mem::take(&mut is_new) {
                self.jitter(&batch).await;
            }
            let outcome = self.deliver(receiver.as_ref(), batch, &place).await;
            self.measure();
            match outcome {
                Ok(()) => {
                    failures = 0;
                    if !self.is_done() {
                        tokio::time::sleep(PACE).await;
                    }
                }
                Err(after) => {
                    add(&self.counters.retries, 1);
                    tokio::time::sleep(after.unwrap_or_else(|| self.back_off(failures))).await;
                    failures = failures.saturating_add(1);
                }
            }
        }
    }

    /// Sends a batch piece by piece; what has arrived is never sent again, even if the next piece fails. An error says how
    /// long the receiver wants to be left alone.
    async fn deliver(
        &self,
        receiver: &dyn Receiver,
        mut batch: Batch,
        place: &Place,
    ) -> Result<(), Option<Duration>> {
        let limits = receiver.limits();
        let mut suspects = Suspects::default();
        while let Some(first) = batch.series.first() {
            if first.plain_bytes > limits.profile_bytes && self.split_first(&mut batch, place) {
                continue;
            }
            let untried = batch.series.len().saturating_sub(suspects.total());
            let whole = match batch.series.get(..untried) {
                Some(series) if untried > 0 => fitting(series, limits),
                _ => suspects.next(),
            };
            let mut count = whole;
            // Pieces that the receiver found too large become smaller until they fit.
            let sent = loop {
                let piece = batch.series.get(..count).unwrap_or_default();
                match receiver.send(&batch, piece).await {
                    Err(Refusal::TooLarge { .. }) if count > 1 => count /= 2,
                    sent => break sent,
                }
            };
            if untried == 0 {
                suspects.put_back(whole - count);
            }
            match sent {
                Ok(()) => {
                    suspects.taken();
                    add(&self.counters.delivered, count);
                    add(
                        &self.counters.bytes,
                        batch.series.iter().take(count).map(|series| series.profile.len()).sum(),
                    );
                }
                Err(Refusal::TooLarge { .. }) if self.split_first(&mut batch, place) => {
                    if untried == 0 {
                        suspects.put_back(2);
                    }
                    continue;
                }
                Err(Refusal::Later { after, why }) => {
                    tracing::warn!("upload {}: {why}; it is tried again", self.name());
                    // To disk, if that has room by now.
                    self.waiting().settle();
                    return Err(after);
                }
                Err(refusal) if suspects.refused(count) => {
                    tracing::warn!("upload {}: {}; its halves are tried", self.name(), refusal.why());
                    batch.series.rotate_left(count);
                    tokio::time::sleep(PACE).await;
                    continue;
                }
                Err(refusal) => {
                    if untried == 0 && suspects.is_hopeless() {
                        count += suspects.give_up();
                    }
                    let why = refusal.why();
                    tracing::error!("upload {}: {why}; {count} profiles are given up", self.name());
                    add(&self.counters.rejected, count);
                }
            }
            batch.series.drain(..count);
            self.keep_rest(&batch, place);
        }
        Ok(())
    }

    /// Puts two halves in the place of the first series; `false` where there are none.
    fn split_first(&self, batch: &mut Batch, place: &Place) -> bool {
        let Some([one, other]) = batch.series.first().and_then(halves) else { return false };
        // There is one more now.
        add(&self.counters.made, 1);
        batch.series.splice(..1, [one, other]);
        self.keep_rest(batch, place);
        true
    }

    /// Makes what has arrived not be sent again, whatever happens next.
    fn keep_rest(&self, rest: &Batch, place: &Place) {
        let mut waiting = self.waiting();
        if rest.series.is_empty() {
            waiting.remove(place);
        } else if let Err(error) = waiting.replace(place, rest) {
            // It may be sent twice then, with ids that tell so.
            tracing::warn!("upload {}: {error}", self.name());
        }
    }

    fn read(&self, place: &Place) -> Option<Batch> {
        let mut waiting = self.waiting();
        let batch = waiting.read(place);
        if batch.is_none() {
            // How many series it had nobody knows.
            waiting.remove(place);
            add(&self.counters.lost, 1);
        }
        batch
    }

    /// Gives up what is too old.
    fn expire(&self) {
        let now = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default();
        let now = u64::try_from(now.as_nanos()).unwrap_or(u64::MAX);
        let expired = self.waiting().expire(now);
        if !expired.is_empty() {
            add(&self.counters.expired, expired.iter().sum());
            tracing::warn!("upload {}: {} windows became too old to be sent", self.name(), expired.len());
            self.measure();
        }
    }

    /// Waits up to a tenth of what a new batch covers, by chance.
    async fn jitter(&self, batch: &Batch) {
        let longest = (Duration::from_nanos(batch.duration_ns) / 10).min(LONGEST_JITTER);
        if !self.ending.load(Ordering::Relaxed) {
            // A time that is over, or the end: both are fine.
            let _ = tokio::time::timeout(longest.mul_f64(chance()), self.hurry.notified()).await;
        }
    }

    /// Twice as long after each failure, and not all hosts at once: the half of it is chance.
    fn back_off(&self, failures: u32) -> Duration {
        let Target { retry_min, retry_max, .. } = self.target;
        let longest =
            retry_min.saturating_mul(1_u32.checked_shl(failures.min(20)).unwrap_or(u32::MAX)).min(retry_max);
        longest.mul_f64(0.5 + 0.5 * chance())
    }

    fn measure(&self) {
        let waiting = self.waiting();
        let [batches, bytes] = &self.counters.waiting;
        batches.store(waiting.len() as u64, Ordering::Relaxed);
        bytes.store(waiting.bytes(), Ordering::Relaxed);
    }

    /// What a thread that panicked left is whole.
    fn waiting(&self) -> MutexGuard<'_, Waiting> {
        self.waiting.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// From 0 to 1.
fn chance() -> f64 {
    // Keys of a hasher are random.
    RandomState::new().hash_one(0) as f64 / u64::MAX as f64
}

#[cfg(test)]
mod tests;
