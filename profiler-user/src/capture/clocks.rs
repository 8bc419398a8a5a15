//! One cpu-clock event per online CPU, with the program attached.

use std::{
    collections::BTreeMap,
    os::fd::{AsFd, OwnedFd},
};

use super::{Error, error::is_permission};
use crate::sys::{
    cpus,
    perf::{self, EventSpec, Sampling, Scope},
};

/// The running events, by CPU.
pub(super) struct Clocks {
    program: OwnedFd,
    frequency_hz: u32,
    events: BTreeMap<u32, OwnedFd>,
}

impl Clocks {
    /// Opens an event on every online CPU, not ticking yet.
    pub(super) fn open(program: OwnedFd, frequency_hz: u32) -> Result<Self, Error> {
        let mut clocks = Self { program, frequency_hz, events: BTreeMap::new() };
        for cpu in online()? {
            let event = clocks.open_one(cpu)?;
            clocks.events.insert(cpu, event);
        }
        Ok(clocks)
    }

    fn open_one(&self, cpu: u32) -> Result<OwnedFd, Error> {
        let spec = EventSpec::cpu_clock(Sampling::Hertz(u64::from(self.frequency_hz)));
        let refused = |source: std::io::Error| {
            if is_permission(&source) {
                Error::NotPermitted { what: "to sample the CPUs (perf_event_open)", source }
            } else {
                Error::Event { cpu, source }
            }
        };
        let event = perf::open(&spec, Scope::Cpu(cpu)).map_err(refused)?;
        perf::set_bpf(event.as_fd(), self.program.as_fd()).map_err(refused)?;
        Ok(event)
    }

    /// Starts all events.
    pub(super) fn enable(&self) -> Result<(), Error> {
        for event in self.events.values() {
            perf::enable(event.as_fd()).map_err(Error::system("starting a cpu-clock event"))?;
        }
        Ok(())
    }

    /// Stops all events: no tick runs on after this returns, for disabling waits for the CPU.
    pub(super) fn disable(&self) {
        for (cpu, event) in &self.events {
            if let Err(error) = perf::disable(event.as_fd()) {
                tracing::debug!("the cpu-clock event of CPU {cpu} was gone already: {error}");
            }
        }
    }

    /// Follows CPUs that came or went: an event dies with its CPU, and a CPU that comes back wants a new one.
    pub(super) fn follow_hotplug(&mut self) {
        let online = match online() {
            Ok(online) => online,
            Err(error) => {
                tracing::warn!("cannot tell which CPUs are online: {error}");
                return;
            }
        };
        self.events.retain(|cpu, _| {
            let stays = online.contains(cpu);
            if !stays {
                tracing::info!("CPU {cpu} went offline");
            }
            stays
        });
        for cpu in online {
            if self.events.contains_key(&cpu) {
                continue;
            }
            let opened = self.open_one(cpu).and_then(|event| {
                perf::enable(event.as_fd()).map_err(Error::system("starting a cpu-clock event"))?;
                Ok(event)
            });
            match opened {
                Ok(event) => {
                    tracing::info!("CPU {cpu} came online and is sampled");
                    self.events.insert(cpu, event);
                }
                Err(error) => tracing::warn!("CPU {cpu} came online but is not sampled: {error}"),
            }
        }
    }

    /// Forgets a CPU whose event is dead.
    pub(super) fn forget(&mut self, cpu: u32) {
        self.events.remove(&cpu);
    }
}

fn online() -> Result<Vec<u32>, Error> {
    cpus::online().map_err(Error::system("reading the list of online CPUs"))
}
