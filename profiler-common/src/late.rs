//! Ticks that a CPU's timer did not deliver, and which of them CPU time was spent in.
//!
//! The timer goes on from the next whole period when it is late (`hrtimer_forward_now`, kernel/events/core.c), so that the
//! time between two ticks tells how many are left out. It is late where nobody asks for the CPU: a virtual machine's CPU that
//! sleeps gets its interrupts when its host finds the time. And it is late, or the program is not run, where time is spent: with
//! interrupts off, while the host runs somebody else, or in another BPF program (`bpf_prog_active`).

/// Ticks that are left out between two that are `gap_ns` apart.
#[inline(always)]
#[must_use]
pub const fn late_ticks(gap_ns: u64, period_ns: u64) -> u64 {
    if period_ns == 0 {
        return 0;
    }
    (gap_ns.saturating_add(period_ns / 2) / period_ns).saturating_sub(1)
}

/// How many of `late` ticks were due while the running task had the CPU, which it got `ran_ns` ago, on a CPU that was idle at some
/// time since the last tick. The others count as idle time: a tick that is due while a task runs is delivered to that task,
/// so that what is late from before this task had the CPU was due when none ran.
#[inline(always)]
#[must_use]
pub const fn due_since(late: u64, ran_ns: u64, period_ns: u64) -> u64 {
    if period_ns == 0 {
        return late;
    }
    let due = ran_ns / period_ns;
    if due < late { due } else { late }
}

#[cfg(test)]
mod tests {
    use super::*;

    const MS: u64 = 1_000_000;

    #[test]
    fn a_tick_is_late_by_whole_periods() {
        let late = |gap| late_ticks(gap, 10 * MS);
        assert_eq!([0, MS, 10 * MS, 14 * MS].map(late), [0; 4]);
        assert_eq!([15 * MS, 20 * MS, 24 * MS].map(late), [1; 3]);
        assert_eq!(late(1_000 * MS), 99);
        assert_eq!(late_ticks(MS, 0), 0, "no period is known before the clocks tick");
        assert_eq!(late_ticks(u64::MAX, 1), u64::MAX - 1);
    }

    #[test]
    fn what_was_due_before_the_task_began_was_not_its() {
        let missed = |late, ran| due_since(late, ran, 10 * MS);
        assert_eq!(missed(99, 0), 0, "woken by the tick, or just before it");
        assert_eq!(missed(99, 9 * MS), 0, "the tick that came was the first that was due");
        assert_eq!(missed(99, 10 * MS), 1);
        assert_eq!(missed(99, 250 * MS), 25);
        assert_eq!(missed(3, 250 * MS), 3, "it ran before the last tick, too");
        assert_eq!(due_since(3, 0, 0), 3);
    }
}
