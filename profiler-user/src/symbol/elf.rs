//! Names from ELF files, by blazesym.

use std::{
    collections::{HashMap, HashSet},
    fs::File,
    os::fd::AsRawFd,
    panic::{AssertUnwindSafe, catch_unwind},
    path::{Path, PathBuf},
    sync::Arc,
};

use blazesym::{
    ErrorKind,
    symbolize::{
        Input, Sym, Symbolized, Symbolizer, evict,
        source::{Elf, Source},
    },
};

use super::{Function, Functions, go::GoNamer, pages};
use crate::{
    budget::{Gauge, Pace},
    process::{Object, debug_file},
    sys,
};

/// Addresses that are named between two looks at the memory that naming takes.
const BATCH: usize = 16;

/// Bytes of files' pages that stay where there is room, the program's own ten MiB included; a fifth of the budget where that is
/// more.
const FEW_PAGES: u64 = 24 << 20;

/// Files that blazesym has parsed before it is made anew: it keeps a descriptor and parsed tables for each.
const MOST_FILES: usize = 256;
/// Objects of which it is remembered that they have no debug file.
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

/// Why blazesym gave no answer.
#[derive(Debug, thiserror::Error)]
enum AskError {
    #[error("{0:#}")]
    Blazesym(blazesym::Error),
    #[error("it makes blazesym panic")]
    Panicked,
}

