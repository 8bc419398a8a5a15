//! The kernel's map from processes to their mappings.

use std::{
    io,
    os::fd::{AsFd, OwnedFd},
};

use profiler_common::{layout::ProcessKey, unwind::pool::ProcessTable};

use crate::{
    sys::{
        map::{Map, Update},
        membarrier::wait_for_running_programs,
    },
    unwind::Kernel,
};

/// The map PROCESS_TABLES, and PROCESSES, which has those that were announced.
#[derive(Debug)]
pub struct KernelTables {
    processes: OwnedFd,
    announced: OwnedFd,
}

impl KernelTables {
    pub(super) fn new(processes: OwnedFd, announced: OwnedFd) -> Self {
        Self { processes, announced }
    }
}

impl Kernel for KernelTables {
    fn set_process(&mut self, key: &ProcessKey, table: &ProcessTable) -> io::Result<()> {
        let mut value = [0; size_of::<ProcessTable>()];
        value[..4].copy_from_slice(&table.mappings.to_ne_bytes());
        value[4..8].copy_from_slice(&table.count.to_ne_bytes());
        value[8..12].copy_from_slice(&table.generation.to_ne_bytes());
        value[12..16].copy_from_slice(&table.flags.to_ne_bytes());
        value[16..].copy_from_slice(&table.asked_ns.to_ne_bytes());
        Map::new(self.processes.as_fd())?.update(&key_bytes(key), &value, Update::Any)
    }

    fn remove_process(&mut self, key: &ProcessKey) {
        // It is not there where it never found room. Should it run again, it is announced again.
        for map in [&self.processes, &self.announced] {
            let removed = Map::new(map.as_fd()).and_then(|map| map.delete(&key_bytes(key)));
            if let Err(error) = removed {
                tracing::debug!("process {} stays in the kernel's map: {error}", key.pid);
            }
        }
    }

    fn wait(&mut self) {
        wait_for_running_programs();
    }
}

fn key_bytes(key: &ProcessKey) -> [u8; 16] {
    let mut bytes = [0; 16];
    bytes[..8].copy_from_slice(&key.start_ns.to_ne_bytes());
    bytes[8..12].copy_from_slice(&key.pid.to_ne_bytes());
    bytes[12..].copy_from_slice(&key.exec_id.to_ne_bytes());
    bytes
}
