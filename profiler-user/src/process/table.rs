//! The processes that were sampled, with what they had mapped.

use std::{collections::HashMap, fs, sync::Arc};

use profiler_common::layout::{Name, ProcessInfo, ProcessKey};

use super::{
    identity::{Draft, Identities, Methods, Subject},
    mapping::{Area, MAX_MAPPINGS, Mapping, Process, displaces, index_of, start_of, with_gone},
    maps::{MapsLine, parse_line},
    object::{Object, Objects},
    opening::Owner,
    overlay::overlay,
    ranges::Range,
    stat::{is_alive, is_kernel_thread},
    tracker::{Base, Change, Told, Tracker},
    vdso,
};
use crate::capture::{
    Strings,
    sideband::{Event, Kind, boottime_ns},
};

/// Windows without a sample after which a process is forgotten. It is looked at anew should it run again.
const IDLE_WINDOWS: u32 = 4;
/// The same for a process that is excluded, of which no sample comes.
const EXCLUDED_WINDOWS: u32 = 64;
/// The same for a process that has ended. Its last samples may lie in the window after the one whose rows are joined when
/// the end is heard of.
const ENDED_WINDOWS: u32 = 1;

/// A sampled process, and what the table needs to know of it. The process itself is shared with windows under way, so
/// that changing it copies it; what changes every window lies beside it.
#[derive(Debug, Default)]
struct Entry {
    process: Arc<Process>,
    /// What the identity is made of, while more may be learned.
    draft: Option<Box<Draft>>,
    idle_windows: u32,
    ended: bool,
    /// When /proc was read for it; 0 where it was not.
    read_ns: u64,
}

/// All processes that were sampled of late, and what was heard of the others.
#[derive(Debug)]
pub struct Table {
    processes: HashMap<ProcessKey, Entry>,
    generations: u32,
    /// Processes as they were before one object took the place of another, or before they were announced.
    replaced: Vec<(ProcessKey, Arc<Process>)>,
    tracker: Tracker,
    objects: Objects,
    identities: Identities,
    vdso: Arc<Object>,
}

impl Default for Table {
    fn default() -> Self {
        Self::new()
    }
}

impl Table {
    /// An empty table.
    #[must_use]
    pub fn new() -> Self {
        Self::with(Methods::default())
    }

    /// An empty table, which finds out by these methods who processes are.
    #[must_use]
    pub fn with(methods: Methods) -> Self {
        let mut objects = Objects::default();
        let vdso = objects.add(vdso::object());
        Self {
            processes: HashMap::new(),
            generations: 0,
            replaced: Vec::new(),
            tracker: Tracker::default(),
            objects,
            identities: Identities::with(methods),
            vdso,
        }
    }

    /// Learns from what the kernel told of processes. Returns the sampled process whose mappings are others now.
    ///
    /// Apply all that happened before a sample was announced before [`Table::first_sight`] is called for it.
    pub fn apply(&mut self, event: &Event<'_>) -> Option<ProcessKey> {
        match self.tracker.apply(event)? {
            Change::Mapped(key, range) => self.learn(&key, &range).then_some(key),
            Change::Ended(key) => {
                let entry = self.processes.get_mut(&key)?;
                entry.ended = true;
                // Where it had executed something else before /proc was read, that showed the other image's mappings.
                let executed = matches!(event.kind, Kind::Comm { .. });
                if !executed || event.time_ns > entry.read_ns {
                    return None;
                }
                let told = self.tracker.sampled(&key).filter(|told| !told.current);
                let told = told.map(|told| self.told_mappings(&key, &told));
                let generation = self.next_generation();
                let process = Arc::make_mut(&mut self.processes.get_mut(&key)?.process);
                process.generation = generation;
                (process.mappings, process.main) = told.unwrap_or_default();
                Some(key)
            }
        }
    }

    /// Takes note of a process that was just sampled for the first time, with what it was started with as far as the kernel
    /// side could tell.
    pub fn first_sight(
        &mut self,
        key: ProcessKey,
        info: &ProcessInfo,
        strings: Option<&Strings>,
    ) -> Arc<Process> {
        self.tracker.announced(&key, info);
        let mut entry = self.look(&key);
        let generation = self.next_generation();
        let process = Arc::make_mut(&mut entry.process);
        process.generation = generation;
        process.announced = true;
        process.name = name(&info.name);
        process.cgroup_id = info.cgroup_id;
        entry.draft = identify(&mut self.identities, &key, process, strings);
        let process = Arc::clone(&entry.process);
        // It may have been known before it was announced: while its program was put into memory. Samples since were walked by
        // what it had mapped.
        if let Some(before) = self.processes.insert(key, entry) {
            self.replaced.push((key, before.process));
        }
        process
    }

