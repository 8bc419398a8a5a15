//! The two maps that unwind tables are written to: the pool and the table of rules.

use std::{
    collections::HashMap,
    hash::{BuildHasherDefault, Hasher},
};

use profiler_common::{
    hash,
    unwind::{
        pool::{DirectoryHeader, ELEMENT_BYTES, MAX_RULES, MappingEntry, PageEntry, UNIT_BYTES},
        rule::Rule,
    },
};

use super::extents::{Extent, Extents};
use crate::sys::shared::SharedArray;

/// Words that the kernel side reads while they are written.
pub trait Words: Send {
    /// The word at an index.
    fn load(&self, index: usize) -> u64;
    /// Sets the word at an index, after everything that was set before.
    fn store(&mut self, index: usize, value: u64);
}

impl Words for SharedArray {
    fn load(&self, index: usize) -> u64 {
        SharedArray::load(self, index)
    }

    fn store(&mut self, index: usize, value: u64) {
        SharedArray::store(self, index, value);
    }
}

/// Words in a unit.
const UNIT_WORDS: usize = UNIT_BYTES / 8;

/// The pool: who has which room is known here, what it is used for is not.
pub(super) struct Pool<W> {
    words: W,
    units: u64,
    extents: Extents,
    /// Room that the kernel side may still look at.
    limbo: Vec<Extent>,
}

impl<W: Words> Pool<W> {
    pub(super) fn new(words: W, bytes: usize) -> Self {
        let elements = u32::try_from(bytes / ELEMENT_BYTES).unwrap_or(u32::MAX);
        let extents = Extents::new(elements);
        Self { words, units: extents.free_units(), extents, limbo: Vec::new() }
    }

    /// Takes room; `None` where there is none.
    pub(super) fn take(&mut self, bytes: usize) -> Option<Extent> {
        self.extents.take(bytes)
    }

    /// Lets go of room that the kernel side may still look at. It can be taken again after [`Pool::reclaim`].
    pub(super) fn release(&mut self, extent: Extent) {
        self.limbo.push(extent);
    }

    /// Whether [`Pool::reclaim`] would free anything.
    pub(super) fn has_limbo(&self) -> bool {
        !self.limbo.is_empty()
    }

    /// Frees what was let go of. Call it after a grace period that began after the last release.
    pub(super) fn reclaim(&mut self) {
        for extent in self.limbo.drain(..) {
            self.extents.give(extent);
        }
    }

    /// All units.
    pub(super) fn units(&self) -> u64 {
        self.units
    }

    /// Free units, without those in limbo.
    pub(super) fn free_units(&self) -> u64 {
        self.extents.free_units()
    }

    /// Writes a process's mappings.
    pub(super) fn write_mappings(&mut self, extent: Extent, mappings: &[MappingEntry]) {
        let mut index = extent.unit as usize * UNIT_WORDS;
        for mapping in mappings {
            let last = u64::from(mapping.how) << 32 | u64::from(mapping.directory);
            let [reserved0, reserved1] = mapping.reserved;
            let check = [mapping.check_at, mapping.check, reserved0, reserved1];
            for word in [mapping.start, mapping.end, mapping.delta, last].into_iter().chain(check) {
                self.words.store(index, word);
                index += 1;
            }
        }
    }

    /// Writes the directory of an object none of whose pages are loaded.
    pub(super) fn write_directory(&mut self, extent: Extent, header: DirectoryHeader) {
        let start = extent.unit as usize * UNIT_WORDS;
        self.words.store(start, header.first_page);
        self.words.store(start + 1, header.pages);
        for index in start + UNIT_WORDS..start + extent.units as usize * UNIT_WORDS {
            self.words.store(index, 0);
        }
    }

    /// Writes rows, packed as [`Row`](profiler_common::unwind::rule::Row) lies in memory.
    pub(super) fn write_rows(&mut self, extent: Extent, rows: &[(u16, u16)]) {
        let start = extent.unit as usize * UNIT_WORDS;
        for (index, pair) in rows.chunks(2).enumerate() {
            let row = |&(offset, rule): &(u16, u16)| u64::from(rule) << 16 | u64::from(offset);
            let word = pair.first().map_or(0, row) | pair.get(1).map_or(0, row) << 32;
            self.words.store(start + index, word);
        }
    }

    /// Rows that were written.
    pub(super) fn rows(&self, extent: Extent, count: usize) -> impl Iterator<Item = (u16, u16)> {
        (0..count).map(move |index| {
            let row = self.row(extent, index);
            (row as u16, (row >> 16) as u16)
        })
    }

