//! Keys and values of the BPF maps.
//!
//! All of them are `repr(C)` without padding, so that a key's bytes are its identity: the kernel hashes and compares
//! them as bytes.

use crate::{
    outcome::OUTCOMES,
    stack::{MAX_KERNEL_FRAMES, MAX_WORDS, StackRef},
    unwind::{Context, GENERAL, General},
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
    /// Which of the process's lists of mappings the stack was walked by; 0 for none. An address means one thing in one list.
    pub generation: u32,
}

/// Value of the two stack maps.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(C)]
pub struct StoredStack {
    /// Tells the stack from others with the same hash: see [`hash::mix_check`](crate::hash::mix_check).
    pub check: u64,
    /// Its first chunk in the arena.
    pub chunk: u32,
    /// Zero.
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
    /// Exec id that the process was forked with: with [`ProcessKey::exec_id`] it says how often it has executed since.
    /// [`NO_EXEC_ID`] where that is not known.
    pub forked_as: u32,
    /// Its parent's pid, where both run the image that the parent ran when it forked the process: neither has executed since;
    /// else 0.
    pub image_of: u32,
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

/// Bytes of arguments and environment that an [`Announcement`] has room for; the smallest that holds them is sent.
pub const STRINGS_BYTES: [usize; 2] = [4 << 10, 16 << 10];

/// [`FirstSight`] with what the process was started with, which is gone with the process. Where that has more bytes than the
/// largest of [`STRINGS_BYTES`], or lies in no one piece of memory that is at hand, the message is a [`FirstSight`] alone.
#[derive(Clone, Copy, Debug)]
#[repr(C)]
pub struct Announcement<const STRINGS: usize> {
    /// The process.
    pub first_sight: FirstSight,
    /// Where the arguments end in `strings`, bytes: they begin it.
    pub arguments_end: u32,
    /// Where the environment begins.
    pub environment: u32,
    /// Where it ends.
    pub environment_end: u32,
    /// Nothing.
    pub reserved: u32,
    /// Both, each string followed by a zero, as /proc/PID/cmdline and /proc/PID/environ have them.
    pub strings: [u8; STRINGS],
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

/// Message in the ring buffer: a process ran code outside of its known mappings.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(C)]
pub struct UnknownPc {
    /// The process.
    pub process: ProcessKey,
    /// The address.
    pub pc: u64,
}

/// Message in the ring buffer: a sample needed rows that are not loaded.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(C)]
pub struct PageWanted {
    /// Unit of the object's directory in the pool.
    pub directory: u32,
    /// Index of the page in the directory.
    pub page: u32,
}

/// Bytes of stack memory in a [`Deferred`]: the least of these that holds the stack. The last one is for programs such as
/// rustc, whose first functions have half a megabyte of variables.
pub const DEFERRED_STACKS: [usize; 3] = [8 << 10, 128 << 10, 1 << 20];
/// Bytes of the pages that [`Deferred::pages`] tells of: the least that an architecture has.
pub const DEFERRED_PAGE_BYTES: u64 = 4096;
/// The most of them in a copy.
pub const DEFERRED_PAGES: usize = DEFERRED_STACKS[2] / DEFERRED_PAGE_BYTES as usize;
/// Bytes that stack memory is copied by: a part that cannot be read ends the copy.
pub const DEFERRED_PART: usize = 512;
/// Samples that a CPU defers in a window at the most.
pub const MAX_DEFERRED: u64 = 4096;

/// Message in the ring buffer: a sample whose user stack the kernel side could not walk, for want of mappings or rules
/// that user space has only just been asked for.
#[derive(Clone, Copy, Debug)]
#[repr(C)]
pub struct Deferred<const STACK: usize> {
    /// The process.
    pub process: ProcessKey,
    /// The thread's name.
    pub thread_name: Name,
    /// The window.
    pub epoch: u64,
    /// Program counter of the first user frame.
    pub pc: u64,
    /// Its general registers by DWARF number.
    pub registers: General,
    /// 1 where `pc` is a return address: the thread is in a system call.
    pub is_return: u64,
    /// Number of kernel frames.
    pub kernel_frames: u64,
    /// Which stacks there are.
    pub stacks: Stacks,
    /// Bytes of both stacks that could be read without a gap.
    pub stack_bytes: u64,
    /// Pages of the ordinary stack that could be read behind a gap: a bit for each page of `stack`, set where it holds one.
    /// [`Stacks::first_page`] is the address that page 0 of `stack` stands for. A page that a large variable has not touched
    /// yet is such a gap.
    pub pages: [u64; DEFERRED_PAGES / 64],
    /// The kernel frames.
    pub kernel: [u64; MAX_KERNEL_FRAMES],
    /// The alternate stack, if the thread is on one, and the ordinary stack behind it.
    pub stack: [u8; STACK],
}

/// The stacks of a thread. A signal handler may run on an alternate stack (sigaltstack(2)); what it interrupted lies on the
/// ordinary one. So does a goroutine's work that Go does on its thread's own stack: that is the alternate one then.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[repr(C)]
pub struct Stacks {
    /// Address in the alternate stack from which on it is copied.
    pub alternate: u64,
    /// Bytes from there to its end, a multiple of [`DEFERRED_PART`]; 0 where the thread is on its ordinary stack.
    pub alternate_bytes: u64,
    /// Stack pointer of the ordinary stack; the next page where there is no memory at it.
    pub ordinary: u64,
}

impl Stacks {
    /// Address of what the first page of [`Deferred::stack`] would hold, were it one of those behind a gap. It is such
    /// that none of them lies where the copy without gaps does, and each begins with a page of `stack`.
    #[must_use]
    #[inline(always)]
    pub const fn first_page(&self) -> u64 {
        const PAGE: u64 = DEFERRED_PAGE_BYTES;
        let alternate = self.alternate_bytes.wrapping_add(PAGE - 1) & !(PAGE - 1);
        (self.ordinary & !(PAGE - 1)).wrapping_sub(PAGE).wrapping_sub(alternate)
    }
}

/// What each CPU keeps between and during ticks. One element per CPU.
#[derive(Clone, Copy, Debug)]
#[repr(C)]
pub struct CpuState {
    /// Ticks by [`Outcome`](crate::outcome::Outcome), per bank, since the program was loaded.
    pub outcomes: [[u64; OUTCOMES]; 2],
    /// Messages that found the ring buffer full.
    pub messages_lost: u64,
    /// The window that `next_chunk` belongs to.
    pub epoch: u64,
    /// Time of the previous tick, nanoseconds of the scheduler's clock, or CLOCK_MONOTONIC where that cannot be read; 0 before
    /// the first.
    pub last_tick_ns: u64,
    /// The kernel address of the CPU's idle task; 0 before a tick has hit it.
    pub idle_task: u64,
    /// How often that task had given up the CPU at the last tick; 0 where it is not known.
    pub idle_switches: u64,
    /// Ticks that were left out before this one.
    pub late_ticks: u64,
    /// 1 where the CPU is known to have run tasks without a pause since the last tick.
    pub never_idle: u64,
    /// Next free chunk in this CPU's part of the arena, counted from the start of the part.
    pub next_chunk: u64,
    /// Rows that this CPU has added to the window's count map, in the same window.
    pub rows: u64,
    /// The window in which a full table was last logged, plus one.
    pub logged_epoch: u64,
    /// Samples that were deferred in this window.
    pub deferred: u64,
    /// The sampled process.
    pub process: ProcessKey,
    /// State of the walk under way.
    pub walk: Walk,
    /// General registers by DWARF number: those of the first frame, and behind them those of the frame that a signal
    /// interrupted last.
    pub registers: [u64; 2 * GENERAL],
    /// What [`Deferred::stacks`] becomes.
    pub stacks: Stacks,
    /// Where the ordinary one of them ends, if the program says so itself, as Go's do; 0 where it does not.
    pub stack_end: u64,
    /// Where the registers of interrupted code are read to.
    pub context: Context,
    /// A copy of the part of the stack that the walk is at.
    pub window: StackWindow,
    /// Where the stack is put together.
    pub words: [u64; MAX_WORDS],
}

/// Bytes of the stack that a walk copies at a time. One call that copies them costs as much as reading two or three words
/// one by one, and most programs have ten to thirty frames in them.
pub const WINDOW_BYTES: usize = 1024;

/// A copy of a part of the stack that is walked.
#[derive(Clone, Copy, Debug)]
#[repr(C)]
pub struct StackWindow {
    /// Address of the first byte.
    pub start: u64,
    /// Number of bytes; 0 for none.
    pub bytes: u64,
    /// The address from which on the stack was found to be unreadable; all ones where that was not seen.
    pub ceiling: u64,
    /// The copy, and room for a word that is read behind any other.
    pub words: [u64; WINDOW_BYTES / 8 + 1],
}

/// Index of the word at an address in the copy of `bytes` bytes from `start` on. `None` where it or the word behind it is
/// elsewhere: below the stack pointer too, where a function's end still finds what it restored.
#[inline(always)]
#[must_use]
pub fn window_index(start: u64, bytes: u64, address: u64) -> Option<usize> {
    let offset = address.wrapping_sub(start);
    // An address below `start` is a large offset, to which 16 must not be added.
    if offset & 7 != 0 || offset >= bytes || bytes - offset < 16 {
        return None;
    }
    Some((offset as usize / 8) & (WINDOW_BYTES / 8 - 1))
}

/// Whether a sample may be deferred: [`Walk::defer`].
pub mod defer {
    /// It may.
    pub const POSSIBLE: u64 = 0;
    /// It is to be.
    pub const WANTED: u64 = 1;
    /// It may not: there was no room.
    pub const IMPOSSIBLE: u64 = 2;
}

/// State of a stack walk. It passes through memory because the verifier does not follow values there: it would check all
/// that comes after a loop once for each number of rounds. It also is what one program of a walk leaves to the next.
#[derive(Clone, Copy, Debug)]
#[repr(C)]
pub struct Walk {
    /// Program counter of the frame at hand.
    pub pc: u64,
    /// Its stack pointer.
    pub sp: u64,
    /// Its frame pointer.
    pub fp: u64,
    /// 1 where the frame was interrupted: all its registers are known.
    pub interrupted: u64,
    /// Index of the registers of the last interrupted frame in [`CpuState::registers`]: 0 or 16.
    pub registers_at: u64,
    /// 1 where `pc` is a return address, else it is that of an instruction to come.
    pub is_return: u64,
    /// 1 while there is another frame.
    pub goes_on: u64,
    /// 1 once frames are found by frame pointers for want of rules.
    pub fallback: u64,
    /// One of [`defer`].
    pub defer: u64,
    /// Which list of the process's mappings is used.
    pub generation: u64,
    /// Unit of the process's mappings in the pool.
    pub mappings: u64,
    /// Number of them.
    pub mapping_count: u64,
    /// The mapping that was used last: its first address,
    pub start: u64,
    /// the first address behind it; 0 for none,
    pub end: u64,
    /// what leads to the object's own addresses,
    pub delta: u64,
    /// and its directory (low half) and how it is unwound (high half).
    pub directory: u64,
    /// Hash of header and frames.
    pub hash: u64,
    /// Their check.
    pub check: u64,
    /// Number of kernel frames.
    pub kernel_frames: u64,
    /// Number of user frames.
    pub user_frames: u64,
    /// The [`Outcome`](crate::outcome::Outcome) as a number.
    pub outcome: u64,
    /// 1 where the first user address is a return address.
    pub leaf_is_return: u64,
    /// Number of words of the whole stack, header included.
    pub words: u64,
}

/// Where fields lie in the kernel's task_struct and what it points to, bytes; read from the running kernel's BTF.
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
    /// `parent_exec_id`; 0 where that is not known.
    pub parent_exec_id: u32,
    /// `real_parent`; 0 where that is not known.
    pub real_parent: u32,
    /// `sas_ss_sp`.
    pub sas_ss_sp: u32,
    /// `sas_ss_size`.
    pub sas_ss_size: u32,
    /// Where a thread keeps its thread pointer while it does not run (`thread.fsbase`, `thread.uw.tp_value`); 0 where that is
    /// not known.
    pub thread_pointer: u32,
    /// `sched_info.last_arrival`; 0 where that, or `event_clock`, is not known.
    pub last_arrival: u32,
    /// `nivcsw`; 0 where that is not known.
    pub nivcsw: u32,
    /// `hw.prev_count` of perf_event; 0 where that is not known.
    pub event_clock: u32,
    /// `start_stack` of mm_struct; 0 where that is not known.
    pub start_stack: u32,
    /// `arg_start` of mm_struct, which `arg_end`, `env_start` and `env_end` follow; 0 where that is not known.
    pub arg_start: u32,
    /// `end_code` of mm_struct; 0 where that is not known.
    pub end_code: u32,
    /// `exe_file` of mm_struct; 0 where that is not known.
    pub exe_file: u32,
    /// Where the user registers lie above `stack`; measured, because no type information holds it.
    pub user_registers: u32,
}

const _: () = assert!(size_of::<SampleKey>() == 40);
const _: () = assert!(size_of::<FirstSight>() == 56);
const _: () = assert!(size_of::<Selected>() == 16);
const _: () = assert!(size_of::<UnknownPc>() == 24);
const _: () = assert!(size_of::<PageWanted>() == 8);
// What the kernel gives a per-CPU value at the most (PCPU_MIN_UNIT_SIZE, include/linux/percpu.h).
const _: () = assert!(size_of::<CpuState>() <= 32 << 10);

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn keys_have_no_padding() {
        assert_eq!(size_of::<ProcessKey>(), 8 + 4 + 4);
        assert_eq!(size_of::<SampleKey>(), 16 + NAME_BYTES + 4 + 4);
        assert_eq!(size_of::<ProcessInfo>(), NAME_BYTES + 8 + 4 + 4 + 8);
    }

    #[test]
    fn a_window_has_nothing_of_what_lies_around_it() {
        let index = |address| window_index(0x1000, 64, address);
        assert_eq!([0x1000, 0x1008, 0x1030].map(index), [Some(0), Some(1), Some(6)]);
        for outside in [0, 0xff0, 0xff8, 0x1004, 0x1038, 0x1040, 0x2000, u64::MAX - 7] {
            assert_eq!(index(outside), None, "{outside:#x}");
        }
        let whole = |address| window_index(0x1000, WINDOW_BYTES as u64, address);
        assert_eq!(whole(0x1000 + WINDOW_BYTES as u64 - 16), Some(WINDOW_BYTES / 8 - 2));
        for address in [0, 8, u64::MAX - 7] {
            assert_eq!(window_index(0, 0, address), None, "an empty one, {address:#x}");
        }
    }
}
