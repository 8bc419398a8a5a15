//! Reading the kernel's task_struct, at offsets that user space found in the kernel's type information.

use aya_ebpf::helpers::{bpf_get_current_task, bpf_probe_read_kernel};
use profiler_common::layout::{Name, ProcessKey};

use crate::maps;

/// Task is a kernel thread (PF_KTHREAD, include/linux/sched.h).
const KERNEL_THREAD: u32 = 0x0020_0000;

/// A pointer to a task_struct. Reads through it cannot fault: bpf_probe_read_kernel gives an error instead.
#[derive(Clone, Copy)]
pub struct Task(u64);

impl Task {
    /// The running task.
    #[inline(always)]
    pub fn current() -> Self {
        // SAFETY: the helper takes no arguments and has no precondition.
        Self(unsafe { bpf_get_current_task() })
    }

    /// A task that the kernel handed to the program.
    #[inline(always)]
    pub fn from_address(address: u64) -> Self {
        Self(address)
    }

    /// Where it lies.
    #[inline(always)]
    pub fn address(self) -> u64 {
        self.0
    }

    #[inline(always)]
    fn read<T>(self, offset: u32) -> Option<T> {
        read_kernel(self.0 + u64::from(offset))
    }

    /// The process's id in the initial pid namespace.
    #[inline(always)]
    pub fn tgid(self) -> Option<u32> {
        self.read(maps::TASK_TGID.load())
    }

    /// The thread's id in the initial pid namespace.
    #[inline(always)]
    pub fn pid(self) -> Option<u32> {
        self.read(maps::TASK_PID.load())
    }

    /// The process's leading thread.
    #[inline(always)]
    pub fn leader(self) -> Option<Self> {
        self.read(maps::TASK_GROUP_LEADER.load()).map(Self)
    }

    /// When the thread was started, nanoseconds since boot.
    #[inline(always)]
    pub fn start_ns(self) -> Option<u64> {
        self.read(maps::TASK_START_BOOTTIME.load())
    }

    /// How often the task's image was replaced; the field was widened in 5.7, its low half is enough.
    #[inline(always)]
    pub fn exec_id(self) -> Option<u32> {
        self.read(maps::TASK_SELF_EXEC_ID.load())
    }

    /// The exec id that its process was forked with: that of the parent at the time (copy_process, kernel/fork.c).
    #[inline(always)]
    pub fn forked_as(self) -> Option<u32> {
        match maps::TASK_PARENT_EXEC_ID.load() {
            0 => None,
            offset => self.read(offset),
        }
    }

    /// The parent's pid, where the process still runs the image that it was forked with, and the parent does, too. A fork shares
    /// the program's open file, and every exec opens it anew (dup_mm_exe_file, kernel/fork.c; begin_new_exec, fs/exec.c).
    #[inline(always)]
    pub fn image_of(self) -> Option<u32> {
        let parent = match maps::TASK_REAL_PARENT.load() {
            0 => return None,
            offset => Self(self.read(offset)?),
        };
        let program = self.program()?;
        if parent.program()? == program { parent.tgid() } else { None }
    }

    /// The address of the program's open file.
    #[inline(always)]
    fn program(self) -> Option<u64> {
        let mm: u64 = self.read(maps::TASK_MM.load()).filter(|&mm| mm != 0)?;
        match maps::MM_EXE_FILE.load() {
            0 => None,
            offset => read_kernel(mm + u64::from(offset)).filter(|&file| file != 0),
        }
    }

    /// When it got the CPU that it runs on, by the scheduler's clock (`sched_info_arrive`, kernel/sched/stats.h).
    #[inline(always)]
    pub fn last_arrival_ns(self) -> Option<u64> {
        match maps::TASK_LAST_ARRIVAL.load() {
            0 => None,
            offset => self.read(offset),
        }
    }

    /// How often it gave up a CPU without having gone to sleep, as an idle task does each time (`__schedule`,
    /// kernel/sched/core.c).
    #[inline(always)]
    pub fn preemptions(self) -> Option<u64> {
        match maps::TASK_NIVCSW.load() {
            0 => None,
            offset => self.read(offset),
        }
    }

