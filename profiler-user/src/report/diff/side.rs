//! One side of a comparison: values by what can be found again on the other side.

use std::collections::BTreeMap;

use super::Rows;
use crate::profile::proto::{Profile, Sample};
use crate::profile::text;
use crate::report::header::Header;
use crate::report::measure::float;
use crate::report::node::{Granularity, Objects, Place, base};
use crate::report::subject::{Lens, ReportError, Subject};
use crate::report::tags::is_string;

/// What a row is recognised by: the name and the binary's, which are the same in another build, on another host, and
/// at another address.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(in crate::report) struct Key {
    pub(in crate::report) name: String,
    pub(in crate::report) object: String,
}

impl Key {
    pub(in crate::report) fn of(place: &Place<'_>) -> Key {
        let object = if place.mapping.is_empty() { "" } else { base(&place.mapping) };
        Key { name: place.name(), object: object.to_owned() }
    }
}

/// A value, and how many ticks it comes from.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub(super) struct Sum {
    pub(super) value: f64,
    pub(super) ticks: f64,
}

/// Of samples that end in a row, and of all that come through it.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub(super) struct Values {
    pub(super) own: Sum,
    pub(super) total: Sum,
}

/// The side.
pub(super) struct Side {
    pub(super) header: Header,
    pub(super) filters: Vec<String>,
    pub(super) unmatched: Vec<&'static str>,
    /// All ticks of the profile, whatever the filters leave; `None` where values are not counts of ticks.
    pub(super) ticks: Option<f64>,
    pub(super) rows: BTreeMap<Key, Values>,
}

impl Side {
    pub(super) fn new(profile: &Profile, lens: &Lens, rows: &Rows) -> Result<Side, ReportError> {
        let profile = at_home(profile, lens);
        let subject = Subject::new(&profile, lens)?;
        let counting = Counting::of(&profile, &subject, lens);
        let (ticks, all) = (counting.ticks, counting.all);
        let rows = match rows {
            Rows::Places => places(&subject, lens, ticks)?,
            Rows::Label(key) => label_values(&subject, key, ticks),
        };
        let Subject { header, filters, unmatched, .. } = subject;
        Ok(Side { header, filters, unmatched, ticks: all, rows })
    }
}

/// Addresses as places in their files, which another process or host has, too.
fn at_home<'a>(profile: &'a Profile, lens: &Lens) -> std::borrow::Cow<'a, Profile> {
    if lens.by != Granularity::Addresses {
        return std::borrow::Cow::Borrowed(profile);
    }
    let mut profile = profile.clone();
    let mappings: BTreeMap<u64, (u64, u64)> = profile
        .mapping
        .iter()
        .map(|mapping| (mapping.id, (mapping.memory_start, mapping.file_offset)))
        .collect();
    for location in &mut profile.location {
        if let Some((start, offset)) = mappings.get(&location.mapping_id) {
            location.address = location.address.wrapping_sub(*start).wrapping_add(*offset);
        }
    }
    std::borrow::Cow::Owned(profile)
}

/// How the ticks of a side are counted.
#[derive(Clone, Copy)]
pub(in crate::report) struct Counting {
    ticks: Option<Ticks>,
    /// All ticks of the profile, whatever the filters leave; `None` where values are not counts of ticks.
    pub(in crate::report) all: Option<f64>,
}

impl Counting {
    /// `profile` is what the subject was made of.
    pub(in crate::report) fn of(profile: &Profile, subject: &Subject<'_>, lens: &Lens) -> Counting {
        let ticks = Ticks::of(&subject.profile, subject.index);
        let all = ticks.map(|ticks| match ticks {
            // As the total is: of everything, or of what the filters leave.
            Ticks::Period(period) => float(subject.header.total) / period,
            Ticks::Counted(index) => {
                let of_all = lens.shares == crate::report::subject::Shares::OfAll;
                let counted = if of_all { &profile.sample } else { &subject.profile.sample };
                counted.iter().map(|sample| counted_in(sample, index)).sum()
            }
        });
        Counting { ticks, all }
    }

