//! Names from ELF files: which files are asked, for what, and how much that may cost.

use std::{
    collections::{HashMap, HashSet},
    fs::File,
    sync::Arc,
};

use super::{
    Functions,
    reading::{Contents, Link, Reading, Refusal},
};
use crate::{
    budget::{Gauge, Pace},
    process::{Object, debug_file},
    sys,
};

/// Addresses that are named between two looks at the memory that naming takes.
const BATCH: usize = 16;

/// Bytes of files' pages that stay where there is room, the program's own ten MiB included, and four of the process that reads;
/// a fifth of the budget where that is more.
const FEW_PAGES: u64 = 28 << 20;

/// Files that are held at the most: for each there are descriptors and parsed tables.
const MOST_FILES: usize = 256;
/// Objects of which it is remembered that they have no debug file, or no names.
const MOST_WITHOUT: usize = 4096;
/// Windows without a question after which what was parsed of a file goes.
const IDLE_WINDOWS: u32 = 2;

/// Whether names are what the files have.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Certainty {
    /// They are.
    Certain,
    /// Something could not be read, for a reason that may pass.
    Provisional,
}

/// What names are looked for in.
#[derive(Clone, Copy, Debug)]
enum Names {
    /// Symbols and debug information.
    Symbols,
    /// Go's own table.
    Go,
}

/// A file that is asked about.
#[derive(Clone, Copy)]
struct Asked<'a> {
    object: &'a Object,
    /// What it is held under.
    number: u64,
    /// To be held again where it was let go of, for the memory was needed.
    file: &'a File,
}

/// A file that is held.
#[derive(Clone, Debug)]
struct Held {
    /// Windows since it was last asked about.
    idle_windows: u32,
    contents: Contents,
}

/// Objects of which something is known to be missing, by id; all are forgotten where they are too many.
#[derive(Debug, Default)]
struct Without(HashSet<u64>);

impl Without {
    fn insert(&mut self, object: u64) {
        if self.0.len() >= MOST_WITHOUT {
            self.0.clear();
        }
        self.0.insert(object);
    }
}

/// The number that an object's file is held under.
fn own_file(object: &Object) -> u64 {
    object.id << 1
}

/// The number that an object's debug file is held under.
fn debug_file_of(object: &Object) -> u64 {
    object.id << 1 | 1
}

/// Asks for names what reads the files.
pub(super) struct ElfNamer {
    reading: Box<dyn Reading>,
    held: HashMap<u64, Held>,
    gauge: Gauge,
    pace: Pace,
    without_debug_file: Without,
    /// Objects whose debug information is left alone: it takes too much memory, or reading it ended the process that reads.
    without_lines: Without,
    /// Objects whose names cannot be had: reading them ended the process that reads once more, without lines.
    without_names: Without,
    without_go_table: Without,
    /// Times that reading a file ended in a panic, or ended the process that reads.
    broken: u64,
    /// Whether something could not be read of late for a reason that may pass.
    refused: bool,
    /// Whether anything was asked since the last end of a window.
    asked: bool,
    nothing: Functions,
}

impl ElfNamer {
    pub(super) fn new(reading: Box<dyn Reading>, gauge: Gauge, pace: Pace) -> Self {
        Self {
            reading,
            held: HashMap::new(),
            gauge,
            pace,
            without_debug_file: Without::default(),
            without_lines: Without::default(),
            without_names: Without::default(),
            without_go_table: Without::default(),
            broken: 0,
            refused: false,
            asked: false,
            nothing: Arc::new([]),
        }
    }

    /// Waits until the process is within its cap on CPU time.
    pub(super) fn keep_pace(&mut self) {
        self.pace.keep();
    }

    /// The functions at these addresses of an object, in the order of the addresses. That they are only what could be read this
    /// time, and more may be found the next, is said beside.
    pub(super) fn name(&mut self, object: &Object, addresses: &[u64]) -> (Vec<Functions>, Certainty) {
        self.refused = false;
        self.asked = true;
        let found = self.look(object, addresses);
        if !self.refused {
            return (found, Certainty::Certain);
        }
        self.without_debug_file.0.remove(&object.id);
        self.without_go_table.0.remove(&object.id);
        (found, Certainty::Provisional)
    }

