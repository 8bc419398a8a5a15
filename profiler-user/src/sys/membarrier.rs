//! Waiting until the kernel side has let go of what it may still see.

use std::time::Duration;

/// Returns once every BPF program that was running has ended.
///
/// Ticks run with interrupts off, and MEMBARRIER_CMD_GLOBAL (Linux 4.3) waits until every CPU has passed through a
/// point where they are on: it is a wait for an RCU grace period, some 10 to 30 ms.
pub fn wait_for_running_programs() {
    const MEMBARRIER_CMD_GLOBAL: libc::c_int = 1;
    // SAFETY: numbers only.
    let ret = unsafe { libc::syscall(libc::SYS_membarrier, MEMBARRIER_CMD_GLOBAL, 0, 0) };
    if ret != 0 {
        // With nohz_full CPUs the kernel refuses. A tick takes microseconds; this is a thousand times as long.
        std::thread::sleep(Duration::from_millis(50));
    }
}
