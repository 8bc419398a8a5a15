//! What the pure parts cost: `cargo xtask bench parts`. Each line of time has one of bytes and allocations before it, for
//! one round of the same work in the steady state.

use std::{
    alloc::{GlobalAlloc, Layout, System},
    collections::HashMap,
    fs::{self, File},
    hint::black_box,
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
    time::Duration,
};

use criterion::{Criterion, Throughput};
use object::{Object as _, ObjectSection as _};
use profiler_common::{
    layout::ProcessKey,
    outcome::{OUTCOMES, Outcome},
    stack::{Header, StackRef},
};
use profiler_user::{
    budget::{Gauge, Memory, Pace},
    capture::{CountedStack, Stacks},
    process::{Area, Mapping, Object, Process, Segment},
    profile::{
        build::{self, Names, Span, Subject},
        codec::Encoder,
        merge::{self, Merger},
        proto::Profile,
    },
    report::{
        diff::{self, Normalize, Options, Rows},
        order::Sort,
        subject::Lens,
    },
    symbol::{Function, Functions, KernelPlace, Namer},
    unwind::Table,
};

/// Counts what is allocated.
struct Counting;

static BYTES: AtomicU64 = AtomicU64::new(0);
static ALLOCATIONS: AtomicU64 = AtomicU64::new(0);

#[global_allocator]
static ALLOCATOR: Counting = Counting;

// SAFETY: every call is passed on to the system's allocator as it is; counting allocates nothing.
unsafe impl GlobalAlloc for Counting {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        BYTES.fetch_add(layout.size() as u64, Ordering::Relaxed);
        ALLOCATIONS.fetch_add(1, Ordering::Relaxed);
        // SAFETY: what the caller promised holds for the system's allocator, too.
        unsafe { System.alloc(layout) }
    }

    unsafe fn dealloc(&self, memory: *mut u8, layout: Layout) {
        // SAFETY: see above.
        unsafe { System.dealloc(memory, layout) }
    }

    unsafe fn realloc(&self, memory: *mut u8, layout: Layout, bytes: usize) -> *mut u8 {
        BYTES.fetch_add(bytes.saturating_sub(layout.size()) as u64, Ordering::Relaxed);
        ALLOCATIONS.fetch_add(1, Ordering::Relaxed);
        // SAFETY: see above.
        unsafe { System.realloc(memory, layout, bytes) }
    }
}

/// Times some work, and says what a round of it allocates once it has run before.
fn measure(criterion: &mut Criterion, name: &str, throughput: Throughput, mut work: impl FnMut()) {
    work();
    let (bytes, allocations) = (BYTES.load(Ordering::Relaxed), ALLOCATIONS.load(Ordering::Relaxed));
    work();
    println!(
        "{name}: {} bytes in {} allocations",
        BYTES.load(Ordering::Relaxed) - bytes,
        ALLOCATIONS.load(Ordering::Relaxed) - allocations
    );
    let mut group = criterion.benchmark_group("parts");
    group.throughput(throughput).bench_function(name, |bencher| bencher.iter(&mut work));
    group.finish();
}

const ROWS: u64 = 2000;
const FRAMES: u64 = 30;
const OBJECTS: u64 = 20;
const OBJECT_BYTES: u64 = 1 << 20;
const KEY: ProcessKey = ProcessKey { start_ns: 1, pid: 42, exec_id: 0 };

/// A number that looks like chance, and is the same in each run.
fn scatter(number: u64) -> u64 {
    (number.wrapping_add(1))
        .wrapping_mul(0x9e37_79b9_7f4a_7c15)
        .rotate_left(31)
        .wrapping_mul(0xbf58_476d_1ce4_e5b9)
}

/// A process with code of many objects.
fn process() -> Process {
    let mapping = |number: u64| {
        let segment = Segment { offset: 0, size: OBJECT_BYTES, address: 0 };
        let object = Object {
            id: number,
            path: format!("/usr/lib/libnumber{number}.so"),
            build_id: format!("{number:040x}"),
            mark: None,
            segments: vec![segment],
            file: None,
            folder: None,
            root: None,
            refused: false.into(),
        };
        let start = (number + 1) << 32;
        Mapping { start, end: start + OBJECT_BYTES, offset: 0, area: Area::Object(Arc::new(object)) }
    };
    let mappings = (0..OBJECTS).map(mapping).collect();
    Process { name: "service".to_owned(), mappings, main: Some(0), generation: 1, ..Process::default() }
}

/// Stacks as the kernel side leaves them: the callers are few, the leaves are many.
fn stacks() -> Vec<Vec<u64>> {
    let frame = |row: u64, level: u64| {
        let place = scatter(if level < 3 { row } else { row % 50 } * 1000 + level);
        ((place % OBJECTS + 1) << 32) + (place >> 20) % OBJECT_BYTES / 64 * 64 + 1
    };
    let header = Header::new(0, FRAMES, Outcome::Complete, false).0;
    let stack = |row| std::iter::once(header).chain((0..FRAMES).map(|level| frame(row, level))).collect();
    (0..ROWS).map(stack).collect()
}

/// Names that are there.
struct Known(HashMap<(u64, u64), Functions>);

impl Names for Known {
    fn functions(&mut self, object: u64, address: u64) -> Functions {
        let make = || {
            let name = format!("namespace::module{object}::function_{}", address >> 8);
            Arc::from([Function {
                name,
                file: format!("/src/module{object}.rs"),
                line: address as u32 % 500,
            }])
        };
        Arc::clone(self.0.entry((object, address)).or_insert_with(make))
    }

