//! A profiler that insists on raising its limit of locked memory, where that is not allowed.
//!
//! BPF maps count against that limit before Linux 5.11 only. OpenTelemetry's profiler raises it all the same, and ends where
//! it may not: as root without CAP_SYS_RESOURCE, in many containers. There it is told that it did; the limit stays.

use std::io;
use std::os::unix::process::CommandExt;
use std::process::Command;

/// CAP_SYS_RESOURCE (linux/capability.h).
const CAP_SYS_RESOURCE: u64 = 24;

/// Offsets in struct seccomp_data: the number of the system call, the low and high half of its arguments.
const NUMBER: u32 = 0;
const RESOURCE: u32 = 16 + 8;
const NEW_LIMIT: [u32; 2] = [16 + 16, 16 + 20];

/// Has the command believe that it raised its limit, where it may not.
pub(super) fn pretend_to_raise(command: &mut Command) {
    if may_raise() {
        return;
    }
    // SAFETY: between fork and exec only prctl is called, which allocates nothing and takes no lock.
    unsafe { command.pre_exec(install) };
}

fn may_raise() -> bool {
    let status = std::fs::read_to_string("/proc/self/status").unwrap_or_default();
    let set = status.lines().find_map(|line| line.strip_prefix("CapEff:")).unwrap_or_default();
    u64::from_str_radix(set.trim(), 16).is_ok_and(|set| set >> CAP_SYS_RESOURCE & 1 == 1)
}

/// Installs a filter that answers 0 to prlimit64 with a new limit of locked memory, and lets all else pass.
fn install() -> io::Result<()> {
    let load = |offset| step(libc::BPF_LD | libc::BPF_W | libc::BPF_ABS, 0, 0, offset);
    let equal = |value, yes, no| step(libc::BPF_JMP | libc::BPF_JEQ | libc::BPF_K, yes, no, value);
    let answer = |value| step(libc::BPF_RET | libc::BPF_K, 0, 0, value);
    let prlimit = u32::try_from(libc::SYS_prlimit64).map_err(io::Error::other)?;
    let mut filter = [
        load(NUMBER),
        equal(prlimit, 0, 6),
        load(RESOURCE),
        equal(libc::RLIMIT_MEMLOCK, 0, 4),
        // Asking for the limit is no raising: the pointer is null then.
        load(NEW_LIMIT[0]),
        equal(0, 0, 3),
        load(NEW_LIMIT[1]),
        equal(0, 0, 1),
        answer(libc::SECCOMP_RET_ALLOW),
        answer(libc::SECCOMP_RET_ERRNO),
    ];
    let program = libc::sock_fprog { len: 10, filter: filter.as_mut_ptr() };
    // SAFETY: numbers only. CAP_SYS_ADMIN would do, too, but whoever lacks one capability may lack the other.
    let first = unsafe { libc::prctl(libc::PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) };
    // SAFETY: the program and its ten steps live until the call is over.
    let second = unsafe { libc::prctl(libc::PR_SET_SECCOMP, libc::SECCOMP_MODE_FILTER, &raw const program) };
    if first == 0 && second == 0 { Ok(()) } else { Err(io::Error::last_os_error()) }
}

fn step(code: u32, yes: u8, no: u8, value: u32) -> libc::sock_filter {
    // The codes are below 256.
    libc::sock_filter { code: code as u16, jt: yes, jf: no, k: value }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_command_believes_that_it_raised_its_limit_and_did_not() {
        // Bash says what the kernel answers, and sees by asking what it has.
        let script =
            "before=$(ulimit -l); ulimit -Sl 64 && test \"$(ulimit -Sl)\" = \"$before\"; ulimit -n >&2";
        let mut command = Command::new("bash");
        command.args(["-c", script]);
        // SAFETY: as above.
        unsafe { command.pre_exec(install) };
        assert!(command.status().unwrap().success());
    }
}