/// What names are looked for in.
enum Names<'a> {
    /// Symbols and debug information.
    Symbols(&'a File),
    /// Go's own table.
    Go(&'a File),
}

/// blazesym with what it needs around it.
pub(super) struct ElfNamer {
    symbolizer: Symbolizer,
    /// Files that blazesym has parsed, by its name for them: windows since they were last asked about.
    parsed: HashMap<PathBuf, u32>,
    gauge: Gauge,
    pace: Pace,
    /// Objects that have no debug file, by id.
    without_debug_file: HashSet<u64>,
    /// Times that a file's debug information was left alone.
    without_lines: u64,
    go: GoNamer,
    /// Times that reading a file ended in a panic.
    broken: u64,
    /// Whether something could not be read of late for a reason that may pass.
    refused: bool,
    nothing: Functions,
}

impl ElfNamer {
    pub(super) fn new(gauge: Gauge, pace: Pace) -> Self {
        Self {
            symbolizer: symbolizer(),
            parsed: HashMap::new(),
            gauge,
            pace,
            without_debug_file: HashSet::new(),
            without_lines: 0,
            go: GoNamer::default(),
            broken: 0,
            refused: false,
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
        let found = self.look(object, addresses);
        if !self.refused {
            return (found, Certainty::Certain);
        }
        self.without_debug_file.remove(&object.id);
        self.go.forget(object);
        (found, Certainty::Provisional)
    }

    fn look(&mut self, object: &Object, addresses: &[u64]) -> Vec<Functions> {
        let mut found = vec![Arc::clone(&self.nothing); addresses.len()];
        let Some(file) = &object.file else {
            return found;
        };
        if self.parsed.len() >= MOST_FILES {
            self.symbolizer = symbolizer();
            self.parsed.clear();
        }
        // A separate debug file knows more; what it does not know may still be in the file itself. Go's own table comes before
        // what little a stripped program has of symbols: blazesym takes the nearest one.
        let debug = self.debug_file(object);
        let sources = debug.iter().map(Names::Symbols).chain([Names::Go(file), Names::Symbols(file)]);
        for source in sources {
            let missing: Vec<usize> = (0..addresses.len()).filter(|&index| found[index].is_empty()).collect();
            if missing.is_empty() {
                break;
            }
            let wanted: Vec<u64> = missing.iter().map(|&index| addresses[index]).collect();
            let named = match source {
                Names::Go(file) => self.go.name(object, file, &wanted),
                Names::Symbols(file) => {
                    if !self.parsed.contains_key(&path(file)) {
                        tracing::debug!(
                            "the names of {} are read, for {} addresses",
                            object.path,
                            missing.len()
                        );
                    }
                    self.name_in(file, &wanted)
                }
            };
            for (index, functions) in missing.into_iter().zip(named) {
                found[index] = functions;
            }
        }
        // The debug file closes when this function ends and its number will be given to another one.
        if let Some(file) = &debug {
            let path = path(file);
            self.evict(&path);
            self.parsed.remove(&path);
        }
        found
    }

    /// The debug file of an object. Where there is none it is not looked for again: samples hit new addresses in every window.
    fn debug_file(&mut self, object: &Object) -> Option<File> {
        if self.without_debug_file.contains(&object.id) {
            return None;
        }
        let found = debug_file::find(object);
        if found.is_none() {
            if self.without_debug_file.len() >= MOST_WITHOUT {
                self.without_debug_file.clear();
            }
            self.without_debug_file.insert(object.id);
        }
        found
    }

    /// Ends a window: lets go of what was parsed of files that have not been asked about for some windows. The names that
    /// were found in them stay in the cache.
    pub(super) fn end_window(&mut self) {
        let mut idle = Vec::new();
        self.parsed.retain(|path, windows| {
            *windows += 1;
            let stays = *windows <= IDLE_WINDOWS;
            if !stays {
                idle.push(path.clone());
            }
            stays
        });
        for path in idle {
            self.evict(&path);
        }
    }

    fn evict(&mut self, path: &Path) {
        if let Err(error) = self.symbolizer.evict(&evict::Elf::new(path).into()) {
            tracing::debug!("blazesym keeps a file: {error}");
        }
    }

    fn name_in(&mut self, file: &File, addresses: &[u64]) -> Vec<Functions> {
        let path = path(file);
        let mut source = Elf::new(&path);
        // Where a link leads has been looked at, and blazesym would follow it wherever it leads: to a FIFO, or through a terabyte.
        source.debug_syms = !debug_file::has_link(file) && self.has_room_for(pages::debug_bytes(file));
        let mut found = Vec::with_capacity(addresses.len());
        for batch in addresses.chunks(BATCH) {
            self.keep_pace();
            self.parsed.insert(path.clone(), 0);
            found.extend(self.name_batch(&mut source, batch));
            self.relieve(&path);
        }
        found
    }

    fn name_batch(&mut self, source: &mut Elf, addresses: &[u64]) -> Vec<Functions> {
        loop {
            match self.ask(source, addresses) {
                Ok(found) => return found,
                Err(error) => tracing::debug!("an object's names cannot be read: {error}"),
            }
            // Debug information that cannot be read does not cost the symbols.
            if !source.debug_syms {
                return vec![Arc::clone(&self.nothing); addresses.len()];
            }
            source.debug_syms = false;
        }
    }

    /// Asks blazesym. Files belong to whoever runs them, and one that makes it panic costs that file its names, but not the
    /// agent its thread.
    fn ask(&mut self, source: &Elf, addresses: &[u64]) -> Result<Vec<Functions>, AskError> {
        let (symbolizer, nothing) = (&self.symbolizer, &self.nothing);
        let ask = || {
            let answer = symbolizer.symbolize(&Source::Elf(source.clone()), Input::VirtOffset(addresses))?;
            let named = |symbolized: &Symbolized<'_>| match symbolized {
                Symbolized::Sym(sym) => functions(sym),
                Symbolized::Unknown(_) => Arc::clone(nothing),
            };
            Ok::<_, blazesym::Error>(answer.iter().map(named).collect())
        };
        // Nothing of the symbolizer is used after a panic.
        match catch_unwind(AssertUnwindSafe(ask)) {
            Ok(answer) => answer.map_err(|error| {
                self.refused |= may_pass(error.kind());
                AskError::Blazesym(error)
            }),
            Err(_) => {
                self.symbolizer = self::symbolizer();
                self.parsed.clear();
                self.broken += 1;
                if self.broken.is_power_of_two() {
                    tracing::warn!(
                        "files that broke the symbolizer while their names were read: {}",
                        self.broken
                    );
                }
                Err(AskError::Panicked)
            }
        }
    }

    /// Whether a file's debug information may be read. Where it may not, its functions have names, but no lines, and inlined
    /// ones are part of those that they are in.
    fn has_room_for(&mut self, bytes: u64) -> bool {
        if bytes == 0 || bytes <= self.gauge.room() {
            return true;
        }
        self.give_back(None);
        let fits = bytes <= self.gauge.room();
        if !fits {
            self.without_lines += 1;
            // Objects that stay come again in every window.
            if self.without_lines.is_power_of_two() {
                tracing::info!(
                    "an object has no lines, for its {} MiB of debug information may be too much for --memory: {} \
                     times so far",
                    bytes >> 20,
                    self.without_lines
                );
            }
        }
        fits
    }

    /// Gives memory back: pages of files as soon as they are many, for they stay in the page cache, and mapping them again costs
    /// little. Where the budget is nearly used also what was parsed of other files than the one at hand, for that will be
    /// wanted again at once; last of all that, too.
    fn relieve(&mut self, at_hand: &Path) {
        let has_room = self.gauge.room() > 0;
        if has_room && self.gauge.usage().files < FEW_PAGES.max(self.gauge.memory().bytes / 5) {
            return;
        }
        pages::release();
        if has_room {
            return;
        }
        if self.gauge.room() == 0 && self.parsed.len() > 1 {
            self.give_back(Some(at_hand));
        }
        if self.gauge.is_short() {
            self.give_back(None);
        }
    }

    /// Gives all memory back that naming has taken, but for the names, and for one file.
    fn give_back(&mut self, but_for: Option<&Path>) {
        let (kept, parsed) = std::mem::take(&mut self.parsed)
            .into_iter()
            .partition::<HashMap<_, _>, _>(|(path, _)| Some(path.as_path()) == but_for);
        self.parsed = kept;
        for path in parsed.into_keys() {
            self.evict(&path);
        }
        sys::limits::trim_heap();
        tracing::debug!(
            "what was parsed of files is given back, for the memory is needed: {:?}",
            self.gauge.usage()
        );
    }
}

/// Whether the same question may be answered a moment later: no memory was left, no descriptor, or the disk did not answer. The
/// last two have no kind of their own.
fn may_pass(kind: ErrorKind) -> bool {
    matches!(kind, ErrorKind::OutOfMemory | ErrorKind::WouldBlock | ErrorKind::TimedOut | ErrorKind::Other)
}

fn symbolizer() -> Symbolizer {
    // Debug links are followed by debug_file, which tolerates wrong ones; a file does not change behind its descriptor.
    Symbolizer::builder()
        .set_debug_dirs(None::<[PathBuf; 0]>)
        .enable_auto_reload(true)
        .enable_code_info(true)
        .enable_inlined_fns(true)
        .enable_demangling(true)
        .build()
}

/// A path that leads to an open file, deleted or not, in whichever namespace.
fn path(file: &File) -> PathBuf {
    PathBuf::from(format!("/proc/self/fd/{}", file.as_raw_fd()))
}

/// blazesym's answer in our order: it gives the outermost function, then the inlined ones inwards.
fn functions(sym: &Sym<'_>) -> Functions {
    let place = |info: Option<&blazesym::symbolize::CodeInfo<'_>>| {
        info.map_or((String::new(), 0), |info| {
            (info.to_path().to_string_lossy().into_owned(), info.line.unwrap_or(0))
        })
    };
    let inlined = sym.inlined.iter().rev().map(|inlined| {
        let (file, line) = place(inlined.code_info.as_ref());
        Function { name: inlined.name.to_string(), file, line }
    });
    let (file, line) = place(sym.code_info.as_deref());
    inlined.chain([Function { name: sym.name.to_string(), file, line }]).collect()
}