    /// The process, as it is known. One that is not known is looked for.
    pub fn get(&mut self, key: &ProcessKey) -> Arc<Process> {
        if let Some(entry) = self.processes.get_mut(key) {
            entry.idle_windows = 0;
            return Arc::clone(&entry.process);
        }
        let comm = fs::read(format!("/proc/{}/comm", key.pid)).unwrap_or_default();
        let mut entry = self.look(key);
        let generation = self.next_generation();
        let process = Arc::make_mut(&mut entry.process);
        process.generation = generation;
        if process.name.is_empty() {
            // Without mappings it is not certain that this is the process, and not the next one with its pid: but for the
            // kernel's threads, which have none and execute nothing.
            let is_same = !process.mappings.is_empty() || is_kernel_thread(key.pid) && is_alive(key);
            process.name = if !is_same {
                format!("pid-{}", key.pid)
            } else {
                String::from_utf8_lossy(comm.trim_ascii_end()).into_owned()
            };
        }
        entry.draft = identify(&mut self.identities, key, process, None);
        let process = Arc::clone(&entry.process);
        self.processes.insert(*key, entry);
        process
    }

    /// A process that lives, by its pid alone, for somebody who asks about addresses in it. It is looked at where it is not known, or
    /// not what is there.
    pub fn living(&mut self, pid: u32, addresses: &[u64]) -> Arc<Process> {
        let known = self.processes.iter().find(|(key, entry)| key.pid == pid && !entry.ended);
        if let Some((_, entry)) = known
            && addresses.iter().all(|&address| entry.process.find(address).is_some())
        {
            return Arc::clone(&entry.process);
        }
        let (mappings, main) = self.read_maps(pid, || true);
        Arc::new(Process { mappings, main, ..Process::default() })
    }

    /// Reads a process's mappings again, for it ran code outside of the known ones (dlopen, generated code).
    /// Returns whether they could be read.
    pub fn refresh(&mut self, key: &ProcessKey) -> bool {
        let (mappings, main) = self.read_mappings(key);
        if mappings.is_empty() {
            return false;
        }
        let generation = self.next_generation();
        if let Some(entry) = self.processes.get_mut(key) {
            entry.read_ns = boottime_ns();
            let before = Arc::clone(&entry.process);
            let displaced = mappings.iter().any(|new| displaces(new, &before.mappings));
            let process = Arc::make_mut(&mut entry.process);
            if displaced {
                process.generation = generation;
                self.replaced.push((*key, before));
            }
            let main_start = main.and_then(|main| mappings.get(main)).map(|mapping| mapping.start);
            process.mappings = with_gone(mappings, std::mem::take(&mut process.mappings));
            process.main = index_of(&process.mappings, main_start);
        }
        true
    }

    /// Gives processes the names that others have said since, and returns those that turned out to be excluded.
    pub fn settle(&mut self) -> Vec<ProcessKey> {
        let Self { processes, identities, .. } = self;
        let mut excluded = Vec::new();
        for (key, entry) in processes {
            let Some(identity) = entry.draft.as_mut().and_then(|draft| identities.settle(draft)) else {
                continue;
            };
            entry.draft = None;
            if identity.excluded && !entry.process.identity.excluded {
                excluded.push(*key);
            }
            Arc::make_mut(&mut entry.process).identity = identity;
        }
        excluded
    }

    /// Ends a window: forgets processes that have not been asked for in a while, and returns them.
    pub fn end_window(&mut self) -> Vec<ProcessKey> {
        let Self { processes, tracker, .. } = self;
        let mut gone = Vec::new();
        processes.retain(|key, entry| {
            entry.idle_windows += 1;
            let most = match (entry.ended, entry.process.identity.excluded) {
                (true, _) => ENDED_WINDOWS,
                (_, true) => EXCLUDED_WINDOWS,
                _ => IDLE_WINDOWS,
            };
            let stays = entry.idle_windows <= most;
            if !stays {
                tracker.forget(key);
                gone.push(*key);
            }
            stays
        });
        tracker.end_window(|pid| fs::exists(format!("/proc/{pid}")).unwrap_or(true));
        gone
    }

