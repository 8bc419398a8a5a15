//! Taking a snapshot of a program that runs.

use std::cell::RefCell;
use std::collections::{BTreeMap, BTreeSet};
use std::process::Command;
use std::time::Duration;

use profiler_common::outcome::Outcome;
use profiler_common::unwind::Memory;
use profiler_user::unwind::walk::Lookup;

use super::live::{LiveCode, LiveThread};
use super::programs::{Named, Recipe};
use super::stopped::Stopped;
use super::{Beginning, Fault, Hex, Mapped, Replay, Snapshot, Zone, range_text};
use crate::Target;

/// How often the program's threads are stopped before the recorder gives up.
const ATTEMPTS: usize = 5000;
/// Bytes between two words that the walk needs from which on what lies between is left out.
const GAP_BYTES: u64 = 16 << 10;
/// Words in a line of memory.
const LINE_WORDS: usize = 4;
/// Bytes of a page of memory.
const PAGE: u64 = 4096;

/// Records a snapshot. Panics where the program is never found where it is to be recorded, or its stack is not as the
/// recipe says.
pub fn record(recipe: &Recipe) -> Snapshot {
    // Without address space randomisation another recording of the same program differs in what really changed.
    let mut command = Command::new("setarch");
    let target = Target::start_as(command.arg("-R").arg((recipe.program)()).args(recipe.args));
    // Beyond its start.
    std::thread::sleep(Duration::from_millis(50));
    let code = LiveCode::of(target.pid());
    for _ in 0..ATTEMPTS {
        for tid in threads(target.pid()) {
            if let Some(snapshot) = attempt(recipe, tid, &code) {
                return snapshot;
            }
        }
        std::thread::sleep(Duration::from_millis(1));
    }
    panic!("{}: the program was never found there in {ATTEMPTS} attempts", recipe.name);
}

fn threads(pid: u32) -> Vec<u32> {
    let tasks =
        std::fs::read_dir(format!("/proc/{pid}/task")).unwrap_or_else(|e| panic!("process {pid}: {e}"));
    tasks.filter_map(|task| task.ok()?.file_name().to_str()?.parse().ok()).collect()
}

/// Stops a thread; `None` where it is elsewhere.
fn attempt(recipe: &Recipe, tid: u32, code: &LiveCode) -> Option<Snapshot> {
    let thread = Stopped::stop(tid).ok()?;
    let start = thread.registers().unwrap_or_else(|e| panic!("registers of thread {tid}: {e}"));
    code.begin();
    let subject = LiveThread { thread: &thread, code };
    let walked = Walked::of(&start, &subject);
    if !(recipe.is_here)(&start, &walked.names) {
        return None;
    }
    let snapshot = walked.snapshot(recipe.description, &start, &subject);
    recipe.check(&walked.names);
    Some(snapshot)
}

/// A thread that stands still, and the code that it may be in.
pub trait Subject {
    /// The word at an address, where it can be read.
    fn word(&self, address: u64) -> Option<u64>;
    /// How the code at an address is unwound.
    fn lookup(&self, pc: u64) -> Lookup;
    /// Names of the object and of the function at an address; of the function an empty one where it is not known.
    fn name(&self, pc: u64) -> Named;
    /// The mappings that were asked for, with their rules.
    fn asked(&self) -> Vec<Mapped>;
}

/// Takes the snapshot of a thread that is where it is to be recorded, and gives the names of its frames with it.
pub fn take(description: &str, start: &Beginning, subject: &impl Subject) -> (Snapshot, Vec<Named>) {
    let walked = Walked::of(start, subject);
    (walked.snapshot(description, start, subject), walked.names)
}

/// What a walk gave, and what it read.
struct Walked {
    frames: Vec<u64>,
    names: Vec<Named>,
    outcome: Outcome,
    /// Addresses.
    read: Vec<u64>,
}

/// Memory that notes what is read.
struct Noted<'a, S> {
    subject: &'a S,
    read: RefCell<Vec<u64>>,
}

impl<S: Subject> Memory for Noted<'_, S> {
    fn read_word(&self, address: u64) -> Option<u64> {
        let word = self.subject.word(address)?;
        self.read.borrow_mut().push(address);
        Some(word)
    }

    fn read_pair(&self, address: u64) -> Option<[u64; 2]> {
        Some([self.read_word(address)?, self.read_word(address + 8)?])
    }
}

impl Walked {
    fn of(start: &Beginning, subject: &impl Subject) -> Walked {
        let memory = Noted { subject, read: RefCell::default() };
        let (frames, outcome) = start.walk(&memory, |pc| subject.lookup(pc));
        let name = |(index, &address): (usize, &u64)| {
            subject.name(address.wrapping_sub(u64::from(index > 0 || start.is_return)))
        };
        let names = frames.iter().enumerate().map(name).collect();
        Walked { frames, names, outcome, read: memory.read.into_inner() }
    }

