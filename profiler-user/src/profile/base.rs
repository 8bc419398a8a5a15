//! A profile less another one: google/pprof's `-base` and `-diff_base` (its driver/fetch.go, profile/merge.go).

use super::merge::{Duration, MergeError, merge};
use super::proto::{Label, Profile};

/// What the base is to the difference.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Base {
    /// It is subtracted: for two profiles of one run, of which the later holds the earlier.
    Subtracted,
    /// Shares relate to it alone: for two runs.
    Compared,
}

/// Whether the profile is scaled to the base first.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Scaling {
    /// It is left as it is.
    Kept,
    /// Its totals become those of the base.
    ToBase,
}

/// The key of the label that marks samples of a base.
pub const MARK: &str = "pprof::base";

/// The profile less the base.
///
/// # Errors
/// The two hold other values, or are inconsistent.
pub fn difference(
    mut profile: Profile,
    mut base: Profile,
    kind: Base,
    scaling: Scaling,
) -> Result<Profile, MergeError> {
    if scaling == Scaling::ToBase {
        scale(&mut profile, &base);
    }
    if kind == Base::Compared {
        let mut string = |text: &str| {
            base.string_table.push(text.to_owned());
            i64::try_from(base.string_table.len() - 1).unwrap_or_default()
        };
        let mark = Label { key: string(MARK), str: string("true"), ..Label::default() };
        base.sample.iter_mut().for_each(|sample| sample.label.push(mark));
    }
    for value in base.sample.iter_mut().flat_map(|sample| &mut sample.value) {
        *value = value.saturating_neg();
    }
    merge([&profile, &base], Duration::Sum)
}

#[expect(clippy::as_conversions, reason = "pprof's arithmetic; it saturates")]
fn scale(profile: &mut Profile, base: &Profile) {
    let sum = |profile: &Profile, index: usize| {
        let values = profile.sample.iter().filter_map(|sample| sample.value.get(index));
        values.fold(0_i64, |sum, &value| sum.saturating_add(value))
    };
    let ratios: Vec<f64> = (0..profile.sample_type.len())
        .map(|index| match sum(profile, index) {
            0 => 0.0,
            own => sum(base, index) as f64 / own as f64,
        })
        .collect();
    for sample in &mut profile.sample {
        for (value, ratio) in sample.value.iter_mut().zip(&ratios) {
            *value = (*value as f64 * ratio).round() as i64;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::super::fixture;
    use super::super::text;
    use super::*;

    fn twice() -> Profile {
        let mut profile = fixture::two_threads();
        for value in profile.sample.iter_mut().flat_map(|sample| &mut sample.value) {
            *value *= 2;
        }
        profile
    }

    fn counts(profile: &Profile) -> Vec<i64> {
        profile.sample.iter().map(|sample| sample.value[0]).collect()
    }

    #[test]
    fn what_is_equal_goes() {
        let same = difference(twice(), twice(), Base::Subtracted, Scaling::Kept).unwrap();
        assert!(same.sample.is_empty());
        let more = difference(twice(), fixture::two_threads(), Base::Subtracted, Scaling::Kept).unwrap();
        assert_eq!(counts(&more), [3, 1, 2]);
        let scaled = difference(twice(), fixture::two_threads(), Base::Subtracted, Scaling::ToBase).unwrap();
        assert!(scaled.sample.is_empty());
    }

    #[test]
    fn a_base_that_is_compared_with_is_marked() {
        let both = difference(twice(), fixture::two_threads(), Base::Compared, Scaling::Kept).unwrap();
        assert_eq!(counts(&both), [6, 2, 4, -3, -1, -2]);
        let marked = |label: &Label| text(&both, label.key) == MARK && text(&both, label.str) == "true";
        let marks: Vec<bool> = both.sample.iter().map(|sample| sample.label.iter().any(marked)).collect();
        assert_eq!(marks, [false, false, false, true, true, true]);
    }
}
