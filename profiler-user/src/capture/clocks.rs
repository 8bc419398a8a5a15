//! One cpu-clock event per online CPU, with the program attached.

use std::os::fd::{AsFd, BorrowedFd, OwnedFd};

use super::{Error, error::is_permission, per_cpu::PerCpu};
use crate::sys::perf::{self, EventSpec, Sampling, Scope};

/// The running events, by CPU.
pub(super) struct Clocks {
    program: OwnedFd,
    frequency_hz: u32,
    events: PerCpu<OwnedFd>,
}

impl Clocks {
    /// Opens an event on every online CPU, not ticking yet.
    pub(super) fn open(program: OwnedFd, frequency_hz: u32) -> Result<Self, Error> {
        let events = PerCpu::open("sampled", |cpu| open_one(program.as_fd(), frequency_hz, cpu))?;
        Ok(Self { program, frequency_hz, events })
    }

    /// Starts all events.
    pub(super) fn enable(&self) -> Result<(), Error> {
        self.events.iter().try_for_each(|(_, event)| enable_one(event))
    }

    /// Stops all events: no tick runs on after this returns, for disabling waits for the CPU.
    pub(super) fn disable(&self) {
        for (cpu, event) in self.events.iter() {
            if let Err(error) = perf::disable(event.as_fd()) {
                tracing::debug!("the cpu-clock event of CPU {cpu} was gone already: {error}");
            }
        }
    }

    /// Follows CPUs that came or went.
    pub(super) fn follow_hotplug(&mut self) {
        let Self { program, frequency_hz, events } = self;
        events.follow_hotplug(|cpu| {
            let event = open_one(program.as_fd(), *frequency_hz, cpu)?;
            enable_one(&event)?;
            Ok(event)
        });
    }

    /// Forgets a CPU whose event is dead.
    pub(super) fn forget(&mut self, cpu: u32) {
        self.events.forget(cpu);
    }
}

fn open_one(program: BorrowedFd<'_>, frequency_hz: u32, cpu: u32) -> Result<OwnedFd, Error> {
    let spec = EventSpec::cpu_clock(Sampling::Hertz(u64::from(frequency_hz)));
    let refused = |source: std::io::Error| {
        if is_permission(&source) {
            Error::NotPermitted { what: "to sample the CPUs (perf_event_open)", source }
        } else {
            Error::Event { cpu, source }
        }
    };
    let event = perf::open(&spec, Scope::Cpu(cpu)).map_err(refused)?;
    perf::set_bpf(event.as_fd(), program).map_err(refused)?;
    Ok(event)
}

fn enable_one(event: &OwnedFd) -> Result<(), Error> {
    perf::enable(event.as_fd()).map_err(Error::system("starting a cpu-clock event"))
}
