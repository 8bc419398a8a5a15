//! When to look how full a window's bank is, so that a window ends early rather than losing samples.
//!
//! A bank that has room for every tick of the window is never looked at: the capturing thread sleeps from one end to the
//! next. Where the budget does not give that much, it wakes when the bank can be nearly full at the earliest, and from what
//! it sees then, when to look again.

use std::time::Duration;

use super::{Options, Sizes, sizes::CHUNKS_PER_STACK};

/// How full a bank may be when its window goes on.
const ENOUGH: f64 = 0.75;
/// How full it may become until the next look.
const MOST: f64 = 0.9;
/// Shortest time between two looks.
const SHORTEST: Duration = Duration::from_millis(10);

/// What to do with a window.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Verdict {
    /// It ends.
    End,
    /// It goes on, and this is how long it may do so without another look.
    GoOn(Duration),
}

/// How long a window may last before its bank has to be looked at; `None` where it never has.
pub(super) fn first_look(sizes: &Sizes, options: &Options) -> Option<Duration> {
    // Who sets the sizes wants them, and not others.
    if options.max_stacks.is_some() || options.max_counts.is_some() {
        return None;
    }
    let per_cpu = f64::from(sizes.chunks_per_cpu()) / CHUNKS_PER_STACK as f64;
    let per_cpu = per_cpu.min(f64::from(sizes.counts) / f64::from(sizes.cpus.max(1)));
    let seconds = per_cpu / f64::from(options.frequency_hz.max(1));
    if seconds >= options.window.as_secs_f64() {
        return None;
    }
    Some(Duration::try_from_secs_f64(ENOUGH * seconds).unwrap_or(Duration::MAX).max(SHORTEST))
}

/// What a look shows: the window has lasted for `elapsed`, and its bank is `full`, 1 being all.
pub(super) fn look(elapsed: Duration, full: f64) -> Verdict {
    if full >= ENOUGH {
        return Verdict::End;
    }
    // It may fill up twice as fast from now on.
    let rate = 2.0 * full.max(1e-6) / elapsed.as_secs_f64().max(1e-3);
    let seconds = (MOST - full) / rate;
    Verdict::GoOn(Duration::try_from_secs_f64(seconds).unwrap_or(Duration::MAX).max(SHORTEST))
}

#[cfg(test)]
mod tests {
    use super::*;

    const fn seconds(seconds: u64) -> Duration {
        Duration::from_secs(seconds)
    }

    fn options(frequency_hz: u32, window: u64, window_mib: usize) -> Options {
        Options {
            frequency_hz,
            window: seconds(window),
            window_bytes: window_mib << 20,
            ..Options::default()
        }
    }

    #[test]
    fn a_bank_with_room_for_every_tick_is_not_looked_at() {
        for (hertz, window) in [(19, 60), (99, 10), (999, 1)] {
            let options = options(hertz, window, 24);
            assert_eq!(first_look(&Sizes::new(&options, 2), &options), None, "{hertz} Hz, {window} s");
        }
    }

    #[test]
    fn a_bank_that_is_smaller_is_looked_at_before_it_can_be_full() {
        let options = options(999, 60, 24);
        let sizes = Sizes::new(&options, 2);
        let look = first_look(&sizes, &options).unwrap();
        let ticks = look.as_secs_f64() * 999.0 * 2.0;
        assert!(
            ticks > f64::from(sizes.counts) / 2.0 && ticks < f64::from(sizes.counts),
            "{ticks} {sizes:?}"
        );
        assert_eq!(first_look(&sizes, &Options { max_stacks: Some(100), ..options }), None);
    }

    #[test]
    fn a_look_ends_the_window_or_says_when_to_look_again() {
        assert_eq!(look(seconds(8), 0.76), Verdict::End);
        // A tenth in eight seconds: eight tenths may come in half the time.
        assert_eq!(look(seconds(8), 0.1), Verdict::GoOn(seconds(32)));
        let Verdict::GoOn(again) = look(seconds(8), 0.74) else { panic!("it goes on") };
        assert!(again < seconds(1), "{again:?}");
        assert!(matches!(look(seconds(8), 0.0), Verdict::GoOn(long) if long > seconds(3600)));
    }
}
