//! What the cache of unwind tables saves: `cargo run --release --example unwind_cache_figures FILE...`
//!
//! Each file is loaded as the agent loads it, into a pool in memory: without a cache, into an empty cache, and from the
//! cache, opening it included. Times are the least of five runs, in milliseconds: until the first page is there, until all
//! are, and to write the entry (once).

use std::{error::Error, fs::File, io, path::Path, sync::Arc, time::Instant};

use object::{Object as _, ObjectSegment, read::ReadCache};
use profiler_common::{layout::ProcessKey, unwind::pool::ProcessTable};
use profiler_user::{
    process::{Area, Mapping, Object, Process, Segment},
    unwind::{
        Kernel, Store, Tables, Words,
        walk::{StackMemory, Start},
    },
};

const POOL_BYTES: usize = 64 << 20;
const PAGE: u64 = 1 << 16;

struct Memory(Vec<u64>);

impl Words for Memory {
    fn load(&self, index: usize) -> u64 {
        self.0[index]
    }

    fn store(&mut self, index: usize, value: u64) {
        self.0[index] = value;
    }
}

struct NoKernel;

impl Kernel for NoKernel {
    fn set_process(&mut self, _: &ProcessKey, _: &ProcessTable) -> io::Result<()> {
        Ok(())
    }

    fn remove_process(&mut self, _: &ProcessKey) {}

    fn wait(&mut self) {}
}

fn main() -> Result<(), Box<dyn Error>> {
    println!("           no cache        from cache   writing");
    println!(" pages  first     all    first    all   all   KiB  file");
    for path in std::env::args().skip(1) {
        if let Err(error) = measure(&path) {
            println!("{path}: {error}");
        }
    }
    Ok(())
}

fn measure(path: &str) -> Result<(), Box<dyn Error>> {
    let folder = tempfile::tempdir()?;
    let process = process(path)?;
    let run = |cache: Option<&Path>| -> Result<Run, Box<dyn Error>> {
        let mut least = load(&process, cache)?;
        for _ in 0..4 {
            let next = load(&process, cache)?;
            least.first = least.first.min(next.first);
            least.all = least.all.min(next.all);
        }
        Ok(least)
    };
    let without = run(None)?;
    let writing = load(&process, Some(folder.path()))?;
    let with = run(Some(folder.path()))?;
    let bytes: u64 =
        std::fs::read_dir(folder.path())?.flatten().map(|e| e.metadata().map_or(0, |m| m.len())).sum();
    if with.misses > 0 {
        let Run { pages, first, all, .. } = without;
        println!("{pages:6} {first:6.2} {all:7.1}   {:32}  {path}", "too few pages to be cached");
        return Ok(());
    }
    println!(
        "{:6} {:6.2} {:7.1}   {:6.3} {:6.2} {:5.1} {:5}  {path}",
        without.pages,
        without.first,
        without.all,
        with.first,
        with.all,
        writing.finish,
        bytes >> 10
    );
    Ok(())
}

struct Run {
    pages: usize,
    first: f64,
    all: f64,
    finish: f64,
    misses: u64,
}

fn load(process: &Process, cache: Option<&Path>) -> Result<Run, Box<dyn Error>> {
    // Touched before the clock starts, as the agent's is mapped.
    let words = |bytes: usize| Memory(vec![1; bytes / 8]);
    let mut tables = Tables::new(words(POOL_BYTES), POOL_BYTES, words(1 << 20), NoKernel);
    let begin = Instant::now();
    if let Some(cache) = cache {
        tables = tables.with_cache(Store::open(cache, 1 << 30)?);
    }
    tables.set_process(ProcessKey { start_ns: 1, pid: 1, exec_id: 1 }, process);
    let mut walk = |pc: u64| {
        let start = Start { pc, registers: [0; 16], is_return: false };
        tables.walk(start, &StackMemory { start: 0, bytes: &[] }, process);
    };
    // Some page in the middle, as a sample would ask for it.
    let largest = process.mappings.iter().max_by_key(|mapping| mapping.end - mapping.start);
    walk(largest.map_or(0, |mapping| mapping.start.midpoint(mapping.end)));
    let first = begin.elapsed().as_secs_f64() * 1e3;
    for mapping in &process.mappings {
        for page in mapping.start / PAGE..mapping.end.div_ceil(PAGE) {
            walk((page * PAGE).max(mapping.start));
        }
    }
    let all = begin.elapsed().as_secs_f64() * 1e3;
    let begin = Instant::now();
    tables.finish();
    let finish = begin.elapsed().as_secs_f64() * 1e3;
    let figures = tables.figures();
    Ok(Run { pages: figures.pages, first, all, finish, misses: figures.cache.misses })
}

/// A process that has mapped a file at the addresses that the file itself gives its code.
fn process(path: &str) -> Result<Process, Box<dyn Error>> {
    let file = File::open(path)?;
    let cache = ReadCache::new(&file);
    let elf = object::File::parse(&cache)?;
    let mut segments = Vec::new();
    for segment in elf.segments() {
        if let object::SegmentFlags::Elf { p_flags, .. } = segment.flags()
            && p_flags.contains(object::elf::PF_X)
        {
            let (offset, size) = segment.file_range();
            segments.push(Segment { offset, size, address: segment.address() });
        }
    }
    // Files without a build-id are not cached: for the comparison they get one.
    let build_id =
        elf.build_id()?.map_or_else(|| "00".repeat(20), |id| id.iter().map(|b| format!("{b:02x}")).collect());
    let object = Arc::new(Object {
        id: 1,
        path: path.to_owned(),
        build_id,
        mark: None,
        segments: segments.clone(),
        file: Some(file.try_clone()?),
        folder: None,
        root: None,
        refused: false.into(),
    });
    let mapping = |segment: Segment| Mapping {
        start: segment.address,
        end: segment.address + segment.size,
        offset: segment.offset,
        area: Area::Object(Arc::clone(&object)),
    };
    let mappings = segments.into_iter().map(mapping).collect();
    Ok(Process { mappings, generation: 1, ..Process::default() })
}
