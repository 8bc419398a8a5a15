//! The kernel's map from processes to their mappings.

use std::{
    io,
    os::fd::{AsFd, OwnedFd},
    sync::Arc,
};

use profiler_common::{layout::ProcessKey, unwind::pool::ProcessTable};

use crate::{
    confine::threads,
    sys::{
        map::{Map, Update},
        membarrier::wait_for_running_programs,
    },
    unwind::Kernel,
};

/// The map PROCESS_TABLES, and PROCESSES, which has those that were announced.
#[derive(Debug)]
pub struct KernelTables {
    processes: Arc<OwnedFd>,
    announced: Arc<OwnedFd>,
}

impl KernelTables {
    pub(super) fn new(processes: OwnedFd, announced: OwnedFd) -> Self {
        Self { processes: Arc::new(processes), announced: Arc::new(announced) }
    }
}

/// Does this with a map, by who may where the calling thread may not: kernels before 5.19 want `CAP_BPF` for each call where
/// `kernel.unprivileged_bpf_disabled` is set, later ones only for making maps and programs.
fn permitted(
    map: &Arc<OwnedFd>,
    work: impl Fn(Map<'_>) -> io::Result<()> + Send + 'static,
) -> io::Result<()> {
    match Map::new(map.as_fd()).and_then(&work) {
        Err(error) if error.raw_os_error() == Some(libc::EPERM) => {
            let map = Arc::clone(map);
            threads::loading(move || Map::new(map.as_fd()).and_then(work))?
        }
        done => done,
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
        let key = key_bytes(key);
        permitted(&self.processes, move |map| map.update(&key, &value, Update::Any))
    }

    fn remove_process(&mut self, key: &ProcessKey) {
        // It is not there where it never found room. Should it run again, it is announced again.
        for map in [&self.processes, &self.announced] {
            let bytes = key_bytes(key);
            if let Err(error) = permitted(map, move |map| map.delete(&bytes).map(drop)) {
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

#[cfg(test)]
mod tests {
    use std::sync::atomic::{AtomicUsize, Ordering};

    use super::*;
    use crate::sys::bpf::{MapSpec, MapType, map_create};

    #[test]
    fn what_is_not_permitted_is_done_by_who_may() {
        let spec = MapSpec {
            map_type: MapType::Hash,
            key_size: 4,
            value_size: 4,
            max_entries: 1,
            flags: 0,
            name: "test",
        };
        let map = Arc::new(map_create(&spec).unwrap());
        let calls = |errno: i32| {
            let calls = Arc::new(AtomicUsize::new(0));
            let counted = Arc::clone(&calls);
            let done = permitted(&map, move |map| match counted.fetch_add(1, Ordering::Relaxed) {
                0 => Err(io::Error::from_raw_os_error(errno)),
                _ => map.update(&[1; 4], &[2; 4], Update::Any),
            });
            (done.is_ok(), calls.load(Ordering::Relaxed))
        };
        assert_eq!(calls(libc::EPERM), (true, 2));
        assert_eq!(calls(libc::E2BIG), (false, 1), "whoever does it");
    }
}