    fn look(&mut self, object: &Object, addresses: &[u64]) -> Vec<Functions> {
        let mut found = vec![Arc::clone(&self.nothing); addresses.len()];
        let Some(file) = &object.file else {
            return found;
        };
        if self.held.len() >= MOST_FILES {
            self.forget_all(None);
        }
        let own = Asked { object, number: own_file(object), file };
        if !self.held.contains_key(&own.number) {
            tracing::debug!("the names of {} are read, for {} addresses", object.path, addresses.len());
        }
        let Some(contents) = self.hold(own) else {
            return found;
        };
        // A separate debug file knows more; what it does not know may still be in the file itself. Go's own table comes before
        // what little a stripped program has of symbols: the nearest one is taken for the function.
        let debug = self.debug_file(object, &contents.link);
        let debug = debug.as_ref().map(|file| Asked { object, number: debug_file_of(object), file });
        let sources = debug.map(|debug| (Names::Symbols, debug));
        for (names, asked) in sources.into_iter().chain([(Names::Go, own), (Names::Symbols, own)]) {
            let missing: Vec<usize> = (0..addresses.len()).filter(|&index| found[index].is_empty()).collect();
            if missing.is_empty() {
                break;
            }
            let wanted: Vec<u64> = missing.iter().map(|&index| addresses[index]).collect();
            let named = match names {
                Names::Go => self.name_in_go_table(asked, &wanted),
                Names::Symbols => self.name_in(asked, &wanted),
            };
            for (index, functions) in missing.into_iter().zip(named) {
                found[index] = functions;
            }
        }
        // It is opened anew when it is wanted again.
        self.forget(debug_file_of(object));
        found
    }

    /// Has a file held, and says what there is in it; `None` where it cannot be.
    fn hold(&mut self, asked: Asked<'_>) -> Option<Contents> {
        let Asked { object, number, file } = asked;
        if self.without_names.0.contains(&object.id) {
            return None;
        }
        if let Some(held) = self.held.get_mut(&number) {
            held.idle_windows = 0;
            return Some(held.contents.clone());
        }
        match self.reading.hold(number, file) {
            Ok(contents) => {
                self.held.insert(number, Held { idle_windows: 0, contents: contents.clone() });
                Some(contents)
            }
            Err(refusal) => {
                self.note(Some(object), &refusal);
                None
            }
        }
    }

    /// The debug file of an object. Where there is none it is not looked for again: samples hit new addresses in every window.
    fn debug_file(&mut self, object: &Object, link: &Link) -> Option<File> {
        if self.without_debug_file.0.contains(&object.id) {
            return None;
        }
        let mut found = debug_file::by_build_id(object);
        if let (None, Link::To { name, checksum }) = (&found, link) {
            found = debug_file::by_link(object, name, |candidate| {
                self.reading.checksum(candidate).ok().flatten() == Some(*checksum)
            });
        }
        if found.is_none() {
            self.without_debug_file.insert(object.id);
        }
        found
    }

    /// Ends a window: lets go of what was parsed of files that have not been asked about for some windows. The names that
    /// were found in them stay in the cache.
    pub(super) fn end_window(&mut self) {
        for held in self.held.values_mut() {
            held.idle_windows += 1;
        }
        let idle: Vec<u64> = self
            .held
            .iter()
            .filter(|(_, held)| held.idle_windows > IDLE_WINDOWS)
            .map(|(file, _)| *file)
            .collect();
        let is_idle = !idle.is_empty();
        for file in idle {
            self.forget(file);
        }
        // Where nothing is new there is nothing to give back, and nobody to wake.
        if std::mem::take(&mut self.asked) || is_idle {
            let told = self.reading.trim();
            self.settle(told);
        }
    }

    fn forget(&mut self, file: u64) {
        if self.held.remove(&file).is_some() {
            let told = self.reading.forget(file);
            self.settle(told);
        }
    }

    /// What was given back is of no file: where the process that reads ended, it is not known over which.
    fn settle(&mut self, told: Result<(), Refusal>) {
        if let Err(refusal) = told {
            self.note(None, &refusal);
        }
    }

    fn name_in(&mut self, asked: Asked<'_>, addresses: &[u64]) -> Vec<Functions> {
        let Some(contents) = self.hold(asked) else {
            return Vec::new();
        };
        // Where a link leads has been looked at, and blazesym would follow it wherever it leads: to a FIFO, or through a terabyte.
        let mut lines = contents.link == Link::None
            && !self.without_lines.0.contains(&asked.object.id)
            && self.has_room_for(contents.debug_bytes);
        let mut found = Vec::with_capacity(addresses.len());
        for batch in addresses.chunks(BATCH) {
            self.keep_pace();
            loop {
                // The batch before may have taken so much memory that the file was let go of.
                if self.hold(asked).is_none() {
                    return found;
                }
                match self.reading.names(asked.number, lines, batch) {
                    Ok(named) => {
                        found.extend(named);
                        break;
                    }
                    Err(refusal) => {
                        // It says that it is less than it is, or what is made of it is more.
                        if lines && refusal == Refusal::NoMemory {
                            self.without_lines.insert(asked.object.id);
                            self.count_left_out(contents.debug_bytes);
                        }
                        self.note(Some(asked.object), &refusal);
                    }
                }
                // Debug information that cannot be read does not cost the symbols.
                if !lines {
                    return found;
                }
                lines = false;
            }
            self.relieve(asked.number);
        }
        found
    }