    fn kernel(&mut self, _: u64) -> (KernelPlace, Functions) {
        let place = KernelPlace { name: String::new(), start: 0, end: 0, build_id: String::new() };
        (place, Arc::from([]))
    }
}

fn profile(process: &Process, rows: &[CountedStack], stacks: &Stacks, names: &mut Known) -> Profile {
    let span =
        Span { start_unix_ns: 1, duration_ns: 60_000_000_000, period_ns: 10_101_010, ..Span::default() };
    let subject = Subject { process, pid: KEY.pid, host: "host" };
    let mut profile = build::build(span, subject, rows.iter().map(|row| (row, process)), stacks, names);
    build::comment(&mut profile, &[], &[0; OUTCOMES]);
    profile
}

/// Rules of the code of the largest library that is at hand.
fn rules(criterion: &mut Criterion) {
    let libraries = ["/usr/lib/x86_64-linux-gnu/libc.so.6", "/usr/lib/aarch64-linux-gnu/libc.so.6"];
    let Some(path) = libraries.iter().find(|path| fs::exists(path).unwrap_or(false)) else {
        println!("there is no libc to read rules from");
        return;
    };
    let bytes = fs::read(path).unwrap_or_default();
    let section = object::File::parse(&*bytes)
        .ok()
        .and_then(|file| file.section_by_name(".eh_frame").map(|section| section.size()));
    let Ok(file) = File::open(path) else { return };
    let work = || {
        if let Ok(mut table) = Table::open(&file) {
            for page in table.pages() {
                let _ = black_box(table.page(page));
            }
        }
    };
    measure(criterion, "eh_frame to rows", Throughput::Bytes(section.unwrap_or(0)), work);
}

/// Names of this program that were asked for before.
fn names(criterion: &mut Criterion) {
    let gauge = Gauge::new(Memory { bytes: 128 << 20 });
    let mut namer = Namer::new(gauge, Pace::new(None));
    let Ok(file) = File::open("/proc/self/exe") else { return };
    let object = Object {
        id: 1,
        path: "/proc/self/exe".to_owned(),
        build_id: String::new(),
        mark: None,
        segments: Vec::new(),
        file: Some(file),
        folder: None,
        root: None,
        refused: false.into(),
    };
    let start = names as fn(&mut Criterion) as usize as u64;
    let image = fs::read_to_string("/proc/self/maps").unwrap_or_default();
    let first = image.split('-').next().and_then(|first| u64::from_str_radix(first, 16).ok()).unwrap_or(0);
    let addresses: Vec<u64> = (0..1000).map(|number| start.wrapping_sub(first) + number * 16).collect();
    namer.prepare(HashMap::from([(1, (Arc::new(object), addresses.clone()))]));
    let work = || {
        for &address in &addresses {
            black_box(namer.functions(1, address));
        }
    };
    measure(criterion, "names from the cache", Throughput::Elements(1000), work);
}

fn main() {
    let mut criterion = Criterion::default().measurement_time(Duration::from_secs(3)).configure_from_args();
    let criterion = &mut criterion;
    rules(criterion);

    let words = stacks();
    let insert = || {
        let mut stacks = Stacks::default();
        for (number, words) in (0..).zip(&words) {
            stacks.insert(StackRef(number), words);
        }
        stacks
    };
    measure(criterion, "stacks of a window", Throughput::Elements(ROWS), || drop(black_box(insert())));

    let (process, stacks) = (process(), insert());
    let addresses: Vec<u64> = words.iter().flat_map(|words| words.iter().skip(1)).copied().collect();
    measure(criterion, "addresses to objects", Throughput::Elements(ROWS * FRAMES), || {
        for &address in &addresses {
            if let Some(mapping) = process.find(address).and_then(|index| process.mappings.get(index))
                && let Area::Object(object) = &mapping.area
            {
                black_box(object.address_of(address - mapping.start + mapping.offset));
            }
        }
    });
    names(criterion);

    let row = |number: u32| CountedStack {
        process: KEY,
        thread_name: *b"worker\0\0\0\0\0\0\0\0\0\0",
        stack: StackRef(number),
        generation: 1,
        count: 1 + u64::from(number % 3),
    };
    let rows: Vec<CountedStack> = (0..ROWS as u32).map(row).collect();
    let mut names = Known(HashMap::new());
    let samples = rows.iter().map(|row| row.count).sum();
    measure(criterion, "profile of a window", Throughput::Elements(samples), || {
        drop(black_box(profile(&process, &rows, &stacks, &mut names)));
    });

    let whole = profile(&process, &rows, &stacks, &mut names);
    let mut encoder = Encoder::new();
    measure(criterion, "encoding", Throughput::Elements(samples), || {
        let _ = black_box(encoder.encode(&whole));
    });

    let half = profile(&process, &rows[..rows.len() / 2], &stacks, &mut names);
    measure(criterion, "merging", Throughput::Elements(samples), || {
        let mut merger = Merger::new();
        for profile in [&half, &whole] {
            let _ = merger.add(profile);
        }
        drop(black_box(merger.finish(merge::Duration::Sum)));
    });
    let options =
        Options { lens: Lens::default(), rows: Rows::Places, normalize: Normalize::Share, sort: Sort::Flat };
    measure(criterion, "difference", Throughput::Elements(samples), || {
        drop(black_box(diff::diff(&half, &whole, &options)));
    });
    criterion.final_summary();
}
