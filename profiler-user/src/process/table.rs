//! The processes that were sampled, with what they had mapped.

use std::{collections::HashMap, fs, sync::Arc};

use profiler_common::layout::{Name, ProcessInfo, ProcessKey, START_TICK_NS, same_start};

use super::{
    maps::{MapsLine, parse_line},
    object::{Object, Objects},
    vdso,
};

/// Windows without a sample after which a process is forgotten. It is looked at anew should it run again.
const IDLE_WINDOWS: u32 = 4;

/// What an executable range shows.
#[derive(Clone, Debug)]
pub enum Area {
    /// A file, or the vDSO.
    Object(Arc<Object>),
    /// Memory without a file: generated code. The name is in brackets.
    Anonymous(String),
}

/// An executable range of a process.
#[derive(Clone, Debug)]
pub struct Mapping {
    /// First address.
    pub start: u64,
    /// First address behind.
    pub end: u64,
    /// Offset in the file, bytes.
    pub offset: u64,
    /// What is there.
    pub area: Area,
}

/// A process with one program image.
#[derive(Clone, Debug, Default)]
pub struct Process {
    /// Its name: that of its leading thread.
    pub name: String,
    /// Id of its cgroup in the unified hierarchy.
    pub cgroup_id: u64,
    /// Executable ranges by address; empty where the process was gone before anyone could look.
    pub mappings: Vec<Mapping>,
    /// Index of the main binary in `mappings`.
    pub main: Option<usize>,
    idle_windows: u32,
}

impl Process {
    /// The index of the range that an address lies in.
    #[must_use]
    pub fn find(&self, address: u64) -> Option<usize> {
        let index = self.mappings.partition_point(|mapping| mapping.end <= address);
        self.mappings.get(index).filter(|mapping| mapping.start <= address).map(|_| index)
    }
}

