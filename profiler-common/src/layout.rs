//! Keys and values of the BPF maps.
//!
//! All of them are `repr(C)` without padding, so that a key's bytes are its identity: the kernel hashes and compares
//! them as bytes.

use crate::{
    outcome::OUTCOMES,
    stack::{MAX_WORDS, StackRef},
};

/// Bytes of a task's name with its closing zero (TASK_COMM_LEN).
pub const NAME_BYTES: usize = 16;

/// A name as the kernel keeps it: up to 15 bytes, then zeros.
pub type Name = [u8; NAME_BYTES];

/// One process running one program image. A pid alone is neither: it is reused, and exec changes the image.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
#[repr(C)]
pub struct ProcessKey {
    /// When the process was started: nanoseconds since boot, suspended time included
    /// (task_struct.start_boottime of the thread group leader).
    pub start_ns: u64,
    /// Process id in the initial pid namespace.
    pub pid: u32,
    /// Rises by one with every exec (task_struct.self_exec_id); a fork starts with its parent's number.
    pub exec_id: u32,
}

/// Key of the two count maps; the value is the number of samples, `u64`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[repr(C)]
pub struct SampleKey {
    /// The process.
    pub process: ProcessKey,
    /// The thread's name.
    pub thread_name: Name,
    /// The stack.
    pub stack: StackRef,
    /// Zero: makes the size a multiple of eight without padding.
    pub reserved: u32,
}

/// Value of the process map, and body of the message that announces a process.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(C)]
pub struct ProcessInfo {
    /// Name of the process: its leading thread's name.
    pub name: Name,
    /// Id of its cgroup in the unified hierarchy.
    pub cgroup_id: u64,
    /// Samples of this process that found no room in the count map, since the process was first seen.
    pub lost: u64,
}

/// Message in the ring buffer: a process was sampled that was not known before.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(C)]
pub struct FirstSight {
    /// The process.
    pub process: ProcessKey,
    /// What is known of it.
    pub info: ProcessInfo,
}

/// Value of the selection map: a process that is to be sampled. The key is its pid, `u32`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(C)]
pub struct Selected {
    /// Start time as in [`ProcessKey::start_ns`], of which only the precision of [`same_start`] counts; a process with
    /// this pid and another start is another process.
    pub start_ns: u64,
    /// Samples of this image are left out: the one that a command's process has before it executes the command.
    /// [`NO_EXEC_ID`] where all images count.
    pub skip_exec_id: u32,
    /// 1 where the children of the process are to be sampled, too; else 0.
    pub with_children: u32,
}

/// Nanoseconds in which start times are compared: /proc gives them in clock ticks of 10 ms (USER_HZ is 100 on all
/// architectures that the profiler knows; fs/proc/array.c).
pub const START_TICK_NS: u64 = 10_000_000;

/// Whether two start times are one, as far as /proc can tell.
#[inline(always)]
#[must_use]
pub const fn same_start(a_ns: u64, b_ns: u64) -> bool {
    a_ns / START_TICK_NS == b_ns / START_TICK_NS
}

/// No such exec id.
pub const NO_EXEC_ID: u32 = u32::MAX;

/// What each CPU keeps between and during ticks. One element per CPU.
#[derive(Clone, Copy, Debug)]
#[repr(C)]
pub struct CpuState {
    /// Ticks by [`Outcome`](crate::outcome::Outcome), per bank, since the program was loaded.
    pub outcomes: [[u64; OUTCOMES]; 2],
    /// Announcements of processes that found the ring buffer full.
    pub announcements_lost: u64,
    /// The window that `next_chunk` belongs to.
    pub epoch: u64,
    /// Time of the previous tick, nanoseconds of CLOCK_MONOTONIC; 0 before the first.
    pub last_tick_ns: u64,
    /// Next free chunk in this CPU's part of the arena, counted from the start of the part.
    pub next_chunk: u64,
    /// The window in which a full table was last logged, plus one.
    pub logged_epoch: u64,
    /// Frames and outcome of the walk under way. They pass through memory because the verifier does not follow values
    /// there: it would check all that comes after a loop once for each number of rounds.
    pub walk: WalkResult,
    /// Where the stack is put together.
    pub words: [u64; MAX_WORDS],
}

/// State of a stack walk.
#[derive(Clone, Copy, Debug)]
#[repr(C)]
pub struct WalkResult {
    /// Hash of header and frames.
    pub hash: u64,
    /// Number of kernel frames.
    pub kernel_frames: u64,
    /// Number of user frames.
    pub user_frames: u64,
    /// The [`Outcome`](crate::outcome::Outcome) as a number.
    pub outcome: u64,
    /// Number of words of the whole stack, header included.
    pub words: u64,
    /// Nonzero while a stored stack differs from the one in hand.
    pub difference: u64,
}

/// Where fields lie in the kernel's task_struct, bytes; read from the running kernel's BTF.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[repr(C)]
pub struct TaskLayout {
    /// `tgid`.
    pub tgid: u32,
    /// `pid`.
    pub pid: u32,
    /// `flags`.
    pub flags: u32,
    /// `mm`.
    pub mm: u32,
    /// `stack`.
    pub stack: u32,
    /// `comm`.
    pub comm: u32,
    /// `group_leader`.
    pub group_leader: u32,
    /// `start_boottime`.
    pub start_boottime: u32,
    /// `self_exec_id`.
    pub self_exec_id: u32,
    /// Where the user registers lie above `stack`; measured, because no type information holds it.
    pub user_registers: u32,
}

const _: () = assert!(size_of::<SampleKey>() == 40);
const _: () = assert!(size_of::<FirstSight>() == 48);
const _: () = assert!(size_of::<Selected>() == 16);

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn keys_have_no_padding() {
        assert_eq!(size_of::<ProcessKey>(), 8 + 4 + 4);
        assert_eq!(size_of::<SampleKey>(), 16 + NAME_BYTES + 4 + 4);
        assert_eq!(size_of::<ProcessInfo>(), NAME_BYTES + 8 + 8);
    }
}