    /// Number of process ids that anything was heard of: living processes that were forked or executed since the agent
    /// started, and those that just ended.
    #[must_use]
    pub fn heard_of(&self) -> usize {
        self.tracker.len()
    }

    /// Processes, images and mappings that were not kept because there were too many of them.
    #[must_use]
    pub fn refused(&self) -> u64 {
        self.tracker.refused()
    }

    /// Takes the processes as they were before one object took the place of another, or before they were announced, oldest
    /// first.
    pub fn take_replaced(&mut self) -> Vec<(ProcessKey, Arc<Process>)> {
        std::mem::take(&mut self.replaced)
    }

    fn next_generation(&mut self) -> u32 {
        self.generations = self.generations.wrapping_add(1).max(1);
        self.generations
    }

    /// Number of known processes.
    #[must_use]
    pub fn len(&self) -> usize {
        self.processes.len()
    }

    /// Whether no process is known.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.processes.is_empty()
    }

    /// Looks at a process that was sampled: what was heard of it is all, or /proc tells the rest while it lives.
    ///
    /// /proc shows what a pid runs now. It is not asked for an image that is known to be over.
    fn look(&mut self, key: &ProcessKey) -> Entry {
        let told = self.tracker.sampled(key);
        if told.as_ref().is_none_or(|told| told.current && !told.complete) {
            let (mappings, main) = self.read_mappings(key);
            if !mappings.is_empty() {
                let process = Arc::new(Process { mappings, main, ..Process::default() });
                return Entry { process, read_ns: boottime_ns(), ..Entry::default() };
            }
        }
        let Some(told) = told else {
            return Entry::default();
        };
        let (mappings, main) = self.told_mappings(key, &told);
        let process = Process { name: name(&told.name), mappings, main, ..Process::default() };
        Entry { process: Arc::new(process), ended: !told.current, ..Entry::default() }
    }

    /// The executable mappings of a process as they were heard of, and which is the main binary's.
    fn told_mappings(&mut self, key: &ProcessKey, told: &Told) -> (Vec<Mapping>, Option<usize>) {
        let (mut mappings, base_main) = told.base.map(|base| self.base_mappings(base)).unwrap_or_default();
        let main = if told.main == 0 { start_of(&mappings, base_main) } else { Some(told.main) };
        // What is the same process still now shows its files; they are kept open from here on.
        let alive = told.current && is_alive(key);
        let owner = if alive { Owner::Alive(key.pid) } else { Owner::Gone { parent: told.parent } };
        for range in told.ranges.iter() {
            let mapping = self.mapping(owner, &range.line());
            overlay(&mut mappings, mapping);
        }
        let main = index_of(&mappings, main);
        (mappings, main)
    }

    /// What a process had mapped when it was forked from one that is older than the agent: what that one has mapped.
    fn base_mappings(&mut self, base: Base) -> (Vec<Mapping>, Option<usize>) {
        let (current, key) = self.tracker.base(base);
        if let Some(process) = key.and_then(|key| self.processes.get(&key)) {
            return (process.process.mappings.clone(), process.process.main);
        }
        if current { self.read_maps(base.pid, || true) } else { (Vec::new(), None) }
    }

    /// Adds a mapping to a sampled process; `false` where it was known.
    fn learn(&mut self, key: &ProcessKey, range: &Range) -> bool {
        let line = range.line();
        let known = self.processes.get(key).map(|entry| {
            let process = &entry.process;
            let same = process.find(line.start).and_then(|index| process.mappings.get(index));
            // Some runtimes make the same code writable and executable again all the time.
            same.is_some_and(|same| {
                (same.start, same.end) == (line.start, line.end)
                    && matches!(same.area, Area::Anonymous(_))
                    && line.inode == 0
            }) || process.mappings.len() >= MAX_MAPPINGS
        });
        if known != Some(false) {
            return false;
        }
        let mapping = self.mapping(Owner::Alive(key.pid), &line);
        let generation = self.next_generation();
        if let Some(entry) = self.processes.get_mut(key) {
            if displaces(&mapping, &entry.process.mappings) {
                self.replaced.push((*key, Arc::clone(&entry.process)));
                Arc::make_mut(&mut entry.process).generation = generation;
            }
            let process = Arc::make_mut(&mut entry.process);
            let main = start_of(&process.mappings, process.main);
            let first_file = matches!(mapping.area, Area::Object(_)).then_some(mapping.start);
            overlay(&mut process.mappings, mapping);
            process.main = index_of(&process.mappings, main.or(first_file));
        }
        true
    }

    /// The executable mappings of a process, if it still is the same one, and which is the main binary's.
    fn read_mappings(&mut self, key: &ProcessKey) -> (Vec<Mapping>, Option<usize>) {
        self.read_maps(key.pid, || is_alive(key))
    }

    fn read_maps(&mut self, pid: u32, is_it: impl Fn() -> bool) -> (Vec<Mapping>, Option<usize>) {
        let Ok(text) = fs::read(format!("/proc/{pid}/maps")) else {
            return (Vec::new(), None);
        };
        // The check comes after the read: what is the same process now was it then.
        if !is_it() {
            return (Vec::new(), None);
        }
        let exe = fs::read_link(format!("/proc/{pid}/exe")).unwrap_or_default();
        let exe = exe.to_string_lossy();
        let exe = exe.strip_suffix(" (deleted)").unwrap_or(&exe);
        let mut mappings: Vec<Mapping> = Vec::new();
        // A file that is mapped many times is looked at once.
        let mut last: Option<((u32, u32), u64, Area)> = None;
        for line in text.split(|&byte| byte == b'\n').filter_map(parse_line) {
            if !line.executable {
                continue;
            }
            let file = (line.device, line.inode);
            let area = match &last {
                Some((device, inode, area)) if line.inode != 0 && (*device, *inode) == file => area.clone(),
                _ => self.mapping(Owner::Alive(pid), &line).area,
            };
            if line.inode != 0 {
                last = Some((line.device, line.inode, area.clone()));
            }
            mappings.push(Mapping { start: line.start, end: line.end, offset: line.offset, area });
        }
        let main = mappings
            .iter()
            .position(|mapping| matches!(&mapping.area, Area::Object(object) if object.path == exe))
            .or_else(|| mappings.iter().position(|mapping| matches!(mapping.area, Area::Object(_))));
        (mappings, main)
    }

    fn mapping(&mut self, owner: Owner, line: &MapsLine<'_>) -> Mapping {
        let area = if line.inode != 0 {
            Area::Object(self.objects.open(owner, line))
        } else if line.path == b"[vdso]" {
            Area::Object(Arc::clone(&self.vdso))
        } else if line.path.is_empty() {
            Area::Anonymous("[anon]".to_owned())
        } else {
            // [heap], [stack], [vsyscall], [anon:name]
            let name = String::from_utf8_lossy(line.path).into_owned();
            Area::Anonymous(if name.starts_with('[') { name } else { format!("[anon:{name}]") })
        };
        Mapping { start: line.start, end: line.end, offset: line.offset, area }
    }
}

