//! What a process has mapped, by address.

use std::sync::{Arc, atomic::Ordering};

use super::{identity::Identity, object::Object, overlay::Span};

/// Most mappings of a process that are learned one by one; beyond, /proc is read where something is missing.
pub(super) const MAX_MAPPINGS: usize = 1 << 16;

/// What an executable range shows.
#[derive(Clone, Debug)]
pub enum Area {
    /// A file, or the vDSO.
    Object(Arc<Object>),
    /// Memory without a file: generated code. The name is in brackets.
    Anonymous(String),
}

/// An executable range of a process.
#[derive(Clone, Debug)]
pub struct Mapping {
    /// First address.
    pub start: u64,
    /// First address behind.
    pub end: u64,
    /// Offset in the file, bytes.
    pub offset: u64,
    /// What is there.
    pub area: Area,
}

/// A process with one program image.
#[derive(Clone, Debug, Default)]
pub struct Process {
    /// Its name: that of its leading thread.
    pub name: String,
    /// Id of its cgroup in the unified hierarchy; 0 where it is not known.
    pub cgroup_id: u64,
    /// Its service, container and such.
    pub identity: Arc<Identity>,
    /// Whether the kernel side has announced it: until then it may tell more of it than is known.
    pub announced: bool,
    /// Executable ranges by address; empty where the process was gone before anyone could look.
    pub mappings: Vec<Mapping>,
    /// Index of the main binary in `mappings`.
    pub main: Option<usize>,
    /// Number of this list of mappings. It stays the same while addresses are only added: another number means that an
    /// address may mean something else. Not 0.
    pub generation: u32,
}

impl Span for Mapping {
    fn start(&self) -> u64 {
        self.start
    }

    fn end(&self) -> u64 {
        self.end
    }

    fn part(&self, start: u64, end: u64) -> Self {
        let offset = match self.area {
            Area::Object(_) => self.offset.wrapping_add(start - self.start),
            Area::Anonymous(_) => self.offset,
        };
        Self { start, end, offset, area: self.area.clone() }
    }
}

impl Process {
    /// The index of the range that an address lies in.
    #[must_use]
    pub fn find(&self, address: u64) -> Option<usize> {
        let index = self.mappings.partition_point(|mapping| mapping.end <= address);
        self.mappings.get(index).filter(|mapping| mapping.start <= address).map(|_| index)
    }

    /// Whether a file that it has mapped could not be opened or read for a reason that may have passed.
    #[must_use]
    pub fn was_refused(&self) -> bool {
        self.mappings.iter().any(
            |mapping| matches!(&mapping.area, Area::Object(object) if object.refused.load(Ordering::Relaxed)),
        )
    }
}

/// Where a mapping with this index starts.
pub(super) fn start_of(mappings: &[Mapping], index: Option<usize>) -> Option<u64> {
    index.and_then(|index| mappings.get(index)).map(|mapping| mapping.start)
}

/// The index of the mapping that starts there.
pub(super) fn index_of(mappings: &[Mapping], start: Option<u64>) -> Option<usize> {
    start.and_then(|start| mappings.iter().position(|mapping| mapping.start == start))
}

/// Whether a mapping lies where another object was.
pub(super) fn displaces(new: &Mapping, old: &[Mapping]) -> bool {
    let first = old.partition_point(|mapping| mapping.end <= new.start);
    let at_its_place = old.get(first..).unwrap_or_default().iter().take_while(|old| old.start < new.end);
    at_its_place.into_iter().any(|old| match (&old.area, &new.area) {
        (Area::Object(old), Area::Object(new)) => old.id != new.id,
        (Area::Object(_), Area::Anonymous(_)) => true,
        (Area::Anonymous(_), _) => false,
    })
}

/// What is mapped now, with what is gone: that may still be what this window's samples hit. Both are sorted and free of
/// overlap. Where there are too many of them only those remain that are mapped.
pub(super) fn with_gone(mut now: Vec<Mapping>, before: Vec<Mapping>) -> Vec<Mapping> {
    if now.len() + before.len() > 2 * MAX_MAPPINGS {
        return now;
    }
    let mut at = 0;
    let mut gone = before;
    gone.retain(|old| {
        while now.get(at).is_some_and(|new| new.end <= old.start) {
            at += 1;
        }
        now.get(at).is_none_or(|new| new.start >= old.end)
    });
    now.extend(gone);
    now.sort_by_key(|mapping| mapping.start);
    now
}
