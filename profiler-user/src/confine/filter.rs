//! Which system calls each thread may make.
//!
//! What is listed is allowed, by everybody or by some; what an attacker would want next ends the process; all else is answered
//! as by a kernel that does not know of it. So a C library or a kernel that does something new loses that, and is told of
//! in the kernel's log, and no agent ends for it.

use libc::c_long;

use super::Role;
use crate::sys::seccomp::{Action, Filter, Rule};

const ALLOW: Rule = Rule::Always(Action::Allow);
const NOT_PERMITTED: Action = Action::Refuse(libc::EPERM);
const REFUSE: Rule = Rule::Always(NOT_PERMITTED);

/// Memory, time, threads, signals, waiting, and what is asked of oneself. aarch64 has none of the oldest ones.
const PLAIN: &[c_long] = &[
    libc::SYS_brk,
    libc::SYS_madvise,
    libc::SYS_membarrier,
    libc::SYS_mincore,
    libc::SYS_mlock,
    libc::SYS_mremap,
    libc::SYS_msync,
    libc::SYS_munlock,
    libc::SYS_munmap,
    libc::SYS_clock_getres,
    libc::SYS_clock_gettime,
    libc::SYS_clock_nanosleep,
    libc::SYS_getcpu,
    libc::SYS_getrusage,
    libc::SYS_gettimeofday,
    libc::SYS_nanosleep,
    libc::SYS_timerfd_create,
    libc::SYS_timerfd_gettime,
    libc::SYS_timerfd_settime,
    libc::SYS_times,
    libc::SYS_exit,
    libc::SYS_exit_group,
    libc::SYS_futex,
    libc::SYS_getpriority,
    libc::SYS_gettid,
    libc::SYS_ioprio_get,
    libc::SYS_ioprio_set,
    libc::SYS_rseq,
    libc::SYS_sched_getaffinity,
    libc::SYS_sched_getparam,
    libc::SYS_sched_getscheduler,
    libc::SYS_sched_yield,
    libc::SYS_set_robust_list,
    libc::SYS_set_tid_address,
    libc::SYS_setpriority,
    libc::SYS_wait4,
    libc::SYS_waitid,
    libc::SYS_restart_syscall,
    libc::SYS_rt_sigaction,
    libc::SYS_rt_sigpending,
    libc::SYS_rt_sigprocmask,
    libc::SYS_rt_sigreturn,
    libc::SYS_rt_sigsuspend,
    libc::SYS_rt_sigtimedwait,
    libc::SYS_sigaltstack,
    libc::SYS_signalfd4,
    libc::SYS_epoll_create1,
    libc::SYS_epoll_ctl,
    libc::SYS_epoll_pwait,
    libc::SYS_epoll_pwait2,
    libc::SYS_eventfd2,
    libc::SYS_ppoll,
    libc::SYS_pselect6,
    libc::SYS_capget,
    libc::SYS_getegid,
    libc::SYS_geteuid,
    libc::SYS_getgid,
    libc::SYS_getgroups,
    libc::SYS_getpgid,
    libc::SYS_getpid,
    libc::SYS_getppid,
    libc::SYS_getrandom,
    libc::SYS_getresgid,
    libc::SYS_getresuid,
    libc::SYS_getsid,
    libc::SYS_getuid,
    libc::SYS_prlimit64,
    libc::SYS_sysinfo,
    libc::SYS_uname,
    // To become less privileged still.
    libc::SYS_capset,
    libc::SYS_landlock_add_rule,
    libc::SYS_landlock_create_ruleset,
    libc::SYS_landlock_restrict_self,
    libc::SYS_seccomp,
];

/// Files that are open, and looking at others.
const READING: &[c_long] = &[
    libc::SYS_close,
    libc::SYS_close_range,
    libc::SYS_copy_file_range,
    libc::SYS_dup,
    libc::SYS_dup3,
    libc::SYS_faccessat,
    libc::SYS_faccessat2,
    libc::SYS_fadvise64,
    libc::SYS_fcntl,
    libc::SYS_fdatasync,
    libc::SYS_flock,
    libc::SYS_fstat,
    libc::SYS_fstatfs,
    libc::SYS_fsync,
    libc::SYS_getcwd,
    libc::SYS_getdents64,
    libc::SYS_inotify_add_watch,
    libc::SYS_inotify_init1,
    libc::SYS_inotify_rm_watch,
    libc::SYS_lseek,
    libc::SYS_newfstatat,
    libc::SYS_openat,
    libc::SYS_pipe2,
    libc::SYS_pread64,
    libc::SYS_preadv,
    libc::SYS_preadv2,
    libc::SYS_pwrite64,
    libc::SYS_pwritev,
    libc::SYS_pwritev2,
    libc::SYS_read,
    libc::SYS_readahead,
    libc::SYS_readlinkat,
    libc::SYS_readv,
    libc::SYS_sendfile,
    libc::SYS_statfs,
    libc::SYS_statx,
    libc::SYS_write,
    libc::SYS_writev,
];

