//! Unwind rules and rows: what the tables in the kernel consist of.
//!
//! A table covers code by *pages* of [`PAGE_BYTES`] of an object's own addresses. A page is a sorted list of
//! [rows](Row); a row says which [rule](Rule) holds from its address up to the next row's. Rules are few (some
//! thousands for a whole host), rows are many, so a row names its rule by number and takes four bytes.

/// Bytes of code that one page of rows covers.
pub const PAGE_BYTES: u64 = 1 << PAGE_SHIFT;
/// Binary logarithm of [`PAGE_BYTES`].
pub const PAGE_SHIFT: u32 = 16;

/// One row of a page. The first row of a page has offset 0, so every address in the page has a row.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
#[repr(C)]
pub struct Row {
    /// Distance of the first address from the page's, bytes.
    pub offset: u16,
    /// Index of the rule in the table of rules.
    pub rule: u16,
}

/// How far from the place in proportion a row is looked for at first, in rows: 192 bytes on the whole.
const NEAR: u64 = 24;

/// The last of `count` rows that does not lie behind `offset`, which is less than [`PAGE_BYTES`]; `row` gives them by their
/// index. `None` where it gives none.
///
/// Rows are found when nothing of them is in the caches, and each place that is looked at costs more than all that is
/// computed. Functions and their rows are spread evenly enough, as a rule, that the row lies near the place in proportion:
/// then the search stays within a few cache lines, where halving the whole page would visit one after the other.
#[inline(always)]
pub fn find_row(count: u64, offset: u64, row: impl Fn(u64) -> Option<Row>) -> Option<Row> {
    let (mut base, mut count) = (0, count);
    let near = (offset * count) >> PAGE_SHIFT;
    let (low, high) = (near.saturating_sub(NEAR), near + NEAR);
    if high < count && u64::from(row(high)?.offset) > offset {
        count = high;
    }
    if low > 0 && u64::from(row(low)?.offset) <= offset {
        base = low;
        count -= low;
    }
    // A page has 2^16 rows at the most.
    for _ in 0..16 {
        if count <= 1 {
            break;
        }
        let half = count / 2;
        if u64::from(row(base + half)?.offset) <= offset {
            base += half;
        }
        count -= half;
    }
    row(base)
}

/// What to do at an instruction. `u8` on both sides of the kernel boundary, so a value that is no variant is noise from
/// outside and not undefined behaviour.
pub mod kind {
    /// No rule is known here: a gap between functions. Index 0 of every table of rules is such a rule.
    pub const GAP: u8 = 0;
    /// The return address is undefined: this frame is the thread's first.
    pub const END: u8 = 1;
    /// There is a rule, but not one that can be expressed here.
    pub const UNSUPPORTED: u8 = 2;
    /// The code keeps a chain of frame pointers.
    pub const FRAME_POINTER: u8 = 3;
    /// The code returns from a signal handler: the interrupted registers are in the frame.
    pub const SIGNAL: u8 = 4;
    /// An entry of a procedure linkage table: CFA = sp + 8, and 8 more where the low four bits of pc are at least
    /// `cfa_add` (what linkers write as an expression over rip).
    pub const PLT: u8 = 5;
    /// CFA = register + `cfa_offset`.
    pub const OFFSET: u8 = 6;
    /// CFA = the word at (register + `cfa_offset`) + `cfa_add`.
    pub const DEREF: u8 = 7;
    /// Behind the system call that makes a thread: in the new thread (rax is 0) the frame is the first, in the other it is
    /// as after a call.
    pub const CLONE: u8 = 8;
    /// The code has changed stacks, and its frame pointer leads to the frame on the stack that it left, wherever that lies.
    pub const OTHER_STACK: u8 = 9;
}

/// How the caller's frame pointer is found.
pub mod fp {
    /// It is what it was: no rule means unchanged.
    pub const UNCHANGED: u8 = 0;
    /// It was saved at CFA + `fp_offset`.
    pub const AT_CFA: u8 = 1;
    /// It was saved at `fp_register` + `fp_offset`.
    pub const AT_REGISTER: u8 = 2;
    /// It cannot be found.
    pub const UNDEFINED: u8 = 3;
}

/// How the return address is found.
pub mod ra {
    /// On the stack: at CFA - 8, where a call instruction puts it; at CFA + `cfa_add` on architectures whose calls leave it
    /// in a register ([`LINK`](super::super::Architecture::LINK)).
    pub const AT_CFA: u8 = 0;
    /// In `ra_register`.
    pub const REGISTER: u8 = 1;
    /// In the word behind the caller's frame pointer ([`fp::AT_CFA`](super::fp::AT_CFA)): a frame record. On
    /// architectures whose calls leave the return address in a register.
    pub const IN_RECORD: u8 = 2;
}

