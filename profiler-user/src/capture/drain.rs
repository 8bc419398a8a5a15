//! Draining: swap the banks, wait until nobody writes the old one, read and empty it.

use std::{
    collections::HashMap,
    io,
    mem::offset_of,
    os::fd::{AsFd, OwnedFd},
    time::{Duration, Instant, SystemTime},
};

use aya::Ebpf;
use profiler_common::{
    layout::{CpuState, ProcessInfo, ProcessKey, SampleKey},
    outcome::{OUTCOMES, Outcome},
    stack::{Block, CHUNK_WORDS, Header, MAX_WORDS, StackRef},
};

use super::{CountedStack, Error, Options, Sizes, Stacks, Window, load, sideband::boottime_ns};
use crate::sys::{
    map::{BatchCursor, Map, Update},
    membarrier::wait_for_running_programs,
    shared::{Access, SharedArray},
};

/// The two banks of one kind of map.
struct Banks([OwnedFd; 2]);

/// Reads windows out of the maps.
pub(super) struct Drain {
    control: OwnedFd,
    cpu_state: OwnedFd,
    processes: OwnedFd,
    counts: Banks,
    stacks: Banks,
    arena: Arena,
    sizes: Sizes,
    period_ns: u64,
    batch: bool,
    epoch: u64,
    started: Instant,
    started_unix: SystemTime,
    started_boottime_ns: u64,
    /// What the counters of both banks stood at when they were last read.
    counted: [[u64; OUTCOMES]; 2],
    messages_lost: u64,
    /// What the processes' counters of lost samples stood at.
    process_lost: HashMap<ProcessKey, u64>,
    /// A window that has ended and could not be read to its end, and its bank.
    unread: Option<(usize, Window)>,
    /// How many times the kernel refused since the last window.
    refusals: u64,
}

impl Drain {
    pub(super) fn new(ebpf: &Ebpf, sizes: &Sizes, options: &Options) -> Result<Self, Error> {
        let fd = |name: &str| -> Result<OwnedFd, Error> {
            load::map_fd(ebpf, name)?.try_clone_to_owned().map_err(Error::system("duplicating a descriptor"))
        };
        Ok(Self {
            control: fd("CONTROL")?,
            cpu_state: fd("CPU_STATE")?,
            processes: fd("PROCESSES")?,
            counts: Banks([fd("COUNTS_0")?, fd("COUNTS_1")?]),
            stacks: Banks([fd("STACKS_0")?, fd("STACKS_1")?]),
            arena: Arena::map(&fd("ARENA")?, sizes.arena_blocks() as usize)?,
            sizes: *sizes,
            period_ns: options.period_ns(),
            batch: !options.no_batch,
            epoch: 0,
            started: Instant::now(),
            started_unix: SystemTime::now(),
            started_boottime_ns: boottime_ns(),
            counted: [[0; OUTCOMES]; 2],
            messages_lost: 0,
            process_lost: HashMap::new(),
            unread: None,
            refusals: 0,
        })
    }

    /// The window begins now.
    pub(super) fn begin(&mut self) {
        self.started = Instant::now();
        self.started_unix = SystemTime::now();
        self.started_boottime_ns = boottime_ns();
    }

    /// How long the window has lasted, and how full its bank is; 1 is all.
    pub(super) fn fill(&self) -> Result<(Duration, f64), Error> {
        let full = self.read_fill().map_err(Error::system("reading how full a window is"))?;
        Ok((self.started.elapsed(), full))
    }

    fn read_fill(&self) -> io::Result<f64> {
        const EPOCH: usize = offset_of!(CpuState, epoch) / 8;
        const NEXT_CHUNK: usize = offset_of!(CpuState, next_chunk) / 8;
        const ROWS: usize = offset_of!(CpuState, rows) / 8;
        let bytes = self.read_cpu_states()?;
        let (mut rows, mut chunks) = (0, 0);
        for state in cpu_states(&bytes) {
            let word = |index: usize| words(state).nth(index).unwrap_or(0);
            // A CPU that has not sampled anything in this window still has the last one's numbers.
            if word(EPOCH) == self.epoch {
                rows += word(ROWS);
                chunks = chunks.max(word(NEXT_CHUNK));
            }
        }
        let rows = rows as f64 / f64::from(self.sizes.counts);
        Ok(rows.max(chunks as f64 / f64::from(self.sizes.chunks_per_cpu())))
    }

    fn read_cpu_states(&self) -> io::Result<Vec<u8>> {
        let map = Map::new(self.cpu_state.as_fd())?;
        let mut bytes = vec![0_u8; map.value_len()];
        map.lookup(&0_u32.to_ne_bytes(), &mut bytes)?;
        Ok(bytes)
    }

    /// Ends the window: later ticks count into the next one.
    ///
    /// # Errors
    /// The kernel refused, for want of memory as a rule: each call copies through a buffer of its own. Nothing is lost by it, and
    /// the next call goes on where this one stopped; the bank is not counted into again before it is empty.
    pub(super) fn next_window(&mut self) -> Result<Window, Error> {
        let window = self.try_next_window();
        match &window {
            Ok(_) => self.refusals = 0,
            Err(_) => self.refusals += 1,
        }
        window
    }