/// Changing what is in folders.
const CHANGING: &[c_long] = &[
    libc::SYS_fallocate,
    libc::SYS_fchmod,
    libc::SYS_fchmodat,
    libc::SYS_ftruncate,
    libc::SYS_linkat,
    libc::SYS_mkdirat,
    libc::SYS_renameat2,
    libc::SYS_sync_file_range,
    libc::SYS_umask,
    libc::SYS_unlinkat,
    libc::SYS_utimensat,
    #[cfg(target_arch = "x86_64")]
    libc::SYS_chmod,
    #[cfg(target_arch = "x86_64")]
    libc::SYS_creat,
    #[cfg(target_arch = "x86_64")]
    libc::SYS_link,
    #[cfg(target_arch = "x86_64")]
    libc::SYS_mkdir,
    #[cfg(target_arch = "x86_64")]
    libc::SYS_rename,
    libc::SYS_renameat,
    #[cfg(target_arch = "x86_64")]
    libc::SYS_rmdir,
    #[cfg(target_arch = "x86_64")]
    libc::SYS_unlink,
];

/// Being reached, and reaching others.
const TALKING: &[c_long] = &[
    libc::SYS_accept,
    libc::SYS_accept4,
    libc::SYS_connect,
    libc::SYS_listen,
    libc::SYS_sendmmsg,
    libc::SYS_shutdown,
];

/// Sockets besides: those that wake, and those that the kernel tells of devices by.
const SOCKETS: &[c_long] = &[
    libc::SYS_bind,
    libc::SYS_getpeername,
    libc::SYS_getsockname,
    libc::SYS_getsockopt,
    libc::SYS_recvfrom,
    libc::SYS_recvmmsg,
    libc::SYS_recvmsg,
    libc::SYS_sendmsg,
    libc::SYS_sendto,
    libc::SYS_setsockopt,
    libc::SYS_socketpair,
];

/// What x86_64 has beside the newer calls.
#[cfg(target_arch = "x86_64")]
const OLD: &[c_long] = &[
    libc::SYS_access,
    libc::SYS_dup2,
    libc::SYS_epoll_create,
    libc::SYS_epoll_wait,
    libc::SYS_eventfd,
    libc::SYS_getdents,
    libc::SYS_getpgrp,
    libc::SYS_getrlimit,
    libc::SYS_lstat,
    libc::SYS_open,
    libc::SYS_pause,
    libc::SYS_pipe,
    libc::SYS_poll,
    libc::SYS_readlink,
    libc::SYS_select,
    libc::SYS_setrlimit,
    libc::SYS_stat,
    libc::SYS_time,
];
#[cfg(not(target_arch = "x86_64"))]
const OLD: &[c_long] = &[];

/// Allowed to one role or two.
const FOR_SOME: &[c_long] =
    &[libc::SYS_bpf, libc::SYS_perf_event_open, libc::SYS_open_by_handle_at, libc::SYS_memfd_create];

