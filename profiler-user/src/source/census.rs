//! Which labels and windows there are to choose from, counted while profiles are read.

use std::collections::BTreeMap;

use crate::profile::proto::Profile;
use crate::profile::sample_index::sample_index;
use crate::profile::text;

/// Labels with more values than this are cut: nobody chooses from a longer list, and a label such as a request's id has
/// as many values as there are samples.
const MOST_VALUES: usize = 2000;

/// More keys than this are no labels to choose from.
const MOST_KEYS: usize = 32;

/// More windows than this are joined in pairs.
const MOST_WINDOWS: usize = 4096;

/// What there is, with the values of the samples that have it, in the profile's default sample type.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Census {
    /// By key and value of string labels.
    pub labels: BTreeMap<String, BTreeMap<String, i64>>,
    /// By start, nanoseconds since the Unix epoch. Profiles without a time have none.
    pub windows: BTreeMap<i64, i64>,
}

impl Census {
    /// Of a profile whose window starts then; 0 where that is not known.
    #[must_use]
    pub fn of(profile: &Profile, start: i64) -> Census {
        let mut census = Census::default();
        let Ok(index) = sample_index(profile, None) else { return census };
        let mut by_string: BTreeMap<(i64, i64), i64> = BTreeMap::new();
        let mut total = 0_i64;
        for sample in &profile.sample {
            let value = sample.value.get(index).copied().unwrap_or_default();
            total = total.saturating_add(value);
            for label in sample.label.iter().filter(|label| label.str != 0) {
                let sum = by_string.entry((label.key, label.str)).or_default();
                *sum = sum.saturating_add(value);
            }
        }
        for ((key, value), sum) in by_string {
            census.count(text(profile, key), text(profile, value), sum);
        }
        if start != 0 {
            census.windows.insert(start, total);
        }
        census
    }

    /// Adds another one.
    pub fn merge(&mut self, other: Census) {
        for (key, values) in other.labels {
            for (value, sum) in values {
                self.count(&key, &value, sum);
            }
        }
        for (start, value) in other.windows {
            let sum = self.windows.entry(start).or_default();
            *sum = sum.saturating_add(value);
        }
        if self.windows.len() > MOST_WINDOWS {
            let windows = std::mem::take(&mut self.windows);
            let mut joined = windows.into_iter();
            while let Some((start, first)) = joined.next() {
                let second = joined.next().map_or(0, |(_, value)| value);
                self.windows.insert(start, first.saturating_add(second));
            }
        }
    }

    fn count(&mut self, key: &str, value: &str, sum: i64) {
        if key.starts_with("pprof::") {
            return;
        }
        if !self.labels.contains_key(key) && self.labels.len() >= MOST_KEYS {
            return;
        }
        let values = self.labels.entry(key.to_owned()).or_default();
        if let Some(known) = values.get_mut(value) {
            *known = known.saturating_add(sum);
        } else if values.len() < MOST_VALUES {
            values.insert(value.to_owned(), sum);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::profile::fixture;

    #[test]
    fn counts_labels_and_windows() {
        let mut census = Census::of(&fixture::two_threads(), 7);
        census.merge(Census::of(&fixture::two_threads(), 9));
        let threads: Vec<(&str, i64)> =
            census.labels["thread"].iter().map(|(value, &sum)| (value.as_str(), sum)).collect();
        assert_eq!(threads, [("a", 80_000_000), ("b", 40_000_000)]);
        assert_eq!(census.windows, [(7, 60_000_000), (9, 60_000_000)].into());
    }

    #[test]
    fn stays_small() {
        let mut census = Census::default();
        for window in 0..20_000 {
            let mut one = Census::default();
            one.count("request", &window.to_string(), 1);
            one.windows.insert(window, 1);
            census.merge(one);
        }
        assert_eq!(census.labels["request"].len(), MOST_VALUES);
        assert!(census.windows.len() <= MOST_WINDOWS);
        assert_eq!(census.windows.values().sum::<i64>(), 20_000, "nothing is lost from the time line");
    }
}
