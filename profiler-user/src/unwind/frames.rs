//! One section of call-frame information, and how to find the frame descriptions of a piece of code in it.

use std::{collections::HashMap, ops::Range, sync::Arc};

use profiler_common::unwind::rule::Rule;

use super::{
    Error, Result,
    arch::Arch,
    bytes::Bytes,
    cfi::{Cie, Dialect, Fde, Head, Kind, LONGEST_HEAD},
    execute,
    header::SearchTable,
    steps::Steps,
};

/// Bytes of a CIE; real ones have some tens.
const MOST_CIE_BYTES: u64 = 4 << 10;
/// CIEs that are kept at a time. A file has as many as its compilers used options; linkers merge equal ones.
const MOST_CIES: usize = 1 << 10;
/// Bytes of instructions that one call may run; code of one page has some thousands.
const MOST_INSTRUCTION_BYTES: u64 = 8 << 20;
/// Bytes that one call may fetch. CIEs may lie far from their frame descriptions.
const MOST_FETCHED_BYTES: u64 = 256 << 20;
/// Records that are looked at to find a frame description that is not of an empty function. LLVM 22 has 20 such in a row.
const MOST_AT_ONE_START: usize = 64;
/// Bytes of a section without a search table.
const MOST_INDEXED_BYTES: u64 = 1 << 30;
/// Frame descriptions of a section without a search table: 32 MiB of index.
const MOST_INDEXED: usize = 2 << 20;

/// A section of call-frame information.
#[derive(Debug)]
pub(super) struct Frames {
    arch: Arch,
    bytes: Bytes,
    /// Address of the first byte.
    address: u64,
    dialect: Dialect,
    search: Search,
    /// By place; `None` for those that cannot be understood.
    cies: HashMap<u64, Option<Arc<Cie>>>,
}

/// How frame descriptions are found.
#[derive(Debug)]
enum Search {
    /// By the linker's table.
    Table(SearchTable),
    /// By an index of our own, once it is needed.
    Index(Option<Vec<Entry>>),
}

/// A frame description in the index.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
struct Entry {
    start: u64,
    /// Place in the section; with four bytes sections of 4 GiB can be indexed.
    at: u32,
    length: u32,
}

impl Frames {
    /// A section at an address, with the linker's search table where there is one.
    pub(super) fn new(
        arch: Arch,
        bytes: Bytes,
        address: u64,
        dialect: Dialect,
        table: Option<SearchTable>,
    ) -> Self {
        let search = table.map_or(Search::Index(None), Search::Table);
        Self { arch, bytes, address, dialect, search, cies: HashMap::new() }
    }

    /// The rules in a window of addresses, gaps included.
    pub(super) fn rules(&mut self, window: &Range<u64>) -> Result<Steps> {
        let mut steps = Steps::default();
        steps.push(window.start, Rule::GAP);
        let mut left = MOST_INSTRUCTION_BYTES;
        let fdes = self.find(window)?;
        for (index, fde) in fdes.iter().enumerate() {
            // Where descriptions overlap the later start counts, as it does for the search in libgcc.
            let next = fdes.get(index + 1).map_or(window.end, |next| next.code.start);
            let shown = fde.code.start.max(window.start)..fde.code.end.min(next).min(window.end);
            if shown.is_empty() {
                continue;
            }
            let len = fde.instructions.end - fde.instructions.start;
            left = left.checked_sub(len).ok_or(Error::TooLarge("call-frame information"))?;
            let address = self.address.wrapping_add(fde.instructions.start);
            let len = usize::try_from(len).map_err(|_| Error::TooLarge("call-frame information"))?;
            match self.bytes.read(fde.instructions.start, len) {
                Ok(instructions) => execute::rules(fde, instructions, address, &shown, &mut steps),
                Err(Error::Damaged(_)) => steps.push(shown.start, Rule::UNSUPPORTED),
                Err(error) => return Err(error),
            }
            steps.push(shown.end, Rule::GAP);
        }
        self.bytes.release();
        Ok(steps)
    }

