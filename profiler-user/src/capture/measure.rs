//! Runs the BPF program that finds a thread's user registers on its kernel stack.

use std::{
    io,
    os::fd::{AsFd, AsRawFd},
};

use aya::{Ebpf, maps::Array, programs::RawTracePoint};

use super::{Error, load};

/// BPF_PROG_TEST_RUN (enum bpf_cmd).
const TEST_RUN: libc::c_long = 10;

/// The part of union bpf_attr that BPF_PROG_TEST_RUN reads (uapi/linux/bpf.h, 5.10).
#[repr(C)]
#[derive(Default)]
struct TestRun {
    prog_fd: u32,
    retval: u32,
    data_size_in: u32,
    data_size_out: u32,
    data_in: u64,
    data_out: u64,
    repeat: u32,
    duration: u32,
    ctx_size_in: u32,
    ctx_size_out: u32,
    ctx_in: u64,
    ctx_out: u64,
    flags: u32,
    cpu: u32,
}

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
    let fd = program.fd().map_err(|error| load::program_error("measure", error))?.as_fd().as_raw_fd();
    // The program looks for registers that hold the address of this very struct, which must not move from here on.
    let mut attr = Box::new(TestRun { prog_fd: fd.cast_unsigned(), ..TestRun::default() });
    let arguments = [std::ptr::from_ref(&*attr) as u64; 12];
    attr.ctx_in = arguments.as_ptr() as u64;
    attr.ctx_size_in = size_of_val(&arguments) as u32;
    // SAFETY: the struct has the kernel's layout and outlives the call; `ctx_in` points to `ctx_size_in` readable bytes,
    // and no output buffer is named.
    let ret = unsafe {
        libc::syscall(libc::SYS_bpf, TEST_RUN, std::ptr::from_mut(&mut *attr), size_of::<TestRun>())
    };
    if ret < 0 {
        let source = io::Error::last_os_error();
        return Err(Error::System { what: "running a BPF program once to find the user registers", source });
    }
    let map = ebpf.map("MEASURED").ok_or_else(|| Error::Object("the map MEASURED is missing".to_owned()))?;
    let measured: Array<_, u64> = map.try_into().map_err(load::map_error)?;
    let get = |index: u32| measured.get(&index, 0).map_err(load::map_error);
    let narrow = |number: u64| u32::try_from(number).map_err(|_| Error::NoUserRegisters);
    match get(0)? {
        0 => Err(Error::NoUserRegisters),
        offset => Ok(Measured { user_registers: narrow(offset)?, exec_id: narrow(get(1)?)? }),
    }
}