    /// The ticks of a sample with this value; 0 where values are not counts of ticks.
    pub(in crate::report) fn in_sample(&self, sample: &Sample, value: i64) -> f64 {
        self.ticks.map_or(0.0, |ticks| ticks.in_sample(sample, float(value)))
    }
}

/// How many ticks a value stands for.
#[derive(Clone, Copy)]
enum Ticks {
    /// Each is worth this much.
    Period(f64),
    /// They are the sample's value with this index.
    Counted(usize),
}

fn counted_in(sample: &Sample, index: usize) -> f64 {
    float(sample.value.get(index).copied().unwrap_or_default())
}

impl Ticks {
    fn of(profile: &Profile, index: usize) -> Option<Ticks> {
        let kind = profile.sample_type.get(index)?;
        let named = |index: i64| text(profile, index);
        if let Some(period) = profile.period_type
            && (named(period.r#type), named(period.unit)) == (named(kind.r#type), named(kind.unit))
            && profile.period > 0
        {
            return Some(Ticks::Period(float(profile.period)));
        }
        let is_count = |kind: &crate::profile::proto::ValueType| {
            (named(kind.r#type), named(kind.unit)) == ("samples", "count")
        };
        profile.sample_type.iter().position(is_count).map(Ticks::Counted)
    }

    fn in_sample(self, sample: &Sample, value: f64) -> f64 {
        match self {
            Ticks::Period(period) => value / period,
            Ticks::Counted(index) => counted_in(sample, index),
        }
    }
}

fn places(
    subject: &Subject<'_>,
    lens: &Lens,
    ticks: Option<Ticks>,
) -> Result<BTreeMap<Key, Values>, ReportError> {
    // Per sample and key once, however many places have the same key.
    let nodes = subject.nodes(lens, Objects::Told)?;
    let keys: Vec<Key> = nodes.places().iter().map(Key::of).collect();
    let mut numbers: BTreeMap<&Key, usize> = BTreeMap::new();
    let mut row_of: Vec<usize> = Vec::with_capacity(keys.len());
    for key in &keys {
        let next = numbers.len();
        row_of.push(*numbers.entry(key).or_insert(next));
    }
    let mut values: Vec<Values> = vec![Values::default(); numbers.len()];
    let mut counted: Vec<usize> = vec![usize::MAX; numbers.len()];
    for (number, (sample, value)) in subject.weighted().into_iter().enumerate() {
        let value = float(value);
        let sum = Sum { value, ticks: ticks.map_or(0.0, |ticks| ticks.in_sample(sample, value)) };
        let mut leaf = None;
        for frame in nodes.frames(sample) {
            let Some(&row) = row_of.get(frame.node) else { continue };
            leaf = Some(row);
            if let (Some(values), Some(last)) = (values.get_mut(row), counted.get_mut(row))
                && *last != number
            {
                *last = number;
                add(&mut values.total, sum);
            }
        }
        if let Some(values) = leaf.and_then(|leaf| values.get_mut(leaf)) {
            add(&mut values.own, sum);
        }
    }
    let found = numbers.into_iter().filter_map(|(key, row)| Some((key.clone(), *values.get(row)?)));
    Ok(found.filter(|(_, values)| *values != Values::default()).collect())
}

fn label_values(subject: &Subject<'_>, key: &str, ticks: Option<Ticks>) -> BTreeMap<Key, Values> {
    let mut rows: BTreeMap<Key, Values> = BTreeMap::new();
    for (sample, value) in subject.weighted() {
        let label = sample
            .label
            .iter()
            .find(|label| is_string(label) && text(&subject.profile, label.key) == key)
            .map_or("(none)", |label| text(&subject.profile, label.str));
        let value = float(value);
        let sum = Sum { value, ticks: ticks.map_or(0.0, |ticks| ticks.in_sample(sample, value)) };
        let values = rows.entry(Key { name: label.to_owned(), object: String::new() }).or_default();
        add(&mut values.own, sum);
        add(&mut values.total, sum);
    }
    rows
}

fn add(sum: &mut Sum, more: Sum) {
    sum.value += more.value;
    sum.ticks += more.ticks;
}