    fn try_next_window(&mut self) -> Result<Window, Error> {
        let (bank, mut window) = match self.unread.take() {
            Some(unread) => unread,
            None => self.swap()?,
        };
        window.refusals = self.refusals;
        match self.read(bank, &mut window) {
            Ok(()) => Ok(window),
            Err(error) => {
                self.unread = Some((bank, window));
                Err(error)
            }
        }
    }

    /// Makes later ticks count into the other bank. Gives this one and its window, with nothing in it yet.
    fn swap(&mut self) -> Result<(usize, Window), Error> {
        let bank = usize::from(self.epoch & 1 == 1);
        let next = self.epoch + 1;
        Map::new(self.control.as_fd())
            .and_then(|map| map.update(&0_u32.to_ne_bytes(), &next.to_ne_bytes(), Update::Any))
            .map_err(Error::system("swapping the banks"))?;
        self.epoch = next;
        let duration = self.started.elapsed();
        let started_boottime_ns = self.started_boottime_ns;
        let start_unix_ns = self.started_unix.duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default();
        self.begin();
        wait_for_running_programs();

        let window = Window {
            epoch: self.epoch - 1,
            start_unix_ns: u64::try_from(start_unix_ns.as_nanos()).unwrap_or(u64::MAX),
            duration_ns: u64::try_from(duration.as_nanos()).unwrap_or(u64::MAX),
            // What began after one window ended belongs to the next.
            boottime_ns: [started_boottime_ns, self.started_boottime_ns],
            period_ns: self.period_ns,
            ..Window::default()
        };
        Ok((bank, window))
    }

    /// Reads and empties the bank. What was read stays out of it when something fails, and the rest is read when asked again:
    /// rows leave the map as they enter the window, and counters are taken as read only once all of them are.
    fn read(&mut self, bank: usize, window: &mut Window) -> Result<(), Error> {
        self.read_outcomes(bank, window).map_err(Error::system("reading the outcome counters"))?;
        self.read_counts(bank, window).map_err(Error::system("draining the count map"))?;
        self.clear_stacks(bank).map_err(Error::system("emptying the stack map"))?;
        if window.outcome(Outcome::CountTableFull) > 0 {
            self.read_lost(window).map_err(Error::system("reading the process map"))?;
        }
        Ok(())
    }

    fn read_outcomes(&mut self, bank: usize, window: &mut Window) -> io::Result<()> {
        let bytes = self.read_cpu_states()?;
        let mut totals = [0_u64; OUTCOMES];
        let mut messages_lost = 0;
        for state in cpu_states(&bytes) {
            // The counters of both banks come first, then the lost messages.
            for (total, value) in totals.iter_mut().zip(words(state).skip(bank * OUTCOMES)) {
                *total += value;
            }
            messages_lost += words(state).nth(2 * OUTCOMES).unwrap_or(0);
        }
        for ((outcome, total), counted) in window.outcomes.iter_mut().zip(totals).zip(&mut self.counted[bank])
        {
            // Added, for what is read again after a failure has nothing new.
            *outcome += total.saturating_sub(*counted);
            *counted = total;
        }
        if messages_lost > self.messages_lost {
            let lost = messages_lost - self.messages_lost;
            tracing::debug!("{lost} messages found the ring buffer full");
        }
        self.messages_lost = messages_lost;
        Ok(())
    }

    fn read_counts(&mut self, bank: usize, window: &mut Window) -> io::Result<()> {
        let map = Map::new(self.counts.0[bank].as_fd())?;
        let arena = &self.arena;
        let (rows, stacks) = (&mut window.rows, &mut window.stacks);
        self.batch = take_all(&map, self.batch, |key, value| {
            let Some((key, count)) = sample_key(key).zip(words(value).next()) else {
                return;
            };
            if let Ok(chunk) = key.stack.chunk()
                && !stacks.contains(key.stack)
            {
                arena.copy(chunk, key.stack, stacks);
            }
            rows.push(CountedStack {
                process: key.process,
                thread_name: key.thread_name,
                stack: key.stack,
                generation: key.generation,
                count,
            });
        })?;
        Ok(())
    }

    fn clear_stacks(&mut self, bank: usize) -> io::Result<()> {
        let map = Map::new(self.stacks.0[bank].as_fd())?;
        self.batch = take_all(&map, self.batch, |_, _| {})?;
        Ok(())
    }