/// All processes that were sampled of late.
#[derive(Debug)]
pub struct Table {
    processes: HashMap<ProcessKey, Arc<Process>>,
    objects: Objects,
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
        let mut objects = Objects::default();
        let vdso = objects.add(vdso::object());
        Self { processes: HashMap::new(), objects, vdso }
    }

    /// Takes note of a process that was just sampled for the first time.
    pub fn first_sight(&mut self, key: ProcessKey, info: &ProcessInfo) {
        let (mappings, main) = self.read_mappings(&key);
        let process =
            Process { name: name(&info.name), cgroup_id: info.cgroup_id, mappings, main, idle_windows: 0 };
        self.processes.insert(key, Arc::new(process));
    }

    /// The process, as it is known. One that is not known is looked for under /proc.
    pub fn get(&mut self, key: &ProcessKey) -> Arc<Process> {
        if let Some(process) = self.processes.get_mut(key) {
            Arc::make_mut(process).idle_windows = 0;
            return Arc::clone(process);
        }
        let comm = fs::read(format!("/proc/{}/comm", key.pid)).unwrap_or_default();
        let (mappings, main) = self.read_mappings(key);
        // Without mappings it is not certain that this is the process, and not the next one with its pid.
        let name = if mappings.is_empty() {
            format!("pid-{}", key.pid)
        } else {
            String::from_utf8_lossy(comm.trim_ascii_end()).into_owned()
        };
        let process = Arc::new(Process { name, cgroup_id: 0, mappings, main, idle_windows: 0 });
        self.processes.insert(*key, Arc::clone(&process));
        process
    }

    /// Reads a process's mappings again, for it ran code outside of the known ones (dlopen, generated code).
    /// Returns whether they could be read.
    pub fn refresh(&mut self, key: &ProcessKey) -> bool {
        let (mappings, main) = self.read_mappings(key);
        if mappings.is_empty() {
            return false;
        }
        if let Some(process) = self.processes.get_mut(key) {
            let process = Arc::make_mut(process);
            // What is gone by now may still be what this window's samples hit.
            let gone = process.mappings.iter().filter(|old| !mappings.iter().any(|new| overlap(old, new)));
            let mut all: Vec<Mapping> = mappings.iter().chain(gone).cloned().collect();
            all.sort_by_key(|mapping| mapping.start);
            let main_start = main.and_then(|main| mappings.get(main)).map(|mapping| mapping.start);
            process.main = all.iter().position(|mapping| Some(mapping.start) == main_start);
            process.mappings = all;
        }
        true
    }

    /// Ends a window: forgets processes that have not been asked for in a while.
    pub fn end_window(&mut self) {
        self.processes.retain(|_, process| {
            let process = Arc::make_mut(process);
            process.idle_windows += 1;
            process.idle_windows <= IDLE_WINDOWS
        });
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

    /// The executable mappings of a process, if it still is the same one, and which is the main binary's.
    fn read_mappings(&mut self, key: &ProcessKey) -> (Vec<Mapping>, Option<usize>) {
        let Ok(text) = fs::read(format!("/proc/{}/maps", key.pid)) else {
            return (Vec::new(), None);
        };
        // The check comes after the read: what is the same process now was it then.
        if start_ns(key.pid).is_none_or(|start| !same_start(start, key.start_ns)) {
            return (Vec::new(), None);
        }
        let exe = fs::read_link(format!("/proc/{}/exe", key.pid)).unwrap_or_default();
        let exe = exe.to_string_lossy();
        let exe = exe.strip_suffix(" (deleted)").unwrap_or(&exe);
        let mut mappings = Vec::new();
        for line in text.split(|&byte| byte == b'\n').filter_map(parse_line) {
            if line.executable {
                mappings.push(self.mapping(key.pid, &line));
            }
        }
        let main = mappings
            .iter()
            .position(|mapping| matches!(&mapping.area, Area::Object(object) if object.path == exe))
            .or_else(|| mappings.iter().position(|mapping| matches!(mapping.area, Area::Object(_))));
        (mappings, main)
    }

    fn mapping(&mut self, pid: u32, line: &MapsLine<'_>) -> Mapping {
        let area = if line.inode != 0 {
            Area::Object(self.objects.open(pid, line))
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

fn overlap(a: &Mapping, b: &Mapping) -> bool {
    a.start < b.end && b.start < a.end
}

/// A kernel name as text: up to its first zero.
fn name(bytes: &Name) -> String {
    let end = bytes.iter().position(|&byte| byte == 0).unwrap_or(bytes.len());
    String::from_utf8_lossy(&bytes[..end]).into_owned()
}

/// When a process was started, nanoseconds since boot to the precision of /proc (10 ms); `None` where there is none.
///
/// It is the 22nd field of /proc/PID/stat; the second one is a name that may hold spaces and brackets.
#[must_use]
pub fn start_ns(pid: u32) -> Option<u64> {
    let stat = fs::read_to_string(format!("/proc/{pid}/stat")).ok()?;
    let after_name = &stat[stat.rfind(')')? + 1..];
    let ticks: u64 = after_name.split_ascii_whitespace().nth(19)?.parse().ok()?;
    Some(ticks * START_TICK_NS)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn own_key() -> ProcessKey {
        ProcessKey { start_ns: start_ns(std::process::id()).unwrap(), pid: std::process::id(), exec_id: 1 }
    }

    #[test]
    fn this_process_is_found_with_its_main_binary() {
        let mut table = Table::new();
        let process = table.get(&own_key());
        let main = &process.mappings[process.main.unwrap()];
        let Area::Object(object) = &main.area else { panic!("the main binary is a file") };
        assert_eq!(object.path, std::env::current_exe().unwrap().to_string_lossy());
        let here = own_key as fn() -> ProcessKey as usize as u64;
        assert_eq!(process.find(here), process.main);
        assert_eq!(process.find(0), None);
    }

    #[test]
    fn another_process_with_the_same_pid_has_no_mappings() {
        let key = ProcessKey { start_ns: 1, ..own_key() };
        let mut table = Table::new();
        assert!(table.get(&key).mappings.is_empty());
        assert!(!table.refresh(&key));
    }

    #[test]
    fn processes_are_forgotten_after_a_while() {
        let mut table = Table::new();
        table.get(&own_key());
        for _ in 0..IDLE_WINDOWS {
            table.end_window();
        }
        assert_eq!(table.len(), 1);
        table.end_window();
        assert!(table.is_empty());
    }
}