/// Nothing that the profiler has code for: running programs, other processes' memory, mounts, modules, other identities, the clock.
const HOSTILE: &[c_long] = &[
    libc::SYS_execve,
    libc::SYS_execveat,
    libc::SYS_ptrace,
    libc::SYS_process_vm_readv,
    libc::SYS_process_vm_writev,
    libc::SYS_pidfd_getfd,
    libc::SYS_chroot,
    libc::SYS_fsconfig,
    libc::SYS_fsmount,
    libc::SYS_fsopen,
    libc::SYS_fspick,
    libc::SYS_mount,
    libc::SYS_mount_setattr,
    libc::SYS_move_mount,
    libc::SYS_open_tree,
    libc::SYS_pivot_root,
    libc::SYS_umount2,
    libc::SYS_setns,
    libc::SYS_unshare,
    libc::SYS_delete_module,
    libc::SYS_finit_module,
    libc::SYS_init_module,
    libc::SYS_kexec_load,
    #[cfg(target_arch = "x86_64")]
    libc::SYS_kexec_file_load,
    libc::SYS_reboot,
    libc::SYS_swapoff,
    libc::SYS_swapon,
    libc::SYS_acct,
    libc::SYS_quotactl,
    libc::SYS_syslog,
    libc::SYS_add_key,
    libc::SYS_keyctl,
    libc::SYS_request_key,
    libc::SYS_setfsgid,
    libc::SYS_setfsuid,
    libc::SYS_setgid,
    libc::SYS_setgroups,
    libc::SYS_setregid,
    libc::SYS_setresgid,
    libc::SYS_setresuid,
    libc::SYS_setreuid,
    libc::SYS_setuid,
    libc::SYS_clock_settime,
    libc::SYS_setdomainname,
    libc::SYS_sethostname,
    libc::SYS_settimeofday,
    #[cfg(target_arch = "x86_64")]
    libc::SYS_ioperm,
    #[cfg(target_arch = "x86_64")]
    libc::SYS_iopl,
    #[cfg(target_arch = "x86_64")]
    libc::SYS_modify_ldt,
];

/// What no thread may do. Known calls that are not listed anywhere, io_uring's and userfaultfd among them, are answered as
/// unknown ones are: C libraries and others try some of them, and do without.
#[must_use]
pub(super) fn everybody(own_pid: u32) -> Filter {
    let mut filter = Filter::new(Action::Refuse(libc::ENOSYS));
    for calls in [PLAIN, READING, CHANGING, TALKING, SOCKETS, OLD] {
        filter.set(calls, &ALLOW);
    }
    filter.set(FOR_SOME, &ALLOW);
    filter.set(HOSTILE, &Rule::Always(Action::Kill));
    // Threads, but no processes: the flags of clone3 lie where a filter cannot look, and C libraries try clone next.
    filter.set(&[libc::SYS_clone], &threads_only());
    #[cfg(target_arch = "x86_64")]
    filter.set(&[libc::SYS_fork, libc::SYS_vfork], &REFUSE);
    let never_writable = (libc::PROT_WRITE | libc::PROT_EXEC).cast_unsigned();
    filter.set(&[libc::SYS_mmap], &refuse_bits(2, never_writable, never_writable));
    // Code that was written first would be a way around that.
    let code = libc::PROT_EXEC.cast_unsigned();
    filter.set(&[libc::SYS_mprotect, libc::SYS_pkey_mprotect], &refuse_bits(2, code, code));
    // To itself: abort(3).
    filter.set(&[libc::SYS_tgkill, libc::SYS_kill], &only(0, &[own_pid], NOT_PERMITTED));
    let families =
        [libc::AF_UNIX, libc::AF_INET, libc::AF_INET6, libc::AF_NETLINK].map(libc::c_int::cast_unsigned);
    filter.set(&[libc::SYS_socket], &only(0, &families, Action::Refuse(libc::EAFNOSUPPORT)));
    filter.set(&[libc::SYS_prctl], &only(0, &OWN_SETTINGS, NOT_PERMITTED));
    // Typing into the terminal, as if the user had.
    let typing = [0x5412 /* TIOCSTI */, 0x541c /* TIOCLINUX */].to_vec();
    let ioctl = Rule::OneOf { argument: 1, values: typing, then: NOT_PERMITTED, otherwise: Action::Allow };
    filter.set(&[libc::SYS_ioctl], &ioctl);
    filter
}

/// Refused without a line in the kernel's log: what C libraries try each time that they start a thread, before clone.
pub(super) fn usual() -> Filter {
    let mut filter = Filter::new(Action::Allow);
    filter.set(&[libc::SYS_clone3], &Rule::Always(Action::Refuse(libc::ENOSYS)));
    filter
}

/// Options of prctl(2): names of threads and of memory, capabilities, and what cannot be taken back.
const OWN_SETTINGS: [u32; 8] = [
    libc::PR_SET_NAME as u32,
    libc::PR_GET_NAME as u32,
    libc::PR_GET_DUMPABLE as u32,
    libc::PR_SET_VMA as u32,
    libc::PR_CAPBSET_READ as u32,
    libc::PR_CAPBSET_DROP as u32,
    libc::PR_CAP_AMBIENT as u32,
    libc::PR_SET_NO_NEW_PRIVS as u32,
];

