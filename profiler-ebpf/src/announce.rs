//! Telling user space of a process that it does not know, at once: it may be gone before the window ends.

use aya_ebpf::{
    bindings::BPF_NOEXIST,
    helpers::generated::{bpf_get_current_cgroup_id, bpf_probe_read_user},
};
use profiler_common::{
    layout::{Announcement, CpuState, FirstSight, NO_EXEC_ID, ProcessInfo, ProcessKey, STRINGS_BYTES},
    unwind::pool::process_flags,
};

use crate::{
    maps,
    task::Task,
    walk::{hide, reveal},
};

/// Whether a process is to be sampled.
#[derive(PartialEq, Eq)]
pub enum Wanted {
    /// It is, as far as is known.
    Yes,
    /// User space has excluded it.
    No,
}

/// Announces the running process, where that was not done.
#[inline(always)]
pub fn announce(process: &ProcessKey, task: Task, leader: Task, state: &mut CpuState) -> Wanted {
    // User space knows those whose mappings it has put there. The walk looks there next anyway, and each map that is not looked
    // at saves some five cache lines and pages.
    // SAFETY: an entry that is removed meanwhile stays readable until the program ends.
    if let Some(table) = unsafe { maps::PROCESS_TABLES.get(process) } {
        if table.flags & process_flags::EXCLUDED != 0 {
            return Wanted::No;
        }
        if table.flags & process_flags::UNANNOUNCED == 0 {
            return Wanted::Yes;
        }
    }
    if maps::PROCESSES.get_ptr(process).is_some() {
        return Wanted::Yes;
    }
    let strings = Strings::of(task);
    if strings.begins && task.has_user_memory() {
        // The program is still being put into memory, and who it is is not there yet: the next tick tells.
        return Wanted::Yes;
    }
    let info = ProcessInfo {
        name: leader.name().unwrap_or_default(),
        // SAFETY: the helper takes no arguments and has no precondition.
        cgroup_id: unsafe { bpf_get_current_cgroup_id() },
        forked_as: task.forked_as().unwrap_or(NO_EXEC_ID),
        image_of: leader.image_of().unwrap_or(0),
        lost: 0,
    };
    // Of two CPUs only one inserts, and only that one announces.
    if maps::PROCESSES.insert(process, info, u64::from(BPF_NOEXIST)).is_err() {
        return Wanted::Yes;
    }
    let first_sight = FirstSight { process: *process, info };
    let told = strings.tell::<{ STRINGS_BYTES[0] }>(&first_sight)
        || strings.tell::<{ STRINGS_BYTES[1] }>(&first_sight)
        || maps::MESSAGES.output::<FirstSight>(first_sight, 0).is_ok();
    if !told {
        // User space finds the process in the map when it drains the window, only later.
        state.messages_lost += 1;
    }
    Wanted::Yes
}

/// Where a process's arguments and environment lie: one behind the other, in one piece.
struct Strings {
    /// Address of the first argument.
    start: u64,
    /// Where the arguments end, from there.
    arguments_end: u64,
    /// Where the environment begins.
    environment: u64,
    /// Where it ends, which is how many bytes there are; 0 where there is nothing that could be told.
    end: u64,
    /// Whether they are not there yet, or not all of them.
    begins: bool,
}

impl Strings {
    #[inline(always)]
    fn of(task: Task) -> Self {
        let [start, arguments_end, environment, end] = task.strings();
        let far = |address: u64| address.wrapping_sub(start);
        let mut strings = Self {
            start,
            arguments_end: far(arguments_end),
            environment: far(environment),
            end: 0,
            begins: maps::MM_ARG_START.load() != 0 && (end == 0 || !task.has_executed()),
        };
        // A process may say that they are elsewhere (PR_SET_MM of prctl(2)): what lies in another order is not told.
        if strings.arguments_end <= strings.environment && strings.environment <= far(end) {
            hide(&mut strings.end, far(end));
        }
        strings
    }

    /// Sends the announcement with them; `false` where they do not fit, cannot be read, or there is no room.
    #[inline(always)]
    fn tell<const BYTES: usize>(&self, first_sight: &FirstSight) -> bool {
        let bytes = reveal(&self.end);
        if bytes == 0 || bytes > BYTES as u64 {
            return false;
        }
        let Some(mut entry) = maps::MESSAGES.reserve::<Announcement<BYTES>>(0) else {
            return false;
        };
        // SAFETY: all of the entry is written below, or lies behind `environment_end`; no reference to what is not written yet
        // is kept.
        let announcement = unsafe { &mut *entry.as_mut_ptr() };
        // SAFETY: `strings` has room for so many bytes. The helper checks the address, does not sleep, and reports what it
        // cannot read.
        let read = unsafe {
            bpf_probe_read_user(
                announcement.strings.as_mut_ptr().cast(),
                bytes as u32,
                self.start as *const _,
            )
        };
        if read != 0 {
            entry.discard(0);
            return false;
        }
        announcement.first_sight = *first_sight;
        announcement.arguments_end = self.arguments_end as u32;
        announcement.environment = self.environment as u32;
        announcement.environment_end = bytes as u32;
        announcement.reserved = 0;
        entry.submit(0);
        true
    }
}
