//! What the kernel side knows of processes and their code: mappings, directories and rows in the table pool.
//!
//! Rows are loaded a page of code at a time, when the kernel side asks for them, and small objects as a whole at once.
//! All processes and containers share them. Where room runs out, the pages that were sampled least recently go.

mod room;
mod saving;

use std::{
    collections::HashMap,
    io,
    sync::{Arc, atomic::Ordering},
};

use profiler_common::{
    layout::ProcessKey,
    outcome::Outcome,
    unwind::{
        Memory,
        pool::{DirectoryHeader, MAX_MAPPINGS, MappingEntry, PageEntry, ProcessTable, how, process_flags},
        rule::{PAGE_SHIFT, Rule},
    },
};

use super::{
    Error,
    depth::Depth,
    extents::Extent,
    memory::{Pool, Rules, Words},
    source::{PageKind, Source},
    store::{Store, StoreFigures},
    walk::{Lookup, Start, walk},
};
use crate::process::{Area, Mapping, Object, Process, may_pass};

/// Objects of up to so many pages are loaded as a whole when they are first seen: 4 MiB of code.
const SMALL_PAGES: u64 = 64;
/// Pages on both sides of a wanted one that are loaded with it at first, a quarter of a millisecond each.
const NEIGHBOURS: u32 = 8;
/// Windows after which an object that no process maps any more is forgotten.
const IDLE_WINDOWS: u32 = 4;

/// The kernel's map from processes to their mappings, and the end of what its programs may still see.
pub trait Kernel: Send {
    /// Shows the kernel side where a process's mappings are.
    ///
    /// # Errors
    /// When the map is full.
    fn set_process(&mut self, key: &ProcessKey, table: &ProcessTable) -> io::Result<()>;
    /// Takes a process out of the kernel's sight.
    fn remove_process(&mut self, key: &ProcessKey);
    /// Returns once no program sees any more what was replaced or removed before the call.
    fn wait(&mut self);
}

/// Objects, with and without a table, above which those without are forgotten.
const MOST_OBJECTS: usize = 4096;

/// A page that is loaded.
#[derive(Clone, Copy, Debug)]
struct Page {
    extent: Extent,
    rows: u32,
    /// The window in which it was loaded, its low 32 bits: a page is not older than that, used or not.
    loaded: u32,
    /// Whether its rows are those of the file.
    kind: PageKind,
}

/// The code of an object.
struct Code {
    source: Source,
    directory: Extent,
    first_page: u64,
    pages: u32,
    loaded: HashMap<u32, Page>,
    /// Times that the kernel side asked for a page.
    wanted: u32,
    /// Processes that map it.
    users: u32,
    idle_windows: u32,
    /// Windows at whose end there were pages that could not be read.
    failed_windows: u32,
}

/// The mappings of a process.
struct Entry {
    /// Where they lie; `None` for a process that is not to be sampled.
    extent: Option<Extent>,
    objects: Vec<u64>,
    /// What the kernel side was told.
    table: ProcessTable,
    depth: Depth,
}

/// How much is where, and what did not fit.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Figures {
    /// Processes that the kernel side knows.
    pub processes: usize,
    /// Objects with a directory.
    pub objects: usize,
    /// Pages that are loaded.
    pub pages: usize,
    /// Distinct rules.
    pub rules: usize,
    /// Free bytes of the pool.
    pub free_bytes: u64,
    /// Pages that were evicted, ever.
    pub evicted: u64,
    /// Times that something found no room, ever.
    pub refused: u64,
    /// What the cache did; zeros where there is none.
    pub cache: StoreFigures,
}

/// All tables.
pub struct Tables<W, K> {
    pool: Pool<W>,
    rules: Rules<W>,
    kernel: K,
    code: HashMap<u64, Option<Code>>,
    by_directory: HashMap<u32, u64>,
    processes: HashMap<ProcessKey, Entry>,
    store: Option<Store>,
    window: u32,
    evicted: u64,
    refused: u64,
}

impl<W: Words, K: Kernel> Tables<W, K> {
    /// Empty tables in a pool of so many bytes.
    pub fn new(pool: W, pool_bytes: usize, rules: W, kernel: K) -> Self {
        Self {
            pool: Pool::new(pool, pool_bytes),
            rules: Rules::new(rules),
            kernel,
            code: HashMap::new(),
            by_directory: HashMap::new(),
            processes: HashMap::new(),
            store: None,
            window: 0,
            evicted: 0,
            refused: 0,
        }
    }