    /// The thread's name.
    #[inline(always)]
    pub fn name(self) -> Option<Name> {
        self.read(maps::TASK_COMM.load())
    }

    /// Whether the task has user memory: kernel threads have none, and exiting tasks have given it back.
    #[inline(always)]
    pub fn has_user_memory(self) -> bool {
        let flags: u32 = self.read(maps::TASK_FLAGS.load()).unwrap_or(KERNEL_THREAD);
        let mm: u64 = self.read(maps::TASK_MM.load()).unwrap_or(0);
        flags & KERNEL_THREAD == 0 && mm != 0
    }

    /// The bottom of the task's kernel stack.
    #[inline(always)]
    pub fn stack(self) -> Option<u64> {
        self.read(maps::TASK_STACK.load())
    }

    /// The thread's alternate stack for signal handlers: its first address and its size, zeros where there is none.
    #[inline(always)]
    pub fn alternate_stack(self) -> (u64, u64) {
        let start = self.read(maps::TASK_SAS_SS_SP.load()).unwrap_or(0);
        (start, self.read(maps::TASK_SAS_SS_SIZE.load()).unwrap_or(0))
    }

    /// Addresses that the stack which a thread runs on ends below, if it begins below: where the process's first stack began,
    /// and the thread pointer, for C libraries keep a thread's own data at the very top of its stack. Zeros where they are
    /// not known.
    #[inline(always)]
    pub fn stack_ends(self) -> [u64; 2] {
        let mm: u64 = self.read(maps::TASK_MM.load()).unwrap_or(0);
        let start_stack = match maps::MM_START_STACK.load() {
            0 => 0,
            offset => read_kernel(mm + u64::from(offset)).unwrap_or(0),
        };
        [start_stack, self.thread_pointer()]
    }

    /// Where the thread's own data is, as its programs were told (`fs` on x86_64, `tpidr_el0` on aarch64); 0 where that is not
    /// known.
    #[inline(always)]
    pub fn thread_pointer(self) -> u64 {
        match maps::TASK_THREAD_POINTER.load() {
            0 => 0,
            offset => self.read(offset).unwrap_or(0),
        }
    }

    /// Where the process's arguments begin and end, and its environment: what /proc/PID/cmdline and environ show. Zeros where
    /// that is not known.
    #[inline(always)]
    pub fn strings(self) -> [u64; 4] {
        let mm: u64 = self.read(maps::TASK_MM.load()).unwrap_or(0);
        match maps::MM_ARG_START.load() {
            0 => [0; 4],
            offset => read_kernel(mm + u64::from(offset)).unwrap_or_default(),
        }
    }

    /// Whether its program has been put into memory, and its arguments and environment are there: where code ends is written
    /// after them (load_elf_binary, fs/binfmt_elf.c). Where that is not known, it is taken to be so.
    #[inline(always)]
    pub fn has_executed(self) -> bool {
        let mm: u64 = self.read(maps::TASK_MM.load()).unwrap_or(0);
        match maps::MM_END_CODE.load() {
            0 => true,
            offset => read_kernel::<u64>(mm + u64::from(offset)).is_none_or(|end| end != 0),
        }
    }

    /// Where the registers lie that the task entered the kernel with from user mode.
    #[inline(always)]
    pub fn user_registers_at(self) -> Option<u64> {
        Some(self.stack()? + u64::from(maps::USER_REGISTERS.load()))
    }

    /// Which process, running which image, the task belongs to.
    #[inline(always)]
    pub fn process(self, tgid: u32, leader: Self) -> Option<ProcessKey> {
        Some(ProcessKey { start_ns: leader.start_ns()?, pid: tgid, exec_id: self.exec_id()? })
    }
}

/// Reads kernel memory; `None` where there is none.
#[inline(always)]
pub fn read_kernel<T>(address: u64) -> Option<T> {
    // SAFETY: the helper checks the address itself and reports what it cannot read.
    unsafe { bpf_probe_read_kernel(address as *const T) }.ok()
}
