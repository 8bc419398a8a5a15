//! How unwind tables lie in the table pool, which the kernel side reads and user space writes.
//!
//! The pool is an array of large [elements](ELEMENT_BYTES). Everything in it is found by a *unit*: the number of the
//! 16 bytes that it starts at. Nothing crosses an element. There are three kinds of things:
//!
//! - the executable mappings of a process: [`MappingEntry`] after [`MappingEntry`], sorted by address;
//! - the directory of an object: a [`DirectoryHeader`], then a [`PageEntry`] for each page of its code;
//! - the rows of a page: [`Row`](super::rule::Row) after [`Row`](super::rule::Row), sorted by offset.

/// Bytes of an element of the pool: an array map's value, which kernels before 5.14 limit to 4 MiB.
pub const ELEMENT_BYTES: usize = 1 << 20;
/// Bytes of a unit.
pub const UNIT_BYTES: usize = 16;
/// Units in an element.
pub const ELEMENT_UNITS: u32 = (ELEMENT_BYTES / UNIT_BYTES) as u32;
/// Rules in the table of rules. A page's rules are numbers below this.
pub const MAX_RULES: usize = 1 << 14;
/// Most mappings that a process may have: what fits into an element.
pub const MAX_MAPPINGS: usize = ELEMENT_BYTES / size_of::<MappingEntry>();

/// One element of the pool.
pub type Element = [u64; ELEMENT_BYTES / 8];

/// How code of a mapping is unwound.
pub mod how {
    /// By the rows of the mapping's directory.
    pub const ROWS: u32 = 0;
    /// Along the chain of frame pointers: generated code.
    pub const FRAME_POINTER: u32 = 1;
    /// Along the chain of frame pointers, for want of rows: what is found may lack frames.
    pub const NO_ROWS: u32 = 2;
}

/// An executable mapping of a process; four units.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[repr(C)]
pub struct MappingEntry {
    /// First address.
    pub start: u64,
    /// First address behind.
    pub end: u64,
    /// What is added (wrapping) to an address to get the object's own.
    pub delta: u64,
    /// Unit of the object's directory.
    pub directory: u32,
    /// One of [`how`].
    pub how: u32,
    /// Where the process has `check` in its memory while the mapping is what it was; 0 where that is not looked at.
    pub check_at: u64,
    /// The first bytes of the object's build-id.
    pub check: u64,
    /// Zero: makes the size a power of two.
    pub reserved: [u64; 2],
}

/// Start of a directory; one unit.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[repr(C)]
pub struct DirectoryHeader {
    /// Number of the first page: the object's own address, shifted right by [`PAGE_SHIFT`](super::rule::PAGE_SHIFT).
    pub first_page: u64,
    /// Number of pages.
    pub pages: u64,
}

/// A page of an object's code; one unit.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[repr(C)]
pub struct PageEntry {
    /// Where the rows are, packed into one word so that it changes at once: see [`PageEntry::unpack`].
    pub place: u64,
    /// The window in which a sample last used the page, its low 32 bits. Written by the kernel side.
    pub used: u32,
    /// The window in which the page was last asked for, plus one. Written by the kernel side.
    pub asked: u32,
}

impl PageEntry {
    /// The word for rows that start at `unit`; `count` is 1 to 65,536.
    #[inline(always)]
    #[must_use]
    pub const fn pack(unit: u32, count: u32) -> u64 {
        1 << 48 | (count.wrapping_sub(1) as u64 & 0xffff) << 32 | unit as u64
    }

    /// Unit and number of the rows that a word stands for; `None` where the page is not loaded.
    #[inline(always)]
    #[must_use]
    pub const fn unpack(place: u64) -> Option<(u32, u32)> {
        if place >> 48 == 0 {
            return None;
        }
        Some((place as u32, (place >> 32) as u16 as u32 + 1))
    }
}

/// Value of the map from processes to their mappings.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[repr(C)]
pub struct ProcessTable {
    /// Unit of the first [`MappingEntry`].
    pub mappings: u32,
    /// Number of mappings.
    pub count: u32,
    /// Which of the process's lists of mappings this is.
    pub generation: u32,
    /// What else there is to know: [`process_flags`].
    pub flags: u32,
    /// When the kernel side last asked for a refresh, nanoseconds of CLOCK_MONOTONIC.
    pub asked_ns: u64,
}

/// Bits of [`ProcessTable::flags`].
pub mod process_flags {
    /// Stacks that are copied out need not be copied whole, because the frames end far before the memory does: stacks on a
    /// heap have no end that can be seen.
    pub const SHALLOW: u32 = 1;
    /// The process is not to be sampled.
    pub const EXCLUDED: u32 = 2;
    /// User space found the process by itself, before it was announced: it wants to hear of it still.
    pub const UNANNOUNCED: u32 = 4;
}

const _: () = assert!(size_of::<MappingEntry>() == 4 * UNIT_BYTES);
const _: () = assert!(size_of::<DirectoryHeader>() == UNIT_BYTES && size_of::<PageEntry>() == UNIT_BYTES);
const _: () = assert!(size_of::<ProcessTable>() == 24);

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn places_round_trip() {
        assert_eq!(PageEntry::unpack(0), None);
        for (unit, count) in [(0, 1), (7, 65_536), (u32::MAX, 300)] {
            assert_eq!(PageEntry::unpack(PageEntry::pack(unit, count)), Some((unit, count)));
        }
    }
}