    /// The same with a cache, from which rows are taken and to which they are written. Call it before anything else.
    #[must_use]
    pub fn with_cache(self, store: Store) -> Self {
        Self { store: Some(store), ..self }
    }

    /// Tells the kernel side what a process has mapped, in place of what it knew of it.
    pub fn set_process(&mut self, key: ProcessKey, process: &Process) {
        if process.mappings.is_empty() {
            return;
        }
        let mut objects = Vec::new();
        let mut entries: Vec<MappingEntry> = Vec::new();
        for (index, mapping) in process.mappings.iter().enumerate() {
            // The main binary stays as long as the process's image does; libraries may go.
            let entry = self.mapping_entry(mapping, process.main != Some(index), &mut objects);
            let is_full = entries.len() >= MAX_MAPPINGS;
            match entries.last_mut() {
                // Runtimes make each page of generated code executable by itself. What lies between is no code, or will be.
                Some(last) if last.how == how::FRAME_POINTER && entry.how == how::FRAME_POINTER => {
                    last.end = entry.end;
                }
                _ if is_full => break,
                _ => entries.push(entry),
            }
        }
        let Some(extent) = self.take(size_of_val(&*entries)) else {
            self.drop_users(&objects);
            return;
        };
        self.pool.write_mappings(extent, &entries);
        let (count, generation) = (entries.len() as u32, process.generation);
        let depth = self.processes.get(&key).map(|entry| entry.depth).unwrap_or_default();
        let flags = depth.flags() | if process.announced { 0 } else { process_flags::UNANNOUNCED };
        let table = ProcessTable { mappings: extent.unit, count, generation, flags, asked_ns: 0 };
        if let Err(error) = self.kernel.set_process(&key, &table) {
            tracing::debug!("process {} is walked by frame pointers only: {error}", key.pid);
            self.refused += 1;
            self.pool.release(extent);
            self.drop_users(&objects);
            return;
        }
        self.replace(key, Entry { extent: Some(extent), objects, table, depth });
    }

    /// Takes note of what the kernel side was told, in place of what it was told before.
    fn replace(&mut self, key: ProcessKey, entry: Entry) {
        if let Some(before) = self.processes.insert(key, entry) {
            self.release(&before);
        }
    }

    fn release(&mut self, entry: &Entry) {
        if let Some(extent) = entry.extent {
            self.pool.release(extent);
        }
        self.drop_users(&entry.objects);
    }

    /// Tells the kernel side that a process is not to be sampled.
    pub fn exclude(&mut self, key: ProcessKey) {
        let table = ProcessTable { flags: process_flags::EXCLUDED, ..ProcessTable::default() };
        if let Err(error) = self.kernel.set_process(&key, &table) {
            tracing::debug!("process {} is sampled for nothing: {error}", key.pid);
            self.refused += 1;
            return;
        }
        self.replace(key, Entry { extent: None, objects: Vec::new(), table, depth: Depth::default() });
    }

    /// Forgets a process.
    pub fn remove_process(&mut self, key: &ProcessKey) {
        if let Some(entry) = self.processes.remove(key) {
            self.kernel.remove_process(key);
            self.release(&entry);
        }
    }

    /// Loads a page that a sample needed, and its neighbours where there is much room: code that runs together lies
    /// together.
    pub fn page_wanted(&mut self, directory: u32, page: u32) {
        let Some(&object) = self.by_directory.get(&directory) else {
            return;
        };
        self.load(object, page);
        let Some(Some(code)) = self.code.get_mut(&object) else {
            return;
        };
        // The more of an object is asked for, the more is loaded ahead, as file systems read ahead.
        code.wanted = code.wanted.saturating_add(1);
        let neighbours = NEIGHBOURS << (code.wanted / 4).min(8);
        let last = page.saturating_add(neighbours).min(code.pages.saturating_sub(1));
        for page in page.saturating_sub(neighbours)..=last {
            if self.pool.free_units() * 2 < self.pool.units() {
                return;
            }
            self.load(object, page);
        }
    }

    /// Walks a stack from a copy of its memory, by the tables that the kernel side has by now. Addresses and outcome are as
    /// the kernel side's.
    pub fn walk(&mut self, start: Start, memory: &impl Memory, process: &Process) -> (Vec<u64>, Outcome) {
        walk(start, memory, |pc| self.lookup(process, pc))
    }

