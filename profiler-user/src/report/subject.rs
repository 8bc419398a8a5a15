//! What a report is about: a profile as it is left by everything the user chose.

use std::borrow::Cow;

use regex::Regex;

use super::header::Header;
use super::node::{Detail, Granularity, Inlines, Nodes, Objects};
use super::numbers::{Numbers, Shown};
use super::paths::Paths;
use super::tag_frames::TagFrames;
use super::tags::TagFilter;
use crate::profile::filter::FrameFilter;
use crate::profile::ids::IdError;
use crate::profile::proto::{Profile, Sample};
use crate::profile::prune::{drop_frames, prune_from};
use crate::profile::sample_index::{SampleIndexError, sample_index};
use crate::profile::validate::{self, Invalid, Rules};

/// How a profile is looked at; what all reports have in common.
#[derive(Clone, Debug, Default)]
pub struct Lens {
    /// What is told apart.
    pub by: Granularity,
    /// Whether inlined functions are frames of their own.
    pub inlines: Inlines,
    /// Name or number of the value; `None` for the profile's default.
    pub sample_index: Option<String>,
    /// Which frames are looked at.
    pub frames: FrameFilter,
    /// Drop what frames that match call; see [`prune_from`].
    pub prune_from: Option<Regex>,
    /// Which samples and labels are looked at.
    pub tags: TagFilter,
    /// Which labels become frames.
    pub tag_frames: TagFrames,
    /// What shares relate to.
    pub shares: Shares,
    /// Whether rows with negative values are shown.
    pub negative: Negative,
    /// The unit of values.
    pub unit: Shown,
    /// What values are divided by; `None` for 1.
    pub divide_by: Option<f64>,
    /// How source paths are shown.
    pub paths: Paths,
    /// What stands on top of tables.
    pub heading: Heading,
    /// Whether graphs, tables of functions and traces show sums or means.
    pub values: Values,
    /// Whether places by line have their column.
    pub columns: Columns,
}

/// What the values of a row become.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Values {
    /// Their sum.
    #[default]
    Sums,
    /// The sum divided by that of the profile's first values, which are counts: bytes per allocation, time per event.
    Means,
}

/// Whether columns of source lines are shown.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Columns {
    /// Only where addresses are told apart.
    #[default]
    Hidden,
    /// With lines, too.
    Shown,
}

/// What stands on top of tables.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Heading {
    /// What is known of the profile as a whole, then what is shown of it.
    #[default]
    Full,
    /// Only what is shown of it.
    Compact,
}

/// What shares relate to.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Shares {
    /// All samples, those included that the filters drop.
    #[default]
    OfAll,
    /// The samples that the filters leave.
    OfFiltered,
}

/// Whether rows whose value is negative (in a comparison) are shown.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Negative {
    /// They are.
    #[default]
    Shown,
    /// They are left out.
    Dropped,
}

impl Negative {
    /// Whether a row with these values is left out.
    #[must_use]
    pub fn drops(self, flat: i64, cum: i64) -> bool {
        self == Negative::Dropped && (flat < 0 || (flat == 0 && cum < 0))
    }
}

/// Why there is no report.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum ReportError {
    /// The profile has no such value.
    #[error(transparent)]
    SampleIndex(#[from] SampleIndexError),
    /// The profile's tables do not fit each other.
    #[error("the profile is inconsistent: {0}")]
    Invalid(Invalid),
    /// Nothing has a name that was asked for.
    #[error("no function matches {0:?}; `profiler top -n 0` lists those there are")]
    NoMatch(String),
}

impl From<Invalid> for ReportError {
    fn from(cause: Invalid) -> ReportError {
        ReportError::Invalid(cause)
    }
}

impl From<IdError> for ReportError {
    fn from(cause: IdError) -> ReportError {
        ReportError::Invalid(Invalid::Id { table: "id", cause })
    }
}

/// The profile seen through the lens.
#[derive(Clone, Debug)]
pub struct Subject<'a> {
    /// With the samples and frames that are left.
    pub profile: Cow<'a, Profile>,
    /// The number of the value.
    pub index: usize,
    /// The profile as a whole; its total is that of the lens's shares.
    pub header: Header,
    /// The filters that were applied, as `focus=regex`.
    pub filters: Vec<String>,
    /// Options of the lens that matched nothing, as a typing error would.
    pub unmatched: Vec<&'static str>,
    /// Writes the values.
    pub numbers: Numbers,
}

