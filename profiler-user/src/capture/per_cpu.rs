//! One perf event per online CPU, whatever the event is.

use std::collections::BTreeMap;

use super::Error;
use crate::sys::cpus;

/// The events, by CPU.
pub(super) struct PerCpu<E> {
    /// What they are for, in the log: "CPU 1 came online and is ...".
    purpose: &'static str,
    events: BTreeMap<u32, E>,
}

impl<E> PerCpu<E> {
    /// Opens one on every online CPU.
    pub(super) fn open(
        purpose: &'static str,
        mut open: impl FnMut(u32) -> Result<E, Error>,
    ) -> Result<Self, Error> {
        let mut events = BTreeMap::new();
        for cpu in online()? {
            events.insert(cpu, open(cpu)?);
        }
        Ok(Self { purpose, events })
    }

    /// Follows CPUs that came or went: an event dies with its CPU, and a CPU that comes back wants a new one.
    pub(super) fn follow_hotplug(&mut self, mut open: impl FnMut(u32) -> Result<E, Error>) {
        let online = match online() {
            Ok(online) => online,
            Err(error) => {
                tracing::warn!("cannot tell which CPUs are online: {error}");
                return;
            }
        };
        let purpose = self.purpose;
        self.events.retain(|cpu, _| {
            let stays = online.contains(cpu);
            if !stays {
                tracing::info!("CPU {cpu} went offline and is no longer {purpose}");
            }
            stays
        });
        for cpu in online {
            if self.events.contains_key(&cpu) {
                continue;
            }
            match open(cpu) {
                Ok(event) => {
                    tracing::info!("CPU {cpu} came online and is {purpose}");
                    self.events.insert(cpu, event);
                }
                Err(error) => tracing::warn!("CPU {cpu} came online but is not {purpose}: {error}"),
            }
        }
    }

    /// Forgets a CPU whose event is dead.
    pub(super) fn forget(&mut self, cpu: u32) {
        self.events.remove(&cpu);
    }

    /// All events.
    pub(super) fn iter(&self) -> impl Iterator<Item = (u32, &E)> {
        self.events.iter().map(|(&cpu, event)| (cpu, event))
    }

    /// All events, to change.
    pub(super) fn iter_mut(&mut self) -> impl Iterator<Item = (u32, &mut E)> {
        self.events.iter_mut().map(|(&cpu, event)| (cpu, event))
    }
}

fn online() -> Result<Vec<u32>, Error> {
    cpus::online().map_err(Error::system("reading the list of online CPUs"))
}
