//! Names for addresses: blazesym behind a cache that all processes share.
//!
//! A [`Namer`] lives on one thread for the life of the agent, for blazesym's symbolizer is neither `Send` nor cheap to
//! make. It is asked for (object, address) pairs, in batches per object, and remembers answers, also negative ones.

mod apart;
mod cache;
mod elf;
mod go;
mod kallsyms;
mod kernel;
mod linkage;
mod pages;
mod reader;
mod reading;

use std::{collections::HashMap, sync::Arc};

use crate::{
    budget::{Gauge, Pace},
    process::Object,
    sys,
};

use apart::Apart;
pub use apart::{serve as serve_apart, taken_for};
use cache::Cache;
use elf::{Certainty, ElfNamer};
pub use kernel::{KernelCode, KernelPlace};
use reader::Reader;
use reading::Reading;

/// One function at an address. Several where functions were inlined.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Function {
    /// Demangled name.
    pub name: String,
    /// Source file; empty where it is not known.
    pub file: String,
    /// Line; 0 where it is not known.
    pub line: u32,
}

/// The functions at an address, innermost inlined one first; empty where there is no name.
pub type Functions = Arc<[Function]>;

/// Finds names.
pub struct Namer {
    elf: ElfNamer,
    cache: Cache,
    /// Names of this window that may be others in the next, for something could not be read.
    provisional: HashMap<(u64, u64), Functions>,
    kernel: KernelCode,
    gauge: Gauge,
    nothing: Functions,
}

impl std::fmt::Debug for Namer {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Namer").field("cache", &self.cache).finish_non_exhaustive()
    }
}

impl Namer {
    /// A namer that knows nothing yet. It belongs to the thread that makes it. It stays within the budget that `gauge` is
    /// for, and `pace` holds it back.
    #[must_use]
    pub fn new(gauge: Gauge, pace: Pace) -> Self {
        let names = gauge.memory().shares().names;
        let reading: Box<dyn Reading> = match Apart::new(gauge.clone()) {
            Some(apart) => Box::new(apart),
            None => Box::new(Reader::new()),
        };
        Self {
            elf: ElfNamer::new(reading, gauge.clone(), pace),
            cache: Cache::new(usize::try_from(names).unwrap_or(usize::MAX)),
            provisional: HashMap::new(),
            kernel: KernelCode::new(),
            gauge,
            nothing: Arc::new([]),
        }
    }

    /// Names all these addresses at once; [`Namer::functions`] then has them. An address is the object's own
    /// ([`Object::address_of`]).
    pub fn prepare(&mut self, wanted: HashMap<u64, (Arc<Object>, Vec<u64>)>) {
        // What the window before cost beyond its names is made up for here, where nothing may be new to name.
        self.elf.keep_pace();
        for (id, (object, mut addresses)) in wanted {
            addresses.sort_unstable();
            addresses.dedup();
            addresses.retain(|&address| !self.cache.contains(id, address));
            if addresses.is_empty() {
                continue;
            }
            let (named, certainty) = self.elf.name(&object, &addresses);
            for (&address, functions) in addresses.iter().zip(named) {
                match certainty {
                    Certainty::Certain => self.cache.insert(id, address, functions),
                    Certainty::Provisional => _ = self.provisional.insert((id, address), functions),
                }
            }
        }
    }

    /// Ends a window: gives back what naming took and will not need soon.
    pub fn end_window(&mut self) {
        self.elf.end_window();
        self.provisional = HashMap::new();
        let (entries, bytes) = self.cache.size();
        tracing::debug!(entries, bytes, "names");
        sys::limits::trim_heap();
    }

    /// The functions at an object's address; empty where there is no name, or it was not prepared.
    pub fn functions(&mut self, object: u64, address: u64) -> Functions {
        let known = self.cache.get(object, address);
        known
            .or_else(|| self.provisional.get(&(object, address)).cloned())
            .unwrap_or_else(|| Arc::clone(&self.nothing))
    }

    /// Names kernel addresses; [`Namer::kernel_place`] then has them.
    pub fn prepare_kernel(&mut self, mut addresses: Vec<u64>) {
        addresses.sort_unstable();
        addresses.dedup();
        self.kernel.prepare(&addresses);
        self.tell();
    }

    /// Tells the gauge what names take.
    fn tell(&self) {
        let [names, kernel] =
            [self.cache.size().1, self.kernel.bytes()].map(|bytes| u64::try_from(bytes).unwrap_or(u64::MAX));
        self.gauge.set_names(names, kernel);
    }

    /// Where a kernel address lies, and its function.
    pub fn kernel_place(&self, address: u64) -> (KernelPlace, Option<&Functions>) {
        (self.kernel.place(address), self.kernel.functions(address))
    }
}
