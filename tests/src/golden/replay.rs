//! Walking a snapshot.

use std::cell::RefCell;
use std::ops::Range;

use profiler_common::outcome::Outcome;
use profiler_common::unwind::Memory;
use profiler_common::unwind::rule::Rule;
use profiler_user::unwind::walk::Lookup;

use super::{Beginning, Machine, Mapped, Snapshot, Zone, parse_hex, parse_range, rule};

/// A snapshot in the form that a walk needs.
#[derive(Debug, Clone)]
pub struct Replay {
    /// Where the walk sets out.
    pub start: Beginning,
    /// Ranges of memory: first address, and the words from there on.
    pub zones: Vec<(u64, Vec<u64>)>,
    /// The executable mappings.
    pub mappings: Vec<Mapping>,
}

/// An executable mapping.
#[derive(Debug, Clone)]
pub struct Mapping {
    /// File name of the object, or its name in brackets.
    pub object: String,
    range: Range<u64>,
    delta: u64,
    frame_pointers: bool,
    rules: Vec<(Range<u64>, Rule)>,
}

/// What came of a walk, and what it asked for.
#[derive(Debug, Clone)]
pub struct Replayed {
    /// The addresses of its frames, leaf first, as the kernel side keeps them.
    pub frames: Vec<u64>,
    /// How it ended.
    pub outcome: Outcome,
    /// The addresses of the words that it asked for, in that order.
    pub asked: Vec<u64>,
    /// For each of the unreadable ranges, whether it asked for a word in it.
    pub hit: Vec<bool>,
}

impl Replay {
    /// Decodes a snapshot. Panics with one sentence where it is damaged.
    pub fn of(snapshot: &Snapshot) -> Replay {
        let machine = Machine::named(&snapshot.architecture);
        let machine = machine.unwrap_or_else(|| panic!("{:?} is not known", snapshot.architecture));
        let register = |name: &&str| {
            let value = snapshot.registers.get(*name);
            value.unwrap_or_else(|| panic!("the snapshot has no {name}")).0
        };
        let names = machine.registers();
        assert_eq!(snapshot.registers.len(), names.len(), "the snapshot has other registers");
        Replay {
            start: Beginning {
                machine,
                registers: names.iter().map(register).collect(),
                pc: snapshot.pc.0,
                is_return: snapshot.in_system_call,
            },
            zones: snapshot.memory.iter().map(words).collect(),
            mappings: snapshot.mappings.iter().map(|mapped| Mapping::of(mapped, machine)).collect(),
        }
    }

    /// Walks, with some memory unreadable.
    pub fn run(&self, unreadable: &[Range<u64>]) -> Replayed {
        let memory = Recorded { zones: &self.zones, unreadable, asked: RefCell::default() };
        let (frames, outcome) = self.start.walk(&memory, |pc| self.lookup(pc));
        let asked = memory.asked.into_inner();
        let hit = unreadable.iter().map(|range| asked.iter().any(|&address| touches(range, address)));
        Replayed { frames, outcome, hit: hit.collect(), asked }
    }

    /// `<address> <object>+<own address>` of each of a walk's frames.
    pub fn places(&self, frames: &[u64]) -> Vec<String> {
        let place = |(index, &address): (usize, &u64)| {
            let in_call = address.wrapping_sub(u64::from(index > 0 || self.start.is_return));
            match self.mappings.iter().find(|mapping| mapping.range.contains(&in_call)) {
                Some(mapping) => {
                    format!("{address:#x} {}+{:#x}", mapping.object, address.wrapping_add(mapping.delta))
                }
                None => format!("{address:#x} ?"),
            }
        };
        frames.iter().enumerate().map(place).collect()
    }

    /// The word at an address, where it was recorded; `address` is a multiple of 8.
    pub fn word(&self, address: u64) -> Option<u64> {
        self.zones.iter().find_map(|(start, words)| words.get(index(*start, address)?).copied())
    }

    /// Puts another word there.
    pub fn set(&mut self, address: u64, value: u64) {
        for (start, words) in &mut self.zones {
            if let Some(word) = index(*start, address).and_then(|index| words.get_mut(index)) {
                *word = value;
            }
        }
    }

    fn lookup(&self, pc: u64) -> Lookup {
        let Some(mapping) = self.mappings.iter().find(|mapping| mapping.range.contains(&pc)) else {
            return Lookup::Unmapped;
        };
        if mapping.frame_pointers {
            return Lookup::FramePointer;
        }
        let own = pc.wrapping_add(mapping.delta);
        let rule = mapping.rules.iter().find(|(range, _)| range.contains(&own));
        Lookup::Rule(rule.map_or(Rule::GAP, |(_, rule)| *rule))
    }
}

impl Mapping {
    fn of(mapped: &Mapped, machine: Machine) -> Mapping {
        let decode = |(range, text): (&String, &String)| {
            let range = parse_range(range).unwrap_or_else(|| panic!("{range:?} is no range of addresses"));
            (range, rule::parse(text, machine).unwrap_or_else(|| panic!("{text:?} is no rule")))
        };
        Mapping {
            object: mapped.object.clone(),
            range: mapped.start.0..mapped.end.0,
            delta: mapped.delta.0,
            frame_pointers: mapped.frame_pointers,
            rules: mapped.rules.iter().map(decode).collect(),
        }
    }
}

/// The index of the word in which an address lies, in a zone that starts at `start`.
fn index(start: u64, address: u64) -> Option<usize> {
    usize::try_from(address.checked_sub(start)? / 8).ok()
}

fn words(zone: &Zone) -> (u64, Vec<u64>) {
    let start = zone.start.0;
    let mut words = vec![0; usize::try_from((zone.end.0 - start) / 8).unwrap()];
    for (address, line) in &zone.words {
        let first = usize::try_from((address.0 - start) / 8).unwrap();
        for (place, word) in words[first..].iter_mut().zip(line.split(' ')) {
            *place = parse_hex(word).unwrap_or_else(|| panic!("{word:?} is no hexadecimal number"));
        }
    }
    (start, words)
}

/// The memory of a snapshot, which notes what is asked for.
struct Recorded<'a> {
    zones: &'a [(u64, Vec<u64>)],
    unreadable: &'a [Range<u64>],
    asked: RefCell<Vec<u64>>,
}

/// Whether a word lies in a range, in whole or in part.
fn touches(range: &Range<u64>, address: u64) -> bool {
    range.start < address.saturating_add(8) && address < range.end
}

impl Memory for Recorded<'_> {
    fn read_word(&self, address: u64) -> Option<u64> {
        self.asked.borrow_mut().push(address);
        if self.unreadable.iter().any(|range| touches(range, address)) {
            return None;
        }
        self.zones.iter().find_map(|(start, words)| {
            let index = index(*start, address)?;
            let low = *words.get(index)?;
            // An address that corruption made odd is read as the kernel reads it: across two words.
            match (address - start) % 8 * 8 {
                0 => Some(low),
                shift => Some(low >> shift | words.get(index + 1)? << (64 - shift)),
            }
        })
    }

    fn read_pair(&self, address: u64) -> Option<[u64; 2]> {
        Some([self.read_word(address)?, self.read_word(address.checked_add(8)?)?])
    }
}