    fn snapshot(&self, description: &str, start: &Beginning, subject: &impl Subject) -> Snapshot {
        let Walked { frames, names, outcome, read } = self;
        assert_eq!(*outcome, Outcome::Complete, "{description}: {names:#?}");
        let machine = start.machine;
        let registers = machine.registers().iter().zip(&start.registers);
        let sp = start.registers[machine.sp()];
        let mut snapshot = Snapshot {
            description: description.to_owned(),
            architecture: machine.name().to_owned(),
            in_system_call: start.is_return,
            pc: Hex(start.pc),
            registers: registers.map(|(name, value)| ((*name).to_owned(), Hex(*value))).collect(),
            memory: zones(subject, read, sp),
            mappings: subject.asked(),
            frames: Vec::new(),
            outcome: outcome.name().to_owned(),
            faults: Vec::new(),
        };
        let replay = Replay::of(&snapshot);
        let replayed = replay.run(&[]);
        assert_eq!((&replayed.frames, replayed.outcome), (frames, *outcome), "{description}: the replay");
        let line =
            |(place, (_, function)): (String, &Named)| format!("{place} {function}").trim_end().to_owned();
        snapshot.frames = replay.places(frames).into_iter().zip(names).map(line).collect();
        snapshot.faults = faults(&replay, sp);
        snapshot
    }
}

/// The memory from the stack pointer up to the last word that was read; in pieces where the walk changed stacks.
fn zones(subject: &impl Subject, read: &[u64], sp: u64) -> Vec<Zone> {
    let mut needed = BTreeSet::from([sp & !7]);
    for address in read {
        // Of an address that is no multiple of 8, as code has, both words that it lies in.
        needed.extend([address & !7, (address + 7) & !7]);
    }
    let mut ranges: Vec<(u64, u64)> = Vec::new();
    for &address in &needed {
        match ranges.last_mut() {
            Some((_, end)) if address - *end < GAP_BYTES => *end = address + 8,
            _ => ranges.push((address, address + 8)),
        }
    }
    ranges.into_iter().map(|(start, end)| zone(subject, &needed, start, end)).collect()
}

fn zone(subject: &impl Subject, needed: &BTreeSet<u64>, start: u64, end: u64) -> Zone {
    let word = |address| {
        let word = subject.word(address).unwrap_or_default();
        // Paths and the like are the machine's own.
        if !needed.contains(&address) && is_text(word) { 0 } else { word }
    };
    let addresses: Vec<u64> = (start..end).step_by(8).collect();
    let mut words = BTreeMap::new();
    for line in addresses.chunks(LINE_WORDS) {
        let values: Vec<u64> = line.iter().map(|&address| word(address)).collect();
        if values.iter().any(|&value| value != 0) {
            let values: Vec<String> = values.iter().map(|value| format!("{value:#x}")).collect();
            words.insert(Hex(line[0]), values.join(" "));
        }
    }
    Zone { start: Hex(start), end: Hex(end), words }
}

/// Whether a word may be a piece of text: at least four characters, and nothing behind them.
fn is_text(word: u64) -> bool {
    // Without randomisation, addresses of position-independent programs look like it ("UUUU").
    let is_code = matches!(word >> 32, 0x5555 | 0x55);
    let bytes = word.to_le_bytes();
    let characters = bytes.iter().take_while(|&&byte| matches!(byte, b' '..=b'~' | b'\n')).count();
    !is_code && characters >= 4 && bytes[characters..].iter().all(|&byte| byte == 0)
}

/// What becomes of the walk where some of the memory that it reads is missing.
fn faults(replay: &Replay, sp: u64) -> Vec<Fault> {
    let whole = replay.run(&[]);
    let asked = &whole.asked;
    let page = sp & !(PAGE - 1);
    let mut candidates = vec![("the page that the stack pointer is in", page..page + PAGE)];
    let word = |address: u64| address..address + 8;
    candidates.push(("a word half-way", word(asked[asked.len() / 2])));
    if let Some(&last) = asked.last() {
        candidates.push(("the last word that is needed", word(last)));
    }
    // Nothing else reads so many words in a row.
    let rises = |words: &[u64]| words.windows(2).all(|pair| pair[1] == pair[0] + 8);
    if let Some(context) = asked.windows(replay.start.machine.context_words()).find(|words| rises(words)) {
        candidates.push(("the registers that a signal saved", word(context[0])));
    }
    let mut faults: Vec<Fault> = Vec::new();
    for (what, range) in candidates {
        let faulty = replay.run(std::slice::from_ref(&range));
        let kept = faulty.frames.len();
        let known = faults.iter().any(|fault| fault.unreadable == [range_text(&range)]);
        // The stack pointer may be at the end of a page of which nothing is read.
        if faulty.hit != [true] || known {
            continue;
        }
        assert_eq!(faulty.outcome, Outcome::UnreadableMemory, "{what}");
        faults.push(Fault {
            what: what.to_owned(),
            unreadable: vec![range_text(&range)],
            frames: kept,
            last: Hex(faulty.frames[kept - 1]),
            outcome: faulty.outcome.name().to_owned(),
        });
    }
    faults
}