impl<'a> Subject<'a> {
    /// Checks the profile and applies the lens, in pprof's order.
    ///
    /// # Errors
    /// The profile is inconsistent, or does not have the value that is asked for.
    pub fn new(profile: &'a Profile, lens: &Lens) -> Result<Subject<'a>, ReportError> {
        validate::check(profile, Rules::Readable)?;
        let index = sample_index(profile, lens.sample_index.as_deref())?;
        let mut profile = Cow::Borrowed(profile);
        let mut unmatched = Vec::new();
        if profile.drop_frames != 0 {
            drop_frames(profile.to_mut());
        }
        if !lens.tag_frames.is_empty() {
            let unit = match &lens.unit {
                Shown::Fitting => None,
                Shown::Fixed(unit) => Some(unit.as_str()),
            };
            unmatched.extend(lens.tag_frames.apply(profile.to_mut(), unit));
        }
        let whole = (lens.shares == Shares::OfAll).then(|| Header::of(&profile, index, lens.values));
        unmatched.extend(filter(&mut profile, lens));
        let header = whole.unwrap_or_else(|| Header::of(&profile, index, lens.values));
        let numbers = Numbers::new(&header.unit, lens.unit.clone(), lens.divide_by.unwrap_or(1.0));
        let given = lens.frames.given().chain(lens.tags.given());
        let filters = given.map(|(name, written)| format!("{name}={written}")).collect();
        Ok(Subject { profile, index, header, filters, unmatched, numbers })
    }

    /// The places of the profile as the lens tells them apart.
    ///
    /// # Errors
    /// Ids are not unique, which [`Subject::new`] has refused.
    pub fn nodes(&self, lens: &Lens, objects: Objects) -> Result<Nodes<'_>, IdError> {
        let detail = Detail {
            by: lens.by,
            inlines: lens.inlines,
            objects,
            paths: Some(&lens.paths),
            columns: lens.columns,
        };
        Nodes::new(&self.profile, &detail)
    }

    /// The samples with their values, without those whose value is 0.
    #[must_use]
    pub fn weighted(&self) -> Vec<(&Sample, i64)> {
        self.with_value(self.index)
    }

    /// The samples with what their values are divided by; `None` where sums are shown.
    #[must_use]
    pub fn divisors(&self, lens: &Lens) -> Option<Vec<(&Sample, i64)>> {
        (lens.values == Values::Means).then(|| self.with_value(0))
    }

    fn with_value(&self, index: usize) -> Vec<(&Sample, i64)> {
        let value = |sample: &Sample| sample.value.get(index).copied();
        let samples = self.profile.sample.iter().filter_map(|sample| Some((sample, value(sample)?)));
        samples.filter(|&(_, weight)| weight != 0).collect()
    }
}

/// Gives the names of options that matched nothing.
fn filter(profile: &mut Cow<'_, Profile>, lens: &Lens) -> Vec<&'static str> {
    let mut unmatched = Vec::new();
    if !lens.frames.is_empty() {
        unmatched.extend(lens.frames.apply(profile.to_mut()).nothing());
    }
    if !lens.tags.is_empty() {
        unmatched.extend(lens.tags.apply(profile.to_mut()));
    }
    if let Some(regex) = &lens.prune_from {
        prune_from(profile.to_mut(), regex);
    }
    unmatched
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::profile::fixture;

    fn regex(pattern: &str) -> Option<Regex> {
        Some(Regex::new(pattern).unwrap())
    }

    #[test]
    fn shares_are_of_all_or_of_what_is_left() {
        let frames = FrameFilter { focus: regex("vdso"), ..FrameFilter::default() };
        let lens = Lens { frames, ..Lens::default() };
        let profile = fixture::two_threads();
        assert_eq!(Subject::new(&profile, &lens).unwrap().header.total, 60_000_000);
        let lens = Lens { shares: Shares::OfFiltered, ..lens };
        let subject = Subject::new(&profile, &lens).unwrap();
        assert_eq!(subject.header.total, 20_000_000);
        assert_eq!(subject.filters, ["focus=vdso"]);
        assert!(matches!(Subject::new(&profile, &Lens::default()).unwrap().profile, Cow::Borrowed(_)));
    }

    #[test]
    fn says_what_matched_nothing() {
        let profile = fixture::two_threads();
        let lens = Lens {
            frames: FrameFilter { hide: regex("nowhere"), ..FrameFilter::default() },
            tags: TagFilter { focus: Some("thread=c".parse().unwrap()), ..TagFilter::default() },
            tag_frames: TagFrames { root: vec!["host".into()], leaf: vec![] },
            ..Lens::default()
        };
        let subject = Subject::new(&profile, &lens).unwrap();
        assert_eq!(subject.unmatched, ["tagroot", "hide", "tagfocus"]);
    }
}
