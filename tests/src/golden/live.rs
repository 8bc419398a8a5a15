//! The code of a process that runs, with a note of what a walk asked for.

use std::cell::RefCell;
use std::collections::{BTreeMap, HashMap};
use std::ops::Range;
use std::path::{Path, PathBuf};

use profiler_common::layout::ProcessKey;
use profiler_common::unwind::rule::{PAGE_BYTES, PAGE_SHIFT, Rule};
use profiler_user::process::{Area, Mapping, Object, Process, Segment, Table as Processes, start_ns};
use profiler_user::unwind::Table;
use profiler_user::unwind::walk::Lookup;

use super::programs::Named;
use super::record::Subject;
use super::stopped::Stopped;
use super::{Hex, Machine, Mapped, range_text, rule};
use crate::elf::{self, Functions};

/// Rows of the pages that were needed, by object and page.
type Pages = HashMap<(u64, u64), Vec<(u16, Rule)>>;
/// Ranges of an object's own addresses, and their rules.
type Rules = BTreeMap<u64, (Range<u64>, Rule)>;

/// The code of a process.
pub struct LiveCode {
    process: std::sync::Arc<Process>,
    tables: RefCell<HashMap<u64, Option<Table>>>,
    pages: RefCell<Pages>,
    /// What was asked for, by index of the mapping.
    asked: RefCell<BTreeMap<usize, Rules>>,
    functions: RefCell<HashMap<u64, Functions>>,
}

impl LiveCode {
    /// Of a process, whose mappings are read now.
    pub fn of(pid: u32) -> LiveCode {
        let start_ns = start_ns(pid).unwrap_or_else(|| panic!("there is no process {pid}"));
        let process = Processes::new().get(&ProcessKey { start_ns, pid, exec_id: 0 });
        assert!(!process.mappings.is_empty(), "the mappings of process {pid} cannot be read");
        LiveCode {
            process,
            tables: RefCell::default(),
            pages: RefCell::default(),
            asked: RefCell::default(),
            functions: RefCell::default(),
        }
    }

    /// Forgets what was asked for.
    pub fn begin(&self) {
        self.asked.borrow_mut().clear();
    }

    /// The mappings that were asked for, with their rules.
    pub fn asked(&self) -> Vec<Mapped> {
        let mapped = |(&index, rules): (&usize, &Rules)| {
            let mapping = &self.process.mappings[index];
            let text =
                |(range, rule): &(Range<u64>, Rule)| (range_text(range), rule::text(rule, Machine::X86_64));
            Mapped {
                object: object_name(mapping),
                start: Hex(mapping.start),
                end: Hex(mapping.end),
                delta: Hex(delta(mapping).unwrap_or_default()),
                frame_pointers: delta(mapping).is_none(),
                rules: rules.values().map(text).collect(),
            }
        };
        self.asked.borrow().iter().map(mapped).collect()
    }

    /// Names of the object and of the function at an address; of the function an empty one where it is not known.
    pub fn name(&self, pc: u64) -> (String, String) {
        let Some(mapping) = self.process.find(pc).map(|index| &self.process.mappings[index]) else {
            return (String::new(), String::new());
        };
        let offset = pc - mapping.start + mapping.offset;
        let function = match &mapping.area {
            // The image of the vDSO is no file that the harness could open.
            Area::Object(object) if object.path.starts_with('/') => {
                let mut functions = self.functions.borrow_mut();
                let functions = functions.entry(object.id).or_insert_with(|| functions_of(&object.path));
                functions.at(offset).unwrap_or_default().to_owned()
            }
            _ => String::new(),
        };
        (object_name(mapping), function)
    }

    /// How the code at an address is unwound, as `profiler_user::unwind::Tables` tells it.
    pub fn lookup(&self, pc: u64) -> Lookup {
        let Some(index) = self.process.find(pc) else { return Lookup::Unmapped };
        let mapping = &self.process.mappings[index];
        let mut asked = self.asked.borrow_mut();
        let rules = asked.entry(index).or_default();
        match (&mapping.area, delta(mapping)) {
            (Area::Object(object), Some(delta)) => match self.rule(object, pc.wrapping_add(delta)) {
                Some((range, rule)) => {
                    rules.insert(range.start, (range, rule));
                    Lookup::Rule(rule)
                }
                None => Lookup::Rule(Rule::GAP),
            },
            _ => Lookup::FramePointer,
        }
    }

    /// The rule for an object's own address, and the range in which it holds.
    fn rule(&self, object: &Object, own: u64) -> Option<(Range<u64>, Rule)> {
        let number = own >> PAGE_SHIFT;
        let mut tables = self.tables.borrow_mut();
        let table = tables.entry(object.id).or_insert_with(|| Table::open(object.file.as_ref()?).ok());
        let table = table.as_mut().unwrap_or_else(|| panic!("{} has no unwind table", object.path));
        if !table.pages().contains(&number) {
            return None;
        }
        let mut pages = self.pages.borrow_mut();
        let rows = pages.entry((object.id, number)).or_insert_with(|| {
            table.page(number).unwrap_or_else(|e| panic!("{}, page {number}: {e}", object.path))
        });
        let page = number << PAGE_SHIFT;
        let behind = rows.partition_point(|(offset, _)| page + u64::from(*offset) <= own);
        let (offset, rule) = rows[behind - 1];
        let end = rows.get(behind).map_or(PAGE_BYTES, |(offset, _)| u64::from(*offset));
        Some((page + u64::from(offset)..page + end, rule))
    }
}

/// What leads from an address to the object's own, as `profiler_user::unwind::Tables` computes it; `None` for code
/// without an object.
fn delta(mapping: &Mapping) -> Option<u64> {
    let Area::Object(object) = &mapping.area else { return None };
    let end = mapping.offset + (mapping.end - mapping.start);
    let overlaps =
        |segment: &&Segment| segment.offset < end && segment.offset + segment.size > mapping.offset;
    let segment = object.segments.iter().find(overlaps);
    let segment = segment.unwrap_or_else(|| panic!("{} has no code at {:#x}", object.path, mapping.offset));
    Some(
        mapping.offset.wrapping_sub(segment.offset).wrapping_add(segment.address).wrapping_sub(mapping.start),
    )
}

/// The name of a file without its folder, which is the machine's.
fn object_name(mapping: &Mapping) -> String {
    match &mapping.area {
        Area::Object(object) => object.path.rsplit('/').next().unwrap_or_default().to_owned(),
        Area::Anonymous(name) => name.clone(),
    }
}

/// The functions of a file by its own symbols, or by those of its debug file where one is installed.
fn functions_of(path: &str) -> Functions {
    let path = Path::new(path);
    let id = elf::build_id(path).unwrap_or_default();
    let (folder, file) = id.split_at(id.len().min(2));
    let debug = PathBuf::from(format!("/usr/lib/debug/.build-id/{folder}/{file}.debug"));
    if debug.exists() { Functions::with_debug(path, &debug) } else { Functions::of(path) }
}

/// A stopped thread and the code of its process.
pub struct LiveThread<'a> {
    /// The thread.
    pub thread: &'a Stopped,
    /// The code.
    pub code: &'a LiveCode,
}

impl Subject for LiveThread<'_> {
    fn word(&self, address: u64) -> Option<u64> {
        self.thread.word(address)
    }

    fn lookup(&self, pc: u64) -> Lookup {
        self.code.lookup(pc)
    }

    fn name(&self, pc: u64) -> Named {
        self.code.name(pc)
    }

    fn asked(&self) -> Vec<Mapped> {
        self.code.asked()
    }
}