    /// Learns how deep a process's stacks are from a walk over a copy of `copied` bytes, of which it wanted the lowest
    /// `used`.
    pub fn learn_depth(&mut self, key: &ProcessKey, copied: u64, used: u64, outcome: Outcome) {
        let Some(entry) = self.processes.get_mut(key) else {
            return;
        };
        entry.depth.learn(copied, used, outcome);
        let flags = entry.depth.flags() | entry.table.flags & process_flags::UNANNOUNCED;
        if entry.table.flags != flags {
            entry.table.flags = flags;
            if let Err(error) = self.kernel.set_process(key, &entry.table) {
                tracing::debug!("how deep the stacks of process {} are is not passed on: {error}", key.pid);
            }
        }
    }

    fn lookup(&mut self, process: &Process, pc: u64) -> Lookup {
        let Some(mapping) = process.find(pc).and_then(|index| process.mappings.get(index)) else {
            return Lookup::Unmapped;
        };
        let object = match &mapping.area {
            Area::Anonymous(_) => return Lookup::FramePointer,
            Area::Object(object) if is_generated(object) => return Lookup::FramePointer,
            Area::Object(object) => object,
        };
        let (Some(delta), Some(_)) = (delta(mapping, object), self.directory(object, false)) else {
            return Lookup::NoTable;
        };
        let address = pc.wrapping_add(delta);
        let first_page = match self.code.get(&object.id) {
            Some(Some(code)) => code.first_page,
            _ => return Lookup::NoTable,
        };
        let Some(page) =
            (address >> PAGE_SHIFT).checked_sub(first_page).and_then(|page| u32::try_from(page).ok())
        else {
            return Lookup::Rule(Rule::GAP);
        };
        self.load(object.id, page);
        let Some(Some(code)) = self.code.get(&object.id) else {
            return Lookup::NoTable;
        };
        match code.loaded.get(&page) {
            Some(loaded) => {
                let row = self.pool.find_row(loaded.extent, loaded.rows as usize, address as u16);
                Lookup::Rule(row.map_or(Rule::GAP, |number| self.rules.get(number)))
            }
            None if page >= code.pages => Lookup::Rule(Rule::GAP),
            None => Lookup::NoTable,
        }
    }

    /// Ends a window: what nobody uses any more goes. Says whether the end of the next one changes nothing, unless something is
    /// asked for before.
    pub fn end_window(&mut self, window: u64) -> bool {
        self.window = window as u32;
        let mut is_quiet = self.save_window();
        let (mut gone, mut unread) = (Vec::new(), Vec::new());
        for (&object, code) in &mut self.code {
            let Some(code) = code else { continue };
            let before = unread.len();
            unread.extend(
                code.loaded
                    .iter()
                    .filter(|(_, page)| page.kind == PageKind::Unread)
                    .map(|(&page, _)| (object, page)),
            );
            if unread.len() > before {
                is_quiet = false;
                // Seldom where it goes on: after one window, two, four and so on.
                code.failed_windows += 1;
                if !code.failed_windows.is_power_of_two() {
                    unread.truncate(before);
                }
            }
            if code.users == 0 {
                code.idle_windows += 1;
                if code.idle_windows > IDLE_WINDOWS {
                    gone.push(object);
                }
                is_quiet = false;
            }
        }
        // The kernel side asks for them again, and with them comes what the file has.
        for (object, page) in unread {
            self.unload(object, page);
        }
        for object in gone {
            self.forget_object(object);
        }
        // That an object has no table is found out again where it is still in use.
        if self.code.len() > MOST_OBJECTS {
            self.code.retain(|_, code| code.is_some());
        }
        if self.pool.has_limbo() {
            self.reclaim();
        }
        is_quiet && !self.pool.has_limbo()
    }

    /// How much is where.
    #[must_use]
    pub fn figures(&self) -> Figures {
        let code = || self.code.values().flatten();
        Figures {
            processes: self.processes.len(),
            objects: code().count(),
            pages: code().map(|code| code.loaded.len()).sum(),
            rules: self.rules.len(),
            free_bytes: self.pool.free_units() * profiler_common::unwind::pool::UNIT_BYTES as u64,
            evicted: self.evicted,
            refused: self.refused,
            cache: self.store.as_ref().map(|store| store.figures).unwrap_or_default(),
        }
    }

