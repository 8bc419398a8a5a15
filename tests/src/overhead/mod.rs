//! What profilers cost beside each other: the same host, the same rate, one after the other in turns.
//!
//! A host that is looked at by two profilers at once would show each the other's work. So they take turns, and every figure
//! is the median of several turns.

mod limit;
pub mod measure;
pub mod otlp;
pub mod report;
pub mod roots;
pub mod stacks;
pub mod tool;
pub mod workload;

use std::path::Path;
use std::time::Duration;

use serde::{Deserialize, Serialize};

use measure::Cost;
use stacks::Seen;
use tool::Tool;
use workload::Workload;

/// What one turn of one profiler gave.
#[derive(Debug, Clone, Copy, Serialize, Deserialize)]
pub struct Turn {
    /// What it cost.
    pub cost: Cost,
    /// What it saw; `None` where its output is of no form that is read here.
    pub seen: Option<Seen>,
    /// Rounds of work per second of CPU time of a program that was profiled.
    pub speed: f64,
}

/// Lets a profiler look at the host for some seconds.
///
/// `None` where it fails, or gives no answer within a minute after that.
pub fn turn(tool: &Tool, folder: &Path, workload: &mut Workload, hertz: u32, seconds: u32) -> Option<Turn> {
    let before = workload.work();
    let mut cost = measure::run(
        tool.command(folder, hertz, seconds),
        tool.end(),
        Duration::from_secs(u64::from(seconds)),
    )?;
    let speed = workload.work().since(before);
    let (seen, unwind_seconds) = tool.seen(folder).unzip();
    cost.unwind_seconds = unwind_seconds.unwrap_or_default();
    Some(Turn { cost, seen, speed })
}

/// The speed of the host without a profiler.
pub fn undisturbed(workload: &mut Workload, seconds: u32) -> f64 {
    let before = workload.work();
    // What is told by a minute is told by a part of it.
    std::thread::sleep(Duration::from_secs(u64::from(seconds.min(15))));
    workload.work().since(before)
}