    /// The frame descriptions that reach into a window, in rising order of their starts, no two with the same.
    fn find(&mut self, window: &Range<u64>) -> Result<Vec<Fde>> {
        let candidates: Vec<(u64, u64)> = match &mut self.search {
            Search::Table(table) => {
                let place = |(start, at): (u64, u64)| (start, at.wrapping_sub(self.address));
                table.find(window)?.into_iter().map(place).collect()
            }
            Search::Index(index) => {
                let index = match index.take() {
                    Some(index) => index,
                    None => self.index()?,
                };
                let after = index.partition_point(|entry| entry.start <= window.start);
                let reaching = index.iter().skip(after.saturating_sub(1));
                let found = reaching
                    .take_while(|entry| entry.start < window.end)
                    .map(|entry| (entry.start, entry.at.into()))
                    .collect();
                self.search = Search::Index(Some(index));
                found
            }
        };
        self.bytes.allow(MOST_FETCHED_BYTES);
        let mut fdes: Vec<Fde> = Vec::new();
        for (start, at) in candidates {
            // What is damaged, empty or not where the table says is left out: a gap.
            let Some(fde) = self.fde_at(at, start)? else {
                continue;
            };
            match fdes.last_mut() {
                Some(last) if last.code.start > start => {}
                Some(last) if last.code.start == start => *last = fde,
                _ => fdes.push(fde),
            }
        }
        Ok(fdes)
    }

    /// All frame descriptions by their starts. Damage ends the list: the next record cannot be found.
    fn index(&mut self) -> Result<Vec<Entry>> {
        if self.bytes.len() > MOST_INDEXED_BYTES {
            return Err(Error::TooLarge("call-frame information"));
        }
        let mut index = Vec::new();
        let mut at = 0;
        self.bytes.allow(4 * self.bytes.len() + MOST_FETCHED_BYTES);
        while let Some(head) = self.head_at(at)? {
            match head.kind {
                Kind::End => break,
                Kind::Cie => {}
                Kind::Fde { cie } => {
                    if let Some(fde) = self.fde(&head, cie)?
                        && let Ok(at) = u32::try_from(at)
                        && let Ok(length) = u32::try_from(fde.code.end - fde.code.start)
                        && length > 0
                    {
                        if index.len() == MOST_INDEXED {
                            return Err(Error::TooLarge("number of functions"));
                        }
                        index.push(Entry { start: fde.code.start, at, length });
                    }
                }
            }
            at = head.end;
        }
        index.sort_unstable();
        index.shrink_to_fit();
        Ok(index)
    }

    /// The frame description at a place, if it is that of code at `start`.
    ///
    /// lld lists one description of each address only, the first (ELF/SyntheticSections.cpp), even where that is of an
    /// empty function and those of the code proper come after it.
    fn fde_at(&mut self, mut at: u64, start: u64) -> Result<Option<Fde>> {
        for _ in 0..MOST_AT_ONE_START {
            let Some(head) = self.head_at(at)? else {
                break;
            };
            match head.kind {
                Kind::End => break,
                Kind::Cie => {}
                Kind::Fde { cie } => match self.fde(&head, cie)? {
                    Some(fde) if fde.code.start != start => break,
                    Some(fde) if !fde.code.is_empty() => return Ok(Some(fde)),
                    Some(_) => {}
                    None => break,
                },
            }
            at = head.end;
        }
        Ok(None)
    }

    fn head_at(&mut self, at: u64) -> Result<Option<Head>> {
        let bytes = self.bytes.read_up_to(at, LONGEST_HEAD)?;
        Ok(Head::parse(bytes, at, self.dialect).filter(|head| head.end <= self.bytes.len()))
    }

    fn fde(&mut self, head: &Head, cie: u64) -> Result<Option<Fde>> {
        let Some(cie) = self.cie_at(cie)? else {
            return Ok(None);
        };
        let len = (head.end - head.body).min(Fde::FIXED);
        let body = self.bytes.read_up_to(head.body, len as usize)?;
        Ok(Fde::parse(body, self.address.wrapping_add(head.body), head, cie))
    }

    fn cie_at(&mut self, at: u64) -> Result<Option<Arc<Cie>>> {
        if let Some(known) = self.cies.get(&at) {
            return Ok(known.clone());
        }
        let cie = match self.head_at(at)? {
            Some(Head { kind: Kind::Cie, body, end }) if end - body <= MOST_CIE_BYTES => {
                let address = self.address.wrapping_add(body);
                let bytes = self.bytes.read_up_to(body, (end - body) as usize)?;
                Cie::parse(bytes, address, self.dialect, self.arch).map(Arc::new)
            }
            _ => None,
        };
        if self.cies.len() == MOST_CIES {
            self.cies.clear();
        }
        self.cies.insert(at, cie.clone());
        Ok(cie)
    }
}