/// Finds out who a process is, as far as that can be told. Gives what that is made of while more may be learned.
fn identify(
    identities: &mut Identities,
    key: &ProcessKey,
    process: &mut Process,
    strings: Option<&Strings>,
) -> Option<Box<Draft>> {
    let main = process.main.and_then(|main| process.mappings.get(main));
    let executable = main.and_then(|mapping| match &mapping.area {
        Area::Object(object) => Some(object.path.as_str()).filter(|path| !path.is_empty()),
        Area::Anonymous(_) => None,
    });
    let alive = || is_alive(key);
    let executable = match executable {
        Some(executable) => executable,
        // The kernel's threads map nothing. Of what is gone there is its name.
        None if process.mappings.is_empty() && is_kernel_thread(key.pid) && alive() => "kernel",
        None => &process.name,
    };
    let Process { name, cgroup_id, .. } = &*process;
    let subject = Subject { pid: key.pid, cgroup_id: *cgroup_id, name, executable };
    let (identity, draft) = identities.look(&subject, strings, alive);
    process.identity = identity;
    draft
}

/// A kernel name as text: up to its first zero.
fn name(bytes: &Name) -> String {
    let end = bytes.iter().position(|&byte| byte == 0).unwrap_or(bytes.len());
    String::from_utf8_lossy(&bytes[..end]).into_owned()
}

#[cfg(test)]
mod tests;
