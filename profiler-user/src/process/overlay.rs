//! Lists of address ranges without overlap, in which a new range replaces what it covers.

/// A range of addresses that can be cut.
pub(super) trait Span: Clone {
    /// First address.
    fn start(&self) -> u64;
    /// First address behind.
    fn end(&self) -> u64;
    /// The part of it between two addresses within.
    fn part(&self, start: u64, end: u64) -> Self;
}

/// Puts a range into a list that is sorted and free of overlap, and stays so. What the range covers is cut away, as
/// mmap(2) with `MAP_FIXED` does.
pub(super) fn overlay<T: Span>(list: &mut Vec<T>, new: T) {
    let from = list.partition_point(|old| old.end() <= new.start());
    let to = from + list.get(from..).unwrap_or_default().partition_point(|old| old.start() < new.end());
    let covered = list.get(from..to).unwrap_or_default();
    let before = covered.first().filter(|old| old.start() < new.start());
    let before = before.map(|old| old.part(old.start(), new.start()));
    let behind = covered.last().filter(|old| old.end() > new.end());
    let behind = behind.map(|old| old.part(new.end(), old.end()));
    list.splice(from..to, before.into_iter().chain([new]).chain(behind));
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use proptest::prelude::*;

    use super::*;

    /// Start, end, and what is at an address: `at + address`, so that a cut part shows what it was cut from.
    #[derive(Clone, Debug, PartialEq, Eq)]
    struct Plain(u64, u64, char);

    impl Span for Plain {
        fn start(&self) -> u64 {
            self.0
        }
        fn end(&self) -> u64 {
            self.1
        }
        fn part(&self, start: u64, end: u64) -> Self {
            Self(start, end, self.2)
        }
    }

    #[test]
    fn a_range_in_the_middle_leaves_both_ends() {
        let mut list = vec![Plain(0, 10, 'a'), Plain(20, 30, 'b')];
        overlay(&mut list, Plain(4, 6, 'c'));
        overlay(&mut list, Plain(9, 21, 'd'));
        let left = [(0, 4, 'a'), (4, 6, 'c'), (6, 9, 'a'), (9, 21, 'd'), (21, 30, 'b')];
        assert_eq!(list, left.map(|(start, end, what)| Plain(start, end, what)));
    }

    proptest! {
        #[test]
        fn the_last_one_to_cover_an_address_has_it(
            ranges in prop::collection::vec((0_u64..40, 1_u64..20, prop::char::range('a', 'z')), 0..20)
        ) {
            let mut list = Vec::new();
            let mut addresses = BTreeMap::new();
            for (start, len, what) in ranges {
                overlay(&mut list, Plain(start, start + len, what));
                addresses.extend((start..start + len).map(|address| (address, what)));
            }
            prop_assert!(list.windows(2).all(|pair| pair[0].1 <= pair[1].0));
            let listed: BTreeMap<u64, char> =
                list.iter().flat_map(|range| (range.0..range.1).map(|address| (address, range.2))).collect();
            prop_assert_eq!(listed, addresses);
        }
    }
}
