//! What a report says about the profile as a whole.

use super::subject::Values;
use crate::profile::proto::Profile;
use crate::profile::text;

/// The profile's origin, time, and the value that the report is about.
#[derive(Clone, Debug, PartialEq, Eq, serde::Serialize)]
pub struct Header {
    /// Path of the main binary; empty where it is not known.
    pub file: String,
    /// Its build-id; empty where it is not known.
    pub build_id: String,
    /// Name of the value that is reported, such as "cpu".
    pub sample_type: String,
    /// Its unit, such as "nanoseconds".
    pub unit: String,
    /// Where the kind of profile is explained; empty where it is not known.
    pub doc_url: String,
    /// Start, nanoseconds since the Unix epoch; 0 where it is not known.
    pub time_nanos: i64,
    /// Length in nanoseconds; 0 where it is not known.
    pub duration_nanos: i64,
    /// Sum of the absolute values of all samples before frames were filtered, in `unit`; of a comparison only those of
    /// its base.
    pub total: i64,
    /// What the profile's writer has to say.
    pub comments: Vec<String>,
}

impl Header {
    /// The header of a report about the value with this index; see [`crate::profile::sample_index::sample_index`].
    #[must_use]
    pub fn new(profile: &Profile, index: usize) -> Header {
        Header::of(profile, index, Values::Sums)
    }

    /// The same of a report whose values are means: so is the total.
    #[must_use]
    pub fn of(profile: &Profile, index: usize, values: Values) -> Header {
        let own = |index| text(profile, index).to_owned();
        let kind = profile.sample_type.get(index).copied().unwrap_or_default();
        let main = profile.mapping.first();
        Header {
            file: main.map(|main| own(main.filename)).unwrap_or_default(),
            build_id: main.map(|main| own(main.build_id)).unwrap_or_default(),
            sample_type: match values {
                Values::Sums => own(kind.r#type),
                Values::Means => format!("mean_{}", text(profile, kind.r#type)),
            },
            unit: own(kind.unit),
            doc_url: own(profile.doc_url),
            time_nanos: profile.time_nanos,
            duration_nanos: profile.duration_nanos,
            total: total(profile, index, values),
            comments: profile.comment.iter().map(|&comment| own(comment)).collect(),
        }
    }
}

/// Samples with the label `pprof::base=true` are the base of a comparison, to which shares relate.
fn total(profile: &Profile, index: usize, values: Values) -> i64 {
    let (mut all, mut base) = (0_i64, 0_i64);
    let (mut all_count, mut base_count) = (0_i64, 0_i64);
    for sample in &profile.sample {
        let value = sample.value.get(index).map_or(0, |value| value.saturating_abs());
        let count = sample.value.first().copied().unwrap_or_default();
        all = all.saturating_add(value);
        all_count = all_count.saturating_add(count);
        let is_base = sample
            .label
            .iter()
            .any(|label| text(profile, label.key) == "pprof::base" && text(profile, label.str) == "true");
        if is_base {
            base = base.saturating_add(value);
            base_count = base_count.saturating_add(count);
        }
    }
    let (sum, count) = if base > 0 { (base, base_count) } else { (all, all_count) };
    match values {
        Values::Sums => sum,
        Values::Means => sum.checked_div(count).unwrap_or(sum),
    }
}
