//! A cap on CPU time: who works for later waits, so that who works for now need not.

use std::time::{Duration, Instant};

use crate::sys::own;

/// Longest that is waited at once: the end of a recording is not missed by more.
const LONGEST: Duration = Duration::from_millis(500);
/// CPU time that may be used ahead, as a time at the cap: a burst after a pause is no excess.
const AHEAD: Duration = Duration::from_secs(10);

/// Holds one thread back while the process uses more CPU time than its cap.
#[derive(Debug)]
pub struct Pace {
    /// CPUs; `None` for no cap.
    cap: Option<f64>,
    began: Instant,
    cpu_at_begin: Duration,
}

impl Pace {
    /// A cap in CPUs: 0.5 is half of one.
    #[must_use]
    pub fn new(cap: Option<f64>) -> Self {
        Self { cap, began: Instant::now(), cpu_at_begin: own::cpu() }
    }

    /// Waits until the process is within its cap. Call it between pieces of work.
    pub fn keep(&mut self) {
        let Some(cap) = self.cap else {
            return;
        };
        loop {
            let (elapsed, used) = (self.began.elapsed(), own::cpu().saturating_sub(self.cpu_at_begin));
            let Some(wait) = wait(cap, elapsed, used) else {
                if elapsed > AHEAD {
                    self.forget(cap, elapsed, used);
                }
                return;
            };
            std::thread::sleep(wait.min(LONGEST));
        }
    }

    /// Begins a new span of time, with what was used too little as credit, up to [`AHEAD`].
    fn forget(&mut self, cap: f64, elapsed: Duration, used: Duration) {
        let spare = elapsed.mul_f64(cap).saturating_sub(used).min(AHEAD.mul_f64(cap));
        self.began = Instant::now();
        self.cpu_at_begin = own::cpu();
        // Credit is time that has passed already.
        self.began = self.began.checked_sub(spare.div_f64(cap)).unwrap_or(self.began);
    }
}

/// How long to wait until `used` CPU time is within a cap; `None` where it is.
fn wait(cap: f64, elapsed: Duration, used: Duration) -> Option<Duration> {
    let due = used.div_f64(cap);
    due.checked_sub(elapsed).filter(|wait| !wait.is_zero())
}

#[cfg(test)]
mod tests {
    use super::*;

    const fn seconds(seconds: u64) -> Duration {
        Duration::from_secs(seconds)
    }

    #[test]
    fn cpu_time_above_the_cap_is_waited_for() {
        assert_eq!(wait(0.5, seconds(10), seconds(5)), None);
        assert_eq!(wait(0.5, seconds(10), seconds(4)), None);
        assert_eq!(wait(0.5, seconds(10), seconds(8)), Some(seconds(6)));
        assert_eq!(wait(2.0, seconds(1), seconds(4)), Some(seconds(1)));
    }

    #[test]
    fn without_a_cap_nobody_waits() {
        let mut pace = Pace::new(None);
        let begin = Instant::now();
        pace.keep();
        assert!(begin.elapsed() < seconds(60));
    }

    #[test]
    fn credit_is_bounded() {
        let mut pace = Pace::new(Some(0.5));
        pace.forget(0.5, seconds(1000), Duration::ZERO);
        let elapsed = pace.began.elapsed();
        assert!(elapsed >= AHEAD && elapsed < AHEAD + seconds(60), "{elapsed:?}");
    }
}
