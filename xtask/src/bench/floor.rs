//! The floors: BPF programs on the same event that only count, ticks or user stacks.

use std::thread;
use std::time::Duration;

use anyhow::{Context, Result, anyhow};
use aya::Ebpf;
use aya::programs::PerfEvent;
use aya::programs::perf_event::{PerfEventConfig, PerfEventScope, SamplePolicy, SoftwareEvent};
use serde::Serialize;

use super::kernel;

/// One run of the floor.
#[derive(Clone, Copy, Debug, Serialize)]
pub(super) struct Measured {
    /// Ticks on all CPUs.
    pub(super) ticks: u64,
    /// Time in the BPF program per tick.
    pub(super) kernel_ns_per_sample: f64,
    /// Kernel memory of its maps.
    pub(super) map_bytes: u64,
}

/// The CPUs that get a clock.
pub(super) fn online_cpus() -> Result<Vec<u32>> {
    aya::util::online_cpus().map_err(|(path, error)| anyhow!("{path}: {error}"))
}

/// Which of them.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Floor {
    /// Counts ticks.
    Ticks,
    /// Counts user stacks, which the kernel takes by frame pointers.
    Stacks,
}

impl Floor {
    /// The name of the BPF program.
    fn program(self) -> &'static str {
        match self {
            Self::Ticks => "floor",
            Self::Stacks => "stacks",
        }
    }
}

/// Runs one of the programs on every CPU for that long.
pub(super) fn measure(object: &[u8], floor: Floor, rate: u64, length: Duration) -> Result<Measured> {
    let mut bpf = Ebpf::load(object).context("cannot load the floor object")?;
    let name = floor.program();
    let program =
        bpf.program_mut(name).with_context(|| format!("the floor object has no program `{name}`"))?;
    let program: &mut PerfEvent = program.try_into()?;
    program.load().context("cannot load the floor program")?;
    for cpu in online_cpus()? {
        program.attach(
            PerfEventConfig::Software(SoftwareEvent::CpuClock),
            PerfEventScope::AllProcessesOneCpu { cpu },
            SamplePolicy::Frequency(rate),
            false,
        )?;
    }
    let before = kernel::run_statistics(program.fd()?)?;
    thread::sleep(length);
    let during = kernel::run_statistics(program.fd()?)?.since(before);
    let map_bytes = kernel::map_bytes(std::process::id());
    Ok(Measured {
        ticks: during.count,
        kernel_ns_per_sample: during
            .per_run()
            .context("the floor program never ran: is the machine idle?")?,
        map_bytes,
    })
}