    /// Asks every process that has rows how many of its samples were lost. Runs only when some were.
    fn read_lost(&mut self, window: &mut Window) -> io::Result<()> {
        let map = Map::new(self.processes.as_fd())?;
        let mut keys = Vec::new();
        let mut previous: Option<Vec<u8>> = None;
        let mut next = vec![0; map.key_len()];
        while keys.len() <= map.max_entries() as usize && map.next_key(previous.as_deref(), &mut next)? {
            keys.push(next.clone());
            previous = Some(next.clone());
        }
        let mut value = vec![0; map.value_len()];
        let mut now = HashMap::with_capacity(keys.len());
        for key in keys {
            let Some(process) = process_key(&key) else { continue };
            if map.lookup(&key, &mut value)? {
                let lost = words(&value).nth(size_of::<ProcessInfo>() / 8 - 1).unwrap_or(0);
                let new = lost.saturating_sub(self.process_lost.get(&process).copied().unwrap_or(0));
                if new > 0 {
                    window.lost.insert(process, new);
                }
                now.insert(process, lost);
            }
        }
        self.process_lost = now;
        Ok(())
    }
}

/// Moves all entries out of a map. Returns whether batch operations worked, to be asked for again.
fn take_all(map: &Map<'_>, batch: bool, mut each: impl FnMut(&[u8], &[u8])) -> io::Result<bool> {
    if batch {
        match take_batches(map, &mut each) {
            Ok(()) => return Ok(true),
            Err(error) if matches!(error.raw_os_error(), Some(libc::EINVAL | libc::ENOTSUP)) => {
                tracing::info!("the kernel has no batch operations for hash maps: draining entry by entry");
            }
            Err(error) => return Err(error),
        }
    }
    let mut key = vec![0; map.key_len()];
    let mut value = vec![0; map.value_len()];
    // Deleting what was just read keeps the first key moving on; the map cannot refill, its bank is out of use.
    while map.next_key(None, &mut key)? {
        let found = map.lookup(&key, &mut value)?;
        // Before it is taken: what could not be deleted will be seen again.
        map.delete(&key)?;
        if found {
            each(&key, &value);
        }
    }
    Ok(false)
}

fn take_batches(map: &Map<'_>, each: &mut impl FnMut(&[u8], &[u8])) -> io::Result<()> {
    let mut entries = 512.min(map.max_entries() as usize).max(1);
    let mut keys = vec![0; entries * map.key_len()];
    let mut values = vec![0; entries * map.value_len()];
    let mut cursor = BatchCursor::default();
    while !cursor.is_finished() {
        match map.lookup_and_delete_batch(&mut cursor, &mut keys, &mut values) {
            Ok(count) => {
                for (key, value) in
                    keys.chunks_exact(map.key_len()).zip(values.chunks_exact(map.value_len())).take(count)
                {
                    each(key, value);
                }
            }
            // One hash bucket holds more than the buffers: it comes whole or not at all.
            Err(error)
                if error.raw_os_error() == Some(libc::ENOSPC) && entries < map.max_entries() as usize =>
            {
                entries *= 2;
                keys.resize(entries * map.key_len(), 0);
                values.resize(entries * map.value_len(), 0);
            }
            Err(error) => return Err(error),
        }
    }
    Ok(())
}

/// The states of all CPUs in what a per-CPU array gives.
fn cpu_states(bytes: &[u8]) -> impl Iterator<Item = &[u8]> {
    bytes.chunks_exact(size_of::<CpuState>().next_multiple_of(8))
}

fn words(bytes: &[u8]) -> impl Iterator<Item = u64> {
    bytes.chunks_exact(8).map(|word| word.try_into().map_or(0, u64::from_ne_bytes))
}

fn half(bytes: &[u8], at: usize) -> Option<u32> {
    Some(u32::from_ne_bytes(bytes.get(at..at + 4)?.try_into().ok()?))
}

fn process_key(bytes: &[u8]) -> Option<ProcessKey> {
    Some(ProcessKey { start_ns: words(bytes).next()?, pid: half(bytes, 8)?, exec_id: half(bytes, 12)? })
}

fn sample_key(bytes: &[u8]) -> Option<SampleKey> {
    Some(SampleKey {
        process: process_key(bytes)?,
        thread_name: bytes.get(16..32)?.try_into().ok()?,
        stack: StackRef(half(bytes, 32)?),
        generation: half(bytes, 36)?,
    })
}

/// The stack arena, read in place.
struct Arena(SharedArray);

impl Arena {
    fn map(fd: &OwnedFd, blocks: usize) -> Result<Self, Error> {
        SharedArray::map(fd.as_fd(), blocks * size_of::<Block>() / 8, Access::Read)
            .map(Self)
            .map_err(Error::system("mapping the stack arena"))
    }

    /// Copies the stack that starts at `chunk`. Call it for a bank that nobody writes to.
    fn copy(&self, chunk: u32, stack: StackRef, stacks: &mut Stacks) {
        let start = chunk as usize * CHUNK_WORDS;
        let Some(available) = self.0.words().checked_sub(start).filter(|&words| words > 0) else {
            return;
        };
        let header = Header(self.0.load(start));
        let len = (1 + header.kernel_frames() + header.user_frames()).min(available).min(MAX_WORDS);
        let words: Vec<u64> = (start..start + len).map(|index| self.0.load(index)).collect();
        stacks.insert(stack, &words);
    }
}
