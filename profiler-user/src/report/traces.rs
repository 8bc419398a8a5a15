//! Every sample with its labels and its stack: google/pprof's `-traces`.

use serde::Serialize;

use super::header::Header;
use super::measure::{AUTO, label as with_unit};
use super::node::{Detail, Nodes, Place};
use super::numbers::Numbers;
use super::subject::{Lens, ReportError, Subject, Values};
use super::tags::{Units, is_number, is_string};
use crate::profile::proto::{Profile, Sample};
use crate::profile::text;

/// The samples, in the profile's order.
#[derive(Clone, Debug, PartialEq)]
pub struct TracesReport {
    /// The profile, the value and its total.
    pub header: Header,
    /// Options that matched nothing.
    pub unmatched: Vec<&'static str>,
    /// Writes the values.
    pub numbers: Numbers,
    /// All places; frames point into them.
    pub places: Vec<Place<'static>>,
    /// The samples that have a stack.
    pub traces: Vec<Trace>,
}

/// A sample.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Trace {
    /// Its value.
    pub value: i64,
    /// Labels that hold strings, sorted, then those that hold numbers, sorted.
    pub labels: Vec<TraceLabel>,
    /// The stack, the leaf first.
    pub frames: Vec<TraceFrame>,
}

/// A label with all its values.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize)]
pub struct TraceLabel {
    /// Its key.
    pub key: String,
    /// Its values; numbers with their unit.
    pub values: Vec<String>,
}

/// A frame.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct TraceFrame {
    /// Index into [`TracesReport::places`].
    pub place: usize,
    /// True where it was inlined into the next.
    pub inlined: bool,
}

/// Lists the samples.
///
/// # Errors
/// The profile is inconsistent, or does not have the value that is asked for.
pub fn traces(profile: &Profile, lens: &Lens) -> Result<TracesReport, ReportError> {
    let subject = Subject::new(profile, lens)?;
    // As in pprof, paths stay as they are here.
    let detail = Detail { by: lens.by, inlines: lens.inlines, columns: lens.columns, ..Detail::default() };
    let nodes = Nodes::new(&subject.profile, &detail)?;
    let units = Units::find(&subject.profile, &subject.profile.sample);
    let mut traces = Vec::with_capacity(subject.profile.sample.len());
    for sample in &subject.profile.sample {
        let mut frames: Vec<TraceFrame> = nodes
            .frames(sample)
            .map(|frame| TraceFrame { place: frame.node, inlined: frame.inlined })
            .collect();
        frames.reverse();
        if frames.is_empty() {
            continue;
        }
        let value = sample.value.get(subject.index).copied().unwrap_or_default();
        let value = match lens.values {
            Values::Sums => value,
            Values::Means => {
                value.checked_div(sample.value.first().copied().unwrap_or_default()).unwrap_or(value)
            }
        };
        traces.push(Trace { value, labels: labels(&subject.profile, sample, &units), frames });
    }
    let places = nodes.places().iter().map(|place| place.clone().into_owned()).collect();
    let Subject { header, unmatched, numbers, .. } = subject;
    Ok(TracesReport { header, unmatched, numbers, places, traces })
}

fn labels(profile: &Profile, sample: &Sample, units: &Units<'_>) -> Vec<TraceLabel> {
    let (mut strings, mut numbers): (Vec<TraceLabel>, Vec<TraceLabel>) = (Vec::new(), Vec::new());
    for label in &sample.label {
        let (list, value) = if is_string(label) {
            (&mut strings, text(profile, label.str).to_owned())
        } else if is_number(label) {
            (&mut numbers, with_unit(label.num, units.of(profile, label.key), AUTO))
        } else {
            continue;
        };
        let key = text(profile, label.key);
        match list.iter_mut().find(|known| known.key == key) {
            Some(known) => known.values.push(value),
            None => list.push(TraceLabel { key: key.to_owned(), values: vec![value] }),
        }
    }
    // As they are printed: short keys are padded, and so come first.
    let printed = |label: &TraceLabel| format!("{:>10}:  {}", label.key, label.values.join(" "));
    strings.sort_by_key(printed);
    numbers.sort_by_key(printed);
    strings.append(&mut numbers);
    strings
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::profile::fixture;
    use crate::profile::proto::Label;

    #[test]
    fn samples_keep_labels_and_stack() {
        let mut profile = fixture::two_threads();
        let next = i64::try_from(profile.string_table.len()).unwrap();
        profile.string_table.push("request".to_owned());
        profile.sample[0].label.push(Label { key: next, num: 2048, ..Label::default() });
        let report = traces(&profile, &Lens::default()).unwrap();
        let trace = &report.traces[0];
        let names: Vec<String> = trace.frames.iter().map(|frame| report.places[frame.place].name()).collect();
        assert_eq!(names, ["inlined", "work", "main"]);
        assert_eq!(trace.frames.iter().map(|frame| frame.inlined).collect::<Vec<_>>(), [true, false, false]);
        let label = |key: &str, value: &str| TraceLabel { key: key.into(), values: vec![value.into()] };
        assert_eq!(trace.labels, [label("thread", "a"), label("request", "2kB")]);
        assert_eq!((report.traces.len(), trace.value), (3, 30_000_000));
    }
}