    fn row(&self, extent: Extent, index: usize) -> u32 {
        let word = self.words.load(extent.unit as usize * UNIT_WORDS + index / 2);
        (if index.is_multiple_of(2) { word } else { word >> 32 }) as u32
    }

    /// The rule number of the last of `count` rows that does not lie behind `offset`.
    pub(super) fn find_row(&self, extent: Extent, count: usize, offset: u16) -> Option<u16> {
        let row = |index: usize| self.row(extent, index);
        let (mut first, mut last) = (0, count);
        while last - first > 1 {
            let middle = first.midpoint(last);
            if row(middle) as u16 <= offset { first = middle } else { last = middle }
        }
        (count > 0).then(|| (row(first) >> 16) as u16)
    }

    /// Shows the kernel side a page's rows, or hides them again.
    pub(super) fn set_page(&mut self, directory: u32, page: u32, place: u64) {
        self.words.store(page_index(directory, page), place);
    }

    /// The window in which a sample last used a page, its low 32 bits.
    pub(super) fn page_used(&self, directory: u32, page: u32) -> u32 {
        self.words.load(page_index(directory, page) + 1) as u32
    }
}

/// Index of a page's entry, behind the directory's header.
fn page_index(directory: u32, page: u32) -> usize {
    const _: () = assert!(size_of::<PageEntry>() == UNIT_BYTES && size_of::<DirectoryHeader>() == UNIT_BYTES);
    (directory as usize + 1 + page as usize) * UNIT_WORDS
}

/// A rule as it lies in memory.
fn packed(rule: Rule) -> (u64, u64) {
    let Rule { kind, cfa_register, fp, fp_register, ra, ra_register, cfa_add, cfa_offset, fp_offset } = rule;
    let [a0, a1] = cfa_add.to_ne_bytes();
    let first = [kind, cfa_register, fp, fp_register, ra, ra_register, a0, a1];
    let ([c0, c1, c2, c3], [f0, f1, f2, f3]) = (cfa_offset.to_ne_bytes(), fp_offset.to_ne_bytes());
    (u64::from_ne_bytes(first), u64::from_ne_bytes([c0, c1, c2, c3, f0, f1, f2, f3]))
}

/// Every row of every table asks for the number of its rule, and the standard library's hash took a seventh of the time
/// of building tables. Files that make it collide gain little: there is room for some thousand rules.
#[derive(Default)]
struct RuleHasher(u64);

impl Hasher for RuleHasher {
    fn finish(&self) -> u64 {
        self.0
    }

    fn write(&mut self, bytes: &[u8]) {
        for &byte in bytes {
            self.write_u64(byte.into());
        }
    }

    fn write_u64(&mut self, word: u64) {
        self.0 = hash::mix(self.0, word);
    }
}

/// All rules that occur, by number. They are few and never forgotten; what does not fit counts as unsupported.
pub(super) struct Rules<W> {
    words: W,
    numbers: HashMap<(u64, u64), u16, BuildHasherDefault<RuleHasher>>,
    by_number: Vec<Rule>,
}

/// Number of [`Rule::GAP`].
const GAP: u16 = 0;
/// Number of [`Rule::UNSUPPORTED`].
const UNSUPPORTED: u16 = 1;

impl<W: Words> Rules<W> {
    pub(super) fn new(words: W) -> Self {
        let mut rules = Self { words, numbers: HashMap::default(), by_number: Vec::new() };
        debug_assert_eq!(rules.number(Rule::GAP), GAP);
        rules.number(Rule::UNSUPPORTED);
        rules
    }

    /// The number of a rule.
    pub(super) fn number(&mut self, rule: Rule) -> u16 {
        let words = packed(rule);
        if let Some(&number) = self.numbers.get(&words) {
            return number;
        }
        let new = self.numbers.len();
        if new >= MAX_RULES {
            return UNSUPPORTED;
        }
        self.words.store(new * 2, words.0);
        self.words.store(new * 2 + 1, words.1);
        let number = new as u16;
        self.numbers.insert(words, number);
        self.by_number.push(rule);
        number
    }

    /// The rule of this number.
    pub(super) fn get(&self, number: u16) -> Rule {
        self.by_number.get(usize::from(number)).copied().unwrap_or(Rule::UNSUPPORTED)
    }

    /// Whether there is no number left for another rule.
    pub(super) fn is_full(&self) -> bool {
        self.numbers.len() >= MAX_RULES
    }

    /// Number of distinct rules.
    pub(super) fn len(&self) -> usize {
        self.numbers.len()
    }
}