/// What a thread may not do beside it; `may_write` for the collecting one of a recording, which writes it in the end.
#[must_use]
pub(super) fn of(role: Role, may_write: bool) -> Filter {
    let mut filter = Filter::new(Action::Allow);
    if role != Role::Loading {
        // BPF_MAP_LOOKUP_ELEM, UPDATE_ELEM and DELETE_ELEM, and what tells the sizes: on maps whose descriptors it has.
        filter.set(&[libc::SYS_bpf], &only(0, &[1, 2, 3, 15], NOT_PERMITTED));
        filter.set(&[libc::SYS_perf_event_open], &REFUSE);
    }
    if role != Role::Collecting {
        // The vDSO becomes a file once.
        filter.set(&[libc::SYS_memfd_create], &REFUSE);
    }
    if role != Role::Collecting && role != Role::Opening {
        filter.set(&[libc::SYS_open_by_handle_at], &REFUSE);
    }
    if role != Role::Working {
        filter.set(TALKING, &REFUSE);
        let family = [libc::AF_NETLINK.cast_unsigned()];
        filter.set(&[libc::SYS_socket], &only(0, &family, NOT_PERMITTED));
    }
    if role != Role::Working && !may_write {
        filter.set(CHANGING, &REFUSE);
        filter.set(&[libc::SYS_openat], &read_only(2));
        #[cfg(target_arch = "x86_64")]
        filter.set(&[libc::SYS_open], &read_only(1));
    }
    filter
}

/// What the process that reads what strangers wrote may not do beside it: it has a socket to the profiler, and wants no other;
/// reads files, and changes none; is one thread, and stays alone.
#[must_use]
pub(super) fn reader() -> Filter {
    let mut filter = of(Role::Loading, false);
    filter.set(&[libc::SYS_bpf, libc::SYS_perf_event_open], &REFUSE);
    filter.set(SOCKETS, &REFUSE);
    // On the socket that it has.
    filter.set(&[libc::SYS_recvfrom, libc::SYS_recvmsg, libc::SYS_sendmsg, libc::SYS_sendto], &ALLOW);
    filter.set(&[libc::SYS_socket, libc::SYS_clone, libc::SYS_inotify_init1, libc::SYS_ioctl], &REFUSE);
    filter
}

fn only(argument: u8, values: &[u32], otherwise: Action) -> Rule {
    Rule::OneOf { argument, values: values.to_vec(), then: Action::Allow, otherwise }
}

fn refuse_bits(argument: u8, mask: u32, value: u32) -> Rule {
    Rule::Bits { argument, mask, value, then: NOT_PERMITTED, otherwise: Action::Allow }
}

/// A thread shares everything, and is in no namespace of its own.
fn threads_only() -> Rule {
    let namespaces = libc::CLONE_NEWCGROUP
        | libc::CLONE_NEWIPC
        | libc::CLONE_NEWNET
        | libc::CLONE_NEWNS
        | libc::CLONE_NEWPID
        | libc::CLONE_NEWUSER
        | libc::CLONE_NEWUTS;
    let thread = libc::CLONE_THREAD.cast_unsigned();
    let mask = thread | namespaces.cast_unsigned();
    Rule::Bits { argument: 0, mask, value: thread, then: Action::Allow, otherwise: NOT_PERMITTED }
}

fn read_only(argument: u8) -> Rule {
    // The bit of O_TMPFILE without that of O_DIRECTORY, which is in it.
    let temporary = libc::O_TMPFILE & !libc::O_DIRECTORY;
    let mask = libc::O_ACCMODE | libc::O_CREAT | libc::O_TRUNC | temporary;
    Rule::Bits {
        argument,
        mask: mask.cast_unsigned(),
        value: libc::O_RDONLY.cast_unsigned(),
        then: Action::Allow,
        otherwise: NOT_PERMITTED,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn no_call_is_in_two_lists() {
        let mut all: Vec<c_long> = [PLAIN, READING, CHANGING, TALKING, SOCKETS, OLD, HOSTILE]
            .into_iter()
            .flatten()
            .copied()
            .collect();
        all.sort_unstable();
        let twice: Vec<_> = all.windows(2).filter(|pair| pair[0] == pair[1]).map(|pair| pair[0]).collect();
        assert!(twice.is_empty(), "{twice:?}");
    }
}
