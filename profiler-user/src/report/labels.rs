//! What the labels of a profile's samples add up to: google/pprof's `-tags` (its report/report.go, `printTags`).

use std::cmp::Reverse;
use std::collections::BTreeMap;

use super::header::Header;
use super::measure::{AUTO, label as with_unit};
use super::numbers::{Numbers, Shown};
use super::subject::{Lens, ReportError, Subject};
use super::tags::{Units, is_number, is_string};
use crate::profile::proto::Profile;
use crate::profile::text;

/// The labels, by key.
#[derive(Clone, Debug, PartialEq)]
pub struct LabelsReport {
    /// The profile, the value and its total.
    pub header: Header,
    /// Options that matched nothing.
    pub unmatched: Vec<&'static str>,
    /// Writes the values.
    pub numbers: Numbers,
    /// Sorted by key.
    pub keys: Vec<Key>,
}

/// All labels with one key.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Key {
    /// The key.
    pub name: String,
    /// Sum over the samples that have it; those with several labels of this key count several times.
    pub total: i64,
    /// What the labels hold, numbers with their unit, and the sums over the samples with it; the largest first.
    pub values: Vec<(String, i64)>,
}

/// Sums up the samples by their labels.
///
/// # Errors
/// The profile is inconsistent, or does not have the value that is asked for.
pub fn labels(profile: &Profile, lens: &Lens) -> Result<LabelsReport, ReportError> {
    let subject = Subject::new(profile, lens)?;
    let unit = match &lens.unit {
        Shown::Fitting => AUTO,
        Shown::Fixed(unit) => unit,
    };
    let profile = &*subject.profile;
    let units = Units::find(profile, &profile.sample);
    let mut sums: BTreeMap<&str, BTreeMap<String, i64>> = BTreeMap::new();
    for sample in &profile.sample {
        let value = sample.value.get(subject.index).copied().unwrap_or_default();
        for label in &sample.label {
            let held = if is_string(label) {
                text(profile, label.str).to_owned()
            } else if is_number(label) {
                with_unit(label.num, units.of(profile, label.key), unit)
            } else {
                continue;
            };
            let sum = sums.entry(text(profile, label.key)).or_default().entry(held).or_default();
            *sum = sum.saturating_add(value);
        }
    }
    let keys = sums.into_iter().map(|(name, values)| {
        let mut values: Vec<(String, i64)> = values.into_iter().collect();
        // Equal ones stay sorted by what they hold.
        values.sort_by_key(|&(_, value)| Reverse(value.unsigned_abs()));
        let total = values.iter().fold(0_i64, |sum, &(_, value)| sum.saturating_add(value));
        Key { name: name.to_owned(), total, values }
    });
    let keys = keys.collect();
    let Subject { header, unmatched, numbers, .. } = subject;
    Ok(LabelsReport { header, unmatched, numbers, keys })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::profile::fixture;
    use crate::profile::proto::Label;

    #[test]
    fn samples_by_what_their_labels_hold() {
        let mut profile = fixture::two_threads();
        let next = i64::try_from(profile.string_table.len()).unwrap();
        profile.string_table.push("bytes".to_owned());
        profile.sample[0].label.push(Label { key: next, num: 2048, ..Label::default() });
        let report = labels(&profile, &Lens::default()).unwrap();
        let key = |name: &str, values: &[(&str, i64)]| Key {
            name: name.to_owned(),
            total: values.iter().map(|(_, value)| value).sum(),
            values: values.iter().map(|&(held, value)| (held.to_owned(), value)).collect(),
        };
        let threads = [("a", 40_000_000), ("b", 20_000_000)];
        assert_eq!(report.keys, [key("bytes", &[("2kB", 30_000_000)]), key("thread", &threads)]);
    }
}
