//! CPU time as the kernel accounts it, recorded beside a profile to compare with.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::JoinHandle;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use crate::family;

/// How often the clocks are read. Between two readings CPU time is taken to grow evenly.
const INTERVAL: Duration = Duration::from_millis(20);

/// CPU time of a process so far, user and system, seconds, in steps of ten milliseconds; 0 where there is none.
pub fn seconds_of(pid: u32) -> f64 {
    // Behind the name, which may have blanks: user and system time are the 14th and 15th field (proc(5)).
    let stat = std::fs::read_to_string(format!("/proc/{pid}/stat")).unwrap_or_default();
    let fields: Vec<&str> = stat.rsplit_once(')').map_or("", |(_, rest)| rest).split_whitespace().collect();
    let ticks: f64 =
        fields.get(11..13).unwrap_or_default().iter().filter_map(|f| f.parse::<f64>().ok()).sum();
    ticks / 100.0
}

/// Likewise of a process and its descendants that live.
pub fn seconds_of_family(pid: u32) -> f64 {
    family::of(pid).into_iter().map(seconds_of).sum()
}

/// Readings of the CPU clocks of some processes and of their threads, over time.
#[derive(Debug, Default)]
pub struct CpuLog {
    /// Per process: (Unix time, CPU time of all threads), nanoseconds, in order.
    processes: BTreeMap<u32, Vec<(i64, i64)>>,
    /// Per process and thread name, likewise.
    threads: BTreeMap<(u32, String), Vec<(i64, i64)>>,
}

impl CpuLog {
    /// CPU time that process `pid` spent between two Unix times, nanoseconds.
    pub fn process(&self, pid: u32, from: i64, until: i64) -> i64 {
        between(self.processes.get(&pid).unwrap_or_else(|| panic!("pid {pid} is not logged")), from, until)
    }

    /// CPU time that the threads of `pid` with this name spent between two Unix times, nanoseconds.
    pub fn thread(&self, pid: u32, name: &str, from: i64, until: i64) -> i64 {
        let readings = self.threads.get(&(pid, name.to_owned()));
        between(readings.unwrap_or_else(|| panic!("pid {pid} has no thread {name}")), from, until)
    }

    fn read(&mut self, pid: u32) {
        if let Some(cpu) = process_clock(pid) {
            self.processes.entry(pid).or_default().push((unix_now(), cpu));
        }
        let Ok(tasks) = std::fs::read_dir(format!("/proc/{pid}/task")) else { return };
        for task in tasks.flatten() {
            let name = std::fs::read_to_string(task.path().join("comm"));
            let stat = std::fs::read_to_string(task.path().join("schedstat"));
            let (Ok(name), Ok(stat)) = (name, stat) else { continue };
            let Some(Ok(cpu)) = stat.split(' ').next().map(str::parse) else { continue };
            self.threads.entry((pid, name.trim_end().to_owned())).or_default().push((unix_now(), cpu));
        }
    }
}

/// Reads clocks in the background until it is stopped.
#[derive(Debug)]
pub struct CpuWatch {
    stop: Arc<AtomicBool>,
    thread: JoinHandle<CpuLog>,
}

impl CpuWatch {
    /// Starts to read the clocks of these processes.
    pub fn start(pids: &[u32]) -> CpuWatch {
        let (pids, stop) = (pids.to_vec(), Arc::new(AtomicBool::new(false)));
        let stopped = Arc::clone(&stop);
        let thread = std::thread::spawn(move || {
            let mut log = CpuLog::default();
            loop {
                let last = stopped.load(Ordering::Relaxed);
                pids.iter().for_each(|&pid| log.read(pid));
                if last {
                    return log;
                }
                std::thread::sleep(INTERVAL);
            }
        });
        CpuWatch { stop, thread }
    }

    /// Reads once more and hands the log over.
    pub fn finish(self) -> CpuLog {
        self.stop.store(true, Ordering::Relaxed);
        self.thread.join().expect("the thread that reads CPU clocks")
    }
}

/// Unix time, nanoseconds.
pub fn unix_now() -> i64 {
    i64::try_from(SystemTime::now().duration_since(UNIX_EPOCH).unwrap().as_nanos()).unwrap()
}

/// Time that all CPUs together have been idle since they were started, seconds, in steps of ten milliseconds. The kernel takes it
/// by the clock (kernel/time/tick-sched.c), where the other figures of /proc/stat may be samples of its own tick.
pub fn idle_seconds() -> f64 {
    let stat = std::fs::read_to_string("/proc/stat").unwrap_or_default();
    // cpu user nice system idle iowait (proc_stat(5))
    let ticks = stat.split_whitespace().skip(4).take(2).filter_map(|field| field.parse::<f64>().ok());
    ticks.sum::<f64>() / 100.0
}

/// How many CPUs are online.
pub fn online_cpus() -> i64 {
    // SAFETY: sysconf has no preconditions.
    unsafe { libc::sysconf(libc::_SC_NPROCESSORS_ONLN) }
}

/// CLOCK_PROCESS_CPUTIME_ID of another process, nanoseconds; none when it is gone.
pub fn process_clock(pid: u32) -> Option<i64> {
    let mut clock = 0;
    // SAFETY: `clock` is a live variable of the right type.
    if unsafe { libc::clock_getcpuclockid(pid.cast_signed(), &raw mut clock) } != 0 {
        return None;
    }
    let mut time = libc::timespec { tv_sec: 0, tv_nsec: 0 };
    // SAFETY: `time` is a live variable of the right type.
    let result = unsafe { libc::clock_gettime(clock, &raw mut time) };
    (result == 0).then_some(time.tv_sec * 1_000_000_000 + time.tv_nsec)
}

/// Growth of a clock between two times, interpolated; a time outside of the readings counts as the nearest reading.
fn between(readings: &[(i64, i64)], from: i64, until: i64) -> i64 {
    at(readings, until) - at(readings, from)
}

fn at(readings: &[(i64, i64)], time: i64) -> i64 {
    let next = readings.partition_point(|&(t, _)| t < time);
    match (next.checked_sub(1).map(|i| readings[i]), readings.get(next)) {
        (Some((t0, c0)), Some(&(t1, c1))) => {
            c0 + ((c1 - c0) as f64 * (time - t0) as f64 / (t1 - t0) as f64) as i64
        }
        (Some((_, cpu)), None) | (None, Some(&(_, cpu))) => cpu,
        (None, None) => panic!("a clock without readings"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn growth_is_interpolated_between_readings() {
        assert_eq!(between(&[(0, 0), (10, 10), (20, 10)], 5, 15), 5);
        assert_eq!(between(&[(0, 0), (10, 10)], -5, 25), 10);
    }

    #[test]
    fn the_clock_of_this_process_advances() {
        assert!(process_clock(std::process::id()).is_some_and(|ns| ns > 0));
    }
}