    fn mapping_entry(&mut self, mapping: &Mapping, may_go: bool, objects: &mut Vec<u64>) -> MappingEntry {
        let (start, end) = (mapping.start, mapping.end);
        let mut entry = MappingEntry { start, end, how: how::NO_ROWS, ..MappingEntry::default() };
        match &mapping.area {
            Area::Anonymous(_) => entry.how = how::FRAME_POINTER,
            Area::Object(object) if is_generated(object) => entry.how = how::FRAME_POINTER,
            Area::Object(object) => {
                if let (Some(delta), Some(directory)) = (delta(mapping, object), self.directory(object, true))
                {
                    entry = MappingEntry { delta, directory, how: how::ROWS, ..entry };
                    if may_go && let Some(mark) = object.mark {
                        entry.check_at = mark.address.wrapping_sub(delta);
                        entry.check = mark.word;
                    }
                    if let Some(Some(code)) = self.code.get_mut(&object.id) {
                        code.users += 1;
                        code.idle_windows = 0;
                        objects.push(object.id);
                    }
                }
            }
        }
        entry
    }

    /// Unit of the object's directory, made where there is none yet; `again` also where that was tried, and there was none for
    /// a reason that may have passed.
    fn directory(&mut self, object: &Arc<Object>, again: bool) -> Option<u32> {
        match self.code.get(&object.id) {
            Some(Some(code)) => return Some(code.directory.unit),
            Some(None) if !(again && object.refused.load(Ordering::Relaxed)) => return None,
            Some(None) | None => {}
        }
        object.file.as_ref()?;
        let opened = Source::open(object, self.store.as_mut());
        // Then the process is looked at again in the next window in which it runs.
        object
            .refused
            .store(matches!(&opened, Err(Error::Read(error)) if may_pass(error)), Ordering::Relaxed);
        let opened =
            opened.inspect_err(|error| tracing::debug!("{} has no unwind table: {error}", object.path));
        let Ok(source) = opened else {
            self.code.insert(object.id, None);
            return None;
        };
        let (first_page, pages) = (source.first_page(), source.pages());
        // No room is no property of the object: it is tried again for the next process.
        let directory = self.take((pages as usize + 1) * size_of::<PageEntry>())?;
        let header = DirectoryHeader { first_page, pages: u64::from(pages) };
        self.pool.write_directory(directory, header);
        self.by_directory.insert(directory.unit, object.id);
        let code = Code {
            source,
            directory,
            first_page,
            pages,
            loaded: HashMap::new(),
            wanted: 0,
            users: 0,
            idle_windows: 0,
            failed_windows: 0,
        };
        self.code.insert(object.id, Some(code));
        if u64::from(pages) <= SMALL_PAGES {
            for page in 0..pages {
                self.load(object.id, page);
            }
        }
        Some(directory.unit)
    }

    fn load(&mut self, object: u64, page: u32) {
        let Some(Some(code)) = self.code.get_mut(&object) else {
            return;
        };
        if page >= code.pages || code.loaded.contains_key(&page) {
            return;
        }
        let (rows, kind) = code.source.page(page, self.store.as_mut(), |rule| self.rules.number(rule));
        let directory = code.directory.unit;
        let Some(extent) = self.take(size_of_val(&*rows)) else {
            return;
        };
        // Making room may have cost the object itself its place, but not its entry.
        self.pool.write_rows(extent, &rows);
        let count = u32::try_from(rows.len()).unwrap_or(u32::MAX);
        self.pool.set_page(directory, page, PageEntry::pack(extent.unit, count));
        if let Some(Some(code)) = self.code.get_mut(&object) {
            code.loaded.insert(page, Page { extent, rows: count, loaded: self.window, kind });
        }
    }

    fn drop_users(&mut self, objects: &[u64]) {
        for object in objects {
            if let Some(Some(code)) = self.code.get_mut(object) {
                code.users = code.users.saturating_sub(1);
            }
        }
    }
}

/// Whether a mapped file holds generated code: it is no ELF file.
fn is_generated(object: &Object) -> bool {
    object.file.is_some() && object.segments.is_empty()
}

/// What leads from an address in a mapping to the object's own address.
fn delta(mapping: &Mapping, object: &Object) -> Option<u64> {
    let end = mapping.offset.saturating_add(mapping.end - mapping.start);
    // A mapping begins at a page of memory, a segment anywhere in one.
    let segment = object.segments.iter().find(|segment| {
        segment.offset < end && segment.offset.saturating_add(segment.size) > mapping.offset
    })?;
    let own = mapping.offset.wrapping_sub(segment.offset).wrapping_add(segment.address);
    Some(own.wrapping_sub(mapping.start))
}