    fn name_in_go_table(&mut self, asked: Asked<'_>, addresses: &[u64]) -> Vec<Functions> {
        let object = asked.object;
        if self.without_go_table.0.contains(&object.id) || self.hold(asked).is_none() {
            return Vec::new();
        }
        match self.reading.go_names(asked.number, addresses) {
            Ok(Some(functions)) => return functions,
            Ok(None) => {}
            Err(refusal) => self.note(Some(object), &refusal),
        }
        self.without_go_table.insert(object.id);
        Vec::new()
    }

    /// Takes note of why there was no answer.
    fn note(&mut self, object: Option<&Object>, refusal: &Refusal) {
        let path = object.map_or("what was read before", |object| &object.path);
        tracing::debug!("{path}: names cannot be read: {refusal}");
        match refusal {
            Refusal::Passing(_) | Refusal::NoMemory => self.refused = true,
            Refusal::Lasting(_) => {}
            Refusal::Broken => self.count_broken(),
            Refusal::Ended => {
                // The one that comes next knows of no file yet.
                self.held.clear();
                if let Some(object) = object {
                    if self.without_lines.0.contains(&object.id) {
                        self.without_names.insert(object.id);
                    }
                    // Its symbols may be harmless: they are asked for alone.
                    self.without_lines.insert(object.id);
                    self.refused = true;
                }
                self.count_broken();
            }
            Refusal::Replaced => {
                self.held.clear();
                self.refused = true;
            }
            Refusal::NobodyReads(_) => self.held.clear(),
        }
    }

    fn count_broken(&mut self) {
        self.broken += 1;
        if self.broken.is_power_of_two() {
            tracing::warn!("files that broke the symbolizer while their names were read: {}", self.broken);
        }
    }

    /// Whether a file's debug information may be read. Where it may not, its functions have names, but no lines, and inlined
    /// ones are part of those that they are in.
    fn has_room_for(&mut self, bytes: u64) -> bool {
        if bytes == 0 || bytes <= self.gauge.room() {
            return true;
        }
        self.forget_all(None);
        let fits = bytes <= self.gauge.room();
        if !fits {
            self.count_left_out(bytes);
        }
        fits
    }

    fn count_left_out(&self, bytes: u64) {
        let times = self.gauge.count_left_out();
        // Objects that stay come again in every window.
        if times.is_power_of_two() {
            tracing::info!(
                "an object has no lines, for its {} MiB of debug information may be too much for --memory: {times} times so far",
                bytes >> 20
            );
        }
    }

    /// Gives memory back: pages of files as soon as they are many, for they stay in the page cache, and mapping them again costs
    /// little. Where the budget is nearly used also what was parsed of other files than the one at hand, for that will be
    /// wanted again at once; last of all that, too.
    fn relieve(&mut self, at_hand: u64) {
        let has_room = self.gauge.room() > 0;
        if has_room && self.gauge.usage().files < FEW_PAGES.max(self.gauge.memory().bytes / 5) {
            return;
        }
        let told = self.reading.release_pages();
        self.settle(told);
        if has_room {
            return;
        }
        if self.gauge.room() == 0 && self.held.len() > 1 {
            self.forget_all(Some(at_hand));
        }
        if self.gauge.is_short() {
            self.forget_all(None);
        }
    }

    /// Gives all memory back that naming has taken, but for the names, and for one file.
    fn forget_all(&mut self, but_for: Option<u64>) {
        let files: Vec<u64> = self.held.keys().copied().filter(|&file| Some(file) != but_for).collect();
        for file in files {
            self.forget(file);
        }
        let told = self.reading.trim();
        self.settle(told);
        sys::limits::trim_heap();
        tracing::debug!(
            "what was parsed of files is given back, for the memory is needed: {:?}",
            self.gauge.usage()
        );
    }
}

#[cfg(test)]
mod tests;
