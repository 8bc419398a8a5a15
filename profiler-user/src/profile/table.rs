//! A table whose rows are their own keys.

use hashbrown::HashTable;

/// Rows without duplicates. A row is stored once: the index holds its hash and its place only.
#[derive(Debug)]
pub(super) struct Table<T> {
    rows: Vec<T>,
    index: HashTable<(u64, usize)>,
}

impl<T> Default for Table<T> {
    fn default() -> Table<T> {
        Table { rows: Vec::new(), index: HashTable::new() }
    }
}

impl<T> Table<T> {
    /// The place of the row that has this hash and is the `same` as `row`; where there is none, `row` becomes one,
    /// after `place_it` has been told its place.
    pub(super) fn intern(
        &mut self,
        hash: u64,
        mut row: T,
        same: impl Fn(&T, &T) -> bool,
        place_it: impl FnOnce(&mut T, usize),
    ) -> usize {
        let rows = &self.rows;
        let found = self.index.find(hash, |&(other, place)| {
            other == hash && rows.get(place).is_some_and(|other| same(other, &row))
        });
        if let Some(&(_, place)) = found {
            return place;
        }
        let place = self.rows.len();
        place_it(&mut row, place);
        self.rows.push(row);
        self.index.insert_unique(hash, (hash, place), |&(hash, _)| hash);
        place
    }

    pub(super) fn get_mut(&mut self, place: usize) -> Option<&mut T> {
        self.rows.get_mut(place)
    }

    pub(super) fn get(&self, place: usize) -> Option<&T> {
        self.rows.get(place)
    }

    pub(super) fn rows(&self) -> &[T] {
        &self.rows
    }

    pub(super) fn into_rows(self) -> Vec<T> {
        self.rows
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn equal_rows_share_a_place_and_equal_hashes_do_not() {
        let mut table = Table::default();
        let mut intern = |hash, row: &str| table.intern(hash, row.to_owned(), |a, b| a == b, |_, _| ());
        assert_eq!((intern(1, "a"), intern(1, "b"), intern(1, "a"), intern(2, "c")), (0, 1, 0, 2));
        for number in 0..1000_u64 {
            intern(number, &number.to_string());
        }
        assert_eq!(intern(1, "b"), 1);
        assert_eq!(table.rows().len(), 1003);
    }
}
