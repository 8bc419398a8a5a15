//! Runs the BPF program that finds a thread's user registers on its kernel stack.

use std::os::fd::AsFd;

use aya::{Ebpf, maps::Array, programs::RawTracePoint};

use super::{Error, load};
use crate::sys::bpf;

/// What was found out about the running kernel and this process.
pub(super) struct Measured {
    /// How far above `task_struct.stack` the user registers lie, bytes.
    pub(super) user_registers: u32,
    /// The exec id of this process, which its children have until they execute something.
    pub(super) exec_id: u32,
}

/// Runs the measuring program. `ebpf` is an object loaded with the task layout.
pub(super) fn run(ebpf: &mut Ebpf) -> Result<Measured, Error> {
    let program: &mut RawTracePoint = load::program(ebpf, "measure")?;
    program.load().map_err(|error| load::program_error("measure", error))?;
    let fd = program.fd().map_err(|error| load::program_error("measure", error))?;
    // The program looks for registers that hold the address of what is passed to bpf(2).
    bpf::run_once(fd.as_fd(), |address| [address; 12])
        .map_err(Error::system("running a BPF program once to find the user registers"))?;
    let map = ebpf.map("MEASURED").ok_or_else(|| Error::Object("the map MEASURED is missing".to_owned()))?;
    let measured: Array<_, u64> = map.try_into().map_err(load::map_error)?;
    let get = |index: u32| measured.get(&index, 0).map_err(load::map_error);
    let narrow = |number: u64| u32::try_from(number).map_err(|_| Error::NoUserRegisters);
    match get(0)? {
        0 => Err(Error::NoUserRegisters),
        offset => Ok(Measured { user_registers: narrow(offset)?, exec_id: narrow(get(1)?)? }),
    }
}
