//! Executable mappings as the side-band tells them, with each file named once.

use std::{collections::HashMap, sync::Arc};

use super::{
    maps::MapsLine,
    overlay::{Span, overlay},
};
use crate::capture::sideband::Map;

/// Most mappings of one image. More make it unknown, and /proc is asked.
const MAX_RANGES: usize = 4096;
/// Most mappings of all images, as far as they are not shared: 32 MiB.
const MAX_RANGES_TOTAL: usize = 1 << 20;

/// A mapped file, or a kind of memory without one.
#[derive(Debug, PartialEq, Eq)]
struct File {
    device: (u32, u32),
    inode: u64,
    path: Box<[u8]>,
}

/// An executable mapping.
#[derive(Clone, Debug)]
pub(super) struct Range {
    pub(super) start: u64,
    pub(super) end: u64,
    offset: u64,
    file: Arc<File>,
}

/// The mappings of an image, by address.
pub(super) type Ranges = Vec<Range>;

impl Range {
    /// The mapping as /proc/PID/maps would show it.
    pub(super) fn line(&self) -> MapsLine<'_> {
        MapsLine {
            start: self.start,
            end: self.end,
            executable: true,
            offset: self.offset,
            device: self.file.device,
            inode: self.file.inode,
            path: &self.file.path,
        }
    }

    /// Whether there is a file.
    pub(super) fn is_file(&self) -> bool {
        self.file.inode != 0
    }
}

impl Span for Range {
    fn start(&self) -> u64 {
        self.start
    }

    fn end(&self) -> u64 {
        self.end
    }

    fn part(&self, start: u64, end: u64) -> Self {
        let offset = if self.is_file() { self.offset.wrapping_add(start - self.start) } else { 0 };
        Self { start, end, offset, file: Arc::clone(&self.file) }
    }
}

/// The files that are mapped somewhere.
#[derive(Debug, Default)]
pub(super) struct Files {
    by_inode: HashMap<((u32, u32), u64), Arc<File>>,
    /// The last memory without a file: nearly all of it has the same name.
    nameless: Option<Arc<File>>,
    pruned: usize,
    /// Upper bound of the ranges that are kept.
    ranges: usize,
}

impl Files {
    /// A mapping from a record.
    pub(super) fn range(&mut self, map: &Map<'_>) -> Range {
        // What the kernel calls memory without a file; /proc leaves its name empty (perf_event_mmap_event).
        let path = if map.filename == b"//anon" { b"" } else { map.filename };
        let offset = if map.ino == 0 { 0 } else { map.pgoff };
        let make = || Arc::new(File { device: map.device, inode: map.ino, path: path.into() });
        let file = if map.ino == 0 {
            self.nameless.take().filter(|file| *file.path == *path).unwrap_or_else(make)
        } else {
            let known = self.by_inode.entry((map.device, map.ino)).or_insert_with(make);
            if *known.path != *path {
                *known = make();
            }
            Arc::clone(known)
        };
        if map.ino == 0 {
            self.nameless = Some(Arc::clone(&file));
        }
        Range { start: map.addr, end: map.addr.saturating_add(map.len), offset, file }
    }

    /// Adds a mapping to those of an image, which then shares them with no other; `false` where there are too many.
    pub(super) fn add(&mut self, ranges: &mut Arc<Ranges>, new: &Range) -> bool {
        // Some runtimes make the same code writable and executable again all the time.
        let at = ranges.partition_point(|old| old.end <= new.start);
        if ranges.get(at).is_some_and(|old| {
            (old.start, old.end, old.offset) == (new.start, new.end, new.offset) && old.file == new.file
        }) {
            return true;
        }
        let copied = if Arc::strong_count(ranges) > 1 { ranges.len() } else { 0 };
        if ranges.len() >= MAX_RANGES || self.ranges + copied >= MAX_RANGES_TOTAL {
            return false;
        }
        self.ranges += copied + 1;
        overlay(Arc::make_mut(ranges), new.clone());
        true
    }

    /// Ends a window, at the end of which this many ranges are kept.
    pub(super) fn end_window(&mut self, ranges: usize) {
        self.ranges = ranges;
        if self.by_inode.len() > 2 * self.pruned + 256 {
            self.by_inode.retain(|_, file| Arc::strong_count(file) > 1);
            self.pruned = self.by_inode.len();
            self.by_inode.shrink_to(2 * self.pruned);
        }
    }
}
