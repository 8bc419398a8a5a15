//! Files with symbols for frames that have no names here, for a receiver that can name them: Parca.
//!
//! The naming thread notes the objects of a window's unnamed frames and opens their files, for their processes may be gone
//! soon; a task on the upload thread offers them one by one. What was asked once is not asked again, unless it failed.

mod body;
mod elf;
mod find;
mod service;

use std::collections::{HashSet, VecDeque};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use tokio::sync::Notify;

use super::answer::Refusal;
use super::target::Target;
use crate::pipeline::NamedWindow;
use crate::profile::labels::LabelFilter;
use find::Candidate;
use service::{Offered, Service};

/// Build-ids that are remembered. After that many, all are asked again, and the receiver knows most.
const MOST_ASKED: usize = 4096;

/// Open files that wait.
const MOST_WAITING: usize = 32;

/// Between two files: this is the least urgent of all that is sent.
const REST: Duration = Duration::from_secs(2);

/// After a failure.
const LONG_REST: Duration = Duration::from_secs(60);

/// What became of files.
#[derive(Debug, Default)]
pub struct Files {
    /// The receiver has them from here.
    pub sent: AtomicU64,
    /// The receiver had them already, or does not want them.
    pub not_wanted: AtomicU64,
    /// There are no symbols in them.
    pub useless: AtomicU64,
    /// They are larger than may be sent.
    pub too_large: AtomicU64,
    /// Requests failed; the next window brings them again.
    pub failed: AtomicU64,
    /// Too many waited; a later window brings them again.
    pub dropped: AtomicU64,
}

/// What is to be offered.
#[derive(Debug, Default)]
pub struct Debuginfo {
    state: Mutex<State>,
    news: Notify,
    /// What became of files.
    pub files: Files,
}

#[derive(Debug, Default)]
struct State {
    asked: HashSet<String>,
    waiting: VecDeque<Candidate>,
}

impl Debuginfo {
    /// Notes the objects of unnamed frames of the processes that are selected.
    pub(super) fn window(&self, window: &NamedWindow, selected: &LabelFilter) {
        for process in window.profiles.iter().filter(|process| selected.passes_any(&process.profile)) {
            for wanted in find::unnamed(&process.profile) {
                let mut state = self.state();
                if state.asked.contains(wanted.build_id) {
                    continue;
                }
                if state.waiting.len() >= MOST_WAITING {
                    self.files.dropped.fetch_add(1, Ordering::Relaxed);
                    continue;
                }
                // A process that is gone already has no file to open; another one may have.
                let Some(candidate) = Candidate::open(process.key.pid, &wanted) else { continue };
                if state.asked.len() >= MOST_ASKED {
                    state.asked.clear();
                }
                state.asked.insert(candidate.build_id.clone());
                state.waiting.push_back(candidate);
                self.news.notify_one();
            }
        }
    }

    /// Offers files for ever.
    pub(super) async fn run(&self, target: &Target, service: Service) {
        loop {
            let next = self.state().waiting.pop_front();
            let Some(candidate) = next else {
                self.news.notified().await;
                continue;
            };
            let (name, id) = (candidate.name.clone(), candidate.build_id.clone());
            let count = |counter: &AtomicU64| counter.fetch_add(1, Ordering::Relaxed);
            let rest = match service.offer(candidate, target.debuginfo_size).await {
                Ok(Offered::Sent) => {
                    count(&self.files.sent);
                    tracing::info!("upload {}: symbols of {name} ({id}) were sent", target.name);
                    REST
                }
                Ok(Offered::NotWanted) => {
                    count(&self.files.not_wanted);
                    REST
                }
                Ok(Offered::Useless) => {
                    count(&self.files.useless);
                    // Nobody was asked.
                    Duration::ZERO
                }
                Ok(Offered::TooLarge) => {
                    count(&self.files.too_large);
                    Duration::ZERO
                }
                Err(refusal) => {
                    count(&self.files.failed);
                    tracing::warn!("upload {}: symbols of {name} ({id}): {}", target.name, refusal.why());
                    match refusal {
                        // What is wrong with it stays wrong.
                        Refusal::Never { .. } | Refusal::TooLarge { .. } => REST,
                        Refusal::Later { after, .. } => {
                            self.state().asked.remove(&id);
                            after.unwrap_or(LONG_REST)
                        }
                    }
                }
            };
            tokio::time::sleep(rest).await;
        }
    }

    /// What a thread that panicked left is whole.
    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// The service of a target.
///
/// # Errors
/// A file that the target names cannot be used.
pub(super) fn service(target: &Target) -> std::io::Result<Service> {
    Service::new(target)
}
