//! What following processes costs: time and memory per life of a command, and of what a window keeps.
//!
//! `cargo run --release --example sideband_figures`

use std::{
    alloc::{GlobalAlloc, Layout, System},
    sync::atomic::{AtomicUsize, Ordering},
    time::Instant,
};

use profiler_user::{
    capture::sideband::{Event, Kind, Map},
    process::Table,
};

/// Counts what is allocated.
struct Counting;

static CALLS: AtomicUsize = AtomicUsize::new(0);
static BYTES: AtomicUsize = AtomicUsize::new(0);

// SAFETY: all is passed on to the system's allocator.
unsafe impl GlobalAlloc for Counting {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        CALLS.fetch_add(1, Ordering::Relaxed);
        BYTES.fetch_add(layout.size(), Ordering::Relaxed);
        // SAFETY: the caller's promise is passed on.
        unsafe { System.alloc(layout) }
    }

    unsafe fn dealloc(&self, memory: *mut u8, layout: Layout) {
        BYTES.fetch_sub(layout.size(), Ordering::Relaxed);
        // SAFETY: the caller's promise is passed on.
        unsafe { System.dealloc(memory, layout) }
    }
}

#[global_allocator]
static COUNTING: Counting = Counting;

/// Files that each command maps after its program.
const FILES: [&[u8]; 4] =
    [b"/usr/lib/ld-linux-x86-64.so.2", b"[vdso]", b"/usr/lib/libc.so.6", b"/usr/lib/libtinfo.so.6"];
const LIVES: u32 = 10_000;

fn main() {
    let mut table = Table::new();
    let mut time_ns = 1_000;
    for (what, exec, ends) in [
        ("fork and exit", false, true),
        ("fork, exec of 5 mappings and exit", true, true),
        ("kept alive", true, false),
    ] {
        // The second round finds the tables at their size.
        for _ in 0..2 {
            let (calls, bytes, start) =
                (CALLS.load(Ordering::Relaxed), BYTES.load(Ordering::Relaxed), Instant::now());
            for pid in 100..100 + LIVES {
                let mut apply = |kind| {
                    time_ns += 1;
                    table.apply(&Event { time_ns, kind });
                };
                apply(Kind::Fork { pid, ppid: 50, tid: pid });
                if exec {
                    apply(Kind::Comm { pid, tid: pid, exec: true, name: b"command" });
                    let program: &[&[u8]] = &[b"/usr/bin/command"];
                    for (index, &filename) in program.iter().chain(&FILES).enumerate() {
                        let place = index as u64;
                        let ino = if filename.starts_with(b"/") { place + 1 } else { 0 };
                        let map = Map {
                            addr: (place + 1) << 20,
                            len: 4096,
                            pgoff: 0,
                            device: (8, 1),
                            ino,
                            prot: 5,
                            filename,
                        };
                        apply(Kind::Mmap2 { pid, tid: pid, map });
                    }
                }
                if ends {
                    apply(Kind::Exit { pid, tid: pid });
                }
            }
            println!(
                "{what}: {} ns, {:.1} allocations, {} bytes each until the window's end",
                start.elapsed().as_nanos() / u128::from(LIVES),
                (CALLS.load(Ordering::Relaxed) - calls) as f64 / f64::from(LIVES),
                BYTES.load(Ordering::Relaxed).saturating_sub(bytes) / LIVES as usize,
            );
            let start = Instant::now();
            for _ in 0..3 {
                table.end_window();
            }
            println!("  three ends of windows: {:?}; left: {}", start.elapsed(), table.heard_of());
        }
    }
}
