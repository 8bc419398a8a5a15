//! A bounded cache in two generations: what was not asked for while one generation filled up is forgotten.

use std::sync::Arc;

use hashbrown::HashMap;

use super::Functions;

type Generation = HashMap<(u64, u64), Functions>;

/// Names by (object, address).
#[derive(Debug)]
pub(super) struct Cache {
    young: Generation,
    old: Generation,
    young_bytes: usize,
    old_bytes: usize,
    limit: usize,
}

impl Cache {
    /// A cache that keeps about this many bytes.
    pub(super) fn new(limit: usize) -> Self {
        Self { young: Generation::new(), old: Generation::new(), young_bytes: 0, old_bytes: 0, limit }
    }

    /// Names, and about how many bytes they take.
    pub(super) fn size(&self) -> (usize, usize) {
        (self.young.len() + self.old.len(), self.young_bytes + self.old_bytes)
    }

    pub(super) fn contains(&self, object: u64, address: u64) -> bool {
        let key = (object, address);
        self.young.contains_key(&key) || self.old.contains_key(&key)
    }

    pub(super) fn get(&mut self, object: u64, address: u64) -> Option<Functions> {
        let key = (object, address);
        if let Some(functions) = self.young.get(&key) {
            return Some(Arc::clone(functions));
        }
        let functions = self.old.remove(&key)?;
        self.old_bytes = self.old_bytes.saturating_sub(bytes(&functions));
        self.insert(object, address, Arc::clone(&functions));
        Some(functions)
    }

    pub(super) fn insert(&mut self, object: u64, address: u64, functions: Functions) {
        // Half the limit a generation; the previous one stays until this one is full, too.
        if self.young_bytes > self.limit / 2 {
            self.old = std::mem::take(&mut self.young);
            self.old_bytes = std::mem::take(&mut self.young_bytes);
        }
        self.young_bytes += bytes(&functions);
        self.young.insert((object, address), functions);
    }
}

/// What an entry costs: the text, the structures, and the table's slot.
fn bytes(functions: &Functions) -> usize {
    functions
        .iter()
        .map(|function| size_of_val(function) + function.name.len() + function.file.len())
        .sum::<usize>()
        + 64
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_used_stays_and_what_is_not_goes() {
        let nothing: Functions = Arc::new([]);
        let mut cache = Cache::new(64 * 200);
        for address in 0..10_000 {
            cache.insert(1, address, Arc::clone(&nothing));
            assert!(cache.get(1, 0).is_some(), "asked for at every step");
        }
        assert!(!cache.contains(1, 1));
        assert!(cache.contains(1, 9_999));
        let (entries, bytes) = cache.size();
        assert!(entries <= 210);
        assert_eq!(bytes, 64 * entries);
    }
}
