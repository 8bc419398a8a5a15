//! From the id of a mapping, location or function to its row.

use std::collections::HashMap;

use super::proto::Profile;

/// Finds the row of an id. Tables whose ids are 1..n in order, as the profiler writes them, cost no memory.
#[derive(Debug)]
pub struct Rows(Kind);

#[derive(Debug)]
enum Kind {
    /// Row `r` has id `r + 1`; the number of rows.
    InOrder(usize),
    /// Any other numbering.
    Any(HashMap<u64, usize>),
}

/// Why a table's ids cannot be used.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum IdError {
    /// 0 means "none" wherever an id is referred to.
    #[error("row {row} has id 0, which means \"none\"")]
    Zero {
        /// Row in the table, from 0.
        row: usize,
    },
    /// A reference could mean either row.
    #[error("row {row} has id {id}, as a row before it has")]
    Duplicate {
        /// Row in the table, from 0.
        row: usize,
        /// The id.
        id: u64,
    },
}

impl Rows {
    /// Reads the ids of a table in row order.
    ///
    /// # Errors
    /// An id is 0 or occurs twice.
    pub fn new(ids: impl ExactSizeIterator<Item = u64> + Clone) -> Result<Rows, IdError> {
        let len = ids.len();
        if ids.clone().zip(1_u64..).all(|(id, wanted)| id == wanted) {
            return Ok(Rows(Kind::InOrder(len)));
        }
        let mut rows = HashMap::with_capacity(len);
        for (row, id) in ids.enumerate() {
            if id == 0 {
                return Err(IdError::Zero { row });
            }
            if rows.insert(id, row).is_some() {
                return Err(IdError::Duplicate { row, id });
            }
        }
        Ok(Rows(Kind::Any(rows)))
    }

    /// The rows of a profile's mappings.
    ///
    /// # Errors
    /// An id is 0 or occurs twice.
    pub fn mappings(profile: &Profile) -> Result<Rows, IdError> {
        Rows::new(profile.mapping.iter().map(|mapping| mapping.id))
    }

    /// The rows of a profile's functions.
    ///
    /// # Errors
    /// An id is 0 or occurs twice.
    pub fn functions(profile: &Profile) -> Result<Rows, IdError> {
        Rows::new(profile.function.iter().map(|function| function.id))
    }

    /// The rows of a profile's locations.
    ///
    /// # Errors
    /// An id is 0 or occurs twice.
    pub fn locations(profile: &Profile) -> Result<Rows, IdError> {
        Rows::new(profile.location.iter().map(|location| location.id))
    }

    /// The row of `id`, or `None` where no row has it (0 included).
    #[must_use]
    pub fn get(&self, id: u64) -> Option<usize> {
        match &self.0 {
            Kind::InOrder(len) => {
                usize::try_from(id).ok().and_then(|id| id.checked_sub(1)).filter(|row| row < len)
            }
            Kind::Any(rows) => rows.get(&id).copied(),
        }
    }

    /// True where row `r` has id `r + 1` throughout.
    #[must_use]
    pub fn in_order(&self) -> bool {
        matches!(self.0, Kind::InOrder(_))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn finds_rows_in_order_and_not() {
        let dense = Rows::new([1_u64, 2, 3].into_iter()).unwrap();
        assert!(dense.in_order());
        assert_eq!((dense.get(0), dense.get(1), dense.get(3), dense.get(4)), (None, Some(0), Some(2), None));
        let sparse = Rows::new([7_u64, 1, u64::MAX].into_iter()).unwrap();
        assert!(!sparse.in_order());
        assert_eq!((sparse.get(0), sparse.get(7), sparse.get(u64::MAX)), (None, Some(0), Some(2)));
    }

    #[test]
    fn refuses_what_is_ambiguous() {
        assert_eq!(Rows::new([1_u64, 0].into_iter()).unwrap_err(), IdError::Zero { row: 1 });
        assert_eq!(Rows::new([4_u64, 4].into_iter()).unwrap_err(), IdError::Duplicate { row: 1, id: 4 });
    }
}