/// How to get from a frame to its caller; 16 bytes. Registers have their DWARF numbers
/// ([`Architecture`](super::Architecture)). Fields that a kind does not use are zero, so that equal rules are equal bytes.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, PartialOrd, Ord)]
#[repr(C)]
pub struct Rule {
    /// One of [`kind`].
    pub kind: u8,
    /// The register that the CFA is computed from.
    pub cfa_register: u8,
    /// One of [`fp`].
    pub fp: u8,
    /// The register that the place of the saved frame pointer is computed from.
    pub fp_register: u8,
    /// One of [`ra`].
    pub ra: u8,
    /// The register with the return address.
    pub ra_register: u8,
    /// See [`kind::DEREF`], [`kind::PLT`] and [`ra::AT_CFA`].
    pub cfa_add: i16,
    /// See [`kind::OFFSET`] and [`kind::DEREF`]; bytes.
    pub cfa_offset: i32,
    /// See [`fp::AT_CFA`] and [`fp::AT_REGISTER`]; bytes.
    pub fp_offset: i32,
}

const _: () = assert!(size_of::<Rule>() == 16 && size_of::<Row>() == 4);

impl Rule {
    /// See [`kind::GAP`].
    pub const GAP: Self = Self::special(kind::GAP);
    /// See [`kind::END`].
    pub const END: Self = Self::special(kind::END);
    /// See [`kind::UNSUPPORTED`].
    pub const UNSUPPORTED: Self = Self::special(kind::UNSUPPORTED);
    /// See [`kind::FRAME_POINTER`].
    pub const FRAME_POINTER: Self = Self::special(kind::FRAME_POINTER);
    /// See [`kind::OTHER_STACK`].
    pub const OTHER_STACK: Self = Self::special(kind::OTHER_STACK);
    /// See [`kind::SIGNAL`].
    pub const SIGNAL: Self = Self::special(kind::SIGNAL);

    /// A rule that is its kind alone.
    #[must_use]
    pub const fn special(kind: u8) -> Self {
        Self {
            kind,
            cfa_register: 0,
            fp: 0,
            fp_register: 0,
            ra: 0,
            ra_register: 0,
            cfa_add: 0,
            cfa_offset: 0,
            fp_offset: 0,
        }
    }

    /// CFA = register + offset, everything else as after a call.
    #[must_use]
    pub const fn offset(register: u8, offset: i32) -> Self {
        Self { cfa_register: register, cfa_offset: offset, ..Self::special(kind::OFFSET) }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Compares every address that could matter with a search of all rows.
    fn check(offsets: &[u16]) {
        let rows: Vec<Row> = (0_u16..).zip(offsets).map(|(rule, &offset)| Row { offset, rule }).collect();
        for near in offsets {
            for offset in [near.wrapping_sub(1), *near, near.wrapping_add(1), 0, u16::MAX] {
                let expected = rows.iter().rev().find(|row| row.offset <= offset).copied();
                let found = find_row(rows.len() as u64, u64::from(offset), |index| {
                    rows.get(usize::try_from(index).unwrap()).copied()
                });
                assert_eq!(found, expected, "{offset} in {} rows", rows.len());
            }
        }
    }

    #[test]
    fn rows_are_found_wherever_they_lie() {
        check(&[0]);
        check(&[0, 65_535]);
        let even: Vec<u16> = (0..1300).map(|index| index * 50).collect();
        check(&even);
        let crowded_at_the_start: Vec<u16> = (0..2000).collect();
        check(&crowded_at_the_start);
        let crowded_at_the_end: Vec<u16> = [0].into_iter().chain(60_000..=u16::MAX).collect();
        check(&crowded_at_the_end);
        let squares: Vec<u16> = (0..256).map(|index: u16| index * index).collect();
        check(&squares);
    }

    #[test]
    fn every_offset_may_have_a_row() {
        let find = |offset| find_row(1 << 16, offset, |index| Some(Row { offset: index as u16, rule: 0 }));
        for offset in 0..1 << 16 {
            assert_eq!(find(offset).map(|row| u64::from(row.offset)), Some(offset));
        }
    }

    #[test]
    fn a_row_that_is_not_there_is_none() {
        assert_eq!(find_row(100, 5, |_| None), None);
    }
}
