//! Giving out room in the table pool.

use std::collections::BTreeMap;

use profiler_common::unwind::pool::{ELEMENT_UNITS, UNIT_BYTES};

/// Units that room is given out in: 64 bytes. It keeps the largest thing in the pool, a mapping of 64 bytes, aligned to
/// its size.
const GRANULE: u32 = 64 / UNIT_BYTES as u32;

/// Room in the pool: its first unit, and how many units it has.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(super) struct Extent {
    pub(super) unit: u32,
    pub(super) units: u32,
}

/// The free room of a pool. No extent crosses an element.
#[derive(Debug)]
pub(super) struct Extents {
    /// Free units by the first one. Neighbours in one element are one entry.
    free: BTreeMap<u32, u32>,
    free_units: u64,
}

impl Extents {
    /// A pool of so many elements, all free.
    pub(super) fn new(elements: u32) -> Self {
        let free: BTreeMap<u32, u32> =
            (0..elements).map(|element| (element * ELEMENT_UNITS, ELEMENT_UNITS)).collect();
        Self { free, free_units: u64::from(elements) * u64::from(ELEMENT_UNITS) }
    }

    /// Free units.
    pub(super) fn free_units(&self) -> u64 {
        self.free_units
    }

    /// Takes room for so many bytes, the smallest that fits; `None` where there is no such room in one piece.
    pub(super) fn take(&mut self, bytes: usize) -> Option<Extent> {
        let units =
            u32::try_from(bytes.div_ceil(UNIT_BYTES)).ok()?.max(1).checked_next_multiple_of(GRANULE)?;
        let (&unit, &room) =
            self.free.iter().filter(|&(_, &room)| room >= units).min_by_key(|&(_, &room)| room)?;
        self.free.remove(&unit);
        if room > units {
            self.free.insert(unit + units, room - units);
        }
        self.free_units -= u64::from(units);
        Some(Extent { unit, units })
    }

    /// Gives room back.
    pub(super) fn give(&mut self, extent: Extent) {
        let Extent { mut unit, mut units } = extent;
        self.free_units += u64::from(units);
        if let Some((&before, &room)) = self.free.range(..unit).next_back()
            && before + room == unit
            && same_element(before, unit)
        {
            self.free.remove(&before);
            unit = before;
            units += room;
        }
        let behind = unit + units;
        if same_element(unit, behind)
            && let Some(room) = self.free.remove(&behind)
        {
            units += room;
        }
        self.free.insert(unit, units);
    }
}

fn same_element(a: u32, b: u32) -> bool {
    a / ELEMENT_UNITS == b / ELEMENT_UNITS
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn room_is_aligned_and_never_crosses_an_element() {
        let mut pool = Extents::new(2);
        let first = pool.take(20).unwrap();
        assert_eq!(first, Extent { unit: 0, units: 4 });
        let whole = pool.take(ELEMENT_UNITS as usize * UNIT_BYTES).unwrap();
        assert_eq!(whole, Extent { unit: ELEMENT_UNITS, units: ELEMENT_UNITS });
        assert_eq!(pool.take(ELEMENT_UNITS as usize * UNIT_BYTES), None);
    }

    proptest! {
        #[test]
        fn what_is_given_back_can_be_taken_again(sizes in prop::collection::vec(1_usize..200_000, 1..60)) {
            let mut pool = Extents::new(3);
            let all = pool.free_units();
            let mut taken: Vec<Extent> = Vec::new();
            for (index, &size) in sizes.iter().enumerate() {
                if let Some(extent) = pool.take(size) {
                    prop_assert!(extent.units as usize * UNIT_BYTES >= size);
                    prop_assert!(same_element(extent.unit, extent.unit + extent.units - 1));
                    for other in &taken {
                        prop_assert!(extent.unit + extent.units <= other.unit || other.unit + other.units <= extent.unit);
                    }
                    taken.push(extent);
                }
                if index % 3 == 2 && !taken.is_empty() {
                    pool.give(taken.swap_remove(size % taken.len()));
                }
            }
            for extent in taken {
                pool.give(extent);
            }
            prop_assert_eq!(pool.free_units(), all);
            prop_assert_eq!(pool.free.len(), 3);
        }
    }
}
